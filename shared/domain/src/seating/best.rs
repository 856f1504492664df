//! Best available: seats together, near the middle, without leaving somebody a single seat.
//!
//! Sections are tried in the order of the scheme, which the house writes from best to last; whoever minds the price names a
//! category. In a section a row further back costs as much as two seats further from the middle. Many people ask at
//! once, so groups of nearly equal worth are shuffled, and those of one answer do not overlap: if one is taken, the
//! next may not be. All seats of a group are of one category, and in one block unless no block has room.

use super::map::SectionState;
use super::{Place, SeatState};
use crate::layout::{Hall, PlaceInfo, SectionIndex, SectionKind};
use crate::subscriptions::perks::PERK_SEATS_MAX;
use std::cmp::Reverse;
use std::ops::Range;

/// Groups that one call gives at most.
pub const GROUPS_MAX: usize = 16;
/// What a row further back costs, in half-seats from the middle.
const ROW_HALF_SEATS: u32 = 4;
/// What a seat left alone costs, in half-seats from the middle.
const ALONE_HALF_SEATS: u32 = 3;
/// Groups that cost at most so much more than the best are as good as it, in half-seats.
const EQUAL_HALF_SEATS: u32 = 10;
/// Rows that a group is split over at most.
const SPLIT_ROWS_MAX: usize = 3;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BestAsk {
    /// 1 to [`PERK_SEATS_MAX`].
    pub quantity: u8,
    /// The id of the only section wanted.
    pub section: Option<String>,
    /// The id of the only category wanted.
    pub category: Option<String>,
    /// Wants places for a wheelchair: as many as can be had together, and at least one. Who does not is given none.
    pub accessible: bool,
}

/// Neighbours and how good they are: smaller is better.
#[derive(Clone, Debug)]
struct Candidate {
    /// Seats that are not accessible, if accessible ones are asked for.
    ordinary_seats: u32,
    cost: u32,
    places: Range<u32>,
}

/// Seats that are offered.
struct Group {
    ordinary_seats: u32,
    places: Vec<Place>,
}

/// One section as an ask sees it.
struct View<'a> {
    hall: &'a Hall,
    section: usize,
    index: &'a SectionIndex,
    states: &'a [SeatState],
    category: Option<u8>,
    ask: &'a BestAsk,
}

/// Up to `groups_max` (at most [`GROUPS_MAX`]) groups of free seats, best first, the places of each in the order of the
/// scheme; none if the hall cannot give so many.
///
/// `states` are those of the whole hall or of the section asked for; seats not for sale are not offered. `random` gives
/// a number below its argument, which is at least 1.
pub fn best(
    hall: &Hall,
    states: &[SectionState],
    ask: &BestAsk,
    groups_max: usize,
    random: &mut impl FnMut(u32) -> u32,
) -> Vec<Vec<Place>> {
    if ask.quantity == 0 || ask.quantity > PERK_SEATS_MAX {
        return Vec::new();
    }
    let groups_max = groups_max.min(GROUPS_MAX);
    let Some(views) = views(hall, states, ask) else { return Vec::new() };
    let mut groups = Vec::new();
    for view in &views {
        match hall.layout().sections[view.section].kind {
            SectionKind::Rows(_) => groups.extend(together(view, false, random)),
            SectionKind::Standing(_) => groups.extend(standing(view, random)),
        }
        // Only for accessible places may a later section have a better group than an earlier one.
        if groups.len() >= groups_max && !ask.accessible {
            break;
        }
    }
    if groups.is_empty() {
        groups = views.iter().flat_map(|view| together(view, true, random)).collect();
    }
    if groups.is_empty() {
        groups = views.iter().filter_map(split).collect();
    }
    groups.sort_by_key(|group| group.ordinary_seats);
    groups.into_iter().take(groups_max).map(|group| group.places).collect()
}

