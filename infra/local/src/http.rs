//! The front door: what API Gateway is on AWS. It knows the template's routes and nothing of what they do.

use crate::error::Error;
use crate::host::Host;
use crate::meter::Meter;
use crate::pages;
use crate::template::{System, Trigger};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::App;
use platform::http::{ClientAddr, ProblemOut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tower::ServiceExt;

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
        Ok(Self { routes, functions, host, app, openapi: OnceLock::new(), meter, policy, started, ended })
    }

    /// Everything that is served, as a router that knows its clients' addresses.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    /// Requests that functions were given so far.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Acquire)
    }

    /// Requests that functions work on, whether or not their clients still wait.
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
    mut request: Request,
) -> Response {
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
    let Some(hosted) = front.find(request.method(), request.uri().path()) else {
        return front.problem(StatusCode::NOT_FOUND, "not_found", "There is nothing here.");
    };
    let (router, timeout, name) = (hosted.router.clone(), hosted.timeout, hosted.name.clone());
    request.extensions_mut().insert(ClientAddr(client.ip()));
    // On AWS a function runs on when its client hangs up, and so it does here.
    let count = Running::new(front.clone());
    let running = tokio::spawn(async move {
        let _count = count;
        tokio::time::timeout(timeout, router.oneshot(request)).await
    });
    match running.await {
        Ok(Ok(Ok(response))) => response,
        Ok(Err(_)) => {
            tracing::error!(function = name, "a request took longer than the function's timeout");
            front.problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "It took too long. Try again shortly.")
        }
        Err(panic) => {
            tracing::error!(function = name, %panic, "a function panicked");
            front.problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here.")
        }
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
