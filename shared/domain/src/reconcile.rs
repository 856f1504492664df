//! The provider's books against the journal: what each counted of one thing, told apart by what it is and never by
//! amount or time.
//!
//! A day's movements and entries are first matched with each other, with a margin on both sides of the day for clocks
//! that differ. What is left is looked at one by one, as both sides have it now: only then is it a finding.

use crate::ids::{OrderId, UserId};
use crate::ledger::{Account, Cause, ChargeCause, ChargeEntry, Entry};
use crate::money::Currency;
use crate::orders::provider_key;
use crate::payments::{
    DisputeState, Movement, MovementKind, ProviderDispute, ProviderRefund, ProviderRefundStatus, Purpose, Swing,
};
use crate::refunds::RefundState;
use crate::subscriptions::{Charge, ChargeRef, ChargeState};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Seconds around a day in which the other half of a movement is looked for: ten minutes by which a clock may be wrong,
/// and five in which a message may be late.
pub const MARGIN_SECONDS: i64 = 900;
/// Refunds and disputes that a report may carry to the next run: some 130 bytes each.
pub const AWAITED_MAX: usize = 1_000;
/// Findings that a report keeps; it counts all of them.
pub const FINDINGS_KEPT_MAX: usize = 200;

/// A thing whose money both sides count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    /// The one payment of an order.
    Capture(OrderId),
    /// The one payment of a subscription's charge.
    Charge(ChargeRef),
    /// A refund, by the key that the provider knows it by.
    Refund(String),
    /// A dispute, by the provider's id.
    Dispute(String),
}

/// What happened to a thing's money; each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    Capture,
    Refund,
    RefundReversed,
    DisputeWithdrawn,
    DisputeReinstated,
    /// The bank keeps what it took: this moves no money, and is in no list of movements.
    DisputeLost,
}

/// A day of UTC, by which both sides' books are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    pub date: Date,
    pub from: Timestamp,
    /// The first instant of the next day.
    pub to: Timestamp,
}

impl Day {
    pub fn of(date: Date) -> Self {
        let start = |date: Date| date.to_zoned(TimeZone::UTC).expect("UTC has every midnight").timestamp();
        Self { date, from: start(date), to: start(date.tomorrow().unwrap_or(date)) }
    }

    /// The last day that is over, margin and all.
    pub fn last_complete(now: Timestamp) -> Self {
        let over = (now - SignedDuration::from_secs(MARGIN_SECONDS)).to_zoned(TimeZone::UTC).date();
        Self::of(over.yesterday().unwrap_or(over))
    }

    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    fn is_near(&self, at: Timestamp) -> bool {
        let margin = SignedDuration::from_secs(MARGIN_SECONDS);
        self.from - margin <= at && at < self.to + margin
    }
}

/// What each side moved on a day, in minor units of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// The provider's movements of payments, refunds and disputes: gross, with the fees of disputes.
    pub provider: i64,
    /// The journal's account of the provider.
    pub journal: i64,
    /// What the provider took for payments, which the journal does not book.
    pub fees: i64,
}

/// An entry of the journal: of an order, or of a subscription's charge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Line<'a> {
    Order(&'a Entry),
    Charge(&'a ChargeEntry),
}

impl Line<'_> {
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Order(entry) => entry.at,
            Self::Charge(entry) => entry.at,
        }
    }

    pub fn currency(&self) -> Currency {
        match self {
            Self::Order(entry) => entry.currency,
            Self::Charge(entry) => entry.currency,
        }
    }

    /// What it adds to the provider's account, in minor units.
    pub fn moved(&self) -> i64 {
        match self {
            Self::Order(entry) => entry.of(Account::Provider),
            Self::Charge(entry) => entry.of(Account::Provider),
        }
    }

    pub fn key(&self) -> String {
        match self {
            Self::Order(entry) => entry.key(),
            Self::Charge(entry) => entry.key(),
        }
    }

    /// Which thing it books the money of, and how; `None` where none was moved at the provider.
    pub fn booked(&self) -> Option<(Thing, Flow)> {
        match self {
            Self::Order(entry) => booked(entry),
            Self::Charge(entry) => booked_of_charge(entry),
        }
    }
}

/// A day's matching.
#[derive(Debug, Default)]
pub struct Compared<'a> {
    /// Movements and entries of the day that belong to each other, or to one within the margin.
    pub matched: usize,
    /// Movements of the day without an entry that says the same.
    pub movements: Vec<&'a Movement>,
    /// Entries of the day without a movement that says the same.
    pub entries: Vec<Line<'a>>,
    /// Movements of the day that no order knows of, such as payouts.
    pub others: usize,
    /// By currency code.
    pub sums: BTreeMap<String, Sums>,
}

