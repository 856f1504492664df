//! Somebody's subscriptions as staff see them, and what of their charges staff see to.

use super::whole::{paid, pass};
use super::{CONSENT, plan};
use domain::access::Role;
use domain::ids::UserId;
use serde_json::{Value, json};
use tests::{TestApp, User};

const DAY_SECONDS: i64 = 86_400;

pub fn finance() -> User {
    User::new(UserId(0xf1), vec![Role::Finance])
}

fn support() -> User {
    User::new(UserId(0x5a), vec![Role::Support])
}

/// The charges of somebody's subscription, as staff see them.
pub async fn charges_of(app: &TestApp, staff: &User, buyer: &User, sub: &str) -> Value {
    app.get(staff, &format!("/admin/users/{}/subscriptions/{sub}/charges", buyer.id)).await.expect(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_see_what_the_subscriber_sees_and_more() {
    let app = TestApp::start().await;
    let (buyer, plan) = (app.buyer(), plan(&app, &Value::Null).await);
    let sub = paid(&app, &buyer, &plan, "pm_card_visa").await;
    let theirs = format!("/admin/users/{}/subscriptions", buyer.id);
    let paths = [theirs.clone(), format!("{theirs}/{sub}/history"), format!("{theirs}/{sub}/charges")];
    let marketer = User::new(UserId(0x4a), vec![Role::Marketing]);
    for path in &paths {
        for stranger in [&buyer, &app.gate, &marketer] {
            app.get(stranger, path).await.problem(403, "forbidden");
        }
        app.look(path).await.problem(401, "token_missing");
    }
    let own = [
        ("/subscriptions".to_owned()),
        format!("/subscriptions/{sub}/history"),
        format!("/subscriptions/{sub}/charges"),
    ];
    for (own, path) in own.iter().zip(&paths) {
        let mut seen = app.get(&buyer, own).await.expect(200);
        assert_eq!(app.get(&support(), path).await.expect(200), seen, "{path}");
        if path.ends_with("charges") {
            let payment = app.running.payments.stripe.books().intents[0].id.clone();
            seen["items"][0]["payment_id"] = payment.into();
        }
        for staff in [&finance(), &app.admin] {
            assert_eq!(app.get(staff, path).await.expect(200), seen, "{path}");
        }
    }
    // Another's, nobody's, and pages.
    let other = app.buyer();
    for what in ["history", "charges"] {
        let path = format!("/admin/users/{}/subscriptions/{sub}/{what}", other.id);
        app.get(&support(), &path).await.problem(404, "not_found");
        app.get(&support(), &format!("{theirs}/{sub}/{what}?cursor=x")).await.problem(422, "invalid");
    }
    assert_eq!(
        app.get(&support(), &format!("/admin/users/{}/subscriptions", other.id)).await.expect(200)["items"],
        json!([])
    );
    let page = app.get(&support(), &format!("{theirs}/{sub}/history?limit=1")).await.expect(200);
    let cursor = page["next_cursor"].as_str().expect("there is more");
    let next = app.get(&support(), &format!("{theirs}/{sub}/history?limit=1&cursor={cursor}")).await.expect(200);
    assert_ne!(next["items"], page["items"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_banks_reason_is_for_staff() {
    let app = TestApp::start().await;
    let (buyer, plan) = (app.buyer(), plan(&app, &json!({ "trial_days": 1 })).await);
    let sub = paid(&app, &buyer, &plan, "pm_sandbox_saved_stolen_card").await;
    pass(&app, DAY_SECONDS + 60).await;
    let path = format!("/subscriptions/{sub}");
    for what in ["history", "charges"] {
        let told = app.get(&buyer, &format!("{path}/{what}")).await.expect(200).to_string();
        assert!(told.contains("generic_decline") && !told.contains("stolen_card"), "{told}");
        let told = app.get(&support(), &format!("/admin/users/{}{path}/{what}", buyer.id)).await.expect(200);
        assert!(told.to_string().contains("stolen_card"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_failed_is_asked_for_anew() {
    let app = TestApp::start().await;
    let stripe = app.running.payments.stripe.clone();
    let (buyer, plan) = (app.buyer(), plan(&app, &json!({ "cancel_refund": "pro_rata" })).await);
    let sub = paid(&app, &buyer, &plan, "pm_card_refundFail").await;
    app.ask("DELETE", &format!("/subscriptions/{sub}?at=now")).by(&buyer).send().await.expect(200);
    app.settled().await;
    let refund = || async { charges_of(&app, &app.admin, &buyer, &sub).await["items"][0]["refunds"][0].clone() };
    let done = refund().await;
    assert_eq!(done["status"], "done", "the provider took it on");
    let retry = |charge: &str, refund: &Value| {
        let refund = refund["id"].as_str().expect("an id").to_owned();
        format!("/admin/users/{}/subscriptions/{sub}/charges/{charge}/refunds/{refund}/retry", buyer.id)
    };
    let (first, path) = (done["provider_id"].clone(), retry(&format!("{sub}:1"), &done));
    app.post(&app.admin, &path, &Value::Null).await.problem(409, "refund_not_failed");
    // Days later it fails there, and is asked for under another name, once.
    for _ in 0..40 {
        pass(&app, DAY_SECONDS).await;
        if refund().await["status"] == "failed" {
            break;
        }
    }
    assert_eq!(refund().await["status"], "failed");
    for stranger in [&buyer, &finance(), &support()] {
        app.post(stranger, &path, &Value::Null).await.problem(403, "forbidden");
    }
    for wrong in [
        retry(&format!("{sub}:2"), &done),
        retry(&format!("{sub}:1"), &json!({ "id": "ref_00000000000000000000000000" })),
    ] {
        app.post(&app.admin, &wrong, &Value::Null).await.problem(404, "not_found");
    }
    let asked = app.post(&app.admin, &path, &Value::Null).await.expect(200);
    assert_eq!((&asked["status"], &asked["id"]), (&json!("requested"), &done["id"]));
    app.post(&app.admin, &path, &Value::Null).await.problem(409, "refund_not_failed");
    app.settled().await;
    let again = refund().await;
    assert_eq!(again["status"], "done");
    assert_ne!(again["provider_id"], first, "the provider made another one");
    assert_eq!(stripe.books().refunds.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_was_refused_keeps_its_name() {
    let app = TestApp::start().await;
    let stripe = app.running.payments.stripe.clone();
    let (buyer, plan) = (app.buyer(), plan(&app, &json!({ "cancel_refund": "pro_rata" })).await);
    let sub = paid(&app, &buyer, &plan, "pm_card_visa").await;
    // Somebody has given the money back at the provider's own page.
    let payment = stripe.books().intents[0].id.clone();
    let url = format!("{}/v1/refunds", app.running.payments.url);
    let key = app.running.secrets.stripe_secret.clone();
    let by_hand = app.http().post(url).bearer_auth(key).form(&[("payment_intent", payment.as_str())]).send().await;
    assert!(by_hand.expect("the sandbox answers").status().is_success());
    app.ask("DELETE", &format!("/subscriptions/{sub}?at=now")).by(&buyer).send().await.expect(200);
    app.settled().await;
    let charges = charges_of(&app, &app.admin, &buyer, &sub).await;
    let refused = charges["items"][0]["refunds"][0].clone();
    assert_eq!((&refused["status"], &refused["provider_id"]), (&json!("failed"), &Value::Null));
    let world = app.app("settle");
    let kept = || async {
        let charge = format!("{sub}:1").parse().expect("a charge");
        let charge = world.subscriptions.charge(charge).await.expect("the table answers").expect("it is there");
        charge.refunds[0].provider_key()
    };
    let name = kept().await;
    let refund = refused["id"].as_str().expect("an id");
    let path = format!("/admin/users/{}/subscriptions/{sub}/charges/{sub}:1/refunds/{refund}/retry", buyer.id);
    for _ in 0..2 {
        app.post(&app.admin, &path, &Value::Null).await.expect(200);
        app.settled().await;
        assert_eq!(kept().await, name, "none was made under it");
    }
    assert_eq!(stripe.books().refunds.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_consent_is_kept() {
    let app = TestApp::start().await;
    let (buyer, cheap) = (app.buyer(), plan(&app, &Value::Null).await);
    let dear = plan(&app, &json!({ "price": { "amount": 2000, "currency": "EUR" } })).await;
    let least = plan(&app, &json!({ "price": { "amount": 500, "currency": "EUR" } })).await;
    let sub = paid(&app, &buyer, &cheap, "pm_card_visa").await;
    for (plan, text) in
        [(&dear, "20.00 EUR each month"), (&least, "5.00 EUR next month"), (&dear, "20.00 EUR after all")]
    {
        app.advance(3600);
        let ask = json!({ "plan_id": plan, "consent_text": text });
        app.ask("PUT", &format!("/subscriptions/{sub}/plan")).by(&buyer).json(&ask).send().await.expect(200);
        app.settled().await;
    }
    let lines = app.get(&buyer, &format!("/subscriptions/{sub}/history?limit=100")).await.expect(200);
    let lines: Vec<_> = lines["items"].as_array().expect("a list").iter().rev().cloned().collect();
    let agreed: Vec<_> = lines.iter().filter(|line| line["consent"].is_object()).collect();
    let texts: Vec<_> = agreed.iter().map(|line| line["consent"]["text"].as_str().expect("a text")).collect();
    assert_eq!(texts, [CONSENT, "20.00 EUR each month", "5.00 EUR next month", "20.00 EUR after all"]);
    assert!(agreed.iter().all(|line| line["consent"]["at"] == line["at"]), "{agreed:#?}");
    assert_eq!(agreed[3]["plan"]["id"], dear.as_str());
}
