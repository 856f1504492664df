//! Every happy path, with one fault at each of its calls in turn.

use crate::choices::Choices;
use crate::faults::{Called, Plan, possible};
use crate::gate::{Kind, Outcome};
use crate::mutants::Mutant;
use crate::people::{Back, Errand, Then, When};
use crate::run::{Cast, Ground, Report};
use crate::subscribers::{Stays, Subscriber};
use domain::ids::UserId;
use domain::orders::PAYMENT_SECONDS_MIN;
use serde_json::json;

/// What somebody comes for, and what the house does.
pub struct Path {
    pub name: &'static str,
    errands: fn() -> Vec<Errand>,
    /// Who comes when the holds of the first have ended.
    later: fn() -> Vec<Errand>,
    /// Who subscribes, and the days that pass for them.
    subscriber: Option<(Subscriber, &'static [i64])>,
    is_called_off: bool,
    /// Whether people are told of it: the calls of that are the same on every way, and stand in some.
    is_told: bool,
    /// How issuers decide disputes.
    won: bool,
    /// By how many seconds the clock is wrong of the `buy` that meets whoever comes back late.
    late_skew_seconds: i64,
}

const fn path(name: &'static str, errands: fn() -> Vec<Errand>) -> Path {
    let (later, subscriber, late_skew_seconds): (fn() -> _, _, _) = (Vec::new, None, 0);
    Path { name, errands, later, subscriber, is_called_off: false, is_told: false, won: false, late_skew_seconds }
}

/// The ways that an order goes when nothing fails.
pub const PATHS: &[Path] = &[
    Path { is_called_off: true, is_told: true, ..path("event called off", || vec![errand(pays(Back::Keep))]) },
    Path { is_called_off: true, ..path("late payment, event called off", || late(SLOW_CARD)) },
    Path { later: others, ..path("late payment, seat gone", || late(SLOW_CARD)) },
    Path { later: others, ..path("late capture, seat gone", || late(SLOW_CAPTURE)) },
    // By the slow clock too little of the hold is left, so that its seats are stamped afresh.
    Path { later: others, late_skew_seconds: -PAYMENT_SECONDS_MIN, ..path("slow clock, seat gone", begins_late) },
    path("dispute lost", || vec![errand(pays_with(DISPUTED_CARD, Back::Keep))]),
    Path { won: true, ..path("dispute won", || vec![errand(pays_with(DISPUTED_CARD, Back::Keep))]) },
    Path { won: true, ..path("dispute against a refund", || vec![errand(pays_with(DISPUTED_CARD, Back::One))]) },
    Path { is_told: true, ..path("refund", || vec![errand(pays(Back::All))]) },
    path("refund fails", || vec![errand(pays_with("pm_card_refundFail", Back::All))]),
    path("late payment", || late(SLOW_CARD)),
    path("enter", || vec![errand(pays(Back::Enter))]),
    path("buy", || vec![errand(pays(Back::Keep))]),
    path("expire", || vec![errand(Then::Abandon)]),
    path("give up", || vec![errand(Then::Cancel)]),
    subscribes("subscribe", 0, "pm_card_visa", Stays::Keeps, &[33]),
    subscribes("subscribe, never paid", 1, "pm_sandbox_saved_insufficient_funds", Stays::Keeps, &[6, 10]),
    subscribes("subscribe, another card", 1, "pm_card_chargeCustomerFail", Stays::NewCard, &[6]),
    subscribes("subscribe, cancel at once", 0, "pm_card_visa", Stays::CancelsNow, &[1]),
    subscribes("subscribe, dispute lost", 0, DISPUTED_CARD, Stays::Keeps, &[1]),
    subscribes("subscribe, another plan", 0, "pm_card_visa", Stays::OtherPlan, &[1]),
];

const fn subscribes(name: &'static str, plan: usize, card: &'static str, stays: Stays, days: &'static [i64]) -> Path {
    let subscriber = Subscriber { user: UserId(0x5b), key: "subscribe", plan, card, stays };
    Path { subscriber: Some((subscriber, days)), ..path(name, Vec::new) }
}

/// Authorised, and captured at once, when the hold has ended.
const SLOW_CARD: &str = "pm_sandbox_delay_1200";
const SLOW_CAPTURE: &str = "pm_sandbox_captures_at_once";
/// Disputed as soon as it is captured.
const DISPUTED_CARD: &str = "pm_card_createDispute";

pub fn errand(then: Then) -> Errand {
    // In two rows: what one write does, the other may not.
    let seats = json!({ "seats": [tests::seat("A", 1, 1), tests::seat("A", 2, 1)] });
    Errand { buyer: UserId(0xb0), key: "key".to_owned(), wish: seats, then }
}

pub fn pays(back: Back) -> Then {
    pays_with("pm_card_visa", back)
}

fn pays_with(card: &'static str, back: Back) -> Then {
    Then::Pay { card, when: When::AtOnce, back }
}

/// Somebody whose payment comes when the hold has ended.
fn late(card: &'static str) -> Vec<Errand> {
    vec![errand(Then::Pay { card, when: When::ConfirmsLate, back: Back::Keep })]
}

/// Somebody who begins to pay when the hold has ended.
fn begins_late() -> Vec<Errand> {
    vec![errand(Then::Pay { card: "pm_card_visa", when: When::BeginsLate, back: Back::Keep })]
}

/// Somebody else who wants one of the seats.
pub fn others() -> Vec<Errand> {
    let wish = json!({ "seats": [tests::seat("A", 2, 1), tests::seat("A", 2, 2)] });
    vec![Errand { buyer: UserId(0xb1), wish, ..errand(pays(Back::Keep)) }]
}

/// What is tried of the call at an index.
pub type Outcomes = fn(&[Called], usize) -> &'static [Outcome];

/// Runs a path with one outcome at each of its calls: every one that `outcomes` gives for the call at an index. Gives
/// each run to `each`, the calm one first.
pub fn crash_points(
    ground: &Ground,
    path: &Path,
    mutant: Option<&'static Mutant>,
    outcomes: Outcomes,
    mut each: impl FnMut(usize, &Outcome, Report),
) {
    let (errands, later) = ((path.errands)(), (path.later)());
    let run = |plan| {
        let Path { ref subscriber, is_called_off, is_told, won, late_skew_seconds, .. } = *path;
        let (errands, later, subscriber) =
            (&errands, &later, subscriber.as_ref().map(|(subscriber, days)| (subscriber, *days)));
        let cast = Cast::These { errands, later, subscriber, is_called_off, is_told, won, late_skew_seconds };
        ground.run(cast, 1, Choices::scripted(Vec::new()), plan, mutant)
    };
    let calm = run(Plan::Calm);
    let calls = calm.calls.clone();
    each(0, &Outcome::Done, calm);
    for index in 0..calls.len() {
        for outcome in outcomes(&calls, index) {
            each(index, outcome, run(Plan::At { index, outcome: outcome.clone() }));
        }
    }
}

/// Everything that can become of a call.
pub fn every_fault(calls: &[Called], index: usize) -> &'static [Outcome] {
    possible(calls[index].kind)
}

/// A process dies at a call, before it leaves or when it was carried out. Deaths that leave the same world behind are
/// one: after a call and before the next one of the same process, and before and after a read.
pub fn crashes(calls: &[Called], index: usize) -> &'static [Outcome] {
    let goes_on = |from: usize| calls.get(from + 1).is_some_and(|next| calls[from].leads_to(next));
    let reads = |at: usize| matches!(calls[at].kind, Kind::Read | Kind::LaggingRead);
    let is_seen_before = index > 0 && reads(index - 1) && goes_on(index - 1);
    let is_seen_after = reads(index) || goes_on(index);
    match (is_seen_before, is_seen_after) {
        (true, true) => &[],
        (true, false) => &[Outcome::DiesAfter],
        (false, true) => &[Outcome::DiesBefore],
        (false, false) => &[Outcome::DiesBefore, Outcome::DiesAfter],
    }
}
