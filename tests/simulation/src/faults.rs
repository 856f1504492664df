//! What goes wrong, and how often each kind of it did.

use crate::choices::Choices;
use crate::gate::{Kind, Outcome, Waiting};
use crate::mutants::Mutant;
use std::collections::BTreeMap;

/// Seconds by which a machine's clock may be wrong, right first.
const SKEWS_SECONDS: [i64; 7] = [0, 600, -600, 290, -290, 5, -5];
/// Once in so many messages, webhooks and processes something strange becomes of it.
const STRANGE_IN: u32 = 12;
/// Whoever had a fault has another at every second call, so that retries are not always enough.
const TROUBLE_IN: u32 = 2;

/// Everything that can go wrong, by the names under which it is counted.
pub const KINDS: [&str; 25] = [
    "refused",
    "reply lost",
    "throttled",
    "transaction conflict",
    "stale read",
    "too slow",
    "provider fault",
    "provider down",
    "bus partly",
    "dies before",
    "dies after",
    "clock wrong",
    "process restarted",
    "message twice",
    "message on its last try",
    "webhook twice",
    "webhook never",
    "order changed",
    "dead letter",
    "dead letter redriven",
    "dispute decided",
    "time passes",
    "days pass",
    "sweep",
    "reconciled",
];

/// How a run is disturbed.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Nothing goes wrong, and everything goes on in its turn.
    Calm,
    /// One call, the `index`th, has this outcome; all else is calm.
    At { index: usize, outcome: Outcome },
    /// Somebody else goes on once in `wander_in` steps; a call fails once in `fail_in`.
    Wild { wander_in: u32, fail_in: u32, are_clocks_wrong: bool },
    /// Who goes on is a decision at every step; nothing fails.
    Every,
}

/// A call of ours that was decided.
#[derive(Clone, Copy, Debug)]
pub struct Called {
    pub kind: Kind,
    actor: usize,
    step: usize,
}

impl Called {
    /// Whether nothing but the same process' own work lies between this call and the next: then that it dies after this
    /// one is that it dies before the next.
    pub fn leads_to(&self, next: &Self) -> bool {
        self.actor == next.actor && self.step + 1 == next.step
    }
}

pub struct Faults {
    /// Of what is random in the product.
    pub seed: u64,
    pub plan: Plan,
    pub mutant: Option<&'static Mutant>,
    pub counts: BTreeMap<&'static str, usize>,
    /// Our calls that were decided so far, in their order.
    pub calls: Vec<Called>,
    /// How often it was decided what is next.
    steps: usize,
    /// By how many seconds the clock of `buy` is wrong where clocks are no decision of the run.
    pub skew_seconds: i64,
    /// Who had the last fault.
    troubled: usize,
}

impl Faults {
    pub fn new(seed: u64, plan: Plan, mutant: Option<&'static Mutant>) -> Self {
        Self { seed, plan, mutant, counts: BTreeMap::new(), calls: Vec::new(), steps: 0, skew_seconds: 0, troubled: 0 }
    }

    pub fn count(&mut self, kind: &'static str, times: usize) {
        *self.counts.entry(kind).or_default() += times;
    }

    /// Which of so many events is next.
    pub fn pick(&mut self, choices: &mut Choices, count: usize) -> usize {
        self.steps += 1;
        match self.plan {
            _ if count == 1 => 0,
            Plan::Calm | Plan::At { .. } => 0,
            Plan::Every => unreachable!("the explorer decides"),
            Plan::Wild { wander_in, .. } => {
                if !choices.once_in(wander_in) {
                    return 0;
                }
                let at = choices.below(count);
                self.count("order changed", usize::from(at > 0));
                at
            }
        }
    }

