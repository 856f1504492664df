//! What clients see of orders, tickets and money, and the problems that more than one function gives.

use crate::buy::perks::AppliedOut;
use axum::http::StatusCode;
use domain::catalog::Price;
use domain::ids::{EventId, OrderId, RefundId, TicketId};
use domain::money::{Currency, Money};
use domain::orders::{Dispute, Order, OrderSeat, OrderState, Refund, RefundRefused, Refused, TicketState};
use domain::payments::DisputeState;
use domain::refunds::RefundState;
use domain::refunds::{self, Decision, Ground};
use jiff::Timestamp;
use platform::http::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Money: whole minor units (cents, kopecks) of an ISO 4217 currency.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MoneyOut {
    #[schema(example = 150000)]
    pub amount: i64,
    #[schema(example = "RUB")]
    pub currency: String,
}

impl From<Money> for MoneyOut {
    fn from(money: Money) -> Self {
        Self { amount: money.amount, currency: money.currency.code().to_owned() }
    }
}

/// A service fee, where there is one.
pub fn some_fee(amount: i64, currency: Currency) -> Option<MoneyOut> {
    (amount > 0).then(|| Money::new(amount, currency).into())
}

/// Where an order stands. At rest: `paid`, `partly_refunded`, `refunded`, `expired`, `lost`, `cancelled`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OrderOut {
    #[schema(value_type = String, example = "ord_01jd8z3v8e7x0m4q2r6t9w1y5b")]
    pub id: OrderId,
    #[schema(value_type = String)]
    pub event_id: EventId,
    /// `held`, `paying`, `settling`, `paid`, `refunding`, `partly_refunded`, `refunded`, `expiring`, `expired`, `lost`
    /// or `cancelled`.
    #[schema(value_type = String)]
    pub status: OrderState,
    pub seats: Vec<OrderSeatOut>,
    /// What is paid: the prices of all seats and their service fees.
    pub total: MoneyOut,
    /// How much of the total is service fees; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_fees: Option<MoneyOut>,
    /// What the buyer's subscription made of it, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<AppliedOut>,
    #[schema(value_type = String, format = DateTime)]
    pub placed_at: Timestamp,
    /// Until when the seats are held; absent once that no longer matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub hold_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paid_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<RefundOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disputes: Vec<DisputeOut>,
}

/// The buyer's bank wants the money back (a chargeback): the tickets admit nobody meanwhile.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DisputeOut {
    /// `open`, `won` (the tickets are valid again) or `lost` (they are void, and the buyer keeps the money).
    #[schema(value_type = String)]
    pub status: DisputeState,
    pub amount: MoneyOut,
}

impl DisputeOut {
    fn new(order: &Order, dispute: &Dispute) -> Self {
        Self { status: dispute.state, amount: Money::new(dispute.amount, order.currency).into() }
    }
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OrderSeatOut {
    pub section: String,
    pub row: String,
    pub seat: String,
    pub category: String,
    pub price: MoneyOut,
    /// What is paid beside the price; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_fee: Option<MoneyOut>,
    /// The ticket, once the order is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ticket_id: Option<TicketId>,
    /// `valid`, `used`, `refunding`, `refunded`, `disputed` or `charged_back`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ticket_status: Option<TicketState>,
}

impl OrderSeatOut {
    fn new(order: &Order, index: u8, seat: &OrderSeat) -> Self {
        Self {
            section: seat.section.clone(),
            row: seat.row.clone(),
            seat: seat.seat.clone(),
            category: seat.category.clone(),
            price: Money::new(seat.price.ticket, order.currency).into(),
            service_fee: some_fee(seat.price.fee, order.currency),
            ticket_id: seat.ticket.map(|_| TicketId { order: order.id, index }),
            ticket_status: seat.ticket,
        }
    }
}

impl From<&Order> for OrderOut {
    fn from(order: &Order) -> Self {
        let holds = matches!(order.state, OrderState::Held | OrderState::Paying);
        Self {
            id: order.id,
            event_id: order.event,
            status: order.state,
            seats: order.seats.iter().zip(0..).map(|(seat, index)| OrderSeatOut::new(order, index, seat)).collect(),
            total: order.total().into(),
            service_fees: some_fee(order.price().fee, order.currency),
            applied: order.applied.as_ref().map(|applied| AppliedOut::new(order, applied)),
            placed_at: order.placed_at,
            hold_until: holds.then_some(order.hold_until),
            paid_at: order.paid_at,
            refunds: order.refunds.iter().map(|refund| RefundOut::new(order, refund)).collect(),
            disputes: order.disputes.iter().map(|dispute| DisputeOut::new(order, dispute)).collect(),
        }
    }
}

/// A decision to give money back, and what became of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RefundOut {
    #[schema(value_type = String)]
    pub id: RefundId,
    /// `requested`, `done` (the provider took it; the money arrives in days) or `failed` (a person will see to it).
    #[schema(value_type = String)]
    pub status: RefundState,
    #[schema(value_type = Vec<String>)]
    pub ticket_ids: Vec<TicketId>,
    pub amount: MoneyOut,
    /// How much of the amount is service fees: 0 where they are kept, absent where the tickets had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_fees: Option<MoneyOut>,
    /// The rule that decided, such as `ru_52_1_10_days`; its text, and where it stands.
    pub rule: String,
    pub reason: String,
    pub source: String,
    #[schema(value_type = String, format = DateTime)]
    pub requested_at: Timestamp,
}

