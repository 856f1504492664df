//! What is offered, for anybody. It may be kept for a moment by whoever is between.

use super::views::NamesOut;
use crate::views::MoneyOut;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use domain::ids::PlanId;
use domain::subscriptions::perks::Perk;
use domain::subscriptions::plans::{Billing, CancelRefund, Law, Plan, PlanStatus};
use platform::App;
use platform::http::{Path, Polled, Problem, if_none_match};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const CACHE_CONTROL: &str = "public, max-age=30";

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(plans)).routes(routes!(plan))
}

/// A plan: what whoever subscribes now agrees to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanOut {
    #[schema(value_type = String, example = "pln_01jd8z3v8e7x0m4q2r6t9w1y5b")]
    id: PlanId,
    version: u32,
    /// `offered`, or `withdrawn`: then whoever has it keeps it.
    #[schema(value_type = String)]
    status: PlanStatus,
    name: NamesOut,
    /// For the term, or for each month.
    price: MoneyOut,
    /// `"monthly"`, or `{"once": {"months": 12}}`.
    #[schema(value_type = Object)]
    billing: Billing,
    trial_days: u16,
    /// Such as `{"kind": "presale", "hours": 48}`.
    #[schema(value_type = Vec<Object>)]
    perks: Vec<Perk>,
    /// What cancelling at once gives back by the plan: `none` or `pro_rata`.
    #[schema(value_type = String)]
    cancel_refund: CancelRefund,
    /// A law that gives something back whatever the plan says: `ru_consumer` or `eu_withdrawal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    law: Option<Law>,
    /// Days that perks hold after a renewal that could not be charged.
    grace_days: u8,
    /// Days before each renewal that its notice is sent; 0 for none.
    notice_days: u8,
    /// When a declined renewal is tried again, in days after it was due.
    retry_days: Vec<u8>,
}

impl From<&Plan> for PlanOut {
    fn from(plan: &Plan) -> Self {
        let terms = &plan.terms;
        Self {
            id: plan.id,
            version: plan.version,
            status: plan.status,
            name: (&terms.name).into(),
            price: terms.price.into(),
            billing: terms.billing,
            trial_days: terms.trial_days,
            perks: terms.perks.clone(),
            cancel_refund: terms.cancel_refund,
            law: terms.law,
            grace_days: terms.grace_days,
            notice_days: terms.notice_days,
            retry_days: terms.retry_days.clone(),
        }
    }
}

/// The plans that are offered, the cheapest first. What an administrator changes is seen here at once, and half a minute
/// later wherever the answer was kept.
#[utoipa::path(get, path = "/plans", tag = "subscriptions", responses((status = 200, body = Vec<PlanOut>)))]
async fn plans(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    // Read, and not what this instance knew a minute ago: whoever subscribes gets the terms of now, so nobody should be shown
    // older ones for longer than the answer may be kept. It is one query of one page.
    let mut plans = app.offers.plans().await?;
    plans.retain(|plan| plan.status == PlanStatus::Offered);
    plans.sort_by_key(|plan| (plan.terms.price.currency.code(), plan.terms.price.amount, plan.id));
    let body: Vec<PlanOut> = plans.iter().map(Into::into).collect();
    Ok(([(header::CACHE_CONTROL, CACHE_CONTROL)], axum::Json(body)))
}

/// One plan, withdrawn ones too.
#[utoipa::path(
    get, path = "/plans/{id}", tag = "subscriptions", params(("id" = String, Path), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = PlanOut), (status = 304), (status = 404, description = "`not_found`"))
)]
async fn plan(
    State(app): State<App>,
    Path(id): Path<PlanId>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let plan = app.offers.plan(id).await?.ok_or_else(Problem::not_found)?;
    let (body, etag) = (axum::Json(PlanOut::from(&plan)), plan.version.to_string());
    Ok(Polled { body, etag, cache_control: CACHE_CONTROL, if_none_match: if_none_match(&headers) })
}
