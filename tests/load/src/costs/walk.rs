//! People who come, look, buy and give back, one after another, and what each way takes.

use super::counts::{Counted, Counts};
use boxoffice::Options;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;
use tests::{Fault, Payment, Provider, TestApp, User, id, seat};

/// The hall of the demo with 20,000 places.
const ARENA: &str = include_str!("../../../../infra/demo/arena.json");
const PASSWORD: &str = "correct horse battery";
/// Seconds after which a hold has ended for everybody.
const HOLD_SECONDS: i64 = 700;
/// How often each way is gone, since messages do not come in the same batches each time.
const TIMES: usize = 8;
/// A year of renewals, of which a subscription's month is one in twelve; the weeks in which all of them come.
const MONTHS: f64 = 12.0;
const WEEKS: usize = 53;
const WEEK_SECONDS: i64 = 7 * 24 * 3_600;

/// What one of each takes.
#[derive(Default)]
pub struct Walk {
    /// Looking for an event, at it, and at the scheme of its hall.
    pub look: Counts,
    /// The map of 20,000 seats, which nobody has read for a second.
    pub map: Counts,
    pub sign_up: Counts,
    /// Two seats: held, paid, looked at until they are paid, with both tickets' codes.
    pub order: Counts,
    /// Both people are let in.
    pub check_in: Counts,
    /// Two seats held and not paid, until they are free again, but for the sweeper's look for them.
    pub given_up: Counts,
    /// Both tickets given back, after a look at what that gives.
    pub refund: Counts,
    /// A run of the sweeper that finds nothing.
    pub sweep: Counts,
    /// A run that finds no subscription that is due.
    pub renew: Counts,
    /// A month of a subscription: its notice, its renewal, the payment with the saved card, its revenue; but for the looks at
    /// what is due.
    pub renewal: Counts,
    /// A night's comparison of a day without sales.
    pub night: Counts,
}

impl Walk {
    pub async fn take() -> Self {
        let people = People::start().await;
        let mut walk = people.walk().await;
        people.app.finish().await;
        // In a box office of its own, since a year passes and the audit above knows no charges.
        let subscribers = People::start().await;
        walk.renewal = subscribers.renewal(&walk.renew).await;
        walk
    }

    /// All ways, by name.
    fn ways(&self) -> [(&'static str, &Counts); 11] {
        [
            ("look at the events, at one, and at its hall", &self.look),
            ("map of 20,000 seats, read anew", &self.map),
            ("sign up and sign in", &self.sign_up),
            ("order of two seats, held, paid, ticketed", &self.order),
            ("two tickets checked in", &self.check_in),
            ("hold of two seats that ends", &self.given_up),
            ("refund of a whole order", &self.refund),
            ("month of a subscription: notice, renewal, payment, revenue", &self.renewal),
            ("sweep that finds nothing", &self.sweep),
            ("renew that finds nothing", &self.renew),
            ("reconcile of a day without sales", &self.night),
        ]
    }

    /// In Markdown.
    pub fn table(&self) -> String {
        let mut text =
            "| what | requests | invocations | messages | published | DynamoDB calls | read units | write units | \
                        provider calls |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
                .to_owned();
        for (name, counts) in self.ways() {
            let numbers = [
                counts.requests,
                counts.all_invocations(),
                counts.messages,
                counts.published,
                counts.table_calls,
                counts.read_units,
                counts.write_units,
                counts.provider_calls,
            ];
            let cells = numbers.map(|number| format!("{number:.1}")).join(" | ");
            writeln!(text, "| {name} | {cells} |").expect("a text takes everything");
        }
        text
    }
}

struct People {
    app: TestApp,
    counted: Counted,
}

impl People {
    async fn start() -> Self {
        let counted = Counted::default();
        let provider = Provider::default();
        let calls = counted.clone();
        provider.set(move || {
            calls.add(Counts { provider_calls: 1.0, ..Counts::default() });
            Fault::None
        });
        let options = Options {
            meter: true,
            schedules: false,
            code: Arc::new(counted.clone()),
            wires: provider.wires(),
            ..tests::options()
        };
        Self { app: TestApp::start_with(options).await, counted }
    }

    async fn walk(&self) -> Walk {
        let app = &self.app;
        let event = app.on_sale().await;
        let arena = self.arena().await;
        let buyer = app.buyer();
        let mut walk = Walk::default();
        // What is read once is in the instance's memory from here on.
        app.buy(&buyer, &event, &json!([seat("Stalls", "Long", 1)])).await;
        app.look(&format!("/events/{event}")).await.expect(200);
        for number in 0..TIMES {
            walk.look += self.counts_of(self.look(&event)).await;
            app.outdate_caches();
            walk.map += self.counts_of(self.see(&format!("/events/{arena}/seats"))).await;
            walk.sign_up += self.counts_of(self.sign_up(number)).await;
            let seats = json!([seat("Stalls", number + 1, 1), seat("Stalls", number + 1, 2)]);
            let mut order = Value::Null;
            walk.order += self.counts_of(async { order = self.order(&buyer, &event, &seats).await }).await;
            match number % 2 {
                0 => walk.check_in += self.counts_of(self.check_in(&event, &buyer, &order)).await,
                _ => walk.refund += self.counts_of(self.refund(&buyer, &order)).await,
            }
            let seats = json!([seat("Side", 1, 1), seat("Side", 1, 2)]);
            walk.given_up += self.counts_of(self.give_up(&buyer, &event, &seats)).await;
            walk.sweep += self.counts_of(app.sweep()).await;
            walk.renew += self.counts_of(self.run("renew")).await;
        }
        walk.night = self.counts_of(self.run("reconcile")).await;
        for (counts, times) in [
            (&mut walk.look, TIMES),
            (&mut walk.map, TIMES),
            (&mut walk.sign_up, TIMES),
            (&mut walk.order, TIMES),
            (&mut walk.given_up, TIMES),
            (&mut walk.sweep, TIMES),
            (&mut walk.renew, TIMES),
            (&mut walk.check_in, TIMES / 2),
            (&mut walk.refund, TIMES / 2),
        ] {
            *counts = counts.times(1.0 / times as f64);
        }
        // The sweeper that ended the holds comes whether there are any or not.
        walk.given_up = walk.given_up - walk.sweep.clone();
        walk
    }

