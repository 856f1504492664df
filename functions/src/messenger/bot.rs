//! What the bot does with what it hears. Whatever it does may be done again: an update may come twice.

use super::telegram::{Membership, Message, Person, Press, Room, Say, What};
use super::{alerts, linking, lists};
use domain::chats::{Chat, ChatRef, ChatState};
use domain::texts::{Arg, Locale};
use platform::App;
use platform::messenger::Button;
use platform::messenger::telegram::NAME;
use platform::store::{Account, StoreError};

/// Characters of a chat's name that are kept.
pub const NAME_CHARS_MAX: usize = 100;
/// Writes that are lost to others before the messenger is to send its update again.
pub const TRIES_MAX: usize = 3;

/// What is written into a chat: markup, and rows of buttons.
pub struct Words {
    pub html: String,
    pub buttons: Vec<Vec<Button>>,
}

impl From<String> for Words {
    fn from(html: String) -> Self {
        Self { html, buttons: Vec::new() }
    }
}

/// A person's own chat with the bot, and whose account it is linked with.
pub struct Talk<'a> {
    pub app: &'a App,
    pub at: ChatRef,
    /// What the messenger calls them.
    pub name: String,
    pub locale: Locale,
    pub chat: Option<Chat>,
    pub account: Option<Account>,
}

impl<'a> Talk<'a> {
    /// Looks up whose chat it is. They are spoken to in their account's language, else in their messenger's.
    async fn open(app: &'a App, room: &Room, from: &Person) -> Result<Self, StoreError> {
        let at = chat_ref(room);
        let chat = app.chats.get(&at).await?;
        let account = match &chat {
            Some(chat) => app.accounts.get(chat.user).await?,
            None => None,
        };
        let tag = account.as_ref().map(|account| account.locale.as_str()).or(from.language_code.as_deref());
        let locale = Locale::of_tag(tag.unwrap_or_default());
        let name = [from.first_name.as_str(), from.last_name.as_deref().unwrap_or_default()].join(" ");
        let name = name.trim().chars().take(NAME_CHARS_MAX).collect();
        Ok(Self { app, at, name, locale, chat, account })
    }

    pub fn html(&self, id: &str, args: &[(&str, Arg)]) -> String {
        self.locale.html(id, args)
    }

    /// A text without markup, as buttons have it.
    pub fn plain(&self, id: &str, args: &[(&str, Arg)]) -> String {
        self.locale.plain(id, args)
    }

    /// An address of the web pages.
    pub fn url(&self, page: &str) -> Result<String, StoreError> {
        Ok(format!("{}/#/{page}", self.app.config.get("PUBLIC_URL")?))
    }

    /// The button that opens the web pages.
    pub fn site(&self) -> Result<Button, StoreError> {
        Ok(Button::Link { text: self.plain("bot-open-site", &[]), url: self.url("")? })
    }

    /// For who has not linked this chat and asks for what is an account's.
    pub fn not_linked(&self) -> Result<Words, StoreError> {
        Ok(Words { html: self.html("bot-not-linked", &[]), buttons: vec![vec![self.site()?]] })
    }
}

fn chat_ref(room: &Room) -> ChatRef {
    ChatRef::new(NAME, &room.id.to_string()).expect("a number is a chat's id")
}

/// Does what an update asks for; what the bot says to it.
pub async fn hear(app: &App, what: What) -> Result<Say, StoreError> {
    match what {
        What { message: Some(message), .. } => on_message(app, message).await,
        What { callback_query: Some(press), .. } => on_press(app, press).await,
        What { my_chat_member: Some(change), .. } => on_membership(app, change).await.map(|()| Say::Nothing),
        _ => Ok(Say::Nothing),
    }
}

async fn on_message(app: &App, message: Message) -> Result<Say, StoreError> {
    let from = message.from.unwrap_or_default();
    let (room, text) = (message.chat, message.text.unwrap_or_default());
    if from.is_bot {
        return Ok(Say::Nothing);
    }
    if !room.is_private() {
        // What people say to each other there is not for the bot.
        let html = Locale::of_tag(from.language_code.as_deref().unwrap_or_default()).html("bot-private-only", &[]);
        let is_asked = text.starts_with('/');
        return Ok(if is_asked { Say::Message { chat: room.id, html, buttons: Vec::new() } } else { Say::Nothing });
    }
    let mut talk = Talk::open(app, &room, &from).await?;
    if let Some(chat) = talk.chat.take_if(|chat| chat.state == ChatState::Unreachable) {
        // Who writes can be written to.
        talk.chat = Some(set_state(app, chat, ChatState::Linked).await?);
    }
    let Words { html, buttons } = command(&talk, &text).await?;
    Ok(Say::Message { chat: room.id, html, buttons })
}

