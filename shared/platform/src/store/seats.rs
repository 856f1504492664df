//! Seats: one item a row (or part of a long row), one attribute a seat that is not free, one conditional write a lock.
//!
//! `pk = event#section`, `sk = row`; the attribute of a seat is its index as digits, the value a lock word
//! (`domain::seating::words`). A row with no item is free.

use super::{Db, Item, StoreError, failure, number, text};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use domain::ids::EventId;
use domain::seating::Block;
use domain::seating::words::{self, Channel, Stamp, lapse_mark};
use jiff::Timestamp;
use serde::Deserialize;

/// Rows of a section that are read; a section has 200 rows of at most five parts.
const SECTION_ITEMS_MAX: usize = 1200;

#[derive(Clone)]
pub struct Seats(pub Db);

/// What came of locking seats of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// They are ours now, by this call.
    Now,
    /// They were ours already, by an earlier call for the same order, until then.
    Before(Timestamp),
    /// These indexes are somebody else's; nothing was written.
    Taken(Vec<u8>),
}

/// The words by which an order knows its seats, and whom they were set aside for.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// The latest first.
    pub held: &'a [String],
    pub channel: Option<Channel>,
}

/// A row's item as it was when a condition did not hold.
type Row = Item;

impl Seats {
    /// Locks these seats for a hold until its expiry, all or none, in one write without a read.
    pub async fn lock(
        &self,
        event: EventId,
        block: &Block,
        indexes: &[u8],
        stamp: &Stamp,
        now: Timestamp,
    ) -> Result<Locked, StoreError> {
        let mut write = RowWrite::new(indexes.iter().copied());
        write.value(":w", stamp.word());
        write.set(|_| ":w".to_owned());
        let nobodys = write.nobodys(stamp.channel, now);
        write.require(nobodys);
        let Err(row) = self.write(event, block, write).await? else { return Ok(Locked::Now) };
        let ours: Vec<_> = indexes.iter().map(|&i| words::expiry_of(word(&row, i).unwrap_or(""), stamp.hold)).collect();
        if let Some(expiries) = ours.iter().copied().collect::<Option<Vec<_>>>() {
            let first = expiries.into_iter().min().expect("an order has seats");
            return Ok(Locked::Before(first));
        }
        let is_nobodys = |word: &str| {
            *word < *lapse_mark(now) || stamp.channel.is_some_and(|channel| words::is_free_in(channel, word, now))
        };
        let taken = indexes.iter().copied().filter(|&i| word(&row, i).is_some_and(|word| !is_nobodys(word)));
        Ok(Locked::Taken(taken.collect()))
    }

    /// Stamps a hold's seats with the first of its words, the latest. True unless somebody else has one of them.
    pub async fn extend(
        &self,
        event: EventId,
        block: &Block,
        indexes: &[u8],
        own: &Own<'_>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let latest = own.held.first().expect("a hold has a word").clone();
        let mut write = RowWrite::new(indexes.iter().copied());
        write.value(":w", latest);
        write.set(|_| ":w".to_owned());
        self.take(event, block, write, own, false, now).await
    }

    /// Makes these seats sold: those held by this order, those sold to it already, and those that nobody has any more.
    /// True unless somebody else has one of them.
    pub async fn sell(
        &self,
        event: EventId,
        block: &Block,
        seats: &[(u8, String)],
        own: &Own<'_>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut write = RowWrite::new(seats.iter().map(|(index, _)| *index));
        for (index, sold) in seats {
            write.value(format!(":s{index}"), sold.clone());
        }
        write.set(|i| format!(":s{i}"));
        self.take(event, block, write, own, true, now).await
    }

    /// Writes to seats that are this order's (one of its words, or the sold word that it writes) or nobody's.
    async fn take(
        &self,
        event: EventId,
        block: &Block,
        mut write: RowWrite,
        own: &Own<'_>,
        sells: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let nobodys = write.nobodys(own.channel, now);
        let mut ours = String::new();
        for (n, word) in own.held.iter().enumerate() {
            write.value(format!(":h{n}"), word.clone());
            ours.push_str(&format!(" OR #_ = :h{n}"));
        }
        write.require(|i| {
            let sold = if sells { format!(" OR #{i} = :s{i}") } else { String::new() };
            format!("{}{}{sold}", nobodys(i), ours.replace("#_", &format!("#{i}")))
        });
        Ok(self.write(event, block, write).await?.is_ok())
    }

