//! A small system of a template of its own, run as the real one is: over HTTP, with the real client and tables.

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use boxoffice::host::{Code, Reply, Starts};
use boxoffice::{Data, Options, Runner, Running};
use platform::bus::{QueueMessage, TopicMessage};
use platform::http::ClientAddr;
use platform::{App, Clock};
use serde_json::{Value, json};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TEMPLATE: &str = "
Transform: AWS::Serverless-2016-10-31
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{ AttributeName: pk, AttributeType: S }]
      KeySchema: [{ AttributeName: pk, KeyType: HASH }]
      StreamSpecification: { StreamViewType: NEW_AND_OLD_IMAGES }
  Work:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 60
      RedrivePolicy: { deadLetterTargetArn: !GetAtt WorkDead.Arn, maxReceiveCount: 2 }
  WorkDead: { Type: AWS::SQS::Queue }
  RelayDead: { Type: AWS::SQS::Queue }
  News: { Type: AWS::SNS::Topic }
  NewsToWork:
    Type: AWS::SNS::Subscription
    Properties:
      TopicArn: !Ref News
      Protocol: sqs
      Endpoint: !GetAtt Work.Arn
      RawMessageDelivery: true
      FilterPolicy: { type: [thing] }
  Web:
    Type: AWS::Serverless::Function
    Properties:
      Handler: web
      Timeout: 1
      Environment: { Variables: { TABLE: !Ref Things, QUEUE: !Ref Work } }
      Events:
        Put: { Type: HttpApi, Properties: { Method: POST, Path: '/things/{id}' } }
        Special: { Type: HttpApi, Properties: { Method: GET, Path: /things/special } }
        Get: { Type: HttpApi, Properties: { Method: GET, Path: '/things/{id}' } }
        Panic: { Type: HttpApi, Properties: { Method: GET, Path: /panic } }
        Slow: { Type: HttpApi, Properties: { Method: GET, Path: /slow } }
  Relay:
    Type: AWS::Serverless::Function
    Properties:
      Handler: relay
      Environment: { Variables: { TOPIC: !Ref News } }
      Events:
        Things:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Things.StreamArn
            StartingPosition: TRIM_HORIZON
            BisectBatchOnFunctionError: true
            MaximumRetryAttempts: 2
            FunctionResponseTypes: [ReportBatchItemFailures]
            DestinationConfig: { OnFailure: { Destination: !GetAtt RelayDead.Arn } }
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      Handler: worker
      Events:
        Work:
          Type: SQS
          Properties: { Queue: !GetAtt Work.Arn, BatchSize: 10, FunctionResponseTypes: [ReportBatchItemFailures] }
  Tick:
    Type: AWS::Serverless::Function
    Properties:
      Handler: tick
      Events:
        Often: { Type: ScheduleV2, Properties: { ScheduleExpression: rate(1 hour) } }
";

/// Functions that do just enough, and remember it.
#[derive(Default)]
struct Fake {
    worked: Mutex<Vec<String>>,
    ticks: AtomicU32,
    relayed: AtomicU32,
}

/// The functions of the template above.
struct Fakes(Arc<Fake>);

impl Code for Fakes {
    fn kind(&self, handler: &str) -> Option<Starts> {
        match handler {
            "web" => Some(Starts::Http),
            "relay" => Some(Starts::Stream),
            "worker" => Some(Starts::Queue),
            "tick" => Some(Starts::Schedule),
            _ => None,
        }
    }

    fn router(&self, _: &str, app: App) -> Option<Router> {
        let routes = Router::new()
            .route("/things/special", get(async || "special"))
            .route(
                "/things/{id}",
                post(put).get(async |Path(id): Path<String>, client: ClientAddr| format!("{id} {}", client.0)),
            )
            .route(
                "/panic",
                get(async || {
                    if true {
                        panic!("on purpose")
                    }
                }),
            )
            .route("/slow", get(async || tokio::time::sleep(Duration::from_secs(60)).await));
        Some(routes.with_state(app))
    }

    fn openapi(&self, _: &App) -> Option<String> {
        Some("{}".to_owned())
    }

    fn invoke(&self, handler: &str, app: App, event: Value) -> Reply {
        let fake = self.0.clone();
        let handler = handler.to_owned();
        Box::pin(async move {
            match handler.as_str() {
                "relay" => fake.relay(app, event).await,
                "worker" => Ok(fake.work(&event)),
                _ => {
                    fake.ticks.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(event["detail-type"], "Scheduled Event");
                    Ok(Value::Null)
                }
            }
        })
    }
}

