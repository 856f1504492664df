//! A subscription as it is stored, what it waits for, and how one begins.

use super::cards::CardClaim;
use super::charges::{Charge, ChargeKind, ChargeRef, ChargeState};
use super::dunning::Verdict;
use super::periods::{Anchor, NoSuchDate, Period, days_after, is_zone};
use super::plans::{Billing, Plan, PlanRef, PlanStatus, Terms};
use super::promotions::{Discounted, Granted, NotGranted, Release, Reserve, check_stack, discounted};
use crate::effects::{Effect, SubscriptionEffect, SubscriptionNews, What};
use crate::ids::{PromotionId, SubscriptionId, UserId};
use crate::ledger::ChargeEntry;
use crate::money::{Currency, Money};
use crate::payments::{DisputeState, minimum_charge};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Shards of the index of subscriptions and charges that are due.
pub const DUE_SHARDS: u8 = 16;
/// How long a new subscription waits to be paid, and a charge that its subscriber started to be confirmed.
pub const PENDING_SECONDS: i64 = 24 * 3600;
/// A try that nobody answered is asked for again after this: longer than an hour's renewals take at the provider's pace.
pub const REDRIVE_SECONDS: i64 = 4 * 3600;
/// Days before a renewal that a card which will have expired by then is warned about.
pub const CARD_WARNING_DAYS: i64 = 14;
/// Characters of the text that was agreed to.
pub const CONSENT_CHARS_MAX: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has paid yet, or saved a method for the trial.
    Pending,
    Trialing,
    Active,
    /// A renewal could not be charged; perks hold for the days of grace.
    PastDue,
    /// Not paid in the days of grace. Coming back is one click.
    Lapsed,
    Ended,
}

/// A saved method of payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// The provider's ids.
    pub customer: String,
    pub id: String,
    pub brand: String,
    pub last4: String,
    pub exp_year: i16,
    pub exp_month: i8,
    /// The same for the same card, whoever has it: by it a trial, and a promotion's use, count for the card too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

impl Method {
    /// Whether it will have expired: a card is good to the end of its month.
    pub fn expires_before(&self, at: Timestamp) -> bool {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        (self.exp_year, self.exp_month) < (date.year(), date.month())
    }
}

/// What the subscriber agreed to, in the words that they saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    pub text: String,
    pub at: Timestamp,
}

/// Another plan that is to come: at once when its difference is paid, or with the next period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingChange {
    pub plan: PlanRef,
    pub terms: Terms,
    pub now: bool,
}

/// The charge that a subscription waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    pub charge: ChargeRef,
    pub kind: ChargeKind,
    pub first_at: Timestamp,
    /// Tries asked for so far.
    pub tries: u8,
    /// When the last was asked for; none once it is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Timestamp>,
    /// When it is given up.
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub user: UserId,
    /// Grows by one with each write; every write is conditional on it.
    pub v: u64,
    /// A digest of what was asked for, by which a repeated key with other contents is known.
    pub request: String,
    pub state: State,
    pub plan: PlanRef,
    /// As they were when it began, or when its plan was changed.
    pub terms: Terms,
    pub anchor: Anchor,
    /// The one that is paid for, or the trial; empty while pending.
    pub period: Period,
    /// The highest number that a charge was made for.
    pub numbered: u32,
    /// Changes of plan that were charged for in this period.
    #[serde(default)]
    pub changes: u8,
    /// Until when perks hold if it is not paid.
    pub grace_until: Timestamp,
    pub cancel_at_end: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The provider's id of the method that it replaced, which is forgotten there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    pub consent: Consent,
    /// Whether its trial did not begin, since its card had one before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trial_refused: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<PendingChange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owed: Option<Owed>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promotions: Vec<Granted>,
    /// When the notice of the next renewal is due; none once it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// When perks first held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// What `renew` looks for in the index; none at rest.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "jiff::fmt::serde::timestamp::second::optional")]
    pub due_at: Option<Timestamp>,
    /// What the last write set off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

/// One line of a subscription's history, an item of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub subscription: SubscriptionId,
    /// The version that it came with, and its place among that version's: its key.
    pub v: u64,
    pub nth: u8,
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: Event,
}

