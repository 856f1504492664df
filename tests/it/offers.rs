//! Those who wait for seats: they are offered what comes free in fair order, and nobody is quicker; others hear of it.

use serde_json::{Value, json};
use tests::{TestApp, User, id, seat};

/// Seconds of a hold and a little more.
const HOLD_ENDS_SECONDS: i64 = 601;
const WALK_SECONDS: i64 = 61;

/// An event in a box of four seats.
async fn small(app: &TestApp) -> String {
    let row = json!({ "name": "1", "x": 0, "y": 0, "dx": 50, "seats": 4, "category": "stalls" });
    let scheme = json!({
        "name": "Box",
        "categories": [{ "id": "stalls", "name": "stalls", "color": "#336699" }],
        "sections": [{ "id": "Box", "name": "The royal box", "rows": [row] }],
    });
    let hall = app.hall_of(scheme).await;
    app.event(&hall, &json!({ "prices": { "stalls": 150_000 } })).await
}

fn pair(from: u8) -> Value {
    json!([seat("Box", 1, from), seat("Box", 1, from + 1)])
}

async fn wait_for(app: &TestApp, user: &User, event: &str, changes: &Value) -> String {
    let mut ask = json!({ "scope": { "event_id": event }, "when": "seats_back", "quantity": 2 });
    for (name, value) in changes.as_object().into_iter().flatten() {
        ask[name] = value.clone();
    }
    let made = app.post(user, "/alerts", &ask).await.expect(201);
    app.advance(1);
    id(&made).to_owned()
}

/// What somebody was told of this kind, the latest first.
async fn told(app: &TestApp, user: &User, kind: &str) -> Vec<Value> {
    let page = app.get(user, "/me/notices?limit=100").await.expect(200);
    let all = page["items"].as_array().expect("a list").clone();
    all.into_iter().filter(|notice| notice["kind"] == kind).collect()
}

/// The orders of somebody: each with its seats and its state.
async fn orders(app: &TestApp, user: &User) -> Vec<(String, String)> {
    let page = app.get(user, "/orders").await.expect(200);
    let items = page["items"].as_array().expect("a list").clone();
    items.iter().map(|order| (id(order).to_owned(), order["status"].as_str().unwrap_or_default().to_owned())).collect()
}

async fn give_back(app: &TestApp, user: &User, order: &str) {
    app.post(user, &format!("/orders/{order}/refunds"), &json!({})).await.expect(201);
    app.settled().await;
}

