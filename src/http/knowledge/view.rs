//! Articles as a client sees them.

use std::{collections::BTreeMap, ops::Range};

use openclaw_actors::{
    clock::Timestamp,
    ids::{ArticleId, ConversationId, ImportId},
    knowledge::{
        IndexStatus, Unanswered,
        article::{Article, StoredArticle},
        import::{Counts, Import, LineError},
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
        match indexed {
            Some(Indexed { version: known, at, lag_ms, error: None }) => Self {
                state: if known >= version { "indexed" } else { "pending" },
                version: Some(known),
                indexed_at: Some(at),
                lag_ms,
                error: None,
            },
            // What failed was another version: this one is still to come.
            Some(Indexed { version: known, error, .. }) if known >= version => {
                Self { state: "failed", version: None, indexed_at: None, lag_ms: None, error }
            }
            Some(_) | None => {
                Self { state: "pending", version: None, indexed_at: None, lag_ms: None, error: None }
            }
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
            let Range { start, end } = hit.passage().chars();
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
    indexed: i64,
    pending: i64,
    failed: i64,
    oldest_pending_ms: Option<i64>,
    last_indexed_at: Option<Timestamp>,
}

impl StatusView {
    /// How far it is.
    #[must_use]
    pub fn of(status: IndexStatus) -> Self {
        let IndexStatus { indexed, pending, failed, oldest_pending_ms, last_indexed_at } = status;
        Self { indexed, pending, failed, oldest_pending_ms, last_indexed_at }
    }
}

/// An article in the fields that an import takes.
#[derive(Debug, Serialize)]
pub(super) struct ExportedView<'a> {
    external_id: String,
    source: Option<&'a str>,
    title: &'a str,
    content: &'a str,
    format: &'static str,
    language: &'a str,
    topic: Option<&'a str>,
    url: Option<&'a str>,
    metadata: &'a BTreeMap<String, String>,
    published: bool,
}

impl<'a> ExportedView<'a> {
    pub(super) fn of(StoredArticle { article, content }: &'a StoredArticle) -> Self {
        let fields = &article.fields;
        Self {
            // An import asks for one: without a name of its own, an article goes by its id.
            external_id: fields.external_id.clone().unwrap_or_else(|| article.id.to_string()),
            source: fields.source.as_deref(),
            title: &fields.title,
            content,
            format: fields.format.as_str(),
            language: &fields.language,
            topic: fields.topic.as_deref(),
            url: fields.url.as_deref(),
            metadata: &fields.metadata,
            published: fields.published,
        }
    }
}

/// An import.
#[derive(Debug, Serialize)]
pub(super) struct ImportView {
    id: ImportId,
    state: &'static str,
    source: Option<String>,
    mode: Option<&'static str>,
    counts: Counts,
    errors: Vec<LineError>,
    error: Option<String>,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl ImportView {
    pub(super) fn id(&self) -> ImportId {
        self.id
    }

    pub(super) fn of(import: Import, errors: Vec<LineError>) -> Self {
        Self {
            id: import.id,
            state: import.state.as_str(),
            source: import.source,
            mode: import.mirror.then_some("mirror"),
            counts: import.counts,
            errors,
            error: import.error,
            created_at: import.created_at,
            finished_at: import.finished_at,
        }
    }
}

/// Like questions that were not answered.
#[derive(Debug, Serialize)]
pub(super) struct UnansweredView {
    question: String,
    count: i64,
    language: Option<String>,
    example_conversation_id: ConversationId,
    first_asked_at: Timestamp,
    last_asked_at: Timestamp,
}

impl From<Unanswered> for UnansweredView {
    fn from(unanswered: Unanswered) -> Self {
        Self {
            question: unanswered.question,
            count: unanswered.count,
            language: unanswered.language,
            example_conversation_id: unanswered.example_conversation_id,
            first_asked_at: unanswered.first_asked_at,
            last_asked_at: unanswered.last_asked_at,
        }
    }
}
