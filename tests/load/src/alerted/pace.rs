//! Whether the messenger's limits were kept.

use super::{ALL_PER_SECOND_MAX, CHAT_PAUSE};
use sandbox::telegram::Message;
use std::collections::BTreeMap;

const MILLISECONDS_PER_SECOND: i64 = 1_000;

/// How many messages a second there were over all chats and in one, after so many calls.
pub fn check(read: &[Vec<Message>], calls: usize, is_live: bool) -> Option<String> {
    let mut at_ms: Vec<i64> = read.iter().flatten().map(|message| message.at_ms).collect();
    at_ms.sort_unstable();
    let mut seconds: BTreeMap<i64, usize> = BTreeMap::new();
    for at in &at_ms {
        *seconds.entry(at.div_euclid(MILLISECONDS_PER_SECOND)).or_default() += 1;
    }
    let most = seconds.values().max().copied().unwrap_or(0);
    let span = at_ms.last().unwrap_or(&0) - at_ms.first().unwrap_or(&0) + MILLISECONDS_PER_SECOND;
    let mean = at_ms.len() as f64 * MILLISECONDS_PER_SECOND as f64 / span as f64;
    println!("pace: {mean:.1} a second over {} seconds, {most} in the busiest", span / MILLISECONDS_PER_SECOND);
    if is_live {
        println!("  {} in the busiest second, wherever it begins", most_within(&at_ms, MILLISECONDS_PER_SECOND));
        let over = seconds.values().filter(|count| **count > ALL_PER_SECOND_MAX as usize).count();
        println!("  seconds with more than {ALL_PER_SECOND_MAX}: {over} of {}", seconds.len());
    }
    let pause_ms = i64::try_from(CHAT_PAUSE.as_millis()).expect("it is a second");
    let in_chats = read.iter().map(|messages| {
        let own: Vec<i64> = messages.iter().map(|message| message.at_ms).collect();
        most_within(&own, pause_ms)
    });
    let in_one = in_chats.max().unwrap_or(0);
    let refused = calls.saturating_sub(at_ms.len());
    println!("  in one chat {in_one} within a second at most; the messenger refused {refused} of {calls} calls");
    if most > ALL_PER_SECOND_MAX as usize || in_one > 1 {
        return Some(format!("{most} in one second, and {in_one} in one of a chat"));
    }
    (refused > 0).then(|| format!("the messenger refused {refused} calls"))
}

/// The most of these moments that are closer together than that.
pub fn most_within(sorted: &[i64], span: i64) -> usize {
    let until = |from: usize| sorted[from..].partition_point(|at| *at < sorted[from] + span);
    (0..sorted.len()).map(until).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_in_any_second() {
        assert_eq!(most_within(&[], 1_000), 0);
        assert_eq!(most_within(&[0, 1_000, 2_000], 1_000), 1);
        assert_eq!(most_within(&[0, 900, 999, 1_899, 1_900], 1_000), 3);
    }
}
