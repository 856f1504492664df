//! Problems (RFC 9457): the public part of an error for the client, the private part for the log.

use crate::config::Missing;
use crate::secrets::SecretError;
use crate::store::StoreError;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;

/// Errors about single fields that one problem lists.
const FIELD_ERRORS_MAX: usize = 50;
/// Seconds after which a client may try again what was refused for load.
const RETRY_SECONDS: u32 = 1;

/// An error on its way to the client. `cause` stays here: it is logged once, in the request's line, and never sent.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub retry_after_seconds: Option<u32>,
    cause: Option<String>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// A JSON pointer (RFC 6901) into the body, or `/name` of a query parameter.
    pub pointer: String,
    pub detail: String,
}

/// The body of every error, `application/problem+json`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemOut<'a> {
    /// A URI reference that names the kind of problem.
    pub r#type: String,
    pub title: &'a str,
    pub status: u16,
    /// Stable; the field to program against.
    pub code: &'a str,
    pub detail: &'a str,
    pub request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [FieldError],
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after_seconds: None, cause: None }
    }

    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn unauthorized(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here, or it is not yours.")
    }

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// Fields of the request are wrong.
    pub fn invalid(errors: impl IntoIterator<Item = FieldError>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Some fields are not valid.").with_errors(errors)
    }

    /// The same problem with what is wrong with each field.
    pub fn with_errors(self, errors: impl IntoIterator<Item = FieldError>) -> Self {
        Self { errors: errors.into_iter().take(FIELD_ERRORS_MAX).collect(), ..self }
    }

    /// One field of the request is wrong.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid([FieldError { pointer: pointer.into(), detail: detail.into() }])
    }

    /// The same key was used before for something else.
    pub fn key_reused() -> Self {
        Self::conflict("idempotency_key_reused", "This Idempotency-Key was used before with other contents.")
    }

    /// Something else is down or overloaded; nothing was lost.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, cause: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        Self { retry_after_seconds: Some(RETRY_SECONDS), cause: Some(cause.into()), ..problem }
    }

    /// Too much at once.
    pub fn busy(cause: impl Into<String>) -> Self {
        Self::unavailable("busy", "Too much at once. Try again shortly.", cause)
    }

    /// The same problem with another time to come back, in whole seconds and at least one.
    pub fn retry_after(self, rest: Duration) -> Self {
        let seconds = rest.as_millis().div_ceil(1_000).max(1);
        Self { retry_after_seconds: Some(u32::try_from(seconds).unwrap_or(u32::MAX)), ..self }
    }

    /// A fault of ours.
    pub fn internal(cause: impl Into<String>) -> Self {
        let detail = "Something went wrong here. Quote the request id to support.";
        let problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
        Self { cause: Some(cause.into()), ..problem }
    }

    /// What the log is told of it, where it is a fault of ours or of others.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The reply, with the request's id in it.
    pub(super) fn render(&self, request_id: &str) -> Response {
        let body = ProblemOut {
            r#type: format!("/problems/{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            request_id,
            errors: &self.errors,
        };
        let body = serde_json::to_vec(&body).expect("a problem is plain JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The problem travels beside an empty body until the request's id is known, in `http::finish`.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Missing> for Problem {
    fn from(missing: Missing) -> Self {
        Self::internal(missing.to_string())
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        Self::unavailable("unavailable", "The service is not ready. Try again shortly.", error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => {
                Self::conflict("changed_meanwhile", "It was changed by somebody else meanwhile. Read it and try again.")
            }
            StoreError::Throttled(cause) | StoreError::Busy(cause) => Self::busy(cause),
            StoreError::Failed(cause) => Self::internal(cause),
            StoreError::Missing(missing) => missing.into(),
        }
    }
}
