//! Tickets: listed, shown as a code, and checked in once.

use crate::views::{MoneyOut, order_problem, some_fee};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use domain::catalog::EventStatus;
use domain::ids::{EventId, TicketId};
use domain::money::Money;
use domain::orders::{Order, TicketState};
use domain::tickets::TicketClaims;
use platform::App;
use platform::auth::{sign_ticket, verify_ticket};
use platform::http::{Allowed, Buyer, IdempotencyKey, Json, Page, PageIn, Path, Problem, Query, acts, fingerprint};
use platform::store::StoreError;
use qrcode::{Color, QrCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Modules of white around a code (ISO/IEC 18004: four).
const QUIET_MODULES: usize = 4;
/// Writes of one order that a check-in loses to others before it gives up.
const CHECK_IN_TRIES_MAX: usize = 5;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_tickets))
        .routes(routes!(get_ticket))
        .routes(routes!(code))
        .routes(routes!(check_in))
}

#[derive(Debug, Serialize, ToSchema)]
struct TicketOut {
    #[schema(value_type = String, example = "tkt_01jd8z3v8e7x0m4q2r6t9w1y5b-0")]
    id: TicketId,
    #[schema(value_type = String)]
    event_id: EventId,
    section: String,
    row: String,
    seat: String,
    category: String,
    price: MoneyOut,
    /// What was paid beside the price; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_fee: Option<MoneyOut>,
    /// `valid`, `used`, `refunding`, `refunded`, `disputed` or `charged_back`.
    #[schema(value_type = String)]
    status: TicketState,
    /// What the picture of the code says: a JWT signed with Ed25519, by a key of `/.well-known/jwks.json`. Only of a
    /// valid ticket, and only where one ticket is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

impl TicketOut {
    fn new(order: &Order, id: TicketId) -> Option<Self> {
        let (id, seat, status) = order.ticket(id.index)?;
        Some(Self {
            id,
            event_id: order.event,
            section: seat.section.clone(),
            row: seat.row.clone(),
            seat: seat.seat.clone(),
            category: seat.category.clone(),
            price: Money::new(seat.price.ticket, order.currency).into(),
            service_fee: some_fee(seat.price.fee, order.currency),
            status,
            code: None,
        })
    }
}

/// One's own tickets, a page of orders at a time.
#[utoipa::path(
    get, path = "/tickets", tag = "tickets", security(("bearer" = [])), params(PageIn),
    responses((status = 200, body = Page<TicketOut>))
)]
async fn list_tickets(
    State(app): State<App>,
    buyer: Buyer,
    Query(page): Query<PageIn>,
) -> Result<axum::Json<Page<TicketOut>>, Problem> {
    let (orders, next_cursor) = super::own_orders(&app, &buyer, &page).await?;
    let tickets = orders.iter().flat_map(|order| order.tickets().filter_map(|(id, ..)| TicketOut::new(order, id)));
    Ok(axum::Json(Page { items: tickets.collect(), next_cursor }))
}

/// One of one's own tickets, with its code.
#[utoipa::path(
    get, path = "/tickets/{id}", tag = "tickets", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = TicketOut), (status = 404, description = "`not_found`"))
)]
async fn get_ticket(
    State(app): State<App>,
    buyer: Buyer,
    Path(id): Path<TicketId>,
) -> Result<axum::Json<TicketOut>, Problem> {
    let order = app.orders.get(buyer.id, id.order).await?.ok_or_else(Problem::not_found)?;
    let mut ticket = TicketOut::new(&order, id).ok_or_else(Problem::not_found)?;
    if ticket.status == TicketState::Valid {
        ticket.code = Some(signed_code(&app, &order, id).await?);
    }
    Ok(axum::Json(ticket))
}

