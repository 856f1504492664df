//! What an effect is told as: the facts that its text needs, read once and copied in.

use crate::Error;
use crate::notices::seat_names;
use domain::catalog::Event;
use domain::effects::{Effect, SubscriptionEffect, SubscriptionNews, What};
use domain::ids::{EventId, OrderId, UserId};
use domain::notices::{Kind, Notice, Show, is_told};
use domain::orders::Order;
use platform::{App, telemetry};

/// The notice of an effect; none where nobody is told of it.
pub async fn notice(app: &App, effect: &Effect) -> Result<Option<Notice>, Error> {
    let (buyer, id) = match &effect.what {
        What::OrderPaid { buyer, order, .. }
        | What::OrderLost { buyer, order, .. }
        | What::OrderRefunded { buyer, order, .. }
        | What::RefundFailed { buyer, order, .. } => (*buyer, *order),
        What::Subscription(of) => return of_subscription(app, effect, of).await,
        other => return Err(Error::new(format!("notify does not take {}", other.kind()))),
    };
    let order = order(app, buyer, id).await?;
    let event = event(app, order.event).await?;
    let show = Show::of(&event);
    let kind = match &effect.what {
        What::OrderPaid { .. } => {
            let seats = seat_names(app, &event, order.seats.iter()).await?;
            Some(Kind::OrderPaid { order: order.id, show, seats, total: order.total() })
        }
        What::OrderLost { .. } => Some(Kind::OrderLost { order: order.id, show }),
        What::OrderRefunded { refund, .. } => order.refund(*refund).map(|refund| {
            let amount = refund.money(order.currency);
            Kind::OrderRefunded { order: order.id, show, amount }
        }),
        // What gave way to the buyer's bank is for the bank to say.
        What::RefundFailed { refund, .. } => {
            order.refund(*refund).filter(|refund| !refund.sent.gave_way).map(|refund| {
                let amount = refund.money(order.currency);
                Kind::RefundFailed { order: order.id, show, amount }
            })
        }
        _ => unreachable!("only these were taken above"),
    };
    Ok(kind.map(|kind| Notice::new(&effect.id, buyer, kind, app.now())))
}

async fn of_subscription(app: &App, effect: &Effect, of: &SubscriptionEffect) -> Result<Option<Notice>, Error> {
    if !is_told(&of.what) {
        return Ok(None);
    }
    let stored = app.subscriptions.get(of.user, of.subscription).await?;
    let subscription = stored.ok_or_else(|| Error::new("the subscription of an effect is not there"))?;
    // A change that is for the next period is told with the plan that it will be.
    let plan = match (&of.what, subscription.change) {
        (SubscriptionNews::PlanChanged { .. }, Some(change)) => change.terms,
        _ => subscription.terms,
    };
    let kind = Kind::Subscription {
        subscription: of.subscription,
        plan: plan.name,
        zone: subscription.anchor.zone,
        news: of.what.clone(),
    };
    Ok(Some(Notice::new(&effect.id, of.user, kind, app.now())))
}

pub async fn order(app: &App, buyer: UserId, id: OrderId) -> Result<Order, Error> {
    telemetry::about(id);
    let stored = app.orders.get(buyer, id).await?;
    stored.ok_or_else(|| Error::new(format!("the order {id} is not there")))
}

pub async fn event(app: &App, id: EventId) -> Result<Event, Error> {
    let stored = app.catalog.event(id).await?;
    stored.ok_or_else(|| Error::new("the event of a notice is not there"))
}
