//! What is stored of a conversation, and how it looks on the wire.
//!
//! These types serialize as the wire shows them. They are never read from a client: what clients send is parsed at
//! the edge into the commands of [`messages`](super::messages).

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

use super::handover::{Brief, Handover};
use crate::{
    answer::{Citation, Outcome, Usage, synthetic::Synthetic},
    clock::Timestamp,
    ids::{ConversationId, MessageId, OrgId, TurnId},
};

words! {
    /// Where a conversation stands.
    Status {
        /// The AI answers.
        Active = "active",
        /// A person was asked for.
        WaitingForHuman = "waiting_for_human",
        /// A person answers.
        WithHuman = "with_human",
        /// It is over, until a new message.
        Completed = "completed",
    }
}

words! {
    /// Who answers.
    Owner {
        /// The AI.
        Ai = "ai",
        /// A person.
        Human = "human",
    }
}

words! {
    /// How a completed conversation ended.
    Resolution {
        /// The customer was helped.
        Resolved = "resolved",
        /// The customer was not.
        Unresolved = "unresolved",
    }
}

words! {
    /// Who wrote a message.
    Role {
        /// The person who asks.
        Customer = "customer",
        /// The AI.
        Assistant = "assistant",
        /// A person of the company.
        Agent = "agent",
        /// The server itself.
        System = "system",
    }
}

words! {
    /// Is all of a message there?
    MessageStatus {
        /// All of it.
        Complete = "complete",
        /// What was shown before it was stopped or failed.
        Partial = "partial",
    }
}

words! {
    /// Where a turn stands. It reaches exactly one of the last three.
    TurnStatus {
        /// It waits behind another.
        Queued = "queued",
        /// It is being answered.
        Running = "running",
        /// It has its whole answer.
        Completed = "completed",
        /// It was stopped.
        Stopped = "stopped",
        /// It failed.
        Failed = "failed",
    }
}

impl TurnStatus {
    /// Nothing more will happen to it.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Stopped | Self::Failed)
    }
}

words! {
    /// Why a turn was stopped.
    StopReason {
        /// Somebody pressed stop.
        Requested = "requested",
        /// A message interrupted it.
        Interrupted = "interrupted",
        /// It waited while a message interrupted.
        Superseded = "superseded",
        /// A person took over.
        Handover = "handover",
        /// The conversation was completed.
        Completed = "completed",
        /// Its reader hung up and had asked for that.
        Disconnected = "disconnected",
    }
}

/// Who asks. All of it optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The company's own id of the person.
    pub id: Option<String>,
    /// A name to show.
    pub name: Option<String>,
    /// An address to write to.
    pub email: Option<String>,
}

/// Customer satisfaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rating {
    /// 1 (worst) to 5.
    pub score: i64,
    /// In the customer's words.
    pub comment: Option<String>,
}

/// String pairs of the client's own.
pub type Metadata = BTreeMap<String, String>;

/// What rarely changes of a conversation: shared, so that the state that does change is cheap to copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Where it takes place: `web`, `app`, `api`, …
    pub channel: String,
    /// What it is about, by the client or by the first cited article.
    pub topic: Option<String>,
    /// `nl`, `en`, …
    pub language: Option<String>,
    /// Who asks.
    pub customer: Customer,
    /// The client's own pairs.
    pub metadata: Metadata,
}

/// A conversation without its messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Whose it is.
    pub org: OrgId,
    /// Where it stands.
    pub status: Status,
    /// Who answers.
    pub owner: Owner,
    /// Rises by one at each change of owner.
    pub epoch: i64,
    /// Of the last durable event.
    pub sequence: i64,
    /// Rises by one at each PATCH: the ETag.
    pub version: i64,
    /// What rarely changes.
    pub details: Arc<Details>,
    /// When it was created.
    pub started_at: Timestamp,
    /// When the last message was stored.
    pub last_message_at: Option<Timestamp>,
    /// When it was completed, if it is.
    pub completed_at: Option<Timestamp>,
    /// How it was completed.
    pub resolution: Option<Resolution>,
    /// The last rating. Boxed, because most have none and all may stay in memory.
    pub rating: Option<Box<Rating>>,
    /// Messages of customers, assistants and agents.
    pub message_count: i64,
    /// The running turn.
    pub active_turn_id: Option<TurnId>,
    /// The handover that was touched last, whatever became of it. Boxed like the rating.
    pub handover: Option<Box<Handover>>,
    /// Answers in a row below the confidence line.
    pub low_answers: i64,
}

impl Conversation {
    /// When something was last said in it, or it began.
    #[must_use]
    pub fn active_at(&self) -> Timestamp {
        self.last_message_at.unwrap_or(self.started_at)
    }

