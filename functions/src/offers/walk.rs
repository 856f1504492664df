//! Telling those who wait: a page of them after the other, in fair order over all lines, a message a page, so that a hundred
//! thousand are as good as ten, and a crash loses none. No page is told before the messenger has almost written to those of
//! the last: whoever is told something else meanwhile waits for few of them.

use super::{Command, wanted};
use crate::Error;
use crate::notices::tell;
use domain::alerts::{Alert, Scope, When};
use domain::catalog::Event;
use domain::ids::EventId;
use domain::notices::{Kind, Notice, Show};
use futures_util::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use platform::App;
use platform::bus::QueueMessage;
use platform::seatmap::seat_map;
use platform::store::{Pace, StoreError, Walks};
use serde::{Deserialize, Serialize};

/// People that one message tells.
const PAGE_ALERTS_MAX: u16 = 200;
/// People that are told at the same time.
const AT_ONCE_MAX: usize = 8;
/// As fast as messengers write (`Messenger::apart`).
const TOLD_PER_SECOND: usize = 25;
/// How far ahead a messenger's turns may be given out when the next page is told.
const AHEAD_SECONDS: i64 = 4;
/// The longest that SQS delays a message.
const DELAY_SECONDS_MAX: i64 = 900;
/// How often those who wait for an event's seats are gone through, and how often one of them hears of it.
const WALK_SECONDS: i64 = 60;
const TOLD_SECONDS: i64 = 3_600;

/// Where a walk is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    event: EventId,
    when: When,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl Walk {
    /// One that begins.
    pub fn of(event: EventId, when: When) -> Self {
        Self { event, when, after: None }
    }
}

/// Has those told who wait for seats of this event to come back: now, or in a minute where they were gone through just now.
pub async fn soon(app: &App, event: &Event) -> Result<(), Error> {
    let walk = Walk::of(event.id, When::SeatsBack);
    match app.alerts.claim_walk(event.id, app.now(), WALK_SECONDS).await? {
        Walks::Now => page(app, walk).await,
        Walks::Later => send(app, Command::Walk(walk).message(WALK_SECONDS as u16)).await,
        Walks::Coming => Ok(()),
    }
}

/// Tells one page, and sends the message of the next.
pub async fn page(app: &App, walk: Walk) -> Result<(), Error> {
    let Some(event) = app.catalog.event(walk.event).await? else { return Ok(()) };
    let scopes = Scope::all_of(&event);
    let waited = app.alerts.waited(&[walk.when.into()], &scopes).await?;
    let waited: Vec<&Scope> = waited.into_iter().map(|(_, scope)| &scopes[scope]).collect();
    let ahead = ahead(app).await?.as_secs();
    if ahead > AHEAD_SECONDS {
        let delay = (ahead - AHEAD_SECONDS).min(DELAY_SECONDS_MAX);
        return send(app, Command::Walk(walk).message(delay as u16)).await;
    }
    let after = walk.after.as_deref();
    let (alerts, next) = app.alerts.in_order(walk.when.into(), &waited, after, PAGE_ALERTS_MAX).await?;
    let map = match walk.when {
        When::SeatsBack if !alerts.is_empty() => Some(seat_map(app, &event).await?),
        _ => None,
    };
    let is_met = |alert: &Alert| match &map {
        Some(map) => wanted(alert, &event, |ask, groups| map.best(ask, groups, &app.rng)).is_some(),
        None => alert.on_sale(&event),
    };
    let met: Vec<Alert> = alerts.into_iter().filter(is_met).collect();
    let told_count = met.len();
    let told = met.into_iter().map(|alert| tell_of(app, &event, walk.when, alert));
    futures_util::stream::iter(told).buffered(AT_ONCE_MAX).try_for_each(async |()| Ok(())).await?;
    match next {
        // Most of this page have no turn yet; and a messenger that is not built in has a pace that is not known here.
        Some(after) => {
            let delay = told_count.div_ceil(TOLD_PER_SECOND).clamp(1, DELAY_SECONDS_MAX as usize);
            send(app, Command::Walk(Walk { after: Some(after), ..walk }).message(delay as u16)).await
        }
        None => Ok(()),
    }
}

/// How far ahead the turns of the busiest messenger are given out.
async fn ahead(app: &App) -> Result<SignedDuration, StoreError> {
    let (now, mut latest) = (app.now(), SignedDuration::ZERO);
    for messenger in &app.messengers {
        let next = app.notices.next_turn(&Pace::Messenger(messenger.name()), now).await?;
        latest = latest.max(next.duration_since(now));
    }
    Ok(latest)
}

async fn tell_of(app: &App, event: &Event, when: When, alert: Alert) -> Result<(), Error> {
    let (show, now) = (Show::of(event), app.now());
    let (cause, kind) = match when {
        When::OnSale => (format!("{}.on_sale", event.id), Kind::OnSale { show, from: event.on_sale_from }),
        // Once an hour, however often seats come and go.
        When::SeatsBack => {
            let hour = now.as_second() / TOLD_SECONDS;
            (format!("{}.seats_back.{hour}", event.id), Kind::SeatsBack { show, seats: alert.quantity.into() })
        }
    };
    tell(app, Notice::new(&cause, alert.user, kind, now)).await
}

async fn send(app: &App, message: QueueMessage) -> Result<(), Error> {
    Ok(app.clients.bus.send(app.config.get("OFFERS_QUEUE_URL")?, vec![message]).await?)
}
