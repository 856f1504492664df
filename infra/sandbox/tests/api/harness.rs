//! A sandbox that runs, a client of it, and a receiver of its webhooks.

use std::future::{Future, IntoFuture};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use sandbox::{Settings, Stripe, signature};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const SECRET: &str = "sk_test_boxoffice";
pub const PUBLIC: &str = "pk_test_boxoffice";
pub const READ_ONLY: &str = "rk_test_boxoffice";
const WAIT_STEPS_MAX: usize = 1_000;
const WAIT_STEP: Duration = Duration::from_millis(10);

/// A running sandbox and a client of it.
pub struct Running {
    pub stripe: Stripe,
    pub client: reqwest::Client,
    pub url: String,
    pub stop: oneshot::Sender<()>,
    pub server: JoinHandle<()>,
}

/// An answer: status, headers, body.
pub struct Answer(pub u16, pub HeaderMap, pub Value);

impl Answer {
    pub fn code(&self) -> &str {
        self.2["error"]["code"].as_str().unwrap_or_default()
    }
}

pub async fn start(settings: Settings) -> Running {
    run(settings, |stripe, listener, stopped| Box::pin(stripe.serve(listener, stopped))).await
}

/// Serves the router alone: no timer runs and no webhook is sent unless the test does it.
pub async fn drive(settings: Settings) -> Running {
    run(settings, |stripe, listener, stopped| {
        Box::pin(axum::serve(listener, stripe.router()).with_graceful_shutdown(stopped).into_future())
    })
    .await
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

async fn run(
    settings: Settings,
    serve: impl FnOnce(Stripe, TcpListener, Pending<()>) -> Pending<std::io::Result<()>>,
) -> Running {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let stripe = Stripe::open(settings).expect("opens");
    let (stop, stopped) = oneshot::channel();
    let stopped = Box::pin(async {
        let _ = stopped.await;
    });
    let serving = serve(stripe.clone(), listener, stopped);
    let server = tokio::spawn(async { serving.await.expect("serves") });
    Running { stripe, client: reqwest::Client::builder().no_proxy().build().expect("a client"), url, stop, server }
}

/// A clock that stands until it is moved, in milliseconds, and settings that look at it. Webhooks wait for a driver.
pub fn stopped_at(now_ms: i64) -> (Arc<AtomicI64>, Settings) {
    let clock = Arc::new(AtomicI64::new(now_ms));
    let seen = Arc::clone(&clock);
    let webhook_url = Some("http://127.0.0.1:9/".to_owned());
    (clock, Settings { clock: Arc::new(move || seen.load(Ordering::SeqCst)), webhook_url, ..quick() })
}

pub fn quick() -> Settings {
    Settings {
        retry_delays: vec![Duration::from_millis(20); 3],
        refund_settles_after: Duration::from_millis(30),
        hang: Duration::from_millis(300),
        ..Settings::default()
    }
}

impl Running {
    pub async fn call(&self, key: &str, idempotency: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.client.request(method, format!("{}/v1/{path}", self.url)).basic_auth(key, Some(""));
        if !body.is_empty() {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned());
        }
        if let Some(idempotency) = idempotency {
            request = request.header("idempotency-key", idempotency);
        }
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer(status, headers, answer.json().await.expect("JSON"))
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.call(SECRET, None, "POST", path, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(SECRET, None, "GET", path, "").await
    }

    /// The objects of a list.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        answer.2["data"].as_array().unwrap_or_else(|| panic!("{path}: {}", answer.2)).clone()
    }

    /// An intent that was captured in full; gives its id.
    pub async fn paid(&self, method: &str, more: &str) -> String {
        let id = self.intent(&format!("confirm=true&payment_method={method}&{more}")).await;
        assert_eq!(self.post(&format!("payment_intents/{id}/capture"), "").await.0, 200);
        id
    }

    /// A new intent to be captured by hand; gives its id.
    pub async fn intent(&self, more: &str) -> String {
        let body = format!("amount=1000&currency=usd&capture_method=manual&payment_method_types[]=card&{more}");
        let answer = self.post("payment_intents", &body).await;
        id(answer.2.get("error").map_or(&answer.2, |error| &error["payment_intent"]))
    }

    pub async fn status(&self, id: &str) -> String {
        text(&self.get(&format!("payment_intents/{id}")).await.2["status"])
    }

    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..WAIT_STEPS_MAX {
            if holds().await {
                return;
            }
            tokio::time::sleep(WAIT_STEP).await;
        }
        panic!("waited too long until {what}");
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The word or the number that each object has under this name.
pub fn each<'a>(objects: &'a [Value], name: &str) -> Vec<&'a Value> {
    objects.iter().map(|object| &object[name]).collect()
}

pub fn id(value: &Value) -> String {
    let id = text(&value["id"]);
    assert!(!id.is_empty(), "no id in {value}");
    id
}

/// What a receiver of webhooks got: type of the event, and the body.
pub type Inbox = Arc<Mutex<Vec<(String, String)>>>;

/// Receives webhooks, verifies them, and refuses the first few.
pub async fn receiver(refuse: usize) -> (String, Inbox) {
    type Shared = (Inbox, Arc<Mutex<usize>>);
    async fn receive(State((inbox, refusals)): State<Shared>, headers: HeaderMap, body: String) -> StatusCode {
        let header = headers["stripe-signature"].to_str().expect("text");
        let at = header.strip_prefix("t=").and_then(|rest| rest.split(',').next()?.parse().ok()).expect("a time");
        assert_eq!(header, signature("whsec_boxoffice", at, &body));
        let event: Value = serde_json::from_str(&body).expect("JSON");
        inbox.lock().expect("unpoisoned").push((text(&event["type"]), body));
        let mut refusals = refusals.lock().expect("unpoisoned");
        match *refusals {
            0 => StatusCode::OK,
            _ => {
                *refusals -= 1;
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
    let inbox = Inbox::default();
    let shared: Shared = (Arc::clone(&inbox), Arc::new(Mutex::new(refuse)));
    let router = axum::Router::new().route("/", axum::routing::post(receive)).with_state(shared);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async { axum::serve(listener, router).await.expect("serves") });
    (url, inbox)
}

pub fn types(inbox: &Inbox) -> Vec<String> {
    inbox.lock().expect("unpoisoned").iter().map(|(kind, _)| kind.clone()).collect()
}

/// A database in a directory of its own, which goes with it.
pub struct Disk(PathBuf);

impl Disk {
    pub fn new(name: &str) -> Disk {
        let directory = std::env::temp_dir().join(format!("sandbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        Disk(directory)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("stripe.db")
    }

    /// The files as they are now: what a process killed here would leave.
    pub fn copy(&self, name: &str) -> Disk {
        let copy = Disk::new(name);
        for entry in std::fs::read_dir(&self.0).expect("a directory") {
            let from = entry.expect("an entry").path();
            std::fs::copy(&from, copy.0.join(Path::new(from.file_name().expect("a name")))).expect("copies");
        }
        copy
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
