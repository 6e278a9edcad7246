//! The WebSocket of a conversation: the same events, and commands.

use serde_json::{Value, json};

use crate::{
    harness::{Connection, Request, Server, contract, eventually},
    talk::{Talk, endless, words},
};

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A client's end of a WebSocket, by hand.
pub(crate) struct Socket(pub(crate) Connection);

impl Socket {
    #[track_caller]
    pub(crate) fn open(server: &Server, talk: &Talk, rest: &str) -> Self {
        let mut connection = server.connect();
        connection.send(&handshake(talk, rest).bytes()).unwrap();
        assert_eq!(connection.upgraded().unwrap(), 101);
        Self(connection)
    }

    pub(crate) fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            middle @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        // A mask of zeros leaves the bytes as they are.
        frame.extend([0; 4]);
        frame.extend(payload);
        // The server may have closed before it has read all.
        self.0.send(&frame).ok();
    }

    pub(crate) fn say(&mut self, words: &Value) {
        self.frame(0x80 | TEXT, words.to_string().as_bytes());
    }

    /// The next frame: its kind and payload.
    pub(crate) fn hear(&mut self) -> (u8, Vec<u8>) {
        let head = self.0.take(2).unwrap();
        let length = match head[1] {
            126 => u16::from_be_bytes(self.0.take(2).unwrap().try_into().unwrap()) as usize,
            127 => u64::from_be_bytes(self.0.take(8).unwrap().try_into().unwrap()) as usize,
            short => short as usize,
        };
        let (opcode, payload) = (head[0] & 15, self.0.take(length).unwrap());
        if opcode == TEXT {
            contract::hold_frame(&serde_json::from_slice(&payload).unwrap());
        }
        (opcode, payload)
    }

    /// The next frame of that type; those before it are passed over.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: &str) -> Value {
        loop {
            let (opcode, payload) = self.hear();
            if opcode == PING {
                // On a machine so slow that the server asks.
                self.frame(0x80 | PONG, &payload);
                continue;
            }
            assert_eq!(opcode, TEXT, "before a {kind}: {payload:?}");
            let frame: Value = serde_json::from_slice(&payload).unwrap();
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// The code with which the server closes; what comes before it is passed over.
    pub(crate) fn close_code(&mut self) -> u16 {
        loop {
            if let (CLOSE, payload) = self.hear() {
                return u16::from_be_bytes(payload[..2].try_into().unwrap());
            }
        }
    }
}

