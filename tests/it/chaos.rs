//! Promises that only bad luck can test: crashes under load and connections that break anywhere.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use serde_json::{Value, json};

use crate::harness::{Client, Ending, Event, EventStream, Organization, Server, eventually, times};

/// Clients at once.
const CLIENTS: usize = 32;

/// A key as load tests use it.
fn unlimited(server: &Server, organization: &Organization) -> Client {
    let scopes = "conversations:read,conversations:write";
    let arguments = [
        "keys",
        "create",
        "--org",
        &organization.id,
        "--scopes",
        scopes,
        "--rate-limit",
        "unlimited",
        "--json",
    ];
    let made = server.run(&arguments);
    assert!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_str(&made.out).unwrap();
    server.client_with(made["secret"].as_str().unwrap())
}

/// The same numbers on every machine (SplitMix64), from a seed that a failure prints.
struct Luck(u64);

impl Luck {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as usize % bound
    }
}

/// All events of a conversation, by its list.
fn events(client: &Client, conversation: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page =
            client.get(&format!("/v1/conversations/{conversation}/events?limit=100{cursor}")).status(200);
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// What a client was told is stored.
struct Acknowledged {
    conversation: String,
    message: String,
    content: String,
}

struct Load {
    stop: AtomicBool,
    acknowledged: Mutex<Vec<Acknowledged>>,
    told: mpsc::Sender<()>,
}

/// One client: a new conversation every few messages, each message sent again under its key until it is answered.
fn talk(client: &Client, name: usize, load: &Load) {
    let mut conversation = None;
    for number in 0.. {
        if load.stop.load(Ordering::Relaxed) {
            return;
        }
        if number % 5 == 0 {
            conversation = None;
        }
        let content = format!("client {name} says {number}");
        let (path, mut body) = match &conversation {
            None => ("/v1/conversations".to_owned(), json!({ "message": content })),
            Some(id) => (format!("/v1/conversations/{id}/messages"), json!({ "content": content })),
        };
        // Some wait for the answer, some only for the acknowledgement: then the next message finds a turn running.
        body["wait_seconds"] = json!(if number % 2 == 0 { 30 } else { 0 });
        if conversation.is_none() {
            body["message"] = json!({ "content": content, "wait_seconds": body["wait_seconds"] });
            body.as_object_mut().unwrap().remove("wait_seconds");
        }
        let request = client
            .request("POST", &path)
            .header("Idempotency-Key", &format!("key of client {name} number {number:06}").replace(' ', "-"))
            .json(&body);
        let reply = loop {
            match request.try_send() {
                Ok(reply) if matches!(reply.code(), 200..=202) => break reply,
                // Full, stopping or away: nothing was done.
                Ok(reply) if matches!(reply.code(), 409 | 503) => {}
                Ok(reply) => panic!("{}: {}", reply.code(), reply.text()),
                // The process died: what it did is not known.
                Err(_) => {}
            }
            if load.stop.load(Ordering::Relaxed) {
                return;
            }
            thread::park_timeout(std::time::Duration::from_millis(2));
        };
        let message = &reply["message"];
        let of = match &conversation {
            Some(known) => Value::String(String::clone(known)),
            None => reply["conversation"]["id"].clone(),
        };
        let of = of.as_str().unwrap().to_owned();
        conversation = Some(of.clone());
        assert_eq!(message["content"], *content, "the answer is to this message");
        load.acknowledged.lock().unwrap().push(Acknowledged {
            conversation: of,
            message: message["id"].as_str().unwrap().to_owned(),
            content,
        });
        // The test may be over.
        let _ = load.told.send(());
    }
}

#[test]
fn a_crash_under_load_loses_nothing_acknowledged_and_stores_nothing_twice() {
    let seed = 20_261_124;
    let mut luck = Luck(seed);
    let cycles = times(20, 200);
    let settings = [
        ("model.providers", "synthetic"),
        ("model.synthetic.first_token_ms", "0"),
        // Slow enough that a kill finds answers half given.
        ("model.synthetic.tokens_per_second", "400"),
        ("model.synthetic.tokens", "20"),
    ];
    let mut server = Server::with(&settings);
    let organization = server.organization();
    let client = unlimited(&server, &organization);
    let (told, heard) = mpsc::channel();
    let load = Arc::new(Load { stop: AtomicBool::new(false), acknowledged: Mutex::default(), told });
    let talkers: Vec<_> = (0..CLIENTS)
        .map(|name| {
            let (client, load) = (client.clone(), Arc::clone(&load));
            thread::spawn(move || talk(&client, name, &load))
        })
        .collect();
    for cycle in 0..cycles {
        // The kill comes after so many acknowledgements, wherever the others are then.
        for _ in 0..1 + luck.below(60) {
            heard
                .recv_timeout(crate::harness::PATIENCE)
                .unwrap_or_else(|_| panic!("cycle {cycle} of seed {seed}"));
        }
        server.crash();
    }
    load.stop.store(true, Ordering::Relaxed);
    for talker in talkers {
        talker.join().unwrap();
    }
    server.crash();
    let acknowledged = std::mem::take(&mut *load.acknowledged.lock().unwrap());
    let restarts = judge(&client, &acknowledged);
    println!(
        "{cycles} crashes, {} acknowledged messages, {restarts} answers begun again",
        acknowledged.len()
    );
    assert!(restarts > 0, "the crashes hit answers that were being given");
}

/// Nothing lost, nothing twice, no gap, one terminal event per turn. Gives the number of answers begun again.
fn judge(client: &Client, acknowledged: &[Acknowledged]) -> usize {
    let mut restarts = 0;
    let mut by_conversation: BTreeMap<&str, Vec<&Acknowledged>> = BTreeMap::new();
    for one in acknowledged {
        by_conversation.entry(&one.conversation).or_default().push(one);
    }
    for (conversation, acknowledged) in by_conversation {
        eventually("every turn ends after the last crash", || {
            let found = client.get(&format!("/v1/conversations/{conversation}")).status(200);
            found["active_turn_id"].is_null().then_some(())
        });
        let events = events(client, conversation);
        let sequences = events.iter().map(|event| event["sequence"].as_i64().unwrap());
        assert!(sequences.eq(1..=events.len() as i64), "{conversation}: a gap in {events:#?}");
        for one in acknowledged {
            let received = |event: &&Value| {
                event["type"] == "message.received" && event["data"]["message"]["content"] == *one.content
            };
            let stored: Vec<_> = events.iter().filter(received).collect();
            assert_eq!(stored.len(), 1, "{conversation}: {} is stored once", one.content);
            assert_eq!(stored[0]["data"]["message"]["id"], *one.message);
        }
        let mut terminal: HashMap<&str, usize> = HashMap::new();
        for event in &events {
            match event["type"].as_str().unwrap() {
                "message.received" => {
                    terminal.entry(event["data"]["turn_id"].as_str().unwrap()).or_default();
                }
                "turn.completed" | "turn.stopped" | "turn.failed" => {
                    *terminal.entry(event["data"]["turn"]["id"].as_str().unwrap()).or_default() += 1;
                }
                _ => {}
            }
        }
        assert!(terminal.values().all(|&count| count == 1), "{conversation}: {terminal:?}");
        restarts += events.iter().filter(|event| event["type"] == "turn.restarted").count();
    }
    restarts
}

/// What one reader of a turn has put together over all its connections.
#[derive(Default)]
struct Reading {
    text: String,
    durable: Vec<i64>,
    kinds: Vec<String>,
    last_id: Option<String>,
    turn: Option<String>,
    conversation: Option<String>,
    cuts: usize,
}

impl Reading {
    /// Takes what a connection gave before it broke; `true` once the terminal event was among it.
    fn take(&mut self, stream: EventStream) -> bool {
        let mut stream = stream;
        for event in stream.by_ref() {
            self.take_event(&event);
        }
        let over = self.kinds.last().is_some_and(|kind| kind == "turn.completed");
        assert!(
            over || stream.ending() != Some(Ending::Clean),
            "a whole answer ends after its terminal event"
        );
        over
    }

    fn take_event(&mut self, event: &Event) {
        assert_ne!(event.kind, "stream.gap", "{}", event.text);
        let Some(id) = &event.id else { return };
        self.last_id = Some(id.clone());
        if event.kind == "turn.delta" {
            assert_eq!(event.data["offset"], self.text.len(), "deltas meet exactly over a cut");
            self.text.push_str(event.data["text"].as_str().unwrap());
            return;
        }
        self.durable.push(event.data["sequence"].as_i64().unwrap());
        self.kinds.push(event.kind.clone());
        self.conversation = event.data["conversation_id"].as_str().map(str::to_owned);
        if event.kind == "turn.started" {
            self.turn = event.data["data"]["turn"]["id"].as_str().map(str::to_owned);
        }
    }
}

/// One conversation whose answer is read over connections that break after so many bytes.
fn read_over_broken_connections(client: &Client, index: usize, luck: &mut Luck) -> Reading {
    let body = json!({
        "message": format!("question {index}"),
        "stream": true,
    });
    let start = client
        .request("POST", "/v1/conversations")
        .header("Idempotency-Key", &format!("resumed-stream-{index:06}"))
        .json(&body);
    let mut reading = Reading::default();
    let mut asked_meanwhile = false;
    loop {
        // The first few connections break; a head alone is about 600 bytes.
        let bytes = if reading.cuts < 1 + index % 4 { 300 + luck.below(4_000) } else { usize::MAX };
        let request = match (&reading.conversation, &reading.turn, &reading.last_id) {
            (Some(conversation), Some(turn), Some(last)) => client
                .request("GET", &format!("/v1/conversations/{conversation}/turns/{turn}/stream"))
                .header("Last-Event-ID", last),
            // Cut before it knew where it was: the same request attaches to the same stream.
            (.., Some(last)) => start.clone().header("Last-Event-ID", last),
            _ => start.clone(),
        };
        let over = match request.stream_cut_after(bytes) {
            // At or past the end: that is what stops an EventSource.
            Ok(stream) if stream.status() == 204 => true,
            Ok(stream) => {
                assert_eq!(stream.status(), 200);
                reading.take(stream)
            }
            Err(_) => false,
        };
        if over {
            return reading;
        }
        reading.cuts += 1;
        if let (false, Some(conversation), true) =
            (asked_meanwhile, &reading.conversation, index.is_multiple_of(3))
        {
            asked_meanwhile = true;
            let message = json!({ "content": "and another thing", "wait_seconds": 0 });
            client.post(&format!("/v1/conversations/{conversation}/messages"), message).status(202);
        }
    }
}

#[test]
fn a_stream_cut_anywhere_and_resumed_joins_to_the_stored_answer_with_each_event_once() {
    const STREAMS: usize = 1_000;
    let server = Server::with(&[
        ("model.providers", "synthetic"),
        ("model.synthetic.first_token_ms", "1"),
        ("model.synthetic.tokens_per_second", "2000"),
        ("model.synthetic.tokens", "60"),
    ]);
    let organization = server.organization();
    let client = unlimited(&server, &organization);
    let next = Arc::new(AtomicUsize::new(0));
    let cuts = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..CLIENTS)
        .map(|reader| {
            let (client, next, cuts) = (client.clone(), Arc::clone(&next), Arc::clone(&cuts));
            thread::spawn(move || {
                let mut luck = Luck(reader as u64);
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= STREAMS {
                        return;
                    }
                    let reading = read_over_broken_connections(&client, index, &mut luck);
                    cuts.fetch_add(reading.cuts, Ordering::Relaxed);
                    compare(&client, &reading);
                }
            })
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
    let cuts = cuts.load(Ordering::Relaxed);
    println!("{STREAMS} streams, {cuts} cuts");
    assert!(cuts > STREAMS, "the streams were cut");
}

/// What was put together is what is stored.
fn compare(client: &Client, reading: &Reading) {
    let (conversation, turn) = (reading.conversation.as_ref().unwrap(), reading.turn.as_ref().unwrap());
    let turn = client.get(&format!("/v1/conversations/{conversation}/turns/{turn}")).status(200);
    let reply = turn["reply_id"].as_str().unwrap();
    let reply = client.get(&format!("/v1/conversations/{conversation}/messages/{reply}")).status(200);
    assert_eq!(reading.text, reply["content"].as_str().unwrap());
    assert!(
        reading.durable.is_sorted_by(|one, next| one < next),
        "each once, in order: {:?}",
        reading.durable
    );
    let told = ["conversation.started", "message.received", "turn.started", "message.sent", "turn.completed"];
    assert_eq!(reading.kinds, told);
}
