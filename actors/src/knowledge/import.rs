//! Imports: many articles in one body, a resource that says how far it came.
//!
//! Each batch of lines is one commit, together with what it makes of the import's counts: what is counted is stored,
//! whatever happens next. An import whose process ends is found failed by the next start.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::Serialize;
use sqlx::FromRow;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::article::Draft;
use super::handle::Knowledge;
use super::messages::{KnowledgeError, WriteBatch};
use super::sql;
use crate::clock::Timestamp;
use crate::ids::{ArticleId, ImportId, KeyId, OrgId};
use crate::writer::{Op, Row, WriteError};

/// Lines of one commit. Others' writes to the same articles wait that long: a tenth of a second.
pub const BATCH_LINES: usize = 128;

/// Bytes of one commit, beyond which no line is added: the same for lines that are long.
pub const BATCH_BYTES: usize = 1 << 20;

/// External ids that a mirror remembers, eight bytes each. An index of more articles would not fit into memory.
const MOST_NAMES: usize = 4_000_000;

/// Imports that run at once in one process. Each holds two batches: in the worst case, lines of four megabytes.
pub(super) const MOST_IMPORTS: usize = 16;

/// Articles that a mirror looks at in one read.
const MIRROR_PAGE: i64 = 1_000;

/// How often a batch is tried while the server has no time or its store is away.
const TRIES: u32 = 20;

/// The wait before a batch is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

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

/// An import that runs.
#[derive(Debug)]
pub struct RunningImport {
    knowledge: Knowledge,
    org: OrgId,
    id: ImportId,
    counts: Counts,
    mirror: Option<Mirror>,
    /// Its end is stored.
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

/// Articles that a mirror did not name: deleted if they are still of its source.
#[derive(Debug, Clone, Default)]
pub(super) struct Unnamed {
    pub(super) source: String,
    pub(super) articles: Vec<ArticleId>,
}

/// What a mirror has to know at the end.
#[derive(Debug)]
struct Mirror {
    source: String,
    /// Hashes of the external ids that were named: two that share one spare an article, which is the safe way round.
    named: HashSet<u64>,
    /// A line's external id could not be read, or there were too many: nothing can be known to be missing.
    is_blind: bool,
}

impl Mirror {
    fn note(&mut self, line: &Line) {
        match line.external_id() {
            Some(name) if self.named.len() < MOST_NAMES => {
                self.named.insert(hash(name));
            }
            _ => self.is_blind = true,
        }
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl Knowledge {
    /// Begins an import.
    ///
    /// # Errors
    /// Too many run already, or the store cannot be written.
    pub async fn begin_import(&self, org: OrgId, new: NewImport) -> Result<RunningImport, KnowledgeError> {
        let permit = self.import_permit().ok_or(KnowledgeError::Overloaded)?;
        let NewImport { id, key, source, mirror } = new;
        let named =
            || Mirror { source: source.clone().unwrap_or_default(), named: HashSet::new(), is_blind: false };
        let mirror = (mirror && source.is_some()).then(named);
        let import = Import {
            id,
            key,
            state: ImportState::Running,
            source,
            mirror: mirror.is_some(),
            counts: Counts::default(),
            error: None,
            created_at: Timestamp::now(),
            finished_at: None,
        };
        let mut op = Op::default();
        sql::imports::begin(&mut op, org, &import, self.writer().node());
        self.writer().commit(op).await?;
        Ok(RunningImport {
            knowledge: self.clone(),
            org,
            id,
            counts: Counts::default(),
            mirror,
            ended: false,
            _permit: permit,
        })
    }

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

impl RunningImport {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> ImportId {
        self.id
    }

    /// Stores some lines: at most [`BATCH_LINES`] that name different articles. Waits while the server has too much to
    /// do, and so does whoever sends them.
    ///
    /// # Errors
    /// They could not be stored for long. Nothing of them is.
    pub async fn take(&mut self, lines: Vec<Line>) -> Result<(), KnowledgeError> {
        if let Some(mirror) = &mut self.mirror {
            lines.iter().for_each(|line| mirror.note(line));
        }
        self.write(lines, Unnamed::default()).await
    }

    async fn write(&mut self, lines: Vec<Line>, unnamed: Unnamed) -> Result<(), KnowledgeError> {
        for attempt in 1.. {
            let batch = WriteBatch {
                org: self.org,
                import: self.id,
                lines: lines.clone(),
                unnamed: unnamed.clone(),
                counts: self.counts,
                now: Timestamp::now(),
            };
            match self.knowledge.write_batch(batch).await {
                Ok(counts) => {
                    self.counts = counts;
                    return Ok(());
                }
                Err(error) if attempt < TRIES && error.passes() => tokio::time::sleep(TRY_AGAIN_AFTER).await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The whole body was taken; that is its digest.
    ///
    /// # Errors
    /// Its end could not be stored.
    pub async fn complete(mut self, digest: &str, idempotency: Option<Row>) -> Result<(), KnowledgeError> {
        if let Some(mirror) = self.mirror.take().filter(|mirror| !mirror.is_blind) {
            self.delete_unnamed(&mirror).await?;
        }
        self.end(Ok(digest), idempotency).await
    }

    /// It broke off.
    ///
    /// # Errors
    /// Its end could not be stored.
    pub async fn fail(mut self, reason: &str) -> Result<(), KnowledgeError> {
        self.end(Err(reason), None).await
    }

    async fn delete_unnamed(&mut self, mirror: &Mirror) -> Result<(), KnowledgeError> {
        let mut after: Option<ArticleId> = None;
        loop {
            let store = self.knowledge.store();
            let page = sql::imports::of_source(store, self.org, &mirror.source, after, MIRROR_PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            let is_named = |name: &Option<String>| {
                name.as_deref().is_some_and(|name| mirror.named.contains(&hash(name)))
            };
            let unnamed: Vec<_> =
                page.iter().filter(|(_, name)| !is_named(name)).map(|(id, _)| *id).collect();
            for batch in unnamed.chunks(BATCH_LINES) {
                let unnamed = Unnamed { source: mirror.source.clone(), articles: batch.to_vec() };
                self.write(Vec::new(), unnamed).await?;
            }
        }
    }

    async fn end(
        &mut self,
        ending: Result<&str, &str>,
        idempotency: Option<Row>,
    ) -> Result<(), KnowledgeError> {
        let mut op = Op::default();
        sql::imports::end(&mut op, self.org, self.id, ending, Timestamp::now());
        op.rows.extend(idempotency);
        let ended = self.knowledge.writer().commit(op).await;
        // Refused: whoever looked for abandoned imports was first, or the organization is gone.
        self.ended = matches!(ended, Ok(()) | Err(WriteError::Conflict));
        Ok(ended?)
    }
}

impl Drop for RunningImport {
    /// Whoever ran it went away without a word: its handler was dropped, or panicked.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (knowledge, org, id) = (self.knowledge.clone(), self.org, self.id);
        self.knowledge.arbiter().spawn(async move {
            let mut op = Op::default();
            let reason = "the import was broken off";
            sql::imports::end(&mut op, org, id, Err(reason), Timestamp::now());
            if let Err(error) = knowledge.writer().commit(op).await
                && !matches!(error, WriteError::Conflict)
            {
                warn!(%error, import.id = %id, "an import that broke off still counts as running");
            }
        });
    }
}
