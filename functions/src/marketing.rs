//! `marketing`: promotions on plans, what has been counted of them, and the segments that they are for.

use crate::subscribe::views::NamesOut;
use crate::views::MoneyOut;
use axum::extract::State;
use domain::ids::{self, PlanId, PromotionId, UserId};
use domain::layout::Invalid;
use domain::money::Money;
use domain::subscriptions::plans::Names;
use domain::subscriptions::promotions::{
    Audience, Counted, Gift, PLANS_MAX, Promotion, SEGMENT_CHARS_MAX, canonical_code,
};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use platform::App;
use platform::http::{Allowed, Created, FieldError, IdempotencyKey, Json, Path, Problem, acts, fingerprint, finish};
use platform::store::{LISTED_MAX, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Counters of promotions that are read at once.
const COUNTERS_AT_ONCE_MAX: usize = 8;
/// Segments that one person may be in.
const SEGMENTS_MAX: usize = 50;

pub fn routes(app: App) -> OpenApiRouter {
    let router = OpenApiRouter::new()
        .routes(routes!(create_promotion, promotions))
        .routes(routes!(promotion, change_promotion))
        .routes(routes!(stop_promotion))
        .routes(routes!(set_segments));
    finish(app, router)
}

/// A code, or an offer without one that everybody gets whom it is for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PromotionIn {
    /// `{"ru": …, "en": …}`.
    #[schema(value_type = NamesOut)]
    name: Names,
    /// 4 to 32 letters and digits; blanks, dashes and case do not matter.
    code: Option<String>,
    /// `{"percent": 5000}` (ten-thousandths), `{"amount": {"amount": 500, "currency": "EUR"}}` or `{"free_months": 2}`.
    #[schema(value_type = Object)]
    gift: Gift,
    /// How many of the first payments it lowers, 1 to 36; of free months, 1.
    #[serde(default = "one")]
    periods: u8,
    /// Of these plans; of all when empty.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    plans: Vec<PlanId>,
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    /// `"everyone"`, `"new"` (never had a subscription), `"lapsed"` (had one, and has none) or `{"segment": …}`.
    #[schema(value_type = Object)]
    audience: Audience,
    #[serde(default = "one")]
    per_person_max: u8,
    /// The first so many.
    redemptions_max: Option<u32>,
    /// The most that it may cost in all.
    #[schema(value_type = Option<MoneyOut>)]
    budget: Option<Money>,
    /// Whether it may be combined with others that may.
    #[serde(default)]
    stackable: bool,
}

fn one() -> u8 {
    1
}

impl PromotionIn {
    fn promotion(self, id: PromotionId, request: String) -> Promotion {
        let code = self.code.as_deref().map(canonical_code);
        let Self { name, gift, periods, plans, from, until, audience, per_person_max, redemptions_max, .. } = self;
        let (v, stopped, budget, stackable) = (1, false, self.budget, self.stackable);
        Promotion {
            id,
            v,
            name,
            code,
            gift,
            periods,
            plans,
            from,
            until,
            audience,
            per_person_max,
            redemptions_max,
            budget,
            stackable,
            stopped,
            request,
        }
    }
}

/// A promotion, and what has been counted of it.
#[derive(Debug, Serialize, ToSchema)]
struct PromotionOut {
    #[schema(value_type = String)]
    id: PromotionId,
    version: u64,
    name: NamesOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[schema(value_type = Object)]
    gift: Gift,
    periods: u8,
    #[schema(value_type = Vec<String>)]
    plans: Vec<PlanId>,
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    #[schema(value_type = Object)]
    audience: Audience,
    per_person_max: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    redemptions_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<MoneyOut>,
    stackable: bool,
    stopped: bool,
    counted: CountedOut,
}

#[derive(Debug, Serialize, ToSchema)]
struct CountedOut {
    /// Subscriptions that were given it and did not end unpaid.
    redemptions: u32,
    /// What they may cost or have cost, in minor units of the plans' currency; of a promotion that is bound to none, a sum over
    /// whatever currencies they have.
    reserved: i64,
}

