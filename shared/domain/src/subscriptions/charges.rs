//! Charges: one a subscription and period, whatever fires twice; each holds its one intent, every try, and what the journal
//! has recognised of it.

use super::chargebacks::Chargeback;
use super::periods::{NoSuchDate, Period};
use super::proration::{next_recognition, split_at};
use super::refunds::{ChargeRefund, REFUND_RETRY_SECONDS};
use super::state::Owed;
use crate::effects::{Effect, SubscriptionEffect, SubscriptionNews, What};
use crate::ids::{PromotionId, RefundId, SubscriptionId, UserId};
use crate::ledger::{Account, ChargeCause, ChargeEntry, Leg, transfer};
use crate::money::Money;
use crate::payments::PaymentStatus;
use crate::subscriptions::dunning::Verdict;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Tries of one charge, a subscriber's own with other cards included.
pub const ATTEMPTS_MAX: usize = 32;

/// Which charge: `sub_…:3` for period 3, `sub_…:3.1` for the first change of plan in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChargeRef {
    pub subscription: SubscriptionId,
    pub period: u32,
    /// 0 for the period itself.
    pub change: u8,
}

impl ChargeRef {
    /// The charge that a payment is for, by what its provider was told: see [`Charge::payment_period`].
    pub fn of_payment(subscription: &str, period: &str) -> Option<Self> {
        let (period, _) = period.split_once('#').unwrap_or((period, ""));
        format!("{subscription}:{period}").parse().ok()
    }

    /// What the provider knows a refund by, after so many failures.
    pub fn refund_key(refund: RefundId, retries: u8) -> String {
        format!("{refund}-{retries}")
    }
}

impl fmt::Display for ChargeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.subscription, self.period)?;
        if self.change > 0 { write!(f, ".{}", self.change) } else { Ok(()) }
    }
}

impl fmt::Debug for ChargeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names no charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid charge")]
pub struct InvalidCharge;

impl FromStr for ChargeRef {
    type Err = InvalidCharge;
    fn from_str(text: &str) -> Result<Self, InvalidCharge> {
        let (subscription, rest) = text.split_once(':').ok_or(InvalidCharge)?;
        let (period, change) = rest.split_once('.').unwrap_or((rest, "0"));
        let subscription = subscription.parse().map_err(|_| InvalidCharge)?;
        let (period, change) = (period.parse().map_err(|_| InvalidCharge)?, change.parse().map_err(|_| InvalidCharge)?);
        let found = Self { subscription, period, change };
        // One spelling only: `03` would be a second name of the same charge.
        if found.to_string() == text { Ok(found) } else { Err(InvalidCharge) }
    }
}

impl Serialize for ChargeRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChargeRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeKind {
    /// With it a subscription begins, or begins again.
    First,
    Renewal,
    /// The difference to a dearer plan.
    Proration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeState {
    Open,
    Succeeded,
    /// Given up after declines.
    Failed,
    /// Given up without any.
    Cancelled,
}

/// One try and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Timestamp,
    /// The provider's id of the try, by which it is known again.
    pub id: String,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    Declined { verdict: Verdict, reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    pub id: ChargeRef,
    pub user: UserId,
    /// Grows by one with each write; every write is conditional on it, the first on there being none.
    pub v: u64,
    pub kind: ChargeKind,
    pub amount: Money,
    /// The time that is paid for. Of a first charge it is known once it is paid.
    pub term: Period,
    /// IANA name of the zone that its days are counted in.
    pub zone: String,
    /// Whether it is tried without the subscriber, with the saved method.
    pub off_session: bool,
    /// What promotions took off, in minor units.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub off: Vec<(PromotionId, i64)>,
    /// The provider's id of its one payment, once that is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The last decline in the provider's words: what the next try comes after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declined: Option<crate::payments::Decline>,
    pub state: ChargeState,
    /// When revenue is to be recognised or a refund driven again; while it is open its subscription looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "jiff::fmt::serde::timestamp::second::optional")]
    pub due_at: Option<Timestamp>,
    /// Minor units that the journal has recognised.
    #[serde(default)]
    pub recognised: i64,
    /// Minor units that were paid when nobody waited for them any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unadopted: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<ChargeRefund>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disputes: Vec<Chargeback>,
    /// What the last write set off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

/// The payment of a charge, as the provider has it now.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub status: PaymentStatus,
    /// The provider's id of the last try, where there was one (Stripe: `latest_charge`).
    pub last_try: Option<&'a str>,
}

/// What has to be done about a charge next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeStep {
    Nothing,
    /// Create its payment, unconfirmed, and save the id ([`Charge::with_intent`]) before anything else.
    Create,
    /// Confirm it off-session with the saved method, then look again.
    Confirm,
    /// It is authorised: capture it, then look again.
    Capture,
    /// Paid: [`super::Subscription::charge_paid`].
    Paid,
    /// Declined, or to be confirmed by its holder: [`super::Subscription::charge_declined`].
    Declined,
    /// Nobody waits for it any more: cancel the payment.
    Cancel,
    /// Paid although nobody waited for it any more: [`Charge::paid_late`].
    PaidLate,
    /// A stored decision waits for its money to move.
    Refund(RefundId),
}

