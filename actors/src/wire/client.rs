//! The one place where clients are made: none follows a redirect, and none trusts awc with a deadline.

use std::time::Duration;

use awc::{Client, Connector};

use super::Wires;

/// How long connections are kept for the next request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// While they are idle.
    pub(crate) idle: Duration,
    /// All in all.
    pub(crate) at_most: Duration,
}

/// A client for this thread. Whoever asks it sees to the deadline of the whole.
pub(crate) fn client(wires: Wires, connect_within: Duration, kept: Kept) -> Client {
    let connector = Connector::new()
        .connector(wires)
        .timeout(connect_within)
        .conn_keep_alive(kept.idle)
        .conn_lifetime(kept.at_most)
        // How many requests run at once is whoever asks' business: none of them waits for another here.
        .limit(0);
    Client::builder()
        .connector(connector)
        .disable_timeout()
        // A redirect would carry the key, or the signed body, to wherever the other side says.
        .disable_redirects()
        .no_default_headers()
        .finish()
}
