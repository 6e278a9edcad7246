//! An article as the product knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::language::Language;
use super::markup::{self, Document, Format, MarkupError};
use super::passages::{self, Passage};
use crate::clock::Timestamp;
use crate::ids::ArticleId;

/// Everything about an article but its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Article {
    /// Its id.
    pub id: ArticleId,
    /// Counts the writes that changed something, from 1.
    pub version: i64,
    /// What its author decides.
    pub fields: Fields,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What an article's author decides, the content apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// Its name in the system it comes from, unique in its organization.
    pub external_id: Option<String>,
    /// The system it comes from.
    pub source: Option<String>,
    /// May be empty.
    pub title: String,
    /// How the content is written.
    pub format: Format,
    /// A tag such as `nl` or `pt-BR`: as stated by the author, else detected.
    pub language: String,
    /// What it is about, as the organization groups things.
    pub topic: Option<String>,
    /// Where a person can read it.
    pub url: Option<String>,
    /// The author's own notes.
    pub metadata: BTreeMap<String, String>,
    /// Only a published article is found or cited.
    pub published: bool,
}

/// An article cut and ready to be indexed.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The article.
    pub article: Arc<Article>,
    /// What it is analysed as: its own language if we have rules for it.
    pub language: Language,
    /// What a reader sees, and what all offsets count in.
    pub text: String,
    /// Its passages, in order.
    pub passages: Vec<Passage>,
}

impl Entry {
    /// Reads and cuts an article. Takes time in proportion to the content; call it off the arbiters.
    ///
    /// # Errors
    /// The content is not acceptable.
    pub fn read(article: Arc<Article>, content: &str) -> Result<Self, MarkupError> {
        let document = markup::read(content, article.fields.format)?;
        Ok(Self::of(article, document))
    }

    /// An entry for a document that was read already.
    #[must_use]
    pub fn of(article: Arc<Article>, document: Document) -> Self {
        let passages = passages::cut(&document);
        let text = document.text;
        let language = Language::parse(&article.fields.language).unwrap_or(Language::DEFAULT);
        Self { article, language, text, passages }
    }
}