    /// Frees those of these seats that have one of these words, for everybody or for a channel; leaves all others as they
    /// are.
    pub async fn release(
        &self,
        event: EventId,
        block: &Block,
        seats: &[(u8, Vec<String>)],
        to: Option<Channel>,
    ) -> Result<(), StoreError> {
        let mut rest = seats.to_vec();
        // Each round asks for what the row had in the round before; only a racing writer makes it lose one.
        for _ in 0..RELEASE_ROUNDS_MAX {
            if rest.is_empty() {
                return Ok(());
            }
            let mut write = RowWrite::new(rest.iter().map(|(index, _)| *index));
            for (index, words) in &rest {
                for (n, word) in words.iter().enumerate() {
                    write.value(format!(":w{index}_{n}"), word.clone());
                }
            }
            match to {
                None => write.remove(),
                Some(channel) => {
                    write.value(":to", channel.set_aside());
                    write.set(|_| ":to".to_owned());
                }
            }
            let counts: Vec<_> = rest.iter().map(|(index, words)| (*index, words.len())).collect();
            write.require(|i| {
                let count = counts.iter().find(|(index, _)| *index == i).map_or(0, |(_, count)| *count);
                let words: Vec<_> = (0..count).map(|n| format!(":w{i}_{n}")).collect();
                format!("#{i} IN ({})", words.join(", "))
            });
            let Err(row) = self.write(event, block, write).await? else { return Ok(()) };
            rest.retain(|(index, words)| word(&row, *index).is_some_and(|word| words.iter().any(|own| own == word)));
        }
        Err(StoreError::Throttled("a row changed faster than it could be released".into()))
    }

    /// Keeps these free seats for the house, or (`forced`) held ones too; never sold ones. Gives those it could not.
    pub async fn block(
        &self,
        event: EventId,
        block: &Block,
        indexes: &[u8],
        reason: words::BlockReason,
        forced: bool,
        now: Timestamp,
    ) -> Result<Vec<u8>, StoreError> {
        let own = words::blocked(reason);
        let mut write = RowWrite::new(indexes.iter().copied());
        // "I" sorts after every held word and before every other.
        let bound = if forced { "I".to_owned() } else { lapse_mark(now) };
        write.value(":w", own.to_owned());
        write.value(":bound", bound.clone());
        write.set(|_| ":w".to_owned());
        write.require(|i| format!("attribute_not_exists(#{i}) OR #{i} < :bound OR #{i} = :w"));
        let Err(row) = self.write(event, block, write).await? else { return Ok(Vec::new()) };
        let kept = |&i: &u8| word(&row, i).is_some_and(|word| *word >= *bound && word != own);
        Ok(indexes.iter().copied().filter(kept).collect())
    }

    /// Gives seats that the house kept back to the sale, or to those who wait.
    pub async fn unblock(
        &self,
        event: EventId,
        block: &Block,
        indexes: &[u8],
        to: Option<Channel>,
    ) -> Result<(), StoreError> {
        use words::BlockReason::{House, Repair, View};
        let words: Vec<_> = [House, View, Repair].map(|reason| words::blocked(reason).to_owned()).into();
        let seats: Vec<_> = indexes.iter().map(|&index| (index, words.clone())).collect();
        self.release(event, block, &seats, to).await
    }

    /// Whom seats of an event that come free are for: those who wait in its line, if anybody does.
    pub async fn waiting(&self, event: EventId) -> Result<Option<Channel>, StoreError> {
        #[derive(Deserialize)]
        struct Waiting {}
        let found: Option<Waiting> = self.0.get(line_key(event), LINE.to_owned()).await?;
        Ok(found.map(|_| Channel::Line))
    }

    /// From now on seats that come free are set aside for those who wait.
    pub async fn open_line(&self, event: EventId) -> Result<(), StoreError> {
        let item = [("pk", text(line_key(event))), ("sk", text(LINE))].map(|(name, value)| (name.to_owned(), value));
        let request = self.0.client.put_item().table_name(self.0.table()?).set_item(Some(item.into()));
        request.send().await.map_err(failure)?;
        Ok(())
    }

    /// From now on they are everybody's. What is set aside already has to be released after it.
    pub async fn close_line(&self, event: EventId) -> Result<(), StoreError> {
        let request = self.0.client.delete_item().table_name(self.0.table()?);
        request.key("pk", text(line_key(event))).key("sk", text(LINE)).send().await.map_err(failure)?;
        Ok(())
    }

    /// The words of a section: for each row that has any, its name, and index and word of each seat that is not free.
    pub async fn section(&self, event: EventId, section: &str) -> Result<Vec<(String, Vec<(u8, String)>)>, StoreError> {
        let mut rows = Vec::new();
        let mut start = None;
        loop {
            let request = self.0.client.query().table_name(self.0.table()?).set_exclusive_start_key(start);
            let request = request.key_condition_expression("pk = :pk");
            let request = request.expression_attribute_values(":pk", text(format!("{event}#{section}")));
            let reply = request.send().await.map_err(failure)?;
            rows.extend(reply.items.unwrap_or_default().into_iter().map(row_words));
            start = reply.last_evaluated_key;
            if start.is_none() || rows.len() >= SECTION_ITEMS_MAX {
                return Ok(rows);
            }
        }
    }

