//! HTTP as every function speaks it: problems, bodies, keys, who asks. Handlers hold none of this.

mod extract;
mod problem;

pub use extract::{Allowed, Buyer, ClientAddr, IdempotencyKey, Json, Path, Query, acts, body_problem, parse_json};
pub use problem::{FieldError, Problem, ProblemOut};

use crate::{App, telemetry};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::ids::{OrderId, TicketId};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::time::Instant;
use tracing::field::Empty;
use utoipa_axum::router::OpenApiRouter;

/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Items of a page, when the client does not say and at most.
pub const PAGE_ITEMS_DEFAULT: u16 = 20;
pub const PAGE_ITEMS_MAX: u16 = 100;

/// How long before its deadline a request is answered, done or not: time for the answer to get out.
const MARGIN_MILLISECONDS: u64 = 500;

/// When the host ends this request, done or not. Each host puts it into the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

/// A function's routes with what all functions have in common: limits, request ids, problems for what no route takes.
pub fn finish(app: App, routes: OpenApiRouter<App>) -> OpenApiRouter {
    routes
        .fallback(|| async { Problem::not_found() })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(app.clone(), with_request_id))
        .with_state(app)
}

/// The setting that names the function, as Lambda has it.
const HANDLER: &str = "_HANDLER";
/// The header that names a request in replies, as its lines of the log do.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id that the host gave a request, by which its own logs know it; where there is none, one is made.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Runs a handler within a span that knows what is asked for, and writes the request's line when it is answered. Of its
/// path there are the route's template and the ids in it, and nothing else: anything can be written there.
async fn with_request_id(State(app): State<App>, request: Request, next: Next) -> Response {
    let given = request.extensions().get::<RequestId>().map(|given| given.0.clone());
    let id = given.unwrap_or_else(|| app.new_request_id());
    let function = app.config.get(HANDLER).ok();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let (trace, order) = (Empty, Empty);
    let span = tracing::info_span!("request", function, request = id, method = %request.method(), route, trace, order);
    telemetry::within(span, Some(id.clone()), answer(id, request, next)).await
}

async fn answer(id: String, request: Request, next: Next) -> Response {
    let started = Instant::now();
    request.uri().path().split('/').for_each(note_order);
    let deadline = request.extensions().get::<Deadline>().copied();
    let mut response = in_time(next.run(request), deadline).await;
    let problem = response.extensions_mut().remove::<Problem>();
    // API Gateway knows no 405: a method without a route is a route that is not there.
    let no_method = (response.status() == StatusCode::METHOD_NOT_ALLOWED).then(Problem::not_found);
    let problem = problem.or(no_method);
    if let Some(problem) = &problem {
        response = problem.render(&id);
    }
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (code, cause) = (problem.as_ref().map(|problem| problem.code), problem.as_ref().and_then(Problem::cause));
    match cause {
        Some(cause) => tracing::error!(status, duration_ms, code, cause, "request failed"),
        None => tracing::info!(status, duration_ms, code, "request"),
    }
    let value = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown"));
    response.headers_mut().insert(REQUEST_ID, value);
    response
}

/// Notes which order a part of a path names: itself, or by a ticket of it.
fn note_order(part: &str) {
    let order = part.parse::<OrderId>().ok().or_else(|| Some(part.parse::<TicketId>().ok()?.order));
    order.into_iter().for_each(telemetry::about);
}

/// The handler's answer, if it has one in time. Where it has none its work ends here: whatever it has written, others
/// can go on from, as after a crash.
async fn in_time(answer: impl Future<Output = Response>, deadline: Option<Deadline>) -> Response {
    let Some(Deadline(end)) = deadline else { return answer.await };
    let end = end.checked_sub(Duration::from_millis(MARGIN_MILLISECONDS)).unwrap_or(end);
    let answer = tokio::time::timeout_at(end, answer).await;
    answer.unwrap_or_else(|_| Problem::busy("the handler did not end before its deadline").into_response())
}

/// `201 Created` with the thing that was made, or that the same request had made before.
#[derive(Debug)]
pub struct Created<T>(pub T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, axum::Json(self.0)).into_response()
    }
}

/// One page of a list; `next_cursor` asks for the next, and is absent on the last.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// How much of a list is asked for.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageIn {
    /// Items at most, 1 to 100; 20 when absent.
    pub limit: Option<u16>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl PageIn {
    pub fn limit(&self) -> Result<u16, Problem> {
        match self.limit.unwrap_or(PAGE_ITEMS_DEFAULT) {
            limit @ 1..=PAGE_ITEMS_MAX => Ok(limit),
            _ => Err(Problem::field("/limit", format!("must be 1 to {PAGE_ITEMS_MAX}"))),
        }
    }
}

/// A reply that clients poll: an `ETag` of its contents, and `304 Not Modified` to those who have it already.
pub struct Polled<T> {
    pub body: T,
    pub etag: String,
    /// `Cache-Control`, as RFC 9111 has it.
    pub cache_control: &'static str,
    pub if_none_match: Option<HeaderValue>,
}

/// The client's `If-None-Match`.
pub fn if_none_match(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::IF_NONE_MATCH).cloned()
}

impl<T: IntoResponse> IntoResponse for Polled<T> {
    fn into_response(self) -> Response {
        let etag = format!("\"{}\"", self.etag);
        let known = self.if_none_match.as_ref().and_then(|value| value.to_str().ok());
        let is_known = known.is_some_and(|list| list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));
        let headers = [(header::ETAG, etag), (header::CACHE_CONTROL, self.cache_control.to_owned())];
        if is_known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.body).into_response()
    }
}

/// A digest of what was asked for, short enough to keep with the thing: 66 bits of SHA-256 of its JSON.
pub fn fingerprint(ask: &impl Serialize) -> String {
    use base64::Engine;
    let json = serde_json::to_vec(ask).expect("a request that was parsed can be written");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(json))[..11].to_owned()
}
