//! A subscriber's whole way, with nothing but what a subscriber has: the API, the provider's page, and time.

use super::{confirm, plan, subscribe};
use serde_json::{Value, json};
use tests::{TestApp, User, id};

const MONTH_SECONDS: i64 = 31 * 86_400;
const DAY_SECONDS: i64 = 86_400;

pub async fn shown(app: &TestApp, buyer: &User, id: &str) -> Value {
    app.get(buyer, &format!("/subscriptions/{id}")).await.expect(200)
}

/// What the provider has taken, in minor units, for each payment that it took.
pub fn taken(app: &TestApp) -> Vec<i64> {
    let intents = app.running.payments.stripe.books().intents.into_iter();
    intents.map(|intent| intent.amount_received).filter(|amount| *amount > 0).collect()
}

/// Time passes, and the scheduler fires.
pub async fn pass(app: &TestApp, seconds: i64) {
    app.advance(seconds);
    for _ in 0..3 {
        app.running.run_schedule("renew").await.expect("it runs");
        app.settled().await;
    }
}

/// Subscribes and pays; the subscription's id.
pub async fn paid(app: &TestApp, buyer: &User, plan: &str, card: &str) -> String {
    let begun = subscribe(app, buyer, plan).await;
    confirm(app, &begun["payment"], card).await;
    app.settled().await;
    id(&begun).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_is_paid_then_the_next_until_it_is_cancelled() {
    let app = TestApp::start().await;
    let (buyer, plan) = (app.buyer(), plan(&app, &Value::Null).await);
    let sub = paid(&app, &buyer, &plan, "pm_card_visa").await;
    let now = shown(&app, &buyer, &sub).await;
    assert_eq!((&now["status"], &now["perks_hold"]), (&json!("active"), &json!(true)), "{now:#}");
    assert_eq!(now["payment_method"]["last4"], "4242");
    assert_eq!(taken(&app), [1000]);
    pass(&app, MONTH_SECONDS).await;
    assert_eq!(taken(&app), [1000, 1000], "once, however often the scheduler fires");
    let cancelled = app.ask("DELETE", &format!("/subscriptions/{sub}")).by(&buyer).send().await.expect(200);
    assert_eq!((&cancelled["status"], &cancelled["cancel_at_end"]), (&json!("active"), &json!(true)));
    pass(&app, MONTH_SECONDS).await;
    let ended = shown(&app, &buyer, &sub).await;
    assert_eq!((&ended["status"], &ended["perks_hold"]), (&json!("ended"), &json!(false)));
    assert_eq!(taken(&app).len(), 2);
    let charges = app.get(&buyer, &format!("/subscriptions/{sub}/charges")).await.expect(200);
    assert_eq!(charges["items"].as_array().map(Vec::len), Some(2), "{charges:#}");
    assert!(subscribe(&app, &buyer, &plan).await["id"].is_string(), "one may begin again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_again_how_to_pay_is_told_that_it_is_paid() {
    let app = TestApp::start().await;
    let (buyer, plan) = (app.buyer(), plan(&app, &Value::Null).await);
    let begun = subscribe(&app, &buyer, &plan).await;
    let path = format!("/subscriptions/{}/payment", id(&begun));
    let asked = app.post_with_key(&buyer, &path, "key", &Value::Null).await.expect(201);
    confirm(&app, &asked, "pm_card_visa").await;
    app.settled().await;
    let again = app.post_with_key(&buyer, &path, "key", &Value::Null).await.expect(201);
    assert_eq!((&again["payment_id"], &again["status"]), (&asked["payment_id"], &json!("captured")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_costs_nothing_until_it_is_over() {
    let app = TestApp::start().await;
    let (buyer, plan) = (app.buyer(), plan(&app, &json!({ "trial_days": 14 })).await);
    let sub = paid(&app, &buyer, &plan, "pm_card_visa").await;
    assert_eq!(shown(&app, &buyer, &sub).await["status"], "trialing");
    assert_eq!(taken(&app), [0; 0]);
    pass(&app, 14 * DAY_SECONDS + 60).await;
    assert_eq!(shown(&app, &buyer, &sub).await["status"], "active");
    assert_eq!(taken(&app), [1000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_has_no_money_is_replaced_by_one_that_has() {
    let app = TestApp::start().await;
    let (buyer, plan) = (app.buyer(), plan(&app, &json!({ "trial_days": 1 })).await);
    let sub = paid(&app, &buyer, &plan, "pm_sandbox_saved_insufficient_funds").await;
    pass(&app, DAY_SECONDS + 60).await;
    let now = shown(&app, &buyer, &sub).await;
    assert_eq!((&now["status"], &now["perks_hold"]), (&json!("past_due"), &json!(true)), "{now:#}");
    let setup = app.ask("PUT", &format!("/subscriptions/{sub}/payment-method")).by(&buyer).send().await.expect(200);
    confirm(&app, &setup, "pm_card_mastercard").await;
    app.settled().await;
    pass(&app, 60).await;
    let now = shown(&app, &buyer, &sub).await;
    assert_eq!((&now["status"], &now["payment_method"]["last4"]), (&json!("active"), &json!("4444")), "{now:#}");
    assert_eq!(taken(&app), [1000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_pays_loses_the_perks_and_comes_back_by_one_click() {
    let app = TestApp::start().await;
    let (buyer, plan) = (app.buyer(), plan(&app, &json!({ "trial_days": 1, "grace_days": 10 })).await);
    let sub = paid(&app, &buyer, &plan, "pm_sandbox_saved_insufficient_funds").await;
    for _ in 0..13 {
        pass(&app, DAY_SECONDS).await;
    }
    let now = shown(&app, &buyer, &sub).await;
    assert_eq!((&now["status"], &now["perks_hold"]), (&json!("lapsed"), &json!(false)), "{now:#}");
    assert_eq!(taken(&app), [0; 0]);
    let setup = app.ask("PUT", &format!("/subscriptions/{sub}/payment-method")).by(&buyer).send().await.expect(200);
    confirm(&app, &setup, "pm_card_visa").await;
    app.settled().await;
    app.post(&buyer, &format!("/subscriptions/{sub}/return"), &json!({})).await.expect(200);
    app.settled().await;
    let now = shown(&app, &buyer, &sub).await;
    assert_eq!((&now["status"], taken(&app)), (&json!("active"), vec![1000]), "{now:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cancels_at_once_gets_back_what_was_not_used() {
    let app = TestApp::start().await;
    let (buyer, plan) = (app.buyer(), plan(&app, &json!({ "cancel_refund": "pro_rata" })).await);
    let sub = paid(&app, &buyer, &plan, "pm_card_visa").await;
    pass(&app, 10 * DAY_SECONDS).await;
    let quote = app.get(&buyer, &format!("/subscriptions/{sub}/cancellation-quote")).await.expect(200);
    app.ask("DELETE", &format!("/subscriptions/{sub}?at=now")).by(&buyer).send().await.expect(200);
    app.settled().await;
    assert_eq!(shown(&app, &buyer, &sub).await["status"], "ended");
    let refunded: i64 = app.running.payments.stripe.books().refunds.iter().map(|refund| refund.amount).sum();
    assert!((600..=700).contains(&refunded), "21 of 31 days of 1000: {refunded}");
    assert_eq!(quote["refund"]["amount"], refunded, "{quote:#}");
}
