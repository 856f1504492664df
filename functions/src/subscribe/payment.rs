//! Paying, and saving a method: one payment a charge, created unconfirmed, saved, then given out. What comes of it is
//! `settle`'s.

use super::views::problem;
use crate::facts;
use crate::provider::{self, PayAt};
use axum::extract::State as FromApp;
use domain::ids::SubscriptionId;
use domain::payments::{Payment, PaymentStatus, Setup, SetupStatus};
use domain::subscriptions::plans::Billing;
use domain::subscriptions::{Charge, ChargeRef, ChargeState, Refused, State, Subscription};
use platform::App;
use platform::http::{Buyer, Created, IdempotencyKey, Path, Problem};
use platform::payments::{GatewayError, NewPeriodPayment, NewSetup, Payer};
use platform::store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Writes of a charge that lose to others, and payments that were cancelled, before a request is refused.
const TRIES_MAX: usize = 4;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(pay)).routes(routes!(change_method))
}

/// What a client needs to pay, or to save a method, with the provider's own page or library.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionPaymentOut {
    /// The provider's id of the payment to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
    /// The provider's id of the setup to be confirmed, where nothing is paid now.
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_id: Option<String>,
    /// The charge that is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    charge_id: Option<ChargeRef>,
    #[schema(example = "stripe")]
    provider: &'static str,
    /// `waiting`, `declined`, `needs_action`, `processing`, `captured`, `succeeded` (of a setup) or `cancelled`.
    #[schema(value_type = String)]
    status: Status,
    client_secret: String,
    publishable_key: String,
    api_base: String,
    /// A page where a person can pay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pay_url: Option<String>,
    /// The saved method to confirm with, where the payment is one that was tried while its payer was away.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_method_id: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
enum Status {
    Payment(PaymentStatus),
    Setup(SetupStatus),
}

/// Pay the charge that a subscription waits for, or confirm at the bank what was tried in one's absence. Where it waits for
/// none, its last charge is told as it was paid.
#[utoipa::path(
    post, path = "/subscriptions/{id}/payment", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses((status = 201, body = SubscriptionPaymentOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`nothing_to_pay`, `no_payment_method`"),
        (status = 503, description = "`payment_provider_unavailable`"))
)]
async fn pay(
    FromApp(app): FromApp<App>,
    buyer: Buyer,
    // A charge has one payment: asking again, with whatever key, is told of the same.
    _key: IdempotencyKey,
    Path(id): Path<SubscriptionId>,
) -> Result<Created<SubscriptionPaymentOut>, Problem> {
    let subscription = app.subscriptions.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    let out = match needed(&app, &subscription).await? {
        Some(out) => Some(out),
        // Whoever repeats the request is answered as before, though it was paid since.
        None => last_paid(&app, &subscription).await?,
    };
    out.map(Created).ok_or_else(|| problem(Refused::ChargeClosed))
}

/// Save another method of payment: confirm the setup at the provider. What is past due is then tried with it at once.
#[utoipa::path(
    put, path = "/subscriptions/{id}/payment-method", tag = "subscriptions", security(("bearer" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = SubscriptionPaymentOut), (status = 404, description = "`not_found`"),
        (status = 409, description = "`subscription_pending`, `subscription_over`"),
        (status = 503, description = "`payment_provider_unavailable`"))
)]
async fn change_method(
    FromApp(app): FromApp<App>,
    buyer: Buyer,
    Path(id): Path<SubscriptionId>,
) -> Result<axum::Json<SubscriptionPaymentOut>, Problem> {
    let subscription = app.subscriptions.get(buyer.id, id).await?.ok_or_else(Problem::not_found)?;
    match subscription.state {
        State::Ended => return Err(problem(Refused::Over)),
        State::Pending if subscription.owed.is_some() => return Err(problem(Refused::Pending)),
        _ => {}
    }
    Ok(axum::Json(set_up(&app, &subscription).await?))
}

/// How to do what a subscription waits for: pay its charge or, where it begins for nothing, save a method. None where it
/// waits for nobody, or does no more since it was read.
pub async fn needed(app: &App, subscription: &Subscription) -> Result<Option<SubscriptionPaymentOut>, Problem> {
    match (&subscription.owed, subscription.state) {
        (Some(owed), _) => {
            let Some((charge, payment)) = ensure_payment(app, subscription, owed.charge).await? else {
                return Ok(None);
            };
            Ok(Some(payment_out(app, subscription, &charge, payment)?))
        }
        (None, State::Pending) => Ok(Some(set_up(app, subscription).await?)),
        (None, _) => Ok(None),
    }
}

/// The last charge of a subscription with its payment; none where it was not paid.
async fn last_paid(app: &App, subscription: &Subscription) -> Result<Option<SubscriptionPaymentOut>, Problem> {
    let (last, _) = app.subscriptions.charges(subscription.id, None, 1).await?;
    let Some(charge) = last.first().filter(|charge| charge.state == ChargeState::Succeeded) else { return Ok(None) };
    let Some(intent) = &charge.intent else { return Ok(None) };
    let payment = app.gateway.fetch(intent).await.map_err(unavailable)?;
    payment.map(|payment| payment_out(app, subscription, charge, payment)).transpose()
}

