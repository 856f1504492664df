//! Alerts: items of the Notices table.
//!
//! `pk = user`, `sk = "alert#" + id` is on its owner's list, and `pk = user`, `sk = "ended#" + id` after it was ended, for those
//! who repeat a request; `pk = user`, `sk = "alerts"` has a revision that each of these writes raises, so that limits hold
//! whoever writes at once; `pk = "waited#" + line + "#" + scope` says that somebody waited there. `pk = "line#" + line + "#" + scope + "#" + shard`, `sk = rank` is the same alert in its line.

use super::{Db, Item, StoreError, failure, from_item, number, text, to_item};
use aws_sdk_dynamodb::types::{AttributeValue, Delete, KeysAndAttributes, Put, TransactWriteItem};
use domain::alerts::{ALERTS_MAX, Alert, LINE_SHARDS, Line, Scope};
use domain::ids::{AlertId, EventId, UserId};
use futures_util::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::HashMap;

/// How long an alert that was ended is kept.
const ENDED_DAYS: i64 = 35;
/// Parts of lines that are read at the same time.
const PARTS_AT_ONCE_MAX: usize = 16;
const REVISION: &str = "alerts";
const WAITED: &str = "waited";
/// How long it is kept when a line was gone through last.
const WALK_KEPT_SECONDS: i64 = 86_400;

/// When those who wait are gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walks {
    Now,
    /// By whom this is told, when the time that was asked for has passed.
    Later,
    /// Somebody was told so already.
    Coming,
}

#[derive(Clone)]
pub struct Alerts(pub Db);

impl Alerts {
    /// An alert of this account, ended or not.
    pub async fn get(&self, user: UserId, id: AlertId) -> Result<Option<Alert>, StoreError> {
        if let Some(alert) = self.0.get(user.to_string(), listed_key(id)).await? {
            return Ok(Some(alert));
        }
        self.0.get(user.to_string(), ended_key(id)).await
    }

    /// The alerts of an account, and the revision of them: read first, so that a write under it has seen all of them.
    pub async fn of_user(&self, user: UserId) -> Result<(Vec<Alert>, u64), StoreError> {
        #[derive(Deserialize)]
        struct Revision {
            v: u64,
        }
        let revision = self.0.get::<Revision>(user.to_string(), REVISION.to_owned()).await?;
        let (alerts, _) = self.list(user, ALERTS_MAX as u16, None).await?;
        Ok((alerts, revision.map_or(0, |revision| revision.v)))
    }

