//! The Lambda functions: one module each, the table that says what starts each, and `invoke`.

mod admin;
mod buy;
mod catalog;
pub mod commands;
mod payment_webhook;
mod reconcile;
mod refund;
mod register;
mod relay;
mod saga;
mod settle;
mod sweep;
mod views;

use futures_util::StreamExt;
use platform::App;
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
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

/// Why an event was not handled; it will be delivered again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// All functions.
pub const FUNCTIONS: &[Function] = &[
    Function { name: "register", trigger: Trigger::Http(register::routes) },
    Function { name: "catalog", trigger: Trigger::Http(catalog::routes) },
    Function { name: "buy", trigger: Trigger::Http(buy::routes) },
    Function { name: "refund", trigger: Trigger::Http(refund::routes) },
    Function { name: "payment-webhook", trigger: Trigger::Http(payment_webhook::routes) },
    Function { name: "admin", trigger: Trigger::Http(admin::routes) },
    Function { name: "settle", trigger: Trigger::Queue(|app, body| Box::pin(settle::handle(app, body))) },
    Function { name: "relay", trigger: Trigger::Stream(|app, record| Box::pin(relay::handle(app, record))) },
    Function { name: "sweep", trigger: Trigger::Schedule(|app| Box::pin(sweep::handle(app))) },
    Function { name: "reconcile", trigger: Trigger::Schedule(|app| Box::pin(reconcile::handle(app))) },
];

/// Messages of a batch that one invocation works on at the same time.
const MESSAGES_AT_ONCE_MAX: usize = 4;

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Runs a function that HTTP does not start, with its event as Lambda delivers it, and gives Lambda's reply.
pub async fn invoke(app: App, name: &str, event: Value) -> Result<Value, Error> {
    match find(name).map(|function| &function.trigger) {
        Some(Trigger::Queue(handle)) => queue(app, *handle, &event).await,
        Some(Trigger::Stream(handle)) => stream(app, *handle, event).await,
        Some(Trigger::Schedule(handle)) => handle(app).await.map(|()| Value::Null),
        Some(Trigger::Http(_)) => Err(Error(format!("the function {name} is started by HTTP"))),
        None => Err(Error(format!("no function is named {name}"))),
    }
}

fn records(event: &Value) -> Result<&Vec<Value>, Error> {
    event["Records"].as_array().ok_or_else(|| Error("the event has no Records".into()))
}

async fn queue(app: App, handle: fn(App, String) -> Handled, event: &Value) -> Result<Value, Error> {
    let mut work = Vec::new();
    for record in records(event)? {
        let body = record["body"].as_str().unwrap_or_default().to_owned();
        let (id, handled) = (record["messageId"].clone(), handle(app.clone(), body));
        work.push(async move { (id, handled.await) });
    }
    let handled: Vec<_> = futures_util::stream::iter(work).buffer_unordered(MESSAGES_AT_ONCE_MAX).collect().await;
    let failures = handled.into_iter().filter_map(|(id, result)| {
        let error = result.err()?;
        tracing::warn!(message = %id, %error, "a message was not handled and will be delivered again");
        Some(json!({ "itemIdentifier": id }))
    });
    Ok(json!({ "batchItemFailures": failures.collect::<Vec<_>>() }))
}

async fn stream(app: App, handle: fn(App, Value) -> Handled, mut event: Value) -> Result<Value, Error> {
    records(&event)?;
    for record in event["Records"].as_array_mut().into_iter().flatten() {
        let number = record["dynamodb"]["SequenceNumber"].clone();
        if let Err(error) = handle(app.clone(), record.take()).await {
            tracing::warn!(sequence = %number, %error, "a stream record was not handled and will be delivered again");
            return Ok(json!({ "batchItemFailures": [{ "itemIdentifier": number }] }));
        }
    }
    Ok(json!({ "batchItemFailures": [] }))
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
