//! What no honest client sends is refused with the right status, in the one shape, and harms nobody.

use crate::harness::{Reply, Server};

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
    // Beyond what is read at all, HTTP's own refusal is all there is.
    with(1_000_000).status(431);
    let mut many = server.client().request("GET", "/healthz");
    for place in 0..500 {
        many = many.header(&format!("X-{place}"), "x");
    }
    many.send().status(431);
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
        let reply = connection.reply();
        assert_eq!(reply.code(), 400, "{bytes}");
        assert_eq!(connection.rest(), b"", "nothing after it is taken for a request: {bytes}");
    }
    say(&server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").status(200);
}
