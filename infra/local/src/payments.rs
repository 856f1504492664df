//! The payment provider's sandbox.

use crate::error::Error;
use crate::sandboxes::Sandbox;
use platform::Clock;
use sandbox::{Settings, Stripe};
use std::path::PathBuf;
use std::sync::Arc;

/// The events that change what we do; an endpoint at the provider itself is set up with the same list.
pub const EVENTS: [&str; 9] = [
    "payment_intent.amount_capturable_updated",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "setup_intent.succeeded",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.closed",
    "charge.dispute.funds_reinstated",
];

/// What the sandbox has to know of us.
pub struct Terms {
    pub secret_key: String,
    pub publishable_key: String,
    pub read_only_key: String,
    pub webhook_secret: String,
    pub webhook_url: String,
    pub events: Vec<String>,
    /// Absent: its books go with the process.
    pub database: Option<PathBuf>,
    pub clock: Clock,
}

/// A sandbox that runs.
pub struct Payments {
    pub url: String,
    pub stripe: Stripe,
    _server: Sandbox,
}

impl Payments {
    pub fn start(terms: Terms) -> Result<Self, Error> {
        let clock = terms.clock;
        let settings = Settings {
            secret_key: terms.secret_key,
            publishable_key: terms.publishable_key,
            read_only_key: Some(terms.read_only_key),
            webhook_secret: terms.webhook_secret,
            webhook_url: Some(terms.webhook_url),
            enabled_events: terms.events,
            database: terms.database,
            clock: Arc::new(move || clock.now().as_millisecond()),
            ..Settings::default()
        };
        let stripe = Stripe::open(settings).map_err(|error| Error::Sandbox(error.to_string()))?;
        let served = stripe.clone();
        let server = Sandbox::start(move |listener| served.serve(listener, std::future::pending()))?;
        Ok(Self { url: server.url.clone(), stripe, _server: server })
    }
}
