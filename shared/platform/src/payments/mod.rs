//! Taking and giving back money: the one trait that a payment provider implements, and the providers.

pub mod stripe;

pub use stripe::Stripe;

use domain::ids::{OrderId, UserId};
use domain::money::Money;
use domain::payments::{Payment, ProviderRefund};
use std::future::Future;
use std::pin::Pin;

/// Why a provider did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GatewayError {
    /// No answer, or an answer that says nothing: it may or may not have been done. Look before acting again.
    #[error("the payment provider did not answer: {0}")]
    Unknown(String),
    /// It was refused for good.
    #[error("the payment provider refused: {0}")]
    Refused(String),
    /// We are not set up as the provider needs.
    #[error("the payment provider cannot be asked: {0}")]
    Misconfigured(String),
}

pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, GatewayError>> + Send + 'a>>;

/// A new payment: one an order, authorised first and captured when the seats are sold.
#[derive(Clone, Debug)]
pub struct NewPayment {
    pub buyer: UserId,
    pub order: OrderId,
    pub amount: Money,
}

/// A payment provider. Every call may be repeated: the same key makes the same thing.
pub trait PaymentGateway: Send + Sync {
    /// Its name in URLs and records.
    fn name(&self) -> &'static str;
    /// Creates the payment of an order, unconfirmed, with manual capture.
    fn create<'a>(&'a self, new: &'a NewPayment) -> Reply<'a, Payment>;
    /// The payment as it is now; `None` if the provider has none of this id that is ours.
    fn fetch<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Payment>>;
    /// Takes the authorised money. [`GatewayError::Refused`] only if it will never be taken.
    fn capture<'a>(&'a self, payment: &'a Payment) -> Reply<'a, Payment>;
    /// Lets go of a payment that was not captured; one that is cancelled already is cancelled.
    fn cancel<'a>(&'a self, id: &'a str) -> Reply<'a, Payment>;
    /// Gives money back, once for each key however often it is asked.
    fn refund<'a>(&'a self, payment: &'a str, key: &'a str, amount: Money) -> Reply<'a, ProviderRefund>;
    /// The refund that was made with this key, as it is now.
    fn find_refund<'a>(&'a self, payment: &'a str, key: &'a str) -> Reply<'a, Option<ProviderRefund>>;
}
