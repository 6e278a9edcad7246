//! The SQL of articles.

pub(super) mod embeddings;
pub(super) mod imports;
pub(super) mod states;
pub(super) mod unanswered;

use std::collections::BTreeMap;

use sqlx::FromRow;

use super::article::{Article, Fields, StoredArticle};
use super::markup::Format;
use super::messages::ArticleName;
use crate::clock::Timestamp;
use crate::ids::{ArticleId, OrgId};
use crate::on_pool;
use crate::store::{Attempting, Store, StoreError};
use crate::writer::{Op, Table, Value};

static ARTICLES: Table = Table {
    into: "articles (org_id, id, version, external_id, source, title, content, format, language, topic, url, \
           metadata, published, created_at, updated_at)",
    columns: 15,
    key: 2,
    on_conflict: "ON CONFLICT (org_id, id) DO UPDATE SET version = excluded.version, \
                  external_id = excluded.external_id, source = excluded.source, title = excluded.title, \
                  content = excluded.content, format = excluded.format, language = excluded.language, \
                  topic = excluded.topic, url = excluded.url, metadata = excluded.metadata, \
                  published = excluded.published, updated_at = excluded.updated_at",
};

static HEADS: Table = Table { into: "knowledge_heads (org_id, head)", columns: 2, key: 1, on_conflict: "" };

/// What an organization's articles are before the first.
pub(super) const NO_HEAD: i64 = 0;

/// Begins a write: it takes effect only if nobody wrote articles of `org` since `head`, and then the head is one more.
pub(super) fn advance(op: &mut Op, org: OrgId, head: i64) {
    if head == NO_HEAD {
        // The head of an organization that was erased meanwhile is gone with it: nothing is written for nobody.
        op.run_on_one("UPDATE organizations SET name = name WHERE id = $1", vec![org.into()]);
        op.insert(&HEADS, vec![org.into(), Value::from(head + 1)]);
    } else {
        op.run_on_one(
            "UPDATE knowledge_heads SET head = head + 1 WHERE org_id = $1 AND head = $2",
            vec![org.into(), head.into()],
        );
    }
}

/// Writes an article.
pub(super) fn put(op: &mut Op, org: OrgId, stored: &StoredArticle) {
    let StoredArticle { article, content } = stored;
    let Fields { external_id, source, title, format, language, topic, url, metadata, published } =
        &article.fields;
    op.insert(
        &ARTICLES,
        vec![
            org.into(),
            article.id.into(),
            article.version.into(),
            external_id.as_deref().into(),
            source.as_deref().into(),
            title.as_str().into(),
            content.as_str().into(),
            format.as_str().into(),
            language.as_str().into(),
            topic.as_deref().into(),
            url.as_deref().into(),
            // Strings under strings always serialize.
            serde_json::to_string(metadata).unwrap_or_default().into(),
            i64::from(*published).into(),
            article.created_at.into(),
            article.updated_at.into(),
        ],
    );
}

/// Deletes an article.
pub(super) fn delete(op: &mut Op, org: OrgId, id: ArticleId) {
    embeddings::delete(op, org, id);
    op.run("DELETE FROM article_states WHERE org_id = $1 AND article_id = $2", vec![org.into(), id.into()]);
    op.run_on_one("DELETE FROM articles WHERE org_id = $1 AND id = $2", vec![org.into(), id.into()]);
}

/// How many writes the articles of `org` have seen.
pub(super) async fn head(store: &Store, org: OrgId) -> Result<i64, StoreError> {
    const SELECT: &str = "SELECT head FROM knowledge_heads WHERE org_id = $1";
    let head: Option<i64> =
        on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(org).fetch_optional(pool).await)
            .attempting("read the version of the articles")?;
    Ok(head.unwrap_or(NO_HEAD))
}

/// The version of every article of `org`.
pub(super) async fn versions(store: &Store, org: OrgId) -> Result<Vec<(ArticleId, i64)>, StoreError> {
    const SELECT: &str = "SELECT id, version FROM articles WHERE org_id = $1 ORDER BY id";
    on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).fetch_all(pool).await)
        .attempting("read the versions of articles")
}

/// An article of `org`.
pub(super) async fn find(
    store: &Store,
    org: OrgId,
    name: &ArticleName,
) -> Result<Option<StoredArticle>, StoreError> {
    const BY_ID: &str = "
        SELECT id, version, external_id, source, title, content, format, language, topic, url, metadata, published,
               created_at, updated_at
        FROM articles WHERE org_id = $1 AND id = $2";
    const BY_EXTERNAL_ID: &str = "
        SELECT id, version, external_id, source, title, content, format, language, topic, url, metadata, published,
               created_at, updated_at
        FROM articles WHERE org_id = $1 AND external_id = $2";
    let (select, name) = match name {
        ArticleName::Id(id) => (BY_ID, id.to_string()),
        ArticleName::External(external_id) => (BY_EXTERNAL_ID, external_id.clone()),
    };
    let row: Option<ArticleRow> =
        on_pool!(store, |pool| sqlx::query_as(select).bind(org).bind(name).fetch_optional(pool).await)
            .attempting("read an article")?;
    row.map(StoredArticle::try_from).transpose().attempting("read an article")
}

