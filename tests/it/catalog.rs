//! Events, halls and seat maps, for anybody.

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use tests::{TestApp, hall_scheme, id, mask, seat};

/// What a map of 20,000 seats may weigh on its way to a browser.
const MAP_BYTES_MAX: usize = 10_000;
/// What DynamoDB takes in one batch.
const BATCH_ITEMS_MAX: usize = 25;

/// The statute's tiers come first, each with its source.
fn check_terms(terms: &Value) {
    let rules: Vec<_> =
        terms.as_array().expect("a list").iter().map(|term| term["rule"].as_str().expect("a text")).collect();
    let shares: Vec<_> = terms.as_array().expect("a list").iter().map(|term| &term["share_basis_points"]).collect();
    assert_eq!(rules[..3], ["ru_52_1_10_days", "ru_52_1_5_days", "ru_52_1_3_days"]);
    assert_eq!(shares[..3], [10_000, 5_000, 3_000]);
    assert!(
        terms
            .as_array()
            .expect("a list")
            .iter()
            .all(|term| term["source"].as_str().is_some_and(|text| text.contains("52.1")))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_tells_all_that_a_buyer_asks() {
    let app = TestApp::start().await;
    let event = app.on_sale().await;
    let reply = app.look(&format!("/events/{event}")).await;
    assert_eq!(reply.header("cache-control"), "public, max-age=2");
    let mut body = mask(&reply.expect(200));
    let terms = body["refund_terms"].take();
    insta::assert_json_snapshot!(body, @r#"
    {
      "id": "evt_[id]",
      "layout": {
        "id": "lay_[id]",
        "version": 1
      },
      "name": "The Cherry Orchard",
      "on_sale_from": "2027-01-01T00:00:00Z",
      "on_sale_until": "2027-06-01T16:00:00Z",
      "performer": {
        "id": "prf_[id]",
        "name": "The Players"
      },
      "prices": {
        "floor": {
          "amount": 90000,
          "currency": "RUB"
        },
        "gift": {
          "amount": 0,
          "currency": "RUB"
        },
        "penny": {
          "amount": 10,
          "currency": "RUB"
        },
        "side": {
          "amount": 3333,
          "currency": "RUB"
        },
        "stalls": {
          "amount": 150000,
          "currency": "RUB"
        }
      },
      "refund_terms": null,
      "starts_at": "2027-06-01T16:00:00Z",
      "status": "published",
      "venue": {
        "address": "1 Square",
        "city": "Moscow",
        "id": "ven_[id]",
        "name": "House",
        "time_zone": "Europe/Moscow"
      }
    }
    "#);
    check_terms(&terms);
    for path in ["/events/evt_00000000000000000000000000", "/events/x", "/events/ord_00000000000000000000000000/seats"]
    {
        app.look(path).await.problem(404, "not_found");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_is_for_staff_only() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let draft = app.post(&app.admin, "/admin/events", &app.event_in(&hall, &Value::Null)).await.expect(201);
    let event = id(&draft).to_owned();
    let public = format!("/events/{event}");
    app.look(&public).await.problem(404, "not_found");
    app.look(&format!("{public}/seats")).await.problem(404, "not_found");
    let order = json!({ "event_id": event, "seats": [seat("Stalls", 1, 1)] });
    app.post(&app.buyer(), "/orders", &order).await.problem(404, "not_found");
    assert_eq!(app.look("/events").await.expect(200)["items"], json!([]));
    let drafts = app.get(&app.admin, "/admin/events").await.expect(200);
    assert_eq!(id(&drafts["items"][0]), event);
    for _ in 0..2 {
        let published = app.post(&app.admin, &format!("/admin/events/{event}/publication"), &Value::Null).await;
        assert_eq!(published.expect(200)["status"], "published");
    }
    app.outdate_caches();
    assert_eq!(app.look(&public).await.status, 200);
    assert_eq!(app.get(&app.admin, "/admin/events").await.expect(200)["items"], json!([]));
    let month = app.get(&app.admin, "/admin/events?month=2027-06").await.expect(200);
    assert_eq!(id(&month["items"][0]), event);
    app.finish().await;
}

/// Names of all events that a search finds, page by page.
async fn search(app: &TestApp, query: &str, limit: usize) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.look(&format!("/events?limit={limit}{query}{cursor}")).await.expect(200);
        let items = page["items"].as_array().expect("a list");
        assert!(items.len() <= limit, "a page has its limit");
        names.extend(items.iter().map(|item| item["name"].as_str().expect("a text").to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { return names };
        assert_eq!(items.len(), limit, "only the last page is short");
        cursor = format!("&cursor={}", next.replace('#', "%23"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_finds_what_is_asked_for_page_by_page() {
    let app = TestApp::start().await;
    let moscow = app.hall().await;
    let venue = json!({ "name": "Opera", "city": "Paris", "address": "2 Place", "time_zone": "Europe/Paris" });
    let venue = app.post(&app.admin, "/admin/venues", &venue).await.expect(201);
    let mut scheme = hall_scheme();
    scheme["venue_id"] = venue["id"].clone();
    let layout = app.post(&app.admin, "/admin/layouts", &scheme).await.expect(201);
    let performer = app.post(&app.admin, "/admin/performers", &json!({ "name": "Étoile" })).await.expect(201);
    let paris = tests::Hall { venue: id(&venue).into(), layout: id(&layout).into(), performer: id(&performer).into() };
    for (hall, name, starts_at) in [
        (&moscow, "Hamlet", "2027-03-05T16:00:00Z"),
        (&moscow, "Чайка", "2027-03-05T16:00:00Z"),
        (&paris, "Hamlet in Paris", "2027-03-31T23:59:59Z"),
        (&paris, "Giselle", "2027-04-01T00:00:00Z"),
        (&moscow, "Ivanov", "2027-12-31T21:00:00Z"),
        (&moscow, "Next Year", "2028-02-28T16:00:00Z"),
        (&moscow, "Far Away", "2028-05-01T16:00:00Z"),
    ] {
        let changes = json!({ "name": name, "starts_at": starts_at, "currency": "EUR" });
        app.event(hall, &changes).await;
    }
    let gone = app.event(&moscow, &json!({ "name": "Hamlet, off", "starts_at": "2027-03-06T16:00:00Z" })).await;
    app.post(&app.admin, &format!("/admin/events/{gone}/cancellation"), &Value::Null).await.expect(200);
    app.settled().await;

    let year = ["Hamlet", "Чайка", "Hamlet in Paris", "Giselle", "Ivanov", "Next Year"];
    for (query, expected) in [
        ("", &year[..]),
        ("&q=hamlet", &["Hamlet", "Hamlet in Paris"]),
        ("&q=%D1%87%D0%B0%D0%99%D0%9A%D0%B0", &["Чайка"]),
        ("&q=%C3%A9toile", &["Hamlet in Paris", "Giselle"]),
        ("&city=paris", &["Hamlet in Paris", "Giselle"]),
        ("&city=Par", &[]),
        (&format!("&performer={}", paris.performer), &["Hamlet in Paris", "Giselle"]),
        ("&from=2027-04-01T00:00:00Z", &["Giselle", "Ivanov", "Next Year"]),
        ("&to=2027-04-01T00:00:00Z", &["Hamlet", "Чайка", "Hamlet in Paris"]),
        ("&from=2028-01-01T00:00:00%2B03:00&to=2029-12-31T00:00:00Z", &["Ivanov", "Next Year", "Far Away"]),
        ("&from=2027-04-02T00:00:00Z&to=2027-04-01T00:00:00Z", &[]),
        ("&city=paris&q=giselle&from=2027-03-01T00:00:00Z", &["Giselle"]),
    ] {
        for limit in [1, 2, 100] {
            let mut found = search(&app, query, limit).await;
            // Two begin at the same moment: their order is that of their ids.
            let mut expected = expected.to_vec();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{query} by {limit}");
        }
    }
    assert_eq!(search(&app, "", 100).await[2..], year[2..], "by their start");
    for (query, code) in [
        ("limit=0", (422, "invalid")),
        ("limit=101", (422, "invalid")),
        ("limit=x", (400, "invalid_query")),
        ("colour=red", (400, "invalid_query")),
        ("from=yesterday", (400, "invalid_query")),
        ("performer=evt_1", (400, "invalid_query")),
        (&format!("q={}", "a".repeat(101)), (422, "invalid")),
    ] {
        app.look(&format!("/events?{query}")).await.problem(code.0, code.1);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_that_did_not_change_is_not_sent_again() {
    let app = TestApp::start().await;
    let event = app.on_sale().await;
    let path = format!("/events/{event}/seats");
    let known = async |tag: &str| app.ask("GET", &path).header("if-none-match", tag).send().await;
    let first = app.look(&path).await;
    let tag = first.header("etag").to_owned();
    assert_eq!(first.header("cache-control"), "public, max-age=1, s-maxage=1");
    let reply = known(&tag).await;
    assert_eq!((reply.status, reply.bytes.len(), reply.header("etag")), (304, 0, tag.as_str()));
    assert_eq!(known(&format!("W/{tag}")).await.status, 304, "a weak tag of an intermediary is the same");
    assert_eq!(known(&format!("\"other\", {tag}")).await.status, 304);
    assert_eq!(known("\"other\"").await.status, 200);

    let order = app.hold(&app.buyer(), &event, &json!([seat("Stalls", 1, 2)])).await;
    app.outdate_caches();
    let changed = known(&tag).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), tag);
    let (before, after) = (first.expect(200), changed.expect(200));
    assert_eq!(before["sections"][0]["rows"]["1"], "AAAA");
    assert_eq!(after["sections"][0]["rows"]["1"], "EAAA", "the second pair of bits says held");
    assert_eq!(after["sections"][0]["rows"]["10"], "AMAA", "a gap is not for sale");
    assert_eq!(after["sections"][4]["rows"]["1"], "___w", "nor is what has no price");
    assert_eq!(after["sections"][5], json!({ "id": "Floor", "capacity": 100, "free": 100 }));
    let seats = |map: &Value| map["free"]["stalls"].as_u64().expect("a number");
    assert_eq!((seats(&before), seats(&after)), (159, 158));

    app.advance(601);
    assert_eq!(app.look(&path).await.header("etag"), tag, "a hold that lapsed is as if it had never been: {order}");
    for path in [format!("/events/{event}"), format!("/layouts/{}/1", before["layout"]["id"].as_str().expect("an id"))]
    {
        let tag = app.look(&path).await.header("etag").to_owned();
        assert_eq!(app.ask("GET", &path).header("if-none-match", &tag).send().await.status, 304, "{path}");
    }
    app.sweep().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hall_has_versions_that_never_change() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let first = app.look(&format!("/layouts/{}/1", hall.layout)).await;
    assert_eq!(first.header("cache-control"), "public, max-age=31536000, immutable");
    let first = first.expect(200);
    assert_eq!(first["sections"][0]["rows"][0]["seats"], 10);
    let mut scheme = hall_scheme();
    scheme["venue_id"] = json!(hall.venue);
    scheme["layout_id"] = json!(hall.layout);
    scheme["sections"][0]["rows"][0]["seats"] = json!(12);
    let second = app.post(&app.admin, "/admin/layouts", &scheme).await.expect(201);
    assert_eq!((id(&second), &second["version"]), (hall.layout.as_str(), &json!(2)));
    let again = app.post(&app.admin, "/admin/layouts", &scheme).await.expect(201);
    assert_eq!(again["version"], 2, "the same scheme makes no further version");
    assert_eq!(app.look(&format!("/layouts/{}/1", hall.layout)).await.expect(200), first);
    let sections = app.look(&format!("/layouts/{}/2", hall.layout)).await.expect(200)["sections"].take();
    assert_eq!(sections[0]["rows"][0]["seats"], 12);
    for path in [format!("/layouts/{}/3", hall.layout), format!("/layouts/{}/x", hall.layout)] {
        app.look(&path).await.problem(404, "not_found");
    }
    app.finish().await;
}

/// A third of the seats of each row sold or held, as a sale leaves them: in groups of two to four.
fn busy_rows(event: &str, layout: &Value) -> Vec<WriteRequest> {
    let (hold, mut random, mut requests) = ("AAAAAAAAAAA", 1_u32, Vec::new());
    let mut below = |bound: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % bound
    };
    for section in layout["sections"].as_array().expect("a list") {
        for row in section["rows"].as_array().into_iter().flatten() {
            let seats = row["seats"].as_u64().expect("a number");
            if seats > 45 {
                continue;
            }
            let text = |value: String| AttributeValue::S(value);
            let key =
                (format!("{event}#{}", section["id"].as_str().expect("a text")), row["name"].as_str().expect("a text"));
            let mut put = PutRequest::builder().item("pk", text(key.0)).item("sk", text(key.1.to_owned()));
            let mut next = below(6);
            while u64::from(next) < seats {
                let group = 2 + below(3);
                let word = if below(8) == 0 { format!("Hzzzzzzz{hold}") } else { format!("S{hold}0") };
                for index in next..(next + group).min(seats as u32) {
                    put = put.item(index.to_string(), text(word.clone()));
                }
                next += group + below(12);
            }
            requests.push(WriteRequest::builder().put_request(put.build().expect("it has an item")).build());
        }
    }
    requests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_map_of_an_arena_is_small() {
    let app = TestApp::start().await;
    let scheme: Value = serde_json::from_str(include_str!("../../infra/demo/arena.json")).expect("it is JSON");
    let prices: BTreeMap<_, _> =
        scheme["categories"].as_array().expect("a list").iter().map(|category| (id(category), 100_000)).collect();
    let prices = json!({ "prices": prices });
    let hall = app.hall_of(scheme.clone()).await;
    let event = app.event(&hall, &prices).await;
    let rows = busy_rows(&event, &scheme);
    for batch in rows.chunks(BATCH_ITEMS_MAX) {
        let reply = app.dynamodb().batch_write_item().request_items("Seats", batch.to_vec()).send().await;
        assert!(reply.expect("it is written").unprocessed_items().is_none_or(|rest| rest.is_empty()));
    }
    let path = format!("/events/{event}/seats");
    let plain = app.look(&path).await;
    let packed = app.ask("GET", &path).header("accept-encoding", "br, gzip;q=0.8").send().await;
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), ("gzip", "accept-encoding"));
    let mut unpacked = Vec::new();
    GzDecoder::new(&packed.bytes[..]).read_to_end(&mut unpacked).expect("it is gzip");
    assert_eq!(unpacked, plain.bytes);
    let free: u64 = plain.body["free"].as_object().expect("an object").values().filter_map(Value::as_u64).sum();
    println!("{free} of the arena's places free; {} bytes, {} compressed", plain.bytes.len(), packed.bytes.len());
    assert!((10_000..16_000).contains(&free), "a good part is taken");
    assert!(packed.bytes.len() < MAP_BYTES_MAX, "{} bytes", packed.bytes.len());
}
