//! What a payment is to us, whichever provider holds it.

use crate::ids::{OrderId, UserId};
use crate::money::{Currency, Money};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What money is for, as the metadata says that we gave the provider with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    Order {
        buyer: UserId,
        order: OrderId,
    },
    /// One period of a subscription. The names are the subscriptions' own; a period's is the same whoever asks.
    Subscription {
        user: UserId,
        subscription: String,
        period: String,
    },
}

impl Purpose {
    /// The order that it is for, and whose that is.
    pub fn order(&self) -> Option<(UserId, OrderId)> {
        match self {
            Self::Order { buyer, order } => Some((*buyer, *order)),
            Self::Subscription { .. } => None,
        }
    }
}

/// A payment at a provider, as it stands there now. Never built from the contents of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The provider's id of it.
    pub id: String,
    pub status: PaymentStatus,
    pub amount: Money,
    /// Minor units that were captured so far.
    pub captured: i64,
    /// What it is for and whose it is.
    pub purpose: Purpose,
    /// The provider's id of the method that pays or paid; none yet, or none any more once it was declined.
    pub method: Option<String>,
    /// Why the last try was declined, if it was.
    pub decline: Option<Decline>,
    /// What the buyer's page needs to pay; a secret of that buyer.
    pub client_secret: String,
}

/// Why a bank, or the provider itself, declined a try, in the provider's words.
///
/// Source: Stripe's `last_payment_error` and `last_setup_error`; <https://docs.stripe.com/declines/codes>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    /// The kind of error, such as `card_declined`, `expired_card` or `authentication_required`.
    pub code: String,
    /// The bank's reason, such as `insufficient_funds` or `lost_card`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline_code: Option<String>,
    /// What to do now: `try_again_later`, `do_not_try_again` or `confirm_card_data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice_code: Option<String>,
    /// The card network's own code of the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_decline_code: Option<String>,
    /// Whether only the card's holder, at the bank's page, can let it through.
    #[serde(default)]
    pub needs_authentication: bool,
    /// The provider's id of the charge that failed, by which one try is told from another; some tries end before one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<String>,
}

impl Decline {
    /// Whether both tell of the same try, as far as can be told.
    pub fn is_of_same_try(&self, other: &Self) -> bool {
        match (&self.charge, &other.charge) {
            (Some(one), Some(other)) => one == other,
            _ => self == other,
        }
    }
}

/// A card that the provider keeps for charges to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMethod {
    /// The provider's id of it.
    pub id: String,
    /// The provider's id of the customer whose it is; none once it was detached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// The network, such as `visa`.
    pub brand: String,
    pub last4: String,
    /// The last month in which it can be charged, 1 to 12.
    pub exp_month: i8,
    pub exp_year: i16,
    /// The same for the same card, whoever has it (Stripe: `card.fingerprint`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// A method being saved without a payment, as it stands at the provider now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The provider's id of it.
    pub id: String,
    pub status: SetupStatus,
    /// Whose it is and for what, from the metadata that we gave it.
    pub user: UserId,
    pub subscription: String,
    /// The provider's id of the method: the saved one where it succeeded.
    pub method: Option<String>,
    /// Why the last try was declined, if it was.
    pub decline: Option<Decline>,
    /// What the subscriber's page needs to save a method; a secret of that subscriber.
    pub client_secret: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetupStatus {
    /// Nobody has given a method yet.
    Waiting,
    /// The last method was declined; another may be tried.
    Declined,
    /// The card's holder has to confirm at the bank.
    NeedsAction,
    /// The provider is at work.
    Processing,
    /// The method is saved.
    Succeeded,
    /// No method will be saved.
    Cancelled,
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
    /// What it is for, where the provider says so with the movement: with captures and refunds of ours, not disputes.
    pub purpose: Option<Purpose>,
}

impl Movement {
    /// The order that it is for, and whose that is.
    pub fn order(&self) -> Option<(UserId, OrderId)> {
        self.purpose.as_ref()?.order()
    }
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

/// Whether it is money that the provider takes, counted in the same minor units as ISO 4217 does. Codes of metals, funds, tests
/// and of no currency at all (`XAU`, `CLF`, `XTS`, `XXX`) are not, nor are those that another has taken the place of.
///
/// Source: Stripe, "Supported currencies", zero-decimal, three-decimal and special cases: it counts ISK and UGX in
/// hundredths that they no longer have, MGA in whole units, and takes three-decimal ones only in multiples of ten.
pub fn is_supported(currency: Currency) -> bool {
    let is_money = currency.0.flags().is_empty() && currency.0.exponent().is_some();
    is_money && currency.exponent() <= 2 && !matches!(currency.code(), "ISK" | "UGX" | "MGA" | "MRU")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_money_is_taken() {
        for (code, expected) in [
            ("EUR", true),
            ("RUB", true),
            ("JPY", true),
            ("XOF", true),
            ("XCD", true),
            ("XXX", false),
            ("XTS", false),
            ("XAU", false),
            ("XDR", false),
            ("CLF", false),
            ("HRK", false),
            ("KWD", false),
            ("ISK", false),
        ] {
            assert_eq!(is_supported(Currency::from_code(code).expect("a code")), expected, "{code}");
        }
    }
}
