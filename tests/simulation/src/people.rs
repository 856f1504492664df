//! The people of a run: what each wants is decided before it begins; what they get is written down.

use crate::choices::Choices;
use crate::gate::{Ask, Call, Gate, Kind, Outcome, Reply};
use crate::wires::Provider;
use axum::http::{Method, Request};
use bytes::Bytes;
use domain::access::Role;
use domain::ids::UserId;
use platform::transport::Transport;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::User;

/// How often somebody repeats a request that got no answer, with the same key.
const TRIES_MAX: usize = 5;
/// How long somebody looks whether an order was paid.
const LOOKS_MAX: usize = 3;

/// What everybody saw.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Seen>>);

#[derive(Clone, Default)]
pub struct Seen {
    /// The last answer that somebody insisted on.
    pub last: Option<Reply>,
    /// Tickets that a gate let in.
    pub admitted: Vec<String>,
}

impl Diary {
    pub fn seen(&self) -> Seen {
        self.0.lock().expect("no panic holds this lock").clone()
    }

    fn write(&self, entry: impl FnOnce(&mut Seen)) {
        entry(&mut self.0.lock().expect("no panic holds this lock"));
    }
}

/// What a buyer wants.
#[derive(Clone, Debug)]
pub struct Errand {
    pub buyer: UserId,
    pub key: String,
    /// `seats` or `best` of an order.
    pub wish: Value,
    pub then: Then,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Then {
    /// Holds and goes away.
    Abandon,
    /// Gives the order up before paying.
    Cancel,
    Pay {
        card: &'static str,
        when: When,
        back: Back,
    },
}

/// When somebody pays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    AtOnce,
    /// Confirms only when the hold has ended.
    ConfirmsLate,
    /// Begins only when the hold has ended.
    BeginsLate,
}

/// What a buyer does with tickets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Back {
    Keep,
    /// Gives one back.
    One,
    /// Gives all back, twice in a row with two keys.
    All,
    /// Enters.
    Enter,
    /// Gives all back and enters, at once.
    Both,
}

/// How people reach us and the provider.
#[derive(Clone)]
pub struct Door {
    pub gate: Gate,
    pub provider: Provider,
    pub diary: Diary,
    pub event: String,
    /// One that is paid at once, and one with a trial.
    pub plans: [String; 2],
    pub publishable_key: String,
}

pub fn admin() -> User {
    User::new(UserId(0xad), vec![Role::Buyer, Role::Admin])
}

impl Door {
    /// One request; nothing if no answer came.
    pub async fn ask(
        &self,
        who: &User,
        method: &'static str,
        path: String,
        key: Option<&str>,
        body: Value,
    ) -> Option<Reply> {
        let text = format!("{method} {path} key {}", key.unwrap_or("-"));
        let ask = Ask { who: who.clone(), method, path, key: key.map(str::to_owned), body };
        let call = Call { kind: Kind::Request, text, ask: Some(ask) };
        match self.gate.pass(call).await {
            Outcome::Answered(reply) => {
                self.gate.learn(|| format!("{reply:?}"));
                reply
            }
            other => unreachable!("a request is answered or not: {other:?}"),
        }
    }

    /// Repeats a request under one key until it has an answer.
    pub async fn insist(
        &self,
        who: &User,
        method: &'static str,
        path: String,
        key: &str,
        body: Value,
    ) -> Option<Reply> {
        self.repeat(who, method, path, Some(key), body).await
    }

    /// Repeats a request until it has an answer.
    pub async fn repeat(
        &self,
        who: &User,
        method: &'static str,
        path: String,
        key: Option<&str>,
        body: Value,
    ) -> Option<Reply> {
        for _ in 0..TRIES_MAX {
            if let Some(reply) = self.ask(who, method, path.clone(), key, body.clone()).await {
                self.diary.write(|seen| seen.last = Some(reply.clone()));
                if reply.status < 500 {
                    return Some(reply);
                }
            }
            self.pause("try again").await;
        }
        None
    }

    pub async fn pause(&self, why: &str) {
        self.gate.pass(Call::new(Kind::Pause, why.to_owned())).await;
    }

