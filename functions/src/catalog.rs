//! `catalog`: events, halls and free seats, for anybody. What anybody may see may be kept for a moment by whoever is
//! between. Hidden events are only in answers to those who may see them, which nobody keeps.

mod visitor;

use crate::views::{MoneyOut, some_fee};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::catalog::{Event, EventStatus};
use domain::ids::{EventId, LayoutId, PerformerId, PlanId, VenueId};
use domain::layout::{Layout, LayoutRef};
use domain::money::Money;
use domain::subscriptions::perks::presale_from;
use domain::subscriptions::plans::PlanStatus;
use jiff::{SignedDuration, Timestamp};
use platform::App;
use platform::http::{Page, PageIn, Path, Polled, Problem, Query, fingerprint, finish, if_none_match};
use platform::seatmap::{Availability, seat_map};
use platform::store::{event_cursor, month_of};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use visitor::Visitor;

/// Months a search looks through, from its beginning on.
const MONTHS_MAX: usize = 13;
/// Characters of a search text.
const SEARCH_CHARS_MAX: usize = 100;

const KEPT_SHORTLY: &str = "public, max-age=2";
const KEPT_BY_NOBODY: &str = "private, no-store";

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
    /// What each ticket that is paid for costs beside its price; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_fee: Option<MoneyOut>,
    /// The terms of refund, each with its source. Not legal advice.
    pub refund_terms: Vec<TermOut>,
    /// Only subscribers with that perk see it and buy it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Who may buy before the public sale, until that begins; only where one event is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presale: Option<PresaleOut>,
}

/// The presale of an event: the plans on offer that have it, the first first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PresaleOut {
    /// When it begins for the first of them.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    pub plans: Vec<PresalePlanOut>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PresalePlanOut {
    #[schema(value_type = String)]
    pub id: PlanId,
    /// In the languages that the product speaks.
    #[schema(value_type = Object, example = json!({"ru": "Друг", "en": "Friend"}))]
    pub name: BTreeMap<&'static str, String>,
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TermOut {
    pub rule: String,
    pub text: String,
    /// What is given back, in ten-thousandths of the price.
    pub share_basis_points: u16,
    /// Whether the service fee is given back too, whole.
    pub returns_service_fee: bool,
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
            returns_service_fee: term.returns_service_fee,
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
            service_fee: some_fee(event.service_fee, event.currency),
            refund_terms: terms.collect(),
            hidden: event.hidden,
            presale: None,
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

/// Coming events, by their start; with a token, those too that are shown to this subscriber only.
#[utoipa::path(
    get, path = "/events", tag = "catalog", params(SearchIn), security((), ("bearer" = [])),
    responses((status = 200, body = Page<EventOut>), (status = 400, description = "`invalid_query`"))
)]
async fn events(
    State(app): State<App>,
    Query(ask): Query<SearchIn>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let visitor = Visitor::of(&app, &headers).await?;
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
        let is_next = |event: &Event| is_in_time(event) && *event_cursor(event) > *after && matches(event, &ask);
        let has_hidden = events.iter().any(|event| event.hidden && is_next(event));
        let sees_hidden = has_hidden && visitor.sees_hidden(&app).await?;
        let shown = events.iter().filter(|event| (!event.hidden || sees_hidden) && is_next(event));
        found.extend(shown.take(limit + 1).cloned());
    }
    let next_cursor = (found.len() > limit).then(|| event_cursor(&found[limit - 1]));
    let items: Vec<EventOut> = found.iter().take(limit).map(EventOut::from).collect();
    let cache_control = if visitor.is_known() { KEPT_BY_NOBODY } else { KEPT_SHORTLY };
    let headers = [(header::CACHE_CONTROL, cache_control), (header::VARY, "authorization")];
    Ok((headers, axum::Json(Page { items, next_cursor })))
}

fn matches(event: &Event, ask: &SearchIn) -> bool {
    let holds = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
    event.status == EventStatus::Published
        && ask.q.as_ref().is_none_or(|q| holds(&event.name, q) || holds(&event.performer.name, q))
        && ask.city.as_ref().is_none_or(|city| event.venue.city.to_lowercase() == city.to_lowercase())
        && ask.performer.is_none_or(|performer| event.performer.id == performer)
}

