//! A subscription's life as `renew`, `settle` and its subscriber make it.

use super::dunning::{Decline, Verdict};
use super::perks::{Perk, Perks};
use super::plans::{Billing, CancelRefund, Law, Names, Plan, PlanStatus, Terms};
use super::promotions::{Counted, Gift, Granted, NotGranted, Past, Person, Promotion, Reserve};
use super::*;
use crate::effects::What;
use crate::ids::{PlanId, PromotionId, SubscriptionId, UserId};
use crate::ledger::{Account, ChargeEntry};
use crate::money::{BasisPoints, Currency, Money};
use crate::payments::PaymentStatus;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

mod books;
mod cards;
mod life;

pub(super) fn eur(amount: i64) -> Money {
    Money::new(amount, Currency::from_code("EUR").unwrap())
}

pub(super) fn terms() -> Terms {
    Terms {
        name: Names { ru: "Друг".into(), en: "Friend".into() },
        price: eur(3000),
        billing: Billing::Monthly,
        trial_days: 0,
        perks: Vec::new(),
        cancel_refund: CancelRefund::None,
        law: None,
        grace_days: 10,
        notice_days: 3,
        retry_days: vec![1, 3, 5, 7],
    }
}

fn plan(id: u128, terms: Terms) -> Plan {
    Plan::offer(PlanId(id), terms, "r".into()).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|_| format!("{text}T10:00:00Z").parse().unwrap())
}

fn method(last4: &str) -> Method {
    Method {
        customer: "cus_1".into(),
        id: format!("pm_{last4}"),
        brand: "visa".into(),
        last4: last4.into(),
        exp_year: 2040,
        exp_month: 1,
        fingerprint: None,
    }
}

fn new(plan: &Plan) -> NewSubscription<'_> {
    NewSubscription {
        id: SubscriptionId(1),
        user: UserId(2),
        request: "r".into(),
        plan,
        currency: None,
        zone: "Europe/Berlin".into(),
        consent: Consent { text: "I agree to pay each month".into(), at: at("2026-01-31") },
        promotions: Vec::new(),
        has_one: false,
        had_trial: false,
    }
}

fn declined(code: &str) -> Decline {
    Decline { code: Some("card_declined".into()), decline_code: Some(code.into()), ..Decline::default() }
}

/// The items that a store would hold, and everything that was ever written beside them.
struct World {
    now: Timestamp,
    sub: Subscription,
    charges: BTreeMap<ChargeRef, Charge>,
    entries: Vec<ChargeEntry>,
    history: Vec<History>,
    release: Vec<promotions::Release>,
    told: Vec<String>,
    tries: usize,
}

impl World {
    fn begin(new: NewSubscription<'_>, now: Timestamp) -> Self {
        let write = Subscription::begin(new, now).unwrap();
        let mut world = Self {
            now,
            sub: write.subscription.clone(),
            charges: BTreeMap::new(),
            entries: Vec::new(),
            history: Vec::new(),
            release: Vec::new(),
            told: Vec::new(),
            tries: 0,
        };
        world.sub.v = 0;
        world.save(write);
        world
    }

    /// A monthly one of these terms, paid.
    fn paid(terms: Terms, now: Timestamp) -> Self {
        let plan = plan(1, terms);
        let mut world = Self::begin(new(&plan), now);
        world.pay();
        world
    }

    fn tell(&mut self, effects: &[crate::effects::Effect]) {
        self.told.extend(effects.iter().map(|effect| effect.what.kind().replace("subscription.", "")));
    }

    fn save(&mut self, write: Write) {
        assert_eq!(write.subscription.v, self.sub.v + 1, "one write, one version");
        self.sub = write.subscription;
        let effects = self.sub.effects.clone();
        self.tell(&effects);
        for charge in write.charges {
            self.save_charge(charge, []);
        }
        self.entries.extend(write.entries);
        self.history.extend(write.history);
        self.release.extend(write.release);
    }

    fn save_charge(&mut self, charge: Charge, entries: impl IntoIterator<Item = ChargeEntry>) {
        assert_eq!(charge.v, self.charges.get(&charge.id).map_or(1, |before| before.v + 1), "one write, one version");
        let effects = charge.effects.clone();
        self.tell(&effects);
        self.charges.insert(charge.id, charge);
        self.entries.extend(entries);
    }

    fn owed(&self) -> Charge {
        self.charges[&self.sub.owed.as_ref().expect("a charge is owed").charge].clone()
    }

    fn pay(&mut self) {
        let write = self.sub.charge_paid(&self.owed(), Some(method("4242")), self.now).unwrap();
        self.save(write);
    }

    fn decline(&mut self, code: &str) {
        self.tries += 1;
        let tried = format!("ch_{}", self.tries);
        let write = self.sub.charge_declined(&self.owed(), &tried, &declined(code), self.now).unwrap().unwrap();
        self.save(write);
    }

    /// The charges of the present period, and the one that is owed.
    fn present(&self) -> Vec<Charge> {
        self.charges.values().cloned().collect()
    }

    /// Everything that is due until then, in its order; what is asked of the provider is answered by `answer`.
    fn run_until(&mut self, until: Timestamp, mut answer: impl FnMut(&mut Self)) {
        for _ in 0..1000 {
            let due = self.charges.values().filter_map(|charge| charge.due_at).chain(self.sub.due_at).min();
            let Some(due) = due.filter(|due| *due <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(due);
            for charge in self.present() {
                if let Some((next, entry)) = charge.advance(self.now).unwrap() {
                    self.save_charge(next, entry);
                }
            }
            let owed = self.sub.owed.as_ref().map(|owed| self.charges[&owed.charge].clone());
            if let Some(write) = self.sub.advance(owed.as_ref(), self.now).unwrap() {
                self.save(write);
            }
            if self.sub.owed.as_ref().is_some_and(|owed| owed.asked_at == Some(self.now)) {
                answer(self);
            }
        }
        panic!("it never rests: {:?}", self.sub);
    }

    fn sum(&self, account: Account) -> i64 {
        self.entries.iter().map(|entry| entry.of(account)).sum()
    }

    fn refund_all(&mut self) {
        for charge in self.present() {
            if let Some(refund) = charge.requested_refund() {
                let (next, entry) = charge.refund_done(refund.id, "re_1".into(), self.now).unwrap().unwrap();
                self.save_charge(next, [entry]);
            }
        }
    }
}
