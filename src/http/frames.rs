//! What a stream shows, as JSON: the same on Server-Sent Events and on WebSockets.

use bytes::{BufMut, BytesMut};
use openclaw_actors::{
    conversation::{
        feed::Closing,
        reader::{Cursor, Frame},
    },
    ids::{ConversationId, TurnId},
};
use serde::Serialize;

/// Why the server ends a stream before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// The server stops; whoever comes back finds its successor.
    Shutdown,
    /// The conversation was erased.
    Deleted,
    /// The credential that opened it no longer holds.
    Revoked,
    /// The store failed under it.
    Unavailable,
    /// The reader has taken nothing for too long.
    Lagging,
}

impl Goodbye {
    fn reason(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Deleted => "deleted",
            Self::Revoked => "revoked",
            Self::Unavailable => "unavailable",
            Self::Lagging => "lagging",
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Lagging => "stream.lagging",
            Self::Shutdown | Self::Deleted | Self::Revoked | Self::Unavailable => "stream.closing",
        }
    }
}

impl From<Closing> for Goodbye {
    fn from(closing: Closing) -> Self {
        match closing {
            Closing::Shutdown => Self::Shutdown,
            Closing::Deleted => Self::Deleted,
        }
    }
}

#[derive(Serialize)]
struct Delta<'a> {
    r#type: &'static str,
    conversation_id: ConversationId,
    turn_id: TurnId,
    attempt: i64,
    offset: usize,
    text: &'a str,
}

#[derive(Serialize)]
struct Gap {
    r#type: &'static str,
    conversation_id: ConversationId,
    requested: String,
    from: String,
}

#[derive(Serialize)]
struct Farewell {
    r#type: &'static str,
    conversation_id: ConversationId,
    reason: &'static str,
}

/// The type of a frame.
pub(super) fn kind(frame: &Frame) -> &'static str {
    match frame {
        Frame::Event(event, _) => event.kind.as_str(),
        Frame::Delta { .. } => "turn.delta",
        Frame::Notice(_) => "typing",
        Frame::Gap { .. } => "stream.gap",
        Frame::Closing(closing) => Goodbye::from(*closing).kind(),
    }
}

/// The position after a frame, if it has one.
pub(super) fn cursor(frame: &Frame) -> Option<Cursor> {
    match frame {
        Frame::Event(_, cursor) | Frame::Delta { cursor, .. } => Some(*cursor),
        Frame::Notice(_) | Frame::Gap { .. } | Frame::Closing(_) => None,
    }
}

/// Writes the JSON of a frame, which is one line.
pub(super) fn write(out: &mut BytesMut, conversation_id: ConversationId, frame: &Frame) {
    match frame {
        Frame::Event(event, _) => out.extend_from_slice(&event.json),
        Frame::Notice(json) => out.extend_from_slice(json),
        Frame::Delta { turn, attempt, offset, text, .. } => {
            let (turn_id, attempt, offset) = (*turn, *attempt, *offset);
            json(out, &Delta { r#type: "turn.delta", conversation_id, turn_id, attempt, offset, text });
        }
        Frame::Gap { requested, from } => {
            let (requested, from) = (requested.to_string(), from.to_string());
            json(out, &Gap { r#type: "stream.gap", conversation_id, requested, from });
        }
        Frame::Closing(closing) => write_goodbye(out, conversation_id, (*closing).into()),
    }
}

/// Writes the JSON of the last thing that a stream says.
pub(super) fn write_goodbye(out: &mut BytesMut, conversation_id: ConversationId, goodbye: Goodbye) {
    json(out, &Farewell { r#type: goodbye.kind(), conversation_id, reason: goodbye.reason() });
}

fn json(out: &mut BytesMut, value: &impl Serialize) {
    // Our own types always serialize, and memory takes all that is written.
    let _ = serde_json::to_writer(out.writer(), value);
}