    /// What becomes of a call.
    pub fn outcome(&mut self, choices: &mut Choices, call: &Waiting) -> Outcome {
        let is_ours = !matches!(call.kind, Kind::Request | Kind::Browser | Kind::Pause | Kind::Later);
        let index = self.calls.len();
        self.calls.extend(is_ours.then_some(Called { kind: call.kind, actor: call.actor, step: self.steps }));
        match &self.plan {
            Plan::At { index: at, outcome } if is_ours && *at == index => {
                let outcome = outcome.clone();
                self.count_outcome(&outcome);
                outcome
            }
            Plan::Wild { fail_in, .. } => {
                let possible = possible(call.kind);
                let fail_in = if self.troubled == call.actor { TROUBLE_IN } else { *fail_in };
                if possible.is_empty() || !choices.once_in(fail_in) {
                    return Outcome::Done;
                }
                let outcome = possible[choices.below(possible.len())].clone();
                self.troubled = call.actor;
                self.count_outcome(&outcome);
                outcome
            }
            _ => Outcome::Done,
        }
    }

    fn count_outcome(&mut self, outcome: &Outcome) {
        let kind = match outcome {
            Outcome::Refused => "refused",
            Outcome::ReplyLost => "reply lost",
            Outcome::Throttled => "throttled",
            Outcome::Conflict => "transaction conflict",
            Outcome::Stale(_) => "stale read",
            Outcome::Slow => "too slow",
            Outcome::Fault => "provider fault",
            Outcome::Down => "provider down",
            Outcome::Partly => "bus partly",
            Outcome::DiesBefore => "dies before",
            Outcome::DiesAfter => "dies after",
            Outcome::Done | Outcome::Answered(_) => return,
        };
        self.count(kind, 1);
    }

    /// By how many seconds the clock of a function's new process is wrong.
    pub fn skew(&mut self, choices: &mut Choices, handler: &str) -> i64 {
        if !matches!(self.plan, Plan::Wild { are_clocks_wrong: true, .. }) {
            return if handler == "buy" { self.skew_seconds } else { 0 };
        }
        let skew = SKEWS_SECONDS[choices.below(SKEWS_SECONDS.len())];
        self.count("clock wrong", usize::from(skew != 0));
        skew
    }

    /// Whether a warm process is replaced by a new one.
    pub fn restarts(&mut self, choices: &mut Choices) -> bool {
        self.happens(choices, "process restarted")
    }

    /// Whether something of this kind happens.
    pub fn happens(&mut self, choices: &mut Choices, kind: &'static str) -> bool {
        let happens = matches!(self.plan, Plan::Wild { .. }) && choices.once_in(STRANGE_IN);
        self.count(kind, usize::from(happens));
        happens
    }

    /// How many more messages an invocation is given than one.
    pub fn more(&mut self, choices: &mut Choices, count: usize) -> usize {
        if matches!(self.plan, Plan::Wild { .. }) { choices.below(count + 1) } else { 0 }
    }

    /// How many of the records of a stream are left for the next batch.
    pub fn left_over(&mut self, choices: &mut Choices, count: usize) -> usize {
        if matches!(self.plan, Plan::Wild { .. }) { choices.below(count) } else { 0 }
    }

    /// Whether time may pass, schedules may run and dead letters may be sent back at any moment.
    pub fn are_strange(&self) -> bool {
        matches!(self.plan, Plan::Wild { .. })
    }
}

/// What can become of a call of this kind, other than what should.
pub fn possible(kind: Kind) -> &'static [Outcome] {
    use Outcome::{Conflict, DiesAfter, DiesBefore, Down, Fault, Partly, Refused, ReplyLost, Slow, Stale, Throttled};
    match kind {
        Kind::Read => &[Refused, Throttled, Slow, DiesBefore],
        Kind::LaggingRead => &[Stale(1), Refused, Throttled, DiesBefore, Stale(2), Stale(4)],
        Kind::Write | Kind::Transaction => &[Refused, ReplyLost, Throttled, Conflict, Slow, DiesBefore, DiesAfter],
        Kind::Bus => &[Refused, ReplyLost, Partly, DiesBefore, DiesAfter],
        Kind::Provider => &[Refused, ReplyLost, Fault, Down, Throttled, Slow, DiesBefore, DiesAfter],
        Kind::Browser | Kind::Request => &[Refused, ReplyLost],
        Kind::Pause | Kind::Later => &[],
    }
}
