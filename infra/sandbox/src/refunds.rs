//! Refunds: made at once, pending, or failing days later, as the card has it.

use crate::api::Done;
use crate::cards::{Behaviour, card};
use crate::charges::{self, Flow};
use crate::disputes;
use crate::error::ApiError;
use crate::form::{Form, Metadata};
use crate::money;
use crate::objects::{Kind, Refund, render};
use crate::state::{State, Timer};
use crate::table::Page;

const REASONS: [&str; 3] = ["duplicate", "fraudulent", "requested_by_customer"];

/// `POST /v1/refunds`.
pub(crate) fn create(state: &mut State, mut form: Form) -> Result<Done, ApiError> {
    let (intent, charge) = (form.text("payment_intent")?, form.text("charge")?);
    let amount = form.integer("amount")?;
    let reason = form.choice("reason", &REASONS)?;
    let metadata = form.metadata(&Metadata::new())?;
    form.finish()?;
    if amount.is_some_and(|amount| amount < 1) {
        let message = "This value must be greater than or equal to 1.";
        return Err(ApiError::invalid(message).code("parameter_invalid_integer").param("amount"));
    }
    let (at, charge) = refundable(state, intent, charge)?;
    let token = state.charges[charge].token.clone();
    let left = state.charges[charge].amount_captured - state.charges[charge].amount_refunded;
    let amount = amount.unwrap_or(left);
    if left == 0 {
        let message = format!("Charge {} has already been refunded.", state.charges[charge].id);
        return Err(ApiError::state(message, "charge_already_refunded"));
    }
    if amount > left {
        let currency = &state.charges[charge].currency;
        let message = format!(
            "Refund amount ({}) is greater than unrefunded amount on charge ({})",
            money::readable(amount, currency),
            money::readable(left, currency)
        );
        return Err(ApiError::invalid(message).param("amount").began());
    }
    let refund = Refund {
        id: state.id("re_"),
        amount,
        charge: state.charges[charge].id.clone(),
        created: state.now(),
        currency: state.charges[charge].currency.clone(),
        metadata,
        payment_intent: state.intents[at].id.clone(),
        reason: reason.map(str::to_owned),
        status: "pending".to_owned(),
        ..Refund::default()
    };
    let row = state.refunds.insert(refund);
    state.intents.edit(at).refunds.push(row);
    let charge_row = state.charges.edit(charge);
    charge_row.amount_refunded += amount;
    charge_row.refunded = charge_row.amount_refunded == charge_row.amount_captured;
    let behaviour = card(&token).expect("only test methods become objects").behaviour;
    let later_ms = state.settings.refund_settles_ms();
    if behaviour == Behaviour::RefundPends {
        state.after(later_ms, Timer::RefundSucceeds(row));
    } else {
        book(state, row);
    }
    if behaviour == Behaviour::RefundFails {
        state.after(later_ms, Timer::RefundFails(row));
    }
    tell(state, "refund.created", row);
    let shown = render(&state.charges[charge]);
    state.emit("charge.refunded", shown);
    Ok(Done::Object(Kind::Refund, row))
}

/// The intent and the captured charge that shall be refunded.
fn refundable(state: &State, intent: Option<String>, charge: Option<String>) -> Result<(usize, usize), ApiError> {
    let intent = match (intent, charge) {
        (None, None) => {
            let message = "One of the following params should be provided for this request: payment_intent or charge.";
            return Err(ApiError::invalid(message).code("parameter_missing"));
        }
        (Some(_), Some(_)) => {
            let message = "You may only specify one of these parameters: charge, payment_intent.";
            return Err(ApiError::invalid(message));
        }
        (Some(intent), None) => intent,
        (None, Some(charge)) => {
            let missing = || ApiError::no_such(400, "charge", &charge, "charge");
            state.charges.get(&charge).ok_or_else(missing)?.payment_intent.clone()
        }
    };
    let missing = || ApiError::no_such(400, "payment_intent", &intent, "payment_intent");
    let at = state.intents.find(&intent).ok_or_else(missing)?;
    let captured = charges::latest_charge(state, at).filter(|charge| state.charges[*charge].captured);
    let charge = captured.ok_or_else(|| {
        ApiError::invalid(format!("This PaymentIntent ({intent}) does not have a successful charge to refund."))
            .param("payment_intent")
            .began()
    })?;
    if disputes::stands(state, charge) {
        let message = format!("Charge {} has been charged back; cannot issue a refund.", state.charges[charge].id);
        return Err(ApiError::state(message, "charge_disputed"));
    }
    Ok((at, charge))
}

