//! Stripe, over its HTTP API: PaymentIntents with manual capture, Refunds, Disputes, the balance, signed webhooks.

mod books;

use super::{GatewayError, MovementPage, NewPayment, NewRefund, PaymentGateway, Reply};
use crate::config::{Config, Missing};
use crate::secrets::Secrets;
use crate::transport::Transport;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use domain::ids::RefundId;
use domain::money::{Currency, Money};
use domain::orders::refund_of_key;
use domain::payments::{Payment, PaymentStatus, ProviderDispute, ProviderRefund, ProviderRefundStatus};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The version of the API that the shapes below are of.
const STRIPE_VERSION: &str = "2025-09-30.clover";
/// How long one call may take; the provider answers most in under a second.
const CALL_SECONDS_MAX: u64 = 6;
/// Seconds by which a webhook's time may differ from ours (Stripe's own libraries: 300).
const WEBHOOK_TOLERANCE_SECONDS: u64 = 300;
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
    last_payment_error: Option<serde_json::Value>,
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
        Err(CallError { error, code, is_replayed_fault: status.is_server_error() && is_replayed })
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
        let key = if n == 0 { key.to_owned() } else { format!("{key}.{n}") };
        match self.call(Method::POST, path, form, Some(&key)).await {
            Ok(made) => Ok(Some(made)),
            Err(error) if error.is_replayed_fault => Ok(None),
            Err(error) => Err(error.error),
        }
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
            let form = [
                ("amount", new.amount.amount.to_string()),
                ("currency", new.amount.currency.code().to_lowercase()),
                ("capture_method", "manual".to_owned()),
                ("payment_method_types[]", "card".to_owned()),
                ("metadata[order_id]", new.order.to_string()),
                ("metadata[buyer_id]", new.buyer.to_string()),
            ];
            // An intent made by a call that seemed to fail is never confirmed, since nobody has its secret.
            for n in 0..KEYS_MAX {
                if let Some(intent) = self.make("/v1/payment_intents", &form, &new.order.to_string(), n).await? {
                    return ours(intent);
                }
            }
            Err(keys_exhausted())
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
            let form = [
                ("payment_intent", new.payment.to_owned()),
                ("amount", new.amount.amount.to_string()),
                ("metadata[refund_id]", new.key.to_owned()),
                ("metadata[order_id]", new.order.to_string()),
                ("metadata[buyer_id]", new.buyer.to_string()),
            ];
            for n in 0..KEYS_MAX {
                if let Some(found) = self.look_for_refund(new.payment, new.key).await? {
                    return Ok(found);
                }
                if let Some(made) = self.make::<Refund>("/v1/refunds", &form, new.key, n).await? {
                    return Ok(made.into());
                }
            }
            Err(keys_exhausted())
        })
    }

    fn find_refund<'a>(&'a self, payment: &'a str, key: &'a str) -> Reply<'a, Option<ProviderRefund>> {
        Box::pin(self.look_for_refund(payment, key))
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
    /// The provider repeated an error of its own that it had given for the same key before.
    is_replayed_fault: bool,
}

impl From<GatewayError> for CallError {
    fn from(error: GatewayError) -> Self {
        Self { error, code: None, is_replayed_fault: false }
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

/// An intent that we made, as a payment.
fn ours(intent: Intent) -> Result<Payment, GatewayError> {
    let foreign = || GatewayError::Refused("the payment is not one of ours".into());
    let id_in = |name: &str| intent.metadata.get(name).ok_or_else(foreign);
    let order = id_in("order_id")?.parse().map_err(|_| foreign())?;
    let buyer = id_in("buyer_id")?.parse().map_err(|_| foreign())?;
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
    let amount = Money::new(intent.amount, currency);
    let client_secret = intent.client_secret.unwrap_or_default();
    Ok(Payment { id: intent.id, status, amount, captured: intent.amount_received, buyer, order, client_secret })
}

/// What a webhook tells us to look at. Its other contents are not used: they may be old, or in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    Payment(String),
    Refund {
        payment: String,
        refund: RefundId,
    },
    Dispute {
        payment: String,
    },
    /// Nothing that concerns us.
    Nothing,
}

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    #[error("the signature is missing or not of this body and key")]
    Signature,
    #[error("the signature is too old, or from the future")]
    Stale,
    #[error("the body is not an event")]
    Body,
}

