//! Events: made as drafts, changed, published, cancelled; seats that the house keeps.

use super::check_name;
use crate::catalog::EventOut;
use crate::facts;
use crate::views::sentence;
use axum::extract::State;
use axum::http::StatusCode;
use domain::catalog::{
    Amendment, CATEGORIES_MAX, Event, EventStatus, ORDER_SEATS_MAX, Performer, Refused, SERVICE_FEE_MINOR_UNITS_MAX,
    is_zero,
};
use domain::ids::{self, EventId, LayoutId, PerformerId};
use domain::layout::{Hall, LayoutRef};
use domain::money::{Currency, PRICE_MINOR_UNITS_MAX};
use domain::payments::is_supported;
use domain::refunds::RefundPolicy;
use domain::seating::words::BlockReason;
use domain::seating::{Block, SeatName};
use jiff::Timestamp;
use platform::App;
use platform::http::{Allowed, Created, FieldError, IdempotencyKey, Json, Page, PageIn, Path, Problem, Query};
use platform::http::{acts, fingerprint};
use platform::store::event_cursor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Seats that one request blocks or gives back.
const BLOCK_REQUEST_SEATS_MAX: usize = 500;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_event, events))
        .routes(routes!(event, amend_event))
        .routes(routes!(publish))
        .routes(routes!(cancel))
        .routes(routes!(block_seats, unblock_seats))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EventIn {
    name: String,
    #[schema(value_type = String)]
    performer_id: PerformerId,
    #[schema(value_type = String)]
    layout_id: LayoutId,
    layout_version: u32,
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    on_sale_from: Timestamp,
    /// The start of the event when absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    on_sale_until: Option<Timestamp>,
    /// ISO 4217.
    #[schema(example = "RUB")]
    currency: String,
    /// The price of a seat in minor units by the category of the hall's scheme; what has no price is not sold.
    prices: BTreeMap<String, i64>,
    /// What each ticket that is paid for costs beside its price, in minor units. It is the box office's own, and not the
    /// organiser's.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(minimum = 0, maximum = 100_000_000)]
    service_fee: i64,
    /// `{"tiers": [{"notice": {"days": 7}, "share": 8000}], "statute": "ru_performing_arts"}`; `{}` gives nothing back but
    /// for a cancelled or changed event. Shares are of the ticket's price; the service fee goes back with a cancelled or
    /// changed event, and otherwise stays, unless `"returns_service_fee": true`.
    #[schema(value_type = Object)]
    refund_policy: RefundPolicy,
    /// Only subscribers with that perk see it and buy it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    hidden: bool,
}

/// Add an event, as a draft that only staff see.
#[utoipa::path(
    post, path = "/admin/events", tag = "admin", security(("bearer" = [])), request_body = EventIn,
    params(("Idempotency-Key" = String, Header)),
    responses((status = 201, body = EventOut), (status = 403, description = "`forbidden`"),
        (status = 409, description = "`idempotency_key_reused`"), (status = 422, description = "`invalid`"))
)]
async fn create_event(
    State(app): State<App>,
    admin: Allowed<acts::ManageCatalog>,
    IdempotencyKey(key): IdempotencyKey,
    Json(ask): Json<EventIn>,
) -> Result<Created<EventOut>, Problem> {
    let id = EventId(ids::keyed(&admin.user.to_string(), "POST /admin/events", &key));
    let request = fingerprint(&ask);
    let event = match app.catalog.event(id).await? {
        Some(event) => event,
        None => {
            let event = draft(&app, id, request.clone(), ask).await?;
            app.catalog.put_event(&event).await?.err().unwrap_or(event)
        }
    };
    if event.request != request {
        return Err(Problem::key_reused());
    }
    Ok(Created(EventOut::from(&event)))
}

async fn draft(app: &App, id: EventId, request: String, ask: EventIn) -> Result<Event, Problem> {
    check_name("/name", &ask.name)?;
    let performer = performer(app, ask.performer_id).await?;
    let layout = LayoutRef::new(ask.layout_id, ask.layout_version);
    let hall =
        app.hall(layout).await?.ok_or_else(|| Problem::field("/layout_id", "is not a layout of this version"))?;
    let venue = app.catalog.venue(hall.layout().venue).await?;
    let currency = Currency::from_code(&ask.currency).filter(|currency| is_supported(*currency));
    let currency =
        currency.ok_or_else(|| Problem::field("/currency", "is not an ISO 4217 code that can be paid in"))?;
    check_prices(&hall, &ask.prices)?;
    check_service_fee(ask.service_fee)?;
    check_policy(&ask.refund_policy)?;
    let event = Event {
        id,
        name: ask.name,
        performer,
        venue: venue.ok_or_else(|| Problem::internal("the venue of a layout is not there"))?.made,
        layout,
        starts_at: ask.starts_at,
        on_sale_from: ask.on_sale_from,
        on_sale_until: ask.on_sale_until.unwrap_or(ask.starts_at),
        currency,
        prices: ask.prices,
        service_fee: ask.service_fee,
        refund_policy: ask.refund_policy,
        status: EventStatus::Draft,
        hidden: ask.hidden,
        changes: Vec::new(),
        v: 1,
        request,
        effects: Vec::new(),
    };
    if event.starts_at <= app.now() {
        return Err(event_problem(Refused::StartsInThePast));
    }
    event.check_window().map_err(event_problem)?;
    Ok(event)
}

