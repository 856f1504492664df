//! Renewals that are all due in one hour: what it takes to ask for them, and that none is charged twice.
//!
//! The first box office has as many as were asked for, put into its table as if each had been paid a month ago; `renew` runs
//! without a pace until the Payments queue holds one message for each. The second has a sample whose cards are saved at the
//! provider's sandbox: it is charged at a pace, with the scheduler fired three times and every message delivered twice.

use crate::Failed;
use crate::http::Connection;
use base64::prelude::{BASE64_STANDARD, Engine};
use boxoffice::template::TEMPLATE;
use boxoffice::{Options, Runner, Running};
use domain::ids::{PlanId, SubscriptionId, UserId};
use domain::money::{Currency, Money};
use domain::subscriptions::plans::{Billing, CancelRefund, Names, Plan, Terms};
use domain::subscriptions::{Charge, Consent, Method, NewSubscription, State, Subscription, Write};
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use jiff::{SignedDuration, Timestamp};
use platform::payments::{NewPeriodPayment, Payer};
use platform::{App, Clock};
use std::collections::BTreeMap;
use std::time::Instant;

/// When the first of them subscribed, and the hour in which all did.
const BEGAN_AT: &str = "2027-03-01T12:00:00Z";
const HOUR_SECONDS: i64 = 3_600;
/// From then until the last of them is due: March, and the hour.
const MONTH_SECONDS: i64 = 31 * 24 * HOUR_SECONDS;
const PRICE: i64 = 900;
/// Subscriptions that are made at the same time.
const MADE_AT_ONCE_MAX: usize = 32;
/// Runs of `renew` until all are asked for: a run looks at 16,000.
const RUNS_MAX: usize = 200;
/// What asking for all may take: a minute of two processors.
const CPU_SECONDS_MAX: f64 = 120.0;
const MILLISECONDS: f64 = 1_000.0;
/// The setting of `renew` in the template, and one that is no pace.
const PACE: &str = "CHARGES_PER_SECOND: !Ref ChargesPerSecond";
const NO_PACE: usize = 1_000_000;

/// How many.
#[derive(Clone, Copy, Debug)]
pub struct Renewals {
    pub subscriptions: usize,
    pub sample: usize,
    pub pace: usize,
}

pub fn run(plan: Renewals) -> Result<(), Failed> {
    crate::log("warn,dynoxide=error");
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("worker").enable_all().build()?;
    runtime.block_on(async {
        ask(plan.subscriptions).await?;
        charge(plan.sample, plan.pace).await
    })
}

fn because(error: impl ToString) -> Failed {
    Failed::Because(error.to_string())
}

async fn start(pace: usize, is_twice: bool) -> Result<Running, Failed> {
    let mut template = TEMPLATE.replace(PACE, &format!("CHARGES_PER_SECOND: \"{pace}\""));
    if is_twice {
        template = twice(&template)?;
    }
    let clock = Clock::frozen_at(BEGAN_AT.parse().map_err(because)?);
    let options = Options { clock, schedules: false, meter: true, template, ..Options::default() };
    Runner::start(options).await.map_err(because)
}

/// The template with every effect for the Payments queue delivered to it twice.
fn twice(template: &str) -> Result<String, Failed> {
    let cut = |from: &str, to: &str| {
        let start = template.find(from)?;
        Some((start, start + template[start..].find(to)?))
    };
    let (start, end) = cut("  EventsToPayments:\n", "  PaymentsPolicy:").ok_or_else(|| because("no such resource"))?;
    let again = template[start..end].replacen("EventsToPayments", "EventsToPaymentsAgain", 1);
    Ok([&template[..end], &again, &template[end..]].concat())
}

/// Processor seconds of this process so far, by group of threads.
fn cpu_seconds(running: &Running) -> BTreeMap<String, f64> {
    let report = running.meter.as_ref().map(|meter| meter.report()).unwrap_or_default();
    let groups = report["cpu_ms"].as_object().into_iter().flatten();
    groups.map(|(name, ms)| (name.clone(), ms.as_f64().unwrap_or(0.0) / MILLISECONDS)).collect()
}