impl RefundOut {
    pub fn new(order: &Order, refund: &Refund) -> Self {
        Self {
            id: refund.id,
            status: refund.sent.state,
            ticket_ids: refund.tickets.iter().map(|&index| TicketId { order: order.id, index }).collect(),
            amount: refund.money(order.currency).into(),
            service_fees: of_fees(order, &refund.tickets, refund.fee),
            rule: refund.rule.clone(),
            reason: refund.reason.clone(),
            source: refund.source.clone(),
            requested_at: refund.requested_at,
        }
    }
}

/// What giving tickets back would give at this moment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RefundQuoteOut {
    pub tickets: Vec<TicketQuoteOut>,
    pub total: MoneyOut,
    /// How much of the total is service fees: 0 where they are kept, absent where the tickets had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_fees: Option<MoneyOut>,
    /// The ground that decided: an event that was changed or cancelled counts before the buyer's wish.
    #[schema(value_type = String)]
    pub ground: Ground,
    pub rule: String,
    pub reason: String,
    pub source: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TicketQuoteOut {
    #[schema(value_type = String)]
    pub ticket_id: TicketId,
    /// The price and the service fee.
    pub paid: MoneyOut,
    pub refund: MoneyOut,
    /// What of these is the service fee; absent where the ticket had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_fee: Option<FeeQuoteOut>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FeeQuoteOut {
    pub paid: MoneyOut,
    /// All of it or nothing.
    pub refund: MoneyOut,
}

impl RefundQuoteOut {
    pub fn new(order: &Order, tickets: &[u8], decision: &Decision) -> Self {
        let quotes = tickets.iter().zip(&decision.amounts).map(|(&index, &refund)| {
            let money = |amount| MoneyOut::from(Money::new(amount, order.currency));
            let paid = order.seats[usize::from(index)].price;
            TicketQuoteOut {
                ticket_id: TicketId { order: order.id, index },
                paid: money(paid.total()),
                refund: money(refund.total()),
                service_fee: (paid.fee > 0).then(|| FeeQuoteOut { paid: money(paid.fee), refund: money(refund.fee) }),
            }
        });
        Self {
            tickets: quotes.collect(),
            total: decision.total.into(),
            service_fees: of_fees(order, tickets, decision.fee),
            ground: decision.ground,
            rule: decision.rule.clone(),
            reason: decision.reason.clone(),
            source: decision.source.clone(),
        }
    }
}

/// What goes back of the service fees of these tickets, if they had any.
fn of_fees(order: &Order, tickets: &[u8], amount: i64) -> Option<MoneyOut> {
    let paid: Price = tickets.iter().map(|&index| order.seats[usize::from(index)].price).sum();
    (paid.fee > 0).then(|| Money::new(amount, order.currency).into())
}

/// Why an order cannot be done what was asked, for the client.
pub fn order_problem(refused: Refused) -> Problem {
    let code = match refused {
        Refused::HoldEnded => "hold_ended",
        Refused::AlreadyPaid => "already_paid",
        Refused::Closed => "order_closed",
        Refused::Busy => "order_busy",
        Refused::NotPaid => "not_paid",
        Refused::NoSuchTicket | Refused::NoSuchRefund => return Problem::not_found(),
        Refused::RefundNotFailed => "refund_not_failed",
        Refused::TicketUsed => "ticket_used",
        Refused::TicketRefunded => "ticket_refunded",
        Refused::Disputed => "ticket_disputed",
        Refused::TooSmall(_) => return unprocessable("amount_too_small", refused.to_string()),
        Refused::TooLarge(_) | Refused::Money(_) => return unprocessable("amount_too_large", refused.to_string()),
    };
    Problem::conflict(code, sentence(&refused.to_string()))
}

/// Why tickets are not given back, for the client.
pub fn refund_problem(refused: RefundRefused) -> Problem {
    let refused = match refused {
        RefundRefused::Order(refused) => return order_problem(refused),
        RefundRefused::Policy(refused) => refused,
    };
    let code = match refused {
        refunds::Refused::Started => "event_started",
        refunds::Refused::NothingDue(_) => "nothing_due",
        refunds::Refused::GroundAbsent(_) => "ground_absent",
        refunds::Refused::StaffOnly(_) => "staff_decides",
        refunds::Refused::NoTickets => return Problem::field("/ticket_ids", "must name at least one ticket"),
        refunds::Refused::UnknownZone(_) | refunds::Refused::Money(_) => return Problem::internal(refused.to_string()),
    };
    Problem::conflict(code, sentence(&refused.to_string()))
}

fn unprocessable(code: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, sentence(&detail))
}

/// An error's text as a sentence for people.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