impl MovementKind {
    /// What happened to the money of an order; `None` where it is no order's.
    pub fn flow(&self) -> Option<Flow> {
        match self {
            Self::Capture => Some(Flow::Capture),
            Self::Refund(_) => Some(Flow::Refund),
            Self::RefundReversed(_) => Some(Flow::RefundReversed),
            Self::DisputeWithdrawn => Some(Flow::DisputeWithdrawn),
            Self::DisputeReinstated => Some(Flow::DisputeReinstated),
            Self::Other => None,
        }
    }
}

/// Which thing a movement moved the money of, and how; `None` where nothing of ours is named.
pub fn moved(movement: &Movement) -> Option<(Thing, Flow)> {
    let thing = match &movement.kind {
        MovementKind::Capture => match movement.purpose.as_ref()? {
            Purpose::Order { order, .. } => Thing::Capture(*order),
            Purpose::Subscription { subscription, period, .. } => {
                Thing::Charge(ChargeRef::of_payment(subscription, period)?)
            }
        },
        MovementKind::Refund(key) | MovementKind::RefundReversed(key) => Thing::Refund(key.clone()?),
        MovementKind::DisputeWithdrawn | MovementKind::DisputeReinstated => Thing::Dispute(movement.source.clone()),
        MovementKind::Other => return None,
    };
    Some((thing, movement.kind.flow()?))
}

/// What a movement did to the balance as the journal counts it: captures and refunds gross, disputes with their fees.
pub fn counted(movement: &Movement) -> i64 {
    match movement.kind {
        MovementKind::DisputeWithdrawn | MovementKind::DisputeReinstated => movement.money.amount - movement.fee,
        _ => movement.money.amount,
    }
}

/// Which thing an entry books the money of, and how; `None` where none was moved at the provider.
pub fn booked(entry: &Entry) -> Option<(Thing, Flow)> {
    if entry.of(Account::Provider) == 0 {
        return None;
    }
    Some(match &entry.cause {
        Cause::Sale | Cause::UnadoptedCapture => (Thing::Capture(entry.order), Flow::Capture),
        Cause::Refund { refund, retries } => (Thing::Refund(provider_key(*refund, *retries)), Flow::Refund),
        Cause::RefundReversed { refund, retries } => {
            (Thing::Refund(provider_key(*refund, *retries)), Flow::RefundReversed)
        }
        Cause::DisputeWithdrawn { dispute } => (Thing::Dispute(dispute.clone()), Flow::DisputeWithdrawn),
        Cause::DisputeReinstated { dispute } => (Thing::Dispute(dispute.clone()), Flow::DisputeReinstated),
        Cause::DisputeLost { .. } | Cause::DisputeLossReversed { .. } => return None,
    })
}

/// The same of a subscription's entry.
fn booked_of_charge(entry: &ChargeEntry) -> Option<(Thing, Flow)> {
    if entry.of(Account::Provider) == 0 {
        return None;
    }
    let key = |refund, retries| Thing::Refund(ChargeRef::refund_key(refund, retries));
    Some(match &entry.cause {
        ChargeCause::SubscriptionCharge | ChargeCause::UnadoptedCharge => (Thing::Charge(entry.charge), Flow::Capture),
        ChargeCause::ChargeRefund { refund, retries } => (key(*refund, *retries), Flow::Refund),
        ChargeCause::ChargeRefundReversed { refund, retries } => (key(*refund, *retries), Flow::RefundReversed),
        ChargeCause::DisputeWithdrawn { dispute } => (Thing::Dispute(dispute.clone()), Flow::DisputeWithdrawn),
        ChargeCause::DisputeReinstated { dispute } => (Thing::Dispute(dispute.clone()), Flow::DisputeReinstated),
        ChargeCause::Recognised { .. } | ChargeCause::DisputeLost { .. } | ChargeCause::DisputeLossReversed { .. } => {
            return None;
        }
    })
}

/// What is booked of a thing of a charge in all. It is read from the charge, which is written with its entries or not at all:
/// they may be in the journals of several months.
pub fn flows_of_charge(charge: &Charge, thing: &Thing) -> Vec<(Flow, i64)> {
    match thing {
        Thing::Charge(_) => {
            let is_paid = charge.state == ChargeState::Succeeded && charge.amount.amount > 0;
            let paid = charge.unadopted.or(is_paid.then_some(charge.amount.amount));
            paid.into_iter().map(|amount| (Flow::Capture, amount)).collect()
        }
        Thing::Refund(key) => {
            let refund = charge.refunds.iter().find(|refund| refund.provider_key() == *key);
            match refund.map(|refund| (refund.sent.state, refund.amount)) {
                Some((RefundState::Done, amount)) => vec![(Flow::Refund, -amount)],
                // A try before the last one, too, has failed: what was booked of it was booked back.
                Some((RefundState::Requested | RefundState::Failed, _)) | None => Vec::new(),
            }
        }
        Thing::Dispute(id) => {
            charge.dispute(id).map_or_else(Vec::new, |known| swings(known.withdrawn, known.reinstated))
        }
        Thing::Capture(_) => Vec::new(),
    }
}

