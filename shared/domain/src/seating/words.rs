//! Lock words: the short texts that say who has a seat, ordered so that one comparison decides who may take it.
//!
//! | word | meaning |
//! |---|---|
//! | absent | free |
//! | `H` + expiry + hold | held until then |
//! | `R` + channel | set aside for a channel |
//! | `R` + channel + `H` + expiry + hold | held by somebody of that channel; lapses back to the channel |
//! | `S` + hold + index | sold |
//! | `X` + reason | blocked by the house |
//!
//! The expiry is in base 36 seconds, seven digits, so words of holds sort by when they lapse, and every lapsed hold
//! sorts below [`lapse_mark`] of now, while everything else sorts above it.

use super::SeatState;
use crate::ids::{OrderId, SeatIndex};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Base 36 digits of an expiry: 36^7 seconds reach the year 4453.
const EXPIRY_DIGITS: usize = 7;
/// Characters of a hold: 64 bits in base64url.
pub const HOLD_CHARS: usize = 11;
/// Characters of a channel.
const CHANNEL_CHARS: usize = 4;
/// Seconds a hold lasts from the moment it is asked for.
pub const HOLD_SECONDS: i64 = 600;

/// The part of a lock word that names an order: 64 bits of SHA-256 of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hold([u8; HOLD_CHARS]);

impl Hold {
    pub fn of(order: OrderId) -> Self {
        let digest = Sha256::digest(order.0.to_be_bytes());
        let mut text = [0; HOLD_CHARS];
        URL_SAFE_NO_PAD.encode_slice(&digest[..8], &mut text).expect("8 bytes are 11 characters of base64");
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

/// Whom seats are set aside for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Those who wait in an event's line: seats that come free while somebody waits are for nobody else.
    Line,
}

impl Channel {
    fn code(self) -> &'static str {
        match self {
            Self::Line => "line",
        }
    }

    /// The word of a seat that is set aside.
    pub fn set_aside(self) -> String {
        format!("R{}", self.code())
    }
}

/// Who holds seats, of which channel, and until when: what a lock writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub hold: Hold,
    /// None of the public.
    pub channel: Option<Channel>,
    pub expiry: Timestamp,
}

impl Stamp {
    pub fn word(&self) -> String {
        let word = held(self.expiry, self.hold);
        match self.channel {
            Some(channel) => channel.set_aside() + &word,
            None => word,
        }
    }
}

/// The word of a seat held by the public until `expiry`.
pub fn held(expiry: Timestamp, hold: Hold) -> String {
    format!("{}{}", lapse_mark(expiry), hold.as_str())
}

/// The word of a sold seat; a function of order and seat, so that a repeated sale writes the same.
pub fn sold(hold: Hold, index: SeatIndex) -> String {
    format!("S{}{index}", hold.as_str())
}

/// The word of a seat that the house keeps.
pub fn blocked(reason: BlockReason) -> &'static str {
    match reason {
        BlockReason::House => "Xh",
        BlockReason::View => "Xv",
        BlockReason::Repair => "Xr",
    }
}

/// Why the house keeps a seat back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockReason {
    House,
    View,
    Repair,
}

/// `"H" + base36(at)`: greater than the word of every hold that has lapsed by `at`, smaller than every other word.
pub fn lapse_mark(at: Timestamp) -> String {
    let mut rest = at.as_second().max(0) as u64;
    let mut digits = [b'0'; EXPIRY_DIGITS];
    for slot in digits.iter_mut().rev() {
        *slot = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
        rest /= 36;
    }
    format!("H{}", std::str::from_utf8(&digits).expect("digits are ASCII"))
}

