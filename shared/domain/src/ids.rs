//! Typed identifiers: a prefix that says what it is, and 128 bits in Crockford's base 32.
//!
//! An id is either a UUIDv7 (sorts by time) or, where a client's key determines it, 128 bits of a SHA-256, so that
//! a repeated request arrives at the same id without a lookup.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of an encoded id after its prefix: 26 × 5 = 130 bits, of which the first two are zero.
pub const ID_CHARS: usize = 26;

/// A text that is not an id of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id: expected {0} and {ID_CHARS} characters")]
pub struct InvalidId(pub &'static str);

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                encode(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix).and_then(decode).map(Self).ok_or(InvalidId($prefix))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// Somebody with an account: a buyer or a member of staff.
    UserId = "usr_";
    /// A chain of refresh tokens that began with one sign-in.
    SessionId = "ses_";
    /// A performance on a date in a hall, for which seats are sold.
    EventId = "evt_";
    VenueId = "ven_";
    /// A hall's scheme; a scheme is immutable, a change is a new version under the same id.
    LayoutId = "lay_";
    PerformerId = "prf_";
    OrderId = "ord_";
    RefundId = "rfd_";
    /// Something that a person is told.
    NoticeId = "ntc_";
    /// What subscriptions are sold as; a change of a plan is a new version under the same id.
    PlanId = "pln_";
    SubscriptionId = "sub_";
    /// A code or an automatic offer on plans.
    PromotionId = "prm_";
    /// Something that somebody wants to be told of.
    AlertId = "alr_";
}

/// The index of a seat in its order, and so of its ticket.
pub type SeatIndex = u8;

/// A ticket: the order's id and the index of the seat in it, so that it needs no item of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId {
    pub order: OrderId,
    pub index: SeatIndex,
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tkt_")?;
        encode(self.order.0, f)?;
        write!(f, "-{}", self.index)
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TicketId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId("tkt_");
        let (order, index) = text.strip_prefix("tkt_").and_then(|rest| rest.split_once('-')).ok_or(invalid)?;
        let order = decode(order).map(OrderId).ok_or(invalid)?;
        let index: SeatIndex = index.parse().map_err(|_| invalid)?;
        // One spelling only: "01" would parse, and would be a second name of the same ticket.
        let ticket = Self { order, index };
        if ticket.to_string() == text { Ok(ticket) } else { Err(invalid) }
    }
}

impl Serialize for TicketId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TicketId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The id that an actor's idempotency key determines on a route: 128 bits of SHA-256(actor, route, key).
///
/// Whoever chooses the key can search for two ids that share some bits; where that would matter, the route carries a
/// secret.
pub fn keyed(actor: &str, route: &str, key: &str) -> u128 {
    let mut hash = Sha256::new();
    for part in [actor, route, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    u128::from_be_bytes(digest[..16].try_into().expect("SHA-256 gives 32 bytes"))
}

/// A UUIDv7 (RFC 9562, section 5.7) of this millisecond and these random bytes.
pub fn uuid_v7(now: jiff::Timestamp, random: [u8; 10]) -> u128 {
    let millis = (now.as_millisecond().max(0) as u128) & ((1 << 48) - 1);
    let mut low = [0; 16];
    low[6..].copy_from_slice(&random);
    let random = u128::from_be_bytes(low) & !(0xf << 76) & !(0x3 << 62);
    millis << 80 | 0x7 << 76 | 0x2 << 62 | random
}

fn encode(value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [0; ID_CHARS];
    for (i, slot) in text.iter_mut().enumerate() {
        *slot = ALPHABET[(value >> (5 * (ID_CHARS - 1 - i)) & 31) as usize];
    }
    f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
}

fn decode(text: &str) -> Option<u128> {
    if text.len() != ID_CHARS || text.as_bytes()[0] > b'7' {
        return None;
    }
    text.bytes().try_fold(0, |value: u128, byte| {
        let digit = ALPHABET.iter().position(|&letter| letter == byte)?;
        Some(value << 5 | digit as u128)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text_and_keep_their_order() {
        for value in [0, 1, 31, 32, u128::MAX, keyed("usr_1", "POST /orders", "k")] {
            let id = OrderId(value);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().len(), 4 + ID_CHARS);
        }
        assert!(OrderId(5).to_string() < OrderId(1 << 100).to_string());
    }

    #[test]
    fn other_texts_are_refused() {
        let good = OrderId(7).to_string();
        let zeros = "0".repeat(ID_CHARS);
        for bad in [
            "",
            "ord_",
            "ord_1",
            &good.replace("ord", "usr"),
            &good.to_uppercase(),
            &format!("{good}0"),
            &format!("ord_8{}", &zeros[1..]),
            "ord_é0000000000000000000000000",
        ] {
            assert_eq!(bad.parse::<OrderId>(), Err(InvalidId("ord_")), "{bad}");
        }
        for bad in
            [format!("tkt_{zeros}-01"), format!("tkt_{zeros}-+1"), format!("tkt_{zeros}-256"), format!("tkt_{zeros}")]
        {
            assert!(bad.parse::<TicketId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_do_not_run_into_each_other() {
        assert_ne!(keyed("ab", "c", "d"), keyed("a", "bc", "d"));
    }

    #[test]
    fn uuids_carry_their_version_and_sort_by_time() {
        let at = |ms| uuid_v7(jiff::Timestamp::from_millisecond(ms).unwrap(), [0xff; 10]);
        assert_eq!(at(1) >> 76 & 0xf, 7);
        assert_eq!(at(1) >> 62 & 0x3, 2);
        assert!(at(1) < at(2));
    }
}
