//! Every order in which the calls of two buyers, an expiry and a message that comes twice can happen.
//!
//! A run follows a script of decisions and then, at each decision that is new, goes the dull way and notes the others
//! as scripts to follow later. A state of the whole that another run has come to already is not gone on from: what
//! follows from it was seen.

use crate::mutants::Mutant;
use crate::paths::{errand, others, pays};
use crate::people::{Back, Errand, Then};
use crate::run::{Ground, Report};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// What all runs of an exploration know together.
#[derive(Default)]
pub struct Explorer {
    script: Vec<u32>,
    taken: Vec<u32>,
    /// Decisions beyond which everything goes the dull way.
    depth_max: usize,
    was_cut: bool,
    /// This run came to a state that another had come to.
    pub has_been_here: bool,
    /// States, by their digests, and after how many decisions they were come to at the soonest.
    visited: HashMap<[u8; 16], usize>,
    /// Scripts yet to follow.
    open: Vec<Vec<u32>>,
    /// What may still happen once: time passing, the sweeper, a message twice.
    pub may_pass: bool,
    pub may_sweep: bool,
    pub may_repeat: bool,
}

/// What came of an exploration.
pub struct Explored {
    pub runs: usize,
    pub states: usize,
    pub extent: Extent,
    pub wrong: Option<Report>,
}

/// How far an exploration went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent {
    /// Every way, to its end.
    All,
    /// Every way, as far as decisions were to be made.
    AllToDepth,
    /// There were too many ways, or one was wrong.
    Some,
}

impl Explorer {
    fn begin(&mut self, script: Vec<u32>) {
        self.script = script;
        self.taken.clear();
        self.has_been_here = false;
        (self.may_pass, self.may_sweep, self.may_repeat) = (true, true, true);
    }

    /// Which of so many ways to go from a state; nothing if all of them were gone already.
    pub fn choose(&mut self, count: usize, state: &str) -> Option<usize> {
        let at = self.taken.len();
        if at >= self.depth_max {
            self.was_cut = true;
            return Some(0);
        }
        let choice = match self.script.get(at) {
            Some(choice) => *choice,
            None => {
                let digest = Sha256::digest(state);
                let digest = digest[..16].try_into().expect("a digest has 32 bytes");
                if self.visited.get(&digest).is_some_and(|soonest| *soonest <= at) {
                    self.has_been_here = true;
                    return None;
                }
                self.visited.insert(digest, at);
                for other in 1..u32::try_from(count).expect("there are never so many ways on") {
                    self.open.push([self.taken.as_slice(), &[other]].concat());
                }
                0
            }
        };
        self.taken.push(choice);
        Some(choice as usize)
    }
}

/// Which calls meet.
#[derive(Clone, Copy, Debug)]
pub enum Race {
    /// One buyer has paid: what settles it meets the other's whole purchase.
    Settling,
    /// Both ask for seats at once.
    Placing,
    /// One gives tickets back: what moves the money meets itself, when it is asked for twice.
    Refunding,
}

impl Race {
    pub const ALL: [Self; 3] = [Self::Placing, Self::Settling, Self::Refunding];

    /// Messages that stay where they are until it begins: those that have this text.
    pub fn held_back(self) -> &'static str {
        match self {
            Self::Settling | Self::Placing => "",
            Self::Refunding => "refund.requested",
        }
    }

    /// Who comes calmly before it, and who comes to it.
    fn people(self) -> (Vec<Errand>, Vec<Errand>) {
        match self {
            Self::Settling => (vec![errand(pays(Back::Keep))], others()),
            Self::Placing => (Vec::new(), [vec![errand(Then::Abandon)], others()].concat()),
            Self::Refunding => (vec![errand(pays(Back::One))], Vec::new()),
        }
    }
}

/// Goes every way, as far as `depth_max` decisions and `runs_max` runs reach.
pub fn explore(
    ground: &Ground,
    race: Race,
    mutant: Option<&'static Mutant>,
    depth_max: usize,
    runs_max: usize,
) -> Explored {
    let (first, second) = race.people();
    let mut explorer = Explorer { depth_max, open: vec![Vec::new()], ..Explorer::default() };
    let mut runs = 0;
    while runs < runs_max
        && let Some(script) = explorer.open.pop()
    {
        explorer.begin(script);
        let (report, back) = ground.race(race, (&first, &second), mutant, explorer);
        explorer = back;
        runs += 1;
        if !report.wrong.is_empty() {
            return Explored { runs, states: explorer.visited.len(), extent: Extent::Some, wrong: Some(report) };
        }
    }
    let extent = match (explorer.open.is_empty(), explorer.was_cut) {
        (true, false) => Extent::All,
        (true, true) => Extent::AllToDepth,
        (false, _) => Extent::Some,
    };
    Explored { runs, states: explorer.visited.len(), extent, wrong: None }
}
