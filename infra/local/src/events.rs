//! Events and replies in the shapes that Lambda gives and takes.

use crate::journal::Message;
use crate::template::REGION;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The id of a message as SQS would write it.
pub fn message_id(id: u64) -> String {
    format!("00000000-0000-4000-8000-{id:012x}")
}

/// An SQS event with these messages.
pub fn queue_event(queue_arn: &str, messages: &[Message], now: i64) -> Value {
    let records: Vec<Value> = messages
        .iter()
        .map(|message| {
            let mut attributes = json!({});
            if let Some(kind) = &message.kind {
                attributes = json!({ "type": {
                    "stringValue": kind,
                    "stringListValues": [],
                    "binaryListValues": [],
                    "dataType": "String",
                }});
            }
            json!({
                "messageId": message_id(message.id),
                "receiptHandle": format!("{}.{}", message.id, message.receives),
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receives.to_string(),
                    "SentTimestamp": message.sent_at.to_string(),
                    "SenderId": "local",
                    "ApproximateFirstReceiveTimestamp": now.to_string(),
                },
                "messageAttributes": attributes,
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": queue_arn,
                "awsRegion": REGION,
            })
        })
        .collect();
    json!({ "Records": records })
}

/// What EventBridge Scheduler sends where the template gives no `Input`.
pub fn schedule_event(schedule: &str, at: jiff::Timestamp) -> Value {
    json!({
        "version": "0",
        "id": format!("00000000-0000-4000-8000-{:012x}", at.as_millisecond()),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": crate::template::ACCOUNT,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": REGION,
        "resources": [format!("arn:aws:scheduler:{REGION}:{}:schedule/default/{schedule}", crate::template::ACCOUNT)],
        "detail": "{}",
    })
}

/// The items that a reply names as failed. A reply that cannot be read fails the whole batch, as on Lambda.
pub fn failures(reply: &Value) -> Result<BTreeSet<String>, String> {
    let failures = match reply.get("batchItemFailures") {
        None | Some(Value::Null) => return Ok(BTreeSet::new()),
        Some(Value::Array(failures)) => failures,
        Some(other) => return Err(format!("batchItemFailures is {other}")),
    };
    let identifier = |failure: &Value| match failure.get("itemIdentifier").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => Ok(id.to_owned()),
        _ => Err("an item of batchItemFailures has no itemIdentifier".to_owned()),
    };
    failures.iter().map(identifier).collect()
}
