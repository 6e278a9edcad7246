//! The browsers' origins that a publishable key is for.

use std::fmt;

use serde::{Serialize, Serializer};

/// An origin, or with `*.` as its first label one per name in that place. Kept as a browser spells it: lower case,
/// without a port that is the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: &'static str,
    /// `*.` in front.
    any_label: bool,
    /// Without the `*.`.
    host: String,
    /// Empty, or `:` and the number.
    port: String,
}

/// The text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be scheme://host[:port] with http or https, optionally with *. as the first label")]
pub struct MalformedOrigin;

impl Origin {
    /// Reads what an owner entered.
    ///
    /// # Errors
    /// It is not `scheme://host[:port]`.
    pub fn parse(text: &str) -> Result<Self, MalformedOrigin> {
        let text = text.to_ascii_lowercase();
        let (scheme, rest) = text.split_once("://").ok_or(MalformedOrigin)?;
        let (scheme, default_port) = match scheme {
            "http" => ("http", ":80"),
            "https" => ("https", ":443"),
            _ => return Err(MalformedOrigin),
        };
        let (host, port) = split_port(rest);
        let number = port.strip_prefix(':');
        if number.is_some_and(|number| number.parse::<u16>().is_err() || number.starts_with(['+', '0'])) {
            return Err(MalformedOrigin);
        }
        let port = if port == default_port { "" } else { port };
        let (any_label, host) = host.strip_prefix("*.").map_or((false, host), |host| (true, host));
        if !is_host(host) {
            return Err(MalformedOrigin);
        }
        Ok(Self { scheme, any_label, host: host.to_owned(), port: port.to_owned() })
    }

    /// A request with this `Origin` header comes from here. A browser's spelling is compared to the letter.
    #[must_use]
    pub fn admits(&self, origin: &str) -> bool {
        let Some(rest) = origin.strip_prefix(self.scheme).and_then(|rest| rest.strip_prefix("://")) else {
            return false;
        };
        let Some(host) = rest.strip_suffix(self.port.as_str()) else { return false };
        if !self.any_label {
            return host == self.host;
        }
        // Exactly one label in place of the star.
        host.split_once('.').is_some_and(|(label, host)| !label.is_empty() && host == self.host)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.any_label { "*." } else { "" };
        write!(f, "{}://{star}{}{}", self.scheme, self.host, self.port)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The host, and `:port` if there is one; an IPv6 address has colons of its own, inside brackets.
fn split_port(text: &str) -> (&str, &str) {
    let after_address = text.rfind(']').map_or(0, |bracket| bracket + 1);
    match text[after_address..].find(':') {
        Some(colon) => text.split_at(after_address + colon),
        None => (text, ""),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_admits_itself_and_nothing_else() {
        let shop = Origin::parse("https://Shop.Example.com:443").unwrap();
        assert_eq!(shop.to_string(), "https://shop.example.com");
        assert!(shop.admits("https://shop.example.com"));
        for other in [
            "http://shop.example.com",
            "https://shop.example.com:8443",
            "https://shop.example.com.evil.test",
            "https://evil.test/https://shop.example.com",
            "https://a.shop.example.com",
            "https://example.com",
            "null",
            "",
        ] {
            assert!(!shop.admits(other), "{other}");
        }
        let local = Origin::parse("http://localhost:5173").unwrap();
        assert!(local.admits("http://localhost:5173"));
        assert!(!local.admits("http://localhost"));
    }

    #[test]
    fn a_star_is_exactly_one_label() {
        let any = Origin::parse("https://*.example.com").unwrap();
        assert_eq!(any.to_string(), "https://*.example.com");
        assert!(any.admits("https://a.example.com"));
        for other in ["https://example.com", "https://.example.com", "https://a.b.example.com"] {
            assert!(!any.admits(other), "{other}");
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        for text in [
            "*",
            "null",
            "example.com",
            "https://",
            "https://*",
            "https://*.",
            "https://*.*.example.com",
            "https://a.*.example.com",
            "https://example.com/",
            "https://example.com/path",
            "https://user@example.com",
            "https://example.com:",
            "https://example.com:99999",
            "https://example.com:0443",
            "ftp://example.com",
            "https://exa mple.com",
            "https://a..b",
        ] {
            assert_eq!(Origin::parse(text), Err(MalformedOrigin), "{text}");
        }
        assert_eq!(Origin::parse("http://[::1]:8080").unwrap().to_string(), "http://[::1]:8080");
    }
}
