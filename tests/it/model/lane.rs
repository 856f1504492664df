//! One hall that a sequence of operations is carried out on, beside its model: each reply, and all that is left in the
//! end, has to be what the model says.

use super::hall::{FEE, Hall, Money, Order, PLACES, ROWS, SEATS, price};
use super::ops::{Card, Message, Op, Pick};
use super::{Counts, Kind, same};
use domain::effects::{Effect, What};
use domain::ids::{OrderId, TicketId};
use functions::commands::{Command, Envelope};
use jiff::Timestamp;
use platform::bus::QueueMessage;
use serde_json::{Value, json};
use tests::{Payment, Reply, TestApp, User, seat};

pub struct Lane {
    pub event: String,
    pub buyers: Vec<User>,
    pub hall: Hall,
    pub counts: Counts,
    pub known: Vec<Known>,
    /// The orders as they were when they were last seen to be what the model says.
    seen: Vec<Order>,
    /// Looked at after this step, whether or not the model says that they changed.
    touched: Vec<usize>,
    keys: usize,
}

/// What a buyer knows of an order.
pub struct Known {
    pub id: OrderId,
    key: String,
    ask: Value,
    pub payment: Option<Payment>,
    refunds: Vec<KnownRefund>,
}

struct KnownRefund {
    key: String,
    ask: Value,
    id: String,
    amount: i64,
}

impl Lane {
    pub fn new(app: &TestApp, event: String, buyers: u32, now: i64) -> Self {
        Self {
            event,
            buyers: (0..buyers).map(|_| app.buyer()).collect(),
            hall: Hall::new(now),
            counts: Counts::default(),
            known: Vec::new(),
            seen: Vec::new(),
            touched: Vec::new(),
            keys: 0,
        }
    }

    /// Does what the operation says, and compares the reply.
    pub async fn act(&mut self, app: &TestApp, op: Op) -> Result<(), String> {
        match op {
            Op::Hold { buyer, seats } => self.hold(app, usize::from(buyer), seats).await,
            Op::Best { buyer, quantity, standing } => self.best(app, usize::from(buyer), quantity, standing).await,
            Op::Again(pick) => self.again(app, pick).await,
            Op::OtherSeats(pick, seats) => self.other_seats(app, pick, seats).await,
            Op::Release(pick) => self.release(app, pick).await,
            Op::Start(pick) => self.start(app, pick).await,
            Op::Pay(pick, card) => self.pay(app, pick, card).await,
            Op::Refund(pick, tickets) => self.refund(app, pick, tickets).await,
            Op::RefundAgain(pick) => self.refund_again(app, pick).await,
            Op::Twice(pick, message) => self.twice(app, pick, message).await,
            Op::Wait { .. } => Ok(()),
        }
    }

    /// Time that passed, for the model; whether a slow payment came to its answer.
    pub fn tick(&mut self, seconds: i64) -> bool {
        let before = self.processing();
        self.hall.wait(seconds, false);
        before != self.processing()
    }

    /// Payments that the provider is at work on.
    pub fn processing(&self) -> usize {
        self.hall.orders.iter().filter(|order| matches!(order.money(), Some(Money::Processing { .. }))).count()
    }

    /// The sweeper came by.
    pub fn swept(&mut self) {
        let expired = |hall: &Hall| hall.orders.iter().filter(|order| order.state.name() == "expired").count();
        let before = expired(&self.hall);
        self.hall.wait(0, true);
        self.counts.add(Kind::Expiry, expired(&self.hall) > before);
    }

