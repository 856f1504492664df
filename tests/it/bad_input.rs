//! What bad input gets: a problem with a stable code, nothing written, nothing secret said.

mod events;
mod webhooks;

use domain::access::Role;
use domain::ids::{SessionId, UserId};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tests::{Ask, TestApp, User, id, seat};

/// Bytes of a request's body, and no more.
const BODY_BYTES_MAX: usize = 256 * 1024;
const PASSWORD: &str = "hunter2 hunter2";

/// A box office as it was before anything bad was sent.
struct Bench {
    app: TestApp,
    before: BTreeSet<String>,
    buyer: User,
    event: String,
}

impl Bench {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let (event, buyer) = (app.on_sale().await, app.buyer());
        let before = app.everything().await;
        Self { app, before, buyer, event }
    }

    /// Sends something bad; `pointer` is that of the first field named, or empty.
    async fn check(&self, name: &str, ask: Ask<'_>, status: u16, code: &str, pointer: &str) -> Value {
        let reply = ask.send().await;
        let text = reply.text();
        assert_eq!((reply.status, reply.body["code"].as_str()), (status, Some(code)), "{name}: {text}");
        let request_id = reply.header("x-request-id").to_owned();
        let problem = reply.problem(status, code);
        if !request_id.is_empty() {
            assert_eq!(problem["request_id"], json!(request_id), "{name}");
        }
        assert_eq!(problem["errors"][0]["pointer"].as_str().unwrap_or(""), pointer, "{name}: {text}");
        for secret in self.secrets() {
            assert!(!text.contains(&secret), "{name} tells a secret: {text}");
        }
        self.app.settled().await;
        self.app.check_unwritten(&self.before, name).await;
        problem
    }

    fn secrets(&self) -> Vec<String> {
        let secrets = &self.app.running.secrets;
        let kept = [&secrets.stripe_secret, &secrets.stripe_webhook_secret, &secrets.token_signing_key];
        kept.into_iter().cloned().chain(["eyJ", "whsec", "sk_test", PASSWORD].map(str::to_owned)).collect()
    }

    fn post(&self, path: &str) -> Ask<'_> {
        self.app.ask("POST", path).by(&self.buyer).key(&tests::http::new_key())
    }

    fn order(&self, body: &Value) -> Ask<'_> {
        self.post("/orders").json(body)
    }

    fn text(&self, body: impl Into<Vec<u8>>) -> Ask<'_> {
        self.post("/orders").header("content-type", "application/json").body(body)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_not_what_was_asked_for() {
    let bench = Bench::start().await;
    let event = &bench.event;
    let good = json!({ "event_id": event, "seats": [seat("Stalls", 1, 1)] }).to_string();
    let long = format!("{good}{}", " ".repeat(BODY_BYTES_MAX + 1 - good.len()));
    let nested = format!("{{\"event_id\":\"{event}\",\"seats\":{}", "[".repeat(100_000));
    for (name, body, status, code, pointer) in [
        ("nothing", String::new(), 400, "malformed_json", ""),
        ("no JSON", "event_id=1".into(), 400, "malformed_json", ""),
        ("half of it", good[..good.len() - 2].into(), 400, "malformed_json", ""),
        ("something behind it", format!("{good}{good}"), 400, "malformed_json", ""),
        ("a number", "1".into(), 422, "invalid", ""),
        ("an empty object", "{}".into(), 422, "invalid", ""),
        ("one byte too many", long.clone(), 413, "too_large", ""),
        ("ten times too many", long.repeat(10), 413, "too_large", ""),
        ("very deep", nested, 422, "invalid", "/seats/0/0"),
        ("deep in nothing", "[".repeat(200_000), 422, "invalid", "/0"),
        ("a field twice", format!("{{\"event_id\":\"{event}\",\"event_id\":\"{event}\"}}"), 422, "invalid", ""),
        ("NaN", format!("{{\"event_id\":\"{event}\",\"best\":{{\"quantity\":NaN}}}}"), 400, "malformed_json", ""),
        ("half a character", "{\"event_id\":\"\\ud800\"}".into(), 400, "malformed_json", ""),
    ] {
        bench.check(name, bench.text(body), status, code, pointer).await;
    }
    bench.check("not UTF-8", bench.text(b"{\"event_id\":\"\xff\"}".to_vec()), 400, "malformed_json", "").await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let ask = bench.post("/orders").header("content-type", kind).body(good.clone());
        bench.check(kind, ask, 415, "unsupported_media_type", "").await;
    }
    let ask = bench.post("/orders").body(good.clone());
    bench.check("no content type", ask, 415, "unsupported_media_type", "").await;
    let ask = bench
        .post("/users")
        .header("content-type", "application/json")
        .body(format!("{{\"password\":\"{PASSWORD}\",}}"));
    bench.check("a password in what cannot be read", ask, 400, "malformed_json", "").await;

    let whole =
        bench.post("/orders").header("content-type", "Application/JSON; charset=utf-8").body(&long[..BODY_BYTES_MAX]);
    whole.send().await.expect(201);
    bench.app.finish().await;
}

