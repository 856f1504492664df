//! The secrets of this machine: made at the first start, and kept beside the tables.

use crate::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use platform::Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Defaults of the template's parameters that name the secrets of [`LocalSecrets::deployed`].
const DEPLOYED: [&str; 6] = [
    "boxoffice/token-signing-key",
    "boxoffice/ticket-signing-key",
    "boxoffice/public-keys",
    "boxoffice/order-id-key",
    "boxoffice/telegram-webhook-secret",
    "boxoffice/messengers",
];
/// What sets up no messengers beside those that are built in.
pub const NO_MESSENGERS: &str = "{}";

/// The values behind the template's parameters that name secrets, and the one key that is none.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalSecrets {
    /// `{"kid", "seed"}`: what access tokens are signed with.
    pub token_signing_key: String,
    /// `{"kid", "seed"}`: what tickets' codes are signed with.
    pub ticket_signing_key: String,
    /// A JWKS with the public halves of both.
    pub public_keys: String,
    /// What orders' ids are derived with.
    pub order_id_key: String,
    pub stripe_secret: String,
    pub stripe_publishable_key: String,
    pub stripe_webhook_secret: String,
    /// May read at the payment provider, and nothing more. Secrets of an older version have none yet.
    #[serde(default = "read_only_key")]
    pub stripe_read_only_key: String,
    /// The bot's, whose sandbox knows no other. Secrets of an older version have none yet.
    #[serde(default = "telegram_token")]
    pub telegram_token: String,
    /// What the messenger's webhook is known by. Secrets of an older version have none yet.
    #[serde(default = "telegram_webhook_secret")]
    pub telegram_webhook_secret: String,
    /// The messengers that integrate themselves, as JSON. They are said at each start and kept nowhere.
    #[serde(skip, default = "no_messengers")]
    pub messengers: String,
    /// Of the demo accounts, where there is a demo.
    pub demo_password: String,
    /// What opens the operator's door. Secrets of an older version have none yet.
    #[serde(default = "operator_token")]
    pub operator_token: String,
}

impl LocalSecrets {
    /// New ones, from the operating system's randomness.
    pub fn generate() -> Self {
        Self::drawn_from(&Rng::System)
    }

    /// The same from other randomness: what a seed gives is no secret, and only for a simulation.
    pub fn drawn_from(rng: &Rng) -> Self {
        let (token_signing_key, token_public) = key_pair("token", rng);
        let (ticket_signing_key, ticket_public) = key_pair("ticket", rng);
        Self {
            token_signing_key,
            ticket_signing_key,
            public_keys: json!({ "keys": [token_public, ticket_public] }).to_string(),
            order_id_key: hexadecimal(rng.bytes::<32>()),
            stripe_secret: format!("sk_test_{}", hexadecimal(rng.bytes::<24>())),
            stripe_publishable_key: format!("pk_test_{}", hexadecimal(rng.bytes::<24>())),
            stripe_webhook_secret: format!("whsec_{}", hexadecimal(rng.bytes::<24>())),
            stripe_read_only_key: drawn_read_only_key(rng),
            telegram_token: drawn_telegram_token(rng),
            telegram_webhook_secret: hexadecimal(rng.bytes::<32>()),
            messengers: no_messengers(),
            demo_password: URL_SAFE_NO_PAD.encode(rng.bytes::<18>()),
            operator_token: hexadecimal(rng.bytes::<32>()),
        }
    }

    /// The file of a box office that is kept in this directory.
    pub fn path(directory: &Path) -> PathBuf {
        directory.join("secrets.json")
    }

