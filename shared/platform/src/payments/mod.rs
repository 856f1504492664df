//! Taking and giving back money: the one trait that a payment provider implements, and the providers.

pub mod stripe;

pub use stripe::Stripe;

use domain::ids::{OrderId, UserId};
use domain::money::Money;
use domain::payments::{Movement, Payment, ProviderDispute, ProviderRefund};
use jiff::Timestamp;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Why a provider did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GatewayError {
    /// No answer, or an answer that says nothing: it may or may not have been done. Look before acting again.
    #[error("the payment provider did not answer: {0}")]
    Unknown(String),
    /// It was not asked, since it has failed again and again: nothing was done. It is asked again after this time.
    #[error("the payment provider has failed again and again and is not asked for {0:?}")]
    Resting(Duration),
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

/// Money to give back of a payment. The order goes with it, so that the provider's books say whose it is.
#[derive(Clone, Debug)]
pub struct NewRefund<'a> {
    pub payment: &'a str,
    /// What the provider knows the refund by.
    pub key: &'a str,
    pub amount: Money,
    pub buyer: UserId,
    pub order: OrderId,
}

/// Some movements of the balance, and where the rest of them begins.
#[derive(Clone, Debug)]
pub struct MovementPage {
    pub movements: Vec<Movement>,
    pub next: Option<String>,
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
    fn refund<'a>(&'a self, new: &'a NewRefund<'a>) -> Reply<'a, ProviderRefund>;
    /// The refund that was made with this key, as it is now.
    fn find_refund<'a>(&'a self, payment: &'a str, key: &'a str) -> Reply<'a, Option<ProviderRefund>>;
    /// The disputes of a payment as they are now, the oldest first; none that only ask a question.
    fn disputes<'a>(&'a self, payment: &'a str) -> Reply<'a, Vec<ProviderDispute>>;
    /// The dispute of this id, as it is now.
    fn dispute<'a>(&'a self, id: &'a str) -> Reply<'a, Option<ProviderDispute>>;
    /// Movements of the balance from `from` to before `to`, a page at a time. A key that may only read is enough.
    fn movements<'a>(&'a self, from: Timestamp, to: Timestamp, cursor: Option<&'a str>) -> Reply<'a, MovementPage>;
}
