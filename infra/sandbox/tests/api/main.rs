//! The sandbox through its own door: states, errors, idempotency, webhooks, restart.

mod balance;
mod disputes;
mod driver;
mod harness;
mod subscriptions;
mod telegram;

use std::time::Duration;

use harness::{Disk, PUBLIC, READ_ONLY, SECRET, id, quick, receiver, start, text, types};
use sandbox::{Settings, Status};
use serde_json::json;

#[tokio::test]
async fn each_method_leads_where_it_says() {
    let running = start(quick()).await;
    for (method, status, then, end) in [
        ("pm_card_visa", "requires_capture", "capture", "succeeded"),
        ("pm_card_visa", "requires_capture", "cancel", "canceled"),
        ("pm_card_mastercard", "requires_capture", "capture", "succeeded"),
        ("pm_card_chargeDeclined", "requires_payment_method", "cancel", "canceled"),
        ("pm_card_visa_chargeDeclined", "requires_payment_method", "capture", "requires_payment_method"),
        ("pm_card_threeDSecure2Required", "requires_action", "capture", "requires_action"),
        ("pm_card_authenticationRequired", "requires_action", "cancel", "canceled"),
        ("pm_sandbox_timeout", "requires_capture", "capture", "succeeded"),
        ("pm_sandbox_delay_3600", "processing", "cancel", "processing"),
        ("pm_sandbox_capture_fails", "requires_capture", "capture", "requires_capture"),
        ("pm_sandbox_capture_fails", "requires_capture", "cancel", "canceled"),
        ("pm_sandbox_captures_at_once", "succeeded", "cancel", "succeeded"),
    ] {
        let id = running.intent(&format!("confirm=true&payment_method={method}")).await;
        assert_eq!(running.status(&id).await, status, "{method}");
        running.post(&format!("payment_intents/{id}/{then}"), "").await;
        assert_eq!(running.status(&id).await, end, "{method}, then {then}");
    }
    let books = running.stripe.books();
    let succeeded = books.intents.iter().filter(|intent| intent.status == Status::Succeeded);
    assert_eq!(succeeded.map(|intent| intent.amount_received).sum::<i64>(), 4_000);
}

#[tokio::test]
async fn delays_end_by_themselves() {
    let running = start(quick()).await;
    for (method, end) in
        [("pm_sandbox_delay_1", "requires_capture"), ("pm_sandbox_decline_after_1", "requires_payment_method")]
    {
        let id = running.intent(&format!("confirm=true&payment_method={method}")).await;
        assert_eq!(running.status(&id).await, "processing");
        running.until(method, async || running.status(&id).await == end).await;
    }
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let running = start(quick()).await;
    let id = running.intent("").await;
    let own = format!("payment_intents/{id}");
    let base = "currency=usd&payment_method_types[]=card&amount";
    for (method, path, body, status, code) in [
        ("POST", "payment_intents", &*format!("{base}=49"), 400, "amount_too_small"),
        ("POST", "payment_intents", &format!("{base}=100000000"), 400, "amount_too_large"),
        ("POST", "payment_intents", &format!("{base}=x"), 400, "parameter_invalid_integer"),
        ("POST", "payment_intents", &format!("{base}=1000&colour=red"), 400, "parameter_unknown"),
        ("POST", "payment_intents", &format!("{base}=1000&customer=cus_0"), 400, "resource_missing"),
        ("POST", "payment_intents", &format!("{base}=1000&customer="), 400, "parameter_invalid_empty"),
        ("POST", "payment_intents", "currency=usd", 400, "parameter_missing"),
        ("POST", "payment_intents", &format!("{base}=1000&expand[]=password"), 400, ""),
        ("POST", "payment_intents", "amount=1000&currency=usd&confirm=true&payment_method=pm_card_visa", 400, ""),
        ("GET", "payment_intents/pi_0", "", 404, "resource_missing"),
        ("GET", "payment_intents?limit=101", "", 400, "parameter_invalid_integer"),
        ("GET", "payment_intents?starting_after=pi_0", "", 400, "resource_missing"),
        ("POST", &format!("{own}/capture"), "", 400, "payment_intent_unexpected_state"),
        ("POST", &format!("{own}/confirm"), "", 400, "payment_intent_unexpected_state"),
        ("POST", &format!("{own}/confirm"), "payment_method=pm_card_nobody", 400, "resource_missing"),
        ("POST", &format!("{own}/confirm"), "client_secret=guess", 400, "payment_intent_invalid_parameter"),
        ("POST", "refunds", "", 400, "parameter_missing"),
        ("POST", "refunds", &format!("payment_intent={id}"), 400, ""),
        ("GET", "nothing", "", 404, ""),
    ] {
        let answer = running.call(SECRET, None, method, path, body).await;
        assert_eq!((answer.0, answer.code()), (status, code), "{method} {path} {body}: {}", answer.2);
        assert!(answer.1["request-id"].to_str().expect("text").starts_with("req_"));
    }
    for (key, path, status) in
        [("sk_test_wrong", &*own, 401), (PUBLIC, &own, 400), (PUBLIC, "refunds", 401), (READ_ONLY, &own, 200)]
    {
        assert_eq!(running.call(key, None, "GET", path, "").await.0, status, "{key} {path}");
    }
    assert_eq!(running.call(READ_ONLY, None, "POST", "customers", "").await.0, 403);
    assert_eq!(running.post("customers", &format!("name={}", "x".repeat(70_000))).await.0, 413);
}

