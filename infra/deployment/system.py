"""The template as CloudFormation has it after the SAM transform, and with what ministack cannot read put differently."""

import json
import os

# Set before samtranslator is read: it looks once, and asks AWS for the region otherwise.
REGION = "us-east-1"
os.environ["AWS_DEFAULT_REGION"] = REGION

from samtranslator.parser.parser import Parser  # noqa: E402
from samtranslator.translator.translator import Translator  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

# SAM looks these up whether it needs them or not.
MANAGED_POLICIES = {"AWSLambdaBasicExecutionRole": "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"}
# AWS allows a batch by the action of one message; ministack asks for an action that AWS does not have.
BATCHES = {"sns:Publish": "sns:PublishBatch", "sqs:SendMessage": "sqs:SendMessageBatch"}


def transformed(text, bucket, key, parameters):
    """template.yaml as CloudFormation's own resources, with the artefact taken from this bucket."""
    template = yaml_parse(text)
    template["Globals"]["Function"]["CodeUri"] = {"Bucket": bucket, "Key": key}
    template["Globals"]["Function"]["Architectures"] = ["x86_64"]
    return Translator(MANAGED_POLICIES, Parser()).translate(template, dict(parameters))


def adapted(template):
    """The template as ministack reads it, and the names of the resources that are left out.

    It creates an HTTP API from its description (`Body`) without the routes, so that each of them answers 404: here they are
    integrations and routes of their own, which means the same to CloudFormation. It refuses alarms over several metrics.
    """
    resources, left_out = {}, []
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
            left_out.append(name)
            continue
        resources[name] = resource
        if resource["Type"] == "AWS::IAM::Role":
            allow_otherwise(resource)
        if resource["Type"] != "AWS::ApiGatewayV2::Api":
            continue
        properties = resource["Properties"]
        body = properties.pop("Body")
        properties |= {"ProtocolType": "HTTP", "Name": {"Ref": "AWS::StackName"}}
        properties.pop("FailOnWarnings", None)
        if cors := body.get("x-amazon-apigateway-cors"):
            # By the names of the description: ministack answers browsers by those alone.
            properties["CorsConfiguration"] = cors
        resources |= routes(name, body["paths"])
    return {**template, "Resources": resources}, left_out


def statements(role):
    """The statements of a role's own policies, each with its actions as a list."""
    for policy in role["Properties"].get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            # Where there is a condition, all of them hold here.
            _, statement, *_ = statement.get("Fn::If", [None, statement])
            actions = statement["Action"]
            statement["Action"] = [actions] if isinstance(actions, str) else actions
            yield statement


def allow_otherwise(role):
    """What ministack asks for and AWS does not: batches, and e-mail from no identity by name."""
    for statement in statements(role):
        statement["Action"] = statement["Action"] + [BATCHES[name] for name in statement["Action"] if name in BATCHES]
        if "ses:SendEmail" in statement["Action"]:
            statement["Resource"] = "*"


def routes(api, paths):
    """Integrations and routes of an API, by the name of each as a resource."""
    resources, integrations = {}, {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]
            known = json.dumps(uri, sort_keys=True)
            integration = integrations.setdefault(known, f"{api}Integration{len(integrations)}")
            resources[integration] = {
                "Type": "AWS::ApiGatewayV2::Integration",
                "Properties": {
                    "ApiId": {"Ref": api},
                    "IntegrationType": "AWS_PROXY",
                    "IntegrationUri": uri,
                    "PayloadFormatVersion": "2.0",
                },
            }
            resources[f"{api}Route{len(resources)}"] = {
                "Type": "AWS::ApiGatewayV2::Route",
                "Properties": {
                    "ApiId": {"Ref": api},
                    "RouteKey": f"{method.upper()} {path}",
                    "Target": {"Fn::Join": ["/", ["integrations", {"Ref": integration}]]},
                },
            }
    return resources
