use super::*;
use crate::ids::RefundId;
use crate::orders::tests::{at, event, paying, paying_with_fees};
use crate::orders::{OrderState, Refused, Step};
use crate::payments::Swing;
use crate::refunds::Ground;

const FEE: i64 = 15;

/// The provider's account of a dispute about two seats of 1000.
fn seen(state: DisputeState) -> ProviderDispute {
    let withdrawn = Some(Swing { amount: 2000, fee: FEE });
    let reinstated = (state == DisputeState::Won).then_some(Swing { amount: 2000, fee: 0 });
    ProviderDispute { id: "du_1".into(), state, amount: 2000, withdrawn, reinstated }
}

fn paid() -> Order {
    paying().settling().paid(at(1)).0
}

fn tickets(order: &Order) -> Vec<TicketState> {
    order.tickets().map(|(.., state)| state).collect()
}

fn balance(entries: &[Entry], account: Account) -> i64 {
    entries.iter().map(|entry| entry.of(account)).sum()
}

/// A paid order that is told these states one after the other, and worked off after each; with all of its entries.
fn told(states: &[DisputeState]) -> (Order, Vec<Entry>) {
    let (mut order, sale) = paying().settling().paid(at(1));
    let mut entries = vec![sale];
    for &state in states {
        let Some((next, booked)) = order.dispute_seen(&seen(state), at(2)) else { continue };
        assert_eq!((next.v, next.state), (order.v + 1, order.state));
        assert_eq!(next.dispute_seen(&seen(state), at(3)), None, "said twice, it is nothing new");
        entries.extend(booked);
        order = next;
        if order.step(None, at(3)) == Step::FinishDispute {
            assert!(order.due_at.is_some(), "somebody will finish it");
            order = order.dispute_finished(&event(EventStatus::Published), at(3)).unwrap();
        }
        assert_eq!((order.step(None, at(4)), order.due_at), (Step::Nothing, None));
    }
    (order, entries)
}

#[test]
fn tickets_and_journal_follow_what_the_provider_says() {
    use DisputeState::{Lost, Open, Won};
    use TicketState::{ChargedBack, Disputed, Valid};
    for (states, ticket, provider, disputes, organiser) in [
        (&[Open][..], Disputed, -FEE, 2000, -2000),
        (&[Open, Open], Disputed, -FEE, 2000, -2000),
        (&[Open, Won], Valid, 2000 - FEE, 0, -2000),
        (&[Open, Lost], ChargedBack, -FEE, 0, 0),
        // What was said in between was never heard, or comes late.
        (&[Won], Valid, 2000 - FEE, 0, -2000),
        (&[Lost], ChargedBack, -FEE, 0, 0),
        (&[Lost, Open], ChargedBack, -FEE, 0, 0),
        (&[Won, Open, Won], Valid, 2000 - FEE, 0, -2000),
        // Given back after all: the money is ours, and the seats may be somebody else's by now.
        (&[Open, Lost, Won], ChargedBack, 2000 - FEE, 0, -2000),
        (&[Lost, Won, Lost], ChargedBack, 2000 - FEE, 0, -2000),
    ] {
        let (order, entries) = told(states);
        assert_eq!(tickets(&order), [ticket, ticket], "{states:?}");
        assert_eq!(order.state, OrderState::Paid, "{states:?}");
        let expected = [
            (Account::Provider, provider),
            (Account::Disputes, disputes),
            (Account::Fees, FEE),
            (Account::Organiser, organiser),
        ];
        for (account, amount) in expected {
            assert_eq!(balance(&entries, account), amount, "{states:?} {account:?}");
        }
        let keys: std::collections::BTreeSet<_> = entries.iter().map(Entry::key).collect();
        assert!(keys.len() == entries.len() && entries.iter().all(|entry| entry.balances() == Ok(true)), "{states:?}");
    }
}

