//! Drives a subscription's charge to rest, as `saga` does an order: `domain::subscriptions::Charge::step` decides, and here
//! it is done, one write or one call at a time. The payment is created unconfirmed, its id is saved, and only then is it
//! confirmed; so whoever comes twice, late or after a crash finds the one payment of a period, and looks at it first.

mod back;

pub use back::{disputed, refund_changed};

use crate::facts;
use domain::ids::UserId;
use domain::payments::{Decline, Payment, PaymentStatus, Purpose, SavedMethod, SetupStatus};
use domain::subscriptions::periods::NoSuchDate;
use domain::subscriptions::{
    CardUse, Charge, ChargeKind, ChargeRef, ChargeState, ChargeStep, Method, Refused, Seen, Subscription, dunning,
};
use platform::App;
use platform::payments::{Attempt, GatewayError, NewPeriodPayment, Payer};
use platform::store::StoreError;

/// Steps that one drive takes; the longest way, a try that needs a payment first, has four, and each lost write one more.
const STEPS_MAX: usize = 12;
/// Writes of one subscription or charge that news lose to others before their message is delivered again.
const WRITE_TRIES_MAX: usize = 5;

#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the charge does not come to rest")]
    Restless,
}

impl From<NoSuchDate> for BillingError {
    fn from(error: NoSuchDate) -> Self {
        Self::Refused(error.into())
    }
}

impl From<BillingError> for crate::Error {
    fn from(error: BillingError) -> Self {
        match error {
            BillingError::Store(error) => error.into(),
            BillingError::Gateway(error) => error.into(),
            BillingError::Refused(_) | BillingError::Restless => Self::new(error),
        }
    }
}

/// A charge, whose it is, and its payment: as they were just read.
struct Look {
    subscription: Subscription,
    charge: Charge,
    payment: Option<Payment>,
}

/// What a step leaves behind: the payment, where the provider just answered with it, and whether that was a try of ours.
#[derive(Default)]
struct Done {
    payment: Option<Payment>,
    is_try: bool,
}

impl Done {
    fn seen(payment: Payment) -> Self {
        Self { payment: Some(payment), is_try: false }
    }
}

/// Drives a charge as far as it goes now. `payment` is the provider's, where it was just fetched. `None` if there is no such
/// charge.
pub async fn drive(
    app: &App,
    user: UserId,
    id: ChargeRef,
    payment: Option<Payment>,
) -> Result<Option<Charge>, BillingError> {
    let (mut known, mut is_tried) = (payment, false);
    for _ in 0..STEPS_MAX {
        let Some(look) = look(app, user, id, known.take()).await? else { return Ok(None) };
        let tried = last_try(&look.charge, look.payment.as_ref(), is_tried);
        let seen = look.payment.as_ref().map(|payment| Seen { status: payment.status, last_try: tried.as_deref() });
        let step = look.charge.step(look.subscription.owed.as_ref(), seen);
        if step == ChargeStep::Nothing {
            return Ok(Some(look.charge));
        }
        tracing::info!(charge = %id, state = ?look.charge.state, ?step, "charge step");
        match take(app, &look, step, tried).await {
            Ok(Some(done)) => (known, is_tried) = (done.payment.or(look.payment), done.is_try),
            Ok(None) => return Ok(Some(look.charge)),
            // Somebody else went on with it: look again, at all of it.
            Err(BillingError::Store(StoreError::Conflict) | BillingError::Refused(Refused::ChargeClosed)) => {
                is_tried = false;
            }
            Err(error) => return Err(error),
        }
    }
    Err(BillingError::Restless)
}

async fn look(app: &App, user: UserId, id: ChargeRef, known: Option<Payment>) -> Result<Option<Look>, BillingError> {
    let Some(subscription) = app.subscriptions.get(user, id.subscription).await? else { return Ok(None) };
    let Some(charge) = app.subscriptions.charge(id).await? else { return Ok(None) };
    let payment = match known.filter(|known| charge.intent.as_ref() == Some(&known.id)) {
        Some(known) => Some(known),
        None => fetch_payment(app, &charge).await?,
    };
    Ok(Some(Look { subscription, charge, payment }))
}

