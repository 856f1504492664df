//! `subscribe`: plans, subscriptions, how they are paid, changed and cancelled, and what became of them.

mod begin;
mod changes;
pub mod history;
mod payment;
mod plans;
pub mod views;

use axum::extract::State;
use begin::SubscribeIn;
use domain::ids::{self, SubscriptionId, UserId};
use payment::SubscriptionPaymentOut;
pub use plans::PlanOut;
use platform::App;
use platform::http::{Buyer, Created, IdempotencyKey, Json, Page, Path, Problem, fingerprint, finish};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::SubscriptionOut;

pub fn routes(app: App) -> OpenApiRouter {
    let router = OpenApiRouter::new()
        .merge(plans::routes())
        .routes(routes!(subscribe, list_subscriptions))
        .routes(routes!(get_subscription))
        .merge(history::routes())
        .merge(changes::routes())
        .merge(payment::routes());
    finish(app, router)
}

/// A new subscription, and what is still needed for it to begin.
#[derive(Debug, Serialize, ToSchema)]
struct SubscribedOut {
    #[serde(flatten)]
    subscription: SubscriptionOut,
    /// How to pay, or to save a method; absent once nothing is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<SubscriptionPaymentOut>,
}

/// Subscribe to a plan. It begins once `payment` is confirmed at the provider; unpaid, it ends in a day.
#[utoipa::path(
    post, path = "/subscriptions", tag = "subscriptions", security(("bearer" = [])), request_body = SubscribeIn,
    params(("Idempotency-Key" = String, Header, description = "a repeated request with the same key gives the same subscription")),
    responses((status = 201, body = SubscribedOut),
        (status = 409, description = "`subscribed_already`, `plan_withdrawn`, `promotion_expired`, `promotion_not_yet`, `promotion_exhausted`, `promotion_used_already`, `promotion_not_for_you`, `promotion_other_currency`, `promotion_other_plan`, `promotion_not_stackable`, `idempotency_key_reused`"),
        (status = 422, description = "`invalid`, `other_currency`, `promotion_unknown`"),
        (status = 429, description = "`too_many_codes`: come back after `Retry-After`"),
        (status = 503, description = "`busy`, `payment_provider_unavailable`: send it again with the same key after `Retry-After`"))
)]
async fn subscribe(
    State(app): State<App>,
    buyer: Buyer,
    IdempotencyKey(key): IdempotencyKey,
    Json(ask): Json<SubscribeIn>,
) -> Result<Created<SubscribedOut>, Problem> {
    let id = SubscriptionId(ids::keyed(&buyer.id.to_string(), "POST /subscriptions", &key));
    let request = fingerprint(&ask);
    let mut subscription = begin::begin(&app, &buyer, id, &request, &ask).await?;
    if subscription.request != request {
        return Err(Problem::key_reused());
    }
    let is_pending = subscription.state == domain::subscriptions::State::Pending;
    let payment = if is_pending { payment::needed(&app, &subscription).await? } else { None };
    if is_pending && payment.is_none() {
        // It was given up, or paid, just now: whoever repeats the request sees it as it is.
        subscription = app.subscriptions.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    }
    Ok(Created(SubscribedOut { subscription: SubscriptionOut::new(&subscription, app.now()), payment }))
}

/// One's own subscriptions, the latest first; those that are over stay.
#[utoipa::path(
    get, path = "/subscriptions", tag = "subscriptions", security(("bearer" = [])),
    responses((status = 200, body = Page<SubscriptionOut>))
)]
async fn list_subscriptions(
    State(app): State<App>,
    buyer: Buyer,
) -> Result<axum::Json<Page<SubscriptionOut>>, Problem> {
    Ok(axum::Json(all_of(&app, buyer.id).await?))
}

/// The subscriptions of somebody, the latest first: one page.
pub async fn all_of(app: &App, user: UserId) -> Result<Page<SubscriptionOut>, Problem> {
    let (all, now) = (app.subscriptions.of_user(user).await?, app.now());
    let items = all.iter().map(|subscription| SubscriptionOut::new(subscription, now)).collect();
    Ok(Page { items, next_cursor: None })
}

/// One of one's own subscriptions.
#[utoipa::path(
    get, path = "/subscriptions/{id}", tag = "subscriptions", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = SubscriptionOut), (status = 404, description = "`not_found`: no such subscription of yours"))
)]
async fn get_subscription(
    State(app): State<App>,
    buyer: Buyer,
    Path(id): Path<SubscriptionId>,
) -> Result<axum::Json<SubscriptionOut>, Problem> {
    let subscription = app.subscriptions.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    Ok(axum::Json(SubscriptionOut::new(&subscription, app.now())))
}