/// At most `limit` articles of `org` from `first` on, in order of their ids.
pub(super) async fn from(
    store: &Store,
    org: OrgId,
    first: ArticleId,
    limit: usize,
) -> Result<Vec<StoredArticle>, StoreError> {
    const SELECT: &str = "
        SELECT id, version, external_id, source, title, content, format, language, topic, url, metadata, published,
               created_at, updated_at
        FROM articles WHERE org_id = $1 AND id >= $2 ORDER BY id LIMIT $3";
    let limit = limit as i64;
    let rows: Vec<ArticleRow> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(org)
        .bind(first)
        .bind(limit)
        .fetch_all(pool)
        .await)
    .attempting("read articles")?;
    rows.into_iter().map(StoredArticle::try_from).collect::<Result<_, _>>().attempting("read articles")
}

/// Which articles to list. An empty filter lets all pass.
#[derive(Debug, Clone, Default)]
pub struct ListArticles {
    /// Exactly this topic.
    pub topic: String,
    /// Exactly this language.
    pub language: String,
    /// Exactly this source.
    pub source: String,
    /// Changed after this.
    pub updated_after: Option<Timestamp>,
    /// Title or external id contain this.
    pub containing: String,
    /// Behind this one in the list.
    pub after: Option<ArticleId>,
    /// Oldest first; else newest first.
    pub ascending: bool,
    /// Read the content too.
    pub with_content: bool,
    /// In this state in the index: `pending`, `indexed` or `failed`.
    pub index_state: String,
    /// At most this many.
    pub limit: i64,
}

macro_rules! list_sql {
    ($content:literal, $behind:literal, $order:literal) => {
        concat!(
            "SELECT id, version, external_id, source, title, ",
            $content,
            " AS content, format, language, topic, url, metadata, published, created_at, updated_at
             FROM articles
             WHERE org_id = $1 AND ($2 = '' OR id ",
            $behind,
            " $2) AND ($3 = '' OR topic = $3) AND ($4 = '' OR language = $4) AND ($5 = '' OR source = $5)
               AND updated_at > $6
               AND ($7 = '' OR LOWER(title) LIKE $7 ESCAPE '\\' OR LOWER(external_id) LIKE $7 ESCAPE '\\')
               AND ($8 = '' OR EXISTS (
                 SELECT 1 FROM article_states s WHERE s.org_id = $1 AND s.article_id = id AND s.state = $8))
             ORDER BY id ",
            $order,
            " LIMIT $9"
        )
    };
}

/// Articles of `org`, in order of creation.
pub(super) async fn list(
    store: &Store,
    org: OrgId,
    wanted: &ListArticles,
) -> Result<Vec<StoredArticle>, StoreError> {
    let select = match (wanted.with_content, wanted.ascending) {
        (false, false) => list_sql!("''", "<", "DESC"),
        (false, true) => list_sql!("''", ">", "ASC"),
        (true, false) => list_sql!("content", "<", "DESC"),
        (true, true) => list_sql!("content", ">", "ASC"),
    };
    let after = wanted.after.map(|id| id.to_string()).unwrap_or_default();
    let updated_after = wanted.updated_after.map_or(i64::MIN, |time| time.0);
    let rows: Vec<ArticleRow> = on_pool!(store, |pool| sqlx::query_as(select)
        .bind(org)
        .bind(after)
        .bind(&wanted.topic)
        .bind(&wanted.language)
        .bind(&wanted.source)
        .bind(updated_after)
        .bind(containing(&wanted.containing))
        .bind(&wanted.index_state)
        .bind(wanted.limit)
        .fetch_all(pool)
        .await)
    .attempting("list articles")?;
    rows.into_iter().map(StoredArticle::try_from).collect::<Result<_, _>>().attempting("list articles")
}

/// A pattern for what contains `text`; empty for no text.
fn containing(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let escaped = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

#[derive(FromRow)]
pub(super) struct ArticleRow {
    id: ArticleId,
    version: i64,
    external_id: Option<String>,
    source: Option<String>,
    title: String,
    content: String,
    format: String,
    language: String,
    topic: Option<String>,
    url: Option<String>,
    metadata: String,
    published: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl TryFrom<ArticleRow> for StoredArticle {
    type Error = sqlx::Error;

    fn try_from(row: ArticleRow) -> Result<Self, sqlx::Error> {
        // Only a database changed by hand has other formats or metadata.
        let format = Format::parse(&row.format)
            .ok_or_else(|| sqlx::Error::Decode("not an article's format".into()))?;
        let metadata: BTreeMap<String, String> =
            serde_json::from_str(&row.metadata).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let fields = Fields {
            external_id: row.external_id,
            source: row.source,
            title: row.title,
            format,
            language: row.language,
            topic: row.topic,
            url: row.url,
            metadata,
            published: row.published != 0,
        };
        let article = Article {
            id: row.id,
            version: row.version,
            fields,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        Ok(Self { article, content: row.content })
    }
}
