//! What was said on a connection, read back as the requests that it is.

use std::fmt;

use serde_json::Value;

/// More than any test sends in one request, but for those that import without end.
const LONGEST: usize = 8 << 20;

/// Bytes that were sent, until they were answered.
#[derive(Debug, Default)]
pub(in crate::harness) struct Saying {
    bytes: Vec<u8>,
    /// They are no longer HTTP.
    upgraded: bool,
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub(in crate::harness) struct Said {
    pub(super) method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Saying {
    pub(in crate::harness) fn add(&mut self, bytes: &[u8]) {
        if !self.upgraded && self.bytes.len() + bytes.len() <= LONGEST {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// From here on something else is spoken.
    pub(in crate::harness) fn upgrade(&mut self) {
        *self = Self { bytes: Vec::new(), upgraded: true };
    }

    /// The first request that was not answered yet; `None` if it is no HTTP, or not all of its head was sent.
    pub(in crate::harness) fn next(&mut self) -> Option<Said> {
        let mut headers = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(&self.bytes);
        let said = match (&parsed, request.method, request.path) {
            (Ok(httparse::Status::Complete(length)), Some(method), Some(target)) => {
                let value = |name: &str| {
                    let mut all =
                        request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
                    all.next().map(|header| String::from_utf8_lossy(header.value).into_owned())
                };
                let framed = value("content-length").and_then(|length| length.trim().parse::<usize>().ok());
                let end = match (value("transfer-encoding"), framed) {
                    (None, framed) => self.bytes.len().min(length + framed.unwrap_or(0)),
                    // Its end is not looked for: what follows is not judged.
                    (Some(_), _) => self.bytes.len(),
                };
                let body = if value("transfer-encoding").is_none() { &self.bytes[*length..end] } else { &[] };
                let said = Said {
                    method: method.to_owned(),
                    target: target.to_owned(),
                    headers: request.headers.iter().map(text).collect(),
                    body: body.to_vec(),
                };
                Some((said, end))
            }
            _ => None,
        };
        match said {
            Some((said, end)) => {
                self.bytes.drain(..end);
                Some(said)
            }
            None => {
                self.bytes.clear();
                None
            }
        }
    }
}

fn text(header: &httparse::Header<'_>) -> (String, String) {
    (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())
}

impl Said {
    /// Without the query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or(&self.target)
    }

    /// The pairs of the query.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let decoded = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect()
    }

    /// The first header of that name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Its body, if that is JSON.
    pub(super) fn json(&self) -> Option<Value> {
        let kind =
            self.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let is_json = kind == "application/json" || kind.ends_with("+json");
        is_json.then(|| serde_json::from_slice(&self.body).ok())?
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}
