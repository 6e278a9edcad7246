//! The SQL of conversations: what an op writes, and what an actor or a reader loads.

pub mod lists;
pub mod read;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, FromRow};

use super::{
    messages::ConversationKey,
    record::{
        Conversation, Customer, Details, Message, MessageStatus, Owner, Rating, Resolution, Role, Status,
        StopReason, Turn, TurnError, TurnOptions, TurnStatus,
    },
};
use crate::{
    answer::{Outcome, Usage},
    clock::Timestamp,
    event::{DurableEvent, EventKind, EventRow, render},
    ids::{ConversationId, EventId, MessageId, OrgId, TurnId},
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table},
};

static CONVERSATIONS: Table = Table {
    into: "conversations (org_id, id, status, owner, epoch, sequence, version, channel, topic, language, \
           customer_id, customer_name, customer_email, metadata, started_at, last_message_at, completed_at, \
           resolution, rating, rating_comment, message_count, active_turn_id)",
    columns: 22,
    key: 2,
    on_conflict: "ON CONFLICT (org_id, id) DO UPDATE SET status = excluded.status, owner = excluded.owner, \
                  epoch = excluded.epoch, sequence = excluded.sequence, version = excluded.version, \
                  topic = excluded.topic, language = excluded.language, customer_id = excluded.customer_id, \
                  customer_name = excluded.customer_name, customer_email = excluded.customer_email, \
                  metadata = excluded.metadata, last_message_at = excluded.last_message_at, \
                  completed_at = excluded.completed_at, resolution = excluded.resolution, \
                  rating = excluded.rating, rating_comment = excluded.rating_comment, \
                  message_count = excluded.message_count, active_turn_id = excluded.active_turn_id",
};

static MESSAGES: Table = Table {
    into: "messages (conversation_id, sequence, org_id, id, role, status, content, citations, client_message_id, \
           fingerprint, turn_id, confidence, author, metadata, created_at)",
    columns: 15,
    key: 2,
    on_conflict: "",
};

static TURNS: Table = Table {
    into: "turns (conversation_id, id, org_id, status, attempt, message_ids, reply_id, retry_of, \
           accepted_sequence, ended_sequence, queued_at, started_at, first_token_at, completed_at, detail)",
    columns: 15,
    key: 2,
    on_conflict: "ON CONFLICT (conversation_id, id) DO UPDATE SET status = excluded.status, \
                  attempt = excluded.attempt, message_ids = excluded.message_ids, reply_id = excluded.reply_id, \
                  ended_sequence = excluded.ended_sequence, started_at = excluded.started_at, \
                  first_token_at = excluded.first_token_at, completed_at = excluded.completed_at, \
                  detail = excluded.detail",
};

/// What no query asks a turn about, as its `detail`.
#[derive(Serialize, Deserialize, Default)]
struct TurnDetail {
    stop_reason: Option<StopReason>,
    usage: Option<Usage>,
    model: Option<String>,
    outcome: Option<Outcome>,
    cache: Option<String>,
    error: Option<TurnError>,
    options: TurnOptions,
}

/// Our own types always serialize; an empty document would be found by the readers' tests.
fn document<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn put_conversation(op: &mut Op, conversation: &Conversation) {
    let Details { channel, topic, language, customer, metadata } = &*conversation.details;
    let rating = conversation.rating.as_ref();
    op.insert(
        &CONVERSATIONS,
        vec![
            conversation.org.into(),
            conversation.id.into(),
            conversation.status.as_str().into(),
            conversation.owner.as_str().into(),
            conversation.epoch.into(),
            conversation.sequence.into(),
            conversation.version.into(),
            channel.as_str().into(),
            topic.as_deref().into(),
            language.as_deref().into(),
            customer.id.as_deref().into(),
            customer.name.as_deref().into(),
            customer.email.as_deref().into(),
            document(metadata).into(),
            conversation.started_at.into(),
            conversation.last_message_at.into(),
            conversation.completed_at.into(),
            conversation.resolution.map(Resolution::as_str).into(),
            rating.map(|rating| rating.score).into(),
            rating.and_then(|rating| rating.comment.as_deref()).into(),
            conversation.message_count.into(),
            conversation.active_turn_id.into(),
        ],
    );
}

