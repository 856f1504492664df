//! Buyers who do all that buyers do, and come again with the same key when nobody answers them.

use crate::Failed;
use crate::hall::House;
use boxoffice::secrets::LocalSecrets;
use domain::access::Role;
use domain::ids::UserId;
use domain::orders::{Order, OrderState};
use domain::seating::SeatName;
use platform::Clock;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tests::{Api, Ask, Reply, User};

/// Different buyers, with a few dozen orders each in a long run.
const BUYERS: usize = 1_000;
/// How long a buyer asks for one thing again, and looks for what has to happen.
const PATIENCE_SECONDS: u64 = 60;
/// Pauses before asking again, and between looks; they grow from the first to the last.
const PAUSE_MILLISECONDS_MIN: u64 = 50;
const PAUSE_MILLISECONDS_MAX: u64 = 2_000;
/// Of a hundred: who asks for the map first; asks twice at once under one key; wants what somebody else just got; looks at
/// lists after paying; and whose webhook comes again.
const MAP_PERCENT: u8 = 20;
const TWICE_PERCENT: u8 = 10;
const SAME_SEATS_PERCENT: u8 = 5;
const LISTS_PERCENT: u8 = 20;
const WEBHOOK_PERCENT: u8 = 5;
/// How far back the seats are that somebody else just got.
const SAME_SEATS_BEFORE_MAX: usize = 40;
const GOOD_CARD: &str = "pm_card_visa";
const BAD_CARD: &str = "pm_card_chargeDeclined";

/// What a buyer came for, and how many of a hundred do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Buy,
    BuyAtSecondTry,
    BuyAndGiveBack { is_whole: bool },
    GiveUp,
    Leave { is_paying: bool },
}

const AIMS: [(u8, Aim); 7] = [
    (50, Aim::Buy),
    (10, Aim::BuyAtSecondTry),
    (10, Aim::BuyAndGiveBack { is_whole: true }),
    (5, Aim::BuyAndGiveBack { is_whole: false }),
    (10, Aim::GiveUp),
    (10, Aim::Leave { is_paying: false }),
    (5, Aim::Leave { is_paying: true }),
];

/// What was answered to a buyer.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub order: domain::ids::OrderId,
    pub buyer: usize,
    /// The number of its seats in the house.
    pub pair: usize,
    pub paid: bool,
    pub given_back: bool,
    pub given_up: bool,
    /// The buyer is not yet done with it.
    pub open: bool,
}

/// What the buyers saw, in sums.
#[derive(Default)]
pub struct Seen {
    /// Answers by status; 0 where none came.
    pub answers: BTreeMap<u16, u64>,
    /// Buyers whose patience ended.
    pub impatient: u64,
}

/// A crowd's way to a box office. All that it keeps has its size from the start.
pub struct Shop {
    pub api: Api,
    pub house: House,
    pub buyers: Vec<User>,
    secrets: LocalSecrets,
    clock: Clock,
    dice: RefCell<fastrand::Rng>,
    next: Cell<usize>,
    pub told: RefCell<Vec<Told>>,
    pub seen: RefCell<Seen>,
    /// Up to so long a buyer thinks before each step.
    pub think: Duration,
}

impl Shop {
    pub fn new(api: Api, house: House, secrets: LocalSecrets, clock: Clock, orders_max: usize) -> Self {
        let buyers = (1..=BUYERS as u128).map(|nth| User::new(UserId(nth << 64 | nth), vec![Role::Buyer]));
        Self {
            api,
            house,
            buyers: buyers.collect(),
            secrets,
            clock,
            dice: RefCell::new(fastrand::Rng::new()),
            next: Cell::new(0),
            told: RefCell::new(Vec::with_capacity(orders_max)),
            seen: RefCell::default(),
            think: Duration::ZERO,
        }
    }

    fn dice<T>(&self, throw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        throw(&mut self.dice.borrow_mut())
    }

    fn happens(&self, percent: u8) -> bool {
        self.dice(|dice| dice.u8(..100)) < percent
    }

    async fn think(&self) {
        let thought = self.dice(fastrand::Rng::f64);
        tokio::time::sleep(self.think.mul_f64(thought)).await;
    }

