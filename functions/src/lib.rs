//! The Lambda functions: one module each, the table that says what starts each, and `invoke`.

mod admin;
mod billing;
mod buy;
mod catalog;
pub mod commands;
mod facts;
mod failure;
mod marketing;
mod messenger;
pub mod notices;
mod notify;
mod offers;
mod payment_webhook;
mod provider;
mod reconcile;
mod refund;
mod register;
mod relay;
mod remind;
mod renew;
mod republish;
mod saga;
mod settle;
mod subscribe;
mod sweep;
mod views;

pub use failure::Error;

use commands::Head;
use futures_util::StreamExt;
use platform::{App, Rng, telemetry};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;
use tracing::field::Empty;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Info, OpenApi};
use utoipa_axum::router::OpenApiRouter;

/// One Lambda function. `name` is its `Handler` in `template.yaml`.
pub struct Function {
    pub name: &'static str,
    pub trigger: Trigger,
}

/// What starts a function, and so the shape of its event.
pub enum Trigger {
    Http(fn(App) -> OpenApiRouter),
    /// One message's body; messages that fail are reported one by one.
    Queue(fn(App, String) -> Handled),
    /// One record of a table's stream; those after one that fails are delivered again.
    Stream(fn(App, Value) -> Handled),
    Schedule(fn(App) -> Handled),
}

pub type Handled = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// All functions.
pub const FUNCTIONS: &[Function] = &[
    Function { name: "register", trigger: Trigger::Http(register::routes) },
    Function { name: "catalog", trigger: Trigger::Http(catalog::routes) },
    Function { name: "buy", trigger: Trigger::Http(buy::routes) },
    Function { name: "refund", trigger: Trigger::Http(refund::routes) },
    Function { name: "subscribe", trigger: Trigger::Http(subscribe::routes) },
    Function { name: "payment-webhook", trigger: Trigger::Http(payment_webhook::routes) },
    Function { name: "admin", trigger: Trigger::Http(admin::routes) },
    Function { name: "marketing", trigger: Trigger::Http(marketing::routes) },
    Function { name: "messenger", trigger: Trigger::Http(messenger::routes) },
    Function { name: "settle", trigger: Trigger::Queue(|app, body| Box::pin(settle::handle(app, body))) },
    Function { name: "offers", trigger: Trigger::Queue(|app, body| Box::pin(offers::handle(app, body))) },
    Function { name: "relay", trigger: Trigger::Stream(|app, record| Box::pin(relay::handle(app, record))) },
    Function { name: "republish", trigger: Trigger::Queue(|app, body| Box::pin(republish::handle(app, body))) },
    Function { name: "notify", trigger: Trigger::Queue(|app, body| Box::pin(notify::handle(app, body))) },
    Function { name: "remind", trigger: Trigger::Schedule(|app| Box::pin(remind::handle(app))) },
    Function { name: "sweep", trigger: Trigger::Schedule(|app| Box::pin(sweep::handle(app))) },
    Function { name: "renew", trigger: Trigger::Schedule(|app| Box::pin(renew::handle(app))) },
    Function { name: "reconcile", trigger: Trigger::Schedule(|app| Box::pin(reconcile::handle(app))) },
];

/// Messages of a batch that one invocation works on at the same time.
const MESSAGES_AT_ONCE_MAX: usize = 4;
/// Tries that one delivery of a message gets while its faults may pass. What lasts longer is no blip, and the queue
/// waits for its end cheaper than an invocation does.
const MESSAGE_TRIES_MAX: u32 = 4;
/// The longest pause before the second try; it doubles with each. A pause is anything up to it, so that messages that
/// failed together do not come back together.
const PAUSE_MILLISECONDS_MAX: u32 = 250;
/// How long before its deadline an invocation stops working and reports what is not done.
const MARGIN_MILLISECONDS: u64 = 1_000;

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Runs a function that HTTP does not start, with its event as Lambda delivers it, and gives Lambda's reply. What is
/// not done shortly before `app.deadline` is reported as not done.
pub async fn invoke(app: App, name: &str, event: Value) -> Result<Value, Error> {
    match find(name).map(|function| &function.trigger) {
        Some(Trigger::Queue(handle)) => queue(app, name, *handle, &event).await,
        Some(Trigger::Stream(handle)) => stream(app, name, *handle, event).await,
        Some(Trigger::Schedule(handle)) => schedule(app, name, *handle).await,
        Some(Trigger::Http(_)) => Err(Error::new(format!("the function {name} is started by HTTP"))),
        None => Err(Error::new(format!("no function is named {name}"))),
    }
}

/// When an invocation stops working; `None` if nobody ends it.
fn stop(app: &App) -> Option<Instant> {
    app.deadline.map(|end| end.checked_sub(Duration::from_millis(MARGIN_MILLISECONDS)).unwrap_or(end))
}

/// Ends work that is not done by then. Whoever handles the event again goes on from what was written.
async fn in_time(work: impl Future<Output = Result<(), Error>>, stop: Option<Instant>) -> Result<(), Error> {
    let late = || Error::new("there was no time left");
    match stop {
        None => work.await,
        Some(stop) if stop <= Instant::now() => Err(late()),
        Some(stop) => tokio::time::timeout_at(stop, work).await.unwrap_or_else(|_| Err(late())),
    }
}

fn records(event: &Value) -> Result<&Vec<Value>, Error> {
    event["Records"].as_array().ok_or_else(|| Error::new("the event has no Records"))
}

