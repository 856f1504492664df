//! Taking and giving back money: the one trait that a payment provider implements, and the providers.
//!
//! Orders are authorised first and captured when their seats are sold. A subscription has no seats that somebody else
//! could get meanwhile, so its payments are captured as they are confirmed: there is nothing to wait for, no
//! authorisation that could run out, and one call less at the provider's pace. Who finds such money for a subscription
//! that ended meanwhile gives it back.
//!
//! How a renewal goes: [`PaymentGateway::create_for_period`], save the id with the period, [`PaymentGateway::charge`]. A
//! message that comes again, however late, charges the payment whose id was saved; and a payment is taken once at most,
//! whoever confirms it how often.

pub mod stripe;

pub use stripe::Stripe;

use domain::ids::{OrderId, UserId};
use domain::money::Money;
use domain::payments::{Decline, Movement, Payment, ProviderDispute, ProviderRefund, Purpose, SavedMethod, Setup};
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

/// A new payment for one period of a subscription: captured as it is confirmed.
#[derive(Clone, Debug)]
pub struct NewPeriodPayment<'a> {
    pub user: UserId,
    pub subscription: &'a str,
    pub period: &'a str,
    pub amount: Money,
    pub payer: Payer<'a>,
}

/// Who pays for a period, and whether the method is kept. The texts are ids of [`PaymentGateway::customer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer<'a> {
    /// Somebody who is there and pays once: nothing is kept.
    Once,
    /// Somebody who is there, and whose method is kept for charges while they are away.
    Saving(&'a str),
    /// Somebody with a method that was kept before. They are away, or come to confirm what their bank wants confirmed; who
    /// wants to pay with another method saves that first ([`PaymentGateway::set_up`]).
    Saved(&'a str),
}

/// One try to charge a saved method while its holder is away.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The payment's id, saved before the first try.
    pub payment: &'a str,
    pub method: &'a str,
    /// Which try of this payment it is: each has a number of its own, and keeps it when it is repeated.
    pub number: u32,
    /// The decline that was known when this try was decided on. A payment that shows another one was tried since.
    pub after: Option<&'a Decline>,
}

/// A method to be saved without a payment: for a trial, or in the place of another.
#[derive(Clone, Debug)]
pub struct NewSetup<'a> {
    pub user: UserId,
    pub subscription: &'a str,
    /// Of [`PaymentGateway::customer`].
    pub customer: &'a str,
    /// Which one it is, since a method may be changed often: the same key gives the same setup.
    pub key: &'a str,
}

/// Money to give back of a payment. What it was for goes with it, so that the provider's books say whose it is.
#[derive(Clone, Debug)]
pub struct NewRefund<'a> {
    pub payment: &'a str,
    /// What the provider knows the refund by.
    pub key: &'a str,
    pub amount: Money,
    pub purpose: &'a Purpose,
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
    /// The provider's id of the customer who is this user: the `known` one if it is still there, or a new one. The caller
    /// keeps it and asks no more.
    ///
    /// A reply that was lost is asked for again: within a day the provider gives the same customer for the same key. A
    /// search for our id would find it later too, but not at once, since Stripe's search lags behind; so after a day, or
    /// where a customer was not kept, there is a second one. It has no methods and harms nobody.
    fn customer<'a>(&'a self, user: UserId, known: Option<&'a str>) -> Reply<'a, String>;
    /// Creates the payment of a subscription's period, unconfirmed. What a lost reply left behind is never confirmed, since
    /// nobody has its id or its secret.
    fn create_for_period<'a>(&'a self, new: &'a NewPeriodPayment<'a>) -> Reply<'a, Payment>;
    /// Charges a saved method while its holder is away, and gives the payment as it is then: a decline is no error, but
    /// [`Payment::decline`](domain::payments::Payment). Looks first: what was tried since `after`, is paid, cancelled, or
    /// waits for its payer, is only looked at. [`GatewayError::Refused`] if this method can never pay, such as one that was
    /// detached.
    fn charge<'a>(&'a self, attempt: &'a Attempt<'a>) -> Reply<'a, Payment>;
    /// Begins to save a method for charges while its holder is away.
    fn set_up<'a>(&'a self, new: &'a NewSetup<'a>) -> Reply<'a, Setup>;
    /// The setup as it is now; `None` if the provider has none of this id that is ours.
    fn fetch_setup<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Setup>>;
    /// A saved method as it is now: banks renew cards by themselves.
    fn method<'a>(&'a self, id: &'a str) -> Reply<'a, Option<SavedMethod>>;
    /// Forgets a saved method; one that is forgotten already is forgotten.
    fn detach<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// The disputes of a payment as they are now, the oldest first; none that only ask a question.
    fn disputes<'a>(&'a self, payment: &'a str) -> Reply<'a, Vec<ProviderDispute>>;
    /// The dispute of this id, as it is now.
    fn dispute<'a>(&'a self, id: &'a str) -> Reply<'a, Option<ProviderDispute>>;
    /// Movements of the balance from `from` to before `to`, a page at a time. A key that may only read is enough.
    fn movements<'a>(&'a self, from: Timestamp, to: Timestamp, cursor: Option<&'a str>) -> Reply<'a, MovementPage>;
}
