//! The payment provider's client as subscriptions need it, against the provider's wire protocol.

use domain::ids::UserId;
use domain::money::{Currency, Money};
use domain::payments::{Decline, MovementKind, Payment, PaymentStatus, Purpose, SetupStatus};
use platform::payments::{Attempt, GatewayError, NewPeriodPayment, NewRefund, NewSetup, Payer, PaymentGateway};
use sandbox::Stripe;
use serde_json::Value;
use std::sync::Arc;
use tests::TestApp;

const USER: UserId = UserId(7);
const SUBSCRIPTION: &str = "sub_1";
const DAY_SECONDS: i64 = 24 * 60 * 60;

struct World {
    app: TestApp,
    gateway: Arc<dyn PaymentGateway>,
    stripe: Stripe,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let (gateway, stripe) = (app.app("settle").gateway, app.running.payments.stripe.clone());
        // Nobody but the test acts on what the provider tells.
        stripe.set_webhook_url(None);
        Self { app, gateway, stripe }
    }

    async fn customer(&self) -> String {
        self.gateway.customer(USER, None).await.expect("a customer")
    }

    async fn try_payment(&self, period: &str, payer: Payer<'_>) -> Result<Payment, GatewayError> {
        let (user, subscription) = (USER, SUBSCRIPTION);
        let new = NewPeriodPayment { user, subscription, period, amount: eur(900), payer };
        self.gateway.create_for_period(&new).await
    }

    async fn payment(&self, period: &str, payer: Payer<'_>) -> Payment {
        self.try_payment(period, payer).await.expect("a payment")
    }

    /// A customer, and a method that they saved with their first payment.
    async fn subscriber(&self, card: &str) -> (String, String) {
        let customer = self.customer().await;
        let first = self.payment("1", Payer::Saving(&customer)).await;
        let path = format!("payment_intents/{}", first.id);
        self.browser(&path, &first.client_secret, card).await;
        let paid = self.gateway.fetch(&first.id).await.expect("it answers").expect("it is there");
        assert_eq!((paid.status, paid.captured), (PaymentStatus::Captured, 900));
        (customer, paid.method.expect("it was paid with one"))
    }

    /// What a browser does: confirms with the publishable key.
    async fn browser(&self, path: &str, client_secret: &str, method: &str) -> Value {
        let key = &self.app.running.secrets.stripe_publishable_key;
        let form = [("client_secret", client_secret), ("payment_method", method)];
        let url = format!("{}/v1/{path}/confirm", self.app.running.payments.url);
        let asked = self.app.http().post(url).basic_auth(key, Some("")).form(&form);
        asked.send().await.expect("the sandbox answers").json().await.expect("JSON")
    }

    async fn try_charge(
        &self,
        payment: &str,
        method: &str,
        number: u32,
        after: Option<&Decline>,
    ) -> Result<Payment, GatewayError> {
        self.gateway.charge(&Attempt { payment, method, number, after }).await
    }

    async fn charge(&self, payment: &str, method: &str, number: u32, after: Option<&Decline>) -> Payment {
        self.try_charge(payment, method, number, after).await.expect("the payment as it is then")
    }

    /// The decline that this try ends with.
    async fn declined(&self, payment: &str, method: &str, number: u32, after: Option<&Decline>) -> Decline {
        let payment = self.charge(payment, method, number, after).await;
        assert_eq!(payment.status, PaymentStatus::Declined);
        payment.decline.expect("it says why")
    }
}

fn eur(amount: i64) -> Money {
    Money::new(amount, Currency::from_code("EUR").expect("a currency"))
}

