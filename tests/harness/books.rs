//! What a test counts behind the doors: every item of every table, and the payment provider's own books.

use crate::TestApp;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use boxoffice::Running;
use domain::catalog::Price;
use domain::ids::EventId;
use domain::ledger::{Account, Cause, ChargeEntry, Entry, Leg};
use domain::orders::{Order, OrderState, TicketState};
use domain::payments::DisputeState;
use domain::refunds::Ground::{EventCancelled, EventMoved, EventReplaced};
use domain::refunds::RefundState;
use domain::subscriptions::{Charge, Subscription};
use sandbox::{Books, DisputeStatus, Status};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The tables of the template, by their settings in functions' environments.
pub const TABLES: [&str; 8] = ["Accounts", "Catalog", "Seats", "Orders", "Ledger", "Subscriptions", "Desk", "Notices"];

/// An item as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// Everything that money and seats left behind, read past the code that wrote it.
pub struct Audit {
    pub orders: Vec<Order>,
    pub entries: Vec<Entry>,
    pub subscriptions: Vec<Subscription>,
    pub charges: Vec<Charge>,
    pub charge_entries: Vec<ChargeEntry>,
    /// The word of each seat that has one: event and section, row, index in the row.
    pub words: BTreeMap<(String, String, u8), String>,
    pub books: Books,
}

/// Every item of a table.
pub async fn scan(client: &Client, table: &str) -> Vec<Item> {
    let (mut items, mut start) = (Vec::new(), None);
    loop {
        let request = client.scan().table_name(table).consistent_read(true).set_exclusive_start_key(start);
        let reply = request.send().await.expect("the table is there");
        items.extend(reply.items.unwrap_or_default());
        start = reply.last_evaluated_key;
        if start.is_none() {
            return items;
        }
    }
}

impl TestApp {
    /// The client that functions use.
    pub fn dynamodb(&self) -> Client {
        self.app("settle").clients.dynamodb
    }

    /// Every item of every table as one text each.
    pub async fn everything(&self) -> BTreeSet<String> {
        let client = self.dynamodb();
        let mut all = BTreeSet::new();
        for table in TABLES {
            for item in scan(&client, table).await {
                let item: serde_json::Value = serde_dynamo::from_item(item).expect("items are plain values");
                all.insert(format!("{table} {item}"));
            }
        }
        all
    }

    /// Checks that nothing was written since `before` was read.
    pub async fn check_unwritten(&self, before: &BTreeSet<String>, what: &str) {
        let after = self.everything().await;
        let changes: Vec<_> = before.symmetric_difference(&after).collect();
        assert!(changes.is_empty(), "{what} wrote: {changes:#?}");
    }

    /// The lock word of a seat of the small hall, if it has one.
    pub async fn word(&self, event: &str, section: &str, row: &str, index: u8) -> Option<String> {
        let key = [("pk", format!("{event}#{section}")), ("sk", row.to_owned())];
        let mut request = self.dynamodb().get_item().table_name("Seats").consistent_read(true);
        for (name, value) in key {
            request = request.key(name, AttributeValue::S(value));
        }
        let item = request.send().await.expect("the table is there").item?;
        item.get(&index.to_string())?.as_s().ok().cloned()
    }
}

impl Audit {
    pub async fn read(app: &TestApp) -> Self {
        Self::of(&app.running).await
    }

    /// The same of a box office that a test started in its own way.
    pub async fn of(running: &Running) -> Self {
        let client = running.app("settle").expect("the template has it").clients.dynamodb;
        let mut tables = HashMap::new();
        for table in ["Orders", "Ledger", "Seats", "Subscriptions"] {
            tables.insert(table, scan(&client, table).await);
        }
        Self::of_items(|table| tables.remove(table).unwrap_or_default(), running.payments.stripe.books())
    }

