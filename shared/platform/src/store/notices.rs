//! Notices, in the table of that name: `pk = user`, `sk = "notice#" + id` is a notice, written once; `pk = user`, `sk =
//! "settings"` a person's wishes; `pk = notice`, `sk = chat#part` a mark of what became of one message of it; `pk = "pace#" +
//! messenger | chat`, `sk = "pace"` when the next message may be sent there.

use super::{Db, Item, StoreError, failure, from_item, number, text, to_item};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::chats::ChatRef;
use domain::ids::{NoticeId, UserId};
use domain::notices::{Notice, Settings};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;

/// Days that a notice is kept.
const NOTICE_DAYS: i64 = 400;
/// Days that it is known what became of a message: longer than anybody tries.
const MARK_DAYS: i64 = 35;
/// Days that a chat's pace is kept after its last message.
const PACE_DAYS: i64 = 1;
/// Notices of one person that a page of them looks through. Whoever has more misses some, until they are too old.
const LISTED_MAX: usize = 5_000;
/// Tries at a turn that lose to the clock or to others before the table counts as busy.
const TURN_TRIES_MAX: usize = 10;
const SETTINGS: &str = "settings";
const PACE: &str = "pace";

#[derive(Clone)]
pub struct Notices(pub Db);

/// One message of a notice to one chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub notice: NoticeId,
    pub chat: &'a ChatRef,
    pub part: u8,
}

impl Message<'_> {
    /// What a messenger knows it by, the same however often it is sent. Which of the person's chats it is for, is said by the
    /// beginning of the chat's hash.
    pub fn name(&self) -> String {
        format!("{}-{}-{}", self.notice, self.part, short(self.chat))
    }
}

/// The beginning of a chat's hash.
fn short(chat: &ChatRef) -> String {
    Sha256::digest(chat.to_string())[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What became of a message that its messenger took, as that says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    Delivered,
    /// Its person did not get it, for this reason.
    Failed(String),
}

/// How sending a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was not written, and may be tried again.
    Waiting,
    /// Whether it was written is not known: it is tried again.
    Unknown,
    Sent,
    /// It will not be written.
    Failed,
}

impl Ended {
    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Unknown => "unknown",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

/// Whether a message may be sent by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Yes, as the `attempt`th, from 1. `repeated`: one before it may have been written.
    Mine { attempt: u32, repeated: bool },
    /// Somebody is at it, and has until then.
    Others(Timestamp),
    /// It was written, or never will be.
    Ended,
}

/// Whose limit a turn is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pace<'a> {
    /// All messages to a messenger.
    Messenger(&'a str),
    Chat(&'a ChatRef),
}

impl Pace<'_> {
    fn key(&self) -> String {
        match self {
            Self::Messenger(name) => format!("pace#{name}"),
            Self::Chat(chat) => format!("pace#{chat}"),
        }
    }
}

#[derive(Deserialize)]
struct Mark {
    state: String,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    until_ms: i64,
}

impl Notices {
    /// Writes a notice once; what is there of its id already, where it is.
    pub async fn put_new(&self, notice: &Notice) -> Result<Result<(), Notice>, StoreError> {
        let mut item = to_item(notice);
        item.insert("pk".into(), text(notice.user.to_string()));
        item.insert("sk".into(), text(notice_key(notice.id)));
        item.insert("ttl".into(), in_days(notice.at, NOTICE_DAYS));
        self.0.put_new(item).await
    }

    pub async fn get(&self, user: UserId, id: NoticeId) -> Result<Option<Notice>, StoreError> {
        self.0.get(user.to_string(), notice_key(id)).await
    }

