//! Orders: the saga of a purchase as a state machine. Each method takes an order as it was read and gives the order
//! as it must be written, under the condition that nobody wrote it in between (`v`).
//!
//! `held → paying → settling → paid → refunding → partly_refunded | refunded`;
//! `held | paying → expiring → expired | cancelled`; `settling → lost`. A dispute stands beside these: it changes tickets
//! and the journal, not the state.

mod dispute;
mod refund;
mod saga;

pub use crate::disputes::Dispute;
pub use refund::{Refund, RefundAsk, RefundRefused, provider_key, refund_of_key};
pub use saga::Step;

use crate::catalog::Price;
use crate::effects::Effect;
use crate::ids::{EventId, OrderId, RefundId, SeatIndex, TicketId, UserId};
use crate::money::{Currency, Money, MoneyError};
use crate::payments::{CHARGE_MINOR_UNITS_MAX, minimum_charge};
use crate::refunds::RefundPolicy;
use crate::seating::words::{Channel, HOLD_SECONDS, Hold, Stamp, sold};
use crate::seating::{Block, Place, SeatName};
use crate::subscriptions::perks::{Applied, MonthTickets};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A hold with less than this left when a payment starts is stamped afresh, once, so that nobody types a card number
/// against the clock.
pub const PAYMENT_SECONDS_MIN: i64 = 300;
/// Seconds after which an unfinished refund is driven again.
pub const REFUND_RETRY_SECONDS: i64 = 60;
/// Shards of the index of orders that are due.
pub const DUE_SHARDS: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Seats are locked; nobody pays yet, or the last attempt was declined.
    Held,
    /// A payment was created.
    Paying,
    /// Money is authorised; the seats are being made sold.
    Settling,
    /// At rest: the tickets are valid.
    Paid,
    /// Some tickets are on their way back.
    Refunding,
    /// At rest: some tickets were given back.
    PartlyRefunded,
    /// At rest: all tickets were given back.
    Refunded,
    /// The hold ended; the payment is being cancelled and the seats released.
    Expiring,
    /// At rest: not paid in time.
    Expired,
    /// At rest: paid for seats that could not be had; nothing is kept.
    Lost,
    /// At rest: the buyer gave it up before paying.
    Cancelled,
}

/// What became of the right to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketState {
    Valid,
    /// Somebody entered with it.
    Used,
    /// Given back; the money is on its way.
    Refunding,
    Refunded,
    /// The buyer's bank has taken the money back and has not decided: it admits nobody, and keeps its seat.
    Disputed,
    /// The buyer's bank keeps the money; the seat is for others.
    ChargedBack,
}

/// Why an order is being closed without having been paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    Expired,
    CancelledByBuyer,
}

/// One seat of an order, and its ticket once it is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSeat {
    pub section: String,
    pub row: String,
    pub seat: String,
    /// The row of the lock's item, which for a part of a long row is not the row's name.
    pub block: String,
    pub index: u8,
    pub category: String,
    /// What is paid for it, in minor units of the order's currency.
    #[serde(flatten)]
    pub price: Price,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketState>,
    /// A digest of the check-in that used the ticket, by which the same one is known again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}

impl OrderSeat {
    pub fn place(&self) -> Place {
        Place { block: Block { section: self.section.clone(), row: self.block.clone() }, index: self.index }
    }

