use super::*;
use crate::ids::{LayoutId, VenueId};
use crate::layout::SchemeIn;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};

const ARENA: &str = include_str!("../../../../../infra/demo/arena.json");

/// Stalls: rows 1 and 2 of 10, row 3 of 60 (two blocks), row 4 of 4 dear seats and 4 cheap ones. Then a floor.
fn hall() -> Hall {
    let row =
        |name: &str, seats: u32| json!({"name": name, "x": 0, "y": 0, "dx": 50, "seats": seats, "category": "dear"});
    let mut rows = vec![row("1", 10), row("2", 10), row("3", 60), row("4", 8)];
    rows[1]["accessible"] = json!([1, 2, 5]);
    rows[3]["zones"] = json!([{"from": 5, "to": 8, "category": "cheap"}]);
    let scheme: SchemeIn = serde_json::from_value(json!({
        "name": "Small hall",
        "categories": [{"id": "dear", "name": "Dear", "color": "#000000"}, {"id": "cheap", "name": "Cheap", "color": "#ffffff"},
            {"id": "floor", "name": "Floor", "color": "#ffffff"}],
        "sections": [
            {"id": "Stalls", "name": "Stalls", "rows": rows},
            {"id": "Floor", "name": "Floor",
                "standing": {"capacity": 100, "category": "floor", "x": 0, "y": 300, "width": 100, "height": 100}}]
    }))
    .unwrap();
    Hall::new(scheme.validate(LayoutId(1), 1, VenueId(1)).unwrap())
}

fn states(hall: &Hall, taken: &HashSet<(String, u8)>) -> Vec<SectionState> {
    let prices: BTreeMap<_, _> = hall.categories().iter().map(|category| (category.id.clone(), 1)).collect();
    let state = |section: &str| {
        let blocks = hall.blocks(section);
        let words = taken.iter().filter(|(row, _)| blocks.iter().any(|block| block.block.row == *row));
        let words = words.map(|(row, index)| (row.as_str(), *index, "Xh"));
        SectionState::new(hall, section, &prices, words, Timestamp::UNIX_EPOCH).unwrap()
    };
    hall.layout().sections.iter().map(|section| state(&section.id)).collect()
}

fn taken(places: &[(&str, std::ops::RangeInclusive<u8>)]) -> HashSet<(String, u8)> {
    places.iter().flat_map(|(row, indices)| indices.clone().map(|index| ((*row).to_owned(), index))).collect()
}

fn ask(quantity: u8) -> BestAsk {
    BestAsk { quantity, section: None, category: None, accessible: false }
}

fn lcg(mut state: u64) -> impl FnMut(u32) -> u32 {
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % u64::from(below)) as u32
    }
}

/// The groups' seats as people name them: `row:seat,seat`.
fn groups(taken: &HashSet<(String, u8)>, ask: &BestAsk, seed: u64) -> Vec<String> {
    let hall = hall();
    let groups = best(&hall, &states(&hall, taken), ask, GROUPS_MAX, &mut lcg(seed));
    let name = |place: &Place| hall.name_of(place).map(|name| format!("{}:{}", name.row, name.seat)).unwrap();
    groups.iter().map(|group| group.iter().map(name).collect::<Vec<_>>().join(" ")).collect()
}

/// The first group whatever the random numbers, or all that came first.
fn firsts(taken: &HashSet<(String, u8)>, ask: &BestAsk) -> Vec<String> {
    let mut firsts: Vec<_> = (0..200).filter_map(|seed| groups(taken, ask, seed).into_iter().next()).collect();
    firsts.sort();
    firsts.dedup();
    firsts
}

#[test]
fn groups_sit_together_near_the_middle_of_early_rows() {
    let none = taken(&[]);
    // All of the short row 1, both sides of the place for a wheelchair in row 2, the middle of row 3; never row 4.
    let pairs =
        ["1:1 1:2", "1:3 1:4", "1:5 1:6", "1:7 1:8", "1:9 1:10", "2:3 2:4", "2:6 2:7", "3:29 3:30", "3:31 3:32"];
    assert_eq!(firsts(&none, &ask(2)), pairs);
    assert_eq!(firsts(&none, &ask(10)), ["1:1 1:2 1:3 1:4 1:5 1:6 1:7 1:8 1:9 1:10"]);
    let all = groups(&none, &ask(10), 1);
    assert_eq!(all.len(), 1 + 6 + 3, "row 1, six parts of row 3, and one group in each block of the floor");
    let seats: HashSet<_> = all.iter().flat_map(|group| group.split(' ')).collect();
    assert_eq!(seats.len(), 100, "groups do not overlap");
}

#[test]
fn nobody_is_left_alone_where_there_is_a_choice() {
    // Row 1 has seats 4 to 7 left: two of them leave two, never one on each side.
    let row = taken(&[("1", 0..=2), ("1", 7..=9), ("2", 0..=9), ("3", 0..=29), ("3~1", 0..=29), ("4", 0..=7)]);
    assert_eq!(firsts(&row, &ask(2)), ["1:4 1:5", "1:6 1:7"]);
    assert_eq!(firsts(&row, &ask(4)), ["1:4 1:5 1:6 1:7"]);
    assert_eq!(firsts(&row, &ask(3)), ["1:4 1:5 1:6"]);
}

