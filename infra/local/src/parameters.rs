//! What the template is given on this machine.

use crate::secrets::LocalSecrets;
use crate::telegram;
use std::collections::BTreeMap;

/// Values of the template's parameters, and values of the secrets that some of them name.
pub type Parameters = (BTreeMap<String, String>, BTreeMap<String, String>);

/// What the template is given for a box office at `url` whose payment provider is at `stripe`, and its messenger at
/// `telegram`.
pub fn parameters(url: &str, stripe: &str, telegram: &str, secrets: &LocalSecrets) -> Parameters {
    let mut values = BTreeMap::from([
        ("Stage".to_owned(), "dev".to_owned()),
        ("PublicUrl".to_owned(), url.to_owned()),
        ("StripeApiBase".to_owned(), stripe.to_owned()),
        ("StripePayUrl".to_owned(), format!("{stripe}/pay")),
        ("StripePublishableKey".to_owned(), secrets.stripe_publishable_key.clone()),
        ("TelegramApiBase".to_owned(), telegram.to_owned()),
        ("TelegramBot".to_owned(), telegram::BOT.to_owned()),
    ]);
    let mut named = BTreeMap::new();
    for (parameter, secret) in [
        ("TokenSigningKeySecret", &secrets.token_signing_key),
        ("TicketSigningKeySecret", &secrets.ticket_signing_key),
        ("PublicKeysSecret", &secrets.public_keys),
        ("OrderIdKeySecret", &secrets.order_id_key),
        ("StripeSecret", &secrets.stripe_secret),
        ("StripeReadOnlySecret", &secrets.stripe_read_only_key),
        ("StripeWebhookSecret", &secrets.stripe_webhook_secret),
        ("TelegramTokenSecret", &secrets.telegram_token),
        ("TelegramWebhookSecret", &secrets.telegram_webhook_secret),
        ("MessengersSecret", &secrets.messengers),
    ] {
        values.insert(parameter.to_owned(), parameter.to_owned());
        named.insert(parameter.to_owned(), secret.clone());
    }
    (values, named)
}
