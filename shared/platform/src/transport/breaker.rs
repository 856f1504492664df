//! A host that fails is left alone for a moment, so that nobody waits for what will not come, and it can recover.

use super::{Answer, NoAnswer, PerTarget, Transport};
use crate::Rng;
use axum::http::uri::Authority;
use axum::http::{Request, Response, StatusCode, Uri, header};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row after which a host is left alone.
const FAILURES_MAX: u32 = 5;
/// An answer that takes longer is a failure too: whoever waits for it is about to give up.
const SLOW_SECONDS: u64 = 5;
/// For how long a host is left alone: from half of this to all of it, so that instances do not come back together. One
/// call is let through after that; its end decides.
const REST_MILLISECONDS_MAX: u64 = 2_000;
/// The longest rest that a host may ask for itself (`Retry-After`).
const ASKED_REST_SECONDS_MAX: u64 = 60;
/// Hosts whose failures are remembered; beyond it all are forgotten.
const HOSTS_MAX: usize = 1_000;

/// Asks `inner`, but not hosts that have just failed again and again.
pub struct Breaker {
    inner: Arc<dyn Transport>,
    rng: Rng,
    /// Only hosts whose last call failed.
    ill: Mutex<HashMap<Authority, Health>>,
}

/// How a call ended, as far as the host's health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Well,
    Failed,
    /// The host asks to be left alone for so long.
    Asked(Duration),
}

/// What is known of a host whose last call failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Health {
    failures: u32,
    rest_until: Option<Instant>,
}

impl Health {
    /// How long the host still has to be left alone.
    fn rest(&self, now: Instant) -> Option<Duration> {
        self.rest_until.and_then(|until| until.checked_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Lets a call through, or says how long to wait. After a rest it is one call, and the others rest on.
    fn admit(&mut self, now: Instant, rest: Duration) -> Result<(), Duration> {
        if let Some(left) = self.rest(now) {
            return Err(left);
        }
        self.rest_until = self.rest_until.map(|_| now + rest);
        Ok(())
    }

    /// Notes how a call ended. `None` when nothing has to be remembered.
    fn after(&self, end: End, now: Instant, rest: Duration) -> Option<Self> {
        let failures = self.failures.saturating_add(1);
        match end {
            End::Well => None,
            End::Failed if failures < FAILURES_MAX => Some(Self { failures, rest_until: self.rest_until }),
            End::Failed => Some(Self { failures, rest_until: self.rest_until.max(Some(now + rest)) }),
            End::Asked(asked) => Some(Self { failures, rest_until: Some(now + asked.max(rest)) }),
        }
    }
}

impl Breaker {
    pub fn new(inner: Arc<dyn Transport>, rng: Rng) -> Self {
        Self { inner, rng, ill: Mutex::default() }
    }

    fn ill(&self) -> MutexGuard<'_, HashMap<Authority, Health>> {
        self.ill.lock().expect("no panic holds this lock")
    }

    fn admit(&self, host: &Authority) -> Result<(), NoAnswer> {
        let now = Instant::now();
        let mut ill = self.ill();
        let Some(health) = ill.get_mut(host) else { return Ok(()) };
        let admitted = health.admit(now, self.pause());
        admitted.map_err(|left| NoAnswer(format!("{host} was not asked; it is left alone for another {left:?}")))
    }

    fn note(&self, host: &Authority, end: End) {
        let now = Instant::now();
        let mut ill = self.ill();
        let before = ill.get(host).cloned().unwrap_or_default();
        match before.after(end, now, self.pause()) {
            Some(health) => {
                if health.rest(now).is_some() && before.rest(now).is_none() {
                    tracing::warn!(%host, failures = health.failures, "a host fails and is left alone for a moment");
                }
                if ill.len() >= HOSTS_MAX {
                    ill.clear();
                }
                ill.insert(host.clone(), health);
            }
            None => drop(ill.remove(host)),
        }
    }

    /// How long to leave a host alone.
    fn pause(&self) -> Duration {
        let half = REST_MILLISECONDS_MAX / 2;
        let more = self.rng.below(u32::try_from(half).expect("a rest is a few seconds"));
        Duration::from_millis(half + u64::from(more))
    }
}

impl Transport for Breaker {
    fn send(&self, request: Request<Bytes>, limit: Duration) -> Answer<'_> {
        Box::pin(async move {
            let Some(host) = request.uri().authority().cloned() else { return self.inner.send(request, limit).await };
            self.admit(&host)?;
            let is_per_target = request.extensions().get::<PerTarget>().is_some();
            let mut call = Call { breaker: self, host, started: Instant::now(), end: None };
            let answer = self.inner.send(request, limit).await;
            call.end = Some(end_of(&answer, call.started.elapsed(), is_per_target));
            answer
        })
    }

    fn rest(&self, uri: &Uri) -> Option<Duration> {
        self.ill().get(uri.authority()?)?.rest(Instant::now())
    }
}

/// A call that is under way.
struct Call<'a> {
    breaker: &'a Breaker,
    host: Authority,
    started: Instant,
    end: Option<End>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // Whoever was kept waiting for so long that they left has seen a failure; who left before has seen nothing.
        let kept_waiting = self.started.elapsed() >= Duration::from_secs(SLOW_SECONDS);
        if let Some(end) = self.end.or(kept_waiting.then_some(End::Failed)) {
            self.breaker.note(&self.host, end);
        }
    }
}

fn end_of(answer: &Result<Response<Bytes>, NoAnswer>, took: Duration, is_per_target: bool) -> End {
    let Ok(answer) = answer else { return End::Failed };
    let (status, headers) = (answer.status(), answer.headers());
    let is_too_much = match status {
        StatusCode::TOO_MANY_REQUESTS => !is_per_target,
        status => status == StatusCode::SERVICE_UNAVAILABLE,
    };
    let asked = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(seconds) = asked.filter(|_| is_too_much) {
        return End::Asked(Duration::from_secs(seconds.min(ASKED_REST_SECONDS_MAX)));
    }
    // An old error that is repeated for an old key says nothing of today.
    let is_replayed = headers.get("idempotent-replayed").is_some_and(|value| value == "true");
    let is_fault = is_too_much || (status.is_server_error() && !is_replayed);
    if is_fault || took >= Duration::from_secs(SLOW_SECONDS) { End::Failed } else { End::Well }
}

#[cfg(test)]
mod tests;
