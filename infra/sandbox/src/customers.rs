//! Customers and their saved payment methods.

use serde_json::json;

use crate::api::Done;
use crate::cards::card;
use crate::error::ApiError;
use crate::form::Form;
use crate::objects::{Customer, Kind, Method, render};
use crate::state::State;
use crate::table::Page;

/// Parameters that Stripe knows and that nothing here depends on.
const IGNORED: [&str; 4] = ["address", "shipping", "preferred_locales", "tax_exempt"];

/// `POST /v1/customers`.
pub(crate) fn create(state: &mut State, mut form: Form) -> Result<Done, ApiError> {
    let fields = Customer { id: state.id("cus_"), created: state.now(), ..Customer::default() };
    let mut customer = fill(fields, &mut form)?;
    let method = form.text("payment_method")?;
    form.finish()?;
    let row = match method {
        None => state.customers.insert(customer),
        Some(method) => {
            let method = self::method(state, &method, None)?;
            saveable(state, method)?;
            customer.default_payment_method =
                customer.default_payment_method.or(Some(state.methods[method].id.clone()));
            let row = state.customers.insert(customer);
            let (method, customer) = (state.methods[method].id.clone(), state.customers[row].id.clone());
            attach(state, &method, &customer);
            row
        }
    };
    Ok(Done::Object(Kind::Customer, row))
}

/// `POST /v1/customers/{id}`.
pub(crate) fn update(state: &mut State, row: usize, mut form: Form) -> Result<Done, ApiError> {
    let before = living(state, row)?;
    let kept = Customer {
        id: before.id.clone(),
        created: before.created,
        description: before.description.clone(),
        email: before.email.clone(),
        metadata: before.metadata.clone(),
        name: before.name.clone(),
        phone: before.phone.clone(),
        default_payment_method: before.default_payment_method.clone(),
        ..Customer::default()
    };
    let changed = fill(kept, &mut form)?;
    form.finish()?;
    let customer = state.customers.edit(row);
    let (intents, methods) = (std::mem::take(&mut customer.intents), std::mem::take(&mut customer.methods));
    *customer = Customer { intents, methods, ..changed };
    Ok(Done::Object(Kind::Customer, row))
}

fn fill(mut customer: Customer, form: &mut Form) -> Result<Customer, ApiError> {
    form.ignore(&IGNORED);
    customer.metadata = form.metadata(&customer.metadata)?;
    for (name, field) in [
        ("description", &mut customer.description),
        ("email", &mut customer.email),
        ("name", &mut customer.name),
        ("phone", &mut customer.phone),
        ("invoice_settings[default_payment_method]", &mut customer.default_payment_method),
    ] {
        if let Some(text) = form.clearable(name)? {
            *field = Some(text).filter(|text| !text.is_empty());
        }
    }
    match customer.email.as_deref() {
        Some(email) if !email.contains('@') => {
            let message = format!("Invalid email address: {email}");
            Err(ApiError::invalid(message).code("email_invalid").param("email"))
        }
        _ => Ok(customer),
    }
}

/// `DELETE /v1/customers/{id}`: Stripe keeps a tombstone.
pub(crate) fn delete(state: &mut State, row: usize, form: Form) -> Result<Done, ApiError> {
    form.finish()?;
    living(state, row)?;
    for method in std::mem::take(&mut state.customers.edit(row).methods) {
        let method = state.methods.edit(method);
        (method.customer, method.detached) = (None, true);
    }
    let customer = state.customers.edit(row);
    let (id, created, intents) = (customer.id.clone(), customer.created, std::mem::take(&mut customer.intents));
    *customer = Customer { id, created, intents, deleted: true, ..Customer::default() };
    Ok(Done::Value(json!({"id": customer.id, "object": "customer", "deleted": true})))
}

fn living(state: &State, row: usize) -> Result<&Customer, ApiError> {
    let customer = &state.customers[row];
    match customer.deleted {
        true => Err(ApiError::no_such(404, "customer", &customer.id, "id")),
        false => Ok(customer),
    }
}

/// Takes the parameter `customer`, which must name one that exists.
pub(crate) fn existing(state: &State, form: &mut Form) -> Result<Option<String>, ApiError> {
    let Some(id) = form.text("customer")? else { return Ok(None) };
    match state.customers.get(&id).is_some_and(|customer| !customer.deleted) {
        true => Ok(Some(id)),
        false => Err(ApiError::no_such(400, "customer", &id, "customer")),
    }
}

