//! The count at the end. It asks the buyers for their tickets and the provider for its books, and compares both with
//! what the buyers paid; the tables that make overselling impossible are not asked.

use crate::Failed;
use crate::http::Connection;
use crate::people::Person;
use crate::phases::Sales;
use crate::server::Started;
use domain::ids::OrderId;
use hyper::Request;
use hyper::header::AUTHORIZATION;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};

/// Items of a page, for both APIs.
const PAGE_ITEMS: usize = 100;
const PAGES_MAX: usize = 100_000;
/// Differences that are printed.
const SHOWN_MAX: usize = 20;

#[derive(Deserialize)]
struct TicketPage {
    items: Vec<Ticket>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Ticket {
    event_id: String,
    section: String,
    row: String,
    seat: String,
    price: Price,
    status: String,
}

#[derive(Deserialize)]
struct Price {
    amount: i64,
}

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    has_more: bool,
}

#[derive(Deserialize)]
struct Intent {
    id: String,
    status: String,
    amount_received: i64,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    order_id: Option<OrderId>,
}

#[derive(Deserialize)]
struct Refund {
    id: String,
    payment_intent: String,
    status: String,
    amount: i64,
}

/// What the buyers have.
#[derive(Default)]
struct Tickets {
    /// How many valid tickets each seat has.
    valid: HashMap<(String, String, String, String), u32>,
    valid_amount: i64,
    refunded_amount: i64,
    refunded: usize,
}

/// What the provider took and gave back, by order.
#[derive(Default)]
struct Books {
    captured: BTreeMap<OrderId, i64>,
    refunded: BTreeMap<OrderId, i64>,
    /// Captures of one order beyond its first.
    repeated: Vec<OrderId>,
}

/// Fails if a seat was sold twice, or money and tickets do not agree.
pub async fn check(started: &Started, people: &[Person], sales: &Sales) -> Result<(), Failed> {
    let tickets = tickets(&started.url, people).await?;
    let books = books(started).await?;
    let wrong = differences(&tickets, &books, sales);
    println!();
    println!(
        "Checked: {} valid tickets of {} different seats, {} refunded; {} orders captured, {} refunded by the provider.",
        tickets.valid.values().sum::<u32>(),
        tickets.valid.len(),
        tickets.refunded,
        books.captured.len(),
        books.refunded.len()
    );
    println!(
        "         Captured {} = tickets {}; given back {} = tickets {} (minor units).",
        books.captured.values().sum::<i64>(),
        tickets.valid_amount + tickets.refunded_amount,
        books.refunded.values().sum::<i64>(),
        tickets.refunded_amount
    );
    if wrong.is_empty() {
        println!("         No seat was sold twice, and money and tickets agree.");
        return Ok(());
    }
    for line in wrong.iter().take(SHOWN_MAX) {
        println!("WRONG    {line}");
    }
    Err(Failed::Because(format!("{} differences", wrong.len())))
}

fn differences(tickets: &Tickets, books: &Books, sales: &Sales) -> Vec<String> {
    let mut wrong: Vec<String> = Vec::new();
    let twice = tickets.valid.iter().filter(|(_, count)| **count > 1);
    wrong.extend(twice.map(|(seat, count)| format!("{seat:?} was sold {count} times")));
    wrong.extend(books.repeated.iter().map(|order| format!("{order} was captured twice")));
    let (mut paid, mut given_back) = (BTreeMap::new(), BTreeMap::new());
    for sale in &sales.orders {
        paid.insert(sale.order, sale.total);
        if sale.is_refunded.get() {
            given_back.insert(sale.order, sale.total);
        }
    }
    wrong.extend(unlike("paid and captured", &paid, &books.captured));
    wrong.extend(unlike("given back and refunded", &given_back, &books.refunded));
    let seats = |refunded: bool| -> usize {
        sales.orders.iter().filter(|sale| sale.is_refunded.get() == refunded).map(|sale| sale.seats).sum()
    };
    let counts = [
        ("valid tickets and seats paid", tickets.valid.values().sum::<u32>() as i64, seats(false) as i64),
        ("refunded tickets and seats given back", tickets.refunded as i64, seats(true) as i64),
        (
            "tickets' prices and captures",
            tickets.valid_amount + tickets.refunded_amount,
            books.captured.values().sum::<i64>(),
        ),
        ("refunded tickets' prices and refunds", tickets.refunded_amount, books.refunded.values().sum::<i64>()),
    ];
    wrong.extend(counts.iter().filter(|(_, a, b)| a != b).map(|(what, a, b)| format!("{what}: {a} and {b}")));
    wrong
}

fn unlike(what: &str, ours: &BTreeMap<OrderId, i64>, theirs: &BTreeMap<OrderId, i64>) -> Vec<String> {
    let all = ours.keys().chain(theirs.keys().filter(|order| !ours.contains_key(order)));
    let differ = all.filter(|order| ours.get(order) != theirs.get(order));
    differ.map(|order| format!("{order}, {what}: {:?} and {:?}", ours.get(order), theirs.get(order))).collect()
}

