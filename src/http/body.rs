//! Reading a request's body: as much as is allowed, as fast as it must come.
//!
//! actix has no deadline for bodies: one byte every two seconds would hold a connection and its buffers for hours.

use std::time::Duration;

use actix_web::{dev::Payload, error::PayloadError};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

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

#[cfg(test)]
mod tests {
    use std::iter;

    use futures_util::stream;

    use super::*;

    /// A body of such chunks, each after such a wait, which then never ends unless it is whole.
    fn sent(chunks: impl IntoIterator<Item = (Duration, usize)> + 'static, whole: bool) -> Payload {
        let chunks = stream::iter(chunks).then(|(wait, length)| async move {
            tokio::time::sleep(wait).await;
            Ok(Bytes::from(vec![b'x'; length]))
        });
        let rest = if whole { stream::empty().boxed_local() } else { stream::pending().boxed_local() };
        Payload::Stream { payload: Box::pin(chunks.chain(rest)) }
    }

    async fn read(payload: Payload, limit: usize) -> Result<usize, &'static str> {
        let body = read_whole(payload, BodyLimit(limit)).await;
        body.map(|body| body.len()).map_err(|error| error.code())
    }

    #[actix::test]
    async fn a_body_in_pieces_is_whole_again() {
        tokio::time::pause();
        let pieces = iter::repeat_n((Duration::from_millis(50), 1_000), 20);
        assert_eq!(read(sent(pieces, true), 20_000).await, Ok(20_000));
    }

    #[actix::test]
    async fn nothing_past_the_limit_is_kept() {
        tokio::time::pause();
        let endless = iter::repeat((Duration::ZERO, 1_000));
        assert_eq!(read(sent(endless, true), 20_000).await, Err("body_too_large"));
        assert_eq!(read(sent([(Duration::ZERO, 20_001)], true), 20_000).await, Err("body_too_large"));
    }

    #[actix::test]
    async fn a_body_that_drips_or_stands_still_is_given_up() {
        tokio::time::pause();
        let drip = iter::repeat((Duration::from_millis(1_800), 1));
        assert_eq!(read(sent(drip, true), 20_000).await, Err("request_timeout"));
        assert_eq!(read(sent([(Duration::ZERO, 10)], false), 20_000).await, Err("request_timeout"));
        // Fast enough by the second, yet not whole in time.
        let long = iter::repeat((Duration::from_millis(500), 2_000));
        assert_eq!(read(sent(long, true), 1 << 20).await, Err("request_timeout"));
    }

    #[actix::test]
    async fn a_stream_of_any_length_has_time_if_it_keeps_coming() {
        tokio::time::pause();
        let hour = iter::repeat_n((Duration::from_secs(4), 8_000), 900);
        let mut reader = BodyReader::streaming(sent(hour, true));
        let mut length = 0;
        while let Some(chunk) = reader.chunk().await.expect("in time") {
            length += chunk.len();
        }
        assert_eq!(length, 900 * 8_000);
    }
}
