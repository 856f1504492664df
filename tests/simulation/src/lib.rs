//! A deterministic simulation of the box office: the real handlers, the real AWS client and the real payment client
//! over the embedded table and the provider's sandbox, on one thread, where every call that leaves a process waits at
//! a gate until a seed decides what becomes of it.
//!
//! | module | holds |
//! |---|---|
//! | `choices` | decisions: from a seed, or from a script |
//! | `gate` | where calls wait |
//! | `tables`, `wires` | what lies below the clients: the table, the bus, the provider |
//! | `queues`, `world` | queues, streams, webhooks, schedules, processes and their clocks |
//! | `explore` | every order of events, for two buyers |
//! | `faults` | what goes wrong, counted |
//! | `people` | buyers, a gate, an administrator |
//! | `checks` | what must hold after every run |
//! | `paths` | a crash at every call of every happy path |
//! | `shrink` | a failing run made short |
//! | `mutants` | conditions to lose |

mod checks;
mod choices;
mod explore;
mod faults;
mod gate;
pub mod mutants;
mod paths;
mod people;
mod queues;
mod run;
mod shrink;
mod subscribers;
mod tables;
mod wires;
mod world;

pub use explore::{Explored, Extent, Race, explore};
pub use faults::KINDS;
pub use gate::Outcome;
pub use mutants::{MUTANTS, Mutant};
pub use paths::{Outcomes, PATHS, crash_points, crashes, every_fault};
pub use run::{Ground, Report, run_seed};
pub use shrink::shorten;

/// A run is many small pieces of memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
