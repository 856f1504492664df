//! Lists, and the events.

use serde_json::{Value, json};

use crate::api::Done;
use crate::error::ApiError;
use crate::form::Form;
use crate::objects::Kind;
use crate::state::{State, Told};
use crate::table::Page;
use crate::{customers, disputes, intents, refunds, setups};

const EVENT_TYPES_MAX: usize = 20;

/// `GET /v1/payment_intents`.
pub(crate) fn intents(state: &State, form: Form) -> Result<Done, ApiError> {
    Ok(listed(state, "/v1/payment_intents", Kind::Intent, intents::list(state, form)?))
}

/// `GET /v1/setup_intents`.
pub(crate) fn setups(state: &State, form: Form) -> Result<Done, ApiError> {
    Ok(listed(state, "/v1/setup_intents", Kind::Setup, setups::list(state, form)?))
}

/// `GET /v1/refunds`.
pub(crate) fn refunds(state: &State, form: Form) -> Result<Done, ApiError> {
    Ok(listed(state, "/v1/refunds", Kind::Refund, refunds::list(state, form)?))
}

/// `GET /v1/disputes`.
pub(crate) fn disputes(state: &State, form: Form) -> Result<Done, ApiError> {
    Ok(listed(state, "/v1/disputes", Kind::Dispute, disputes::list(state, form)?))
}

/// `GET /v1/payment_methods`, or those of the customer in the path.
pub(crate) fn methods(state: &State, owner: Option<&str>, form: Form) -> Result<Done, ApiError> {
    let path = match owner {
        Some(owner) => format!("/v1/customers/{owner}/payment_methods"),
        None => "/v1/payment_methods".to_owned(),
    };
    Ok(listed(state, &path, Kind::Method, customers::methods(state, owner, form)?))
}

/// `GET /v1/balance_transactions`.
pub(crate) fn txns(state: &State, mut form: Form) -> Result<Done, ApiError> {
    let page = Page::take(&mut form)?;
    let (kind, source, currency) = (form.text("type")?, form.text("source")?, form.text("currency")?);
    form.finish()?;
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let rows = page.pick(&state.txns, (0..state.txns.all().len()).rev(), |txn| {
        is(&kind, &txn.r#type) && is(&source, &txn.source) && is(&currency, &txn.currency)
    })?;
    Ok(listed(state, "/v1/balance_transactions", Kind::Txn, rows))
}

fn listed(state: &State, path: &str, kind: Kind, (rows, more): (Vec<usize>, bool)) -> Done {
    page(path, rows.into_iter().map(|at| state.show(kind, at)).collect(), more)
}

fn page(path: &str, data: Vec<Value>, more: bool) -> Done {
    Done::Value(json!({"object": "list", "data": data, "has_more": more, "url": path}))
}

/// `GET /v1/events`, newest first.
pub(crate) fn events(state: &State, mut form: Form) -> Result<Done, ApiError> {
    let wanted = Page::take(&mut form)?;
    let mut types = form.list("types");
    types.extend(form.text("type")?);
    form.finish()?;
    if types.len() > EVENT_TYPES_MAX {
        return Err(ApiError::invalid(format!("You can filter by up to {EVENT_TYPES_MAX} types.")).param("types"));
    }
    let find = |id: &str| state.events.iter().rposition(|told| told.id == id);
    let matches = |told: &Told| {
        wanted.spans(told.created) && (types.is_empty() || types.iter().any(|kind| kind_matches(kind, &told.r#type)))
    };
    let rows = (0..state.events.len()).rev();
    let (rows, more) = wanted.select("event", find, rows, |at| matches(&state.events[at]))?;
    Ok(page("/v1/events", rows.into_iter().map(|at| shown(state, at)).collect(), more))
}

/// Stripe's `type` may end in a wildcard.
fn kind_matches(wanted: &str, kind: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => wanted == kind,
    }
}

/// `GET /v1/events/{id}`.
pub(crate) fn event(state: &State, id: &str, form: Form) -> Result<Done, ApiError> {
    form.finish()?;
    let at = state.events.iter().rposition(|told| told.id == id);
    Ok(Done::Value(shown(state, at.ok_or_else(|| ApiError::no_such(404, "event", id, "id"))?)))
}

fn shown(state: &State, at: usize) -> Value {
    let mut event: Value = serde_json::from_str(&state.events[at].body).expect("an event is written as JSON");
    event["pending_webhooks"] = json!(i32::from(state.pending(state.events_base + at as u64)));
    event
}
