//! Promotions: codes and automatic offers that lower the first payments of a plan. Their counters are conditional writes of a
//! store; what each must reserve and give back is said here.

use super::plans::{Billing, Names, PlanRef, Terms};
use crate::catalog::NAME_CHARS_MAX;
use crate::ids::{PlanId, PromotionId};
use crate::layout::Invalid;
use crate::money::{BasisPoints, Currency, Money, PRICE_MINOR_UNITS_MAX};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub const CODE_CHARS_MIN: usize = 4;
pub const CODE_CHARS_MAX: usize = 32;
/// Payments that one promotion may lower.
pub const PERIODS_MAX: u8 = 36;
pub const PLANS_MAX: usize = 50;
pub const SEGMENT_CHARS_MAX: usize = 64;
/// Promotions that one subscription may combine.
pub const STACKED_MAX: usize = 4;
/// Unknown codes that one person, and one address, may try in an hour.
pub const CODE_TRIES_AN_HOUR_MAX: u32 = 10;

/// What each of the first payments is lowered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gift {
    Percent(BasisPoints),
    Amount(Money),
    /// So many months for nothing; of a term that is paid for at once, the price of as many of its months.
    FreeMonths(u8),
}

/// Who it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    Everyone,
    /// Who never had a subscription.
    New,
    /// Who had one, and has none.
    Lapsed,
    /// Who marketing put into a segment of this name.
    Segment(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    pub id: PromotionId,
    pub v: u64,
    pub name: Names,
    /// In capitals and digits; without one it is an automatic offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub gift: Gift,
    /// How many of the first payments it lowers; of free months, 1.
    pub periods: u8,
    /// None for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<PlanId>,
    pub from: Timestamp,
    pub until: Timestamp,
    pub audience: Audience,
    pub per_person_max: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redemptions_max: Option<u32>,
    /// The most that it may cost in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    #[serde(default)]
    pub stackable: bool,
    #[serde(default)]
    pub stopped: bool,
    /// A digest of the request that made it, by which a repeated key with other contents is known.
    #[serde(default)]
    pub request: String,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// How often they have used it. The card that they pay with counts once it is known.
    pub used: u8,
    pub past: Past,
    pub segments: &'a [String],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    Never,
    Had,
    Has,
}

/// What the store has counted of a promotion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    pub redemptions: u32,
    /// Minor units of the budget's currency that are reserved or spent.
    pub reserved: i64,
}

/// Why a promotion does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    #[error("there is no such code")]
    Unknown,
    #[error("the promotion ended at {0}")]
    Expired(Timestamp),
    #[error("the promotion begins at {0}")]
    NotYet(Timestamp),
    #[error("the promotion is exhausted")]
    Exhausted,
    #[error("you have used this promotion already")]
    UsedAlready,
    #[error("this promotion is not for you")]
    NotForYou,
    #[error("the promotion is in {0}")]
    OtherCurrency(Currency),
    #[error("the promotion is for other plans")]
    OtherPlan,
    #[error("the promotion cannot be combined with another")]
    NotStackable,
}

/// A promotion that a subscription has, with what it keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    pub promotion: PromotionId,
    pub gift: Gift,
    /// Payments that it still lowers.
    pub left: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<PlanId>,
    /// Minor units that are reserved of its budget, and not spent.
    #[serde(default)]
    pub reserved: i64,
    #[serde(default)]
    pub stackable: bool,
    /// How often one person, or one card, may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_person_max: Option<u8>,
}

/// What a store must do in the transaction that grants a promotion, under the condition that `counted.redemptions <
/// redemptions_max`, that `counted.reserved <= budget_max - amount`, and that the person's count is below `per_person_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    pub promotion: PromotionId,
    pub amount: i64,
    pub redemptions_max: Option<u32>,
    pub budget_max: Option<i64>,
    pub per_person_max: u8,
}

/// What a store must give back, without a condition, in the transaction that ends what was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub promotion: PromotionId,
    /// Minor units of the budget that were not spent.
    pub amount: i64,
    /// Whether it was never used at all, so that the redemption and the person's use count no more.
    pub unused: bool,
}

/// A price with what lowered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discounted {
    pub price: Money,
    /// Minor units that each promotion took off.
    pub parts: Vec<(PromotionId, i64)>,
}

