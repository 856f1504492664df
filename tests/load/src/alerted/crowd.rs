//! Those who wait.

use super::because;
use crate::Failed;
use domain::alerts::{Alert, Scope, When};
use domain::chats::{Chat, ChatRef, ChatState};
use domain::ids::{AlertId, UserId};
use domain::subscriptions::perks::PRIORITY_MAX;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use platform::App;
use platform::messenger::telegram::NAME;
use sandbox::telegram::Bot;
use tests::TestApp;

/// People that are written at the same time.
const MADE_AT_ONCE_MAX: usize = 32;
/// One in so many is ahead by a subscription.
const SUBSCRIBERS_ONE_IN: u64 = 10;
/// How long after each other they asked to be told.
const APART_MILLISECONDS: i64 = 250;
/// The first of them asked so long ago.
const ASKED_DAYS_AGO: i64 = 30;
/// Their chats' numbers begin behind this.
const CHAT_MIN: i64 = 1_000_000;
const SEED: u64 = 6;

/// One of them.
pub struct Waiting {
    pub user: UserId,
    pub chat: i64,
    pub alert: Alert,
}

pub struct Crowd {
    pub people: Vec<Waiting>,
}

impl Crowd {
    /// Writes so many into the table, each with a chat and an alert for the sale of this event.
    pub async fn gather(app: &TestApp, bot: &Bot, event: &str, count: usize) -> Result<Self, Failed> {
        let scope = Scope::Event(event.parse().map_err(because)?);
        let mut rng = fastrand::Rng::with_seed(SEED);
        let first = app.running.now() - SignedDuration::from_hours(24 * ASKED_DAYS_AGO);
        let mut people = Vec::with_capacity(count);
        for number in 0..count {
            let priority = if rng.u64(..SUBSCRIBERS_ONE_IN) == 0 { rng.u8(1..=PRIORITY_MAX) } else { 0 };
            let user = UserId(rng.u128(..));
            let alert = Alert {
                id: AlertId(rng.u128(..)),
                user,
                scope: scope.clone(),
                when: When::OnSale,
                quantity: 2,
                price_max: None,
                sections: Vec::new(),
                standing: false,
                priority,
                created_at: first + SignedDuration::from_millis(APART_MILLISECONDS * number as i64),
                request: "load".into(),
                ended_at: None,
            };
            people.push(Waiting { user, chat: CHAT_MIN + number as i64, alert });
        }
        let own = app.app("messenger");
        let written = stream::iter(&people).map(|waiting| write(&own, bot, waiting));
        written.buffer_unordered(MADE_AT_ONCE_MAX).try_for_each(async |()| Ok(())).await?;
        Ok(Self { people })
    }
}

async fn write(app: &App, bot: &Bot, waiting: &Waiting) -> Result<(), Failed> {
    link(app, bot, waiting.user, waiting.chat, waiting.alert.created_at).await?;
    app.alerts.put_new(&waiting.alert, 0).await.map_err(because)
}

/// Gives somebody a chat.
pub async fn link(app: &App, bot: &Bot, user: UserId, chat: i64, linked_at: Timestamp) -> Result<(), Failed> {
    let name = format!("Person {chat}");
    bot.name(chat, &name, "en");
    let at = ChatRef::new(NAME, &chat.to_string()).map_err(because)?;
    let chat = Chat { at, user, name, state: ChatState::Linked, linked_at, v: 1 };
    app.chats.link(&chat, None).await.map_err(because)
}
