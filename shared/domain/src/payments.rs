//! What a payment is to us, whichever provider holds it.

use crate::ids::{OrderId, UserId};
use crate::money::{Currency, Money};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A payment at a provider, as it stands there now. Never built from the contents of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The provider's id of it.
    pub id: String,
    pub status: PaymentStatus,
    pub amount: Money,
    /// Minor units that were captured so far.
    pub captured: i64,
    /// Whose payment it is, from the metadata that we gave it.
    pub buyer: UserId,
    pub order: OrderId,
    /// What the buyer's page needs to pay; a secret of that buyer.
    pub client_secret: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Nobody has paid yet.
    Waiting,
    /// The last attempt was declined; the buyer may try again.
    Declined,
    /// The buyer has to confirm at the bank.
    NeedsAction,
    /// The provider is at work.
    Processing,
    /// The money is set aside and can be captured.
    Authorised,
    /// The money is ours.
    Captured,
    /// It will not be paid.
    Cancelled,
}

/// A refund at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRefund {
    pub id: String,
    pub status: ProviderRefundStatus,
    pub amount: i64,
    /// Whether it failed because the buyer's bank took the money first.
    pub gave_way: bool,
}

/// Where a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeState {
    /// The buyer's bank has the money, and has not decided.
    Open,
    /// We keep it.
    Won,
    /// The buyer keeps it.
    Lost,
}

/// What a dispute moved, in minor units of the payment's currency: an amount, and what the provider took for it
/// (negative: gave back of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swing {
    pub amount: i64,
    pub fee: i64,
}

/// A dispute (chargeback) at a provider, as it stands there now. A bank's question that moves no money is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderDispute {
    pub id: String,
    pub state: DisputeState,
    /// Minor units that the buyer's bank wants back.
    pub amount: i64,
    /// What left our balance; none yet where the provider is about to.
    pub withdrawn: Option<Swing>,
    /// What came back to it.
    pub reinstated: Option<Swing>,
}

/// One movement of our balance at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The provider's id of it.
    pub id: String,
    pub at: Timestamp,
    pub kind: MovementKind,
    /// What it is for: the provider's id of the charge, refund or dispute.
    pub source: String,
    /// What the balance grew by, before fees, in the currency of the payment.
    pub money: Money,
    /// What the provider took, in minor units of the same currency.
    pub fee: i64,
    pub payment: Option<String>,
    /// Whose it is, from the metadata that we gave it.
    pub owner: Option<(UserId, OrderId)>,
}

/// What a movement is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MovementKind {
    Capture,
    /// With the key that we gave the refund, where we made it.
    Refund(Option<String>),
    /// A refund that came back.
    RefundReversed(Option<String>),
    DisputeWithdrawn,
    DisputeReinstated,
    /// Payouts, the provider's own bills, and whatever else no order knows of.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderRefundStatus {
    /// Taken on, and no money has moved yet: it may still fail without any having moved.
    Pending,
    /// The money has left; it may still come back days later.
    Succeeded,
    Failed,
}

/// Whether the provider counts this currency in the same minor units as ISO 4217 does.
///
/// Source: Stripe, "Supported currencies", zero-decimal, three-decimal and special cases: it counts ISK and UGX in
/// hundredths that they no longer have, MGA in whole units, and takes three-decimal ones only in multiples of ten.
pub fn is_supported(currency: Currency) -> bool {
    currency.exponent() <= 2 && !matches!(currency.code(), "ISK" | "UGX" | "MGA" | "MRU")
}

/// The smallest total the provider takes, in minor units, by currency.
///
/// Source: Stripe, "Minimum and maximum charge amounts"; currencies it does not list are given the same order of value.
pub fn minimum_charge(currency: Currency) -> i64 {
    match currency.code() {
        "GBP" => 30,
        "USD" | "EUR" | "CHF" | "AUD" | "CAD" | "NZD" | "SGD" | "BRL" => 50,
        "JPY" => 50,
        "CZK" => 1500,
        "DKK" => 250,
        "NOK" | "SEK" => 300,
        "PLN" => 200,
        "HUF" => 17_500,
        "MXN" => 1000,
        "HKD" => 400,
        "AED" => 200,
        "THB" => 1000,
        _ => 50,
    }
}

/// The largest total the provider takes, in minor units (Stripe: eight digits).
pub const CHARGE_MINOR_UNITS_MAX: i64 = 99_999_999;
