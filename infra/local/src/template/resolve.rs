//! Parameters, conditions and intrinsic functions replaced by the values that they have on this machine.

use super::read::{Raw, Resource};
use super::{ACCOUNT, REGION, TemplateError};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The template with every intrinsic function resolved, and without resources whose condition is false.
pub(super) struct Resolved {
    pub function_globals: Map<String, Value>,
    pub resources: BTreeMap<String, Resource>,
}

pub(super) fn queue_url(name: &str) -> String {
    format!("https://sqs.{REGION}.invalid/{ACCOUNT}/{name}")
}

pub(super) fn arn(service: &str, name: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{name}")
}

pub(super) fn table_arn(name: &str) -> String {
    arn("dynamodb", &format!("table/{name}"))
}

pub(super) fn stream_arn(table: &str) -> String {
    format!("{}/stream/{REGION}", table_arn(table))
}

pub(super) fn resolve(raw: Raw, given: &BTreeMap<String, String>) -> Result<Resolved, TemplateError> {
    let mut scope = Scope {
        parameters: parameters(&raw, given)?,
        conditions: BTreeMap::new(),
        types: raw.resources.iter().map(|(id, resource)| (id.clone(), resource.kind.clone())).collect(),
    };
    for (name, condition) in &raw.conditions {
        let holds =
            scope.condition(condition).map_err(|problem| TemplateError::new(format!("Conditions.{name}"), problem))?;
        scope.conditions.insert(name.clone(), holds);
    }
    let function_globals =
        scope.object(raw.globals.function).map_err(|problem| TemplateError::new("Globals.Function", problem))?;
    for (name, output) in raw.outputs {
        scope.value(output).map_err(|problem| TemplateError::new(format!("Outputs.{name}"), problem))?;
    }
    let mut resources = BTreeMap::new();
    for (id, mut resource) in raw.resources {
        let at = |problem| TemplateError::new(format!("Resources.{id}"), problem);
        if let Some(name) = &resource.condition
            && !scope.named_condition(name).map_err(at)?
        {
            continue;
        }
        resource.properties = scope.object(resource.properties).map_err(at)?;
        resources.insert(id, resource);
    }
    Ok(Resolved { function_globals, resources })
}

