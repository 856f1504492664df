//! The embedded table below the real client: each request passes the gate, and is then carried out here.

use crate::gate::{Call, Gate, Kind, Outcome};
use crate::mutants::Mutant;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedHttpClient, StalledStreamProtectionConfig};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use boxoffice::engine::Store;
use dynoxide::Database;
use dynoxide::errors::DynoxideError;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::faults;

/// How many writes of its table a stale read may be behind.
const LAG_WRITES_MAX: usize = 4;
/// How long a call takes that is too slow for whoever made it.
const SLOW_SECONDS: u64 = 60;
/// Bytes of a request's digest in the trace.
const DIGEST_BYTES: usize = 4;

/// The tables of one run, and what its reads and writes went through.
#[derive(Clone)]
pub struct Tables(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    gate: Gate,
    /// What a request loses on its way, where a mutant is at work.
    mutant: Option<&'static Mutant>,
    /// Items as they were before the last writes, the oldest first.
    before: Mutex<VecDeque<Before>>,
    /// Where streams end, as far as somebody asked since the last write.
    ends: Mutex<BTreeMap<String, i64>>,
}

/// A request to a table: as it came, and to look into.
struct Asked {
    operation: String,
    text: String,
    body: Value,
}

/// An item before it was written.
struct Before {
    table: String,
    key: Value,
    item: Option<Value>,
}

impl Tables {
    pub fn new(store: Arc<Store>, gate: Gate, mutant: Option<&'static Mutant>) -> Self {
        Self(Arc::new(Inner { store, gate, mutant, before: Mutex::default(), ends: Mutex::default() }))
    }

