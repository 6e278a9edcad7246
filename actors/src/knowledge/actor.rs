//! The actor through which articles are written and indexed.
//!
//! Commands of different organizations run side by side and share commits; those of one organization take turns. The
//! order is always: store, index, answer. What is in memory is a cache: if something goes wrong between the first and
//! the second, the shelf's head is behind the store's, and whoever needs the shelf next has it catch up.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::time::timeout;
use tracing::error;

use super::article::{Article, Draft, StoredArticle};
use super::batch::Batch;
use super::handle::Shared;
use super::import::Counts;
use super::markup::Document;
use super::messages::{
    ArticleName, CatchUp, Change, DeleteArticle, Deleted, Indexed, KnowledgeError, Put, PutArticle,
    PutTarget, WriteBatch,
};
use super::shelf::{Arrival, Body, Shelf};
use super::{sql, tell};
use crate::clock::Timestamp;
use crate::ids::{ArticleId, OrgId};
use crate::organization;
use crate::supervision::{End, Lifeline};
use crate::writer::{Op, WriteError};

/// Commands that may wait to be looked at; looking takes no time.
const MAILBOX_CAPACITY: usize = 64;

/// Commands that may be under way. Each holds an article of up to 4 MiB.
const MOST_AT_ONCE: usize = 64;

/// How often a write is decided anew because another process wrote in between.
const DECISIONS: usize = 5;

/// The only writer of articles, and of what is searched.
pub(super) struct KnowledgeIndexer {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    _lifeline: Lifeline,
}

impl KnowledgeIndexer {
    /// Starts the indexer on its arbiter; when it panics, another takes its place.
    pub(super) fn start(shared: &Arc<Shared>) {
        let heir = Arc::downgrade(shared);
        let lifeline = move |end| {
            if let Some(shared) = heir.upgrade()
                && end == End::Panicked
            {
                error!("the knowledge indexer panicked and starts again");
                shared.forget_all();
                Self::start(&shared);
            }
        };
        let owned = Arc::clone(shared);
        let indexer = Self::start_in_arbiter(&shared.arbiter, move |ctx| {
            ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
            let permits = Arc::new(Semaphore::new(MOST_AT_ONCE));
            Self { shared: owned, permits, _lifeline: Lifeline::new(lifeline) }
        });
        shared.set_indexer(indexer);
    }

    /// Runs `work` unless too much runs already.
    fn admit<T: 'static>(
        &self,
        work: impl Future<Output = Result<T, KnowledgeError>> + 'static,
    ) -> ResponseFuture<Result<T, KnowledgeError>> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Box::pin(async { Err(KnowledgeError::Overloaded) });
        };
        Box::pin(async move {
            let _permit = permit;
            work.await
        })
    }
}

impl Actor for KnowledgeIndexer {
    type Context = Context<Self>;
}

impl Handler<PutArticle> for KnowledgeIndexer {
    type Result = ResponseFuture<Result<Put, KnowledgeError>>;

    fn handle(&mut self, message: PutArticle, _: &mut Context<Self>) -> Self::Result {
        let shared = Arc::clone(&self.shared);
        self.admit(async move {
            let turn = Turn::take(shared, message.org).await?;
            for _ in 0..DECISIONS {
                let decision = turn.decide(&message).await?;
                if let Some((article, change, arrival)) = turn.store(&message, decision).await? {
                    let indexed = match arrival {
                        Some(arrival) => index(turn, arrival).await?,
                        None => turn.shelf.indexed(article.id),
                    };
                    return Ok(Put { article, change, indexed });
                }
            }
            Err(KnowledgeError::Write(WriteError::Conflict))
        })
    }
}

impl Handler<WriteBatch> for KnowledgeIndexer {
    type Result = ResponseFuture<Result<Counts, KnowledgeError>>;

    fn handle(&mut self, message: WriteBatch, _: &mut Context<Self>) -> Self::Result {
        let shared = Arc::clone(&self.shared);
        self.admit(async move {
            let turn = Turn::take(shared, message.org).await?;
            for _ in 0..DECISIONS {
                let mut batch = Batch::decide(&turn, &message).await?;
                if turn.commit(|op, org, head| batch.fill(op, org, head, &message)).await? {
                    let (arrivals, gone) = (std::mem::take(&mut batch.arrivals), batch.gone);
                    let written: Vec<_> = arrivals.iter().map(|arrival| arrival.article.id).collect();
                    turn.shelf.change(move || arrivals, gone).await?;
                    turn.end();
                    turn.shared.wants_vectors(turn.shelf.org, written);
                    return Ok(batch.counts);
                }
            }
            Err(KnowledgeError::Write(WriteError::Conflict))
        })
    }
}

