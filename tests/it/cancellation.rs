//! An event is called off while people buy: nobody keeps a ticket, and everybody has their money back.

use domain::ledger::Entry;
use domain::orders::OrderState;
use serde_json::{Value, json};
use tests::{TestApp, User, id, seat};

/// When the orders of a cancelled event are listed once more (`LAST_PASS_SECONDS` of `settle`).
const LAST_PASS_SECONDS: i64 = 120;

async fn cancel(app: &TestApp, event: &str) {
    let path = format!("/admin/events/{event}/cancellation");
    let reply = app.post(&app.admin, &path, &Value::Null).await.expect(200);
    assert_eq!(reply["status"], "cancelled");
}

fn one(row: u8) -> Value {
    json!([seat("Stalls", row, 1)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_pays_at_that_moment_loses_nothing() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let event = app.event(&hall, &json!({ "service_fee": 5_000 })).await;
    let paid = app.buy(&buyer, &event, &one(1)).await;
    let (held, paying) = (app.hold(&buyer, &event, &one(2)).await, app.hold(&buyer, &event, &one(3)).await);
    let (authorised, at_once) = (app.hold(&buyer, &event, &one(4)).await, app.hold(&buyer, &event, &one(5)).await);
    let late = app.start_payment(&buyer, id(&paying)).await;
    app.running.pause("Payments").expect("there is such a queue");
    for (order, card) in [(&authorised, "pm_card_visa"), (&at_once, "pm_sandbox_captures_at_once")] {
        let payment = app.start_payment(&buyer, id(order)).await;
        app.confirm(&payment, card).await.expect(200);
    }
    cancel(&app, &event).await;
    cancel(&app, &event).await;
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    app.confirm(&late, "pm_card_visa").await.expect(200);
    app.settled().await;

    app.outdate_caches();
    let pay = format!("/orders/{}/payment", id(&held));
    app.post(&buyer, &pay, &Value::Null).await.problem(409, "event_cancelled");
    let order = json!({ "event_id": event, "seats": one(6) });
    app.post(&buyer, "/orders", &order).await.problem(409, "event_cancelled");
    assert_eq!(app.look(&format!("/events/{event}")).await.expect(200)["status"], "cancelled");
    for (order, status) in
        [(&paid, "refunded"), (&paying, "lost"), (&authorised, "lost"), (&at_once, "lost"), (&held, "held")]
    {
        let now = app.order(&buyer, id(order)).await;
        assert_eq!(now["status"], status, "{now}");
    }
    let refund = &app.order(&buyer, id(&paid)).await["refunds"][0];
    assert_eq!((&refund["amount"]["amount"], &refund["rule"]), (&json!(155_000), &json!("ru_52_1_event_cancelled")));
    assert_eq!(refund["service_fees"]["amount"], 5_000, "nothing is kept");
    app.advance(601);
    app.sweep().await;
    assert_eq!(app.order(&buyer, id(&held)).await["status"], "expired");
    let audit = app.finish().await;
    let kept: i64 = audit.books.intents.iter().map(|intent| intent.amount_received).sum();
    let returned: i64 = audit.books.refunds.iter().map(|refund| refund.amount).sum();
    assert_eq!((kept, returned), (310_000, 310_000), "with the fees, and of what no order took on too");
    let accounts = audit.entries.iter().flat_map(|entry| &entry.legs).map(|leg| leg.account);
    for account in accounts {
        assert_eq!(audit.entries.iter().map(|entry| entry.of(account)).sum::<i64>(), 0, "{account:?}");
    }
}

/// An idempotency key by which this buyer's order lands in the journal's first shard.
async fn key_of_first_shard(app: &TestApp, buyer: &User, salt: usize) -> String {
    let mut n = 0;
    loop {
        let key = format!("{salt}-{n}");
        if Entry::shard(app.order_id(buyer, &key).await) == 0 {
            return key;
        }
        n += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_order_is_refunded() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let event = app.event(&hall, &json!({ "refund_policy": {} })).await;
    // Of 30 orders in one shard the last are on a second page. They cost nothing, so that they cost the test little.
    let free = app.event(&hall, &json!({ "prices": { "stalls": 0 } })).await;
    for n in 0..30 {
        let body = json!({ "event_id": free, "seats": [seat("Stalls", n / 9 + 1, n % 9 + 1)] });
        let key = key_of_first_shard(&app, &buyer, n).await;
        let order = app.post_with_key(&buyer, "/orders", &key, &body).await.expect(201);
        app.post(&buyer, &format!("/orders/{}/payment", id(&order)), &Value::Null).await.expect(201);
    }
    // 24 that were paid are spread over many shards; of one more a ticket is used.
    let buy = async |n: u8| app.buy(&app.buyer(), &event, &json!([seat("Stalls", n / 8 + 1, n % 8 + 1)])).await;
    futures_util::future::join_all((0..24).map(buy)).await;
    let used = app.buy(&buyer, &event, &json!([seat("Side", 1, 1), seat("Side", 1, 2)])).await;
    let ticket = used["seats"][0]["ticket_id"].as_str().expect("it is paid").to_owned();
    app.check_in(&event, &ticket, &app.code(&buyer, &ticket).await).await.expect(200);
    let code = app.code(&buyer, used["seats"][1]["ticket_id"].as_str().expect("it is paid")).await;

    cancel(&app, &event).await;
    cancel(&app, &free).await;
    app.settled().await;
    // Whoever had come in is owed the price too, and nobody else gets in.
    app.outdate_caches();
    let other = used["seats"][1]["ticket_id"].as_str().expect("it is paid");
    app.check_in(&event, other, &code).await.problem(409, "event_cancelled");
    app.advance(LAST_PASS_SECONDS);
    let audit = app.finish().await;
    for order in &audit.orders {
        assert_eq!(order.state, OrderState::Refunded, "{order:?}");
    }
    assert_eq!(audit.orders.len(), 55);
    let shards: std::collections::BTreeSet<_> = audit.orders.iter().map(|order| Entry::shard(order.id)).collect();
    assert!(shards.len() > 5, "{shards:?}");
    assert_eq!(audit.books.refunds.iter().map(|refund| refund.amount).sum::<i64>(), 24 * 150_000 + 2 * 3_333);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_pass_finds_who_was_settling() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &one(1)).await;
    let payment = app.start_payment(&buyer, id(&order)).await;
    let (catalog, event_id) = (app.app("admin").catalog, event.parse().expect("it is an id"));
    let on_sale = catalog.event(event_id).await.expect("the table answers").expect("it is there");
    cancel(&app, &event).await;
    app.settled().await;
    // A settling that had read the event before it was cancelled sees it as it was, and ends after the first pass.
    let cancelled = catalog.event(event_id).await.expect("the table answers").expect("it is there");
    let seen = domain::catalog::Event { v: cancelled.v + 1, effects: Vec::new(), ..on_sale };
    catalog.save_event(&seen).await.expect("it is written");
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    app.settled().await;
    let back = domain::catalog::Event { v: seen.v + 1, effects: Vec::new(), ..cancelled };
    catalog.save_event(&back).await.expect("it is written");
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid");
    app.advance(LAST_PASS_SECONDS);
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "refunded");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_of_ones_own_and_the_cancellation_are_one() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let event = app.event(&hall, &json!({ "service_fee": 5_000 })).await;
    let order = app.buy(&buyer, &event, &json!([seat("Stalls", 1, 1), seat("Stalls", 1, 2)])).await;
    let one = json!({ "ticket_ids": [order["seats"][0]["ticket_id"]] });
    app.advance(85 * 86_400);
    app.running.pause("Payments").expect("there is such a queue");
    app.post(&buyer, &format!("/orders/{}/refunds", id(&order)), &one).await.expect(201);
    cancel(&app, &event).await;
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    let now = app.order(&buyer, id(&order)).await;
    let amounts: Vec<_> =
        now["refunds"].as_array().expect("a list").iter().map(|refund| refund["amount"]["amount"].as_i64()).collect();
    assert_eq!((now["status"].as_str(), amounts), (Some("refunded"), vec![Some(75_000), Some(155_000)]));
    let refused = app.post(&buyer, &format!("/orders/{}/refunds", id(&order)), &json!({})).await;
    refused.problem(409, "ticket_refunded");
    app.finish().await;
}
