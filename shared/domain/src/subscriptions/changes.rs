//! What a subscriber asks for: to cancel at the end, to resume, another card, another plan, to come back.

use super::charges::{ATTEMPTS_MAX, Charge, ChargeKind, ChargeRef};
use super::plans::{Billing, Plan, PlanStatus};
use super::promotions::Discounted;
use super::proration::upgrade;
use super::state::{
    Consent, Event, Method, PENDING_SECONDS, PendingChange, Refused, State, Subscription, Write, payable, seconds_after,
};
use crate::effects::SubscriptionNews as News;
use crate::money::Money;
use jiff::Timestamp;

/// Changes of plan that are charged for in one period.
pub const CHANGES_A_PERIOD_MAX: u8 = 10;

/// The plan that somebody changes to.
#[derive(Clone, Debug)]
pub struct NewPlan<'a> {
    pub plan: &'a Plan,
    /// What was agreed to for it.
    pub consent: Consent,
    /// What was paid for the present period: the sum of its charges ([`Subscription::paid_of`]).
    pub paid: Money,
}

impl Subscription {
    /// What these charges paid for the present period.
    pub fn paid_of(&self, charges: &[Charge]) -> Money {
        let of_period = charges.iter().filter(|charge| charge.id.period == self.period.number);
        let paid = of_period.filter(|charge| charge.state == super::ChargeState::Succeeded);
        Money::new(paid.map(|charge| charge.amount.amount).sum(), self.terms.price.currency)
    }

    fn check_running(&self, now: Timestamp) -> Result<(), Refused> {
        match self.state {
            State::Pending => Err(Refused::Pending),
            State::Lapsed | State::Ended => Err(Refused::Over),
            State::PastDue => Err(Refused::PastDue),
            State::Trialing | State::Active if self.owed.is_some() => Err(Refused::Busy),
            // What is due now is done first.
            State::Trialing | State::Active if now >= self.period.to => Err(Refused::Busy),
            State::Trialing | State::Active => Ok(()),
        }
    }

    /// Not renewed: perks hold to the end of what is paid. Asking twice is asking once; then there is nothing to write.
    pub fn cancel_at_end(&self, now: Timestamp) -> Result<Option<Write>, Refused> {
        self.check_running(now)?;
        if !self.renews() {
            return Ok(None);
        }
        let mut write = Write::next(self);
        (write.subscription.cancel_at_end, write.subscription.change) = (true, None);
        write.tell(now, Event::CancelAsked { ends_at: self.period.to });
        write.effect(News::Cancelled { at: self.period.to });
        Ok(Some(write.done()))
    }

    /// Renewed after all. None where it would be anyway.
    pub fn resume(&self, now: Timestamp) -> Result<Option<Write>, Refused> {
        match self.state {
            State::Trialing | State::Active if now >= self.period.to && !self.renews() => return Err(Refused::Over),
            _ => self.check_running(now)?,
        }
        if !self.cancel_at_end {
            return Ok(None);
        }
        let mut write = Write::next(self);
        write.subscription.cancel_at_end = false;
        write.tell(now, Event::Resumed);
        write.effect(News::Resumed { at: self.period.to });
        Ok(Some(write.done()))
    }

    /// Another saved method. What is past due is tried with it at once.
    pub fn change_method(&self, method: Method, now: Timestamp) -> Result<Write, Refused> {
        if self.state == State::Ended {
            return Err(Refused::Over);
        }
        let mut write = Write::next(self);
        let (brand, last4) = (method.brand.clone(), method.last4.clone());
        write.subscription.method = Some(method);
        write.tell(now, Event::MethodChanged { brand, last4: last4.clone() });
        write.effect(News::MethodChanged { last4 });
        if self.state == State::PastDue {
            write.ask_now(now)?;
        }
        Ok(write.done())
    }

    /// What is past due is tried at once, since its subscriber says that it will work now.
    pub fn try_now(&self, now: Timestamp) -> Result<Write, Refused> {
        let mut write = Write::next(self);
        write.ask_now(now)?;
        Ok(write.done())
    }

