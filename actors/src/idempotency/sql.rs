//! The rows of requests that named themselves.

use super::{Asked, Effect};
use crate::{
    clock::Timestamp,
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Row, Table},
};

const COLUMNS: &str = "idempotency (scope, key, fingerprint, effect, conversation_id, created_at)";

static ONCE: Table = Table { into: COLUMNS, columns: 6, key: 2, on_conflict: "" };

static IF_NEW: Table = Table { into: COLUMNS, columns: 6, key: 2, on_conflict: "ON CONFLICT DO NOTHING" };

/// What a row that is there already means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twice {
    /// The effect must not happen again.
    Conflict,
    /// It is known already.
    Ignored,
}

/// What is known of an earlier request.
pub(super) struct Known {
    pub(super) fingerprint: String,
    pub(super) effect: Effect,
    pub(super) created_at: Timestamp,
}

pub(super) fn row(asked: &Asked, effect: &Effect, at: Timestamp, twice: Twice) -> Row {
    let conversation = effect.conversation().map(|id| id.to_string()).unwrap_or_default();
    // Ids always serialize.
    let effect = serde_json::to_string(effect).unwrap_or_default();
    let table = match twice {
        Twice::Conflict => &ONCE,
        Twice::Ignored => &IF_NEW,
    };
    Row {
        table,
        values: vec![
            asked.scope.as_str().into(),
            asked.key.as_str().into(),
            asked.fingerprint.as_str().into(),
            effect.into(),
            conversation.into(),
            at.into(),
        ],
    }
}

/// What the caller's request of that name did.
pub(super) async fn find(store: &Store, asked: &Asked) -> Result<Option<Known>, StoreError> {
    const SELECT: &str =
        "SELECT fingerprint, effect, created_at FROM idempotency WHERE scope = $1 AND key = $2";
    let row: Option<(String, String, Timestamp)> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(&asked.scope)
        .bind(&asked.key)
        .fetch_optional(pool)
        .await)
    .attempting("look up a request")?;
    let Some((fingerprint, effect, created_at)) = row else { return Ok(None) };
    let effect = serde_json::from_str(&effect)
        .map_err(|error| sqlx::Error::Decode(error.into()))
        .attempting("read what a request did")?;
    Ok(Some(Known { fingerprint, effect, created_at }))
}

/// Forgets one request.
pub(super) fn forget(op: &mut Op, asked: &Asked) {
    op.run(
        "DELETE FROM idempotency WHERE scope = $1 AND key = $2",
        vec![asked.scope.as_str().into(), asked.key.as_str().into()],
    );
}

/// Forgets all requests before that time.
pub(super) fn forget_before(op: &mut Op, time: Timestamp) {
    op.run("DELETE FROM idempotency WHERE created_at < $1", vec![time.into()]);
}
