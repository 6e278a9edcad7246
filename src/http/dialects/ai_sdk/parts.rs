//! The parts of a UI message stream, version 1.

use std::collections::HashSet;

use bytes::{BufMut, BytesMut};
use openclaw_actors::{
    answer::Citation,
    ids::{ConversationId, MessageId, TurnId},
};
use serde_json::{Value, json};

use crate::http::dialects::{
    body::{Flow, Speaker},
    told::{End, Told},
};

const DONE: &[u8] = b"data: [DONE]\n\n";

/// An answer has one text. Its parts name it.
const TEXT: &str = "0";

/// An answer in parts.
pub(super) struct Spoken {
    conversation: ConversationId,
    turn: Option<TurnId>,
    citations: Vec<Citation>,
    text_began: bool,
}

impl Spoken {
    pub(super) fn new(conversation: ConversationId, turn: Option<TurnId>) -> Self {
        Self { conversation, turn, citations: Vec::new(), text_began: false }
    }

    fn end_text(&mut self, out: &mut BytesMut) {
        if self.text_began {
            write(out, &json!({"type": "text-end", "id": TEXT}));
        }
    }

    /// One for each article. What is no link is a document.
    fn write_sources(&self, out: &mut BytesMut) {
        let mut shown = HashSet::new();
        for citation in self.citations.iter().filter(|citation| shown.insert(citation.article_id)) {
            let Citation { article_id, title, url, .. } = citation;
            write(
                out,
                &match url {
                    Some(url) => {
                        json!({"type": "source-url", "sourceId": article_id, "url": url, "title": title})
                    }
                    None => json!({
                        "type": "source-document",
                        "sourceId": article_id,
                        "mediaType": "text/plain",
                        "title": title,
                    }),
                },
            );
        }
    }
}

impl Speaker for Spoken {
    fn begin(&mut self, out: &mut BytesMut) {
        let mut start = json!({"type": "start"});
        // Without a turn nothing will be said. Whatever the part told of a message, the page would show an empty one.
        if let Some(turn) = self.turn {
            start["messageId"] = json!(MessageId::of_reply_to(turn));
            start["messageMetadata"] = json!({"conversation_id": self.conversation, "turn_id": turn});
        }
        write(out, &start);
    }

    fn say(&mut self, told: Told, out: &mut BytesMut) -> Flow {
        match told {
            Told::Text(text) => {
                if !std::mem::replace(&mut self.text_began, true) {
                    write(out, &json!({"type": "text-start", "id": TEXT}));
                }
                write(out, &json!({"type": "text-delta", "id": TEXT, "delta": text}));
                return Flow::GoesOn;
            }
            // What was shown is no part of the answer any more, and cannot be taken back.
            Told::Restarted => return if self.text_began { Flow::BreaksOff } else { Flow::GoesOn },
            Told::Reply(_, citations) => {
                self.citations = citations;
                return Flow::GoesOn;
            }
            Told::Lost(_) => return Flow::BreaksOff,
            Told::Ended(end) => {
                self.end_text(out);
                match end {
                    End::Completed { .. } => {
                        self.write_sources(out);
                        write(out, &json!({"type": "finish"}));
                    }
                    End::NoTurn => write(out, &json!({"type": "finish"})),
                    End::Stopped => write(out, &json!({"type": "abort"})),
                    End::Failed { message, .. } => {
                        write(out, &json!({"type": "error", "errorText": message}))
                    }
                }
            }
        }
        out.extend_from_slice(DONE);
        Flow::Ends
    }
}

fn write(out: &mut BytesMut, part: &Value) {
    out.extend_from_slice(b"data: ");
    // A value always serializes, and memory takes all that is written.
    let _ = serde_json::to_writer(out.writer(), part);
    out.extend_from_slice(b"\n\n");
}
