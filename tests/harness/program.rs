//! The `boxoffice` program itself, started as a person would.

use crate::Audit;
use boxoffice::host::{Code, Functions, Reply as Invoked, Starts};
use boxoffice::secrets::LocalSecrets;
use boxoffice::{Data, Options, Runner};
use domain::orders::Order;
use platform::App;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader as Blocking};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command as Start, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long it may take to answer, on a busy machine and unoptimised.
const START_SECONDS_MAX: u64 = 60;

/// A program that runs; it is killed when this is dropped.
pub struct Program {
    /// Where the API answers.
    pub url: String,
    pub child: Child,
    /// What else it prints.
    pub output: Lines<BufReader<ChildStdout>>,
}

/// The program beside this one, built by `cargo test` or `cargo build` of the workspace.
pub fn path() -> PathBuf {
    let this = std::env::current_exe().expect("whoever asks is a file");
    let directory = this.parent().expect("a file is in a directory");
    // Tests are in target/<profile>/deps.
    let is_test = directory.file_name().is_some_and(|name| name == "deps");
    let profile = if is_test { directory.parent().expect("it is not the root") } else { directory };
    let program = profile.join(format!("boxoffice{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is not there: build the workspace first", program.display());
    program
}

impl Program {
    /// Starts it on a free port with these arguments more, and waits until it answers.
    pub async fn start(arguments: &[&str], directory: &Path) -> Self {
        let mut command = Command::new(path());
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).current_dir(directory);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let url = tokio::time::timeout(Duration::from_secs(START_SECONDS_MAX), async {
            while let Some(line) = output.next_line().await.expect("it prints text") {
                if let Some(at) = line.find("http://") {
                    return line[at..].trim().to_owned();
                }
            }
            panic!("the program ended before it said where it answers")
        });
        let url = url.await.expect("it starts in time");
        Self { url, child, output }
    }
}

/// The program with its data on disk, without the demo, to be killed. It is killed when this is dropped.
pub struct Victim {
    child: Process,
    pub url: String,
    /// Where the payment provider's sandbox answers.
    pub payments: String,
    data: PathBuf,
}

impl Victim {
    /// Starts it with these arguments more, and waits until it says where it answers.
    pub fn start(data: &Path, address: &str, more: &[&str]) -> Self {
        let log = File::options().create(true).append(true).open(data.with_extension("log"));
        let mut command = Start::new(path());
        command.args(["serve", "--no-demo", "--listen", address, "--data"]).arg(data).args(more);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.expect("the directory is ours"));
        let child = command.spawn().expect("the program starts");
        let mut program = Self { child, url: String::new(), payments: String::new(), data: data.to_owned() };
        let mut lines = Blocking::new(program.child.stdout.take().expect("it is piped")).lines();
        let mut urls = Vec::new();
        // The last line says how to stop.
        for line in lines.by_ref() {
            let line = line.expect("the program writes text");
            urls.extend(line.split_whitespace().filter(|word| word.starts_with("http://")).map(str::to_owned));
            let first = line.split_whitespace().next();
            if first == Some("Payments") {
                program.payments = urls.last().expect("the line has an address").clone();
            }
            if first == Some("Stop") {
                break;
            }
        }
        program.url = urls.first().unwrap_or_else(|| panic!("the program did not start:\n{}", program.log())).clone();
        program
    }

    /// The keys that are kept with its data.
    pub fn secrets(&self) -> LocalSecrets {
        LocalSecrets::open(&self.data.join("secrets.json")).expect("they are kept")
    }

    /// What it and those before it said on this data.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    /// `kill -9`, and takes its end to notice.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// An address on this machine that nobody uses just now.
pub fn free_address() -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("there are ports");
    listener.local_addr().expect("it listens").to_string()
}

/// The orders that a program which was killed left in its data, seen in a copy where no message is worked on. It has a
/// runtime of its own, which ends with all that was begun there.
pub fn orders_on_disk(data: &Path) -> Vec<Order> {
    let copy = Directory::new("copy");
    for file in std::fs::read_dir(data).expect("the data is there") {
        let file = file.expect("the data is there");
        std::fs::copy(file.path(), copy.0.join(file.file_name())).expect("there is room");
    }
    let place = Data::Dir(copy.0.clone());
    let options = Options { data: place, schedules: false, code: Arc::new(Idle), ..Options::default() };
    tokio::runtime::Runtime::new().expect("there are threads").block_on(async {
        let running = Runner::start(options).await.expect("the data is whole");
        Audit::of(&running).await.orders
    })
}

/// The functions, but those that no buyer calls never come to an end.
struct Idle;

impl Code for Idle {
    fn kind(&self, handler: &str) -> Option<Starts> {
        Functions.kind(handler)
    }

    fn router(&self, handler: &str, app: App) -> Option<axum::Router> {
        Functions.router(handler, app)
    }

    fn openapi(&self, app: &App) -> Option<String> {
        Functions.openapi(app)
    }

    fn invoke(&self, _: &str, _: App, _: Value) -> Invoked {
        Box::pin(std::future::pending())
    }
}

/// A directory of a test's own, gone when this is dropped.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        let random: [u8; 8] = platform::Rng::System.bytes();
        let path = std::env::temp_dir().join(format!("{name}-{:016x}", u64::from_be_bytes(random)));
        std::fs::create_dir(&path).expect("the temporary directory can be written");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed stays; the test is over.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
