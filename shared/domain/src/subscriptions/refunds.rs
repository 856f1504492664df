//! Money of a charge that goes back by a decision of ours: stored with its rule before anything moves.

use super::charges::{Charge, ChargeRef};
use super::periods::NoSuchDate;
use super::state::Refused;
use crate::disputes::RESUMED_MAX;
use crate::effects::SubscriptionNews;
use crate::ids::{RefundId, keyed};
use crate::ledger::{Account, ChargeCause, ChargeEntry};
use crate::money::Money;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Seconds after which a refund that has not ended is asked for again.
pub const REFUND_RETRY_SECONDS: i64 = 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeRefundState {
    /// Decided; the money has not moved.
    Requested,
    Done,
    /// The provider could not: a person asks anew.
    Failed,
}

/// Money of a charge that goes back, with the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeRefund {
    pub id: RefundId,
    /// Minor units of the charge's currency.
    pub amount: i64,
    pub state: ChargeRefundState,
    pub rule: String,
    pub source: String,
    pub at: Timestamp,
    /// How many of it the provider made that failed: the next is another refund there.
    #[serde(default)]
    pub retries: u8,
    /// How often it was asked for anew by itself, after it `gave_way`.
    #[serde(default)]
    pub resumed: u8,
    /// Whether it failed because the payer's bank had the money: if that gives it back, it is asked for anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gave_way: bool,
    /// The provider's id of it; of one that failed, only if it was made at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_refund: Option<String>,
}

impl ChargeRefund {
    /// The provider's idempotency key of it, and the word in its metadata.
    pub fn provider_key(&self) -> String {
        ChargeRef::refund_key(self.id, self.retries)
    }

    pub fn is_done(&self) -> bool {
        self.state == ChargeRefundState::Done
    }

    /// Under a new name at the provider only if it made one under this: whoever asked before and slept must not make a
    /// second one.
    fn ask_anew(&mut self) {
        self.state = ChargeRefundState::Requested;
        self.retries += u8::from(self.provider_refund.is_some());
        (self.gave_way, self.provider_refund) = (false, None);
    }
}

impl Charge {
    /// Decides that so much goes back, and gives the effect that asks for it; none while the payer's bank has the money: then
    /// it is asked for when that gives it back.
    pub(super) fn refunding(
        &mut self,
        amount: i64,
        rule: &str,
        source: &str,
        now: Timestamp,
    ) -> Option<SubscriptionNews> {
        let id = RefundId(keyed(&self.id.to_string(), "refund", &self.refunds.len().to_string()));
        let gave_way = self.is_disputed();
        let state = if gave_way { ChargeRefundState::Failed } else { ChargeRefundState::Requested };
        let (rule, source) = (rule.to_owned(), source.to_owned());
        let (retries, resumed, provider_refund) = (0, 0, None);
        self.refunds.push(ChargeRefund {
            id,
            amount,
            state,
            rule,
            source,
            at: now,
            retries,
            resumed,
            gave_way,
            provider_refund,
        });
        if gave_way {
            return None;
        }
        self.due_at = Some(now + SignedDuration::from_secs(REFUND_RETRY_SECONDS));
        Some(SubscriptionNews::RefundRequested { charge: self.id, refund: id })
    }

    pub fn refund(&self, id: RefundId) -> Option<&ChargeRefund> {
        self.refunds.iter().find(|refund| refund.id == id)
    }

    pub fn requested_refund(&self) -> Option<&ChargeRefund> {
        self.refunds.iter().find(|refund| refund.state == ChargeRefundState::Requested)
    }

    /// Minor units that a decision keeps for their way back. What failed is kept no more once a bank has decided for the payer:
    /// then nothing is asked for anew.
    pub(super) fn going_back(&self) -> i64 {
        let is_void = |refund: &&ChargeRefund| refund.state == ChargeRefundState::Failed && self.has_lost_dispute();
        let open = self.refunds.iter().filter(|refund| !refund.is_done() && !is_void(refund));
        open.map(|refund| refund.amount).sum()
    }

