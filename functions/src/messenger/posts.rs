//! What messengers that integrate themselves tell us, in posts that they sign. As with the bot's updates, a post is worked on at
//! least once, and what it was answered is noted after the work and given again to who sends it again; a refusal wrote nothing
//! and is not noted.

use super::bot::{NAME_CHARS_MAX, TRIES_MAX, masked, set_state};
use super::linking::{self, Closed};
use super::webhook::note_answered;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use domain::chats::{CHATS_MAX, ChatRef, ChatState};
use platform::http::{Problem, parse_json};
use platform::store::{Receipt, StoreError};
use platform::{App, telemetry};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Characters that are kept of why a message was not delivered.
const REASON_CHARS_MAX: usize = 200;

/// What a messenger tells.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", deny_unknown_fields)]
#[schema(as = MessengerPost)]
pub enum Post {
    /// A person has opened the link with this token in this chat, and wants to be written to there.
    #[serde(rename = "chat.link")]
    Link {
        token: String,
        /// The messenger's own id of the chat: 1 to 64 visible ASCII characters.
        chat: String,
        /// What the messenger calls whoever is there.
        name: String,
    },
    /// A person wants nothing more of us in this chat.
    #[serde(rename = "chat.unlink")]
    Unlink { chat: String },
    /// The messenger may not write into this chat any more.
    #[serde(rename = "chat.blocked")]
    Blocked { chat: String },
    /// A message came to its person.
    #[serde(rename = "message.delivered")]
    Delivered {
        /// The `id` that it was posted with.
        id: String,
    },
    /// A message that was taken will not come to its person.
    #[serde(rename = "message.failed")]
    Failed { id: String, reason: String },
}

/// Whose account a chat is linked with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessengerLinked)]
pub struct Linked {
    /// Its address, with all of its name but the first letter hidden, to be shown to the person.
    #[schema(example = "a***@example.org")]
    account: String,
}

/// Takes a post; the body of the answer, which is empty where there is nothing to say.
pub async fn receive(app: &App, messenger: &str, headers: &HeaderMap, body: &Bytes) -> Result<String, Problem> {
    let Some(posts) = app.posts(messenger).await? else { return Err(Problem::not_found()) };
    let id = posts.verify(headers, body);
    let id = id.map_err(|error| Problem::unauthorized("webhook_signature_invalid", sentence(&error.to_string())))?;
    let post = parse_json(body)?;
    if let Some(answer) = app.links.answered(messenger, id).await? {
        return Ok(answer);
    }
    let answer = hear(app, messenger, post).await?;
    note_answered(app, messenger, id, &answer).await?;
    Ok(answer)
}

async fn hear(app: &App, messenger: &str, post: Post) -> Result<String, Problem> {
    let at = |chat: &str| {
        let refused = "is not 1 to 64 visible ASCII characters";
        ChatRef::new(messenger, chat).map_err(|_| Problem::field("/chat", refused))
    };
    match post {
        Post::Link { token, chat, name } => return link(app, &at(&chat)?, &name, &token).await,
        Post::Unlink { chat } => end(app, &at(&chat)?, true).await?,
        Post::Blocked { chat } => end(app, &at(&chat)?, false).await?,
        Post::Delivered { id } => receipt(app, messenger, &id, &Receipt::Delivered).await?,
        Post::Failed { id, reason } => {
            let reason = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
            receipt(app, messenger, &id, &Receipt::Failed(reason)).await?;
        }
    }
    Ok(String::new())
}

async fn link(app: &App, at: &ChatRef, name: &str, token: &str) -> Result<String, Problem> {
    let name: String = name.trim().chars().take(NAME_CHARS_MAX).collect();
    let before = app.chats.get(at).await?;
    let account = linking::take(app, at, &name, token, before).await?.map_err(|why| match why {
        Closed::Unknown => {
            Problem::new(StatusCode::NOT_FOUND, "link_unknown", "There is no link of this messenger with this token.")
        }
        Closed::Used => Problem::conflict("link_used", "This link was used already. A new one is at the box office."),
        Closed::Expired => {
            let detail = "This link is more than ten minutes old. A new one is at the box office.";
            Problem::new(StatusCode::GONE, "link_expired", detail)
        }
        Closed::Full => Problem::conflict("chats_max", format!("An account has {CHATS_MAX} chats at most.")),
    })?;
    let linked = Linked { account: masked(&account.email) };
    Ok(serde_json::to_string(&linked).expect("it is plain JSON"))
}

/// Nothing is written into this chat any more: it is forgotten, or only out of reach. One that is not linked stays so.
async fn end(app: &App, at: &ChatRef, is_unlinked: bool) -> Result<(), StoreError> {
    for tries in 1.. {
        let Some(chat) = app.chats.get(at).await? else { break };
        let (user, is_reached) = (chat.user, chat.state == ChatState::Linked);
        let done = match (is_unlinked, is_reached) {
            (true, _) => app.chats.unlink(&chat).await,
            (false, true) => set_state(app, chat, ChatState::Unreachable).await.map(drop),
            (false, false) => break,
        };
        match done {
            Err(StoreError::Conflict) if tries < TRIES_MAX => {}
            done => {
                done?;
                tracing::info!(%user, messenger = at.messenger(), is_unlinked, "chat ended by its messenger");
                break;
            }
        }
    }
    Ok(())
}

async fn receipt(app: &App, messenger: &str, id: &str, receipt: &Receipt) -> Result<(), Problem> {
    if !app.notices.receive(messenger, id, receipt, app.now()).await? {
        return Err(Problem::not_found());
    }
    let count = match receipt {
        Receipt::Delivered => "NoticesDelivered",
        Receipt::Failed(_) => {
            tracing::warn!(notice = id, messenger, "a messenger could not deliver a notice");
            "NoticesUndelivered"
        }
    };
    telemetry::count(app.now(), &[(count, 1)], None);
    Ok(())
}

/// An error's words as a sentence.
fn sentence(words: &str) -> String {
    let mut rest = words.chars();
    rest.next().map(|first| format!("{}{}.", first.to_uppercase(), rest.as_str())).unwrap_or_default()
}
