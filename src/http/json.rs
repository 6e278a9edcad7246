//! `Json<T>`: a request's body, checked before a handler sees it.

mod strict;

use std::ops::Deref;

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header};
use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::strict::Strict;
use super::{
    body::{BodyLimit, read_whole},
    error::ApiError,
    refusal::refusal,
};

/// Deeper than any body we define, far from what a parser's stack could not take.
const DEEPEST: usize = 32;

/// A body that must be there.
#[derive(Debug, Clone)]
pub struct Json<T> {
    /// As parsed.
    pub value: T,
    /// As sent: what makes two requests the same.
    pub raw: Bytes,
}

/// A body that may be left out, which is the same as `{}`.
#[derive(Debug, Clone)]
pub struct OptionalJson<T> {
    /// As parsed.
    pub value: T,
    /// As sent.
    pub raw: Bytes,
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for OptionalJson<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let kind = check_kind(request);
        let body = read_whole(payload.take(), limit(request));
        async move {
            kind?;
            let raw = body.await?;
            Ok(Self { value: parse(&raw)?, raw })
        }
        .boxed_local()
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for OptionalJson<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let kind = check_kind(request);
        let body = read_whole(payload.take(), limit(request));
        async move {
            let raw = body.await?;
            if raw.is_empty() {
                return Ok(Self { value: parse(b"{}")?, raw });
            }
            kind?;
            Ok(Self { value: parse(&raw)?, raw })
        }
        .boxed_local()
    }
}

fn limit(request: &HttpRequest) -> BodyLimit {
    request.app_data::<BodyLimit>().copied().unwrap_or_default()
}

/// Refuses a body that is not as it was written.
///
/// # Errors
/// 415 if it is compressed.
pub(super) fn check_uncompressed(request: &HttpRequest) -> Result<(), ApiError> {
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::unsupported_media_type("send the body uncompressed"));
    }
    Ok(())
}

fn check_kind(request: &HttpRequest) -> Result<(), ApiError> {
    check_uncompressed(request)?;
    let kind = request.content_type().trim();
    let is_json = kind.eq_ignore_ascii_case("application/json")
        || kind.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("application/"))
            && kind.get(kind.len().saturating_sub(5)..).is_some_and(|end| end.eq_ignore_ascii_case("+json"));
    if is_json {
        return Ok(());
    }
    Err(ApiError::unsupported_media_type("send JSON, as `Content-Type: application/json`"))
}

/// Parses a body, or one line of many, that a client sent.
///
/// # Errors
/// 400 with the code and the path of what is wrong.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace())
        && *first != b'{'
        // Said of the whole body; what is not JSON at all is refused for that below.
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
    {
        return Err(ApiError::bad_request("invalid_field", "the body must be a JSON object"));
    }
    let scanned = scan(bytes)?;
    if scanned.escaped_nul {
        refuse_nul(bytes)?;
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(Strict(&mut deserializer)).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() { refusal(&path, &error.to_string()) } else { malformed(&error) }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::malformed_json(format!("the body is not JSON: {error}"))
}

struct Scanned {
    /// `\u0000` stands somewhere; whether as an escape or after an escaped backslash is not looked into.
    escaped_nul: bool,
}

/// Looks at the bytes before anything is built from them.
fn scan(bytes: &[u8]) -> Result<Scanned, ApiError> {
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut escaped_nul = false;
    for (at, byte) in bytes.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => {
                    escaped_nul |= bytes[at..].starts_with(b"u0000");
                    escaped = false;
                }
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(ApiError::too_deep(DEEPEST));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(Scanned { escaped_nul })
}

/// A database cannot hold NUL in text, and no person types it. Says where it stands.
fn refuse_nul(bytes: &[u8]) -> Result<(), ApiError> {
    // What is not JSON is refused for that, by the parser after this.
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return Ok(()) };
    match nul_in(&body) {
        Some(path) => {
            Err(ApiError::invalid_field(path.trim_start_matches('.'), "text must not hold the character NUL"))
        }
        None => Ok(()),
    }
}

