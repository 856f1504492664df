//! The load program: starts a box office in a process of its own, buys tickets over HTTP as buyers would, and prints
//! what that took. It fails if a seat was sold twice or money and tickets do not agree.
//!
//! | module | holds |
//! |---|---|
//! | `args` | the command line |
//! | `server` | the box office as a child process, and its meter |
//! | `http` | one kept connection |
//! | `people`, `hall` | accounts; a venue, its seats, events on sale |
//! | `bench`, `table` | driving operations and measuring them; printing |
//! | `phases` | what is measured |
//! | `check` | the count at the end, from tickets and captures |
//! | `shop` | buyers who do everything, and come again when nobody answers |
//! | `soak`, `wires`, `memory` | minutes of that, over wires that fail; what it takes |
//! | `kills` | the program killed under them, again and again |
//! | `cold` | the deployed artefact's starts, timed as Lambda's |
//! | `costs` | what a month on AWS costs |
//! | `renewals` | subscriptions that are all due in one hour |
//! | `alerted` | people who are all told of one event |

mod alerted;
mod args;
mod bench;
mod check;
mod cold;
mod costs;
mod hall;
mod http;
mod kills;
mod memory;
mod people;
mod phases;
mod renewals;
mod server;
mod shop;
mod soak;
mod table;
mod wires;

use args::{Command, Plan};
use bench::Bench;
use hall::House;
use phases::Sales;
use std::process::ExitCode;

/// The box office runs in this program too, so it has the allocator of the `boxoffice` command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code for a command line that makes no sense.
const USAGE: u8 = 2;

/// Open files that the fights need of each process: a thousand connections of clients, and for each of them one from the
/// AWS client to the engine, of which the box office has both ends.
const FILES_MIN: u64 = 4_096;

/// Why the load could not be put on, or what it found.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("{0}")]
    Because(String),
    #[error("the input or output failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the connection failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer is not what it should be: {0}")]
    Json(#[from] serde_json::Error),
}

fn main() -> ExitCode {
    let result = match args::parse(std::env::args().skip(1)) {
        Ok(Command::Serve) => server::serve(),
        Ok(Command::Books(file)) => memory::open_books(&file),
        Ok(Command::Soak(seconds)) => allow_files().and_then(|()| soak::run(seconds)),
        Ok(Command::Kills(kills)) => allow_files().and_then(|()| kills::run(kills)),
        Ok(Command::ColdStart(plan)) => cold::run(&plan),
        Ok(Command::Costs) => costs::run(),
        Ok(Command::Renewals(plan)) => allow_files().and_then(|()| renewals::run(plan)),
        Ok(Command::Alerted(what)) => allow_files().and_then(|()| alerted::run(what)),
        Ok(Command::Turns(taker)) => alerted::turns::take(&taker),
        Ok(Command::Help) => {
            print!("{}", args::HELP);
            Ok(())
        }
        Ok(Command::Run(plan)) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // One thread is enough for the buyers, and is the cheapest on a machine that they share with the server.
            runtime.map_err(Failed::from).and_then(|runtime| runtime.block_on(run(&plan)))
        }
        Err(problem) => {
            eprintln!("load: {problem}\n\n{}", args::HELP);
            return ExitCode::from(USAGE);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(plan: &Plan) -> Result<(), Failed> {
    allow_files()?;
    if cfg!(debug_assertions) {
        eprintln!("load: this is a debug build, which is 10 to 20 times slower; add --release");
    }
    let (_server, started) = server::Server::start().await?;
    let house = House::open(&started, plan).await?;
    let people = people::sign_up(&started.url, plan.clients).await?;
    println!(
        "{} buyers, {} events of {} places each, {} pairs of neighbouring seats for sale",
        people.len(),
        house.events.len(),
        house.places,
        house.pairs_total()
    );
    let mut bench = Bench::new(started.url.clone()).await?;
    let mut sales = Sales::default();
    phases::holds(&mut bench, &house, &people, plan).await?;
    phases::orders(&mut bench, &house, &people, &started.payments_url, &mut sales, plan).await?;
    phases::maps(&mut bench, &house, &people, plan).await?;
    phases::reads(&mut bench, &people, &sales, plan).await?;
    phases::refunds(&mut bench, &people, &sales, plan).await?;
    phases::fights(&mut bench, &house, &people, &started.payments_url, &mut sales, plan).await?;
    table::print(&bench.rows);
    check::check(&started, &people, &sales).await
}

/// Logs to the standard error what `RUST_LOG` says, or this.
fn log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Raises the limit of open files, for the box office too: where shells set it to 1,024, a thousand clients are too many.
fn allow_files() -> Result<(), Failed> {
    let files = rlimit::increase_nofile_limit(FILES_MIN.max(rlimit::getrlimit(rlimit::Resource::NOFILE)?.0))?;
    if files < FILES_MIN {
        return Err(Failed::Because(format!("{FILES_MIN} open files are needed, and the system allows {files}")));
    }
    Ok(())
}
