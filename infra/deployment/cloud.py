"""ministack, the sandboxes of the payment provider and the messenger, and the stack of template.yaml on them, started and stopped."""

import io
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import system
from posts import Smoke

import boto3
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
STACK = "boxoffice"
BUCKET, KEY = "boxoffice-artefacts", "bootstrap.zip"
MAIL_DOMAIN = "tickets.example"
QUEUES = ["Payments", "Offers", "Deliveries", "Unpublished"]
START_SECONDS_MAX = 30
STACK_SECONDS_MAX = 120
STOP_SECONDS_MAX = 5
# What an endpoint at the provider itself is set up with, too (infra/local/src/payments.rs).
PROVIDER_EVENTS = [
    "payment_intent.amount_capturable_updated",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "setup_intent.succeeded",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.closed",
    "charge.dispute.funds_reinstated",
]


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def answers(url):
    try:
        urllib.request.urlopen(url, timeout=2).read()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


class Cloud:
    """Everything that runs for one test; `with Cloud(...) as cloud` starts it and stops it, and nothing else."""

    def __init__(self, artefact, tools, is_whole=True):
        """Not whole, it is ministack alone, and believes whoever calls it."""
        self.is_whole = is_whole
        self.artefact, self.tools = Path(artefact), Path(tools)
        self.port, self.provider_port, self.messenger_port = free_port(), free_port(), free_port()
        self.endpoint = f"http://localhost:{self.port}"
        self.provider = f"http://127.0.0.1:{self.provider_port}"
        self.messenger = f"http://127.0.0.1:{self.messenger_port}"
        self.bot_token = f"4711:{secrets.token_urlsafe(26)}"
        self.public_url = "https://tickets.example"
        self.keys = {
            name: f"{prefix}_{secrets.token_hex(24)}"
            for name, prefix in [
                ("secret", "sk_test"), ("publishable", "pk_test"), ("read_only", "rk_test"), ("webhook", "whsec"),
            ]
        }
        self.smoke = Smoke()
        self.processes, self.directory = [], tempfile.TemporaryDirectory(prefix="boxoffice-deployment-")

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.start_ministack()
        if not self.is_whole:
            return
        self.put_secrets()
        self.create_stack()
        self.start_provider()

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        self.smoke.stop()
        self.directory.cleanup()

    def run(self, name, command, environment):
        """Starts a process whose output goes to a file of this name."""
        with open(Path(self.directory.name) / f"{name}.log", "wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        self.processes.append(process)
        return process

    def output(self, name):
        return (Path(self.directory.name) / f"{name}.log").read_text(errors="replace")

    def wait(self, name, process, url):
        started = time.monotonic()
        while not answers(url):
            if process.poll() is not None or time.monotonic() - started > START_SECONDS_MAX:
                sys.exit(f"{name} does not start:\n{self.output(name)[-4000:]}")
            time.sleep(0.05)

    def environment(self):
        """Of a process that calls this cloud as its account's owner."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": system.REGION,
            "AWS_DEFAULT_REGION": system.REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start_ministack(self):
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = kept | {
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "localhost",
            "GATEWAY_PORT": str(self.port),
            "AUTH": "true" if self.is_whole else "false",
            "LAMBDA_EXECUTOR": "local",
            "IOT_MTLS_ENABLED": "0",
            "TMPDIR": self.directory.name,
            # What functions are given as the address of AWS.
            "AWS_ENDPOINT_URL": self.endpoint,
            "LOG_LEVEL": "INFO" if self.is_whole else "WARNING",
        }
        process = self.run("ministack", [sys.executable, "-m", "ministack"], environment)
        self.wait("ministack", process, f"{self.endpoint}/_ministack/health")

    def start_provider(self):
        webhook = f"{self.api}/payments/webhook/stripe"
        command = [
            self.tools / "sandbox", "--listen", f"127.0.0.1:{self.provider_port}",
            "--secret-key", self.keys["secret"], "--publishable-key", self.keys["publishable"],
            "--read-only-key", self.keys["read_only"], "--webhook-secret", self.keys["webhook"],
            "--webhook-url", webhook, "--events", ",".join(PROVIDER_EVENTS),
            "--telegram", f"127.0.0.1:{self.messenger_port}", "--telegram-token", self.bot_token,
        ]
        process = self.run("sandbox", command, {"PATH": os.environ["PATH"]})
        self.wait("sandbox", process, self.provider)
        self.wait("sandbox", process, self.messenger)

    def client(self, service, key="test", secret="test", token=None):
        """The account's owner, unless other credentials are given."""
        config = Config(retries={"max_attempts": 6}, read_timeout=60)
        given = {"aws_access_key_id": key, "aws_secret_access_key": secret, "aws_session_token": token}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=system.REGION, config=config, **given)

    def client_as(self, role, service):
        """Somebody with the rights of a function. Its role trusts Lambda alone, so it is made to trust the owner for a moment."""
        iam, name = self.client("iam"), self.names[role]
        found = iam.get_role(RoleName=name)["Role"]
        owner = {"Effect": "Allow", "Principal": {"AWS": found["Arn"].split(":")[4]}, "Action": "sts:AssumeRole"}
        trusting = {"Version": "2012-10-17", "Statement": [owner]}
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trusting))
        given = self.client("sts").assume_role(RoleArn=found["Arn"], RoleSessionName="check")["Credentials"]
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(found["AssumeRolePolicyDocument"]))
        return self.client(service, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    def boxoffice(self, *arguments):
        """Runs the operator's command against this cloud."""
        done = subprocess.run(
            [self.tools / "boxoffice", *arguments], env=self.environment(), capture_output=True, text=True, timeout=60,
        )
        if done.returncode != 0:
            sys.exit(f"boxoffice {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def put_secrets(self):
        """As a deployment does: our own from `boxoffice new-secrets`, the provider's from the provider."""
        values = json.loads(self.boxoffice("new-secrets")) | {
            "boxoffice/stripe-secret": self.keys["secret"],
            "boxoffice/stripe-read-only-secret": self.keys["read_only"],
            "boxoffice/stripe-webhook-secret": self.keys["webhook"],
            "boxoffice/telegram-token": self.bot_token,
            "boxoffice/messengers": json.dumps(self.smoke.setup()),
        }
        manager = self.client("secretsmanager")
        for name, value in values.items():
            manager.create_secret(Name=name, SecretString=value)

    def upload(self):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, self.artefact.read_bytes())
        store = self.client("s3")
        store.create_bucket(Bucket=BUCKET)
        store.put_object(Bucket=BUCKET, Key=KEY, Body=packed.getvalue())
        return len(packed.getvalue())

    def create_stack(self):
        self.packed_bytes = self.upload()
        parameters = {
            "Stage": "dev",
            "PublicUrl": self.public_url,
            "StripeApiBase": self.provider,
            "StripePayUrl": f"{self.provider}/pay",
            "StripePublishableKey": self.keys["publishable"],
            "TelegramApiBase": self.messenger,
            "TelegramBot": "boxoffice_bot",
            "EmailFrom": f"Tickets <tickets@{MAIL_DOMAIN}>",
            "EmailIdentity": MAIL_DOMAIN,
        }
        text = (ROOT / "template.yaml").read_text()
        self.template, self.left_out = system.adapted(system.transformed(text, BUCKET, KEY, parameters))
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
        self.client("sesv2").create_email_identity(EmailIdentity=MAIL_DOMAIN)
        formation = self.client("cloudformation")
        # It is longer than a call may be.
        self.client("s3").put_object(Bucket=BUCKET, Key="template.json", Body=json.dumps(self.template).encode())
        url = f"{self.endpoint}/{BUCKET}/template.json"
        formation.create_stack(StackName=STACK, TemplateURL=url, Parameters=given, Capabilities=["CAPABILITY_IAM"])
        started = time.monotonic()
        while (stack := formation.describe_stacks(StackName=STACK)["Stacks"][0])["StackStatus"] == "CREATE_IN_PROGRESS":
            if time.monotonic() - started > STACK_SECONDS_MAX:
                break
            time.sleep(0.2)
        if stack["StackStatus"] != "CREATE_COMPLETE":
            events = formation.describe_stack_events(StackName=STACK)["StackEvents"]
            failed = [event for event in events if "FAILED" in event["ResourceStatus"]]
            reasons = [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed]
            sys.exit(f"the stack is {stack['StackStatus']}:\n" + "\n".join(reasons))
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=STACK)
        listed = [resource for page in pages for resource in page["StackResourceSummaries"]]
        self.names = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in listed}
        # The address with the API's id in its host needs a resolver that knows *.localhost.
        self.api = f"{self.endpoint}/_aws/execute-api/{self.names['Api']}/$default"

    def mails(self, to):
        """Subjects of the e-mails that SES was given for this address."""
        with urllib.request.urlopen(f"{self.endpoint}/_ministack/ses/messages", timeout=START_SECONDS_MAX) as answer:
            sent = json.load(answer)["messages"]
        return [mail["Subject"] for mails in sent.values() for mail in mails if to in mail["To"]]

    def invoke(self, function):
        """Runs a function as its schedule would, and returns what it returned."""
        answer = self.client("lambda").invoke(FunctionName=self.names[function], Payload=b"{}")
        payload = answer["Payload"].read().decode()
        if answer.get("FunctionError"):
            raise AssertionError(f"{function}: {payload}")
        return payload

    def logs(self, since=0):
        """Every line that a function logged since this time, in milliseconds, in no order."""
        logs = self.client("logs")
        groups = [group["logGroupName"] for page in logs.get_paginator("describe_log_groups").paginate()
                  for group in page["logGroups"]]
        for group in groups:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since)
            yield from (event["message"] for page in pages for event in page["events"])
