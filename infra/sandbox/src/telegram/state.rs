//! What Telegram knows: people with their chats, messages, and updates that the bot has not taken yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::markup::{Entity, Text};
use super::{Fault, Limits, Settings, picture};
use crate::Error;
use crate::store::{Store, Write};

/// Kinds of records in the database, a file of its own.
const CHAT: i64 = 1;
const MESSAGE: i64 = 2;
const UPDATE: i64 = 3;
const BOT: i64 = 4;
/// Messages that are kept of a chat.
const MESSAGES_MAX: usize = 1_000;
/// Presses of buttons that can be answered, the last ones, and for how long.
const PRESSES_MAX: usize = 10_000;
const PRESS_MS_MAX: i64 = 15 * 60 * 1_000;
/// For how long an update waits for the bot.
const UPDATE_MS_MAX: i64 = 24 * 60 * 60 * 1_000;
/// A failed update is sent again after a second, then after twice as long, up to this.
const RETRY_MS_MIN: i64 = 1_000;
const RETRY_MS_MAX: i64 = 64_000;
/// The first person, press and update.
const PERSON_MIN: i64 = 1_000_001;
const PRESS_MIN: u64 = 5_000_000_001;
const UPDATE_MIN: u64 = 700_000_001;

/// A message in a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: u64,
    pub is_from_bot: bool,
    /// What a person reads.
    pub text: String,
    pub entities: Vec<Entity>,
    /// The same with its markup, safe to show.
    pub shown: String,
    pub buttons: Vec<Vec<Button>>,
    pub picture: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    pub(super) chat: i64,
}

/// A button below a message: it has a page to open, or data that comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Button {
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(rename = "callback_data", skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// A person, and the one chat that they have with the bot.
#[derive(Serialize, Deserialize)]
pub(super) struct Chat {
    pub(super) name: String,
    pub(super) language: String,
    pub(super) is_blocked: bool,
    #[serde(skip)]
    pub(super) messages: VecDeque<Message>,
    /// What was shown for a moment after a press.
    #[serde(skip)]
    pub(super) answers: VecDeque<String>,
    /// When the bot wrote last.
    #[serde(skip)]
    pub(super) written_ms: Option<i64>,
}

/// Something that the bot is to be told.
#[derive(Serialize, Deserialize)]
pub(super) struct Update {
    pub(super) chat: i64,
    pub(super) body: String,
    pub(super) made_ms: i64,
    #[serde(skip)]
    pub(super) attempts: u32,
    #[serde(skip)]
    pub(super) due_ms: i64,
    #[serde(skip)]
    pub(super) is_under_way: bool,
}

/// A press of a button that is not answered yet.
struct Press {
    chat: i64,
    made_ms: i64,
}

/// What happens to a call of a method about a chat.
type Rule = Arc<dyn Fn(&str, i64) -> Fault + Send + Sync>;

/// Where updates go.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Webhook {
    pub(super) url: String,
    pub(super) secret: Option<String>,
    /// Empty: all kinds.
    pub(super) allowed: Vec<String>,
}

/// What is kept of the bot itself.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    next_message: u64,
    next_update: u64,
    next_press: u64,
    webhook: Option<Webhook>,
}

/// One lock holds it all, since nothing in it waits.
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) now_ms: i64,
    pub(super) chats: BTreeMap<i64, Chat>,
    pub(super) updates: BTreeMap<u64, Update>,
    pub(super) limits: Limits,
    pub(super) rule: Rule,
    /// Why the last update was not taken, and when, in milliseconds since 1970.
    pub(super) last_error: Option<(i64, String)>,
    /// Messages that the bot wrote in the second that began then.
    written: (i64, u32),
    presses: BTreeMap<u64, Press>,
    kept: Kept,
    store: Option<Store>,
    writes: Vec<Write>,
}

