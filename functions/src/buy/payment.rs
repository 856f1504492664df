//! Starting a payment: one for each order, created unconfirmed, saved, then given out.

use crate::provider::{PayAt, pay_at};
use crate::saga::{self, by_block, provider_problem};
use crate::views::order_problem;
use axum::extract::State;
use domain::catalog::EventStatus;
use domain::ids::OrderId;
use domain::orders::{Order, OrderState, Refused};
use domain::payments::{Payment, PaymentStatus};
use platform::App;
use platform::http::{Buyer, Created, IdempotencyKey, Path, Problem, fingerprint};
use platform::payments::NewPayment;
use platform::store::{Own, StoreError};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(start_payment))
}

/// What a client needs to pay with the provider's own page or library.
#[derive(Debug, Serialize, ToSchema)]
struct PaymentOut {
    /// The provider's id; absent where there was nothing to pay.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
    #[schema(example = "stripe")]
    provider: &'static str,
    /// `waiting`, `declined`, `needs_action`, `processing`, `authorised`, `captured` or `cancelled`.
    #[schema(value_type = String)]
    status: PaymentStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publishable_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_base: Option<String>,
    /// A page where a person can pay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pay_url: Option<String>,
}

/// Start paying, or ask again how: an order has one payment, which a decline does not end.
#[utoipa::path(
    post, path = "/orders/{id}/payment", tag = "orders", security(("bearer" = [])),
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses((status = 201, body = PaymentOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`hold_ended`, `already_paid`, `order_busy`, `order_closed`, `event_cancelled`"),
        (status = 503, description = "`payment_provider_unavailable`: the seats stay held"))
)]
async fn start_payment(
    State(app): State<App>,
    buyer: Buyer,
    IdempotencyKey(key): IdempotencyKey,
    Path(id): Path<OrderId>,
) -> Result<Created<PaymentOut>, Problem> {
    let order = app.orders.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    let request = fingerprint(&key);
    if let Err(refused) = order.check_payable(app.now()) {
        return repeated(&app, &order, &request, refused).await;
    }
    let event = app.recent_event(order.event).await?;
    if event.is_none_or(|event| event.status == EventStatus::Cancelled) && order.pay_request.as_ref() != Some(&request)
    {
        return Err(Problem::conflict("event_cancelled", "The event was cancelled."));
    }
    if order.total().amount == 0 {
        return settle_free(&app, order).await;
    }
    let is_repeated = order.pay_request.as_ref() == Some(&request);
    let (order, payment) = ensure_payment(&app, order, &request).await?;
    // Who was given the payment is given it again, as it is now: without its seats nothing is captured.
    if !keep_seats(&app, &order).await? && !is_repeated {
        return Err(order_problem(Refused::HoldEnded));
    }
    Ok(Created(out(&app, payment)?))
}

/// A payment that was started before, as it is now: for the request that started it whatever came of it, and for others
/// while it is being paid or is paid. A refusal otherwise.
async fn repeated(
    app: &App,
    order: &Order,
    request: &String,
    refused: Refused,
) -> Result<Created<PaymentOut>, Problem> {
    let is_same = order.pay_request.as_ref() == Some(request);
    match (&order.payment, refused) {
        (Some(id), refused) if is_same || matches!(refused, Refused::AlreadyPaid | Refused::Busy) => {
            let payment = app.gateway.fetch(id).await.map_err(|error| provider_problem(&error))?;
            Ok(Created(out(app, payment.ok_or_else(|| order_problem(refused))?)?))
        }
        (None, Refused::AlreadyPaid) => Ok(Created(free(app))),
        _ => Err(order_problem(refused)),
    }
}

/// What is told of an order for which there was nothing to pay.
fn free(app: &App) -> PaymentOut {
    let (payment_id, client_secret, publishable_key, api_base, pay_url) = (None, None, None, None, None);
    let (provider, status) = (app.gateway.name(), PaymentStatus::Captured);
    PaymentOut { payment_id, provider, status, client_secret, publishable_key, api_base, pay_url }
}

/// Nothing to pay: the seats are sold at once, and no provider is asked.
async fn settle_free(app: &App, order: Order) -> Result<Created<PaymentOut>, Problem> {
    match app.orders.save(&order.settling()).await {
        Ok(()) | Err(StoreError::Conflict) => {}
        Err(error) => return Err(error.into()),
    }
    let order = saga::drive(app, order.buyer, order.id).await?.ok_or_else(Problem::not_found)?;
    if order.state != OrderState::Paid {
        return Err(order_problem(order.check_payable(app.now()).err().unwrap_or(Refused::Busy)));
    }
    Ok(Created(free(app)))
}

/// The order with its one payment: the one it has, or a new one that is saved before it is given out.
async fn ensure_payment(app: &App, order: Order, request: &str) -> Result<(Order, Payment), Problem> {
    let unavailable = |error| provider_problem(&error);
    let payment = match &order.payment {
        Some(id) => {
            let payment = app.gateway.fetch(id).await.map_err(unavailable)?;
            payment.ok_or_else(|| Problem::internal("the order's payment is not at the provider"))?
        }
        None => {
            let new = NewPayment { buyer: order.buyer, order: order.id, amount: order.total() };
            app.gateway.create(&new).await.map_err(unavailable)?
        }
    };
    if order.state == OrderState::Paying {
        return Ok((order, payment));
    }
    let next = order.paying(payment.id.clone(), request, app.now()).map_err(order_problem)?;
    match app.orders.save(&next).await {
        Ok(()) => Ok((next, payment)),
        // Two started at once, or a webhook came first: whichever payment is saved is the order's.
        Err(StoreError::Conflict) => {
            let order = app.orders.get(order.buyer, order.id).await?.ok_or_else(Problem::not_found)?;
            let id = order.payment.clone().ok_or_else(|| order_problem(Refused::Busy))?;
            let payment = app.gateway.fetch(&id).await.map_err(unavailable)?;
            Ok((order, payment.ok_or_else(|| Problem::internal("the order's payment is not at the provider"))?))
        }
        Err(error) => Err(error.into()),
    }
}

/// Stamps the seats with the later end of the hold, where the order was given one. True unless somebody else has one.
async fn keep_seats(app: &App, order: &Order) -> Result<bool, Problem> {
    if order.held_before.is_none() {
        return Ok(true);
    }
    let held = order.held_words();
    let own = Own { held: &held, channel: order.channel };
    for (block, seats) in by_block(order) {
        let indexes: Vec<_> = seats.iter().map(|(_, seat)| seat.index).collect();
        if !app.seats.extend(order.event, &block, &indexes, &own, app.now()).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn out(app: &App, payment: Payment) -> Result<PaymentOut, Problem> {
    let PayAt { publishable_key, api_base, pay_url } = pay_at(app, &payment.id, &payment.client_secret)?;
    Ok(PaymentOut {
        payment_id: Some(payment.id),
        provider: app.gateway.name(),
        status: payment.status,
        client_secret: Some(payment.client_secret),
        publishable_key: Some(publishable_key),
        api_base: Some(api_base),
        pay_url,
    })
}
