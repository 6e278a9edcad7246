//! The one shape of every error, and what each failure behind it looks like from outside.
//!
//! A code is a promise and never changes; a message is for a person and may be reworded. What went wrong inside
//! (`cause`) is never shown: it is logged once, where the answer is finished.

use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, Responder, ResponseError,
    body::BoxBody,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use openclaw_actors::{store::StoreError, writer::WriteError};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use super::middleware::REQUEST_ID;

/// When to come back after a queue was full or the store was away: commits take milliseconds, a failover seconds.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// A refusal or a failure, as the caller sees it.
pub struct ApiError(Box<Inner>);

struct Inner {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    param: Option<String>,
    request_id: Option<String>,
    fields: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    closes: bool,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// 400: what was sent cannot be understood.
impl ApiError {
    /// The body is not JSON.
    pub fn malformed_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_json", message)
    }

    /// JSON or markup is nested beyond the limit.
    pub fn too_deep(deepest: usize) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "too_deep",
            format!("the body is nested deeper than {deepest} levels"),
        )
    }

    /// A field or query parameter that does not exist.
    pub fn unknown_field(param: impl Into<String>) -> Self {
        let param = param.into();
        Self::new(StatusCode::BAD_REQUEST, "unknown_field", format!("`{param}` is not known here"))
            .param(param)
    }

    /// A field or query parameter whose value is of no use.
    pub fn invalid_field(param: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_field", message).param(param)
    }

    /// A cursor that this server did not make, or not for this list.
    pub fn invalid_cursor(param: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_cursor", "the cursor is not one of this list")
            .param(param)
    }

    /// A header whose value is of no use; `name` stands in `param`.
    pub fn invalid_header(name: &HeaderName, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_header", message).param(name.as_str())
    }

    /// A 400 with a code of its own.
    pub fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

/// 401, 403, 404: who may see what.
impl ApiError {
    /// No credential, or one that does not work: the answer is the same for every cause.
    pub fn unauthenticated() -> Self {
        let message = "send a valid API key as `Authorization: Bearer …`";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_key", message)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// The key lacks a scope.
    pub fn permission_denied(scope: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "missing_scope", format!("the key lacks the scope `{scope}`"))
            .param(scope)
    }

    /// A 403 that no scope would lift.
    pub fn forbidden(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// No such thing in the caller's organization. A foreign id and a malformed one get the same words.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such thing here")
    }

    /// A 404 with a code of its own.
    pub fn missing(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// No route of that path.
    pub fn unknown_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_route", "there is no such route")
    }
}

/// 405 to 431: what HTTP itself has a status for.
impl ApiError {
    /// The route exists, for other methods.
    pub fn method_not_allowed(allow: HeaderValue) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the route has no such method")
            .header(header::ALLOW, allow)
    }

    /// Nothing that the client accepts can be made.
    pub fn not_acceptable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message)
    }

    /// The body came too slowly.
    pub fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not arrive in time").closing()
    }

    /// The body is larger than the route takes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body is larger than {limit} bytes"),
        )
        .closing()
    }

    /// The body is of a kind that the route does not take.
    pub fn unsupported_media_type(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// One header is larger than the limit; its name stands in `param`.
    pub fn header_too_large(name: &HeaderName, limit: usize) -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "header_too_large",
            format!("a header is larger than {limit} bytes"),
        )
        .param(name.as_str())
    }

    /// What was asked for is spoken in another version of its protocol, which a header names.
    pub fn upgrade_required(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, code, message)
    }
}

/// 409, 412, 422: the state of things does not allow it.
impl ApiError {
    /// The thing is not in a state for that.
    pub fn conflict(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// `If-Match` names another version.
    pub fn version_conflict() -> Self {
        let message = "it was changed meanwhile: read it again and repeat the change";
        Self::new(StatusCode::PRECONDITION_FAILED, "version_conflict", message)
    }

    /// A key that names one request was used for another.
    pub fn unprocessable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }
}

/// 429 and 5xx: not now.
impl ApiError {
    /// Too many requests; waiting that long is enough.
    pub fn rate_limited(retry_after: Duration) -> Self {
        Self::too_many("rate_limited", "too many requests", retry_after)
    }

    /// A 429 with a code of its own.
    pub fn too_many(
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        retry_after: Duration,
    ) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, message).retry_after(retry_after)
    }

    /// Something is wrong with the server itself.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let message = "the server made an error; it has been logged under this request's id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message).caused_by(cause)
    }

    /// A bounded queue is full. Nothing was done.
    pub fn overloaded() -> Self {
        let message = "the server has too much to do; nothing was done";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(COME_BACK_AFTER)
    }

    /// A 502: what was to be answered failed before its first text. The code is the turn's.
    pub fn not_answered(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, code, message)
    }

    /// A 503 with words of its own: something was done.
    pub fn going_away(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).retry_after(COME_BACK_AFTER)
    }

    /// The store or the server is away. Nothing was done.
    pub fn unavailable() -> Self {
        let message = "the server cannot do this right now; nothing was done";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).retry_after(COME_BACK_AFTER)
    }
}

