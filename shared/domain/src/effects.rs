//! Effects: what a write sets off, carried in the written item itself and published from the table's stream.

use crate::ids::{EventId, OrderId, RefundId, UserId};
use crate::payments::DisputeState;
use serde::{Deserialize, Serialize};

/// Something that others are told of. `id` is a function of the item and its version, so that a consumer knows it
/// again however often it arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    pub id: String,
    /// The id of the request that it goes back to, by which logs are followed from function to function. No rule looks
    /// at it; whoever writes the item puts it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    #[serde(flatten)]
    pub what: What,
}

/// The kinds of effects; the tag is the message attribute `type` that subscriptions filter by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum What {
    #[serde(rename = "order.paid")]
    OrderPaid { buyer: UserId, order: OrderId, event: EventId },
    #[serde(rename = "order.lost")]
    OrderLost { buyer: UserId, order: OrderId, event: EventId },
    #[serde(rename = "order.refunded")]
    OrderRefunded { buyer: UserId, order: OrderId, refund: RefundId },
    /// Money is to go back: the decision is stored, the provider has not been asked yet.
    #[serde(rename = "refund.requested")]
    RefundRequested { buyer: UserId, order: OrderId, refund: RefundId },
    /// The provider could not give the money back; a person has to.
    #[serde(rename = "refund.failed")]
    RefundFailed { buyer: UserId, order: OrderId, refund: RefundId },
    /// A buyer's bank wants the money of an order back, or has decided about it.
    #[serde(rename = "order.disputed")]
    OrderDisputed { buyer: UserId, order: OrderId, event: EventId, state: DisputeState },
    /// A bank gave back what it had decided to keep. The tickets are void and their seats may be sold: a person has to
    /// see what the buyer gets.
    #[serde(rename = "order.dispute_reversed")]
    DisputeReversed { buyer: UserId, order: OrderId, event: EventId },
    #[serde(rename = "event.published")]
    EventPublished { event: EventId },
    #[serde(rename = "event.changed")]
    EventChanged { event: EventId },
    #[serde(rename = "event.cancelled")]
    EventCancelled { event: EventId },
}

impl Effect {
    /// The `index`th effect of the write that made version `v` of an item.
    pub fn of(item: impl std::fmt::Display, v: u64, index: usize, what: What) -> Self {
        Self { id: format!("{item}.{v}.{index}"), trace: None, what }
    }
}

impl What {
    /// The tag, as the message attribute `type` carries it.
    pub fn kind(&self) -> &'static str {
        match self {
            What::OrderPaid { .. } => "order.paid",
            What::OrderLost { .. } => "order.lost",
            What::OrderRefunded { .. } => "order.refunded",
            What::RefundRequested { .. } => "refund.requested",
            What::RefundFailed { .. } => "refund.failed",
            What::OrderDisputed { .. } => "order.disputed",
            What::DisputeReversed { .. } => "order.dispute_reversed",
            What::EventPublished { .. } => "event.published",
            What::EventChanged { .. } => "event.changed",
            What::EventCancelled { .. } => "event.cancelled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_the_tag() {
        let (buyer, order, event, refund) = (UserId(1), OrderId(2), EventId(3), RefundId(4));
        for what in [
            What::OrderPaid { buyer, order, event },
            What::OrderLost { buyer, order, event },
            What::OrderRefunded { buyer, order, refund },
            What::RefundRequested { buyer, order, refund },
            What::RefundFailed { buyer, order, refund },
            What::OrderDisputed { buyer, order, event, state: DisputeState::Open },
            What::DisputeReversed { buyer, order, event },
            What::EventPublished { event },
            What::EventChanged { event },
            What::EventCancelled { event },
        ] {
            let json = serde_json::to_value(&what).unwrap();
            assert_eq!(json["type"], what.kind());
        }
    }
}
