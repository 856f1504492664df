//! What a simulation needs: one seed, its own clock, timers and webhooks in its own hands.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use sandbox::{Settings, Webhook};
use serde_json::Value;

use crate::harness::{Disk, drive, stopped_at};

const NOW_MS: i64 = 1_800_000_000_000;

/// A day at the provider: everything that makes an id. Gives all answers and all webhooks.
async fn day(settings: Settings) -> (Vec<String>, Vec<Webhook>) {
    let running = drive(settings).await;
    let mut answers = Vec::new();
    let customer = running.post("customers", "email=a@example.com").await.2;
    let owner = customer["id"].as_str().expect("an id").to_owned();
    answers.push(customer.to_string());
    for method in ["pm_card_visa", "pm_card_createDispute", "pm_card_chargeDeclined"] {
        let intent = running.intent(&format!("confirm=true&payment_method={method}&customer={owner}")).await;
        for (path, body) in [
            (format!("payment_intents/{intent}/capture"), String::new()),
            ("refunds".to_owned(), format!("payment_intent={intent}")),
        ] {
            let answer = running.post(&path, &body).await;
            answers.push(format!("{} {:?} {}", answer.0, answer.1["request-id"], answer.2));
        }
    }
    answers.push(running.get("setup_intents/seti_0").await.2.to_string());
    answers.push(running.post("setup_intents", &format!("customer={owner}")).await.2.to_string());
    answers.push(running.get("balance_transactions").await.2.to_string());
    (answers, running.stripe.take_webhooks())
}

#[tokio::test]
async fn one_seed_gives_one_day() {
    let settings = |seed| Settings { seed, ..stopped_at(NOW_MS).1 };
    let (first, second) = (day(settings(Some(7))).await, day(settings(Some(7))).await);
    assert_eq!(first, second);
    for other in [settings(Some(8)), settings(None)] {
        let other = day(other).await;
        assert_ne!(first, other);
        assert_eq!(types_of(&first.1), types_of(&other.1));
    }
}

fn types_of(webhooks: &[Webhook]) -> Vec<&str> {
    webhooks.iter().map(|webhook| webhook.kind.as_str()).collect()
}

#[tokio::test]
async fn a_seed_goes_on_where_the_database_ends() {
    let disk = Disk::new("seed");
    let settings = Settings { seed: Some(7), database: Some(disk.file()), ..stopped_at(NOW_MS).1 };
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let running = drive(settings.clone()).await;
        for _ in 0..3 {
            assert!(ids.insert(running.intent("").await), "no id comes twice");
        }
        running.stop.send(()).expect("still serving");
        running.server.await.expect("stops");
    }
    let running = drive(settings).await;
    assert_eq!(running.stripe.books().intents.len(), ids.len());
}

#[tokio::test]
async fn a_driver_takes_webhooks_in_order() {
    let (clock, settings) = stopped_at(NOW_MS);
    let running = drive(settings.clone()).await;
    let first = running.intent("confirm=true&payment_method=pm_card_visa").await;
    clock.fetch_sub(60_000, Ordering::SeqCst);
    running.post(&format!("payment_intents/{first}/capture"), "").await;
    assert_eq!(running.stripe.webhooks_pending(), 3);
    let taken = running.stripe.take_webhooks();
    let kinds = ["payment_intent.created", "payment_intent.amount_capturable_updated", "payment_intent.succeeded"];
    assert_eq!(types_of(&taken), kinds);
    for webhook in &taken {
        let event: Value = serde_json::from_str(&webhook.body).expect("JSON");
        assert_eq!(
            (&event["type"], &event["data"]["object"]["id"]),
            (&webhook.kind.clone().into(), &first.clone().into())
        );
        let seen = running.get(&format!("events/{}", event["id"].as_str().expect("an id"))).await.2;
        assert_eq!(seen["pending_webhooks"], 0, "it counts as delivered");
    }
    assert_eq!((running.stripe.webhooks_pending(), running.stripe.take_webhooks()), (0, vec![]));

    // Only what is asked for waits, and only where there is somewhere to send it.
    for settings in [
        Settings { webhook_url: None, ..settings.clone() },
        Settings { enabled_events: vec!["charge.dispute.created".to_owned()], ..settings },
    ] {
        let running = drive(settings).await;
        running.intent("").await;
        assert_eq!(running.stripe.take_webhooks(), []);
    }
}

#[tokio::test]
async fn a_driver_runs_timers_by_its_clock() {
    let (clock, settings) = stopped_at(NOW_MS);
    let running = drive(settings).await;
    let intent = running.intent("confirm=true&payment_method=pm_sandbox_delay_5").await;
    assert!(!running.stripe.run_timers());
    clock.fetch_add(4_999, Ordering::SeqCst);
    assert!(!running.stripe.run_timers());
    assert_eq!(running.status(&intent).await, "processing");
    clock.fetch_add(1, Ordering::SeqCst);
    assert!(running.stripe.run_timers());
    assert_eq!(running.status(&intent).await, "requires_capture");
    let told = running.stripe.take_webhooks();
    assert_eq!(types_of(&told).last(), Some(&"payment_intent.amount_capturable_updated"));
    assert!(!running.stripe.run_timers());
}
