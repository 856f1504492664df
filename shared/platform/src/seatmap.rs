//! Which seats are free: read once for many, and kept for a second.

use crate::store::StoreError;
use crate::{App, Rng};
use bytes::Bytes;
use domain::catalog::Event;
use domain::layout::Hall;
use domain::money::Money;
use domain::seating::Place;
use domain::seating::best::{BestAsk, best};
use domain::seating::map::{SeatMap, SectionState};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

/// Sections that are read at the same time.
const SECTIONS_AT_ONCE_MAX: usize = 8;

/// What is free at an event, as it was at most a second ago, ready to be sent.
pub struct Availability {
    pub hall: Arc<Hall>,
    /// What this instance knows: what was read, less the seats that it has seen taken since.
    states: Mutex<Vec<SectionState>>,
    pub json: Bytes,
    pub gzip: Bytes,
    pub etag: String,
}

impl Availability {
    /// Up to `groups_max` groups of free seats, best first (`domain::seating::best`).
    pub fn best(&self, ask: &BestAsk, groups_max: usize, rng: &Rng) -> Vec<Vec<Place>> {
        let states = self.states.lock().expect("no panic holds this lock");
        best(&self.hall, &states, ask, groups_max, &mut |bound| rng.below(bound))
    }

    /// Notes seats that were just locked, by whomever, so that nobody here is offered them again.
    pub fn take(&self, places: impl IntoIterator<Item = Place>) {
        let mut states = self.states.lock().expect("no panic holds this lock");
        for place in places {
            if let Some(state) = states.iter_mut().find(|state| state.section() == place.block.section) {
                state.take(&self.hall, &place);
            }
        }
    }
}

/// The availability of an event: one read of the table for all who ask within a second.
pub async fn seat_map(app: &App, event: &Event) -> Result<Arc<Availability>, StoreError> {
    app.caches.maps.get(event.id, app.now(), read(app, event)).await
}

async fn read(app: &App, event: &Event) -> Result<Availability, StoreError> {
    let hall = app.hall(event.layout).await?;
    let hall = hall.ok_or_else(|| StoreError::Failed(format!("the layout of {} is not there", event.id)))?;
    let sections: Vec<_> = hall.layout().sections.iter().map(|section| section.id.as_str()).collect();
    let sections: Vec<_> = sections.into_iter().map(|section| section_state(app, event, &hall, section)).collect();
    let states: Vec<_> = futures_util::stream::iter(sections).buffered(SECTIONS_AT_ONCE_MAX).try_collect().await?;
    let map = SeatMap::new(&hall, &event.prices, &states);
    let etag = format!("{}-{}", event.v, map.hash);
    let price = |amount: i64| Money::new(amount, event.currency);
    let prices: BTreeMap<_, _> = event.prices.iter().map(|(category, &amount)| (category, price(amount))).collect();
    let mut body = json!({ "layout": event.layout, "prices": prices, "sections": map.sections, "free": map.free });
    if event.service_fee > 0 {
        body["service_fee"] = json!(price(event.service_fee));
    }
    let json = Bytes::from(serde_json::to_vec(&body).expect("a seat map is plain JSON"));
    let gzip = Bytes::from(compress(&json).expect("memory takes what is written"));
    Ok(Availability { hall, states: Mutex::new(states), json, gzip, etag })
}

async fn section_state(app: &App, event: &Event, hall: &Hall, section: &str) -> Result<SectionState, StoreError> {
    let rows = app.seats.section(event.id, section).await?;
    let words = rows.iter().flat_map(|(row, seats)| seats.iter().map(|(index, word)| (&**row, *index, &**word)));
    let state = SectionState::new(hall, section, &event.prices, words, app.now());
    Ok(state.expect("the section is of this hall"))
}

fn compress(json: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json)?;
    encoder.finish()
}
