//! Resolved resources into the structures that the runner makes things from.

use super::resolve::{Resolved, arn, stream_arn};
use super::{
    Function, Pattern, Queue, QueueSource, Redrive, Route, ScheduleSource, StreamSource, Subscription, System, Table,
    TemplateError, Trigger, When,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Types that only a deployment needs: who may do what, who is called when something breaks, where logs go.
const DEPLOYMENT_ONLY_TYPES: &[&str] = &[
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::IAM::Role",
    "AWS::Logs::LogGroup",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
];

/// Properties, by type, that change nothing of what a function sees on this machine.
const DEPLOYMENT_ONLY: &[(&str, &[&str])] = &[
    (
        "AWS::DynamoDB::Table",
        &[
            "BillingMode",
            "DeletionProtectionEnabled",
            "PointInTimeRecoverySpecification",
            "ResourcePolicy",
            "SSESpecification",
            "TableClass",
            "Tags",
            "WarmThroughput",
        ],
    ),
    ("AWS::SQS::Queue", &["KmsMasterKeyId", "MessageRetentionPeriod", "SqsManagedSseEnabled", "Tags"]),
    ("AWS::SNS::Topic", &["DisplayName", "KmsMasterKeyId", "Tags"]),
    // Throttling protects a bill and shared capacity; neither is at stake here. Pages of other origins may not call this
    // machine, and its own come from where the API is.
    (
        "AWS::Serverless::HttpApi",
        &[
            "AccessLogSettings",
            "CorsConfiguration",
            "DefaultRouteSettings",
            "Description",
            "Domain",
            "RouteSettings",
            "Tags",
        ],
    ),
    (
        "AWS::Serverless::Function",
        &[
            "Architectures",
            "CodeUri",
            "Description",
            "EphemeralStorage",
            "LoggingConfig",
            "MemorySize",
            "Policies",
            "RecursiveLoop",
            "ReservedConcurrentExecutions",
            "Role",
            "Runtime",
            "Tags",
            "Tracing",
        ],
    ),
];

/// What Lambda gives a function that names no timeout.
const TIMEOUT_SECONDS_DEFAULT: u64 = 3;
/// What SQS gives a queue that names no visibility timeout.
const VISIBILITY_SECONDS_DEFAULT: u64 = 30;
/// What Lambda asks of a queue that names no batch size.
const QUEUE_BATCH_MESSAGES_DEFAULT: usize = 10;
/// What Lambda asks of a stream that names no batch size.
const STREAM_BATCH_RECORDS_DEFAULT: usize = 100;

pub(super) fn build(resolved: Resolved) -> Result<System, TemplateError> {
    let mut system =
        System { tables: vec![], queues: vec![], topics: vec![], subscriptions: vec![], functions: vec![] };
    let globals = without_deployment_only("AWS::Serverless::Function", resolved.function_globals);
    typed::<GlobalProperties>("Globals.Function", globals.clone())?;
    let (mut subscriptions, mut functions) = (vec![], vec![]);
    for (id, resource) in resolved.resources {
        let place = format!("Resources.{id}");
        let properties = without_deployment_only(&resource.kind, resource.properties);
        match resource.kind.as_str() {
            "AWS::DynamoDB::Table" => {
                system.tables.push(Table { name: id, properties: typed(&place, properties)? });
            }
            "AWS::SQS::Queue" => system.queues.push(queue(&place, id, properties)?),
            "AWS::SNS::Topic" => {
                typed::<Nothing>(&place, properties)?;
                system.topics.push(id);
            }
            "AWS::Serverless::HttpApi" => {
                typed::<Nothing>(&place, properties)?;
            }
            // These name the others, so they are read when all the others are known.
            "AWS::SNS::Subscription" => subscriptions.push((place, properties)),
            "AWS::Serverless::Function" => functions.push((place, id, properties)),
            kind if DEPLOYMENT_ONLY_TYPES.contains(&kind) => {}
            kind => return Err(TemplateError::new(place, format!("the type {kind} is not understood"))),
        }
    }
    for (place, properties) in subscriptions {
        let subscription = subscription(&place, properties, &system)?;
        system.subscriptions.push(subscription);
    }
    for (place, id, properties) in functions {
        let mut merged = globals.clone();
        merged.extend(properties);
        let function = function(&place, id, merged, &system)?;
        system.functions.push(function);
    }
    check(&system)?;
    Ok(system)
}

/// What no single resource can tell.
fn check(system: &System) -> Result<(), TemplateError> {
    for queue in &system.queues {
        if let Some(redrive) = &queue.redrive
            && !system.queues.iter().any(|other| other.arn() == redrive.dead_letters)
        {
            let problem = format!("RedrivePolicy: {} is no queue of this template", redrive.dead_letters);
            return Err(TemplateError::new(format!("Resources.{}", queue.name), problem));
        }
    }
    let mut routes = BTreeSet::new();
    for function in &system.functions {
        for trigger in &function.triggers {
            if let Trigger::Http(route) = trigger
                && !routes.insert(format!("{} {}", route.method, route.path))
            {
                let problem = format!("{} {} is there twice", route.method, route.path);
                return Err(TemplateError::new(format!("Resources.{}", function.id), problem));
            }
        }
    }
    Ok(())
}

fn without_deployment_only(kind: &str, mut properties: Map<String, Value>) -> Map<String, Value> {
    for (_, names) in DEPLOYMENT_ONLY.iter().filter(|(of, _)| *of == kind) {
        for name in *names {
            properties.remove(*name);
        }
    }
    properties
}

fn typed<T: DeserializeOwned>(place: &str, properties: Map<String, Value>) -> Result<T, TemplateError> {
    T::deserialize(Value::Object(properties)).map_err(|error| TemplateError::new(place, error.to_string()))
}

/// No property at all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct QueueProperties {
    visibility_timeout: Option<u64>,
    delay_seconds: Option<u64>,
    redrive_policy: Option<RedrivePolicy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    max_receive_count: u32,
}

