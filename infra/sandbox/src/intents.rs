//! Payment intents: created, confirmed, captured, cancelled.

use serde_json::{Value, json};

use crate::api::Done;
use crate::cards::{AUTHENTICATION_REQUIRED, Behaviour, Decline, Exempt, card};
use crate::charges::{authorise, decline, fail, release, take, tell, token};
use crate::customers;
use crate::error::ApiError;
use crate::form::{Form, Metadata};
use crate::money;
use crate::objects::{Intent, Kind, Object, Status};
use crate::state::{State, Timer};
use crate::table::Page;

const CAPTURE_METHODS: [&str; 3] = ["automatic", "automatic_async", "manual"];
const CANCELLATION_REASONS: [&str; 4] = ["duplicate", "fraudulent", "requested_by_customer", "abandoned"];
/// Parameters that Stripe knows and that change nothing for a test card.
const IGNORED: [&str; 4] = ["payment_method_options", "use_stripe_sdk", "mandate_data", "radar_options"];
const UNEXPECTED: &str = "payment_intent_unexpected_state";

/// How a confirmation is asked for.
#[derive(Default)]
struct Confirmation {
    off_session: bool,
    error_on_requires_action: bool,
    return_url: Option<String>,
    setup_future_usage: Option<&'static str>,
}

impl Confirmation {
    fn take(form: &mut Form) -> Result<Confirmation, ApiError> {
        form.ignore(&IGNORED);
        let away = form.choice("off_session", &["true", "false", "one_off", "recurring"])?;
        Ok(Confirmation {
            off_session: away.is_some_and(|away| away != "false"),
            error_on_requires_action: form.boolean("error_on_requires_action")?.unwrap_or(false),
            return_url: form.text("return_url")?,
            setup_future_usage: form.choice("setup_future_usage", &["off_session", "on_session"])?,
        })
    }
}

/// `POST /v1/payment_intents`.
pub(crate) fn create(state: &mut State, mut form: Form) -> Result<Done, ApiError> {
    let amount = form.integer("amount")?.ok_or_else(|| ApiError::missing("amount"))?;
    let currency = money::currency(&form.text("currency")?.ok_or_else(|| ApiError::missing("currency"))?)?;
    money::check(amount, &currency)?;
    let customer = customers::existing(state, &mut form)?;
    let method = form.text("payment_method")?;
    let confirm = form.boolean("confirm")?.unwrap_or(false);
    let confirmation = Confirmation::take(&mut form)?;
    let (payment_method_types, automatic_payment_methods) = method_types(&mut form)?;
    let intent = Intent {
        amount,
        currency,
        customer,
        payment_method_types,
        automatic_payment_methods,
        capture_method: form.choice("capture_method", &CAPTURE_METHODS)?.unwrap_or("automatic_async").to_owned(),
        confirmation_method: form
            .choice("confirmation_method", &["automatic", "manual"])?
            .unwrap_or("automatic")
            .to_owned(),
        description: form.text("description")?,
        metadata: form.metadata(&Metadata::new())?,
        receipt_email: form.text("receipt_email")?,
        setup_future_usage: confirmation.setup_future_usage.map(str::to_owned),
        statement_descriptor: form.text("statement_descriptor")?,
        statement_descriptor_suffix: form.text("statement_descriptor_suffix")?,
        transfer_group: form.text("transfer_group")?,
        created: state.now(),
        ..Intent::default()
    };
    form.finish()?;
    if !confirm && (confirmation.off_session || confirmation.error_on_requires_action) {
        return Err(ApiError::invalid("You can only pass `off_session` when confirming: set `confirm` to true."));
    }
    if confirm {
        check_return_url(&intent, &confirmation)?;
    }
    let method = method.map(|method| customers::method(state, &method, intent.customer.as_deref())).transpose()?;
    let at = insert(state, intent, method);
    tell(state, "payment_intent.created", at);
    if confirm {
        confirm_now(state, at, confirmation)?;
    }
    Ok(Done::Object(Kind::Intent, at))
}

