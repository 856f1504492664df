//! What is left at the end of a sequence: the seat map, the lock words, the tickets and the money.

use super::hall::{Money, Owner, PLACES, ROWS, SEATS, STANDING};
use super::lane::{Lane, answered, money, places_of};
use super::same;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ledger::Account;
use domain::seating::words::{Hold, held, sold};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use tests::{Audit, TestApp};

impl Lane {
    /// The seat map, the lists of orders, the lock words and the money are the model's.
    pub async fn finish(&mut self, app: &TestApp, audit: &Audit) -> Result<(), String> {
        self.check_map(app).await?;
        self.check_lists(app).await?;
        self.check_words(audit)?;
        self.check_money(audit)
    }

    async fn check_map(&self, app: &TestApp) -> Result<(), String> {
        let reply = app.look(&format!("/events/{}/seats", self.event)).await;
        answered(&reply, 200)?;
        let state = |place: usize| match self.hall.owners[place] {
            Owner::Sold { .. } => 2,
            _ => u8::from(!self.hall.is_free(place)),
        };
        let mut first = 0;
        for (row, seats) in ROWS.into_iter().enumerate() {
            let text = reply.body["sections"][0]["rows"][(row + 1).to_string()].as_str().unwrap_or_default();
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| error.to_string())?;
            let shown = (0..seats).map(|seat| bytes.get(seat / 4).map_or(9, |byte| byte >> (6 - 2 * (seat % 4)) & 3));
            let shown: Vec<u8> = shown.collect();
            let expected: Vec<u8> = (first..first + seats).map(state).collect();
            same(&format!("the map of row {}", row + 1), &shown, &expected)?;
            first += seats;
        }
        let standing = (SEATS..PLACES).filter(|&place| self.hall.is_free(place)).count();
        let shown = &reply.body["sections"][1];
        same("the map of the floor", &(&shown["capacity"], &shown["free"]), &(&json!(STANDING), &json!(standing)))
    }

    /// Every order is in its buyer's list as the model has it, and no seat has two valid tickets.
    async fn check_lists(&self, app: &TestApp) -> Result<(), String> {
        let mut owners = BTreeMap::new();
        let mut listed = 0;
        for buyer in &self.buyers {
            let reply = app.get(buyer, "/orders?limit=100").await;
            answered(&reply, 200)?;
            for shown in reply.body["items"].as_array().into_iter().flatten() {
                let order = self.known.iter().position(|known| shown["id"] == json!(known.id));
                let order = order.ok_or_else(|| format!("nobody made this order: {shown}"))?;
                self.compare(order, shown)?;
                listed += 1;
                for (nth, place) in places_of(shown)?.into_iter().enumerate() {
                    let is_valid = shown["seats"][nth]["ticket_status"] == "valid";
                    if is_valid && owners.insert(place, order).is_some() {
                        return Err(format!("place {place} has two valid tickets"));
                    }
                }
            }
        }
        same("how many orders there are", &listed, &self.known.len())
    }

    /// Each lock word is that of who has the place; words of lapsed holds are nobody's.
    fn check_words(&self, audit: &Audit) -> Result<(), String> {
        let now = self.hall.now;
        let mut first = 0;
        let rows = [("A", "1", ROWS[0]), ("A", "2", ROWS[1]), ("F", "s0", STANDING)];
        for (section, row, places) in rows {
            for index in 0..places {
                let at = (format!("{}#{section}", self.event), row.to_owned(), index as u8);
                let is_lapsed = |word: &&String| **word < domain::seating::words::lapse_mark(instant(now));
                let word = audit.words.get(&at).filter(|word| !is_lapsed(word));
                let of = |order: usize| Hold::of(self.known[order].id);
                let expected = match self.hall.owners[first + index] {
                    Owner::Held { order, until } if until >= now => Some(held(instant(until), of(order))),
                    Owner::Sold { order, nth } => Some(sold(of(order), nth as u8)),
                    _ => None,
                };
                same(&format!("the word of place {}", first + index), &word, &expected.as_ref())?;
            }
            first += places;
        }
        Ok(())
    }

    /// What was taken and given back is what the provider's books and the journal say.
    fn check_money(&self, audit: &Audit) -> Result<(), String> {
        let mut kept = 0;
        for (order, known) in self.known.iter().enumerate() {
            let model = &self.hall.orders[order];
            kept += model.taken - model.given_back;
            let Some(payment) = &known.payment else { continue };
            let intent = audit.books.intents.iter().find(|intent| intent.id == payment.id);
            let intent = intent.ok_or_else(|| format!("the provider has no payment {}", payment.id))?;
            let refunds = audit.books.refunds.iter().filter(|refund| refund.payment_intent == payment.id);
            let books = (intent.amount_received, refunds.map(|refund| refund.amount).sum::<i64>());
            same(&format!("the money of order {order}"), &books, &(model.taken, model.given_back))?;
            let is_cancelled = intent.status == sandbox::Status::Canceled;
            let expected = model.money() == Some(Money::Cancelled);
            same(&format!("the payment of order {order} ({})", money(model)), &is_cancelled, &expected)?;
        }
        let entries = audit.entries.iter().filter(|entry| entry.event.to_string() == self.event);
        let (mut booked, mut fees) = (0, 0);
        for entry in entries {
            same("the sum of an entry", &entry.legs.iter().map(|leg| leg.amount).sum::<i64>(), &0)?;
            let held = entry.legs.iter().filter(|leg| leg.account == Account::Provider);
            booked += held.map(|leg| leg.amount).sum::<i64>();
            fees -= entry.of(Account::ServiceFees);
        }
        // Nobody of these has it back: whoever gives a ticket back has changed their mind.
        let sold = self.hall.orders.iter().filter(|order| order.is_sold());
        same("the fees in the journal", &fees, &sold.map(|order| order.fees()).sum())?;
        same("what the journal says is kept", &booked, &kept)
    }
}

fn instant(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a test's clock is near its beginning")
}
