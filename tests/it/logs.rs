//! What is logged: nothing secret, whatever is done and refused; the ids by which it is followed; and what is counted.

use domain::ledger::{Account, Cause};
use platform::telemetry;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tests::{Audit, Fault, Reply, Table, TestApp, User, id, options, seat};
use tracing_subscriber::util::SubscriberInitExt;

/// Texts that are nowhere but in what somebody sends.
const PASSWORD: &str = "swordfish-password";
const WRONG_PASSWORD: &str = "swordfish-wrong";
const EMAIL: &str = "swordfish@example.org";
const NAME: &str = "Sally Swordfish";
const CANARY: &str = "swordfish";

/// Metrics and dimensions of a line, and characters of a name, at most (CloudWatch's specification of the format).
const METRICS_MAX: usize = 100;
const DIMENSIONS_MAX: usize = 30;
const NAME_CHARS_MAX: usize = 1024;

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic holds this lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// From here on this thread's lines, until the value is dropped, as a function on AWS writes them that is as talkative as it can be set to.
    fn listen(&self) -> impl Sized + use<> {
        let kept = self.clone();
        // Where there is just one subscriber in the process, `tracing` lets whichever thread meets an event first decide
        // whether it is ever heard, and other tests' threads hear nothing.
        let second = tracing_subscriber::fmt().with_writer(std::io::sink).finish().set_default();
        let filter = telemetry::filter(Some("TRACE"));
        [second, telemetry::json(move || kept.clone(), &filter).set_default()]
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic holds this lock").clone()).expect("a log is a text")
    }

    fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")));
        lines.collect()
    }

    /// The line that has all of these members.
    #[track_caller]
    fn line(&self, members: Value) -> Value {
        let wanted = members.as_object().expect("it is an object");
        let lines = self.lines();
        let mut found = lines.iter().filter(|line| wanted.iter().all(|(name, value)| line[name] == *value));
        found.next().unwrap_or_else(|| panic!("no line has {members}:\n{}", self.text())).clone()
    }
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().expect("a text").to_owned()
}

/// Registers, signs in and refreshes, each of it wrongly too; the buyer, and the tokens that were used on the way.
async fn join(app: &TestApp) -> (User, Vec<String>) {
    let account = json!({ "email": EMAIL, "password": PASSWORD, "name": NAME });
    let register = || app.ask("POST", "/users").key("swordfish-key");
    register().json(&account).send().await.expect(201);
    let broken = format!("{{\"password\":\"{PASSWORD}\" \"");
    register().header("content-type", "application/json").body(broken).send().await.problem(400, "malformed_json");
    register().json(&json!({ "email": EMAIL, "password": PASSWORD, "name": 1 })).send().await.problem(422, "invalid");
    let unknown = json!({ "email": EMAIL, "password": PASSWORD, "name": NAME, CANARY: CANARY });
    register().json(&unknown).send().await.problem(422, "invalid");
    let credentials = |password: &str| json!({ "email": EMAIL, "password": password });
    app.ask("POST", "/sessions").json(&credentials(WRONG_PASSWORD)).send().await.problem(401, "credentials_wrong");
    let tokens = app.ask("POST", "/sessions").json(&credentials(PASSWORD)).send().await.expect(201);
    let refresh = json!({ "refresh_token": tokens["refresh_token"] });
    let refresh = async || app.ask("POST", "/sessions/refresh").json(&refresh).send().await;
    let fresh = refresh().await.expect(201);
    refresh().await.problem(401, "refresh_token_invalid");
    let buyer = User::with_token(text(&tokens, "access_token"));
    app.get(&buyer, "/me").await.expect(200);
    let of = |tokens: &Value| [text(tokens, "access_token"), text(tokens, "refresh_token")];
    (buyer, [of(&tokens), of(&fresh)].concat())
}

