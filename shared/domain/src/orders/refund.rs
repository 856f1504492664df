//! Giving tickets back: the decision is stored with its reason before the money moves.

use super::{Order, OrderState, REFUND_RETRY_SECONDS, TicketState};
use crate::catalog::{Event, EventStatus, Price, is_zero};
use crate::effects::What;
use crate::ids::{EventId, OrderId, RefundId, SeatIndex, UserId};
use crate::ledger::{Account, Cause, Entry};
use crate::money::{Currency, Money};
use crate::refunds::{self, Ask, Decision, EventFacts, Ground, RefundState, Sending};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A decision to give money back, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    pub id: RefundId,
    /// A digest of what was asked for, by which a repeated key with other contents is known.
    pub request: String,
    pub tickets: Vec<SeatIndex>,
    /// Minor units of the order's currency, service fees included.
    pub amount: i64,
    /// How much of it is service fees.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fee: i64,
    pub ground: Option<Ground>,
    /// The rule that decided, its text for people, and its source.
    pub rule: String,
    pub reason: String,
    pub source: String,
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub requested_at: Timestamp,
    /// Who decided, where a person had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<UserId>,
    #[serde(flatten)]
    pub sent: Sending,
}

/// A request to give tickets back.
#[derive(Clone, Debug)]
pub struct RefundAsk {
    pub id: RefundId,
    pub request: String,
    /// None asks for every ticket that can be given back.
    pub tickets: Option<Vec<SeatIndex>>,
    pub ground: Ground,
    /// Staff who saw the documents.
    pub decided_by: Option<UserId>,
}