    fn key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}", self.event, self.keys)
    }

    fn pick(&self, pick: Pick, meant: impl Fn(&Order) -> bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.hall.orders.len()).collect();
        let meant: Vec<usize> = all.iter().copied().filter(|&order| meant(&self.hall.orders[order])).collect();
        pick.of(&meant, &all)
    }

    fn buyer(&self, order: usize) -> &User {
        &self.buyers[self.hall.orders[order].buyer]
    }

    async fn hold(&mut self, app: &TestApp, buyer: usize, seats: u16) -> Result<(), String> {
        let places: Vec<usize> = (0..SEATS).filter(|place| seats & (1 << place) != 0).collect();
        let ask = json!({ "event_id": self.event, "seats": names(&places) });
        let key = self.key();
        let reply = app.post_with_key(&self.buyers[buyer], "/orders", &key, &ask).await;
        let taken = self.hall.taken(&places);
        self.counts.add(Kind::Hold, taken.is_empty());
        if !taken.is_empty() {
            refused(&reply, 409, "seats_taken")?;
            let named = reply.body["errors"].as_array().into_iter().flatten();
            let named: Vec<_> = named.map(|error| error["pointer"].clone()).collect();
            let expected: Vec<_> = taken.iter().map(|nth| json!(format!("/seats/{nth}"))).collect();
            return same("the seats named as taken", &named, &expected);
        }
        self.held(&reply, buyer, key, ask, places)
    }

    async fn best(&mut self, app: &TestApp, buyer: usize, quantity: u8, standing: bool) -> Result<(), String> {
        let section = if standing { "F" } else { "A" };
        let ask = json!({ "event_id": self.event, "best": { "quantity": quantity, "section": section } });
        let key = self.key();
        let reply = app.post_with_key(&self.buyers[buyer], "/orders", &key, &ask).await;
        let has = self.hall.has_best(usize::from(quantity), standing);
        self.counts.add(Kind::Hold, has);
        if !has {
            return refused(&reply, 409, "seats_taken");
        }
        answered(&reply, 201)?;
        let places = places_of(&reply.body)?;
        same("how many places were given", &places.len(), &usize::from(quantity))?;
        if let Some(place) = places.iter().find(|&&place| !self.hall.is_free(place)) {
            return Err(format!("place {place} was given to two: {}", reply.text()));
        }
        self.held(&reply, buyer, key, ask, places)
    }

    /// An order was made: it is as the model has it.
    fn held(&mut self, reply: &Reply, buyer: usize, key: String, ask: Value, places: Vec<usize>) -> Result<(), String> {
        answered(reply, 201)?;
        let order = self.hall.hold(buyer, places);
        let id = reply.body["id"].as_str().and_then(|id| id.parse().ok()).ok_or("an order has no id")?;
        self.known.push(Known { id, key, ask, payment: None, refunds: Vec::new() });
        self.seen.push(self.hall.orders[order].clone());
        self.compare(order, &reply.body)
    }

    async fn again(&mut self, app: &TestApp, pick: Pick) -> Result<(), String> {
        let Some(order) = self.pick(pick, |_| true) else { return Ok(()) };
        let known = &self.known[order];
        let reply = app.post_with_key(self.buyer(order), "/orders", &known.key, &known.ask).await;
        self.counts.add(Kind::Repeat, true);
        answered(&reply, 201)?;
        self.compare(order, &reply.body)
    }

    async fn other_seats(&mut self, app: &TestApp, pick: Pick, seats: u16) -> Result<(), String> {
        let Some(order) = self.pick(pick, Order::is_open) else { return Ok(()) };
        let places: Vec<usize> = (0..SEATS).filter(|place| seats & (1 << place) != 0).collect();
        let ask = json!({ "event_id": self.event, "seats": names(&places) });
        if ask == self.known[order].ask {
            return Ok(());
        }
        let reply = app.post_with_key(self.buyer(order), "/orders", &self.known[order].key, &ask).await;
        self.counts.add(Kind::Repeat, false);
        self.touched.push(order);
        refused(&reply, 409, "idempotency_key_reused")
    }

    async fn release(&mut self, app: &TestApp, pick: Pick) -> Result<(), String> {
        let Some(order) = self.pick(pick, Order::is_open) else { return Ok(()) };
        let path = format!("/orders/{}", self.known[order].id);
        let reply = app.ask("DELETE", &path).by(self.buyer(order)).send().await;
        let was_open = self.hall.orders[order].is_open();
        let released = self.hall.release(order);
        self.counts.add(Kind::Release, was_open && released.is_ok());
        self.touched.push(order);
        match released {
            Ok(()) => answered(&reply, 204),
            Err(code) => refused(&reply, 409, code),
        }
    }

    async fn start(&mut self, app: &TestApp, pick: Pick) -> Result<(), String> {
        let Some(order) = self.pick(pick, Order::is_open) else { return Ok(()) };
        let started = self.start_order(app, order).await?;
        self.counts.add(Kind::Start, started);
        Ok(())
    }

    /// Starts a payment, if the model says that this can be done.
    async fn start_order(&mut self, app: &TestApp, order: usize) -> Result<bool, String> {
        let path = format!("/orders/{}/payment", self.known[order].id);
        let key = self.key();
        let reply = app.post_with_key(self.buyer(order), &path, &key, &Value::Null).await;
        if let Err(code) = self.hall.start(order) {
            refused(&reply, 409, code)?;
            return Ok(false);
        }
        answered(&reply, 201)?;
        let text = |name: &str| reply.body[name].as_str().unwrap_or_default().to_owned();
        let payment = Payment { id: text("payment_id"), client_secret: text("client_secret") };
        if let Some(known) = &self.known[order].payment {
            same("the payment of an order", &payment.id, &known.id)?;
        }
        same("how a payment stands", &text("status"), &money(&self.hall.orders[order]))?;
        self.known[order].payment = Some(payment);
        // Nothing happens by itself now: the next operation on this order, or the end, sees whether it was written.
        self.seen[order] = self.hall.orders[order].clone();
        Ok(true)
    }

    async fn pay(&mut self, app: &TestApp, pick: Pick, card: Card) -> Result<(), String> {
        let Some(order) = self.pick(pick, Order::is_open) else { return Ok(()) };
        if self.known[order].payment.is_none() && !self.start_order(app, order).await? {
            self.counts.add(Kind::Payment, false);
            return Ok(());
        }
        // Two slow payments for one seat may come to their answers at once: then either may get it.
        let card = if matches!(card, Card::Slow { .. }) && self.is_contended(order) { Card::Good } else { card };
        let payment = self.known[order].payment.as_ref().expect("it was started");
        let reply = app.confirm(payment, method(card).as_str()).await;
        self.touched.push(order);
        let is_sold = self.hall.orders[order].is_sold();
        if !self.hall.confirm(order, card) {
            self.counts.add(Kind::Payment, false);
            return answered(&reply, 400);
        }
        self.counts.add(Kind::Payment, !is_sold && self.hall.orders[order].is_sold());
        match card {
            Card::Declined => answered(&reply, 402),
            _ => answered(&reply, 200),
        }
    }

    fn is_contended(&self, order: usize) -> bool {
        let places = &self.hall.orders[order].places;
        self.hall.orders.iter().any(|other| {
            let shares = other.places.iter().any(|place| places.contains(place));
            shares && matches!(other.money(), Some(Money::Processing { .. }))
        })
    }

    async fn refund(&mut self, app: &TestApp, pick: Pick, tickets: u8) -> Result<(), String> {
        let Some(order) = self.pick(pick, |order| order.tickets.contains(&true)) else { return Ok(()) };
        let asked = &self.hall.orders[order];
        let named: Vec<usize> = (0..asked.tickets.len()).filter(|nth| tickets & (1 << nth) != 0).collect();
        let named = (!named.is_empty()).then_some(named);
        let id = self.known[order].id;
        let ask = match &named {
            Some(named) => json!({ "ticket_ids": tickets_of(id, named) }),
            None => json!({}),
        };
        let key = self.key();
        let reply = app.post_with_key(self.buyer(order), &format!("/orders/{id}/refunds"), &key, &ask).await;
        self.touched.push(order);
        let amount = self.hall.refund(order, named.as_deref());
        self.counts.add(Kind::Refund, amount.is_ok());
        let amount = match amount {
            Ok(amount) => amount,
            Err(code) => return refused(&reply, 409, code),
        };
        answered(&reply, 201)?;
        same("what a refund gives", &reply.body["amount"]["amount"], &json!(amount))?;
        let id = reply.body["id"].as_str().ok_or("a refund has no id")?.to_owned();
        self.known[order].refunds.push(KnownRefund { key, ask, id, amount });
        Ok(())
    }

    async fn refund_again(&mut self, app: &TestApp, pick: Pick) -> Result<(), String> {
        let Some(order) = self.pick(pick, |order| order.given_back > 0) else { return Ok(()) };
        let Some(refund) = self.known[order].refunds.last() else { return Ok(()) };
        let path = format!("/orders/{}/refunds", self.known[order].id);
        let reply = app.post_with_key(self.buyer(order), &path, &refund.key, &refund.ask).await;
        answered(&reply, 201)?;
        same("the id of a repeated refund", &reply.body["id"], &json!(refund.id))?;
        same("the amount of a repeated refund", &reply.body["amount"]["amount"], &json!(refund.amount))?;
        self.counts.add(Kind::Repeat, true);
        self.touched.push(order);
        Ok(())
    }

    async fn twice(&mut self, app: &TestApp, pick: Pick, message: Message) -> Result<(), String> {
        let Some(order) = self.pick(pick, |_| true) else { return Ok(()) };
        let Known { id, payment, refunds, .. } = &self.known[order];
        let buyer = self.buyer(order).id;
        let payment = payment.as_ref().map(|payment| payment.id.clone());
        let refund = refunds.last().map(|refund| refund.id.parse().expect("the box office gave this id"));
        let body = match (message, payment, refund) {
            (Message::Webhook, Some(payment), _) => {
                webhook(app, &payment).await?;
                webhook(app, &payment).await?;
                None
            }
            (Message::PaymentChanged, Some(payment), _) => Some(Command::PaymentChanged { payment }.message(0).body),
            (Message::RefundChanged, Some(payment), Some(refund)) => {
                Some(Command::RefundChanged { payment, refund }.message(0).body)
            }
            (Message::RefundRequested, _, Some(refund)) => {
                let effect = Effect::of(id, 1, 0, What::RefundRequested { buyer, order: *id, refund });
                let envelope = Envelope { effect, aggregate: id.to_string(), v: 1 };
                Some(serde_json::to_string(&envelope).expect("an effect is plain JSON"))
            }
            _ => Some(Command::OrderDue { buyer, order: *id }.message(0).body),
        };
        if let Some(body) = body {
            let function = app.app("payment-webhook");
            let queue = function.config.get("PAYMENTS_QUEUE_URL").map_err(|error| error.to_string())?;
            let message = QueueMessage { body, delay_seconds: 0 };
            let sent = function.clients.bus.send(queue, vec![message.clone(), message]).await;
            sent.map_err(|error| error.to_string())?;
        }
        self.counts.add(Kind::Message, true);
        self.touched.push(order);
        self.hall.look(order);
        Ok(())
    }

    /// After everything came to rest: the orders that this step concerned are what the model says.
    pub async fn check(&mut self, app: &TestApp) -> Result<(), String> {
        let mut look_at = std::mem::take(&mut self.touched);
        let changed = |&order: &usize| {
            let (seen, now) = (&self.seen[order], &self.hall.orders[order]);
            (seen.state, seen.until, &seen.tickets) != (now.state, now.until, &now.tickets)
        };
        look_at.extend((0..self.seen.len()).filter(changed));
        look_at.sort_unstable();
        look_at.dedup();
        for order in look_at {
            let reply = app.get(self.buyer(order), &format!("/orders/{}", self.known[order].id)).await;
            answered(&reply, 200)?;
            self.compare(order, &reply.body)?;
            self.seen[order] = self.hall.orders[order].clone();
        }
        Ok(())
    }

    /// Whether a message's body is about an order of this hall.
    pub fn concerns(&self, body: &str) -> bool {
        let of = |known: &Known| {
            let payment = known.payment.as_ref().is_some_and(|payment| body.contains(&payment.id));
            payment || body.contains(&known.id.to_string())
        };
        self.known.iter().any(of)
    }

    /// An order as clients are shown it is the model's.
    pub fn compare(&self, order: usize, shown: &Value) -> Result<(), String> {
        let (known, model) = (&self.known[order], &self.hall.orders[order]);
        let what = |part: &str| format!("{part} of order {order} ({})", known.id);
        same(&what("the id"), &shown["id"], &json!(known.id))?;
        same(&what("the state"), &shown["status"], &json!(model.state.name()))?;
        same(&what("the places"), &places_of(shown)?, &model.places)?;
        same(&what("the total"), &shown["total"]["amount"], &json!(model.total()))?;
        same(&what("the fees"), &shown["service_fees"]["amount"], &json!(model.fees()))?;
        if model.is_open() {
            let until = shown["hold_until"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            same(&what("the end of the hold"), &until.map(Timestamp::as_second), &Some(model.until))?;
        }
        let statuses: Vec<_> =
            shown["seats"].as_array().into_iter().flatten().map(|seat| &seat["ticket_status"]).collect();
        let statuses: Vec<_> = statuses.into_iter().map(|status| status.as_str().unwrap_or("none")).collect();
        let expected = (0..model.places.len()).map(|nth| match model.tickets.get(nth) {
            None => "none",
            Some(true) => "valid",
            Some(false) => "refunded",
        });
        same(&what("the tickets"), &statuses, &expected.collect())
    }
}

