//! Every happy path, with one fault at each of its calls in turn.

use crate::choices::Choices;
use crate::faults::Plan;
use crate::gate::{Kind, Outcome};
use crate::people::{Back, Errand, Then};
use crate::run::{Cast, Ground, Report};
use domain::ids::UserId;
use serde_json::json;

/// What somebody comes for, and what the house does.
pub struct Path {
    pub name: &'static str,
    errands: fn() -> Vec<Errand>,
    /// Who comes when the holds of the first have ended.
    later: fn() -> Vec<Errand>,
    is_called_off: bool,
    /// How issuers decide disputes.
    won: bool,
}

const fn path(name: &'static str, errands: fn() -> Vec<Errand>) -> Path {
    Path { name, errands, later: Vec::new, is_called_off: false, won: false }
}

/// The ways that an order goes when nothing fails.
pub const PATHS: &[Path] = &[
    Path { is_called_off: true, ..path("event called off", || vec![errand(pays(Back::Keep))]) },
    Path { later: others, ..path("late payment, seat gone", || late(SLOW_CARD)) },
    Path { later: others, ..path("late capture, seat gone", || late(SLOW_CAPTURE)) },
    path("dispute lost", || vec![errand(pays_with(DISPUTED_CARD, Back::Keep))]),
    Path { won: true, ..path("dispute won", || vec![errand(pays_with(DISPUTED_CARD, Back::Keep))]) },
    Path { won: true, ..path("dispute against a refund", || vec![errand(pays_with(DISPUTED_CARD, Back::One))]) },
    path("refund", || vec![errand(pays(Back::All))]),
    path("refund fails", || vec![errand(pays_with("pm_card_refundFail", Back::All))]),
    path("late payment", || late(SLOW_CARD)),
    path("enter", || vec![errand(pays(Back::Enter))]),
    path("buy", || vec![errand(pays(Back::Keep))]),
    path("expire", || vec![errand(Then::Abandon)]),
    path("give up", || vec![errand(Then::Cancel)]),
];

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
    Then::Pay { card, late: false, back }
}

/// Somebody whose payment comes when the hold has ended.
fn late(card: &'static str) -> Vec<Errand> {
    vec![errand(Then::Pay { card, late: true, back: Back::Keep })]
}

/// Somebody else who wants one of the seats.
pub fn others() -> Vec<Errand> {
    let wish = json!({ "seats": [tests::seat("A", 2, 1), tests::seat("A", 2, 2)] });
    vec![Errand { buyer: UserId(0xb1), wish, ..errand(pays(Back::Keep)) }]
}

/// Runs a path with one outcome at each of its calls: every one that `outcomes` gives for a call's kind. Gives each run
/// to `each`, the one in which nothing happens first.
pub fn crash_points(
    ground: &Ground,
    path: &Path,
    outcomes: fn(Kind) -> &'static [Outcome],
    mut each: impl FnMut(usize, &Outcome, Report),
) {
    let (errands, later) = ((path.errands)(), (path.later)());
    let run = |plan| {
        let Path { is_called_off, won, .. } = *path;
        let cast = Cast::These { errands: &errands, later: &later, is_called_off, won };
        ground.run(cast, 1, Choices::scripted(Vec::new()), plan, None)
    };
    let calm = run(Plan::Calm);
    let kinds = calm.kinds.clone();
    each(0, &Outcome::Done, calm);
    for (index, kind) in kinds.into_iter().enumerate() {
        for outcome in outcomes(kind) {
            each(index, outcome, run(Plan::At { index, outcome: outcome.clone() }));
        }
    }
}

/// A process dies at a call: before it leaves, and where it changes something after that too.
pub fn crashes(kind: Kind) -> &'static [Outcome] {
    match kind {
        Kind::Read | Kind::LaggingRead => &[Outcome::DiesBefore],
        _ => &[Outcome::DiesBefore, Outcome::DiesAfter],
    }
}
