//! An import while it runs: batch after batch, and at its end what its mirror did not name.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use super::{BATCH_LINES, Counts, Import, ImportState, Line, NewImport};
use crate::clock::Timestamp;
use crate::ids::{ArticleId, ImportId, OrgId};
use crate::knowledge::handle::Knowledge;
use crate::knowledge::messages::{KnowledgeError, WriteBatch};
use crate::knowledge::sql;
use crate::writer::{Op, Row, WriteError};

/// External ids that a mirror remembers, eight bytes each. An index of more articles would not fit into memory.
const MOST_NAMES: usize = 4_000_000;

/// Articles that a mirror looks at in one read.
const MIRROR_PAGE: i64 = 1_000;

/// How often a batch is tried while the server has no time or its store is away.
const TRIES: u32 = 20;

/// The wait before a batch is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

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
pub(in crate::knowledge) struct Unnamed {
    pub(in crate::knowledge) source: String,
    pub(in crate::knowledge) articles: Vec<ArticleId>,
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
