use super::*;
use crate::ids::{EventId, RefundId};
use crate::ledger::transfer;
use crate::money::Money;
use crate::payments::Purpose;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn eur(amount: i64) -> Money {
    Money::new(amount, Currency::from_code("EUR").unwrap())
}

fn movement(kind: MovementKind, amount: i64, at: Timestamp) -> Movement {
    let purpose = Some(Purpose::Order { buyer: UserId(2), order: OrderId(1) });
    let payment = Some("pi_1".into());
    Movement { id: "txn_1".into(), at, kind, source: "ch_1".into(), money: eur(amount), fee: 30, payment, purpose }
}

fn entry(cause: Cause, amount: i64, at: Timestamp) -> Entry {
    let legs = match amount {
        0.. => transfer(Account::Organiser, Account::Provider, amount),
        _ => transfer(Account::Provider, Account::Organiser, -amount),
    };
    let (order, buyer, event, currency) = (OrderId(1), UserId(2), EventId(3), eur(0).currency);
    Entry { order, buyer, event, cause, currency, legs, at }
}

fn lines(entries: &[Entry]) -> Vec<Line<'_>> {
    entries.iter().map(Line::Order).collect()
}

#[test]
fn a_day_is_over_when_its_margin_is() {
    for (now, date) in [
        ("2027-03-02T03:15:00Z", "2027-03-01"),
        ("2027-03-02T00:15:00Z", "2027-03-01"),
        ("2027-03-02T00:14:59Z", "2027-02-28"),
    ] {
        assert_eq!(Day::last_complete(at(now)).date, date.parse().unwrap(), "{now}");
    }
    let day = Day::of("2027-03-01".parse().unwrap());
    assert_eq!((day.from, day.to), (at("2027-03-01T00:00:00Z"), at("2027-03-02T00:00:00Z")));
}

/// The first of March, with one capture at this time booked at that: matched, movements left, entries left.
fn check(moved: &str, booked: &str, amounts: (i64, i64), expected: (usize, usize, usize)) {
    let day = Day::of("2027-03-01".parse().unwrap());
    let movements = [movement(MovementKind::Capture, amounts.0, at(moved))];
    let entries = [entry(Cause::Sale, amounts.1, at(booked))];
    let compared = compare(&day, &movements, &lines(&entries));
    let left = (compared.matched, compared.movements.len(), compared.entries.len());
    assert_eq!(left, expected, "{moved} {booked} {amounts:?}");
}

#[test]
fn the_other_half_may_be_on_the_next_day() {
    let noon = "2027-03-01T12:00:00Z";
    check(noon, noon, (1000, 1000), (2, 0, 0));
    check(noon, noon, (1000, 999), (0, 1, 1));
    check("2027-03-01T23:59:59Z", "2027-03-02T00:00:02Z", (1000, 1000), (1, 0, 0));
    check("2027-02-28T23:50:00Z", "2027-03-01T00:04:59Z", (1000, 1000), (1, 0, 0));
    check("2027-03-02T00:10:00Z", "2027-03-01T23:59:59Z", (1000, 1000), (1, 0, 0));
    // Further off than clocks and messages are: looked at one by one, each on its own day.
    check("2027-03-01T12:00:00Z", "2027-03-03T12:00:00Z", (1000, 1000), (0, 1, 0));
    check("2027-02-27T12:00:00Z", "2027-03-01T12:00:00Z", (1000, 1000), (0, 0, 1));
    check("2027-02-27T12:00:00Z", "2027-02-27T12:00:00Z", (1000, 999), (0, 0, 0));
}

#[test]
fn two_of_one_thing_are_never_matched_in_passing() {
    let (day, noon) = (Day::of("2027-03-01".parse().unwrap()), at("2027-03-01T12:00:00Z"));
    let twice = [movement(MovementKind::Capture, 1000, noon), movement(MovementKind::Capture, 1000, noon)];
    let entries = [entry(Cause::Sale, 1000, noon)];
    let compared = compare(&day, &twice, &lines(&entries));
    assert_eq!((compared.matched, compared.movements.len(), compared.entries.len()), (0, 2, 1));
    assert_eq!(compared.sums["EUR"], Sums { provider: 2000, journal: 1000, fees: 60 });
    // Two refunds of one amount are told apart by what we called them.
    let key = |n: u128| MovementKind::Refund(Some(RefundId(n).to_string()));
    let refunds = [movement(key(7), -500, noon), movement(key(8), -500, noon)];
    let cause = |n: u128| Cause::Refund { refund: RefundId(n), retries: 0 };
    let entries = [entry(cause(8), -500, noon), entry(cause(9), -500, noon)];
    let compared = compare(&day, &refunds, &lines(&entries));
    assert_eq!(
        (compared.matched, compared.movements, compared.entries),
        (2, vec![&refunds[0]], vec![Line::Order(&entries[1])])
    );
}

#[test]
fn what_moves_nothing_at_the_provider_is_not_compared() {
    let (day, noon) = (Day::of("2027-03-01".parse().unwrap()), at("2027-03-01T12:00:00Z"));
    let mut lost = entry(Cause::DisputeLost { dispute: "du_1".into() }, 0, noon);
    lost.legs = transfer(Account::Disputes, Account::Organiser, 1000);
    let entries = [entry(Cause::Sale, 0, noon), lost];
    let movements = [movement(MovementKind::Other, -90_000, noon)];
    let compared = compare(&day, &movements, &lines(&entries));
    assert_eq!((compared.movements.len(), compared.entries.len(), compared.others), (0, 0, 1));
    assert!(compared.sums.is_empty());
}

