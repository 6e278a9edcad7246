//! The examples of the published document are answers that the server gave: this test asks for them again.
//!
//! `OPENCLAW_BLESS=1` writes down what it gets, in `src/http/openapi/examples/`.

use std::{collections::HashMap, fs, path::PathBuf};

use serde_json::{Map, Value, json};

use crate::{
    harness::{Organization, Reply, Server},
    talk::{Talk, endless},
};

/// The examples of one room: what each is, and its value.
pub(crate) struct Examples {
    room: &'static str,
    found: Map<String, Value>,
    plain: Plain,
}

impl Examples {
    pub(crate) fn of(room: &'static str) -> Self {
        Self { room, found: Map::new(), plain: Plain::default() }
    }

    /// Keeps a value; what differs from run to run is replaced.
    pub(crate) fn take(&mut self, name: &str, summary: &str, value: &Value) {
        let value = self.plain.of("", value);
        let before = self.found.insert(name.to_owned(), json!({"summary": summary, "value": value}));
        assert!(before.is_none(), "two examples are called {name}");
    }

    /// Compares them with what is checked in, or checks them in.
    #[track_caller]
    pub(crate) fn hold(self) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("src/http/openapi/examples")
            .join(format!("{}.json", self.room));
        let found = Value::Object(self.found);
        if std::env::var_os("OPENCLAW_BLESS").is_some_and(|value| value == "1") {
            fs::write(&path, format!("{found:#}\n")).unwrap();
        }
        let known: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(
            known, found,
            "the examples of {} are not what the server answers (OPENCLAW_BLESS=1?)",
            self.room
        );
    }
}

/// Makes values of different runs the same: ids are numbered, times stand still, secrets are none.
#[derive(Default)]
struct Plain {
    ids: HashMap<String, String>,
}

const KINDS: [&str; 14] = [
    "req_",
    "org_",
    "key_",
    "conv_",
    "msg_",
    "turn_",
    "hdo_",
    "art_",
    "whk_",
    "evt_",
    "dlv_",
    "imp_",
    "aud_",
    "chatcmpl-",
];

/// Fields that hold a secret, or a position that only its server can read.
const OPAQUE: [(&str, &str); 8] = [
    // Of another version, another.
    ("system_fingerprint", "openclaw-EXAMPLE"),
    ("token", "oc_ct_EXAMPLE"),
    ("ticket", "EXAMPLE"),
    ("next_cursor", "EXAMPLE"),
    ("masked", "oc_live_…"),
    ("secret", "EXAMPLE"),
    ("primary_key", "EXAMPLE"),
    ("secondary_key", "EXAMPLE"),
];

/// Numbers that are measured.
const MEASURED: [&str; 3] = ["p50", "p95", "average_duration_seconds"];

/// Fields that hold a day.
const DAYS: [&str; 3] = ["from", "to", "period_start"];

const BODY_LEN: usize = 26;

impl Plain {
    fn of(&mut self, name: &str, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.of(name, value))).collect()
            }
            Value::Array(items) => items.iter().map(|item| self.of(name, item)).collect(),
            Value::String(text) => self.text(name, text).into(),
            Value::Number(_) if name.ends_with("_ms") || MEASURED.contains(&name) => json!(12),
            Value::Number(_) if name == "created" => json!(1_793_700_000),
            other => other.clone(),
        }
    }

    fn text(&mut self, name: &str, text: &str) -> String {
        if let Some((_, plain)) = OPAQUE.iter().find(|(known, _)| *known == name) {
            // Its kind may be seen.
            let prefix =
                ["oc_live_", "oc_pub_", "oc_ct_", "whsec_"].iter().find(|prefix| text.starts_with(**prefix));
            return prefix.map_or((*plain).to_owned(), |prefix| format!("{prefix}EXAMPLE"));
        }
        if DAYS.contains(&name) {
            return "2026-11-02".to_owned();
        }
        let is_time = text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
        if is_time {
            let day = if name.starts_with("expires") { 3 } else { 2 };
            return format!("2026-11-{day:02}T09:00:00.000Z");
        }
        self.numbered(text)
    }

    /// An id becomes the first, second, … of its kind, wherever it stands in the text.
    fn numbered(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((at, kind)) = KINDS.iter().filter_map(|kind| Some((rest.find(kind)?, *kind))).min() {
            let start = at + kind.len();
            let body = rest
                .get(start..start + BODY_LEN)
                .filter(|body| body.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            out.push_str(&rest[..start]);
            let Some(body) = body else {
                rest = &rest[start..];
                continue;
            };
            let number = self.ids.len() + 1;
            let plain = self.ids.entry(body.to_owned()).or_insert_with(|| format!("01k8zs5{number:019}"));
            out.push_str(plain);
            rest = &rest[start + BODY_LEN..];
        }
        out + rest
    }
}

