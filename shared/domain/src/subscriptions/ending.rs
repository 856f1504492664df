//! Cancelling at once, and what of the price goes back by the plan or the law.

use super::charges::{Charge, ChargeState};
use super::plans::{CancelRefund, Law};
use super::state::{Event, Refused, State, Subscription, Write};
use crate::money::Money;
use crate::refunds::ORGANISER;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Hours in which a contract may be withdrawn from in the European Union.
const EU_WITHDRAWAL_HOURS: i64 = 14 * 24;

/// What cancelling at once gives back, and by which rule; for a quote, and for the decision that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CancelNow {
    pub refund: Money,
    /// A stable code.
    pub rule: &'static str,
    /// For people.
    pub reason: &'static str,
    /// The law's article, or the organiser's terms.
    pub source: &'static str,
}

/// A rule that decides.
#[derive(Clone, Copy)]
struct Rule {
    code: &'static str,
    reason: &'static str,
    source: &'static str,
    pro_rata: bool,
}

const RU_CONSUMER: Rule = Rule {
    code: "ru_zpp_32",
    reason: "a service may be given up at any time; the price of the days left goes back",
    source: "Law of the Russian Federation No. 2300-1 of 7 February 1992 on the Protection of Consumers' Rights, art. 32",
    pro_rata: true,
};
const EU_WITHDRAWAL: Rule = Rule {
    code: "eu_2011_83_14_days",
    reason: "withdrawn from within 14 days; the price of the days left goes back",
    source: "Directive 2011/83/EU, art. 9 and 14(3)",
    pro_rata: true,
};
const PLAN_PRO_RATA: Rule =
    Rule { code: "plan_pro_rata", reason: "the price of the days left goes back", source: ORGANISER, pro_rata: true };
const PLAN_NONE: Rule = Rule {
    code: "plan_none",
    reason: "the plan gives nothing back for the days left",
    source: ORGANISER,
    pro_rata: false,
};

impl Subscription {
    fn cancel_rule(&self, now: Timestamp) -> Rule {
        let started = self.started_at.unwrap_or(now);
        match (self.terms.law, self.terms.cancel_refund) {
            (Some(Law::RuConsumer), _) => RU_CONSUMER,
            (Some(Law::EuWithdrawal), _)
                if now.duration_since(started) < SignedDuration::from_hours(EU_WITHDRAWAL_HOURS) =>
            {
                EU_WITHDRAWAL
            }
            (_, CancelRefund::ProRata) => PLAN_PRO_RATA,
            (_, CancelRefund::None) => PLAN_NONE,
        }
    }

    /// What cancelling at once would give back. `charges` are those of the present period.
    pub fn cancel_quote(&self, charges: &[Charge], now: Timestamp) -> Result<CancelNow, Refused> {
        let write = self.cancel_now(charges, now)?;
        let Rule { code, reason, source, .. } = self.cancel_rule(now);
        let decided = write.charges.iter().zip(charges_before(&write, charges)).map(|(after, before)| {
            let sum = |charge: &Charge| charge.refunds.iter().map(|refund| refund.amount).sum::<i64>();
            sum(after) - before.map_or(0, sum)
        });
        let refund = Money::new(decided.sum(), self.terms.price.currency);
        Ok(CancelNow { refund, rule: code, reason, source })
    }

    /// Over at once. `charges` are all of the present period, and the one that it waits for: what is open is given up; of what
    /// was paid, what is used is recognised, and the rest goes back or is kept, as the rule says.
    pub fn cancel_now(&self, charges: &[Charge], now: Timestamp) -> Result<Write, Refused> {
        if self.is_closed() {
            return Err(Refused::Over);
        }
        let mut write = Write::next(self);
        write.end_now(charges, now)?;
        assert_eq!(write.subscription.state, State::Ended);
        Ok(write.done())
    }
}

fn charges_before<'a>(write: &Write, charges: &'a [Charge]) -> Vec<Option<&'a Charge>> {
    write.charges.iter().map(|after| charges.iter().find(|charge| charge.id == after.id)).collect()
}

impl Write {
    /// Over at once. Of the charges of the present period among these, what is used is recognised; the one that it waits for
    /// is given up.
    pub(super) fn end_now(&mut self, charges: &[Charge], now: Timestamp) -> Result<(), Refused> {
        let (rule, period) = (self.subscription.cancel_rule(now), self.subscription.period.number);
        let owed = self.subscription.owed.as_ref().map(|owed| owed.charge);
        let owed = charges.iter().find(|charge| Some(charge.id) == owed);
        let of_period = charges.iter().filter(|charge| {
            charge.id.period == period && charge.state == ChargeState::Succeeded && charge.deferred() > 0
        });
        for charge in of_period {
            self.settle_rest(charge, rule, now)?;
        }
        self.subscription.cancel_at_end = true;
        self.end(owed, now)
    }

    fn settle_rest(&mut self, charge: &Charge, rule: Rule, now: Timestamp) -> Result<(), Refused> {
        let pro_rata = rule.pro_rata && !charge.has_lost_dispute();
        let booked = if pro_rata { charge.recognised(now)? } else { charge.forfeited(now) };
        let (mut next, entry) = match booked {
            Some((next, entry)) => (next, Some(entry)),
            None => (charge.next(), None),
        };
        self.entries.extend(entry);
        let rest = next.deferred();
        if rest > 0 {
            let asked = next.refunding(rest, rule.code, rule.source, now);
            let amount = Money::new(rest, charge.amount.currency);
            self.tell(now, Event::RefundDecided { charge: charge.id, amount, rule: rule.code.to_owned() });
            asked.into_iter().for_each(|news| self.effect(news));
        }
        next.due_at = next.next_due(now)?;
        self.charges.push(next);
        Ok(())
    }
}
