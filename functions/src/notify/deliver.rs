//! Writing one message of a notice into one chat: when its person wants it, when it is its turn, and once. Nobody waits here: what
//! is for later goes back to the queue with what it has.

use super::picture;
use crate::Error;
use crate::notices::{Delivery, send};
use domain::chats::{Chat, ChatRef, ChatState};
use domain::notices::{Notice, Text, deliver_at};
use domain::texts::Locale;
use jiff::{SignedDuration, Timestamp};
use platform::messenger::{Button, Messenger, Outgoing, SendError};
use platform::store::{Claim, Ended, Message, Pace, StoreError};
use platform::{App, telemetry};
use std::sync::Arc;
use std::time::Duration;

/// How far messages to one chat are apart.
const CHAT_APART_MILLISECONDS: i64 = 1_000;
/// How long a turn is good for: what comes later takes another, so that what a slow queue held back is no flood.
const TURN_SECONDS_MAX: i64 = 5;
/// How long whoever sends a message has it for itself: longer than an invocation (`Timeout` of `notify` in template.yaml).
const CLAIM_SECONDS: i64 = 60;
/// Attempts without an answer after which a message is left to the queue's own pace, and so to its dead letters at last.
const QUICK_ATTEMPTS_MAX: u32 = 4;
/// Seconds before the second attempt; they double with each.
const RETRY_SECONDS: i64 = 5;
/// The longest that SQS delays a message.
const DELAY_SECONDS_MAX: i64 = 900;

pub async fn deliver(app: &App, ask: Delivery) -> Result<(), Error> {
    let now = app.now();
    let Some(notice) = app.notices.get(ask.user, ask.notice).await? else { return Ok(()) };
    let Some(to) = To::of(app, &ask).await? else { return Ok(()) };
    let settings = app.notices.settings(ask.user).await?;
    let at = deliver_at(&settings, &notice.kind, now).filter(|_| !notice.is_outdated(now));
    let message = Message { notice: ask.notice, chat: &ask.chat, part: ask.part };
    let Some(at) = at else {
        return app.notices.end(&message, Ended::Failed, now).await.map_err(Error::from);
    };
    if at > now {
        return again(app, Delivery { chat_turn: None, turn: None, ..ask }, at, now).await;
    }
    // Before its turns are taken, since what was sent needs none.
    if ask.turn.is_none() && app.notices.has_ended(&message).await? {
        return Ok(());
    }
    // That there is no such messenger may be the operator's mistake: the chat stays linked.
    let messenger = app.messenger(ask.chat.messenger()).await.map_err(Error::new)?;
    let Some(messenger) = messenger.filter(|_| !matches!(to, To::Unreachable)) else {
        return elsewhere(app, &ask).await;
    };
    let (ask, turn) = turns(app, ask, messenger.apart(), now).await?;
    if turn > now {
        return again(app, ask, turn, now).await;
    }
    one(app, &messenger, &ask, &notice, to).await
}

/// Whom a message is for.
enum To {
    Chat(Chat),
    /// A chat that cannot be written to, as something before this has found.
    Unreachable,
    Address(String),
}

impl To {
    /// None where the chat is not theirs any more.
    async fn of(app: &App, ask: &Delivery) -> Result<Option<Self>, Error> {
        if ask.chat.is_email() {
            return Ok(app.accounts.get(ask.user).await?.map(|account| Self::Address(account.email)));
        }
        let chat = app.chats.get(&ask.chat).await?;
        Ok(chat.filter(|chat| chat.user == ask.user).map(|chat| match chat.state {
            ChatState::Linked => Self::Chat(chat),
            ChatState::Unreachable => Self::Unreachable,
        }))
    }

    /// As their messenger names them.
    fn name(&self) -> &str {
        match self {
            Self::Chat(chat) => chat.at.id(),
            Self::Unreachable => "",
            Self::Address(address) => address,
        }
    }
}

