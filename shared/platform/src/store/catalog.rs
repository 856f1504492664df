//! The catalogue: venues, performers, halls' schemes and events.
//!
//! `pk = "venues" | "performers"`, `sk = id`; `pk = layout`, `sk = version`; `pk = event`, `sk = "event"`. The index
//! `by-month` has events that are public under the month of their start (UTC), drafts under `drafts`.

use super::{Db, StoreError, failure, from_item, text, to_item};
use crate::App;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::catalog::{Event, EventStatus, Performer, Venue};
use domain::ids::{EventId, PerformerId, VenueId};
use domain::layout::{Hall, Layout, LayoutRef};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Venues or performers that are listed.
const LIST_ITEMS_MAX: i32 = 1000;
/// Events of one month that are public, and of one read of them.
pub const MONTH_EVENTS_MAX: usize = 2000;
const MONTH_PAGE_EVENTS: i32 = 250;
const DRAFTS: &str = "drafts";

#[derive(Clone)]
pub struct Catalog(pub Db);

/// A thing with a digest of the request that made it, by which a repeated key with other contents is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made<T> {
    pub request: String,
    #[serde(flatten)]
    pub made: T,
}

impl Catalog {
    pub async fn venue(&self, id: VenueId) -> Result<Option<Made<Venue>>, StoreError> {
        self.0.get("venues".into(), id.to_string()).await
    }

    pub async fn performer(&self, id: PerformerId) -> Result<Option<Made<Performer>>, StoreError> {
        self.0.get("performers".into(), id.to_string()).await
    }

    pub async fn venues(&self) -> Result<Vec<Made<Venue>>, StoreError> {
        self.list("venues").await
    }

    pub async fn performers(&self) -> Result<Vec<Made<Performer>>, StoreError> {
        self.list("performers").await
    }

    /// Writes a new venue, or gives back the one of this id that is there; so do its neighbours.
    pub async fn put_venue(&self, venue: &Made<Venue>) -> Result<Result<(), Made<Venue>>, StoreError> {
        self.put("venues".into(), venue.made.id.to_string(), venue).await
    }

    pub async fn put_performer(&self, performer: &Made<Performer>) -> Result<Result<(), Made<Performer>>, StoreError> {
        self.put("performers".into(), performer.made.id.to_string(), performer).await
    }

    pub async fn put_layout(&self, layout: &Made<Layout>) -> Result<Result<(), Made<Layout>>, StoreError> {
        let reference = LayoutRef::new(layout.made.id, layout.made.version);
        self.put(reference.id.to_string(), version(reference), layout).await
    }

    pub async fn layout(&self, layout: LayoutRef) -> Result<Option<Made<Layout>>, StoreError> {
        self.0.get(layout.id.to_string(), version(layout)).await
    }

    /// The version of a scheme that was added last.
    pub async fn latest_layout(&self, id: domain::ids::LayoutId) -> Result<Option<Made<Layout>>, StoreError> {
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true).limit(1);
        let request = request.scan_index_forward(false).key_condition_expression("pk = :pk");
        let reply = request.expression_attribute_values(":pk", text(id.to_string())).send().await.map_err(failure)?;
        reply.items.unwrap_or_default().into_iter().next().map(from_item).transpose()
    }

    pub async fn event(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        self.0.get(id.to_string(), "event".into()).await
    }

    pub async fn put_event(&self, event: &Event) -> Result<Result<(), Event>, StoreError> {
        self.0.put_new(event_item(event)).await
    }

    /// Writes the next version of an event; [`StoreError::Conflict`] if somebody else wrote it meanwhile.
    pub async fn save_event(&self, next: &Event) -> Result<(), StoreError> {
        self.0.replace(event_item(next), next.v - 1).await
    }

    /// Events that start in this month (`2026-12`, UTC) and are public, from after `cursor`, by their start.
    pub async fn month(&self, month: &str, after: &str, limit: i32) -> Result<Vec<Event>, StoreError> {
        self.indexed(month, after, limit).await
    }

    pub async fn drafts(&self, after: &str, limit: i32) -> Result<Vec<Event>, StoreError> {
        self.indexed(DRAFTS, after, limit).await
    }

    async fn indexed(&self, gpk: &str, after: &str, limit: i32) -> Result<Vec<Event>, StoreError> {
        let request = self.0.client.query().table_name(self.0.table()?).index_name("by-month").limit(limit);
        let request = request.key_condition_expression("gpk = :gpk AND gsk > :after");
        let request = request.expression_attribute_values(":gpk", text(gpk));
        let after = if after.is_empty() { " " } else { after };
        let reply = request.expression_attribute_values(":after", text(after)).send().await.map_err(failure)?;
        reply.items.unwrap_or_default().into_iter().map(from_item).collect()
    }

    async fn list<T: DeserializeOwned>(&self, pk: &str) -> Result<Vec<T>, StoreError> {
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true).limit(LIST_ITEMS_MAX);
        let request = request.key_condition_expression("pk = :pk").expression_attribute_values(":pk", text(pk));
        let reply = request.send().await.map_err(failure)?;
        reply.items.unwrap_or_default().into_iter().map(from_item).collect()
    }

    async fn put<T: Serialize + DeserializeOwned>(
        &self,
        pk: String,
        sk: String,
        value: &T,
    ) -> Result<Result<(), T>, StoreError> {
        let mut item = to_item(value);
        item.insert("pk".into(), text(pk));
        item.insert("sk".into(), text(sk));
        self.0.put_new(item).await
    }
}

