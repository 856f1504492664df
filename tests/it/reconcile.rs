//! `reconcile`: the provider's books against the journal, a day at a time.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::access::Role;
use domain::ids::UserId;
use serde_json::{Value, json};
use tests::{NOW, TestApp, User, id, seat};

const DAY: i64 = 86_400;
const FEE: i64 = 1_500;

fn row(row: u8, seats: u8) -> Value {
    (1..=seats).map(|n| seat("Stalls", row, n)).collect()
}

/// A box office, an event on sale, somebody who looks after the books.
struct Books {
    app: TestApp,
    event: String,
    buyer: User,
    finance: User,
}

impl Books {
    async fn open() -> Self {
        let app = TestApp::start().await;
        let (event, buyer) = (app.on_sale().await, app.buyer());
        Self { app, event, buyer, finance: User::new(UserId(0xf1), vec![Role::Finance]) }
    }

    /// Moves the clock to this instant.
    fn at(&self, instant: &str) {
        let at: jiff::Timestamp = instant.parse().expect("an instant");
        self.app.advance(at.duration_since(self.app.running.now()).as_secs());
    }

    /// Runs the comparison, waits for what comes of it, and gives the report of the last day.
    async fn run(&self) -> Value {
        self.app.running.run_schedule("reconcile").await.expect("it runs");
        self.app.settled().await;
        self.reports("?limit=1").await["items"][0].clone()
    }

    async fn reports(&self, query: &str) -> Value {
        self.app.get(&self.finance, &format!("/admin/reconciliations{query}")).await.expect(200)
    }

    /// Nothing the provider does is told of.
    fn deafen(&self, deaf: bool) {
        let url = format!("{}/payments/webhook/stripe", self.app.url);
        self.app.running.payments.stripe.set_webhook_url((!deaf).then_some(url));
    }

    /// A payment that was captured at once, of which we have not heard.
    async fn unheard(&self, seats: &Value) -> (Value, String) {
        let order = self.app.hold(&self.buyer, &self.event, seats).await;
        let payment = self.app.start_payment(&self.buyer, id(&order)).await;
        self.app.confirm(&payment, "pm_sandbox_captures_at_once").await.expect(200);
        self.app.settled().await;
        (order, payment.id)
    }

    /// Every journal entry of an order, as it is stored.
    async fn entries(&self, order: &str) -> Vec<tests::books::Item> {
        let items = tests::books::scan(&self.app.dynamodb(), "Ledger").await.into_iter();
        items.filter(|item| item["order"].as_s().is_ok_and(|text| text == order)).collect()
    }

