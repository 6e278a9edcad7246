//! The SQL of analytics: the log that is folded, and the rows that it is folded into.

pub(super) mod cells;
pub(super) mod facts;

use sqlx::FromRow;

use crate::{
    clock::Timestamp,
    ids::OrgId,
    on_pool,
    position::Position,
    store::{Attempting, Store, StoreError},
    writer::Op,
};

/// Pairs that are asked for in one statement.
const ASKED_AT_ONCE: usize = 64;

/// `($1, $2), ($3, $4), …`: rows of so many columns, from a placeholder on.
fn places(rows: usize, columns: usize, from: usize) -> String {
    let row = |row: usize| {
        let places = (0..columns).map(|column| format!("${}", from + row * columns + column));
        format!("({})", places.collect::<Vec<_>>().join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// A row that none of ours is: the database was changed by hand.
fn corrupt(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

/// How far the log is folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) version: i64,
    pub(super) position: Position,
}

pub(super) async fn cursor(store: &Store) -> Result<Cursor, StoreError> {
    const SELECT: &str = "SELECT version, position FROM analytics_cursor WHERE id = 1";
    let (version, position): (i64, String) =
        on_pool!(store, |pool| sqlx::query_as(SELECT).fetch_one(pool).await)
            .attempting("read how far the log is folded")?;
    let position =
        position.parse().map_err(|_| corrupt("position")).attempting("read how far the log is folded")?;
    Ok(Cursor { version, position })
}

/// Moves the cursor; a conflict if somebody else did since it was read.
pub(super) fn move_cursor(op: &mut Op, version: i64, position: &Position) {
    const UPDATE: &str =
        "UPDATE analytics_cursor SET version = version + 1, position = $2 WHERE id = 1 AND version = $1";
    op.run_on_one(UPDATE, vec![version.into(), position.to_string().into()]);
}

/// An event, as far as figures depend on it.
#[derive(Debug, FromRow)]
pub(super) struct LogRow {
    pub(super) position: i64,
    pub(super) stream_id: String,
    pub(super) org_id: OrgId,
    pub(super) kind: String,
    #[sqlx(rename = "created_at")]
    pub(super) at: Timestamp,
    /// Of a completed turn.
    pub(super) data: Option<String>,
    /// Of a message that was sent.
    pub(super) role: Option<String>,
}

/// The first events of one writer after a position, and up to another.
pub(super) async fn log(
    store: &Store,
    (writer, after, through): (i64, i64, i64),
    limit: i64,
) -> Result<Vec<LogRow>, StoreError> {
    const SELECT: &str = "
        SELECT e.position, e.stream_id, e.org_id, e.kind, e.created_at,
               CASE WHEN e.kind = 'turn.completed' THEN e.data END AS data,
               CASE WHEN e.kind = 'message.sent' THEN (
                   SELECT m.role FROM messages m WHERE m.conversation_id = e.stream_id AND m.sequence = e.sequence
               ) END AS role
        FROM events e
        WHERE e.writer_id = $1 AND e.position > $2 AND e.position <= $3
        ORDER BY e.position LIMIT $4";
    on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(writer)
        .bind(after)
        .bind(through)
        .bind(limit)
        .fetch_all(pool)
        .await)
    .attempting("read what is to be folded")
}
