//! What becomes true of orders and subscriptions: written in one place, so that each fact is counted after the write whose condition held,
//! and what it sets off carries the trace of the request that it goes back to.
//!
//! A count is a best effort: a process that dies between the write and its line loses one, and a write whose answer was
//! lost is found done by the next try, which counts nothing. Sums that must be right are the journal's.

use domain::effects::{Effect, SubscriptionEffect, SubscriptionNews, What};
use domain::ledger::{Account, Cause, ChargeCause, ChargeEntry, Entry};
use domain::money::Money;
use domain::orders::{Order, OrderState};
use domain::payments::DisputeState;
use domain::subscriptions::{Charge, Subscription, Write};
use platform::http::Problem;
use platform::store::StoreError;
use platform::telemetry::By;
use platform::{App, telemetry};

/// Writes the next version of an order and the journal's entries, all or none, and counts what is true then;
/// [`StoreError::Conflict`] if somebody else wrote the order meanwhile.
pub async fn save(app: &App, next: Order, entries: &[Entry]) -> Result<Order, StoreError> {
    let next = Order { effects: traced(next.effects), ..next };
    app.orders.save_with_entries(&next, &app.ledger, entries).await?;
    next.effects.iter().for_each(|effect| set_off(app, &next, &effect.what));
    entries.iter().for_each(|entry| booked(app, entry));
    Ok(next)
}

/// Writes everything of a decision about a subscription, all or none, and counts what is true then. `before` is the
/// subscription as it was read; [`StoreError::Conflict`] if anything that the decision rests on was written meanwhile.
pub async fn save_subscription(
    app: &App,
    before: Option<&Subscription>,
    mut write: Write,
) -> Result<Subscription, StoreError> {
    write.subscription.effects = traced(write.subscription.effects);
    for charge in &mut write.charges {
        charge.effects = traced(std::mem::take(&mut charge.effects));
    }
    app.subscriptions.save(before, &write, &app.ledger).await?;
    news_of(&write.subscription.effects).for_each(|news| subscription_news(app, news));
    write.charges.iter().for_each(|charge| charge_news(app, charge));
    write.entries.iter().for_each(|entry| charge_booked(app, entry));
    Ok(write.subscription)
}

/// Writes the next version of a charge by itself, with what the journal has to say of it.
pub async fn save_charge(app: &App, next: Charge, entry: Option<ChargeEntry>) -> Result<Charge, StoreError> {
    let next = Charge { effects: traced(next.effects), ..next };
    app.subscriptions.save_charge(&next, entry.as_ref(), &app.ledger).await?;
    charge_news(app, &next);
    if let Some(entry) = &entry {
        charge_booked(app, entry);
    }
    Ok(next)
}

/// The same effects with the trace of the work at hand.
pub fn traced(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().map(|effect| Effect { trace: telemetry::trace(), ..effect }).collect()
}

/// A new order has its seats.
pub fn held(app: &App, order: &Order) {
    count(app, &[("Holds", 1), ("SeatsHeld", order.seats.len())], None);
}

/// An order was refused: nothing is held.
pub fn refused(app: &App, problem: Problem) -> Problem {
    count(app, &[("HoldsRefused", 1)], Some(("Reason", problem.code)));
    problem
}

/// The provider declined an attempt to pay.
pub fn declined(app: &App) {
    count(app, &[("PaymentsDeclined", 1)], None);
}

/// An order ended that nobody has paid.
pub fn closed(app: &App, order: &Order) {
    let name = if order.state == OrderState::Cancelled { "OrdersCancelled" } else { "OrdersExpired" };
    count(app, &[(name, 1)], None);
}

fn set_off(app: &App, order: &Order, what: &What) {
    let refund = |id| order.refund(id).expect("an effect names a refund of its order");
    match what {
        What::OrderPaid { .. } => count(app, &[("TicketsSold", order.seats.len())], None),
        What::OrderLost { .. } => count(app, &[("OrdersLost", 1)], None),
        What::OrderRefunded { refund: id, .. } => {
            count(app, &[("TicketsRefunded", refund(*id).tickets.len())], None);
        }
        // What gave way to the buyer's bank needs nobody.
        What::RefundFailed { refund: id, .. } if !refund(*id).sent.gave_way => {
            count(app, &[("RefundsFailed", 1)], None)
        }
        What::OrderDisputed { state, .. } => count(app, &[("Disputes", 1)], Some(("State", name_of(*state)))),
        What::RefundFailed { .. }
        | What::RefundRequested { .. }
        | What::DisputeReversed { .. }
        | What::SeatsFreed { .. } => {}
        What::EventPublished { .. } | What::EventChanged { .. } | What::EventCancelled { .. } => {}
        What::Subscription(_) => {}
    }
}

