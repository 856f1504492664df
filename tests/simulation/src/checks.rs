//! What must hold of every run, once the faults have stopped and all has come to rest.

use crate::gate::Ask;
use crate::people::Seen;
use crate::world::World;
use domain::ids::TicketId;
use domain::ledger::Account;
use domain::orders::{Order, OrderState, TicketState};
use domain::payments::DisputeState;
use domain::refunds::RefundState;
use domain::seating::words::lapse_mark;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tests::Audit;

/// Records of a stream that are looked through; a run writes a few hundred.
const RECORDS_MAX: usize = 100_000;

/// Everything that is wrong with a run; empty if nothing is.
pub fn check(world: &World, books: &Audit, seen: &Seen) -> Vec<String> {
    let (mut wrong, orders) = (world.scandals.clone(), &books.orders);
    wrong.extend(audit(books));
    wrong.extend(check_rest(orders));
    wrong.extend(check_holds(world));
    wrong.extend(check_history(world));
    wrong.extend(check_effects(world));
    wrong.extend(check_answers(world, orders));
    wrong.extend(check_refunds(world, orders));
    wrong.extend(check_admitted(world, seen, orders));
    wrong.extend(check_cancelled(world, orders));
    wrong
}

/// Money, tickets, seats and journal agree with each other and with the provider's books.
fn audit(audit: &Audit) -> Option<String> {
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| audit.check()));
    checked.err().map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// What tables and the provider say now.
pub fn books(world: &World) -> Audit {
    let items = |table| world.tables.scan(table).into_iter().map(sdk_item).collect();
    Audit::of_items(items, world.stripe.books())
}

/// How many orders ended in each state, and what became of refunds and disputes.
pub fn ends(books: &Audit) -> BTreeMap<String, usize> {
    let Audit { orders, subscriptions, charges, .. } = books;
    let mut ends = BTreeMap::new();
    for order in orders {
        let refunds = order.refunds.iter().map(|refund| format!("refund {:?}", refund.sent.state));
        let disputes = order.disputes.iter().map(|dispute| format!("dispute {:?}", dispute.state));
        for end in refunds.chain(disputes).chain([format!("{:?}", order.state)]) {
            *ends.entry(end.to_lowercase()).or_default() += 1;
        }
    }
    let disputes = charges.iter().flat_map(|charge| &charge.disputes);
    let disputes = disputes.map(|known| format!("charge's dispute {:?}", known.dispute.state));
    let subscriptions = subscriptions.iter().map(|subscription| format!("subscription {:?}", subscription.state));
    let charges = charges.iter().map(|charge| format!("charge {:?} {:?}", charge.kind, charge.state));
    for end in subscriptions.chain(disputes).chain(charges) {
        *ends.entry(end.to_lowercase()).or_default() += 1;
    }
    ends
}

/// Whether the journal says something else than the provider's balance does.
fn books_differ(books: &Audit) -> bool {
    let Audit { entries, charge_entries, .. } = books;
    let of_orders = entries.iter().map(|entry| entry.of(Account::Provider));
    let journal: i64 = of_orders.chain(charge_entries.iter().map(|entry| entry.of(Account::Provider))).sum();
    // What a charge costs is not in the journal, what a dispute costs is.
    let movements = books.books.movements.iter();
    let provider = movements.map(|moved| if moved.kind == "charge" { moved.amount } else { moved.amount - moved.fee });
    journal != provider.sum::<i64>()
}

/// Whether the daily comparison has something to find: sums that differ, or a decision that nobody was told of.
pub fn must_reconcile(world: &World) -> bool {
    let books = books(world);
    let Audit { orders, charges, .. } = &books;
    let of_charges = charges.iter().flat_map(|charge| &charge.disputes).map(|known| &known.dispute);
    let known = orders.iter().flat_map(|order| &order.disputes).chain(of_charges);
    let open: BTreeSet<&str> =
        known.filter(|dispute| dispute.state == DisputeState::Open).map(|dispute| dispute.id.as_str()).collect();
    let is_news = |dispute: &sandbox::DisputeEntry| dispute.status.is_decided() && open.contains(dispute.id.as_str());
    books_differ(&books) || books.books.disputes.iter().any(is_news)
}

