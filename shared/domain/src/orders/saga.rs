//! From held seats to valid tickets, or to nothing at all.

use super::{Closing, Order, OrderState, PAYMENT_SECONDS_MIN, Refund, Refused, TicketState, hold_expiry};
use crate::catalog::Price;
use crate::effects::What;
use crate::ids::{RefundId, SeatIndex};
use crate::ledger::{Account, Cause, Entry, Leg, gather, reversed};
use crate::payments::{Payment, PaymentStatus};
use jiff::{SignedDuration, Timestamp};

/// What has to be done about an order next, given its payment as the provider has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// Write `settling`, then make the seats sold, capture, and write `paid`.
    Settle,
    /// The last attempt to pay was declined: back to `held`.
    Decline,
    /// Write `expiring`, then look again.
    BeginClosing(Closing),
    /// Cancel the payment, release the seats, write the end.
    FinishClosing,
    /// The same for an order that was lost.
    FinishLosing,
    /// Money is set aside for an order that is over: let go of it.
    CancelPayment,
    /// Money was captured for an order that is over: give it back.
    RefundUnadopted,
    /// A stored decision waits for its money to move.
    Refund(RefundId),
    /// A dispute was decided: the tickets become what that means for them.
    FinishDispute,
}

impl Order {
    /// The one place that decides how an order goes on. Safe to ask at any time, however often.
    pub fn step(&self, payment: Option<&Payment>, now: Timestamp) -> Step {
        use PaymentStatus as P;
        let status = payment.map(|payment| payment.status);
        match self.state {
            OrderState::Settling => Step::Settle,
            // The provider is at work and takes no cancellation: how it ends decides.
            OrderState::Held | OrderState::Paying | OrderState::Expiring if status == Some(P::Processing) => {
                Step::Nothing
            }
            OrderState::Held | OrderState::Paying | OrderState::Expiring
                if matches!(status, Some(P::Authorised | P::Captured)) =>
            {
                Step::Settle
            }
            OrderState::Expiring => Step::FinishClosing,
            OrderState::Held | OrderState::Paying if now >= self.hold_until => Step::BeginClosing(Closing::Expired),
            OrderState::Paying if status == Some(P::Declined) => Step::Decline,
            OrderState::Held | OrderState::Paying => Step::Nothing,
            OrderState::Expired | OrderState::Cancelled | OrderState::Lost => match (self.pending_refund(), status) {
                (Some(refund), _) => Step::Refund(refund.id),
                (None, Some(P::Captured)) if self.unadopted.is_none() => Step::RefundUnadopted,
                (None, _) if self.due_at.is_some() => Step::FinishLosing,
                (None, Some(P::Authorised)) => Step::CancelPayment,
                _ => Step::Nothing,
            },
            OrderState::Paid | OrderState::Refunding | OrderState::PartlyRefunded | OrderState::Refunded => {
                if self.has_unfinished_dispute() {
                    return Step::FinishDispute;
                }
                self.pending_refund().map_or(Step::Nothing, |refund| Step::Refund(refund.id))
            }
        }
    }

    /// Whether a payment may be started or asked for again, and until when the hold then lasts.
    pub fn check_payable(&self, now: Timestamp) -> Result<(), Refused> {
        match self.state {
            OrderState::Held | OrderState::Paying if now >= self.hold_until => Err(Refused::HoldEnded),
            OrderState::Held | OrderState::Paying => Ok(()),
            OrderState::Expiring | OrderState::Expired => Err(Refused::HoldEnded),
            OrderState::Settling => Err(Refused::Busy),
            OrderState::Cancelled | OrderState::Lost => Err(Refused::Closed),
            _ => Err(Refused::AlreadyPaid),
        }
    }

    /// `paying`, with the payment that was created; a hold that is nearly over is stamped afresh, once.
    ///
    /// The order is written before the seats are stamped: it then knows both words, whichever the seats have.
    pub fn paying(&self, payment: String, request: &str, now: Timestamp) -> Result<Self, Refused> {
        self.check_payable(now)?;
        let mut next = Self { payment: Some(payment), ..self.next(OrderState::Paying) };
        next.pay_request.get_or_insert_with(|| request.to_owned());
        let left = self.hold_until.duration_since(now);
        if left < SignedDuration::from_secs(PAYMENT_SECONDS_MIN) && self.held_before.is_none() {
            next.held_before = Some(self.hold_until);
            next.hold_until = hold_expiry(now);
        }
        Ok(next)
    }

    /// Back to `held` after a decline: the same payment can be tried with another card.
    pub fn declined(&self) -> Self {
        self.next(OrderState::Held)
    }

    /// `settling`: from here on this order ends as paid or lost.
    pub fn settling(&self) -> Self {
        assert!(matches!(self.state, OrderState::Held | OrderState::Paying | OrderState::Expiring));
        self.next(OrderState::Settling)
    }

