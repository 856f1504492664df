//! The whole system of the template, started and stopped as one.

use crate::consumers::Consumer;
use crate::door::Door;
use crate::engine::{Engine, Place};
use crate::error::Error;
use crate::host::{Code, Functions, Host};
use crate::http::{Front, REQUESTS_MAX};
use crate::journal::Journal;
use crate::mail::Mail;
use crate::meter::Meter;
use crate::parameters::parameters;
use crate::payments::{EVENTS, Payments, Terms};
use crate::queues::Queues;
use crate::schedules::Schedule;
use crate::secrets::{LocalSecrets, NO_MESSENGERS};
use crate::storage::Storage;
use crate::streams::StreamReader;
use crate::telegram::{BotApi, Telegram};
use crate::template::{System, TEMPLATE, Trigger};
use crate::topic::LocalBus;
use crate::{client, pages, tables};
use aws_sdk_dynamodb::config::SharedHttpClient;
use axum::serve::ListenerExt;
use platform::bus::Bus;
use platform::secrets::Secrets;
use platform::transport::{Breaker, Internet, Transport};
use platform::{App, Clients, Clock, Config, Rng};
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long requests and invocations that are under way may take to end when the runner stops.
const STOP_SECONDS_MAX: u64 = 5;
/// How long `settled` waits for quiet.
const SETTLE_SECONDS_MAX: u64 = 60;
/// How often `settled` looks.
const SETTLE_LOOK_MILLISECONDS: u64 = 2;
/// How often items whose time to live has passed are deleted.
const EXPIRED_SWEEP_SECONDS: u64 = 3_600;

/// Where everything is kept.
#[derive(Clone, Debug)]
pub enum Data {
    /// Gone when the process ends.
    Memory,
    Dir(PathBuf),
}

/// How to run.
pub struct Options {
    pub listen: SocketAddr,
    pub data: Data,
    pub clock: Clock,
    pub rng: Rng,
    /// Count calls and capacity units, and serve them at `/_meter`.
    pub meter: bool,
    /// Run schedules by themselves; without it only `run_schedule` runs them.
    pub schedules: bool,
    /// What the payment sandbox tells us of.
    pub sandbox_events: Vec<String>,
    /// Have the sandbox of e-mail, and write to those who have no chat.
    pub email: bool,
    /// Requests that functions work on at once; more are refused.
    pub requests_max: u64,
    pub wires: Wires,
    /// The messengers that integrate themselves, as the secret of that name has them.
    pub messengers: String,
    /// Where another DynamoDB is that holds the tables of [`Data::Memory`], instead of the embedded one.
    pub dynamodb: Option<String>,
    /// The server of the messenger's API to write to people through, instead of the sandbox.
    pub telegram: Option<BotApi>,
    /// The template's text.
    pub template: String,
    pub code: Arc<dyn Code>,
}

/// What carries calls out of the functions, for whoever wants it to be bad: the real ones where nothing is said.
#[derive(Clone, Default)]
pub struct Wires {
    /// Makes what is below the AWS client for the tables from the real one.
    pub dynamodb: Option<Arc<dyn Fn(SharedHttpClient) -> SharedHttpClient + Send + Sync>>,
    /// What is below the breaker, to the payment provider.
    pub transport: Option<Arc<dyn Transport>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: Data::Memory,
            clock: Clock::default(),
            rng: Rng::default(),
            meter: false,
            schedules: true,
            sandbox_events: EVENTS.map(str::to_owned).to_vec(),
            email: false,
            requests_max: REQUESTS_MAX,
            wires: Wires::default(),
            messengers: NO_MESSENGERS.to_owned(),
            dynamodb: None,
            telegram: None,
            template: TEMPLATE.to_owned(),
            code: Arc::new(Functions),
        }
    }
}

/// A system that runs. Dropping it stops it at once; `stop` lets it finish what it is doing.
pub struct Running {
    /// Where the API answers, without a slash at the end.
    pub url: String,
    /// The store was empty: there are no events to sell yet.
    pub fresh: bool,
    pub secrets: LocalSecrets,
    /// The payment provider's sandbox: where it answers, and its books.
    pub payments: Payments,
    /// The messenger's sandbox: where it answers, and its chats.
    pub telegram: Telegram,
    /// That of e-mail, if there is one.
    pub mail: Option<Mail>,
    pub meter: Option<Arc<Meter>>,
    host: Arc<Host>,
    front: Arc<Front>,
    queues: Arc<Queues>,
    storage: Storage,
    clock: Clock,
    /// Queues that some function takes from.
    consumed: Vec<String>,
    /// Table and position of each stream that some function reads.
    streams: Vec<(String, Arc<AtomicI64>)>,
    schedules: Vec<Schedule>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    _lock: Option<File>,
}

