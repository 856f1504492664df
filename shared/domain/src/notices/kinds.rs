//! The kinds of notices, what each has to know, and the table of which may be muted and which may wait.

use crate::catalog::{ChangeKind, Event};
use crate::effects::SubscriptionNews as News;
use crate::ids::{EventId, OrderId, SubscriptionId};
use crate::money::Money;
use crate::seating::SeatName;
use crate::subscriptions::plans::Names;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What concerns a day at the theatre is told, quiet hours or not, from so many hours before it on.
const NEAR_HOURS: i64 = 24;
/// A reminder waits for quiet hours to end if it is still so many hours before the start then.
const REMINDER_HOURS_MIN: i64 = 3;

/// A performance as a notice names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    pub event: EventId,
    pub name: String,
    pub starts_at: Timestamp,
    /// IANA name of the venue's zone.
    pub zone: String,
    /// The venue and its city.
    pub place: String,
}

impl Show {
    pub fn of(event: &Event) -> Self {
        Self {
            event: event.id,
            name: event.name.clone(),
            starts_at: event.starts_at,
            zone: event.venue.time_zone.clone(),
            place: format!("{}, {}", event.venue.name, event.venue.city),
        }
    }
}

/// What is told, with all that the text needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// The tickets are there: their codes go with it.
    OrderPaid {
        order: OrderId,
        show: Show,
        seats: Vec<SeatName>,
        total: Money,
    },
    /// The seats could not be had; nothing is kept.
    OrderLost {
        order: OrderId,
        show: Show,
    },
    OrderRefunded {
        order: OrderId,
        show: Show,
        amount: Money,
    },
    /// The provider could not give money back; we are at it.
    RefundFailed {
        order: OrderId,
        show: Show,
        amount: Money,
    },
    /// `show` is what it is now; whoever bought before may have the whole price back.
    EventChanged {
        order: OrderId,
        show: Show,
        performer: String,
        changes: Vec<ChangeKind>,
    },
    /// The money comes back by itself.
    EventCancelled {
        order: OrderId,
        show: Show,
    },
    Reminder {
        order: OrderId,
        show: Show,
        seats: Vec<SeatName>,
    },
    /// Of a subscription to this plan; its days are those of `zone`.
    Subscription {
        subscription: SubscriptionId,
        plan: Names,
        zone: String,
        news: News,
    },
    /// Tickets that somebody waits for are sold from `from` on, or are already.
    OnSale {
        show: Show,
        from: Timestamp,
    },
    /// So many seats that somebody waits for came back.
    SeatsBack {
        show: Show,
        seats: u32,
    },
    /// Seats are held for this person until `until`: the order is theirs to pay.
    Offer {
        order: OrderId,
        show: Show,
        seats: Vec<SeatName>,
        total: Money,
        until: Timestamp,
    },
}

/// What a person may mute at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    Orders,
    Events,
    Reminders,
    Subscriptions,
    Alerts,
}

/// All groups, by the names that settings have them by.
pub const GROUPS: [(&str, Group); 5] = [
    ("orders", Group::Orders),
    ("events", Group::Events),
    ("reminders", Group::Reminders),
    ("subscriptions", Group::Subscriptions),
    ("alerts", Group::Alerts),
];

/// What a person's wishes can do to a kind of notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub group: Group,
    /// Not what the law or money needs: confirmations of what was agreed or paid, cancellations, declined charges.
    pub may_be_muted: bool,
    /// Whether it waits for the end of quiet hours. Money and offers do not.
    pub waits: bool,
}

/// Whether a subscription's news are for its subscriber: not what is between `settle` and the provider, nor a dispute, of
/// which the payer knows from their bank, and which a person of ours deals with.
pub fn is_told(news: &News) -> bool {
    match news {
        News::ChargeDue { .. } | News::ChargeDropped { .. } | News::RefundRequested { .. } => false,
        News::Disputed { .. } | News::DisputeReversed { .. } => false,
        News::Started { .. } | News::Charged { .. } | News::ChargeFailed { .. } | News::ConfirmationNeeded { .. } => {
            true
        }
        News::RenewalSoon { .. } | News::CardExpiring { .. } | News::Cancelled { .. } | News::Resumed { .. } => true,
        News::PlanChanged { .. } | News::PlanNotChanged | News::MethodChanged { .. } => true,
        News::Lapsed | News::Ended | News::Refunded { .. } | News::RefundFailed { .. } | News::TrialRefused => true,
    }
}

