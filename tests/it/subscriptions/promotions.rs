//! Promotions: who gets them, who does not and why, and that no race gives away more than there is.

use super::{active, ask, plan, start, yearly};
use domain::access::Role;
use domain::ids::UserId;
use serde_json::{Value, json};
use tests::{TestApp, User, id};

fn offer(changes: &Value) -> Value {
    let mut offer = json!({
        "name": { "ru": "Весна", "en": "Spring" }, "gift": { "percent": 5000 }, "audience": "everyone",
        "from": "2027-02-01T00:00:00Z", "until": "2027-04-01T00:00:00Z",
    });
    for (name, value) in changes.as_object().into_iter().flatten() {
        offer[name] = value.clone();
    }
    offer
}

pub async fn promote(app: &TestApp, changes: &Value) -> Value {
    app.post(&app.admin, "/marketing/promotions", &offer(changes)).await.expect(201)
}

fn marketer() -> User {
    User::new(UserId(0x4a), vec![Role::Marketing])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marketing_makes_changes_and_stops_them() {
    let app = start().await;
    let (staff, path) = (marketer(), "/marketing/promotions");
    let wanted = offer(&json!({ "code": "spring-27", "redemptions_max": 5 }));
    app.post(&app.buyer(), path, &wanted).await.problem(403, "forbidden");
    app.post(&staff, "/admin/plans", &super::terms(&Value::Null)).await.problem(403, "forbidden");
    let made = app.post_with_key(&staff, path, "k", &wanted).await.expect(201);
    assert_eq!((&made["code"], &made["counted"]), (&json!("SPRING27"), &json!({ "redemptions": 0, "reserved": 0 })));
    assert_eq!(app.post_with_key(&staff, path, "k", &wanted).await.expect(201), made);
    app.post_with_key(&staff, path, "k", &offer(&Value::Null)).await.problem(409, "idempotency_key_reused");
    app.post(&staff, path, &wanted).await.problem(409, "code_taken");
    for (changes, pointer) in [
        (json!({ "code": "abc" }), "/code"),
        (json!({ "gift": { "percent": 10_001 } }), "/gift/percent"),
        (json!({ "gift": { "percent": 0 } }), "/gift/percent"),
        (json!({ "until": "2027-01-01T00:00:00Z" }), "/until"),
        (json!({ "plans": ["pln_00000000000000000000000000"] }), "/plans/0"),
        (json!({ "budget": { "amount": 0, "currency": "EUR" } }), "/budget/amount"),
        (json!({ "discount": 1 }), "/discount"),
    ] {
        let problem = app.post(&staff, path, &offer(&changes)).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{changes}");
    }
    let own = format!("{path}/{}", id(&made));
    let put = |body: Value| app.ask("PUT", &own).by(&staff).json(&body).send();
    put(offer(&json!({ "code": "other" }))).await.problem(422, "invalid");
    put(offer(&json!({ "code": "SPRING27", "budget": { "amount": 9, "currency": "EUR" } })))
        .await
        .problem(422, "invalid");
    let more = offer(&json!({ "code": "SPRING27", "redemptions_max": 9 }));
    for _ in 0..2 {
        let changed = put(more.clone()).await.expect(200);
        assert_eq!((&changed["version"], &changed["redemptions_max"]), (&json!(2), &json!(9)));
    }
    assert_eq!(app.post_with_key(&staff, path, "k", &wanted).await.expect(201)["version"], 2, "as it is now");
    for _ in 0..2 {
        let stopped = app.post(&staff, &format!("{own}/stop"), &Value::Null).await.expect(200);
        assert_eq!((&stopped["version"], &stopped["stopped"]), (&json!(3), &json!(true)));
    }
    let listed = app.get(&staff, path).await.expect(200);
    assert_eq!(listed, json!([app.get(&staff, &own).await.expect(200)]));
    app.get(&staff, &format!("{path}/prm_00000000000000000000000000")).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_of_a_code_says_why() {
    let app = start().await;
    let (plan, other) = (plan(&app, &Value::Null).await, plan(&app, &yearly()).await);
    let roubles = json!({ "amount": { "amount": 100, "currency": "RUB" } });
    for (code, changes) in [
        ("PAST", json!({ "until": "2027-03-01T12:00:00Z" })),
        ("FUTURE", json!({ "from": "2027-03-02T00:00:00Z" })),
        ("LAPSED", json!({ "audience": "lapsed" })),
        ("FRIENDS", json!({ "audience": { "segment": "friends" } })),
        ("ROUBLES", json!({ "gift": roubles })),
        ("OTHER", json!({ "plans": [other] })),
        ("POOR", json!({ "budget": { "amount": 499, "currency": "EUR" } })),
        ("ALONE", json!({})),
        ("WITH", json!({ "stackable": true })),
    ] {
        let mut changes = changes;
        changes["code"] = code.into();
        promote(&app, &changes).await;
    }
    let buyer = app.buyer();
    for (codes, refusal, pointer) in [
        (json!(["past"]), "promotion_expired", "/codes/0"),
        (json!(["WITH", "future"]), "promotion_not_yet", "/codes/1"),
        (json!(["LAPSED"]), "promotion_not_for_you", "/codes/0"),
        (json!(["FRIENDS"]), "promotion_not_for_you", "/codes/0"),
        (json!(["ROUBLES"]), "promotion_other_currency", "/codes/0"),
        (json!(["OTHER"]), "promotion_other_plan", "/codes/0"),
        (json!(["POOR"]), "promotion_exhausted", "/codes/0"),
        (json!(["ALONE", "WITH"]), "promotion_not_stackable", "/codes"),
        (json!(["WITH", "WITH"]), "promotion_not_stackable", "/codes"),
    ] {
        let wanted = ask(&plan, &json!({ "codes": codes }));
        let problem = app.post(&buyer, "/subscriptions", &wanted).await.problem(409, refusal);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let segments = format!("/marketing/users/{}/segments", buyer.id);
    app.ask("PUT", &segments).by(&buyer).json(&json!({ "segments": [] })).send().await.problem(403, "forbidden");
    let friends = json!({ "segments": ["friends"] });
    app.ask("PUT", &segments).by(&marketer()).json(&friends).send().await.expect(200);
    let begun = app.post(&buyer, "/subscriptions", &ask(&plan, &json!({ "code": "FRIENDS" }))).await.expect(201);
    assert_eq!((&begun["promotions"][0]["payments_left"], &begun["promotions"][1]), (&json!(1), &Value::Null));
    // Once a person: it counts until it ends unpaid.
    app.ask("DELETE", &format!("/subscriptions/{}", id(&begun))).by(&buyer).send().await.expect(200);
    app.post(&buyer, "/subscriptions", &ask(&plan, &json!({ "code": "FRIENDS" }))).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_used_a_code_does_not_use_it_again() {
    let app = start().await;
    let (plan, buyer) = (plan(&app, &Value::Null).await, app.buyer());
    let made = promote(&app, &json!({ "code": "ONCE" })).await;
    let offer = promote(&app, &json!({ "audience": "new", "gift": { "percent": 1000 } })).await;
    let begun = app.post(&buyer, "/subscriptions", &ask(&plan, &json!({ "code": "ONCE" }))).await.expect(201);
    assert_eq!(begun["promotions"].as_array().map(Vec::len), Some(1), "no offer beside a code that stands alone");
    app.ask("DELETE", &format!("/subscriptions/{}", id(&begun))).by(&buyer).send().await.expect(200);
    let figures = |of: &Value| format!("/marketing/promotions/{}", id(of));
    let counted = app.get(&app.admin, &figures(&made)).await.expect(200)["counted"].clone();
    assert_eq!(counted, json!({ "redemptions": 0, "reserved": 0 }), "it was never paid");

    let own = active(&app, &buyer, &plan).await;
    let counted = app.get(&app.admin, &figures(&offer)).await.expect(200)["counted"].clone();
    assert_eq!(counted, json!({ "redemptions": 1, "reserved": 100 }), "an offer needs no code");
    let charges = app.get(&buyer, &format!("/subscriptions/{own}/charges")).await.expect(200);
    assert_eq!(
        (&charges["items"][0]["amount"]["amount"], &charges["items"][0]["promotions"][0]["amount"]["amount"]),
        (&json!(900), &json!(100))
    );
    app.ask("DELETE", &format!("/subscriptions/{own}?at=now")).by(&buyer).send().await.expect(200);
    let again = app.post(&buyer, "/subscriptions", &ask(&plan, &Value::Null)).await.expect(201);
    assert_eq!(again["promotions"], json!([]), "they are not new any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_gives_away_more_than_there_is() {
    let app = start().await;
    let plan = plan(&app, &Value::Null).await;
    let limits = [
        json!({ "code": "FIRST3", "redemptions_max": 3 }),
        json!({ "code": "BUDGET3", "budget": { "amount": 1500, "currency": "EUR" } }),
    ];
    for limit in limits {
        let made = promote(&app, &limit).await;
        let wanted = ask(&plan, &json!({ "code": limit["code"] }));
        let buyers: Vec<_> = (0..9).map(|_| app.buyer()).collect();
        let all = futures_util::future::join_all(buyers.iter().map(|buyer| app.post(buyer, "/subscriptions", &wanted)));
        let all = all.await;
        let given = all.iter().filter(|reply| reply.status == 201).count();
        assert_eq!(given, 3, "{limit}");
        all.into_iter()
            .filter(|reply| reply.status != 201)
            .for_each(|reply| drop(reply.problem(409, "promotion_exhausted")));
        let counted =
            app.get(&app.admin, &format!("/marketing/promotions/{}", id(&made))).await.expect(200)["counted"].clone();
        assert_eq!(counted, json!({ "redemptions": 3, "reserved": 1500 }), "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_costs_nothing_begins_at_once() {
    let app = start().await;
    let (term, monthly, buyer) = (plan(&app, &yearly()).await, plan(&app, &Value::Null).await, app.buyer());
    promote(&app, &json!({ "code": "FREE", "gift": { "percent": 10_000 } })).await;
    let begun = app.post(&buyer, "/subscriptions", &ask(&term, &json!({ "code": "FREE" }))).await.expect(201);
    assert_eq!((&begun["status"], &begun["payment"]), (&json!("active"), &Value::Null));
    assert_eq!(begun["ends_at"], "2028-03-01T12:00:00Z");
    // What renews wants a method, though its first month costs nothing.
    let begun = app.post(&app.buyer(), "/subscriptions", &ask(&monthly, &json!({ "code": "FREE" }))).await.expect(201);
    assert_eq!((&begun["status"], begun["payment"]["setup_id"].is_string()), (&json!("pending"), true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_are_not_to_be_guessed() {
    let app = start().await;
    let (plan, buyer) = (plan(&app, &Value::Null).await, app.buyer());
    promote(&app, &json!({ "code": "REAL" })).await;
    let wanted = |code: &str| ask(&plan, &json!({ "code": code }));
    let guess = wanted("GUESS");
    for status in [[422; 5], [422; 5], [429; 5]].concat() {
        assert_eq!(app.post(&buyer, "/subscriptions", &guess).await.status, status);
    }
    // Many at once get no more answers than one after the other; a count whose answer was lost may be counted twice.
    let hasty = app.buyer();
    let all = futures_util::future::join_all((0..14).map(|_| app.post(&hasty, "/subscriptions", &guess))).await;
    let answered = all.iter().filter(|reply| reply.status == 422).count();
    assert!((1..=10).contains(&answered), "{answered} guesses were answered");
    assert!(all.iter().all(|reply| matches!(reply.status, 422 | 429)));
    let refused = app.post(&buyer, "/subscriptions", &wanted("REAL")).await;
    assert_eq!(refused.header("retry-after"), "3600");
    refused.problem(429, "too_many_codes");
    app.post(&app.buyer(), "/subscriptions", &wanted("REAL")).await.expect(201);
    app.advance(3600);
    app.post(&buyer, "/subscriptions", &wanted("REAL")).await.expect(201);
}
