//! Money: whole minor units of one ISO 4217 currency. Never a fraction, never mixed, never overflowing in silence.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An ISO 4217 currency, as its three-letter code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Currency(pub iso_currency::Currency);

impl Currency {
    pub fn from_code(code: &str) -> Option<Self> {
        iso_currency::Currency::from_code(code).map(Self)
    }

    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits after the decimal point: 2 for most, 0 for the yen, 3 for the Kuwaiti dinar.
    pub fn exponent(self) -> u32 {
        u32::from(self.0.exponent().unwrap_or(0))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount in the minor unit of its currency (cents, kopecks); negative only in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    pub amount: i64,
    pub currency: Currency,
}

/// A sum that cannot be: too large, or of two currencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("the amount is too large")]
    Overflow,
    #[error("{0} and {1} cannot be added")]
    Mixed(Currency, Currency),
}

/// The largest price of one seat, in minor units: 10 million of a two-digit currency.
pub const PRICE_MINOR_UNITS_MAX: i64 = 1_000_000_000;

/// Parts of the whole in ten-thousandths: 10,000 is 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct BasisPoints(u16);

impl BasisPoints {
    pub const WHOLE: Self = Self(10_000);
    pub const NONE: Self = Self(0);

    pub const fn percent(percent: u16) -> Self {
        assert!(percent <= 100, "a share is at most the whole");
        Self(percent * 100)
    }
}

impl TryFrom<u16> for BasisPoints {
    type Error = &'static str;
    fn try_from(value: u16) -> Result<Self, Self::Error> {
        if value <= 10_000 { Ok(Self(value)) } else { Err("a share is 0 to 10000 basis points") }
    }
}

impl From<BasisPoints> for u16 {
    fn from(share: BasisPoints) -> Self {
        share.0
    }
}

impl Money {
    pub fn new(amount: i64, currency: Currency) -> Self {
        Self { amount, currency }
    }

    pub fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed(self.currency, other.currency));
        }
        let amount = self.amount.checked_add(other.amount).ok_or(MoneyError::Overflow)?;
        Ok(Self { amount, ..self })
    }

    pub fn sum(currency: Currency, parts: impl IntoIterator<Item = Money>) -> Result<Self, MoneyError> {
        parts.into_iter().try_fold(Self::zero(currency), Self::plus)
    }

    /// This share of a non-negative amount, rounded up to the minor unit: in doubt for the buyer.
    pub fn share_up(self, share: BasisPoints) -> Self {
        let exact = i128::from(self.amount) * i128::from(share.0);
        let amount = exact.div_euclid(10_000) + i128::from(exact.rem_euclid(10_000) != 0);
        Self { amount: i64::try_from(amount).expect("a share is at most the whole"), ..self }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10_u64.pow(self.currency.exponent());
        let (whole, rest) = (self.amount.unsigned_abs() / scale, self.amount.unsigned_abs() % scale);
        let sign = if self.amount < 0 { "-" } else { "" };
        match self.currency.exponent() as usize {
            0 => write!(f, "{sign}{whole} {}", self.currency),
            digits => write!(f, "{sign}{whole}.{rest:0digits$} {}", self.currency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: i64, code: &str) -> Money {
        Money::new(amount, Currency::from_code(code).unwrap())
    }

    #[test]
    fn shares_round_up_and_never_exceed_the_whole() {
        for (amount, percent, expected) in [(1001, 50, 501), (1000, 30, 300), (1, 30, 1), (999, 100, 999), (999, 0, 0)]
        {
            assert_eq!(money(amount, "EUR").share_up(BasisPoints::percent(percent)).amount, expected);
        }
        assert_eq!(money(i64::MAX, "EUR").share_up(BasisPoints::WHOLE).amount, i64::MAX);
    }

    #[test]
    fn sums_refuse_what_cannot_be() {
        assert_eq!(money(i64::MAX, "EUR").plus(money(1, "EUR")), Err(MoneyError::Overflow));
        assert!(matches!(money(1, "EUR").plus(money(1, "RUB")), Err(MoneyError::Mixed(..))));
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        for (amount, code, text) in [
            (123_456, "RUB", "1234.56 RUB"),
            (5, "EUR", "0.05 EUR"),
            (-150, "EUR", "-1.50 EUR"),
            (700, "JPY", "700 JPY"),
        ] {
            assert_eq!(money(amount, code).to_string(), text);
        }
    }
}