    pub async fn come_late(&self, why: &str) {
        self.gate.pass(Call::new(Kind::Later, why.to_owned())).await;
    }

    /// A buyer's whole errand.
    pub async fn run(self, errand: Errand) {
        let who = User::new(errand.buyer, vec![Role::Buyer]);
        let Some(order) = self.place(&errand).await else { return };
        match errand.then {
            Then::Abandon => {}
            Then::Cancel => {
                self.pause("changes their mind").await;
                self.insist(&who, "DELETE", format!("/orders/{order}"), "cancel", Value::Null).await;
            }
            Then::Pay { card, when, back } => {
                self.pay(&who, &order, card, when).await;
                for _ in 0..LOOKS_MAX {
                    self.pause("is it paid").await;
                    let shown = self.ask(&who, "GET", format!("/orders/{order}"), None, Value::Null).await;
                    let Some(shown) = shown.filter(|shown| shown.status == 200) else { continue };
                    if shown.body["status"] == "paid" {
                        return self.use_tickets(&who, &order, &shown.body, back).await;
                    }
                }
            }
        }
    }

    /// Holds seats; the order's id.
    pub async fn place(&self, errand: &Errand) -> Option<String> {
        let who = User::new(errand.buyer, vec![Role::Buyer]);
        let mut body = errand.wish.clone();
        body["event_id"] = json!(self.event);
        let placed = self.insist(&who, "POST", "/orders".to_owned(), &errand.key, body).await?;
        (placed.status == 201).then(|| placed.body["id"].as_str().unwrap_or_default().to_owned())
    }

    async fn pay(&self, who: &User, order: &str, card: &str, when: When) {
        let path = format!("/orders/{order}/payment");
        if when == When::BeginsLate {
            self.come_late("comes back").await;
        }
        let started = self.insist(who, "POST", path, "pay", Value::Null).await;
        let Some(started) = started.filter(|reply| reply.status == 201) else { return };
        if when == When::ConfirmsLate {
            self.come_late("looks for the card").await;
        }
        self.confirm(&started.body, card).await;
    }

    /// Confirms a payment or a setup as a browser does: it tries again after a lost answer, and after a decline with a
    /// better card.
    pub async fn confirm(&self, started: &Value, card: &str) {
        let ids = [("payment_intents", &started["payment_id"]), ("setup_intents", &started["setup_id"])];
        let Some((kind, id)) = ids.into_iter().find_map(|(kind, id)| Some((kind, id.as_str()?))) else { return };
        let secret = started["client_secret"].as_str().unwrap_or_default();
        let form = format!("client_secret={secret}&payment_method={card}");
        for form in [form.clone(), form.replace("chargeDeclined", "visa").replace("pm_card_visa_visa", "pm_card_visa")]
        {
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("/v1/{kind}/{id}/confirm"))
                .header("authorization", format!("Bearer {}", self.publishable_key))
                .header("content-type", "application/x-www-form-urlencoded");
            let request = request.body(Bytes::from(form)).expect("the request is well formed");
            let answer = self.provider.send(request, Duration::MAX).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            self.pause("the card again").await;
        }
    }

    async fn use_tickets(&self, who: &User, order: &str, shown: &Value, back: Back) {
        let tickets: Vec<String> = ticket_ids(shown);
        let refunds = format!("/orders/{order}/refunds");
        match back {
            Back::Keep => {}
            Back::One => {
                let body = json!({ "ticket_ids": tickets.iter().take(1).collect::<Vec<_>>() });
                self.insist(who, "POST", refunds, "one", body).await;
            }
            Back::All => {
                self.insist(who, "POST", refunds.clone(), "all", json!({})).await;
                self.insist(who, "POST", refunds, "again", json!({})).await;
            }
            Back::Both => {
                let give_back = self.insist(who, "POST", refunds, "all", json!({}));
                let enter = self.enter(who, tickets.first().expect("a paid order has a ticket"));
                futures_util::future::join(give_back, enter).await;
            }
            Back::Enter => {
                for ticket in tickets {
                    self.enter(who, &ticket).await;
                }
            }
        }
    }

    /// Shows a ticket's code at the gate.
    pub async fn enter(&self, who: &User, ticket: &str) {
        let shown = self.ask(who, "GET", format!("/tickets/{ticket}"), None, Value::Null).await;
        let Some(code) = shown.and_then(|shown| shown.body["code"].as_str().map(str::to_owned)) else { return };
        let gate = User::new(UserId(0x6a), vec![Role::Gate]);
        let body = json!({ "event_id": self.event, "code": code });
        let let_in = self.insist(&gate, "POST", format!("/tickets/{ticket}/check-in"), ticket, body).await;
        if let_in.is_some_and(|reply| reply.status == 200) {
            self.diary.write(|seen| seen.admitted.push(ticket.to_owned()));
        }
    }

    /// Somebody calls the event off.
    pub async fn call_off(self) {
        self.pause("thinks about it").await;
        let path = format!("/admin/events/{}/cancellation", self.event);
        while self.insist(&admin(), "POST", path.clone(), "off", Value::Null).await.is_none() {}
    }
}

