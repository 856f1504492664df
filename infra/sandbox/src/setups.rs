//! Setup intents: a payment method is saved for charges while the buyer is away.

use serde_json::json;

use crate::api::Done;
use crate::cards::{Behaviour, card};
use crate::customers;
use crate::error::ApiError;
use crate::form::{Form, Metadata};
use crate::intents::{authentication_failed, method_types};
use crate::objects::{Kind, Object, Setup, Status, render};
use crate::state::State;
use crate::table::Page;

const CANCELLATION_REASONS: [&str; 3] = ["abandoned", "duplicate", "requested_by_customer"];
const IGNORED: [&str; 3] = ["payment_method_options", "use_stripe_sdk", "mandate_data"];
const UNEXPECTED: &str = "setup_intent_unexpected_state";

/// `POST /v1/setup_intents`.
pub(crate) fn create(state: &mut State, mut form: Form) -> Result<Done, ApiError> {
    form.ignore(&IGNORED);
    let customer = customers::existing(state, &mut form)?;
    let method = form.text("payment_method")?;
    let confirm = form.boolean("confirm")?.unwrap_or(false);
    let (payment_method_types, automatic_payment_methods) = method_types(&mut form)?;
    let setup = Setup {
        customer,
        payment_method_types,
        automatic_payment_methods,
        description: form.text("description")?,
        metadata: form.metadata(&Metadata::new())?,
        usage: form.choice("usage", &["off_session", "on_session"])?.unwrap_or("off_session").to_owned(),
        return_url: form.text("return_url")?,
        created: state.now(),
        ..Setup::default()
    };
    form.finish()?;
    let method = method.map(|method| customers::method(state, &method, setup.customer.as_deref())).transpose()?;
    let id = state.id("seti_");
    let client_secret = format!("{id}_{}", state.id("secret_"));
    let status = if method.is_some() { Status::RequiresConfirmation } else { Status::RequiresPaymentMethod };
    let payment_method = method.map(|method| state.methods[method].id.clone());
    let at = state.setups.insert(Setup { id, client_secret, status, payment_method, ..setup });
    if confirm {
        confirm_now(state, at)?;
    }
    Ok(Done::Object(Kind::Setup, at))
}

/// `GET /v1/setup_intents`.
pub(crate) fn list(state: &State, mut form: Form) -> Result<(Vec<usize>, bool), ApiError> {
    let page = Page::take(&mut form)?;
    let (customer, method) = (form.text("customer")?, form.text("payment_method")?);
    form.finish()?;
    let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
    page.pick(&state.setups, (0..state.setups.all().len()).rev(), |setup| {
        is(&customer, &setup.customer) && is(&method, &setup.payment_method)
    })
}

/// `POST /v1/setup_intents/{id}/confirm`.
pub(crate) fn confirm(state: &mut State, at: usize, mut form: Form) -> Result<Done, ApiError> {
    form.ignore(&IGNORED);
    let method = form.text("payment_method")?;
    let return_url = form.text("return_url")?;
    form.finish()?;
    let setup = &state.setups[at];
    if matches!(setup.status, Status::Succeeded | Status::Canceled | Status::Processing) {
        let message = format!(
            "You cannot confirm this SetupIntent because it has a status of {}. Only a SetupIntent with one of the \
             following statuses may be confirmed: requires_confirmation, requires_action.",
            setup.status.as_str()
        );
        return Err(unexpected(state, at, &message));
    }
    let customer = setup.customer.clone();
    if let Some(method) = method {
        let method = customers::method(state, &method, customer.as_deref())?;
        state.setups.edit(at).payment_method = Some(state.methods[method].id.clone());
    }
    if return_url.is_some() {
        state.setups.edit(at).return_url = return_url;
    }
    confirm_now(state, at)?;
    Ok(Done::Object(Kind::Setup, at))
}

