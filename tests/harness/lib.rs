//! What the integration tests stand on: a whole box office in memory, with a clock to move, driven over HTTP.
//!
//! [`TestApp`] runs `template.yaml` in this process. It fails its test if a message is left in a dead-letter queue.
//! [`Api`] is the HTTP client alone, for tests that start the program itself.

pub mod books;
mod charges;
pub mod faults;
pub mod house;
pub mod http;
pub mod messenger;
pub mod program;

pub use books::Audit;
pub use faults::{Fault, Provider, Table};
pub use house::{Hall, NOW, STARTS_AT, hall_scheme, seat};
pub use http::{Api, Ask, Reply, User};
pub use messenger::Notebook;

use boxoffice::{Options, Runner, Running};
use domain::access::Role;
use domain::ids::{ID_CHARS, OrderId, UserId};
use platform::{App, Clock, Rng};
use serde_json::Value;
use std::ops::Deref;
use std::time::Duration;

/// How long a test waits for what it cannot be told of.
const EVENTUALLY_SECONDS_MAX: u64 = 20;
const EVENTUALLY_LOOK_MILLISECONDS: u64 = 5;

/// A box office in memory. Requests go through its HTTP door; the rest is for looking behind it.
pub struct TestApp {
    pub api: Api,
    pub running: Running,
    /// Somebody with all of an administrator's rights. There is no account behind it, only a token.
    pub admin: User,
    /// Somebody who lets people in.
    pub gate: User,
}

/// A test writes `app.get(…)` and `app.settled()` alike.
impl Deref for TestApp {
    type Target = Api;
    fn deref(&self) -> &Api {
        &self.api
    }
}

/// A payment as `POST /orders/{id}/payment` describes it.
#[derive(Clone, Debug)]
pub struct Payment {
    pub id: String,
    pub client_secret: String,
}

impl TestApp {
    /// A box office whose clock stands at [`NOW`], and whose schedules run only when asked.
    pub async fn start() -> Self {
        Self::start_with(options()).await
    }

    /// The same with DynamoDB calls and capacity counted in `running.meter`.
    pub async fn start_metered() -> Self {
        Self::start_with(Options { meter: true, ..options() }).await
    }

    pub async fn start_with(options: Options) -> Self {
        let running = Runner::start(options).await.expect("the box office starts");
        let register = running.app("register").expect("the template has it");
        let api = Api::new(&running.url, Some(register));
        let admin = User::new(UserId(0xad), vec![Role::Buyer, Role::Admin]);
        let gate = User::new(UserId(0x6a), vec![Role::Gate]);
        Self { api, running, admin, gate }
    }

    /// A new buyer with an id of their own and no account: a signed token is all that buying asks for.
    pub fn buyer(&self) -> User {
        User::new(UserId(u128::from_be_bytes(Rng::System.bytes())), vec![Role::Buyer])
    }

    /// A function's own view of the world.
    pub fn app(&self, handler: &str) -> App {
        self.running.app(handler).expect("the template has this function")
    }

    /// Waits until nothing moves any more by itself.
    pub async fn settled(&self) {
        self.running.settled().await.expect("it comes to rest");
    }

    /// Waits until something holds that nobody here is told of, such as what the provider does when its time comes.
    pub async fn eventually(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let started = std::time::Instant::now();
        while !holds().await {
            assert!(started.elapsed().as_secs() < EVENTUALLY_SECONDS_MAX, "it does not come to this: {what}");
            tokio::time::sleep(Duration::from_millis(EVENTUALLY_LOOK_MILLISECONDS)).await;
            self.settled().await;
        }
    }

    /// Waits until an order has this status.
    pub async fn becomes(&self, buyer: &User, order: &str, status: &str) {
        self.eventually(status, async || self.order(buyer, order).await["status"] == status).await;
    }

    /// Moves the clock.
    pub fn advance(&self, seconds: i64) {
        self.running.advance(seconds);
    }

    /// Moves the clock so far that no function's cache of events and maps is used any more.
    pub fn outdate_caches(&self) {
        self.advance(3);
    }

    /// Runs the scheduled function that sends what is due, and waits for what comes of it.
    pub async fn sweep(&self) {
        self.running.run_schedule("sweep").await.expect("it runs");
        self.settled().await;
    }

    /// Holds these seats (or whatever `what` asks for); the order.
    pub async fn hold(&self, buyer: &User, event: &str, what: &Value) -> Value {
        let mut body = serde_json::json!({ "event_id": event });
        let name = if what.is_array() { "seats" } else { "best" };
        body[name] = what.clone();
        self.post(buyer, "/orders", &body).await.expect(201)
    }

    /// Starts the payment of an order.
    pub async fn start_payment(&self, buyer: &User, order: &str) -> Payment {
        let body = self.post(buyer, &format!("/orders/{order}/payment"), &Value::Null).await.expect(201);
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Payment { id: text("payment_id"), client_secret: text("client_secret") }
    }

