//! Messengers that integrate themselves: what we write to people goes to an address of theirs as a signed webhook, and what
//! they have to say comes to ours. Which there are is data, a secret of the operator's. `infra/messengers.md` is for their
//! developers.

use super::{Button, Messenger, Outgoing, SendError, Sent, plain, telegram};
use crate::Clock;
use crate::transport::{PerTarget, Transport};
use crate::webhooks::{self, Secret};
use axum::http::{HeaderMap, Request, StatusCode, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::chats::{self, ChatRef};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Names that are not to be had: those of what is built in.
const RESERVED: [&str; 2] = [telegram::NAME, chats::EMAIL];
/// Messengers that there may be, and bytes of what sets them up (Secrets Manager takes no more).
const MESSENGERS_MAX: usize = 50;
const SETUP_BYTES_MAX: usize = 65_536;
/// Secrets of one messenger: an old one, a new one, and room for a mistake.
const SECRETS_MAX: usize = 4;
/// Characters of an address.
const URL_CHARS_MAX: usize = 500;
/// What stands for the token in the address of a link.
const TOKEN: &str = "{token}";
/// Bytes of a post.
const POST_BYTES_MAX: usize = 256 * 1_024;
/// How long one post may take.
const CALL_SECONDS_MAX: u64 = 6;
/// For how long we wait where we are told to, but not how long, and the longest that we let ourselves be told.
const WAIT_SECONDS_DEFAULT: u64 = 1;
const WAIT_SECONDS_MAX: u64 = 86_400;

/// A messenger that the operator has set up.
pub struct Posts {
    name: String,
    terms: Terms,
    transport: Arc<dyn Transport>,
    clock: Clock,
}

/// Where a messenger is, and what is signed with.
struct Terms {
    url: Uri,
    deep_link: String,
    secrets: Vec<Secret>,
}

/// How a messenger is set up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Setup {
    url: String,
    deep_link: String,
    secrets: Vec<String>,
}

/// Whether a messenger may be set up under this name.
pub fn is_name(name: &str) -> bool {
    ChatRef::new(name, "1").is_ok() && !RESERVED.contains(&name)
}

/// Whether we post there: over TLS, or to this machine.
pub fn is_address(url: &str) -> bool {
    let Some(uri) = url.parse::<Uri>().ok().filter(|_| url.len() <= URL_CHARS_MAX) else { return false };
    let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else { return false };
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => ["127.0.0.1", "localhost"].contains(&authority.host()),
        _ => false,
    }
}

/// What sets messengers up: `{name: {url, deep_link, secrets}}`. Errors say what is wrong and nothing of what is there.
fn parse(setup: &str) -> Result<BTreeMap<String, Value>, &'static str> {
    if setup.len() > SETUP_BYTES_MAX {
        return Err("it is too long");
    }
    let all: BTreeMap<String, Value> = serde_json::from_str(setup).map_err(|_| "it is not an object of JSON")?;
    if all.len() > MESSENGERS_MAX { Err("it has too many messengers") } else { Ok(all) }
}

/// Whether messengers are set up as they can be; else what is wrong.
pub fn check(setup: &str) -> Result<(), String> {
    for (name, own) in parse(setup)? {
        if !is_name(&name) {
            return Err(format!("{name:?} is no name of a messenger: up to 32 of a-z 0-9, and none that is built in"));
        }
        Terms::parse(own).map_err(|cause| format!("{name}: {cause}"))?;
    }
    Ok(())
}

impl Terms {
    fn parse(own: Value) -> Result<Self, &'static str> {
        let own: Setup = serde_json::from_value(own).map_err(|_| "a messenger is {url, deep_link, secrets}")?;
        if !is_address(&own.url) {
            return Err("a messenger's url is https, or http on this machine");
        }
        if own.deep_link.matches(TOKEN).count() != 1 || !is_address(&own.deep_link.replace(TOKEN, "x")) {
            return Err("a messenger's deep_link is https, or http on this machine, with {token} in it once");
        }
        if !(1..=SECRETS_MAX).contains(&own.secrets.len()) {
            return Err("a messenger has 1 to 4 secrets");
        }
        let secrets = own.secrets.iter().map(|secret| secret.parse()).collect::<Result<_, _>>();
        let secrets = secrets.map_err(|_| "a messenger's secret is whsec_ and 24 to 64 bytes in base64")?;
        let url = own.url.parse().expect("it was parsed above");
        Ok(Self { url, deep_link: own.deep_link, secrets })
    }
}

