//! Turns at one messenger's pace, taken by several processes from one table over HTTP.
//!
//! At first each takes turns as fast as it can, as `notify` does where many wait: the turns that they have are to follow each
//! other without a gap, and none twice. Then each takes a turn, waits until it has come, and takes the next: that shows at
//! which moments something would be sent.

use super::ALL_PER_SECOND_MAX;
use super::because;
use super::pace::most_within;
use crate::Failed;
use boxoffice::engine::{Engine, Place};
use boxoffice::tables;
use jiff::{SignedDuration, Timestamp};
use platform::store::Pace;
use platform::{App, Config};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// The argument by which this program becomes one of the processes.
pub const TAKER: &str = "turns-for-load";
/// How far turns of a messenger are apart, as `notify` has them.
const APART_MILLISECONDS: i64 = 40;
/// How long the processes have to start.
const START_SECONDS: i64 = 3;
/// What of the pace may be idle while each waits for its turns.
const TAKEN_SHARE_MIN: f64 = 0.97;
const TABLE: &str = "NOTICES_TABLE";
const MILLISECONDS_PER_SECOND: i64 = 1_000;
const REGION: &str = "eu-central-1";

/// What one process is told.
#[derive(Debug)]
pub struct Taker {
    url: String,
    table: String,
    pace: String,
    waits: bool,
    from_ms: i64,
    until_ms: i64,
}

impl Taker {
    /// Reads the arguments that [`start`] writes.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let args: Vec<String> = args.collect();
        let [url, table, pace, waits, from, until] = &args[..] else { return Err("whose turns?".to_owned()) };
        let number = |text: &str| text.parse().map_err(|_| format!("{text} is no moment"));
        let (url, table, pace) = (url.clone(), table.clone(), pace.clone());
        Ok(Self { url, table, pace, waits: waits == "wait", from_ms: number(from)?, until_ms: number(until)? })
    }
}

/// What a function has that reaches this table at this address.
fn app(url: &str, table: &str) -> Result<App, Failed> {
    let settings = [
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_ENDPOINT_URL_DYNAMODB", url),
        (TABLE, table),
    ];
    let settings: BTreeMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    App::on_aws(Config::from_map(settings)).map_err(because)
}

/// Takes turns, and prints each with the moment at which something would be sent.
pub fn take(taker: &Taker) -> Result<(), Failed> {
    let app = app(&taker.url, &taker.table)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    print!("{}", runtime.block_on(taker.turns(&app))?);
    Ok(())
}

impl Taker {
    async fn turns(&self, app: &App) -> Result<String, Failed> {
        let (pace, apart) = (Pace::Messenger(&self.pace), SignedDuration::from_millis(APART_MILLISECONDS));
        let mut text = String::new();
        sleep_until(app, self.from_ms).await;
        loop {
            let now = app.now();
            if now.as_millisecond() >= self.until_ms {
                return Ok(text);
            }
            let turn = app.notices.turn(&pace, apart, now).await.map_err(because)?.as_millisecond();
            // The last that each has is for later than anybody looks.
            if self.waits && turn >= self.until_ms {
                return Ok(text);
            }
            if self.waits {
                sleep_until(app, turn).await;
            }
            writeln!(text, "{turn} {}", app.now().as_millisecond()).expect("a text takes everything");
        }
    }
}

async fn sleep_until(app: &App, at_ms: i64) {
    let left = at_ms - app.now().as_millisecond();
    tokio::time::sleep(Duration::from_millis(left.max(0).unsigned_abs())).await;
}

pub async fn run(processes: usize, seconds: usize) -> Result<(), Failed> {
    let engine = Engine::start(Place::Scratch).map_err(because)?;
    let url = format!("http://{}", engine.address);
    let system = super::system();
    let notify = system.function("notify").and_then(|notify| notify.environment.get(TABLE));
    let table = notify.ok_or_else(|| because("notify has no table"))?.clone();
    let app = app(&url, &table)?;
    tables::create(&app.clients.dynamodb, &system.tables).await.map_err(because)?;

    let hurried = start(processes, seconds, [&url, &table, "hurried", "go"], app.now()).await?;
    let waited = start(processes, seconds, [&url, &table, "patient", "wait"], app.now()).await?;
    let mut wrong = check_hurried(&hurried, processes, seconds);
    wrong.extend(check_waited(&waited, processes, seconds));
    if wrong.is_empty() { Ok(()) } else { Err(because(wrong.join("; "))) }
}

