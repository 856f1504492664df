//! Subscriptions from their plans to their end, as far as they go without the provider's news: what comes of a payment is
//! put here by the same rules that `settle` asks. `whole` hears the news.

mod cards;
mod disputes;
mod promotions;
mod staff;
mod whole;

use domain::ids::SubscriptionId;
use domain::payments::Purpose;
use domain::subscriptions::dunning::Decline;
use domain::subscriptions::{ChargeState, Method, State, Subscription};
use platform::App;
use serde_json::{Value, json};
use tests::{TestApp, User, id};

const CONSENT: &str = "10.00 EUR each month from today until I cancel.";
const DAY_SECONDS: i64 = 86_400;

/// A box office whose provider's news nobody hears.
async fn start() -> TestApp {
    let app = TestApp::start().await;
    app.running.pause("Payments").expect("there is such a queue");
    app
}

/// What a plan is made of; members of `changes` replace those of the same name.
fn terms(changes: &Value) -> Value {
    let name = json!({ "ru": "Друг театра", "en": "Friend" });
    let perks = json!([{ "kind": "presale", "hours": 48 }]);
    let mut terms =
        json!({ "name": name, "price": { "amount": 1000, "currency": "EUR" }, "billing": "monthly", "perks": perks });
    for (name, value) in changes.as_object().into_iter().flatten() {
        terms[name] = value.clone();
    }
    terms
}

fn yearly() -> Value {
    json!({ "price": { "amount": 10_000, "currency": "EUR" }, "billing": { "once": { "months": 12 } } })
}

/// A new plan; its id.
async fn plan(app: &TestApp, changes: &Value) -> String {
    let made = app.post(&app.admin, "/admin/plans", &terms(changes)).await.expect(201);
    id(&made).to_owned()
}

/// What subscribes to a plan; members of `changes` replace those of the same name.
fn ask(plan: &str, changes: &Value) -> Value {
    let mut ask = json!({ "plan_id": plan, "time_zone": "Europe/Berlin", "consent_text": CONSENT });
    for (name, value) in changes.as_object().into_iter().flatten() {
        ask[name] = value.clone();
    }
    ask
}

async fn subscribe(app: &TestApp, buyer: &User, plan: &str) -> Value {
    app.post(buyer, "/subscriptions", &ask(plan, &Value::Null)).await.expect(201)
}

async fn kept(world: &App, buyer: &User, id: &str) -> Subscription {
    let id: SubscriptionId = id.parse().expect("it is an id");
    world.subscriptions.get(buyer.id, id).await.expect("the table answers").expect("it is there")
}

/// Confirms a payment or a setup as a browser does.
async fn confirm(app: &TestApp, payment: &Value, card: &str) {
    let (kind, id) = match payment["payment_id"].as_str() {
        Some(id) => ("payment_intents", id),
        None => ("setup_intents", payment["setup_id"].as_str().expect("one of the two")),
    };
    let text = |name: &str| payment[name].as_str().expect("it is a text");
    let url = format!("{}/v1/{kind}/{id}/confirm", text("api_base"));
    let form = [("client_secret", text("client_secret")), ("payment_method", card)];
    let asked = app.http().post(url).basic_auth(text("publishable_key"), Some("")).form(&form);
    assert!(asked.send().await.expect("the sandbox answers").status().is_success());
}

