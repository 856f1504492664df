//! Seats for those who wait with a standing alert: an order of theirs holds them, as if they had asked for them themselves.

use super::wanted;
use crate::Error;
use crate::buy::{OrderIn, SeatIn, place};
use crate::notices::{seat_names, tell};
use domain::alerts::{Alert, Line, Scope};
use domain::catalog::Event;
use domain::ids::{self, OrderId};
use domain::notices::{Kind, Notice, Show};
use domain::orders::{Order, OrderState};
use domain::seating::best::BestAsk;
use domain::seating::words::Channel;
use domain::seating::{Block, Place};
use platform::App;
use platform::seatmap::SetAside;
use platform::store::StoreError;
use std::collections::HashSet;

/// People that are looked at together, in fair order over all lines, and how often more are: whoever is further back is not
/// offered what none before them wants.
const PAGE_ALERTS_MAX: u16 = 100;
const PAGES_MAX: usize = 10;
/// Groups of seats that are tried for one of them, while others are faster.
const TRIES_MAX: usize = 4;
/// Writes of an account's alerts that lose to others before the message is delivered again.
const END_TRIES_MAX: usize = 4;

/// What came of an offer.
enum Came {
    Offered,
    /// Somebody was faster.
    Taken,
    /// This person cannot have them: their wish is over.
    Refused,
}

/// Offers what is free to those who wait, and gives everybody what none of them wants.
pub async fn offer(app: &App, event: &Event, scopes: &[&Scope]) -> Result<(), Error> {
    let is_on_sale = event.check_on_sale(app.now()).is_ok();
    if !is_on_sale {
        return close(app, event).await;
    }
    let (mut people, mut next) = app.alerts.in_order(Line::Standing, scopes, None, PAGE_ALERTS_MAX).await?;
    if people.is_empty() {
        return close(app, event).await;
    }
    app.seats.open_line(event.id).await?;
    let mut offered = Offered { free: SetAside::read(app, event, Channel::Line).await?, not_there: HashSet::new() };
    for _ in 0..PAGES_MAX {
        for alert in &people {
            offered.offer_to(app, event, alert).await?;
        }
        let Some(after) = next else { break };
        (people, next) = app.alerts.in_order(Line::Standing, scopes, Some(&after), PAGE_ALERTS_MAX).await?;
    }
    give_out(app, event).await
}

/// What is there to be offered, while it gets less.
struct Offered {
    free: SetAside,
    /// What was asked for in vain: so it is for all who follow.
    not_there: HashSet<BestAsk>,
}

impl Offered {
    async fn offer_to(&mut self, app: &App, event: &Event, alert: &Alert) -> Result<(), Error> {
        for _ in 0..TRIES_MAX {
            let Some(places) = wanted(alert, event, |ask, groups| self.best(app, ask, groups)) else { break };
            match hold(app, event, alert, &places, &self.free).await? {
                Came::Offered => {
                    self.free.take(places);
                    break;
                }
                Came::Refused => break,
                Came::Taken => self.free.take(places),
            }
        }
        Ok(())
    }

    fn best(&mut self, app: &App, ask: &BestAsk, groups_max: usize) -> Vec<Vec<Place>> {
        if self.not_there.contains(ask) {
            return Vec::new();
        }
        let found = self.free.best(ask, groups_max, &app.rng);
        if found.is_empty() {
            self.not_there.insert(ask.clone());
        }
        found
    }
}

/// Nobody waits any more, or the sale is over: what comes free is everybody's from now on, and so is what was set aside.
async fn close(app: &App, event: &Event) -> Result<(), Error> {
    if app.seats.waiting(event.id).await?.is_none() {
        return Ok(());
    }
    app.seats.close_line(event.id).await?;
    give_out(app, event).await
}

/// Holds these seats for somebody who waits, tells them, and ends their alert: it was for one offer.
///
/// The order's id is the alert's, so that whoever comes after a crash finds the offer that was made.
async fn hold(app: &App, event: &Event, alert: &Alert, places: &[Place], free: &SetAside) -> Result<Came, Error> {
    let secret = app.secret("ORDER_ID_KEY").await.map_err(Error::new)?;
    let id = OrderId(ids::keyed(&alert.user.to_string(), &format!("offer {secret}"), &alert.id.to_string()));
    let (order, is_new) = match app.orders.get(alert.user, id).await? {
        Some(order) => (order, false),
        None => {
            let names = places.iter().filter_map(|place| free.name_of(place));
            let seats = names.map(|name| SeatIn { section: name.section, row: name.row, seat: name.seat }).collect();
            let ask = OrderIn { event_id: event.id, seats: Some(seats), best: None };
            let request = alert.id.to_string();
            match place::place_for(app, alert.user, id, &request, &ask, Some(Channel::Line)).await {
                Ok(order) => (order, true),
                Err(problem) if problem.code == "seats_taken" => return Ok(Came::Taken),
                Err(problem) if problem.status.is_client_error() => {
                    tracing::warn!(alert = %alert.id, code = problem.code, "an offer cannot be made");
                    end(app, alert).await?;
                    return Ok(Came::Refused);
                }
                Err(problem) => return Err(problem.into()),
            }
        }
    };
    if matches!(order.state, OrderState::Held | OrderState::Paying) {
        tell(app, Notice::new(&order.id.to_string(), alert.user, told(app, event, &order).await?, app.now())).await?;
        tracing::info!(alert = %alert.id, order = %order.id, seats = order.seats.len(), "seats offered");
    }
    end(app, alert).await?;
    Ok(if is_new { Came::Offered } else { Came::Refused })
}

async fn told(app: &App, event: &Event, order: &Order) -> Result<Kind, StoreError> {
    Ok(Kind::Offer {
        order: order.id,
        show: Show::of(event),
        seats: seat_names(app, event, order.seats.iter()).await?,
        total: order.total(),
        until: order.hold_until,
    })
}

async fn end(app: &App, alert: &Alert) -> Result<(), StoreError> {
    for _ in 0..END_TRIES_MAX {
        let (alerts, revision) = app.alerts.of_user(alert.user).await?;
        if !alerts.iter().any(|known| known.id == alert.id) {
            return Ok(());
        }
        match app.alerts.end(alert, revision, app.now()).await {
            Err(StoreError::Conflict) => {}
            ended => return ended,
        }
    }
    Err(StoreError::Throttled("the alerts of an account are written too often".into()))
}

/// Gives everybody the seats that are set aside and that nobody has.
async fn give_out(app: &App, event: &Event) -> Result<(), Error> {
    let hall = app.hall(event.layout).await?.ok_or_else(|| Error::new("the event's layout is not there"))?;
    let aside = Channel::Line.set_aside();
    for section in &hall.layout().sections {
        for (row, words) in app.seats.section(event.id, &section.id).await? {
            let own = words.into_iter().filter(|(_, word)| *word == aside);
            let own: Vec<_> = own.map(|(index, word)| (index, vec![word])).collect();
            let block = Block { section: section.id.clone(), row };
            for part in own.chunks(domain::catalog::ORDER_SEATS_MAX) {
                app.seats.release(event.id, &block, part, None).await?;
            }
        }
    }
    Ok(())
}
