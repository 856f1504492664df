//! What became of a subscription: its history line by line, and its charges with every try.

use super::views::{PeriodOut, public_reason};
use crate::views::MoneyOut;
use axum::extract::State;
use domain::ids::{PromotionId, RefundId, SubscriptionId, UserId};
use domain::money::Money;
use domain::payments::DisputeState;
use domain::refunds::RefundState;
use domain::subscriptions::{
    Attempt, Charge, ChargeKind, ChargeRef, ChargeRefund, ChargeState, Chargeback, History, HistoryEvent, Outcome,
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

/// Who reads: not everybody may see everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A bank's reason only as its card's holder may see it.
    Subscriber,
    /// The reasons as the bank gave them; where `payments`, the provider's ids too.
    Staff { payments: bool },
}

impl Reader {
    fn reason(self, reason: String) -> String {
        match self {
            Self::Subscriber => public_reason(&reason).to_owned(),
            Self::Staff { .. } => reason,
        }
    }

    fn id(self, id: Option<&String>) -> Option<String> {
        id.filter(|_| self == Self::Staff { payments: true }).cloned()
    }
}

/// One line: what happened, and what belongs to it. `what` is `subscribed`, `promotion_granted`, `promotion_applied`,
/// `trial_began`, `charge_due`, `declined`, `paid`, `charge_dropped`, `reminded`, `card_warned`, `cancel_asked`, `resumed`,
/// `plan_asked`, `plan_changed`, `plan_not_changed`, `method_changed`, `lapsed`, `came_back`, `refund_decided`, `disputed`,
/// `trial_refused`, `promotion_refused` (the card had used them before) or `ended`. `subscribed` and `plan_asked` have what was agreed to, `consent`, with its `text` and when (`at`).
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryOut {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    what: HistoryEvent,
}

impl HistoryOut {
    fn new(line: History, reader: Reader) -> Self {
        let what = match line.what {
            HistoryEvent::Declined { charge, reason, verdict } => {
                HistoryEvent::Declined { charge, reason: reader.reason(reason), verdict }
            }
            other => other,
        };
        Self { at: line.at, what }
    }
}

/// A page of the history of one's subscription, for whoever may read it.
pub async fn page_of_history(
    app: &App,
    (user, id): (UserId, SubscriptionId),
    page: &PageIn,
    reader: Reader,
) -> Result<Page<HistoryOut>, Problem> {
    let cursor = page.cursor.as_deref().map(|text| line_of(text).ok_or_else(no_cursor)).transpose()?;
    let limit = page.limit()?;
    app.subscriptions.get(user, id).await?.ok_or_else(Problem::not_found)?;
    let (lines, next) = app.subscriptions.history(id, cursor, limit).await?;
    let next_cursor = next.map(|(v, nth)| format!("{v}.{nth}"));
    Ok(Page { items: lines.into_iter().map(|line| HistoryOut::new(line, reader)).collect(), next_cursor })
}

/// A page of the charges of one's subscription, for whoever may read it.
pub async fn page_of_charges(
    app: &App,
    (user, id): (UserId, SubscriptionId),
    page: &PageIn,
    reader: Reader,
) -> Result<Page<ChargeOut>, Problem> {
    let cursor = page.cursor.as_deref().map(str::parse::<ChargeRef>).transpose().map_err(|_| no_cursor())?;
    if cursor.is_some_and(|charge| charge.subscription != id) {
        return Err(no_cursor());
    }
    let limit = page.limit()?;
    app.subscriptions.get(user, id).await?.ok_or_else(Problem::not_found)?;
    let (charges, next) = app.subscriptions.charges(id, cursor, limit).await?;
    let items = charges.iter().map(|charge| ChargeOut::new(charge, reader)).collect();
    Ok(Page { items, next_cursor: next.map(|charge| charge.to_string()) })
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
    Ok(axum::Json(page_of_history(&app, (buyer.id, id), &page, Reader::Subscriber).await?))
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
pub struct ChargeOut {
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disputes: Vec<ChargeDisputeOut>,
    /// The provider's id of its payment, for those who look after the books.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
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

impl AttemptOut {
    fn new(attempt: &Attempt, reader: Reader) -> Self {
        let reason = match &attempt.outcome {
            Outcome::Succeeded => None,
            Outcome::Declined { reason, .. } => Some(reader.reason(reason.clone())),
        };
        Self { at: attempt.at, succeeded: reason.is_none(), reason }
    }
}

/// Money of a charge that goes back.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChargeRefundOut {
    #[schema(value_type = String)]
    id: RefundId,
    /// `requested`, `done` or `failed` (a person will see to it).
    #[schema(value_type = String)]
    status: RefundState,
    amount: MoneyOut,
    /// The rule that decided, and where it stands.
    rule: String,
    source: String,
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    /// The provider's id of it, for those who look after the books.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
}

impl ChargeRefundOut {
    pub fn new(charge: &Charge, refund: &ChargeRefund, reader: Reader) -> Self {
        Self {
            id: refund.id,
            status: refund.sent.state,
            amount: Money::new(refund.amount, charge.amount.currency).into(),
            rule: refund.rule.clone(),
            source: refund.source.clone(),
            requested_at: refund.at,
            provider_id: reader.id(refund.sent.provider_refund.as_ref()),
        }
    }
}

/// The payer's bank wants the money of a charge back (a chargeback).
#[derive(Debug, Serialize, ToSchema)]
struct ChargeDisputeOut {
    /// `open`, `won`, or `lost`: then the subscription has ended, and the payer keeps the money.
    #[schema(value_type = String)]
    status: DisputeState,
    amount: MoneyOut,
    /// The provider's id of it, for those who look after the books.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
}

impl ChargeDisputeOut {
    fn new(charge: &Charge, known: &Chargeback, reader: Reader) -> Self {
        let amount = Money::new(known.dispute.amount, charge.amount.currency).into();
        Self { status: known.dispute.state, amount, provider_id: reader.id(Some(&known.dispute.id)) }
    }
}

impl ChargeOut {
    fn new(charge: &Charge, reader: Reader) -> Self {
        let money = |amount| MoneyOut::from(Money::new(amount, charge.amount.currency));
        let off = charge.off.iter().map(|&(promotion_id, off)| OffOut { promotion_id, amount: money(off) });
        Self {
            id: charge.id,
            kind: charge.kind,
            status: charge.state,
            amount: charge.amount.into(),
            period: PeriodOut::of(&charge.term),
            promotions: off.collect(),
            attempts: charge.attempts.iter().map(|attempt| AttemptOut::new(attempt, reader)).collect(),
            refunds: charge.refunds.iter().map(|refund| ChargeRefundOut::new(charge, refund, reader)).collect(),
            disputes: charge.disputes.iter().map(|known| ChargeDisputeOut::new(charge, known, reader)).collect(),
            payment_id: reader.id(charge.intent.as_ref()),
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
    Ok(axum::Json(page_of_charges(&app, (buyer.id, id), &page, Reader::Subscriber).await?))
}
