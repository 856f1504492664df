//! What subscriptions need of Stripe: customers, saved methods, and charges while nobody is there.

use super::{CallError, Intent, KEYS_MAX, Stripe, intent_form, keys_exhausted, ours};
use crate::payments::{Attempt, GatewayError, NewPeriodPayment, NewSetup, Payer};
use axum::http::Method;
use domain::ids::UserId;
use domain::payments::{Decline, Payment, PaymentStatus, Purpose, SavedMethod, Setup, SetupStatus};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What an error says whose cure is the holder of the card: <https://docs.stripe.com/error-codes#authentication-required>.
const AUTHENTICATION_REQUIRED: &str = "authentication_required";

/// `last_payment_error` and `last_setup_error`.
#[derive(Deserialize)]
pub(super) struct LastError {
    r#type: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    advice_code: Option<String>,
    network_decline_code: Option<String>,
    charge: Option<String>,
}

#[derive(Deserialize)]
struct Customer {
    id: String,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct SetupIntent {
    id: String,
    status: String,
    payment_method: Option<String>,
    client_secret: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    last_setup_error: Option<LastError>,
}

#[derive(Deserialize)]
struct PaymentMethod {
    id: String,
    customer: Option<String>,
    card: Option<Card>,
}

#[derive(Deserialize)]
struct Card {
    brand: String,
    last4: String,
    exp_month: i8,
    exp_year: i16,
    fingerprint: Option<String>,
}

impl Stripe {
    pub(super) async fn ensure_customer(&self, user: UserId, known: Option<&str>) -> Result<String, GatewayError> {
        let mut key = format!("{user}.customer");
        if let Some(id) = known {
            let found: Option<Customer> = self.get(&format!("/v1/customers/{id}")).await?;
            let is_theirs = |data: &BTreeMap<String, String>| data.get("user_id") == Some(&user.to_string());
            if let Some(customer) = found.filter(|customer| !customer.deleted && is_theirs(&customer.metadata)) {
                return Ok(customer.id);
            }
            // The key of the one that is gone would be answered with it.
            key = format!("{key}.{id}");
        }
        let form = [("metadata[user_id]", user.to_string())];
        let customer: Customer = self.make_once("/v1/customers", &form, &key).await?;
        Ok(customer.id)
    }

    pub(super) async fn create_period_payment(&self, new: &NewPeriodPayment<'_>) -> Result<Payment, GatewayError> {
        let (subscription, period) = (new.subscription.to_owned(), new.period.to_owned());
        let key = format!("{subscription}.{period}");
        let purpose = Purpose::Subscription { user: new.user, subscription, period };
        let mut form = intent_form(new.amount, "automatic", &purpose);
        match new.payer {
            Payer::Once => {}
            Payer::Saved(customer) => form.push(("customer", customer.to_owned())),
            Payer::Saving(customer) => {
                form.push(("customer", customer.to_owned()));
                form.push(("setup_future_usage", "off_session".to_owned()));
            }
        }
        ours(self.make_once("/v1/payment_intents", &form, &key).await?)
    }

    pub(super) async fn charge_saved(&self, attempt: &Attempt<'_>) -> Result<Payment, GatewayError> {
        let &Attempt { payment, method, number, after } = attempt;
        let path = format!("/v1/payment_intents/{payment}/confirm");
        let form = [("payment_method", method.to_owned()), ("off_session", "true".to_owned())];
        let key = format!("{payment}.{number}.{method}");
        for n in 0..KEYS_MAX {
            let now = self.look(payment).await?;
            if !is_to_be_tried(&now, after) {
                return Ok(now);
            }
            match self.make_or_say::<Intent>(&path, &form, &key, n).await {
                Ok(Some(intent)) => return ours(intent),
                Ok(None) => {}
                Err(error) if error.is_decline => return self.look(payment).await,
                Err(CallError { error: GatewayError::Refused(cause), .. }) => {
                    // Somebody else may have been there in between: then it is as they left it.
                    let now = self.look(payment).await?;
                    return if is_to_be_tried(&now, after) { Err(GatewayError::Refused(cause)) } else { Ok(now) };
                }
                Err(error) => return Err(error.error),
            }
        }
        Err(keys_exhausted())
    }

    async fn look(&self, payment: &str) -> Result<Payment, GatewayError> {
        let missing = || GatewayError::Misconfigured("it does not know a subscription's payment".into());
        ours(self.get_intent(payment).await?.ok_or_else(missing)?)
    }

    pub(super) async fn create_setup(&self, new: &NewSetup<'_>) -> Result<Setup, GatewayError> {
        let form = [
            ("customer", new.customer.to_owned()),
            ("usage", "off_session".to_owned()),
            ("payment_method_types[]", "card".to_owned()),
            ("metadata[subscription_id]", new.subscription.to_owned()),
            ("metadata[user_id]", new.user.to_string()),
        ];
        our_setup(self.make_once("/v1/setup_intents", &form, &format!("{}.setup", new.key)).await?)
    }

