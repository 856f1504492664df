//! Whether each was told, once, and in the order in which they waited.

use super::crowd::Waiting;
use domain::alerts::LINE_SHARDS;
use sandbox::telegram::Message;
use std::collections::BTreeMap;

/// How far from their place in the line somebody may be told: two pages, since those of one are sent side by side, and the next
/// may begin before the last of them.
const PLACES_OFF_MAX: usize = 2 * 200;

/// Everybody has one message.
pub fn check_once(read: &[Vec<Message>]) -> Option<String> {
    let mut times: BTreeMap<usize, usize> = BTreeMap::new();
    for messages in read {
        *times.entry(messages.len()).or_default() += 1;
    }
    let once = times.get(&1).copied().unwrap_or(0);
    let never = times.get(&0).copied().unwrap_or(0);
    println!("told once: {once}, more than once: {}, never: {never}", read.len() - once - never);
    (once != read.len()).then(|| "not everybody was told once".to_owned())
}

/// How far the order in which they were told is from the order in which they waited.
pub fn check(people: &[Waiting], read: &[Vec<Message>]) -> Option<String> {
    let mut fair: Vec<usize> = (0..people.len()).collect();
    fair.sort_by_cached_key(|at| people[*at].alert.rank());
    let mut place = vec![0; people.len()];
    fair.iter().enumerate().for_each(|(rank, at)| place[*at] = rank);
    let mut told: Vec<usize> = (0..people.len()).filter(|at| !read[*at].is_empty()).collect();
    told.sort_by_key(|at| read[*at][0].id);

    let places: Vec<usize> = told.iter().map(|at| place[*at]).collect();
    let (most, mean) = off(&places);
    println!("order: told {mean:.0} places from their own on average, {most} at most");
    let in_parts = (0..LINE_SHARDS).map(|shard| {
        let mut own: Vec<usize> =
            told.iter().filter(|at| people[**at].alert.shard() == shard).map(|at| place[*at]).collect();
        relative(&mut own);
        off(&own)
    });
    let in_parts: Vec<(usize, f64)> = in_parts.collect();
    let worst = in_parts.iter().map(|(most, _)| *most).max().unwrap_or(0);
    let mean = in_parts.iter().map(|(_, mean)| mean).sum::<f64>() / in_parts.len() as f64;
    println!("  within one of the {LINE_SHARDS} parts of the line: {mean:.1} on average, {worst} at most");
    let ahead = people.iter().filter(|waiting| waiting.alert.priority > 0).count();
    let last = told.iter().rposition(|at| people[*at].alert.priority > 0).map_or(0, |last| last + 1);
    println!("  the last of {ahead} subscribers, who are ahead of all others, was told as the {last}th");
    let allowed = PLACES_OFF_MAX;
    (most > allowed).then(|| format!("somebody was told {most} places from their own, and {allowed} are allowed"))
}

/// The most and the mean of the differences between places and what they should be: 0, 1, 2.
fn off(places: &[usize]) -> (usize, f64) {
    let all = places.iter().enumerate().map(|(should, is)| should.abs_diff(*is));
    let (most, sum) = all.fold((0, 0), |(most, sum), off| (off.max(most), sum + off));
    (most, sum as f64 / places.len().max(1) as f64)
}

/// Makes places among others places among these.
fn relative(places: &mut [usize]) {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    for place in places {
        *place = sorted.binary_search(place).expect("it is one of them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_compared() {
        assert_eq!(off(&[0, 1, 2]), (0, 0.0));
        assert_eq!(off(&[2, 1, 0]), (2, 4.0 / 3.0));
        let mut own = [70, 3, 9];
        relative(&mut own);
        assert_eq!(own, [2, 0, 1]);
    }
}
