//! Subscriptions: `pk = subscriber`, `sk = subscription`, so that a subscriber's list is consistent; its charges, its history
//! and its use of included tickets are under `pk = subscription`. The sparse index `due` (16 shards) has the
//! subscriptions and charges that `renew` has to look at. One item a subscriber, `open`, says which subscription is not
//! over, so that nobody has two.

use super::promotions::{TRIAL, UsedBy, claimed, released, reserved, used};
use super::{Db, Item, Ledger, Orders, StoreError, due, failure, from_item, number, orders, text, to_item};
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use domain::ids::{SubscriptionId, TicketId, UserId};
use domain::orders::Order;
use domain::subscriptions::perks::MonthTickets;
use domain::subscriptions::{Charge, ChargeRef, DUE_SHARDS, History, HistoryEvent, Subscription, Write};
use jiff::Timestamp;
use std::collections::HashMap;

/// The item that says which subscription of a subscriber is not over.
const OPEN: &str = "open";
/// Subscriptions of one subscriber that are read at once, the latest first.
const SUBSCRIPTIONS_MAX: i32 = 100;

#[derive(Clone)]
pub struct Subscriptions(pub Db);

/// What has to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueItem {
    Subscription { user: UserId, id: SubscriptionId },
    Charge(ChargeRef),
}

impl Subscriptions {
    pub async fn get(&self, user: UserId, id: SubscriptionId) -> Result<Option<Subscription>, StoreError> {
        self.0.get(user.to_string(), id.to_string()).await
    }

