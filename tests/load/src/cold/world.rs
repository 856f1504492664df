//! What functions find when they start: tables with events on sale and payments that were made, the payment provider's
//! sandbox, secrets, queues and the topic, each over HTTP on this machine.

use super::services;
use crate::Failed;
use boxoffice::engine::{Engine, Place};
use boxoffice::payments::{Payments, Terms};
use boxoffice::secrets::LocalSecrets;
use boxoffice::template::{System, TEMPLATE};
use boxoffice::{Data, Options};
use domain::access::Role;
use domain::ids::{SessionId, UserId};
use platform::Clock;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;
use tests::program::Directory;
use tests::{TestApp, User, id, seat};

/// Where buyers are told to come; nobody calls it.
const PUBLIC_URL: &str = "https://tickets.example.org";
/// Pairs of seats of an event: rows 1 to 9 of the stalls.
const PAIRS_PER_EVENT: usize = 45;
const PAIRS_PER_ROW: usize = 5;
const SELLING_HOURS_BEFORE: u64 = 1;
const EVENT_DAYS_AHEAD: u64 = 60;
const PASSWORD: &str = "correct horse battery";

/// Everything runs until this is dropped.
pub struct World {
    pub found: Found,
    pub secrets: LocalSecrets,
    system: System,
    /// Addresses of AWS's services, as the SDK reads them from the environment.
    endpoints: BTreeMap<String, String>,
    _engine: Engine,
    _payments: Payments,
    directory: Directory,
}

/// What the events that are sent to functions speak of.
pub struct Found {
    /// Of somebody who may do everything.
    pub token: String,
    pub user: String,
    /// A paid order of theirs.
    pub order: String,
    /// A plan to subscribe to.
    pub plan: String,
    pub events: Vec<String>,
    /// Authorised, and not captured yet.
    payments: Vec<String>,
}

impl Found {
    /// The payment that was made for this invocation.
    pub fn payment(&self, number: usize) -> &str {
        &self.payments[number]
    }

    /// Two seats that nobody else is sent to, as the body of `POST /orders`.
    pub fn order_body(&self, number: usize) -> String {
        let (row, pair) = (number % PAIRS_PER_EVENT / PAIRS_PER_ROW + 1, number % PAIRS_PER_ROW);
        let seats = [seat("Stalls", row, 2 * pair + 1), seat("Stalls", row, 2 * pair + 2)];
        json!({ "event_id": self.events[number / PAIRS_PER_EVENT], "seats": seats }).to_string()
    }
}

impl World {
    /// Makes it, for so many invocations of each function.
    pub async fn start(directory: Directory, found: Found) -> Result<Self, Failed> {
        let because = |error: boxoffice::Error| Failed::Because(error.to_string());
        let data = directory.0.join("data");
        let secrets = LocalSecrets::open(&LocalSecrets::path(&data)).map_err(because)?;
        let engine = Engine::start(Place::File(&data.join("tables.sqlite"))).map_err(because)?;
        let payments = Payments::start(Terms {
            secret_key: secrets.stripe_secret.clone(),
            publishable_key: secrets.stripe_publishable_key.clone(),
            read_only_key: secrets.stripe_read_only_key.clone(),
            webhook_secret: secrets.stripe_webhook_secret.clone(),
            webhook_url: PUBLIC_URL.to_owned(),
            events: Vec::new(),
            database: Some(data.join("sandbox.sqlite")),
            clock: Clock::default(),
        });
        let payments = payments.map_err(because)?;
        let (parameters, values) = boxoffice::parameters::parameters(PUBLIC_URL, &payments.url, PUBLIC_URL, &secrets);
        let system = System::parse(TEMPLATE, &parameters).map_err(|error| Failed::Because(error.to_string()))?;
        let services = services::start(values).await?;
        let mut endpoints =
            BTreeMap::from([("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), format!("http://{}", engine.address))]);
        for service in ["SECRETS_MANAGER", "SQS", "SNS"] {
            endpoints.insert(format!("AWS_ENDPOINT_URL_{service}"), format!("http://{services}"));
        }
        Ok(Self { found, secrets, system, endpoints, _engine: engine, _payments: payments, directory })
    }

    /// What the template gives this function, and where AWS is.
    pub fn environment(&self, handler: &str) -> Result<BTreeMap<String, String>, Failed> {
        let function = self.system.function(handler);
        let function = function.ok_or_else(|| Failed::Because(format!("the template has no function {handler}")))?;
        let mut environment = function.environment.clone();
        environment.extend(self.endpoints.clone());
        Ok(environment)
    }

    /// Where functions log to.
    pub fn log(&self) -> Result<File, Failed> {
        Ok(File::options().create(true).append(true).open(self.directory.0.join("log"))?)
    }

    /// What they logged until now.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.directory.0.join("log")).unwrap_or_default()
    }
}

/// Sells tickets in this directory, through the doors that people use, so that there is something for each function to
/// find. It has a runtime of its own, which ends with all that was begun there.
pub fn furnish(directory: &Path, invocations: usize) -> Result<Found, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let data = Data::Dir(directory.join("data"));
        let app = TestApp::start_with(Options { data, schedules: false, ..Options::default() }).await;
        let (user, user_id) = sign_up(&app).await?;
        let now = app.running.now();
        let dates = json!({
            "on_sale_from": (now - Duration::from_secs(SELLING_HOURS_BEFORE * 3_600)).to_string(),
            "starts_at": (now + Duration::from_secs(EVENT_DAYS_AHEAD * 86_400)).to_string(),
        });
        let hall = app.hall().await;
        let mut events = Vec::new();
        for _ in 0..invocations.div_ceil(PAIRS_PER_EVENT) {
            events.push(app.event(&hall, &dates).await);
        }
        let plan = json!({
            "name": { "ru": "Друг театра", "en": "Friend of the theatre" },
            "price": { "amount": 1000, "currency": "EUR" },
            "billing": "monthly",
        });
        let plan = app.post(&app.admin, "/admin/plans", &plan).await.expect(201);
        let paid = app.buy(&user, &events[0], &json!([seat("Stalls", "Long", 1)])).await;
        // From here on nobody is told of payments: that is left to what is measured.
        app.running.payments.stripe.set_webhook_url(None);
        let mut payments = Vec::with_capacity(invocations);
        for number in 0..invocations {
            let what = json!([seat("Side", number % PAIRS_PER_EVENT / 20 + 1, number % PAIRS_PER_EVENT % 20 + 1)]);
            let order = app.hold(&user, &events[number / PAIRS_PER_EVENT], &what).await;
            let payment = app.start_payment(&user, id(&order)).await;
            app.confirm(&payment, "pm_card_visa").await.expect(200);
            payments.push(payment.id);
        }
        app.settled().await;
        let token = user.token.clone().unwrap_or_default();
        let (user, order) = (user_id.to_string(), id(&paid).to_owned());
        Ok(Found { token, user, order, plan: id(&plan).to_owned(), events, payments })
    })
}

/// An account, and a token for it that may do everything.
async fn sign_up(app: &TestApp) -> Result<(User, UserId), Failed> {
    let body = json!({ "email": "ada@example.org", "password": PASSWORD, "name": "Ada" });
    let made: Value = app.ask("POST", "/users").key("sign-up").json(&body).send().await.expect(201);
    let id: UserId = serde_json::from_value(made["id"].clone())?;
    let (register, roles) = (app.app("register"), vec![Role::Buyer, Role::Admin, Role::Marketing]);
    let token = platform::auth::sign_access(&register, id, SessionId(1), roles).await;
    Ok((User::with_token(token.map_err(|problem| Failed::Because(problem.detail))?), id))
}
