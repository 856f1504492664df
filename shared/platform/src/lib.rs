//! How the rules of `domain` meet the world: configuration, HTTP, storage, messages, the payment provider.

pub mod app;
pub mod auth;
pub mod aws;
pub mod bus;
mod cache;
pub mod config;
pub mod http;
pub mod messenger;
pub mod payments;
pub mod seatmap;
pub mod secrets;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod webhooks;

pub use app::{App, Clients, Clock, Rng};
pub use config::Config;
