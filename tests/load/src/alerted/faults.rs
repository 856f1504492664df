//! The same while the messenger's calls fail in every way: nobody is lost, and told again only whose answer was lost.

use super::crowd::Waiting;
use super::{MILLISECONDS_PER_SECOND, World, because};
use crate::Failed;
use domain::chats::{ChatRef, ChatState};
use platform::messenger::telegram::NAME;
use sandbox::telegram::{Bot, Fault};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// For how long the messenger says it wants to be left alone.
const RETRY_SECONDS_MAX: u64 = 30;
/// Tells calls of one chat apart in what a seed makes of them.
const CALL_BITS: u32 = 48;
/// The messenger's pace, as `notify` has it; and how much longer those may take for whom nothing failed.
const CALLS_PER_SECOND: f64 = 25.0;
const SLOWER_MAX: f64 = 1.1;
const BESIDE_SECONDS_MAX: f64 = 10.0;

/// Calls that failed, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Failures {
    calls: u64,
    too_many: u64,
    forbidden: u64,
    broken: u64,
    /// Done, and not answered.
    lost: u64,
}

/// A messenger that fails by a seed: what happens to a call depends on its chat and on how often that was called before, and
/// not on who comes first.
#[derive(Clone, Default)]
struct Bad(Arc<Mutex<BTreeMap<i64, Failures>>>);

impl Bad {
    fn begin(bot: &Bot, percent: usize, seed: u64) -> Self {
        let bad = Self::default();
        // Seeds that are near each other are to have nothing in common.
        let (own, seed) = (bad.clone(), fastrand::Rng::with_seed(seed).u64(..));
        bot.set_fault(
            move |method, chat| if method == "sendMessage" { own.call(chat, percent, seed) } else { Fault::None },
        );
        bad
    }

    fn chats(&self) -> MutexGuard<'_, BTreeMap<i64, Failures>> {
        self.0.lock().expect("no panic holds this lock")
    }

    fn call(&self, chat: i64, percent: usize, seed: u64) -> Fault {
        let mut chats = self.chats();
        let of = chats.entry(chat).or_default();
        of.calls += 1;
        let mut rng = fastrand::Rng::with_seed(seed ^ chat.cast_unsigned() ^ (of.calls << CALL_BITS));
        if rng.usize(..100) >= percent {
            return Fault::None;
        }
        match rng.u8(..4) {
            0 => {
                of.too_many += 1;
                Fault::TooMany(rng.u64(1..=RETRY_SECONDS_MAX))
            }
            1 => {
                of.forbidden += 1;
                Fault::Status(403)
            }
            2 => {
                of.broken += 1;
                Fault::Status(500)
            }
            _ => {
                of.lost += 1;
                Fault::Lost
            }
        }
    }

    fn all(&self) -> Failures {
        self.chats().values().fold(Failures::default(), |sum, of| Failures {
            calls: sum.calls + of.calls,
            too_many: sum.too_many + of.too_many,
            forbidden: sum.forbidden + of.forbidden,
            broken: sum.broken + of.broken,
            lost: sum.lost + of.lost,
        })
    }
}

pub async fn run(people: usize, percent: usize, seed: u64) -> Result<(), Failed> {
    let world = World::start(people, false).await?;
    let bad = Bad::begin(&world.bot, percent, seed);
    let started = Instant::now();
    world.announce().await;
    world.quiet().await?;
    world.drive().await?;
    let seconds = world.running().now().duration_since(world.began).as_secs();
    println!("{people} notices, {:.0?}, and {seconds} seconds by the clock", started.elapsed());
    let Failures { calls, too_many, forbidden, broken, lost } = bad.all();
    println!(
        "of {calls} calls of the messenger: 429 {too_many}, 403 {forbidden}, 500 {broken}, done and not answered {lost} (seed {seed})"
    );
    let (mut came, mut last_ms) = (Came::default(), 0);
    for (waiting, messages) in world.crowd.people.iter().zip(world.read()) {
        let failures = bad.chats().get(&waiting.chat).copied().unwrap_or_default();
        if failures == (Failures { calls: 1, ..Failures::default() }) {
            last_ms = last_ms.max(messages.iter().map(|message| message.at_ms).max().unwrap_or(0));
        }
        came.check(&world, waiting, messages.len() as u64, failures).await?;
    }
    let Came { told, unreachable, repeats, mut wrong } = came;
    println!("told {told}, of chats that cannot be reached {unreachable}, lost {}", people - told - unreachable);
    println!("told again {repeats} times, of {lost} answers that were lost");
    let wrong_pace = check_others(last_ms - world.began.as_millisecond(), calls);
    world.watch.print(told);
    world.check_dead_letters()?;
    wrong.extend(wrong_pace);
    match wrong.first() {
        Some(first) => Err(because(format!("{} of them are wrong: {first}", wrong.len()))),
        None => Ok(()),
    }
}

/// Those for whom nothing failed did not wait for the others: they were told as if all calls were made at the messenger's pace.
fn check_others(took_ms: i64, calls: u64) -> Option<String> {
    let took = took_ms as f64 / MILLISECONDS_PER_SECOND as f64;
    let pace = calls as f64 / CALLS_PER_SECOND;
    println!(
        "those for whom nothing failed had their message within {took:.0} seconds; {calls} calls at the messenger's pace are {pace:.0}"
    );
    let is_late = took > pace * SLOWER_MAX + BESIDE_SECONDS_MAX;
    is_late.then(|| "those for whom nothing failed waited for others".to_owned())
}

/// What became of all.
#[derive(Default)]
struct Came {
    told: usize,
    unreachable: usize,
    repeats: u64,
    wrong: Vec<String>,
}

impl Came {
    async fn check(&mut self, world: &World, waiting: &Waiting, copies: u64, of: Failures) -> Result<(), Failed> {
        let app = world.app.app("notify");
        let at = ChatRef::new(NAME, &waiting.chat.to_string()).map_err(because)?;
        let chat = app.chats.get(&at).await.map_err(because)?.ok_or_else(|| because("a chat is gone"))?;
        let is_unreachable = chat.state == ChatState::Unreachable;
        let (notices, _) = app.notices.page(waiting.user, 2, None).await.map_err(because)?;
        self.told += usize::from(copies > 0);
        self.unreachable += usize::from(copies == 0 && is_unreachable);
        self.repeats += copies.saturating_sub(1);
        let mut must = |holds: bool, what: &str| {
            if !holds {
                self.wrong.push(format!("{at} has {copies} messages after {of:?}: {what}"));
            }
        };
        must(copies > 0 || is_unreachable, "lost");
        must(is_unreachable == (of.forbidden > 0), "a chat is one that cannot be reached if the messenger said so");
        must(copies <= 1 + of.lost, "told again though no answer was lost");
        must(notices.len() == 1, "it is not in the person's list");
        Ok(())
    }
}
