//! What is sent with everything, beside what the server says itself.

use std::fmt;

use awc::http::header::{HeaderName, HeaderValue};

use crate::patch::InvalidField;

const MOST_HEADERS: usize = 8;
const LONGEST_HEADER: usize = 1_000;

/// What only we say: who is spoken to, how the body is framed, and what is signed.
const OUR_HEADERS: [&str; 16] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Static headers, which nobody is shown again.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Headers {
    /// Those of these names and values.
    ///
    /// # Errors
    /// There are too many, one is no header, or one is ours.
    pub fn new(headers: Vec<(String, String)>) -> Result<Self, InvalidField> {
        if headers.len() > MOST_HEADERS {
            return Err(InvalidField::new("headers", format!("must be at most {MOST_HEADERS}")));
        }
        for (name, value) in &headers {
            let is_header =
                HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok();
            if !is_header || name.len() + value.len() > LONGEST_HEADER || !value.is_ascii() {
                let reason =
                    format!("must be names and values of headers, of at most {LONGEST_HEADER} characters");
                return Err(InvalidField::new("headers", reason));
            }
            let lower = name.to_ascii_lowercase();
            if OUR_HEADERS.contains(&&*lower) || lower.starts_with("webhook-") {
                return Err(InvalidField::new(
                    "headers",
                    format!("must not set {lower}: that one is the server's"),
                ));
            }
        }
        let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(InvalidField::new("headers", "must not name a header twice"));
        }
        Ok(Self(headers))
    }

    /// What was stored, which was checked then.
    pub(in super::super) fn stored(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }

    /// For the store, which seals it; `None` where there are none.
    pub(in super::super) fn document(&self) -> Option<String> {
        // Text always serializes.
        (!self.0.is_empty()).then(|| serde_json::to_string(&self.0).unwrap_or_default())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_headers_cannot_be_ours() {
        let one = |name: &str, value: &str| Headers::new(vec![(name.to_owned(), value.to_owned())]);
        assert!(one("Authorization", "Bearer x").is_ok() && one("X-Token", "").is_ok());
        for name in [
            "Host",
            "content-type",
            "Content-Length",
            "Webhook-Id",
            "webhook-signature",
            "a b",
            "",
            "Connection",
        ] {
            assert!(one(name, "x").is_err(), "{name}");
        }
        assert!(one("X-A", "a\r\nX-B: c").is_err());
        let shown = format!("{:?}", one("Authorization", "Bearer secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