/// A shop with an article, whose answers are its words.
pub(crate) fn shop() -> (Server, Organization) {
    let server = Server::with(&[("model.providers", "builtin")]);
    let org = server.organization();
    let parcels = json!({
        "title": "Where is my parcel?", "topic": "delivery", "url": "https://shop.example/parcels",
        "content": "# Parcels\n\nYou get an e-mail with a link to follow your parcel."
    });
    org.put("/v1/knowledge/external/parcels?wait=indexed", parcels).status(201);
    (server, org)
}

fn path(conversation: &Reply, rest: &str) -> String {
    let id = conversation["conversation"]["id"].as_str().unwrap();
    format!("/v1/conversations/{id}{rest}")
}

#[test]
fn examples_of_operations_are_what_the_server_answers() {
    let server = Server::start();
    let mut examples = Examples::of("operations");
    examples.take("alive", "It answers", server.client().get("/healthz").status(200).json());
    examples.take("ready", "It can serve", server.client().get("/readyz").status(200).json());
    examples.hold();
}

#[test]
fn examples_of_conversations_are_what_the_server_answers() {
    let (_server, org) = shop();
    let mut examples = Examples::of("conversations");
    let new = json!({
        "channel": "web", "language": "en", "customer": {"id": "c-17", "name": "Ada", "email": "ada@shop.example"},
        "metadata": {"order": "8812"}, "message": "Where is my parcel?"
    });
    let started = org.post("/v1/conversations", new.clone()).status(201);
    examples.take("new_conversation", "With a first message", &new);
    examples.take("started", "Begun and answered", started.json());
    examples.take("conversation", "One", org.get(&path(&started, "")).status(200).json());
    examples.take("conversations", "A page of one", org.get("/v1/conversations?limit=1").status(200).json());
    let token = org.post(&path(&started, "/client_tokens"), json!({})).status(201);
    examples.take("client_token", "For a day", token.json());
    let ticket = org.post(&path(&started, "/stream_tickets"), json!({})).status(201);
    examples.take("stream_ticket", "To be used at once", ticket.json());
    examples.hold();
}

#[test]
fn examples_of_messages_are_what_the_server_answers() {
    let (_server, org) = shop();
    let mut examples = Examples::of("messages");
    let started = org.post("/v1/conversations", json!({"language": "en"})).status(201);
    let new = json!({"content": "Where is my parcel?", "client_message_id": "m-1"});
    let answer = org.post(&path(&started, "/messages"), new.clone()).status(200);
    examples.take("new_message", "A customer's", &new);
    examples.take("answer", "Answered from an article", answer.json());
    examples.take(
        "messages",
        "Question and answer",
        org.get(&path(&started, "/messages")).status(200).json(),
    );
    let turn = answer["turn"]["id"].as_str().unwrap();
    examples.take(
        "turn",
        "Completed",
        org.get(&path(&started, &format!("/turns/{turn}"))).status(200).json(),
    );
    let other = json!({"content": "And the second one?", "client_message_id": "m-1"});
    let reused = org.post(&path(&started, "/messages"), other).refused(422, "client_message_id_reused");
    examples.take("client_message_id_reused", "Another message under that id", reused.json());

    let server = Server::start();
    let talk = Talk::start(&server.organization());
    talk.send(json!({"content": "Tell me everything", "synthetic": endless(), "wait_seconds": 0}))
        .status(202);
    let busy =
        talk.send(json!({"content": "Still there?", "on_busy": "reject"})).refused(409, "turn_in_progress");
    examples.take("turn_in_progress", "Where to follow what runs", busy.json());
    examples.hold();
}

