//! Plans of subscriptions. A change is a new version for those who subscribe from then on; whoever has a plan keeps its terms.

use crate::subscribe::PlanOut;
use crate::subscribe::views::NamesOut;
use crate::views::MoneyOut;
use axum::extract::State;
use domain::ids::{self, PlanId};
use domain::layout::Invalid;
use domain::subscriptions::plans::{Plan, Terms};
use platform::App;
use platform::http::{Allowed, Created, FieldError, IdempotencyKey, Json, Path, Problem, acts, fingerprint};
use platform::store::LISTED_MAX;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_plan, plans)).routes(routes!(amend_plan)).routes(routes!(withdraw_plan))
}

/// The terms of a plan, for the description only: they are the domain's own.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `Terms` reads")]
struct PlanIn {
    name: NamesOut,
    /// For the term, or for each month.
    price: MoneyOut,
    /// `"monthly"`, or `{"once": {"months": 12}}`.
    #[schema(value_type = Object)]
    billing: (),
    trial_days: Option<u16>,
    /// `{"kind": "presale", "hours"}`, `{"kind": "service_fee", "off"}`, `{"kind": "discount", "off", "categories"?}`,
    /// `{"kind": "fixed_price", "category", "price"}`, `{"kind": "tickets", "a_month", "categories"?}`, `{"kind": "refunds",
    /// "policy"}`, `{"kind": "waiting_list", "priority"}`, `{"kind": "seats_an_order", "max"}` or `{"kind": "hidden_events"}`;
    /// `off` is in ten-thousandths.
    #[schema(value_type = Option<Vec<Object>>)]
    perks: (),
    /// `none` or `pro_rata`.
    cancel_refund: Option<String>,
    /// `ru_consumer` or `eu_withdrawal`.
    law: Option<String>,
    grace_days: Option<u8>,
    notice_days: Option<u8>,
    /// Days after a renewal was due on which it is tried again, rising.
    #[schema(example = json!([1, 3, 5, 7]))]
    retry_days: Option<Vec<u8>>,
}

/// Offer a plan.
#[utoipa::path(
    post, path = "/admin/plans", tag = "admin", security(("bearer" = [])), request_body = PlanIn,
    params(("Idempotency-Key" = String, Header)),
    responses((status = 201, body = PlanOut), (status = 403, description = "`forbidden`"),
        (status = 409, description = "`too_many_plans`, `idempotency_key_reused`"), (status = 422, description = "`invalid`, with a pointer to each fault"))
)]
async fn create_plan(
    State(app): State<App>,
    admin: Allowed<acts::ManagePlans>,
    IdempotencyKey(key): IdempotencyKey,
    Json(terms): Json<Terms>,
) -> Result<Created<PlanOut>, Problem> {
    let id = PlanId(ids::keyed(&admin.user.to_string(), "POST /admin/plans", &key));
    let plan = Plan::offer(id, terms.clone(), fingerprint(&terms)).map_err(invalid)?;
    let all = app.offers.plans().await?;
    if all.len() >= LISTED_MAX && all.iter().all(|other| other.id != id) {
        let detail = format!("There are {LISTED_MAX} plans, withdrawn ones included, and there can be no more.");
        return Err(Problem::conflict("too_many_plans", detail));
    }
    match app.offers.put_plan(&plan).await? {
        Ok(()) => {
            tracing::info!(plan = %id, admin = %admin.user, "plan offered");
            Ok(Created((&plan).into()))
        }
        Err(known) if known.request == plan.request => Ok(Created((&known).into())),
        Err(_) => Err(Problem::key_reused()),
    }
}

/// All plans, withdrawn ones too.
#[utoipa::path(
    get, path = "/admin/plans", tag = "admin", security(("bearer" = [])),
    responses((status = 200, body = Vec<PlanOut>), (status = 403, description = "`forbidden`"))
)]
async fn plans(State(app): State<App>, _: Allowed<acts::ManagePlans>) -> Result<axum::Json<Vec<PlanOut>>, Problem> {
    let plans = app.offers.plans().await?;
    Ok(axum::Json(plans.iter().map(Into::into).collect()))
}

/// Change a plan for those who subscribe from now on.
#[utoipa::path(
    put, path = "/admin/plans/{id}", tag = "admin", security(("bearer" = [])), request_body = PlanIn,
    params(("id" = String, Path)),
    responses((status = 200, body = PlanOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`changed_meanwhile`"), (status = 422, description = "`invalid`, with a pointer to each fault"))
)]
async fn amend_plan(
    State(app): State<App>,
    admin: Allowed<acts::ManagePlans>,
    Path(id): Path<PlanId>,
    Json(terms): Json<Terms>,
) -> Result<axum::Json<PlanOut>, Problem> {
    let plan = app.offers.plan(id).await?.ok_or_else(Problem::not_found)?;
    if plan.terms == terms {
        return Ok(axum::Json((&plan).into()));
    }
    let next = plan.amend(terms).map_err(invalid)?;
    app.offers.save_plan(&next).await?;
    tracing::info!(plan = %id, version = next.version, admin = %admin.user, "plan changed");
    Ok(axum::Json((&next).into()))
}

/// Offer a plan no more. Whoever has it keeps it. Withdrawing twice is withdrawing once.
#[utoipa::path(
    post, path = "/admin/plans/{id}/withdraw", tag = "admin", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = PlanOut), (status = 404, description = "`not_found`"), (status = 409, description = "`changed_meanwhile`"))
)]
async fn withdraw_plan(
    State(app): State<App>,
    admin: Allowed<acts::ManagePlans>,
    Path(id): Path<PlanId>,
) -> Result<axum::Json<PlanOut>, Problem> {
    let plan = app.offers.plan(id).await?.ok_or_else(Problem::not_found)?;
    let next = plan.withdraw();
    if next.version != plan.version {
        app.offers.save_plan(&next).await?;
        tracing::info!(plan = %id, admin = %admin.user, "plan withdrawn");
    }
    Ok(axum::Json((&next).into()))
}

fn invalid(faults: Vec<Invalid>) -> Problem {
    Problem::invalid(faults.into_iter().map(|fault| FieldError { pointer: fault.pointer, detail: fault.message }))
}
