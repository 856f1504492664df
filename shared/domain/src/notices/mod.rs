//! Notices: what people are told of what they bought, subscribed to and wait for; when, and in which words. Each has all
//! that its text needs copied in, so that it says tomorrow what was true when it was written.

mod kinds;
mod settings;
mod text;

pub use kinds::{GROUPS, Group, Kind, Rules, Show, is_told};
pub use settings::{Quiet, SETTINGS_ZONE, Settings, SettingsRefused, deliver_at};
pub use text::{Link, Text, seat_name};

use crate::ids::{NoticeId, UserId, keyed};
use crate::texts::Locale;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Days after which nobody tries any more to deliver a notice; it stays in its person's list.
const DELIVERY_DAYS_MAX: i64 = 3;

/// Something that a person is told, written once and never changed. What became of it in each chat is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub id: NoticeId,
    pub user: UserId,
    pub at: Timestamp,
    #[serde(flatten)]
    pub kind: Kind,
}

impl NoticeId {
    /// The notice that this person gets for this cause: an effect's id, or what else happens once.
    pub fn of(cause: &str, user: UserId) -> Self {
        Self(keyed(&user.to_string(), "notice", cause))
    }
}

impl Notice {
    /// What a person is told for a cause, such as an effect's id: however often it comes, it is one notice.
    pub fn new(cause: &str, user: UserId, kind: Kind, now: Timestamp) -> Self {
        Self { id: NoticeId::of(cause, user), user, at: now, kind }
    }

    /// Messages that it takes: its text, and the code of each ticket where there are several.
    pub fn parts(&self) -> u8 {
        match &self.kind {
            Kind::OrderPaid { seats, .. } if seats.len() > 1 => {
                1 + u8::try_from(seats.len()).expect("an order has few seats")
            }
            _ => 1,
        }
    }

    /// Whether telling it now helps nobody any more.
    pub fn is_outdated(&self, now: Timestamp) -> bool {
        let ended = self.kind.ends_at().is_some_and(|end| end <= now);
        ended || now.duration_since(self.at) > SignedDuration::from_hours(24 * DELIVERY_DAYS_MAX)
    }

    /// What it says.
    pub fn text(&self, locale: Locale) -> Text {
        text::text(&self.kind, locale)
    }

    /// What its `part`th message says, from 0.
    pub fn part_text(&self, part: u8, locale: Locale) -> Text {
        match (&self.kind, part) {
            (Kind::OrderPaid { show, seats, .. }, 1..) => text::ticket(show, &seats[usize::from(part) - 1], locale),
            _ => self.text(locale),
        }
    }

    /// The index of the seat whose ticket's code is the picture of this message.
    pub fn part_ticket(&self, part: u8) -> Option<u8> {
        match (&self.kind, part) {
            (Kind::OrderPaid { seats, .. }, 0) => (seats.len() == 1).then_some(0),
            (Kind::OrderPaid { .. }, part) => Some(part - 1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
