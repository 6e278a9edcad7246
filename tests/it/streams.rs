//! Streams: what they show, where they resume, how they end.

use serde_json::{Value, json};

use crate::{
    harness::{EventStream, Server, eventually},
    talk::{Heard, Talk, endless, silent, words},
};

fn resumed(talk: &Talk, path: &str, cursor: &str) -> EventStream {
    talk.request("GET", path).header("Last-Event-ID", cursor).stream()
}

/// An answer that is over: its turn, the sequence of its `turn.started`, and its text.
fn answered(talk: &Talk, tokens: u32) -> (String, i64, String) {
    let sent = talk.send(json!({"content": "hi", "synthetic": words(tokens)})).status(200);
    let turn = sent["turn"]["id"].as_str().unwrap().to_owned();
    let started =
        talk.events().iter().rev().find(|event| event["type"] == "turn.started").unwrap()["sequence"]
            .as_i64()
            .unwrap();
    (turn, started, sent["reply"]["content"].as_str().unwrap().to_owned())
}

#[test]
fn a_streamed_message_shows_its_turn_in_order_and_ends() {
    let server = Server::start();
    let org = server.organization();
    let body = json!({"message": {"content": "hi", "synthetic": words(40)}, "stream": true});
    let mut stream = org.request("POST", "/v1/conversations").json(&body).stream();
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("cache-control"), Some("no-store"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    let location = stream.header("content-location").unwrap().to_owned();
    let first = stream.expect();
    assert!(stream.comments() >= 1, "headers wait for nothing");
    assert!((1_000..=3_000).contains(&first.retry.unwrap()));
    let mut heard = Heard::default();
    heard.add(&first);
    for event in stream.by_ref() {
        assert_eq!(event.retry, None);
        heard.add(&event);
    }
    assert_eq!(
        heard.kinds(),
        ["conversation.started", "message.received", "turn.started", "message.sent", "turn.completed"]
    );
    let turn = heard.durable[2]["data"]["turn"]["id"].as_str().unwrap();
    let talk =
        Talk { client: (*org).clone(), id: heard.durable[0]["conversation_id"].as_str().unwrap().to_owned() };
    assert_eq!(location, talk.path(&format!("/turns/{turn}")));
    assert_eq!(heard.text, heard.durable[3]["data"]["message"]["content"].as_str().unwrap());
    assert_eq!(heard.durable, talk.events(), "one object, on streams and in lists");
}

#[test]
fn accepting_events_is_asking_for_a_stream_unless_the_body_says() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let ask =
        |body: Value| talk.request("POST", "/messages").header("Accept", "text/event-stream").json(&body);
    assert_eq!(ask(json!({"content": "hi"})).stream().last().unwrap().kind, "turn.completed");
    assert_eq!(
        ask(json!({"content": "hi", "stream": false})).send().status(200)["turn"]["status"],
        "completed"
    );
}

#[test]
fn an_answer_resumes_at_every_byte_of_it() {
    let server = Server::start();
    let org = server.organization();
    // As many streams as there are bytes are more than a key may open in a minute.
    let talk = Talk::start(&org.unlimited(&server));
    let (turn, started, text) = answered(&talk, 24);
    assert!(!text.is_ascii(), "there must be characters to cut: {text}");
    for path in [format!("/turns/{turn}/stream"), "/stream".to_owned()] {
        for offset in 0..=text.len() {
            let cursor = if offset == 0 { started.to_string() } else { format!("{started}.{offset}") };
            let mut stream = resumed(&talk, &path, &cursor);
            let heard = Heard::until(&mut stream, "turn.completed");
            // Inside a character, from before it.
            let from = text.floor_char_boundary(offset);
            let told: &[&str] = if from == offset { &[] } else { &["stream.gap"] };
            assert_eq!(heard.others, told, "{cursor}");
            assert_eq!(heard.text.trim_start_matches(' '), text[from..].trim_start_matches(' '), "{cursor}");
            assert_eq!(heard.text.len(), if from == text.len() { 0 } else { text.len() }, "{cursor}");
            assert_eq!(heard.kinds(), ["message.sent", "turn.completed"], "{cursor}");
        }
    }
}

