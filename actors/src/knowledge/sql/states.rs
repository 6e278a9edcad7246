//! The SQL of what has become of articles in the index, and of the organization's own stream.

use sqlx::FromRow;

use super::super::article::Article;
use super::ArticleRow;
use crate::clock::Timestamp;
use crate::ids::{ArticleId, OrgId};
use crate::knowledge::article::StoredArticle;
use crate::on_pool;
use crate::store::{Attempting, Store, StoreError};
use crate::writer::{Op, Table, Value};

static STATES: Table = Table {
    into: "article_states (org_id, article_id, version, state, head, written_at, indexed_at, error, import_id)",
    columns: 9,
    key: 2,
    on_conflict: "ON CONFLICT (org_id, article_id) DO UPDATE SET version = excluded.version, \
                  state = excluded.state, head = excluded.head, written_at = excluded.written_at, \
                  indexed_at = excluded.indexed_at, error = excluded.error, import_id = excluded.import_id",
};

/// A version of an article was written by the write after `head`.
pub(in super::super) fn pending(op: &mut Op, org: OrgId, head: i64, article: &Article, import: &str) {
    op.insert(
        &STATES,
        vec![
            org.into(),
            article.id.into(),
            article.version.into(),
            "pending".into(),
            (head + 1).into(),
            article.updated_at.into(),
            Value::Int(None),
            Value::Text(None),
            import.into(),
        ],
    );
}

/// An article whose state was not told yet, without its content.
pub(in super::super) struct Untold {
    pub(in super::super) head: i64,
    pub(in super::super) article: Article,
}

#[derive(FromRow)]
struct UntoldRow {
    head: i64,
    #[sqlx(flatten)]
    article: ArticleRow,
}

/// Articles of `org` that are pending, of the writes up to `head`, in the order of the writes.
pub(in super::super) async fn untold(
    store: &Store,
    org: OrgId,
    head: i64,
    limit: i64,
) -> Result<Vec<Untold>, StoreError> {
    const SELECT: &str = "
        SELECT s.head, a.id, a.version, a.external_id, a.source, a.title, '' AS content, a.format, a.language, a.topic,
               a.url, a.metadata, a.published, a.created_at, a.updated_at
        FROM article_states s JOIN articles a ON a.org_id = s.org_id AND a.id = s.article_id
        WHERE s.state = 'pending' AND s.state <> 'indexed' AND s.org_id = $1 AND s.head <= $2 ORDER BY s.head, a.id LIMIT $3";
    let rows: Vec<UntoldRow> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).bind(head).bind(limit).fetch_all(pool).await)
            .attempting("read which articles are pending")?;
    let untold = |UntoldRow { head, article }| {
        StoredArticle::try_from(article).map(|stored| Untold { head, article: stored.article })
    };
    rows.into_iter().map(untold).collect::<Result<_, _>>().attempting("read a pending article")
}

/// An article could not be indexed.
pub(in super::super) fn failed(op: &mut Op, org: OrgId, article: &Article, error: &str, at: Timestamp) {
    op.run(
        "UPDATE article_states SET state = 'failed', error = $4, indexed_at = $5
         WHERE org_id = $1 AND article_id = $2 AND version = $3",
        vec![org.into(), article.id.into(), article.version.into(), error.into(), at.into()],
    );
}

/// An article that had failed is to be told of again.
pub(in super::super) fn tried_again(op: &mut Op, org: OrgId, id: ArticleId, version: i64) {
    op.run(
        "UPDATE article_states SET state = 'pending', error = NULL, indexed_at = NULL
         WHERE org_id = $1 AND article_id = $2 AND version = $3 AND state = 'failed'",
        vec![org.into(), id.into(), version.into()],
    );
}

/// All pending articles of `org`, of the writes up to `head`, are indexed.
pub(in super::super) fn indexed(op: &mut Op, org: OrgId, head: i64, at: Timestamp) {
    op.run(
        "UPDATE article_states SET state = 'indexed', indexed_at = $3, error = NULL
         WHERE state = 'pending' AND state <> 'indexed' AND org_id = $1 AND head <= $2",
        vec![org.into(), head.into(), at.into()],
    );
}

/// Of an organization that was erased meanwhile, nothing is told.
pub(in super::super) fn still_there(op: &mut Op, org: OrgId) {
    op.run_on_one("UPDATE knowledge_heads SET head = head WHERE org_id = $1", vec![org.into()]);
}

/// How many articles of an organization are in which state.
#[derive(Debug, Clone, FromRow)]
pub(in super::super) struct StateCount {
    pub(in super::super) state: String,
    pub(in super::super) articles: i64,
    pub(in super::super) first_written_at: Option<Timestamp>,
    pub(in super::super) last_indexed_at: Option<Timestamp>,
}

/// Counts the articles of `org` by state.
pub(in super::super) async fn count(store: &Store, org: OrgId) -> Result<Vec<StateCount>, StoreError> {
    const SELECT: &str = "
        SELECT state, COUNT(*) AS articles, MIN(written_at) AS first_written_at, MAX(indexed_at) AS last_indexed_at
        FROM article_states WHERE org_id = $1 GROUP BY state";
    on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).fetch_all(pool).await)
        .attempting("count articles by state")
}

/// Organizations with articles that have been pending since before that time: whoever wrote them is gone.
pub(in super::super) async fn abandoned(store: &Store, before: Timestamp) -> Result<Vec<OrgId>, StoreError> {
    const SELECT: &str =
        // SQLite takes the index of open states only where its very condition stands.
        "SELECT DISTINCT org_id FROM article_states WHERE state = 'pending' AND state <> 'indexed' AND written_at < $1";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(before).fetch_all(pool).await)
        .attempting("find articles that were left pending")
}

/// Organizations with articles that could not be indexed.
pub(in super::super) async fn with_failed(store: &Store) -> Result<Vec<OrgId>, StoreError> {
    const SELECT: &str =
        "SELECT DISTINCT org_id FROM article_states WHERE state = 'failed' AND state <> 'indexed'";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).fetch_all(pool).await)
        .attempting("find articles that could not be indexed")
}

/// Articles of `org` that could not be indexed, and their versions.
pub(in super::super) async fn failed_of(
    store: &Store,
    org: OrgId,
) -> Result<Vec<(ArticleId, i64)>, StoreError> {
    const SELECT: &str = "SELECT article_id, version FROM article_states WHERE state = 'failed' AND state <> 'indexed' AND org_id = $1";
    on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).fetch_all(pool).await)
        .attempting("read which articles could not be indexed")
}
