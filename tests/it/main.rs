//! Tests of the whole, through the doors that its users have: a module a capability, one binary.

mod access;
mod bad_input;
mod cancellation;
mod catalog;
mod costs;
mod crash;
mod disputes;
mod fight;
mod gateway;
mod journal;
mod logs;
mod model;
mod orders;
mod payment;
mod perks;
mod readme;
mod reconcile;
mod redrive;
mod refunds;
mod renewals;
mod samples;
mod seating;
mod shedding;
mod subscriptions;
mod template;
mod tickets;
