//! Disputes of charges: the payer's bank takes the money back, and weeks later says who keeps it.

use super::plan;
use super::staff::{charges_of, finance};
use super::whole::{paid, pass, shown, taken};
use domain::ledger::{Account, ChargeEntry};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::books::scan;
use tests::{TestApp, User};

/// What the sandbox takes for a dispute, as Stripe does.
const FEE: i64 = 1_500;
const DAY_SECONDS: i64 = 86_400;
const MONTH_SECONDS: i64 = 31 * DAY_SECONDS;

/// The journal, which balances, has each event once, and is what the provider says.
async fn journal(app: &TestApp) -> Vec<ChargeEntry> {
    let items = scan(&app.dynamodb(), "Ledger").await.into_iter();
    let entries: Vec<ChargeEntry> = items.map(|item| serde_dynamo::from_item(item).expect("of a charge")).collect();
    assert!(entries.iter().all(|entry| entry.balances() == Ok(true)));
    assert_eq!(entries.iter().map(ChargeEntry::key).collect::<BTreeSet<_>>().len(), entries.len());
    let moved = app.running.payments.stripe.books().movements.into_iter();
    let moved =
        moved.map(|movement| movement.amount - if movement.kind.starts_with("dispute") { movement.fee } else { 0 });
    assert_eq!(sum(&entries, Account::Provider), moved.sum::<i64>(), "the journal is what the provider says");
    entries
}

fn sum(entries: &[ChargeEntry], account: Account) -> i64 {
    entries.iter().map(|entry| entry.of(account)).sum()
}

/// The provider's id of the latest payment.
async fn payment(app: &TestApp, buyer: &User, sub: &str) -> String {
    let charges = charges_of(app, &finance(), buyer, sub).await;
    charges["items"][0]["payment_id"].as_str().expect("it was paid").to_owned()
}

/// What history tells of disputes, the latest first.
async fn told(app: &TestApp, buyer: &User, sub: &str) -> Vec<Value> {
    let lines = app.get(buyer, &format!("/subscriptions/{sub}/history?limit=100")).await.expect(200);
    let lines = lines["items"].as_array().expect("a list").iter();
    lines.filter(|line| line["what"] == "disputed").map(|line| line["state"].clone()).collect()
}

