//! `offers`: seats of an event came free, or it is put on sale: whoever waits for that is offered the seats, or hears of them.
//!
//! Those with a standing alert come first, in fair order: seats are held for them by an order of theirs, which they only have
//! to pay. While anybody waits so, seats that come free are set aside (`R` words), and what nobody of them wants is
//! everybody's again; then all others who wait hear of it.

mod hold;
mod walk;

use crate::Error;
use crate::commands::{Message, message_of};
use domain::alerts::{Alert, Line, Scope, When};
use domain::catalog::Event;
use domain::effects::What;
use domain::ids::EventId;
use domain::seating::Place;
use domain::seating::best::BestAsk;
use platform::App;
use platform::bus::QueueMessage;
use serde::{Deserialize, Serialize};

/// Groups of seats that are looked at for one that is side by side.
const GROUPS_MAX: usize = 4;

/// What the Offers queue carries beside effects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Command {
    /// Tell the next who wait for an event's seats.
    #[serde(rename = "alerts.walk")]
    Walk(walk::Walk),
}

impl Command {
    /// The message of it, which carries the trace of the work at hand.
    fn message(&self, delay_seconds: u16) -> QueueMessage {
        message_of(self, delay_seconds)
    }
}

pub async fn handle(app: App, body: String) -> Result<(), Error> {
    match Message::parse(&body)? {
        Message::Command(Command::Walk(walk)) => walk::page(&app, walk).await,
        Message::Effect(effect) => match effect.what {
            What::SeatsFreed { event } => freed(&app, event).await,
            What::EventPublished { event } => walk::page(&app, walk::Walk::of(event, When::OnSale)).await,
            other => Err(Error::new(format!("offers does not take {}", other.kind()))),
        },
    }
}

async fn freed(app: &App, event: EventId) -> Result<(), Error> {
    let Some(event) = app.recent_event(event).await? else { return Ok(()) };
    let scopes = Scope::all_of(&event);
    let waited = app.alerts.waited(&[Line::Standing, Line::SeatsBack], &scopes).await?;
    let (standing, told): (Vec<_>, Vec<_>) = waited.into_iter().partition(|(line, _)| *line == Line::Standing);
    if !standing.is_empty() {
        let standing: Vec<_> = standing.into_iter().map(|(_, scope)| &scopes[scope]).collect();
        hold::offer(app, &event, &standing).await?;
    }
    if told.is_empty() { Ok(()) } else { walk::soon(app, &event).await }
}

/// Seats side by side that this alert is for, as `best` finds them; none if there are none.
fn wanted(
    alert: &Alert,
    event: &Event,
    mut best: impl FnMut(&BestAsk, usize) -> Vec<Vec<Place>>,
) -> Option<Vec<Place>> {
    let find = |ask: &BestAsk| best(ask, GROUPS_MAX).into_iter().find(|places| are_neighbours(places));
    alert.asks(event).iter().find_map(find)
}

fn are_neighbours(places: &[Place]) -> bool {
    let mut indexes: Vec<u8> = places.iter().map(|place| place.index).collect();
    indexes.sort_unstable();
    let is_one_row = places.iter().all(|place| place.block == places[0].block);
    is_one_row && indexes.windows(2).all(|pair| pair[1] == pair[0] + 1)
}
