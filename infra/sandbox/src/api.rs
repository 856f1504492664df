//! One call: who asks, was it answered before, what is asked, and the answer in Stripe's shape.

use axum::http::{HeaderMap, Method};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::error::ApiError;
use crate::form::Form;
use crate::idempotency::{Kept, Replay, fingerprint};
use crate::lists;
use crate::objects::{Kind, compact};
use crate::state::State;
use crate::{customers, disputes, intents, refunds, setups};

/// What may be expanded, at any depth up to four.
const EXPANDABLE: [&str; 8] = [
    "data",
    "customer",
    "payment_method",
    "latest_charge",
    "charge",
    "payment_intent",
    "balance_transaction",
    "source",
];
const EXPAND_DEPTH_MAX: usize = 4;
/// What Stripe hides of an intent from a browser.
const PRIVATE: [&str; 20] = [
    "amount_capturable",
    "amount_received",
    "application",
    "application_fee_amount",
    "customer",
    "customer_account",
    "latest_attempt",
    "latest_charge",
    "mandate",
    "metadata",
    "on_behalf_of",
    "payment_method_options",
    "payment_record",
    "review",
    "single_use_mandate",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_data",
    "transfer_group",
    "invoice",
];

/// What a handler has to show.
pub(crate) enum Done {
    Object(Kind, usize),
    Value(Value),
}

/// A call as it came in.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a str,
}

/// The answer to a call.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) request_id: String,
    pub(crate) replayed: bool,
    /// How long to hold it back.
    pub(crate) hang_ms: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Secret,
    Publishable,
    ReadOnly,
}

/// Answers a call.
pub(crate) fn answer(state: &mut State, request: &Request<'_>) -> Answer {
    state.now_ms = (state.settings.clock)();
    state.hang_ms = state.delay_ms;
    let request_id = state.id("req_");
    let (status, body, replayed) = run(state, request, &request_id).unwrap_or_else(|error| {
        let body = error.body();
        (error.status, body, false)
    });
    Answer { status, body, request_id, replayed, hang_ms: state.hang_ms }
}

fn run(state: &mut State, request: &Request<'_>, request_id: &str) -> Result<(u16, String, bool), ApiError> {
    let caller = caller(state, request.headers)?;
    if state.down {
        return Err(ApiError::api(503, "The payment provider is down for maintenance. Please try again later."));
    }
    let form = parameters(request)?;
    let key = match request.headers.get("idempotency-key").filter(|_| request.method == Method::POST) {
        Some(key) => Some(key.to_str().map_err(|_| ApiError::idempotency("Idempotency-Key is not plain text."))?),
        None => None,
    };
    state.public = caller == Caller::Publishable;
    let print = key.map(|_| fingerprint(&form)).unwrap_or_default();
    if let Some(key) = key
        && let Some(replay) = state.replays.find(key, request.path, print, state.now_ms)?
    {
        let mut body = replay.kept.body().map_err(|_| trouble())?;
        if state.public {
            hide(&mut body);
        }
        return Ok((replay.status, body.to_string(), true));
    }
    state.cause = Some((request_id.to_owned(), key.map(str::to_owned)));
    let (status, remembered, kept, body) = execute(state, caller, request, form);
    if let Some(key) = key.filter(|_| remembered) {
        let kept = kept.unwrap_or_else(|| Kept::Body(body.as_str().into()));
        let (at_ms, path) = (state.now_ms, request.path.into());
        let ready_ms = at_ms + state.hang_ms;
        state.remember(key, Replay { at_ms, ready_ms, fingerprint: print, path, status, kept });
    }
    state.flush().map_err(|error| {
        tracing::error!(%error, "the sandbox cannot write its database");
        trouble()
    })?;
    Ok((status, body, false))
}

/// Runs the call: status, whether a key remembers it, what it then keeps (or the whole body), and the body.
fn execute(
    state: &mut State,
    caller: Caller,
    request: &Request<'_>,
    mut form: Form,
) -> (u16, bool, Option<Kept>, String) {
    let expand = match take_expand(&mut form) {
        Ok(expand) => expand,
        Err(error) => return (error.status, false, None, error.body()),
    };
    let done = match state.broken {
        true => Err(ApiError::api(500, "An unknown error occurred").began()),
        false => route(state, caller, request, form),
    };
    match done {
        Ok(done) => {
            let kept = match done {
                Done::Object(kind, at) if expand.is_empty() => Some(Kept::Object(kind, keep(state, kind, at).into())),
                _ => None,
            };
            let mut shown = match done {
                Done::Object(kind, at) => state.show(kind, at),
                Done::Value(value) => value,
            };
            for path in &expand {
                expand_into(state, &mut shown, &path.split('.').collect::<Vec<_>>());
            }
            if state.public {
                hide(&mut shown);
            }
            (200, true, kept, shown.to_string())
        }
        Err(mut error) => {
            if state.public {
                error.each_object(hide);
            }
            (error.status, error.remembered, None, error.body())
        }
    }
}

