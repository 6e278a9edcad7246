//! Real clients, from their registries and unchanged but for the address: `tests/clients/` says which and what they do.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Stdio,
    sync::Arc,
    thread,
};

use crate::{
    harness::{
        Server,
        clients::Clients,
        eventually,
        upstream::{
            Act, Asked, DONE, Upstream, answers, chunk, delta, end, event, finish, says, stream_head, streams,
        },
    },
    talk::Talk,
    upstream::{server_with, stock},
};

/// Runs one of the scripts against a server.
#[track_caller]
fn runs(script: &str, server: &Server, key: &str, more: &[(&str, &str)]) {
    let clients = Clients::installed();
    let program = format!("clients/{script}");
    let mut command = match script.ends_with(".py") {
        true => clients.python(&program),
        false => clients.node(&program),
    };
    let output = command
        .envs(more.iter().copied())
        .env("BASE_URL", format!("http://{}", server.address()))
        .env("KEY", key)
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (said(&output.stdout), said(&output.stderr));
    let is_done = output.status.success() && out.trim_end().ends_with("ok");
    assert!(is_done, "{script}: {}\n{out}\n{error}", output.status);
}

/// Answers what the scripts say.
fn model(asked: &Asked) -> Vec<Act> {
    let messages = asked.body["messages"].as_array().unwrap();
    let question = messages.last().unwrap()["content"].as_str().unwrap().lines().last().unwrap();
    let says_at_last = |text: &str| question.contains(&format!(r#""text":"{text}"}}"#));
    let error = event(&serde_json::json!({"error": {"message": "x"}}));
    match () {
        () if says_at_last("fail at once") => answers("500 Internal Server Error", &[], "{}"),
        () if says_at_last("fail later") => streams(&[delta("Half an"), error]),
        () if says_at_last("never end") => vec![stream_head(), chunk(delta("Hello")), Act::Hang],
        () if says_at_last("wait in the middle") => vec![
            stream_head(),
            chunk(delta("One ")),
            Act::Wait,
            chunk(delta("two.")),
            chunk(finish("stop")),
            chunk(DONE),
            end(),
        ],
        () if says_at_last("where is my parcel") => says(&["By ", "e-mail [1]."]),
        () => says(&["Hello", ", Z", "oë!"]),
    }
}

fn talking() -> (Upstream, Server) {
    let upstream = Upstream::that(Vec::new());
    upstream.by(model);
    let server = server_with(&upstream, "openai", &[]);
    (upstream, server)
}

/// An answer in many words at a readable pace, so that its stream can be cut often.
fn paced() -> Server {
    Server::with(&[("model.synthetic.tokens", "30"), ("model.synthetic.tokens_per_second", "200")])
}

#[test]
fn openais_python_client_works_unchanged() {
    let (_upstream, server) = talking();
    runs("openai_python.py", &server, &server.organization().primary_key, &[]);
}

#[test]
fn openais_node_client_works_unchanged() {
    let (upstream, server) = talking();
    runs("openai_node.mjs", &server, &server.organization().primary_key, &[]);
    // The stream that it no longer read, and the one of a conversation that was erased.
    eventually("the upstream's work ends", || (upstream.hung_up() == 2).then_some(()));
}

#[test]
fn langchains_client_works_unchanged() {
    let (_upstream, server) = talking();
    runs("langchain_openai_client.py", &server, &server.organization().primary_key, &[]);
}

#[test]
fn the_ai_sdks_chat_works_with_its_default_transport() {
    let (upstream, server) = talking();
    let org = server.organization();
    stock(&org);
    // What lets the waiting answer go on when the script asks for it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let go_on = format!("http://{}/", listener.local_addr().unwrap());
    let upstream = Arc::new(upstream);
    let waiting = Arc::clone(&upstream);
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
        lines.find(|line| line.as_ref().is_ok_and(String::is_empty)).unwrap().unwrap();
        waiting.go_on();
        socket.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
    });
    runs("ai_sdk.mjs", &server, &org.primary_key, &[("GO_ON", &go_on)]);
}

#[test]
fn httpx_sse_reads_a_stream_that_is_cut_over_and_over() {
    let server = paced();
    runs("httpx_sse_client.py", &server, &server.organization().primary_key, &[]);
}

#[test]
fn eventsource_parser_reads_a_stream_that_is_cut_over_and_over() {
    let server = paced();
    runs("eventsource_parser.mjs", &server, &server.organization().primary_key, &[]);
}

/// A conversation for a client of its WebSocket.
fn talks_over_a_websocket(script: &str) {
    let server = paced();
    let org = server.organization();
    let talk = Talk::start(&org);
    runs(script, &server, &org.primary_key, &[("TALK", &talk.path(""))]);
}

#[test]
fn websockets_talks_and_goes_on_after_every_cut() {
    talks_over_a_websocket("websockets_client.py");
}

#[test]
fn ws_talks_and_goes_on_after_every_cut() {
    talks_over_a_websocket("ws.mjs");
}
