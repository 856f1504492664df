//! What a payment is to us, whichever provider holds it.

use crate::ids::{OrderId, UserId};
use crate::money::{Currency, Money};
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderRefundStatus {
    /// On its way or done; a failure may still follow days later.
    Accepted,
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
