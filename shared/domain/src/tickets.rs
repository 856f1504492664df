//! Tickets: the claims in a ticket's code, which a gate can check without a network.

use crate::ids::{EventId, TicketId, UserId};
use crate::seating::SeatName;
use serde::{Deserialize, Serialize};

/// What a ticket's code says, as the claims of a JWT (RFC 7519) of type [`TICKET_TYPE`], signed with Ed25519
/// (RFC 8037). There is no expiry in it: the event's date is the gate's to know, and the check-in decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketClaims {
    /// The ticket.
    pub sub: TicketId,
    pub event: EventId,
    /// Whose order the ticket is in, so that a check-in finds it with one read.
    pub buyer: UserId,
    pub seat: SeatName,
    /// Seconds since 1970 at which the order was paid.
    pub iat: i64,
}

/// The `typ` header of a ticket's code, which keeps it from being taken for an access token.
pub const TICKET_TYPE: &str = "ticket+jwt";
