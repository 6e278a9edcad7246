//! Odd upstreams: each ends in an answer, or in a failure that says what kind it was, in bounded time and memory.

use serde_json::json;

use crate::{
    harness::{
        Organization, Server, eventually,
        upstream::{
            Act, DONE, Upstream, answers, chunk, delta, event, finish, head, says, stream_head, streams,
        },
    },
    upstream::{QUESTION, ask, code, content, server_with, shop, stock},
};

/// A body that ends with the connection.
fn plain(version: &str, body: &str) -> Vec<Act> {
    vec![Act::Send(format!("{version} 200 OK\r\nContent-Type: text/plain\r\n\r\n{body}").into()), Act::Close]
}

/// Each of these comes to `Hi Zoë!`.
#[test]
fn odd_streams_are_read_as_they_were_meant() {
    let whole = delta("Hi Zoë!");
    let split = whole.as_bytes();
    let inside = whole.find('ë').unwrap() + 1;
    let ends = finish("stop");
    let around = |before: &[&str], after: &[&str]| streams(&[before, &[&whole], after, &[DONE]].concat());
    let long = head("200 OK", &["Content-Length: 99999"]);
    let bytes: Vec<_> = split.iter().map(|byte| vec![*byte]).chain([DONE.into()]).collect();
    let called =
        json!({"delta": {"content": null, "tool_calls": [{"index": 0}]}, "finish_reason": "tool_calls"});
    let message = json!({"role": "assistant", "content": "Hi Zoë!"});
    let completion =
        json!({"object": "chat.completion", "choices": [{"message": message, "finish_reason": "stop"}]});
    let ways: Vec<(&str, Vec<Act>)> = vec![
        ("as usual", says(&["Hi ", "Zoë", "!"])),
        ("no [DONE]", streams(&[&whole, &ends])),
        ("no reason to end", streams(&[whole.as_str(), DONE])),
        ("garbage after [DONE]", streams(&[&whole, DONE, "data: {{{\n\n", &delta("more")])),
        ("text after its end", streams(&[&whole, &ends, &delta("more"), DONE])),
        ("no last chunk after [DONE]", vec![stream_head(), chunk(&whole), chunk(DONE), Act::Close]),
        ("no last chunk after the end", vec![stream_head(), chunk(&whole), chunk(&ends), Act::Close]),
        ("a break after the end", vec![stream_head(), chunk(&whole), chunk(&ends), Act::Reset]),
        ("silence after the end", vec![stream_head(), chunk(&whole), chunk(&ends), Act::Hang]),
        ("a body that ends with its connection", plain("HTTP/1.1", &format!("{whole}{ends}{DONE}"))),
        (
            "an interim answer",
            [&[head("103 Early Hints", &["Link: </x>"])], &says(&["Hi Zoë!"])[..]].concat(),
        ),
        ("HTTP/1.0", plain("HTTP/1.0", &format!("{whole}{ends}{DONE}"))),
        ("no last blank line", plain("HTTP/1.0", &format!("{whole}data: [DONE]"))),
        ("a letter cut in two", streams(&[&split[..inside], &split[inside..], DONE.as_bytes()])),
        ("byte by byte", streams(&bytes)),
        ("CRLF", streams(&[format!("{whole}{DONE}").replace('\n', "\r\n")])),
        ("CR", streams(&[format!("{whole}{DONE}").replace('\n', "\r")])),
        ("a byte order mark", streams(&[format!("\u{FEFF}{whole}"), DONE.into()])),
        ("comments", streams(&[": hi\n\n", ": OPENROUTER PROCESSING\n\n", &whole, ":\n\n", DONE])),
        ("blank lines", streams(&["\n\n\n", &whole, "\n\r\n", DONE])),
        ("no blank after the colon", streams(&[whole.replace("data: ", "data:"), DONE.replace(' ', "")])),
        ("data over lines", streams(&[whole.replace(",", ",\ndata: "), DONE.into()])),
        ("other fields", streams(&[format!("event: message\nid: 7\nretry: 1\n{whole}"), DONE.into()])),
        (
            "empty pieces",
            around(
                &[&delta(""), &event(&json!({"choices": [{"delta": {"role": "assistant"}}]}))],
                &[&delta("")],
            ),
        ),
        ("no choices", around(&[&event(&json!({"choices": []})), &event(&json!({}))], &[])),
        (
            "no usage",
            around(&[&event(&json!({"choices": [], "usage": null}))], &[&event(&json!({"usage": "?"}))]),
        ),
        ("a call of a tool", around(&[], &[&event(&json!({"choices": [called]}))])),
        ("cut off by its length", streams(&[whole.clone(), finish("length"), DONE.into()])),
        ("a length too long", vec![long, Act::Send(format!("{whole}{ends}").into()), Act::Close]),
        ("a whole completion", answers("200 OK", &[], &completion.to_string())),
        ("a long comment", streams(&[format!(":{}\n", "x".repeat(2 << 20)), whole.clone(), DONE.into()])),
    ];
    let upstream = Upstream::that(Vec::new());
    let server = server_with(&upstream, "openai", &[]);
    let org = server.organization();
    for (name, acts) in ways {
        upstream.now(acts);
        let before = upstream.times();
        let answer = ask(&org, QUESTION);
        assert_eq!(
            (content(&answer), &answer["turn"]["status"]),
            ("Hi Zoë!", &json!("completed")),
            "{name}: {}",
            answer.text()
        );
        assert_eq!(upstream.times() - before, 1, "{name}");
    }
}

