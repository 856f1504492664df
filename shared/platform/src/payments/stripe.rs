//! Stripe, over its HTTP API: PaymentIntents, SetupIntents, Customers, Refunds, Disputes, the balance, signed webhooks.

mod books;
mod subscriptions;
mod webhook;

pub use webhook::{Hint, NotBelieved, read_webhook};

use super::{
    Attempt, GatewayError, MovementPage, NewPayment, NewPeriodPayment, NewRefund, NewSetup, PaymentGateway, Reply,
};
use crate::config::{Config, Missing};
use crate::secrets::Secrets;
use crate::transport::Transport;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use domain::ids::UserId;
use domain::money::{Currency, Money};
use domain::payments::{
    Payment, PaymentStatus, ProviderDispute, ProviderRefund, ProviderRefundStatus, Purpose, SavedMethod, Setup,
};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The version of the API that the shapes below are of.
const STRIPE_VERSION: &str = "2025-09-30.clover";
/// How long one call may take; the provider answers most in under a second.
const CALL_SECONDS_MAX: u64 = 6;
/// Keys that are tried where the provider replays an error of its own for the one before.
const KEYS_MAX: usize = 5;
/// Refunds of one payment that are looked through; an order has ten tickets at most.
const REFUNDS_MAX: usize = 100;

pub struct Stripe {
    api_base: Result<String, Missing>,
    secret_name: Result<String, Missing>,
    secrets: Secrets,
    transport: Arc<dyn Transport>,
}

#[derive(Deserialize)]
struct Intent {
    id: String,
    status: String,
    amount: i64,
    amount_received: i64,
    currency: String,
    client_secret: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    payment_method: Option<String>,
    last_payment_error: Option<subscriptions::LastError>,
}

#[derive(Deserialize)]
struct Refund {
    id: String,
    status: Option<String>,
    failure_reason: Option<String>,
    amount: i64,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Failure {
    error: FailureDetail,
}

#[derive(Deserialize)]
struct FailureDetail {
    r#type: Option<String>,
    code: Option<String>,
}

impl Stripe {
    pub fn new(config: &Config, secrets: Secrets, transport: Arc<dyn Transport>) -> Self {
        let own = |name: Result<&str, Missing>| name.map(str::to_owned);
        let (api_base, secret_name) = (own(config.get("STRIPE_API_BASE")), own(config.get("STRIPE_SECRET")));
        Self { api_base, secret_name, secrets, transport }
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, String)],
        key: Option<&str>,
    ) -> Result<T, CallError> {
        let request = self.request(method, path, form, key).await?;
        if let Some(rest) = self.transport.rest(request.uri()) {
            return Err(GatewayError::Resting(rest).into());
        }
        let limit = Duration::from_secs(CALL_SECONDS_MAX);
        let reply = self.transport.send(request, limit).await.map_err(|error| GatewayError::Unknown(error.0))?;
        let status = reply.status();
        if status.is_success() {
            return serde_json::from_slice(reply.body())
                .map_err(|error| GatewayError::Unknown(error.to_string()).into());
        }
        let is_replayed = reply.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
        let detail = serde_json::from_slice::<Failure>(reply.body()).ok().map(|failure| failure.error);
        let code = detail.as_ref().and_then(|detail| detail.code.clone().or(detail.r#type.clone()));
        let cause = format!("{status} {}", code.as_deref().unwrap_or("without a code"));
        let error = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => GatewayError::Misconfigured(cause),
            StatusCode::BAD_REQUEST | StatusCode::PAYMENT_REQUIRED | StatusCode::NOT_FOUND
                if code.as_deref() != Some("idempotency_error") =>
            {
                GatewayError::Refused(cause)
            }
            _ => GatewayError::Unknown(cause),
        };
        let is_decline = status == StatusCode::PAYMENT_REQUIRED;
        Err(CallError { error, code, is_decline, is_fault: status.is_server_error(), is_replayed })
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, String)],
        key: Option<&str>,
    ) -> Result<Request<Bytes>, GatewayError> {
        let missing = |missing: &Missing| GatewayError::Misconfigured(missing.to_string());
        let base = self.api_base.as_ref().map_err(missing)?;
        let name = self.secret_name.as_ref().map_err(missing)?;
        let secret = self.secrets.get(name).await.map_err(|error| GatewayError::Misconfigured(error.to_string()))?;
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let (url, body) = match method {
            Method::GET if form.is_empty() => (format!("{base}{path}"), String::new()),
            Method::GET => (format!("{base}{path}?{form}"), String::new()),
            _ => (format!("{base}{path}"), form),
        };
        let mut request = Request::builder().method(&method).uri(url);
        request = request.header(header::AUTHORIZATION, format!("Bearer {secret}"));
        request = request.header("Stripe-Version", STRIPE_VERSION);
        if method != Method::GET {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        request.body(body.into()).map_err(|error| GatewayError::Misconfigured(error.to_string()))
    }

    /// A call that makes something, with the `n`th key derived from `key`, the same for every caller. `None` where the
    /// provider replays an error of its own for that key: what it had then is to be seen by now, so look, and go on.
    async fn make<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, String)],
        key: &str,
        n: usize,
    ) -> Result<Option<T>, GatewayError> {
        Ok(self.make_or_say(path, form, key, n).await?)
    }

    /// The same, with what is to be said of a refusal.
    async fn make_or_say<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, String)],
        key: &str,
        n: usize,
    ) -> Result<Option<T>, CallError> {
        // No key of ours has a `/` by itself: the second key of one thing is not the first of another.
        let key = if n == 0 { key.to_owned() } else { format!("{key}/{n}") };
        match self.call(Method::POST, path, form, Some(&key)).await {
            Ok(made) => Ok(Some(made)),
            Err(error) if error.is_replayed && error.is_fault => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes what nobody else can see before we give it out: what a lost reply left behind is never used.
    async fn make_once<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, String)],
        key: &str,
    ) -> Result<T, GatewayError> {
        for n in 0..KEYS_MAX {
            if let Some(made) = self.make(path, form, key, n).await? {
                return Ok(made);
            }
        }
        Err(keys_exhausted())
    }

    async fn get_intent(&self, id: &str) -> Result<Option<Intent>, GatewayError> {
        match self.call(Method::GET, &format!("/v1/payment_intents/{id}"), &[], None).await {
            Ok(intent) => Ok(Some(intent)),
            Err(error) if error.code.as_deref() == Some("resource_missing") => Ok(None),
            Err(error) => Err(error.error),
        }
    }

    /// A change of an intent that is refused because it was made before is made.
    async fn change(&self, id: &str, what: &str, wanted: PaymentStatus) -> Result<Payment, GatewayError> {
        match self.call(Method::POST, &format!("/v1/payment_intents/{id}/{what}"), &[], None).await {
            Ok(intent) => ours(intent),
            Err(CallError { error: GatewayError::Refused(cause), .. }) => {
                let now = self.get_intent(id).await?.map(ours).transpose()?;
                now.filter(|payment| payment.status == wanted).ok_or(GatewayError::Refused(cause))
            }
            Err(error) => Err(error.error),
        }
    }

    async fn look_for_refund(&self, payment: &str, key: &str) -> Result<Option<ProviderRefund>, GatewayError> {
        let query = [("payment_intent", payment.to_owned()), ("limit", REFUNDS_MAX.to_string())];
        let list: List<Refund> = self.call(Method::GET, "/v1/refunds", &query, None).await?;
        let has_key = |refund: &Refund| {
            refund.metadata.as_ref().is_some_and(|data| data.get("refund_id").is_some_and(|id| id == key))
        };
        Ok(list.data.into_iter().find(has_key).map(ProviderRefund::from))
    }
}

