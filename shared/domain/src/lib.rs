//! The rules of a box office. No I/O, no async, no AWS, no HTTP; `now` is always an argument.

pub mod access;
pub mod alerts;
pub mod catalog;
pub mod chats;
pub mod disputes;
pub mod effects;
pub mod ids;
pub mod layout;
pub mod ledger;
pub mod money;
pub mod notices;
pub mod orders;
pub mod payments;
pub mod reconcile;
pub mod refunds;
pub mod seating;
pub mod subscriptions;
pub mod texts;
pub mod tickets;
