//! Money of a charge that goes back by a decision of ours: stored with its rule before anything moves.

use super::charges::{Charge, ChargeRef};
use super::periods::NoSuchDate;
use super::state::Refused;
use crate::effects::SubscriptionNews;
use crate::ids::{RefundId, keyed};
use crate::ledger::{Account, ChargeCause, ChargeEntry};
use crate::money::Money;
use crate::refunds::{RefundState, Sending};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Seconds after which a refund that has not ended is asked for again.
pub const REFUND_RETRY_SECONDS: i64 = 3600;

/// Money of a charge that goes back, with the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeRefund {
    pub id: RefundId,
    /// Minor units of the charge's currency.
    pub amount: i64,
    pub rule: String,
    pub source: String,
    pub at: Timestamp,
    #[serde(flatten)]
    pub sent: Sending,
}

impl ChargeRefund {
    /// The provider's idempotency key of it, and the word in its metadata.
    pub fn provider_key(&self) -> String {
        ChargeRef::refund_key(self.id, self.sent.retries)
    }

    pub fn is_done(&self) -> bool {
        self.sent.state == RefundState::Done
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
        let sent = if gave_way { Sending::gives_way() } else { Sending::requested() };
        let (rule, source) = (rule.to_owned(), source.to_owned());
        self.refunds.push(ChargeRefund { id, amount, rule, source, at: now, sent });
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
        self.refunds.iter().find(|refund| refund.sent.state == RefundState::Requested)
    }

    /// Minor units that a decision keeps for their way back. What failed is kept no more once a bank has decided for the payer:
    /// then nothing is asked for anew.
    pub(super) fn going_back(&self) -> i64 {
        let is_void = |refund: &&ChargeRefund| refund.sent.state == RefundState::Failed && self.has_lost_dispute();
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
        let Some(at) = self.find_refund(id, RefundState::Requested) else { return Ok(None) };
        let mut next = self.next();
        next.refunds[at].sent.done(Some(made));
        next.due_at = next.next_due(now)?;
        let ChargeRefund { amount, sent: Sending { retries, .. }, .. } = self.refunds[at];
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
        let done = self.find_refund(id, RefundState::Done);
        let Some(at) = done.or(self.find_refund(id, RefundState::Requested)) else { return Ok(None) };
        let mut next = self.next();
        let sent = &mut next.refunds[at].sent;
        let made = made.or(sent.provider_refund.take());
        sent.failed(made, gave_way);
        let ChargeRefund { amount, sent: Sending { retries, .. }, .. } = self.refunds[at];
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
            for refund in &mut self.refunds {
                if refund.sent.resume() {
                    asked.push(SubscriptionNews::RefundRequested { charge: self.id, refund: refund.id });
                }
            }
        }
        self.due_at = self.next_due(now)?;
        Ok(asked.into_iter().fold(self, Self::with_effect))
    }

    /// Asks the provider anew for a refund that failed, under the decision that stands.
    pub fn retry_refund(&self, id: RefundId, now: Timestamp) -> Result<Self, Refused> {
        let mut next = self.next();
        let refund = next.refunds.iter_mut().find(|refund| refund.id == id).ok_or(Refused::NoSuchRefund)?;
        if !refund.sent.may_retry() {
            return Err(Refused::RefundNotFailed);
        }
        if self.is_disputed() {
            return Err(Refused::Disputed);
        }
        refund.sent.ask_anew();
        next.due_at = next.next_due(now)?;
        Ok(next.with_effect(SubscriptionNews::RefundRequested { charge: self.id, refund: id }))
    }

    fn find_refund(&self, id: RefundId, state: RefundState) -> Option<usize> {
        self.refunds.iter().position(|refund| refund.id == id && refund.sent.state == state)
    }

    /// Where its money is owed until it has gone back.
    fn payable(&self) -> Account {
        if self.unadopted.is_some() { Account::Unadopted } else { Account::Deferred }
    }
}