/// A webhook as the provider sends it.
async fn webhook(app: &TestApp, payment: &str) -> Result<(), String> {
    let event = json!({ "type": "payment_intent.succeeded", "data": { "object": { "id": payment } } }).to_string();
    let at = app.app("payment-webhook").now().as_second();
    let signature = sandbox::signature(&app.running.secrets.stripe_webhook_secret, at, &event);
    let ask = app.ask("POST", "/payments/webhook/stripe").header("stripe-signature", &signature);
    answered(&ask.body(event).send().await, 204)
}

/// The provider's name of a card.
fn method(card: Card) -> String {
    match card {
        Card::Good => "pm_card_visa".to_owned(),
        Card::Declined => "pm_card_chargeDeclined".to_owned(),
        Card::Slow { seconds, good: true } => format!("pm_sandbox_delay_{seconds}"),
        Card::Slow { seconds, good: false } => format!("pm_sandbox_decline_after_{seconds}"),
        Card::CaptureFails => "pm_sandbox_capture_fails".to_owned(),
        Card::AtOnce => "pm_sandbox_captures_at_once".to_owned(),
    }
}

/// How clients are told that an order's payment stands.
pub fn money(order: &Order) -> String {
    let name = match order.money() {
        None => "none",
        Some(Money::Waiting) => "waiting",
        Some(Money::Declined) => "declined",
        Some(Money::Processing { .. }) => "processing",
        Some(Money::Authorised) => "authorised",
        Some(Money::Captured) => "captured",
        Some(Money::Cancelled) => "cancelled",
    };
    name.to_owned()
}