fn keep(state: &State, kind: Kind, at: usize) -> String {
    match kind {
        Kind::Intent => compact(&state.intents[at]),
        Kind::Charge => compact(&state.charges[at]),
        Kind::Refund => compact(&state.refunds[at]),
        Kind::Customer => compact(&state.customers[at]),
        Kind::Setup => compact(&state.setups[at]),
        Kind::Method => compact(&state.methods[at]),
        Kind::Txn => compact(&state.txns[at]),
        Kind::Dispute => compact(&state.disputes[at]),
    }
}

fn trouble() -> ApiError {
    ApiError::api(500, "An unknown error occurred")
}

/// The key that the caller holds, as user name of Basic or as Bearer token.
fn caller(state: &State, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let header = headers.get("authorization").and_then(|header| header.to_str().ok());
    let key = header.and_then(|header| match header.split_once(' ')? {
        (scheme, token) if scheme.eq_ignore_ascii_case("bearer") => Some(token.to_owned()),
        (scheme, token) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
            Some(decoded.split(':').next().unwrap_or_default().to_owned())
        }
        _ => None,
    });
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        let message = "You did not provide an API key. You need to provide your API key in the Authorization header, \
                       using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').";
        return Err(ApiError::refused(401, message));
    };
    match key {
        _ if key == state.settings.secret_key => Ok(Caller::Secret),
        _ if key == state.settings.publishable_key => Ok(Caller::Publishable),
        _ if state.settings.read_only_key.as_ref() == Some(&key) => Ok(Caller::ReadOnly),
        _ => {
            let shown: String = key.chars().take(8).collect();
            Err(ApiError::refused(401, format!("Invalid API Key provided: {shown}****")))
        }
    }
}

fn parameters(request: &Request<'_>) -> Result<Form, ApiError> {
    if request.body.is_empty() {
        return Form::parse(request.query);
    }
    let kind = request.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        let message = format!(
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded; it was '{kind}')."
        );
        return Err(ApiError::invalid(message));
    }
    Form::parse(request.body)
}

/// Sends a call to its handler.
fn route(state: &mut State, caller: Caller, request: &Request<'_>, mut form: Form) -> Result<Done, ApiError> {
    let path: Vec<&str> = request.path.trim_start_matches("/v1/").split('/').collect();
    let method = request.method.as_str();
    permit(caller, method, &path)?;
    check_client_secret(state, caller, &path, &mut form)?;
    match (method, path.as_slice()) {
        ("POST", ["payment_intents"]) => intents::create(state, form),
        ("GET", ["payment_intents"]) => lists::intents(state, form),
        (_, ["payment_intents", id, rest @ ..]) => {
            let at = state.intents.at_path(id)?;
            match (method, rest) {
                ("GET", []) => found(form, Kind::Intent, at),
                ("POST", []) => intents::update(state, at, form),
                ("POST", ["confirm"]) => intents::confirm(state, at, form),
                ("POST", ["capture"]) => intents::capture(state, at, form),
                ("POST", ["cancel"]) => intents::cancel(state, at, form),
                _ => Err(unrecognised(request)),
            }
        }
        ("POST", ["refunds"]) => refunds::create(state, form),
        ("GET", ["refunds"]) => lists::refunds(state, form),
        ("GET", ["refunds", id]) => found(form, Kind::Refund, state.refunds.at_path(id)?),
        ("POST", ["refunds", id]) => refunds::update(state, state.refunds.at_path(id)?, form),
        ("GET", ["charges", id]) => found(form, Kind::Charge, state.charges.at_path(id)?),
        ("POST", ["customers"]) => customers::create(state, form),
        ("GET", ["customers", id]) => found(form, Kind::Customer, state.customers.at_path(id)?),
        ("POST", ["customers", id]) => customers::update(state, state.customers.at_path(id)?, form),
        ("DELETE", ["customers", id]) => customers::delete(state, state.customers.at_path(id)?, form),
        ("GET", ["customers", id, "payment_methods"]) => {
            state.customers.at_path(id)?;
            lists::methods(state, Some(id), form)
        }
        ("POST", ["setup_intents"]) => setups::create(state, form),
        ("GET", ["setup_intents"]) => lists::setups(state, form),
        ("GET", ["setup_intents", id]) => found(form, Kind::Setup, state.setups.at_path(id)?),
        ("POST", ["setup_intents", id, "confirm"]) => setups::confirm(state, state.setups.at_path(id)?, form),
        ("POST", ["setup_intents", id, "cancel"]) => setups::cancel(state, state.setups.at_path(id)?, form),
        ("GET", ["payment_methods"]) => lists::methods(state, None, form),
        ("GET", ["payment_methods", id]) => found(form, Kind::Method, state.methods.at_path(id)?),
        ("POST", ["payment_methods", id, "attach"]) => customers::attach_call(state, id, form),
        ("POST", ["payment_methods", id, "detach"]) => customers::detach(state, state.methods.at_path(id)?, form),
        ("GET", ["balance_transactions"]) => lists::txns(state, form),
        ("GET", ["balance_transactions", id]) => found(form, Kind::Txn, state.txns.at_path(id)?),
        ("GET", ["disputes"]) => lists::disputes(state, form),
        ("GET", ["disputes", id]) => found(form, Kind::Dispute, state.disputes.at_path(id)?),
        ("POST", ["disputes", id]) => disputes::update(state, state.disputes.at_path(id)?, form),
        ("POST", ["disputes", id, "close"]) => disputes::close(state, state.disputes.at_path(id)?, form),
        ("GET", ["events"]) => lists::events(state, form),
        ("GET", ["events", id]) => lists::event(state, id, form),
        _ => Err(unrecognised(request)),
    }
}

