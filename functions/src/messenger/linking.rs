//! Linking as the chat sees it: a link is shown with whose account it is of, and taken when the person says so.
//!
//! A link is unused, then the chat's that took it, then done. Whoever dies between the last two presses again, and goes on.

use super::bot::{TRIES_MAX, Talk, Words, masked};
use super::links::TOKEN_CHARS;
use domain::chats::{CHATS_MAX, Chat, ChatState};
use domain::texts::Locale;
use platform::messenger::Button;
use platform::messenger::telegram::NAME;
use platform::store::{Account, Link, StoreError};

/// What is shown of a link that this chat may not take: a text's name.
type Closed = &'static str;

/// The link of a token with its account, if this chat may take it, or has taken it.
async fn open_link(
    talk: &Talk<'_>,
    chat: Option<&Chat>,
    token: &str,
) -> Result<Result<(Link, Account), Closed>, StoreError> {
    if token.len() != TOKEN_CHARS {
        return Ok(Err("bot-link-unknown"));
    }
    let Some(link) = talk.app.links.get(token).await?.filter(|link| link.messenger == NAME) else {
        return Ok(Err("bot-link-unknown"));
    };
    let is_others = link.chat.as_ref().is_some_and(|chat| *chat != talk.at);
    let is_linked = chat.is_some_and(|chat| chat.user == link.user);
    if is_others || (link.done && !is_linked) {
        return Ok(Err("bot-link-used"));
    }
    if link.expires_at <= talk.app.now() && !is_linked {
        return Ok(Err("bot-link-expired"));
    }
    let account = talk.app.accounts.get(link.user).await?;
    Ok(account.map(|account| (link, account)).ok_or("bot-link-unknown"))
}

fn closed(talk: &Talk<'_>, why: Closed) -> Result<Words, StoreError> {
    Ok(Words { html: talk.html(why, &[]), buttons: vec![vec![talk.site()?]] })
}

fn linked(account: &Account) -> Words {
    Locale::of_tag(&account.locale).html("bot-linked", &[("email", masked(&account.email).into())]).into()
}

/// `/start` with a token: whose account is it, and shall this chat be linked with it?
pub async fn ask(talk: &Talk<'_>, token: &str) -> Result<Words, StoreError> {
    let (_, account) = match open_link(talk, talk.chat.as_ref(), token).await? {
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
    let mut tries = 1;
    let mut before = talk.chat.clone();
    loop {
        match take(talk, token, before.as_ref()).await {
            Err(StoreError::Conflict) if tries < TRIES_MAX => {}
            done => return done,
        }
        (tries, before) = (tries + 1, talk.app.chats.get(&talk.at).await?);
    }
}

async fn take(talk: &Talk<'_>, token: &str, before: Option<&Chat>) -> Result<Words, StoreError> {
    let app = talk.app;
    let (mut link, account) = match open_link(talk, before, token).await? {
        Ok(open) => open,
        Err(why) => return closed(talk, why),
    };
    if link.done {
        return Ok(linked(&account));
    }
    let chats = app.chats.of_user(link.user).await?;
    if chats.len() >= CHATS_MAX && chats.iter().all(|chat| chat.at != talk.at) {
        return Ok(talk.html("bot-chats-max", &[("max", (CHATS_MAX as i64).into())]).into());
    }
    if link.chat.is_none() {
        link = Link { chat: Some(talk.at.clone()), v: link.v + 1, ..link };
        app.links.save(&link).await?;
    }
    if before.is_none_or(|chat| chat.user != link.user) {
        let v = before.map_or(0, |chat| chat.v) + 1;
        let (at, name) = (talk.at.clone(), talk.name.clone());
        let chat = Chat { at, user: link.user, name, state: ChatState::Linked, linked_at: app.now(), v };
        app.chats.link(&chat, before).await?;
        tracing::info!(user = %link.user, messenger = NAME, moved = before.is_some(), "chat linked");
    }
    app.links.save(&Link { done: true, v: link.v + 1, ..link }).await?;
    Ok(linked(&account))
}

/// The button that does not link: nobody can use the link any more.
pub async fn refuse(talk: &Talk<'_>, token: &str) -> Result<Words, StoreError> {
    let (link, account) = match open_link(talk, talk.chat.as_ref(), token).await? {
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
