use super::*;
use crate::ids::PlanId;
use crate::refunds::{Notice, Tier};
use proptest::prelude::*;
use serde_json::json;

fn currency() -> Currency {
    Currency::from_code("EUR").unwrap()
}

fn eur(amount: i64) -> Money {
    Money::new(amount, currency())
}

fn holder() -> Holder {
    Holder { subscription: SubscriptionId(1), plan: PlanRef { id: PlanId(2), version: 3 }, month: 4 }
}

fn with(perks: &[Perk]) -> Perks<'_> {
    Perks { holder: Some(holder()), perks }
}

fn discount(percent: u16, categories: &[&str]) -> Perk {
    Perk::Discount {
        off: BasisPoints::percent(percent),
        categories: categories.iter().map(|c| c.to_string()).collect(),
    }
}

fn fixed(category: &str, amount: i64) -> Perk {
    Perk::FixedPrice { category: category.into(), price: eur(amount) }
}

fn fee_off(off: u16) -> Perk {
    Perk::ServiceFee { off: off.try_into().unwrap() }
}

fn tickets(a_month: u8, categories: &[&str]) -> Perk {
    Perk::Tickets { a_month, categories: categories.iter().map(|c| c.to_string()).collect() }
}

#[test]
fn seats_get_the_perk_that_lowers_them_most() {
    use Why::{Discount, FixedPrice, Included};
    let seats = [("A", 5000), ("B", 3000), ("A", 5000)];
    for (name, perks, used, prices, why) in [
        ("nothing", vec![], 0, [5000, 3000, 5000], vec![]),
        (
            "a share of all",
            vec![discount(10, &[])],
            0,
            [4500, 2700, 4500],
            vec![(0, Discount), (1, Discount), (2, Discount)],
        ),
        ("a share of one", vec![discount(10, &["B"])], 0, [5000, 2700, 5000], vec![(1, Discount)]),
        ("a fixed price", vec![fixed("B", 1000)], 0, [5000, 1000, 5000], vec![(1, FixedPrice)]),
        ("never dearer", vec![fixed("B", 9000)], 0, [5000, 3000, 5000], vec![]),
        (
            "the better of two",
            vec![discount(50, &[]), fixed("A", 2600)],
            0,
            [2500, 1500, 2500],
            vec![(0, Discount), (1, Discount), (2, Discount)],
        ),
        ("included goes to the dearest", vec![tickets(1, &[])], 0, [0, 3000, 5000], vec![(0, Included)]),
        ("included of a category", vec![tickets(2, &["B"])], 0, [5000, 0, 5000], vec![(1, Included)]),
        ("one of two is used", vec![tickets(2, &[])], 1, [0, 3000, 5000], vec![(0, Included)]),
        ("all are used", vec![tickets(2, &[])], 2, [5000, 3000, 5000], vec![]),
        ("used more than there are", vec![tickets(2, &[])], 9, [5000, 3000, 5000], vec![]),
        (
            "dearest as they would cost",
            vec![tickets(1, &[]), fixed("A", 100)],
            0,
            [100, 0, 100],
            vec![(0, FixedPrice), (1, Included), (2, FixedPrice)],
        ),
    ] {
        let priced = with(&perks).price(currency(), &seats, 0, used);
        assert_eq!(priced.seats, prices.map(|price| Price::new(price, 0)), "{name}");
        let applied = priced.applied.map_or(Vec::new(), |applied| applied.seats);
        assert_eq!(applied.iter().map(|one| (one.seat, one.by)).collect::<Vec<_>>(), why, "{name}");
        assert!(applied.iter().all(|one| one.was == seats[usize::from(one.seat)].1), "{name}");
    }
}

#[test]
fn what_was_applied_is_small_and_reads_back() {
    let perks = [tickets(1, &[]), discount(10, &[]), fee_off(5000)];
    let priced = with(&perks).price(currency(), &[("A", 5000), ("A", 4000)], 301, 0);
    assert_eq!(priced.seats, [Price::new(0, 0), Price::new(3600, 150)]);
    let applied = priced.applied.unwrap();
    assert_eq!((applied.fee_was, applied.month, applied.included()), (Some(301), Some(4), 1));
    let json = serde_json::to_string(&applied).unwrap();
    assert!(json.len() < 300, "{json}");
    assert_eq!(serde_json::from_str::<Applied>(&json).unwrap(), applied);
    let other = Currency::from_code("RUB").unwrap();
    let elsewhere = with(&[fixed("A", 1)]).price(other, &[("A", 50)], 0, 0);
    assert_eq!(elsewhere.seats, [Price::new(50, 0)], "a price is of its currency");
}

