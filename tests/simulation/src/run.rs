//! A run from beginning to end: ground, people, faults, then calm, rest and the checks.

use crate::checks::check;
use crate::choices::Choices;
use crate::explore::{Explorer, Race};
use crate::faults::{Called, Faults, Plan};
use crate::gate::Gate;
use crate::mutants::Mutant;
use crate::people::{Diary, Door, Errand, admin, errands};
use crate::subscribers::{DAYS_TO_PASS, Subscriber, subscribers};
use crate::tables::Tables;
use crate::world::{Keys, Shared, World};
use boxoffice::engine::{Place, Store};
use boxoffice::secrets::LocalSecrets;
use boxoffice::template::{System, TEMPLATE};
use domain::seating::words::HOLD_SECONDS;
use platform::{Clock, Rng};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps that people and faults have; most runs need a third.
const STEPS_MAX: usize = 1_500;
/// Steps in which everything must come to rest once the faults have stopped.
const CALM_STEPS_MAX: usize = 6_000;
/// Rounds of time passing and sweeping in which everything must come to rest.
const ROUNDS_MAX: usize = 12;
/// Seconds that pass in a round: a hold, stamped afresh, and two clocks that are wrong.
const ROUND_SECONDS: i64 = 1_301;
/// Daily comparisons after which the books must agree.
const RECONCILIATIONS_MAX: usize = 3;
const DAY_SECONDS: i64 = 86_400;
/// Where the clock stands when a run begins.
const BEGINS_AT: &str = "2027-03-01T12:00:10Z";

/// What every run begins with: the template's tables with one event on sale. Runs of one thread share it.
pub struct Ground {
    shared: Shared,
    store: Arc<Store>,
    snapshot: PathBuf,
    event: String,
    plans: [String; 2],
}

/// What became of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Empty if everything held.
    pub wrong: Vec<String>,
    pub trace: Vec<String>,
    /// The decisions that make this run again.
    pub script: Vec<u32>,
    /// How often each kind of fault came.
    pub faults: BTreeMap<&'static str, usize>,
    /// How many orders ended in each state.
    pub ends: BTreeMap<String, usize>,
    /// Our calls, in their order.
    pub calls: Vec<Called>,
}

/// Who comes to a run.
pub enum Cast<'a> {
    /// As the decisions have it.
    Anybody,
    These {
        errands: &'a [Errand],
        /// Who comes when the holds of the first have ended.
        later: &'a [Errand],
        /// Who subscribes, and the days that pass for them at the end.
        subscriber: Option<(&'a Subscriber, &'static [i64])>,
        is_called_off: bool,
        /// Whether people are told of what happens.
        is_told: bool,
        /// How issuers decide disputes.
        won: bool,
        /// By how many seconds the clock is wrong of the `buy` that meets whoever comes back late.
        late_skew_seconds: i64,
    },
}