/// Puts the thing in a transaction, which is what carries a token.
async fn put(State(app): State<App>, Path(id): Path<String>) -> String {
    use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
    let table = app.config.get("TABLE").expect("the template gives it");
    let put = Put::builder().table_name(table).item("pk", AttributeValue::S(id.clone())).build().expect("it is whole");
    let item = TransactWriteItem::builder().put(put).build();
    app.clients.dynamodb.transact_write_items().transact_items(item).send().await.expect("the engine writes");
    id
}

impl Fake {
    /// Fails on records whose key says so: `wrong…` is reported, `panic…` takes the whole batch down.
    async fn relay(&self, app: App, event: Value) -> Result<Value, String> {
        let topic = app.config.get("TOPIC").map_err(|error| error.to_string())?;
        for record in event["Records"].as_array().ok_or("no records")? {
            let key = record["dynamodb"]["NewImage"]["pk"]["S"].as_str().ok_or("no image")?.to_owned();
            assert!(!key.starts_with("panic"), "on purpose");
            if key.starts_with("wrong") {
                return Ok(
                    json!({ "batchItemFailures": [{ "itemIdentifier": record["dynamodb"]["SequenceNumber"] }] }),
                );
            }
            let kind = if key.starts_with("other") { "other" } else { "thing" };
            let message = TopicMessage { body: key, kind: kind.to_owned() };
            app.clients.bus.publish(topic, vec![message]).await.map_err(|error| error.to_string())?;
            self.relayed.fetch_add(1, Ordering::SeqCst);
        }
        Ok(json!({ "batchItemFailures": [] }))
    }

    fn work(&self, event: &Value) -> Value {
        let mut failures = Vec::new();
        for record in event["Records"].as_array().expect("an SQS event has records") {
            let body = record["body"].as_str().expect("a body is a text");
            self.worked.lock().expect("no panic holds this lock").push(body.to_owned());
            if body.starts_with("bad") {
                failures.push(json!({ "itemIdentifier": record["messageId"] }));
            }
        }
        json!({ "batchItemFailures": failures })
    }

    fn worked(&self) -> Vec<String> {
        let mut worked = self.worked.lock().expect("no panic holds this lock").clone();
        worked.sort();
        worked
    }
}

async fn start(fake: &Arc<Fake>, data: Data, clock: &Clock) -> Running {
    let options = Options {
        data,
        clock: clock.clone(),
        meter: true,
        schedules: false,
        template: TEMPLATE.to_owned(),
        code: Arc::new(Fakes(fake.clone())),
        ..Options::default()
    };
    Runner::start(options).await.expect("it starts")
}

