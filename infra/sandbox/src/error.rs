//! Errors in Stripe's shape: a status, and `{"error": {"type", "code", "message", "param", …}}`.

use serde_json::{Map, Value, json};

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    /// Whether an idempotency key replays this answer: only what began to run is remembered, as at Stripe.
    pub(crate) remembered: bool,
    error: Map<String, Value>,
}

impl ApiError {
    fn new(status: u16, kind: &str, message: impl Into<String>) -> ApiError {
        let error = Map::from_iter([("type".to_owned(), json!(kind)), ("message".to_owned(), json!(message.into()))]);
        ApiError { status, remembered: false, error }
    }

    /// 400: the request itself is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "invalid_request_error", message)
    }

    /// Any other status of an `invalid_request_error`.
    pub(crate) fn refused(status: u16, message: impl Into<String>) -> ApiError {
        ApiError::new(status, "invalid_request_error", message)
    }

    /// 400: an idempotency key that came before with something else.
    pub(crate) fn idempotency(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "idempotency_error", message)
    }

    /// 402: the issuer said no.
    pub(crate) fn card(code: &str, message: &str) -> ApiError {
        ApiError::new(402, "card_error", message).code(code).began()
    }

    /// 500 or 503: the provider's own trouble.
    pub(crate) fn api(status: u16, message: &str) -> ApiError {
        ApiError::new(status, "api_error", message)
    }

    /// 400: the object is not in a state that allows this.
    pub(crate) fn state(message: impl Into<String>, code: &str) -> ApiError {
        ApiError::invalid(message).code(code).began()
    }

    /// 400: a parameter that must be there is not.
    pub(crate) fn missing(name: &str) -> ApiError {
        ApiError::invalid(format!("Missing required param: {name}.")).code("parameter_missing").param(name)
    }

    /// 404 for an id in the path, 400 for one in a parameter.
    pub(crate) fn no_such(status: u16, object: &str, id: &str, param: &str) -> ApiError {
        ApiError::refused(status, format!("No such {object}: '{id}'")).code("resource_missing").param(param)
    }

    /// The machine-readable code, and the page at Stripe that explains it.
    pub(crate) fn code(self, code: &str) -> ApiError {
        let page = format!("https://stripe.com/docs/error-codes/{}", code.replace('_', "-"));
        self.with("code", json!(code)).with("doc_url", json!(page))
    }

    /// The parameter at fault.
    pub(crate) fn param(self, name: &str) -> ApiError {
        self.with("param", json!(name))
    }

    /// Any other member of `error`.
    pub(crate) fn with(mut self, name: &str, value: Value) -> ApiError {
        self.error.insert(name.to_owned(), value);
        self
    }

    /// Marks an error of a call that had begun to run.
    pub(crate) fn began(mut self) -> ApiError {
        self.remembered = true;
        self
    }

    /// Lets `change` at each object that the error carries.
    pub(crate) fn each_object(&mut self, change: impl Fn(&mut Value)) {
        self.error.values_mut().filter(|value| value.is_object()).for_each(change);
    }

    /// The members of `error`, as `last_payment_error` shows them.
    pub(crate) fn members(&self) -> Value {
        Value::Object(self.error.clone())
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> String {
        json!({ "error": self.error }).to_string()
    }
}