    /// The real client, with retries and signing, over these tables. Its randomness is the thread's, which is seeded.
    pub fn client(&self) -> Client {
        let connector = SharedHttpConnector::new(Connector(self.clone()));
        let http: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url("http://tables.test")
            .region(Region::new(boxoffice::template::REGION))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .retry_config(platform::aws::retries())
            .timeout_config(platform::aws::timeouts(1))
            .retry_partition(fresh_retries())
            .http_client(http)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Client::from_conf(config)
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The position of a table's last stream record.
    pub fn stream_end(&self, table: &str) -> i64 {
        let mut ends = self.0.ends.lock().expect("no panic holds this lock");
        if let Some(end) = ends.get(table) {
            return *end;
        }
        let end = self.0.store.stream_end(table).expect("the stream can be read");
        ends.insert(table.to_owned(), end);
        end
    }

    /// Every item of a table, as JSON, read past the gate.
    pub fn scan(&self, table: &str) -> Vec<Value> {
        match self.look("Scan", json!({ "TableName": table, "ConsistentRead": true }))["Items"].take() {
            Value::Array(items) => items,
            other => panic!("a table is scanned into items, not {other}"),
        }
    }

    /// What a read answers past the gate.
    fn look(&self, operation: &str, body: Value) -> Value {
        let (status, reply) = self.run(operation, &body.to_string());
        assert_eq!(status, 200, "{reply}");
        serde_json::from_str(&reply).expect("the engine writes JSON")
    }

    /// Carries a request out.
    fn execute(&self, asked: &Asked) -> (u16, String) {
        let written = written_keys(&asked.operation, &asked.body);
        if !written.is_empty() {
            self.remember(written);
            self.0.ends.lock().expect("no panic holds this lock").clear();
        }
        let (status, reply) = self.run(&asked.operation, &asked.text);
        // The engine writes fields in any order.
        let told = || serde_json::from_str::<Value>(&reply).expect("the engine writes JSON");
        self.0.gate.learn(|| format!("{} {status} {}", asked.operation, told()));
        (status, reply)
    }

    /// Keeps what the items of a write were before it.
    fn remember(&self, written: Vec<(String, Value)>) {
        for (table, key) in written {
            let get = json!({ "TableName": table, "Key": key, "ConsistentRead": true });
            let item = self.look("GetItem", get).get_mut("Item").map(Value::take);
            let mut before = self.0.before.lock().expect("no panic holds this lock");
            if before.iter().filter(|old| old.table == table).count() >= LAG_WRITES_MAX
                && let Some(oldest) = before.iter().position(|old| old.table == table)
            {
                before.remove(oldest);
            }
            before.push_back(Before { table, key, item });
        }
    }

    /// A read's answer as it would have been before the last writes, `writes` of them at most.
    fn lag(&self, body: &Value, reply: &str, writes: usize) -> String {
        let mut reply: Value = serde_json::from_str(reply).expect("the engine writes JSON");
        let before = self.0.before.lock().expect("no panic holds this lock");
        let before = before.iter().rev().filter(|old| body["TableName"] == old.table.as_str()).take(writes);
        if !body["Key"].is_null() {
            for old in before.filter(|old| old.key["pk"] == body["Key"]["pk"] && old.key["sk"] == body["Key"]["sk"]) {
                reply = old.item.as_ref().map_or(json!({}), |item| json!({ "Item": item }));
            }
            return reply.to_string();
        }
        if let Some(items) = reply.get_mut("Items").and_then(Value::as_array_mut) {
            for old in before {
                items.retain(|item| item["pk"] != old.key["pk"] || item["sk"] != old.key["sk"]);
                items.extend(old.item.clone().filter(|item| answers(body, item)));
            }
            let count = items.len();
            (reply["Count"], reply["ScannedCount"]) = (json!(count), json!(count));
        }
        reply.to_string()
    }

    fn run(&self, operation: &str, body: &str) -> (u16, String) {
        match dispatch(&self.0.store.database, operation, body) {
            Ok(reply) => (200, reply),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }

    async fn call(&self, mut asked: Asked) -> Result<(u16, String), ConnectorError> {
        if let Some(mutant) = self.0.mutant {
            mutant.at_table(&asked.operation, &mut asked.body);
            asked.text = asked.body.to_string();
        }
        let Asked { operation, body, .. } = &asked;
        let text = format!("{operation} {} {}", names(operation, body), digest(body));
        let lost = || ConnectorError::io("the connection is gone".into());
        match self.0.gate.pass(Call::new(kind(operation, body), text)).await {
            Outcome::Done => Ok(self.execute(&asked)),
            Outcome::ReplyLost => {
                self.execute(&asked);
                Err(lost())
            }
            Outcome::DiesAfter => {
                self.execute(&asked);
                std::future::pending().await
            }
            Outcome::Stale(writes) => {
                let (status, reply) = self.execute(&asked);
                Ok((status, self.lag(body, &reply, writes)))
            }
            Outcome::Slow => {
                let done = self.execute(&asked);
                tokio::time::sleep(Duration::from_secs(SLOW_SECONDS)).await;
                Ok(done)
            }
            Outcome::Throttled if operation == "TransactWriteItems" => {
                Ok((400, faults::cancelled(body, "ThrottlingError").to_string()))
            }
            Outcome::Throttled => Ok((400, faults::throttled().to_string())),
            Outcome::Conflict => Ok((400, faults::conflict(operation, body).to_string())),
            _ => Err(lost()),
        }
    }
}

/// A client of one run must not inherit what another has used up of its retries.
fn fresh_retries() -> aws_sdk_dynamodb::config::retry::RetryPartition {
    use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
    RetryPartition::custom("simulation").token_bucket(TokenBucket::default()).build()
}

#[derive(Clone)]
struct Connector(Tables);

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let tables = self.0.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            let text =
                std::str::from_utf8(request.body().bytes().unwrap_or_default()).expect("JSON is text").to_owned();
            let body = serde_json::from_str(&text).expect("the client writes JSON");
            let (status, reply) = tables.call(Asked { operation, text, body }).await?;
            let status = StatusCode::try_from(status).expect("it is a status");
            Ok(HttpResponse::new(status, SdkBody::from(reply)))
        })
    }
}

fn kind(operation: &str, body: &Value) -> Kind {
    // An answer of several tables is taken as it is.
    match operation {
        "BatchGetItem" => Kind::Read,
        "GetItem" | "Query" | "Scan" if body["ConsistentRead"] != true => Kind::LaggingRead,
        "GetItem" | "Query" | "Scan" => Kind::Read,
        "TransactWriteItems" => Kind::Transaction,
        _ => Kind::Write,
    }
}