/// The payment of a charge whose next step depends on it.
async fn fetch_payment(app: &App, charge: &Charge) -> Result<Option<Payment>, BillingError> {
    let is_known = charge.state == ChargeState::Succeeded || charge.unadopted.is_some();
    let Some(id) = charge.intent.as_deref().filter(|_| !is_known) else { return Ok(None) };
    let missing = || GatewayError::Misconfigured("it does not know a charge's payment".into());
    // Not that there is nothing to pay: money may wait there.
    Ok(Some(app.gateway.fetch(id).await?.ok_or_else(missing)?))
}

/// By what the last try of a payment is known: the provider's id of it, or, where it ended before it had one, a name of
/// ours. `is_ours` says that the payment is what our own try was answered with.
fn last_try(charge: &Charge, payment: Option<&Payment>, is_ours: bool) -> Option<String> {
    let payment = payment?;
    let decline = payment.decline.as_ref()?;
    if decline.charge.is_some() {
        return decline.charge.clone();
    }
    let recorded = charge.attempts.last().filter(|_| charge.declined.as_ref() == Some(decline) && !is_ours);
    Some(recorded.map_or_else(|| name_of_try(charge), |attempt| attempt.id.clone()))
}

fn name_of_try(charge: &Charge) -> String {
    format!("{}.{}", charge.intent.as_deref().unwrap_or("none"), charge.attempts.len() + 1)
}

/// Takes a step; none where there is nothing more to do now.
async fn take(app: &App, look: &Look, step: ChargeStep, tried: Option<String>) -> Result<Option<Done>, BillingError> {
    let Look { subscription, charge, payment } = look;
    let payment = payment.as_ref();
    match step {
        ChargeStep::Nothing => Ok(None),
        // Who pays it is there, and their page asks for its payment.
        ChargeStep::Create if !charge.off_session => Ok(None),
        ChargeStep::Create => create(app, subscription, charge).await,
        ChargeStep::Confirm => confirm(app, subscription, charge).await,
        ChargeStep::Capture => {
            let payment = payment.expect("this step is for a charge with a payment");
            Ok(Some(Done::seen(app.gateway.capture(payment).await?)))
        }
        ChargeStep::Paid => paid(app, look).await,
        ChargeStep::Declined => {
            let told = payment.and_then(|payment| payment.decline.clone()).unwrap_or_else(confirmation_needed);
            let (decline, tried) = (dunning::Decline::from(&told), tried.unwrap_or_else(|| name_of_try(charge)));
            let charge = Charge { declined: Some(told), ..charge.clone() };
            declined(app, subscription, &charge, &tried, &decline).await
        }
        ChargeStep::Cancel => {
            let payment = payment.expect("this step is for a charge with a payment");
            match app.gateway.cancel(&payment.id).await {
                Ok(payment) => Ok(Some(Done::seen(payment))),
                // Paid while nobody looked.
                Err(GatewayError::Refused(_)) => {
                    Ok(Some(Done { payment: app.gateway.fetch(&payment.id).await?, is_try: false }))
                }
                Err(error) => Err(error.into()),
            }
        }
        ChargeStep::PaidLate => {
            let captured = payment.expect("this step is for a charge with a payment").captured;
            let (next, entry) = charge.paid_late(captured, app.now());
            facts::save_charge(app, next, Some(entry)).await?;
            tracing::warn!(charge = %charge.id, captured, "a charge that was given up was paid; it goes back");
            Ok(Some(Done::default()))
        }
        ChargeStep::Refund(id) => back::refund(app, charge, id).await,
    }
}