#[test]
fn an_answer_resumes_in_the_middle_while_it_goes_on() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org.unlimited(&server));
    let mut whole = talk.streamed(json!({"content": "hi", "synthetic": endless()}));
    let started = whole.until("turn.started");
    let turn = started.data["data"]["turn"]["id"].as_str().unwrap().to_owned();
    let mut text = String::new();
    while text.len() < 20 {
        text.push_str(whole.until("turn.delta").data["text"].as_str().unwrap());
    }
    let path = format!("/turns/{turn}/stream");
    let mut readers: Vec<_> = (0..=text.len())
        .filter(|offset| text.is_char_boundary(*offset))
        .map(|offset| {
            let started = started.id.as_deref().unwrap();
            let cursor = if offset == 0 { started.to_owned() } else { format!("{started}.{offset}") };
            let mut reader = resumed(&talk, &path, &cursor);
            let mut heard = Heard::default();
            heard.add(&reader.until("turn.delta"));
            (offset, reader, heard)
        })
        .collect();
    talk.post("/stop", json!({})).status(200);
    let content = talk.messages().last().unwrap()["content"].as_str().unwrap().to_owned();
    for (offset, reader, heard) in &mut readers {
        for event in reader.by_ref() {
            heard.add(&event);
        }
        assert_eq!(heard.text.get(*offset..), content.get(*offset..), "from {offset}");
        assert_eq!(heard.kinds(), ["message.sent", "turn.stopped"]);
    }
}

#[test]
fn a_position_that_cannot_be_served_is_told_and_the_stream_goes_on() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let (turn, started, text) = answered(&talk, 8);

    let beyond = format!("{started}.{}", text.len() + 1);
    let mut stream = resumed(&talk, &format!("/turns/{turn}/stream"), &beyond);
    let gap = stream.expect();
    assert_eq!(gap.kind, "stream.gap");
    let nearest = format!("{started}.{}", text.len());
    assert_eq!((&gap.data["requested"], &gap.data["from"]), (&json!(beyond), &json!(nearest)));
    assert_eq!(Heard::all(&mut stream).text, "");

    // An answer without a word has nothing to be in the middle of.
    let turn = talk.hold(silent());
    let mut stream = talk.request("GET", &format!("/turns/{turn}/stream")).stream();
    let started = stream.until("turn.started").id.clone().unwrap();
    talk.post("/stop", json!({})).status(200);
    for path in [format!("/turns/{turn}/stream"), "/stream".to_owned()] {
        let beyond = format!("{started}.5");
        let mut stream = resumed(&talk, &path, &beyond);
        let gap = stream.expect();
        assert_eq!(gap.kind, "stream.gap");
        assert_eq!((&gap.data["requested"], &gap.data["from"]), (&json!(beyond), &json!(started)));
        assert_eq!(stream.expect().kind, "turn.stopped");
    }
    let head = talk.conversation()["sequence"].as_i64().unwrap();

    let mut stream = resumed(&talk, "/stream", &format!("{}", head + 100));
    let gap = stream.expect();
    assert_eq!((gap.kind.as_str(), &gap.data["from"]), ("stream.gap", &json!(head.to_string())));
    talk.send(json!({"content": "next"})).status(200);
    assert_eq!(stream.expect().data["sequence"], json!(head + 1));

    for malformed in ["x", "-1", "1.", "1.2.3", "01", "99999999999999999999", " 1"] {
        let asked = talk.request("GET", "/stream").header("Last-Event-ID", malformed);
        if malformed.trim() == malformed {
            asked.send().refused(400, "invalid_cursor").naming("last-event-id");
        }
        let query = malformed.replace(' ', "%20");
        talk.get(&format!("/stream?after={query}")).refused(400, "invalid_cursor").naming("after");
        talk.get(&format!("/turns/{turn}/stream?after={query}")).refused(400, "invalid_cursor");
    }
    talk.get("/stream?before=1").refused(400, "unknown_field").naming("before");
}

