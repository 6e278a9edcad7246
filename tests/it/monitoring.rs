//! What monitors are given: metrics, and the dashboard and alerts that are built on them.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use crate::harness::{Program, Server, clients::Clients, eventually};

/// A server that has been used.
fn used() -> Server {
    let server = Server::start();
    let org = server.organization();
    let streamed = json!({ "message": "Hello", "stream": true });
    assert_eq!(
        org.request("POST", "/v1/conversations").json(&streamed).stream().last().unwrap().kind,
        "turn.completed"
    );
    org.get("/v1/nowhere").status(404);
    // An answer is timed once its last byte is written, which may be after the client has read it.
    eventually("the answer is timed", || {
        let text = server.client().get("/metrics").status(200).text();
        text.contains("openclaw_time_to_completion_seconds_count{").then_some(())
    });
    server
}

/// What it exposes.
fn exposed() -> BTreeSet<String> {
    let text = used().client().get("/metrics").status(200).text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// The names of our metrics in a text of queries.
fn asked_for(text: &str) -> BTreeSet<String> {
    let is_part = |byte: char| byte.is_ascii_alphanumeric() || byte == '_';
    let words = text.split(|byte: char| !is_part(byte));
    words
        .filter(|word| word.starts_with("openclaw_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_nothing_that_the_server_does_not_tell() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations");
    let dashboard: Value = serde_json::from_slice(&fs::read(folder.join("grafana.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut asked: BTreeSet<String> =
        queries.flat_map(|target| asked_for(target["expr"].as_str().unwrap())).collect();
    let rules = fs::read_to_string(folder.join("alerts.yaml")).unwrap();
    // The text of alerts may speak of what no rule asks for.
    let expressions = rules.lines().filter(|line| !line.trim_start().starts_with("description:"));
    asked.extend(expressions.flat_map(asked_for));
    assert!(asked.len() > 15, "{asked:?}");
    let exposed = exposed();
    let missing: Vec<_> = asked.difference(&exposed).collect();
    assert!(missing.is_empty(), "{missing:?} of {exposed:#?}");
}

#[test]
fn prometheus_own_tool_finds_nothing_to_say_of_a_scrape() {
    let scrape = used().client().get("/metrics").status(200).text();
    let mut promtool = Clients::promtool();
    promtool.args(["check", "metrics"]);
    let mut program = Program::of(promtool);
    program.say(scrape.trim_end());
    let said = program.ended();
    assert!(said.status.success() && said.out.is_empty() && said.err.is_empty(), "{said:?}");
}

#[test]
fn prometheus_own_parsers_read_what_was_promised_in_both_formats() {
    let server = used();
    let mut parsers = Clients::installed().python("clients/metrics.py");
    parsers.env("BASE_URL", format!("http://{}", server.address())).env("NO_PROXY", "127.0.0.1");
    let said = Program::of(parsers).ended();
    assert!(said.status.success() && said.out == "ok\n", "{said:?}");
}

#[test]
fn health_is_an_exit_status() {
    let server = Server::start();
    let address = server.address().to_string();
    for arguments in [&["health", "--listen", &address][..], &["health", "--ready", "--listen", &address]] {
        let output = server.run(arguments);
        assert!(output.status.success() && output.out == "healthy\n", "{output:?}");
    }
    server.signal("STOP");
    let hung = server.run(&["health", "--listen", &address]);
    server.signal("CONT");
    assert_eq!(hung.status.code(), Some(1), "{hung:?}");
    let nobody = Program::start(&["health", "--listen", "127.0.0.1:1"], &[]).ended();
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    assert!(nobody.out.contains("no OpenClaw server answers"), "{nobody:?}");
}
