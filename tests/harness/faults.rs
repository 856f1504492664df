//! Bad wires: between the functions and their tables, and to the payment provider.

use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use axum::http::{Request, Response};
use boxoffice::Wires;
use bytes::Bytes;
use platform::transport::{Answer, Internet, NoAnswer, Transport};
use serde_json::{Value, json};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It does not arrive.
    Refused,
    /// It is done, and the answer does not arrive.
    Lost,
    /// It is done so much later.
    Late(Duration),
    /// The table refuses, or the provider (429): too many calls.
    Throttled,
    /// The table refuses: another transaction is at work on the item.
    Conflict,
    /// The provider answers so, and does nothing.
    Status(u16),
}

type Rule = Arc<dyn Fn(&str, &str) -> Fault + Send + Sync>;
type ProviderRule = Arc<dyn Fn() -> Fault + Send + Sync>;

/// A wire to the tables on which calls may fail. Clones are one wire.
#[derive(Clone)]
pub struct Table(Arc<Mutex<Rule>>);

impl Default for Table {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Arc::new(|_, _| Fault::None))))
    }
}

impl Table {
    /// From now on `rule` says what happens to a call of this operation (`UpdateItem`) with this body.
    pub fn set(&self, rule: impl Fn(&str, &str) -> Fault + Send + Sync + 'static) {
        *self.0.lock().expect("no panic holds this lock") = Arc::new(rule);
    }

    /// From now on nothing happens to any.
    pub fn repair(&self) {
        self.set(|_, _| Fault::None);
    }

    pub fn wires(&self) -> Wires {
        let rule = self.0.clone();
        let wrap = move |inner| SharedHttpClient::new(Wire { inner, rule: rule.clone() });
        Wires { dynamodb: Some(Arc::new(wrap)), transport: None }
    }
}

struct Wire<T> {
    inner: T,
    rule: Arc<Mutex<Rule>>,
}

impl<T> fmt::Debug for Wire<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpClient for Wire<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Wire { inner, rule: self.rule.clone() })
    }
}

impl HttpConnector for Wire<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").and_then(|target| target.split('.').nth(1));
        let operation = operation.unwrap_or_default().to_owned();
        let body = request.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
        let rule = self.rule.lock().expect("no panic holds this lock").clone();
        let fault = rule(&operation, &body);
        let inner = self.inner.clone();
        HttpConnectorFuture::new(async move {
            match fault {
                Fault::Throttled => return Ok(refused(throttled())),
                Fault::Conflict => return Ok(refused(conflict(&operation, &json_of(&request)))),
                Fault::Refused => return Err(cut()),
                Fault::Late(delay) => tokio::time::sleep(delay).await,
                Fault::None | Fault::Lost | Fault::Status(_) => {}
            }
            let answer = inner.call(request).await;
            if fault == Fault::Lost { Err(cut()) } else { answer }
        })
    }
}

fn cut() -> ConnectorError {
    ConnectorError::io("the wire is cut".into())
}

fn json_of(request: &HttpRequest) -> Value {
    request.body().bytes().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default()
}

/// DynamoDB's answer with this body, which refuses.
fn refused(body: Value) -> HttpResponse {
    HttpResponse::new(400.try_into().expect("it is a status"), body.to_string().into())
}

/// The body of a refusal of DynamoDB: too many calls.
pub fn throttled() -> Value {
    refusal("ThrottlingException", "Rate exceeded")
}

/// The body of a refusal of DynamoDB: another transaction was there first.
pub fn conflict(operation: &str, request: &Value) -> Value {
    match operation {
        "TransactWriteItems" => cancelled(request, "TransactionConflict"),
        _ => refusal("TransactionConflictException", "Transaction is ongoing for the item"),
    }
}

/// The body of a refusal of DynamoDB: a transaction was cancelled for this reason, at its first item.
pub fn cancelled(request: &Value, reason: &str) -> Value {
    let count = request["TransactItems"].as_array().map_or(1, Vec::len);
    let code = |index| if index == 0 { reason } else { "None" };
    let reasons: Vec<Value> = (0..count).map(|index| json!({ "Code": code(index) })).collect();
    let mut body = refusal("TransactionCanceledException", "Transaction cancelled");
    body["CancellationReasons"] = reasons.into();
    body
}

fn refusal(kind: &str, message: &str) -> Value {
    json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": message })
}

/// A wire to the payment provider. Clones are one wire.
#[derive(Clone, Default)]
pub struct Provider(Arc<State>);

#[derive(Default)]
struct State {
    internet: Internet,
    asked: AtomicU32,
    /// What is answered instead of the provider: a status (0: none) and a `Retry-After`; and how many times.
    instead: Mutex<Option<(u16, Option<u32>, u32)>>,
    rule: Mutex<Option<ProviderRule>>,
}

impl Provider {
    /// Calls that reached this wire.
    pub fn asked(&self) -> u32 {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// The next calls are answered so, without the provider.
    pub fn answer(&self, status: u16, retry_after: Option<u32>, times: u32) {
        *self.0.instead.lock().expect("no panic holds this lock") = Some((status, retry_after, times));
    }

    /// From now on `rule` says what happens to each call.
    pub fn set(&self, rule: impl Fn() -> Fault + Send + Sync + 'static) {
        *self.0.rule.lock().expect("no panic holds this lock") = Some(Arc::new(rule));
    }

    pub fn repair(&self) {
        *self.0.instead.lock().expect("no panic holds this lock") = None;
        *self.0.rule.lock().expect("no panic holds this lock") = None;
    }

    pub fn wires(&self) -> Wires {
        Wires { dynamodb: None, transport: Some(Arc::new(self.clone())) }
    }
}

impl Transport for Provider {
    fn send(&self, request: Request<Bytes>, limit: Duration) -> Answer<'_> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let mut instead = self.0.instead.lock().expect("no panic holds this lock");
        let Some((status, retry_after, times)) = instead.as_mut().filter(|(.., times)| *times > 0) else {
            drop(instead);
            return self.0.carry(request, limit);
        };
        *times -= 1;
        if *status == 0 {
            return Box::pin(std::future::ready(Err(NoAnswer("the wire is cut".into()))));
        }
        let answer = answer(*status, *retry_after);
        Box::pin(std::future::ready(Ok(answer)))
    }
}

impl State {
    /// Carries a call out as the rule says.
    fn carry(&self, request: Request<Bytes>, limit: Duration) -> Answer<'_> {
        let rule = self.rule.lock().expect("no panic holds this lock").clone();
        let fault = rule.map_or(Fault::None, |rule| rule());
        let lost = || Err(NoAnswer("the wire is cut".into()));
        Box::pin(async move {
            match fault {
                Fault::Refused => return lost(),
                Fault::Status(status) => return Ok(answer(status, None)),
                Fault::Throttled | Fault::Conflict => return Ok(answer(429, None)),
                Fault::Late(delay) => tokio::time::sleep(delay).await,
                Fault::None | Fault::Lost => {}
            }
            let answer = self.internet.send(request, limit).await;
            if fault == Fault::Lost { lost() } else { answer }
        })
    }
}

fn answer(status: u16, retry_after: Option<u32>) -> Response<Bytes> {
    let mut answer = Response::builder().status(status);
    if let Some(seconds) = retry_after {
        answer = answer.header("retry-after", seconds);
    }
    answer.body(Bytes::new()).expect("it is an answer")
}
