//! The SQL of conversations: what an op writes, and what an actor or a reader loads.

pub mod client_ids;
pub(super) mod erasure;
pub mod handovers;
pub(super) mod idle;
pub mod lists;
pub mod log;
pub mod placed;
pub mod read;
mod rows;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::AssertSqlSafe;

use self::rows::{EventWithMessage, TurnDetail, TurnRow};
use super::{
    handover::Handover,
    messages::ConversationKey,
    record::{Conversation, Details, Message, Resolution, Role, Turn},
};
use crate::{
    event::{DurableEvent, EventKind, EventRow, render},
    ids::{HandoverId, TurnId},
    on_pool, outbox,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table},
};

static CONVERSATIONS: Table = Table {
    into: "conversations (org_id, id, status, owner, epoch, sequence, version, channel, topic, language, \
           customer_id, customer_name, customer_email, metadata, started_at, last_message_at, completed_at, \
           resolution, rating, rating_comment, message_count, active_turn_id, handover, low_answers)",
    columns: 24,
    key: 2,
    on_conflict: "ON CONFLICT (org_id, id) DO UPDATE SET status = excluded.status, owner = excluded.owner, \
                  epoch = excluded.epoch, sequence = excluded.sequence, version = excluded.version, \
                  topic = excluded.topic, language = excluded.language, customer_id = excluded.customer_id, \
                  customer_name = excluded.customer_name, customer_email = excluded.customer_email, \
                  metadata = excluded.metadata, last_message_at = excluded.last_message_at, \
                  completed_at = excluded.completed_at, resolution = excluded.resolution, \
                  rating = excluded.rating, rating_comment = excluded.rating_comment, \
                  message_count = excluded.message_count, active_turn_id = excluded.active_turn_id, \
                  handover = excluded.handover, low_answers = excluded.low_answers",
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

static HANDOVERS: Table = Table {
    into: "handovers (conversation_id, id, org_id, state, reason, target, note, agent, requested_at, accepted_at, \
           ended_at, expires_at, sequence)",
    columns: 13,
    key: 2,
    on_conflict: "ON CONFLICT (conversation_id, id) DO UPDATE SET state = excluded.state, note = excluded.note, \
                  agent = excluded.agent, accepted_at = excluded.accepted_at, ended_at = excluded.ended_at, \
                  expires_at = excluded.expires_at, sequence = excluded.sequence",
};

static UNANSWERED: Table = Table {
    into: "unanswered (conversation_id, turn_id, org_id, message_id, language, likeness, asked_at)",
    columns: 7,
    key: 2,
    on_conflict: "ON CONFLICT DO NOTHING",
};

/// Our own types always serialize; an empty document would be found by the readers' tests.
fn document<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn put_conversation(op: &mut Op, conversation: &Conversation) {
    let Details { channel, topic, language, customer, metadata } = &*conversation.details;
    let rating = conversation.rating.as_deref();
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
            conversation.handover.as_deref().map(document).into(),
            conversation.low_answers.into(),
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

pub(super) fn put_handover(
    op: &mut Op,
    (org, conversation): ConversationKey,
    handover: &Handover,
    sequence: i64,
) {
    op.insert(
        &HANDOVERS,
        vec![
            conversation.into(),
            handover.id.into(),
            org.into(),
            handover.state.as_str().into(),
            handover.reason.as_str().into(),
            handover.target.as_deref().into(),
            handover.note.as_deref().into(),
            handover.agent.as_ref().map(document).into(),
            handover.requested_at.into(),
            handover.accepted_at.into(),
            handover.ended_at.into(),
            handover.expires_at.into(),
            sequence.into(),
        ],
    );
}

/// A model's summary has come, if the handover is still there.
pub(super) fn put_summary(
    op: &mut Op,
    (org, conversation): ConversationKey,
    handover: HandoverId,
    summary: &str,
) {
    op.run(
        "UPDATE handovers SET summary = $1 WHERE conversation_id = $2 AND id = $3 AND org_id = $4",
        vec![summary.into(), conversation.into(), handover.into(), org.into()],
    );
}

/// Keeps in mind a turn that ended without an answer.
pub(super) fn put_unanswered(op: &mut Op, conversation: &Conversation, turn: &Turn) {
    let Some(message) = turn.message_ids.last() else { return };
    op.insert(
        &UNANSWERED,
        vec![
            conversation.id.into(),
            turn.id.into(),
            conversation.org.into(),
            (*message).into(),
            conversation.details.language.as_deref().into(),
            // Worked out when somebody looks: the words are not here.
            "".into(),
            turn.queued_at.into(),
        ],
    );
}

/// Leaves what an erased conversation came to, without a word or a name: counts stay, and its events, of which the
/// figures may not have been made yet, are about to go. Analytics takes the rows with `conversation.deleted`.
fn leave_counts(op: &mut Op, (org, conversation): ConversationKey) {
    const CONVERSATION: &str = r#"
        INSERT INTO erased_conversations (org_id, conversation_id, channel, topic, started_at, completed_at,
            resolution, rating, messages, first_message_at, last_message_at, handovers, accepted, unanswered)
        SELECT c.org_id, c.id, c.channel, c.topic, c.started_at, c.completed_at, c.resolution, c.rating,
            (SELECT COUNT(*) FROM messages m WHERE m.conversation_id = c.id AND m.role <> 'system'),
            (SELECT MIN(m.created_at) FROM messages m WHERE m.conversation_id = c.id AND m.role <> 'system'),
            (SELECT MAX(m.created_at) FROM messages m WHERE m.conversation_id = c.id AND m.role <> 'system'),
            (SELECT COUNT(*) FROM events e WHERE e.stream_id = c.id AND e.kind = 'handover.requested'),
            (SELECT COUNT(*) FROM events e WHERE e.stream_id = c.id AND e.kind = 'handover.accepted'),
            (SELECT COUNT(*) FROM turns t WHERE t.conversation_id = c.id AND t.status = 'completed'
             AND t.detail LIKE '%"outcome":"unanswered"%')
        FROM conversations c WHERE c.org_id = $1 AND c.id = $2"#;
    const TURNS: &str = "
        INSERT INTO erased_turns (org_id, conversation_id, number, queued_at, first_token_at, completed_at)
        SELECT org_id, conversation_id, accepted_sequence, queued_at, first_token_at, completed_at
        FROM turns WHERE org_id = $1 AND conversation_id = $2 AND status = 'completed'";
    for sql in [CONVERSATION, TURNS] {
        op.run(sql, vec![org.into(), conversation.into()]);
    }
}

/// Erases everything of a conversation but the event that says so, which the caller adds.
pub(super) fn erase(op: &mut Op, (org, conversation): ConversationKey) {
    leave_counts(op, (org, conversation));
    const BY_CONVERSATION: [&str; 8] = [
        "DELETE FROM open_conversations WHERE conversation_id = $1",
        "DELETE FROM handovers WHERE conversation_id = $1",
        "DELETE FROM client_ids WHERE conversation_id = $1",
        "DELETE FROM unanswered WHERE conversation_id = $1",
        "DELETE FROM messages WHERE conversation_id = $1",
        "DELETE FROM turns WHERE conversation_id = $1",
        "DELETE FROM events WHERE stream_id = $1",
        "DELETE FROM idempotency WHERE conversation_id = $1",
    ];
    // First: it finds deliveries by the events that they are of.
    outbox::erase_conversation(op, conversation);
    for sql in BY_CONVERSATION {
        op.run(sql, vec![conversation.into()]);
    }
    op.run_on_one(
        "DELETE FROM conversations WHERE org_id = $1 AND id = $2",
        vec![org.into(), conversation.into()],
    );
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
    let with_message;
    let data: &RawValue = match message {
        Some(message) => {
            let turn_id = (row.kind == EventKind::MessageReceived).then_some(message.turn_id);
            with_message = serde_json::value::to_raw_value(&WithMessage { message, turn_id })?;
            &with_message
        }
        None => serde_json::from_str(&row.data)?,
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
        json: render(row, data)?,
    })
}

/// Every event with its message; what selects among them follows.
const EVENTS_WITH_MESSAGES: &str = "
    SELECT e.position AS event_position, e.stream_id, e.sequence AS event_sequence, e.id AS event_id, e.org_id, e.kind,
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
