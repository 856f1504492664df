//! Months of a subscription: from the calendar day and time of its anchor, in its customer's zone.
//!
//! Each boundary is counted from the anchor and not from the one before, so that 31 January is followed by 28 February
//! and then by 31 March. A time that a change of clocks leaves out is moved later by what was left out; one that comes
//! twice is the first of the two (jiff's `Disambiguation::Compatible`, RFC 5545).

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use serde::{Deserialize, Serialize};

/// Months that a subscription may last from its anchor: a century.
pub const MONTHS_MAX: u32 = 1200;

/// Why there is no such date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchDate {
    #[error("there is no time zone {0}")]
    UnknownZone(String),
    #[error("the date is too far off")]
    TooFar,
}

/// Where months are counted from. Whoever comes back gets a new one; the numbers of periods go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    pub at: Timestamp,
    /// The number of the period that begins here.
    pub first: u32,
    /// IANA name of the customer's zone.
    pub zone: String,
}

/// A stretch that is paid for at once: from `from` until before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// 0 before the first that is paid for; grows by one with each.
    pub number: u32,
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Anchor {
    /// Period `number` of `months` each.
    pub fn period(&self, number: u32, months: u32) -> Result<Period, NoSuchDate> {
        assert!(number >= self.first, "a period is not before its anchor");
        let nth = number - self.first;
        let from = self.after(nth.saturating_mul(months))?;
        let to = self.after(nth.saturating_add(1).saturating_mul(months))?;
        Ok(Period { number, from, to })
    }

    /// The instant `months` months after the anchor.
    pub fn after(&self, months: u32) -> Result<Timestamp, NoSuchDate> {
        if months > MONTHS_MAX {
            return Err(NoSuchDate::TooFar);
        }
        let (zone, local) = (zone(&self.zone)?, local(self.at, &self.zone)?.datetime());
        let moved = local.checked_add(Span::new().months(months)).map_err(|_| NoSuchDate::TooFar)?;
        Ok(moved.to_zoned(zone).map_err(|_| NoSuchDate::TooFar)?.timestamp())
    }

    /// How many whole months after the anchor `now` is; 0 before it. What is granted by the month is counted by it.
    pub fn month_at(&self, now: Timestamp) -> Result<u32, NoSuchDate> {
        let (from, to) = (local(self.at, &self.zone)?, local(now, &self.zone)?);
        let apart =
            12 * (i32::from(to.year()) - i32::from(from.year())) + i32::from(to.month()) - i32::from(from.month());
        let guess = u32::try_from(apart).unwrap_or(0).min(MONTHS_MAX);
        // The month's day or hour may not have come yet.
        Ok(if guess > 0 && self.after(guess)? > now { guess - 1 } else { guess })
    }
}

/// `days` calendar days after `at` (before, where negative), at the same time of day there.
pub fn days_after(at: Timestamp, zone: &str, days: i64) -> Result<Timestamp, NoSuchDate> {
    let span = Span::new().try_days(days).map_err(|_| NoSuchDate::TooFar)?;
    Ok(local(at, zone)?.checked_add(span).map_err(|_| NoSuchDate::TooFar)?.timestamp())
}

/// The calendar day of an instant in a zone.
pub fn day(at: Timestamp, zone: &str) -> Result<Date, NoSuchDate> {
    Ok(local(at, zone)?.date())
}

/// Calendar days from one instant's day to another's in a zone; negative where the other is before.
pub fn days_between(from: Timestamp, to: Timestamp, zone: &str) -> Result<i64, NoSuchDate> {
    Ok(day(to, zone)?.duration_since(day(from, zone)?).as_hours() / 24)
}

/// The first instant of the month after the one `at` is in.
pub fn next_month(at: Timestamp, zone_name: &str) -> Result<Timestamp, NoSuchDate> {
    let first = day(at, zone_name)?.first_of_month().checked_add(Span::new().months(1));
    let first = first.map_err(|_| NoSuchDate::TooFar)?.to_zoned(zone(zone_name)?);
    Ok(first.map_err(|_| NoSuchDate::TooFar)?.timestamp())
}

/// Whether there is a zone of this IANA name.
pub fn is_zone(name: &str) -> bool {
    zone(name).is_ok()
}

