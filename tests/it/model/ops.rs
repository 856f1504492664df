//! Operations, made up from a seed. Each says what to do with an order as a choice among those there are when it is
//! carried out, so that a sequence still means something when a part of it is left out.

use super::hall::{SEATS, STANDING};
use std::fmt;

/// Seats that one operation names at most, and places it asks for.
const QUANTITY_MAX: u32 = 4;
/// Buyers of one hall.
pub const BUYERS: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    Good,
    Declined,
    /// The provider takes its time.
    Slow {
        seconds: u16,
        good: bool,
    },
    CaptureFails,
    /// Captured although only an authorisation was asked for.
    AtOnce,
}

/// A number that chooses among orders: those that the operation is meant for, or (one in four) any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick(pub u16);

/// A message that is delivered once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    PaymentChanged,
    OrderDue,
    RefundRequested,
    RefundChanged,
    /// The provider's own, through the HTTP door.
    Webhook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Named seats, a bit for each.
    Hold {
        buyer: u8,
        seats: u16,
    },
    Best {
        buyer: u8,
        quantity: u8,
        standing: bool,
    },
    /// The same request with the same key.
    Again(Pick),
    /// The key of an order with other seats.
    OtherSeats(Pick, u16),
    Release(Pick),
    Start(Pick),
    /// The buyer confirms at the provider; the payment is started first if it never was.
    Pay(Pick, Card),
    /// Tickets, a bit for each; all that are valid without one.
    Refund(Pick, u8),
    RefundAgain(Pick),
    Twice(Pick, Message),
    Wait {
        seconds: u16,
        sweep: bool,
    },
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, repeatable, and good enough to choose with.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound)) as u32
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn pick(&mut self) -> Pick {
        Pick(self.below(1 << 12) as u16)
    }

    /// One to `QUANTITY_MAX` seats, mostly neighbours.
    fn seats(&mut self) -> u16 {
        let quantity = 1 + self.below(QUANTITY_MAX).min(self.below(QUANTITY_MAX));
        if self.chance(70) {
            let first = self.below(SEATS as u32 + 1 - quantity);
            return ((1 << quantity) - 1) << first;
        }
        (0..quantity).fold(0, |seats, _| seats | 1 << self.below(SEATS as u32))
    }

    fn card(&mut self) -> Card {
        match self.below(100) {
            0..64 => Card::Good,
            64..80 => Card::Declined,
            80..88 => Card::Slow { seconds: 1 + self.below(900) as u16, good: self.chance(70) },
            88..94 => Card::CaptureFails,
            _ => Card::AtOnce,
        }
    }

    fn message(&mut self) -> Message {
        let all = [Message::PaymentChanged, Message::OrderDue, Message::Webhook];
        let of_refunds = [Message::RefundRequested, Message::RefundChanged];
        if self.chance(40) { of_refunds[self.below(2) as usize] } else { all[self.below(3) as usize] }
    }

    /// Something that one buyer does.
    pub fn op(&mut self) -> Op {
        let buyer = self.below(BUYERS) as u8;
        match self.below(100) {
            0..35 => Op::Hold { buyer, seats: self.seats() },
            35..47 => {
                let standing = self.chance(40);
                let most = if standing { STANDING as u32 } else { QUANTITY_MAX };
                Op::Best { buyer, quantity: 1 + self.below(most) as u8, standing }
            }
            47..52 => Op::Again(self.pick()),
            52..55 => Op::OtherSeats(self.pick(), self.seats()),
            55..64 => Op::Release(self.pick()),
            64..69 => Op::Start(self.pick()),
            69..83 => Op::Pay(self.pick(), self.card()),
            83..92 => Op::Refund(self.pick(), if self.chance(50) { 0 } else { 1 + self.below(7) as u8 }),
            92..94 => Op::RefundAgain(self.pick()),
            _ => Op::Twice(self.pick(), self.message()),
        }
    }

    /// Time that passes for everybody: a moment, half a hold, or all of it; mostly the sweeper comes by.
    pub fn wait(&mut self) -> Op {
        let seconds = match self.below(10) {
            0 => 1 + self.below(60),
            1..4 => 280 + self.below(60),
            _ => 590 + self.below(30),
        };
        Op::Wait { seconds: seconds as u16, sweep: self.chance(80) }
    }
}

impl Pick {
    /// One of these: of the first list, or one time in four (and where that is empty) of the second.
    pub fn of(self, meant: &[usize], all: &[usize]) -> Option<usize> {
        let from = if meant.is_empty() || self.0.is_multiple_of(4) { all } else { meant };
        from.get(usize::from(self.0 / 4) % from.len().max(1)).copied()
    }
}

impl Op {
    /// The same with less to it, for finding the least that fails.
    pub fn simpler(self) -> Vec<Self> {
        match self {
            Self::Hold { buyer, seats } => {
                let fewer = (0..SEATS).map(|seat| seats & !(1 << seat)).filter(|&fewer| fewer != 0 && fewer != seats);
                fewer.map(|seats| Self::Hold { buyer, seats }).collect()
            }
            Self::Best { buyer, quantity, standing } if quantity > 1 => {
                vec![Self::Best { buyer, quantity: 1, standing }]
            }
            Self::Pay(pick, card) if card != Card::Good => vec![Self::Pay(pick, Card::Good)],
            Self::Refund(pick, tickets) if tickets != 0 => vec![Self::Refund(pick, 0)],
            Self::Wait { seconds, sweep: true } => vec![Self::Wait { seconds, sweep: false }],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold { buyer, seats } => write!(f, "Hold {{ buyer: {buyer}, seats: {seats:#b} }}"),
            Self::OtherSeats(pick, seats) => write!(f, "OtherSeats({pick:?}, {seats:#b})"),
            other => write!(f, "{other:?}"),
        }
    }
}