/// Checks a webhook's `Stripe-Signature` (`t=…,v1=…`: HMAC-SHA256 of `t.body`; several `v1` while a secret rotates) and
/// reads what it hints at.
pub fn read_webhook(secret: &str, signature: &str, body: &[u8], now: Timestamp) -> Result<Hint, NotBelieved> {
    let parts = || signature.split(',').filter_map(|part| part.trim().split_once('='));
    let time = parts().find(|(name, _)| *name == "t").map(|(_, value)| value).ok_or(NotBelieved::Signature)?;
    let at: i64 = time.parse().map_err(|_| NotBelieved::Signature)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    let signed = parts().filter(|(name, _)| *name == "v1").filter_map(|(_, value)| from_hex(value));
    if !signed.into_iter().any(|code| mac.clone().verify_slice(&code).is_ok()) {
        return Err(NotBelieved::Signature);
    }
    if now.as_second().abs_diff(at) > WEBHOOK_TOLERANCE_SECONDS {
        return Err(NotBelieved::Stale);
    }
    hint(body).ok_or(NotBelieved::Body)
}

fn hint(body: &[u8]) -> Option<Hint> {
    let event: serde_json::Value = serde_json::from_slice(body).ok()?;
    let (kind, object) = (event.get("type")?.as_str()?, event.pointer("/data/object")?);
    let text = |name: &str| object.get(name).and_then(|value| value.as_str());
    if kind.starts_with("payment_intent.") {
        return Some(Hint::Payment(text("id")?.to_owned()));
    }
    if kind.starts_with("refund.") {
        let refund = object.pointer("/metadata/refund_id").and_then(|key| refund_of_key(key.as_str()?));
        return Some(match (text("payment_intent"), refund) {
            (Some(payment), Some(refund)) => Hint::Refund { payment: payment.to_owned(), refund },
            _ => Hint::Nothing,
        });
    }
    if kind.starts_with("charge.dispute.") {
        let payment = text("payment_intent").map(str::to_owned);
        return Some(payment.map_or(Hint::Nothing, |payment| Hint::Dispute { payment }));
    }
    Some(Hint::Nothing)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() != 64 {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '1700000000.%s' '{"type":"ping","data":{"object":{}}}' | openssl dgst -sha256 -hmac whsec_test`
    #[test]
    fn only_fresh_webhooks_of_our_key_are_believed() {
        let body = br#"{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}"#;
        let mut mac = Hmac::<Sha256>::new_from_slice(b"whsec_test").unwrap();
        mac.update(b"1700000000.");
        mac.update(body);
        let code: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let at = |second| Timestamp::from_second(second).unwrap();
        let read = |secret: &str, header: &str, body: &[u8], second| read_webhook(secret, header, body, at(second));
        let good = format!("t=1700000000,v1={code}");
        let hint = Ok(Hint::Payment("pi_1".into()));
        assert_eq!(read("whsec_test", &good, body, 1_700_000_300), hint);
        let rotating = format!("t=1700000000,v1={},v1={code},v0=aa", "0".repeat(64));
        assert_eq!(read("whsec_test", &rotating, body, 1_700_000_000), hint);
        for (secret, header, body, second, expected) in [
            ("whsec_other", good.as_str(), &body[..], 1_700_000_000, NotBelieved::Signature),
            ("whsec_test", &good, &body[1..], 1_700_000_000, NotBelieved::Signature),
            ("whsec_test", &good.replace("1700000000", "1700000001"), body, 1_700_000_000, NotBelieved::Signature),
            ("whsec_test", "", body, 1_700_000_000, NotBelieved::Signature),
            ("whsec_test", "t=x,v1=zz", body, 1_700_000_000, NotBelieved::Signature),
            ("whsec_test", &good, body, 1_700_000_301, NotBelieved::Stale),
            ("whsec_test", &good, body, 1_699_999_699, NotBelieved::Stale),
        ] {
            assert_eq!(read(secret, header, body, second), Err(expected), "{header} at {second}");
        }
    }
}
