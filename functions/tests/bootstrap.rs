//! The `bootstrap` program as Lambda runs it: started with its environment, given events by the Runtime API
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>), and asking Secrets Manager for what it needs.

use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{Mutex, mpsc};

/// How long one answer may take, on a busy machine and unoptimised.
const ANSWER_SECONDS_MAX: u64 = 60;
const BODY_BYTES_MAX: usize = 1 << 20;
const RUNTIME: &str = "/2018-06-01/runtime";
/// The secret that every function is told of here, and its value.
const SECRET: (&str, &str) = ("the-secret", r#"{"keys":[]}"#);

/// What happens on the other side: events that wait, and what the function posts, by the last part of its path.
#[derive(Clone)]
struct Lambda {
    events: Arc<Mutex<mpsc::Receiver<String>>>,
    posts: mpsc::Sender<(String, String)>,
}

/// Runs a function with one event. Its answer: `response` or `error`, and the body.
async fn answer(handler: &str, event: &Value) -> (String, Value) {
    let (give, events) = mpsc::channel(1);
    let (posts, mut posted) = mpsc::channel(1);
    give.send(event.to_string()).await.expect("there is room for it");
    let mut process = start(handler, Lambda { events: Arc::new(Mutex::new(events)), posts }).await;
    let end = tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), async {
        tokio::select! {
            biased;
            Some(posted) = posted.recv() => Ok(posted),
            status = process.wait() => Err(status.expect("it is ours")),
        }
    });
    let (kind, body) = end.await.expect("it answers in time").expect("it runs on");
    (kind, serde_json::from_str(&body).unwrap_or(Value::Null))
}

async fn start(handler: &str, lambda: Lambda) -> tokio::process::Child {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let service = axum::Router::new().fallback(serve).with_state(lambda);
    tokio::spawn(async move { axum::serve(listener, service).await });
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
    command.env_clear().env("_HANDLER", handler).env("AWS_LAMBDA_RUNTIME_API", &address);
    command.env("AWS_ENDPOINT_URL", format!("http://{address}"));
    for (name, value) in [
        ("AWS_LAMBDA_FUNCTION_NAME", handler),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
        ("AWS_SESSION_TOKEN", "token"),
        ("PUBLIC_KEYS", SECRET.0),
    ] {
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("the program starts")
}

async fn serve(State(lambda): State<Lambda>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await.expect("the request arrives whole");
    let body = String::from_utf8(body.to_vec()).expect("requests are texts");
    let Some(call) = path.strip_prefix(RUNTIME) else {
        let ask: Value = serde_json::from_str(&body).expect("the one service here speaks JSON");
        assert_eq!(ask, json!({ "SecretId": SECRET.0 }));
        return json!({ "Name": SECRET.0, "SecretString": SECRET.1 }).to_string().into_response();
    };
    if call == "/invocation/next" {
        return match lambda.events.lock().await.recv().await {
            Some(event) => (invocation(), event).into_response(),
            // There is no event any more: the test is over.
            None => StatusCode::GONE.into_response(),
        };
    }
    let kind = call.rsplit('/').next().unwrap_or_default().to_owned();
    // An error means that the test is over.
    let _ = lambda.posts.send((kind, body)).await;
    StatusCode::ACCEPTED.into_response()
}

/// What is said of an event beside it.
fn invocation() -> [(HeaderName, String); 3] {
    let deadline = platform::Clock::default().now() + Duration::from_secs(ANSWER_SECONDS_MAX);
    [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.as_millisecond().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:123456789012:function:f".to_owned()),
    ]
    .map(|(name, value)| (HeaderName::from_static(name), value))
}

#[tokio::test]
async fn it_becomes_the_function_that_its_handler_names() {
    let mut event: Value = serde_json::from_str(include_str!("../../events/catalog.json")).expect("it is JSON");
    event["rawPath"] = json!("/.well-known/jwks.json");
    event["requestContext"]["http"]["path"] = event["rawPath"].clone();
    let (kind, reply) = answer("register", &event).await;
    assert_eq!((kind.as_str(), &reply["statusCode"]), ("response", &json!(200)), "{reply}");
    assert_eq!(reply["body"], SECRET.1);
    let (kind, reply) = answer("buy", &event).await;
    assert_eq!((kind.as_str(), &reply["statusCode"]), ("response", &json!(404)), "{reply}");
}

#[tokio::test]
async fn a_batch_reports_what_it_could_not_do() {
    let event = json!({ "Records": [{ "messageId": "m", "body": "{\"type\":\"unheard.of\"}" }] });
    let reply = answer("settle", &event).await;
    assert_eq!(reply, ("response".to_owned(), json!({ "batchItemFailures": [{ "itemIdentifier": "m" }] })));
    let (kind, reply) = answer("settle", &json!({})).await;
    assert_eq!(kind, "error", "{reply}");
}

#[tokio::test]
async fn nobody_runs_under_a_name_that_is_unknown() {
    let (_, events) = mpsc::channel(1);
    let (posts, _) = mpsc::channel(1);
    let lambda = Lambda { events: Arc::new(Mutex::new(events)), posts };
    let status = start("nobody", lambda).await.wait().await;
    assert!(status.is_ok_and(|status: ExitStatus| !status.success()));
}
