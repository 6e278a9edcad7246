//! The process: it starts, says so, and stops; it is careful about where it listens and on whose data; it says what
//! it counts and whether it is well.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Connection, Reply, Server, eventually};

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_stop_takes_less_than_five_seconds_and_ends_with_status_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start();
        // Neither an idle connection nor half a request must hold the process.
        let mut idle = server.connect();
        idle.send(HEALTHZ).unwrap();
        idle.reply().status(200);
        let mut half = server.connect();
        half.send(&HEALTHZ[..20]).unwrap();

        let asked = Instant::now();
        server.signal(signal);
        let status = server.ended();
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_eq!(status.code(), Some(0), "{}", server.log());
        assert!(server.log().contains("the server has stopped"), "{}", server.log());
    }
}

#[test]
fn the_data_directory_has_one_server_and_a_crash_lets_go_of_it() {
    let mut server = Server::start();
    let second = server.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(!second.status.success());
    assert!(second.err.contains("another openclaw-server is running"), "{second:?}");
    assert_eq!(second.out, "");
    server.client().get("/readyz").status(200);
    server.crash();
    server.client().get("/readyz").status(200);
}

#[test]
fn a_public_address_is_not_served_in_the_clear() {
    let mut server = Server::start();
    server.stop();
    let refused = server.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(!refused.status.success());
    assert!(refused.err.contains("behind_proxy = true"), "it says what to do: {refused:?}");
}

#[test]
fn a_public_address_behind_a_proxy_shows_no_metrics() {
    let server = Server::with(&[("server.behind_proxy", "true")]);
    server.client().get("/metrics").refused(404, "unknown_route");
    server.client().get("/readyz").status(200);
}

#[test]
fn a_taken_address_is_named() {
    let other = Server::start();
    let address = other.address().to_string();
    let mut server = Server::start();
    server.stop();
    let refused = server.run(&["serve", "--listen", &address]);
    assert!(refused.err.contains(&address) && refused.err.contains("in use"), "{refused:?}");
}

