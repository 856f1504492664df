//! `buy`: seats are held, paid for, and listed.

mod payment;
pub mod perks;
pub mod place;
pub mod tickets;

pub use tickets::signed_code;

use crate::views::{OrderOut, order_problem};
use crate::{facts, saga};
use axum::extract::State;
use axum::http::StatusCode;
use domain::ids::{self, EventId, OrderId};
use domain::orders::{Closing, OrderState, Refused};
use platform::http::{Buyer, Created, IdempotencyKey, Json, Page, PageIn, Path, Problem, Query, fingerprint, finish};
use platform::{App, telemetry};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes(app: App) -> OpenApiRouter {
    let router = OpenApiRouter::new()
        .routes(routes!(place_order, list_orders))
        .routes(routes!(get_order, cancel_order))
        .merge(payment::routes())
        .merge(tickets::routes());
    finish(app, router)
}

/// Seats by name, or the best that are free: one of the two.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderIn {
    #[schema(value_type = String)]
    pub event_id: EventId,
    /// 1 to 10 seats; up to 20 with a subscription that says so.
    pub seats: Option<Vec<SeatIn>>,
    pub best: Option<BestIn>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeatIn {
    #[schema(example = "stalls")]
    pub section: String,
    #[schema(example = "7")]
    pub row: String,
    #[schema(example = "12")]
    pub seat: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BestIn {
    /// 1 to 10, together where that is possible; up to 20 with a subscription that says so.
    #[schema(minimum = 1, maximum = 20)]
    pub quantity: u8,
    pub category: Option<String>,
    pub section: Option<String>,
    /// Wants places for a wheelchair, at least one.
    #[serde(default)]
    pub accessible: bool,
}

/// Hold seats for ten minutes, at the prices and on the terms of the buyer's subscription.
#[utoipa::path(
    post, path = "/orders", tag = "orders", security(("bearer" = [])), request_body = OrderIn,
    params(("Idempotency-Key" = String, Header, description = "a repeated request with the same key gives the same order")),
    responses((status = 201, body = OrderOut),
        (status = 404, description = "`not_found`: no such event"),
        (status = 409, description = "`seats_taken`, `not_on_sale`, `event_started`, `event_cancelled`, `idempotency_key_reused`"),
        (status = 422, description = "`invalid`, `amount_too_small`, `amount_too_large`"),
        (status = 503, description = "`busy`: send it again with the same key after `Retry-After`; seats that it may hold by now are its own then, and free in ten minutes otherwise"))
)]
async fn place_order(
    State(app): State<App>,
    buyer: Buyer,
    IdempotencyKey(key): IdempotencyKey,
    Json(ask): Json<OrderIn>,
) -> Result<Created<OrderOut>, Problem> {
    // A hold is 64 bits of this id: without the secret a buyer could search for two orders with one hold.
    let secret = app.secret("ORDER_ID_KEY").await?;
    let id = OrderId(ids::keyed(&buyer.id.to_string(), &format!("POST /orders {secret}"), &key));
    telemetry::about(id);
    let request = fingerprint(&ask);
    let order = match place::place(&app, buyer.id, id, &request, &ask).await {
        Ok(order) => order,
        // What was done before is answered as before, whatever would be refused now.
        Err(problem) if problem.status.is_client_error() => match app.orders.get(buyer.id, id).await? {
            Some(order) => order,
            None => return Err(facts::refused(&app, problem)),
        },
        Err(problem) => return Err(facts::refused(&app, problem)),
    };
    if order.request != request {
        return Err(Problem::key_reused());
    }
    Ok(Created(OrderOut::from(&order)))
}

/// One's own orders, the newest first in each page.
#[utoipa::path(
    get, path = "/orders", tag = "orders", security(("bearer" = [])), params(PageIn),
    responses((status = 200, body = Page<OrderOut>))
)]
async fn list_orders(
    State(app): State<App>,
    buyer: Buyer,
    Query(page): Query<PageIn>,
) -> Result<axum::Json<Page<OrderOut>>, Problem> {
    let (orders, next_cursor) = own_orders(&app, &buyer, &page).await?;
    Ok(axum::Json(Page { items: orders.iter().map(OrderOut::from).collect(), next_cursor }))
}

async fn own_orders(
    app: &App,
    buyer: &Buyer,
    page: &PageIn,
) -> Result<(Vec<domain::orders::Order>, Option<String>), Problem> {
    let cursor = page.cursor.as_deref().map(str::parse::<OrderId>).transpose();
    let cursor = cursor.map_err(|_| Problem::field("/cursor", "is not a cursor of this list"))?;
    let (orders, next) = app.orders.list(buyer.id, page.limit()?, cursor).await?;
    Ok((orders, next.map(|id| id.to_string())))
}

/// One of one's own orders.
#[utoipa::path(
    get, path = "/orders/{id}", tag = "orders", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = OrderOut), (status = 404, description = "`not_found`: no such order of yours"))
)]
async fn get_order(
    State(app): State<App>,
    buyer: Buyer,
    Path(id): Path<OrderId>,
) -> Result<axum::Json<OrderOut>, Problem> {
    let order = app.orders.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    Ok(axum::Json(OrderOut::from(&order)))
}

/// Give up an order that is not paid: its seats are free again at once.
#[utoipa::path(
    delete, path = "/orders/{id}", tag = "orders", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 204), (status = 404, description = "`not_found`"),
        (status = 409, description = "`already_paid`, `order_busy`"))
)]
async fn cancel_order(State(app): State<App>, buyer: Buyer, Path(id): Path<OrderId>) -> Result<StatusCode, Problem> {
    let order = app.orders.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    match order.closing(Closing::CancelledByBuyer) {
        Ok(next) => app.orders.save(&next).await?,
        Err(Refused::Closed) => return Ok(StatusCode::NO_CONTENT),
        // Somebody is at it, or was and died: help.
        Err(Refused::Busy) => {}
        Err(refused) => return Err(order_problem(refused)),
    }
    let order = saga::drive(&app, buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    match order.state {
        OrderState::Cancelled | OrderState::Expired | OrderState::Lost => Ok(StatusCode::NO_CONTENT),
        // The provider is at work on the payment: how it ends decides.
        OrderState::Expiring | OrderState::Settling => Err(order_problem(Refused::Busy)),
        _ => Err(order_problem(Refused::AlreadyPaid)),
    }
}