fn insert(state: &mut State, intent: Intent, method: Option<usize>) -> usize {
    let id = state.id("pi_");
    let client_secret = format!("{id}_{}", state.id("secret_"));
    let status = if method.is_some() { Status::RequiresConfirmation } else { Status::RequiresPaymentMethod };
    let payment_method = method.map(|method| state.methods[method].id.clone());
    let at = state.intents.insert(Intent { id, client_secret, status, payment_method, ..intent });
    let customer = state.intents[at].customer.as_deref().and_then(|customer| state.customers.find(customer));
    if let Some(customer) = customer {
        state.customers.edit(customer).intents.push(at);
    }
    at
}

/// `payment_method_types` and `automatic_payment_methods`, of which Stripe assumes the second.
pub(crate) fn method_types(form: &mut Form) -> Result<(Vec<String>, Option<Value>), ApiError> {
    let types = form.list("payment_method_types");
    let enabled = form.boolean("automatic_payment_methods[enabled]")?;
    let redirects = form.choice("automatic_payment_methods[allow_redirects]", &["always", "never"])?;
    if let Some(unknown) = types.iter().find(|name| !matches!(name.as_str(), "card" | "link")) {
        let message = format!("The payment method type \"{unknown}\" is invalid: this sandbox has only cards.");
        return Err(ApiError::invalid(message).param("payment_method_types"));
    }
    if !types.is_empty() && enabled == Some(true) {
        let message = "You may only specify one of these parameters: automatic_payment_methods, payment_method_types.";
        return Err(ApiError::invalid(message));
    }
    match types.is_empty() && enabled != Some(false) {
        true => Ok((
            vec!["card".to_owned()],
            Some(json!({"enabled": true, "allow_redirects": redirects.unwrap_or("always")})),
        )),
        false if types.is_empty() => Ok((vec!["card".to_owned()], None)),
        false => Ok((types, None)),
    }
}

fn check_return_url(intent: &Intent, confirmation: &Confirmation) -> Result<(), ApiError> {
    let redirects =
        intent.automatic_payment_methods.as_ref().is_some_and(|methods| methods["allow_redirects"] == "always");
    let given = confirmation.return_url.is_some() || intent.return_url.is_some();
    if !redirects || given || confirmation.off_session {
        return Ok(());
    }
    Err(ApiError::invalid(
        "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these \
         payment methods might redirect your customer off of your page, you must provide a `return_url`. If you don't \
         want to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and \
         `automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents.",
    )
    .param("return_url"))
}

/// `GET /v1/payment_intents`.
pub(crate) fn list(state: &State, mut form: Form) -> Result<(Vec<usize>, bool), ApiError> {
    let (page, customer) = (Page::take(&mut form)?, form.text("customer")?);
    form.finish()?;
    match customer {
        None => page.pick(&state.intents, (0..state.intents.all().len()).rev(), |_| true),
        Some(id) => {
            let intents = state.customers.get(&id).map(|customer| customer.intents.as_slice()).unwrap_or_default();
            page.pick(&state.intents, intents.iter().rev().copied(), |intent| intent.customer.as_ref() == Some(&id))
        }
    }
}

