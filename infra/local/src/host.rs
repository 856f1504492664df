//! The functions of the template, each with its own environment, and how they are started.

use crate::error::Error;
use crate::template::{Function, System, Trigger};
use axum::Router;
use functions::{FUNCTIONS, Trigger as Kind};
use platform::{App, Clients, Clock, Config, Rng};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What an invocation ends with.
pub type Reply = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

/// The code behind the template's handlers. The functions of this repository, but for tests of the runner itself.
pub trait Code: Send + Sync {
    /// What starts the function of this name, if there is one.
    fn kind(&self, handler: &str) -> Option<Starts>;
    /// The routes of a function that HTTP starts.
    fn router(&self, handler: &str, app: App) -> Option<Router>;
    /// The description of all routes, as JSON.
    fn openapi(&self, app: &App) -> Option<String>;
    /// Runs a function that anything else starts.
    fn invoke(&self, handler: &str, app: App, event: Value) -> Reply;
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    Http,
    Queue,
    Stream,
    Schedule,
}

/// The functions of this repository.
pub struct Functions;

impl Code for Functions {
    fn kind(&self, handler: &str) -> Option<Starts> {
        let function = FUNCTIONS.iter().find(|function| function.name == handler)?;
        Some(match function.trigger {
            Kind::Http(_) => Starts::Http,
            Kind::Queue(_) => Starts::Queue,
            Kind::Stream(_) => Starts::Stream,
            Kind::Schedule(_) => Starts::Schedule,
        })
    }

    fn router(&self, handler: &str, app: App) -> Option<Router> {
        let function = FUNCTIONS.iter().find(|function| function.name == handler)?;
        match function.trigger {
            Kind::Http(routes) => Some(routes(app).split_for_parts().0),
            _ => None,
        }
    }

    fn openapi(&self, app: &App) -> Option<String> {
        let openapi = functions::openapi(app).to_json();
        openapi.inspect_err(|error| tracing::error!(%error, "the description of the routes cannot be written")).ok()
    }

    fn invoke(&self, handler: &str, app: App, event: Value) -> Reply {
        let handler = handler.to_owned();
        Box::pin(async move { functions::invoke(app, &handler, event).await.map_err(|error| error.to_string()) })
    }
}

/// All functions, ready to be started.
pub struct Host {
    code: Arc<dyn Code>,
    hosted: BTreeMap<String, Hosted>,
}

#[derive(Clone)]
struct Hosted {
    app: App,
    timeout: Duration,
}

impl Host {
    /// Gives each function an `App` with exactly the environment that the template names for it, and what Lambda gives every one.
    pub fn new(
        system: &System,
        code: Arc<dyn Code>,
        given: &BTreeMap<String, String>,
        clients: &Clients,
        clock: &Clock,
        rng: &Rng,
    ) -> Result<Self, Error> {
        let mut hosted = BTreeMap::new();
        for function in &system.functions {
            check(function, code.as_ref())?;
            // Lambda says itself which function it is.
            let handler = ("_HANDLER".to_owned(), function.handler.clone());
            let environment = given.clone().into_iter().chain(function.environment.clone()).chain([handler]);
            let config = Config::from_map(environment.collect());
            let app = App::new(config, clients.clone(), clock.clone(), rng.clone());
            hosted.insert(function.handler.clone(), Hosted { app, timeout: function.timeout });
        }
        Ok(Self { code, hosted })
    }

    pub fn app(&self, handler: &str) -> Result<App, Error> {
        Ok(self.hosted(handler)?.app.clone())
    }

    pub fn timeout(&self, handler: &str) -> Result<Duration, Error> {
        Ok(self.hosted(handler)?.timeout)
    }

    pub fn router(&self, handler: &str) -> Result<Router, Error> {
        let app = self.app(handler)?;
        self.code.router(handler, app).ok_or_else(|| Error::NoFunction(handler.to_owned()))
    }

    /// The description of all routes, as JSON.
    pub fn openapi(&self, app: &App) -> Option<String> {
        self.code.openapi(app)
    }

    /// Runs a function with an event. Running longer than its timeout, and panicking, are failures like any other.
    pub async fn invoke(&self, handler: &str, event: Value) -> Result<Value, String> {
        let hosted = self.hosted(handler).map_err(|error| error.to_string())?;
        let app = hosted.app.clone().until(Instant::now() + hosted.timeout);
        let running = tokio::spawn(self.code.invoke(handler, app, event));
        let abort = running.abort_handle();
        match tokio::time::timeout(hosted.timeout, running).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(format!("{handler} panicked: {panic}")),
            Err(_) => {
                abort.abort();
                Err(format!("{handler} ran for more than {} seconds", hosted.timeout.as_secs()))
            }
        }
    }

    fn hosted(&self, handler: &str) -> Result<&Hosted, Error> {
        self.hosted.get(handler).ok_or_else(|| Error::NoFunction(handler.to_owned()))
    }
}

/// Each function of the template exists, and takes the kind of event that the template gives it.
fn check(function: &Function, code: &dyn Code) -> Result<(), Error> {
    let refuse = |problem: String| Err(Error::Function { function: function.id.clone(), problem });
    let Some(kind) = code.kind(&function.handler) else {
        return refuse(format!("there is no function {}", function.handler));
    };
    for trigger in &function.triggers {
        let given = match trigger {
            Trigger::Http(_) => Starts::Http,
            Trigger::Queue(_) => Starts::Queue,
            Trigger::Stream(_) => Starts::Stream,
            Trigger::Schedule(_) => Starts::Schedule,
        };
        if given != kind {
            return refuse(format!("{} is started by {kind:?}, and not by {given:?}", function.handler));
        }
    }
    Ok(())
}