/// The money leaves the account.
fn book(state: &mut State, row: usize) {
    let refund = &state.refunds[row];
    let (amount, id) = (refund.amount, refund.id.clone());
    let at = intent_of(state, row);
    let txn = charges::movement(state, Flow::Refund, -amount, 0, id, at);
    let refund = state.refunds.edit(row);
    (refund.status, refund.balance_transaction) = ("succeeded".to_owned(), Some(txn));
}

/// A pending refund has come through, unless the issuer took the money meanwhile.
pub(crate) fn succeed(state: &mut State, row: usize) {
    if state.refunds[row].status != "pending" {
        return;
    }
    book(state, row);
    tell(state, "refund.updated", row);
    tell(state, "charge.refund.updated", row);
}

/// A refund that seemed to succeed comes back: the card is closed.
pub(crate) fn fail(state: &mut State, row: usize) {
    let (amount, id) = (state.refunds[row].amount, state.refunds[row].id.clone());
    let at = intent_of(state, row);
    let txn = charges::movement(state, Flow::RefundFailure, amount, 0, id, at);
    undo(state, row, at, "expired_or_canceled_card", Some(txn));
}

/// Refunds of a disputed charge that are still pending fail: the issuer gives the money back instead. No money moved.
pub(crate) fn yield_to_dispute(state: &mut State, at: usize) {
    for row in state.intents[at].refunds.clone() {
        if state.refunds[row].status == "pending" {
            undo(state, row, at, "charge_for_pending_refund_disputed", None);
        }
    }
}

fn undo(state: &mut State, row: usize, at: usize, reason: &str, txn: Option<String>) {
    let charge = charges::latest_charge(state, at).expect("what is refunded was charged");
    let charge = state.charges.edit(charge);
    charge.amount_refunded -= state.refunds[row].amount;
    charge.refunded = false;
    let refund = state.refunds.edit(row);
    (refund.status, refund.failure_balance_transaction) = ("failed".to_owned(), txn);
    refund.failure_reason = Some(reason.to_owned());
    for event in ["refund.failed", "refund.updated", "charge.refund.updated"] {
        tell(state, event, row);
    }
}

/// `POST /v1/refunds/{id}`: only metadata can change.
pub(crate) fn update(state: &mut State, row: usize, mut form: Form) -> Result<Done, ApiError> {
    let metadata = form.metadata(&state.refunds[row].metadata)?;
    form.finish()?;
    state.refunds.edit(row).metadata = metadata;
    tell(state, "refund.updated", row);
    Ok(Done::Object(Kind::Refund, row))
}

/// `GET /v1/refunds`.
pub(crate) fn list(state: &State, mut form: Form) -> Result<(Vec<usize>, bool), ApiError> {
    let page = Page::take(&mut form)?;
    let (intent, charge) = (form.text("payment_intent")?, form.text("charge")?);
    form.finish()?;
    let named = match (&intent, &charge) {
        (Some(id), _) => Some(id.as_str()),
        (None, Some(id)) => Some(state.charges.get(id).map_or("", |charge| charge.payment_intent.as_str())),
        (None, None) => None,
    };
    let wanted = |refund: &Refund| charge.as_ref().is_none_or(|id| refund.charge == *id);
    match named {
        None => page.pick(&state.refunds, (0..state.refunds.all().len()).rev(), wanted),
        Some(id) => {
            let rows = state.intents.get(id).map(|intent| intent.refunds.as_slice()).unwrap_or_default();
            page.pick(&state.refunds, rows.iter().rev().copied(), wanted)
        }
    }
}

fn intent_of(state: &State, row: usize) -> usize {
    state.intents.find(&state.refunds[row].payment_intent).expect("a refund is of an intent")
}

fn tell(state: &mut State, event: &'static str, row: usize) {
    let shown = render(&state.refunds[row]);
    state.emit(event, shown);
}