fn confirm_now(state: &mut State, at: usize) -> Result<(), ApiError> {
    let method = state.setups[at].payment_method.as_deref().and_then(|method| state.methods.get(method));
    let Some((shown, card)) = method.and_then(|method| Some((render(method), card(&method.token)?))) else {
        let message = "You cannot confirm this SetupIntent because it's missing a payment method. Update the \
                       SetupIntent with a payment method and then confirm it again.";
        return Err(unexpected(state, at, message));
    };
    let (base_url, now) = (state.base_url.clone(), state.now());
    let setup = state.setups.edit(at);
    (setup.last_setup_error, setup.next_action) = (None, None);
    if let Some(why) = card.unsaveable(now) {
        let error = why.error().with("payment_method", shown);
        fail(state, at, &error);
        return Err(error.with("setup_intent", state.show(Kind::Setup, at)));
    }
    match card.behaviour {
        Behaviour::Authenticates(_) | Behaviour::AuthenticatesInVain(_) => {
            let url = format!("{base_url}/authenticate/{}?client_secret={}", setup.id, setup.client_secret);
            setup.status = Status::RequiresAction;
            setup.next_action = Some(
                json!({"type": "redirect_to_url", "redirect_to_url": {"url": url, "return_url": setup.return_url}}),
            );
            tell(state, "setup_intent.requires_action", at);
            Ok(())
        }
        _ => {
            succeed(state, at);
            Ok(())
        }
    }
}

fn succeed(state: &mut State, at: usize) {
    let setup = state.setups.edit(at);
    (setup.status, setup.next_action) = (Status::Succeeded, None);
    let agreed = setup.usage == "off_session";
    let (method, customer) = (setup.payment_method.clone().expect("it was confirmed with one"), setup.customer.clone());
    if let Some(customer) = customer {
        customers::attach(state, &method, &customer);
    }
    customers::set_up(state, &method, agreed);
    tell(state, "setup_intent.succeeded", at);
}

fn fail(state: &mut State, at: usize, error: &ApiError) {
    let setup = state.setups.edit(at);
    (setup.status, setup.payment_method, setup.next_action) = (Status::RequiresPaymentMethod, None, None);
    setup.last_setup_error = Some(error.members());
    tell(state, "setup_intent.setup_failed", at);
}

/// What the buyer did on the page of the issuer.
pub(crate) fn authenticated(state: &mut State, at: usize, complete: bool) {
    match state.setups[at].status {
        Status::RequiresAction if complete => succeed(state, at),
        Status::RequiresAction => fail(state, at, &authentication_failed("setup_intent_authentication_failure")),
        _ => {}
    }
}

/// `POST /v1/setup_intents/{id}/cancel`.
pub(crate) fn cancel(state: &mut State, at: usize, mut form: Form) -> Result<Done, ApiError> {
    let reason = form.choice("cancellation_reason", &CANCELLATION_REASONS)?;
    form.finish()?;
    let status = state.setups[at].status;
    if matches!(status, Status::Succeeded | Status::Canceled) {
        let message = format!(
            "You cannot cancel this SetupIntent because it has a status of {}. Only a SetupIntent with one of the \
             following statuses may be canceled: requires_payment_method, requires_confirmation, requires_action.",
            status.as_str()
        );
        return Err(unexpected(state, at, &message));
    }
    let setup = state.setups.edit(at);
    (setup.status, setup.next_action) = (Status::Canceled, None);
    setup.cancellation_reason = reason.map(str::to_owned);
    tell(state, "setup_intent.canceled", at);
    Ok(Done::Object(Kind::Setup, at))
}

fn unexpected(state: &State, at: usize, message: &str) -> ApiError {
    ApiError::state(message, UNEXPECTED).with(Setup::NAME, state.show(Kind::Setup, at))
}

fn tell(state: &mut State, event: &'static str, at: usize) {
    let shown = render(&state.setups[at]);
    state.emit(event, shown);
}
