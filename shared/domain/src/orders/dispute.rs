//! Disputes of orders.
//!
//! Whatever the provider says now is brought into the order by [`Order::dispute_seen`], however often and in whatever
//! order it is told; what was decided is then worked off by [`super::Step::FinishDispute`], so that a crash between the
//! two leaves an order that is due.

use super::{Order, REFUND_RETRY_SECONDS, RefundAsk, RefundRefused, TicketState};
use crate::catalog::{Event, EventStatus, Price};
use crate::disputes::{Booking, Dispute};
use crate::effects::What;
use crate::ledger::{Account, Cause, Entry};
use crate::payments::{DisputeState, ProviderDispute};
use crate::refunds::RefundState;
use jiff::{SignedDuration, Timestamp};

fn cause(booking: Booking, dispute: String) -> Cause {
    match booking {
        Booking::Withdrawn(_) => Cause::DisputeWithdrawn { dispute },
        Booking::Reinstated(_) => Cause::DisputeReinstated { dispute },
        Booking::Lost(_) => Cause::DisputeLost { dispute },
        Booking::LossReversed(_) => Cause::DisputeLossReversed { dispute },
    }
}

impl Order {
    /// Whether the journal has a capture of it: only then can there be something to dispute.
    pub fn is_booked(&self) -> bool {
        self.paid_at.is_some() || self.unadopted.is_some()
    }

    /// Whether the buyer's bank has money of it, for now or for good: then none is given back beside that.
    pub fn is_disputed(&self) -> bool {
        self.disputes.iter().any(|dispute| dispute.state != DisputeState::Won)
    }

    /// Whether a dispute was decided and the tickets do not show it yet.
    pub fn has_unfinished_dispute(&self) -> bool {
        self.disputes.iter().any(|dispute| dispute.state != DisputeState::Open && !dispute.finished)
    }

    /// What the provider says of a dispute now, brought into the order; with the journal's entries, to be written in the
    /// same transaction. `None` where it says nothing new. The capture must be booked.
    pub fn dispute_seen(&self, seen: &ProviderDispute, now: Timestamp) -> Option<(Self, Vec<Entry>)> {
        assert!(self.is_booked(), "a dispute is of money that was captured");
        let at = self.disputes.iter().position(|known| known.id == seen.id);
        let known = at.map(|at| &self.disputes[at]);
        let mut after = Dispute::after(known, seen);
        // Without tickets, nothing follows from its end.
        after.finished |= self.unadopted.is_some() && after.state != DisputeState::Open;
        if known == Some(&after) {
            return None;
        }
        if let (Some(lost), None) = (after.loss(), known.and_then(Dispute::loss)) {
            after.fee_lost = self.fee_in(lost);
        }
        let fee = after.fee_lost;
        let owed = |amount| match self.unadopted {
            Some(_) => vec![(Account::Unadopted, amount)],
            None => vec![(Account::Organiser, amount - fee), (Account::ServiceFees, fee)],
        };
        let entry = |booking: Booking| self.entry(cause(booking, seen.id.clone()), booking.legs(owed), now);
        let entries = after.fresh(known).into_iter().map(entry).collect();

        let is_news = after.is_news(known);
        let is_reversed = is_news && after.is_reversed();
        let state = after.state;
        let mut next = self.next(self.state);
        match at {
            Some(at) => next.disputes[at] = after,
            None => next.disputes.push(after),
        }
        if next.is_disputed() || next.has_unfinished_dispute() {
            next.change_tickets(TicketState::Valid, TicketState::Disputed);
        }
        if next.has_unfinished_dispute() {
            next.due_at = self.due_at.or(Some(now + SignedDuration::from_secs(REFUND_RETRY_SECONDS)));
        }
        let (buyer, order, event) = (self.buyer, self.id, self.event);
        if is_news {
            next = next.with_effect(What::OrderDisputed { buyer, order, event, state });
        }
        if is_reversed {
            next = next.with_effect(What::DisputeReversed { buyer, order, event });
        }
        // Without tickets no step follows that could do it.
        Some((if self.unadopted.is_some() { next.resumed(now) } else { next }, entries))
    }

    /// How much of an amount that a bank keeps is service fees: their part of what is kept of the order by then, so that
    /// whoever loses all of that loses each part of it.
    fn fee_in(&self, amount: i64) -> i64 {
        let done = self.refunds.iter().filter(|refund| refund.sent.state == RefundState::Done);
        let lost = self.disputes.iter().filter(|dispute| dispute.state != DisputeState::Won);
        let lost = lost.filter_map(|dispute| Some((dispute.loss()?, dispute.fee_lost)));
        let lost = lost.map(|(amount, fee)| Price { ticket: amount - fee, fee });
        let gone: Price = done.map(|refund| refund.price()).chain(lost).sum();
        let sold = self.price();
        let (fee, total) = (sold.fee - gone.fee, sold.total() - gone.total());
        if self.unadopted.is_some() || fee <= 0 || total <= 0 {
            return 0;
        }
        let part = i128::from(amount) * i128::from(fee) / i128::from(total);
        i64::try_from(part).map_or(fee, |part| part.min(fee))
    }

    /// Whether the seats of disputed tickets are to be released: a dispute was lost. If its money came back later they may
    /// have been already.
    pub fn has_lost_dispute(&self) -> bool {
        self.disputes.iter().any(|dispute| dispute.was_lost)
    }

    /// The tickets as the end of their disputes leaves them: void for good where one was lost (their seats must be
    /// released by now), valid again where all were won. If the event was cancelled meanwhile, they go back at once; and
    /// so does what was to go back before, and gave way.
    pub fn dispute_finished(&self, event: &Event, now: Timestamp) -> Result<Self, RefundRefused> {
        let mut next = self.next(self.state);
        for dispute in next.disputes.iter_mut().filter(|dispute| dispute.state != DisputeState::Open) {
            dispute.finished = true;
        }
        if next.has_lost_dispute() {
            next.change_tickets(TicketState::Disputed, TicketState::ChargedBack);
            next = next.with_seats_freed();
        } else if !next.is_disputed() {
            next.change_tickets(TicketState::Disputed, TicketState::Valid);
        }
        let next = next.rested();
        let ask = RefundAsk::of_cancelled(self.id, event.id);
        if event.status != EventStatus::Cancelled || next.refund(ask.id).is_some() {
            return Ok(next.resumed(now));
        }
        // Both in one write, so in one version.
        match (Self { v: self.v, ..next.clone() }).request_refund(event, &ask, now) {
            Ok(refunding) => Ok(refunding.resumed(now)),
            // Nothing is owed: no ticket is left, or the bank has the money.
            Err(RefundRefused::Order(_)) => Ok(next.resumed(now)),
            Err(error) => Err(error),
        }
    }

    fn change_tickets(&mut self, from: TicketState, to: TicketState) {
        for seat in self.seats.iter_mut().filter(|seat| seat.ticket == Some(from)) {
            seat.ticket = Some(to);
        }
    }
}

#[cfg(test)]
mod tests;
