//! The rate limit: what counts, what is said of it, and what a restart does to it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Client, Organization, Reply, Server, eventually, is_long, is_postgres};

/// A server whose keys have that many requests a minute: few enough that the slowest machine uses them up in less.
fn server_with(requests: u32) -> Server {
    Server::with(&[("limits.requests_per_minute", &requests.to_string())])
}

fn ask(client: &Client) -> Reply {
    client.get("/v1/organization")
}

#[track_caller]
fn remaining(reply: &Reply) -> u32 {
    reply.header("x-ratelimit-remaining").expect("a limit").parse().expect("a number")
}

#[test]
fn every_answer_to_a_key_says_what_is_left() {
    let server = server_with(100);
    let org = server.organization();
    let replies = [
        (ask(&org), 200, 99),
        (org.get("/v1/keys/none"), 404, 98),
        (org.patch("/v1/organization", json!({"x": 1})), 400, 97),
        (org.request("POST", "/v1/keys").body("{").send(), 415, 96),
        (org.request("PUT", "/v1/keys").send(), 405, 95),
        (org.get("/v1/nowhere"), 404, 94),
    ];
    for (reply, status, left) in replies {
        let reply = reply.status(status);
        let reset: u64 = reply.header("x-ratelimit-reset").unwrap().parse().unwrap();
        assert!((1..=60).contains(&reset), "{reset}");
        assert_eq!(reply.header("ratelimit-policy"), Some("\"default\";q=100;w=60"));
        assert_eq!(reply.header("ratelimit"), Some(&*format!("\"default\";r={left};t={reset}")));
        assert_eq!((reply.header("x-ratelimit-limit"), remaining(&reply)), (Some("100"), left));
    }
    assert_eq!(ask(&server.client()).status(401).header("ratelimit"), None);
    assert_eq!(server.client().get("/healthz").status(200).header("ratelimit"), None);
}

#[test]
fn past_the_limit_comes_429_and_waiting_as_told_is_enough() {
    let server = server_with(3);
    let org = server.organization();
    for _ in 0..3 {
        ask(&org).status(200);
    }
    let refused = ask(&org).refused(429, "rate_limited");
    let wait = refused.retry_after().expect("when to come back");
    assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(60), "{wait:?}");
    assert_eq!(refused.header("ratelimit"), Some(&*format!("\"default\";r=0;t={}", wait.as_secs())));
    // Nobody else pays for it.
    ask(&server.client_with(&org.secondary_key)).status(200);
    if is_long() {
        std::thread::park_timeout(wait);
        ask(&org).status(200);
    }
}

#[test]
fn what_does_not_count_costs_nothing() {
    let server = server_with(3);
    let org = server.organization();
    let client = org.restricted(&server, "organization:read");
    for _ in 0..10 {
        assert_eq!(remaining(&client.get("/v1/keys").status(403)), 3);
    }
    let in_browser = || client.request("GET", "/v1/organization").header("Origin", "https://a.test").send();
    assert_eq!(remaining(&in_browser().status(403)), 3);
    for left in [2, 1, 0] {
        assert_eq!(remaining(&ask(&client).status(200)), left);
    }
    let first = ask(&client).status(429).retry_after();
    for _ in 0..10 {
        // A refusal does not push the end of the wait away, and what may not be done at all says so first.
        assert!(ask(&client).status(429).retry_after() <= first);
        client.get("/v1/keys").refused(403, "missing_scope");
    }
}

#[test]
fn a_503_costs_nothing() {
    if is_postgres() {
        // A lock that another holds is waited for there; the embedded database gives up.
        return;
    }
    let server = server_with(3);
    let org = server.organization();
    let lock = Locked::take(&server);
    let refused = org.post("/v1/keys", json!({})).refused(503, "unavailable");
    assert!(refused.retry_after().is_some());
    assert_eq!(remaining(&refused), 3);
    // Reads go on.
    assert_eq!(remaining(&ask(&org).status(200)), 2);
    drop(lock);
    org.post("/v1/keys", json!({})).status(201);
}

#[test]
fn one_request_per_600_ms_is_never_refused_in_real_time_either() {
    // Past the first minute, when the first admissions leave; with the paused clock this is tested in every run.
    let requests = if is_long() { 230 } else { 3 };
    let server = server_with(100);
    let org = server.organization();
    for number in 0..requests {
        assert_eq!(ask(&org).code(), 200, "request {number}");
        std::thread::park_timeout(Duration::from_millis(600));
    }
}

/// Holds the embedded database's write lock, as a process that is stuck in the middle of a write.
struct Locked {
    runtime: tokio::runtime::Runtime,
    connection: Option<sqlx::SqliteConnection>,
}

impl Locked {
    fn take(server: &Server) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(async {
            use sqlx::Connection;
            let url = format!("sqlite://{}", server.data().join("openclaw.db").display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
            connection
        });
        Self { runtime, connection: Some(connection) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        use sqlx::Connection;
        if let Some(connection) = self.connection.take() {
            self.runtime.block_on(connection.close()).ok();
        }
    }
}

#[test]
fn sixty_four_clients_at_once_get_exactly_the_limit() {
    let server = server_with(100);
    let org = server.organization();
    let admitted: usize = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..64).map(|_| scope.spawn(|| (0..5).filter(|_| ask(&org).code() == 200).count())).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(admitted, 100);
}