#[test]
fn examples_of_dialects_are_what_the_server_answers() {
    let (_server, org) = shop();
    let mut examples = Examples::of("dialects");
    examples.take("models", "The builtin one", org.get("/v1/models").status(200).json());
    let new = json!({"messages": [{"role": "user", "content": "Where is my parcel?"}]});
    let completed = org.post("/v1/chat/completions", new.clone()).status(200);
    examples.take("chat_completion_request", "A question", &new);
    examples.take("chat_completion", "Answered from an article", completed.json());
    let said =
        json!({"id": "m-1", "role": "user", "parts": [{"type": "text", "text": "Where is my parcel?"}]});
    let new = json!({"id": "chat-1", "messages": [said]});
    org.post("/v1/ai-sdk", new.clone()).status(200);
    examples.take("ui_message_request", "As `useChat` asks", &new);
    examples.hold();
}

/// Of the refusals that all operations share.
#[test]
fn examples_of_refusals_are_what_the_server_answers() {
    let server = Server::with(&[("limits.running_turns", "1")]);
    let org = server.organization();
    let reader = org.restricted(&server, "conversations:read");
    let started = org.post("/v1/conversations", json!({})).status(201);
    let mut examples = Examples::of("base");
    let mut refused = |name: &str, status: u16, code: &str, summary: &str, reply: Reply| {
        let reply = reply.refused(status, code);
        examples.take(name, summary, reply.json());
    };
    let post = |body: Value| org.post("/v1/conversations", body);
    refused(
        "unknown_field",
        400,
        "unknown_field",
        "A field that does not exist",
        post(json!({"colour": "red"})),
    );
    refused("invalid_field", 400, "invalid_field", "A value of no use", post(json!({"channel": "The web"})));
    refused("invalid_key", 401, "invalid_key", "Without a key", server.client().get("/v1/conversations"));
    let missing = reader.post("/v1/conversations", json!({}));
    refused("missing_scope", 403, "missing_scope", "A key that may not", missing);
    let page = org.request("GET", "/v1/conversations").header("Origin", "https://shop.example").send();
    refused("secret_key_in_browser", 403, "secret_key_in_browser", "A secret key in a web page", page);
    let nothing = org.get("/v1/conversations/conv_00000000000000000000000000");
    refused("not_found", 404, "not_found", "Nothing of that id", nothing);
    let other = org.request("PATCH", &path(&started, "")).header("If-Match", "\"7\"").json(&json!({})).send();
    refused("version_conflict", 412, "version_conflict", "It was changed meanwhile", other);
    let large = post(json!({"message": "x".repeat(2 << 20)}));
    refused("body_too_large", 413, "body_too_large", "More than 1 MiB", large);
    let form =
        org.request("POST", "/v1/conversations").header("Content-Type", "text/plain").body("hello").send();
    refused("unsupported_media_type", 415, "unsupported_media_type", "Not JSON", form);
    let named = |body: Value| {
        org.request("POST", "/v1/conversations").header("Idempotency-Key", "k-1").json(&body).send()
    };
    named(json!({})).status(201);
    let reused = named(json!({"channel": "web"}));
    refused(
        "idempotency_key_reused",
        422,
        "idempotency_key_reused",
        "Another request under that name",
        reused,
    );
    let header = org.request("GET", "/v1/conversations").header("X-Long", &"x".repeat(20 << 10)).send();
    refused("header_too_large", 431, "header_too_large", "A header past 16 KiB", header);
    let first = json!({"content": "Tell me everything", "synthetic": endless(), "wait_seconds": 0});
    post(json!({"message": first})).status(202);
    let busy = post(json!({"message": "hello"}));
    refused("overloaded", 503, "overloaded", "Too much to do", busy);

    let limited = Server::with(&[("limits.requests_per_minute", "1")]);
    let org = limited.organization();
    org.get("/v1/organization").status(200);
    let again = org.get("/v1/organization");
    refused("rate_limited", 429, "rate_limited", "More than the key may ask", again);
    examples.hold();
}
