//! `renew`: does what is due of subscriptions and charges by itself: notices, renewals, tries, ends, revenue. It moves no
//! money: what has to be charged or given back leaves as an effect of its write, and `settle` does it.
//!
//! The provider's pace is held here, at the source. What asks for the provider is written at so many a second, for as long as
//! the schedule takes to come again; the rest waits in the index, where it costs nothing and keeps no order's payment behind
//! it in the Payments queue. Every write has its condition, so a schedule that fires three times finds the work done; while
//! three runs are at it at once they may ask three times as fast, and what Settle takes at once (32 messages) is the bound.

use crate::{Error, facts};
use domain::effects::{SubscriptionEffect, SubscriptionNews, What};
use domain::ids::{SubscriptionId, UserId};
use domain::subscriptions::{ChargeRef, DUE_SHARDS, Refused, Subscription, Write};
use futures_util::{StreamExt, stream};
use platform::App;
use platform::store::{DueItem, StoreError};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Items of one shard that one run looks at; the next run, a minute later, looks at what is due then.
const SHARD_ITEMS_MAX: i32 = 1000;
/// Items that are worked on at the same time, of subscriptions and of charges each.
const ITEMS_AT_ONCE_MAX: usize = 16;
/// Decisions about one item that one run makes: a notice, a renewal and its end may be due together.
const DECISIONS_MAX: usize = 4;
/// How long a run works: the rate of its schedule in template.yaml, so that the pace has no gaps.
const RUN_SECONDS: u64 = 60;
/// How long before its deadline it stops all the same: a write and its answer.
const MARGIN_SECONDS: u64 = 5;
/// The most that may be asked of the provider in a second.
const CHARGES_PER_SECOND_MAX: u32 = 1_000_000;

pub async fn handle(app: App) -> Result<(), Error> {
    let pace = Pace::new(charges_per_second(&app)?, stop(&app));
    let due = due(&app).await?;
    let (subscriptions, charges): (Vec<_>, Vec<_>) =
        due.into_iter().partition(|item| matches!(item, DueItem::Subscription { .. }));
    // Each by itself: revenue of a month's end does not wait for the provider's pace.
    let (subscriptions, charges) = tokio::join!(all(&app, subscriptions, &pace), all(&app, charges, &pace));
    subscriptions.and(charges)
}

/// How often a second the provider may be asked for a charge.
fn charges_per_second(app: &App) -> Result<u32, Error> {
    let text = app.config.get("CHARGES_PER_SECOND")?;
    let number = text.parse().ok().filter(|number| (1..=CHARGES_PER_SECOND_MAX).contains(number));
    number.ok_or_else(|| Error::new(format!("CHARGES_PER_SECOND is a number from 1 to {CHARGES_PER_SECOND_MAX}")))
}

fn stop(app: &App) -> Instant {
    let own = Instant::now() + Duration::from_secs(RUN_SECONDS);
    let end = app.deadline.and_then(|end| end.checked_sub(Duration::from_secs(MARGIN_SECONDS)));
    end.map_or(own, |end| end.min(own))
}

/// What is due of every shard, in turn, so that none waits for another.
async fn due(app: &App) -> Result<Vec<DueItem>, Error> {
    let now = app.now();
    let reads = (0..DUE_SHARDS).map(|shard| app.subscriptions.due(shard, now, SHARD_ITEMS_MAX));
    let shards = futures_util::future::try_join_all(reads).await?;
    let longest = shards.iter().map(Vec::len).max().unwrap_or(0);
    Ok((0..longest).flat_map(|n| shards.iter().filter_map(move |shard| shard.get(n).copied())).collect())
}

