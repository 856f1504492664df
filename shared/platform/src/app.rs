//! What every handler is given: settings, clients, time and randomness.

use crate::auth::KeyCache;
use crate::aws;
use crate::bus::Bus;
use crate::cache::Cache;
use crate::config::{Config, Missing};
use crate::messenger::{Email, Messenger, Posts, Telegram, posts};
use crate::payments::{PaymentGateway, Stripe};
use crate::seatmap::Availability;
use crate::secrets::{SecretError, Secrets};
use crate::store::{
    Accounts, Alerts, Catalog, Chats, Db, Desk, Ledger, Links, Notices, Offers, Orders, Seats, Subscriptions,
};
use crate::transport::{Breaker, Internet, Transport};
use domain::catalog::Event;
use domain::chats;
use domain::ids::{self, EventId, LayoutId};
use domain::layout::Hall;
use domain::subscriptions::plans::Plan;
use jiff::SignedDuration;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How long an instance keeps an event, a hall (which never changes), a seat map (which is advice) and the plans.
const EVENT_AGE: SignedDuration = SignedDuration::from_secs(2);
const HALL_AGE: SignedDuration = SignedDuration::from_hours(1);
const MAP_AGE: SignedDuration = SignedDuration::from_secs(1);
const PLANS_AGE: SignedDuration = SignedDuration::from_secs(60);

/// One function's view of the world. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub config: Config,
    pub clients: Clients,
    pub clock: Clock,
    pub rng: Rng,
    pub accounts: Accounts,
    pub catalog: Catalog,
    pub seats: Seats,
    pub orders: Orders,
    pub ledger: Ledger,
    pub subscriptions: Subscriptions,
    pub offers: Offers,
    pub desk: Desk,
    pub chats: Chats,
    pub notices: Notices,
    pub links: Links,
    pub alerts: Alerts,
    pub gateway: Arc<dyn PaymentGateway>,
    /// Those that are built in.
    pub messengers: Vec<Arc<dyn Messenger>>,
    pub caches: Arc<Caches>,
    pub(crate) keys: KeyCache,
    /// When this invocation is ended from outside, where that is known. Requests of HTTP carry their own.
    pub deadline: Option<Instant>,
}

/// What an instance keeps for a moment instead of reading it again.
pub struct Caches {
    pub events: Cache<EventId, Event>,
    pub months: Cache<String, Vec<Event>>,
    pub halls: Cache<(LayoutId, u32), Hall>,
    pub maps: Cache<EventId, Availability>,
    pub plans: Cache<(), Vec<Plan>>,
}

/// Connections to the outside, shared by all functions of a process.
#[derive(Clone)]
pub struct Clients {
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub bus: Bus,
    pub secrets: Secrets,
    /// To everybody who is not AWS.
    pub transport: Arc<dyn Transport>,
}

impl App {
    pub fn new(config: Config, clients: Clients, clock: Clock, rng: Rng) -> Self {
        let telegram = Telegram::new(&config, clients.secrets.clone(), clients.transport.clone());
        let mut messengers: Vec<Arc<dyn Messenger>> = vec![Arc::new(telegram)];
        if let Some(email) = Email::new(&config, clock.clone(), clients.transport.clone()) {
            messengers.push(Arc::new(email));
        }
        let db = |table| Db::new(clients.dynamodb.clone(), config.get(table));
        Self {
            accounts: Accounts(db("ACCOUNTS_TABLE")),
            catalog: Catalog(db("CATALOG_TABLE")),
            seats: Seats(db("SEATS_TABLE")),
            orders: Orders(db("ORDERS_TABLE")),
            ledger: Ledger(db("LEDGER_TABLE")),
            subscriptions: Subscriptions(db("SUBSCRIPTIONS_TABLE")),
            offers: Offers(db("SUBSCRIPTIONS_TABLE")),
            desk: Desk(db("DESK_TABLE")),
            chats: Chats(db("NOTICES_TABLE")),
            notices: Notices(db("NOTICES_TABLE")),
            links: Links(db("NOTICES_TABLE")),
            alerts: Alerts(db("NOTICES_TABLE")),
            caches: Arc::new(Caches {
                events: Cache::new(EVENT_AGE, 1000),
                months: Cache::new(EVENT_AGE, 50),
                halls: Cache::new(HALL_AGE, 100),
                maps: Cache::new(MAP_AGE, 200),
                plans: Cache::new(PLANS_AGE, 1),
            }),
            gateway: Arc::new(Stripe::new(&config, clients.secrets.clone(), clients.transport.clone())),
            messengers,
            keys: KeyCache::default(),
            deadline: None,
            config,
            clients,
            clock,
            rng,
        }
    }

