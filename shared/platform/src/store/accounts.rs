//! Accounts: `pk = user`, `sk = "user" | session`; `pk = "email#" + address`, `sk = "email"` makes an address unique.

use super::{Db, StoreError, failure, text, to_item};
use aws_sdk_dynamodb::types::AttributeValue;
use domain::access::Role;
use domain::ids::{SessionId, UserId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone)]
pub struct Accounts(pub Db);

/// Somebody with a password.
#[derive(Clone, Serialize, Deserialize)]
pub struct Account {
    pub id: UserId,
    /// As it was typed; the unique form is [`email_key`].
    pub email: String,
    pub name: String,
    /// A BCP 47 language tag, `en` or `ru`.
    pub locale: String,
    /// Argon2id, as a PHC string.
    pub password_hash: String,
    pub roles: Vec<Role>,
    pub created_at: Timestamp,
    pub v: u64,
}

/// A chain of refresh tokens. Only hashes are kept.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    pub user: UserId,
    pub id: SessionId,
    /// SHA-256 of the secret of the one token that is good now.
    pub secret_hash: String,
    pub expires_at: Timestamp,
    pub v: u64,
}

/// The unique form of an address.
pub fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}

#[derive(Deserialize)]
struct EmailClaim {
    user: UserId,
}

impl Accounts {
    pub async fn get(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.0.get(id.to_string(), "user".into()).await
    }

    pub async fn by_email(&self, email: &str) -> Result<Option<Account>, StoreError> {
        let claim: Option<EmailClaim> = self.0.get(format!("email#{}", email_key(email)), "email".into()).await?;
        match claim {
            Some(claim) => self.get(claim.user).await,
            None => Ok(None),
        }
    }

    /// Writes a new account and claims its address; [`StoreError::Conflict`] if either is there.
    pub async fn put_new(&self, account: &Account) -> Result<(), StoreError> {
        let claim = [
            ("pk", format!("email#{}", email_key(&account.email))),
            ("sk", "email".to_owned()),
            ("user", account.id.to_string()),
        ];
        let claim = claim.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect();
        let puts = [self.0.new_item(account_item(account))?, self.0.new_item(claim)?];
        self.0.transact(puts).await
    }

    /// Writes the next version of an account.
    pub async fn save(&self, next: &Account) -> Result<(), StoreError> {
        self.0.replace(account_item(next), next.v - 1).await
    }

    pub async fn session(&self, user: UserId, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.0.get(user.to_string(), id.to_string()).await
    }

    pub async fn put_session(&self, session: &Session) -> Result<(), StoreError> {
        match self.0.put_new::<Session>(session_item(session)).await? {
            Ok(()) => Ok(()),
            Err(_) => Err(StoreError::Conflict),
        }
    }

    /// Writes the next version of a session.
    pub async fn save_session(&self, next: &Session) -> Result<(), StoreError> {
        self.0.replace(session_item(next), next.v - 1).await
    }

    /// Ends a session; one that is not there is ended.
    pub async fn end_session(&self, user: UserId, id: SessionId) -> Result<(), StoreError> {
        let request = self.0.client.delete_item().table_name(self.0.table()?);
        request.key("pk", text(user.to_string())).key("sk", text(id.to_string())).send().await.map_err(failure)?;
        Ok(())
    }
}

fn account_item(account: &Account) -> super::Item {
    let mut item = to_item(account);
    item.insert("pk".into(), text(account.id.to_string()));
    item.insert("sk".into(), text("user"));
    item
}

fn session_item(session: &Session) -> super::Item {
    let mut item = to_item(session);
    item.insert("pk".into(), text(session.user.to_string()));
    item.insert("sk".into(), text(session.id.to_string()));
    item.insert("ttl".into(), AttributeValue::N(session.expires_at.as_second().to_string()));
    item
}
