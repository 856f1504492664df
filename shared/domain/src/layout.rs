//! A hall's scheme: what an admin posts, what is stored, and an index of it that finds a seat at once.
//!
//! Positions are whole plan units (the demo halls use centimetres), x to the right and y downwards as on a screen. Seat
//! `i` of a row of `n`, counted from 0, is drawn at `x + i·dx`, `y + i·dy + bow·4t(1−t)` with `t = i / (n − 1)`.

mod scheme;

pub use scheme::*;

use crate::ids::{LayoutId, VenueId};
use crate::seating::{BLOCK_SEATS_MAX, Block, Place, SeatName};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What stands for the row on a ticket of a standing area; no row of seats can have this name.
pub const STANDING_ROW: &str = "-";

/// One version of a hall's scheme. A version never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LayoutRef {
    pub id: LayoutId,
    pub version: u32,
}

/// One thing that is wrong in what somebody posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct Invalid {
    /// JSON pointer (RFC 6901) into what was posted.
    pub pointer: String,
    pub message: String,
}

/// A hall's scheme that was found valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub id: LayoutId,
    pub version: u32,
    pub venue: VenueId,
    pub name: String,
    pub categories: Vec<Category>,
    pub sections: Vec<Section>,
}

/// Seats of one price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    pub id: String,
    pub name: String,
    /// `#rrggbb`, for the plan.
    pub color: String,
}

/// A part of the hall, in JSON `{id, name, rows: […]}` or `{id, name, standing: {…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// What a seat's name, the seat map and the keys of the table call it.
    pub id: String,
    /// What the plan's heading calls it.
    pub name: String,
    #[serde(flatten)]
    pub kind: SectionKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SectionKind {
    /// From the best row to the last: best available offers earlier rows first.
    Rows(Vec<Row>),
    Standing(Standing),
}

/// Seats in a line, numbered `first`, `first + step`, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub name: String,
    /// Where the first seat is, in plan units.
    pub x: i32,
    pub y: i32,
    /// From one seat to the next, in plan units.
    pub dx: i32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dy: i32,
    /// How much further down than its ends the middle of a curved row is, in plan units.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bow: i32,
    /// Positions from end to end, those of `gaps` included.
    pub seats: u16,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub first: u16,
    /// 1 or 2, or −1 or −2 where numbers fall.
    #[serde(default = "one_up", skip_serializing_if = "is_one_up")]
    pub step: i8,
    pub category: String,
    /// Seats of another category than the row's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Zone>,
    /// Numbers of the places for a wheelchair.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accessible: Vec<u16>,
    /// Numbers that do not exist; the plan leaves their positions empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<u16>,
}

/// Seats of a row by number, both ends included, and their category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    pub from: u16,
    pub to: u16,
    pub category: String,
}

/// A standing area: a rectangle on the plan. Its places are numbered, but nobody sees the numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    pub capacity: u32,
    pub category: String,
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}

fn one() -> u16 {
    1
}

fn is_one(value: &u16) -> bool {
    *value == 1
}

fn one_up() -> i8 {
    1
}

fn is_one_up(value: &i8) -> bool {
    *value == 1
}

impl Row {
    /// The number of the seat at this position, if there is a seat.
    pub fn number_at(&self, position: u16) -> Option<u16> {
        let number = i32::from(self.first) + i32::from(self.step) * i32::from(position);
        let number = u16::try_from(number).ok()?;
        (position < self.seats && !self.gaps.contains(&number)).then_some(number)
    }

    /// The position of this number in the row's numbering, whether or not it is a gap.
    fn position_of(&self, number: u16) -> Option<u16> {
        let (distance, step) = (i32::from(number) - i32::from(self.first), i32::from(self.step));
        if step == 0 || distance % step != 0 {
            return None;
        }
        u16::try_from(distance / step).ok().filter(|&position| position < self.seats)
    }
}

/// A layout with its index. Building it walks the whole hall, so keep it, behind an `Arc`.
#[derive(Debug)]
pub struct Hall {
    layout: Layout,
    sections: Vec<SectionIndex>,
    by_id: HashMap<String, usize>,
    seats_total: u32,
}