/// The code of a valid ticket as a QR picture.
#[utoipa::path(
    get, path = "/tickets/{id}/code.svg", tag = "tickets", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, content_type = "image/svg+xml"), (status = 404, description = "`not_found`"),
        (status = 409, description = "`ticket_used`, `ticket_refunded`, `ticket_disputed`"))
)]
async fn code(State(app): State<App>, buyer: Buyer, Path(id): Path<TicketId>) -> Result<impl IntoResponse, Problem> {
    let order = app.orders.get(buyer.id, id.order).await?.ok_or_else(Problem::not_found)?;
    // Whoever could not enter with it is not given a picture of it.
    order.check_in(id.index, "").map_err(order_problem)?;
    let text = signed_code(&app, &order, id).await?;
    let code = QrCode::new(text).map_err(|error| Problem::internal(error.to_string()))?;
    let headers = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "private, no-store")];
    Ok((headers, picture(&code)))
}

/// A QR code as one path, a stroke for each run of dark modules: a tenth of the size of a square for each.
pub fn picture(code: &QrCode) -> String {
    let (width, colors) = (code.width(), code.to_colors());
    let side = width + 2 * QUIET_MODULES;
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run[0] == Color::Dark {
                path.push_str(&format!("M{} {}h{}", x + QUIET_MODULES, y + QUIET_MODULES, run.len()));
            }
            x += run.len();
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 -.5 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0-.5h{side}v{side}H0z\"/><path stroke=\"#000\" d=\"{path}\"/></svg>"
    )
}

/// What the picture of a ticket's code says.
pub async fn signed_code(app: &App, order: &Order, id: TicketId) -> Result<String, Problem> {
    let (_, seat, _) = order.ticket(id.index).ok_or_else(Problem::not_found)?;
    let iat = order.paid_at.map_or(0, jiff::Timestamp::as_second);
    let claims = TicketClaims { sub: id, event: order.event, buyer: order.buyer, seat: seat.name(), iat };
    sign_ticket(app, &claims).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckInIn {
    /// The event that this gate lets people in to.
    #[schema(value_type = String)]
    event_id: EventId,
    /// What the ticket's code says.
    code: String,
}

/// Let the bearer of a ticket in, once.
#[utoipa::path(
    post, path = "/tickets/{id}/check-in", tag = "tickets", security(("bearer" = [])), request_body = CheckInIn,
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses((status = 200, body = TicketOut), (status = 403, description = "`forbidden`: not a gate"),
        (status = 404, description = "`not_found`"), (status = 409, description = "`ticket_used`, `ticket_refunded`, `ticket_disputed`, `event_cancelled`"),
        (status = 422, description = "`invalid`: not a code of this ticket"))
)]
async fn check_in(
    State(app): State<App>,
    gate: Allowed<acts::CheckIn>,
    IdempotencyKey(key): IdempotencyKey,
    Path(id): Path<TicketId>,
    Json(ask): Json<CheckInIn>,
) -> Result<axum::Json<TicketOut>, Problem> {
    let claims = verify_ticket(&app, &ask.code).await?;
    if claims.sub != id {
        return Err(Problem::field("/code", "This is the code of another ticket."));
    }
    if claims.event != ask.event_id {
        return Err(Problem::field("/code", "This ticket is for another event."));
    }
    let event = app.recent_event(claims.event).await?;
    let is_cancelled = event.is_none_or(|event| event.status == EventStatus::Cancelled);
    let request = fingerprint(&(gate.user, key));
    for _ in 0..CHECK_IN_TRIES_MAX {
        let order = app.orders.get(claims.buyer, id.order).await?.ok_or_else(Problem::not_found)?;
        let next = match order.check_in(id.index, &request) {
            // This very check-in was written before, and its answer was lost.
            Ok(None) => return Ok(axum::Json(TicketOut::new(&order, id).ok_or_else(Problem::not_found)?)),
            _ if is_cancelled => return Err(Problem::conflict("event_cancelled", "The event was cancelled.")),
            Ok(Some(next)) => next,
            Err(refused) => return Err(order_problem(refused)),
        };
        match app.orders.save(&next).await {
            Ok(()) => {
                tracing::info!(ticket = %id, gate = %gate.user, "checked in");
                return Ok(axum::Json(TicketOut::new(&next, id).ok_or_else(Problem::not_found)?));
            }
            // A neighbour's ticket of the same order, or a refund: look again.
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Throttled("one order is written too often".into()).into())
}
