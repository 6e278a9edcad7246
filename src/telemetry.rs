//! What the server says about itself: logs on standard error, and counts at `/metrics`.

mod format;
mod metrics;
mod process;

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, util::TryInitError};

pub use self::{
    format::Format,
    metrics::{Exposition, HttpMetrics},
};
use crate::config::{Log, LogFormat};

/// What actix says of single connections. It calls it an error when a stream is broken off, which the dialects do on
/// purpose.
const QUIET: &str = "actix_http::h1::dispatcher=off";

/// Starts logging; the environment's `RUST_LOG` wins over the configuration, as people expect of it.
///
/// # Errors
/// The filter cannot be read, or logging has started already.
pub fn start_logging(log: &Log) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use tracing_subscriber::util::SubscriberInitExt;

    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        // First, so that whoever names it gets it.
        _ => format!("{QUIET},{}", log.filter),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_ansi(io::stderr().is_terminal())
        // A log on a full disk loses lines. It must not panic in whoever had something to say, the writer for one.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    let started: Result<(), TryInitError> = match log.format {
        LogFormat::Human => lines.with_target(false).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    Ok(started?)
}