    /// A person's notices from after `after`, the latest first, and the cursor of the rest. Their keys do not tell the time,
    /// since their causes determine them, so all of them are read: some hundred of less than 1 KB each, at half a read unit
    /// for 4 KB, which costs less than an index that each write would pay for.
    pub async fn page(
        &self,
        user: UserId,
        limit: usize,
        after: Option<(Timestamp, NoticeId)>,
    ) -> Result<(Vec<Notice>, Option<String>), StoreError> {
        let (mut notices, mut start) = (Vec::<Notice>::new(), None);
        loop {
            let request = self.0.client.query().table_name(self.0.table()?).set_exclusive_start_key(start);
            let request = request.key_condition_expression("pk = :pk AND begins_with(sk, :notice)");
            let request = request.expression_attribute_values(":pk", text(user.to_string()));
            let request = request.expression_attribute_values(":notice", text("notice#"));
            let reply = request.send().await.map_err(failure)?;
            for item in reply.items.unwrap_or_default() {
                notices.push(from_item(item)?);
            }
            start = reply.last_evaluated_key;
            if start.is_none() || notices.len() >= LISTED_MAX {
                break;
            }
        }
        notices.sort_by_key(|notice| Reverse(place(notice)));
        notices.retain(|notice| after.is_none_or(|after| place(notice) < after));
        let more = notices.len() > limit;
        notices.truncate(limit);
        let next = notices.last().filter(|_| more).map(|last| format!("{}#{}", last.at, last.id));
        Ok((notices, next))
    }

    /// A person's wishes, or what holds for who has said none.
    pub async fn settings(&self, user: UserId) -> Result<Settings, StoreError> {
        Ok(self.0.get(user.to_string(), SETTINGS.into()).await?.unwrap_or_default())
    }

    /// Writes a person's wishes, whatever they were.
    pub async fn put_settings(&self, user: UserId, settings: &Settings) -> Result<(), StoreError> {
        let mut item = to_item(settings);
        item.insert("pk".into(), text(user.to_string()));
        item.insert("sk".into(), text(SETTINGS));
        let request = self.0.client.put_item().table_name(self.0.table()?).set_item(Some(item));
        request.send().await.map_err(failure)?;
        Ok(())
    }

    /// Whether nothing is to be done about a message any more.
    pub async fn has_ended(&self, message: &Message<'_>) -> Result<bool, StoreError> {
        let mark: Option<Mark> = self.0.get(message.notice.to_string(), mark_key(message)).await?;
        Ok(mark.is_some_and(|mark| is_ended(&mark.state)))
    }

    /// Takes a message for oneself until `until`: whoever sends one has taken it before, so that two do not send the same,
    /// and so that it is known when one may have been sent by somebody who is gone.
    pub async fn claim(&self, message: &Message<'_>, until: Timestamp, now: Timestamp) -> Result<Claim, StoreError> {
        let request = self.mark(message, "sending", now)?;
        let request =
            request.update_expression("SET #state = :state, until_ms = :until, #ttl = :ttl ADD attempts :one");
        let free =
            "attribute_not_exists(pk) OR #state IN (:waiting, :unknown) OR (#state = :state AND until_ms <= :now)";
        let request = request.condition_expression(free);
        let request = request.expression_attribute_values(":waiting", text(Ended::Waiting.name()));
        let request = request.expression_attribute_values(":unknown", text(Ended::Unknown.name()));
        let request = request.expression_attribute_values(":until", number(milliseconds(until)));
        let request = request.expression_attribute_values(":now", number(milliseconds(now)));
        let request = request.expression_attribute_values(":one", number(1));
        let request = request.return_values(ReturnValue::AllOld);
        match conditional(request).await? {
            Ok(old) => {
                // Of what was not there, the embedded engine gives the key that it has now.
                let old = old.filter(|old| old.contains_key("state")).map(from_item::<Mark>).transpose()?;
                let attempt = old.as_ref().map_or(0, |old| old.attempts) + 1;
                let repeated = old.is_some_and(|old| old.state != Ended::Waiting.name());
                Ok(Claim::Mine { attempt, repeated })
            }
            Err(old) => {
                let old: Mark = from_item(old)?;
                Ok(if is_ended(&old.state) { Claim::Ended } else { Claim::Others(instant(old.until_ms)) })
            }
        }
    }

