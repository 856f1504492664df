//! What Telegram's bots hear and say, as far as ours does: updates as they come to the webhook, and the one method that the
//! webhook's answer may call (Bot API, "Making requests when getting updates").

use platform::messenger::Button;
use platform::messenger::telegram::{ANSWER_CHARS_MAX, text_message};
use serde::Deserialize;
use serde_json::json;

/// Something that happened. One of the members is there, or none that we know.
#[derive(Debug, Deserialize)]
pub struct Update {
    pub update_id: i64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct What {
    pub message: Option<Message>,
    pub callback_query: Option<Press>,
    pub my_chat_member: Option<Membership>,
}

#[derive(Debug, Deserialize)]
pub struct Message {
    pub message_id: i64,
    /// Seconds since 1970; 0 of a message that cannot be read or changed any more.
    #[serde(default)]
    pub date: i64,
    pub chat: Room,
    pub from: Option<Person>,
    pub text: Option<String>,
}

/// A button was pressed.
#[derive(Debug, Deserialize)]
pub struct Press {
    pub id: String,
    pub from: Person,
    /// The message that the button is below.
    pub message: Option<Message>,
    pub data: Option<String>,
}

/// The bot was let into a chat, or thrown out of it.
#[derive(Debug, Deserialize)]
pub struct Membership {
    pub chat: Room,
    pub new_chat_member: Member,
}

#[derive(Debug, Deserialize)]
pub struct Member {
    pub status: String,
}

#[derive(Debug, Deserialize)]
pub struct Room {
    pub id: i64,
    #[serde(rename = "type")]
    pub kind: String,
}

impl Room {
    /// Whether it is one person's own.
    pub fn is_private(&self) -> bool {
        self.kind == "private"
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Person {
    pub is_bot: bool,
    pub first_name: String,
    pub last_name: Option<String>,
    pub language_code: Option<String>,
}

/// What the bot says to an update: one method, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    Nothing,
    /// A new message, as markup.
    Message {
        chat: i64,
        html: String,
        buttons: Vec<Vec<Button>>,
    },
    /// Another text in the place of a message, and other buttons below it.
    Instead {
        chat: i64,
        message: i64,
        html: String,
        buttons: Vec<Vec<Button>>,
    },
    /// A note over the chat, which is gone when it is read.
    Note {
        press: String,
        text: String,
    },
}

impl Say {
    /// The body of the webhook's answer; none where there is nothing to say.
    pub fn body(&self) -> Option<String> {
        let (method, mut body) = match self {
            Self::Nothing => return None,
            Self::Message { chat, html, buttons } => ("sendMessage", text_message(*chat, html, buttons)),
            Self::Instead { chat, message, html, buttons } => {
                let mut body = text_message(*chat, html, buttons);
                body["message_id"] = json!(message);
                ("editMessageText", body)
            }
            Self::Note { press, text } => {
                let text: String = text.chars().take(ANSWER_CHARS_MAX).collect();
                ("answerCallbackQuery", json!({ "callback_query_id": press, "text": text, "show_alert": true }))
            }
        };
        body["method"] = json!(method);
        Some(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn updates_are_read_whatever_else_is_in_them() {
        let read = |body: Value| serde_json::from_value::<Update>(body);
        let update = read(json!({
            "update_id": 7, "more": 1,
            "message": { "message_id": 1, "date": 0, "chat": { "id": -5, "type": "group", "title": "G" },
                "from": { "id": 1, "is_bot": false, "first_name": "A" }, "entities": [{ "type": "bot_command" }], "text": "/x" },
        }));
        let message = update.expect("it is one").what.message.expect("it has one");
        assert!(!message.chat.is_private());
        assert_eq!((message.chat.id, message.text.as_deref()), (-5, Some("/x")));
        let other = read(json!({ "update_id": 8, "poll": { "id": "1" } })).expect("it is one");
        assert!(other.what.message.is_none() && other.what.callback_query.is_none());
        assert!(read(json!({ "message": {} })).is_err(), "it has no id");
        assert!(read(json!({ "update_id": 9, "message": 1 })).is_err(), "it is not a message");
    }

    #[test]
    fn a_note_is_as_short_as_it_must_be() {
        let note = Say::Note { press: "1".into(), text: "ж".repeat(300) };
        let body: Value = serde_json::from_str(&note.body().expect("it says something")).expect("it is JSON");
        assert_eq!(body["text"].as_str().map(|text| text.chars().count()), Some(ANSWER_CHARS_MAX));
        assert_eq!(Say::Nothing.body(), None);
    }
}
