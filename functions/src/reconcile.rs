//! `reconcile`: once a day, the provider's movements of our balance against the journal. It moves no money, and its key
//! could not: what the journal lacks is put on the Payments queue, where `settle` finds it as if it had been told of it
//! in time; everything else is for a person. The next run says whether that was enough.

use crate::Error;
use crate::commands::Command;
use domain::ids::{OrderId, UserId};
use domain::ledger::{Account, Entry};
use domain::orders::{Order, refund_of_key};
use domain::payments::Movement;
use domain::reconcile::{
    Compared, Day, Difference, FINDINGS_KEPT_MAX, Finding, Flow, MARGIN_SECONDS, Report, Thing, booked, compare,
    counted, differ, flows_of_dispute, flows_of_refund, moved,
};
use futures_util::{StreamExt, stream};
use jiff::civil::Date;
use jiff::{SignedDuration, Span, Timestamp, ToSpan};
use platform::App;
use platform::store::{LEDGER_SHARDS, MONTH_EVENTS_MAX, month_of};
use platform::telemetry;
use std::collections::BTreeMap;

/// Days that one run goes back to, where earlier runs did not come to their end, or found something.
const DAYS_MAX: i32 = 7;
/// Reports, of those days and of runs that were repeated, that are read to know which.
const REPORTS_READ_MAX: u16 = 50;
/// Months around those days in which an event may start whose journal is read. Sales open up to two years ahead; a
/// buyer's bank may come until 540 days after (Stripe, "How disputes work").
const MONTHS_AHEAD: i32 = 24;
const MONTHS_BACK: i32 = 19;
/// Movements, and entries, that one run holds in memory: some 500 bytes each.
const MOVEMENTS_MAX: usize = 100_000;
const ENTRIES_MAX: usize = 100_000;
/// Shards of journals that are read at the same time.
const SHARDS_AT_ONCE_MAX: usize = 16;
/// Things that are looked at one by one in a day's run, and at the same time: each takes two calls to the provider at
/// most, whose limit is 25 a second.
const LOOKS_MAX: usize = 2_000;
const LOOKS_AT_ONCE_MAX: usize = 4;

pub async fn handle(app: App) -> Result<(), Error> {
    let days = days_to_do(&app).await?;
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(()) };
    let margin = SignedDuration::from_secs(MARGIN_SECONDS);
    let (from, to) = (first.from - margin, last.to + margin);
    let (movements, entries) = (movements(&app, from, to).await?, journal(&app, from, to).await?);
    for day in &days {
        let report = reconcile(&app, day, compare(day, &movements, &entries)).await?;
        publish(&app, &report).await?;
    }
    Ok(())
}

/// The last day that is over, however often it was done; those since the last report; and those on which the two sides
/// last differed, until they agree.
async fn days_to_do(app: &App) -> Result<Vec<Day>, Error> {
    let last = Day::last_complete(app.now()).date;
    let (reports, _) = app.desk.reports(None, REPORTS_READ_MAX).await.map_err(into_error)?;
    let done = reports.first().map_or(last, |report| report.day);
    let differed = |date: Date| {
        let latest = reports.iter().find(|report| report.day == date);
        latest.is_some_and(|report| report.findings_total > 0)
    };
    let dates = (0..DAYS_MAX).rev().map(|days| last.saturating_sub(days.days()));
    let dates = dates.filter(|date| *date == last || *date > done || differed(*date));
    Ok(dates.map(Day::of).collect())
}

async fn movements(app: &App, from: Timestamp, to: Timestamp) -> Result<Vec<Movement>, Error> {
    let (mut movements, mut cursor): (Vec<Movement>, Option<String>) = (Vec::new(), None);
    loop {
        let page = app.gateway.movements(from, to, cursor.as_deref()).await.map_err(into_error)?;
        movements.extend(page.movements);
        check_limit(movements.len(), MOVEMENTS_MAX, "movements")?;
        cursor = page.next;
        if cursor.is_none() {
            return Ok(movements);
        }
    }
}

