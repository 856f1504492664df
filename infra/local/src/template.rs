//! `template.yaml` as typed structures: what the local runner builds, and nothing that it does not understand.
//!
//! Architecture invariant: a resource type, event type or property is either built here, or named in a list of
//! things that only matter to a deployment, or an error that names the resource. Nothing is skipped in silence.

mod build;
mod read;
mod resolve;

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The region in names that this machine makes up.
pub const REGION: &str = "local";
/// The account in names that this machine makes up.
pub const ACCOUNT: &str = "000000000000";

/// The template of this repository, compiled in so that the binary runs anywhere.
pub const TEMPLATE: &str = include_str!("../../../template.yaml");

/// Why the template cannot be run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template.yaml: {place}: {problem}")]
pub struct TemplateError {
    /// A line, or the path of logical ids that leads to the problem.
    pub place: String,
    pub problem: String,
}

impl TemplateError {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

/// Everything that the template describes and that runs on this machine.
#[derive(Debug)]
pub struct System {
    pub tables: Vec<Table>,
    pub queues: Vec<Queue>,
    /// Logical ids of topics.
    pub topics: Vec<String>,
    pub subscriptions: Vec<Subscription>,
    pub functions: Vec<Function>,
}

/// A DynamoDB table; its name is its logical id.
#[derive(Debug)]
pub struct Table {
    pub name: String,
    pub properties: TableProperties,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct TableProperties {
    pub attribute_definitions: Vec<AttributeDefinition>,
    pub key_schema: Vec<Key>,
    #[serde(default)]
    pub global_secondary_indexes: Vec<Index>,
    pub stream_specification: Option<StreamSpecification>,
    pub time_to_live_specification: Option<TimeToLive>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct AttributeDefinition {
    pub attribute_name: String,
    pub attribute_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Key {
    pub attribute_name: String,
    pub key_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Index {
    pub index_name: String,
    pub key_schema: Vec<Key>,
    pub projection: Projection,
    /// What it takes from the start, which matters where there is more than one machine.
    #[serde(rename = "WarmThroughput")]
    _warm_throughput: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Projection {
    pub projection_type: String,
    #[serde(default)]
    pub non_key_attributes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct StreamSpecification {
    pub stream_view_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct TimeToLive {
    pub attribute_name: String,
    pub enabled: bool,
}

/// An SQS queue; its name is its logical id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    pub visibility: Duration,
    pub delay: Duration,
    pub redrive: Option<Redrive>,
}

impl Queue {
    pub fn url(&self) -> String {
        resolve::queue_url(&self.name)
    }

    pub fn arn(&self) -> String {
        resolve::arn("sqs", &self.name)
    }
}

/// Where a queue's messages go that were received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    pub dead_letters: String,
    pub receives_max: u32,
}

/// A queue that gets what is published on a topic.
#[derive(Debug)]
pub struct Subscription {
    pub topic: String,
    pub queue: String,
    /// What the attribute `type` may be; absent means anything.
    pub filter: Option<Vec<Pattern>>,
}

/// One pattern of a filter policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Exactly(String),
    Prefix(String),
}

#[derive(Debug)]
pub struct Function {
    /// Logical id.
    pub id: String,
    pub handler: String,
    pub timeout: Duration,
    pub environment: BTreeMap<String, String>,
    pub triggers: Vec<Trigger>,
}

/// What starts a function.
#[derive(Debug)]
pub enum Trigger {
    Http(Route),
    Queue(QueueSource),
    Stream(StreamSource),
    Schedule(ScheduleSource),
}

/// A method and a path with `{parameters}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub method: String,
    pub path: String,
}

#[derive(Clone, Debug)]
pub struct QueueSource {
    pub queue: String,
    pub batch_messages_max: usize,
    pub concurrency_max: Option<usize>,
    /// The function names the messages that failed; else a batch fails as a whole.
    pub reports_failures: bool,
}

#[derive(Clone, Debug)]
pub struct StreamSource {
    pub table: String,
    pub from_start: bool,
    pub batch_records_max: usize,
    pub bisects: bool,
    /// Absent: until it succeeds.
    pub retries_max: Option<u32>,
    pub reports_failures: bool,
    /// The queue that is told of batches given up.
    pub on_failure: Option<String>,
}

#[derive(Clone, Debug)]
pub struct ScheduleSource {
    /// Logical id of the event.
    pub name: String,
    pub when: When,
    pub input: Option<Value>,
}

/// When a schedule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Every(Duration),
    /// So many seconds after each midnight of UTC.
    Daily {
        second: i64,
    },
}

impl System {
    /// Reads a template with these values for its parameters; parameters that have a default may be left out.
    pub fn parse(text: &str, parameters: &BTreeMap<String, String>) -> Result<Self, TemplateError> {
        let template = read::read(text)?;
        let template = resolve::resolve(template, parameters)?;
        build::build(template)
    }

    pub fn function(&self, handler: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.handler == handler)
    }
}

/// The ARN of the queue with this logical id.
pub fn arn_of_queue(queue: &str) -> String {
    resolve::arn("sqs", queue)
}

/// The ARN of the topic with this logical id.
pub fn topic_arn(topic: &str) -> String {
    resolve::arn("sns", topic)
}

/// The ARN of the stream of the table with this logical id.
pub fn stream_arn(table: &str) -> String {
    resolve::stream_arn(table)
}

#[cfg(test)]
mod tests;
