//! What must hold of subscriptions: each charge took its price once, or gave back what it took; the journal has earned of it
//! what its time has used up.

use crate::books::Audit;
use domain::ledger::Account;
use domain::payments::DisputeState;
use domain::refunds::RefundState;
use domain::subscriptions::{Charge, ChargeState};
use std::collections::{BTreeMap, HashMap};

impl Audit {
    /// Checks that subscriptions, charges and journal agree with the provider, for a box office that is at rest.
    #[track_caller]
    pub(crate) fn check_subscriptions(&self, moved: &HashMap<&str, (i64, i64)>) {
        let mut open = BTreeMap::new();
        for subscription in &self.subscriptions {
            if subscription.occupies() {
                let other = open.insert(subscription.user, subscription.id);
                assert!(other.is_none(), "one has two: {subscription:?}");
            }
        }
        for charge in &self.charges {
            self.check_charge(charge, moved);
        }
    }

    #[track_caller]
    fn check_charge(&self, charge: &Charge, moved: &HashMap<&str, (i64, i64)>) {
        let (captured, given_back) = charge.intent.as_deref().map_or((0, 0), |id| moved[id]);
        let refunds = |state| {
            let those = charge.refunds.iter().filter(move |refund| refund.sent.state == state);
            those.map(|refund| refund.amount).sum::<i64>()
        };
        let done = refunds(RefundState::Done);
        assert_eq!(given_back, done, "refunds of {charge:?}");
        let is_paid = charge.state == ChargeState::Succeeded;
        match charge.unadopted {
            None if is_paid => assert_eq!(captured, charge.amount.amount, "what was taken for {charge:?}"),
            None => assert_eq!(captured, 0, "nothing is taken for {charge:?}"),
            Some(_) => assert_eq!(captured - given_back, refunds(RefundState::Failed), "of {charge:?}"),
        }
        let owner = self.subscriptions.iter().find(|subscription| subscription.id == charge.id.subscription);
        let owner = owner.unwrap_or_else(|| panic!("a charge of nobody: {charge:?}"));
        let is_awaited = owner.owed.as_ref().is_some_and(|owed| owed.charge == charge.id);
        assert_eq!(charge.state == ChargeState::Open, is_awaited, "an open charge is waited for: {charge:?}");
        let booked = |account| {
            let of_it = self.charge_entries.iter().filter(|entry| entry.charge == charge.id);
            of_it.map(|entry| entry.of(account)).sum::<i64>()
        };
        assert_eq!(booked(Account::Provider), captured - given_back - disputed(charge), "the journal of {charge:?}");
        let (open, unearned, earned) = held_by_banks(charge);
        assert_eq!(booked(Account::Disputes), open, "what banks have and have not decided on: {charge:?}");
        let is_adopted = is_paid && charge.unadopted.is_none();
        if is_adopted {
            assert_eq!(booked(Account::Revenue), earned - charge.recognised, "what was earned by {charge:?}");
            let deferred = captured - charge.recognised - done - unearned;
            assert_eq!(booked(Account::Deferred), -deferred, "what is owed for {charge:?}");
            assert!(deferred >= 0, "no more is earned or given back than was paid: {charge:?}");
        } else {
            assert_eq!(
                (booked(Account::Revenue), booked(Account::Deferred)),
                (0, 0),
                "nothing is earned by {charge:?}"
            );
        }
    }
}

/// What disputes have taken from the provider's balance, fees included.
fn disputed(charge: &Charge) -> i64 {
    let disputes = charge.disputes.iter().map(|known| &known.dispute);
    let moved = disputes.map(|dispute| {
        let withdrawn = dispute.withdrawn.map_or(0, |swing| swing.amount + swing.fee);
        withdrawn - dispute.reinstated.map_or(0, |swing| swing.amount - swing.fee)
    });
    moved.sum()
}

/// What banks have and have not decided on; and what they keep: of time to come, and of what had been earned.
fn held_by_banks(charge: &Charge) -> (i64, i64, i64) {
    let (mut open, mut unearned, mut earned) = (0, 0, 0);
    for known in &charge.disputes {
        let taken = known.dispute.withdrawn.map_or(0, |swing| swing.amount);
        match known.dispute.state {
            DisputeState::Open => open += taken,
            DisputeState::Lost => (unearned, earned) = (unearned + known.unearned, earned + taken - known.unearned),
            DisputeState::Won => {}
        }
    }
    (open, unearned, earned)
}
