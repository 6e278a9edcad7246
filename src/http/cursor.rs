//! Where a stream is to go on: `Last-Event-ID`, or `?after=`.

use std::str::FromStr;

use actix_web::http::header::{HeaderMap, HeaderName};
use openclaw_actors::conversation::reader::Cursor;
use serde::Deserialize;

use super::error::ApiError;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The parameters of a stream.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StreamParameters {
    after: Option<String>,
    /// Was read before anything else.
    #[allow(dead_code, reason = "named here so that it is no unknown parameter")]
    ticket: Option<String>,
}

impl StreamParameters {
    /// The header wins: an `EventSource` comes back with the URL it was given first.
    pub(super) fn cursor<C: FromStr>(&self, headers: &HeaderMap) -> Result<Option<C>, ApiError> {
        if let Some(cursor) = position_of(headers)? {
            return Ok(Some(cursor));
        }
        let after = self.after.as_deref().map(str::parse);
        after.transpose().map_err(|_| malformed("after"))
    }
}

/// The position in a conversation that the client has reached.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, ApiError> {
    position_of(headers)
}

fn position_of<C: FromStr>(headers: &HeaderMap) -> Result<Option<C>, ApiError> {
    let Some(id) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let cursor = id.to_str().ok().and_then(|id| id.parse().ok());
    cursor.map(Some).ok_or_else(|| malformed(LAST_EVENT_ID.as_str()))
}

pub(super) fn malformed(param: &str) -> ApiError {
    ApiError::bad_request("invalid_cursor", "the cursor is not one of a stream").param(param)
}