async fn tickets(url: &str, people: &[Person]) -> Result<Tickets, Failed> {
    let mut connection = Connection::open(url).await?;
    let mut all = Tickets::default();
    for person in people {
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            person.keep_signed_in(&mut connection).await?;
            let request = person.sign(Request::get(format!("/tickets?limit={PAGE_ITEMS}{cursor}")));
            let page: TicketPage = connection.send(request, "").await?.expect(200)?.json()?;
            page.items.into_iter().for_each(|ticket| all.add(ticket));
            let Some(next) = page.next_cursor else { break };
            cursor = format!("&cursor={next}");
        }
    }
    Ok(all)
}

impl Tickets {
    fn add(&mut self, ticket: Ticket) {
        if ticket.status == "refunded" {
            self.refunded += 1;
            self.refunded_amount += ticket.price.amount;
            return;
        }
        self.valid_amount += ticket.price.amount;
        *self.valid.entry((ticket.event_id, ticket.section, ticket.row, ticket.seat)).or_default() += 1;
    }
}

async fn books(started: &Started) -> Result<Books, Failed> {
    let mut books = Books::default();
    let mut orders = HashMap::new();
    let intents: Vec<Intent> = list(started, "payment_intents", |intent: &Intent| intent.id.clone()).await?;
    for intent in intents {
        let Some(order) = intent.metadata.order_id else { continue };
        orders.insert(intent.id, order);
        if intent.status == "succeeded" && books.captured.insert(order, intent.amount_received).is_some() {
            books.repeated.push(order);
        }
    }
    let refunds: Vec<Refund> = list(started, "refunds", |refund: &Refund| refund.id.clone()).await?;
    for refund in refunds.iter().filter(|refund| refund.status == "succeeded") {
        if let Some(order) = orders.get(&refund.payment_intent) {
            *books.refunded.entry(*order).or_default() += refund.amount;
        }
    }
    Ok(books)
}

/// Everything of one kind that the provider has, page by page.
async fn list<T: DeserializeOwned>(started: &Started, kind: &str, id: impl Fn(&T) -> String) -> Result<Vec<T>, Failed> {
    let mut connection = Connection::open(&started.payments_url).await?;
    let mut all: Vec<T> = Vec::new();
    let mut after = String::new();
    for _ in 0..PAGES_MAX {
        let request = Request::get(format!("/v1/{kind}?limit={PAGE_ITEMS}{after}"));
        let request = request.header(AUTHORIZATION, format!("Bearer {}", started.payments_key));
        let page: List<T> = connection.send(request, "").await?.expect(200)?.json()?;
        all.extend(page.data);
        match all.last().filter(|_| page.has_more) {
            Some(last) => after = format!("&starting_after={}", id(last)),
            None => break,
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::Sale;
    use std::cell::Cell;

    fn ticket(seat: &str, status: &str) -> Ticket {
        let [event_id, section, row] = ["e", "s", "r"].map(str::to_owned);
        Ticket { event_id, section, row, seat: seat.to_owned(), price: Price { amount: 5 }, status: status.to_owned() }
    }

    /// One order for seat 1 that is kept, one for seat 2 that was given back.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Tickets, &mut Books), wrong: &str) {
        let mut sales = Sales::default();
        for order in [1, 2] {
            let (order, is_refunded) = (OrderId(order), Cell::new(order == 2));
            sales.orders.push(Sale { order, buyer: 0, total: 5, seats: 1, is_refunded });
        }
        let mut tickets = Tickets::default();
        [ticket("1", "valid"), ticket("2", "refunded")].into_iter().for_each(|ticket| tickets.add(ticket));
        let mut books = Books::default();
        books.captured.extend([(OrderId(1), 5), (OrderId(2), 5)]);
        books.refunded.insert(OrderId(2), 5);
        change(&mut tickets, &mut books);
        let found = differences(&tickets, &books, &sales);
        assert_eq!(found.is_empty(), wrong.is_empty(), "{found:?}");
        assert!(found.join("\n").contains(wrong), "{found:?}");
    }

    #[test]
    fn every_difference_is_found() {
        check(|_, _| {}, "");
        check(|tickets, _| tickets.add(ticket("1", "valid")), "was sold 2 times");
        check(|tickets, _| tickets.add(ticket("3", "valid")), "valid tickets and seats paid");
        check(|_, books| books.captured.retain(|order, _| *order != OrderId(1)), "paid and captured");
        check(|_, books| books.captured.extend([(OrderId(3), 5)]), "paid and captured");
        check(|_, books| books.refunded.extend([(OrderId(1), 5)]), "given back and refunded");
        check(|_, books| books.repeated.push(OrderId(1)), "captured twice");
    }
}
