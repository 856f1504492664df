//! Who is offered what, beside the promotions: the segments that marketing put somebody into, and the codes that somebody
//! tried. One item each of a subscriber's: `pk = subscriber`, `sk = "segments" | "tries"`.

use super::{Offers, StoreError, failure, text};
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ids::UserId;
use serde::Deserialize;

const SEGMENTS: &str = "segments";
const TRIES: &str = "tries";

impl Offers {
    /// The names of the segments that somebody is in.
    pub async fn segments_of(&self, user: UserId) -> Result<Vec<String>, StoreError> {
        #[derive(Deserialize)]
        struct Segments {
            names: Vec<String>,
        }
        let found = self.0.get::<Segments>(user.to_string(), SEGMENTS.to_owned()).await?;
        Ok(found.map_or_else(Vec::new, |found| found.names))
    }

    /// Puts somebody into these segments and no others.
    pub async fn set_segments(&self, user: UserId, names: &[String]) -> Result<(), StoreError> {
        let request = self.0.client.put_item().table_name(self.0.table()?);
        let request = request.item("pk", text(user.to_string())).item("sk", text(SEGMENTS));
        let names = AttributeValue::L(names.iter().map(text).collect());
        request.item("names", names).send().await.map_err(failure)?;
        Ok(())
    }

    /// Counts a code that somebody tries in this hour, if that is not more than `most`; whether it was counted.
    pub async fn count_code_try(&self, user: UserId, hour: i64, most: u32) -> Result<bool, StoreError> {
        let again = "#hour = :hour AND tries < :most";
        if self.write_tries(user, hour, "SET tries = tries + :one", again, Some(most)).await? {
            return Ok(true);
        }
        let first = "attribute_not_exists(pk) OR #hour < :hour";
        self.write_tries(user, hour, "SET tries = :one, #hour = :hour", first, None).await
    }

    /// Takes back one try of this hour: what was tried is a code.
    pub async fn forgive_code_try(&self, user: UserId, hour: i64) -> Result<(), StoreError> {
        self.write_tries(user, hour, "SET tries = tries - :one", "#hour = :hour", None).await.map(drop)
    }

    /// Writes the count; false where the condition does not hold.
    async fn write_tries(
        &self,
        user: UserId,
        hour: i64,
        update: &str,
        condition: &str,
        most: Option<u32>,
    ) -> Result<bool, StoreError> {
        let number = |value: i64| AttributeValue::N(value.to_string());
        let request = self.0.client.update_item().table_name(self.0.table()?);
        let request = request.key("pk", text(user.to_string())).key("sk", text(TRIES));
        let mut request = request.update_expression(update).condition_expression(condition);
        request = request.expression_attribute_names("#hour", "hour");
        for (name, value) in [(":one", Some(1)), (":hour", Some(hour)), (":most", most.map(i64::from))] {
            if let Some(value) = value {
                request = request.expression_attribute_values(name, number(value));
            }
        }
        match request.send().await.map_err(failure) {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
