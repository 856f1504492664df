//! Webhooks that are forged, stale, untrue or repeated.

use super::Bench;
use serde_json::json;
use tests::{Payment, id, seat};

/// Seconds by which a webhook's time may differ.
const WEBHOOK_TOLERANCE_SECONDS: i64 = 300;
const PATH: &str = "/payments/webhook/stripe";

/// An order whose payment waits, and a webhook that says that it was made.
async fn waiting() -> (Bench, Payment, String) {
    let mut bench = Bench::start().await;
    let app = &bench.app;
    let order = app.hold(&bench.buyer, &bench.event, &json!([seat("Stalls", 1, 1)])).await;
    let payment = app.start_payment(&bench.buyer, id(&order)).await;
    app.settled().await;
    bench.before = app.everything().await;
    let intent = json!({ "id": payment.id, "object": "payment_intent", "status": "requires_capture", "amount": 1 });
    let body = json!({ "type": "payment_intent.amount_capturable_updated", "data": { "object": intent } }).to_string();
    (bench, payment, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_that_are_not_the_providers() {
    let (bench, _, body) = waiting().await;
    let app = &bench.app;
    let secret = app.running.secrets.stripe_webhook_secret.clone();
    let now = app.app("payment-webhook").now().as_second();
    let sign = |at: i64| sandbox::signature(&secret, at, &body);
    let send = |path: &str, signature: &str| {
        let ask = app.ask("POST", path).header("content-type", "application/json").body(body.clone());
        if signature.is_empty() { ask } else { ask.header("stripe-signature", signature) }
    };
    let good = sign(now);
    for (name, signature, code) in [
        ("unsigned", String::new(), "signature_invalid"),
        ("nonsense", "nonsense".into(), "signature_invalid"),
        ("no time", good.split_once(',').expect("it has parts").1.into(), "signature_invalid"),
        ("no code", format!("t={now}"), "signature_invalid"),
        ("an empty code", format!("t={now},v1="), "signature_invalid"),
        ("half a code", good[..good.len() - 2].into(), "signature_invalid"),
        ("an old scheme", good.replace("v1=", "v0="), "signature_invalid"),
        ("by another secret", sandbox::signature("whsec_other", now, &body), "signature_invalid"),
        ("by no secret", sandbox::signature("", now, &body), "signature_invalid"),
        ("of another body", sandbox::signature(&secret, now, "{}"), "signature_invalid"),
        ("of another time", good.replace(&format!("t={now}"), &format!("t={}", now + 1)), "signature_invalid"),
        ("a time that is none", good.replace(&format!("t={now}"), "t=now"), "signature_invalid"),
        ("stale", sign(now - WEBHOOK_TOLERANCE_SECONDS - 1), "signature_stale"),
        ("of the future", sign(now + WEBHOOK_TOLERANCE_SECONDS + 1), "signature_stale"),
        ("of the end of time", sign(i64::MAX), "signature_stale"),
        ("of the beginning of time", sign(i64::MIN), "signature_stale"),
    ] {
        bench.check(name, send(PATH, &signature), 400, code, "").await;
    }
    for other in ["/payments/webhook/other", "/payments/webhook/"] {
        bench.check(other, send(other, &good), 404, "not_found", "").await;
    }
    let not_json = app.ask("POST", PATH).header("stripe-signature", &sandbox::signature(&secret, now, "x")).body("x");
    bench.check("signed, and not an event", not_json, 400, "malformed_json", "").await;

    bench.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_that_are_not_so_or_were_heard_before() {
    let (mut bench, payment, body) = waiting().await;
    let app = &bench.app;
    let secret = app.running.secrets.stripe_webhook_secret.clone();
    let now = app.app("payment-webhook").now().as_second();
    let good = sandbox::signature(&secret, now, &body);
    let stale_soon = sandbox::signature(&secret, now - WEBHOOK_TOLERANCE_SECONDS, &body);
    let send = |signature: &str| app.ask("POST", PATH).header("stripe-signature", signature).body(body.clone());
    // Signed and fresh, but untrue or said before: looked into, and nothing comes of it, however often.
    for signature in [&good, &good, &stale_soon, &format!("{good},v1={}", "0".repeat(64))] {
        assert_eq!(send(signature).send().await.status, 204);
        app.settled().await;
        app.check_unwritten(&bench.before, "a webhook that says what is not so").await;
    }
    for event in [
        json!({ "type": "payment_intent.succeeded", "data": { "object": { "id": "pi_unknown" } } }),
        json!({ "type": "refund.failed", "data": { "object": { "id": "re_1", "payment_intent": payment.id, "metadata": { "refund_id": "rfd_00000000000000000000000000" } } } }),
        json!({ "type": "customer.created", "data": { "object": { "id": "cus_1" } } }),
    ] {
        let body = event.to_string();
        let ask = app.ask("POST", PATH).header("stripe-signature", &sandbox::signature(&secret, now, &body)).body(body);
        assert_eq!(ask.send().await.status, 204, "{event}");
        app.settled().await;
        app.check_unwritten(&bench.before, "a webhook of something else").await;
    }
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    app.settled().await;
    bench.before = app.everything().await;
    for _ in 0..3 {
        assert_eq!(send(&good).send().await.status, 204, "replayed");
        app.settled().await;
        app.check_unwritten(&bench.before, "a replayed webhook").await;
    }
    bench.app.finish().await;
}
