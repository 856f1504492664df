//! Everything that the provider knows, and what happens by itself as time passes.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::idempotency::{Replay, Replays};
use crate::objects::{Charge, Customer, Dispute, Intent, Kind, Method, Object, Refund, Setup, Txn, render};
use crate::store::{DELIVERY, DRAWN, EVENT, Store, TIMER, Write};
use crate::table::Table;
use crate::{Error, Settings, Webhook, intents, refunds};

/// The version whose shapes these are.
pub(crate) const API_VERSION: &str = "2026-10-28.endive";
/// How many events are kept; Stripe keeps them for 30 days.
const EVENTS_KEPT_MAX: usize = 10_000;
const ID_CHARS: usize = 24;
const HASH_BYTES: usize = 32;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Something that happens later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Timer {
    Authorise(usize),
    Decline(usize),
    RefundSucceeds(usize),
    RefundFails(usize),
}

/// An event as it was told.
#[derive(Deserialize)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) r#type: String,
    #[serde(skip)]
    pub(crate) body: Arc<str>,
}

/// A webhook on its way: number of the event, and how often it was tried.
pub(crate) struct Delivery {
    pub(crate) event: u64,
    pub(crate) attempts: usize,
    pub(crate) body: Arc<str>,
}

/// The state; one lock holds it all, since nothing in it waits.
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) base_url: String,
    pub(crate) now_ms: i64,
    pub(crate) intents: Table<Intent>,
    pub(crate) charges: Table<Charge>,
    pub(crate) refunds: Table<Refund>,
    pub(crate) customers: Table<Customer>,
    pub(crate) setups: Table<Setup>,
    pub(crate) methods: Table<Method>,
    pub(crate) txns: Table<Txn>,
    pub(crate) disputes: Table<Dispute>,
    pub(crate) events: VecDeque<Told>,
    /// Number of the first event in `events`.
    pub(crate) events_base: u64,
    pub(crate) replays: Replays,
    pub(crate) timers: BTreeSet<(i64, u64, Timer)>,
    next_timer: u64,
    /// Webhooks that wait, by when they are due and by the number of their event.
    pub(crate) deliveries: BTreeMap<(i64, u64), Delivery>,
    /// Events whose webhook waits or is under way.
    undelivered: HashSet<u64>,
    /// Who caused what happens now: request id and idempotency key.
    pub(crate) cause: Option<(String, Option<String>)>,
    /// How long the answer of the current call is held back.
    pub(crate) hang_ms: i64,
    /// Whether the current call comes from a browser, which is shown less.
    pub(crate) public: bool,
    /// Whether every call is refused before it begins, as in an outage.
    pub(crate) down: bool,
    /// Whether every call fails after it began.
    pub(crate) broken: bool,
    /// How long every answer is held back.
    pub(crate) delay_ms: i64,
    /// How many random choices were made of the seed, and how many of them the database knows of.
    drawn: u64,
    drawn_kept: u64,
    writes: Vec<Write>,
    store: Option<Store>,
}

impl State {
    pub(crate) fn open(settings: Settings) -> Result<State, Error> {
        let store = settings.database.as_deref().map(Store::open).transpose()?;
        let now_ms = (settings.clock)();
        let mut state = State {
            intents: table(store.as_ref())?,
            charges: table(store.as_ref())?,
            refunds: table(store.as_ref())?,
            customers: table(store.as_ref())?,
            setups: table(store.as_ref())?,
            methods: table(store.as_ref())?,
            txns: table(store.as_ref())?,
            disputes: table(store.as_ref())?,
            events: VecDeque::new(),
            events_base: 0,
            replays: Replays::default(),
            timers: BTreeSet::new(),
            next_timer: 0,
            deliveries: BTreeMap::new(),
            undelivered: HashSet::new(),
            cause: None,
            hang_ms: 0,
            public: false,
            down: false,
            broken: false,
            delay_ms: 0,
            drawn: 0,
            drawn_kept: 0,
            writes: Vec::new(),
            base_url: String::new(),
            now_ms,
            settings,
            store: None,
        };
        if let Some(store) = store {
            state.restore(&store)?;
            state.store = Some(store);
        }
        Ok(state)
    }

