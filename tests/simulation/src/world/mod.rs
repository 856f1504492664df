//! One run: a whole box office on one thread, in which every next thing to happen is a decision.

mod actors;
mod deliver;
mod strange;

use crate::choices::Choices;
use crate::explore::Explorer;
use crate::faults::{Faults, Plan};
use crate::gate::{Ask, Gate, Kind, Outcome, Reply, Waiting};
use crate::queues::Queues;
use crate::tables::Tables;
use crate::wires::{Bus, Provider};
use actors::{Actor, Ended, Process, Work, app};
use boxoffice::template::{StreamSource, System, Trigger};
use domain::seating::words::HOLD_SECONDS;
use platform::secrets::Secrets;
use platform::{App, Clients, Clock, Rng};
use sandbox::{Settings, Stripe};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Messages and webhooks that may be chosen from at a time: those behind them wait.
const CHOICE_MESSAGES_MAX: usize = 4;

/// What all runs of a process share.
pub struct Shared {
    pub system: System,
    pub secrets: BTreeMap<String, String>,
    pub keys: Keys,
}

/// The provider's keys.
pub struct Keys {
    pub secret: String,
    pub publishable: String,
    pub read_only: String,
    pub webhook: String,
}

pub struct World<'a> {
    ground: &'a Shared,
    pub choices: Choices,
    pub faults: Faults,
    pub gate: Gate,
    pub tables: Tables,
    pub stripe: Stripe,
    pub clock: Clock,
    pub queues: Queues,
    pub trace: Vec<String>,
    /// Ids of effects that reached the topic.
    pub published: BTreeSet<String>,
    /// What we answered to requests that change something, heard or not.
    pub answers: Vec<(Ask, Reply)>,
    /// How issuers decide disputes, where that is no decision of the run.
    pub verdict: Option<bool>,
    /// What no run may show: a panic, an answer of 500.
    pub scandals: Vec<String>,
    /// By how many seconds the clock is wrong of the `buy` that meets whoever comes back late.
    pub late_skew_seconds: i64,
    /// Who decides where every order of events is gone through.
    pub explorer: Option<Explorer>,
    /// Whether effects go to those who tell people of them, too.
    pub is_told: bool,
    /// Whether those may go on who wait until holds have ended.
    pub is_later: bool,
    /// Days that pass at the end, one lot after the other; none where nobody subscribes.
    pub days_to_pass: &'static [i64],
    /// Days that have passed, and how many of the last of them began with books that differed.
    days: i64,
    days_behind: i64,
    rng: Rng,
    /// Signs people's tokens.
    signer: App,
    clients: Clients,
    bus: Bus,
    actors: BTreeMap<usize, Actor>,
    /// Who was at work last.
    current: usize,
    next_actor: usize,
    streams: Vec<Stream>,
    webhooks: Vec<Webhook>,
    next_webhook: u64,
    /// Processes that wait for work, by their function: as on Lambda, each does one thing at a time.
    warm: BTreeMap<String, Vec<Process>>,
    generation: u32,
    alarm: Arc<Notify>,
}

struct Stream {
    handler: String,
    /// Its end when the run began.
    begins_at: i64,
    source: StreamSource,
    position: i64,
    is_busy: bool,
}

struct Webhook {
    id: u64,
    kind: String,
    body: String,
    is_busy: bool,
}

/// Something that can happen next.
enum Event {
    Grant(Waiting),
    Records(usize),
    Message(usize, usize),
    Webhook(u64),
    /// Time passes, the sweeper runs, dead letters are sent back.
    Strange,
    /// A hold ends.
    Pass,
    Sweep,
    /// A message comes, and will come again.
    Twice(usize, usize),
}

