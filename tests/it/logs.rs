//! What is logged holds nothing that is secret, whatever is done and refused.

use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tests::{TestApp, User, id, seat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

const PASSWORD: &str = "swordfish-swordfish";
const EMAIL: &str = "who.is.it@example.org";

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic holds this lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Registers, signs in, buys, enters, gives back, and does some of it wrong; all secrets that were used on the way.
async fn live(app: &TestApp) -> Vec<String> {
    let secrets = app.running.secrets.clone();
    let mut used = vec![PASSWORD.to_owned(), EMAIL.to_owned(), secrets.stripe_secret, secrets.stripe_webhook_secret];
    let event = app.on_sale().await;
    let account = json!({ "email": EMAIL, "password": PASSWORD, "name": "Who Is It" });
    let register = || app.ask("POST", "/users").key("k");
    register().json(&account).send().await.expect(201);
    register()
        .header("content-type", "application/json")
        .body(format!("{{\"password\":\"{PASSWORD}\" \""))
        .send()
        .await
        .problem(400, "malformed_json");
    register().json(&json!({ "email": EMAIL, "password": PASSWORD, "name": 1 })).send().await.problem(422, "invalid");
    let credentials = |password: &str| json!({ "email": EMAIL, "password": password });
    app.ask("POST", "/sessions").json(&credentials("swordfish-wrong")).send().await.problem(401, "credentials_wrong");
    let tokens = app.ask("POST", "/sessions").json(&credentials(PASSWORD)).send().await.expect(201);
    let refresh = async || {
        app.ask("POST", "/sessions/refresh").json(&json!({ "refresh_token": tokens["refresh_token"] })).send().await
    };
    refresh().await.expect(201);
    refresh().await.problem(401, "refresh_token_invalid");
    let text = |body: &Value, name: &str| body[name].as_str().expect("a text").to_owned();
    used.extend([text(&tokens, "access_token"), text(&tokens, "refresh_token"), "swordfish".to_owned()]);
    let buyer = User::with_token(text(&tokens, "access_token"));

    let order = app.hold(&buyer, &event, &json!([seat("Stalls", 1, 1)])).await;
    let path = format!("/orders/{}/payment", id(&order));
    app.running.payments.stripe.set_broken(true);
    app.post(&buyer, &path, &Value::Null).await.problem(503, "payment_provider_unavailable");
    app.running.payments.stripe.set_broken(false);
    let payment = app.start_payment(&buyer, id(&order)).await;
    app.confirm(&payment, "pm_card_chargeDeclined").await;
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    app.settled().await;
    let paid = app.order(&buyer, id(&order)).await;
    assert_eq!(paid["status"], "paid");
    used.push(payment.client_secret);
    let ticket = text(&paid["seats"][0], "ticket_id");
    let code = app.code(&buyer, &ticket).await;
    app.check_in(&event, &ticket, &code).await.expect(200);
    used.push(code);
    let forged = app.ask("POST", "/payments/webhook/stripe").header("stripe-signature", "t=1,v1=ab").body("{}");
    forged.send().await.problem(400, "signature_invalid");
    let lost = app.hold(&buyer, &event, &json!([seat("Stalls", 1, 2)])).await;
    app.pay(&buyer, id(&lost), "pm_sandbox_capture_fails").await;
    let back = app.buy(&buyer, &event, &json!([seat("Stalls", 1, 2)])).await;
    app.give_back(&buyer, id(&back), None).await;
    used
}

/// On one thread, so that one subscriber hears all of it and nothing of other tests.
#[tokio::test(flavor = "current_thread")]
async fn nothing_secret_is_logged() {
    let log = Log::default();
    let kept = log.clone();
    let filter =
        EnvFilter::new("info,dynoxide=off,platform=debug,functions=debug,domain=debug,boxoffice=debug,sandbox=debug");
    // Where there is just one subscriber in the process, `tracing` lets whichever thread meets an event first decide
    // whether it is ever heard, and other tests' threads hear nothing.
    let second = tracing_subscriber::fmt().with_writer(std::io::sink).finish().set_default();
    let subscriber =
        tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(move || kept.clone()).finish();
    let listening = subscriber.set_default();
    let app = TestApp::start().await;
    let mut used = live(&app).await;
    for key in [&app.running.secrets.token_signing_key, &app.running.secrets.ticket_signing_key] {
        let key: Value = serde_json::from_str(key).expect("it is JSON");
        used.push(key["seed"].as_str().expect("a text").to_owned());
    }
    app.finish().await;
    drop((listening, second));
    let text = String::from_utf8(log.0.lock().expect("no panic holds this lock").clone()).expect("a log is a text");
    for said in ["order paid", "checked in", "session ended", "request failed"] {
        assert!(text.contains(said), "the log says: {said}\n{text}");
    }
    for secret in used.iter().map(String::as_str).chain(["eyJ", "whsec_", "sk_test_", "$argon2"]) {
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is in the log: {line:?}");
    }
}
