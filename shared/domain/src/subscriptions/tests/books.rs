//! The journal of a subscription, whatever happens to it.

use super::*;
use crate::payments::{DisputeState, ProviderDispute, Swing};
use crate::refunds::RefundState;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Days(i64),
    Decline(&'static str),
    CancelAtEnd,
    CancelNow,
    Resume,
    Upgrade,
    Downgrade,
    ComeBack,
    NewCard,
    FailRefund,
    /// A bank has this to say of the latest payment that it can; it wants all of what is left, or a part.
    Dispute(DisputeState, bool),
}

fn any_state() -> impl Strategy<Value = DisputeState> {
    prop_oneof![Just(DisputeState::Open), Just(DisputeState::Won), Just(DisputeState::Lost)]
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0_i64..45).prop_map(Deed::Days),
        2 => prop_oneof![Just("insufficient_funds"), Just("stolen_card"), Just("authentication_required")].prop_map(Deed::Decline),
        1 => Just(Deed::CancelAtEnd),
        1 => Just(Deed::CancelNow),
        1 => Just(Deed::Resume),
        2 => Just(Deed::Upgrade),
        1 => Just(Deed::Downgrade),
        2 => Just(Deed::ComeBack),
        1 => Just(Deed::NewCard),
        1 => Just(Deed::FailRefund),
        2 => (any_state(), any::<bool>()).prop_map(|(state, whole)| Deed::Dispute(state, whole)),
    ]
}

fn do_deed(world: &mut World, deed: Deed, cheap: &Plan, dear: &Plan) {
    let change = |world: &World, plan| {
        let paid = world.sub.paid_of(&world.present());
        world.sub.change_plan(NewPlan { plan, consent: world.sub.consent.clone(), paid }, world.now).ok()
    };
    let write = match deed {
        Deed::Days(days) => {
            world.run_until(world.now + SignedDuration::from_hours(24 * days), World::pay);
            None
        }
        Deed::Decline(code) => {
            let until = world.now + SignedDuration::from_hours(24 * 31);
            world.run_until(until, |world| world.decline(code));
            None
        }
        Deed::CancelAtEnd => world.sub.cancel_at_end(world.now).ok().flatten(),
        Deed::CancelNow => world.sub.cancel_now(&world.present(), world.now).ok(),
        Deed::Resume => world.sub.resume(world.now).ok().flatten(),
        Deed::Upgrade => change(world, dear),
        Deed::Downgrade => change(world, cheap),
        Deed::ComeBack => world.sub.come_back(world.now).ok(),
        Deed::NewCard => world.sub.change_method(method("5555"), world.now).ok(),
        Deed::FailRefund => {
            for charge in world.present() {
                let Some(refund) = charge.refunds.first() else { continue };
                let Some((next, entry)) = charge.refund_failed(refund.id, None, false, world.now).unwrap() else {
                    continue;
                };
                let again = next.retry_refund(refund.id, world.now);
                world.save_charge(next, entry);
                match again {
                    Ok(again) => world.save_charge(again, []),
                    Err(refused) => assert_eq!((refused, charge.is_disputed()), (Refused::Disputed, true)),
                }
            }
            None
        }
        Deed::Dispute(state, is_whole) => {
            let latest = world.charges.values().rev().find(|charge| charge.is_booked());
            latest.and_then(|charge| dispute(world, charge, state, is_whole))
        }
    };
    if let Some(write) = write {
        world.save(write);
        if world.sub.owed.as_ref().is_some_and(|owed| owed.asked_at == Some(world.now)) {
            world.pay();
        }
    }
    world.refund_all();
}

/// What follows from news of a dispute.
fn dispute(world: &World, charge: &Charge, state: DisputeState, is_whole: bool) -> Option<Write> {
    let back: i64 = charge.refunds.iter().filter(|refund| refund.is_done()).map(|refund| refund.amount).sum();
    let left = if is_whole { charge.amount.amount - back } else { (charge.amount.amount - back) / 2 };
    let id = format!("du_{}", charge.id);
    let known = charge.dispute(&id);
    let withdrawn = known.and_then(|known| known.withdrawn).unwrap_or(Swing { amount: left, fee: 15 });
    let amount = withdrawn.amount;
    if amount == 0 {
        return None;
    }
    let reinstated = (state == DisputeState::Won).then_some(Swing { amount, fee: 0 });
    let seen = ProviderDispute { id, state, amount, withdrawn: Some(withdrawn), reinstated };
    let write = world.sub.dispute_seen(charge, &world.present(), &seen, world.now).unwrap()?;
    let told = write.charges.iter().find(|next| next.id == charge.id).expect("it is written");
    assert_eq!(write.subscription.dispute_seen(told, &world.present(), &seen, world.now), Ok(None), "said twice");
    Some(write)
}

