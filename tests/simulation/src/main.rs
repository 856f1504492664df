//! Runs the simulation for as long as one likes.

use simulation::{
    Extent, Ground, KINDS, MUTANTS, Mutant, Outcome, Outcomes, PATHS, Race, Report, crash_points, every_fault, explore,
    run_seed, shorten,
};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Seeds that are spent on a mutant at least, before it is said not to be found out.
const MUTANT_SEEDS_MIN: u64 = 1_000;

/// Decisions of a race that are made in every way with a mutant.
const MUTANT_DECISIONS: usize = 5;

const HELP: &str = "simulation [--seeds N] [--from SEED] [--threads N]   random runs (default 1,000 from 1)
simulation --seed SEED                              one run, with its trace
simulation faults                                   every fault at every call of every happy path
simulation interleavings [--depth N] [--runs N]     every order of two buyers' calls on the same seats
simulation mutants [--seeds N] [--only TEXT]             each condition lost in turn must be found out";

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::OFF).init();
    std::panic::set_hook(Box::new(|_| {}));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|arg| arg == name);
        at.map_or(Some(default), |at| args.get(at + 1)?.parse().ok())
    };
    let text = |name: &str| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)).map_or("", String::as_str)
    };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let (seeds, from, threads, depth) =
        (number("--seeds", 1_000), number("--from", 1), number("--threads", cores), number("--depth", 1_000));
    let Some(runs) = number("--runs", 1_000_000) else { return help() };
    let (Some(seeds), Some(from), Some(threads), Some(depth)) = (seeds, from, threads, depth) else { return help() };
    let held = match args.first().map(String::as_str) {
        Some("mutants") => mutants(seeds.max(MUTANT_SEEDS_MIN), threads, text("--only")),
        Some("faults") => faults(),
        Some("interleavings") => interleavings(depth, runs),
        Some("--seed") => match number("--seed", 0) {
            Some(seed) => one(seed),
            None => return help(),
        },
        None | Some("--seeds" | "--from" | "--threads") => many(from, seeds, threads),
        _ => return help(),
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn help() -> ExitCode {
    eprintln!("{HELP}");
    ExitCode::FAILURE
}

fn one(seed: u64) -> bool {
    let report = run_seed(&Ground::prepare(), seed, None);
    println!("{}", report.trace.join("\n"));
    println!("seed {seed}: {:?}; wrong: {:#?}", report.faults, report.wrong);
    report.wrong.is_empty()
}

fn many(from: u64, seeds: u64, threads: u64) -> bool {
    let started = Instant::now();
    let (counts, failed) = (Mutex::new(BTreeMap::<String, usize>::new()), Mutex::new(None));
    let next = AtomicU64::new(from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let ground = Ground::prepare();
                while failed.lock().expect("nobody panics").is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let report = run_seed(&ground, seed, None);
                    let mut counts = counts.lock().expect("nobody panics");
                    for (kind, times) in report.faults.iter().map(|(kind, times)| ((*kind).to_owned(), times)) {
                        *counts.entry(kind).or_default() += times;
                    }
                    for (end, times) in &report.ends {
                        *counts.entry(end.clone()).or_default() += times;
                    }
                    drop(counts);
                    if !report.wrong.is_empty() {
                        *failed.lock().expect("nobody panics") = Some((seed, report));
                    }
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    if let Some((seed, report)) = failed.into_inner().expect("nobody panics") {
        tell(seed, report, None);
        return false;
    }
    println!("{seeds} seeds from {from} in {seconds:.1} s, {:.0} a second; nothing is wrong", seeds as f64 / seconds);
    let counts = counts.into_inner().expect("nobody panics");
    for (name, times) in &counts {
        println!("{times:>10}  {name}");
    }
    KINDS.iter().all(|kind| counts.get(*kind).is_some_and(|times| *times > 0))
}

/// Makes a failing run short, and prints it.
fn tell(seed: u64, report: Report, mutant: Option<&'static Mutant>) {
    println!("seed {seed} fails: {:#?}", report.wrong);
    let lines = report.trace.len();
    let (short, runs) = shorten(&Ground::prepare(), seed, mutant, report);
    println!("{}", short.trace.join("\n"));
    println!(
        "seed {seed} fails, {} lines of trace made from {lines} in {runs} runs: {:#?}",
        short.trace.len(),
        short.wrong
    );
}

fn faults() -> bool {
    let ground = Ground::prepare();
    let mut held = true;
    for path in PATHS {
        let (started, mut runs, mut calls) = (Instant::now(), 0, 0);
        crash_points(&ground, path, None, every_fault, |index, outcome, report| {
            (runs, calls) = (runs + 1, calls.max(index + 1));
            if !report.wrong.is_empty() {
                held = false;
                println!(
                    "{}: {outcome:?} at call {index}: {:#?}\n{}",
                    path.name,
                    report.wrong,
                    report.trace.join("\n")
                );
            }
        });
        println!("{:<28} {calls:>4} calls, {runs:>5} runs, {:.1} s", path.name, started.elapsed().as_secs_f64());
    }
    held
}

fn interleavings(depth: u64, runs: u64) -> bool {
    let ground = Ground::prepare();
    let mut held = true;
    for race in Race::ALL {
        let started = Instant::now();
        let explored = explore(&ground, race, None, depth as usize, runs as usize);
        if let Some(report) = &explored.wrong {
            println!("{}\n{:#?}", report.trace.join("\n"), report.wrong);
        }
        let whole = match explored.extent {
            Extent::All => "all there are".to_owned(),
            Extent::AllToDepth => format!("all of {depth} decisions"),
            Extent::Some => "not all".to_owned(),
        };
        let seconds = started.elapsed().as_secs_f64();
        println!("{race:?}: {} runs, {} states, {whole}, in {seconds:.1} s", explored.runs, explored.states);
        held &= explored.wrong.is_none();
    }
    held
}

fn mutants(seeds: u64, threads: u64, only: &str) -> bool {
    let mut all_found = true;
    println!("| lost | found out by | what was wrong |\n|---|---|---|");
    for mutant in MUTANTS.iter().filter(|mutant| mutant.name.contains(only)) {
        match hunt(mutant, seeds, threads) {
            Some((by, report)) => {
                let wrong = report.wrong.first().map_or("", String::as_str);
                let wrong: String = wrong.chars().take(70).filter(|c| *c != '|' && *c != '\n').collect();
                println!("| {} | {by} | {wrong} |", mutant.name);
            }
            None => {
                all_found = false;
                println!("| {} | NOT by {seeds} seeds | |", mutant.name);
            }
        }
    }
    all_found
}

/// What fails with a mutant: a path by itself, a race, a seed, or else a path with a fault at one of its calls.
fn hunt(mutant: &'static Mutant, seeds: u64, threads: u64) -> Option<(String, Report)> {
    let by_seed = || hunt_by_seed(mutant, seeds, threads).map(|(seed, report)| (format!("seed {seed}"), report));
    hunt_by_path(mutant, |_, _| &[])
        .or_else(|| hunt_by_race(mutant))
        .or_else(by_seed)
        .or_else(|| hunt_by_path(mutant, every_fault))
}

fn hunt_by_path(mutant: &'static Mutant, outcomes: Outcomes) -> Option<(String, Report)> {
    let ground = Ground::prepare();
    PATHS.iter().find_map(|path| {
        let mut found = None;
        crash_points(&ground, path, Some(mutant), outcomes, |index, outcome, report| {
            if found.is_none() && !report.wrong.is_empty() {
                let fault = match outcome {
                    Outcome::Done => "no fault".to_owned(),
                    outcome => format!("{outcome:?} at call {index}"),
                };
                found = Some((format!("path \"{}\", {fault}", path.name), report));
            }
        });
        found
    })
}

fn hunt_by_race(mutant: &'static Mutant) -> Option<(String, Report)> {
    let ground = Ground::prepare();
    Race::ALL.into_iter().find_map(|race| {
        let wrong = explore(&ground, race, Some(mutant), MUTANT_DECISIONS, usize::MAX).wrong?;
        Some((format!("race {race:?}"), wrong))
    })
}

/// The first seed found that fails with a mutant.
fn hunt_by_seed(mutant: &'static Mutant, seeds: u64, threads: u64) -> Option<(u64, Report)> {
    let (next, is_found, found) = (AtomicU64::new(1), AtomicBool::new(false), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let ground = Ground::prepare();
                while !is_found.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds {
                        return;
                    }
                    let report = run_seed(&ground, seed, Some(mutant));
                    if !report.wrong.is_empty() {
                        is_found.store(true, Ordering::Relaxed);
                        // The smallest of those that were at work when the first was found.
                        let mut found = found.lock().expect("nobody panics");
                        if found.as_ref().is_none_or(|(other, _)| seed < *other) {
                            *found = Some((seed, report));
                        }
                    }
                }
            });
        }
    });
    found.into_inner().expect("nobody panics")
}