impl Ground {
    /// Makes the tables and an event, through the administrator's door.
    pub fn prepare() -> Self {
        let secrets = LocalSecrets::drawn_from(&Rng::seeded(0));
        let (parameters, secret_values) = boxoffice::parameters::parameters(
            "http://boxoffice.test",
            "http://stripe.test",
            "http://telegram.test",
            &secrets,
        );
        let system = System::parse(TEMPLATE, &parameters).expect("the template is right");
        let keys = Keys {
            secret: secrets.stripe_secret.clone(),
            publishable: secrets.stripe_publishable_key.clone(),
            read_only: secrets.stripe_read_only_key.clone(),
            webhook: secrets.stripe_webhook_secret.clone(),
        };
        let shared = Shared { system, secrets: secret_values, keys };
        let store = Arc::new(Store::open(Place::Scratch).expect("there is room for tables"));
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("boxoffice-ground-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let snapshot = std::env::temp_dir().join(name);
        let mut ground = Self { shared, store, snapshot, event: String::new(), plans: Default::default() };
        (ground.event, ground.plans) = on_one_thread(ground.stock());
        let path = ground.snapshot.to_str().expect("the path is plain");
        ground.store.database.vacuum_into(path).expect("there is room for a snapshot");
        ground
    }

    /// Makes what is sold; the ids of the event and the plans.
    async fn stock(&self) -> (String, [String; 2]) {
        let mut world = self.world(1, Choices::scripted(Vec::new()), Plan::Calm, None);
        let (tables, gate) = (world.tables.client(), world.gate.clone());
        let create = async {
            boxoffice::tables::create(&tables, &self.shared.system.tables).await.expect("tables are made");
        };
        crate::gate::open(&gate, create).await;
        let diary = Diary::default();
        let door = self.door(&world, &diary);
        let stocked = Rc::new(RefCell::new(None));
        let made = stocked.clone();
        world.person("admin", async move { *made.borrow_mut() = Some(stock(&door).await) });
        go_on(&mut world).await;
        // The books have been compared before: what a night misses, the next make up for.
        world.run_schedule("reconcile");
        go_on(&mut world).await;
        stocked.take().expect("something was made")
    }

    /// One order of events: some come calmly, and then everything that follows from it meets those who come second, the
    /// end of a hold, the sweeper, and a message that comes twice.
    pub fn race(
        &self,
        race: Race,
        (first, second): (&[Errand], &[Errand]),
        mutant: Option<&'static Mutant>,
        explorer: Explorer,
    ) -> (Report, Explorer) {
        self.reset();
        on_one_thread(async {
            let mut world = self.world(1, Choices::scripted(Vec::new()), Plan::Calm, mutant);
            let diary = Diary::default();
            world.queues.held_back = Some(race.held_back());
            world.is_told = false;
            world.gate.listen();
            self.admit(&mut world, &diary, first.to_vec());
            go_on(&mut world).await;
            world.queues.held_back = None;
            (world.faults.plan, world.explorer) = (Plan::Every, Some(explorer));
            self.admit(&mut world, &diary, second.to_vec());
            let steps = go_on(&mut world).await;
            let explorer = world.explorer.take().expect("it was just lent");
            if explorer.has_been_here {
                return (Report::default(), explorer);
            }
            world.faults.plan = Plan::Calm;
            (world.is_later, world.verdict) = (true, Some(false));
            let mut wrong = rest(&mut world, false).await;
            if steps == STEPS_MAX {
                wrong.push("it does not come to an end".to_owned());
            }
            (report(world, wrong, &diary), explorer)
        })
    }

    fn world(&self, seed: u64, choices: Choices, plan: Plan, mutant: Option<&'static Mutant>) -> World<'_> {
        let gate = Gate::default();
        let tables = Tables::new(self.store.clone(), gate.clone(), mutant);
        let clock = Clock::frozen_at(BEGINS_AT.parse().expect("it is an instant"));
        World::new(&self.shared, tables, gate, clock, choices, Faults::new(seed, plan, mutant))
    }

    fn reset(&self) {
        let path = self.snapshot.to_str().expect("the path is plain");
        self.store.database.restore_from(path).expect("the snapshot is there");
        // The client draws its waits and tokens from the thread's randomness.
        fastrand::seed(1);
    }

    fn admit(&self, world: &mut World<'_>, diary: &Diary, errands: Vec<Errand>) {
        for errand in errands {
            let (name, door) = (format!("buyer {:x} {}", errand.buyer.0, errand.key), self.door(world, diary));
            world.person(&name, door.run(errand));
        }
    }

    fn door(&self, world: &World, diary: &Diary) -> Door {
        Door {
            gate: world.gate.clone(),
            provider: world.browser(),
            diary: diary.clone(),
            event: self.event.clone(),
            plans: self.plans.clone(),
            publishable_key: self.shared.keys.publishable.clone(),
        }
    }

    /// One run.
    pub fn run(
        &self,
        cast: Cast<'_>,
        seed: u64,
        choices: Choices,
        plan: Plan,
        mutant: Option<&'static Mutant>,
    ) -> Report {
        self.reset();
        on_one_thread(self.play(cast, self.world(seed, choices, plan, mutant)))
    }

    async fn play(&self, cast: Cast<'_>, mut world: World<'_>) -> Report {
        let diary = Diary::default();
        let mut days_to_pass = DAYS_TO_PASS;
        let (first, later, subscribers, is_called_off) = match cast {
            Cast::Anybody => {
                let (errands, subscribers) = (errands(&mut world.choices), subscribers(&mut world.choices));
                // What people are told takes as many calls as what they do.
                world.is_told = world.choices.once_in(4);
                (errands, Vec::new(), subscribers, world.choices.once_in(8))
            }
            Cast::These { errands, later, subscriber, is_called_off, is_told, won, late_skew_seconds } => {
                world.is_told = is_told;
                (world.verdict, world.late_skew_seconds) = (Some(won), late_skew_seconds);
                days_to_pass = subscriber.map_or(DAYS_TO_PASS, |(_, days)| days);
                let subscribers = subscriber.map(|(subscriber, _)| subscriber.clone());
                (errands.to_vec(), later.to_vec(), subscribers.into_iter().collect(), is_called_off)
            }
        };
        self.admit(&mut world, &diary, first);
        for subscriber in subscribers {
            world.days_to_pass = days_to_pass;
            let (name, door) = (format!("subscriber {:x}", subscriber.user.0), self.door(&world, &diary));
            world.person(&name, door.subscribe(subscriber));
        }
        if is_called_off {
            let door = self.door(&world, &diary);
            world.person("admin", door.call_off());
        }
        let is_wild = matches!(world.faults.plan, Plan::Wild { .. });
        world.is_later = is_wild;
        go_on(&mut world).await;
        if !is_wild {
            world.advance(HOLD_SECONDS + 1).await;
            world.is_later = true;
            self.admit(&mut world, &diary, later);
        }
        let lost = is_wild && world.choices.once_in(4);
        // One fault at one call may come at any call, up to the last.
        if is_wild {
            world.faults.plan = Plan::Calm;
        }
        world.restart(0);
        world.note(|| "the faults stop".to_owned());
        if lost {
            world.lose_webhooks();
        }
        let wrong = rest(&mut world, is_wild).await;
        report(world, wrong, &diary)
    }
}

/// Lets things happen until nothing can, or too much did; how many did.
async fn go_on(world: &mut World<'_>) -> usize {
    let mut steps = 0;
    while steps < STEPS_MAX && world.step().await {
        steps += 1;
    }
    steps
}

/// What became of a run that has come to rest.
fn report(world: World<'_>, mut wrong: Vec<String>, diary: &Diary) -> Report {
    let books = crate::checks::books(&world);
    wrong.extend(check(&world, &books, &diary.seen()));
    let (script, ends) = (world.choices.taken().to_vec(), crate::checks::ends(&books));
    let mut faults = world.faults;
    faults.count("dead letter", world.queues.buried);
    Report { wrong, script, ends, trace: world.trace, calls: faults.calls, faults: faults.counts }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What stays behind is a small file in the system's own place for such.
        let _ = std::fs::remove_file(&self.snapshot);
    }
}

/// The run of a seed.
pub fn run_seed(ground: &Ground, seed: u64, mutant: Option<&'static Mutant>) -> Report {
    ground.run(Cast::Anybody, seed, Choices::seeded(seed), plan_of(seed), mutant)
}

/// How wild the run of a seed is; a script of that run needs the same.
pub fn plan_of(seed: u64) -> Plan {
    let mut rng = fastrand::Rng::with_seed(!seed);
    let wander_in = [2, 3, 6, 20][rng.usize(0..4)];
    let fail_in = [6, 12, 30, 80, 1_000_000][rng.usize(0..5)];
    Plan::Wild { wander_in, fail_in, are_clocks_wrong: rng.bool() }
}

/// Lets everything come to rest: what waits is delivered, time passes, the sweeper runs, issuers decide, and the
/// provider's books are compared with the journal day by day.
async fn rest(world: &mut World<'_>, loses_verdicts: bool) -> Vec<String> {
    let mut wrong = quieten(world).await;
    // Holds that nobody has an order for end by themselves, and what a provider does later is done.
    world.advance(ROUND_SECONDS).await;
    wrong.extend(quieten(world).await);
    if world.decide_disputes() > 0 {
        // That a dispute was decided may never be told: no money moves when it is lost.
        if loses_verdicts && world.choices.below(2) == 1 {
            world.lose_webhooks();
        }
        wrong.extend(quieten(world).await);
    }
    wrong.extend(heal(world).await);
    for days in world.days_to_pass {
        world.advance(days * DAY_SECONDS).await;
        wrong.extend(quieten(world).await);
    }
    if crate::checks::must_reconcile(world) {
        wrong.push("the daily comparison did not heal what nobody was told of".to_owned());
    }
    wrong
}

/// Compares the books night by night. What a healed movement sets off may be healed only a day later.
async fn heal(world: &mut World<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for _ in 0..RECONCILIATIONS_MAX {
        if !crate::checks::must_reconcile(world) {
            break;
        }
        world.faults.count("reconciled", 1);
        world.advance(DAY_SECONDS).await;
        world.run_schedule("reconcile");
        wrong.extend(quieten(world).await);
    }
    wrong
}

async fn quieten(world: &mut World<'_>) -> Vec<String> {
    let mut steps = 0;
    for _ in 0..ROUNDS_MAX {
        while world.step().await {
            steps += 1;
            if steps > CALM_STEPS_MAX {
                return vec!["it does not come to rest: something happens again and again".to_owned()];
            }
        }
        if world.is_at_rest() {
            return Vec::new();
        }
        world.advance(ROUND_SECONDS).await;
        world.queues.redrive();
        world.run_schedule("sweep");
        if world.has_subscribers() {
            world.run_schedule("renew");
        }
    }
    let left: Vec<&str> = world.queues.bodies().collect();
    vec![format!("it does not come to rest; left are {left:?}, persons: {}", world.has_persons())]
}

/// A hall of a dozen seats, an event in it that is on sale, and two plans.
async fn stock(door: &Door) -> (String, [String; 2]) {
    let admin = admin();
    let venue = json!({ "name": "House", "city": "Moscow", "address": "1 Square", "time_zone": "Europe/Moscow" });
    let venue = made(door, "/admin/venues", venue).await;
    let row = |name: &str, y: i32, seats: u16, category: &str| json!({ "name": name, "x": 0, "y": y, "dx": 50, "seats": seats, "category": category });
    let category = |id: &str| json!({ "id": id, "name": id, "color": "#336699" });
    let layout = json!({
        "venue_id": venue,
        "name": "Small hall",
        "categories": [category("stalls"), category("gift")],
        "sections": [
            { "id": "A", "name": "A", "rows": [row("1", 100, 4, "stalls"), row("2", 200, 4, "stalls")] },
            { "id": "G", "name": "G", "rows": [row("1", 300, 2, "gift")] },
        ],
    });
    let layout = made(door, "/admin/layouts", layout).await;
    let performer = made(door, "/admin/performers", json!({ "name": "The Players" })).await;
    let event = json!({
        "name": "The Cherry Orchard",
        "performer_id": performer,
        "layout_id": layout,
        "layout_version": 1,
        "starts_at": "2027-06-01T16:00:00Z",
        "on_sale_from": "2027-01-01T00:00:00Z",
        "currency": "RUB",
        "prices": { "stalls": 150_000, "gift": 0 },
        "service_fee": 7_501,
        "refund_policy": { "statute": "ru_performing_arts" },
    });
    let event = made(door, "/admin/events", event).await;
    let publication = format!("/admin/events/{event}/publication");
    door.insist(&admin, "POST", publication, "publish", Value::Null).await;
    let plan = |name: &str, amount: i64, trial_days: u16| {
        json!({
            "name": { "ru": name, "en": name },
            "price": { "amount": amount, "currency": "RUB" },
            "billing": "monthly",
            "trial_days": trial_days,
            "cancel_refund": "pro_rata",
            "perks": [{ "kind": "tickets", "a_month": 1 }],
        })
    };
    let friend = made_by(door, "friend", "/admin/plans", plan("Friend", 50_000, 0)).await;
    let patron = made_by(door, "patron", "/admin/plans", plan("Patron", 90_000, 5)).await;
    (event, [friend, patron])
}

async fn made(door: &Door, path: &str, body: Value) -> String {
    made_by(door, path, path, body).await
}

async fn made_by(door: &Door, key: &str, path: &str, body: Value) -> String {
    let reply = door.insist(&admin(), "POST", path.to_owned(), key, body).await.expect("nothing fails here");
    assert_eq!(reply.status, 201, "{:?}", reply.body);
    reply.body["id"].as_str().expect("what was made has an id").to_owned()
}

fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a thread can have a runtime").block_on(work)
}
