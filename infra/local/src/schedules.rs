//! Schedules of the template, by the runner's clock.

use crate::error::Error;
use crate::events;
use crate::host::Host;
use crate::template::ScheduleSource;
use platform::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often a schedule looks at the clock, which may be moved under it.
const LOOK_SECONDS_MAX: u64 = 1;

/// One schedule and the function that it starts.
#[derive(Clone)]
pub struct Schedule {
    pub handler: String,
    pub source: ScheduleSource,
    pub host: Arc<Host>,
    pub clock: Clock,
}

impl Schedule {
    /// Runs the function now and at each interval until `stop` changes.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let every = i64::try_from(self.source.every.as_secs()).unwrap_or(i64::MAX);
        loop {
            let started = self.clock.now().as_second();
            if let Err(error) = self.once().await {
                tracing::error!(function = self.handler, %error, "a scheduled run failed");
            }
            let next = started.saturating_add(every);
            while self.clock.now().as_second() < next {
                let left = next.saturating_sub(self.clock.now().as_second()).max(1).unsigned_abs();
                let look = Duration::from_secs(left.min(LOOK_SECONDS_MAX));
                if tokio::time::timeout(look, stop.wait_for(|stopped| *stopped)).await.is_ok() {
                    return;
                }
            }
        }
    }

    /// Runs the function once.
    pub async fn once(&self) -> Result<(), Error> {
        let event = match &self.source.input {
            Some(input) => input.clone(),
            None => events::schedule_event(&self.source.name, self.clock.now()),
        };
        self.host.invoke(&self.handler, event).await.map(drop).map_err(Error::Failed)
    }
}
