//! What an admin posts, and what is wrong with it.

use super::{Category, Invalid, Layout, Row, Section, SectionKind, Standing};
use crate::catalog::{CATEGORIES_MAX, NAME_CHARS_MAX};
use crate::ids::{LayoutId, VenueId};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

pub const SECTIONS_MAX: usize = 200;
/// Rows of one section.
pub const ROWS_MAX: usize = 200;
/// Positions of one row.
pub const ROW_SEATS_MAX: u16 = 200;
/// Seats and standing places of one hall.
pub const HALL_SEATS_MAX: u64 = 100_000;
/// Places of one standing area.
pub const STANDING_CAPACITY_MAX: u32 = 50_000;
/// Characters of the name of a section, a row or a category, as keys and tickets have it.
pub const KEY_CHARS_MAX: usize = 16;
pub const SEAT_NUMBER_MAX: i32 = 9_999;
/// The plan reaches so many units to each side of its origin.
pub const COORDINATE_UNITS_MAX: i32 = 100_000;
/// The distance of neighbouring seats, and the bow of a row, in plan units.
pub const STEP_UNITS_MAX: i32 = 10_000;
/// The layout as JSON; an item of the table holds 400 KB.
pub const LAYOUT_BYTES_MAX: usize = 250_000;
/// Errors told at once.
pub const ERRORS_MAX: usize = 20;

/// A hall's scheme as it is posted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemeIn {
    pub name: String,
    pub categories: Vec<Category>,
    /// From the best to the last: best available offers earlier sections first.
    pub sections: Vec<SectionIn>,
}

/// A section as it is posted: with rows, or with a standing area.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionIn {
    pub id: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<Row>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// Errors found so far; beyond [`ERRORS_MAX`] they are dropped.
#[derive(Default)]
struct Errors(Vec<Invalid>);

impl Errors {
    fn check(&mut self, good: bool, pointer: impl FnOnce() -> String, message: impl FnOnce() -> String) {
        if !good && self.0.len() < ERRORS_MAX {
            self.0.push(Invalid { pointer: pointer(), message: message() });
        }
    }
}

impl SchemeIn {
    /// The layout, or everything that is wrong with the scheme, up to [`ERRORS_MAX`] errors.
    pub fn validate(self, id: LayoutId, version: u32, venue: VenueId) -> Result<Layout, Vec<Invalid>> {
        let mut errors = Errors::default();
        check_title(&mut errors, &self.name, || "/name".into());
        let categories = check_categories(&mut errors, &self.categories);
        check_sections(&mut errors, &self.sections, &categories);
        if !errors.0.is_empty() {
            return Err(errors.0);
        }
        let sections = self.sections.into_iter().map(Section::from).collect();
        let layout = Layout { id, version, venue, name: self.name, categories: self.categories, sections };
        let bytes = serde_json::to_vec(&layout).expect("a layout is JSON").len();
        errors.check(bytes <= LAYOUT_BYTES_MAX, String::new, || {
            format!("{bytes} bytes as compact JSON; at most {LAYOUT_BYTES_MAX}")
        });
        if errors.0.is_empty() { Ok(layout) } else { Err(errors.0) }
    }
}

impl From<SectionIn> for Section {
    fn from(section: SectionIn) -> Self {
        let kind = match (section.rows, section.standing) {
            (Some(rows), None) => SectionKind::Rows(rows),
            (None, Some(standing)) => SectionKind::Standing(standing),
            _ => unreachable!("a valid section has either rows or a standing area"),
        };
        Self { id: section.id, name: section.name, kind }
    }
}

fn check_categories<'a>(errors: &mut Errors, categories: &'a [Category]) -> HashSet<&'a str> {
    let mut ids = HashSet::new();
    errors.check(
        (1..=CATEGORIES_MAX).contains(&categories.len()),
        || "/categories".into(),
        || format!("1 to {CATEGORIES_MAX} categories"),
    );
    for (i, category) in categories.iter().enumerate().take(CATEGORIES_MAX) {
        check_key(errors, &category.id, || format!("/categories/{i}/id"));
        check_title(errors, &category.name, || format!("/categories/{i}/name"));
        let good = category
            .color
            .strip_prefix('#')
            .is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        errors.check(good, || format!("/categories/{i}/color"), || "a colour is written #rrggbb".into());
        errors.check(ids.insert(&*category.id), || format!("/categories/{i}/id"), || "this id is taken".into());
    }
    ids
}