/// Asks for what is not there, in a query, a path, a header and a forged webhook.
async fn ask_wrongly(app: &TestApp, buyer: &User) {
    app.look("/events?q=swordfish&city=swordfish").await.expect(200);
    app.look("/events?swordfish=1").await;
    app.get(buyer, "/orders/swordfish").await.problem(404, "not_found");
    app.get(buyer, "/orders?cursor=swordfish").await.problem(422, "invalid");
    app.look("/swordfish/swordfish").await.problem(404, "not_found");
    app.get(&User::with_token("eyJhbGciOiJub25lIn0.swordfish."), "/orders").await.problem(401, "token_invalid");
    let webhook = |body: &str| app.ask("POST", "/payments/webhook/stripe").body(body);
    let body = r#"{"type":"payment_intent.succeeded","data":{"object":{"id":"swordfish"}}}"#;
    webhook(body).header("stripe-signature", "t=1,v1=swordfish").send().await.problem(400, "signature_invalid");
    for body in [CANARY, "{\"type\":\"order.due\",\"buyer\":\"swordfish\",\"order\":\"swordfish\"}"] {
        let event = json!({ "Records": [{ "messageId": "m", "body": body }] });
        let reply = functions::invoke(app.app("settle"), "settle", event).await.expect("it says what failed");
        assert_eq!(reply, json!({ "batchItemFailures": [{ "itemIdentifier": "m" }] }));
    }
}

/// Does what fails behind the doors: tables that are cut off or busy, a provider that is down.
async fn fail(app: &TestApp, table: &Table, buyer: &User, order: &str) {
    for fault in [Fault::Refused, Fault::Throttled] {
        table.set(move |_, _| fault);
        let account = json!({ "email": EMAIL, "password": PASSWORD, "name": NAME });
        app.ask("POST", "/users").key("other").json(&account).send().await.problem(503, "busy");
        app.get(buyer, &format!("/orders/{order}")).await.problem(503, "busy");
        table.repair();
    }
    app.running.payments.stripe.set_broken(true);
    app.post(buyer, &format!("/orders/{order}/payment"), &Value::Null)
        .await
        .problem(503, "payment_provider_unavailable");
    app.running.payments.stripe.set_broken(false);
}

/// Declined, paid, entered, given back, lost.
async fn live(app: &TestApp, buyer: &User, event: &str, order: &str) -> Vec<String> {
    let payment = app.start_payment(buyer, order).await;
    app.confirm(&payment, "pm_card_chargeDeclined").await;
    app.settled().await;
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    app.settled().await;
    let paid = app.order(buyer, order).await;
    assert_eq!(paid["status"], "paid");
    let ticket = text(&paid["seats"][0], "ticket_id");
    let code = app.code(buyer, &ticket).await;
    app.check_in(event, &ticket, &code).await.expect(200);
    app.check_in(event, &ticket, CANARY).await.problem(422, "invalid");
    let lost = app.hold(buyer, event, &json!([seat("Stalls", 1, 2)])).await;
    app.pay(buyer, id(&lost), "pm_sandbox_capture_fails").await;
    let back = app.buy(buyer, event, &json!([seat("Stalls", 1, 2)])).await;
    app.give_back(buyer, id(&back), None).await;
    vec![payment.client_secret, code]
}

/// On one thread, so that one subscriber hears all of it and nothing of other tests.
#[tokio::test(flavor = "current_thread")]
async fn nothing_secret_is_logged() {
    let (log, table) = (Log::default(), Table::default());
    let listening = log.listen();
    let app = TestApp::start_with(boxoffice::Options { wires: table.wires(), email: true, ..options() }).await;
    let event = app.on_sale().await;
    let (buyer, mut used) = join(&app).await;
    ask_wrongly(&app, &buyer).await;
    let order = app.hold(&buyer, &event, &json!([seat("Stalls", 1, 1)])).await;
    fail(&app, &table, &buyer, id(&order)).await;
    used.extend(live(&app, &buyer, &event, id(&order)).await);
    let mail = app.running.mail.as_ref().expect("there is e-mail");
    assert!(!mail.mailbox.to(EMAIL).is_empty(), "the tickets were sent to their address");
    let secrets = app.running.secrets.clone();
    for key in [&secrets.token_signing_key, &secrets.ticket_signing_key] {
        let key: Value = serde_json::from_str(key).expect("it is JSON");
        used.push(text(&key, "seed"));
    }
    used.extend([secrets.stripe_secret, secrets.stripe_webhook_secret, secrets.order_id_key]);
    used.extend([PASSWORD, WRONG_PASSWORD, EMAIL, NAME, CANARY].map(str::to_owned));
    app.finish().await;
    drop(listening);

    let said = log.text();
    for must in [id(&order), "order paid", "checked in", "session ended", "request failed", "not handled", "order lost"]
    {
        assert!(said.contains(must), "the log says: {must}\n{said}");
    }
    for secret in &used {
        let line = said.lines().find(|line| line.to_lowercase().contains(&secret.to_lowercase()));
        assert!(line.is_none(), "{secret} is in the log: {line:?}");
    }
    // How secrets begin. An id may have the same letters, but not the same capitals.
    for form in ["eyJ", "whsec_", "sk_test_", "$argon2", "_secret_", "Bearer"] {
        let line = said.lines().find(|line| line.contains(form));
        assert!(line.is_none(), "{form} is in the log: {line:?}");
    }
}

