//! What a purchase costs in DynamoDB: calls, and capacity units.

use serde_json::json;
use std::collections::BTreeMap;
use tests::{TestApp, id, seat};

/// What two seats in one row, bought and paid, may cost in all.
const PURCHASE_WRITE_UNITS_MAX: f64 = 12.0;

type Counts = BTreeMap<(String, String), (u64, f64, f64)>;

/// Calls, read units and write units by operation and table.
fn counts(app: &TestApp) -> Counts {
    let counts = app.running.meter.as_ref().expect("it was asked for").counts();
    counts.into_iter().map(|(of, counts)| (of, (counts.calls, counts.read_units, counts.write_units))).collect()
}

/// What came on top of `before`.
fn since(app: &TestApp, before: &Counts) -> Counts {
    let mut now = counts(app);
    for (of, then) in before {
        let count = now.get_mut(of).expect("counts only grow");
        *count = (count.0 - then.0, count.1 - then.1, count.2 - then.2);
    }
    now.retain(|_, count| *count != (0, 0.0, 0.0));
    now
}

fn print(what: &str, counts: &Counts) {
    println!("{what}");
    for ((operation, table), (calls, read, write)) in counts {
        println!("  {operation:<20} {table:<10} {calls:>3} calls {read:>5} read units {write:>5} write units");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_seats_cost_twelve_write_units_at_most() {
    let app = TestApp::start_metered().await;
    let hall = app.hall().await;
    // All that a seat may cost, so that its item is as large as it gets.
    let event = app.event(&hall, &json!({ "service_fee": 7_500 })).await;
    let two = |row: u8| json!([seat("Stalls", row, 1), seat("Stalls", row, 2)]);
    // The event and the hall are in the instance's memory from here on.
    app.buy(&app.buyer(), &event, &two(1)).await;
    let buyer = app.buyer();
    let before = counts(&app);
    let order = app.hold(&buyer, &event, &two(2)).await;
    let held = since(&app, &before);
    print("POST /orders", &held);
    assert_eq!(held.values().map(|count| count.0).sum::<u64>(), 3, "two writes, and a look for the buyer's perks");
    let named: Vec<_> = held.keys().map(|(operation, table)| format!("{operation} {table}")).collect();
    assert_eq!(named, ["PutItem Orders", "Query Subscriptions", "UpdateItem Seats"]);

    let payment = app.start_payment(&buyer, id(&order)).await;
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    app.settled().await;
    let bought = since(&app, &before);
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid");
    print("Two seats, bought and paid", &bought);
    let write_units: f64 = bought.values().map(|count| count.2).sum();
    println!("  {write_units} write units in all");
    assert!(write_units > 5.0, "the meter counts");
    assert!(write_units <= PURCHASE_WRITE_UNITS_MAX, "{write_units} write units");

    let before = counts(&app);
    app.give_back(&buyer, id(&order), None).await;
    print("Both given back", &since(&app, &before));
    let before = counts(&app);
    app.outdate_caches();
    app.look(&format!("/events/{event}/seats")).await.expect(200);
    let map = since(&app, &before);
    print("The map of six sections", &map);
    let looks = (0..20).map(|_| app.look("/events/nothing")).chain([]);
    futures_util::future::join_all(looks).await;
    let before = counts(&app);
    let path = format!("/events/{event}/seats");
    futures_util::future::join_all((0..50).map(|_| app.look(&path))).await;
    assert!(since(&app, &before).is_empty(), "within a second, one read is for all");
    app.finish().await;
}