/// The expiry in the word of a held seat, if it is one and `hold` has it.
pub fn expiry_of(word: &str, hold: Hold) -> Option<Timestamp> {
    let word = match word.strip_prefix('R') {
        Some(rest) => rest.get(CHANNEL_CHARS..)?,
        None => word,
    };
    let rest = word.strip_prefix('H')?;
    let digits = rest.strip_suffix(hold.as_str()).filter(|digits| digits.len() == EXPIRY_DIGITS)?;
    let second = i64::from_str_radix(digits, 36).ok()?;
    Timestamp::from_second(second).ok()
}

/// Whether a seat with this word is set aside for a channel, and nobody of it has it now.
pub fn is_free_in(channel: Channel, word: &str, now: Timestamp) -> bool {
    word.strip_prefix(&channel.set_aside()).is_some_and(|rest| *rest < *lapse_mark(now))
}

/// What the public is told of a seat with this word: a lapsed hold is free.
pub fn state(word: Option<&str>, now: Timestamp) -> SeatState {
    match word {
        None => SeatState::Free,
        Some(word) if word.starts_with('H') && *word < *lapse_mark(now) => SeatState::Free,
        Some(word) => match word.as_bytes().first() {
            Some(b'H') => SeatState::Held,
            Some(b'S') => SeatState::Sold,
            _ => SeatState::NotForSale,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn only_lapsed_holds_sort_below_the_mark() {
        let (hold, now) = (Hold::of(OrderId(1)), at(1_800_000_000));
        let mark = lapse_mark(now);
        assert!(held(at(1_799_999_999), hold) < mark);
        for word in [
            held(now, hold),
            held(at(1_800_000_001), hold),
            sold(hold, 0),
            blocked(BlockReason::House).into(),
            "Rvip0".into(),
        ] {
            assert!(word > mark, "{word}");
        }
        for word in [held(at(0), hold), held(at(36_i64.pow(7) - 1), hold)] {
            assert!(*word < *"I" && word.len() == 1 + EXPIRY_DIGITS + HOLD_CHARS);
        }
    }

    #[test]
    fn a_word_gives_its_expiry_back_to_its_hold_only() {
        let (mine, other) = (Hold::of(OrderId(1)), Hold::of(OrderId(2)));
        let word = held(at(1_800_000_000), mine);
        assert_eq!(expiry_of(&word, mine), Some(at(1_800_000_000)));
        assert_eq!(expiry_of(&word, other), None);
        assert_eq!(expiry_of(&sold(mine, 3), mine), None);
    }

    #[test]
    fn a_channels_seats_are_its_own_and_lapse_to_it() {
        let (hold, now, line) = (Hold::of(OrderId(1)), at(1_800_000_000), Channel::Line);
        let stamp = |second| Stamp { hold, channel: Some(line), expiry: at(second) }.word();
        let (live, lapsed) = (stamp(1_800_000_001), stamp(1_799_999_999));
        assert!(line.set_aside() < lapsed && lapsed < line.set_aside() + &lapse_mark(now));
        assert!(live > line.set_aside() + &lapse_mark(now));
        for (word, expected) in
            [(&*line.set_aside(), true), (&lapsed, true), (&live, false), ("Xh", false), ("H", false)]
        {
            assert_eq!(is_free_in(line, word, now), expected, "{word}");
            assert_eq!(state(Some(word), now) == SeatState::Free, word == "H", "{word}");
        }
        assert_eq!(expiry_of(&live, hold), Some(at(1_800_000_001)));
        assert_eq!(expiry_of(&line.set_aside(), hold), None);
    }

    #[test]
    fn the_public_sees_four_states() {
        let (hold, now) = (Hold::of(OrderId(1)), at(1000));
        for (word, expected) in [
            (None, SeatState::Free),
            (Some(held(at(999), hold)), SeatState::Free),
            (Some(held(at(1000), hold)), SeatState::Held),
            (Some(sold(hold, 1)), SeatState::Sold),
            (Some("Rvip0".to_owned()), SeatState::NotForSale),
            (Some("Xh".to_owned()), SeatState::NotForSale),
        ] {
            assert_eq!(state(word.as_deref(), now), expected, "{word:?}");
        }
    }
}
