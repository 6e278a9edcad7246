//! The WebSocket protocol itself (RFC 6455), frame by frame: what is understood, what closes, and with which code.

use std::io::ErrorKind;

use serde_json::{Value, json};

use crate::{
    harness::{Request, Server},
    talk::Talk,
    websocket::{CLOSE, PING, PONG, Socket, TEXT, handshake},
};

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const LAST: u8 = 0x80;
/// The first of the bits that an extension would give a meaning.
const RESERVED: u8 = 0x40;

/// First byte and payload.
type Frame = (u8, Vec<u8>);

/// A close frame's payload.
fn closing(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

#[test]
fn what_no_client_may_send_closes_with_the_code_of_its_fault() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mebibyte = vec![b' '; 1 << 20];
    let faults: [(&str, Vec<Frame>, u16); 20] = [
        ("a reserved bit", vec![(LAST | RESERVED | TEXT, b"{}".to_vec())], 1002),
        ("an opcode of nothing", vec![(LAST | 3, vec![])], 1002),
        ("a control opcode of nothing", vec![(LAST | 11, vec![])], 1002),
        ("a ping of 126 bytes", vec![(LAST | PING, vec![0; 126])], 1002),
        ("a ping in parts", vec![(PING, vec![])], 1002),
        ("a close in parts", vec![(CLOSE, closing(1000, b""))], 1002),
        ("a part of nothing", vec![(LAST | CONTINUATION, b"{}".to_vec())], 1002),
        ("a text within a text", vec![(TEXT, b"{".to_vec()), (LAST | TEXT, b"}".to_vec())], 1002),
        ("bytes within a text", vec![(TEXT, b"{".to_vec()), (LAST | BINARY, b"}".to_vec())], 1002),
        ("bytes", vec![(LAST | BINARY, b"{}".to_vec())], 1003),
        ("bytes in parts", vec![(BINARY, b"{}".to_vec())], 1003),
        ("no UTF-8", vec![(LAST | TEXT, b"\xff".to_vec())], 1007),
        ("no UTF-8 in parts", vec![(TEXT, b"\"\xc3".to_vec()), (LAST | CONTINUATION, b"\"".to_vec())], 1007),
        ("a text that is too large", vec![(LAST | TEXT, [&mebibyte[..], b" "].concat())], 1009),
        ("parts that are too large", vec![(TEXT, mebibyte), (CONTINUATION, b" ".to_vec())], 1009),
        ("half a close code", vec![(LAST | CLOSE, vec![3])], 1002),
        ("a close code that nobody sends", vec![(LAST | CLOSE, closing(1005, b""))], 1002),
        ("a close code below all", vec![(LAST | CLOSE, closing(999, b""))], 1002),
        ("a close code beyond all", vec![(LAST | CLOSE, closing(5000, b""))], 1002),
        ("a reason that is no UTF-8", vec![(LAST | CLOSE, closing(1000, b"\xff"))], 1007),
    ];
    for (fault, frames, code) in faults {
        let mut socket = Socket::open(&server, &talk, "");
        for (first, payload) in frames {
            socket.frame(first, &payload);
        }
        // What follows it is not understood, whatever it is.
        socket.say(&json!({"type": "message.send", "content": fault}));
        assert_eq!(socket.close_code(), code, "{fault}");
    }
    let mut unmasked = Socket::open(&server, &talk, "");
    unmasked.0.send(&[LAST | TEXT, 2, b'{', b'}']).unwrap();
    assert_eq!(unmasked.close_code(), 1002);
    let mut promising = Socket::open(&server, &talk, "");
    // Only the head of a frame of a gigabyte: nobody waits for the rest.
    promising.0.send(&[LAST | TEXT, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(promising.close_code(), 1009);
    // A client in the middle of sending hears it too, and its connection ends in order.
    let mut sending = Socket::open(&server, &talk, "");
    sending.frame(LAST | TEXT, &vec![b' '; 8 << 20]);
    assert_eq!(sending.close_code(), 1009);
    sending.0.finish();
    assert_eq!(sending.0.take(1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(talk.messages(), Vec::<Value>::new());
}

#[test]
fn what_a_client_may_send_is_understood_however_it_is_cut() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut socket = Socket::open(&server, &talk, "");
    let words = json!({"type": "message.send", "content": "één", "wait_seconds": 0}).to_string();
    // In the middle of a character, with nothing in between, and with other frames in between.
    let cut = words.find('é').unwrap() + 1;
    socket.frame(TEXT, &words.as_bytes()[..cut]);
    socket.frame(CONTINUATION, b"");
    socket.frame(LAST | PING, b"still there?");
    socket.frame(LAST | PONG, b"nobody asked");
    socket.frame(LAST | CONTINUATION, &words.as_bytes()[cut..]);
    assert_eq!(socket.hear(), (PONG, b"still there?".to_vec()));
    assert_eq!(socket.until("ack")["message"]["content"], "één");
    socket.until("turn.completed");
    socket.frame(LAST | PING, &[0; 125]);
    assert_eq!(socket.hear(), (PONG, vec![0; 125]));
    socket.frame(LAST | TEXT, b"");
    assert_eq!(socket.until("error")["error"]["code"], "malformed_json");
    let padded = [&vec![b' '; (1 << 20) - 17][..], br#"{"type":"typing"}"#].concat();
    socket.frame(LAST | TEXT, &padded);
    socket.until("ack");
    // Byte by byte.
    socket.0.send(&[LAST | PING]).unwrap();
    for byte in [0x81, 1, 2, 3, 4, b'x' ^ 1] {
        socket.0.send(&[byte]).unwrap();
    }
    loop {
        match socket.hear() {
            (PONG, payload) => break assert_eq!(payload, b"x"),
            (TEXT, _) => {}
            other => panic!("{other:?}"),
        }
    }
    for payload in [closing(1000, b""), closing(4999, "tot ziens, Zoë".as_bytes()), vec![]] {
        let mut socket = Socket::open(&server, &talk, "");
        socket.frame(LAST | CLOSE, &payload);
        assert_eq!(socket.hear(), (CLOSE, payload));
        socket.0.finish();
        assert_eq!(socket.0.rest(), b"");
    }
}

#[test]
fn a_handshake_that_is_none_is_refused_with_what_it_lacks() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let with = |headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(talk.request("GET", "/ws"), |request: Request, (name, value)| request.header(name, value));
        request.send()
    };
    let (connection, upgrade) = (("Connection", "Upgrade"), ("Upgrade", "websocket"));
    let (version, key) = (("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="));
    for (headers, says) in [
        (vec![upgrade, version, key], "connection upgrade"),
        (vec![connection, version, key], "WebSocket upgrade"),
        (vec![connection, ("Upgrade", "h2c"), version, key], "WebSocket upgrade"),
        (vec![connection, upgrade, version], "WebSocket key"),
        (vec![connection, upgrade, version, ("Sec-WebSocket-Key", "c2hvcnQ=")], "16 bytes"),
        (vec![connection, upgrade, version, ("Sec-WebSocket-Key", "not base64 at all!!!!")], "16 bytes"),
        (vec![connection, upgrade, version, key, key], "16 bytes"),
    ] {
        let refused = with(&headers).refused(400, "invalid_handshake");
        assert!(refused["error"]["message"].as_str().unwrap().contains(says), "{}", refused.text());
    }
    for other in [vec![], vec![("Sec-WebSocket-Version", "8")], vec![("Sec-WebSocket-Version", "14")]] {
        let refused =
            with(&[vec![connection, upgrade, key], other].concat()).refused(426, "invalid_handshake");
        assert_eq!(refused.header("sec-websocket-version"), Some("13"));
        assert_eq!(refused["error"]["type"], "invalid_request");
    }
}

#[test]
fn no_subprotocol_and_no_extension_is_agreed_to() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let wanting = handshake(&talk, "")
        .header("Sec-WebSocket-Protocol", "chat, superchat")
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    let accepted = wanting.send();
    assert_eq!(accepted.code(), 101);
    // RFC 6455's own example.
    assert_eq!(accepted.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(accepted.header("sec-websocket-protocol"), None);
    assert_eq!(accepted.header("sec-websocket-extensions"), None);
}

#[test]
fn a_page_of_the_servers_own_may_open_it_with_a_key_and_no_other_may() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let from = |origin: &str| handshake(&talk, "").header("Origin", origin).send();
    assert_eq!(from(&format!("http://{}", server.address())).code(), 101);
    for other in ["https://evil.test", "null", &format!("http://localhost:{}", server.address().port())] {
        from(other).refused(403, "secret_key_in_browser");
    }
}

#[test]
fn a_client_that_is_gone_is_noticed_and_one_that_answers_stays() {
    let server = Server::with(&[("server.websocket_ping_seconds", "1")]);
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut gone = Socket::open(&server, &talk, "");
    let mut there = Socket::open(&server, &talk, "");
    for _ in 0..4 {
        assert_eq!(there.hear(), (PING, vec![]));
        there.frame(LAST | PONG, b"");
    }
    for _ in 0..3 {
        assert_eq!(gone.hear(), (PING, vec![]));
    }
    assert_eq!(gone.0.rest(), b"");
    there.say(&json!({"type": "typing", "ref": "I am here"}));
    loop {
        match there.hear() {
            (PING, _) => there.frame(LAST | PONG, b""),
            (TEXT, frame) => {
                let frame: Value = serde_json::from_slice(&frame).unwrap();
                if frame["ref"] == "I am here" {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}
