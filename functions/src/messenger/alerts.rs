//! Alerts: what somebody wants to be told of, or offered.

use super::bot::TRIES_MAX;
use crate::views::{MoneyOut, sentence};
use axum::extract::State;
use axum::http::StatusCode;
use domain::alerts::{Alert, Scope, TooMany, When};
use domain::catalog::{Event, EventStatus};
use domain::ids::{self, AlertId, EventId, PerformerId, UserId, VenueId};
use domain::money::Money;
use domain::subscriptions::perks::Perks;
use jiff::Timestamp;
use platform::App;
use platform::http::{
    Buyer, Created, FieldError, IdempotencyKey, Json, Page, PageIn, Path, Problem, Query, fingerprint,
};
use platform::store::StoreError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_alert, list_alerts)).routes(routes!(end_alert))
}

/// What an alert is about: one of these.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct ScopeBody {
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<EventId>,
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    performer_id: Option<PerformerId>,
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    venue_id: Option<VenueId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    /// Every event; needs a `price_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    any: Option<bool>,
}

impl ScopeBody {
    fn scope(&self) -> Result<Scope, Problem> {
        let Self { event_id, performer_id, venue_id, city, any } = self.clone();
        let given = [
            event_id.map(Scope::Event),
            performer_id.map(Scope::Performer),
            venue_id.map(Scope::Venue),
            city.map(|name| Scope::City(name.trim().to_owned())),
            any.filter(|any| *any).map(|_| Scope::Any),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(scope), None) => Ok(scope),
            _ => Err(Problem::field("/scope", "must have one of event_id, performer_id, venue_id, city and any: true")),
        }
    }
}

