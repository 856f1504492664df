//! `notify`: tells people what happens to what they bought and subscribe to. Each message of the Deliveries queue is an effect
//! that somebody has to be told of, or a command: tell the next of those who have tickets, or write one message into one chat.

mod compose;
mod deliver;
pub mod event;
mod picture;

use crate::Error;
use crate::notices::{Command, DeliveriesMessage, tell};
use domain::effects::{Effect, What};
use platform::App;

pub async fn handle(app: App, body: String) -> Result<(), Error> {
    match DeliveriesMessage::parse(&body).map_err(unknown)? {
        DeliveriesMessage::Command(Command::Deliver(delivery)) => deliver::deliver(&app, delivery).await,
        DeliveriesMessage::Command(Command::Event { event, what, shard, cursor }) => {
            event::tell_page(&app, event, what, shard, cursor).await
        }
        DeliveriesMessage::Effect(Effect { what: What::EventChanged { event }, .. }) => {
            event::changed(&app, event).await
        }
        DeliveriesMessage::Effect(Effect { what: What::EventCancelled { event }, .. }) => {
            event::cancelled(&app, event).await
        }
        DeliveriesMessage::Effect(effect) => match compose::notice(&app, &effect).await? {
            Some(notice) => tell(&app, notice).await,
            None => Ok(()),
        },
    }
}

/// What is said of a message that is none of ours: where it ends to be one, and nothing of what it has there.
fn unknown(error: serde_json::Error) -> Error {
    Error::new(format!("an unknown message: it is wrong as {:?} at column {}", error.classify(), error.column()))
}
