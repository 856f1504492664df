//! The journal: `pk = event#shard`, `sk = order#cause`. Entries are only ever added, and only in the transaction of
//! the order's change.

use super::{Db, StoreError, failure, from_item, text, to_item};
use aws_sdk_dynamodb::types::Put;
use domain::ids::EventId;
use domain::ledger::Entry;
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

    /// Entries of one shard of an event, in the order of their keys, from after `cursor`; and the cursor of the rest.
    pub async fn list(
        &self,
        event: EventId,
        shard: u8,
        cursor: Option<String>,
        limit: i32,
    ) -> Result<(Vec<Entry>, Option<String>), StoreError> {
        let pk = partition(event, shard);
        let start = cursor.map(|sk| HashMap::from([("pk".into(), text(&pk)), ("sk".into(), text(sk))]));
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true).limit(limit);
        let request = request.key_condition_expression("pk = :pk").expression_attribute_values(":pk", text(&pk));
        let reply = request.set_exclusive_start_key(start).send().await.map_err(failure)?;
        let next = reply.last_evaluated_key.as_ref().and_then(|key| key.get("sk")?.as_s().ok().cloned());
        let entries: Result<Vec<_>, _> = reply.items.unwrap_or_default().into_iter().map(from_item).collect();
        Ok((entries?, next))
    }
}

fn partition(event: EventId, shard: u8) -> String {
    format!("{event}#{shard:x}")
}
