//! Disputes: the buyer's bank takes the money back, and weeks later says who keeps it.

use domain::ledger::{Account, Cause};
use domain::seating::Block;
use platform::store::Own;
use serde_json::{Value, json};
use tests::{Audit, TestApp, User, id, seat};

/// What the sandbox takes for a dispute, as Stripe does.
const FEE: i64 = 1_500;
const HOUR: i64 = 3_600;

fn row(row: u8, seats: u8) -> Value {
    (1..=seats).map(|n| seat("Stalls", row, n)).collect()
}

fn ticket(order: &Value, index: usize) -> &str {
    order["seats"][index]["ticket_id"].as_str().expect("it is paid")
}

fn statuses(order: &Value) -> Vec<&str> {
    let seats = order["seats"].as_array().expect("a list").iter();
    seats.map(|seat| seat["ticket_status"].as_str().expect("it is paid")).collect()
}

/// The provider's id of an order's payment.
async fn payment_of(app: &TestApp, order: &Value) -> String {
    let audit = Audit::read(app).await;
    let stored = audit.orders.into_iter().find(|stored| stored.id.to_string() == id(order));
    stored.and_then(|order| order.payment).expect("it has a payment")
}

/// The bank takes back what is left of an order's money; the order then.
async fn dispute(app: &TestApp, buyer: &User, order: &Value) -> Value {
    let payment = payment_of(app, order).await;
    app.running.payments.stripe.dispute(&payment).expect("there is something to dispute");
    app.settled().await;
    app.order(buyer, id(order)).await
}

async fn decide(app: &TestApp, buyer: &User, order: &Value, won: bool) -> Value {
    let payment = payment_of(app, order).await;
    app.running.payments.stripe.close_dispute(&payment, won).expect("a dispute is open");
    app.settled().await;
    app.order(buyer, id(order)).await
}

