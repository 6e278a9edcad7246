//! What no honest client sends is refused with the right status, in the one shape, and harms nobody.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{Client, Organization, Reply, Server, eventually, is_long, is_postgres},
    talk::Talk,
};

/// Sends bytes as they are and reads one answer.
#[track_caller]
fn say(server: &Server, bytes: &[u8]) -> Reply {
    let mut connection = server.connect();
    connection.send(bytes).unwrap();
    connection.reply()
}

#[test]
fn an_unknown_route_is_404() {
    let server = Server::start();
    for path in
        ["/v1", "/v1/", "/v1/nothing", "/healthz/", "//healthz", "/healthz%2f", "/%00", "/v1/..%2fhealthz"]
    {
        server.client().get(path).refused(404, "unknown_route");
    }
}

#[test]
fn a_method_that_a_route_does_not_have_is_405_and_the_answer_names_those_it_has() {
    let server = Server::start();
    for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
        let reply = server.client().request(method, "/healthz").send().refused(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some("GET, HEAD"), "{method}");
    }
    let head = server.client().request("HEAD", "/healthz").send().status(200);
    assert_eq!(head.body(), b"");
}

#[test]
fn a_header_that_may_stand_once_may_not_stand_twice() {
    let server = Server::start();
    for name in ["Authorization", "Idempotency-Key", "Last-Event-ID"] {
        for (first, second) in [("1", "1"), ("1", "2")] {
            let request = server.client().request("GET", "/healthz").header(name, first).header(name, second);
            request.send().refused(400, "duplicate_header").naming(&name.to_lowercase());
        }
        server.client().request("GET", "/healthz").header(name, "1").send().status(200);
    }
}

#[test]
fn a_header_that_is_too_large_is_431() {
    let server = Server::start();
    let value = |length: usize| "x".repeat(length);
    let with = |length| server.client().request("GET", "/healthz").header("X-Large", &value(length)).send();
    with(16 * 1024 - 7).status(200);
    with(16 * 1024).refused(431, "header_too_large").naming("x-large");
    with(100_000).refused(431, "header_too_large");
    with(1_000_000).refused(431, "header_too_large");
    let mut many = server.client().request("GET", "/healthz");
    for place in 0..500 {
        many = many.header(&format!("X-{place}"), "x");
    }
    many.send().refused(431, "header_too_large");
}

