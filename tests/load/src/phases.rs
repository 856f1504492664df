//! What is measured, phase by phase.

use crate::Failed;
use crate::args::Plan;
use crate::bench::{Bench, Row, Used};
use crate::hall::{House, MAP_EVENTS, Pair};
use crate::http::{Answer, Connection};
use crate::people::Person;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::ids::OrderId;
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use serde::Deserialize;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// How often each map is read anew, and how long one is kept before that.
const MAP_ROUNDS: usize = 8;
const MAP_KEPT_MILLISECONDS: u64 = 1_050;
/// Maps that are read as they are kept.
const MAP_READS: usize = 20_000;
const ORDER_READS: usize = 5_000;
/// The fights: seats that all want, clients, and how often one client tries.
const ONE_SEAT_CLIENTS: usize = 1_000;
const ONE_SEAT_ROUNDS: usize = 5;
const SEATS: usize = 100;
const SEATS_CLIENTS: usize = 500;
const SEATS_TRIES_MAX: usize = 10;
/// Reads before a buyer gives up waiting.
const POLLS_MAX: usize = 100;
const POLL_MILLISECONDS_MAX: f64 = 1_000.0;
const POLL_MILLISECONDS_MIN: f64 = 5.0;

/// What buyers paid for, as they know it.
#[derive(Default)]
pub struct Sales {
    pub orders: Vec<Sale>,
}

/// A paid order.
pub struct Sale {
    pub order: OrderId,
    /// Index of the buyer.
    pub buyer: usize,
    /// Minor units.
    pub total: i64,
    pub seats: usize,
    pub is_refunded: Cell<bool>,
}

/// The part of an order that the buyers look at.
#[derive(Deserialize)]
struct Order {
    id: OrderId,
    total: Total,
    seats: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Total {
    amount: i64,
}

#[derive(Deserialize)]
struct Payment {
    payment_id: String,
    client_secret: String,
    publishable_key: String,
}

/// Somebody at a screen.
struct Client<'a> {
    person: &'a Person,
    /// Index of the person.
    buyer: usize,
    api: Connection,
    /// To the payment provider, for those who pay.
    provider: Option<Connection>,
}

/// So many clients, with the accounts shared out among them.
async fn clients<'a>(url: &str, people: &'a [Person], count: usize) -> Result<Vec<Client<'a>>, Failed> {
    let mut clients = Vec::with_capacity(count);
    for index in 0..count {
        let (buyer, mut api) = (index % people.len(), Connection::open(url).await?);
        people[buyer].keep_signed_in(&mut api).await?;
        clients.push(Client { person: &people[buyer], buyer, api, provider: None });
    }
    Ok(clients)
}

/// The same with a connection to the provider each.
async fn payers<'a>(
    bench: &Bench,
    people: &'a [Person],
    plan: &Plan,
    provider: &str,
) -> Result<Vec<Client<'a>>, Failed> {
    let mut clients = clients(&bench.url, people, plan.clients).await?;
    for client in &mut clients {
        client.provider = Some(Connection::open(provider).await?);
    }
    Ok(clients)
}

