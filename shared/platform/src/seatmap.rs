//! Which seats are free: read once for many, and kept for a second.

use crate::store::StoreError;
use crate::{App, Rng};
use bytes::Bytes;
use domain::catalog::Event;
use domain::layout::Hall;
use domain::money::Money;
use domain::seating::best::{BestAsk, best};
use domain::seating::map::{SeatMap, SectionState};
use domain::seating::words::Channel;
use domain::seating::{Place, SeatName};
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
        take(&self.hall, &mut self.states.lock().expect("no panic holds this lock"), places);
    }
}

/// What is free at an event for a channel, as it is now.
pub struct SetAside {
    hall: Arc<Hall>,
    states: Vec<SectionState>,
}

impl SetAside {
    pub async fn read(app: &App, event: &Event, channel: Channel) -> Result<Self, StoreError> {
        let (hall, states) = states(app, event, Some(channel)).await?;
        Ok(Self { hall, states })
    }

    /// As [`Availability::best`].
    pub fn best(&self, ask: &BestAsk, groups_max: usize, rng: &Rng) -> Vec<Vec<Place>> {
        best(&self.hall, &self.states, ask, groups_max, &mut |bound| rng.below(bound))
    }

    /// What a person calls a place of this hall.
    pub fn name_of(&self, place: &Place) -> Option<SeatName> {
        self.hall.name_of(place)
    }

    /// Notes seats that were just locked, by whomever.
    pub fn take(&mut self, places: impl IntoIterator<Item = Place>) {
        take(&self.hall, &mut self.states, places);
    }
}

fn take(hall: &Hall, states: &mut [SectionState], places: impl IntoIterator<Item = Place>) {
    for place in places {
        if let Some(state) = states.iter_mut().find(|state| state.section() == place.block.section) {
            state.take(hall, &place);
        }
    }
}

/// The availability of an event: one read of the table for all who ask within a second.
pub async fn seat_map(app: &App, event: &Event) -> Result<Arc<Availability>, StoreError> {
    app.caches.maps.get(event.id, app.now(), read(app, event)).await
}

/// An event's hall, and the states of its sections as the public or a channel sees them.
async fn states(
    app: &App,
    event: &Event,
    channel: Option<Channel>,
) -> Result<(Arc<Hall>, Vec<SectionState>), StoreError> {
    let hall = app.hall(event.layout).await?;
    let hall = hall.ok_or_else(|| StoreError::Failed(format!("the layout of {} is not there", event.id)))?;
    let sections: Vec<_> = hall.layout().sections.iter().map(|section| section.id.as_str()).collect();
    let read = |section| section_state(app, event, &hall, section, channel);
    let sections: Vec<_> = sections.into_iter().map(read).collect();
    let states = futures_util::stream::iter(sections).buffered(SECTIONS_AT_ONCE_MAX).try_collect().await?;
    Ok((hall, states))
}

async fn read(app: &App, event: &Event) -> Result<Availability, StoreError> {
    let (hall, states) = states(app, event, None).await?;
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

async fn section_state(
    app: &App,
    event: &Event,
    hall: &Hall,
    section: &str,
    channel: Option<Channel>,
) -> Result<SectionState, StoreError> {
    let rows = app.seats.section(event.id, section).await?;
    let words = rows.iter().flat_map(|(row, seats)| seats.iter().map(|(index, word)| (&**row, *index, &**word)));
    let state = match channel {
        None => SectionState::new(hall, section, &event.prices, words, app.now()),
        Some(channel) => SectionState::of_channel(channel, hall, section, &event.prices, words, app.now()),
    };
    Ok(state.expect("the section is of this hall"))
}

fn compress(json: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json)?;
    encoder.finish()
}
