use super::*;
use crate::subscriptions::tests::{eur, terms};
use proptest::prelude::*;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap()
}

fn promotion(gift: Gift) -> Promotion {
    Promotion {
        id: PromotionId(1),
        v: 1,
        name: Names { ru: "Скидка".into(), en: "Offer".into() },
        code: Some("SPRING27".into()),
        gift,
        periods: 1,
        plans: Vec::new(),
        from: at(0),
        until: at(10),
        audience: Audience::Everyone,
        per_person_max: 1,
        redemptions_max: None,
        budget: None,
        stackable: false,
        stopped: false,
        request: String::new(),
    }
}

fn plan() -> PlanRef {
    PlanRef { id: PlanId(7), version: 1 }
}

fn person<'a>() -> Person<'a> {
    Person { used: 0, past: Past::Never, segments: &[] }
}

fn granted(gift: Gift, periods: u8) -> Granted {
    Granted {
        promotion: PromotionId(u128::from(gift.rank())),
        gift,
        left: periods,
        plans: vec![],
        reserved: 0,
        stackable: true,
        per_person_max: None,
    }
}

#[test]
fn a_refusal_says_which() {
    let half = promotion(Gift::Percent(BasisPoints::percent(50)));
    let rub = Money { currency: Currency::from_code("RUB").unwrap(), amount: 100 };
    let with = |change: fn(&mut Promotion)| {
        let mut changed = half.clone();
        change(&mut changed);
        changed
    };
    let none = Counted::default();
    let segments = ["students".to_owned()];
    let had = Person { past: Past::Had, ..person() };
    for (promotion, person, counted, day, expected) in [
        (half.clone(), person(), none, 1, None),
        (half.clone(), person(), none, -1, Some(NotGranted::NotYet(at(0)))),
        (half.clone(), person(), none, 10, Some(NotGranted::Expired(at(10)))),
        (with(|one| one.stopped = true), person(), none, 1, Some(NotGranted::Expired(at(10)))),
        (with(|one| one.plans = vec![PlanId(8)]), person(), none, 1, Some(NotGranted::OtherPlan)),
        (with(|one| one.plans = vec![PlanId(7)]), person(), none, 1, None),
        (promotion(Gift::Amount(rub)), person(), none, 1, Some(NotGranted::OtherCurrency(rub.currency))),
        (half.clone(), Person { used: 1, ..person() }, none, 1, Some(NotGranted::UsedAlready)),
        (with(|one| one.per_person_max = 2), Person { used: 1, ..person() }, none, 1, None),
        (with(|one| one.audience = Audience::New), had, none, 1, Some(NotGranted::NotForYou)),
        (with(|one| one.audience = Audience::Lapsed), had, none, 1, None),
        (with(|one| one.audience = Audience::Lapsed), person(), none, 1, Some(NotGranted::NotForYou)),
        (
            with(|one| one.audience = Audience::Segment("students".into())),
            person(),
            none,
            1,
            Some(NotGranted::NotForYou),
        ),
        (
            with(|one| one.audience = Audience::Segment("students".into())),
            Person { segments: &segments, ..person() },
            none,
            1,
            None,
        ),
        (
            with(|one| one.redemptions_max = Some(5)),
            person(),
            Counted { redemptions: 5, reserved: 0 },
            1,
            Some(NotGranted::Exhausted),
        ),
        (with(|one| one.redemptions_max = Some(5)), person(), Counted { redemptions: 4, reserved: 0 }, 1, None),
        (
            with(|one| one.budget = Some(eur(2000))),
            person(),
            Counted { redemptions: 0, reserved: 501 },
            1,
            Some(NotGranted::Exhausted),
        ),
        (with(|one| one.budget = Some(eur(2000))), person(), Counted { redemptions: 0, reserved: 500 }, 1, None),
    ] {
        let found = promotion.grant((plan(), &terms()), &person, counted, at(day));
        assert_eq!(found.err(), expected, "{promotion:?} {person:?}");
    }
}

#[test]
fn what_is_reserved_is_spent_or_given_back() {
    let mut offer = promotion(Gift::Percent(BasisPoints::percent(50)));
    (offer.periods, offer.budget, offer.redemptions_max) = (2, Some(eur(100_000)), Some(9));
    let (granted, reserve) = offer.grant((plan(), &terms()), &person(), Counted::default(), at(1)).unwrap();
    assert_eq!((reserve.amount, reserve.budget_max, reserve.redemptions_max), (3000, Some(100_000), Some(9)));
    let unused = released(std::slice::from_ref(&granted), true);
    assert_eq!(unused, [Release { promotion: offer.id, amount: 3000, unused: true }]);

    let first = discounted(plan().id, &terms(), std::slice::from_ref(&granted));
    assert_eq!((first.price, first.parts.as_slice()), (eur(1500), &[(offer.id, 1500)][..]));
    let (left, back) = spent(&[granted], &first.parts);
    assert_eq!((left[0].left, left[0].reserved, back.len()), (1, 1500, 0));
    assert_eq!(released(&left, false), [Release { promotion: offer.id, amount: 1500, unused: false }]);
    // The second payment is cheaper than was thought, so that some of the budget is left.
    let (left, back) = spent(&left, &[(offer.id, 1000)]);
    assert_eq!((left.len(), back), (0, vec![Release { promotion: offer.id, amount: 500, unused: false }]));
}

