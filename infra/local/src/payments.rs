//! The payment provider's sandbox, on a loopback port and a thread of its own named `sandbox`.

use crate::error::Error;
use platform::Clock;
use sandbox::{Settings, Stripe};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

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

/// A sandbox that runs. Dropping it stops it and waits until its file is closed.
pub struct Payments {
    pub url: String,
    pub stripe: Stripe,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Payments {
    pub fn start(terms: Terms) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Sandbox(error.to_string());
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
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
        let (stop, stopped) = oneshot::channel();
        let served = stripe.clone();
        let thread = std::thread::Builder::new().name("sandbox".to_owned());
        let thread = thread.spawn(move || serve(served, listener, stopped)).map_err(failed)?;
        Ok(Self { url, stripe, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Payments {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already; then there is nothing to stop.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the payment sandbox panicked");
        }
    }
}

fn serve(stripe: Stripe, listener: std::net::TcpListener, stopped: oneshot::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "the payment sandbox has no runtime"),
    };
    let result = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::select! {
            result = stripe.serve(listener, std::future::pending()) => result,
            // No call is waited for: whoever asked was stopped first, and can ask again.
            _ = stopped => Ok(()),
        }
    });
    if let Err(error) = result {
        tracing::error!(%error, "the payment sandbox ended");
    }
}
