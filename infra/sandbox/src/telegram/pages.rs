//! The chats, for a person who plays the people in them.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Bot;
use super::state::{Message, State as Known};
use crate::pages::{escape, fill, page};

/// Chats on the page of all, the last ones.
const CHATS_MAX: usize = 50;
/// Messages on a chat's page, the last ones.
const SHOWN_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 64;
/// What a person can write at once.
const TEXT_CHARS_MAX: usize = 4_096;
/// Characters of a message in the list of chats.
const TEASER_CHARS_MAX: usize = 60;
const CHATS: &str = include_str!("pages/chats.html");
const NEW: &str = include_str!("pages/new.html");
const CHAT: &str = include_str!("pages/chat.html");
const NOTICE: &str = include_str!("../pages/notice.html");

/// What a page for somebody new is asked with.
#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    start: String,
}

/// Somebody new.
#[derive(Deserialize)]
pub(super) struct Opened {
    name: String,
    language: String,
    /// The token of a link to the bot, or the link.
    #[serde(default)]
    start: String,
}

#[derive(Deserialize)]
pub(super) struct Written {
    text: String,
}

#[derive(Deserialize)]
pub(super) struct Pressed {
    message: u64,
    data: String,
}

#[derive(Deserialize)]
pub(super) struct Blocked {
    blocks: bool,
}

/// `GET /assets/chat.js`.
pub(super) async fn script() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("pages/chat.js")).into_response()
}

/// `GET /chats`: all chats, the last ones first.
pub(super) async fn chats(State(bot): State<Bot>) -> Response {
    let state = bot.state();
    let mut rows = String::new();
    for (id, chat) in state.chats.iter().rev().take(CHATS_MAX) {
        let last = chat.messages.back().map(|message| message.text.as_str()).unwrap_or_default();
        let last: String = last.chars().take(TEASER_CHARS_MAX).collect();
        let note = if chat.is_blocked { " (has blocked the bot)" } else { "" };
        let (name, last) = (escape(&chat.name), escape(&last));
        rows += &format!("<tr><td><a href=\"/chats/{id}\">{name}</a>{note}</td><td>{last}</td></tr>\n");
    }
    let html = fill(CHATS, &[("bot", &state.settings.username), ("count", &state.chats.len().to_string())]);
    page(StatusCode::OK, &html.replace("{{{rows}}}", &rows))
}

/// `GET /chats/new?start=<token>`: what a link to the bot opens.
pub(super) async fn new(State(bot): State<Bot>, Query(asked): Query<Asked>) -> Response {
    let state = bot.state();
    let html = fill(NEW, &[("bot", &state.settings.username), ("start", &asked.start)]);
    let mut options = String::new();
    if !asked.start.is_empty() {
        for (id, chat) in state.chats.iter().rev().take(CHATS_MAX) {
            let fields =
                fill("<input type=\"hidden\" name=\"text\" value=\"/start {{start}}\">", &[("start", &asked.start)]);
            let button = format!("<button class=\"quiet\">Start as {}</button>", escape(&chat.name));
            options += &format!("<form method=\"post\" action=\"/chats/{id}/messages\">{fields}{button}</form>\n");
        }
    }
    page(StatusCode::OK, &html.replace("{{{known}}}", &options))
}

/// `POST /chats`: somebody opens a chat and presses Start.
pub(super) async fn open(State(bot): State<Bot>, Form(opened): Form<Opened>) -> Response {
    let name: String = opened.name.trim().chars().take(NAME_CHARS_MAX).collect();
    let name = if name.is_empty() { "Somebody".to_owned() } else { name };
    let language = if opened.language == "ru" { "ru" } else { "en" };
    let given = opened.start.trim();
    let token = given.split_once("start=").map_or(given, |(_, token)| token.split('&').next().unwrap_or_default());
    let id = bot.with(|state| {
        let id = state.new_person();
        state.name(id, &name, language);
        state.write(id, format!("/start {token}").trim_end());
        id
    });
    Redirect::to(&format!("/chats/{id}")).into_response()
}

/// `GET /chats/{id}`.
pub(super) async fn chat(State(bot): State<Bot>, Path(id): Path<i64>) -> Response {
    let state = bot.state();
    let Some(chat) = state.chats.get(&id) else { return not_found() };
    let (blocks, block) = if chat.is_blocked { ("false", "Unblock the bot") } else { ("true", "Block the bot") };
    let values = [
        ("id", id.to_string()),
        ("name", chat.name.clone()),
        ("bot", state.settings.username.clone()),
        ("blocks", blocks.to_owned()),
        ("block", block.to_owned()),
    ];
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    page(StatusCode::OK, &fill(CHAT, &values).replace("{{{messages}}}", &list(&state, id)))
}

