//! The conditions and deduplications that carry the invariants, each with a way to lose it between the code and the
//! world. A suite that passes without one of them proves nothing about it.

use axum::http::{Method, Request};
use bytes::Bytes;
use serde_json::{Value, json};

pub struct Mutant {
    pub name: &'static str,
    /// What is lost.
    cut: Cut,
}

enum Cut {
    /// The condition of a write of seats: one whose update and condition contain these.
    Seats { update: &'static str, condition: &'static str, not: &'static str },
    /// `v = :v` of the write that makes an order this.
    Order(&'static str),
    /// `attribute_not_exists(pk)` of a new order.
    NewOrder,
    /// `v = :v` of an order that is disputed.
    Dispute,
    /// `v = :v` where a ticket is used.
    CheckIn,
    /// Consistency of reads of a table, with this operation.
    ConsistentRead(&'static str, &'static str),
    /// The journal's part of a transaction.
    Entry,
    /// The conditions of a subscription's write: its version, its charges', and that its history is new.
    Subscription,
    /// The condition of the one place that a subscriber has.
    OneSubscription,
    /// The key under which a refund is asked for.
    RefundKey,
    /// The look for a refund that was made before.
    RefundLookUp,
}

/// All of them, by the part of the design that they belong to.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a lock takes seats whoever has them",
        cut: Cut::Seats { update: "SET", condition: ":now", not: ":h0" },
    },
    Mutant {
        name: "a hold is stamped afresh over whoever has the seat",
        cut: Cut::Seats { update: ":w", condition: ":h0", not: ":s" },
    },
    Mutant {
        name: "a sale takes seats whoever has them",
        cut: Cut::Seats { update: "SET", condition: ":s", not: "IN (" },
    },
    Mutant {
        name: "a release frees seats whoever has them",
        cut: Cut::Seats { update: "REMOVE", condition: "IN (", not: ":now" },
    },
    Mutant { name: "a repeated request writes its order anew", cut: Cut::NewOrder },
    Mutant { name: "held: a decline overwrites what came first", cut: Cut::Order("held") },
    Mutant { name: "paying: a payment overwrites what came first", cut: Cut::Order("paying") },
    Mutant { name: "settling overwrites what came first", cut: Cut::Order("settling") },
    Mutant { name: "expiring overwrites what came first", cut: Cut::Order("expiring") },
    Mutant { name: "expired overwrites what came first", cut: Cut::Order("expired") },
    Mutant { name: "paid overwrites what came first", cut: Cut::Order("paid") },
    Mutant { name: "lost overwrites what came first", cut: Cut::Order("lost") },
    Mutant { name: "refunding overwrites what came first", cut: Cut::Order("refunding") },
    Mutant { name: "a check-in overwrites what came first", cut: Cut::CheckIn },
    Mutant { name: "cancelled overwrites what came first", cut: Cut::Order("cancelled") },
    Mutant { name: "partly refunded overwrites what came first", cut: Cut::Order("partly_refunded") },
    Mutant { name: "refunded overwrites what came first", cut: Cut::Order("refunded") },
    Mutant { name: "a dispute overwrites what came first", cut: Cut::Dispute },
    Mutant { name: "money moves without the journal", cut: Cut::Entry },
    Mutant { name: "a subscription overwrites what came first", cut: Cut::Subscription },
    Mutant { name: "somebody has two subscriptions", cut: Cut::OneSubscription },
    Mutant { name: "the event is read as it was", cut: Cut::ConsistentRead("GetItem", "Catalog") },
    Mutant { name: "an order is read as it was", cut: Cut::ConsistentRead("GetItem", "Orders") },
    Mutant { name: "a refund is asked for without a key", cut: Cut::RefundKey },
    Mutant { name: "a refund is asked for without looking", cut: Cut::RefundLookUp },
];

impl Mutant {
    /// What a request to a table is when this mutant has had it.
    pub fn at_table(&self, operation: &str, body: &mut Value) {
        match &self.cut {
            Cut::Seats { update, condition, not } if operation == "UpdateItem" && body["TableName"] == "Seats" => {
                let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                let (does, when) = (text("UpdateExpression"), text("ConditionExpression"));
                if does.contains(update) && when.contains(condition) && !when.contains(not) {
                    give_up(body);
                }
            }
            Cut::Order(state) => each_put(body, "Orders", |put| {
                let is_state = put.pointer("/Item/state/S").is_some_and(|now| now == state);
                let is_new = put["ConditionExpression"].as_str().is_some_and(|text| text.contains("not_exists"));
                if is_state && !is_new && !has_used(put) {
                    give_up(put);
                }
            }),
            Cut::NewOrder => each_put(body, "Orders", |put| {
                if put["ConditionExpression"].as_str().is_some_and(|text| text.contains("not_exists")) {
                    give_up(put);
                }
            }),
            Cut::Dispute => each_put(body, "Orders", |put| {
                if put.pointer("/Item/disputes/L/0").is_some() {
                    give_up(put);
                }
            }),
            Cut::CheckIn => each_put(body, "Orders", |put| {
                if has_used(put) {
                    give_up(put);
                }
            }),
            Cut::Subscription => each_put(body, "Subscriptions", |put| {
                if !is_place(put) {
                    give_up(put);
                }
            }),
            Cut::OneSubscription => each_put(body, "Subscriptions", |put| {
                if is_place(put) {
                    give_up(put);
                }
            }),
            Cut::ConsistentRead(read, table) if operation == *read && body["TableName"] == *table => {
                body["ConsistentRead"] = json!(false);
            }
            Cut::Entry => {
                if let Some(parts) = body["TransactItems"].as_array_mut() {
                    parts.retain(|part| part["Put"]["TableName"] != "Ledger");
                }
            }
            _ => {}
        }
    }

    /// What a request to the payment provider is when this mutant has had it.
    pub fn at_provider(&self, request: &mut Request<Bytes>) {
        let makes_refund = request.method() == Method::POST && request.uri().path() == "/v1/refunds";
        if matches!(self.cut, Cut::RefundKey) && makes_refund {
            request.headers_mut().remove("idempotency-key");
        }
    }

    pub fn hides_refunds(&self) -> bool {
        matches!(self.cut, Cut::RefundLookUp)
    }
}

/// Makes a condition hold always. It still names everything that it named, so that the table takes the request.
fn give_up(write: &mut Value) {
    if let Some(condition) = write["ConditionExpression"].as_str() {
        write["ConditionExpression"] = json!(format!("{condition} OR attribute_not_exists(no_item_has_this)"));
    }
}

fn each_put(body: &mut Value, table: &str, mut act: impl FnMut(&mut Value)) {
    if !body["Item"].is_null() && body["TableName"] == table {
        act(body);
    }
    for part in body["TransactItems"].as_array_mut().into_iter().flatten() {
        if part["Put"]["TableName"] == table {
            act(&mut part["Put"]);
        }
    }
}

fn is_place(put: &Value) -> bool {
    put.pointer("/Item/sk/S").is_some_and(|key| key == "open")
}

fn has_used(put: &Value) -> bool {
    let seats = put.pointer("/Item/seats/L").and_then(Value::as_array);
    seats.is_some_and(|seats| {
        seats.iter().any(|seat| seat.pointer("/M/ticket/S").is_some_and(|ticket| ticket == "used"))
    })
}