#[test]
fn what_is_no_text_is_shown_as_such() {
    let torn = |byte: u8| if byte == b'*' { 0xFF } else { byte };
    let bytes: Vec<u8> = delta("Zo*!").into_bytes().into_iter().map(torn).collect();
    let upstream = Upstream::that(streams(&[bytes, DONE.into()]));
    let server = server_with(&upstream, "openai", &[]);
    let org = server.organization();
    assert_eq!(content(&ask(&org, QUESTION)), "Zo\u{FFFD}!");
    // A letter that PostgreSQL cannot store.
    upstream.now(says(&["Zo\0!"]));
    assert_eq!(content(&ask(&org, QUESTION)), "Zo\u{FFFD}!");
}

/// Asks, insists on how the turn failed, and lets the breaker forget it.
#[track_caller]
fn fails(org: &Organization, upstream: &Upstream, name: &str, acts: Vec<Act>, expected: &str, shown: &str) {
    upstream.now(acts);
    let answer = ask(org, QUESTION);
    assert_eq!(
        (&answer["turn"]["status"], code(&answer)),
        (&json!("failed"), expected),
        "{name}: {}",
        answer.text()
    );
    assert_eq!(content(&answer).trim_end(), shown, "{name}");
    assert!(!answer.text().contains("canary"), "{name}: {}", answer.text());
    upstream.now(says(&["Yes."]));
    assert_eq!(content(&ask(org, QUESTION)), "Yes.", "after {name}");
}