#[test]
fn money_that_moves_after_the_word_is_booked_when_it_moves() {
    let early = ProviderDispute { withdrawn: None, ..seen(DisputeState::Open) };
    let (order, entries) = paid().dispute_seen(&early, at(2)).unwrap();
    assert!(entries.is_empty() && tickets(&order) == [TicketState::Disputed; 2]);
    assert_eq!(order.effects.len(), 1);
    let (order, entries) = order.dispute_seen(&seen(DisputeState::Open), at(3)).unwrap();
    assert_eq!((entries.len(), order.effects.len()), (1, 0), "booked, and no news");
}

#[test]
fn nothing_is_given_back_beside_a_dispute() {
    let ask = RefundAsk {
        id: RefundId(5),
        request: "r".into(),
        tickets: Some(vec![0]),
        ground: Ground::Wish,
        decided_by: None,
    };
    for states in [&[DisputeState::Open][..], &[DisputeState::Lost]] {
        let (order, _) = told(states);
        for status in [EventStatus::Published, EventStatus::Cancelled] {
            let refused = order.request_refund(&event(status), &ask, at(5));
            assert_eq!(refused.err(), Some(RefundRefused::Order(Refused::Disputed)));
        }
        assert_eq!(order.check_in(0, "gate"), Err(Refused::Disputed));
    }
    let (won, _) = told(&[DisputeState::Open, DisputeState::Won]);
    assert!(won.check_in(0, "gate").unwrap().is_some());
}

#[test]
fn a_refund_that_was_under_way_fails_and_waits_for_the_end() {
    let ask = RefundAsk::of_cancelled(paid().id, event(EventStatus::Cancelled).id);
    let refunding = paid().request_refund(&event(EventStatus::Cancelled), &ask, at(2)).unwrap();
    let (order, _) = refunding.dispute_seen(&seen(DisputeState::Open), at(3)).unwrap();
    assert_eq!((order.step(None, at(4)), order.state), (Step::Refund(ask.id), OrderState::Refunding));
    let (failed, reversal) = order.refund_failed(ask.id, None, true, at(4));
    assert_eq!((reversal, failed.due_at), (None, None));
    assert_eq!(failed.retry_refund(ask.id, at(5)).err(), Some(Refused::Disputed));
    let (won, _) = failed.dispute_seen(&seen(DisputeState::Won), at(6)).unwrap();
    let won = won.dispute_finished(&event(EventStatus::Cancelled), at(7)).unwrap();
    assert_eq!(won.refunds.len(), 1, "the decision stands, and is carried out");
    assert_eq!((won.state, won.refunds[0].sent.resumed), (OrderState::Refunding, 1));
    assert_eq!(won.refunds[0].provider_key(), ask.id.to_string(), "whoever asked before and slept asks for the same");
    assert_eq!((won.step(None, at(8)), won.due_at.is_some()), (Step::Refund(ask.id), true));
    let asked = What::RefundRequested { buyer: won.buyer, order: won.id, refund: ask.id };
    assert_eq!(won.effects.last().map(|effect| &effect.what), Some(&asked));
    let (done, _) = won.refund_done(ask.id, Some("re_2".into()), at(9));
    assert_eq!((done.state, done.due_at), (OrderState::Refunded, None));
}

