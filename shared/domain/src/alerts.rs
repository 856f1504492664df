//! Alerts: what somebody wants to be told of, or be offered, and in which order people are. One writes an alert down once; it
//! is never changed, only ended.

use crate::catalog::{Event, EventStatus, NAME_CHARS_MAX, ORDER_SEATS_MAX};
use crate::ids::{AlertId, EventId, PerformerId, UserId, VenueId};
use crate::layout::Invalid;
use crate::money::{Money, PRICE_MINOR_UNITS_MAX};
use crate::seating::best::BestAsk;
use crate::subscriptions::perks::PRIORITY_MAX;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Alerts that one account may have, and standing ones among them.
pub const ALERTS_MAX: usize = 20;
pub const STANDING_ALERTS_MAX: usize = 5;
/// Sections that one alert may name.
pub const SECTIONS_MAX: usize = 20;
/// Parts that a line is in, so that no partition of the table has all of a popular one.
pub const LINE_SHARDS: u8 = 16;

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "of")]
pub enum Scope {
    Event(EventId),
    Performer(PerformerId),
    Venue(VenueId),
    /// As it was typed; compared without regard to capitals.
    City(String),
    /// Every event: only with a price.
    Any,
}

impl Scope {
    /// Every scope that this event is in: the lines that somebody walks when something happens to it.
    pub fn all_of(event: &Event) -> [Self; 5] {
        [
            Self::Event(event.id),
            Self::Performer(event.performer.id),
            Self::Venue(event.venue.id),
            Self::City(event.venue.city.clone()),
            Self::Any,
        ]
    }
}

/// One spelling for each scope, as keys have it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(id) => id.fmt(f),
            Self::Performer(id) => id.fmt(f),
            Self::Venue(id) => id.fmt(f),
            Self::City(name) => write!(f, "city:{}", name.trim().to_lowercase()),
            Self::Any => f.write_str("any"),
        }
    }
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The sale of an event opens.
    OnSale,
    /// Seats are free again: refunds, holds that ended, seats that the house gives out.
    SeatsBack,
}

/// A line that people wait in. Those who are offered seats wait apart from those who are only told, so that nobody has to look
/// through the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    OnSale,
    SeatsBack,
    Standing,
}

impl From<When> for Line {
    /// The line of those who are told.
    fn from(when: When) -> Self {
        match when {
            When::OnSale => Self::OnSale,
            When::SeatsBack => Self::SeatsBack,
        }
    }
}

/// One spelling for each line, as keys have it.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnSale => "on_sale",
            Self::SeatsBack => "seats_back",
            Self::Standing => "standing",
        })
    }
}

/// What somebody wants to be told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    pub id: AlertId,
    pub user: UserId,
    pub scope: Scope,
    pub when: When,
    /// Seats that have to be free side by side.
    pub quantity: u8,
    /// The most that a seat may cost, with its service fee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_max: Option<Money>,
    /// Ids of sections that count; all where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<String>,
    /// Seats are held and offered, instead of only told of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standing: bool,
    /// How far ahead a subscription put it when it was made: 0 to [`PRIORITY_MAX`].
    pub priority: u8,
    pub created_at: Timestamp,
    /// A digest of the request that made it, by which a repeated key with other contents is known.
    pub request: String,
    /// When it was ended; an ended one is kept for a while, for those who repeat a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Why an account may not have this alert as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    #[error("you have {ALERTS_MAX} alerts, and nobody may have more: end one first")]
    Alerts,
    #[error("you have {STANDING_ALERTS_MAX} standing alerts, and nobody may have more: end one first")]
    Standing,
    #[error("you have a standing alert for this already: end it first")]
    SameScope,
}

