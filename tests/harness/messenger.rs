//! A messenger that writes down what it is sent, and fails as it is told. This is the one place that says which messenger a
//! test's box office has.

use crate::TestApp;
use axum::Router;
use boxoffice::Options;
use boxoffice::host::{Code, Functions, Reply, Starts};
use domain::chats::{Chat, ChatRef, ChatState, EMAIL};
use domain::ids::UserId;
use platform::App;
use platform::messenger::{Messenger, Outgoing, SendError, Sent};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

/// What the recording messenger is called.
const NAME: &str = "notebook";

/// Clones are one messenger.
#[derive(Clone, Default)]
pub struct Notebook(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    sent: Vec<(String, Outgoing)>,
    /// What the next attempts at a chat end with.
    faults: BTreeMap<String, VecDeque<SendError>>,
    attempts: BTreeMap<String, usize>,
}

impl Notebook {
    /// The next messages to this chat end so, one after the other.
    pub fn fail(&self, chat: &str, faults: impl IntoIterator<Item = SendError>) {
        self.pages().faults.entry(chat.to_owned()).or_default().extend(faults);
    }

    /// What was written into a chat.
    pub fn of(&self, chat: &str) -> Vec<Outgoing> {
        self.pages().sent.iter().filter(|(at, _)| at == chat).map(|(_, message)| message.clone()).collect()
    }

    /// How often a message to a chat was tried.
    pub fn attempts(&self, chat: &str) -> usize {
        self.pages().attempts.get(chat).copied().unwrap_or(0)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().expect("no panic holds this lock")
    }
}

impl Messenger for Notebook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn send<'a>(&'a self, chat: &'a str, message: &'a Outgoing) -> Sent<'a, ()> {
        let mut pages = self.pages();
        *pages.attempts.entry(chat.to_owned()).or_default() += 1;
        let fault = pages.faults.get_mut(chat).and_then(VecDeque::pop_front);
        if fault.is_none() {
            pages.sent.push((chat.to_owned(), message.clone()));
        }
        Box::pin(std::future::ready(fault.map_or(Ok(()), Err)))
    }

    fn answer<'a>(&'a self, _: &'a str, _: &'a str) -> Sent<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn deep_link(&self, token: &str) -> Result<String, SendError> {
        Ok(format!("https://notebook.test/{token}"))
    }
}

/// The functions of this repository, given this messenger.
struct WithMessenger(Notebook);

impl WithMessenger {
    fn given(&self, mut app: App) -> App {
        app.messengers.retain(|known| known.name() == EMAIL);
        app.messengers.push(Arc::new(self.0.clone()));
        app
    }
}

impl Code for WithMessenger {
    fn kind(&self, handler: &str) -> Option<Starts> {
        Functions.kind(handler)
    }

    fn router(&self, handler: &str, app: App) -> Option<Router> {
        Functions.router(handler, self.given(app))
    }

    fn openapi(&self, app: &App) -> Option<String> {
        Functions.openapi(app)
    }

    fn invoke(&self, handler: &str, app: App, event: Value) -> Reply {
        Functions.invoke(handler, self.given(app), event)
    }
}

impl TestApp {
    /// A box office with a messenger that writes down what it is sent.
    pub async fn start_with_messenger() -> (Self, Notebook) {
        Self::start_with_messenger_and(crate::options()).await
    }

    pub async fn start_with_messenger_and(options: Options) -> (Self, Notebook) {
        let notebook = Notebook::default();
        let options = Options { code: Arc::new(WithMessenger(notebook.clone())), ..options };
        (Self::start_with(options).await, notebook)
    }

    /// Links a chat of the recording messenger with an account.
    pub async fn link_chat(&self, user: UserId, chat: &str) {
        let app = self.app("notify");
        let at = ChatRef::new(NAME, chat).expect("a test names a chat");
        let chat = Chat { at, user, name: chat.into(), state: ChatState::Linked, linked_at: app.now(), v: 1 };
        app.chats.link(&chat, None).await.expect("nobody has it");
    }

    /// Whether we may write to a chat of the recording messenger, as far as we know.
    pub async fn chat_state(&self, chat: &str) -> ChatState {
        let at = ChatRef::new(NAME, chat).expect("a test names a chat");
        self.app("notify").chats.get(&at).await.expect("the table answers").expect("it is linked").state
    }
}
