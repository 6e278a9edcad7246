//! Lines of JSON, taken out of a body as it comes, and what each of them asks for.

use bytes::{Bytes, BytesMut};
use openclaw_actors::knowledge::{
    article::Draft,
    import::{Line, LineError},
};
use serde::Deserialize;
use serde_json::Value;

use super::{LONGEST_EXTERNAL_ID, body};
use crate::http::{error::ApiError, json, knowledge::ArticleBody};

/// The longest line, without its end: as large as an article may be by itself.
pub(super) const LONGEST_LINE: usize = 4 << 20;

/// A line that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawLine {
    /// From 1, blank ones counted.
    pub(super) number: i64,
    /// Its bytes; `None` if there were too many.
    pub(super) bytes: Option<Bytes>,
}

/// Cuts a body at its line ends. Holds one line at most, and nothing of one that is too long.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// How much of the buffer has no line end.
    searched: usize,
    number: i64,
    /// What is coming belongs to a line that is too long.
    skips: bool,
}

impl Lines {
    /// The next part of the body.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole line.
    pub(super) fn next(&mut self) -> Option<RawLine> {
        loop {
            let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                // One more for a carriage return that belongs to the line's end.
                if self.searched > LONGEST_LINE + 1 {
                    self.skips = true;
                }
                if self.skips {
                    self.buffer.clear();
                    self.searched = 0;
                }
                return None;
            };
            let line = self.buffer.split_to(self.searched + end + 1).freeze();
            self.searched = 0;
            if let Some(line) = self.line(line.slice(..line.len() - 1)) {
                return Some(line);
            }
        }
    }

    /// What stands behind the last line end.
    pub(super) fn last(&mut self) -> Option<RawLine> {
        let rest = self.buffer.split().freeze();
        self.searched = 0;
        if rest.is_empty() && !self.skips { None } else { self.line(rest) }
    }

    fn line(&mut self, bytes: Bytes) -> Option<RawLine> {
        self.number += 1;
        let number = self.number;
        if std::mem::take(&mut self.skips) {
            return Some(RawLine { number, bytes: None });
        }
        let bytes = match bytes.strip_suffix(b"\r") {
            Some(line) => bytes.slice(..line.len()),
            None => bytes,
        };
        if bytes.len() > LONGEST_LINE {
            return Some(RawLine { number, bytes: None });
        }
        let is_blank = bytes.iter().all(u8::is_ascii_whitespace);
        (!is_blank).then_some(RawLine { number, bytes: Some(bytes) })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deletion {
    external_id: String,
    deleted: bool,
}

/// What can be made out of a line, whatever else is wrong with it.
#[derive(Deserialize)]
struct Glimpse {
    external_id: Option<Value>,
    deleted: Option<Value>,
}

/// Reads a line; takes time in proportion to it. `source` is what all lines are given.
pub(super) fn read(RawLine { number, bytes }: RawLine, source: Option<&str>) -> Line {
    let Some(bytes) = bytes else {
        let message = format!("the line is longer than {LONGEST_LINE} bytes");
        return refused(number, None, "line_too_long", message);
    };
    // A byte order mark is an editor's, not the author's.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let glimpse: Option<Glimpse> = serde_json::from_slice(bytes).ok();
    let deletes = glimpse.as_ref().is_some_and(|glimpse| glimpse.deleted.is_some());
    let read = if deletes { deletion(bytes) } else { draft(bytes, source) };
    read.unwrap_or_else(|error| {
        let name = glimpse.and_then(|glimpse| match glimpse.external_id? {
            Value::String(name) if !name.is_empty() => Some(name.chars().take(LONGEST_EXTERNAL_ID).collect()),
            _ => None,
        });
        let message = match error.param_name() {
            Some(param) if !error.to_string().contains(param) => format!("{param}: {error}"),
            _ => error.to_string(),
        };
        refused(number, name, error.code(), message)
    })
}

fn deletion(bytes: &[u8]) -> Result<Line, ApiError> {
    let Deletion { external_id, deleted } = json::parse(bytes)?;
    if !deleted {
        return Err(ApiError::invalid_field("deleted", "it can only be true"));
    }
    Ok(Line::Delete(body::external_id(external_id)?))
}

fn draft(bytes: &[u8], source: Option<&str>) -> Result<Line, ApiError> {
    let body: ArticleBody = json::parse(bytes)?;
    let (mut fields, content) = body.read()?;
    if fields.external_id.is_none() {
        return Err(ApiError::invalid_field("external_id", "`external_id` is required"));
    }
    if let Some(source) = source {
        fields.source = Some(source.to_owned());
    }
    Ok(Line::Put(Box::new(Draft::read(fields, content)?)))
}

fn refused(line: i64, external_id: Option<String>, code: &str, message: String) -> Line {
    Line::Refused(LineError { line, external_id, code: code.to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a body that comes in parts of such a size.
    fn cut(body: &[u8], part: usize) -> Vec<(i64, Option<String>)> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for part in body.chunks(part) {
            lines.push(part);
            found.extend(std::iter::from_fn(|| lines.next()));
        }
        found.extend(lines.last());
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        found.into_iter().map(|line| (line.number, line.bytes.map(text))).collect()
    }

    #[test]
    fn a_body_is_cut_the_same_however_it_comes() {
        let body = b"a\r\n\n  \nb\n\nc";
        for part in 1..body.len() {
            let expected = [(1, Some("a".into())), (4, Some("b".into())), (6, Some("c".into()))];
            assert_eq!(cut(body, part), expected, "{part}");
        }
        assert_eq!(cut(b"a\n", 1), [(1, Some("a".into()))]);
        assert_eq!(cut(b"", 1), []);
    }

    #[test]
    fn a_line_that_is_too_long_costs_no_other() {
        for (longer, end) in [(0, "\r\n"), (1, "\n"), (2, "\r\n"), (LONGEST_LINE, "\n")] {
            let body = format!("a\n{}{end}b", "x".repeat(LONGEST_LINE + longer));
            let found = cut(body.as_bytes(), 60_000);
            assert_eq!(found[1].1.is_none(), longer > 0, "{longer}");
            assert_eq!((found.len(), found[2].clone()), (3, (3, Some("b".into()))), "{longer}");
        }
        let unended = "x".repeat(LONGEST_LINE + 2);
        assert_eq!(cut(unended.as_bytes(), 60_000), [(1, None)]);
    }
}
