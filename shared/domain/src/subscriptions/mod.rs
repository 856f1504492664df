//! Subscriptions: perks for a term, or month by month. Plans are data; who subscribes keeps the terms of that day.
//!
//! `pending → trialing | active → past_due → lapsed`, and `ended` from everywhere. Each method of [`Subscription`] takes
//! it as it was read and gives everything that must be written in one transaction ([`Write`]), under the condition that
//! nobody wrote it in between (`v`).
//!
//! Money moves by charges, one a subscription and period: [`Charge`] holds the one intent of it, and an effect,
//! `subscription.charge_due`, asks for each try. [`Charge::step`] decides what a try does, however often it is asked.

mod billing;
mod cards;
mod changes;
mod chargebacks;
mod charges;
pub mod dunning;
mod ending;
pub mod periods;
pub mod perks;
pub mod plans;
pub mod promotions;
pub mod proration;
mod refunds;
mod settling;
mod state;

pub use billing::Due;
pub use cards::{CardClaim, CardUse};
pub use changes::NewPlan;
pub use chargebacks::Chargeback;
pub use charges::{Attempt, Charge, ChargeKind, ChargeRef, ChargeState, ChargeStep, InvalidCharge, Outcome, Seen};
pub use ending::CancelNow;
pub use refunds::ChargeRefund;
pub use state::{
    CARD_WARNING_DAYS, CONSENT_CHARS_MAX, Consent, DUE_SHARDS, Event as HistoryEvent, History, Method, NewSubscription,
    Owed, PendingChange, Refused, State, Subscription, Write,
};

#[cfg(test)]
mod tests;
