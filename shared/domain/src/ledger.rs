//! The journal: double entry, one item a business event, its legs summing to zero.

use crate::ids::{EventId, OrderId, RefundId, SubscriptionId, UserId};
use crate::money::{Currency, Money, MoneyError};
use crate::subscriptions::ChargeRef;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where money is, or to whom it is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// What the payment provider holds for us; a debit (positive) is money received.
    Provider,
    /// What is owed to the organiser of the event for tickets sold.
    Organiser,
    /// What the box office has earned by the service fees of tickets sold.
    ServiceFees,
    /// Money captured for an order that got no seats, until it has gone back.
    Unadopted,
    /// What buyers' banks took back and have not decided on.
    Disputes,
    /// What the provider took for disputes. Its fee for each payment is not here: captures are booked gross.
    Fees,
    /// What was paid for subscriptions' time that has not passed.
    Deferred,
    /// What subscriptions have earned, their time having passed.
    Revenue,
}

/// One side of an entry: positive is a debit, negative a credit, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    pub account: Account,
    pub amount: i64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// An order was paid and has its tickets.
    Sale,
    /// A payment was captured although its order was lost.
    UnadoptedCapture,
    /// Money of an order went back.
    Refund {
        refund: RefundId,
        /// How often it had failed before.
        retries: u8,
    },
    /// A refund that was booked came back from the provider.
    RefundReversed { refund: RefundId, retries: u8 },
    /// A buyer's bank took money back; `dispute` is the provider's id.
    DisputeWithdrawn { dispute: String },
    /// It gave it back.
    DisputeReinstated { dispute: String },
    /// It keeps it: what it took is no longer owed to anybody.
    DisputeLost { dispute: String },
    /// What was booked as lost came back after all.
    DisputeLossReversed { dispute: String },
}

/// A business event in the journal. Its key is a function of the order and the cause, so that it is booked once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub order: OrderId,
    /// Whose order it is, so that the orders of an event can be found from here.
    pub buyer: crate::ids::UserId,
    pub event: EventId,
    pub cause: Cause,
    pub currency: Currency,
    pub legs: Vec<Leg>,
    pub at: Timestamp,
}

impl Entry {
    /// The journal's shard of an order: 16, so that one event's sale does not meet one partition's limit.
    pub fn shard(order: OrderId) -> u8 {
        (order.0 & 0xf) as u8
    }

    /// What distinguishes this entry among those of its order.
    pub fn key(&self) -> String {
        match &self.cause {
            Cause::Sale => format!("{}#sale", self.order),
            Cause::UnadoptedCapture => format!("{}#unadopted", self.order),
            Cause::Refund { refund, retries } => format!("{}#{refund}-{retries}", self.order),
            Cause::RefundReversed { refund, retries } => format!("{}#{refund}-{retries}#reversed", self.order),
            Cause::DisputeWithdrawn { dispute } => format!("{}#{dispute}#withdrawn", self.order),
            Cause::DisputeReinstated { dispute } => format!("{}#{dispute}#reinstated", self.order),
            Cause::DisputeLost { dispute } => format!("{}#{dispute}#lost", self.order),
            Cause::DisputeLossReversed { dispute } => format!("{}#{dispute}#lost#reversed", self.order),
        }
    }

    /// What this entry adds to an account, in minor units.
    pub fn of(&self, account: Account) -> i64 {
        self.legs.iter().filter(|leg| leg.account == account).map(|leg| leg.amount).sum()
    }

    /// Whether it is about a dispute: then the tag of its cause begins with `dispute_`.
    pub fn is_of_dispute(&self) -> bool {
        use Cause::{DisputeLossReversed, DisputeLost, DisputeReinstated, DisputeWithdrawn};
        let cause = &self.cause;
        matches!(
            cause,
            DisputeWithdrawn { .. } | DisputeReinstated { .. } | DisputeLost { .. } | DisputeLossReversed { .. }
        )
    }

    /// Whether debits equal credits.
    pub fn balances(&self) -> Result<bool, MoneyError> {
        let legs = self.legs.iter().map(|leg| Money::new(leg.amount, self.currency));
        Ok(Money::sum(self.currency, legs)?.amount == 0)
    }
}

