//! `reconcile`: once a day, the provider's movements of our balance against the journal. It moves no money, and its key
//! could not: what the journal lacks is put on the Payments queue, where `settle` finds it as if it had been told of it
//! in time; everything else is for a person. The next run says whether that was enough.

mod charges;

use crate::Error;
use crate::commands::Command;
use domain::ledger::{Account, Entry};
use domain::orders::{Order, refund_of_key};
use domain::payments::{Movement, ProviderDispute, ProviderRefundStatus};
use domain::reconcile::{
    AWAITED_MAX, Awaited, Compared, Day, Difference, FINDINGS_KEPT_MAX, Finding, Flow, Line, MARGIN_SECONDS, Owner,
    Report, Thing, booked, compare, counted, differ, flows_of_dispute, flows_of_refund, is_untold_loss, moved,
    open_disputes,
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
/// Reports, of those days and of runs that were repeated, that are read to know which; and pages of them.
const PAGE_REPORTS: u16 = 50;
const REPORT_PAGES_MAX: usize = 40;
/// Months around those days in which an event may start whose journal is read. Sales open up to two years ahead; a
/// buyer's bank may come until 540 days after (Stripe, "How disputes work").
const MONTHS_AHEAD: i32 = 24;
const MONTHS_BACK: i32 = 19;
/// Movements, and entries, of one day that are held in memory: some 500 bytes each.
const MOVEMENTS_MAX: usize = 100_000;
const ENTRIES_MAX: usize = 100_000;
/// Shards of journals that are read at the same time.
const SHARDS_AT_ONCE_MAX: usize = 16;
/// Things that are looked at one by one in a run, and at the same time: each takes two calls to the provider at most,
/// whose limit is 25 a second; so all take half of the time that a run has.
const LOOKS_MAX: usize = 4_000;
const LOOKS_AT_ONCE_MAX: usize = 4;

/// Does the latest day first, and each by itself: one that cannot be done keeps no other from being done.
pub async fn handle(app: App) -> Result<(), Error> {
    let last = Day::last_complete(app.now()).date;
    let reports = latest_reports(&app, last).await?;
    let (mut looks_left, mut failure) = (LOOKS_MAX, None);
    for day in days_to_do(last, &reports) {
        let carried = if day.date == last { awaited(&reports) } else { BTreeMap::new() };
        let looked_to = reports.get(&day.date).and_then(|report| report.looked_to.clone());
        match reconcile(&app, &day, carried, looked_to, &mut looks_left).await {
            Ok(report) => publish(&app, &report).await?,
            Err(error) => {
                tracing::error!(day = %day.date, %error, "a day was not compared");
                failure = failure.or(Some(error));
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The latest report of each of the last days, and of one before them if there is any.
async fn latest_reports(app: &App, last: Date) -> Result<BTreeMap<Date, Report>, Error> {
    let oldest = last.saturating_sub(DAYS_MAX.days());
    let (mut latest, mut cursor) = (BTreeMap::new(), None);
    for _ in 0..REPORT_PAGES_MAX {
        let (page, next) = app.desk.reports(cursor, PAGE_REPORTS).await?;
        for report in page {
            // The latest day comes first, and of each day the latest run.
            latest.entry(report.day).or_insert(report);
        }
        cursor = next;
        if cursor.is_none() || latest.keys().next().is_some_and(|day| *day <= oldest) {
            break;
        }
    }
    Ok(latest)
}

/// The last day that is over, however often it was done; those before it that no run has done; and those on which the
/// two sides last differed, until they agree.
fn days_to_do(last: Date, reports: &BTreeMap<Date, Report>) -> impl Iterator<Item = Day> {
    let is_due = move |date: &Date| match reports.get(date) {
        _ if *date == last => true,
        Some(report) => report.findings_total > 0,
        None => reports.keys().next().is_some_and(|first| first < date),
    };
    (0..DAYS_MAX).map(move |days| last.saturating_sub(days.days())).filter(is_due).map(Day::of)
}

/// What earlier runs have left to be looked at again, and whose it is.
fn awaited(reports: &BTreeMap<Date, Report>) -> BTreeMap<Thing, Owner> {
    let all = reports.values().flat_map(|report| &report.awaiting);
    all.map(|awaited| (awaited.thing(), awaited.owner)).collect()
}

async fn movements(app: &App, from: Timestamp, to: Timestamp) -> Result<Vec<Movement>, Error> {
    let (mut movements, mut cursor): (Vec<Movement>, Option<String>) = (Vec::new(), None);
    loop {
        let page = app.gateway.movements(from, to, cursor.as_deref()).await?;
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
        let events = app.recent_month(&month).await?;
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
        entries.extend(read?);
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
    if found > most { Err(Error::new(format!("a run takes {most} {what}, and there are more"))) } else { Ok(()) }
}

/// What one thing left unmatched; without a thing, a movement that names nothing of ours.
#[derive(Default)]
struct Leftover<'a> {
    movements: Vec<&'a Movement>,
    entries: Vec<Line<'a>>,
    /// Of what no movement of this day may tell, and is to be looked at all the same.
    owner: Option<Owner>,
}

/// What came of looking at a thing.
#[derive(Default)]
struct Looked {
    findings: Vec<Finding>,
    /// What may heal it.
    command: Option<Command>,
    awaited: Option<Awaited>,
}

/// Compares a day. `carried` is what is looked at beside, and `looked_to` where the last run of this day ended.
async fn reconcile(
    app: &App,
    day: &Day,
    carried: BTreeMap<Thing, Owner>,
    looked_to: Option<Thing>,
    looks_left: &mut usize,
) -> Result<Report, Error> {
    let margin = SignedDuration::from_secs(MARGIN_SECONDS);
    let (from, to) = (day.from - margin, day.to + margin);
    let (movements, entries) = (movements(app, from, to).await?, journal(app, from, to).await?);
    let of_charges = charges::journal(app, from, to).await?;
    let lines: Vec<_> = entries.iter().map(Line::Order).chain(of_charges.iter().map(Line::Charge)).collect();
    let compared = compare(day, &movements, &lines);
    let nameless = compared.movements.iter().filter(|movement| moved(movement).is_none());
    let mut findings: Vec<_> = nameless.map(|movement| of_movement(movement, "it names nothing of ours")).collect();
    let mut leftovers = leftovers(&compared);
    let undecided = undecided(day, app.now(), &entries).into_iter().chain(charges::undecided(&of_charges));
    for (thing, owner) in carried.into_iter().chain(undecided) {
        leftovers.entry(thing).or_default().owner = Some(owner);
    }
    let (chosen, rest, looked_to) = choose(leftovers, looked_to, *looks_left);
    let (looked_at, mut unlooked) = (chosen.len(), rest.len());
    *looks_left -= looked_at;
    let mut awaiting: Vec<_> = rest.iter().filter_map(|(thing, left)| Awaited::of(thing, left.owner?)).collect();
    let mut commands = Vec::new();
    let looks: Vec<_> = chosen.into_iter().map(|(thing, leftover)| look(app, thing, leftover)).collect();
    let mut looks = stream::iter(looks).buffered(LOOKS_AT_ONCE_MAX);
    while let Some(looked) = looks.next().await {
        let looked = looked?;
        findings.extend(looked.findings);
        awaiting.extend(looked.awaited);
        commands.extend(looked.command.map(|command| command.message(0)));
    }
    if !commands.is_empty() {
        let queue = app.config.get("PAYMENTS_QUEUE_URL")?;
        app.clients.bus.send(queue, commands).await?;
    }
    unlooked += awaiting.len().saturating_sub(AWAITED_MAX);
    awaiting.truncate(AWAITED_MAX);
    log(day, &findings);
    let (findings_total, healing) = (findings.len() + unlooked, findings.iter().filter(|found| found.healing).count());
    findings.truncate(FINDINGS_KEPT_MAX);
    Ok(Report {
        day: day.date,
        ran_at: app.now(),
        matched: compared.matched,
        looked_at,
        unlooked,
        looked_to,
        awaiting,
        others: compared.others,
        findings_total,
        healing,
        sums: compared.sums,
        findings,
    })
}

/// Everything of a day that did not match and names something of ours, by what it is of.
fn leftovers<'a>(compared: &Compared<'a>) -> BTreeMap<Thing, Leftover<'a>> {
    let mut leftovers: BTreeMap<Thing, Leftover<'a>> = BTreeMap::new();
    for movement in &compared.movements {
        if let Some((thing, _)) = moved(movement) {
            leftovers.entry(thing).or_default().movements.push(movement);
        }
    }
    for &entry in &compared.entries {
        let (thing, _) = entry.booked().expect("only what is booked at the provider is compared");
        leftovers.entry(thing).or_default().entries.push(entry);
    }
    leftovers
}

/// The disputes that are open by the journal, whenever they began, beside the last day that is over.
fn undecided(day: &Day, now: Timestamp, entries: &[Entry]) -> Vec<(Thing, Owner)> {
    let is_last = day.date == Day::last_complete(now).date;
    let open = if is_last { open_disputes(entries) } else { Vec::new() };
    open.into_iter().filter_map(|entry| Some((booked(entry)?.0, of_order(entry)))).collect()
}

fn of_order(entry: &Entry) -> Owner {
    Owner::Order { buyer: entry.buyer, order: entry.order }
}

type Leftovers<'a> = Vec<(Thing, Leftover<'a>)>;

/// At most so many things, from after where the last run ended, and round; the rest; and where this run ends, if there is
/// a rest.
fn choose(
    mut leftovers: BTreeMap<Thing, Leftover<'_>>,
    looked_to: Option<Thing>,
    most: usize,
) -> (Leftovers<'_>, Leftovers<'_>, Option<Thing>) {
    let mut after = match &looked_to {
        Some(thing) => leftovers.split_off(thing),
        None => BTreeMap::new(),
    };
    let at = looked_to.as_ref().and_then(|thing| after.remove_entry(thing));
    let mut chosen: Vec<_> = after.into_iter().chain(leftovers).chain(at).collect();
    let rest = chosen.split_off(most.min(chosen.len()));
    let ended = if rest.is_empty() { None } else { chosen.last().map(|(thing, _)| thing.clone()).or(looked_to) };
    (chosen, rest, ended)
}

fn log(day: &Day, findings: &[Finding]) {
    for finding in findings {
        let Finding { difference, flow, reference, provider, journal, healing, note, .. } = finding;
        let order = finding.order.map(|order| order.to_string());
        let charge = finding.charge.map(|charge| charge.to_string());
        tracing::warn!(day = %day.date, ?difference, ?flow, reference, order, charge, provider, journal, healing, note, "the books differ");
    }
}

/// One thing, as the order or charge, the journal and the provider have it now: findings, and what may heal them.
async fn look(app: &App, thing: Thing, left: Leftover<'_>) -> Result<Looked, Error> {
    match owner(app, &left).await? {
        Some(Owner::Order { buyer, order }) => match app.orders.get(buyer, order).await? {
            Some(order) => look_at_order(app, &order, thing, left).await,
            None => Ok(unknown(&left, "there is no such order")),
        },
        Some(Owner::Charge { charge, .. }) => match app.subscriptions.charge(charge).await? {
            Some(charge) => charges::look(app, &charge, thing, left).await,
            None => Ok(unknown(&left, "there is no such charge")),
        },
        None => Ok(unknown(&left, "there is no such order")),
    }
}

/// What nothing of ours can account for.
fn unknown(left: &Leftover<'_>, note: &str) -> Looked {
    let moved = left.movements.iter().map(|movement| of_movement(movement, note));
    let findings = moved.chain(left.entries.iter().map(|entry| of_entry(*entry, note))).collect();
    Looked { findings, ..Looked::default() }
}

async fn look_at_order(app: &App, order: &Order, thing: Thing, left: Leftover<'_>) -> Result<Looked, Error> {
    let entries = app.ledger.of_order(order.event, order.id).await?;
    let there = at_provider(app, order.payment.as_deref(), &thing).await?;
    let of_it = |entry: &&Entry| booked(entry).is_some_and(|(of, _)| of == thing);
    let here: Vec<_> = entries.iter().filter(of_it).collect();
    let flows: Vec<_> = here.iter().filter_map(|entry| Some((booked(entry)?.1, entry.of(Account::Provider)))).collect();
    // Another payment of the order, or another refund under the same name: money that went twice.
    let is_stranger = |movement: &Movement| {
        movement.payment != order.payment || there.source.as_ref().is_some_and(|source| movement.source != *source)
    };
    let strangers = left.movements.iter().filter(|movement| is_stranger(movement));
    let mut findings: Vec<_> = strangers.map(|movement| of_movement(movement, "its order knows another one")).collect();
    let is_untold = there.dispute.as_ref().is_some_and(|dispute| is_untold_loss(dispute, &entries));
    let untold = is_untold.then_some((Difference::MissingHere, Flow::DisputeLost));
    let differs = differ(&there.flows, &flows).or(untold);
    // Until both sides say the same, and the provider is at rest, where no movement of another day might tell.
    let is_awaited = there.is_pending || (differs.is_some() && left.owner.is_some());
    let awaited =
        is_awaited.then(|| Awaited::of(&thing, Owner::Order { buyer: order.buyer, order: order.id })).flatten();
    let Some((difference, flow)) = differs else { return Ok(Looked { findings, command: None, awaited }) };
    let command = if difference == Difference::MissingHere { healer(order, &thing) } else { None };
    let booked_first = left.entries.first().copied().or(here.first().map(|entry| Line::Order(entry)));
    let Some((at, reference)) = place(&left, booked_first) else {
        return Ok(Looked { findings, command, awaited });
    };
    findings.push(Finding {
        difference,
        flow,
        at,
        reference,
        payment: order.payment.clone(),
        order: Some(order.id),
        charge: None,
        buyer: Some(order.buyer),
        currency: order.currency,
        provider: sum(&there.flows),
        journal: sum(&flows),
        healing: command.is_some(),
        note: if command.is_some() { "the order was told to look" } else { "a person has to look" }.into(),
    });
    Ok(Looked { findings, command, awaited })
}

/// When and by what name a finding is shown; none where neither side has one of this day.
fn place(left: &Leftover<'_>, booked: Option<Line<'_>>) -> Option<(Timestamp, String)> {
    let moved = left.movements.first().map(|movement| (movement.at, movement.source.clone()));
    moved.or_else(|| booked.map(|line| (line.at(), line.key())))
}

fn sum(flows: &[(Flow, i64)]) -> i64 {
    flows.iter().map(|(_, amount)| amount).sum()
}

/// Whose a thing is: as the journal says, or what the provider was told when it was made, or its payment.
async fn owner(app: &App, left: &Leftover<'_>) -> Result<Option<Owner>, Error> {
    let booked = left.entries.first().map(|line| match line {
        Line::Order(entry) => of_order(entry),
        Line::Charge(entry) => Owner::Charge { user: entry.user, charge: entry.charge },
    });
    let told = left.movements.iter().find_map(|movement| Owner::of(movement.purpose.as_ref()?));
    if let Some(owner) = left.owner.or(booked).or(told) {
        return Ok(Some(owner));
    }
    let Some(payment) = left.movements.iter().find_map(|movement| movement.payment.as_deref()) else { return Ok(None) };
    let payment = app.gateway.fetch(payment).await?;
    Ok(payment.and_then(|payment| Owner::of(&payment.purpose)))
}

/// What the provider has of a thing now.
#[derive(Default)]
struct There {
    /// Its id, where several could go by the same name.
    source: Option<String>,
    flows: Vec<(Flow, i64)>,
    /// A refund of which no money has moved yet.
    is_pending: bool,
    dispute: Option<ProviderDispute>,
}

/// What the provider has of a thing of this payment, whether an order's or a charge's.
async fn at_provider(app: &App, payment: Option<&str>, thing: &Thing) -> Result<There, Error> {
    let Some(payment) = payment else { return Ok(There::default()) };
    Ok(match thing {
        Thing::Capture(_) | Thing::Charge(_) => {
            let captured = app.gateway.fetch(payment).await?.map_or(0, |payment| payment.captured);
            let flows = (captured > 0).then_some((Flow::Capture, captured));
            There { flows: flows.into_iter().collect(), ..There::default() }
        }
        Thing::Refund(key) => match app.gateway.find_refund(payment, key).await? {
            Some(refund) => {
                let is_pending = refund.status == ProviderRefundStatus::Pending;
                There { flows: flows_of_refund(&refund), is_pending, source: Some(refund.id), ..There::default() }
            }
            None => There::default(),
        },
        Thing::Dispute(id) => {
            let dispute = app.gateway.dispute(id).await?;
            There { flows: dispute.iter().flat_map(flows_of_dispute).collect(), dispute, ..There::default() }
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
        Thing::Charge(_) => None,
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
        order: movement.order().map(|(_, order)| order),
        charge: match movement.purpose.as_ref().and_then(Owner::of) {
            Some(Owner::Charge { charge, .. }) => Some(charge),
            _ => None,
        },
        buyer: movement.order().map(|(buyer, _)| buyer),
        currency: movement.money.currency,
        provider: counted(movement),
        journal: 0,
        healing: false,
        note: note.to_owned(),
    }
}

/// An entry of an order or a charge that is not there.
fn of_entry(line: Line<'_>, note: &str) -> Finding {
    let (_, flow) = line.booked().expect("only what is booked at the provider is compared");
    let (order, charge, buyer) = match line {
        Line::Order(entry) => (Some(entry.order), None, entry.buyer),
        Line::Charge(entry) => (None, Some(entry.charge), entry.user),
    };
    Finding {
        difference: Difference::MissingThere,
        flow,
        at: line.at(),
        reference: line.key(),
        payment: None,
        order,
        charge,
        buyer: Some(buyer),
        currency: line.currency(),
        provider: 0,
        journal: line.moved(),
        healing: false,
        note: note.to_owned(),
    }
}

/// Keeps the report, and tells CloudWatch, which tells a person.
async fn publish(app: &App, report: &Report) -> Result<(), Error> {
    app.desk.put_report(report).await?;
    let Report { day, matched, looked_at, findings_total, healing, .. } = report;
    tracing::info!(%day, matched, looked_at, findings = findings_total, healing, "reconciled");
    let counts =
        [("ReconcileRuns", 1), ("ReconcileFindings", report.findings_total), ("ReconcileHealed", report.healing)];
    telemetry::count(report.ran_at, &counts, None);
    Ok(())
}

#[cfg(test)]
mod tests;
