//! Imports: many articles in one body, a resource that says how far it came.
//!
//! Each batch of lines is one commit, together with what it makes of the import's counts: what is counted is stored,
//! whatever happens next. An import whose process ends is found failed by the next start.

mod running;

use serde::Serialize;
use sqlx::FromRow;

pub use self::running::RunningImport;
pub(super) use self::running::Unnamed;
use super::article::Draft;
use super::handle::Knowledge;
use super::messages::KnowledgeError;
use super::sql;
use crate::clock::Timestamp;
use crate::ids::{ImportId, KeyId, OrgId};

/// Lines of one commit. Others' writes to the same articles wait that long: a tenth of a second.
pub const BATCH_LINES: usize = 128;

/// Bytes of one commit, beyond which no line is added: the same for lines that are long.
pub const BATCH_BYTES: usize = 1 << 20;

/// How long an import is shown after its end, with the lines that it refused: as long as deliveries of webhooks. Whoever
/// looks for what went wrong last month finds it.
pub(super) const KEPT_FOR_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// Imports that run at once in one process. Each holds two batches: in the worst case, lines of four megabytes.
pub(super) const MOST_IMPORTS: usize = 16;

/// An import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Its id.
    pub id: ImportId,
    /// The key that made it; a command has none.
    pub key: Option<KeyId>,
    /// How far it is.
    pub state: ImportState,
    /// The source that all its lines were given.
    pub source: Option<String>,
    /// Articles of the source that it did not name are deleted at its end.
    pub mirror: bool,
    /// What became of its lines.
    pub counts: Counts,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportState {
    /// Lines are still coming.
    Running,
    /// Every line was stored or refused.
    Completed,
    /// It broke off.
    Failed,
}

impl ImportState {
    /// As it stands in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Completed, Self::Failed].into_iter().find(|state| state.as_str() == text)
    }
}

/// What became of an import's lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All that were not blank.
    pub lines: i64,
    /// New articles.
    pub created: i64,
    /// Articles that became others.
    pub updated: i64,
    /// Lines that said what was so already.
    pub unchanged: i64,
    /// Articles that were deleted, by a line or by the mirror.
    pub deleted: i64,
    /// Lines that were not taken.
    pub refused: i64,
    /// Articles it wrote that cannot be found yet.
    pub pending: i64,
    /// Articles it wrote that can be found.
    pub indexed: i64,
}

/// A line that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct LineError {
    /// Its number, from 1.
    pub line: i64,
    /// The article it names, if that could be read.
    pub external_id: Option<String>,
    /// For programs.
    pub code: String,
    /// For a person.
    pub message: String,
}

/// A line that is not blank.
#[derive(Debug, Clone)]
pub enum Line {
    /// It writes an article, whose draft has an external id.
    Put(Box<Draft>),
    /// It deletes the article of that external id.
    Delete(String),
    /// It cannot be taken.
    Refused(LineError),
}

impl Line {
    /// The article it is about.
    #[must_use]
    pub fn external_id(&self) -> Option<&str> {
        match self {
            Self::Put(draft) => draft.fields.external_id.as_deref(),
            Self::Delete(external_id) => Some(external_id),
            Self::Refused(error) => error.external_id.as_deref(),
        }
    }
}

/// Whose imports somebody may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// All of the organization.
    Any,
    /// Those that this key made.
    Key(KeyId),
}

impl Maker {
    pub(super) fn as_text(self) -> String {
        match self {
            Self::Any => String::new(),
            Self::Key(key) => key.to_string(),
        }
    }
}

/// What an import is to be.
#[derive(Debug, Clone)]
pub struct NewImport {
    /// Its id.
    pub id: ImportId,
    /// The key that makes it.
    pub key: Option<KeyId>,
    /// The source of all its lines.
    pub source: Option<String>,
    /// Delete what of the source it does not name.
    pub mirror: bool,
}

impl Knowledge {
    /// An import of `org`, and the first refused lines.
    ///
    /// # Errors
    /// There is none that the caller may see, or the store is away.
    pub async fn import(
        &self,
        org: OrgId,
        id: ImportId,
        maker: Maker,
        errors: i64,
    ) -> Result<(Import, Vec<LineError>), KnowledgeError> {
        self.tell(org).await;
        let import = sql::imports::find(self.store(), org, id, maker).await?;
        let import = import.ok_or(KnowledgeError::NotFound)?;
        let errors = match import.counts.refused {
            0 => Vec::new(),
            _ => sql::imports::errors(self.store(), org, id, None, false, errors).await?,
        };
        Ok((import, errors))
    }

    /// The digest of the body of an import that was completed.
    ///
    /// # Errors
    /// The store is away.
    pub async fn import_digest(&self, org: OrgId, id: ImportId) -> Result<Option<String>, KnowledgeError> {
        Ok(sql::imports::digest(self.store(), org, id).await?)
    }

    /// Imports of `org` behind one, in the order of their beginning.
    ///
    /// # Errors
    /// The store is away.
    pub async fn imports(
        &self,
        org: OrgId,
        maker: Maker,
        after: Option<ImportId>,
        ascending: bool,
        limit: i64,
    ) -> Result<Vec<Import>, KnowledgeError> {
        self.tell(org).await;
        Ok(sql::imports::list(self.store(), org, maker, after, ascending, limit).await?)
    }

    /// Lines that an import refused, behind one, in order.
    ///
    /// # Errors
    /// There is no such import that the caller may see, or the store is away.
    pub async fn import_errors(
        &self,
        (org, id): (OrgId, ImportId),
        maker: Maker,
        after: Option<i64>,
        descending: bool,
        limit: i64,
    ) -> Result<Vec<LineError>, KnowledgeError> {
        let import = sql::imports::find(self.store(), org, id, maker).await?;
        import.ok_or(KnowledgeError::NotFound)?;
        Ok(sql::imports::errors(self.store(), org, id, after, descending, limit).await?)
    }
}
