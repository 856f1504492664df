//! What the Payments queue carries: commands to `settle`, and the effects it subscribes to.

use domain::effects::{Effect, What};
use domain::ids::{EventId, OrderId, RefundId, UserId};
use platform::bus::QueueMessage;
use platform::telemetry;
use serde::{Deserialize, Serialize};

/// Something for `settle` to look at. All are hints: what is true is read from the table and the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Command {
    /// The provider says that a payment changed.
    #[serde(rename = "payment.changed")]
    PaymentChanged { payment: String },
    /// The provider says that a refund changed.
    #[serde(rename = "payment.refund_changed")]
    RefundChanged { payment: String, refund: RefundId },
    /// The provider says that a payment is disputed, or how that ended.
    #[serde(rename = "payment.dispute_changed")]
    DisputeChanged { payment: String },
    /// The provider says that a refund of a subscription's period changed; `key` is what it knows the refund by.
    #[serde(rename = "payment.period_refund_changed")]
    PeriodRefundChanged { payment: String, key: String },
    /// The provider says that a method was saved for a subscription, or was not.
    #[serde(rename = "setup.changed")]
    SetupChanged { setup: String },
    /// An order is due: its hold ended, or something about it was left half-way.
    #[serde(rename = "order.due")]
    OrderDue { buyer: UserId, order: OrderId },
    /// Refund the orders of a cancelled event that one shard of the journal lists, from after `cursor`.
    #[serde(rename = "event.refund_orders")]
    RefundOrders { event: EventId, shard: u8, cursor: Option<String> },
}

impl Command {
    /// The message of it, which carries the trace of the work at hand.
    pub fn message(&self, delay_seconds: u16) -> QueueMessage {
        message_of(self, delay_seconds)
    }
}

/// The message of a queue's command, with the trace of the work at hand.
pub fn message_of(command: &impl Serialize, delay_seconds: u16) -> QueueMessage {
    let traced = Traced { command, trace: telemetry::trace() };
    QueueMessage { body: serde_json::to_string(&traced).expect("a command is plain JSON"), delay_seconds }
}

#[derive(Serialize)]
struct Traced<'a, C> {
    #[serde(flatten)]
    command: &'a C,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

/// An effect as the topic carries it: with the item it came from and that item's version, by which a consumer that
/// keeps state knows an older one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    #[serde(flatten)]
    pub effect: Effect,
    pub aggregate: String,
    pub v: u64,
}

/// What a message says of itself, whatever it is for.
#[derive(Default, Deserialize)]
pub struct Head {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The effect's id, where it is one.
    pub id: Option<String>,
    pub trace: Option<String>,
    pub order: Option<OrderId>,
    /// The provider's id of a payment.
    pub payment: Option<String>,
}

impl Head {
    /// That of this body; nothing where it cannot be read, which is for whoever handles it to say.
    pub fn of(body: &str) -> Self {
        serde_json::from_str(body).unwrap_or_default()
    }
}

/// The body of a message on the Payments queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentsMessage {
    Command(Command),
    Effect(What),
}

impl PaymentsMessage {
    pub fn parse(body: &str) -> Result<Self, serde_json::Error> {
        match serde_json::from_str(body) {
            Ok(command) => Ok(Self::Command(command)),
            Err(_) => Ok(Self::Effect(serde_json::from_str::<Envelope>(body)?.effect.what)),
        }
    }
}