/// What happened to the money of a subscription's charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ChargeCause {
    /// It was paid for a time to come.
    SubscriptionCharge,
    /// Some of its time has passed: `until` this instant.
    Recognised { until: Timestamp },
    /// It was paid although nobody waited for it any more.
    UnadoptedCharge,
    /// Money of it went back.
    ChargeRefund {
        refund: RefundId,
        /// How often it had failed before.
        retries: u8,
    },
    /// A refund that was booked came back from the provider.
    ChargeRefundReversed { refund: RefundId, retries: u8 },
    /// The payer's bank took money back; `dispute` is the provider's id.
    DisputeWithdrawn { dispute: String },
    /// It gave it back.
    DisputeReinstated { dispute: String },
    /// It keeps it: what it took is no longer owed as time to come, or earned.
    DisputeLost { dispute: String },
    /// What was booked as lost came back after all.
    DisputeLossReversed { dispute: String },
}

/// A business event of a subscription in the journal; its key is a function of the charge and the cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeEntry {
    pub charge: ChargeRef,
    pub user: UserId,
    #[serde(flatten)]
    pub cause: ChargeCause,
    pub currency: Currency,
    pub legs: Vec<Leg>,
    pub at: Timestamp,
}

impl ChargeEntry {
    /// The journal's shard of a subscription: one of 16.
    pub fn shard(subscription: SubscriptionId) -> u8 {
        (subscription.0 & 0xf) as u8
    }

    /// What distinguishes this entry among those of its subscription.
    pub fn key(&self) -> String {
        let charge = self.charge;
        match &self.cause {
            ChargeCause::SubscriptionCharge => format!("{charge}#charge"),
            ChargeCause::Recognised { until } => format!("{charge}#recognised-{}", until.as_second()),
            ChargeCause::UnadoptedCharge => format!("{charge}#unadopted"),
            ChargeCause::ChargeRefund { refund, retries } => format!("{charge}#{refund}-{retries}"),
            ChargeCause::ChargeRefundReversed { refund, retries } => format!("{charge}#{refund}-{retries}#reversed"),
            ChargeCause::DisputeWithdrawn { dispute } => format!("{charge}#{dispute}#withdrawn"),
            ChargeCause::DisputeReinstated { dispute } => format!("{charge}#{dispute}#reinstated"),
            ChargeCause::DisputeLost { dispute } => format!("{charge}#{dispute}#lost"),
            ChargeCause::DisputeLossReversed { dispute } => format!("{charge}#{dispute}#lost#reversed"),
        }
    }

    /// What this entry adds to an account, in minor units.
    pub fn of(&self, account: Account) -> i64 {
        self.legs.iter().filter(|leg| leg.account == account).map(|leg| leg.amount).sum()
    }

    /// Whether debits equal credits.
    pub fn balances(&self) -> Result<bool, MoneyError> {
        let legs = self.legs.iter().map(|leg| Money::new(leg.amount, self.currency));
        Ok(Money::sum(self.currency, legs)?.amount == 0)
    }
}

/// Two legs that move `amount` from `from` to `to`; none where there is nothing to move.
pub fn transfer(from: Account, to: Account, amount: i64) -> Vec<Leg> {
    gather(&[(from, amount)], to)
}

/// Legs that move these amounts from their accounts to one; none where there is nothing to move.
pub fn gather(from: &[(Account, i64)], to: Account) -> Vec<Leg> {
    assert!(from.iter().all(|(_, amount)| *amount >= 0), "a transfer has a direction, not a sign");
    let total = from.iter().map(|(_, amount)| amount).sum();
    let legs = [(to, total)].into_iter().chain(from.iter().map(|(account, amount)| (*account, -amount)));
    legs.filter(|(_, amount)| *amount != 0).map(|(account, amount)| Leg { account, amount }).collect()
}

/// Legs that move the same the other way.
pub fn reversed(legs: Vec<Leg>) -> Vec<Leg> {
    legs.into_iter().map(|leg| Leg { amount: -leg.amount, ..leg }).collect()
}
