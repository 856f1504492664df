//! Who somebody is: passwords, access tokens, and the keys that sign tokens and tickets.

mod eddsa;
pub mod password;

use crate::App;
use crate::http::Problem;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::access::Role;
use domain::ids::{SessionId, UserId};
use domain::tickets::{TICKET_TYPE, TicketClaims};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Seconds an access token is good for.
pub const ACCESS_SECONDS: i64 = 900;
/// Seconds by which a token's issue may lie in the future: clocks of two machines differ.
const SKEW_SECONDS: i64 = 60;
const ACCESS_TYPE: &str = "at+jwt";
const AUDIENCE: &str = "boxoffice";
const ISSUER: &str = "boxoffice";
/// Bytes of a token that is looked at; ours have some 400.
const TOKEN_BYTES_MAX: usize = 2048;

/// Who asks, as an access token says.
#[derive(Clone, Debug)]
pub struct Principal {
    pub user: UserId,
    pub roles: Vec<Role>,
}

/// The claims of an access token (RFC 9068).
#[derive(Debug, Serialize, Deserialize)]
struct AccessClaims {
    iss: String,
    aud: String,
    sub: UserId,
    iat: i64,
    exp: i64,
    sid: SessionId,
    roles: Vec<Role>,
}

/// A private key, as its secret holds it: `{"kid":"…","seed":"<base64url, 32 bytes>"}`. The `kid` begins with `token-`
/// or `ticket-`, which says what the key may sign.
#[derive(Deserialize)]
struct SigningKeySecret {
    kid: String,
    seed: String,
}

/// Public keys by `kid`, parsed once for each value of the secret that holds them.
#[derive(Clone, Default)]
pub struct KeyCache(Arc<Mutex<Option<ParsedKeys>>>);

/// The secret's value, and the keys in it.
type ParsedKeys = (Arc<str>, Arc<Keys>);

struct Keys {
    by_kid: HashMap<String, DecodingKey>,
    /// Access tokens whose signature was found good: a client sends the same one for a quarter of an hour.
    verified: Mutex<HashMap<String, Arc<AccessClaims>>>,
}

/// Tokens that are remembered; at so many it starts empty again.
const VERIFIED_TOKENS_MAX: usize = 10_000;

/// Signs an access token for this session.
pub async fn sign_access(app: &App, user: UserId, session: SessionId, roles: Vec<Role>) -> Result<String, Problem> {
    let iat = app.now().as_second();
    let (iss, aud) = (ISSUER.to_owned(), AUDIENCE.to_owned());
    let claims = AccessClaims { iss, aud, sub: user, iat, exp: iat + ACCESS_SECONDS, sid: session, roles };
    sign(app, "TOKEN_SIGNING_KEY", ACCESS_TYPE, &claims).await
}

/// The code of a ticket: a signed text that a gate can check offline.
pub async fn sign_ticket(app: &App, claims: &TicketClaims) -> Result<String, Problem> {
    sign(app, "TICKET_SIGNING_KEY", TICKET_TYPE, claims).await
}

/// The ticket that a code stands for, if we signed it.
pub async fn verify_ticket(app: &App, code: &str) -> Result<TicketClaims, Problem> {
    let keys = public_keys(app).await?;
    verify(&keys, code, TICKET_TYPE).ok_or_else(|| Problem::field("/code", "This is not a ticket of ours."))
}

pub(crate) async fn verify_access(app: &App, token: &str) -> Result<Principal, Problem> {
    let invalid = || Problem::unauthorized("token_invalid", "The access token is not valid.");
    let keys = public_keys(app).await?;
    let known = keys.verified.lock().expect("no panic holds this lock").get(token).cloned();
    let claims = match known {
        Some(claims) => claims,
        None => {
            let claims: AccessClaims = verify(&keys, token, ACCESS_TYPE).ok_or_else(invalid)?;
            let claims = Arc::new(claims);
            let mut verified = keys.verified.lock().expect("no panic holds this lock");
            if verified.len() >= VERIFIED_TOKENS_MAX {
                verified.clear();
            }
            verified.insert(token.to_owned(), claims.clone());
            claims
        }
    };
    let now = app.now().as_second();
    if claims.iss != ISSUER || claims.aud != AUDIENCE || claims.iat > now + SKEW_SECONDS {
        return Err(invalid());
    }
    if claims.exp <= now {
        return Err(Problem::unauthorized("token_expired", "The access token has expired. Refresh it."));
    }
    Ok(Principal { user: claims.sub, roles: claims.roles.clone() })
}

async fn sign(app: &App, key: &'static str, kind: &str, claims: &impl Serialize) -> Result<String, Problem> {
    eddsa::install();
    let secret = app.secret(key).await?;
    let broken = || Problem::internal(format!("the secret of {key} is not {{kid, seed}}"));
    let secret: SigningKeySecret = serde_json::from_str(&secret).map_err(|_| broken())?;
    let seed = URL_SAFE_NO_PAD.decode(&secret.seed).map_err(|_| broken())?;
    let header = Header { typ: Some(kind.to_owned()), kid: Some(secret.kid), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&seed)).map_err(|_| broken())
}

/// The claims of a token of this type, if its signature is by one of our keys; `None` for every other text.
fn verify<T: DeserializeOwned>(keys: &Keys, token: &str, kind: &str) -> Option<T> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    eddsa::install();
    let header = jsonwebtoken::decode_header(token).ok()?;
    let typed = header.typ.as_deref() == Some(kind) && header.alg == Algorithm::EdDSA;
    // Who holds the tickets' key must not be able to make access tokens with it.
    let kid = header.kid.filter(|kid| typed && kid.starts_with(key_prefix(kind)));
    let key = kid.and_then(|kid| keys.by_kid.get(&kid))?;
    // Times and the audience are checked by whoever asks: against the app's clock, and with a code for each.
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<T>(token, key, &validation).ok().map(|token| token.claims)
}

/// What the `kid` of a key begins with that may sign tokens of this type.
fn key_prefix(kind: &str) -> &'static str {
    if kind == TICKET_TYPE { "ticket-" } else { "token-" }
}

async fn public_keys(app: &App) -> Result<Arc<Keys>, Problem> {
    let secret = app.secret("PUBLIC_KEYS").await?;
    let mut cached = app.keys.0.lock().expect("no panic holds this lock");
    if let Some((value, keys)) = cached.as_ref()
        && Arc::ptr_eq(value, &secret)
    {
        return Ok(keys.clone());
    }
    let broken = || Problem::internal("the secret of PUBLIC_KEYS is not a JWK set of Ed25519 keys");
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&secret).map_err(|_| broken())?;
    let parsed = set.keys.iter().map(|jwk| {
        let kid = jwk.common.key_id.clone()?;
        Some((kid, DecodingKey::from_jwk(jwk).ok()?))
    });
    let by_kid: HashMap<_, _> = parsed.collect::<Option<_>>().ok_or_else(broken)?;
    let keys = Arc::new(Keys { by_kid, verified: Mutex::default() });
    *cached = Some((secret, keys.clone()));
    Ok(keys)
}