/// `POST /v1/payment_intents/{id}`.
pub(crate) fn update(state: &mut State, at: usize, mut form: Form) -> Result<Done, ApiError> {
    form.ignore(&IGNORED);
    let intent = &state.intents[at];
    let amount = form.integer("amount")?;
    let currency = form.text("currency")?.map(|text| money::currency(&text)).transpose()?;
    let metadata = form.metadata(&intent.metadata)?;
    let description = form.clearable("description")?;
    let receipt_email = form.clearable("receipt_email")?;
    let method = form.text("payment_method")?;
    let customer = customers::existing(state, &mut form)?;
    let future = form.choice("setup_future_usage", &["off_session", "on_session"])?;
    form.finish()?;
    let essential =
        amount.is_some() || currency.is_some() || method.is_some() || customer.is_some() || future.is_some();
    let open =
        matches!(intent.status, Status::RequiresPaymentMethod | Status::RequiresConfirmation | Status::RequiresAction);
    if essential && !open {
        return Err(unexpected(
            state,
            at,
            &format!(
                "This PaymentIntent could not be updated because it has a status of {}. Only its metadata and \
                 description may be updated then.",
                intent.status.as_str()
            ),
        ));
    }
    if amount.is_some() || currency.is_some() {
        let currency = currency.as_deref().unwrap_or(&intent.currency);
        money::check(amount.unwrap_or(intent.amount), currency)?;
    }
    let owner = customer.clone().or_else(|| intent.customer.clone());
    let method = method.map(|method| customers::method(state, &method, owner.as_deref())).transpose()?;
    let method = method.map(|method| state.methods[method].id.clone());
    if let Some(row) = customer.as_deref().and_then(|customer| state.customers.find(customer)) {
        let intents = &mut state.customers.edit(row).intents;
        if let Err(place) = intents.binary_search(&at) {
            intents.insert(place, at);
        }
    }
    let intent = state.intents.edit(at);
    (intent.amount, intent.metadata) = (amount.unwrap_or(intent.amount), metadata);
    intent.currency = currency.unwrap_or_else(|| std::mem::take(&mut intent.currency));
    intent.customer = owner;
    intent.setup_future_usage = future.map(str::to_owned).or_else(|| intent.setup_future_usage.take());
    for (field, given) in [(&mut intent.description, description), (&mut intent.receipt_email, receipt_email)] {
        if let Some(text) = given {
            *field = Some(text).filter(|text| !text.is_empty());
        }
    }
    if method.is_some() {
        (intent.payment_method, intent.next_action, intent.status) = (method, None, Status::RequiresConfirmation);
    }
    Ok(Done::Object(Kind::Intent, at))
}

/// `POST /v1/payment_intents/{id}/confirm`.
pub(crate) fn confirm(state: &mut State, at: usize, mut form: Form) -> Result<Done, ApiError> {
    let method = form.text("payment_method")?;
    let confirmation = Confirmation::take(&mut form)?;
    let receipt_email = form.text("receipt_email")?;
    form.finish()?;
    let intent = &state.intents[at];
    match intent.status {
        Status::RequiresPaymentMethod | Status::RequiresConfirmation | Status::RequiresAction => {}
        Status::Succeeded | Status::RequiresCapture => {
            let message = "You cannot confirm this PaymentIntent because it has already succeeded after being \
                           previously confirmed.";
            return Err(unexpected(state, at, message));
        }
        status => {
            let message = format!(
                "You cannot confirm this PaymentIntent because it has a status of {}. Only a PaymentIntent with one of \
                 the following statuses may be confirmed: requires_confirmation, requires_action.",
                status.as_str()
            );
            return Err(unexpected(state, at, &message));
        }
    }
    if state.public && intent.confirmation_method == "manual" {
        let message = "This PaymentIntent's confirmation_method is manual: confirm it with your secret key.";
        return Err(unexpected(state, at, message));
    }
    check_return_url(intent, &confirmation)?;
    let customer = intent.customer.clone();
    if let Some(method) = method {
        let method = customers::method(state, &method, customer.as_deref())?;
        state.intents.edit(at).payment_method = Some(state.methods[method].id.clone());
    }
    if let Some(email) = receipt_email {
        state.intents.edit(at).receipt_email = Some(email);
    }
    confirm_now(state, at, confirmation)?;
    Ok(Done::Object(Kind::Intent, at))
}