fn check_sections(errors: &mut Errors, sections: &[SectionIn], categories: &HashSet<&str>) {
    let (mut ids, mut seats_total) = (HashSet::new(), 0);
    errors.check(
        (1..=SECTIONS_MAX).contains(&sections.len()),
        || "/sections".into(),
        || format!("1 to {SECTIONS_MAX} sections"),
    );
    for (i, section) in sections.iter().enumerate().take(SECTIONS_MAX) {
        let at = format!("/sections/{i}");
        check_key(errors, &section.id, || format!("{at}/id"));
        check_title(errors, &section.name, || format!("{at}/name"));
        errors.check(ids.insert(&*section.id), || format!("{at}/id"), || "this id is taken".into());
        match (&section.rows, &section.standing) {
            (Some(rows), None) => seats_total += check_rows(errors, &at, rows, categories),
            (None, Some(standing)) => seats_total += check_standing(errors, &at, standing, categories),
            _ => errors.check(false, || at, || "a section has either rows or standing".into()),
        }
    }
    errors.check(
        seats_total <= HALL_SEATS_MAX,
        || "/sections".into(),
        || format!("{seats_total} seats; a hall has at most {HALL_SEATS_MAX}"),
    );
}

fn check_standing(errors: &mut Errors, at: &str, standing: &Standing, categories: &HashSet<&str>) -> u64 {
    let at = format!("{at}/standing");
    check_category(errors, &standing.category, categories, || format!("{at}/category"));
    let good = (1..=STANDING_CAPACITY_MAX).contains(&standing.capacity);
    errors.check(good, || format!("{at}/capacity"), || format!("1 to {STANDING_CAPACITY_MAX} places"));
    for (name, value, least) in [
        ("x", standing.x, -COORDINATE_UNITS_MAX),
        ("y", standing.y, -COORDINATE_UNITS_MAX),
        ("width", standing.width, 1),
        ("height", standing.height, 1),
    ] {
        check_range(errors, value, least, COORDINATE_UNITS_MAX, || format!("{at}/{name}"));
    }
    u64::from(standing.capacity)
}

/// Counts the seats of the rows while it checks them.
fn check_rows(errors: &mut Errors, at: &str, rows: &[Row], categories: &HashSet<&str>) -> u64 {
    let (mut names, mut seats_total) = (HashSet::new(), 0);
    errors.check((1..=ROWS_MAX).contains(&rows.len()), || format!("{at}/rows"), || format!("1 to {ROWS_MAX} rows"));
    for (i, row) in rows.iter().enumerate().take(ROWS_MAX) {
        let at = format!("{at}/rows/{i}");
        check_key(errors, &row.name, || format!("{at}/name"));
        errors.check(names.insert(&*row.name), || format!("{at}/name"), || "this name is taken".into());
        check_category(errors, &row.category, categories, || format!("{at}/category"));
        if check_numbering(errors, &at, row) {
            check_positions(errors, &at, row);
            check_exceptions(errors, &at, row, categories);
        }
        seats_total += u64::from(row.seats).saturating_sub(row.gaps.len() as u64);
    }
    seats_total
}

/// Whether the row's numbers make sense, without which nothing else about its seats does.
fn check_numbering(errors: &mut Errors, at: &str, row: &Row) -> bool {
    let (seats, step) = ((1..=ROW_SEATS_MAX).contains(&row.seats), matches!(row.step, -2..=2) && row.step != 0);
    errors.check(seats, || format!("{at}/seats"), || format!("1 to {ROW_SEATS_MAX} seats"));
    errors.check(step, || format!("{at}/step"), || "-2, -1, 1 or 2".into());
    let (first, last) = (i32::from(row.first), i32::from(row.first) + i32::from(row.step) * (i32::from(row.seats) - 1));
    let numbers = [first, last].iter().all(|number| (1..=SEAT_NUMBER_MAX).contains(number));
    errors.check(
        !(seats && step) || numbers,
        || format!("{at}/first"),
        || format!("seats would be numbered {first} to {last}; numbers are 1 to {SEAT_NUMBER_MAX}"),
    );
    seats && step && numbers
}

