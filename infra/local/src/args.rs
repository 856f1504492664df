//! The command line.

use crate::grants::Grant;
use crate::messenger_check::{CHAT_DEFAULT, MessengerCheck};
use crate::redrive::{Place, Redrive};
use crate::runner::Data;
use crate::telegram::BotApi;
use domain::access::Role;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub const HELP: &str = "\
boxoffice - a box office on this machine

Usage: boxoffice [serve] [options]
       boxoffice redrive [QUEUE] [--url URL] [--data DIR]
       boxoffice redrive [QUEUE] --aws
       boxoffice grant-role EMAIL ROLE --aws [--table NAME]
       boxoffice new-secrets
       boxoffice messenger-check URL --secret SECRET [--chat ID]

  --listen ADDRESS:PORT   where the API answers (127.0.0.1:3000)
  --data DIR              where everything is kept (.boxoffice)
  --memory                keep nothing
  --no-demo               load no demo events and accounts; needed to listen on an address others can reach
  --meter                 count calls, capacity and processor time, and serve them at /_meter
  --clock-shift SECONDS   run as if it were so much later: holds end, refunds give less
  --sandbox-delay-ms N    hold each answer of the payment sandbox back for so long
  --telegram-api URL      write to people through this server of the Bot API, and have it send what they write, instead of the sandbox
  --telegram-token TOKEN  the bot's token there
  --messengers FILE       other messengers to write to, as JSON (infra/messengers.md)

redrive sends the dead letters of a queue back to it; without a queue it lists them.
  --url URL               of the box office on this machine (http://127.0.0.1:3000)
  --data DIR              where it is kept, and with it the token that is asked for (.boxoffice)
  --aws                   of the account that the environment's AWS credentials are for

grant-role gives somebody who has signed up a role (admin, gate, support, finance, marketing): so a new stack gets its first administrator.
  --aws                   in the account that the environment's AWS credentials are for
  --table NAME            the table of accounts, where there are several stacks

new-secrets prints new values of the secrets that a deployment makes itself, as JSON: name to value.

messenger-check posts to a messenger's address as a box office does, right and wrong, and says whether it answers as it should.
  --secret SECRET         what posts to it are signed with (whsec_…)
  --chat ID               a chat that it takes messages for (check)

  -h, --help              print this
  -V, --version           print the version
";

/// Where everything is kept, if nothing else is said.
const DATA_DEFAULT: &str = ".boxoffice";
/// Ten years: no event is announced so long before.
const CLOCK_SHIFT_SECONDS_MAX: u64 = 10 * 366 * 86_400;
/// The sandbox's callers give up long before.
const SANDBOX_DELAY_MILLISECONDS_MAX: u64 = 60_000;

/// Options of `serve` that have a value.
const TAKE_VALUES: [&str; 7] =
    ["--listen", "--data", "--clock-shift", "--sandbox-delay-ms", "--telegram-api", "--telegram-token", "--messengers"];

/// What was asked for.
#[derive(Clone, Debug)]
pub enum Command {
    Help,
    Version,
    Serve(Serve),
    Redrive(Redrive),
    Grant(Grant),
    NewSecrets,
    MessengerCheck(MessengerCheck),
}

#[derive(Clone, Debug)]
pub struct Serve {
    pub listen: SocketAddr,
    pub data: Data,
    pub demo: bool,
    pub meter: bool,
    /// Seconds by which the clock is ahead, to try out by hand what time does.
    pub clock_shift_seconds: i64,
    /// How long each answer of the payment sandbox is held back.
    pub sandbox_delay: Duration,
    /// Where the Bot API is, if not in the sandbox.
    pub telegram: Option<BotApi>,
    /// A file that says which messengers there are beside those that are built in.
    pub messengers: Option<PathBuf>,
}

/// Reads the arguments after the program's name. The error is for the person who typed them.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut args = args.into_iter().peekable();
    if args.next_if(|first| first == "redrive").is_some() {
        return redrive(args);
    }
    if args.next_if(|first| first == "grant-role").is_some() {
        return grant(args);
    }
    if args.next_if(|first| first == "new-secrets").is_some() {
        return args.next().map_or(Ok(Command::NewSecrets), |arg| Err(format!("{arg} is not understood")));
    }
    if args.next_if(|first| first == "messenger-check").is_some() {
        return messenger_check(args);
    }
    args.next_if(|first| first == "serve");
    serve(args)
}

