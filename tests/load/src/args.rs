//! The command line.

pub const HELP: &str = "\
load - puts load on a box office that it starts in memory, and prints what that took

Usage: cargo run --release -p load -- [options]
       cargo run --release -p load -- cold-start [--bootstrap FILE] [--runs N] [--shared]
       cargo run -p load -- costs
       cargo run --release -p load -- renewals [--subscriptions N] [--sample N] [--pace N]
       cargo run --release -p load -- alerted [--people N] [--live | --faults [--percent N] [--seed N]]
       cargo run --release -p load -- alerted --processes N [--seconds N]

  --orders N    orders that are bought and paid, two seats in one row each (10000)
  --clients N   buyers at a time, each with a connection and an account of their own (64)
  --holds N     orders that are only held, and then given up (10000)
  --refunds N   paid orders that are given back; at most --orders (2500)
  --soak TIME   instead: everything at once at 40 buyers a second for so long (600, 10m), with data on disk, while
                one call in a hundred to the tables and to the payment provider goes wrong
  --kills N     instead: kills the boxoffice program beside this one N times with data on disk, under load
  -h, --help    print this

The box office runs in a child process; both share this machine. For each operation the table shows:

  ops/s, p50, p99     operations a second; milliseconds that half and 99 of 100 of them took, as the buyer sees it
  CPU ms              processor time of one operation, in milliseconds: `functions` is our code with the HTTP server,
                      the AWS client, queues and streams; `engine` the embedded DynamoDB; `sandbox` the payment
                      provider's stand-in; `client` this program, which is no part of the others
  calls, RU, WU       DynamoDB calls, read units and write units of one operation, as ReturnConsumedCapacity says
  peak MiB            the most memory that the box office has had until then
  cores               of the processors' time: what the box office, this program and everybody else had. Where others
                      have more than a few hundredths, the operations a second and p99 are too low and too high

The clients do what browsers do and no more: a paid order is POST /orders, POST /orders/{id}/payment, a confirmation
at the provider with the publishable key, and GET /orders/{id} until it is paid. Those last reads are in the times and
in the CPU; in calls and RU they are not, since how often a page asks is its own choice: they are given below the table.

At the end every buyer's tickets and the provider's captures are counted. If a seat was sold twice, or a sum differs,
the program says so and fails. --soak and --kills read all tables and the provider's books for that; the first also
fails if memory grows by more than the provider's books, the second if anything that was answered is not there.

cold-start starts the artefact that is deployed (target/artefact/bootstrap/bootstrap, or FILE; `infra/build x86_64` makes
it) as Lambda does, N times as each function (25), with an event that waits, and services on this machine. The table
shows milliseconds from the start of the process to the first answer: median, p90, processor time of it, and what a
second event takes; and megabytes resident after the answer, and at most until then. It fails if that is too much; with --shared, for a machine that has other work, it judges the processor's
time instead of the clock's.

costs counts what people who look, buy and give back use of AWS, in a box office in memory, and prints what a month
costs at the prices of infra/costs.json.

renewals puts N subscriptions (100000) that are due within one hour into a box office in memory, has renew ask for all of
them, and prints the processor's time of that; it fails over a minute of two processors. Then it charges a sample (1000) at a pace (25 a
second), with the scheduler fired three times and every message delivered twice, and fails if one is charged twice.

alerted puts N people (100000) who wait for the sale of an event into a box office in memory, and publishes the event. The
clock is moved a second at a time until all are told through the messenger's sandbox, which takes 30 messages a second and
one a second in a chat. It prints how they were told, in which order, and what a notice cost, and fails unless each was
told once, in about the order they waited in, within those limits, and no invocation failed or ran too long.
  --live              the same with N people (500) and a clock that goes by itself, which shows parts of seconds
  --faults            N people (10000), while --percent (5) of the messenger's calls are refused with 429 and a time to
                      wait, refused with 403, fail with 500, or are done and not answered, by --seed (1). It fails if
                      somebody is not told whose chat can be reached, or told more often than answers were lost
  --processes N       N processes (8 are meant) take turns at one messenger's pace from one table for --seconds (10), first
                      as fast as they can, then each when its turn has come. It fails if a turn is given twice, if there
                      are more in a second than the pace has, or fewer
";

use crate::alerted::Alerted;
use crate::renewals::Renewals;
use std::path::PathBuf;

