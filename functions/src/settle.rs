//! `settle`: the one place that moves money. Each message of the Payments queue says where to look; the order and its
//! payment say what to do.

use crate::billing;
use crate::commands::{Command, Message};
use crate::saga::{self, SagaError};
use crate::{Error, facts};
use domain::catalog::Event;
use domain::effects::{SubscriptionEffect, SubscriptionNews, What};
use domain::ids::{EventId, OrderId, RefundId, UserId};
use domain::ledger::Cause;
use domain::orders::{RefundAsk, RefundRefused};
use domain::payments::{PaymentStatus, ProviderRefundStatus};
use domain::refunds::RefundState;
use platform::payments::GatewayError;
use platform::store::{LEDGER_SHARDS, StoreError};
use platform::{App, telemetry};

/// Orders of a cancelled event that one message works through.
const PAGE_ORDERS: i32 = 25;
/// Writes of one order that a refund, or its failure, loses to others before its message is delivered again.
const WRITE_TRIES_MAX: usize = 5;
/// Seconds after which the orders of a cancelled event are listed again: twice as long as a settling that had read the
/// event before it was cancelled may run (`Timeout` of `settle` in template.yaml).
pub const LAST_PASS_SECONDS: u16 = 120;

pub async fn handle(app: App, body: String) -> Result<(), Error> {
    match Message::parse(&body)? {
        Message::Command(command) => obey(&app, command).await,
        Message::Effect(effect) => match effect.what {
            What::RefundRequested { buyer, order, .. } => {
                saga::drive(&app, buyer, order).await.map(drop).map_err(Error::from)
            }
            What::EventCancelled { event } => refund_event(&app, event).await,
            What::Subscription(effect) => subscription_effect(&app, effect).await,
            other => Err(Error::new(format!("settle does not take {}", other.kind()))),
        },
    }
}

async fn obey(app: &App, command: Command) -> Result<(), Error> {
    match command {
        Command::PaymentChanged { payment } => payment_changed(app, &payment).await,
        Command::RefundChanged { payment, refund } => refund_changed(app, &payment, refund).await,
        Command::DisputeChanged { payment } => dispute_changed(app, &payment).await,
        Command::OrderDue { buyer, order } => order_due(app, buyer, order).await,
        Command::RefundOrders { event, shard, cursor } => refund_orders(app, event, shard, cursor).await,
        Command::SetupChanged { setup } => Ok(billing::setup_changed(app, &setup).await?),
        Command::PeriodRefundChanged { payment, key } => Ok(billing::refund_changed(app, &payment, &key).await?),
    }
}

/// A subscription asks for money to move: the charge says whether it still has to.
async fn subscription_effect(app: &App, effect: SubscriptionEffect) -> Result<(), Error> {
    let SubscriptionEffect { user, what, .. } = effect;
    match what {
        SubscriptionNews::ChargeDue { charge, .. }
        | SubscriptionNews::ChargeDropped { charge }
        | SubscriptionNews::RefundRequested { charge, .. } => {
            Ok(billing::drive(app, user, charge, None).await.map(drop)?)
        }
        other => Err(Error::new(format!("settle does not take {}", other.kind()))),
    }
}

/// A due order comes back every minute by itself: what passes is not worth a message that waits beside it. But only
/// before something was done: what was begun here may have to be taken back, and the order may be due no more.
async fn order_due(app: &App, buyer: UserId, order: OrderId) -> Result<(), Error> {
    let seen = match saga::look(app, buyer, order).await {
        Err(SagaError::Gateway(GatewayError::Resting(_))) => return Ok(()),
        Err(
            SagaError::Gateway(GatewayError::Unknown(cause))
            | SagaError::Store(StoreError::Busy(cause) | StoreError::Throttled(cause)),
        ) => {
            tracing::warn!(%order, cause, "a due order is left to the next sweep");
            return Ok(());
        }
        seen => seen?,
    };
    let Some((order, payment)) = seen else { return Ok(()) };
    saga::drive_from(app, order, payment).await.map(drop).map_err(Error::from)
}

async fn payment_changed(app: &App, id: &str) -> Result<(), Error> {
    let fetched = app.gateway.fetch(id).await?;
    let Some(payment) = fetched else { return Ok(()) };
    let Some((buyer, order)) = payment.purpose.order() else {
        return Ok(billing::payment_changed(app, payment).await?);
    };
    telemetry::about(order);
    let order = app.orders.get(buyer, order).await?;
    match order {
        Some(order) if order.payment.as_deref() == Some(id) => {
            saga::drive_from(app, order, Some(payment)).await.map(drop).map_err(Error::from)
        }
        // A payment that no order took on, since another was saved for it: nobody was given its secret.
        _ if payment.status == PaymentStatus::Authorised => app.gateway.cancel(id).await.map(drop).map_err(Error::from),
        _ => Ok(()),
    }
}