fn serve(mut args: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut listen, mut directory, mut memory) = (SocketAddr::from(([127, 0, 0, 1], 3000)), None, false);
    let (mut demo, mut meter) = (true, false);
    let (mut clock_shift_seconds, mut sandbox_delay, mut messengers) = (0, Duration::ZERO, None);
    let (mut telegram_api, mut telegram_token) = (None, None);
    while let Some(arg) = args.next() {
        let (flag, attached) = match arg.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        if attached.is_some() && !TAKE_VALUES.contains(&flag.as_str()) {
            return Err(format!("{flag} takes no value"));
        }
        let mut value = || attached.clone().or_else(|| args.next()).ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "--listen" => {
                let text = value()?;
                listen = text.parse().map_err(|_| format!("--listen {text}: that is no address and port"))?;
            }
            "--data" => directory = Some(PathBuf::from(value()?)),
            "--messengers" => messengers = Some(PathBuf::from(value()?)),
            "--memory" => memory = true,
            "--no-demo" => demo = false,
            "--meter" => meter = true,
            "--clock-shift" => clock_shift_seconds = number(&flag, &value()?, CLOCK_SHIFT_SECONDS_MAX)?.cast_signed(),
            "--sandbox-delay-ms" => {
                sandbox_delay = Duration::from_millis(number(&flag, &value()?, SANDBOX_DELAY_MILLISECONDS_MAX)?);
            }
            "--telegram-api" => telegram_api = Some(value()?.trim_end_matches('/').to_owned()),
            "--telegram-token" => telegram_token = Some(value()?),
            "-h" | "--help" => return Ok(Command::Help),
            "-V" | "--version" => return Ok(Command::Version),
            _ => return Err(format!("{flag} is not understood")),
        }
    }
    let data = match (memory, directory) {
        (true, Some(_)) => return Err("--memory and --data exclude each other".to_owned()),
        (true, None) => Data::Memory,
        (false, directory) => Data::Dir(directory.unwrap_or_else(|| PathBuf::from(DATA_DEFAULT))),
    };
    if demo && !listen.ip().is_loopback() {
        return Err(format!(
            "--listen {listen}: others can reach it, and the demo accounts' password is known. Add --no-demo"
        ));
    }
    let telegram = match (telegram_api, telegram_token) {
        (Some(url), Some(token)) => Some(BotApi { url, token }),
        (None, None) => None,
        _ => return Err("--telegram-api and --telegram-token need each other".to_owned()),
    };
    let serve = Serve { listen, data, demo, meter, clock_shift_seconds, sandbox_delay, telegram, messengers };
    Ok(Command::Serve(serve))
}

fn redrive(mut args: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut queue, mut url, mut data, mut aws) = (None, None, None, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--aws" => aws = true,
            "--url" => url = Some(args.next().ok_or("--url needs a value")?),
            "--data" => data = Some(PathBuf::from(args.next().ok_or("--data needs a value")?)),
            "-h" | "--help" => return Ok(Command::Help),
            flag if flag.starts_with('-') => return Err(format!("{flag} is not understood")),
            _ if queue.is_some() => return Err(format!("{arg} is one queue too many")),
            _ => queue = Some(arg),
        }
    }
    let place = match (aws, url, data) {
        (true, Some(_), _) => return Err("--aws and --url exclude each other".to_owned()),
        (true, None, Some(_)) => return Err("--aws and --data exclude each other".to_owned()),
        (true, None, None) => Place::Aws,
        (false, url, data) => {
            let url = url.unwrap_or_else(|| "http://127.0.0.1:3000".to_owned());
            let url = url.trim_end_matches('/').to_owned();
            Place::Local { url, data: data.unwrap_or_else(|| PathBuf::from(DATA_DEFAULT)) }
        }
    };
    Ok(Command::Redrive(Redrive { queue, place }))
}