impl Alert {
    /// What is wrong with it by itself; whether what it names is there, others know.
    pub fn validate(&self) -> Vec<Invalid> {
        let mut errors = Vec::new();
        let mut require = |holds: bool, pointer: &str, message: &str| {
            if !holds {
                errors.push(Invalid { pointer: pointer.to_owned(), message: message.to_owned() });
            }
        };
        if let Scope::City(name) = &self.scope {
            let chars = name.trim().chars().count();
            let is_name = (1..=NAME_CHARS_MAX).contains(&chars) && !name.chars().any(char::is_control);
            require(is_name, "/scope/city", &format!("must have 1 to {NAME_CHARS_MAX} characters"));
        }
        let most = ORDER_SEATS_MAX;
        require((1..=most).contains(&self.quantity.into()), "/quantity", &format!("must be 1 to {most}"));
        if let Some(price) = self.price_max {
            let bounds = format!("must be 0 to {PRICE_MINOR_UNITS_MAX}");
            require((0..=PRICE_MINOR_UNITS_MAX).contains(&price.amount), "/price_max/amount", &bounds);
        }
        let is_any = self.scope == Scope::Any;
        require(!is_any || self.price_max.is_some(), "/price_max", "must be given for an alert on every event");
        require(!is_any || !self.standing, "/standing", "must be for an event, a performer, a venue or a city");
        let is_back = self.when == When::SeatsBack;
        require(!self.standing || is_back, "/standing", "must be for seats that come back");
        require(self.sections.len() <= SECTIONS_MAX, "/sections", &format!("must be {SECTIONS_MAX} at most"));
        let in_a_hall = matches!(self.scope, Scope::Event(_) | Scope::Venue(_));
        let may_name = self.sections.is_empty() || (in_a_hall && is_back);
        require(may_name, "/sections", "must be for seats that come back, of an event or a venue");
        for (at, section) in self.sections.iter().enumerate().take(SECTIONS_MAX) {
            let is_new = !self.sections[..at].contains(section);
            require(is_new, &format!("/sections/{at}"), "is named twice");
            let is_name = (1..=NAME_CHARS_MAX).contains(&section.chars().count());
            require(is_name, &format!("/sections/{at}"), &format!("must have 1 to {NAME_CHARS_MAX} characters"));
        }
        errors
    }

    /// Whether somebody who has these alerts may have this one as well.
    pub fn check_limits(&self, others: &[Self]) -> Result<(), TooMany> {
        if others.len() >= ALERTS_MAX {
            return Err(TooMany::Alerts);
        }
        let standing = || others.iter().filter(|other| other.standing);
        if self.standing && standing().any(|other| other.scope.to_string() == self.scope.to_string()) {
            return Err(TooMany::SameScope);
        }
        if self.standing && standing().count() >= STANDING_ALERTS_MAX {
            return Err(TooMany::Standing);
        }
        Ok(())
    }

    /// The line that it waits in.
    pub fn line(&self) -> Line {
        match self.when {
            When::SeatsBack if self.standing => Line::Standing,
            when => when.into(),
        }
    }

    /// The part of its line that it is in.
    pub fn shard(&self) -> u8 {
        (self.id.0 % u128::from(LINE_SHARDS)) as u8
    }

    /// Its place in a line as a text that sorts: subscribers by their priority, then who came first; the id tells apart those of
    /// one millisecond.
    pub fn rank(&self) -> String {
        let behind = PRIORITY_MAX.saturating_sub(self.priority);
        format!("{behind}#{:014}#{}", self.created_at.as_millisecond().max(0), self.id)
    }

    /// Whether the opening of this event's sale is what somebody waits for.
    pub fn on_sale(&self, event: &Event) -> bool {
        self.when == When::OnSale
            && self.covers(event)
            && event.prices.keys().any(|category| self.affords(event, category))
    }

    /// The seats of this event that somebody waits for, any of which will do: as many as they want, where they want them and at
    /// no more than they would pay. None where it is another event that they wait for.
    pub fn asks(&self, event: &Event) -> Vec<BestAsk> {
        if self.when != When::SeatsBack || !self.covers(event) {
            return Vec::new();
        }
        let affordable = event.prices.keys().filter(|id| self.affords(event, id));
        let categories: Vec<_> = self.price_max.map_or(vec![None], |_| affordable.cloned().map(Some).collect());
        let named = self.sections.iter().cloned().map(Some);
        let sections: Vec<_> = if self.sections.is_empty() { vec![None] } else { named.collect() };
        let ask = |category: &Option<String>, section: &Option<String>| {
            let (category, section) = (category.clone(), section.clone());
            BestAsk { quantity: self.quantity, section, category, accessible: false }
        };
        categories.iter().flat_map(|category| sections.iter().map(move |section| ask(category, section))).collect()
    }

    /// Whether it is about this event. One that is hidden is told of only to those who named it, when they could see it.
    fn covers(&self, event: &Event) -> bool {
        let is_shown =
            event.status == EventStatus::Published && (!event.hidden || self.scope == Scope::Event(event.id));
        is_shown && Scope::all_of(event).iter().any(|scope| scope.to_string() == self.scope.to_string())
    }

    /// Whether a seat of this category is sold, and for no more than they would pay.
    fn affords(&self, event: &Event, category: &str) -> bool {
        let Some(price) = event.price(category) else { return false };
        let fits = |most: Money| most.currency == event.currency && price.total() <= most.amount;
        self.price_max.is_none_or(fits)
    }
}

#[cfg(test)]
mod tests;