/// Movements and entries that say that the same happened to the same thing.
type Both<'a> = (Vec<&'a Movement>, Vec<Line<'a>>);

/// Matches a day's movements and entries; both lists may hold those of other days too.
pub fn compare<'a>(day: &Day, movements: &'a [Movement], entries: &[Line<'a>]) -> Compared<'a> {
    let mut compared = Compared::default();
    let mut groups: BTreeMap<(Thing, Flow), Both<'a>> = BTreeMap::new();
    for movement in movements.iter().filter(|movement| day.is_near(movement.at)) {
        let is_today = day.contains(movement.at);
        if movement.kind == MovementKind::Other {
            compared.others += usize::from(is_today);
            continue;
        }
        if is_today {
            let sums = compared.sums.entry(movement.money.currency.code().to_owned()).or_default();
            sums.provider += counted(movement);
            sums.fees += movement.fee - (movement.money.amount - counted(movement));
        }
        match moved(movement) {
            Some(key) => groups.entry(key).or_default().0.push(movement),
            None if is_today => compared.movements.push(movement),
            None => {}
        }
    }
    for &entry in entries.iter().filter(|entry| day.is_near(entry.at())) {
        let Some(key) = entry.booked() else { continue };
        if day.contains(entry.at()) {
            compared.sums.entry(entry.currency().code().to_owned()).or_default().journal += entry.moved();
        }
        groups.entry(key).or_default().1.push(entry);
    }
    for (movements, entries) in groups.into_values() {
        let movements_today = movements.iter().filter(|movement| day.contains(movement.at));
        let entries_today = entries.iter().copied().filter(|entry| day.contains(entry.at()));
        match (&movements[..], &entries[..]) {
            ([movement], [entry]) if agree(movement, *entry) => {
                compared.matched += movements_today.count() + entries_today.count();
            }
            _ => {
                compared.movements.extend(movements_today);
                compared.entries.extend(entries_today);
            }
        }
    }
    compared
}

fn agree(movement: &Movement, entry: Line<'_>) -> bool {
    movement.money.currency == entry.currency() && counted(movement) == entry.moved()
}

/// What a refund moved in all, as the provider has it now. One that failed may never have moved anything: then both of
/// its flows are missing in the books, and add up to nothing all the same.
pub fn flows_of_refund(refund: &ProviderRefund) -> Vec<(Flow, i64)> {
    let given = (Flow::Refund, -refund.amount);
    match refund.status {
        // Booked when it was taken on, and so counted from then.
        ProviderRefundStatus::Pending | ProviderRefundStatus::Succeeded => vec![given],
        ProviderRefundStatus::Failed => vec![given, (Flow::RefundReversed, refund.amount)],
    }
}

/// What a dispute moved in all, as the provider has it now.
pub fn flows_of_dispute(dispute: &ProviderDispute) -> Vec<(Flow, i64)> {
    swings(dispute.withdrawn, dispute.reinstated)
}

fn swings(withdrawn: Option<Swing>, reinstated: Option<Swing>) -> Vec<(Flow, i64)> {
    let withdrawn = withdrawn.map(|Swing { amount, fee }| (Flow::DisputeWithdrawn, -amount - fee));
    let reinstated = reinstated.map(|Swing { amount, fee }| (Flow::DisputeReinstated, amount - fee));
    withdrawn.into_iter().chain(reinstated).collect()
}

/// The entries of disputes on whose end nothing is booked, of whatever day: that they were lost moves no money, so no
/// movement ever says so.
pub fn open_disputes(entries: &[Entry]) -> Vec<&Entry> {
    let (mut open, mut ended) = (BTreeMap::new(), BTreeSet::new());
    for entry in entries {
        match &entry.cause {
            Cause::DisputeWithdrawn { dispute } => {
                open.insert(dispute, entry);
            }
            Cause::DisputeReinstated { dispute } | Cause::DisputeLost { dispute } => {
                ended.insert(dispute);
            }
            _ => {}
        }
    }
    open.into_iter().filter(|(dispute, _)| !ended.contains(dispute)).map(|(_, entry)| entry).collect()
}

/// Whether a dispute was lost that the journal, by all entries of its order, counts as open.
pub fn is_untold_loss(dispute: &ProviderDispute, entries: &[Entry]) -> bool {
    let is_booked = |entry: &Entry| matches!(&entry.cause, Cause::DisputeLost { dispute: of } if *of == dispute.id);
    is_lost(dispute) && !entries.iter().any(is_booked)
}

/// The same of a charge, which is written with its entries or not at all.
pub fn is_untold_loss_of_charge(dispute: &ProviderDispute, charge: &Charge) -> bool {
    is_lost(dispute) && charge.dispute(&dispute.id).is_none_or(|known| !known.was_lost || known.withdrawn.is_none())
}

fn is_lost(dispute: &ProviderDispute) -> bool {
    dispute.state == DisputeState::Lost && dispute.withdrawn.is_some() && dispute.reinstated.is_none()
}

/// In which way the two sides differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The provider moved money that the journal does not know of.
    MissingHere,
    /// The journal says that money moved which the provider does not know of.
    MissingThere,
    AmountDiffers,
}

