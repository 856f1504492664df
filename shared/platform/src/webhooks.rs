//! Webhooks both ways, as the Standard Webhooks specification 1.0.0 has them (<https://www.standardwebhooks.com>): who posts
//! signs `id.timestamp.body` with HMAC-SHA256, and says so in three headers.

use axum::http::{HeaderMap, HeaderName};
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What a webhook is known by, however often it is sent.
pub const ID: HeaderName = HeaderName::from_static("webhook-id");
/// When it is sent: seconds since 1970.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Signatures with spaces between them.
pub const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What a secret begins with, and the kind of signature that is ours.
const SECRET_PREFIX: &str = "whsec_";
const VERSION: &str = "v1";
/// Bytes of a secret (the specification: 192 to 512 bits).
const KEY_BYTES: RangeInclusive<usize> = 24..=64;
/// Seconds by which a webhook's time may differ from ours.
pub const TOLERANCE_SECONDS: u64 = 300;
/// Characters of a webhook's id.
const ID_CHARS_MAX: usize = 128;
/// Signatures that are looked at.
const SIGNATURES_MAX: usize = 16;

/// Base64 with or without the padding at its end: secrets are copied by hand.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What two sides sign with: `whsec_` and base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// A text that is no secret. It is not told which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is whsec_ and 24 to 64 bytes in base64")]
pub struct InvalidSecret;

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    #[error("webhook-id, webhook-timestamp or webhook-signature is missing or no such thing")]
    Headers,
    #[error("no signature is of this id, time and body by a secret that we share")]
    Signature,
    #[error("webhook-timestamp is more than five minutes away from our time")]
    Stale,
}

