//! The calls of the Bot API, with Telegram's own words for what it refuses.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::door::Params;
use super::markup::Text;
use super::picture;
use super::state::{Button, State, Webhook};

const TEXT_CHARS_MAX: usize = 4_096;
const CAPTION_CHARS_MAX: usize = 1_024;
const ANSWER_CHARS_MAX: usize = 200;
const DATA_BYTES_MAX: usize = 64;
const BUTTONS_MAX: usize = 100;
const SECRET_CHARS_MAX: usize = 256;
const CONNECTIONS: u32 = 40;

/// What a call is answered with instead of a result.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) description: String,
    /// Seconds.
    pub(super) retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: u16, description: &str) -> Refusal {
        Refusal { status, description: description.to_owned(), retry_after: None }
    }

    pub(super) fn too_many(seconds: u64) -> Refusal {
        let description = format!("Too Many Requests: retry after {seconds}");
        Refusal { status: 429, description, retry_after: Some(seconds) }
    }
}

fn bad(what: &str) -> Refusal {
    Refusal::new(400, &format!("Bad Request: {what}"))
}

type Answer = Result<Value, Refusal>;

impl Params {
    fn text(&self, name: &str) -> Option<String> {
        match self.values.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.trim().parse().ok()
    }

    /// A value that forms carry as JSON in a text.
    fn json<T: DeserializeOwned>(&self, name: &str) -> Option<Result<T, serde_json::Error>> {
        match self.values.get(name)? {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(serde_json::from_str(text)),
            other => Some(serde_json::from_value(other.clone())),
        }
    }
}

/// The chat that a call is about, as far as it says.
pub(super) fn chat_id(params: &Params) -> Option<i64> {
    params.number("chat_id")
}

/// Does what a call asks for.
pub(super) fn answer(state: &mut State, method: &str, params: Params) -> Answer {
    match method.to_ascii_lowercase().as_str() {
        "getme" => Ok(state.settings.me()),
        "setwebhook" => set_webhook(state, &params),
        "deletewebhook" => {
            state.set_webhook(None);
            if params.text("drop_pending_updates").is_some_and(|drop| drop == "true") {
                state.drop_updates();
            }
            Ok(Value::Bool(true))
        }
        "getwebhookinfo" => Ok(webhook_info(state)),
        "sendmessage" => send_message(state, &params),
        "sendphoto" => send_photo(state, params),
        "answercallbackquery" => answer_press(state, &params),
        "editmessagetext" => edit_text(state, &params),
        "editmessagereplymarkup" => edit_buttons(state, &params),
        _ => Err(Refusal::new(404, "Not Found")),
    }
}

fn send_message(state: &mut State, params: &Params) -> Answer {
    let chat = chat(state, params)?;
    let text = text(params, "text", TEXT_CHARS_MAX, "message is too long")?;
    if text.plain.trim().is_empty() {
        return Err(bad("message text is empty"));
    }
    let buttons = buttons(params)?;
    deliver(state, chat, text, buttons, None)
}

fn send_photo(state: &mut State, mut params: Params) -> Answer {
    let chat = chat(state, &params)?;
    let named = params.text("photo");
    let file = match &named {
        None => Some("photo"),
        Some(name) => name.strip_prefix("attach://"),
    };
    let file = file.ok_or_else(|| bad("wrong file identifier/HTTP URL specified"))?;
    let picture = params.files.remove(file).ok_or_else(|| bad("there is no photo in the request"))?;
    if let Some(why) = picture::refusal(&picture) {
        return Err(bad(why));
    }
    let text = text(&params, "caption", CAPTION_CHARS_MAX, "message caption is too long")?;
    let buttons = buttons(&params)?;
    deliver(state, chat, text, buttons, Some(picture))
}

/// Puts a message into a chat, where the bot may.
fn deliver(state: &mut State, chat: i64, text: Text, buttons: Vec<Vec<Button>>, picture: Option<Vec<u8>>) -> Answer {
    if state.chats[&chat].is_blocked {
        return Err(Refusal::new(403, "Forbidden: bot was blocked by the user"));
    }
    state.admit(chat).map_err(Refusal::too_many)?;
    let message = state.add(chat, true, text, buttons, picture);
    Ok(state.message_json(&message))
}

fn edit_text(state: &mut State, params: &Params) -> Answer {
    let (chat, message) = own_message(state, params)?;
    let text = text(params, "text", TEXT_CHARS_MAX, "message is too long")?;
    if text.plain.trim().is_empty() {
        return Err(bad("message text is empty"));
    }
    let buttons = buttons(params)?;
    let old = state.message(chat, message).ok_or_else(|| bad("message to edit not found"))?;
    if old.picture.is_some() {
        return Err(bad("there is no text in the message to edit"));
    }
    if old.text == text.plain && old.entities == text.entities && old.buttons == buttons {
        return Err(not_modified());
    }
    let changed = state.change(chat, message, |message| {
        let Text { plain, entities, shown } = text;
        (message.text, message.entities, message.shown, message.buttons) = (plain, entities, shown, buttons);
    });
    changed.map(|message| state.message_json(&message)).ok_or_else(|| bad("message to edit not found"))
}

fn edit_buttons(state: &mut State, params: &Params) -> Answer {
    let (chat, message) = own_message(state, params)?;
    let buttons = buttons(params)?;
    if state.message(chat, message).is_some_and(|message| message.buttons == buttons) {
        return Err(not_modified());
    }
    let changed = state.change(chat, message, |message| message.buttons = buttons);
    changed.map(|message| state.message_json(&message)).ok_or_else(|| bad("message to edit not found"))
}

