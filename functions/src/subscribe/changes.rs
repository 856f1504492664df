//! What a subscriber asks of a subscription: to cancel it, to go on with it, another plan. All may be repeated: what is so
//! already is left as it is.

use super::views::{SubscriptionOut, problem};
use crate::facts;
use crate::views::{MoneyOut, sentence};
use axum::extract::State as FromApp;
use domain::ids::{PlanId, SubscriptionId, UserId};
use domain::subscriptions::plans::Plan;
use domain::subscriptions::{Charge, Consent, NewPlan, Refused, State, Subscription, Write};
use platform::App;
use platform::http::{Buyer, Json, Path, Problem, Query};
use platform::store::StoreError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Charges that a decision looks at, the latest: more than a period can have.
const CHARGES_READ: u16 = 32;
/// Writes of one decision that lose to others before it is refused.
const WRITE_TRIES_MAX: usize = 4;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(cancel))
        .routes(routes!(quote))
        .routes(routes!(resume))
        .routes(routes!(come_back))
        .routes(routes!(retry))
        .routes(routes!(change_plan))
}

/// When a subscription is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum At {
    #[default]
    End,
    Now,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct CancelIn {
    /// `end` of what is paid for, which is the default, or `now`.
    #[param(value_type = Option<String>)]
    at: Option<At>,
}

/// Cancel: at the end of what is paid for or, with what the plan or the law gives back, at once. What is not paid yet is
/// over at once.
#[utoipa::path(
    delete, path = "/subscriptions/{id}", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = String, Path), CancelIn),
    responses((status = 200, body = SubscriptionOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`past_due`, `subscription_busy`, `changed_meanwhile`"))
)]
async fn cancel(
    FromApp(app): FromApp<App>,
    buyer: Buyer,
    Path(id): Path<SubscriptionId>,
    Query(ask): Query<CancelIn>,
) -> Result<axum::Json<SubscriptionOut>, Problem> {
    let (at, now) = (ask.at.unwrap_or_default(), app.now());
    decided(&app, buyer.id, id, |subscription, charges| match (subscription.state, at) {
        (State::Lapsed, _) if subscription.owed.is_some() => Err(Refused::Busy),
        (State::Lapsed | State::Ended, _) => Ok(None),
        (State::Pending, _) | (_, At::Now) => subscription.cancel_now(charges, now).map(Some),
        (_, At::End) => subscription.cancel_at_end(now),
    })
    .await
}

/// What cancelling at once would give back at this moment.
#[derive(Debug, Serialize, ToSchema)]
struct CancellationQuoteOut {
    refund: MoneyOut,
    /// The rule that decides, such as `ru_zpp_32`; its text, and where it stands.
    rule: &'static str,
    reason: String,
    source: &'static str,
}

/// What cancelling at once would give back.
#[utoipa::path(
    get, path = "/subscriptions/{id}/cancellation-quote", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = CancellationQuoteOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`subscription_over`"))
)]
async fn quote(
    FromApp(app): FromApp<App>,
    buyer: Buyer,
    Path(id): Path<SubscriptionId>,
) -> Result<axum::Json<CancellationQuoteOut>, Problem> {
    let (subscription, charges) = read(&app, buyer.id, id).await?;
    let quote = subscription.cancel_quote(&charges, app.now()).map_err(problem)?;
    let (rule, source) = (quote.rule, quote.source);
    let (refund, reason) = (quote.refund.into(), sentence(quote.reason));
    Ok(axum::Json(CancellationQuoteOut { refund, rule, reason, source }))
}

/// Renew after all what was cancelled to its end.
#[utoipa::path(
    post, path = "/subscriptions/{id}/resume", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = SubscriptionOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`subscription_pending`, `subscription_over`, `subscription_busy`, `past_due`"))
)]
async fn resume(
    FromApp(app): FromApp<App>,
    buyer: Buyer,
    Path(id): Path<SubscriptionId>,
) -> Result<axum::Json<SubscriptionOut>, Problem> {
    let now = app.now();
    decided(&app, buyer.id, id, |subscription, _| subscription.resume(now)).await
}

