//! Whether a request asks for a WebSocket as RFC 6455, section 4.2.1, says.

use actix_web::{
    HttpRequest, HttpResponseBuilder,
    http::header::{self, HeaderName, HeaderValue},
};
use actix_web_actors::ws::{self, HandshakeError};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::http::error::ApiError;

const CODE: &str = "invalid_handshake";

/// The only version that ever left the drafts.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// A client draws that many bytes for `Sec-WebSocket-Key`.
const KEY_BYTES: usize = 16;

/// The head of the answer that switches protocols. It names no subprotocol and no extension: there are none.
pub(super) fn accept(request: &HttpRequest) -> Result<HttpResponseBuilder, ApiError> {
    let once = |name: HeaderName| {
        let mut values = request.headers().get_all(name);
        values.next().filter(|_| values.next().is_none())
    };
    let answer = ws::handshake(request).map_err(|error| match error {
        HandshakeError::NoVersionHeader | HandshakeError::UnsupportedVersion => other_version(),
        error => refused(error.to_string()),
    })?;
    if once(header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(other_version());
    }
    let key = once(header::SEC_WEBSOCKET_KEY).and_then(|key| STANDARD.decode(key).ok());
    if key.is_none_or(|key| key.len() != KEY_BYTES) {
        return Err(refused(format!("`Sec-WebSocket-Key` must be {KEY_BYTES} bytes in base64")));
    }
    Ok(answer)
}

fn refused(message: String) -> ApiError {
    ApiError::bad_request(CODE, message)
}

fn other_version() -> ApiError {
    ApiError::upgrade_required(CODE, "this server speaks version 13 of the WebSocket protocol")
        .header(header::SEC_WEBSOCKET_VERSION, VERSION)
}
