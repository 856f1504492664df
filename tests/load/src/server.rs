//! The box office as a child process: started, asked what it used, ended with this one.

use crate::Failed;
use crate::http::Connection;
use boxoffice::{Options, Runner};
use domain::access::Role;
use domain::ids::UserId;
use hyper::Request;
use platform::auth::password;
use platform::store::Account;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The argument by which this program becomes the box office.
pub const SERVE: &str = "serve-for-load";
/// What the box office logs unless `RUST_LOG` says otherwise: as the `boxoffice` command does.
const LOG_DEFAULT: &str = "warn,dynoxide=error";

/// What the child says of itself, in one line of JSON, when it answers requests.
#[derive(Serialize, Deserialize)]
pub struct Started {
    pub url: String,
    pub payments_url: String,
    /// The secret key of the payment sandbox, for its books.
    pub payments_key: String,
    pub admin_email: String,
    pub admin_password: String,
}

/// The child.
pub struct Server {
    /// It ends when its input does: however this program ends.
    _child: Child,
}

/// What the box office has used since its start.
#[derive(Deserialize)]
pub struct Used {
    pub dynamodb: Vec<Calls>,
    /// By group of threads; empty where the system does not tell.
    pub cpu_ms: BTreeMap<String, f64>,
    pub memory_peak_kib: Option<u64>,
}

/// Calls of one operation on one table.
#[derive(Deserialize)]
pub struct Calls {
    pub calls: u64,
    pub read_units: f64,
    pub write_units: f64,
}

impl Server {
    /// Starts the child and waits until it answers.
    pub async fn start() -> Result<(Self, Started), Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let output = child.stdout.take().expect("it was asked for");
        let line = BufReader::new(output).lines().next_line().await?;
        let line = line.ok_or_else(|| Failed::Because("the box office did not start".to_owned()))?;
        Ok((Self { _child: child }, serde_json::from_str(&line)?))
    }
}

/// Asks the box office what it has used.
pub async fn used(connection: &mut Connection) -> Result<Used, Failed> {
    connection.send(Request::get("/_meter"), "").await?.expect(200)?.json()
}

/// Is the box office until its input ends.
pub fn serve() -> Result<(), Failed> {
    crate::log(LOG_DEFAULT);
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("worker").enable_all().build()?;
    let because = |error: boxoffice::Error| Failed::Because(error.to_string());
    let running = runtime.block_on(async {
        let running = Runner::start(Options { meter: true, ..Options::default() }).await.map_err(because)?;
        let started = started(&running).await?;
        let mut output = std::io::stdout().lock();
        writeln!(output, "{}", serde_json::to_string(&started)?)?;
        output.flush()?;
        Ok::<_, Failed>(running)
    })?;
    // Nobody writes there: this returns when the parent has ended.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(running.stop());
    Ok(())
}

/// What clients have to know of a box office, with an administrator made for them.
pub async fn started(running: &boxoffice::Running) -> Result<Started, Failed> {
    let (admin_email, admin_password) = appoint(running).await?;
    Ok(Started {
        url: running.url.clone(),
        payments_url: running.payments.url.clone(),
        payments_key: running.secrets.stripe_secret.clone(),
        admin_email,
        admin_password,
    })
}

/// Makes the first administrator, whom nobody can make over HTTP.
async fn appoint(running: &boxoffice::Running) -> Result<(String, String), Failed> {
    let app = running.app("register").map_err(|error| Failed::Because(error.to_string()))?;
    let (email, password) = ("admin@load.test".to_owned(), app.new_request_id());
    let hash = password::hash(&app, password.clone()).await;
    let account = Account {
        id: UserId(app.new_id()),
        email: email.clone(),
        name: "Load".to_owned(),
        locale: "en".to_owned(),
        password_hash: hash.map_err(|problem| Failed::Because(problem.detail))?,
        roles: vec![Role::Buyer, Role::Admin],
        created_at: app.now(),
        v: 1,
    };
    app.accounts.put_new(&account).await.map_err(|error| Failed::Because(error.to_string()))?;
    Ok((email, password))
}