impl FromStr for Secret {
    type Err = InvalidSecret;
    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let key = text.strip_prefix(SECRET_PREFIX).and_then(|key| LENIENT.decode(key).ok());
        key.filter(|key| KEY_BYTES.contains(&key.len())).map(Self).ok_or(InvalidSecret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    fn mac(&self, id: &str, at: &str, body: &[u8]) -> Hmac<Sha256> {
        mac(&self.0, [id.as_bytes(), b".", at.as_bytes(), b".", body])
    }
}

/// The three headers of a webhook, with a signature by each secret.
pub fn sign(secrets: &[Secret], id: &str, at: Timestamp, body: &[u8]) -> [(HeaderName, String); 3] {
    let at = at.as_second().to_string();
    let signature = |secret: &Secret| {
        let code = secret.mac(id, &at, body).finalize().into_bytes();
        format!("{VERSION},{}", STANDARD.encode(code))
    };
    let signatures: Vec<_> = secrets.iter().map(signature).collect();
    [(ID, id.to_owned()), (TIMESTAMP, at), (SIGNATURE, signatures.join(" "))]
}

/// The id of a webhook that one of these secrets has signed, not longer than five minutes ago.
pub fn verify<'a>(
    secrets: &[Secret],
    headers: &'a HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<&'a str, NotBelieved> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(NotBelieved::Headers);
    let (id, at, signatures) = (text(ID)?, text(TIMESTAMP)?, text(SIGNATURE)?);
    let is_id = (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    // Nothing but digits: what is signed can be read in one way.
    let is_time = at.bytes().all(|byte| byte.is_ascii_digit());
    let second: i64 = at.parse().ok().filter(|_| is_id && is_time).ok_or(NotBelieved::Headers)?;
    let given = signatures.split(' ').filter_map(|one| one.strip_prefix(VERSION)?.strip_prefix(','));
    let given: Vec<_> = given.take(SIGNATURES_MAX).filter_map(|code| STANDARD.decode(code).ok()).collect();
    let is_of = |secret: &Secret| {
        let mac = secret.mac(id, at, body);
        given.iter().any(|code| mac.clone().verify_slice(code).is_ok())
    };
    if !secrets.iter().any(is_of) {
        return Err(NotBelieved::Signature);
    }
    if is_fresh(second, now) { Ok(id) } else { Err(NotBelieved::Stale) }
}

/// Whether a webhook of this second since 1970 may be of now.
pub fn is_fresh(second: i64, now: Timestamp) -> bool {
    now.as_second().abs_diff(second) <= TOLERANCE_SECONDS
}

/// The code of these parts, to be written or, in a time that says nothing of where it differs, compared.
pub fn mac<const N: usize>(key: &[u8], parts: [&[u8]; N]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.into_iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    /// What the specification's own libraries test themselves with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SECOND: i64 = 1_614_265_330;
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    const CODE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret(text: &str) -> Secret {
        text.parse().expect("it is a secret")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("it is an instant")
    }

    fn headers(id: &str, second: &str, signature: &str) -> HeaderMap {
        let text = |text: &str| HeaderValue::from_str(text).expect("it is a header's");
        [(ID, text(id)), (TIMESTAMP, text(second)), (SIGNATURE, text(signature))].into_iter().collect()
    }

    #[test]
    fn a_signature_is_the_specifications() {
        let signed = sign(&[secret(SECRET)], MESSAGE, at(SECOND), BODY);
        assert_eq!(signed.map(|(_, value)| value), [MESSAGE.to_owned(), SECOND.to_string(), CODE.to_owned()]);
        let other = secret("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let [.., (_, both)] = sign(&[other.clone(), secret(SECRET)], MESSAGE, at(SECOND), BODY);
        assert!(both.ends_with(&format!(" {CODE}")) && both.split(' ').count() == 2, "{both}");
        let headers = headers(MESSAGE, &SECOND.to_string(), &both);
        for secrets in [vec![secret(SECRET)], vec![other.clone()], vec![secret(SECRET), other]] {
            assert_eq!(verify(&secrets, &headers, BODY, at(SECOND)), Ok(MESSAGE), "one of several is enough");
        }
        assert_eq!(verify(&[], &headers, BODY, at(SECOND)), Err(NotBelieved::Signature));
    }

    #[test]
    fn only_what_is_signed_and_fresh_is_believed() {
        use NotBelieved::{Headers, Signature, Stale};
        let (zeros, long) = (format!("v1,{}=", "A".repeat(43)), "m".repeat(129));
        let many = format!("{}{CODE}", format!("{zeros} ").repeat(SIGNATURES_MAX));
        let time = SECOND.to_string();
        for (id, second, signature, body, now, expected) in [
            (MESSAGE, time.as_str(), CODE, BODY, SECOND + 300, Ok(MESSAGE)),
            (MESSAGE, &time, CODE, BODY, SECOND - 300, Ok(MESSAGE)),
            (MESSAGE, &time, &format!("{zeros} v2,x v1a,{CODE} v1, {CODE}"), BODY, SECOND, Ok(MESSAGE)),
            (MESSAGE, &time, CODE, BODY, SECOND + 301, Err(Stale)),
            (MESSAGE, &time, CODE, BODY, SECOND - 301, Err(Stale)),
            (MESSAGE, &time, CODE, &BODY[1..], SECOND, Err(Signature)),
            ("msg_p5jXN8AQM9LWM0D4loKWxJel", &time, CODE, BODY, SECOND, Err(Signature)),
            (MESSAGE, "1614265331", CODE, BODY, SECOND, Err(Signature)),
            (MESSAGE, &time, &zeros, BODY, SECOND, Err(Signature)),
            (MESSAGE, &time, &CODE[..20], BODY, SECOND, Err(Signature)),
            (MESSAGE, &time, &CODE.replacen("v1", "v2", 1), BODY, SECOND, Err(Signature)),
            (MESSAGE, &time, &CODE[3..], BODY, SECOND, Err(Signature)),
            (MESSAGE, &time, "v1,", BODY, SECOND, Err(Signature)),
            (MESSAGE, &time, &many, BODY, SECOND, Err(Signature)),
            (MESSAGE, "+1614265330", CODE, BODY, SECOND, Err(Headers)),
            (MESSAGE, "now", CODE, BODY, SECOND, Err(Headers)),
            (MESSAGE, "", CODE, BODY, SECOND, Err(Headers)),
            (MESSAGE, "99999999999999999999", CODE, BODY, SECOND, Err(Headers)),
            ("", &time, CODE, BODY, SECOND, Err(Headers)),
            ("msg 1", &time, CODE, BODY, SECOND, Err(Headers)),
            (&long, &time, CODE, BODY, SECOND, Err(Headers)),
        ] {
            let headers = headers(id, second, signature);
            assert_eq!(verify(&[secret(SECRET)], &headers, body, at(now)), expected, "{id} {second} {signature} {now}");
        }
        for name in [ID, TIMESTAMP, SIGNATURE] {
            let mut headers = headers(MESSAGE, &time, CODE);
            headers.remove(&name);
            assert_eq!(verify(&[secret(SECRET)], &headers, BODY, at(SECOND)), Err(Headers), "without {name}");
        }
    }

    #[test]
    fn a_secret_is_long_enough_and_never_shown() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for bytes in [24, 32, 33, 64] {
            assert_eq!(secret(&of(bytes)), secret(of(bytes).trim_end_matches('=')));
        }
        for wrong in ["", "whsec_", &SECRET[6..], "whsec_not base64", &of(23), &of(65)] {
            assert_eq!(wrong.parse::<Secret>(), Err(InvalidSecret), "{wrong}");
        }
        assert_eq!(format!("{:?}", secret(SECRET)), "Secret");
    }
}
