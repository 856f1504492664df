//! Random operations on small halls, against a simple model: at least 10,000 holds, releases, payments, expiries,
//! refunds, repeated requests and messages that arrive twice, through the doors that buyers and the provider use.
//!
//! A *sequence* is a list of operations on one hall of twelve places; several halls of one box office go through theirs
//! side by side, a step at a time, and share its clock. Every reply has to be what the model says. After each sequence
//! the seat map, the lock words, the tickets, the journal and the provider's books have to be the model's too.
//!
//! `MODEL_SEED` starts elsewhere, `MODEL_CASES` says how many sequences. A sequence that fails is carried out alone
//! again and again with parts left out, until every part is needed (delta debugging, Zeller 2002), and is printed with
//! its seed. The generator and the shrinker are ours: proptest's runner owns its loop, and cannot wait for futures of
//! halls that share a clock.

mod ending;
mod hall;
mod lane;
mod ops;

use futures_util::future::join_all;
use hall::{FEE, PRICE_SEAT, PRICE_STANDING, REFUND_PERCENT, ROWS, STANDING};
use lane::Lane;
use ops::{BUYERS, Op, Random};
use serde_json::{Value, json};
use std::fmt::Debug;
use std::time::{Duration, Instant};
use tests::TestApp;

const SEED: u64 = 1;
/// Sequences, and how many of them share a box office.
const CASES: usize = 312;
const LANES: usize = 39;
/// Box offices at a time.
const BATCHES_AT_ONCE: usize = 2;
const STEPS: usize = 36;
/// One step in so many is time that passes; otherwise it is a moment, after which a seat map is read anew.
const WAIT_EVERY: u32 = 7;
const MOMENT_SECONDS: i64 = 1;
/// What the operations of all kinds come to, at least.
const OPERATIONS_MIN: usize = 10_000;
/// Of each kind so many attempts for each one that succeeds, at most.
const ATTEMPTS_A_SUCCESS_MAX: usize = 5;
/// Sequences tried in search of a shorter one that fails.
const SHRINK_RUNS_MAX: usize = 300;
/// How often the provider is asked whether a slow payment came to its answer.
const PROVIDER_LOOKS_MAX: usize = 2_000;

/// The kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hold,
    Repeat,
    Release,
    Start,
    Payment,
    Expiry,
    Refund,
    Message,
}

const KINDS: [Kind; 8] =
    [Kind::Hold, Kind::Repeat, Kind::Release, Kind::Start, Kind::Payment, Kind::Expiry, Kind::Refund, Kind::Message];

/// Attempts and successes of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts([(usize, usize); KINDS.len()]);

impl Counts {
    fn add(&mut self, kind: Kind, succeeded: bool) {
        let (attempts, successes) = &mut self.0[kind as usize];
        *attempts += 1;
        *successes += usize::from(succeeded);
    }

    fn add_all(&mut self, other: &Self) {
        for (sum, counted) in self.0.iter_mut().zip(other.0) {
            *sum = (sum.0 + counted.0, sum.1 + counted.1);
        }
    }
}

/// What two sides say of the same thing.
pub fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, the model has {expected:?}")) }
}