#[test]
fn the_header_wins_over_the_parameter() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    answered(&talk, 3);
    let mut stream = resumed(&talk, "/stream?after=0", "4");
    assert_eq!(stream.expect().data["sequence"], 5);
    talk.request("GET", "/stream?after=x").header("Last-Event-ID", "4").stream();
}

#[test]
fn a_turns_stream_past_its_end_is_no_content() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let (turn, ..) = answered(&talk, 3);
    let path = format!("/turns/{turn}/stream");
    let mut stream = talk.client.stream(&talk.path(&path));
    let heard = Heard::all(&mut stream);
    assert_eq!(heard.kinds(), ["message.received", "turn.started", "message.sent", "turn.completed"]);
    let end = stream.last_id().unwrap().to_owned();
    talk.request("GET", &path).header("Last-Event-ID", &end).send().status(204);
    talk.get(&format!("{path}?after={end}")).status(204);
    // Further on in the conversation, too.
    answered(&talk, 3);
    talk.get(&format!("{path}?after={}", talk.conversation()["sequence"])).status(204);
}

#[test]
fn two_readers_see_the_same() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut conversation = talk.client.stream(&talk.path("/stream"));
    let way = json!({"first_token_ms": 0, "tokens_per_second": 400, "tokens": 100});
    let mut posted = talk.streamed(json!({"content": "hi", "synthetic": way}));
    let first = posted.expect();
    let turn = first.data["data"]["turn_id"].as_str().unwrap().to_owned();
    let mut joined = talk.client.stream(&talk.path(&format!("/turns/{turn}/stream")));

    let (mut one, other) = (Heard::default(), Heard::all(&mut joined));
    one.add(&first);
    for event in posted.by_ref() {
        one.add(&event);
    }
    let watched = Heard::until(&mut conversation, "turn.completed");
    assert_eq!(one, other);
    assert_eq!((one.durable, one.text), (watched.durable, watched.text));
    // A cursor of one is a cursor of the other.
    assert_eq!(posted.last_id(), conversation.last_id());
}

#[test]
fn a_conversations_stream_begins_with_the_running_turn_or_at_now() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    answered(&talk, 3);
    let mut idle = talk.client.stream(&talk.path("/stream"));
    let turn = talk.hold(endless());
    let begun = idle.expect();
    assert_eq!(begun.kind, "message.received", "what was before is not shown");

    idle.until("turn.delta");
    let mut running = talk.client.stream(&talk.path("/stream"));
    let begun = running.expect();
    assert_eq!((begun.kind.as_str(), &begun.data["data"]["turn"]["id"]), ("turn.started", &json!(turn)));
    assert_eq!(running.until("turn.delta").data["offset"], 0);

    let mut from_the_beginning = talk.client.stream(&talk.path("/stream?after=0"));
    talk.post("/stop", json!({})).status(200);
    let heard = Heard::until(&mut from_the_beginning, "turn.stopped");
    assert_eq!(heard.durable, talk.events());
    // Joining at what a GET said misses nothing and repeats nothing.
    let sequence = talk.conversation()["sequence"].as_i64().unwrap();
    let mut joined = talk.client.stream(&talk.path(&format!("/stream?after={sequence}")));
    talk.send(json!({"content": "next"})).status(200);
    assert_eq!(joined.expect().data["sequence"], json!(sequence + 1));
}

#[test]
fn what_happens_in_mid_answer_has_a_position_in_the_answer() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut stream = talk.client.stream(&talk.path("/stream"));
    let turn = talk.hold(endless());
    stream.until("turn.delta");
    talk.client.patch(&talk.path(""), json!({"topic": "x"})).status(200);
    let updated = stream.until("conversation.updated");
    let (sequence, offset) = updated.id.as_deref().unwrap().split_once('.').expect("in mid-answer");
    assert_eq!(sequence, updated.data["sequence"].to_string());
    // Resumed there, the answer goes on at that very byte.
    let mut resumed = resumed(&talk, "/stream", updated.id.as_deref().unwrap());
    assert_eq!(resumed.until("turn.delta").data["offset"].to_string(), offset);
    // On the turn's own stream the event is not shown, and a cursor from the conversation's works.
    let mut of_turn = self::resumed(&talk, &format!("/turns/{turn}/stream"), updated.id.as_deref().unwrap());
    assert_eq!(of_turn.expect().data["offset"].to_string(), offset);
}

