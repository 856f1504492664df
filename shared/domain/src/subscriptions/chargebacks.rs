//! Disputes of charges: whatever the provider says now is brought into the charge and the journal, however often it is told.
//!
//! While a bank has the money, perks hold and revenue is recognised as before, and no refund of that charge is sent: what was
//! decided gives way, and is asked for anew if the bank gives the money back. A dispute that is lost ends the subscription:
//! what its charge still owed as time to come is gone, and what had been earned of it is revenue no more.

use super::charges::{Charge, ChargeState};
use super::periods::NoSuchDate;
use super::state::{Event, Refused, State, Subscription, Write};
use crate::disputes::{Booking, Dispute};
use crate::effects::SubscriptionNews as News;
use crate::ledger::{Account, ChargeCause, ChargeEntry};
use crate::money::Money;
use crate::payments::{DisputeState, ProviderDispute};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A dispute of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chargeback {
    #[serde(flatten)]
    pub dispute: Dispute,
    /// Minor units of what was lost by it that were owed as time to come; the rest had been earned.
    #[serde(default)]
    pub unearned: i64,
}

fn cause(booking: Booking, dispute: String) -> ChargeCause {
    match booking {
        Booking::Withdrawn(_) => ChargeCause::DisputeWithdrawn { dispute },
        Booking::Reinstated(_) => ChargeCause::DisputeReinstated { dispute },
        Booking::Lost(_) => ChargeCause::DisputeLost { dispute },
        Booking::LossReversed(_) => ChargeCause::DisputeLossReversed { dispute },
    }
}

impl Charge {
    /// Whether the journal has a payment of it: only then can there be something to dispute.
    pub fn is_booked(&self) -> bool {
        (self.state == ChargeState::Succeeded && self.amount.amount > 0) || self.unadopted.is_some()
    }

    /// Whether the payer's bank has money of it, for now or for good: then none is given back beside that.
    pub fn is_disputed(&self) -> bool {
        self.disputes.iter().any(|known| known.dispute.state != DisputeState::Won)
    }

    pub(super) fn has_lost_dispute(&self) -> bool {
        self.disputes.iter().any(|known| known.dispute.state == DisputeState::Lost)
    }

    /// Minor units of time to come that banks keep.
    pub(super) fn charged_back(&self) -> i64 {
        let lost = self.disputes.iter().filter(|known| known.dispute.state == DisputeState::Lost);
        lost.map(|known| known.unearned).sum()
    }

    pub fn dispute(&self, id: &str) -> Option<&Dispute> {
        self.disputes.iter().map(|known| &known.dispute).find(|dispute| dispute.id == id)
    }

    /// The charge and the journal's entries after the provider said this; none where it says nothing new.
    fn dispute_seen(
        &self,
        seen: &ProviderDispute,
        now: Timestamp,
    ) -> Result<Option<(Self, Vec<ChargeEntry>)>, NoSuchDate> {
        assert!(self.is_booked(), "a dispute is of money that was captured");
        let known = self.dispute(&seen.id);
        let mut dispute = Dispute::after(known, seen);
        // What its end means for the subscription is in the same write.
        dispute.finished = dispute.state != DisputeState::Open;
        if known == Some(&dispute) {
            return Ok(None);
        }
        let fresh = dispute.fresh(known);
        let lost =
            fresh.iter().find_map(|booking| if let Booking::Lost(amount) = booking { Some(*amount) } else { None });
        let mut next = self.next();
        next.disputes.retain(|known| known.dispute.id != seen.id);
        let before = self.disputes.iter().find(|known| known.dispute.id == seen.id).map_or(0, |known| known.unearned);
        // What is asked for may have gone back, and is not the bank's.
        let asked: i64 = self.requested_refund().map_or(0, |refund| refund.amount);
        let unearned = lost.map_or(before, |amount| amount.min((self.unearned() - asked).max(0)));
        let entry = |booking: Booking| {
            let owed = |amount| match self.unadopted {
                Some(_) => vec![(Account::Unadopted, amount)],
                None => vec![(Account::Deferred, unearned), (Account::Revenue, amount - unearned)],
            };
            self.entry_of(cause(booking, seen.id.clone()), booking.legs(owed), now)
        };
        let entries = fresh.into_iter().map(entry).collect();
        next.disputes.push(Chargeback { dispute, unearned });
        Ok(Some((next.resumed(now)?, entries)))
    }
}

impl Subscription {
    /// What the provider says of a dispute of `charge` now; none where it says nothing new. Once it is lost, the subscription
    /// is over: `others` are the charges of the present period and the one that it waits for. Of another charge of this
    /// period that was paid, the rest goes back or is kept as if it were cancelled now.
    pub fn dispute_seen(
        &self,
        charge: &Charge,
        others: &[Charge],
        seen: &ProviderDispute,
        now: Timestamp,
    ) -> Result<Option<Write>, Refused> {
        let Some((next, entries)) = charge.dispute_seen(seen, now)? else { return Ok(None) };
        let dispute = next.dispute(&seen.id).expect("it was just noted").clone();
        let is_news = dispute.is_news(charge.dispute(&seen.id));
        let mut write = Write::next(self);
        write.charges.push(next);
        write.entries.extend(entries);
        if !is_news {
            return Ok(Some(write.done()));
        }
        let (id, state) = (charge.id, dispute.state);
        let amount = Money::new(dispute.amount, charge.amount.currency);
        write.tell(now, Event::Disputed { charge: id, amount, state });
        write.effect(News::Disputed { charge: id, state });
        if dispute.is_reversed() {
            write.effect(News::DisputeReversed { charge: id });
        }
        if state == DisputeState::Lost && charge.state == ChargeState::Succeeded && self.state != State::Ended {
            write.forfeit_rest(now)?;
            let others: Vec<_> = others.iter().filter(|other| other.id != id).cloned().collect();
            write.end_now(&others, now)?;
        }
        Ok(Some(write.done()))
    }
}

impl Write {
    /// What a bank has left of the charge that was just disputed is kept: its time is over.
    fn forfeit_rest(&mut self, now: Timestamp) -> Result<(), Refused> {
        let disputed = self.charges.pop().expect("it was just written");
        // Disputed and forfeited in one write, so in one version.
        let read = Charge { v: disputed.v - 1, ..disputed.clone() };
        let (mut next, entry) = read.forfeited(now).map_or((disputed, None), |(next, entry)| (next, Some(entry)));
        next.due_at = next.next_due(now)?;
        self.charges.push(next);
        self.entries.extend(entry);
        Ok(())
    }
}
