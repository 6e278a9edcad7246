//! How a client wants an answer: as a stream, or whole, and what becomes of it when the client hangs up.

use std::time::Duration;

use actix::Arbiter;
use actix_web::http::header::{self, HeaderMap};
use openclaw_actors::{
    conversation::{
        directory::Directory,
        messages::{Accepted, ConversationKey, Refusal},
    },
    ids::TurnId,
};
use serde::Deserialize;
use tracing::warn;

use crate::http::error::ApiError;

/// What a client waits for an answer by default; the usual proxies give up after that.
const WAIT_SECONDS: u64 = 60;

/// A longer wait is a stream's job.
const WAIT_SECONDS_MOST: u64 = 120;

/// What happens to a turn when its reader hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum OnDisconnect {
    Continue,
    Stop,
}

/// What a body says of it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct Delivery {
    pub(super) stream: Option<bool>,
    pub(super) wait_seconds: Option<u64>,
    pub(super) on_disconnect: Option<OnDisconnect>,
}

/// The same, decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivered {
    pub(super) streamed: bool,
    pub(super) within: Duration,
    pub(super) stops_on_disconnect: bool,
}

impl Delivery {
    /// What this leaves open, `other` decides.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            stream: self.stream.or(other.stream),
            wait_seconds: self.wait_seconds.or(other.wait_seconds),
            on_disconnect: self.on_disconnect.or(other.on_disconnect),
        }
    }

    pub(super) fn check(self, headers: &HeaderMap) -> Result<Delivered, ApiError> {
        let seconds = self.wait_seconds.unwrap_or(WAIT_SECONDS);
        if seconds > WAIT_SECONDS_MOST {
            let message = format!("it must be from 0 to {WAIT_SECONDS_MOST}");
            return Err(ApiError::invalid_field("wait_seconds", message));
        }
        Ok(Delivered {
            streamed: self.stream.unwrap_or_else(|| accepts_events(headers)),
            within: Duration::from_secs(seconds),
            stops_on_disconnect: self.on_disconnect == Some(OnDisconnect::Stop),
        })
    }
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).filter_map(|accepted| accepted.to_str().ok());
    accepted.flat_map(|accepted| accepted.split(',')).any(|range| {
        let kind = range.split(';').next().unwrap_or(range);
        kind.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// Stops a turn when it is dropped: its reader hung up, and had asked for that.
#[derive(Debug)]
pub(in crate::http) struct StopOnDrop {
    directory: Directory,
    key: ConversationKey,
    turn: Option<TurnId>,
}

impl StopOnDrop {
    /// Made before the turn is: whoever hangs up while it is being stored means it too.
    pub(in crate::http) fn new(directory: &Directory, key: ConversationKey, turn: TurnId) -> Self {
        Self { directory: directory.clone(), key, turn: Some(turn) }
    }

    /// The turn is over, or its stream ends for another reason.
    pub(in crate::http) fn disarm(&mut self) {
        self.turn = None;
    }

    /// Another message's turn, which this one joined or repeats, is not its reader's to stop.
    pub(super) fn keep_for_own(mut self, accepted: &Accepted) -> Self {
        if accepted.turn.as_ref().map(|turn| turn.id) != self.turn {
            self.disarm();
        }
        self
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let (Some(turn), Some(arbiter)) = (self.turn, Arbiter::try_current()) else { return };
        let (directory, key) = (self.directory.clone(), self.key);
        // Refused only when the process ends, and then the turn ends with it.
        arbiter.spawn(async move {
            match directory.stop(key, Some(turn), true).await {
                Ok(_) | Err(Refusal::NotFound) => {}
                Err(error) => warn!(%error, turn.id = %turn, "a turn whose reader left was not stopped"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn the_body_decides_before_the_header() {
        let events = |accept: &'static str, stream: Option<bool>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            Delivery { stream, ..Delivery::default() }.check(&headers).unwrap().streamed
        };
        assert!(events("text/event-stream", None));
        assert!(events("application/json, Text/Event-Stream;q=0.9", None));
        assert!(!events("text/event-stream", Some(false)));
        assert!(events("application/json", Some(true)));
        assert!(!events("*/*", None));
    }
}