#[test]
fn asks_narrow_what_is_offered() {
    let none = taken(&[]);
    let cheap = BestAsk { category: Some("cheap".into()), ..ask(4) };
    assert_eq!(groups(&none, &cheap, 1), ["4:5 4:6 4:7 4:8"]);
    assert!(groups(&none, &BestAsk { quantity: 5, ..cheap.clone() }, 1).is_empty());
    assert!(groups(&none, &BestAsk { category: Some("none".into()), ..ask(1) }, 1).is_empty());
    assert!(groups(&none, &BestAsk { section: Some("none".into()), ..ask(1) }, 1).is_empty());
    assert!(groups(&none, &ask(0), 1).is_empty() && groups(&none, &ask(21), 1).is_empty());
    let floor = BestAsk { section: Some("Floor".into()), ..ask(3) };
    let blocks: HashSet<_> = (0..50).map(|seed| groups(&none, &floor, seed)[0].clone()).collect();
    assert!(blocks.len() > 20, "askers are spread: {blocks:?}");
}

#[test]
fn accessible_places_are_for_those_who_ask() {
    let wheelchair = |quantity| BestAsk { accessible: true, ..ask(quantity) };
    let none = taken(&[]);
    assert_eq!(groups(&none, &wheelchair(2), 1)[0], "2:1 2:2");
    assert_eq!(groups(&none, &wheelchair(3), 1)[0], "2:1 2:2 2:3");
    let mut singles = groups(&none, &wheelchair(1), 1);
    singles.sort();
    assert_eq!(singles, ["2:1", "2:2", "2:5"]);
    assert!(groups(&taken(&[("2", 0..=1), ("2", 4..=4)]), &wheelchair(1), 1).is_empty());
    let others = taken(&[
        ("1", 0..=9),
        ("2", 2..=3),
        ("2", 5..=9),
        ("3", 0..=29),
        ("3~1", 0..=29),
        ("4", 0..=7),
        ("s0", 0..=33),
        ("s1", 0..=32),
        ("s2", 0..=32),
    ]);
    assert!(groups(&others, &ask(1), 1).is_empty());
}

#[test]
fn a_group_is_split_only_as_a_last_resort() {
    let mut left = taken(&[
        ("1", 0..=9),
        ("2", 0..=9),
        ("3", 0..=27),
        ("3~1", 2..=29),
        ("4", 0..=7),
        ("s0", 0..=32),
        ("s1", 0..=31),
        ("s2", 0..=31),
    ]);
    assert_eq!(groups(&left, &ask(2), 1).len(), 2, "in one block");
    assert_eq!(groups(&left, &ask(3), 1), ["3:29 3:30 3:31"], "over the border of blocks");
    left.remove(&("1".into(), 4));
    left.remove(&("2".into(), 8));
    left.remove(&("2".into(), 9));
    assert_eq!(groups(&left, &ask(5), 1), ["1:5 2:9 2:10 3:29 3:30"]);
    assert!(groups(&left, &ask(8), 1).is_empty());
    let floor = BestAsk { section: Some("Floor".into()), ..ask(3) };
    assert_eq!(groups(&left, &floor, 1), ["-:34 -:67 -:100"]);
}

proptest! {
    #[test]
    fn what_is_offered_is_what_was_asked_for(
        occupied in proptest::collection::hash_set((0..8_usize, 0..34_u8), 0..200),
        quantity in 1..=10_u8,
        accessible: bool,
        category in proptest::option::of(0..3_usize),
        seed: u64,
    ) {
        let hall = hall();
        let rows = ["1", "2", "3", "3~1", "4", "s0", "s1", "s2"];
        let occupied = occupied.into_iter().map(|(row, index)| (rows[row].to_owned(), index)).collect();
        let category = category.map(|category| hall.categories()[category].id.clone());
        let ask = BestAsk { quantity, section: None, category, accessible };
        for group in best(&hall, &states(&hall, &occupied), &ask, 5, &mut lcg(seed)) {
            prop_assert_eq!(group.iter().collect::<HashSet<_>>().len(), usize::from(quantity));
            let found: Vec<_> = group.iter().map(|place| hall.at(place).expect("a seat of the hall")).collect();
            prop_assert!(group.iter().all(|place| !occupied.contains(&(place.block.row.clone(), place.index))));
            prop_assert_eq!(accessible, found.iter().any(|found| found.accessible));
            prop_assert!(found.iter().all(|other| other.category == found[0].category));
            prop_assert!(ask.category.as_deref().is_none_or(|category| category == found[0].category));
        }
        if occupied.is_empty() && !accessible && ask.category.is_none() {
            prop_assert!(!best(&hall, &states(&hall, &occupied), &ask, 5, &mut lcg(seed)).is_empty());
        }
    }
}

#[test]
fn an_arena_is_filled_to_the_last_place() {
    let scheme: SchemeIn = serde_json::from_str(ARENA).unwrap();
    let hall = Hall::new(scheme.validate(LayoutId(1), 1, VenueId(1)).unwrap());
    let (mut sold, mut random) = (0, lcg(7));
    let floor = BestAsk { section: Some("Floor".into()), ..ask(10) };
    let stand = BestAsk { section: Some("101".into()), ..ask(1) };
    for ask in [floor, stand] {
        let mut taken = HashSet::new();
        loop {
            let states: Vec<_> = states(&hall, &taken)
                .into_iter()
                .filter(|state| Some(state.section()) == ask.section.as_deref())
                .collect();
            let groups = best(&hall, &states, &ask, GROUPS_MAX, &mut random);
            if groups.is_empty() {
                break;
            }
            for place in groups.into_iter().flatten() {
                assert!(taken.insert((place.block.row, place.index)));
                sold += 1;
            }
        }
    }
    let stand = hall.blocks("101").iter().map(|block| u32::from(block.seats)).sum::<u32>();
    assert_eq!(sold, 3000 + stand - 6, "all but the six places for wheelchairs");
}