/// What is kept, opened.
struct Kept {
    lock: Option<File>,
    /// The books of the payment provider, and the chats of the messenger.
    sandbox: Option<PathBuf>,
    chats: Option<PathBuf>,
    secrets: LocalSecrets,
    journal: Arc<Journal>,
    storage: Storage,
}

pub struct Runner;

impl Runner {
    /// Starts everything on the current runtime. When this returns, requests are answered.
    pub async fn start(options: Options) -> Result<Running, Error> {
        let Options { listen, data, clock, rng, meter, schedules, sandbox_events, template, code, .. } = options;
        let (requests_max, wires) = (options.requests_max, options.wires);
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|error| Error::Listen { address: listen, cause: error.to_string() })?;
        let address = listener.local_addr().map_err(|error| Error::Failed(error.to_string()))?;
        let url = format!("http://{address}");
        let Kept { lock, sandbox, chats, mut secrets, journal, storage } = open(&data, options.dynamodb.as_deref())?;
        secrets.messengers = options.messengers;
        let (written, writes) = watch::channel(());
        let meter = meter.then(|| Arc::new(Meter::default()));
        let wire = wires.dynamodb.map_or_else(client::wire, |wrap| wrap(client::wire()));
        let dynamodb = client::connect(&storage.url(), storage.access_key(), wire, written, meter.clone());
        let transport = wires.transport.unwrap_or_else(|| Arc::new(Internet::default()));

        let payments = Payments::start(Terms {
            secret_key: secrets.stripe_secret.clone(),
            publishable_key: secrets.stripe_publishable_key.clone(),
            read_only_key: secrets.stripe_read_only_key.clone(),
            webhook_secret: secrets.stripe_webhook_secret.clone(),
            webhook_url: format!("http://127.0.0.1:{}/payments/webhook/stripe", address.port()),
            events: sandbox_events,
            database: sandbox,
            clock: clock.clone(),
        })?;
        secrets.telegram_token = options.telegram.as_ref().map_or(secrets.telegram_token, |api| api.token.clone());
        let telegram = Telegram::start(secrets.telegram_token.clone(), chats, clock.clone(), options.telegram)?;
        let mail = options.email.then(Mail::start).transpose()?;
        let (mut parameters, secret_values) = parameters(&url, &payments.url, &telegram.url, &secrets);
        let given = mail.as_ref().map(|mail| mail.set_up(&mut parameters)).unwrap_or_default();
        let mut system = System::parse(&template, &parameters)?;
        let fresh = tables::create(&dynamodb, &system.tables).await?;
        let queues = Arc::new(Queues::open(&system.queues, journal.clone(), clock.clone())?);
        let bus = Bus::InProcess(Arc::new(LocalBus::new(&mut system, queues.clone())));
        let transport = Arc::new(Breaker::new(transport, rng.clone()));
        let secret_values = Secrets::fixed(secret_values);
        telegram.set_webhook(address.port(), secret_values.clone()).await?;
        let clients = Clients { dynamodb, bus, secrets: secret_values, transport };
        let host = Arc::new(Host::new(&system, code, &given, &clients, &clock, &rng)?);
        let app = App::new(Config::default(), clients, clock.clone(), rng);
        let policy = pages::policy(&payments.url);
        let door = Door::new(queues.clone(), secrets.operator_token.clone());
        let front = Arc::new(Front::new(&system, host.clone(), app, meter.clone(), door, requests_max, policy)?);

        let (stop, stopped) = watch::channel(false);
        let mut running = Running {
            url,
            fresh,
            secrets,
            payments,
            telegram,
            mail,
            meter,
            host,
            front,
            queues,
            storage,
            clock,
            consumed: vec![],
            streams: vec![],
            schedules: vec![],
            stop,
            tasks: vec![],
            _lock: lock,
        };
        running.connect(&system, &journal, &writes, schedules).await?;
        running.serve(listener, stopped);
        Ok(running)
    }
}