    /// Asks until there is an answer that is not "later"; `None` when patience ends. The answer to a repeated request is
    /// the first one's, so nothing is lost by it.
    pub async fn ask<'a>(&'a self, ask: impl Fn() -> Ask<'a>) -> Option<Reply> {
        let (started, mut pause) = (Instant::now(), PAUSE_MILLISECONDS_MIN);
        loop {
            let reply = ask().attempt().await;
            let status = reply.as_ref().map_or(0, |reply| reply.status);
            *self.seen.borrow_mut().answers.entry(status).or_default() += 1;
            match reply {
                Some(reply) if status < 500 && status != 429 => return Some(reply),
                _ if started.elapsed().as_secs() > PATIENCE_SECONDS => {
                    self.seen.borrow_mut().impatient += 1;
                    return None;
                }
                _ => self.rest(&mut pause).await,
            }
        }
    }

    /// Waits a little, and longer the next time.
    async fn rest(&self, pause: &mut u64) {
        let part = self.dice(|dice| dice.u64(*pause / 2..=*pause));
        tokio::time::sleep(Duration::from_millis(part)).await;
        *pause = (*pause * 2).min(PAUSE_MILLISECONDS_MAX);
    }

    fn change(&self, nth: usize, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.borrow_mut()[nth]);
    }

    /// One buyer comes, does what they came for, and goes. The error is an answer that nobody should get.
    pub async fn visit(&self) -> Result<(), Failed> {
        let mut pair = self.next.replace(self.next.get() + 1);
        let (number, buyer) = (pair, pair % BUYERS);
        if self.happens(SAME_SEATS_PERCENT) {
            pair = pair.saturating_sub(self.dice(|dice| dice.usize(1..SAME_SEATS_BEFORE_MAX)));
        }
        let user = &self.buyers[buyer];
        let (ask, seats) = self.house.pair_at(pair)?;
        if self.happens(MAP_PERCENT) {
            let path = format!("/events/{}/seats", text(&ask["event_id"]));
            self.get(user, &path).await?;
        }
        let Some(reply) = self.hold(user, &format!("order {number}"), &ask).await? else { return Ok(()) };
        if !has_seats(&reply.body, &seats) {
            return Err(unexpected("an order with the seats that were asked for", &reply));
        }
        let order = text(&reply.body["id"]).to_owned();
        let id = order.parse().map_err(|_| unexpected("an order's id", &reply))?;
        let nth = self.told.borrow().len();
        let told = Told { order: id, buyer, pair, paid: false, given_back: false, given_up: false, open: true };
        self.told.borrow_mut().push(told);
        let done = self.follow(nth, user, &order).await;
        self.change(nth, |told| told.open = false);
        done
    }

    /// Holds seats; `None` if somebody else has them, or patience ended.
    async fn hold(&self, user: &User, key: &str, ask: &Value) -> Result<Option<Reply>, Failed> {
        let once = || self.ask(|| self.api.ask("POST", "/orders").by(user).key(key).json(ask));
        let reply = if self.happens(TWICE_PERCENT) {
            let (one, other) = tokio::join!(once(), once());
            if let (Some(one), Some(other)) = (&one, &other)
                && (one.status, &one.body["id"]) != (other.status, &other.body["id"])
                // The first of the two was refused, which is not remembered, and then the seats came free.
                && one.status == 201 && other.status == 201
            {
                return Err(Failed::Because(format!("two orders under one key: {} and {}", one.text(), other.text())));
            }
            one.filter(|one| one.status == 201).or(other)
        } else {
            once().await
        };
        match reply {
            Some(reply) if reply.status == 201 => Ok(Some(reply)),
            Some(reply) if reply.status != 409 || reply.body["code"] != "seats_taken" => {
                Err(unexpected("201 or seats_taken", &reply))
            }
            _ => Ok(None),
        }
    }

    /// What comes after the hold.
    async fn follow(&self, nth: usize, user: &User, order: &str) -> Result<(), Failed> {
        let throw = self.dice(|dice| dice.u8(..100));
        let mut below = 0;
        let aim = AIMS.iter().find(|(percent, _)| {
            below += percent;
            throw < below
        });
        let aim = aim.expect("they are a hundred").1;
        self.think().await;
        match aim {
            Aim::Leave { is_paying: false } => return Ok(()),
            Aim::Leave { is_paying: true } => return self.start(user, order, "pay").await.map(drop),
            Aim::GiveUp => {
                let path = format!("/orders/{order}");
                let reply = self.ask(|| self.api.ask("DELETE", &path).by(user)).await;
                self.change(nth, |told| told.given_up = reply.is_some_and(|reply| reply.status == 204));
                return Ok(());
            }
            Aim::BuyAtSecondTry => {
                self.confirm(user, order, "pay", BAD_CARD).await?;
                self.wait_for(user, order, &["held"]).await?;
                self.confirm(user, order, "pay again", GOOD_CARD).await?;
            }
            Aim::Buy | Aim::BuyAndGiveBack { .. } => self.confirm(user, order, "pay", GOOD_CARD).await?,
        }
        let Some(paid) = self.wait_for(user, order, &["paid"]).await?.filter(|order| order["status"] == "paid") else {
            return Ok(());
        };
        self.change(nth, |told| told.paid = true);
        if self.happens(LISTS_PERCENT) {
            for path in ["/orders?limit=20", "/tickets?limit=20"] {
                self.get(user, path).await?;
            }
        }
        let Aim::BuyAndGiveBack { is_whole } = aim else { return Ok(()) };
        self.think().await;
        self.give_back(nth, user, order, &paid, is_whole).await
    }

    async fn get(&self, user: &User, path: &str) -> Result<(), Failed> {
        match self.ask(|| self.api.ask("GET", path).by(user)).await {
            Some(reply) if reply.status != 200 => Err(unexpected("200", &reply)),
            _ => Ok(()),
        }
    }

    /// Starts a payment; `None` if the order cannot be paid any more, or patience ended.
    async fn start(&self, user: &User, order: &str, key: &str) -> Result<Option<Value>, Failed> {
        let path = format!("/orders/{order}/payment");
        match self.ask(|| self.api.ask("POST", &path).by(user).key(key)).await {
            Some(reply) if reply.status == 201 => Ok(Some(reply.body)),
            Some(reply) if reply.status != 409 => Err(unexpected("201 or 409", &reply)),
            _ => Ok(None),
        }
    }

    /// Starts a payment and confirms it at the provider. If the provider is gone it comes back at another address, which
    /// asking again tells.
    async fn confirm(&self, user: &User, order: &str, key: &str, card: &str) -> Result<(), Failed> {
        let (started, mut pause) = (Instant::now(), PAUSE_MILLISECONDS_MIN);
        while started.elapsed().as_secs() < PATIENCE_SECONDS {
            let Some(payment) = self.start(user, order, key).await? else { return Ok(()) };
            self.think().await;
            let intent = text(&payment["payment_id"]);
            let url = format!("{}/v1/payment_intents/{intent}/confirm", text(&payment["api_base"]));
            let form = [("client_secret", text(&payment["client_secret"])), ("payment_method", card)];
            let request = self.api.http().post(url).form(&form);
            let reply = request.basic_auth(&self.secrets.stripe_publishable_key, Some("")).send().await;
            if reply.is_ok() {
                if self.happens(WEBHOOK_PERCENT) {
                    self.webhook(intent).await?;
                }
                return Ok(());
            }
            self.rest(&mut pause).await;
        }
        self.seen.borrow_mut().impatient += 1;
        Ok(())
    }

    /// The provider's message about a payment, once more.
    async fn webhook(&self, intent: &str) -> Result<(), Failed> {
        let object = json!({ "id": intent, "object": "payment_intent", "status": "requires_capture" });
        let body = json!({ "type": "payment_intent.amount_capturable_updated", "data": { "object": object } });
        let body = body.to_string();
        let reply = self.ask(|| {
            let at = self.clock.now().as_second();
            let signature = sandbox::signature(&self.secrets.stripe_webhook_secret, at, &body);
            let ask = self.api.ask("POST", "/payments/webhook/stripe").header("content-type", "application/json");
            ask.header("stripe-signature", &signature).body(body.clone())
        });
        match reply.await {
            Some(reply) if reply.status >= 300 => Err(unexpected("a webhook is taken", &reply)),
            _ => Ok(()),
        }
    }

    /// Looks until an order has one of these states or one in which nothing more is to come; `None` when patience ends.
    async fn wait_for(&self, user: &User, order: &str, states: &[&str]) -> Result<Option<Value>, Failed> {
        let (started, mut pause, path) = (Instant::now(), PAUSE_MILLISECONDS_MIN, format!("/orders/{order}"));
        while started.elapsed().as_secs() < PATIENCE_SECONDS {
            let Some(reply) = self.ask(|| self.api.ask("GET", &path).by(user)).await else { return Ok(None) };
            if reply.status != 200 {
                return Err(unexpected("an order that was answered", &reply));
            }
            let status = text(&reply.body["status"]);
            if states.contains(&status) || ["expired", "lost", "cancelled", "refunded"].contains(&status) {
                return Ok(Some(reply.body));
            }
            self.rest(&mut pause).await;
        }
        self.seen.borrow_mut().impatient += 1;
        Ok(None)
    }

    async fn give_back(
        &self,
        nth: usize,
        user: &User,
        order: &str,
        paid: &Value,
        is_whole: bool,
    ) -> Result<(), Failed> {
        let ask = if is_whole { json!({}) } else { json!({ "ticket_ids": [paid["seats"][0]["ticket_id"]] }) };
        let path = format!("/orders/{order}/refunds");
        let reply = self.ask(|| self.api.ask("POST", &path).by(user).key("refund").json(&ask)).await;
        match reply {
            Some(reply) if reply.status != 201 => return Err(unexpected("a refund", &reply)),
            Some(_) => {}
            None => return Ok(()),
        }
        if self.wait_for(user, order, &["partly_refunded", "refunded"]).await?.is_some() {
            self.change(nth, |told| told.given_back = true);
        }
        Ok(())
    }
}

