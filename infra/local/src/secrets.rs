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
use std::path::Path;

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
    /// Of the demo accounts, where there is a demo.
    pub demo_password: String,
}

impl LocalSecrets {
    /// Always from the operating system: a seed that a test chose must not sign anything.
    pub fn generate() -> Self {
        let (token_signing_key, token_public) = key_pair("token");
        let (ticket_signing_key, ticket_public) = key_pair("ticket");
        Self {
            token_signing_key,
            ticket_signing_key,
            public_keys: json!({ "keys": [token_public, ticket_public] }).to_string(),
            order_id_key: hexadecimal(Rng::System.bytes::<32>()),
            stripe_secret: format!("sk_test_{}", hexadecimal(Rng::System.bytes::<24>())),
            stripe_publishable_key: format!("pk_test_{}", hexadecimal(Rng::System.bytes::<24>())),
            stripe_webhook_secret: format!("whsec_{}", hexadecimal(Rng::System.bytes::<24>())),
            demo_password: URL_SAFE_NO_PAD.encode(Rng::System.bytes::<18>()),
        }
    }

    /// Those in the file, or new ones if there is no such file. Only its owner may read it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |cause: String| Error::Data { path: path.to_owned(), cause };
        match File::open(path) {
            Ok(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
                serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
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
fn key_pair(prefix: &str) -> (String, serde_json::Value) {
    let seed: [u8; 32] = Rng::System.bytes();
    let public = SigningKey::from_bytes(&seed).verifying_key();
    let kid = format!("{prefix}-{}", hexadecimal(Rng::System.bytes::<4>()));
    let private = json!({ "kid": kid, "seed": URL_SAFE_NO_PAD.encode(seed) });
    let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
    let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA" });
    (private.to_string(), public)
}

fn hexadecimal<const N: usize>(bytes: [u8; N]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
