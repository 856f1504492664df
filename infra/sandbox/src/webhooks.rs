//! Webhooks: signed as Stripe signs them, sent at once, and again with growing delays.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::task::JoinSet;

use crate::Stripe;
use crate::state::{Delivery, State};

/// At most so many webhooks are under way at once.
const IN_FLIGHT_MAX: usize = 16;
/// A receiver that takes longer has failed.
const TIMEOUT_SECONDS: u64 = 10;
/// How long an idle loop sleeps before it looks at the clock again.
const IDLE_MS_MAX: i64 = 60_000;

/// The events that an endpoint can ask for.
pub const EVENTS: [&str; 24] = [
    "payment_intent.created",
    "payment_intent.amount_capturable_updated",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.requires_action",
    "payment_intent.processing",
    "charge.refunded",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_reinstated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "setup_intent.succeeded",
    "setup_intent.setup_failed",
    "setup_intent.requires_action",
    "setup_intent.canceled",
    "payment_method.attached",
    "payment_method.detached",
    "payment_method.automatically_updated",
];

/// The value of `Stripe-Signature` for a body sent at that time.
pub fn signature(secret: &str, at_seconds: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{at_seconds}.").as_bytes());
    mac.update(body.as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at_seconds},v1={hex}")
}

/// A webhook that the caller delivers itself; [`signature`] signs its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Type of the event, of [`EVENTS`].
    pub kind: String,
    /// The event as JSON, the same each time it is delivered.
    pub body: String,
}

/// Sends webhooks and runs timers, until it is dropped.
pub(crate) async fn run(stripe: Stripe) {
    let client = client();
    let mut under_way = JoinSet::new();
    loop {
        let idle_ms = {
            let mut state = stripe.state();
            let ran = state.run_timers();
            // That a webhook was delivered may be written later, with the next change: at worst it is sent again.
            if ran || under_way.is_empty() {
                flush(&mut state);
            }
            while under_way.len() < IN_FLIGHT_MAX && state.settings.webhook_url.is_some() {
                let now_ms = state.now_ms;
                let Some(entry) = state.deliveries.first_entry().filter(|entry| entry.key().0 <= now_ms) else { break };
                let delivery = entry.remove();
                under_way.spawn(attempt(stripe.clone(), client.clone(), delivery));
            }
            let full = under_way.len() == IN_FLIGHT_MAX;
            let due = state.next_due_ms().filter(|_| !full).map(|due| due - state.now_ms);
            due.unwrap_or(IDLE_MS_MAX).clamp(0, IDLE_MS_MAX)
        };
        let idle = Duration::from_millis(u64::try_from(idle_ms).expect("clamped to be positive"));
        tokio::select! {
            () = stripe.woken() => {}
            Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
            () = tokio::time::sleep(idle) => {}
        }
    }
}

/// What webhooks are sent with.
pub(crate) fn client() -> reqwest::Client {
    // The client needs a TLS provider even for the plain HTTP that it speaks; another may be installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(Duration::from_secs(TIMEOUT_SECONDS))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("the client's settings are valid")
}

/// Sends one webhook once, and notes what became of it.
async fn attempt(stripe: Stripe, client: reqwest::Client, delivery: Delivery) {
    let (url, secret, at) = {
        let state = stripe.state();
        let at = (state.settings.clock)().div_euclid(1_000);
        (state.settings.webhook_url.clone(), state.settings.webhook_secret.clone(), at)
    };
    let sent = match url {
        Some(url) => post(&client, &url, signature(&secret, at, &delivery.body), Arc::clone(&delivery.body)).await,
        None => Err("no address".to_owned()),
    };
    let mut state = stripe.state();
    state.now_ms = (state.settings.clock)();
    let (event, attempts) = (delivery.event, delivery.attempts);
    match (sent, state.settings.retry_delays.get(attempts).copied()) {
        (Ok(()), _) => state.delivered(event),
        (Err(why), None) => {
            tracing::warn!(event, why, "webhook given up");
            state.delivered(event);
        }
        (Err(why), Some(delay)) => {
            tracing::debug!(event, why, "webhook failed");
            let due_ms = state.now_ms + i64::try_from(delay.as_millis()).expect("delays are hours, not ages");
            state.deliver_at(due_ms, Delivery { attempts: attempts + 1, ..delivery });
            flush(&mut state);
        }
    }
}

/// Writes what changed while nobody waits for an answer.
pub(crate) fn flush(state: &mut State) {
    if let Err(error) = state.flush() {
        tracing::error!(%error, "the sandbox cannot write its database");
    }
}

async fn post(client: &reqwest::Client, url: &str, signature: String, body: Arc<str>) -> Result<(), String> {
    let request = client
        .post(url)
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature)
        .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .body(body.to_string());
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    // The connection is kept only if the answer is read.
    let _ = answer.bytes().await;
    if status.is_success() { Ok(()) } else { Err(format!("status {status}")) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_signature_is_stripes() {
        let header = super::signature("whsec_test", 1_700_000_000, "{}");
        assert_eq!(header, "t=1700000000,v1=35495024f4ef3f94e5a93e22221544c4b75e9a42300cd965ab81cb85cd994e91");
    }
}
