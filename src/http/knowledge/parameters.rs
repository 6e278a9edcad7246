//! What stands after `?`.

use openclaw_actors::{
    clock::Timestamp,
    ids::ArticleId,
    knowledge::{ListArticles, index::Query as Search, language::Language},
};
use serde::Deserialize;

use crate::http::{
    error::ApiError,
    page::{Filters, Order},
};

/// What a search is limited to unless it says so.
const FOUND: u32 = 10;
const MOST_FOUND: u32 = 100;

/// `?wait=indexed`, which every write of one article does anyway.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wait {
    pub(super) wait: Option<WaitFor>,
}

/// The parameters of `POST /v1/knowledge/import`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImportParameters {
    pub(super) source: Option<String>,
    pub(super) mode: Option<ImportMode>,
    pub(super) wait: Option<WaitFor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ImportMode {
    /// The source is to be as the file says.
    Mirror,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WaitFor {
    Indexed,
}

/// The filters of `GET /v1/knowledge`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArticleFilters {
    topic: Option<String>,
    language: Option<String>,
    index_state: Option<IndexState>,
    source: Option<String>,
    updated_after: Option<Timestamp>,
    q: Option<String>,
    pub(super) include: Option<Include>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IndexState {
    Pending,
    Indexed,
    Failed,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Include {
    Content,
}

impl IndexState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Indexed => "indexed",
            Self::Failed => "failed",
        }
    }
}

impl Filters for ArticleFilters {}

impl ArticleFilters {
    pub(super) fn read(&self, after: Option<ArticleId>, order: Order, limit: i64) -> ListArticles {
        ListArticles {
            topic: self.topic.clone().unwrap_or_default(),
            language: self.language.clone().unwrap_or_default(),
            source: self.source.clone().unwrap_or_default(),
            updated_after: self.updated_after,
            containing: self.q.clone().unwrap_or_default(),
            after,
            ascending: order == Order::Asc,
            with_content: self.include.is_some(),
            index_state: self.index_state.map_or("", IndexState::as_str).to_owned(),
            limit,
        }
    }
}

/// The parameters of `GET /v1/knowledge/search`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchParameters {
    q: String,
    limit: Option<u32>,
    topic: Option<String>,
    language: Option<String>,
}

impl SearchParameters {
    pub(super) fn read(self) -> Result<Search, ApiError> {
        let limit = self.limit.unwrap_or(FOUND);
        if !(1..=MOST_FOUND).contains(&limit) {
            return Err(ApiError::invalid_field("limit", format!("it must be from 1 to {MOST_FOUND}")));
        }
        if self.q.trim().is_empty() {
            return Err(ApiError::invalid_field("q", "it must say what to search for"));
        }
        Ok(Search {
            turns: vec![self.q],
            language: self.language.as_deref().and_then(Language::parse),
            topic: self.topic,
            article_language: self.language.map(|tag| tag.to_ascii_lowercase()),
            limit: limit as usize,
        })
    }
}
