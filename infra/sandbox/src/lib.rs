//! The payment provider's sandbox: the part of Stripe's wire protocol that Boxoffice uses, served on loopback. And the
//! messenger's ([`telegram`]), and that of e-mail ([`mail`]).
//!
//! Stripe's official clients, unmodified, drive every call and verify the webhooks (`tests/clients`). Nothing here
//! knows about Boxoffice, and Boxoffice does not know that it talks to a sandbox.
//!
//! | module | holds |
//! |---|---|
//! | `http` | the door: routes, CORS, body limit, held-back answers |
//! | `api` | one call: keys, idempotency, dispatch, expansion |
//! | `form`, `error` | requests and errors as Stripe writes them |
//! | `intents`, `charges`, `refunds`, `disputes`, `customers`, `setups`, `lists` | what the calls do |
//! | `cards`, `money` | test payment methods; limits of amounts |
//! | `objects`, `table`, `state`, `store` | what is kept, in memory and through to SQLite |
//! | `idempotency` | answers that are given again |
//! | `webhooks` | delivery, and the loop that runs timers |
//! | `books` | what the provider knows of money, for tests |
//! | `pages` | pages for a person who plays the buyer |
//! | [`mail`] | the sandbox of e-mail: a server, and what was sent |
//! | [`telegram`] | the messenger's sandbox: a server, a state and a database of its own |
//!
//! Invariant: a call changes the state under one lock and never waits inside it; what was answered is on disk first,
//! where there is a database.

mod api;
mod books;
mod cards;
mod charges;
mod customers;
mod disputes;
mod error;
mod form;
mod http;
mod idempotency;
mod intents;
mod lists;
pub mod mail;
mod money;
mod objects;
mod pages;
mod refunds;
mod setups;
mod state;
mod store;
mod table;
pub mod telegram;
mod webhooks;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use state::State;

pub use books::{Books, DisputeEntry, IntentEntry, MovementEntry, RefundEntry};
pub use objects::{DisputeStatus, Status};
pub use webhooks::{EVENTS, Webhook, signature};

/// How long open calls may take to end once the server is told to stop.
const GRACE_SECONDS: u64 = 1;
/// `pm_sandbox_timeout` answers later than any client waits.
const HANG_SECONDS: u64 = 60;
const REFUND_SETTLES_SECONDS: u64 = 3;
/// When a failed webhook is sent again: a few times over hours, as Stripe does in test mode.
const RETRY_SECONDS: [u64; 6] = [1, 5, 25, 2 * 60, 10 * 60, 60 * 60];

/// Gives Unix time in milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How a sandbox is set up. The defaults have keys that are no secret.
#[derive(Clone)]
pub struct Settings {
    /// `sk_test_…`: may do everything.
    pub secret_key: String,
    /// `pk_test_…`: may read and confirm an intent whose client secret is given too.
    pub publishable_key: String,
    /// `rk_test_…`: may read everything.
    pub read_only_key: Option<String>,
    /// `whsec_…`: signs webhooks.
    pub webhook_secret: String,
    /// Where webhooks go; events that happen while there is none are never sent. Plain HTTP.
    pub webhook_url: Option<String>,
    /// Types of events to send, of [`EVENTS`].
    pub enabled_events: Vec<String>,
    /// SQLite file that keeps everything; `None` keeps it in memory.
    pub database: Option<PathBuf>,
    /// When a failed webhook is sent again; after the last one it is given up.
    pub retry_delays: Vec<Duration>,
    /// How long `pm_sandbox_timeout` holds its answer back.
    pub hang: Duration,
    /// How long a refund of `pm_card_pendingRefund` or `pm_card_refundFail` takes to come to its end.
    pub refund_settles_after: Duration,
    /// Where time comes from. After moving it, call [`Stripe::wake`].
    pub clock: Clock,
    /// Where ids come from: with a seed, the same calls in the same order give the same ids, which anybody can guess.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            secret_key: "sk_test_boxoffice".to_owned(),
            publishable_key: "pk_test_boxoffice".to_owned(),
            read_only_key: Some("rk_test_boxoffice".to_owned()),
            webhook_secret: "whsec_boxoffice".to_owned(),
            webhook_url: None,
            enabled_events: EVENTS.map(str::to_owned).to_vec(),
            database: None,
            retry_delays: RETRY_SECONDS.map(Duration::from_secs).to_vec(),
            hang: Duration::from_secs(HANG_SECONDS),
            refund_settles_after: Duration::from_secs(REFUND_SETTLES_SECONDS),
            clock: Arc::new(system_time_ms),
            seed: None,
        }
    }
}

impl Settings {
    fn hang_ms(&self) -> i64 {
        millis(self.hang)
    }

    fn refund_settles_ms(&self) -> i64 {
        millis(self.refund_settles_after)
    }
}

#[expect(clippy::disallowed_methods, reason = "the sandbox stands for another company, which has its own clock")]
fn system_time_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
    millis(since)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Why a sandbox cannot be opened.
#[derive(Debug)]
pub enum Error {
    /// The database cannot be read or written.
    Database(rusqlite::Error),
    /// The database holds a record that is not JSON of its kind.
    Record(serde_json::Error),
    /// The database holds rows under numbers that this program does not write.
    Corrupt,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Database(error) => write!(f, "the sandbox's database fails: {error}"),
            Error::Record(error) => write!(f, "the sandbox's database holds a bad record: {error}"),
            Error::Corrupt => write!(f, "the sandbox's database holds records in no order"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Database(error) => Some(error),
            Error::Record(error) => Some(error),
            Error::Corrupt => None,
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        Error::Database(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::Record(error)
    }
}

/// Serves until `shutdown` ends, while `beside` runs.
async fn serve_beside(
    listener: TcpListener,
    router: axum::Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
    beside: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Answers are small: waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
    });
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        stopped.notify_one();
    });
    let grace = async {
        stop.notified().await;
        tokio::time::sleep(Duration::from_secs(GRACE_SECONDS)).await;
    };
    tokio::select! {
        ended = server => ended,
        () = beside => Ok(()),
        () = grace => Ok(()),
    }
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

