//! `openclaw-server bench`: it measures what it says, and a server that lies does not pass.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{Output, Program, Server, is_postgres, new_place};

pub(crate) fn bench(arguments: &[&str]) -> Output {
    Program::start(&[&["bench"], arguments].concat(), &[]).ended()
}

/// Of a private server on the database that the run is about.
pub(crate) fn bench_in_private(arguments: &[&str]) -> Output {
    let place = new_place();
    match place.database_url() {
        Some(url) => bench(&[arguments, &["--database-url", &url]].concat()),
        None => bench(arguments),
    }
}

/// An answer at once, a few times: what is measured is of no interest, only how it is told.
pub(crate) const QUICK: [&str; 9] =
    ["--requests", "12", "--concurrency", "3", "--tokens-per-second", "0", "--first-token-ms", "0", "--json"];

pub(crate) fn report(output: &Output) -> Value {
    serde_json::from_str(&output.out).unwrap_or_else(|_| panic!("{output:?}"))
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

#[track_caller]
pub(crate) fn is_spread(value: &Value) {
    let points: Vec<f64> =
        ["p50", "p90", "p95", "p99", "p999", "max"].iter().map(|name| number(&value[name])).collect();
    assert!(points.is_sorted() && points[0] > 0.0, "{value}");
    assert!(number(&value["mean"]) <= number(&value["max"]), "{value}");
}

#[test]
fn a_report_has_its_promised_shape_and_adds_up() {
    let output = bench_in_private(&QUICK);
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    assert_eq!(report["scenario"], "stream");
    for (name, expected) in [("requests", 12), ("completed", 12), ("errors", 0), ("wrong", 0)] {
        assert_eq!(report[name], expected, "{name}: {report}");
    }
    ["first_token_ms", "between_tokens_ms", "completion_ms"].iter().for_each(|name| is_spread(&report[name]));
    let (answers, words) = (number(&report["requests_per_second"]), number(&report["tokens_per_second"]));
    assert!(answers > 0.0 && (words / answers - 50.0).abs() < 1.0, "50 words each: {report}");
    for name in ["cpu_seconds", "rss_mib", "peak_rss_mib", "ready_ms", "idle_rss_mib"] {
        assert!(number(&report["server"][name]) >= 0.0, "{name}: {report}");
    }
    assert!(number(&report["server"]["rss_mib"]) > 1.0);
    assert!(report["server"]["cpu_seconds_by_threads"]["http-worker"].is_number(), "{report}");
    assert!(report["server"]["cpu_seconds_by_threads"]["writer"].is_number(), "{report}");
    assert!(report["bare"].is_null() && report["ratio"].is_null());
}

#[test]
fn a_baseline_is_measured_in_the_same_run() {
    let output = bench(&[&QUICK[..], &["--against-bare"]].concat());
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    assert_eq!(report["bare"]["completed"], 12, "{report}");
    assert!(number(&report["bare"]["requests_per_second"]) > 0.0);
    is_spread(&report["bare"]["first_token_ms"]);
    let ratio = number(&report["first_token_ms"]["p99"]) / number(&report["bare"]["first_token_ms"]["p99"]);
    assert!((number(&report["ratio"]["first_token_p99"]) - ratio).abs() < 0.001, "{report}");
    assert!(report["ratio"].get("cpu").is_some(), "{report}");
}

#[test]
fn requests_come_when_they_are_due() {
    let output =
        bench(&["--rate", "200", "--requests", "20", "--tokens", "1", "--first-token-ms", "0", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    assert_eq!((&report["completed"], &report["rate"]), (&json!(20), &json!(200.0)), "{report}");
    // The last is due 95 ms after the first, however fast the server is.
    assert!(number(&report["seconds"]) >= 0.095, "{report}");
}

#[test]
fn long_conversations_are_gone_on_with() {
    let output = bench(&[&QUICK[..], &["--scenario", "long"]].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(report(&output)["completed"], 12);
}

#[test]
fn streams_that_are_cut_are_resumed() {
    // Long enough that most are cut somewhere.
    let output = bench_in_private(&[
        "--scenario",
        "resume",
        "--requests",
        "12",
        "--concurrency",
        "3",
        "--tokens-per-second",
        "500",
        "--json",
    ]);
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    assert_eq!(report["completed"], 12, "{report}");
    assert!(number(&report["resumes"]) >= 6.0, "{report}");
    is_spread(&report["resumed_ms"]);
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let output = bench_in_private(&[
        "--scenario",
        "restart",
        "--requests",
        "40",
        "--concurrency",
        "4",
        "--tokens",
        "20",
        "--json",
    ]);
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    for (name, expected) in [("requests", 40), ("completed", 40), ("errors", 0), ("wrong", 0)] {
        assert_eq!(report[name], expected, "{name}: {report}");
    }
    assert!(!report["away_ms"].as_array().unwrap().is_empty(), "it was killed: {report}");
    assert!(number(&report["resumes"]) > 0.0, "{report}");
}

#[test]
fn idle_streams_come_back_from_a_restart() {
    let output = bench_in_private(&[
        "--scenario",
        "idle",
        "--concurrency",
        "70",
        "--duration",
        "0.2",
        "--tokens-per-second",
        "0",
        "--json",
    ]);
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    let idle = &report["idle"];
    assert_eq!((&idle["streams"], &idle["restart"]["answered"]), (&json!(70), &json!(70)), "{report}");
    assert!(number(&idle["rss_mib"]) > 1.0 && idle["kib_per_stream"].is_number(), "{report}");
    is_spread(&idle["healthz_ms"]);
    let restart = &idle["restart"];
    assert!(number(&restart["all_back_ms"]) >= number(&restart["stop_ms"]), "{report}");
}

#[test]
fn accepts_are_measured_beside_bare_commits() {
    let quick = ["--scenario", "accept", "--requests", "30", "--concurrency", "3", "--json"];
    let output = bench(&[&quick[..], &["--against-bare"]].concat());
    assert!(output.status.success(), "{output:?}");
    let measured = report(&output);
    assert_eq!(
        (&measured["completed"], &measured["bare"]["completed"]),
        (&json!(30), &json!(30)),
        "{measured}"
    );
    assert!(number(&measured["ratio"]["requests_per_second"]) > 0.0, "{measured}");
    assert!(measured["first_token_ms"].is_null() && !measured["completion_ms"].is_null(), "{measured}");
    if is_postgres() {
        let output = bench_in_private(&quick);
        assert_eq!(report(&output)["completed"], 30, "{output:?}");
    }
}

#[test]
fn others_are_served_beside_slow_readers() {
    let output = bench_in_private(&[&QUICK[..], &["--scenario", "slow-readers"]].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(report(&output)["completed"], 12);
}

#[test]
fn a_store_can_be_filled_and_conversations_made_live_first() {
    let output = bench_in_private(
        &[&QUICK[..], &["--conversations", "300", "--live", "40", "--rate-limited"]].concat(),
    );
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    let made = (&report["stored_conversations"], &report["live_conversations"], &report["completed"]);
    assert_eq!(made, (&json!(300), &json!(40), &json!(12)), "{report}");
}

#[test]
fn another_server_is_measured_with_its_own_model() {
    let server = Server::with(&[("model.synthetic.tokens", "7"), ("model.synthetic.per_request", "false")]);
    let org = server.organization();
    let url = format!("http://{}", server.address());
    let there = ["--url", &url, "--key", &org.primary_key, "--requests", "3", "--concurrency", "1", "--json"];
    let output = bench(&there);
    assert!(output.status.success(), "{output:?}");
    let measured = report(&output);
    assert_eq!((&measured["completed"], &measured["server"]), (&json!(3), &Value::Null), "{measured}");
    assert!(
        (number(&measured["tokens_per_second"]) / number(&measured["requests_per_second"]) - 7.0).abs() < 1.0
    );

    let refused = bench(&[&there[..], &["--tokens", "5"]].concat());
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.err.contains("403"), "the server does not let a request choose: {refused:?}");
    let refused = bench(&["--url", &url, "--key", "oc_live_none", "--requests", "1"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.err.contains("401 invalid_key"), "{refused:?}");
}

#[test]
fn what_makes_no_sense_is_told_before_anything_is_started() {
    for (arguments, told) in [
        (&["--key", "x"][..], "--url"),
        (&["--url", "http://127.0.0.1:1"], "--key"),
        (&["--url", "ftp://x", "--key", "x"], "it must look like"),
        (&["--scenario", "storm"], "accept, idle, webhooks, knowledge"),
        (&["--rate", "0"], "more than 0"),
        (&["--rate", "5", "--concurrency", "5"], "cannot be used with"),
        (&["--concurrency", "0"], "1.."),
        (&["--duration", "0"], "from 0.1"),
        (&["--duration", "1", "--requests", "1"], "cannot be used with"),
        (&["--url", "http://127.0.0.1:1", "--key", "x", "--against-bare"], "cannot be used with"),
        (&["--ramp-growth", "2"], "--ramp"),
        (&["--ramp", "--concurrency", "3"], "cannot be used with"),
        (&["--ramp", "--ramp-growth", "1"], "from 1.05"),
        (&["--protocol", "smtp"], "sse, websocket, openai"),
        (&["--articles", "x", "--base", "3"], "cannot be used with"),
        (&["--ca-file", "x"], "--url"),
        (&["compare", "a.json"], "B.json"),
    ] {
        let output = bench(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.err.contains(told), "{arguments:?}: {output:?}");
    }
    for (arguments, told) in [
        (&["--url", "http://127.0.0.1:1", "--key", "x", "--scenario", "restart"][..], "needs a private one"),
        (&["--url", "http://127.0.0.1:1", "--key", "x", "--scenario", "webhooks"], "receivers of its own"),
        (&["--scenario", "webhooks", "--requests", "5"], "use --duration"),
        (&["--scenario", "long", "--against-bare"], "compares streams and accepts"),
        (&["--scenario", "idle", "--ramp"], "a ramp is for single requests"),
        (&["--scenario", "resume", "--protocol", "websocket"], "--protocol is for streams"),
        (&["--protocol", "openai", "--against-bare"], "streams Server-Sent Events"),
        (&["--ramp", "--against-bare"], "has no baseline"),
        (&["--ramp", "--requests", "5"], "use --duration"),
        (
            &["--url", "http://127.0.0.1:1", "--key", "x", "--protocol", "openai", "--tokens", "5"],
            "has no fields for",
        ),
        (&["--url", "https://127.0.0.1:1", "--key", "x", "--scenario", "slow-readers"], "without TLS"),
        (&["--html", "/nowhere/at/all.html"], "/nowhere/at/all.html: cannot be written"),
        (&["--html", "/"], "it is a folder"),
        (&["--scenario", "knowledge", "--articles", "/nowhere.ndjson"], "/nowhere.ndjson"),
        (&["--scenario", "idle", "--rate", "5"], "use --concurrency"),
        (&["--scenario", "idle", "--rate-limited"], "has a limit of its own"),
        (&["--scenario", "accept", "--against-bare", "--database-url", "postgres://x"], "is on SQLite"),
    ] {
        let output = bench(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(output.err.contains(told), "{arguments:?}: {output:?}");
    }
    let nobody = bench(&["--url", "http://127.0.0.1:1", "--key", "x"]);
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    assert!(nobody.err.contains("127.0.0.1:1") && nobody.err.contains("cannot connect"), "{nobody:?}");
}

#[test]
fn nothing_stays_behind_when_it_is_interrupted() {
    let temporary = tempfile::tempdir().unwrap();
    let place = temporary.path().to_str().unwrap();
    let program = Program::start(&["bench", "--duration", "3600"], &[("TMPDIR", place)]);
    crate::harness::eventually("the private server logs", || {
        let directory = std::fs::read_dir(place).unwrap().flatten().next()?;
        std::fs::read_to_string(directory.path().join("log")).ok()?.contains("listens").then_some(())
    });
    program.signal("INT");
    let ended = program.ended();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert_eq!(std::fs::read_dir(place).unwrap().count(), 0);
}

const WORDS: [&str; 3] = ["The", " parcel", " is"];

/// The events of an answer, as `(kind, id, data)`.
pub(crate) type Events = Vec<(String, String, Value)>;

/// Those of an honest one.
pub(crate) fn honest() -> Events {
    let mut events = Vec::new();
    let mut durable = |sequence: i64, offset: usize, kind: &str, data: Value| {
        let id = if offset == 0 { sequence.to_string() } else { format!("{sequence}.{offset}") };
        let data = json!({ "id": "evt_1", "type": kind, "timestamp": "2026-11-24T00:00:00.000Z",
            "organization_id": "org_1", "conversation_id": "conv_1", "sequence": sequence, "data": data });
        events.push((kind.to_owned(), id, data));
    };
    let turn = json!({ "turn": { "id": "turn_1", "attempt": 1 } });
    let text: String = WORDS.concat();
    durable(1, 0, "conversation.started", json!({ "conversation": {} }));
    durable(2, 0, "message.received", json!({ "message": { "content": "?", "turn_id": "turn_1" } }));
    durable(3, 0, "turn.started", turn.clone());
    durable(4, text.len(), "message.sent", json!({ "message": { "content": text, "turn_id": "turn_1" } }));
    durable(5, 0, "turn.completed", turn);
    let mut offset = 0;
    for (number, word) in WORDS.iter().enumerate() {
        let data = json!({ "type": "turn.delta", "conversation_id": "conv_1", "turn_id": "turn_1", "attempt": 1,
            "offset": offset, "text": word });
        offset += word.len();
        events.insert(3 + number, ("turn.delta".to_owned(), format!("3.{offset}"), data));
    }
    events
}

/// A server that gives everybody that answer, one after the other, after so long a wait.
pub(crate) fn server_that_says(events: &Events, wait: Duration) -> SocketAddr {
    let blocks: Vec<String> =
        events.iter().map(|(kind, id, data)| format!("event: {kind}\nid: {id}\ndata: {data}\n\n")).collect();
    let body = blocks.concat();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            answer_one(socket, &answer, wait);
        }
    });
    address
}

fn answer_one(mut socket: TcpStream, answer: &str, wait: Duration) {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    // The body is JSON, and the last thing in it closes it.
    while !request.ends_with(b"}") {
        match socket.read(&mut piece) {
            Ok(read @ 1..) => request.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
    // Being slow is what it is for.
    thread::park_timeout(wait);
    // Whoever asked may have heard enough.
    let _ = socket.write_all(answer.as_bytes());
}

/// A lie in words, how it is told, and what it is found out by.
type Lie = (&'static str, fn(&mut Events), &'static str);

const LIES: [Lie; 9] = [
    ("a delta is left out", |events| drop(events.remove(4)), "came where"),
    ("a delta comes twice", |events| events.insert(4, events[3].clone()), "came where"),
    (
        "a delta says other words",
        |events| events[4].2["text"] = json!(" packet"),
        "is not what its deltas join to",
    ),
    ("a number is left out", |events| events[7].2["sequence"] = json!(6), "has sequence 6"),
    ("an event is left out", |events| drop(events.remove(1)), "has sequence 3"),
    ("it ends twice", |events| events.push(events[7].clone()), "came after the end"),
    ("it does not end", |events| drop(events.pop()), "ended before the answer did"),
    ("a position goes back", |events| events[4].1 = "3.1".to_owned(), "the event's id is"),
    ("it speaks of another turn", |events| events[4].2["turn_id"] = json!("turn_2"), "outside its turn"),
];

#[test]
fn deliveries_are_measured_by_receivers_that_check_every_signature_and_miss_none() {
    let quick = ["--scenario", "webhooks", "--backlog", "320", "--duration", "0.5", "--rate", "20", "--json"];
    let output = bench_in_private(&[&quick[..], &["--against-bare"]].concat());
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    assert_eq!((&report["wrong"], &report["errors"]), (&json!(0), &json!(0)), "{report}");
    let told = &report["webhooks"];
    assert_eq!((&told["backlog"]["deliveries"], &told["backlog"]["endpoints"]), (&json!(320), &json!(16)));
    for part in ["backlog", "end_to_end"] {
        for name in ["per_second", "rss_mib", "peak_rss_mib"] {
            assert!(number(&told[part][name]) > 0.0, "{part} {name}: {report}");
        }
        // The kernel counts CPU in ticks of ten milliseconds, and so few deliveries may take less than one.
        assert!(number(&told[part]["cpu_ms_each"]) >= 0.0, "{part}: {report}");
    }
    for part in ["alone", "beside"] {
        assert!(number(&told[part]["events"]) > 0.0, "{report}");
        is_spread(&told[part]["request_to_receipt_ms"]);
    }
    let ratio = number(&told["beside"]["request_to_receipt_ms"]["p99"])
        / number(&told["alone"]["request_to_receipt_ms"]["p99"]);
    assert!((number(&told["beside_over_alone_p99"]) - ratio).abs() < 0.001, "{report}");
    assert!(number(&told["hung"]) > 0.0 && number(&told["failed"]) > 0.0, "they were at it: {report}");
    assert_eq!((&told["repeated"], &told["bare"]["deliveries"]), (&json!(0), &json!(320)));
    assert!(number(&told["per_second_over_bare"]) > 0.0, "{report}");
    // Nothing is so many times nothing.
    let measured = number(&told["bare"]["cpu_ms_each"]) > 0.0;
    assert_eq!(told["cpu_over_bare"].is_number(), measured, "{report}");
}

#[test]
fn a_queue_at_a_slow_server_shows_in_the_open_loop() {
    let wait = Duration::from_millis(60);
    let url = format!("http://{}", server_that_says(&honest(), wait));
    let there = ["--url", &url, "--key", "x", "--requests", "8", "--json"];
    let slowest = |pace: [&str; 2]| {
        let output = bench(&[&there[..], &pace].concat());
        assert!(output.status.success(), "{output:?}");
        number(&report(&output)["completion_ms"]["max"])
    };
    // Due every 10 ms and answered every 60, the last of eight waits for those before it.
    assert!(slowest(["--rate", "100"]) >= 300.0);
    // A client that asks again when it was answered never finds a queue.
    assert!(slowest(["--concurrency", "1"]) >= 50.0);
}

#[test]
fn a_server_that_lies_is_found_out() {
    let measure = |events: &Events| {
        let url = format!("http://{}", server_that_says(events, Duration::ZERO));
        bench(&["--url", &url, "--key", "x", "--requests", "2", "--concurrency", "1", "--json"])
    };
    let output = measure(&honest());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(report(&output)["completed"], 2, "{output:?}");

    for (lie, tell, found) in LIES {
        let mut events = honest();
        tell(&mut events);
        let output = measure(&events);
        assert_eq!(output.status.code(), Some(1), "{lie}: {output:?}");
        let report = report(&output);
        assert_eq!(report["completed"], 0, "{lie}: {report}");
        assert!(number(&report["wrong"]) >= 2.0 && report["requests"] == report["wrong"], "{lie}: {report}");
        assert!(report["faults"][0].as_str().unwrap().contains(found), "{lie}: {report}");
    }
}
