//! Queues and the topic, on AWS or in this process.

use crate::telemetry::cause;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// One message for a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMessage {
    pub body: String,
    /// Seconds before it can be received; SQS allows 0 to 900.
    pub delay_seconds: u16,
}

/// One message for the topic, delivered raw; `kind` is the message attribute `type` that filter policies look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMessage {
    pub body: String,
    pub kind: String,
}

/// Sending failed as a whole: none of the messages may be taken as sent, and some may have been.
#[derive(Debug, thiserror::Error)]
#[error("could not send to {destination}: {cause}")]
pub struct BusError {
    pub destination: String,
    pub cause: String,
}

pub type BusFuture<'a> = Pin<Box<dyn Future<Output = Result<(), BusError>> + Send + 'a>>;

/// Queues and topics that live in this process; the local runner and the tests bring one.
pub trait InProcessBus: Send + Sync {
    fn send<'a>(&'a self, queue_url: &'a str, messages: Vec<QueueMessage>) -> BusFuture<'a>;
    fn publish<'a>(&'a self, topic_arn: &'a str, messages: Vec<TopicMessage>) -> BusFuture<'a>;
}

/// Messages a call to SQS or SNS may carry.
const BATCH_MESSAGES_MAX: usize = 10;

#[derive(Clone)]
pub enum Bus {
    Aws { sqs: aws_sdk_sqs::Client, sns: aws_sdk_sns::Client },
    InProcess(Arc<dyn InProcessBus>),
}

impl Bus {
    /// Puts messages on a queue, in batches.
    pub async fn send(&self, queue_url: &str, messages: Vec<QueueMessage>) -> Result<(), BusError> {
        match self {
            Bus::InProcess(bus) => bus.send(queue_url, messages).await,
            Bus::Aws { sqs, .. } => {
                for batch in messages.chunks(BATCH_MESSAGES_MAX) {
                    send_batch(sqs, queue_url, batch).await?;
                }
                Ok(())
            }
        }
    }

    /// Publishes messages on a topic, in batches.
    pub async fn publish(&self, topic_arn: &str, messages: Vec<TopicMessage>) -> Result<(), BusError> {
        match self {
            Bus::InProcess(bus) => bus.publish(topic_arn, messages).await,
            Bus::Aws { sns, .. } => {
                for batch in messages.chunks(BATCH_MESSAGES_MAX) {
                    publish_batch(sns, topic_arn, batch).await?;
                }
                Ok(())
            }
        }
    }
}

async fn send_batch(sqs: &aws_sdk_sqs::Client, queue_url: &str, batch: &[QueueMessage]) -> Result<(), BusError> {
    use aws_sdk_sqs::types::SendMessageBatchRequestEntry as Entry;
    let failed = |cause: String| BusError { destination: queue_url.to_owned(), cause };
    let mut request = sqs.send_message_batch().queue_url(queue_url);
    for (index, message) in batch.iter().enumerate() {
        let entry = Entry::builder()
            .id(index.to_string())
            .message_body(&message.body)
            .delay_seconds(i32::from(message.delay_seconds))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        request = request.entries(entry);
    }
    let reply = request.send().await.map_err(|error| failed(cause(&error)))?;
    match reply.failed().first() {
        None => Ok(()),
        Some(first) => Err(failed(format!("{} of {}: {}", reply.failed().len(), batch.len(), first.code()))),
    }
}

async fn publish_batch(sns: &aws_sdk_sns::Client, topic_arn: &str, batch: &[TopicMessage]) -> Result<(), BusError> {
    use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry as Entry};
    let failed = |cause: String| BusError { destination: topic_arn.to_owned(), cause };
    let mut request = sns.publish_batch().topic_arn(topic_arn);
    for (index, message) in batch.iter().enumerate() {
        let kind = MessageAttributeValue::builder().data_type("String").string_value(&message.kind).build();
        let entry = Entry::builder()
            .id(index.to_string())
            .message(&message.body)
            .message_attributes("type", kind.map_err(|error| failed(error.to_string()))?)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        request = request.publish_batch_request_entries(entry);
    }
    let reply = request.send().await.map_err(|error| failed(cause(&error)))?;
    match reply.failed().first() {
        None => Ok(()),
        Some(first) => Err(failed(format!("{} of {}: {}", reply.failed().len(), batch.len(), first.code()))),
    }
}
