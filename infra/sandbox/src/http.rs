//! The door: `/v1` for programs, pages for people.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::{any, get};

use crate::api::{self, Answer};
use crate::error::ApiError;
use crate::state::API_VERSION;
use crate::{Stripe, pages};

const BODY_BYTES_MAX: usize = 64 * 1024;
const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");

/// Browsers may call with the publishable key from any page.
const CORS: [(&str, &str); 4] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
    ("access-control-allow-headers", "authorization, content-type, idempotency-key, stripe-version, stripe-account"),
    ("access-control-expose-headers", "request-id, stripe-version, idempotent-replayed"),
];

pub(crate) fn router(stripe: Stripe) -> Router {
    Router::new()
        .route("/", get(pages::books))
        .route("/pay/{id}", get(pages::pay))
        .route("/authenticate/{id}", get(pages::authenticate).post(pages::authenticated))
        .route("/assets/sandbox.css", get(pages::style))
        .route("/assets/pay.js", get(pages::script))
        .route("/v1/{*path}", any(call))
        .with_state(stripe)
}

/// One call of the API.
async fn call(State(stripe): State<Stripe>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if head.method == Method::OPTIONS {
        return respond(204, Body::empty(), &head.headers, None);
    }
    let body = match to_bytes(body, BODY_BYTES_MAX).await.map(|bytes| String::from_utf8(bytes.into())) {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return refuse(400, "The request is not UTF-8.", &head.headers),
        Err(_) => return refuse(413, "The request is too large.", &head.headers),
    };
    let answer = stripe.with(|state| {
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        api::answer(state, &api::Request { method: &head.method, path, query, headers: &head.headers, body: &body })
    });
    if let Ok(hang_ms @ 1..) = u64::try_from(answer.hang_ms) {
        tokio::time::sleep(Duration::from_millis(hang_ms)).await;
    }
    let Answer { status, body, request_id, replayed, .. } = answer;
    respond(status, body.into(), &head.headers, Some((request_id, replayed)))
}

fn refuse(status: u16, message: &str, headers: &HeaderMap) -> Response {
    respond(status, ApiError::refused(status, message).body().into(), headers, None)
}

fn respond(status: u16, body: Body, asked: &HeaderMap, named: Option<(String, bool)>) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("statuses are written out in this crate");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    for (name, value) in CORS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let version = asked.get(STRIPE_VERSION).cloned().unwrap_or(HeaderValue::from_static(API_VERSION));
    headers.insert(STRIPE_VERSION, version);
    if let Some((request_id, replayed)) = named {
        headers.insert("request-id", HeaderValue::try_from(request_id).expect("ids are letters and digits"));
        if let Some(key) = asked.get("idempotency-key") {
            headers.insert("idempotency-key", key.clone());
        }
        if replayed {
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
    }
    response
}