#[test]
fn a_stop_of_the_server_says_goodbye_to_every_stream() {
    let mut server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut posted = talk.streamed(json!({"content": "hi", "synthetic": endless()}));
    posted.until("turn.delta");
    let mut watching = talk.client.stream(&talk.path("/stream"));
    watching.until("turn.delta");
    server.terminate();
    let mut last = None;
    for stream in [&mut posted, &mut watching] {
        let end = stream.until("stream.closing");
        assert_eq!((&end.data["reason"], end.id), (&json!("shutdown"), None));
        assert_eq!(stream.next(), None);
        last = stream.last_id().map(str::to_owned);
    }
    assert!(server.ended().success());

    // The turn goes on where the next server finds it, and so does its reader.
    server.start_again();
    let turn = talk.conversation()["active_turn_id"].as_str().unwrap().to_owned();
    let mut resumed = resumed(&talk, &format!("/turns/{turn}/stream"), &last.unwrap());
    let restarted = resumed.until("turn.restarted");
    assert_eq!(restarted.data["data"]["turn"]["attempt"], 2);
    talk.post("/stop", json!({})).status(200);
}

#[test]
fn a_turn_that_a_crash_cut_off_begins_again_on_a_resumed_stream() {
    let mut server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut stream = talk.streamed(json!({"content": "hi", "synthetic": endless()}));
    for _ in 0..3 {
        stream.until("turn.delta");
    }
    let turn = talk.conversation()["active_turn_id"].as_str().unwrap().to_owned();
    server.kill();
    while stream.next().is_some() {}
    let cursor = stream.last_id().unwrap().to_owned();

    server.start_again();
    let mut stream = resumed(&talk, &format!("/turns/{turn}/stream"), &cursor);
    let first = stream.expect();
    assert_eq!((first.kind.as_str(), &first.data["data"]["turn"]["attempt"]), ("turn.restarted", &json!(2)));
    let delta = stream.expect();
    assert_eq!((&delta.data["offset"], &delta.data["attempt"]), (&json!(0), &json!(2)));
    talk.post("/stop", json!({})).status(200);
    let mut heard = Heard::default();
    heard.add(&first);
    heard.add(&delta);
    for event in stream {
        heard.add(&event);
    }
    assert_eq!(heard.kinds(), ["turn.restarted", "message.sent", "turn.stopped"]);
    assert_eq!(talk.messages()[1]["content"], heard.text);
}

#[test]
fn a_turn_that_three_crashes_cut_off_has_failed() {
    let mut server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let turn = talk.hold(silent());
    let next = talk.send(json!({"content": "next", "wait_seconds": 0})).status(202);
    for attempt in 1..=3 {
        eventually("the attempt", || (talk.turn(&turn)["attempt"] == attempt).then_some(()));
        server.kill();
        server.start_again();
    }
    let failed = talk.ended(&turn);
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("internal")));
    assert_eq!(talk.ended(next["turn"]["id"].as_str().unwrap())["status"], "completed");
    let kinds = talk.kinds();
    assert_eq!(kinds.iter().filter(|kind| *kind == "turn.restarted").count(), 2);
    assert_eq!(kinds.iter().filter(|kind| *kind == "turn.failed").count(), 1);
}

#[test]
fn a_stream_of_a_revoked_key_ends() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let reader = org.restricted(&server, "conversations:read");
    let mut stream = reader.stream(&talk.path("/stream"));
    let mut other = talk.client.stream(&talk.path("/stream"));
    let keys = org.get("/v1/keys").status(200);
    let key = keys["data"].as_array().unwrap().iter().find(|key| key["kind"] == "restricted").unwrap();
    org.delete(&format!("/v1/keys/{}", key["id"].as_str().unwrap())).status(204);
    assert_eq!(stream.until("stream.closing").data["reason"], "revoked");
    assert_eq!(stream.next(), None);
    talk.send(json!({"content": "hi"})).status(200);
    other.until("turn.completed");
}

