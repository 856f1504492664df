//! `kill -9` in the middle of 200 purchases, with data on disk: what was answered is there at the next start, what was
//! captured has its tickets, and what was not paid is free again when its hold ends.

use boxoffice::{Data, Options};
use domain::orders::{OrderState, TicketState};
use platform::{App, Clock};
use serde_json::{Value, json};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::program::{Directory, Victim, free_address, orders_on_disk};
use tests::{Api, Reply, TestApp, User, id, seat};
use tokio::sync::watch;

const PURCHASES: usize = 200;
const BUYERS: usize = 20;
/// Seats of a row; a purchase takes two neighbours.
const ROW_SEATS: usize = 20;
/// So many purchases stay held, and so many stay started, until the kill: however slow the machine is, it finds them.
const STAY_HELD: usize = 14;
const STAY_PAYING: usize = 14;
/// So many are confirmed together when all others are where they are to be: then many are settling at once.
const CONFIRMED_LAST: usize = 60;
const PAID_WANTED: usize = 10;
/// Settling orders that are waited for before the kill: some go on meanwhile. A slow machine has them one after the other, and
/// never so many, so that after some seconds one is enough.
const SETTLING_WANTED: usize = 14;
const SETTLING_WANTED_SECONDS: u64 = 3;
/// Holds every answer of the provider back, so that many orders are at it at once.
const PROVIDER_DELAY_MILLISECONDS: u64 = 1_000;
/// Purchases begin so far apart, and buyers think twice for up to so long.
const BEGIN_EVERY_MILLISECONDS: u64 = 25;
const THINK_MILLISECONDS_MAX: u64 = 2_500;
const LOOK_MILLISECONDS: u64 = 250;
/// How long anything that has to happen may take.
const WAIT_SECONDS_MAX: u64 = 90;
/// Past the end of every hold.
const SHIFT_SECONDS: i64 = 660;
/// Seats of one order, and items of a page.
const ORDER_SEATS: usize = 10;
const PAGE_ITEMS: usize = 100;

/// How far a buyer has come, as that buyer knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Looking,
    Held,
    /// On the way from one state to the next.
    Between,
    Paying,
    Confirmed {
        status: String,
    },
}

/// What a buyer was told before the end.
#[derive(Clone, Debug, Default)]
struct Purchase {
    phase: Phase,
    order: Option<String>,
    seats: Vec<Value>,
}

type Purchases = Arc<Mutex<Vec<Purchase>>>;

#[test]
fn a_killed_box_office_keeps_what_it_answered_and_finishes_what_it_began() {
    let started = Instant::now();
    let directory = Directory::new("crash");
    let data = directory.0.join("data");
    let stage = alone(prepare(data.clone()));
    let address = free_address();

    let purchases = alone(async {
        let program = Victim::start(&data, &address, &["--sandbox-delay-ms", &PROVIDER_DELAY_MILLISECONDS.to_string()]);
        sell_until_killed(program, &stage).await
    });
    let died = started.elapsed();
    let settling = check_states(&data);

    alone(async {
        let program = Victim::start(&data, &address, &[]);
        check_answered(&stage.api(&program), &stage, &purchases).await;
        finish_payments(&program, &stage, &purchases, settling).await;
    });
    alone(async {
        let program = Victim::start(&data, &address, &["--clock-shift", &SHIFT_SECONDS.to_string()]);
        let api = stage.api(&program);
        wait_for("every order is at rest", async || open_orders(&api, &stage).await.is_empty()).await;
        check_free(&api, &stage).await;
    });
    alone(check_books(data, purchases));
    println!("crash: {:.1} s until the kill, {:.1} s in all", died.as_secs_f64(), started.elapsed().as_secs_f64());
}

/// Runs this on a runtime of its own, and ends all that it started.
fn alone<T>(act: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("there are threads").block_on(act)
}

/// An event on sale, and those who want to go.
struct Stage {
    event: String,
    buyers: Vec<User>,
    /// Signs tokens with the keys that are kept with the data.
    signer: App,
}

impl Stage {
    fn api(&self, program: &Victim) -> Api {
        Api::new(&program.url, Some(self.signer.clone()))
    }
}

