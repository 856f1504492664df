//! How every call to AWS is made: for how long, and how often.

use crate::config::{Config, Missing};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use std::time::Duration;

/// Attempts of one call. The pauses between them are random, up to the first figure doubled each time, up to the second.
const ATTEMPTS_MAX: u32 = 3;
const PAUSE_MILLISECONDS: (u64, u64) = (50, 1_000);
/// How long a connection, one attempt, and a call with all of its attempts may take. A call is given up before the
/// shortest `Timeout` of a function that makes one (10 seconds), so that its caller can still say what happened.
const CONNECT_SECONDS_MAX: u64 = 2;
const ATTEMPT_SECONDS_MAX: u64 = 3;
const CALL_SECONDS_MAX: u64 = 8;

/// Tries again what was throttled or not answered, after a random pause. The client keeps a budget of such attempts, so
/// that where most calls fail they are not made three times.
pub fn retries() -> RetryConfig {
    let (first, longest) = PAUSE_MILLISECONDS;
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(Duration::from_millis(first))
        .with_max_backoff(Duration::from_millis(longest))
}

/// A call that takes longer has an unknown end. `slowness` times as long where the service is slower than AWS: 1 there.
pub fn timeouts(slowness: u32) -> TimeoutConfig {
    let seconds = |seconds| Duration::from_secs(seconds) * slowness;
    TimeoutConfig::builder()
        .connect_timeout(seconds(CONNECT_SECONDS_MAX))
        .operation_attempt_timeout(seconds(ATTEMPT_SECONDS_MAX))
        .operation_timeout(seconds(CALL_SECONDS_MAX))
        .build()
}

/// Amazon's own authorities, the only ones that sign its endpoints: <https://www.amazontrust.com/repository/>. Reading the
/// hundreds that a system trusts costs milliseconds of every start.
const ROOTS: &[u8] = include_bytes!("aws/roots.pem");
/// Regions of another partition, whose endpoints others sign.
const CHINA: &str = "cn-";

/// What clients of AWS are made from on a person's machine: region and credentials are found as its own tools find them.
pub async fn sdk() -> SdkConfig {
    let sdk = aws_config::defaults(BehaviorVersion::latest()).http_client(wire(TrustStore::default()));
    sdk.retry_config(retries()).timeout_config(timeouts(1)).load().await
}

/// The same in a function: Lambda's environment has them, so that nothing has to be looked for.
pub fn of_function(config: &Config) -> Result<SdkConfig, Missing> {
    let (region, credentials) = (config.get("AWS_REGION")?, credentials(config)?);
    let trusted = match region.starts_with(CHINA) {
        true => TrustStore::default(),
        false => TrustStore::empty().with_pem_certificate(ROOTS),
    };
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(wire(trusted));
    Ok(sdk.retry_config(retries()).timeout_config(timeouts(1)).build())
}

/// Those of the function's role.
pub fn credentials(config: &Config) -> Result<Credentials, Missing> {
    let token = config.get("AWS_SESSION_TOKEN").ok().map(str::to_owned);
    Ok(Credentials::new(config.get("AWS_ACCESS_KEY_ID")?, config.get("AWS_SECRET_ACCESS_KEY")?, token, None, "Lambda"))
}

/// Where a service is, if that is not where AWS has it: the variables that AWS's own tools read.
pub fn endpoint(config: &Config, service: &'static str) -> Option<String> {
    config.get(service).or_else(|_| config.get("AWS_ENDPOINT_URL")).ok().map(str::to_owned)
}

fn wire(trusted: TrustStore) -> SharedHttpClient {
    let tls = TlsContext::builder().with_trust_store(trusted).build().expect("the built-in authorities are readable");
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(ring).tls_context(tls).build_https()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Db, Orders, StoreError};
    use aws_sdk_dynamodb::Client;
    use domain::ids::{OrderId, UserId};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use sha2::{Digest, Sha256};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::time::Instant;

    /// A table that answers a call only if `answers` says so of its number, and the client of it.
    async fn table(answers: fn(u32) -> bool) -> (Client, Arc<AtomicU32>) {
        let calls = Arc::<AtomicU32>::default();
        let counted = calls.clone();
        let service = axum::Router::new().fallback(async move || {
            if !answers(counted.fetch_add(1, Ordering::SeqCst)) {
                std::future::pending::<()>().await;
            }
            "{}"
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, service).await });
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(format!("http://{address}"))
            .region(Region::new("test"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(retries())
            .timeout_config(timeouts(1));
        (Client::from_conf(config.build()), calls)
    }

    /// Each certificate has the fingerprint that stands above it, as Amazon names them.
    #[test]
    fn amazons_authorities_are_there() {
        let text = std::str::from_utf8(ROOTS).expect("it is a text");
        let mut store = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ROOTS) {
            let certificate = certificate.expect("it is PEM");
            let digest: Vec<String> = Sha256::digest(&certificate).iter().map(|byte| format!("{byte:02X}")).collect();
            assert!(text.contains(&format!("# SHA-256 {}", digest.join(":"))), "{digest:?}");
            store.add(certificate).expect("it is an authority's");
        }
        assert_eq!(store.len(), 5);
    }

    #[tokio::test]
    async fn a_silent_table_is_asked_again_and_not_for_ever() {
        let silent = async {
            let (client, calls) = table(|_| false).await;
            let started = Instant::now();
            let orders = Orders(Db::new(client, Ok("Orders")));
            let found = orders.get(UserId(1), OrderId(1));
            assert!(matches!(found.await, Err(StoreError::Busy(_))));
            assert!(started.elapsed() < Duration::from_secs(CALL_SECONDS_MAX + 1), "{:?}", started.elapsed());
            assert_eq!(calls.load(Ordering::SeqCst), ATTEMPTS_MAX);
        };
        let hung_once = async {
            let (client, calls) = table(|n| n > 0).await;
            let orders = Orders(Db::new(client, Ok("Orders")));
            let found = orders.get(UserId(1), OrderId(1));
            assert!(found.await.is_ok_and(|found| found.is_none()));
            assert_eq!(calls.load(Ordering::SeqCst), 2);
        };
        futures_util::future::join(silent, hung_once).await;
    }
}
