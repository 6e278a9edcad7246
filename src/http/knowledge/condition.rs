//! `ETag`, `If-Match` and `If-None-Match` of an article: its version.

use std::borrow::Cow;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use openclaw_actors::knowledge::messages::Precondition;

use super::ApiError;

/// The ETag of a version.
pub(super) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// What the request's headers expect of the article.
///
/// # Errors
/// They cannot be read, or expect what cannot be expected here.
pub(super) fn of(headers: &HeaderMap) -> Result<Precondition, ApiError> {
    if let Some(value) = text(headers, &header::IF_NONE_MATCH)? {
        if value.trim() != "*" {
            return Err(ApiError::invalid_header(&header::IF_NONE_MATCH, "on a write it can only be *"));
        }
        return Ok(Precondition::Absent);
    }
    match text(headers, &header::IF_MATCH)? {
        None => Ok(Precondition::None),
        Some(value) if value.trim() == "*" => Ok(Precondition::Present),
        Some(value) => {
            let versions = value.split(',').map(|tag| version(tag.trim())).collect::<Option<_>>();
            let unreadable =
                || ApiError::invalid_header(&header::IF_MATCH, "it must be an ETag such as \"3\", or *");
            versions.map(Precondition::Version).ok_or_else(unreadable)
        }
    }
}

/// A list that stands on several lines is the one list of all of them.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<Cow<'a, str>>, ApiError> {
    let lines: Result<Vec<&str>, _> = headers.get_all(name).map(HeaderValue::to_str).collect();
    let lines = lines.map_err(|_| ApiError::invalid_header(name, "it is not text"))?;
    Ok(match lines.as_slice() {
        [] => None,
        [line] => Some(Cow::Borrowed(line)),
        lines => Some(Cow::Owned(lines.join(","))),
    })
}

/// The version that a tag names. One that we never gave names none, and so matches nothing.
fn version(tag: &str) -> Option<i64> {
    let opaque = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
    let is_weak = tag.starts_with("W/");
    Some(if is_weak { 0 } else { opaque.parse().unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: HeaderName, value: &str) -> Result<Precondition, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        of(&headers).map_err(|error| error.code())
    }

    #[test]
    fn a_condition_is_read_from_the_headers() {
        assert_eq!(of(&HeaderMap::new()).ok(), Some(Precondition::None));
        assert_eq!(read(header::IF_MATCH, "*"), Ok(Precondition::Present));
        assert_eq!(read(header::IF_MATCH, "\"3\", \"4\""), Ok(Precondition::Version(vec![3, 4])));
        assert_eq!(read(header::IF_MATCH, "W/\"3\""), Ok(Precondition::Version(vec![0])));
        assert_eq!(read(header::IF_MATCH, "\"elsewhere\""), Ok(Precondition::Version(vec![0])));
        assert_eq!(read(header::IF_MATCH, "3"), Err("invalid_header"));
        assert_eq!(read(header::IF_NONE_MATCH, "*"), Ok(Precondition::Absent));
        assert_eq!(read(header::IF_NONE_MATCH, "\"3\""), Err("invalid_header"));
        let mut lines = HeaderMap::new();
        lines.append(header::IF_MATCH, HeaderValue::from_static("\"3\""));
        lines.append(header::IF_MATCH, HeaderValue::from_static("\"4\", \"5\""));
        assert_eq!(of(&lines).ok(), Some(Precondition::Version(vec![3, 4, 5])));
    }
}
