//! Wires on which one call in a hundred goes wrong, to the tables and to the payment provider.

use boxoffice::Wires;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tests::{Fault, Provider, Table};

const FAULTS_PERCENT: f64 = 1.0;
const LATE_MILLISECONDS_MAX: u64 = 500;

/// Each kind of fault, by name: 0 to 4 of the tables, the others of the provider.
const KINDS: [&str; 11] = [
    "table: refused",
    "table: lost answer",
    "table: late",
    "table: throttled",
    "table: conflict",
    "provider: refused",
    "provider: lost answer",
    "provider: late",
    "provider: 429",
    "provider: 500",
    "provider: 503",
];
const TABLE_KINDS: usize = 5;

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    faults: [AtomicU64; KINDS.len()],
}

/// Both wires.
#[derive(Default)]
pub struct BadWires {
    table: Table,
    provider: Provider,
    counts: Arc<Counts>,
}

impl BadWires {
    pub fn wires(&self) -> Wires {
        Wires { dynamodb: self.table.wires().dynamodb, transport: self.provider.wires().transport }
    }

    /// From now on calls go wrong.
    pub fn spoil(&self) {
        let counts = self.counts.clone();
        self.table.set(move |_, _| counts.throw(0..TABLE_KINDS));
        let counts = self.counts.clone();
        self.provider.set(move || counts.throw(TABLE_KINDS..KINDS.len()));
    }

    pub fn repair(&self) {
        self.table.repair();
        self.provider.repair();
    }

    /// Calls that went over the wires while they were bad, and how many of them went wrong.
    pub fn calls_and_faults(&self) -> (u64, u64) {
        let faults = self.counts.faults.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        (self.counts.calls.load(Ordering::Relaxed), faults)
    }

    /// How many there were of each kind.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.into_iter().zip(self.counts.faults.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

impl Counts {
    fn throw(&self, kinds: std::ops::Range<usize>) -> Fault {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if fastrand::f64() * 100.0 >= FAULTS_PERCENT {
            return Fault::None;
        }
        let kind = fastrand::usize(kinds);
        self.faults[kind].fetch_add(1, Ordering::Relaxed);
        match KINDS[kind].split_once(": ").expect("a kind has a place and a name").1 {
            "refused" => Fault::Refused,
            "lost answer" => Fault::Lost,
            "late" => Fault::Late(Duration::from_millis(fastrand::u64(1..=LATE_MILLISECONDS_MAX))),
            "throttled" | "429" => Fault::Throttled,
            "conflict" => Fault::Conflict,
            "500" => Fault::Status(500),
            _ => Fault::Status(503),
        }
    }
}
