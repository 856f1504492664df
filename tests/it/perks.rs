//! What a subscription gives to whoever buys: earlier, cheaper, more, on better terms, and what others are not shown.

use boxoffice::Options;
use domain::ids::PlanId;
use domain::ledger::Account;
use domain::subscriptions::plans::{Plan, Terms};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tests::http::new_key;
use tests::{Fault, Payment, Table, TestApp, User, id, options, seat};

const HOUR_SECONDS: i64 = 3600;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;
/// Past the end of a hold.
const HOLD_ENDS_SECONDS: i64 = 700;
const STALLS: i64 = 150_000;

/// A plan of three months, paid at once, that gives these perks.
async fn plan(app: &TestApp, perks: Value) -> Plan {
    let terms = json!({
        "name": { "ru": "Друг", "en": "Friend" },
        "price": { "amount": 300_000, "currency": "RUB" },
        "billing": { "once": { "months": 3 } },
        "perks": perks,
    });
    let terms: Terms = serde_json::from_value(terms).expect("they are as an administrator posts them");
    let plan = Plan::offer(PlanId(app.app("buy").new_id()), terms, "r".into()).expect("the terms are good");
    app.app("buy").offers.put_plan(&plan).await.expect("the table answers").expect("it is new");
    plan
}

/// Somebody who has paid for a plan.
async fn subscribed(app: &TestApp, plan: &Plan) -> User {
    let user = app.buyer();
    let ask = json!({ "plan_id": plan.id, "time_zone": "Europe/Moscow", "consent_text": "I agree" });
    let begun = app.post(&user, "/subscriptions", &ask).await.expect(201);
    let text = |name: &str| begun["payment"][name].as_str().expect("there is something to pay").to_owned();
    let payment = Payment { id: text("payment_id"), client_secret: text("client_secret") };
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    app.settled().await;
    user
}

/// Somebody with these perks.
pub async fn with(app: &TestApp, perks: Value) -> User {
    subscribed(app, &plan(app, perks).await).await
}

fn order_of(event: &str, seats: Value) -> Value {
    json!({ "event_id": event, "seats": seats })
}

/// Seats of a row, from the first on.
fn row(row: &str, from: u16, count: u16) -> Value {
    (from..from + count).map(|nth| seat("Stalls", row, nth)).collect()
}

fn total(order: &Value) -> i64 {
    order["total"]["amount"].as_i64().expect("an order has a total")
}

fn kinds(order: &Value) -> Vec<&str> {
    let perks = order["applied"]["perks"].as_array().into_iter().flatten();
    perks.map(|perk| perk["kind"].as_str().expect("a perk has a kind")).collect()
}

/// What a seat costs this buyer, who gives it up again.
async fn price_of_one(app: &TestApp, buyer: &User, event: &str) -> i64 {
    let order = app.hold(buyer, event, &row("9", 1, 1)).await;
    give_up(app, buyer, &order).await;
    total(&order)
}