fn open(data: &Data, dynamodb: Option<&str>) -> Result<Kept, Error> {
    match data {
        Data::Memory => Ok(Kept {
            lock: None,
            sandbox: None,
            chats: None,
            secrets: LocalSecrets::generate(),
            journal: Arc::new(Journal::none()),
            storage: match dynamodb {
                Some(url) => Storage::elsewhere(url),
                None => Storage::Embedded(Arc::new(Engine::start(Place::Scratch)?)),
            },
        }),
        Data::Dir(path) => {
            create(path).map_err(|error| Error::Data { path: path.clone(), cause: error.to_string() })?;
            Ok(Kept {
                lock: Some(lock(path)?),
                sandbox: Some(path.join("sandbox.sqlite")),
                chats: Some(path.join("telegram.sqlite")),
                secrets: LocalSecrets::open(&LocalSecrets::path(path))?,
                journal: Arc::new(Journal::open(&path.join("queues.sqlite"))?),
                storage: Storage::Embedded(Arc::new(Engine::start(Place::File(&path.join("tables.sqlite")))?)),
            })
        }
    }
}

/// Buyers' data and private keys are in there: nobody else may look.
fn create(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Two processes in one directory would deliver everything twice.
fn lock(directory: &Path) -> Result<File, Error> {
    let failed = |error: std::io::Error| Error::Data { path: directory.to_owned(), cause: error.to_string() };
    let file = File::create(directory.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

impl Running {
    /// Starts what the template connects: queues, streams and schedules with their functions.
    async fn connect(
        &mut self,
        system: &System,
        journal: &Arc<Journal>,
        writes: &watch::Receiver<()>,
        schedules: bool,
    ) -> Result<(), Error> {
        for function in &system.functions {
            for trigger in &function.triggers {
                let (handler, host, clock) = (function.handler.clone(), self.host.clone(), self.clock.clone());
                let (queues, stopped) = (self.queues.clone(), self.stop.subscribe());
                match trigger {
                    Trigger::Http(_) => {}
                    Trigger::Queue(source) => {
                        self.consumed.push(source.queue.clone());
                        let consumer = Consumer { handler, source: source.clone(), host, queues, clock };
                        self.tasks.push(tokio::spawn(consumer.run(stopped)));
                    }
                    Trigger::Stream(source) => {
                        let position = Arc::new(AtomicI64::new(0));
                        self.streams.push((source.table.clone(), position.clone()));
                        let (storage, journal, source) = (self.storage.clone(), journal.clone(), source.clone());
                        let reader = StreamReader { handler, source, host, storage, journal, queues, clock, position };
                        reader.restore().await?;
                        self.tasks.push(tokio::spawn(reader.run(writes.clone(), stopped)));
                    }
                    Trigger::Schedule(source) => {
                        let schedule = Schedule { handler, source: source.clone(), host, clock };
                        if schedules {
                            self.tasks.push(tokio::spawn(schedule.clone().run(stopped)));
                        }
                        self.schedules.push(schedule);
                    }
                }
            }
        }
        let (storage, stopped) = (self.storage.clone(), self.stop.subscribe());
        self.tasks.push(tokio::spawn(sweep_expired(storage, stopped)));
        Ok(())
    }

    fn serve(&mut self, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
        let service = self.front.router().into_make_service_with_connect_info::<SocketAddr>();
        let listener = listener.tap_io(|connection| {
            // Without it small answers wait for the client's acknowledgement of the last one.
            let _ = connection.set_nodelay(true);
        });
        self.tasks.push(tokio::spawn(async move {
            let stop = async move {
                // An error means that the sender is gone, which is a stop too.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stop).await {
                tracing::error!(%error, "the server ended");
            }
        }));
    }

    /// A function's own view of the world.
    pub fn app(&self, handler: &str) -> Result<App, Error> {
        self.host.app(handler)
    }

    /// Waits until no request runs, every stream is read to its end, no queue holds a message that could be delivered
    /// now, and no sandbox has a webhook to deliver. Messages that wait for their time, or in a paused queue, do not count.
    pub async fn settled(&self) -> Result<(), Error> {
        let started = Instant::now();
        let mut last = None;
        loop {
            let activity = self.activity();
            let busy = self.busy().await?;
            // Again after the look: something may have passed from a stream to a queue between the two.
            if busy.is_none() && last == Some(activity) && self.activity() == activity {
                return Ok(());
            }
            last = Some(activity);
            if started.elapsed() > Duration::from_secs(SETTLE_SECONDS_MAX) {
                let busy = busy.unwrap_or_else(|| "something happens all the time".to_owned());
                return Err(Error::Unsettled { seconds: SETTLE_SECONDS_MAX, busy });
            }
            tokio::time::sleep(Duration::from_millis(SETTLE_LOOK_MILLISECONDS)).await;
        }
    }

    /// Changes whenever something happens.
    fn activity(&self) -> (u64, u64, i64) {
        let positions = self.streams.iter().map(|(_, position)| position.load(Ordering::Acquire) % (1 << 32));
        (self.front.started(), self.queues.activity(), positions.sum())
    }

    async fn busy(&self) -> Result<Option<String>, Error> {
        let requests = self.front.running();
        if requests > 0 {
            return Ok(Some(format!("{requests} requests run")));
        }
        for queue in &self.consumed {
            let depth = self.queues.depth(queue)?;
            if depth.in_flight > 0 || (depth.ready > 0 && !self.queues.is_paused(queue)?) {
                return Ok(Some(format!("{queue} holds {} ready, {} in flight", depth.ready, depth.in_flight)));
            }
        }
        let webhooks = self.payments.stripe.webhooks_pending();
        if webhooks > 0 {
            return Ok(Some(format!("{webhooks} webhooks of the payment sandbox are not delivered")));
        }
        let updates = self.telegram.bot.updates_pending();
        if updates > 0 {
            return Ok(Some(format!("{updates} updates of the messenger's sandbox are not delivered")));
        }
        for (table, position) in &self.streams {
            if self.storage.stream_end(table).await? > position.load(Ordering::Acquire) {
                return Ok(Some(format!("the stream of {table} is not read to its end")));
            }
        }
        Ok(None)
    }

    /// The time by the clock that everything here goes by.
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Moves the clock, and lets everything that waits for a time look at it.
    pub fn advance(&self, seconds: i64) {
        self.clock.advance(seconds);
        self.queues.look();
        self.payments.stripe.wake();
        self.telegram.bot.wake();
    }

    /// The bodies of a dead-letter queue's messages.
    pub fn dead_letters(&self, queue: &str) -> Result<Vec<String>, Error> {
        self.queues.bodies(queue)
    }

    /// Sends dead letters back to the queue that gave them up. Returns how many they were.
    pub fn redrive(&self, dead_letters: &str) -> Result<usize, Error> {
        self.queues.redrive(dead_letters)
    }

    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// Stops the delivery of a queue's messages.
    pub fn pause(&self, queue: &str) -> Result<(), Error> {
        self.queues.pause(queue, true)
    }

    /// Goes on with the delivery of a queue's messages.
    pub fn resume(&self, queue: &str) -> Result<(), Error> {
        self.queues.pause(queue, false)
    }

    /// Runs a scheduled function now, and waits for its end.
    pub async fn run_schedule(&self, handler: &str) -> Result<(), Error> {
        let schedule = self.schedules.iter().find(|schedule| schedule.handler == handler);
        schedule.ok_or_else(|| Error::NoFunction(handler.to_owned()))?.once().await
    }

    /// Takes no more requests, lets what is under way end, and closes the files.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut self.tasks);
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        let ends = futures_util::future::join_all(tasks);
        if tokio::time::timeout(Duration::from_secs(STOP_SECONDS_MAX), ends).await.is_err() {
            tracing::warn!("stopped before everything had ended; what was answered is kept");
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn sweep_expired(storage: Storage, mut stopped: watch::Receiver<bool>) {
    let pause = Duration::from_secs(EXPIRED_SWEEP_SECONDS);
    while tokio::time::timeout(pause, stopped.wait_for(|stopped| *stopped)).await.is_err() {
        let storage = storage.clone();
        match tokio::task::spawn_blocking(move || storage.sweep_expired()).await {
            Ok(Ok(items)) => tracing::debug!(items, "deleted what had expired"),
            Ok(Err(error)) => tracing::warn!(%error, "what has expired stays"),
            Err(panic) => tracing::error!(%panic, "the sweep of expired items panicked"),
        }
    }
}