    /// Says how sending a message that one has claimed ended, or that one is not needed.
    pub async fn end(&self, message: &Message<'_>, ended: Ended, now: Timestamp) -> Result<(), StoreError> {
        let request = self.mark(message, ended.name(), now)?;
        let request = request.update_expression("SET #state = :state, #ttl = :ttl REMOVE until_ms");
        // Whoever slept may find it sent by somebody else meanwhile: that stays true.
        let request = request.condition_expression("attribute_not_exists(pk) OR NOT #state IN (:sent, :failed)");
        let request = request.expression_attribute_values(":sent", text(Ended::Sent.name()));
        let request = request.expression_attribute_values(":failed", text(Ended::Failed.name()));
        conditional(request).await.map(drop)
    }

    /// Keeps what a messenger says of a message, by the name that it was posted under; false if there was none. Who has it was
    /// sent it, even if our post had no answer.
    pub async fn receive(
        &self,
        messenger: &str,
        name: &str,
        receipt: &Receipt,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some((notice, chat, part)) = self.posted(messenger, name).await? else { return Ok(false) };
        let message = Message { notice, chat: &chat, part };
        let told = match receipt {
            Receipt::Delivered => "delivered".to_owned(),
            Receipt::Failed(reason) => format!("failed: {reason}"),
        };
        let request = self.mark(&message, Ended::Sent.name(), now)?;
        let request = request.update_expression("SET #state = :state, #ttl = :ttl, receipt = :receipt REMOVE until_ms");
        let request = request.condition_expression("attribute_exists(pk)");
        Ok(conditional(request.expression_attribute_values(":receipt", text(told))).await?.is_ok())
    }

    /// Which message of which chat of a messenger has this name, if one was sent.
    async fn posted(&self, messenger: &str, name: &str) -> Result<Option<(NoticeId, ChatRef, u8)>, StoreError> {
        #[derive(Deserialize)]
        struct Listed {
            sk: String,
        }
        let mut parts = name.splitn(3, '-');
        let notice = parts.next().and_then(|notice| notice.parse::<NoticeId>().ok());
        let part = parts.next().and_then(|part| part.parse::<u8>().ok());
        let (Some(notice), Some(part), Some(hash)) = (notice, part, parts.next()) else { return Ok(None) };
        // A few messages in each of a few chats.
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true);
        let request = request.key_condition_expression("pk = :pk AND begins_with(sk, :messenger)");
        let request = request.expression_attribute_values(":pk", text(notice.to_string()));
        let request = request.expression_attribute_values(":messenger", text(format!("{messenger}:")));
        for item in request.send().await.map_err(failure)?.items.unwrap_or_default() {
            let Listed { sk } = from_item(item)?;
            let chat = sk.rsplit_once('#').filter(|(_, of)| *of == part.to_string()).map(|(chat, _)| chat);
            let chat = chat.and_then(|chat| chat.parse::<ChatRef>().ok()).filter(|chat| short(chat) == hash);
            if let Some(chat) = chat {
                return Ok(Some((notice, chat, part)));
            }
        }
        Ok(None)
    }

    fn mark(&self, message: &Message<'_>, state: &str, now: Timestamp) -> Result<UpdateItemFluentBuilder, StoreError> {
        let request = self.0.client.update_item().table_name(self.0.table()?);
        let request = request.key("pk", text(message.notice.to_string())).key("sk", text(mark_key(message)));
        let request = request.expression_attribute_names("#state", "state").expression_attribute_names("#ttl", "ttl");
        let request = request.expression_attribute_values(":state", text(state));
        Ok(request.expression_attribute_values(":ttl", in_days(now, MARK_DAYS)))
    }

    /// Takes the next turn: the moment from which a message may be sent, now or later, so that turns of one pace are
    /// `apart` from each other whoever takes them. One write, or two where the pace was the other than it seemed.
    pub async fn turn(&self, of: &Pace<'_>, apart: SignedDuration, now: Timestamp) -> Result<Timestamp, StoreError> {
        let apart_ms = u64::try_from(apart.as_millis()).unwrap_or(0);
        // A messenger is busy when it matters, a chat mostly is not.
        let mut is_busy = matches!(of, Pace::Messenger(_));
        for _ in 0..TURN_TRIES_MAX {
            let request = self.pace(of, now)?.expression_attribute_values(":now", number(milliseconds(now)));
            let taken = if is_busy {
                let request = request.update_expression("SET #ttl = :ttl ADD next_ms :apart");
                let request = request.condition_expression("next_ms > :now").return_values(ReturnValue::UpdatedNew);
                conditional(request.expression_attribute_values(":apart", number(apart_ms))).await?
            } else {
                let request = request.update_expression("SET #ttl = :ttl, next_ms = :next");
                let request = request.condition_expression("attribute_not_exists(pk) OR next_ms <= :now");
                conditional(request.expression_attribute_values(":next", number(milliseconds(now) + apart_ms))).await?
            };
            match taken {
                Ok(new) if is_busy => {
                    #[derive(Deserialize)]
                    struct Next {
                        next_ms: i64,
                    }
                    let Next { next_ms } = from_item(new.unwrap_or_default())?;
                    return Ok(instant(next_ms).checked_sub(apart).unwrap_or(now));
                }
                Ok(_) => return Ok(now),
                Err(_) => is_busy = !is_busy,
            }
        }
        Err(StoreError::Throttled("a pace changed faster than a turn could be taken".into()))
    }

    /// When the next turn is, if somebody took it now.
    pub async fn next_turn(&self, of: &Pace<'_>, now: Timestamp) -> Result<Timestamp, StoreError> {
        #[derive(Deserialize)]
        struct Next {
            next_ms: i64,
        }
        let next = self.0.get::<Next>(of.key(), PACE.to_owned()).await?;
        Ok(next.map_or(now, |next| instant(next.next_ms).max(now)))
    }

    /// No turn of this pace before `until`: the messenger said so.
    pub async fn pause(&self, of: &Pace<'_>, until: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let request = self.pace(of, until.max(now))?.update_expression("SET #ttl = :ttl, next_ms = :until");
        let request = request.condition_expression("attribute_not_exists(pk) OR next_ms < :until");
        let request = request.expression_attribute_values(":until", number(milliseconds(until)));
        conditional(request).await.map(drop)
    }

    fn pace(&self, of: &Pace<'_>, now: Timestamp) -> Result<UpdateItemFluentBuilder, StoreError> {
        let request = self.0.client.update_item().table_name(self.0.table()?);
        let request = request.key("pk", text(of.key())).key("sk", text(PACE)).expression_attribute_names("#ttl", "ttl");
        Ok(request.expression_attribute_values(":ttl", in_days(now, PACE_DAYS)))
    }
}