    /// A month of a subscription, from a year of one. `idle` is what a run takes that finds nothing.
    async fn renewal(&self, idle: &Counts) -> Counts {
        self.subscribe(&self.app.buyer()).await;
        let mut year = Counts::default();
        for _ in 0..WEEKS {
            self.app.advance(WEEK_SECONDS);
            year += self.counts_of(self.run("renew")).await;
        }
        (year - idle.times(WEEKS as f64)).times(1.0 / MONTHS)
    }

    async fn run(&self, schedule: &str) {
        self.app.running.run_schedule(schedule).await.expect("it runs");
    }

    /// Somebody has paid for the first month, with a card that is saved.
    async fn subscribe(&self, buyer: &User) {
        let terms = json!({
            "name": { "ru": "Друг", "en": "Friend" },
            "price": { "amount": 1_000, "currency": "EUR" },
            "billing": "monthly",
            "notice_days": 3,
        });
        let plan = self.app.post(&self.app.admin, "/admin/plans", &terms).await.expect(201);
        let body = json!({ "plan_id": id(&plan), "time_zone": "Europe/Berlin", "consent_text": "10 EUR each month" });
        let begun = self.app.post(buyer, "/subscriptions", &body).await.expect(201);
        let payment = |name: &str| begun["payment"][name].as_str().expect("it is to be paid").to_owned();
        let payment = Payment { id: payment("payment_id"), client_secret: payment("client_secret") };
        self.app.confirm(&payment, "pm_card_visa").await.expect(200);
        self.app.settled().await;
    }

    /// What this takes, with everything that it sets off.
    async fn counts_of(&self, way: impl Future<Output = ()>) -> Counts {
        self.app.settled().await;
        let before = self.counts();
        way.await;
        self.app.settled().await;
        self.counts() - before
    }

    fn counts(&self) -> Counts {
        let mut counts = self.counted.0.lock().expect("no panic holds this lock").clone();
        let meter = self.app.running.meter.as_ref().expect("it was asked for");
        for ((operation, _), of) in meter.counts() {
            // The streams are read by AWS, at its own expense.
            if !operation.contains("Stream") && !operation.contains("Record") && !operation.contains("Shard") {
                counts.table_calls += of.calls as f64;
            }
            counts.read_units += of.read_units;
            counts.write_units += of.write_units;
        }
        counts
    }

    /// An event in the arena.
    async fn arena(&self) -> String {
        let scheme: Value = serde_json::from_str(ARENA).expect("the demo has it");
        let categories = scheme["categories"].as_array().expect("it has categories").clone();
        let hall = self.app.hall_of(scheme).await;
        let prices = categories.iter().map(|category| (id(category).to_owned(), json!(4_500)));
        self.app.event(&hall, &json!({ "prices": prices.collect::<serde_json::Map<_, _>>() })).await
    }

    async fn see(&self, path: &str) {
        self.app.look(path).await.expect(200);
    }

    async fn look(&self, event: &str) {
        self.see("/events").await;
        let shown = self.app.look(&format!("/events/{event}")).await.expect(200);
        let layout = &shown["layout"];
        self.see(&format!("/layouts/{}/{}", id(layout), layout["version"])).await;
    }

    async fn sign_up(&self, number: usize) {
        let email = format!("ada-{number}@example.org");
        let body = json!({ "email": email, "password": PASSWORD, "name": "Ada" });
        self.app.ask("POST", "/users").key(&email).json(&body).send().await.expect(201);
        let body = json!({ "email": email, "password": PASSWORD });
        self.app.ask("POST", "/sessions").json(&body).send().await.expect(201);
    }

    async fn order(&self, buyer: &User, event: &str, seats: &Value) -> Value {
        let order = self.app.buy(buyer, event, seats).await;
        self.app.get(buyer, "/tickets").await.expect(200);
        for seat in order["seats"].as_array().expect("it has seats") {
            let ticket = seat["ticket_id"].as_str().expect("it is paid");
            assert_eq!(self.app.get(buyer, &format!("/tickets/{ticket}/code.svg")).await.status, 200);
        }
        order
    }

    async fn check_in(&self, event: &str, buyer: &User, order: &Value) {
        for seat in order["seats"].as_array().expect("it has seats") {
            let ticket = seat["ticket_id"].as_str().expect("it is paid");
            let code = self.app.code(buyer, ticket).await;
            self.app.check_in(event, ticket, &code).await.expect(200);
        }
    }

    async fn refund(&self, buyer: &User, order: &Value) {
        let quotes = format!("/orders/{}/refund-quotes", id(order));
        assert!(self.app.post(buyer, &quotes, &json!({})).await.status < 300);
        self.app.give_back(buyer, id(order), None).await;
    }

    async fn give_up(&self, buyer: &User, event: &str, seats: &Value) {
        self.app.hold(buyer, event, seats).await;
        self.app.advance(HOLD_SECONDS);
        self.app.sweep().await;
    }
}
