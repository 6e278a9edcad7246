//! `bench` over other ways than Server-Sent Events: WebSockets, the OpenAI dialect, TLS. What lies is found out there too.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
};

use serde_json::{Value, json};

use crate::{
    bench::{Events, QUICK, bench, bench_in_private, honest, is_spread, number, report},
    harness::{
        Server,
        tls::{Authority, Files, Good},
    },
};

#[test]
fn answers_are_measured_over_websockets_and_in_the_openai_dialect() {
    for protocol in ["websocket", "openai"] {
        for scenario in ["stream", "long"] {
            let output =
                bench_in_private(&[&QUICK[..], &["--protocol", protocol, "--scenario", scenario]].concat());
            assert!(output.status.success(), "{protocol}, {scenario}: {output:?}");
            let report = report(&output);
            assert_eq!((&report["protocol"], &report["scenario"]), (&json!(protocol), &json!(scenario)));
            for (name, expected) in [("requests", 12), ("completed", 12), ("errors", 0), ("wrong", 0)] {
                assert_eq!(report[name], expected, "{protocol}, {scenario}, {name}: {report}");
            }
            is_spread(&report["first_token_ms"]);
            is_spread(&report["completion_ms"]);
            let (answers, words) =
                (number(&report["requests_per_second"]), number(&report["tokens_per_second"]));
            assert!((words / answers - 50.0).abs() < 1.0, "50 words each: {report}");
        }
    }
}

#[test]
fn a_server_is_measured_over_tls_if_its_authority_is_trusted() {
    let place = tempfile::tempdir().unwrap();
    let (authority, files) = (Authority::new(), Files::in_folder(place.path()));
    authority.issue(&files, Good::ForYears);
    let trusted = place.path().join("authority.pem");
    authority.write(&trusted);
    let settings = files.settings();
    let server = Server::with(&settings.each_ref().map(|(key, value)| (*key, value.as_str())));
    let key = server.organization().primary_key;
    let url = format!("https://localhost:{}", server.address().port());
    let there = ["--url", &url, "--key", &key, "--requests", "3", "--concurrency", "1", "--json"];
    for protocol in ["sse", "websocket", "openai"] {
        let with = |file: &Path| {
            bench(&[&there[..], &["--protocol", protocol, "--ca-file", file.to_str().unwrap()]].concat())
        };
        let output = with(&trusted);
        assert!(output.status.success(), "{protocol}: {output:?}");
        assert_eq!(report(&output)["completed"], 3, "{protocol}: {output:?}");
    }
    let stranger = place.path().join("stranger.pem");
    Authority::new().write(&stranger);
    let output = bench(&[&there[..], &["--ca-file", stranger.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.err.contains("cannot connect"), "{output:?}");
    let output = bench(&[&there[..], &["--ca-file", files.key.to_str().unwrap()]].concat());
    assert!(output.err.contains("must hold the certificates"), "{output:?}");
}

/// Answers every request, one after the other, with what the function makes of its first line.
pub(crate) fn server_by(answer: impl Fn(&str, &str) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            // Whoever asked may have heard enough.
            drop(answer_one(socket, &answer));
        }
    });
    address
}

fn answer_one(mut socket: TcpStream, answer: &impl Fn(&str, &str) -> Vec<u8>) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    if first.is_empty() {
        // Somebody looked whether we are here.
        return Ok(());
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    socket.write_all(&answer(first.trim(), &String::from_utf8_lossy(&body)))?;
    if first.contains("/ws") {
        // The answer ends with the frames. What the client says meanwhile is read, or the end would be a reset.
        socket.shutdown(std::net::Shutdown::Write)?;
        std::io::copy(&mut reader, &mut std::io::sink())?;
    }
    Ok(())
}