impl Charge {
    /// The one place that decides how a charge goes on; safe to ask at any time, however often. `seen` is none where it has
    /// no payment yet; `owed` is the subscription's.
    pub fn step(&self, owed: Option<&Owed>, seen: Option<Seen<'_>>) -> ChargeStep {
        use PaymentStatus as P;
        match (self.state, seen.map(|seen| seen.status)) {
            (ChargeState::Open, _) => self.open_step(owed, seen),
            (_, _) if let Some(refund) = self.requested_refund() => ChargeStep::Refund(refund.id),
            (ChargeState::Succeeded, _) => ChargeStep::Nothing,
            (_, Some(P::Captured)) if self.unadopted.is_none() => ChargeStep::PaidLate,
            (_, None | Some(P::Captured | P::Cancelled | P::Processing)) => ChargeStep::Nothing,
            (_, Some(_)) => ChargeStep::Cancel,
        }
    }

    fn open_step(&self, owed: Option<&Owed>, seen: Option<Seen<'_>>) -> ChargeStep {
        use PaymentStatus as P;
        let Some(owed) = owed.filter(|owed| owed.charge == self.id) else { return ChargeStep::Nothing };
        let may_try = self.off_session && self.attempts.len() < usize::from(owed.tries);
        // One whose last try is recorded gets its payment with the next.
        let create = if self.off_session && !may_try { ChargeStep::Nothing } else { ChargeStep::Create };
        let Some(seen) = seen else { return create };
        let is_known = seen.last_try.is_none_or(|id| self.attempts.iter().any(|known| known.id == id));
        match seen.status {
            P::Captured => ChargeStep::Paid,
            P::Authorised => ChargeStep::Capture,
            P::Processing => ChargeStep::Nothing,
            P::Cancelled => create,
            P::Waiting | P::Declined | P::NeedsAction if !self.off_session => ChargeStep::Nothing,
            P::NeedsAction if may_try => ChargeStep::Declined,
            P::NeedsAction => ChargeStep::Nothing,
            P::Waiting | P::Declined if !is_known => ChargeStep::Declined,
            P::Waiting | P::Declined if may_try => ChargeStep::Confirm,
            P::Waiting | P::Declined => ChargeStep::Nothing,
        }
    }

    /// With its payment, which was just created.
    pub fn with_intent(&self, intent: String) -> Self {
        assert_eq!(self.state, ChargeState::Open, "only an open charge is paid");
        Self { intent: Some(intent), ..self.next() }
    }

    /// The provider's idempotency key of its payment: another once a payment was cancelled there.
    pub fn provider_key(&self) -> String {
        match &self.intent {
            None => self.id.to_string(),
            Some(cancelled) => format!("{}#{cancelled}", self.id),
        }
    }

    /// The period as the provider is told, a part of that key: [`ChargeRef::of_payment`] finds the charge by it.
    pub fn payment_period(&self) -> String {
        let key = self.provider_key();
        key.split_once(':').map_or(key.clone(), |(_, period)| period.to_owned())
    }

    /// Minor units that were paid, and are neither recognised nor gone or going back.
    pub fn deferred(&self) -> i64 {
        (self.unearned() - self.going_back()).max(0)
    }

    /// Minor units that the journal has as owed: for time to come, or until they have gone back.
    pub(super) fn unearned(&self) -> i64 {
        let gone: i64 = self.refunds.iter().filter(|refund| refund.is_done()).map(|refund| refund.amount).sum();
        match (self.state, self.unadopted) {
            (ChargeState::Succeeded, None) => self.amount.amount - self.recognised - gone - self.charged_back(),
            _ => 0,
        }
    }

    /// Recognises what has been used of it by `now`; none where that is nothing new.
    pub fn recognised(&self, now: Timestamp) -> Result<Option<(Self, ChargeEntry)>, NoSuchDate> {
        let used = split_at(self.amount, &self.term, &self.zone, now)?.used.amount;
        Ok(self.recognise(used - self.recognised, now))
    }

