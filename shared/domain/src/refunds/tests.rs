use super::*;
use proptest::prelude::*;

const MOSCOW: &str = "Europe/Moscow";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn euro() -> Currency {
    Currency::from_code("EUR").unwrap()
}

/// Tickets of these prices that have no fee.
fn prices(amounts: &[i64]) -> Vec<Price> {
    amounts.iter().map(|&amount| Price::new(amount, 0)).collect()
}

/// Somebody who bought on New Year's Day and asks for these tickets on this ground.
fn ask(prices: &[Price], ground: Ground, decided_by_staff: bool) -> Ask<'_> {
    Ask { prices, currency: euro(), bought_at: at("2026-01-01T00:00:00Z"), ground, decided_by_staff }
}

fn policy(text: &str) -> RefundPolicy {
    let policy: RefundPolicy = serde_json::from_str(text).unwrap();
    policy.validate().unwrap();
    policy
}

const STATUTE: &str = r#"{"statute": "ru_performing_arts"}"#;
const OWN: &str = r#"{"tiers": [{"notice": {"hours": 48}, "share": 9000}, {"notice": {"hours": 0}, "share": 2550}]}"#;
const BOTH: &str = r#"{"tiers": [{"notice": {"days": 7}, "share": 8000}, {"notice": {"days": 5}, "share": 5000}], "statute": "ru_performing_arts"}"#;
const NONE: &str = "{}";

/// The refund of one ticket of 100.01 by `policy`, as the rule and the amount, or the refusal.
fn check(
    policy_text: &str,
    event: &EventFacts<'_>,
    ground: Ground,
    staff: bool,
    now: &str,
) -> Result<(String, i64), Refused> {
    decide(&policy(policy_text), event, &ask(&prices(&[10_001]), ground, staff), at(now))
        .map(|decision| (decision.rule, decision.total.amount))
}

fn event<'a>(starts_at: &str, time_zone: &'a str) -> EventFacts<'a> {
    EventFacts { starts_at: at(starts_at), time_zone, cancelled: false, changes: &[] }
}

fn due(rule: &str, amount: i64) -> Result<(String, i64), Refused> {
    Ok((rule.to_owned(), amount))
}

#[test]
fn days_are_counted_by_the_calendar_of_the_venue() {
    // In Moscow (UTC+3, no daylight time) the event is on 20 June at 19:00.
    let moscow = event("2026-06-20T16:00:00Z", MOSCOW);
    for (now, expected) in [
        ("2026-06-09T21:00:00Z", due("ru_52_1_10_days", 10_001)),
        ("2026-06-10T20:59:59Z", due("ru_52_1_10_days", 10_001)),
        ("2026-06-10T21:00:00Z", due("ru_52_1_5_days", 5_001)),
        ("2026-06-15T20:59:59Z", due("ru_52_1_5_days", 5_001)),
        ("2026-06-15T21:00:00Z", due("ru_52_1_3_days", 3_001)),
        ("2026-06-17T20:59:59Z", due("ru_52_1_3_days", 3_001)),
        ("2026-06-17T21:00:00Z", Err(Refused::NothingDue(2))),
        ("2026-06-20T15:59:59Z", Err(Refused::NothingDue(0))),
        ("2026-06-20T16:00:00Z", Err(Refused::Started)),
        ("2026-06-20T21:00:00Z", Err(Refused::Started)),
    ] {
        assert_eq!(check(STATUTE, &moscow, Ground::Wish, false, now), expected, "{now}");
    }
    for (starts_at, zone, now, days) in [
        // Minutes after midnight belong to the new day, minutes before it to the old one.
        ("2026-06-19T21:05:00Z", MOSCOW, "2026-06-19T20:55:00Z", 1),
        ("2026-06-20T20:59:59Z", MOSCOW, "2026-06-19T21:00:00Z", 0),
        // Clocks go forward on 29 March and back on 25 October: days of 23 and of 25 hours are days.
        ("2026-03-29T22:30:00Z", "Europe/Berlin", "2026-03-28T22:30:00Z", 2),
        ("2026-03-29T20:00:00Z", "Europe/Berlin", "2026-03-28T22:59:59Z", 1),
        ("2026-10-25T22:59:00Z", "Europe/Berlin", "2026-10-24T22:00:00Z", 0),
        ("2026-10-25T22:59:00Z", "Europe/Berlin", "2026-10-24T21:59:59Z", 1),
        // The same instants on other meridians are other days.
        ("2026-06-20T11:00:00Z", "Pacific/Kiritimati", "2026-06-20T09:59:59Z", 1),
        ("2026-06-20T11:00:00Z", "Pacific/Pago_Pago", "2026-06-20T09:59:59Z", 1),
        ("2026-06-20T11:00:00Z", "Asia/Kamchatka", "2026-06-20T09:59:59Z", 0),
        ("2028-03-01T12:00:00Z", MOSCOW, "2028-02-28T12:00:00Z", 2),
    ] {
        assert_eq!(Clock::new(&event(starts_at, zone), at(now)).unwrap().days, days, "{starts_at} {zone} {now}");
    }
}