impl<'a> World<'a> {
    pub fn new(ground: &'a Shared, tables: Tables, gate: Gate, clock: Clock, choices: Choices, faults: Faults) -> Self {
        let rng = Rng::seeded(faults.seed);
        let now = clock.clone();
        let settings = Settings {
            secret_key: ground.keys.secret.clone(),
            publishable_key: ground.keys.publishable.clone(),
            read_only_key: Some(ground.keys.read_only.clone()),
            webhook_secret: ground.keys.webhook.clone(),
            webhook_url: Some("http://boxoffice.test/payments/webhook/stripe".to_owned()),
            enabled_events: boxoffice::payments::EVENTS.map(str::to_owned).to_vec(),
            clock: Arc::new(move || now.now().as_millisecond()),
            seed: Some(faults.seed),
            ..Settings::default()
        };
        let stripe = Stripe::open(settings).expect("a sandbox in memory opens");
        let bus = Bus { gate: gate.clone(), sent: Arc::default() };
        let (router, mutant) = (stripe.router(), faults.mutant);
        let transport = Provider { gate: gate.clone(), stripe: stripe.clone(), router, kind: Kind::Provider, mutant };
        let streams = streams(&ground.system, &tables);
        let clients = Clients {
            dynamodb: tables.client(),
            bus: platform::bus::Bus::InProcess(Arc::new(bus.clone())),
            secrets: Secrets::fixed(ground.secrets.clone()),
            transport: Arc::new(transport),
        };
        Self {
            ground,
            choices,
            faults,
            gate,
            tables,
            stripe,
            clock: clock.clone(),
            queues: Queues::new(&ground.system),
            trace: Vec::new(),
            published: BTreeSet::new(),
            answers: Vec::new(),
            verdict: None,
            scandals: Vec::new(),
            late_skew_seconds: 0,
            explorer: None,
            is_told: true,
            is_later: false,
            days_to_pass: &[],
            days: 0,
            days_behind: 0,
            signer: app(ground, "register", &clients, clock, &rng),
            rng,
            clients,
            bus,
            actors: BTreeMap::new(),
            current: 0,
            next_actor: 1,
            streams,
            webhooks: Vec::new(),
            next_webhook: 1,
            warm: BTreeMap::new(),
            generation: 0,
            alarm: Arc::new(Notify::new()),
        }
    }

    /// The payment provider as a buyer's browser reaches it.
    pub fn browser(&self) -> Provider {
        let (gate, stripe, router) = (self.gate.clone(), self.stripe.clone(), self.stripe.router());
        Provider { gate, stripe, router, kind: Kind::Browser, mutant: None }
    }

    /// Lets a person act.
    pub fn person(&mut self, name: &str, life: impl Future<Output = ()> + 'static) {
        let future = Box::pin(async move {
            life.await;
            Ended::Person
        });
        self.admit(name.to_owned(), "", Work::Person, None, future);
    }

    /// One thing happens. False if nothing can.
    pub async fn step(&mut self) -> bool {
        self.settle_down().await;
        let mut events = self.events();
        let next = match self.faults.plan {
            _ if events.is_empty() => None,
            Plan::Every => self.explore(&events),
            _ => Some(self.faults.pick(&mut self.choices, events.len())),
        };
        let Some(at) = next else { return false };
        match events.swap_remove(at) {
            Event::Grant(waiting) => self.grant(waiting),
            Event::Records(stream) => self.deliver_records(stream),
            Event::Message(queue, at) => {
                let twice = self.faults.happens(&mut self.choices, "message twice");
                self.deliver_message(queue, at, twice);
            }
            Event::Webhook(id) => self.deliver_webhook(id),
            Event::Strange => self.strange().await,
            // Only what clocks say: whoever is at work is not late for that.
            Event::Pass => self.turn_clocks(HOLD_SECONDS + 1),
            Event::Sweep => self.run_schedule("sweep"),
            Event::Twice(queue, at) => self.deliver_message(queue, at, true),
        }
        self.settle_down().await;
        true
    }

    /// What the explorer goes on with; nothing if it has been everywhere from here.
    fn explore(&mut self, events: &[Event]) -> Option<usize> {
        let is_free = events.len() > 1 && !is_private(&events[0]);
        let state = if is_free { self.state() } else { String::new() };
        let explorer = self.explorer.as_mut().expect("somebody decides");
        let at = if is_free { explorer.choose(events.len(), &state)? } else { 0 };
        match events[at] {
            Event::Pass => explorer.may_pass = false,
            Event::Sweep => explorer.may_sweep = false,
            Event::Twice(..) => explorer.may_repeat = false,
            _ => {}
        }
        Some(at)
    }

