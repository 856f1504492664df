//! The provider's books, for whoever compares them with its own.

use std::collections::BTreeMap;

use crate::objects::{DisputeStatus, Status};
use crate::state::State;

/// The provider's books: what it took and gave back, counted independently of whoever asked for it.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Oldest first.
    pub intents: Vec<IntentEntry>,
    /// Oldest first.
    pub refunds: Vec<RefundEntry>,
    /// Oldest first.
    pub disputes: Vec<DisputeEntry>,
    /// Every movement of the balance, oldest first: their sum, less their fees, is the balance.
    pub movements: Vec<MovementEntry>,
}

/// A payment intent in the books. Amounts are in minor units.
#[derive(Clone, Debug)]
pub struct IntentEntry {
    pub id: String,
    pub amount: i64,
    pub amount_capturable: i64,
    pub amount_received: i64,
    /// Lower case, as Stripe writes it.
    pub currency: String,
    pub status: Status,
    pub customer: Option<String>,
    pub metadata: BTreeMap<String, String>,
    /// Ids of its refunds, oldest first.
    pub refunds: Vec<String>,
    /// Unix seconds.
    pub created: i64,
}

/// A refund in the books.
#[derive(Clone, Debug)]
pub struct RefundEntry {
    pub id: String,
    pub payment_intent: String,
    pub amount: i64,
    pub currency: String,
    /// `pending`, `succeeded` or `failed`.
    pub status: String,
    pub metadata: BTreeMap<String, String>,
    /// Unix seconds.
    pub created: i64,
}

/// A dispute in the books.
#[derive(Clone, Debug)]
pub struct DisputeEntry {
    pub id: String,
    pub payment_intent: String,
    pub charge: String,
    /// What the issuer took, in minor units.
    pub amount: i64,
    pub currency: String,
    pub reason: String,
    pub status: DisputeStatus,
    pub metadata: BTreeMap<String, String>,
    /// Unix seconds.
    pub created: i64,
}

/// A balance transaction in the books.
#[derive(Clone, Debug)]
pub struct MovementEntry {
    pub id: String,
    /// Minor units; negative where money leaves the account. The balance grows by `amount - fee`.
    pub amount: i64,
    /// Minor units.
    pub fee: i64,
    pub currency: String,
    /// Its reporting category: `charge`, `refund`, `refund_failure`, `dispute` or `dispute_reversal`.
    pub kind: String,
    /// Id of the charge, refund or dispute that it belongs to.
    pub source: String,
    /// Unix seconds.
    pub created: i64,
}

impl Books {
    pub(crate) fn of(state: &State) -> Books {
        let disputes = state.disputes.all().iter().map(|dispute| DisputeEntry {
            id: dispute.id.clone(),
            payment_intent: dispute.payment_intent.clone(),
            charge: dispute.charge.clone(),
            amount: dispute.amount,
            currency: dispute.currency.clone(),
            reason: dispute.reason.clone(),
            status: dispute.status,
            metadata: dispute.metadata.clone(),
            created: dispute.created,
        });
        let movements = state.txns.all().iter().map(|txn| MovementEntry {
            id: txn.id.clone(),
            amount: txn.amount,
            fee: txn.fee,
            currency: txn.currency.clone(),
            kind: txn.category().to_owned(),
            source: txn.source.clone(),
            created: txn.created,
        });
        Books {
            intents: intents(state),
            refunds: refunds(state),
            disputes: disputes.collect(),
            movements: movements.collect(),
        }
    }
}

fn intents(state: &State) -> Vec<IntentEntry> {
    let entry = |intent: &crate::objects::Intent| IntentEntry {
        id: intent.id.clone(),
        amount: intent.amount,
        amount_capturable: intent.amount_capturable,
        amount_received: intent.amount_received,
        currency: intent.currency.clone(),
        status: intent.status,
        customer: intent.customer.clone(),
        metadata: intent.metadata.clone(),
        refunds: intent.refunds.iter().map(|row| state.refunds[*row].id.clone()).collect(),
        created: intent.created,
    };
    state.intents.all().iter().map(entry).collect()
}

fn refunds(state: &State) -> Vec<RefundEntry> {
    let entry = |refund: &crate::objects::Refund| RefundEntry {
        id: refund.id.clone(),
        payment_intent: refund.payment_intent.clone(),
        amount: refund.amount,
        currency: refund.currency.clone(),
        status: refund.status.clone(),
        metadata: refund.metadata.clone(),
        created: refund.created,
    };
    state.refunds.all().iter().map(entry).collect()
}
