//! Minutes of everything at a fixed rate, with one call in a hundred going wrong: nothing may pile up, be lost, or differ.

use crate::Failed;
use crate::args::Plan;
use crate::hall::House;
use crate::memory::{Memory, books_mib, files_mib};
use crate::server::started;
use crate::shop::Shop;
use crate::wires::BadWires;
use boxoffice::{Data, Options, Runner, Running};
use domain::orders::OrderState;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use platform::Clock;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::program::Directory;
use tests::{Api, Audit};

/// Buyers that come in a second.
pub const BUYERS_PER_SECOND: u32 = 40;
/// Buyers who are there at once; more are turned away, and counted.
const CROWD_MAX: usize = 1_000;
const THINK_MILLISECONDS_MAX: u64 = 500;
const PRINT_SECONDS: u64 = 30;
const LOOK_SECONDS: u64 = 1;
/// The clock runs ahead in small jumps, so that holds end within the run and not all after it. No message is worked on for
/// so long that jumps would end its time.
const JUMP_EVERY_SECONDS: u64 = 15;
const JUMP_SECONDS: i64 = 60;
/// After the end: past every hold at once, then past every message's rest, so many times at most.
const HOLDS_END_SECONDS: i64 = 700;
const REST_SECONDS: i64 = 200;
const DRAINS_MAX: usize = 20;
/// Memory is the mean of so many seconds: after one third of the run, when caches and pools are full, and at its end.
const MEAN_SECONDS_MAX: usize = 30;
/// What it may have grown between the two, less what the sandbox's books take, which it keeps all in memory.
const GROWTH_MIB_MAX: f64 = 16.0;
const KIB_PER_MIB: f64 = 1024.0;
const LOG_DEFAULT: &str = "error,dynoxide=off,boxoffice=off,platform=off,functions=off";

/// Orders and memory of each second.
type Samples = Vec<(usize, Memory)>;

pub fn run(seconds: u64) -> Result<(), Failed> {
    crate::log(LOG_DEFAULT);
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("worker").enable_all().build()?;
    runtime.block_on(soak(seconds))
}

async fn soak(seconds: u64) -> Result<(), Failed> {
    let because = |error: boxoffice::Error| Failed::Because(error.to_string());
    let (directory, wires, clock) = (Directory::new("soak"), BadWires::default(), Clock::default());
    let data = directory.0.join("data");
    let place = Data::Dir(data.clone());
    let options = Options { data: place, clock: clock.clone(), wires: wires.wires(), ..Options::default() };
    let running = Runner::start(options).await.map_err(because)?;
    let buyers = usize::try_from(seconds).unwrap_or(usize::MAX).saturating_mul(BUYERS_PER_SECOND as usize);
    let house = open(&running, buyers).await?;
    let api = Api::new(&running.url, Some(running.app("register").map_err(because)?));
    let mut shop = Shop::new(api, house, running.secrets.clone(), clock, buyers);
    shop.think = Duration::from_millis(THINK_MILLISECONDS_MAX);

    wires.spoil();
    let samples = sell(&shop, &running, &wires, &data, seconds).await?;
    wires.repair();
    let letters = drain(&running).await?;
    for (kind, count) in wires.faults() {
        println!("{count:>8}  {kind}");
    }
    println!("{letters} dead letters were sent back after the faults had stopped; none is left");
    check_orders(&running, &shop).await?;
    let seen = shop.seen.take();
    println!("answers by status (0: none came): {:?}; {} buyers lost patience", seen.answers, seen.impatient);
    running.stop().await;
    check_memory(&samples, books_mib(&data.join("sandbox.sqlite"))?)
}

/// Venue, hall and events for so many buyers, made by an administrator.
pub async fn open(running: &Running, buyers: usize) -> Result<House, Failed> {
    House::open(&started(running).await?, &Plan { orders: buyers, ..Plan::default() }).await
}

/// Lets buyers come until the time is over, and waits until the last has gone.
async fn sell(shop: &Shop, running: &Running, wires: &BadWires, data: &Path, seconds: u64) -> Result<Samples, Failed> {
    let (started, mut crowd, mut samples, mut turned_away) = (Instant::now(), FuturesUnordered::new(), vec![], 0);
    let every = |duration| {
        let mut interval = tokio::time::interval(duration);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        interval
    };
    let mut come = every(Duration::from_secs(1) / BUYERS_PER_SECOND);
    let mut look = every(Duration::from_secs(LOOK_SECONDS));
    let mut jump = every(Duration::from_secs(JUMP_EVERY_SECONDS));
    samples.reserve_exact(usize::try_from(seconds / LOOK_SECONDS).unwrap_or(0) + 1);
    println!(
        "seconds  buyers  there   orders  paid  answers 2xx      4xx   503  other    calls  faults  letters   RSS MiB  own MiB  tables MiB"
    );
    while started.elapsed().as_secs() < seconds {
        tokio::select! {
            _ = come.tick() => match crowd.len() < CROWD_MAX {
                true => crowd.push(shop.visit()),
                false => turned_away += 1,
            },
            Some(end) = crowd.next() => end?,
            _ = jump.tick() => running.advance(JUMP_SECONDS),
            _ = look.tick() => {
                samples.push((shop.told.borrow().len(), Memory::now()));
                if started.elapsed().as_secs() % PRINT_SECONDS == 0 {
                    print(shop, running, wires, data, started, crowd.len());
                }
            }
        }
    }
    print(shop, running, wires, data, started, crowd.len());
    while let Some(end) = crowd.next().await {
        end?;
    }
    println!("{turned_away} buyers were turned away by this program, since {CROWD_MAX} were there");
    Ok(samples)
}

