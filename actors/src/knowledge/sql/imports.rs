//! The SQL of imports.

use sqlx::FromRow;

use super::super::import::{Counts, Import, ImportState, LineError, Maker};
use crate::clock::Timestamp;
use crate::ids::{ArticleId, ImportId, KeyId, OrgId};
use crate::on_pool;
use crate::store::{Attempting, Store, StoreError};
use crate::writer::{Op, Table, Value};

static IMPORTS: Table = Table {
    into: "imports (org_id, id, key_id, node, state, source, mirror, lines, created, updated, unchanged, deleted, \
           refused, error, digest, created_at, finished_at)",
    columns: 17,
    key: 2,
    on_conflict: "",
};

static ERRORS: Table = Table {
    into: "import_errors (org_id, import_id, line, external_id, code, message)",
    columns: 6,
    key: 3,
    on_conflict: "",
};

const COLUMNS: &str = "
    SELECT i.id, i.key_id, i.state, i.source, i.mirror, i.lines, i.created, i.updated, i.unchanged, i.deleted, i.refused,
           i.error, i.created_at, i.finished_at,
           (SELECT COUNT(*) FROM article_states s
            WHERE s.state = 'pending' AND s.state <> 'indexed' AND s.org_id = i.org_id AND s.import_id = i.id) AS pending,
           (SELECT COUNT(*) FROM article_states s
            WHERE s.state = 'failed' AND s.state <> 'indexed' AND s.org_id = i.org_id AND s.import_id = i.id) AS failed
    FROM imports i";

/// An import begins, run by `node`.
pub(in super::super) fn begin(op: &mut Op, org: OrgId, import: &Import, node: &str) {
    op.insert(
        &IMPORTS,
        vec![
            org.into(),
            import.id.into(),
            import.key.map(|key| key.to_string()).unwrap_or_default().into(),
            node.into(),
            ImportState::Running.as_str().into(),
            import.source.as_deref().into(),
            i64::from(import.mirror).into(),
            Value::from(0),
            Value::from(0),
            Value::from(0),
            Value::from(0),
            Value::from(0),
            Value::from(0),
            Value::Text(None),
            Value::Text(None),
            import.created_at.into(),
            Value::Int(None),
        ],
    );
}

/// An import that still runs has come so far; the op is refused if it does not run.
pub(in super::super) fn advance(op: &mut Op, org: OrgId, id: ImportId, counts: &Counts) {
    let Counts { lines, created, updated, unchanged, deleted, refused, .. } = *counts;
    let mut values = vec![org.into(), id.into()];
    values.extend([lines, created, updated, unchanged, deleted, refused].map(Value::from));
    op.run_on_one(
        "UPDATE imports SET lines = $3, created = $4, updated = $5, unchanged = $6, deleted = $7, refused = $8
         WHERE org_id = $1 AND id = $2 AND state = 'running'",
        values,
    );
}

/// A line was refused.
pub(in super::super) fn refuse(op: &mut Op, org: OrgId, id: ImportId, error: &LineError) {
    op.insert(
        &ERRORS,
        vec![
            org.into(),
            id.into(),
            error.line.into(),
            error.external_id.as_deref().into(),
            error.code.as_str().into(),
            error.message.as_str().into(),
        ],
    );
}

/// An import that still runs has ended: with the digest of its body, or with the reason why it failed.
pub(in super::super) fn end(
    op: &mut Op,
    org: OrgId,
    id: ImportId,
    ending: Result<&str, &str>,
    at: Timestamp,
) {
    let state = if ending.is_ok() { ImportState::Completed } else { ImportState::Failed };
    op.run_on_one(
        "UPDATE imports SET state = $3, error = $4, digest = $5, finished_at = $6
         WHERE org_id = $1 AND id = $2 AND state = 'running'",
        vec![
            org.into(),
            id.into(),
            state.as_str().into(),
            ending.err().into(),
            ending.ok().into(),
            at.into(),
        ],
    );
}

/// All imports of an earlier process of that name have failed.
pub(in super::super) fn end_those_of(op: &mut Op, node: &str, error: &str, at: Timestamp) {
    op.run(
        "UPDATE imports SET state = 'failed', error = $2, finished_at = $3 WHERE state = 'running' AND node = $1",
        vec![node.into(), error.into(), at.into()],
    );
}

/// All imports of processes whose lease ended before that time have failed.
pub(in super::super) fn end_abandoned(op: &mut Op, before: Timestamp, error: &str, at: Timestamp) {
    op.run(
        "UPDATE imports SET state = 'failed', error = $2, finished_at = $3
         WHERE state = 'running' AND NOT EXISTS (
           SELECT 1 FROM writers w WHERE w.node = imports.node AND w.expires_at >= $1)",
        vec![before.into(), error.into(), at.into()],
    );
}

/// Some imports that ended before that time.
pub(in super::super) async fn ended_before(
    store: &Store,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<(OrgId, ImportId)>, StoreError> {
    const SELECT: &str = "
        SELECT org_id, id FROM imports WHERE state <> 'running' AND finished_at < $1 ORDER BY org_id, id LIMIT $2";
    on_pool!(store, |pool| sqlx::query_as(SELECT).bind(before).bind(limit).fetch_all(pool).await)
        .attempting("find old imports")
}

/// Drops some lines that an old import refused, at most `limit`; and once there are none, the import.
pub(in super::super) fn drop_some(op: &mut Op, org: OrgId, id: ImportId, limit: i64) {
    op.run(
        "DELETE FROM import_errors WHERE (org_id, import_id, line) IN (
           SELECT org_id, import_id, line FROM import_errors WHERE org_id = $1 AND import_id = $2 ORDER BY line LIMIT $3)",
        vec![org.into(), id.into(), limit.into()],
    );
    op.run(
        "DELETE FROM imports WHERE org_id = $1 AND id = $2 AND NOT EXISTS (
           SELECT 1 FROM import_errors e WHERE e.org_id = $1 AND e.import_id = $2)",
        vec![org.into(), id.into()],
    );
}

