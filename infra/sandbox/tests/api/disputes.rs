//! Chargebacks: opened by an issuer, fought or given in to by the seller, decided by the issuer.

use std::sync::atomic::Ordering;

use sandbox::{DisputeStatus, Settings};
use serde_json::{Value, json};

use crate::harness::{Disk, PUBLIC, READ_ONLY, Running, SECRET, drive, each, id, stopped_at};

const FEE: i64 = 1_500;
const NOW_MS: i64 = 1_800_000_000_000;

/// The only dispute of an intent.
async fn dispute_of(running: &Running, intent: &str) -> Value {
    let mut disputes = running.list(&format!("disputes?payment_intent={intent}")).await;
    assert_eq!(disputes.len(), 1, "{intent}");
    disputes.remove(0)
}

fn told(running: &Running) -> Vec<String> {
    running.stripe.take_webhooks().into_iter().map(|webhook| webhook.kind).collect()
}

/// What the account has gained: all that moved, less fees.
fn balance(running: &Running) -> i64 {
    running.stripe.books().movements.iter().map(|movement| movement.amount - movement.fee).sum()
}

#[tokio::test]
async fn a_disputed_card_takes_its_money_back_at_capture() {
    let running = drive(stopped_at(NOW_MS).1).await;
    let intent = running.intent("confirm=true&payment_method=pm_card_createDispute&metadata[order]=o1").await;
    assert!(running.list("disputes").await.is_empty(), "an authorisation is not disputed");
    told(&running);
    let capture = running.post(&format!("payment_intents/{intent}/capture"), "amount_to_capture=800").await;
    assert_eq!((capture.0, &capture.2["amount_received"]), (200, &json!(800)));
    assert_eq!(
        told(&running),
        ["payment_intent.succeeded", "charge.dispute.created", "charge.dispute.funds_withdrawn"]
    );

    let dispute = dispute_of(&running, &intent).await;
    for (name, value) in [
        ("object", json!("dispute")),
        ("amount", json!(800)),
        ("currency", json!("usd")),
        ("charge", capture.2["latest_charge"].clone()),
        ("payment_intent", json!(intent)),
        ("reason", json!("fraudulent")),
        ("status", json!("needs_response")),
        ("is_charge_refundable", json!(false)),
        ("livemode", json!(false)),
        ("metadata", json!({})),
        ("created", json!(NOW_MS / 1_000)),
    ] {
        assert_eq!(dispute[name], value, "{name}");
    }
    assert!(id(&dispute).starts_with("du_"));
    assert_eq!(dispute["evidence_details"]["has_evidence"], false);
    assert_eq!(dispute["evidence"]["uncategorized_text"], Value::Null);
    assert!(dispute.get("token").is_none() && dispute.get("due_by").is_none(), "what is ours stays here");

    let withdrawn = &dispute["balance_transactions"][0];
    for (name, value) in [
        ("type", json!("adjustment")),
        ("reporting_category", json!("dispute")),
        ("amount", json!(-800)),
        ("fee", json!(FEE)),
        ("net", json!(-800 - FEE)),
        ("source", dispute["id"].clone()),
    ] {
        assert_eq!(withdrawn[name], value, "{name}");
    }
    assert_eq!(&running.list("balance_transactions?type=adjustment").await[0], withdrawn);
    let charge =
        running.get(&format!("charges/{}?expand[]=payment_intent", dispute["charge"].as_str().expect("an id"))).await.2;
    assert_eq!((&charge["disputed"], &charge["payment_intent"]["id"]), (&json!(true), &json!(intent)));
    assert_eq!(running.list(&format!("disputes?charge={}", charge["id"].as_str().expect("an id"))).await, [dispute]);
    assert!(running.list("disputes?charge=ch_0").await.is_empty());
}