    pub fn name(&self) -> SeatName {
        SeatName { section: self.section.clone(), row: self.row.clone(), seat: self.seat.clone() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub id: OrderId,
    pub buyer: UserId,
    pub event: EventId,
    pub state: OrderState,
    /// Grows by one with each write; every write is conditional on it.
    pub v: u64,
    /// A digest of what was asked for, by which a repeated key with other contents is known.
    pub request: String,
    pub currency: Currency,
    pub seats: Vec<OrderSeat>,
    /// The terms of refund that were agreed.
    pub policy: RefundPolicy,
    /// What the buyer's subscription made of it, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// Whom its seats were set aside for; none where they were the public's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub placed_at: Timestamp,
    /// When the hold of the seats ends: the expiry in its lock words.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub hold_until: Timestamp,
    /// The expiry in the lock words before the hold was stamped afresh.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "jiff::fmt::serde::timestamp::second::optional")]
    pub held_before: Option<Timestamp>,
    /// When somebody has to look at it again; none at rest. Set once for a stretch, so that its index is written twice.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "jiff::fmt::serde::timestamp::second::optional")]
    pub due_at: Option<Timestamp>,
    /// The provider's id of the one payment of this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    /// A digest of the request that began the payment, which is answered as it was whenever it is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_request: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "jiff::fmt::serde::timestamp::second::optional")]
    pub paid_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// Minor units captured for an order that was lost, which go back in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unadopted: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<Refund>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disputes: Vec<Dispute>,
    /// What the last write set off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<Effect>,
}

/// What was agreed when seats were chosen.
#[derive(Clone, Debug)]
pub struct NewOrder {
    pub id: OrderId,
    pub buyer: UserId,
    pub event: EventId,
    pub request: String,
    pub currency: Currency,
    pub seats: Vec<OrderSeat>,
    pub policy: RefundPolicy,
    pub applied: Option<Applied>,
    pub channel: Option<Channel>,
}

/// Why an order cannot be done what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the hold on these seats has ended")]
    HoldEnded,
    #[error("the order is already paid")]
    AlreadyPaid,
    #[error("the order is closed")]
    Closed,
    #[error("the order is being settled; ask again in a moment")]
    Busy,
    #[error("the order is not paid")]
    NotPaid,
    #[error("the order has no such ticket")]
    NoSuchTicket,
    #[error("the ticket was already used to enter")]
    TicketUsed,
    #[error("the ticket was given back")]
    TicketRefunded,
    #[error("the payment is disputed: the buyer's bank has taken the money back")]
    Disputed,
    #[error("the order has no such refund")]
    NoSuchRefund,
    #[error("the refund has not failed")]
    RefundNotFailed,
    #[error("the total is below the smallest amount that can be paid, {0}")]
    TooSmall(Money),
    #[error("the total is above the largest amount that can be paid, {0}")]
    TooLarge(Money),
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// The total of these prices and their fees, if a payment of it can be made: nothing at all, or what the provider takes.
pub fn check_total(currency: Currency, prices: impl IntoIterator<Item = Price>) -> Result<Money, Refused> {
    let parts = prices.into_iter().flat_map(|price| [price.ticket, price.fee]);
    let total = Money::sum(currency, parts.map(|part| Money::new(part, currency)))?;
    let (least, most) = (minimum_charge(currency), CHARGE_MINOR_UNITS_MAX);
    match total.amount {
        0 => Ok(total),
        amount if amount < least => Err(Refused::TooSmall(Money::new(least, currency))),
        amount if amount > most => Err(Refused::TooLarge(Money::new(most, currency))),
        _ => Ok(total),
    }
}

impl Order {
    /// A new order whose seats are locked until `hold_until`.
    pub fn place(new: NewOrder, hold_until: Timestamp, now: Timestamp) -> Self {
        assert!(!new.seats.is_empty(), "an order has seats");
        Self {
            id: new.id,
            buyer: new.buyer,
            event: new.event,
            state: OrderState::Held,
            v: 1,
            request: new.request,
            currency: new.currency,
            seats: new.seats,
            policy: new.policy,
            applied: new.applied,
            channel: new.channel,
            placed_at: now,
            hold_until,
            held_before: None,
            due_at: Some(hold_until),
            payment: None,
            pay_request: None,
            paid_at: None,
            closing: None,
            unadopted: None,
            refunds: Vec::new(),
            disputes: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// What all seats cost, with the fees of each.
    pub fn price(&self) -> Price {
        self.seats.iter().map(|seat| seat.price).sum()
    }

    /// What is to be paid: prices and fees.
    pub fn total(&self) -> Money {
        Money::new(self.price().total(), self.currency)
    }

    pub fn hold(&self) -> Hold {
        Hold::of(self.id)
    }

    /// Every word that this order's lock may have on its seats while it is not sold.
    pub fn held_words(&self) -> Vec<String> {
        let expiries = [Some(self.hold_until), self.held_before];
        let (hold, channel) = (self.hold(), self.channel);
        expiries.into_iter().flatten().map(|expiry| Stamp { hold, channel, expiry }.word()).collect()
    }

    /// The word on the seat of this index once it is sold.
    pub fn sold_word(&self, index: SeatIndex) -> String {
        sold(self.hold(), index)
    }

    pub fn ticket(&self, index: SeatIndex) -> Option<(TicketId, &OrderSeat, TicketState)> {
        let seat = self.seats.get(usize::from(index))?;
        Some((TicketId { order: self.id, index }, seat, seat.ticket?))
    }

    pub fn tickets(&self) -> impl Iterator<Item = (TicketId, &OrderSeat, TicketState)> {
        (0..self.seats.len()).filter_map(|index| self.ticket(index as SeatIndex))
    }

    pub fn refund(&self, id: RefundId) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.id == id)
    }

    /// Whether a seat's ticket is void for good, and nothing is left to be done that releases the seat: it is for others.
    pub fn is_given_up(&self, index: SeatIndex) -> bool {
        let is_under_way = |refund: &Refund| {
            refund.sent.state == crate::refunds::RefundState::Requested && refund.tickets.contains(&index)
        };
        match self.ticket(index).map(|(_, _, ticket)| ticket) {
            Some(TicketState::Refunded | TicketState::ChargedBack) => true,
            // The decision stands, though its money gave way to a bank or could not be moved.
            Some(TicketState::Refunding) => !self.refunds.iter().any(is_under_way),
            _ => false,
        }
    }

    /// Those of these seats that are included tickets of a month of a subscription; none where no seat is one.
    pub fn included(&self, which: impl Fn(SeatIndex) -> bool) -> Option<MonthTickets> {
        let applied = self.applied.as_ref()?;
        let tickets = applied.included_seats().filter(|&index| which(index));
        let tickets: Vec<_> = tickets.map(|index| TicketId { order: self.id, index }).collect();
        let (subscription, month) = (applied.subscription, applied.month?);
        (!tickets.is_empty()).then_some(MonthTickets { subscription, month, tickets })
    }

    /// The next version of this order in another state; effects are those of this write only.
    fn next(&self, state: OrderState) -> Self {
        Self { state, v: self.v + 1, effects: Vec::new(), ..self.clone() }
    }

    /// With word that its seats, or some of them, are for others: they were released before this is written.
    fn with_seats_freed(self) -> Self {
        let event = self.event;
        self.with_effect(crate::effects::What::SeatsFreed { event })
    }

    fn with_effect(mut self, what: crate::effects::What) -> Self {
        let effect = Effect::of(self.id, self.v, self.effects.len(), what);
        self.effects.push(effect);
        self
    }
}

/// When a hold taken now ends: whole seconds, as lock words count.
pub fn hold_expiry(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).expect("an instant's second is an instant")
        + SignedDuration::from_secs(HOLD_SECONDS)
}

#[cfg(test)]
pub(crate) mod tests;