/// The id that a reply tells its client, by which support is asked.
fn request_id(reply: &Reply) -> String {
    reply.header("x-request-id").to_owned()
}

#[tokio::test(flavor = "current_thread")]
async fn one_id_finds_all_that_a_request_set_off() {
    let log = Log::default();
    let listening = log.listen();
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let ask = json!({ "event_id": event, "seats": [seat("Stalls", 1, 1), seat("Stalls", 1, 2)] });
    let reply = app.post(&buyer, "/orders", &ask).await;
    let (placed, order) = (request_id(&reply), text(&reply.expect(201), "id"));
    let route = |route: &str, status: u16| json!({ "method": "POST", "route": route, "status": status });
    let line = log.line(route("/orders", 201));
    let ids = [&line["request"], &line["trace"], &line["order"], &line["function"]];
    assert_eq!(ids, [&json!(placed), &json!(placed), &json!(order), &json!("buy")]);
    assert!(line["duration_ms"].is_u64() && line["level"] == "INFO", "{line}");

    let paid = app.pay(&buyer, &order, "pm_card_visa").await;
    assert_eq!(log.line(route("/orders/{id}/payment", 201))["order"], order);
    // The order's id is in all of it, and the id of the provider's webhook in what that set off.
    let news = log.line(json!({ "function": "payment-webhook", "kind": "payment.changed" }));
    let told = |kind: &str| json!({ "function": "settle", "kind": kind, "message": "message handled", "order": order });
    let settled = log.line(json!({ "function": "settle", "message": "order paid", "order": order }));
    assert_eq!((&settled["trace"], &settled["payment"]), (&news["request"], &news["payment"]));
    let published = log.line(json!({ "function": "relay", "kind": "order.paid", "order": order }));
    assert_eq!(published["trace"], news["request"]);
    assert!(text(&published, "effect").starts_with(&order), "{published}");
    log.line(told("payment.changed"));

    let ticket = text(&paid["seats"][0], "ticket_id");
    let reply = app.post(&buyer, &format!("/orders/{order}/refunds"), &json!({ "ticket_ids": [ticket] })).await;
    let clicked = request_id(&reply);
    reply.expect(201);
    app.settled().await;
    let published = log.line(json!({ "function": "relay", "kind": "refund.requested", "trace": clicked }));
    let handled = log.line(told("refund.requested"));
    assert_eq!([&handled["trace"], &handled["effect"]], [&json!(clicked), &published["effect"]]);
    assert!(text(&handled, "message_id").len() > 30 && handled["tries"] == 1, "{handled}");
    log.line(json!({ "function": "settle", "message": "refund done", "trace": clicked, "order": order }));
    log.line(json!({ "function": "relay", "kind": "order.refunded", "trace": clicked, "order": order }));

    let reply = app.post(&app.admin, &format!("/admin/events/{event}/cancellation"), &Value::Null).await;
    let cancelled = request_id(&reply);
    reply.expect(200);
    app.settled().await;
    log.line(json!({ "function": "relay", "kind": "event.cancelled", "trace": cancelled }));
    log.line(json!({ "function": "settle", "kind": "event.refund_orders", "trace": cancelled, "order": order }));
    log.line(json!({ "function": "settle", "message": "refund done", "trace": cancelled, "order": order }));
    app.advance(901);
    app.finish().await;
    drop(listening);
}