/// The journal's entries of a stretch of time.
///
/// An index by time would cost every sale another write. So the journals of all events that could have entries now are
/// read through, once a day: half a read unit for some twelve entries, so that a house with 500 events and 10,000
/// entries each reads 210,000 units a day, which is a few cents; and one query at least for each of an event's shards.
async fn journal(app: &App, from: Timestamp, to: Timestamp) -> Result<Vec<Entry>, Error> {
    let mut shards = Vec::new();
    for month in months(from, to) {
        let events = app.recent_month(&month).await.map_err(into_error)?;
        check_limit(events.len(), MONTH_EVENTS_MAX - 1, "events of a month")?;
        shards.extend(events.iter().flat_map(|event| (0..LEDGER_SHARDS).map(|shard| (event.id, shard))));
    }
    let mut reads = stream::iter(shards)
        .map(|(event, shard)| {
            let ledger = app.ledger.clone();
            async move { ledger.between(event, shard, (from, to), ENTRIES_MAX).await }
        })
        .buffered(SHARDS_AT_ONCE_MAX);
    let mut entries = Vec::new();
    while let Some(read) = reads.next().await {
        entries.extend(read.map_err(into_error)?);
        check_limit(entries.len(), ENTRIES_MAX, "entries")?;
    }
    Ok(entries)
}

/// The months in which an event may start that had entries in this stretch of time.
fn months(from: Timestamp, to: Timestamp) -> Vec<String> {
    let day = |at: Timestamp, span: Span| at.to_zoned(jiff::tz::TimeZone::UTC).date().saturating_add(span);
    let end = day(to, MONTHS_AHEAD.months()).last_of_month();
    let mut month = day(from, (-MONTHS_BACK).months()).first_of_month();
    let mut months = Vec::new();
    while month <= end {
        months.push(month_of(Day::of(month).from));
        month = month.saturating_add(1.month());
    }
    months
}

fn check_limit(found: usize, most: usize, what: &str) -> Result<(), Error> {
    if found > most { Err(Error(format!("a run takes {most} {what}, and there are more"))) } else { Ok(()) }
}

/// What one thing left unmatched; without a thing, a movement that names nothing of ours.
#[derive(Default)]
struct Leftover<'a> {
    movements: Vec<&'a Movement>,
    entries: Vec<&'a Entry>,
}

/// Looks at everything that did not match, as it is now on both sides, and has settled what it can.
async fn reconcile(app: &App, day: &Day, compared: Compared<'_>) -> Result<Report, Error> {
    let mut leftovers: BTreeMap<Thing, Leftover<'_>> = BTreeMap::new();
    let mut findings = Vec::new();
    for movement in &compared.movements {
        match moved(movement) {
            Some((thing, _)) => leftovers.entry(thing).or_default().movements.push(movement),
            None => findings.push(of_movement(movement, "it names no order of ours")),
        }
    }
    for entry in &compared.entries {
        let (thing, _) = booked(entry).expect("only what is booked at the provider is compared");
        leftovers.entry(thing).or_default().entries.push(entry);
    }
    let unlooked = leftovers.len().saturating_sub(LOOKS_MAX);
    let looked_at = leftovers.len() - unlooked;
    let looks = leftovers.into_iter().take(LOOKS_MAX).map(|(thing, leftover)| look(app, thing, leftover));
    let looks: Vec<_> = looks.collect();
    let mut commands = Vec::new();
    let mut looks = stream::iter(looks).buffered(LOOKS_AT_ONCE_MAX);
    while let Some(looked) = looks.next().await {
        let (found, command) = looked?;
        findings.extend(found);
        commands.extend(command.map(|command| command.message(0)));
    }
    if !commands.is_empty() {
        let queue = app.config.get("PAYMENTS_QUEUE_URL").map_err(into_error)?;
        app.clients.bus.send(queue, commands).await.map_err(into_error)?;
    }
    for finding in &findings {
        let Finding { difference, flow, reference, provider, journal, healing, note, .. } = finding;
        let order = finding.order.map(|order| order.to_string());
        tracing::warn!(day = %day.date, ?difference, ?flow, reference, order, provider, journal, healing, note, "the books differ");
    }
    let (findings_total, healing) = (findings.len() + unlooked, findings.iter().filter(|found| found.healing).count());
    findings.truncate(FINDINGS_KEPT_MAX);
    let Compared { matched, others, sums, .. } = compared;
    let (day, ran_at) = (day.date, app.now());
    Ok(Report { day, ran_at, matched, looked_at, unlooked, others, findings_total, healing, sums, findings })
}