/// A turn, and when something was sent at it, in milliseconds since 1970.
type Taken = (i64, i64);

/// Has processes take turns at the same time; those of each.
async fn start(processes: usize, seconds: usize, what: [&str; 4], now: Timestamp) -> Result<Vec<Vec<Taken>>, Failed> {
    let from = now.as_millisecond() + START_SECONDS * MILLISECONDS_PER_SECOND;
    let until = from + seconds as i64 * MILLISECONDS_PER_SECOND;
    let own = std::env::current_exe()?;
    let begun = (0..processes).map(|_| {
        let mut command = Command::new(&own);
        command.arg(TAKER).args(what).args([from.to_string(), until.to_string()]);
        command.stdout(Stdio::piped()).kill_on_drop(true).spawn()
    });
    let begun: Vec<_> = begun.collect::<Result<_, _>>()?;
    let mut taken = Vec::new();
    for process in begun {
        let output = process.wait_with_output().await?;
        if !output.status.success() {
            return Err(because("a process that takes turns failed"));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let turns = text.lines().filter_map(|line| {
            let (turn, sent) = line.split_once(' ')?;
            Some((turn.parse().ok()?, sent.parse().ok()?))
        });
        taken.push(turns.collect());
    }
    Ok(taken)
}

fn check_hurried(taken: &[Vec<Taken>], processes: usize, seconds: usize) -> Vec<String> {
    let mut turns: Vec<i64> = taken.iter().flatten().map(|(turn, _)| *turn).collect();
    turns.sort_unstable();
    let steps = || turns.windows(2).map(|pair| pair[1] - pair[0]);
    let (twice, gaps) = (steps().filter(|step| *step == 0).count(), steps().filter(|step| *step > APART_MILLISECONDS));
    let (gaps, near) = (gaps.count(), steps().filter(|step| (1..APART_MILLISECONDS).contains(step)).count());
    let fewest = taken.iter().map(Vec::len).min().unwrap_or(0);
    println!(
        "as fast as they can: {processes} processes took {} turns in {seconds} s, each at least {fewest}; for {:.0} seconds of \
         messages: given twice {twice}, closer than {APART_MILLISECONDS} ms {near}, left out {gaps}",
        turns.len(),
        turns.len() as f64 * APART_MILLISECONDS as f64 / MILLISECONDS_PER_SECOND as f64
    );
    let is_right = twice + near + gaps == 0 && fewest > 0;
    (!is_right).then(|| "turns do not follow each other".to_owned()).into_iter().collect()
}

fn check_waited(taken: &[Vec<Taken>], processes: usize, seconds: usize) -> Vec<String> {
    let (mut turns, mut sent): (Vec<i64>, Vec<i64>) = taken.iter().flatten().copied().unzip();
    turns.sort_unstable();
    sent.sort_unstable();
    let near = turns.windows(2).filter(|pair| pair[1] - pair[0] < APART_MILLISECONDS).count();
    let most = most_within(&sent, MILLISECONDS_PER_SECOND);
    let fewest = taken.iter().map(Vec::len).min().unwrap_or(0);
    let should = seconds as f64 * MILLISECONDS_PER_SECOND as f64 / APART_MILLISECONDS as f64;
    println!(
        "each when its turn has come: {processes} processes sent {} messages in {seconds} s, each at least {fewest}, of {should:.0} \
         that the pace has; closer than {APART_MILLISECONDS} ms {near}; {most} in the busiest second, wherever it begins",
        sent.len()
    );
    let mut wrong = Vec::new();
    if near > 0 || fewest == 0 {
        wrong.push("turns do not follow each other".to_owned());
    }
    if most > ALL_PER_SECOND_MAX as usize {
        wrong.push(format!("{most} messages in one second"));
    }
    if (sent.len() as f64) < should * TAKEN_SHARE_MIN {
        wrong.push(format!("{} messages, where {should:.0} could have been", sent.len()));
    }
    wrong
}