    /// All of a subscriber, the latest first: what is over stays.
    pub async fn of_user(&self, user: UserId) -> Result<Vec<Subscription>, StoreError> {
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true);
        let request = request.key_condition_expression("pk = :pk AND begins_with(sk, :prefix)");
        let request = request.expression_attribute_values(":pk", text(user.to_string()));
        let request = request.expression_attribute_values(":prefix", text("sub_")).limit(SUBSCRIPTIONS_MAX);
        let items = request.send().await.map_err(failure)?.items.unwrap_or_default();
        let mut found = items.into_iter().map(from_item).collect::<Result<Vec<Subscription>, _>>()?;
        found.sort_by_key(|subscription| std::cmp::Reverse(subscription.created_at));
        Ok(found)
    }

    pub async fn had_trial(&self, user: UserId) -> Result<bool, StoreError> {
        #[derive(serde::Deserialize)]
        struct Marked {}
        Ok(self.0.get::<Marked>(user.to_string(), TRIAL.to_owned()).await?.is_some())
    }

    pub async fn charge(&self, id: ChargeRef) -> Result<Option<Charge>, StoreError> {
        self.0.get(id.subscription.to_string(), charge_key(id)).await
    }

    /// A page of a subscription's charges, the latest first, from before `cursor`.
    pub async fn charges(
        &self,
        id: SubscriptionId,
        cursor: Option<ChargeRef>,
        limit: u16,
    ) -> Result<(Vec<Charge>, Option<ChargeRef>), StoreError> {
        let (charges, more) = self.page::<Charge>(id, "charge#", cursor.map(charge_key), limit).await?;
        let next = charges.last().filter(|_| more).map(|charge| charge.id);
        Ok((charges, next))
    }

    /// A page of a subscription's history, the latest first, from before `cursor`.
    pub async fn history(
        &self,
        id: SubscriptionId,
        cursor: Option<(u64, u8)>,
        limit: u16,
    ) -> Result<(Vec<History>, Option<(u64, u8)>), StoreError> {
        let cursor = cursor.map(|(v, nth)| history_key(v, nth));
        let (lines, more) = self.page::<History>(id, "history#", cursor, limit).await?;
        let next = lines.last().filter(|_| more).map(|line| (line.v, line.nth));
        Ok((lines, next))
    }

    async fn page<T: serde::de::DeserializeOwned>(
        &self,
        id: SubscriptionId,
        prefix: &str,
        before: Option<String>,
        limit: u16,
    ) -> Result<(Vec<T>, bool), StoreError> {
        let start = before.map(|sk| HashMap::from([("pk".into(), text(id.to_string())), ("sk".into(), text(sk))]));
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true).scan_index_forward(false);
        let request = request.key_condition_expression("pk = :pk AND begins_with(sk, :prefix)");
        let request = request.expression_attribute_values(":pk", text(id.to_string()));
        let request = request.expression_attribute_values(":prefix", text(prefix)).limit(i32::from(limit));
        let reply = request.set_exclusive_start_key(start).send().await.map_err(failure)?;
        let more = reply.last_evaluated_key.is_some();
        let items: Result<Vec<T>, _> = reply.items.unwrap_or_default().into_iter().map(from_item).collect();
        Ok((items?, more))
    }

    /// Writes everything of one decision, all or none. `before` is the subscription as it was read; none for a new one.
    /// [`StoreError::Conflict`] if somebody wrote one of the items meanwhile, if the subscriber has another subscription
    /// that is not over, if a promotion is exhausted, or if the card has had what is claimed for it: look again.
    pub async fn save(&self, before: Option<&Subscription>, write: &Write, ledger: &Ledger) -> Result<(), StoreError> {
        let next = &write.subscription;
        let mut parts: Vec<TransactWriteItem> = Vec::new();
        let item = subscription_item(next);
        parts.push(put(match before {
            None => self.0.new_item(item)?,
            Some(before) => self.0.replaced_item(item, before.v)?,
        }));
        for charge in &write.charges {
            parts.push(put(self.charge_part(charge)?));
        }
        for line in &write.history {
            parts.push(put(self.0.new_item(history_item(line))?));
        }
        for entry in &write.entries {
            parts.push(put(ledger.charge_entry(entry)?));
        }
        for reserve in &write.reserve {
            let person = UsedBy::Person(next.user);
            parts.push(reserved(&self.0, reserve)?);
            parts.push(used(&self.0, reserve.promotion, person, reserve.per_person_max)?);
        }
        for release in &write.release {
            parts.extend(released(&self.0, release, next.user)?);
        }
        if let Some(claim) = &write.claim {
            parts.extend(claimed(&self.0, claim)?);
        }
        parts.extend(self.open_part(before, next)?);
        if write.history.iter().any(|line| matches!(line.what, HistoryEvent::TrialBegan { .. })) {
            parts.push(put(self.trial_part(next.user)?));
        }
        self.0.transact_all(parts).await
    }

    /// Writes the next version of a charge by itself, and what the journal has to say of it.
    pub async fn save_charge(
        &self,
        next: &Charge,
        entry: Option<&domain::ledger::ChargeEntry>,
        ledger: &Ledger,
    ) -> Result<(), StoreError> {
        let entry = entry.map(|entry| ledger.charge_entry(entry)).transpose()?;
        self.0.transact([self.charge_part(next)?].into_iter().chain(entry)).await
    }

    /// Subscriptions and charges of one shard that were due by `now`, the longest due first, at most `limit`.
    pub async fn due(&self, shard: u8, now: Timestamp, limit: i32) -> Result<Vec<DueItem>, StoreError> {
        due::query(&self.0, shard, now, limit).await?.iter().map(due_item).collect()
    }

    /// How many included tickets of this month are used.
    pub async fn month_tickets(&self, id: SubscriptionId, month: u32) -> Result<usize, StoreError> {
        #[derive(serde::Deserialize)]
        struct Used {
            #[serde(default)]
            tickets: Vec<TicketId>,
        }
        let used = self.0.get::<Used>(id.to_string(), month_key(month)).await?;
        Ok(used.map_or(0, |used| used.tickets.len()))
    }

    /// Writes a new order together with its use of these tickets, of which the month has `most`. [`StoreError::Conflict`] if
    /// the order is there already, or if so many are not left.
    pub async fn put_order(
        &self,
        order: &Order,
        uses: &MonthTickets,
        most: u8,
        orders: &Orders,
    ) -> Result<(), StoreError> {
        let left = u64::from(most).checked_sub(uses.tickets.len() as u64).ok_or(StoreError::Conflict)?;
        let update = Update::builder().table_name(self.0.table()?).key("pk", text(uses.subscription.to_string()));
        let update = update.key("sk", text(month_key(uses.month))).update_expression("ADD tickets :tickets");
        let update = update.expression_attribute_values(":tickets", tickets(uses));
        let update = update.condition_expression("attribute_not_exists(tickets) OR size(tickets) <= :left");
        let update = update.expression_attribute_values(":left", number(left));
        let update = update.build().expect("table, key and expression are set");
        let order = orders.0.new_item(orders::item(order))?;
        self.0.transact_all(vec![put(order), TransactWriteItem::builder().update(update).build()]).await
    }

    /// Gives tickets back to their month. Doing it again changes nothing.
    pub async fn give_back(&self, unused: &MonthTickets) -> Result<(), StoreError> {
        let request = self.0.client.update_item().table_name(self.0.table()?);
        let request = request.key("pk", text(unused.subscription.to_string())).key("sk", text(month_key(unused.month)));
        let request = request.update_expression("DELETE tickets :tickets").condition_expression("attribute_exists(pk)");
        match request.expression_attribute_values(":tickets", tickets(unused)).send().await.map_err(failure) {
            // Nothing was ever used of that month.
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn charge_part(&self, charge: &Charge) -> Result<Put, StoreError> {
        let item = charge_item(charge);
        if charge.v == 1 { self.0.new_item(item) } else { self.0.replaced_item(item, charge.v - 1) }
    }

    /// Takes or gives up the one place that a subscriber has, where that changes.
    fn open_part(
        &self,
        before: Option<&Subscription>,
        next: &Subscription,
    ) -> Result<Option<TransactWriteItem>, StoreError> {
        let (had, has) = (before.is_some_and(Subscription::occupies), next.occupies());
        if had == has {
            return Ok(None);
        }
        let free_or_ours = "attribute_not_exists(pk) OR subscription = :id";
        let (pk, id) = (text(next.user.to_string()), text(next.id.to_string()));
        let part = TransactWriteItem::builder();
        let part = if has {
            let item: Item =
                [("pk", pk), ("sk", text(OPEN)), ("subscription", id.clone())].map(|(k, v)| (k.into(), v)).into();
            let put = Put::builder().table_name(self.0.table()?).set_item(Some(item));
            let put = put.condition_expression(free_or_ours).expression_attribute_values(":id", id);
            part.put(put.build().expect("table and item are set"))
        } else {
            let delete = Delete::builder().table_name(self.0.table()?).key("pk", pk).key("sk", text(OPEN));
            let delete = delete.condition_expression(free_or_ours).expression_attribute_values(":id", id);
            part.delete(delete.build().expect("table and key are set"))
        };
        Ok(Some(part.build()))
    }

    fn trial_part(&self, user: UserId) -> Result<Put, StoreError> {
        let item: Item = [("pk", text(user.to_string())), ("sk", text(TRIAL))].map(|(k, v)| (k.into(), v)).into();
        self.0.new_item(item)
    }
}

fn put(put: Put) -> TransactWriteItem {
    TransactWriteItem::builder().put(put).build()
}

/// Keys sort as periods and changes do.
fn charge_key(id: ChargeRef) -> String {
    format!("charge#{:010}.{:03}", id.period, id.change)
}

fn history_key(v: u64, nth: u8) -> String {
    format!("history#{v:020}.{nth:03}")
}

/// The item with the included tickets that are used in a month, as a set: using one twice is using it once, and giving it
/// back twice is giving it back once.
fn month_key(month: u32) -> String {
    format!("used#{month:010}")
}

fn tickets(of: &MonthTickets) -> AttributeValue {
    AttributeValue::Ss(of.tickets.iter().map(TicketId::to_string).collect())
}

fn due_item(keys: &Item) -> Result<DueItem, StoreError> {
    let wrong = || StoreError::Failed("a due item is neither a subscription nor a charge".into());
    let key = |name: &str| keys.get(name).and_then(|value| value.as_s().ok()).map(String::as_str).unwrap_or_default();
    let (pk, sk) = (key("pk"), key("sk"));
    let Some(charge) = sk.strip_prefix("charge#") else {
        let (user, id) = (pk.parse().map_err(|_| wrong())?, sk.parse().map_err(|_| wrong())?);
        return Ok(DueItem::Subscription { user, id });
    };
    let (period, change) = charge.split_once('.').ok_or_else(wrong)?;
    let subscription = pk.parse().map_err(|_| wrong())?;
    let (period, change) = (period.parse().map_err(|_| wrong())?, change.parse().map_err(|_| wrong())?);
    Ok(DueItem::Charge(ChargeRef { subscription, period, change }))
}

fn subscription_item(subscription: &Subscription) -> Item {
    let mut item = to_item(subscription);
    item.insert("pk".into(), text(subscription.user.to_string()));
    item.insert("sk".into(), text(subscription.id.to_string()));
    due::index(&mut item, subscription.id.0, DUE_SHARDS, subscription.due_at);
    item
}

fn charge_item(charge: &Charge) -> Item {
    let mut item = to_item(charge);
    item.insert("pk".into(), text(charge.id.subscription.to_string()));
    item.insert("sk".into(), text(charge_key(charge.id)));
    due::index(&mut item, charge.id.subscription.0, DUE_SHARDS, charge.due_at);
    item
}

fn history_item(line: &History) -> Item {
    let mut item = to_item(line);
    item.insert("pk".into(), text(line.subscription.to_string()));
    item.insert("sk".into(), text(history_key(line.v, line.nth)));
    item
}
