//! Writing to people in a messenger: the one trait that a messenger implements, and the messengers.

mod email;
pub mod posts;
pub mod telegram;

pub use email::Email;
pub use posts::Posts;
pub use telegram::Telegram;

use jiff::{SignedDuration, Timestamp};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// What is written into a chat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// What it is known by among all messages, the same however often it is sent.
    pub id: String,
    /// When that came to be which it tells of.
    pub at: Timestamp,
    /// The text in the one markup that all messengers are given: HTML of `b`, `i`, `code` and `a href`, everything else
    /// escaped ([`domain::texts::Locale::html`]). A messenger makes its own of it.
    pub html: String,
    /// Rows of buttons below it.
    pub buttons: Vec<Vec<Button>>,
    /// Pictures above it, as PNG: none or one in a chat.
    pub pictures: Vec<Vec<u8>>,
}

/// A button below a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Button {
    /// Opens a page.
    Link { text: String, url: String },
    /// Comes back to the bot's webhook; `data` has 64 bytes at most.
    Press { text: String, data: String },
}

/// Why a message was not written, or may not have been.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// Too much was sent, to this chat or by us: not before so long.
    #[error("the messenger wants us to wait for {0:?}")]
    TooMany(Duration),
    /// We may not write there: blocked, left, deleted.
    #[error("the chat cannot be reached: {0}")]
    Unreachable(String),
    /// What we sent is wrong: sending it again does not help.
    #[error("the messenger refused: {0}")]
    Refused(String),
    /// No answer, or one that says nothing: it may or may not have been written.
    #[error("the messenger did not answer: {0}")]
    Unknown(String),
    /// It was not asked, since it has failed again and again; it is asked again after this time.
    #[error("the messenger has failed again and again and is not asked for {0:?}")]
    Resting(Duration),
    /// We are not set up as the messenger needs.
    #[error("the messenger cannot be asked: {0}")]
    Misconfigured(String),
}

/// How far messages to one messenger are apart where it does not say otherwise, over all chats: 25 a second, where Telegram takes
/// some 30.
const APART_MILLISECONDS: i64 = 40;

pub type Sent<'a, T> = Pin<Box<dyn Future<Output = Result<T, SendError>> + Send + 'a>>;

/// A messenger. Built in is one module here for each; those that operators set up are all [`Posts`].
pub trait Messenger: Send + Sync {
    /// As in [`domain::chats::ChatRef`].
    fn name(&self) -> &str;

    /// How far messages are apart, over all chats.
    fn apart(&self) -> SignedDuration {
        SignedDuration::from_millis(APART_MILLISECONDS)
    }

    /// Writes into a chat.
    fn send<'a>(&'a self, chat: &'a str, message: &'a Outgoing) -> Sent<'a, ()>;

    /// Says that a button was pressed, with a short text that is shown for a moment.
    fn answer<'a>(&'a self, press: &'a str, text: &'a str) -> Sent<'a, ()>;

    /// The link that opens the bot and begins with this token.
    fn deep_link(&self, token: &str) -> Result<String, SendError>;
}

/// A text in our markup as it is read: without tags, and with what was escaped.
pub fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    for (at, part) in html.split('<').enumerate() {
        match part.split_once('>') {
            Some((_, after)) if at > 0 => text.push_str(after),
            _ => text.extend([if at > 0 { "<" } else { "" }, part]),
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}
