//! Linking as the web sees it: a link is asked for, and chats are listed and unlinked.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::chats::{Chat, ChatRef, ChatState};
use jiff::{SignedDuration, Timestamp};
use platform::App;
use platform::http::{Buyer, Json, Page, Path, Problem};
use platform::store::Link;
use qrcode::QrCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::buy::tickets::picture;

/// Minutes for which a link may be used.
const LINK_MINUTES: i64 = 10;
/// Random bytes of a link's token, and characters that they are written in.
const TOKEN_BYTES: usize = 16;
pub const TOKEN_CHARS: usize = 22;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_link)).routes(routes!(list_chats)).routes(routes!(unlink_chat))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LinkIn {
    /// `telegram`, or the name of another that this box office writes to.
    #[schema(example = "telegram")]
    messenger: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct LinkOut {
    /// Opens the bot, which asks whether to link; for one chat, once.
    #[schema(example = "https://t.me/boxoffice_bot?start=Zr1x0b2T4Y6u8I0pQwErTg")]
    deep_link: String,
    /// The same as a QR picture: a `data:` address of an SVG.
    qr: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Ask for a link that connects a messenger's chat with one's account. Each request gives a new one; those that are not used
/// end after ten minutes.
#[utoipa::path(
    post, path = "/messenger/links", tag = "messenger", security(("bearer" = [])), request_body = LinkIn,
    responses((status = 201, body = LinkOut), (status = 422, description = "`invalid`: no such messenger"))
)]
async fn create_link(
    State(app): State<App>,
    buyer: Buyer,
    Json(ask): Json<LinkIn>,
) -> Result<impl IntoResponse, Problem> {
    let known = app.messenger(&ask.messenger).await?;
    let messenger =
        known.ok_or_else(|| Problem::field("/messenger", "is not a messenger that chats can be linked of"))?;
    let token = URL_SAFE_NO_PAD.encode(app.rng.bytes::<TOKEN_BYTES>());
    let failed =
        |cause: String| Problem::unavailable("unavailable", "The service is not ready. Try again shortly.", cause);
    let deep_link = messenger.deep_link(&token).map_err(|error| failed(error.to_string()))?;
    let code = QrCode::new(&deep_link).map_err(|error| Problem::internal(error.to_string()))?;
    let expires_at = app.now() + SignedDuration::from_mins(LINK_MINUTES);
    app.links.put_new(&Link::new(&token, buyer.id, messenger.name(), expires_at)).await?;
    let qr = format!("data:image/svg+xml;base64,{}", STANDARD.encode(picture(&code)));
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, axum::Json(LinkOut { deep_link, qr, expires_at })))
}

#[derive(Debug, Serialize, ToSchema)]
struct ChatOut {
    #[schema(value_type = String, example = "telegram:4711")]
    id: ChatRef,
    messenger: String,
    /// What the messenger calls whoever is there.
    name: String,
    /// `linked`, or `unreachable` where the bot was stopped.
    #[schema(value_type = String)]
    status: ChatState,
    #[schema(value_type = String, format = DateTime)]
    linked_at: Timestamp,
}

impl From<Chat> for ChatOut {
    fn from(chat: Chat) -> Self {
        let Chat { at, name, state: status, linked_at, .. } = chat;
        Self { messenger: at.messenger().to_owned(), id: at, name, status, linked_at }
    }
}

/// The chats that one's account is linked with.
#[utoipa::path(
    get, path = "/messenger/chats", tag = "messenger", security(("bearer" = [])),
    responses((status = 200, body = Page<ChatOut>))
)]
async fn list_chats(State(app): State<App>, buyer: Buyer) -> Result<axum::Json<Page<ChatOut>>, Problem> {
    let chats = app.chats.of_user(buyer.id).await?;
    Ok(axum::Json(Page { items: chats.into_iter().map(ChatOut::from).collect(), next_cursor: None }))
}

/// Unlink a chat: nothing is written there any more. One that is not linked is unlinked.
#[utoipa::path(
    delete, path = "/messenger/chats/{chat}", tag = "messenger", security(("bearer" = [])),
    params(("chat" = String, Path, description = "the chat's `id`")),
    responses((status = 204), (status = 404, description = "`not_found`: not a chat's id, or of somebody else"),
        (status = 409, description = "`changed_meanwhile`"))
)]
async fn unlink_chat(State(app): State<App>, buyer: Buyer, Path(at): Path<ChatRef>) -> Result<StatusCode, Problem> {
    match app.chats.get(&at).await? {
        Some(chat) if chat.user == buyer.id => {
            app.chats.unlink(&chat).await?;
            tracing::info!(user = %buyer.id, messenger = at.messenger(), "chat unlinked by its account");
        }
        Some(_) => return Err(Problem::not_found()),
        None => {}
    }
    Ok(StatusCode::NO_CONTENT)
}
