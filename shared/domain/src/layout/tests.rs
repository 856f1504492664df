use super::scheme::{ERRORS_MAX, LAYOUT_BYTES_MAX};
use super::*;
use crate::seating::SeatName;
use serde_json::{Value, json};

const THEATRE: &str = include_str!("../../../../infra/demo/theatre.json");
const ARENA: &str = include_str!("../../../../infra/demo/arena.json");

fn hall_of(scheme: &str) -> Hall {
    let scheme: SchemeIn = serde_json::from_str(scheme).unwrap();
    Hall::new(scheme.validate(LayoutId(1), 1, VenueId(1)).unwrap())
}

fn small() -> Value {
    json!({
        "name": "Small hall",
        "categories": [{"id": "a", "name": "A", "color": "#000000"}, {"id": "b", "name": "B", "color": "#ffFFff"}],
        "sections": [
            {"id": "Партер", "name": "Stalls", "rows": [
                {"name": "1", "x": 0, "y": 0, "dx": 50, "seats": 4, "category": "a", "accessible": [1], "gaps": [3]},
                {"name": "2", "x": 0, "y": 90, "dx": 50, "seats": 100, "category": "a",
                    "zones": [{"from": 1, "to": 2, "category": "b"}]},
                {"name": "B-3", "x": 0, "y": 180, "dx": 50, "seats": 3, "category": "a", "first": 6, "step": -2}]},
            {"id": "Floor", "name": "Floor",
                "standing": {"capacity": 91, "category": "b", "x": 0, "y": 300, "width": 100, "height": 100}}]
    })
}

fn errors_of(scheme: Value) -> Vec<Invalid> {
    let scheme: SchemeIn = serde_json::from_value(scheme).unwrap();
    scheme.validate(LayoutId(1), 1, VenueId(1)).unwrap_err()
}

fn name(section: &str, row: &str, seat: &str) -> SeatName {
    SeatName { section: section.into(), row: row.into(), seat: seat.into() }
}

#[test]
fn seats_are_found_by_their_names() {
    let hall = hall_of(&small().to_string());
    for (row, seat, expected) in [
        ("1", "1", Some(("1", 0, "a", true))),
        ("1", "2", Some(("1", 1, "a", false))),
        ("1", "3", None),
        ("1", "4", Some(("1", 3, "a", false))),
        ("1", "5", None),
        ("1", "0", None),
        ("1", "01", None),
        ("1", "+1", None),
        ("1", "", None),
        ("2", "1", Some(("2", 0, "b", false))),
        ("2", "34", Some(("2", 33, "a", false))),
        ("2", "35", Some(("2~1", 0, "a", false))),
        ("2", "100", Some(("2~2", 32, "a", false))),
        ("2~1", "1", None),
        ("B-3", "6", Some(("B-3", 0, "a", false))),
        ("B-3", "2", Some(("B-3", 2, "a", false))),
        ("B-3", "3", None),
        ("9", "1", None),
    ] {
        let name = name("Партер", row, seat);
        let found = hall.find(&name);
        let short = found.as_ref().map(|f| (&*f.place.block.row, f.place.index, f.category, f.accessible));
        assert_eq!(short, expected, "{name}");
        if let Some(found) = found {
            assert_eq!(hall.name_of(&found.place), Some(name));
            assert_eq!(hall.at(&found.place), Some(found));
        }
    }
    assert_eq!(hall.find(&name("Nowhere", "1", "1")), None);
}