async fn give_up(app: &TestApp, buyer: &User, order: &Value) {
    app.ask("DELETE", &format!("/orders/{}", id(order))).by(buyer).send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_presale_is_for_those_who_have_it() {
    let app = TestApp::start().await;
    let early = plan(&app, json!([{ "kind": "presale", "hours": 48 }])).await;
    let late = plan(&app, json!([{ "kind": "presale", "hours": 12 }])).await;
    plan(&app, json!([{ "kind": "hidden_events" }])).await;
    let (early_bird, late_bird, anybody) = (subscribed(&app, &early).await, subscribed(&app, &late).await, app.buyer());
    let hall = app.hall().await;
    let event = app.event(&hall, &json!({ "on_sale_from": "2027-03-02T12:00:00Z" })).await;

    let shown = app.look(&format!("/events/{event}")).await;
    let etag = shown.header("etag").to_owned();
    let presale = &shown.expect(200)["presale"];
    assert_eq!(presale["from"], "2027-02-28T12:00:00Z");
    let plans = presale["plans"].as_array().expect("there are some");
    let told: Vec<_> = plans.iter().map(|plan| (plan["id"].clone(), plan["from"].clone())).collect();
    assert_eq!(
        told,
        [(json!(early.id), json!("2027-02-28T12:00:00Z")), (json!(late.id), json!("2027-03-02T00:00:00Z"))]
    );
    assert_eq!(plans[0]["name"], json!({ "ru": "Друг", "en": "Friend" }));

    let order = app.hold(&early_bird, &event, &row("1", 1, 2)).await;
    assert_eq!((kinds(&order), total(&order)), (vec!["presale"], 2 * STALLS));
    let bought = app.pay(&early_bird, id(&order), "pm_card_visa").await;
    assert_eq!((&bought["status"], kinds(&bought)), (&json!("paid"), vec!["presale"]));
    let ask = order_of(&event, row("2", 1, 1));
    let refused = app.post(&anybody, "/orders", &ask).await.problem(409, "not_on_sale");
    assert!(refused["detail"].as_str().is_some_and(|text| text.contains("2027-03-02T12:00:00Z")), "{refused}");
    let refused = app.post(&late_bird, "/orders", &ask).await.problem(409, "not_on_sale");
    assert!(refused["detail"].as_str().is_some_and(|text| text.contains("2027-03-02T00:00:00Z")), "{refused}");

    app.advance(DAY_SECONDS);
    let shown = app.look(&format!("/events/{event}")).await;
    assert_ne!(shown.header("etag"), etag, "what is said has changed");
    assert_eq!(shown.expect(200)["presale"], Value::Null, "it is on sale");
    for user in [&anybody, &late_bird] {
        let order = app.hold(user, &event, &row("3", 1, 1)).await;
        assert_eq!(order["applied"], Value::Null, "an order like anybody's");
        give_up(&app, user, &order).await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prices_are_lower_where_a_perk_says_so() {
    let app = TestApp::start().await;
    let event = app.on_sale().await;
    let friend = with(
        &app,
        json!([
            { "kind": "discount", "off": 1000, "categories": ["stalls"] },
            { "kind": "fixed_price", "category": "side", "price": { "amount": 2_000, "currency": "RUB" } },
        ]),
    )
    .await;
    let order = app.hold(&friend, &event, &json!([seat("Stalls", 1, 1), seat("Side", 1, 1)])).await;
    assert_eq!((total(&order), kinds(&order)), (135_000 + 2_000, vec!["discount", "fixed_price"]));
    let perk = &order["applied"]["perks"][1];
    assert_eq!((&perk["seat"], &perk["list_price"]["amount"]), (&json!(1), &json!(3_333)));
    assert_eq!(perk["text"], "The fixed price of your subscription, instead of 33.33 RUB.");

    let payment = app.start_payment(&friend, id(&order)).await;
    let confirmed = app.confirm(&payment, "pm_card_visa").await.expect(200);
    assert_eq!(confirmed["amount"], 137_000, "that is what the provider is asked for");
    app.settled().await;
    let paid = app.order(&friend, id(&order)).await;
    assert_eq!((&paid["status"], &paid["applied"]), (&json!("paid"), &order["applied"]));
    let back = app.give_back(&friend, id(&order), None).await;
    assert_eq!(back["refunds"][0]["amount"]["amount"], 137_000, "what was paid, and no more");
    let books = app.finish().await.books;
    assert_eq!(books.refunds.iter().map(|refund| refund.amount).sum::<i64>(), 137_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_fee_is_lower_where_a_perk_says_so() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let event = app.event(&hall, &json!({ "service_fee": 7_501 })).await;
    let half = with(
        &app,
        json!([
            { "kind": "service_fee", "off": 5_000 },
            { "kind": "discount", "off": 1_000, "categories": ["stalls"] },
            { "kind": "tickets", "a_month": 1, "categories": ["side"] },
        ]),
    )
    .await;
    let seats = json!([seat("Stalls", 1, 1), seat("Side", 1, 1), seat("Gift", 1, 1), seat("Side", 1, 2)]);
    let order = app.hold(&half, &event, &seats).await;
    let fees: Vec<_> = (0..4).map(|nth| order["seats"][nth]["service_fee"]["amount"].as_i64()).collect();
    assert_eq!(fees, [Some(3_750), None, None, Some(3_750)], "nothing is paid for two of them");
    assert_eq!((total(&order), &order["service_fees"]["amount"]), (135_000 + 3_333 + 7_500, &json!(7_500)));
    let perks = order["applied"]["perks"].as_array().expect("there are some");
    let told: Vec<_> = perks.iter().map(|perk| (perk["kind"].as_str(), perk["seat"].as_i64())).collect();
    assert_eq!(
        told,
        [("discount", 0), ("included", 1), ("service_fee", 0), ("service_fee", 3)].map(|(k, n)| (Some(k), Some(n)))
    );
    for (nth, fee, text) in [
        (0, &Value::Null, "The discount of your subscription, instead of 1500.00 RUB."),
        (
            1,
            &json!(7_501),
            "Included in this month of your subscription, instead of 33.33 RUB and a service fee of 75.01 RUB.",
        ),
        (2, &json!(7_501), "Less service fee with your subscription, instead of 75.01 RUB."),
    ] {
        assert_eq!((&perks[nth]["list_fee"]["amount"], &perks[nth]["text"]), (fee, &json!(text)));
    }
    let paid = app.pay(&half, id(&order), "pm_card_visa").await;
    assert_eq!((&paid["status"], &paid["seats"][3]["service_fee"]["amount"]), (&json!("paid"), &json!(3_750)));
    let ticket = app.get(&half, &format!("/tickets/{}-0", id(&order).replace("ord_", "tkt_"))).await.expect(200);
    assert_eq!(ticket["service_fee"]["amount"], 3_750);

    let none = with(&app, json!([{ "kind": "service_fee", "off": 10_000 }])).await;
    let order = app.buy(&none, &event, &row("2", 1, 2)).await;
    assert_eq!((total(&order), kinds(&order)), (2 * STALLS, vec!["service_fee"; 2]));
    assert_eq!((&order["service_fees"], &order["seats"][0]["service_fee"]), (&Value::Null, &Value::Null));
    let order = app.buy(&app.buyer(), &event, &row("3", 1, 2)).await;
    assert_eq!((total(&order), &order["applied"]), (2 * STALLS + 2 * 7_501, &Value::Null));
    let entries = app.finish().await.entries;
    let earned: i64 = entries.iter().map(|entry| entry.of(Account::ServiceFees)).sum();
    assert_eq!(earned, -(2 * 3_750 + 2 * 7_501));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn better_terms_of_refund_are_kept_in_the_order() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let event = app.event(&hall, &json!({ "refund_policy": {}, "service_fee": 5_000 })).await;
    let policy = json!({ "tiers": [{ "notice": { "days": 1 }, "share": 9000 }], "returns_service_fee": true });
    let friend = with(&app, json!([{ "kind": "refunds", "policy": policy }])).await;
    let anybody = app.buyer();
    let theirs = app.buy(&anybody, &event, &row("1", 1, 1)).await;
    let order = app.buy(&friend, &event, &row("2", 1, 1)).await;
    assert_eq!(kinds(&order), ["refund_terms"]);
    let quote = async |user: &User, order: &Value| {
        app.post(user, &format!("/orders/{}/refund-quotes", id(order)), &json!({})).await
    };
    quote(&anybody, &theirs).await.problem(409, "nothing_due");
    let told = quote(&friend, &order).await.expect(200);
    assert_eq!((&told["total"]["amount"], &told["service_fees"]["amount"]), (&json!(140_000), &json!(5_000)));
    // The subscription is over; what was agreed is not. The event is the day after tomorrow.
    app.advance(90 * DAY_SECONDS);
    quote(&anybody, &theirs).await.problem(409, "nothing_due");
    assert_eq!(quote(&friend, &order).await.expect(200), told);
    let back = &app.give_back(&friend, id(&order), None).await["refunds"][0];
    assert_eq!((&back["amount"]["amount"], &back["service_fees"]["amount"]), (&json!(140_000), &json!(5_000)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_may_have_more_seats() {
    let app = TestApp::start().await;
    let event = app.on_sale().await;
    let (friend, anybody) = (with(&app, json!([{ "kind": "seats_an_order", "max": 20 }])).await, app.buyer());
    let many = row("Long", 1, 20);
    let refused = app.post(&anybody, "/orders", &order_of(&event, many.clone())).await.problem(422, "invalid");
    assert_eq!(refused["errors"][0]["detail"], "must name 1 to 10 seats");
    let best = json!({ "event_id": event, "best": { "quantity": 14, "section": "Side" } });
    app.post(&anybody, "/orders", &best).await.problem(422, "invalid");
    let order = app.buy(&friend, &event, &many).await;
    assert_eq!((kinds(&order), total(&order)), (vec!["more_seats"], 20 * STALLS));
    let together = app.post(&friend, "/orders", &best).await.expect(201);
    assert_eq!(together["seats"].as_array().map(Vec::len), Some(14));
    let too_many = order_of(&event, row("Long", 21, 21));
    app.post(&friend, "/orders", &too_many).await.problem(422, "invalid");
    assert_eq!(app.give_back(&friend, id(&order), None).await["status"], "refunded");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn included_tickets_are_used_up_and_come_back() {
    let app = TestApp::start().await;
    let event = app.on_sale().await;
    let friend = with(&app, json!([{ "kind": "tickets", "a_month": 2 }])).await;
    // The dearest are included; the rest is paid.
    let key = new_key();
    let seats = json!([seat("Side", 1, 1), seat("Stalls", 1, 1), seat("Stalls", 1, 2)]);
    let order = app.post_with_key(&friend, "/orders", &key, &order_of(&event, seats.clone())).await.expect(201);
    assert_eq!((total(&order), kinds(&order)), (3_333, vec!["included", "included"]));
    assert_eq!(
        order["applied"]["perks"][0]["text"],
        "Included in this month of your subscription, instead of 1500.00 RUB."
    );
    let again = app.post_with_key(&friend, "/orders", &key, &order_of(&event, seats)).await.expect(201);
    assert_eq!(again, order, "the same request is the same order");
    let next = app.hold(&friend, &event, &row("2", 1, 1)).await;
    assert_eq!((total(&next), &next["applied"]), (STALLS, &Value::Null), "none is left");
    // Nobody pays, and both come back.
    app.advance(HOLD_ENDS_SECONDS);
    app.sweep().await;
    assert_eq!(app.order(&friend, id(&order)).await["status"], "expired");
    let order = app.hold(&friend, &event, &row("1", 1, 2)).await;
    assert_eq!(total(&order), 0);
    give_up(&app, &friend, &order).await;
    // What costs nothing is paid at once.
    let order = app.hold(&friend, &event, &row("1", 1, 2)).await;
    app.start_payment(&friend, id(&order)).await;
    let paid = app.order(&friend, id(&order)).await;
    assert_eq!((&paid["status"], total(&paid)), (&json!("paid"), 0));
    assert_eq!(price_of_one(&app, &friend, &event).await, STALLS);
    // One is given back, and it is one that comes back to the month.
    let ticket = paid["seats"][0]["ticket_id"].as_str().expect("it is paid");
    let back = app.give_back(&friend, id(&paid), Some(&[ticket])).await;
    assert_eq!(back["status"], "partly_refunded");
    let order = app.hold(&friend, &event, &row("3", 1, 2)).await;
    assert_eq!((total(&order), kinds(&order)), (STALLS, vec!["included"]));
    // Another month has its own.
    app.advance(31 * DAY_SECONDS);
    app.sweep().await;
    let order = app.hold(&friend, &event, &row("3", 1, 3)).await;
    assert_eq!((total(&order), kinds(&order)), (STALLS, vec!["included", "included"]));
    give_up(&app, &friend, &order).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_never_gives_more_than_it_has() {
    let table = Table::default();
    let app = TestApp::start_with(Options { wires: table.wires(), ..options() }).await;
    let event = app.on_sale().await;
    let friend = with(&app, json!([{ "kind": "tickets", "a_month": 2 }])).await;
    // The answer to the first write is lost: whoever asks again is told of what was done, and it is counted once.
    let lost = Arc::new(AtomicU32::new(0));
    let counted = lost.clone();
    table.set(move |operation, _| {
        let is_first = operation == "TransactWriteItems" && counted.fetch_add(1, Ordering::SeqCst) == 0;
        if is_first { Fault::Lost } else { Fault::None }
    });
    let first = app.hold(&friend, &event, &row("1", 1, 1)).await;
    assert_eq!((total(&first), lost.load(Ordering::SeqCst)), (0, 2));
    table.repair();
    let asks = (2..=7).map(|nth| {
        let (app, friend, event) = (&app, &friend, &event);
        async move { app.hold(friend, event, &row(&nth.to_string(), 1, 1)).await }
    });
    let orders = futures_util::future::join_all(asks).await;
    let free = orders.iter().filter(|order| total(order) == 0).count();
    assert_eq!(free, 1, "one was left: {orders:#?}");
    assert!(orders.iter().all(|order| total(order) == 0 || total(order) == STALLS));
    app.advance(HOLD_ENDS_SECONDS);
    // Whoever ends an order may die before its tickets are back: whoever comes next does it again.
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    table.set(move |operation, body| {
        let is_counter = operation == "UpdateItem" && body.contains("used#");
        let dies = is_counter && counted.fetch_add(1, Ordering::SeqCst) < 3;
        if dies { Fault::Refused } else { Fault::None }
    });
    app.sweep().await;
    table.repair();
    assert!(calls.load(Ordering::SeqCst) > 3, "it was done again");
    assert_eq!(app.order(&friend, id(&first)).await["status"], "expired");
    let order = app.hold(&friend, &event, &row("1", 1, 3)).await;
    assert_eq!(total(&order), STALLS, "both are there again");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn perks_end_with_their_subscription() {
    let app = TestApp::start().await;
    let event = app.on_sale().await;
    let friend = with(&app, json!([{ "kind": "discount", "off": 5000 }])).await;
    assert_eq!(price_of_one(&app, &friend, &event).await, STALLS / 2);
    assert_eq!(price_of_one(&app, &app.buyer(), &event).await, STALLS);
    app.advance(91 * DAY_SECONDS);
    assert_eq!(price_of_one(&app, &friend, &event).await, STALLS / 2, "the last day of three months");
    app.advance(DAY_SECONDS);
    let order = app.post(&friend, "/orders", &order_of(&event, row("2", 1, 1))).await;
    // The event begins this afternoon.
    let order = order.expect(201);
    assert_eq!((total(&order), &order["applied"]), (STALLS, &Value::Null));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_sold_to_at_another_price_since_the_table_is_busy() {
    let table = Table::default();
    let app = TestApp::start_with(Options { wires: table.wires(), ..options() }).await;
    let event = app.on_sale().await;
    let friend = with(&app, json!([{ "kind": "discount", "off": 5000 }])).await;
    let before = app.everything().await;
    table.set(|operation, body| {
        let is_subscriptions = operation == "Query" && body.contains("\"TableName\":\"Subscriptions\"");
        if is_subscriptions { Fault::Throttled } else { Fault::None }
    });
    let (key, ask) = (new_key(), order_of(&event, row("1", 1, 1)));
    let refused = app.post_with_key(&friend, "/orders", &key, &ask).await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.problem(503, "busy");
    app.check_unwritten(&before, "an order without its price").await;
    table.repair();
    assert_eq!(total(&app.post_with_key(&friend, "/orders", &key, &ask).await.expect(201)), STALLS / 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hidden_events_are_for_those_who_may_see_them() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let event = app.event(&hall, &json!({ "hidden": true })).await;
    let open = app.event(&hall, &Value::Null).await;
    let friend = with(&app, json!([{ "kind": "hidden_events" }])).await;
    let others = [with(&app, json!([{ "kind": "discount", "off": 1 }])).await, app.buyer(), app.gate.clone()];
    let paths = [format!("/events/{event}"), format!("/events/{event}/seats")];
    // The subscriber first: what an instance knows is told to nobody else.
    let list = app.get(&friend, "/events").await;
    assert_eq!(list.header("cache-control"), "private, no-store");
    assert_eq!(ids(&list.expect(200)), [event.as_str(), open.as_str()].into());
    for path in &paths {
        let shown = app.get(&friend, path).await;
        assert_eq!(shown.header("cache-control"), "private, no-store", "{path}");
        let etag = shown.header("etag").to_owned();
        shown.expect(200);
        app.ask("GET", path).by(&friend).header("if-none-match", &etag).send().await.expect(304);
        app.ask("GET", path).header("if-none-match", &etag).send().await.problem(404, "not_found");
        app.look(path).await.problem(404, "not_found");
        for user in &others {
            app.get(user, path).await.problem(404, "not_found");
        }
        app.get(&User::with_token("old"), path).await.expect(401);
    }
    let list = app.look("/events").await;
    assert_eq!((list.header("cache-control"), list.header("vary")), ("public, max-age=2", "authorization"));
    assert_eq!(ids(&list.expect(200)), [open.as_str()].into());
    for user in &others {
        assert_eq!(ids(&app.get(user, "/events").await.expect(200)), [open.as_str()].into());
    }
    app.get(&User::with_token("old"), "/events").await.expect(401);
    // What anybody may see is no affair of a token's.
    let shown = app.get(&User::with_token("old"), &format!("/events/{open}")).await;
    assert_eq!(shown.header("cache-control"), "public, max-age=2");
    shown.expect(200);

    let ask = order_of(&event, row("1", 1, 1));
    app.post(&others[1], "/orders", &ask).await.problem(404, "not_found");
    assert_eq!(kinds(&app.buy(&friend, &event, &row("1", 1, 1)).await), ["hidden_event"]);
    // An administrator may show it to all.
    let path = format!("/admin/events/{event}");
    assert_eq!(app.get(&app.admin, &path).await.expect(200)["hidden"], true);
    let shown = app.ask("PATCH", &path).by(&app.admin).json(&json!({ "hidden": false })).send().await;
    assert_eq!(shown.expect(200)["hidden"], Value::Null);
    app.outdate_caches();
    app.look(&format!("/events/{event}")).await.expect(200);
    app.hold(&others[1], &event, &row("2", 1, 1)).await;
    app.finish().await;
}

fn ids(page: &Value) -> std::collections::BTreeSet<&str> {
    page["items"].as_array().expect("it is a page").iter().map(id).collect()
}
