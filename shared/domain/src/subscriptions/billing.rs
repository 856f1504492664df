//! What is due of a subscription by itself, and what then happens: notices, renewals, retries, lapse and end.

use super::charges::{Charge, ChargeKind, ChargeRef, ChargeState};
use super::periods::{NoSuchDate, Period, days_after};
use super::plans::Billing;
use super::promotions::released;
use super::state::{Event, Owed, REDRIVE_SECONDS, Refused, State, Subscription, Write, seconds_after};
use crate::effects::SubscriptionNews as News;
use jiff::Timestamp;

/// What is due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nobody paid: it never began.
    GiveUp,
    /// The notice of the next renewal.
    Remind,
    /// The card will have expired by then.
    WarnCard,
    Renew,
    /// Ask for the next try of the charge, or again for the one that nobody answered.
    Try,
    /// A dearer plan, or coming back, could not be charged in time.
    Drop,
    Lapse,
    End,
}

impl Subscription {
    /// What is due next, and when; none at rest.
    pub fn agenda(&self) -> Option<(Timestamp, Due)> {
        match self.state {
            State::Pending => Some((seconds_after(self.created_at, super::state::PENDING_SECONDS), Due::GiveUp)),
            State::Ended => None,
            State::Trialing | State::Active | State::PastDue | State::Lapsed => match &self.owed {
                Some(owed) => Some(self.agenda_of(owed)),
                None if self.state == State::Lapsed => None,
                None => Some(self.agenda_of_period()),
            },
        }
    }

    fn agenda_of(&self, owed: &Owed) -> (Timestamp, Due) {
        let end = if owed.kind == ChargeKind::Renewal { Due::Lapse } else { Due::Drop };
        let asked = owed.asked_at.map(|at| seconds_after(at, REDRIVE_SECONDS));
        match asked.or(owed.next_try) {
            Some(at) if at < owed.until => (at, Due::Try),
            _ => (owed.until, end),
        }
    }

    fn agenda_of_period(&self) -> (Timestamp, Due) {
        let to = self.period.to;
        if !self.renews() {
            return (to, Due::End);
        }
        let notice = self.notice_at.map(|at| (at, Due::Remind));
        let warning = self.warn_at.filter(|_| self.is_card_expiring()).map(|at| (at, Due::WarnCard));
        let first = [notice, warning].into_iter().flatten().min_by_key(|(at, _)| *at);
        first.filter(|(at, _)| *at < to).unwrap_or((to, Due::Renew))
    }

    /// Does what is due at `now`; none where nothing is. `charge` is the one that is owed, as it was read: it is closed with
    /// the subscription's wait for it.
    pub fn advance(&self, charge: Option<&Charge>, now: Timestamp) -> Result<Option<Write>, Refused> {
        let Some((_, due)) = self.agenda().filter(|(at, _)| *at <= now) else { return Ok(None) };
        let mut write = Write::next(self);
        match due {
            Due::Remind => write.remind(now),
            Due::WarnCard => write.warn_card(now),
            Due::Renew => write.renew(now)?,
            Due::Try => write.try_again(now),
            Due::Drop => write.drop_charge(charge, now)?,
            Due::GiveUp | Due::End => write.end(charge, now)?,
            Due::Lapse => write.lapse(charge, now)?,
        }
        Ok(Some(write.done()))
    }
}

impl Write {
    fn remind(&mut self, now: Timestamp) {
        let (at, amount) = (self.subscription.period.to, self.subscription.next_price().price);
        self.subscription.notice_at = None;
        self.tell(now, Event::Reminded { renews_at: at });
        self.effect(News::RenewalSoon { at, amount });
    }

    fn warn_card(&mut self, now: Timestamp) {
        let at = self.subscription.period.to;
        let last4 = self.subscription.method.as_ref().map(|method| method.last4.clone()).unwrap_or_default();
        self.subscription.warn_at = None;
        self.tell(now, Event::CardWarned { last4: last4.clone() });
        self.effect(News::CardExpiring { at, last4 });
    }

    /// The next period is due: charged, or begun at once where it costs nothing.
    fn renew(&mut self, now: Timestamp) -> Result<(), Refused> {
        if let Some(change) = self.subscription.change.take_if(|change| !change.now) {
            let from = self.subscription.period.to;
            (self.subscription.plan, self.subscription.terms) = (change.plan, change.terms);
            self.tell(now, Event::PlanChanged { plan: self.subscription.plan });
            self.effect(News::PlanChanged { from });
        }
        let term = self.subscription.next_period(now)?;
        self.subscription.numbered = term.number;
        let price = self.subscription.next_price();
        let id = ChargeRef { subscription: self.subscription.id, period: term.number, change: 0 };
        let zone = self.subscription.anchor.zone.clone();
        let until = days_after(now.max(self.subscription.period.to), &zone, self.subscription.terms.grace_days.into())
            .map_err(Refused::from)?;
        let (is_free, until) = (price.price.amount == 0, until.max(seconds_after(now, REDRIVE_SECONDS)));
        self.owe(id, ChargeKind::Renewal, price, (term, until), !is_free, now);
        if is_free {
            return self.pay_free(term, now);
        }
        self.subscription.grace_until = until;
        Ok(())
    }