fn found(form: Form, kind: Kind, at: usize) -> Result<Done, ApiError> {
    form.finish()?;
    Ok(Done::Object(kind, at))
}

fn unrecognised(request: &Request<'_>) -> ApiError {
    let message = format!("Unrecognized request URL ({}: {}).", request.method, request.path);
    ApiError::refused(404, message)
}

/// A browser may read and confirm an intent whose secret it holds; a read-only key may read.
fn permit(caller: Caller, method: &str, path: &[&str]) -> Result<(), ApiError> {
    let own = matches!(
        (method, path),
        ("GET", ["payment_intents" | "setup_intents", _])
            | ("POST", ["payment_intents" | "setup_intents", _, "confirm"])
    );
    match caller {
        Caller::Publishable if !own => {
            let message = "This API call cannot be made with a publishable API key. Please use a secret API key. You \
                           can find a list of your API keys at https://dashboard.stripe.com/account/apikeys.";
            Err(ApiError::refused(401, message).code("secret_key_required"))
        }
        Caller::ReadOnly if method != "GET" => {
            let message = "The provided key does not have the required permissions for this endpoint.";
            Err(ApiError::refused(403, message).code("more_permissions_required"))
        }
        _ => Ok(()),
    }
}

fn check_client_secret(state: &State, caller: Caller, path: &[&str], form: &mut Form) -> Result<(), ApiError> {
    let (secret, name, code) = match path {
        ["payment_intents", id, ..] => (
            &state.intents[state.intents.at_path(id)?].client_secret,
            "PaymentIntent",
            "payment_intent_invalid_parameter",
        ),
        ["setup_intents", id, ..] => {
            (&state.setups[state.setups.at_path(id)?].client_secret, "SetupIntent", "setup_intent_invalid_parameter")
        }
        _ => return Ok(()),
    };
    match form.text("client_secret")? {
        None if caller == Caller::Publishable => Err(ApiError::missing("client_secret")),
        Some(given) if given != *secret => {
            let message =
                format!("The client_secret provided does not match the client_secret associated with the {name}.");
            Err(ApiError::invalid(message).code(code).param("client_secret"))
        }
        _ => Ok(()),
    }
}

fn take_expand(form: &mut Form) -> Result<Vec<String>, ApiError> {
    let expand = form.list("expand");
    for path in &expand {
        let parts: Vec<&str> = path.split('.').collect();
        if parts.len() > EXPAND_DEPTH_MAX || parts.iter().any(|part| !EXPANDABLE.contains(part)) {
            let message = format!("This property cannot be expanded ({path}).");
            return Err(ApiError::invalid(message).param("expand"));
        }
    }
    Ok(expand)
}

fn expand_into(state: &State, value: &mut Value, path: &[&str]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| expand_into(state, item, path)),
        Value::Object(fields) => {
            let Some((name, rest)) = path.split_first() else { return };
            let Some(field) = fields.get_mut(*name) else { return };
            if let Some(object) = field.as_str().and_then(|id| state.lookup(id)) {
                *field = object;
            }
            expand_into(state, field, rest);
        }
        _ => {}
    }
}

/// Removes what a browser may not see.
fn hide(shown: &mut Value) {
    if let Some(fields) = shown.as_object_mut() {
        fields.retain(|name, _| !PRIVATE.contains(&name.as_str()));
    }
}