fn sum(audit: &Audit, account: Account) -> i64 {
    audit.entries.iter().map(|entry| entry.of(account)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disputed_tickets_admit_nobody_until_the_dispute_is_won() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let order = app.buy(&buyer, &event, &row(1, 3)).await;
    let codes = [app.code(&buyer, ticket(&order, 0)).await, app.code(&buyer, ticket(&order, 1)).await];
    app.check_in(&event, ticket(&order, 0), &codes[0]).await.expect(200);

    let disputed = dispute(&app, &buyer, &order).await;
    assert_eq!(statuses(&disputed), ["used", "disputed", "disputed"]);
    let expected = json!([{ "status": "open", "amount": { "amount": 450_000, "currency": "RUB" } }]);
    assert_eq!((&disputed["status"], &disputed["disputes"]), (&json!("paid"), &expected));
    app.check_in(&event, ticket(&order, 1), &codes[1]).await.problem(409, "ticket_disputed");
    let path = format!("/tickets/{}", ticket(&order, 1));
    let shown = app.get(&buyer, &path).await.expect(200);
    assert_eq!((&shown["status"], &shown["code"]), (&json!("disputed"), &Value::Null));
    app.get(&buyer, &format!("{path}/code.svg")).await.problem(409, "ticket_disputed");
    for what in ["refund-quotes", "refunds"] {
        let path = format!("/orders/{}/{what}", id(&order));
        app.post(&buyer, &path, &json!({})).await.problem(409, "ticket_disputed");
    }
    // The seats are kept until the bank decides.
    let ask = json!({ "event_id": event, "seats": [seat("Stalls", 1, 2)] });
    app.post(&other, "/orders", &ask).await.problem(409, "seats_taken");
    let audit = Audit::read(&app).await;
    audit.check();
    assert_eq!((sum(&audit, Account::Disputes), sum(&audit, Account::Provider)), (450_000, -FEE));

    let won = decide(&app, &buyer, &order, true).await;
    assert_eq!((statuses(&won), &won["disputes"][0]["status"]), (vec!["used", "valid", "valid"], &json!("won")));
    app.check_in(&event, ticket(&order, 1), &codes[1]).await.expect(200);
    let given_back = app.give_back(&buyer, id(&order), None).await;
    assert_eq!(given_back["status"], "partly_refunded", "what was won can be given back as before");
    let audit = app.finish().await;
    assert_eq!((sum(&audit, Account::Disputes), sum(&audit, Account::Fees)), (0, FEE));
    assert_eq!(sum(&audit, Account::Provider), 300_000 - FEE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seats_of_a_lost_dispute_are_for_others() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let order = app.buy(&buyer, &event, &row(1, 3)).await;
    let code = app.code(&buyer, ticket(&order, 0)).await;
    app.check_in(&event, ticket(&order, 0), &code).await.expect(200);
    let code = app.code(&buyer, ticket(&order, 1)).await;
    dispute(&app, &buyer, &order).await;
    let lost = decide(&app, &buyer, &order, false).await;
    assert_eq!(
        (statuses(&lost), &lost["disputes"][0]["status"]),
        (vec!["used", "charged_back", "charged_back"], &json!("lost"))
    );
    app.check_in(&event, ticket(&order, 1), &code).await.problem(409, "ticket_disputed");
    app.buy(&other, &event, &json!([seat("Stalls", 1, 2), seat("Stalls", 1, 3)])).await;
    let ask = json!({ "event_id": event, "seats": [seat("Stalls", 1, 1)] });
    app.post(&other, "/orders", &ask).await.problem(409, "seats_taken");
    // Whatever comes late takes nothing from the new owner.
    let path = format!("/admin/events/{event}/cancellation");
    app.post(&app.admin, &path, &Value::Null).await.expect(200);
    app.settled().await;
    app.advance(120);
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["refunds"], Value::Null, "nothing goes back twice");
    let audit = app.finish().await;
    assert_eq!(audit.books.refunds.len(), 1, "only the new owner's money goes back");
    assert_eq!((sum(&audit, Account::Organiser), sum(&audit, Account::Provider)), (0, -FEE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_is_disputed_at_once_and_news_in_any_order() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let stripe = app.running.payments.stripe.clone();
    // All news wait, then are worked through with those of the capture; each dispute is told of by several events.
    app.running.pause("Payments").expect("there is such a queue");
    let mut orders = Vec::new();
    for (n, card) in [(1, "pm_card_createDispute"), (2, "pm_card_createDispute"), (3, "pm_sandbox_captures_at_once")] {
        let order = app.hold(&buyer, &event, &row(n, 2)).await;
        let payment = app.start_payment(&buyer, id(&order)).await;
        app.confirm(&payment, card).await.expect(200);
        orders.push((order, payment.id));
    }
    assert!(stripe.dispute(&orders[2].1).is_some() && stripe.close_dispute(&orders[2].1, false).is_some());
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    for ((order, _), status) in orders.iter().zip(["disputed", "disputed", "charged_back"]) {
        assert_eq!(statuses(&app.order(&buyer, id(order)).await), [status; 2]);
    }
    // The last word again and again changes nothing.
    let entries = Audit::read(&app).await.entries.len();
    let settle = app.app("settle");
    for (_, payment) in orders.iter().cycle().take(9) {
        let command = json!({ "type": "payment.dispute_changed", "payment": payment });
        let message = platform::bus::QueueMessage { body: command.to_string(), delay_seconds: 0 };
        let queue = settle.config.get("PAYMENTS_QUEUE_URL").expect("the template gives it");
        settle.clients.bus.send(queue, vec![message.clone(), message]).await.expect("it is taken");
    }
    app.settled().await;
    assert_eq!(Audit::read(&app).await.entries.len(), entries);
    assert!(stripe.close_dispute(&orders[0].1, true).is_some() && stripe.close_dispute(&orders[1].1, false).is_some());
    app.settled().await;
    let audit = app.finish().await;
    let lost = audit.entries.iter().filter(|entry| matches!(entry.cause, Cause::DisputeLost { .. }));
    assert_eq!(lost.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_and_disputes_never_pay_twice() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let stripe = app.running.payments.stripe.clone();
    // Some tickets went back before: only the rest is disputed.
    let partly = app.buy(&buyer, &event, &row(1, 3)).await;
    app.give_back(&buyer, id(&partly), Some(&[ticket(&partly, 0)])).await;
    let disputed = dispute(&app, &buyer, &partly).await;
    assert_eq!(statuses(&disputed), ["refunded", "disputed", "disputed"]);
    assert_eq!(disputed["disputes"][0]["amount"]["amount"], 300_000);
    // A refund that the provider has not made yet gives way to the dispute.
    let order = app.hold(&buyer, &event, &row(2, 2)).await;
    let pending = app.pay(&buyer, id(&order), "pm_card_pendingRefund").await;
    app.give_back(&buyer, id(&pending), Some(&[ticket(&pending, 0)])).await;
    let gone = dispute(&app, &buyer, &pending).await;
    assert_eq!((statuses(&gone), &gone["refunds"][0]["status"]), (vec!["refunded", "disputed"], &json!("failed")));
    // One that was decided and not asked for when the bank came.
    let asked = app.buy(&buyer, &event, &row(3, 2)).await;
    stripe.set_broken(true);
    app.give_back(&buyer, id(&asked), Some(&[ticket(&asked, 0)])).await;
    stripe.set_broken(false);
    let waiting = dispute(&app, &buyer, &asked).await;
    assert_eq!(
        (statuses(&waiting), &waiting["refunds"][0]["status"]),
        (vec!["refunding", "disputed"], &json!("failed"))
    );
    app.advance(HOUR);
    app.sweep().await;
    for order in [&pending, &asked] {
        let refund = app.order(&buyer, id(order)).await["refunds"][0]["id"].clone();
        let refund = refund.as_str().expect("an id").to_owned();
        let path = format!("/admin/users/{}/orders/{}/refunds/{refund}/retry", buyer.id, id(order));
        app.post(&app.admin, &path, &Value::Null).await.problem(409, "ticket_disputed");
    }
    Audit::read(&app).await.check();
    assert_eq!(statuses(&decide(&app, &buyer, &partly, false).await), ["refunded", "charged_back", "charged_back"]);
    decide(&app, &buyer, &pending, false).await;
    let won = decide(&app, &buyer, &asked, true).await;
    // The money is here again, so the decision to give it back is carried out.
    assert_eq!((statuses(&won), &won["refunds"][0]["status"]), (vec!["refunded", "valid"], &json!("done")));
    app.finish().await;
}

/// A settling that slept until its order was given back, and disputed, still writes that its seats are sold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settling_that_slept_leaves_no_seat_sold_that_was_given_back() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.buy(&buyer, &event, &row(3, 2)).await;
    app.running.payments.stripe.set_broken(true);
    app.give_back(&buyer, id(&order), None).await;
    app.running.payments.stripe.set_broken(false);
    dispute(&app, &buyer, &order).await;
    let settle = app.app("settle");
    let stored = settle.orders.get(buyer.id, id(&order).parse().expect("an id")).await.expect("the table answers");
    let stored = stored.expect("it is there");
    let own = Own { held: &stored.held_words(), channel: None };
    let sold = [(0, stored.sold_word(0)), (1, stored.sold_word(1))];
    let block = Block { section: "Stalls".into(), row: "3".into() };
    let written = settle.seats.sell(stored.event, &block, &sold, &own, settle.now()).await;
    assert!(written.expect("the table answers"), "they were free");
    decide(&app, &buyer, &order, false).await;
    assert_eq!(app.word(&event, "Stalls", "3", 0).await, None, "they are for others");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_event_gives_back_what_no_bank_has() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let (won, lost) = (app.buy(&buyer, &event, &row(1, 2)).await, app.buy(&buyer, &event, &row(2, 2)).await);
    let plain = app.buy(&buyer, &event, &row(3, 1)).await;
    // Everybody of the first order had come in: an event that is cancelled owes them their price all the same.
    for n in 0..2 {
        let code = app.code(&buyer, ticket(&won, n)).await;
        app.check_in(&event, ticket(&won, n), &code).await.expect(200);
    }
    dispute(&app, &buyer, &won).await;
    dispute(&app, &buyer, &lost).await;
    let path = format!("/admin/events/{event}/cancellation");
    app.post(&app.admin, &path, &Value::Null).await.expect(200);
    app.settled().await;
    app.advance(120);
    app.settled().await;
    for (order, status) in [(&won, "paid"), (&lost, "paid"), (&plain, "refunded")] {
        assert_eq!(app.order(&buyer, id(order)).await["status"], status);
    }
    assert_eq!(decide(&app, &buyer, &won, true).await["status"], "refunded");
    assert_eq!(statuses(&decide(&app, &buyer, &lost, false).await), ["charged_back"; 2]);
    let audit = app.finish().await;
    assert_eq!(audit.books.refunds.iter().map(|refund| refund.amount).sum::<i64>(), 450_000);
    assert_eq!(sum(&audit, Account::Provider), -2 * FEE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_that_no_order_took_on_may_be_disputed() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let stripe = app.running.payments.stripe.clone();
    let mut lost = Vec::new();
    for n in 1..=3 {
        let order = app.hold(&buyer, &event, &row(n, 1)).await;
        lost.push((app.start_payment(&buyer, id(&order)).await, order));
    }
    app.advance(601);
    for n in 1..=3 {
        app.buy(&app.buyer(), &event, &row(n, 1)).await;
    }
    // The bank is there first, and keeps it, or not; or all was given back when it comes.
    app.running.pause("Payments").expect("there is such a queue");
    for (payment, _) in &lost[..2] {
        app.confirm(payment, "pm_sandbox_captures_at_once").await.expect(200);
        assert!(stripe.dispute(&payment.id).is_some());
    }
    app.confirm(&lost[2].0, "pm_sandbox_captures_at_once").await.expect(200);
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    assert_eq!(stripe.dispute(&lost[2].0.id), None);
    assert!(
        stripe.close_dispute(&lost[0].0.id, false).is_some() && stripe.close_dispute(&lost[1].0.id, true).is_some()
    );
    app.settled().await;
    for (nth, refund, dispute) in [(0, "failed", json!("lost")), (1, "done", json!("won")), (2, "done", Value::Null)] {
        let now = app.order(&buyer, id(&lost[nth].1)).await;
        assert_eq!((&now["status"], &now["refunds"][0]["status"]), (&json!("lost"), &json!(refund)), "{now}");
        assert_eq!(now["disputes"][0]["status"], dispute);
    }
    // What it had decided to keep comes back weeks later: to the buyer.
    assert!(stripe.reverse_dispute(&lost[0].0.id).is_some());
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&lost[0].1)).await["refunds"][0]["status"], "done");
    app.sweep().await;
    let audit = app.finish().await;
    assert_eq!(sum(&audit, Account::Unadopted), 0, "nothing of it is ours");
    assert_eq!(sum(&audit, Account::Fees), 2 * FEE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_a_dispute_broke_goes_back_when_it_is_won() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let stripe = app.running.payments.stripe.clone();
    stripe.set_refund_settles_after(std::time::Duration::from_secs(90 * 86_400));
    // One that the provider had taken on; one that was refused before anybody had heard of the dispute.
    let order = app.hold(&buyer, &event, &row(1, 2)).await;
    let pending = app.pay(&buyer, id(&order), "pm_card_pendingRefund").await;
    app.give_back(&buyer, id(&pending), Some(&[ticket(&pending, 0)])).await;
    let refused = app.buy(&buyer, &event, &row(2, 1)).await;
    stripe.set_webhook_url(None);
    assert!(stripe.dispute(&payment_of(&app, &refused).await).is_some());
    let path = format!("/orders/{}/refunds", id(&refused));
    app.post(&buyer, &path, &json!({})).await.expect(201);
    app.settled().await;
    stripe.set_webhook_url(Some(format!("{}/payments/webhook/stripe", app.url)));
    app.settled().await;
    dispute(&app, &buyer, &pending).await;
    for order in [&pending, &refused] {
        assert_eq!(app.order(&buyer, id(order)).await["refunds"][0]["status"], "failed");
        let won = decide(&app, &buyer, order, true).await;
        assert_eq!((&won["refunds"][0]["status"], statuses(&won)[0]), (&json!("done"), "refunded"), "{won:#}");
    }
    assert_eq!(app.order(&buyer, id(&refused)).await["status"], "refunded");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_that_is_taken_back_leaves_the_tickets_void() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let stripe = app.running.payments.stripe.clone();
    let order = app.buy(&buyer, &event, &row(1, 2)).await;
    dispute(&app, &buyer, &order).await;
    decide(&app, &buyer, &order, false).await;
    app.buy(&other, &event, &row(1, 2)).await;
    assert!(stripe.reverse_dispute(&payment_of(&app, &order).await).is_some());
    app.settled().await;
    let late = app.order(&buyer, id(&order)).await;
    assert_eq!((statuses(&late), &late["disputes"][0]["status"]), (vec!["charged_back"; 2], &json!("won")));
    let audit = app.finish().await;
    assert_eq!((sum(&audit, Account::Disputes), sum(&audit, Account::Fees)), (0, FEE));
    assert_eq!(sum(&audit, Account::Provider), 600_000 - FEE);
    assert_eq!(sum(&audit, Account::Organiser), -600_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_half_way_is_finished() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let stripe = app.running.payments.stripe.clone();
    let settle = app.app("settle");
    for (n, won) in [(1, true), (2, false)] {
        let order = app.buy(&buyer, &event, &row(n, 1)).await;
        let payment = payment_of(&app, &order).await;
        // `settle` dies when it has written what the bank decided, and nobody is told again.
        stripe.set_webhook_url(None);
        assert!(stripe.dispute(&payment).is_some() && stripe.close_dispute(&payment, won).is_some());
        stripe.set_webhook_url(Some(format!("{}/payments/webhook/stripe", app.url)));
        let stored = settle.orders.get(buyer.id, id(&order).parse().expect("an id")).await.expect("it is there");
        let seen = settle.gateway.disputes(&payment).await.expect("the sandbox answers");
        let (next, entries) = stored.expect("it is there").dispute_seen(&seen[0], app.running.now()).expect("news");
        settle.orders.save_with_entries(&next, &settle.ledger, &entries).await.expect("it is written");
        assert_eq!(statuses(&app.order(&buyer, id(&order)).await), ["disputed"]);
        app.advance(60);
        app.sweep().await;
        let status = if won { "valid" } else { "charged_back" };
        assert_eq!(statuses(&app.order(&buyer, id(&order)).await), [status]);
    }
    app.finish().await;
}