/// One thing, as the order, the journal and the provider have it now: findings, and what may heal them.
async fn look(app: &App, thing: Thing, left: Leftover<'_>) -> Result<(Vec<Finding>, Option<Command>), Error> {
    let order = match owner(app, &left).await? {
        Some((buyer, order)) => app.orders.get(buyer, order).await.map_err(into_error)?,
        None => None,
    };
    let Some(order) = order else {
        let note = "there is no such order";
        let moved = left.movements.iter().map(|movement| of_movement(movement, note));
        return Ok((moved.chain(left.entries.iter().map(|entry| of_entry(entry, note))).collect(), None));
    };
    let There { source, flows } = at_provider(app, &order, &thing).await?;
    let entries = app.ledger.of_order(order.event, order.id).await.map_err(into_error)?;
    let here = entries.iter().filter_map(|entry| {
        let (of, flow) = booked(entry)?;
        (of == thing).then(|| (flow, entry.of(Account::Provider)))
    });
    let here: Vec<(Flow, i64)> = here.collect();
    // Another payment of the order, or another refund under the same name: money that went twice.
    let is_stranger = |movement: &Movement| {
        movement.payment != order.payment || source.as_ref().is_some_and(|source| movement.source != *source)
    };
    let strangers = left.movements.iter().filter(|movement| is_stranger(movement));
    let mut findings: Vec<_> = strangers.map(|movement| of_movement(movement, "its order knows another one")).collect();
    let Some((difference, flow)) = differ(&flows, &here) else { return Ok((findings, None)) };
    let command = if difference == Difference::MissingHere { healer(&order, &thing) } else { None };
    let sum = |flows: &[(Flow, i64)]| flows.iter().map(|(_, amount)| amount).sum();
    let (at, reference) = match (left.movements.first(), left.entries.first()) {
        (Some(movement), _) => (movement.at, movement.source.clone()),
        (None, Some(entry)) => (entry.at, entry.key()),
        (None, None) => return Ok((findings, None)),
    };
    findings.push(Finding {
        difference,
        flow,
        at,
        reference,
        payment: order.payment.clone(),
        order: Some(order.id),
        buyer: Some(order.buyer),
        currency: order.currency,
        provider: sum(&flows),
        journal: sum(&here),
        healing: command.is_some(),
        note: if command.is_some() { "the order was told to look" } else { "a person has to look" }.into(),
    });
    Ok((findings, command))
}

/// Whose order a thing is of: as the journal says, or what the provider was told when it was made, or its payment.
async fn owner(app: &App, left: &Leftover<'_>) -> Result<Option<(UserId, OrderId)>, Error> {
    let booked = left.entries.first().map(|entry| (entry.buyer, entry.order));
    let told = left.movements.iter().find_map(|movement| movement.owner);
    if let Some(owner) = booked.or(told) {
        return Ok(Some(owner));
    }
    let Some(payment) = left.movements.iter().find_map(|movement| movement.payment.as_deref()) else { return Ok(None) };
    let payment = app.gateway.fetch(payment).await.map_err(into_error)?;
    Ok(payment.map(|payment| (payment.buyer, payment.order)))
}

