//! Pages for a person: one to play the buyer, one to play the buyer's bank, and the provider's books.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::cards::card;
use crate::money::readable;
use crate::objects::{Intent, Status};
use crate::state::State as Books;
use crate::{Stripe, intents, setups};

const ROWS_MAX: usize = 50;
const BOOKS: &str = include_str!("pages/books.html");
const PAY: &str = include_str!("pages/pay.html");
const SAVED: &str = include_str!("pages/saved.html");
const AUTHENTICATE: &str = include_str!("pages/authenticate.html");
const NOTICE: &str = include_str!("pages/notice.html");
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'";

/// What the address of a page carries.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    client_secret: String,
    return_url: Option<String>,
}

/// What the buyer pressed on the bank's page.
#[derive(Deserialize)]
pub(crate) struct Pressed {
    client_secret: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Complete,
    Fail,
}

/// `GET /assets/sandbox.css`.
pub(crate) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("pages/sandbox.css")).into_response()
}

/// `GET /assets/pay.js`.
pub(crate) async fn script() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("pages/pay.js")).into_response()
}

/// `GET /`: the latest intents, refunds and disputes.
pub(crate) async fn books(State(stripe): State<Stripe>) -> Response {
    let state = stripe.state();
    let mut intents = String::new();
    for intent in state.intents.all().iter().rev().take(ROWS_MAX) {
        let about: Vec<String> = intent.metadata.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let received = readable(intent.amount_received, &intent.currency);
        intents.push_str(&row(&[
            &intent.id,
            intent.status.as_str(),
            &readable(intent.amount, &intent.currency),
            &received,
            &about.join(", "),
        ]));
    }
    let mut refunds = String::new();
    for refund in state.refunds.all().iter().rev().take(ROWS_MAX) {
        let amount = readable(refund.amount, &refund.currency);
        refunds.push_str(&row(&[&refund.id, &refund.status, &amount, &refund.payment_intent]));
    }
    let mut disputes = String::new();
    for dispute in state.disputes.all().iter().rev().take(ROWS_MAX) {
        let amount = readable(dispute.amount, &dispute.currency);
        disputes.push_str(&row(&[&dispute.id, dispute.status.as_str(), &amount, &dispute.payment_intent]));
    }
    let counts = format!(
        "{} intents, {} refunds, {} disputes",
        state.intents.all().len(),
        state.refunds.all().len(),
        state.disputes.all().len()
    );
    let mut html = fill(BOOKS, &[("counts", &counts)]);
    for (place, rows) in [("{{{intents}}}", intents), ("{{{refunds}}}", refunds), ("{{{disputes}}}", disputes)] {
        html = html.replace(place, &rows);
    }
    page(StatusCode::OK, &html)
}

/// `GET /pay/{id}`: a person plays the buyer, or a subscriber who saves a card.
pub(crate) async fn pay(State(stripe): State<Stripe>, Path(id): Path<String>, Query(asked): Query<Asked>) -> Response {
    let state = stripe.state();
    let known = |secret: &str| secret == asked.client_secret;
    let (path, title, what, saved) = if let Some(intent) = state.intents.get(&id) {
        let description = intent.description.clone().unwrap_or("Payment".to_owned());
        let title = format!("Pay {}", readable(intent.amount, &intent.currency));
        let secret_is_known = known(&intent.client_secret);
        (secret_is_known.then_some("payment_intents"), title, description, saved_card(&state, intent))
    } else if let Some(setup) = state.setups.get(&id) {
        let description = setup.description.clone().unwrap_or("For charges while you are away".to_owned());
        (known(&setup.client_secret).then_some("setup_intents"), "Save a card".to_owned(), description, String::new())
    } else {
        return not_found();
    };
    let Some(path) = path else { return not_found() };
    let return_url = asked.return_url.filter(|url| is_web(url)).unwrap_or_default();
    let html = fill(
        PAY,
        &[
            ("id", &id),
            ("path", path),
            ("title", &title),
            ("description", &what),
            ("client_secret", &asked.client_secret),
            ("publishable_key", &state.settings.publishable_key),
            ("return_url", &return_url),
        ],
    );
    page(StatusCode::OK, &html.replace("{{{saved}}}", &saved))
}

/// The choice of the customer's card that was declined while they were away: now they are here to authenticate.
fn saved_card(state: &Books, intent: &Intent) -> String {
    let declined = intent.last_payment_error.as_ref().and_then(|error| error["payment_method"]["id"].as_str());
    let method = declined.and_then(|id| state.methods.get(id)).filter(|method| method.customer.is_some());
    let Some(card) = method.and_then(|method| card(&method.token)) else { return String::new() };
    let id = &method.expect("its card was found").id;
    fill(SAVED, &[("id", id), ("brand", card.brand), ("last4", card.last4)])
}

