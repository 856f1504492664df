//! Secrets by name, fetched once and kept for a while, so that a rotation needs no new deployment, and an outage of
//! Secrets Manager stops no instance that has them.

use crate::telemetry::cause;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a value is used before it is fetched again, so that a rotated one is used everywhere five minutes later.
const FRESH_SECONDS: u64 = 300;
/// How long a fetch that failed, or is under way, keeps others from trying: a call that gets no answer takes seconds, of
/// which requests should not wait each. Meanwhile the old value is used.
const RETRY_SECONDS: u64 = 30;
/// How long a value is used at most while no newer one can be had. A value that was withdrawn because others know it
/// must end some time; an outage of Secrets Manager of an hour must stop nobody.
const STALE_SECONDS_MAX: u64 = 3_600;

#[derive(Clone)]
pub enum Secrets {
    Manager(Arc<Manager>),
    /// Fixed values, for one machine and for tests.
    Fixed(Arc<BTreeMap<String, Arc<str>>>),
}

#[derive(Debug, thiserror::Error)]
#[error("the secret {name} cannot be read: {cause}")]
pub struct SecretError {
    pub name: String,
    pub cause: String,
}

/// AWS Secrets Manager, and what it said last.
pub struct Manager {
    client: aws_sdk_secretsmanager::Client,
    ages: Ages,
    kept: Mutex<BTreeMap<String, Kept>>,
}

#[derive(Clone, Copy)]
struct Ages {
    fresh: Duration,
    retry: Duration,
    stale: Duration,
}

struct Kept {
    /// None where there is no such secret.
    value: Option<Arc<str>>,
    fetched_at: Instant,
    /// From when on somebody fetches it again.
    fetch_from: Instant,
}

impl Secrets {
    pub fn manager(client: aws_sdk_secretsmanager::Client) -> Self {
        let [fresh, retry, stale] = [FRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS_MAX].map(Duration::from_secs);
        Self::Manager(Arc::new(Manager { client, ages: Ages { fresh, retry, stale }, kept: Mutex::default() }))
    }

    pub fn fixed(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::Fixed(Arc::new(values.into_iter().map(|(name, value)| (name, value.into())).collect()))
    }

    /// The value of a secret: as it was at most five minutes ago, or an hour while Secrets Manager does not answer.
    pub async fn get(&self, name: &str) -> Result<Arc<str>, SecretError> {
        let cause = || "there is none of that name".to_owned();
        self.find(name).await?.ok_or_else(|| SecretError { name: name.to_owned(), cause: cause() })
    }

    /// The same of a secret that need not be there.
    pub async fn find(&self, name: &str) -> Result<Option<Arc<str>>, SecretError> {
        match self {
            Self::Fixed(values) => Ok(values.get(name).cloned()),
            Self::Manager(manager) => {
                manager.get(name).await.map_err(|cause| SecretError { name: name.to_owned(), cause })
            }
        }
    }
}

impl Manager {
    async fn get(&self, name: &str) -> Result<Option<Arc<str>>, String> {
        if let Some(value) = self.usable(name) {
            return Ok(value);
        }
        match self.fetch(name).await {
            Ok(value) => {
                let now = Instant::now();
                // One that is not there may be made any moment by somebody who waits for it.
                let age = if value.is_some() { self.ages.fresh } else { self.ages.fresh.min(self.ages.retry) };
                let kept = Kept { value: value.clone(), fetched_at: now, fetch_from: now + age };
                self.kept.lock().expect("no panic holds this lock").insert(name.to_owned(), kept);
                Ok(value)
            }
            Err(cause) => {
                let old = self.old(name).ok_or_else(|| cause.clone())?;
                tracing::warn!(secret = name, cause, "a secret cannot be fetched again: its old value is used");
                Ok(old)
            }
        }
    }

    /// The kept value, if there is no need to fetch it now. Where there is, the caller does, and the others need not.
    fn usable(&self, name: &str) -> Option<Option<Arc<str>>> {
        let mut all = self.kept.lock().expect("no panic holds this lock");
        let (kept, now) = (all.get_mut(name)?, Instant::now());
        if now >= kept.fetch_from {
            kept.fetch_from = now + self.ages.retry;
            return None;
        }
        (kept.fetched_at.elapsed() < self.ages.stale).then(|| kept.value.clone())
    }

    /// The kept value, if it may still be used.
    fn old(&self, name: &str) -> Option<Option<Arc<str>>> {
        let all = self.kept.lock().expect("no panic holds this lock");
        let kept = all.get(name).filter(|kept| kept.fetched_at.elapsed() < self.ages.stale);
        kept.map(|kept| kept.value.clone())
    }