    /// Recognises all that is left of it: its time was given up.
    pub fn forfeited(&self, now: Timestamp) -> Option<(Self, ChargeEntry)> {
        self.recognise(self.deferred(), now)
    }

    fn recognise(&self, more: i64, now: Timestamp) -> Option<(Self, ChargeEntry)> {
        let more = more.min(self.deferred());
        if more <= 0 {
            return None;
        }
        let next = Self { recognised: self.recognised + more, ..self.next() };
        let entry = self.entry(ChargeCause::Recognised { until: now }, Account::Revenue, Account::Deferred, more, now);
        Some((next, entry))
    }

    /// What is due of a charge by itself: revenue, at the ends of months and of its term; or a refund that nobody has
    /// answered for, which is asked for again. None before `due_at`.
    pub fn advance(&self, now: Timestamp) -> Result<Option<(Self, Option<ChargeEntry>)>, NoSuchDate> {
        if self.due_at.is_none_or(|due| due > now) {
            return Ok(None);
        }
        if let Some(refund) = self.requested_refund() {
            let (charge, refund) = (self.id, refund.id);
            let next = Self { due_at: self.next_due(now)?, ..self.next() };
            return Ok(Some((next.with_effect(SubscriptionNews::RefundRequested { charge, refund }), None)));
        }
        let (mut next, entry) = match self.recognised(now)? {
            Some((next, entry)) => (next, Some(entry)),
            None => (self.next(), None),
        };
        next.due_at = next.next_due(now)?;
        Ok(Some((next, entry)))
    }

    pub(super) fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, NoSuchDate> {
        if self.requested_refund().is_some() {
            return Ok(Some(now + SignedDuration::from_secs(REFUND_RETRY_SECONDS)));
        }
        if self.deferred() == 0 { Ok(None) } else { next_recognition(&self.term, &self.zone, now).map(Some) }
    }

    /// Paid: its money is owed as time to come. What follows for the subscription is its own.
    pub(super) fn paid(&self, term: Period, now: Timestamp) -> Result<(Self, Option<ChargeEntry>), NoSuchDate> {
        assert_eq!(self.state, ChargeState::Open, "a charge is paid once");
        let mut next = Self { state: ChargeState::Succeeded, term, ..self.next() };
        if self.amount.amount > 0 {
            let id = self.intent.clone().unwrap_or_default();
            next.attempts.push(Attempt { at: now, id, outcome: Outcome::Succeeded });
        }
        next.due_at = next.next_due(now)?;
        let booked =
            |amount| self.entry(ChargeCause::SubscriptionCharge, Account::Deferred, Account::Provider, amount, now);
        let entry = (self.amount.amount > 0).then(|| booked(self.amount.amount));
        Ok((next, entry))
    }

    /// Given up: its payment is to be cancelled.
    pub(super) fn dropped(&self) -> Self {
        assert_eq!(self.state, ChargeState::Open, "only an open charge is given up");
        let state = if self.attempts.is_empty() { ChargeState::Cancelled } else { ChargeState::Failed };
        Self { state, ..self.next() }
    }

    /// Money that came although nobody waited for it any more: booked, with the decision to give all of it back.
    pub fn paid_late(&self, captured: i64, now: Timestamp) -> (Self, ChargeEntry) {
        assert!(matches!(self.state, ChargeState::Cancelled | ChargeState::Failed) && self.unadopted.is_none());
        let mut next = Self { unadopted: Some(captured), ..self.next() };
        let asked = next.refunding(captured, "charge_given_up", crate::refunds::ORGANISER, now);
        next = asked.into_iter().fold(next, Self::with_effect);
        let entry = self.entry(ChargeCause::UnadoptedCharge, Account::Unadopted, Account::Provider, captured, now);
        (next, entry)
    }

    pub(super) fn next(&self) -> Self {
        Self { v: self.v + 1, effects: Vec::new(), ..self.clone() }
    }

    pub(super) fn with_effect(mut self, what: SubscriptionNews) -> Self {
        let what = What::Subscription(SubscriptionEffect { user: self.user, subscription: self.id.subscription, what });
        self.effects.push(Effect::of(self.id, self.v, self.effects.len(), what));
        self
    }

    pub(super) fn entry(
        &self,
        cause: ChargeCause,
        from: Account,
        to: Account,
        amount: i64,
        at: Timestamp,
    ) -> ChargeEntry {
        self.entry_of(cause, transfer(from, to, amount), at)
    }

    pub(super) fn entry_of(&self, cause: ChargeCause, legs: Vec<Leg>, at: Timestamp) -> ChargeEntry {
        let (charge, user, currency) = (self.id, self.user, self.amount.currency);
        ChargeEntry { charge, user, cause, currency, legs, at }
    }
}
