//! The door: `/bot<token>/<method>` for the bot, `/chats` for people. Calls come as Telegram takes them: in the address,
//! as a form, as JSON or as `multipart/form-data`.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Form, FromRequest, Path, Query, Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::api::{self, Refusal};
use super::{Bot, Fault, pages};

const BODY_BYTES_MAX: usize = 11 * 1024 * 1024;
const PARTS_MAX: usize = 50;

/// What a call carries.
#[derive(Default)]
pub(super) struct Params {
    pub(super) values: Map<String, Value>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

pub(super) fn router(bot: Bot) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/chats")))
        .route("/chats", get(pages::chats).post(pages::open))
        .route("/chats/new", get(pages::new))
        .route("/chats/{id}", get(pages::chat))
        .route("/chats/{id}/messages", get(pages::messages).post(pages::write))
        .route("/chats/{id}/presses", post(pages::press))
        .route("/chats/{id}/block", post(pages::block))
        .route("/chats/{id}/pictures/{message}", get(pages::picture))
        .route("/assets/sandbox.css", get(crate::pages::style))
        .route("/assets/chat.js", get(pages::script))
        .route("/{bot}/{method}", any(call))
        .with_state(bot)
}

/// One call of the API.
async fn call(State(bot): State<Bot>, Path((name, method)): Path<(String, String)>, request: Request) -> Response {
    let is_ours = name.strip_prefix("bot").map(|token| token == bot.state().settings.token);
    match is_ours {
        None => return refuse(&Refusal::new(404, "Not Found")),
        Some(false) => return refuse(&Refusal::new(401, "Unauthorized")),
        Some(true) => {}
    }
    let params = match params(request).await {
        Ok(params) => params,
        Err(refusal) => return refuse(&refusal),
    };
    let rule = bot.state().rule.clone();
    let fault = rule(&method, api::chat_id(&params).unwrap_or_default());
    match fault {
        Fault::TooMany(seconds) => return refuse(&Refusal::too_many(seconds)),
        Fault::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return refuse(&Refusal::new(status.as_u16(), status.canonical_reason().unwrap_or("Error")));
        }
        Fault::None | Fault::Lost => {}
    }
    let done = bot.with(|state| api::answer(state, &method, params));
    if fault == Fault::Lost {
        return cut_off();
    }
    match done {
        Ok(result) => respond(200, &json!({ "ok": true, "result": result })),
        Err(refusal) => refuse(&refusal),
    }
}

/// An answer whose connection ends before it does.
fn cut_off() -> Response {
    let nothing = futures_util::stream::once(std::future::ready(Err::<Bytes, _>(std::io::Error::other("cut off"))));
    Response::new(Body::from_stream(nothing))
}

fn refuse(refusal: &Refusal) -> Response {
    let mut body = json!({ "ok": false, "error_code": refusal.status, "description": refusal.description });
    if let Some(seconds) = refusal.retry_after {
        body["parameters"] = json!({ "retry_after": seconds });
    }
    let mut response = respond(refusal.status, &body);
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn respond(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn params(request: Request) -> Result<Params, Refusal> {
    let (head, body) = request.into_parts();
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
    let pairs = pairs.map_err(|_| Refusal::new(400, "Bad Request: the query cannot be read"))?.0;
    let mut params = Params { values: texts(pairs), ..Params::default() };
    let too_large = |_| Refusal::new(413, "Request Entity Too Large");
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(too_large)?;
    if kind.starts_with("application/json") {
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(values)) => params.values.extend(values),
            _ => return Err(Refusal::new(400, "Bad Request: can't parse JSON object")),
        }
    } else if kind.starts_with("application/x-www-form-urlencoded") && head.method != Method::GET {
        let request = Request::from_parts(head, Body::from(bytes));
        let form = Form::<Vec<(String, String)>>::from_request(request, &()).await;
        params.values.extend(texts(form.map_err(|_| Refusal::new(400, "Bad Request: can't parse the form"))?.0));
    } else if let Some(boundary) = kind.strip_prefix("multipart/form-data").and_then(boundary_of) {
        let unreadable = || Refusal::new(400, "Bad Request: can't parse the multipart form");
        multipart(&bytes, &boundary, &mut params).ok_or_else(unreadable)?;
    }
    Ok(params)
}

fn texts(pairs: Vec<(String, String)>) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
}

fn boundary_of(rest: &str) -> Option<String> {
    let value = rest.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    Some(value.trim_matches('"').to_owned()).filter(|boundary| !boundary.is_empty())
}

/// Reads the parts of a form (RFC 7578) into texts and files.
fn multipart(body: &[u8], boundary: &str, params: &mut Params) -> Option<()> {
    let between = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(&between.as_bytes()[2..])?;
    for _ in 0..PARTS_MAX {
        if rest.starts_with(b"--") {
            return Some(());
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let head_end = find(rest, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&rest[..head_end]).ok()?;
        rest = &rest[head_end + 4..];
        let end = find(rest, between.as_bytes())?;
        let (value, behind) = (&rest[..end], &rest[end + between.len()..]);
        let is_disposition = |line: &&str| line.to_ascii_lowercase().starts_with("content-disposition:");
        let disposition = head.lines().find(is_disposition)?;
        let quoted = |name: &str| {
            let part = disposition.split(';').find_map(|part| part.trim().strip_prefix(name))?;
            Some(part.trim_matches('"').to_owned())
        };
        let name = quoted("name=")?;
        if quoted("filename=").is_some() {
            params.files.insert(name, value.to_vec());
        } else {
            params.values.insert(name, String::from_utf8(value.to_vec()).ok()?.into());
        }
        rest = behind;
    }
    None
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_parts_is_read_or_refused() {
        let part =
            |head: &str, value: &str| format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n");
        let form = part("name=\"chat_id\"", "7") + &part("name=\"photo\"; filename=\"a.png\"", "\r\n--y") + "--x--\r\n";
        let mut params = Params::default();
        multipart(form.as_bytes(), "x", &mut params).expect("it is right");
        assert_eq!(params.values["chat_id"], "7");
        assert_eq!(params.files["photo"], b"\r\n--y");
        for wrong in ["", "--x", "--x\r\n\r\n", "--x\r\nA: b\r\n\r\nc\r\n--x--", &form[..form.len() - 6]] {
            assert!(multipart(wrong.as_bytes(), "x", &mut Params::default()).is_none(), "{wrong}");
        }
        assert_eq!(boundary_of("; charset=x; boundary=\"a b\""), Some("a b".to_owned()));
    }
}
