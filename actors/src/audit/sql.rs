//! The rows of the audit log.

use sqlx::{AssertSqlSafe, FromRow};

use super::{ActionFilter, ActorView, Entry, EntryView, TargetView};
use crate::{
    clock::Timestamp,
    ids::{AuditId, OrgId},
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table, Value},
};

static AUDIT_LOG: Table = Table {
    into: "audit_log (id, org_id, action, actor_type, actor_id, actor_name, target_type, target_id, count, created_at)",
    columns: 10,
    key: 1,
    on_conflict: "",
};

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of that action or family.
    pub action: Option<ActionFilter>,
    /// Of what has that id.
    pub target: Option<String>,
}

fn values(entry: &Entry, count: Option<i64>) -> Vec<Value> {
    vec![
        entry.id.into(),
        entry.org.into(),
        entry.action.as_str().into(),
        entry.by.kind().into(),
        entry.by.id().into(),
        entry.by.name().into(),
        entry.target.kind().into(),
        entry.target.id().into(),
        count.into(),
        entry.at.into(),
    ]
}

/// Adds the entry.
pub(super) fn insert(op: &mut Op, entry: &Entry) {
    op.insert(&AUDIT_LOG, values(entry, None));
}

/// Adds the entry, or one to its count. A statement, not a row: of rows with one key in one commit the last would win.
pub(super) fn count(op: &mut Op, entry: &Entry) {
    const COUNT: &str = "
        INSERT INTO audit_log
            (id, org_id, action, actor_type, actor_id, actor_name, target_type, target_id, count, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (id) DO UPDATE SET count = audit_log.count + 1";
    op.run(COUNT, values(entry, Some(1)));
}

#[derive(FromRow)]
struct EntryRow {
    id: AuditId,
    action: String,
    actor_type: String,
    actor_id: Option<String>,
    actor_name: Option<String>,
    target_type: String,
    target_id: Option<String>,
    count: Option<i64>,
    created_at: Timestamp,
}

impl From<EntryRow> for EntryView {
    fn from(row: EntryRow) -> Self {
        Self {
            id: row.id,
            action: row.action,
            actor: ActorView { kind: row.actor_type, id: row.actor_id, name: row.actor_name },
            target: TargetView { kind: row.target_type, id: row.target_id, count: row.count },
            created_at: row.created_at,
        }
    }
}

/// Entries of `org` in the order of their ids, from after that one.
pub(super) async fn list(
    store: &Store,
    org: OrgId,
    filter: &AuditFilter,
    (after, descending): (Option<AuditId>, bool),
    rows: i64,
) -> Result<Vec<EntryView>, StoreError> {
    const SELECT: &str = "
        SELECT id, action, actor_type, actor_id, actor_name, target_type, target_id, count, created_at
        FROM audit_log WHERE org_id = $1";
    let (page, edge) = match descending {
        true => (" AND id < $2 ORDER BY id DESC LIMIT $3", "~"),
        false => (" AND id > $2 ORDER BY id LIMIT $3", ""),
    };
    let after = after.map_or_else(|| edge.to_owned(), |id| id.to_string());
    let mut select = SELECT.to_owned();
    let action = filter.action.as_ref().map(|action| action.pattern.as_str());
    let filters = [(" AND action LIKE ", action), (" AND target_id = ", filter.target.as_deref())];
    let mut bound = Vec::new();
    for (condition, value) in filters {
        if let Some(value) = value {
            bound.push(value);
            select.push_str(&format!("{condition}${}", 3 + bound.len()));
        }
    }
    select.push_str(page);
    let found: Vec<EntryRow> = on_pool!(store, |pool| {
        let query = sqlx::query_as(AssertSqlSafe(select)).bind(org).bind(after).bind(rows);
        bound.into_iter().fold(query, |query, value| query.bind(value)).fetch_all(pool).await
    })
    .attempting("list the audit log")?;
    Ok(found.into_iter().map(EntryView::from).collect())
}

/// Drops up to `limit` entries from before the edge.
pub(super) fn drop_before(op: &mut Op, edge: AuditId, limit: i64) {
    const DELETE: &str = "
        DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE id < $1 ORDER BY id LIMIT $2)";
    op.run(DELETE, vec![edge.into(), limit.into()]);
}

/// Are there entries from before the edge?
pub(super) async fn any_before(store: &Store, edge: AuditId) -> Result<bool, StoreError> {
    const SELECT: &str = "
        SELECT COUNT(*) FROM (SELECT id FROM audit_log WHERE id < $1 LIMIT 1) AS an_old_one";
    let count: Result<i64, _> =
        on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(edge).fetch_one(pool).await);
    Ok(count.attempting("look for old entries of the audit log")? > 0)
}
