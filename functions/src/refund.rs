//! `refund`: what giving tickets back would give, and giving them back. The money is moved by `settle`.

use crate::facts;
use crate::views::{OrderOut, RefundOut, RefundQuoteOut, refund_problem};
use axum::extract::State;
use domain::catalog::Event;
use domain::ids::{self, OrderId, RefundId, TicketId, UserId};
use domain::orders::{Order, RefundAsk};
use domain::refunds::Ground;
use platform::App;
use platform::http::{Buyer, Created, IdempotencyKey, Json, Path, Problem, fingerprint, finish};
use platform::store::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Writes of one order that a refund loses to others before it gives up.
const REFUND_TRIES_MAX: usize = 5;

pub fn routes(app: App) -> OpenApiRouter {
    let router = OpenApiRouter::new().routes(routes!(quote)).routes(routes!(refunds, request_refund));
    finish(app, router)
}

/// Which tickets of the order; all that are valid, when absent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundIn {
    #[schema(value_type = Option<Vec<String>>)]
    pub ticket_ids: Option<Vec<TicketId>>,
}

/// What giving tickets back would give at this moment. Nothing is changed.
#[utoipa::path(
    post, path = "/orders/{id}/refund-quotes", tag = "refunds", security(("bearer" = [])), request_body = RefundIn,
    params(("id" = String, Path)),
    responses((status = 200, body = RefundQuoteOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`not_paid`, `ticket_used`, `ticket_refunded`, `ticket_disputed`, `event_started`, `nothing_due`"))
)]
async fn quote(
    State(app): State<App>,
    buyer: Buyer,
    Path(id): Path<OrderId>,
    Json(ask): Json<RefundIn>,
) -> Result<axum::Json<RefundQuoteOut>, Problem> {
    let (order, event) = order_and_event(&app, buyer.id, id).await?;
    let ask = refund_ask(&order, RefundId(0), &ask, Ground::Wish, None)?;
    let (tickets, decision) = order.quote_refund(&event, &ask, app.now()).map_err(refund_problem)?;
    Ok(axum::Json(RefundQuoteOut::new(&order, &tickets, &decision)))
}

/// The refunds of an order.
#[utoipa::path(
    get, path = "/orders/{id}/refunds", tag = "refunds", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = Vec<RefundOut>), (status = 404, description = "`not_found`"))
)]
async fn refunds(
    State(app): State<App>,
    buyer: Buyer,
    Path(id): Path<OrderId>,
) -> Result<axum::Json<Vec<RefundOut>>, Problem> {
    let order = app.orders.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    Ok(axum::Json(OrderOut::from(&order).refunds))
}

/// Give tickets back. The tickets end at once; the money follows.
#[utoipa::path(
    post, path = "/orders/{id}/refunds", tag = "refunds", security(("bearer" = [])), request_body = RefundIn,
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses((status = 201, body = RefundOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`not_paid`, `ticket_used`, `ticket_refunded`, `ticket_disputed`, `event_started`, `nothing_due`, `idempotency_key_reused`"))
)]
async fn request_refund(
    State(app): State<App>,
    buyer: Buyer,
    IdempotencyKey(key): IdempotencyKey,
    Path(id): Path<OrderId>,
    Json(ask): Json<RefundIn>,
) -> Result<Created<RefundOut>, Problem> {
    let refund = RefundId(ids::keyed(&buyer.id.to_string(), &format!("POST /orders/{id}/refunds"), &key));
    give_back(&app, buyer.id, id, refund, &ask, Ground::Wish, None).await
}

/// Stores a decision to give tickets back, once for each refund id.
pub async fn give_back(
    app: &App,
    buyer: UserId,
    order: OrderId,
    refund: RefundId,
    ask: &RefundIn,
    ground: Ground,
    decided_by: Option<UserId>,
) -> Result<Created<RefundOut>, Problem> {
    for _ in 0..REFUND_TRIES_MAX {
        let (order, event) = order_and_event(app, buyer, order).await?;
        let asked = refund_ask(&order, refund, ask, ground, decided_by)?;
        if let Some(known) = order.refund(refund) {
            let is_same = known.request == asked.request;
            return if is_same { Ok(Created(RefundOut::new(&order, known))) } else { Err(Problem::key_reused()) };
        }
        let next = order.request_refund(&event, &asked, app.now()).map_err(refund_problem)?;
        match facts::save(app, next, &[]).await {
            Ok(next) => {
                let stored = next.refund(refund).expect("the refund was just added");
                return Ok(Created(RefundOut::new(&next, stored)));
            }
            // A check-in or another refund came first: decide again on what is there now.
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Throttled("one order is written too often".into()).into())
}

async fn order_and_event(app: &App, buyer: UserId, id: OrderId) -> Result<(Order, Event), Problem> {
    let order = app.orders.get(buyer, id).await?.ok_or_else(Problem::not_found)?;
    let event = app.catalog.event(order.event).await?;
    Ok((order, event.ok_or_else(|| Problem::internal("the event of an order is not there"))?))
}

fn refund_ask(
    order: &Order,
    id: RefundId,
    ask: &RefundIn,
    ground: Ground,
    decided_by: Option<UserId>,
) -> Result<RefundAsk, Problem> {
    let mut seen = HashSet::new();
    for (index, ticket) in ask.ticket_ids.iter().flatten().enumerate() {
        let pointer = format!("/ticket_ids/{index}");
        if ticket.order != order.id || order.ticket(ticket.index).is_none() {
            return Err(Problem::field(pointer, "is not a ticket of this order"));
        }
        if !seen.insert(ticket.index) {
            return Err(Problem::field(pointer, "is named twice"));
        }
    }
    if ask.ticket_ids.as_ref().is_some_and(Vec::is_empty) {
        return Err(Problem::field("/ticket_ids", "must name at least one ticket"));
    }
    let tickets = ask.ticket_ids.as_ref().map(|ids| ids.iter().map(|ticket| ticket.index).collect());
    Ok(RefundAsk { id, request: fingerprint(&(ask, ground)), tickets, ground, decided_by })
}