    /// What the items of tables say, and the provider's books.
    pub fn of_items(mut items: impl FnMut(&'static str) -> Vec<Item>, books: Books) -> Self {
        let (of_charges, of_orders) = items("Ledger").into_iter().partition(|item| item.contains_key("charge"));
        let mut audit = Self {
            orders: all(items("Orders")),
            entries: all(of_orders),
            subscriptions: Vec::new(),
            charges: Vec::new(),
            charge_entries: all(of_charges),
            words: items("Seats").into_iter().flat_map(words).collect(),
            books,
        };
        for item in items("Subscriptions") {
            match item["sk"].as_s().map(String::as_str) {
                Ok(key) if key.starts_with("sub_") => audit.subscriptions.extend(all(vec![item])),
                Ok(key) if key.starts_with("charge#") => audit.charges.extend(all(vec![item])),
                _ => {}
            }
        }
        audit
    }

    /// Checks that money, tickets, seats and journal agree, for a box office that is at rest.
    #[track_caller]
    pub fn check(&self) {
        self.check_journal();
        let (moved, mut sales) = (self.moved(), HashMap::new());
        for entry in self.entries.iter().filter(|entry| entry.cause == Cause::Sale) {
            *sales.entry(entry.order).or_insert(0) += 1;
        }
        for order in &self.orders {
            self.check_order(order, &moved, sales.get(&order.id).copied().unwrap_or(0));
        }
        self.check_owed();
        self.check_disputes();
        self.check_seats();
        self.check_subscriptions(&moved);
        self.check_intents();
    }

    /// The journal's entries balance, and add up to what the provider took less what it gave back, and less what buyers'
    /// banks took with its fees for that.
    #[track_caller]
    fn check_journal(&self) {
        let mut journal: BTreeMap<&str, i64> = BTreeMap::new();
        let of_orders = self.entries.iter().map(|entry| (entry.currency, &entry.legs));
        let of_charges = self.charge_entries.iter().map(|entry| (entry.currency, &entry.legs));
        for (currency, legs) in of_orders.chain(of_charges) {
            let sum = |legs: &mut dyn Iterator<Item = &Leg>| legs.map(|leg| leg.amount).sum::<i64>();
            assert_eq!(sum(&mut legs.iter()), 0, "an entry balances: {legs:?}");
            let held = sum(&mut legs.iter().filter(|leg| leg.account == Account::Provider));
            *journal.entry(currency.code()).or_default() += held;
        }
        let mut provider: BTreeMap<String, i64> = BTreeMap::new();
        for intent in &self.books.intents {
            *provider.entry(intent.currency.to_uppercase()).or_default() += intent.amount_received;
        }
        for refund in self.books.refunds.iter().filter(|refund| refund.status != "failed") {
            *provider.entry(refund.currency.to_uppercase()).or_default() -= refund.amount;
        }
        for movement in self.books.movements.iter().filter(|movement| movement.kind.starts_with("dispute")) {
            *provider.entry(movement.currency.to_uppercase()).or_default() += movement.amount - movement.fee;
        }
        let nonzero = |(code, sum): (String, i64)| (sum != 0).then_some((code, sum));
        let journal: BTreeMap<_, _> =
            journal.into_iter().filter_map(|(code, sum)| nonzero((code.to_owned(), sum))).collect();
        let provider: BTreeMap<_, _> = provider.into_iter().filter_map(nonzero).collect();
        assert_eq!(journal, provider, "the journal is what the provider says");
    }

    /// What was captured for an order is its tickets' price, or went back as decided.
    #[track_caller]
    fn check_order(&self, order: &Order, moved: &HashMap<&str, (i64, i64)>, sales: usize) {
        let is_sold = matches!(
            order.state,
            OrderState::Paid | OrderState::Refunding | OrderState::PartlyRefunded | OrderState::Refunded
        );
        let (captured, given_back) = order.payment.as_deref().map_or((0, 0), |id| moved[id]);
        let decided = order.refunds.iter().filter(|refund| refund.sent.state == RefundState::Done);
        let decided: i64 = decided.map(|refund| refund.amount).sum();
        assert_eq!(given_back, decided, "refunds of {order:?}");
        if is_sold {
            assert_eq!(captured, order.total().amount, "the capture of {order:?}");
            assert!(order.seats.iter().all(|seat| seat.ticket.is_some()), "a ticket for each seat of {order:?}");
        } else {
            assert!(order.seats.iter().all(|seat| seat.ticket.is_none()), "no tickets of {order:?}");
            let failed: i64 =
                order.refunds.iter().filter(|refund| refund.sent.state == RefundState::Failed).map(|r| r.amount).sum();
            assert_eq!(captured - given_back, failed, "nothing is kept of {order:?}");
        }
        assert_eq!(sales, usize::from(is_sold), "one sale is in the journal of {order:?}");
    }

    /// What the journal has for the organiser and as service fees is what was sold, less what went back or was lost, order by
    /// order. A fee goes back whole with an event that was called off or changed, or by the terms, and otherwise stays.
    #[track_caller]
    fn check_owed(&self) {
        let mut booked: HashMap<_, (i64, i64)> = HashMap::new();
        for entry in &self.entries {
            let owed = booked.entry(entry.order).or_default();
            *owed = (owed.0 - entry.of(Account::Organiser), owed.1 - entry.of(Account::ServiceFees));
        }
        for order in &self.orders {
            let is_sold = order.paid_at.is_some();
            let sold = if is_sold { order.price() } else { Price::default() };
            let done = order.refunds.iter().filter(|refund| is_sold && refund.sent.state == RefundState::Done);
            let lost = order.disputes.iter().filter(|one| is_sold && one.was_lost && one.state != DisputeState::Won);
            let lost = lost.filter_map(|dispute| Some((dispute.withdrawn?.amount, dispute.fee_lost)));
            let gone: Vec<_> = done.map(|refund| (refund.amount, refund.fee)).chain(lost).collect();
            let fee = sold.fee - gone.iter().map(|(_, fee)| fee).sum::<i64>();
            let all = sold.total() - gone.iter().map(|(amount, _)| amount).sum::<i64>();
            assert_eq!(booked.remove(&order.id).unwrap_or_default(), (all - fee, fee), "what is owed of {order:?}");
            for refund in &order.refunds {
                let is_whole = order.policy.returns_service_fee
                    || matches!(refund.ground, Some(EventCancelled | EventMoved | EventReplaced));
                let paid: Price = refund.tickets.iter().map(|&ticket| order.seats[usize::from(ticket)].price).sum();
                assert_eq!(refund.fee, if is_whole { paid.fee } else { 0 }, "the fee in {refund:?} of {order:?}");
            }
        }
        assert!(booked.is_empty(), "entries without an order: {booked:?}");
    }

    /// Each dispute is in its order as the provider has it, and the tickets are what it means for them.
    #[track_caller]
    fn check_disputes(&self) {
        for dispute in &self.books.disputes {
            let of_intent = |payment: &Option<String>| payment.as_ref() == Some(&dispute.payment_intent);
            let of_orders = self.orders.iter().filter(|order| of_intent(&order.payment)).flat_map(|o| &o.disputes);
            let of_charges = self.charges.iter().filter(|charge| of_intent(&charge.intent)).flat_map(|c| &c.disputes);
            let mut all = of_orders.chain(of_charges.map(|known| &known.dispute));
            let known = all.find(|known| known.id == dispute.id);
            let state = match dispute.status {
                DisputeStatus::NeedsResponse | DisputeStatus::UnderReview => DisputeState::Open,
                DisputeStatus::Won => DisputeState::Won,
                DisputeStatus::Lost => DisputeState::Lost,
            };
            assert_eq!(known.map(|known| (known.state, known.amount)), Some((state, dispute.amount)), "{dispute:?}");
        }
        let mut booked: HashMap<_, usize> = HashMap::new();
        for entry in self.entries.iter().filter(|entry| matches!(entry.cause, Cause::DisputeLost { .. })) {
            *booked.entry(entry.order).or_default() += 1;
        }
        for order in &self.orders {
            assert!(!order.has_unfinished_dispute(), "a dispute is worked off: {order:?}");
            let has = |state| order.tickets().any(|(.., ticket)| ticket == state);
            assert!(!(order.is_disputed() && has(TicketState::Valid)), "a disputed order admits nobody: {order:?}");
            let is_open = order.is_disputed() && !order.has_lost_dispute();
            assert!(is_open || !has(TicketState::Disputed), "no ticket waits for nothing: {order:?}");
            let lost = order.disputes.iter().filter(|dispute| dispute.was_lost).count();
            assert_eq!(booked.get(&order.id).copied().unwrap_or(0), lost, "each is booked once: {order:?}");
        }
        for (code, open) in self.disputed_by_currency() {
            let booked = self.entries.iter().filter(|entry| entry.currency.code() == code);
            assert_eq!(booked.map(|entry| entry.of(Account::Disputes)).sum::<i64>(), open, "{code} under dispute");
        }
    }

    /// What buyers' banks have and have not decided on, for each currency of the journal.
    fn disputed_by_currency(&self) -> BTreeMap<&str, i64> {
        let mut open: BTreeMap<&str, i64> = self.entries.iter().map(|entry| (entry.currency.code(), 0)).collect();
        for order in &self.orders {
            let undecided = order.disputes.iter().filter(|dispute| dispute.state == DisputeState::Open);
            *open.entry(order.currency.code()).or_default() += undecided.map(|dispute| dispute.amount).sum::<i64>();
        }
        open
    }

    /// What each intent took, and what was given back of it.
    pub fn moved(&self) -> HashMap<&str, (i64, i64)> {
        let intents = self.books.intents.iter();
        let mut moved: HashMap<_, _> =
            intents.map(|intent| (intent.id.as_str(), (intent.amount_received, 0))).collect();
        for refund in self.books.refunds.iter().filter(|refund| refund.status != "failed") {
            let intent = moved.get_mut(refund.payment_intent.as_str()).expect("it gives back what it took");
            intent.1 += refund.amount;
        }
        moved
    }

    /// Each seat that somebody may enter for is sold to that order, once; no other seat is sold.
    #[track_caller]
    fn check_seats(&self) {
        let mut tickets = BTreeMap::new();
        for order in &self.orders {
            for (ticket, seat, state) in order.tickets() {
                // A refund that is under way, or that the provider refused, may have left the seat as it was.
                if matches!(state, TicketState::Valid | TicketState::Used | TicketState::Disputed) {
                    let place = (section(order.event, &seat.section), seat.block.clone(), seat.index);
                    let other = tickets.insert(place, order.sold_word(ticket.index));
                    assert!(other.is_none(), "{ticket} is for a seat that was sold twice");
                }
            }
        }
        let sold: BTreeMap<_, _> = self.words.clone().into_iter().filter(|(_, word)| word.starts_with('S')).collect();
        assert_eq!(sold, tickets, "the seats that are sold are those with a ticket");
    }

    /// Nothing is taken or set aside for an order or a charge that does not know of it.
    #[track_caller]
    fn check_intents(&self) {
        let of_orders = self.orders.iter().filter_map(|order| order.payment.as_deref());
        let of_charges = self.charges.iter().filter_map(|charge| charge.intent.as_deref());
        let known: BTreeSet<_> = of_orders.chain(of_charges).collect();
        for intent in &self.books.intents {
            let is_known = known.contains(intent.id.as_str());
            let is_open = matches!(intent.status, Status::RequiresCapture | Status::Succeeded);
            assert!(is_known || !is_open, "money that nobody knows of: {intent:?}");
        }
    }
}

fn all<T: serde::de::DeserializeOwned>(items: Vec<Item>) -> Vec<T> {
    items.into_iter().map(|item| serde_dynamo::from_item(item).expect("items have their shape")).collect()
}

fn section(event: EventId, section: &str) -> String {
    format!("{event}#{section}")
}

/// The words of a row: where each is, and what it says.
pub fn words(item: Item) -> Vec<((String, String, u8), String)> {
    let text = |name: &str| item[name].as_s().expect("keys are texts").clone();
    let (section, row) = (text("pk"), text("sk"));
    let seats = item.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.as_s().ok()?.clone())));
    seats.map(|(index, word)| ((section.clone(), row.clone(), index), word)).collect()
}
