//! Where the tables are: in the embedded engine, or in another DynamoDB that tests are pointed at for a second opinion.

use crate::engine::{Engine, StreamRecord};
use crate::error::Error;
use crate::template::{REGION, stream_arn};
use axum::http::{Request, StatusCode};
use platform::Rng;
use platform::transport::{Internet, Transport};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

const TABLES: &str = "DynamoDB_20120810";
const STREAMS: &str = "DynamoDBStreams_20120810";
/// Pages of a stream that are read at once before it is said to have no end.
const PAGES_MAX: usize = 1_000;
/// How long it may take to answer.
const ANSWER_SECONDS_MAX: u64 = 20;

/// The tables of one system.
#[derive(Clone)]
pub enum Storage {
    Embedded(Arc<Engine>),
    Elsewhere(Arc<Elsewhere>),
}

/// A DynamoDB at another address, which must be one that believes signatures without checking them: an emulator. What is written
/// there belongs to an account that is made up, so that no two systems see each other's tables.
pub struct Elsewhere {
    url: String,
    account: String,
    http: Internet,
    streams: Mutex<BTreeMap<String, Stream>>,
}

/// What is known of a table's stream.
#[derive(Default)]
struct Stream {
    /// Where to go on, a shard each; none before the stream was looked at.
    iterators: Option<Vec<String>>,
    /// Every record so far; one's number is its place here, from 1.
    records: Vec<Value>,
}

impl Storage {
    pub fn elsewhere(url: &str) -> Self {
        let number = u64::from_be_bytes(Rng::System.bytes::<8>()) % 1_000_000_000_000;
        let (url, account) = (url.trim_end_matches('/').to_owned(), format!("{number:012}"));
        let (http, streams) = (Internet::default(), Mutex::default());
        Self::Elsewhere(Arc::new(Elsewhere { url, account, http, streams }))
    }

    pub fn url(&self) -> String {
        match self {
            Self::Embedded(engine) => format!("http://{}", engine.address),
            Self::Elsewhere(other) => other.url.clone(),
        }
    }

    /// The access key of whoever calls it.
    pub fn access_key(&self) -> &str {
        match self {
            Self::Embedded(_) => "local",
            Self::Elsewhere(other) => &other.account,
        }
    }

    /// Records of a table's stream after `position`, oldest first.
    pub async fn stream_records(
        &self,
        table: &str,
        position: i64,
        records_max: usize,
    ) -> Result<Vec<StreamRecord>, Error> {
        match self {
            Self::Embedded(engine) => engine.store().stream_records(table, position, records_max),
            Self::Elsewhere(other) => {
                let streams = other.read(table).await?;
                let skipped = usize::try_from(position).unwrap_or(0);
                let records = streams[table].records.iter().zip(1..).skip(skipped).take(records_max);
                Ok(records.map(|(record, sequence)| delivered(table, record, sequence)).collect())
            }
        }
    }

    /// The position of a table's last stream record; 0 if there is none.
    pub async fn stream_end(&self, table: &str) -> Result<i64, Error> {
        match self {
            Self::Embedded(engine) => engine.store().stream_end(table),
            Self::Elsewhere(other) => Ok(other.read(table).await?[table].records.len() as i64),
        }
    }

    /// Deletes some of the records before `position`, and says whether there may be more.
    pub fn trim_stream(&self, table: &str, position: i64) -> Result<bool, Error> {
        match self {
            Self::Embedded(engine) => engine.store().trim_stream(table, position),
            Self::Elsewhere(_) => Ok(false),
        }
    }

    /// Deletes items whose time to live has passed, where nobody else does. Takes a while: call it where waiting is allowed.
    pub fn sweep_expired(&self) -> Result<usize, Error> {
        match self {
            Self::Embedded(engine) => engine.store().sweep_expired(),
            Self::Elsewhere(_) => Ok(0),
        }
    }
}

impl Elsewhere {
    /// Reads a stream to its end.
    async fn read(&self, table: &str) -> Result<tokio::sync::MutexGuard<'_, BTreeMap<String, Stream>>, Error> {
        let mut streams = self.streams.lock().await;
        let stream = streams.entry(table.to_owned()).or_default();
        if stream.iterators.is_none() {
            stream.iterators = Some(self.beginnings(table).await?);
        }
        for iterator in stream.iterators.iter_mut().flatten() {
            for page in 0.. {
                let reply = self.ask(STREAMS, "GetRecords", json!({ "ShardIterator": iterator })).await?;
                let records = reply["Records"].as_array().cloned().unwrap_or_default();
                if let Some(next) = reply["NextShardIterator"].as_str() {
                    *iterator = next.to_owned();
                }
                if records.is_empty() {
                    break;
                }
                stream.records.extend(records);
                if page == PAGES_MAX {
                    return Err(Error::Engine(format!("the stream of {table} does not end")));
                }
            }
        }
        Ok(streams)
    }

    /// Where each shard of a table's stream begins.
    async fn beginnings(&self, table: &str) -> Result<Vec<String>, Error> {
        let described = self.ask(TABLES, "DescribeTable", json!({ "TableName": table })).await?;
        let arn = &described["Table"]["LatestStreamArn"];
        let shards = self.ask(STREAMS, "DescribeStream", json!({ "StreamArn": arn })).await?;
        let mut iterators = Vec::new();
        for shard in shards["StreamDescription"]["Shards"].as_array().into_iter().flatten() {
            let from = json!({ "StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON" });
            let reply = self.ask(STREAMS, "GetShardIterator", from).await?;
            iterators.extend(reply["ShardIterator"].as_str().map(str::to_owned));
        }
        Ok(iterators)
    }

    async fn ask(&self, service: &str, operation: &str, body: Value) -> Result<Value, Error> {
        let failed = |cause: String| Error::Engine(format!("{}: {operation}: {cause}", self.url));
        let scope = format!("{}/20270101/{REGION}/dynamodb/aws4_request", self.account);
        let signature = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={:064}", 0);
        let request = Request::post(&self.url).header("x-amz-target", format!("{service}.{operation}"));
        let request = request.header("content-type", "application/x-amz-json-1.0").header("authorization", signature);
        let request = request.body(body.to_string().into()).map_err(|error| failed(error.to_string()))?;
        let reply = self.http.send(request, Duration::from_secs(ANSWER_SECONDS_MAX)).await;
        let reply = reply.map_err(|error| failed(error.to_string()))?;
        if reply.status() != StatusCode::OK {
            return Err(failed(format!("{} {}", reply.status(), String::from_utf8_lossy(reply.body()))));
        }
        serde_json::from_slice(reply.body()).map_err(|error| failed(error.to_string()))
    }
}

/// A record as Lambda hands it to a function.
fn delivered(table: &str, record: &Value, sequence: i64) -> StreamRecord {
    let mut event = record.clone();
    event["eventSourceARN"] = json!(stream_arn(table));
    event["awsRegion"] = json!(REGION);
    let created = record["dynamodb"]["ApproximateCreationDateTime"].as_f64().unwrap_or(0.0);
    StreamRecord { sequence, event, created_at_seconds: created as i64 }
}
