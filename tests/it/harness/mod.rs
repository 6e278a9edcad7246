//! The real server as a child process, and clients that speak to it over real sockets.
//!
//! ```ignore
//! let server = Server::start();
//! let org = server.organization();
//! let reply = org.post("/v1/conversations", json!({ "message": "Where is my parcel?" })).status(201);
//! assert_eq!(reply["turn"]["status"], "completed");
//! ```
//!
//! Nothing here sleeps to let something happen: it waits for what should happen, with deadlines that no slow machine
//! reaches.

#![allow(dead_code, unused_imports, reason = "whichever of it the tests use today")]

pub(crate) mod browser;
mod client;
pub(crate) mod clients;
pub(crate) mod contract;
pub(crate) mod embeddings;
mod events;
pub(crate) mod nameserver;
mod organization;
mod outage;
mod program;
mod relay;
mod rows;
mod search;
mod server;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod webhook;
mod wire;

use std::{
    thread,
    time::{Duration, Instant},
};

pub(crate) use self::{
    client::{Client, Reply, Request},
    events::{Ending, Event, EventStream},
    organization::Organization,
    program::Program,
    relay::Relay,
    server::{Output, Server, new_place},
    wire::Connection,
};

/// Beyond this something hangs: no machine is that slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// How often something is tried: in every run, and in the long mode of `tests/run.sh --long`.
pub(crate) fn times(usually: usize, long: usize) -> usize {
    if is_long() { long } else { usually }
}

/// Is this the long mode?
pub(crate) fn is_long() -> bool {
    std::env::var_os("OPENCLAW_TEST_LONG").is_some_and(|value| value == "1")
}

/// Is this run about PostgreSQL?
pub(crate) fn is_postgres() -> bool {
    std::env::var_os("OPENCLAW_TEST_STORE").is_some_and(|value| value == "postgres")
}