/// A handle to a sandbox; clones share it.
#[derive(Clone)]
pub struct Stripe(Arc<Shared>);

impl Stripe {
    /// Opens a sandbox, with all that its database holds.
    pub fn open(settings: Settings) -> Result<Stripe, Error> {
        let state = Mutex::new(State::open(settings)?);
        Ok(Stripe(Arc::new(Shared { state, wake: Notify::new() })))
    }

    /// The API under `/v1` and the pages. Timers and webhooks run only in [`Stripe::serve`], or by
    /// [`Stripe::run_timers`] and [`Stripe::take_webhooks`].
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// Serves until `shutdown` ends; runs timers and delivers webhooks meanwhile.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        self.state().base_url = format!("http://{}", listener.local_addr()?);
        let ended = serve_beside(listener, self.router(), shutdown, webhooks::run(self.clone())).await;
        self.state().flush().map_err(std::io::Error::other)?;
        ended
    }

    /// From now on sends webhooks there, those that wait too.
    pub fn set_webhook_url(&self, url: Option<String>) {
        self.state().settings.webhook_url = url;
        self.wake();
    }

    /// In an outage every call is answered 503, and none of them does or remembers anything.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// While broken, every call is answered 500 after it began, so that its idempotency key replays the 500.
    pub fn set_broken(&self, broken: bool) {
        self.state().broken = broken;
    }

    /// Holds every answer back for so long; what was asked is done at once.
    pub fn set_delay(&self, delay: Duration) {
        self.state().delay_ms = millis(delay);
    }

    /// How long refunds that are made from now on take to come to their end, if their card makes them.
    pub fn set_refund_settles_after(&self, time: Duration) {
        self.state().settings.refund_settles_after = time;
    }

    /// Looks at the clock again.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// How many webhooks are not yet delivered nor given up.
    pub fn webhooks_pending(&self) -> usize {
        self.state().undelivered_count()
    }

    /// An issuer takes back all that was captured and not refunded, as for a fraud. Gives the dispute's id; `None` if
    /// nothing was captured, nothing of it is left, or it was disputed before.
    pub fn dispute(&self, payment_intent: &str) -> Option<String> {
        self.outside(|state| {
            let row = disputes::open(state, state.intents.find(payment_intent)?)?;
            Some(state.disputes[row].id.clone())
        })
    }

    /// The issuer decides an intent's dispute. Gives the dispute's id; `None` if there is none that is open.
    pub fn close_dispute(&self, payment_intent: &str, won: bool) -> Option<String> {
        self.outside(|state| {
            let row = disputes::of_intent(state, payment_intent).filter(|row| disputes::is_open(state, *row))?;
            disputes::decide(state, row, won);
            Some(state.disputes[row].id.clone())
        })
    }

    /// The issuer gives an intent's money back weeks after it had decided to keep it. Gives the dispute's id; `None` if
    /// there is none that was lost.
    pub fn reverse_dispute(&self, payment_intent: &str) -> Option<String> {
        self.outside(|state| {
            let row = disputes::of_intent(state, payment_intent).filter(|row| disputes::is_lost(state, *row))?;
            disputes::reverse(state, row);
            Some(state.disputes[row].id.clone())
        })
    }

    /// The issuer puts another card, named as a test method, in the place of a saved one: what is charged from now on is
    /// that. `false` if there is no such payment method or test method, or it is not saved.
    pub fn reissue(&self, payment_method: &str, card: &str) -> bool {
        self.outside(|state| {
            let saved = |row: &usize| state.methods[*row].customer.is_some() && cards::card(card).is_some();
            let Some(row) = state.methods.find(payment_method).filter(saved) else { return false };
            customers::reissue(state, row, card);
            true
        })
    }

    /// Takes out every webhook that waits, due or not, in the order of their events. They count as delivered. For a
    /// driver that delivers them itself, without [`Stripe::serve`]; only where there is a `webhook_url` do any wait.
    pub fn take_webhooks(&self) -> Vec<Webhook> {
        self.outside(State::take_webhooks)
    }

    /// Runs every timer that is due by the clock now, and tells whether there was one; [`Stripe::serve`] does so by
    /// itself.
    pub fn run_timers(&self) -> bool {
        self.outside(State::run_timers)
    }

    /// All that the provider knows of money.
    pub fn books(&self) -> Books {
        Books::of(&self.state())
    }

    /// Does what no call asked for, and writes it.
    fn outside<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        self.with(|state| {
            state.now_ms = (state.settings.clock)();
            state.cause = None;
            let done = act(state);
            webhooks::flush(state);
            done
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no call panics while it holds the state")
    }

    /// Does something with the state, and wakes the loop if that made something due sooner.
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let before = state.next_due_ms();
        let done = act(&mut state);
        let sooner = state.next_due_ms().is_some_and(|due| before.is_none_or(|before| due < before));
        drop(state);
        if sooner {
            self.wake();
        }
        done
    }

    async fn woken(&self) {
        self.0.wake.notified().await;
    }
}
