//! Telegram, over the HTTP of its Bot API (<https://core.telegram.org/bots/api>).

mod cut;

use super::{Button, Messenger, Outgoing, SendError, Sent};
use crate::config::{Config, Missing};
use crate::secrets::Secrets;
use crate::transport::{PerTarget, Transport};
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// The messenger's name, in routes and chats.
pub const NAME: &str = "telegram";
/// How long one call may take; Telegram answers most in under a second.
const CALL_SECONDS_MAX: u64 = 6;
/// Characters that people read in a message, below a picture, and in what is shown for a moment.
const TEXT_CHARS_MAX: usize = 4_096;
const CAPTION_CHARS_MAX: usize = 1_024;
pub const ANSWER_CHARS_MAX: usize = 200;
/// Characters of what a link to a bot may carry.
const START_CHARS_MAX: usize = 64;
/// The longest that we let ourselves be told to wait.
const WAIT_SECONDS_MAX: u64 = 86_400;
/// For how long we wait where we are told to, but not how long.
const WAIT_SECONDS_DEFAULT: u64 = 1;
/// What is kept of the words of a refusal.
const CAUSE_CHARS_MAX: usize = 200;

/// The updates that change what we do; a webhook is set up with this list.
pub const UPDATES: [&str; 3] = ["message", "callback_query", "my_chat_member"];

/// Refusals (400) that are about the chat and not about what is written there.
const UNREACHABLE: [&str; 6] = [
    "chat not found",
    "user is deactivated",
    "peer_id_invalid",
    "group chat was upgraded",
    "not enough rights",
    "have no rights to send",
];

/// The bot that we write as.
pub struct Telegram {
    api_base: Result<String, Missing>,
    bot: Result<String, Missing>,
    token_name: Result<String, Missing>,
    webhook_secret_name: Result<String, Missing>,
    secrets: Secrets,
    transport: Arc<dyn Transport>,
}

/// What every answer is.
#[derive(Deserialize)]
struct Reply {
    ok: bool,
    description: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    /// Seconds.
    retry_after: Option<u64>,
}

/// A call's body and what kind of one it is.
struct Body {
    kind: String,
    bytes: Bytes,
}

impl From<Value> for Body {
    fn from(json: Value) -> Self {
        Self { kind: "application/json".into(), bytes: json.to_string().into() }
    }
}

impl Telegram {
    /// Of the settings `TELEGRAM_API_BASE`, `TELEGRAM_BOT`, `TELEGRAM_TOKEN` and `TELEGRAM_WEBHOOK_SECRET`, each of which is
    /// missed only where it is used.
    pub fn new(config: &Config, secrets: Secrets, transport: Arc<dyn Transport>) -> Self {
        let own = |name| config.get(name).map(str::to_owned);
        Self {
            api_base: own("TELEGRAM_API_BASE"),
            bot: own("TELEGRAM_BOT"),
            token_name: own("TELEGRAM_TOKEN"),
            webhook_secret_name: own("TELEGRAM_WEBHOOK_SECRET"),
            secrets,
            transport,
        }
    }

    /// Has updates of the kinds [`UPDATES`] sent to this address, with the secret that they are known by. Those that wait
    /// already are sent there too.
    pub async fn set_webhook(&self, url: &str) -> Result<(), SendError> {
        let secret = self.secret(&self.webhook_secret_name).await?;
        self.call("setWebhook", json!({ "url": url, "secret_token": &*secret, "allowed_updates": UPDATES }).into())
            .await
    }

    async fn secret(&self, name: &Result<String, Missing>) -> Result<Arc<str>, SendError> {
        let name = name.as_ref().map_err(misconfigured)?;
        self.secrets.get(name).await.map_err(|error| SendError::Misconfigured(error.to_string()))
    }

    /// One call. The token is in its address, so nothing that is said of it may hold that.
    async fn call(&self, method: &str, body: Body) -> Result<(), SendError> {
        let base = self.api_base.as_ref().map_err(misconfigured)?;
        let token = self.secret(&self.token_name).await?;
        if !is_token(&token) {
            return Err(SendError::Misconfigured("the secret is no token of a bot".into()));
        }
        let request = Request::post(format!("{base}/bot{token}/{method}"))
            .header(header::CONTENT_TYPE, body.kind)
            .extension(PerTarget)
            .body(body.bytes)
            .map_err(|error| SendError::Misconfigured(told(&error.to_string(), &token)))?;
        if let Some(rest) = self.transport.rest(request.uri()) {
            return Err(SendError::Resting(rest));
        }
        let answer = self.transport.send(request, Duration::from_secs(CALL_SECONDS_MAX)).await;
        let answer = answer.map_err(|error| SendError::Unknown(told(&error.0, &token)))?;
        judge(answer.status(), answer.body(), &token)
    }

    async fn write(&self, chat: &str, message: &Outgoing) -> Result<(), SendError> {
        let chat = chat.parse().map_err(|_| SendError::Refused("a chat of Telegram is a number".into()))?;
        let Some(picture) = message.pictures.first() else { return self.write_text(chat, message).await };
        if cut::chars(&message.html) <= CAPTION_CHARS_MAX {
            return self.write_photo(chat, picture, &message.html, &message.buttons).await;
        }
        self.write_photo(chat, picture, "", &[]).await?;
        self.write_text(chat, message).await
    }

    async fn write_text(&self, chat: i64, message: &Outgoing) -> Result<(), SendError> {
        self.call("sendMessage", text_message(chat, &message.html, &message.buttons).into()).await
    }

