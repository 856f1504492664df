//! Orders: `pk = buyer`, `sk = order`, so that a buyer's list is consistent and needs no index; the sparse index
//! `due` (16 shards) has those that somebody has to look at again.

use super::{Db, Item, StoreError, due, failure, from_item, text, to_item};
use crate::store::Ledger;
use domain::ids::{OrderId, UserId};
use domain::ledger::Entry;
use domain::orders::{DUE_SHARDS, Order};
use jiff::Timestamp;
use serde::Deserialize;
use std::cmp::Reverse;
use std::collections::HashMap;

#[derive(Clone)]
pub struct Orders(pub Db);

impl Orders {
    pub async fn get(&self, buyer: UserId, id: OrderId) -> Result<Option<Order>, StoreError> {
        self.0.get(buyer.to_string(), id.to_string()).await
    }

    /// Writes a new order, or gives back the one of this id that is there.
    pub async fn put_new(&self, order: &Order) -> Result<Result<(), Order>, StoreError> {
        let stored = self.0.put_new::<Order>(item(order)).await?;
        Ok(stored)
    }

    /// Writes the next version of an order; [`StoreError::Conflict`] if somebody else wrote it meanwhile.
    pub async fn save(&self, next: &Order) -> Result<(), StoreError> {
        self.0.replace(item(next), next.v - 1).await
    }

    /// Writes the next version of an order and the journal's entries, all or none.
    pub async fn save_with_entries(&self, next: &Order, ledger: &Ledger, entries: &[Entry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return self.save(next).await;
        }
        let order = self.0.replaced_item(item(next), next.v - 1)?;
        let entries = entries.iter().map(|entry| ledger.entry(entry)).collect::<Result<Vec<_>, _>>()?;
        self.0.transact([order].into_iter().chain(entries)).await
    }

    /// A page of a buyer's orders, and the cursor of the next. The newest come first in a page; pages follow the ids,
    /// which do not tell the time, since a client's key determines them.
    pub async fn list(
        &self,
        buyer: UserId,
        limit: u16,
        cursor: Option<OrderId>,
    ) -> Result<(Vec<Order>, Option<OrderId>), StoreError> {
        let start = cursor
            .map(|id| HashMap::from([("pk".into(), text(buyer.to_string())), ("sk".into(), text(id.to_string()))]));
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true).scan_index_forward(false);
        let request =
            request.key_condition_expression("pk = :pk").expression_attribute_values(":pk", text(buyer.to_string()));
        let reply = request.limit(i32::from(limit)).set_exclusive_start_key(start).send().await.map_err(failure)?;
        let more = reply.last_evaluated_key.is_some();
        let orders: Result<Vec<Order>, _> = reply.items.unwrap_or_default().into_iter().map(from_item).collect();
        let mut orders = orders?;
        let next = orders.last().filter(|_| more).map(|order| order.id);
        orders.sort_by_key(|order| Reverse(order.placed_at));
        Ok((orders, next))
    }

    /// Orders of one shard that were due by `now`, the longest due first, at most `limit`.
    pub async fn due(&self, shard: u8, now: Timestamp, limit: i32) -> Result<Vec<(UserId, OrderId)>, StoreError> {
        #[derive(Deserialize)]
        struct Key {
            pk: UserId,
            sk: OrderId,
        }
        let keys = due::query(&self.0, shard, now, limit).await?.into_iter().map(from_item::<Key>);
        keys.map(|key| key.map(|key| (key.pk, key.sk))).collect()
    }
}

/// The item of an order: its fields, and instead of `due_at` as an instant the sparse index's two attributes.
pub(super) fn item(order: &Order) -> Item {
    let mut item = to_item(order);
    item.insert("pk".into(), text(order.buyer.to_string()));
    item.insert("sk".into(), text(order.id.to_string()));
    due::index(&mut item, order.id.0, DUE_SHARDS, order.due_at);
    item
}