async fn command(talk: &Talk<'_>, text: &str) -> Result<Words, StoreError> {
    let mut words = text.split_whitespace();
    let name = words.next().and_then(|word| word.strip_prefix('/')).unwrap_or_default();
    match (name.split('@').next().unwrap_or_default().to_lowercase().as_str(), words.next()) {
        ("start", Some(token)) => linking::ask(talk, token).await,
        ("start", None) => hello(talk),
        ("events", _) => lists::events(talk).await,
        ("tickets", _) => lists::tickets(talk).await,
        ("alerts", _) => lists::alerts(talk).await,
        ("stop", _) => linking::unlink(talk).await,
        _ => Ok(talk.html("bot-help", &[]).into()),
    }
}

fn hello(talk: &Talk<'_>) -> Result<Words, StoreError> {
    let Some(account) = &talk.account else {
        return Ok(Words { html: talk.html("bot-hello", &[]), buttons: vec![vec![talk.site()?]] });
    };
    let email = masked(&account.email);
    let unlink = Button::Press { text: talk.plain("bot-unlink", &[]), data: "unlink".to_owned() };
    let html = talk.html("bot-hello-linked", &[("email", email.into())]);
    Ok(Words { html, buttons: vec![vec![talk.site()?], vec![unlink]] })
}

/// An address with all of its name but the first letter hidden: its owner knows it, and nobody learns it.
pub fn masked(email: &str) -> String {
    let (name, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    format!("{}***@{domain}", name.chars().next().map(String::from).unwrap_or_default())
}

async fn on_press(app: &App, press: Press) -> Result<Say, StoreError> {
    let from = press.from;
    let old = Locale::of_tag(from.language_code.as_deref().unwrap_or_default()).plain("bot-button-old", &[]);
    let old = Say::Note { press: press.id, text: old };
    let Some(message) = press.message.filter(|message| message.chat.is_private()) else { return Ok(old) };
    let talk = Talk::open(app, &message.chat, &from).await?;
    let data = press.data.unwrap_or_default();
    let Words { html, buttons } = match data.split_once(':').unwrap_or((&data, "")) {
        ("link", token) => linking::confirm(&talk, token).await?,
        ("nolink", token) => linking::refuse(&talk, token).await?,
        ("unlink", "") => linking::unlink(&talk).await?,
        ("alert-off", id) => end_alert(&talk, id).await?,
        _ => return Ok(old),
    };
    let (chat, message, can_change) = (message.chat.id, message.message_id, message.date != 0);
    // In the place of the question: its buttons are gone with it.
    Ok(if can_change { Say::Instead { chat, message, html, buttons } } else { Say::Message { chat, html, buttons } })
}

async fn end_alert(talk: &Talk<'_>, id: &str) -> Result<Words, StoreError> {
    let Some(chat) = &talk.chat else { return talk.not_linked() };
    let ended = match id.parse() {
        Ok(id) => alerts::end(talk.app, chat.user, id).await?,
        Err(_) => None,
    };
    let text = if ended.is_some() { "bot-alert-ended" } else { "bot-alert-gone" };
    let rest = lists::alerts(talk).await?;
    Ok(Words { html: format!("{}\n\n{}", talk.html(text, &[]), rest.html), buttons: rest.buttons })
}

/// The person has stopped the bot, or let it in again.
async fn on_membership(app: &App, change: Membership) -> Result<(), StoreError> {
    let state = match change.new_chat_member.status.as_str() {
        "member" => ChatState::Linked,
        "kicked" | "left" => ChatState::Unreachable,
        _ => return Ok(()),
    };
    match app.chats.get(&chat_ref(&change.chat)).await? {
        Some(chat) if chat.state != state => set_state(app, chat, state).await.map(drop),
        _ => Ok(()),
    }
}

pub async fn set_state(app: &App, chat: Chat, state: ChatState) -> Result<Chat, StoreError> {
    let next = Chat { state, v: chat.v + 1, ..chat };
    app.chats.save(&next).await?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_to_who_knows_it() {
        for (email, shown) in [
            ("ada@example.org", "a***@example.org"),
            ("Ж@x.y", "Ж***@x.y"),
            ("\"a@b\"@x.y", "\"***@x.y"),
            ("@x.y", "***@x.y"),
        ] {
            assert_eq!(masked(email), shown);
        }
    }
}
