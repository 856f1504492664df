//! Dead letters: how they come about, and the one command that sends them back, here and on AWS.

use axum::http::HeaderMap;
use boxoffice::Options;
use platform::bus::{Bus, BusError, BusFuture, InProcessBus, QueueMessage, TopicMessage};
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tests::{Provider, TestApp, id, options, program, seat};

/// How long a message that could not be handled rests (`VisibilityTimeout` in template.yaml).
const RETRY_SECONDS: i64 = 180;

/// Runs `boxoffice redrive` with these arguments: whether it succeeded, and what it printed.
async fn redrive(arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = tokio::process::Command::new(program::path());
    command.arg("redrive").args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("the program starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("it prints text"))
}

/// A directory with the secrets of this box office, as the command finds them beside its data.
fn data_of(app: &TestApp) -> program::Directory {
    let directory = program::Directory::new("redrive");
    let text = serde_json::to_string(&app.running.secrets).expect("they are JSON");
    std::fs::write(directory.0.join("secrets.json"), text).expect("there is room");
    directory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_sends_dead_letters_back() {
    let provider = Provider::default();
    let app = TestApp::start_with(Options { wires: provider.wires(), ..options() }).await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.hold(&buyer, &event, &json!([seat("Stalls", 1, 1)])).await;
    let payment = app.start_payment(&buyer, id(&order)).await;
    // Somebody took our key away.
    provider.answer(401, None, u32::MAX);
    app.confirm(&payment, "pm_card_visa").await.expect(200);
    for _ in 0..5 {
        app.settled().await;
        assert_eq!(app.order(&buyer, id(&order)).await["status"], "paying");
        app.advance(RETRY_SECONDS);
    }
    app.settled().await;
    let data = data_of(&app);
    let data = data.0.to_str().expect("it is a text");
    let at = ["--url", &app.url, "--data", data];
    let listed = redrive(&at, &[]).await;
    let expected =
        ["0  DeliveriesDeadLetters", "0  OffersDeadLetters", "1  PaymentsDeadLetters", "0  UnpublishedDeadLetters"];
    assert_eq!(listed, (true, expected.map(|line| format!("       {line}\n")).concat()));
    provider.repair();
    let moved = redrive(&[&["Payments"], &at[..]].concat(), &[]).await;
    assert_eq!(moved, (true, "       1  moved back from PaymentsDeadLetters\n".to_owned()));
    app.settled().await;
    assert_eq!(app.order(&buyer, id(&order)).await["status"], "paid");
    let again = redrive(&[&["PaymentsDeadLetters"], &at[..]].concat(), &[]).await;
    assert_eq!(again, (true, "       0  moved back from PaymentsDeadLetters\n".to_owned()));
    let (done, told) = redrive(&[&["Paymnets"], &at[..]].concat(), &[]).await;
    assert!(!done && told.contains("Paymnets is no queue"), "{told}");
    let (done, told) = redrive(&["--url", "http://127.0.0.1:9", "--data", data], &[]).await;
    assert!(!done && told.contains("no box office answers"), "{told}");
    // Who cannot read its secrets, and who has those of another.
    let (done, told) = redrive(&["--url", &app.url, "--data", "nowhere"], &[]).await;
    assert!(!done && told.contains("nowhere/secrets.json"), "{told}");
    let other = TestApp::start().await;
    let (done, told) = redrive(&["--url", &other.url, "--data", data], &[]).await;
    assert!(!done && told.contains("with the token of this box office"), "{told}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_and_no_stranger_may_send_them_back() {
    let app = TestApp::start().await;
    let operator = ("x-boxoffice-operator", app.running.secrets.operator_token.as_str());
    for (headers, status) in [
        (vec![], 403),
        (vec![(operator.0, "1")], 403),
        (vec![operator, ("origin", "https://elsewhere.example")], 403),
        (vec![operator, ("host", "elsewhere.example")], 403),
        (vec![operator, ("x-forwarded-for", "192.0.2.7")], 403),
        (vec![operator], 200),
    ] {
        let mut ask = app.ask("POST", "/_redrive/Payments");
        for (name, value) in &headers {
            ask = ask.header(name, value);
        }
        assert_eq!(ask.send().await.status, status, "{headers:?}");
    }
    let ask = |method, path| app.ask(method, path).header(operator.0, operator.1).send();
    ask("POST", "/_redrive/Nothing").await.problem(404, "not_redriven");
    ask("DELETE", "/_redrive").await.problem(404, "not_redriven");
    app.finish().await;
}

type Calls = Arc<Mutex<Vec<(String, Value)>>>;

/// What SQS answers to each of the command's calls.
fn sqs(calls: &Calls, target: &str, body: Value) -> Value {
    let queue = "https://sqs.eu-central-1.amazonaws.com/123456789012/boxoffice-PaymentsDeadLetters-1A2B3C";
    let mut calls = calls.lock().expect("no panic holds this lock");
    calls.push((target.to_owned(), body));
    let looks = calls.iter().filter(|(target, _)| target == "AmazonSQS.ListMessageMoveTasks").count();
    match target {
        "AmazonSQS.ListQueues" => json!({ "QueueUrls": [queue, queue.replace("DeadLetters", "")] }),
        "AmazonSQS.GetQueueAttributes" => json!({ "Attributes": {
            "QueueArn": "arn:aws:sqs:eu-central-1:123456789012:boxoffice-PaymentsDeadLetters-1A2B3C",
            "ApproximateNumberOfMessages": "3",
        }}),
        "AmazonSQS.StartMessageMoveTask" => json!({ "TaskHandle": "task" }),
        "AmazonSQS.ListMessageMoveTasks" if looks == 1 => json!({ "Results": [{ "Status": "RUNNING" }] }),
        "AmazonSQS.ListMessageMoveTasks" => {
            json!({ "Results": [{ "Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 3, "StartedTimestamp": 1 }] })
        }
        other => panic!("{other} was not expected"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_command_works_on_aws() {
    let calls = Calls::default();
    let seen = calls.clone();
    let service = axum::Router::new().fallback(async move |headers: HeaderMap, body: String| {
        let target = headers["x-amz-target"].to_str().expect("it is a text").to_owned();
        let body = serde_json::from_str(&body).expect("it is JSON");
        ([("content-type", "application/x-amz-json-1.0")], sqs(&seen, &target, body).to_string())
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move { axum::serve(listener, service).await });
    let environment = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let listed = redrive(&["--aws"], &environment).await;
    assert_eq!(listed, (true, "       3  boxoffice-PaymentsDeadLetters-1A2B3C\n".to_owned()));
    let moved = redrive(&["Payments", "--aws"], &environment).await;
    assert_eq!(moved, (true, "       3  moved back from boxoffice-PaymentsDeadLetters-1A2B3C\n".to_owned()));
    let arn = "arn:aws:sqs:eu-central-1:123456789012:boxoffice-PaymentsDeadLetters-1A2B3C";
    let calls = calls.lock().expect("no panic holds this lock");
    let start = calls.iter().find(|(target, _)| target == "AmazonSQS.StartMessageMoveTask").expect("it was called");
    assert_eq!(start.1, json!({ "SourceArn": arn }), "to where they came from");
    assert_eq!(calls.last().expect("there were some").1, json!({ "SourceArn": arn, "MaxResults": 1 }));
}

/// A bus whose topic is down.
struct NoTopic(Bus);

impl InProcessBus for NoTopic {
    fn send<'a>(&'a self, queue_url: &'a str, messages: Vec<QueueMessage>) -> BusFuture<'a> {
        Box::pin(self.0.send(queue_url, messages))
    }

    fn publish<'a>(&'a self, topic_arn: &'a str, _: Vec<TopicMessage>) -> BusFuture<'a> {
        let error = BusError { destination: topic_arn.to_owned(), cause: "it is down".to_owned() };
        Box::pin(std::future::ready(Err(error)))
    }
}

fn sample() -> Value {
    serde_json::from_str(include_str!("../../events/relay.json")).expect("it is JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_that_could_not_be_published_are_published_later() {
    let app = TestApp::start().await;
    app.running.pause("Payments").expect("there is such a queue");
    let mut relay = app.app("relay");
    relay.clients.bus = Bus::InProcess(Arc::new(NoTopic(relay.clients.bus.clone())));
    let reply = functions::invoke(relay, "relay", sample()).await.expect("it is handled");
    assert_eq!(reply, json!({ "batchItemFailures": [] }), "the stream goes on");
    app.settled().await;
    let published = app.running.queues().bodies("Payments").expect("there is such a queue");
    assert!(matches!(&published[..], [body] if body.contains("refund.requested")), "{published:?}");
    app.running.resume("Payments").expect("there is such a queue");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_nobody_can_read_stops_nothing_and_waits_whole_for_a_person() {
    let app = TestApp::start().await;
    app.running.pause("Payments").expect("there is such a queue");
    let mut event = sample();
    let effect = &mut event["Records"][1]["dynamodb"]["NewImage"]["effects"]["L"][0]["M"];
    let readable = effect["type"].clone();
    effect["type"] = json!({ "S": "of.tomorrow" });
    let record = event["Records"][1].clone();
    let reply = functions::invoke(app.app("relay"), "relay", event).await.expect("it is handled");
    assert_eq!(reply, json!({ "batchItemFailures": [] }), "the stream goes on");
    for _ in 0..20 {
        app.settled().await;
        app.advance(RETRY_SECONDS);
    }
    app.settled().await;
    let letters = app.running.dead_letters("UnpublishedDeadLetters").expect("there is such a queue");
    let letters: Vec<Value> = letters.iter().map(|body| serde_json::from_str(body).expect("it is JSON")).collect();
    assert_eq!(letters, std::slice::from_ref(&record));

    // What a repaired function makes of it.
    let mut repaired = record;
    repaired["dynamodb"]["NewImage"]["effects"]["L"][0]["M"]["type"] = readable;
    let republish = app.app("republish");
    let event = json!({ "Records": [{ "messageId": "m", "body": repaired.to_string() }] });
    let reply = functions::invoke(republish, "republish", event).await.expect("it is handled");
    assert_eq!(reply, json!({ "batchItemFailures": [] }));
    let published = app.running.queues().bodies("Payments").expect("there is such a queue");
    assert!(matches!(&published[..], [body] if body.contains("refund.requested")), "{published:?}");
    app.running.resume("Payments").expect("there is such a queue");
    app.running.pause("Unpublished").expect("there is such a queue");
    assert_eq!(app.running.redrive("UnpublishedDeadLetters").expect("it is sent back"), 1);
    app.finish().await;
}