    pub(super) async fn get_setup(&self, id: &str) -> Result<Option<Setup>, GatewayError> {
        let found: Option<SetupIntent> = self.get(&format!("/v1/setup_intents/{id}")).await?;
        Ok(found.and_then(|found| our_setup(found).ok()))
    }

    pub(super) async fn get_method(&self, id: &str) -> Result<Option<SavedMethod>, GatewayError> {
        let found: Option<PaymentMethod> = self.get(&format!("/v1/payment_methods/{id}")).await?;
        let Some(PaymentMethod { id, customer, card }) = found else { return Ok(None) };
        let no_card = || GatewayError::Refused("a saved method is no card".into());
        let Card { brand, last4, exp_month, exp_year, fingerprint } = card.ok_or_else(no_card)?;
        Ok(Some(SavedMethod { id, customer, brand, last4, exp_month, exp_year, fingerprint }))
    }

    pub(super) async fn detach_method(&self, id: &str) -> Result<(), GatewayError> {
        let path = format!("/v1/payment_methods/{id}");
        match self.call::<PaymentMethod>(Method::POST, &format!("{path}/detach"), &[], None).await {
            Ok(_) => Ok(()),
            // One that has no customer cannot be detached.
            Err(CallError { error: GatewayError::Refused(cause), .. }) => {
                let now: Option<PaymentMethod> = self.get(&path).await?;
                let is_kept = now.is_some_and(|method| method.customer.is_some());
                if is_kept { Err(GatewayError::Refused(cause)) } else { Ok(()) }
            }
            Err(error) => Err(error.error),
        }
    }

    /// What is there under this path; `None` if nothing is.
    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Option<T>, GatewayError> {
        match self.call(Method::GET, path, &[], None).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.code.as_deref() == Some("resource_missing") => Ok(None),
            Err(error) => Err(error.error),
        }
    }
}

/// Whether nobody has tried since, and somebody may. While its payer is at the bank's page it is left to them.
fn is_to_be_tried(payment: &Payment, after: Option<&Decline>) -> bool {
    let is_open = matches!(payment.status, PaymentStatus::Waiting | PaymentStatus::Declined);
    let is_known = |now: &Decline| after.is_some_and(|known| now.is_of_same_try(known));
    is_open && payment.decline.as_ref().is_none_or(is_known)
}

impl From<LastError> for Decline {
    fn from(error: LastError) -> Self {
        let is_wanted = |code: &Option<String>| code.as_deref() == Some(AUTHENTICATION_REQUIRED);
        let needs_authentication = is_wanted(&error.code) || is_wanted(&error.decline_code);
        let LastError { r#type, code, decline_code, advice_code, network_decline_code, charge } = error;
        let code = code.or(r#type).unwrap_or_default();
        Self { code, decline_code, advice_code, network_decline_code, needs_authentication, charge }
    }
}

/// A setup intent that we made.
fn our_setup(found: SetupIntent) -> Result<Setup, GatewayError> {
    let foreign = || GatewayError::Refused("the setup is not one of ours".into());
    let data = |name: &str| found.metadata.get(name).ok_or_else(foreign);
    let user = data("user_id")?.parse().map_err(|_| foreign())?;
    let subscription = data("subscription_id")?.clone();
    let status = match found.status.as_str() {
        "requires_payment_method" if found.last_setup_error.is_some() => SetupStatus::Declined,
        "requires_action" => SetupStatus::NeedsAction,
        "processing" => SetupStatus::Processing,
        "succeeded" => SetupStatus::Succeeded,
        "canceled" => SetupStatus::Cancelled,
        _ => SetupStatus::Waiting,
    };
    Ok(Setup {
        id: found.id,
        status,
        user,
        subscription,
        method: found.payment_method,
        decline: found.last_setup_error.map(Into::into),
        client_secret: found.client_secret.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decline_says_what_the_bank_said() {
        let read = |json: &str| Decline::from(serde_json::from_str::<LastError>(json).unwrap());
        // As Stripe's test mode answers to `pm_card_chargeDeclined`.
        let plain = read(
            r#"{"advice_code":"try_again_later","charge":"ch_1","code":"card_declined","decline_code":"generic_decline",
            "doc_url":"https://stripe.com/docs/error-codes/card-declined","message":"Your card was declined.",
            "network_decline_code":"01","payment_method":{"id":"pm_1"},"type":"card_error"}"#,
        );
        assert_eq!(plain.advice_code.as_deref(), Some("try_again_later"));
        assert_eq!(plain.decline_code.as_deref(), Some("generic_decline"));
        assert_eq!(plain.network_decline_code.as_deref(), Some("01"));
        assert!(!plain.needs_authentication);
        let away = read(r#"{"code":"authentication_required","decline_code":"authentication_not_handled"}"#);
        assert!(away.needs_authentication && away.charge.is_none());
        let other = read(r#"{"code":"card_declined","decline_code":"authentication_required","charge":"ch_2"}"#);
        assert!(other.needs_authentication && !other.is_of_same_try(&plain));
        assert!(plain.is_of_same_try(&Decline { code: String::new(), ..plain.clone() }));
        assert_eq!(read(r#"{"type":"api_error"}"#).code, "api_error");
    }
}
