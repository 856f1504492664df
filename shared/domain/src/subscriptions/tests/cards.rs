//! What a card has once.

use super::promotions::Release;
use super::*;

const NINE: PromotionId = PromotionId(9);

fn granted(gift: Gift, left: u8) -> (Granted, Reserve) {
    let (reserved, plans, most) = (4500, vec![], 1);
    let granted =
        Granted { promotion: NINE, gift, left, plans, reserved, stackable: false, per_person_max: Some(most) };
    let reserve =
        Reserve { promotion: NINE, amount: reserved, redemptions_max: None, budget_max: None, per_person_max: most };
    (granted, reserve)
}

fn card(had_trial: bool, used: u8) -> CardUse {
    CardUse { fingerprint: "f".into(), had_trial, used: vec![(NINE, used)] }
}

/// One that waits for a method, or for its first payment.
fn begun(trial_days: u16, promotion: (Granted, Reserve)) -> World {
    let plan = plan(1, Terms { trial_days, ..terms() });
    World::begin(NewSubscription { promotions: vec![promotion], ..new(&plan) }, at("2026-01-31"))
}

#[test]
fn a_card_has_one_trial() {
    let half = Gift::Percent(BasisPoints::percent(50));
    for (had_trial, used, state, claim, owed) in [
        (false, 0, State::Trialing, Some((true, vec![(NINE, 1)])), None),
        (false, 1, State::Trialing, Some((true, vec![])), None),
        (true, 0, State::Pending, None, Some(1500)),
        (true, 1, State::Pending, None, Some(3000)),
    ] {
        let mut world = begun(14, granted(half, 3));
        let write = world.sub.method_saved_by(method("4242"), Some(&card(had_trial, used)), world.now).unwrap();
        let claimed = write.claim.clone().map(|claim| (claim.trial, claim.promotions));
        assert_eq!((write.subscription.state, claimed), (state, claim), "{had_trial} {used}");
        world.save(write);
        assert_eq!((world.sub.trial_refused, world.sub.method.is_some()), (had_trial, true));
        assert_eq!(world.sub.owed.as_ref().map(|_| world.owed().amount.amount), owed);
        let back = (used > 0).then_some(Release { promotion: NINE, amount: 4500, unused: true });
        assert_eq!(world.release, Vec::from_iter(back), "nothing of it was used");
        if had_trial {
            assert_eq!((world.told.clone(), world.owed().off_session), (vec!["trial_refused".into()], false));
            let lasts = world.sub.agenda();
            world.pay();
            assert_eq!((world.sub.state, world.sub.period.number), (State::Active, 1), "{lasts:?}");
        }
    }
}

#[test]
fn a_card_that_had_its_free_months_pays_the_first() {
    for (used, state) in [(0, State::Active), (1, State::Pending)] {
        let mut world = begun(0, granted(Gift::FreeMonths(2), 2));
        let write = world.sub.method_saved_by(method("4242"), Some(&card(false, used)), world.now).unwrap();
        assert_eq!((write.subscription.state, write.claim.is_some()), (state, used == 0));
        world.save(write);
        let owed = world.sub.owed.as_ref().map(|_| world.owed().amount);
        assert_eq!((owed, world.sub.trial_refused), ((used > 0).then(|| eur(3000)), false));
    }
}

#[test]
fn a_payment_that_was_lowered_stands_and_no_other_is() {
    for (used, next, claimed) in [(0, 1500, vec![(NINE, 1)]), (1, 3000, vec![])] {
        let mut world = begun(0, granted(Gift::Percent(BasisPoints::percent(50)), 3));
        let write = world.sub.charge_paid_by(&world.owed(), None, Some(&card(false, used)), world.now).unwrap();
        assert_eq!(write.claim.as_ref().map(|claim| claim.promotions.clone()), Some(claimed));
        world.save(write);
        assert_eq!((world.sum(Account::Provider), world.sub.next_price().price), (1500, eur(next)));
        let back = (used > 0).then_some(Release { promotion: NINE, amount: 3000, unused: false });
        assert_eq!(world.release, Vec::from_iter(back), "what is left of it");
        // A later payment is of no concern: it began with the card that it began with.
        world.run_until(world.sub.period.to, |world| {
            let paid = world.sub.charge_paid_by(&world.owed(), None, Some(&card(true, 9)), world.now).unwrap();
            assert_eq!(paid.claim, None);
            world.save(paid);
        });
    }
}