#[tokio::test]
async fn evidence_decides_as_in_test_mode() {
    const WON: [&str; 3] = ["charge.dispute.updated", "charge.dispute.closed", "charge.dispute.funds_reinstated"];
    for (then, body, status, events) in [
        ("", "evidence[uncategorized_text]=winning_evidence", "won", &WON[..]),
        ("", "evidence[uncategorized_text]=losing_evidence&metadata[case]=7", "lost", &WON[..2]),
        ("", "evidence[uncategorized_text]=a+letter", "under_review", &WON[..1]),
        ("", "evidence[receipt]=file_1&submit=false", "needs_response", &WON[..1]),
        ("", "metadata[case]=7", "needs_response", &WON[..1]),
        ("/close", "", "lost", &WON[1..2]),
    ] {
        let running = drive(stopped_at(NOW_MS).1).await;
        let intent = running.paid("pm_card_createDispute", "").await;
        let (before, dispute) = (balance(&running), id(&dispute_of(&running, &intent).await));
        told(&running);
        let answer = running.post(&format!("disputes/{dispute}{then}"), body).await;
        assert_eq!((answer.0, &answer.2["status"]), (200, &json!(status)), "{body}: {}", answer.2);
        assert_eq!(told(&running), events, "{body}");
        assert_eq!(answer.2["metadata"].as_object().map_or(0, |all| all.len()), usize::from(body.contains("case")));
        assert_eq!(answer.2["evidence_details"]["has_evidence"], body.contains("evidence"), "{body}");
        let submitted = u8::from(body.contains("evidence") && !body.contains("submit=false"));
        assert_eq!(answer.2["evidence_details"]["submission_count"], submitted, "{body}");

        // What is won comes back whole; the fee does not.
        let back = if status == "won" { 1_000 } else { 0 };
        assert_eq!(balance(&running) - before, back, "{body}");
        let moved: Vec<Value> = answer.2["balance_transactions"].as_array().expect("a list").clone();
        let categories = each(&moved, "reporting_category");
        assert_eq!(categories, ["dispute", "dispute_reversal"][..1 + usize::from(back > 0)].to_vec(), "{body}");
        let fees: Vec<i64> = moved.iter().filter_map(|txn| txn["fee"].as_i64()).collect();
        assert_eq!(fees, [FEE, 0][..moved.len()]);

        // Only an answer that is still open can be given.
        let again = running.post(&format!("disputes/{dispute}"), "evidence[customer_name]=A").await;
        assert_eq!(again.0, if status == "needs_response" { 200 } else { 400 }, "{body}");
        let close = running.post(&format!("disputes/{dispute}/close"), "").await;
        assert_eq!(close.0, 400, "{body}: submitted or decided by now");
        assert_eq!(running.post(&format!("disputes/{dispute}"), "metadata[late]=1").await.0, 200);
    }
}

#[tokio::test]
async fn an_issuer_disputes_any_captured_payment_once() {
    let (clock, settings) = stopped_at(NOW_MS);
    let running = drive(settings).await;
    let stripe = &running.stripe;
    let open = running.intent("confirm=true&payment_method=pm_card_visa").await;
    assert_eq!((stripe.dispute(&open), stripe.dispute("pi_0")), (None, None));
    assert_eq!(stripe.close_dispute(&open, true), None);

    // What was refunded is not taken again.
    let intent = running.paid("pm_card_mastercard", "").await;
    running.post("refunds", &format!("payment_intent={intent}&amount=300")).await;
    let dispute = stripe.dispute(&intent).expect("captured");
    assert_eq!(stripe.dispute(&intent), None);
    let refused = running.post("refunds", &format!("payment_intent={intent}")).await;
    assert_eq!((refused.0, refused.code()), (400, "charge_disputed"));
    assert_eq!(stripe.close_dispute(&intent, true), Some(dispute.clone()));
    assert_eq!(stripe.close_dispute(&intent, false), None);
    assert_eq!(running.get(&format!("disputes/{dispute}")).await.2["is_charge_refundable"], true);
    assert_eq!(running.post("refunds", &format!("payment_intent={intent}")).await.2["amount"], 700);
    assert_eq!(stripe.dispute(&intent), None);

    // A refund that is under way gives way, for good.
    let pending = running.paid("pm_card_pendingRefund", "").await;
    let refund = id(&running.post("refunds", &format!("payment_intent={pending}&amount=300")).await.2);
    told(&running);
    assert!(stripe.dispute(&pending).is_some());
    assert_eq!(
        told(&running),
        [
            "refund.failed",
            "refund.updated",
            "charge.refund.updated",
            "charge.dispute.created",
            "charge.dispute.funds_withdrawn"
        ]
    );
    clock.fetch_add(60_000, Ordering::SeqCst);
    assert!(running.stripe.run_timers(), "the refund would have come through");
    assert_eq!(told(&running), [""; 0]);
    let refund = running.get(&format!("refunds/{refund}")).await.2;
    assert_eq!(
        (&refund["status"], &refund["failure_reason"]),
        (&json!("failed"), &json!("charge_for_pending_refund_disputed"))
    );
    assert!(stripe.close_dispute(&pending, false).is_some());
    let refunded = running.paid("pm_card_visa", "").await;
    running.post("refunds", &format!("payment_intent={refunded}")).await;
    assert_eq!(stripe.dispute(&refunded), None, "there is nothing to take");

    let books = stripe.books();
    let disputes: Vec<_> = books.disputes.iter().map(|entry| (entry.amount, entry.status)).collect();
    assert_eq!(disputes, [(700, DisputeStatus::Won), (1_000, DisputeStatus::Lost)]);
    let kinds: Vec<_> = books.movements.iter().map(|entry| (entry.kind.as_str(), entry.amount)).collect();
    assert_eq!(
        kinds,
        [
            ("charge", 1_000),
            ("refund", -300),
            ("dispute", -700),
            ("dispute_reversal", 700),
            ("refund", -700),
            ("charge", 1_000),
            ("dispute", -1_000),
            ("charge", 1_000),
            ("refund", -1_000),
        ]
    );
}

