//! Chats: `pk = "chat#" + chat`, `sk = "chat"` is a chat and says whose it is; `pk = user`, `sk = "chat#" + chat` is on its
//! account's list.

use super::{Db, Item, StoreError, failure, from_item, text, to_item};
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use domain::chats::{CHATS_MAX, Chat, ChatRef};
use domain::ids::UserId;
use serde::Deserialize;

/// The chats that accounts are linked with: items of the Notices table.
#[derive(Clone)]
pub struct Chats(pub Db);

impl Chats {
    pub async fn get(&self, at: &ChatRef) -> Result<Option<Chat>, StoreError> {
        self.0.get(key(at), CHAT.to_owned()).await
    }

    /// The chats of an account.
    pub async fn of_user(&self, user: UserId) -> Result<Vec<Chat>, StoreError> {
        #[derive(Deserialize)]
        struct Listed {
            at: ChatRef,
        }
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true);
        let request = request.key_condition_expression("pk = :pk AND begins_with(sk, :chat)");
        let request = request.expression_attribute_values(":pk", text(user.to_string()));
        let request = request.expression_attribute_values(":chat", text("chat#")).limit(CHATS_MAX as i32);
        let mut chats = Vec::new();
        for item in request.send().await.map_err(failure)?.items.unwrap_or_default() {
            let Listed { at } = from_item(item)?;
            chats.extend(self.get(&at).await?.filter(|chat| chat.user == user));
        }
        Ok(chats)
    }

    /// Writes a chat that its person has linked; `before` is what was there, maybe with another account, which loses it.
    /// [`StoreError::Conflict`] if somebody else wrote it since.
    pub async fn link(&self, next: &Chat, before: Option<&Chat>) -> Result<(), StoreError> {
        let put = match before {
            Some(before) => self.0.replaced_item(chat_item(next), before.v)?,
            None => self.0.new_item(chat_item(next))?,
        };
        let mut parts = vec![TransactWriteItem::builder().put(put).build()];
        let listed = Put::builder().table_name(self.0.table()?).set_item(Some(listed_item(next)));
        parts.push(TransactWriteItem::builder().put(listed.build().expect("table and item are set")).build());
        let lost = before.filter(|before| before.user != next.user);
        parts.extend(lost.map(|lost| self.unlisted(lost)).transpose()?);
        self.0.transact_all(parts).await
    }

    /// Writes the next version of a chat of the same account.
    pub async fn save(&self, next: &Chat) -> Result<(), StoreError> {
        self.0.replace(chat_item(next), next.v - 1).await
    }

    /// Forgets a chat.
    pub async fn unlink(&self, chat: &Chat) -> Result<(), StoreError> {
        let delete = Delete::builder().table_name(self.0.table()?).condition_expression("v = :v");
        let delete = delete.expression_attribute_values(":v", super::number(chat.v));
        let delete =
            delete.key("pk", text(key(&chat.at))).key("sk", text(CHAT)).build().expect("table and key are set");
        self.0.transact_all(vec![TransactWriteItem::builder().delete(delete).build(), self.unlisted(chat)?]).await
    }

    fn unlisted(&self, chat: &Chat) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder().table_name(self.0.table()?).key("pk", text(chat.user.to_string()));
        let delete = delete.key("sk", text(key(&chat.at))).build().expect("table and key are set");
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

const CHAT: &str = "chat";

fn key(at: &ChatRef) -> String {
    format!("chat#{at}")
}

fn chat_item(chat: &Chat) -> Item {
    let mut item = to_item(chat);
    item.insert("pk".into(), text(key(&chat.at)));
    item.insert("sk".into(), text(CHAT));
    item
}

fn listed_item(chat: &Chat) -> Item {
    let (pk, sk) = (text(chat.user.to_string()), text(key(&chat.at)));
    [("pk", pk), ("sk", sk), ("at", text(chat.at.to_string()))].map(|(name, value)| (name.to_owned(), value)).into()
}