/// The months from one instant to another, as the index names them.
pub fn months(from: Timestamp, to: Timestamp) -> Vec<String> {
    let mut months = Vec::new();
    let mut day = from.to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month();
    while months.len() < MONTHS_MAX && *day.strftime("%Y-%m").to_string() <= *month_of(to) {
        months.push(day.strftime("%Y-%m").to_string());
        let Ok(next) = day.checked_add(jiff::Span::new().months(1)) else { break };
        day = next;
    }
    months
}

/// One event. One that is hidden takes the token of a subscriber who may see it.
#[utoipa::path(
    get, path = "/events/{id}", tag = "catalog", params(("id" = String, Path)), security((), ("bearer" = [])),
    responses((status = 200, body = EventOut), (status = 404, description = "`not_found`"))
)]
async fn event(
    State(app): State<App>,
    Path(id): Path<EventId>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let event = shown(&app, id, &headers).await?;
    let presale = presale(&app, &event).await;
    let etag = match &presale {
        Some(presale) => format!("{}-{}", event.v, fingerprint(presale)),
        None => event.v.to_string(),
    };
    let cache_control = if event.hidden { KEPT_BY_NOBODY } else { KEPT_SHORTLY };
    let body = axum::Json(EventOut { presale, ..EventOut::from(&*event) });
    Ok(Polled { body, etag, cache_control, if_none_match: if_none_match(&headers) })
}

/// An event that whoever asks may see. That there is one which they may not is not told: their token counts either way.
async fn shown(app: &App, id: EventId, headers: &HeaderMap) -> Result<Arc<Event>, Problem> {
    let found = app.recent_event(id).await?.filter(|event| event.is_public());
    if let Some(event) = found.as_ref().filter(|event| !event.hidden) {
        return Ok(event.clone());
    }
    let visitor = Visitor::of(app, headers).await?;
    let event = found.ok_or_else(Problem::not_found)?;
    if visitor.sees_hidden(app).await? { Ok(event) } else { Err(Problem::not_found()) }
}

/// The presale of an event that is not on sale yet: nothing is read for others. An event is shown without it rather than not
/// at all.
async fn presale(app: &App, event: &Event) -> Option<PresaleOut> {
    if event.status != EventStatus::Published || app.now() >= event.on_sale_from {
        return None;
    }
    let read = app.recent_plans().await;
    let plans = read.inspect_err(|error| tracing::warn!(%error, "an event is shown without its presale")).ok()?;
    let earlier = plans.iter().filter(|plan| plan.status == PlanStatus::Offered).filter_map(|plan| {
        let from = presale_from(&plan.terms.perks, event.on_sale_from);
        let name = [("ru", plan.terms.name.ru.clone()), ("en", plan.terms.name.en.clone())].into();
        (from < event.on_sale_from).then_some(PresalePlanOut { id: plan.id, name, from })
    });
    let mut plans: Vec<_> = earlier.collect();
    plans.sort_by_key(|plan| (plan.from, plan.id));
    plans.first().map(|plan| plan.from).map(|from| PresaleOut { from, plans })
}

/// The body of a seat map, for the description only: the reply is written once for many readers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `platform::seatmap` writes")]
struct SeatMapOut {
    layout: LayoutRefOut,
    prices: BTreeMap<String, MoneyOut>,
    /// What each ticket that is paid for costs beside its price; absent where there is none.
    service_fee: Option<MoneyOut>,
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
    security((), ("bearer" = [])),
    responses((status = 200, body = SeatMapOut), (status = 304), (status = 404, description = "`not_found`"))
)]
async fn seats(State(app): State<App>, Path(id): Path<EventId>, headers: HeaderMap) -> Result<Response, Problem> {
    let event = shown(&app, id, &headers).await?;
    let map = seat_map(&app, &event).await?;
    let body = map_body(&map, &headers);
    let (etag, if_none_match) = (map.etag.clone(), if_none_match(&headers));
    let cache_control = if event.hidden { KEPT_BY_NOBODY } else { "public, max-age=1, s-maxage=1" };
    Ok(Polled { body, etag, cache_control, if_none_match }.into_response())
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
