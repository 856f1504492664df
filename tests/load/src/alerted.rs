//! People who wait for the sale of one event, and are all told of it at the messenger's pace: that each is, once, in the order
//! in which they waited, and what that takes.
//!
//! Everything but the people is real: the event is published over HTTP, the functions go through it queue by queue, and the
//! messenger's client talks HTTP to the sandbox, which has Telegram's limits.

mod crowd;
mod faults;
mod order;
mod pace;
pub mod turns;
mod watch;

use crate::Failed;
use boxoffice::secrets::LocalSecrets;
use boxoffice::template::{System, TEMPLATE};
use boxoffice::{Options, Running};
use crowd::{Crowd, Waiting};
use jiff::{SignedDuration, Timestamp};
use platform::Clock;
use sandbox::telegram::{Bot, Limits};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::{TestApp, id, seat};
use watch::Watch;

/// What Telegram takes: messages a second in all chats, and what passes between two in one chat.
const ALL_PER_SECOND_MAX: u32 = 30;
const CHAT_PAUSE: Duration = Duration::from_secs(1);
/// How long after now the sale opens, and the event begins.
const ON_SALE_DAYS: i64 = 7;
const STARTS_DAYS: i64 = 60;
/// For how long the clock is moved, by what each person takes at the messenger's pace, and beside that.
const SECONDS_PER_PERSON_MAX: f64 = 0.06;
const SECONDS_MAX: usize = 1_800;
/// How often one waits for quiet before everything has come to a standstill: a wait is a minute.
const WAITS_MAX: usize = 60;
/// How often the live run looks.
const LOOK_MILLISECONDS: u64 = 50;
/// Memory of this process, the box office and the sandbox in it.
const MEMORY_GIB_MAX: f64 = 6.0;
const KIB_PER_GIB: f64 = 1024.0 * 1024.0;
const QUEUE: &str = "Deliveries";
/// The chat of somebody who does not wait for the event.
const BUYER_CHAT: i64 = 7;
const MILLISECONDS_PER_SECOND: i64 = 1_000;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alerted {
    /// The clock is moved a second at a time.
    Simulated { people: usize },
    /// The clock goes by itself.
    Live { people: usize },
    /// So many of the messenger's calls in a hundred fail, by a seed.
    Faults { people: usize, percent: usize, seed: u64 },
    /// Turns alone, taken by so many processes for so long each way.
    Processes { processes: usize, seconds: usize },
}

