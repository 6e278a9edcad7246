//! A client on a WebSocket: one connection for a conversation, a message after the other on it.

use std::{io, time::Instant};

use actix_http::ws::{OpCode, Parser, ProtocolError};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::BytesMut;
use serde::Deserialize;
use tokio::time::timeout;

use super::{ANSWERED_WITHIN, Client, broken, too_slow};
use crate::cli::bench::{
    answer::{Answer, Fault, Seen},
    blocks::Block,
    tally::{Failure, Took},
    wire::{Connection, WireError},
};

/// A frame longer than this is not one of ours: the longest holds an answer of 64 KiB with its citations.
const LONGEST_FRAME: usize = 4 << 20;

/// A conversation over a WebSocket.
#[derive(Debug)]
pub(super) struct Talk {
    connection: Connection,
    /// What has come.
    raw: Vec<u8>,
    input: BytesMut,
    /// Commands so far: the next one's `ref`.
    commands: u64,
}

/// What every frame says of itself.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    cursor: Option<&'a str>,
    #[serde(rename = "ref")]
    name: Option<&'a str>,
    turn: Option<Acknowledged<'a>>,
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Acknowledged<'a> {
    id: &'a str,
}

#[derive(Deserialize)]
struct Refused {
    code: String,
    message: String,
}

/// What a frame was for the message that waits for its answer.
enum Heard {
    /// It is accepted as this turn.
    Accepted(String),
    Event(Seen),
}

impl Client {
    /// Opens a conversation of its own by that request, if it has none open, and sends it a message. Waits count from
    /// `since`, the opening included.
    pub(in crate::cli::bench) async fn say(&mut self, begin: &[u8], since: Instant) -> Result<Took, Failure> {
        self.waits.begin(since);
        let said = timeout(ANSWERED_WITHIN, self.say_and_hear(begin)).await;
        self.settle(said.unwrap_or_else(|_| Err(too_slow())))
    }

    /// Leaves the conversation: the next message begins another.
    pub(in crate::cli::bench) fn leave(&mut self) {
        self.talk = None;
        self.turns = 0;
    }

    async fn say_and_hear(&mut self, begin: &[u8]) -> Result<Took, Failure> {
        if self.talk.is_none() {
            let conversation = self.begin_conversation(begin).await?;
            self.talk = Some(self.open(&conversation).await?);
            self.answer.begin(0);
        } else {
            self.answer.next_turn();
        }
        let Some(talk) = &mut self.talk else { return Err(Fault::Senseless.into()) };
        let name = talk.commands.to_string();
        talk.commands += 1;
        let mut message = self.target.message();
        (message["type"], message["ref"]) = ("message.send".into(), name.as_str().into());
        talk.send(OpCode::Text, message.to_string().as_bytes()).await.map_err(broken)?;
        let mut accepted = None;
        // The acknowledgement may come after the answer's first words, and even after its end.
        while self.answer.end().is_none() || accepted.is_none() {
            match talk.hear(&mut self.answer, &name).await? {
                Heard::Accepted(_) if accepted.is_some() => return Err(Fault::Acknowledged.into()),
                Heard::Accepted(turn) => accepted = Some(turn),
                Heard::Event(Seen::Goodbye) => {
                    return Err(Failure::error("stream_closed", "the server closed the WebSocket"));
                }
                Heard::Event(seen) => self.waits.saw(&seen, Instant::now()),
            }
        }
        if accepted.as_deref() != Some(self.answer.turn()) {
            return Err(Fault::Acknowledged.into());
        }
        self.whole()
    }

    async fn open(&mut self, conversation: &str) -> Result<Talk, Failure> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| Failure::error("random", &error.to_string()))?;
        let key = BASE64_STANDARD.encode(key);
        let headers = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        let request = self.target.get(&format!("/v1/conversations/{conversation}/ws?after=0"), &headers);
        match self.ask(&request).await? {
            101 => {}
            status => return Err(self.refused(status).await),
        }
        let Some(connection) = self.connection.take() else { return Err(Fault::Senseless.into()) };
        Ok(Talk { connection, raw: Vec::new(), input: BytesMut::new(), commands: 0 })
    }
}

impl Talk {
    async fn send(&mut self, kind: OpCode, payload: &[u8]) -> Result<(), WireError> {
        let mut frame = BytesMut::with_capacity(payload.len() + 16);
        // A client masks what it sends.
        Parser::write_message(&mut frame, payload, kind, true, true);
        self.connection.send(&frame).await
    }

    /// Waits for the next frame that says something, and takes it.
    async fn hear(&mut self, answer: &mut Answer, name: &str) -> Result<Heard, Failure> {
        loop {
            let foreign = |_: ProtocolError| broken(WireError::Foreign);
            match Parser::parse(&mut self.input, false, LONGEST_FRAME).map_err(foreign)? {
                None => self.read().await.map_err(broken)?,
                Some((true, OpCode::Text, payload)) => {
                    return take(&payload.unwrap_or_default(), answer, name);
                }
                Some((_, OpCode::Ping, payload)) => {
                    self.send(OpCode::Pong, &payload.unwrap_or_default()).await.map_err(broken)?;
                }
                Some((_, OpCode::Pong, _)) => {}
                Some((_, OpCode::Close, _)) => return Ok(Heard::Event(Seen::Goodbye)),
                // The server sends whole texts.
                Some(_) => return Err(Fault::Unreadable.into()),
            }
        }
    }

    async fn read(&mut self) -> Result<(), WireError> {
        self.raw.clear();
        if !self.connection.piece(&mut self.raw).await? {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.input.extend_from_slice(&self.raw);
        Ok(())
    }
}

fn take(payload: &[u8], answer: &mut Answer, name: &str) -> Result<Heard, Failure> {
    let data = std::str::from_utf8(payload).map_err(|_| Fault::Unreadable)?;
    let frame: Frame<'_> = serde_json::from_str(data).map_err(|_| Fault::Unreadable)?;
    match (frame.kind, frame.turn, frame.error) {
        ("ack", Some(turn), _) if frame.name == Some(name) => Ok(Heard::Accepted(turn.id.to_owned())),
        ("error", _, Some(error)) if frame.name == Some(name) => {
            Err(Failure::error(&error.code, &error.message))
        }
        ("ack" | "error", ..) => Err(Fault::Acknowledged.into()),
        (kind, ..) => {
            let block = Block { kind, id: frame.cursor, data, retry: None };
            Ok(Heard::Event(answer.take(&block)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_acknowledgement_is_taken_under_its_own_name_alone() {
        let ack = json!({"type": "ack", "ref": "3", "message": {}, "turn": {"id": "turn_1"}}).to_string();
        let mut answer = Answer::default();
        let heard = take(ack.as_bytes(), &mut answer, "3");
        assert!(matches!(heard, Ok(Heard::Accepted(turn)) if turn == "turn_1"));
        assert!(matches!(take(ack.as_bytes(), &mut answer, "4"), Err(Failure::Wrong(Fault::Acknowledged))));
        let refusal =
            json!({"type": "error", "ref": "4", "error": {"code": "x", "message": "y"}}).to_string();
        let heard = take(refusal.as_bytes(), &mut answer, "4");
        assert!(matches!(heard, Err(Failure::Error { kind, .. }) if kind == "x"));
    }
}