fn confirm_now(state: &mut State, at: usize, ask: Confirmation) -> Result<(), ApiError> {
    let Some(token) = token(state, at) else {
        let message = "You cannot confirm this PaymentIntent because it's missing a payment method. You can either \
                       update the PaymentIntent with a payment method and then confirm it again, or confirm it again \
                       directly with a payment method or ConfirmationToken.";
        return Err(unexpected(state, at, message));
    };
    let intent = state.intents.edit(at);
    (intent.next_action, intent.last_payment_error) = (None, None);
    intent.return_url = ask.return_url.or_else(|| intent.return_url.take());
    intent.setup_future_usage = ask.setup_future_usage.map(str::to_owned).or_else(|| intent.setup_future_usage.take());
    let card = card(&token).expect("only test methods become objects");
    if let Some(why) = card.expired(state.now()) {
        return Err(decline(state, at, why));
    }
    match card.behaviour {
        Behaviour::Authenticates(exempt) if ask.off_session && is_exempt(state, at, exempt) => authorise(state, at),
        Behaviour::Declines(why) | Behaviour::DeclinesWhenCharged(why) => return Err(decline(state, at, why)),
        Behaviour::Authenticates(_) | Behaviour::AuthenticatesInVain(_)
            if ask.off_session || ask.error_on_requires_action =>
        {
            return Err(decline(state, at, AUTHENTICATION_REQUIRED));
        }
        Behaviour::Authenticates(_) | Behaviour::AuthenticatesInVain(_) => require_action(state, at),
        Behaviour::Delays(seconds) => process_later(state, at, seconds, Timer::Authorise(at)),
        Behaviour::DeclinesAfter(seconds) => process_later(state, at, seconds, Timer::Decline(at)),
        Behaviour::Hangs => {
            authorise(state, at);
            state.hang_ms = state.settings.hang_ms();
        }
        Behaviour::Succeeds
        | Behaviour::Expires
        | Behaviour::Disputes
        | Behaviour::RefundFails
        | Behaviour::RefundPends
        | Behaviour::CaptureFails
        | Behaviour::CapturesAtOnce => authorise(state, at),
    }
    Ok(())
}

/// Whether the method of an intent needs no authentication while its holder is away.
fn is_exempt(state: &State, at: usize, exempt: Exempt) -> bool {
    let method = state.intents[at].payment_method.as_deref().and_then(|method| state.methods.get(method));
    match exempt {
        Exempt::Nothing => false,
        Exempt::OnceSetUp => method.is_some_and(|method| method.set_up),
        Exempt::OffSession => true,
    }
}

fn require_action(state: &mut State, at: usize) {
    let base_url = state.base_url.clone();
    let intent = state.intents.edit(at);
    let url = format!("{base_url}/authenticate/{}?client_secret={}", intent.id, intent.client_secret);
    intent.status = Status::RequiresAction;
    intent.next_action =
        Some(json!({"type": "redirect_to_url", "redirect_to_url": {"url": url, "return_url": intent.return_url}}));
    tell(state, "payment_intent.requires_action", at);
}

fn process_later(state: &mut State, at: usize, seconds: u32, timer: Timer) {
    state.intents.edit(at).status = Status::Processing;
    state.after(i64::from(seconds) * 1_000, timer);
    tell(state, "payment_intent.processing", at);
}

/// What a card that took its time has come to: authorised, or declined.
pub(crate) fn processed(state: &mut State, at: usize, declined: Option<Decline>) {
    match declined {
        _ if state.intents[at].status != Status::Processing => {}
        None => authorise(state, at),
        Some(why) => drop(decline(state, at, why)),
    }
}

/// What the buyer did on the page of the issuer.
pub(crate) fn authenticated(state: &mut State, at: usize, complete: bool) {
    if state.intents[at].status != Status::RequiresAction {
        return;
    }
    state.intents.edit(at).next_action = None;
    if complete {
        let card = token(state, at).and_then(|token| card(&token));
        return match card.map(|card| card.behaviour) {
            Some(Behaviour::AuthenticatesInVain(why)) => drop(decline(state, at, why)),
            _ => authorise(state, at),
        };
    }
    let error = authentication_failed("payment_intent_authentication_failure");
    fail(state, at, error.members());
}

