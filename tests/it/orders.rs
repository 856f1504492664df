//! Holding seats: once for a key, all or none, until the hold ends; and what becomes of money that comes late.

use domain::ids::{EventId, OrderId};
use domain::ledger::Account;
use domain::seating::Block;
use domain::seating::words::{Hold, Stamp, held};
use jiff::SignedDuration;
use platform::store::Locked;
use serde_json::{Value, json};
use tests::{TestApp, User, id, mask, seat};

fn two() -> Value {
    json!([seat("Stalls", 1, 1), seat("Stalls", 1, 2)])
}

fn ask(event: &str, seats: &Value) -> Value {
    json!({ "event_id": event, "seats": seats })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_shows_its_seats_and_its_end() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &json!([seat("Stalls", 1, 1), seat("Side", 3, 20)])).await;
    insta::assert_json_snapshot!(mask(&order), @r#"
    {
      "event_id": "evt_[id]",
      "hold_until": "2027-03-01T12:10:00Z",
      "id": "ord_[id]",
      "placed_at": "2027-03-01T12:00:00Z",
      "seats": [
        {
          "category": "stalls",
          "price": {
            "amount": 150000,
            "currency": "RUB"
          },
          "row": "1",
          "seat": "1",
          "section": "Stalls"
        },
        {
          "category": "side",
          "price": {
            "amount": 3333,
            "currency": "RUB"
          },
          "row": "3",
          "seat": "20",
          "section": "Side"
        }
      ],
      "status": "held",
      "total": {
        "amount": 153333,
        "currency": "RUB"
      }
    }
    "#);
    assert_eq!(app.order(&buyer, id(&order)).await, order);
    assert_eq!(app.get(&buyer, "/orders").await.expect(200), json!({ "items": [order] }));
    let stranger = app.buyer();
    assert_eq!(app.get(&stranger, "/orders").await.expect(200), json!({ "items": [] }));
    let taken =
        app.post(&stranger, "/orders", &ask(&event, &json!([seat("Stalls", 1, 3), seat("Stalls", 1, 1)]))).await;
    let mut problem = taken.problem(409, "seats_taken");
    problem["request_id"].take();
    insta::assert_json_snapshot!(problem, @r#"
    {
      "code": "seats_taken",
      "detail": "Stalls row 1 seat 1 is taken.",
      "errors": [
        {
          "detail": "Stalls row 1 seat 1 is taken",
          "pointer": "/seats/1"
        }
      ],
      "request_id": null,
      "status": 409,
      "title": "Conflict",
      "type": "/problems/seats_taken"
    }
    "#);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_fee_is_shown_before_it_is_asked_for() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let event = app.event(&hall, &json!({ "service_fee": 40 })).await;
    let (shown, map) = (format!("/events/{event}"), format!("/events/{event}/seats"));
    for path in [&shown, &map] {
        assert_eq!(app.look(path).await.expect(200)["service_fee"], json!({ "amount": 40, "currency": "RUB" }));
    }
    // A ticket for which nothing is paid has none; what the provider takes is counted with it.
    let free = app.hold(&buyer, &event, &json!([seat("Gift", 1, 1)])).await;
    assert_eq!((&free["total"]["amount"], &free["service_fees"]), (&json!(0), &Value::Null));
    let least = app.hold(&buyer, &event, &json!([seat("Penny", 1, 1)])).await;
    assert_eq!(least["total"]["amount"], 50, "without the fee it could not be paid");
    let seats = json!([seat("Stalls", 1, 1), seat("Gift", 1, 2), seat("Side", 1, 1)]);
    let order = app.hold(&buyer, &event, &seats).await;
    let fees: Vec<_> = (0..3).map(|nth| order["seats"][nth]["service_fee"]["amount"].as_i64()).collect();
    assert_eq!(fees, [Some(40), None, Some(40)]);
    assert_eq!((&order["total"]["amount"], &order["service_fees"]["amount"]), (&json!(153_413), &json!(80)));

    // It is raised and taken away: orders that are placed keep theirs.
    let mut older = order.clone();
    for fee in [5_000, 0] {
        let path = format!("/admin/events/{event}");
        let etag = app.look(&map).await.header("etag").to_owned();
        let amended = app.ask("PATCH", &path).by(&app.admin).json(&json!({ "service_fee": fee })).send().await;
        let money = |amount: i64| if amount > 0 { json!({ "amount": amount, "currency": "RUB" }) } else { Value::Null };
        assert_eq!(amended.expect(200)["service_fee"], money(fee));
        app.outdate_caches();
        let looked = app.look(&map).await;
        assert_ne!(looked.header("etag"), etag);
        assert_eq!(looked.expect(200)["service_fee"], money(fee));
        let newer = app.hold(&buyer, &event, &json!([seat("Stalls", if fee > 0 { 2 } else { 3 }, 1)])).await;
        assert_eq!(newer["total"]["amount"], 150_000 + fee);
        assert_eq!(app.order(&buyer, id(&older)).await, older);
        older = newer;
    }
    for fee in [json!(-1), json!(100_000_001), json!("40")] {
        let path = format!("/admin/events/{event}");
        let refused = app.ask("PATCH", &path).by(&app.admin).json(&json!({ "service_fee": fee })).send().await;
        assert_eq!(refused.problem(422, "invalid")["errors"][0]["pointer"], "/service_fee");
    }
    let payment = app.start_payment(&buyer, id(&order)).await;
    assert_eq!(app.confirm(&payment, "pm_card_visa").await.expect(200)["amount"], 153_413);
    app.settled().await;
    let sale = &app.finish().await.entries[0];
    let legs = [Account::Provider, Account::Organiser, Account::ServiceFees].map(|account| sale.of(account));
    assert_eq!((sale.legs.len(), legs), (3, [153_413, -153_333, -80]), "{sale:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_is_the_same_request() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let post = |who: &User, body: Value| {
        let who = who.clone();
        let app = &app;
        async move { app.post_with_key(&who, "/orders", "the key", &body).await }
    };
    let first = post(&buyer, ask(&event, &two())).await.expect(201);
    // The reply was lost, and the client asks again: the same order, the same end of the hold.
    app.advance(60);
    assert_eq!(post(&buyer, ask(&event, &two())).await.expect(201), first);
    let three = json!([seat("Stalls", 2, 1), seat("Stalls", 2, 2), seat("Stalls", 2, 3)]);
    post(&buyer, ask(&event, &three)).await.problem(409, "idempotency_key_reused");
    post(&buyer, ask(&event, &json!([seat("Stalls", 1, 1)]))).await.problem(409, "idempotency_key_reused");
    assert_eq!(app.word(&event, "Stalls", "2", 0).await, None, "the other contents hold nothing");
    let others = post(&other, ask(&event, &three)).await.expect(201);
    assert_ne!(id(&others), id(&first), "a key is its sender's own");

    let paid = app.pay(&buyer, id(&first), "pm_card_visa").await;
    assert_eq!(post(&buyer, ask(&event, &two())).await.expect(201), paid, "the resource as it is now");
    app.give_back(&buyer, id(&first), None).await;
    let replay = post(&buyer, ask(&event, &two())).await.expect(201);
    assert_eq!((id(&replay), &replay["status"]), (id(&first), &json!("refunded")));
    assert_eq!(app.word(&event, "Stalls", "1", 0).await, None, "the repeated request holds nothing anew");
    // Whatever would be refused now: the seats are taken, the event is over.
    app.hold(&other, &event, &two()).await;
    assert_eq!(id(&post(&buyer, ask(&event, &two())).await.expect(201)), id(&first));
    app.advance(100 * 86_400);
    assert_eq!(id(&post(&buyer, ask(&event, &two())).await.expect(201)), id(&first));
    app.sweep().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_many_times_at_once_is_one_order() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let body = ask(&event, &json!([seat("Stalls", 1, 1), seat("Stalls", 2, 1), seat("Stalls", 3, 1)]));
    let posts = (0..20).map(|_| app.post_with_key(&buyer, "/orders", "k", &body));
    let replies = futures_util::future::join_all(posts).await;
    let first = replies[0].clone().expect(201);
    for reply in replies {
        assert_eq!(reply.expect(201), first);
    }
    assert_eq!(app.pay(&buyer, id(&first), "pm_card_visa").await["status"], "paid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_rows_all_are_held_or_none() {
    let app = TestApp::start().await;
    let (event, first, second) = (app.on_sale().await, app.buyer(), app.buyer());
    app.hold(&first, &event, &json!([seat("Stalls", 3, 4)])).await;
    let rows = json!([seat("Stalls", 1, 4), seat("Stalls", 2, 4), seat("Stalls", 3, 4), seat("Long", 1, 1)]);
    app.post(&second, "/orders", &ask(&event, &rows)).await.problem(422, "invalid");
    let rows = json!([seat("Stalls", 1, 4), seat("Stalls", 3, 4), seat("Stalls", 2, 4)]);
    let problem = app.post(&second, "/orders", &ask(&event, &rows)).await.problem(409, "seats_taken");
    assert_eq!(problem["errors"][0]["pointer"], "/seats/1");
    for row in ["1", "2"] {
        assert_eq!(app.word(&event, "Stalls", row, 3).await, None, "row {row} was let go");
    }
    // Two items lock one long row; its two ends are sold and given back together.
    let ends = json!([seat("Stalls", "Long", 1), seat("Stalls", "Long", 60), seat("Stalls", "Long", 31)]);
    let order = app.buy(&second, &event, &ends).await;
    assert!(app.word(&event, "Stalls", "Long~1", 29).await.is_some_and(|word| word.starts_with('S')));
    app.give_back(&second, id(&order), None).await;
    app.advance(601);
    app.sweep().await;
    assert_eq!(app.finish().await.words.len(), 0);
}

/// The lock that `POST /orders` takes first, for a process that dies right after it.
async fn lock_only(app: &TestApp, event: &str, row: &str, index: u8, order: OrderId) -> jiff::Timestamp {
    let (buy, event) = (app.app("buy"), event.parse::<EventId>().expect("it is an id"));
    let expiry = buy.now() + SignedDuration::from_secs(600);
    let block = Block { section: "Stalls".into(), row: row.into() };
    let stamp = Stamp { hold: Hold::of(order), channel: None, expiry };
    let locked = buy.seats.lock(event, &block, &[index], &stamp, buy.now()).await;
    assert_eq!(locked.expect("the table answers"), Locked::Now);
    expiry
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_lock_and_order_heals() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let order = async |key: &str| app.order_id(&buyer, key).await;
    let row = |row: u8| json!([seat("Stalls", row, 1)]);

    // The client tries again with its key: what was locked is its own, with the end it had.
    let expiry = lock_only(&app, &event, "1", 0, order("a").await).await;
    app.advance(30);
    app.post(&other, "/orders", &ask(&event, &row(1))).await.problem(409, "seats_taken");
    let healed = app.post_with_key(&buyer, "/orders", "a", &ask(&event, &row(1))).await.expect(201);
    assert_eq!(healed["hold_until"], expiry.to_string());
    assert_eq!(app.pay(&buyer, id(&healed), "pm_card_visa").await["status"], "paid");

    // The same where one of two rows was reached: both end together, at the later end.
    lock_only(&app, &event, "2", 0, order("b").await).await;
    app.advance(30);
    let rows = json!([seat("Stalls", 2, 1), seat("Stalls", 3, 1)]);
    let healed = app.post_with_key(&buyer, "/orders", "b", &ask(&event, &rows)).await.expect(201);
    let until = healed["hold_until"].as_str().expect("a text").parse().expect("an instant");
    assert_eq!(until, app.app("buy").now() + SignedDuration::from_secs(600));
    for row in ["2", "3"] {
        assert_eq!(app.word(&event, "Stalls", row, 0).await, Some(held(until, Hold::of(order("b").await))));
    }
    assert_eq!(app.pay(&buyer, id(&healed), "pm_card_visa").await["status"], "paid");

    // The client does not try again: the seat is free when the hold ends, and nobody has to tidy.
    lock_only(&app, &event, "4", 0, order("c").await).await;
    app.advance(601);
    assert_eq!(app.buy(&other, &event, &row(4)).await["status"], "paid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_given_up_once() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let cancel = |order: &str| app.ask("DELETE", &format!("/orders/{order}")).by(&buyer).send();
    let order = app.post_with_key(&buyer, "/orders", "k", &ask(&event, &two())).await.expect(201);
    let payment = app.start_payment(&buyer, id(&order)).await;
    for _ in 0..2 {
        assert_eq!(cancel(id(&order)).await.status, 204);
    }
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "cancelled");
    assert_eq!(
        app.post_with_key(&buyer, "/orders", "k", &ask(&event, &two())).await.expect(201)["status"],
        "cancelled"
    );
    assert_eq!(app.confirm(&payment, "pm_card_visa").await.status, 400, "its payment can no longer be made");
    app.post(&buyer, &format!("/orders/{}/payment", id(&order)), &Value::Null).await.problem(409, "order_closed");

    let bought = app.buy(&other, &event, &two()).await;
    let paid = app.ask("DELETE", &format!("/orders/{}", id(&bought))).by(&other).send().await;
    paid.problem(409, "already_paid");
    cancel(id(&bought)).await.problem(404, "not_found");

    // Money was set aside a moment before: then it is a sale.
    let order = app.hold(&buyer, &event, &json!([seat("Stalls", 2, 1)])).await;
    let payment = app.start_payment(&buyer, id(&order)).await;
    app.running.pause("Payments").expect("there is such a queue");
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    cancel(id(&order)).await.problem(409, "already_paid");
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_ends_by_the_clock_alone() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let order = app.hold(&buyer, &event, &two()).await;
    let pay = format!("/orders/{}/payment", id(&order));
    // An expiry is a whole second, and the hold lasts through it.
    app.advance(600);
    app.post(&other, "/orders", &ask(&event, &two())).await.problem(409, "seats_taken");
    app.post(&buyer, &pay, &Value::Null).await.problem(409, "hold_ended");
    app.advance(1);
    // No sweeper ran, and the seats are anybody's.
    let others = app.hold(&other, &event, &two()).await;
    app.sweep().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "expired");
    app.post(&buyer, &pay, &Value::Null).await.problem(409, "hold_ended");
    assert_eq!(
        app.pay(&other, id(&others), "pm_card_visa").await["status"],
        "paid",
        "the sweep took nothing of theirs"
    );

    let left = app.hold(&buyer, &event, &json!([seat("Stalls", 2, 1)])).await;
    let payment = app.start_payment(&buyer, id(&left)).await;
    app.advance(601);
    app.sweep().await;
    assert_eq!(app.order(&buyer, id(&left)).await["status"], "expired");
    assert_eq!(app.word(&event, "Stalls", "2", 0).await, None, "the sweep lets go of the seat");
    assert_eq!(app.confirm(&payment, "pm_card_visa").await.status, 400, "the payment was cancelled");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_that_comes_late_wins_the_seat_back_or_is_let_go() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let start = async |row: u8| {
        let order = app.hold(&buyer, &event, &json!([seat("Stalls", row, 1)])).await;
        let payment = app.start_payment(&buyer, id(&order)).await;
        (id(&order).to_owned(), payment)
    };
    let (free, taken, sold, raced) = (start(1).await, start(2).await, start(3).await, start(4).await);
    app.running.pause("Payments").expect("there is such a queue");
    app.confirm(&raced.1, "pm_card_visa").await.expect(200);
    app.settled().await;
    app.advance(601);
    // The sweep and the provider speak of the same order at once: the money was in time.
    app.sweep().await;
    app.hold(&other, &event, &json!([seat("Stalls", 2, 1)])).await;
    let theirs = app.hold(&other, &event, &json!([seat("Stalls", 3, 1)])).await;
    for late in [&free, &taken, &sold] {
        app.confirm(&late.1, "pm_card_visa").await.expect(200);
    }
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    app.pay(&other, id(&theirs), "pm_card_visa").await;

    for (order, status) in [(&free, "paid"), (&taken, "lost"), (&sold, "lost"), (&raced, "paid")] {
        let now = app.order(&buyer, &order.0).await;
        assert_eq!(now["status"], status, "{now}");
    }
    let books = app.running.payments.stripe.books();
    let intent = books.intents.iter().find(|intent| intent.id == taken.1.id).expect("it is in the books");
    assert_eq!((intent.status, intent.amount_received), (sandbox::Status::Canceled, 0), "nothing is kept");
    assert_eq!(app.get(&buyer, "/tickets").await.expect(200)["items"].as_array().map(Vec::len), Some(2));
    app.advance(601);
    app.sweep().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_are_sold_while_the_event_is_on_sale() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let changes = json!({
        "on_sale_from": "2027-03-01T13:00:00Z", "on_sale_until": "2027-03-01T15:00:00Z",
        "starts_at": "2027-03-01T16:00:00Z",
    });
    let event = app.event(&hall, &changes).await;
    let hold = async |row: u8| app.post(&buyer, "/orders", &ask(&event, &json!([seat("Stalls", row, 1)]))).await;
    hold(1).await.problem(409, "not_on_sale");
    app.advance(3600);
    hold(1).await.expect(201);
    app.advance(7199);
    hold(2).await.expect(201);
    app.advance(1);
    hold(3).await.problem(409, "not_on_sale");
    app.advance(3600);
    hold(4).await.problem(409, "event_started");
    app.sweep().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_listed_in_pages() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    for row in 1..=7 {
        app.hold(&buyer, &event, &json!([seat("Stalls", row, 1)])).await;
    }
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = app.get(&buyer, &format!("/orders?limit=3{cursor}")).await.expect(200);
        seen.extend(page["items"].as_array().expect("a list").iter().map(|order| id(order).to_owned()));
        pages += 1;
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), pages), (7, 3));
    app.get(&buyer, "/orders?cursor=x").await.problem(422, "invalid");
    app.get(&buyer, "/orders?limit=1000").await.problem(422, "invalid");
    app.advance(601);
    app.sweep().await;
    app.finish().await;
}
