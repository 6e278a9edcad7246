//! Reads of handovers. What an agent is shown stands in the data of a handover's last event.

use serde::Deserialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::{
    lists::Slice,
    rows::{corrupt, parse},
};
use crate::{
    clock::Timestamp,
    conversation::{
        handover::{Handover, HandoverObject, HandoverReason, HandoverState},
        messages::ConversationKey,
    },
    ids::{ConversationId, HandoverId, OrgId},
    on_pool,
    store::{Attempting, Store, StoreError},
};

#[derive(FromRow)]
struct HandoverRow {
    id: HandoverId,
    state: String,
    reason: String,
    target: Option<String>,
    note: Option<String>,
    agent: Option<String>,
    requested_at: Timestamp,
    accepted_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

impl TryFrom<HandoverRow> for Handover {
    type Error = sqlx::Error;

    fn try_from(row: HandoverRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id,
            state: HandoverState::parse(&row.state).ok_or_else(|| corrupt("state"))?,
            reason: HandoverReason::parse(&row.reason).ok_or_else(|| corrupt("reason"))?,
            target: row.target,
            note: row.note,
            agent: row.agent.as_deref().map(parse).transpose()?,
            requested_at: row.requested_at,
            accepted_at: row.accepted_at,
            ended_at: row.ended_at,
            expires_at: row.expires_at,
        })
    }
}

/// A handover's last event, and a model's summary if one has come.
#[derive(FromRow)]
struct ShownRow {
    data: String,
    summary: Option<String>,
}

impl TryFrom<ShownRow> for HandoverObject {
    type Error = sqlx::Error;

    fn try_from(row: ShownRow) -> Result<Self, sqlx::Error> {
        #[derive(Deserialize)]
        struct Told {
            handover: HandoverObject,
        }
        let Told { mut handover } = parse(&row.data)?;
        if row.summary.is_some() {
            handover.summary = row.summary;
        }
        Ok(handover)
    }
}

const SHOWN: &str = "
    SELECT e.data, h.summary
    FROM handovers h
    JOIN events e ON e.stream_id = h.conversation_id AND e.sequence = h.sequence
    WHERE h.org_id = $1";

/// The conversation that a handover of the caller's organization belongs to.
///
/// # Errors
/// The store failed.
pub async fn conversation_of(
    store: &Store,
    org: OrgId,
    id: HandoverId,
) -> Result<Option<ConversationId>, StoreError> {
    const SELECT: &str = "SELECT conversation_id FROM handovers WHERE org_id = $1 AND id = $2";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(org).bind(id).fetch_optional(pool).await)
        .attempting("find a handover")
}

/// A handover of the caller's organization, as an agent is shown it.
///
/// # Errors
/// The store failed.
pub async fn handover(
    store: &Store,
    org: OrgId,
    id: HandoverId,
) -> Result<Option<HandoverObject>, StoreError> {
    let select = format!("{SHOWN} AND h.id = $2");
    let row: Option<ShownRow> = on_pool!(store, |pool| {
        sqlx::query_as(AssertSqlSafe(select)).bind(org).bind(id).fetch_optional(pool).await
    })
    .attempting("read a handover")?;
    row.map(HandoverObject::try_from).transpose().attempting("read a handover")
}

/// The handovers of an organization, in the order in which they were asked for.
///
/// # Errors
/// The store failed.
pub async fn list(
    store: &Store,
    org: OrgId,
    state: Option<HandoverState>,
    slice: Slice<HandoverId>,
) -> Result<Vec<HandoverObject>, StoreError> {
    // A state, or every one; ids sort by time, and no id is empty.
    let state = state.map_or("", HandoverState::as_str);
    let after = slice.after.map_or_else(String::new, |id| id.to_string());
    let which = match (slice.descending, slice.after) {
        (true, Some(_)) => " AND ($2 = '' OR h.state = $2) AND h.id < $3 ORDER BY h.id DESC LIMIT $4",
        (true, None) => " AND ($2 = '' OR h.state = $2) AND h.id > $3 ORDER BY h.id DESC LIMIT $4",
        (false, _) => " AND ($2 = '' OR h.state = $2) AND h.id > $3 ORDER BY h.id LIMIT $4",
    };
    let select = format!("{SHOWN}{which}");
    let rows: Vec<ShownRow> = on_pool!(store, |pool| {
        sqlx::query_as(AssertSqlSafe(select))
            .bind(org)
            .bind(state)
            .bind(after)
            .bind(slice.rows)
            .fetch_all(pool)
            .await
    })
    .attempting("list handovers")?;
    rows.into_iter().map(HandoverObject::try_from).collect::<Result<_, _>>().attempting("read a handover")
}

/// One handover of a conversation.
pub(in crate::conversation) async fn of_conversation(
    store: &Store,
    (org, conversation): ConversationKey,
    id: HandoverId,
) -> Result<Option<Handover>, StoreError> {
    const SELECT: &str = "SELECT * FROM handovers WHERE conversation_id = $1 AND id = $2 AND org_id = $3";
    let row: Option<HandoverRow> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(conversation)
        .bind(id)
        .bind(org)
        .fetch_optional(pool)
        .await)
    .attempting("read a handover")?;
    row.map(Handover::try_from).transpose().attempting("read a handover")
}

/// Handovers whose time is up, the longest due first.
pub(in crate::conversation) async fn due(
    store: &Store,
    at: Timestamp,
    limit: i64,
) -> Result<Vec<(OrgId, ConversationId, HandoverId)>, StoreError> {
    const SELECT: &str = "
        SELECT org_id, conversation_id, id FROM handovers
        WHERE state = 'requested' AND expires_at IS NOT NULL AND expires_at <= $1
        ORDER BY expires_at LIMIT $2";
    on_pool!(store, |pool| sqlx::query_as(SELECT).bind(at).bind(limit).fetch_all(pool).await)
        .attempting("find handovers that are due")
}

/// When the next handover's time is up.
pub(in crate::conversation) async fn next_due(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    const SELECT: &str = "
        SELECT MIN(expires_at) FROM handovers WHERE state = 'requested' AND expires_at IS NOT NULL";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).fetch_one(pool).await)
        .attempting("find the handover that is due next")
}
