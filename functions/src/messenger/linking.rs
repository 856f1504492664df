//! Linking as the chat sees it: a link is shown with whose account it is of, and taken when the person says so.
//!
//! A link is unused, then the chat's that took it, then done. Whoever dies between the last two presses again, and goes on.

use super::bot::{TRIES_MAX, Talk, Words, masked};
use super::links::TOKEN_CHARS;
use domain::chats::{CHATS_MAX, Chat, ChatRef, ChatState};
use domain::texts::Locale;
use platform::App;
use platform::messenger::Button;
use platform::messenger::telegram::NAME;
use platform::store::{Account, Link, StoreError};

/// Why a chat may not take a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    Unknown,
    Used,
    Expired,
    /// Its account has as many chats as it may.
    Full,
}

/// The link of a token with its account, if this chat may take it, or has taken it.
async fn open_link(
    app: &App,
    at: &ChatRef,
    chat: Option<&Chat>,
    token: &str,
) -> Result<Result<(Link, Account), Closed>, StoreError> {
    if token.len() != TOKEN_CHARS {
        return Ok(Err(Closed::Unknown));
    }
    let Some(link) = app.links.get(token).await?.filter(|link| link.messenger == at.messenger()) else {
        return Ok(Err(Closed::Unknown));
    };
    let is_others = link.chat.as_ref().is_some_and(|chat| chat != at);
    let is_linked = chat.is_some_and(|chat| chat.user == link.user);
    if is_others || (link.done && !is_linked) {
        return Ok(Err(Closed::Used));
    }
    if link.expires_at <= app.now() && !is_linked {
        return Ok(Err(Closed::Expired));
    }
    let account = app.accounts.get(link.user).await?;
    Ok(account.map(|account| (link, account)).ok_or(Closed::Unknown))
}

/// Links a chat with the account of a token, since its person says so; `before` is what is known of the chat.
pub async fn take(
    app: &App,
    at: &ChatRef,
    name: &str,
    token: &str,
    mut before: Option<Chat>,
) -> Result<Result<Account, Closed>, StoreError> {
    let mut tries = 1;
    loop {
        match try_take(app, at, name, token, before.as_ref()).await {
            Err(StoreError::Conflict) if tries < TRIES_MAX => {}
            done => return done,
        }
        (tries, before) = (tries + 1, app.chats.get(at).await?);
    }
}

async fn try_take(
    app: &App,
    at: &ChatRef,
    name: &str,
    token: &str,
    before: Option<&Chat>,
) -> Result<Result<Account, Closed>, StoreError> {
    let (mut link, account) = match open_link(app, at, before, token).await? {
        Ok(open) => open,
        Err(why) => return Ok(Err(why)),
    };
    if link.done {
        return Ok(Ok(account));
    }
    let chats = app.chats.of_user(link.user).await?;
    if chats.len() >= CHATS_MAX && chats.iter().all(|chat| chat.at != *at) {
        return Ok(Err(Closed::Full));
    }
    if link.chat.is_none() {
        link = Link { chat: Some(at.clone()), v: link.v + 1, ..link };
        app.links.save(&link).await?;
    }
    if before.is_none_or(|chat| chat.user != link.user || chat.state != ChatState::Linked) {
        let v = before.map_or(0, |chat| chat.v) + 1;
        let (at, name) = (at.clone(), name.to_owned());
        let chat = Chat { at, user: link.user, name, state: ChatState::Linked, linked_at: app.now(), v };
        app.chats.link(&chat, before).await?;
        tracing::info!(user = %link.user, messenger = chat.at.messenger(), moved = before.is_some(), "chat linked");
    }
    app.links.save(&Link { done: true, v: link.v + 1, ..link }).await?;
    Ok(Ok(account))
}

/// What is shown of a link that this chat may not take.
fn closed(talk: &Talk<'_>, why: Closed) -> Result<Words, StoreError> {
    let text = match why {
        Closed::Unknown => "bot-link-unknown",
        Closed::Used => "bot-link-used",
        Closed::Expired => "bot-link-expired",
        Closed::Full => return Ok(talk.html("bot-chats-max", &[("max", (CHATS_MAX as i64).into())]).into()),
    };
    Ok(Words { html: talk.html(text, &[]), buttons: vec![vec![talk.site()?]] })
}

fn linked(account: &Account) -> Words {
    Locale::of_tag(&account.locale).html("bot-linked", &[("email", masked(&account.email).into())]).into()
}

/// `/start` with a token: whose account is it, and shall this chat be linked with it?
pub async fn ask(talk: &Talk<'_>, token: &str) -> Result<Words, StoreError> {
    let (_, account) = match open_link(talk.app, &talk.at, talk.chat.as_ref(), token).await? {
        Ok(open) => open,
        Err(why) => return closed(talk, why),
    };
    let moves = match &talk.chat {
        Some(chat) if chat.user == account.id => return Ok(linked(&account)),
        chat => chat.is_some(),
    };
    let id = if moves { "bot-link-ask-move" } else { "bot-link-ask" };
    let locale = Locale::of_tag(&account.locale);
    let button =
        |text: &str, what: &str| Button::Press { text: locale.plain(text, &[]), data: format!("{what}:{token}") };
    let buttons = vec![vec![button("bot-link-yes", "link"), button("bot-link-no", "nolink")]];
    Ok(Words { html: locale.html(id, &[("email", masked(&account.email).into())]), buttons })
}

/// The button that links.
pub async fn confirm(talk: &Talk<'_>, token: &str) -> Result<Words, StoreError> {
    match take(talk.app, &talk.at, &talk.name, token, talk.chat.clone()).await? {
        Ok(account) => Ok(linked(&account)),
        Err(why) => closed(talk, why),
    }
}

/// The button that does not link: nobody can use the link any more.
pub async fn refuse(talk: &Talk<'_>, token: &str) -> Result<Words, StoreError> {
    let (link, account) = match open_link(talk.app, &talk.at, talk.chat.as_ref(), token).await? {
        Ok(open) => open,
        Err(why) => return closed(talk, why),
    };
    if talk.chat.as_ref().is_some_and(|chat| chat.user == link.user) {
        return Ok(linked(&account));
    }
    talk.app.links.save(&Link { done: true, v: link.v + 1, ..link }).await?;
    Ok(talk.html("bot-link-refused", &[]).into())
}

/// `/stop`, or the button that unlinks: this chat is nobody's any more.
pub async fn unlink(talk: &Talk<'_>) -> Result<Words, StoreError> {
    let Some(chat) = &talk.chat else { return talk.not_linked() };
    talk.app.chats.unlink(chat).await?;
    tracing::info!(user = %chat.user, messenger = NAME, "chat unlinked by its person");
    Ok(talk.html("bot-unlinked", &[]).into())
}
