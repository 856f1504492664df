//! The journal after a bit of everything.

use domain::ledger::{Account, Cause};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tests::{TestApp, id, seat};

/// One of everything that can happen to an order of this event.
async fn everything_happens(app: &TestApp, event: &str) {
    let buyer = app.buyer();
    let buy = async |row: u8, card: &str| {
        let seats = json!([seat("Stalls", row, 1), seat("Side", 1, row)]);
        let order = app.hold(&buyer, event, &seats).await;
        app.pay(&buyer, id(&order), card).await
    };
    buy(1, "pm_card_visa").await;
    let some = buy(2, "pm_card_mastercard").await;
    let all = buy(3, "pm_card_visa").await;
    buy(4, "pm_card_chargeDeclined").await;
    buy(5, "pm_sandbox_capture_fails").await;
    buy(6, "pm_sandbox_captures_at_once").await;
    let failing = buy(7, "pm_card_refundFail").await;
    app.buy(&buyer, event, &json!([seat("Gift", 1, 1)])).await;
    app.give_back(&buyer, id(&some), Some(&[some["seats"][1]["ticket_id"].as_str().expect("it is paid")])).await;
    app.give_back(&buyer, id(&all), None).await;
    app.give_back(&buyer, id(&failing), None).await;
    // Taken at once for a seat that somebody else had by then.
    let late = app.hold(&buyer, event, &json!([seat("Stalls", 8, 1)])).await;
    let payment = app.start_payment(&buyer, id(&late)).await;
    app.advance(601);
    app.buy(&app.buyer(), event, &json!([seat("Stalls", 8, 1)])).await;
    app.confirm(&payment, "pm_sandbox_captures_at_once").await.expect(200);
    app.settled().await;
    app.sweep().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_says_what_the_provider_says() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let rub = app.event(&hall, &json!({ "service_fee": 7_000 })).await;
    let prices = json!({ "stalls": 4_550, "side": 1_999, "gift": 0 });
    let eur = app.event(&hall, &json!({ "currency": "EUR", "prices": prices, "service_fee": 150 })).await;
    for event in [&rub, &eur] {
        everything_happens(&app, event).await;
    }
    let failed =
        async || app.running.payments.stripe.books().refunds.iter().filter(|r| r.status == "failed").count() == 2;
    app.eventually("two refunds that failed", failed).await;
    let path = format!("/admin/events/{eur}/cancellation");
    app.post(&app.admin, &path, &Value::Null).await.expect(200);
    app.settled().await;
    app.advance(120);
    let audit = app.finish().await;

    let mut balances: BTreeMap<(&str, Account), i64> = BTreeMap::new();
    let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &audit.entries {
        for leg in &entry.legs {
            *balances.entry((entry.currency.code(), leg.account)).or_default() += leg.amount;
        }
        let cause = match entry.cause {
            Cause::Sale => "sale",
            Cause::UnadoptedCapture => "unadopted",
            Cause::Refund { .. } => "refund",
            Cause::RefundReversed { .. } => "reversed",
            Cause::DisputeWithdrawn { .. }
            | Cause::DisputeReinstated { .. }
            | Cause::DisputeLost { .. }
            | Cause::DisputeLossReversed { .. } => "dispute",
        };
        *causes.entry(cause).or_default() += 1;
    }
    println!("{causes:?}\n{balances:?}");
    // In roubles four orders of 1533.33, one of them with a refund that failed, and one of 1500 are with us, less a
    // ticket of 33.33. In euros all went back when the event was cancelled, but the one whose refund had failed. The fees of
    // what was given back by wish were kept, in roubles of all eleven tickets that were sold, in euros of five.
    let (rub, rub_fees) = (4 * 153_333 + 150_000 - 3_333, 11 * 7_000);
    let (eur, eur_fees) = (4_550 + 1_999, 5 * 150);
    let expected = [
        (("EUR", Account::Provider), eur + eur_fees),
        (("EUR", Account::Organiser), -eur),
        (("EUR", Account::ServiceFees), -eur_fees),
        (("EUR", Account::Unadopted), 0),
        (("RUB", Account::Provider), rub + rub_fees),
        (("RUB", Account::Organiser), -rub),
        (("RUB", Account::ServiceFees), -rub_fees),
        (("RUB", Account::Unadopted), 0),
    ];
    assert_eq!(balances, expected.into());
    assert_eq!(causes, [("sale", 14), ("unadopted", 2), ("refund", 13), ("reversed", 2)].into());
}
