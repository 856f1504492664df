//! The e-mail sandbox: Amazon SES's `SendEmail` (API v2) as far as Boxoffice uses it, and a page of what was sent. Nobody gets
//! any of it; it is kept in memory.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::pages::{escape, page};
use crate::serve_beside;

/// E-mails that are kept, the last ones.
const MAILS_MAX: usize = 1_000;
/// E-mails on the page, the last ones.
const SHOWN_MAX: usize = 100;
/// What SES takes at once (<https://docs.aws.amazon.com/ses/latest/dg/quotas.html>).
const BODY_BYTES_MAX: usize = 40 * 1024 * 1024;
/// The address that SES itself has for an e-mail that it refuses.
const SUPPRESSED: &str = "suppressionlist@simulator.amazonses.com";

/// An e-mail that was sent.
#[derive(Clone, Debug)]
pub struct Mail {
    pub from: String,
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// Names and contents of what is attached.
    pub attachments: Vec<(String, Vec<u8>)>,
}

/// A handle to a sandbox; clones share it.
#[derive(Clone, Default)]
pub struct Mailbox(Arc<Mutex<VecDeque<Mail>>>);

impl Mailbox {
    /// All that was sent to an address, the first one first.
    pub fn to(&self, address: &str) -> Vec<Mail> {
        self.mails().iter().filter(|mail| mail.to == address).cloned().collect()
    }

    /// The API and the page.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(async || Redirect::to("/mails")))
            .route("/mails", get(mails))
            .route("/mails/{number}/{attachment}", get(attachment))
            .route("/assets/sandbox.css", get(crate::pages::style))
            .route("/v2/email/outbound-emails", post(send))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self.clone())
    }

    /// Serves until `shutdown` ends.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        serve_beside(listener, self.router(), shutdown, std::future::pending()).await
    }

    fn mails(&self) -> MutexGuard<'_, VecDeque<Mail>> {
        self.0.lock().expect("nobody panics while they hold the mails")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ask {
    from_email_address: String,
    destination: Destination,
    content: Content,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    to_addresses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    simple: Simple,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Simple {
    subject: Data,
    body: Body,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    text: Data,
    html: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attachment {
    file_name: String,
    raw_content: String,
}

/// `POST /v2/email/outbound-emails`: `SendEmail`. Whoever asks has signed for SES; with which key is not looked at.
async fn send(State(mailbox): State<Mailbox>, headers: HeaderMap, body: String) -> Response {
    let signed = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !signed.is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 ") && value.contains("/ses/aws4_request")) {
        return refused(StatusCode::FORBIDDEN, "MissingAuthenticationTokenException", "The request is not signed.");
    }
    let ask: Ask = match serde_json::from_str(&body) {
        Ok(ask) => ask,
        Err(error) => return refused(StatusCode::BAD_REQUEST, "BadRequestException", &error.to_string()),
    };
    let simple = ask.content.simple;
    let decoded = simple.attachments.into_iter().map(|attached| {
        let content = STANDARD.decode(attached.raw_content)?;
        Ok::<_, base64::DecodeError>((attached.file_name, content))
    });
    let (Ok(attachments), [to]) = (decoded.collect::<Result<Vec<_>, _>>(), &ask.destination.to_addresses[..]) else {
        return refused(StatusCode::BAD_REQUEST, "BadRequestException", "One address, and attachments in base64.");
    };
    if simple.subject.data.contains(['\r', '\n']) {
        return refused(StatusCode::BAD_REQUEST, "BadRequestException", "A subject is one line.");
    }
    if to == SUPPRESSED {
        return refused(StatusCode::BAD_REQUEST, "MessageRejected", "The address is on a suppression list.");
    }
    let (from, to, subject) = (ask.from_email_address, to.clone(), simple.subject.data);
    let mail = Mail { from, to, subject, text: simple.body.text.data, html: simple.body.html.data, attachments };
    let mut mails = mailbox.mails();
    mails.push_back(mail);
    if mails.len() > MAILS_MAX {
        mails.pop_front();
    }
    Json(json!({ "MessageId": format!("{:016x}", mails.len()) })).into_response()
}

fn refused(status: StatusCode, kind: &'static str, message: &str) -> Response {
    (status, [("x-amzn-errortype", kind)], Json(json!({ "message": message }))).into_response()
}

/// `GET /mails`: what was sent, the last first, as plain text.
async fn mails(State(mailbox): State<Mailbox>) -> Response {
    let mails = mailbox.mails();
    let mut list = String::new();
    for (number, mail) in mails.iter().enumerate().rev().take(SHOWN_MAX) {
        let (to, subject, text) = (escape(&mail.to), escape(&mail.subject), escape(&mail.text));
        let pictures: String = (0..mail.attachments.len())
            .map(|attachment| format!("<img src=\"/mails/{number}/{attachment}\" alt=\"attachment\">"))
            .collect();
        list += &format!(
            "<li class=\"bot\"><p class=\"tag\">{to}</p><p dir=\"auto\"><b>{subject}</b></p>\
             <p dir=\"auto\">{text}</p>{pictures}</li>\n"
        );
    }
    page(StatusCode::OK, &include_str!("pages/mails.html").replace("{{{mails}}}", &list))
}

async fn attachment(State(mailbox): State<Mailbox>, Path((number, attachment)): Path<(usize, usize)>) -> Response {
    let mails = mailbox.mails();
    match mails.get(number).and_then(|mail| mail.attachments.get(attachment)) {
        Some((_, png)) => ([(header::CONTENT_TYPE, "image/png")], png.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
