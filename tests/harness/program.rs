//! The `boxoffice` program itself, started as a person would.

use std::path::{Path, PathBuf};
use std::process::Stdio;
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

/// The program beside this test, built by `cargo test` of the workspace.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a file");
    let profile = test.parent().and_then(Path::parent).expect("a test is in target/<profile>/deps");
    let program = profile.join(format!("boxoffice{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is not there: run `cargo build -p boxoffice` first", program.display());
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