async fn is_taken(app: &TestApp, user: &User, event: &str, seats: Value) {
    let wish = json!({ "event_id": event, "seats": seats });
    app.post(user, "/orders", &wish).await.problem(409, "seats_taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_that_come_back_are_offered_in_turn_and_to_nobody_else() {
    let app = TestApp::start().await;
    let event = small(&app).await;
    let [owner, other, first, second, sniper, listener] = std::array::from_fn(|_| app.buyer());
    let given_back = app.buy(&owner, &event, &pair(1)).await;
    let kept = app.buy(&other, &event, &pair(3)).await;
    for user in [&first, &second] {
        wait_for(&app, user, &event, &json!({ "standing": true })).await;
    }
    wait_for(&app, &listener, &event, &Value::Null).await;

    give_back(&app, &owner, id(&given_back)).await;
    let offers = (told(&app, &first, "alert.offer").await, told(&app, &second, "alert.offer").await);
    assert_eq!((offers.0.len(), offers.1.len()), (1, 0), "{offers:#?}");
    let html = offers.0[0]["html"].as_str().expect("a text");
    assert!(html.contains("The royal box, row 1, seat 1"), "{html}");
    assert_eq!(orders(&app, &first).await.len(), 1);
    assert_eq!(app.get(&first, "/alerts").await.expect(200)["items"], json!([]), "it was for one offer");
    is_taken(&app, &sniper, &event, pair(1)).await;

    // It lapses, and passes to the next; between the two nobody gets them.
    app.advance(HOLD_ENDS_SECONDS);
    is_taken(&app, &sniper, &event, pair(1)).await;
    app.sweep().await;
    is_taken(&app, &sniper, &event, pair(1)).await;
    assert_eq!(orders(&app, &first).await[0].1, "expired");
    assert_eq!(told(&app, &second, "alert.offer").await.len(), 1);
    let order = orders(&app, &second).await[0].0.clone();
    assert_eq!(app.pay(&second, &order, "pm_card_visa").await["status"], "paid");
    assert_eq!(told(&app, &listener, "alert.seats_back").await.len(), 0, "nothing was left for others");

    // Nobody waits to be offered seats any more: what comes back is everybody's, and whoever wants to know hears of it.
    give_back(&app, &other, id(&kept)).await;
    app.advance(WALK_SECONDS);
    app.settled().await;
    assert_eq!(told(&app, &listener, "alert.seats_back").await.len(), 1);
    app.hold(&sniper, &event, &pair(3)).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_who_waits_wants_is_everybodys() {
    let app = TestApp::start().await;
    let event = small(&app).await;
    let [owner, waiting, dear, quick] = std::array::from_fn(|_| app.buyer());
    let order = app.buy(&owner, &event, &pair(1)).await;
    app.buy(&owner, &event, &pair(3)).await;
    wait_for(&app, &waiting, &event, &json!({ "standing": true, "quantity": 4 })).await;
    let cheap = json!({ "standing": true, "price_max": { "amount": 149_999, "currency": "RUB" } });
    wait_for(&app, &dear, &event, &cheap).await;
    give_back(&app, &owner, id(&order)).await;
    for user in [&waiting, &dear] {
        assert_eq!(orders(&app, user).await.len(), 0);
        assert_eq!(
            app.get(user, "/alerts").await.expect(200)["items"].as_array().map(Vec::len),
            Some(1),
            "they wait on"
        );
    }
    app.hold(&quick, &event, &pair(1)).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_events_sale_is_told_to_those_who_wait_for_its_performer_venue_or_city() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let [performer, venue, city, all, too_cheap] = std::array::from_fn(|_| app.buyer());
    let most = |amount: i64| json!({ "amount": amount, "currency": "RUB" });
    for (user, scope, price_max) in [
        (&performer, json!({ "performer_id": hall.performer }), Value::Null),
        (&venue, json!({ "venue_id": hall.venue }), Value::Null),
        (&city, json!({ "city": "moscow" }), Value::Null),
        (&city, json!({ "venue_id": hall.venue }), Value::Null),
        (&all, json!({ "any": true }), most(5_000)),
        (&too_cheap, json!({ "city": "Tula" }), Value::Null),
    ] {
        let mut ask = json!({ "scope": scope, "when": "on_sale" });
        if !price_max.is_null() {
            ask["price_max"] = price_max;
        }
        app.post(user, "/alerts", &ask).await.expect(201);
    }
    app.event(&hall, &Value::Null).await;
    for (user, times) in [(&performer, 1), (&venue, 1), (&city, 1), (&all, 1), (&too_cheap, 0)] {
        assert_eq!(told(&app, user, "alert.on_sale").await.len(), times);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_event_is_no_news_for_those_who_did_not_name_it() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let [waiting, listener] = std::array::from_fn(|_| app.buyer());
    for (user, standing) in [(&waiting, true), (&listener, false)] {
        let ask = json!({ "scope": { "performer_id": hall.performer }, "when": "seats_back", "standing": standing });
        app.post(user, "/alerts", &ask).await.expect(201);
    }
    for (changes, times) in [(json!({ "hidden": true }), 0), (json!({}), 1)] {
        let event = app.event(&hall, &changes).await;
        let path = format!("/admin/events/{event}/blocks");
        let seats = json!({ "seats": [seat("Stalls", 1, 1)], "reason": "house" });
        app.post(&app.admin, &path, &seats).await.expect(204);
        let back = json!({ "seats": seats["seats"] });
        app.ask("DELETE", &path).by(&app.admin).json(&back).send().await.expect(204);
        app.settled().await;
        app.advance(WALK_SECONDS);
        app.settled().await;
        let of = (orders(&app, &waiting).await, told(&app, &listener, "alert.seats_back").await);
        assert_eq!((of.0.len(), of.1.len()), (times, times), "{changes}: {of:#?}");
        let left = app.get(&waiting, "/alerts").await.expect(200)["items"].as_array().map(Vec::len);
        assert_eq!(left, Some(1 - times), "who was offered nothing waits on");
    }
    app.finish().await;
}
