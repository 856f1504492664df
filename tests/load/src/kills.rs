//! `kill -9` on the program with its data on disk, again and again, under buyers who come again when nobody answers.

use crate::Failed;
use crate::shop::{Shop, Told, has_seats};
use crate::soak::{is_at_rest, open};
use boxoffice::{Data, Options, Runner};
use domain::orders::{Order, OrderState, TicketState};
use platform::Clock;
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};
use tests::program::{Directory, Victim, free_address, orders_on_disk};
use tests::{Api, Audit};

/// Buyers at a time, how long each thinks at most before a step, and how many may come in all.
const CROWD: usize = 48;
const THINK_MILLISECONDS_MAX: u64 = 300;
const BUYERS_PER_ROUND_MAX: usize = 1_000;
/// Holds each answer of the provider back, so that many orders are at it at each kill.
const PROVIDER_DELAY_MILLISECONDS: u64 = 150;
/// How long the box office lives under load.
const LOAD_MILLISECONDS: std::ops::RangeInclusive<u64> = 1_000..=3_000;
/// Past the end of every hold.
const SHIFT_SECONDS: i64 = 660;
const REST_SECONDS_MAX: u64 = 180;
const LOG_DEFAULT: &str = "error,dynoxide=off";

/// What was found wrong, and what was there to be lost.
#[derive(Default)]
struct Found {
    lost: usize,
    /// Orders on which buyers were at work at the kills, by state.
    states: BTreeMap<&'static str, usize>,
}

pub fn run(kills: usize) -> Result<(), Failed> {
    crate::log(LOG_DEFAULT);
    let (started, directory) = (Instant::now(), Directory::new("kills"));
    let data = directory.0.join("data");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shop = prepare(&data, kills * BUYERS_PER_ROUND_MAX).await?;
        let mut found = Found::default();
        sell(&shop, &data, kills, &mut found).await?;
        let told = shop.told.borrow().len();
        let paid = shop.told.borrow().iter().filter(|told| told.paid).count();
        let states: Vec<String> = found.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        println!("{kills} kills; {told} orders answered, {paid} of them seen to be paid");
        println!("on disk at the kills, of orders that somebody was at: {}", states.join(", "));
        rest(&shop, &data, &mut found).await?;
        let without = check_books(&shop, &data, &mut found).await?;
        println!("orders that were answered and are lost, or less far than answered: {}", found.lost);
        println!("captures without tickets or refund: {without}");
        println!("{:.0} seconds in all", started.elapsed().as_secs_f64());
        match found.lost + without {
            0 => Ok(()),
            _ => Err(Failed::Because("something was lost".to_owned())),
        }
    })
}

fn because(error: boxoffice::Error) -> Failed {
    Failed::Because(error.to_string())
}

/// Puts events on sale, and leaves the data for the program.
async fn prepare(data: &Path, buyers: usize) -> Result<Shop, Failed> {
    let options = Options { data: Data::Dir(data.to_owned()), schedules: false, ..Options::default() };
    let running = Runner::start(options).await.map_err(because)?;
    let house = open(&running, buyers).await?;
    running.settled().await.map_err(because)?;
    let signer = running.app("register").map_err(because)?;
    let address = free_address();
    let api = Api::new(&format!("http://{address}"), Some(signer));
    let mut shop = Shop::new(api, house, running.secrets.clone(), Clock::default(), buyers);
    shop.think = Duration::from_millis(THINK_MILLISECONDS_MAX);
    running.stop().await;
    Ok(shop)
}

fn start(shop: &Shop, data: &Path, more: &[&str]) -> Victim {
    let address = shop.api.url.strip_prefix("http://").expect("it was made so");
    Victim::start(data, address, more)
}

/// Lets buyers come one after the other while the box office is killed and started, and waits until the last has gone.
async fn sell(shop: &Shop, data: &Path, kills: usize, found: &mut Found) -> Result<(), Failed> {
    let over = Cell::new(false);
    let come = async |_| {
        while !over.get() {
            shop.visit().await?;
        }
        Ok::<_, Failed>(())
    };
    let crowd = futures_util::future::try_join_all((0..CROWD).map(come));
    let delay = ["--sandbox-delay-ms", &PROVIDER_DELAY_MILLISECONDS.to_string()];
    let mut victim = start(shop, data, &delay);
    let kill = async {
        let mut checked = 0;
        for round in 1..=kills {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(LOAD_MILLISECONDS))).await;
            victim.kill();
            let told = shop.told.borrow().clone();
            let place = data.to_owned();
            // Buyers find nobody meanwhile.
            let orders = tokio::task::spawn_blocking(move || orders_on_disk(&place)).await;
            let states = states(&told, &orders.expect("the data can be read"));
            victim = start(shop, data, &delay);
            let new = &told[checked..];
            let lost = lost(shop, new).await?;
            let answered = new.len();
            println!("kill {round:>3}: {answered:>4} more orders answered, {lost} lost; open: {states:?}");
            for (state, count) in states {
                *found.states.entry(state).or_default() += count;
            }
            (found.lost, checked) = (found.lost + lost, told.len());
        }
        over.set(true);
        Ok::<_, Failed>(())
    };
    // Those who are there when the killing ends go on to what they came for.
    let ends = futures_util::future::try_join(crowd, kill).await;
    victim.kill();
    ends.map(drop)
}

