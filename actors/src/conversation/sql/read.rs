//! Reads of conversations for whoever asks: the actor is not woken.

use super::rows::{ConversationRow, MessageRow, TurnRow};
use crate::{
    conversation::{
        messages::ConversationKey,
        record::{Conversation, Message, Turn},
    },
    ids::{MessageId, TurnId},
    on_pool,
    store::{Attempting, Store, StoreError},
};

/// A conversation of the caller's organization.
///
/// # Errors
/// The store failed.
pub async fn conversation(
    store: &Store,
    (org, id): ConversationKey,
) -> Result<Option<Conversation>, StoreError> {
    const SELECT: &str = "SELECT * FROM conversations WHERE org_id = $1 AND id = $2";
    let row: Option<ConversationRow> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).bind(id).fetch_optional(pool).await)
            .attempting("read a conversation")?;
    row.map(Conversation::try_from).transpose().attempting("read a conversation")
}

/// A turn of a conversation of the caller's organization.
///
/// # Errors
/// The store failed.
pub async fn turn(
    store: &Store,
    (org, id): ConversationKey,
    turn: TurnId,
) -> Result<Option<Turn>, StoreError> {
    const SELECT: &str = "SELECT * FROM turns WHERE conversation_id = $1 AND id = $2 AND org_id = $3";
    let row: Option<TurnRow> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(id)
        .bind(turn)
        .bind(org)
        .fetch_optional(pool)
        .await)
    .attempting("read a turn")?;
    row.map(Turn::try_from).transpose().attempting("read a turn")
}

/// The turn accepted last in a conversation of the caller's organization.
///
/// # Errors
/// The store failed.
pub async fn last_turn(store: &Store, (org, id): ConversationKey) -> Result<Option<Turn>, StoreError> {
    const SELECT: &str = "
        SELECT * FROM turns WHERE conversation_id = $1 AND org_id = $2 ORDER BY accepted_sequence DESC LIMIT 1";
    let row: Option<TurnRow> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).bind(id).bind(org).fetch_optional(pool).await)
            .attempting("read the last turn")?;
    row.map(Turn::try_from).transpose().attempting("read a turn")
}

/// A message of a conversation of the caller's organization.
///
/// # Errors
/// The store failed.
pub async fn message(
    store: &Store,
    (org, id): ConversationKey,
    message: MessageId,
) -> Result<Option<Message>, StoreError> {
    const SELECT: &str = "SELECT * FROM messages WHERE conversation_id = $1 AND id = $2 AND org_id = $3";
    let row: Option<MessageRow> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(id)
        .bind(message)
        .bind(org)
        .fetch_optional(pool)
        .await)
    .attempting("read a message")?;
    row.map(Message::try_from).transpose().attempting("read a message")
}

/// A message by the client's own id of it.
///
/// # Errors
/// The store failed.
pub async fn client_message(
    store: &Store,
    (org, id): ConversationKey,
    client_id: &str,
) -> Result<Option<Message>, StoreError> {
    const SELECT: &str =
        "SELECT * FROM messages WHERE conversation_id = $1 AND client_message_id = $2 AND org_id = $3";
    let row: Option<MessageRow> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(id)
        .bind(client_id)
        .bind(org)
        .fetch_optional(pool)
        .await)
    .attempting("read a message")?;
    row.map(Message::try_from).transpose().attempting("read a message")
}

/// The last messages of a conversation, oldest first: what a prompt is made of.
///
/// # Errors
/// The store failed.
pub(in crate::conversation) async fn last_messages(
    store: &Store,
    (org, id): ConversationKey,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    const SELECT: &str =
        "SELECT * FROM messages WHERE conversation_id = $1 AND org_id = $2 ORDER BY sequence DESC LIMIT $3";
    let rows: Vec<MessageRow> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).bind(id).bind(org).bind(limit).fetch_all(pool).await)
            .attempting("read messages")?;
    rows.into_iter().rev().map(Message::try_from).collect::<Result<_, _>>().attempting("read a message")
}

/// The answer that is open at `sequence`: whose, which attempt, and where it was opened.
///
/// # Errors
/// The store failed.
pub(in crate::conversation) async fn open_answer(
    store: &Store,
    (org, id): ConversationKey,
    sequence: i64,
) -> Result<Option<(TurnId, i64, i64)>, StoreError> {
    // The last event that opened an answer, unless its turn ended between it and `sequence`.
    const SELECT: &str = "
        SELECT o.turn_id, o.sequence,
               (SELECT COUNT(*) FROM events r
                WHERE r.stream_id = $1 AND r.sequence <= o.sequence AND r.turn_id = o.turn_id
                  AND r.kind IN ('turn.started', 'turn.restarted')) AS attempt
        FROM events o
        WHERE o.stream_id = $1 AND o.org_id = $2 AND o.sequence <= $3
          AND o.kind IN ('turn.started', 'turn.restarted')
          AND NOT EXISTS (SELECT 1 FROM events t
                          WHERE t.stream_id = $1 AND t.sequence > o.sequence AND t.sequence <= $3
                            AND t.turn_id = o.turn_id
                            AND t.kind IN ('turn.completed', 'turn.stopped', 'turn.failed'))
        ORDER BY o.sequence DESC LIMIT 1";
    let row: Option<(TurnId, i64, i64)> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(id)
        .bind(org)
        .bind(sequence)
        .fetch_optional(pool)
        .await)
    .attempting("find the open answer")?;
    Ok(row.map(|(turn, opened, attempt)| (turn, attempt, opened)))
}

/// Was the turn's answer begun again after `sequence`?
///
/// # Errors
/// The store failed.
pub(in crate::conversation) async fn opened_again(
    store: &Store,
    (org, id): ConversationKey,
    turn: TurnId,
    sequence: i64,
) -> Result<bool, StoreError> {
    const SELECT: &str = "
        SELECT COUNT(*) FROM events
        WHERE stream_id = $1 AND org_id = $2 AND sequence > $3 AND turn_id = $4 AND kind = 'turn.restarted'";
    let count: i64 = on_pool!(store, |pool| {
        sqlx::query_scalar(SELECT).bind(id).bind(org).bind(sequence).bind(turn).fetch_one(pool).await
    })
    .attempting("find a restart")?;
    Ok(count > 0)
}
