//! The messenger's sandbox: the part of Telegram's Bot API that Boxoffice uses, served on loopback, and a page where a
//! person chats with the bot.
//!
//! | module | holds |
//! |---|---|
//! | `door` | routes, and calls as they come: JSON, forms, `multipart` |
//! | `api` | the calls |
//! | `markup`, `picture` | texts and pictures, taken or refused as Telegram does |
//! | `state` | people, chats, messages, updates; in memory, and in a database if there is one |
//! | `updates` | their delivery |
//! | `pages` | the chats, for a person |
//!
//! Two differences from Telegram are meant: a webhook and a button's page may be plain HTTP on loopback.

mod api;
mod door;
mod markup;
mod pages;
mod picture;
mod state;
mod updates;

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::{Clock, Error, serve_beside, system_time_ms};
use state::State;

pub use markup::Entity;
pub use state::{Button, Message};

/// How a sandbox is set up. The defaults are no secret.
#[derive(Clone)]
pub struct Settings {
    /// The bot's token: its number, a colon and its key.
    pub token: String,
    /// The bot's user name, without an `@`.
    pub username: String,
    /// SQLite file of its own that keeps everything; `None` keeps it in memory.
    pub database: Option<PathBuf>,
    /// Where time comes from, in milliseconds since 1970. After moving it, call [`Bot::wake`].
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            token: "4711:sandbox".to_owned(),
            username: "boxoffice_bot".to_owned(),
            database: None,
            clock: Arc::new(system_time_ms),
        }
    }
}

impl Settings {
    /// The bot as the Bot API describes it.
    fn me(&self) -> Value {
        let id = self.token.split(':').next().and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
        json!({ "id": id, "is_bot": true, "first_name": "Boxoffice", "username": self.username })
    }
}

/// How much the bot may write. Telegram says one message a second in a chat, and 30 a second in all; here nothing is
/// limited unless it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// What passes between two messages in one chat, at least.
    pub chat_pause: Option<Duration>,
    /// Messages in one second, in all chats.
    pub all_per_second_max: Option<u32>,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Refused with 429, for so many seconds.
    TooMany(u64),
    /// Answered with this status, and not done.
    Status(u16),
    /// Done, and the connection ends before the answer.
    Lost,
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

/// A handle to a sandbox, which has one bot; clones share it.
#[derive(Clone)]
pub struct Bot(Arc<Shared>);

impl Bot {
    /// Opens a sandbox, with all that its database holds.
    pub fn open(settings: Settings) -> Result<Bot, Error> {
        let state = Mutex::new(State::open(settings)?);
        Ok(Bot(Arc::new(Shared { state, wake: Notify::new() })))
    }

    /// The API under `/bot<token>` and the pages under `/chats`. Updates are delivered only in [`Bot::serve`].
    pub fn router(&self) -> axum::Router {
        door::router(self.clone())
    }

    /// Serves until `shutdown` ends; delivers updates meanwhile.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        serve_beside(listener, self.router(), shutdown, updates::run(self.clone())).await
    }

    /// Gives a person a name and a language (as `ru`), and a chat if they have none. Ids are above zero.
    ///
    /// # Panics
    /// Where the id is not above zero.
    pub fn name(&self, chat: i64, name: &str, language: &str) {
        self.with(|state| state.name(chat, name, language));
    }

    /// A person writes to the bot, as pressing Start does with `/start <token>`. There is a chat then, and the bot may
    /// write in it. The message's id.
    ///
    /// # Panics
    /// Where the id is not above zero.
    pub fn write(&self, chat: i64, text: &str) -> u64 {
        self.with(|state| state.write(chat, text))
    }

    /// A person presses the button with this data below a message. The press's id (`callback_query_id`), or nothing if
    /// there is no such button.
    pub fn press(&self, chat: i64, message: u64, data: &str) -> Option<u64> {
        self.with(|state| state.press(chat, message, data))
    }

    /// A person blocks the bot: it cannot write there, until they write to it or [`Bot::unblock`] it.
    pub fn block(&self, chat: i64) {
        self.with(|state| state.block(chat, true));
    }

    pub fn unblock(&self, chat: i64) {
        self.with(|state| state.block(chat, false));
    }

    /// The last thousand messages of a chat, the bot's and the person's, in their order.
    pub fn messages(&self, chat: i64) -> Vec<Message> {
        self.state().chats.get(&chat).map(|chat| chat.messages.iter().cloned().collect()).unwrap_or_default()
    }

    /// What was shown for a moment to who pressed buttons; empty where the bot said nothing.
    pub fn answers(&self, chat: i64) -> Vec<String> {
        self.state().chats.get(&chat).map(|chat| chat.answers.iter().cloned().collect()).unwrap_or_default()
    }

    /// From now on `rule` says what happens to a call of this method (`sendMessage`) about this chat (0 where it is about
    /// none).
    pub fn set_fault(&self, rule: impl Fn(&str, i64) -> Fault + Send + Sync + 'static) {
        self.state().rule = Arc::new(rule);
    }

    pub fn set_limits(&self, limits: Limits) {
        self.state().limits = limits;
    }

    /// How many updates are under way to the bot, or could be sent now. Those that it did not take wait for their time.
    pub fn updates_pending(&self) -> usize {
        let mut state = self.state();
        state.now_ms = (state.settings.clock)();
        state.pending()
    }

    /// How many updates the bot has not taken.
    pub fn updates_left(&self) -> usize {
        self.state().updates.len()
    }

    /// Looks at the clock again.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no call panics while it holds the state")
    }

    /// Does something with the state, writes it, and lets updates go.
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.now_ms = (state.settings.clock)();
        let done = act(&mut state);
        if let Err(error) = state.flush() {
            tracing::error!(%error, "the sandbox cannot write its database");
        }
        let is_due = state.next_due_ms().is_some();
        drop(state);
        if is_due {
            self.wake();
        }
        done
    }

    async fn woken(&self) {
        self.0.wake.notified().await;
    }
}
