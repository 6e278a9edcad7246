//! The product behind OpenClaw Server: actors, their rules and their SQL.
//!
//! One folder is one actor: its messages, its pure rules and its SQL. Folders meet only in the files beside this one
//! and through the event log. Nothing here knows the HTTP server in front.

pub mod analytics;
pub mod answer;
pub mod audit;
pub mod clock;
pub mod conversation;
pub mod event;
pub mod growth;
pub mod idempotency;
pub mod ids;
pub mod keys;
pub mod knowledge;
pub mod limiter;
pub mod log;
pub mod metrics;
pub mod organization;
pub mod outbox;
pub mod patch;
pub mod position;
pub mod store;
pub mod supervision;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod threads;
pub mod tls;
pub mod upstream;
pub mod webhook;
mod wire;
pub mod writer;
