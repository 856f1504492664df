//! The tables, a file a capability: keys, item shapes and conditions are nowhere else.

mod accounts;
mod alerts;
mod audience;
mod catalog;
mod chats;
mod desk;
mod due;
mod ledger;
mod links;
mod notices;
mod orders;
mod promotions;
mod seats;
mod subscriptions;

pub use accounts::{Account, Accounts, Session, email_key};
pub use alerts::{Alerts, Walks};
pub use catalog::{Catalog, MONTH_EVENTS_MAX, Made, event_cursor, month_of};
pub use chats::Chats;
pub use desk::{Desk, is_report_cursor};
pub use ledger::{LEDGER_SHARDS, Ledger};
pub use links::{Link, Links};
pub use notices::{Claim, Ended, Message, Notices, Pace, Receipt, notice_cursor};
pub use orders::Orders;
pub use promotions::{LISTED_MAX, Offers, UsedBy};
pub use seats::{Locked, Own, Seats};
pub use subscriptions::{DueItem, Subscriptions};

use crate::config::Missing;
use crate::telemetry;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, Put, TransactWriteItem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// An item as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// Why a table did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The condition of the write did not hold: somebody else wrote first.
    #[error("the item was changed meanwhile")]
    Conflict,
    /// Throttled, or in the way of another write: the last attempt was not done. One before it may have been, where that
    /// had no answer: look, before relying on it.
    #[error("the table is busy: {0}")]
    Throttled(String),
    /// No answer, or one that says nothing: it may or may not have been done, and may yet be.
    #[error("the table does not answer: {0}")]
    Busy(String),
    #[error("the table failed: {0}")]
    Failed(String),
}

/// One table of this function.
#[derive(Clone)]
pub struct Db {
    client: Client,
    table: Result<String, Missing>,
}

impl Db {
    pub fn new(client: Client, table: Result<&str, Missing>) -> Self {
        Self { client, table: table.map(str::to_owned) }
    }

    fn table(&self) -> Result<&str, StoreError> {
        Ok(self.table.as_ref().map_err(Clone::clone)?)
    }

    /// Reads one item, consistently.
    async fn get<T: DeserializeOwned>(&self, pk: String, sk: String) -> Result<Option<T>, StoreError> {
        let request = self.client.get_item().table_name(self.table()?).consistent_read(true);
        let reply = request.key("pk", text(pk)).key("sk", text(sk)).send().await.map_err(failure)?;
        reply.item.map(from_item).transpose()
    }

    /// Writes a new item. Gives back the item that was there already, if one was: then nothing is written.
    async fn put_new<T: DeserializeOwned>(&self, item: Item) -> Result<Result<(), T>, StoreError> {
        use aws_sdk_dynamodb::operation::put_item::PutItemError as E;
        use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
        let request = self.client.put_item().table_name(self.table()?).set_item(Some(item));
        let request = request.condition_expression("attribute_not_exists(pk)");
        match request.return_values_on_condition_check_failure(AllOld).send().await {
            Ok(_) => Ok(Ok(())),
            Err(SdkError::ServiceError(error)) if matches!(error.err(), E::ConditionalCheckFailedException(_)) => {
                let E::ConditionalCheckFailedException(failed) = error.into_err() else { unreachable!("it was one") };
                Ok(Err(from_item(failed.item.unwrap_or_default())?))
            }
            Err(error) => Err(failure(error)),
        }
    }

    /// Replaces an item whose version is `v`.
    async fn replace(&self, item: Item, v: u64) -> Result<(), StoreError> {
        let request = self.client.put_item().table_name(self.table()?).set_item(Some(item));
        let request = request.condition_expression("v = :v").expression_attribute_values(":v", number(v));
        request.send().await.map_err(failure)?;
        Ok(())
    }

    /// The part of a transaction that writes a new item.
    fn new_item(&self, item: Item) -> Result<Put, StoreError> {
        let put = Put::builder().table_name(self.table()?).set_item(Some(item));
        Ok(put.condition_expression("attribute_not_exists(pk)").build().expect("table and item are set"))
    }

    /// The part of a transaction that replaces an item whose version is `v`.
    fn replaced_item(&self, item: Item, v: u64) -> Result<Put, StoreError> {
        let put = Put::builder().table_name(self.table()?).set_item(Some(item)).condition_expression("v = :v");
        Ok(put.expression_attribute_values(":v", number(v)).build().expect("table and item are set"))
    }

    /// Writes several items, all or none.
    async fn transact(&self, puts: impl IntoIterator<Item = Put>) -> Result<(), StoreError> {
        let parts = puts.into_iter().map(|put| TransactWriteItem::builder().put(put).build());
        self.transact_all(parts.collect()).await
    }

    /// Does several writes, all or none.
    async fn transact_all(&self, parts: Vec<TransactWriteItem>) -> Result<(), StoreError> {
        use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError as E;
        let request = self.client.transact_write_items().set_transact_items(Some(parts));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(error)) => match error.err() {
                E::TransactionCanceledException(cancelled) => Err(cancelled_for(cancelled.cancellation_reasons())),
                _ => Err(failure(SdkError::ServiceError(error))),
            },
            Err(error) => Err(failure(error)),
        }
    }
}

/// Why a transaction was cancelled: a condition wins over what may pass by itself.
fn cancelled_for(reasons: &[CancellationReason]) -> StoreError {
    let codes: Vec<&str> = reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None").collect();
    let passing = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    if codes.contains(&"ConditionalCheckFailed") {
        StoreError::Conflict
    } else if codes.iter().all(|code| passing.contains(code)) {
        StoreError::Throttled(codes.join(", "))
    } else {
        StoreError::Failed(codes.join(", "))
    }
}

fn failure<E: ProvideErrorMetadata, R>(error: SdkError<E, R>) -> StoreError {
    let throttled = [
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "TransactionConflictException",
    ];
    let unknown = ["TransactionInProgressException", "InternalServerError", "ServiceUnavailable"];
    match error.code() {
        Some("ConditionalCheckFailedException") => StoreError::Conflict,
        Some(code) if throttled.contains(&code) => StoreError::Throttled(code.to_owned()),
        Some(code) if unknown.contains(&code) => StoreError::Busy(code.to_owned()),
        None if is_unanswered(&error) => StoreError::Busy(telemetry::cause(&error)),
        _ => StoreError::Failed(telemetry::cause(&error)),
    }
}

fn is_unanswered<E, R>(error: &SdkError<E, R>) -> bool {
    matches!(error, SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_))
}

fn to_item(value: &impl Serialize) -> Item {
    serde_dynamo::to_item(value).expect("stored shapes are maps of plain values")
}

fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, StoreError> {
    serde_dynamo::from_item(item).map_err(|error| StoreError::Failed(format!("an item is not of its shape: {error}")))
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