fn nul_in(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(place, item)| nul_in(item).map(|rest| format!("[{place}]{rest}"))),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            if name.contains('\0') {
                return Some(String::new());
            }
            nul_in(value).map(|rest| format!(".{name}{rest}"))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Role {
        Agent,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "it is only parsed")]
    struct Customer {
        email: String,
        #[serde(default)]
        tags: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "it is only parsed")]
    struct Body {
        customer: Option<Customer>,
        role: Option<Role>,
        #[serde(default)]
        others: Vec<Customer>,
        #[serde(default)]
        metadata: HashMap<String, String>,
    }

    #[track_caller]
    fn refused(body: &str) -> (&'static str, Value, String) {
        let error = parse::<Body>(body.as_bytes()).expect_err("must be refused");
        let shown: Value = serde_json::from_slice(&error.body(None)).expect("JSON");
        (error.code(), shown["error"]["param"].clone(), error.to_string())
    }

    #[test]
    fn a_refusal_names_the_field_at_fault() {
        for (body, code, param) in [
            (r#"{"customer":{"email":5}}"#, "invalid_field", Some("customer.email")),
            (r#"{"customer":{}}"#, "invalid_field", Some("customer.email")),
            (r#"{"customer":"Ada"}"#, "invalid_field", Some("customer")),
            (r#"{"customer":{"email":"a","tags":["b",5]}}"#, "invalid_field", Some("customer.tags[1]")),
            (r#"{"customer":{"email":"a","mail":"b"}}"#, "unknown_field", Some("customer.mail")),
            (r#"{"costumer":{}}"#, "unknown_field", Some("costumer")),
            (r#"{"customer":{"email":"a","email":"b"}}"#, "duplicate_field", Some("customer.email")),
            (r#"{"customer":{"email":"a\u0000b"}}"#, "invalid_field", Some("customer.email")),
            (r#"{"metadata":{"a":"b\u0000"}}"#, "invalid_field", Some("metadata.a")),
            (r#"{"metadata":{"a":1}}"#, "invalid_field", Some("metadata.a")),
            (r#"{"metadata":{"a":"1","a":"2"}}"#, "duplicate_field", Some("metadata.a")),
            (r#"{"metadata":{"b":"1","a":"1","\u0061":"1"}}"#, "duplicate_field", Some("metadata.a")),
            (r#"{"customer":["a"]}"#, "invalid_field", Some("customer")),
            (r#"{"others":[{"email":"a"},["a",[]]]}"#, "invalid_field", Some("others[1]")),
            (r#"{"role":5}"#, "invalid_field", Some("role")),
            (r#"{"role":["agent"]}"#, "invalid_field", Some("role")),
            (r#"{"role":{"agent":null}}"#, "invalid_field", Some("role")),
            (r#"{"role":"boss"}"#, "invalid_field", Some("role")),
            ("[]", "invalid_field", None),
            ("null", "invalid_field", None),
            ("", "malformed_json", None),
            ("{", "malformed_json", None),
            ("{}x", "malformed_json", None),
            (r#"{"customer":nul}"#, "malformed_json", None),
            ("{\"customer\":{\"email\":\"\u{1}\"}}", "malformed_json", None),
        ] {
            let (got, at, message) = refused(body);
            assert_eq!((got, at.as_str()), (code, param), "{body}: {message}");
            assert!(!message.contains("struct"), "{message}");
        }
        assert!(parse::<Body>(b"{\"customer\":{\"email\":\"\xff\"}}").is_err());
        assert!(parse::<Body>(br#"{"customer":{"email":"\\u0000"}}"#).is_ok());
        assert!(
            parse::<Body>(br#"{"role":"agent","others":[{"email":"a"}],"metadata":{"a":"","b":""}}"#).is_ok()
        );
    }

    #[test]
    fn a_whole_number_may_have_a_point() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Numbers {
            whole: Option<u32>,
            signed: i64,
            share: f64,
        }
        let read = |body: &str| parse::<Numbers>(body.as_bytes());
        let numbers = read(r#"{"whole":30.0,"signed":-2e3,"share":1.0}"#).expect("taken");
        assert_eq!(numbers, Numbers { whole: Some(30), signed: -2_000, share: 1.0 });
        for other in ["30.5", "-1.0", "1e300", "4294967296.0"] {
            let body = format!(r#"{{"whole":{other},"signed":1,"share":0.5}}"#);
            assert_eq!(read(&body).expect_err(other).code(), "invalid_field");
        }
    }

    #[test]
    fn depth_is_counted_outside_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = |depth| format!(r#"{{"costumer":{}}}"#, nested(depth));
        assert_eq!(refused(&body(DEEPEST)).0, "too_deep");
        assert_eq!(refused(&body(DEEPEST - 1)).0, "unknown_field");
        assert_eq!(refused(&"[".repeat(100_000)).0, "too_deep");
        assert_eq!(refused(&format!(r#"{{"costumer":"\"{}"}}"#, "[".repeat(99))).0, "unknown_field");
    }
}