/// `GET /chats/{id}/messages`: the part of the page that changes.
pub(super) async fn messages(State(bot): State<Bot>, Path(id): Path<i64>) -> Response {
    let state = bot.state();
    if !state.chats.contains_key(&id) {
        return not_found();
    }
    ([(CACHE_CONTROL, "no-store")], Html(list(&state, id))).into_response()
}

/// `POST /chats/{id}/messages`: the person writes.
pub(super) async fn write(State(bot): State<Bot>, Path(id): Path<i64>, Form(written): Form<Written>) -> Response {
    let text: String = written.text.trim().chars().take(TEXT_CHARS_MAX).collect();
    bot.with(|state| {
        if state.chats.contains_key(&id) && !text.is_empty() {
            state.write(id, &text);
        }
    });
    Redirect::to(&format!("/chats/{id}")).into_response()
}

/// `POST /chats/{id}/presses`: the person presses a button.
pub(super) async fn press(State(bot): State<Bot>, Path(id): Path<i64>, Form(pressed): Form<Pressed>) -> Response {
    bot.press(id, pressed.message, &pressed.data);
    Redirect::to(&format!("/chats/{id}")).into_response()
}

/// `POST /chats/{id}/block`: the person blocks the bot, or lets it write again.
pub(super) async fn block(State(bot): State<Bot>, Path(id): Path<i64>, Form(blocked): Form<Blocked>) -> Response {
    bot.with(|state| state.block(id, blocked.blocks));
    Redirect::to(&format!("/chats/{id}")).into_response()
}

/// `GET /chats/{id}/pictures/{message}`.
pub(super) async fn picture(State(bot): State<Bot>, Path((id, message)): Path<(i64, u64)>) -> Response {
    let picture = bot.state().message(id, message).and_then(|message| message.picture.clone());
    let Some(picture) = picture else { return not_found() };
    let kind = if picture.starts_with(b"\x89PNG") { "image/png" } else { "image/jpeg" };
    ([(CONTENT_TYPE, kind), (X_CONTENT_TYPE_OPTIONS, "nosniff")], picture).into_response()
}

fn not_found() -> Response {
    let text = "There is no such chat here.";
    page(StatusCode::NOT_FOUND, &fill(NOTICE, &[("title", "No such chat"), ("text", text)]))
}

fn list(state: &Known, id: i64) -> String {
    let (messages, answers) = (&state.chats[&id].messages, &state.chats[&id].answers);
    let shown = messages.iter().skip(messages.len().saturating_sub(SHOWN_MAX));
    let mut list: String = shown.map(|message| item(id, message)).collect();
    // Telegram shows it for a moment, and this page until the next.
    if let Some(answer) = answers.back().filter(|answer| !answer.is_empty()) {
        list += &format!("<li class=\"note\" dir=\"auto\">{}</li>\n", escape(answer));
    }
    list
}

/// A message on the page. What the bot wrote was made safe when it came.
fn item(chat: i64, message: &Message) -> String {
    let who = if message.is_from_bot { "bot" } else { "person" };
    let picture = match &message.picture {
        Some(_) => format!("<img src=\"/chats/{chat}/pictures/{}\" alt=\"picture\">", message.id),
        None => String::new(),
    };
    let mut rows = String::new();
    for row in &message.buttons {
        let keys = row.iter().map(|button| {
            let text = escape(&button.text);
            match (&button.url, &button.data) {
                (Some(url), _) if url.starts_with("https://") || url.starts_with("http://") => {
                    format!("<a class=\"key\" href=\"{}\" target=\"_blank\" rel=\"noreferrer\">{text}</a>", escape(url))
                }
                (_, Some(data)) => format!(
                    "<form method=\"post\" action=\"/chats/{chat}/presses\"><input type=\"hidden\" name=\"message\" value=\"{}\">\
                     <button class=\"quiet\" name=\"data\" value=\"{}\">{text}</button></form>",
                    message.id,
                    escape(data)
                ),
                _ => format!("<span class=\"key\">{text}</span>"),
            }
        });
        rows += &format!("<div class=\"keys\">{}</div>", keys.collect::<String>());
    }
    format!("<li class=\"{who}\">{picture}<p dir=\"auto\">{}</p>{rows}</li>\n", message.shown)
}