#[test]
fn fees_are_lowered_ticket_by_ticket() {
    let seats = [("A", 5000), ("gift", 0), ("A", 4000)];
    for (name, perks, fees, was) in [
        ("nothing", vec![], [301, 0, 301], None),
        ("half, rounded for the buyer", vec![fee_off(5000)], [150, 0, 150], Some(301)),
        ("the better of two", vec![fee_off(5000), fee_off(7500)], [75, 0, 75], Some(301)),
        ("none", vec![fee_off(10_000)], [0, 0, 0], Some(301)),
        ("of an included ticket there is none", vec![tickets(1, &[])], [0, 0, 301], Some(301)),
        ("nor of one whose price is nothing", vec![discount(100, &["A"])], [0, 0, 0], Some(301)),
        ("a discount is of the price", vec![discount(50, &[])], [301, 0, 301], None),
    ] {
        let priced = with(&perks).price(currency(), &seats, 301, 0);
        assert_eq!(priced.seats.iter().map(|price| price.fee).collect::<Vec<_>>(), fees, "{name}");
        assert_eq!(priced.applied.and_then(|applied| applied.fee_was), was, "{name}");
    }
    let free = with(&[fee_off(10_000)]).price(currency(), &[("gift", 0)], 301, 0);
    assert_eq!(free.applied, None, "there is nothing to lower");
    assert_eq!(with(&[fee_off(10_000)]).price(currency(), &seats, 0, 0).applied, None, "nor here");
    let nobody = Perks::NONE.price(currency(), &seats, 301, 0);
    assert_eq!(nobody.seats, [Price::new(5000, 301), Price::new(0, 0), Price::new(4000, 301)]);
    assert_eq!(nobody.applied, None);
}

#[test]
fn other_perks_answer_their_questions() {
    let perks = [
        Perk::Presale { hours: 48 },
        Perk::WaitingList { priority: 3 },
        Perk::SeatsAnOrder { max: 15 },
        Perk::HiddenEvents {},
        Perk::Refunds {
            policy: RefundPolicy {
                tiers: vec![Tier { notice: Notice::Hours(2), share: BasisPoints::WHOLE }],
                returns_service_fee: true,
                ..RefundPolicy::default()
            },
        },
    ];
    let has = with(&perks);
    let public: Timestamp = "2027-01-10T10:00:00Z".parse().unwrap();
    assert_eq!(has.on_sale_from(public).to_string(), "2027-01-08T10:00:00Z");
    assert_eq!((has.waiting_priority(), has.seats_max(), has.sees_hidden()), (3, 15, true));
    let tiers = vec![Tier { notice: Notice::Days(7), share: BasisPoints::percent(50) }];
    let own = RefundPolicy { tiers, ..RefundPolicy::default() };
    let better = has.refund_policy(&own);
    assert_eq!((better.tiers.len(), better.returns_service_fee), (2, true));
    let none = Perks::NONE;
    assert_eq!(none.on_sale_from(public), public);
    assert_eq!((none.waiting_priority(), none.seats_max(), none.sees_hidden()), (0, ORDER_SEATS_MAX, false));
    assert_eq!(none.refund_policy(&own), own);
}

#[test]
fn an_order_says_what_it_owes_to_a_subscription() {
    use crate::catalog::EventStatus;
    let tiers = vec![Tier { notice: Notice::Hours(2), share: BasisPoints::WHOLE }];
    let policy = RefundPolicy { tiers, ..RefundPolicy::default() };
    let perks = [
        Perk::Presale { hours: 24 },
        Perk::SeatsAnOrder { max: 12 },
        Perk::HiddenEvents {},
        Perk::Refunds { policy },
        tickets(1, &[]),
    ];
    let mut event = crate::orders::tests::event(EventStatus::Published);
    (event.hidden, event.refund_policy) = (true, RefundPolicy::default());
    let (has, seats) = (with(&perks), [("A", 1000); 11]);
    let early = event.on_sale_from - SignedDuration::from_hours(1);
    assert!(has.check_on_sale(&event, early).is_ok() && has.sees(&event) && !Perks::NONE.sees(&event));
    let applied = has.apply(&event, &seats, 0, early).applied.unwrap();
    let all = [Given::Presale, Given::MoreSeats, Given::RefundTerms, Given::HiddenEvent];
    assert_eq!((applied.given.as_slice(), applied.included_seats().collect::<Vec<_>>()), (&all[..], vec![0]));
    let json = serde_json::to_string(&applied).unwrap();
    assert_eq!(serde_json::from_str::<Applied>(&json).unwrap(), applied);
    // A perk that this order has no use of is not in it.
    event.hidden = false;
    let applied = has.apply(&event, &seats[..1], 1, event.on_sale_from).applied.unwrap();
    assert_eq!((applied.given, applied.seats, applied.month), (vec![Given::RefundTerms], vec![], None));
    assert_eq!(with(&perks[..3]).apply(&event, &seats[..1], 0, event.on_sale_from).applied, None);
    assert_eq!(Perks::NONE.apply(&event, &seats, 0, event.on_sale_from).applied, None);
    assert!(!has.sees(&crate::orders::tests::event(EventStatus::Draft)));
}

