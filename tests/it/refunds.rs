//! Tickets given back: a quote first, then exactly that, by the terms that were agreed.

use domain::ledger::{Account, Cause};
use serde_json::{Value, json};
use tests::{TestApp, User, id, mask, seat};

const DAY: i64 = 86_400;

fn row(section: &str, row: u8, seats: u8) -> Value {
    (1..=seats).map(|n| seat(section, row, n)).collect()
}

fn ticket(order: &Value, index: usize) -> &str {
    order["seats"][index]["ticket_id"].as_str().expect("it is paid")
}

async fn quote(app: &TestApp, buyer: &User, order: &Value, body: Value) -> tests::Reply {
    app.post(buyer, &format!("/orders/{}/refund-quotes", id(order)), &body).await
}

async fn refund(app: &TestApp, buyer: &User, order: &Value, body: Value) -> tests::Reply {
    app.post(buyer, &format!("/orders/{}/refunds", id(order)), &body).await
}

/// Sells two seats of 33.33 on these terms, so many seconds before the start; what a quote and then a refund say.
async fn check(app: &TestApp, event: &str, row: u8, expected: Result<(i64, &str), &str>) {
    let buyer = app.buyer();
    let order = app.buy(&buyer, event, &json!([seat("Side", row, 1 + row), seat("Side", row, 2 + row)])).await;
    check_order(app, &buyer, &order, expected).await;
}