    /// A period that costs nothing: its charge is there, so that no other is made for it, and paid.
    fn pay_free(&mut self, term: Period, now: Timestamp) -> Result<(), Refused> {
        let made = self.charges.pop().expect("it was just made");
        // Made and paid in one write, so in one version.
        self.pay(&Charge { v: made.v - 1, ..made }, term, now)
    }

    /// The first period, where that costs nothing.
    pub(super) fn free_period(&mut self, number: u32, now: Timestamp) -> Result<(), Refused> {
        let price = self.subscription.next_price();
        let id = ChargeRef { subscription: self.subscription.id, period: number, change: 0 };
        self.subscription.numbered = number;
        let term = self.begin_at(number, now)?;
        self.owe(id, ChargeKind::First, price, (term, now), false, now);
        self.pay_free(term, now)
    }

    /// Months are counted from now.
    pub(super) fn begin_at(&mut self, number: u32, now: Timestamp) -> Result<Period, NoSuchDate> {
        let next = &mut self.subscription;
        (next.anchor.at, next.anchor.first) = (now, number);
        next.started_at.get_or_insert(now);
        next.anchor.period(number, next.terms.billing.months())
    }

    fn try_again(&mut self, now: Timestamp) {
        let owed = self.subscription.owed.as_mut().expect("only what is owed is tried");
        // One that was not answered is the same try, which whoever does it finds out.
        if owed.asked_at.is_none() {
            owed.tries = owed.tries.saturating_add(1);
        }
        (owed.asked_at, owed.next_try) = (Some(now), None);
        let (charge, nth) = (owed.charge, owed.tries);
        self.effect(News::ChargeDue { charge, nth });
    }

    /// The charge is given up, and what it was for does not happen.
    pub(super) fn drop_charge(&mut self, charge: Option<&Charge>, now: Timestamp) -> Result<(), Refused> {
        let kind = self.close_owed(charge, now)?;
        if kind == Some(ChargeKind::Proration) {
            self.subscription.change = None;
            self.tell(now, Event::PlanNotChanged);
            self.effect(News::PlanNotChanged);
        }
        Ok(())
    }

    /// Nobody waits for the charge any more: whoever sees its payment lets go of it.
    pub(super) fn close_owed(
        &mut self,
        charge: Option<&Charge>,
        now: Timestamp,
    ) -> Result<Option<ChargeKind>, Refused> {
        let Some(owed) = self.subscription.owed.take() else { return Ok(None) };
        // A closed one was read after somebody else had gone on with both.
        let charge = charge.filter(|charge| charge.id == owed.charge && charge.state == ChargeState::Open);
        let charge = charge.ok_or(Refused::Busy)?;
        self.charges.push(charge.dropped());
        self.tell(now, Event::ChargeDropped { charge: charge.id });
        self.effect(News::ChargeDropped { charge: charge.id });
        Ok(Some(owed.kind))
    }

    fn lapse(&mut self, charge: Option<&Charge>, now: Timestamp) -> Result<(), Refused> {
        self.close_owed(charge, now)?;
        self.give_back_promotions();
        self.subscription.change = None;
        self.subscription.state = State::Lapsed;
        self.tell(now, Event::Lapsed);
        self.effect(News::Lapsed);
        Ok(())
    }

    pub(super) fn end(&mut self, charge: Option<&Charge>, now: Timestamp) -> Result<(), Refused> {
        self.close_owed(charge, now)?;
        self.give_back_promotions();
        self.subscription.change = None;
        self.subscription.state = State::Ended;
        self.tell(now, Event::Ended);
        self.effect(News::Ended);
        Ok(())
    }

    fn give_back_promotions(&mut self) {
        let granted = std::mem::take(&mut self.subscription.promotions);
        self.release.extend(released(&granted, self.subscription.started_at.is_none()));
    }
}

impl Subscription {
    /// The period after this one; where `renew` comes so late that it is over, the one that `now` is in. Nobody is charged
    /// for a month that has wholly passed.
    fn next_period(&self, now: Timestamp) -> Result<Period, NoSuchDate> {
        assert_eq!(self.terms.billing, Billing::Monthly, "only what is monthly renews");
        let current = self.anchor.first + self.anchor.month_at(now)?;
        self.anchor.period((self.numbered + 1).max(current), 1)
    }
}
