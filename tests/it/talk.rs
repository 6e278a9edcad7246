//! What tests of conversations say and hear.

use serde_json::{Value, json};

use crate::harness::{Client, Event, EventStream, Reply, Request, eventually};

/// A way of answering that says nothing for longer than any test runs.
pub(crate) fn silent() -> Value {
    json!({"first_token_ms": 60_000, "tokens": 1})
}

/// A way of answering that speaks at once and goes on for longer than any test runs.
pub(crate) fn endless() -> Value {
    json!({"first_token_ms": 0, "tokens_per_second": 20, "tokens": 8_192})
}

/// A way of answering in so many words, at once.
pub(crate) fn words(tokens: u32) -> Value {
    json!({"first_token_ms": 0, "tokens_per_second": 0, "tokens": tokens})
}

/// One conversation, as a client knows it.
#[derive(Clone)]
pub(crate) struct Talk {
    pub(crate) client: Client,
    pub(crate) id: String,
}

impl Talk {
    /// A conversation in which nothing was said yet.
    #[track_caller]
    pub(crate) fn start(client: &Client) -> Self {
        Self::with(client, json!({}))
    }

    #[track_caller]
    pub(crate) fn with(client: &Client, body: Value) -> Self {
        let started = client.post("/v1/conversations", body).status(201);
        let id = started["conversation"]["id"].as_str().unwrap().to_owned();
        Self { client: client.clone(), id }
    }

    /// `/v1/conversations/{id}` and what follows.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/conversations/{}{rest}", self.id)
    }

    pub(crate) fn get(&self, rest: &str) -> Reply {
        self.client.get(&self.path(rest))
    }

    pub(crate) fn post(&self, rest: &str, body: Value) -> Reply {
        self.client.post(&self.path(rest), body)
    }

    pub(crate) fn request(&self, method: &str, rest: &str) -> Request {
        self.client.request(method, &self.path(rest))
    }

    pub(crate) fn send(&self, body: Value) -> Reply {
        self.post("/messages", body)
    }

    pub(crate) fn streamed(&self, mut body: Value) -> EventStream {
        body["stream"] = json!(true);
        self.request("POST", "/messages").json(&body).stream()
    }

    /// Sends a message whose turn goes on until it is stopped; gives the turn's id.
    #[track_caller]
    pub(crate) fn hold(&self, way: Value) -> String {
        let held = self.send(json!({"content": "hold", "wait_seconds": 0, "synthetic": way})).status(202);
        held["turn"]["id"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn turn(&self, id: &str) -> Value {
        self.get(&format!("/turns/{id}")).status(200).json().clone()
    }

    /// Waits until the turn has ended.
    #[track_caller]
    pub(crate) fn ended(&self, id: &str) -> Value {
        eventually("the end of a turn", || {
            let turn = self.turn(id);
            matches!(turn["status"].as_str(), Some("completed" | "stopped" | "failed")).then_some(turn)
        })
    }

    #[track_caller]
    pub(crate) fn conversation(&self) -> Value {
        self.get("").status(200).json().clone()
    }

    /// All messages, in order.
    #[track_caller]
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.all("/messages")
    }

    /// All events, in order; their sequence is checked to have no gap.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let events = self.all("/events");
        let sequences: Vec<_> = events.iter().map(|event| event["sequence"].as_i64().unwrap()).collect();
        assert_eq!(sequences, (1..=sequences.len() as i64).collect::<Vec<_>>());
        events
    }

    /// The types of all events, in order.
    #[track_caller]
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn all(&self, list: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{list}?limit=100{cursor}")).status(200);
            all.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }
}

/// What came on a stream: the durable events, and the text of the answers by turn and attempt.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) durable: Vec<Value>,
    pub(crate) text: String,
    pub(crate) others: Vec<String>,
    open: Option<(Value, Value)>,
}

impl Heard {
    /// Everything up to the end of the stream.
    pub(crate) fn all(stream: &mut EventStream) -> Self {
        let mut heard = Self::default();
        for event in stream {
            heard.add(&event);
        }
        heard
    }

    /// Everything up to an event of that kind.
    #[track_caller]
    pub(crate) fn until(stream: &mut EventStream, kind: &str) -> Self {
        let mut heard = Self::default();
        loop {
            let event = stream.expect();
            heard.add(&event);
            if event.kind == kind {
                return heard;
            }
        }
    }

    /// Text must meet exactly what came before; a new attempt begins anew.
    #[track_caller]
    pub(crate) fn add(&mut self, event: &Event) {
        let data = &event.data;
        assert_eq!(data["type"], event.kind, "{}", event.text);
        if event.kind == "turn.delta" {
            let whose = (data["turn_id"].clone(), data["attempt"].clone());
            if self.open.as_ref() != Some(&whose) {
                self.open = Some(whose);
                self.text.clear();
            }
            let offset = data["offset"].as_u64().unwrap() as usize;
            if self.text.is_empty() {
                self.text = " ".repeat(offset);
            }
            assert_eq!(offset, self.text.len(), "{}", event.text);
            self.text.push_str(data["text"].as_str().unwrap());
        } else if event.kind.starts_with("stream.") || event.kind == "typing" {
            assert_eq!(event.id, None, "{}", event.text);
            self.others.push(event.kind.clone());
        } else {
            if let Some(last) = self.durable.last() {
                assert!(last["sequence"].as_i64() < data["sequence"].as_i64(), "{}", event.text);
            }
            self.durable.push(data.clone());
        }
    }

    pub(crate) fn kinds(&self) -> Vec<&str> {
        self.durable.iter().map(|event| event["type"].as_str().unwrap()).collect()
    }
}
