//! How long a function takes from the start of its process to its first answer, and what memory it has then: the artefact
//! that is deployed, started as Lambda starts it, with an event that waits, against services on this machine.
//!
//! It measures the processor's work and not the network's: the services answer without TLS and from next door, and the
//! artefact's file is in the system's cache.

mod cases;
mod lambda;
mod services;
mod world;

use crate::Failed;
use cases::{AT_NIGHT, CASES, Case};
use lambda::{Instance, Taken};
use std::path::{Path, PathBuf};
use tests::program::Directory;
use world::World;

/// What the median of a function's first answers may take from the start of its process, and its memory then.
const FIRST_ANSWER_MILLISECONDS_MAX: f64 = 10.0;
const RESIDENT_MB_MAX: f64 = 15.0;
/// What the artefact may weigh.
const ARTEFACT_MB_MAX: f64 = 12.0;
const BYTES_PER_MB: f64 = 1e6;
/// The invocations of an instance: one that it was started for, and one that finds it warm.
const INVOCATIONS: usize = 2;
/// Where `infra/build` puts the artefact.
const BOOTSTRAP: &str = "target/artefact/bootstrap/bootstrap";
const LOG_DEFAULT: &str = "error,dynoxide=off";
const LOG_CHARS_MAX: usize = 2_000;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    pub bootstrap: Option<PathBuf>,
    /// Starts of each function.
    pub runs: usize,
    /// Others use this machine too, so that time by the clock says nothing: the processor's time is held to the limit.
    pub is_shared: bool,
}

/// What was measured of one function, of each start.
#[derive(Default)]
struct Measured {
    first_milliseconds: Vec<f64>,
    warm_milliseconds: Vec<f64>,
    cpu_milliseconds: Vec<f64>,
    resident_mb: Vec<f64>,
    peak_mb: Vec<f64>,
}

pub fn run(plan: &Plan) -> Result<(), Failed> {
    crate::log(LOG_DEFAULT);
    let bootstrap = find(plan)?;
    let bytes = bootstrap.metadata()?.len();
    // One start more than is counted: it brings the file into the system's cache.
    let starts = plan.runs + 1;
    let directory = Directory::new("cold-start");
    let found = world::furnish(&directory.0, starts * INVOCATIONS)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let is_over = runtime.block_on(async {
        let world = World::start(directory, found).await?;
        println!("{}: {bytes} bytes; at most {ARTEFACT_MB_MAX} MB", bootstrap.display());
        println!("{} starts of each function; milliseconds to the first answer, and megabytes after it", plan.runs);
        println!();
        println!(
            "{:16} {:32} {:>7} {:>7} {:>7} {:>7} {:>9} {:>7}",
            "function", "first event", "median", "p90", "CPU", "warm", "resident", "peak"
        );
        let mut is_over = bytes as f64 / BYTES_PER_MB > ARTEFACT_MB_MAX;
        for case in &CASES {
            is_over |= measure(&world, case, &bootstrap, starts).await?.print(case, plan.is_shared);
        }
        Ok::<_, Failed>(is_over)
    })?;
    println!();
    let time = if plan.is_shared { " of CPU" } else { "" };
    println!("at most {FIRST_ANSWER_MILLISECONDS_MAX} ms{time} and {RESIDENT_MB_MAX} MB resident (medians)");
    println!("{AT_NIGHT}'s first answer is a night's work that nobody waits for: its time is not held to that");
    match is_over {
        true => Err(Failed::Because("that is too much: see the first line, and those marked with *".to_owned())),
        false => Ok(()),
    }
}

fn find(plan: &Plan) -> Result<PathBuf, Failed> {
    let path = plan.bootstrap.clone().unwrap_or_else(|| BOOTSTRAP.into());
    let missing = |_| Failed::Because(format!("{} is not there: `infra/build x86_64` makes it", path.display()));
    path.canonicalize().map_err(missing)
}

/// Starts a function so often. The first start does not count.
async fn measure(world: &World, case: &Case, bootstrap: &Path, starts: usize) -> Result<Measured, Failed> {
    let environment = world.environment(case.handler)?;
    let mut measured = Measured::default();
    for start in 0..starts {
        let log = world.log()?;
        let [cold, warm] = [0, 1].map(|invocation| case.event(world, start * INVOCATIONS + invocation));
        let once = async {
            let begun = Instance::start(bootstrap, case.handler, &environment, &log, &cold?).await;
            let (mut instance, first, answer) = begun?;
            let taken = instance.taken();
            case.check(&answer)?;
            let (warm, answer) = instance.invoke(&warm?).await?;
            case.check(&answer)?;
            instance.stop().await?;
            Ok((first, warm, taken))
        };
        let (first, warm, taken) = once.await.map_err(|error: Failed| {
            let log = world.logged();
            let tail = log.char_indices().rev().nth(LOG_CHARS_MAX).map_or(0, |(at, _)| at);
            Failed::Because(format!("{}: {error}\n{}", case.handler, &log[tail..]))
        })?;
        if start > 0 {
            measured.add(first, warm, taken);
        }
    }
    Ok(measured)
}

impl Measured {
    fn add(&mut self, first: f64, warm: f64, taken: Taken) {
        self.first_milliseconds.push(first);
        self.warm_milliseconds.push(warm);
        self.cpu_milliseconds.push(taken.cpu_milliseconds);
        self.resident_mb.push(taken.resident_mb);
        self.peak_mb.push(taken.peak_mb);
    }

    /// Prints a line of the table; whether something in it is too much.
    fn print(&self, case: &Case, is_shared: bool) -> bool {
        let (median, resident) = (of(&self.first_milliseconds, 50), of(&self.resident_mb, 50));
        let cpu = of(&self.cpu_milliseconds, 50);
        let judged = if is_shared { cpu } else { median };
        let is_slow = case.handler != AT_NIGHT && judged > FIRST_ANSWER_MILLISECONDS_MAX;
        let is_over = is_slow || resident > RESIDENT_MB_MAX;
        println!(
            "{:16} {:32} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>9.2} {:>7.2}{}",
            case.handler,
            case.what,
            median,
            of(&self.first_milliseconds, 90),
            cpu,
            of(&self.warm_milliseconds, 50),
            resident,
            of(&self.peak_mb, 50),
            if is_over { " *" } else { "" }
        );
        is_over
    }
}

/// The value that so many of a hundred do not exceed.
fn of(values: &[f64], of_hundred: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() * of_hundred).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or(0.0)
}
