//! Parts of a price by whole days: what of it is used, what a change of plan costs, and what the journal recognises.

use super::periods::{NoSuchDate, Period, days_between, next_month};
use crate::money::Money;
use jiff::Timestamp;

/// What of a price is used up and what is not; together exactly the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    pub used: Money,
    pub unused: Money,
}

/// Splits a price after `days` of `of` days, the used part rounded down: in doubt for the subscriber.
pub fn split(price: Money, days: i64, of: i64) -> Split {
    assert!(price.amount >= 0, "a price is never negative");
    let of = of.max(1);
    let days = days.clamp(0, of);
    let used = i128::from(price.amount) * i128::from(days) / i128::from(of);
    let used = i64::try_from(used).expect("a part is at most the whole");
    let (used, unused) = (Money::new(used, price.currency), Money::new(price.amount - used, price.currency));
    Split { used, unused }
}

/// Splits what was paid for a period at `now`. The day that it is used on is not counted as used, until the last is over.
pub fn split_at(price: Money, period: &Period, zone: &str, now: Timestamp) -> Result<Split, NoSuchDate> {
    let (days, of) = days_used(period, zone, now)?;
    Ok(split(price, days, of))
}

/// What a change to a dearer plan costs now: the new price for the days left, less what is unused of what was paid. Never
/// negative, never more than the new price, both parts rounded for the subscriber.
pub fn upgrade(paid: Money, price: Money, period: &Period, zone: &str, now: Timestamp) -> Result<Money, NoSuchDate> {
    assert_eq!(paid.currency, price.currency, "a plan is changed within a currency");
    let (days, of) = days_used(period, zone, now)?;
    let (new, old) = (split(price, of - days, of).used, split(paid, days, of).unused);
    Ok(Money::new((new.amount - old.amount).max(0), price.currency))
}

/// Days of a period that are over, and all of them.
fn days_used(period: &Period, zone: &str, now: Timestamp) -> Result<(i64, i64), NoSuchDate> {
    let of = days_between(period.from, period.to, zone)?.max(1);
    Ok((if now >= period.to { of } else { days_between(period.from, now, zone)?.clamp(0, of) }, of))
}

/// When revenue of a period is recognised next after `after`: at the ends of calendar months, and at its own.
pub fn next_recognition(period: &Period, zone: &str, after: Timestamp) -> Result<Timestamp, NoSuchDate> {
    Ok(next_month(after.max(period.from), zone)?.min(period.to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;
    use crate::subscriptions::periods::Anchor;
    use jiff::SignedDuration;
    use proptest::prelude::*;

    fn eur(amount: i64) -> Money {
        Money::new(amount, Currency::from_code("EUR").unwrap())
    }

    fn period(months: u32) -> Period {
        let at = "2026-01-31T10:00:00Z".parse().unwrap();
        Anchor { at, first: 1, zone: "Europe/Berlin".into() }.period(1, months).unwrap()
    }

    #[test]
    fn parts_are_by_whole_days() {
        for (price, days, of, used) in
            [(3000, 10, 30, 1000), (1000, 1, 3, 333), (1, 1, 2, 0), (99, 31, 31, 99), (5, -1, 9, 0)]
        {
            assert_eq!(split(eur(price), days, of).used.amount, used, "{price} {days}/{of}");
        }
        let period = period(1);
        let at = |hours| period.from + SignedDuration::from_hours(hours);
        // 28 days, from 31 January to 28 February.
        for (hours, used) in [(0, 0), (12, 0), (24, 100), (24 * 27, 2700), (24 * 28, 2800), (24 * 99, 2800)] {
            assert_eq!(split_at(eur(2800), &period, "Europe/Berlin", at(hours)).unwrap().used.amount, used, "{hours}");
        }
        let half = upgrade(eur(2800), eur(5600), &period, "Europe/Berlin", at(24 * 14)).unwrap();
        assert_eq!(half.amount, 1400);
    }

    proptest! {
        #[test]
        fn nothing_is_negative_above_the_price_or_lost(
            paid in 0_i64..=1_000_000_000, price in 0_i64..=1_000_000_000, seconds in -100_000_i64..40_000_000, months in 1_u32..=12,
        ) {
            let (period, zone) = (period(months), "Europe/Berlin");
            let now = period.from + SignedDuration::from_secs(seconds);
            let parts = split_at(eur(paid), &period, zone, now).unwrap();
            prop_assert!(parts.used.amount >= 0 && parts.unused.amount >= 0);
            prop_assert_eq!(parts.used.plus(parts.unused), Ok(eur(paid)));
            let more = upgrade(eur(paid), eur(price), &period, zone, now).unwrap();
            prop_assert!((0..=price).contains(&more.amount));
            if now >= period.to {
                prop_assert_eq!(more.amount, 0);
            }
            // Never dearer than to have had the new plan for the whole term.
            if paid <= price {
                prop_assert!(more.amount <= price - paid);
            }
        }

        #[test]
        fn recognition_goes_on_to_the_end(months in 1_u32..=36, price in 0_i64..=1_000_000_000) {
            let (period, zone) = (period(months), "Europe/Berlin");
            let (mut at, mut known, mut steps) = (period.from, 0, 0);
            while at < period.to {
                let next = next_recognition(&period, zone, at).unwrap();
                prop_assert!(next > at);
                let used = split_at(eur(price), &period, zone, next).unwrap().used.amount;
                prop_assert!(used >= known);
                (at, known, steps) = (next, used, steps + 1);
            }
            prop_assert_eq!(known, price);
            prop_assert!(steps <= months + 1);
        }
    }
}