/// Why tickets are not given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefundRefused {
    #[error(transparent)]
    Order(#[from] super::Refused),
    #[error(transparent)]
    Policy(#[from] refunds::Refused),
}

impl RefundAsk {
    /// All tickets of an order whose event was cancelled: the same refund however often it is asked for.
    pub fn of_cancelled(order: OrderId, event: EventId) -> Self {
        let id = RefundId(crate::ids::keyed(&order.to_string(), "event cancelled", &event.to_string()));
        Self { id, request: String::new(), tickets: None, ground: Ground::EventCancelled, decided_by: None }
    }
}

/// What the provider knows a refund by; each retry is another refund there.
pub fn provider_key(refund: RefundId, retries: u8) -> String {
    match retries {
        0 => refund.to_string(),
        n => format!("{refund}-{n}"),
    }
}

/// The refund that a provider's key is of, whichever retry.
pub fn refund_of_key(key: &str) -> Option<RefundId> {
    key.split('-').next()?.parse().ok()
}

impl Refund {
    /// The whole of a payment that got no seats.
    pub(super) fn of_unadopted(order: &Order, captured: i64, now: Timestamp) -> Self {
        Self {
            id: RefundId(crate::ids::keyed(&order.id.to_string(), "unadopted", "")),
            request: String::new(),
            tickets: Vec::new(),
            amount: captured,
            fee: 0,
            ground: None,
            rule: "unadopted".into(),
            reason: "the payment arrived when the seats could no longer be had".into(),
            source: refunds::ORGANISER.into(),
            requested_at: now,
            decided_by: None,
            sent: Sending::requested(),
        }
    }

    /// What the provider knows it by; each retry is another refund there.
    pub fn provider_key(&self) -> String {
        provider_key(self.id, self.sent.retries)
    }

    pub fn money(&self, currency: Currency) -> Money {
        Money::new(self.amount, currency)
    }

    /// What of it is of the tickets' prices, and what of their fees.
    pub(super) fn price(&self) -> Price {
        Price { ticket: self.amount - self.fee, fee: self.fee }
    }
}

impl Order {
    /// What giving these tickets back would give, and which tickets they are; nothing is changed.
    pub fn quote_refund(
        &self,
        event: &Event,
        ask: &RefundAsk,
        now: Timestamp,
    ) -> Result<(Vec<SeatIndex>, Decision), RefundRefused> {
        self.paid_at.ok_or(super::Refused::NotPaid)?;
        if self.is_disputed() {
            Err(super::Refused::Disputed)?;
        }
        // An event that was cancelled owes its price to those who had come in, too.
        let is_cancelled = event.status == EventStatus::Cancelled;
        let is_owed = |state| state == TicketState::Valid || (is_cancelled && state == TicketState::Used);
        let tickets = match &ask.tickets {
            Some(tickets) => tickets.clone(),
            None => self.tickets().filter(|(.., state)| is_owed(*state)).map(|(id, ..)| id.index).collect(),
        };
        let distinct: BTreeSet<_> = tickets.iter().collect();
        assert_eq!(distinct.len(), tickets.len(), "a ticket is given back once");
        let mut prices = Vec::with_capacity(tickets.len());
        for &index in &tickets {
            let (_, seat, state) = self.ticket(index).ok_or(super::Refused::NoSuchTicket)?;
            match state {
                state if is_owed(state) => prices.push(seat.price),
                TicketState::Valid | TicketState::Used => Err(super::Refused::TicketUsed)?,
                TicketState::Refunding | TicketState::Refunded => Err(super::Refused::TicketRefunded)?,
                TicketState::Disputed | TicketState::ChargedBack => Err(super::Refused::Disputed)?,
            }
        }
        if prices.is_empty() {
            Err(super::Refused::TicketRefunded)?;
        }
        let decided_by_staff = ask.decided_by.is_some();
        // What the buyer agreed to is what stood there when the seats were chosen.
        let (currency, bought_at) = (self.currency, self.placed_at);
        let ask = Ask { prices: &prices, currency, bought_at, ground: ask.ground, decided_by_staff };
        let decision = refunds::decide(&self.policy, &EventFacts::from(event), &ask, now)?;
        Ok((tickets, decision))
    }

    /// `refunding`: the decision is stored, the tickets no longer admit, and the money is asked for by an effect.
    pub fn request_refund(&self, event: &Event, ask: &RefundAsk, now: Timestamp) -> Result<Self, RefundRefused> {
        let (tickets, decision) = self.quote_refund(event, ask, now)?;
        let mut next = self.next(OrderState::Refunding);
        for &index in &tickets {
            next.seats[usize::from(index)].ticket = Some(TicketState::Refunding);
        }
        next.due_at = self.due_at.or(Some(now + SignedDuration::from_secs(REFUND_RETRY_SECONDS)));
        next.refunds.push(Refund {
            id: ask.id,
            request: ask.request.clone(),
            tickets,
            amount: decision.total.amount,
            fee: decision.fee,
            ground: Some(decision.ground),
            rule: decision.rule,
            reason: decision.reason,
            source: decision.source,
            requested_at: now,
            decided_by: ask.decided_by,
            sent: Sending::requested(),
        });
        Ok(next.with_effect(What::RefundRequested { buyer: self.buyer, order: self.id, refund: ask.id }))
    }

    /// The first decision whose money has not moved.
    pub fn pending_refund(&self) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.sent.state == RefundState::Requested)
    }

    /// The provider took the refund. With the journal's entry, to be written in the same transaction.
    pub fn refund_done(&self, id: RefundId, provider_refund: Option<String>, now: Timestamp) -> (Self, Entry) {
        let mut next = self.next(self.state);
        let refund = next.refunds.iter_mut().find(|refund| refund.id == id).expect("the refund is this order's");
        assert_eq!(refund.sent.state, RefundState::Requested, "a refund is done once");
        refund.sent.done(provider_refund);
        let (price, retries, tickets) = (refund.price(), refund.sent.retries, refund.tickets.clone());
        for index in tickets {
            next.seats[usize::from(index)].ticket = Some(TicketState::Refunded);
        }
        let legs = self.legs_from(Account::Provider, price);
        let entry = self.entry(Cause::Refund { refund: id, retries }, legs, now);
        let next = next.rested().with_effect(What::OrderRefunded { buyer: self.buyer, order: self.id, refund: id });
        (next.with_seats_freed(), entry)
    }

    /// The provider refused the refund, at once or days after it took it (then the journal's entry is reversed). The
    /// tickets stay void: the decision stands, and a person has to find another way for the money; unless it `gave_way`
    /// to the buyer's bank, which may give the money back. `made` is what the provider made of it, if it did.
    pub fn refund_failed(
        &self,
        id: RefundId,
        made: Option<String>,
        gave_way: bool,
        now: Timestamp,
    ) -> (Self, Option<Entry>) {
        let mut next = self.next(self.state);
        let refund = next.refunds.iter_mut().find(|refund| refund.id == id).expect("the refund is this order's");
        let was_booked = refund.sent.state == RefundState::Done;
        refund.sent.failed(made, gave_way);
        let (price, retries) = (refund.price(), refund.sent.retries);
        let reversal = Cause::RefundReversed { refund: id, retries };
        let entry = was_booked.then(|| self.entry(reversal, self.legs_to(Account::Provider, price), now));
        let next = next.rested().with_effect(What::RefundFailed { buyer: self.buyer, order: self.id, refund: id });
        let next = if was_booked { next } else { next.with_seats_freed() };
        // The news of it may come when the dispute is over.
        (if self.disputes.is_empty() { next } else { next.resumed(now) }, entry)
    }

    /// Once no bank has money of it any more: what gave way to a bank is asked for anew, under the decisions that stand.
    pub(super) fn resumed(mut self, now: Timestamp) -> Self {
        if self.is_disputed() {
            return self;
        }
        let resumed = self.refunds.iter_mut().filter_map(|refund| refund.sent.resume().then_some(refund.id));
        let asked: Vec<_> = resumed.collect();
        if asked.is_empty() {
            return self;
        }
        if self.unadopted.is_none() {
            self.state = OrderState::Refunding;
        }
        self.due_at = self.due_at.or(Some(now + SignedDuration::from_secs(REFUND_RETRY_SECONDS)));
        let (buyer, order) = (self.buyer, self.id);
        asked.into_iter().fold(self, |next, refund| next.with_effect(What::RefundRequested { buyer, order, refund }))
    }

    /// Asks the provider anew for a refund that failed, under the decision that stands.
    pub fn retry_refund(&self, id: RefundId, now: Timestamp) -> Result<Self, super::Refused> {
        let state = if self.unadopted.is_some() { self.state } else { OrderState::Refunding };
        let mut next = self.next(state);
        let refund = next.refunds.iter_mut().find(|refund| refund.id == id).ok_or(super::Refused::NoSuchRefund)?;
        if !refund.sent.may_retry() {
            return Err(super::Refused::RefundNotFailed);
        }
        if self.is_disputed() {
            return Err(super::Refused::Disputed);
        }
        refund.sent.ask_anew();
        next.due_at = self.due_at.or(Some(now + SignedDuration::from_secs(REFUND_RETRY_SECONDS)));
        Ok(next.with_effect(What::RefundRequested { buyer: self.buyer, order: self.id, refund: id }))
    }

    /// The state that the tickets add up to, once no refund and no dispute has to be worked off; otherwise as it is.
    pub(super) fn rested(mut self) -> Self {
        if self.pending_refund().is_some() || self.has_unfinished_dispute() {
            return self;
        }
        self.due_at = None;
        let given_back =
            |seat: &super::OrderSeat| matches!(seat.ticket, Some(TicketState::Refunding | TicketState::Refunded));
        if self.unadopted.is_none() {
            self.state = match self.seats.iter().filter(|seat| given_back(seat)).count() {
                0 => OrderState::Paid,
                some if some < self.seats.len() => OrderState::PartlyRefunded,
                _ => OrderState::Refunded,
            };
        }
        self
    }
}
