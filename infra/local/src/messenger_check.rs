//! `boxoffice messenger-check`: plays a box office against the address of a messenger that integrates itself, and says whether
//! it answers as `infra/messengers.md` asks.

use axum::http::{HeaderName, Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use platform::messenger::posts::{body, is_address};
use platform::messenger::{Button, Outgoing};
use platform::transport::{Internet, Transport};
use platform::webhooks::{ID, SIGNATURE, Secret, sign};
use platform::{Clock, Rng};
use std::time::Duration;

/// The chat that messages are for, if nothing else is said.
pub const CHAT_DEFAULT: &str = "check";
/// How long an answer may take: as long as a box office waits.
const ANSWER_SECONDS_MAX: u64 = 6;
/// Minutes by which a time is wrong that is to be refused; five are tolerated.
const WRONG_MINUTES: i64 = 6;
/// One white pixel.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg==";

/// What was asked for.
#[derive(Clone, Debug)]
pub struct MessengerCheck {
    url: String,
    secret: Secret,
    chat: String,
}

/// What a messenger has to do with a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Taken,
    Refused,
    Gone,
}

impl Expected {
    fn holds(self, status: StatusCode) -> bool {
        let is_gone = [StatusCode::NOT_FOUND, StatusCode::GONE].contains(&status);
        match self {
            Self::Taken => status.is_success(),
            // A box office would take the one for a chat that is gone, and wait for the other.
            Self::Refused => status.is_client_error() && !is_gone && status != StatusCode::TOO_MANY_REQUESTS,
            Self::Gone => is_gone,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Taken => "2xx",
            Self::Refused => "401, or another 4xx that is not 404, 410 or 429",
            Self::Gone => "404 or 410",
        }
    }
}

/// A post, as it goes out.
#[derive(Clone)]
struct Post {
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

/// A post, what it is, and what has to become of it.
type Check = (&'static str, Expected, Post);

impl MessengerCheck {
    /// The error is for the person who typed it.
    pub fn new(url: &str, secret: &str, chat: &str) -> Result<Self, String> {
        if !is_address(url) {
            return Err(format!("{url}: it has to be https, or http on this machine"));
        }
        let secret = secret.parse().map_err(|error| format!("--secret: {error}"))?;
        Ok(Self { url: url.to_owned(), secret, chat: chat.to_owned() })
    }

    /// Checks, and tells each result as it comes. An error if one failed.
    pub async fn run(&self, mut tell: impl FnMut(&str)) -> Result<(), String> {
        let transport = Internet::default();
        let checks = self.checks(Clock::default().now(), &Rng::default());
        let (all, mut failed) = (checks.len(), 0);
        for (what, expected, post) in checks {
            let answer = self.post(&transport, post).await;
            match answer {
                Ok(status) if expected.holds(status) => tell(&format!("ok      {what}")),
                Ok(status) => {
                    failed += 1;
                    tell(&format!("FAILED  {what}: {} was expected, and {} came", expected.words(), status.as_u16()));
                }
                Err(cause) => {
                    failed += 1;
                    tell(&format!("FAILED  {what}: {} was expected, and {cause}", expected.words()));
                }
            }
        }
        if failed == 0 { Ok(()) } else { Err(format!("{failed} of {all} checks failed")) }
    }

    async fn post(&self, transport: &Internet, post: Post) -> Result<StatusCode, String> {
        let mut request = Request::post(&self.url).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in post.headers {
            request = request.header(name, value);
        }
        let request = request.body(post.body).map_err(|error| error.to_string())?;
        let answer = transport.send(request, Duration::from_secs(ANSWER_SECONDS_MAX)).await;
        answer.map(|answer| answer.status()).map_err(|error| error.to_string())
    }

    /// Right ones first, so that whoever begins reads first what to begin with.
    fn checks(&self, now: Timestamp, rng: &Rng) -> Vec<Check> {
        use Expected::{Gone, Refused, Taken};
        let ours = std::slice::from_ref(&self.secret);
        let other: Secret = format!("whsec_{}", STANDARD.encode(rng.bytes::<32>())).parse().expect("it is long enough");
        let wrong = SignedDuration::from_mins(WRONG_MINUTES);
        let post = |secrets: &[Secret], at| Post::new(secrets, at, &self.chat, &message(now, rng));
        let first = post(ours, now);
        let rich = Outgoing {
            html: "A <b>picture</b> &amp; a button".into(),
            pictures: vec![STANDARD.decode(PICTURE).expect("it is base64")],
            buttons: vec![vec![Button::Link { text: "Open".into(), url: "https://example.org/?a=1&b=2".into() }]],
            ..message(now, rng)
        };
        let nobody = format!("nobody-{}", hexadecimal(rng.bytes::<8>()));
        vec![
            ("a signed message is taken", Taken, first.clone()),
            ("the same message is taken again", Taken, first),
            ("a message with a picture and a button is taken", Taken, Post::new(ours, now, &self.chat, &rich)),
            ("one of several signatures is enough", Taken, post(&[other.clone(), self.secret.clone()], now)),
            ("an unknown chat is said to be one", Gone, Post::new(ours, now, &nobody, &message(now, rng))),
            ("a message without a signature is refused", Refused, post(ours, now).unsigned()),
            ("a message signed by somebody else is refused", Refused, post(&[other], now)),
            ("a message whose body was changed is refused", Refused, post(ours, now).with_other_body()),
            ("a message whose id was changed is refused", Refused, post(ours, now).with_other_id()),
            ("an old message is refused", Refused, post(ours, now - wrong)),
            ("a message of the future is refused", Refused, post(ours, now + wrong)),
        ]
    }
}

/// A message with an id of its own.
fn message(now: Timestamp, rng: &Rng) -> Outgoing {
    let id = format!("check-{}", hexadecimal(rng.bytes::<16>()));
    Outgoing { id, at: now, html: "<b>Check</b> of the messenger".into(), ..Outgoing::default() }
}

impl Post {
    fn new(secrets: &[Secret], at: Timestamp, chat: &str, message: &Outgoing) -> Self {
        let body = Bytes::from(body(chat, message).to_string());
        Self { headers: sign(secrets, &message.id, at, &body).to_vec(), body }
    }

    fn unsigned(mut self) -> Self {
        self.headers.retain(|(name, _)| *name != SIGNATURE);
        self
    }

    fn with_other_body(self) -> Self {
        let text = String::from_utf8_lossy(&self.body).replace("Check", "Chuck");
        Self { body: text.into(), ..self }
    }

    fn with_other_id(mut self) -> Self {
        let ids = self.headers.iter_mut().filter(|(name, _)| *name == ID);
        ids.for_each(|(_, id)| id.push('0'));
        self
    }
}

fn hexadecimal<const N: usize>(bytes: [u8; N]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