/// What happened. The subscription keeps its last consent alone; each that there was is told here with what it was given for
/// (lines from before consents were told have none).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Event {
    Subscribed { plan: PlanRef, price: Money, consent: Option<Consent> },
    PromotionGranted { promotion: PromotionId },
    PromotionApplied { promotion: PromotionId, amount: Money },
    TrialBegan { until: Timestamp },
    ChargeDue { charge: ChargeRef, amount: Money },
    Declined { charge: ChargeRef, reason: String, verdict: Verdict },
    Paid { charge: ChargeRef, amount: Money, from: Timestamp, to: Timestamp },
    ChargeDropped { charge: ChargeRef },
    Reminded { renews_at: Timestamp },
    CardWarned { last4: String },
    CancelAsked { ends_at: Timestamp },
    Resumed,
    PlanAsked { plan: PlanRef, now: bool, consent: Option<Consent> },
    PlanChanged { plan: PlanRef },
    PlanNotChanged,
    MethodChanged { brand: String, last4: String },
    Lapsed,
    CameBack,
    RefundDecided { charge: ChargeRef, amount: Money, rule: String },
    Disputed { charge: ChargeRef, amount: Money, state: DisputeState },
    TrialRefused,
    PromotionRefused { promotion: PromotionId },
    Ended,
}

/// Everything that one decision writes, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub subscription: Subscription,
    pub charges: Vec<Charge>,
    pub entries: Vec<ChargeEntry>,
    pub history: Vec<History>,
    pub reserve: Vec<Reserve>,
    pub release: Vec<Release>,
    /// What counts for the card that it begins with.
    pub claim: Option<CardClaim>,
}

/// What is subscribed to.
#[derive(Clone, Debug)]
pub struct NewSubscription<'a> {
    pub id: SubscriptionId,
    pub user: UserId,
    pub request: String,
    pub plan: &'a Plan,
    /// The currency that the subscriber was shown, if they say.
    pub currency: Option<Currency>,
    pub zone: String,
    pub consent: Consent,
    pub promotions: Vec<(Granted, Reserve)>,
    /// Whether they have one that is not over. The store's condition decides again.
    pub has_one: bool,
    /// Whether they had a trial before. Whether their card had one is known once it is ([`super::CardUse`]).
    pub had_trial: bool,
}

