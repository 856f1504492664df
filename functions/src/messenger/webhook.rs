//! The messengers' webhooks: the bot's, and [`posts`] of others. An update is worked on at least once, and everything that is done for one may be done again: its answer is
//! noted after the work, so that a crash before loses nothing, and given again to a messenger that asks again, since that has
//! not heard it. The answer carries what the bot says, so nothing has to be called.

use super::telegram::{Say, Update};
use super::{bot, posts};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use platform::App;
use platform::http::{Path, Problem, body_problem};
use platform::messenger::Button;
use platform::messenger::telegram::NAME;
use platform::store::StoreError;
use serde_json::error::Category;
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The header that the messenger proves itself with (Bot API, setWebhook).
const SECRET: &str = "x-telegram-bot-api-secret-token";
/// How long it is known that an update was worked on: twice what the messenger keeps one for.
const UPDATE_HOURS: i64 = 48;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(receive))
}

/// What a messenger has to say: an update of Telegram's to its bot, or a signed post of a messenger that integrates itself
/// (`infra/messengers.md`).
#[utoipa::path(
    post, path = "/messenger/{name}/webhook", tag = "messenger",
    params(("name" = String, Path, description = "`telegram`, or the name that a messenger was given"),
        ("X-Telegram-Bot-Api-Secret-Token" = Option<String>, Header, description = "of `telegram`: what the webhook was set with"),
        ("webhook-id" = Option<String>, Header, description = "of others: the same however often this is sent"),
        ("webhook-timestamp" = Option<String>, Header, description = "of others: seconds since 1970, at most five minutes away from now"),
        ("webhook-signature" = Option<String>, Header, description = "of others: `v1,…`, as Standard Webhooks has it; several with spaces between them")),
    request_body(content = posts::Post, description = "of `telegram`: its Update"),
    responses((status = 200, description = "`telegram`: what the bot says, a method of the messenger's API and its parameters; `chat.link`: whose account it is", body = posts::Linked),
        (status = 204, description = "done, and nothing to say"), (status = 400, description = "`malformed_json`"),
        (status = 401, description = "`webhook_secret_invalid`, `webhook_signature_invalid`"),
        (status = 404, description = "`not_found`: no such messenger, or no such message; `link_unknown`"),
        (status = 409, description = "`link_used`, `chats_max`, `changed_meanwhile`"), (status = 410, description = "`link_expired`"),
        (status = 413, description = "`too_large`"), (status = 422, description = "`invalid`"))
)]
async fn receive(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    if name != NAME {
        return posts::receive(&app, &name, &headers, &body.map_err(body_problem)?).await.map(said);
    }
    let secret = app.secret("TELEGRAM_WEBHOOK_SECRET").await?;
    let given = headers.get(SECRET).map_or(&[][..], |value| value.as_bytes());
    if secret.is_empty() || !is_same(given, secret.as_bytes()) {
        return Err(Problem::unauthorized("webhook_secret_invalid", "This is not the messenger."));
    }
    let body = body.map_err(body_problem)?;
    let update = match serde_json::from_slice::<Update>(&body) {
        Ok(update) => update,
        // It would be sent again and again, before all others, and never be anything else.
        Err(error) if error.classify() == Category::Data => {
            // Where, and not what: that is what somebody has written.
            tracing::warn!(column = error.column(), "an update is not of its shape");
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Err(error) => return Err(Problem::bad_request("malformed_json", error.to_string())),
    };
    let id = update.update_id.to_string();
    if let Some(answer) = app.links.answered(NAME, &id).await? {
        return Ok(said(answer));
    }
    let say = bot::hear(&app, update.what).await?;
    let answer = say.body().unwrap_or_default();
    if !has_token(&say) {
        note_answered(&app, NAME, &id, &answer).await?;
    }
    Ok(said(answer))
}

/// Notes that something was worked on, and what it was answered.
pub async fn note_answered(app: &App, messenger: &str, id: &str, answer: &str) -> Result<(), StoreError> {
    app.links.note_answered(messenger, id, answer, app.now() + SignedDuration::from_hours(UPDATE_HOURS)).await
}

/// Whether an answer has a link's token in it, which no table may hold. What is answered so was only asked, and may be again.
fn has_token(say: &Say) -> bool {
    let (Say::Message { buttons, .. } | Say::Instead { buttons, .. }) = say else { return false };
    buttons.iter().flatten().any(|button| matches!(button, Button::Press { data, .. } if data.starts_with("link:")))
}

fn said(answer: String) -> Response {
    if answer.is_empty() {
        return StatusCode::NO_CONTENT.into_response();
    }
    ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
}

/// Whether two texts are the same, in a time that says nothing of where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    a.iter().zip(b.iter()).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}