#[test]
fn a_stream_ends_when_its_key_loses_the_scope_for_it() {
    let server = Server::start();
    let org = server.organization();
    let both = json!({"scopes": ["conversations:read", "conversations:write"]});
    let made = org.post("/v1/keys", both.clone()).status(201);
    let key = format!("/v1/keys/{}", made["key"]["id"].as_str().unwrap());
    let client = server.client_with(made["secret"].as_str().unwrap());
    let talk = Talk { client, id: Talk::start(&org).id };
    let mut reading = talk.client.stream(&talk.path("/stream"));
    let mut writing = talk.streamed(json!({"content": "hi", "synthetic": endless()}));
    reading.until("turn.delta");

    org.patch(&key, json!({"scopes": ["conversations:write"]})).status(200);
    let closing = |stream: &mut EventStream| {
        let last =
            eventually("the end", || Some(stream.expect()).filter(|event| event.kind == "stream.closing"));
        assert_eq!((&last.data["reason"], stream.next()), (&json!("revoked"), None));
    };
    closing(&mut reading);
    writing.until("turn.delta");

    org.patch(&key, both).status(200);
    let mut again = talk.client.stream(&talk.path("/stream"));
    again.until("turn.delta");

    org.patch(&key, json!({"scopes": []})).status(200);
    closing(&mut again);
    closing(&mut writing);
}

#[test]
fn a_key_holds_only_so_many_streams() {
    let server = Server::with(&[("limits.streams_per_key", "2")]);
    let org = server.organization();
    let talk = Talk::start(&org);
    let one = talk.client.stream(&talk.path("/stream"));
    let _other = talk.client.stream(&talk.path("/stream"));
    talk.get("/stream").refused(429, "too_many_streams");
    let before = talk.events();
    talk.send(json!({"content": "hi", "stream": true})).refused(429, "too_many_streams");
    assert_eq!(talk.events(), before);
    talk.send(json!({"content": "hi"})).status(200);
    drop(one);
    eventually("room for another", || {
        let stream = talk.request("GET", "/stream").try_stream().unwrap();
        (stream.status() == 200).then_some(())
    });
}

#[test]
fn a_slow_reader_misses_nothing_and_holds_up_nobody() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    // Opened, and not read until much more was said than sockets hold.
    let mut slow = talk.client.stream(&talk.path("/stream?after=0"));
    let mut replies = Vec::new();
    for _ in 0..40 {
        let sent = talk.send(json!({"content": "hi", "synthetic": words(8_192)})).status(200);
        replies.push(sent["reply"]["content"].as_str().unwrap().to_owned());
    }
    let mut durable = Vec::new();
    for reply in &replies {
        let heard = Heard::until(&mut slow, "turn.completed");
        assert!(heard.others.is_empty() && heard.text == *reply, "{:?}", heard.kinds());
        durable.extend(heard.durable);
    }
    assert_eq!(durable, talk.events());
}

#[test]
fn the_waits_of_people_are_measured_by_model() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    Heard::all(&mut talk.streamed(json!({"content": "hi", "synthetic": words(3)})));
    talk.send(json!({"content": "hi"})).status(200);
    let turn = talk.hold(silent());
    talk.post(&format!("/turns/{turn}/stop"), json!({})).status(200);
    let metrics = server.client().get("/metrics").status(200).text();
    for line in [
        "openclaw_time_to_first_token_seconds_count{model=\"synthetic\"} 1",
        "openclaw_time_to_completion_seconds_count{model=\"synthetic\"} 2",
        "openclaw_turns_total{status=\"completed\"} 2",
        "openclaw_turns_total{status=\"stopped\"} 1",
        "openclaw_conversations_active 1",
        "openclaw_streams_active 0",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} in\n{metrics}");
    }
}