/// What the provider has of a thing now.
#[derive(Default)]
struct There {
    /// Its id, where several could go by the same name.
    source: Option<String>,
    flows: Vec<(Flow, i64)>,
}

async fn at_provider(app: &App, order: &Order, thing: &Thing) -> Result<There, Error> {
    let Some(payment) = &order.payment else { return Ok(There::default()) };
    Ok(match thing {
        Thing::Capture(_) => {
            let captured = app.gateway.fetch(payment).await.map_err(into_error)?.map_or(0, |payment| payment.captured);
            let flows = (captured > 0).then_some((Flow::Capture, captured));
            There { source: None, flows: flows.into_iter().collect() }
        }
        Thing::Refund(key) => match app.gateway.find_refund(payment, key).await.map_err(into_error)? {
            Some(refund) => There { flows: flows_of_refund(&refund), source: Some(refund.id) },
            None => There::default(),
        },
        Thing::Dispute(id) => {
            let dispute = app.gateway.dispute(id).await.map_err(into_error)?;
            There { source: None, flows: dispute.map_or(Vec::new(), |dispute| flows_of_dispute(&dispute)) }
        }
    })
}

/// What makes `settle` look at a thing of an order, as its webhook would have.
fn healer(order: &Order, thing: &Thing) -> Option<Command> {
    let payment = order.payment.clone()?;
    match thing {
        Thing::Capture(_) => Some(Command::PaymentChanged { payment }),
        Thing::Refund(key) => {
            let refund = refund_of_key(key).filter(|refund| order.refund(*refund).is_some())?;
            Some(Command::RefundChanged { payment, refund })
        }
        Thing::Dispute(_) => Some(Command::DisputeChanged { payment }),
    }
}

/// A movement that no order can account for.
fn of_movement(movement: &Movement, note: &str) -> Finding {
    Finding {
        difference: Difference::MissingHere,
        flow: movement.kind.flow().expect("what no order knows of is not compared"),
        at: movement.at,
        reference: movement.source.clone(),
        payment: movement.payment.clone(),
        order: movement.owner.map(|(_, order)| order),
        buyer: movement.owner.map(|(buyer, _)| buyer),
        currency: movement.money.currency,
        provider: counted(movement),
        journal: 0,
        healing: false,
        note: note.to_owned(),
    }
}

/// An entry of an order that is not there.
fn of_entry(entry: &Entry, note: &str) -> Finding {
    let (_, flow) = booked(entry).expect("only what is booked at the provider is compared");
    Finding {
        difference: Difference::MissingThere,
        flow,
        at: entry.at,
        reference: entry.key(),
        payment: None,
        order: Some(entry.order),
        buyer: Some(entry.buyer),
        currency: entry.currency,
        provider: 0,
        journal: entry.of(Account::Provider),
        healing: false,
        note: note.to_owned(),
    }
}

/// Keeps the report, and tells CloudWatch, which tells a person.
async fn publish(app: &App, report: &Report) -> Result<(), Error> {
    app.desk.put_report(report).await.map_err(into_error)?;
    let Report { day, matched, looked_at, findings_total, healing, .. } = report;
    tracing::info!(%day, matched, looked_at, findings = findings_total, healing, "reconciled");
    let counts =
        [("ReconcileRuns", 1), ("ReconcileFindings", report.findings_total), ("ReconcileHealed", report.healing)];
    telemetry::count(report.ran_at, &counts);
    Ok(())
}

fn into_error(error: impl std::error::Error) -> Error {
    Error(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_months_reach_as_far_as_sales_and_banks_do() {
        let at = |text: &str| text.parse().expect("an instant");
        let months = months(at("2027-03-31T23:45:00Z"), at("2027-04-02T00:15:00Z"));
        assert_eq!((months[0].as_str(), months[months.len() - 1].as_str()), ("2025-08", "2029-04"));
        assert_eq!(months.len(), 45);
    }
}