/// How many imports run, anywhere.
pub(in super::super) async fn running(store: &Store) -> Result<i64, StoreError> {
    const SELECT: &str = "SELECT COUNT(*) FROM imports WHERE state = 'running'";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).fetch_one(pool).await)
        .attempting("count running imports")
}

/// An import of `org`.
pub(in super::super) async fn find(
    store: &Store,
    org: OrgId,
    id: ImportId,
    maker: Maker,
) -> Result<Option<Import>, StoreError> {
    let select = format!("{COLUMNS} WHERE i.org_id = $1 AND i.id = $2 AND ($3 = '' OR i.key_id = $3)");
    let row: Option<ImportRow> = on_pool!(store, |pool| {
        sqlx::query_as(sqlx::AssertSqlSafe(select))
            .bind(org)
            .bind(id)
            .bind(maker.as_text())
            .fetch_optional(pool)
            .await
    })
    .attempting("read an import")?;
    row.map(Import::try_from).transpose().attempting("read an import")
}

/// The digest of the body of an import that was completed.
pub(in super::super) async fn digest(
    store: &Store,
    org: OrgId,
    id: ImportId,
) -> Result<Option<String>, StoreError> {
    const SELECT: &str = "SELECT digest FROM imports WHERE org_id = $1 AND id = $2";
    let found: Option<Option<String>> =
        on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(org).bind(id).fetch_optional(pool).await)
            .attempting("read the digest of an import")?;
    Ok(found.flatten())
}

/// Imports of `org`, in the order of their beginning.
pub(in super::super) async fn list(
    store: &Store,
    org: OrgId,
    maker: Maker,
    after: Option<ImportId>,
    ascending: bool,
    limit: i64,
) -> Result<Vec<Import>, StoreError> {
    let (behind, order) = if ascending { (">", "ASC") } else { ("<", "DESC") };
    let select = format!(
        "{COLUMNS} WHERE i.org_id = $1 AND ($2 = '' OR i.key_id = $2) AND ($3 = '' OR i.id {behind} $3)
         ORDER BY i.id {order} LIMIT $4"
    );
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows: Vec<ImportRow> = on_pool!(store, |pool| {
        sqlx::query_as(sqlx::AssertSqlSafe(select))
            .bind(org)
            .bind(maker.as_text())
            .bind(after)
            .bind(limit)
            .fetch_all(pool)
            .await
    })
    .attempting("list imports")?;
    rows.into_iter().map(Import::try_from).collect::<Result<_, _>>().attempting("list imports")
}

/// The lines that an import refused behind a line, in order.
pub(in super::super) async fn errors(
    store: &Store,
    org: OrgId,
    id: ImportId,
    after: Option<i64>,
    descending: bool,
    limit: i64,
) -> Result<Vec<LineError>, StoreError> {
    const ASCENDING: &str = "
        SELECT line, external_id, code, message FROM import_errors
        WHERE org_id = $1 AND import_id = $2 AND line > $3 ORDER BY line LIMIT $4";
    const DESCENDING: &str = "
        SELECT line, external_id, code, message FROM import_errors
        WHERE org_id = $1 AND import_id = $2 AND line < $3 ORDER BY line DESC LIMIT $4";
    let (select, from) = if descending { (DESCENDING, i64::MAX) } else { (ASCENDING, 0) };
    on_pool!(store, |pool| sqlx::query_as(select)
        .bind(org)
        .bind(id)
        .bind(after.unwrap_or(from))
        .bind(limit)
        .fetch_all(pool)
        .await)
    .attempting("read refused lines")
}

/// Articles of a source behind one, in order: what a mirror compares.
pub(in super::super) async fn of_source(
    store: &Store,
    org: OrgId,
    source: &str,
    after: Option<ArticleId>,
    limit: i64,
) -> Result<Vec<(ArticleId, Option<String>)>, StoreError> {
    const SELECT: &str = "
        SELECT id, external_id FROM articles WHERE org_id = $1 AND source = $2 AND id > $3 ORDER BY id LIMIT $4";
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(org)
        .bind(source)
        .bind(after)
        .bind(limit)
        .fetch_all(pool)
        .await)
    .attempting("read the articles of a source")
}

#[derive(FromRow)]
struct ImportRow {
    id: ImportId,
    key_id: String,
    state: String,
    source: Option<String>,
    mirror: i64,
    lines: i64,
    created: i64,
    updated: i64,
    unchanged: i64,
    deleted: i64,
    refused: i64,
    pending: i64,
    failed: i64,
    error: Option<String>,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl TryFrom<ImportRow> for Import {
    type Error = sqlx::Error;

    fn try_from(row: ImportRow) -> Result<Self, sqlx::Error> {
        // Only a database changed by hand has other states.
        let state = ImportState::parse(&row.state)
            .ok_or_else(|| sqlx::Error::Decode("not an import's state".into()))?;
        let key: Option<KeyId> = row.key_id.parse().ok();
        let written = row.created + row.updated;
        let counts = Counts {
            lines: row.lines,
            created: row.created,
            updated: row.updated,
            unchanged: row.unchanged,
            deleted: row.deleted,
            refused: row.refused,
            pending: row.pending,
            indexed: (written - row.pending - row.failed).max(0),
        };
        Ok(Self {
            id: row.id,
            key,
            state,
            source: row.source,
            mirror: row.mirror != 0,
            counts,
            error: row.error,
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }
}
