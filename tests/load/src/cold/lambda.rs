//! What Lambda is to a function: the environment, the Runtime API, one invocation after the other.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use crate::Failed;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::routing::{get, post};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// How long one invocation may take before the measuring is given up.
const INVOCATION_SECONDS_MAX: u64 = 30;
const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;
const KIB_PER_MB: f64 = 1_000.0 / 1.024;

/// What Lambda sets for every function, beside what the template gives it, its names and its memory.
const ENVIRONMENT: [(&str, &str); 16] = [
    ("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjEXAMPLE"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_DEFAULT_REGION", "eu-central-1"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/boxoffice"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "2027/03/01/[$LATEST]0123456789abcdef"),
    ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
    ("LAMBDA_TASK_ROOT", "/var/task"),
    ("LANG", "en_US.UTF-8"),
    ("LD_LIBRARY_PATH", "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"),
    ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
    ("TZ", ":UTC"),
];

/// One instance of a function. It is killed when this is dropped.
pub struct Instance {
    process: Child,
    invocations: mpsc::UnboundedSender<String>,
    answers: mpsc::UnboundedReceiver<Answer>,
    server: JoinHandle<()>,
}

/// How an invocation ended, and when its answer was here.
struct Answer {
    at: Instant,
    result: Result<Bytes, Bytes>,
}

/// What a process has taken until now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    pub cpu_milliseconds: f64,
    /// Of memory, in megabytes: resident, and the most that was.
    pub resident_mb: f64,
    pub peak_mb: f64,
}

/// What the function's own calls share.
#[derive(Clone)]
struct Api {
    invocations: Arc<Mutex<mpsc::UnboundedReceiver<String>>>,
    answers: mpsc::UnboundedSender<Answer>,
}

impl Instance {
    /// Starts the artefact as Lambda would for an event that waits, and waits for its answer: that, and the milliseconds
    /// from before the process to after the answer.
    pub async fn start(
        bootstrap: &Path,
        handler: &str,
        environment: &BTreeMap<String, String>,
        log: &File,
        event: &Value,
    ) -> Result<(Self, f64, Value), Failed> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (invocations, waiting) = mpsc::unbounded_channel();
        let (ended, answers) = mpsc::unbounded_channel();
        let api = Api { invocations: Arc::new(Mutex::new(waiting)), answers: ended };
        let server = tokio::spawn(serve(listener, api));
        let mut command = Command::new(bootstrap);
        command.env_clear().envs(ENVIRONMENT).envs(environment).env("_HANDLER", handler);
        command.env("AWS_LAMBDA_FUNCTION_NAME", handler).env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512");
        command.env("AWS_LAMBDA_RUNTIME_API", address.to_string());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).kill_on_drop(true);
        // The receiver is in the server, which lives.
        let _ = invocations.send(event.to_string());
        let started = Instant::now();
        let process = command.spawn()?;
        let mut instance = Self { process, invocations, answers, server };
        let (milliseconds, answer) = instance.answer(started).await?;
        Ok((instance, milliseconds, answer))
    }

    /// The answer to one more event, and how many milliseconds it took.
    pub async fn invoke(&mut self, event: &Value) -> Result<(f64, Value), Failed> {
        let started = Instant::now();
        let _ = self.invocations.send(event.to_string());
        self.answer(started).await
    }

    async fn answer(&mut self, started: Instant) -> Result<(f64, Value), Failed> {
        let because = |text: String| Err(Failed::Because(text));
        let limit = tokio::time::sleep(Duration::from_secs(INVOCATION_SECONDS_MAX));
        let answer = tokio::select! {
            biased;
            Some(answer) = self.answers.recv() => answer,
            status = self.process.wait() => return because(format!("the function ended: {}", status?)),
            () = limit => return because(format!("there is no answer after {INVOCATION_SECONDS_MAX} seconds")),
        };
        let milliseconds = (answer.at - started).as_secs_f64() * 1e3;
        match answer.result {
            // A schedule's reply is empty.
            Ok(body) if body.is_empty() => Ok((milliseconds, Value::Null)),
            Ok(body) => Ok((milliseconds, serde_json::from_slice(&body)?)),
            Err(body) => because(format!("the function failed: {}", String::from_utf8_lossy(&body))),
        }
    }

    /// What the process has taken, as the system tells; zero where it does not.
    pub fn taken(&self) -> Taken {
        let Some(id) = self.process.id() else { return Taken::default() };
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / KIB_PER_MB
        };
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
        let nanoseconds = threads.filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        });
        let cpu_milliseconds = nanoseconds.sum::<f64>() / NANOSECONDS_PER_MILLISECOND;
        Taken { cpu_milliseconds, resident_mb: field("VmRSS"), peak_mb: field("VmHWM") }
    }

    /// Ends it, and waits until it is gone.
    pub async fn stop(mut self) -> Result<(), Failed> {
        Ok(self.process.kill().await?)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, api: Api) {
    let routes = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(error));
    // It ends with the instance.
    let _ = axum::serve(listener, routes.with_state(api)).await;
}

/// The next event, when there is one.
async fn next(State(api): State<Api>) -> Result<([(HeaderName, String); 4], String), StatusCode> {
    let event = api.invocations.lock().await.recv().await.ok_or(StatusCode::GONE)?;
    let deadline = platform::Clock::default().now() + Duration::from_secs(INVOCATION_SECONDS_MAX);
    let header = HeaderName::from_static;
    let headers = [
        (header("lambda-runtime-aws-request-id"), "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        (header("lambda-runtime-deadline-ms"), deadline.as_millisecond().to_string()),
        (
            header("lambda-runtime-invoked-function-arn"),
            "arn:aws:lambda:eu-central-1:123456789012:function:f".to_owned(),
        ),
        (header("lambda-runtime-trace-id"), "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0".to_owned()),
    ];
    Ok((headers, event))
}

async fn response(State(api): State<Api>, body: Bytes) -> StatusCode {
    // An error means that nobody waits any more.
    let _ = api.answers.send(Answer { at: Instant::now(), result: Ok(body) });
    StatusCode::ACCEPTED
}

async fn error(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let kind = headers.get("lambda-runtime-function-error-type").and_then(|kind| kind.to_str().ok());
    let text = format!("{}: {}", kind.unwrap_or_default(), String::from_utf8_lossy(&body));
    let _ = api.answers.send(Answer { at: Instant::now(), result: Err(text.into()) });
    StatusCode::ACCEPTED
}
