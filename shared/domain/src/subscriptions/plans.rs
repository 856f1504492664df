//! Plans: what is offered, as data. A plan's terms are copied into a subscription, so that nobody's terms change under them.

use super::perks::Perk;
use crate::catalog::NAME_CHARS_MAX;
use crate::ids::PlanId;
use crate::layout::Invalid;
use crate::money::{Money, PRICE_MINOR_UNITS_MAX};
use crate::payments::{is_supported, minimum_charge};
use serde::{Deserialize, Serialize};

/// Perks that a plan may have.
pub const PERKS_MAX: usize = 16;
/// The longest term that is paid for at once.
pub const TERM_MONTHS_MAX: u8 = 36;
pub const TRIAL_DAYS_MAX: u16 = 365;
pub const GRACE_DAYS_MAX: u8 = 27;
pub const NOTICE_DAYS_MAX: u8 = 27;
/// Tries after the first of a charge.
pub const RETRIES_MAX: usize = 8;
/// When a declined charge is tried again, in days after the first try.
pub const RETRY_DAYS: [u8; 4] = [1, 3, 5, 7];
const GRACE_DAYS: u8 = 10;

/// A name for people, in the languages that the product speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    pub ru: String,
    pub en: String,
}

/// How a plan is paid: `"monthly"` or `{"once": {"months": 12}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Billing {
    /// Paid like an order; it ends at its term.
    Once { months: u8 },
    /// It renews by itself until it is cancelled.
    Monthly,
}

impl Billing {
    /// Months that one payment is for.
    pub fn months(self) -> u32 {
        match self {
            Self::Once { months } => u32::from(months),
            Self::Monthly => 1,
        }
    }
}

/// What who cancels at once gets back by the plan, whatever the law gives beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelRefund {
    #[default]
    None,
    /// The price of the days left.
    ProRata,
}

/// A law that gives whoever cancels at once something back, whatever the plan says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Russia: a service may be given up at any time, for what was done of it.
    RuConsumer,
    /// The European Union: a distance contract may be withdrawn from within 14 days, for what was done of it.
    EuWithdrawal,
}

/// What is agreed: everything of a plan that a subscriber keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    pub name: Names,
    /// For the term, or for each month.
    pub price: Money,
    pub billing: Billing,
    #[serde(default)]
    pub trial_days: u16,
    #[serde(default)]
    pub perks: Vec<Perk>,
    #[serde(default)]
    pub cancel_refund: CancelRefund,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub law: Option<Law>,
    /// Days that perks hold after a renewal that could not be charged.
    #[serde(default = "grace_days")]
    pub grace_days: u8,
    /// Days before each renewal that its notice is sent; 0 for none.
    #[serde(default)]
    pub notice_days: u8,
    /// When a declined renewal is tried again, in days after it was due, rising.
    #[serde(default = "retry_days")]
    pub retry_days: Vec<u8>,
}

fn grace_days() -> u8 {
    GRACE_DAYS
}

fn retry_days() -> Vec<u8> {
    RETRY_DAYS.to_vec()
}

/// One version of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlanRef {
    pub id: PlanId,
    pub version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanStatus {
    Offered,
    /// Nobody can subscribe any more; whoever has it keeps it.
    Withdrawn,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub id: PlanId,
    /// Grows by one with each write; every write is conditional on it.
    pub version: u32,
    pub status: PlanStatus,
    pub terms: Terms,
    /// A digest of the request that made it, by which a repeated key with other contents is known.
    pub request: String,
}

impl Plan {
    pub fn offer(id: PlanId, terms: Terms, request: String) -> Result<Self, Vec<Invalid>> {
        terms.validate()?;
        Ok(Self { id, version: 1, status: PlanStatus::Offered, terms, request })
    }

    pub fn reference(&self) -> PlanRef {
        PlanRef { id: self.id, version: self.version }
    }

    /// The plan with other terms, for those who subscribe from now on.
    pub fn amend(&self, terms: Terms) -> Result<Self, Vec<Invalid>> {
        terms.validate()?;
        Ok(Self { version: self.version + 1, terms, ..self.clone() })
    }

    /// No longer offered. Withdrawing twice is withdrawing once.
    pub fn withdraw(&self) -> Self {
        match self.status {
            PlanStatus::Withdrawn => self.clone(),
            PlanStatus::Offered => Self { version: self.version + 1, status: PlanStatus::Withdrawn, ..self.clone() },
        }
    }
}

