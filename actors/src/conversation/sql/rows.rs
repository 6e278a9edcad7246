//! Rows as they come from the store, and what they are.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::durable;
use crate::{
    answer::{Outcome, Usage},
    clock::Timestamp,
    conversation::record::{
        Conversation, Customer, Details, Message, MessageStatus, Owner, Rating, Resolution, Role, Status,
        StopReason, Turn, TurnError, TurnOptions, TurnStatus,
    },
    event::{DurableEvent, EventKind, EventRow},
    ids::{ConversationId, EventId, MessageId, OrgId, TurnId},
};

/// What no query asks a turn about, as its `detail`.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct TurnDetail {
    pub(super) stop_reason: Option<StopReason>,
    pub(super) usage: Option<Usage>,
    pub(super) model: Option<String>,
    pub(super) outcome: Option<Outcome>,
    pub(super) cache: Option<String>,
    pub(super) error: Option<TurnError>,
    pub(super) options: TurnOptions,
}

/// A row that is not a conversation, a message or a turn of ours: the database was changed by hand.
pub(super) fn corrupt(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

pub(super) fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

#[derive(FromRow)]
pub(in crate::conversation) struct ConversationRow {
    org_id: OrgId,
    id: ConversationId,
    status: String,
    owner: String,
    epoch: i64,
    sequence: i64,
    version: i64,
    channel: String,
    topic: Option<String>,
    language: Option<String>,
    customer_id: Option<String>,
    customer_name: Option<String>,
    customer_email: Option<String>,
    metadata: String,
    started_at: Timestamp,
    last_message_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    resolution: Option<String>,
    rating: Option<i64>,
    rating_comment: Option<String>,
    message_count: i64,
    active_turn_id: Option<TurnId>,
    handover: Option<String>,
    low_answers: i64,
}

impl TryFrom<ConversationRow> for Conversation {
    type Error = sqlx::Error;

    fn try_from(row: ConversationRow) -> Result<Self, sqlx::Error> {
        let customer = Customer { id: row.customer_id, name: row.customer_name, email: row.customer_email };
        let details = Details {
            channel: row.channel,
            topic: row.topic,
            language: row.language,
            customer,
            metadata: parse(&row.metadata)?,
        };
        Ok(Self {
            id: row.id,
            org: row.org_id,
            status: Status::parse(&row.status).ok_or_else(|| corrupt("status"))?,
            owner: Owner::parse(&row.owner).ok_or_else(|| corrupt("owner"))?,
            epoch: row.epoch,
            sequence: row.sequence,
            version: row.version,
            details: Arc::new(details),
            started_at: row.started_at,
            last_message_at: row.last_message_at,
            completed_at: row.completed_at,
            resolution: row.resolution.as_deref().and_then(Resolution::parse),
            rating: row.rating.map(|score| Box::new(Rating { score, comment: row.rating_comment })),
            message_count: row.message_count,
            active_turn_id: row.active_turn_id,
            handover: row.handover.as_deref().map(parse).transpose()?,
            low_answers: row.low_answers,
        })
    }
}

#[derive(FromRow)]
pub(in crate::conversation) struct MessageRow {
    sequence: i64,
    id: MessageId,
    role: String,
    status: String,
    content: String,
    citations: String,
    client_message_id: Option<String>,
    fingerprint: Option<String>,
    turn_id: Option<TurnId>,
    confidence: Option<f64>,
    author: Option<String>,
    metadata: String,
    created_at: Timestamp,
}

impl TryFrom<MessageRow> for Message {
    type Error = sqlx::Error;

    fn try_from(row: MessageRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id,
            sequence: row.sequence,
            role: Role::parse(&row.role).ok_or_else(|| corrupt("role"))?,
            content: row.content.into(),
            citations: Arc::new(parse(&row.citations)?),
            client_message_id: row.client_message_id,
            turn_id: row.turn_id,
            status: MessageStatus::parse(&row.status).ok_or_else(|| corrupt("status"))?,
            confidence: row.confidence,
            author: row.author.as_deref().map(parse).transpose()?,
            metadata: parse(&row.metadata)?,
            created_at: row.created_at,
            fingerprint: row.fingerprint,
        })
    }
}