#[tokio::test]
async fn a_key_is_answered_once() {
    let running = start(quick()).await;
    let create = "amount=1000&currency=usd&payment_method_types[]=card";
    let first = running.call(SECRET, Some("k1"), "POST", "payment_intents", create).await;
    let again = running.call(SECRET, Some("k1"), "POST", "payment_intents", create).await;
    assert_eq!((first.0, &first.2), (again.0, &again.2));
    assert_eq!(again.1["idempotent-replayed"], "true");
    assert!(!first.1.contains_key("idempotent-replayed"));
    let other = running.call(SECRET, Some("k1"), "POST", "payment_intents", &format!("{create}&description=x")).await;
    assert_eq!((other.0, &other.2["error"]["type"]), (400, &json!("idempotency_error")));
    assert_eq!(running.call(SECRET, Some("k1"), "POST", "customers", "").await.0, 400);

    // A validation error is not remembered; a decline is.
    let small = running.call(SECRET, Some("k2"), "POST", "payment_intents", "amount=1&currency=usd").await;
    assert_eq!(small.0, 400);
    let declined = format!("{create}&confirm=true&payment_method=pm_card_chargeDeclined");
    let no = running.call(SECRET, Some("k2"), "POST", "payment_intents", &declined).await;
    let no_again = running.call(SECRET, Some("k2"), "POST", "payment_intents", &declined).await;
    assert_eq!((no.0, no.code(), &no.2), (402, "card_declined", &no_again.2));

    // A call that began and failed fails again; one that was refused in an outage does not.
    running.stripe.set_broken(true);
    assert_eq!(running.call(SECRET, Some("k3"), "POST", "customers", "").await.0, 500);
    running.stripe.set_broken(false);
    assert_eq!(running.call(SECRET, Some("k3"), "POST", "customers", "").await.0, 500);
    running.stripe.set_down(true);
    assert_eq!(running.call(SECRET, Some("k4"), "POST", "customers", "").await.0, 503);
    running.stripe.set_down(false);
    assert_eq!(running.call(SECRET, Some("k4"), "POST", "customers", "").await.0, 200);

    // While the first call hangs, its key is in use.
    let id = running.intent("").await;
    let confirm = format!("payment_intents/{id}/confirm");
    let body = "payment_method=pm_sandbox_timeout";
    let hanging = running.call(SECRET, Some("k5"), "POST", &confirm, body);
    let meanwhile = async {
        running.until("authorised", async || running.status(&id).await == "requires_capture").await;
        running.call(SECRET, Some("k5"), "POST", &confirm, body).await
    };
    let (late, refused) = tokio::join!(hanging, meanwhile);
    assert_eq!((late.0, refused.0, refused.code()), (200, 409, "idempotency_key_in_use"));
}

#[tokio::test]
async fn refunds_add_up() {
    let running = start(quick()).await;
    let id = running.intent("confirm=true&payment_method=pm_card_visa").await;
    running.post(&format!("payment_intents/{id}/capture"), "amount_to_capture=900").await;
    for (amount, status, code) in [
        ("amount=400", 200, ""),
        ("amount=600", 400, ""),
        ("amount=0", 400, "parameter_invalid_integer"),
        ("", 200, ""),
        ("amount=1", 400, "charge_already_refunded"),
    ] {
        let answer = running.post("refunds", &format!("payment_intent={id}&{amount}")).await;
        assert_eq!((answer.0, answer.code()), (status, code), "{amount}: {}", answer.2);
    }
    let books = running.stripe.books();
    assert_eq!(books.refunds.iter().map(|refund| refund.amount).collect::<Vec<_>>(), [400, 500]);
    let balance = running.get("balance_transactions?limit=100").await;
    let amounts = balance.2["data"].as_array().expect("a list").iter().map(|txn| txn["amount"].as_i64());
    assert_eq!(amounts.collect::<Vec<_>>(), [Some(-500), Some(-400), Some(900)]);
}