/// The items that a request writes: their tables and keys.
fn written_keys(operation: &str, body: &Value) -> Vec<(String, Value)> {
    let key = |put: &Value| {
        let item = if put["Item"].is_null() { &put["Key"] } else { &put["Item"] };
        let table = put["TableName"].as_str().unwrap_or_default().to_owned();
        (table, json!({ "pk": item["pk"], "sk": item["sk"] }))
    };
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => vec![key(body)],
        "TransactWriteItems" => {
            let items = body["TransactItems"].as_array().into_iter().flatten();
            items.filter_map(|item| item.as_object()?.values().next()).map(key).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a query would have found this item, as far as our queries go: one partition, one instant.
fn answers(query: &Value, item: &Value) -> bool {
    let values = &query["ExpressionAttributeValues"];
    if query["IndexName"] == "due" {
        let number = |value: &Value| value["N"].as_str().and_then(|text| text.parse::<i64>().ok());
        return item["due_shard"] == values[":shard"] && number(&item["due_at"]) <= number(&values[":now"]);
    }
    if query["IndexName"] == "by-month" {
        return values.as_object().is_some_and(|values| values.values().any(|value| *value == item["gpk"]));
    }
    item["pk"] == values[":pk"]
}

/// What a request is about, for people.
fn names(operation: &str, body: &Value) -> String {
    let mut keys: Vec<String> = written_keys(operation, body)
        .into_iter()
        .map(|(table, key)| format!("{table} {} {}", tail(&key["pk"]), tail(&key["sk"])))
        .collect();
    if keys.is_empty() {
        let table = body["TableName"].as_str().unwrap_or_default();
        let key = if body["Key"].is_null() { &body["ExpressionAttributeValues"] } else { &body["Key"] };
        let values = key.as_object().into_iter().flatten().map(|(_, value)| tail(value));
        keys.push(format!("{table} {}", values.collect::<Vec<_>>().join(" ")));
    }
    if let Some(update) = body["UpdateExpression"].as_str() {
        keys.push(update.to_owned());
    }
    for put in puts(body) {
        if let Some(state) = put.pointer("/Item/state/S").and_then(Value::as_str) {
            keys.push(format!("-> {state} v{}", put.pointer("/Item/v/N").and_then(Value::as_str).unwrap_or("?")));
        }
    }
    keys.join(", ")
}

/// The puts of a request, alone or in a transaction.
pub fn puts(body: &Value) -> Vec<&Value> {
    let parts = body["TransactItems"].as_array().into_iter().flatten().map(|item| &item["Put"]);
    std::iter::once(body).filter(|body| !body["Item"].is_null()).chain(parts).collect()
}

/// The end of a key, enough to tell it from others.
fn tail(value: &Value) -> String {
    const CHARS: usize = 6;
    let text = value["S"].as_str().or(value["N"].as_str()).unwrap_or_default();
    let cut = text.char_indices().rev().nth(CHARS - 1).map_or(0, |(at, _)| at);
    text[cut..].to_owned()
}

/// A digest of what is asked, whatever the order of its fields, less the token that a client makes for itself.
fn digest(body: &Value) -> String {
    let asked = if body["ClientRequestToken"].is_null() { body } else { &body["TransactItems"] };
    let digest = Sha256::digest(asked.to_string());
    digest[..DIGEST_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn dispatch(database: &Database, operation: &str, body: &str) -> Result<String, DynoxideError> {
    use dynoxide::actions as a;
    fn read<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, DynoxideError> {
        serde_json::from_str(body).map_err(|error| DynoxideError::ValidationException(error.to_string()))
    }
    fn write(reply: impl Serialize) -> Result<String, DynoxideError> {
        serde_json::to_string(&reply).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
    }
    match operation {
        "GetItem" => write(database.get_item(read::<a::get_item::GetItemRequest>(body)?)?),
        "PutItem" => write(database.put_item(read::<a::put_item::PutItemRequest>(body)?)?),
        "UpdateItem" => write(database.update_item(read::<a::update_item::UpdateItemRequest>(body)?)?),
        "DeleteItem" => write(database.delete_item(read::<a::delete_item::DeleteItemRequest>(body)?)?),
        "Query" => write(database.query(read::<a::query::QueryRequest>(body)?)?),
        "Scan" => write(database.scan(read::<a::scan::ScanRequest>(body)?)?),
        "BatchGetItem" => write(database.batch_get_item(read::<a::batch_get_item::BatchGetItemRequest>(body)?)?),
        "TransactWriteItems" => {
            write(database.transact_write_items(read::<a::transact_write_items::TransactWriteItemsRequest>(body)?)?)
        }
        "ListTables" => write(database.list_tables(read::<a::list_tables::ListTablesRequest>(body)?)?),
        "DescribeTable" => write(database.describe_table(read::<a::describe_table::DescribeTableRequest>(body)?)?),
        "CreateTable" => write(database.create_table(read::<a::create_table::CreateTableRequest>(body)?)?),
        "UpdateTimeToLive" => {
            write(database.update_time_to_live(read::<a::update_time_to_live::UpdateTimeToLiveRequest>(body)?)?)
        }
        other => panic!("the simulation does not carry out {other}"),
    }
}