impl Kind {
    /// The table of what may be muted and what may wait.
    pub fn rules(&self) -> Rules {
        let rules = |group, may_be_muted, waits| Rules { group, may_be_muted, waits };
        match self {
            Self::OrderPaid { .. } => rules(Group::Orders, false, false),
            Self::OrderLost { .. } => rules(Group::Orders, false, false),
            Self::OrderRefunded { .. } => rules(Group::Orders, false, false),
            Self::RefundFailed { .. } => rules(Group::Orders, false, false),
            Self::EventChanged { .. } => rules(Group::Events, false, true),
            Self::EventCancelled { .. } => rules(Group::Events, false, true),
            Self::Reminder { .. } => rules(Group::Reminders, true, true),
            Self::OnSale { .. } => rules(Group::Alerts, true, true),
            Self::SeatsBack { .. } => rules(Group::Alerts, true, true),
            // Seats wait for an answer: whoever wants no offers ends what they asked for.
            Self::Offer { .. } => rules(Group::Alerts, false, false),
            Self::Subscription { news, .. } => match news {
                News::Charged { .. } | News::ChargeFailed { .. } => rules(Group::Subscriptions, false, false),
                News::ConfirmationNeeded { .. } => rules(Group::Subscriptions, false, false),
                News::PlanNotChanged => rules(Group::Subscriptions, false, false),
                News::Refunded { .. } | News::RefundFailed { .. } => rules(Group::Subscriptions, false, false),
                // Nothing is charged or ends because of it: the declined charge would be told.
                News::CardExpiring { .. } => rules(Group::Subscriptions, true, true),
                _ => rules(Group::Subscriptions, false, true),
            },
        }
    }

    /// Until when it may wait, where quiet hours want it to; none if it does not wait at all.
    pub fn waits_until(&self) -> Option<Timestamp> {
        let before = |at: Timestamp, hours| at.checked_sub(SignedDuration::from_hours(hours)).unwrap_or(at);
        self.rules().waits.then(|| match self {
            Self::EventChanged { show, .. } | Self::EventCancelled { show, .. } => before(show.starts_at, NEAR_HOURS),
            Self::Reminder { show, .. } => before(show.starts_at, REMINDER_HOURS_MIN),
            _ => Timestamp::MAX,
        })
    }

    /// When telling it helps nobody any more.
    pub fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::Reminder { show, .. } | Self::OnSale { show, .. } | Self::SeatsBack { show, .. } => {
                Some(show.starts_at)
            }
            Self::Offer { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// The order that it is about.
    pub fn order(&self) -> Option<OrderId> {
        match self {
            Self::OrderPaid { order, .. }
            | Self::OrderLost { order, .. }
            | Self::OrderRefunded { order, .. }
            | Self::RefundFailed { order, .. }
            | Self::EventChanged { order, .. }
            | Self::EventCancelled { order, .. }
            | Self::Reminder { order, .. }
            | Self::Offer { order, .. } => Some(*order),
            Self::Subscription { .. } | Self::OnSale { .. } | Self::SeatsBack { .. } => None,
        }
    }

    /// Its name, as the API has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::OrderPaid { .. } => "order.paid",
            Self::OrderLost { .. } => "order.lost",
            Self::OrderRefunded { .. } => "order.refunded",
            Self::RefundFailed { .. } => "refund.failed",
            Self::EventChanged { .. } => "event.changed",
            Self::EventCancelled { .. } => "event.cancelled",
            Self::Reminder { .. } => "event.reminder",
            Self::Subscription { news, .. } => news.kind(),
            Self::OnSale { .. } => "alert.on_sale",
            Self::SeatsBack { .. } => "alert.seats_back",
            Self::Offer { .. } => "alert.offer",
        }
    }
}
