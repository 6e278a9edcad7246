//! Reading a request's body: as much as is allowed, as fast as it must come.
//!
//! actix has no deadline for bodies: one byte every two seconds would hold a connection and its buffers for hours.

use std::time::{Duration, Instant};

use actix_web::{dev::Payload, error::PayloadError};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::error::ApiError;

/// The largest body, unless a route says otherwise by `app_data(BodyLimit(…))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit(pub usize);

impl Default for BodyLimit {
    fn default() -> Self {
        Self(1 << 20)
    }
}

/// A whole body must be here by then.
const WHOLE_WITHIN: Duration = Duration::from_secs(10);

/// A body may stand still that long in all, beyond what [`SLOWEST`] allows: a mobile client between two cells.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes per second. The slowest phone sends ten times as much.
const SLOWEST: usize = 1 << 10;

/// Takes a body chunk by chunk. Only the waits count: a slow reader on our side is not the client's fault.
pub struct BodyReader {
    payload: Payload,
    received: usize,
    waited: Duration,
    within: Duration,
}

impl BodyReader {
    /// For a body of any length that is used as it comes.
    #[must_use]
    pub fn streaming(payload: Payload) -> Self {
        Self { payload, received: 0, waited: Duration::ZERO, within: Duration::MAX }
    }

    /// The next part, or `None` at the end.
    ///
    /// # Errors
    /// 408 if it comes too slowly, 400 if it breaks off or is framed wrongly.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        let earned = Duration::from_secs_f64(self.received as f64 / SLOWEST as f64);
        let patience = (PATIENCE + earned).min(self.within).saturating_sub(self.waited);
        let asked = Instant::now();
        let chunk = timeout(patience, self.payload.next()).await.map_err(|_| ApiError::request_timeout())?;
        self.waited += asked.elapsed();
        let chunk = chunk.transpose().map_err(broken)?;
        self.received += chunk.as_ref().map_or(0, Bytes::len);
        Ok(chunk)
    }
}

fn broken(error: PayloadError) -> ApiError {
    match error {
        PayloadError::Overflow => ApiError::too_large(BodyLimit::default().0),
        PayloadError::Incomplete(_)
        | PayloadError::EncodingCorrupted
        | PayloadError::UnknownLength
        | PayloadError::Http2Payload(_)
        | PayloadError::Io(_)
        | _ => ApiError::bad_request("malformed_body", "the body broke off or is framed wrongly"),
    }
}

/// The whole body.
///
/// # Errors
/// 413 past the limit, else as [`BodyReader::chunk`].
pub async fn read_whole(payload: Payload, BodyLimit(limit): BodyLimit) -> Result<Bytes, ApiError> {
    let mut reader = BodyReader { within: WHOLE_WITHIN, ..BodyReader::streaming(payload) };
    let Some(first) = reader.chunk().await? else { return Ok(Bytes::new()) };
    // Nearly every body is one chunk: it is not copied.
    let mut whole = first;
    while let Some(chunk) = reader.chunk().await? {
        if whole.len() + chunk.len() > limit {
            return Err(ApiError::too_large(limit));
        }
        let mut joined = whole.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        joined.extend_from_slice(&chunk);
        whole = joined.freeze();
    }
    if whole.len() > limit { Err(ApiError::too_large(limit)) } else { Ok(whole) }
}
