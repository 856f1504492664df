//! The sandbox by hand: `cargo run -p sandbox -- --listen 127.0.0.1:12111 --webhook-url http://127.0.0.1:3000/…`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use sandbox::{Settings, Stripe};
use tokio::net::TcpListener;

const USAGE: &str = "usage: sandbox [--listen 127.0.0.1:PORT] [--data FILE] [--secret-key KEY] [--publishable-key KEY]
               [--read-only-key KEY] [--webhook-secret SECRET] [--webhook-url URL] [--events a,b,…]
               [--hang SECONDS] [--refund-settles SECONDS]
Speaks the part of Stripe's API that Boxoffice uses. Without --data it forgets everything at its end.";

fn main() -> ExitCode {
    let (listen, settings) = match parse(std::env::args().skip(1)) {
        Ok(parsed) => parsed,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(serve(&listen, settings))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<(String, Settings), String> {
    let (mut listen, mut settings) = ("127.0.0.1:12111".to_owned(), Settings::default());
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
            "--refund-settles" => settings.refund_settles_after = seconds()?,
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok((listen, settings))
}

async fn serve(listen: &str, settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(listen).await?;
    println!("sandbox listening on http://{}", listener.local_addr()?);
    println!("secret key {}, publishable key {}", settings.secret_key, settings.publishable_key);
    let stopped = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(Stripe::open(settings)?.serve(listener, stopped).await?)
}
