//! The sparse index `due` of a table: items that somebody has to look at again, by one of 16 shards and the time in seconds.

use super::{Db, Item, StoreError, failure, number, text};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

/// Puts an item into the index, or leaves it out; `id` determines the shard, of which there are `shards`.
pub(super) fn index(item: &mut Item, id: u128, shards: u8, due_at: Option<Timestamp>) {
    item.remove("due_at");
    if let Some(due_at) = due_at {
        item.insert("due_shard".into(), text(name((id % u128::from(shards)) as u8)));
        item.insert("due_at".into(), AttributeValue::N(due_at.as_second().to_string()));
    }
}

/// The keys of items of one shard that were due by `now`, the longest due first, at most `limit`.
pub(super) async fn query(db: &Db, shard: u8, now: Timestamp, limit: i32) -> Result<Vec<Item>, StoreError> {
    let request = db.client.query().table_name(db.table()?).index_name("due").limit(limit);
    let request = request.key_condition_expression("due_shard = :shard AND due_at <= :now");
    let request = request.expression_attribute_values(":shard", text(name(shard)));
    let request = request.expression_attribute_values(":now", number(now.as_second().max(0) as u64));
    Ok(request.send().await.map_err(failure)?.items.unwrap_or_default())
}

fn name(shard: u8) -> String {
    format!("{shard:x}")
}
