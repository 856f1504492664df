//! The README's purchase, as it stands there, against the real program.

use std::path::Path;
use std::time::Duration;
use tests::program::{Directory, Program};
use tokio::process::Command;

/// The info string of the block that is run.
const FENCE: &str = "```sh buy-a-ticket\n";
const PURCHASE_SECONDS_MAX: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readmes_purchase_works() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).expect("there is a README");
    let (_, rest) = readme.split_once(FENCE).expect("the README shows a purchase");
    let (script, _) = rest.split_once("\n```").expect("the block ends");
    let directory = Directory::new("boxoffice-readme");
    let program = Program::start(&["--memory"], &directory.0).await;

    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", script]).current_dir(&directory.0).env("BOXOFFICE_URL", &program.url).kill_on_drop(true);
    let run = tokio::time::timeout(Duration::from_secs(PURCHASE_SECONDS_MAX), shell.output()).await;
    let run = run.expect("it ends").expect("there is a shell");
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{out}\n{err}");
    assert!(!out.contains("/problems/"), "every call is answered well: {out}");
    let replies: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(&out).into_iter().collect::<Result<_, _>>().expect("replies are JSON");
    let (quote, refund) = (&replies[replies.len() - 2], &replies[replies.len() - 1]);
    assert!(replies.iter().any(|reply| reply["code"].is_string() && reply["status"] == "valid"), "a ticket: {out}");
    assert!(quote["total"]["amount"].as_i64().is_some_and(|amount| amount > 0), "a quote: {out}");
    assert_eq!((&refund["amount"], &refund["status"]), (&quote["total"], &serde_json::json!("requested")), "{out}");
    let picture = std::fs::read_to_string(directory.0.join("ticket.svg")).expect("the code's picture was kept");
    assert!(picture.starts_with("<svg") || picture.starts_with("<?xml"), "{picture}");
}