/// A code as people type it, as it is stored: capitals, without blanks and dashes.
pub fn canonical_code(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .flat_map(char::to_uppercase)
        .take(CODE_CHARS_MAX + 1)
        .collect()
}

impl Gift {
    /// What it takes off a price: never more than all of it, rounded up, for the subscriber.
    fn off(self, price: Money, billing: Billing) -> i64 {
        match self {
            Self::Percent(share) => price.share_up(share).amount,
            Self::Amount(amount) if amount.currency == price.currency => amount.amount.min(price.amount),
            Self::Amount(_) => 0,
            Self::FreeMonths(months) => {
                let of = i128::from(billing.months().max(1));
                let off = (i128::from(price.amount) * i128::from(months.max(1)) + of - 1) / of;
                i64::try_from(off).unwrap_or(i64::MAX).min(price.amount)
            }
        }
    }

    /// How many payments it lowers.
    fn payments(self, periods: u8, billing: Billing) -> u8 {
        match (billing, self) {
            (Billing::Once { .. }, _) => 1,
            (Billing::Monthly, Self::FreeMonths(months)) => months,
            (Billing::Monthly, _) => periods,
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::FreeMonths(_) => 0,
            Self::Percent(_) => 1,
            Self::Amount(_) => 2,
        }
    }
}

