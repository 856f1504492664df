//! Plans and promotions, beside the subscriptions that they are for: `pk = "plans"` and `pk = "promotions"`, both lists that
//! one page holds. What is counted of a promotion is an item of its own, since every redemption writes it; so is its use
//! by a person, and its code.

use super::{Db, Item, StoreError, failure, from_item, text, to_item};
use crate::App;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use domain::ids::{PlanId, PromotionId, UserId};
use domain::subscriptions::plans::Plan;
use domain::subscriptions::promotions::{Counted, Promotion, Release, Reserve};
use domain::subscriptions::{CardClaim, CardUse};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

const PLANS: &str = "plans";
const PROMOTIONS: &str = "promotions";
/// Plans, and promotions, that there may be, withdrawn and stopped ones included: one page.
pub const LISTED_MAX: usize = 200;

/// What is offered, and what lowers its price: items of the Subscriptions table.
#[derive(Clone)]
pub struct Offers(pub Db);

impl Offers {
    pub async fn plan(&self, id: PlanId) -> Result<Option<Plan>, StoreError> {
        self.0.get(PLANS.to_owned(), id.to_string()).await
    }

    pub async fn plans(&self) -> Result<Vec<Plan>, StoreError> {
        self.all(PLANS).await
    }

    /// Adds a plan, or gives back the one of this id that is there.
    pub async fn put_plan(&self, plan: &Plan) -> Result<Result<(), Plan>, StoreError> {
        self.0.put_new(plan_item(plan)).await
    }

    /// Writes the next version of a plan.
    pub async fn save_plan(&self, next: &Plan) -> Result<(), StoreError> {
        self.0.replace(plan_item(next), u64::from(next.version - 1)).await
    }

    pub async fn promotion(&self, id: PromotionId) -> Result<Option<Promotion>, StoreError> {
        self.0.get(PROMOTIONS.to_owned(), id.to_string()).await
    }

    pub async fn promotions(&self) -> Result<Vec<Promotion>, StoreError> {
        self.all(PROMOTIONS).await
    }

    /// The promotion of a code, as it is stored ([`domain::subscriptions::promotions::canonical_code`]).
    pub async fn promotion_of(&self, code: &str) -> Result<Option<Promotion>, StoreError> {
        #[derive(Deserialize)]
        struct Named {
            promotion: PromotionId,
        }
        let Some(Named { promotion }) = self.0.get(code_key(code), "code".to_owned()).await? else { return Ok(None) };
        self.promotion(promotion).await
    }

    /// Adds a promotion and its code; [`StoreError::Conflict`] if one of the two is there already.
    pub async fn put_promotion(&self, promotion: &Promotion) -> Result<(), StoreError> {
        let code = promotion.code.as_deref().map(|code| {
            let id = text(promotion.id.to_string());
            let item: Item = [("pk", text(code_key(code))), ("sk", text("code")), ("promotion", id)]
                .map(|(name, value)| (name.to_owned(), value))
                .into();
            self.0.new_item(item)
        });
        let parts: Vec<Put> =
            [self.0.new_item(promotion_item(promotion))].into_iter().chain(code).collect::<Result<_, _>>()?;
        self.0.transact(parts).await
    }

    /// Writes the next version of a promotion. Its code stays.
    pub async fn save_promotion(&self, next: &Promotion) -> Result<(), StoreError> {
        self.0.replace(promotion_item(next), next.v - 1).await
    }

    /// What has been counted of a promotion.
    pub async fn counted(&self, id: PromotionId) -> Result<Counted, StoreError> {
        Ok(self.0.get(id.to_string(), COUNT.to_owned()).await?.unwrap_or_default())
    }

    /// How often a person, or a card, has used a promotion.
    pub async fn used_by(&self, id: PromotionId, whose: UsedBy<'_>) -> Result<u8, StoreError> {
        #[derive(Deserialize)]
        struct Used {
            used: u8,
        }
        Ok(self.0.get::<Used>(id.to_string(), whose.key()).await?.map_or(0, |found| found.used))
    }

    /// What was used with a card: a trial, and these promotions.
    pub async fn card_use(&self, fingerprint: &str, promotions: &[PromotionId]) -> Result<CardUse, StoreError> {
        #[derive(Deserialize)]
        struct Marked {}
        let had_trial = self.0.get::<Marked>(card_key(fingerprint), TRIAL.to_owned()).await?.is_some();
        let mut used = Vec::with_capacity(promotions.len());
        for &promotion in promotions {
            used.push((promotion, self.used_by(promotion, UsedBy::Card(fingerprint)).await?));
        }
        Ok(CardUse { fingerprint: fingerprint.to_owned(), had_trial, used })
    }

    async fn all<T: DeserializeOwned>(&self, pk: &str) -> Result<Vec<T>, StoreError> {
        let request = self.0.client.query().table_name(self.0.table()?).consistent_read(true);
        let request = request.key_condition_expression("pk = :pk").expression_attribute_values(":pk", text(pk));
        let reply = request.limit(LISTED_MAX as i32).send().await.map_err(failure)?;
        reply.items.unwrap_or_default().into_iter().map(from_item).collect()
    }
}

impl App {
    /// All plans as they were a minute ago at most: good for showing, not for subscribing.
    pub async fn recent_plans(&self) -> Result<Arc<Vec<Plan>>, StoreError> {
        self.caches.plans.get((), self.now(), self.offers.plans()).await
    }
}

