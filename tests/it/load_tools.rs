//! A load tool of others against the streaming routes: what it counts is what the server counts.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Server, clients::Clients, eventually};

/// As many as the script asks for, on as many connections.
const REQUESTS: u64 = 400;
const CONNECTIONS: u64 = 8;

/// The value of a metric with these labels.
fn metric(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {name} in\n{metrics}")).parse::<f64>().unwrap() as u64
}

#[test]
fn autocannon_gets_every_stream_whole_and_the_server_counts_the_same() {
    let server = Server::with(&[
        ("model.synthetic.tokens", "20"),
        ("model.synthetic.tokens_per_second", "2000"),
        ("model.synthetic.first_token_ms", "1"),
    ]);
    let org = server.organization();
    let clients = Clients::installed();
    let output = clients
        .node("clients/autocannon.mjs")
        .env("BASE_URL", format!("http://{}", server.address()))
        .env("KEY", &org.primary_key)
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.ends_with("ok\n"), "{output:?}");
    for (name, line) in ["messages", "completions"].iter().zip(said.lines()) {
        let counted: Value = serde_json::from_str(line).unwrap();
        let expected = json!({"name": name, "streams": REQUESTS, "errors": 0, "timeouts": 0, "mismatches": 0,
            "non2xx": 0, "resets": 0});
        assert_eq!(counted, expected);
    }

    // A completion is a turn too, although of no conversation.
    let turns = "openclaw_turns_total{status=\"completed\"}";
    let metrics = eventually("the turns are counted", || {
        let metrics = server.client().get("/metrics").text();
        (metric(&metrics, turns) >= 2 * REQUESTS).then_some(metrics)
    });
    assert_eq!(metric(&metrics, turns), 2 * REQUESTS);
    let answered = |route: &str| {
        let labels = format!("route=\"{route}\",method=\"POST\",status=\"200\"");
        metric(&metrics, &format!("openclaw_http_requests_total{{{labels}}}"))
    };
    assert_eq!(answered("/v1/conversations/{id}/messages"), REQUESTS);
    assert_eq!(answered("/v1/chat/completions"), REQUESTS);
    assert_eq!(metric(&metrics, "openclaw_streams_active"), 0);

    let totals = eventually("the analytics have them all", || {
        let totals = org.get("/v1/analytics").status(200)["totals"].clone();
        (totals["messages"].as_u64() >= Some(2 * REQUESTS)).then_some(totals)
    });
    // A question and its answer each.
    assert_eq!((&totals["conversations"], &totals["messages"]), (&json!(CONNECTIONS), &json!(2 * REQUESTS)));
}
