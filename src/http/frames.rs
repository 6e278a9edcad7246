//! What a stream shows, as JSON: the same on Server-Sent Events and on WebSockets.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};
use openclaw_actors::{
    conversation::{
        feed::Closing,
        reader::{Cursor, Frame},
    },
    ids::{ConversationId, TurnId},
};
use serde::Serialize;

use super::redact;

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
    /// Another connection came with the same ticket.
    Replaced,
}

impl Goodbye {
    fn reason(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Deleted => "deleted",
            Self::Revoked => "revoked",
            Self::Unavailable => "unavailable",
            Self::Lagging => "lagging",
            Self::Replaced => "replaced",
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Lagging => "stream.lagging",
            Self::Shutdown | Self::Deleted | Self::Revoked | Self::Unavailable | Self::Replaced => {
                "stream.closing"
            }
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
struct Gap {
    r#type: &'static str,
    conversation_id: Option<ConversationId>,
    requested: String,
    from: String,
}

#[derive(Serialize)]
struct Farewell {
    r#type: &'static str,
    conversation_id: Option<ConversationId>,
    reason: &'static str,
}

/// Writes the last thing that a stream says; one of no conversation names none.
pub(super) fn write_goodbye(out: &mut BytesMut, conversation_id: Option<ConversationId>, goodbye: Goodbye) {
    json(out, &Farewell { r#type: goodbye.kind(), conversation_id, reason: goodbye.reason() });
}

/// Writes that a stream goes on from another position than the one asked for.
pub(super) fn write_gap(
    out: &mut BytesMut,
    conversation_id: Option<ConversationId>,
    requested: &impl ToString,
    from: &impl ToString,
) {
    let (requested, from) = (requested.to_string(), from.to_string());
    json(out, &Gap { r#type: "stream.gap", conversation_id, requested, from });
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

/// Writes the frames of one conversation as JSON, one line each.
#[derive(Debug)]
pub(super) struct JsonFrames {
    conversation_id: ConversationId,
    /// What all deltas of one answer begin with.
    delta: Option<(TurnId, i64, String)>,
    for_page: bool,
}

impl JsonFrames {
    pub(super) fn of(conversation_id: ConversationId) -> Self {
        Self { conversation_id, delta: None, for_page: false }
    }

    /// Leaves out what customers' pages do not see.
    pub(super) fn for_page(self, for_page: bool) -> Self {
        Self { for_page, ..self }
    }

    pub(super) fn write(&mut self, out: &mut BytesMut, frame: &Frame) {
        let conversation_id = self.conversation_id;
        match frame {
            Frame::Event(event, _) => self.shown(out, &event.json),
            Frame::Notice(json) => self.shown(out, json),
            Frame::Delta { turn, attempt, offset, text, .. } => {
                out.extend_from_slice(self.delta(*turn, *attempt).as_bytes());
                // Writing to memory does not fail.
                let _ = write!(out, "{offset},\"text\":");
                json(out, text);
                out.put_u8(b'}');
            }
            Frame::Gap { requested, from } => {
                write_gap(out, Some(conversation_id), requested, from);
            }
            Frame::Closing(closing) => self.write_goodbye(out, (*closing).into()),
        }
    }

    /// Writes the last thing that a stream says.
    pub(super) fn write_goodbye(&self, out: &mut BytesMut, goodbye: Goodbye) {
        write_goodbye(out, Some(self.conversation_id), goodbye);
    }

    fn shown(&self, out: &mut BytesMut, json: &[u8]) {
        if self.for_page {
            out.extend_from_slice(&redact::for_customers("", json));
        } else {
            out.extend_from_slice(json);
        }
    }

    /// A delta up to its offset. A token is a few bytes and what stands before it two hundred: written once an answer.
    fn delta(&mut self, turn: TurnId, attempt: i64) -> &str {
        if self.delta.as_ref().is_none_or(|(of, at, _)| (*of, *at) != (turn, attempt)) {
            self.delta = None;
        }
        let conversation = self.conversation_id;
        let (.., head) = self.delta.get_or_insert_with(|| {
            let head = format!(
                r#"{{"type":"turn.delta","conversation_id":"{conversation}","turn_id":"{turn}","attempt":{attempt},"offset":"#
            );
            (turn, attempt, head)
        });
        head
    }
}

fn json(out: &mut BytesMut, value: &(impl Serialize + ?Sized)) {
    // Our own types always serialize, and memory takes all that is written.
    let _ = serde_json::to_writer(out.writer(), value);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_delta_is_whole_json_for_any_text_and_any_turn() {
        let conversation = ConversationId::generate();
        let mut frames = JsonFrames::of(conversation);
        let turns = [TurnId::generate(), TurnId::generate()];
        for (turn, attempt, offset, text) in [
            (turns[0], 1, 0, "na\"ïve\n"),
            (turns[0], 1, 9, "€"),
            (turns[0], 2, 0, "\u{1}"),
            (turns[1], 1, 0, "b"),
        ] {
            let frame =
                Frame::Delta { turn, attempt, offset, text: text.to_owned(), cursor: Cursor::after(3) };
            let mut out = BytesMut::new();
            frames.write(&mut out, &frame);
            let expected = json!({
                "type": "turn.delta", "conversation_id": conversation, "turn_id": turn, "attempt": attempt,
                "offset": offset, "text": text
            });
            assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
        }
    }
}
