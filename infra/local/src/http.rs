//! The front door: what API Gateway is on AWS. It knows the template's routes and nothing of what they do.

use crate::door::{self, Door};
use crate::error::Error;
use crate::host::Host;
use crate::meter::Meter;
use crate::pages;
use crate::template::{System, Trigger};
use crate::unread::Unread;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::App;
use platform::http::{ClientAddr, Deadline, ProblemOut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tower::ServiceExt;

/// Requests that functions work on at once, unless the runner is told otherwise: more would wait for longer than their
/// clients do. On AWS the API's throttling and the functions' concurrency are this limit.
pub const REQUESTS_MAX: u64 = 2_000;
/// Seconds after which a client may try again what was refused for load.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Routes to functions, and counts of the requests that they work on.
pub struct Front {
    routes: Vec<Route>,
    functions: Vec<Hosted>,
    host: Arc<Host>,
    /// For request ids of what no function sees.
    app: App,
    /// Written when it is first asked for.
    openapi: OnceLock<Option<String>>,
    meter: Option<Arc<Meter>>,
    door: Door,
    requests_max: u64,
    policy: HeaderValue,
    started: AtomicU64,
    ended: AtomicU64,
}

struct Route {
    method: Method,
    segments: Vec<Segment>,
    /// Index into `functions`.
    function: usize,
}

/// Texts sort before parameters, so that `/events/new` is found before `/events/{id}`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Text(String),
    Parameter,
}

struct Hosted {
    name: String,
    router: Router,
    timeout: Duration,
}

impl Front {
    pub fn new(
        system: &System,
        host: Arc<Host>,
        app: App,
        meter: Option<Arc<Meter>>,
        door: Door,
        requests_max: u64,
        policy: HeaderValue,
    ) -> Result<Self, Error> {
        let (mut routes, mut functions) = (vec![], vec![]);
        for function in &system.functions {
            let mut serves = false;
            for trigger in &function.triggers {
                let Trigger::Http(route) = trigger else { continue };
                let method = Method::from_bytes(route.method.as_bytes()).expect("the template allows five methods");
                let segments = route.path.split('/').skip(1).map(segment).collect();
                routes.push(Route { method, segments, function: functions.len() });
                serves = true;
            }
            if serves {
                let (router, timeout) = (host.router(&function.handler)?, host.timeout(&function.handler)?);
                functions.push(Hosted { name: function.handler.clone(), router, timeout });
            }
        }
        routes.sort_by(|a, b| a.segments.cmp(&b.segments));
        let (started, ended) = (AtomicU64::new(0), AtomicU64::new(0));
        let openapi = OnceLock::new();
        Ok(Self { routes, functions, host, app, openapi, meter, door, requests_max, policy, started, ended })
    }

    /// Everything that is served, as a router that knows its clients' addresses.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    /// Requests that functions were given so far.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Acquire)
    }

    /// Requests that functions work on.
    pub fn running(&self) -> u64 {
        let ended = self.ended.load(Ordering::Acquire);
        self.started().saturating_sub(ended)
    }

    fn find(&self, method: &Method, path: &str) -> Option<&Hosted> {
        let path = path.strip_prefix('/')?;
        let route = self.routes.iter().find(|route| {
            let mut parts = path.split('/');
            let fits = route.segments.iter().all(|segment| match (segment, parts.next()) {
                (Segment::Text(text), Some(part)) => text == part,
                (Segment::Parameter, Some(part)) => !part.is_empty(),
                (_, None) => false,
            });
            fits && parts.next().is_none() && route.method == *method
        })?;
        Some(&self.functions[route.function])
    }

    fn problem(&self, status: StatusCode, code: &str, detail: &str) -> Response {
        let request_id = self.app.new_request_id();
        let title = status.canonical_reason().unwrap_or("Error");
        let (r#type, status_code) = (format!("/problems/{code}"), status.as_u16());
        let errors = &[];
        let problem = ProblemOut { r#type, title, status: status_code, code, detail, request_id: &request_id, errors };
        let body = serde_json::to_vec(&problem).expect("a problem is plain JSON");
        let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        (status, headers, Body::from(body)).into_response()
    }

    /// What a client is told of a request that no function will answer now.
    fn unavailable(&self, code: &str, detail: &str) -> Response {
        let mut response = self.problem(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_SECONDS);
        response
    }

    /// The operator's door.
    fn redrive(&self, client: SocketAddr, request: &Request) -> Response {
        if !self.door.is_open(client, request.headers()) {
            return self.problem(
                StatusCode::FORBIDDEN,
                "forbidden",
                "Only `boxoffice redrive` with the token of this box office may.",
            );
        }
        match self.door.answer(request.method(), request.uri().path()) {
            Ok(answer) => axum::Json(answer).into_response(),
            Err((status, detail)) => self.problem(status, "not_redriven", &detail),
        }
    }
}

fn segment(text: &str) -> Segment {
    match text.starts_with('{') && text.ends_with('}') {
        true => Segment::Parameter,
        false => Segment::Text(text.to_owned()),
    }
}

async fn serve(
    State(front): State<Arc<Front>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if request.body().is_end_stream() {
        return answer(front, client, request).await;
    }
    let (parts, body) = request.into_parts();
    let (body, unread) = Unread::of(body, &parts.headers);
    let response = answer(front, client, Request::from_parts(parts, body)).await;
    unread.read().await;
    response
}

async fn answer(front: Arc<Front>, client: SocketAddr, mut request: Request) -> Response {
    if let Some(page) = pages::find(request.method(), request.uri().path(), &front.policy) {
        return page;
    }
    if request.uri().path() == "/openapi.json"
        && let Some(openapi) = front.openapi.get_or_init(|| front.host.openapi(&front.app))
    {
        return ([(header::CONTENT_TYPE, "application/json")], openapi.clone()).into_response();
    }
    if let Some(meter) = front.meter.as_ref().filter(|_| request.uri().path() == "/_meter") {
        return axum::Json(meter.report()).into_response();
    }
    if request.uri().path().strip_prefix(door::PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return front.redrive(client, &request);
    }
    let Some(hosted) = front.find(request.method(), request.uri().path()) else {
        return front.problem(StatusCode::NOT_FOUND, "not_found", "There is nothing here.");
    };
    if front.running() >= front.requests_max {
        return front.unavailable("busy", "Too much at once. Try again shortly.");
    }
    let (router, timeout, name) = (hosted.router.clone(), hosted.timeout, hosted.name.clone());
    request.extensions_mut().insert(ClientAddr(client.ip()));
    request.extensions_mut().insert(Deadline(Instant::now() + timeout));
    let count = Running::new(front.clone());
    let running = tokio::spawn(async move {
        let _count = count;
        tokio::time::timeout(timeout, router.oneshot(request)).await
    });
    // Nobody works for a client that hung up: what was written by then is left as after a crash. Lambda does not know of
    // it and works on until the deadline; whoever comes next cannot tell the one from the other.
    let _end = AbortOnDrop(running.abort_handle());
    match running.await {
        Ok(Ok(Ok(response))) => response,
        Ok(Err(_)) => {
            tracing::error!(function = name, "a request took longer than the function's timeout");
            front.unavailable("unavailable", "It took too long. Try again shortly.")
        }
        Err(panic) => {
            tracing::error!(function = name, %panic, "a function panicked");
            front.problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here.")
        }
    }
}

/// Ends a task together with whoever waits for it.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Counts a request as running for as long as it lives.
struct Running(Arc<Front>);

impl Running {
    fn new(front: Arc<Front>) -> Self {
        front.started.fetch_add(1, Ordering::AcqRel);
        Self(front)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}