/// The turns of a message, in its chat and then at the messenger, and the later of them. Those that it has are kept while they
/// are good; a chat's turn that is for later takes none at the messenger, which others could use meanwhile.
async fn turns(
    app: &App,
    ask: Delivery,
    apart: SignedDuration,
    now: Timestamp,
) -> Result<(Delivery, Timestamp), Error> {
    let good = |turn: Option<Timestamp>| turn.filter(|turn| now.duration_since(*turn).as_secs() <= TURN_SECONDS_MAX);
    let chat_turn = match good(ask.chat_turn) {
        Some(turn) => turn,
        None => {
            let apart = SignedDuration::from_millis(CHAT_APART_MILLISECONDS);
            app.notices.turn(&Pace::Chat(&ask.chat), apart, now).await?
        }
    };
    if chat_turn > now {
        return Ok((Delivery { chat_turn: Some(chat_turn), turn: None, ..ask }, chat_turn));
    }
    let turn = match good(ask.turn) {
        Some(turn) => turn,
        None => app.notices.turn(&Pace::Messenger(ask.chat.messenger()), apart, now).await?,
    };
    Ok((Delivery { chat_turn: Some(chat_turn), turn: Some(turn), ..ask }, turn))
}

/// Puts a message back until then, or for as long as SQS keeps one back.
async fn again(app: &App, ask: Delivery, at: Timestamp, now: Timestamp) -> Result<(), Error> {
    let wait = at.duration_since(now);
    let seconds = wait.as_secs() + i64::from(wait.subsec_nanos() > 0);
    let delay = u16::try_from(seconds.clamp(1, DELAY_SECONDS_MAX)).expect("SQS's longest delay fits");
    send(app, vec![ask.message(delay)]).await
}

/// Sends one message whose turn it is, unless somebody did or is at it.
async fn one(app: &App, messenger: &Arc<dyn Messenger>, ask: &Delivery, notice: &Notice, to: To) -> Result<(), Error> {
    let (now, message) = (app.now(), Message { notice: ask.notice, chat: &ask.chat, part: ask.part });
    let Some(outgoing) = compose(app, notice, ask).await? else {
        return app.notices.end(&message, Ended::Failed, now).await.map_err(Error::from);
    };
    let until = now + SignedDuration::from_secs(CLAIM_SECONDS);
    let (attempt, repeated) = match app.notices.claim(&message, until, now).await? {
        Claim::Ended => return Ok(()),
        Claim::Others(until) => {
            return again(app, Delivery { chat_turn: None, turn: None, ..ask.clone() }, until, now).await;
        }
        Claim::Mine { attempt, repeated } => (attempt, repeated),
    };
    if repeated {
        // One before it had no answer: this one may be the second that its reader sees.
        count(app, "NoticesRepeated");
    }
    let outgoing = Outgoing { id: message.name(), at: notice.at, ..outgoing };
    let sent = messenger.send(to.name(), &outgoing).await;
    settle(app, ask, sent, attempt, to).await
}

/// Says what became of a message, and what follows.
async fn settle(app: &App, ask: &Delivery, sent: Result<(), SendError>, attempt: u32, to: To) -> Result<(), Error> {
    let (now, message) = (app.now(), Message { notice: ask.notice, chat: &ask.chat, part: ask.part });
    let anew = || Delivery { chat_turn: None, turn: None, ..ask.clone() };
    let end = async |ended| app.notices.end(&message, ended, now).await;
    let error = match sent {
        Ok(()) => {
            count(app, "NoticesSent");
            return end(Ended::Sent).await.map_err(Error::from);
        }
        Err(error) => error,
    };
    match &error {
        SendError::TooMany(wait) => {
            let until = now + whole_seconds(*wait);
            end(Ended::Waiting).await?;
            // Only this chat waits: what is for others goes on.
            app.notices.pause(&Pace::Chat(&ask.chat), until, now).await?;
            again(app, anew(), until, now).await
        }
        SendError::Resting(wait) => {
            end(Ended::Waiting).await?;
            again(app, anew(), now + whole_seconds(*wait), now).await
        }
        SendError::Unknown(_) => {
            end(Ended::Unknown).await?;
            if attempt > QUICK_ATTEMPTS_MAX {
                return Err(Error::new(error));
            }
            tracing::info!(%error, attempt, "a notice is sent again");
            let wait = SignedDuration::from_secs(RETRY_SECONDS << (attempt - 1));
            again(app, anew(), now + wait, now).await
        }
        SendError::Unreachable(_) => {
            if let To::Chat(chat) = to {
                unreachable_chat(app, chat).await?;
            }
            elsewhere(app, ask).await
        }
        SendError::Refused(_) => {
            tracing::error!(notice = %ask.notice, %error, "a notice was refused");
            count(app, "NoticesRefused");
            end(Ended::Failed).await.map_err(Error::from)
        }
        SendError::Misconfigured(_) => {
            end(Ended::Waiting).await?;
            Err(Error::new(error))
        }
    }
}