async fn performer(app: &App, id: PerformerId) -> Result<Performer, Problem> {
    let stored = app.catalog.performer(id).await?;
    Ok(stored.ok_or_else(|| Problem::field("/performer_id", "is not a performer"))?.made)
}

fn check_prices(hall: &Hall, prices: &BTreeMap<String, i64>) -> Result<(), Problem> {
    if prices.is_empty() || prices.len() > CATEGORIES_MAX {
        return Err(Problem::field("/prices", format!("must name 1 to {CATEGORIES_MAX} categories")));
    }
    let faults = prices.iter().filter_map(|(category, &amount)| {
        let detail = if !hall.categories().iter().any(|known| known.id == *category) {
            "is not a category of this hall".to_owned()
        } else if !(0..=PRICE_MINOR_UNITS_MAX).contains(&amount) {
            format!("must be 0 to {PRICE_MINOR_UNITS_MAX} minor units")
        } else {
            return None;
        };
        Some(FieldError { pointer: format!("/prices/{category}"), detail })
    });
    let faults: Vec<_> = faults.collect();
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
}

fn check_service_fee(amount: i64) -> Result<(), Problem> {
    if (0..=SERVICE_FEE_MINOR_UNITS_MAX).contains(&amount) {
        return Ok(());
    }
    Err(Problem::field("/service_fee", format!("must be 0 to {SERVICE_FEE_MINOR_UNITS_MAX} minor units")))
}

fn check_policy(policy: &RefundPolicy) -> Result<(), Problem> {
    policy.validate().map_err(|faults| {
        let fault = |fault: domain::layout::Invalid| FieldError {
            pointer: format!("/refund_policy{}", fault.pointer),
            detail: fault.message,
        };
        Problem::invalid(faults.into_iter().map(fault))
    })
}

fn event_problem(refused: Refused) -> Problem {
    match refused {
        Refused::Cancelled => Problem::conflict("event_cancelled", sentence(&refused.to_string())),
        Refused::Started => Problem::conflict("event_started", sentence(&refused.to_string())),
        Refused::StartsInThePast => Problem::field("/starts_at", "must be in the future"),
        Refused::SaleWindow => Problem::field("/on_sale_from", refused.to_string()),
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventsIn {
    /// The month of the start, such as `2026-12` (UTC); drafts when absent.
    month: Option<String>,
    /// Items at most, 1 to 100; 20 when absent.
    limit: Option<u16>,
    cursor: Option<String>,
}

/// Events of a month, cancelled ones too, or the drafts.
#[utoipa::path(
    get, path = "/admin/events", tag = "admin", security(("bearer" = [])), params(EventsIn),
    responses((status = 200, body = Page<EventOut>), (status = 403, description = "`forbidden`"))
)]
async fn events(
    State(app): State<App>,
    _: Allowed<acts::ManageCatalog>,
    Query(ask): Query<EventsIn>,
) -> Result<axum::Json<Page<EventOut>>, Problem> {
    let limit = PageIn { limit: ask.limit, cursor: None }.limit()?;
    let after = ask.cursor.unwrap_or_default();
    let events = match &ask.month {
        Some(month) => app.catalog.month(month, &after, i32::from(limit)).await?,
        None => app.catalog.drafts(&after, i32::from(limit)).await?,
    };
    let next_cursor = events.last().filter(|_| events.len() == usize::from(limit)).map(event_cursor);
    Ok(axum::Json(Page { items: events.iter().map(EventOut::from).collect(), next_cursor }))
}

async fn find(app: &App, id: EventId) -> Result<Event, Problem> {
    app.catalog.event(id).await?.ok_or_else(Problem::not_found)
}

/// One event, a draft too.
#[utoipa::path(
    get, path = "/admin/events/{id}", tag = "admin", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = EventOut), (status = 404, description = "`not_found`"))
)]
async fn event(
    State(app): State<App>,
    _: Allowed<acts::ManageCatalog>,
    Path(id): Path<EventId>,
) -> Result<axum::Json<EventOut>, Problem> {
    Ok(axum::Json(EventOut::from(&find(&app, id).await?)))
}