fn names(places: &[usize]) -> Vec<Value> {
    let name = |place: usize| if place < ROWS[0] { seat("A", 1, place + 1) } else { seat("A", 2, place - ROWS[0] + 1) };
    places.iter().map(|&place| name(place)).collect()
}

/// The places of an order as it is shown, each with its price checked.
pub fn places_of(shown: &Value) -> Result<Vec<usize>, String> {
    let seats = shown["seats"].as_array().ok_or("an order shows no seats")?;
    let place = |seat: &Value| {
        let part = |name: &str| seat[name].as_str().unwrap_or_default();
        let first = match (part("section"), part("row")) {
            ("A", "1") => 0,
            ("A", "2") => ROWS[0],
            ("F", "-") => SEATS,
            _ => return None,
        };
        let place = first + part("seat").parse::<usize>().ok()?.checked_sub(1)?;
        let costs = |place| seat["price"]["amount"] == price(place) && seat["service_fee"]["amount"] == FEE;
        (place < PLACES && costs(place)).then_some(place)
    };
    seats.iter().map(|seat| place(seat).ok_or_else(|| format!("this hall has no such seat: {seat}"))).collect()
}

fn tickets_of(order: OrderId, named: &[usize]) -> Vec<TicketId> {
    named.iter().map(|&nth| TicketId { order, index: nth as u8 }).collect()
}

pub fn answered(reply: &Reply, status: u16) -> Result<(), String> {
    if reply.status == status {
        Ok(())
    } else {
        Err(format!("expected {status}, got {} {}", reply.status, reply.text()))
    }
}

fn refused(reply: &Reply, status: u16, code: &str) -> Result<(), String> {
    let is_it = reply.status == status && reply.body["code"] == code;
    if is_it { Ok(()) } else { Err(format!("expected {status} {code}, got {} {}", reply.status, reply.text())) }
}
