//! Schedules of the template, by the runner's clock.

use crate::error::Error;
use crate::events;
use crate::host::Host;
use crate::template::{ScheduleSource, When};
use platform::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often a schedule looks at the clock, which may be moved under it.
const LOOK_SECONDS_MAX: u64 = 1;
const DAY_SECONDS: i64 = 86_400;

/// One schedule and the function that it starts.
#[derive(Clone)]
pub struct Schedule {
    pub handler: String,
    pub source: ScheduleSource,
    pub host: Arc<Host>,
    pub clock: Clock,
}

impl When {
    /// The second at which it runs next after this one.
    fn next(self, second: i64) -> i64 {
        match self {
            Self::Every(interval) => second.saturating_add(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX)),
            Self::Daily { second: of_day } => {
                let today = second - second.rem_euclid(DAY_SECONDS) + of_day;
                if today > second { today } else { today + DAY_SECONDS }
            }
        }
    }
}

impl Schedule {
    /// Runs the function now and at each interval, or at its time of each day, until `stop` changes.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut is_due = matches!(self.source.when, When::Every(_));
        loop {
            let started = self.clock.now().as_second();
            if is_due && let Err(error) = self.once().await {
                tracing::error!(function = self.handler, %error, "a scheduled run failed");
            }
            is_due = true;
            let next = self.source.when.next(started);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_comes_once_a_day() {
        let daily = When::Daily { second: 11_700 };
        for (now, next) in [(0, 11_700), (11_699, 11_700), (11_700, 98_100), (86_399, 98_100)] {
            assert_eq!(daily.next(now), next, "{now}");
        }
        assert_eq!(When::Every(Duration::from_secs(60)).next(5), 65);
    }
}
