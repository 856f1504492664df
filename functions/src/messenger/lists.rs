//! What the bot lists: events, one's own tickets, one's own alerts. A message has 4,096 characters at most, so names are cut
//! and lists are short; the web pages have the rest.

use super::bot::{Talk, Words};
use crate::catalog::months;
use crate::notices::seat_names;
use domain::alerts::{Alert, Scope, When};
use domain::catalog::{Event, EventStatus};
use domain::notices::seat_name;
use domain::orders::{Order, OrderSeat, TicketState};
use domain::texts::Arg;
use futures_util::future::try_join_all;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use platform::App;
use platform::messenger::Button;
use platform::store::StoreError;
use std::sync::Arc;

const EVENTS_SHOWN_MAX: usize = 8;
const ORDERS_SHOWN_MAX: usize = 8;
/// Orders that are looked through for valid tickets, and how many are read at once.
const ORDER_PAGES_MAX: usize = 5;
const ORDER_PAGE_ORDERS: u16 = 100;
/// How long after its start an event's tickets are still shown.
const SHOWN_AFTER_START: SignedDuration = SignedDuration::from_hours(6);
/// Characters of a name in a list, of the names of an order's seats, and of a name on a button.
const NAME_CHARS_MAX: usize = 80;
const SEATS_CHARS_MAX: usize = 160;
const BUTTON_CHARS_MAX: usize = 40;

/// A text cut to so many characters, so that it is seen.
fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

/// What a text about an event is filled in with.
fn facts(talk: &Talk<'_>, event: &Event) -> [(&'static str, Arg); 4] {
    let zone = TimeZone::get(&event.venue.time_zone).unwrap_or(TimeZone::UTC);
    [
        ("name", cut(&event.name, NAME_CHARS_MAX).into()),
        ("date", talk.locale.date(event.starts_at, &zone).into()),
        ("venue", cut(&event.venue.name, NAME_CHARS_MAX).into()),
        ("city", cut(&event.venue.city, NAME_CHARS_MAX).into()),
    ]
}

/// Paragraphs below a heading.
fn listed(heading: String, parts: Vec<String>) -> String {
    [vec![heading], parts].concat().join("\n\n")
}

/// `/events`: the next that anybody may see.
pub async fn events(talk: &Talk<'_>) -> Result<Words, StoreError> {
    let now = talk.app.now();
    let mut found: Vec<Event> = Vec::new();
    for month in months(now, now + SignedDuration::from_hours(366 * 24)) {
        if found.len() >= EVENTS_SHOWN_MAX {
            break;
        }
        let is_next = |event: &&Event| event.status == EventStatus::Published && !event.hidden && event.starts_at > now;
        let events = talk.app.recent_month(&month).await?;
        found.extend(events.iter().filter(is_next).take(EVENTS_SHOWN_MAX - found.len()).cloned());
    }
    if found.is_empty() {
        return Ok(talk.html("bot-events-none", &[]).into());
    }
    let button = |event: &Event| -> Result<Vec<Button>, StoreError> {
        let (text, url) = (cut(&event.name, BUTTON_CHARS_MAX), talk.url(&format!("events/{}", event.id))?);
        Ok(vec![Button::Link { text, url }])
    };
    let buttons = found.iter().map(button).collect::<Result<_, _>>()?;
    let parts = found.iter().map(|event| talk.html("bot-event", &facts(talk, event))).collect();
    Ok(Words { html: listed(talk.html("bot-events", &[]), parts), buttons })
}

/// An order with valid tickets, and its event.
struct Held {
    order: Order,
    event: Arc<Event>,
}

/// `/tickets`: one's own that are valid, the next event's first.
pub async fn tickets(talk: &Talk<'_>) -> Result<Words, StoreError> {
    if talk.chat.is_none() {
        return talk.not_linked();
    }
    let held = held(talk).await?;
    if held.is_empty() {
        return Ok(Words { html: talk.html("bot-tickets-none", &[]), buttons: vec![vec![talk.site()?]] });
    }
    let shown = held.iter().take(ORDERS_SHOWN_MAX).map(|held| ticket_text(talk, held));
    let mut parts = try_join_all(shown).await?;
    if held.len() > ORDERS_SHOWN_MAX {
        parts.push(talk.html("bot-tickets-more", &[("count", ((held.len() - ORDERS_SHOWN_MAX) as i64).into())]));
    }
    let button = |held: &Held| -> Result<Vec<Button>, StoreError> {
        let (text, url) = (cut(&held.event.name, BUTTON_CHARS_MAX), talk.url(&format!("orders/{}", held.order.id))?);
        Ok(vec![Button::Link { text, url }])
    };
    let buttons = held.iter().take(ORDERS_SHOWN_MAX).map(button).collect::<Result<_, _>>()?;
    Ok(Words { html: listed(talk.html("bot-tickets", &[]), parts), buttons })
}

