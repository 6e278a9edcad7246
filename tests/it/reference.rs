//! `/docs`: the interactive reference, without any other host.

use serde_json::json;

use crate::harness::{Client, Reply, Server};

/// What a page may load and ask, and who may frame it.
fn assert_guarded(answer: &Reply) {
    let policy = answer.header("content-security-policy").unwrap();
    let directives: Vec<Vec<&str>> =
        policy.split(';').map(|directive| directive.split_whitespace().collect()).collect();
    assert!(directives.contains(&vec!["default-src", "'none'"]), "{policy}");
    assert!(directives.contains(&vec!["frame-ancestors", "'none'"]), "{policy}");
    for sources in directives.iter().map(|directive| &directive[1..]) {
        assert!(sources.iter().all(|source| ["'none'", "'self'", "data:"].contains(source)), "{policy}");
    }
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

/// The values of an attribute.
fn values<'t>(page: &'t str, attribute: &str) -> Vec<&'t str> {
    let start = format!("{attribute}=\"");
    page.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn the_page_and_all_that_it_names_come_from_here() {
    let server = Server::start();
    let page = server.client().get("/docs").status(200);
    assert_guarded(&page);
    let text = page.text();
    let named = [values(&text, "src"), values(&text, "href")].concat();
    assert!(named.len() >= 6, "{named:?}");
    for name in named {
        assert!(!name.contains("//"), "{name} is of another host");
        let file = server.client().get(&format!("/{name}")).status(200);
        assert!(file.body().len() > 100, "{name}");
        if name.starts_with("docs/") {
            assert_guarded(&file);
        }
        let kind = match name.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("png") => "image/png",
            Some("json") => "application/json",
            _ => panic!("{name}"),
        };
        assert_eq!(file.header("content-type"), Some(kind), "{name}");
        // It is kept, and asked for again only where it has changed.
        let again = server.client().request("GET", &format!("/{name}"));
        again.header("If-None-Match", file.header("etag").unwrap()).send().status(304);
        let starts = file.text();
        if name.ends_with("start.js") {
            assert!(starts.contains("\"v1/openapi.json\"") && !starts.contains("//\""), "{starts}");
        }
    }
    server.client().get("/docs/nothing.js").refused(404, "not_found");
    server.client().get("/docs/..%2Findex.html").refused(404, "not_found");
}

/// Browsers name the page's origin on a POST, also on one to the page's own server.
#[test]
fn the_reference_may_use_a_secret_key_and_no_other_page_may() {
    let start = |client: &Client, origin: &str, headers: &[(&str, &str)]| {
        let request = client.request("POST", "/v1/conversations").header("Origin", origin).json(&json!({}));
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
    };
    let server = Server::start();
    let org = server.organization();
    start(&org, &format!("http://{}", server.address()), &[]).status(201);
    start(&org, "http://127.0.0.1:1", &[]).refused(403, "secret_key_in_browser");

    // Behind a proxy, which speaks TLS and may keep the host that was asked for to itself.
    let public = Server::with(&[("server.public_url", "https://chat.example.com")]);
    let org = public.organization();
    start(&org, "https://chat.example.com", &[]).status(201);
    start(&org, "https://chat.example.com.evil.test", &[]).refused(403, "secret_key_in_browser");
    let proxied =
        Server::with(&[("server.behind_proxy", "true"), ("server.trusted_proxies", "127.0.0.1/32")]);
    let org = proxied.organization();
    let forwarded = [("X-Forwarded-Host", "chat.example.com"), ("X-Forwarded-Proto", "https")];
    start(&org, "https://chat.example.com", &forwarded).status(201);
    start(&org, "https://evil.test", &forwarded).refused(403, "secret_key_in_browser");
}