fn parameters(raw: &Raw, given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, TemplateError> {
    let mut values = BTreeMap::new();
    for (name, parameter) in &raw.parameters {
        let at = |problem: String| TemplateError::new(format!("Parameters.{name}"), problem);
        let value = given.get(name).or(parameter.default.as_ref());
        let value = value.ok_or_else(|| at("it has no value on this machine, and no default".to_owned()))?;
        if !parameter.allowed_values.is_empty() && !parameter.allowed_values.contains(value) {
            return Err(at(format!("{value} is not one of {:?}", parameter.allowed_values)));
        }
        values.insert(name.clone(), value.clone());
    }
    Ok(values)
}

struct Scope {
    parameters: BTreeMap<String, String>,
    conditions: BTreeMap<String, bool>,
    /// Logical id to resource type.
    types: BTreeMap<String, String>,
}

impl Scope {
    fn object(&self, object: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let mut resolved = Map::new();
        for (key, value) in object {
            if let Some(value) = self.value(value)? {
                resolved.insert(key, value);
            }
        }
        Ok(resolved)
    }

    /// Nothing where the template says `AWS::NoValue`.
    fn value(&self, value: Value) -> Result<Option<Value>, String> {
        Ok(match value {
            Value::Array(items) => {
                let items = items.into_iter().map(|item| self.value(item)).collect::<Result<Vec<_>, _>>()?;
                Some(Value::Array(items.into_iter().flatten().collect()))
            }
            Value::Object(object) => match object.iter().next() {
                Some((name, argument)) if object.len() == 1 && (name == "Ref" || name.starts_with("Fn::")) => {
                    self.intrinsic(name, argument)?
                }
                _ => Some(Value::Object(self.object(object)?)),
            },
            other => Some(other),
        })
    }

    fn intrinsic(&self, name: &str, argument: &Value) -> Result<Option<Value>, String> {
        let text = |value: String| Ok(Some(Value::String(value)));
        match (name, argument) {
            ("Ref", Value::String(id)) if id == "AWS::NoValue" => Ok(None),
            ("Ref", Value::String(id)) => text(self.reference(id)?),
            ("Fn::GetAtt", Value::Array(path)) => match path.as_slice() {
                [Value::String(id), Value::String(attribute)] => text(self.attribute(id, attribute)?),
                _ => Err("Fn::GetAtt needs a logical id and an attribute".to_owned()),
            },
            ("Fn::Sub", Value::String(pattern)) => text(self.substitute(pattern)?),
            ("Fn::Split", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(between), of] => match self.value(of.clone())? {
                    Some(Value::String(text)) => {
                        Ok(Some(text.split(between.as_str()).map(|part| Value::String(part.to_owned())).collect()))
                    }
                    _ => Err("Fn::Split needs a text to split".to_owned()),
                },
                _ => Err("Fn::Split needs what stands between, and a text".to_owned()),
            },
            ("Fn::If", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(condition), yes, no] => {
                    self.value(if self.named_condition(condition)? { yes.clone() } else { no.clone() })
                }
                _ => Err("Fn::If needs a condition and two values".to_owned()),
            },
            _ => Err(format!("{name} {argument} is not understood")),
        }
    }

    fn named_condition(&self, name: &str) -> Result<bool, String> {
        self.conditions.get(name).copied().ok_or(format!("there is no condition {name}"))
    }

    fn condition(&self, condition: &Value) -> Result<bool, String> {
        match condition.as_object().and_then(|object| object.iter().next()) {
            Some((name, Value::Array(sides))) if name == "Fn::Equals" && sides.len() == 2 => {
                Ok(self.value(sides[0].clone())? == self.value(sides[1].clone())?)
            }
            Some((name, Value::Array(of))) if name == "Fn::Not" && of.len() == 1 => Ok(!self.condition(&of[0])?),
            _ => Err(format!("the condition {condition} is not understood: only Equals and Not are")),
        }
    }

    fn substitute(&self, pattern: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or(format!("${{ is not closed in {pattern}"))?;
            text.push_str(before);
            match name.split_once('.') {
                _ if name.starts_with('!') => text.push_str(&format!("${{{}}}", &name[1..])),
                Some((id, attribute)) => text.push_str(&self.attribute(id, attribute)?),
                None => text.push_str(&self.reference(name)?),
            }
            rest = after;
        }
        Ok(text + rest)
    }

    fn reference(&self, id: &str) -> Result<String, String> {
        let pseudo = match id {
            "AWS::Region" => Some(REGION),
            "AWS::AccountId" => Some(ACCOUNT),
            "AWS::Partition" => Some("aws"),
            "AWS::StackName" => Some("boxoffice"),
            "AWS::URLSuffix" => Some("amazonaws.com"),
            _ => None,
        };
        if let Some(value) = pseudo.or(self.parameters.get(id).map(String::as_str)) {
            return Ok(value.to_owned());
        }
        match self.types.get(id).map(String::as_str) {
            None => Err(format!("!Ref {id}: there is no parameter and no resource of that name")),
            Some("AWS::SQS::Queue") => Ok(queue_url(id)),
            Some("AWS::SNS::Topic") => Ok(arn("sns", id)),
            Some(_) => Ok(id.to_owned()),
        }
    }

    fn attribute(&self, id: &str, attribute: &str) -> Result<String, String> {
        let kind = self.types.get(id).ok_or(format!("!GetAtt {id}.{attribute}: there is no resource {id}"))?;
        match (kind.as_str(), attribute) {
            ("AWS::DynamoDB::Table", "Arn") => Ok(table_arn(id)),
            ("AWS::DynamoDB::Table", "StreamArn") => Ok(stream_arn(id)),
            ("AWS::SQS::Queue", "Arn") => Ok(arn("sqs", id)),
            ("AWS::SQS::Queue", "QueueName") => Ok(id.to_owned()),
            ("AWS::SQS::Queue", "QueueUrl") => Ok(queue_url(id)),
            ("AWS::SNS::Topic", "TopicArn") => Ok(arn("sns", id)),
            ("AWS::SNS::Topic", "TopicName") => Ok(id.to_owned()),
            ("AWS::Serverless::Function", "Arn") => Ok(arn("lambda", &format!("function:{id}"))),
            ("AWS::IAM::Role", "Arn") => Ok(format!("arn:aws:iam::{ACCOUNT}:role/{id}")),
            ("AWS::Logs::LogGroup", "Arn") => Ok(arn("logs", &format!("log-group:{id}"))),
            _ => Err(format!("!GetAtt {id}.{attribute}: that attribute of {kind} is not understood")),
        }
    }
}
