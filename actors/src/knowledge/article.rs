//! An article as the product knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::language::Language;
use super::markup::{self, Document, Format, MarkupError};
use super::passages::Passages;
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

/// An article together with its content, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredArticle {
    /// The article.
    pub article: Article,
    /// As its author wrote it.
    pub content: String,
}

/// What an author sends: readable.
#[derive(Debug, Clone)]
pub struct Draft {
    pub(super) fields: Fields,
    pub(super) content: String,
    /// None where the content is what was stored before, and so was read before.
    pub(super) document: Option<Document>,
}

impl Draft {
    /// Reads `content`; an empty `language` is detected. Takes time in proportion to the content: call it off the
    /// arbiters.
    ///
    /// # Errors
    /// The content is not acceptable.
    pub fn read(mut fields: Fields, content: String) -> Result<Self, MarkupError> {
        let document = markup::read(&content, fields.format)?;
        if fields.language.is_empty() {
            fields.language = Language::of_article(&fields.title, &document.text).code().to_owned();
        }
        Ok(Self { fields, content, document: Some(document) })
    }

    /// Other fields for a content that is stored already, in a format and a language that are known.
    #[must_use]
    pub fn of_stored(fields: Fields, content: String) -> Self {
        Self { fields, content, document: None }
    }

    /// The same draft under an external id.
    #[must_use]
    pub fn with_external_id(mut self, external_id: &str) -> Self {
        self.fields.external_id = Some(external_id.to_owned());
        self
    }

    /// Under which external id.
    #[must_use]
    pub fn external_id(&self) -> Option<&str> {
        self.fields.external_id.as_deref()
    }

    /// Whether it says what is stored already.
    pub(super) fn changes_nothing(&self, stored: &StoredArticle) -> bool {
        self.fields == stored.article.fields && self.content == stored.content
    }
}

/// An article cut and ready to be indexed.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The article.
    pub article: Arc<Article>,
    /// What it is analysed as: its own language if we have rules for it.
    pub language: Language,
    /// What a reader sees, and what all offsets count in.
    pub text: Box<str>,
    /// Its passages, in order.
    pub passages: Passages,
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

    /// The same text under other fields.
    #[must_use]
    pub fn with_fields_of(&self, article: Arc<Article>) -> Self {
        let language = Language::parse(&article.fields.language).unwrap_or(Language::DEFAULT);
        Self { article, language, text: self.text.clone(), passages: self.passages.clone() }
    }

    /// An entry for a document that was read already.
    #[must_use]
    pub fn of(article: Arc<Article>, document: Document) -> Self {
        let passages = Passages::of(&document);
        let language = Language::parse(&article.fields.language).unwrap_or(Language::DEFAULT);
        Self { article, language, text: document.text.into(), passages }
    }
}