pub(super) fn put_message(op: &mut Op, (org, conversation): ConversationKey, message: &Message) {
    op.insert(
        &MESSAGES,
        vec![
            conversation.into(),
            message.sequence.into(),
            org.into(),
            message.id.into(),
            message.role.as_str().into(),
            message.status.as_str().into(),
            (&*message.content).into(),
            document(&*message.citations).into(),
            message.client_message_id.as_deref().into(),
            message.fingerprint.as_deref().into(),
            message.turn_id.into(),
            message.confidence.into(),
            message.author.as_ref().map(document).into(),
            document(&message.metadata).into(),
            message.created_at.into(),
        ],
    );
}

pub(super) fn put_turn(op: &mut Op, (org, conversation): ConversationKey, turn: &Turn) {
    let detail = TurnDetail {
        stop_reason: turn.stop_reason,
        usage: turn.usage,
        model: turn.model.clone(),
        outcome: turn.outcome,
        cache: turn.cache.clone(),
        error: turn.error.clone(),
        options: turn.options.clone(),
    };
    op.insert(
        &TURNS,
        vec![
            conversation.into(),
            turn.id.into(),
            org.into(),
            turn.status.as_str().into(),
            turn.attempt.into(),
            document(&turn.message_ids).into(),
            turn.reply_id.into(),
            turn.retry_of.into(),
            turn.accepted_sequence.into(),
            turn.ended_sequence.into(),
            turn.queued_at.into(),
            turn.started_at.into(),
            turn.first_token_at.into(),
            turn.completed_at.into(),
            document(&detail).into(),
        ],
    );
}

/// Erases everything of a conversation but the event that says so, which the caller adds.
pub(super) fn erase(op: &mut Op, (org, conversation): ConversationKey) {
    const BY_CONVERSATION: [&str; 4] = [
        "DELETE FROM messages WHERE conversation_id = $1",
        "DELETE FROM turns WHERE conversation_id = $1",
        "DELETE FROM events WHERE stream_id = $1",
        "DELETE FROM idempotency WHERE conversation_id = $1",
    ];
    for sql in BY_CONVERSATION {
        op.run(sql, vec![conversation.into()]);
    }
    op.run_on_one(
        "DELETE FROM conversations WHERE org_id = $1 AND id = $2",
        vec![org.into(), conversation.into()],
    );
}

/// A row that is not a conversation, a message or a turn of ours: the database was changed by hand.
fn corrupt(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

#[derive(FromRow)]
pub(super) struct ConversationRow {
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
            rating: row.rating.map(|score| Rating { score, comment: row.rating_comment }),
            message_count: row.message_count,
            active_turn_id: row.active_turn_id,
        })
    }
}

#[derive(FromRow)]
pub(super) struct MessageRow {
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
pub(super) struct TurnRow {
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
pub(super) struct EventWithMessage {
    stream_id: String,
    event_sequence: i64,
    event_id: EventId,
    org_id: OrgId,
    kind: String,
    event_turn: Option<TurnId>,
    data: String,
    event_at: Timestamp,
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