/// Subscribes, pays, and writes what the rules make of it; the subscription's id.
async fn active(app: &TestApp, buyer: &User, plan: &str) -> String {
    let begun = subscribe(app, buyer, plan).await;
    confirm(app, &begun["payment"], "pm_card_visa").await;
    let (world, now) = (app.app("subscribe"), app.running.now());
    let before = kept(&world, buyer, id(&begun)).await;
    let owed = before.owed.as_ref().expect("it waits for its payment").charge;
    let charge = world.subscriptions.charge(owed).await.expect("the table answers").expect("it is there");
    let payment = world.gateway.fetch(charge.intent.as_deref().expect("it is saved")).await.expect("it answers");
    let method = payment.expect("it is there").method.expect("it was paid with one");
    let saved = world.gateway.method(&method).await.expect("it answers").expect("it is there");
    let method = saved.customer.clone().map(|customer| Method {
        customer,
        id: saved.id,
        brand: saved.brand,
        last4: saved.last4,
        exp_year: saved.exp_year,
        exp_month: saved.exp_month,
        fingerprint: None,
    });
    let write = before.charge_paid(&charge, method, now).expect("it is paid");
    world.subscriptions.save(Some(&before), &write, &world.ledger).await.expect("it is written");
    id(&begun).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_offered_changed_and_withdrawn() {
    let app = start().await;
    let buyer = app.buyer();
    app.post(&buyer, "/admin/plans", &terms(&Value::Null)).await.problem(403, "forbidden");
    let made = app.post_with_key(&app.admin, "/admin/plans", "k", &terms(&Value::Null)).await.expect(201);
    let again = app.post_with_key(&app.admin, "/admin/plans", "k", &terms(&Value::Null)).await.expect(201);
    assert_eq!((&again, &made["status"], &made["version"]), (&made, &json!("offered"), &json!(1)));
    app.post_with_key(&app.admin, "/admin/plans", "k", &terms(&yearly())).await.problem(409, "idempotency_key_reused");
    for (changes, pointer) in [
        (json!({ "price": { "amount": 1, "currency": "EUR" } }), "/price/amount"),
        (json!({ "price": { "amount": 900, "currency": "KWD" } }), "/price/currency"),
        (json!({ "price": { "amount": 900, "currency": "XXX" } }), "/price/currency"),
        (json!({ "price": { "amount": 900, "currency": "XAU" } }), "/price/currency"),
        (json!({ "name": { "ru": "", "en": "Friend" } }), "/name/ru"),
        (json!({ "billing": "weekly" }), "/billing"),
        (json!({ "billing": { "once": { "months": 37 } } }), "/billing/once/months"),
        (json!({ "perks": [{ "kind": "presale", "hours": 0 }] }), "/perks/0/hours"),
        (json!({ "retry_days": [3, 1] }), "/retry_days/1"),
    ] {
        let problem = app.post(&app.admin, "/admin/plans", &terms(&changes)).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{changes}");
    }
    let reply = app.look("/plans").await;
    assert_eq!(reply.header("cache-control"), "public, max-age=30");
    assert_eq!(reply.expect(200), json!([made.clone()]));
    let path = format!("/plans/{}", id(&made));
    let etag = app.look(&path).await.header("etag").to_owned();
    assert_eq!(app.ask("GET", &path).header("if-none-match", &etag).send().await.status, 304);

    let dearer = terms(&json!({ "price": { "amount": 1200, "currency": "EUR" } }));
    let own = format!("/admin{path}");
    let put = |user: &User, body: &Value| app.ask("PUT", &own).by(user).json(body).send();
    put(&buyer, &dearer).await.problem(403, "forbidden");
    for _ in 0..2 {
        assert_eq!(put(&app.admin, &dearer).await.expect(200)["version"], 2, "the same again is no change");
    }
    for _ in 0..2 {
        let gone = app.post(&app.admin, &format!("{own}/withdraw"), &Value::Null).await.expect(200);
        assert_eq!((&gone["status"], &gone["version"]), (&json!("withdrawn"), &json!(3)));
    }
    assert_eq!(app.look("/plans").await.expect(200), json!([]));
    assert_eq!(app.look(&path).await.expect(200)["status"], "withdrawn");
    app.look("/plans/pln_00000000000000000000000000").await.problem(404, "not_found");
    app.post(&buyer, "/subscriptions", &ask(id(&made), &Value::Null)).await.problem(409, "plan_withdrawn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_subscribes_has_one_subscription_and_one_payment() {
    let app = start().await;
    let (plan, buyer) = (plan(&app, &Value::Null).await, app.buyer());
    let path = "/subscriptions";
    let wanted = ask(&plan, &json!({ "currency": "EUR" }));
    let begun = app.post_with_key(&buyer, path, "k", &wanted).await.expect(201);
    assert_eq!((&begun["status"], &begun["perks_hold"]), (&json!("pending"), &json!(false)));
    assert_eq!((&begun["price"]["amount"], &begun["payment"]["status"]), (&json!(1000), &json!("waiting")));
    let payment = begun["payment"]["payment_id"].as_str().expect("a payment");
    let pay_url = begun["payment"]["pay_url"].as_str().expect("the sandbox has a page");
    assert!(pay_url.contains(payment), "{pay_url}");

    assert_eq!(app.post_with_key(&buyer, path, "k", &wanted).await.expect(201), begun, "the same request");
    let at_once = futures_util::future::join_all((0..6).map(|_| app.post_with_key(&buyer, path, "k", &wanted)));
    assert!(at_once.await.into_iter().all(|reply| reply.expect(201) == begun));
    app.post_with_key(&buyer, path, "k", &ask(&plan, &Value::Null)).await.problem(409, "idempotency_key_reused");
    app.post(&buyer, path, &wanted).await.problem(409, "subscribed_already");

    let own = format!("{path}/{}", id(&begun));
    assert_eq!(app.post(&buyer, &format!("{own}/payment"), &Value::Null).await.expect(201), begun["payment"]);
    let world = app.app("subscribe");
    let stored = kept(&world, &buyer, id(&begun)).await;
    assert_eq!((stored.consent.text.as_str(), stored.consent.at), (CONSENT, app.running.now()));
    let charge = stored.owed.expect("it waits for its payment").charge;
    let charge = world.subscriptions.charge(charge).await.expect("the table answers").expect("it is there");
    assert_eq!(charge.intent.as_deref(), Some(payment), "it was saved before it was given out");
    let there = world.gateway.fetch(payment).await.expect("it answers").expect("it is there");
    let (user, subscription) = (buyer.id, id(&begun).to_owned());
    assert_eq!(there.purpose, Purpose::Subscription { user, subscription, period: "1".into() });
    let intents = app.running.payments.stripe.books().intents;
    assert_eq!(intents.len(), 1, "one payment: {intents:?}");
    let listed = app.get(&buyer, path).await.expect(200);
    assert_eq!((&listed["items"][0]["id"], &listed["items"].as_array().map(Vec::len)), (&begun["id"], &Some(1)));

    // Given up before it is paid, it is over at once, and there is room for another.
    let gone = app.ask("DELETE", &own).by(&buyer).send().await.expect(200);
    assert_eq!((&gone["status"], &gone["open_charge"]), (&json!("ended"), &Value::Null));
    assert_eq!(app.ask("DELETE", &own).by(&buyer).send().await.expect(200), gone);
    let charge = world.subscriptions.charge(charge.id).await.expect("the table answers").expect("it is there");
    assert_eq!(charge.state, ChargeState::Cancelled);
    app.post(&buyer, &format!("{own}/payment"), &Value::Null).await.problem(409, "nothing_to_pay");
    let replayed = app.post_with_key(&buyer, path, "k", &wanted).await.expect(201);
    assert_eq!((&replayed["status"], &replayed["payment"]), (&json!("ended"), &Value::Null));
    subscribe(&app, &buyer, &plan).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_requests_at_once_one_subscribes() {
    let app = start().await;
    let (plan, buyer) = (plan(&app, &Value::Null).await, app.buyer());
    let wanted = ask(&plan, &Value::Null);
    let at_once = futures_util::future::join_all((0..6).map(|_| app.post(&buyer, "/subscriptions", &wanted))).await;
    let mut statuses: Vec<_> = at_once.iter().map(|reply| reply.status).collect();
    statuses.sort();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
    let refused = at_once.into_iter().filter(|reply| reply.status == 409);
    refused.for_each(|reply| drop(reply.problem(409, "subscribed_already")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_say_what_is_bad() {
    let app = start().await;
    let (plan, buyer) = (plan(&app, &Value::Null).await, app.buyer());
    let long = "x".repeat(2001);
    for (changes, status, code, pointer) in [
        (json!({ "plan_id": "pln_00000000000000000000000000" }), 422, "invalid", "/plan_id"),
        (json!({ "plan_id": "x" }), 422, "invalid", "/plan_id"),
        (json!({ "currency": "USD" }), 422, "other_currency", ""),
        (json!({ "currency": "EURO" }), 422, "invalid", "/currency"),
        (json!({ "time_zone": "Mars/Base" }), 422, "invalid", "/time_zone"),
        (json!({ "consent_text": " " }), 422, "invalid", "/consent_text"),
        (json!({ "consent_text": long }), 422, "invalid", "/consent_text"),
        (json!({ "code": "NOSUCHCODE" }), 422, "promotion_unknown", "/code"),
        (json!({ "codes": ["A", "B", "C", "D", "E"] }), 422, "invalid", "/codes"),
        (json!({ "price": 1 }), 422, "invalid", "/price"),
    ] {
        let problem = app.post(&buyer, "/subscriptions", &ask(&plan, &changes)).await.problem(status, code);
        assert_eq!(problem["errors"][0]["pointer"].as_str().unwrap_or(""), pointer, "{changes}: {problem}");
    }
    let keyless = app.ask("POST", "/subscriptions").by(&buyer).json(&ask(&plan, &Value::Null)).send().await;
    keyless.problem(400, "idempotency_key_missing");
    assert_eq!(app.get(&buyer, "/subscriptions").await.expect(200)["items"], json!([]));

    let theirs = format!("/subscriptions/{}", id(&subscribe(&app, &buyer, &plan).await));
    let (other, change) = (app.buyer(), json!({ "plan_id": plan, "consent_text": CONSENT }));
    for (method, path, body) in [
        ("GET", "", Value::Null),
        ("DELETE", "", Value::Null),
        ("GET", "/history", Value::Null),
        ("GET", "/charges", Value::Null),
        ("GET", "/cancellation-quote", Value::Null),
        ("POST", "/resume", Value::Null),
        ("POST", "/return", Value::Null),
        ("POST", "/retry", Value::Null),
        ("POST", "/payment", Value::Null),
        ("PUT", "/payment-method", Value::Null),
        ("PUT", "/plan", change),
    ] {
        let asked = app.ask(method, &format!("{theirs}{path}")).by(&other).key(&tests::http::new_key()).json(&body);
        asked.send().await.problem(404, "not_found");
        app.ask(method, &format!("{theirs}{path}")).key("k").json(&body).send().await.problem(401, "token_missing");
    }
    for path in ["/resume", "/return"] {
        app.post(&buyer, &format!("{theirs}{path}"), &Value::Null).await.problem(409, "subscription_pending");
    }
    app.ask("DELETE", &format!("{theirs}?at=soon")).by(&buyer).send().await.problem(400, "invalid_query");
    app.get(&buyer, &format!("{theirs}/history?cursor=x")).await.problem(422, "invalid");
    app.get(&buyer, &format!("{theirs}/charges?cursor=x")).await.problem(422, "invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_begins_with_a_saved_method() {
    let app = start().await;
    let (plan, buyer) = (plan(&app, &json!({ "trial_days": 14 })).await, app.buyer());
    let begun = subscribe(&app, &buyer, &plan).await;
    let setup = begun["payment"].clone();
    assert_eq!((&setup["payment_id"], &setup["status"]), (&Value::Null, &json!("waiting")));
    let own = format!("/subscriptions/{}", id(&begun));
    assert_eq!(app.post(&buyer, &format!("{own}/payment"), &Value::Null).await.expect(201), setup);
    confirm(&app, &setup, "pm_card_visa").await;
    let saved = app.post(&buyer, &format!("{own}/payment"), &Value::Null).await.expect(201);
    assert_eq!((&saved["setup_id"], &saved["status"]), (&setup["setup_id"], &json!("succeeded")));
    let quote = app.get(&buyer, &format!("{own}/cancellation-quote")).await.expect(200);
    assert_eq!(quote["refund"]["amount"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_on_a_plan_keeps_its_terms() {
    let app = start().await;
    let (plan_id, buyer) = (plan(&app, &Value::Null).await, app.buyer());
    let own = format!("/subscriptions/{}", active(&app, &buyer, &plan_id).await);
    let before = app.get(&buyer, &own).await.expect(200);
    assert_eq!((&before["status"], &before["perks_hold"]), (&json!("active"), &json!(true)));
    assert_eq!(before["next_charge"]["at"], "2027-04-01T11:00:00Z", "the same local time after the change of clocks");
    let card = &before["payment_method"];
    assert_eq!((&card["brand"], &card["last4"]), (&json!("visa"), &json!("4242")));

    let dearer = terms(&json!({ "price": { "amount": 9900, "currency": "EUR" }, "perks": [] }));
    app.ask("PUT", &format!("/admin/plans/{plan_id}")).by(&app.admin).json(&dearer).send().await.expect(200);
    assert_eq!(app.get(&buyer, &own).await.expect(200), before);
    app.post(&app.admin, &format!("/admin/plans/{plan_id}/withdraw"), &Value::Null).await.expect(200);
    assert_eq!(app.get(&buyer, &own).await.expect(200), before);
    let same = json!({ "plan_id": plan_id, "consent_text": CONSENT });
    let kept = app.ask("PUT", &format!("{own}/plan")).by(&buyer).json(&same).send().await.expect(200);
    assert_eq!(kept, before, "the plan that it has");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_changed_at_once_or_with_the_next_period() {
    let app = start().await;
    let (first, buyer) = (plan(&app, &Value::Null).await, app.buyer());
    let price = |amount: i64| json!({ "price": { "amount": amount, "currency": "EUR" } });
    let (dearer, cheaper) = (plan(&app, &price(3000)).await, plan(&app, &price(500)).await);
    let (term, roubles) = (plan(&app, &yearly()).await, json!({ "price": { "amount": 90_000, "currency": "RUB" } }));
    let (roubles, gone) = (plan(&app, &roubles).await, plan(&app, &price(4000)).await);
    app.post(&app.admin, &format!("/admin/plans/{gone}/withdraw"), &Value::Null).await.expect(200);
    let own = format!("/subscriptions/{}", active(&app, &buyer, &first).await);
    let change = |plan: &str, consent: &str| {
        let body = json!({ "plan_id": plan, "consent_text": consent });
        app.ask("PUT", &format!("{own}/plan")).by(&buyer).json(&body).send()
    };
    change(&gone, CONSENT).await.problem(409, "plan_withdrawn");
    change(&term, CONSENT).await.problem(409, "other_billing");
    change(&roubles, CONSENT).await.problem(422, "other_currency");
    change("pln_00000000000000000000000000", CONSENT).await.problem(422, "invalid");

    for _ in 0..2 {
        let later = change(&cheaper, CONSENT).await.expect(200);
        assert_eq!(
            (&later["change"]["at_once"], &later["next_charge"]["amount"]["amount"]),
            (&json!(false), &json!(500))
        );
        assert_eq!(later["price"]["amount"], 1000);
    }
    assert_eq!(change(&first, CONSENT).await.expect(200)["change"], Value::Null, "taken back");

    app.advance(10 * DAY_SECONDS);
    let now = change(&dearer, "30.00 EUR").await.expect(200);
    assert_eq!((&now["change"]["at_once"], &now["open_charge"]["kind"]), (&json!(true), &json!("proration")));
    assert_eq!(change(&dearer, "30.00 EUR").await.expect(200), now, "asked for twice, charged once");
    change(&cheaper, CONSENT).await.problem(409, "subscription_busy");
    let payment = app.post(&buyer, &format!("{own}/payment"), &Value::Null).await.expect(201);
    assert_eq!(payment["charge_id"], now["open_charge"]["charge_id"]);
    let method = payment["payment_method_id"].as_str().expect("the saved one");
    confirm(&app, &payment, method).await;
    let paid = app.post(&buyer, &format!("{own}/payment"), &Value::Null).await.expect(201);
    assert_eq!((&paid["payment_id"], &paid["status"]), (&payment["payment_id"], &json!("captured")));
    let charges = app.get(&buyer, &format!("{own}/charges?limit=1")).await.expect(200);
    let amount = charges["items"][0]["amount"]["amount"].as_i64().expect("a number");
    assert!((1..2000).contains(&amount), "{charges}");
    let cursor = charges["next_cursor"].as_str().expect("there is one more");
    let rest = app.get(&buyer, &format!("{own}/charges?cursor={cursor}")).await.expect(200);
    assert_eq!((&rest["items"][0]["kind"], &rest["next_cursor"]), (&json!("first"), &Value::Null));
    assert_eq!(rest["items"][0]["attempts"][0]["succeeded"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_cancelled_at_the_end_resumed_and_cancelled_at_once() {
    let app = start().await;
    let (plan, buyer) = (plan(&app, &json!({ "law": "ru_consumer" })).await, app.buyer());
    let own = format!("/subscriptions/{}", active(&app, &buyer, &plan).await);
    for _ in 0..2 {
        let ends = app.ask("DELETE", &own).by(&buyer).send().await.expect(200);
        assert_eq!((&ends["status"], &ends["cancel_at_end"]), (&json!("active"), &json!(true)));
        assert_eq!((&ends["next_charge"], &ends["ends_at"]), (&Value::Null, &ends["period"]["to"]));
    }
    for _ in 0..2 {
        let resumed = app.post(&buyer, &format!("{own}/resume"), &Value::Null).await.expect(200);
        assert_eq!((&resumed["cancel_at_end"], &resumed["ends_at"]), (&json!(false), &Value::Null));
    }
    let new = app.ask("PUT", &format!("{own}/payment-method")).by(&buyer).send().await.expect(200);
    let same = app.ask("PUT", &format!("{own}/payment-method")).by(&buyer).send().await.expect(200);
    assert_eq!((&new, new["setup_id"].is_string()), (&same, true));

    app.advance(15 * DAY_SECONDS);
    let quote = app.get(&buyer, &format!("{own}/cancellation-quote")).await.expect(200);
    assert_eq!(quote["rule"], "ru_zpp_32");
    let refund = quote["refund"]["amount"].as_i64().expect("a number");
    assert!((400..600).contains(&refund), "half of the month: {quote}");
    let over = app.ask("DELETE", &format!("{own}?at=now")).by(&buyer).send().await.expect(200);
    assert_eq!((&over["status"], &over["perks_hold"]), (&json!("ended"), &json!(false)));
    assert_eq!(app.ask("DELETE", &format!("{own}?at=now")).by(&buyer).send().await.expect(200), over);
    let charges = app.get(&buyer, &format!("{own}/charges")).await.expect(200);
    let given = &charges["items"][0]["refunds"];
    assert_eq!(
        (&given[0]["amount"]["amount"], &given[1], &given[0]["status"]),
        (&json!(refund), &Value::Null, &json!("requested"))
    );
    for path in ["resume", "return"] {
        app.post(&buyer, &format!("{own}/{path}"), &Value::Null).await.problem(409, "subscription_over");
    }
    app.get(&buyer, &format!("{own}/cancellation-quote")).await.problem(409, "subscription_over");
    app.ask("PUT", &format!("{own}/payment-method")).by(&buyer).send().await.problem(409, "subscription_over");

    let (mut told, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&buyer, &format!("{own}/history?limit=3{cursor}")).await.expect(200);
        told.extend(page["items"].as_array().expect("a list").iter().map(|line| line["what"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    told.reverse();
    let expected = ["subscribed", "charge_due", "paid", "cancel_asked", "resumed", "refund_decided", "ended"];
    assert_eq!(told, expected.map(Value::from));
}

/// Does what is due of a subscription, as `renew` will, until it is in this state.
async fn fall_due(app: &TestApp, buyer: &User, id: &str, until: State) {
    let (world, now) = (app.app("subscribe"), app.running.now());
    for _ in 0..4 {
        let before = kept(&world, buyer, id).await;
        if before.state == until && before.owed.as_ref().is_none_or(|owed| owed.asked_at.is_none()) {
            return;
        }
        let charge = match &before.owed {
            Some(owed) => world.subscriptions.charge(owed.charge).await.expect("the table answers"),
            None => None,
        };
        let declined = Decline { decline_code: Some("stolen_card".into()), ..Decline::default() };
        let write = match (&charge, before.agenda()) {
            (Some(charge), Some((at, _))) if at > now => before.charge_declined(charge, "ch_1", &declined, now),
            _ => before.advance(charge.as_ref(), now),
        };
        let write = write.expect("it may").expect("something is due");
        world.subscriptions.save(Some(&before), &write, &world.ledger).await.expect("it is written");
    }
    panic!("{id} does not become {until:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_past_due_is_tried_confirmed_or_comes_back() {
    let app = start().await;
    let (plan, buyer) = (plan(&app, &Value::Null).await, app.buyer());
    let sub = active(&app, &buyer, &plan).await;
    let own = format!("/subscriptions/{sub}");
    app.post(&buyer, &format!("{own}/retry"), &Value::Null).await.problem(409, "nothing_to_pay");
    app.advance(31 * DAY_SECONDS);
    fall_due(&app, &buyer, &sub, State::PastDue).await;
    let due = app.get(&buyer, &own).await.expect(200);
    assert_eq!(
        (&due["status"], &due["perks_hold"], &due["next_charge"]),
        (&json!("past_due"), &json!(true), &Value::Null)
    );
    assert_eq!((&due["open_charge"]["kind"], &due["grace_until"]), (&json!("renewal"), &due["open_charge"]["until"]));
    let charges = app.get(&buyer, &format!("{own}/charges")).await.expect(200);
    let tried = &charges["items"][0]["attempts"][0];
    assert_eq!(
        (&tried["succeeded"], &tried["reason"]),
        (&json!(false), &json!("generic_decline")),
        "nobody is told all"
    );
    let told = app.get(&buyer, &format!("{own}/history")).await.expect(200).to_string();
    assert!(told.contains("generic_decline") && !told.contains("stolen_card"), "{told}");

    // Where the link to confirm leads: the one payment of the charge, and the method that is saved.
    let payment = app.post(&buyer, &format!("{own}/payment"), &Value::Null).await.expect(201);
    let again = app.post(&buyer, &format!("{own}/payment"), &Value::Null).await.expect(201);
    assert_eq!((&payment, payment["payment_method_id"].is_string()), (&again, true));
    app.ask("DELETE", &own).by(&buyer).send().await.problem(409, "past_due");
    let tried = app.post(&buyer, &format!("{own}/retry"), &Value::Null).await.expect(200);
    assert_eq!(app.post(&buyer, &format!("{own}/retry"), &Value::Null).await.expect(200), tried, "it is being tried");
    app.post(&buyer, &format!("{own}/return"), &Value::Null).await.problem(409, "past_due");

    app.advance(11 * DAY_SECONDS);
    assert_eq!(app.get(&buyer, &own).await.expect(200)["perks_hold"], false, "whoever has looked at it or not");
    fall_due(&app, &buyer, &sub, State::Lapsed).await;
    let change = json!({ "plan_id": plan, "consent_text": CONSENT });
    let changed = app.ask("PUT", &format!("{own}/plan")).by(&buyer).json(&change).send().await;
    changed.problem(409, "subscription_over");
    let back = app.post(&buyer, &format!("{own}/return"), &Value::Null).await.expect(200);
    assert_eq!((&back["status"], &back["open_charge"]["kind"]), (&json!("lapsed"), &json!("first")));
    assert_eq!(app.post(&buyer, &format!("{own}/return"), &Value::Null).await.expect(200), back, "charged once");
    app.post(&buyer, "/subscriptions", &ask(&plan, &Value::Null)).await.problem(409, "subscribed_already");
    app.ask("DELETE", &own).by(&buyer).send().await.problem(409, "subscription_busy");
}