/// Whether an order is of just these seats.
pub fn has_seats(order: &Value, seats: &[SeatName; 2]) -> bool {
    let shown = order["seats"].as_array().map_or(&[][..], Vec::as_slice);
    let is = |shown: &Value, seat: &SeatName| {
        shown["section"] == seat.section && shown["row"] == seat.row && shown["seat"] == seat.seat
    };
    shown.len() == seats.len() && seats.iter().all(|seat| shown.iter().any(|shown| is(shown, seat)))
}

fn unexpected(what: &str, reply: &Reply) -> Failed {
    Failed::Because(format!("{what} was expected, and the answer was {}: {}", reply.status, reply.text()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Shop {
    /// How many buyers have come.
    pub fn buyers_seen(&self) -> usize {
        self.next.get()
    }

    /// How many orders that were answered are not there, are of other seats, or are less far than their buyers saw.
    pub fn lost(&self, orders: &[Order]) -> usize {
        let orders: HashMap<_, _> = orders.iter().map(|order| (order.id, order)).collect();
        let told = self.told.borrow();
        let is_kept = |told: &Told| {
            let (Some(order), Ok((_, seats))) = (orders.get(&told.order), self.house.pair_at(told.pair)) else {
                return false;
            };
            use OrderState::{Cancelled, Paid, PartlyRefunded, Refunded, Refunding};
            let has_seats = order.seats.len() == seats.len()
                && seats.iter().all(|seat| {
                    let is = |held: &domain::orders::OrderSeat| {
                        held.section == seat.section && held.row == seat.row && held.seat == seat.seat
                    };
                    order.seats.iter().any(is)
                });
            let is_paid = matches!(order.state, Paid | Refunding | PartlyRefunded | Refunded);
            let is_given_back = matches!(order.state, PartlyRefunded | Refunded);
            has_seats
                && (is_paid || !told.paid)
                && (is_given_back || !told.given_back)
                && (order.state == Cancelled || !told.given_up)
        };
        told.iter().filter(|told| !is_kept(told)).count()
    }
}
