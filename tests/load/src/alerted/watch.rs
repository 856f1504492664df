//! What the functions do, seen from outside: their invocations, how long each takes, and what they send.

use axum::Router;
use boxoffice::events;
use boxoffice::host::{Code, Functions, Reply, Starts};
use platform::App;
use platform::bus::{Bus, BusFuture, InProcessBus, QueueMessage, TopicMessage};
use sandbox::telegram::{Bot, Fault};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Messages that a call to SQS carries.
const BATCH_MESSAGES_MAX: usize = 10;
/// The longest that SQS delays a message.
const DELAY_SECONDS_MAX: u16 = 900;
/// Where messages go that one function gives back.
const GIVES_BACK: &str = "notify";

/// The functions of this repository, with an eye on each. Clones are one.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<BTreeMap<String, Seen>>>);

/// What is known of one function.
#[derive(Clone, Default)]
struct Seen {
    invocations: usize,
    /// Messages that it was given.
    messages: usize,
    failed: usize,
    longest: Duration,
    all: Duration,
    /// Calls of SQS, and messages in them.
    sends: usize,
    sent: usize,
    /// Those of them for as late as SQS takes one.
    latest: usize,
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.0.lock().expect("no panic holds this lock")
    }

    fn note(&self, handler: &str, note: impl FnOnce(&mut Seen)) {
        note(self.seen().entry(handler.to_owned()).or_default());
    }

    pub fn print(&self, delivered: usize) {
        let each = |count: usize| count as f64 / delivered.max(1) as f64;
        for (handler, seen) in self.seen().iter() {
            let Seen { invocations, messages, longest, all, sends, sent, .. } = seen;
            let mean = all.as_secs_f64() * 1_000.0 / (*invocations).max(1) as f64;
            println!(
                "{handler}: {invocations} invocations with {messages} messages, {mean:.0} ms on average and {:.0} ms at most; \
                 {sends} calls to SQS with {sent} messages ({:.2} and {:.2} a delivered message)",
                longest.as_secs_f64() * 1_000.0,
                each(*sends),
                each(*sent)
            );
        }
        if let Some(seen) = self.seen().get(GIVES_BACK) {
            let (sent, latest) = (each(seen.sent), each(seen.latest));
            println!(
                "a message was given back {sent:.2} times before it was delivered, {latest:.2} of them for 900 seconds"
            );
        }
    }

    /// No invocation failed, or took so long that Lambda would have ended it.
    pub fn check(&self) -> Vec<String> {
        let (mut wrong, system) = (Vec::new(), super::system());
        for (handler, seen) in self.seen().iter() {
            if seen.failed > 0 {
                wrong.push(format!("{handler} failed {} times", seen.failed));
            }
            if system.function(handler).is_none_or(|function| seen.longest >= function.timeout) {
                wrong.push(format!("an invocation of {handler} took {:.1?}", seen.longest));
            }
        }
        wrong
    }
}

impl Code for Watch {
    fn kind(&self, handler: &str) -> Option<Starts> {
        Functions.kind(handler)
    }

    fn router(&self, handler: &str, app: App) -> Option<Router> {
        Functions.router(handler, app)
    }

    fn openapi(&self, app: &App) -> Option<String> {
        Functions.openapi(app)
    }

    fn invoke(&self, handler: &str, mut app: App, event: Value) -> Reply {
        let messages = event["Records"].as_array().map_or(0, Vec::len);
        let (watch, name) = (self.clone(), handler.to_owned());
        app.clients.bus =
            Bus::InProcess(Arc::new(Ear { bus: app.clients.bus, watch: watch.clone(), name: name.clone() }));
        let work = Functions.invoke(handler, app, event);
        Box::pin(async move {
            let started = Instant::now();
            let reply = work.await;
            let took = started.elapsed();
            let failed = match &reply {
                Ok(reply) => events::failures(reply).map_or(1, |failures| failures.len()),
                Err(_) => 1,
            };
            watch.note(&name, |seen| {
                seen.invocations += 1;
                seen.messages += messages;
                seen.failed += failed;
                seen.longest = seen.longest.max(took);
                seen.all += took;
            });
            reply
        })
    }
}

/// A function's way to the queues.
struct Ear {
    bus: Bus,
    watch: Watch,
    name: String,
}

impl InProcessBus for Ear {
    fn send<'a>(&'a self, queue_url: &'a str, messages: Vec<QueueMessage>) -> BusFuture<'a> {
        self.watch.note(&self.name, |seen| {
            seen.sends += messages.len().div_ceil(BATCH_MESSAGES_MAX);
            seen.sent += messages.len();
            seen.latest += messages.iter().filter(|message| message.delay_seconds >= DELAY_SECONDS_MAX).count();
        });
        Box::pin(self.bus.send(queue_url, messages))
    }

    fn publish<'a>(&'a self, topic_arn: &'a str, messages: Vec<TopicMessage>) -> BusFuture<'a> {
        Box::pin(self.bus.publish(topic_arn, messages))
    }
}

/// How often the messenger was asked to write.
#[derive(Clone, Default)]
pub struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub fn made(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts calls of the messenger from now on.
pub fn count_calls(bot: &Bot) -> Calls {
    let calls = Calls::default();
    let counted = calls.clone();
    bot.set_fault(move |method, _| {
        if method == "sendMessage" {
            counted.0.fetch_add(1, Ordering::Relaxed);
        }
        Fault::None
    });
    calls
}