/// The sections to look at, in the order of the scheme; nothing if the hall has no such category.
fn views<'a>(hall: &'a Hall, states: &'a [SectionState], ask: &'a BestAsk) -> Option<Vec<View<'a>>> {
    let category = match &ask.category {
        None => None,
        Some(id) => Some(hall.categories().iter().position(|category| category.id == *id)? as u8),
    };
    let wanted = |state: &&SectionState| ask.section.as_deref().is_none_or(|section| section == state.section());
    let mut views: Vec<_> = states
        .iter()
        .filter(wanted)
        .map(|state| {
            let (section, index) = hall.section(state.section()).expect("the states are of this hall");
            View { hall, section, index, states: state.places(), category, ask }
        })
        .collect();
    views.sort_by_key(|view| view.section);
    Some(views)
}

impl View<'_> {
    fn fits(&self, place: u32) -> bool {
        let info = self.info(place);
        self.states[place as usize] == SeatState::Free
            && self.category.is_none_or(|category| category == info.category)
            && (self.ask.accessible || !info.accessible)
    }

    fn info(&self, place: u32) -> PlaceInfo {
        self.index.places[place as usize]
    }

    fn is_free(&self, place: u32) -> bool {
        self.states[place as usize] == SeatState::Free
    }

    /// The longest runs of fitting seats of one category within these places.
    fn runs(&self, within: Range<u32>) -> Vec<Range<u32>> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for place in within.filter(|&place| self.fits(place)) {
            match runs.last_mut() {
                Some(run) if run.end == place && self.info(run.start).category == self.info(place).category => {
                    run.end += 1;
                }
                _ => runs.push(place..place + 1),
            }
        }
        runs
    }

    /// The places of each row, from the first row to the last.
    fn rows(&self) -> impl Iterator<Item = Range<u32>> {
        let firsts = &self.index.row_first_places;
        let ends = firsts.iter().skip(1).copied().chain([self.index.places.len() as u32]);
        firsts.iter().copied().zip(ends).map(|(first, end)| first..end)
    }

    /// How many seats of a group are not what was asked for; nothing if none is.
    fn ordinary_seats(&self, places: impl Iterator<Item = u32>) -> Option<u32> {
        if !self.ask.accessible {
            return Some(0);
        }
        let accessible = places.filter(|&place| self.info(place).accessible).count() as u32;
        (accessible > 0).then(|| u32::from(self.ask.quantity) - accessible)
    }

    fn group(&self, ordinary_seats: u32, places: impl Iterator<Item = u32>) -> Group {
        Group { ordinary_seats, places: places.map(|place| self.hall.place(self.section, place)).collect() }
    }
}

/// Groups of neighbours in one block or, when `across`, in one row over the border of blocks.
fn together(view: &View<'_>, across: bool, random: &mut impl FnMut(u32) -> u32) -> Vec<Group> {
    let mut candidates = Vec::new();
    let rows: Vec<_> = view.rows().collect();
    if across {
        for (row, places) in rows.iter().enumerate() {
            add_windows(view, row, places, places.clone(), &mut candidates);
        }
    } else {
        for block in &view.index.blocks {
            let within = block.first_place..block.first_place + u32::from(block.seats);
            add_windows(view, block.row, &rows[block.row], within, &mut candidates);
        }
    }
    candidates.sort_unstable_by_key(|group| (group.ordinary_seats, group.cost, group.places.start));
    let mut chosen: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let apart = |other: &Candidate| {
            other.places.end <= candidate.places.start || candidate.places.end <= other.places.start
        };
        if chosen.iter().all(apart) {
            chosen.push(candidate);
        }
        if chosen.len() == GROUPS_MAX {
            break;
        }
    }
    if let Some(best) = chosen.first().cloned() {
        let as_good = |other: &Candidate| {
            other.ordinary_seats == best.ordinary_seats && other.cost <= best.cost + EQUAL_HALF_SEATS
        };
        let equal = chosen.iter().take_while(|other| as_good(other)).count();
        shuffle(&mut chosen[..equal], random);
    }
    chosen.into_iter().map(|candidate| view.group(candidate.ordinary_seats, candidate.places)).collect()
}