/// `GET /authenticate/{id}`: the page of the buyer's bank.
pub(crate) async fn authenticate(
    State(stripe): State<Stripe>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let state = stripe.state();
    match waiting(&state, &id, &asked.client_secret) {
        None => not_found(),
        Some((false, _)) => page(
            StatusCode::OK,
            &fill(
                NOTICE,
                &[("title", "Nothing to do"), ("text", "This payment does not wait for authentication (any more).")],
            ),
        ),
        Some((true, _)) => {
            let what = match state.intents.get(&id) {
                Some(intent) => format!("Your bank asks: pay {}?", readable(intent.amount, &intent.currency)),
                None => "Your bank asks: save this card?".to_owned(),
            };
            page(
                StatusCode::OK,
                &fill(AUTHENTICATE, &[("id", &id), ("what", &what), ("client_secret", &asked.client_secret)]),
            )
        }
    }
}

/// `POST /authenticate/{id}`: the buyer pressed “complete” or “fail”.
pub(crate) async fn authenticated(
    State(stripe): State<Stripe>,
    Path(id): Path<String>,
    Form(pressed): Form<Pressed>,
) -> Response {
    let complete = pressed.outcome == Outcome::Complete;
    let done = stripe.with(|state| {
        let (waits, return_url) = waiting(state, &id, &pressed.client_secret)?;
        if waits {
            state.now_ms = (state.settings.clock)();
            state.cause = None;
            match state.intents.find(&id) {
                Some(at) => intents::authenticated(state, at, complete),
                None => setups::authenticated(state, state.setups.find(&id)?, complete),
            }
        }
        Some(state.flush().map(|()| return_url))
    });
    let return_url = match done {
        None => return not_found(),
        Some(Err(error)) => {
            tracing::error!(%error, "the sandbox cannot write its database");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        Some(Ok(return_url)) => return_url,
    };
    let name = if id.starts_with("seti_") { "setup_intent" } else { "payment_intent" };
    let status = if complete { "succeeded" } else { "failed" };
    if let Some(url) = return_url.filter(|url| is_web(url)) {
        let (url, fragment) =
            url.split_once('#').map_or((url.as_str(), String::new()), |(url, fragment)| (url, format!("#{fragment}")));
        let join = if url.contains('?') { '&' } else { '?' };
        let secret = &pressed.client_secret;
        let to = format!("{url}{join}{name}={id}&{name}_client_secret={secret}&redirect_status={status}{fragment}");
        return Redirect::to(&to).into_response();
    }
    let text = format!("Authentication {status}. You can close this page.");
    page(StatusCode::OK, &fill(NOTICE, &[("title", "Done"), ("text", &text)]))
}

/// Whether an intent of either kind waits for its buyer, and where the buyer goes then; `None` for a wrong secret.
fn waiting(state: &Books, id: &str, secret: &str) -> Option<(bool, Option<String>)> {
    let (status, own, return_url) = match state.intents.get(id) {
        Some(intent) => (intent.status, &intent.client_secret, &intent.return_url),
        None => state.setups.get(id).map(|setup| (setup.status, &setup.client_secret, &setup.return_url))?,
    };
    (own == secret).then(|| (status == Status::RequiresAction, return_url.clone()))
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn not_found() -> Response {
    page(
        StatusCode::NOT_FOUND,
        &fill(
            NOTICE,
            &[
                ("title", "No such payment"),
                ("text", "The address of this page is incomplete, or the payment is of another sandbox."),
            ],
        ),
    )
}

pub(crate) fn page(status: StatusCode, html: &str) -> Response {
    const CONTENT_SECURITY_POLICY: HeaderName = HeaderName::from_static("content-security-policy");
    const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
    let headers = [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, Html(html.to_owned())).into_response()
}

/// Puts escaped values in the place of `{{name}}`.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let known = after.split_once("}}").and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, after))
        });
        match known {
            Some((value, after)) => {
                filled.push_str(&escape(value));
                rest = after;
            }
            None => {
                filled.push_str("{{");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

fn row(cells: &[&str]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
    format!("<tr>{cells}</tr>\n")
}

pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_never_filled_again() {
        let filled = fill("<p title=\"{{a}}\">{{b}}</p>{{{rows}}}", &[("a", "\"<x>'&"), ("b", "{{a}}")]);
        assert_eq!(filled, "<p title=\"&quot;&lt;x&gt;&#39;&amp;\">{{a}}</p>{{{rows}}}");
    }
}