    /// All that what happens next can depend on.
    fn state(&self) -> String {
        let mut state = format!("{} {:?}", self.clock.now(), self.stripe.books());
        for table in ["Orders", "Seats", "Ledger"] {
            let mut items: Vec<_> = self.tables.scan(table).iter().map(Value::to_string).collect();
            items.sort_unstable();
            state.extend(items);
        }
        let mut queued: Vec<_> = self.queues.all.iter().flat_map(|queue| &queue.messages).map(|m| m.state()).collect();
        queued.extend(self.webhooks.iter().map(|webhook| format!("{} {}", webhook.body, webhook.is_busy)));
        queued.extend(self.actors.iter().map(|(id, actor)| format!("{} {}", actor.name, self.gate.learnt(*id))));
        queued.sort_unstable();
        let explorer = self.explorer.as_ref().expect("somebody decides");
        let left = format!("{} {} {}", explorer.may_pass, explorer.may_sweep, explorer.may_repeat);
        state + &queued.concat() + &left
    }

    /// Whether persons still have something to do.
    pub fn has_persons(&self) -> bool {
        self.actors.values().any(|actor| matches!(actor.work, Work::Person))
    }

    /// Whether nothing is left to do, now or later.
    pub fn is_at_rest(&self) -> bool {
        let is_due = |order: &Value| !order["due_at"].is_null();
        self.actors.is_empty()
            && self.webhooks.is_empty()
            && self.queues.is_empty()
            && self.unread_streams().is_empty()
            && !self.tables.scan("Orders").iter().any(is_due)
            && !(self.has_subscribers() && self.is_renewal_due())
    }

    pub fn has_subscribers(&self) -> bool {
        !self.days_to_pass.is_empty()
    }

    /// Whether `renew` would find something.
    fn is_renewal_due(&self) -> bool {
        let due_at = |item: &Value| item["due_at"]["N"].as_str().and_then(|seconds| seconds.parse::<i64>().ok());
        let now = self.clock.now().as_second();
        self.tables.scan("Subscriptions").iter().any(|item| due_at(item).is_some_and(|at| at <= now))
    }

    /// Webhooks that were not delivered are never delivered.
    pub fn lose_webhooks(&mut self) {
        self.faults.count("webhook never", self.webhooks.len());
        self.webhooks.clear();
    }

    /// No idle process is used again; the clock of the next `buy` is so many seconds wrong.
    pub fn restart(&mut self, skew_seconds: i64) {
        self.faults.skew_seconds = skew_seconds;
        self.warm.clear();
        self.generation += 1;
    }

    /// Starts a scheduled function.
    pub fn run_schedule(&mut self, handler: &str) {
        self.note(|| format!("schedule {handler}"));
        self.invoke(handler, json!({}), Work::Schedule);
    }

    /// Clocks go on, and whoever waits for something has not waited any longer.
    pub fn turn_clocks(&mut self, seconds: i64) {
        self.note(|| format!("clocks go on by {seconds} seconds"));
        self.clock.advance(seconds);
        self.stripe.run_timers();
    }

    /// Time passes for everybody: for clocks, and for whoever waits.
    pub async fn advance(&mut self, seconds: i64) {
        self.turn_clocks(seconds);
        tokio::time::advance(Duration::from_secs(seconds.unsigned_abs())).await;
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let line = format!("{:4} {}", self.trace.len(), text());
        self.trace.push(line);
    }

