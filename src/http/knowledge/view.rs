//! Articles as a client sees them.

use std::{collections::BTreeMap, ops::Range};

use openclaw_actors::{
    clock::Timestamp,
    ids::ArticleId,
    knowledge::{
        IndexStatus,
        article::Article,
        index::{Hit, Query},
        messages::Indexed,
    },
};
use serde::Serialize;

/// An article.
#[derive(Debug, Clone, Serialize)]
pub struct ArticleView {
    id: ArticleId,
    external_id: Option<String>,
    source: Option<String>,
    version: i64,
    title: String,
    /// Left out of lists, unless asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    format: &'static str,
    language: String,
    topic: Option<String>,
    url: Option<String>,
    metadata: BTreeMap<String, String>,
    published: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
    index: IndexView,
}

/// How far an article is on its way to being found.
#[derive(Debug, Clone, Serialize)]
struct IndexView {
    state: &'static str,
    version: Option<i64>,
    indexed_at: Option<Timestamp>,
    lag_ms: Option<i64>,
    error: Option<String>,
}

impl ArticleView {
    /// An article, with its content if that is to be shown.
    #[must_use]
    pub fn of(article: &Article, content: Option<String>, indexed: Option<Indexed>) -> Self {
        let fields = article.fields.clone();
        Self {
            id: article.id,
            external_id: fields.external_id,
            source: fields.source,
            version: article.version,
            title: fields.title,
            content,
            format: fields.format.as_str(),
            language: fields.language,
            topic: fields.topic,
            url: fields.url,
            metadata: fields.metadata,
            published: fields.published,
            created_at: article.created_at,
            updated_at: article.updated_at,
            index: IndexView::of(article.version, indexed),
        }
    }
}

impl IndexView {
    fn of(version: i64, indexed: Option<Indexed>) -> Self {
        // Another process may have written what this one has not seen yet.
        let is_current = indexed.is_some_and(|indexed| indexed.version >= version);
        Self {
            state: if is_current { "indexed" } else { "pending" },
            version: indexed.map(|indexed| indexed.version),
            indexed_at: indexed.map(|indexed| indexed.at),
            lag_ms: indexed.and_then(|indexed| indexed.lag_ms),
            error: None,
        }
    }
}

/// What a search found.
#[derive(Debug, Clone, Serialize)]
pub struct SearchView {
    data: Vec<FoundView>,
}

#[derive(Debug, Clone, Serialize)]
struct FoundView {
    article: ArticleView,
    passage: PassageView,
    score: f32,
    confidence: f32,
}

/// `start` and `end` count characters of the article's text, the highlights' those of the passage.
#[derive(Debug, Clone, Serialize)]
struct PassageView {
    text: String,
    start: usize,
    end: usize,
    highlights: Vec<HighlightView>,
}

#[derive(Debug, Clone, Serialize)]
struct HighlightView {
    start: usize,
    end: usize,
}

impl SearchView {
    /// What `query` found.
    #[must_use]
    pub fn of(hits: &[Hit], indexed: Vec<Option<Indexed>>, query: &Query) -> Self {
        let found = |(hit, indexed): (&Hit, Option<Indexed>)| {
            let Range { start, end } = hit.passage().chars;
            let highlights = hit.highlights(query);
            FoundView {
                article: ArticleView::of(&hit.entry.article, None, indexed),
                passage: PassageView {
                    text: hit.passage_text().to_owned(),
                    start,
                    end,
                    highlights: highlights
                        .into_iter()
                        .map(|Range { start, end }| HighlightView { start, end })
                        .collect(),
                },
                score: hit.score,
                confidence: hit.confidence,
            }
        };
        Self { data: hits.iter().zip(indexed).map(found).collect() }
    }
}

/// How far the index of an organization is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StatusView {
    indexed: usize,
    pending: usize,
    failed: usize,
    oldest_pending_ms: Option<i64>,
    last_indexed_at: Option<Timestamp>,
}

impl StatusView {
    /// A write is answered once it is indexed, so nothing waits and nothing fails.
    #[must_use]
    pub fn of(status: IndexStatus) -> Self {
        Self {
            indexed: status.indexed,
            pending: 0,
            failed: 0,
            oldest_pending_ms: None,
            last_indexed_at: status.last_indexed_at,
        }
    }
}