async fn held(talk: &Talk<'_>) -> Result<Vec<Held>, StoreError> {
    let (app, Some(chat)) = (talk.app, &talk.chat) else { return Ok(Vec::new()) };
    let (mut orders, mut cursor) = (Vec::new(), None);
    for _ in 0..ORDER_PAGES_MAX {
        let (page, next) = app.orders.list(chat.user, ORDER_PAGE_ORDERS, cursor).await?;
        orders.extend(page.into_iter().filter(|order| valid(order).next().is_some()));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let mut held = Vec::new();
    for order in orders {
        let event = app.recent_event(order.event).await?;
        let event = event.filter(|event| event.starts_at + SHOWN_AFTER_START > app.now());
        held.extend(event.map(|event| Held { order, event }));
    }
    held.sort_by_key(|held| (held.event.starts_at, held.order.id));
    Ok(held)
}

fn valid(order: &Order) -> impl Iterator<Item = &OrderSeat> {
    order.tickets().filter(|(_, _, state)| *state == TicketState::Valid).map(|(_, seat, _)| seat)
}

async fn ticket_text(talk: &Talk<'_>, held: &Held) -> Result<String, StoreError> {
    let seats = seat_names(talk.app, &held.event, valid(&held.order)).await?;
    let seats: Vec<String> = seats.iter().map(|seat| seat_name(seat, talk.locale)).collect();
    let (count, seats) = (seats.len() as i64, cut(&seats.join("; "), SEATS_CHARS_MAX));
    let args = [facts(talk, &held.event).as_slice(), &[("count", count.into()), ("seats", seats.into())]].concat();
    Ok(talk.html("bot-ticket", &args))
}

/// `/alerts`: one's own, with a button to end each.
pub async fn alerts(talk: &Talk<'_>) -> Result<Words, StoreError> {
    let Some(chat) = &talk.chat else { return talk.not_linked() };
    let (alerts, _) = talk.app.alerts.of_user(chat.user).await?;
    if alerts.is_empty() {
        return Ok(Words { html: talk.html("bot-alerts-none", &[]), buttons: vec![vec![talk.site()?]] });
    }
    let subjects = try_join_all(alerts.iter().map(|alert| subject(talk, &alert.scope))).await?;
    let parts = alerts.iter().zip(subjects).zip(1..).map(|((alert, subject), number)| {
        let args = [("number", Arg::Number(number)), ("subject", subject.into()), ("terms", terms(talk, alert).into())];
        talk.html("bot-alert", &args)
    });
    let button = |(alert, number): (&Alert, i64)| Button::Press {
        text: talk.plain("bot-alert-off", &[("number", number.into())]),
        data: format!("alert-off:{}", alert.id),
    };
    let buttons: Vec<Button> = alerts.iter().zip(1..).map(button).collect();
    let html = listed(talk.html("bot-alerts", &[]), parts.collect());
    Ok(Words { html, buttons: buttons.chunks(2).map(<[Button]>::to_vec).collect() })
}

/// What an alert is about, by its name.
async fn subject(talk: &Talk<'_>, scope: &Scope) -> Result<String, StoreError> {
    let app: &App = talk.app;
    let name = match scope {
        Scope::Event(id) => app.recent_event(*id).await?.map(|event| event.name.clone()),
        Scope::Performer(id) => app.catalog.performer(*id).await?.map(|found| found.made.name),
        Scope::Venue(id) => app.catalog.venue(*id).await?.map(|found| found.made.name),
        Scope::City(name) => Some(name.clone()),
        Scope::Any => Some(talk.plain("bot-alert-any", &[])),
    };
    Ok(cut(&name.unwrap_or_else(|| scope.to_string()), NAME_CHARS_MAX))
}

/// What an alert waits for, in words.
fn terms(talk: &Talk<'_>, alert: &Alert) -> String {
    let when = match alert.when {
        When::OnSale => "bot-alert-on-sale",
        When::SeatsBack if alert.standing => "bot-alert-standing",
        When::SeatsBack => "bot-alert-seats-back",
    };
    let mut terms = vec![talk.plain(when, &[])];
    if alert.quantity > 1 {
        terms.push(talk.plain("bot-alert-quantity", &[("count", i64::from(alert.quantity).into())]));
    }
    if let Some(price) = alert.price_max {
        terms.push(talk.plain("bot-alert-price", &[("price", talk.locale.money(price).into())]));
    }
    if !alert.sections.is_empty() {
        let sections = cut(&alert.sections.join(", "), NAME_CHARS_MAX);
        terms.push(talk.plain("bot-alert-sections", &[("sections", sections.into())]));
    }
    terms.join(", ")
}