/// What a payment that waits at its bank's page has not said yet.
fn confirmation_needed() -> Decline {
    Decline {
        code: "authentication_required".into(),
        decline_code: None,
        advice_code: None,
        network_decline_code: None,
        needs_authentication: true,
        charge: None,
    }
}

/// Creates the payment, and saves its id before anybody can be charged by it.
async fn create(app: &App, subscription: &Subscription, charge: &Charge) -> Result<Option<Done>, BillingError> {
    let Some(method) = &subscription.method else { return unusable(app, subscription, charge, "none is saved").await };
    let (name, period) = (charge.id.subscription.to_string(), charge.payment_period());
    let new = NewPeriodPayment {
        user: charge.user,
        subscription: &name,
        period: &period,
        amount: charge.amount,
        payer: Payer::Saved(&method.customer),
    };
    let payment = app.gateway.create_for_period(&new).await?;
    facts::save_charge(app, charge.with_intent(payment.id.clone()), None).await?;
    Ok(Some(Done::seen(payment)))
}

async fn confirm(app: &App, subscription: &Subscription, charge: &Charge) -> Result<Option<Done>, BillingError> {
    let Some(method) = &subscription.method else { return unusable(app, subscription, charge, "none is saved").await };
    let payment = charge.intent.as_deref().expect("this step is for a charge with a payment");
    let number = u32::try_from(charge.attempts.len() + 1).unwrap_or(u32::MAX);
    let attempt = Attempt { payment, method: &method.id, number, after: charge.declined.as_ref() };
    match app.gateway.charge(&attempt).await {
        Ok(payment) => Ok(Some(Done { payment: Some(payment), is_try: true })),
        Err(GatewayError::Refused(cause)) => unusable(app, subscription, charge, &cause).await,
        Err(error) => Err(error.into()),
    }
}

/// Records a try that no bank was asked for, since there is no method to try.
async fn unusable(
    app: &App,
    subscription: &Subscription,
    charge: &Charge,
    why: &str,
) -> Result<Option<Done>, BillingError> {
    tracing::warn!(charge = %charge.id, why, "the saved method cannot be charged");
    declined(app, subscription, charge, &name_of_try(charge), &dunning::Decline::method_unusable()).await
}

async fn declined(
    app: &App,
    subscription: &Subscription,
    charge: &Charge,
    tried: &str,
    decline: &dunning::Decline,
) -> Result<Option<Done>, BillingError> {
    let write = subscription.charge_declined(charge, tried, decline, app.now())?;
    let Some(write) = write else { return Ok(None) };
    facts::save_subscription(app, Some(subscription), write).await?;
    tracing::info!(charge = %charge.id, reason = decline.reason(), verdict = ?decline.verdict(), "charge declined");
    Ok(Some(Done::default()))
}

async fn paid(app: &App, look: &Look) -> Result<Option<Done>, BillingError> {
    let Look { subscription, charge, payment } = look;
    let found = match payment.as_ref().and_then(|payment| payment.method.as_deref()) {
        Some(method) if is_news(subscription, charge, method) => app.gateway.method(method).await?,
        _ => None,
    };
    let card = card_use(app, subscription, found.as_ref()).await?;
    let write = subscription.charge_paid_by(charge, found.and_then(saved), card.as_ref(), app.now())?;
    facts::save_subscription(app, Some(subscription), write).await?;
    tracing::info!(charge = %charge.id, amount = charge.amount.amount, "charge paid");
    Ok(Some(Done::default()))
}

/// What was used before with the card that a subscription begins with; none where it had begun, or it is no card.
async fn card_use(
    app: &App,
    subscription: &Subscription,
    found: Option<&SavedMethod>,
) -> Result<Option<CardUse>, StoreError> {
    let fingerprint = found.and_then(|found| found.fingerprint.as_deref());
    let Some(fingerprint) = fingerprint.filter(|_| subscription.started_at.is_none()) else { return Ok(None) };
    let promotions: Vec<_> = subscription.promotions.iter().map(|granted| granted.promotion).collect();
    app.offers.card_use(fingerprint, &promotions).await.map(Some)
}