#[test]
fn the_buyer_gets_the_better_of_law_and_organiser() {
    let event = event("2026-06-20T16:00:00Z", MOSCOW);
    for (text, now, expected) in [
        (BOTH, "2026-06-10T12:00:00Z", due("ru_52_1_10_days", 10_001)),
        (BOTH, "2026-06-13T12:00:00Z", due("organiser_7_days", 8_001)),
        (BOTH, "2026-06-14T12:00:00Z", due("ru_52_1_5_days", 5_001)),
        (BOTH, "2026-06-17T12:00:00Z", due("ru_52_1_3_days", 3_001)),
        (BOTH, "2026-06-18T12:00:00Z", Err(Refused::NothingDue(2))),
        (OWN, "2026-06-18T16:00:00Z", due("organiser_48_hours", 9_001)),
        (OWN, "2026-06-18T16:00:00.001Z", due("organiser_0_hours", 2_551)),
        (OWN, "2026-06-20T15:59:59.999Z", due("organiser_0_hours", 2_551)),
        (OWN, "2026-06-20T16:00:00Z", Err(Refused::Started)),
        (NONE, "2026-01-01T16:00:00Z", Err(Refused::NothingDue(170))),
    ] {
        assert_eq!(check(text, &event, Ground::Wish, false, now), expected, "{text} {now}");
    }
}

#[test]
fn hardship_is_decided_by_staff_until_the_day_is_over() {
    let event = event("2026-06-20T16:00:00Z", MOSCOW);
    let (illness, bereavement) = (Ground::Illness, Ground::Bereavement);
    for (text, ground, staff, now, expected) in [
        (STATUTE, illness, true, "2026-06-19T12:00:00Z", due("ru_52_1_illness", 10_001)),
        (BOTH, bereavement, true, "2026-06-20T20:59:59Z", due("ru_52_1_bereavement", 10_001)),
        (STATUTE, illness, true, "2026-06-20T21:00:00Z", Err(Refused::Started)),
        (STATUTE, illness, false, "2026-06-01T12:00:00Z", Err(Refused::StaffOnly(illness))),
        (OWN, illness, true, "2026-06-01T12:00:00Z", Err(Refused::GroundAbsent(illness))),
        (NONE, bereavement, true, "2026-06-01T12:00:00Z", Err(Refused::GroundAbsent(bereavement))),
    ] {
        assert_eq!(check(text, &event, ground, staff, now), expected, "{text} {ground:?} {now}");
    }
}

#[test]
fn a_cancelled_or_changed_event_gives_everything_back() {
    let moved = [Change { kind: ChangeKind::Moved, at: at("2026-02-01T00:00:00Z") }];
    let replaced = [moved[0], Change { kind: ChangeKind::Replaced, at: at("2026-03-01T00:00:00Z") }];
    let before = [Change { kind: ChangeKind::Moved, at: at("2025-12-31T23:59:59Z") }];
    let plain = event("2026-06-20T16:00:00Z", MOSCOW);
    let cancelled = EventFacts { cancelled: true, ..plain };
    let with = |changes| EventFacts { changes, ..plain };
    let (soon, after) = ("2026-06-20T15:00:00Z", "2026-06-25T00:00:00Z");
    for (text, facts, ground, now, expected) in [
        (NONE, cancelled, Ground::Wish, after, due("event_cancelled", 10_001)),
        (STATUTE, cancelled, Ground::EventCancelled, soon, due("ru_52_1_event_cancelled", 10_001)),
        (NONE, plain, Ground::EventCancelled, soon, Err(Refused::GroundAbsent(Ground::EventCancelled))),
        (NONE, with(&moved[..]), Ground::Wish, soon, due("event_moved", 10_001)),
        (STATUTE, with(&moved[..]), Ground::Illness, soon, due("ru_52_1_event_moved", 10_001)),
        (OWN, with(&replaced[..]), Ground::EventMoved, soon, due("event_replaced", 10_001)),
        (OWN, with(&before[..]), Ground::EventMoved, soon, Err(Refused::GroundAbsent(Ground::EventMoved))),
        (OWN, with(&before[..]), Ground::Wish, soon, due("organiser_0_hours", 2_551)),
        (NONE, with(&moved[..]), Ground::Wish, after, Err(Refused::Started)),
        (NONE, with(&moved[..]), Ground::EventMoved, after, Err(Refused::Started)),
    ] {
        assert_eq!(check(text, &facts, ground, false, now), expected, "{text} {facts:?} {ground:?} {now}");
    }
    let sold = prices(&[1, 0]);
    let decision = decide(&policy(STATUTE), &with(&moved), &ask(&sold, Ground::Wish, false), at(soon)).unwrap();
    assert_eq!(
        (decision.ground, decision.amounts, decision.reason.as_str()),
        (Ground::EventMoved, sold, "the event was moved")
    );
    assert!(decision.source.contains("art. 52.1"));
}

