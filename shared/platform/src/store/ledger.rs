//! The journal: `pk = event#shard`, `sk = order#cause`; of subscriptions `pk = subscriptions#month#shard`, `sk =
//! charge#cause`. Entries are only ever added, and only in the transaction of the order's or the charge's change.

use super::{Db, StoreError, failure, from_item, text, to_item};
use aws_sdk_dynamodb::types::Put;
use domain::ids::{EventId, OrderId};
use domain::ledger::{ChargeEntry, Entry};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// Shards of an event's entries.
pub const LEDGER_SHARDS: u8 = 16;

#[derive(Clone)]
pub struct Ledger(pub Db);

impl Ledger {
    /// The part of a transaction that adds an entry.
    pub(super) fn entry(&self, entry: &Entry) -> Result<Put, StoreError> {
        assert_eq!(entry.balances(), Ok(true), "debits equal credits");
        let mut item = to_item(entry);
        item.insert("pk".into(), text(partition(entry.event, Entry::shard(entry.order))));
        item.insert("sk".into(), text(entry.key()));
        self.0.new_item(item)
    }

    /// The part of a transaction that adds an entry of a subscription's charge.
    pub(super) fn charge_entry(&self, entry: &ChargeEntry) -> Result<Put, StoreError> {
        assert_eq!(entry.balances(), Ok(true), "debits equal credits");
        let mut item = to_item(entry);
        let month = entry.at.to_zoned(TimeZone::UTC).date().first_of_month();
        item.insert("pk".into(), text(charges_partition(month, ChargeEntry::shard(entry.charge.subscription))));
        item.insert("sk".into(), text(entry.key()));
        self.0.new_item(item)
    }

    /// Entries of subscriptions' charges of one shard that were booked in the month of `month`, in the order of their keys,
    /// from after `cursor`; and the cursor of the rest.
    pub async fn charge_entries(
        &self,
        month: Date,
        shard: u8,
        cursor: Option<String>,
        limit: i32,
    ) -> Result<(Vec<ChargeEntry>, Option<String>), StoreError> {
        self.page(charges_partition(month, shard), cursor, limit).await
    }

    /// Entries of one shard of an event, in the order of their keys, from after `cursor`; and the cursor of the rest.
    pub async fn list(
        &self,
        event: EventId,
        shard: u8,
        cursor: Option<String>,
        limit: i32,
    ) -> Result<(Vec<Entry>, Option<String>), StoreError> {
        self.page(partition(event, shard), cursor, limit).await
    }

    async fn page<T: DeserializeOwned>(
        &self,
        pk: String,
        cursor: Option<String>,
        limit: i32,
    ) -> Result<(Vec<T>, Option<String>), StoreError> {
        let start = cursor.map(|sk| HashMap::from([("pk".into(), text(&pk)), ("sk".into(), text(sk))]));
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true).limit(limit);
        let request = request.key_condition_expression("pk = :pk").expression_attribute_values(":pk", text(&pk));
        let reply = request.set_exclusive_start_key(start).send().await.map_err(failure)?;
        let next = reply.last_evaluated_key.as_ref().and_then(|key| key.get("sk")?.as_s().ok().cloned());
        let entries: Result<Vec<_>, _> = reply.items.unwrap_or_default().into_iter().map(from_item).collect();
        Ok((entries?, next))
    }

    /// All entries of an order; [`StoreError::Failed`] if they are more than one read gives, which is some thousands.
    pub async fn of_order(&self, event: EventId, order: OrderId) -> Result<Vec<Entry>, StoreError> {
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true);
        let request = request.key_condition_expression("pk = :pk AND begins_with(sk, :order)");
        let request = request.expression_attribute_values(":pk", text(partition(event, Entry::shard(order))));
        let request = request.expression_attribute_values(":order", text(format!("{order}#")));
        let reply = request.send().await.map_err(failure)?;
        if reply.last_evaluated_key.is_some() {
            return Err(StoreError::Failed("an order has more entries than one read gives".into()));
        }
        reply.items.unwrap_or_default().into_iter().map(from_item).collect()
    }

    /// Entries of one shard of an event that were booked from `from` to before `to`, and those of disputes whenever they
    /// were, at most `most` of them; else [`StoreError::Failed`]. Eventually consistent: what was written in the last
    /// second may be missing.
    ///
    /// There is no index by time, since it would cost every sale another write. So this reads all that the shard ever
    /// held, half a read unit for each 4 KB (some twelve entries), and only the time of day is spared the network.
    pub async fn between(
        &self,
        event: EventId,
        shard: u8,
        (from, to): (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let (mut entries, mut start) = (Vec::new(), None);
        loop {
            let request = self.0.client.query().table_name(self.0.table()?).set_exclusive_start_key(start);
            let request = request.key_condition_expression("pk = :pk");
            let request =
                request.filter_expression("(#at >= :from AND #at < :to) OR begins_with(#cause.#kind, :dispute)");
            let request = request.expression_attribute_names("#at", "at");
            let request = request.expression_attribute_names("#cause", "cause");
            let request = request.expression_attribute_names("#kind", "kind");
            let request = request.expression_attribute_values(":dispute", text("dispute_"));
            let request = request.expression_attribute_values(":pk", text(partition(event, shard)));
            let request = request.expression_attribute_values(":from", text(to_the_second(from)));
            let request = request.expression_attribute_values(":to", text(to_the_second(after(to))));
            let reply = request.send().await.map_err(failure)?;
            for item in reply.items.unwrap_or_default() {
                let entry: Entry = from_item(item)?;
                let is_wanted = (from <= entry.at && entry.at < to) || entry.is_of_dispute();
                entries.extend(is_wanted.then_some(entry));
            }
            if entries.len() > most {
                return Err(StoreError::Failed(format!("more than {most} entries in one stretch of time")));
            }
            start = reply.last_evaluated_key;
            if start.is_none() {
                return Ok(entries);
            }
        }
    }
}

/// An instant's text up to its second: the part that sorts as time does, whether a fraction follows or not.
fn to_the_second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

fn after(at: Timestamp) -> Timestamp {
    at.checked_add(jiff::SignedDuration::from_secs(1)).unwrap_or(at)
}

fn partition(event: EventId, shard: u8) -> String {
    format!("{event}#{shard:x}")
}

fn charges_partition(month: Date, shard: u8) -> String {
    format!("subscriptions#{:04}-{:02}#{shard:x}", month.year(), month.month())
}