async fn prepare(data: PathBuf) -> Stage {
    let options = Options { data: Data::Dir(data), schedules: false, ..Options::default() };
    let app = TestApp::start_with(options).await;
    let rows = (0..PURCHASES * 2 / ROW_SEATS).map(
        |row| json!({ "name": row.to_string(), "x": 0, "y": row * 100, "dx": 50, "seats": ROW_SEATS, "category": "a" }),
    );
    let hall = app.hall_of(json!({
        "name": "Hall",
        "categories": [{ "id": "a", "name": "A", "color": "#336699" }],
        "sections": [{ "id": "A", "name": "A", "rows": rows.collect::<Vec<_>>() }],
    }));
    let (hall, now) = (hall.await, app.app("buy").now());
    let event = json!({
        "starts_at": now + jiff::SignedDuration::from_hours(90 * 24),
        "on_sale_from": now - jiff::SignedDuration::from_hours(1),
        "prices": { "a": 3_333 },
    });
    let event = app.event(&hall, &event).await;
    Stage { event, buyers: (0..BUYERS).map(|_| app.buyer()).collect(), signer: app.app("register") }
}

/// Lets all buyers go through their purchases, and kills the box office in the middle of it.
async fn sell_until_killed(mut program: Victim, stage: &Stage) -> Vec<Purchase> {
    let purchases: Purchases = Arc::new(Mutex::new(vec![Purchase::default(); PURCHASES]));
    let key = program.secrets().stripe_publishable_key;
    let (gate, opened) = watch::channel(false);
    let tasks: Vec<_> = (0..PURCHASES)
        .map(|nth| {
            let buyer = stage.buyers[nth % BUYERS].clone();
            let visit = Visit { api: stage.api(&program), key: key.clone(), buyer, nth, opened: opened.clone() };
            tokio::spawn(visit.buy(stage.event.clone(), purchases.clone()))
        })
        .collect();
    let count = |wanted: &dyn Fn(&Phase) -> bool| {
        let purchases = purchases.lock().expect("no panic holds this lock");
        purchases.iter().filter(|purchase| wanted(&purchase.phase)).count()
    };
    let is = |name: &'static str| move |phase: &Phase| matches!(phase, Phase::Confirmed { status } if status == name);
    let goes_on = || {
        let ended = tasks.iter().filter(|task| task.is_finished()).count();
        assert!(ended <= count(&is("paid")), "a purchase ended before it was paid");
    };
    wait_for("the purchases that stay are held or started, and some are paid", async || {
        goes_on();
        count(&|phase| *phase == Phase::Held) >= STAY_HELD
            && count(&|phase| *phase == Phase::Paying) >= STAY_PAYING + CONFIRMED_LAST
            && count(&is("paid")) >= PAID_WANTED
    })
    .await;
    gate.send_replace(true);
    let confirmed = Instant::now();
    wait_for("orders are settling", async || {
        goes_on();
        let is_slow = confirmed.elapsed().as_secs() >= SETTLING_WANTED_SECONDS;
        count(&is("settling")) >= if is_slow { 1 } else { SETTLING_WANTED }
    })
    .await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    program.kill();
    let purchases = purchases.lock().expect("no panic holds this lock").clone();
    let answered = purchases.iter().filter(|purchase| purchase.order.is_some()).count();
    println!("crash: killed with {answered} of {PURCHASES} orders answered, {} of them paid", count_paid(&purchases));
    purchases
}

fn count_paid(purchases: &[Purchase]) -> usize {
    purchases.iter().filter(|purchase| purchase.phase == Phase::Confirmed { status: "paid".to_owned() }).count()
}

/// One purchase of one buyer.
struct Visit {
    api: Api,
    /// The provider's publishable key.
    key: String,
    buyer: User,
    nth: usize,
    /// Those who confirm last wait for it.
    opened: watch::Receiver<bool>,
}

