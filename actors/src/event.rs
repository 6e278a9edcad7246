//! A durable event: what happened, as one JSON object that is the same on streams, in lists and in webhooks.
//!
//! The log is the table `events`. A message's text stands only in `messages`; an event about a message is joined
//! with it when read, which is why [`EventRow::data`] holds everything but the message.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    clock::Timestamp,
    ids::{ConversationId, EventId, OrgId, TurnId},
    store::{Store, StoreError},
};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The type of a durable event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $name,)*
        }

        impl EventKind {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it stands in `type` and in the store.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The kind of that name.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// A conversation began.
    ConversationStarted = "conversation.started",
    /// A field of it was changed by PATCH.
    ConversationUpdated = "conversation.updated",
    /// A message woke a completed one.
    ConversationReopened = "conversation.reopened",
    /// The customer rated it.
    ConversationRated = "conversation.rated",
    /// It was completed.
    ConversationCompleted = "conversation.completed",
    /// It was erased; on the organization's stream.
    ConversationDeleted = "conversation.deleted",
    /// A customer's message.
    MessageReceived = "message.received",
    /// A message of the assistant, an agent or the system.
    MessageSent = "message.sent",
    /// A turn waits behind another.
    TurnQueued = "turn.queued",
    /// A turn's answer begins.
    TurnStarted = "turn.started",
    /// Its answer begins again after a crash.
    TurnRestarted = "turn.restarted",
    /// It ended with a whole answer.
    TurnCompleted = "turn.completed",
    /// It was stopped.
    TurnStopped = "turn.stopped",
    /// It failed.
    TurnFailed = "turn.failed",
    /// A person was asked for.
    HandoverRequested = "handover.requested",
    /// A person took over.
    HandoverAccepted = "handover.accepted",
    /// The person gave the conversation back to the AI.
    HandoverReturned = "handover.returned",
    /// The person ended it, and the conversation with it.
    HandoverClosed = "handover.closed",
    /// Nobody took over in time.
    HandoverExpired = "handover.expired",
    /// Nobody is asked for any more.
    HandoverCancelled = "handover.cancelled",
    /// An article can be found.
    KnowledgeIndexed = "knowledge.indexed",
    /// An article cannot be indexed.
    KnowledgeFailed = "knowledge.failed",
    /// A webhook was disabled because its endpoint failed for too long, or is gone.
    WebhookDisabled = "webhook.disabled",
}

impl EventKind {
    /// It ends a turn.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::TurnCompleted | Self::TurnStopped | Self::TurnFailed)
    }

    /// It opens an answer at offset 0.
    #[must_use]
    pub fn opens_answer(self) -> bool {
        matches!(self, Self::TurnStarted | Self::TurnRestarted)
    }

    /// Webhooks are told of it. They are not told of turns: `message.sent` says what came of one.
    #[must_use]
    pub fn is_told_to_webhooks(self) -> bool {
        match self {
            Self::ConversationStarted
            | Self::ConversationUpdated
            | Self::ConversationReopened
            | Self::ConversationRated
            | Self::ConversationCompleted
            | Self::ConversationDeleted
            | Self::MessageReceived
            | Self::MessageSent
            | Self::HandoverRequested
            | Self::HandoverAccepted
            | Self::HandoverReturned
            | Self::HandoverClosed
            | Self::HandoverExpired
            | Self::HandoverCancelled
            | Self::KnowledgeIndexed
            | Self::KnowledgeFailed
            | Self::WebhookDisabled => true,
            Self::TurnQueued
            | Self::TurnStarted
            | Self::TurnRestarted
            | Self::TurnCompleted
            | Self::TurnStopped
            | Self::TurnFailed => false,
        }
    }

    /// Its data includes a message, which is stored beside it under the same sequence.
    #[must_use]
    pub fn has_message(self) -> bool {
        matches!(self, Self::MessageReceived | Self::MessageSent)
    }
}

/// The row of an event, before the writer gives it a position.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// The conversation or the organization.
    pub stream_id: Arc<str>,
    /// 1, 2, 3 … within the stream.
    pub sequence: i64,
    /// Constant over retries and replays.
    pub id: EventId,
    /// Whose it is.
    pub org: OrgId,
    /// What happened.
    pub kind: EventKind,
    /// The turn it belongs to: what a turn's own stream shows.
    pub turn: Option<TurnId>,
    /// The JSON of `data`, or for a message's event what is in it beside the message (`{}` if nothing).
    pub data: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// An event ready to be shown: rendered once, shared by every reader.
#[derive(Debug, Clone)]
pub struct DurableEvent {
    /// Its place in the stream.
    pub sequence: i64,
    /// What happened.
    pub kind: EventKind,
    /// The turn it belongs to.
    pub turn: Option<TurnId>,
    /// The attempt, for the two kinds that open an answer; else 0.
    pub attempt: i64,
    /// The text of an assistant's message, from which a reader that missed its end takes the rest.
    pub reply: Option<Arc<str>>,
    /// The one JSON object.
    pub json: Bytes,
}

#[derive(Serialize)]
struct Envelope<'a> {
    id: EventId,
    r#type: &'static str,
    timestamp: Timestamp,
    organization_id: OrgId,
    conversation_id: Option<ConversationId>,
    sequence: Option<i64>,
    data: &'a RawValue,
}

/// Writes the one JSON object of an event whose data is complete.
///
/// # Errors
/// `data` is not JSON, which only a corrupt row can cause.
pub fn render(row: &EventRow, data: &RawValue) -> Result<Bytes, serde_json::Error> {
    // An event of the organization's own stream names neither a conversation nor a sequence.
    let conversation_id = row.stream_id.parse().ok();
    let envelope = Envelope {
        id: row.id,
        r#type: row.kind.as_str(),
        timestamp: row.at,
        organization_id: row.org,
        conversation_id,
        sequence: conversation_id.is_some().then_some(row.sequence),
        data,
    };
    serde_json::to_vec(&envelope).map(Bytes::from)
}

/// The one JSON object of an event whose row holds all of its data.
#[must_use]
pub fn complete(row: &EventRow) -> Option<Bytes> {
    let data: &RawValue = serde_json::from_str(&row.data).ok()?;
    render(row, data).ok()
}

/// Where an event stands in the log: its stream, and its sequence there.
pub type LogPlace = (String, i64);

/// Reads events of the log as the one JSON object that each of them is; what was erased is left out. Messages belong to
/// conversations, so whoever else needs such a thing is handed it.
pub type ReadLog =
    fn(Store, Vec<LogPlace>) -> BoxFuture<'static, Result<HashMap<EventId, Bytes>, StoreError>>;