    /// A conversation that has just begun; nothing of it is stored yet.
    #[must_use]
    pub fn begin(org: OrgId, id: ConversationId, details: Details, now: Timestamp) -> Self {
        Self {
            id,
            org,
            status: Status::Active,
            owner: Owner::Ai,
            epoch: 1,
            sequence: 0,
            version: 1,
            details: Arc::new(details),
            started_at: now,
            last_message_at: None,
            completed_at: None,
            resolution: None,
            rating: None,
            message_count: 0,
            active_turn_id: None,
            handover: None,
            low_answers: 0,
        }
    }
}

impl Serialize for Conversation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            id: ConversationId,
            status: Status,
            owner: Owner,
            epoch: i64,
            channel: &'a str,
            topic: &'a Option<String>,
            language: &'a Option<String>,
            customer: &'a Customer,
            metadata: &'a Metadata,
            started_at: Timestamp,
            last_message_at: Option<Timestamp>,
            completed_at: Option<Timestamp>,
            resolution: Option<Resolution>,
            rating: &'a Option<Box<Rating>>,
            message_count: i64,
            active_turn_id: Option<TurnId>,
            handover: Option<Brief<'a>>,
            sequence: i64,
        }
        Wire {
            id: self.id,
            status: self.status,
            owner: self.owner,
            epoch: self.epoch,
            channel: &self.details.channel,
            topic: &self.details.topic,
            language: &self.details.language,
            customer: &self.details.customer,
            metadata: &self.details.metadata,
            started_at: self.started_at,
            last_message_at: self.last_message_at,
            completed_at: self.completed_at,
            resolution: self.resolution,
            rating: &self.rating,
            message_count: self.message_count,
            active_turn_id: self.active_turn_id,
            handover: self.handover.as_deref().and_then(Brief::of),
            sequence: self.sequence,
        }
        .serialize(serializer)
    }
}

/// Who wrote an agent's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The company's own id of the agent.
    pub id: String,
    /// A name to show.
    pub name: Option<String>,
}

/// A stored message: it never changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Of its event.
    pub sequence: i64,
    /// Who wrote it.
    pub role: Role,
    /// The text.
    pub content: Arc<str>,
    /// What an answer rests on.
    pub citations: Arc<Vec<Citation>>,
    /// The client's own id of it.
    pub client_message_id: Option<String>,
    /// The turn it asks for or answers.
    pub turn_id: Option<TurnId>,
    /// Is all of it there?
    pub status: MessageStatus,
    /// How sure the answerer was.
    pub confidence: Option<f64>,
    /// The agent.
    pub author: Option<Author>,
    /// The client's own pairs.
    pub metadata: Metadata,
    /// When it was stored.
    pub created_at: Timestamp,
    /// What makes a repeat under the same client id the same message.
    #[serde(skip)]
    pub fingerprint: Option<String>,
}

/// Why a turn failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnError {
    /// For programs.
    pub code: String,
    /// For a person.
    pub message: String,
}

/// How a turn is to be answered, as its message asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TurnOptions {
    /// The model, if one was named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// How a load test wants its answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub synthetic: Option<Synthetic>,
}

/// One attempt at answering some messages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Turn {
    /// Its id.
    pub id: TurnId,
    /// Where it stands.
    pub status: TurnStatus,
    /// Why it was stopped, if it was.
    pub stop_reason: Option<StopReason>,
    /// The messages it answers.
    pub message_ids: Vec<MessageId>,
    /// Its answer, once stored.
    pub reply_id: Option<MessageId>,
    /// The turn that this one repeats.
    pub retry_of: Option<TurnId>,
    /// 1, and one more for each restart after a crash.
    pub attempt: i64,
    /// When its message was accepted.
    pub queued_at: Timestamp,
    /// When its (last) attempt began.
    pub started_at: Option<Timestamp>,
    /// When the first text of it was shown.
    pub first_token_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// What was counted.
    pub usage: Option<Usage>,
    /// The model that answered.
    pub model: Option<String>,
    /// What the answerer decided, once completed.
    pub outcome: Option<Outcome>,
    /// Where a cached answer came from.
    pub cache: Option<String>,
    /// Why it failed, if it did.
    pub error: Option<TurnError>,
    /// How it is to be answered.
    #[serde(skip)]
    pub options: TurnOptions,
    /// Of its first event.
    #[serde(skip)]
    pub accepted_sequence: i64,
    /// Of its terminal event.
    #[serde(skip)]
    pub ended_sequence: Option<i64>,
}