fn purpose(period: &str) -> Purpose {
    Purpose::Subscription { user: USER, subscription: SUBSCRIPTION.into(), period: period.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_one_customer() {
    let world = World::new().await;
    let first = world.customer().await;
    assert_eq!(world.customer().await, first, "a lost reply is asked for again");
    assert_ne!(world.gateway.customer(UserId(8), Some(&first)).await.expect("their own"), first);
    world.app.advance(DAY_SECONDS + 1);
    assert_eq!(world.gateway.customer(USER, Some(&first)).await.expect("the known one"), first);
    let second = world.gateway.customer(USER, None).await.expect("one that harms nobody");
    assert_ne!(second, first);
    // The one that was kept is gone: whoever asks next gets the same new one.
    let key = &world.app.running.secrets.stripe_secret;
    let url = format!("{}/v1/customers/{second}", world.app.running.payments.url);
    world.app.http().delete(url).basic_auth(key, Some("")).send().await.expect("the sandbox answers");
    let third = world.gateway.customer(USER, Some(&second)).await.expect("a new one");
    assert!(third != second && third != first);
    assert_eq!(world.gateway.customer(USER, Some(&second)).await.expect("the same"), third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_period_is_charged_once() {
    let world = World::new().await;
    let (customer, method) = world.subscriber("pm_card_visa").await;
    let renewal = world.payment("2", Payer::Saved(&customer)).await;
    assert_eq!((renewal.status, &renewal.purpose), (PaymentStatus::Waiting, &purpose("2")));
    assert_eq!(world.payment("2", Payer::Saved(&customer)).await, renewal);
    let all = futures_util::future::join_all((0..8).map(|_| world.charge(&renewal.id, &method, 1, None))).await;
    assert!(all.iter().all(|paid| paid.status == PaymentStatus::Captured && paid.captured == 900));
    world.app.advance(DAY_SECONDS + 1);
    assert_eq!(world.charge(&renewal.id, &method, 1, None).await, all[0], "a message that is a day old");
    assert_eq!(world.charge(&renewal.id, &method, 2, None).await, all[0]);
    assert_eq!(world.stripe.books().movements.len(), 2, "the first period and the second");

    // The provider fails, and repeats that for the same key.
    let third = world.payment("3", Payer::Saved(&customer)).await;
    world.stripe.set_broken(true);
    assert!(matches!(world.try_charge(&third.id, &method, 1, None).await, Err(GatewayError::Unknown(_))));
    world.stripe.set_broken(false);
    assert_eq!(world.charge(&third.id, &method, 1, None).await.status, PaymentStatus::Captured);
    // That it failed when a payment was to be made stands in the way of no other: that of a change within the period.
    world.stripe.set_broken(true);
    assert!(matches!(world.try_payment("4", Payer::Saved(&customer)).await, Err(GatewayError::Unknown(_))));
    world.stripe.set_broken(false);
    for period in ["4", "4.1"] {
        assert_eq!(world.payment(period, Payer::Saved(&customer)).await.purpose, purpose(period));
    }
    // Nobody needs to be anybody's customer to pay once.
    let once = world.payment("once", Payer::Once).await;
    world.browser(&format!("payment_intents/{}", once.id), &once.client_secret, "pm_card_visa").await;
    let paid = world.gateway.fetch(&once.id).await.expect("it answers").expect("it is there");
    assert_eq!(paid.status, PaymentStatus::Captured);
    let unsaved = world.gateway.method(&paid.method.expect("one")).await.expect("it answers").expect("it is there");
    assert_eq!(unsaved.customer, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decline_is_tried_again_on_the_same_payment() {
    let world = World::new().await;
    let (customer, method) = world.subscriber("pm_card_visa").await;
    assert!(world.stripe.reissue(&method, "pm_sandbox_saved_insufficient_funds"));
    let renewal = world.payment("2", Payer::Saved(&customer)).await.id;
    let first = world.declined(&renewal, &method, 1, None).await;
    let words = [&first.decline_code, &first.advice_code, &first.network_decline_code];
    assert_eq!(words.map(|word| word.as_deref()), [Some("insufficient_funds"), Some("try_again_later"), Some("51")]);
    assert_eq!((first.code.as_str(), first.needs_authentication), ("card_declined", false));
    // The same try again, at once and when the provider has forgotten its key, is no other try.
    assert_eq!(world.declined(&renewal, &method, 1, None).await, first);
    world.app.advance(DAY_SECONDS + 1);
    assert_eq!(world.declined(&renewal, &method, 1, None).await, first);
    let second = world.declined(&renewal, &method, 2, Some(&first)).await;
    assert!(!second.is_of_same_try(&first));
    assert_eq!(world.declined(&renewal, &method, 2, Some(&first)).await, second, "it was tried since");

    assert!(world.stripe.reissue(&method, "pm_sandbox_saved_lost_card"));
    let third = world.declined(&renewal, &method, 3, Some(&second)).await;
    assert_eq!(third.advice_code.as_deref(), Some("do_not_try_again"));
    assert!(world.stripe.reissue(&method, "pm_card_mastercard"));
    let paid = world.charge(&renewal, &method, 4, Some(&third)).await;
    assert_eq!((paid.status, paid.method.as_deref()), (PaymentStatus::Captured, Some(method.as_str())));

    // What can never be charged is refused, and the payment stays as it was.
    let next = world.payment("3", Payer::Saved(&customer)).await.id;
    world.gateway.detach(&method).await.expect("it is forgotten");
    for method in ["pm_0", &method] {
        assert!(matches!(world.try_charge(&next, method, 1, None).await, Err(GatewayError::Refused(_))));
    }
    assert_eq!(world.payment("3", Payer::Saved(&customer)).await.status, PaymentStatus::Waiting);
    world.gateway.cancel(&next).await.expect("it was not paid");
    assert_eq!(world.charge(&next, &method, 1, None).await.status, PaymentStatus::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_to_authenticate_is_waited_for() {
    let world = World::new().await;
    let (customer, method) = world.subscriber("pm_card_visa").await;
    assert!(world.stripe.reissue(&method, "pm_card_authenticationRequired"));
    let renewal = world.payment("2", Payer::Saved(&customer)).await;
    let away = world.declined(&renewal.id, &method, 1, None).await;
    assert!(away.needs_authentication);
    let path = format!("payment_intents/{}", renewal.id);
    let waiting = world.browser(&path, &renewal.client_secret, &method).await;
    assert_eq!(waiting["status"], "requires_action");
    // They are at their bank's page: a retry that comes now takes nothing from under them.
    assert_eq!(world.charge(&renewal.id, &method, 2, Some(&away)).await.status, PaymentStatus::NeedsAction);
    let page = waiting["next_action"]["redirect_to_url"]["url"].as_str().expect("a page");
    let form = [("client_secret", renewal.client_secret.as_str()), ("outcome", "complete")];
    world.app.http().post(page).form(&form).send().await.expect("the page answers");
    let paid = world.gateway.fetch(&renewal.id).await.expect("it answers").expect("it is there");
    assert_eq!((paid.status, paid.decline), (PaymentStatus::Captured, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_is_saved_shown_and_forgotten() {
    let world = World::new().await;
    let customer = world.customer().await;
    let new = |key| NewSetup { user: USER, subscription: SUBSCRIPTION, customer: &customer, key };
    let setup = world.gateway.set_up(&new("a")).await.expect("a setup");
    assert_eq!((setup.status, setup.user, setup.subscription.as_str()), (SetupStatus::Waiting, USER, SUBSCRIPTION));
    assert_eq!(world.gateway.set_up(&new("a")).await.expect("the same"), setup);
    assert_ne!(world.gateway.set_up(&new("b")).await.expect("another").id, setup.id);

    let path = format!("setup_intents/{}", setup.id);
    world.browser(&path, &setup.client_secret, "pm_card_visa_chargeDeclinedStolenCard").await;
    let declined = world.gateway.fetch_setup(&setup.id).await.expect("it answers").expect("it is there");
    assert_eq!(declined.status, SetupStatus::Declined);
    assert_eq!(declined.decline.expect("it says why").advice_code.as_deref(), Some("do_not_try_again"));
    world.browser(&path, &setup.client_secret, "pm_sandbox_expires_2031_04").await;
    let saved = world.gateway.fetch_setup(&setup.id).await.expect("it answers").expect("it is there");
    assert_eq!(saved.status, SetupStatus::Succeeded);

    let id = saved.method.expect("it was saved");
    let method = world.gateway.method(&id).await.expect("it answers").expect("it is there");
    assert_eq!((method.brand.as_str(), method.last4.as_str()), ("visa", "9006"));
    assert_eq!((method.exp_month, method.exp_year, method.customer.as_ref()), (4, 2031, Some(&customer)));
    let trial_ends = world.payment("1", Payer::Saved(&customer)).await.id;
    assert_eq!(world.charge(&trial_ends, &id, 1, None).await.status, PaymentStatus::Captured);
    for _ in 0..2 {
        world.gateway.detach(&id).await.expect("it is forgotten");
    }
    let forgotten = world.gateway.method(&id).await.expect("it answers").expect("it is there");
    assert_eq!(forgotten.customer, None);
    world.gateway.detach("pm_0").await.expect("what was never there is forgotten");
    assert_eq!(world.gateway.method("pm_0").await.expect("it answers"), None);
    assert_eq!(world.gateway.fetch_setup("seti_0").await.expect("it answers"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_say_which_period_money_was_for() {
    let world = World::new().await;
    let (customer, method) = world.subscriber("pm_card_visa").await;
    let renewal = world.payment("2", Payer::Saved(&customer)).await.id;
    world.charge(&renewal, &method, 1, None).await;
    let (key, part) = ("sub_1-2-refund", purpose("2"));
    let new = NewRefund { payment: &renewal, key, amount: eur(300), purpose: &part };
    let refund = world.gateway.refund(&new).await.expect("a refund");
    world.app.advance(DAY_SECONDS + 1);
    assert_eq!(world.gateway.refund(&new).await.expect("the same").id, refund.id);
    let found = world.gateway.find_refund(&renewal, key).await.expect("it answers").expect("it is there");
    assert_eq!((found.id, found.amount), (refund.id, 300));

    let now = world.app.running.now();
    let from = now - jiff::SignedDuration::from_secs(2 * DAY_SECONDS);
    let page = world.gateway.movements(from, now, None).await.expect("the books");
    let mut told: Vec<_> =
        page.movements.into_iter().map(|moved| (moved.kind, moved.money.amount, moved.purpose)).collect();
    told.reverse();
    let expected = [
        (MovementKind::Capture, 900, Some(purpose("1"))),
        (MovementKind::Capture, 900, Some(purpose("2"))),
        (MovementKind::Refund(Some(key.into())), -300, Some(purpose("2"))),
    ];
    assert_eq!(told, expected);
}