    /// The operator's token in the file; it is for whoever may read the file, and no new one is made.
    pub fn operator_token_of(path: &Path) -> Result<String, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let secrets: Self = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(secrets.operator_token)
    }

    /// Those that a deployment makes itself, by the names that the template's parameters have for them unless they are given
    /// others. The payment provider's and the bot's token come from those who give them.
    pub fn deployed(&self) -> serde_json::Value {
        let secrets = [
            &self.token_signing_key,
            &self.ticket_signing_key,
            &self.public_keys,
            &self.order_id_key,
            &self.telegram_webhook_secret,
            &self.messengers,
        ];
        DEPLOYED.into_iter().zip(secrets).map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    /// Those in the file, or new ones if there is no such file. Only its owner may read it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |cause: String| Error::Data { path: path.to_owned(), cause };
        match File::open(path) {
            Ok(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
                let secrets: Self = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
                // Made just now, since the file is of an older version.
                let made = [
                    &secrets.stripe_read_only_key,
                    &secrets.telegram_token,
                    &secrets.telegram_webhook_secret,
                    &secrets.operator_token,
                ];
                if made.into_iter().any(|secret| !text.contains(secret)) {
                    secrets.write(path).map_err(|error| failed(error.to_string()))?;
                }
                Ok(secrets)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let secrets = Self::generate();
                secrets.write(path).map_err(|error| failed(error.to_string()))?;
                Ok(secrets)
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Through a second name, so that no crash leaves half of them.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        std::fs::rename(new, path)
    }
}

/// A private key as functions read it, and its public half as a JWK (RFC 8037).
fn key_pair(prefix: &str, rng: &Rng) -> (String, serde_json::Value) {
    let seed: [u8; 32] = rng.bytes();
    let public = SigningKey::from_bytes(&seed).verifying_key();
    let kid = format!("{prefix}-{}", hexadecimal(rng.bytes::<4>()));
    let private = json!({ "kid": kid, "seed": URL_SAFE_NO_PAD.encode(seed) });
    let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
    let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA" });
    (private.to_string(), public)
}

fn read_only_key() -> String {
    drawn_read_only_key(&Rng::System)
}

fn operator_token() -> String {
    hexadecimal(Rng::System.bytes::<32>())
}

fn telegram_token() -> String {
    drawn_telegram_token(&Rng::System)
}

fn telegram_webhook_secret() -> String {
    hexadecimal(Rng::System.bytes::<32>())
}

fn no_messengers() -> String {
    NO_MESSENGERS.to_owned()
}

/// The bot's number, a colon and its key, as Telegram gives them out.
fn drawn_telegram_token(rng: &Rng) -> String {
    format!("4711:{}", URL_SAFE_NO_PAD.encode(rng.bytes::<26>()))
}

fn drawn_read_only_key(rng: &Rng) -> String {
    format!("rk_test_{}", hexadecimal(rng.bytes::<24>()))
}

fn hexadecimal<const N: usize>(bytes: [u8; N]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_an_older_version_are_completed_once() {
        let directory = std::env::temp_dir().join(format!("boxoffice-{}", hexadecimal(Rng::System.bytes::<8>())));
        std::fs::create_dir(&directory).expect("there is room");
        let path = directory.join("secrets.json");
        let old = LocalSecrets::generate();
        let mut json = serde_json::to_value(&old).expect("it is JSON");
        for name in ["stripe_read_only_key", "operator_token", "telegram_token", "telegram_webhook_secret"] {
            json.as_object_mut().expect("an object").remove(name);
        }
        std::fs::write(&path, json.to_string()).expect("there is room");
        let first = LocalSecrets::open(&path).expect("it is complete now");
        let second = LocalSecrets::open(&path).expect("it was kept");
        assert_eq!(first.stripe_read_only_key, second.stripe_read_only_key);
        assert_eq!(first.operator_token, second.operator_token);
        assert_eq!(first.telegram_token, second.telegram_token);
        assert_eq!(first.telegram_webhook_secret, second.telegram_webhook_secret);
        assert_eq!(second.stripe_secret, old.stripe_secret, "the others stay");
        std::fs::remove_dir_all(directory).expect("it is ours");
    }

    #[test]
    fn deployed_secrets_have_the_templates_names() {
        let secrets = LocalSecrets::generate();
        let deployed = secrets.deployed();
        for (name, value) in DEPLOYED.iter().zip([&secrets.token_signing_key, &secrets.ticket_signing_key]) {
            assert_eq!(deployed[name], value.as_str());
        }
        for name in DEPLOYED {
            assert!(crate::template::TEMPLATE.contains(&format!("Default: {name}\n")), "{name}");
        }
    }

    #[test]
    fn the_public_key_belongs_to_the_private_one() {
        let secrets = LocalSecrets::generate();
        let private: serde_json::Value = serde_json::from_str(&secrets.ticket_signing_key).expect("it is JSON");
        let public: serde_json::Value = serde_json::from_str(&secrets.public_keys).expect("it is JSON");
        let jwk = &public["keys"][1];
        assert_eq!(jwk["kid"], private["kid"]);
        let seed = URL_SAFE_NO_PAD.decode(private["seed"].as_str().expect("a text")).expect("it is base64");
        let key = SigningKey::from_bytes(&seed.try_into().expect("32 bytes"));
        assert_eq!(jwk["x"], URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes()));
    }
}