/// Whether what a charge was paid with is worth a call: it may be new, or a card that its bank has renewed by itself.
fn is_news(subscription: &Subscription, charge: &Charge, method: &str) -> bool {
    let known = subscription.method.as_ref().filter(|known| known.id == method);
    charge.kind == ChargeKind::First || known.is_none_or(|known| known.expires_before(charge.term.to))
}

/// A method as a subscription keeps it; none where the provider does not keep it for its customer.
fn saved(found: SavedMethod) -> Option<Method> {
    let SavedMethod { id, customer, brand, last4, exp_month, exp_year, fingerprint } = found;
    Some(Method { customer: customer?, id, brand, last4, exp_year, exp_month, fingerprint })
}

/// The charge that a payment is for, and whose it is; none where it is an order's.
pub fn charge_of(payment: &Payment) -> Option<(UserId, ChargeRef)> {
    match &payment.purpose {
        Purpose::Order { .. } => None,
        Purpose::Subscription { user, subscription, period } => {
            Some((*user, ChargeRef::of_payment(subscription, period)?))
        }
    }
}

/// The provider has news of the payment of a period.
pub async fn payment_changed(app: &App, payment: Payment) -> Result<(), BillingError> {
    let Some((user, id)) = charge_of(&payment) else { return Ok(()) };
    let Some(charge) = app.subscriptions.charge(id).await? else { return Ok(()) };
    if charge.intent.as_deref() == Some(payment.id.as_str()) {
        return drive(app, user, id, Some(payment)).await.map(drop);
    }
    // A payment that no charge took on, since another was saved for it: nobody was given its secret.
    if payment.status == PaymentStatus::Authorised {
        app.gateway.cancel(&payment.id).await?;
    }
    Ok(())
}

/// A method was saved by itself: it begins a subscription whose first period is free, or takes the place of another, which is
/// forgotten then.
pub async fn setup_changed(app: &App, id: &str) -> Result<(), BillingError> {
    let Some(setup) = app.gateway.fetch_setup(id).await? else { return Ok(()) };
    let (SetupStatus::Succeeded, Some(method)) = (setup.status, setup.method) else { return Ok(()) };
    let Ok(subscription) = setup.subscription.parse() else { return Ok(()) };
    for _ in 0..WRITE_TRIES_MAX {
        let Some(before) = app.subscriptions.get(setup.user, subscription).await? else { return Ok(()) };
        // The same news again, or those of the method that has been replaced by now.
        let is_known = before.method.as_ref().is_some_and(|known| known.id == method);
        if is_known || before.replaced.as_ref() == Some(&method) {
            return forget(app, before.replaced.as_deref()).await;
        }
        let found = app.gateway.method(&method).await?;
        let card = card_use(app, &before, found.as_ref()).await?;
        let Some(found) = found.and_then(saved) else { return Ok(()) };
        let mut write = match before.method_saved_by(found, card.as_ref(), app.now()) {
            Ok(write) => write,
            Err(Refused::Over) => return forget(app, Some(&method)).await,
            // A try with the old one is under way: its end is written first.
            Err(Refused::Busy) => return Err(StoreError::Busy("a charge is under way".into()).into()),
            Err(refused) => return Err(refused.into()),
        };
        let old = before.method.as_ref().map(|old| old.id.clone());
        write.subscription.replaced = old.clone();
        match facts::save_subscription(app, Some(&before), write).await {
            Ok(_) => return forget(app, old.as_deref()).await,
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(BillingError::Store(StoreError::Throttled("the subscription is written too often".into())))
}

async fn forget(app: &App, method: Option<&str>) -> Result<(), BillingError> {
    match method {
        Some(method) => Ok(app.gateway.detach(method).await?),
        None => Ok(()),
    }
}
