use super::*;
use crate::ledger::Account;
use crate::payments::{Payment, PaymentStatus, Purpose};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn eur(amount: i64) -> Money {
    Money::new(amount, Currency::from_code("EUR").unwrap())
}

fn held_order() -> Order {
    let seat = |index: u8| OrderSeat {
        section: "Stalls".into(),
        row: "1".into(),
        seat: (index + 1).to_string(),
        block: "1".into(),
        index,
        category: "A".into(),
        price: Price::new(1000, 0),
        ticket: None,
        used_by: None,
    };
    let new = NewOrder {
        id: OrderId(1),
        buyer: UserId(2),
        event: EventId(3),
        request: "r".into(),
        currency: eur(0).currency,
        seats: vec![seat(0), seat(1)],
        policy: RefundPolicy::default(),
        applied: None,
        channel: None,
    };
    Order::place(new, hold_expiry(at(0)), at(0))
}

fn payment(status: PaymentStatus) -> Payment {
    let captured = if status == PaymentStatus::Captured { 2000 } else { 0 };
    let (id, client_secret) = ("pi_1".into(), String::new());
    let purpose = Purpose::Order { buyer: UserId(2), order: OrderId(1) };
    Payment { id, status, amount: eur(2000), captured, purpose, method: None, decline: None, client_secret }
}

pub(super) fn paying() -> Order {
    held_order().paying("pi_1".into(), "req", at(1)).unwrap()
}

/// The same with a service fee of 50 a ticket.
pub(super) fn paying_with_fees() -> Order {
    let mut order = paying();
    order.seats.iter_mut().for_each(|seat| seat.price = Price::new(1000, 50));
    order
}

#[test]
fn the_next_step_follows_from_the_order_and_its_payment() {
    use PaymentStatus as P;
    let (early, late) = (at(10), at(HOLD_SECONDS));
    let expiring = paying().closing(Closing::Expired).unwrap();
    let settling = paying().settling();
    let paid = settling.paid(early).0;
    let lost = settling.lost();
    let given_up = lost.given_up();
    let begin = Step::BeginClosing(Closing::Expired);
    for (name, order, status, now, expected) in [
        ("a fresh hold waits", held_order(), None, early, Step::Nothing),
        ("a hold ends at its expiry", held_order(), None, late, begin),
        ("a started payment waits", paying(), Some(P::Waiting), early, Step::Nothing),
        ("a decline leaves the hold", paying(), Some(P::Declined), early, Step::Decline),
        ("an unpaid order expires", paying(), Some(P::Waiting), late, begin),
        ("money in time settles", paying(), Some(P::Authorised), early, Step::Settle),
        ("late money tries", paying(), Some(P::Authorised), late, Step::Settle),
        ("late money wins over closing", expiring.clone(), Some(P::Authorised), late, Step::Settle),
        ("a bank at work is waited for", paying(), Some(P::Processing), late, Step::Nothing),
        ("even while closing", expiring.clone(), Some(P::Processing), late, Step::Nothing),
        ("closing goes on", expiring.clone(), Some(P::Cancelled), late, Step::FinishClosing),
        ("settling goes on whatever the time", settling, Some(P::Authorised), late, Step::Settle),
        ("paid rests", paid, Some(P::Captured), late, Step::Nothing),
        ("lost lets go first", lost.clone(), Some(P::Authorised), late, Step::FinishLosing),
        ("lost and captured all the same", lost, Some(P::Captured), late, Step::RefundUnadopted),
        ("given up rests", given_up.clone(), Some(P::Cancelled), late, Step::Nothing),
        ("money for what is over is let go", given_up.clone(), Some(P::Authorised), late, Step::CancelPayment),
        ("or given back", given_up, Some(P::Captured), late, Step::RefundUnadopted),
    ] {
        assert_eq!(order.step(status.map(payment).as_ref(), now), expected, "{name}");
    }
}

#[test]
fn nothing_half_way_is_without_a_date() {
    let settling = paying().settling();
    let at_rest = [settling.paid(at(1)).0, settling.lost().given_up(), {
        paying().closing(Closing::CancelledByBuyer).unwrap().closed()
    }];
    let half_way =
        [held_order(), paying(), settling.clone(), settling.lost(), settling.lost().unadopted(2000, at(1)).0, {
            paying().closing(Closing::Expired).unwrap()
        }];
    for order in at_rest {
        assert_eq!(order.due_at, None, "{:?}", order.state);
    }
    for order in half_way {
        assert!(order.due_at.is_some(), "{:?}", order.state);
    }
}