#[tokio::test]
async fn webhooks_are_signed_prompt_and_repeated() {
    let (url, inbox) = receiver(2).await;
    let running = start(Settings { webhook_url: Some(url), ..quick() }).await;
    let id = running.intent("").await;
    running.until("delivered", async || running.stripe.webhooks_pending() == 0).await;
    assert_eq!(types(&inbox), ["payment_intent.created"; 3]);
    let bodies: Vec<String> = inbox.lock().expect("unpoisoned").drain(..).map(|(_, body)| body).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "an event is the same each time it is sent");
    running.post(&format!("payment_intents/{id}/confirm"), "payment_method=pm_card_refundFail").await;
    running.post(&format!("payment_intents/{id}/capture"), "").await;
    running.post("refunds", &format!("payment_intent={id}")).await;
    running.until("refund failed", async || types(&inbox).iter().any(|kind| kind == "charge.refund.updated")).await;
    let told = types(&inbox);
    for kind in [
        "payment_intent.amount_capturable_updated",
        "payment_intent.succeeded",
        "refund.created",
        "charge.refunded",
        "refund.failed",
        "refund.updated",
    ] {
        assert!(told.iter().any(|told| told == kind), "{kind} in {told:?}");
    }
}

#[tokio::test]
async fn a_webhook_nobody_takes_is_given_up() {
    let (url, inbox) = receiver(usize::MAX).await;
    let running = start(Settings { webhook_url: Some(url), ..quick() }).await;
    running.intent("").await;
    running.until("given up", async || running.stripe.webhooks_pending() == 0).await;
    assert_eq!(types(&inbox).len(), 4);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let disk = Disk::new("first");
    // Nobody listens there, so that the webhooks stay.
    let settings = Settings {
        webhook_url: Some("http://127.0.0.1:9/".to_owned()),
        retry_delays: vec![Duration::from_millis(200); 100],
        database: Some(disk.file()),
        ..quick()
    };
    let running = start(settings.clone()).await;
    let customer = id(&running.post("customers", "email=a@example.com").await.2);
    let paid = running.intent(&format!("confirm=true&payment_method=pm_card_visa&customer={customer}")).await;
    let slow = running.intent("confirm=true&payment_method=pm_sandbox_delay_1").await;
    let capture = format!("payment_intents/{paid}/capture");
    let first = running.call(SECRET, Some("key"), "POST", &capture, "amount_to_capture=700").await;
    let refund = id(&running.post("refunds", &format!("payment_intent={paid}&amount=300")).await.2);
    let pending = running.stripe.webhooks_pending();
    let crashed = disk.copy("crashed");
    running.stop.send(()).expect("still serving");
    running.server.await.expect("stops");

    let (url, inbox) = receiver(0).await;
    let again = start(Settings { database: Some(crashed.file()), webhook_url: None, ..settings }).await;
    assert_eq!(again.stripe.webhooks_pending(), pending);
    let replayed = again.call(SECRET, Some("key"), "POST", &capture, "amount_to_capture=700").await;
    assert_eq!((replayed.0, &replayed.2), (200, &first.2));
    let listed = again.get(&format!("payment_intents?customer={customer}")).await;
    assert_eq!(listed.2["data"][0]["id"], json!(paid));
    let refunds = again.get(&format!("refunds?payment_intent={paid}")).await;
    assert_eq!(refunds.2["data"][0]["id"], json!(refund));
    again.until("the delay has ended", async || again.status(&slow).await == "requires_capture").await;
    let more = id(&again.post("refunds", &format!("payment_intent={paid}")).await.2);
    assert_eq!(again.stripe.books().intents[0].refunds, [refund, more]);
    again.stripe.set_webhook_url(Some(url));
    again.until("all told", async || again.stripe.webhooks_pending() == 0).await;
    let told = types(&inbox);
    assert!(told.len() >= pending && told.iter().any(|kind| kind == "payment_intent.succeeded"), "{told:?}");
}

#[tokio::test]
async fn pages_escape_and_keep_secrets() {
    let running = start(quick()).await;
    let id = running.intent("description=%3Cscript%3E&metadata[a]=%3Cb%3E").await;
    let secret = text(&running.get(&format!("payment_intents/{id}")).await.2["client_secret"]);
    let page = async |path: &str| {
        let answer = running.client.get(format!("{}{path}", running.url)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (status, pay) = page(&format!("/pay/{id}?client_secret={secret}&return_url=javascript:alert(1)")).await;
    assert!(
        status == 200 && pay.contains("10.00 USD") && pay.contains("&lt;script&gt;") && !pay.contains("javascript:")
    );
    assert_eq!(page(&format!("/pay/{id}?client_secret=guess")).await.0, 404);
    let (status, books) = page("/").await;
    assert!(status == 200 && books.contains(&id) && books.contains("&lt;b&gt;") && !books.contains(&secret));
}