/// The charge with its one payment: the one it has, or a new one whose id is saved before its secret is given out. None
/// where it is closed.
async fn ensure_payment(
    app: &App,
    subscription: &Subscription,
    id: ChargeRef,
) -> Result<Option<(Charge, Payment)>, Problem> {
    for _ in 0..TRIES_MAX {
        let Some(charge) = app.subscriptions.charge(id).await? else { return Ok(None) };
        if let Some(intent) = &charge.intent {
            let payment = app.gateway.fetch(intent).await.map_err(unavailable)?;
            let payment = payment.ok_or_else(|| Problem::internal("the charge's payment is not at the provider"))?;
            if payment.status != PaymentStatus::Cancelled {
                return Ok(Some((charge, payment)));
            }
        }
        if charge.state != ChargeState::Open {
            return Ok(None);
        }
        let payment = create(app, subscription, &charge).await?;
        match facts::save_charge(app, charge.with_intent(payment.id.clone()), None).await {
            Ok(charge) => return Ok(Some((charge, payment))),
            // Two started at once, or settle came first: whichever payment is saved is the charge's.
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::busy("others wrote the charge first again and again"))
}

async fn create(app: &App, subscription: &Subscription, charge: &Charge) -> Result<Payment, Problem> {
    let customer = match (charge.off_session, subscription.terms.billing) {
        (true, _) => {
            let method = subscription.method.as_ref().ok_or_else(|| problem(Refused::NoMethod))?;
            Some(method.customer.clone())
        }
        (false, Billing::Monthly) => Some(customer(app, subscription).await?),
        (false, Billing::Once { .. }) => None,
    };
    let payer = match &customer {
        None => Payer::Once,
        Some(customer) if charge.off_session => Payer::Saved(customer),
        Some(customer) => Payer::Saving(customer),
    };
    let (user, id, period) = (subscription.user, subscription.id.to_string(), charge.payment_period());
    let new = NewPeriodPayment { user, subscription: &id, period: &period, amount: charge.amount, payer };
    app.gateway.create_for_period(&new).await.map_err(unavailable)
}

/// Begins to save a method. The same setup is given until the subscription changes.
async fn set_up(app: &App, subscription: &Subscription) -> Result<SubscriptionPaymentOut, Problem> {
    let (customer, id) = (customer(app, subscription).await?, subscription.id.to_string());
    let mut key = format!("{id}.{}", subscription.v);
    for _ in 0..TRIES_MAX {
        let new = NewSetup { user: subscription.user, subscription: &id, customer: &customer, key: &key };
        let made = app.gateway.set_up(&new).await.map_err(unavailable)?;
        // The same key is answered with what it made: how that stands now is to be asked for.
        let setup = app.gateway.fetch_setup(&made.id).await.map_err(unavailable)?.unwrap_or(made);
        if setup.status != SetupStatus::Cancelled {
            return setup_out(app, setup);
        }
        key = format!("{key}.{}", setup.id);
    }
    Err(Problem::busy("each setup was cancelled"))
}

/// The provider's customer: the one of a method that this subscriber saved, or the one that is theirs by their id.
async fn customer(app: &App, subscription: &Subscription) -> Result<String, Problem> {
    let mut known = subscription.method.as_ref().map(|method| method.customer.clone());
    if known.is_none() {
        let all = app.subscriptions.of_user(subscription.user).await?;
        known = all.into_iter().find_map(|one| one.method).map(|method| method.customer);
    }
    app.gateway.customer(subscription.user, known.as_deref()).await.map_err(unavailable)
}

fn payment_out(
    app: &App,
    subscription: &Subscription,
    charge: &Charge,
    payment: Payment,
) -> Result<SubscriptionPaymentOut, Problem> {
    let saved = subscription.method.as_ref().filter(|_| charge.off_session);
    let at = provider::pay_at(app, &payment.id, &payment.client_secret)?;
    Ok(SubscriptionPaymentOut {
        payment_id: Some(payment.id),
        charge_id: Some(charge.id),
        payment_method_id: saved.map(|method| method.id.clone()),
        ..base(app, Status::Payment(payment.status), payment.client_secret, at)
    })
}

fn setup_out(app: &App, setup: Setup) -> Result<SubscriptionPaymentOut, Problem> {
    let at = provider::pay_at(app, &setup.id, &setup.client_secret)?;
    let out = base(app, Status::Setup(setup.status), setup.client_secret, at);
    Ok(SubscriptionPaymentOut { setup_id: Some(setup.id), ..out })
}

fn base(app: &App, status: Status, client_secret: String, at: PayAt) -> SubscriptionPaymentOut {
    let PayAt { publishable_key, api_base, pay_url } = at;
    SubscriptionPaymentOut {
        payment_id: None,
        setup_id: None,
        charge_id: None,
        provider: app.gateway.name(),
        status,
        client_secret,
        publishable_key,
        api_base,
        pay_url,
        payment_method_id: None,
    }
}

/// What a subscriber is told when the provider cannot be asked.
fn unavailable(error: GatewayError) -> Problem {
    provider::unavailable(&error, "Nothing is lost")
}