/// A refund that the provider took may still fail days later: then it comes back as work for a person. One that we hold
/// for failed may stand, since whoever asked for it slept: then it is done.
async fn refund_changed(app: &App, payment: &str, refund: RefundId) -> Result<(), Error> {
    let Some(fetched) = app.gateway.fetch(payment).await? else { return Ok(()) };
    let Some((buyer, id)) = fetched.purpose.order() else { return Ok(()) };
    telemetry::about(id);
    for _ in 0..WRITE_TRIES_MAX {
        let stored = app.orders.get(buyer, id).await?;
        let Some((order, known)) = stored.as_ref().and_then(|order| Some((order, order.refund(refund)?))) else {
            return Ok(());
        };
        if known.sent.state == RefundState::Requested {
            return saga::drive_from(app, order.clone(), Some(fetched)).await.map(drop).map_err(Error::from);
        }
        let Some(there) = app.gateway.find_refund(payment, &known.provider_key()).await? else { return Ok(()) };
        let has_failed = there.status == ProviderRefundStatus::Failed;
        if has_failed == (known.sent.state == RefundState::Failed) {
            return Ok(());
        }
        let written = if has_failed {
            saga::refund_failed(app, order, refund, Some(there)).await
        } else {
            // While a bank has the money nothing is asked for; the day's comparison comes back to it.
            let Ok(next) = order.retry_refund(refund, app.now()) else { return Ok(()) };
            facts::save(app, next, &[]).await.map_err(SagaError::from)
        };
        match written {
            // Such as the dispute that made it fail: look again.
            Err(SagaError::Store(StoreError::Conflict)) => {}
            Ok(next) if !has_failed => {
                return saga::drive_from(app, next, Some(fetched)).await.map(drop).map_err(Error::from);
            }
            written => return written.map(drop).map_err(Error::from),
        }
    }
    Err(Error::new(format!("the order {id} is written too often")))
}

/// What the provider says of the payment's disputes now becomes the order's, or the charge's; the event said no more than where to look.
async fn dispute_changed(app: &App, payment: &str) -> Result<(), Error> {
    let Some(fetched) = app.gateway.fetch(payment).await? else { return Ok(()) };
    let Some((buyer, id)) = fetched.purpose.order() else { return Ok(billing::disputed(app, fetched).await?) };
    telemetry::about(id);
    let Some(order) = app.orders.get(buyer, id).await? else { return Ok(()) };
    if order.payment.as_deref() != Some(payment) {
        // Nobody was given the secret of it; if it was captured all the same, `reconcile` says so.
        return Ok(());
    }
    saga::disputed(app, order, fetched).await.map(drop).map_err(Error::from)
}

/// Lists the orders of a cancelled event now, and once more when no settling that began before can still be running.
async fn refund_event(app: &App, event: EventId) -> Result<(), Error> {
    let queue = app.config.get("PAYMENTS_QUEUE_URL")?;
    let pass = |delay| {
        let command = move |shard| Command::RefundOrders { event, shard, cursor: None }.message(delay);
        (0..LEDGER_SHARDS).map(command)
    };
    let messages = pass(0).chain(pass(LAST_PASS_SECONDS)).collect();
    app.clients.bus.send(queue, messages).await.map_err(Error::from)
}

async fn refund_orders(app: &App, event: EventId, shard: u8, cursor: Option<String>) -> Result<(), Error> {
    let stored = app.catalog.event(event).await?;
    let event = stored.ok_or_else(|| Error::new("the event of a refund is not there"))?;
    let (entries, next) = app.ledger.list(event.id, shard, cursor, PAGE_ORDERS).await?;
    for entry in entries.iter().filter(|entry| entry.cause == Cause::Sale) {
        refund_order(app, &event, entry.buyer, entry.order).await?;
    }
    // Last, so that a page that is delivered again does not send the rest again and again.
    if let Some(cursor) = next {
        let queue = app.config.get("PAYMENTS_QUEUE_URL")?;
        let rest = Command::RefundOrders { event: event.id, shard, cursor: Some(cursor) };
        app.clients.bus.send(queue, vec![rest.message(0)]).await?;
    }
    Ok(())
}

/// Stores the decision to refund every ticket of an order of a cancelled event, once.
async fn refund_order(app: &App, event: &Event, buyer: UserId, id: OrderId) -> Result<(), Error> {
    telemetry::about(id);
    for _ in 0..WRITE_TRIES_MAX {
        let stored = app.orders.get(buyer, id).await?;
        let order = stored.ok_or_else(|| Error::new(format!("the order {id} of the journal is not there")))?;
        let ask = RefundAsk::of_cancelled(id, event.id);
        if order.refund(ask.id).is_some() {
            return Ok(());
        }
        let next = match order.request_refund(event, &ask, app.now()) {
            Ok(next) => next,
            // Every ticket was given back before, or the buyer's bank has the money: if it gives it back, that goes on.
            Err(RefundRefused::Order(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match facts::save(app, next, &[]).await {
            // A check-in or a refund by the buyer came first: decide again on what is there now.
            Err(StoreError::Conflict) => {}
            saved => return saved.map(drop).map_err(Error::from),
        }
    }
    Err(Error::new(format!("the order {id} is written too often")))
}
