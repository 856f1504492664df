//! Too much, too slow, gone: who asks is told soon and honestly, and nobody works for nobody.

use boxoffice::Options;
use boxoffice::template::TEMPLATE;
use platform::bus::QueueMessage;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tests::http::new_key;
use tests::{Fault, Provider, Reply, Table, TestApp, id, options, seat};

/// Longer than anybody waits.
const FOREVER: Duration = Duration::from_secs(120);

async fn start(table: &Table) -> TestApp {
    TestApp::start_with(Options { wires: table.wires(), ..options() }).await
}

fn ask(event: &str, seats: &Value) -> Value {
    json!({ "event_id": event, "seats": seats })
}

#[track_caller]
fn check_busy(reply: Reply) {
    assert_eq!(reply.header("retry-after"), "1");
    reply.problem(503, "busy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_table_is_told_before_anything_is_written() {
    let table = Table::default();
    let app = start(&table).await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let before = app.everything().await;
    let attempts = Arc::new(AtomicU32::new(0));
    let mut is_first = true;
    // The second row of two: what was locked in the first is let go of.
    for (throttled, seats) in [
        ("{\"S\":\"1\"}", json!([seat("Stalls", 1, 1)])),
        ("{\"S\":\"2\"}", json!([seat("Stalls", 1, 1), seat("Stalls", 2, 1)])),
    ] {
        attempts.store(0, Ordering::SeqCst);
        let counted = attempts.clone();
        table.set(move |operation, body| {
            if operation != "UpdateItem" || !body.contains(throttled) {
                return Fault::None;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            Fault::Throttled
        });
        let key = new_key();
        let asked = Instant::now();
        check_busy(app.post_with_key(&buyer, "/orders", &key, &ask(&event, &seats)).await);
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_eq!(attempts.load(Ordering::SeqCst), 3, "tried again, and not for ever");
        table.repair();
        if std::mem::take(&mut is_first) {
            app.check_unwritten(&before, "a throttled order").await;
        }
        let id_of_it = app.order_id(&buyer, &key).await;
        assert!(app.app("buy").orders.get(buyer.id, id_of_it).await.expect("the table answers").is_none());
        assert_eq!(app.word(&event, "Stalls", "1", 0).await, None, "nobody's seat is held");
        let order = app.post_with_key(&buyer, "/orders", &key, &ask(&event, &seats)).await.expect(201);
        app.ask("DELETE", &format!("/orders/{}", id(&order))).by(&buyer).send().await.expect(204);
    }
    // The order itself: its seats are for others at once, unless it may be there all the same.
    for (fault, is_held) in [(Fault::Throttled, false), (Fault::Late(FOREVER), true)] {
        let rule = move |operation: &str, body: &str| {
            let is_orders = operation == "PutItem" && body.contains("\"TableName\":\"Orders\"");
            if is_orders { fault } else { Fault::None }
        };
        table.set(rule);
        let (key, seats) = (new_key(), json!([seat("Stalls", 4, 1), seat("Stalls", 5, 1)]));
        check_busy(app.post_with_key(&buyer, "/orders", &key, &ask(&event, &seats)).await);
        table.repair();
        for row in ["4", "5"] {
            assert_eq!(app.word(&event, "Stalls", row, 0).await.is_some(), is_held, "{fault:?} {row}");
        }
        let order = app.post_with_key(&buyer, "/orders", &key, &ask(&event, &seats)).await.expect(201);
        app.ask("DELETE", &format!("/orders/{}", id(&order))).by(&buyer).send().await.expect(204);
    }
    // Throttled once only: nobody notices.
    let once = AtomicU32::new(0);
    table.set(move |operation, _| match operation == "UpdateItem" && once.fetch_add(1, Ordering::SeqCst) == 0 {
        true => Fault::Throttled,
        false => Fault::None,
    });
    app.buy(&buyer, &event, &json!([seat("Stalls", 3, 1)])).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_does_not_answer_costs_no_more_than_the_functions_time() {
    let table = Table::default();
    let template = TEMPLATE.replacen("Timeout: 20", "Timeout: 2", 1);
    assert_ne!(template, TEMPLATE, "buy has another timeout now");
    let app = TestApp::start_with(Options { wires: table.wires(), template, ..options() }).await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let before = app.everything().await;
    table.set(|operation, _| if operation == "UpdateItem" { Fault::Late(FOREVER) } else { Fault::None });
    let (asked, key) = (Instant::now(), new_key());
    let seats = json!([seat("Stalls", 1, 1)]);
    check_busy(app.post_with_key(&buyer, "/orders", &key, &ask(&event, &seats)).await);
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(1_400) && took < Duration::from_secs(2), "before the host ends it: {took:?}");
    app.check_unwritten(&before, "a silent table").await;
    table.repair();
    app.post_with_key(&buyer, "/orders", &key, &ask(&event, &seats)).await.expect(201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_it_can_work_on_are_refused_at_the_door() {
    let table = Table::default();
    let app = TestApp::start_with(Options { wires: table.wires(), requests_max: 2, ..options() }).await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    table.set(|operation, _| match operation {
        "UpdateItem" => Fault::Late(Duration::from_millis(700)),
        _ => Fault::None,
    });
    let asks = (1..=6).map(|n| (n, ask(&event, &json!([seat("Stalls", n, 1)]))));
    let asks: Vec<_> = asks.collect();
    let replies = futures_util::future::join_all(asks.iter().map(|(_, ask)| app.post(&buyer, "/orders", ask))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 201);
    assert_eq!((taken.len(), refused.len()), (2, 4));
    refused.into_iter().for_each(check_busy);
    assert_eq!(app.look("/openapi.json").await.status, 200, "what costs nothing is served");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_works_for_a_client_that_hung_up() {
    let table = Table::default();
    let app = start(&table).await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    table.set(move |operation, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        if operation == "UpdateItem" { Fault::Late(Duration::from_millis(600)) } else { Fault::None }
    });
    let order = app.order_id(&buyer, "left").await;
    let seats = json!([seat("Stalls", 1, 1)]);
    let asked = ask(&event, &seats);
    let reply = app.post_with_key(&buyer, "/orders", "left", &asked);
    assert!(tokio::time::timeout(Duration::from_millis(200), reply).await.is_err(), "the client leaves");
    let at = Instant::now();
    app.settled().await;
    assert!(at.elapsed() < Duration::from_millis(300), "the handler stopped then: {:?}", at.elapsed());
    let before = calls.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(calls.load(Ordering::SeqCst), before, "and nothing went on");
    table.repair();
    assert!(app.app("buy").orders.get(buyer.id, order).await.expect("the table answers").is_none());
    // Whatever it had locked ends by itself, and is the same client's if it comes back.
    app.post_with_key(&buyer, "/orders", "left", &asked).await.expect(201);
    app.advance(601);
    app.hold(&other, &event, &seats).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_fails_is_left_alone() {
    let provider = Provider::default();
    let app = TestApp::start_with(Options { wires: provider.wires(), ..options() }).await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &json!([seat("Stalls", 1, 1)])).await;
    let path = format!("/orders/{}/payment", id(&order));
    let before = app.everything().await;
    for status in [0, 500, 503, 429, 0] {
        provider.answer(status, None, 1);
        let reply = app.post(&buyer, &path, &Value::Null).await;
        assert_eq!(reply.header("retry-after"), "1");
        reply.problem(503, "payment_provider_unavailable");
    }
    let asked = provider.asked();
    provider.repair();
    let reply = app.post(&buyer, &path, &Value::Null).await;
    let seconds: u64 = reply.header("retry-after").parse().expect("it is a number");
    assert!((1..=2).contains(&seconds), "{seconds}");
    reply.problem(503, "payment_provider_unavailable");
    assert_eq!(provider.asked(), asked, "it was not asked");
    app.check_unwritten(&before, "a provider that is left alone").await;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    app.pay(&buyer, id(&order), "pm_card_visa").await;

    // It says itself how long.
    let order = app.hold(&buyer, &event, &json!([seat("Stalls", 2, 1)])).await;
    let path = format!("/orders/{}/payment", id(&order));
    provider.answer(429, Some(30), 1);
    app.post(&buyer, &path, &Value::Null).await.problem(503, "payment_provider_unavailable");
    let asked = provider.asked();
    assert_eq!(app.post(&buyer, &path, &Value::Null).await.header("retry-after"), "30");
    assert_eq!(provider.asked(), asked, "it was not asked");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_that_passes_is_tried_again_within_the_delivery() {
    let provider = Provider::default();
    let app = TestApp::start_with(Options { wires: provider.wires(), ..options() }).await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &json!([seat("Stalls", 1, 1)])).await;
    let payment = app.start_payment(&buyer, id(&order)).await;
    app.running.pause("Payments").expect("there is such a queue");
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    provider.answer(503, None, 2);
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid", "the clock stood still");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invocation_reports_what_it_had_no_time_for() {
    let app = TestApp::start().await;
    app.running.payments.stripe.set_delay(Duration::from_secs(30));
    let settle = app.app("settle");
    let record =
        |n: u32| json!({ "messageId": n.to_string(), "body": r#"{"type":"payment.changed","payment":"pi_1"}"# });
    let event = json!({ "Records": (1..=6).map(record).collect::<Vec<_>>() });
    let started = tokio::time::Instant::now();
    let app_until = settle.clone().until(started + Duration::from_secs(2));
    let reply = functions::invoke(app_until, "settle", event).await.expect("it reports what failed");
    assert_eq!(reply["batchItemFailures"].as_array().map(Vec::len), Some(6));
    assert!(started.elapsed() < Duration::from_millis(1_500), "in time: {:?}", started.elapsed());

    let over = settle.until(tokio::time::Instant::now());
    let message = QueueMessage { body: "{}".into(), delay_seconds: 0 };
    let event = json!({ "Records": [{ "messageId": "late", "body": message.body }] });
    let reply = functions::invoke(over, "settle", event).await.expect("it reports what failed");
    assert_eq!(reply, json!({ "batchItemFailures": [{ "itemIdentifier": "late" }] }));
    app.finish().await;
}
