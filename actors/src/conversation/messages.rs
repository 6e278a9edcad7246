//! What can be asked of a conversation, and what comes back.
//!
//! Every command carries the ids of what it makes, drawn at the edge. If its actor dies on it, the directory sends it
//! again to a successor, which finds in the store what the first had done.

use std::sync::Arc;

use actix::prelude::*;

use super::{
    feed::Feed,
    handover::HandoverReason,
    record::{Author, Conversation, Details, Message, Metadata, Rating, Resolution, Turn, TurnOptions},
};
use crate::{
    audit::{By, Entry},
    clock::Timestamp,
    ids::{ConversationId, HandoverId, MessageId, OrgId, TurnId},
    writer::Row,
};

/// The organization is part of every look-up key.
pub type ConversationKey = (OrgId, ConversationId);

/// What a message that finds a turn running asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnBusy {
    /// A turn of its own, in order.
    #[default]
    Queue,
    /// A refusal.
    Reject,
    /// The running turn stops; this one starts at once and sees all messages.
    Interrupt,
    /// The turn that already waits answers this message too.
    Merge,
}

/// A customer's message, checked.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Drawn at the edge.
    pub id: MessageId,
    /// Of the turn it will start, if it starts one. Drawn at the edge.
    pub turn: TurnId,
    /// The text.
    pub content: Arc<str>,
    /// The client's own id of it.
    pub client_message_id: Option<String>,
    /// What makes a repeat under the same client id the same message: a hash of everything the client sent that
    /// decides what is stored.
    pub fingerprint: String,
    /// The client's own pairs.
    pub metadata: Metadata,
    /// If a turn runs.
    pub on_busy: OnBusy,
    /// How it is to be answered.
    pub options: TurnOptions,
    /// The organization lets a message re-open a completed conversation.
    pub reopen: bool,
    /// The organization lets the AI go on answering while a handover waits.
    pub answer_while_waiting: bool,
    /// Stored with the effect: the `Idempotency-Key`'s row.
    pub idempotency: Option<Row>,
}

/// A conversation that begins, checked.
#[derive(Debug, Clone)]
pub struct NewConversation {
    /// Whose it is, and its id, drawn at the edge.
    pub key: ConversationKey,
    /// What the client said of it.
    pub details: Details,
    /// The first message.
    pub message: Option<NewMessage>,
    /// Stored with the effect when there is no message: the `Idempotency-Key`'s row, or a client's own id of it.
    pub idempotency: Option<Row>,
}

/// An agent's message, checked.
#[derive(Debug, Clone)]
pub struct AgentMessage {
    /// Drawn at the edge.
    pub id: MessageId,
    /// The text.
    pub content: Arc<str>,
    /// The client's own id of it.
    pub client_message_id: Option<String>,
    /// As with [`NewMessage`].
    pub fingerprint: String,
    /// The agent.
    pub author: Option<Author>,
    /// The client's own pairs.
    pub metadata: Metadata,
    /// Stored with the effect.
    pub idempotency: Option<Row>,
}

/// A person is asked for.
#[derive(Debug, Clone)]
pub struct NewHandover {
    /// Drawn at the edge.
    pub id: HandoverId,
    /// Why.
    pub reason: HandoverReason,
    /// Whom it is meant for.
    pub target: Option<String>,
    /// For the agent.
    pub note: Option<String>,
    /// How long it waits; none is for ever.
    pub timeout_ms: Option<i64>,
    /// Who takes over in the same step.
    pub accept: Option<Author>,
    /// Who asks, for the audit log.
    pub by: Option<By>,
    /// Stored with the effect.
    pub idempotency: Option<Row>,
}

/// What is done to a handover.
#[derive(Debug, Clone)]
pub enum Verb {
    /// A person takes over.
    Accept(Author),
    /// The person gives the conversation back to the AI.
    Return {
        /// For whoever takes over next; it takes the place of the note that the request had.
        note: Option<String>,
    },
    /// The person ends it, and the conversation with it.
    Close {
        /// How the conversation ended.
        resolution: Option<Resolution>,
    },
    /// Nobody is asked for any more.
    Cancel,
    /// Its time is up.
    Expire,
}

/// A change of a conversation's fields: `None` leaves a field, `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// A new topic.
    pub topic: Option<Option<String>>,
    /// A new language.
    pub language: Option<Option<String>>,
    /// The customer's id.
    pub customer_id: Option<Option<String>>,
    /// The customer's name.
    pub customer_name: Option<Option<String>>,
    /// The customer's address.
    pub customer_email: Option<Option<String>>,
    /// All pairs go before any is set.
    pub clear_metadata: bool,
    /// Pairs to set, and keys to remove.
    pub metadata: Vec<(String, Option<String>)>,
    /// Only if the version is one of these.
    pub if_version: Option<Vec<i64>>,
}

