//! The messenger's sandbox: Telegram's Bot API, with the chats on a page.

use crate::error::Error;
use crate::sandboxes::Sandbox;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use bytes::Bytes;
use platform::secrets::Secrets;
use platform::transport::{Answer, Internet, NoAnswer, Transport};
use platform::{Clock, Config, messenger};
use sandbox::telegram::{Bot, Settings};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

/// The bot's user name on this machine.
pub const BOT: &str = "boxoffice_bot";
/// Where the function listens that the bot's updates are for.
pub const WEBHOOK_PATH: &str = "/messenger/telegram/webhook";
/// An answer about a webhook is a few words.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where a bot is, other than in the sandbox.
#[derive(Clone, Debug)]
pub struct BotApi {
    /// Where the Bot API answers, without a slash at the end.
    pub url: String,
    /// The bot's token there.
    pub token: String,
}

/// A sandbox that runs.
pub struct Telegram {
    /// Where the Bot API answers; the sandbox's chats are at `/chats`.
    pub url: String,
    /// The sandbox's, with which nobody talks where the API is another's.
    pub bot: Bot,
    way: Arc<dyn Transport>,
    _server: Sandbox,
}

impl Telegram {
    /// Starts it for a bot with this token. Without a database its chats go with the process. `other` is used instead, if there
    /// is one.
    pub fn start(token: String, database: Option<PathBuf>, clock: Clock, other: Option<BotApi>) -> Result<Self, Error> {
        let clock = Arc::new(move || clock.now().as_millisecond());
        let settings = Settings { token, username: BOT.to_owned(), database, clock };
        let bot = Bot::open(settings).map_err(|error| Error::Sandbox(error.to_string()))?;
        let served = bot.clone();
        let server = Sandbox::start(move |listener| served.serve(listener, std::future::pending()))?;
        let (url, way): (_, Arc<dyn Transport>) = match other {
            Some(api) => (api.url, Arc::new(Internet::default())),
            None => (server.url.clone(), Arc::new(Here(bot.clone()))),
        };
        Ok(Self { url, bot, way, _server: server })
    }

    /// Has updates sent to the box office that listens at this port, with the call that anybody makes at Telegram itself.
    pub async fn set_webhook(&self, port: u16, secrets: Secrets) -> Result<(), Error> {
        let settings = [
            ("TELEGRAM_API_BASE", self.url.as_str()),
            ("TELEGRAM_TOKEN", "TelegramTokenSecret"),
            ("TELEGRAM_WEBHOOK_SECRET", "TelegramWebhookSecret"),
        ];
        let settings: BTreeMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let client = messenger::Telegram::new(&Config::from_map(settings), secrets, self.way.clone());
        let set = client.set_webhook(&format!("http://127.0.0.1:{port}{WEBHOOK_PATH}")).await;
        set.map_err(|error| Error::Sandbox(error.to_string()))
    }
}

/// The way to the sandbox within this process: a start waits for no socket, and no bad wire of a test is in it.
struct Here(Bot);

impl Transport for Here {
    fn send(&self, request: Request<Bytes>, _: Duration) -> Answer<'_> {
        Box::pin(async move {
            let answer = self.0.router().oneshot(request.map(Body::from)).await;
            let (head, body) = answer.unwrap_or_else(|never| match never {}).into_parts();
            let body = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|error| NoAnswer(error.to_string()))?;
            Ok(Response::from_parts(head, body))
        })
    }
}