impl Handler<DeleteArticle> for KnowledgeIndexer {
    type Result = ResponseFuture<Result<Deleted, KnowledgeError>>;

    fn handle(&mut self, message: DeleteArticle, _: &mut Context<Self>) -> Self::Result {
        let shared = Arc::clone(&self.shared);
        self.admit(async move {
            let turn = Turn::take(shared, message.org).await?;
            for _ in 0..DECISIONS {
                let stored = turn.find(&message.name).await?.ok_or(KnowledgeError::NotFound)?;
                message.only_if.check(Some(stored.article.version))?;
                let id = stored.article.id;
                if turn.commit(|op, org, _| sql::delete(op, org, id)).await? {
                    let taken_out = take_out(turn, id).await?;
                    return Ok(taken_out.map_or(Deleted::FromStore, |()| Deleted::Everywhere));
                }
            }
            Err(KnowledgeError::Write(WriteError::Conflict))
        })
    }
}

impl Handler<CatchUp> for KnowledgeIndexer {
    type Result = ResponseFuture<Result<(), KnowledgeError>>;

    fn handle(&mut self, message: CatchUp, _: &mut Context<Self>) -> Self::Result {
        let shared = Arc::clone(&self.shared);
        self.admit(async move {
            let turn = Turn::take(Arc::clone(&shared), message.org).await?;
            if message.retry {
                turn.retry().await?;
            }
            tell::soon(&shared, &turn.shelf);
            Ok(())
        })
    }
}

/// What a write comes down to.
pub(super) enum Decision {
    Nothing(Article),
    /// The article as it becomes, and the version before.
    Write(Article, Change, i64),
}

/// The right to change an organization's articles, held by one command at a time.
pub(super) struct Turn {
    pub(super) shared: Arc<Shared>,
    pub(super) shelf: Arc<Shelf>,
    _writing: OwnedMutexGuard<()>,
}

impl Turn {
    /// Waits for the turn and brings the shelf up to date with the store.
    async fn take(shared: Arc<Shared>, org: OrgId) -> Result<Self, KnowledgeError> {
        loop {
            let shelf = shared.shelf(org);
            let writing = Arc::clone(&shelf.writing).lock_owned().await;
            // Thrown away while we waited: what we would change, nobody would search.
            if !shared.is_current(&shelf) {
                continue;
            }
            let turn = Self { shared, shelf, _writing: writing };
            turn.catch_up().await?;
            return Ok(turn);
        }
    }

    async fn catch_up(&self) -> Result<(), KnowledgeError> {
        self.shelf.catch_up(&self.shared.store).await
    }

    pub(super) async fn find(&self, name: &ArticleName) -> Result<Option<StoredArticle>, KnowledgeError> {
        Ok(sql::find(&self.shared.store, self.shelf.org, name).await?)
    }

    async fn decide(
        &self,
        PutArticle { target, draft, only_if, now, .. }: &PutArticle,
    ) -> Result<Decision, KnowledgeError> {
        let external = draft.fields.external_id.clone().map(ArticleName::External);
        let namesake = match &external {
            Some(name) => self.find(name).await?,
            None => None,
        };
        let (id, stored) = match target {
            PutTarget::New(id) => (*id, None),
            PutTarget::Stored(id) => {
                let stored = self.find(&ArticleName::Id(*id)).await?;
                (*id, Some(stored.ok_or(KnowledgeError::NotFound)?))
            }
            PutTarget::External(id) => (namesake.as_ref().map_or(*id, |n| n.article.id), namesake.clone()),
        };
        if namesake.is_some_and(|namesake| namesake.article.id != id) {
            return Err(KnowledgeError::ExternalIdTaken);
        }
        only_if.check(stored.as_ref().map(|stored| stored.article.version))?;
        Ok(decide(id, draft, stored, *now))
    }

    /// Stores what was decided, and says what the index has to take in; `None` if another process wrote in between.
    async fn store(
        &self,
        message: &PutArticle,
        decision: Decision,
    ) -> Result<Option<(Article, Change, Option<Arrival>)>, KnowledgeError> {
        let (article, change, before) = match decision {
            Decision::Nothing(article) => return Ok(Some((article, Change::Unchanged, None))),
            Decision::Write(article, change, before) => (article, change, before),
        };
        let content = message.draft.content.clone();
        let stored = StoredArticle { article, content };
        let fill = |op: &mut Op, org, head| {
            sql::put(op, org, &stored);
            sql::states::pending(op, org, head, &stored.article, "");
            op.rows.extend(message.idempotency.clone());
        };
        if !self.commit(fill).await? {
            return Ok(None);
        }
        let article = stored.article.clone();
        let arrival = arrival(stored, message.draft.document.clone(), before);
        Ok(Some((article, change, Some(arrival))))
    }