/// What can be asked of a conversation. One enum, because the state machine orders them in one queue; callers use the
/// directory's methods, which give each its own reply.
#[derive(Debug, Clone)]
pub enum Command {
    /// Begins the conversation, perhaps with a message.
    Start(Box<NewConversation>),
    /// Adds a customer's message.
    Submit(NewMessage),
    /// Adds an agent's message; never answered by the AI.
    Say(AgentMessage),
    /// Stops a turn, or whichever runs.
    Stop {
        /// `None`: the running one.
        turn: Option<TurnId>,
        /// The reader hung up and had asked for that; else somebody pressed stop.
        disconnected: bool,
    },
    /// Answers the last turn's messages again.
    Retry {
        /// The turn to repeat.
        of: TurnId,
        /// Of the new turn, drawn at the edge.
        turn: TurnId,
        /// Stored with the effect.
        idempotency: Option<Row>,
    },
    /// Completes the conversation.
    Complete {
        /// How it ended.
        resolution: Option<Resolution>,
        /// Who says so, for the audit log.
        by: Option<By>,
        /// Only if nothing was said since, and nothing is being answered.
        quiet_since: Option<Timestamp>,
        /// Stored with the effect.
        idempotency: Option<Row>,
    },
    /// Asks for a person.
    RequestHandover(Box<NewHandover>),
    /// Does something to a handover.
    Handover {
        /// Which.
        id: HandoverId,
        /// What.
        verb: Verb,
        /// Who does it, for the audit log, where that is no agent.
        by: Option<By>,
        /// Stored with the effect.
        idempotency: Option<Row>,
    },
    /// Changes fields.
    Patch(Patch),
    /// Rates it.
    Rate {
        /// The last one counts.
        rating: Rating,
        /// Stored with the effect.
        idempotency: Option<Row>,
    },
    /// Erases it.
    Delete {
        /// Only if the version is one of these.
        if_version: Option<Vec<i64>>,
        /// Only if nothing was said since.
        quiet_since: Option<Timestamp>,
        /// What the audit log says of it.
        noted: Option<Box<Entry>>,
    },
    /// Tells the streams that somebody types; not stored.
    Typing {
        /// `customer` or `agent`.
        by: &'static str,
    },
    /// Nothing: wakes a conversation that a crash left with open turns.
    Wake,
}

/// What a command came to.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A message was stored, or a retry begun.
    Accepted(Box<Accepted>),
    /// A stop: the turn as it ended; `None` if nothing ran.
    Stopped(Option<Box<Turn>>),
    /// A stop of a turn that ended so long ago that only the store knows it, if there ever was one.
    EndedBefore(TurnId),
    /// The conversation in its new state.
    Conversation(Box<Conversation>),
    /// The handover in its new state, or as it was where the effect held already.
    Handover {
        /// Which.
        id: HandoverId,
        /// It was requested by this very command.
        created: bool,
    },
    /// Nothing to show: deleted, typing, woken.
    Done,
}

/// A message was stored, or a retry begun.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The conversation in its new state.
    pub conversation: Conversation,
    /// The message; `None` when a conversation was begun without one, or a retry repeats what is stored.
    pub message: Option<Message>,
    /// The turn that will answer it; `None` while a person owns the conversation or without a message.
    pub turn: Option<Turn>,
    /// Everything this caused comes after this sequence: where its stream starts.
    pub after: i64,
    /// It had been stored before: nothing was stored now.
    pub repeated: bool,
    /// The conversation's live end, held so that no event can pass between this reply and its stream. The actor
    /// adds it.
    pub feed: Option<Arc<Feed>>,
}

/// Why a command was refused. Nothing was stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// No such conversation, or turn, in the caller's organization.
    #[error("no such conversation or turn")]
    NotFound,
    /// `on_busy: reject`, and a turn runs.
    #[error("a turn is in progress")]
    TurnInProgress(TurnId),
    /// Eight turns wait already.
    #[error("too many turns are waiting")]
    TurnQueueFull,
    /// The conversation is completed and the organization does not re-open it.
    #[error("the conversation is completed")]
    Completed,
    /// What an agent does while the AI owns the conversation, or the reverse.
    #[error("the handover, or the conversation's owner, is not in a state for this")]
    HandoverState,
    /// Another person has accepted the handover.
    #[error("{} has accepted the handover", .0.name.as_ref().unwrap_or(&.0.id))]
    HandoverTaken(Author),
    /// A turn that is not the last one or has not ended cannot be tried again.
    #[error("only the last turn can be retried, once it has ended")]
    NotRetryable,
    /// The client's id of the message was used with other content.
    #[error("the client_message_id was used for another message")]
    ClientMessageIdReused,
    /// `If-Match` does not hold.
    #[error("the conversation has another version")]
    VersionConflict,
    /// More than 16 pairs after the patch.
    #[error("too many metadata pairs")]
    TooMuchMetadata,
    /// Too many commands wait at this conversation, or too many turns run, or the writer's queue is full.
    #[error("too much is waiting")]
    Overloaded,
    /// The store is away, the server is stopping, or this conversation died too often.
    #[error("the conversation is unavailable")]
    Unavailable,
}

/// One command, on its way to the actor.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Reply, Interrupted>")]
pub struct Ask {
    /// What is asked.
    pub command: Command,
    /// When, by the edge's clock.
    pub at: Timestamp,
    /// It was sent before, to an actor that died or left: what it makes may be stored already.
    pub repeat: bool,
}

/// The actor did not see the command through.
#[derive(Debug, Clone)]
pub enum Interrupted {
    /// It refused.
    Refused(Refusal),
    /// It found that the store knows more than itself and ends; a successor will know.
    Reload,
}
