//! What the public sees of a hall: two bits a seat, and how many are left.

use super::words::Channel;
use super::{Place, SeatState, words};
use crate::layout::{BlockInfo, Hall, SectionIndex, SectionKind};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The states of all places of a section, in the order of its blocks. It is advice: the lock decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionState {
    section: String,
    places: Vec<SeatState>,
}

impl SectionState {
    /// Reads the stored lock words of a section, given as the row's key, the index in it and the word.
    ///
    /// Gaps, and seats of categories that have no price, are not for sale. Nothing if the hall has no such section.
    pub fn new<'a>(
        hall: &Hall,
        section: &str,
        prices: &BTreeMap<String, i64>,
        words: impl IntoIterator<Item = (&'a str, u8, &'a str)>,
        now: Timestamp,
    ) -> Option<Self> {
        let seen = |word: Option<&str>| words::state(word, now);
        Self::seen_as(hall, section, prices, words, seen)
    }

    /// The same as a channel sees it: those that are set aside for it are free too.
    pub fn of_channel<'a>(
        channel: Channel,
        hall: &Hall,
        section: &str,
        prices: &BTreeMap<String, i64>,
        words: impl IntoIterator<Item = (&'a str, u8, &'a str)>,
        now: Timestamp,
    ) -> Option<Self> {
        let is_free = |word: &str| words::is_free_in(channel, word, now);
        let seen =
            |word: Option<&str>| if word.is_some_and(is_free) { SeatState::Free } else { words::state(word, now) };
        Self::seen_as(hall, section, prices, words, seen)
    }

    fn seen_as<'a>(
        hall: &Hall,
        section: &str,
        prices: &BTreeMap<String, i64>,
        words: impl IntoIterator<Item = (&'a str, u8, &'a str)>,
        seen: impl Fn(Option<&str>) -> SeatState,
    ) -> Option<Self> {
        let (_, index) = hall.section(section)?;
        let priced: Vec<_> = hall.categories().iter().map(|category| prices.contains_key(&category.id)).collect();
        let unsold = |is_gap, category: u8| is_gap || !priced[usize::from(category)];
        let mut places: Vec<_> = index
            .places
            .iter()
            .map(|place| if unsold(place.is_gap, place.category) { SeatState::NotForSale } else { seen(None) })
            .collect();
        for (row, seat, word) in words {
            // A layout never changes, so words of other places are nobody's seats.
            let Some(block) = index.block(row).filter(|block| seat < block.seats) else { continue };
            let place = &mut places[block.first_place as usize + usize::from(seat)];
            if *place != SeatState::NotForSale {
                *place = seen(Some(word));
            }
        }
        Some(Self { section: section.to_owned(), places })
    }

    /// The section's id.
    pub fn section(&self) -> &str {
        &self.section
    }

    /// The states of a block of this section.
    pub fn block(&self, block: &BlockInfo) -> &[SeatState] {
        &self.places[block.first_place as usize..][..usize::from(block.seats)]
    }

    /// Notes that a seat is no longer free; one of another section, or that is not free anyway, stays as it is.
    pub fn take(&mut self, hall: &Hall, place: &Place) {
        let section = hall.section(&self.section).filter(|_| place.block.section == self.section);
        let block =
            section.and_then(|(_, index)| index.block(&place.block.row)).filter(|block| place.index < block.seats);
        let state = block.map(|block| &mut self.places[block.first_place as usize + usize::from(place.index)]);
        if let Some(state) = state.filter(|state| **state == SeatState::Free) {
            *state = SeatState::Held;
        }
    }

    pub(super) fn places(&self) -> &[SeatState] {
        &self.places
    }
}

/// The seat map as clients get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeatMap {
    pub sections: Vec<SectionMap>,
    /// Free seats and standing places by category; every category that has a price is there.
    pub free: BTreeMap<String, u32>,
    /// The first 128 bits, in hexadecimal, of SHA-256 of the states: the same states give the same.
    #[serde(skip)]
    pub hash: String,
}

/// A section of the seat map: `{id, rows}`, or `{id, capacity, free}` of a standing area.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SectionMap {
    Seated {
        id: String,
        /// By the row's name: [`SeatState`] of each position (gaps included) from the first to the last as two bits, the
        /// most significant first, in unpadded base64url.
        rows: BTreeMap<String, String>,
    },
    Standing {
        id: String,
        capacity: u32,
        free: u32,
    },
}

impl SeatMap {
    /// The map of these sections, in this order.
    pub fn new(hall: &Hall, prices: &BTreeMap<String, i64>, sections: &[SectionState]) -> Self {
        let mut free = vec![0; hall.categories().len()];
        let mut hash = Sha256::new();
        let sections = sections.iter().map(|state| {
            let (nth, index) = hall.section(&state.section).expect("the states are of this hall");
            for (place, info) in state.places.iter().zip(&index.places) {
                free[usize::from(info.category)] += u32::from(*place == SeatState::Free);
            }
            section_map(state, index, &hall.layout().sections[nth].kind, &mut hash)
        });
        let sections = sections.collect();
        let free = hall.categories().iter().zip(free).filter(|(category, _)| prices.contains_key(&category.id));
        let free = free.map(|(category, free)| (category.id.clone(), free)).collect();
        let digest = hash.finalize();
        let hash = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { sections, free, hash }
    }
}

