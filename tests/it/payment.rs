//! Paying: one payment an order, whatever the card and the provider do.

use domain::orders::PAYMENT_SECONDS_MIN;
use domain::seating::words::HOLD_SECONDS;
use sandbox::Status;
use serde_json::{Value, json};
use tests::{Payment, Reply, TestApp, id, mask, seat};

/// How long a message that could not be handled rests (`VisibilityTimeout` of `Payments` in template.yaml).
const RETRY_SECONDS: i64 = 180;

fn seats(row: u8) -> Value {
    json!([seat("Stalls", row, 1), seat("Stalls", row, 2)])
}

fn intent(app: &TestApp, payment: &Payment) -> (Status, i64) {
    let books = app.running.payments.stripe.books();
    let found = books.intents.iter().find(|intent| intent.id == payment.id).expect("it is in the books");
    (found.status, found.amount_received)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_started_once_and_asked_for_again() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &seats(1)).await;
    let path = format!("/orders/{}/payment", id(&order));
    let mut body = app.post(&buyer, &path, &Value::Null).await.expect(201);
    let again = app.post(&buyer, &path, &Value::Null).await.expect(201);
    assert_eq!(body, again);
    for (name, prefix) in [
        ("payment_id", "pi_"),
        ("client_secret", "pi_"),
        ("publishable_key", "pk_test_"),
        ("api_base", "http://127.0.0.1:"),
        ("pay_url", "http://127.0.0.1:"),
    ] {
        let value = body[name].take();
        assert!(value.as_str().is_some_and(|text| text.starts_with(prefix)), "{name}: {value}");
    }
    insta::assert_json_snapshot!(mask(&body), @r#"
    {
      "api_base": null,
      "client_secret": null,
      "pay_url": null,
      "payment_id": null,
      "provider": "stripe",
      "publishable_key": null,
      "status": "waiting"
    }
    "#);
    let posts = (0..8).map(|_| app.post(&buyer, &path, &Value::Null));
    for reply in futures_util::future::join_all(posts).await {
        assert_eq!(reply.expect(201), again);
    }
    // Many at once for an order that has none yet: one payment is its own, whoever was first.
    let other = app.hold(&buyer, &event, &seats(2)).await;
    let path = format!("/orders/{}/payment", id(&other));
    let posts = (0..8).map(|_| app.post(&buyer, &path, &Value::Null));
    let replies: Vec<Reply> = futures_util::future::join_all(posts).await;
    let first = replies[0].clone().expect(201);
    for reply in replies {
        assert_eq!(reply.expect(201), first);
    }
    assert_eq!(app.running.payments.stripe.books().intents.len(), 2);

    let paid = app.pay(&buyer, id(&other), "pm_card_visa").await;
    assert_eq!(paid["status"], "paid");
    assert_eq!(app.post(&buyer, &path, &Value::Null).await.expect(201)["status"], "captured", "asked again when paid");
    app.advance(601);
    app.sweep().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declined_card_may_be_followed_by_another() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    for (row, declined) in [
        (1, "pm_card_chargeDeclined"),
        (2, "pm_card_chargeDeclinedInsufficientFunds"),
        (3, "pm_card_chargeDeclinedExpiredCard"),
        (4, "pm_card_chargeDeclinedIncorrectCvc"),
    ] {
        let order = app.hold(&buyer, &event, &seats(row)).await;
        let payment = app.start_payment(&buyer, id(&order)).await;
        assert_eq!(app.confirm(&payment, declined).await.status, 402);
        app.settled().await;
        assert_eq!(app.order(&buyer, id(&order)).await["status"], "held", "{declined}");
        let again = app.start_payment(&buyer, id(&order)).await;
        assert_eq!(again.id, payment.id, "the same payment takes another card");
        app.confirm(&again, "pm_card_mastercard").await.expect(200);
        app.settled().await;
        assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid");
    }
    // The buyer's page need not ask again: the other card may follow at once.
    let order = app.hold(&buyer, &event, &seats(5)).await;
    let payment = app.start_payment(&buyer, id(&order)).await;
    assert_eq!(app.confirm(&payment, "pm_card_chargeDeclined").await.status, 402);
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_may_ask_first() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    for (row, outcome, status) in [(1, "complete", "paid"), (2, "fail", "held")] {
        let order = app.hold(&buyer, &event, &seats(row)).await;
        let payment = app.start_payment(&buyer, id(&order)).await;
        let asked = app.confirm(&payment, "pm_card_authenticationRequired").await.expect(200);
        assert_eq!(asked["status"], "requires_action");
        app.settled().await;
        assert_eq!(app.order(&buyer, id(&order)).await["status"], "paying");
        let started = app.post(&buyer, &format!("/orders/{}/payment", id(&order)), &Value::Null).await.expect(201);
        assert_eq!(started["status"], "needs_action");
        let url = format!("{}/authenticate/{}", app.running.payments.url, payment.id);
        let form = [("client_secret", payment.client_secret.as_str()), ("outcome", outcome)];
        let pressed = app.api.http().post(url).form(&form).send().await.expect("the sandbox answers");
        assert_eq!(pressed.status(), 200);
        app.settled().await;
        assert_eq!(app.order(&buyer, id(&order)).await["status"], status, "{outcome}");
    }
    app.advance(601);
    app.sweep().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_may_take_its_time() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let start = async |row: u8, card: &str| {
        let order = app.hold(&buyer, &event, &seats(row)).await;
        let payment = app.start_payment(&buyer, id(&order)).await;
        assert_eq!(app.confirm(&payment, card).await.expect(200)["status"], "processing");
        id(&order).to_owned()
    };
    let soon = start(1, "pm_sandbox_delay_30").await;
    let declined = start(2, "pm_sandbox_decline_after_30").await;
    // Longer than the hold lasts: the provider takes no cancellation meanwhile, and how it ends decides.
    let won = start(3, "pm_sandbox_delay_5000").await;
    let lost = start(4, "pm_sandbox_delay_5000").await;
    let expired = start(5, "pm_sandbox_decline_after_5000").await;
    app.settled().await;
    assert_eq!(app.order(&buyer, &soon).await["status"], "paying");
    let busy = app.ask("DELETE", &format!("/orders/{won}")).by(&buyer).send().await;
    busy.problem(409, "order_busy");
    app.advance(30);
    app.becomes(&buyer, &soon, "paid").await;
    app.becomes(&buyer, &declined, "held").await;
    for _ in 0..20 {
        app.advance(180);
        app.sweep().await;
    }
    app.buy(&other, &event, &seats(4)).await;
    app.advance(2000);
    for (order, status) in [(won, "paid"), (lost, "lost"), (expired, "expired"), (declined, "expired")] {
        app.becomes(&buyer, &order, status).await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_is_refused_loses_the_order() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &seats(1)).await;
    let payment = app.start_payment(&buyer, id(&order)).await;
    app.confirm(&payment, "pm_sandbox_capture_fails").await.expect(200);
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "lost");
    assert_eq!(intent(&app, &payment), (Status::Canceled, 0));
    assert_eq!(app.word(&event, "Stalls", "1", 0).await, None, "the seat is free again");
    app.buy(&buyer, &event, &seats(1)).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_that_is_taken_at_once_is_adopted_or_goes_back() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let (paid, lost) = (app.hold(&buyer, &event, &seats(1)).await, app.hold(&buyer, &event, &seats(2)).await);
    assert_eq!(app.pay(&buyer, id(&paid), "pm_sandbox_captures_at_once").await["status"], "paid");
    let payment = app.start_payment(&buyer, id(&lost)).await;
    app.advance(601);
    app.buy(&other, &event, &seats(2)).await;
    app.confirm(&payment, "pm_sandbox_captures_at_once").await.expect(200);
    app.settled().await;
    let now = app.order(&buyer, id(&lost)).await;
    let refund = &now["refunds"][0];
    assert_eq!(
        (&now["status"], &refund["status"], &refund["rule"]),
        (&json!("lost"), &json!("done"), &json!("unadopted"))
    );
    assert_eq!(refund["amount"]["amount"], 300_000);
    assert_eq!(intent(&app, &payment), (Status::Succeeded, 300_000));
    let audit = app.finish().await;
    assert_eq!(audit.books.refunds.iter().map(|refund| refund.amount).sum::<i64>(), 300_000, "once, and whole");
    assert_eq!(audit.entries.len(), 4, "two sales, one capture for nothing, one refund of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_costs_nobody_their_seat() {
    let app = TestApp::start().await;
    let stripe = app.running.payments.stripe.clone();
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &seats(1)).await;
    let path = format!("/orders/{}/payment", id(&order));
    let before = app.everything().await;
    for broken in [false, true] {
        // Down answers 503 and remembers nothing; broken answers 500, and again 500 to the same key.
        if broken {
            stripe.set_broken(true)
        } else {
            stripe.set_down(true)
        }
        for _ in 0..2 {
            let reply = app.post(&buyer, &path, &Value::Null).await;
            assert_eq!(reply.header("retry-after"), "1");
            reply.problem(503, "payment_provider_unavailable");
        }
        app.check_unwritten(&before, "a provider that is down").await;
        stripe.set_down(false);
        stripe.set_broken(false);
    }
    let payment = app.start_payment(&buyer, id(&order)).await;
    stripe.set_down(true);
    app.post(&buyer, &path, &Value::Null).await.problem(503, "payment_provider_unavailable");
    stripe.set_down(false);

    // It goes down between the buyer's confirmation and our capture.
    app.running.pause("Payments").expect("there is such a queue");
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    stripe.set_down(true);
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paying");
    stripe.set_down(false);
    stripe.set_broken(true);
    app.advance(RETRY_SECONDS);
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paying");
    stripe.set_broken(false);
    app.advance(RETRY_SECONDS);
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_costs_nothing_asks_no_provider() {
    let app = TestApp::start().await;
    app.running.payments.stripe.set_down(true);
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &json!([seat("Gift", 1, 1), seat("Gift", 1, 2)])).await;
    assert_eq!(order["total"]["amount"], 0);
    let path = format!("/orders/{}/payment", id(&order));
    let started = app.post(&buyer, &path, &Value::Null).await.expect(201);
    assert_eq!(started, json!({ "provider": "stripe", "status": "captured" }));
    let paid = app.order(&buyer, id(&order)).await;
    assert_eq!((&paid["status"], &paid["seats"][1]["ticket_status"]), (&json!("paid"), &json!("valid")));
    assert_eq!(app.post(&buyer, &path, &Value::Null).await.expect(201), started, "asked again");
    let given_back = app.give_back(&buyer, id(&order), None).await;
    assert_eq!((&given_back["status"], &given_back["refunds"][0]["status"]), (&json!("refunded"), &json!("done")));
    let audit = app.finish().await;
    assert!(audit.books.intents.is_empty());
    assert_eq!(audit.words.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_that_no_provider_takes_are_refused_before_anything_is_held() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let dear = app.event(&hall, &json!({ "prices": { "stalls": 1_000_000_000, "side": 60_000_000 } })).await;
    let cheap = app.event(&hall, &Value::Null).await;
    let before = app.everything().await;
    for (event, seats, code) in [
        (&cheap, json!([seat("Penny", 1, 1)]), "amount_too_small"),
        (&cheap, json!([seat("Penny", 1, 1), seat("Gift", 1, 1)]), "amount_too_small"),
        (&dear, json!([seat("Stalls", 1, 1)]), "amount_too_large"),
        (&dear, json!([seat("Side", 1, 1), seat("Side", 1, 2)]), "amount_too_large"),
    ] {
        let ask = json!({ "event_id": event, "seats": seats });
        app.post(&buyer, "/orders", &ask).await.problem(422, code);
    }
    let ask = json!({ "event_id": cheap, "best": { "quantity": 2, "category": "penny" } });
    app.post(&buyer, "/orders", &ask).await.problem(422, "amount_too_small");
    app.check_unwritten(&before, "a refused total").await;
    let five: Vec<_> = (1..=5).map(|n| seat("Penny", 1, n)).collect();
    app.buy(&buyer, &cheap, &json!(five)).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_given_a_payment_is_given_it_again_without_its_seats() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &seats(1)).await;
    // Too little is left to pay in: the seats are stamped afresh, which can be refused.
    app.advance(HOLD_SECONDS - PAYMENT_SECONDS_MIN + 1);
    let path = format!("/orders/{}/payment", id(&order));
    let pay = async |key: &str| app.ask("POST", &path).by(&buyer).key(key).send().await;
    let begun = pay("key").await.expect(201);
    let blocks = json!({ "seats": [seat("Stalls", 1, 1)], "reason": "view", "forced": true });
    app.post(&app.admin, &format!("/admin/events/{event}/blocks"), &blocks).await.expect(204);
    assert_eq!(pay("key").await.expect(201), begun, "the answer was lost, and the request is sent again");
    pay("another").await.problem(409, "hold_ended");
    let text = |name: &str| begun[name].as_str().expect("a text").to_owned();
    let payment = Payment { id: text("payment_id"), client_secret: text("client_secret") };
    app.confirm(&payment, "pm_card_visa").await;
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "lost");
    assert_eq!(app.finish().await.moved()[payment.id.as_str()], (0, 0), "nothing is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_types_a_card_number_against_the_clock() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let order = app.hold(&buyer, &event, &json!([seat("Stalls", 1, 1), seat("Stalls", 2, 1)])).await;
    app.advance(400);
    let payment = app.start_payment(&buyer, id(&order)).await;
    let now = app.order(&buyer, id(&order)).await;
    assert_eq!(now["hold_until"], "2027-03-01T12:16:40Z", "ten minutes from when the payment began");
    app.start_payment(&buyer, id(&order)).await;
    app.advance(500);
    let ask = json!({ "event_id": event, "seats": [seat("Stalls", 2, 1)] });
    app.post(&other, "/orders", &ask).await.problem(409, "seats_taken");
    app.sweep().await;
    let started = app.start_payment(&buyer, id(&order)).await;
    assert_eq!(started.id, payment.id);
    assert_eq!(app.order(&buyer, id(&order)).await["hold_until"], now["hold_until"], "once only");
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_may_be_lost_repeated_and_out_of_order() {
    let app = TestApp::start().await;
    let stripe = app.running.payments.stripe.clone();
    let (event, buyer) = (app.on_sale().await, app.buyer());
    // Lost: the sweep at the end of the hold finds the money.
    let order = app.hold(&buyer, &event, &seats(1)).await;
    let payment = app.start_payment(&buyer, id(&order)).await;
    stripe.set_webhook_url(None);
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    app.advance(601);
    app.sweep().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid");
    // Repeated, and of another time: what is true is read from the provider.
    let settle = app.app("settle");
    let message = json!({ "type": "payment.changed", "payment": payment.id }).to_string();
    let message = platform::bus::QueueMessage { body: message, delay_seconds: 0 };
    let queue = settle.config.get("PAYMENTS_QUEUE_URL").expect("the template gives it").to_owned();
    settle.clients.bus.send(&queue, vec![message; 20]).await.expect("it is sent");
    let due = json!({ "type": "order.due", "buyer": buyer.id, "order": id(&order) }).to_string();
    let due = platform::bus::QueueMessage { body: due, delay_seconds: 0 };
    settle.clients.bus.send(&queue, vec![due; 5]).await.expect("it is sent");
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid");
    app.finish().await;
}