    async fn put_entry(&self, item: tests::books::Item) {
        let put = self.app.dynamodb().put_item().table_name("Ledger").set_item(Some(item));
        put.send().await.expect("the table is there");
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// What the findings of a report are: the difference, the flow, and whether it heals.
fn findings(report: &Value) -> Vec<(&str, &str, bool)> {
    let all = report["findings"].as_array().expect("a list").iter();
    let each = all.map(|finding| {
        let word = |name: &str| finding[name].as_str().expect("a text");
        (word("difference"), word("flow"), finding["healing"] == true)
    });
    each.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_that_agree_are_reported_so() {
    let books = Books::open().await;
    let (app, buyer) = (&books.app, &books.buyer);
    let order = app.buy(buyer, &books.event, &row(1, 2)).await;
    app.buy(buyer, &books.event, &json!([seat("Gift", 1, 1)])).await;
    let ticket = order["seats"][0]["ticket_id"].as_str().expect("it is paid");
    app.give_back(buyer, id(&order), Some(&[ticket])).await;
    books.at("2027-03-02T03:15:00Z");
    let mut report = books.run().await;
    let sums = json!({ "RUB": { "provider": 150_000, "journal": 150_000, "fees": 8_730 } });
    assert_eq!(report["sums"].take(), sums, "two of 1500, one given back, 2.9 % and 0.30 taken");
    assert_eq!(
        report,
        json!({
            "day": "2027-03-01", "ran_at": "2027-03-02T03:15:00Z", "matched": 4, "looked_at": 0, "unlooked": 0, "awaiting": 0, "others": 0,
            "findings_total": 0, "healing": 0, "sums": null, "findings": [],
        })
    );
    books.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_told_is_found_and_healed() {
    let books = Books::open().await;
    let (app, buyer) = (&books.app, &books.buyer);
    let stripe = app.running.payments.stripe.clone();
    let disputed = app.buy(buyer, &books.event, &row(1, 2)).await;
    let order = app.hold(buyer, &books.event, &row(2, 2)).await;
    let failing = app.pay(buyer, id(&order), "pm_card_refundFail").await;
    app.give_back(buyer, id(&failing), None).await;
    let payment = stripe.books().intents[0].id.clone();
    books.deafen(true);
    let (unheard, _) = books.unheard(&row(3, 1)).await;
    assert!(stripe.dispute(&payment).is_some());
    app.advance(5);
    app.eventually("a refund that failed", async || {
        stripe.books().refunds.iter().any(|refund| refund.status == "failed")
    })
    .await;
    books.deafen(false);
    assert_eq!(app.order(buyer, id(&unheard)).await["status"], "paying");

    books.at("2027-03-02T03:15:00Z");
    let report = books.run().await;
    let expected = [
        ("missing_here", "capture", true),
        ("missing_here", "refund_reversed", true),
        ("missing_here", "dispute_withdrawn", true),
    ];
    assert_eq!(findings(&report), expected, "{report:#}");
    assert_eq!((&report["findings_total"], &report["healing"]), (&json!(3), &json!(3)));
    let (there, here) = (report["findings"][2]["provider"].clone(), report["findings"][2]["journal"].clone());
    assert_eq!((there, here), (json!(-300_000 - FEE), json!(0)));

    // Healed by the one reducer: everything is as if it had been told in time.
    assert_eq!(app.order(buyer, id(&unheard)).await["status"], "paid");
    assert_eq!(app.order(buyer, id(&failing)).await["refunds"][0]["status"], "failed");
    assert_eq!(app.order(buyer, id(&disputed)).await["disputes"][0]["status"], "open");
    tests::Audit::read(app).await.check();
    let again = books.run().await;
    assert_eq!((&again["findings_total"], &again["looked_at"]), (&json!(0), &json!(3)), "{again:#}");

    // The next day has the entries that healed, whose movements were the day before.
    assert!(stripe.close_dispute(&payment, false).is_some());
    app.settled().await;
    books.at("2027-03-03T03:15:00Z");
    let next = books.run().await;
    assert_eq!(
        (&next["day"], &next["findings_total"], &next["looked_at"]),
        (&json!("2027-03-02"), &json!(0), &json!(3))
    );
    books.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_won_dispute_and_a_refund_that_were_never_told_heal_too() {
    let books = Books::open().await;
    let (app, buyer) = (&books.app, &books.buyer);
    let stripe = app.running.payments.stripe.clone();
    let order = app.buy(buyer, &books.event, &row(1, 2)).await;
    let waiting = app.buy(buyer, &books.event, &row(2, 1)).await;
    let payment = stripe.books().intents[0].id.clone();
    assert!(stripe.dispute(&payment).is_some());
    app.settled().await;
    books.deafen(true);
    assert!(stripe.close_dispute(&payment, true).is_some());
    // The provider made a refund, and its answer was lost with everybody who might ask again.
    app.running.pause("Payments").expect("there is such a queue");
    app.post(buyer, &format!("/orders/{}/refunds", id(&waiting)), &json!({})).await.expect(201);
    let stored = app.order(buyer, id(&waiting)).await;
    let form = [
        ("payment_intent", stripe.books().intents[1].id.clone()),
        ("amount", "150000".to_owned()),
        ("metadata[refund_id]", id(&stored["refunds"][0]).to_owned()),
    ];
    let url = format!("{}/v1/refunds", app.running.payments.url);
    let made = app.http().post(url).bearer_auth(&app.running.secrets.stripe_secret).form(&form).send().await;
    assert_eq!(made.expect("the sandbox answers").status(), 200);
    books.deafen(false);
    books.at("2027-03-02T03:15:00Z");
    app.running.run_schedule("reconcile").await.expect("it runs");
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    let report = books.reports("?limit=1").await["items"][0].clone();
    let expected = [("missing_here", "refund", true), ("missing_here", "dispute_reinstated", true)];
    assert_eq!(findings(&report), expected, "{report:#}");
    assert_eq!(app.order(buyer, id(&order)).await["seats"][0]["ticket_status"], "valid");
    assert_eq!(app.order(buyer, id(&waiting)).await["status"], "refunded");
    // The next night looks at that day again, and finds nothing.
    books.at("2027-03-03T03:15:00Z");
    books.run().await;
    let reports = books.reports("").await;
    let reports = reports["items"].as_array().expect("a list");
    let totals: Vec<_> =
        reports.iter().map(|report| (report["day"].as_str(), report["findings_total"].as_u64())).collect();
    let (first, second) = (Some("2027-03-01"), Some("2027-03-02"));
    assert_eq!(totals, [(second, Some(0)), (first, Some(0)), (first, Some(2))]);
    books.at("2027-03-04T03:15:00Z");
    books.run().await;
    assert_eq!(books.reports("").await["items"].as_array().map(Vec::len), Some(4), "what agrees is done");
    let audit = books.app.finish().await;
    assert_eq!(audit.books.refunds.len(), 1);
}

/// That the bank keeps the money moves none, so no movement of any day says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_dispute_that_was_never_told_heals_whenever_it_was() {
    let books = Books::open().await;
    let (app, buyer) = (&books.app, &books.buyer);
    let stripe = app.running.payments.stripe.clone();
    let order = app.buy(buyer, &books.event, &row(1, 2)).await;
    let payment = stripe.books().intents[0].id.clone();
    assert!(stripe.dispute(&payment).is_some());
    app.settled().await;
    books.at("2027-03-20T03:15:00Z");
    let report = books.run().await;
    assert_eq!((&report["findings_total"], &report["looked_at"]), (&json!(0), &json!(1)), "the bank has not decided");
    books.deafen(true);
    assert!(stripe.close_dispute(&payment, false).is_some());
    books.deafen(false);
    assert_eq!(app.order(buyer, id(&order)).await["seats"][0]["ticket_status"], "disputed");

    books.at("2027-04-20T03:15:00Z");
    let report = books.run().await;
    assert_eq!(findings(&report), [("missing_here", "dispute_lost", true)], "{report:#}");
    assert_eq!(report["findings"][0]["provider"], report["findings"][0]["journal"]);
    assert_eq!(app.order(buyer, id(&order)).await["seats"][0]["ticket_status"], "charged_back");
    app.buy(&app.buyer(), &books.event, &row(1, 2)).await;
    let again = books.run().await;
    assert_eq!((&again["findings_total"], &again["looked_at"]), (&json!(0), &json!(0)), "{again:#}");
    books.app.finish().await;
}

/// A refund that the provider takes on is booked, and no money moves when it fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_fails_days_later_and_untold_heals() {
    let books = Books::open().await;
    let (app, buyer) = (&books.app, &books.buyer);
    let stripe = app.running.payments.stripe.clone();
    let days = |days: u64| std::time::Duration::from_secs(days * 86_400);
    let mut orders = Vec::new();
    for (n, card, settles) in
        [(1, "pm_card_pendingRefund", 30), (2, "pm_card_pendingRefund", 4), (3, "pm_card_refundFail", 18)]
    {
        stripe.set_refund_settles_after(days(settles));
        let order = app.hold(buyer, &books.event, &row(n, 2)).await;
        let order = app.pay(buyer, id(&order), card).await;
        let first = order["seats"][0]["ticket_id"].as_str().expect("it is paid").to_owned();
        app.give_back(buyer, id(&order), Some(&[&first])).await;
        orders.push(order);
    }
    books.at("2027-03-02T03:15:00Z");
    let report = books.run().await;
    assert_eq!((&report["findings_total"], &report["awaiting"]), (&json!(0), &json!(2)), "{report:#}");
    books.deafen(true);
    // After its day is closed, the bank takes the money of the first; the others come to their end by themselves.
    books.at("2027-03-20T03:15:00Z");
    app.eventually("a refund that failed", async || {
        stripe.books().refunds.iter().any(|refund| refund.status == "failed")
    })
    .await;
    app.running.run_schedule("reconcile").await.expect("it runs");
    let report = books.reports("?limit=1").await["items"][0].clone();
    assert_eq!((&report["findings_total"], &report["awaiting"]), (&json!(0), &json!(1)), "{report:#}");
    let payment =
        stripe.books().refunds.iter().find(|refund| refund.status == "pending").expect("one").payment_intent.clone();
    assert!(stripe.dispute(&payment).is_some());
    books.deafen(false);
    assert_eq!(app.order(buyer, id(&orders[0])).await["refunds"][0]["status"], "done");

    // The money of one came back, the dispute took money, and the refund that gave way to it moved none.
    books.at("2027-03-21T03:15:00Z");
    let report = books.run().await;
    let expected = [
        ("missing_here", "refund_reversed", true),
        ("missing_here", "refund_reversed", true),
        ("missing_here", "dispute_withdrawn", true),
    ];
    assert_eq!(findings(&report), expected, "{report:#}");
    assert_eq!(report["awaiting"], json!(1), "until the two sides agree");
    for (nth, status) in [(0, "failed"), (1, "done"), (2, "failed")] {
        assert_eq!(app.order(buyer, id(&orders[nth])).await["refunds"][0]["status"], status, "{nth}");
    }
    let again = books.run().await;
    assert_eq!((&again["findings_total"], &again["awaiting"]), (&json!(0), &json!(0)), "{again:#}");
    books.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_heal_is_for_a_person() {
    let books = Books::open().await;
    let (app, buyer) = (&books.app, &books.buyer);
    let sold = app.buy(buyer, &books.event, &row(1, 1)).await;
    let other = app.buy(buyer, &books.event, &row(2, 1)).await;
    // An entry whose order is not there, and a refund of a real order that the provider has never made.
    let kept = books.entries(id(&sold)).await.remove(0);
    let mut invented = kept.clone();
    let nobody = domain::ids::OrderId(0x70).to_string();
    invented.insert("sk".into(), text(&format!("{nobody}#sale")));
    invented.insert("order".into(), text(&nobody));
    books.put_entry(invented).await;
    let mut refund = kept.clone();
    let name = domain::ids::RefundId(7).to_string();
    refund.insert("sk".into(), text(&format!("{}#{name}-0", id(&sold))));
    let cause = [("kind", text("refund")), ("refund", text(&name)), ("retries", AttributeValue::N("0".into()))];
    let cause = cause.into_iter().map(|(name, value)| (name.to_owned(), value));
    refund.insert("cause".into(), AttributeValue::M(cause.collect()));
    books.put_entry(refund).await;
    // A sale that is booked with another amount, and money that came without us.
    let mut wrong = books.entries(id(&other)).await.remove(0);
    let leg = |account: &str, amount: i64| {
        let amount = AttributeValue::N(amount.to_string());
        AttributeValue::M([("account".to_owned(), text(account)), ("amount".to_owned(), amount)].into())
    };
    wrong.insert("legs".into(), AttributeValue::L(vec![leg("provider", 149_000), leg("organiser", -149_000)]));
    books.put_entry(wrong).await;
    let form = [("amount", "700"), ("currency", "rub"), ("confirm", "true"), ("payment_method", "pm_card_visa")];
    let url = format!("{}/v1/payment_intents", app.running.payments.url);
    let form = form.into_iter().chain([("payment_method_types[]", "card")]);
    let form: Vec<_> = form.collect();
    let made = app.http().post(url).bearer_auth(&app.running.secrets.stripe_secret).form(&form).send().await;
    let made = made.expect("the sandbox answers");
    assert_eq!(made.status(), 200);
    app.settled().await;
    books.at("2027-03-02T03:15:00Z");
    let report = books.run().await;
    let mut found = findings(&report);
    found.sort_unstable();
    let expected = [
        ("amount_differs", "capture", false),
        ("missing_here", "capture", false),
        ("missing_there", "capture", false),
        ("missing_there", "refund", false),
    ];
    assert_eq!(found, expected, "{report:#}");
    let differs = report["findings"].as_array().expect("a list").iter();
    let differs: Vec<_> = differs.filter(|finding| finding["difference"] == "amount_differs").collect();
    assert_eq!((&differs[0]["provider"], &differs[0]["journal"]), (&json!(150_000), &json!(149_000)));
    assert_eq!(differs[0]["order_id"], json!(id(&other)));
    // It stays so until a person has seen to it.
    books.at("2027-03-03T03:15:00Z");
    books.run().await;
    let reports = books.reports("").await;
    let again: Vec<_> =
        reports["items"].as_array().expect("a list").iter().map(|r| (&r["day"], &r["findings_total"])).collect();
    let (first, second) = (json!("2027-03-01"), json!("2027-03-02"));
    assert_eq!(again, [(&second, &json!(0)), (&first, &json!(4)), (&first, &json!(4))]);
}

/// More than two pages of the provider's list, and more findings than a report keeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_movements_are_read_and_counted() {
    let books = Books::open().await;
    let app = &books.app;
    app.buy(&books.buyer, &books.event, &row(1, 1)).await;
    books.deafen(true);
    for _ in 0..205 {
        let form = [
            ("amount", "700"),
            ("currency", "eur"),
            ("confirm", "true"),
            ("payment_method", "pm_card_visa"),
            ("payment_method_types[]", "card"),
        ];
        let url = format!("{}/v1/payment_intents", app.running.payments.url);
        let made = app.http().post(url).bearer_auth(&app.running.secrets.stripe_secret).form(&form).send().await;
        assert_eq!(made.expect("the sandbox answers").status(), 200);
    }
    books.at("2027-03-02T03:15:00Z");
    let report = books.run().await;
    assert_eq!(
        (&report["findings_total"], &report["healing"], &report["matched"]),
        (&json!(205), &json!(0), &json!(2))
    );
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(200));
    assert_eq!(report["sums"]["EUR"]["provider"], 205 * 700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_that_went_back_twice_is_noticed() {
    let books = Books::open().await;
    let (app, buyer) = (&books.app, &books.buyer);
    let order = app.buy(buyer, &books.event, &row(1, 2)).await;
    let ticket = order["seats"][0]["ticket_id"].as_str().expect("it is paid");
    let given_back = app.give_back(buyer, id(&order), Some(&[ticket])).await;
    let form = [
        ("payment_intent", app.running.payments.stripe.books().intents[0].id.clone()),
        ("amount", "150000".to_owned()),
        ("metadata[refund_id]", id(&given_back["refunds"][0]).to_owned()),
    ];
    let url = format!("{}/v1/refunds", app.running.payments.url);
    let made = app.http().post(url).bearer_auth(&app.running.secrets.stripe_secret).form(&form).send().await;
    assert_eq!(made.expect("the sandbox answers").status(), 200);
    app.settled().await;
    books.at("2027-03-02T03:15:00Z");
    let report = books.run().await;
    assert_eq!(findings(&report), [("missing_here", "refund", false)], "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_two_halves_of_a_sale_may_be_on_two_days() {
    let books = Books::open().await;
    let app = &books.app;
    for (captured, booked) in
        [("2027-03-01T23:59:59Z", "2027-03-02T00:00:02Z"), ("2027-03-02T23:50:01Z", "2027-03-03T00:00:00Z")]
    {
        books.at(captured);
        app.running.pause("Payments").expect("there is such a queue");
        let seats = row(if captured < "2027-03-02" { 1 } else { 2 }, 1);
        let (order, _) = books.unheard(&seats).await;
        books.at(booked);
        app.running.resume("Payments").expect("there is such a queue");
        app.settled().await;
        assert_eq!(app.order(&books.buyer, id(&order)).await["status"], "paid");
    }
    for (now, day, matched) in [
        ("2027-03-02T03:15:00Z", "2027-03-01", 1),
        ("2027-03-03T03:15:00Z", "2027-03-02", 2),
        ("2027-03-04T03:15:00Z", "2027-03-03", 1),
    ] {
        books.at(now);
        let report = books.run().await;
        assert_eq!(
            (&report["day"], &report["findings_total"], &report["looked_at"]),
            (&json!(day), &json!(0), &json!(0))
        );
        assert_eq!(report["matched"], matched, "{report:#}");
    }
    books.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_were_missed_are_made_up_for() {
    let books = Books::open().await;
    let app = &books.app;
    books.at("2027-03-02T03:15:00Z");
    books.run().await;
    app.buy(&books.buyer, &books.event, &row(1, 1)).await;
    books.at("2027-03-05T09:00:00Z");
    app.running.payments.stripe.set_down(true);
    assert!(app.running.run_schedule("reconcile").await.is_err(), "a run that cannot end is an error, and no report");
    app.running.payments.stripe.set_down(false);
    books.run().await;
    let days = |page: &Value| {
        let items = page["items"].as_array().expect("a list").iter();
        items.map(|report| report["day"].as_str().expect("a day").to_owned()).collect::<Vec<_>>()
    };
    let all = ["2027-03-04", "2027-03-03", "2027-03-02", "2027-03-01"];
    assert_eq!(days(&books.reports("").await), all);
    // Page by page.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = books.reports(&format!("?limit=3{cursor}")).await;
        seen.extend(days(&page));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={}", next.replace('#', "%23").replace(':', "%3A"));
    }
    assert_eq!(seen, all);
    // Longer ago than a week is not made up for.
    app.advance(30 * DAY);
    books.run().await;
    assert_eq!(days(&books.reports("").await).len(), all.len() + 7);
    books.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_are_for_those_who_look_after_the_books() {
    let books = Books::open().await;
    let app = &books.app;
    assert!(app.running.now() == NOW.parse().expect("an instant"));
    assert_eq!(books.reports("").await, json!({ "items": [] }));
    app.get(&app.admin, "/admin/reconciliations").await.expect(200);
    for stranger in [&books.buyer, &app.gate] {
        app.get(stranger, "/admin/reconciliations").await.problem(403, "forbidden");
    }
    app.look("/admin/reconciliations").await.problem(401, "token_missing");
    for query in ["limit=0", "limit=101", "cursor=x", "cursor=2027-03-01", "cursor=2027-03-01%23x"] {
        let path = format!("/admin/reconciliations?{query}");
        app.get(&books.finance, &path).await.problem(422, "invalid");
    }
    let path = "/admin/events?month=2027-06";
    app.get(&books.finance, path).await.problem(403, "forbidden");
    // Its key reads, and moves nothing.
    let key = &app.running.secrets.stripe_read_only_key;
    let url = format!("{}/v1/refunds", app.running.payments.url);
    let refused = app.http().post(url).bearer_auth(key).form(&[("payment_intent", "pi_1")]).send().await;
    assert_eq!(refused.expect("the sandbox answers").status(), 403);
    books.app.finish().await;
}
