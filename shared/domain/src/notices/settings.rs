//! When a person wants to be told, and of what.

use super::kinds::{Group, Kind};
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whose clock quiet hours go by where a person has said nothing; there are none then.
pub const SETTINGS_ZONE: &str = "UTC";

/// Every day from `from` until before `to`, over midnight where `to` is the earlier of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    pub from: Time,
    pub to: Time,
}

/// A person's wishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// IANA name of the zone whose clock quiet hours go by.
    pub zone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    /// What is not delivered where the rules let it be muted; it is in the list all the same.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub muted: BTreeSet<Group>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { zone: SETTINGS_ZONE.into(), quiet: None, muted: BTreeSet::new() }
    }
}

/// Why these are no settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsRefused {
    #[error("must be the IANA name of a time zone")]
    Zone,
    #[error("must begin and end at different times, of whole minutes")]
    Quiet,
}

impl Settings {
    /// Whether these can be kept.
    pub fn check(&self) -> Result<(), SettingsRefused> {
        if TimeZone::get(&self.zone).is_err() || !self.zone.is_ascii() {
            return Err(SettingsRefused::Zone);
        }
        let whole = |time: Time| time.second() == 0 && time.subsec_nanosecond() == 0;
        match self.quiet {
            Some(quiet) if quiet.from == quiet.to || !whole(quiet.from) || !whole(quiet.to) => {
                Err(SettingsRefused::Quiet)
            }
            _ => Ok(()),
        }
    }
}

/// When a notice of this kind is delivered: now, at the end of quiet hours, or never, which is none.
pub fn deliver_at(settings: &Settings, kind: &Kind, now: Timestamp) -> Option<Timestamp> {
    let rules = kind.rules();
    if rules.may_be_muted && settings.muted.contains(&rules.group) {
        return None;
    }
    let (Some(quiet), Some(latest)) = (settings.quiet, kind.waits_until()) else { return Some(now) };
    // A zone that the database has lost since is no reason to tell nothing.
    let zone = TimeZone::get(&settings.zone).unwrap_or(TimeZone::UTC);
    let end = quiet.end(&now.to_zoned(zone)).unwrap_or(now);
    Some(if end <= latest { end } else { now })
}

impl Quiet {
    /// When the quiet hours that `now` is in end; none if it is in none.
    fn end(self, now: &Zoned) -> Option<Timestamp> {
        let time = now.time();
        let is_quiet =
            if self.from < self.to { self.from <= time && time < self.to } else { time >= self.from || time < self.to };
        if !is_quiet {
            return None;
        }
        let day = if time < self.to { now.date() } else { now.date().tomorrow().ok()? };
        clock_shows(day.to_datetime(self.to), now)
    }
}

/// When a clock shows this for the first time after `now`. A time that the clock skips is when it skips it; one that it
/// shows twice is the first of both that is still to come.
fn clock_shows(at: DateTime, now: &Zoned) -> Option<Timestamp> {
    let shown = now.time_zone().to_ambiguous_zoned(at);
    let first = shown.clone().compatible().ok()?.timestamp();
    if first > now.timestamp() { Some(first) } else { Some(shown.later().ok()?.timestamp()) }
}
