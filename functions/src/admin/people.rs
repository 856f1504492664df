//! Roles, and refunds on a ground that a person has to judge.

use crate::facts;
use crate::refund::{RefundIn, give_back};
use crate::views::{RefundOut, order_problem};
use axum::extract::State;
use domain::access::Role;
use domain::ids::{self, OrderId, RefundId, TicketId, UserId};
use domain::refunds::Ground;
use platform::App;
use platform::http::{Allowed, Created, IdempotencyKey, Json, Path, Problem, acts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(set_roles)).routes(routes!(refund)).routes(routes!(retry_refund))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Roles {
    /// `buyer`, `gate`, `support`, `finance`, `marketing`, `admin`. They hold from the account's next access token on.
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
}

/// Set what an account may be.
#[utoipa::path(
    put, path = "/admin/users/{id}/roles", tag = "admin", security(("bearer" = [])), request_body = Roles,
    params(("id" = String, Path)),
    responses((status = 200, body = Roles), (status = 404, description = "`not_found`"),
        (status = 409, description = "`own_roles`: nobody changes their own"), (status = 422, description = "`invalid`"))
)]
async fn set_roles(
    State(app): State<App>,
    admin: Allowed<acts::AssignRoles>,
    Path(id): Path<UserId>,
    Json(ask): Json<Roles>,
) -> Result<axum::Json<Roles>, Problem> {
    if id == admin.user {
        // So that the last administrator cannot lock everybody out by mistake.
        return Err(Problem::conflict("own_roles", "Nobody changes their own roles."));
    }
    let mut account = app.accounts.get(id).await?.ok_or_else(Problem::not_found)?;
    account.roles = BTreeSet::from_iter(ask.roles).into_iter().collect();
    account.v += 1;
    app.accounts.save(&account).await?;
    tracing::info!(user = %id, admin = %admin.user, roles = ?account.roles, "roles set");
    Ok(axum::Json(Roles { roles: account.roles }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DecidedRefundIn {
    /// Which tickets; all that are valid, when absent.
    #[schema(value_type = Option<Vec<String>>)]
    ticket_ids: Option<Vec<TicketId>>,
    /// `illness` or `bereavement`: the documents were seen.
    #[schema(value_type = String)]
    ground: Ground,
}

/// Give back somebody's tickets on a ground that a person has judged.
#[utoipa::path(
    post, path = "/admin/users/{user_id}/orders/{order_id}/refunds", tag = "admin", security(("bearer" = [])),
    request_body = DecidedRefundIn,
    params(("user_id" = String, Path), ("order_id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses((status = 201, body = RefundOut), (status = 403, description = "`forbidden`"), (status = 404, description = "`not_found`"),
        (status = 409, description = "`not_paid`, `ticket_used`, `ticket_refunded`, `ticket_disputed`, `ground_absent`, `idempotency_key_reused`"))
)]
async fn refund(
    State(app): State<App>,
    admin: Allowed<acts::DecideRefund>,
    IdempotencyKey(key): IdempotencyKey,
    Path((user, order)): Path<(UserId, OrderId)>,
    Json(ask): Json<DecidedRefundIn>,
) -> Result<Created<RefundOut>, Problem> {
    if !matches!(ask.ground, Ground::Illness | Ground::Bereavement) {
        return Err(Problem::field("/ground", "must be illness or bereavement"));
    }
    let route = format!("POST /admin/users/{user}/orders/{order}/refunds");
    let id = RefundId(ids::keyed(&admin.user.to_string(), &route, &key));
    let tickets = RefundIn { ticket_ids: ask.ticket_ids };
    give_back(&app, user, order, id, &tickets, ask.ground, Some(admin.user)).await
}

/// Ask the provider anew for a refund that failed. The decision stands; the money is moved by `settle`.
#[utoipa::path(
    post, path = "/admin/users/{user_id}/orders/{order_id}/refunds/{refund_id}/retry", tag = "admin", security(("bearer" = [])),
    params(("user_id" = String, Path), ("order_id" = String, Path), ("refund_id" = String, Path)),
    responses((status = 200, body = RefundOut), (status = 403, description = "`forbidden`"), (status = 404, description = "`not_found`"),
        (status = 409, description = "`refund_not_failed`, `ticket_disputed`, `changed_meanwhile`"))
)]
async fn retry_refund(
    State(app): State<App>,
    admin: Allowed<acts::DecideRefund>,
    Path((user, order, refund)): Path<(UserId, OrderId, RefundId)>,
) -> Result<axum::Json<RefundOut>, Problem> {
    let order = app.orders.get(user, order).await?.ok_or_else(Problem::not_found)?;
    let next = order.retry_refund(refund, app.now()).map_err(order_problem)?;
    let next = facts::save(&app, next, &[]).await?;
    tracing::info!(order = %order.id, %refund, admin = %admin.user, "refund retried");
    let refund = next.refund(refund).ok_or_else(Problem::not_found)?;
    Ok(axum::Json(RefundOut::new(&next, refund)))
}
