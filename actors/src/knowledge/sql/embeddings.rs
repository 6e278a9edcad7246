//! The SQL of vectors.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use sqlx::FromRow;

use super::super::embeddings::Digest;
use crate::ids::{ArticleId, OrgId};
use crate::on_pool;
use crate::store::{Attempting, Store, StoreError};
use crate::writer::Op;

/// What is stored of an article's vectors.
#[derive(Debug, Clone)]
pub(in super::super) struct StoredVectors {
    /// Whose they are.
    pub(in super::super) article: ArticleId,
    /// Of which texts; none of a version that could not be embedded.
    pub(in super::super) digest: Option<Digest>,
    /// How many numbers each has.
    pub(in super::super) dimensions: usize,
    /// As they were encoded.
    pub(in super::super) encoded: String,
}

#[derive(FromRow)]
struct VectorsRow {
    article_id: ArticleId,
    digest: String,
    dimensions: i64,
    vectors: String,
}

impl From<VectorsRow> for StoredVectors {
    fn from(row: VectorsRow) -> Self {
        // What somebody else wrote is as good as nothing: it is made again.
        let digest = STANDARD_NO_PAD.decode(&row.digest).ok().and_then(|digest| digest.try_into().ok());
        let dimensions = usize::try_from(row.dimensions).unwrap_or_default();
        Self { article: row.article_id, digest, dimensions, encoded: row.vectors }
    }
}

/// The vectors of a version of an article; refused if the article is another by now, or gone with its organization.
pub(in super::super) fn put(op: &mut Op, org: OrgId, model: &str, version: i64, vectors: &StoredVectors) {
    let digest = vectors.digest.map(|digest| STANDARD_NO_PAD.encode(digest)).unwrap_or_default();
    op.run_on_one(
        "INSERT INTO embeddings (org_id, article_id, model, version, digest, dimensions, vectors)
         SELECT $1, $2, $3, $4, $5, $6, $7 WHERE EXISTS (
           SELECT 1 FROM articles WHERE org_id = $1 AND id = $2 AND version = $4)
         ON CONFLICT (org_id, article_id) DO UPDATE SET model = excluded.model, version = excluded.version,
           digest = excluded.digest, dimensions = excluded.dimensions, vectors = excluded.vectors",
        vec![
            org.into(),
            vectors.article.into(),
            model.into(),
            version.into(),
            digest.into(),
            (vectors.dimensions as i64).into(),
            vectors.encoded.as_str().into(),
        ],
    );
}

/// The vectors that are stored are those of that version too.
pub(in super::super) fn keep(op: &mut Op, org: OrgId, article: ArticleId, version: i64) {
    op.run(
        "UPDATE embeddings SET version = $3 WHERE org_id = $1 AND article_id = $2",
        vec![org.into(), article.into(), version.into()],
    );
}

/// The vectors of an article that is deleted.
pub(in super::super) fn delete(op: &mut Op, org: OrgId, article: ArticleId) {
    op.run("DELETE FROM embeddings WHERE org_id = $1 AND article_id = $2", vec![org.into(), article.into()]);
}

/// Which vectors are wanted.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Wanted<'a> {
    /// The model that makes them.
    pub(in super::super) model: &'a str,
    /// How many numbers its vectors have; 0 if that is not known yet.
    pub(in super::super) dimensions: usize,
}

/// How many articles lack vectors, by organization.
pub(in super::super) async fn missing(
    store: &Store,
    wanted: Wanted<'_>,
) -> Result<Vec<(OrgId, i64)>, StoreError> {
    // Of `articles` too much would be read: their rows are long.
    const SELECT: &str = "
        SELECT s.org_id, COUNT(*) FROM article_states s
        LEFT JOIN embeddings e ON e.org_id = s.org_id AND e.article_id = s.article_id
        WHERE e.article_id IS NULL OR e.model <> $1 OR e.version <> s.version
           OR ($2 <> 0 AND e.dimensions <> 0 AND e.dimensions <> $2)
        GROUP BY s.org_id";
    on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(wanted.model)
        .bind(wanted.dimensions as i64)
        .fetch_all(pool)
        .await)
    .attempting("count articles without vectors")
}

/// The next articles of `org` that lack vectors, in order, behind one.
pub(in super::super) async fn next_missing(
    store: &Store,
    org: OrgId,
    wanted: Wanted<'_>,
    after: Option<ArticleId>,
    limit: i64,
) -> Result<Vec<ArticleId>, StoreError> {
    const SELECT: &str = "
        SELECT s.article_id FROM article_states s
        LEFT JOIN embeddings e ON e.org_id = s.org_id AND e.article_id = s.article_id
        WHERE s.org_id = $1 AND s.article_id > $2
          AND (e.article_id IS NULL OR e.model <> $3 OR e.version <> s.version
               OR ($4 <> 0 AND e.dimensions <> 0 AND e.dimensions <> $4))
        ORDER BY s.article_id LIMIT $5";
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    on_pool!(store, |pool| sqlx::query_scalar(SELECT)
        .bind(org)
        .bind(after)
        .bind(wanted.model)
        .bind(wanted.dimensions as i64)
        .bind(limit)
        .fetch_all(pool)
        .await)
    .attempting("find articles without vectors")
}

/// The vectors of the articles of `org` from one to another, as far as `model` made them.
pub(in super::super) async fn between(
    store: &Store,
    org: OrgId,
    model: &str,
    from: ArticleId,
    to: ArticleId,
) -> Result<Vec<StoredVectors>, StoreError> {
    const SELECT: &str = "
        SELECT article_id, digest, dimensions, vectors FROM embeddings
        WHERE org_id = $1 AND article_id >= $2 AND article_id <= $3 AND model = $4 AND dimensions <> 0";
    let rows: Vec<VectorsRow> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(org)
        .bind(from)
        .bind(to)
        .bind(model)
        .fetch_all(pool)
        .await)
    .attempting("read vectors")?;
    Ok(rows.into_iter().map(StoredVectors::from).collect())
}
