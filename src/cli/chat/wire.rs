//! What the server says, as far as a chat needs it.

use openclaw_actors::ids::{ConversationId, TurnId};
use serde::Deserialize;

/// A conversation.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Conversation {
    pub(super) active_turn_id: Option<TurnId>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Message {
    pub(super) role: String,
    pub(super) content: String,
    pub(super) citations: Vec<Citation>,
    pub(super) turn_id: Option<TurnId>,
}

impl Message {
    /// It is the answer of that turn.
    pub(super) fn answers(&self, turn: TurnId) -> bool {
        self.role == "assistant" && self.turn_id == Some(turn)
    }
}

/// What an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Citation {
    pub(super) article_id: String,
    pub(super) title: String,
    pub(super) url: Option<String>,
}

/// A list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
}

/// A turn.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Turn {
    pub(super) id: TurnId,
    pub(super) error: Option<TurnError>,
}

/// Why a turn failed.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TurnError {
    pub(super) message: String,
}

/// A durable event, without its envelope.
#[derive(Debug, Deserialize)]
pub(super) struct Durable<T> {
    pub(super) conversation_id: ConversationId,
    pub(super) data: T,
}

/// The data of `message.received`.
#[derive(Debug, Deserialize)]
pub(super) struct Received {
    /// None while a person answers.
    pub(super) turn_id: Option<TurnId>,
}

/// The data of `message.sent`.
#[derive(Debug, Deserialize)]
pub(super) struct Sent {
    pub(super) message: Message,
}

/// The data of a turn's events.
#[derive(Debug, Deserialize)]
pub(super) struct OfTurn {
    pub(super) turn: Turn,
}

/// `turn.delta`: more text.
#[derive(Debug, Deserialize)]
pub(super) struct Delta {
    /// Where `text` begins in the answer, in bytes.
    pub(super) offset: usize,
    pub(super) text: String,
}
