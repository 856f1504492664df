//! Seats: who has each, how one is taken, and what the public sees.

pub mod best;
pub mod map;
pub mod words;

use serde::{Deserialize, Serialize};

/// A seat as people name it: what is printed on the ticket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeatName {
    pub section: String,
    pub row: String,
    pub seat: String,
}

/// Seats of a row that share one item, and so one conditional write: a row, or a part of a long one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Block {
    pub section: String,
    /// The row's name, and `~` and a number for the later parts of a row of more than [`BLOCK_SEATS_MAX`] seats.
    pub row: String,
}

/// A seat as the lock knows it: the block, and the index in the block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    pub block: Block,
    pub index: u8,
}

/// Seats that share one item: 45 sold ones measure 988 bytes, one write unit of DynamoDB.
pub const BLOCK_SEATS_MAX: u8 = 45;

/// What anybody may know of a seat. The numbers are those of the seat map's two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SeatState {
    Free = 0,
    Held = 1,
    Sold = 2,
    NotForSale = 3,
}

impl std::fmt::Display for SeatName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} row {} seat {}", self.section, self.row, self.seat)
    }
}