#[test]
fn gifts_stack_in_one_order_whatever_they_are_given_in() {
    let (half, ten, free) = (Gift::Percent(BasisPoints::percent(50)), Gift::Amount(eur(1000)), Gift::FreeMonths(2));
    for (gifts, price) in [
        (vec![half], 1500),
        (vec![ten], 2000),
        (vec![free], 0),
        (vec![half, ten], 500),
        (vec![ten, half], 500),
        (vec![half, free], 0),
        (vec![], 3000),
    ] {
        let all: Vec<_> = gifts.iter().map(|&gift| granted(gift, 1)).collect();
        assert_eq!(discounted(plan().id, &terms(), &all).price, eur(price), "{gifts:?}");
        assert_eq!(check_stack(&all), Ok(()));
    }
    let twice = [granted(half, 1), granted(half, 1)];
    assert_eq!(check_stack(&twice), Err(NotGranted::NotStackable), "the same twice");
    let alone = Granted { stackable: false, ..granted(ten, 1) };
    assert_eq!(check_stack(std::slice::from_ref(&alone)), Ok(()));
    assert_eq!(check_stack(&[alone, granted(half, 1)]), Err(NotGranted::NotStackable));
    let year = Terms { billing: Billing::Once { months: 12 }, ..terms() };
    assert_eq!(discounted(plan().id, &year, &[granted(free, 1)]).price, eur(2500), "two of twelve months");
    let other = Granted { plans: vec![PlanId(8)], ..granted(half, 1) };
    assert_eq!(discounted(plan().id, &terms(), &[other]).price, eur(3000), "of another plan");
    assert_eq!(discounted(plan().id, &terms(), &[granted(half, 0)]).price, eur(3000), "used up");
}

#[test]
fn bad_promotions_are_pointed_at() {
    let check = |pointer: &str, change: fn(&mut Promotion)| {
        let mut bad = promotion(Gift::Percent(BasisPoints::percent(10)));
        assert_eq!(bad.validate(), Ok(()));
        change(&mut bad);
        let found: Vec<_> = bad.validate().unwrap_err().into_iter().map(|error| error.pointer).collect();
        assert_eq!(found, [pointer]);
    };
    check("/name/ru", |one| one.name.ru = String::new());
    check("/code", |one| one.code = Some("abc".into()));
    check("/gift/percent", |one| one.gift = Gift::Percent(BasisPoints::NONE));
    check("/gift/amount/amount", |one| one.gift = Gift::Amount(eur(0)));
    check("/gift/free_months", |one| one.gift = Gift::FreeMonths(0));
    check("/periods", |one| one.periods = 0);
    check("/plans", |one| one.plans = vec![PlanId(1); 51]);
    check("/until", |one| one.until = one.from);
    check("/per_person_max", |one| one.per_person_max = 0);
    check("/redemptions_max", |one| one.redemptions_max = Some(0));
    check("/budget/amount", |one| one.budget = Some(eur(0)));
    check("/audience/segment", |one| one.audience = Audience::Segment(String::new()));
    check("/budget/currency", |one| {
        one.gift = Gift::Amount(eur(5));
        one.budget = Some(Money { currency: Currency::from_code("RUB").unwrap(), amount: 5 });
    });
    assert_eq!(canonical_code(" spring-27 "), "SPRING27");
}

fn any_gift() -> impl Strategy<Value = Gift> {
    prop_oneof![
        (1_u16..=10_000).prop_map(|share| Gift::Percent(share.try_into().unwrap())),
        (1_i64..=1_000_000_000).prop_map(|amount| Gift::Amount(eur(amount))),
        (1_u8..=36).prop_map(Gift::FreeMonths),
    ]
}

proptest! {
    #[test]
    fn discounts_are_never_negative_and_sum_to_the_price(
        gifts in proptest::collection::vec((any_gift(), 0_u8..4), 0..5),
        price in 0_i64..=1_000_000_000,
        months in 0_u8..=36,
    ) {
        let billing = if months == 0 { Billing::Monthly } else { Billing::Once { months } };
        let terms = Terms { price: eur(price), billing, ..terms() };
        let all: Vec<_> = gifts.iter().enumerate()
            .map(|(id, &(gift, left))| Granted { promotion: PromotionId(id as u128), ..granted(gift, left) }).collect();
        let found = discounted(plan().id, &terms, &all);
        prop_assert!((0..=price).contains(&found.price.amount));
        prop_assert!(found.parts.iter().all(|(_, off)| (0..=price).contains(off)));
        prop_assert_eq!(found.price.amount + found.parts.iter().map(|(_, off)| off).sum::<i64>(), price);
    }

    #[test]
    fn what_is_reserved_is_spent_and_given_back_to_the_last_unit(gift in any_gift(), periods in 1_u8..=6, payments in 0_u8..=8, price in 50_i64..=1_000_000) {
        let terms = Terms { price: eur(price), ..terms() };
        let offer = Promotion { periods, ..promotion(gift) };
        let (granted, reserve) = offer.grant((plan(), &terms), &person(), Counted::default(), at(1)).unwrap();
        let (mut all, mut off, mut back) = (vec![granted], 0, 0);
        for _ in 0..payments {
            let found = discounted(plan().id, &terms, &all);
            off += found.parts.iter().map(|(_, off)| off).sum::<i64>();
            let (left, released) = spent(&all, &found.parts);
            back += released.iter().map(|one| one.amount).sum::<i64>();
            all = left;
        }
        back += released(&all, payments == 0).iter().map(|one| one.amount).sum::<i64>();
        prop_assert_eq!(off + back, reserve.amount);
    }
}