fn check(world: &World) {
    assert!(world.entries.iter().all(|entry| entry.balances() == Ok(true)));
    let keys: BTreeSet<_> = world.entries.iter().map(ChargeEntry::key).collect();
    assert_eq!(keys.len(), world.entries.len(), "each event is booked once");
    let accounts = [Account::Provider, Account::Deferred, Account::Revenue, Account::Unadopted];
    let accounts = [&accounts[..], &[Account::Disputes, Account::Fees]].concat();
    assert_eq!(accounts.into_iter().map(|account| world.sum(account)).sum::<i64>(), 0);
    let unearned: i64 = world.charges.values().map(Charge::unearned).sum();
    assert_eq!(-world.sum(Account::Deferred), unearned, "what is owed is what the charges say");
    for charge in world.charges.values() {
        let gone: i64 = charge.refunds.iter().filter(|refund| refund.is_done()).map(|refund| refund.amount).sum();
        assert!(charge.recognised >= 0 && charge.unearned() >= 0 && charge.recognised + gone <= charge.amount.amount);
        let is_owed_back = charge.refunds.iter().any(|refund| !refund.is_done());
        assert!(is_owed_back || charge.deferred() == charge.unearned(), "nothing else waits");
        let is_lost = charge.disputes.iter().any(|known| known.dispute.state == DisputeState::Lost);
        assert!(!is_lost || world.sub.state == State::Ended, "a dispute that is lost ends it");
    }
    let paid = world.charges.values().filter(|charge| charge.state == ChargeState::Succeeded);
    let periods: Vec<_> =
        paid.filter(|charge| charge.kind != ChargeKind::Proration).map(|charge| charge.term).collect();
    assert!(periods.windows(2).all(|pair| pair[0].to <= pair[1].from), "no time is paid for twice");
    let history: BTreeSet<_> = world.history.iter().map(|line| (line.v, line.nth)).collect();
    assert_eq!(history.len(), world.history.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_journal_balances_whatever_happens(
        deeds in proptest::collection::vec(any_deed(), 1..12),
        price in 50_i64..=1_000_000,
        pro_rata: bool,
    ) {
        let cancel_refund = if pro_rata { CancelRefund::ProRata } else { CancelRefund::None };
        let terms = |price| Terms { price: eur(price), cancel_refund, ..terms() };
        let (cheap, dear) = (plan(2, terms(50)), plan(3, terms(price * 2 + 7)));
        let mut world = World::paid(terms(price), at("2026-01-31"));
        for deed in deeds {
            do_deed(&mut world, deed, &cheap, &dear);
            check(&world);
        }
        // In the end all time has passed, and everything paid was earned or went back.
        if let Ok(write) = world.sub.cancel_now(&world.present(), world.now) {
            world.save(write);
            world.refund_all();
        }
        for charge in world.present() {
            let is_open = charge.disputes.iter().any(|known| known.dispute.state == DisputeState::Open);
            if let Some(write) = is_open.then(|| dispute(&world, &charge, DisputeState::Won, true)).flatten() {
                world.save(write);
                world.refund_all();
            }
        }
        // And somebody sees to what had failed.
        for charge in world.present() {
            let failed = charge.refunds.iter().filter(|refund| refund.sent.state == RefundState::Failed);
            let asked = failed.filter_map(|refund| charge.retry_refund(refund.id, world.now).ok()).next();
            if let Some(asked) = asked {
                world.save_charge(asked, []);
                world.refund_all();
            }
        }
        let end = world.now + SignedDuration::from_hours(24 * 400);
        world.run_until(end, World::pay);
        check(&world);
        prop_assert_eq!(world.sum(Account::Disputes), 0);
        prop_assert_eq!(world.sum(Account::Deferred), 0);
        let kept = world.sum(Account::Provider) + world.sum(Account::Fees);
        prop_assert_eq!(kept, -world.sum(Account::Revenue));
    }

    #[test]
    fn revenue_is_recognised_month_by_month_and_sums_to_the_price(price in 50_i64..=1_000_000_000, months in 1_u8..=36) {
        let once = Terms { price: eur(price), billing: Billing::Once { months }, ..terms() };
        let mut world = World::paid(once, at("2026-01-31"));
        let end = world.sub.period.to;
        world.run_until(end, World::pay);
        check(&world);
        prop_assert_eq!((world.sum(Account::Revenue), world.sum(Account::Deferred)), (-price, 0));
        let booked = world.entries.iter().filter(|entry| entry.of(Account::Revenue) != 0).count();
        prop_assert!(booked <= usize::from(months) + 1);
    }
}