impl State {
    pub(super) fn open(settings: Settings) -> Result<State, Error> {
        let store = settings.database.as_deref().map(Store::open).transpose()?;
        let kept = Kept { next_message: 1, next_update: UPDATE_MIN, next_press: PRESS_MIN, webhook: None };
        let mut state = State {
            now_ms: (settings.clock)(),
            chats: load::<Chat>(store.as_ref(), CHAT)?.map(|(id, chat)| (id.cast_signed(), chat)).collect(),
            updates: load(store.as_ref(), UPDATE)?.collect(),
            limits: Limits::default(),
            rule: Arc::new(|_, _| Fault::None),
            last_error: None,
            written: (0, 0),
            presses: BTreeMap::new(),
            kept: load(store.as_ref(), BOT)?.next().map_or(kept, |(_, kept)| kept),
            store: None,
            writes: Vec::new(),
            settings,
        };
        for (_, message) in load::<Message>(store.as_ref(), MESSAGE)? {
            let chat = state.chats.get_mut(&message.chat).ok_or(Error::Corrupt)?;
            chat.messages.push_back(message);
        }
        state.store = store;
        Ok(state)
    }

    /// Writes what has changed.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if let Some(store) = self.store.as_mut().filter(|_| !self.writes.is_empty()) {
            store.apply(&self.writes)?;
        }
        self.writes.clear();
        Ok(())
    }

    fn keep(&mut self, kind: i64, at: u64, record: &impl Serialize) {
        if self.store.is_some() {
            let body = serde_json::to_string(record).expect("records are plain");
            self.writes.push(Write::Put(kind, at, body));
        }
    }

    fn keep_bot(&mut self) {
        let kept = self.kept.clone();
        self.keep(BOT, 0, &kept);
    }

    fn forget(&mut self, kind: i64, at: u64) {
        if self.store.is_some() {
            self.writes.push(Write::Delete(kind, at));
        }
    }

    pub(super) fn webhook(&self) -> Option<&Webhook> {
        self.kept.webhook.as_ref()
    }

    pub(super) fn set_webhook(&mut self, webhook: Option<Webhook>) {
        self.kept.webhook = webhook;
        self.keep_bot();
    }

    /// The bot does not want to hear of what waits.
    pub(super) fn drop_updates(&mut self) {
        for id in std::mem::take(&mut self.updates).into_keys() {
            self.forget(UPDATE, id);
        }
    }

    /// An id for somebody new.
    pub(super) fn new_person(&self) -> i64 {
        self.chats.keys().next_back().map_or(PERSON_MIN, |last| PERSON_MIN.max(last + 1))
    }

    /// Gives somebody this name, and a chat if they have none.
    pub(super) fn name(&mut self, id: i64, name: &str, language: &str) {
        assert!(id > 0, "only groups have negative ids, and there are none here");
        let chat = self.chats.entry(id).or_insert_with(|| Chat {
            name: String::new(),
            language: String::new(),
            is_blocked: false,
            messages: VecDeque::new(),
            answers: VecDeque::new(),
            written_ms: None,
        });
        (chat.name, chat.language) = (name.to_owned(), language.to_owned());
        self.keep_chat(id);
    }

    fn keep_chat(&mut self, id: i64) {
        if self.store.is_some() {
            let body = serde_json::to_string(&self.chats[&id]).expect("records are plain");
            self.writes.push(Write::Put(CHAT, id.cast_unsigned(), body));
        }
    }

    /// Whether the bot may write there now: how many seconds it has to wait otherwise. If so, it counts as written.
    pub(super) fn admit(&mut self, chat: i64) -> Result<(), u64> {
        let seconds = |ms: i64| u64::try_from(ms.max(1)).expect("it is positive").div_ceil(1_000);
        let second = self.now_ms.div_euclid(1_000);
        let written = if self.written.0 == second { self.written.1 } else { 0 };
        if self.limits.all_per_second_max.is_some_and(|max| written >= max) {
            return Err(1);
        }
        let found = self.chats.get_mut(&chat).expect("the caller has found it");
        if let (Some(pause), Some(last)) = (self.limits.chat_pause, found.written_ms) {
            let left_ms = last + crate::millis(pause) - self.now_ms;
            if left_ms > 0 {
                return Err(seconds(left_ms));
            }
        }
        found.written_ms = Some(self.now_ms);
        self.written = (second, written + 1);
        Ok(())
    }

    /// Adds a message to a chat.
    pub(super) fn add(
        &mut self,
        chat: i64,
        is_from_bot: bool,
        text: Text,
        buttons: Vec<Vec<Button>>,
        picture: Option<Vec<u8>>,
    ) -> Message {
        let Text { plain: text, entities, shown } = text;
        let (id, at_ms) = (self.kept.next_message, self.now_ms);
        self.kept.next_message += 1;
        self.keep_bot();
        let message = Message { id, is_from_bot, text, entities, shown, buttons, picture, at_ms, chat };
        self.keep(MESSAGE, id, &message);
        let messages = &mut self.chats.get_mut(&chat).expect("the caller has found it").messages;
        messages.push_back(message.clone());
        let old = if messages.len() > MESSAGES_MAX { messages.pop_front() } else { None };
        if let Some(old) = old {
            self.forget(MESSAGE, old.id);
        }
        message
    }

    pub(super) fn message(&self, chat: i64, id: u64) -> Option<&Message> {
        self.chats.get(&chat)?.messages.iter().rfind(|message| message.id == id)
    }

    /// Changes a message that is there.
    pub(super) fn change(&mut self, chat: i64, id: u64, change: impl FnOnce(&mut Message)) -> Option<Message> {
        let messages = &mut self.chats.get_mut(&chat)?.messages;
        let message = messages.iter_mut().rfind(|message| message.id == id)?;
        change(message);
        let changed = message.clone();
        self.keep(MESSAGE, id, &changed);
        Some(changed)
    }

    /// Somebody blocks the bot, or lets it write again. The bot is told if that changes anything.
    pub(super) fn block(&mut self, id: i64, blocks: bool) {
        let Some(chat) = self.chats.get_mut(&id).filter(|chat| chat.is_blocked != blocks) else { return };
        chat.is_blocked = blocks;
        self.keep_chat(id);
        let member = |status: &str| json!({ "user": self.settings.me(), "status": status });
        let (old, new) = if blocks { ("member", "kicked") } else { ("kicked", "member") };
        let mut new = member(new);
        if blocks {
            new["until_date"] = 0.into();
        }
        let at = self.now_ms.div_euclid(1_000);
        let told = json!({
            "chat": self.chat_json(id), "from": self.person_json(id), "date": at,
            "old_chat_member": member(old), "new_chat_member": new,
        });
        self.tell(id, "my_chat_member", told);
    }

    /// Somebody writes to the bot. Who had blocked it lets it write again by that.
    pub(super) fn write(&mut self, id: i64, text: &str) -> u64 {
        if !self.chats.contains_key(&id) {
            self.name(id, &format!("Person {id}"), "en");
        }
        self.block(id, false);
        let message = self.add(id, false, Text::plain(text), Vec::new(), None);
        let mut told = self.message_json(&message);
        if text.starts_with('/') {
            let length = text.split_whitespace().next().unwrap_or_default().encode_utf16().count();
            told["entities"] = json!([{ "type": "bot_command", "offset": 0, "length": length }]);
        }
        self.tell(id, "message", told);
        message.id
    }

    /// Somebody presses a button; the press's id, or nothing if there is no such button.
    pub(super) fn press(&mut self, id: i64, message: u64, data: &str) -> Option<u64> {
        let message = self.message(id, message)?.clone();
        message.buttons.iter().flatten().find(|button| button.data.as_deref() == Some(data))?;
        let press = self.kept.next_press;
        self.kept.next_press += 1;
        self.presses.insert(press, Press { chat: id, made_ms: self.now_ms });
        if self.presses.len() > PRESSES_MAX {
            self.presses.pop_first();
        }
        let told = json!({
            "id": press.to_string(), "from": self.person_json(id), "message": self.message_json(&message),
            "chat_instance": id.to_string(), "data": data,
        });
        self.tell(id, "callback_query", told);
        Some(press)
    }

    /// The bot answers a press: `false` if there is none, or it is too long ago.
    pub(super) fn answer(&mut self, press: &str, text: &str) -> bool {
        let press = press.parse::<u64>().ok().and_then(|press| self.presses.remove(&press));
        let Some(press) = press.filter(|press| self.now_ms - press.made_ms <= PRESS_MS_MAX) else { return false };
        if let Some(chat) = self.chats.get_mut(&press.chat) {
            chat.answers.push_back(text.to_owned());
            if chat.answers.len() > MESSAGES_MAX {
                chat.answers.pop_front();
            }
        }
        true
    }

    /// Puts an update in line, if the bot wants to hear of such.
    fn tell(&mut self, chat: i64, kind: &str, what: Value) {
        let wants = |webhook: &Webhook| webhook.allowed.is_empty() || webhook.allowed.iter().any(|it| it == kind);
        if !self.webhook().is_some_and(wants) {
            return;
        }
        let id = self.kept.next_update;
        self.kept.next_update += 1;
        self.keep_bot();
        let body = json!({ "update_id": id, kind: what }).to_string();
        let (made_ms, due_ms) = (self.now_ms, self.now_ms);
        let update = Update { chat, body, made_ms, attempts: 0, due_ms, is_under_way: false };
        self.keep(UPDATE, id, &update);
        self.updates.insert(id, update);
    }

    /// Takes out the next update that can be sent now: those of one chat go one after the other.
    pub(super) fn next_update(&mut self) -> Option<(u64, String)> {
        let mut behind = BTreeSet::new();
        let now_ms = self.now_ms;
        let next = self.updates.iter_mut().find(|(_, update)| {
            let is_first = behind.insert(update.chat);
            is_first && !update.is_under_way && update.due_ms <= now_ms
        });
        let (id, update) = next?;
        update.is_under_way = true;
        Some((*id, update.body.clone()))
    }

    /// Notes what became of an update that was sent.
    pub(super) fn sent(&mut self, id: u64, result: Result<(), String>) {
        let Some(update) = self.updates.get_mut(&id) else { return };
        update.is_under_way = false;
        let is_old = self.now_ms - update.made_ms > UPDATE_MS_MAX;
        if let Err(why) = &result {
            tracing::debug!(update = id, why, "the bot did not take an update");
            self.last_error = Some((self.now_ms, why.clone()));
            let delay_ms = RETRY_MS_MIN.checked_shl(update.attempts).unwrap_or(RETRY_MS_MAX).min(RETRY_MS_MAX);
            update.attempts = (update.attempts + 1).min(RETRY_MS_MAX.ilog2());
            update.due_ms = self.now_ms + delay_ms;
        }
        if result.is_ok() || is_old {
            self.updates.remove(&id);
            self.forget(UPDATE, id);
        }
    }

    /// When the next update that waits is to be sent.
    pub(super) fn next_due_ms(&self) -> Option<i64> {
        self.updates.values().filter(|update| !update.is_under_way).map(|update| update.due_ms).min()
    }

    /// How many updates are under way, or could be sent now.
    pub(super) fn pending(&self) -> usize {
        if self.webhook().is_none() {
            return 0;
        }
        let (mut waiting, mut pending) = (BTreeSet::new(), 0);
        for update in self.updates.values() {
            // What is behind one that waits for its time waits too.
            if !update.is_under_way && update.due_ms > self.now_ms {
                waiting.insert(update.chat);
            }
            pending += usize::from(!waiting.contains(&update.chat));
        }
        pending
    }

    fn person_json(&self, id: i64) -> Value {
        let chat = &self.chats[&id];
        json!({ "id": id, "is_bot": false, "first_name": chat.name, "language_code": chat.language })
    }

    fn chat_json(&self, id: i64) -> Value {
        json!({ "id": id, "first_name": self.chats[&id].name, "type": "private" })
    }

    /// A message as the Bot API has it.
    pub(super) fn message_json(&self, message: &Message) -> Value {
        let from = if message.is_from_bot { self.settings.me() } else { self.person_json(message.chat) };
        let chat = self.chat_json(message.chat);
        let date = message.at_ms.div_euclid(1_000);
        let mut json = json!({ "message_id": message.id, "from": from, "chat": chat, "date": date });
        let (text, entities) =
            if message.picture.is_some() { ("caption", "caption_entities") } else { ("text", "entities") };
        if !message.text.is_empty() {
            json[text] = message.text.clone().into();
        }
        if !message.entities.is_empty() {
            json[entities] = json!(message.entities);
        }
        if let Some(picture) = &message.picture {
            let id = format!("picture-{}", message.id);
            let (width, height) = picture::size(picture).unwrap_or_default();
            json["photo"] = json!([{
                "file_id": id, "file_unique_id": id, "width": width, "height": height, "file_size": picture.len(),
            }]);
        }
        if !message.buttons.is_empty() {
            json["reply_markup"] = json!({ "inline_keyboard": message.buttons });
        }
        json
    }
}

fn load<T: DeserializeOwned>(store: Option<&Store>, kind: i64) -> Result<impl Iterator<Item = (u64, T)>, Error> {
    let records = store.map(|store| store.load(kind)).transpose()?.unwrap_or_default();
    let read = |(at, body): (u64, String)| Ok((at, serde_json::from_str(&body)?));
    Ok(records.into_iter().map(read).collect::<Result<Vec<_>, Error>>()?.into_iter())
}