impl Terms {
    /// What is wrong with the terms, if anything; pointers are relative to them.
    pub fn validate(&self) -> Result<(), Vec<Invalid>> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, message: String| errors.push(Invalid { pointer: pointer.into(), message });
        for (pointer, name) in [("/name/ru", &self.name.ru), ("/name/en", &self.name.en)] {
            if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX {
                wrong(pointer, format!("1 to {NAME_CHARS_MAX} characters"));
            }
        }
        let least = minimum_charge(self.price.currency);
        if !is_supported(self.price.currency) {
            wrong("/price/currency", "a currency that the payment provider takes".into());
        } else if !(least..=PRICE_MINOR_UNITS_MAX).contains(&self.price.amount) {
            wrong("/price/amount", format!("{least} to {PRICE_MINOR_UNITS_MAX} minor units"));
        }
        if let Billing::Once { months } = self.billing {
            if !(1..=TERM_MONTHS_MAX).contains(&months) {
                wrong("/billing/once/months", format!("1 to {TERM_MONTHS_MAX}"));
            }
            if self.trial_days > 0 {
                wrong("/trial_days", "none where nothing renews".into());
            }
        }
        if self.trial_days > TRIAL_DAYS_MAX {
            wrong("/trial_days", format!("at most {TRIAL_DAYS_MAX}"));
        }
        for (pointer, days, most) in
            [("/grace_days", self.grace_days, GRACE_DAYS_MAX), ("/notice_days", self.notice_days, NOTICE_DAYS_MAX)]
        {
            if days > most {
                wrong(pointer, format!("at most {most}"));
            }
        }
        self.check_retries(&mut errors);
        self.check_perks(&mut errors);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn check_retries(&self, errors: &mut Vec<Invalid>) {
        if self.retry_days.len() > RETRIES_MAX {
            errors.push(Invalid { pointer: "/retry_days".into(), message: format!("at most {RETRIES_MAX}") });
        }
        for (i, &days) in self.retry_days.iter().enumerate().take(RETRIES_MAX) {
            let least = i.checked_sub(1).map_or(1, |before| self.retry_days[before].saturating_add(1));
            if days < least || days > self.grace_days {
                let message = format!("{least} to {}, the days of grace, and rising", self.grace_days);
                errors.push(Invalid { pointer: format!("/retry_days/{i}"), message });
            }
        }
    }

    fn check_perks(&self, errors: &mut Vec<Invalid>) {
        if self.perks.len() > PERKS_MAX {
            errors.push(Invalid { pointer: "/perks".into(), message: format!("at most {PERKS_MAX} perks") });
        }
        for (i, perk) in self.perks.iter().enumerate().take(PERKS_MAX) {
            for Invalid { pointer, message } in perk.check(self.price.currency) {
                errors.push(Invalid { pointer: format!("/perks/{i}{pointer}"), message });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriptions::tests::terms;
    use serde_json::{Value, json};

    #[test]
    fn terms_read_as_an_administrator_posts_them() {
        let json = json!({"name": {"ru": "Друг", "en": "Friend"}, "price": {"amount": 1000, "currency": "EUR"}, "billing": "monthly"});
        let terms: Terms = serde_json::from_value(json).unwrap();
        assert_eq!((terms.grace_days, terms.retry_days.as_slice()), (10, &[1, 3, 5, 7][..]));
        assert_eq!(terms.validate(), Ok(()));
        let back: Terms = serde_json::from_value(serde_json::to_value(&terms).unwrap()).unwrap();
        assert_eq!(back, terms);
    }

    #[test]
    fn each_bad_field_is_pointed_at() {
        let cases: [(&str, Value, &str); 15] = [
            ("/name/ru", json!(" "), "/name/ru"),
            ("/name/en", json!("x".repeat(201)), "/name/en"),
            ("/price/amount", json!(49), "/price/amount"),
            ("/price/currency", json!("KWD"), "/price/currency"),
            ("/billing", json!({"once": {"months": 0}}), "/billing/once/months"),
            ("/trial_days", json!(366), "/trial_days"),
            ("/grace_days", json!(28), "/grace_days"),
            ("/notice_days", json!(28), "/notice_days"),
            ("/retry_days", json!([3, 3]), "/retry_days/1"),
            ("/retry_days", json!([0]), "/retry_days/0"),
            ("/retry_days", json!([11]), "/retry_days/0"),
            ("/retry_days", json!([1, 2, 3, 4, 5, 6, 7, 8, 9]), "/retry_days"),
            ("/perks", json!([{"kind": "presale", "hours": 0}]), "/perks/0/hours"),
            (
                "/perks",
                json!([{"kind": "fixed_price", "category": "A", "price": {"amount": 1, "currency": "RUB"}}]),
                "/perks/0/price/currency",
            ),
            ("/perks", json!(vec![json!({"kind": "hidden_events"}); 17]), "/perks"),
        ];
        for (at, value, pointer) in cases {
            let mut json = serde_json::to_value(terms()).unwrap();
            *json.pointer_mut(at).unwrap() = value.clone();
            let found = serde_json::from_value::<Terms>(json).unwrap().validate().unwrap_err();
            assert_eq!(found.iter().map(|wrong| wrong.pointer.as_str()).collect::<Vec<_>>(), [pointer], "{at} {value}");
        }
    }

    #[test]
    fn changes_are_new_versions_and_withdrawing_twice_is_once() {
        let plan = Plan::offer(PlanId(1), terms(), "r".into()).unwrap();
        let dearer = plan.amend(Terms { notice_days: 3, ..terms() }).unwrap();
        assert_eq!((dearer.version, plan.reference().version), (2, 1));
        let gone = dearer.withdraw();
        assert_eq!((gone.version, gone.status), (3, PlanStatus::Withdrawn));
        assert_eq!(gone.withdraw(), gone);
    }
}