/// What is absent stays. After publication a new start or performer gives earlier buyers the right to the whole price.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AmendmentIn {
    name: Option<String>,
    #[schema(value_type = Option<String>)]
    performer_id: Option<PerformerId>,
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    on_sale_from: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    on_sale_until: Option<Timestamp>,
    /// For orders from now on; those that were placed keep theirs.
    prices: Option<BTreeMap<String, i64>>,
    /// The fee of each ticket that is paid for, in minor units, for orders from now on.
    #[schema(minimum = 0, maximum = 100_000_000)]
    service_fee: Option<i64>,
    #[schema(value_type = Option<Object>)]
    refund_policy: Option<RefundPolicy>,
    hidden: Option<bool>,
}

/// Change an event.
#[utoipa::path(
    patch, path = "/admin/events/{id}", tag = "admin", security(("bearer" = [])), request_body = AmendmentIn,
    params(("id" = String, Path)),
    responses((status = 200, body = EventOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`event_cancelled`, `event_started`, `changed_meanwhile`"), (status = 422, description = "`invalid`"))
)]
async fn amend_event(
    State(app): State<App>,
    _: Allowed<acts::ManageCatalog>,
    Path(id): Path<EventId>,
    Json(ask): Json<AmendmentIn>,
) -> Result<axum::Json<EventOut>, Problem> {
    let event = find(&app, id).await?;
    if let Some(name) = &ask.name {
        check_name("/name", name)?;
    }
    if let Some(prices) = &ask.prices {
        let hall = app.hall(event.layout).await?;
        check_prices(&*hall.ok_or_else(|| Problem::internal("the event's layout is not there"))?, prices)?;
    }
    if let Some(fee) = ask.service_fee {
        check_service_fee(fee)?;
    }
    if let Some(policy) = &ask.refund_policy {
        check_policy(policy)?;
    }
    let performer = match ask.performer_id {
        Some(id) => Some(performer(&app, id).await?),
        None => None,
    };
    let amendment = Amendment {
        name: ask.name,
        performer,
        starts_at: ask.starts_at,
        on_sale_from: ask.on_sale_from,
        on_sale_until: ask.on_sale_until,
        prices: ask.prices,
        service_fee: ask.service_fee,
        refund_policy: ask.refund_policy,
        hidden: ask.hidden,
    };
    let next = event.amend(amendment, app.now()).map_err(event_problem)?;
    save(&app, &event, next).await
}

/// Put an event on sale from its sale window on.
#[utoipa::path(
    post, path = "/admin/events/{id}/publication", tag = "admin", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = EventOut), (status = 404, description = "`not_found`"), (status = 409, description = "`event_cancelled`"))
)]
async fn publish(
    State(app): State<App>,
    _: Allowed<acts::ManageCatalog>,
    Path(id): Path<EventId>,
) -> Result<axum::Json<EventOut>, Problem> {
    let event = find(&app, id).await?;
    let next = event.publish(app.now()).map_err(event_problem)?;
    save(&app, &event, next).await
}

/// Call an event off for good. Every order is refunded in full.
#[utoipa::path(
    post, path = "/admin/events/{id}/cancellation", tag = "admin", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = EventOut), (status = 404, description = "`not_found`"))
)]
async fn cancel(
    State(app): State<App>,
    admin: Allowed<acts::CancelEvent>,
    Path(id): Path<EventId>,
) -> Result<axum::Json<EventOut>, Problem> {
    let event = find(&app, id).await?;
    tracing::info!(event = %id, admin = %admin.user, "event cancelled");
    let next = event.cancel();
    save(&app, &event, next).await
}

/// Writes an event that may be as it was already: doing it twice is doing it once.
async fn save(app: &App, event: &Event, next: Event) -> Result<axum::Json<EventOut>, Problem> {
    let next = Event { effects: facts::traced(next.effects), ..next };
    if next.v != event.v {
        app.catalog.save_event(&next).await?;
    }
    Ok(axum::Json(EventOut::from(&next)))
}

