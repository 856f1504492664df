//! What is performed, where, when, at what price and on what terms.

use crate::effects::{Effect, What};
use crate::ids::{EventId, LayoutId, PerformerId, VenueId};
use crate::layout::LayoutRef;
use crate::money::Currency;
use crate::refunds::RefundPolicy;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Categories a hall may have.
pub const CATEGORIES_MAX: usize = 32;
/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 200;
/// Seats one order may hold, unless a perk says more.
pub const ORDER_SEATS_MAX: usize = 10;
/// The largest service fee of a ticket: one million of a two-digit currency.
pub const SERVICE_FEE_MINOR_UNITS_MAX: i64 = 100_000_000;

/// A house with an address; its time zone is the one that calendar days are counted in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Venue {
    pub id: VenueId,
    pub name: String,
    pub city: String,
    pub address: String,
    /// IANA name, such as `Europe/Moscow`.
    pub time_zone: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Performer {
    pub id: PerformerId,
    pub name: String,
}

/// Where an event stands in its life. Only `published` events are sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    Draft,
    Published,
    Cancelled,
}

/// A change after publication that gives every earlier buyer the whole price back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The start was moved.
    Moved,
    /// What is performed, or who performs, was replaced.
    Replaced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub kind: ChangeKind,
    pub at: Timestamp,
}

/// What a seat costs, or what of that goes back, in minor units of one currency; never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// For the ticket itself: owed to the organiser.
    #[serde(rename = "price")]
    pub ticket: i64,
    /// The service fee: the box office's own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fee: i64,
}

impl Price {
    /// A ticket for which nothing is paid has no fee.
    pub fn new(ticket: i64, fee: i64) -> Self {
        Self { ticket, fee: if ticket == 0 { 0 } else { fee } }
    }

    pub fn total(self) -> i64 {
        self.ticket + self.fee
    }
}

impl std::iter::Sum for Price {
    fn sum<I: Iterator<Item = Self>>(prices: I) -> Self {
        prices.fold(Self::default(), |sum, price| Self { ticket: sum.ticket + price.ticket, fee: sum.fee + price.fee })
    }
}

/// For members that are not kept where they are nothing.
pub fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

/// One performance, with everything that a sale needs copied in, so that a sale reads one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: EventId,
    pub name: String,
    pub performer: Performer,
    pub venue: Venue,
    pub layout: LayoutRef,
    pub starts_at: Timestamp,
    /// The sale window: seats are sold from `on_sale_from` until before `on_sale_until`.
    pub on_sale_from: Timestamp,
    pub on_sale_until: Timestamp,
    pub currency: Currency,
    /// The price of a seat, in minor units, by the category of the hall's scheme.
    pub prices: BTreeMap<String, i64>,
    /// The service fee of each ticket that is paid for, in minor units; 0 to [`SERVICE_FEE_MINOR_UNITS_MAX`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub service_fee: i64,
    pub refund_policy: RefundPolicy,
    pub status: EventStatus,
    /// Only those who have the perk see it and buy it ([`crate::subscriptions::perks::Perk::HiddenEvents`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Grows by one with each write; every write is conditional on it.
    pub v: u64,
    /// A digest of the request that made it, by which a repeated key with other contents is known.
    pub request: String,
    /// What the last write set off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

/// What an administrator may change of an event; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct Amendment {
    pub name: Option<String>,
    pub performer: Option<Performer>,
    pub starts_at: Option<Timestamp>,
    pub on_sale_from: Option<Timestamp>,
    pub on_sale_until: Option<Timestamp>,
    /// Prices of orders from now on; those that were placed keep theirs.
    pub prices: Option<BTreeMap<String, i64>>,
    /// The fee of each ticket, for orders from now on.
    pub service_fee: Option<i64>,
    pub refund_policy: Option<RefundPolicy>,
    pub hidden: Option<bool>,
}

/// Why an event cannot be done what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the event was cancelled")]
    Cancelled,
    #[error("the event has already started")]
    Started,
    #[error("the event must start in the future")]
    StartsInThePast,
    #[error("the sale must begin before it ends, and end no later than the event starts")]
    SaleWindow,
}

/// Why seats of an event cannot be sold at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOnSale {
    #[error("the event was cancelled")]
    Cancelled,
    #[error("the event has already started")]
    Started,
    #[error("the sale has not begun; it opens at {0}")]
    NotYet(Timestamp),
    #[error("the sale has ended")]
    Ended,
}

impl Event {
    /// Whether anybody but staff may see it; one that is hidden, those who have the perk.
    pub fn is_public(&self) -> bool {
        self.status != EventStatus::Draft
    }

