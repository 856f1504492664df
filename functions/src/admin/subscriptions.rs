//! Somebody's subscriptions as those see them who answer for them: where each stands, what became of it, and what of its
//! charges has to be seen to.

use crate::facts;
use crate::subscribe::all_of;
use crate::subscribe::history::{ChargeOut, ChargeRefundOut, HistoryOut, Reader, page_of_charges, page_of_history};
use crate::subscribe::views::{SubscriptionOut, problem};
use axum::extract::State;
use domain::access::{Act, may};
use domain::ids::{RefundId, SubscriptionId, UserId};
use domain::subscriptions::ChargeRef;
use platform::App;
use platform::http::{Allowed, Page, PageIn, Path, Problem, Query, acts};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(subscriptions))
        .routes(routes!(history))
        .routes(routes!(charges))
        .routes(routes!(retry_charge_refund))
}

/// Who looks after the books sees the provider's ids.
fn reader<A>(staff: &Allowed<A>) -> Reader {
    Reader::Staff { payments: may(&staff.roles, Act::ReadReconciliations) }
}

/// The subscriptions of somebody, the latest first; those that are over stay.
#[utoipa::path(
    get, path = "/admin/users/{user_id}/subscriptions", tag = "admin", security(("bearer" = [])),
    params(("user_id" = String, Path)),
    responses((status = 200, body = Page<SubscriptionOut>), (status = 403, description = "`forbidden`"))
)]
async fn subscriptions(
    State(app): State<App>,
    _: Allowed<acts::ReadSubscriptions>,
    Path(user): Path<UserId>,
) -> Result<axum::Json<Page<SubscriptionOut>>, Problem> {
    Ok(axum::Json(all_of(&app, user).await?))
}

/// What happened to somebody's subscription, the latest first; with the reasons that banks gave, which the holder of a card is
/// not always told.
#[utoipa::path(
    get, path = "/admin/users/{user_id}/subscriptions/{subscription_id}/history", tag = "admin", security(("bearer" = [])),
    params(("user_id" = String, Path), ("subscription_id" = String, Path), PageIn),
    responses((status = 200, body = Page<HistoryOut>), (status = 403, description = "`forbidden`"), (status = 404, description = "`not_found`"))
)]
async fn history(
    State(app): State<App>,
    staff: Allowed<acts::ReadSubscriptions>,
    Path(own): Path<(UserId, SubscriptionId)>,
    Query(page): Query<PageIn>,
) -> Result<axum::Json<Page<HistoryOut>>, Problem> {
    Ok(axum::Json(page_of_history(&app, own, &page, reader(&staff)).await?))
}

/// The charges of somebody's subscription, the latest first; for those who look after the books with the provider's ids.
#[utoipa::path(
    get, path = "/admin/users/{user_id}/subscriptions/{subscription_id}/charges", tag = "admin", security(("bearer" = [])),
    params(("user_id" = String, Path), ("subscription_id" = String, Path), PageIn),
    responses((status = 200, body = Page<ChargeOut>), (status = 403, description = "`forbidden`"), (status = 404, description = "`not_found`"))
)]
async fn charges(
    State(app): State<App>,
    staff: Allowed<acts::ReadSubscriptions>,
    Path(own): Path<(UserId, SubscriptionId)>,
    Query(page): Query<PageIn>,
) -> Result<axum::Json<Page<ChargeOut>>, Problem> {
    Ok(axum::Json(page_of_charges(&app, own, &page, reader(&staff)).await?))
}

/// Ask the provider anew for a refund of a charge that failed. The decision stands; the money is moved by `settle`.
#[utoipa::path(
    post, path = "/admin/users/{user_id}/subscriptions/{subscription_id}/charges/{charge_id}/refunds/{refund_id}/retry",
    tag = "admin", security(("bearer" = [])),
    params(("user_id" = String, Path), ("subscription_id" = String, Path), ("charge_id" = String, Path), ("refund_id" = String, Path)),
    responses((status = 200, body = ChargeRefundOut), (status = 403, description = "`forbidden`"), (status = 404, description = "`not_found`"),
        (status = 409, description = "`refund_not_failed`, `charge_disputed`, `changed_meanwhile`"))
)]
async fn retry_charge_refund(
    State(app): State<App>,
    admin: Allowed<acts::DecideRefund>,
    Path((user, subscription, charge, refund)): Path<(UserId, SubscriptionId, ChargeRef, RefundId)>,
) -> Result<axum::Json<ChargeRefundOut>, Problem> {
    let charge = app.subscriptions.charge(charge).await?;
    let is_of_it =
        |charge: &domain::subscriptions::Charge| charge.user == user && charge.id.subscription == subscription;
    let charge = charge.filter(is_of_it).ok_or_else(Problem::not_found)?;
    let next = charge.retry_refund(refund, app.now()).map_err(problem)?;
    let next = facts::save_charge(&app, next, None).await?;
    tracing::info!(charge = %charge.id, %refund, admin = %admin.user, "refund of a charge retried");
    let refund = next.refund(refund).ok_or_else(Problem::not_found)?;
    Ok(axum::Json(ChargeRefundOut::new(&next, refund, reader(&admin))))
}