    fn into_event(self) -> Result<DurableEvent, sqlx::Error> {
        let kind = EventKind::parse(&self.kind).ok_or_else(|| corrupt("kind"))?;
        let message = kind.has_message().then(|| self.message()).transpose()?;
        let row = EventRow {
            stream_id: self.stream_id,
            sequence: self.event_sequence,
            id: self.event_id,
            org: self.org_id,
            kind,
            turn: self.event_turn,
            data: self.data,
            at: self.event_at,
        };
        durable(&row, message.as_ref()).map_err(|error| sqlx::Error::Decode(error.into()))
    }
}

/// Renders an event with its message: the same bytes on a live stream and read back.
pub(super) fn durable(row: &EventRow, message: Option<&Message>) -> Result<DurableEvent, serde_json::Error> {
    #[derive(Serialize)]
    struct WithMessage<'a> {
        message: &'a Message,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn_id: Option<Option<TurnId>>,
    }
    #[derive(Deserialize)]
    struct WithTurn {
        turn: OpenedTurn,
    }
    #[derive(Deserialize)]
    struct OpenedTurn {
        attempt: i64,
    }
    let data = match message {
        Some(message) => {
            let turn_id = (row.kind == EventKind::MessageReceived).then_some(message.turn_id);
            serde_json::value::to_raw_value(&WithMessage { message, turn_id })?
        }
        None => RawValue::from_string(row.data.clone())?,
    };
    let attempt = match row.kind.opens_answer() {
        true => serde_json::from_str::<WithTurn>(&row.data)?.turn.attempt,
        false => 0,
    };
    let reply =
        message.filter(|message| message.role == Role::Assistant).map(|message| Arc::clone(&message.content));
    Ok(DurableEvent {
        sequence: row.sequence,
        kind: row.kind,
        turn: row.turn,
        attempt,
        reply,
        json: render(row, &data)?,
    })
}

/// Every event with its message; what selects among them follows.
const EVENTS_WITH_MESSAGES: &str = "
    SELECT e.stream_id, e.sequence AS event_sequence, e.id AS event_id, e.org_id, e.kind,
           e.turn_id AS event_turn, e.data, e.created_at AS event_at,
           m.id, m.role, m.status, m.content, m.citations, m.client_message_id, m.turn_id, m.confidence,
           m.author, m.metadata, m.created_at
    FROM events e
    LEFT JOIN messages m ON m.conversation_id = e.stream_id AND m.sequence = e.sequence";

/// The events of a conversation of the caller's organization after `after`, oldest first.
pub(super) async fn events_after(
    store: &Store,
    (org, conversation): ConversationKey,
    after: i64,
    limit: i64,
) -> Result<Vec<DurableEvent>, StoreError> {
    const WHICH: &str =
        " WHERE e.stream_id = $1 AND e.org_id = $2 AND e.sequence > $3 ORDER BY e.sequence LIMIT $4";
    let select = format!("{EVENTS_WITH_MESSAGES}{WHICH}");
    let rows: Vec<EventWithMessage> = on_pool!(store, |pool| {
        sqlx::query_as(AssertSqlSafe(select))
            .bind(conversation)
            .bind(org)
            .bind(after)
            .bind(limit)
            .fetch_all(pool)
            .await
    })
    .attempting("read events")?;
    rows.into_iter().map(EventWithMessage::into_event).collect::<Result<_, _>>().attempting("read an event")
}

/// Everything an actor needs to go on with a conversation.
pub(super) struct Loaded {
    pub(super) conversation: Conversation,
    /// Running or waiting, in order.
    pub(super) open: Vec<Turn>,
    /// The turn accepted last, if it has ended.
    pub(super) last: Option<Turn>,
}

pub(super) async fn load(store: &Store, key: ConversationKey) -> Result<Option<Loaded>, StoreError> {
    const TURNS: &str = "
        SELECT * FROM turns WHERE conversation_id = $1 AND status IN ('queued', 'running') ORDER BY accepted_sequence";
    const LAST: &str =
        "SELECT * FROM turns WHERE conversation_id = $1 ORDER BY accepted_sequence DESC LIMIT 1";
    let Some(conversation) = read::conversation(store, key).await? else { return Ok(None) };
    let open: Vec<TurnRow> = on_pool!(store, |pool| sqlx::query_as(TURNS).bind(key.1).fetch_all(pool).await)
        .attempting("read open turns")?;
    let last: Option<TurnRow> =
        on_pool!(store, |pool| sqlx::query_as(LAST).bind(key.1).fetch_optional(pool).await)
            .attempting("read the last turn")?;
    let turns = |rows: Vec<TurnRow>| rows.into_iter().map(Turn::try_from).collect::<Result<Vec<_>, _>>();
    let open = turns(open).attempting("read a turn")?;
    let last = last
        .map(Turn::try_from)
        .transpose()
        .attempting("read a turn")?
        .filter(|turn| turn.status.has_ended());
    Ok(Some(Loaded { conversation, open, last }))
}

/// Conversations that a crash left with open turns.
pub(super) async fn interrupted(store: &Store) -> Result<Vec<ConversationKey>, StoreError> {
    const SELECT: &str =
        "SELECT DISTINCT org_id, conversation_id FROM turns WHERE status IN ('queued', 'running')";
    on_pool!(store, |pool| sqlx::query_as(SELECT).fetch_all(pool).await).attempting("find interrupted turns")
}
