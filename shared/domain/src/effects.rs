//! Effects: what a write sets off, carried in the written item itself and published from the table's stream.

use crate::ids::{EventId, OrderId, RefundId, SubscriptionId, UserId};
use crate::money::Money;
use crate::payments::DisputeState;
use crate::subscriptions::ChargeRef;
use crate::subscriptions::dunning::Verdict;
use jiff::Timestamp;
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
    /// Seats came free: for everybody, or for those who wait.
    #[serde(rename = "seats.freed")]
    SeatsFreed { event: EventId },
    #[serde(rename = "event.published")]
    EventPublished { event: EventId },
    #[serde(rename = "event.changed")]
    EventChanged { event: EventId },
    #[serde(rename = "event.cancelled")]
    EventCancelled { event: EventId },
    /// Of a subscription, all tagged `subscription.…`.
    #[serde(untagged)]
    Subscription(SubscriptionEffect),
}

/// What a subscription tells of: most of it for notices to its subscriber, some for `settle`, which moves the money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionEffect {
    pub user: UserId,
    pub subscription: SubscriptionId,
    #[serde(flatten)]
    pub what: SubscriptionNews,
}

/// The kinds of a subscription's effects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum SubscriptionNews {
    /// Perks hold from now on; the first charge, or that after the trial, is due at `until`.
    #[serde(rename = "subscription.started")]
    Started { until: Timestamp, trial: bool },
    /// For `settle`: try to charge. `nth` is the number of the try, from 1.
    #[serde(rename = "subscription.charge_due")]
    ChargeDue { charge: ChargeRef, nth: u8 },
    /// For `settle`: the payment of this charge is to be cancelled, or given back where it was made all the same.
    #[serde(rename = "subscription.charge_dropped")]
    ChargeDropped { charge: ChargeRef },
    /// A charge was made; its time ends at `until`.
    #[serde(rename = "subscription.charged")]
    Charged { charge: ChargeRef, amount: Money, until: Timestamp },
    /// A charge was declined. Perks hold until `grace_until`.
    #[serde(rename = "subscription.charge_failed")]
    ChargeFailed {
        charge: ChargeRef,
        verdict: Verdict,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_try: Option<Timestamp>,
        grace_until: Timestamp,
    },
    /// The bank wants the holder to confirm: a link is to be sent.
    #[serde(rename = "subscription.confirmation_needed")]
    ConfirmationNeeded { charge: ChargeRef, grace_until: Timestamp },
    /// It renews at `at`, for `amount`.
    #[serde(rename = "subscription.renewal_soon")]
    RenewalSoon { at: Timestamp, amount: Money },
    /// The card will have expired when it renews at `at`.
    #[serde(rename = "subscription.card_expiring")]
    CardExpiring { at: Timestamp, last4: String },
    /// It will not renew, and ends at `at`.
    #[serde(rename = "subscription.cancelled")]
    Cancelled { at: Timestamp },
    /// It will renew after all.
    #[serde(rename = "subscription.resumed")]
    Resumed { at: Timestamp },
    /// Another plan from `from` on.
    #[serde(rename = "subscription.plan_changed")]
    PlanChanged { from: Timestamp },
    /// A dearer plan could not be charged: it stays as it was.
    #[serde(rename = "subscription.plan_not_changed")]
    PlanNotChanged,
    #[serde(rename = "subscription.method_changed")]
    MethodChanged { last4: String },
    /// Not paid in the days of grace: perks hold no more.
    #[serde(rename = "subscription.lapsed")]
    Lapsed,
    /// Over, as agreed or asked for.
    #[serde(rename = "subscription.ended")]
    Ended,
    /// For `settle`: the decision is stored, the provider has not been asked yet.
    #[serde(rename = "subscription.refund_requested")]
    RefundRequested { charge: ChargeRef, refund: RefundId },
    #[serde(rename = "subscription.refunded")]
    Refunded { charge: ChargeRef, refund: RefundId, amount: Money },
    /// The provider could not give the money back; a person has to.
    #[serde(rename = "subscription.refund_failed")]
    RefundFailed { charge: ChargeRef, refund: RefundId },
    /// The card that was saved had a trial before: this one does not begin, and the first payment is due.
    #[serde(rename = "subscription.trial_refused")]
    TrialRefused,
    /// The payer's bank wants the money of a charge back, or has decided about it.
    #[serde(rename = "subscription.disputed")]
    Disputed { charge: ChargeRef, state: DisputeState },
    /// A bank gave back what it had decided to keep. The subscription is over: a person has to see what its subscriber gets.
    #[serde(rename = "subscription.dispute_reversed")]
    DisputeReversed { charge: ChargeRef },
}