#[test]
fn standing_places_are_numbered_but_cannot_be_named() {
    let hall = hall_of(&small().to_string());
    let blocks: Vec<_> = hall.blocks("Floor").iter().map(|b| (&*b.block.row, b.seats, b.first_position)).collect();
    assert_eq!(blocks, [("s0", 31, 0), ("s1", 30, 31), ("s2", 30, 61)]);
    let place = Place { block: Block { section: "Floor".into(), row: "s2".into() }, index: 29 };
    assert_eq!(hall.name_of(&place), Some(name("Floor", STANDING_ROW, "91")));
    assert_eq!(hall.at(&place).map(|found| found.category), Some("b"));
    for (row, seat) in [(STANDING_ROW, "91"), ("s2", "29"), ("s2", "1")] {
        assert_eq!(hall.find(&name("Floor", row, seat)), None);
    }
    assert_eq!(hall.at(&Place { index: 30, ..place.clone() }), None);
    assert_eq!(hall.name_of(&Place { index: 30, ..place }), None);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (pointer, value, at) in [
        ("/name", json!(" "), "/name"),
        ("/categories", json!([]), "/categories"),
        ("/categories/0/color", json!("red"), "/categories/0/color"),
        ("/categories/1/id", json!("a"), "/categories/1/id"),
        ("/sections", json!([]), "/sections"),
        ("/sections/0/id", json!("a#b"), "/sections/0/id"),
        ("/sections/0/id", json!("Floor"), "/sections/1/id"),
        ("/sections/0/id", json!("12345678901234567"), "/sections/0/id"),
        ("/sections/0/rows", json!([]), "/sections/0/rows"),
        ("/sections/0/rows", json!(null), "/sections/0"),
        ("/sections/0/rows/0/name", json!("2~1"), "/sections/0/rows/0/name"),
        ("/sections/0/rows/0/name", json!(" 2"), "/sections/0/rows/0/name"),
        ("/sections/0/rows/0/name", json!("-"), "/sections/0/rows/0/name"),
        ("/sections/0/rows/0/name", json!(""), "/sections/0/rows/0/name"),
        ("/sections/0/rows/0/name", json!("2"), "/sections/0/rows/1/name"),
        ("/sections/0/rows/0/category", json!("c"), "/sections/0/rows/0/category"),
        ("/sections/0/rows/0/seats", json!(0), "/sections/0/rows/0/seats"),
        ("/sections/0/rows/0/seats", json!(201), "/sections/0/rows/0/seats"),
        ("/sections/0/rows/0/step", json!(0), "/sections/0/rows/0/step"),
        ("/sections/0/rows/0/step", json!(-1), "/sections/0/rows/0/first"),
        ("/sections/0/rows/0/first", json!(9999), "/sections/0/rows/0/first"),
        ("/sections/0/rows/0/dx", json!(0), "/sections/0/rows/0/dx"),
        ("/sections/0/rows/0/dx", json!(i32::MIN), "/sections/0/rows/0/dx"),
        ("/sections/0/rows/0/y", json!(i32::MAX), "/sections/0/rows/0/y"),
        ("/sections/0/rows/0/x", json!(99_999), "/sections/0/rows/0/x"),
        ("/sections/0/rows/0/gaps", json!([5]), "/sections/0/rows/0/gaps/0"),
        ("/sections/0/rows/0/gaps", json!([2, 2]), "/sections/0/rows/0/gaps/1"),
        ("/sections/0/rows/0/gaps", json!([1, 2, 3, 4]), "/sections/0/rows/0/gaps"),
        ("/sections/0/rows/0/gaps", json!([1]), "/sections/0/rows/0/accessible/0"),
        ("/sections/0/rows/1/zones/0/to", json!(101), "/sections/0/rows/1/zones/0"),
        ("/sections/0/rows/1/zones/0/category", json!("c"), "/sections/0/rows/1/zones/0/category"),
        ("/sections/1/standing/capacity", json!(50_001), "/sections/1/standing/capacity"),
        ("/sections/1/standing/width", json!(0), "/sections/1/standing/width"),
        ("/sections/1/standing", json!(null), "/sections/1"),
    ] {
        let mut scheme = small();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match scheme.pointer_mut(parent).unwrap() {
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value.clone(),
            parent => parent[key] = value.clone(),
        }
        let errors = errors_of(scheme);
        assert!(errors.iter().any(|error| error.pointer == at), "{pointer} = {value}: {errors:?}");
    }
}

#[test]
fn halls_that_are_too_large_are_refused() {
    let mut scheme = small();
    let rows = |seats: u16| {
        (0..200).map(move |i| {
            json!({"name": i.to_string(), "x": 0, "y": i, "dx": 1, "seats": seats,
        "category": "a"})
        })
    };
    let section = |i: i32, seats| json!({"id": format!("S{i}"), "name": "S", "rows": rows(seats).collect::<Vec<_>>()});
    scheme["sections"] = (0..3).map(|i| section(i, 200)).collect();
    assert_eq!(errors_of(scheme.clone())[0].message, "120000 seats; a hall has at most 100000");
    scheme["sections"] = (0..40).map(|i| section(i, 10)).collect();
    let errors = errors_of(scheme.clone());
    assert!(errors[0].message.ends_with(&format!("at most {LAYOUT_BYTES_MAX}")), "{errors:?}");
    scheme["sections"] = (0..3).map(|i| section(i, 0)).collect();
    assert_eq!(errors_of(scheme).len(), ERRORS_MAX);
}

#[test]
fn unknown_fields_are_refused_and_known_ones_survive() {
    for pointer in ["", "/categories/0", "/sections/0", "/sections/0/rows/0", "/sections/1/standing"] {
        let mut scheme = small();
        scheme.pointer_mut(pointer).unwrap()["more"] = json!(1);
        assert!(serde_json::from_value::<SchemeIn>(scheme).is_err(), "{pointer}");
    }
    let hall = hall_of(&small().to_string());
    let text = serde_json::to_string(hall.layout()).unwrap();
    assert_eq!(serde_json::from_str::<Layout>(&text).unwrap(), *hall.layout());
}

#[test]
fn the_demo_halls_are_valid_and_compact() {
    for (scheme, seats, bytes_max) in [(THEATRE, 1_200, 10_000), (ARENA, 20_000, 60_000)] {
        let hall = hall_of(scheme);
        assert_eq!(hall.seats_total(), seats);
        let bytes = serde_json::to_vec(hall.layout()).unwrap().len();
        assert!(bytes < bytes_max, "{bytes}");
        let mut named = std::collections::HashSet::new();
        for section in &hall.layout().sections {
            for block in hall.blocks(&section.id) {
                for index in 0..block.seats {
                    let place = Place { block: block.block.clone(), index };
                    let Some(name) = hall.name_of(&place) else { continue };
                    assert!(named.insert(name.clone()), "{name} is there twice");
                    let standing = matches!(section.kind, SectionKind::Standing(_));
                    assert_eq!(hall.find(&name).map(|found| found.place), (!standing).then_some(place));
                }
            }
        }
        assert_eq!(named.len() as u32, seats);
    }
}