    /// The same on AWS, with the function's own role.
    pub fn on_aws(config: Config) -> Result<Self, Missing> {
        let sdk = aws::of_function(&config)?;
        let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&sdk);
        dynamodb.set_endpoint_url(aws::endpoint(&config, "AWS_ENDPOINT_URL_DYNAMODB"));
        let mut secrets = aws_sdk_secretsmanager::config::Builder::from(&sdk);
        secrets.set_endpoint_url(aws::endpoint(&config, "AWS_ENDPOINT_URL_SECRETS_MANAGER"));
        let mut sqs = aws_sdk_sqs::config::Builder::from(&sdk);
        sqs.set_endpoint_url(aws::endpoint(&config, "AWS_ENDPOINT_URL_SQS"));
        let mut sns = aws_sdk_sns::config::Builder::from(&sdk);
        sns.set_endpoint_url(aws::endpoint(&config, "AWS_ENDPOINT_URL_SNS"));
        let (sqs, sns) = (aws_sdk_sqs::Client::from_conf(sqs.build()), aws_sdk_sns::Client::from_conf(sns.build()));
        let rng = Rng::default();
        let clients = Clients {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            bus: Bus::Aws { sqs, sns },
            secrets: Secrets::manager(aws_sdk_secretsmanager::Client::from_conf(secrets.build())),
            transport: Arc::new(Breaker::new(Arc::new(Internet::default()), rng.clone())),
        };
        Ok(Self::new(config, clients, Clock::default(), rng))
    }

    /// The same for one invocation that ends at this moment, done or not.
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// The moment that Lambda names as the end of an invocation, in milliseconds since 1970.
    pub fn moment(&self, milliseconds: u64) -> Instant {
        let now = u64::try_from(self.now().as_millisecond()).unwrap_or(0);
        Instant::now() + Duration::from_millis(milliseconds.saturating_sub(now))
    }

    /// The value of the secret that this setting names.
    pub async fn secret(&self, setting: &'static str) -> Result<Arc<str>, SecretError> {
        self.clients.secrets.get(self.secret_name(setting)?).await
    }

    fn secret_name(&self, setting: &'static str) -> Result<&str, SecretError> {
        let name = self.config.get(setting);
        name.map_err(|missing| SecretError { name: setting.to_owned(), cause: missing.to_string() })
    }

    /// The messenger of this name: one that is built in, or that the operator has set up.
    pub async fn messenger(&self, name: &str) -> Result<Option<Arc<dyn Messenger>>, SecretError> {
        if let Some(built_in) = self.messengers.iter().find(|messenger| messenger.name() == name) {
            return Ok(Some(built_in.clone()));
        }
        let posts = self.posts(name).await?;
        Ok(posts.map(|posts| Arc::new(posts) as Arc<dyn Messenger>))
    }

    /// Whether e-mail is set up.
    pub fn writes_email(&self) -> bool {
        self.messengers.iter().any(|messenger| messenger.name() == chats::EMAIL)
    }

    /// The messenger of this name that the operator has set up (the secret that `MESSENGERS` names; without it there is none).
    pub async fn posts(&self, name: &str) -> Result<Option<Posts>, SecretError> {
        if !posts::is_name(name) {
            return Ok(None);
        }
        let secret = self.secret_name("MESSENGERS")?;
        let Some(setup) = self.clients.secrets.find(secret).await? else { return Ok(None) };
        let found = Posts::find(&setup, name, self.clients.transport.clone(), self.clock.clone());
        found.map_err(|cause| SecretError { name: secret.to_owned(), cause: cause.to_owned() })
    }

    /// 128 bits for a new id that no client's key determines.
    pub fn new_id(&self) -> u128 {
        ids::uuid_v7(self.now(), self.rng.bytes())
    }

    pub fn new_request_id(&self) -> String {
        format!("req_{:016x}", u64::from_be_bytes(self.rng.bytes()))
    }

    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }
}

/// Where instants come from: the system, shifted by what a test asks for.
#[derive(Clone, Default)]
pub struct Clock {
    time: Arc<Time>,
    /// Milliseconds by which this clock is wrong.
    skew: i64,
}

/// What all clones of a clock share.
#[derive(Default)]
struct Time {
    /// Milliseconds added to the system's time.
    shift: AtomicI64,
    /// Milliseconds since 1970 at which the clock stands still, or 0.
    frozen: AtomicI64,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's time")]
    pub fn now(&self) -> jiff::Timestamp {
        let base = match self.time.frozen.load(Ordering::Relaxed) {
            0 => jiff::Timestamp::now().as_millisecond(),
            at => at,
        };
        let at = base.saturating_add(self.time.shift.load(Ordering::Relaxed)).saturating_add(self.skew);
        jiff::Timestamp::from_millisecond(at).unwrap_or(jiff::Timestamp::MAX)
    }

    /// A clock that stands at `at` until it is advanced.
    pub fn frozen_at(at: jiff::Timestamp) -> Self {
        let clock = Self::default();
        clock.time.frozen.store(at.as_millisecond(), Ordering::Relaxed);
        clock
    }

    /// A clock that goes with this one, and is wrong by so many seconds: another machine's.
    pub fn skewed(&self, seconds: i64) -> Self {
        Self { time: self.time.clone(), skew: self.skew + seconds * 1000 }
    }

    /// Moves the clock, and every clone of it, forward or (negative) back.
    pub fn advance(&self, seconds: i64) {
        self.time.shift.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

/// Where randomness comes from: the operating system, or a seed in tests.
#[derive(Clone, Default)]
pub enum Rng {
    #[default]
    System,
    /// SHA-256 over a seed and a counter: repeatable, and not for secrets that matter.
    Seeded(Arc<Mutex<(u64, u64)>>),
}

impl Rng {
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new((seed, 0))))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for randomness")]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        match self {
            Self::System => getrandom::fill(&mut out).expect("the operating system gives randomness"),
            Self::Seeded(state) => {
                use sha2::Digest;
                let mut state = state.lock().expect("no panic holds this lock");
                for chunk in out.chunks_mut(32) {
                    state.1 += 1;
                    let digest = sha2::Sha256::digest([state.0.to_be_bytes(), state.1.to_be_bytes()].concat());
                    chunk.copy_from_slice(&digest[..chunk.len()]);
                }
            }
        }
        out
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&self, bound: u32) -> u32 {
        let wide = u64::from(u32::from_be_bytes(self.bytes())) * u64::from(bound.max(1));
        (wide >> 32) as u32
    }
}
