//! `notify`: tells people what happens to what they bought and subscribe to. Each message of the Deliveries queue is an effect
//! that somebody has to be told of, or a command: tell the next of those who have tickets, or write one message into one chat.

mod compose;
mod deliver;
pub mod event;
mod picture;

use crate::Error;
use crate::commands::Message;
use crate::notices::{Command, tell};
use domain::effects::What;
use platform::App;

pub async fn handle(app: App, body: String) -> Result<(), Error> {
    let effect = match Message::parse(&body)? {
        Message::Command(Command::Deliver(delivery)) => return deliver::deliver(&app, delivery).await,
        Message::Command(Command::Event { event, what, shard, cursor }) => {
            return event::tell_page(&app, event, what, shard, cursor).await;
        }
        Message::Effect(effect) => effect,
    };
    match effect.what {
        What::EventChanged { event } => event::changed(&app, event).await,
        What::EventCancelled { event } => event::cancelled(&app, event).await,
        _ => match compose::notice(&app, &effect).await? {
            Some(notice) => tell(&app, notice).await,
            None => Ok(()),
        },
    }
}
