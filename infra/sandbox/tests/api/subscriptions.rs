//! What renewals need: customers, saved methods, charges while nobody is there, and declines that say what to do.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::harness::{Answer, PUBLIC, Running, drive, id, stopped_at, text};

/// 1 December 2026.
const NOW_SECONDS: i64 = 1_796_083_200;
const DAY_SECONDS: i64 = 24 * 60 * 60;
const PRICE: &str = "amount=900&currency=eur&payment_method_types[]=card";

async fn customer(running: &Running) -> String {
    id(&running.post("customers", "metadata[user_id]=usr_1").await.2)
}

/// Saves a method as the browser does; gives the setup intent as it is then.
async fn set_up(running: &Running, customer: &str, method: &str) -> Value {
    let made = running.post("setup_intents", &format!("customer={customer}&usage=off_session")).await.2;
    let (setup, secret) = (id(&made), text(&made["client_secret"]));
    let body = format!("client_secret={secret}&payment_method={method}");
    running.call(PUBLIC, None, "POST", &format!("setup_intents/{setup}/confirm"), &body).await;
    running.get(&format!("setup_intents/{setup}")).await.2
}

/// Does what the person at the bank's page does.
async fn authenticate(running: &Running, waiting: &Value, outcome: &str) -> u16 {
    let secret = text(&waiting["client_secret"]);
    let page = format!("{}/authenticate/{}", running.url, id(waiting));
    let form = format!("client_secret={secret}&outcome={outcome}");
    let form = running.client.post(page).header("content-type", "application/x-www-form-urlencoded").body(form);
    form.send().await.expect("an answer").status().as_u16()
}

/// A payment of a customer, not yet confirmed.
async fn payment(running: &Running, customer: &str, more: &str) -> Value {
    running.post("payment_intents", &format!("{PRICE}&customer={customer}&{more}")).await.2
}

async fn charge(running: &Running, payment: &str, method: &str) -> Answer {
    let body = format!("payment_method={method}&off_session=true");
    running.post(&format!("payment_intents/{payment}/confirm"), &body).await
}

#[tokio::test]
async fn a_decline_says_what_to_do() {
    let running = drive(stopped_at(NOW_SECONDS * 1_000).1).await;
    let owner = customer(&running).await;
    for (method, code, decline_code, advice, network) in [
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline", "try_again_later", "01"),
        ("pm_sandbox_saved_insufficient_funds", "card_declined", "insufficient_funds", "try_again_later", "51"),
        ("pm_sandbox_saved_lost_card", "card_declined", "lost_card", "do_not_try_again", "41"),
        ("pm_sandbox_saved_stolen_card", "card_declined", "stolen_card", "do_not_try_again", "43"),
        ("pm_sandbox_saved_expired_card", "expired_card", "", "confirm_card_data", "54"),
        ("pm_sandbox_saved_processing_error", "processing_error", "", "try_again_later", ""),
        ("pm_card_authenticationRequired", "authentication_required", "authentication_required", "", ""),
    ] {
        let attached = running.post(&format!("payment_methods/{method}/attach"), &format!("customer={owner}")).await;
        assert_eq!(attached.0, 200, "{method}: {}", attached.2);
        let (saved, made) = (id(&attached.2), payment(&running, &owner, "").await);
        let declined = charge(&running, &id(&made), &saved).await;
        assert_eq!((declined.0, declined.code()), (402, code), "{method}");
        let now = running.get(&format!("payment_intents/{}", id(&made))).await.2;
        assert_eq!((&now["status"], &now["payment_method"]), (&json!("requires_payment_method"), &Value::Null));
        let error = &now["last_payment_error"];
        let said = ["decline_code", "advice_code", "network_decline_code"].map(|name| text(&error[name]));
        assert_eq!(said, [decline_code, advice, network], "{method}");
        assert_eq!((&error["type"], text(&error["payment_method"]["id"])), (&json!("card_error"), saved), "{method}");
        let charge = running.get(&format!("charges/{}", text(&error["charge"]))).await.2;
        assert_eq!(text(&charge["outcome"]["advice_code"]), advice, "{method}");
        assert_eq!(text(&charge["outcome"]["network_decline_code"]), network, "{method}");
        assert!(charge.get("advice_code").is_none(), "a charge says so in its outcome");
    }
    // Stripe's own declining cards are not even saved, as there.
    for (method, code, advice) in [
        ("pm_card_chargeDeclined", "card_declined", "try_again_later"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "do_not_try_again"),
        ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "do_not_try_again"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "confirm_card_data"),
        ("pm_sandbox_expires_2026_11", "expired_card", "confirm_card_data"),
    ] {
        let refused = running.post(&format!("payment_methods/{method}/attach"), &format!("customer={owner}")).await;
        assert_eq!((refused.0, refused.code()), (402, code), "{method}");
        let setup = set_up(&running, &owner, method).await;
        let error = &setup["last_setup_error"];
        assert_eq!((&setup["status"], &error["code"]), (&json!("requires_payment_method"), &json!(code)), "{method}");
        assert_eq!((&error["advice_code"], &error["payment_method"]["type"]), (&json!(advice), &json!("card")));
    }
}