fn plan() -> Result<Plan, Failed> {
    let names = || Names { ru: "Друг".into(), en: "Friend".into() };
    let currency = Currency::from_code("EUR").ok_or_else(|| because("EUR is no currency"))?;
    let terms = Terms {
        name: names(),
        price: Money::new(PRICE, currency),
        billing: Billing::Monthly,
        trial_days: 0,
        perks: Vec::new(),
        cancel_refund: CancelRefund::None,
        law: None,
        grace_days: 10,
        notice_days: 0,
        retry_days: vec![1, 3, 5, 7],
    };
    Plan::offer(PlanId(1), terms, "load".into()).map_err(|wrong| because(format!("{wrong:?}")))
}

/// One that begins at `at`, as it is written then: with its first charge open.
fn begin(plan: &Plan, number: u128, at: Timestamp) -> Result<Write, Failed> {
    let new = NewSubscription {
        id: SubscriptionId(number),
        user: UserId(number),
        request: "load".into(),
        plan,
        currency: None,
        zone: "Europe/Moscow".into(),
        consent: Consent { text: "I agree to pay each month".into(), at },
        promotions: Vec::new(),
        has_one: false,
        had_trial: false,
    };
    Subscription::begin(new, at).map_err(because)
}

/// Puts so many paid ones into the table, spread over an hour, and has them asked for.
async fn ask(count: usize) -> Result<(), Failed> {
    let running = start(NO_PACE, false).await?;
    let app = running.app("settle").map_err(because)?;
    let (plan, began) = (plan()?, app.now());
    let put = |number: usize| {
        let (app, plan) = (&app, &plan);
        async move {
            let seconds = HOUR_SECONDS * number as i64 / count as i64;
            let at = began + SignedDuration::from_secs(seconds);
            let begun = begin(plan, number as u128 + 1, at)?;
            let paid = begun.subscription.charge_paid(&begun.charges[0], Some(card(number)), at).map_err(because)?;
            let none = (Vec::new(), Vec::new(), Vec::new());
            let write = Write { charges: none.0, entries: none.1, history: none.2, ..paid };
            app.subscriptions.save(None, &write, &app.ledger).await.map_err(because)
        }
    };
    let started = Instant::now();
    stream::iter(0..count).map(put).buffer_unordered(MADE_AT_ONCE_MAX).try_for_each(async |()| Ok(())).await?;
    running.settled().await.map_err(because)?;
    println!("{count} subscriptions, all due within one hour, put into the table in {:.0?}", started.elapsed());
    running.pause("Payments").map_err(because)?;
    running.advance(MONTH_SECONDS + HOUR_SECONDS);

    let (before, started) = (cpu_seconds(&running), Instant::now());
    let mut runs = 0;
    while asked(&running)? < count {
        runs += 1;
        if runs > RUNS_MAX {
            return Err(because(format!("{runs} runs asked for {} of {count}", asked(&running)?)));
        }
        running.run_schedule("renew").await.map_err(because)?;
        running.settled().await.map_err(because)?;
    }
    let (after, elapsed) = (cpu_seconds(&running), started.elapsed());
    let used = |group: &str| after.get(group).unwrap_or(&0.0) - before.get(group).unwrap_or(&0.0);
    let own = used("functions");
    println!(
        "asked for in {runs} runs of renew, {elapsed:.1?}: {own:.1} CPU seconds of ours (renew, relay, the AWS client, streams, \
         topic and queue), {:.1} of the embedded DynamoDB",
        used("engine")
    );
    for _ in 0..2 {
        running.run_schedule("renew").await.map_err(because)?;
    }
    running.settled().await.map_err(because)?;
    let messages = asked(&running)?;
    running.stop().await;
    if messages != count {
        return Err(because(format!("{messages} messages ask for {count} charges")));
    }
    if own > CPU_SECONDS_MAX {
        return Err(because(format!("that is more than {CPU_SECONDS_MAX} CPU seconds")));
    }
    Ok(())
}

/// Messages that wait in the Payments queue.
fn asked(running: &Running) -> Result<usize, Failed> {
    Ok(running.queues().depth("Payments").map_err(because)?.ready)
}

fn card(number: usize) -> Method {
    Method {
        customer: format!("cus_{number}"),
        id: format!("pm_{number}"),
        brand: "visa".into(),
        last4: "4242".into(),
        exp_year: 2040,
        exp_month: 1,
        fingerprint: None,
    }
}