    /// Sends one write to one row: done, or the row as it was when the condition did not hold.
    async fn write(&self, event: EventId, block: &Block, write: RowWrite) -> Result<Result<(), Row>, StoreError> {
        let request = self.0.client.update_item().table_name(self.0.table()?);
        let request = request.key("pk", text(format!("{event}#{}", block.section))).key("sk", text(&block.row));
        match write.fill(request).send().await {
            Ok(_) => Ok(Ok(())),
            Err(SdkError::ServiceError(error)) => match error.into_err() {
                UpdateItemError::ConditionalCheckFailedException(failed) => Ok(Err(failed.item.unwrap_or_default())),
                other => Err(failure::<_, ()>(SdkError::service_error(other, ()))),
            },
            Err(error) => Err(failure(error)),
        }
    }
}

const LINE: &str = "line";

fn line_key(event: EventId) -> String {
    format!("line#{event}")
}

/// Rounds that a release tries while others write the same row.
const RELEASE_ROUNDS_MAX: usize = 8;
/// Operators DynamoDB takes in one expression.
const OPERATORS_MAX: usize = 300;

/// One `UpdateItem` of one row under construction.
struct RowWrite {
    indexes: Vec<u8>,
    update: String,
    condition: String,
    values: Vec<(String, AttributeValue)>,
}

impl RowWrite {
    fn new(indexes: impl IntoIterator<Item = u8>) -> Self {
        let indexes: Vec<u8> = indexes.into_iter().collect();
        assert!(!indexes.is_empty(), "a write of a row names seats");
        Self { indexes, update: String::new(), condition: String::new(), values: Vec::new() }
    }

    fn value(&mut self, name: impl Into<String>, word: String) {
        self.values.push((name.into(), AttributeValue::S(word)));
    }

    /// The condition that a seat is nobody's: free, or with a hold that has lapsed, of the public or of a channel.
    fn nobodys(&mut self, channel: Option<Channel>, now: Timestamp) -> impl Fn(u8) -> String + use<> {
        self.value(":now", lapse_mark(now));
        if let Some(channel) = channel {
            self.value(":free", channel.set_aside());
            self.value(":lapsed", channel.set_aside() + &lapse_mark(now));
        }
        let own = channel.map_or("", |_| " OR #_ BETWEEN :free AND :lapsed");
        move |i| format!("attribute_not_exists(#_) OR #_ < :now{own}").replace("#_", &format!("#{i}"))
    }

    fn set(&mut self, value: impl Fn(u8) -> String) {
        let parts: Vec<_> = self.indexes.iter().map(|&i| format!("#{i} = {}", value(i))).collect();
        self.update = format!("SET {}", parts.join(", "));
    }

    fn remove(&mut self) {
        let parts: Vec<_> = self.indexes.iter().map(|i| format!("#{i}")).collect();
        self.update = format!("REMOVE {}", parts.join(", "));
    }

    fn require(&mut self, condition: impl Fn(u8) -> String) {
        let parts: Vec<_> = self.indexes.iter().map(|&i| format!("({})", condition(i))).collect();
        self.condition = parts.join(" AND ");
    }

    fn fill(self, mut request: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        let operators = self.condition.matches([' ', '(']).count();
        assert!(operators <= OPERATORS_MAX * 4, "an order's limit of seats keeps conditions small");
        for index in &self.indexes {
            request = request.expression_attribute_names(format!("#{index}"), index.to_string());
        }
        for (name, value) in self.values {
            request = request.expression_attribute_values(name, value);
        }
        request
            .update_expression(format!("{} ADD v :one", self.update))
            .expression_attribute_values(":one", number(1))
            .condition_expression(self.condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

fn word(row: &Row, index: u8) -> Option<&str> {
    row.get(&index.to_string()).and_then(|value| value.as_s().ok()).map(String::as_str)
}

fn row_words(item: Item) -> (String, Vec<(u8, String)>) {
    let mut name = String::new();
    let mut seats = Vec::with_capacity(item.len());
    for (key, value) in item {
        let AttributeValue::S(value) = value else { continue };
        match key.parse() {
            Ok(index) => seats.push((index, value)),
            Err(_) if key == "sk" => name = value,
            Err(_) => {}
        }
    }
    (name, seats)
}