fn not_modified() -> Refusal {
    bad(
        "message is not modified: specified new message content and reply markup are exactly the same as a current content and \
         reply markup of the message",
    )
}

fn answer_press(state: &mut State, params: &Params) -> Answer {
    let text = params.text("text").unwrap_or_default();
    if text.encode_utf16().count() > ANSWER_CHARS_MAX {
        return Err(bad("MESSAGE_TOO_LONG"));
    }
    let press = params.text("callback_query_id").unwrap_or_default();
    if state.answer(&press, &text) {
        Ok(Value::Bool(true))
    } else {
        Err(bad("query is too old and response timeout expired or query ID is invalid"))
    }
}

fn set_webhook(state: &mut State, params: &Params) -> Answer {
    let url = params.text("url").unwrap_or_default();
    if url.is_empty() {
        state.set_webhook(None);
        return Ok(Value::Bool(true));
    }
    let is_here = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|here| url.starts_with(here));
    if !url.starts_with("https://") && !is_here {
        return Err(bad("bad webhook: An HTTPS URL must be provided for webhook"));
    }
    let secret = params.text("secret_token").filter(|secret| !secret.is_empty());
    if let Some(secret) = &secret {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if secret.len() > SECRET_CHARS_MAX {
            return Err(bad("secret token is too long"));
        }
        if !secret.chars().all(is_plain) {
            return Err(bad("secret token contains unallowed characters"));
        }
    }
    let allowed = params.json("allowed_updates").transpose();
    let allowed: Option<Vec<String>> = allowed.map_err(|_| bad("can't parse allowed updates: Expected an Array"))?;
    // Those of before stay if nothing is said.
    let allowed = allowed.or_else(|| Some(state.webhook()?.allowed.clone())).unwrap_or_default();
    state.set_webhook(Some(Webhook { url, secret, allowed }));
    if params.text("drop_pending_updates").is_some_and(|drop| drop == "true") {
        state.drop_updates();
    }
    Ok(Value::Bool(true))
}

fn webhook_info(state: &State) -> Value {
    let webhook = state.webhook().cloned().unwrap_or_default();
    let mut info = json!({
        "url": webhook.url, "has_custom_certificate": false, "pending_update_count": state.updates.len(),
    });
    if !webhook.url.is_empty() {
        info["max_connections"] = CONNECTIONS.into();
    }
    if !webhook.allowed.is_empty() {
        info["allowed_updates"] = json!(webhook.allowed);
    }
    if let Some((at_ms, why)) = &state.last_error {
        info["last_error_date"] = at_ms.div_euclid(1_000).into();
        info["last_error_message"] = why.clone().into();
    }
    info
}

fn chat(state: &State, params: &Params) -> Result<i64, Refusal> {
    if params.text("chat_id").is_none_or(|id| id.is_empty()) {
        return Err(bad("chat_id is empty"));
    }
    chat_id(params).filter(|id| state.chats.contains_key(id)).ok_or_else(|| bad("chat not found"))
}

/// A message that is named by a call that changes it.
fn own_message(state: &State, params: &Params) -> Result<(i64, u64), Refusal> {
    let chat = chat(state, params)?;
    let id = params.number("message_id").ok_or_else(|| bad("message identifier is not specified"))?;
    let message = state.message(chat, id).ok_or_else(|| bad("message to edit not found"))?;
    if message.is_from_bot { Ok((chat, id)) } else { Err(bad("message can't be edited")) }
}

fn text(params: &Params, name: &str, chars_max: usize, too_long: &str) -> Result<Text, Refusal> {
    let raw = params.text(name).unwrap_or_default();
    let mode = params.text("parse_mode").unwrap_or_default().to_ascii_lowercase();
    let text = match mode.as_str() {
        "" => Text::plain(&raw),
        "html" => Text::html(&raw).map_err(|why| bad(&format!("can't parse entities: {why}")))?,
        _ => return Err(bad("unsupported parse_mode")),
    };
    if text.chars() > chars_max { Err(bad(too_long)) } else { Ok(text) }
}

#[derive(Default, Deserialize)]
struct Markup {
    #[serde(default)]
    inline_keyboard: Vec<Vec<Button>>,
}

fn buttons(params: &Params) -> Result<Vec<Vec<Button>>, Refusal> {
    let markup = params.json("reply_markup").transpose();
    let markup: Option<Markup> = markup.map_err(|why| bad(&format!("can't parse reply keyboard markup: {why}")))?;
    let mut rows = markup.unwrap_or_default().inline_keyboard;
    rows.retain(|row| !row.is_empty());
    if rows.iter().flatten().count() > BUTTONS_MAX {
        return Err(bad("reply markup is too long"));
    }
    for button in rows.iter().flatten() {
        let wrong_url = |url: &String| {
            let host = url.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
            host.is_none_or(str::is_empty) || url.contains(char::is_whitespace)
        };
        if button.text.trim().is_empty() {
            return Err(bad("inline keyboard button text must be non-empty"));
        }
        match (&button.data, &button.url) {
            (None, None) => {
                let why = "Text buttons are unallowed in the inline keyboard";
                return Err(bad(&format!("can't parse inline keyboard button: {why}")));
            }
            (Some(data), _) if data.is_empty() || data.len() > DATA_BYTES_MAX => {
                return Err(bad("BUTTON_DATA_INVALID"));
            }
            (_, Some(url)) if wrong_url(url) => {
                return Err(bad(&format!("inline keyboard button URL '{url}' is invalid: Wrong HTTP URL")));
            }
            _ => {}
        }
    }
    Ok(rows)
}
