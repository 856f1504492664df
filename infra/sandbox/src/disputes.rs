//! Disputes: an issuer takes money back for its card holder, and says in the end whether it keeps it.

use crate::api::Done;
use crate::charges::{self, Flow};
use crate::error::ApiError;
use crate::form::Form;
use crate::objects::{Dispute, DisputeStatus, Kind, render};
use crate::refunds;
use crate::state::State;
use crate::table::Page;

/// What Stripe takes for receiving a dispute, in minor units. It never gives it back, won or lost
/// (<https://docs.stripe.com/disputes/how-disputes-work>).
const FEE_MINOR_UNITS: i64 = 1_500;
/// How long a seller has to answer a card network.
const EVIDENCE_DUE_SECONDS: i64 = 9 * 24 * 60 * 60;
/// The two texts by which Stripe's test mode decides; any other leaves the dispute under review.
const WINNING: &str = "winning_evidence";
const LOSING: &str = "losing_evidence";

/// The texts and files that a seller can give.
pub(crate) const EVIDENCE: [&str; 27] = [
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
];

/// An issuer takes back what an intent captured and did not refund. Gives the dispute's row; `None` if nothing was
/// captured, nothing is left, or it was disputed before.
pub(crate) fn open(state: &mut State, at: usize) -> Option<usize> {
    let charge = charges::latest_charge(state, at)?;
    if !state.charges[charge].captured || state.charges[charge].dispute.is_some() {
        return None;
    }
    refunds::yield_to_dispute(state, at);
    let disputed = &state.charges[charge];
    let amount = disputed.amount_captured - disputed.amount_refunded;
    if amount == 0 {
        return None;
    }
    let dispute = Dispute {
        amount,
        charge: disputed.id.clone(),
        created: state.now(),
        currency: disputed.currency.clone(),
        due_by: state.now() + EVIDENCE_DUE_SECONDS,
        payment_intent: disputed.payment_intent.clone(),
        reason: "fraudulent".to_owned(),
        token: disputed.token.clone(),
        ..Dispute::default()
    };
    let id = state.id("du_");
    let charge = state.charges.edit(charge);
    (charge.disputed, charge.dispute) = (true, Some(id.clone()));
    let row = state.disputes.insert(Dispute { id, ..dispute });
    book(state, row, Flow::Dispute, -amount, FEE_MINOR_UNITS);
    tell(state, "charge.dispute.created", row);
    tell(state, "charge.dispute.funds_withdrawn", row);
    Some(row)
}

/// The issuer has decided. Must be open.
pub(crate) fn decide(state: &mut State, row: usize, won: bool) {
    assert!(is_open(state, row), "a dispute is decided once");
    state.disputes.edit(row).status = if won { DisputeStatus::Won } else { DisputeStatus::Lost };
    if won {
        let amount = state.disputes[row].amount;
        book(state, row, Flow::DisputeReversal, amount, 0);
    }
    tell(state, "charge.dispute.closed", row);
    if won {
        tell(state, "charge.dispute.funds_reinstated", row);
    }
}

/// The issuer, or a court, takes back that a dispute was lost. Must be lost.
pub(crate) fn reverse(state: &mut State, row: usize) {
    assert!(is_lost(state, row), "only a loss is taken back");
    state.disputes.edit(row).status = DisputeStatus::Won;
    let amount = state.disputes[row].amount;
    book(state, row, Flow::DisputeReversal, amount, 0);
    tell(state, "charge.dispute.updated", row);
    tell(state, "charge.dispute.funds_reinstated", row);
}

fn book(state: &mut State, row: usize, flow: Flow, amount: i64, fee: i64) {
    let (source, intent) = (state.disputes[row].id.clone(), &state.disputes[row].payment_intent);
    let at = state.intents.find(intent).expect("a dispute is of an intent");
    let txn = charges::movement(state, flow, amount, fee, source, at);
    let txn = state.txns.get(&txn).expect("it was just noted").clone();
    state.disputes.edit(row).balance_transactions.push(txn);
}