/// The status and the body of the answer.
async fn http(running: &Running, method: &str, path: &str) -> (u16, String) {
    let address = running.url.strip_prefix("http://").expect("it is plain HTTP");
    let mut connection = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it has a status");
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name: [u8; 8] = platform::Rng::System.bytes();
        Self(std::env::temp_dir().join(format!("system-{:x}", u64::from_be_bytes(name))))
    }

    fn data(&self) -> Data {
        Data::Dir(self.0.clone())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the directory is ours");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_goes_through_stream_topic_and_queue() {
    let fake = Arc::<Fake>::default();
    let started = Instant::now();
    let running = start(&fake, Data::Memory, &Clock::default()).await;
    println!("started in {:?}", started.elapsed());
    assert!(running.fresh);
    for id in ["a", "b", "other"] {
        assert_eq!(http(&running, "POST", &format!("/things/{id}")).await, (200, id.to_owned()));
    }
    running.settled().await.expect("it comes to rest");
    assert_eq!(fake.relayed.load(Ordering::SeqCst), 3);
    assert_eq!(fake.worked(), ["a", "b"], "the filter policy holds back `other`");
    let meter = running.meter.as_ref().expect("it was asked for");
    let counts = meter.counts()[&("TransactWriteItems".to_owned(), "Things".to_owned())];
    assert_eq!((counts.calls, counts.write_units), (3, 6.0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_routes_of_the_template_answer() {
    let fake = Arc::<Fake>::default();
    let running = start(&fake, Data::Memory, &Clock::default()).await;
    assert_eq!(http(&running, "GET", "/things/special").await, (200, "special".to_owned()));
    assert_eq!(http(&running, "GET", "/things/7").await, (200, "7 127.0.0.1".to_owned()));
    for (method, path) in [("DELETE", "/things/7"), ("GET", "/things/"), ("GET", "/things/7/8"), ("GET", "/nowhere")] {
        let (status, body) = http(&running, method, path).await;
        assert!(status == 404 && body.contains("\"code\":\"not_found\""), "{method} {path}: {status} {body}");
    }
    assert_eq!(http(&running, "GET", "/panic").await.0, 500);
    assert_eq!(http(&running, "GET", "/slow").await.0, 503);
    assert_eq!(http(&running, "GET", "/").await.0, 200);
    assert_eq!(http(&running, "GET", "/openapi.json").await, (200, "{}".to_owned()));
    let (status, report) = http(&running, "GET", "/_meter").await;
    assert!(status == 200 && report.contains("cpu_ms"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_keep_failing_are_given_up_and_the_rest_goes_on() {
    let fake = Arc::<Fake>::default();
    let running = start(&fake, Data::Memory, &Clock::default()).await;
    for id in ["a", "wrong", "b", "panic", "c"] {
        assert_eq!(http(&running, "POST", &format!("/things/{id}")).await.0, 200);
    }
    running.settled().await.expect("it comes to rest");
    let mut worked = fake.worked();
    worked.dedup();
    assert_eq!(worked, ["a", "b", "c"]);
    let given_up = running.dead_letters("RelayDead").expect("there is such a queue");
    assert_eq!(given_up.len(), 2, "{given_up:?}");
    assert!(given_up[0].contains("\"batchSize\":1"), "{given_up:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_keeps_failing_is_a_dead_letter() {
    let (fake, clock) = (Arc::<Fake>::default(), Clock::default());
    let running = start(&fake, Data::Memory, &clock).await;
    let queue = running.app("web").expect("it is there").config.get("QUEUE").expect("it is given").to_owned();
    let messages = ["good", "bad"].map(|body| QueueMessage { body: body.to_owned(), delay_seconds: 0 });
    running.app("web").expect("it is there").clients.bus.send(&queue, messages.to_vec()).await.expect("it is sent");
    running.settled().await.expect("it comes to rest");
    assert!(running.dead_letters("WorkDead").expect("there is such a queue").is_empty());
    running.advance(60);
    running.settled().await.expect("it comes to rest");
    running.advance(60);
    running.settled().await.expect("it comes to rest");
    assert_eq!(fake.worked(), ["bad", "bad", "good"]);
    assert_eq!(running.dead_letters("WorkDead").expect("there is such a queue"), ["bad"]);
    assert_eq!(running.redrive("WorkDead").expect("it is sent back"), 1);
    running.settled().await.expect("it comes to rest");
    assert_eq!(fake.worked().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_is_there_at_the_next_start() {
    let (fake, clock, directory) = (Arc::<Fake>::default(), Clock::default(), Directory::new());
    let running = start(&fake, directory.data(), &clock).await;
    running.pause("Work").expect("there is such a queue");
    assert_eq!(http(&running, "POST", "/things/kept").await.0, 200);
    running.settled().await.expect("it comes to rest");
    assert!(fake.worked().is_empty());
    let keys = running.secrets.public_keys.clone();
    let second = Runner::start(Options { data: directory.data(), ..Options::default() }).await;
    assert!(second.err().is_some_and(|error| error.to_string().contains("in use")));
    running.stop().await;

    let running = start(&fake, directory.data(), &clock).await;
    assert!(!running.fresh);
    assert_eq!(running.secrets.public_keys, keys);
    running.settled().await.expect("it comes to rest");
    assert_eq!(fake.worked(), ["kept"]);
    assert_eq!(fake.relayed.load(Ordering::SeqCst), 1, "the stream goes on where it was");
    check_private(&directory.0.join("secrets.json"));
    running.stop().await;
}

fn check_private(path: &FilePath) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_runs_when_asked() {
    let fake = Arc::<Fake>::default();
    let running = start(&fake, Data::Memory, &Clock::default()).await;
    running.run_schedule("tick").await.expect("it runs");
    assert_eq!(fake.ticks.load(Ordering::SeqCst), 1);
    assert!(running.run_schedule("web").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_is_not_there_stops_the_start() {
    for (from, to, problem) in [
        ("Handler: tick", "Handler: tock", "Resources.Tick: there is no function tock"),
        ("Handler: tick", "Handler: worker", "Resources.Tick: worker is started by Queue, and not by Schedule"),
    ] {
        let code = Arc::new(Fakes(Arc::default()));
        let options = Options { template: TEMPLATE.replacen(from, to, 1), code, ..Options::default() };
        let error = Runner::start(options).await.err().expect("it does not start");
        assert!(error.to_string().contains(problem), "{error}");
    }
}
