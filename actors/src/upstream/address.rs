//! Where an upstream is, and the key it asks for.

use std::{fmt, str::FromStr};

use awc::http::Uri;
use serde::{Deserialize, Serialize};

/// Where an endpoint is: `https://api.openai.com/v1`, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl(String);

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || Err("it must look like https://api.openai.com/v1 or http://127.0.0.1:11434/v1".to_owned());
        let Ok(uri) = text.parse::<Uri>() else { return wrong() };
        let speaks_http = text.starts_with("http://") || text.starts_with("https://");
        if !speaks_http || uri.host().is_none_or(str::is_empty) || uri.query().is_some() || text.contains('#')
        {
            return wrong();
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("it must not hold a name or a password: put the key into api_key".to_owned());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BaseUrl {
    pub(super) fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Host and port.
    pub(super) fn authority(&self) -> &str {
        let after = self.0.split_once("://").map_or("", |(_, after)| after);
        after.split('/').next().unwrap_or_default()
    }

    /// The address as awc is told it: with the port that its scheme means and without TLS, which is `wire`'s.
    pub(super) fn on_the_wire(&self, path: &str) -> String {
        let (scheme, after) = self.0.split_once("://").unwrap_or_default();
        let (authority, base) = after.split_at(self.authority().len());
        let has_port = self.0.parse::<Uri>().is_ok_and(|uri| uri.port().is_some());
        let port = if scheme == "https" && !has_port { ":443" } else { "" };
        format!("http://{authority}{port}{base}{path}")
    }

    /// Whether what is sent there can be read on the way: no TLS, and not on this machine.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        let uri: Option<Uri> = self.0.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().trim_matches(['[', ']']);
        let stays_here = match host.parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        };
        !self.is_https() && !stays_here
    }
}

/// A key that is never shown.
#[derive(Clone)]
pub struct ApiKey(String);

impl From<&str> for ApiKey {
    fn from(key: &str) -> Self {
        Self(key.to_owned())
    }
}

impl ApiKey {
    /// The header that bears it.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_and_holds_no_secret() {
        let url = |text: &str| text.parse::<BaseUrl>().map(|url| url.to_string());
        assert_eq!(url("https://api.openai.com/v1/").unwrap(), "https://api.openai.com/v1");
        assert_eq!(url("http://localhost:11434").unwrap(), "http://localhost:11434");
        for wrong in
            ["", "localhost:1", "ftp://a/v1", "/v1", "http://a/v1?key=x", "https://me:pw@a/v1", "http://"]
        {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn awc_is_told_where_to_connect_and_not_how() {
        let wire = |text: &str| text.parse::<BaseUrl>().unwrap().on_the_wire("/models");
        assert_eq!(wire("https://a.example/v1"), "http://a.example:443/v1/models");
        assert_eq!(wire("https://a.example:8443"), "http://a.example:8443/models");
        assert_eq!(wire("http://[::1]:1/v1/"), "http://[::1]:1/v1/models");
        assert_eq!(wire("http://a.example"), "http://a.example/models");
    }

    #[test]
    fn what_can_be_read_on_the_way_is_known() {
        let in_the_clear = |text: &str| text.parse::<BaseUrl>().unwrap().is_in_the_clear();
        for safe in ["https://a.example/v1", "http://127.0.0.1:1/v1", "http://[::1]:1", "http://localhost"] {
            assert!(!in_the_clear(safe), "{safe}");
        }
        assert!(in_the_clear("http://10.0.0.7:8000/v1") && in_the_clear("http://models.example"));
    }
}