    /// The provider has given it back, under this id of its own. None where that is known.
    pub fn refund_done(
        &self,
        id: RefundId,
        made: String,
        now: Timestamp,
    ) -> Result<Option<(Self, ChargeEntry)>, NoSuchDate> {
        let Some(at) = self.find_refund(id, ChargeRefundState::Requested) else { return Ok(None) };
        let mut next = self.next();
        next.refunds[at].state = ChargeRefundState::Done;
        next.refunds[at].provider_refund = Some(made);
        next.due_at = next.next_due(now)?;
        let ChargeRefund { amount, retries, .. } = self.refunds[at];
        let cause = ChargeCause::ChargeRefund { refund: id, retries };
        let entry = self.entry(cause, Account::Provider, self.payable(), amount, now);
        let amount = Money::new(amount, self.amount.currency);
        Ok(Some((next.with_effect(SubscriptionNews::Refunded { charge: self.id, refund: id, amount }), entry)))
    }

    /// The provider could not give it back, at once or days later; what was booked is booked back. A person has to see to it,
    /// unless it `gave_way` to the payer's bank. `made` is what the provider made of it, if it did. None where it is known.
    pub fn refund_failed(
        &self,
        id: RefundId,
        made: Option<String>,
        gave_way: bool,
        now: Timestamp,
    ) -> Result<Option<(Self, Option<ChargeEntry>)>, NoSuchDate> {
        let done = self.find_refund(id, ChargeRefundState::Done);
        let Some(at) = done.or(self.find_refund(id, ChargeRefundState::Requested)) else { return Ok(None) };
        let mut next = self.next();
        let refund = &mut next.refunds[at];
        (refund.state, refund.gave_way) = (ChargeRefundState::Failed, gave_way);
        refund.provider_refund = made.or(refund.provider_refund.take());
        let ChargeRefund { amount, retries, .. } = self.refunds[at];
        let cause = ChargeCause::ChargeRefundReversed { refund: id, retries };
        let entry = done.map(|_| self.entry(cause, self.payable(), Account::Provider, amount, now));
        let next = next.with_effect(SubscriptionNews::RefundFailed { charge: self.id, refund: id });
        // The news of it may come when the dispute is over.
        Ok(Some((next.resumed(now)?, entry)))
    }

    /// Once no bank has money of it any more: what gave way to a bank is asked for anew, under the decisions that stand.
    pub(super) fn resumed(mut self, now: Timestamp) -> Result<Self, NoSuchDate> {
        let mut asked = Vec::new();
        if !self.disputes.is_empty() && !self.is_disputed() {
            let is_due = |refund: &&mut ChargeRefund| {
                refund.state == ChargeRefundState::Failed && refund.gave_way && refund.resumed < RESUMED_MAX
            };
            for refund in self.refunds.iter_mut().filter(is_due) {
                refund.ask_anew();
                refund.resumed += 1;
                asked.push(SubscriptionNews::RefundRequested { charge: self.id, refund: refund.id });
            }
        }
        self.due_at = self.next_due(now)?;
        Ok(asked.into_iter().fold(self, Self::with_effect))
    }

    /// Asks the provider anew for a refund that failed, under the decision that stands.
    pub fn retry_refund(&self, id: RefundId, now: Timestamp) -> Result<Self, Refused> {
        let mut next = self.next();
        let refund = next.refunds.iter_mut().find(|refund| refund.id == id).ok_or(Refused::NoSuchRefund)?;
        if refund.state != ChargeRefundState::Failed || refund.retries == u8::MAX {
            return Err(Refused::RefundNotFailed);
        }
        if self.is_disputed() {
            return Err(Refused::Disputed);
        }
        refund.ask_anew();
        next.due_at = next.next_due(now)?;
        Ok(next.with_effect(SubscriptionNews::RefundRequested { charge: self.id, refund: id }))
    }

    fn find_refund(&self, id: RefundId, state: ChargeRefundState) -> Option<usize> {
        self.refunds.iter().position(|refund| refund.id == id && refund.state == state)
    }

    /// Where its money is owed until it has gone back.
    fn payable(&self) -> Account {
        if self.unadopted.is_some() { Account::Unadopted } else { Account::Deferred }
    }
}