fn print(shop: &Shop, running: &Running, wires: &BadWires, data: &Path, started: Instant, there: usize) {
    let (told, seen, memory) = (shop.told.borrow(), shop.seen.borrow(), Memory::now());
    let answers = |range: std::ops::Range<u16>| seen.answers.range(range).map(|(_, count)| count).sum::<u64>();
    let busy = seen.answers.get(&503).copied().unwrap_or(0);
    let (calls, faults) = wires.calls_and_faults();
    println!(
        "{:>7} {:>7} {:>6} {:>8} {:>5} {:>12} {:>8} {:>5} {:>6} {:>8} {:>7} {:>8} {:>9.1} {:>8.1} {:>11.1}",
        started.elapsed().as_secs(),
        shop.buyers_seen(),
        there,
        told.len(),
        told.iter().filter(|told| told.paid).count(),
        answers(200..300),
        answers(400..500),
        busy,
        answers(0..200) + answers(500..1_000) - busy,
        calls,
        faults,
        letters(running),
        memory.resident_mib,
        memory.own_mib,
        files_mib(data, "tables"),
    );
}

/// The queues of dead letters.
fn graves(running: &Running) -> Vec<String> {
    let names = running.queues().names().filter(|name| name.ends_with("DeadLetters"));
    names.map(ToString::to_string).collect()
}

fn letters(running: &Running) -> usize {
    graves(running).iter().filter_map(|name| running.dead_letters(name).ok()).map(|letters| letters.len()).sum()
}

/// Does what time and an operator do until every order is at rest and no message is left. Returns how many dead letters the
/// operator sent back.
async fn drain(running: &Running) -> Result<usize, Failed> {
    let because = |error: boxoffice::Error| Failed::Because(error.to_string());
    let mut sent_back = 0;
    running.settled().await.map_err(because)?;
    running.advance(HOLDS_END_SECONDS);
    for _ in 0..DRAINS_MAX {
        running.run_schedule("sweep").await.map_err(because)?;
        running.settled().await.map_err(because)?;
        for name in graves(running) {
            sent_back += running.redrive(&name).map_err(because)?;
        }
        running.settled().await.map_err(because)?;
        let queues = running.queues();
        let mut left = 0;
        for name in queues.names() {
            left += queues.bodies(name).map_err(because)?.len();
        }
        let moving = Audit::of(running).await.orders.iter().filter(|order| !is_at_rest(order.state)).count();
        if left == 0 && moving == 0 {
            return Ok(sent_back);
        }
        println!("draining: {left} messages and {moving} orders are not at rest");
        running.advance(REST_SECONDS);
    }
    Err(Failed::Because("it does not come to rest".to_owned()))
}

pub fn is_at_rest(state: OrderState) -> bool {
    use OrderState::{Cancelled, Expired, Lost, Paid, PartlyRefunded, Refunded};
    matches!(state, Paid | PartlyRefunded | Refunded | Expired | Lost | Cancelled)
}

/// Every order that was answered is there and as its buyer saw it; money, tickets, seats, and journal agree.
async fn check_orders(running: &Running, shop: &Shop) -> Result<(), Failed> {
    let audit = Audit::of(running).await;
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for order in &audit.orders {
        *states.entry(format!("{:?}", order.state)).or_default() += 1;
    }
    println!("orders at rest: {states:?}");
    let lost = shop.lost(&audit.orders);
    println!("{} orders were answered, {lost} of them are not as they were answered", shop.told.borrow().len());
    audit.check();
    let captured: i64 = audit.books.intents.iter().map(|intent| intent.amount_received).sum();
    let returned: i64 = audit.books.refunds.iter().map(|refund| refund.amount).sum();
    println!("books: captured {captured}, given back {returned}; the journal's {} entries agree", audit.entries.len());
    match lost {
        0 => Ok(()),
        _ => Err(Failed::Because("orders were lost".to_owned())),
    }
}

/// Says how memory went, and fails if it grew by more than the books of the sandbox.
fn check_memory(samples: &Samples, books_mib: f64) -> Result<(), Failed> {
    let window = MEAN_SECONDS_MAX.min(samples.len() / 3).max(1);
    let mean = |part: &[(usize, Memory)]| {
        let count = part.len().max(1) as f64;
        let orders = part.iter().map(|(orders, _)| *orders as f64).sum::<f64>() / count;
        (orders, part.iter().map(|(_, memory)| memory.own_mib).sum::<f64>() / count)
    };
    let third = samples.len() / 3;
    let (orders, begun) = mean(&samples[third..(third + window).min(samples.len())]);
    let (orders_end, ended) = mean(&samples[samples.len().saturating_sub(window)..]);
    let all = samples.last().map_or(1, |(orders, _)| (*orders).max(1)) as f64;
    let (more, grown) = ((orders_end - orders).max(1.0), ended - begun);
    let books = books_mib / all * more;
    println!(
        "memory of its own: {begun:.1} MiB after a third of the run, {ended:.1} MiB at its end (means of {window} s)"
    );
    println!(
        "  grown by {grown:.1} MiB in {more:.0} orders, {:.2} KiB each; the sandbox's books are {books_mib:.1} MiB, {:.2} KiB an order",
        grown * KIB_PER_MIB / more,
        books_mib * KIB_PER_MIB / all
    );
    println!(
        "  less the books' {books:.1} MiB: {:.1} MiB, {:.2} KiB an order; at most {GROWTH_MIB_MAX} MiB are called flat",
        grown - books,
        (grown - books) * KIB_PER_MIB / more
    );
    if grown - books > GROWTH_MIB_MAX {
        return Err(Failed::Because("memory is not flat".to_owned()));
    }
    Ok(())
}