    /// Whether seats may be held at `now`.
    pub fn check_on_sale(&self, now: Timestamp) -> Result<(), NotOnSale> {
        match self.status {
            EventStatus::Cancelled => Err(NotOnSale::Cancelled),
            EventStatus::Draft => Err(NotOnSale::NotYet(self.on_sale_from)),
            EventStatus::Published if now >= self.starts_at => Err(NotOnSale::Started),
            EventStatus::Published if now < self.on_sale_from => Err(NotOnSale::NotYet(self.on_sale_from)),
            EventStatus::Published if now >= self.on_sale_until => Err(NotOnSale::Ended),
            EventStatus::Published => Ok(()),
        }
    }

    /// Whether the sale window fits the event.
    pub fn check_window(&self) -> Result<(), Refused> {
        let fits = self.on_sale_from < self.on_sale_until && self.on_sale_until <= self.starts_at;
        if fits { Ok(()) } else { Err(Refused::SaleWindow) }
    }

    /// On sale from its sale window on. Publishing twice is publishing once.
    pub fn publish(&self, now: Timestamp) -> Result<Self, Refused> {
        match self.status {
            EventStatus::Cancelled => Err(Refused::Cancelled),
            EventStatus::Published => Ok(self.clone()),
            EventStatus::Draft if self.starts_at <= now => Err(Refused::StartsInThePast),
            EventStatus::Draft => {
                Ok(self.next(EventStatus::Published).with_effect(What::EventPublished { event: self.id }))
            }
        }
    }

    /// Called off for good: nothing is sold any more, and every order is refunded. Cancelling twice is cancelling once.
    pub fn cancel(&self) -> Self {
        match self.status {
            EventStatus::Cancelled => self.clone(),
            _ => self.next(EventStatus::Cancelled).with_effect(What::EventCancelled { event: self.id }),
        }
    }

    /// Changed; after publication a new start or performer gives earlier buyers the right to the whole price.
    pub fn amend(&self, amendment: Amendment, now: Timestamp) -> Result<Self, Refused> {
        match self.status {
            EventStatus::Cancelled => return Err(Refused::Cancelled),
            EventStatus::Published if self.starts_at <= now => return Err(Refused::Started),
            _ => {}
        }
        let mut next = self.next(self.status);
        let mut kinds = Vec::new();
        if let Some(performer) = amendment.performer {
            kinds.extend((performer.id != self.performer.id).then_some(ChangeKind::Replaced));
            next.performer = performer;
        }
        if let Some(starts_at) = amendment.starts_at {
            kinds.extend((starts_at != self.starts_at).then_some(ChangeKind::Moved));
            next.starts_at = starts_at;
        }
        next.name = amendment.name.unwrap_or(next.name);
        next.on_sale_from = amendment.on_sale_from.unwrap_or(next.on_sale_from);
        next.on_sale_until = amendment.on_sale_until.unwrap_or(next.on_sale_until.min(next.starts_at));
        next.prices = amendment.prices.unwrap_or(next.prices);
        next.service_fee = amendment.service_fee.unwrap_or(next.service_fee);
        next.refund_policy = amendment.refund_policy.unwrap_or(next.refund_policy);
        next.hidden = amendment.hidden.unwrap_or(next.hidden);
        if next.starts_at <= now {
            return Err(Refused::StartsInThePast);
        }
        next.check_window()?;
        if self.status == EventStatus::Published {
            next.changes.extend(kinds.into_iter().map(|kind| Change { kind, at: now }));
            next = next.with_effect(What::EventChanged { event: self.id });
        }
        Ok(next)
    }

    /// The same with word that seats which the house kept are on sale: those who wait for them hear of it.
    pub fn seats_given_out(&self) -> Self {
        self.next(self.status).with_effect(What::SeatsFreed { event: self.id })
    }

    fn next(&self, status: EventStatus) -> Self {
        Self { status, v: self.v + 1, effects: Vec::new(), ..self.clone() }
    }

    fn with_effect(mut self, what: What) -> Self {
        let effect = Effect::of(self.id, self.v, self.effects.len(), what);
        self.effects.push(effect);
        self
    }

    /// What a seat of this category costs, if the event sells it.
    pub fn price(&self, category: &str) -> Option<Price> {
        self.prices.get(category).map(|&ticket| Price::new(ticket, self.service_fee))
    }
}

/// A reference by which a layout is found: who owns it and which version.
impl LayoutRef {
    pub fn new(id: LayoutId, version: u32) -> Self {
        Self { id, version }
    }
}
