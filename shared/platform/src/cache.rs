//! Values kept for a moment in one instance, each fetched by one caller while the others wait for it.

use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

type Slot<V> = Arc<tokio::sync::Mutex<Option<(Timestamp, Arc<V>)>>>;

pub struct Cache<K, V> {
    age_max: SignedDuration,
    entries_max: usize,
    slots: Mutex<HashMap<K, Slot<V>>>,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// Values are used for `age_max`; at `entries_max` keys it starts empty again.
    pub fn new(age_max: SignedDuration, entries_max: usize) -> Self {
        Self { age_max, entries_max, slots: Mutex::default() }
    }

    /// The kept value of the key, or a fetched one. A fetch that fails is not kept.
    pub async fn get<E>(&self, key: K, now: Timestamp, fetch: impl Future<Output = Result<V, E>>) -> Result<Arc<V>, E> {
        let shared = self.slot(key.clone());
        let mut slot = shared.lock().await;
        if let Some((at, value)) = slot.as_ref()
            && now.duration_since(*at).abs() < self.age_max
        {
            return Ok(value.clone());
        }
        let value = match fetch.await {
            Ok(value) => Arc::new(value),
            Err(error) => {
                // Whoever asks for what is not there takes no room.
                self.slots.lock().expect("no panic holds this lock").remove(&key);
                return Err(error);
            }
        };
        *slot = Some((now, value.clone()));
        Ok(value)
    }

    fn slot(&self, key: K) -> Slot<V> {
        let mut slots = self.slots.lock().expect("no panic holds this lock");
        if slots.len() >= self.entries_max && !slots.contains_key(&key) {
            slots.clear();
        }
        slots.entry(key).or_default().clone()
    }
}
