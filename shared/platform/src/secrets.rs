//! Secrets by name, fetched once and kept for a while, so that a rotation needs no new deployment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a fetched secret is used before it is fetched again.
const SECRET_AGE_MAX: Duration = Duration::from_secs(300);

/// Values by name, each with when it was fetched.
type Fetched = BTreeMap<String, (Instant, Arc<str>)>;

#[derive(Clone)]
pub enum Secrets {
    Manager {
        client: aws_sdk_secretsmanager::Client,
        fetched: Arc<Mutex<Fetched>>,
    },
    /// Fixed values, for one machine and for tests.
    Fixed(Arc<BTreeMap<String, Arc<str>>>),
}

#[derive(Debug, thiserror::Error)]
#[error("the secret {name} cannot be read: {cause}")]
pub struct SecretError {
    pub name: String,
    pub cause: String,
}

impl Secrets {
    pub fn manager(client: aws_sdk_secretsmanager::Client) -> Self {
        Self::Manager { client, fetched: Arc::default() }
    }

    pub fn fixed(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::Fixed(Arc::new(values.into_iter().map(|(name, value)| (name, value.into())).collect()))
    }

    pub async fn get(&self, name: &str) -> Result<Arc<str>, SecretError> {
        let failed = |cause: String| SecretError { name: name.to_owned(), cause };
        match self {
            Self::Fixed(values) => values.get(name).cloned().ok_or_else(|| failed("there is none of that name".into())),
            Self::Manager { client, fetched } => {
                if let Some((at, value)) = fetched.lock().expect("no panic holds this lock").get(name)
                    && at.elapsed() < SECRET_AGE_MAX
                {
                    return Ok(value.clone());
                }
                let reply = client.get_secret_value().secret_id(name).send().await;
                let reply = reply.map_err(|error| failed(format!("{error:?}")))?;
                let value: Arc<str> = reply.secret_string().ok_or_else(|| failed("it is not a text".into()))?.into();
                let entry = (Instant::now(), value.clone());
                fetched.lock().expect("no panic holds this lock").insert(name.to_owned(), entry);
                Ok(value)
            }
        }
    }
}
