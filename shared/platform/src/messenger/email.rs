//! E-mail for those who have no chat that can be reached, over the HTTP of Amazon SES (API v2, `SendEmail`:
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>).

use super::{Button, Messenger, Outgoing, SendError, Sent, plain};
use crate::app::Clock;
use crate::aws;
use crate::config::{Config, Missing};
use crate::transport::Transport;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::http::{Request, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::chats;
use domain::texts::escape;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long one call may take.
const CALL_SECONDS_MAX: u64 = 6;
/// How far e-mails are apart: 10 a second, where SES takes 14 of an account that has just left its trial.
const APART_MILLISECONDS: i64 = 100;
/// Characters of a subject.
const SUBJECT_CHARS_MAX: usize = 100;
/// How long we wait where we ask for too much.
const WAIT_SECONDS: u64 = 1;
/// What is kept of the words of a refusal.
const CAUSE_CHARS_MAX: usize = 200;
/// Refusals of SES that are about this e-mail; all others are about our account, and pass when somebody mends it. That an
/// identity is not verified is one of those, by the name of the first.
const REFUSED: [&str; 2] = ["MessageRejected", "BadRequestException"];
const NOT_VERIFIED: &str = "not verified";
/// How the words of a missing permission begin: who lacks it and its name. An identity follows, which may be a person's address.
const DENIED_USER: &str = "User: ";
const ON_RESOURCE: &str = " on resource";

/// Whom e-mails come from, and with which rights.
pub struct Email {
    from: String,
    sender: Result<Sender, Missing>,
    /// Where people say what they want to be told of.
    settings_url: Result<String, Missing>,
    clock: Clock,
    transport: Arc<dyn Transport>,
}

struct Sender {
    url: String,
    region: String,
    credentials: Credentials,
}

impl Email {
    /// None where no address is set up to write from.
    pub fn new(config: &Config, clock: Clock, transport: Arc<dyn Transport>) -> Option<Self> {
        let from = config.get("EMAIL_FROM").ok().filter(|from| !from.is_empty())?.to_owned();
        let settings_url = config.get("PUBLIC_URL").map(|base| format!("{base}/#/notices"));
        Some(Self { from, sender: Sender::new(config), settings_url, clock, transport })
    }

    async fn write(&self, to: &str, message: &Outgoing) -> Result<(), SendError> {
        let misconfigured = |missing: &Missing| SendError::Misconfigured(missing.to_string());
        let sender = self.sender.as_ref().map_err(misconfigured)?;
        let settings_url = self.settings_url.as_ref().map_err(misconfigured)?;
        let body = Bytes::from(body(&self.from, to, message, settings_url).to_string());
        let request = sender.request(body, &self.clock).map_err(SendError::Misconfigured)?;
        if let Some(rest) = self.transport.rest(request.uri()) {
            return Err(SendError::Resting(rest));
        }
        let sent = self.transport.send(request, Duration::from_secs(CALL_SECONDS_MAX)).await;
        judge(&sent.map_err(|error| SendError::Unknown(error.to_string()))?)
    }
}

impl Sender {
    /// As Lambda names the function's role, and where SES is.
    fn new(config: &Config) -> Result<Self, Missing> {
        let region = config.get("AWS_REGION")?.to_owned();
        let base = aws::endpoint(config, "AWS_ENDPOINT_URL_SESV2");
        let base = base.unwrap_or_else(|| format!("https://email.{region}.amazonaws.com"));
        let url = format!("{}/v2/email/outbound-emails", base.trim_end_matches('/'));
        Ok(Self { url, region, credentials: aws::credentials(config)? })
    }

    /// A call, signed by AWS Signature Version 4.
    fn request(&self, body: Bytes, clock: &Clock) -> Result<Request<Bytes>, String> {
        let request = Request::post(&self.url).header(header::CONTENT_TYPE, "application/json");
        let mut request = request.body(body).map_err(|error| error.to_string())?;
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder().identity(&identity).region(&self.region).name("ses");
        let params = params.time(clock.now().into()).settings(SigningSettings::default()).build();
        let params = params.map_err(|error| error.to_string())?.into();
        let signed = [("content-type", "application/json")].into_iter();
        let signable = SignableRequest::new("POST", &self.url, signed, SignableBody::Bytes(request.body()));
        let signed = sign(signable.map_err(|error| error.to_string())?, &params).map_err(|error| error.to_string())?;
        signed.into_parts().0.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

impl Messenger for Email {
    fn name(&self) -> &'static str {
        chats::EMAIL
    }

    fn apart(&self) -> SignedDuration {
        SignedDuration::from_millis(APART_MILLISECONDS)
    }

    fn send<'a>(&'a self, chat: &'a str, message: &'a Outgoing) -> Sent<'a, ()> {
        Box::pin(self.write(chat, message))
    }

    fn answer<'a>(&'a self, _: &'a str, _: &'a str) -> Sent<'a, ()> {
        Box::pin(async { Err(SendError::Refused("an e-mail has no buttons that come back".into())) })
    }

    fn deep_link(&self, _: &str) -> Result<String, SendError> {
        Err(SendError::Refused("an e-mail's address is the account's, and nothing is linked".into()))
    }
}