/// The night's comparison: what it found, what is being healed, and what it looks at again.
async fn reconcile(app: &TestApp) -> (usize, usize, usize) {
    app.advance(DAY_SECONDS);
    app.running.run_schedule("reconcile").await.expect("it runs");
    app.settled().await;
    let reports = app.app("reconcile").desk.reports(None, 1).await.expect("it answers").0;
    let report = reports.into_iter().next().expect("it reports");
    (report.findings_total, report.healing, report.awaiting.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_dispute_ends_the_subscription() {
    let app = TestApp::start().await;
    let stripe = app.running.payments.stripe.clone();
    let (buyer, plan) = (app.buyer(), plan(&app, &json!({ "cancel_refund": "pro_rata" })).await);
    let sub = paid(&app, &buyer, &plan, "pm_card_visa").await;
    let first = payment(&app, &buyer, &sub).await;
    pass(&app, MONTH_SECONDS).await;
    assert_eq!(taken(&app), [1000, 1000]);
    let disputed = stripe.dispute(&first).expect("there is something to dispute");
    app.settled().await;
    let open = shown(&app, &buyer, &sub).await;
    assert_eq!((&open["status"], &open["perks_hold"]), (&json!("active"), &json!(true)), "{open:#}");
    let charges = app.get(&buyer, &format!("/subscriptions/{sub}/charges")).await.expect(200);
    let expected = json!([{ "status": "open", "amount": { "amount": 1000, "currency": "EUR" } }]);
    assert_eq!((&charges["items"][1]["disputes"], &charges["items"][0]["disputes"]), (&expected, &Value::Null));
    let charges = charges_of(&app, &finance(), &buyer, &sub).await;
    assert_eq!(charges["items"][1]["disputes"][0]["provider_id"], disputed.as_str());
    let entries = journal(&app).await;
    assert_eq!((sum(&entries, Account::Disputes), sum(&entries, Account::Fees)), (1000, FEE));
    assert_eq!(reconcile(&app).await, (0, 0, 1), "it is looked at until it is decided");

    stripe.close_dispute(&first, false).expect("it is open");
    app.settled().await;
    let lost = shown(&app, &buyer, &sub).await;
    assert_eq!((&lost["status"], &lost["perks_hold"]), (&json!("ended"), &json!(false)), "{lost:#}");
    assert_eq!(told(&app, &buyer, &sub).await, ["lost", "open"]);
    // The month that nobody disputed: what is not used of it goes back by the plan, as if it were cancelled.
    let back: i64 = stripe.books().refunds.iter().map(|refund| refund.amount).sum();
    assert!((900..1000).contains(&back), "{back}");
    let entries = journal(&app).await;
    let [disputes, deferred, revenue] =
        [Account::Disputes, Account::Deferred, Account::Revenue].map(|of| sum(&entries, of));
    assert_eq!((disputes, deferred, revenue), (0, 0, back - 1000), "what was earned of the first month is none");
    pass(&app, MONTH_SECONDS).await;
    assert_eq!(taken(&app).len(), 2, "nobody is charged any more");
    assert_eq!(reconcile(&app).await, (0, 0, 0));

    // The bank gives back what it had decided to keep: that is booked, and a person sees what is owed for it.
    stripe.reverse_dispute(&first).expect("it was lost");
    app.settled().await;
    assert_eq!(
        (&shown(&app, &buyer, &sub).await["status"], told(&app, &buyer, &sub).await[0].as_str()),
        (&json!("ended"), Some("won"))
    );
    let entries = journal(&app).await;
    assert_eq!((sum(&entries, Account::Disputes), sum(&entries, Account::Revenue)), (0, back - 2000));
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_won_dispute_is_reinstated_and_what_gave_way_goes_back() {
    let app = TestApp::start().await;
    let stripe = app.running.payments.stripe.clone();
    let (stays, leaves, plan) = (app.buyer(), app.buyer(), plan(&app, &json!({ "cancel_refund": "pro_rata" })).await);
    let subs = [paid(&app, &stays, &plan, "pm_card_visa").await, paid(&app, &leaves, &plan, "pm_card_visa").await];
    let payments = [payment(&app, &stays, &subs[0]).await, payment(&app, &leaves, &subs[1]).await];
    payments.iter().for_each(|payment| drop(stripe.dispute(payment).expect("there is something to dispute")));
    app.settled().await;
    pass(&app, 10 * DAY_SECONDS).await;
    // Whoever cancels meanwhile is promised what is left, and gets it if the bank gives it back.
    app.ask("DELETE", &format!("/subscriptions/{}?at=now", subs[1])).by(&leaves).send().await.expect(200);
    app.settled().await;
    let refund = || async { charges_of(&app, &app.admin, &leaves, &subs[1]).await["items"][0]["refunds"][0].clone() };
    let waiting = refund().await;
    assert_eq!((&waiting["status"], stripe.books().refunds.len()), (&json!("failed"), 0), "the bank has it");
    let retry = format!(
        "/admin/users/{}/subscriptions/{}/charges/{}:1/refunds/{}/retry",
        leaves.id,
        subs[1],
        subs[1],
        waiting["id"].as_str().expect("an id")
    );
    app.post(&app.admin, &retry, &Value::Null).await.problem(409, "charge_disputed");
    pass(&app, MONTH_SECONDS - 10 * DAY_SECONDS).await;
    assert_eq!(taken(&app).len(), 3, "it renews while its bank thinks");

    payments.iter().for_each(|payment| drop(stripe.close_dispute(payment, true).expect("it is open")));
    app.settled().await;
    assert_eq!(shown(&app, &stays, &subs[0]).await["status"], "active");
    assert_eq!(told(&app, &stays, &subs[0]).await, ["won", "open"]);
    let done = refund().await;
    assert_eq!((&done["status"], stripe.books().refunds.len()), (&json!("done"), 1));
    assert!(done["provider_id"].is_string(), "{done:#}");
    let entries = journal(&app).await;
    assert_eq!((sum(&entries, Account::Disputes), sum(&entries, Account::Fees)), (0, 2 * FEE));
    assert_eq!(reconcile(&app).await, (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_night_hears_of_a_dispute_that_nobody_told_of() {
    let app = TestApp::start().await;
    let stripe = app.running.payments.stripe.clone();
    let (buyer, plan) = (app.buyer(), plan(&app, &Value::Null).await);
    let sub = paid(&app, &buyer, &plan, "pm_card_visa").await;
    let paid_with = payment(&app, &buyer, &sub).await;
    stripe.set_webhook_url(None);
    stripe.dispute(&paid_with).expect("there is something to dispute");
    assert_eq!(reconcile(&app).await, (1, 1, 1));
    assert_eq!(told(&app, &buyer, &sub).await, ["open"]);
    assert_eq!(reconcile(&app).await, (0, 0, 1), "the entry is of another day than the movement");
    for _ in 0..3 {
        assert_eq!(reconcile(&app).await, (0, 0, 1), "no movement will tell how it ends");
    }
    stripe.close_dispute(&paid_with, false).expect("it is open");
    assert_eq!(reconcile(&app).await.1, 1);
    assert_eq!(shown(&app, &buyer, &sub).await["status"], "ended");
    assert_eq!(reconcile(&app).await, (0, 0, 0));
    journal(&app).await;
}