#[tokio::test]
async fn a_key_that_may_read_disputes_changes_none() {
    let running = drive(stopped_at(NOW_MS).1).await;
    let intent = running.paid("pm_card_createDispute", "").await;
    let own = format!("disputes/{}", id(&dispute_of(&running, &intent).await));
    for (key, method, path, body, status) in [
        (READ_ONLY, "GET", &*own, "", 200),
        (READ_ONLY, "GET", "disputes?limit=1", "", 200),
        (READ_ONLY, "GET", "balance_transactions?expand[]=data.source", "", 200),
        (READ_ONLY, "POST", &own, "metadata[a]=b", 403),
        (READ_ONLY, "POST", &format!("{own}/close"), "", 403),
        (PUBLIC, "GET", &own, "", 401),
        (SECRET, "GET", "disputes/du_0", "", 404),
        (SECRET, "GET", "disputes?reason=fraudulent", "", 400),
        (SECRET, "POST", "disputes", "", 404),
        (SECRET, "POST", &own, "evidence[colour]=red", 400),
        (SECRET, "POST", &own, "submit=maybe", 400),
    ] {
        let answer = running.call(key, None, method, path, body).await;
        assert_eq!(answer.0, status, "{method} {path} {body}: {}", answer.2);
    }
    assert_eq!(running.get(&own).await.2["status"], "needs_response");
}

#[tokio::test]
async fn disputes_outlive_a_crash() {
    let disk = Disk::new("disputes");
    let settings = Settings { database: Some(disk.file()), ..stopped_at(NOW_MS).1 };
    let running = drive(settings.clone()).await;
    let intent = running.paid("pm_card_createDispute", "").await;
    let dispute = dispute_of(&running, &intent).await;
    let own = format!("disputes/{}", id(&dispute));
    let lost = running.call(SECRET, Some("key"), "POST", &own, "evidence[uncategorized_text]=losing_evidence").await;
    let other = running.paid("pm_card_visa", "").await;
    running.stripe.dispute(&other).expect("captured");
    let waiting = running.stripe.webhooks_pending();
    let crashed = disk.copy("disputes-crashed");

    let again = drive(Settings { database: Some(crashed.file()), ..settings }).await;
    assert_eq!(again.get(&own).await.2, lost.2);
    let replayed = again.call(SECRET, Some("key"), "POST", &own, "evidence[uncategorized_text]=losing_evidence").await;
    assert_eq!((replayed.0, &replayed.2), (200, &lost.2));
    assert_eq!(again.stripe.dispute(&intent), None);
    assert!(again.stripe.close_dispute(&other, true).is_some());
    assert_eq!(again.stripe.take_webhooks().len(), waiting + 2);
    let statuses: Vec<_> = again.stripe.books().disputes.iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [DisputeStatus::Lost, DisputeStatus::Won]);
}