impl Client<'_> {
    async fn hold(&mut self, seats: &str, key: &str) -> Result<Answer, Failed> {
        let request = self.person.sign(Request::post("/orders")).header("idempotency-key", key);
        self.api.send_json(request, seats.to_owned()).await
    }

    /// From a held order to a paid one.
    async fn pay(&mut self, order: &Order, patience: &Patience) -> Result<(), Failed> {
        let request = self.person.sign(Request::post(format!("/orders/{}/payment", order.id)));
        let request = request.header("idempotency-key", "pay");
        let payment: Payment = self.api.send(request, "").await?.expect(201)?.json()?;
        let credentials = STANDARD.encode(format!("{}:", payment.publishable_key));
        let request = Request::post(format!("/v1/payment_intents/{}/confirm", payment.payment_id))
            .header(AUTHORIZATION, format!("Basic {credentials}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let form = format!("client_secret={}&payment_method=pm_card_visa", payment.client_secret);
        let provider = self.provider.as_mut().expect("who pays has a connection to the provider");
        provider.send(request, form).await?.expect(200)?;
        self.wait_for(order.id, "\"status\":\"paid\"", patience).await
    }

    async fn wait_for(&mut self, order: OrderId, status: &str, patience: &Patience) -> Result<(), Failed> {
        let mut pause = patience.first();
        for poll in 0..POLLS_MAX {
            tokio::time::sleep(Duration::from_secs_f64(pause / 1e3)).await;
            let is_there = self.read(order).await?.contains(status);
            patience.learn(poll, is_there);
            if is_there {
                return Ok(());
            }
            pause = patience.next();
        }
        Err(Failed::Because(format!("{order} did not come to {status} in {POLLS_MAX} looks")))
    }

    async fn read(&mut self, order: OrderId) -> Result<Answer, Failed> {
        let request = self.person.sign(Request::get(format!("/orders/{order}")));
        self.api.send(request, "").await?.expect(200)
    }
}

/// How long it is worth waiting before the first look: about as long as it has been taking.
struct Patience {
    milliseconds: Cell<f64>,
    polls: Cell<u64>,
}

impl Patience {
    fn new() -> Self {
        Self { milliseconds: Cell::new(POLL_MILLISECONDS_MIN), polls: Cell::new(0) }
    }

    fn first(&self) -> f64 {
        self.milliseconds.get()
    }

    /// The pause after a look in vain.
    fn next(&self) -> f64 {
        (self.milliseconds.get() / 4.0).max(POLL_MILLISECONDS_MIN)
    }

    /// A little longer after a first look in vain, a little shorter after another, so that three of four succeed.
    fn learn(&self, poll: usize, is_there: bool) {
        self.polls.set(self.polls.get() + 1);
        if poll == 0 {
            let factor = if is_there { 0.99 } else { 1.03 };
            let next = self.milliseconds.get() * factor;
            self.milliseconds.set(next.clamp(POLL_MILLISECONDS_MIN, POLL_MILLISECONDS_MAX));
        }
    }
}

/// Two seats in one row are held; then every one of these orders is given up.
pub async fn holds(bench: &mut Bench, house: &House, people: &[Person], plan: &Plan) -> Result<(), Failed> {
    let mut clients = clients(&bench.url, people, plan.clients).await?;
    let held = RefCell::new(Vec::with_capacity(plan.holds));
    let act = async |client: &mut Client<'_>, index| {
        let answer = client.hold(&house.pair()?, &format!("hold {index}")).await?.expect(201)?;
        held.borrow_mut().push((client.buyer, answer.json::<Order>()?.id));
        Ok(true)
    };
    bench.measure("hold of two seats", &mut clients, plan.holds, act).await?;
    let held = held.into_inner();
    let act = async |client: &mut Client<'_>, index: usize| {
        let (buyer, order) = held[index];
        let request = people[buyer].sign(Request::delete(format!("/orders/{order}")));
        client.api.send(request, "").await?.expect(204)?;
        Ok(true)
    };
    bench.measure("hold given up", &mut clients, plan.holds, act).await?;
    Ok(())
}

/// Two seats in one row are held, paid and ticketed.
pub async fn orders(
    bench: &mut Bench,
    house: &House,
    people: &[Person],
    provider: &str,
    sales: &mut Sales,
    plan: &Plan,
) -> Result<(), Failed> {
    let mut clients = payers(bench, people, plan, provider).await?;
    let (patience, paid) = (Patience::new(), RefCell::new(Vec::with_capacity(plan.orders)));
    let act = async |client: &mut Client<'_>, index| {
        client.person.keep_signed_in(&mut client.api).await?;
        let order: Order = client.hold(&house.pair()?, &format!("order {index}")).await?.expect(201)?.json()?;
        client.pay(&order, &patience).await?;
        paid.borrow_mut().push(Sale::new(&order, client.buyer));
        Ok(true)
    };
    let row = bench.measure("order of two seats, paid", &mut clients, plan.orders, act).await?;
    row.polls = patience.polls.get();
    sales.orders = paid.into_inner();
    Ok(())
}