/// What a refusal may say beside its status, code and message.
impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            message: message.into(),
            param: None,
            request_id: None,
            fields: Vec::new(),
            headers: Vec::new(),
            closes: false,
            cause: None,
        }))
    }

    /// What a response that something else made, with a status alone, says in our shape.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND => return Self::not_found(),
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
            StatusCode::REQUEST_TIMEOUT => "request_timeout",
            status if status.is_client_error() => "invalid_request",
            _ => "internal",
        };
        Self::new(status, code, status.canonical_reason().unwrap_or("the request failed").to_lowercase())
    }

    /// What HTTP's own refusals say: the request never came as far as a route.
    pub(crate) fn of_protocol(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => {
                Self::new(status, "malformed_request", "this is not HTTP, or it could be read in two ways")
            }
            StatusCode::REQUEST_TIMEOUT => {
                Self::new(status, "request_timeout", "the request did not arrive in time")
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                Self::new(status, "header_too_large", "the headers are too large, or too many")
            }
            status => Self::of_status(status),
        }
    }

    /// Names the field, parameter, header or scope at fault.
    #[must_use]
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    /// Adds a field inside `error`: `turn_id`, `stream_url`.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.fields.push((name, value.into()));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Says when to come back, in whole seconds and never less than true.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Remembers what lies behind it, for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The connection cannot be used further: the rest of the body is not read.
    pub(super) fn closing(mut self) -> Self {
        self.0.closes = true;
        self
    }

    pub(super) fn named(mut self, request_id: &str) -> Self {
        self.0.request_id = Some(request_id.to_owned());
        self
    }

    /// The field at fault, if one is.
    #[must_use]
    pub(super) fn param_name(&self) -> Option<&str> {
        self.0.param.as_deref()
    }

    /// The code, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    pub(super) fn cause(&self) -> Option<&(dyn StdError + Send + Sync)> {
        self.0.cause.as_deref()
    }

    /// `error.type`: the family that the status belongs to.
    fn family(&self) -> &'static str {
        match self.0.status.as_u16() {
            401 => "authentication_failed",
            403 => "permission_denied",
            404 => "not_found",
            409 | 412 => "conflict",
            429 => "rate_limited",
            502 => "unavailable",
            503 if self.0.code == "overloaded" => "overloaded",
            503 => "unavailable",
            500.. => "internal",
            _ => "invalid_request",
        }
    }

    /// The body, for a request of that id.
    pub(crate) fn body(&self, request_id: Option<&str>) -> Vec<u8> {
        let body = Body { error: Shown { error: self, request_id } };
        // Strings and JSON values always serialize.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: Shown<'a>,
}

struct Shown<'a> {
    error: &'a ApiError,
    request_id: Option<&'a str>,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = &self.error.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.error.family())?;
        map.serialize_entry("code", inner.code)?;
        map.serialize_entry("message", &inner.message)?;
        map.serialize_entry("param", &inner.param)?;
        map.serialize_entry("request_id", &self.request_id)?;
        for (name, value) in &inner.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.0.status);
        for (name, value) in &self.0.headers {
            response.append_header((name.clone(), value.clone()));
        }
        if self.0.closes {
            response.force_close();
        }
        let request_id = self.0.request_id.as_deref();
        if let Some(request_id) = request_id {
            response.insert_header((REQUEST_ID, request_id));
        }
        response.content_type("application/json").body(self.body(request_id))
    }
}

/// A handler may have nothing but a refusal to give.
impl Responder for ApiError {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::from_error(self)
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.0.code)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_away() { Self::unavailable().caused_by(error) } else { Self::internal(error) }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Overloaded => Self::overloaded(),
            // Whoever can say more about it matches on it before.
            WriteError::Conflict => Self::conflict("conflict", "something else changed it at the same time"),
            WriteError::Unavailable(_) => Self::unavailable().caused_by(error),
            WriteError::Stopped => Self::unavailable(),
        }
    }
}

impl From<actix::MailboxError> for ApiError {
    fn from(error: actix::MailboxError) -> Self {
        match error {
            // The actor died, or was passivated, between look-up and send.
            actix::MailboxError::Closed => Self::unavailable().caused_by(error),
            actix::MailboxError::Timeout => Self::overloaded(),
        }
    }
}

impl<M> From<actix::dev::SendError<M>> for ApiError {
    fn from(error: actix::dev::SendError<M>) -> Self {
        match error {
            actix::dev::SendError::Full(_) => Self::overloaded(),
            actix::dev::SendError::Closed(_) => Self::unavailable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use actix_web::body::to_bytes;

    use super::*;

    #[actix::test]
    async fn an_error_shows_its_fields_and_hides_its_cause() {
        let error = ApiError::conflict("turn_in_progress", "the previous message is still being answered")
            .field("turn_id", "turn_1")
            .caused_by(io::Error::other("SELECT secret FROM /var/lib"))
            .retry_after(Duration::from_millis(1_200));
        let response = error.named("req_1").error_response();

        assert_eq!(response.status(), 409);
        assert_eq!(response.headers().get("retry-after").map(HeaderValue::as_bytes), Some(&b"2"[..]));
        let body = to_bytes(response.into_body()).await.expect("a whole body");
        assert_eq!(
            std::str::from_utf8(&body).expect("text"),
            r#"{"error":{"type":"conflict","code":"turn_in_progress","message":"the previous message is still being answered","param":null,"request_id":"req_1","turn_id":"turn_1"}}"#
        );
    }
}