fn add_windows(view: &View<'_>, row: usize, of_row: &Range<u32>, within: Range<u32>, to: &mut Vec<Candidate>) {
    let quantity = u32::from(view.ask.quantity);
    let alone = |place: u32| {
        let neighbour = |at: Option<u32>| at.is_some_and(|at| of_row.contains(&at) && view.is_free(at));
        of_row.contains(&place)
            && view.is_free(place)
            && !(neighbour(place.checked_sub(1)) && neighbour(Some(place + 1)))
    };
    for run in view.runs(within) {
        for start in run.start..(run.end + 1).saturating_sub(quantity).max(run.start) {
            let places = start..start + quantity;
            let Some(ordinary_seats) = view.ordinary_seats(places.clone()) else { continue };
            let middle = (of_row.start + of_row.end).abs_diff(places.start + places.end);
            // A free seat beside the group is left alone if its other neighbour is not free.
            let left = places.start.checked_sub(1).is_some_and(alone);
            let singles = u32::from(left) + u32::from(alone(places.end));
            let cost = middle + row as u32 * ROW_HALF_SEATS + singles * ALONE_HALF_SEATS;
            to.push(Candidate { ordinary_seats, cost, places });
        }
    }
}

/// Places of a standing area, each group in one block picked at random, so that neighbours do not contend for it.
fn standing(view: &View<'_>, random: &mut impl FnMut(u32) -> u32) -> Vec<Group> {
    let quantity = usize::from(view.ask.quantity);
    if view.ask.accessible {
        return Vec::new();
    }
    let mut blocks: Vec<Vec<u32>> = Vec::new();
    for block in &view.index.blocks {
        let places = block.first_place..block.first_place + u32::from(block.seats);
        blocks.push(places.filter(|&place| view.fits(place)).collect());
    }
    blocks.retain(|free| free.len() >= quantity);
    shuffle(&mut blocks, random);
    let mut groups = Vec::new();
    for mut free in blocks.into_iter().take(GROUPS_MAX) {
        let turn = random(free.len() as u32) as usize;
        free.rotate_left(turn);
        free.truncate(quantity);
        free.sort_unstable();
        groups.push(view.group(0, free.into_iter()));
    }
    groups
}

/// The last resort: the longest runs of adjacent rows, the first rows that have enough; or any places of a standing area.
fn split(view: &View<'_>) -> Option<Group> {
    let quantity = u32::from(view.ask.quantity);
    if let SectionKind::Standing(_) = view.hall.layout().sections[view.section].kind {
        let free: Vec<_> =
            (0..view.states.len() as u32).filter(|&place| view.fits(place)).take(quantity as usize).collect();
        return (free.len() == quantity as usize && !view.ask.accessible).then(|| view.group(0, free.into_iter()));
    }
    let rows: Vec<_> = view.rows().map(|row| view.runs(row)).collect();
    (0..rows.len()).find_map(|first| {
        let mut places: Vec<u32> = Vec::new();
        for runs in rows.iter().skip(first).take(SPLIT_ROWS_MAX) {
            let missing = quantity as usize - places.len();
            if missing == 0 {
                break;
            }
            let same = |run: &&Range<u32>| {
                places.first().is_none_or(|&place| view.info(place).category == view.info(run.start).category)
            };
            let longest = runs.iter().filter(same).max_by_key(|run| (run.len(), Reverse(run.start)))?.clone();
            places.extend(longest.take(missing));
        }
        let ordinary_seats = view.ordinary_seats(places.iter().copied())?;
        (places.len() == quantity as usize).then(|| view.group(ordinary_seats, places.into_iter()))
    })
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], random: &mut impl FnMut(u32) -> u32) {
    for last in (1..items.len()).rev() {
        items.swap(last, random(last as u32 + 1) as usize);
    }
}

#[cfg(test)]
mod tests;