    /// Reads what is not an object: events, deliveries, timers and idempotency keys.
    fn restore(&mut self, store: &Store) -> Result<(), Error> {
        let mut bodies = BTreeMap::new();
        for (key, body) in store.load(EVENT)? {
            bodies.insert(key, Arc::<str>::from(body));
        }
        for (event, body) in store.load(DELIVERY)? {
            let (due, attempts) = serde_json::from_str(&body)?;
            if let Some(body) = bodies.get(&event) {
                self.deliveries.insert((due, event), Delivery { event, attempts, body: Arc::clone(body) });
                self.undelivered.insert(event);
            }
        }
        self.events_base = bodies.keys().next_back().map_or(0, |last| last + 1);
        for (at, body) in bodies.into_iter().rev().take(EVENTS_KEPT_MAX) {
            // A delivery that waited long kept its event beyond the others: those numbers have gaps.
            if at + 1 != self.events_base {
                break;
            }
            let told: Told = serde_json::from_str(&body)?;
            self.events.push_front(Told { body, ..told });
            self.events_base = at;
        }
        for (id, body) in store.load(TIMER)? {
            let (due, timer) = serde_json::from_str(&body)?;
            self.timers.insert((due, id, timer));
            self.next_timer = self.next_timer.max(id + 1);
        }
        for (_, body) in store.load(DRAWN)? {
            self.drawn = serde_json::from_str(&body)?;
            self.drawn_kept = self.drawn;
        }
        let mut replays: Vec<(String, Replay)> = Vec::new();
        for (key, body) in store.load_replays()? {
            replays.push((key, serde_json::from_str(&body)?));
        }
        replays.sort_by_key(|(_, replay)| replay.at_ms);
        for (key, replay) in replays {
            self.replays.insert(key, replay);
        }
        Ok(())
    }

    /// Now, in whole seconds, as objects show it.
    pub(crate) fn now(&self) -> i64 {
        self.now_ms.div_euclid(1_000)
    }