impl PromotionOut {
    fn new(promotion: Promotion, counted: Counted) -> Self {
        Self {
            id: promotion.id,
            version: promotion.v,
            name: (&promotion.name).into(),
            code: promotion.code,
            gift: promotion.gift,
            periods: promotion.periods,
            plans: promotion.plans,
            from: promotion.from,
            until: promotion.until,
            audience: promotion.audience,
            per_person_max: promotion.per_person_max,
            redemptions_max: promotion.redemptions_max,
            budget: promotion.budget.map(Into::into),
            stackable: promotion.stackable,
            stopped: promotion.stopped,
            counted: CountedOut { redemptions: counted.redemptions, reserved: counted.reserved },
        }
    }
}

/// Make a promotion.
#[utoipa::path(
    post, path = "/marketing/promotions", tag = "marketing", security(("bearer" = [])), request_body = PromotionIn,
    params(("Idempotency-Key" = String, Header)),
    responses((status = 201, body = PromotionOut), (status = 403, description = "`forbidden`"),
        (status = 409, description = "`code_taken`, `too_many_promotions`, `idempotency_key_reused`"),
        (status = 422, description = "`invalid`, with a pointer to each fault"))
)]
async fn create_promotion(
    State(app): State<App>,
    staff: Allowed<acts::ManagePromotions>,
    IdempotencyKey(key): IdempotencyKey,
    Json(ask): Json<PromotionIn>,
) -> Result<Created<PromotionOut>, Problem> {
    let id = PromotionId(ids::keyed(&staff.user.to_string(), "POST /marketing/promotions", &key));
    let new = ask.clone().promotion(id, fingerprint(&ask));
    if let Some(known) = app.offers.promotion(id).await? {
        return again(&app, known, &new).await;
    }
    check(&app, &new).await?;
    if app.offers.promotions().await?.len() >= LISTED_MAX {
        let detail = format!("There are {LISTED_MAX} promotions, past ones included, and there can be no more.");
        return Err(Problem::conflict("too_many_promotions", detail));
    }
    match app.offers.put_promotion(&new).await {
        Ok(()) => {
            tracing::info!(promotion = %id, staff = %staff.user, "promotion made");
            Ok(Created(PromotionOut::new(new, Counted::default())))
        }
        Err(StoreError::Conflict) => match app.offers.promotion(id).await? {
            Some(known) => again(&app, known, &new).await,
            None => Err(Problem::conflict("code_taken", "Another promotion has, or had, this code.")),
        },
        Err(error) => Err(error.into()),
    }
}

/// The reply to a request whose key made a promotion before.
async fn again(app: &App, known: Promotion, new: &Promotion) -> Result<Created<PromotionOut>, Problem> {
    if known.request == new.request { Ok(Created(figured(app, known).await?)) } else { Err(Problem::key_reused()) }
}

/// Checks what is said of a promotion, and that its plans are plans.
async fn check(app: &App, promotion: &Promotion) -> Result<(), Problem> {
    let mut faults = promotion.validate().err().unwrap_or_default();
    let known: Vec<PlanId> = app.offers.plans().await?.iter().map(|plan| plan.id).collect();
    for (i, plan) in promotion.plans.iter().enumerate().take(PLANS_MAX) {
        if !known.contains(plan) {
            faults.push(Invalid { pointer: format!("/plans/{i}"), message: "is not a plan".into() });
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Problem::invalid(faults.into_iter().map(|fault| FieldError { pointer: fault.pointer, detail: fault.message })))
}

async fn figured(app: &App, promotion: Promotion) -> Result<PromotionOut, StoreError> {
    let counted = app.offers.counted(promotion.id).await?;
    Ok(PromotionOut::new(promotion, counted))
}

/// All promotions, with what has been counted of each.
#[utoipa::path(
    get, path = "/marketing/promotions", tag = "marketing", security(("bearer" = [])),
    responses((status = 200, body = Vec<PromotionOut>), (status = 403, description = "`forbidden`"))
)]
async fn promotions(
    State(app): State<App>,
    _: Allowed<acts::ManagePromotions>,
) -> Result<axum::Json<Vec<PromotionOut>>, Problem> {
    let all = futures_util::stream::iter(app.offers.promotions().await?);
    let figured = all.map(|promotion| figured(&app, promotion)).buffered(COUNTERS_AT_ONCE_MAX);
    Ok(axum::Json(figured.try_collect().await?))
}