#[test]
fn a_hold_that_is_nearly_over_is_stamped_afresh_once() {
    let now = at(HOLD_SECONDS - 10);
    let order = held_order().paying("pi_1".into(), "req", now).unwrap();
    assert_eq!((order.held_before, order.hold_until), (Some(at(HOLD_SECONDS)), hold_expiry(now)));
    assert_eq!(order.due_at, held_order().due_at, "the date in the index does not move");
    assert_eq!(order.held_words().len(), 2);
    let later = at(2 * HOLD_SECONDS - 20);
    let again = order.declined().paying("pi_1".into(), "req", later).unwrap();
    assert_eq!(again.hold_until, order.hold_until, "nobody holds seats for ever by starting payments");
    assert_eq!(again.paying("pi_1".into(), "req", again.hold_until).err(), Some(Refused::HoldEnded));
}

#[test]
fn the_journal_balances_through_capture_loss_and_failed_refunds() {
    let (lost, captured) = paying().settling().lost().unadopted(2000, at(1));
    let refund = lost.refunds[0].id;
    let (done, first) = lost.refund_done(refund, Some("re_1".into()), at(2));
    assert_eq!((done.state, done.due_at), (OrderState::Lost, None));
    let (failed, reversed) = done.refund_failed(refund, Some("re_1".into()), false, at(3));
    let retried = failed.retry_refund(refund, at(4)).unwrap();
    assert_eq!(retried.refunds[0].provider_key(), format!("{refund}-1"), "another refund at the provider");
    let (_, second) = retried.refund_done(refund, Some("re_2".into()), at(5));
    let entries = [captured, first, reversed.unwrap(), second];
    let keys: std::collections::BTreeSet<_> = entries.iter().map(crate::ledger::Entry::key).collect();
    assert_eq!(keys.len(), entries.len(), "each is booked beside the others");
    for account in [Account::Provider, Account::Unadopted] {
        let legs = entries.iter().flat_map(|entry| &entry.legs).filter(|leg| leg.account == account);
        assert_eq!(legs.map(|leg| leg.amount).sum::<i64>(), 0, "{account:?}");
    }
    assert!(entries.iter().all(|entry| entry.balances() == Ok(true)));
    assert_eq!(done.retry_refund(refund, at(4)).err(), Some(Refused::RefundNotFailed));
}

#[test]
fn fees_are_the_box_offices_own_until_they_go_back() {
    use crate::catalog::EventStatus;
    let mut order = paying_with_fees();
    order.policy = serde_json::from_str(r#"{"tiers": [{"notice": {"days": 1}, "share": 5000}]}"#).unwrap();
    assert_eq!((order.total(), order.price().fee), (eur(2100), 100));
    let (paid, sale) = order.settling().paid(at(1));
    let legs = [(Account::Provider, 2100), (Account::Organiser, -2000), (Account::ServiceFees, -100)];
    assert_eq!(sale.legs, legs.map(|(account, amount)| crate::ledger::Leg { account, amount }));
    let wish = RefundAsk {
        id: RefundId(5),
        request: "r".into(),
        tickets: Some(vec![0]),
        ground: crate::refunds::Ground::Wish,
        decided_by: None,
    };
    let refunding = paid.request_refund(&event(EventStatus::Published), &wish, at(2)).unwrap();
    let (partly, first) = refunding.refund_done(wish.id, Some("re_1".into()), at(2));
    assert_eq!((partly.refunds[0].amount, partly.refunds[0].fee), (500, 0), "the sale was made all the same");
    let all = RefundAsk::of_cancelled(order.id, order.event);
    let refunding = partly.request_refund(&event(EventStatus::Cancelled), &all, at(3)).unwrap();
    let (refunded, second) = refunding.refund_done(all.id, Some("re_2".into()), at(3));
    assert_eq!((refunded.refunds[1].amount, refunded.refunds[1].fee), (1050, 50));
    let (_, reversed) = refunded.refund_failed(all.id, None, false, at(4));
    let reversed = reversed.unwrap();
    for (account, kept) in [(Account::Provider, 550), (Account::Organiser, -500), (Account::ServiceFees, -50)] {
        assert_eq!([&sale, &first, &second].map(|entry| entry.of(account)).iter().sum::<i64>(), kept, "{account:?}");
        assert_eq!(second.of(account) + reversed.of(account), 0, "{account:?}");
    }
    assert!([&sale, &first, &second, &reversed].iter().all(|entry| entry.balances() == Ok(true)));
    // What no order took on is nobody's fee.
    let (lost, captured) = order.settling().lost().unadopted(2100, at(1));
    let (_, back) = lost.refund_done(lost.refunds[0].id, None, at(2));
    assert_eq!([captured.of(Account::Unadopted), back.of(Account::Unadopted)], [-2100, 2100]);
    assert_eq!([captured.of(Account::ServiceFees), back.of(Account::ServiceFees)], [0, 0]);
}

#[test]
fn a_seat_is_kept_as_it_was_before_there_were_fees() {
    let seat = serde_json::to_value(&paying().seats[0]).unwrap();
    assert_eq!((&seat["price"], seat.get("fee")), (&serde_json::json!(1000), None));
    let with_fee = serde_json::to_value(&paying_with_fees().seats[0]).unwrap();
    assert_eq!((&with_fee["price"], &with_fee["fee"]), (&serde_json::json!(1000), &serde_json::json!(50)));
    for json in [seat, with_fee] {
        let read: OrderSeat = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), json);
    }
}