pub(crate) fn handshake(talk: &Talk, rest: &str) -> Request {
    talk.request("GET", &format!("/ws{rest}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[test]
fn it_shows_what_the_stream_shows_with_cursors() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut socket = Socket::open(&server, &talk, "?after=0");
    let mut stream = talk.client.stream(&talk.path("/stream?after=0"));
    talk.send(json!({"content": "hi", "synthetic": words(1)})).status(200);
    loop {
        let event = stream.expect();
        let mut frame = socket.until(&event.kind);
        let cursor = frame.as_object_mut().unwrap().remove("cursor");
        assert_eq!((frame, cursor), (event.data, event.id.map(Value::from)));
        if event.kind == "turn.completed" {
            break;
        }
    }
    // It resumes like a stream.
    let mut resumed = Socket::open(&server, &talk, "?after=4");
    assert_eq!(resumed.until("turn.completed")["sequence"], 5);
}

#[test]
fn commands_are_acknowledged_by_their_ref() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut socket = Socket::open(&server, &talk, "");
    socket.say(&json!({"type": "message.send", "ref": "1", "content": "hi", "synthetic": endless()}));
    let ack = socket.until("ack");
    assert_eq!((&ack["ref"], &ack["message"]["content"]), (&json!("1"), &json!("hi")));
    socket.until("turn.delta");
    socket.say(&json!({"type": "turn.stop", "ref": "2"}));
    let ack = eventually("the second ack", || {
        let ack = socket.until("ack");
        (ack["ref"] == "2").then_some(ack)
    });
    assert_eq!(ack["turn"]["stop_reason"], "requested");
    socket.say(&json!({"type": "typing", "ref": "3", "role": "agent"}));
    socket.until("ack");
    assert_eq!(talk.messages().len(), 2);
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn what_cannot_be_done_is_an_error_with_its_ref() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut socket = Socket::open(&server, &talk, "");
    for (frame, code, param) in [
        (json!({"type": "message.send", "ref": "r"}), "invalid_field", json!("content")),
        (
            json!({"type": "message.send", "ref": "r", "content": "a", "colour": 1}),
            "unknown_field",
            json!("colour"),
        ),
        (
            json!({"type": "message.send", "ref": "r", "content": "a", "role": "agent"}),
            "handover_state",
            Value::Null,
        ),
        (json!({"type": "turn.stop", "ref": "r", "turn": 1}), "unknown_field", json!("turn")),
        (json!({"type": "dance"}), "invalid_field", json!("type")),
        (json!({"ref": "r"}), "invalid_field", json!("type")),
        (json!({"type": "message.send", "ref": "r", "content": "\0"}), "invalid_field", json!("content")),
        (
            json!({"type": "message.send", "ref": "r", "content": "a", "metadata": nested(33)}),
            "too_deep",
            Value::Null,
        ),
    ] {
        socket.say(&frame);
        let error = socket.until("error");
        assert_eq!((&error["error"]["code"], &error["error"]["param"]), (&json!(code), &param), "{frame}");
        assert_eq!(error["ref"], frame["ref"], "{frame}");
    }
    socket.say(&json!({"type": "typing", "ref": "é".repeat(129)}));
    let error = socket.until("error");
    assert_eq!((&error["ref"], &error["error"]["param"]), (&Value::Null, &json!("ref")));
    socket.frame(0x80 | TEXT, b"{");
    assert_eq!(socket.until("error")["error"]["code"], "malformed_json");
    assert_eq!(talk.messages(), Vec::<Value>::new());

    let reads = Talk { client: org.restricted(&server, "conversations:read"), id: talk.id.clone() };
    let mut socket = Socket::open(&server, &reads, "");
    socket.say(&json!({"type": "message.send", "content": "hi"}));
    let error = socket.until("error");
    assert_eq!(
        (&error["error"]["code"], &error["error"]["param"]),
        (&json!("missing_scope"), &json!("conversations:write"))
    );
}

#[test]
fn a_socket_that_closes_stops_only_the_turn_that_asked_for_it() {
    let server = Server::start();
    let org = server.organization();
    for (way, status) in [("stop", "stopped"), ("continue", "running")] {
        let talk = Talk::start(&org);
        let mut socket = Socket::open(&server, &talk, "");
        let sent =
            json!({"type": "message.send", "content": "hi", "on_disconnect": way, "synthetic": endless()});
        socket.say(&sent);
        let turn = socket.until("ack")["turn"]["id"].as_str().unwrap().to_owned();
        socket.until("turn.delta");
        drop(socket);
        if way == "stop" {
            assert_eq!(talk.ended(&turn)["stop_reason"], "disconnected");
        }
        assert_eq!(talk.turn(&turn)["status"], status);
        talk.post("/stop", json!({})).status(200);
    }
}

#[test]
fn it_is_closed_when_the_conversation_or_the_key_ends() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut deleted = Socket::open(&server, &talk, "");
    talk.client.delete(&talk.path("")).status(204);
    assert_eq!(deleted.until("stream.closing")["reason"], "deleted");
    assert_eq!(deleted.close_code(), 1001);

    let talk = Talk::start(&org);
    let reads = Talk { client: org.restricted(&server, "conversations:read"), id: talk.id.clone() };
    let mut revoked = Socket::open(&server, &reads, "");
    let keys = org.get("/v1/keys").status(200);
    let key = keys["data"].as_array().unwrap().iter().find(|key| key["kind"] == "restricted").unwrap();
    org.delete(&format!("/v1/keys/{}", key["id"].as_str().unwrap())).status(204);
    assert_eq!(revoked.until("stream.closing")["reason"], "revoked");
    assert_eq!(revoked.close_code(), 1008);
}

#[test]
fn a_command_needs_what_the_key_holds_now() {
    let server = Server::start();
    let org = server.organization();
    let made = org.post("/v1/keys", json!({"scopes": ["conversations:read"]})).status(201);
    let key = format!("/v1/keys/{}", made["key"]["id"].as_str().unwrap());
    let client = server.client_with(made["secret"].as_str().unwrap());
    let talk = Talk { client, id: Talk::start(&org).id };
    let mut socket = Socket::open(&server, &talk, "");
    let send = json!({"type": "message.send", "content": "hi", "synthetic": words(1)});
    let change = |patch: Value, status: u16| {
        org.patch(&key, patch).status(200);
        // What the next request is told, the next command is told.
        eventually("the change", || (talk.post("/stop", json!({})).code() == status).then_some(()));
    };

    change(json!({"scopes": ["conversations:read", "conversations:write"]}), 200);
    socket.say(&send);
    socket.until("ack");
    socket.until("turn.completed");
    let messages = talk.messages();

    change(json!({"rate_limit_per_minute": 1}), 429);
    socket.say(&send);
    assert_eq!(socket.until("error")["error"]["code"], "rate_limited");
    change(json!({"rate_limit_per_minute": null}), 200);

    change(json!({"scopes": ["conversations:read"]}), 403);
    for command in [send, json!({"type": "turn.stop"}), json!({"type": "typing"})] {
        socket.say(&command);
        let error = &socket.until("error")["error"];
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!("missing_scope"), &json!("conversations:write"))
        );
    }
    assert_eq!(talk.messages(), messages);

    change(json!({"scopes": []}), 403);
    assert_eq!(socket.until("stream.closing")["reason"], "revoked");
    assert_eq!(socket.close_code(), 1008);
}

#[test]
fn a_handshake_is_refused_like_any_request() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    talk.get("/ws").refused(400, "invalid_handshake");
    handshake(&talk, "?after=x").send().refused(400, "invalid_cursor");
    let nobody = Talk { client: server.client(), id: talk.id.clone() };
    handshake(&nobody, "").send().refused(401, "invalid_key");
    let elsewhere = handshake(&talk, "").header("Origin", "https://evil.test");
    elsewhere.send().refused(403, "secret_key_in_browser");
    let writes = Talk { client: org.restricted(&server, "conversations:write"), id: talk.id.clone() };
    handshake(&writes, "").send().refused(403, "missing_scope");
}