/// Sends a body a piece at a time, as over a slow line, and only then reads. What came back, as it came.
fn send_slowly(url: &str, head: &str, pieces: usize) -> String {
    static PIECE: [u8; 64 * 1024] = [b' '; 64 * 1024];
    let address = url.strip_prefix("http://").expect("it is on this machine");
    let mut connection = TcpStream::connect(address).expect("it listens");
    let head = format!("{head}host: {address}\r\ncontent-length: {}\r\n\r\n", pieces * PIECE.len());
    connection.write_all(head.as_bytes()).expect("it takes a head");
    for piece in 0..pieces {
        std::thread::sleep(Duration::from_millis(2));
        connection.write_all(&PIECE).unwrap_or_else(|error| panic!("piece {piece} is not taken: {error}"));
    }
    let mut read = vec![0; PIECE.len()];
    let bytes = connection.read(&mut read).expect("it answers");
    String::from_utf8_lossy(&read[..bytes]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_too_much_hears_why() {
    let bench = Bench::start().await;
    let register = bench.app.app("register");
    let signed = platform::auth::sign_access(&register, bench.buyer.id, SessionId(1), vec![Role::Buyer]);
    let token = signed.await.expect("the key is there");
    let json = "content-type: application/json\r\n";
    let may = format!("authorization: Bearer {token}\r\nidempotency-key: k\r\n");
    for (name, head, answer) in [
        ("too much", format!("POST /orders HTTP/1.1\r\n{json}{may}"), "413 Payload Too Large"),
        ("too much, by nobody", format!("POST /orders HTTP/1.1\r\n{json}"), "401 Unauthorized"),
        ("too much, to nowhere", format!("POST /nowhere HTTP/1.1\r\n{json}{may}"), "404 Not Found"),
    ] {
        let url = bench.app.url.clone();
        let heard = tokio::task::spawn_blocking(move || send_slowly(&url, &head, 40)).await.expect("it is sent whole");
        assert!(heard.starts_with(&format!("HTTP/1.1 {answer}\r\n")), "{name}: {heard}");
        bench.app.check_unwritten(&bench.before, name).await;
    }
    bench.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_for_what_is_not_to_be_had() {
    let bench = Bench::start().await;
    let event = bench.event.clone();
    let s = |row: &str, n: &str| seat("Stalls", row, n);
    let eleven: Value = (1..=10).map(|n| seat("Stalls", 1, n)).chain([seat("Stalls", 2, 1)]).collect();
    for (name, seats, pointer) in [
        ("no seats", json!([]), "/seats"),
        ("more than ten", eleven, "/seats"),
        ("a seat twice", json!([s("1", "1"), s("1", "2"), s("1", "1")]), "/seats/2"),
        ("an unknown section", json!([seat("Roof", 1, 1)]), "/seats/0"),
        ("an unknown row", json!([s("1", "1"), s("99", "1")]), "/seats/1"),
        ("an unknown seat", json!([s("1", "11")]), "/seats/0"),
        ("seat 0", json!([s("1", "0")]), "/seats/0"),
        ("a negative seat", json!([s("1", "-1")]), "/seats/0"),
        ("a second spelling", json!([s("1", "01")]), "/seats/0"),
        ("another spelling", json!([s("1", "+1")]), "/seats/0"),
        ("other digits", json!([s("1", "١")]), "/seats/0"),
        ("a number too large", json!([s("1", "65537")]), "/seats/0"),
        ("a gap", json!([s("10", "5")]), "/seats/0"),
        ("the lock's own name of half a row", json!([s("Long~1", "31")]), "/seats/0"),
        ("a section with a key's separator", json!([seat("Stalls#1", 1, 1)]), "/seats/0"),
        ("what has no price", json!([seat("Closed", 1, 1)]), "/seats/0"),
        ("a standing place by its number", json!([seat("Floor", "-", 1)]), "/seats/0"),
        ("the lock's name of a standing place", json!([seat("Floor", "s0", 1)]), "/seats/0"),
        ("NUL", json!([seat("Stalls\0", 1, 1)]), "/seats/0"),
        ("an emoji", json!([seat("🎭", 1, 1)]), "/seats/0"),
        ("right to left", json!([seat("במה", 1, 1)]), "/seats/0"),
        ("an attribute of the row", json!([s("1", "v")]), "/seats/0"),
        ("a long name", json!([seat(&"x".repeat(100_000), 1, 1)]), "/seats/0"),
        ("a number for a text", json!([{ "section": "Stalls", "row": 1, "seat": "1" }]), "/seats/0/row"),
        ("a field too many", json!([{ "section": "Stalls", "row": "1", "seat": "1", "price": 1 }]), "/seats/0/price"),
        ("a field too few", json!([{ "section": "Stalls", "row": "1" }]), "/seats/0"),
        ("no list", json!({}), "/seats"),
    ] {
        let body = json!({ "event_id": event, "seats": seats });
        bench.check(name, bench.order(&body), 422, "invalid", pointer).await;
    }
    let seats = json!([s("1", "1")]);
    for (name, body, pointer) in [
        ("neither seats nor best", json!({ "event_id": event }), ""),
        ("both", json!({ "event_id": event, "seats": seats, "best": { "quantity": 1 } }), ""),
        ("a price of one's own", json!({ "event_id": event, "seats": seats, "total": { "amount": 1 } }), "/total"),
        ("a buyer of one's own", json!({ "event_id": event, "seats": seats, "buyer": "usr_1" }), "/buyer"),
        ("no event", json!({ "seats": seats }), ""),
        ("an id that is none", json!({ "event_id": "1", "seats": seats }), "/event_id"),
        ("an id of something else", json!({ "event_id": event.replace("evt", "ord"), "seats": seats }), "/event_id"),
        ("an id in capitals", json!({ "event_id": event.to_uppercase(), "seats": seats }), "/event_id"),
    ] {
        bench.check(name, bench.order(&body), 422, "invalid", pointer).await;
    }
    let unknown = json!({ "event_id": "evt_00000000000000000000000000", "seats": seats });
    bench.check("no such event", bench.order(&unknown), 404, "not_found", "").await;
    bench.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_at_the_wrong_time_and_in_the_wrong_hall() {
    let mut bench = Bench::start().await;
    let app = &bench.app;
    let hall = app.hall().await;
    let other = json!({
        "name": "Other", "categories": [{ "id": "stalls", "name": "Stalls", "color": "#000000" }],
        "sections": [{ "id": "Pit", "name": "Pit", "rows": [{ "name": "A", "x": 0, "y": 0, "dx": 1, "seats": 5, "category": "stalls" }] }],
    });
    let pit = app.hall_of(other).await;
    let prices = json!({ "prices": { "stalls": 1000 } });
    let elsewhere = app.event(&pit, &prices).await;
    let later = app.event(&hall, &json!({ "on_sale_from": "2027-05-01T00:00:00Z" })).await;
    let over = app.event(&hall, &json!({ "on_sale_until": "2027-03-01T12:00:05Z" })).await;
    let past = app.event(&hall, &json!({ "starts_at": "2027-03-01T12:00:05Z" })).await;
    let off = app.event(&hall, &Value::Null).await;
    app.post(&app.admin, &format!("/admin/events/{off}/cancellation"), &Value::Null).await.expect(200);
    app.settled().await;
    app.advance(5);
    bench.before = app.everything().await;
    let stalls = json!([seat("Stalls", 1, 1)]);
    for (name, event, seats, status, code, pointer) in [
        ("a seat of another hall", &bench.event, json!([seat("Pit", "A", 1)]), 422, "invalid", "/seats/0"),
        ("a seat of another hall than this", &elsewhere, stalls.clone(), 422, "invalid", "/seats/0"),
        ("before the sale", &later, stalls.clone(), 409, "not_on_sale", ""),
        ("after the sale", &over, stalls.clone(), 409, "not_on_sale", ""),
        ("in the past", &past, stalls.clone(), 409, "event_started", ""),
        ("cancelled", &off, stalls.clone(), 409, "event_cancelled", ""),
    ] {
        let body = json!({ "event_id": event, "seats": seats });
        bench.check(name, bench.order(&body), status, code, pointer).await;
        let best = json!({ "event_id": event, "best": { "quantity": 1 } });
        if status == 409 {
            bench.check(name, bench.order(&best), status, code, "").await;
        }
    }
    bench.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_missing_or_cannot_be() {
    let bench = Bench::start().await;
    let (admin, none) = (bench.app.admin.clone(), "ord_00000000000000000000000000");
    let routes = [
        "/users".to_owned(),
        "/orders".into(),
        format!("/orders/{none}/payment"),
        format!("/orders/{none}/refunds"),
        "/admin/venues".into(),
        "/admin/layouts".into(),
        "/admin/performers".into(),
        "/admin/events".into(),
        format!("/admin/users/{}/orders/{none}/refunds", admin.id),
        format!("/tickets/{}-0/check-in", none.replace("ord", "tkt")),
    ];
    for path in &routes {
        let ask = bench.app.ask("POST", path).by(&admin).json(&json!({}));
        bench.check(path, ask, 400, "idempotency_key_missing", "").await;
    }
    let ask = |key: &str| bench.app.ask("POST", "/orders").by(&bench.buyer).key(key).json(&json!({}));
    for key in ["", &"k".repeat(256), "ключ"] {
        bench.check(key, ask(key), 400, "idempotency_key_invalid", "").await;
    }
    bench.check("two keys", ask("a").key("b"), 400, "idempotency_key_invalid", "").await;
    bench.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_used_again_for_something_else() {
    let mut bench = Bench::start().await;
    let app = &bench.app;
    let hall = app.hall().await;
    let order = app.buy(&bench.buyer, &bench.event, &json!([seat("Stalls", 1, 1), seat("Stalls", 1, 2)])).await;
    let tickets = json!({ "ticket_ids": [order["seats"][0]["ticket_id"]] });
    let refunds = format!("/orders/{}/refunds", id(&order));
    let venue = json!({ "name": "V", "city": "C", "address": "A", "time_zone": "Europe/Paris" });
    let mut scheme = tests::hall_scheme();
    scheme["venue_id"] = json!(hall.venue);
    let (admin, buyer) = (&app.admin, &bench.buyer);
    let with = |body: &Value, name: &str, value: Value| {
        let mut body = body.clone();
        body[name] = value;
        body
    };
    let event = app.event_in(&hall, &Value::Null);
    let cases = [
        (buyer, refunds.as_str(), tickets, json!({})),
        (admin, "/admin/venues", venue.clone(), with(&venue, "city", json!("D"))),
        (admin, "/admin/performers", json!({ "name": "A" }), json!({ "name": "B" })),
        (admin, "/admin/layouts", scheme.clone(), with(&scheme, "name", json!("Other"))),
        (admin, "/admin/events", event.clone(), with(&event, "currency", json!("EUR"))),
        (
            buyer,
            "/orders",
            json!({ "event_id": bench.event, "seats": [seat("Stalls", 2, 1)] }),
            json!({ "event_id": bench.event, "seats": [seat("Stalls", 2, 1), seat("Stalls", 1, 2)] }),
        ),
    ];
    for (who, path, first, _) in &cases {
        let made = app.post_with_key(who, path, "k", first).await.expect(201);
        let again = app.post_with_key(who, path, "k", first).await.expect(201);
        assert_eq!(id(&made), id(&again), "{path}");
    }
    app.settled().await;
    bench.before = bench.app.everything().await;
    for (who, path, _, second) in cases {
        let ask = bench.app.ask("POST", path).by(who).key("k").json(&second);
        bench.check(path, ask, 409, "idempotency_key_reused", "").await;
    }
    bench.app.advance(601);
    bench.app.sweep().await;
    bench.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_somebody_elses_is_not_there() {
    let mut bench = Bench::start().await;
    let app = &bench.app;
    let paid = app.buy(&bench.buyer, &bench.event, &json!([seat("Stalls", 1, 1)])).await;
    let held = app.hold(&bench.buyer, &bench.event, &json!([seat("Stalls", 1, 2)])).await;
    let ticket = paid["seats"][0]["ticket_id"].as_str().expect("it is paid");
    bench.before = app.everything().await;
    let stranger = app.buyer();
    let admin = User::new(UserId(7), vec![Role::Buyer, Role::Gate, Role::Admin]);
    for who in [&stranger, &admin] {
        for order in [id(&paid), id(&held), "ord_00000000000000000000000000", "ord_1", "..%2f..", "%00"] {
            for (method, path) in [
                ("GET", format!("/orders/{order}")),
                ("DELETE", format!("/orders/{order}")),
                ("POST", format!("/orders/{order}/payment")),
                ("GET", format!("/orders/{order}/refunds")),
                ("POST", format!("/orders/{order}/refunds")),
                ("POST", format!("/orders/{order}/refund-quotes")),
            ] {
                let ask = app.ask(method, &path).by(who).key("k").json(&json!({}));
                bench.check(&format!("{method} {path}"), ask, 404, "not_found", "").await;
            }
        }
        for path in [format!("/tickets/{ticket}"), format!("/tickets/{ticket}/code.svg"), format!("/tickets/{ticket}0")]
        {
            bench.check(&path, app.ask("GET", &path).by(who), 404, "not_found", "").await;
        }
    }
    for (method, path) in
        [("GET", "/nothing"), ("PUT", "/orders"), ("GET", "/orders/"), ("POST", "/events"), ("TRACE", "/me")]
    {
        bench.check(path, app.ask(method, path).by(&stranger), 404, "not_found", "").await;
    }
    bench.app.advance(601);
    bench.app.sweep().await;
    bench.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_that_cannot_be() {
    let bench = Bench::start().await;
    let app = &bench.app;
    let good = json!({ "email": "ada@example.org", "password": PASSWORD, "name": "Ada" });
    for (name, value, pointer) in [
        ("email", json!("ada"), "/email"),
        ("email", json!("ada@localhost"), "/email"),
        ("email", json!("a b@example.org"), "/email"),
        ("email", json!("a\0@example.org"), "/email"),
        ("email", json!(format!("{}@example.org", "a".repeat(65))), "/email"),
        ("email", json!(format!("a@{}.org", "b".repeat(250))), "/email"),
        ("email", json!(["ada@example.org"]), "/email"),
        ("password", json!("short"), "/password"),
        ("password", json!("p".repeat(129)), "/password"),
        ("password", json!(12345678), "/password"),
        ("name", json!(" "), "/name"),
        ("name", json!("a\nb"), "/name"),
        ("name", json!("a".repeat(101)), "/name"),
        ("locale", json!("tlh"), "/locale"),
        ("roles", json!(["admin"]), "/roles"),
        ("id", json!("usr_00000000000000000000000000"), "/id"),
    ] {
        let mut body = good.clone();
        body[name] = value;
        let ask = app.ask("POST", "/users").key("k").json(&body);
        bench.check(&body.to_string(), ask, 422, "invalid", pointer).await;
    }
    for body in
        [json!({ "email": "x@y.z", "password": PASSWORD }), json!({ "email": "x".repeat(5000), "password": "" })]
    {
        let ask = app.ask("POST", "/sessions").json(&body);
        bench.check("nobody's password", ask, 401, "credentials_wrong", "").await;
    }
    bench.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_that_would_be_too_much() {
    let mut bench = Bench::start().await;
    let app = &bench.app;
    let buyer = bench.buyer.clone();
    let back = app.buy(&buyer, &bench.event, &json!([seat("Stalls", 1, 1)])).await;
    let came = app.buy(&buyer, &bench.event, &json!([seat("Stalls", 1, 2)])).await;
    let missed = app.buy(&buyer, &bench.event, &json!([seat("Stalls", 1, 3)])).await;
    app.give_back(&buyer, id(&back), None).await;
    let ticket = came["seats"][0]["ticket_id"].as_str().expect("it is paid");
    app.check_in(&bench.event, ticket, &app.code(&buyer, ticket).await).await.expect(200);
    app.advance(92 * 86_400 + 4 * 3600);
    bench.before = app.everything().await;
    for (name, order, status, code) in [
        ("twice", &back, 409, "ticket_refunded"),
        ("of a ticket that was used", &came, 409, "ticket_refunded"),
        ("after the start", &missed, 409, "event_started"),
    ] {
        let whole = bench.post(&format!("/orders/{}/refunds", id(order))).json(&json!({}));
        bench.check(name, whole, status, code, "").await;
    }
    for (order, code) in [(&back, "ticket_refunded"), (&came, "ticket_used")] {
        let named = json!({ "ticket_ids": [order["seats"][0]["ticket_id"]] });
        let ask = bench.post(&format!("/orders/{}/refunds", id(order))).json(&named);
        bench.check("a ticket by its name", ask, 409, code, "").await;
    }
    bench.app.finish().await;
}