/// One promotion, with what has been counted of it.
#[utoipa::path(
    get, path = "/marketing/promotions/{id}", tag = "marketing", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = PromotionOut), (status = 404, description = "`not_found`"))
)]
async fn promotion(
    State(app): State<App>,
    _: Allowed<acts::ManagePromotions>,
    Path(id): Path<PromotionId>,
) -> Result<axum::Json<PromotionOut>, Problem> {
    let promotion = app.offers.promotion(id).await?.ok_or_else(Problem::not_found)?;
    Ok(axum::Json(figured(&app, promotion).await?))
}

/// Change a promotion for those who are given it from now on. Its code and its currency stay.
#[utoipa::path(
    put, path = "/marketing/promotions/{id}", tag = "marketing", security(("bearer" = [])), request_body = PromotionIn,
    params(("id" = String, Path)),
    responses((status = 200, body = PromotionOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`changed_meanwhile`"), (status = 422, description = "`invalid`, with a pointer to each fault"))
)]
async fn change_promotion(
    State(app): State<App>,
    staff: Allowed<acts::ManagePromotions>,
    Path(id): Path<PromotionId>,
    Json(ask): Json<PromotionIn>,
) -> Result<axum::Json<PromotionOut>, Problem> {
    let known = app.offers.promotion(id).await?.ok_or_else(Problem::not_found)?;
    let mut next = ask.promotion(id, known.request.clone());
    (next.v, next.stopped) = (known.v, known.stopped);
    if next == known {
        return Ok(axum::Json(figured(&app, known).await?));
    }
    if next.code != known.code {
        return Err(Problem::field("/code", "stays as it was: make another promotion"));
    }
    if next.currency() != known.currency() {
        return Err(Problem::field("/budget", "the currency stays as it was: make another promotion"));
    }
    next.v += 1;
    check(&app, &next).await?;
    app.offers.save_promotion(&next).await?;
    tracing::info!(promotion = %id, staff = %staff.user, "promotion changed");
    Ok(axum::Json(figured(&app, next).await?))
}

/// Give a promotion to nobody any more; whoever has it keeps it. Stopping twice is stopping once.
#[utoipa::path(
    post, path = "/marketing/promotions/{id}/stop", tag = "marketing", security(("bearer" = [])), params(("id" = String, Path)),
    responses((status = 200, body = PromotionOut), (status = 404, description = "`not_found`"), (status = 409, description = "`changed_meanwhile`"))
)]
async fn stop_promotion(
    State(app): State<App>,
    staff: Allowed<acts::ManagePromotions>,
    Path(id): Path<PromotionId>,
) -> Result<axum::Json<PromotionOut>, Problem> {
    let known = app.offers.promotion(id).await?.ok_or_else(Problem::not_found)?;
    if known.stopped {
        return Ok(axum::Json(figured(&app, known).await?));
    }
    let next = Promotion { v: known.v + 1, stopped: true, ..known };
    app.offers.save_promotion(&next).await?;
    tracing::info!(promotion = %id, staff = %staff.user, "promotion stopped");
    Ok(axum::Json(figured(&app, next).await?))
}

/// The segments that somebody is in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Segments {
    /// At most 50 names of 1 to 64 characters, as promotions name them.
    segments: Vec<String>,
}

/// Put somebody into these segments, and no others.
#[utoipa::path(
    put, path = "/marketing/users/{id}/segments", tag = "marketing", security(("bearer" = [])), request_body = Segments,
    params(("id" = String, Path)),
    responses((status = 200, body = Segments), (status = 403, description = "`forbidden`"), (status = 422, description = "`invalid`"))
)]
async fn set_segments(
    State(app): State<App>,
    staff: Allowed<acts::ManagePromotions>,
    Path(id): Path<UserId>,
    Json(ask): Json<Segments>,
) -> Result<axum::Json<Segments>, Problem> {
    if ask.segments.len() > SEGMENTS_MAX {
        return Err(Problem::field("/segments", format!("at most {SEGMENTS_MAX}")));
    }
    let is_bad = |name: &String| !(1..=SEGMENT_CHARS_MAX).contains(&name.chars().count());
    if let Some(i) = ask.segments.iter().position(is_bad) {
        return Err(Problem::field(format!("/segments/{i}"), format!("1 to {SEGMENT_CHARS_MAX} characters")));
    }
    app.offers.set_segments(id, &ask.segments).await?;
    tracing::info!(user = %id, staff = %staff.user, "segments set");
    Ok(axum::Json(ask))
}
