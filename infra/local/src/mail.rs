//! The sandbox of e-mail: Amazon SES as far as we use it, with what was sent on a page.

use crate::error::Error;
use crate::sandboxes::Sandbox;
use sandbox::mail::Mailbox;
use std::collections::BTreeMap;

/// Whom e-mails come from on this machine.
const FROM: &str = "Boxoffice <tickets@boxoffice.example>";
/// What Lambda tells every function of its region and role, by which calls are signed.
const GIVEN: [(&str, &str); 3] =
    [("AWS_REGION", "local"), ("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")];

/// A sandbox that runs.
pub struct Mail {
    /// Where SES answers; the e-mails are at `/mails`.
    pub url: String,
    pub mailbox: Mailbox,
    _server: Sandbox,
}

impl Mail {
    pub fn start() -> Result<Self, Error> {
        let mailbox = Mailbox::default();
        let served = mailbox.clone();
        let server = Sandbox::start(move |listener| served.serve(listener, std::future::pending()))?;
        Ok(Self { url: server.url.clone(), mailbox, _server: server })
    }

    /// Names whom e-mails come from among the template's parameters, and gives the environment in which functions send them.
    pub fn set_up(&self, parameters: &mut BTreeMap<String, String>) -> BTreeMap<String, String> {
        parameters.insert("EmailFrom".to_owned(), FROM.to_owned());
        let given = GIVEN.map(|(name, value)| (name.to_owned(), value.to_owned()));
        given.into_iter().chain([("AWS_ENDPOINT_URL_SESV2".to_owned(), self.url.clone())]).collect()
    }
}