    /// A new id with this prefix.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        let mut id = String::with_capacity(prefix.len() + ID_CHARS);
        id.push_str(prefix);
        let random: [u8; ID_CHARS] = self.random();
        id.extend(random.map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])));
        id
    }

    /// Bytes that nobody can guess; with a seed, the next ones that follow from it.
    fn random<const N: usize>(&mut self) -> [u8; N] {
        let Some(seed) = self.settings.seed else { return unguessable() };
        let mut bytes = [0; N];
        for block in bytes.chunks_mut(HASH_BYTES) {
            let hash = Sha256::new().chain_update(seed.to_be_bytes()).chain_update(self.drawn.to_be_bytes()).finalize();
            block.copy_from_slice(&hash[..block.len()]);
            self.drawn += 1;
        }
        bytes
    }

    /// Notes an event, and sends it where it is asked for.
    pub(crate) fn emit(&mut self, kind: &'static str, object: Value) {
        let id = self.id("evt_");
        let wanted =
            self.settings.webhook_url.is_some() && self.settings.enabled_events.iter().any(|event| event == kind);
        let (request, key) = self.cause.clone().unzip();
        let body = json!({"id": id, "object": "event", "api_version": API_VERSION, "created": self.now(),
            "data": {"object": object}, "livemode": false, "pending_webhooks": i32::from(wanted),
            "request": {"id": request, "idempotency_key": key.flatten()}, "type": kind});
        let body: Arc<str> = body.to_string().into();
        let at = self.events_base + self.events.len() as u64;
        self.put(EVENT, at, || body.to_string());
        if wanted {
            self.deliver_at(self.now_ms, Delivery { event: at, attempts: 0, body: Arc::clone(&body) });
        }
        self.events.push_back(Told { id, created: self.now(), r#type: kind.to_owned(), body });
        if self.events.len() > EVENTS_KEPT_MAX {
            self.events.pop_front();
            self.events_base += 1;
            self.forget_event(self.events_base - 1);
        }
    }

    /// Puts a webhook on the list of those to send.
    pub(crate) fn deliver_at(&mut self, due_ms: i64, delivery: Delivery) {
        self.put(DELIVERY, delivery.event, || json!([due_ms, delivery.attempts]).to_string());
        self.undelivered.insert(delivery.event);
        self.deliveries.insert((due_ms, delivery.event), delivery);
    }

    /// Strikes a webhook off for good.
    pub(crate) fn delivered(&mut self, event: u64) {
        self.delete(DELIVERY, event);
        self.undelivered.remove(&event);
        self.forget_event(event);
    }

    /// Strikes every webhook that waits off, and gives them in the order of their events.
    pub(crate) fn take_webhooks(&mut self) -> Vec<Webhook> {
        let mut waiting: Vec<Delivery> = std::mem::take(&mut self.deliveries).into_values().collect();
        waiting.sort_by_key(|delivery| delivery.event);
        let taken = waiting.into_iter().map(|delivery| {
            self.delivered(delivery.event);
            let told: Told = serde_json::from_str(&delivery.body).expect("an event is written as JSON");
            Webhook { kind: told.r#type, body: delivery.body.to_string() }
        });
        taken.collect()
    }

    /// How many webhooks wait or are under way.
    pub(crate) fn undelivered_count(&self) -> usize {
        self.undelivered.len()
    }

    /// Whether this event waits to be delivered, or is being delivered.
    pub(crate) fn pending(&self, event: u64) -> bool {
        self.undelivered.contains(&event)
    }

    /// Removes an event from the disk that is too old to list, unless it is yet to be delivered.
    fn forget_event(&mut self, event: u64) {
        if self.store.is_some() && event < self.events_base && !self.pending(event) {
            self.delete(EVENT, event);
        }
    }

    /// Lets something happen later.
    pub(crate) fn after(&mut self, delay_ms: i64, timer: Timer) {
        let (due, id) = (self.now_ms + delay_ms, self.next_timer);
        self.next_timer += 1;
        self.put(TIMER, id, || json!([due, timer]).to_string());
        self.timers.insert((due, id, timer));
    }

    /// Runs every timer that is due; tells whether there was one.
    pub(crate) fn run_timers(&mut self) -> bool {
        self.now_ms = (self.settings.clock)();
        self.cause = None;
        let before = self.timers.len();
        while self.timers.first().is_some_and(|(due, ..)| *due <= self.now_ms) {
            let (_, id, timer) = self.timers.pop_first().expect("the first was just seen");
            self.delete(TIMER, id);
            match timer {
                Timer::Authorise(at) => intents::processed(self, at, None),
                Timer::Decline(at) => intents::processed(self, at, Some(crate::cards::GENERIC)),
                Timer::RefundSucceeds(at) => refunds::succeed(self, at),
                Timer::RefundFails(at) => refunds::fail(self, at),
            }
        }
        self.timers.len() < before
    }

    /// When something is next due: a timer, or a webhook if there is somewhere to send it.
    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        let timer = self.timers.first().map(|(due, ..)| *due);
        let webhook =
            self.deliveries.keys().next().filter(|_| self.settings.webhook_url.is_some()).map(|(due, _)| *due);
        timer.into_iter().chain(webhook).min()
    }

    /// Any object by its id, rendered.
    pub(crate) fn lookup(&self, id: &str) -> Option<Value> {
        match id.split('_').next()? {
            "pi" => self.intents.get(id).map(render),
            "ch" => self.charges.get(id).map(render),
            "re" => self.refunds.get(id).map(render),
            "cus" => self.customers.get(id).map(render),
            "seti" => self.setups.get(id).map(render),
            "pm" => self.methods.get(id).map(render),
            "txn" => self.txns.get(id).map(render),
            "du" => self.disputes.get(id).map(render),
            _ => None,
        }
    }

    /// An object that is known to be there, rendered.
    pub(crate) fn show(&self, kind: Kind, at: usize) -> Value {
        match kind {
            Kind::Intent => render(&self.intents[at]),
            Kind::Charge => render(&self.charges[at]),
            Kind::Refund => render(&self.refunds[at]),
            Kind::Customer => render(&self.customers[at]),
            Kind::Setup => render(&self.setups[at]),
            Kind::Method => render(&self.methods[at]),
            Kind::Txn => render(&self.txns[at]),
            Kind::Dispute => render(&self.disputes[at]),
        }
    }

    pub(crate) fn put(&mut self, kind: i64, at: u64, body: impl FnOnce() -> String) {
        if self.settings.database.is_some() {
            self.writes.push(Write::Put(kind, at, body()));
        }
    }

    pub(crate) fn delete(&mut self, kind: i64, at: u64) {
        if self.settings.database.is_some() {
            self.writes.push(Write::Delete(kind, at));
        }
    }

    /// Keeps the answer to a key, and lets go of those that are too old.
    pub(crate) fn remember(&mut self, key: &str, replay: Replay) {
        let kept = self.settings.database.is_some();
        if kept {
            let body = serde_json::to_string(&replay).expect("a replay serialises");
            self.writes.push(Write::PutReplay(key.to_owned(), body));
        }
        self.replays.insert(key.to_owned(), replay);
        while let Some(old) = self.replays.expired(self.now_ms) {
            if kept {
                self.writes.push(Write::DeleteReplay(old.to_string()));
            }
        }
    }

    /// Writes all changes. What cannot be written now is written with the next change.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let kept = self.store.is_some();
        self.intents.flush(kept, &mut self.writes);
        self.charges.flush(kept, &mut self.writes);
        self.refunds.flush(kept, &mut self.writes);
        self.customers.flush(kept, &mut self.writes);
        self.setups.flush(kept, &mut self.writes);
        self.methods.flush(kept, &mut self.writes);
        self.txns.flush(kept, &mut self.writes);
        self.disputes.flush(kept, &mut self.writes);
        if kept && self.drawn != self.drawn_kept {
            self.writes.push(Write::Put(DRAWN, 0, self.drawn.to_string()));
            self.drawn_kept = self.drawn;
        }
        if let Some(store) = self.store.as_mut().filter(|_| !self.writes.is_empty()) {
            store.apply(&self.writes)?;
            self.writes.clear();
        }
        Ok(())
    }
}

/// Bytes that nobody can guess.
#[expect(clippy::disallowed_methods, reason = "the sandbox stands for another company, which has its own randomness")]
fn unguessable<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

fn table<T: Object + DeserializeOwned>(store: Option<&Store>) -> Result<Table<T>, Error> {
    let Some(store) = store else { return Ok(Table::new(Vec::new())) };
    let records = store.load(T::KIND as i64)?;
    let rows = records.iter().enumerate().map(|(at, (key, body))| match *key == at as u64 {
        true => Ok(serde_json::from_str(body)?),
        false => Err(Error::Corrupt),
    });
    Ok(Table::new(rows.collect::<Result<_, Error>>()?))
}
