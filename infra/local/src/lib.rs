//! Boxoffice on one machine: everything that `template.yaml` describes, built from that file, with no cloud.
//!
//! The functions are the ones that run on Lambda, and they talk to their tables through the real AWS client. Around
//! them this crate puts an embedded DynamoDB ([`engine`]), queues and a topic ([`queues`], [`topic`]), streams,
//! schedules, and a front door for HTTP ([`http`]). [`runner`] starts and stops all of it as one.

pub mod args;
mod client;
mod consumers;
pub mod demo;
pub mod door;
pub mod engine;
pub mod error;
pub mod events;
pub mod grants;
pub mod host;
pub mod http;
pub mod journal;
pub mod mail;
pub mod messenger_check;
pub mod meter;
mod pages;
pub mod parameters;
pub mod payments;
pub mod queues;
pub mod redrive;
pub mod runner;
mod sandboxes;
mod schedules;
pub mod secrets;
pub mod storage;
mod streams;
pub mod tables;
pub mod telegram;
pub mod template;
pub mod topic;
mod unread;

pub use error::Error;
pub use meter::Meter;
pub use payments::Payments;
pub use runner::{Data, Options, Runner, Running, Wires};
pub use telegram::Telegram;
