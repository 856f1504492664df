//! `Idempotency-Key`: the first answer to a key is the answer to it for a day.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::form::Form;
use crate::objects::{Charge, Customer, Dispute, Intent, Kind, Method, Object, Refund, Setup, Txn, render};

const KEY_CHARS_MAX: usize = 255;
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;
const KEYS_MAX: usize = 500_000;

/// What was answered: a whole body, or an object as it was then, which takes a third of the room.
#[derive(Serialize, Deserialize)]
pub(crate) enum Kept {
    Body(Box<str>),
    Object(Kind, Box<str>),
}

/// The first answer to a key.
#[derive(Serialize, Deserialize)]
pub(crate) struct Replay {
    pub(crate) at_ms: i64,
    /// Until then the first call is still under way.
    pub(crate) ready_ms: i64,
    pub(crate) fingerprint: [u64; 2],
    pub(crate) path: Box<str>,
    pub(crate) status: u16,
    pub(crate) kept: Kept,
}

/// All keys of the last day.
#[derive(Default)]
pub(crate) struct Replays {
    by_key: HashMap<Arc<str>, Replay>,
    oldest_first: VecDeque<Arc<str>>,
}

impl Replays {
    /// The answer to give again, if this key has one. Errors: the key is too long, in use, or came with something else.
    pub(crate) fn find(
        &self,
        key: &str,
        path: &str,
        fingerprint: [u64; 2],
        now_ms: i64,
    ) -> Result<Option<&Replay>, ApiError> {
        if key.chars().count() > KEY_CHARS_MAX {
            let message = format!("Idempotency-Key is too long: it can have up to {KEY_CHARS_MAX} characters.");
            return Err(ApiError::idempotency(message));
        }
        let Some(replay) = self.by_key.get(key).filter(|replay| now_ms - replay.at_ms < KEPT_MS) else {
            return Ok(None);
        };
        if *replay.path != *path {
            return Err(ApiError::idempotency(format!(
                "Keys for idempotent requests can only be used for the same endpoint they were first used for \
                 ('{path}' vs '{}'). Try using a key other than '{key}' if you meant to execute a different request.",
                replay.path
            )));
        }
        if replay.fingerprint != fingerprint {
            return Err(ApiError::idempotency(format!(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
                 using a key other than '{key}' if you meant to execute a different request."
            )));
        }
        if now_ms < replay.ready_ms {
            let message = format!(
                "There is currently another in-progress request using this Stripe Idempotency-Key (that probably means \
                 you submitted twice, and the other request is still going through): {key}. Please try again later."
            );
            return Err(ApiError::refused(409, message).code("idempotency_key_in_use"));
        }
        Ok(Some(replay))
    }

    pub(crate) fn insert(&mut self, key: String, replay: Replay) {
        let key: Arc<str> = key.into();
        if self.by_key.insert(Arc::clone(&key), replay).is_none() {
            self.oldest_first.push_back(key);
        }
    }

    /// Takes out a key that is too old, or one too many; call it until there is none.
    pub(crate) fn expired(&mut self, now_ms: i64) -> Option<Arc<str>> {
        let oldest = self.by_key.get(self.oldest_first.front()?)?;
        if now_ms - oldest.at_ms < KEPT_MS && self.by_key.len() <= KEYS_MAX {
            return None;
        }
        let key = self.oldest_first.pop_front()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

impl Kept {
    /// The body as it was sent first.
    pub(crate) fn body(&self) -> serde_json::Result<serde_json::Value> {
        match self {
            Kept::Body(body) => serde_json::from_str(body),
            Kept::Object(kind, compact) => match kind {
                Kind::Intent => again::<Intent>(compact),
                Kind::Charge => again::<Charge>(compact),
                Kind::Refund => again::<Refund>(compact),
                Kind::Customer => again::<Customer>(compact),
                Kind::Setup => again::<Setup>(compact),
                Kind::Method => again::<Method>(compact),
                Kind::Txn => again::<Txn>(compact),
                Kind::Dispute => again::<Dispute>(compact),
            },
        }
    }
}

fn again<T: Object>(compact: &str) -> serde_json::Result<serde_json::Value> {
    Ok(render(&serde_json::from_str::<T>(compact)?))
}

/// What two calls with the same key are compared by: their parameters, in any order.
pub(crate) fn fingerprint(form: &Form) -> [u64; 2] {
    let hash = Sha256::digest(form.canonical());
    let word = |at: usize| u64::from_be_bytes(hash[at..at + 8].try_into().expect("eight bytes"));
    // JSON numbers beyond 2^53 are exact in serde_json.
    [word(0), word(8)]
}
