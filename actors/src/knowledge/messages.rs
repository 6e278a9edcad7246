//! What the indexer can be asked, and what it answers.

use actix::prelude::*;

use super::article::{Article, Draft};
use super::import::{Counts, Line, Unnamed};
use crate::clock::Timestamp;
use crate::ids::{ArticleId, ImportId, OrgId};
use crate::store::StoreError;
use crate::writer::{Row, WriteError};

/// Writes an article and makes it searchable. Answered once both are done.
#[derive(Debug, Message)]
#[rtype(result = "Result<Put, KnowledgeError>")]
pub struct PutArticle {
    /// Whose it is.
    pub org: OrgId,
    /// Which one.
    pub target: PutTarget,
    /// What it shall be.
    pub draft: Draft,
    /// What must be so before.
    pub only_if: Precondition,
    /// The present.
    pub now: Timestamp,
    /// Stored with the effect: the `Idempotency-Key`'s row.
    pub idempotency: Option<Row>,
}

/// The article to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutTarget {
    /// A new one under this id.
    New(ArticleId),
    /// The one of this id.
    Stored(ArticleId),
    /// The one of the draft's external id; a new one under this id if there is none.
    External(ArticleId),
}

/// Deletes an article. Answered once it cannot be found any more, or after all the time that a write waits for that.
#[derive(Debug, Message)]
#[rtype(result = "Result<Deleted, KnowledgeError>")]
pub struct DeleteArticle {
    /// Whose it is.
    pub org: OrgId,
    /// Which one.
    pub name: ArticleName,
    /// What must be so before.
    pub only_if: Precondition,
}

/// An article that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It cannot be found any more.
    Everywhere,
    /// Of the store; the index follows.
    FromStore,
}

/// How an article is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArticleName {
    /// By its id.
    Id(ArticleId),
    /// By its external id.
    External(String),
}

/// What a write expects (`If-Match`, `If-None-Match`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// There is no such article.
    Absent,
    /// There is one.
    Present,
    /// Its version is one of these.
    Version(Vec<i64>),
}

impl Precondition {
    /// Checks it against the version stored, if any.
    ///
    /// # Errors
    /// It does not hold.
    pub fn check(&self, stored: Option<i64>) -> Result<(), KnowledgeError> {
        let holds = match (self, stored) {
            (Self::None, _) | (Self::Absent, None) | (Self::Present, Some(_)) => true,
            (Self::Version(versions), Some(stored)) => versions.contains(&stored),
            (Self::Absent, Some(_)) | (Self::Present | Self::Version(_), None) => false,
        };
        if holds { Ok(()) } else { Err(KnowledgeError::VersionConflict) }
    }
}

/// A write that was made, or was not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The article as it is now.
    pub article: Article,
    /// What became of it.
    pub change: Change,
    /// How it is indexed; `None` while it is not after all the time that a write waits for it.
    pub indexed: Option<Indexed>,
}

/// What a write changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There was no such article.
    Created,
    /// It was another.
    Updated,
    /// It was the same.
    Unchanged,
}

/// When a version of an article became searchable (or, unpublished, stopped being so), or why it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// The version.
    pub version: i64,
    /// When.
    pub at: Timestamp,
    /// How long after the write; unknown of what was loaded from the store.
    pub lag_ms: Option<i64>,
    /// Why it cannot be found. It is tried again.
    pub error: Option<String>,
}

/// Some lines of an import, in one commit.
#[derive(Debug, Message)]
#[rtype(result = "Result<Counts, KnowledgeError>")]
pub(super) struct WriteBatch {
    pub(super) org: OrgId,
    pub(super) import: ImportId,
    /// No two of them name the same article.
    pub(super) lines: Vec<Line>,
    /// What its mirror deletes.
    pub(super) unnamed: Unnamed,
    /// What the import counted before.
    pub(super) counts: Counts,
    pub(super) now: Timestamp,
}

/// Brings the index of an organization up to date with the store.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), KnowledgeError>")]
pub(super) struct CatchUp {
    pub(super) org: OrgId,
    /// Try again, too, what could not be indexed and is due.
    pub(super) retry: bool,
}

/// Why a request about articles was not met.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// The organization has no such article.
    #[error("no such article")]
    NotFound,
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("the article is not in the version expected")]
    VersionConflict,
    /// Another article has the external id.
    #[error("another article has this external id")]
    ExternalIdTaken,
    /// Too much is waiting already.
    #[error("too many articles are being written")]
    Overloaded,
    /// The write was not made.
    #[error("the article was not written")]
    Write(#[source] WriteError),
    /// The store is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The indexer is being restarted.
    #[error("the knowledge index is restarting")]
    Restarting,
}

impl KnowledgeError {
    /// The same may work a moment later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Overloaded | Self::Restarting => true,
            Self::Write(error) => matches!(error, WriteError::Overloaded | WriteError::Unavailable(_)),
            Self::Store(error) => error.is_away(),
            Self::NotFound | Self::VersionConflict | Self::ExternalIdTaken => false,
        }
    }
}

impl From<WriteError> for KnowledgeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Overloaded => Self::Overloaded,
            error => Self::Write(error),
        }
    }
}