impl Sale {
    fn new(order: &Order, buyer: usize) -> Self {
        let (total, seats) = (order.total.amount, order.seats.len());
        Self { order: order.id, buyer, total, seats, is_refunded: Cell::new(false) }
    }
}

/// A paid order is looked at by its buyer: what each look for `paid` costs.
pub async fn reads(bench: &mut Bench, people: &[Person], sales: &Sales, plan: &Plan) -> Result<(), Failed> {
    let mut clients = clients(&bench.url, people, plan.clients).await?;
    let act = async |client: &mut Client<'_>, index: usize| {
        let sale = &sales.orders[index % sales.orders.len()];
        let request = people[sale.buyer].sign(Request::get(format!("/orders/{}", sale.order)));
        client.api.send(request, "").await?.expect(200)?;
        Ok(true)
    };
    bench.measure("order read", &mut clients, ORDER_READS, act).await?;
    Ok(())
}

/// Paid orders are given back whole.
pub async fn refunds<'a>(bench: &mut Bench, people: &'a [Person], sales: &Sales, plan: &Plan) -> Result<(), Failed> {
    let mut clients = clients(&bench.url, people, plan.clients).await?;
    let patience = Patience::new();
    let act = async |client: &mut Client<'a>, index: usize| {
        let sale = &sales.orders[index];
        client.person = &people[sale.buyer];
        let request = client.person.sign(Request::post(format!("/orders/{}/refunds", sale.order)));
        let request = request.header("idempotency-key", "refund");
        client.api.send_json(request, "{}").await?.expect(201)?;
        client.wait_for(sale.order, "\"status\":\"refunded\"", &patience).await?;
        sale.is_refunded.set(true);
        Ok(true)
    };
    let row = bench.measure("refund of a whole order", &mut clients, plan.refunds, act).await?;
    row.polls = patience.polls.get();
    Ok(())
}

/// The map of a hall: read anew after a change, as it is kept for a second, and not sent since it is known.
pub async fn maps(bench: &mut Bench, house: &House, people: &[Person], plan: &Plan) -> Result<(), Failed> {
    let mut clients = clients(&bench.url, people, plan.clients).await?;
    anew(bench, house, &mut clients[0]).await?;
    let act = async |client: &mut Client<'_>, _| {
        client.api.send(house.map_of(0), "").await?.expect(200)?;
        Ok(true)
    };
    bench.measure("map, as kept for a second", &mut clients, MAP_READS, act).await?;
    let answer = clients[0].api.send(house.map_of(0), "").await?.expect(200)?;
    let etag = answer.headers.get(ETAG).ok_or_else(|| Failed::Because("a map has no ETag".to_owned()))?;
    let act = async |client: &mut Client<'_>, _| {
        client.api.send(house.map_of(0).header(IF_NONE_MATCH, etag), "").await?.expect(304)?;
        Ok(true)
    };
    bench.measure("map, not changed (304)", &mut clients, MAP_READS, act).await?;
    Ok(())
}

/// Reads maps that nobody has read since they changed, one at a time.
async fn anew(bench: &mut Bench, house: &House, client: &mut Client<'_>) -> Result<(), Failed> {
    let (mut latencies, mut used, mut seconds, mut bytes) = (Vec::new(), Used::default(), 0.0, 0);
    for round in 0..MAP_ROUNDS {
        for event in 0..MAP_EVENTS {
            client.hold(&house.pair_of(event)?, &format!("map {round} {event}")).await?.expect(201)?;
        }
        tokio::time::sleep(Duration::from_millis(MAP_KEPT_MILLISECONDS)).await;
        let before = bench.used().await?;
        for event in 0..MAP_EVENTS {
            let started = Instant::now();
            let answer = client.api.send(house.map_of(event), "").await?.expect(200)?;
            latencies.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
            seconds += started.elapsed().as_secs_f64();
            bytes = bytes.max(answer.body.len());
        }
        used = used.plus(&bench.used().await?.since(&before));
    }
    latencies.sort_unstable();
    let notes = vec![format!("{bytes} bytes at most, gzip; {} places in {} sections", house.places, house.sections())];
    let name = "map, read anew".to_owned();
    bench.rows.push(Row { name, latencies, seconds, used, notes, ..Row::default() });
    Ok(())
}