#[test]
fn only_what_gave_way_is_asked_for_by_itself() {
    let ask = RefundAsk::of_cancelled(paid().id, event(EventStatus::Cancelled).id);
    let refunding = paid().request_refund(&event(EventStatus::Cancelled), &ask, at(2)).unwrap();
    let (disputed, _) = refunding.dispute_seen(&seen(DisputeState::Open), at(3)).unwrap();
    let (won, _) = disputed.dispute_seen(&seen(DisputeState::Won), at(4)).unwrap();
    let won = won.dispute_finished(&event(EventStatus::Cancelled), at(5)).unwrap();
    // A card that is closed stays closed; and the news that it gave way may come when all is over.
    let (closed, _) = won.refund_failed(ask.id, None, false, at(6));
    assert_eq!((closed.step(None, at(7)), closed.due_at), (Step::Nothing, None));
    let (mut order, _) = won.refund_failed(ask.id, Some("re_1".into()), true, at(6));
    assert_eq!((order.step(None, at(7)), order.due_at.is_some()), (Step::Refund(ask.id), true));
    // Whatever a provider says, this comes to an end.
    for n in 7.. {
        if order.pending_refund().is_none() {
            break;
        }
        assert!(n < 20, "it is asked for ever");
        order = order.refund_failed(ask.id, None, true, at(n)).0;
    }
    assert_eq!(order.due_at, None);
}

#[test]
fn a_loss_that_is_taken_back_is_for_a_person() {
    let (lost, _) = told(&[DisputeState::Open, DisputeState::Lost]);
    let (won, booked) = lost.dispute_seen(&seen(DisputeState::Won), at(6)).unwrap();
    assert_eq!(booked.len(), 2, "the money, and that it is owed again");
    let reversed = What::DisputeReversed { buyer: won.buyer, order: won.id, event: won.event };
    assert!(won.effects.iter().any(|effect| effect.what == reversed));
    assert_eq!((won.step(None, at(7)), won.due_at), (Step::Nothing, None));
    // Before the loss was worked off, some of its seats may have been released all the same.
    let (unfinished, _) = paid().dispute_seen(&seen(DisputeState::Lost), at(2)).unwrap();
    let (won, _) = unfinished.dispute_seen(&seen(DisputeState::Won), at(3)).unwrap();
    let won = won.dispute_finished(&event(EventStatus::Published), at(4)).unwrap();
    assert_eq!(tickets(&won), [TicketState::ChargedBack; 2]);
}

#[test]
fn a_won_dispute_of_a_cancelled_event_goes_back() {
    let mut used = paid().check_in(0, "gate").unwrap().unwrap();
    for state in [DisputeState::Open, DisputeState::Won] {
        used = used.dispute_seen(&seen(state), at(2)).unwrap().0;
    }
    let next = used.dispute_finished(&event(EventStatus::Cancelled), at(3)).unwrap();
    assert_eq!((next.v, next.state, next.refunds[0].amount), (used.v + 1, OrderState::Refunding, 2000));
    assert!(next.effects[0].id.contains(&format!(".{}.", next.v)), "effects carry the version of their write");
}

#[test]
fn a_capture_that_no_order_took_on_may_be_disputed() {
    let (lost, captured) = paying().settling().lost().unadopted(2000, at(1));
    let (failed, _) = lost.refund_failed(lost.refunds[0].id, None, true, at(2));
    let mut entries = vec![captured];
    let mut order = failed;
    for state in [DisputeState::Open, DisputeState::Lost] {
        let (next, booked) = order.dispute_seen(&seen(state), at(3)).unwrap();
        entries.extend(booked);
        order = next;
        assert_eq!((order.state, order.due_at), (OrderState::Lost, None));
        assert!(!order.has_unfinished_dispute());
    }
    for (account, amount) in [(Account::Provider, -FEE), (Account::Unadopted, 0), (Account::Disputes, 0)] {
        assert_eq!(balance(&entries, account), amount, "{account:?}");
    }
    // Whenever the bank gives it back, it is the buyer's.
    let (won, _) = order.dispute_seen(&seen(DisputeState::Won), at(4)).unwrap();
    assert_eq!(won.step(None, at(5)), Step::Refund(won.refunds[0].id));
    assert!(won.due_at.is_some() && won.state == OrderState::Lost);
}

/// A dispute about so much of an order of two seats of 1000 with a fee of 50 each, as it is said to stand.
fn seen_of(id: &str, amount: i64, state: DisputeState) -> ProviderDispute {
    let swing = Swing { amount, fee: 0 };
    let reinstated = (state == DisputeState::Won).then_some(swing);
    ProviderDispute { id: id.into(), state, amount, withdrawn: Some(swing), reinstated }
}