impl SubscriptionNews {
    /// The tag, as the message attribute `type` carries it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "subscription.started",
            Self::ChargeDue { .. } => "subscription.charge_due",
            Self::ChargeDropped { .. } => "subscription.charge_dropped",
            Self::Charged { .. } => "subscription.charged",
            Self::ChargeFailed { .. } => "subscription.charge_failed",
            Self::ConfirmationNeeded { .. } => "subscription.confirmation_needed",
            Self::RenewalSoon { .. } => "subscription.renewal_soon",
            Self::CardExpiring { .. } => "subscription.card_expiring",
            Self::Cancelled { .. } => "subscription.cancelled",
            Self::Resumed { .. } => "subscription.resumed",
            Self::PlanChanged { .. } => "subscription.plan_changed",
            Self::PlanNotChanged => "subscription.plan_not_changed",
            Self::MethodChanged { .. } => "subscription.method_changed",
            Self::Lapsed => "subscription.lapsed",
            Self::Ended => "subscription.ended",
            Self::RefundRequested { .. } => "subscription.refund_requested",
            Self::Refunded { .. } => "subscription.refunded",
            Self::RefundFailed { .. } => "subscription.refund_failed",
            Self::TrialRefused => "subscription.trial_refused",
            Self::Disputed { .. } => "subscription.disputed",
            Self::DisputeReversed { .. } => "subscription.dispute_reversed",
        }
    }
}

impl Effect {
    /// The `index`th effect of the write that made version `v` of an item.
    pub fn of(item: impl std::fmt::Display, v: u64, index: usize, what: What) -> Self {
        Self { id: format!("{item}.{v}.{index}"), trace: None, what }
    }

    /// What was written with it: its versions order the effects that it set off.
    pub fn item(&self) -> &str {
        self.id.rsplitn(3, '.').last().unwrap_or_default()
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
            What::SeatsFreed { .. } => "seats.freed",
            What::EventPublished { .. } => "event.published",
            What::EventChanged { .. } => "event.changed",
            What::EventCancelled { .. } => "event.cancelled",
            What::Subscription(effect) => effect.what.kind(),
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
            What::SeatsFreed { event },
            What::EventPublished { event },
            What::EventChanged { event },
            What::EventCancelled { event },
        ] {
            let json = serde_json::to_value(&what).unwrap();
            assert_eq!(json["type"], what.kind());
        }
    }

    #[test]
    fn a_subscriptions_kind_is_the_tag_and_it_reads_back() {
        use SubscriptionNews as News;
        let (user, subscription, refund) = (UserId(1), SubscriptionId(2), RefundId(3));
        let charge = ChargeRef { subscription, period: 4, change: 0 };
        let at = Timestamp::UNIX_EPOCH;
        let amount = Money::new(5, crate::money::Currency::from_code("EUR").unwrap());
        let last4 = || "4242".to_owned();
        for what in [
            News::Started { until: at, trial: true },
            News::ChargeDue { charge, nth: 1 },
            News::ChargeDropped { charge },
            News::Charged { charge, amount, until: at },
            News::ChargeFailed { charge, verdict: Verdict::Retry, next_try: Some(at), grace_until: at },
            News::ConfirmationNeeded { charge, grace_until: at },
            News::RenewalSoon { at, amount },
            News::CardExpiring { at, last4: last4() },
            News::Cancelled { at },
            News::Resumed { at },
            News::PlanChanged { from: at },
            News::PlanNotChanged,
            News::MethodChanged { last4: last4() },
            News::Lapsed,
            News::Ended,
            News::RefundRequested { charge, refund },
            News::Refunded { charge, refund, amount },
            News::RefundFailed { charge, refund },
            News::TrialRefused,
            News::Disputed { charge, state: DisputeState::Lost },
            News::DisputeReversed { charge },
        ] {
            let what = What::Subscription(SubscriptionEffect { user, subscription, what });
            let effect = Effect::of(subscription, 1, 0, what);
            let json = serde_json::to_value(&effect).unwrap();
            assert_eq!(json["type"], effect.what.kind());
            assert_eq!(serde_json::from_value::<Effect>(json).unwrap(), effect);
        }
    }
}
