//! What browsers ask before they let a page read an answer. Nothing is protected by it: the request itself decides.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};

/// Everything that a page may want to read beside the body.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, Content-Location, ETag, Idempotent-Replayed",
);

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// Two hours, which is the most that browsers take.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");

const ORIGIN: HeaderName = header::ORIGIN;

/// The answer to OPTIONS, whatever is asked about: the method and the headers that the page wants to send.
pub(super) fn preflight(request: &HeaderMap) -> HttpResponse {
    let mut answer = HttpResponse::NoContent();
    answer.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS));
    answer.insert_header((header::ACCESS_CONTROL_MAX_AGE, REMEMBERED));
    for wanted in request.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.append_header((header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone()));
    }
    answer.append_header((header::VARY, "Access-Control-Request-Headers"));
    answer.finish()
}

/// Lets the page that asked read the answer, also a refusal.
pub(super) fn allow(origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    let Some(origin) = origin else { return };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    answer.append(header::VARY, HeaderValue::from_name(ORIGIN));
}
