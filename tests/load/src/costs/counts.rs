//! Counts of all that AWS would bill: the functions with a counter before each.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use boxoffice::host::{Code, Functions, Reply, Starts};
use platform::App;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};
use std::sync::{Arc, Mutex};

/// What was used.
#[derive(Clone, Default)]
pub struct Counts {
    /// By the function's name.
    pub invocations: BTreeMap<String, f64>,
    /// Requests of buyers and of the provider.
    pub requests: f64,
    /// Messages that were taken from queues.
    pub messages: f64,
    /// Effects that were published.
    pub published: f64,
    pub read_units: f64,
    pub write_units: f64,
    pub table_calls: f64,
    pub provider_calls: f64,
}

impl Counts {
    pub fn all_invocations(&self) -> f64 {
        self.invocations.values().sum()
    }

    /// The same so often.
    pub fn times(&self, times: f64) -> Self {
        let mut product = self.clone();
        product.invocations.values_mut().for_each(|count| *count *= times);
        product.numbers().into_iter().for_each(|count| *count *= times);
        product
    }

    fn numbers(&mut self) -> [&mut f64; 7] {
        [
            &mut self.requests,
            &mut self.messages,
            &mut self.published,
            &mut self.read_units,
            &mut self.write_units,
            &mut self.table_calls,
            &mut self.provider_calls,
        ]
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, mut other: Self) {
        self.numbers().into_iter().zip(other.numbers()).for_each(|(own, other)| *own += *other);
        for (name, count) in other.invocations {
            *self.invocations.entry(name).or_default() += count;
        }
    }
}

impl Sub for Counts {
    type Output = Self;
    fn sub(mut self, other: Self) -> Self {
        self += other.times(-1.0);
        // What was not invoked in between is not spoken of.
        self.invocations.retain(|_, count| *count != 0.0);
        self
    }
}

/// The functions of this repository, counted as they are invoked.
#[derive(Clone, Default)]
pub struct Counted(pub Arc<Mutex<Counts>>);

impl Counted {
    pub fn add(&self, counts: Counts) {
        *self.0.lock().expect("no panic holds this lock") += counts;
    }
}

impl Code for Counted {
    fn kind(&self, handler: &str) -> Option<Starts> {
        Functions.kind(handler)
    }

    fn router(&self, handler: &str, app: App) -> Option<Router> {
        let (counted, name) = (self.clone(), handler.to_owned());
        let count = from_fn(move |request: Request, next: Next| {
            let invocations = BTreeMap::from([(name.clone(), 1.0)]);
            counted.add(Counts { invocations, requests: 1.0, ..Counts::default() });
            next.run(request)
        });
        Functions.router(handler, app).map(|router| router.layer(count))
    }

    fn openapi(&self, app: &App) -> Option<String> {
        Functions.openapi(app)
    }

    fn invoke(&self, handler: &str, app: App, event: Value) -> Reply {
        let records = event["Records"].as_array().map_or(0.0, |records| records.len() as f64);
        let is_queue = Functions.kind(handler) == Some(Starts::Queue);
        let invocations = BTreeMap::from([(handler.to_owned(), 1.0)]);
        let published = effects(&event);
        let messages = if is_queue { records } else { 0.0 };
        self.add(Counts { invocations, messages, published, ..Counts::default() });
        Functions.invoke(handler, app, event)
    }
}

/// Effects in the new images of a stream's records. Those that the old ones have too are counted twice: a write mostly has others.
fn effects(event: &Value) -> f64 {
    let records = event["Records"].as_array().into_iter().flatten();
    let effects = records.filter_map(|record| record["dynamodb"]["NewImage"]["effects"]["L"].as_array());
    effects.map(|effects| effects.len() as f64).sum()
}