impl Posts {
    /// The messenger of this name, if it is set up; one that is set up wrongly keeps no other from working.
    pub fn find(
        setup: &str,
        name: &str,
        transport: Arc<dyn Transport>,
        clock: Clock,
    ) -> Result<Option<Self>, &'static str> {
        let Some(own) = parse(setup)?.remove(name) else { return Ok(None) };
        Ok(Some(Self { name: name.to_owned(), terms: Terms::parse(own)?, transport, clock }))
    }

    /// The id of a post from this messenger, if it is.
    pub fn verify<'a>(&self, headers: &'a HeaderMap, body: &[u8]) -> Result<&'a str, webhooks::NotBelieved> {
        webhooks::verify(&self.terms.secrets, headers, body, self.clock.now())
    }

    async fn post(&self, chat: &str, message: &Outgoing) -> Result<(), SendError> {
        let body = Bytes::from(body(chat, message).to_string());
        if message.id.is_empty() || body.len() > POST_BYTES_MAX {
            return Err(SendError::Refused("it has no id, or is too long to be posted".into()));
        }
        let mut request = Request::post(&self.terms.url).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in webhooks::sign(&self.terms.secrets, &message.id, self.clock.now(), &body) {
            request = request.header(name, value);
        }
        let request = request.extension(PerTarget).body(body);
        let request = request.map_err(|error| SendError::Misconfigured(error.to_string()))?;
        if let Some(rest) = self.transport.rest(request.uri()) {
            return Err(SendError::Resting(rest));
        }
        let answer = self.transport.send(request, Duration::from_secs(CALL_SECONDS_MAX)).await;
        let answer = answer.map_err(|error| SendError::Unknown(error.0))?;
        judge(answer.status(), answer.headers())
    }
}

impl Messenger for Posts {
    fn name(&self) -> &str {
        &self.name
    }

    fn send<'a>(&'a self, chat: &'a str, message: &'a Outgoing) -> Sent<'a, ()> {
        Box::pin(self.post(chat, message))
    }

    fn answer<'a>(&'a self, _: &'a str, _: &'a str) -> Sent<'a, ()> {
        Box::pin(std::future::ready(Err(SendError::Refused("its buttons open pages".into()))))
    }

    fn deep_link(&self, token: &str) -> Result<String, SendError> {
        if !telegram::is_start(token) {
            return Err(SendError::Refused("a link carries up to 64 of A-Z a-z 0-9 _ -".into()));
        }
        Ok(self.terms.deep_link.replace(TOKEN, token))
    }
}

/// A message as it is posted. Buttons that are pressed to tell us something are left out: posts have none.
pub fn body(chat: &str, message: &Outgoing) -> Value {
    let link = |button: &Button| match button {
        Button::Link { text, url } => Some(json!({ "text": text, "url": url })),
        Button::Press { .. } => None,
    };
    let rows = message.buttons.iter().map(|row| row.iter().filter_map(link).collect::<Vec<_>>());
    let rows: Vec<_> = rows.filter(|row| !row.is_empty()).collect();
    let mut data = json!({ "chat": chat, "html": message.html, "text": plain(&message.html), "buttons": rows });
    if let Some(picture) = message.pictures.first() {
        data["picture"] = STANDARD.encode(picture).into();
    }
    json!({ "type": "message", "id": message.id, "at": message.at, "data": data })
}

/// What an answer means. Nothing of its body is used: anything could be in it.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), SendError> {
    if status.is_success() {
        return Ok(());
    }
    let cause = status.to_string();
    Err(match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => SendError::Unreachable(cause),
        StatusCode::TOO_MANY_REQUESTS => {
            let asked = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let seconds = asked.unwrap_or(WAIT_SECONDS_DEFAULT).clamp(WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX);
            SendError::TooMany(Duration::from_secs(seconds))
        }
        // Our secrets are not theirs: what is to be said waits until they are.
        StatusCode::UNAUTHORIZED => SendError::Misconfigured(cause),
        StatusCode::REQUEST_TIMEOUT => SendError::Unknown(cause),
        status if status.is_client_error() => SendError::Refused(cause),
        _ => SendError::Unknown(cause),
    })
}

#[cfg(test)]
mod tests;