pub fn run(what: Alerted) -> Result<(), Failed> {
    crate::log("warn,dynoxide=error,functions=error,boxoffice=error");
    if cfg!(debug_assertions) {
        eprintln!("load: this is a debug build, which is 10 to 20 times slower; add --release");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("worker").enable_all().build()?;
    runtime.block_on(async {
        match what {
            Alerted::Simulated { people } => told(people, false).await,
            Alerted::Live { people } => told(people, true).await,
            Alerted::Faults { people, percent, seed } => faults::run(people, percent, seed).await,
            Alerted::Processes { processes, seconds } => turns::run(processes, seconds).await,
        }
    })
}

pub fn because(error: impl ToString) -> Failed {
    Failed::Because(error.to_string())
}

/// What the template describes.
fn system() -> System {
    let here = "http://127.0.0.1";
    let (parameters, _) = boxoffice::parameters::parameters(here, here, here, &LocalSecrets::generate());
    System::parse(TEMPLATE, &parameters).expect("a box office starts with it")
}

/// A box office, an event that is about to be published, and those who wait for it.
struct World {
    app: TestApp,
    watch: Watch,
    bot: Bot,
    event: String,
    /// Another one, which is on sale.
    other: String,
    crowd: Crowd,
    began: Timestamp,
    is_live: bool,
}

impl World {
    async fn start(people: usize, is_live: bool) -> Result<Self, Failed> {
        let watch = Watch::default();
        let options = tests::options();
        let clock = if is_live { Clock::default() } else { options.clock };
        let options = Options { clock, meter: true, code: Arc::new(watch.clone()), ..options };
        let app = TestApp::start_with(options).await;
        let bot = app.running.telegram.bot.clone();
        let began = app.running.now();
        let day = |days: i64| (began + SignedDuration::from_hours(24 * days)).to_string();
        let dates = json!({ "on_sale_from": day(ON_SALE_DAYS), "starts_at": day(STARTS_DAYS) });
        let hall = app.hall().await;
        let made = app.post(&app.admin, "/admin/events", &app.event_in(&hall, &dates)).await.expect(201);
        let event = id(&made).to_owned();
        let other = app.event(&hall, &json!({ "on_sale_from": day(-1), "starts_at": day(STARTS_DAYS) })).await;
        let started = Instant::now();
        let crowd = Crowd::gather(&app, &bot, &event, people).await?;
        println!("{people} people wait for the sale of one event, put into the table in {:.0?}", started.elapsed());
        bot.set_limits(Limits { chat_pause: Some(CHAT_PAUSE), all_per_second_max: Some(ALL_PER_SECOND_MAX) });
        Ok(Self { app, watch, bot, event, other, crowd, began, is_live })
    }

    fn running(&self) -> &Running {
        &self.app.running
    }

    /// Publishes the event.
    async fn announce(&self) {
        let path = format!("/admin/events/{}/publication", self.event);
        self.app.post(&self.app.admin, &path, &Value::Null).await.expect(200);
    }

    /// Waits until nothing can be done now.
    async fn quiet(&self) -> Result<(), Failed> {
        for _ in 0..WAITS_MAX {
            match self.running().settled().await {
                Err(boxoffice::Error::Unsettled { .. }) => {}
                done => return done.map_err(because),
            }
        }
        Err(because("it does not come to rest"))
    }

    /// Messages that are still to be delivered, now or later.
    fn left(&self) -> Result<usize, Failed> {
        let depth = self.running().queues().depth(QUEUE).map_err(because)?;
        Ok(depth.ready + depth.waiting + depth.in_flight)
    }

    /// Lets time pass until all messages are delivered.
    async fn drive(&self) -> Result<(), Failed> {
        let seconds_max = SECONDS_MAX + (self.crowd.people.len() as f64 * SECONDS_PER_PERSON_MAX) as usize;
        if self.is_live {
            let until = Instant::now() + Duration::from_secs(seconds_max as u64);
            while self.left()? > 0 {
                if Instant::now() > until {
                    return Err(because(format!("{} messages are left after {seconds_max} seconds", self.left()?)));
                }
                tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
            }
            return self.quiet().await;
        }
        for _ in 0..seconds_max {
            if self.left()? == 0 {
                return Ok(());
            }
            self.running().advance(1);
            self.quiet().await?;
        }
        Err(because(format!("{} messages are left after {seconds_max} seconds", self.left()?)))
    }

    /// Somebody buys a ticket of another event, and is told of it in a chat that they have. When.
    async fn buy(&self) -> Result<Timestamp, Failed> {
        let buyer = self.app.buyer();
        crowd::link(&self.app.app("messenger"), &self.bot, buyer.id, BUYER_CHAT, self.began).await?;
        self.app.buy(&buyer, &self.other, &json!([seat("Side", 1, 1)])).await;
        Ok(self.running().now())
    }

    /// How long whoever bought then had to wait for their ticket in the chat.
    fn check_buyer(&self, bought: Timestamp) -> Option<String> {
        let Some(told) = self.bot.messages(BUYER_CHAT).pop() else { return Some("a buyer was not told".to_owned()) };
        let seconds = (told.at_ms - bought.as_millisecond()) / MILLISECONDS_PER_SECOND;
        println!(
            "somebody who bought when all others had their turns had the ticket in the chat after {seconds} seconds"
        );
        None
    }

    /// What the bot wrote to each, in the order of the people.
    fn read(&self) -> Vec<Vec<sandbox::telegram::Message>> {
        let from_bot = |waiting: &Waiting| {
            let messages = self.bot.messages(waiting.chat).into_iter();
            messages.filter(|message| message.is_from_bot).collect()
        };
        self.crowd.people.iter().map(from_bot).collect()
    }

    /// Nothing was given up by a queue.
    fn check_dead_letters(&self) -> Result<(), Failed> {
        let dead = self.running().queues().dead_letter_queues().map_err(because)?;
        let letters: usize = dead.iter().map(|(_, letters)| letters).sum();
        println!("dead letters: {letters}");
        if letters > 0 { Err(because(format!("{dead:?}"))) } else { Ok(()) }
    }
}

async fn told(people: usize, is_live: bool) -> Result<(), Failed> {
    let world = World::start(people, is_live).await?;
    let calls = watch::count_calls(&world.bot);
    let before = Taken::now(&world);
    world.announce().await;
    let started = Instant::now();
    world.quiet().await?;
    let left = world.left()?;
    println!("announced, and a message for each on its way, in {:.0?}; {left} wait for their turn", started.elapsed());
    let first = Taken::now(&world);
    let bought = if is_live { None } else { Some(world.buy().await?) };
    world.drive().await?;
    let after = Taken::now(&world);
    let seconds = world.running().now().duration_since(world.began).as_secs_f64();
    println!("all of it: {:.0?}, and {seconds:.0} seconds by the clock", started.elapsed());

    let read = world.read();
    let mut wrong = Vec::new();
    wrong.extend(order::check_once(&read));
    wrong.extend(pace::check(&read, calls.made(), is_live));
    wrong.extend(order::check(&world.crowd.people, &read));
    wrong.extend(bought.and_then(|bought| world.check_buyer(bought)));
    wrong.extend(world.watch.check());
    let delivered = read.iter().map(Vec::len).sum();
    world.watch.print(delivered);
    after.print(&before, &first, delivered, is_live);
    wrong.extend(check_memory(&world));
    world.check_dead_letters()?;
    if wrong.is_empty() { Ok(()) } else { Err(because(wrong.join("; "))) }
}

/// What the tables and the processors have done so far.
struct Taken {
    /// Calls and units by operation.
    tables: BTreeMap<String, (f64, f64)>,
    cpu_ms: BTreeMap<String, f64>,
}

impl Taken {
    fn now(world: &World) -> Self {
        let meter = world.running().meter.as_ref().expect("it was asked for");
        let mut tables: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for ((operation, _), counts) in meter.counts() {
            let of = tables.entry(operation).or_default();
            of.0 += counts.calls as f64;
            of.1 += counts.read_units + counts.write_units;
        }
        let report = meter.report();
        let cpu = report["cpu_ms"].as_object().into_iter().flatten();
        Self { tables, cpu_ms: cpu.map(|(name, ms)| (name.clone(), ms.as_f64().unwrap_or(0.0))).collect() }
    }

    /// What one message took, since `before`.
    fn print(&self, before: &Self, first: &Self, delivered: usize, is_live: bool) {
        let each = |now: f64, then: f64| (now - then) / delivered.max(1) as f64;
        println!("a delivered message took of the tables:");
        for (operation, (calls, units)) in &self.tables {
            let none = (0.0, 0.0);
            let (then, middle) =
                (before.tables.get(operation).unwrap_or(&none), first.tables.get(operation).unwrap_or(&none));
            let all = each(*calls, then.0);
            if all < 0.01 {
                continue;
            }
            let later = if is_live { String::new() } else { format!(", {:.2} of them later", each(*calls, middle.0)) };
            println!("  {operation:<20} {all:>6.2} calls{later}, {:.2} units", each(*units, then.1));
        }
        let cpu = |group: &str| {
            each(self.cpu_ms.get(group).copied().unwrap_or(0.0), *before.cpu_ms.get(group).unwrap_or(&0.0))
        };
        let (own, engine, sandbox) = (cpu("functions"), cpu("engine"), cpu("sandbox"));
        println!(
            "and of the processor: {own:.2} ms of ours, {engine:.2} of the tables', {sandbox:.2} of the sandbox's"
        );
    }
}

fn check_memory(world: &World) -> Option<String> {
    let meter = world.running().meter.as_ref().expect("it was asked for");
    let gib = meter.report()["memory_peak_kib"].as_f64().unwrap_or(0.0) / KIB_PER_GIB;
    println!("memory: {gib:.2} GiB at most, with the sandbox and without the tables' file");
    (gib > MEMORY_GIB_MAX).then(|| format!("that is more than {MEMORY_GIB_MAX} GiB"))
}
