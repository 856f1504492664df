//! `republish`: publishes what `relay` could not, as often as it takes. What is still not published after the queue's
//! `maxReceiveCount` waits in its dead letters for a person.

use crate::commands::Envelope;
use crate::{Error, relay};
use platform::App;
use platform::bus::TopicMessage;
use serde_json::Value;

/// An effect, or a stream record whole where `relay` could not read it: after a repair it can.
pub async fn handle(app: App, body: String) -> Result<(), Error> {
    let value: Value = serde_json::from_str(&body).map_err(Error::new)?;
    let messages = match value.get("dynamodb") {
        Some(_) => relay::effects(&value).map_err(Error::new)?,
        None => {
            let envelope: Envelope = serde_json::from_value(value).map_err(Error::new)?;
            vec![TopicMessage { kind: envelope.effect.what.kind().to_owned(), body }]
        }
    };
    app.clients.bus.publish(app.config.get("EVENTS_TOPIC_ARN")?, messages.clone()).await?;
    messages.iter().for_each(relay::published);
    Ok(())
}