    /// What a buyer's browser does: confirms a payment at the provider with the publishable key. Stripe's answer.
    pub async fn confirm(&self, payment: &Payment, card: &str) -> Reply {
        let url = format!("{}/v1/payment_intents/{}/confirm", self.running.payments.url, payment.id);
        let form = [("client_secret", payment.client_secret.as_str()), ("payment_method", card)];
        let key = &self.running.secrets.stripe_publishable_key;
        let request = self.api.http().post(url).basic_auth(key, Some("")).form(&form);
        Reply::read(request.send().await.expect("the sandbox answers")).await
    }

    /// Pays an order with this card and waits until nothing moves; the order then.
    pub async fn pay(&self, buyer: &User, order: &str, card: &str) -> Value {
        let payment = self.start_payment(buyer, order).await;
        self.confirm(&payment, card).await;
        self.settled().await;
        self.order(buyer, order).await
    }

    /// Holds and pays; the paid order.
    pub async fn buy(&self, buyer: &User, event: &str, what: &Value) -> Value {
        let order = self.hold(buyer, event, what).await;
        let paid = self.pay(buyer, id(&order), "pm_card_visa").await;
        assert_eq!(paid["status"], "paid", "{paid}");
        paid
    }

    pub async fn order(&self, buyer: &User, order: &str) -> Value {
        self.get(buyer, &format!("/orders/{order}")).await.expect(200)
    }

    /// Gives back all tickets that are valid, or these, and waits until the money moved; the order then.
    pub async fn give_back(&self, buyer: &User, order: &str, tickets: Option<&[&str]>) -> Value {
        let body = tickets.map_or(serde_json::json!({}), |ids| serde_json::json!({ "ticket_ids": ids }));
        self.post(buyer, &format!("/orders/{order}/refunds"), &body).await.expect(201);
        self.settled().await;
        self.order(buyer, order).await
    }

    /// Waits for rest, checks that money, tickets, seats and journal agree, and that no dead letter is left.
    pub async fn finish(self) -> Audit {
        self.settled().await;
        let audit = Audit::read(&self).await;
        audit.check();
        audit
    }

    /// A ticket's code, as its owner sees it.
    pub async fn code(&self, buyer: &User, ticket: &str) -> String {
        let shown = self.get(buyer, &format!("/tickets/{ticket}")).await.expect(200);
        shown["code"].as_str().expect("a valid ticket has a code").to_owned()
    }

    /// What a gate of this event says to a ticket and a code.
    pub async fn check_in(&self, event: &str, ticket: &str, code: &str) -> Reply {
        let body = serde_json::json!({ "event_id": event, "code": code });
        self.post(&self.gate, &format!("/tickets/{ticket}/check-in"), &body).await
    }

    /// The id that an order of this buyer gets by this key.
    pub async fn order_id(&self, buyer: &User, key: &str) -> OrderId {
        let secret = self.app("buy").secret("ORDER_ID_KEY").await.expect("the template gives it");
        OrderId(domain::ids::keyed(&buyer.id.to_string(), &format!("POST /orders {secret}"), key))
    }

    fn dead_letters(&self) -> Vec<String> {
        let queues = self.running.queues();
        let dead = queues.names().filter(|name| name.ends_with("DeadLetters"));
        dead.flat_map(|name| self.running.dead_letters(name).expect("the queue was just named")).collect()
    }
}

/// Names another DynamoDB for the tables of tests that keep nothing: `BOXOFFICE_TEST_DYNAMODB_URL=http://127.0.0.1:4566 cargo test
/// -p tests`. It has to be an emulator; `infra/check-deployment --tables` starts one and does this.
const DYNAMODB: &str = "BOXOFFICE_TEST_DYNAMODB_URL";

/// How a test's box office runs unless it says otherwise.
pub fn options() -> Options {
    let clock = Clock::frozen_at(NOW.parse().expect("it is an instant"));
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says which DynamoDB they are for")]
    let dynamodb = std::env::var(DYNAMODB).ok().filter(|url| !url.is_empty());
    Options { clock, schedules: false, dynamodb, ..Options::default() }
}

/// The `id` of what a reply describes.
pub fn id(body: &Value) -> &str {
    body["id"].as_str().expect("it has an id")
}

/// The same JSON with every id but its prefix replaced, for snapshots.
pub fn mask(body: &Value) -> Value {
    match body {
        Value::String(text) => Value::String(mask_text(text)),
        Value::Array(items) => items.iter().map(mask).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (mask_text(name), mask(value))).collect(),
        other => other.clone(),
    }
}

fn mask_text(text: &str) -> String {
    match text.split_once('_') {
        Some((prefix @ ("usr" | "evt" | "ven" | "lay" | "prf" | "ord" | "rfd"), rest)) if rest.len() == ID_CHARS => {
            format!("{prefix}_[id]")
        }
        Some(("tkt", rest)) if rest.len() > ID_CHARS => format!("tkt_[id]{}", &rest[ID_CHARS..]),
        Some(("req", _)) => "req_[id]".to_owned(),
        _ => text.to_owned(),
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let letters = self.dead_letters();
        if !std::thread::panicking() {
            assert!(letters.is_empty(), "dead letters are left: {letters:#?}");
        }
    }
}
