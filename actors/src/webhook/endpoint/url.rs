//! Where an endpoint is.

use std::fmt;

use awc::http::Uri;

use crate::patch::InvalidField;

/// Longer addresses are some mistake.
const LONGEST_URL: usize = 2_000;

/// Where events are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    text: String,
    /// With TLS.
    pub(in super::super) is_https: bool,
    /// Without brackets.
    pub(in super::super) host: String,
    pub(in super::super) port: u16,
    /// As it stands in the address: what `Host` says.
    pub(in super::super) authority: String,
    /// For awc, which is told of TCP alone: `http://host:443/path`.
    pub(in super::super) on_the_wire: String,
}

impl EndpointUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// It is none that events can be sent to.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        let wrong = |reason: &str| Err(InvalidField::new("url", reason));
        if text.len() > LONGEST_URL {
            return Err(InvalidField::new("url", format!("must be at most {LONGEST_URL} bytes")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("must be visible ASCII: write names of hosts in punycode, and encode the rest");
        }
        if text.contains(['#', '\\']) {
            return wrong("must not have a fragment or a backslash");
        }
        let Ok(uri) = text.parse::<Uri>() else {
            return wrong("must be an address such as https://example.com/hooks");
        };
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return wrong("must begin with https://"),
        };
        let (Some(authority), Some(host)) = (uri.authority(), uri.host().filter(|host| !host.is_empty()))
        else {
            return wrong("must name a host");
        };
        if authority.as_str().contains('@') {
            return wrong("must not hold a name or a password: use headers");
        }
        let has_port = authority.as_str().len() > host.len();
        let port = match uri.port_u16() {
            Some(port) if port > 0 => port,
            None if !has_port => {
                if is_https {
                    443
                } else {
                    80
                }
            }
            _ => return wrong("must have a port from 1 to 65535, or none"),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            on_the_wire: format!("http://{host}:{port}{path}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            authority: authority.as_str().to_owned(),
            text: text.to_owned(),
            is_https,
            port,
        })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_with_a_host_and_nothing_hidden_in_it() {
        let url = EndpointUrl::parse("https://example.com/hooks?a=b").unwrap();
        assert_eq!((url.is_https, &*url.host, url.port), (true, "example.com", 443));
        assert_eq!(url.on_the_wire, "http://example.com:443/hooks?a=b");
        let url = EndpointUrl::parse("http://[::1]:8080").unwrap();
        assert_eq!((&*url.host, url.port, &*url.authority), ("::1", 8080, "[::1]:8080"));
        for bad in [
            "",
            "example.com",
            "/hooks",
            "ftp://example.com",
            "https://",
            "https://:443/",
            "https://me:pw@example.com/",
            "https://example.com/#top",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://exa mple.com/",
            "https://exämple.com/",
            "https://example.com:/",
            "https:\\\\example.com",
            "javascript:alert(1)",
        ] {
            assert!(EndpointUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
