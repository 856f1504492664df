//! The operator's door: dead letters are counted and sent back from this machine only, by no web page, and by nobody who
//! cannot read the secrets of the box office: a proxy on this machine may make anybody look like a neighbour.

use crate::queues::Queues;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use serde_json::{Value, json};
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where the door is: `GET` lists, `POST` of a queue's name below it sends back.
pub const PATH: &str = "/_redrive";
/// The header with the operator's token. A page of somebody else cannot make a browser send it.
pub const OPERATOR: HeaderName = HeaderName::from_static("x-boxoffice-operator");

/// Headers of a browser, or of a proxy that lets others in through loopback.
const OTHERS: [HeaderName; 4] =
    [header::ORIGIN, header::FORWARDED, header::VIA, HeaderName::from_static("x-forwarded-for")];

/// The door of one box office.
pub struct Door {
    queues: Arc<Queues>,
    token: String,
}

impl Door {
    pub fn new(queues: Arc<Queues>, token: String) -> Self {
        assert!(!token.is_empty(), "nobody's token opens it");
        Self { queues, token }
    }

    /// Whether somebody on this machine asks who has the token, and not a page in their browser.
    pub fn is_open(&self, client: SocketAddr, headers: &HeaderMap) -> bool {
        let is_here = client.ip().to_canonical().is_loopback();
        let is_operator = headers.get(OPERATOR).is_some_and(|sent| are_equal(sent.as_bytes(), self.token.as_bytes()));
        is_here && is_operator && !OTHERS.iter().any(|name| headers.contains_key(name)) && names_us(headers)
    }

    /// What is answered to whoever may ask.
    pub fn answer(&self, method: &Method, path: &str) -> Result<Value, (StatusCode, String)> {
        answer(&self.queues, method, path)
    }
}

/// Takes as long for any two texts of one length, so that nobody finds the token out letter by letter.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |differences, (a, b)| black_box(differences | (a ^ b)));
    one.len() == other.len() && differences == 0
}

/// A page whose name was made to lead to this machine asks for that name.
fn names_us(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()?.parse::<Authority>().ok());
    let host = host.as_ref().map_or("", |host| host.host()).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn answer(queues: &Queues, method: &Method, path: &str) -> Result<Value, (StatusCode, String)> {
    let failed = |error: crate::Error| match error {
        crate::Error::NoQueue(_) => (StatusCode::NOT_FOUND, error.to_string()),
        other => (StatusCode::CONFLICT, other.to_string()),
    };
    match (method, path.strip_prefix(PATH).unwrap_or_default().strip_prefix('/')) {
        (&Method::GET, None) => {
            let all = queues.dead_letter_queues().map_err(failed)?;
            let all = all.into_iter().map(|(name, messages)| json!({ "name": name, "messages": messages }));
            Ok(json!({ "queues": all.collect::<Vec<_>>() }))
        }
        (&Method::POST, Some(queue)) => {
            let name = queues.dead_letters_of(queue).map_err(failed)?;
            Ok(json!({ "name": name, "moved": queues.redrive(name).map_err(failed)? }))
        }
        _ => Err((StatusCode::NOT_FOUND, "There is nothing here.".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use platform::Clock;

    const TOKEN: &str = "0123456789abcdef";

    #[track_caller]
    fn check(client: &str, headers: &[(&'static str, &'static str)], opens: bool) {
        let pairs =
            headers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        let queues = Queues::open(&[], Arc::new(Journal::none()), Clock::default());
        let door = Door::new(Arc::new(queues.expect("there are none")), TOKEN.to_owned());
        assert_eq!(door.is_open(client.parse().expect("an address"), &pairs.collect()), opens, "{client} {headers:?}");
    }

    #[test]
    fn only_operators_on_this_machine_may() {
        let (asks, host) = (("x-boxoffice-operator", TOKEN), ("host", "127.0.0.1:3000"));
        for client in ["127.0.0.1:5000", "[::1]:5000", "[::ffff:127.0.0.1]:5000"] {
            check(client, &[asks, host], true);
            check(client, &[asks, ("host", "localhost:3000")], true);
            check(client, &[asks, ("host", "[::1]:3000")], true);
        }
        let here = "127.0.0.1:5000";
        check("192.0.2.7:5000", &[asks, host], false);
        check(here, &[host], false);
        for wrong in ["", "1", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0"] {
            check(here, &[("x-boxoffice-operator", wrong), host], false);
        }
        check(here, &[asks], false);
        check(here, &[asks, ("host", "boxoffice.example")], false);
        check(here, &[asks, ("host", "127.0.0.1.example")], false);
        for sent in ["origin", "via", "forwarded", "x-forwarded-for"] {
            check(here, &[asks, host, (sent, "http://127.0.0.1:3000")], false);
        }
    }
}
