//! `relay`: publishes the effects that a write carried, from the tables' streams to the Events topic.

use crate::Error;
use crate::commands::Envelope;
use domain::effects::Effect;
use platform::App;
use platform::bus::{QueueMessage, TopicMessage};
use serde::Deserialize;
use serde_json::Value;

/// The part of an item that matters here.
#[derive(Deserialize)]
struct Image {
    pk: String,
    sk: String,
    v: u64,
    #[serde(default)]
    effects: Vec<Effect>,
}

/// One stream record: the effects in the new image that are not in the old.
pub async fn handle(app: App, record: Value) -> Result<(), Error> {
    let Some(new) = image(&record["dynamodb"]["NewImage"])? else { return Ok(()) };
    let old = image(&record["dynamodb"]["OldImage"])?.map_or(Vec::new(), |old| old.effects);
    let aggregate = if new.sk.contains('_') { new.sk } else { new.pk };
    let fresh = new.effects.into_iter().filter(|effect| !old.iter().any(|known| known.id == effect.id));
    let messages: Vec<_> = fresh
        .map(|effect| {
            let kind = effect.what.kind().to_owned();
            let envelope = Envelope { effect, aggregate: aggregate.clone(), v: new.v };
            TopicMessage { kind, body: serde_json::to_string(&envelope).expect("an effect is plain JSON") }
        })
        .collect();
    if messages.is_empty() { Ok(()) } else { publish(&app, messages).await }
}

/// Publishes, or puts the effects whole on the dead-letter queue: the stream's own keeps only positions in a stream
/// that is gone in a day.
async fn publish(app: &App, messages: Vec<TopicMessage>) -> Result<(), Error> {
    let setting = |name| app.config.get(name).map_err(|missing| Error(missing.to_string()));
    let Err(error) = app.clients.bus.publish(setting("EVENTS_TOPIC_ARN")?, messages.clone()).await else {
        return Ok(());
    };
    tracing::error!(%error, "effects could not be published and go to the dead-letter queue");
    let letters = messages.into_iter().map(|message| QueueMessage { body: message.body, delay_seconds: 0 }).collect();
    let sent = app.clients.bus.send(setting("RELAY_DEAD_LETTERS_URL")?, letters).await;
    sent.map_err(|error| Error(error.to_string()))
}

/// An image with a version; other items carry no effects.
fn image(image: &Value) -> Result<Option<Image>, Error> {
    if image.is_null() || image.get("v").is_none() || image.get("effects").is_none() {
        return Ok(None);
    }
    let item: serde_dynamo::Item = serde_json::from_value(image.clone()).map_err(|error| Error(error.to_string()))?;
    serde_dynamo::from_item(item).map(Some).map_err(|error| Error(error.to_string()))
}
