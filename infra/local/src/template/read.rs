//! YAML into the template's sections, with CloudFormation's short tags (`!Ref x`) in their long form (`{"Ref": x}`).

use super::TemplateError;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The sections of a template; intrinsic functions in it are still to be resolved.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Raw {
    #[serde(rename = "AWSTemplateFormatVersion")]
    _format: Option<String>,
    #[serde(rename = "Transform")]
    _transform: String,
    #[serde(rename = "Description")]
    _description: Option<String>,
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    #[serde(default)]
    pub conditions: BTreeMap<String, Value>,
    #[serde(default)]
    pub globals: Globals,
    pub resources: BTreeMap<String, Resource>,
    #[serde(default)]
    pub outputs: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Parameter {
    #[serde(rename = "Type")]
    _kind: String,
    #[serde(rename = "Description")]
    _description: Option<String>,
    pub default: Option<String>,
    #[serde(default)]
    pub allowed_values: Vec<String>,
    #[serde(rename = "NoEcho")]
    _no_echo: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Globals {
    #[serde(default)]
    pub function: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Resource {
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(default)]
    pub properties: Map<String, Value>,
    pub condition: Option<String>,
    /// What becomes of a resource in a deployment, and in which order: nothing that matters here.
    #[serde(rename = "DeletionPolicy")]
    _deletion_policy: Option<String>,
    #[serde(rename = "UpdateReplacePolicy")]
    _update_replace_policy: Option<String>,
    #[serde(rename = "DependsOn")]
    _depends_on: Option<Value>,
    #[serde(rename = "Metadata")]
    _metadata: Option<Value>,
}

pub(super) fn read(text: &str) -> Result<Raw, TemplateError> {
    let yaml: yaml_serde::Value = yaml_serde::from_str(text).map_err(|error| {
        let place = error.location().map_or("the file".to_owned(), |at| format!("line {}", at.line()));
        TemplateError::new(place, error.to_string())
    })?;
    let json = long_form(yaml).map_err(|problem| TemplateError::new("the file", problem))?;
    let Value::Object(mut sections) = json else {
        return Err(TemplateError::new("the file", "it is not a mapping of sections"));
    };
    // Each resource is read by itself, so that an error names it.
    let resources = match sections.remove("Resources") {
        Some(Value::Object(resources)) => resources,
        _ => return Err(TemplateError::new("Resources", "there is no such section")),
    };
    sections.insert("Resources".to_owned(), json!({}));
    let mut raw =
        Raw::deserialize(Value::Object(sections)).map_err(|error| TemplateError::new("the file", error.to_string()))?;
    for (id, resource) in resources {
        let resource = Resource::deserialize(resource)
            .map_err(|error| TemplateError::new(format!("Resources.{id}"), error.to_string()))?;
        raw.resources.insert(id, resource);
    }
    Ok(raw)
}

fn long_form(yaml: yaml_serde::Value) -> Result<Value, String> {
    use yaml_serde::Value as Yaml;
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::String(value) => Value::String(value),
        Yaml::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => json!(whole),
            (None, Some(real)) => json!(real),
            (None, None) => return Err(format!("{number} is not a number")),
        },
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(long_form).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let Yaml::String(key) = key else { return Err("a key is not a text".to_owned()) };
                object.insert(key, long_form(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let tag = tag.trim_start_matches('!');
            let mut argument = long_form(tagged.value)?;
            let name = match tag {
                "Ref" | "Condition" => tag.to_owned(),
                _ => format!("Fn::{tag}"),
            };
            if let ("GetAtt", Value::String(path)) = (tag, &argument) {
                let (id, attribute) = path.split_once('.').ok_or(format!("!GetAtt {path} names no attribute"))?;
                argument = json!([id, attribute]);
            }
            json!({ name: argument })
        }
    })
}
