//! Best seats, standing places, and seats that the house keeps.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::{TestApp, id, seat};

fn best(event: &str, ask: Value) -> Value {
    json!({ "event_id": event, "best": ask })
}

fn places(order: &Value) -> Vec<(String, String, i64)> {
    let text = |seat: &Value, name: &str| seat[name].as_str().expect("a text").to_owned();
    let seats = order["seats"].as_array().expect("a list").iter();
    seats
        .map(|seat| (text(seat, "section"), text(seat, "row"), text(seat, "seat").parse().expect("a number")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_seats_are_together() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let mut taken = BTreeSet::new();
    for quantity in [3, 2, 4, 10, 1] {
        let order = app.hold(&buyer, &event, &json!({ "quantity": quantity, "category": "stalls" })).await;
        let places = places(&order);
        assert_eq!(places.len(), quantity);
        let (section, row, first) = places.iter().min_by_key(|place| place.2).cloned().expect("there are some");
        for (n, place) in (first..).zip(places.iter().map(|place| place.2).collect::<BTreeSet<_>>()) {
            assert_eq!(n, place, "next to each other: {places:?}");
            assert!(taken.insert((section.clone(), row.clone(), place)), "{place} was given twice");
        }
        app.outdate_caches();
    }
    let side = app.hold(&buyer, &event, &json!({ "quantity": 2, "section": "Side" })).await;
    assert!(places(&side).iter().all(|place| place.0 == "Side"));
    let wheelchair = app.hold(&buyer, &event, &json!({ "quantity": 2, "accessible": true })).await;
    assert_eq!(
        places(&wheelchair).iter().map(|place| (place.1.as_str(), place.2)).collect::<BTreeSet<_>>(),
        [("10", 1), ("10", 2)].into()
    );
    let before = app.everything().await;
    for (ask, pointer) in [
        (json!({ "quantity": 0 }), "/best/quantity"),
        (json!({ "quantity": 11 }), "/best/quantity"),
        (json!({ "quantity": 256 }), "/best/quantity"),
        (json!({ "quantity": 1, "section": "Roof" }), "/best/section"),
        (json!({ "quantity": 1, "category": "closed" }), "/best/category"),
        (json!({ "quantity": 1, "category": "roof" }), "/best/category"),
        (json!({ "quantity": 1, "near": "me" }), "/best/near"),
    ] {
        let problem = app.post(&buyer, "/orders", &best(&event, ask)).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let none = json!({ "quantity": 3, "section": "Side", "accessible": true });
    app.post(&buyer, "/orders", &best(&event, none)).await.problem(409, "seats_taken");
    app.check_unwritten(&before, "a refused wish").await;
    app.advance(601);
    app.sweep().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standing_area_sells_each_of_its_places_once() {
    let app = TestApp::start().await;
    let event = app.on_sale().await;
    let named = json!({ "event_id": event, "seats": [seat("Floor", "-", 1)] });
    app.post(&app.buyer(), "/orders", &named).await.problem(422, "invalid");
    let floor = async |quantity: u8| {
        let ask = json!({ "quantity": quantity, "section": "Floor" });
        app.post(&app.buyer(), "/orders", &best(&event, ask)).await
    };
    // Thirty groups of five want a hundred places at once. Who is refused may try again, as people do.
    let mut held: Vec<Value> = Vec::new();
    for _ in 0..10 {
        let replies = futures_util::future::join_all((0..30).map(|_| floor(5))).await;
        for reply in replies {
            match reply.status {
                201 => held.push(reply.expect(201)),
                _ => drop(reply.problem(409, "seats_taken")),
            }
        }
        app.outdate_caches();
        if held.len() == 20 {
            break;
        }
    }
    assert_eq!(held.len(), 20, "a hundred places are twenty groups");
    let all: BTreeSet<_> = held.iter().flat_map(places).collect();
    assert_eq!(all.len(), 100, "each place once");
    assert!(all.iter().all(|place| place.1 == "-"));
    let map = app.look(&format!("/events/{event}/seats")).await.expect(200);
    assert_eq!((&map["sections"][5]["free"], &map["free"]["floor"]), (&json!(0), &json!(0)));
    floor(1).await.problem(409, "seats_taken");
    app.advance(601);
    app.sweep().await;
    app.buy(&app.buyer(), &event, &json!({ "quantity": 10, "section": "Floor" })).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_house_keeps_seats_back() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let path = format!("/admin/events/{event}/blocks");
    let row = |seats: std::ops::RangeInclusive<u8>| seats.map(|n| seat("Stalls", 1, n)).collect::<Value>();
    let block = async |seats: Value, forced: bool| {
        let body = json!({ "seats": seats, "reason": "view", "forced": forced });
        app.ask("POST", &path).by(&app.admin).json(&body).send().await
    };
    let states = async || {
        app.outdate_caches();
        app.look(&format!("/events/{event}/seats")).await.expect(200)["sections"][0]["rows"]["1"].take()
    };
    app.buy(&buyer, &event, &row(1..=1)).await;
    let held = app.hold(&buyer, &event, &row(2..=2)).await;
    let payment = app.start_payment(&buyer, id(&held)).await;
    let problem = block(row(1..=4), false).await.problem(409, "seats_taken");
    let pointers: Vec<_> =
        problem["errors"].as_array().expect("a list").iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/seats/0", "/seats/1"], "the others are blocked");
    assert_eq!(states().await, "nwAA", "sold, held, two not for sale");
    let order = json!({ "event_id": event, "seats": row(4..=4) });
    app.post(&buyer, "/orders", &order).await.problem(409, "seats_taken");
    // By force from who has not paid yet; never from who has.
    let problem = block(row(1..=2), true).await.problem(409, "seats_taken");
    assert_eq!(problem["errors"][0]["pointer"], "/seats/0");
    assert_eq!(states().await, "vwAA", "sold, three not for sale");
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&held)).await["status"], "lost", "nothing was captured");
    let unblock =
        async |seats: Value| app.ask("DELETE", &path).by(&app.admin).json(&json!({ "seats": seats })).send().await;
    assert_eq!(unblock(row(1..=10)).await.status, 204, "sold seats stay sold");
    assert_eq!(states().await, "gAAA");
    app.buy(&buyer, &event, &row(4..=4)).await;
    for (seats, pointer) in [
        (json!([]), "/seats"),
        (json!([seat("Stalls", 1, 11)]), "/seats/0"),
        (json!([seat("Stalls", 1, 9), seat("Stalls", 1, 9)]), "/seats/1"),
        ((0..501).map(|n| seat("Stalls", 1, n)).collect(), "/seats"),
    ] {
        for reply in [block(seats.clone(), false).await, unblock(seats.clone()).await] {
            assert_eq!(reply.problem(422, "invalid")["errors"][0]["pointer"], pointer);
        }
    }
    let body = json!({ "seats": row(5..=5), "reason": "house" });
    app.post(&buyer, &path, &body).await.problem(403, "forbidden");
    app.finish().await;
}