#[test]
fn a_request_that_could_be_read_in_two_ways_is_not_read() {
    let server = Server::start();
    let post =
        |headers: &str, body: &str| format!("POST /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}");
    let smuggled = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    for bytes in [
        post("Content-Length: 5\r\nTransfer-Encoding: chunked", &format!("0\r\n\r\n{smuggled}")),
        post("Transfer-Encoding: chunked\r\nContent-Length: 5", &format!("0\r\n\r\n{smuggled}")),
        post("Content-Length: 0\r\nContent-Length: 38", smuggled),
        post("Content-Length: 0\r\nContent-Length: 0", ""),
        post("Content-Length: +5", "12345"),
        post("Content-Length: -1", ""),
        post("Content-Length: 5, 5", "12345"),
        post("Content-Length: 0x5", "12345"),
        post("Content-Length: 99999999999999999999", ""),
        post("Content-Length : 5", "12345"),
        post("Transfer-Encoding: xchunked", smuggled),
        post("Transfer-Encoding: chunked, identity", smuggled),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        post("X-Folded: a\r\n b", ""),
        "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX-\u{0}: a\r\n\r\n".to_owned(),
        "GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1} this is TLS\r\n\r\n".to_owned(),
    ] {
        let mut connection = server.connect();
        connection.send(bytes.as_bytes()).unwrap();
        connection.reply().refused(400, "malformed_request");
        assert_eq!(connection.rest(), b"", "nothing after it is taken for a request: {bytes}");
    }
    say(&server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").status(200);
}

/// A route that takes JSON.
const JSON_ROUTE: &str = "/v1/keys";

fn post(org: &Organization, body: impl Into<Vec<u8>>) -> Reply {
    org.request("POST", JSON_ROUTE).header("Content-Type", "application/json").body(body).send()
}

fn a_good_key() -> Value {
    json!({ "kind": "restricted", "name": "till", "scopes": ["conversations:read"] })
}

#[test]
fn a_body_that_is_not_what_the_route_takes_is_400_and_names_the_field() {
    let server = Server::start();
    let org = server.organization();
    post(&org, a_good_key().to_string()).status(201);

    for malformed in
        ["", "{", "{}}", "{'name':'x'}", r#"{"name":nul}"#, r#"{"name":"\ud800"}"#, r#"{"name":1e999}"#]
    {
        post(&org, malformed).refused(400, "malformed_json");
    }
    post(&org, b"{\"name\":\"\xff\"}".to_vec()).refused(400, "malformed_json");
    for not_an_object in ["[]", "null", "5", r#""text""#] {
        post(&org, not_an_object).refused(400, "invalid_field");
    }
    let changed = |field: &str, value: Value| {
        let mut body = a_good_key();
        body[field] = value;
        post(&org, body.to_string())
    };
    changed("colour", json!("red")).refused(400, "unknown_field").naming("colour");
    changed("name", json!(5)).refused(400, "invalid_field").naming("name");
    changed("name", json!("a\u{0}b")).refused(400, "invalid_field").naming("name");
    changed("scopes", json!(["conversations:read", 5])).refused(400, "invalid_field").naming("scopes[1]");
    changed("scopes", json!({})).refused(400, "invalid_field").naming("scopes");
    post(&org, r#"{"name":"a","name":"b"}"#).refused(400, "duplicate_field").naming("name");
}

#[test]
fn what_stands_inside_a_body_is_as_strict_as_the_body() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let send = |method: &str, path: &str, body: &str| {
        org.request(method, path).header("Content-Type", "application/json").body(body).send()
    };
    let (start, one, messages) = ("/v1/conversations", talk.path(""), talk.path("/messages"));
    let as_agent = r#"{"content":"x","role":"agent","author":["a","b"]}"#;
    for (method, path, body, code, param) in [
        // An array is no object.
        ("POST", start, r#"{"customer":["cid","Nm","a@b.nl"]}"#, "invalid_field", "customer"),
        ("PATCH", &one, r#"{"customer":["cid","Nm","a@b.nl"]}"#, "invalid_field", "customer"),
        ("POST", &messages, as_agent, "invalid_field", "author"),
        ("POST", &messages, r#"{"content":"x","synthetic":[1]}"#, "invalid_field", "synthetic"),
        ("POST", start, r#"{"message":["x"]}"#, "invalid_field", "message"),
        ("POST", start, r#"{"message":{"content":"x","author":["a"]}}"#, "invalid_field", "message.author"),
        ("PATCH", "/v1/organization", r#"{"opening_hours":[null]}"#, "invalid_field", "opening_hours"),
        // A number is no word.
        ("POST", &messages, r#"{"content":"x","role":5}"#, "invalid_field", "role"),
        ("POST", &messages, r#"{"content":"x","role":{"agent":null}}"#, "invalid_field", "role"),
        ("POST", &messages, r#"{"content":"x","on_busy":5}"#, "invalid_field", "on_busy"),
        ("POST", &messages, r#"{"content":"x","on_disconnect":false}"#, "invalid_field", "on_disconnect"),
        ("POST", start, r#"{"message":{"content":"x","role":[]}}"#, "invalid_field", "message.role"),
        // Nothing is given twice.
        ("POST", start, r#"{"metadata":{"a":"1","a":"2"}}"#, "duplicate_field", "metadata.a"),
        ("PATCH", &one, r#"{"metadata":{"a":"1","a":null}}"#, "duplicate_field", "metadata.a"),
        ("POST", &messages, r#"{"content":"x","metadata":{"a":"","a":""}}"#, "duplicate_field", "metadata.a"),
        (
            "POST",
            "/v1/knowledge",
            r#"{"content":"x","metadata":{"a":"","a":""}}"#,
            "duplicate_field",
            "metadata.a",
        ),
    ] {
        let reply = send(method, path, body);
        assert_eq!(reply.code(), 400, "{body}: {}", reply.text());
        reply.refused(400, code).naming(param);
    }
    send("PATCH", &one, r#"{"customer":{"id":"c"},"metadata":{"a":"1","b":null}}"#).status(200);
}

#[test]
fn json_that_is_too_deep_is_refused_before_it_is_parsed() {
    let server = Server::start();
    let org = server.organization();
    let deep = |levels: usize| format!(r#"{{"colour":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    post(&org, deep(31)).refused(400, "unknown_field");
    post(&org, deep(32)).refused(400, "too_deep");
    post(&org, "[".repeat(500_000)).refused(400, "too_deep");
    server.client().get("/healthz").status(200);
}

#[test]
fn a_body_that_is_too_large_is_413_however_it_is_framed() {
    let server = Server::start();
    let org = server.organization();
    let named = |length: usize| json!({ "name": "x".repeat(length) }).to_string();
    post(&org, named((1 << 20) - 100)).refused(400, "invalid_field").naming("name");
    let key = org.primary_key.clone();
    let head = |framing: &str| {
        format!(
            "POST {JSON_ROUTE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\n{framing}\r\n\r\n"
        )
    };
    let body = named(1 << 20);
    for bytes in [
        format!("{}{body}", head(&format!("Content-Length: {}", body.len()))),
        format!("{}{:x}\r\n{body}\r\n0\r\n\r\n", head("Transfer-Encoding: chunked"), body.len()),
    ] {
        say(&server, bytes.as_bytes()).refused(413, "body_too_large");
    }
}

#[test]
fn a_body_of_another_kind_is_415() {
    let server = Server::start();
    let org = server.organization();
    let send = |kind: &str, encoding: Option<&str>| {
        let mut request = org.request("POST", JSON_ROUTE).body(a_good_key().to_string());
        if !kind.is_empty() {
            request = request.header("Content-Type", kind);
        }
        if let Some(encoding) = encoding {
            request = request.header("Content-Encoding", encoding);
        }
        request.send()
    };
    for kind in
        ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data"]
    {
        send(kind, None).refused(415, "unsupported_media_type");
    }
    for encoding in ["gzip", "br", "deflate", "zstd", "chunked"] {
        send("application/json", Some(encoding)).refused(415, "unsupported_media_type");
    }
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
        send(kind, Some("identity")).status(201);
    }
}

#[test]
fn a_body_that_stands_still_or_drips_is_408() {
    let server = Server::start();
    let org = server.organization();
    let start = format!(
        "POST {JSON_ROUTE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"name\"",
        org.primary_key
    );
    let mut slow = server.connect();
    slow.send(start.as_bytes()).unwrap();
    let reply = slow.reply().refused(408, "request_timeout");
    assert_eq!(reply["error"]["type"], "invalid_request");
    assert_eq!(slow.rest(), b"", "the connection is closed");
    // What was half sent has no effect, and many of them hold up nobody.
    let many = if is_long() { 300 } else { 50 };
    let held: Vec<_> = (0..many)
        .map(|_| {
            let mut slow = server.connect();
            slow.send(start.as_bytes()).unwrap();
            slow
        })
        .collect();
    org.get("/v1/keys").status(200);
    drop(held);
}

#[test]
fn parameters_are_as_strict_as_bodies() {
    let server = Server::start();
    let org = server.organization();
    let refused = |query: &str, code: &str, param: &str| {
        org.get(&format!("/v1/keys?{query}")).refused(400, code).naming(param);
    };
    refused("colour=red", "unknown_field", "colour");
    refused("limit=0", "invalid_field", "limit");
    refused("limit=101", "invalid_field", "limit");
    refused("limit=ten", "invalid_field", "limit");
    refused("limit=1&limit=2", "invalid_field", "limit");
    refused("limit=99999999999999999999", "invalid_field", "limit");
    refused("order=up", "invalid_field", "order");
    for cursor in ["x", "%00x", "AAAA", "WzEsImRlc2MiLDVd", "..", "%F0%9F%92%A3"] {
        let reply = org.get(&format!("/v1/keys?cursor={cursor}"));
        assert_eq!(reply.code(), 400, "{cursor}: {}", reply.text());
    }
    refused("cursor=x", "invalid_cursor", "cursor");
    refused("cursor=", "invalid_cursor", "cursor");
    org.get("/v1/keys?limit=100&order=asc").status(200);
}

#[test]
fn every_route_refuses_a_parameter_that_it_does_not_know() {
    let server = Server::start();
    let org = server.organization();
    let key = org.get("/v1/keys").status(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let talk = Talk::start(&org);
    let (one, version) = (talk.path(""), talk.conversation()["version"].clone());
    let article = "/v1/knowledge/art_01arz3ndektsv4rrffq69g5fav";
    let (external, content) = ("/v1/knowledge/external/x", json!({"content": "x"}));
    let turn = format!("{one}/turns/turn_01arz3ndektsv4rrffq69g5fav");
    let message = format!("{one}/messages/msg_01arz3ndektsv4rrffq69g5fav");
    let key = format!("/v1/keys/{key}");
    let below = |path: &str| format!("{one}{path}");
    for (method, path, body) in [
        ("GET", "/v1/organization", None),
        ("PATCH", "/v1/organization", Some(json!({}))),
        ("GET", "/v1/keys", None),
        ("POST", "/v1/keys", Some(a_good_key())),
        ("GET", &key, None),
        ("PATCH", &key, Some(json!({}))),
        ("DELETE", &key, None),
        ("POST", &format!("{key}/rotate"), None),
        ("DELETE", &format!("{key}/previous"), None),
        ("GET", "/v1/conversations", None),
        ("POST", "/v1/conversations", None),
        ("GET", &one, None),
        ("HEAD", &one, None),
        ("PATCH", &one, Some(json!({}))),
        ("DELETE", &one, None),
        ("POST", &below("/complete"), None),
        ("POST", &below("/rating"), Some(json!({"score": 5}))),
        ("POST", &below("/typing"), None),
        ("GET", &below("/messages"), None),
        ("POST", &below("/messages"), Some(content.clone())),
        ("GET", &message, None),
        ("GET", &below("/events"), None),
        ("POST", &below("/stop"), None),
        ("GET", &turn, None),
        ("POST", &format!("{turn}/stop"), None),
        ("POST", &format!("{turn}/retry"), None),
        ("GET", &format!("{turn}/stream"), None),
        ("GET", &below("/stream"), None),
        ("GET", &below("/ws"), None),
        ("GET", "/v1/knowledge", None),
        ("POST", "/v1/knowledge", Some(content.clone())),
        ("GET", "/v1/knowledge/search", None),
        ("GET", "/v1/knowledge/status", None),
        ("GET", external, None),
        ("PUT", external, Some(content.clone())),
        ("DELETE", external, None),
        ("GET", article, None),
        ("PUT", article, Some(content)),
        ("PATCH", article, Some(json!({}))),
        ("DELETE", article, None),
    ] {
        let path = format!("{path}?bogus=1");
        let send = |client: &Client| {
            let mut request = client.request(method, &path);
            if let Some(body) = &body {
                request = request.header("Content-Type", "application/json").body(body.to_string());
            }
            request.send()
        };
        let reply = send(&org);
        if method == "HEAD" {
            reply.status(400);
        } else {
            assert_eq!(reply.code(), 400, "{method} {path}: {}", reply.text());
            reply.refused(400, "unknown_field").naming("bogus");
        }
        // Who calls comes first.
        send(&server.client()).status(401);
    }
    assert_eq!(talk.conversation()["version"], version, "none of them did anything");
    for path in ["/v1/models", "/healthz", "/health", "/readyz", "/metrics"] {
        org.get(&format!("{path}?bogus=1")).status(200);
    }
    org.get(&format!("{one}?")).status(200);
}

#[test]
fn a_malformed_id_and_a_foreign_one_are_the_same_404() {
    let server = Server::start();
    let (org, other) = (server.organization(), server.organization());
    let foreign = other.get("/v1/keys").status(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let words = |id: &str| {
        let mut error = org.get(&format!("/v1/keys/{id}")).refused(404, "not_found")["error"].clone();
        error["request_id"] = Value::Null;
        error
    };
    let told = words(&foreign);
    for id in [
        "x",
        "key_",
        "KEY_01",
        "conv_00000000000000000000000000",
        "key_zzzzzzzzzzzzzzzzzzzzzzzzzz",
        "%00",
        "%ff",
    ] {
        assert_eq!(words(id), told, "{id}");
    }
}

#[test]
fn a_store_that_is_away_refuses_writes_and_takes_them_again_without_a_restart() {
    let server = Server::start();
    let org = server.organization();
    server.break_store();
    let refused = post(&org, a_good_key().to_string()).refused(503, "unavailable");
    assert!(refused.retry_after() >= Some(Duration::from_secs(1)));
    for _ in 0..20 {
        let read = org.get("/v1/keys");
        // A full disk can be read; a database that is away cannot.
        if is_postgres() {
            read.refused(503, "unavailable")
        } else {
            read.status(200)
        };
    }
    server.mend_store();
    eventually("the server recovers by itself", || {
        (post(&org, a_good_key().to_string()).code() == 201).then_some(())
    });
    let kinds = org.get("/v1/keys").status(200)["data"].as_array().unwrap().len();
    assert_eq!(kinds, 3, "primary, secondary and the one that was answered: nothing half done");
}