#[test]
fn what_is_no_answer_says_what_kind_it_was() {
    let said = delta("You get ");
    let error = r#"{"error":{"message":"canary: it broke","type":"server_error","code":null}}"#;
    let in_stream = format!("data: {error}\n\n");
    let huge = "x".repeat(1 << 20);
    let limited = r#"{"error":{"message":"canary","type":"rate_limit_exceeded"}}"#;
    let ways: Vec<(&str, Vec<Act>, &str, &str)> = vec![
        ("an error as JSON", answers("200 OK", &[], error), "model_failed", ""),
        ("an error as an event", streams(&[&in_stream]), "model_failed", ""),
        ("a limit inside a 200", answers("200 OK", &[], limited), "model_rate_limited", ""),
        ("an error in mid-answer", streams(&[&said, &in_stream]), "model_failed", "You get"),
        ("other JSON", answers("200 OK", &[], r#"{"detail":"canary"}"#), "model_failed", ""),
        ("JSON that breaks off", answers("200 OK", &[], r#"{"choices":[{"mess"#), "model_failed", ""),
        ("a web page", answers("200 OK", &[], "<html>canary</html>"), "model_failed", ""),
        ("nothing", answers("200 OK", &[], ""), "model_failed", ""),
        ("no content", vec![head("204 No Content", &[])], "model_failed", ""),
        ("no text", streams(&[&finish("stop"), DONE]), "model_failed", ""),
        ("a mark and no text", streams(&[&delta("[1]"), DONE]), "model_failed", ""),
        ("a filter", streams(&[&finish("content_filter"), DONE]), "model_filtered", ""),
        ("malformed JSON", streams(&["data: {\"choices\":\n\n"]), "model_failed", ""),
        ("malformed JSON in mid-answer", streams(&[said.as_str(), "data: {\n\n"]), "model_failed", "You get"),
        ("the end in mid-answer", streams(&[&said]), "model_failed", "You get"),
        (
            "a break in mid-answer",
            vec![stream_head(), chunk(&said), Act::Wait, Act::Reset],
            "model_failed",
            "You get",
        ),
        (
            "a length too short",
            vec![
                head("200 OK", &[&format!("Content-Length: {}", said.len() + 5)]),
                Act::Send(said.clone().into()),
                Act::Send(DONE.into()),
                Act::Close,
            ],
            "model_failed",
            "You get",
        ),
        (
            "a malformed chunk",
            vec![stream_head(), Act::Send(b"zz\r\n".to_vec()), Act::Close],
            "model_failed",
            "",
        ),
        ("no HTTP", vec![Act::Send(b"SSH-2.0-canary\r\n".to_vec()), Act::Close], "model_failed", ""),
        (
            "gzip",
            vec![
                head("200 OK", &["Content-Encoding: gzip", "Connection: close"]),
                Act::Send(said.clone().into()),
                Act::Close,
            ],
            "model_failed",
            "",
        ),
        ("a huge line", streams(&[format!("data: {huge}\n\n")]), "model_failed", ""),
        (
            "a huge line in mid-answer",
            streams(&[&said, &format!("data: {huge}\n\n")]),
            "model_failed",
            "You get",
        ),
        (
            "a line without end",
            vec![stream_head(), Act::Flood(chunk_bytes(&"x".repeat(64 << 10)))],
            "model_failed",
            "",
        ),
        (
            "comments without end",
            vec![stream_head(), Act::Flood(chunk_bytes(&format!(":{}\n", "x".repeat(64 << 10))))],
            "model_failed",
            "",
        ),
        (
            "a head without end",
            vec![Act::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Act::Flood(b"X-Canary: x\r\n".repeat(100))],
            "model_failed",
            "",
        ),
        ("a limit", answers("429 Too Many Requests", &[], "canary"), "model_rate_limited", ""),
        ("an unknown address", answers("404 Not Found", &[], "canary"), "model_refused", ""),
        ("an overload", answers("529 Overloaded", &[], "canary"), "model_failed", ""),
    ];
    let upstream = Upstream::that(Vec::new());
    let server = server_with(&upstream, "openai", &[]);
    let org = server.organization();
    stock(&org);
    for (name, acts, expected, shown) in ways {
        if name.starts_with("a break") {
            upstream.go_on();
        }
        fails(&org, &upstream, name, acts, expected, shown);
    }
    let log = server.log();
    assert!(log.contains("the model did not answer") && log.contains("model_rate_limited"), "{log}");
    assert!(!log.contains("canary") && !log.contains("You get"), "{log}");
    let memory = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap();
    assert!(peak < 300 << 10, "{peak} KiB");
}

fn chunk_bytes(text: &str) -> Vec<u8> {
    match chunk(text) {
        Act::Send(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_without_end_is_cut_where_answers_are() {
    let text = delta(&"é".repeat(1000));
    let upstream =
        Upstream::that(vec![stream_head(), chunk(delta("One [1].")), Act::Flood(chunk_bytes(&text))]);
    let (_server, org) = shop(&upstream, "openai");
    let answer = ask(&org, QUESTION);
    assert_eq!(
        (&answer["turn"]["status"], &answer["turn"]["outcome"]),
        (&json!("completed"), &json!("answered"))
    );
    assert_eq!((content(&answer).len(), &answer["turn"]["model"]), (64 * 1024, &json!("test-model")));
    eventually("the connection is closed", || (upstream.hung_up() == 1).then_some(()));
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Upstream::that(says(&["Gotcha."]));
    let location = format!("Location: {}/chat/completions", elsewhere.url());
    let upstream = Upstream::that(Vec::new());
    let server = server_with(&upstream, "openai", &[]);
    let org = server.organization();
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        fails(&org, &upstream, status, answers(status, &[&location], ""), "model_refused", "");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_model_that_is_not_there_says_so() {
    // Bound and not listening any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{gone}/v1");
    let settings =
        [("model.providers", "openai"), ("model.openai.base_url", url.as_str()), ("model.openai.model", "m")];
    let server = Server::with(&settings);
    let org = server.organization();
    assert_eq!(code(&ask(&org, QUESTION)), "model_unreachable");
    let settings = [
        ("model.providers", "openai"),
        ("model.openai.base_url", "http://nowhere.invalid/v1"),
        ("model.openai.model", "m"),
    ];
    let server = Server::with(&settings);
    assert_eq!(code(&ask(&server.organization(), QUESTION)), "model_unreachable");
}

/// Nothing here ever answers, so a short deadline is no race.
#[test]
fn a_hang_before_the_first_text_ends_at_its_deadline() {
    let half = delta("You get");
    let half = &half[..half.len() / 2];
    let ways: Vec<(&str, Vec<Act>)> = vec![
        ("the request", vec![Act::Hang]),
        ("the status line", vec![Act::Send(b"HTTP/1.1 200".to_vec()), Act::Hang]),
        ("half a head", vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event".to_vec()), Act::Hang]),
        ("the head", vec![stream_head(), Act::Hang]),
        ("half an event", vec![stream_head(), chunk(half), Act::Hang]),
        ("an empty piece", vec![stream_head(), chunk(delta("")), Act::Hang]),
        ("what may become a mark", vec![stream_head(), chunk(delta("[1")), Act::Hang]),
        (
            "half a completion",
            vec![head("200 OK", &["Content-Length: 500"]), Act::Send(b"{\"choices\":[".to_vec()), Act::Hang],
        ),
        (
            "dripping headers",
            vec![Act::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Act::Drip(b"X-A: b\r\n".to_vec())],
        ),
        ("dripping comments", vec![stream_head(), Act::Drip(chunk_bytes(": working\n\n"))]),
        ("dripping empty pieces", vec![stream_head(), Act::Drip(chunk_bytes(&delta("")))]),
    ];
    for group in ways.chunks(4) {
        let upstream = Upstream::that(Vec::new());
        let server = server_with(&upstream, "openai", &[("model.openai.first_token_timeout_ms", "300")]);
        let (org, mut closed) = (server.organization(), 0);
        for (name, acts) in group {
            upstream.now(acts.clone());
            assert_eq!(code(&ask(&org, QUESTION)), "model_timeout", "after {name}");
            closed += 1;
            eventually("the connection is closed", || (upstream.hung_up() == closed).then_some(()));
        }
    }
}

#[test]
fn a_hang_after_the_first_text_ends_at_its_deadline() {
    let said = [stream_head(), chunk(delta("You get"))];
    let then = |act: Act| [&said[..], &[act]].concat();
    for (setting, ways) in [
        (
            "model.openai.between_tokens_timeout_ms",
            vec![
                ("silence", then(Act::Hang)),
                ("comments", then(Act::Drip(chunk_bytes(": working\n\n")))),
                ("empty pieces", then(Act::Drip(chunk_bytes(&delta(""))))),
            ],
        ),
        ("model.openai.total_timeout_ms", vec![("text", then(Act::Drip(chunk_bytes(&delta(" a")))))]),
    ] {
        let upstream = Upstream::that(Vec::new());
        let server = server_with(&upstream, "openai", &[(setting, "500")]);
        let org = server.organization();
        for (name, acts) in ways {
            upstream.now(acts);
            let answer = ask(&org, QUESTION);
            assert_eq!(code(&answer), "model_timeout", "{name}");
            assert!(content(&answer).starts_with("You get"), "{name}: {}", answer.text());
        }
    }
}

#[test]
fn an_upstream_may_hang_after_any_byte() {
    let whole = format!("{}{}{DONE}", delta("Hi."), delta(" [1]"));
    let said = delta("Hi.").len();
    let settings =
        [("model.openai.first_token_timeout_ms", "250"), ("model.openai.between_tokens_timeout_ms", "250")];
    let bytes: Vec<usize> = (0..whole.len()).step_by(crate::harness::times(23, 1)).collect();
    for group in bytes.chunks(4) {
        let upstream = Upstream::that(Vec::new());
        let server = server_with(&upstream, "openai", &settings);
        let org = server.organization();
        for &cut in group {
            let first =
                if cut == 0 { vec![stream_head()] } else { vec![stream_head(), chunk(&whole[..cut])] };
            upstream.now([&first[..], &[Act::Hang]].concat());
            let answer = ask(&org, QUESTION);
            assert_eq!(code(&answer), "model_timeout", "after byte {cut}");
            // An event counts once its blank line has come.
            assert_eq!(content(&answer), if cut >= said { "Hi." } else { "" }, "after byte {cut}");
        }
    }
}
