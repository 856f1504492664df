//! The `boxoffice` command.

use boxoffice::args::{self, Command, Serve};
use boxoffice::secrets::{LocalSecrets, NO_MESSENGERS};
use boxoffice::{Data, Options, Runner, demo, grants, redrive};
use platform::Clock;
use platform::messenger::posts;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// A call of the AWS client is hundreds of small allocations on one thread that another frees: with this allocator a
/// paid order takes an eighth less processor time than with glibc's, and the process a sixth of the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Open files that are asked for, as far as the system allows: two for each request that is under way.
const FILES_WANTED: u64 = 16_384;
/// Exit code for a command line that makes no sense.
const USAGE: u8 = 2;
/// What is logged unless `RUST_LOG` says otherwise. The engine calls each refused condition a warning.
const LOG_DEFAULT: &str = "warn,dynoxide=error";
/// How long threads that are still busy may hold up the end of the process.
const END_SECONDS_MAX: u64 = 1;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args().skip(1)) {
        Ok(command @ (Command::Serve(_) | Command::Redrive(_) | Command::Grant(_) | Command::MessengerCheck(_))) => {
            command
        }
        Ok(Command::NewSecrets) => {
            println!("{}", LocalSecrets::generate().deployed());
            return ExitCode::SUCCESS;
        }
        Ok(Command::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!("boxoffice {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("boxoffice: {problem}\n\n{}", args::HELP);
            return ExitCode::from(USAGE);
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(LOG_DEFAULT));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // Where shells set it to 256 or 1,024, a sale's opening would run out of sockets. Without it there are fewer, no less.
    let _ = rlimit::increase_nofile_limit(FILES_WANTED);
    let runtime = match tokio::runtime::Builder::new_multi_thread().thread_name("worker").enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("boxoffice: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match command {
            Command::Serve(serve) => run(serve).await.map_err(|error| error.to_string()),
            Command::Redrive(ask) => redrive::run(&ask).await.map(|text| print!("{text}")),
            Command::Grant(ask) => grants::run(&ask).await.map(|text| print!("{text}")),
            Command::MessengerCheck(ask) => ask.run(|line| println!("{line}")).await,
            Command::Help | Command::Version | Command::NewSecrets => Ok(()),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(END_SECONDS_MAX));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("boxoffice: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(serve: Serve) -> Result<(), boxoffice::Error> {
    let Serve { listen, data, demo, meter, clock_shift_seconds, sandbox_delay, telegram, messengers } = serve;
    let end = end().map_err(|error| boxoffice::Error::Failed(error.to_string()))?;
    let kept = match &data {
        Data::Memory => "nothing is kept".to_owned(),
        Data::Dir(path) => format!("kept in {}", path.display()),
    };
    let messengers = messengers.map_or_else(|| Ok(NO_MESSENGERS.to_owned()), |path| set_up(&path))?;
    let clock = Clock::default();
    clock.advance(clock_shift_seconds);
    let is_sandbox = telegram.is_none();
    let options = Options { listen, data, meter, clock, telegram, messengers, email: true, ..Options::default() };
    let running = Runner::start(options).await?;
    running.payments.stripe.set_delay(sandbox_delay);
    let password = if demo { demo::prepare(&running).await? } else { None };
    println!("Boxoffice  {}", running.url);
    println!("API        {}/docs", running.url);
    println!("Payments   {} (sandbox; no money moves)", running.payments.url);
    match is_sandbox {
        true => println!("Chats      {}/chats (sandbox of the messenger; nobody is written to)", running.telegram.url),
        false => println!("Chats      through {}", running.telegram.url),
    }
    if let Some(mail) = &running.mail {
        println!("E-mails    {}/mails (sandbox; nobody is written to)", mail.url);
    }
    println!("Data       {kept}");
    if let Some(password) = &password {
        for (email, what) in demo::SHOWN {
            println!("Account    {email:<22} {password}  {what}");
        }
    }
    println!("Stop       Ctrl-C");
    end.await;
    running.stop().await;
    Ok(())
}

/// The messengers that a file sets up, if it does.
fn set_up(path: &Path) -> Result<String, boxoffice::Error> {
    let failed = |cause: String| boxoffice::Error::Failed(format!("{}: {cause}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    posts::check(&text).map_err(failed)?;
    Ok(text)
}

/// Resolves when somebody asks this process to end.
fn end() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}