    async fn fetch(&self, name: &str) -> Result<Option<Arc<str>>, String> {
        let reply = match self.client.get_secret_value().secret_id(name).send().await {
            Ok(reply) => reply,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                return Ok(None);
            }
            Err(error) => return Err(cause(&error)),
        };
        Ok(Some(reply.secret_string().ok_or("it is not a text")?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_secretsmanager::config::retry::RetryConfig;
    use aws_sdk_secretsmanager::config::{BehaviorVersion, Config, Credentials, Region};
    use axum::http::StatusCode;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A Secrets Manager that answers with this status and body, and counts what it is asked.
    #[derive(Clone, Default)]
    struct Service {
        answer: Arc<Mutex<(StatusCode, String)>>,
        asked: Arc<AtomicU32>,
    }

    impl Service {
        fn has(&self, value: &str) {
            self.says(StatusCode::OK, format!(r#"{{"Name":"key","SecretString":"{value}"}}"#));
        }

        fn is_down(&self) {
            let body = r#"{"__type":"InternalServiceError","Message":"it is down"}"#;
            self.says(StatusCode::INTERNAL_SERVER_ERROR, body.to_owned());
        }

        fn says(&self, status: StatusCode, body: String) {
            *self.answer.lock().unwrap() = (status, body);
        }

        fn asked(&self) -> u32 {
            self.asked.swap(0, Ordering::SeqCst)
        }

        async fn secrets(&self, ages: Ages) -> Secrets {
            let service = self.clone();
            let router = axum::Router::new().fallback(async move || {
                service.asked.fetch_add(1, Ordering::SeqCst);
                service.answer.lock().unwrap().clone()
            });
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            tokio::spawn(async move { axum::serve(listener, router).await });
            let config = Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .endpoint_url(format!("http://{address}"))
                .region(Region::new("test"))
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .retry_config(RetryConfig::disabled());
            let client = aws_sdk_secretsmanager::Client::from_conf(config.build());
            Secrets::Manager(Arc::new(Manager { client, ages, kept: Mutex::default() }))
        }
    }

    const LONG: Duration = Duration::from_secs(3_600);
    const SHORT: Duration = Duration::from_millis(100);

    async fn get(secrets: &Secrets) -> Result<String, String> {
        secrets.get("key").await.map(|value| value.to_string()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_secret_is_fetched_once_and_a_rotated_one_without_a_new_deployment() {
        let service = Service::default();
        let secrets = service.secrets(Ages { fresh: SHORT, retry: LONG, stale: LONG }).await;
        service.has("first");
        for _ in 0..5 {
            assert_eq!(get(&secrets).await, Ok("first".into()));
        }
        assert_eq!(service.asked(), 1);
        service.has("second");
        tokio::time::sleep(SHORT).await;
        assert_eq!(get(&secrets).await, Ok("second".into()));
        assert_eq!(service.asked(), 1);
    }

    #[tokio::test]
    async fn an_outage_stops_nobody_for_a_while() {
        let service = Service::default();
        let secrets = service.secrets(Ages { fresh: Duration::ZERO, retry: SHORT, stale: 6 * SHORT }).await;
        service.is_down();
        let down = Err("the secret key cannot be read: InternalServiceError: it is down".to_owned());
        assert_eq!(get(&secrets).await, down, "there is nothing to go on with");
        service.has("value");
        assert_eq!(get(&secrets).await, Ok("value".into()));
        service.is_down();
        service.asked();
        for _ in 0..5 {
            assert_eq!(get(&secrets).await, Ok("value".into()));
        }
        assert_eq!(service.asked(), 1, "not every request waits for a service that is down");
        tokio::time::sleep(SHORT).await;
        assert_eq!(get(&secrets).await, Ok("value".into()));
        assert_eq!(service.asked(), 1, "and somebody asks again");
        tokio::time::sleep(6 * SHORT).await;
        assert_eq!(get(&secrets).await, down, "some time it ends");
        assert_eq!(get(&secrets).await, down, "for everybody");
        service.has("value");
        tokio::time::sleep(SHORT).await;
        assert_eq!(get(&secrets).await, Ok("value".into()));
    }

    #[tokio::test]
    async fn a_secret_that_is_not_there_is_no_fault() {
        let service = Service::default();
        let secrets = service.secrets(Ages { fresh: LONG, retry: SHORT, stale: LONG }).await;
        let body = r#"{"__type":"ResourceNotFoundException","Message":"there is none"}"#;
        service.says(StatusCode::BAD_REQUEST, body.to_owned());
        for _ in 0..3 {
            assert!(secrets.find("key").await.is_ok_and(|found| found.is_none()));
        }
        assert_eq!(get(&secrets).await, Err("the secret key cannot be read: there is none of that name".into()));
        assert_eq!(service.asked(), 1);
        service.has("value");
        tokio::time::sleep(SHORT).await;
        assert_eq!(get(&secrets).await, Ok("value".into()), "it was made");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_told() {
        let service = Service::default();
        let secrets = service.secrets(Ages { fresh: LONG, retry: LONG, stale: LONG }).await;
        service.says(StatusCode::OK, r#"{"SecretString":"hush-hush""#.to_owned());
        assert_eq!(get(&secrets).await, Err("the secret key cannot be read: the answer could not be read".into()));
        service.says(StatusCode::OK, r#"{"SecretBinary":"aHVzaA=="}"#.to_owned());
        assert_eq!(get(&secrets).await, Err("the secret key cannot be read: it is not a text".into()));
    }
}