const COUNT: &str = "count";
/// The item that says that a subscriber, or a card, had a trial.
pub(super) const TRIAL: &str = "trial";

fn code_key(code: &str) -> String {
    format!("code#{code}")
}

fn card_key(fingerprint: &str) -> String {
    format!("card#{fingerprint}")
}

/// Whose use of a promotion is counted.
#[derive(Clone, Copy, Debug)]
pub enum UsedBy<'a> {
    Person(UserId),
    /// By its fingerprint.
    Card(&'a str),
}

impl UsedBy<'_> {
    fn key(self) -> String {
        match self {
            Self::Person(user) => format!("used#{user}"),
            Self::Card(fingerprint) => format!("used#card#{fingerprint}"),
        }
    }
}

fn plan_item(plan: &Plan) -> Item {
    let mut item = to_item(plan);
    item.insert("pk".into(), text(PLANS));
    item.insert("sk".into(), text(plan.id.to_string()));
    item.insert("v".into(), AttributeValue::N(plan.version.to_string()));
    item
}

fn promotion_item(promotion: &Promotion) -> Item {
    let mut item = to_item(promotion);
    item.insert("pk".into(), text(PROMOTIONS));
    item.insert("sk".into(), text(promotion.id.to_string()));
    item
}

/// The part of a transaction that counts a redemption, under the condition that neither number nor budget is exhausted.
pub(super) fn reserved(db: &Db, reserve: &Reserve) -> Result<TransactWriteItem, StoreError> {
    let mut conditions = Vec::new();
    let mut update = Update::builder()
        .table_name(db.table()?)
        .key("pk", text(reserve.promotion.to_string()))
        .key("sk", text(COUNT))
        .update_expression("ADD redemptions :one, reserved :amount")
        .expression_attribute_values(":one", integer(1))
        .expression_attribute_values(":amount", integer(reserve.amount));
    if let Some(most) = reserve.redemptions_max {
        conditions.push("(attribute_not_exists(redemptions) OR redemptions < :most)");
        update = update.expression_attribute_values(":most", integer(most.into()));
    }
    if let Some(budget) = reserve.budget_max {
        if reserve.amount > budget {
            return Err(StoreError::Conflict);
        }
        conditions.push("(attribute_not_exists(reserved) OR reserved <= :left)");
        update = update.expression_attribute_values(":left", integer(budget - reserve.amount));
    }
    let condition = (!conditions.is_empty()).then(|| conditions.join(" AND "));
    Ok(part(update.set_condition_expression(condition)))
}

/// The part of a transaction that counts a use, under the condition that there were fewer than `most`.
pub(super) fn used(
    db: &Db,
    promotion: PromotionId,
    whose: UsedBy<'_>,
    most: u8,
) -> Result<TransactWriteItem, StoreError> {
    let update = Update::builder()
        .table_name(db.table()?)
        .key("pk", text(promotion.to_string()))
        .key("sk", text(whose.key()))
        .update_expression("ADD #used :one")
        .expression_attribute_names("#used", "used")
        .condition_expression("attribute_not_exists(#used) OR #used < :most")
        .expression_attribute_values(":one", integer(1))
        .expression_attribute_values(":most", integer(most.into()));
    Ok(part(update))
}

/// The parts of a transaction that count for a card what begins with it.
pub(super) fn claimed(db: &Db, claim: &CardClaim) -> Result<Vec<TransactWriteItem>, StoreError> {
    let card = UsedBy::Card(&claim.fingerprint);
    let uses = claim.promotions.iter().map(|&(promotion, most)| used(db, promotion, card, most));
    let mut parts: Vec<_> = uses.collect::<Result<_, _>>()?;
    if claim.trial {
        let key = [("pk", text(card_key(&claim.fingerprint))), ("sk", text(TRIAL))];
        let item: Item = key.map(|(name, value)| (name.to_owned(), value)).into();
        parts.push(TransactWriteItem::builder().put(db.new_item(item)?).build());
    }
    Ok(parts)
}

/// The parts of a transaction that give back what was reserved.
pub(super) fn released(db: &Db, release: &Release, user: UserId) -> Result<Vec<TransactWriteItem>, StoreError> {
    let unused = if release.unused { -1 } else { 0 };
    let key = text(release.promotion.to_string());
    let count = Update::builder()
        .table_name(db.table()?)
        .key("pk", key.clone())
        .key("sk", text(COUNT))
        .update_expression("ADD redemptions :unused, reserved :amount")
        .expression_attribute_values(":unused", integer(unused))
        .expression_attribute_values(":amount", integer(-release.amount));
    if unused == 0 {
        return Ok(vec![part(count)]);
    }
    let person = Update::builder()
        .table_name(db.table()?)
        .key("pk", key)
        .key("sk", text(UsedBy::Person(user).key()))
        .update_expression("ADD #used :unused")
        .expression_attribute_names("#used", "used")
        .expression_attribute_values(":unused", integer(unused));
    Ok(vec![part(count), part(person)])
}

fn part(update: aws_sdk_dynamodb::types::builders::UpdateBuilder) -> TransactWriteItem {
    TransactWriteItem::builder().update(update.build().expect("table, key and expression are set")).build()
}

fn integer(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