/// Writes of an event that lose to others before a request is refused.
const TELL_TRIES_MAX: usize = 4;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BlocksIn {
    /// 1 to 500 seats.
    seats: Vec<crate::buy::SeatIn>,
    /// `house`, `view` or `repair`.
    #[schema(value_type = String)]
    reason: BlockReason,
    /// Take seats from people who hold them and have not paid yet.
    #[serde(default)]
    forced: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UnblockIn {
    /// 1 to 500 seats.
    seats: Vec<crate::buy::SeatIn>,
}

/// Keep seats back for the house. Sold seats are never taken; those that could not be had are named.
#[utoipa::path(
    post, path = "/admin/events/{id}/blocks", tag = "admin", security(("bearer" = [])), request_body = BlocksIn,
    params(("id" = String, Path)),
    responses((status = 204), (status = 404, description = "`not_found`"), (status = 409, description = "`seats_taken`: the others are blocked"),
        (status = 422, description = "`invalid`"))
)]
async fn block_seats(
    State(app): State<App>,
    _: Allowed<acts::ManageCatalog>,
    Path(id): Path<EventId>,
    Json(ask): Json<BlocksIn>,
) -> Result<StatusCode, Problem> {
    let mut kept = Vec::new();
    for (block, seats) in rows(&app, id, &ask.seats).await? {
        // An expression has so many operators at most; ten seats are far from it.
        for part in seats.chunks(ORDER_SEATS_MAX) {
            let indexes: Vec<u8> = part.iter().map(|(index, _)| *index).collect();
            let refused = app.seats.block(id, &block, &indexes, ask.reason, ask.forced, app.now()).await?;
            if !refused.is_empty() {
                // Of this part nothing was written: those that are free are blocked without the others.
                let rest: Vec<u8> = indexes.into_iter().filter(|index| !refused.contains(index)).collect();
                let mut lost = refused;
                if !rest.is_empty() {
                    lost.extend(app.seats.block(id, &block, &rest, ask.reason, ask.forced, app.now()).await?);
                }
                kept.extend(part.iter().filter(|(index, _)| lost.contains(index)).map(|(_, nth)| *nth));
            }
        }
    }
    if kept.is_empty() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let errors = kept.into_iter().map(|nth| FieldError { pointer: format!("/seats/{nth}"), detail: "is taken".into() });
    let problem = Problem::conflict("seats_taken", "Some of these seats are held or sold; the others are blocked.");
    Err(problem.with_errors(errors))
}

/// Give seats that the house kept back to the sale.
#[utoipa::path(
    delete, path = "/admin/events/{id}/blocks", tag = "admin", security(("bearer" = [])), request_body = UnblockIn,
    params(("id" = String, Path)),
    responses((status = 204), (status = 404, description = "`not_found`"), (status = 422, description = "`invalid`"),
        (status = 503, description = "`busy`: send it again"))
)]
async fn unblock_seats(
    State(app): State<App>,
    _: Allowed<acts::ManageCatalog>,
    Path(id): Path<EventId>,
    Json(ask): Json<UnblockIn>,
) -> Result<StatusCode, Problem> {
    let to = app.seats.waiting(id).await?;
    for (block, seats) in rows(&app, id, &ask.seats).await? {
        for part in seats.chunks(ORDER_SEATS_MAX) {
            let indexes: Vec<u8> = part.iter().map(|(index, _)| *index).collect();
            app.seats.unblock(id, &block, &indexes, to).await?;
        }
    }
    for _ in 0..TELL_TRIES_MAX {
        let event = find(&app, id).await?;
        match save(&app, &event, event.seats_given_out()).await {
            // Somebody else changes the event.
            Err(problem) if problem.code == "changed_meanwhile" => {}
            saved => return saved.map(|_| StatusCode::NO_CONTENT),
        }
    }
    Err(Problem::busy("the event is changed too often"))
}

/// Seats by the item that locks them: the index in it, and which of the named seats it is.
async fn rows(
    app: &App,
    id: EventId,
    seats: &[crate::buy::SeatIn],
) -> Result<BTreeMap<Block, Vec<(u8, usize)>>, Problem> {
    if seats.is_empty() || seats.len() > BLOCK_REQUEST_SEATS_MAX {
        return Err(Problem::field("/seats", format!("must name 1 to {BLOCK_REQUEST_SEATS_MAX} seats")));
    }
    let event = find(app, id).await?;
    let hall = app.hall(event.layout).await?.ok_or_else(|| Problem::internal("the event's layout is not there"))?;
    let mut rows: BTreeMap<Block, Vec<(u8, usize)>> = BTreeMap::new();
    for (nth, seat) in seats.iter().enumerate() {
        let name = SeatName { section: seat.section.clone(), row: seat.row.clone(), seat: seat.seat.clone() };
        let found =
            hall.find(&name).ok_or_else(|| Problem::field(format!("/seats/{nth}"), "is not a seat of this hall"))?;
        let row = rows.entry(found.place.block).or_default();
        if row.iter().any(|(index, _)| *index == found.place.index) {
            return Err(Problem::field(format!("/seats/{nth}"), "is named twice"));
        }
        row.push((found.place.index, nth));
    }
    Ok(rows)
}
