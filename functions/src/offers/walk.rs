//! Telling those who wait: page by page of each part of each line, a message a page, so that a hundred thousand are as good as
//! ten, and a crash loses none.

use super::{Command, wanted};
use crate::Error;
use crate::notices::tell;
use domain::alerts::{Alert, LINE_SHARDS, Scope, When};
use domain::catalog::Event;
use domain::ids::EventId;
use domain::notices::{Kind, Notice, Show};
use futures_util::{StreamExt, TryStreamExt};
use platform::App;
use platform::seatmap::seat_map;
use platform::store::Walks;
use serde::{Deserialize, Serialize};

/// People that one message tells.
const PAGE_ALERTS_MAX: u16 = 100;
/// People that are told at the same time.
const AT_ONCE_MAX: usize = 8;
/// How often those who wait for an event's seats are gone through, and how often one of them hears of it.
const WALK_SECONDS: i64 = 60;
const TOLD_SECONDS: i64 = 3_600;

/// Where a walk is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    event: EventId,
    when: When,
    /// Which of the event's scopes, and which part of its line.
    scope: u8,
    shard: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// Has those told who wait for seats of this event to come back: now, or in a minute where they were gone through just now.
pub async fn soon(app: &App, event: &Event) -> Result<(), Error> {
    let delay = match app.alerts.claim_walk(event.id, app.now(), WALK_SECONDS).await? {
        Walks::Now => return begin(app, event.id, When::SeatsBack).await,
        Walks::Later => WALK_SECONDS as u16,
        Walks::Coming => return Ok(()),
    };
    send(app, vec![Command::Begin { event: event.id, when: When::SeatsBack }.message(delay)]).await
}

/// Sends a message for each part of each line that an event is in and somebody waits in.
pub async fn begin(app: &App, event: EventId, when: When) -> Result<(), Error> {
    let Some(event) = app.catalog.event(event).await? else { return Ok(()) };
    let mut messages = Vec::new();
    for (_, scope) in app.alerts.waited(&[when.into()], &Scope::all_of(&event)).await? {
        let scope = u8::try_from(scope).expect("an event is in few scopes");
        let walk = |shard| Walk { event: event.id, when, scope, shard, after: None };
        messages.extend((0..LINE_SHARDS).map(|shard| Command::Walk(walk(shard)).message(0)));
    }
    send(app, messages).await
}

/// Tells one page, and sends the message of the next.
pub async fn page(app: &App, walk: Walk) -> Result<(), Error> {
    let Some(event) = app.catalog.event(walk.event).await? else { return Ok(()) };
    let Some(scope) = Scope::all_of(&event).into_iter().nth(walk.scope.into()) else { return Ok(()) };
    let after = walk.after.as_deref();
    let (alerts, next) = app.alerts.line(walk.when.into(), &scope, walk.shard, after, PAGE_ALERTS_MAX).await?;
    let map = match walk.when {
        When::SeatsBack => Some(seat_map(app, &event).await?),
        When::OnSale => None,
    };
    let is_met = |alert: &Alert| match &map {
        Some(map) => wanted(alert, &event, |ask, groups| map.best(ask, groups, &app.rng)).is_some(),
        None => alert.on_sale(&event),
    };
    let met: Vec<Alert> = alerts.into_iter().filter(is_met).collect();
    let told = met.into_iter().map(|alert| tell_of(app, &event, walk.when, alert));
    futures_util::stream::iter(told).buffer_unordered(AT_ONCE_MAX).try_for_each(async |()| Ok(())).await?;
    match next {
        Some(after) => send(app, vec![Command::Walk(Walk { after: Some(after), ..walk }).message(0)]).await,
        None => Ok(()),
    }
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

async fn send(app: &App, messages: Vec<platform::bus::QueueMessage>) -> Result<(), Error> {
    if messages.is_empty() {
        return Ok(());
    }
    Ok(app.clients.bus.send(app.config.get("OFFERS_QUEUE_URL")?, messages).await?)
}
