//! Telling people things: a notice is written once, and a message for each of their chats goes to the Deliveries queue.

use crate::Error;
use crate::commands::message_of;
use domain::catalog::Event;
use domain::chats::{ChatRef, ChatState};
use domain::ids::{EventId, NoticeId, UserId};
use domain::notices::{Group, Notice};
use domain::orders::OrderSeat;
use domain::seating::SeatName;
use jiff::Timestamp;
use platform::App;
use platform::bus::QueueMessage;
use platform::store::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What the Deliveries queue carries beside effects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Command {
    /// Write a message of a notice into a chat.
    #[serde(rename = "notice.deliver")]
    Deliver(Delivery),
    /// Tell whoever has tickets of an event, by one shard of the journal, from after `cursor`.
    #[serde(rename = "notice.event")]
    Event { event: EventId, what: About, shard: u8, cursor: Option<String> },
}

/// One message of a notice to one chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub user: UserId,
    pub notice: NoticeId,
    pub chat: ChatRef,
    /// Which message of the notice.
    #[serde(default)]
    pub part: u8,
    /// The turn that it has in its chat, and that at the messenger: it is not sent before either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_turn: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Timestamp>,
}

/// What those who have tickets of an event are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// It was moved or replaced, the last time at this moment.
    Changed {
        at: Timestamp,
    },
    Cancelled,
    /// It starts soon, at this moment.
    Reminder {
        starts_at: Timestamp,
    },
}

impl Command {
    /// The message of it, which carries the trace of the work at hand.
    pub fn message(&self, delay_seconds: u16) -> QueueMessage {
        message_of(self, delay_seconds)
    }
}

/// Tells somebody something, once however often it is asked for: the notice is in their list, and on its way to each chat
/// that they have, or to their address. What was told first stays.
pub async fn tell(app: &App, notice: Notice) -> Result<(), Error> {
    let notice = match app.notices.put_new(&notice).await? {
        Ok(()) => notice,
        // Whoever wrote it may have come no further: the messages go again, and find what was sent.
        Err(stored) => stored,
    };
    let chats = app.chats.of_user(notice.user).await?;
    let had_chat = !chats.is_empty();
    let linked = chats.into_iter().filter(|chat| chat.state == ChatState::Linked);
    // One after the other, as they are to be read; the chat's pace is one a second.
    let message = |chat: &ChatRef, part| Delivery::new(&notice, chat.clone(), part).message(u16::from(part));
    let in_chats = linked.flat_map(|chat| (0..notice.parts()).map(move |part| (chat.at.clone(), part)));
    let mut messages: Vec<_> = in_chats.map(|(chat, part)| message(&chat, part)).collect();
    // An address is not confirmed: whom it is of hears of what was paid for, but not of wishes that anybody may have made.
    let may_be_mailed = had_chat || notice.kind.rules().group != Group::Alerts;
    if messages.is_empty() && may_be_mailed && app.writes_email() {
        messages.push(message(&ChatRef::email_of(notice.user), 0));
    }
    send(app, messages).await
}

/// Seats as people call them: with the name of their section, which an order has by its id.
pub async fn seat_names<'a>(
    app: &App,
    event: &Event,
    seats: impl Iterator<Item = &'a OrderSeat>,
) -> Result<Vec<SeatName>, StoreError> {
    let hall = app.hall(event.layout).await?;
    let sections = hall.iter().flat_map(|hall| &hall.layout().sections);
    let names: HashMap<&str, &str> = sections.map(|found| (found.id.as_str(), found.name.as_str())).collect();
    let named = |seat: &OrderSeat| {
        let name = seat.name();
        SeatName { section: names.get(name.section.as_str()).map_or(name.section, |&known| known.to_owned()), ..name }
    };
    Ok(seats.map(named).collect())
}

/// Puts messages on the Deliveries queue.
pub async fn send(app: &App, messages: Vec<QueueMessage>) -> Result<(), Error> {
    if messages.is_empty() {
        return Ok(());
    }
    let queue = app.config.get("DELIVERIES_QUEUE_URL")?;
    app.clients.bus.send(queue, messages).await.map_err(Error::from)
}

impl Delivery {
    fn new(notice: &Notice, chat: ChatRef, part: u8) -> Self {
        Self { user: notice.user, notice: notice.id, chat, part, chat_turn: None, turn: None }
    }

    pub fn message(self, delay_seconds: u16) -> QueueMessage {
        Command::Deliver(self).message(delay_seconds)
    }
}