/// Charges a sample at a pace, and counts what was taken.
async fn charge(count: usize, pace: usize) -> Result<(), Failed> {
    let running = start(pace, true).await?;
    let app = running.app("settle").map_err(because)?;
    let plan = plan()?;
    let subscribe = |number: usize| subscribe(&running, &app, &plan, number as u128 + 1);
    let made = stream::iter(0..count).map(subscribe).buffer_unordered(MADE_AT_ONCE_MAX);
    made.try_for_each(async |()| Ok(())).await?;
    running.settled().await.map_err(because)?;
    running.advance(MONTH_SECONDS);

    let started = Instant::now();
    // Those of one run that did not fit into its minute are the next one's.
    for _ in 0..RUNS_MAX {
        running.run_schedule("renew").await.map_err(because)?;
        running.settled().await.map_err(because)?;
        if charged(&running) >= 2 * count {
            break;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{count} renewals charged in {seconds:.1} s: {:.1} a second, of {pace} allowed", count as f64 / seconds);
    let again = || running.run_schedule("renew");
    let (second, third) = tokio::join!(again(), again());
    second.and(third).map_err(because)?;
    running.settled().await.map_err(because)?;
    check(&running, &app, count).await?;
    running.stop().await;
    Ok(())
}

/// Payments that the provider took.
fn charged(running: &Running) -> usize {
    running.payments.stripe.books().intents.iter().filter(|intent| intent.amount_received > 0).count()
}

/// Each period of each was paid once, and each subscription is in its second month.
async fn check(running: &Running, app: &App, count: usize) -> Result<(), Failed> {
    let mut times: BTreeMap<(String, String), usize> = BTreeMap::new();
    for intent in running.payments.stripe.books().intents.iter().filter(|intent| intent.amount_received > 0) {
        let data = |name: &str| intent.metadata.get(name).cloned().unwrap_or_default();
        *times.entry((data("subscription_id"), data("period"))).or_default() += 1;
    }
    if let Some((period, times)) = times.iter().find(|(_, times)| **times != 1) {
        return Err(because(format!("{period:?} was paid {times} times")));
    }
    for number in 1..=count as u128 {
        let stored = app.subscriptions.get(UserId(number), SubscriptionId(number)).await.map_err(because)?;
        let is_renewed = |sub: &Subscription| sub.state == State::Active && sub.period.number == 2;
        if !stored.as_ref().is_some_and(is_renewed) {
            return Err(because(format!("it was not renewed: {stored:?}")));
        }
    }
    for queue in ["PaymentsDeadLetters", "UnpublishedDeadLetters"] {
        let letters = running.dead_letters(queue).map_err(because)?;
        if !letters.is_empty() {
            return Err(because(format!("{queue} holds {}", letters.len())));
        }
    }
    println!("{} payments of {count} subscriptions, each period paid once", times.len());
    Ok(())
}

/// Subscribes as a subscriber's page does: the first payment saves the card.
async fn subscribe(running: &Running, app: &App, plan: &Plan, number: u128) -> Result<(), Failed> {
    let write = begin(plan, number, app.now())?;
    app.subscriptions.save(None, &write, &app.ledger).await.map_err(because)?;
    let charge: &Charge = &write.charges[0];
    let (subscription, period) = (charge.id.subscription.to_string(), charge.payment_period());
    let customer = app.gateway.customer(charge.user, None).await.map_err(because)?;
    let (user, amount, payer) = (charge.user, charge.amount, Payer::Saving(&customer));
    let new = NewPeriodPayment { user, subscription: &subscription, period: &period, amount, payer };
    let payment = app.gateway.create_for_period(&new).await.map_err(because)?;
    let next = charge.with_intent(payment.id.clone());
    app.subscriptions.save_charge(&next, None, &app.ledger).await.map_err(because)?;
    confirm(running, &payment.id, &payment.client_secret).await
}

/// What a browser does with the publishable key.
async fn confirm(running: &Running, payment: &str, secret: &str) -> Result<(), Failed> {
    let mut provider = Connection::open(&running.payments.url).await?;
    let key = BASE64_STANDARD.encode(format!("{}:", running.secrets.stripe_publishable_key));
    let request = Request::post(format!("/v1/payment_intents/{payment}/confirm"))
        .header(AUTHORIZATION, format!("Basic {key}"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let body = format!("client_secret={secret}&payment_method=pm_card_visa");
    provider.send(request, body).await?.expect(200).map(drop)
}