#[test]
fn every_perk_is_posted_by_its_kind_and_checked() {
    let price = json!({"amount": 100, "currency": "EUR"});
    for (json, wrong) in [
        (json!({"kind": "presale", "hours": 48}), ""),
        (json!({"kind": "presale", "hours": 721}), "/hours"),
        (json!({"kind": "service_fee", "off": 10000}), ""),
        (json!({"kind": "service_fee", "off": 0}), "/off"),
        (json!({"kind": "discount", "off": 1000}), ""),
        (json!({"kind": "discount", "off": 0, "categories": ["A"]}), "/off"),
        (json!({"kind": "discount", "off": 1, "categories": vec!["A"; 33]}), "/categories"),
        (json!({"kind": "fixed_price", "category": "A", "price": price}), ""),
        (json!({"kind": "fixed_price", "category": "A", "price": {"amount": -1, "currency": "EUR"}}), "/price/amount"),
        (json!({"kind": "fixed_price", "category": "A", "price": {"amount": 1, "currency": "USD"}}), "/price/currency"),
        (json!({"kind": "tickets", "a_month": 1}), ""),
        (json!({"kind": "tickets", "a_month": 51}), "/a_month"),
        (
            json!({"kind": "refunds", "policy": {"tiers": [{"notice": {"days": 366}, "share": 1}]}}),
            "/policy/tiers/0/notice",
        ),
        (json!({"kind": "waiting_list", "priority": 1}), ""),
        (json!({"kind": "waiting_list", "priority": 10}), "/priority"),
        (json!({"kind": "seats_an_order", "max": 11}), ""),
        (json!({"kind": "seats_an_order", "max": 10}), "/max"),
        (json!({"kind": "hidden_events"}), ""),
    ] {
        let perk: Perk = serde_json::from_value(json.clone()).unwrap();
        let found: Vec<_> = perk.check(currency()).into_iter().map(|error| error.pointer).collect();
        assert_eq!(found.first().map_or("", String::as_str), wrong, "{json}");
        assert!(found.len() <= 1, "{json}");
    }
    assert!(serde_json::from_value::<Perk>(json!({"kind": "hidden_events", "x": 1})).is_err());
}

fn any_perk() -> impl Strategy<Value = Perk> {
    let category = || prop_oneof![Just("A"), Just("B")];
    prop_oneof![
        (1_u16..=10_000, category())
            .prop_map(|(off, of)| Perk::Discount { off: off.try_into().unwrap(), categories: vec![of.into()] }),
        (1_u16..=10_000).prop_map(|off| Perk::Discount { off: off.try_into().unwrap(), categories: vec![] }),
        (0_i64..100_000, category()).prop_map(|(price, of)| fixed(of, price)),
        (1_u8..=5).prop_map(|a_month| tickets(a_month, &[])),
        (1_u16..=10_000).prop_map(fee_off),
    ]
}

proptest! {
    #[test]
    fn prices_are_never_negative_nor_above_the_list(
        perks in proptest::collection::vec(any_perk(), 0..6),
        list in proptest::collection::vec((prop_oneof![Just("A"), Just("B"), Just("C")], 0_i64..=100_000), 1..=10),
        fee in 0_i64..10_000,
        used in 0_u8..8,
    ) {
        let has = with(&perks);
        let priced = has.price(currency(), &list, fee, used);
        prop_assert_eq!(priced.seats.len(), list.len());
        let fees = priced.seats.iter().zip(&list).map(|(price, (_, was))| (price.fee, Price::new(*was, fee).fee));
        let is_lower = fees.clone().any(|(fee, was)| fee < was);
        prop_assert!(fees.clone().all(|(fee, was)| (0..=was).contains(&fee)));
        prop_assert!(priced.seats.iter().all(|price| price.ticket > 0 || price.fee == 0));
        let applied = priced.applied;
        prop_assert_eq!(applied.as_ref().and_then(|applied| applied.fee_was), is_lower.then_some(fee));
        for (at, (price, (_, was))) in priced.seats.iter().zip(&list).enumerate() {
            let price = &price.ticket;
            prop_assert!((0..=*was).contains(price));
            let told = applied.iter().flat_map(|applied| &applied.seats).find(|one| usize::from(one.seat) == at);
            prop_assert_eq!(told.map(|one| one.was), (price < was).then_some(*was));
        }
        let included = applied.as_ref().map_or(0, Applied::included);
        prop_assert!(included <= has.month_tickets().saturating_sub(used));
        prop_assert_eq!(applied.and_then(|applied| applied.month).is_some(), included > 0);
    }
}