/// Brings this into an order; what is left to the organiser and of fees after it, by all entries.
fn hear(order: &mut Order, entries: &mut Vec<Entry>, seen: &ProviderDispute) -> (i64, i64) {
    let (next, booked) = order.dispute_seen(seen, at(3)).unwrap();
    assert!(booked.iter().all(|entry| entry.balances() == Ok(true)), "{booked:?}");
    entries.extend(booked);
    *order = next;
    (-balance(entries, Account::Organiser), -balance(entries, Account::ServiceFees))
}

#[test]
fn a_bank_that_keeps_all_keeps_the_fees_too() {
    use DisputeState::{Lost, Open, Won};
    for (amount, organiser, fees) in [
        (2100, 0, 0),
        (1050, 1000, 50),
        // A part of it that is not round, to the organiser's side; and more than there is.
        (1000, 1047, 53),
        (1, 1999, 100),
        (0, 2000, 100),
        (2200, -100, 0),
    ] {
        let (mut order, sale) = paying_with_fees().settling().paid(at(1));
        let mut entries = vec![sale];
        assert_eq!(hear(&mut order, &mut entries, &seen_of("du_1", amount, Open)), (2000, 100), "undecided");
        assert_eq!(hear(&mut order, &mut entries, &seen_of("du_1", amount, Lost)), (organiser, fees), "{amount}");
        assert_eq!(order.dispute_seen(&seen_of("du_1", amount, Lost), at(3)), None);
        assert_eq!(hear(&mut order, &mut entries, &seen_of("du_1", amount, Won)), (2000, 100), "back after all");
        assert_eq!((balance(&entries, Account::Disputes), balance(&entries, Account::Provider)), (0, 2100));
    }
}

#[test]
fn what_went_before_is_not_lost_again() {
    use DisputeState::{Lost, Won};
    let ask = RefundAsk {
        id: RefundId(5),
        request: "r".into(),
        tickets: Some(vec![0]),
        ground: Ground::Wish,
        decided_by: None,
    };
    let mut policy = paying_with_fees();
    policy.policy = serde_json::from_str(r#"{"tiers": [{"notice": {"days": 1}, "share": 10000}]}"#).unwrap();
    let (paid, sale) = policy.settling().paid(at(1));
    // A ticket went back and its fee was kept; then the bank keeps the rest.
    let refunding = paid.request_refund(&event(EventStatus::Published), &ask, at(2)).unwrap();
    let (mut order, refund) = refunding.refund_done(ask.id, Some("re_1".into()), at(2));
    let mut entries = vec![sale.clone(), refund];
    assert_eq!(hear(&mut order, &mut entries, &seen_of("du_1", 1100, Lost)), (0, 0));
    // The same, while the refund was on its way and is done in the end: what is reversed is what was booked.
    let mut order = refunding.clone();
    let mut entries = vec![sale.clone()];
    let lost = hear(&mut order, &mut entries, &seen_of("du_1", 2100, Lost));
    let (done, refund) = order.refund_done(ask.id, Some("re_1".into()), at(4));
    (order, entries) = (done, [entries, vec![refund]].concat());
    assert_eq!((lost, hear(&mut order, &mut entries, &seen_of("du_1", 2100, Won))), ((0, 0), (1000, 100)));
    // Two disputes of half each; the first comes back.
    let (mut order, mut entries) = (paid, vec![sale]);
    assert_eq!(hear(&mut order, &mut entries, &seen_of("du_1", 1050, Lost)), (1000, 50));
    assert_eq!(hear(&mut order, &mut entries, &seen_of("du_2", 1050, Lost)), (0, 0));
    assert_eq!(hear(&mut order, &mut entries, &seen_of("du_1", 1050, Won)), (1000, 50));
}