#[test]
fn settings_that_do_not_exist_stop_the_start() {
    let mut server = Server::start();
    server.stop();
    let file = server.data().join("settings.toml");
    std::fs::write(&file, "[limits]\nrequests_per_minutes = 5\n").unwrap();
    let refused = server.run(&["serve", "--config", file.to_str().unwrap()]);
    assert!(refused.err.contains("requests_per_minutes"), "{refused:?}");

    std::fs::write(&file, "[model]\nproviders = ['builtin']\n[log]\nformat = 'json'\n").unwrap();
    let shown = server.run(&["config", "--config", file.to_str().unwrap()]);
    assert!(shown.out.contains(r#"model.providers = ["synthetic"]"#), "the environment wins: {}", shown.out);
    assert!(shown.out.contains(r#"log.format = "json""#), "the file is read: {}", shown.out);
}

#[test]
fn a_request_has_its_own_name_or_the_clients() {
    let server = Server::start();
    let client = server.client();
    let own = client.request("GET", "/healthz").header("X-Request-Id", "order-8812:a.b_c").send();
    assert_eq!(own.header("x-request-id"), Some("order-8812:a.b_c"));
    let ours = client.request("GET", "/healthz").header("X-Request-Id", "two words").send();
    assert!(ours.header("x-request-id").is_some_and(|id| id.starts_with("req_")));
    let refused = client.request("GET", "/nowhere").header("X-Request-Id", "mine").send();
    assert_eq!(refused.refused(404, "unknown_route")["error"]["request_id"], "mine");
}

#[test]
fn a_callers_trace_goes_on() {
    let server = Server::start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sent = format!("00-{trace}-00f067aa0ba902b7-01");
    let reply = server.client().request("GET", "/healthz").header("traceparent", &sent).send();
    let answered = reply.header("traceparent").expect("a trace");
    assert!(answered.starts_with(&format!("00-{trace}-")) && answered.ends_with("-01"), "{answered}");
    assert_ne!(answered, sent, "the span is ours");
    assert_eq!(server.client().get("/healthz").header("traceparent"), None);
}

#[test]
fn metrics_are_text_that_a_scraper_reads() {
    let server = Server::start();
    server.client().get("/healthz").status(200);
    server.client().get("/no/such/conv_1").status(404);
    let scraped = |accept: &str| server.client().request("GET", "/metrics").header("Accept", accept).send();
    let reply =
        scraped("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5").status(200);
    let is = |reply: &Reply, kind: &str| reply.header("content-type").is_some_and(|is| is.starts_with(kind));
    let text = reply.text();
    assert!(is(&reply, "application/openmetrics-text; version=1.0.0"));
    assert!(text.ends_with("# EOF\n"), "{text}");
    for reply in [server.client().get("/metrics"), scraped("text/plain;version=0.0.4")] {
        assert!(is(&reply, "text/plain; version=0.0.4"));
        assert!(!reply.text().contains("# EOF"), "{}", reply.text());
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        value.parse::<f64>().expect(line);
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("openclaw_") || name.starts_with("process_"), "{line}");
    }
    for series in [
        r#"openclaw_http_requests_total{route="/healthz",method="GET",status="200"} 1"#,
        r#"openclaw_http_requests_total{route="unmatched",method="GET",status="404"} 1"#,
        "openclaw_http_request_duration_seconds_bucket",
        "openclaw_inter_token_seconds_bucket",
        "openclaw_streams_active 0",
        "openclaw_conversations_active",
        r#"openclaw_turns_total{status="completed"} 0"#,
        "openclaw_rate_limited_total 0",
        "openclaw_commit_seconds_bucket",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(text.contains(series), "{series} is missing in\n{text}");
    }
    assert!(!text.contains("conv_1"), "a path is no label");
}

#[test]
fn what_happened_is_counted() {
    let server = Server::start();
    let org = server.organization();
    let started = org.post("/v1/conversations", json!({ "message": "Where is my parcel?" })).status(201);
    assert_eq!(started["turn"]["status"], "completed", "{}", started.text());
    let expected = [
        r#"openclaw_http_requests_total{route="/v1/conversations",method="POST",status="201"} 1"#,
        r#"openclaw_turns_total{status="completed"} 1"#,
        "openclaw_conversations_active 1",
        r#"openclaw_time_to_completion_seconds_count{model="synthetic"} 1"#,
    ];
    // An answer is timed once its last byte is written, which may be after the client has read it.
    let text = eventually("all of it is counted", || {
        let text = server.client().get("/metrics").status(200).text();
        expected.iter().all(|series| text.contains(series)).then_some(text)
    });
    assert!(!text.contains(&org.id) && !text.contains("conv_"), "no id is a label");
}

#[test]
fn metrics_have_a_token_or_a_listener_of_their_own() {
    let token = "0123456789abcdef0123";
    let server = Server::with(&[("server.metrics_token", token)]);
    server.client().get("/metrics").refused(401, "invalid_key");
    server.client_with("0123456789abcdef0124").get("/metrics").refused(401, "invalid_key");
    server.client_with(token).get("/metrics").status(200);

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::with(&[("server.ops_listen", &free.to_string())]);
    server.client().get("/metrics").refused(404, "unknown_route");
    let mut ops = Connection::open(free).unwrap();
    for path in ["/metrics", "/healthz", "/readyz"] {
        ops.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        ops.reply().status(200);
    }
    ops.send(b"GET /v1/conversations HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    ops.reply().refused(404, "unknown_route");
}

#[test]
fn one_connection_too_many_is_refused_at_once_and_harms_no_other() {
    let server = Server::with(&[("server.max_connections", "4")]);
    let mut served: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for connection in &mut served {
        connection.send(HEALTHZ).unwrap();
        connection.reply().status(200);
    }
    let mut surplus = server.connect();
    surplus.send(HEALTHZ).unwrap();
    let refused = surplus.reply().refused(503, "overloaded");
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(refused["error"]["type"], "overloaded");
    assert_eq!(surplus.rest(), b"", "the connection is closed");

    for connection in &mut served {
        connection.send(HEALTHZ).unwrap();
        connection.reply().status(200);
    }
    drop(served);
    eventually("places become free", || (server.client().get("/healthz").code() == 200).then_some(()));
}

#[test]
fn a_head_that_drips_is_given_up() {
    let server = Server::start();
    let mut slow = server.connect();
    slow.send(b"GET /healthz HTTP/1.1\r\nHos").unwrap();
    let since = Instant::now();
    slow.reply().refused(408, "request_timeout");
    assert_eq!(slow.rest(), b"", "the connection is closed");
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
}

#[test]
fn a_store_that_is_away_makes_the_server_unready_until_it_is_back() {
    let mut server = Server::start();
    server.client().get("/readyz").status(200);
    server.break_store();
    // The writer renews its lease now and then, which is a write.
    let unready = eventually("the server sees that its store is away", || {
        let reply = server.client().get("/readyz");
        (reply.code() == 503).then_some(reply)
    });
    assert_eq!(unready["status"], "not_ready");
    assert!(unready["reason"].is_string(), "{}", unready.text());
    server.client().get("/healthz").status(200);
    server.mend_store();
    eventually("the server recovers by itself", || {
        (server.client().get("/readyz").code() == 200).then_some(())
    });
    assert!(server.stop().success());
}

#[test]
fn a_crowd_that_says_nothing_is_let_go_and_the_server_answers_again() {
    let server = Server::with(&[("server.max_connections", "4"), ("server.workers", "2")]);
    // More than are served and than are told to come back: the rest waits in the kernel's queue.
    let crowd: Vec<_> = (0..200).map(|_| server.connect()).collect();
    eventually("the silent ones are let go", || {
        let reply = server.client().request("GET", "/healthz").try_send().ok()?;
        (reply.code() == 200).then_some(())
    });
    drop(crowd);
    server.client().get("/readyz").status(200);
}

#[test]
fn no_log_holds_what_people_said_or_what_opens_doors() {
    let token = "an-admin-token-of-some-length";
    // Named, because it is left out otherwise.
    let filter = "trace,actix_http::h1::dispatcher=trace";
    let settings = [("log.filter", filter), ("log.format", "json"), ("server.admin_token", token)];
    let mut server = Server::with(&settings);
    let org = server.organization();
    let said = "my-secret-is-Zwaluwstaart";
    let body =
        json!({ "message": said, "customer": { "email": "ada@geheim.example", "name": "Ada Lovelace" } });
    let started = org.post("/v1/conversations", body).status(201);
    let path = format!("/v1/conversations/{}/messages", started["conversation"]["id"].as_str().unwrap());
    org.post(&path, json!({ "content": said, "stream": false })).status(200);
    org.post(&path, json!({ "content": 5, "note": said })).status(400);
    server.client_with(token).get("/v1/keys").status(401);
    server.client_with("oc_live_nothing").get(&format!("/v1/conversations?q={said}")).status(401);
    let made = org.post("/v1/keys", json!({ "scopes": ["conversations:read"] })).status(201);
    server.stop();

    let log = server.log();
    assert!(log.lines().count() > 20, "it does log: {log}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    }
    let key_secret = |key: &str| key.rsplit('_').next().unwrap().to_owned();
    for secret in [
        said.to_owned(),
        "geheim".to_owned(),
        "Lovelace".to_owned(),
        token.to_owned(),
        key_secret(&org.primary_key),
        key_secret(&org.secondary_key),
        key_secret(made["secret"].as_str().unwrap()),
    ] {
        let leaks: Vec<_> = log.lines().filter(|line| line.contains(&secret)).collect();
        assert!(leaks.is_empty(), "{secret}: {leaks:#?}");
    }
}
