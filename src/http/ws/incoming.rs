//! What a client sends on a WebSocket, message by message.
//!
//! More is read only once all that has come was taken, so that a flood of small frames stays in the client's own buffers;
//! and a frame's head is looked at before its payload is waited for: one that promises a gigabyte is given none.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::ws::{OpCode, Parser, ProtocolError};
use actix_web::error::PayloadError;
use actix_web_actors::ws::{CloseCode, CloseReason};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;

/// One thing that a client said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A text, put together from its parts.
    Text(String),
    Ping(Bytes),
    Pong,
    Close(Option<CloseReason>),
    /// What no client may send. What comes after it cannot be understood: it is the last.
    Wrong(CloseCode),
}

/// See the module.
pub(super) struct Incoming<S> {
    bytes: S,
    largest: usize,
    /// What has come and was not understood yet: less than a frame, or part of one piece of the connection's.
    unread: BytesMut,
    /// Of a text whose end is still to come.
    begun: Option<BytesMut>,
    is_over: bool,
}

impl<S> Incoming<S> {
    /// With a limit for frames and for the texts that they are parts of.
    pub(super) fn new(bytes: S, largest: usize) -> Self {
        Self { bytes, largest, unread: BytesMut::new(), begun: None, is_over: false }
    }

    /// What can be understood of what has come.
    fn understand(&mut self) -> Result<Option<Said>, CloseCode> {
        loop {
            if promised(&self.unread).is_some_and(|length| length > self.largest as u64) {
                return Err(CloseCode::Size);
            }
            let frame =
                Parser::parse(&mut self.unread, true, self.largest).map_err(|error| code_of(&error))?;
            let Some((is_last, kind, payload)) = frame else { return Ok(None) };
            let payload = payload.unwrap_or_default();
            return Ok(Some(match kind {
                OpCode::Text | OpCode::Continue => match self.text(kind, is_last, payload)? {
                    Some(text) => Said::Text(text),
                    None => continue,
                },
                OpCode::Binary if self.begun.is_none() => return Err(CloseCode::Unsupported),
                // What is about the connection itself comes in one piece.
                OpCode::Ping if is_last => Said::Ping(payload.freeze()),
                OpCode::Pong if is_last => Said::Pong,
                OpCode::Close if is_last => Said::Close(reason(&payload)?),
                _ => return Err(CloseCode::Protocol),
            }));
        }
    }

    /// The whole text, once its last part has come.
    fn text(&mut self, kind: OpCode, is_last: bool, part: BytesMut) -> Result<Option<String>, CloseCode> {
        let text = match (kind, self.begun.take()) {
            (OpCode::Text, None) => part,
            (OpCode::Continue, Some(begun)) if begun.len() + part.len() > self.largest => {
                return Err(CloseCode::Size);
            }
            (OpCode::Continue, Some(mut begun)) => {
                begun.extend_from_slice(&part);
                begun
            }
            _ => return Err(CloseCode::Protocol),
        };
        if is_last {
            return String::from_utf8(text.into()).map(Some).map_err(|_| CloseCode::Invalid);
        }
        self.begun = Some(text);
        Ok(None)
    }
}

fn reason(payload: &[u8]) -> Result<Option<CloseReason>, CloseCode> {
    // The code stands before the text and is no text itself.
    if payload.get(2..).is_some_and(|text| str::from_utf8(text).is_err()) {
        return Err(CloseCode::Invalid);
    }
    Parser::try_parse_close_payload(payload).map_err(|error| code_of(&error))
}

fn code_of(error: &ProtocolError) -> CloseCode {
    match error {
        ProtocolError::Overflow => CloseCode::Size,
        _ => CloseCode::Protocol,
    }
}

/// How long the payload of the frame that begins here is to be (RFC 6455, section 5.2); `None` while that is not known.
fn promised(head: &[u8]) -> Option<u64> {
    match head.get(1)? & 0x7f {
        126 => Some(u16::from_be_bytes(head.get(2..4)?.try_into().ok()?).into()),
        127 => Some(u64::from_be_bytes(head.get(2..10)?.try_into().ok()?)),
        short => Some(short.into()),
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for Incoming<S> {
    type Item = Said;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Said>> {
        let this = &mut *self;
        loop {
            if this.is_over {
                return Poll::Ready(None);
            }
            match this.understand() {
                Ok(Some(said)) => return Poll::Ready(Some(said)),
                Ok(None) => {}
                Err(code) => {
                    this.is_over = true;
                    return Poll::Ready(Some(Said::Wrong(code)));
                }
            }
            match ready!(Pin::new(&mut this.bytes).poll_next(cx)) {
                Some(Ok(bytes)) => this.unread.extend_from_slice(&bytes),
                // The client is gone.
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    const LARGEST: usize = 70_000;

    /// As a client sends it, masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            middle @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn said(bytes: &[u8], pieces: usize) -> Vec<Said> {
        let pieces: Vec<_> = bytes.chunks(pieces).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let incoming = Incoming::new(stream::iter(pieces), LARGEST);
        incoming.collect().now_or_never().unwrap()
    }

    #[test]
    fn frames_are_understood_however_the_connection_cuts_them() {
        let long = "é".repeat(LARGEST / 2);
        let bytes = [
            frame(0x81, b""),
            frame(0x81, long.as_bytes()),
            frame(0x01, "één".split_at(2).0.as_bytes()),
            frame(0x89, &[7; 125]),
            frame(0x80, "één".split_at(2).1.as_bytes()),
            frame(0x8a, b"x"),
            frame(0x81, "x".repeat(300).as_bytes()),
        ]
        .concat();
        let expected = [
            Said::Text(String::new()),
            Said::Text(long),
            Said::Ping(Bytes::from_static(&[7; 125])),
            Said::Text("één".into()),
            Said::Pong,
            Said::Text("x".repeat(300)),
        ];
        for pieces in [1, 2, 3, 1_000, bytes.len()] {
            assert_eq!(said(&bytes, pieces), expected, "{pieces}");
        }
    }

    #[test]
    fn a_head_that_promises_too_much_is_refused_before_its_payload() {
        let head = &frame(0x81, &[b' '; LARGEST + 1])[..14];
        for pieces in [1, 5, 100] {
            let said = said(&[&frame(0x8a, b""), head].concat(), pieces);
            assert_eq!(said, [Said::Pong, Said::Wrong(CloseCode::Size)]);
        }
    }

    #[test]
    fn more_is_read_only_once_what_has_come_was_taken() {
        let read = Rc::new(Cell::new(0));
        let counted = Rc::clone(&read);
        let a_hundred = Bytes::from(frame(0x8a, b"").repeat(100));
        let flood = stream::repeat_with(move || {
            counted.set(counted.get() + 1);
            Ok(a_hundred.clone())
        });
        let mut incoming = Incoming::new(flood, LARGEST);
        for taken in 0..1_000 {
            assert_eq!(incoming.next().now_or_never(), Some(Some(Said::Pong)));
            assert_eq!(read.get(), taken / 100 + 1);
        }
    }
}