/// The error of a buyer who could not, or would not, authenticate.
pub(crate) fn authentication_failed(code: &str) -> ApiError {
    let message = "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new \
                   PaymentMethod to attempt to fulfill this PaymentIntent again.";
    ApiError::state(message, code)
}

/// `POST /v1/payment_intents/{id}/capture`.
pub(crate) fn capture(state: &mut State, at: usize, mut form: Form) -> Result<Done, ApiError> {
    let amount = form.integer("amount_to_capture")?;
    let metadata = form.metadata(&state.intents[at].metadata)?;
    let suffix = form.text("statement_descriptor_suffix")?;
    form.ignore(&["final_capture", "statement_descriptor"]);
    form.finish()?;
    let intent = &state.intents[at];
    match intent.status {
        Status::RequiresCapture => {}
        Status::Succeeded => {
            let message = "This PaymentIntent could not be captured because it has already been captured.";
            return Err(unexpected(state, at, message));
        }
        status => {
            let message = format!(
                "This PaymentIntent could not be captured because it has a status of {}. Only a PaymentIntent with one \
                 of the following statuses may be captured: requires_capture.",
                status.as_str()
            );
            return Err(unexpected(state, at, &message));
        }
    }
    let amount = amount.unwrap_or(intent.amount_capturable);
    if amount < 1 {
        let message = "This value must be greater than or equal to 1.";
        return Err(ApiError::invalid(message).code("parameter_invalid_integer").param("amount_to_capture"));
    }
    if amount > intent.amount_capturable {
        let (asked, most) =
            (money::readable(amount, &intent.currency), money::readable(intent.amount_capturable, &intent.currency));
        let message = format!("The amount to capture ({asked}) is greater than the capturable amount ({most}).");
        return Err(ApiError::state(message, "amount_too_large").param("amount_to_capture"));
    }
    if token(state, at).and_then(|token| card(&token)).is_some_and(|card| card.behaviour == Behaviour::CaptureFails) {
        let message = "The charge cannot be captured as the authorization has expired.";
        return Err(
            ApiError::state(message, "charge_expired_for_capture").with("payment_intent", state.show(Kind::Intent, at))
        );
    }
    let intent = state.intents.edit(at);
    intent.metadata = metadata;
    intent.statement_descriptor_suffix = suffix.or_else(|| intent.statement_descriptor_suffix.take());
    take(state, at, amount);
    Ok(Done::Object(Kind::Intent, at))
}

/// `POST /v1/payment_intents/{id}/cancel`.
pub(crate) fn cancel(state: &mut State, at: usize, mut form: Form) -> Result<Done, ApiError> {
    let reason = form.choice("cancellation_reason", &CANCELLATION_REASONS)?;
    form.finish()?;
    let status = state.intents[at].status;
    if matches!(status, Status::Succeeded | Status::Processing | Status::Canceled) {
        let message = format!(
            "You cannot cancel this PaymentIntent because it has a status of {}. Only a PaymentIntent with one of the \
             following statuses may be canceled: requires_payment_method, requires_capture, requires_confirmation, \
             requires_action.",
            status.as_str()
        );
        return Err(unexpected(state, at, &message));
    }
    let now = state.now();
    let intent = state.intents.edit(at);
    (intent.status, intent.canceled_at, intent.amount_capturable) = (Status::Canceled, Some(now), 0);
    intent.cancellation_reason = reason.map(str::to_owned);
    intent.next_action = None;
    if status == Status::RequiresCapture {
        release(state, at);
    }
    tell(state, "payment_intent.canceled", at);
    Ok(Done::Object(Kind::Intent, at))
}

fn unexpected(state: &State, at: usize, message: &str) -> ApiError {
    ApiError::state(message, UNEXPECTED).with(Intent::NAME, state.show(Kind::Intent, at))
}