/// Where an event stands in the index: by its start, then by its id.
pub fn event_cursor(event: &Event) -> String {
    format!("{:.0}#{}", event.starts_at, event.id)
}

/// The month an instant is in, as the index has it.
pub fn month_of(at: Timestamp) -> String {
    at.strftime("%Y-%m").to_string()
}

fn event_item(event: &Event) -> HashMap<String, AttributeValue> {
    let mut item = to_item(event);
    let month = match event.status {
        EventStatus::Draft => DRAFTS.to_owned(),
        EventStatus::Published | EventStatus::Cancelled => month_of(event.starts_at),
    };
    item.insert("pk".into(), text(event.id.to_string()));
    item.insert("sk".into(), text("event"));
    item.insert("gpk".into(), text(month));
    item.insert("gsk".into(), text(event_cursor(event)));
    item
}

fn version(layout: LayoutRef) -> String {
    format!("{:06}", layout.version)
}

impl App {
    /// An event as it was at most two seconds ago: good for showing and for holding seats, not for taking money.
    pub async fn recent_event(&self, id: EventId) -> Result<Option<Arc<Event>>, StoreError> {
        let fetch = async { self.catalog.event(id).await?.ok_or(Absent::NotThere) };
        present(self.caches.events.get(id, self.now(), fetch).await)
    }

    /// The events of a month, by their start, as they were at most two seconds ago.
    pub async fn recent_month(&self, month: &str) -> Result<Arc<Vec<Event>>, StoreError> {
        let fetch = async {
            let mut events: Vec<Event> = Vec::new();
            loop {
                let after = events.last().map(event_cursor).unwrap_or_default();
                let page = self.catalog.month(month, &after, MONTH_PAGE_EVENTS).await?;
                let is_last = page.is_empty();
                events.extend(page);
                if is_last || events.len() >= MONTH_EVENTS_MAX {
                    return Ok(events);
                }
            }
        };
        self.caches.months.get(month.to_owned(), self.now(), fetch).await
    }

    /// A hall's scheme with its index; it never changes.
    pub async fn hall(&self, layout: LayoutRef) -> Result<Option<Arc<Hall>>, StoreError> {
        let fetch =
            async { self.catalog.layout(layout).await?.map(|stored| Hall::new(stored.made)).ok_or(Absent::NotThere) };
        present(self.caches.halls.get((layout.id, layout.version), self.now(), fetch).await)
    }
}

/// Nothing was fetched: because of an error, or because there is nothing; neither is kept.
enum Absent {
    Error(StoreError),
    NotThere,
}

impl From<StoreError> for Absent {
    fn from(error: StoreError) -> Self {
        Self::Error(error)
    }
}

fn present<T>(fetched: Result<Arc<T>, Absent>) -> Result<Option<Arc<T>>, StoreError> {
    match fetched {
        Ok(value) => Ok(Some(value)),
        Err(Absent::NotThere) => Ok(None),
        Err(Absent::Error(error)) => Err(error),
    }
}