/// A refund that is done is one that the provider made, and one that failed is one that it could not make, or a bank
/// has the money.
fn check_refunds(world: &World, orders: &[Order]) -> Vec<String> {
    let mut wrong = Vec::new();
    let made = world.stripe.books().refunds;
    for order in orders {
        for refund in &order.refunds {
            let key = refund.provider_key();
            let of_key = made.iter().filter(|made| made.metadata.get("refund_id").is_some_and(|id| *id == key));
            let states: Vec<&str> = of_key.map(|made| made.status.as_str()).collect();
            let is_free = order.payment.is_none() || refund.amount == 0;
            let agrees = match refund.sent.state {
                RefundState::Done => is_free || states.iter().any(|state| *state != "failed"),
                RefundState::Failed => states.contains(&"failed") || !order.disputes.is_empty(),
                RefundState::Requested => !order.disputes.is_empty(),
            };
            if !agrees {
                wrong.push(format!("{refund:?} is {states:?} at the provider"));
            }
        }
        let given_back: Vec<_> = order.refunds.iter().flat_map(|refund| &refund.tickets).collect();
        if given_back.iter().collect::<BTreeSet<_>>().len() < given_back.len() {
            wrong.push(format!("a ticket was given back twice: {:?}", order.refunds));
        }
    }
    wrong
}

/// No order is left half-way.
fn check_rest(orders: &[Order]) -> Vec<String> {
    use OrderState::{Cancelled, Expired, Lost, Paid, PartlyRefunded, Refunded};
    let rests = |order: &&Order| {
        let at_rest = matches!(order.state, Paid | PartlyRefunded | Refunded | Expired | Lost | Cancelled);
        at_rest && order.due_at.is_none()
    };
    orders.iter().filter(|order| !rests(order)).map(|order| format!("an order does not rest: {order:?}")).collect()
}

/// No hold outlives its end.
fn check_holds(world: &World) -> Vec<String> {
    let mark = lapse_mark(world.clock.now());
    let rows = world.tables.scan("Seats").into_iter().flat_map(|row| tests::books::words(sdk_item(row)));
    let live = rows.filter(|(_, word)| word.starts_with('H') && *word >= mark);
    live.map(|(seat, word)| format!("a hold outlives its end: {seat:?} {word}")).collect()
}

/// Orders changed only as they may, and at no moment had two of them a ticket for one seat.
fn check_history(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut orders: HashMap<String, Order> = HashMap::new();
    let records = world
        .tables
        .store()
        .stream_records("Orders", world.begins_at("Orders"), RECORDS_MAX)
        .expect("the stream can be read");
    for record in records {
        let new = &record.event["dynamodb"]["NewImage"];
        if new.is_null() {
            wrong.push(format!("an order was deleted: {}", record.event["dynamodb"]["Keys"]));
            continue;
        }
        let new: Order = item(new.clone());
        let id = new.id.to_string();
        match orders.get(&id) {
            None if new.v == 1 => {}
            None => wrong.push(format!("an order begins in the middle: {new:?}")),
            Some(old) => wrong.extend(check_change(old, &new)),
        }
        orders.insert(id, new);
        wrong.extend(check_owners(orders.values()));
    }
    wrong
}

fn check_change(old: &Order, new: &Order) -> Option<String> {
    use OrderState as S;
    let may = match old.state {
        S::Held | S::Paying => matches!(new.state, S::Held | S::Paying | S::Settling | S::Expiring),
        S::Expiring => matches!(new.state, S::Settling | S::Expired | S::Cancelled),
        S::Settling => matches!(new.state, S::Paid | S::Lost),
        S::Paid | S::Refunding | S::PartlyRefunded => {
            matches!(new.state, S::Paid | S::Refunding | S::PartlyRefunded | S::Refunded)
        }
        S::Refunded => matches!(new.state, S::Refunded | S::Refunding | S::PartlyRefunded),
        S::Expired | S::Lost | S::Cancelled => new.state == old.state,
    };
    let is_next = new.v == old.v + 1;
    let lost = old.tickets().zip(new.tickets()).find(|((.., old), (.., new))| !may_become(*old, *new));
    (!may || !is_next || lost.is_some())
        .then(|| format!("an order became {:?} v{} from {:?} v{}: {new:?}", new.state, new.v, old.state, old.v))
}

/// What a ticket may become. One that admitted somebody is given back only where an event was called off.
fn may_become(old: TicketState, new: TicketState) -> bool {
    use TicketState as T;
    match old {
        T::Valid => new != T::Refunded,
        T::Used => matches!(new, T::Used | T::Refunding),
        T::Refunding => matches!(new, T::Refunding | T::Refunded | T::Disputed | T::ChargedBack),
        T::Disputed => matches!(new, T::Disputed | T::Valid | T::ChargedBack | T::Refunding),
        T::Refunded | T::ChargedBack => new == old,
    }
}