async fn schedule(app: App, name: &str, handle: fn(App) -> Handled) -> Result<Value, Error> {
    let span = tracing::info_span!("schedule", function = name, trace = Empty, order = Empty);
    let work = async {
        let (stop, started) = (stop(&app), Instant::now());
        let done = in_time(handle(app), stop).await;
        let duration_ms = milliseconds_since(started);
        match &done {
            Ok(()) => tracing::info!(duration_ms, "run"),
            Err(error) => tracing::error!(duration_ms, %error, "a run failed"),
        }
        done.map(|()| Value::Null)
    };
    telemetry::within(span, None, work).await
}

async fn queue(app: App, name: &str, handle: fn(App, String) -> Handled, event: &Value) -> Result<Value, Error> {
    let mut work = Vec::new();
    for record in records(event)? {
        let (id, body) = (record["messageId"].clone(), record["body"].as_str().unwrap_or_default().to_owned());
        let handled = message(app.clone(), name, handle, id.clone(), body);
        work.push(async move { (id, handled.await) });
    }
    let handled: Vec<_> = futures_util::stream::iter(work).buffer_unordered(MESSAGES_AT_ONCE_MAX).collect().await;
    let failures = handled.into_iter().filter(|(_, done)| done.is_err());
    let failures: Vec<_> = failures.map(|(id, _)| json!({ "itemIdentifier": id })).collect();
    Ok(json!({ "batchItemFailures": failures }))
}

/// Handles one message within a span that knows what it is, and writes its line.
async fn message(
    app: App,
    name: &str,
    handle: fn(App, String) -> Handled,
    id: Value,
    body: String,
) -> Result<(), Error> {
    let Head { kind, id: effect, trace, order, payment } = Head::of(&body);
    let message_id = id.as_str().unwrap_or_default();
    let span = tracing::info_span!(
        "message",
        function = name,
        message_id,
        kind,
        effect,
        payment,
        trace = Empty,
        order = Empty
    );
    let work = async {
        order.into_iter().for_each(telemetry::about);
        let started = Instant::now();
        let (tries, done) = tried(app, handle, body).await;
        let duration_ms = milliseconds_since(started);
        match &done {
            Ok(()) => tracing::info!(duration_ms, tries, "message handled"),
            Err(error) => {
                tracing::warn!(duration_ms, tries, %error, "a message was not handled and will be delivered again");
            }
        }
        done
    };
    telemetry::within(span, trace, work).await
}

/// Handles one message, again after a pause where a fault may pass and there is time; how often it was tried.
async fn tried(app: App, handle: fn(App, String) -> Handled, body: String) -> (u32, Result<(), Error>) {
    let stop = stop(&app);
    let mut tries = 1;
    loop {
        let Err(error) = in_time(handle(app.clone(), body.clone()), stop).await else { return (tries, Ok(())) };
        let Some(rest) = error.passes.filter(|_| tries < MESSAGE_TRIES_MAX) else { return (tries, Err(error)) };
        let pause = rest + pause(&app.rng, tries);
        if stop.is_some_and(|stop| stop <= Instant::now() + pause) {
            return (tries, Err(error));
        }
        tracing::info!(%error, tries, ?pause, "a message is tried again");
        tokio::time::sleep(pause).await;
        tries += 1;
    }
}

/// The pause after so many tries: exponential, with full jitter.
fn pause(rng: &Rng, tries: u32) -> Duration {
    let longest = PAUSE_MILLISECONDS_MAX << (tries - 1).min(MESSAGE_TRIES_MAX);
    Duration::from_millis(u64::from(rng.below(longest)))
}

async fn stream(app: App, name: &str, handle: fn(App, Value) -> Handled, mut event: Value) -> Result<Value, Error> {
    records(&event)?;
    for record in event["Records"].as_array_mut().into_iter().flatten() {
        let number = record["dynamodb"]["SequenceNumber"].clone();
        if self::record(app.clone(), name, handle, &number, record.take()).await.is_err() {
            return Ok(json!({ "batchItemFailures": [{ "itemIdentifier": number }] }));
        }
    }
    Ok(json!({ "batchItemFailures": [] }))
}

/// Handles one record. Most records set nothing off, and their lines are for whoever asks for them.
async fn record(
    app: App,
    name: &str,
    handle: fn(App, Value) -> Handled,
    number: &Value,
    record: Value,
) -> Result<(), Error> {
    let sequence = number.as_str().unwrap_or_default();
    let span = tracing::info_span!("record", function = name, sequence, trace = Empty, order = Empty);
    let work = async {
        let (stop, started) = (stop(&app), Instant::now());
        let done = in_time(handle(app, record), stop).await;
        let duration_ms = milliseconds_since(started);
        match &done {
            Ok(()) => tracing::debug!(duration_ms, "record handled"),
            Err(error) => {
                tracing::warn!(duration_ms, %error, "a stream record was not handled and will be delivered again");
            }
        }
        done
    };
    telemetry::within(span, None, work).await
}

fn milliseconds_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The description of every route, from the handlers' types.
pub fn openapi(app: &App) -> OpenApi {
    let mut info = Info::new("Boxoffice", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Seats are held, paid, ticketed and refunded. Errors are RFC 9457 problems; `code` is the field to program \
         against. Every POST that creates or pays takes an Idempotency-Key and may be repeated."
            .into(),
    );
    let mut all = OpenApi::new(info, utoipa::openapi::Paths::new());
    let mut components = Components::new();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.security_schemes.insert("bearer".into(), bearer.into());
    all.components = Some(components);
    for function in FUNCTIONS {
        if let Trigger::Http(routes) = function.trigger {
            all.merge(routes(app.clone()).split_for_parts().1);
        }
    }
    all
}
