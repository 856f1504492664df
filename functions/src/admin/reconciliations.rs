//! How the provider's books compare with the journal: the reports of `reconcile`.

use axum::extract::State;
use domain::ids::{OrderId, UserId};
use domain::reconcile::{Difference, Finding, Flow, Report, Sums};
use jiff::Timestamp;
use jiff::civil::Date;
use platform::App;
use platform::http::{Allowed, Page, PageIn, Problem, Query, acts};
use platform::store::is_report_cursor;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(reconciliations))
}

/// One run's comparison of one day (UTC). All amounts are minor units.
#[derive(Debug, Serialize, ToSchema)]
struct ReconciliationOut {
    #[schema(value_type = String, format = Date)]
    day: Date,
    #[schema(value_type = String, format = DateTime)]
    ran_at: Timestamp,
    /// Movements and entries that say the same.
    matched: usize,
    /// Payments, refunds and disputes that were looked at one by one, and those that were too many for it.
    looked_at: usize,
    unlooked: usize,
    /// Refunds that the provider has yet to make, or to fail, and open disputes of subscriptions' charges: the next run looks
    /// at them again.
    awaiting: usize,
    /// Movements that no order knows of, such as payouts.
    others: usize,
    /// All findings, and how many of them the system is healing by itself; the rest is for a person.
    findings_total: usize,
    healing: usize,
    /// What each side moved that day, by currency.
    sums: BTreeMap<String, SumsOut>,
    /// The first 200.
    findings: Vec<FindingOut>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SumsOut {
    /// Payments gross, refunds, disputes with their fees.
    provider: i64,
    journal: i64,
    /// What the provider took for payments; the journal does not have it.
    fees: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct FindingOut {
    /// `missing_here`, `missing_there` or `amount_differs`.
    #[schema(value_type = String)]
    difference: Difference,
    /// `capture`, `refund`, `refund_reversed`, `dispute_withdrawn`, `dispute_reinstated` or `dispute_lost`.
    #[schema(value_type = String)]
    flow: Flow,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The provider's id of the charge, refund or dispute, or the journal's key.
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    order_id: Option<OrderId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    currency: &'static str,
    provider: i64,
    journal: i64,
    /// Whether the order was told to look; the next run says whether that was enough.
    healing: bool,
    note: String,
}

impl From<Report> for ReconciliationOut {
    fn from(report: Report) -> Self {
        let sums = |Sums { provider, journal, fees }| SumsOut { provider, journal, fees };
        Self {
            day: report.day,
            ran_at: report.ran_at,
            matched: report.matched,
            looked_at: report.looked_at,
            unlooked: report.unlooked,
            awaiting: report.awaiting.len(),
            others: report.others,
            findings_total: report.findings_total,
            healing: report.healing,
            sums: report.sums.into_iter().map(|(currency, of)| (currency, sums(of))).collect(),
            findings: report.findings.into_iter().map(FindingOut::from).collect(),
        }
    }
}

impl From<Finding> for FindingOut {
    fn from(finding: Finding) -> Self {
        Self {
            difference: finding.difference,
            flow: finding.flow,
            at: finding.at,
            reference: finding.reference,
            payment: finding.payment,
            order_id: finding.order,
            user_id: finding.buyer,
            currency: finding.currency.code(),
            provider: finding.provider,
            journal: finding.journal,
            healing: finding.healing,
            note: finding.note,
        }
    }
}

/// How the provider's books compare with the journal, the latest day first.
#[utoipa::path(
    get, path = "/admin/reconciliations", tag = "admin", security(("bearer" = [])), params(PageIn),
    responses((status = 200, body = Page<ReconciliationOut>), (status = 403, description = "`forbidden`"),
        (status = 422, description = "`invalid`: a limit or cursor that is none"))
)]
async fn reconciliations(
    State(app): State<App>,
    _: Allowed<acts::ReadReconciliations>,
    Query(page): Query<PageIn>,
) -> Result<axum::Json<Page<ReconciliationOut>>, Problem> {
    let limit = page.limit()?;
    if page.cursor.as_deref().is_some_and(|cursor| !is_report_cursor(cursor)) {
        return Err(Problem::field("/cursor", "is not a cursor of this list"));
    }
    let (reports, next_cursor) = app.desk.reports(page.cursor, limit).await?;
    Ok(axum::Json(Page { items: reports.into_iter().map(ReconciliationOut::from).collect(), next_cursor }))
}