const SECONDS_PER_MINUTE: usize = 60;
const CLIENTS_MAX: usize = 1_000;
const ORDERS_MAX: usize = 1_000_000;
const KILLS_MAX: usize = 10_000;
const SOAK_SECONDS_MAX: usize = 86_400;
/// Tokens and holds that are made before the first start have to outlast the last one.
const COLD_RUNS_MAX: usize = 200;
const COLD_RUNS: usize = 25;
const SUBSCRIPTIONS_MAX: usize = 1_000_000;
const SAMPLE_MAX: usize = 10_000;
const CHARGES_A_SECOND_MAX: usize = 1_000;
const PEOPLE_MAX: usize = 1_000_000;
const PERCENT_MAX: usize = 50;
const PROCESSES_MAX: usize = 64;
const TURN_SECONDS_MAX: usize = 600;

/// What was asked for.
pub enum Command {
    Help,
    Run(Plan),
    /// Seconds.
    Soak(u64),
    Kills(usize),
    ColdStart(crate::cold::Plan),
    Costs,
    Renewals(Renewals),
    Alerted(Alerted),
    /// To take turns, for `alerted --processes`: only this program asks itself for it.
    Turns(crate::alerted::turns::Taker),
    /// To open the provider's books in this file: only this program asks itself for it.
    Books(PathBuf),
    /// To be the box office: only this program asks itself for it.
    Serve,
}

/// How much load.
#[derive(Clone, Debug)]
pub struct Plan {
    pub orders: usize,
    pub clients: usize,
    pub holds: usize,
    pub refunds: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { orders: 10_000, clients: 64, holds: 10_000, refunds: 2_500 }
    }
}

/// Reads the arguments after the program's name. The error is for the person who typed them.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut args = args.into_iter().peekable();
    if args.peek().is_some_and(|first| first == crate::server::SERVE) {
        return Ok(Command::Serve);
    }
    if args.next_if(|first| first == crate::memory::BOOKS).is_some() {
        return args.next().map(|file| Command::Books(file.into())).ok_or_else(|| "which books?".to_owned());
    }
    if args.next_if(|first| first == "cold-start").is_some() {
        return parse_cold_start(args).map(Command::ColdStart);
    }
    if args.next_if(|first| first == "costs").is_some() {
        return args.next().map_or(Ok(Command::Costs), |arg| Err(format!("{arg} is not understood")));
    }
    if args.next_if(|first| first == "renewals").is_some() {
        return parse_renewals(args).map(Command::Renewals);
    }
    if args.next_if(|first| first == "alerted").is_some() {
        return parse_alerted(args).map(Command::Alerted);
    }
    if args.next_if(|first| first == crate::alerted::turns::TAKER).is_some() {
        return crate::alerted::turns::Taker::parse(args).map(Command::Turns);
    }
    let mut plan = Plan::default();
    let mut instead = None;
    while let Some(arg) = args.next() {
        let (flag, attached) = match arg.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut number = |most: usize| -> Result<usize, String> {
            let text = attached.clone().or_else(|| args.next()).ok_or(format!("{flag} needs a number"))?;
            let (digits, unit) = match text.strip_suffix('m').filter(|_| flag == "--soak") {
                Some(minutes) => (minutes, SECONDS_PER_MINUTE),
                None => (text.as_str(), 1),
            };
            let number = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
            let number = number.filter(|number| (1..=most).contains(number));
            number.ok_or(format!("{flag} {text}: that is no number from 1 to {most}"))
        };
        match flag.as_str() {
            "--orders" => plan.orders = number(ORDERS_MAX)?,
            "--clients" => plan.clients = number(CLIENTS_MAX)?,
            "--holds" => plan.holds = number(ORDERS_MAX)?,
            "--refunds" => plan.refunds = number(ORDERS_MAX)?,
            "--soak" => instead = Some(Command::Soak(number(SOAK_SECONDS_MAX)? as u64)),
            "--kills" => instead = Some(Command::Kills(number(KILLS_MAX)?)),
            "-h" | "--help" => return Ok(Command::Help),
            _ => return Err(format!("{flag} is not understood")),
        }
    }
    plan.refunds = plan.refunds.min(plan.orders);
    Ok(instead.unwrap_or(Command::Run(plan)))
}

fn parse_cold_start(mut args: impl Iterator<Item = String>) -> Result<crate::cold::Plan, String> {
    let mut plan = crate::cold::Plan { bootstrap: None, runs: COLD_RUNS, is_shared: false };
    while let Some(flag) = args.next() {
        if flag == "--shared" {
            plan.is_shared = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--bootstrap" => plan.bootstrap = Some(value.into()),
            "--runs" => {
                let runs = value.parse().ok().filter(|runs| (1..=COLD_RUNS_MAX).contains(runs));
                plan.runs =
                    runs.ok_or_else(|| format!("--runs {value}: that is no number from 1 to {COLD_RUNS_MAX}"))?;
            }
            _ => return Err(format!("{flag} is not understood")),
        }
    }
    Ok(plan)
}