/// What SES is asked for: both forms of the text, its links as they are, and pictures beside it.
fn body(from: &str, to: &str, message: &Outgoing, settings_url: &str) -> Value {
    let links: Vec<(&str, &str)> = message.buttons.iter().flatten().filter_map(link).collect();
    let text: String = links.iter().map(|(text, url)| format!("\n\n{text}: {url}")).collect();
    let html: String =
        links.iter().map(|(text, url)| format!("<p><a href=\"{}\">{}</a></p>\n", escape(url), escape(text))).collect();
    let data = |data: String| json!({ "Data": data, "Charset": "UTF-8" });
    let attachment = |(number, png): (usize, &Vec<u8>)| {
        json!({
            "FileName": format!("ticket-{}.png", number + 1), "ContentType": "image/png",
            "ContentDisposition": "ATTACHMENT", "ContentTransferEncoding": "BASE64", "RawContent": STANDARD.encode(png),
        })
    };
    let mut simple = json!({
        "Subject": data(subject(&message.html)),
        "Body": {
            "Text": data(plain(&message.html) + &text),
            "Html": data(format!("<p>{}</p>\n{html}", message.html.replace('\n', "<br>\n"))),
        },
        "Headers": [{ "Name": "List-Unsubscribe", "Value": format!("<{settings_url}>") }],
    });
    if !message.pictures.is_empty() {
        simple["Attachments"] = message.pictures.iter().enumerate().map(attachment).collect();
    }
    json!({ "FromEmailAddress": from, "Destination": { "ToAddresses": [to] }, "Content": { "Simple": simple } })
}

fn link(button: &Button) -> Option<(&str, &str)> {
    match button {
        Button::Link { text, url } => Some((text, url)),
        Button::Press { .. } => None,
    }
}

/// The first line of a text, without what a header cannot have.
fn subject(html: &str) -> String {
    let text = plain(html);
    let line: String = text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    if line.chars().count() <= SUBJECT_CHARS_MAX {
        return line;
    }
    line.chars().take(SUBJECT_CHARS_MAX - 1).chain(['…']).collect()
}

/// What an answer means. Of its words only those are told that name a missing permission, since others may name addresses.
fn judge(answer: &Response<Bytes>) -> Result<(), SendError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let kind = answer.headers().get("x-amzn-errortype").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let words = String::from_utf8_lossy(answer.body());
    let denied = words.find(DENIED_USER).and_then(|at| words[at..].split_once(ON_RESOURCE)).unwrap_or_default().0;
    let cause: String = format!("{status} {kind} {denied}").trim_end().chars().take(CAUSE_CHARS_MAX).collect();
    let is_of_account = || words.contains(NOT_VERIFIED);
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS => SendError::TooMany(Duration::from_secs(WAIT_SECONDS)),
        StatusCode::BAD_REQUEST if REFUSED.iter().any(|refused| kind.contains(refused)) && !is_of_account() => {
            SendError::Refused(cause)
        }
        status if status.is_client_error() => SendError::Misconfigured(cause),
        _ => SendError::Unknown(cause),
    })
}

#[cfg(test)]
mod tests;
