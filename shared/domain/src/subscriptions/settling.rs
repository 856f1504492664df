//! What becomes of a subscription once its charge was tried.

use super::cards::CardUse;
use super::charges::{ATTEMPTS_MAX, Attempt, Charge, ChargeKind, ChargeState, Outcome};
use super::dunning::{Decline, Verdict, next_try};
use super::periods::{Anchor, Period, days_after};
use super::plans::Billing;
use super::promotions::spent;
use super::state::{Event, Method, Owed, Refused, State, Subscription, Write};
use crate::effects::SubscriptionNews as News;
use crate::money::Money;
use jiff::Timestamp;

impl Subscription {
    /// The charge that it waits for was paid. `method` is what it was paid with, where that was saved.
    pub fn charge_paid(&self, charge: &Charge, method: Option<Method>, now: Timestamp) -> Result<Write, Refused> {
        self.charge_paid_by(charge, method, None, now)
    }

    /// The same, with what is known of the card: promotions are counted for it where it begins, and those that it had used up
    /// lower no payment after this one.
    pub fn charge_paid_by(
        &self,
        charge: &Charge,
        method: Option<Method>,
        card: Option<&CardUse>,
        now: Timestamp,
    ) -> Result<Write, Refused> {
        self.check_owed(charge)?;
        let mut write = Write::next(self);
        if method.is_some() {
            write.subscription.method = method;
        }
        let term = match charge.kind {
            ChargeKind::First => write.begin_at(charge.id.period, now)?,
            ChargeKind::Renewal | ChargeKind::Proration => charge.term,
        };
        write.pay(charge, term, now)?;
        if let Some(card) = card.filter(|_| self.started_at.is_none()) {
            write.take_back(card, false, now);
            write.claim(card, &self.promotions);
        }
        Ok(write.done())
    }

    /// A try was declined, or its holder has to confirm. `tried` is the provider's id of the try, by which it is known again:
    /// none where this one is recorded already.
    pub fn charge_declined(
        &self,
        charge: &Charge,
        tried: &str,
        decline: &Decline,
        now: Timestamp,
    ) -> Result<Option<Write>, Refused> {
        let owed = self.check_owed(charge)?;
        if charge.attempts.iter().any(|known| known.id == tried) {
            return Ok(None);
        }
        let mut write = Write::next(self);
        let (verdict, reason) = (decline.verdict(), decline.reason().to_owned());
        let mut charge = charge.next();
        let outcome = Outcome::Declined { verdict, reason: reason.clone() };
        charge.attempts.push(Attempt { at: now, id: tried.to_owned(), outcome });
        write.tell(now, Event::Declined { charge: charge.id, reason, verdict });
        let waits = verdict == Verdict::Confirm && charge.attempts.len() < ATTEMPTS_MAX;
        match (charge.kind, charge.off_session) {
            (ChargeKind::Renewal, _) => write.renewal_declined(&charge, owed, verdict, now)?,
            // The subscriber is there, and may try another card.
            (_, false) => write.charges.push(charge),
            (_, true) if waits => {
                let pending = write.subscription.owed.as_mut().expect("checked above");
                pending.asked_at = None;
                write.effect(News::ConfirmationNeeded { charge: charge.id, grace_until: owed.until });
                write.charges.push(charge);
            }
            (_, true) => write.give_up(charge, verdict, now)?,
        }
        Ok(Some(write.done()))
    }

    /// A method was saved for a subscription whose first period, or trial, costs nothing: it begins.
    pub fn method_saved(&self, method: Method, now: Timestamp) -> Result<Write, Refused> {
        self.method_saved_by(method, None, now)
    }

    /// The same, with what is known of the card. What it had before it does not have again: then the subscription may wait for
    /// a first payment.
    pub fn method_saved_by(&self, method: Method, card: Option<&CardUse>, now: Timestamp) -> Result<Write, Refused> {
        if self.state != State::Pending || self.owed.is_some() {
            return self.change_method(method, now);
        }
        let mut write = Write::next(self);
        write.subscription.method = Some(method);
        if let Some(card) = card {
            write.refuse_used(card, now);
        }
        let granted = write.subscription.promotions.clone();
        let (first, has_trial) = (write.subscription.next_price(), write.subscription.terms.trial_days > 0);
        if first.price.amount > 0 && !has_trial {
            // The subscriber agreed to pay nothing now: they are asked, and nothing is charged behind their back.
            write.first_charge(first, false, now)?;
            return Ok(write.done());
        }
        if has_trial {
            write.begin_trial(now)?
        } else {
            write.free_period(1, now)?
        }
        if let Some(card) = card {
            write.claim(card, &granted);
        }
        Ok(write.done())
    }