fn parse_renewals(mut args: impl Iterator<Item = String>) -> Result<Renewals, String> {
    let mut plan = Renewals { subscriptions: 100_000, sample: 1_000, pace: 25 };
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a number"))?;
        let number = |most: usize| {
            let number = value.parse().ok().filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| format!("{flag} {value}: that is no number from 1 to {most}"))
        };
        match flag.as_str() {
            "--subscriptions" => plan.subscriptions = number(SUBSCRIPTIONS_MAX)?,
            "--sample" => plan.sample = number(SAMPLE_MAX)?,
            "--pace" => plan.pace = number(CHARGES_A_SECOND_MAX)?,
            _ => return Err(format!("{flag} is not understood")),
        }
    }
    Ok(plan)
}

fn parse_alerted(mut args: impl Iterator<Item = String>) -> Result<Alerted, String> {
    let (mut what, mut people, mut percent, mut seed, mut seconds) = (None, None, None, None, None);
    while let Some(flag) = args.next() {
        let mut number = |most: usize| {
            let value = args.next().ok_or_else(|| format!("{flag} needs a number"))?;
            let number = value.parse().ok().filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| format!("{flag} {value}: that is no number from 1 to {most}"))
        };
        match flag.as_str() {
            "--people" => people = Some(number(PEOPLE_MAX)?),
            "--percent" => percent = Some(number(PERCENT_MAX)?),
            "--seed" => seed = Some(number(usize::MAX)? as u64),
            "--seconds" => seconds = Some(number(TURN_SECONDS_MAX)?),
            "--live" => what = Some(Alerted::Live { people: 0 }),
            "--faults" => what = Some(Alerted::Faults { people: 0, percent: 0, seed: 0 }),
            "--processes" => what = Some(Alerted::Processes { processes: number(PROCESSES_MAX)?, seconds: 0 }),
            _ => return Err(format!("{flag} is not understood")),
        }
    }
    let (is_told, is_faulty) = ((people, percent, seed), (percent, seed));
    match what {
        None if is_faulty == (None, None) && seconds.is_none() => {
            Ok(Alerted::Simulated { people: people.unwrap_or(100_000) })
        }
        Some(Alerted::Live { .. }) if is_faulty == (None, None) && seconds.is_none() => {
            Ok(Alerted::Live { people: people.unwrap_or(500) })
        }
        Some(Alerted::Faults { .. }) if seconds.is_none() => {
            let (people, percent) = (people.unwrap_or(10_000), percent.unwrap_or(5));
            Ok(Alerted::Faults { people, percent, seed: seed.unwrap_or(1) })
        }
        Some(Alerted::Processes { processes, .. }) if is_told == (None, None, None) => {
            Ok(Alerted::Processes { processes, seconds: seconds.unwrap_or(10) })
        }
        _ => Err("these options do not go together".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, refused: Option<&str>) {
        match (parse(line.split_whitespace().map(str::to_owned)), refused) {
            (Ok(_), None) => {}
            (Err(problem), Some(part)) => assert!(problem.contains(part), "{line}: {problem}"),
            (Ok(_), Some(part)) => panic!("{line} should be refused: {part}"),
            (Err(problem), None) => panic!("{line}: {problem}"),
        }
    }

    #[test]
    fn arguments_are_understood_or_refused() {
        check("", None);
        check("--orders 100000 --clients=8", None);
        check("--orders", Some("needs a number"));
        check("--orders 0", Some("no number from 1"));
        check("--clients many", Some("no number"));
        check("renewals --subscriptions 2000 --pace 25", None);
        check("renewals --sample 0", Some("no number from 1"));
        check("renewals --orders 5", Some("not understood"));
        check("alerted", None);
        check("alerted --faults --people 1000 --percent 5 --seed 7", None);
        check("alerted --processes 8 --seconds 5", None);
        check("alerted --live --percent 5", Some("do not go together"));
        check("alerted --processes 8 --people 5", Some("do not go together"));
        check("alerted --people 0", Some("no number from 1"));
        check("--soak 10m", None);
        check("--soak=600", None);
        check("--soak 10h", Some("no number"));
        check("--kills 50", None);
        check("--kills 5m", Some("no number"));
        check("--fast", Some("--fast is not understood"));
        check("cold-start", None);
        check("cold-start --runs 5 --shared --bootstrap a/file", None);
        check("cold-start --runs 0", Some("no number"));
        check("cold-start --bootstrap", Some("needs a value"));
        check("costs", None);
        check("costs --orders 5", Some("--orders is not understood"));
        check("cold-start --orders 5", Some("--orders is not understood"));
    }
}
