//! The part of subscriptions' charges: their journal is by the month, and what is booked of one is known from itself.

use super::{ENTRIES_MAX, Leftover, Looked, SHARDS_AT_ONCE_MAX, at_provider, check_limit, of_movement, place, sum};
use crate::Error;
use crate::commands::Command;
use domain::ledger::{Account, ChargeCause, ChargeEntry};
use domain::payments::{DisputeState, Movement};
use domain::reconcile::{
    Awaited, Difference, Finding, Flow, Owner, Thing, differ, flows_of_charge, is_untold_loss_of_charge,
};
use domain::subscriptions::Charge;
use futures_util::{StreamExt, stream};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use platform::App;
use platform::store::LEDGER_SHARDS;

/// Entries that one read gives.
const PAGE_ENTRIES: i32 = 1_000;
/// Pages of one shard of a month: with each subscription charged and recognised, five million subscriptions.
const PAGES_MAX: usize = 1_000;

/// The entries of a stretch of time that moved money at the provider.
pub(super) async fn journal(app: &App, from: Timestamp, to: Timestamp) -> Result<Vec<ChargeEntry>, Error> {
    let month = |at: Timestamp| at.to_zoned(TimeZone::UTC).date().first_of_month();
    let mut months = vec![month(from)];
    while let Some(next) = months.last().map(|last| last.saturating_add(1.month())).filter(|next| *next <= month(to)) {
        months.push(next);
    }
    let shards: Vec<_> = months.iter().flat_map(|month| (0..LEDGER_SHARDS).map(|shard| (*month, shard))).collect();
    let reads = shards.into_iter().map(|(month, shard)| of_shard(app, month, shard, (from, to)));
    let mut reads = stream::iter(reads).buffered(SHARDS_AT_ONCE_MAX);
    let mut entries = Vec::new();
    while let Some(read) = reads.next().await {
        entries.extend(read?);
        check_limit(entries.len(), ENTRIES_MAX, "entries of charges")?;
    }
    Ok(entries)
}

async fn of_shard(
    app: &App,
    month: Date,
    shard: u8,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<ChargeEntry>, Error> {
    let (mut entries, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let (page, next) = app.ledger.charge_entries(month, shard, cursor, PAGE_ENTRIES).await?;
        let is_wanted = |entry: &ChargeEntry| from <= entry.at && entry.at < to && entry.of(Account::Provider) != 0;
        entries.extend(page.into_iter().filter(is_wanted));
        check_limit(entries.len(), ENTRIES_MAX, "entries of charges")?;
        cursor = next;
        if cursor.is_none() {
            return Ok(entries);
        }
    }
    Err(Error::new(format!("a run reads {PAGES_MAX} pages of a month's shard, and there are more")))
}

/// The disputes that began then. Each is looked at until it is decided: no movement tells of one that is lost, and reading
/// the journals of all months for those that are open would cost more than looking.
pub(super) fn undecided(entries: &[ChargeEntry]) -> impl Iterator<Item = (Thing, Owner)> {
    entries.iter().filter_map(|entry| match &entry.cause {
        ChargeCause::DisputeWithdrawn { dispute } => {
            Some((Thing::Dispute(dispute.clone()), Owner::Charge { user: entry.user, charge: entry.charge }))
        }
        _ => None,
    })
}

/// One thing of a charge, as the charge and the provider have it now.
pub(super) async fn look(app: &App, charge: &Charge, thing: Thing, left: Leftover<'_>) -> Result<Looked, Error> {
    let (there, here) = (at_provider(app, charge.intent.as_deref(), &thing).await?, flows_of_charge(charge, &thing));
    let is_stranger = |movement: &Movement| {
        movement.payment != charge.intent || there.source.as_ref().is_some_and(|source| movement.source != *source)
    };
    let strangers = left.movements.iter().filter(|movement| is_stranger(movement));
    let mut findings: Vec<_> =
        strangers.map(|movement| of_movement(movement, "its charge knows another one")).collect();
    let is_untold = there.dispute.as_ref().is_some_and(|dispute| is_untold_loss_of_charge(dispute, charge));
    let untold = is_untold.then_some((Difference::MissingHere, Flow::DisputeLost));
    let differs = differ(&there.flows, &here).or(untold);
    let is_open = there.dispute.as_ref().is_some_and(|dispute| dispute.state == DisputeState::Open);
    let is_awaited = there.is_pending || is_open || (differs.is_some() && left.owner.is_some());
    let owner = Owner::Charge { user: charge.user, charge: charge.id };
    let awaited = is_awaited.then(|| Awaited::of(&thing, owner)).flatten();
    let Some((difference, flow)) = differs else { return Ok(Looked { findings, command: None, awaited }) };
    let command = if difference == Difference::MissingHere { healer(charge, &thing) } else { None };
    // That it was lost moved nothing: then there is only the dispute itself to point at.
    let of_dispute = || there.dispute.as_ref().map(|dispute| (app.now(), dispute.id.clone()));
    if let Some((at, reference)) = place(&left, left.entries.first().copied()).or_else(of_dispute) {
        findings.push(Finding {
            difference,
            flow,
            at,
            reference,
            payment: charge.intent.clone(),
            order: None,
            charge: Some(charge.id),
            buyer: Some(charge.user),
            currency: charge.amount.currency,
            provider: sum(&there.flows),
            journal: sum(&here),
            healing: command.is_some(),
            note: if command.is_some() { "the charge was told to look" } else { "a person has to look" }.into(),
        });
    }
    Ok(Looked { findings, command, awaited })
}

/// What makes `settle` look at a thing of a charge, as its webhook would have.
fn healer(charge: &Charge, thing: &Thing) -> Option<Command> {
    let payment = charge.intent.clone()?;
    match thing {
        Thing::Charge(_) => Some(Command::PaymentChanged { payment }),
        Thing::Refund(key) => {
            let is_ours = charge.refunds.iter().any(|refund| refund.provider_key() == *key);
            is_ours.then(|| Command::PeriodRefundChanged { payment, key: key.clone() })
        }
        Thing::Dispute(_) => Some(Command::DisputeChanged { payment }),
        Thing::Capture(_) => None,
    }
}