    /// What can happen next; the first is the dull way on.
    fn events(&mut self) -> Vec<Event> {
        let waiting = self.gate.waiting();
        let waiting = waiting.into_iter().filter(|call| self.is_later || call.kind != Kind::Later);
        let (mut paused, calls): (Vec<_>, Vec<_>) =
            waiting.partition(|call| matches!(call.kind, Kind::Pause | Kind::Later));
        paused.sort_by_key(|call| call.kind);
        let (own, others): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.actor == self.current);
        // An invocation that was begun is gone on with before a person asks for more.
        let (persons, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|call| matches!(call.kind, Kind::Request | Kind::Browser));
        let mut events: Vec<Event> = own.into_iter().chain(others).map(Event::Grant).collect();
        events.extend(self.unread_streams().into_iter().map(Event::Records));
        let now_ms = self.clock.now().as_millisecond();
        for queue in 0..self.queues.all.len() {
            let visible = self.queues.visible(queue, now_ms);
            events.extend(visible.into_iter().take(CHOICE_MESSAGES_MAX).map(|at| Event::Message(queue, at)));
        }
        let idle = self.webhooks.iter().filter(|webhook| !webhook.is_busy);
        events.extend(idle.take(CHOICE_MESSAGES_MAX).map(|webhook| Event::Webhook(webhook.id)));
        events.extend(persons.into_iter().chain(paused.clone()).map(Event::Grant));
        if self.faults.are_strange() && !events.is_empty() {
            events.push(Event::Strange);
        }
        if let Some(explorer) = &self.explorer {
            // What nobody else can see happens at once, and a person who waits waits for everybody.
            if let Some(at) = events.iter().position(is_private) {
                return vec![events.swap_remove(at)];
            }
            events.retain(|event| !matches!(event, Event::Grant(call) if call.kind == Kind::Pause));
            let messages = events.iter().filter_map(|event| match event {
                Event::Message(queue, at) if explorer.may_repeat => Some(Event::Twice(*queue, *at)),
                _ => None,
            });
            let twice: Vec<_> = messages.collect();
            events.extend(twice);
            events.extend(explorer.may_pass.then_some(Event::Pass));
            events.extend((explorer.may_sweep && !explorer.may_pass).then_some(Event::Sweep));
            if events.is_empty() {
                events.extend(paused.into_iter().map(Event::Grant));
            }
        }
        events
    }

    /// Where a table's stream ended when the run began.
    pub fn begins_at(&self, table: &str) -> i64 {
        let stream = self.streams.iter().find(|stream| stream.source.table == table);
        stream.expect("somebody reads this stream").begins_at
    }

    fn unread_streams(&self) -> Vec<usize> {
        let unread =
            |stream: &Stream| !stream.is_busy && self.tables.stream_end(&stream.source.table) > stream.position;
        (0..self.streams.len()).filter(|at| unread(&self.streams[*at])).collect()
    }

    /// Decides what becomes of a call.
    fn grant(&mut self, call: Waiting) {
        self.current = call.actor;
        let outcome = self.faults.outcome(&mut self.choices, &call);
        let name = self.actors.get(&call.actor).map_or("nobody", |actor| actor.name.as_str()).to_owned();
        self.note(|| format!("{name}#{} {} -> {outcome:?}", call.actor, call.text));
        match (call.kind, outcome) {
            (Kind::Request, Outcome::Refused) => self.gate.decide(call.id, Outcome::Answered(None)),
            (Kind::Later, outcome) => {
                self.restart(self.late_skew_seconds);
                self.gate.decide(call.id, outcome);
            }
            (Kind::Request, outcome) => self.answer(call.id, outcome == Outcome::ReplyLost),
            (_, Outcome::DiesBefore) => self.kill(call.actor),
            (_, Outcome::DiesAfter) => {
                self.gate.decide(call.id, Outcome::DiesAfter);
                self.run_woken();
                self.kill(call.actor);
            }
            (_, outcome) => self.gate.decide(call.id, outcome),
        }
    }
}

/// The template's streams, read from where they end now.
fn streams(system: &System, tables: &Tables) -> Vec<Stream> {
    let triggers = system.functions.iter().flat_map(|function| function.triggers.iter().map(move |on| (function, on)));
    let sources = triggers.filter_map(|(function, trigger)| match trigger {
        Trigger::Stream(source) => Some((function.handler.clone(), source.clone())),
        _ => None,
    });
    let stream = |(handler, source): (String, StreamSource)| {
        let position = tables.stream_end(&source.table);
        Stream { handler, begins_at: position, source, position, is_busy: false }
    };
    sources.map(stream).collect()
}

/// Whether an event can be seen by nobody but who does it: what never changes is read, a request arrives, the relay
/// works, the sweeper looks.
fn is_private(event: &Event) -> bool {
    match event {
        Event::Grant(call) => {
            matches!(call.kind, Kind::Request)
                || call.text.contains(" Catalog ")
                || call.text.contains(":Events: ")
                || call.text.starts_with("Query Orders")
        }
        Event::Records(_) | Event::Webhook(_) => true,
        _ => false,
    }
}
