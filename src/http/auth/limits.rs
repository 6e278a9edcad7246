//! A request's place in its key's limit, from its arrival to its answer's headers.

use std::{num::NonZeroU32, time::Duration};

use actix_web::{
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
};
use openclaw_actors::{
    keys::Principal,
    limiter::{Bucket, BucketId, Decision, LimiterGone, RateLimiter, TooManyStreams, WINDOW},
    metrics::METRICS,
};
use tokio::time::Instant;

use crate::http::error::ApiError;

/// Streams that a key opens by GET in any 60 seconds.
const STREAM_OPENINGS: NonZeroU32 = NonZeroU32::new(120).unwrap();

/// When a key that holds too many streams may try again. Nobody knows when one of its own will end.
const STREAM_MAY_END: Duration = Duration::from_secs(1);

/// What the limiter said of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    bucket: BucketId,
    /// None for a key without limits.
    decision: Option<Decision>,
}

impl Counted {
    pub(super) async fn take(
        limiter: &RateLimiter,
        principal: &Principal,
        request: &ServiceRequest,
        arrived: Instant,
    ) -> Result<Self, LimiterGone> {
        let kind = if opens_a_stream(request) { Bucket::StreamOpenings } else { Bucket::Requests };
        let bucket = BucketId { bucket: kind, key: principal.bucket() };
        let quota = principal.quota.map(|quota| match kind {
            Bucket::Requests | Bucket::Starts => quota,
            Bucket::StreamOpenings => STREAM_OPENINGS,
        });
        let decision = match quota {
            Some(quota) => Some(limiter.take(bucket, quota, arrived).await?),
            None => None,
        };
        Ok(Self { bucket, decision })
    }

    pub(super) fn admitted(&self) -> Result<(), ApiError> {
        match self.decision {
            Some(Decision { admitted: None, reset_after, .. }) => {
                METRICS.rate_limited.inc();
                Err(ApiError::rate_limited(reset_after))
            }
            _ => Ok(()),
        }
    }

    /// Gives back what did not count, and says on the answer what is left.
    pub(super) async fn settle<B>(self, limiter: &RateLimiter, response: &mut ServiceResponse<B>) {
        let Some(mut decision) = self.decision else { return };
        if let Some(admission) = decision.admitted
            && !counts(response.status())
        {
            limiter.give_back(self.bucket, admission).await;
            decision.remaining += 1;
        }
        write_headers(self.bucket.bucket, decision, response.headers_mut());
    }
}

/// A refusal that is not the request's fault, or that a stranger could provoke, costs nothing.
fn counts(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// The routes that end so are those of streams and WebSockets. They have a bucket of their own, so that reconnecting
/// after a restart uses up no requests.
pub(in crate::http) fn opens_a_stream(request: &ServiceRequest) -> bool {
    let is_stream = |pattern: String| pattern.ends_with("/stream") || pattern.ends_with("/ws");
    request.method() == Method::GET && request.match_pattern().is_some_and(is_stream)
}

fn write_headers(bucket: Bucket, decision: Decision, headers: &mut HeaderMap) {
    let name = match bucket {
        Bucket::Requests => "default",
        Bucket::StreamOpenings => "streams",
        Bucket::Starts => "starts",
    };
    let Decision { quota, remaining, reset_after, .. } = decision;
    let reset = reset_after.as_secs() + u64::from(reset_after.subsec_nanos() > 0);
    let window = WINDOW.as_secs();
    let mut write = |name: &'static str, value: String| {
        // Digits and our own constants.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    write("ratelimit-policy", format!("\"{name}\";q={quota};w={window}"));
    write("ratelimit", format!("\"{name}\";r={remaining};t={reset}"));
    write("x-ratelimit-limit", quota.to_string());
    write("x-ratelimit-remaining", remaining.to_string());
    write("x-ratelimit-reset", reset.to_string());
}

pub(super) fn too_many_streams(refused: TooManyStreams) -> ApiError {
    METRICS.rate_limited.inc();
    ApiError::too_many("too_many_streams", refused.to_string(), STREAM_MAY_END)
}
