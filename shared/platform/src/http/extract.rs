//! What a handler asks of a request, as values: the body, the path, the key, and who is asking.

use super::Problem;
use crate::App;
use crate::auth::{self, Principal};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use domain::access::{Act, Role, may};
use domain::ids::UserId;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::net::IpAddr;

/// Characters of an `Idempotency-Key`.
const KEY_CHARS_MAX: usize = 255;

/// A JSON body of this shape. Unknown fields are refused by the shapes themselves (`deny_unknown_fields`).
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
            let detail = "The body must be application/json.";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(body_problem)?;
        parse_json(&bytes).map(Self)
    }
}

/// What a body of this shape says, for handlers that take its bytes.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        if matches!(error.inner().classify(), serde_json::error::Category::Data) {
            return Problem::field(pointer(error.path()), error.inner().to_string());
        }
        Problem::bad_request("malformed_json", error.inner().to_string())
    })?;
    deserializer.end().map_err(|error| Problem::bad_request("malformed_json", error.to_string()))?;
    Ok(value)
}

/// Why a body was not read, for handlers that take its bytes.
pub fn body_problem(rejection: BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("A body may have {} bytes at most.", super::BODY_BYTES_MAX);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        }
        _ => Problem::bad_request("malformed_body", "The body could not be read."),
    }
}

/// `a.b[3]` of a parser's path as the JSON pointer `/a/b/3`.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => String::new(),
        })
        .collect()
}

/// Parts of the path. What does not parse names nothing: 404.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|_| Problem::not_found())
    }
}

/// The query's parameters.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(QueryRejection::FailedToDeserializeQueryString(error)) => {
                Err(Problem::bad_request("invalid_query", error.body_text()))
            }
            Err(_) => Err(Problem::bad_request("invalid_query", "The query could not be read.")),
        }
    }
}

/// The client's `Idempotency-Key`: what makes a repeated request the same request.
pub struct IdempotencyKey(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let missing = || {
            let detail = "Send an Idempotency-Key header: a text of your own, new for each new thing you want.";
            Problem::bad_request("idempotency_key_missing", detail)
        };
        let value = values.next().ok_or_else(missing)?;
        let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= KEY_CHARS_MAX);
        match text {
            Some(text) if values.next().is_none() => Ok(Self(text.to_owned())),
            _ => {
                let detail = format!("An Idempotency-Key is 1 to {KEY_CHARS_MAX} visible ASCII characters, sent once.");
                Err(Problem::bad_request("idempotency_key_invalid", detail))
            }
        }
    }
}

/// Somebody signed in, acting for themselves.
#[derive(Clone, Debug)]
pub struct Buyer {
    pub id: UserId,
}

impl FromRequestParts<App> for Buyer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let principal = principal(parts, app).await?;
        if !may(&principal.roles, Act::Buy) {
            return Err(forbidden());
        }
        Ok(Self { id: principal.user })
    }
}

/// An act of the access table, as a type that a handler can ask for.
pub trait Asked: Send {
    const ACT: Act;
}

macro_rules! asked {
    ($($name:ident),*) => {$(
        /// The act of the same name in `domain::access`.
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl Asked for $name {
            const ACT: Act = Act::$name;
        }
    )*};
}

/// Types for the acts that handlers ask for.
pub mod acts {
    use super::{Act, Asked};
    asked!(CheckIn, ManageCatalog, CancelEvent, DecideRefund, AssignRoles, ReadReconciliations);
    asked!(ManagePlans, ManagePromotions, ReadSubscriptions);
}

/// Somebody signed in who may do `A`.
#[derive(Clone, Debug)]
pub struct Allowed<A> {
    pub user: UserId,
    pub roles: Vec<Role>,
    act: PhantomData<A>,
}

impl<A: Asked> FromRequestParts<App> for Allowed<A> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Principal { user, roles } = principal(parts, app).await?;
        if !may(&roles, A::ACT) {
            return Err(forbidden());
        }
        Ok(Self { user, roles, act: PhantomData })
    }
}

fn forbidden() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "Your account may not do this.")
}

async fn principal(parts: &Parts, app: &App) -> Result<Principal, Problem> {
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    // The scheme's case does not matter (RFC 9110, section 11.1).
    let (_, token) = header
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .ok_or_else(|| Problem::unauthorized("token_missing", "Send an access token: Authorization: Bearer …"))?;
    auth::verify_access(app, token).await
}

/// The address of the client, which each host knows in its own way and puts into the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddr(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddr {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| Problem::internal("the host gave no client address"))
    }
}