impl PaymentGateway for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn create<'a>(&'a self, new: &'a NewPayment) -> Reply<'a, Payment> {
        Box::pin(async move {
            let purpose = Purpose::Order { buyer: new.buyer, order: new.order };
            let form = intent_form(new.amount, "manual", &purpose);
            ours(self.make_once("/v1/payment_intents", &form, &new.order.to_string()).await?)
        })
    }

    fn fetch<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Payment>> {
        Box::pin(async move {
            let intent = self.get_intent(id).await?;
            Ok(intent.and_then(|intent| ours(intent).ok()))
        })
    }

    fn capture<'a>(&'a self, payment: &'a Payment) -> Reply<'a, Payment> {
        Box::pin(self.change(&payment.id, "capture", PaymentStatus::Captured))
    }

    fn cancel<'a>(&'a self, id: &'a str) -> Reply<'a, Payment> {
        Box::pin(self.change(id, "cancel", PaymentStatus::Cancelled))
    }

    fn refund<'a>(&'a self, new: &'a NewRefund<'a>) -> Reply<'a, ProviderRefund> {
        Box::pin(async move {
            let mut form = vec![
                ("payment_intent", new.payment.to_owned()),
                ("amount", new.amount.amount.to_string()),
                ("metadata[refund_id]", new.key.to_owned()),
            ];
            form.extend(metadata(new.purpose));
            let mut last = keys_exhausted();
            for n in 0..KEYS_MAX {
                if let Some(found) = self.look_for_refund(new.payment, new.key).await? {
                    return Ok(found);
                }
                match self.make_or_say::<Refund>("/v1/refunds", &form, new.key, n).await {
                    Ok(Some(made)) => return Ok(made.into()),
                    Ok(None) => {}
                    // What was refused to an earlier call may be granted now.
                    Err(refused) if refused.is_replayed => last = refused.error,
                    Err(error) => return Err(error.error),
                }
            }
            Err(last)
        })
    }

    fn find_refund<'a>(&'a self, payment: &'a str, key: &'a str) -> Reply<'a, Option<ProviderRefund>> {
        Box::pin(self.look_for_refund(payment, key))
    }

    fn customer<'a>(&'a self, user: UserId, known: Option<&'a str>) -> Reply<'a, String> {
        Box::pin(self.ensure_customer(user, known))
    }

    fn create_for_period<'a>(&'a self, new: &'a NewPeriodPayment<'a>) -> Reply<'a, Payment> {
        Box::pin(self.create_period_payment(new))
    }

    fn charge<'a>(&'a self, attempt: &'a Attempt<'a>) -> Reply<'a, Payment> {
        Box::pin(self.charge_saved(attempt))
    }

    fn set_up<'a>(&'a self, new: &'a NewSetup<'a>) -> Reply<'a, Setup> {
        Box::pin(self.create_setup(new))
    }

    fn fetch_setup<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Setup>> {
        Box::pin(self.get_setup(id))
    }

    fn method<'a>(&'a self, id: &'a str) -> Reply<'a, Option<SavedMethod>> {
        Box::pin(self.get_method(id))
    }

    fn detach<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(self.detach_method(id))
    }

    fn disputes<'a>(&'a self, payment: &'a str) -> Reply<'a, Vec<ProviderDispute>> {
        Box::pin(self.list_disputes(payment))
    }

    fn dispute<'a>(&'a self, id: &'a str) -> Reply<'a, Option<ProviderDispute>> {
        Box::pin(self.get_dispute(id))
    }

    fn movements<'a>(&'a self, from: Timestamp, to: Timestamp, cursor: Option<&'a str>) -> Reply<'a, MovementPage> {
        Box::pin(self.list_movements(from, to, cursor))
    }
}