#[tokio::test]
async fn a_declined_payment_is_confirmed_again() {
    let running = drive(stopped_at(NOW_SECONDS * 1_000).1).await;
    let owner = customer(&running).await;
    let first = payment(&running, &owner, "setup_future_usage=off_session&metadata[subscription_id]=s").await;
    let paid = running.post(&format!("payment_intents/{}/confirm", id(&first)), "payment_method=pm_card_visa").await;
    assert_eq!((&paid.2["status"], &paid.2["amount_received"]), (&json!("succeeded"), &json!(900)), "captured at once");
    let saved = text(&paid.2["payment_method"]);
    assert_eq!(running.get(&format!("payment_methods/{saved}")).await.2["customer"], json!(owner));

    assert!(running.stripe.reissue(&saved, "pm_sandbox_saved_insufficient_funds"));
    let renewal = id(&payment(&running, &owner, "").await);
    let mut charges = Vec::new();
    for _ in 0..2 {
        let declined = charge(&running, &renewal, &saved).await;
        assert_eq!(declined.0, 402);
        charges.push(text(&declined.2["error"]["charge"]));
    }
    assert_ne!(charges[0], charges[1], "each try is a charge of its own");
    assert!(running.stripe.reissue(&saved, "pm_card_mastercard"));
    let paid = charge(&running, &renewal, &saved).await;
    assert_eq!((paid.0, &paid.2["status"]), (200, &json!("succeeded")));
    assert_eq!(charge(&running, &renewal, &saved).await.code(), "payment_intent_unexpected_state");
    let taken = running.stripe.books().movements.len();
    assert_eq!(taken, 2, "a payment is taken once");

    // Nobody is charged by a method that was taken away.
    running.post(&format!("payment_methods/{saved}/detach"), "").await;
    assert!(!running.stripe.reissue(&saved, "pm_card_visa"), "it is no longer saved");
    let last = id(&payment(&running, &owner, "").await);
    let refused = charge(&running, &last, &saved).await;
    assert_eq!((refused.0, text(&refused.2["error"]["type"])), (400, "invalid_request_error".to_owned()));
    assert_eq!(running.post(&format!("payment_methods/{saved}/attach"), &format!("customer={owner}")).await.0, 400);
    let told: Vec<String> = running.stripe.take_webhooks().into_iter().map(|webhook| webhook.kind).collect();
    let methods: Vec<_> = told.iter().filter(|kind| kind.starts_with("payment_method.")).collect();
    let updated = "payment_method.automatically_updated";
    assert_eq!(methods, ["payment_method.attached", updated, updated, "payment_method.detached"]);
}

#[tokio::test]
async fn authentication_follows_how_a_card_was_set_up() {
    let running = drive(stopped_at(NOW_SECONDS * 1_000).1).await;
    for (method, attached, set_up_first) in [
        ("pm_card_authenticationRequired", 402, 402),
        ("pm_card_authenticationRequiredOnSetup", 402, 200),
        ("pm_card_authenticationRequiredSetupForOffSession", 200, 200),
        ("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds", 402, 402),
    ] {
        let owner = customer(&running).await;
        let path = format!("payment_methods/{method}/attach");
        let unprepared = id(&running.post(&path, &format!("customer={owner}")).await.2);
        let made = id(&payment(&running, &owner, "").await);
        assert_eq!(charge(&running, &made, &unprepared).await.0, attached, "{method}, attached");
        let setup = set_up(&running, &owner, method).await;
        assert_eq!(setup["status"], "requires_action", "{method}");
        assert_eq!(authenticate(&running, &setup, "complete").await, 200);
        let setup = running.get(&format!("setup_intents/{}", id(&setup))).await.2;
        assert_eq!(setup["status"], "succeeded", "{method}");
        let made = id(&payment(&running, &owner, "").await);
        let away = charge(&running, &made, &text(&setup["payment_method"])).await;
        assert_eq!(away.0, set_up_first, "{method}, set up: {}", away.2);
    }
}

