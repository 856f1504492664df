//! The part of the simulation that runs with every `cargo test`; `cargo run --release -p simulation` runs as much as one
//! likes.

use simulation::{Extent, Ground, KINDS, MUTANTS, PATHS, Race, crash_points, crashes, explore, run_seed, shorten};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const SEEDS: u64 = 500;
/// One for each core of a small machine.
const THREADS: usize = 2;
/// Seeds within which a lost condition is looked for, to have something to make short.
const MUTANT_SEEDS_MAX: u64 = 50;
/// Decisions of a race that are made in every way.
const DECISIONS: usize = 5;

#[test]
fn a_crash_at_every_call_loses_nothing() {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let ground = Ground::prepare();
                while let Some(path) = PATHS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    crash_points(&ground, path, None, crashes, |index, outcome, report| {
                        let trace = report.trace.join("\n");
                        assert!(
                            report.wrong.is_empty(),
                            "{}, call {index} {outcome:?}: {:#?}\n{trace}",
                            path.name,
                            report.wrong
                        );
                    });
                }
            });
        }
    });
}

#[test]
fn hundreds_of_seeds_hold_and_every_fault_comes() {
    let (next, counts) = (AtomicU64::new(1), Mutex::new(BTreeMap::<&str, usize>::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let ground = Ground::prepare();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS {
                        return;
                    }
                    let report = run_seed(&ground, seed, None);
                    if !report.wrong.is_empty() {
                        println!("seed {seed} fails: {:#?}", report.wrong);
                        let (short, _) = shorten(&ground, seed, None, report);
                        panic!("seed {seed}: {}\n{:#?}", short.trace.join("\n"), short.wrong);
                    }
                    let mut counts = counts.lock().expect("nobody panics with this");
                    for (kind, times) in report.faults {
                        *counts.entry(kind).or_default() += times;
                    }
                }
            });
        }
    });
    let counts = counts.into_inner().expect("nobody panicked");
    println!("{counts:#?}");
    for kind in KINDS {
        assert!(counts.get(kind).is_some_and(|times| *times > 0), "{kind} never happened in {SEEDS} seeds");
    }
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    let (one, other) = (Ground::prepare(), Ground::prepare());
    for seed in 1..=5 {
        let first = run_seed(&one, seed, None).trace.join("\n");
        // What ran before in the same place leaves nothing behind.
        run_seed(&other, seed + 100, None);
        assert_eq!(first, run_seed(&other, seed, None).trace.join("\n"), "seed {seed}");
    }
}

#[test]
fn a_lost_condition_is_found_out_and_its_run_made_short() {
    let ground = Ground::prepare();
    // One that is found out soon.
    let mutant = MUTANTS.iter().find(|mutant| mutant.name == "a repeated request writes its order anew");
    let mutant = mutant.expect("it is in the list");
    let failed = (1..=MUTANT_SEEDS_MAX).map(|seed| (seed, run_seed(&ground, seed, Some(mutant))));
    let (seed, report) = failed.into_iter().find(|(_, report)| !report.wrong.is_empty()).expect("it is found out");
    let lines = report.trace.len();
    let (short, _) = shorten(&ground, seed, Some(mutant), report);
    assert!(!short.wrong.is_empty() && short.trace.len() <= lines, "{} of {lines} lines", short.trace.len());
}

#[test]
fn every_order_of_the_first_calls_of_a_race_holds() {
    let ground = Ground::prepare();
    for race in Race::ALL {
        let explored = explore(&ground, race, None, DECISIONS, usize::MAX);
        let trace = explored.wrong.map(|report| format!("{}\n{:#?}", report.trace.join("\n"), report.wrong));
        assert_eq!(trace, None, "{race:?}");
        assert_eq!(explored.extent, Extent::AllToDepth, "{race:?}: {} runs", explored.runs);
    }
}
