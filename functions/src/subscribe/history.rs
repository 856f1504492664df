//! What became of a subscription: its history line by line, and its charges with every try.

use super::views::{PeriodOut, public_reason};
use crate::views::MoneyOut;
use axum::extract::State;
use domain::ids::{PromotionId, RefundId, SubscriptionId};
use domain::money::Money;
use domain::subscriptions::{
    Attempt, Charge, ChargeKind, ChargeRef, ChargeRefundState, ChargeState, History, HistoryEvent, Outcome,
};
use jiff::Timestamp;
use platform::App;
use platform::http::{Buyer, Page, PageIn, Path, Problem, Query};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(history)).routes(routes!(charges))
}

/// One line: what happened, and what belongs to it. `what` is `subscribed`, `promotion_granted`, `promotion_applied`,
/// `trial_began`, `charge_due`, `declined`, `paid`, `charge_dropped`, `reminded`, `card_warned`, `cancel_asked`, `resumed`,
/// `plan_asked`, `plan_changed`, `plan_not_changed`, `method_changed`, `lapsed`, `came_back`, `refund_decided` or `ended`.
#[derive(Debug, Serialize, ToSchema)]
struct HistoryOut {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    what: HistoryEvent,
}

impl From<History> for HistoryOut {
    fn from(line: History) -> Self {
        let what = match line.what {
            HistoryEvent::Declined { charge, reason, verdict } => {
                HistoryEvent::Declined { charge, reason: public_reason(&reason).to_owned(), verdict }
            }
            other => other,
        };
        Self { at: line.at, what }
    }
}

/// What happened to a subscription, the latest first.
#[utoipa::path(
    get, path = "/subscriptions/{id}/history", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = String, Path), PageIn),
    responses((status = 200, body = Page<HistoryOut>), (status = 404, description = "`not_found`"))
)]
async fn history(
    State(app): State<App>,
    buyer: Buyer,
    Path(id): Path<SubscriptionId>,
    Query(page): Query<PageIn>,
) -> Result<axum::Json<Page<HistoryOut>>, Problem> {
    let cursor = page.cursor.as_deref().map(|text| line_of(text).ok_or_else(no_cursor)).transpose()?;
    let limit = page.limit()?;
    app.subscriptions.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    let (lines, next) = app.subscriptions.history(id, cursor, limit).await?;
    let next_cursor = next.map(|(v, nth)| format!("{v}.{nth}"));
    Ok(axum::Json(Page { items: lines.into_iter().map(Into::into).collect(), next_cursor }))
}

/// The version and the place in it that a cursor names.
fn line_of(cursor: &str) -> Option<(u64, u8)> {
    let (v, nth) = cursor.split_once('.')?;
    Some((v.parse().ok()?, nth.parse().ok()?))
}

fn no_cursor() -> Problem {
    Problem::field("/cursor", "is not a cursor of this list")
}

/// A charge: one a period, or for the difference to a dearer plan.
#[derive(Debug, Serialize, ToSchema)]
struct ChargeOut {
    #[schema(value_type = String)]
    id: ChargeRef,
    /// `first`, `renewal` or `proration`.
    #[schema(value_type = String)]
    kind: ChargeKind,
    /// `open`, `succeeded`, `failed` or `cancelled`.
    #[schema(value_type = String)]
    status: ChargeState,
    amount: MoneyOut,
    /// The time that it is for; of a first charge it is known once it is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<PeriodOut>,
    /// What promotions took off.
    promotions: Vec<OffOut>,
    attempts: Vec<AttemptOut>,
    refunds: Vec<ChargeRefundOut>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OffOut {
    #[schema(value_type = String)]
    promotion_id: PromotionId,
    amount: MoneyOut,
}

#[derive(Debug, Serialize, ToSchema)]
struct AttemptOut {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    succeeded: bool,
    /// Why it was declined.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<&Attempt> for AttemptOut {
    fn from(attempt: &Attempt) -> Self {
        let reason = match &attempt.outcome {
            Outcome::Succeeded => None,
            Outcome::Declined { reason, .. } => Some(public_reason(reason).to_owned()),
        };
        Self { at: attempt.at, succeeded: reason.is_none(), reason }
    }
}

/// Money of a charge that goes back.
#[derive(Debug, Serialize, ToSchema)]
struct ChargeRefundOut {
    #[schema(value_type = String)]
    id: RefundId,
    /// `requested`, `done` or `failed` (a person will see to it).
    #[schema(value_type = String)]
    status: ChargeRefundState,
    amount: MoneyOut,
    /// The rule that decided, and where it stands.
    rule: String,
    source: String,
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
}

impl From<&Charge> for ChargeOut {
    fn from(charge: &Charge) -> Self {
        let money = |amount| MoneyOut::from(Money::new(amount, charge.amount.currency));
        let refunds = charge.refunds.iter().map(|refund| ChargeRefundOut {
            id: refund.id,
            status: refund.state,
            amount: money(refund.amount),
            rule: refund.rule.clone(),
            source: refund.source.clone(),
            requested_at: refund.at,
        });
        let off = charge.off.iter().map(|&(promotion_id, off)| OffOut { promotion_id, amount: money(off) });
        Self {
            id: charge.id,
            kind: charge.kind,
            status: charge.state,
            amount: charge.amount.into(),
            period: PeriodOut::of(&charge.term),
            promotions: off.collect(),
            attempts: charge.attempts.iter().map(Into::into).collect(),
            refunds: refunds.collect(),
        }
    }
}

/// The charges of a subscription, the latest first.
#[utoipa::path(
    get, path = "/subscriptions/{id}/charges", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = String, Path), PageIn),
    responses((status = 200, body = Page<ChargeOut>), (status = 404, description = "`not_found`"))
)]
async fn charges(
    State(app): State<App>,
    buyer: Buyer,
    Path(id): Path<SubscriptionId>,
    Query(page): Query<PageIn>,
) -> Result<axum::Json<Page<ChargeOut>>, Problem> {
    let cursor = page.cursor.as_deref().map(str::parse::<ChargeRef>).transpose().map_err(|_| no_cursor())?;
    if cursor.is_some_and(|charge| charge.subscription != id) {
        return Err(no_cursor());
    }
    let limit = page.limit()?;
    app.subscriptions.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    let (charges, next) = app.subscriptions.charges(id, cursor, limit).await?;
    let items = charges.iter().map(ChargeOut::from).collect();
    Ok(axum::Json(Page { items, next_cursor: next.map(|charge| charge.to_string()) }))
}
