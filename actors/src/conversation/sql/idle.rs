//! Which conversations are idle, and how they ended.

use sqlx::FromRow;

use super::rows::TurnRow;
use crate::{
    answer::Outcome,
    clock::Timestamp,
    conversation::{
        messages::ConversationKey,
        record::{Resolution, Turn, TurnStatus},
    },
    ids::{ConversationId, OrgId},
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table},
};

static OPEN: Table = Table {
    into: "open_conversations (conversation_id, org_id, seen_at)",
    columns: 3,
    key: 1,
    on_conflict: "ON CONFLICT DO NOTHING",
};

/// Turns that are looked at for the last answer: nobody says thank you more often in a row.
const TURNS_LOOKED_AT: i64 = 8;

/// The conversation is open from now on.
pub(in crate::conversation) fn opened(op: &mut Op, (org, conversation): ConversationKey, at: Timestamp) {
    op.insert(&OPEN, vec![conversation.into(), org.into(), at.into()]);
}

/// The conversation is not open any more.
pub(in crate::conversation) fn closed(op: &mut Op, conversation: ConversationId) {
    op.run("DELETE FROM open_conversations WHERE conversation_id = $1", vec![conversation.into()]);
}

/// The conversation was seen to be active then.
pub(in crate::conversation) fn seen(op: &mut Op, conversation: ConversationId, at: Timestamp) {
    const UPDATE: &str = "UPDATE open_conversations SET seen_at = $2 WHERE conversation_id = $1";
    op.run(UPDATE, vec![conversation.into(), at.into()]);
}

/// An open conversation that was not seen to be active for a while.
#[derive(Debug, Clone, FromRow)]
pub(in crate::conversation) struct Unseen {
    pub(in crate::conversation) org_id: OrgId,
    pub(in crate::conversation) conversation_id: ConversationId,
    /// When it was active really; `None`: it is gone.
    pub(in crate::conversation) active_at: Option<Timestamp>,
    pub(in crate::conversation) status: Option<String>,
    pub(in crate::conversation) active_turn_id: Option<String>,
}

/// Up to `limit` open conversations that were last seen to be active at `until` or before.
pub(in crate::conversation) async fn unseen_since(
    store: &Store,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Unseen>, StoreError> {
    const SELECT: &str = "
        SELECT o.org_id, o.conversation_id, COALESCE(c.last_message_at, c.started_at) AS active_at, c.status,
               c.active_turn_id
        FROM open_conversations o LEFT JOIN conversations c ON c.org_id = o.org_id AND c.id = o.conversation_id
        WHERE o.seen_at <= $1 ORDER BY o.seen_at LIMIT $2";
    on_pool!(store, |pool| sqlx::query_as(SELECT).bind(until).bind(limit).fetch_all(pool).await)
        .attempting("find idle conversations")
}

/// How a conversation ended that nobody completed: resolved if its last answer was grounded. Small talk is no answer,
/// in either direction.
pub(in crate::conversation) async fn resolution(
    store: &Store,
    (org, conversation): ConversationKey,
) -> Result<Resolution, StoreError> {
    const SELECT: &str = "
        SELECT * FROM turns WHERE conversation_id = $1 AND org_id = $2 ORDER BY accepted_sequence DESC LIMIT $3";
    let rows: Vec<TurnRow> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(conversation)
        .bind(org)
        .bind(TURNS_LOOKED_AT)
        .fetch_all(pool)
        .await)
    .attempting("read the last answers")?;
    let turns: Result<Vec<Turn>, _> = rows.into_iter().map(Turn::try_from).collect();
    let turns = turns.attempting("read a turn")?;
    let last = turns.iter().find(|turn| turn.outcome != Some(Outcome::SmallTalk));
    let grounded = last
        .is_some_and(|turn| turn.status == TurnStatus::Completed && turn.outcome == Some(Outcome::Answered));
    Ok(if grounded { Resolution::Resolved } else { Resolution::Unresolved })
}
