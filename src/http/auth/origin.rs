//! Where a request comes from: which page, and which address.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap, HeaderName},
    web,
};

use crate::{config, server::Parts};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The page that sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) enum Page {
    /// No page, or one of this server's own.
    Own,
    /// One of another origin, as the browser spells it; `null` is one too.
    Foreign(String),
}

impl Page {
    /// The page of a request.
    pub(in crate::http) fn of(request: &HttpRequest) -> Self {
        let Some(origin) = request.headers().get(header::ORIGIN) else { return Self::Own };
        let Ok(origin) = origin.to_str() else { return Self::Foreign("null".to_owned()) };
        let config = config(request);
        let public = config.and_then(|server| server.public_url.as_deref()?.split_once("://"));
        let public = public.map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
        let own = [host(request, config), public];
        let is_own = origin.split_once("://").is_some_and(|(_, authority)| {
            own.into_iter().flatten().any(|own| own.eq_ignore_ascii_case(authority))
        });
        if is_own { Self::Own } else { Self::Foreign(origin.to_owned()) }
    }
}

fn config(request: &HttpRequest) -> Option<&config::Server> {
    request.app_data::<web::Data<Parts>>().map(|parts| &parts.config.server)
}

/// The host that was asked for: what a proxy that is trusted says it was.
fn host<'r>(request: &'r HttpRequest, config: Option<&config::Server>) -> Option<&'r str> {
    let trusted = config.is_some_and(|server| peer(request).is_some_and(|peer| server.trusts(peer)));
    let forwarded = trusted.then(|| request.headers().get(X_FORWARDED_HOST)).flatten();
    forwarded.or_else(|| request.headers().get(header::HOST))?.to_str().ok()
}

fn peer(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| peer.ip().to_canonical())
}

/// The address that a request came from, as far as it can be known: proxies that are trusted say for whom they ask.
pub(in crate::http) fn client_address(request: &HttpRequest) -> Option<IpAddr> {
    let peer = peer(request)?;
    let Some(server) = config(request).filter(|server| server.trusts(peer)) else { return Some(peer) };
    // The nearest that is not trusted: what stands before it anyone may have written.
    let passed = passed_by(request.headers());
    let far = passed.into_iter().rev().map_while(|address| address).find(|address| !server.trusts(*address));
    Some(far.unwrap_or(peer))
}

/// Whom proxies say that they asked for, the nearest last; `None` where one does not tell.
fn passed_by(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let texts = |name: HeaderName| {
        let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(str::trim).collect::<Vec<_>>()
    };
    let forwarded = texts(header::FORWARDED);
    if forwarded.is_empty() {
        return texts(X_FORWARDED_FOR).into_iter().map(address).collect();
    }
    let named = |element: &str| {
        let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
        let mut by = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for"));
        by.next().and_then(|(_, value)| address(value.trim_matches('"')))
    };
    forwarded.into_iter().map(named).collect()
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`
fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// What is counted as one address: of version 6 a customer has a whole network of 64 bits.
pub(in crate::http) fn counted_as(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).octets(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_page_of_the_server_itself_is_not_foreign() {
        let of = |origin: &str| {
            let request = TestRequest::default()
                .insert_header(("Host", "chat.example.com:8443"))
                .insert_header(("Origin", origin));
            Page::of(&request.to_http_request())
        };
        assert_eq!(of("https://chat.example.com:8443"), Page::Own);
        for other in ["https://chat.example.com", "https://evil.test", "null", ""] {
            assert_eq!(of(other), Page::Foreign(other.to_owned()));
        }
        assert_eq!(Page::of(&TestRequest::default().to_http_request()), Page::Own);
    }

    #[test]
    fn proxies_name_addresses_in_either_header() {
        let read = |name: &'static str, value: &str| {
            passed_by(TestRequest::default().insert_header((name, value)).to_http_request().headers())
        };
        let of = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(
            read("X-Forwarded-For", "192.0.2.1, [2001:db8::1]:80,unknown, 198.51.100.7:9"),
            [of("192.0.2.1"), of("2001:db8::1"), None, of("198.51.100.7")]
        );
        assert_eq!(
            read("Forwarded", "for=192.0.2.1;proto=https, For=\"[2001:db8::1]:80\", by=203.0.113.4"),
            [of("192.0.2.1"), of("2001:db8::1"), None]
        );
        assert_eq!(counted_as("2001:db8::1".parse().unwrap()), counted_as("2001:db8::2:1".parse().unwrap()));
        assert_ne!(counted_as("192.0.2.1".parse().unwrap()), counted_as("192.0.2.2".parse().unwrap()));
    }
}