fn section_map(state: &SectionState, index: &SectionIndex, kind: &SectionKind, hash: &mut Sha256) -> SectionMap {
    let id = state.section.clone();
    hash.update((id.len() as u64).to_be_bytes());
    hash.update(&id);
    match kind {
        SectionKind::Standing(_) => {
            let free = state.places.iter().filter(|&&place| place == SeatState::Free).count() as u32;
            hash.update(free.to_be_bytes());
            SectionMap::Standing { id, capacity: state.places.len() as u32, free }
        }
        SectionKind::Rows(rows) => {
            let packed = rows.iter().zip(&index.row_first_places).map(|(row, &first)| {
                let bits = pack(&state.places[first as usize..][..usize::from(row.seats)]);
                hash.update(&bits);
                (row.name.clone(), URL_SAFE_NO_PAD.encode(bits))
            });
            SectionMap::Seated { id, rows: packed.collect() }
        }
    }
}

fn pack(states: &[SeatState]) -> Vec<u8> {
    let byte = |four: &[SeatState]| (0..4).fold(0, |byte, i| byte << 2 | four.get(i).map_or(0, |&state| state as u8));
    states.chunks(4).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LayoutId, OrderId, VenueId};
    use crate::layout::SchemeIn;
    use serde_json::json;

    fn hall() -> Hall {
        let scheme: SchemeIn = serde_json::from_value(json!({
            "name": "Small hall",
            "categories": [{"id": "a", "name": "A", "color": "#000000"}, {"id": "b", "name": "B", "color": "#ffffff"}],
            "sections": [
                {"id": "Stalls", "name": "Stalls", "rows": [
                    {"name": "1", "x": 0, "y": 0, "dx": 50, "seats": 6, "category": "a", "gaps": [3]},
                    {"name": "2", "x": 0, "y": 90, "dx": 50, "seats": 50, "category": "a"},
                    {"name": "3", "x": 0, "y": 180, "dx": 50, "seats": 2, "category": "b"}]},
                {"id": "Floor", "name": "Floor",
                    "standing": {"capacity": 60, "category": "a", "x": 0, "y": 300, "width": 100, "height": 100}}]
        }))
        .unwrap();
        Hall::new(scheme.validate(LayoutId(1), 1, VenueId(1)).unwrap())
    }

    fn map(prices: &[&str], words: &[(&str, u8, &str)], now: i64) -> SeatMap {
        let (hall, now) = (hall(), Timestamp::from_second(now).unwrap());
        let prices = prices.iter().map(|&category| (category.to_owned(), 1)).collect();
        let seated = |row: &str| !row.starts_with('s');
        let state = |section: &str, wanted: bool| {
            let words = words.iter().copied().filter(|word| seated(word.0) == wanted);
            SectionState::new(&hall, section, &prices, words, now).unwrap()
        };
        SeatMap::new(&hall, &prices, &[state("Stalls", true), state("Floor", false)])
    }

    #[test]
    fn a_map_shows_two_bits_a_seat_and_what_is_left() {
        let (hold, at) = (words::Hold::of(OrderId(1)), |second| Timestamp::from_second(second).unwrap());
        let (live, lapsed) = (words::held(at(100), hold), words::held(at(99), hold));
        let sold = words::sold(hold, 0);
        let words = [
            ("1", 0, &*live),
            ("1", 1, &*lapsed),
            ("1", 5, &*sold),
            ("2~1", 24, "Xh"),
            ("s1", 29, &*sold),
            ("9", 0, "Xh"),
        ];
        let map = map(&["a"], &words, 100);
        // Row 1: held, free, gap, free | free, sold. Row 2: 49 free seats and one blocked, the second of the last byte.
        assert_eq!(
            serde_json::to_value(&map).unwrap(),
            json!({
                "sections": [
                    {"id": "Stalls", "rows": {"1": "TCA", "2": "AAAAAAAAAAAAAAAAMA", "3": "8A"}},
                    {"id": "Floor", "capacity": 60, "free": 59}],
                "free": {"a": 3 + 49 + 59}
            })
        );
    }

    #[test]
    fn the_hash_changes_with_the_states_only() {
        let hold = words::Hold::of(OrderId(1));
        let held = words::held(Timestamp::from_second(100).unwrap(), hold);
        let one = |now| map(&["a", "b"], &[("1", 0, &held)], now).hash;
        assert_eq!(one(50), one(100));
        assert_ne!(one(100), one(101));
        assert_eq!(one(101), map(&["a", "b"], &[], 0).hash);
        assert_ne!(map(&["a"], &[], 0).hash, map(&["a", "b"], &[], 0).hash);
        assert_ne!(map(&["a"], &[("s0", 0, "Xh")], 0).hash, map(&["a"], &[], 0).hash);
        assert_eq!(one(0).len(), 32);
    }

    #[test]
    fn gaps_stay_not_for_sale_and_unknown_places_are_nobodys() {
        let lapsed = words::held(Timestamp::UNIX_EPOCH, words::Hold::of(OrderId(1)));
        let others = [("1", 2, &*lapsed), ("3", 0, &*lapsed), ("1", 6, "Xh"), ("2", 30, "Xh"), ("nowhere", 0, "Xh")];
        assert_eq!(map(&["a"], &others, 1), map(&["a"], &[], 1));
    }
}
