//! Headers that no honest client sends: one too large, or one that may stand once and stands twice.

use actix_web::http::header::{self, HeaderMap, HeaderName};

use crate::http::error::ApiError;

/// Cookies and tokens fit many times over; actix itself takes about 128 KiB of head in all.
const LARGEST: usize = 16 << 10;

/// Two of these could mean two different things to us and to a proxy in front.
const SINGLE: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("idempotency-key"),
    header::CONTENT_LENGTH,
    HeaderName::from_static("last-event-id"),
];

pub(super) fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    if let Some((name, _)) = headers.iter().find(|(name, value)| name.as_str().len() + value.len() > LARGEST)
    {
        return Err(ApiError::header_too_large(name, LARGEST));
    }
    for name in &SINGLE {
        if headers.get_all(name).nth(1).is_some() {
            let message = format!("the header `{name}` may stand only once");
            return Err(ApiError::bad_request("duplicate_header", message).param(name.as_str()));
        }
    }
    Ok(())
}