impl Visit {
    /// Holds two seats, thinks, starts to pay, thinks, confirms, looks until it is paid.
    async fn buy(mut self, event: String, purchases: Purchases) {
        let (nth, api, buyer) = (self.nth, &self.api, &self.buyer);
        let think = |salt: u64| Duration::from_millis((nth as u64 * salt) % THINK_MILLISECONDS_MAX);
        let note =
            |change: &dyn Fn(&mut Purchase)| change(&mut purchases.lock().expect("no panic holds this lock")[nth]);
        tokio::time::sleep(Duration::from_millis(nth as u64 * BEGIN_EVERY_MILLISECONDS)).await;
        let (row, first) = (nth * 2 / ROW_SEATS, nth * 2 % ROW_SEATS + 1);
        let seats = vec![seat("A", row, first), seat("A", row, first + 1)];
        let ask = json!({ "event_id": event, "seats": seats });
        let order = api.post_with_key(buyer, "/orders", &format!("purchase {nth}"), &ask).await.expect(201);
        let order = id(&order).to_owned();
        note(&|purchase| {
            (purchase.order, purchase.seats, purchase.phase) = (Some(order.clone()), seats.clone(), Phase::Held)
        });
        if nth < STAY_HELD {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(think(7_919)).await;
        note(&|purchase| purchase.phase = Phase::Between);
        let path = format!("/orders/{order}/payment");
        let payment = api.post_with_key(buyer, &path, &format!("pay {nth}"), &Value::Null).await.expect(201);
        note(&|purchase| purchase.phase = Phase::Paying);
        if nth < STAY_HELD + STAY_PAYING {
            std::future::pending::<()>().await;
        }
        if nth < STAY_HELD + STAY_PAYING + CONFIRMED_LAST {
            // An error means that the sender is gone, and the test over.
            let _ = self.opened.wait_for(|opened| *opened).await;
        } else {
            tokio::time::sleep(think(6_151)).await;
        }
        note(&|purchase| purchase.phase = Phase::Between);
        self.confirm(&payment).await;
        loop {
            let shown = self.api.get(&self.buyer, &format!("/orders/{order}")).await.expect(200);
            let status = shown["status"].as_str().unwrap_or_default().to_owned();
            note(&|purchase| purchase.phase = Phase::Confirmed { status: status.clone() });
            if status == "paid" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
        }
    }

    async fn confirm(&self, payment: &Value) {
        let text = |name: &str| payment[name].as_str().unwrap_or_default().to_owned();
        let confirm = format!("{}/v1/payment_intents/{}/confirm", text("api_base"), text("payment_id"));
        let form = [("client_secret", text("client_secret")), ("payment_method", "pm_card_visa".to_owned())];
        let confirm = self.api.http().post(confirm).basic_auth(&self.key, Some("")).form(&form);
        assert!(confirm.send().await.expect("the provider answers").status().is_success());
    }
}

/// Counts the orders in each state. Returns how many were settling.
fn check_states(data: &Path) -> usize {
    let orders = orders_on_disk(data);
    let count = |state: OrderState| orders.iter().filter(|order| order.state == state).count();
    let (held, paying, settling) = (count(OrderState::Held), count(OrderState::Paying), count(OrderState::Settling));
    let paid = count(OrderState::Paid);
    println!("crash: on disk {held} held, {paying} paying, {settling} settling, {paid} paid");
    assert!(held >= STAY_HELD && paying >= STAY_PAYING && settling > 0, "too few orders were half-way");
    settling
}

/// Every order that was answered is there, not less far than its buyer was told; nobody else can have its seats.
async fn check_answered(api: &Api, stage: &Stage, purchases: &[Purchase]) {
    let other = User::new(domain::ids::UserId(0x07), vec![domain::access::Role::Buyer]);
    for (nth, purchase) in purchases.iter().enumerate() {
        let Some(order) = &purchase.order else { continue };
        let shown = api.get(&stage.buyers[nth % BUYERS], &format!("/orders/{order}")).await.expect(200);
        if let Phase::Confirmed { status } = &purchase.phase
            && status == "paid"
        {
            assert_eq!(shown["status"], "paid", "{shown}");
        }
        let ask = json!({ "event_id": stage.event, "seats": purchase.seats });
        api.post_with_key(&other, "/orders", &format!("other {nth}"), &ask).await.problem(409, "seats_taken");
    }
}

/// What was set aside at the provider is captured, and each capture has its tickets. Nobody has to do anything for it.
async fn finish_payments(program: &Victim, stage: &Stage, purchases: &[Purchase], settling: usize) {
    let (secret, api) = (program.secrets().stripe_secret, stage.api(program));
    let settles = async || {
        let intents = intents(&api, &program.payments, &secret).await;
        let settling = all_orders(&api, stage).await.into_iter().filter(|(_, order)| order["status"] == "settling");
        settling.count() == 0 && intents.iter().all(|intent| intent["status"] != "requires_capture")
    };
    wait_for("every payment that was authorised is settled", settles).await;
    let captured = intents(&api, &program.payments, &secret).await;
    let captured: Vec<_> = captured.iter().filter(|intent| intent["status"] == "succeeded").collect();
    let orders = all_orders(&api, stage).await;
    for intent in &captured {
        let of = |(_, order): &&(usize, Value)| order["id"] == intent["metadata"]["order_id"];
        let (_, order) = orders.iter().find(of).expect("the provider took nothing without an order");
        assert_eq!(
            (&order["status"], &order["total"]["amount"]),
            (&json!("paid"), &intent["amount_received"]),
            "{order}"
        );
        let seats = order["seats"].as_array().expect("an order has seats");
        assert!(seats.iter().all(|seat| seat["ticket_status"] == "valid"), "{order}");
    }
    let paid = orders.iter().filter(|(_, order)| order["status"] == "paid").count();
    assert_eq!(paid, captured.len(), "tickets are for captures only");
    let before = count_paid(purchases);
    println!("crash: {paid} captured and ticketed after the restart, {before} of them known to be before it");
    assert!(paid >= before + settling, "what was settling is paid");
}

/// The provider's payments, all pages of them.
async fn intents(api: &Api, provider: &str, secret: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let mut url = format!("{provider}/v1/payment_intents?limit={PAGE_ITEMS}");
        if let Some(last) = all.last() {
            url.push_str(&format!("&starting_after={}", id(last)));
        }
        let reply = api.http().get(url).bearer_auth(secret).send().await.expect("the provider answers");
        let page = Reply::read(reply).await.expect(200);
        all.extend(page["data"].as_array().into_iter().flatten().cloned());
        if page["has_more"] == false {
            return all;
        }
    }
}