    async fn write_photo(
        &self,
        chat: i64,
        png: &[u8],
        caption: &str,
        buttons: &[Vec<Button>],
    ) -> Result<(), SendError> {
        let mut fields = vec![("chat_id", chat.to_string())];
        if !caption.is_empty() {
            fields.extend([("caption", caption.to_owned()), ("parse_mode", "HTML".to_owned())]);
        }
        if !buttons.is_empty() {
            fields.push(("reply_markup", keyboard(buttons).to_string()));
        }
        self.call("sendPhoto", multipart(&fields, png)).await
    }
}

impl Messenger for Telegram {
    fn name(&self) -> &'static str {
        NAME
    }

    fn send<'a>(&'a self, chat: &'a str, message: &'a Outgoing) -> Sent<'a, ()> {
        Box::pin(self.write(chat, message))
    }

    fn answer<'a>(&'a self, press: &'a str, text: &'a str) -> Sent<'a, ()> {
        Box::pin(async move {
            let mut body = json!({ "callback_query_id": press });
            if !text.is_empty() {
                body["text"] = text.chars().take(ANSWER_CHARS_MAX).collect::<String>().into();
            }
            self.call("answerCallbackQuery", body.into()).await
        })
    }

    fn deep_link(&self, token: &str) -> Result<String, SendError> {
        let bot = self.bot.as_ref().map_err(misconfigured)?;
        if !is_start(token) {
            return Err(SendError::Refused("a link to a bot carries up to 64 of A-Z a-z 0-9 _ -".into()));
        }
        Ok(format!("https://t.me/{bot}?start={token}"))
    }
}

/// What an answer means.
fn judge(status: StatusCode, body: &[u8], token: &str) -> Result<(), SendError> {
    let reply = serde_json::from_slice::<Reply>(body).ok();
    if status.is_success() && reply.as_ref().is_some_and(|reply| reply.ok) {
        return Ok(());
    }
    let said = reply.as_ref().and_then(|reply| reply.description.as_deref());
    let cause = told(&format!("{} {}", status.as_u16(), said.unwrap_or("without a description")), token);
    let is_about_the_chat = || {
        let said = said.unwrap_or_default().to_lowercase();
        UNREACHABLE.iter().any(|words| said.contains(words))
    };
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS => {
            let seconds = reply.and_then(|reply| reply.parameters.retry_after).unwrap_or(WAIT_SECONDS_DEFAULT);
            SendError::TooMany(Duration::from_secs(seconds.clamp(WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX)))
        }
        StatusCode::UNAUTHORIZED => SendError::Misconfigured(cause),
        // Somebody else answered, in the place of Telegram.
        _ if said.is_none() => SendError::Unknown(cause),
        StatusCode::FORBIDDEN => SendError::Unreachable(cause),
        StatusCode::BAD_REQUEST if is_about_the_chat() => SendError::Unreachable(cause),
        status if status.is_client_error() => SendError::Refused(cause),
        _ => SendError::Unknown(cause),
    })
}

/// What may be said of a call: short, and without the token.
fn told(cause: &str, token: &str) -> String {
    cause.replace(token, "…").chars().take(CAUSE_CHARS_MAX).collect()
}

fn misconfigured(missing: &Missing) -> SendError {
    SendError::Misconfigured(missing.to_string())
}

/// Whether a link can carry this.
pub(super) fn is_start(token: &str) -> bool {
    (1..=START_CHARS_MAX).contains(&token.len()) && token.bytes().all(is_plain)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// The bot's number, a colon, and letters: nothing that would make another address of it.
fn is_token(token: &str) -> bool {
    token.split_once(':').is_some_and(|(bot, key)| {
        !bot.is_empty() && bot.bytes().all(|byte| byte.is_ascii_digit()) && !key.is_empty() && key.bytes().all(is_plain)
    })
}

/// Buttons below a message (Bot API, InlineKeyboardMarkup).
pub fn keyboard(rows: &[Vec<Button>]) -> Value {
    let key = |button: &Button| match button {
        Button::Link { text, url } => json!({ "text": text, "url": url }),
        Button::Press { text, data } => json!({ "text": text, "callback_data": data }),
    };
    let rows: Vec<Vec<Value>> = rows.iter().map(|row| row.iter().map(key).collect()).collect();
    json!({ "inline_keyboard": rows })
}

/// A message of text, as `sendMessage` takes it, and `editMessageText` with the message's id.
pub fn text_message(chat: i64, html: &str, buttons: &[Vec<Button>]) -> Value {
    let mut body = json!({
        "chat_id": chat,
        "text": cut::cut(html, TEXT_CHARS_MAX),
        "parse_mode": "HTML",
        "link_preview_options": { "is_disabled": true },
    });
    if !buttons.is_empty() {
        body["reply_markup"] = keyboard(buttons);
    }
    body
}

/// A form of texts and a picture (RFC 7578). What parts them is derived from the picture, so it stands nowhere in it.
fn multipart(fields: &[(&str, String)], png: &[u8]) -> Body {
    let between: String = Sha256::digest(png).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut bytes = Vec::with_capacity(png.len() + 2_048);
    for (name, value) in fields {
        let head = format!("--{between}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
        bytes.extend([head.as_bytes(), value.as_bytes(), b"\r\n"].concat());
    }
    let head = "content-disposition: form-data; name=\"photo\"; filename=\"code.png\"\r\ncontent-type: image/png";
    bytes.extend(format!("--{between}\r\n{head}\r\n\r\n").as_bytes());
    bytes.extend(png);
    bytes.extend(format!("\r\n--{between}--\r\n").as_bytes());
    Body { kind: format!("multipart/form-data; boundary={between}"), bytes: bytes.into() }
}

#[cfg(test)]
mod tests;