/// Works through these until the run's time is over. What fails is said at the end, and keeps no other from being done.
async fn all(app: &App, items: Vec<DueItem>, pace: &Pace) -> Result<(), Error> {
    let mut work = stream::iter(items).map(|item| one(app, item, pace)).buffer_unordered(ITEMS_AT_ONCE_MAX);
    let mut failure = None;
    while let Some(done) = work.next().await {
        if let Err(error) = done {
            failure = failure.or(Some(error));
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn one(app: &App, item: DueItem, pace: &Pace) -> Result<(), Error> {
    if pace.is_over() {
        return Ok(());
    }
    let done = match item {
        DueItem::Subscription { user, id } => subscription(app, user, id, pace).await,
        DueItem::Charge(id) => charge(app, id).await,
    };
    done.inspect_err(|error| tracing::warn!(?item, %error, "what is due was not done"))
}

async fn subscription(app: &App, user: UserId, id: SubscriptionId, pace: &Pace) -> Result<(), Error> {
    let Some(mut subscription) = app.subscriptions.get(user, id).await? else { return Ok(()) };
    for _ in 0..DECISIONS_MAX {
        if subscription.due_at.is_none_or(|due| due > app.now()) {
            return Ok(());
        }
        let charge = match &subscription.owed {
            Some(owed) => app.subscriptions.charge(owed.charge).await?,
            None => None,
        };
        let write = match subscription.advance(charge.as_ref(), app.now()) {
            Ok(Some(write)) => write,
            Ok(None) => return Ok(()),
            Err(Refused::Busy) if is_outdated(app, &subscription).await? => return Ok(()),
            Err(refused) => return Err(Error::new(refused)),
        };
        if asks_provider(&write) && !pace.turn().await {
            return Ok(());
        }
        match facts::save_subscription(app, Some(&subscription), write).await {
            Ok(next) => subscription = next,
            // Somebody else wrote it: the next run sees what is due then.
            Err(StoreError::Conflict) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether somebody wrote a subscription since it was read: then its charge was a later one's.
async fn is_outdated(app: &App, read: &Subscription) -> Result<bool, Error> {
    Ok(app.subscriptions.get(read.user, read.id).await?.is_none_or(|now| now.v != read.v))
}

async fn charge(app: &App, id: ChargeRef) -> Result<(), Error> {
    let Some(charge) = app.subscriptions.charge(id).await? else { return Ok(()) };
    let Some((next, entry)) = charge.advance(app.now()).map_err(Error::new)? else { return Ok(()) };
    match facts::save_charge(app, next, entry).await {
        Ok(_) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether `settle` will ask the provider for what this write sets off.
fn asks_provider(write: &Write) -> bool {
    write.subscription.effects.iter().any(|effect| match &effect.what {
        What::Subscription(SubscriptionEffect { what, .. }) => {
            matches!(what, SubscriptionNews::ChargeDue { .. } | SubscriptionNews::ChargeDropped { .. })
        }
        _ => false,
    })
}

/// Gives turns at an even pace until the run's time is over.
struct Pace {
    apart: Duration,
    next: Mutex<Instant>,
    stop: Instant,
}

impl Pace {
    fn new(per_second: u32, stop: Instant) -> Self {
        Self { apart: Duration::from_secs(1) / per_second, next: Mutex::new(Instant::now()), stop }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.stop
    }

    /// Waits for a turn; false if there is none any more.
    async fn turn(&self) -> bool {
        let now = Instant::now();
        let turn = {
            let mut next = self.next.lock().expect("no panic holds this lock");
            let turn = (*next).max(now);
            *next = turn + self.apart;
            turn
        };
        if turn >= self.stop {
            return false;
        }
        if turn > now {
            tokio::time::sleep_until(turn).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_at_the_pace_until_the_time_is_over() {
        let started = Instant::now();
        let pace = Pace::new(500, started + Duration::from_millis(100));
        let mut turns = 0;
        while pace.turn().await {
            turns += 1;
        }
        // A busy machine may miss turns, and nobody makes up for them.
        assert!((1..=50).contains(&turns), "{turns} turns in a tenth of a second");
        tokio::time::sleep_until(pace.stop).await;
        assert!(pace.is_over());
    }
}