    /// `paid`: every seat has a valid ticket. With the journal's entry, to be written in the same transaction.
    pub fn paid(&self, now: Timestamp) -> (Self, Entry) {
        assert!(matches!(self.state, OrderState::Settling), "only a settling order becomes paid");
        let mut next = self.next(OrderState::Paid);
        next.due_at = None;
        next.closing = None;
        next.paid_at = Some(now);
        for seat in &mut next.seats {
            seat.ticket = Some(TicketState::Valid);
        }
        let what = What::OrderPaid { buyer: self.buyer, order: self.id, event: self.event };
        let entry = self.entry(Cause::Sale, self.legs_to(Account::Provider, self.price()), now);
        (next.with_effect(what), entry)
    }

    /// `lost`: the seats could not be had, or the capture was refused. It stays due until nothing is kept.
    ///
    /// This is written before seats are released and the payment is cancelled: another settling of the same order may
    /// have become `paid` meanwhile, and then there is nothing to take back.
    pub fn lost(&self) -> Self {
        assert!(matches!(self.state, OrderState::Settling), "only a settling order is lost");
        let mut next = self.next(OrderState::Lost);
        next.closing = None;
        next.with_effect(What::OrderLost { buyer: self.buyer, order: self.id, event: self.event })
    }

    /// At rest, once the seats of a lost order are released and its payment is cancelled.
    pub fn given_up(&self) -> Self {
        assert!(matches!(self.state, OrderState::Lost), "only a lost order is given up");
        Self { due_at: None, ..self.next(OrderState::Lost) }.with_seats_freed()
    }

    /// Money that was captured for an order that is over: booked, with the decision to give all of it back.
    pub fn unadopted(&self, captured: i64, now: Timestamp) -> (Self, Entry) {
        assert!(self.unadopted.is_none(), "a capture is booked once");
        let mut next = self.next(self.state);
        let refund = Refund::of_unadopted(self, captured, now);
        next.unadopted = Some(captured);
        next.due_at = Some(now + SignedDuration::from_secs(super::REFUND_RETRY_SECONDS));
        let what = What::RefundRequested { buyer: self.buyer, order: self.id, refund: refund.id };
        next.refunds.push(refund);
        let legs = next.legs_to(Account::Provider, Price { ticket: captured, fee: 0 });
        let entry = self.entry(Cause::UnadoptedCapture, legs, now);
        (next.with_effect(what), entry)
    }

    /// `expiring`: the hold ended or the buyer gives up. Whoever writes this cancels the payment and releases the seats.
    pub fn closing(&self, why: Closing) -> Result<Self, Refused> {
        match self.state {
            OrderState::Held | OrderState::Paying => Ok(Self { closing: Some(why), ..self.next(OrderState::Expiring) }),
            OrderState::Expiring | OrderState::Settling => Err(Refused::Busy),
            OrderState::Expired | OrderState::Cancelled | OrderState::Lost => Err(Refused::Closed),
            _ => Err(Refused::AlreadyPaid),
        }
    }

    /// `expired` or `cancelled`, once the payment is cancelled and the seats are released.
    pub fn closed(&self) -> Self {
        assert!(matches!(self.state, OrderState::Expiring), "only an expiring order closes");
        let state = match self.closing {
            Some(Closing::CancelledByBuyer) => OrderState::Cancelled,
            Some(Closing::Expired) | None => OrderState::Expired,
        };
        Self { due_at: None, closing: None, ..self.next(state) }.with_seats_freed()
    }

    /// Lets the bearer in, once. Nothing is to be written where the same request did so before.
    pub fn check_in(&self, index: SeatIndex, request: &str) -> Result<Option<Self>, Refused> {
        let (_, seat, ticket) = self.ticket(index).ok_or(Refused::NoSuchTicket)?;
        // What was let in was let in, whatever became of the ticket since.
        if seat.used_by.as_deref() == Some(request) {
            return Ok(None);
        }
        match ticket {
            TicketState::Valid => {
                let mut next = self.next(self.state);
                let seat = &mut next.seats[usize::from(index)];
                (seat.ticket, seat.used_by) = (Some(TicketState::Used), Some(request.to_owned()));
                Ok(Some(next))
            }
            TicketState::Used => Err(Refused::TicketUsed),
            TicketState::Refunding | TicketState::Refunded => Err(Refused::TicketRefunded),
            TicketState::Disputed | TicketState::ChargedBack => Err(Refused::Disputed),
        }
    }

    /// Legs that move money of this order to an account, from whom it is owed to: the organiser has the prices, the box
    /// office its fees; and the buyer all of what was captured for no order.
    pub(super) fn legs_to(&self, account: Account, price: Price) -> Vec<Leg> {
        match self.unadopted {
            Some(_) => gather(&[(Account::Unadopted, price.total())], account),
            None => gather(&[(Account::Organiser, price.ticket), (Account::ServiceFees, price.fee)], account),
        }
    }

    /// The same back from an account.
    pub(super) fn legs_from(&self, account: Account, price: Price) -> Vec<Leg> {
        reversed(self.legs_to(account, price))
    }

    pub(super) fn entry(&self, cause: Cause, legs: Vec<Leg>, at: Timestamp) -> Entry {
        let (order, buyer, event, currency) = (self.id, self.buyer, self.event, self.currency);
        Entry { order, buyer, event, cause, currency, legs, at }
    }
}
