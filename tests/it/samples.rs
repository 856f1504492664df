//! The sample event of each function under `events/`, as AWS would deliver it.

use axum::body::Body;
use functions::{FUNCTIONS, Trigger};
use serde_json::{Value, json};
use std::path::Path;
use tests::{TestApp, id, seat};
use tower::ServiceExt;

/// A sample with what only a running box office knows put in.
fn sample(function: &str, known: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(format!("{function}.json"));
    let text = std::fs::read_to_string(&path);
    let mut text = text.unwrap_or_else(|error| panic!("events/{function}.json: {error}"));
    for (name, value) in known {
        text = text.replace(name, value);
    }
    text
}

/// Status and body of the reply to an event of API Gateway, through the function's own router as on Lambda.
async fn http(app: &TestApp, function: &str, event: &str) -> (u16, Value) {
    let Some(Trigger::Http(routes)) = functions::find(function).map(|function| &function.trigger) else {
        panic!("{function} is not started by HTTP")
    };
    let request = lambda_http::request::from_str(event).expect("it is an event of API Gateway");
    let request = request.map(|body| Body::from(body.to_vec()));
    let router = routes(app.app(function)).split_for_parts().0;
    let response = router.oneshot(request).await.expect("a router always answers");
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("the reply arrives whole");
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_function_takes_its_sample() {
    let app = TestApp::start().await;
    let event = app.on_sale().await;
    let user = tests::User::new(app.buyer().id, app.admin.roles.clone());
    let register = app.app("register");
    let token = platform::auth::sign_access(&register, user.id, domain::ids::SessionId(1), user.roles.clone()).await;
    let token = token.expect("the key is there");
    let order = app.hold(&user, &event, &json!([seat("Stalls", 2, 1)])).await;
    let payment = app.start_payment(&user, id(&order)).await;
    app.running.payments.stripe.set_webhook_url(None);
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    let terms = json!({ "name": { "ru": "Друг", "en": "Friend" }, "price": { "amount": 1000, "currency": "EUR" }, "billing": "monthly" });
    let plan = app.post(&app.admin, "/admin/plans", &terms).await.expect(201);

    let user_id = user.id.to_string();
    let known = [
        ("ACCESS_TOKEN", token.as_str()),
        ("USER_ID", &user_id),
        ("EVENT_ID", &event),
        ("ORDER_ID", id(&order)),
        ("PAYMENT_ID", &payment.id),
        ("PLAN_ID", id(&plan)),
    ];
    let mut taken = Vec::new();
    let replies = [("register", 201), ("catalog", 200), ("buy", 201), ("refund", 409), ("admin", 201)];
    for (function, status) in replies.into_iter().chain([("subscribe", 201), ("marketing", 201), ("messenger", 201)]) {
        let (replied, body) = http(&app, function, &sample(function, &known)).await;
        assert_eq!(replied, status, "{function}: {body}");
        taken.push(function);
    }
    let webhook: Value = serde_json::from_str(&sample("payment-webhook", &known)).expect("it is JSON");
    let now = app.app("buy").now().as_second();
    let body = webhook["body"].as_str().expect("a text");
    let signature = sandbox::signature(&app.running.secrets.stripe_webhook_secret, now, body);
    app.running.pause("Payments").expect("there is such a queue");
    let signed = sample("payment-webhook", &[known.as_slice(), &[("STRIPE_SIGNATURE", &signature)]].concat());
    assert_eq!(http(&app, "payment-webhook", &signed).await, (204, Value::Null));
    let (status, _) = http(&app, "payment-webhook", &sample("payment-webhook", &known)).await;
    assert_eq!(status, 400, "unsigned");
    taken.push("payment-webhook");

    for (function, reply) in [
        ("settle", json!({ "batchItemFailures": [{ "itemIdentifier": "2e1424d4-f796-459a-8184-9c92662be6da" }] })),
        ("offers", json!({ "batchItemFailures": [{ "itemIdentifier": "b1b7c1de-52f4-4c39-8d0e-0f6d3c1b9e43" }] })),
        ("relay", json!({ "batchItemFailures": [] })),
        ("republish", json!({ "batchItemFailures": [{ "itemIdentifier": "a0b7c1de-52f4-4c39-8d0e-0f6d3c1b9e42" }] })),
        ("notify", json!({ "batchItemFailures": [{ "itemIdentifier": "a0b7c1de-52f4-4c39-8d0e-0f6d3c1b9e42" }] })),
        ("remind", Value::Null),
        ("sweep", Value::Null),
        ("renew", Value::Null),
        ("reconcile", Value::Null),
    ] {
        let event = serde_json::from_str(&sample(function, &known)).expect("it is JSON");
        let replied = functions::invoke(app.app(function), function, event).await;
        assert_eq!(replied.expect("it is handled"), reply, "{function}");
        taken.push(function);
    }
    assert_eq!(app.order(&user, id(&order)).await["status"], "paid", "the sample of `settle` settled it");
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    let all: Vec<_> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert!(all.iter().all(|name| taken.contains(name)), "{all:?}");
    app.advance(601);
    app.sweep().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_function_takes_is_an_error() {
    let app = TestApp::start().await;
    for (function, event) in [
        ("settle", json!({})),
        ("relay", json!({ "Records": 1 })),
        ("buy", json!({ "Records": [] })),
        ("nobody", json!({})),
    ] {
        assert!(functions::invoke(app.app("settle"), function, event).await.is_err(), "{function}");
    }
    for body in
        ["", "{}", "{\"type\":\"order.paid\"}", "not JSON", "{\"type\":\"order.due\",\"buyer\":\"x\",\"order\":\"y\"}"]
    {
        let event = json!({ "Records": [{ "messageId": "m", "body": body }] });
        let reply = functions::invoke(app.app("settle"), "settle", event).await.expect("it reports what failed");
        assert_eq!(reply, json!({ "batchItemFailures": [{ "itemIdentifier": "m" }] }), "{body}");
    }
    app.finish().await;
}
