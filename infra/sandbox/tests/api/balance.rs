//! Balance transactions as a reconciler reads them: every movement once, page by page, with what caused it.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::harness::{drive, each, stopped_at};

const NOW_SECONDS: i64 = 1_800_000_000;

#[tokio::test]
async fn every_movement_names_its_cause() {
    let (clock, settings) = stopped_at(NOW_SECONDS * 1_000);
    let running = drive(settings).await;
    let intent = running.paid("pm_card_refundFail", "metadata[order]=o1").await;
    running.post("refunds", &format!("payment_intent={intent}&amount=400&metadata[refund]=r1")).await;
    clock.fetch_add(1_000, Ordering::SeqCst);
    assert!(running.stripe.run_timers(), "the refund comes back");
    running.stripe.dispute(&intent).expect("captured");
    running.stripe.close_dispute(&intent, true).expect("open");

    let txns = running.list("balance_transactions?expand[]=data.source").await;
    for (txn, (kind, category, amount, fee, source)) in txns.iter().zip([
        ("adjustment", "dispute_reversal", 1_000, 0, "dispute"),
        ("adjustment", "dispute", -1_000, 1_500, "dispute"),
        ("refund_failure", "refund_failure", 400, 0, "refund"),
        ("refund", "refund", -400, 0, "refund"),
        ("charge", "charge", 1_000, 59, "charge"),
    ]) {
        assert_eq!((&txn["type"], &txn["reporting_category"]), (&json!(kind), &json!(category)));
        assert_eq!((&txn["amount"], &txn["fee"], &txn["net"]), (&json!(amount), &json!(fee), &json!(amount - fee)));
        assert_eq!((&txn["source"]["object"], &txn["source"]["payment_intent"]), (&json!(source), &json!(intent)));
        let metadata = match source {
            "charge" => json!({"order": "o1"}),
            "refund" => json!({"refund": "r1"}),
            _ => json!({}),
        };
        assert_eq!(txn["source"]["metadata"], metadata, "{category}");
    }
    assert_eq!(txns.len(), 5);
    let (failed, refund) = (&txns[2]["source"], &txns[3]["source"]);
    assert_eq!((&failed["failure_balance_transaction"], failed), (&txns[2]["id"], refund));

    let books = running.stripe.books().movements;
    let ids: Vec<_> = books.iter().rev().map(|movement| json!(movement.id)).collect();
    assert_eq!(each(&txns, "id"), ids.iter().collect::<Vec<_>>());
    let net: i64 = txns.iter().filter_map(|txn| txn["net"].as_i64()).sum();
    assert_eq!(net, books.iter().map(|movement| movement.amount - movement.fee).sum::<i64>());
    for (filter, found) in [
        ("type=adjustment", 2),
        ("type=refund_failure", 1),
        ("type=payout", 0),
        ("currency=eur", 0),
        (&*format!("source={}", refund["id"].as_str().expect("an id")), 2),
    ] {
        assert_eq!(running.list(&format!("balance_transactions?{filter}")).await.len(), found, "{filter}");
    }
}

#[tokio::test]
async fn pages_go_both_ways_and_times_need_not_rise() {
    let (clock, settings) = stopped_at(0);
    let running = drive(settings).await;
    // The clock was set back between the third and the fourth.
    for at in [10, 20, 30, 15, 30] {
        clock.store((NOW_SECONDS + at) * 1_000, Ordering::SeqCst);
        running.paid("pm_card_visa", "").await;
    }
    let all: Vec<String> = running.stripe.books().movements.into_iter().map(|movement| movement.id).collect();
    let at = |offset: i64| NOW_SECONDS + offset;
    for (query, rows, more) in [
        ("limit=2".to_owned(), vec![4, 3], true),
        (format!("limit=2&starting_after={}", all[3]), vec![2, 1], true),
        (format!("limit=2&starting_after={}", all[1]), vec![0], false),
        (format!("limit=2&ending_before={}", all[0]), vec![2, 1], true),
        (format!("limit=2&ending_before={}", all[2]), vec![4, 3], false),
        (format!("ending_before={}", all[4]), vec![], false),
        (format!("created[gte]={}", at(20)), vec![4, 2, 1], false),
        (format!("created[gt]={}&created[lt]={}", at(10), at(30)), vec![3, 1], false),
        (format!("created[lte]={}", at(15)), vec![3, 0], false),
        (format!("created={}", at(30)), vec![4, 2], false),
        (format!("created[gte]={}&limit=1&starting_after={}", at(20), all[4]), vec![2], true),
        (format!("created[lt]={}&limit=1&ending_before={}", at(30), all[0]), vec![1], true),
    ] {
        let page = running.get(&format!("balance_transactions?{query}")).await.2;
        let found = page["data"].as_array().unwrap_or_else(|| panic!("{query}: {page}"));
        let expected: Vec<_> = rows.into_iter().map(|row: usize| json!(all[row])).collect();
        assert_eq!((each(found, "id"), &page["has_more"]), (expected.iter().collect(), &json!(more)), "{query}");
    }
    for query in [format!("starting_after={}&ending_before={}", all[0], all[1]), "ending_before=txn_0".to_owned()] {
        assert_eq!(running.get(&format!("balance_transactions?{query}")).await.0, 400, "{query}");
    }

    // The events' pages are cut the same way.
    let events = running.list("events?type=payment_intent.succeeded").await;
    let newest = events[0]["id"].as_str().expect("an id");
    let oldest = events[4]["id"].as_str().expect("an id");
    let type_is = "events?type=payment_intent.succeeded";
    assert_eq!(running.list(&format!("{type_is}&ending_before={oldest}&limit=1")).await, events[3..4]);
    assert_eq!(running.list(&format!("{type_is}&starting_after={newest}")).await, events[1..]);
}
