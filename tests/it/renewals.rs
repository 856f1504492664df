//! Renewals: what `renew` asks for and `settle` charges, and the books of it.
//!
//! Subscriptions begin here as the subscriber's page makes them: by the rules, the table and the provider.

use domain::effects::SubscriptionNews;
use domain::ids::{PlanId, SubscriptionId, UserId};
use domain::ledger::{Account, ChargeEntry};
use domain::money::{Currency, Money};
use domain::subscriptions::plans::{Billing, CancelRefund, Names, Plan, Terms};
use domain::subscriptions::{
    Charge, ChargeRef, ChargeState, Consent, NewSubscription, State, Subscription, Write, dunning::Verdict,
};
use platform::App;
use platform::bus::QueueMessage;
use platform::payments::{NewPeriodPayment, NewSetup, Payer};
use sandbox::Status;
use std::collections::BTreeMap;
use tests::books::scan;
use tests::{Payment, TestApp};

const PRICE: i64 = 3_000;
const DAY: i64 = 24 * 3_600;
/// The months that begin with the clock's: March, April and May.
const MARCH: i64 = 31 * DAY;
const APRIL: i64 = 30 * DAY;

struct World {
    app: TestApp,
    settle: App,
}

fn terms() -> Terms {
    Terms {
        name: Names { ru: "Друг".into(), en: "Friend".into() },
        price: Money::new(PRICE, Currency::from_code("EUR").expect("a currency")),
        billing: Billing::Monthly,
        trial_days: 0,
        perks: Vec::new(),
        cancel_refund: CancelRefund::ProRata,
        law: None,
        grace_days: 10,
        notice_days: 3,
        retry_days: vec![1, 3, 5, 7],
    }
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let settle = app.app("settle");
        Self { app, settle }
    }

    async fn save(&self, before: Option<&Subscription>, write: &Write) {
        self.settle.subscriptions.save(before, write, &self.settle.ledger).await.expect("nobody else writes");
    }

    /// The provider's customer who is this subscriber, as it is kept.
    async fn customer(&self, of: &Subscription) -> String {
        let kept = self.now(of).await.method.map(|method| method.customer);
        self.settle.gateway.customer(of.user, kept.as_deref()).await.expect("a customer")
    }

    /// A new one that waits for its first payment, or for a method.
    async fn begin(&self, number: u128, terms: Terms) -> Subscription {
        let now = self.settle.now();
        let plan = Plan::offer(PlanId(1), terms, "r".into()).expect("right terms");
        let new = NewSubscription {
            id: SubscriptionId(number),
            user: UserId(number),
            request: "r".into(),
            plan: &plan,
            currency: None,
            zone: "Europe/Moscow".into(),
            consent: Consent { text: "I agree to pay each month".into(), at: now },
            promotions: Vec::new(),
            has_one: false,
            had_trial: false,
        };
        let write = Subscription::begin(new, now).expect("it is right");
        self.save(None, &write).await;
        write.subscription
    }

    /// One whose first payment was made with this card.
    async fn subscribe(&self, number: u128, card: &str) -> Subscription {
        let begun = self.begin(number, terms()).await;
        let charge = self.charge(&begun, 1).await;
        let (subscription, period) = (begun.id.to_string(), charge.payment_period());
        let customer = self.customer(&begun).await;
        let (user, amount, payer) = (begun.user, charge.amount, Payer::Saving(&customer));
        let new = NewPeriodPayment { user, subscription: &subscription, period: &period, amount, payer };
        let payment = self.settle.gateway.create_for_period(&new).await.expect("a payment");
        let next = charge.with_intent(payment.id.clone());
        self.settle.subscriptions.save_charge(&next, None, &self.settle.ledger).await.expect("nobody else writes");
        self.app.confirm(&Payment { id: payment.id, client_secret: payment.client_secret }, card).await.expect(200);
        self.app.settled().await;
        self.now(&begun).await
    }

    /// A method saved by itself.
    async fn save_method(&self, of: &Subscription, key: &str, card: &str) {
        let (subscription, customer) = (of.id.to_string(), self.customer(of).await);
        let new = NewSetup { user: of.user, subscription: &subscription, customer: &customer, key };
        let setup = self.settle.gateway.set_up(&new).await.expect("a setup");
        let url = format!("{}/v1/setup_intents/{}/confirm", self.app.running.payments.url, setup.id);
        let form = [("client_secret", setup.client_secret.as_str()), ("payment_method", card)];
        let key = &self.app.running.secrets.stripe_publishable_key;
        let asked = self.app.http().post(url).basic_auth(key, Some("")).form(&form);
        assert!(asked.send().await.expect("the sandbox answers").status().is_success());
        self.app.settled().await;
    }

    async fn now(&self, of: &Subscription) -> Subscription {
        self.settle.subscriptions.get(of.user, of.id).await.expect("it answers").expect("it is there")
    }

    async fn charge(&self, of: &Subscription, period: u32) -> Charge {
        let id = ChargeRef { subscription: of.id, period, change: 0 };
        self.settle.subscriptions.charge(id).await.expect("it answers").expect("it is there")
    }

    /// Moves the clock and fires the scheduler three times, with each message delivered twice.
    async fn renew_after(&self, seconds: i64) {
        self.app.advance(seconds);
        self.app.running.pause("Payments").expect("there is such a queue");
        let fire = || self.app.running.run_schedule("renew");
        let (one, two, three) = tokio::join!(fire(), fire(), fire());
        one.and(two).and(three).expect("it runs");
        self.app.settled().await;
        let queues = self.app.running.queues();
        let again = queues.bodies("Payments").expect("there is such a queue").into_iter();
        let again = again.map(|body| QueueMessage { body, delay_seconds: 0 }).collect();
        queues.send("Payments", again).expect("it takes them");
        self.app.running.resume("Payments").expect("there is such a queue");
        self.app.settled().await;
    }

    /// The card that the saved method stands for is another from now on.
    async fn reissue(&self, of: &Subscription, card: &str) {
        let method = self.now(of).await.method.expect("it is saved").id;
        assert!(self.app.running.payments.stripe.reissue(&method, card));
    }

    async fn entries(&self) -> Vec<ChargeEntry> {
        let items = scan(&self.app.dynamodb(), "Ledger").await.into_iter();
        items.map(|item| serde_dynamo::from_item(item).expect("it is an entry of a charge")).collect()
    }

    async fn sum(&self, account: Account) -> i64 {
        self.entries().await.iter().map(|entry| entry.of(account)).sum()
    }

    /// The journal balances and is what the provider says; one payment a period was taken.
    async fn check(&self) {
        let (entries, books) = (self.entries().await, self.app.running.payments.stripe.books());
        assert!(entries.iter().all(|entry| entry.balances() == Ok(true)));
        let refunds = books.refunds.iter().filter(|refund| refund.status != "failed").map(|refund| refund.amount);
        let taken: i64 = books.intents.iter().map(|intent| intent.amount_received).sum();
        let journal: i64 = entries.iter().map(|entry| entry.of(Account::Provider)).sum();
        assert_eq!(journal, taken - refunds.sum::<i64>(), "the journal is what the provider says");
        let mut paid: BTreeMap<String, usize> = BTreeMap::new();
        for intent in books.intents.iter().filter(|intent| intent.status == Status::Succeeded) {
            let data = |name: &str| intent.metadata.get(name).cloned().unwrap_or_default();
            *paid.entry(format!("{}:{}", data("subscription_id"), data("period"))).or_default() += 1;
        }
        assert!(paid.values().all(|times| *times == 1), "each period is paid once: {paid:?}");
    }
}