#[test]
fn a_check_in_is_known_again_and_no_other_is() {
    let paid = paying().settling().paid(at(1)).0;
    let used = paid.check_in(0, "gate 1").unwrap().unwrap();
    assert_eq!(used.check_in(0, "gate 1"), Ok(None));
    assert_eq!(used.check_in(0, "gate 2"), Err(Refused::TicketUsed));
    assert!(used.check_in(1, "gate 2").unwrap().is_some());
    assert_eq!(paid.check_in(2, "gate 1"), Err(Refused::NoSuchTicket));
}

#[test]
fn totals_are_nothing_or_what_the_provider_takes() {
    let check = |prices: &[i64]| check_total(eur(0).currency, prices.iter().map(|price| Price::new(*price, 0)));
    assert_eq!(check(&[0, 0]), Ok(eur(0)));
    assert_eq!(check(&[49]), Err(Refused::TooSmall(eur(50))));
    assert_eq!(check(&[25, 25]), Ok(eur(50)));
    assert_eq!(check(&[CHARGE_MINOR_UNITS_MAX, 1]), Err(Refused::TooLarge(eur(CHARGE_MINOR_UNITS_MAX))));
    assert_eq!(check(&[i64::MAX, 1]), Err(Refused::Money(MoneyError::Overflow)));
    // Fees are paid like prices.
    let with_fees = |prices: &[i64], fee| check_total(eur(0).currency, prices.iter().map(|p| Price::new(*p, fee)));
    assert_eq!(with_fees(&[0, 0], 100), Ok(eur(0)), "nothing is paid for these");
    assert_eq!(with_fees(&[30, 0], 19), Err(Refused::TooSmall(eur(50))));
    assert_eq!(with_fees(&[30, 0], 20), Ok(eur(50)));
    assert_eq!(with_fees(&[CHARGE_MINOR_UNITS_MAX], 1), Err(Refused::TooLarge(eur(CHARGE_MINOR_UNITS_MAX))));
    assert_eq!(with_fees(&[i64::MAX], 1), Err(Refused::Money(MoneyError::Overflow)));
}

/// The event of these orders: far off, and the organiser gives nothing back by itself.
pub(crate) fn event(status: crate::catalog::EventStatus) -> crate::catalog::Event {
    use crate::catalog::{Event, Performer, Venue};
    use crate::ids::{LayoutId, PerformerId, VenueId};
    let text = |text: &str| text.to_owned();
    Event {
        id: EventId(3),
        name: text("Play"),
        performer: Performer { id: PerformerId(1), name: text("Players") },
        venue: Venue {
            id: VenueId(1),
            name: text("House"),
            city: text("X"),
            address: text("1"),
            time_zone: text("UTC"),
        },
        layout: crate::layout::LayoutRef { id: LayoutId(1), version: 1 },
        starts_at: at(90 * 86_400),
        on_sale_from: at(-1),
        on_sale_until: at(80 * 86_400),
        currency: eur(0).currency,
        prices: [(text("A"), 1000)].into(),
        service_fee: 0,
        refund_policy: RefundPolicy::default(),
        status,
        hidden: false,
        changes: Vec::new(),
        v: 1,
        request: text("r"),
        effects: Vec::new(),
    }
}