/// A chat that we may not write to any more gets nothing until its person links it again.
async fn unreachable_chat(app: &App, chat: Chat) -> Result<(), Error> {
    count(app, "ChatsUnreachable");
    let next = Chat { state: ChatState::Unreachable, v: chat.v + 1, ..chat };
    match app.chats.save(&next).await {
        // Somebody linked or unlinked it meanwhile: what they wrote holds.
        Ok(()) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What cannot be written there goes to the other chats of its person, where it is not already, or to their address, and is in
/// their list in any case. It counts as failed when that is on its way, and not before.
async fn elsewhere(app: &App, ask: &Delivery) -> Result<(), Error> {
    let chats = app.chats.of_user(ask.user).await?;
    let others = chats.into_iter().filter(|chat| chat.state == ChatState::Linked && chat.at != ask.chat);
    let instead = |chat, part| Delivery { chat, part, chat_turn: None, turn: None, ..ask.clone() }.message(0);
    let mut others: Vec<_> = others.map(|chat| instead(chat.at, ask.part)).collect();
    if others.is_empty() && !ask.chat.is_email() && app.writes_email() {
        others.push(instead(ChatRef::email_of(ask.user), 0));
    }
    if others.is_empty() {
        count(app, "NoticesUnreached");
    }
    send(app, others).await?;
    let message = Message { notice: ask.notice, chat: &ask.chat, part: ask.part };
    Ok(app.notices.end(&message, Ended::Failed, app.now()).await?)
}

/// The message, in its reader's language; none if it is not needed any more. An e-mail is the whole notice.
async fn compose(app: &App, notice: &Notice, ask: &Delivery) -> Result<Option<Outgoing>, Error> {
    let part = ask.part;
    let account = app.accounts.get(notice.user).await?;
    let locale = account.map_or_else(Locale::default, |account| Locale::of_tag(&account.locale));
    let Text { html, links } = notice.part_text(part, locale);
    let parts = if ask.chat.is_email() { 0..notice.parts() } else { part..part + 1 };
    let mut pictures = Vec::new();
    for index in parts.filter_map(|part| notice.part_ticket(part)) {
        if let Some(order) = notice.kind.order() {
            pictures.extend(picture::of_ticket(app, notice.user, order, index).await?);
        }
    }
    // A message of a code alone says nothing without it; the ticket was given back meanwhile.
    if part > 0 && pictures.is_empty() {
        return Ok(None);
    }
    let base = app.config.get("PUBLIC_URL")?;
    let button = |link: domain::notices::Link| Button::Link { text: link.text, url: format!("{base}{}", link.path) };
    let buttons = links.into_iter().map(|link| vec![button(link)]).collect();
    Ok(Some(Outgoing { html, buttons, pictures, ..Outgoing::default() }))
}

fn whole_seconds(wait: Duration) -> SignedDuration {
    let seconds = i64::try_from(wait.as_secs()).unwrap_or(DELAY_SECONDS_MAX);
    SignedDuration::from_secs(seconds + i64::from(wait.subsec_nanos() > 0))
}

fn count(app: &App, name: &str) {
    telemetry::count(app.now(), &[(name, 1)], None);
}