    /// Commits what `fill` adds; false, and the shelf up to date again, if another process wrote in between.
    async fn commit(&self, fill: impl FnOnce(&mut Op, OrgId, i64)) -> Result<bool, KnowledgeError> {
        let mut op = Op::default();
        sql::advance(&mut op, self.shelf.org, self.shelf.head());
        fill(&mut op, self.shelf.org, self.shelf.head());
        match self.shared.writer.commit(op).await {
            Ok(()) => Ok(true),
            Err(WriteError::Conflict) => {
                self.catch_up().await?;
                if self.shelf.head() == sql::NO_HEAD
                    && !organization::exists(&self.shared.store, self.shelf.org).await?
                {
                    return Err(KnowledgeError::NotFound);
                }
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tries again what could not be indexed and is due, and notes what can be found now.
    async fn retry(&self) -> Result<(), KnowledgeError> {
        for id in self.shelf.due() {
            match self.find(&ArticleName::Id(id)).await? {
                Some(stored) => {
                    self.shelf.change(move || vec![Arrival::again(stored)], Vec::new()).await?;
                }
                None => self.shelf.change(Vec::new, vec![id]).await?,
            }
        }
        tell::recovered(&self.shared, &self.shelf).await
    }

    /// The shelf has taken in what was committed.
    fn end(&self) {
        self.shelf.advance(self.shelf.head() + 1);
        tell::soon(&self.shared, &self.shelf);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.shelf.is_broken() {
            error!(org.id = %self.shelf.org, "an index broke while it was changed and will be built again");
            self.shared.forget(&self.shelf);
        }
    }
}

/// Indexes what was stored.
async fn index(turn: Turn, arrival: Arrival) -> Result<Option<Indexed>, KnowledgeError> {
    let within = turn.shared.indexed_within;
    let indexing = async move {
        let id = arrival.article.id;
        turn.shelf.change(move || vec![arrival], Vec::new()).await?;
        turn.end();
        turn.shared.wants_vectors(turn.shelf.org, [id]);
        Ok(turn.shelf.indexed(id))
    };
    Ok(waited(within, indexing).await?.flatten())
}

/// Takes out of the index what was deleted.
async fn take_out(turn: Turn, id: ArticleId) -> Result<Option<()>, KnowledgeError> {
    let within = turn.shared.indexed_within;
    let taking_out = async move {
        turn.shelf.change(Vec::new, vec![id]).await?;
        turn.end();
        Ok(())
    };
    waited(within, taking_out).await
}

/// Waits for what the index does after a commit, which goes on when nobody waits for it any more; `None` then.
pub(super) async fn waited<T: 'static>(
    within: Duration,
    work: impl Future<Output = Result<T, KnowledgeError>> + 'static,
) -> Result<Option<T>, KnowledgeError> {
    let working = actix::spawn(work);
    if within.is_zero() {
        return Ok(None);
    }
    match timeout(within, working).await {
        Ok(done) => done.map_err(|_| KnowledgeError::Restarting)?.map(Some),
        Err(_) => Ok(None),
    }
}

/// An article that was written just now. `document` is none if its content is that of the version before.
pub(super) fn arrival(stored: StoredArticle, document: Option<Document>, before: i64) -> Arrival {
    let StoredArticle { article, content } = stored;
    let body = document.map_or(Body::AsBefore { version: before, content }, Body::Read);
    Arrival { article: Arc::new(article), body, lag_known: true, vectors: None }
}

pub(super) fn decide(
    id: ArticleId,
    draft: &Draft,
    stored: Option<StoredArticle>,
    now: Timestamp,
) -> Decision {
    let fields = draft.fields.clone();
    match stored {
        Some(stored) if draft.changes_nothing(&stored) => Decision::Nothing(stored.article),
        Some(StoredArticle { article, .. }) => {
            let version = article.version + 1;
            let article = Article { id, version, fields, created_at: article.created_at, updated_at: now };
            Decision::Write(article, Change::Updated, version - 1)
        }
        None => {
            let article = Article { id, version: 1, fields, created_at: now, updated_at: now };
            Decision::Write(article, Change::Created, 0)
        }
    }
}
