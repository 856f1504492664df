//! Money of charges that goes back: by decisions of ours, or through the payer's bank.

use super::{BillingError, Done, WRITE_TRIES_MAX, charge_of, drive};
use crate::facts;
use crate::provider::{self, GivenBack};
use domain::ids::{RefundId, UserId};
use domain::money::Money;
use domain::payments::{DisputeState, Payment, ProviderDispute, ProviderRefundStatus, Purpose};
use domain::refunds::RefundState;
use domain::subscriptions::{Charge, ChargeRef, Refused, Subscription};
use platform::App;
use platform::payments::{GatewayError, NewRefund};
use platform::store::StoreError;

/// Moves the money of a stored decision, and writes that it is done, or that it was not to be done.
pub(super) async fn refund(app: &App, charge: &Charge, id: RefundId) -> Result<Option<Done>, BillingError> {
    let refund = charge.refund(id).expect("the step names a refund of this charge");
    let no_payment = || GatewayError::Misconfigured("a charge without a payment has nothing to give back".into());
    let payment = charge.intent.as_deref().ok_or_else(no_payment)?;
    let (subscription, period) = (charge.id.subscription.to_string(), charge.payment_period());
    let purpose = Purpose::Subscription { user: charge.user, subscription, period };
    let (key, amount) = (refund.provider_key(), Money::new(refund.amount, charge.amount.currency));
    let new = NewRefund { payment, key: &key, amount, purpose: &purpose };
    match provider::give_back(app, &new, charge.is_disputed()).await? {
        GivenBack::Made(made) => {
            if let Some((next, entry)) = charge.refund_done(id, made, app.now())? {
                facts::save_charge(app, next, Some(entry)).await?;
                tracing::info!(charge = %charge.id, refund = %id, "refund done");
            }
        }
        GivenBack::NotMade { made, gave_way } => refund_failed(app, charge, id, made, gave_way).await?,
    }
    Ok(Some(Done::default()))
}

/// Writes that the provider could not give money back; nothing where that is known.
async fn refund_failed(
    app: &App,
    charge: &Charge,
    id: RefundId,
    made: Option<String>,
    gave_way: bool,
) -> Result<(), BillingError> {
    let Some((next, entry)) = charge.refund_failed(id, made, gave_way, app.now())? else { return Ok(()) };
    facts::save_charge(app, next, entry).await?;
    tracing::error!(charge = %charge.id, refund = %id, gave_way, "a refund of a charge failed at the provider");
    Ok(())
}

/// A refund that the provider took may still fail days later; one that we hold for failed may stand, since whoever asked for
/// it slept: then it is done.
pub async fn refund_changed(app: &App, payment: &str, key: &str) -> Result<(), BillingError> {
    let Some(fetched) = app.gateway.fetch(payment).await? else { return Ok(()) };
    let Some((user, id)) = charge_of(&fetched) else { return Ok(()) };
    for _ in 0..WRITE_TRIES_MAX {
        let Some(charge) = app.subscriptions.charge(id).await? else { return Ok(()) };
        // Only its last try counts: those before it have failed, and were written so.
        let Some(refund) = charge.refunds.iter().find(|refund| refund.provider_key() == key) else { return Ok(()) };
        if refund.sent.state == RefundState::Requested {
            return drive(app, user, id, Some(fetched)).await.map(drop);
        }
        let Some(there) = app.gateway.find_refund(payment, key).await? else { return Ok(()) };
        let has_failed = there.status == ProviderRefundStatus::Failed;
        if has_failed == (refund.sent.state == RefundState::Failed) {
            return Ok(());
        }
        let written = if has_failed {
            refund_failed(app, &charge, refund.id, Some(there.id), there.gave_way).await
        } else {
            // While a bank has the money nothing is asked for; the day's comparison comes back to it.
            let Ok(next) = charge.retry_refund(refund.id, app.now()) else { return Ok(()) };
            facts::save_charge(app, next, None).await.map(drop).map_err(BillingError::from)
        };
        match written {
            // Such as the dispute that made it fail: look again.
            Err(BillingError::Store(StoreError::Conflict)) => {}
            Ok(()) if !has_failed => return drive(app, user, id, Some(fetched)).await.map(drop),
            written => return written,
        }
    }
    Err(BillingError::Store(StoreError::Throttled(format!("the charge {id} is written too often"))))
}

/// Brings what the provider says of a payment's disputes into its charge and its subscription.
pub async fn disputed(app: &App, payment: Payment) -> Result<(), BillingError> {
    let (id, Some((user, charge))) = (payment.id.clone(), charge_of(&payment)) else { return Ok(()) };
    let Some(known) = app.subscriptions.charge(charge).await? else { return Ok(()) };
    if known.intent.as_ref() != Some(&id) {
        // Nobody was given the secret of it; if it was paid all the same, `reconcile` says so.
        return Ok(());
    }
    // The news of its payment are on their way, or were lost; or a refund was asked for and not answered: they come first.
    drive(app, user, charge, Some(payment)).await?;
    for dispute in app.gateway.disputes(&id).await? {
        note_dispute(app, user, charge, &dispute).await?;
    }
    drive(app, user, charge, None).await.map(drop)
}

/// The charges that the end of a subscription concerns: those of its present period, and the one that it waits for.
async fn concerned(app: &App, of: &Subscription) -> Result<Vec<Charge>, StoreError> {
    let (subscription, period) = (of.id, of.period.number);
    let mut ids: Vec<_> = (0..=of.changes).map(|change| ChargeRef { subscription, period, change }).collect();
    let owed = of.owed.as_ref().map(|owed| owed.charge);
    ids.extend(owed.filter(|owed| !ids.contains(owed)));
    let mut charges = Vec::with_capacity(ids.len());
    for id in ids {
        charges.extend(app.subscriptions.charge(id).await?);
    }
    Ok(charges)
}

async fn note_dispute(app: &App, user: UserId, id: ChargeRef, seen: &ProviderDispute) -> Result<(), BillingError> {
    for _ in 0..WRITE_TRIES_MAX {
        let Some(before) = app.subscriptions.get(user, id.subscription).await? else { return Ok(()) };
        let Some(charge) = app.subscriptions.charge(id).await?.filter(Charge::is_booked) else { return Ok(()) };
        let others = if seen.state == DisputeState::Lost { concerned(app, &before).await? } else { Vec::new() };
        let write = match before.dispute_seen(&charge, &others, seen, app.now()) {
            Ok(Some(write)) => write,
            Ok(None) => return Ok(()),
            // Its charges are of a later version than itself: look again.
            Err(Refused::Busy) => continue,
            Err(refused) => return Err(refused.into()),
        };
        match facts::save_subscription(app, Some(&before), write).await {
            Ok(_) => {
                tracing::warn!(charge = %id, dispute = seen.id, state = ?seen.state, "a charge is disputed");
                if charge.dispute(&seen.id).is_some_and(|known| known.was_lost) && seen.reinstated.is_some() {
                    tracing::error!(charge = %id, dispute = seen.id, "a lost dispute was won: its subscription is over");
                }
                return Ok(());
            }
            // A renewal, a refund or the same news came first.
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(BillingError::Store(StoreError::Throttled(format!("the charge {id} is written too often"))))
}
