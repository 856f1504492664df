//! The AWS client for the embedded engine: the real one, with an ear on each call.

use crate::meter::Meter;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::{BeforeTransmitInterceptorContextMut, FinalizerInterceptorContextRef};
use aws_sdk_dynamodb::config::{
    BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use std::sync::Arc;
use tokio::sync::watch;

const TARGET_PREFIX: &str = "DynamoDB_20120810.";
/// The member that the client adds to each `TransactWriteItems`.
const TOKEN: &[u8] = b"\"ClientRequestToken\":\"";

/// How much longer a call may take than on AWS. The engine shares its processors with all who ask it: where a crowd makes
/// it late, asking again would make the crowd larger. Handlers' deadlines come first.
const SLOWNESS: u32 = 6;

/// What carries the calls to the embedded engine.
pub fn wire() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_http()
}

/// A client whose writes are told to `written`, and whose calls are counted if there is a meter.
pub fn connect(
    url: &str,
    access_key: &str,
    http: SharedHttpClient,
    written: watch::Sender<()>,
    meter: Option<Arc<Meter>>,
) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new(crate::template::REGION))
        // The engine wants a signature and checks none.
        .credentials_provider(Credentials::new(access_key, "local", None, None, "local"))
        .http_client(http)
        .retry_config(platform::aws::retries())
        .timeout_config(platform::aws::timeouts(SLOWNESS))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .interceptor(Ear { written, meter })
        .build();
    Client::from_conf(config)
}

#[derive(Debug)]
struct Ear {
    written: watch::Sender<()>,
    meter: Option<Arc<Meter>>,
}

impl Intercept for Ear {
    fn name(&self) -> &'static str {
        "Ear"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.strip_prefix(TARGET_PREFIX).unwrap_or(target).to_owned();
        // The engine remembers every token and looks through all of them at each call: 35 µs without a token, 595
        // after 20,000. Nothing here relies on it, since each write carries its own condition.
        let strips = operation == "TransactWriteItems";
        let meters = self.meter.is_some();
        let mut table = String::new();
        if let Some(body) = request.body().bytes().filter(|_| strips || meters) {
            let mut body = body.to_vec();
            if strips {
                strip_token(&mut body);
            }
            if meters {
                table = crate::meter::table_of(&body);
                crate::meter::ask_for_capacity(&operation, &mut body);
            }
            request.headers_mut().insert("content-length", body.len().to_string());
            *request.body_mut() = body.into();
        }
        cfg.interceptor_state().store_put(Call { operation, table });
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(call) = cfg.load::<Call>() else { return Ok(()) };
        if crate::meter::is_write(&call.operation) {
            self.written.send_replace(());
        }
        if let Some(meter) = &self.meter {
            let succeeded = context.output_or_error().is_some_and(|result| result.is_ok());
            let reply = context.response().and_then(|response| response.body().bytes()).unwrap_or_default();
            meter.count(&call.operation, &call.table, reply, succeeded);
        }
        Ok(())
    }
}

/// What a request is about, kept until its answer.
#[derive(Debug)]
struct Call {
    operation: String,
    /// The first that it names; empty when nobody counts.
    table: String,
}

impl Storable for Call {
    type Storer = StoreReplace<Self>;
}

/// Takes the token out of a request's JSON. The bytes looked for can stand nowhere else: inside a text the quotes
/// would be escaped, and an attribute of that name has an object for its value.
fn strip_token(body: &mut Vec<u8>) {
    let Some(start) = find(body, TOKEN) else { return };
    let value = start + TOKEN.len();
    let Some(length) = body[value..].iter().position(|byte| *byte == b'"') else { return };
    let (mut from, mut to) = (start, value + length + 1);
    if from > 0 && body[from - 1] == b',' {
        from -= 1;
    } else if body.get(to) == Some(&b',') {
        to += 1;
    }
    body.drain(from..to);
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
    use std::sync::Mutex;

    /// What the engine would be sent, byte for byte.
    #[tokio::test]
    async fn no_token_is_on_the_wire() {
        let bodies = Arc::new(Mutex::new(Vec::<String>::new()));
        let seen = bodies.clone();
        let engine = axum::Router::new().fallback(async move |body: String| {
            seen.lock().expect("no panic holds this lock").push(body);
            "{}"
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, engine).await });
        for meter in [None, Some(Arc::new(Meter::default()))] {
            let (written, writes) = watch::channel(());
            let client = connect(&format!("http://{address}"), "local", wire(), written, meter.clone());
            for token in [None, Some("mine".to_owned())] {
                let put = Put::builder().table_name("T").item("pk", AttributeValue::S("x".to_owned()));
                let item = TransactWriteItem::builder().put(put.build().expect("it is whole")).build();
                let request = client.transact_write_items().transact_items(item).set_client_request_token(token);
                request.send().await.expect("it is answered");
            }
            assert!(writes.has_changed().expect("the client lives"), "a write wakes the streams");
            assert_eq!(meter.map_or(0, |meter| meter.counts().values().map(|counts| counts.calls).sum()) % 2, 0);
        }
        let bodies = bodies.lock().expect("no panic holds this lock");
        let plain = r#"{"TransactItems":[{"Put":{"Item":{"pk":{"S":"x"}},"TableName":"T"}}]}"#;
        let metered = plain.replacen('{', r#"{"ReturnConsumedCapacity":"TOTAL","#, 1);
        assert_eq!(*bodies, [plain, plain, metered.as_str(), metered.as_str()]);
    }

    #[track_caller]
    fn check(before: &str, after: &str) {
        let mut body = before.as_bytes().to_vec();
        strip_token(&mut body);
        assert_eq!(String::from_utf8_lossy(&body), after);
    }

    #[test]
    fn the_token_is_stripped_wherever_it_stands() {
        check(r#"{"A":[],"ClientRequestToken":"abc"}"#, r#"{"A":[]}"#);
        check(r#"{"ClientRequestToken":"abc","A":[]}"#, r#"{"A":[]}"#);
        check(r#"{"ClientRequestToken":"abc"}"#, r#"{}"#);
        check(r#"{"A":[]}"#, r#"{"A":[]}"#);
        check(r#"{"I":{"ClientRequestToken":{"S":"x"}}}"#, r#"{"I":{"ClientRequestToken":{"S":"x"}}}"#);
        check(r#"{"S":"\"ClientRequestToken\":\"x\""}"#, r#"{"S":"\"ClientRequestToken\":\"x\""}"#);
    }
}