    /// Another plan: a dearer one now, for the difference for the days left; a cheaper one from the next period on. The plan
    /// that it has takes back what was to come.
    pub fn change_plan(&self, new: NewPlan<'_>, now: Timestamp) -> Result<Write, Refused> {
        self.check_running(now)?;
        let (plan, terms) = (new.plan.reference(), &new.plan.terms);
        self.check_plan(&new, terms.billing)?;
        let mut write = Write::next(self);
        write.subscription.consent = new.consent.clone();
        let consent = Some(new.consent.clone());
        if plan.id == self.plan.id && self.change.is_some() {
            write.subscription.change = None;
            write.tell(now, Event::PlanAsked { plan, now: false, consent });
            write.tell(now, Event::PlanNotChanged);
            return Ok(write.done());
        }
        let is_now = self.state == State::Trialing || terms.price.amount > self.terms.price.amount;
        let mut terms = terms.clone();
        terms.trial_days = self.terms.trial_days;
        write.tell(now, Event::PlanAsked { plan, now: is_now, consent });
        write.subscription.change = Some(PendingChange { plan, terms: terms.clone(), now: is_now });
        if !is_now {
            write.effect(News::PlanChanged { from: self.period.to });
            return Ok(write.done());
        }
        let trial = self.state == State::Trialing;
        let price =
            if trial { Money::zero(terms.price.currency) } else { self.difference(new.paid, terms.price, now)? };
        if price.amount > 0 {
            write.charge_difference(price, now)?;
        } else {
            write.subscription.change = None;
            (write.subscription.plan, write.subscription.terms) = (plan, terms);
            // Its days of notice and of grace may be others.
            let changes = self.changes;
            write.subscription.enter(self.period)?;
            write.subscription.changes = changes;
            write.tell(now, Event::PlanChanged { plan });
            write.effect(News::PlanChanged { from: now });
        }
        Ok(write.done())
    }

    /// What a change to a plan of this price costs now; for a quote too.
    pub fn difference(&self, paid: Money, price: Money, now: Timestamp) -> Result<Money, Refused> {
        Ok(payable(upgrade(paid, price, &self.period, &self.anchor.zone, now)?))
    }

    fn check_plan(&self, new: &NewPlan<'_>, billing: Billing) -> Result<(), Refused> {
        let (plan, currency) = (new.plan.reference(), self.terms.price.currency);
        if self.cancel_at_end {
            return Err(Refused::CancelAsked);
        }
        if plan.id == self.plan.id {
            return if self.change.is_some() { Ok(()) } else { Err(Refused::SamePlan) };
        }
        if new.plan.status == PlanStatus::Withdrawn {
            return Err(Refused::Withdrawn);
        }
        if new.plan.terms.price.currency != currency {
            return Err(Refused::OtherCurrency(currency));
        }
        if billing != Billing::Monthly || self.terms.billing != Billing::Monthly {
            return Err(Refused::OtherBilling);
        }
        Ok(())
    }

    /// A lapsed one begins again: a new period from now, charged to the saved method.
    pub fn come_back(&self, now: Timestamp) -> Result<Write, Refused> {
        match self.state {
            State::Lapsed if self.owed.is_some() => return Err(Refused::Busy),
            State::Lapsed => {}
            State::Ended => return Err(Refused::Over),
            _ => return Err(Refused::NotLapsed),
        }
        if self.method.is_none() {
            return Err(Refused::NoMethod);
        }
        let mut write = Write::next(self);
        write.subscription.promotions.clear();
        let price = write.subscription.next_price();
        write.first_charge(price, true, now)?;
        Ok(write.done())
    }
}

impl Write {
    fn ask_now(&mut self, now: Timestamp) -> Result<(), Refused> {
        let owed = self.subscription.owed.as_mut().filter(|owed| owed.kind == ChargeKind::Renewal);
        let owed = owed.ok_or(Refused::ChargeClosed)?;
        if owed.asked_at.is_some() {
            return Err(Refused::Busy);
        }
        if usize::from(owed.tries) >= ATTEMPTS_MAX {
            return Err(Refused::TooOften);
        }
        owed.tries += 1;
        (owed.asked_at, owed.next_try) = (Some(now), None);
        let (charge, nth) = (owed.charge, owed.tries);
        self.effect(News::ChargeDue { charge, nth });
        Ok(())
    }

    fn charge_difference(&mut self, price: Money, now: Timestamp) -> Result<(), Refused> {
        let next = &mut self.subscription;
        if next.method.is_none() {
            return Err(Refused::NoMethod);
        }
        if next.changes >= CHANGES_A_PERIOD_MAX {
            return Err(Refused::TooOften);
        }
        next.changes += 1;
        let id = ChargeRef { subscription: next.id, period: next.period.number, change: next.changes };
        let term = super::periods::Period { from: now, ..next.period };
        let until = seconds_after(now, PENDING_SECONDS).min(next.period.to);
        self.owe(id, ChargeKind::Proration, Discounted { price, parts: Vec::new() }, (term, until), true, now);
        Ok(())
    }
}