fn zone(name: &str) -> Result<TimeZone, NoSuchDate> {
    TimeZone::get(name).map_err(|_| NoSuchDate::UnknownZone(name.to_owned()))
}

fn local(at: Timestamp, name: &str) -> Result<Zoned, NoSuchDate> {
    Ok(at.to_zoned(zone(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn anchor(local: &str, zone: &str) -> Anchor {
        let at = local.parse::<jiff::civil::DateTime>().unwrap().in_tz(zone).unwrap().timestamp();
        Anchor { at, first: 1, zone: zone.into() }
    }

    /// Five years of boundaries: their days, then their UTC times run by run, then what clocks moved.
    fn line(day: u32, zone: &str, time: &str) -> String {
        let anchor = anchor(&format!("2026-01-{day:02}T{time}"), zone);
        let mut days = String::new();
        let mut runs: Vec<(String, u32)> = Vec::new();
        let mut moved = String::new();
        let mut before = None;
        for number in 1..=60 {
            let period = anchor.period(number, 1).unwrap();
            assert!(period.from < period.to && before.is_none_or(|to| to == period.from), "{period:?}");
            before = Some(period.to);
            let there = local(period.from, zone).unwrap();
            let month = (number - 1) % 12 + 1;
            assert_eq!((there.year() as u32, there.month() as u32), (2026 + (number - 1) / 12, month));
            assert_eq!(there.day() as u32, day.min(there.days_in_month() as u32), "the anchor's day stays");
            assert_eq!(anchor.month_at(period.from), Ok(number - 1));
            assert_eq!(anchor.month_at(period.to - jiff::SignedDuration::from_secs(1)), Ok(number - 1));
            if (2..=12).contains(&number) || there.day() != day as i8 && there.year() == 2028 {
                write!(days, " {}", there.day()).unwrap();
            }
            let utc = period.from.strftime("%H:%M").to_string();
            match runs.last_mut() {
                Some((last, count)) if *last == utc => *count += 1,
                _ => runs.push((utc, 1)),
            }
            if there.strftime("%H:%M").to_string() != time {
                write!(moved, " {}", there.strftime("%F>%H:%M")).unwrap();
            }
        }
        let runs: Vec<_> = runs.iter().map(|(time, count)| format!("{time}x{count}")).collect();
        format!(
            "{day:02} {zone} {time}:{days} | {}{}",
            runs.join(" "),
            if moved.is_empty() { moved } else { format!(" |{moved}") }
        )
    }

    #[test]
    fn five_years_of_every_anchor_day() {
        let mut table = String::new();
        // Each at the hour that its clocks leave out in spring, but for the last, which has no such hour.
        for (zone, time) in [
            ("Europe/Berlin", "02:30"),
            ("America/New_York", "02:30"),
            ("Australia/Lord_Howe", "02:15"),
            ("America/Santiago", "00:30"),
            ("Europe/Moscow", "02:30"),
        ] {
            for day in 1..=31 {
                writeln!(table, "{}", line(day, zone, time)).unwrap();
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn the_anchor_day_comes_back_after_a_short_month() {
        let anchor = anchor("2027-01-31T12:00", "Europe/Moscow");
        let days: Vec<_> =
            (0..4).map(|n| day(anchor.after(n).unwrap(), "Europe/Moscow").unwrap().to_string()).collect();
        assert_eq!(days, ["2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30"]);
        let leap = Anchor { first: 7, ..anchor };
        assert_eq!(leap.period(7 + 13, 1).unwrap().from.to_string(), "2028-02-29T09:00:00Z");
        assert_eq!(leap.after(MONTHS_MAX + 1), Err(NoSuchDate::TooFar));
        let nowhere = Anchor { zone: "Nowhere/At_All".into(), ..leap };
        assert_eq!(nowhere.after(1), Err(NoSuchDate::UnknownZone("Nowhere/At_All".into())));
    }

    #[test]
    fn days_are_calendar_days() {
        let at = anchor("2026-03-28T12:00", "Europe/Berlin").at;
        let next = days_after(at, "Europe/Berlin", 1).unwrap();
        assert_eq!(next.duration_since(at).as_hours(), 23, "the clocks change that night");
        assert_eq!(days_between(at, next, "Europe/Berlin"), Ok(1));
        assert_eq!(next_month(at, "Europe/Berlin").unwrap().to_string(), "2026-03-31T22:00:00Z");
    }
}