async fn check_order(app: &TestApp, buyer: &User, order: &Value, expected: Result<(i64, &str), &str>) {
    let quoted = quote(app, buyer, order, json!({})).await;
    let (amount, rule) = match expected {
        Err(code) => {
            quoted.problem(409, code);
            refund(app, buyer, order, json!({})).await.problem(409, code);
            return;
        }
        Ok(expected) => expected,
    };
    let quoted = quoted.expect(200);
    assert_eq!((quoted["total"]["amount"].as_i64(), quoted["rule"].as_str()), (Some(amount), Some(rule)), "{quoted}");
    let each: i64 =
        quoted["tickets"].as_array().expect("a list").iter().filter_map(|t| t["refund"]["amount"].as_i64()).sum();
    assert_eq!(each, amount, "the parts are the whole");
    let asked = refund(app, buyer, order, json!({})).await.expect(201);
    assert_eq!(asked["amount"], quoted["total"], "the quote is the result");
    for member in ["rule", "reason", "source"] {
        assert_eq!(asked[member], quoted[member]);
    }
    app.settled().await;
    let now = app.order(buyer, id(order)).await;
    assert_eq!((&now["status"], &now["refunds"][0]["status"]), (&json!("refunded"), &json!("done")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statute_counts_calendar_days_of_the_venue() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    // The event is on 1 June in Moscow, where a day begins at 21:00 UTC. 66.66 and its halves, rounded up for the buyer.
    let sold: Vec<_> = {
        let mut sold = Vec::new();
        for n in 0..8 {
            sold.push(app.buy(&buyer, &event, &json!([seat("Side", 1, 2 * n + 1), seat("Side", 1, 2 * n + 2)])).await);
        }
        sold
    };
    let mut sold = sold.iter();
    for (at, expected) in [
        ("2027-03-01T12:00:00Z", Ok((6666, "ru_52_1_10_days"))),
        ("2027-05-22T20:59:59Z", Ok((6666, "ru_52_1_10_days"))),
        ("2027-05-22T21:00:00Z", Ok((3334, "ru_52_1_5_days"))),
        ("2027-05-27T20:59:59Z", Ok((3334, "ru_52_1_5_days"))),
        ("2027-05-27T21:00:00Z", Ok((2000, "ru_52_1_3_days"))),
        ("2027-05-29T20:59:59Z", Ok((2000, "ru_52_1_3_days"))),
        ("2027-05-29T21:00:00Z", Err("nothing_due")),
        ("2027-06-01T16:00:00Z", Err("event_started")),
    ] {
        let at: jiff::Timestamp = at.parse().expect("an instant");
        app.advance(at.duration_since(app.app("buy").now()).as_secs());
        check_order(&app, &buyer, sold.next().expect("one for each"), expected).await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_buyer_gets_the_better_of_law_and_organiser() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let tier = |days: u16, share: u16| json!({ "notice": { "days": days }, "share": share });
    let own = json!([tier(7, 8000), tier(1, 1001)]);
    let hours = json!([{ "notice": { "hours": 24 }, "share": 5000 }]);
    let terms = [
        (json!({ "tiers": own, "statute": "ru_performing_arts" }), Ok((6666, "ru_52_1_10_days"))),
        (json!({ "tiers": own }), Ok((5334, "organiser_7_days"))),
        (json!({ "tiers": hours }), Ok((3334, "organiser_24_hours"))),
        (json!({}), Err("nothing_due")),
    ];
    let nine_days = [
        Ok((5334, "organiser_7_days")),
        Ok((5334, "organiser_7_days")),
        Ok((3334, "organiser_24_hours")),
        Err("nothing_due"),
    ];
    let six_days = [
        Ok((3334, "ru_52_1_5_days")),
        Ok((668, "organiser_1_day")),
        Ok((3334, "organiser_24_hours")),
        Err("nothing_due"),
    ];
    let mut events = Vec::new();
    for (policy, _) in &terms {
        events.push(app.event(&hall, &json!({ "refund_policy": policy })).await);
    }
    for (event, (_, expected)) in events.iter().zip(terms) {
        check(&app, event, 1, expected).await;
    }
    app.advance(83 * DAY);
    for (event, expected) in events.iter().zip(nine_days) {
        check(&app, event, 2, expected).await;
    }
    app.advance(3 * DAY);
    for (event, expected) in events.iter().zip(six_days) {
        check(&app, event, 3, expected).await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_tickets_then_the_rest() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let order = app.buy(&buyer, &event, &row("Side", 1, 3)).await;
    let first = json!({ "ticket_ids": [ticket(&order, 1)] });
    let before = app.everything().await;
    let mut quoted = quote(&app, &buyer, &order, first.clone()).await.expect(200);
    app.check_unwritten(&before, "a quote").await;
    quoted["source"].take();
    insta::assert_json_snapshot!(mask(&quoted), @r#"
    {
      "ground": "wish",
      "reason": "refused 10 days or more before the day of the event",
      "rule": "ru_52_1_10_days",
      "source": null,
      "tickets": [
        {
          "paid": {
            "amount": 3333,
            "currency": "RUB"
          },
          "refund": {
            "amount": 3333,
            "currency": "RUB"
          },
          "ticket_id": "tkt_[id]-1"
        }
      ],
      "total": {
        "amount": 3333,
        "currency": "RUB"
      }
    }
    "#);
    let path = format!("/orders/{}/refunds", id(&order));
    let asked = app.post_with_key(&buyer, &path, "k", &first).await.expect(201);
    assert_eq!(asked["status"], "requested");
    app.settled().await;
    let done = app.post_with_key(&buyer, &path, "k", &first).await.expect(201);
    assert_eq!((id(&done), &done["status"]), (id(&asked), &json!("done")), "asked again: the same, as it is now");
    app.post_with_key(&buyer, &path, "k", &json!({})).await.problem(409, "idempotency_key_reused");
    assert_eq!(app.get(&buyer, &path).await.expect(200), json!([done]));
    let now = app.order(&buyer, id(&order)).await;
    let states = |order: &Value| {
        let seats = order["seats"].as_array().expect("a list").iter();
        seats.map(|seat| seat["ticket_status"].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(now["status"], "partly_refunded");
    assert_eq!(states(&now), ["valid", "refunded", "valid"]);

    // The seat is on sale again; the others are not.
    let ask = |n: u8| json!({ "event_id": event, "seats": [seat("Side", 1, n)] });
    app.post(&other, "/orders", &ask(1)).await.problem(409, "seats_taken");
    app.buy(&other, &event, &json!([seat("Side", 1, 2)])).await;

    refund(&app, &buyer, &order, first).await.problem(409, "ticket_refunded");
    let rest = app.give_back(&buyer, id(&order), None).await;
    assert_eq!((rest["status"].as_str(), states(&rest)), (Some("refunded"), vec!["refunded".to_owned(); 3]));
    refund(&app, &buyer, &order, json!({})).await.problem(409, "ticket_refunded");
    assert!(app.word(&event, "Side", "1", 1).await.is_some_and(|word| word.starts_with('S')), "the new owner's stays");
    let audit = app.finish().await;
    assert_eq!(audit.books.refunds.iter().map(|refund| refund.amount).collect::<Vec<_>>(), [3333, 6666]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_fee_stays_with_a_wish_and_goes_with_a_change() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let half = json!([{ "notice": { "days": 1 }, "share": 5000 }]);
    let event = app.event(&hall, &json!({ "service_fee": 499, "refund_policy": { "tiers": half } })).await;
    let order = app.buy(&buyer, &event, &json!([seat("Side", 1, 1), seat("Gift", 1, 1), seat("Side", 1, 2)])).await;
    assert_eq!(order["total"]["amount"], 2 * 3_333 + 2 * 499);
    let quoted = quote(&app, &buyer, &order, json!({ "ticket_ids": [ticket(&order, 0)] })).await.expect(200);
    let money = |amount: i64| json!({ "amount": amount, "currency": "RUB" });
    let fee = json!({ "paid": money(499), "refund": money(0) });
    let one =
        json!({ "ticket_id": ticket(&order, 0), "paid": money(3_832), "refund": money(1_667), "service_fee": fee });
    assert_eq!((&quoted["tickets"], &quoted["total"]), (&json!([one]), &money(1_667)));
    assert_eq!(quoted["service_fees"], money(0), "the sale was made all the same");
    let now = app.give_back(&buyer, id(&order), Some(&[ticket(&order, 0)])).await;
    let amounts = |refund: &Value| (refund["amount"]["amount"].as_i64(), refund["service_fees"]["amount"].as_i64());
    assert_eq!(amounts(&now["refunds"][0]), (Some(1_667), Some(0)));
    let now = app.give_back(&buyer, id(&order), Some(&[ticket(&order, 1)])).await;
    assert_eq!(amounts(&now["refunds"][1]), (Some(0), None), "that one had none");
    // Whatever the wish: what the buyer bought is not what will be performed.
    app.advance(60);
    let change = json!({ "starts_at": "2027-06-01T17:00:00Z" });
    app.ask("PATCH", &format!("/admin/events/{event}")).by(&app.admin).json(&change).send().await.expect(200);
    let told = quote(&app, &buyer, &order, json!({})).await.expect(200);
    assert_eq!((&told["total"]["amount"], &told["service_fees"]["amount"]), (&json!(3_832), &json!(499)));
    let now = app.give_back(&buyer, id(&order), None).await;
    assert_eq!((&now["status"], amounts(&now["refunds"][2])), (&json!("refunded"), (Some(3_832), Some(499))));
    let audit = app.finish().await;
    let of = |account| audit.entries.iter().map(|entry| entry.of(account)).sum::<i64>();
    let kept = [Account::Provider, Account::Organiser, Account::ServiceFees].map(of);
    assert_eq!(kept, [3_333 - 1_667 + 499, -(3_333 - 1_667), -499]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terms_may_return_the_service_fee() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let terms = json!({ "statute": "ru_performing_arts", "returns_service_fee": true });
    let returned = app.event(&hall, &json!({ "service_fee": 499, "refund_policy": terms })).await;
    let kept = app.event(&hall, &json!({ "service_fee": 499 })).await;
    for (event, fee) in [(&returned, 499), (&kept, 0)] {
        let shown = app.look(&format!("/events/{event}")).await.expect(200);
        let terms = shown["refund_terms"].as_array().expect("a list");
        let said: Vec<_> = terms.iter().map(|term| &term["returns_service_fee"]).collect();
        assert_eq!(said[..said.len() - 1], vec![&json!(fee > 0); said.len() - 1], "what a buyer is told before");
        assert_eq!(said[said.len() - 1], &json!(true), "of an event that is called off or changed");
        let wish = app.buy(&buyer, event, &json!([seat("Side", 1, 1)])).await;
        check_order(&app, &buyer, &wish, Ok((3_333 + fee, "ru_52_1_10_days"))).await;
        let ill = app.buy(&buyer, event, &json!([seat("Side", 1, 2)])).await;
        let path = format!("/admin/users/{}/orders/{}/refunds", buyer.id, id(&ill));
        let decided = app.post(&app.admin, &path, &json!({ "ground": "illness" })).await.expect(201);
        assert_eq!(decided["amount"]["amount"], 3_333 + fee);
        assert_eq!(decided["service_fees"]["amount"], fee);
        app.settled().await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_agreed_stays_agreed() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let event = app.event(&hall, &Value::Null).await;
    let old = app.buy(&buyer, &event, &json!([seat("Stalls", 1, 1)])).await;
    let change = json!({ "refund_policy": { "tiers": [{ "notice": { "days": 0 }, "share": 100 }] }, "prices": { "stalls": 200_000 } });
    let path = format!("/admin/events/{event}");
    app.ask("PATCH", &path).by(&app.admin).json(&change).send().await.expect(200);
    app.outdate_caches();
    let new = app.buy(&buyer, &event, &json!([seat("Stalls", 1, 2)])).await;
    assert_eq!((&old["total"]["amount"], &new["total"]["amount"]), (&json!(150_000), &json!(200_000)));
    check_order(&app, &buyer, &old, Ok((150_000, "ru_52_1_10_days"))).await;
    check_order(&app, &buyer, &new, Ok((2_000, "organiser_0_days"))).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_changed_gives_all_back() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let performer = app.post(&app.admin, "/admin/performers", &json!({ "name": "Others" })).await.expect(201);
    for (change, rule) in [
        (json!({ "starts_at": "2027-06-01T17:00:00Z" }), "event_moved"),
        (json!({ "performer_id": performer["id"] }), "event_replaced"),
    ] {
        let event = app.event(&hall, &json!({ "refund_policy": {} })).await;
        let before = app.buy(&buyer, &event, &json!([seat("Stalls", 1, 1)])).await;
        quote(&app, &buyer, &before, json!({})).await.problem(409, "nothing_due");
        app.advance(60);
        app.ask("PATCH", &format!("/admin/events/{event}")).by(&app.admin).json(&change).send().await.expect(200);
        app.advance(60);
        let after = app.buy(&buyer, &event, &json!([seat("Stalls", 1, 2)])).await;
        quote(&app, &buyer, &after, json!({})).await.problem(409, "nothing_due");
        check_order(&app, &buyer, &before, Ok((150_000, rule))).await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_decide_on_documents() {
    let app = TestApp::start().await;
    let (hall, buyer) = (app.hall().await, app.buyer());
    let event = app.event(&hall, &Value::Null).await;
    let none = app.event(&hall, &json!({ "refund_policy": {} })).await;
    let order = app.buy(&buyer, &event, &row("Stalls", 1, 2)).await;
    let without = app.buy(&buyer, &none, &row("Stalls", 1, 1)).await;
    // The day before, when the tiers give nothing.
    app.advance(91 * DAY);
    quote(&app, &buyer, &order, json!({})).await.problem(409, "nothing_due");
    let path = |order: &Value| format!("/admin/users/{}/orders/{}/refunds", buyer.id, id(order));
    let body = json!({ "ground": "illness", "ticket_ids": [ticket(&order, 0)] });
    for stranger in [&buyer, &app.gate] {
        app.post(stranger, &path(&order), &body).await.problem(403, "forbidden");
    }
    app.post(&app.admin, &path(&order), &json!({ "ground": "wish" })).await.problem(422, "invalid");
    app.post(&app.admin, &path(&order), &json!({ "ground": "event_cancelled" })).await.problem(422, "invalid");
    app.post(&app.admin, &path(&without), &json!({ "ground": "illness" })).await.problem(409, "ground_absent");
    let decided = app.post_with_key(&app.admin, &path(&order), "k", &body).await.expect(201);
    assert_eq!((&decided["amount"]["amount"], &decided["rule"]), (&json!(150_000), &json!("ru_52_1_illness")));
    assert!(decided["source"].as_str().is_some_and(|source| source.contains("1491")), "{decided}");
    app.settled().await;
    let again = app.post_with_key(&app.admin, &path(&order), "k", &body).await.expect(201);
    assert_eq!(id(&again), id(&decided));
    app.post(&app.admin, &path(&order), &json!({ "ground": "bereavement" })).await.expect(201);
    app.settled().await;
    let audit = app.finish().await;
    let refunds: Vec<_> = audit.orders.iter().flat_map(|order| &order.refunds).collect();
    assert!(refunds.len() == 2 && refunds.iter().all(|refund| refund.decided_by == Some(domain::ids::UserId(0xad))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_that_are_not_to_be_had() {
    let app = TestApp::start().await;
    let (event, buyer, stranger) = (app.on_sale().await, app.buyer(), app.buyer());
    let order = app.buy(&buyer, &event, &row("Stalls", 1, 2)).await;
    let other = app.buy(&buyer, &event, &row("Stalls", 2, 1)).await;
    let held = app.hold(&buyer, &event, &row("Stalls", 3, 1)).await;
    let one = |ticket: &str| json!({ "ticket_ids": [ticket] });
    let before = app.everything().await;
    for (who, order, body, status, code) in [
        (&stranger, &order, json!({}), 404, "not_found"),
        (&buyer, &held, json!({}), 409, "not_paid"),
        (&buyer, &order, json!({ "ticket_ids": [] }), 422, "invalid"),
        (&buyer, &order, one(ticket(&other, 0)), 422, "invalid"),
        (&buyer, &order, one(&ticket(&order, 1).replace("-1", "-2")), 422, "invalid"),
        (&buyer, &order, one("tkt_1"), 422, "invalid"),
        (&buyer, &order, json!({ "ticket_ids": [ticket(&order, 0), ticket(&order, 0)] }), 422, "invalid"),
        (&buyer, &order, json!({ "amount": 1 }), 422, "invalid"),
    ] {
        quote(&app, who, order, body.clone()).await.problem(status, code);
        refund(&app, who, order, body).await.problem(status, code);
    }
    app.check_unwritten(&before, "a refused refund").await;

    // Somebody came with one of the tickets: that one is used, the other can still be given back.
    let code = app.code(&buyer, ticket(&order, 0)).await;
    app.check_in(&event, ticket(&order, 0), &code).await.expect(200);
    refund(&app, &buyer, &order, one(ticket(&order, 0))).await.problem(409, "ticket_used");
    let both = json!({ "ticket_ids": [ticket(&order, 0), ticket(&order, 1)] });
    refund(&app, &buyer, &order, both).await.problem(409, "ticket_used");
    let now = app.give_back(&buyer, id(&order), None).await;
    assert_eq!((&now["status"], &now["refunds"][0]["amount"]["amount"]), (&json!("partly_refunded"), &json!(150_000)));
    refund(&app, &buyer, &order, json!({})).await.problem(409, "ticket_refunded");

    app.advance(92 * DAY + 4 * 3600);
    app.sweep().await;
    refund(&app, &buyer, &other, json!({})).await.problem(409, "event_started");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_one_ticket_back_one_gets_it() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.buy(&buyer, &event, &row("Stalls", 1, 2)).await;
    let asks = (0..10).map(|_| refund(&app, &buyer, &order, json!({ "ticket_ids": [ticket(&order, 0)] })));
    let replies = futures_util::future::join_all(asks).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    for reply in replies.into_iter().filter(|reply| reply.status != 201) {
        reply.problem(409, "ticket_refunded");
    }
    // A gate and a refund at the same moment: one of them.
    let code = app.code(&buyer, ticket(&order, 1)).await;
    let entered = app.check_in(&event, ticket(&order, 1), &code);
    let given_back = refund(&app, &buyer, &order, json!({}));
    let (entered, given_back) = futures_util::future::join(entered, given_back).await;
    let mut statuses = [entered.status, given_back.status];
    statuses.sort();
    assert!(matches!(statuses, [200 | 201, 409]), "{} {}", entered.text(), given_back.text());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_fails_at_the_provider_comes_back_as_work() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &row("Stalls", 1, 2)).await;
    let order = app.pay(&buyer, id(&order), "pm_card_refundFail").await;
    let pending = app.hold(&buyer, &event, &row("Stalls", 2, 1)).await;
    let pending = app.pay(&buyer, id(&pending), "pm_card_pendingRefund").await;
    let one = ticket(&order, 0);
    let taken = app.give_back(&buyer, id(&order), Some(&[one])).await;
    assert_eq!(taken["refunds"][0]["status"], "done", "the provider took it");
    let taken = app.give_back(&buyer, id(&pending), None).await;
    assert_eq!((&taken["status"], &taken["refunds"][0]["status"]), (&json!("refunded"), &json!("done")));

    // Days later the money comes back.
    app.advance(3);
    let fails = async || app.order(&buyer, id(&order)).await["refunds"][0]["status"] == "failed";
    app.eventually("a refund that failed", fails).await;
    let failed = app.order(&buyer, id(&order)).await;
    assert_eq!(failed["status"], "partly_refunded");
    assert_eq!(failed["seats"][0]["ticket_status"], "refunded", "the decision stands");
    assert_eq!(app.order(&buyer, id(&pending)).await["refunds"][0]["status"], "done");
    let reversals = |audit: &tests::Audit| {
        audit.entries.iter().filter(|entry| matches!(entry.cause, Cause::RefundReversed { .. })).count()
    };
    let audit = tests::Audit::read(&app).await;
    audit.check();
    assert_eq!(reversals(&audit), 1, "the journal says so too");

    // A person has the provider asked anew; this card fails again, and again it comes back.
    let refund_id = id(&failed["refunds"][0]).to_owned();
    let retry =
        |order: &Value, refund: &str| format!("/admin/users/{}/orders/{}/refunds/{refund}/retry", buyer.id, id(order));
    let done = app.order(&buyer, id(&pending)).await;
    let path = retry(&pending, id(&done["refunds"][0]));
    app.post(&app.admin, &path, &Value::Null).await.problem(409, "refund_not_failed");
    app.post(&app.admin, &retry(&pending, &refund_id), &Value::Null).await.problem(404, "not_found");
    app.post(&buyer, &retry(&order, &refund_id), &Value::Null).await.problem(403, "forbidden");
    let asked = app.post(&app.admin, &retry(&order, &refund_id), &Value::Null).await.expect(200);
    assert_eq!(asked["status"], "requested");
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["refunds"][0]["status"], "done");
    app.advance(3);
    app.eventually("a refund that failed again", fails).await;
    let audit = app.finish().await;
    assert_eq!((reversals(&audit), audit.books.refunds.len()), (2, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_waits_for_a_provider_that_is_down() {
    let app = TestApp::start().await;
    let stripe = app.running.payments.stripe.clone();
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let order = app.buy(&buyer, &event, &row("Stalls", 1, 2)).await;
    stripe.set_broken(true);
    let asked = app.give_back(&buyer, id(&order), Some(&[ticket(&order, 0)])).await;
    assert_eq!((&asked["status"], &asked["refunds"][0]["status"]), (&json!("refunding"), &json!("requested")));
    assert_eq!(asked["seats"][0]["ticket_status"], "refunding");
    let second = app.give_back(&buyer, id(&order), None).await;
    assert_eq!(second["status"], "refunding");
    // The tickets are void, and their seats for others, whenever the money moves.
    let others = app.hold(&other, &event, &json!([seat("Stalls", 1, 1)])).await;
    stripe.set_broken(false);
    // After so many failures the provider is left alone for a moment.
    let path = format!("/orders/{}/payment", id(&others));
    app.eventually("it is asked again", async || app.post(&other, &path, &Value::Null).await.status == 201).await;
    assert_eq!(app.pay(&other, id(&others), "pm_card_visa").await["status"], "paid");
    // Whichever comes first, the message again or the sweep.
    app.advance(60);
    app.sweep().await;
    let done = app.order(&buyer, id(&order)).await;
    assert_eq!(done["status"], "refunded", "{done}");
    app.advance(180);
    app.settled().await;
    assert!(
        app.word(&event, "Stalls", "1", 0).await.is_some_and(|word| word.starts_with('S')),
        "the new owner's stays"
    );
    let audit = app.finish().await;
    assert_eq!(audit.books.refunds.len(), 2, "each once");
}