fn told(of: &Subscription) -> Vec<&'static str> {
    of.effects.iter().map(|effect| effect.what.kind()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_month_is_charged_once_whatever_fires_twice() {
    let world = World::new().await;
    let sub = world.subscribe(1, "pm_card_visa").await;
    assert_eq!((sub.state, sub.period.number), (State::Active, 1));
    let method = sub.method.clone().expect("the first payment saves it");
    assert_eq!((method.brand.as_str(), method.last4.as_str()), ("visa", "4242"));
    assert_eq!(world.sum(Account::Deferred).await, -PRICE);

    world.renew_after(MARCH - 4 * DAY).await;
    assert_eq!(world.now(&sub).await, sub, "nothing is due yet");
    world.renew_after(DAY).await;
    assert_eq!(told(&world.now(&sub).await), ["subscription.renewal_soon"]);
    world.renew_after(3 * DAY).await;
    let renewed = world.now(&sub).await;
    assert_eq!((renewed.state, renewed.period.number, renewed.owed.as_ref()), (State::Active, 2, None));
    assert_eq!(renewed.period.from, sub.period.to);
    let charge = world.charge(&sub, 2).await;
    assert_eq!((charge.state, charge.attempts.len()), (ChargeState::Succeeded, 1));
    assert_eq!(world.app.running.payments.stripe.books().movements.len(), 2);

    // A message that is a day late, when the provider has forgotten its keys.
    world.app.advance(DAY + 60);
    let news = SubscriptionNews::ChargeDue { charge: charge.id, nth: 1 };
    let effect = serde_json::json!({
        "id": "late", "aggregate": sub.id, "v": 1, "user": sub.user, "subscription": sub.id,
        "type": news.kind(), "charge": charge.id, "nth": 1,
    });
    let late = QueueMessage { body: effect.to_string(), delay_seconds: 0 };
    world.app.running.queues().send("Payments", vec![late]).expect("it takes it");
    world.app.settled().await;
    assert_eq!(world.charge(&sub, 2).await, charge);
    world.check().await;

    // March has passed: it is earned, and so is a day of April.
    world.renew_after(30 * DAY).await;
    assert_eq!(world.sum(Account::Provider).await, 3 * PRICE);
    assert_eq!(world.sum(Account::Revenue).await, -2 * PRICE);
    world.renew_after(0).await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_decline_is_tried_again_on_schedule_and_lapses() {
    let world = World::new().await;
    let sub = world.subscribe(1, "pm_card_visa").await;
    world.reissue(&sub, "pm_sandbox_saved_insufficient_funds").await;
    world.renew_after(MARCH - 3 * DAY).await;
    world.renew_after(3 * DAY).await;
    let mut tries = vec![world.charge(&sub, 2).await.attempts.len()];
    let due = world.now(&sub).await;
    assert_eq!((due.state, due.holds(world.settle.now())), (State::PastDue, true));
    for _ in 1..=10 {
        world.renew_after(DAY).await;
        tries.push(world.charge(&sub, 2).await.attempts.len());
    }
    // On days 0, 1, 3, 5 and 7.
    assert_eq!(tries, [1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5]);
    let lapsed = world.now(&sub).await;
    assert_eq!((lapsed.state, lapsed.holds(world.settle.now())), (State::Lapsed, false));
    let charge = world.charge(&sub, 2).await;
    assert_eq!(charge.state, ChargeState::Failed);
    let books = world.app.running.payments.stripe.books();
    let intent = books.intents.iter().find(|intent| Some(&intent.id) == charge.intent.as_ref()).expect("it was made");
    assert_eq!(intent.status, Status::Canceled, "nobody can pay it any more");

    // Coming back is one click, with what it costs then.
    world.reissue(&sub, "pm_card_visa").await;
    let back = lapsed.come_back(world.settle.now()).expect("it may");
    world.save(Some(&lapsed), &back).await;
    world.app.settled().await;
    let back = world.now(&sub).await;
    assert_eq!((back.state, back.period.number), (State::Active, 3));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_decline_waits_for_another_card() {
    let world = World::new().await;
    let sub = world.subscribe(1, "pm_card_visa").await;
    world.reissue(&sub, "pm_sandbox_saved_lost_card").await;
    world.renew_after(MARCH).await;
    world.renew_after(0).await;
    for _ in 0..8 {
        world.renew_after(DAY).await;
    }
    let charge = world.charge(&sub, 2).await;
    assert_eq!(charge.attempts.len(), 1, "never again with this card");
    let old = world.now(&sub).await.method.expect("it is saved").id;
    world.save_method(&sub, "again", "pm_card_mastercard").await;
    let paid = world.now(&sub).await;
    let method = paid.method.as_ref().expect("it is saved");
    assert_eq!((paid.state, paid.period.number, method.last4.as_str()), (State::Active, 2, "4444"));
    let forgotten = world.settle.gateway.method(&old).await.expect("it answers").expect("it is there");
    assert_eq!(forgotten.customer, None, "the provider keeps the old one no longer");
    assert_eq!(world.charge(&sub, 2).await.attempts.len(), 2);
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_to_confirm_is_asked_to_and_then_pays() {
    let world = World::new().await;
    let sub = world.subscribe(1, "pm_card_visa").await;
    world.reissue(&sub, "pm_card_authenticationRequired").await;
    world.renew_after(MARCH).await;
    world.renew_after(0).await;
    let due = world.now(&sub).await;
    assert_eq!((due.state, told(&due)), (State::PastDue, vec!["subscription.confirmation_needed"]));
    let charge = world.charge(&sub, 2).await;
    assert!(matches!(
        charge.attempts[..],
        [domain::subscriptions::Attempt {
            outcome: domain::subscriptions::Outcome::Declined { verdict: Verdict::Confirm, .. },
            ..
        }]
    ));
    world.renew_after(2 * DAY).await;
    assert_eq!(world.charge(&sub, 2).await.attempts.len(), 1, "it is not tried behind their back");
    // They follow the link: the page confirms the same payment, and their bank asks them.
    let intent = charge.intent.expect("it has one");
    let payment = world.settle.gateway.fetch(&intent).await.expect("it answers").expect("it is there");
    let page = Payment { id: intent.clone(), client_secret: payment.client_secret.clone() };
    let method = due.method.expect("it is saved").id;
    let waiting = world.app.confirm(&page, &method).await.expect(200);
    let url = waiting["next_action"]["redirect_to_url"]["url"].as_str().expect("a page").to_owned();
    let form = [("client_secret", payment.client_secret.as_str()), ("outcome", "complete")];
    world.app.http().post(url).form(&form).send().await.expect("the page answers");
    world.app.settled().await;
    let paid = world.now(&sub).await;
    assert_eq!((paid.state, paid.period.number), (State::Active, 2));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cancelled_is_charged_no_more_and_given_back_by_days() {
    let world = World::new().await;
    let (ends, stops) = (world.subscribe(1, "pm_card_visa").await, world.subscribe(2, "pm_card_visa").await);
    let write = ends.cancel_at_end(world.settle.now()).expect("it may").expect("it is news");
    world.save(Some(&ends), &write).await;
    world.renew_after(10 * DAY).await;
    let charges = world.settle.subscriptions.charges(stops.id, None, 10).await.expect("it answers").0;
    let write = stops.cancel_now(&charges, world.settle.now()).expect("it may");
    world.save(Some(&stops), &write).await;
    world.app.settled().await;
    // 21 of 31 days are left, and the used part is rounded down.
    let back = PRICE - PRICE * 10 / 31;
    let books = world.app.running.payments.stripe.books();
    assert_eq!(books.refunds.iter().map(|refund| refund.amount).collect::<Vec<_>>(), [back]);
    assert_eq!(world.charge(&stops, 1).await.deferred(), 0);
    assert_eq!(world.now(&stops).await.state, State::Ended);

    world.renew_after(MARCH - 10 * DAY).await;
    world.renew_after(0).await;
    assert_eq!(world.now(&ends).await.state, State::Ended);
    world.renew_after(APRIL).await;
    assert_eq!(world.app.running.payments.stripe.books().movements.len(), 3, "two payments and a refund");
    assert_eq!(world.sum(Account::Deferred).await, 0);
    assert_eq!(world.sum(Account::Revenue).await, -(PRICE + PRICE - back));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_begins_with_a_method_and_is_charged_at_its_end() {
    let world = World::new().await;
    let begun = world.begin(1, Terms { trial_days: 14, ..terms() }).await;
    world.save_method(&begun, "first", "pm_card_visa").await;
    let trial = world.now(&begun).await;
    assert_eq!((trial.state, trial.period.number), (State::Trialing, 0));
    // Nobody who only subscribed and never paid is asked for anything.
    let idle = world.begin(2, terms()).await;
    world.renew_after(DAY).await;
    assert_eq!(world.now(&idle).await.state, State::Ended);
    world.renew_after(13 * DAY).await;
    world.renew_after(0).await;
    let paid = world.now(&begun).await;
    assert_eq!((paid.state, paid.period.number), (State::Active, 1));
    world.check().await;
}

/// The report of the last day that is over, and what it set off.
async fn reconcile(world: &World) -> domain::reconcile::Report {
    world.app.running.run_schedule("reconcile").await.expect("it runs");
    world.app.settled().await;
    let reports = world.app.app("reconcile").desk.reports(None, 1).await.expect("it answers").0;
    reports.into_iter().next().expect("it reports")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_night_finds_what_the_provider_did_and_nobody_heard_of() {
    let world = World::new().await;
    world.subscribe(1, "pm_card_visa").await;
    let stripe = world.app.running.payments.stripe.clone();
    stripe.set_webhook_url(None);
    let deaf = world.subscribe(2, "pm_card_visa").await;
    assert_eq!(deaf.state, State::Pending);
    world.app.advance(13 * 3_600);
    let report = reconcile(&world).await;
    assert_eq!((report.matched, report.findings_total, report.healing), (2, 1, 1), "{report:?}");
    assert_eq!(report.findings[0].charge, Some(ChargeRef { subscription: deaf.id, period: 1, change: 0 }));
    let healed = world.now(&deaf).await;
    assert_eq!(healed.state, State::Active);
    // What was healed is of another day now; the day that differed is compared again until it agrees.
    let charges = world.settle.subscriptions.charges(deaf.id, None, 10).await.expect("it answers").0;
    let write = healed.cancel_now(&charges, world.settle.now()).expect("it may");
    world.save(Some(&healed), &write).await;
    world.app.settled().await;
    world.app.advance(DAY);
    let report = reconcile(&world).await;
    assert_eq!((report.findings_total, report.unlooked), (0, 0), "{report:?}");
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paid_when_nobody_waits_any_more_goes_back() {
    let world = World::new().await;
    let begun = world.begin(1, terms()).await;
    let charge = world.charge(&begun, 1).await;
    let (subscription, period, customer) =
        (begun.id.to_string(), charge.payment_period(), world.customer(&begun).await);
    let payer = Payer::Saving(&customer);
    let new = NewPeriodPayment {
        user: begun.user,
        subscription: &subscription,
        period: &period,
        amount: charge.amount,
        payer,
    };
    let payment = world.settle.gateway.create_for_period(&new).await.expect("a payment");
    let next = charge.with_intent(payment.id.clone());
    world.settle.subscriptions.save_charge(&next, None, &world.settle.ledger).await.expect("nobody else writes");
    world.app.advance(DAY);
    // It is given up, and before anybody lets go of its payment it is paid.
    world.app.running.pause("Payments").expect("there is such a queue");
    world.app.running.run_schedule("renew").await.expect("it runs");
    world.app.settled().await;
    let page = Payment { id: payment.id, client_secret: payment.client_secret };
    world.app.confirm(&page, "pm_card_visa").await.expect(200);
    world.app.running.resume("Payments").expect("there is such a queue");
    world.app.settled().await;
    assert_eq!(world.charge(&begun, 1).await.unadopted, Some(PRICE));
    assert_eq!((world.sum(Account::Provider).await, world.sum(Account::Unadopted).await), (0, 0));
    world.check().await;
}
