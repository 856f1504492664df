//! Venues, the schemes of their halls, performers.

use super::{check_name, made};
use crate::catalog::{LayoutRefOut, PerformerOut, VenueOut};
use axum::extract::State;
use domain::catalog::{Performer, Venue};
use domain::ids::{self, LayoutId, PerformerId, VenueId};
use domain::layout::{Category, Hall, Layout, SchemeIn, SectionIn};
use platform::App;
use platform::http::{Allowed, Created, FieldError, IdempotencyKey, Json, Problem, acts, fingerprint};
use platform::store::Made;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_venue, venues))
        .routes(routes!(create_layout))
        .routes(routes!(create_performer, performers))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct VenueIn {
    name: String,
    city: String,
    address: String,
    /// The IANA time zone in which the venue's calendar days are counted.
    #[schema(example = "Europe/Moscow")]
    time_zone: String,
}

/// Add a venue.
#[utoipa::path(
    post, path = "/admin/venues", tag = "admin", security(("bearer" = [])), request_body = VenueIn,
    params(("Idempotency-Key" = String, Header)),
    responses((status = 201, body = VenueOut), (status = 403, description = "`forbidden`"), (status = 422, description = "`invalid`"))
)]
async fn create_venue(
    State(app): State<App>,
    admin: Allowed<acts::ManageCatalog>,
    IdempotencyKey(key): IdempotencyKey,
    Json(ask): Json<VenueIn>,
) -> Result<Created<VenueOut>, Problem> {
    check_name("/name", &ask.name)?;
    check_name("/city", &ask.city)?;
    check_name("/address", &ask.address)?;
    if jiff::tz::TimeZone::get(&ask.time_zone).is_err() {
        return Err(Problem::field("/time_zone", "is not an IANA time zone"));
    }
    let id = VenueId(ids::keyed(&admin.user.to_string(), "POST /admin/venues", &key));
    let request = fingerprint(&ask);
    let VenueIn { name, city, address, time_zone } = ask;
    let new = Made { request, made: Venue { id, name, city, address, time_zone } };
    let stored = app.catalog.put_venue(&new).await;
    made(new, stored)
}

/// All venues.
#[utoipa::path(
    get, path = "/admin/venues", tag = "admin", security(("bearer" = [])), responses((status = 200, body = Vec<VenueOut>))
)]
async fn venues(State(app): State<App>, _: Allowed<acts::ManageCatalog>) -> Result<axum::Json<Vec<VenueOut>>, Problem> {
    let venues = app.catalog.venues().await?;
    Ok(axum::Json(venues.into_iter().map(|venue| venue.made.into()).collect()))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PerformerIn {
    name: String,
}

/// Add a performer.
#[utoipa::path(
    post, path = "/admin/performers", tag = "admin", security(("bearer" = [])), request_body = PerformerIn,
    params(("Idempotency-Key" = String, Header)),
    responses((status = 201, body = PerformerOut), (status = 403, description = "`forbidden`"), (status = 422, description = "`invalid`"))
)]
async fn create_performer(
    State(app): State<App>,
    admin: Allowed<acts::ManageCatalog>,
    IdempotencyKey(key): IdempotencyKey,
    Json(ask): Json<PerformerIn>,
) -> Result<Created<PerformerOut>, Problem> {
    check_name("/name", &ask.name)?;
    let id = PerformerId(ids::keyed(&admin.user.to_string(), "POST /admin/performers", &key));
    let new = Made { request: fingerprint(&ask), made: Performer { id, name: ask.name } };
    let stored = app.catalog.put_performer(&new).await;
    made(new, stored)
}

/// All performers.
#[utoipa::path(
    get, path = "/admin/performers", tag = "admin", security(("bearer" = [])), responses((status = 200, body = Vec<PerformerOut>))
)]
async fn performers(
    State(app): State<App>,
    _: Allowed<acts::ManageCatalog>,
) -> Result<axum::Json<Vec<PerformerOut>>, Problem> {
    let performers = app.catalog.performers().await?;
    Ok(axum::Json(performers.into_iter().map(|performer| performer.made.into()).collect()))
}

/// A hall's scheme. `layout_id` makes it the next version of a scheme that there is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LayoutIn {
    #[schema(value_type = String)]
    venue_id: VenueId,
    #[schema(value_type = Option<String>)]
    layout_id: Option<LayoutId>,
    name: String,
    #[schema(value_type = Vec<Object>)]
    categories: Vec<Category>,
    /// `{id, name, rows: [{name, x, y, dx, dy, bow?, seats, first?, step?, category, zones?, accessible?, gaps?}]}`, or
    /// `{id, name, standing: {capacity, category, x, y, width, height}}`.
    #[schema(value_type = Vec<Object>)]
    sections: Vec<SectionIn>,
}

#[derive(Debug, Serialize, ToSchema)]
struct LayoutOut {
    #[serde(flatten)]
    layout: LayoutRefOut,
    name: String,
    seats_total: u32,
}

impl From<Layout> for LayoutOut {
    fn from(layout: Layout) -> Self {
        let reference = domain::layout::LayoutRef::new(layout.id, layout.version);
        let name = layout.name.clone();
        Self { layout: reference.into(), name, seats_total: Hall::new(layout).seats_total() }
    }
}

/// Add a hall's scheme, or a new version of one: a scheme never changes.
#[utoipa::path(
    post, path = "/admin/layouts", tag = "admin", security(("bearer" = [])), request_body = LayoutIn,
    params(("Idempotency-Key" = String, Header)),
    responses((status = 201, body = LayoutOut), (status = 403, description = "`forbidden`"),
        (status = 409, description = "`idempotency_key_reused`"), (status = 422, description = "`invalid`, with a pointer to each fault"))
)]
async fn create_layout(
    State(app): State<App>,
    admin: Allowed<acts::ManageCatalog>,
    IdempotencyKey(key): IdempotencyKey,
    Json(ask): Json<LayoutIn>,
) -> Result<Created<LayoutOut>, Problem> {
    let request = fingerprint(&ask);
    if app.catalog.venue(ask.venue_id).await?.is_none() {
        return Err(Problem::field("/venue_id", "is not a venue"));
    }
    let (id, version) = match ask.layout_id {
        None => (LayoutId(ids::keyed(&admin.user.to_string(), "POST /admin/layouts", &key)), 1),
        Some(id) => {
            let latest = app.catalog.latest_layout(id).await?;
            let latest = latest.ok_or_else(|| Problem::field("/layout_id", "is not a layout"))?;
            // The same scheme again is a repeated request; it makes no further version.
            if latest.request == request {
                return Ok(Created(latest.made.into()));
            }
            (id, latest.made.version + 1)
        }
    };
    let scheme = SchemeIn { name: ask.name, categories: ask.categories, sections: ask.sections };
    let layout = scheme.validate(id, version, ask.venue_id).map_err(|faults| {
        Problem::invalid(faults.into_iter().map(|fault| FieldError { pointer: fault.pointer, detail: fault.message }))
    })?;
    let new = Made { request, made: layout };
    let stored = app.catalog.put_layout(&new).await;
    made(new, stored)
}