/// Why a subscription cannot be done what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the plan is no longer offered")]
    Withdrawn,
    #[error("the plan is in {0}")]
    OtherCurrency(Currency),
    #[error("you have a subscription already")]
    SubscribedAlready,
    #[error("the agreement is missing or too long")]
    NoConsent,
    #[error("the subscription is not paid yet")]
    Pending,
    #[error("the subscription is over")]
    Over,
    #[error("the subscription has not lapsed")]
    NotLapsed,
    #[error("a payment is under way; ask again in a moment")]
    Busy,
    #[error("the last payment failed: change the payment method, or cancel at once")]
    PastDue,
    #[error("the subscription was cancelled; resume it first")]
    CancelAsked,
    #[error("it has no saved payment method")]
    NoMethod,
    #[error("it is on this plan already")]
    SamePlan,
    #[error("one cannot change between a term and monthly payment")]
    OtherBilling,
    #[error("that was done too often for this period")]
    TooOften,
    #[error("the charge is closed")]
    ChargeClosed,
    #[error("there is no such refund")]
    NoSuchRefund,
    #[error("only a refund that failed is asked for anew")]
    RefundNotFailed,
    #[error("the payer's bank has the money of this charge")]
    Disputed,
    #[error(transparent)]
    Promotion(#[from] NotGranted),
    #[error(transparent)]
    Date(#[from] NoSuchDate),
}

/// What is really charged: nothing where it is less than the provider takes.
pub(super) fn payable(price: Money) -> Money {
    if price.amount < minimum_charge(price.currency) { Money::zero(price.currency) } else { price }
}

pub(super) fn seconds_after(now: Timestamp, seconds: i64) -> Timestamp {
    now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

impl Subscription {
    /// Begins one. It waits for its first charge to be paid by the subscriber ([`Subscription::charge_paid`]); or, where the
    /// first is free, for a method to be saved ([`Subscription::method_saved`]).
    pub fn begin(new: NewSubscription<'_>, now: Timestamp) -> Result<Write, Refused> {
        let (plan, terms) = (new.plan.reference(), new.plan.terms.clone());
        check_new(&new)?;
        let granted: Vec<_> = new.promotions.iter().map(|(granted, _)| granted.clone()).collect();
        check_stack(&granted)?;
        let has_trial = terms.trial_days > 0 && !new.had_trial;
        let trial_days = if has_trial { terms.trial_days } else { 0 };
        let subscription = Self {
            id: new.id,
            user: new.user,
            v: 1,
            request: new.request,
            state: State::Pending,
            plan,
            terms: Terms { trial_days, ..terms },
            anchor: Anchor { at: now, first: 1, zone: new.zone },
            period: Period { number: 0, from: now, to: now },
            numbered: 0,
            changes: 0,
            grace_until: now,
            cancel_at_end: false,
            method: None,
            replaced: None,
            consent: new.consent,
            trial_refused: false,
            change: None,
            owed: None,
            promotions: granted,
            notice_at: None,
            warn_at: None,
            created_at: now,
            started_at: None,
            due_at: None,
            effects: Vec::new(),
        };
        let mut write = Write::of(subscription);
        write.reserve = new.promotions.iter().map(|(_, reserve)| *reserve).collect();
        let consent = Some(write.subscription.consent.clone());
        write.tell(now, Event::Subscribed { plan, price: write.subscription.terms.price, consent });
        for (granted, _) in &new.promotions {
            write.tell(now, Event::PromotionGranted { promotion: granted.promotion });
        }
        let first = write.subscription.next_price();
        let is_once = matches!(write.subscription.terms.billing, Billing::Once { .. });
        if first.price.amount == 0 && is_once {
            write.free_period(1, now)?;
        } else if first.price.amount > 0 && !has_trial {
            write.first_charge(first, false, now)?;
        }
        Ok(write.done())
    }

    /// What the next period costs, with the promotions that it has.
    pub fn next_price(&self) -> Discounted {
        let (plan, terms) = match &self.change {
            Some(change) if !change.now => (change.plan, &change.terms),
            _ => (self.plan, &self.terms),
        };
        let found = discounted(plan.id, terms, &self.promotions);
        Discounted { price: payable(found.price), ..found }
    }

    /// Whether its perks hold at `now`: part of every question, so that nothing waits for a sweep to be right.
    pub fn holds(&self, now: Timestamp) -> bool {
        let until = if self.renews() { self.grace_until.max(self.period.to) } else { self.period.to };
        matches!(self.state, State::Trialing | State::Active | State::PastDue) && now < until
    }

    pub(super) fn renews(&self) -> bool {
        self.terms.billing == Billing::Monthly && !self.cancel_at_end
    }

    /// The month of it that `now` is in; included tickets are counted by it. It goes on where somebody comes back.
    pub fn month_at(&self, now: Timestamp) -> Result<u32, NoSuchDate> {
        if self.period.number == 0 { Ok(0) } else { Ok(self.anchor.first + self.anchor.month_at(now)?) }
    }

    /// Whether it is over or may come back: then its subscriber may have another.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Lapsed | State::Ended)
    }

    /// Whether it takes the one place of its subscriber: it is not over, or a charge would bring it back.
    pub fn occupies(&self) -> bool {
        !self.is_closed() || self.owed.is_some()
    }

    /// On with a period: what is due before its end follows from it.
    pub(super) fn enter(&mut self, period: Period) -> Result<(), NoSuchDate> {
        let zone = &self.anchor.zone;
        let before = |days: i64| days_after(period.to, zone, -days).map(|at| at.max(period.from));
        let notice = i64::from(self.terms.notice_days);
        self.notice_at = (notice > 0).then(|| before(notice)).transpose()?;
        self.warn_at = Some(before(CARD_WARNING_DAYS)?);
        self.grace_until = days_after(period.to, zone, self.terms.grace_days.into())?;
        (self.period, self.changes) = (period, 0);
        Ok(())
    }

    pub(super) fn is_card_expiring(&self) -> bool {
        self.method.as_ref().is_some_and(|method| method.expires_before(self.period.to))
    }
}

fn check_new(new: &NewSubscription<'_>) -> Result<(), Refused> {
    if new.plan.status == PlanStatus::Withdrawn {
        return Err(Refused::Withdrawn);
    }
    let currency = new.plan.terms.price.currency;
    if new.currency.is_some_and(|asked| asked != currency) {
        return Err(Refused::OtherCurrency(currency));
    }
    if new.has_one {
        return Err(Refused::SubscribedAlready);
    }
    if new.consent.text.trim().is_empty() || new.consent.text.chars().count() > CONSENT_CHARS_MAX {
        return Err(Refused::NoConsent);
    }
    if is_zone(&new.zone) { Ok(()) } else { Err(NoSuchDate::UnknownZone(new.zone.clone()).into()) }
}

impl Write {
    fn of(subscription: Subscription) -> Self {
        let (charges, entries, history) = (Vec::new(), Vec::new(), Vec::new());
        let (reserve, release, claim) = (Vec::new(), Vec::new(), None);
        Self { subscription, charges, entries, history, reserve, release, claim }
    }

    /// The next version of a subscription.
    pub(super) fn next(before: &Subscription) -> Self {
        Self::of(Subscription { v: before.v + 1, effects: Vec::new(), ..before.clone() })
    }

    pub(super) fn tell(&mut self, at: Timestamp, what: Event) {
        let (subscription, v, nth) = (self.subscription.id, self.subscription.v, self.history.len() as u8);
        self.history.push(History { subscription, v, nth, at, what });
    }

    pub(super) fn effect(&mut self, what: SubscriptionNews) {
        let next = &mut self.subscription;
        let what = What::Subscription(SubscriptionEffect { user: next.user, subscription: next.id, what });
        next.effects.push(Effect::of(next.id, next.v, next.effects.len(), what));
    }

    /// A charge of the next number that begins the subscription, or begins it again.
    pub(super) fn first_charge(&mut self, first: Discounted, off_session: bool, now: Timestamp) -> Result<(), Refused> {
        self.subscription.numbered += 1;
        let number = self.subscription.numbered;
        let charge = ChargeRef { subscription: self.subscription.id, period: number, change: 0 };
        let until = seconds_after(now, PENDING_SECONDS);
        let term = Period { number, from: now, to: now };
        self.owe(charge, ChargeKind::First, first, (term, until), off_session, now);
        Ok(())
    }

    /// A new open charge, which the subscription waits for until `until`; off-session it is asked for at once.
    pub(super) fn owe(
        &mut self,
        id: ChargeRef,
        kind: ChargeKind,
        price: Discounted,
        (term, until): (Period, Timestamp),
        off_session: bool,
        now: Timestamp,
    ) {
        let charge = Charge {
            id,
            user: self.subscription.user,
            v: 1,
            kind,
            amount: price.price,
            term,
            zone: self.subscription.anchor.zone.clone(),
            off_session,
            off: price.parts,
            intent: None,
            attempts: Vec::new(),
            declined: None,
            state: ChargeState::Open,
            due_at: None,
            recognised: 0,
            unadopted: None,
            refunds: Vec::new(),
            disputes: Vec::new(),
            effects: Vec::new(),
        };
        let (amount, nth) = (charge.amount, u8::from(off_session));
        self.charges.push(charge);
        let asked_at = off_session.then_some(now);
        let owed = Owed { charge: id, kind, first_at: now, tries: nth, asked_at, next_try: None, until };
        self.subscription.owed = Some(owed);
        self.tell(now, Event::ChargeDue { charge: id, amount });
        if off_session {
            self.effect(SubscriptionNews::ChargeDue { charge: id, nth });
        }
    }

    /// Whole: the index learns when to look again.
    pub(super) fn done(mut self) -> Self {
        self.subscription.due_at = self.subscription.agenda().map(|(at, _)| at);
        self
    }
}
