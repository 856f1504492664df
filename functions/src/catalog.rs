//! `catalog`: events, halls and free seats, for anybody. Everything here may be kept for a moment by whoever is between.

use crate::views::MoneyOut;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::catalog::{Event, EventStatus};
use domain::ids::{EventId, LayoutId, PerformerId, VenueId};
use domain::layout::{Layout, LayoutRef};
use domain::money::Money;
use jiff::{SignedDuration, Timestamp};
use platform::App;
use platform::http::{Page, PageIn, Path, Polled, Problem, Query, finish, if_none_match};
use platform::seatmap::{Availability, seat_map};
use platform::store::{event_cursor, month_of};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Months a search looks through, from its beginning on.
const MONTHS_MAX: usize = 13;
/// Characters of a search text.
const SEARCH_CHARS_MAX: usize = 100;

pub fn routes(app: App) -> OpenApiRouter {
    let router = OpenApiRouter::new()
        .routes(routes!(events))
        .routes(routes!(event))
        .routes(routes!(seats))
        .routes(routes!(layout));
    finish(app, router)
}

/// An event as anybody sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventOut {
    #[schema(value_type = String)]
    pub id: EventId,
    pub name: String,
    pub performer: PerformerOut,
    pub venue: VenueOut,
    pub layout: LayoutRefOut,
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub on_sale_from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub on_sale_until: Timestamp,
    /// `draft`, `published` or `cancelled`.
    #[schema(value_type = String)]
    pub status: EventStatus,
    /// The price of a seat by its category.
    pub prices: BTreeMap<String, MoneyOut>,
    /// The terms of refund, each with its source. Not legal advice.
    pub refund_terms: Vec<TermOut>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TermOut {
    pub rule: String,
    pub text: String,
    /// What is given back, in ten-thousandths of the price.
    pub share_basis_points: u16,
    /// The law's article, or the organiser's terms.
    pub source: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PerformerOut {
    #[schema(value_type = String)]
    pub id: PerformerId,
    pub name: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VenueOut {
    #[schema(value_type = String)]
    pub id: VenueId,
    pub name: String,
    pub city: String,
    pub address: String,
    #[schema(example = "Europe/Moscow")]
    pub time_zone: String,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct LayoutRefOut {
    #[schema(value_type = String)]
    pub id: LayoutId,
    pub version: u32,
}

impl From<LayoutRef> for LayoutRefOut {
    fn from(layout: LayoutRef) -> Self {
        Self { id: layout.id, version: layout.version }
    }
}

impl From<domain::catalog::Venue> for VenueOut {
    fn from(venue: domain::catalog::Venue) -> Self {
        let domain::catalog::Venue { id, name, city, address, time_zone } = venue;
        Self { id, name, city, address, time_zone }
    }
}

impl From<domain::catalog::Performer> for PerformerOut {
    fn from(performer: domain::catalog::Performer) -> Self {
        Self { id: performer.id, name: performer.name }
    }
}

impl From<&Event> for EventOut {
    fn from(event: &Event) -> Self {
        let price = |amount: &i64| Money::new(*amount, event.currency).into();
        let terms = event.refund_policy.terms().into_iter().map(|term| TermOut {
            rule: term.rule,
            text: term.text,
            share_basis_points: term.share.into(),
            source: term.source,
        });
        Self {
            id: event.id,
            name: event.name.clone(),
            performer: event.performer.clone().into(),
            venue: event.venue.clone().into(),
            layout: event.layout.into(),
            starts_at: event.starts_at,
            on_sale_from: event.on_sale_from,
            on_sale_until: event.on_sale_until,
            status: event.status,
            prices: event.prices.iter().map(|(category, amount)| (category.clone(), price(amount))).collect(),
            refund_terms: terms.collect(),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SearchIn {
    /// A part of the event's or the performer's name.
    q: Option<String>,
    city: Option<String>,
    #[param(value_type = Option<String>)]
    performer: Option<PerformerId>,
    /// Events that start from then on; now when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Events that start before then; a year after `from` when absent, and at most.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Items at most, 1 to 100; 20 when absent.
    limit: Option<u16>,
    cursor: Option<String>,
}

/// Coming events, by their start.
#[utoipa::path(
    get, path = "/events", tag = "catalog", params(SearchIn),
    responses((status = 200, body = Page<EventOut>), (status = 400, description = "`invalid_query`"))
)]
async fn events(State(app): State<App>, Query(ask): Query<SearchIn>) -> Result<impl IntoResponse, Problem> {
    let limit = usize::from(PageIn { limit: ask.limit, cursor: None }.limit()?);
    if ask.q.as_ref().is_some_and(|q| q.chars().count() > SEARCH_CHARS_MAX) {
        return Err(Problem::field("/q", format!("must have {SEARCH_CHARS_MAX} characters at most")));
    }
    let from = ask.from.unwrap_or(app.now());
    let year = from.checked_add(SignedDuration::from_hours(366 * 24)).unwrap_or(Timestamp::MAX);
    let to = ask.to.unwrap_or(year).min(year);
    let after = ask.cursor.clone().unwrap_or_else(|| format!("{from:.0}"));
    let mut found = Vec::new();
    for month in months(from, to) {
        if found.len() > limit || *month < *after.get(..7).unwrap_or("") {
            continue;
        }
        let events = app.recent_month(&month).await?;
        let is_in_time = |event: &Event| event.starts_at >= from && event.starts_at < to;
        let is_next = |event: &Event| is_in_time(event) && *event_cursor(event) > *after;
        found.extend(events.iter().filter(|event| is_next(event) && matches(event, &ask)).take(limit + 1).cloned());
    }
    let next_cursor = (found.len() > limit).then(|| event_cursor(&found[limit - 1]));
    let items: Vec<EventOut> = found.iter().take(limit).map(EventOut::from).collect();
    Ok(([(header::CACHE_CONTROL, "public, max-age=2")], axum::Json(Page { items, next_cursor })))
}

fn matches(event: &Event, ask: &SearchIn) -> bool {
    let holds = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
    event.status == EventStatus::Published
        && ask.q.as_ref().is_none_or(|q| holds(&event.name, q) || holds(&event.performer.name, q))
        && ask.city.as_ref().is_none_or(|city| event.venue.city.to_lowercase() == city.to_lowercase())
        && ask.performer.is_none_or(|performer| event.performer.id == performer)
}

/// The months from one instant to another, as the index names them.
fn months(from: Timestamp, to: Timestamp) -> Vec<String> {
    let mut months = Vec::new();
    let mut day = from.to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month();
    while months.len() < MONTHS_MAX && *day.strftime("%Y-%m").to_string() <= *month_of(to) {
        months.push(day.strftime("%Y-%m").to_string());
        let Ok(next) = day.checked_add(jiff::Span::new().months(1)) else { break };
        day = next;
    }
    months
}

/// One event.
#[utoipa::path(
    get, path = "/events/{id}", tag = "catalog", params(("id" = String, Path)),
    responses((status = 200, body = EventOut), (status = 404, description = "`not_found`"))
)]
async fn event(
    State(app): State<App>,
    Path(id): Path<EventId>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let event = app.recent_event(id).await?.filter(|event| event.is_public()).ok_or_else(Problem::not_found)?;
    let (etag, if_none_match) = (event.v.to_string(), if_none_match(&headers));
    Ok(Polled { body: axum::Json(EventOut::from(&*event)), etag, cache_control: "public, max-age=2", if_none_match })
}

/// The body of a seat map, for the description only: the reply is written once for many readers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `platform::seatmap` writes")]
struct SeatMapOut {
    layout: LayoutRefOut,
    prices: BTreeMap<String, MoneyOut>,
    sections: Vec<SectionMapOut>,
    /// Free seats and standing places by category.
    free: BTreeMap<String, u32>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `domain::seating::map` writes")]
struct SectionMapOut {
    id: String,
    /// Of a section with rows, by the row's name: two bits a position, most significant first, in unpadded base64url.
    /// 0 is free, 1 held, 2 sold, 3 not for sale.
    rows: Option<BTreeMap<String, String>>,
    /// Of a standing area.
    capacity: Option<u32>,
    free: Option<u32>,
}

/// Which seats are free. It is advice, up to a second old: the lock decides.
#[utoipa::path(
    get, path = "/events/{id}/seats", tag = "catalog", params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = SeatMapOut), (status = 304), (status = 404, description = "`not_found`"))
)]
async fn seats(State(app): State<App>, Path(id): Path<EventId>, headers: HeaderMap) -> Result<Response, Problem> {
    let event = app.recent_event(id).await?.filter(|event| event.is_public()).ok_or_else(Problem::not_found)?;
    let map = seat_map(&app, &event).await?;
    let body = map_body(&map, &headers);
    let (etag, if_none_match) = (map.etag.clone(), if_none_match(&headers));
    Ok(Polled { body, etag, cache_control: "public, max-age=1, s-maxage=1", if_none_match }.into_response())
}

/// The map's JSON, compressed where the client takes that.
fn map_body(map: &Availability, headers: &HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    let takes_gzip = accepts.split(',').any(|coding| coding.split(';').next().unwrap_or("").trim() == "gzip");
    let body = if takes_gzip { map.gzip.clone() } else { map.json.clone() };
    let mut response = body.into_response();
    let reply = response.headers_mut();
    reply.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if takes_gzip {
        reply.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// A hall's scheme: sections, rows and where they are. It never changes.
#[utoipa::path(
    get, path = "/layouts/{id}/{version}", tag = "catalog", params(("id" = String, Path), ("version" = u32, Path)),
    responses((status = 200, content_type = "application/json"), (status = 404, description = "`not_found`"))
)]
async fn layout(
    State(app): State<App>,
    Path((id, version)): Path<(LayoutId, u32)>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let hall = app.hall(LayoutRef::new(id, version)).await?.ok_or_else(Problem::not_found)?;
    let body: axum::Json<Layout> = axum::Json(hall.layout().clone());
    let cache_control = "public, max-age=31536000, immutable";
    Ok(Polled { body, etag: version.to_string(), cache_control, if_none_match: if_none_match(&headers) })
}