#[test]
fn a_key_has_the_number_it_was_given() {
    let server = server_with(100);
    let org = server.organization();
    let create = |limit: &str| -> Value {
        let arguments = [
            "keys",
            "create",
            "--org",
            &org.id,
            "--scopes",
            "organization:read",
            "--rate-limit",
            limit,
            "--json",
        ];
        let made = server.run(&arguments);
        assert!(made.status.success(), "{made:?}");
        serde_json::from_str(&made.out).unwrap()
    };
    let unlimited = create("unlimited");
    assert_eq!(unlimited["key"]["rate_limit_per_minute"], "unlimited");
    let client = server.client_with(unlimited["secret"].as_str().unwrap());
    for _ in 0..150 {
        let reply = ask(&client).status(200);
        assert_eq!((reply.header("ratelimit"), reply.header("x-ratelimit-limit")), (None, None));
    }

    let two = create("2");
    let (id, client) =
        (two["key"]["id"].as_str().unwrap(), server.client_with(two["secret"].as_str().unwrap()));
    assert_eq!(remaining(&ask(&client).status(200)), 1);
    ask(&client).status(200);
    ask(&client).status(429);
    // A higher number holds at once, and null is the server's own again.
    org.patch(&format!("/v1/keys/{id}"), json!({"rate_limit_per_minute": 4})).status(200);
    assert_eq!(remaining(&ask(&client).status(200)), 1);
    let key = org.patch(&format!("/v1/keys/{id}"), json!({"rate_limit_per_minute": null})).status(200);
    assert_eq!(key["rate_limit_per_minute"], 100);
    assert_eq!(ask(&client).status(200).header("x-ratelimit-limit"), Some("100"));
}

#[test]
fn a_rotation_does_not_refill_the_bucket() {
    let server = server_with(3);
    let org = server.organization();
    let id = primary_id(&server, &org);
    ask(&org).status(200);
    let rotated = org.post(&format!("/v1/keys/{id}/rotate"), json!({})).status(200);
    let client = server.client_with(rotated["secret"].as_str().unwrap());
    assert_eq!(remaining(&ask(&client).status(200)), 0);
    ask(&client).status(429);
}

fn primary_id(server: &Server, org: &Organization) -> String {
    let listed = server.client_with(&org.secondary_key).get("/v1/keys").status(200);
    let keys = listed["data"].as_array().unwrap();
    let primary = keys.iter().find(|key| key["kind"] == "primary").unwrap();
    primary["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_clean_restart_keeps_the_log_and_a_crash_forgives_at_most_one_window() {
    let mut server = server_with(3);
    let org = server.organization();
    for _ in 0..3 {
        ask(&org).status(200);
    }
    server.restart();
    ask(&org).status(429);
    server.restart();
    ask(&org).status(429);
    server.crash();
    // What the last clean stop saved still counts.
    ask(&org).status(429);
}

#[test]
fn opening_a_stream_has_a_bucket_of_its_own() {
    let server = Server::with(&[("limits.requests_per_minute", "3"), ("limits.streams_per_key", "2")]);
    let org = server.organization();
    let started = org.post("/v1/conversations", json!({})).status(201);
    let path = format!("/v1/conversations/{}/stream", started["conversation"]["id"].as_str().unwrap());
    let first = org.stream(&path);
    assert_eq!(first.header("ratelimit-policy"), Some("\"streams\";q=120;w=60"));
    assert_eq!(first.header("x-ratelimit-remaining"), Some("119"));
    let second = org.stream(&path);
    let refused = org.get(&path).refused(429, "too_many_streams");
    assert_eq!(remaining(&refused), 118);
    assert!(refused.retry_after().is_some());
    drop((first, second));
    // A reader that left makes room at once.
    eventually("a place is free", || {
        (org.request("GET", &path).try_stream().unwrap().status() == 200).then_some(())
    });
    assert_eq!(remaining(&ask(&org).status(200)), 1);
}

#[test]
fn a_stream_of_a_revoked_key_ends_within_five_seconds() {
    let server = Server::start();
    let org = server.organization();
    let made = org.post("/v1/keys", json!({"scopes": ["conversations:read"]})).status(201);
    let reader = server.client_with(made["secret"].as_str().unwrap());
    let started = org.post("/v1/conversations", json!({})).status(201);
    let path = format!("/v1/conversations/{}/stream", started["conversation"]["id"].as_str().unwrap());
    let (reading, staying) = (reader.stream(&path), org.stream(&path));
    let revoked = server.run(&["keys", "revoke", made["key"]["id"].as_str().unwrap()]);
    assert!(revoked.status.success(), "{revoked:?}");
    let since = Instant::now();
    drop(reading.last());
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(staying.ending(), None);
}
