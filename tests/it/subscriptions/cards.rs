//! What a person has once, their card has once.

use super::promotions::promote;
use super::whole::{paid, pass, shown, taken};
use super::{ask, confirm, plan, subscribe};
use serde_json::{Value, json};
use tests::{TestApp, User, id};

const DAY_SECONDS: i64 = 86_400;
const MONTH_SECONDS: i64 = 31 * DAY_SECONDS;

/// Subscribes with a code and confirms with a card; the subscription's id.
async fn with_code(app: &TestApp, buyer: &User, plan: &str, code: &str, card: &str) -> String {
    let begun = app.post(buyer, "/subscriptions", &ask(plan, &json!({ "code": code }))).await.expect(201);
    confirm(app, &begun["payment"], card).await;
    app.settled().await;
    id(&begun).to_owned()
}

async fn told(app: &TestApp, buyer: &User, sub: &str) -> Vec<String> {
    let lines = app.get(buyer, &format!("/subscriptions/{sub}/history?limit=100")).await.expect(200);
    let lines = lines["items"].as_array().expect("a list").iter().rev();
    lines.map(|line| line["what"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_with_the_same_card_has_no_trial() {
    let app = TestApp::start().await;
    let plan = plan(&app, &json!({ "trial_days": 14 })).await;
    let (first, second, third) = (app.buyer(), app.buyer(), app.buyer());
    let sub = paid(&app, &first, &plan, "pm_card_visa").await;
    let now = shown(&app, &first, &sub).await;
    assert_eq!((&now["status"], &now["trial_refused"]), (&json!("trialing"), &Value::Null));

    let begun = app.post_with_key(&second, "/subscriptions", "k", &ask(&plan, &Value::Null)).await.expect(201);
    confirm(&app, &begun["payment"], "pm_card_visa").await;
    app.settled().await;
    let path = format!("/subscriptions/{}", id(&begun));
    let now = app.get(&second, &path).await.expect(200);
    assert_eq!(
        (&now["status"], &now["perks_hold"], &now["trial_refused"]),
        (&json!("pending"), &json!(false), &json!("trial_used"))
    );
    assert_eq!((&now["open_charge"]["kind"], &now["payment_method"]["last4"]), (&json!("first"), &json!("4242")));
    assert_eq!(told(&app, &second, id(&begun)).await, ["subscribed", "trial_refused", "charge_due"]);
    assert_eq!(taken(&app), [0; 0], "nobody agreed to pay now");
    // Whoever wants it without a trial pays; the request that began it says how, too.
    let payment = app.post(&second, &format!("{path}/payment"), &Value::Null).await.expect(201);
    let again = app.post_with_key(&second, "/subscriptions", "k", &ask(&plan, &Value::Null)).await.expect(201);
    assert_eq!(again["payment"], payment);
    confirm(&app, &payment, "pm_card_visa").await;
    app.settled().await;
    assert_eq!((&app.get(&second, &path).await.expect(200)["status"], taken(&app)), (&json!("active"), vec![1000]));

    let sub = paid(&app, &third, &plan, "pm_card_mastercard").await;
    assert_eq!(shown(&app, &third, &sub).await["status"], "trialing", "another card");
    // Whoever leaves it has paid nothing, and may begin again with another card.
    let fourth = app.buyer();
    let sub = paid(&app, &fourth, &plan, "pm_card_visa").await;
    let gone = app.ask("DELETE", &format!("/subscriptions/{sub}")).by(&fourth).send().await.expect(200);
    assert_eq!(gone["status"], "ended");
    let sub = paid(&app, &fourth, &plan, "pm_sandbox_expires_2031_04").await;
    assert_eq!(shown(&app, &fourth, &sub).await["status"], "trialing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_accounts_at_once_one_has_the_cards_trial() {
    let app = TestApp::start().await;
    let plan = plan(&app, &json!({ "trial_days": 14 })).await;
    app.running.pause("Payments").expect("there is such a queue");
    let mut begun = Vec::new();
    for _ in 0..6 {
        let buyer = app.buyer();
        let subscribed = subscribe(&app, &buyer, &plan).await;
        confirm(&app, &subscribed["payment"], "pm_card_visa").await;
        begun.push((buyer, id(&subscribed).to_owned()));
    }
    app.running.resume("Payments").expect("there is such a queue");
    app.settled().await;
    let mut statuses = Vec::new();
    for (buyer, sub) in &begun {
        statuses.push(shown(&app, buyer, sub).await["status"].as_str().expect("a text").to_owned());
    }
    statuses.sort();
    assert_eq!(statuses, ["pending", "pending", "pending", "pending", "pending", "trialing"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_that_is_once_a_person_is_once_a_card() {
    let app = TestApp::start().await;
    let plan = plan(&app, &Value::Null).await;
    let half = promote(&app, &json!({ "code": "HALF", "gift": { "percent": 5000 }, "periods": 3, "budget": { "amount": 9000, "currency": "EUR" } })).await;
    promote(&app, &json!({ "code": "FREE", "gift": { "free_months": 2 }, "until": "2027-06-01T00:00:00Z" })).await;
    let figures = format!("/marketing/promotions/{}", id(&half));
    let counted = || async { app.get(&app.admin, &figures).await.expect(200)["counted"].clone() };
    let (first, second, third) = (app.buyer(), app.buyer(), app.buyer());
    let kept = with_code(&app, &first, &plan, "HALF", "pm_card_visa").await;
    assert_eq!(counted().await, json!({ "redemptions": 1, "reserved": 1500 }));
    // The payment was made before anybody knew the card: it stands, and those to come are not lowered.
    let lost = with_code(&app, &second, &plan, "HALF", "pm_card_visa").await;
    assert_eq!(shown(&app, &second, &lost).await["promotions"], json!([]));
    assert!(told(&app, &second, &lost).await.contains(&"promotion_refused".to_owned()));
    assert_eq!(
        counted().await,
        json!({ "redemptions": 2, "reserved": 2000 }),
        "what is not used of the budget is back"
    );
    assert_eq!(shown(&app, &first, &kept).await["promotions"][0]["payments_left"], 2);
    assert_eq!(taken(&app), [500, 500]);
    pass(&app, MONTH_SECONDS).await;
    let mut sums = taken(&app);
    sums.sort();
    assert_eq!(sums, [500, 500, 500, 1000]);

    // Nothing was given yet where a method is saved before anything is free.
    let free = with_code(&app, &third, &plan, "FREE", "pm_card_visa").await;
    assert_eq!(shown(&app, &third, &free).await["status"], "active");
    let fourth = app.buyer();
    let due = with_code(&app, &fourth, &plan, "FREE", "pm_card_visa").await;
    let now = shown(&app, &fourth, &due).await;
    assert_eq!(
        (&now["status"], &now["promotions"], &now["open_charge"]["kind"]),
        (&json!("pending"), &json!([]), &json!("first"))
    );
    let fifth = app.buyer();
    let free = with_code(&app, &fifth, &plan, "FREE", "pm_card_mastercard").await;
    assert_eq!(shown(&app, &fifth, &free).await["status"], "active");
}