/// The states of the orders that buyers are at, as they are on disk.
fn states(told: &[Told], orders: &[Order]) -> BTreeMap<&'static str, usize> {
    let open: HashSet<_> = told.iter().filter(|told| told.open).map(|told| told.order).collect();
    let mut states = BTreeMap::new();
    for order in orders.iter().filter(|order| open.contains(&order.id)) {
        let name = match order.state {
            OrderState::Held => "held",
            OrderState::Paying => "paying",
            OrderState::Settling => "settling",
            OrderState::Paid => "paid",
            OrderState::Refunding => "refunding",
            _ => "other",
        };
        *states.entry(name).or_default() += 1;
    }
    states
}

/// How many of these orders are not there for their buyers, are of other seats, or less far than they were told.
async fn lost(shop: &Shop, told: &[Told]) -> Result<usize, Failed> {
    let mut lost = 0;
    for one in told {
        let (path, buyer) = (format!("/orders/{}", one.order), &shop.buyers[one.buyer]);
        let reply = shop.ask(|| shop.api.ask("GET", &path).by(buyer)).await;
        let reply = reply.ok_or_else(|| Failed::Because("the box office did not come back".to_owned()))?;
        let (_, seats) = shop.house.pair_at(one.pair)?;
        let status = reply.body["status"].as_str().unwrap_or_default();
        let is_paid = ["paid", "refunding", "partly_refunded", "refunded"].contains(&status);
        let is_given_back = ["partly_refunded", "refunded"].contains(&status);
        let is_kept = reply.status == 200
            && has_seats(&reply.body, &seats)
            && (is_paid || !one.paid)
            && (is_given_back || !one.given_back)
            && (status == "cancelled" || !one.given_up);
        if !is_kept {
            println!("LOST {one:?}: {} {}", reply.status, reply.text());
            lost += 1;
        }
    }
    Ok(lost)
}

/// Lets every hold end and everything come to rest, and looks at all that was answered once more.
async fn rest(shop: &Shop, data: &Path, found: &mut Found) -> Result<(), Failed> {
    let mut victim = start(shop, data, &["--clock-shift", &SHIFT_SECONDS.to_string()]);
    let (begun, told) = (Instant::now(), shop.told.borrow().clone());
    let mut waiting: Vec<Told> = told.clone();
    while !waiting.is_empty() {
        let mut still = Vec::new();
        for one in waiting {
            let (path, buyer) = (format!("/orders/{}", one.order), &shop.buyers[one.buyer]);
            let reply = shop.ask(|| shop.api.ask("GET", &path).by(buyer)).await;
            let status = reply.and_then(|reply| serde_json::from_value(reply.body["status"].clone()).ok());
            if !status.is_some_and(is_at_rest) {
                still.push(one);
            }
        }
        if begun.elapsed().as_secs() > REST_SECONDS_MAX {
            println!("{} orders do not come to rest", still.len());
            break;
        }
        waiting = still;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    found.lost += lost(shop, &told).await?;
    victim.kill();
    Ok(())
}

/// Behind the doors: every order is at rest, no message is left, and money, tickets, seats and journal agree. Returns how
/// many captures have neither tickets nor a refund.
async fn check_books(shop: &Shop, data: &Path, found: &mut Found) -> Result<usize, Failed> {
    let clock = Clock::default();
    clock.advance(SHIFT_SECONDS);
    let options = Options { data: Data::Dir(data.to_owned()), clock, schedules: false, ..Options::default() };
    let running = Runner::start(options).await.map_err(because)?;
    running.settled().await.map_err(because)?;
    for name in running.queues().names() {
        let left = running.queues().bodies(name).map_err(because)?.len();
        if left > 0 {
            return Err(Failed::Because(format!("{left} messages are left in {name}")));
        }
    }
    let audit = Audit::of(&running).await;
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for order in &audit.orders {
        *states.entry(format!("{:?}", order.state)).or_default() += 1;
    }
    println!("at the end: {states:?}");
    if let Some(order) = audit.orders.iter().find(|order| !is_at_rest(order.state)) {
        return Err(Failed::Because(format!("an order is not at rest: {order:?}")));
    }
    found.lost += shop.lost(&audit.orders);
    let without = without_tickets_or_refund(&audit);
    if without == 0 {
        audit.check();
        println!("journal, provider's books, seats and tickets agree: {} entries", audit.entries.len());
    }
    running.stop().await;
    Ok(without)
}

fn without_tickets_or_refund(audit: &Audit) -> usize {
    let by_payment: BTreeMap<_, _> =
        audit.orders.iter().filter_map(|order| Some((order.payment.as_deref()?, order))).collect();
    let moved = audit.moved();
    let captured: Vec<_> = moved.iter().filter(|(_, (captured, _))| *captured > 0).collect();
    println!("{} captures at the provider", captured.len());
    let is_without = |(intent, (captured, given_back)): &&(&&str, &(i64, i64))| {
        let has_tickets = by_payment.get(**intent).is_some_and(|order| {
            let is_whole = |state| matches!(state, TicketState::Valid | TicketState::Refunded);
            order.tickets().next().is_some() && order.tickets().all(|(.., state)| is_whole(state))
        });
        !has_tickets && given_back < captured
    };
    captured.iter().filter(is_without).count()
}