/// Every buyer's orders, with the buyer's number.
async fn all_orders(api: &Api, stage: &Stage) -> Vec<(usize, Value)> {
    let mut all = Vec::new();
    for (nth, buyer) in stage.buyers.iter().enumerate() {
        let page = api.get(buyer, &format!("/orders?limit={PAGE_ITEMS}")).await.expect(200);
        all.extend(page["items"].as_array().into_iter().flatten().map(|order| (nth, order.clone())));
    }
    all
}

/// Orders that are not at rest.
async fn open_orders(api: &Api, stage: &Stage) -> Vec<Value> {
    let is_open = |order: &Value| !matches!(order["status"].as_str(), Some("paid" | "expired"));
    all_orders(api, stage).await.into_iter().map(|(_, order)| order).filter(is_open).collect()
}

/// The seats of every hold that ended can be held by somebody else.
async fn check_free(api: &Api, stage: &Stage) {
    let expired = all_orders(api, stage).await.into_iter().filter(|(_, order)| order["status"] == "expired");
    let name = |seat: &Value| json!({ "section": seat["section"], "row": seat["row"], "seat": seat["seat"] });
    let seats: Vec<Value> = expired
        .flat_map(|(_, order)| {
            order["seats"].as_array().expect("an order has seats").iter().map(name).collect::<Vec<_>>()
        })
        .collect();
    assert!(seats.len() >= 2 * (STAY_HELD + STAY_PAYING), "the orders that were held or being paid have expired");
    println!("crash: {} seats of unpaid orders are free again", seats.len());
    let other = User::new(domain::ids::UserId(0x08), vec![domain::access::Role::Buyer]);
    for some in seats.chunks(ORDER_SEATS) {
        let ask = json!({ "event_id": stage.event, "seats": some });
        api.post_with_key(&other, "/orders", &format!("free {}", some[0]), &ask).await.expect(201);
    }
}

/// Behind the doors: every answered order, money, tickets, seats and journal agree, and nothing was given up.
async fn check_books(data: PathBuf, purchases: Vec<Purchase>) {
    let clock = Clock::default();
    clock.advance(SHIFT_SECONDS);
    let app =
        TestApp::start_with(Options { data: Data::Dir(data), clock, schedules: false, ..Options::default() }).await;
    app.settled().await;
    for queue in app.running.queues().names() {
        assert_eq!(app.running.queues().bodies(queue).expect("it was just named"), Vec::<String>::new(), "{queue}");
    }
    let audit = app.finish().await;
    for order in purchases.iter().filter_map(|purchase| purchase.order.as_ref()) {
        let found = audit.orders.iter().find(|stored| stored.id.to_string() == *order).expect("it was answered");
        let is_at_rest = match found.state {
            OrderState::Paid => found.tickets().all(|(.., ticket)| ticket == TicketState::Valid),
            OrderState::Expired => found.tickets().next().is_none(),
            _ => false,
        };
        assert!(is_at_rest, "{found:?}");
    }
}

async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(
            started.elapsed() < Duration::from_secs(WAIT_SECONDS_MAX),
            "after {WAIT_SECONDS_MAX} s not yet: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
