//! A person takes over while the AI is speaking: not one byte of the AI follows, wherever one looks.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::{
    harness::{Client, EventStream, Server, times},
    talk::Talk,
    websocket::Socket,
};

/// Races at once: enough to keep the machine busy, so that accepts come at every moment of an answer.
const AT_ONCE: usize = 6;

/// What a person says once they have taken over: whatever came before it was sent before it.
const MARK: &str = "Ada here.";

#[test]
fn not_one_byte_of_the_ai_follows_an_accept_on_any_stream_or_in_history() {
    let races = times(48, 1_000);
    // A piece of text every millisecond for longer than any race.
    let server = Server::with(&[
        ("model.synthetic.tokens_per_second", "1000"),
        ("model.synthetic.tokens", "8192"),
        ("model.synthetic.per_request", "false"),
    ]);
    // More streams than a key may open in a minute.
    let org = server.organization().unlimited(&server);
    let (next, cut) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let race = next.fetch_add(1, Ordering::Relaxed);
                    if race >= races {
                        break;
                    }
                    cut.fetch_add(usize::from(run(&server, &org, race)), Ordering::Relaxed);
                }
            });
        }
    });
    let cut = cut.into_inner();
    println!("{cut} of {races} answers were cut off in the middle");
    assert!(cut > races / 2, "only {cut} of {races} races were any");
}

/// One race; says whether the answer was cut off.
fn run(server: &Server, org: &Client, race: usize) -> bool {
    let talk = Talk::start(org);
    let mut whole = talk.client.stream(&talk.path("/stream?after=0"));
    let mut socket = Socket::open(server, &talk, "?after=0");
    let asked = (race % 2 == 1).then(|| talk.post("/handover", json!({})).status(201));
    let message = talk.request("POST", "/messages").json(&json!({"content": "Tell me.", "stream": true}));
    let mut turn = message.stream();
    for _ in 0..race % 13 {
        turn.until("turn.delta");
    }
    let accept = json!({"agent": {"id": "ada", "name": "Ada"}});
    // Both ways to take over, one after the other.
    let accepted = match &asked {
        Some(asked) => {
            let path = format!("/v1/handovers/{}/accept", asked["id"].as_str().unwrap());
            org.post(&path, accept).status(200)
        }
        None => talk.post("/handover", json!({"accept": accept})).status(201),
    };
    assert_eq!(accepted["state"], "accepted");
    let heard = talk.post("/messages", json!({"content": "Hello?"})).status(200);
    assert_eq!(heard["turn"], Value::Null);
    talk.post("/messages", json!({"role": "agent", "content": MARK})).status(200);

    let reply = judged_turn(&mut turn, race);
    let frames = std::iter::from_fn(|| Some(whole.expect().data));
    let on_stream = judged(frames, &reply, race, "the stream");
    let frames = std::iter::from_fn(|| Some(serde_json::from_slice(&socket.hear().1).unwrap()));
    judged(frames, &reply, race, "the WebSocket");

    let history = talk.get("/messages?limit=100").status(200);
    let from_ai = history["data"].as_array().unwrap().iter().filter(|message| message["role"] == "assistant");
    let from_ai: Vec<_> = from_ai.collect();
    assert!(from_ai.len() <= 1, "race {race}: {from_ai:?}");
    for message in from_ai {
        assert!(message["sequence"].as_i64() < Some(on_stream), "race {race}: it stands before the accept");
        assert_eq!(message["content"], *reply, "race {race}: history has what was shown");
    }
    heard["turn"].is_null() && talk.get("").status(200)["active_turn_id"].is_null() && !reply.is_empty()
}

/// The turn's own stream: its text joins to the stored reply, and nothing follows its end. Gives the text.
fn judged_turn(turn: &mut EventStream, race: usize) -> String {
    let (mut text, mut stored, mut ended) = (String::new(), None, false);
    for event in turn {
        assert!(!ended, "race {race}: a turn's stream goes on after its end with {}", event.kind);
        match &*event.kind {
            // What was read before the accept is not here any more, so this begins where it begins.
            "turn.delta" => {
                assert!(stored.is_none(), "race {race}: text after the reply");
                text.push_str(event.data["text"].as_str().unwrap());
            }
            "message.sent" => {
                stored = event.data["data"]["message"]["content"].as_str().map(str::to_owned);
            }
            "turn.stopped" | "turn.completed" => ended = true,
            _ => {}
        }
    }
    assert!(ended, "race {race}: the turn's stream ends with its end");
    let stored = stored.unwrap_or_default();
    assert!(stored.ends_with(&text), "race {race}: what was shown last is the end of what is stored");
    stored
}

/// Everything up to the person's first words. Gives the sequence of the accept.
fn judged(frames: impl Iterator<Item = Value>, reply: &str, race: usize, place: &str) -> i64 {
    let (mut text, mut accepted) = (String::new(), None);
    for frame in frames {
        let message = &frame["data"]["message"];
        match frame["type"].as_str().unwrap() {
            "turn.delta" => {
                assert!(accepted.is_none(), "race {race}: text after the accept on {place}");
                text.push_str(frame["text"].as_str().unwrap());
            }
            "handover.accepted" => accepted = frame["sequence"].as_i64(),
            "message.sent" if message["role"] == "assistant" => {
                assert!(accepted.is_none(), "race {race}: a reply after the accept on {place}");
            }
            "message.sent" if message["content"] == MARK => break,
            _ => {}
        }
    }
    assert_eq!(text, reply, "race {race}: {place} shows what is stored");
    accepted.expect("it was accepted")
}