pub(crate) fn http(status: &str, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn chunk(delta: &Value, finish: Option<&str>) -> String {
    json!({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        .to_string()
}

fn completion() -> Vec<String> {
    vec![
        chunk(&json!({"role": "assistant", "content": ""}), None),
        chunk(&json!({"content": "Two"}), None),
        chunk(&json!({"content": " words"}), None),
        chunk(&json!({}), Some("stop")),
        json!({"id": "chatcmpl-1", "choices": [], "usage": {"completion_tokens": 2}}).to_string(),
        "[DONE]".to_owned(),
    ]
}

/// What a run of two requests against that server says.
fn measured(address: SocketAddr, protocol: &str) -> (Option<i32>, Value) {
    let url = format!("http://{address}");
    let output = bench(&[
        "--url",
        &url,
        "--key",
        "x",
        "--requests",
        "2",
        "--concurrency",
        "1",
        "--protocol",
        protocol,
        "--json",
    ]);
    (output.status.code(), report(&output))
}

/// A lie, how it is told, and what it is found out by.
type Lie<T> = (&'static str, fn(&mut T), &'static str);

#[test]
fn a_completion_that_lies_is_found_out() {
    let lies: [Lie<Vec<String>>; 6] = [
        ("nothing", |_| {}, ""),
        ("it does not say that it is done", |chunks| drop(chunks.pop()), "ended before the answer did"),
        ("it is done twice", |chunks| chunks.push("[DONE]".to_owned()), "came after the end"),
        ("it finishes twice", |chunks| chunks.insert(3, chunks[3].clone()), "outside its turn"),
        ("it speaks after its end", |chunks| chunks.insert(4, chunks[1].clone()), "outside its turn"),
        (
            "a chunk is another completion's",
            |chunks| chunks[2] = chunks[2].replace("chatcmpl-1", "chatcmpl-2"),
            "outside its turn",
        ),
    ];
    for (lie, tell, found) in lies {
        let mut chunks = completion();
        tell(&mut chunks);
        let body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        let server = server_by(move |_, _| http("200 OK", "text/event-stream", &body));
        let (status, report) = measured(server, "openai");
        is_found(lie, found, status, &report);
    }
}

#[track_caller]
fn is_found(lie: &str, found: &str, status: Option<i32>, report: &Value) {
    if found.is_empty() {
        assert_eq!((status, &report["completed"]), (Some(0), &json!(2)), "{lie}: {report}");
        return;
    }
    assert_eq!((status, &report["completed"]), (Some(1), &json!(0)), "{lie}: {report}");
    assert!(report["faults"][0].as_str().unwrap().contains(found), "{lie}: {report}");
}

/// The events of an honest answer as frames, and the acknowledgement of the first message before its turn.
fn frames() -> Events {
    let ack = json!({"type": "ack", "ref": "0", "message": {}, "turn": {"id": "turn_1"}});
    let mut events = honest();
    events.insert(2, ("ack".to_owned(), String::new(), ack));
    events
}

fn websocket(events: &Events) -> Vec<u8> {
    let mut bytes =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_vec();
    for (_, id, data) in events {
        let mut data = data.clone();
        if !id.is_empty() {
            data["cursor"] = id.as_str().into();
        }
        let text = data.to_string();
        bytes.extend([0x81, 126]);
        bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

#[test]
fn a_websocket_that_lies_is_found_out() {
    let lies: [Lie<Events>; 7] = [
        ("nothing", |_| {}, ""),
        ("a delta is left out", |events| drop(events.remove(5)), "came where"),
        ("a delta comes twice", |events| events.insert(5, events[4].clone()), "came where"),
        ("a position goes back", |events| events[5].1 = "3.1".to_owned(), "the event's id is"),
        ("an event is left out", |events| drop(events.remove(1)), "has sequence 3"),
        ("it acknowledges another message", |events| events[2].2["ref"] = json!("7"), "acknowledgement"),
        (
            "it acknowledges another turn",
            |events| events[2].2["turn"]["id"] = json!("turn_2"),
            "acknowledgement",
        ),
    ];
    for (lie, tell, found) in lies {
        let mut events = frames();
        tell(&mut events);
        let socket = websocket(&events);
        let server = server_by(move |first, _| match first.contains("/ws") {
            true => socket.clone(),
            false => http("201 Created", "application/json", r#"{"conversation":{"id":"conv_1"}}"#),
        });
        let (status, report) = measured(server, "websocket");
        is_found(lie, found, status, &report);
    }
}
