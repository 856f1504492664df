//! Stripe's webhooks: their signature, and what they hint at.

use crate::webhooks::{is_fresh, mac};
use domain::ids::RefundId;
use domain::orders::refund_of_key;
use hmac::Mac;
use jiff::Timestamp;

/// What a webhook tells us to look at. Its other contents are not used: they may be old, or in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    Payment(String),
    Refund {
        payment: String,
        refund: RefundId,
    },
    /// A refund of a subscription's period, by the key that we gave it.
    PeriodRefund {
        payment: String,
        key: String,
    },
    Dispute {
        payment: String,
    },
    /// A method that is being saved for a subscription.
    Setup {
        setup: String,
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
/// reads what it hints at. Its time may differ from ours by as much as Stripe's own libraries allow.
pub fn read_webhook(secret: &str, signature: &str, body: &[u8], now: Timestamp) -> Result<Hint, NotBelieved> {
    let parts = || signature.split(',').filter_map(|part| part.trim().split_once('='));
    let time = parts().find(|(name, _)| *name == "t").map(|(_, value)| value).ok_or(NotBelieved::Signature)?;
    let at: i64 = time.parse().map_err(|_| NotBelieved::Signature)?;
    let mac = mac(secret.as_bytes(), [time.as_bytes(), b".", body]);
    let signed = parts().filter(|(name, _)| *name == "v1").filter_map(|(_, value)| from_hex(value));
    if !signed.into_iter().any(|code| mac.clone().verify_slice(&code).is_ok()) {
        return Err(NotBelieved::Signature);
    }
    if !is_fresh(at, now) {
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
    let data = |name: &str| object.get("metadata")?.get(name)?.as_str();
    if kind.starts_with("refund.") {
        let (payment, key) = (text("payment_intent").map(str::to_owned), data("refund_id"));
        let is_of_period = data("subscription_id").is_some();
        return Some(match (payment, key, key.and_then(refund_of_key)) {
            (Some(payment), Some(key), _) if is_of_period => Hint::PeriodRefund { payment, key: key.to_owned() },
            (Some(payment), _, Some(refund)) => Hint::Refund { payment, refund },
            _ => Hint::Nothing,
        });
    }
    // The account may be shared: a method that somebody else saves there is nothing to us.
    if kind.starts_with("setup_intent.") && data("subscription_id").is_some() {
        return Some(Hint::Setup { setup: text("id")?.to_owned() });
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
    use hmac::Hmac;
    use sha2::Sha256;

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
    #[test]
    fn a_webhook_says_where_to_look() {
        for (kind, object, expected) in [
            ("payment_intent.created", r#"{"id":"pi_1"}"#, Hint::Payment("pi_1".into())),
            (
                "refund.failed",
                r#"{"payment_intent":"pi_1","metadata":{"refund_id":"k","subscription_id":"s"}}"#,
                Hint::PeriodRefund { payment: "pi_1".into(), key: "k".into() },
            ),
            ("refund.failed", r#"{"payment_intent":"pi_1","metadata":{"refund_id":"k"}}"#, Hint::Nothing),
            ("charge.dispute.closed", r#"{"payment_intent":"pi_1"}"#, Hint::Dispute { payment: "pi_1".into() }),
            (
                "setup_intent.succeeded",
                r#"{"id":"seti_1","metadata":{"subscription_id":"s"}}"#,
                Hint::Setup { setup: "seti_1".into() },
            ),
            ("setup_intent.succeeded", r#"{"id":"seti_1","metadata":{}}"#, Hint::Nothing),
            ("payment_method.automatically_updated", r#"{"id":"pm_1"}"#, Hint::Nothing),
        ] {
            let body = format!(r#"{{"type":"{kind}","data":{{"object":{object}}}}}"#);
            assert_eq!(hint(body.as_bytes()), Some(expected), "{body}");
        }
    }
}