/// Many want the same: one seat, then a hundred.
pub async fn fights(
    bench: &mut Bench,
    house: &House,
    people: &[Person],
    provider: &str,
    sales: &mut Sales,
    plan: &Plan,
) -> Result<(), Failed> {
    let (first, last) = (0, house.events.len() - 1);
    let won = RefCell::new(Vec::new());
    let seats = house.singles(first, ONE_SEAT_ROUNDS)?;
    let mut many = clients(&bench.url, people, ONE_SEAT_CLIENTS).await?;
    let act = async |client: &mut Client<'_>, index: usize| {
        try_for(client, &seats, index / ONE_SEAT_CLIENTS, &format!("one {index}"), &won).await?;
        Ok(true)
    };
    let row = bench.measure("one seat, 1,000 clients", &mut many, ONE_SEAT_CLIENTS * ONE_SEAT_ROUNDS, act).await?;
    row.notes.push(format!("{ONE_SEAT_ROUNDS} seats, one after the other; every client got it or a 409"));
    drop(many);
    let mut winners = judge(&seats, won.take())?;

    let seats = house.singles(last, SEATS)?;
    let mut many: Vec<_> =
        clients(&bench.url, people, SEATS_CLIENTS).await?.into_iter().map(|client| (client, 0)).collect();
    let act = async |(client, tries): &mut (Client<'_>, usize), index: usize| {
        *tries += 1;
        // Far apart and different for each client, as the taps of people are.
        let seat = index.wrapping_mul(0x9e37_79b1) / 8 % SEATS;
        let has_it = try_for(client, &seats, seat, &format!("many {index}"), &won).await?;
        Ok(!has_it && *tries < SEATS_TRIES_MAX)
    };
    bench.measure("100 seats, 500 clients", &mut many, SEATS_CLIENTS * SEATS_TRIES_MAX, act).await?;
    drop(many);
    winners.extend(judge(&seats, won.take())?);

    let (mut payers, patience) = (payers(bench, people, plan, provider).await?, Patience::new());
    for (buyer, order) in winners {
        let payer = &mut payers[buyer];
        payer.pay(&order, &patience).await?;
        sales.orders.push(Sale::new(&order, buyer));
    }
    Ok(())
}

/// A seat that was won: its index, by whom, with which order.
type Won = (usize, usize, Order);

/// Asks for one seat; false if somebody else has it.
async fn try_for(
    client: &mut Client<'_>,
    seats: &[Pair],
    seat: usize,
    key: &str,
    won: &RefCell<Vec<Won>>,
) -> Result<bool, Failed> {
    let answer = client.hold(&seats[seat], key).await?;
    if answer.status == 409 && answer.contains("\"code\":\"seats_taken\"") {
        return Ok(false);
    }
    let order = answer.expect(201)?.json()?;
    won.borrow_mut().push((seat, client.buyer, order));
    Ok(true)
}

/// Each seat was won by one, and all were won.
fn judge(seats: &[Pair], won: Vec<Won>) -> Result<Vec<(usize, Order)>, Failed> {
    let mut winners = vec![0; seats.len()];
    for (seat, ..) in &won {
        winners[*seat] += 1;
    }
    match winners.iter().position(|count| *count != 1) {
        Some(seat) => Err(Failed::Because(format!("{} was held by {} at once", seats[seat], winners[seat]))),
        None => Ok(won.into_iter().map(|(_, buyer, order)| (buyer, order)).collect()),
    }
}
