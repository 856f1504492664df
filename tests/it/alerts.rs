//! Alerts: what people want to be told of, and the lines that they wait in.

use super::perks;
use domain::alerts::{LINE_SHARDS, Line, Scope};
use serde_json::{Value, json};
use tests::http::new_key;
use tests::{TestApp, User, id};

fn on_event(event: &str) -> Value {
    json!({ "scope": { "event_id": event }, "when": "seats_back" })
}

/// The same with these members.
fn with(body: &Value, changes: Value) -> Value {
    let mut body = body.clone();
    for (name, value) in changes.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

async fn end(app: &TestApp, user: &User, id: &str) -> u16 {
    app.ask("DELETE", &format!("/alerts/{id}")).by(user).send().await.status
}

async fn list(app: &TestApp, user: &User) -> Vec<Value> {
    app.get(user, "/alerts").await.expect(200)["items"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_made_listed_and_ended() {
    let app = TestApp::start().await;
    let (event, ada, eve) = (app.on_sale().await, app.buyer(), app.buyer());
    let body = json!({
        "scope": { "event_id": event }, "when": "seats_back", "quantity": 2, "sections": ["Stalls", "Side"],
        "price_max": { "amount": 150_000, "currency": "RUB" }, "standing": true,
    });
    let made = app.post_with_key(&ada, "/alerts", "k", &body).await.expect(201);
    assert!(id(&made).starts_with("alr_"));
    let expected = with(
        &body,
        json!({
            "id": made["id"], "status": "active", "priority": 0, "created_at": "2027-03-01T12:00:00Z",
        }),
    );
    assert_eq!(made, expected);
    let before = app.everything().await;
    assert_eq!(app.post_with_key(&ada, "/alerts", "k", &body).await.expect(201), made, "the same request again");
    let other = with(&body, json!({ "quantity": 3 }));
    app.post_with_key(&ada, "/alerts", "k", &other).await.problem(409, "idempotency_key_reused");
    assert_eq!(end(&app, &eve, id(&made)).await, 404, "what is somebody else's is not there");
    app.check_unwritten(&before, "a repeated request").await;
    assert_eq!((list(&app, &ada).await, list(&app, &eve).await), (vec![made.clone()], vec![]));

    assert_eq!((end(&app, &ada, id(&made)).await, end(&app, &ada, id(&made)).await), (204, 204));
    assert_eq!(list(&app, &ada).await, Vec::<Value>::new());
    let again = app.post_with_key(&ada, "/alerts", "k", &body).await.expect(201);
    assert_eq!((&again["id"], &again["status"]), (&made["id"], &json!("ended")), "a late repetition is no new alert");
    assert_eq!(end(&app, &ada, "alr_00000000000000000000000000").await, 404);

    for city in ["Oslo", "Bergen", "Tromsø"] {
        app.post(&ada, "/alerts", &json!({ "scope": { "city": city }, "when": "on_sale" })).await.expect(201);
    }
    let first = app.get(&ada, "/alerts?limit=2").await.expect(200);
    let cursor = first["next_cursor"].as_str().expect("there are more");
    let second = app.get(&ada, &format!("/alerts?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((first["items"].as_array().map(Vec::len), second["items"].as_array().map(Vec::len)), (Some(2), Some(1)));
    assert!(second["next_cursor"].is_null());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_alert_is_refused() {
    let app = TestApp::start().await;
    let (hall, ada) = (app.hall().await, app.buyer());
    let event = app.event(&hall, &Value::Null).await;
    let later = app.event(&hall, &json!({ "on_sale_from": "2027-05-01T00:00:00Z" })).await;
    let off = app.event(&hall, &Value::Null).await;
    let hidden = app.event(&hall, &json!({ "hidden": true })).await;
    let soon = app.event(&hall, &json!({ "starts_at": "2027-03-01T12:00:05Z" })).await;
    app.post(&app.admin, &format!("/admin/events/{off}/cancellation"), &Value::Null).await.expect(200);
    app.settled().await;
    app.advance(5);
    let good = on_event(&event);
    let zeros = "0".repeat(26);
    let city = |name: &str| json!({ "scope": { "city": name }, "when": "on_sale" });
    let many: Vec<String> = (0..21).map(|n| n.to_string()).collect();
    let before = app.everything().await;
    for (name, body, pointer) in [
        ("nothing", json!({}), ""),
        ("no scope", with(&good, json!({ "scope": {} })), "/scope"),
        ("two scopes", with(&good, json!({ "scope": { "event_id": event, "city": "Oslo" } })), "/scope"),
        ("not any", with(&good, json!({ "scope": { "any": false } })), "/scope"),
        ("an unknown scope", with(&good, json!({ "scope": { "country": "NO" } })), "/scope/country"),
        (
            "an id of something else",
            with(&good, json!({ "scope": { "event_id": ada.id.to_string() } })),
            "/scope/event_id",
        ),
        ("no such event", on_event(&format!("evt_{zeros}")), "/scope/event_id"),
        ("a hidden event", on_event(&hidden), "/scope/event_id"),
        (
            "no such performer",
            with(&good, json!({ "scope": { "performer_id": format!("prf_{zeros}") } })),
            "/scope/performer_id",
        ),
        ("no such venue", with(&good, json!({ "scope": { "venue_id": format!("ven_{zeros}") } })), "/scope/venue_id"),
        ("a city without a name", city(" "), "/scope/city"),
        ("a city of lines", city("a\nb"), "/scope/city"),
        ("a long city", city(&"x".repeat(201)), "/scope/city"),
        ("everything at any price", json!({ "scope": { "any": true }, "when": "on_sale" }), "/price_max"),
        ("another moment", with(&good, json!({ "when": "never" })), "/when"),
        ("no seats", with(&good, json!({ "quantity": 0 })), "/quantity"),
        ("eleven seats", with(&good, json!({ "quantity": 11 })), "/quantity"),
        ("seats below zero", with(&good, json!({ "quantity": -1 })), "/quantity"),
        (
            "a price below zero",
            with(&good, json!({ "price_max": { "amount": -1, "currency": "RUB" } })),
            "/price_max/amount",
        ),
        (
            "another currency",
            with(&good, json!({ "price_max": { "amount": 1, "currency": "EUR" } })),
            "/price_max/currency",
        ),
        ("no currency", with(&good, json!({ "price_max": { "amount": 1, "currency": "XYZ" } })), "/price_max/currency"),
        ("no such section", with(&good, json!({ "sections": ["Stalls", "Roof"] })), "/sections/1"),
        ("a section twice", with(&good, json!({ "sections": ["Stalls", "Stalls"] })), "/sections/1"),
        ("too many sections", with(&good, json!({ "sections": many })), "/sections"),
        ("sections of a city", with(&city("Oslo"), json!({ "sections": ["A"], "when": "seats_back" })), "/sections"),
        (
            "seats held at the sale",
            with(&on_event(&later), json!({ "when": "on_sale", "standing": true })),
            "/standing",
        ),
        ("a priority of one's own", with(&good, json!({ "priority": 9 })), "/priority"),
    ] {
        let problem = app.post(&ada, "/alerts", &body).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"].as_str().unwrap_or_default(), pointer, "{name}: {problem}");
    }
    let on_sale = |event: &str| with(&on_event(event), json!({ "when": "on_sale" }));
    for (body, code) in
        [(on_sale(&event), "already_on_sale"), (on_event(&off), "event_cancelled"), (on_event(&soon), "event_started")]
    {
        app.post(&ada, "/alerts", &body).await.problem(409, code);
    }
    app.ask("POST", "/alerts").by(&ada).json(&good).send().await.problem(400, "idempotency_key_missing");
    app.ask("POST", "/alerts").key("k").json(&good).send().await.problem(401, "token_missing");
    app.get(&ada, "/alerts?cursor=x").await.problem(422, "invalid");
    app.check_unwritten(&before, "what was refused").await;
    for body in [
        on_sale(&later),
        with(&good, json!({ "scope": { "performer_id": hall.performer }, "when": "on_sale" })),
        with(&good, json!({ "scope": { "venue_id": hall.venue }, "sections": ["Somewhere"] })),
        with(&city("Oslo 🎭 שלום#1"), json!({ "standing": true, "when": "seats_back" })),
        json!({ "scope": { "any": true }, "when": "on_sale", "price_max": { "amount": 0, "currency": "JPY" } }),
    ] {
        app.post(&ada, "/alerts", &body).await.expect(201);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_more_than_they_may() {
    let app = TestApp::start().await;
    let (event, ada) = (app.on_sale().await, app.buyer());
    let standing = |scope: Value| json!({ "scope": scope, "when": "seats_back", "standing": true });
    let city = |n: usize| json!({ "city": format!("City {n}") });
    let here = standing(json!({ "event_id": event }));
    app.post(&ada, "/alerts", &here).await.expect(201);
    app.post(&ada, "/alerts", &with(&here, json!({ "quantity": 2 }))).await.problem(409, "too_many_alerts");
    app.post(&ada, "/alerts", &on_event(&event)).await.expect(201);
    for n in 0..4 {
        app.post(&ada, "/alerts", &standing(city(n))).await.expect(201);
    }
    app.post(&ada, "/alerts", &standing(city(4))).await.problem(409, "too_many_alerts");

    // However many come at once: six are there, and fourteen more fit.
    let asks = (0..30).map(|n| {
        let (app, ada) = (&app, &ada);
        async move {
            let (body, key) = (json!({ "scope": { "city": format!("Other {n}") }, "when": "on_sale" }), new_key());
            loop {
                let reply = app.post_with_key(ada, "/alerts", &key, &body).await;
                if reply.status != 503 {
                    return reply.status;
                }
            }
        }
    });
    let statuses = futures_util::future::join_all(asks).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 14, "{statuses:?}");
    let all = list(&app, &ada).await;
    assert_eq!(all.len(), 20);
    assert_eq!(end(&app, &ada, id(&all[0])).await, 204);
    app.post(&ada, "/alerts", &json!({ "scope": city(9), "when": "on_sale" })).await.expect(201);
    app.post(&ada, "/alerts", &json!({ "scope": city(10), "when": "on_sale" })).await.problem(409, "too_many_alerts");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_is_walked_in_fair_order() {
    let app = TestApp::start().await;
    let event = app.on_sale().await;
    let friend = perks::with(&app, json!([{ "kind": "waiting_list", "priority": 3 }])).await;
    let mut expected = Vec::new();
    for _ in 0..25 {
        let made = app.post(&app.buyer(), "/alerts", &on_event(&event)).await.expect(201);
        expected.push(id(&made).to_owned());
        app.advance(1);
    }
    let first = app.post(&friend, "/alerts", &on_event(&event)).await.expect(201);
    assert_eq!(first["priority"], 3);
    expected.insert(0, id(&first).to_owned());
    let offered = with(&on_event(&event), json!({ "standing": true }));
    let offered = app.post(&friend, "/alerts", &offered).await.expect(201);

    let (alerts, scope) = (app.app("messenger").alerts, Scope::Event(event.parse().expect("it is an event's")));
    let (mut walked, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let page = alerts.in_order(Line::SeatsBack, &[&scope], after.as_deref(), 4).await.expect("it answers");
        walked.extend(page.0.iter().map(|alert| alert.id.to_string()));
        assert!(page.0.len() <= 4 && (!page.0.is_empty() || page.1.is_none()), "{page:?}");
        after = page.1;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(walked, expected, "subscribers first, then who came first; nobody twice, nobody forgotten");
    let mut parts = 0;
    for shard in 0..LINE_SHARDS {
        let (page, next) = alerts.line(Line::SeatsBack, &scope, shard, None, 100).await.expect("it answers");
        assert!(next.is_none() && page.iter().all(|alert| alert.shard() == shard));
        parts += page.len();
    }
    assert_eq!(parts, expected.len());
    let (standing, _) = alerts.in_order(Line::Standing, &[&scope], None, 9).await.expect("it answers");
    assert_eq!(standing.iter().map(|alert| alert.id.to_string()).collect::<Vec<_>>(), [id(&offered)]);
    assert_eq!(end(&app, &friend, id(&offered)).await, 204);
    let (standing, _) = alerts.in_order(Line::Standing, &[&scope], None, 9).await.expect("it answers");
    assert!(standing.is_empty(), "who ended it waits no more");
    app.finish().await;
}