impl From<Scope> for ScopeBody {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Event(id) => Self { event_id: Some(id), ..Self::default() },
            Scope::Performer(id) => Self { performer_id: Some(id), ..Self::default() },
            Scope::Venue(id) => Self { venue_id: Some(id), ..Self::default() },
            Scope::City(name) => Self { city: Some(name), ..Self::default() },
            Scope::Any => Self { any: Some(true), ..Self::default() },
        }
    }
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AlertIn {
    scope: ScopeBody,
    /// `on_sale`: the sale opens; `seats_back`: seats are free again.
    #[schema(value_type = String)]
    when: When,
    /// Seats that must be free side by side, 1 to 10; 1 when absent.
    #[schema(minimum = 1, maximum = 10)]
    quantity: Option<u8>,
    /// The most that a seat may cost, with its service fee.
    #[schema(value_type = Option<MoneyOut>)]
    price_max: Option<Money>,
    /// Ids of sections that count, 20 at most; all when absent. For seats that come back, of an event or a venue.
    #[serde(default)]
    sections: Vec<String>,
    /// Seats that come back are held and offered, instead of only told of.
    #[serde(default)]
    standing: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct AlertOut {
    #[schema(value_type = String, example = "alr_01jd8z3v8e7x0m4q2r6t9w1y5b")]
    id: AlertId,
    /// `active` or `ended`.
    status: &'static str,
    scope: ScopeBody,
    #[schema(value_type = String)]
    when: When,
    quantity: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_max: Option<MoneyOut>,
    sections: Vec<String>,
    standing: bool,
    /// How far ahead of others it is by a subscription that held when it was made: 0 to 9.
    priority: u8,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Alert> for AlertOut {
    fn from(alert: Alert) -> Self {
        let Alert { id, scope, when, quantity, sections, standing, priority, created_at, .. } = alert;
        let status = if alert.ended_at.is_some() { "ended" } else { "active" };
        let (scope, price_max) = (scope.into(), alert.price_max.map(Into::into));
        Self { id, status, scope, when, quantity, price_max, sections, standing, priority, created_at }
    }
}

/// Be told, or be offered seats, when something happens.
#[utoipa::path(
    post, path = "/alerts", tag = "alerts", security(("bearer" = [])), request_body = AlertIn,
    params(("Idempotency-Key" = String, Header)),
    responses((status = 201, body = AlertOut),
        (status = 409, description = "`too_many_alerts`, `already_on_sale`, `event_started`, `event_cancelled`, `idempotency_key_reused`"),
        (status = 422, description = "`invalid`, with a pointer to each fault"))
)]
async fn create_alert(
    State(app): State<App>,
    buyer: Buyer,
    IdempotencyKey(key): IdempotencyKey,
    Json(ask): Json<AlertIn>,
) -> Result<Created<AlertOut>, Problem> {
    let id = AlertId(ids::keyed(&buyer.id.to_string(), "POST /alerts", &key));
    let request = fingerprint(&ask);
    for _ in 0..TRIES_MAX {
        let (others, revision) = app.alerts.of_user(buyer.id).await?;
        if let Some(known) = app.alerts.get(buyer.id, id).await? {
            return if known.request == request { Ok(Created(known.into())) } else { Err(Problem::key_reused()) };
        }
        let alert = made(&app, buyer.id, id, &request, &ask).await?;
        alert.check_limits(&others).map_err(too_many)?;
        match app.alerts.put_new(&alert, revision).await {
            Ok(()) => {
                if let (true, Scope::Event(event)) = (alert.standing, &alert.scope) {
                    // From now on: what comes free before `offers` hears of it is not for whoever is quickest.
                    app.seats.open_line(*event).await?;
                }
                tracing::info!(alert = %id, user = %buyer.id, "alert made");
                return Ok(Created(alert.into()));
            }
            // Another alert of theirs, or the same request at once: look again.
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Throttled("the alerts of one account are written too often".into()).into())
}

fn too_many(refused: TooMany) -> Problem {
    Problem::conflict("too_many_alerts", sentence(&refused.to_string()))
}

/// The alert that is asked for, if all that it names is there.
async fn made(app: &App, user: UserId, id: AlertId, request: &str, ask: &AlertIn) -> Result<Alert, Problem> {
    let now = app.now();
    let subscriptions = app.subscriptions.of_user(user).await?;
    let perks = subscriptions.iter().map(|held| Perks::of(Some(held), now)).collect::<Result<Vec<_>, _>>();
    let perks = perks.map_err(|error| Problem::internal(error.to_string()))?;
    let alert = Alert {
        id,
        user,
        scope: ask.scope.scope()?,
        when: ask.when,
        quantity: ask.quantity.unwrap_or(1),
        price_max: ask.price_max,
        sections: ask.sections.clone(),
        standing: ask.standing,
        priority: perks.iter().map(Perks::waiting_priority).max().unwrap_or(0),
        created_at: now,
        request: request.to_owned(),
        ended_at: None,
    };
    let faults = alert.validate();
    if !faults.is_empty() {
        let fault = |fault: domain::layout::Invalid| FieldError { pointer: fault.pointer, detail: fault.message };
        return Err(Problem::invalid(faults.into_iter().map(fault)));
    }
    let is_there = match &alert.scope {
        Scope::Event(event) => {
            let event = app.recent_event(*event).await?;
            let sees = |event: &Event| event.is_public() && (!event.hidden || perks.iter().any(Perks::sees_hidden));
            let event = event.filter(|event| sees(event));
            let event = event.ok_or_else(|| Problem::field("/scope/event_id", "is not an event"))?;
            return of_event(app, alert, &event).await;
        }
        Scope::Performer(id) => app.catalog.performer(*id).await?.is_some().then_some(()).ok_or("/scope/performer_id"),
        Scope::Venue(id) => app.catalog.venue(*id).await?.is_some().then_some(()).ok_or("/scope/venue_id"),
        Scope::City(_) | Scope::Any => Ok(()),
    };
    is_there.map_err(|pointer| Problem::field(pointer, "is not there"))?;
    Ok(alert)
}

/// An alert on one event, if that can still come to it.
async fn of_event(app: &App, alert: Alert, event: &Event) -> Result<Alert, Problem> {
    let now = app.now();
    if event.status == EventStatus::Cancelled {
        return Err(Problem::conflict("event_cancelled", "The event was cancelled."));
    }
    if event.starts_at <= now {
        return Err(Problem::conflict("event_started", "The event has already started."));
    }
    if alert.when == When::OnSale && event.on_sale_from <= now {
        return Err(Problem::conflict("already_on_sale", "The sale has begun: wait for seats that come back."));
    }
    if alert.price_max.is_some_and(|price| price.currency != event.currency) {
        return Err(Problem::field(
            "/price_max/currency",
            format!("must be {}, as the event's prices", event.currency),
        ));
    }
    if !alert.sections.is_empty() {
        let hall = app.hall(event.layout).await?.ok_or_else(|| Problem::internal("the event's layout is not there"))?;
        let is_there = |id: &String| hall.layout().sections.iter().any(|section| section.id == *id);
        if let Some(at) = alert.sections.iter().position(|id| !is_there(id)) {
            return Err(Problem::field(format!("/sections/{at}"), "is not a section of the event's hall"));
        }
    }
    Ok(alert)
}

/// One's own alerts.
#[utoipa::path(
    get, path = "/alerts", tag = "alerts", security(("bearer" = [])), params(PageIn),
    responses((status = 200, body = Page<AlertOut>))
)]
async fn list_alerts(
    State(app): State<App>,
    buyer: Buyer,
    Query(page): Query<PageIn>,
) -> Result<axum::Json<Page<AlertOut>>, Problem> {
    let cursor = page.cursor.as_deref().map(str::parse::<AlertId>).transpose();
    let cursor = cursor.map_err(|_| Problem::field("/cursor", "is not a cursor of this list"))?;
    let (alerts, next) = app.alerts.list(buyer.id, page.limit()?, cursor).await?;
    let items = alerts.into_iter().map(AlertOut::from).collect();
    Ok(axum::Json(Page { items, next_cursor: next.map(|id| id.to_string()) }))
}

/// End an alert. One that is ended is ended.
#[utoipa::path(
    delete, path = "/alerts/{id}", tag = "alerts", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 204), (status = 404, description = "`not_found`: no such alert of yours"))
)]
async fn end_alert(State(app): State<App>, buyer: Buyer, Path(id): Path<AlertId>) -> Result<StatusCode, Problem> {
    end(&app, buyer.id, id).await?.map(|_| StatusCode::NO_CONTENT).ok_or_else(Problem::not_found)
}

/// Ends an alert of this account; as it is then, if there is or was such a one.
pub async fn end(app: &App, user: UserId, id: AlertId) -> Result<Option<Alert>, StoreError> {
    for _ in 0..TRIES_MAX {
        let (alerts, revision) = app.alerts.of_user(user).await?;
        let Some(alert) = alerts.into_iter().find(|alert| alert.id == id) else {
            return app.alerts.get(user, id).await;
        };
        match app.alerts.end(&alert, revision, app.now()).await {
            Ok(()) => {
                if let (true, Scope::Event(event)) = (alert.standing, &alert.scope) {
                    // From now on: what comes free before `offers` hears of it is not for whoever is quickest.
                    app.seats.open_line(*event).await?;
                }
                tracing::info!(alert = %id, %user, "alert ended");
                return Ok(Some(Alert { ended_at: Some(app.now()), ..alert }));
            }
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Throttled("the alerts of one account are written too often".into()))
}