fn queue(place: &str, name: String, properties: Map<String, Value>) -> Result<Queue, TemplateError> {
    let properties: QueueProperties = typed(place, properties)?;
    Ok(Queue {
        name,
        visibility: Duration::from_secs(properties.visibility_timeout.unwrap_or(VISIBILITY_SECONDS_DEFAULT)),
        delay: Duration::from_secs(properties.delay_seconds.unwrap_or(0)),
        redrive: properties.redrive_policy.map(|policy| Redrive {
            dead_letters: policy.dead_letter_target_arn,
            receives_max: policy.max_receive_count,
        }),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct SubscriptionProperties {
    topic_arn: String,
    protocol: String,
    endpoint: String,
    #[serde(default)]
    raw_message_delivery: bool,
    filter_policy_scope: Option<String>,
    filter_policy: Option<BTreeMap<String, Vec<Value>>>,
}

fn subscription(place: &str, properties: Map<String, Value>, system: &System) -> Result<Subscription, TemplateError> {
    let properties: SubscriptionProperties = typed(place, properties)?;
    let refuse = |problem: String| Err(TemplateError::new(place, problem));
    let Some(topic) = system.topics.iter().find(|topic| arn("sns", topic) == properties.topic_arn) else {
        return refuse(format!("TopicArn: {} is no topic of this template", properties.topic_arn));
    };
    let Some(queue) = system.queues.iter().find(|queue| queue.arn() == properties.endpoint) else {
        return refuse(format!("Endpoint: {} is no queue of this template", properties.endpoint));
    };
    if properties.protocol != "sqs" || !properties.raw_message_delivery {
        return refuse("only raw delivery to SQS is understood".to_owned());
    }
    if properties.filter_policy_scope.is_some_and(|scope| scope != "MessageAttributes") {
        return refuse("FilterPolicyScope: only MessageAttributes is understood".to_owned());
    }
    let mut filter = None;
    for (attribute, patterns) in properties.filter_policy.unwrap_or_default() {
        if attribute != "type" {
            return refuse(format!("FilterPolicy: messages have no attribute {attribute}, only type"));
        }
        let patterns = patterns.iter().map(pattern).collect::<Result<Vec<_>, _>>();
        filter = Some(patterns.map_err(|problem| TemplateError::new(place, problem))?);
    }
    Ok(Subscription { topic: topic.clone(), queue: queue.name.clone(), filter })
}

fn pattern(value: &Value) -> Result<Pattern, String> {
    match value {
        Value::String(text) => Ok(Pattern::Exactly(text.clone())),
        Value::Object(object) if object.len() == 1 && object.get("prefix").is_some_and(Value::is_string) => {
            Ok(Pattern::Prefix(object["prefix"].as_str().unwrap_or_default().to_owned()))
        }
        other => Err(format!("FilterPolicy: {other} is not understood: only texts and prefix are")),
    }
}

/// What all functions may share; their environments are each their own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct GlobalProperties {
    #[serde(rename = "Timeout")]
    _timeout: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct FunctionProperties {
    handler: String,
    timeout: Option<u64>,
    #[serde(default)]
    environment: Environment,
    #[serde(default)]
    events: BTreeMap<String, Event>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Environment {
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Event {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    properties: Map<String, Value>,
}

fn function(
    place: &str,
    id: String,
    properties: Map<String, Value>,
    system: &System,
) -> Result<Function, TemplateError> {
    let properties: FunctionProperties = typed(place, properties)?;
    let mut triggers = Vec::new();
    for (name, event) in properties.events {
        let place = format!("{place}.Events.{name}");
        triggers.push(match event.kind.as_str() {
            "HttpApi" => Trigger::Http(route(&place, event.properties)?),
            "SQS" => Trigger::Queue(queue_source(&place, event.properties, system)?),
            "DynamoDB" => Trigger::Stream(stream_source(&place, event.properties, system)?),
            "ScheduleV2" => Trigger::Schedule(schedule_source(&place, name, event.properties)?),
            kind => return Err(TemplateError::new(place, format!("the event type {kind} is not understood"))),
        });
    }
    Ok(Function {
        id,
        handler: properties.handler,
        timeout: Duration::from_secs(properties.timeout.unwrap_or(TIMEOUT_SECONDS_DEFAULT)),
        environment: properties.environment.variables,
        triggers,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct HttpProperties {
    #[serde(rename = "ApiId")]
    _api_id: Option<String>,
    method: String,
    path: String,
}

fn route(place: &str, properties: Map<String, Value>) -> Result<Route, TemplateError> {
    let properties: HttpProperties = typed(place, properties)?;
    let method = properties.method.to_ascii_uppercase();
    if !matches!(method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
        return Err(TemplateError::new(place, format!("the method {method} is not understood")));
    }
    if !properties.path.starts_with('/') || properties.path.contains('+') {
        return Err(TemplateError::new(place, format!("the path {} is not understood", properties.path)));
    }
    Ok(Route { method, path: properties.path })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct QueueEventProperties {
    queue: String,
    batch_size: Option<usize>,
    scaling_config: Option<ScalingConfig>,
    #[serde(default)]
    function_response_types: Vec<ResponseType>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct ScalingConfig {
    maximum_concurrency: usize,
}

#[derive(Deserialize)]
enum ResponseType {
    ReportBatchItemFailures,
}

fn queue_source(place: &str, properties: Map<String, Value>, system: &System) -> Result<QueueSource, TemplateError> {
    let properties: QueueEventProperties = typed(place, properties)?;
    Ok(QueueSource {
        queue: queue_of_arn(place, &properties.queue, system)?,
        batch_messages_max: properties.batch_size.unwrap_or(QUEUE_BATCH_MESSAGES_DEFAULT).max(1),
        concurrency_max: properties.scaling_config.map(|config| config.maximum_concurrency),
        reports_failures: !properties.function_response_types.is_empty(),
    })
}

fn queue_of_arn(place: &str, arn: &str, system: &System) -> Result<String, TemplateError> {
    let queue = system.queues.iter().find(|queue| queue.arn() == arn);
    let queue = queue.ok_or_else(|| TemplateError::new(place, format!("{arn} is no queue of this template")))?;
    Ok(queue.name.clone())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct StreamEventProperties {
    stream: String,
    starting_position: StartingPosition,
    batch_size: Option<usize>,
    #[serde(default)]
    bisect_batch_on_function_error: bool,
    maximum_retry_attempts: Option<i64>,
    /// Records do not age here: they are there until they are handled.
    #[serde(rename = "MaximumRecordAgeInSeconds")]
    _age_max: Option<i64>,
    #[serde(default)]
    function_response_types: Vec<ResponseType>,
    destination_config: Option<DestinationConfig>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum StartingPosition {
    TrimHorizon,
    Latest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct DestinationConfig {
    on_failure: OnFailure,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct OnFailure {
    #[serde(rename = "Type")]
    _kind: Option<String>,
    destination: String,
}

fn stream_source(place: &str, properties: Map<String, Value>, system: &System) -> Result<StreamSource, TemplateError> {
    let properties: StreamEventProperties = typed(place, properties)?;
    let table = system
        .tables
        .iter()
        .find(|table| table.properties.stream_specification.is_some() && stream_arn(&table.name) == properties.stream);
    let Some(table) = table else {
        let problem = format!("{} is no stream of this template's tables", properties.stream);
        return Err(TemplateError::new(place, problem));
    };
    let on_failure = match properties.destination_config {
        Some(config) => Some(queue_of_arn(place, &config.on_failure.destination, system)?),
        None => None,
    };
    let retries_max = match properties.maximum_retry_attempts {
        None | Some(-1) => None,
        Some(times) => Some(u32::try_from(times).map_err(|_| {
            TemplateError::new(place, format!("MaximumRetryAttempts: {times} is not understood: only -1 and more are"))
        })?),
    };
    Ok(StreamSource {
        table: table.name.clone(),
        from_start: properties.starting_position == StartingPosition::TrimHorizon,
        batch_records_max: properties.batch_size.unwrap_or(STREAM_BATCH_RECORDS_DEFAULT).max(1),
        bisects: properties.bisect_batch_on_function_error,
        retries_max,
        reports_failures: !properties.function_response_types.is_empty(),
        on_failure,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct ScheduleProperties {
    schedule_expression: String,
    input: Option<String>,
    /// Names are unique by themselves here.
    #[serde(rename = "OmitName")]
    _omit_name: Option<bool>,
}

fn schedule_source(place: &str, name: String, properties: Map<String, Value>) -> Result<ScheduleSource, TemplateError> {
    let properties: ScheduleProperties = typed(place, properties)?;
    let expression = &properties.schedule_expression;
    let when = rate(expression).map(When::Every).or_else(|| daily(expression)).ok_or_else(|| {
        let known = "only rate(...) and a daily cron(...) are";
        TemplateError::new(place, format!("the schedule {expression} is not understood: {known}"))
    })?;
    let input = properties.input.map(|text| serde_json::from_str(&text)).transpose();
    let input = input.map_err(|error| TemplateError::new(place, format!("Input is not JSON: {error}")))?;
    Ok(ScheduleSource { name, when, input })
}

/// `rate(5 minutes)`
fn rate(expression: &str) -> Option<Duration> {
    let (count, unit) = expression.strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let seconds = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return None,
    };
    let count: u32 = count.parse().ok().filter(|count| *count > 0)?;
    Some(Duration::from_secs(u64::from(count) * seconds))
}

/// `cron(15 3 * * ? *)`: minute and hour of each day, in UTC.
fn daily(expression: &str) -> Option<When> {
    let fields = expression.strip_prefix("cron(")?.strip_suffix(')')?;
    let [minute, hour, "*", "*", "?", "*"] = fields.split(' ').collect::<Vec<_>>()[..] else { return None };
    let number = |text: &str, most: i64| text.parse().ok().filter(|number| (0..=most).contains(number));
    Some(When::Daily { second: number(hour, 23)? * 3_600 + number(minute, 59)? * 60 })
}