#[tokio::test]
async fn whoever_was_away_authenticates_later() {
    let running = drive(stopped_at(NOW_SECONDS * 1_000).1).await;
    let owner = customer(&running).await;
    for (method, outcome, status, code) in [
        ("pm_card_authenticationRequired", "complete", "succeeded", ""),
        ("pm_card_authenticationRequired", "fail", "requires_payment_method", "payment_intent_authentication_failure"),
        (
            "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
            "complete",
            "requires_payment_method",
            "card_declined",
        ),
    ] {
        let setup = set_up(&running, &owner, method).await;
        authenticate(&running, &setup, "complete").await;
        let saved = text(&setup["payment_method"]);
        let made = payment(&running, &owner, "").await;
        let (renewal, secret) = (id(&made), text(&made["client_secret"]));
        assert_eq!(charge(&running, &renewal, &saved).await.code(), "authentication_required");

        // The page of the payment offers the card that was declined.
        let page = format!("{}/pay/{renewal}?client_secret={secret}", running.url);
        let page = running.client.get(page).send().await.expect("an answer").text().await.expect("text");
        assert!(page.contains(&saved) && page.contains("payment_intents"), "{page}");
        let body = format!("client_secret={secret}&payment_method={saved}");
        let path = format!("payment_intents/{renewal}/confirm");
        let waiting = running.call(PUBLIC, None, "POST", &path, &body).await.2;
        assert_eq!(waiting["status"], "requires_action", "{method}: {waiting}");
        assert_eq!(authenticate(&running, &waiting, outcome).await, 200);
        let now = running.get(&format!("payment_intents/{renewal}")).await.2;
        assert_eq!((text(&now["status"]), text(&now["last_payment_error"]["code"])), (status.into(), code.into()));
    }
}

#[tokio::test]
async fn a_card_ends_with_its_month() {
    let (clock, settings) = stopped_at(NOW_SECONDS * 1_000);
    let running = drive(settings).await;
    let owner = customer(&running).await;
    let setup = set_up(&running, &owner, "pm_sandbox_expires_2026_12").await;
    let saved = text(&setup["payment_method"]);
    let card = running.get(&format!("payment_methods/{saved}")).await.2["card"].clone();
    assert_eq!((&card["exp_month"], &card["exp_year"], &card["last4"]), (&json!(12), &json!(2026), &json!("9006")));
    for (days, status, code) in [(30, 200, ""), (1, 402, "expired_card")] {
        clock.fetch_add(days * DAY_SECONDS * 1_000, Ordering::SeqCst);
        let made = id(&payment(&running, &owner, "").await);
        let answer = charge(&running, &made, &saved).await;
        assert_eq!((answer.0, answer.code()), (status, code), "{days} days later");
    }
    assert!(running.stripe.reissue(&saved, "pm_sandbox_expires_2030_12"));
    let card = running.get(&format!("payment_methods/{saved}")).await.2["card"].clone();
    assert_eq!(card["exp_year"], 2030);
    let made = id(&payment(&running, &owner, "").await);
    assert_eq!(charge(&running, &made, &saved).await.0, 200);
    assert!(!running.stripe.reissue(&saved, "pm_card_nobody") && !running.stripe.reissue("pm_0", "pm_card_visa"));
}

#[tokio::test]
async fn a_card_is_saved_by_hand() {
    let running = drive(stopped_at(NOW_SECONDS * 1_000).1).await;
    let (owner, other) = (customer(&running).await, customer(&running).await);
    let made = running.post("setup_intents", &format!("customer={owner}")).await.2;
    let (setup, secret) = (id(&made), text(&made["client_secret"]));
    let page = async |secret: &str| {
        let answer = running.client.get(format!("{}/pay/{setup}?client_secret={secret}", running.url)).send().await;
        let answer = answer.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (status, shown) = page(&secret).await;
    assert!(status == 200 && shown.contains("setup_intents") && shown.contains("Save a card"), "{shown}");
    assert_eq!(page("guess").await.0, 404);
    for (query, found) in [(format!("customer={owner}"), 1), (format!("customer={other}"), 0), (String::new(), 1)] {
        assert_eq!(running.list(&format!("setup_intents?{query}")).await.len(), found, "{query}");
    }
    let cancelled = running.post(&format!("setup_intents/{setup}/cancel"), "").await;
    assert_eq!(cancelled.2["status"], "canceled");
    let told: Vec<String> = running.stripe.take_webhooks().into_iter().map(|webhook| webhook.kind).collect();
    assert_eq!(told, ["setup_intent.canceled"]);
}