#[test]
fn a_dispute_is_open_until_its_end_is_booked() {
    let noon = at("2027-03-01T12:00:00Z");
    let dispute = |id: &str| id.to_owned();
    let withdrawn = |id: &str| entry(Cause::DisputeWithdrawn { dispute: dispute(id) }, -1015, noon);
    let entries = [
        withdrawn("du_1"),
        withdrawn("du_2"),
        withdrawn("du_3"),
        entry(Cause::DisputeLost { dispute: dispute("du_1") }, 0, noon),
        entry(Cause::DisputeReinstated { dispute: dispute("du_3") }, 1000, noon),
    ];
    assert_eq!(open_disputes(&entries), [&entries[1]]);
    let (id, swing) = (dispute("du_2"), Some(Swing { amount: 1000, fee: 15 }));
    let lost = ProviderDispute { id, state: DisputeState::Lost, amount: 1000, withdrawn: swing, reinstated: None };
    assert!(is_untold_loss(&lost, &entries));
    assert!(!is_untold_loss(&ProviderDispute { id: dispute("du_1"), ..lost.clone() }, &entries));
    for other in [
        ProviderDispute { state: DisputeState::Open, ..lost.clone() },
        ProviderDispute { withdrawn: None, ..lost.clone() },
        ProviderDispute { reinstated: swing, ..lost },
    ] {
        assert!(!is_untold_loss(&other, &entries), "{other:?}");
    }
    for entry in &entries {
        let kind = serde_json::to_value(&entry.cause).unwrap()["kind"].as_str().unwrap().to_owned();
        assert!(entry.is_of_dispute() && kind.starts_with("dispute_"), "the journal finds it by this: {kind}");
    }
}

#[test]
fn the_fee_of_a_dispute_counts_and_that_of_a_payment_does_not() {
    let noon = at("2027-03-01T12:00:00Z");
    assert_eq!(counted(&movement(MovementKind::Capture, 1000, noon)), 1000);
    assert_eq!(counted(&movement(MovementKind::DisputeWithdrawn, -1000, noon)), -1030);
}

#[test]
fn two_sides_differ_in_one_of_three_ways() {
    use Difference::{AmountDiffers, MissingHere, MissingThere};
    let (refund, back) = ((Flow::Refund, -500), (Flow::RefundReversed, 500));
    let withdrawn = (Flow::DisputeWithdrawn, -1015);
    let reinstated = (Flow::DisputeReinstated, 1000);
    for (there, here, expected) in [
        (vec![refund], vec![refund], None),
        (vec![refund], vec![], Some((MissingHere, Flow::Refund))),
        (vec![], vec![refund], Some((MissingThere, Flow::Refund))),
        (vec![refund], vec![(Flow::Refund, -400)], Some((AmountDiffers, Flow::Refund))),
        // It failed before it was ever booked: nothing moved, and nothing is booked.
        (vec![refund, back], vec![], None),
        (vec![refund, back], vec![refund], Some((MissingHere, Flow::RefundReversed))),
        (vec![refund], vec![refund, back], Some((MissingThere, Flow::RefundReversed))),
        (vec![withdrawn, reinstated], vec![withdrawn], Some((MissingHere, Flow::DisputeReinstated))),
    ] {
        assert_eq!(differ(&there, &here), expected, "{there:?} {here:?}");
    }
}

#[test]
fn a_subscriptions_charge_and_its_refund_are_matched_by_their_names() {
    let (day, noon) = (Day::of("2027-03-01".parse().unwrap()), at("2027-03-01T12:00:00Z"));
    let charge = ChargeRef { subscription: crate::ids::SubscriptionId(7), period: 3, change: 0 };
    let purpose = |period: &str| {
        let (user, subscription) = (UserId(2), charge.subscription.to_string());
        Some(Purpose::Subscription { user, subscription, period: period.into() })
    };
    let booked = |cause, from, to, amount| {
        let (user, currency) = (UserId(2), eur(0).currency);
        ChargeEntry { charge, user, cause, currency, legs: transfer(from, to, amount), at: noon }
    };
    let (refund, retries) = (RefundId(9), 1);
    let key = ChargeRef::refund_key(refund, retries);
    let movements = [
        Movement { purpose: purpose("3#pi_0"), ..movement(MovementKind::Capture, 900, noon) },
        Movement { purpose: purpose("3"), ..movement(MovementKind::Refund(Some(key)), -300, noon) },
        Movement { purpose: purpose("4"), ..movement(MovementKind::Capture, 900, noon) },
    ];
    let entries = [
        booked(ChargeCause::SubscriptionCharge, Account::Deferred, Account::Provider, 900),
        booked(ChargeCause::ChargeRefund { refund, retries }, Account::Provider, Account::Deferred, 300),
        booked(ChargeCause::Recognised { until: noon }, Account::Revenue, Account::Deferred, 100),
    ];
    let lines: Vec<_> = entries.iter().map(Line::Charge).collect();
    let compared = compare(&day, &movements, &lines);
    assert_eq!((compared.matched, compared.movements, compared.entries), (4, vec![&movements[2]], vec![]));
    assert_eq!(compared.sums["EUR"], Sums { provider: 1500, journal: 600, fees: 90 });
}

#[test]
fn whose_a_refund_is_reads_back() {
    let charge = ChargeRef { subscription: crate::ids::SubscriptionId(7), period: 3, change: 1 };
    for owner in [Owner::Order { buyer: UserId(2), order: OrderId(1) }, Owner::Charge { user: UserId(2), charge }] {
        let awaited = Awaited { key: "k".into(), is_dispute: false, owner };
        let json = serde_json::to_value(&awaited).unwrap();
        assert_eq!(serde_json::from_value::<Awaited>(json).unwrap(), awaited);
    }
}