/// How the two sides differ about one thing, if they do: all that the provider moved for it, and all that is booked.
pub fn differ(there: &[(Flow, i64)], here: &[(Flow, i64)]) -> Option<(Difference, Flow)> {
    let sum = |flows: &[(Flow, i64)]| flows.iter().map(|(_, amount)| amount).sum::<i64>();
    if sum(there) == sum(here) {
        return None;
    }
    let only_in = |of: &[(Flow, i64)], other: &[(Flow, i64)]| {
        of.iter().map(|(flow, _)| *flow).find(|flow| !other.iter().any(|(known, _)| known == flow))
    };
    let unequal = there.iter().find(|flow| !here.contains(flow)).map(|(flow, _)| *flow);
    match (only_in(there, here), only_in(here, there)) {
        (Some(flow), _) => Some((Difference::MissingHere, flow)),
        (None, Some(flow)) => Some((Difference::MissingThere, flow)),
        (None, None) => unequal.map(|flow| (Difference::AmountDiffers, flow)),
    }
}

/// Something on which the two sides do not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub difference: Difference,
    pub flow: Flow,
    /// When it was moved, or booked.
    pub at: Timestamp,
    /// The provider's id of the payment, refund or dispute; our own key where the provider has none.
    pub reference: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<ChargeRef>,
    /// The buyer, or subscriber.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<UserId>,
    pub currency: Currency,
    /// Minor units that the provider moved for it in all.
    pub provider: i64,
    /// Minor units that are booked for it in all.
    pub journal: i64,
    /// Whether the order was told to look: the next run says whether that was enough. Otherwise a person has to.
    pub healing: bool,
    /// For people.
    pub note: String,
}

/// Whose money a thing is, and what of theirs it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Owner {
    Order { buyer: UserId, order: OrderId },
    Charge { user: UserId, charge: ChargeRef },
}

impl Owner {
    /// As the provider was told; none where it names no charge of ours.
    pub fn of(purpose: &Purpose) -> Option<Self> {
        Some(match purpose {
            Purpose::Order { buyer, order } => Self::Order { buyer: *buyer, order: *order },
            Purpose::Subscription { user, subscription, period } => {
                Self::Charge { user: *user, charge: ChargeRef::of_payment(subscription, period)? }
            }
        })
    }
}

/// A refund that is booked and has not moved at the provider, or that failed there and is being healed; or a dispute of a
/// charge that is open. Its day is over and no movement may ever tell of it, so each run looks at it until both sides agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// The key that the provider knows it by, or its id of a dispute.
    pub key: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_dispute: bool,
    #[serde(flatten)]
    pub owner: Owner,
}

impl Awaited {
    /// What is looked at again; none of what a movement or an entry tells of.
    pub fn of(thing: &Thing, owner: Owner) -> Option<Self> {
        match (thing, owner) {
            (Thing::Refund(key), _) => Some(Self { key: key.clone(), is_dispute: false, owner }),
            // The journal of an order is asked for its open disputes each time.
            (Thing::Dispute(key), Owner::Charge { .. }) => Some(Self { key: key.clone(), is_dispute: true, owner }),
            (Thing::Capture(_) | Thing::Charge(_) | Thing::Dispute(_), _) => None,
        }
    }

    pub fn thing(&self) -> Thing {
        if self.is_dispute { Thing::Dispute(self.key.clone()) } else { Thing::Refund(self.key.clone()) }
    }
}

/// What a run found of one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub day: Date,
    pub ran_at: Timestamp,
    /// Movements and entries of the day that matched.
    pub matched: usize,
    /// Things that were looked at one by one.
    pub looked_at: usize,
    /// Things that were too many to be looked at; they count as findings.
    pub unlooked: usize,
    /// Where the looking ended then: the next run of this day goes on after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_to: Option<Thing>,
    /// Refunds and disputes that the next run looks at again, [`AWAITED_MAX`] at most; more count as not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaiting: Vec<Awaited>,
    /// Movements that no order knows of, such as payouts: not compared.
    pub others: usize,
    /// All findings, kept or not.
    pub findings_total: usize,
    /// Findings that are being healed.
    pub healing: usize,
    pub sums: BTreeMap<String, Sums>,
    /// The first [`FINDINGS_KEPT_MAX`].
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests;