fn news_of(effects: &[Effect]) -> impl Iterator<Item = &SubscriptionNews> {
    effects.iter().filter_map(|effect| match &effect.what {
        What::Subscription(SubscriptionEffect { what, .. }) => Some(what),
        _ => None,
    })
}

/// What a charge tells of by itself.
fn charge_news(app: &App, charge: &Charge) {
    for news in news_of(&charge.effects) {
        let SubscriptionNews::RefundFailed { refund, .. } = news else { continue };
        // What gave way to the payer's bank needs nobody.
        if !charge.refund(*refund).expect("an effect names a refund of its charge").sent.gave_way {
            count(app, &[("RefundsFailed", 1)], None);
        }
    }
}

fn subscription_news(app: &App, news: &SubscriptionNews) {
    let name = match news {
        SubscriptionNews::Disputed { state, .. } => {
            return count(app, &[("Disputes", 1)], Some(("State", name_of(*state))));
        }
        SubscriptionNews::Started { .. } => "SubscriptionsStarted",
        SubscriptionNews::ChargeFailed { .. } => "ChargesDeclined",
        SubscriptionNews::Lapsed => "SubscriptionsLapsed",
        SubscriptionNews::Ended => "SubscriptionsEnded",
        _ => return,
    };
    count(app, &[(name, 1)], None);
}

fn name_of(state: DisputeState) -> &'static str {
    match state {
        DisputeState::Open => "open",
        DisputeState::Won => "won",
        DisputeState::Lost => "lost",
    }
}

/// Money that moved, as the journal has it: of tickets that cost nothing none does.
fn booked(app: &App, entry: &Entry) {
    let moved = entry.of(Account::Provider);
    let (counted, name, amount) = match entry.cause {
        Cause::Sale | Cause::UnadoptedCapture => ("Captures", "CapturedMinorUnits", moved),
        Cause::Refund { .. } => ("Refunds", "RefundedMinorUnits", -moved),
        Cause::RefundReversed { .. } => ("RefundsReversed", "RefundedMinorUnits", -moved),
        Cause::DisputeWithdrawn { .. }
        | Cause::DisputeReinstated { .. }
        | Cause::DisputeLost { .. }
        | Cause::DisputeLossReversed { .. } => return,
    };
    moved_money(app, counted, name, Money::new(amount, entry.currency));
}

/// The same of subscriptions.
fn charge_booked(app: &App, entry: &ChargeEntry) {
    let moved = entry.of(Account::Provider);
    let (counted, name, amount) = match entry.cause {
        ChargeCause::SubscriptionCharge | ChargeCause::UnadoptedCharge => ("Captures", "CapturedMinorUnits", moved),
        ChargeCause::ChargeRefund { .. } => ("Refunds", "RefundedMinorUnits", -moved),
        ChargeCause::ChargeRefundReversed { .. } => ("RefundsReversed", "RefundedMinorUnits", -moved),
        ChargeCause::Recognised { .. }
        | ChargeCause::DisputeWithdrawn { .. }
        | ChargeCause::DisputeReinstated { .. }
        | ChargeCause::DisputeLost { .. }
        | ChargeCause::DisputeLossReversed { .. } => return,
    };
    moved_money(app, counted, name, Money::new(amount, entry.currency));
}

fn moved_money(app: &App, counted: &str, name: &str, amount: Money) {
    if amount.amount != 0 {
        count(app, &[(counted, 1)], Some(("Currency", amount.currency.code())));
        telemetry::amount(app.now(), name, amount);
    }
}

fn count(app: &App, counts: &[(&str, usize)], by: By<'_>) {
    telemetry::count(app.now(), counts, by);
}