/// What an update gives, or the item that its condition did not hold for.
async fn conditional(request: UpdateItemFluentBuilder) -> Result<Result<Option<Item>, Item>, StoreError> {
    let request = request.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    match request.send().await {
        Ok(reply) => Ok(Ok(reply.attributes)),
        Err(SdkError::ServiceError(error))
            if matches!(error.err(), UpdateItemError::ConditionalCheckFailedException(_)) =>
        {
            let UpdateItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                unreachable!("it was one")
            };
            Ok(Err(failed.item.unwrap_or_default()))
        }
        Err(error) => Err(failure(error)),
    }
}

fn is_ended(state: &str) -> bool {
    [Ended::Sent.name(), Ended::Failed.name()].contains(&state)
}

fn place(notice: &Notice) -> (Timestamp, NoticeId) {
    (notice.at, notice.id)
}

/// Where a list goes on, by the text that [`Notices::page`] gave as a cursor.
pub fn notice_cursor(text: &str) -> Option<(Timestamp, NoticeId)> {
    let (at, id) = text.split_once('#')?;
    Some((at.parse().ok()?, id.parse().ok()?))
}

fn notice_key(id: NoticeId) -> String {
    format!("notice#{id}")
}

fn mark_key(message: &Message<'_>) -> String {
    format!("{}#{}", message.chat, message.part)
}

fn in_days(at: Timestamp, days: i64) -> aws_sdk_dynamodb::types::AttributeValue {
    number(u64::try_from(at.as_second() + days * 86_400).unwrap_or(0))
}

fn milliseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

fn instant(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}