    fn check_owed(&self, charge: &Charge) -> Result<Owed, Refused> {
        let owed = self.owed.clone().filter(|owed| owed.charge == charge.id && charge.state == ChargeState::Open);
        owed.ok_or(Refused::ChargeClosed)
    }
}

impl Write {
    fn begin_trial(&mut self, now: Timestamp) -> Result<(), Refused> {
        let next = &mut self.subscription;
        let zone = next.anchor.zone.clone();
        let until = days_after(now, &zone, next.terms.trial_days.into())?;
        (next.state, next.started_at) = (State::Trialing, Some(now));
        next.anchor = Anchor { at: until, first: 1, zone };
        next.enter(Period { number: 0, from: now, to: until })?;
        self.tell(now, Event::TrialBegan { until });
        self.effect(News::Started { until, trial: true });
        Ok(())
    }

    /// The charge is paid, and what it was for happens.
    pub(super) fn pay(&mut self, charge: &Charge, term: Period, now: Timestamp) -> Result<(), Refused> {
        let (paid, entry) = charge.paid(term, now)?;
        let (kind, id, amount) = (paid.kind, paid.id, paid.amount);
        self.charges.push(paid);
        self.entries.extend(entry);
        let next = &mut self.subscription;
        let was_closed = next.state == State::Lapsed;
        (next.owed, next.state) = (None, State::Active);
        if kind == ChargeKind::Proration {
            let change = next.change.take().expect("a difference is paid for a change");
            (next.plan, next.terms) = (change.plan, change.terms);
            next.grace_until = days_after(next.period.to, &next.anchor.zone, next.terms.grace_days.into())?;
            let plan = next.plan;
            self.tell(now, Event::PlanChanged { plan });
            self.effect(News::PlanChanged { from: now });
        } else {
            next.enter(term)?;
            let (left, release) = spent(&next.promotions, &charge.off);
            next.promotions = left;
            self.release.extend(release);
            for &(promotion, off) in &charge.off {
                self.tell(now, Event::PromotionApplied { promotion, amount: Money::new(off, amount.currency) });
            }
        }
        if was_closed {
            self.tell(now, Event::CameBack);
        }
        self.tell(now, Event::Paid { charge: id, amount, from: term.from, to: term.to });
        if kind == ChargeKind::First {
            self.effect(News::Started { until: term.to, trial: false });
        }
        self.effect(News::Charged { charge: id, amount, until: term.to });
        Ok(())
    }

    fn renewal_declined(
        &mut self,
        charge: &Charge,
        owed: Owed,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<(), Refused> {
        assert_eq!(self.subscription.terms.billing, Billing::Monthly, "only what is monthly renews");
        let next = &mut self.subscription;
        let at = match verdict {
            Verdict::Retry if charge.attempts.len() < ATTEMPTS_MAX => {
                next_try(owed.first_at, now, &next.terms.retry_days, &next.anchor.zone)?
            }
            _ => None,
        };
        let next_try = at.filter(|at| *at < owed.until);
        // Those that the subscriber made while confirming count too, so that the next that is asked for is made.
        let tries = owed.tries.max(u8::try_from(charge.attempts.len()).unwrap_or(u8::MAX));
        next.state = State::PastDue;
        let (id, grace_until) = (charge.id, owed.until);
        next.owed = Some(Owed { asked_at: None, next_try, tries, ..owed });
        self.charges.push(charge.clone());
        if verdict == Verdict::Confirm {
            self.effect(News::ConfirmationNeeded { charge: id, grace_until });
        } else {
            self.effect(News::ChargeFailed { charge: id, verdict, next_try, grace_until });
        }
        Ok(())
    }

    /// A charge that the subscriber asked for failed, and is not tried again by itself.
    fn give_up(&mut self, charge: Charge, verdict: Verdict, now: Timestamp) -> Result<(), Refused> {
        // Recorded and given up in one write, so in one version.
        let read = Charge { v: charge.v - 1, ..charge };
        self.drop_charge(Some(&read), now)?;
        let grace_until = self.subscription.grace_until;
        self.effect(News::ChargeFailed { charge: read.id, verdict, next_try: None, grace_until });
        Ok(())
    }
}
