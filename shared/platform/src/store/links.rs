//! How chats are linked, and what their messenger has told of: items of the Notices table that pass by themselves.
//!
//! `pk = "link#" + SHA-256 of the token`, `sk = "link"` is a link that somebody asked for; the token is not kept.
//! `pk = "update#" + messenger + "#" + id`, `sk = "update"` is an update that was worked on, with what it was answered.

use super::{Db, Item, StoreError, failure, number, text, to_item};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::chats::ChatRef;
use domain::ids::UserId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const LINK: &str = "link";
const UPDATE: &str = "update";
/// Seconds for which a link is kept when it is over, so that its button can be told why it does nothing.
const LINK_KEPT_SECONDS: i64 = 24 * 3_600;

/// The links that accounts asked for.
#[derive(Clone)]
pub struct Links(pub Db);

/// A link from an account to a chat that is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// SHA-256 of its token.
    pub hash: String,
    pub user: UserId,
    pub messenger: String,
    pub expires_at: Timestamp,
    /// The chat that took it, whose it is from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatRef>,
    /// The chat is linked: there is nothing left to do with it.
    pub done: bool,
    pub v: u64,
}

impl Link {
    /// A link of this token, which nobody has used.
    pub fn new(token: &str, user: UserId, messenger: &str, expires_at: Timestamp) -> Self {
        let messenger = messenger.to_owned();
        Self { hash: hash(token), user, messenger, expires_at, chat: None, done: false, v: 1 }
    }
}

impl Links {
    pub async fn put_new(&self, link: &Link) -> Result<(), StoreError> {
        match self.0.put_new::<Link>(link_item(link)).await? {
            Ok(()) => Ok(()),
            Err(_) => Err(StoreError::Conflict),
        }
    }

    /// The link of a token, over or not.
    pub async fn get(&self, token: &str) -> Result<Option<Link>, StoreError> {
        self.0.get(format!("link#{}", hash(token)), LINK.to_owned()).await
    }

    /// Writes the next version of a link; [`StoreError::Conflict`] if somebody else wrote it meanwhile.
    pub async fn save(&self, next: &Link) -> Result<(), StoreError> {
        self.0.replace(link_item(next), next.v - 1).await
    }

    /// What an update was answered, if it was worked on.
    pub async fn answered(&self, messenger: &str, update: &str) -> Result<Option<String>, StoreError> {
        #[derive(Deserialize)]
        struct Answered {
            answer: String,
        }
        let found = self.0.get::<Answered>(update_key(messenger, update), UPDATE.to_owned()).await?;
        Ok(found.map(|found| found.answer))
    }

    /// Notes that an update was worked on. The first answer stays.
    pub async fn note_answered(
        &self,
        messenger: &str,
        update: &str,
        answer: &str,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let request = self.0.client.put_item().table_name(self.0.table()?);
        let request = request.item("pk", text(update_key(messenger, update))).item("sk", text(UPDATE));
        let request = request.item("answer", text(answer)).item("ttl", seconds(until));
        let request = request.condition_expression("attribute_not_exists(pk)");
        match request.send().await.map_err(failure) {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

fn update_key(messenger: &str, update: &str) -> String {
    format!("update#{messenger}#{update}")
}

fn seconds(at: Timestamp) -> aws_sdk_dynamodb::types::AttributeValue {
    number(u64::try_from(at.as_second()).unwrap_or(0))
}

fn link_item(link: &Link) -> Item {
    let mut item = to_item(link);
    item.insert("pk".into(), text(format!("link#{}", link.hash)));
    item.insert("sk".into(), text(LINK));
    item.insert("ttl".into(), seconds(link.expires_at + jiff::SignedDuration::from_secs(LINK_KEPT_SECONDS)));
    item
}
