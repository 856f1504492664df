//! Passwords: Argon2id with the parameters of OWASP's Password Storage Cheat Sheet (19 MiB, 2 passes, 1 lane).

use crate::App;
use crate::http::Problem;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::LazyLock;

/// Characters of a password.
pub const PASSWORD_CHARS_MIN: usize = 8;
pub const PASSWORD_CHARS_MAX: usize = 128;
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes that run at once in one process: each takes 19 MiB and tens of milliseconds.
static SLOTS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(4);

/// The hash of no password: checked where there is no such account, so that both answers take the same time.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now("", &[0; 16]).expect("fixed parameters are valid"));

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("fixed parameters are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash_now(password: &str, salt: &[u8; 16]) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::encode_b64(salt)?;
    Ok(argon2().hash_password(password.as_bytes(), &salt)?.to_string())
}

/// The hash to keep, in the PHC string format.
pub async fn hash(app: &App, password: String) -> Result<String, Problem> {
    let salt = app.rng.bytes();
    work(move || hash_now(&password, &salt)).await?.map_err(|error| Problem::internal(error.to_string()))
}

/// Whether this is the password of the hash; false for `None`, in the same time.
pub async fn verify(password: String, hash: Option<String>) -> Result<bool, Problem> {
    work(move || {
        let text = hash.as_deref().unwrap_or(&NOBODY);
        let parsed = PasswordHash::new(text);
        let matches = parsed.is_ok_and(|parsed| argon2().verify_password(password.as_bytes(), &parsed).is_ok());
        matches && hash.is_some()
    })
    .await
}

async fn work<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let _slot = SLOTS.acquire().await.expect("the semaphore is never closed");
    tokio::task::spawn_blocking(job).await.map_err(|error| Problem::internal(error.to_string()))
}