/// A sequence that failed: which of the batch, how far it came, and what was wrong.
struct Failed {
    lane: usize,
    steps: usize,
    why: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_box_office_does_what_a_simple_model_of_it_does() {
    let (seed, cases) = (setting("MODEL_SEED", SEED), setting("MODEL_CASES", CASES as u64) as usize);
    let started = Instant::now();
    let mut random = Random::new(seed);
    let batches = (0..cases.div_ceil(LANES)).map(|_| random.next()).collect::<Vec<_>>();
    let mut counts = Counts::default();
    for some in batches.chunks(BATCHES_AT_ONCE) {
        let sequences: Vec<_> = some.iter().map(|seed| sequences(*seed, LANES.min(cases))).collect();
        for (sequences, ended) in sequences.iter().zip(join_all(sequences.iter().map(|some| run(some))).await) {
            match ended {
                Ok(batch) => counts.add_all(&batch),
                Err(failed) => panic!("{}", explain(seed, sequences, failed).await),
            }
        }
    }
    report(&counts, cases, started.elapsed());
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the test chooses; nothing of the product is set by this")]
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a seed or a number of cases is a number"))
}

/// The sequences of a batch: time passes for all of them at once.
fn sequences(seed: u64, lanes: usize) -> Vec<Vec<Op>> {
    let mut random = Random::new(seed);
    let mut sequences = vec![Vec::with_capacity(STEPS); lanes];
    for _ in 0..STEPS {
        let wait = (random.below(WAIT_EVERY) == 0).then(|| random.wait());
        for ops in &mut sequences {
            ops.push(wait.unwrap_or_else(|| random.op()));
        }
    }
    sequences
}

/// Carries the sequences out, each on a hall of its own in one box office.
async fn run(sequences: &[Vec<Op>]) -> Result<Counts, Failed> {
    let app = TestApp::start().await;
    let hall = app.hall_of(scheme()).await;
    let now = app.app("buy").now();
    let event = json!({
        "starts_at": now + jiff::SignedDuration::from_hours(90 * 24),
        "prices": { "a": PRICE_SEAT, "f": PRICE_STANDING },
        "service_fee": FEE,
        "refund_policy": { "tiers": [{ "notice": { "days": 1 }, "share": REFUND_PERCENT * 100 }] },
    });
    let mut lanes = Vec::with_capacity(sequences.len());
    for _ in sequences {
        lanes.push(Lane::new(&app, app.event(&hall, &event).await, BUYERS, now.as_second()));
    }
    let steps = sequences.iter().map(Vec::len).max().unwrap_or(0);
    for at in 0..steps {
        step(&app, &mut lanes, sequences, at).await?;
    }
    pass(&app, &mut lanes, MOMENT_SECONDS).await;
    let audit = tests::Audit::read(&app).await;
    let mut counts = Counts::default();
    for (nth, lane) in lanes.iter_mut().enumerate() {
        lane.finish(&app, &audit).await.map_err(|why| Failed { lane: nth, steps, why })?;
        counts.add_all(&lane.counts);
    }
    app.finish().await;
    Ok(counts)
}

/// One step of every sequence: time passes, each hall's buyer does something, and everything comes to rest.
async fn step(app: &TestApp, lanes: &mut [Lane], sequences: &[Vec<Op>], at: usize) -> Result<(), Failed> {
    let (seconds, sweep) = match sequences[0][at] {
        Op::Wait { seconds, sweep } => (i64::from(seconds), sweep),
        _ => (MOMENT_SECONDS, false),
    };
    pass(app, lanes, seconds).await;
    if sweep {
        app.sweep().await;
        lanes.iter_mut().for_each(Lane::swept);
    }
    let failed =
        |(lane, result): (usize, Result<(), String>)| result.err().map(|why| Failed { lane, steps: at + 1, why });
    let acts = lanes.iter_mut().zip(sequences).map(|(lane, ops)| lane.act(app, ops[at]));
    let acted = join_all(acts).await.into_iter().enumerate().find_map(failed);
    app.settled().await;
    let checked = join_all(lanes.iter_mut().map(|lane| lane.check(app))).await.into_iter().enumerate().find_map(failed);
    // Whatever a function could not handle waits to be delivered again: in these sequences nothing is.
    let left = app.running.queues().bodies("Payments").expect("the template has this queue");
    let owner = |body: &String| lanes.iter().position(|lane| lane.concerns(body)).unwrap_or(0);
    let left = left.first().map(|body| (owner(body), Err(format!("a message was not handled: {body}"))));
    match acted.or(checked).or(left.and_then(failed)) {
        Some(failed) => Err(failed),
        None => Ok(()),
    }
}

/// Lets time pass, until slow payments came to their answers and what these led to has come to rest.
async fn pass(app: &TestApp, lanes: &mut [Lane], seconds: i64) {
    app.advance(seconds);
    let answered = lanes.iter_mut().map(|lane| lane.tick(seconds)).collect::<Vec<_>>();
    if !answered.contains(&true) {
        return;
    }
    let processing: usize = lanes.iter().map(Lane::processing).sum();
    for _ in 0..PROVIDER_LOOKS_MAX {
        let books = app.running.payments.stripe.books();
        if books.intents.iter().filter(|intent| intent.status == sandbox::Status::Processing).count() == processing {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    app.settled().await;
}

fn scheme() -> Value {
    let row = |nth: usize, seats: usize| json!({ "name": (nth + 1).to_string(), "x": 0, "y": nth * 100, "dx": 50, "seats": seats, "category": "a" });
    let rows: Vec<_> = ROWS.into_iter().enumerate().map(|(nth, seats)| row(nth, seats)).collect();
    let category = |id: &str| json!({ "id": id, "name": id, "color": "#336699" });
    let standing = json!({ "capacity": STANDING, "category": "f", "x": 0, "y": 500, "width": 300, "height": 100 });
    json!({
        "name": "Twelve places",
        "categories": [category("a"), category("f")],
        "sections": [{ "id": "A", "name": "A", "rows": rows }, { "id": "F", "name": "F", "standing": standing }],
    })
}

/// Runs one sequence alone; why it failed, if it did.
async fn fails(ops: &[Op]) -> Option<String> {
    let ops = vec![ops.to_vec()];
    match tokio::spawn(async move { run(&ops).await }).await {
        Ok(ended) => ended.err().map(|failed| failed.why),
        Err(panic) => Some(panic.to_string()),
    }
}

/// The shortest sequence found that fails, for people to read.
async fn explain(seed: u64, sequences: &[Vec<Op>], failed: Failed) -> String {
    let mut ops = sequences[failed.lane][..failed.steps].to_vec();
    let Some(mut why) = fails(&ops).await else {
        let list = list(&ops);
        return format!("seed {seed}: {}\nIt did not fail again alone; this is the sequence:\n{list}", failed.why);
    };
    let mut runs = 0;
    let mut size = ops.len().div_ceil(2);
    while runs < SHRINK_RUNS_MAX {
        let found = shorter(&ops, size, &mut runs).await;
        match found {
            Some((less, reason)) => (ops, why) = (less, reason),
            None if size == 1 => break,
            None => size = size.div_ceil(2),
        }
    }
    format!("seed {seed}: {why}\nThe least that fails ({runs} tried):\n{}", list(&ops))
}

/// The sequence without so many operations somewhere, or (when it comes to single ones) with one of them simpler.
async fn shorter(ops: &[Op], size: usize, runs: &mut usize) -> Option<(Vec<Op>, String)> {
    let without = (0..ops.len()).step_by(size.max(1)).map(|from| {
        let to = (from + size).min(ops.len());
        [&ops[..from], &ops[to..]].concat()
    });
    let mut candidates: Vec<_> = without.filter(|less| !less.is_empty()).collect();
    if size == 1 {
        for (nth, op) in ops.iter().enumerate() {
            let replaced = |op| [&ops[..nth], &[op], &ops[nth + 1..]].concat();
            candidates.extend(op.simpler().into_iter().map(replaced));
        }
    }
    for candidate in candidates {
        if *runs == SHRINK_RUNS_MAX {
            return None;
        }
        *runs += 1;
        if let Some(why) = fails(&candidate).await {
            return Some((candidate, why));
        }
    }
    None
}

fn list(ops: &[Op]) -> String {
    let lines: Vec<_> = ops.iter().enumerate().map(|(nth, op)| format!("  {:>2}  {op}", nth + 1)).collect();
    lines.join("\n")
}

/// Prints what was done, and checks that it was enough.
fn report(counts: &Counts, cases: usize, took: Duration) {
    let total: usize = counts.0.iter().map(|(attempts, _)| attempts).sum();
    println!("model: {total} operations in {cases} sequences, {:.1} s", took.as_secs_f64());
    for (kind, (attempts, successes)) in KINDS.iter().zip(counts.0) {
        println!("model: {:<8} {attempts:>5} tried, {successes:>5} succeeded", format!("{kind:?}"));
    }
    if cases < CASES {
        return;
    }
    assert!(total >= OPERATIONS_MIN, "{total} operations are too few");
    for (kind, (attempts, successes)) in KINDS.iter().zip(counts.0) {
        let enough = successes * ATTEMPTS_A_SUCCESS_MAX >= attempts;
        assert!(attempts > 0 && enough, "of {attempts} attempts of {kind:?} only {successes} succeeded");
    }
}
