//! The sandboxes by hand: `cargo run -p sandbox -- --listen 127.0.0.1:12111 --webhook-url http://127.0.0.1:3000/…`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use sandbox::{Settings, Stripe, telegram};
use tokio::net::TcpListener;

const USAGE: &str = "usage: sandbox [--listen 127.0.0.1:PORT] [--data FILE] [--secret-key KEY] [--publishable-key KEY]
               [--read-only-key KEY] [--webhook-secret SECRET] [--webhook-url URL] [--events a,b,…]
               [--hang SECONDS] [--refund-settles SECONDS]
               [--telegram 127.0.0.1:PORT] [--telegram-token TOKEN] [--telegram-data FILE]
Speaks the part of Stripe's API that Boxoffice uses, and with --telegram that of the Bot API, with its chats on a page.
Without --data it forgets everything at its end.";

/// What is asked for.
struct Ask {
    listen: String,
    settings: Settings,
    telegram: Option<String>,
    bot: telegram::Settings,
}

fn main() -> ExitCode {
    let ask = match parse(std::env::args().skip(1)) {
        Ok(parsed) => parsed,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(serve(ask))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Ask, String> {
    let (mut listen, mut settings) = ("127.0.0.1:12111".to_owned(), Settings::default());
    let (mut telegram, mut bot) = (None, telegram::Settings::default());
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let seconds = || value.parse().map(Duration::from_secs).map_err(|_| format!("{name}: {value} is not seconds"));
        match name.as_str() {
            "--listen" => listen = value,
            "--data" => settings.database = Some(PathBuf::from(value)),
            "--secret-key" => settings.secret_key = value,
            "--publishable-key" => settings.publishable_key = value,
            "--read-only-key" => settings.read_only_key = Some(value),
            "--webhook-secret" => settings.webhook_secret = value,
            "--webhook-url" => settings.webhook_url = Some(value),
            "--events" => settings.enabled_events = value.split(',').map(str::to_owned).collect(),
            "--hang" => settings.hang = seconds()?,
            "--telegram" => telegram = Some(value),
            "--telegram-token" => bot.token = value,
            "--telegram-data" => bot.database = Some(PathBuf::from(value)),
            "--refund-settles" => settings.refund_settles_after = seconds()?,
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(Ask { listen, settings, telegram, bot })
}

async fn serve(ask: Ask) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(&ask.listen).await?;
    println!("sandbox listening on http://{}", listener.local_addr()?);
    println!("secret key {}, publishable key {}", ask.settings.secret_key, ask.settings.publishable_key);
    let payments = Stripe::open(ask.settings)?.serve(listener, stopped());
    let Some(address) = ask.telegram else { return Ok(payments.await?) };
    let listener = TcpListener::bind(&address).await?;
    println!("chats on http://{}/chats", listener.local_addr()?);
    let chats = telegram::Bot::open(ask.bot)?.serve(listener, stopped());
    tokio::try_join!(payments, chats)?;
    Ok(())
}

async fn stopped() {
    let _ = tokio::signal::ctrl_c().await;
}