/// Come back to a lapsed subscription: a new period from now, charged to the saved method.
#[utoipa::path(
    post, path = "/subscriptions/{id}/return", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = SubscriptionOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`subscription_pending`, `past_due`, `subscription_over`, `no_payment_method`, `subscribed_already`"))
)]
async fn come_back(
    FromApp(app): FromApp<App>,
    buyer: Buyer,
    Path(id): Path<SubscriptionId>,
) -> Result<axum::Json<SubscriptionOut>, Problem> {
    let all = app.subscriptions.of_user(buyer.id).await?;
    if all.iter().any(|other| other.id != id && other.occupies()) {
        let is_theirs = all.iter().any(|one| one.id == id);
        return Err(if is_theirs { problem(Refused::SubscribedAlready) } else { Problem::not_found() });
    }
    let now = app.now();
    decided(&app, buyer.id, id, |subscription, _| match subscription.state {
        State::Lapsed if subscription.owed.is_some() => Ok(None),
        State::Trialing | State::Active => Ok(None),
        State::Pending => Err(Refused::Pending),
        State::PastDue => Err(Refused::PastDue),
        State::Lapsed | State::Ended => subscription.come_back(now).map(Some),
    })
    .await
}

/// Try the charge that is past due with the saved method at once.
#[utoipa::path(
    post, path = "/subscriptions/{id}/retry", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = SubscriptionOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`nothing_to_pay`, `too_often`"))
)]
async fn retry(
    FromApp(app): FromApp<App>,
    buyer: Buyer,
    Path(id): Path<SubscriptionId>,
) -> Result<axum::Json<SubscriptionOut>, Problem> {
    let now = app.now();
    decided(&app, buyer.id, id, |subscription, _| match subscription.try_now(now) {
        // It is being tried.
        Err(Refused::Busy) => Ok(None),
        tried => tried.map(Some),
    })
    .await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangePlanIn {
    #[schema(value_type = String)]
    plan_id: PlanId,
    /// The words that were agreed to, as they were shown; 1 to 2,000 characters.
    consent_text: String,
}

/// Change to another monthly plan: a dearer one once the difference for the days left is paid, a cheaper one with the next
/// period. The plan that it has takes back what was to come.
#[utoipa::path(
    put, path = "/subscriptions/{id}/plan", tag = "subscriptions", security(("bearer" = [])), request_body = ChangePlanIn,
    params(("id" = String, Path)),
    responses((status = 200, body = SubscriptionOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`plan_withdrawn`, `subscription_pending`, `subscription_over`, `subscription_busy`, `past_due`, `cancel_asked`, `no_payment_method`, `other_billing`, `too_often`"),
        (status = 422, description = "`invalid`, `other_currency`"))
)]
async fn change_plan(
    FromApp(app): FromApp<App>,
    buyer: Buyer,
    Path(id): Path<SubscriptionId>,
    Json(ask): Json<ChangePlanIn>,
) -> Result<axum::Json<SubscriptionOut>, Problem> {
    app.subscriptions.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    let plan = app.offers.plan(ask.plan_id).await?.ok_or_else(|| Problem::field("/plan_id", "is not a plan"))?;
    let consent = Consent { text: ask.consent_text, at: app.now() };
    decided(&app, buyer.id, id, |subscription, charges| {
        if is_so(subscription, &plan) {
            return Ok(None);
        }
        let new = NewPlan { plan: &plan, consent: consent.clone(), paid: subscription.paid_of(charges) };
        subscription.change_plan(new, consent.at).map(Some)
    })
    .await
}

/// Whether this plan is what it has or is to have.
fn is_so(subscription: &Subscription, plan: &Plan) -> bool {
    match &subscription.change {
        Some(change) => change.plan == plan.reference(),
        None => subscription.plan.id == plan.id && !subscription.is_closed() && subscription.state != State::Pending,
    }
}

async fn read(app: &App, user: UserId, id: SubscriptionId) -> Result<(Subscription, Vec<Charge>), Problem> {
    let subscription = app.subscriptions.get(user, id).await?.ok_or_else(Problem::not_found)?;
    let (charges, _) = app.subscriptions.charges(id, None, CHARGES_READ).await?;
    Ok((subscription, charges))
}

/// Reads, decides and writes, again where somebody else wrote in between; the subscription then. A decision of none leaves it
/// as it is.
async fn decided(
    app: &App,
    user: UserId,
    id: SubscriptionId,
    decide: impl Fn(&Subscription, &[Charge]) -> Result<Option<Write>, Refused>,
) -> Result<axum::Json<SubscriptionOut>, Problem> {
    let out = |subscription: &Subscription| Ok(axum::Json(SubscriptionOut::new(subscription, app.now())));
    for _ in 0..WRITE_TRIES_MAX {
        let (subscription, charges) = read(app, user, id).await?;
        let Some(write) = decide(&subscription, &charges).map_err(problem)? else { return out(&subscription) };
        match facts::save_subscription(app, Some(&subscription), write).await {
            Ok(next) => return out(&next),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict.into())
}