/// The row of a payment method that a request names: a test method becomes a new one, as at Stripe.
pub(crate) fn method(state: &mut State, name: &str, customer: Option<&str>) -> Result<usize, ApiError> {
    if card(name).is_some() {
        let method = Method { id: state.id("pm_"), created: state.now(), token: name.to_owned(), ..Method::default() };
        return Ok(state.methods.insert(method));
    }
    let missing = || ApiError::no_such(400, "PaymentMethod", name, "payment_method");
    let row = state.methods.find(name).ok_or_else(missing)?;
    if state.methods[row].detached {
        let message = "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, \
                       shared with a connected account without Customer attachment, or was detached from a Customer. It \
                       may not be used again. To use a PaymentMethod multiple times, you must attach it to a Customer \
                       first.";
        return Err(ApiError::invalid(message).param("payment_method"));
    }
    match (state.methods[row].customer.as_deref(), customer) {
        (Some(owner), Some(customer)) if owner != customer => Err(ApiError::invalid(format!(
            "The customer does not have a payment method with the ID {name}. The payment method must be attached to \
             the customer."
        ))
        .code("resource_missing")
        .param("payment_method")),
        (Some(owner), None) => Err(ApiError::invalid(format!(
            "The PaymentMethod {name} does belong to a Customer {owner}. Please include the Customer in the `customer` \
             parameter on the PaymentIntent."
        ))
        .param("payment_method")),
        _ => Ok(row),
    }
}

/// `POST /v1/payment_methods/{id}/attach`.
pub(crate) fn attach_call(state: &mut State, name: &str, mut form: Form) -> Result<Done, ApiError> {
    let customer = existing(state, &mut form)?.ok_or_else(|| ApiError::missing("customer"))?;
    form.finish()?;
    let row = method(state, name, Some(&customer))?;
    saveable(state, row)?;
    let id = state.methods[row].id.clone();
    attach(state, &id, &customer);
    Ok(Done::Object(Kind::Method, row))
}

/// Refuses a method whose issuer declines to have it saved.
fn saveable(state: &State, row: usize) -> Result<(), ApiError> {
    match card(&state.methods[row].token).and_then(|card| card.unsaveable(state.now())) {
        Some(why) => Err(why.error()),
        None => Ok(()),
    }
}

/// Saves a method with a customer.
pub(crate) fn attach(state: &mut State, method: &str, customer: &str) {
    let (Some(row), Some(owner)) = (state.methods.find(method), state.customers.find(customer)) else { return };
    state.methods.edit(row).customer = Some(customer.to_owned());
    let methods = &mut state.customers.edit(owner).methods;
    if let Err(place) = methods.binary_search(&row) {
        methods.insert(place, row);
        tell(state, "payment_method.attached", row);
    }
}

/// Notes that its holder agreed to charges of a method while they are away, if they did.
pub(crate) fn set_up(state: &mut State, method: &str, agreed: bool) {
    if let Some(row) = state.methods.find(method).filter(|_| agreed) {
        state.methods.edit(row).set_up = true;
    }
}

/// The issuer puts another card in the place of a saved one, and the network tells the provider.
pub(crate) fn reissue(state: &mut State, row: usize, token: &str) {
    state.methods.edit(row).token = token.to_owned();
    tell(state, "payment_method.automatically_updated", row);
}

fn tell(state: &mut State, event: &'static str, row: usize) {
    let shown = render(&state.methods[row]);
    state.emit(event, shown);
}

/// `POST /v1/payment_methods/{id}/detach`.
pub(crate) fn detach(state: &mut State, row: usize, form: Form) -> Result<Done, ApiError> {
    form.finish()?;
    let method = state.methods.edit(row);
    let Some(owner) = method.customer.take() else {
        let message = "The payment method you provided is not attached to a customer so detachment is impossible.";
        return Err(ApiError::invalid(message));
    };
    method.detached = true;
    if let Some(owner) = state.customers.find(&owner) {
        state.customers.edit(owner).methods.retain(|method| *method != row);
    }
    tell(state, "payment_method.detached", row);
    Ok(Done::Object(Kind::Method, row))
}

/// `GET /v1/payment_methods` and `GET /v1/customers/{id}/payment_methods`.
pub(crate) fn methods(state: &State, owner: Option<&str>, mut form: Form) -> Result<(Vec<usize>, bool), ApiError> {
    let page = Page::take(&mut form)?;
    let kind = form.text("type")?;
    let customer = match owner {
        Some(owner) => Some(owner.to_owned()),
        None => existing(state, &mut form)?,
    };
    form.finish()?;
    let Some(customer) = customer else {
        return Err(ApiError::missing("customer"));
    };
    let rows = state.customers.get(&customer).map(|customer| customer.methods.as_slice()).unwrap_or_default();
    page.pick(&state.methods, rows.iter().rev().copied(), |_| kind.as_deref().is_none_or(|kind| kind == "card"))
}