fn grant(mut args: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut named, mut table, mut aws) = (Vec::new(), None, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--aws" => aws = true,
            "--table" => table = Some(args.next().ok_or("--table needs a value")?),
            "-h" | "--help" => return Ok(Command::Help),
            flag if flag.starts_with('-') => return Err(format!("{flag} is not understood")),
            _ => named.push(arg),
        }
    }
    let [email, role] = &named[..] else { return Err("grant-role needs an e-mail address and a role".to_owned()) };
    if !aws {
        return Err(
            "grant-role works on AWS: add --aws. On this machine an administrator of the demo gives roles".to_owned()
        );
    }
    let known: StrDeserializer<'_, ValueError> = role.as_str().into_deserializer();
    let role = Role::deserialize(known).map_err(|error| error.to_string())?;
    Ok(Command::Grant(Grant { email: email.clone(), role, table }))
}

fn messenger_check(mut args: impl Iterator<Item = String>) -> Result<Command, String> {
    let (mut url, mut secret, mut chat) = (None, None, CHAT_DEFAULT.to_owned());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--secret" => secret = Some(args.next().ok_or("--secret needs a value")?),
            "--chat" => chat = args.next().ok_or("--chat needs a value")?,
            "-h" | "--help" => return Ok(Command::Help),
            flag if flag.starts_with('-') => return Err(format!("{flag} is not understood")),
            _ if url.is_some() => return Err(format!("{arg} is one address too many")),
            _ => url = Some(arg),
        }
    }
    let (Some(url), Some(secret)) = (url, secret) else {
        return Err("messenger-check needs an address and --secret".to_owned());
    };
    MessengerCheck::new(&url, &secret, &chat).map(Command::MessengerCheck)
}

fn number(flag: &str, text: &str, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| format!("{flag} {text}: that is no number from 0 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, refused: Option<&str>) {
        let result = parse(line.split_whitespace().map(str::to_owned));
        match (result, refused) {
            (Ok(_), None) => {}
            (Err(problem), Some(part)) => assert!(problem.contains(part), "{line}: {problem}"),
            (result, _) => panic!("{line}: {result:?}"),
        }
    }

    #[test]
    fn arguments_are_understood_or_refused() {
        check("", None);
        check("serve --memory --meter", None);
        check("--listen=127.0.0.1:0 --data x", None);
        check("--listen 0.0.0.0:80 --no-demo", None);
        check("--listen 0.0.0.0:80", Some("--no-demo"));
        check("--listen here", Some("no address"));
        check("--listen", Some("needs a value"));
        check("--memory --data x", Some("exclude"));
        check("--memory=yes", Some("takes no value"));
        check("--clock-shift 660 --sandbox-delay-ms=500", None);
        check("--clock-shift -1", Some("no number from 0"));
        check("--sandbox-delay-ms 60001", Some("no number from 0 to 60000"));
        check("--telegram-api http://127.0.0.1:9000 --telegram-token=1:a", None);
        check("--telegram-token 1:a", Some("need each other"));
        check("--fast", Some("--fast is not understood"));
        check("serve serve", Some("serve is not understood"));
        check("redrive", None);
        check("redrive Payments --url http://127.0.0.1:3001/", None);
        check("redrive --aws Payments", None);
        check("redrive Payments Refunds", Some("one queue too many"));
        check("redrive --aws --url http://here", Some("exclude"));
        check("redrive Payments --data x", None);
        check("redrive --aws --data x", Some("exclude"));
        check("redrive --url", Some("needs a value"));
        check("redrive --memory", Some("--memory is not understood"));
        check("grant-role a@b.example admin --aws", None);
        check("grant-role --aws --table dev-Accounts-A1 a@b.example gate", None);
        check("grant-role a@b.example admin", Some("add --aws"));
        check("grant-role a@b.example --aws", Some("needs an e-mail address and a role"));
        check("grant-role a@b.example king --aws", Some("unknown variant `king`"));
        check("new-secrets", None);
        check("new-secrets --aws", Some("--aws is not understood"));
        let secret = format!("--secret whsec_{}", "A".repeat(32));
        check("--messengers here.json", None);
        check(&format!("messenger-check https://a.example/hook {secret}"), None);
        check(&format!("messenger-check http://localhost:1 --chat 7 {secret}"), None);
        check(&format!("messenger-check http://a.example/hook {secret}"), Some("https"));
        check(&format!("messenger-check https://a.example {secret} more"), Some("one address too many"));
        check("messenger-check https://a.example --secret hush", Some("whsec_"));
        check("messenger-check https://a.example", Some("--secret"));
    }
}
