//! `relay`: publishes the effects that a write carried, from the tables' streams to the Events topic.

use crate::Error;
use crate::commands::{Envelope, Head};
use domain::effects::Effect;
use platform::App;
use platform::bus::{QueueMessage, TopicMessage};
use serde::Deserialize;
use serde_json::Value;

/// The part of an item that matters here.
#[derive(Deserialize)]
struct Image {
    v: u64,
    #[serde(default)]
    effects: Vec<Effect>,
}

/// One stream record. What cannot be published goes whole to the Unpublished queue, since records are gone in a day:
/// its effects, or the record itself where it cannot be read. Only if that fails too does the stream wait.
pub async fn handle(app: App, record: Value) -> Result<(), Error> {
    let letters = match effects(&record) {
        Ok(messages) if messages.is_empty() => return Ok(()),
        Ok(messages) => match app.clients.bus.publish(app.config.get("EVENTS_TOPIC_ARN")?, messages.clone()).await {
            Ok(()) => {
                messages.iter().for_each(published);
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%error, "effects could not be published now");
                messages.into_iter().map(|message| message.body).collect()
            }
        },
        Err(cause) => {
            tracing::error!(cause, "a stream record could not be read");
            vec![record.to_string()]
        }
    };
    let letters = letters.into_iter().map(|body| QueueMessage { body, delay_seconds: 0 }).collect();
    Ok(app.clients.bus.send(app.config.get("UNPUBLISHED_QUEUE_URL")?, letters).await?)
}

/// The line of an effect that was published.
pub fn published(message: &TopicMessage) {
    let Head { id: effect, trace, order, .. } = Head::of(&message.body);
    let order = order.map(|order| order.to_string());
    tracing::info!(effect, kind = message.kind, trace, order, "effect published");
}

/// The effects in a record's new image that are not in the old.
pub fn effects(record: &Value) -> Result<Vec<TopicMessage>, String> {
    let Some(new) = image(&record["dynamodb"]["NewImage"])? else { return Ok(Vec::new()) };
    let old = image(&record["dynamodb"]["OldImage"])?.map_or(Vec::new(), |old| old.effects);
    let fresh = new.effects.into_iter().filter(|effect| !old.iter().any(|known| known.id == effect.id));
    let messages = fresh.map(|effect| {
        let kind = effect.what.kind().to_owned();
        let envelope = Envelope { aggregate: effect.item().to_owned(), effect, v: new.v };
        TopicMessage { kind, body: serde_json::to_string(&envelope).expect("an effect is plain JSON") }
    });
    Ok(messages.collect())
}

/// An image with a version; other items carry no effects.
fn image(image: &Value) -> Result<Option<Image>, String> {
    if image.is_null() || image.get("v").is_none() || image.get("effects").is_none() {
        return Ok(None);
    }
    let item: serde_dynamo::Item = serde_json::from_value(image.clone()).map_err(|error| error.to_string())?;
    serde_dynamo::from_item(item).map(Some).map_err(|error| error.to_string())
}