impl From<Refund> for ProviderRefund {
    fn from(refund: Refund) -> Self {
        let status = match refund.status.as_deref() {
            Some("failed" | "canceled") => ProviderRefundStatus::Failed,
            Some("pending" | "requires_action") => ProviderRefundStatus::Pending,
            _ => ProviderRefundStatus::Succeeded,
        };
        let gave_way = refund.failure_reason.as_deref() == Some("charge_for_pending_refund_disputed");
        Self { id: refund.id, status, amount: refund.amount, gave_way }
    }
}

struct CallError {
    error: GatewayError,
    code: Option<String>,
    /// A bank said no.
    is_decline: bool,
    /// The provider failed.
    is_fault: bool,
    /// It is what the provider had answered to the same key before.
    is_replayed: bool,
}

impl From<GatewayError> for CallError {
    fn from(error: GatewayError) -> Self {
        Self { error, code: None, is_decline: false, is_fault: false, is_replayed: false }
    }
}

impl From<CallError> for GatewayError {
    fn from(error: CallError) -> Self {
        error.error
    }
}

fn keys_exhausted() -> GatewayError {
    GatewayError::Unknown("the provider replays its own error for every key".into())
}

/// What every payment intent says. The card is all that we take.
fn intent_form(amount: Money, capture: &str, purpose: &Purpose) -> Vec<(&'static str, String)> {
    let mut form = vec![
        ("amount", amount.amount.to_string()),
        ("currency", amount.currency.code().to_lowercase()),
        ("capture_method", capture.to_owned()),
        ("payment_method_types[]", "card".to_owned()),
    ];
    form.extend(metadata(purpose));
    form
}

/// What money is for, as the provider is told.
fn metadata(purpose: &Purpose) -> Vec<(&'static str, String)> {
    match purpose {
        Purpose::Order { buyer, order } => {
            vec![("metadata[order_id]", order.to_string()), ("metadata[buyer_id]", buyer.to_string())]
        }
        Purpose::Subscription { user, subscription, period } => vec![
            ("metadata[subscription_id]", subscription.clone()),
            ("metadata[period]", period.clone()),
            ("metadata[user_id]", user.to_string()),
        ],
    }
}

/// What money is for, as the provider tells it back; `None` where it is not ours.
fn purpose(data: &BTreeMap<String, String>) -> Option<Purpose> {
    let user = |name: &str| data.get(name)?.parse::<UserId>().ok();
    if let Some(subscription) = data.get("subscription_id") {
        let (user, period) = (user("user_id")?, data.get("period")?.clone());
        return Some(Purpose::Subscription { user, subscription: subscription.clone(), period });
    }
    Some(Purpose::Order { buyer: user("buyer_id")?, order: data.get("order_id")?.parse().ok()? })
}

/// An intent that we made, as a payment.
fn ours(intent: Intent) -> Result<Payment, GatewayError> {
    let foreign = || GatewayError::Refused("the payment is not one of ours".into());
    let purpose = purpose(&intent.metadata).ok_or_else(foreign)?;
    let currency = Currency::from_code(&intent.currency.to_uppercase()).ok_or_else(foreign)?;
    let status = match intent.status.as_str() {
        "requires_payment_method" if intent.last_payment_error.is_some() => PaymentStatus::Declined,
        "requires_action" => PaymentStatus::NeedsAction,
        "processing" => PaymentStatus::Processing,
        "requires_capture" => PaymentStatus::Authorised,
        "succeeded" => PaymentStatus::Captured,
        "canceled" => PaymentStatus::Cancelled,
        _ => PaymentStatus::Waiting,
    };
    Ok(Payment {
        id: intent.id,
        status,
        amount: Money::new(intent.amount, currency),
        captured: intent.amount_received,
        purpose,
        method: intent.payment_method,
        decline: intent.last_payment_error.map(Into::into),
        client_secret: intent.client_secret.unwrap_or_default(),
    })
}