/// A seat found: how the lock knows it, and what decides its price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'h> {
    pub place: Place,
    pub category: &'h str,
    pub accessible: bool,
}

/// A block of a section and where it lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    pub block: Block,
    /// Places of the block, gaps included; its indices are `0..seats`.
    pub seats: u8,
    /// The row's index in the section; of a standing area, 0.
    pub row: usize,
    /// Position in the row (or the standing area) of the block's first place.
    pub first_position: u32,
    /// Index among all places of the section of the block's first place.
    pub first_place: u32,
}

/// What never changes of one place of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlaceInfo {
    /// Index in the layout's categories.
    pub(crate) category: u8,
    pub(crate) accessible: bool,
    pub(crate) is_gap: bool,
}

#[derive(Debug)]
pub(crate) struct SectionIndex {
    pub(crate) blocks: Vec<BlockInfo>,
    block_by_row: HashMap<String, usize>,
    row_by_name: HashMap<String, usize>,
    /// For each row, the index of its first place among those of the section.
    pub(crate) row_first_places: Vec<u32>,
    pub(crate) places: Vec<PlaceInfo>,
}

impl Hall {
    pub fn new(layout: Layout) -> Self {
        let categories: HashMap<&str, u8> = (0..).zip(&layout.categories).map(|(i, c)| (c.id.as_str(), i)).collect();
        let sections: Vec<_> = layout.sections.iter().map(|section| SectionIndex::new(section, &categories)).collect();
        let by_id = layout.sections.iter().enumerate().map(|(i, section)| (section.id.clone(), i)).collect();
        let seats_total = sections.iter().map(SectionIndex::seats_total).sum();
        Self { layout, sections, by_id, seats_total }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn categories(&self) -> &[Category] {
        &self.layout.categories
    }

    /// Seats and standing places of the whole hall.
    pub fn seats_total(&self) -> u32 {
        self.seats_total
    }

    /// The seat that a buyer names. Places of a standing area cannot be named, only asked for by number.
    pub fn find(&self, name: &SeatName) -> Option<Found<'_>> {
        let section = *self.by_id.get(&name.section)?;
        let SectionKind::Rows(rows) = &self.layout.sections[section].kind else { return None };
        let index = &self.sections[section];
        let row = *index.row_by_name.get(&name.row)?;
        let number: u16 = name.seat.parse().ok()?;
        // One spelling only: "07" would parse, and would be a second name of the same seat.
        if number.to_string() != name.seat {
            return None;
        }
        let position = u32::from(rows[row].position_of(number)?);
        self.found(section, index.row_first_places[row] + position)
    }

    /// The seat or standing place that the lock knows by this.
    pub fn at(&self, place: &Place) -> Option<Found<'_>> {
        let (section, place) = self.resolve(place)?;
        self.found(section, place)
    }

    /// What a ticket says. A standing place has [`STANDING_ROW`] for a row and a running number, which is not shown.
    pub fn name_of(&self, place: &Place) -> Option<SeatName> {
        let (section, nth) = self.resolve(place)?;
        let (index, section) = (&self.sections[section], &self.layout.sections[section]);
        if index.places[nth as usize].is_gap {
            return None;
        }
        let (row, seat) = match &section.kind {
            SectionKind::Standing(_) => (STANDING_ROW, nth + 1),
            SectionKind::Rows(rows) => {
                let row = index.block(&place.block.row)?.row;
                let position = u16::try_from(nth - index.row_first_places[row]).ok()?;
                (rows[row].name.as_str(), u32::from(rows[row].number_at(position)?))
            }
        };
        Some(SeatName { section: section.id.clone(), row: row.to_owned(), seat: seat.to_string() })
    }

    /// The blocks of a section in the order of the scheme; none if there is no such section.
    pub fn blocks(&self, section: &str) -> &[BlockInfo] {
        self.by_id.get(section).map_or(&[], |&section| &self.sections[section].blocks)
    }

    pub(crate) fn section(&self, id: &str) -> Option<(usize, &SectionIndex)> {
        let section = *self.by_id.get(id)?;
        Some((section, &self.sections[section]))
    }

    /// The place by its index among those of its section.
    pub(crate) fn place(&self, section: usize, nth: u32) -> Place {
        let blocks = &self.sections[section].blocks;
        let info = &blocks[blocks.partition_point(|block| block.first_place <= nth) - 1];
        let index = u8::try_from(nth - info.first_place).expect("a block has at most BLOCK_SEATS_MAX places");
        Place { block: info.block.clone(), index }
    }

    fn found(&self, section: usize, nth: u32) -> Option<Found<'_>> {
        let info = self.sections[section].places[nth as usize];
        let category = &self.layout.categories[usize::from(info.category)].id;
        (!info.is_gap).then(|| Found { place: self.place(section, nth), category, accessible: info.accessible })
    }

    /// Index of the section, and of the place among those of the section.
    fn resolve(&self, place: &Place) -> Option<(usize, u32)> {
        let (section, index) = self.section(&place.block.section)?;
        let block = index.block(&place.block.row)?;
        (place.index < block.seats).then(|| (section, block.first_place + u32::from(place.index)))
    }
}

