//! What a buyer gets back: policies as data, and the decision with its reason.
//!
//! Three policies ship: the organiser's own tiers, the statute for performing arts in Russia (with or without tiers of
//! the organiser's beside it), and nothing but for a cancelled or changed event. The buyer gets the better of all.

mod policy;
mod sending;

pub use sending::{RefundState, Sending};

pub use policy::{Notice, RefundPolicy, Statute, Term, Tier};

use crate::catalog::{Change, ChangeKind, Event, EventStatus, Price};
use crate::money::{BasisPoints, Currency, Money, MoneyError};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use policy::{RU_BEREAVEMENT, RU_ILLNESS};
use serde::{Deserialize, Serialize};

/// The source of a rule that is not a law's.
pub const ORGANISER: &str = "the organiser's terms of sale";

/// Why a refund is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// The buyer no longer wishes to come.
    Wish,
    /// The visitor's own illness, with a document that staff have seen.
    Illness,
    /// The death of a member of the visitor's family or a close relative, with a document that staff have seen.
    Bereavement,
    EventCancelled,
    EventMoved,
    EventReplaced,
}

/// What a decision needs to know of the event, as it is now.
#[derive(Clone, Copy, Debug)]
pub struct EventFacts<'a> {
    pub starts_at: Timestamp,
    /// IANA name of the venue's zone, in which days are counted.
    pub time_zone: &'a str,
    pub cancelled: bool,
    pub changes: &'a [Change],
}

impl<'a> From<&'a Event> for EventFacts<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            starts_at: event.starts_at,
            time_zone: &event.venue.time_zone,
            cancelled: event.status == EventStatus::Cancelled,
            changes: &event.changes,
        }
    }
}

/// What is asked for: these tickets, on this ground.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What was paid for each ticket, in minor units of `currency`; none negative.
    pub prices: &'a [Price],
    pub currency: Currency,
    pub bought_at: Timestamp,
    pub ground: Ground,
    /// Whether staff have seen the documents; a buyer never sets this.
    pub decided_by_staff: bool,
}

/// What is due, and by which rule. It is stored before money moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The ground decided on: a change of the event, where there was one, rather than the buyer's wish.
    pub ground: Ground,
    /// Of the tickets' prices; a service fee goes back whole or not at all.
    pub share: BasisPoints,
    /// What each ticket gives, in the order of the prices asked about.
    pub amounts: Vec<Price>,
    /// All of it, fees included.
    pub total: Money,
    /// How much of it is service fees.
    pub fee: i64,
    /// A stable code, such as `ru_52_1_10_days`.
    pub rule: String,
    /// For people.
    pub reason: String,
    /// The law's article, or [`ORGANISER`].
    pub source: String,
}

/// Why nothing is given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the event has already started")]
    Started,
    #[error("nothing is due {0} days before the event under its refund policy")]
    NothingDue(i64),
    #[error("this event's refund policy does not know this ground, or it does not hold for this event")]
    GroundAbsent(Ground),
    #[error("this ground is decided by staff, who see the documents")]
    StaffOnly(Ground),
    #[error("there is no time zone {0}")]
    UnknownZone(String),
    #[error("no tickets were named")]
    NoTickets,
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Decides what is due at `now`: the most that any ground and rule gives, rounded up to the minor unit.
pub fn decide(
    policy: &RefundPolicy,
    event: &EventFacts<'_>,
    ask: &Ask<'_>,
    now: Timestamp,
) -> Result<Decision, Refused> {
    if ask.prices.is_empty() {
        return Err(Refused::NoTickets);
    }
    assert!(ask.prices.iter().all(|price| price.ticket >= 0 && price.fee >= 0), "a price is never negative");
    let (ground, term) = find_term(policy, event, ask, now)?;
    decision(ground, term, ask.currency, ask.prices)
}

fn find_term(
    policy: &RefundPolicy,
    event: &EventFacts<'_>,
    ask: &Ask<'_>,
    now: Timestamp,
) -> Result<(Ground, Term), Refused> {
    if event.cancelled {
        return Ok((Ground::EventCancelled, policy.changed("event_cancelled", "the event was cancelled")));
    }
    let clock = Clock::new(event, now)?;
    if !clock.started
        && let Some(change) = event.changes.iter().rev().find(|change| change.at >= ask.bought_at)
    {
        return Ok(match change.kind {
            ChangeKind::Moved => (Ground::EventMoved, policy.changed("event_moved", "the event was moved")),
            ChangeKind::Replaced => (Ground::EventReplaced, policy.changed("event_replaced", "the event was replaced")),
        });
    }
    let term = match ask.ground {
        Ground::Wish if clock.started => return Err(Refused::Started),
        Ground::Wish => policy.tier(&clock).ok_or(Refused::NothingDue(clock.days))?,
        Ground::Illness => hardship(policy, ask, &clock, RU_ILLNESS)?,
        Ground::Bereavement => hardship(policy, ask, &clock, RU_BEREAVEMENT)?,
        _ if clock.started => return Err(Refused::Started),
        absent => return Err(Refused::GroundAbsent(absent)),
    };
    Ok((ask.ground, term))
}

/// Illness and bereavement: outside the tiers, until the end of the event's day.
fn hardship(policy: &RefundPolicy, ask: &Ask<'_>, clock: &Clock, rule: policy::Rule) -> Result<Term, Refused> {
    match policy.statute {
        None => Err(Refused::GroundAbsent(ask.ground)),
        Some(Statute::RuPerformingArts) if !ask.decided_by_staff => Err(Refused::StaffOnly(ask.ground)),
        Some(Statute::RuPerformingArts) if clock.days < 0 => Err(Refused::Started),
        Some(Statute::RuPerformingArts) => Ok(rule.term(policy)),
    }
}

fn decision(ground: Ground, term: Term, currency: Currency, prices: &[Price]) -> Result<Decision, Refused> {
    let Term { share, returns_service_fee, rule, text, source } = term;
    let given = |price: &Price| Price {
        ticket: Money::new(price.ticket, currency).share_up(share).amount,
        fee: if returns_service_fee { price.fee } else { 0 },
    };
    let amounts: Vec<_> = prices.iter().map(given).collect();
    let sum =
        |part: fn(&Price) -> i64| Money::sum(currency, amounts.iter().map(|amount| Money::new(part(amount), currency)));
    let fees = sum(|amount| amount.fee)?;
    let total = sum(|amount| amount.ticket)?.plus(fees)?;
    Ok(Decision { ground, share, total, fee: fees.amount, amounts, rule, reason: text, source })
}

/// How far off the event is.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Calendar days in the venue's zone from today to the day of the event; negative after it.
    days: i64,
    seconds: i64,
    started: bool,
}

impl Clock {
    fn new(event: &EventFacts<'_>, now: Timestamp) -> Result<Self, Refused> {
        let zone = TimeZone::get(event.time_zone).map_err(|_| Refused::UnknownZone(event.time_zone.to_owned()))?;
        let day = |at: Timestamp| at.to_zoned(zone.clone()).date();
        Ok(Self {
            days: days_between(day(now), day(event.starts_at)),
            seconds: event.starts_at.duration_since(now).as_secs(),
            started: now >= event.starts_at,
        })
    }
}

fn days_between(from: Date, to: Date) -> i64 {
    to.duration_since(from).as_hours() / 24
}

#[cfg(test)]
mod tests;