fn ticket_ids(order: &Value) -> Vec<String> {
    let seats = order["seats"].as_array().into_iter().flatten();
    seats.filter_map(|seat| seat["ticket_id"].as_str().map(str::to_owned)).collect()
}

/// Who comes, and what they want: two to four buyers for a dozen seats.
pub fn errands(choices: &mut Choices) -> Vec<Errand> {
    const CARDS: [&str; 10] = [
        "pm_card_visa",
        "pm_card_visa",
        "pm_card_chargeDeclined",
        "pm_card_refundFail",
        "pm_card_pendingRefund",
        "pm_sandbox_delay_120",
        "pm_sandbox_decline_after_120",
        "pm_sandbox_capture_fails",
        "pm_sandbox_captures_at_once",
        "pm_card_createDispute",
    ];
    const WHENS: [When; 5] = [When::AtOnce, When::AtOnce, When::AtOnce, When::ConfirmsLate, When::BeginsLate];
    const BACKS: [Back; 5] = [Back::Keep, Back::One, Back::All, Back::Enter, Back::Both];
    let mut errands = Vec::new();
    for buyer in 0..2 + choices.below(3) {
        for turn in 0..1 + choices.below(2) {
            let wish = wish(choices);
            let then = match choices.below(8) {
                6 => Then::Abandon,
                7 => Then::Cancel,
                _ => {
                    let card = CARDS[choices.below(CARDS.len())];
                    let when = WHENS[choices.below(WHENS.len())];
                    Then::Pay { card, when, back: BACKS[choices.below(BACKS.len())] }
                }
            };
            let errand = Errand { buyer: UserId(0xb0 + buyer as u128), key: format!("key-{turn}"), wish, then };
            // A key that was used before, for something else.
            if choices.once_in(8) {
                errands.push(Errand { wish: self::wish(choices), then: Then::Abandon, ..errand.clone() });
            }
            // A double click: the same request from a second tab.
            if choices.once_in(4) {
                errands.push(Errand { then: Then::Abandon, ..errand.clone() });
            }
            errands.push(errand);
        }
    }
    errands
}

fn wish(choices: &mut Choices) -> Value {
    let seat = |section: &str, row: usize, seat: usize| tests::seat(section, row, seat);
    match choices.below(6) {
        4 => json!({ "best": { "quantity": 1 + choices.below(3) } }),
        5 => json!({ "seats": [seat("G", 1, 1 + choices.below(2))] }),
        // In two rows: two writes, and whatever happens between them.
        3 => {
            let column = 1 + choices.below(3);
            json!({ "seats": [seat("A", 1, column), seat("A", 2, column)] })
        }
        _ => {
            let (row, first, count) = (1 + choices.below(2), 1 + choices.below(3), 1 + choices.below(2));
            let seats: Vec<_> = (first..first + count).map(|column| seat("A", row, column)).collect();
            json!({ "seats": seats })
        }
    }
}