fn check_owners<'a>(orders: impl Iterator<Item = &'a Order>) -> Option<String> {
    let mut owners = BTreeMap::new();
    for order in orders {
        for (ticket, seat, state) in order.tickets() {
            let place = (order.event.to_string(), seat.section.clone(), seat.block.clone(), seat.index);
            if matches!(state, TicketState::Valid | TicketState::Used)
                && let Some(other) = owners.insert(place, ticket)
            {
                return Some(format!("{ticket} and {other} are for one seat"));
            }
        }
    }
    None
}

/// Each effect that was written reached the topic, or lies where a person finds it.
fn check_effects(world: &World) -> Vec<String> {
    let mut lost = BTreeSet::new();
    for table in ["Orders", "Catalog", "Subscriptions"] {
        for record in
            world.tables.store().stream_records(table, world.begins_at(table), RECORDS_MAX).expect("it can be read")
        {
            let effects = record.event.pointer("/dynamodb/NewImage/effects/L").and_then(Value::as_array);
            let ids = effects.into_iter().flatten().filter_map(|effect| effect.pointer("/M/id/S")?.as_str());
            lost.extend(ids.filter(|id| !world.published.contains(*id)).map(str::to_owned));
        }
    }
    lost.retain(|id| !world.queues.bodies().any(|body| body.contains(id.as_str())));
    lost.into_iter().map(|id| format!("the effect {id} was never published")).collect()
}

/// Once a request was done, it has that answer whenever it is repeated, heard or not; with other contents, its key is
/// refused. What was answered is there.
fn check_answers(world: &World, orders: &[Order]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut done: BTreeMap<String, (&Ask, u16, &Value)> = BTreeMap::new();
    for (ask, reply) in world.answers.iter().filter(|(_, reply)| reply.status < 500) {
        let Ask { who, method, path, key, body } = ask;
        let request = format!("{} {method} {path} {}", who.id, key.as_deref().unwrap_or_default());
        let (status, id) = (reply.status, &reply.body["id"]);
        match done.get(&request) {
            Some((first, ..)) if first.body != *body && reply.body["code"] == "idempotency_key_reused" => {}
            Some((first, ..)) if first.body != *body => {
                wrong.push(format!("{request} with other contents was answered {status} {}", reply.body));
            }
            Some((_, first, first_id)) if (*first, *first_id) != (status, id) => {
                wrong.push(format!("{request} was answered {first} {first_id} and then {status} {}", reply.body));
            }
            None if status < 300 => {
                done.insert(request, (ask, status, id));
            }
            _ => {}
        }
        let is_order = *method == "POST" && path == "/orders" && status == 201;
        if is_order && !orders.iter().any(|order| *id == order.id.to_string().as_str()) {
            wrong.push(format!("{ask:?} was answered, and the order is not there"));
        }
    }
    wrong
}

/// Whoever was let in had a ticket that is used now, unless everybody got their money back.
fn check_admitted(world: &World, seen: &Seen, orders: &[Order]) -> Vec<String> {
    let is_off = is_cancelled(world);
    let state = |ticket: &str| {
        let id: TicketId = ticket.parse().ok()?;
        let order = orders.iter().find(|order| order.id == id.order)?;
        order.ticket(id.index).map(|(.., state)| state)
    };
    let wrong = seen.admitted.iter().filter(|ticket| !is_off && state(ticket) != Some(TicketState::Used));
    wrong.map(|ticket| format!("{ticket} was let in and is {:?}", state(ticket))).collect()
}

/// Nobody keeps a ticket of an event that was called off.
fn check_cancelled(world: &World, orders: &[Order]) -> Vec<String> {
    if !is_cancelled(world) {
        return Vec::new();
    }
    let valid = orders.iter().flat_map(Order::tickets).filter(|(.., state)| *state == TicketState::Valid);
    valid.map(|(ticket, ..)| format!("{ticket} is valid for an event that was called off")).collect()
}

fn is_cancelled(world: &World) -> bool {
    world
        .tables
        .scan("Catalog")
        .iter()
        .any(|item| item.pointer("/status/S").is_some_and(|status| status == "cancelled"))
}

fn item<T: DeserializeOwned>(json: Value) -> T {
    let item: serde_dynamo::Item = serde_json::from_value(json).expect("the engine writes items");
    serde_dynamo::from_item(item).expect("items have their shape")
}

fn sdk_item(json: Value) -> tests::books::Item {
    let item: serde_dynamo::Item = serde_json::from_value(json).expect("the engine writes items");
    item.into()
}