#[test]
fn what_cannot_be_is_refused() {
    let nowhere = event("2026-06-20T16:00:00Z", "Europe/Nowhere");
    let zone = Err(Refused::UnknownZone("Europe/Nowhere".into()));
    assert_eq!(check(STATUTE, &nowhere, Ground::Wish, false, "2026-01-01T16:00:00Z"), zone);
    let facts = event("2026-06-20T16:00:00Z", MOSCOW);
    let decide_for = |prices: &[Price]| {
        decide(&policy(STATUTE), &facts, &ask(prices, Ground::Wish, false), at("2026-01-01T00:00:00Z"))
    };
    assert_eq!(decide_for(&[]), Err(Refused::NoTickets));
    assert_eq!(decide_for(&prices(&[i64::MAX, 1])), Err(Refused::Money(MoneyError::Overflow)));
}

#[test]
fn a_service_fee_goes_back_with_a_changed_event_or_where_the_policy_says_so() {
    let plain = event("2026-06-20T16:00:00Z", MOSCOW);
    let moved = [Change { kind: ChangeKind::Moved, at: at("2026-02-01T00:00:00Z") }];
    let replaced = [Change { kind: ChangeKind::Replaced, ..moved[0] }];
    let (wish, illness, bereavement) = (Ground::Wish, Ground::Illness, Ground::Bereavement);
    let half = r#"{"tiers": [{"notice": {"days": 0}, "share": 5000}], "statute": "ru_performing_arts""#;
    let (kept, returned) = (format!("{half}}}"), format!(r#"{half}, "returns_service_fee": true}}"#));
    // Two tickets that were paid for, of 10.01 and 30.00, with a fee of 1.50 each, and one that was not.
    let sold = [Price::new(1001, 150), Price::new(3000, 150), Price::new(0, 150)];
    for (text, facts, ground, now, ticket, fee) in [
        (&kept, plain, wish, "2026-06-19T12:00:00Z", 501 + 1500, 0),
        (&kept, plain, wish, "2026-06-01T12:00:00Z", 4001, 0),
        (&kept, plain, illness, "2026-06-19T12:00:00Z", 4001, 0),
        (&kept, plain, bereavement, "2026-06-19T12:00:00Z", 4001, 0),
        (&returned, plain, wish, "2026-06-19T12:00:00Z", 501 + 1500, 300),
        (&returned, plain, illness, "2026-06-19T12:00:00Z", 4001, 300),
        (&kept, EventFacts { cancelled: true, ..plain }, wish, "2026-06-19T12:00:00Z", 4001, 300),
        (&kept, EventFacts { changes: &moved, ..plain }, illness, "2026-06-19T12:00:00Z", 4001, 300),
        (&kept, EventFacts { changes: &replaced, ..plain }, wish, "2026-06-19T12:00:00Z", 4001, 300),
    ] {
        let decision = decide(&policy(text), &facts, &ask(&sold, ground, true), at(now)).unwrap();
        assert_eq!((decision.total.amount, decision.fee), (ticket + fee, fee), "{text} {facts:?} {ground:?}");
        let each: Price = decision.amounts.iter().copied().sum();
        assert_eq!(each, Price { ticket, fee }, "the parts are the whole");
    }
    for (text, fee) in [(&kept, false), (&returned, true)] {
        let terms = policy(text).terms();
        let said: Vec<_> = terms.iter().map(|term| term.returns_service_fee).collect();
        assert_eq!(said, [fee, fee, fee, fee, fee, fee, true], "as buyers read it before they buy");
    }
}

#[test]
fn policies_are_checked() {
    let tier = |unit: &str, notice: u16, share: u16| format!(r#"{{"notice":{{"{unit}":{notice}}},"share":{share}}}"#);
    for (tiers, expected) in [
        (vec![], vec![]),
        (vec![tier("days", 365, 10_000), tier("days", 0, 10_000)], vec![]),
        (vec![tier("days", 366, 1)], vec!["/tiers/0/notice"]),
        (vec![tier("hours", 8761, 1)], vec!["/tiers/0/notice"]),
        (vec![tier("days", 3, 1), tier("days", 3, 1)], vec!["/tiers/1/notice"]),
        (vec![tier("days", 3, 1), tier("hours", 3, 1)], vec!["/tiers/1/notice"]),
        (vec![tier("days", 3, 1), tier("days", 2, 2)], vec!["/tiers/1/share"]),
        (vec![tier("days", 3, 1), tier("days", 4, 2)], vec!["/tiers/1/notice", "/tiers/1/share"]),
        ((0..11).map(|i| tier("days", 20 - i, 1)).collect(), vec!["/tiers"]),
    ] {
        let text = format!(r#"{{"tiers":[{}]}}"#, tiers.join(","));
        let result = serde_json::from_str::<RefundPolicy>(&text).unwrap().validate();
        let pointers: Vec<_> = result.as_ref().err().into_iter().flatten().map(|error| &*error.pointer).collect();
        assert_eq!(pointers, expected, "{text}");
    }
    for bad in [r#"{"tiers":[{"notice":{"days":1},"share":10001}]}"#, r#"{"statute":"de"}"#, r#"{"more":1}"#] {
        assert!(serde_json::from_str::<RefundPolicy>(bad).is_err(), "{bad}");
    }
    for text in [STATUTE, OWN, BOTH, NONE] {
        let policy = policy(text);
        assert_eq!(serde_json::from_str::<RefundPolicy>(&serde_json::to_string(&policy).unwrap()).unwrap(), policy);
        assert!(policy.terms().iter().all(|term| !term.text.is_empty() && !term.source.is_empty()));
    }
    assert_eq!(policy(BOTH).terms().len(), 3 + 2 + 2 + 1);
}

proptest! {
    #[test]
    fn refunds_stay_within_the_price_and_never_grow_with_time(
        sold in proptest::collection::vec((0..=1_000_000_000_i64, 0..=1_000_000_i64), 1..=10),
        shares in proptest::collection::vec(0..=10_000_u16, 0..=10),
        statute: bool,
        in_days: bool,
        returns_service_fee: bool,
        seconds in 0..40_000_000_i64,
        later in 0..10_000_000_i64,
    ) {
        let mut shares = shares;
        shares.sort_unstable_by(|a, b| b.cmp(a));
        let notice = |i: usize| 3 * (10 - i as u16);
        let notice = |i| if in_days { Notice::Days(notice(i)) } else { Notice::Hours(notice(i)) };
        let tiers = shares.iter().enumerate();
        let tiers = tiers.map(|(i, &share)| Tier { notice: notice(i), share: share.try_into().unwrap() }).collect();
        let statute = statute.then_some(Statute::RuPerformingArts);
        let policy = RefundPolicy { tiers, statute, returns_service_fee };
        prop_assert_eq!(policy.validate(), Ok(()));
        let facts = event("2026-06-20T16:00:00Z", MOSCOW);
        let prices: Vec<_> = sold.into_iter().map(|(ticket, fee)| Price::new(ticket, fee)).collect();
        let ask = ask(&prices, Ground::Wish, false);
        let total_at = |seconds: i64| {
            let now = facts.starts_at - jiff::SignedDuration::from_secs(seconds);
            let Ok(decision) = decide(&policy, &facts, &ask, now) else { return 0 };
            assert!(decision.share > BasisPoints::NONE && decision.amounts.len() == prices.len());
            for (amount, price) in decision.amounts.iter().zip(&prices) {
                let share = i128::from(u16::from(decision.share));
                let exact = i128::from(price.ticket) * share;
                let given = i128::from(amount.ticket) * 10_000;
                assert!(amount.ticket <= price.ticket && given >= exact && given < exact + 10_000);
                assert_eq!(amount.fee, if returns_service_fee { price.fee } else { 0 });
            }
            assert_eq!(decision.total.amount - decision.fee, decision.amounts.iter().map(|a| a.ticket).sum::<i64>());
            decision.total.amount
        };
        prop_assert!(total_at(seconds) <= total_at(seconds + later));
        if statute.is_some() && seconds >= 11 * 86_400 {
            let fee = if returns_service_fee { 1 } else { 0 };
            prop_assert_eq!(total_at(seconds), prices.iter().map(|price| price.ticket + fee * price.fee).sum::<i64>());
        }
    }
}