impl Promotion {
    /// What is wrong with it, if anything.
    pub fn validate(&self) -> Result<(), Vec<Invalid>> {
        let mut errors = Vec::new();
        let mut check = |holds: bool, pointer: &str, message: String| {
            if !holds {
                errors.push(Invalid { pointer: pointer.into(), message });
            }
        };
        for (pointer, name) in [("/name/ru", &self.name.ru), ("/name/en", &self.name.en)] {
            let fits = !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX;
            check(fits, pointer, format!("1 to {NAME_CHARS_MAX} characters"));
        }
        if let Some(code) = &self.code {
            let fits = (CODE_CHARS_MIN..=CODE_CHARS_MAX).contains(&code.len());
            let plain = code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            check(fits && plain, "/code", format!("{CODE_CHARS_MIN} to {CODE_CHARS_MAX} capitals and digits"));
        }
        match self.gift {
            Gift::Percent(share) => check(share > BasisPoints::NONE, "/gift/percent", "1 to 10000 basis points".into()),
            Gift::Amount(Money { amount, .. }) => {
                let fits = (1..=PRICE_MINOR_UNITS_MAX).contains(&amount);
                check(fits, "/gift/amount/amount", format!("1 to {PRICE_MINOR_UNITS_MAX} minor units"));
            }
            Gift::FreeMonths(months) => {
                check((1..=PERIODS_MAX).contains(&months), "/gift/free_months", format!("1 to {PERIODS_MAX}"));
                check(self.periods == 1, "/periods", "1: the months are counted by the gift".into());
            }
        }
        check((1..=PERIODS_MAX).contains(&self.periods), "/periods", format!("1 to {PERIODS_MAX}"));
        check(self.plans.len() <= PLANS_MAX, "/plans", format!("at most {PLANS_MAX}"));
        check(self.from < self.until, "/until", "after from".into());
        check(self.per_person_max > 0, "/per_person_max", "at least 1".into());
        check(self.redemptions_max != Some(0), "/redemptions_max", "at least 1".into());
        if let Some(budget) = self.budget {
            check(budget.amount > 0, "/budget/amount", "at least 1".into());
            let same = !matches!(self.gift, Gift::Amount(amount) if amount.currency != budget.currency);
            check(same, "/budget/currency", "the gift's".into());
        }
        if let Audience::Segment(name) = &self.audience {
            let fits = !name.is_empty() && name.chars().count() <= SEGMENT_CHARS_MAX;
            check(fits, "/audience/segment", format!("1 to {SEGMENT_CHARS_MAX} characters"));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Grants it to a person for a plan, with what must be reserved. `counted` is what was read: the store's condition
    /// decides again.
    pub fn grant(
        &self,
        (plan, terms): (PlanRef, &Terms),
        person: &Person<'_>,
        counted: Counted,
        now: Timestamp,
    ) -> Result<(Granted, Reserve), NotGranted> {
        if self.stopped || now >= self.until {
            return Err(NotGranted::Expired(self.until));
        }
        if now < self.from {
            return Err(NotGranted::NotYet(self.from));
        }
        if !self.plans.is_empty() && !self.plans.contains(&plan.id) {
            return Err(NotGranted::OtherPlan);
        }
        if let Some(currency) = self.currency().filter(|currency| *currency != terms.price.currency) {
            return Err(NotGranted::OtherCurrency(currency));
        }
        let is_for = match &self.audience {
            Audience::Everyone => true,
            Audience::New => person.past == Past::Never,
            Audience::Lapsed => person.past == Past::Had,
            Audience::Segment(name) => person.segments.contains(name),
        };
        if !is_for {
            return Err(NotGranted::NotForYou);
        }
        if person.used >= self.per_person_max {
            return Err(NotGranted::UsedAlready);
        }
        let left = self.gift.payments(self.periods, terms.billing);
        let amount = i64::from(left) * self.gift.off(terms.price, terms.billing);
        let budget_max = self.budget.map(|budget| budget.amount);
        if self.redemptions_max.is_some_and(|most| counted.redemptions >= most)
            || budget_max.is_some_and(|most| counted.reserved > most - amount)
        {
            return Err(NotGranted::Exhausted);
        }
        let (promotion, gift, stackable) = (self.id, self.gift, self.stackable);
        let (redemptions_max, per_person_max) = (self.redemptions_max, self.per_person_max);
        let (plans, reserved) = (self.plans.clone(), amount);
        let granted =
            Granted { promotion, gift, left, plans, reserved, stackable, per_person_max: Some(per_person_max) };
        Ok((granted, Reserve { promotion, amount, redemptions_max, budget_max, per_person_max }))
    }

    /// The currency that it is bound to: every plan's, for a share without a budget.
    pub fn currency(&self) -> Option<Currency> {
        match self.gift {
            Gift::Amount(amount) => Some(amount.currency),
            _ => self.budget.map(|budget| budget.currency),
        }
    }
}

/// Whether these may lower the same payment.
pub fn check_stack(granted: &[Granted]) -> Result<(), NotGranted> {
    let apart =
        granted.iter().enumerate().all(|(i, one)| granted[..i].iter().all(|other| other.promotion != one.promotion));
    let fits = granted.len() <= 1 || granted.len() <= STACKED_MAX && granted.iter().all(|one| one.stackable);
    if apart && fits { Ok(()) } else { Err(NotGranted::NotStackable) }
}

/// The next payment of a plan with its promotions: free months, then shares, then amounts, each of what is left.
pub fn discounted(plan: PlanId, terms: &Terms, granted: &[Granted]) -> Discounted {
    let mut order: Vec<_> =
        granted.iter().filter(|one| one.left > 0 && (one.plans.is_empty() || one.plans.contains(&plan))).collect();
    order.sort_by_key(|one| one.gift.rank());
    let mut found = Discounted { price: terms.price, parts: Vec::new() };
    for one in order {
        let off = one.gift.off(found.price, terms.billing);
        found.price.amount -= off;
        found.parts.push((one.promotion, off));
    }
    found
}

/// The promotions once a payment lowered by `parts` was made, without those that are used up, and what is to be given back of
/// the budgets of these.
pub fn spent(granted: &[Granted], parts: &[(PromotionId, i64)]) -> (Vec<Granted>, Vec<Release>) {
    let (mut left, mut released) = (Vec::new(), Vec::new());
    for one in granted {
        let mut one = one.clone();
        if let Some((_, off)) = parts.iter().find(|(promotion, _)| *promotion == one.promotion) {
            one.left = one.left.saturating_sub(1);
            one.reserved = (one.reserved - off).max(0);
        }
        match one.left {
            0 if one.reserved > 0 => {
                released.push(Release { promotion: one.promotion, amount: one.reserved, unused: false });
            }
            0 => {}
            _ => left.push(one),
        }
    }
    (left, released)
}

/// What is to be given back where no payment follows any more. `unused`: where there was none at all.
pub fn released(granted: &[Granted], unused: bool) -> Vec<Release> {
    let all = granted.iter().filter(|one| unused || one.reserved > 0);
    all.map(|one| Release { promotion: one.promotion, amount: one.reserved, unused }).collect()
}

#[cfg(test)]
mod tests;