impl SectionIndex {
    fn new(section: &Section, categories: &HashMap<&str, u8>) -> Self {
        let mut index = Self {
            blocks: Vec::new(),
            block_by_row: HashMap::new(),
            row_by_name: HashMap::new(),
            row_first_places: Vec::new(),
            places: Vec::new(),
        };
        match &section.kind {
            SectionKind::Rows(rows) => {
                for (i, row) in rows.iter().enumerate() {
                    index.row_by_name.insert(row.name.clone(), i);
                    index.row_first_places.push(index.places.len() as u32);
                    index.add_blocks(section, i, u32::from(row.seats), |part| match part {
                        0 => row.name.clone(),
                        _ => format!("{}~{part}", row.name),
                    });
                    index.places.extend(places_of(row, categories));
                }
            }
            SectionKind::Standing(standing) => {
                let place = PlaceInfo { category: categories[&*standing.category], accessible: false, is_gap: false };
                index.add_blocks(section, 0, standing.capacity, |part| format!("s{part}"));
                index.places = vec![place; standing.capacity as usize];
            }
        }
        index
    }

    /// Splits so many places into blocks as even as can be; the earlier ones have the odd places.
    fn add_blocks(&mut self, section: &Section, row: usize, places: u32, name: impl Fn(u32) -> String) {
        let parts = places.div_ceil(u32::from(BLOCK_SEATS_MAX));
        let mut first_position = 0;
        for part in 0..parts {
            let seats = places / parts + u32::from(part < places % parts);
            let block = Block { section: section.id.clone(), row: name(part) };
            self.block_by_row.insert(block.row.clone(), self.blocks.len());
            let first_place = self.places.len() as u32 + first_position;
            let seats = u8::try_from(seats).expect("a part has at most BLOCK_SEATS_MAX places");
            self.blocks.push(BlockInfo { block, seats, row, first_position, first_place });
            first_position += u32::from(seats);
        }
    }

    pub(crate) fn block(&self, row: &str) -> Option<&BlockInfo> {
        self.block_by_row.get(row).map(|&block| &self.blocks[block])
    }

    fn seats_total(&self) -> u32 {
        self.places.iter().filter(|place| !place.is_gap).count() as u32
    }
}

fn places_of(row: &Row, categories: &HashMap<&str, u8>) -> Vec<PlaceInfo> {
    let usual = PlaceInfo { category: categories[&*row.category], accessible: false, is_gap: false };
    let mut places = vec![usual; usize::from(row.seats)];
    let position = |number| usize::from(row.position_of(number).expect("a valid layout names numbers of the row"));
    for zone in &row.zones {
        let (from, to) = (position(zone.from), position(zone.to));
        places[from.min(to)..=from.max(to)].iter_mut().for_each(|place| place.category = categories[&*zone.category]);
    }
    row.accessible.iter().for_each(|&number| places[position(number)].accessible = true);
    row.gaps.iter().for_each(|&number| places[position(number)].is_gap = true);
    places
}

#[cfg(test)]
mod tests;