#[derive(FromRow)]
pub(in crate::conversation) struct TurnRow {
    id: TurnId,
    status: String,
    attempt: i64,
    message_ids: String,
    reply_id: Option<MessageId>,
    retry_of: Option<TurnId>,
    accepted_sequence: i64,
    ended_sequence: Option<i64>,
    queued_at: Timestamp,
    started_at: Option<Timestamp>,
    first_token_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    detail: String,
}

impl TryFrom<TurnRow> for Turn {
    type Error = sqlx::Error;

    fn try_from(row: TurnRow) -> Result<Self, sqlx::Error> {
        let detail: TurnDetail = parse(&row.detail)?;
        Ok(Self {
            id: row.id,
            status: TurnStatus::parse(&row.status).ok_or_else(|| corrupt("status"))?,
            stop_reason: detail.stop_reason,
            message_ids: parse(&row.message_ids)?,
            reply_id: row.reply_id,
            retry_of: row.retry_of,
            attempt: row.attempt,
            queued_at: row.queued_at,
            started_at: row.started_at,
            first_token_at: row.first_token_at,
            completed_at: row.completed_at,
            usage: detail.usage,
            model: detail.model,
            outcome: detail.outcome,
            cache: detail.cache,
            error: detail.error,
            options: detail.options,
            accepted_sequence: row.accepted_sequence,
            ended_sequence: row.ended_sequence,
        })
    }
}

/// An event joined with its message, whose text is stored nowhere else.
#[derive(FromRow)]
pub(in crate::conversation) struct EventWithMessage {
    stream_id: String,
    event_sequence: i64,
    event_id: EventId,
    pub(super) org_id: OrgId,
    kind: String,
    event_turn: Option<TurnId>,
    data: String,
    pub(super) event_at: Timestamp,
    id: Option<MessageId>,
    role: Option<String>,
    status: Option<String>,
    content: Option<String>,
    citations: Option<String>,
    client_message_id: Option<String>,
    turn_id: Option<TurnId>,
    confidence: Option<f64>,
    author: Option<String>,
    metadata: Option<String>,
    created_at: Option<Timestamp>,
}

impl EventWithMessage {
    fn message(&self) -> Result<Message, sqlx::Error> {
        fn text(column: &Option<String>) -> Result<String, sqlx::Error> {
            column.clone().ok_or_else(|| corrupt("an event's message is missing"))
        }
        Message::try_from(MessageRow {
            sequence: self.event_sequence,
            id: self.id.ok_or_else(|| corrupt("an event's message is missing"))?,
            role: text(&self.role)?,
            status: text(&self.status)?,
            content: text(&self.content)?,
            citations: text(&self.citations)?,
            client_message_id: self.client_message_id.clone(),
            fingerprint: None,
            turn_id: self.turn_id,
            confidence: self.confidence,
            author: self.author.clone(),
            metadata: text(&self.metadata)?,
            created_at: self.created_at.unwrap_or(self.event_at),
        })
    }

    pub(super) fn id(&self) -> EventId {
        self.event_id
    }

    pub(super) fn into_event(self) -> Result<DurableEvent, sqlx::Error> {
        let kind = EventKind::parse(&self.kind).ok_or_else(|| corrupt("kind"))?;
        let message = kind.has_message().then(|| self.message()).transpose()?;
        let row = EventRow {
            stream_id: self.stream_id.into(),
            sequence: self.event_sequence,
            id: self.event_id,
            org: self.org_id,
            kind,
            turn: self.event_turn,
            data: self.data.into(),
            at: self.event_at,
        };
        durable(&row, message.as_ref()).map_err(|error| sqlx::Error::Decode(error.into()))
    }
}
