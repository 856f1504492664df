//! Chats of messengers, where people are told things and can act.

use crate::ids::UserId;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Characters of a messenger's name and of its id of a chat.
const NAME_CHARS_MAX: usize = 32;
const ID_CHARS_MAX: usize = 64;
/// The messenger's name of e-mail, where a chat is an account's own address.
pub const EMAIL: &str = "email";
/// Chats that one account may have.
pub const CHATS_MAX: usize = 5;

/// A chat, by its messenger and that messenger's id of it: `telegram:4711`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChatRef {
    messenger: String,
    id: String,
}

/// What is no name of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid chat")]
pub struct InvalidChat;

impl ChatRef {
    /// A messenger's name is of small letters and digits; its id of a chat has no spaces.
    pub fn new(messenger: &str, id: &str) -> Result<Self, InvalidChat> {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_named = (1..=NAME_CHARS_MAX).contains(&messenger.len()) && messenger.chars().all(is_name);
        let is_known = (1..=ID_CHARS_MAX).contains(&id.len()) && id.chars().all(|c| c.is_ascii_graphic());
        if is_named && is_known { Ok(Self { messenger: messenger.into(), id: id.into() }) } else { Err(InvalidChat) }
    }

    /// What reaches an account where no chat does.
    pub fn email_of(user: UserId) -> Self {
        Self { messenger: EMAIL.to_owned(), id: user.to_string() }
    }

    pub fn is_email(&self) -> bool {
        self.messenger == EMAIL
    }

    pub fn messenger(&self) -> &str {
        &self.messenger
    }

    /// As its messenger names it.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for ChatRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.messenger, self.id)
    }
}

impl FromStr for ChatRef {
    type Err = InvalidChat;
    fn from_str(text: &str) -> Result<Self, InvalidChat> {
        let (messenger, id) = text.split_once(':').ok_or(InvalidChat)?;
        Self::new(messenger, id)
    }
}

impl Serialize for ChatRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChatRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A chat that an account is linked with: one account at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    pub at: ChatRef,
    pub user: UserId,
    /// What the messenger calls whoever is there; it may be anything.
    pub name: String,
    pub state: ChatState,
    pub linked_at: Timestamp,
    /// Grows by one with each write; every write is conditional on it, the first on there being none.
    pub v: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatState {
    Linked,
    /// The messenger says that we may not write there any more.
    Unreachable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_named_by_its_messenger_and_its_id_there() {
        let chat: ChatRef = "telegram:-100:4711".parse().unwrap();
        assert_eq!(
            (chat.messenger(), chat.id(), chat.to_string()),
            ("telegram", "-100:4711", "telegram:-100:4711".into())
        );
        for wrong in ["", "telegram", "telegram:", ":1", "Tele:1", "t:1 2", "t:\u{202e}1", "t#a:1"] {
            assert_eq!(wrong.parse::<ChatRef>(), Err(InvalidChat), "{wrong}");
        }
        assert_eq!(ChatRef::new("telegram", &"1".repeat(65)), Err(InvalidChat));
    }
}
