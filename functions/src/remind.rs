//! `remind`: looks for events that begin a day from now, and has `notify` tell those who have tickets.

use crate::Error;
use crate::notices::{About, send};
use crate::notify::event;
use domain::catalog::EventStatus;
use jiff::SignedDuration;
use platform::App;
use platform::store::{event_cursor, month_of};

/// How long before its start an event's buyers are reminded, at the latest and at the earliest: the hour of the schedule
/// (template.yaml), and a quarter for a run that comes late. Whoever is met twice is reminded once.
const LATEST_MINUTES: i64 = 24 * 60 - 15;
const EARLIEST_MINUTES: i64 = 25 * 60;
/// Events that one read gives.
const PAGE_EVENTS: i32 = 100;

pub async fn handle(app: App) -> Result<(), Error> {
    let in_minutes = |minutes| app.now() + SignedDuration::from_mins(minutes);
    let (from, to) = (in_minutes(LATEST_MINUTES), in_minutes(EARLIEST_MINUTES));
    let mut months = vec![month_of(from), month_of(to)];
    months.dedup();
    for month in months {
        // Where an event that starts at `from` would stand: cursors begin with the start.
        let mut after = format!("{from:.0}");
        loop {
            let events = app.catalog.month(&month, &after, PAGE_EVENTS).await?;
            let soon = events.iter().take_while(|event| event.starts_at < to);
            for event in soon.filter(|event| event.status == EventStatus::Published) {
                send(&app, event::pass(event.id, About::Reminder { starts_at: event.starts_at }, 0)).await?;
            }
            match events.last().filter(|last| last.starts_at < to) {
                Some(last) => after = event_cursor(last),
                None => break,
            }
        }
    }
    Ok(())
}