/// Whether the issuer has yet to decide.
pub(crate) fn is_open(state: &State, row: usize) -> bool {
    matches!(state.disputes[row].status, DisputeStatus::NeedsResponse | DisputeStatus::UnderReview)
}

pub(crate) fn is_lost(state: &State, row: usize) -> bool {
    state.disputes[row].status == DisputeStatus::Lost
}

/// Whether the money of a charge is with its issuer, so that it cannot be refunded.
pub(crate) fn stands(state: &State, charge: usize) -> bool {
    let dispute = state.charges[charge].dispute.as_deref().and_then(|id| state.disputes.get(id));
    dispute.is_some_and(|dispute| dispute.status != DisputeStatus::Won)
}

/// Row of an intent's dispute.
pub(crate) fn of_intent(state: &State, intent: &str) -> Option<usize> {
    let charge = charges::latest_charge(state, state.intents.find(intent)?)?;
    state.disputes.find(state.charges[charge].dispute.as_deref()?)
}

/// `POST /v1/disputes/{id}`: evidence, which is handed in once, and metadata.
pub(crate) fn update(state: &mut State, row: usize, mut form: Form) -> Result<Done, ApiError> {
    let metadata = form.metadata(&state.disputes[row].metadata)?;
    let mut given = Vec::new();
    for name in EVIDENCE {
        if let Some(text) = form.clearable(&format!("evidence[{name}]"))? {
            given.push((name, text));
        }
    }
    let submit = form.boolean("submit")?;
    form.finish()?;
    let answers = state.disputes[row].status == DisputeStatus::NeedsResponse;
    if !answers && (!given.is_empty() || submit == Some(true)) {
        return Err(closed(state, row, "Its evidence can no longer be changed or submitted."));
    }
    let now = state.now();
    let dispute = state.disputes.edit(row);
    dispute.metadata = metadata;
    for (name, text) in given {
        match text.is_empty() {
            true => dispute.evidence.remove(name),
            false => dispute.evidence.insert(name.to_owned(), text),
        };
    }
    let mut won = None;
    if answers && submit.unwrap_or(true) && !dispute.evidence.is_empty() {
        dispute.submission_count += 1;
        dispute.past_due = now > dispute.due_by;
        dispute.status = DisputeStatus::UnderReview;
        won = match dispute.evidence.get("uncategorized_text").map(String::as_str) {
            Some(WINNING) => Some(true),
            Some(LOSING) => Some(false),
            _ => None,
        };
    }
    tell(state, "charge.dispute.updated", row);
    if let Some(won) = won {
        decide(state, row, won);
    }
    Ok(Done::Object(Kind::Dispute, row))
}

/// `POST /v1/disputes/{id}/close`: the seller gives in.
pub(crate) fn close(state: &mut State, row: usize, form: Form) -> Result<Done, ApiError> {
    form.finish()?;
    if state.disputes[row].status != DisputeStatus::NeedsResponse {
        return Err(closed(state, row, "It can no longer be closed."));
    }
    decide(state, row, false);
    Ok(Done::Object(Kind::Dispute, row))
}

fn closed(state: &State, row: usize, so: &str) -> ApiError {
    let dispute = &state.disputes[row];
    ApiError::invalid(format!("The dispute {} has a status of {}. {so}", dispute.id, dispute.status.as_str())).began()
}

/// `GET /v1/disputes`.
pub(crate) fn list(state: &State, mut form: Form) -> Result<(Vec<usize>, bool), ApiError> {
    let page = Page::take(&mut form)?;
    let (intent, charge) = (form.text("payment_intent")?, form.text("charge")?);
    form.finish()?;
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    page.pick(&state.disputes, (0..state.disputes.all().len()).rev(), |dispute| {
        is(&intent, &dispute.payment_intent) && is(&charge, &dispute.charge)
    })
}

fn tell(state: &mut State, event: &'static str, row: usize) {
    let shown = render(&state.disputes[row]);
    state.emit(event, shown);
}
