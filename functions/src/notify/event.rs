//! Telling everybody who has tickets of an event, a page of the journal at a time: never all in one invocation, and going on
//! where it stopped. Each notice has an id by its order and its cause, so that whoever is met twice is told once.

use super::compose;
use crate::Error;
use crate::notices::{About, Command, seat_names, send, tell};
use crate::settle::LAST_PASS_SECONDS;
use domain::catalog::{Event, EventStatus};
use domain::ids::{EventId, SeatIndex};
use domain::ledger::Cause;
use domain::notices::{Kind, Notice, Show};
use domain::orders::{Order, OrderSeat, RefundAsk, TicketState};
use domain::seating::SeatName;
use platform::App;
use platform::store::LEDGER_SHARDS;

/// Orders that one message works through.
const PAGE_ORDERS: i32 = 25;

/// Who bought before an event's last change is told of it; a new price alone is nobody's matter.
pub async fn changed(app: &App, event: EventId) -> Result<(), Error> {
    let event = compose::event(app, event).await?;
    let last = event.changes.iter().map(|change| change.at).max();
    match last.filter(|_| event.status == EventStatus::Published) {
        Some(at) => send(app, pass(event.id, About::Changed { at }, 0)).await,
        None => Ok(()),
    }
}

pub async fn cancelled(app: &App, event: EventId) -> Result<(), Error> {
    let passes = [0, LAST_PASS_SECONDS].into_iter().flat_map(|delay| pass(event, About::Cancelled, delay));
    send(app, passes.collect()).await
}

/// The messages that begin to tell everybody, one a shard of the journal.
pub fn pass(event: EventId, what: About, delay_seconds: u16) -> Vec<platform::bus::QueueMessage> {
    let command = |shard| Command::Event { event, what, shard, cursor: None }.message(delay_seconds);
    (0..LEDGER_SHARDS).map(command).collect()
}

pub async fn tell_page(app: &App, event: EventId, what: About, shard: u8, cursor: Option<String>) -> Result<(), Error> {
    let event = compose::event(app, event).await?;
    let (entries, next) = app.ledger.list(event.id, shard, cursor, PAGE_ORDERS).await?;
    for entry in entries.iter().filter(|entry| entry.cause == Cause::Sale) {
        let order = compose::order(app, entry.buyer, entry.order).await?;
        let held = seat_names(app, &event, held(&order)).await?;
        if let Some((cause, kind)) = told(&event, &order, held, what) {
            tell(app, Notice::new(&format!("{}.{cause}", order.id), order.buyer, kind, app.now())).await?;
        }
    }
    // Last, so that a page that is delivered again does not send the rest again and again.
    match next {
        Some(cursor) => {
            let rest = Command::Event { event: event.id, what, shard, cursor: Some(cursor) };
            send(app, vec![rest.message(0)]).await
        }
        None => Ok(()),
    }
}

/// What the buyer of an order who has these seats is told, and the cause by which it is told once; none if it does not concern them.
fn told(event: &Event, order: &Order, seats: Vec<SeatName>, what: About) -> Option<(String, Kind)> {
    let (id, show) = (order.id, Show::of(event));
    let is_on = event.status == EventStatus::Published && !seats.is_empty();
    match what {
        About::Changed { at } => {
            // All changes since it was bought: an effect that is late must not hide the one before.
            let changes = event.changes.iter().filter(|change| order.placed_at < change.at).map(|change| change.kind);
            let changes: Vec<_> = changes.collect();
            let performer = event.performer.name.clone();
            let kind = Kind::EventChanged { order: id, show, performer, changes };
            (is_on && order.placed_at < at).then(|| (format!("changed.{at}"), kind))
        }
        About::Cancelled => {
            let given_back = order.refund(RefundAsk::of_cancelled(id, event.id).id).is_some();
            let concerns = event.status == EventStatus::Cancelled && (given_back || !seats.is_empty());
            concerns.then(|| ("cancelled".to_owned(), Kind::EventCancelled { order: id, show }))
        }
        About::Reminder { starts_at } => {
            let is_so = is_on && event.starts_at == starts_at;
            is_so.then(|| (format!("reminder.{starts_at}"), Kind::Reminder { order: id, show, seats }))
        }
    }
}

/// The seats of the tickets that somebody still may enter with.
fn held(order: &Order) -> impl Iterator<Item = &OrderSeat> {
    let valid = order.tickets().filter(|(.., state)| *state == TicketState::Valid);
    valid.map(|(_, seat, _)| seat)
}

/// Whether this ticket of an order may be entered with.
pub fn is_valid(order: &Order, index: SeatIndex) -> bool {
    order.ticket(index).is_some_and(|(.., state)| state == TicketState::Valid)
}