/// Holds a line to what CloudWatch takes for metrics; adds each metric to the sums, by the dimensions it has.
fn check_embedded(line: &Value, sums: &mut BTreeMap<String, i64>) {
    let is_name = |value: &Value| value.as_str().is_some_and(|name| (1..=NAME_CHARS_MAX).contains(&name.len()));
    assert!(line["_aws"]["Timestamp"].as_i64().is_some_and(|at| at > 1_000_000_000_000), "milliseconds: {line}");
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().expect("a list");
    assert!(!directives.is_empty(), "{line}");
    for directive in directives {
        assert_eq!(directive["Namespace"], "Boxoffice");
        let metrics = directive["Metrics"].as_array().expect("a list");
        assert!((1..=METRICS_MAX).contains(&metrics.len()), "{line}");
        for set in directive["Dimensions"].as_array().expect("a list") {
            let set = set.as_array().expect("a list");
            assert!(set.len() <= DIMENSIONS_MAX && set.iter().all(is_name), "{line}");
            let values = set.iter().map(|name| line[name.as_str().expect("a name")].as_str().expect("a text"));
            let values: Vec<_> = values.collect();
            for metric in metrics {
                assert!(is_name(&metric["Name"]), "{line}");
                assert!(["Count", "None"].contains(&metric["Unit"].as_str().expect("a unit")), "{line}");
                let name = metric["Name"].as_str().expect("a name");
                let value = line[name].as_i64().expect("a number");
                *sums.entry([&[name], values.as_slice()].concat().join(" ")).or_default() += value;
            }
        }
    }
}

/// What the journal has for these causes at the provider.
fn journal(audit: &Audit, which: impl Fn(&Cause) -> bool) -> i64 {
    let entries = audit.entries.iter().filter(|entry| which(&entry.cause));
    entries.map(|entry| entry.of(Account::Provider)).sum()
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_counted_is_what_happened() {
    let log = Log::default();
    let listening = log.listen();
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let two = json!([seat("Stalls", 1, 1), seat("Stalls", 1, 2)]);
    let paid = app.buy(&buyer, &event, &two).await;
    app.post(&other, "/orders", &json!({ "event_id": event, "seats": two })).await.problem(409, "seats_taken");
    app.post(&other, "/orders", &json!({ "event_id": event, "seats": [] })).await.problem(422, "invalid");
    app.give_back(&buyer, id(&paid), Some(&[&text(&paid["seats"][0], "ticket_id")])).await;
    app.buy(&other, &event, &json!([seat("Gift", 1, 1)])).await;
    let lost = app.hold(&other, &event, &json!([seat("Stalls", 2, 1)])).await;
    app.pay(&other, id(&lost), "pm_sandbox_capture_fails").await;
    let declined = app.hold(&other, &event, &json!([seat("Stalls", 3, 1)])).await;
    app.pay(&other, id(&declined), "pm_card_chargeDeclined").await;
    let dropped = app.hold(&other, &event, &json!([seat("Stalls", 4, 1)])).await;
    app.ask("DELETE", &format!("/orders/{}", id(&dropped))).by(&other).send().await.expect(204);
    let disputed = app.buy(&other, &event, &json!([seat("Stalls", 5, 1)])).await;
    let payment = Audit::read(&app).await.orders.into_iter().find(|order| order.id.to_string() == id(&disputed));
    let payment = payment.and_then(|order| order.payment).expect("it has a payment");
    app.running.payments.stripe.dispute(&payment).expect("there is something to dispute");
    app.settled().await;
    app.advance(601);
    app.sweep().await;
    let audit = app.finish().await;
    drop(listening);

    let mut sums = BTreeMap::new();
    let lines = log.lines();
    lines.iter().filter(|line| !line["_aws"].is_null()).for_each(|line| check_embedded(line, &mut sums));
    let captured = journal(&audit, |cause| *cause == Cause::Sale);
    let refunded = -journal(&audit, |cause| matches!(cause, Cause::Refund { .. }));
    assert!(captured == 450_000 && refunded > 0, "{captured} {refunded}");
    let expected: BTreeMap<String, i64> = [
        ("Captures", 2),
        ("Captures RUB", 2),
        ("CapturedMinorUnits RUB", captured),
        ("Disputes", 1),
        ("Disputes open", 1),
        ("Holds", 6),
        ("HoldsRefused", 2),
        ("HoldsRefused invalid", 1),
        ("HoldsRefused seats_taken", 1),
        ("OrdersCancelled", 1),
        ("OrdersExpired", 1),
        ("OrdersLost", 1),
        ("PaymentsDeclined", 1),
        ("RefundedMinorUnits RUB", refunded),
        ("Refunds", 1),
        ("Refunds RUB", 1),
        ("SeatsHeld", 7),
        ("TicketsRefunded", 1),
        ("TicketsSold", 4),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    assert_eq!(sums, expected);
}
