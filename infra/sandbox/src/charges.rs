//! Charges: what the issuer says to a confirmed intent, and the money that moves then.

use serde_json::{Value, json};

use crate::cards::{Behaviour, Decline, card};
use crate::customers;
use crate::disputes;
use crate::error::ApiError;
use crate::objects::{Charge, Kind, Status, Txn, render};
use crate::state::State;

/// Stripe's fee in its home market: 2.9 % and 30 minor units.
const FEE_PER_MILLE: i64 = 29;
const FEE_FIXED: i64 = 30;

/// Why the balance moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Charge,
    Refund,
    RefundFailure,
    Dispute,
    DisputeReversal,
}

/// The issuer says yes: the money is reserved, and taken where it is not to be captured by hand.
pub(crate) fn authorise(state: &mut State, at: usize) {
    let charge = charge(state, at, None);
    let id = state.charges[charge].id.clone();
    let by_hand = state.intents[at].capture_method == "manual"
        && card(&state.charges[charge].token).is_some_and(|card| card.behaviour != Behaviour::CapturesAtOnce);
    let intent = state.intents.edit(at);
    intent.latest_charge = Some(id);
    let keep = intent.setup_future_usage.is_some().then(|| intent.customer.clone().zip(intent.payment_method.clone()));
    let set_up = intent.setup_future_usage.as_deref() == Some("off_session");
    let amount = intent.amount;
    if by_hand {
        (intent.status, intent.amount_capturable) = (Status::RequiresCapture, amount);
        tell(state, "payment_intent.amount_capturable_updated", at);
    } else {
        take(state, at, amount);
    }
    if let Some((customer, method)) = keep.flatten() {
        customers::attach(state, &method, &customer);
        customers::set_up(state, &method, set_up);
    }
}

/// Moves money: the charge is captured, and the balance grows.
pub(crate) fn take(state: &mut State, at: usize, amount: i64) {
    let charge = latest_charge(state, at).expect("what is captured was authorised");
    let source = state.charges[charge].id.clone();
    let fee = amount.min(amount * FEE_PER_MILLE / 1_000 + FEE_FIXED);
    let txn = movement(state, Flow::Charge, amount, fee, source, at);
    let charge = state.charges.edit(charge);
    (charge.captured, charge.amount_captured, charge.balance_transaction) = (true, amount, Some(txn));
    let disputes = card(&charge.token).is_some_and(|card| card.behaviour == Behaviour::Disputes);
    let intent = state.intents.edit(at);
    (intent.status, intent.amount_received, intent.amount_capturable) = (Status::Succeeded, amount, 0);
    tell(state, "payment_intent.succeeded", at);
    if disputes {
        disputes::open(state, at);
    }
}

/// Notes a movement of the balance for an intent's charge, refund or dispute, which is its source, and gives its id.
pub(crate) fn movement(state: &mut State, flow: Flow, amount: i64, fee: i64, source: String, at: usize) -> String {
    let id = state.id("txn_");
    let charge = state.intents[at].latest_charge.as_deref().expect("what moves was charged");
    let (kind, category, description) = match flow {
        Flow::Charge => ("charge", None, None),
        Flow::Refund => ("refund", None, None),
        Flow::RefundFailure => ("refund_failure", None, None),
        Flow::Dispute => ("adjustment", Some("dispute"), Some(format!("Chargeback withdrawal for {charge}"))),
        Flow::DisputeReversal => {
            ("adjustment", Some("dispute_reversal"), Some(format!("Chargeback reversal for {charge}")))
        }
    };
    state.txns.insert(Txn {
        id: id.clone(),
        amount,
        created: state.now(),
        currency: state.intents[at].currency.clone(),
        description,
        fee,
        reporting_category: category.map(str::to_owned),
        source,
        r#type: kind.to_owned(),
    });
    id
}

fn charge(state: &mut State, at: usize, failure: Option<Decline>) -> usize {
    let token = token(state, at).expect("what is charged has a method");
    let id = state.id("ch_");
    let intent = &state.intents[at];
    let charge = Charge {
        id,
        amount: intent.amount,
        created: state.now(),
        currency: intent.currency.clone(),
        customer: intent.customer.clone(),
        description: intent.description.clone(),
        advice_code: failure.and_then(|why| why.advice_code).map(str::to_owned),
        decline_code: failure.and_then(|why| why.decline_code).map(str::to_owned),
        network_decline_code: failure.and_then(|why| why.network_decline_code).map(str::to_owned),
        failure_code: failure.map(|why| why.code.to_owned()),
        failure_message: failure.map(|why| why.message.to_owned()),
        metadata: intent.metadata.clone(),
        paid: failure.is_none(),
        payment_intent: intent.id.clone(),
        payment_method: intent.payment_method.clone().expect("what is charged has a method"),
        status: if failure.is_none() { "succeeded" } else { "failed" }.to_owned(),
        token,
        ..Charge::default()
    };
    state.charges.insert(charge)
}

pub(crate) fn decline(state: &mut State, at: usize, why: Decline) -> ApiError {
    let charge = charge(state, at, Some(why));
    let id = state.charges[charge].id.clone();
    let method = state.intents[at].payment_method.clone().and_then(|method| state.lookup(&method));
    let error = why.error().with("charge", json!(id)).with("payment_method", method.unwrap_or_default());
    state.intents.edit(at).latest_charge = Some(id);
    fail(state, at, error.members());
    error.with("payment_intent", state.show(Kind::Intent, at))
}

pub(crate) fn fail(state: &mut State, at: usize, error: Value) {
    let intent = state.intents.edit(at);
    (intent.status, intent.payment_method) = (Status::RequiresPaymentMethod, None);
    intent.last_payment_error = Some(error);
    tell(state, "payment_intent.payment_failed", at);
}

/// Lets an authorisation go: Stripe shows the charge as refunded, although no money ever moved.
pub(crate) fn release(state: &mut State, at: usize) {
    let row = latest_charge(state, at).expect("what is released was authorised");
    let charge = state.charges.edit(row);
    (charge.refunded, charge.amount_refunded) = (true, charge.amount);
    let shown = render(&state.charges[row]);
    state.emit("charge.refunded", shown);
}

/// Row of the charge that `latest_charge` names.
pub(crate) fn latest_charge(state: &State, at: usize) -> Option<usize> {
    state.charges.find(state.intents[at].latest_charge.as_deref()?)
}

pub(crate) fn token(state: &State, at: usize) -> Option<String> {
    Some(state.methods.get(state.intents[at].payment_method.as_deref()?)?.token.clone())
}

/// Tells an event of an intent.
pub(crate) fn tell(state: &mut State, event: &'static str, at: usize) {
    let shown = render(&state.intents[at]);
    state.emit(event, shown);
}