    /// A page of an account's alerts, and the cursor of the next. The first made come first in a page.
    pub async fn list(
        &self,
        user: UserId,
        limit: u16,
        cursor: Option<AlertId>,
    ) -> Result<(Vec<Alert>, Option<AlertId>), StoreError> {
        let start = cursor.map(|id| key(user.to_string(), listed_key(id)));
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true);
        let request = request.key_condition_expression("pk = :pk AND begins_with(sk, :alert)");
        let request = request.expression_attribute_values(":pk", text(user.to_string()));
        let request = request.expression_attribute_values(":alert", text("alert#")).limit(i32::from(limit));
        let reply = request.set_exclusive_start_key(start).send().await.map_err(failure)?;
        let more = reply.last_evaluated_key.is_some();
        let alerts: Result<Vec<Alert>, _> = reply.items.unwrap_or_default().into_iter().map(from_item).collect();
        let mut alerts = alerts?;
        let next = alerts.last().filter(|_| more).map(|alert| alert.id);
        alerts.sort_by_key(|alert| (alert.created_at, alert.id));
        Ok((alerts, next))
    }

    /// Writes a new alert, on its owner's list and in its line; [`StoreError::Conflict`] if the account's alerts were written
    /// since they were read at `revision`.
    pub async fn put_new(&self, alert: &Alert, revision: u64) -> Result<(), StoreError> {
        let listed = self.0.new_item(keyed(alert, alert.user.to_string(), listed_key(alert.id)))?;
        let waiting =
            self.0.new_item(keyed(alert, line_key(alert.line(), &alert.scope, alert.shard()), alert.rank()))?;
        let mut parts: Vec<_> = [listed, waiting].map(|put| TransactWriteItem::builder().put(put).build()).into();
        parts.push(self.raised(alert.user, revision)?);
        let mut waited = key(waited_key(alert.line(), &alert.scope), WAITED.to_owned());
        waited.insert("at".into(), text(alert.created_at.to_string()));
        let waited = Put::builder().table_name(self.0.table()?).set_item(Some(waited)).build();
        parts.push(TransactWriteItem::builder().put(waited.expect("table and item are set")).build());
        self.0.transact_all(parts).await
    }

    /// Those of these lines in which anybody has ever waited, each by its place in `scopes`: one read, so that nobody need look
    /// through all parts of all lines.
    pub async fn waited(&self, lines: &[Line], scopes: &[Scope]) -> Result<Vec<(Line, usize)>, StoreError> {
        let all = lines.iter().flat_map(|line| (0..scopes.len()).map(|scope| (*line, scope)));
        let named: Vec<_> = all.map(|(line, scope)| (waited_key(line, &scopes[scope]), (line, scope))).collect();
        let keys = named.iter().map(|(pk, _)| key(pk.clone(), WAITED.to_owned())).collect();
        let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
        let keys = keys.expect("the keys are set");
        let reply =
            self.0.client.batch_get_item().request_items(self.0.table()?, keys).send().await.map_err(failure)?;
        let found = reply.responses.into_iter().flat_map(HashMap::into_values).flatten();
        // What was too much to be read now may be waited in: look.
        let unread = reply.unprocessed_keys.into_iter().flat_map(HashMap::into_values).flat_map(|keys| keys.keys);
        let names = found.chain(unread).filter_map(|mut item| item.remove("pk"));
        let names: Vec<_> = names.filter_map(|name| name.as_s().ok().cloned()).collect();
        Ok(named.into_iter().filter(|(pk, _)| names.contains(pk)).map(|(_, line)| line).collect())
    }

    /// Whether those who wait for an event's seats are to be gone through: once in so many seconds.
    pub async fn claim_walk(&self, event: EventId, now: Timestamp, seconds: i64) -> Result<Walks, StoreError> {
        let now = now.as_second();
        for (to, condition, bound, walks) in [
            (now, "attribute_not_exists(walk_at) OR walk_at <= :bound", now - seconds, Walks::Now),
            (now + seconds, "walk_at <= :bound", now, Walks::Later),
        ] {
            let request = self.0.client.update_item().table_name(self.0.table()?);
            let request = request.set_key(Some(key(format!("walk#{event}"), "walk".to_owned())));
            let request = request.update_expression("SET walk_at = :to, #ttl = :ttl").condition_expression(condition);
            let request = request.expression_attribute_names("#ttl", "ttl");
            let request = [(":to", to), (":bound", bound), (":ttl", to + WALK_KEPT_SECONDS)]
                .into_iter()
                .fold(request, |request, (name, at)| {
                    request.expression_attribute_values(name, AttributeValue::N(at.to_string()))
                });
            match request.send().await.map_err(failure) {
                Ok(_) => return Ok(walks),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Walks::Coming)
    }

    /// Ends an alert: it waits no more. [`StoreError::Conflict`] as of [`Alerts::put_new`].
    pub async fn end(&self, alert: &Alert, revision: u64, now: Timestamp) -> Result<(), StoreError> {
        let ended = Alert { ended_at: Some(now), ..alert.clone() };
        let mut item = keyed(&ended, alert.user.to_string(), ended_key(alert.id));
        let until = now + SignedDuration::from_hours(24 * ENDED_DAYS);
        item.insert("ttl".into(), AttributeValue::N(until.as_second().to_string()));
        let kept = Put::builder().table_name(self.0.table()?).set_item(Some(item)).build();
        let kept = TransactWriteItem::builder().put(kept.expect("table and item are set")).build();
        let listed = self.deleted(alert.user.to_string(), listed_key(alert.id))?;
        let waiting = self.deleted(line_key(alert.line(), &alert.scope, alert.shard()), alert.rank())?;
        self.0.transact_all(vec![listed, waiting, kept, self.raised(alert.user, revision)?]).await
    }

    /// A page of one part of a line, from after this rank, the first in it first; the rank to go on from, if there are more.
    pub async fn line(
        &self,
        line: Line,
        scope: &Scope,
        shard: u8,
        after: Option<&str>,
        limit: u16,
    ) -> Result<(Vec<Alert>, Option<String>), StoreError> {
        assert!(shard < LINE_SHARDS, "a line has {LINE_SHARDS} parts");
        let pk = line_key(line, scope, shard);
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true);
        let request = request.key_condition_expression("pk = :pk AND sk > :after");
        let request = request.expression_attribute_values(":pk", text(pk));
        let request = request.expression_attribute_values(":after", text(after.unwrap_or(" ")));
        let reply = request.limit(i32::from(limit)).send().await.map_err(failure)?;
        let more = reply.last_evaluated_key.is_some();
        let alerts: Result<Vec<Alert>, _> = reply.items.unwrap_or_default().into_iter().map(from_item).collect();
        let alerts = alerts?;
        let next = alerts.last().filter(|_| more).map(Alert::rank);
        Ok((alerts, next))
    }

    /// The next of a line over all these scopes, from after this rank, in fair order over all its parts, with one query a part;
    /// and the rank to go on from, if there are more. None of a page is behind anybody of the next.
    pub async fn in_order(
        &self,
        line: Line,
        scopes: &[&Scope],
        after: Option<&str>,
        limit: u16,
    ) -> Result<(Vec<Alert>, Option<String>), StoreError> {
        // Those of a page are spread over the parts as chance has it: few parts have more than twice their share.
        let each = (2 * limit).div_ceil(LINE_SHARDS.into());
        let mut read = Vec::new();
        for scope in scopes {
            read.extend((0..LINE_SHARDS).map(|shard| self.line(line, scope, shard, after, each)));
        }
        let parts = futures_util::stream::iter(read).buffer_unordered(PARTS_AT_ONCE_MAX);
        let parts: Vec<(Vec<Alert>, Option<String>)> = parts.try_collect().await?;
        let mut next = parts.iter().filter_map(|(_, next)| next.clone()).min();
        let alerts = parts.into_iter().flat_map(|(alerts, _)| alerts);
        let mut alerts: Vec<(String, Alert)> = alerts.map(|alert| (alert.rank(), alert)).collect();
        alerts.retain(|(rank, _)| next.as_ref().is_none_or(|next| rank <= next));
        alerts.sort_by(|(one, _), (other, _)| one.cmp(other));
        if alerts.len() > usize::from(limit) {
            alerts.truncate(limit.into());
            next = alerts.last().map(|(rank, _)| rank.clone());
        }
        Ok((alerts.into_iter().map(|(_, alert)| alert).collect(), next))
    }

    /// The next revision of an account's alerts, if they are at this one.
    fn raised(&self, user: UserId, revision: u64) -> Result<TransactWriteItem, StoreError> {
        let mut item = key(user.to_string(), REVISION.to_owned());
        item.insert("v".into(), number(revision + 1));
        let put = if revision == 0 { self.0.new_item(item)? } else { self.0.replaced_item(item, revision)? };
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn deleted(&self, pk: String, sk: String) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder().table_name(self.0.table()?).set_key(Some(key(pk, sk)));
        let delete = delete.condition_expression("attribute_exists(pk)").build().expect("table and key are set");
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

fn listed_key(id: AlertId) -> String {
    format!("alert#{id}")
}

fn ended_key(id: AlertId) -> String {
    format!("ended#{id}")
}

fn line_key(line: Line, scope: &Scope, shard: u8) -> String {
    format!("line#{line}#{scope}#{shard}")
}

fn waited_key(line: Line, scope: &Scope) -> String {
    format!("waited#{line}#{scope}")
}

fn key(pk: String, sk: String) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn keyed(alert: &Alert, pk: String, sk: String) -> Item {
    let mut item = to_item(alert);
    item.extend(key(pk, sk));
    item
}
