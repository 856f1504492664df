//! What queues carry: commands to a function, and the effects it subscribes to; and the commands to `settle`.

use crate::Error;
use domain::effects::Effect;
use domain::ids::{EventId, OrderId, RefundId, UserId};
use platform::bus::QueueMessage;
use platform::telemetry;
use serde::de::DeserializeOwned;
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

/// The body of a message on a queue whose function takes commands `C` beside effects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<C> {
    Command(C),
    Effect(Effect),
}

impl<C: DeserializeOwned> Message<C> {
    /// What the body says. An error tells where it ends to be one of ours, and nothing of what it has there.
    pub fn parse(body: &str) -> Result<Self, Error> {
        if let Ok(command) = serde_json::from_str(body) {
            return Ok(Self::Command(command));
        }
        match serde_json::from_str::<Envelope>(body) {
            Ok(envelope) => Ok(Self::Effect(envelope.effect)),
            Err(error) => {
                let (kind, column) = (error.classify(), error.column());
                Err(Error::new(format!("an unknown message: it is wrong as {kind:?} at column {column}")))
            }
        }
    }
}
