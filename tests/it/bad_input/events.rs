//! Events, halls and names that cannot be.

use super::Bench;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_cannot_be() {
    let mut bench = Bench::start().await;
    let app = &bench.app;
    let hall = app.hall().await;
    bench.before = app.everything().await;
    let post = |path: &str, body: &Value| app.ask("POST", path).by(&app.admin).key(&tests::http::new_key()).json(body);
    let past = json!({ "starts_at": "2027-03-01T12:00:00Z", "on_sale_until": "2027-03-01T11:00:00Z" });
    for (name, changes, pointer) in [
        ("a negative price", json!({ "prices": { "stalls": -1 } }), "/prices/stalls"),
        ("a price too large", json!({ "prices": { "stalls": 1_000_000_001 } }), "/prices/stalls"),
        ("the largest number", json!({ "prices": { "stalls": i64::MAX } }), "/prices/stalls"),
        ("more than the largest number", json!({ "prices": { "stalls": u64::MAX } }), "/prices/stalls"),
        ("far more", json!({ "prices": { "stalls": 1e30 } }), "/prices/stalls"),
        ("half a kopeck", json!({ "prices": { "stalls": 0.5 } }), "/prices/stalls"),
        ("a price as a text", json!({ "prices": { "stalls": "100" } }), "/prices/stalls"),
        ("an unknown category", json!({ "prices": { "roof": 1 } }), "/prices/roof"),
        ("no prices", json!({ "prices": {} }), "/prices"),
        ("a negative fee", json!({ "service_fee": -1 }), "/service_fee"),
        ("a fee too large", json!({ "service_fee": 100_000_001 }), "/service_fee"),
        ("the largest fee", json!({ "service_fee": i64::MAX }), "/service_fee"),
        ("half a kopeck of a fee", json!({ "service_fee": 0.5 }), "/service_fee"),
        ("a fee as a text", json!({ "service_fee": "1" }), "/service_fee"),
        ("a fee by category", json!({ "service_fee": { "stalls": 1 } }), "/service_fee"),
        (
            "terms that return half a fee",
            json!({ "refund_policy": { "returns_service_fee": 0.5 } }),
            "/refund_policy/returns_service_fee",
        ),
        ("no currency", json!({ "currency": "XXQ" }), "/currency"),
        ("a currency that cannot be paid in", json!({ "currency": "KWD" }), "/currency"),
        ("a currency in small letters", json!({ "currency": "rub" }), "/currency"),
        ("a name of nothing", json!({ "name": " " }), "/name"),
        ("NUL in a name", json!({ "name": "a\0b" }), "/name"),
        ("a name too long", json!({ "name": "я".repeat(201) }), "/name"),
        ("a start in the past", past, "/starts_at"),
        (
            "a sale that ends before it begins",
            json!({ "on_sale_from": "2027-05-01T00:00:00Z", "on_sale_until": "2027-04-01T00:00:00Z" }),
            "/on_sale_from",
        ),
        ("a sale after the start", json!({ "on_sale_until": "2027-06-01T16:00:01Z" }), "/on_sale_from"),
        ("no instant", json!({ "starts_at": "tomorrow" }), "/starts_at"),
        ("a time without a zone", json!({ "starts_at": "2027-06-01T16:00:00" }), "/starts_at"),
        ("an unknown performer", json!({ "performer_id": "prf_00000000000000000000000000" }), "/performer_id"),
        ("an unknown hall", json!({ "layout_id": "lay_00000000000000000000000000" }), "/layout_id"),
        ("an unknown version of the hall", json!({ "layout_version": 2 }), "/layout_id"),
        (
            "a share above the whole",
            json!({ "refund_policy": { "tiers": [{ "notice": { "days": 1 }, "share": 10_001 }] } }),
            "/refund_policy/tiers/0/share",
        ),
        (
            "tiers that rise",
            json!({ "refund_policy": { "tiers": [{ "notice": { "days": 2 }, "share": 1 }, { "notice": { "days": 1 }, "share": 2 }] } }),
            "/refund_policy/tiers/1/share",
        ),
        ("a statute of nowhere", json!({ "refund_policy": { "statute": "moon" } }), "/refund_policy/statute"),
        ("an unknown field", json!({ "colour": "red" }), "/colour"),
    ] {
        bench.check(name, post("/admin/events", &app.event_in(&hall, &changes)), 422, "invalid", pointer).await;
    }
    bench.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn halls_that_cannot_be() {
    let mut bench = Bench::start().await;
    let app = &bench.app;
    let hall = app.hall().await;
    bench.before = app.everything().await;
    let post = |path: &str, body: &Value| app.ask("POST", path).by(&app.admin).key(&tests::http::new_key()).json(body);
    let scheme = |changes: Value| {
        let mut scheme = tests::hall_scheme();
        scheme["venue_id"] = json!(hall.venue);
        for (name, value) in changes.as_object().expect("an object") {
            scheme[name] = value.clone();
        }
        scheme
    };
    let row = |changes: Value| {
        let mut row = json!({ "name": "1", "x": 0, "y": 0, "dx": 1, "seats": 5, "category": "stalls" });
        for (name, value) in changes.as_object().expect("an object") {
            row[name] = value.clone();
        }
        json!({ "sections": [{ "id": "S", "name": "S", "rows": [row] }] })
    };
    for (name, changes, pointer) in [
        ("no sections", json!({ "sections": [] }), "/sections"),
        ("a row of no seats", row(json!({ "seats": 0 })), "/sections/0/rows/0/seats"),
        ("a row too long", row(json!({ "seats": 201 })), "/sections/0/rows/0/seats"),
        ("a name with a key's separator", row(json!({ "name": "a#b" })), "/sections/0/rows/0/name"),
        ("an unknown category", row(json!({ "category": "roof" })), "/sections/0/rows/0/category"),
        ("an unknown field", row(json!({ "price": 1 })), "/sections/0/rows/0/price"),
        ("coordinates that overflow", row(json!({ "x": 3_000_000_000_u32 })), "/sections/0/rows/0/x"),
        ("a venue that is not there", json!({ "venue_id": "ven_00000000000000000000000000" }), "/venue_id"),
        ("a hall that is not there", json!({ "layout_id": "lay_00000000000000000000000000" }), "/layout_id"),
    ] {
        bench.check(name, post("/admin/layouts", &scheme(changes)), 422, "invalid", pointer).await;
    }
    let venue = json!({ "name": "V", "city": "C", "address": "A", "time_zone": "Mars/Olympus" });
    bench.check("no such zone", post("/admin/venues", &venue), 422, "invalid", "/time_zone").await;
    for (name, pointer) in [("", "/name"), ("\u{7f}", "/name"), (&"x".repeat(201), "/name")] {
        bench
            .check("a performer's name", post("/admin/performers", &json!({ "name": name })), 422, "invalid", pointer)
            .await;
    }
    for name in ["🎭 Театр", "תיאטרון הבימה", "e\u{301}", "'; DROP TABLE events; --", "<script>alert(1)</script>"]
    {
        let made = app.post(&app.admin, "/admin/performers", &json!({ "name": name })).await.expect(201);
        assert_eq!(made["name"], name, "a name is a text, and stays what it is");
    }
    bench.app.finish().await;
}