fn check_positions(errors: &mut Errors, at: &str, row: &Row) {
    let moved = row.seats == 1 || (row.dx, row.dy) != (0, 0);
    errors.check(moved, || format!("{at}/dx"), || "seats would lie on one another".into());
    for (name, value) in [("dx", row.dx), ("dy", row.dy), ("bow", row.bow)] {
        check_range(errors, value, -STEP_UNITS_MAX, STEP_UNITS_MAX, || format!("{at}/{name}"));
    }
    for (name, first, step) in [("x", row.x, row.dx), ("y", row.y, row.dy)] {
        let last = i64::from(first) + i64::from(step) * (i64::from(row.seats) - 1);
        let good = [i64::from(first), last].iter().all(|at| at.abs() <= i64::from(COORDINATE_UNITS_MAX));
        errors.check(
            good,
            || format!("{at}/{name}"),
            || format!("the row reaches from {first} to {last}; at most {COORDINATE_UNITS_MAX} to each side"),
        );
    }
}

fn check_exceptions(errors: &mut Errors, at: &str, row: &Row, categories: &HashSet<&str>) {
    for (name, numbers) in [("accessible", &row.accessible), ("gaps", &row.gaps)] {
        let mut seen = HashSet::new();
        for (i, &number) in numbers.iter().enumerate().take(usize::from(ROW_SEATS_MAX) + 1) {
            let good = row.position_of(number).is_some() && seen.insert(number);
            errors.check(good, || format!("{at}/{name}/{i}"), || "a number of the row, once".into());
        }
    }
    errors.check(row.gaps.len() < usize::from(row.seats), || format!("{at}/gaps"), || "a row has a seat".into());
    let seats_max = usize::from(ROW_SEATS_MAX);
    let both = row
        .accessible
        .iter()
        .take(seats_max)
        .position(|number| row.gaps.iter().take(seats_max).any(|gap| gap == number));
    errors.check(both.is_none(), || format!("{at}/accessible/{}", both.unwrap_or(0)), || "this number is a gap".into());
    let mut zoned = HashSet::new();
    for (i, zone) in row.zones.iter().enumerate().take(usize::from(ROW_SEATS_MAX)) {
        let at = format!("{at}/zones/{i}");
        check_category(errors, &zone.category, categories, || format!("{at}/category"));
        let ends = row.position_of(zone.from).zip(row.position_of(zone.to));
        errors.check(ends.is_some(), || at.clone(), || "from and to are numbers of the row".into());
        let Some((from, to)) = ends else { continue };
        let apart = (from.min(to)..=from.max(to)).all(|position| zoned.insert(position));
        errors.check(apart, || at, || "zones do not overlap".into());
    }
}

fn check_category(errors: &mut Errors, id: &str, ids: &HashSet<&str>, pointer: impl FnOnce() -> String) {
    errors.check(ids.contains(id), pointer, || "there is no such category".into());
}

fn check_range(errors: &mut Errors, value: i32, least: i32, most: i32, pointer: impl FnOnce() -> String) {
    errors.check((least..=most).contains(&value), pointer, || format!("{least} to {most}"));
}

/// A text that only people read.
fn check_title(errors: &mut Errors, text: &str, pointer: impl FnOnce() -> String) {
    let good = !text.trim().is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control);
    errors.check(good, pointer, || format!("1 to {NAME_CHARS_MAX} characters, none a control character"));
}

/// A name that goes into keys, where `#` and `~` have a meaning, and onto tickets.
fn check_key(errors: &mut Errors, text: &str, pointer: impl FnOnce() -> String) {
    let chars = text.chars().all(|c| c.is_alphanumeric() || c == ' ' || c == '-');
    let ends = [text.chars().next(), text.chars().next_back()].iter().all(|c| c.is_some_and(char::is_alphanumeric));
    errors.check(chars && ends && text.chars().count() <= KEY_CHARS_MAX, pointer, || {
        format!("1 to {KEY_CHARS_MAX} letters and digits, with spaces and hyphens only between them")
    });
}
