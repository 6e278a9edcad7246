//! The way to an organization's articles, for answerers and for HTTP.

use std::fmt;
use std::sync::{
    Arc, PoisonError, RwLock, Weak,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use actix::{Addr, Arbiter, ArbiterHandle, MailboxError, Message, dev::ToEnvelope};
use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::actor::KnowledgeIndexer;
use super::article::StoredArticle;
use super::embeddings::{self, Embeddings, Meaning, Noted};
use super::idle;
use super::import::{Counts, MOST_IMPORTS};
use super::index::{Explanation, Hit, Index, Query};
use super::messages::{
    ArticleName, CatchUp, DeleteArticle, Deleted, Indexed, KnowledgeError, Put, PutArticle, WriteBatch,
};
use super::shelf::Shelf;
use super::sql::{self, ListArticles};
use super::tell;
use crate::clock::Timestamp;
use crate::ids::{ArticleId, OrgId};
use crate::store::Store;
use crate::threads;
use crate::writer::Writer;

/// Passages that are searched on the caller's own thread, in some 0.3 ms. A longer search would hold up the others whom
/// that thread serves, and is worth the way to another.
const SEARCHED_HERE: usize = 10_000;

/// Bytes of vectors that are compared in as much time as a passage is searched by its words.
const BYTES_LIKE_A_PASSAGE: usize = 512;

/// How the indexer works.
#[derive(Debug)]
pub struct Options {
    /// How an index begins: [`Index::lean`] ones take less memory.
    pub empty_index: fn() -> Index,
    /// How long a write waits until it is searchable; it is stored by then, whatever becomes of it.
    pub indexed_within: Duration,
    /// What makes vectors, if there is something.
    pub embeddings: Option<Embeddings>,
}

impl Default for Options {
    fn default() -> Self {
        // As the API promises.
        Self { empty_index: Index::default, indexed_within: Duration::from_secs(30), embeddings: None }
    }
}

/// The articles of all organizations. Cheap to clone; searching needs no message to the actor.
#[derive(Clone)]
pub struct Knowledge {
    shared: Arc<Shared>,
}

/// How far an organization's index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexStatus {
    /// Articles that are as the index knows them.
    pub indexed: i64,
    /// Articles that the index has not taken in yet.
    pub pending: i64,
    /// Articles that it could not take in.
    pub failed: i64,
    /// How long the oldest of the pending ones has waited.
    pub oldest_pending_ms: Option<i64>,
    /// When the last article came in.
    pub last_indexed_at: Option<Timestamp>,
}

impl Knowledge {
    /// Starts the indexer on an arbiter of its own.
    #[must_use]
    pub fn start(store: Store, writer: Writer) -> Self {
        Self::start_with(store, writer, Options::default())
    }

    /// The same, working as told.
    #[must_use]
    pub fn start_with(store: Store, writer: Writer, options: Options) -> Self {
        let arbiter = Arbiter::new().handle();
        arbiter.spawn_fn(|| threads::name(threads::KNOWLEDGE));
        let shared = Arc::new(Shared {
            store,
            writer,
            arbiter,
            empty_index: options.empty_index,
            indexed_within: options.indexed_within,
            model: options.embeddings.as_ref().map(|embeddings| embeddings.name().into()),
            embeddings: options.embeddings.map(Arc::new),
            noted: Arc::default(),
            embedding: Mutex::default(),
            shelves: DashMap::new(),
            indexer: RwLock::new(None),
            imports: Arc::new(Semaphore::new(MOST_IMPORTS)),
            closing: AtomicBool::new(false),
        });
        KnowledgeIndexer::start(&shared);
        shared.arbiter.spawn(idle::let_go(Arc::downgrade(&shared)));
        Self { shared }
    }

    /// The articles of `org` that fit best.
    ///
    /// # Errors
    /// They are not in memory, and the store is away.
    pub async fn search(&self, org: OrgId, asked: &Query) -> Result<Vec<Hit>, KnowledgeError> {
        let shelf = self.fresh_shelf(org).await?;
        let query = asked.normalised();
        if let Some(hits) = shelf.remembered(&query) {
            return Ok(hits);
        }
        let meaning = self.meaning(&shelf, &asked.turns, &query.turns).await;
        if shelf.passages() + shelf.vector_bytes() / BYTES_LIKE_A_PASSAGE <= SEARCHED_HERE {
            return Ok(shelf.search(query, meaning.as_deref()));
        }
        let searching = tokio::task::spawn_blocking(move || shelf.search(query, meaning.as_deref()));
        searching.await.map_err(|_| KnowledgeError::Restarting)
    }

    /// What was asked means, if that comes in time and there is something to compare it with. The words are searched
    /// when it is there or too late: that takes a millisecond, and one look at the index does for both.
    async fn meaning(&self, shelf: &Shelf, turns: &[String], normalised: &[String]) -> Option<Arc<Meaning>> {
        let embeddings = self.shared.embeddings.as_ref().filter(|_| shelf.vector_bytes() > 0)?;
        if let Some(meaning) = shelf.meaning(normalised) {
            return Some(meaning);
        }
        let meaning = Arc::new(embeddings.of_question(turns).await?);
        shelf.keep_meaning(normalised.to_vec(), &meaning);
        Some(meaning)
    }

    /// How [`Knowledge::search`] comes to what it finds.
    ///
    /// # Errors
    /// The articles are not in memory, and the store is away.
    pub async fn explain(&self, org: OrgId, asked: &Query) -> Result<Explanation, KnowledgeError> {
        let (shelf, query) = (self.fresh_shelf(org).await?, asked.normalised());
        let meaning = self.meaning(&shelf, &asked.turns, &query.turns).await;
        let explaining = tokio::task::spawn_blocking(move || shelf.explain(&query, meaning.as_deref()));
        explaining.await.map_err(|_| KnowledgeError::Restarting)
    }

    /// Writes an article.
    ///
    /// # Errors
    /// See [`KnowledgeError`].
    pub async fn put(&self, message: PutArticle) -> Result<Put, KnowledgeError> {
        self.ask(message).await?
    }

    /// Deletes an article.
    ///
    /// # Errors
    /// See [`KnowledgeError`].
    pub async fn delete(&self, message: DeleteArticle) -> Result<Deleted, KnowledgeError> {
        self.ask(message).await?
    }

    /// An article as it is stored.
    ///
    /// # Errors
    /// There is none, or the store is away.
    pub async fn find(&self, org: OrgId, name: &ArticleName) -> Result<StoredArticle, KnowledgeError> {
        sql::find(&self.shared.store, org, name).await?.ok_or(KnowledgeError::NotFound)
    }

    /// Articles as they are stored.
    ///
    /// # Errors
    /// The store is away.
    pub async fn list(
        &self,
        org: OrgId,
        wanted: &ListArticles,
    ) -> Result<Vec<StoredArticle>, KnowledgeError> {
        if !wanted.index_state.is_empty() {
            self.tell(org).await;
        }
        Ok(sql::list(&self.shared.store, org, wanted).await?)
    }

    /// Which version of each article is searchable, and since when; `None` of one that the index has not seen.
    ///
    /// # Errors
    /// They are not in memory, and the store is away.
    pub async fn indexed(
        &self,
        org: OrgId,
        ids: impl IntoIterator<Item = ArticleId>,
    ) -> Result<Vec<Option<Indexed>>, KnowledgeError> {
        let shelf = self.fresh_shelf(org).await?;
        Ok(ids.into_iter().map(|id| shelf.indexed(id)).collect())
    }

    /// How far the index of `org` is.
    ///
    /// # Errors
    /// The store is away.
    pub async fn status(&self, org: OrgId) -> Result<IndexStatus, KnowledgeError> {
        self.tell(org).await;
        let counts = sql::states::count(&self.shared.store, org).await?;
        let of = |state: &str| counts.iter().find(|count| count.state == state);
        let articles = |state| of(state).map_or(0, |count| count.articles);
        let waits_since = of("pending").and_then(|count| count.first_written_at);
        Ok(IndexStatus {
            indexed: articles("indexed"),
            pending: articles("pending"),
            failed: articles("failed"),
            oldest_pending_ms: waits_since.map(|since| (Timestamp::now().0 - since.0).max(0)),
            last_indexed_at: of("indexed").and_then(|count| count.last_indexed_at),
        })
    }

    /// From now on, what earlier processes left undone is done, what could not be indexed is tried again, and articles
    /// get their vectors.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn look_after(&self) -> Result<(), KnowledgeError> {
        tell::end_imports_before(&self.shared).await?;
        let shared = Arc::downgrade(&self.shared);
        self.shared.arbiter.spawn(tell::look_after(Weak::clone(&shared)));
        if let Some(embeddings) = &self.shared.embeddings {
            let (embeddings, noted) = (Arc::clone(embeddings), Arc::clone(&self.shared.noted));
            self.shared.arbiter.spawn_fn(move || {
                actix::spawn(embeddings::run(shared, embeddings, noted));
            });
        }
        Ok(())
    }

    /// Stores what has become of the organization's articles, as far as this process knows them.
    pub(super) async fn tell(&self, org: OrgId) {
        if let Some(shelf) = self.shared.filled_shelf(org) {
            tell::now(&self.shared, &shelf).await;
        }
    }

    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) fn store(&self) -> &Store {
        &self.shared.store
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.shared.writer
    }

    pub(super) fn arbiter(&self) -> &ArbiterHandle {
        &self.shared.arbiter
    }

    /// A place among the imports that run.
    pub(super) fn import_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.imports).try_acquire_owned().ok()
    }

    pub(super) async fn write_batch(&self, batch: WriteBatch) -> Result<Counts, KnowledgeError> {
        self.ask(batch).await?
    }

    pub(super) async fn catch_up(&self, message: CatchUp) -> Result<(), KnowledgeError> {
        self.ask(message).await?
    }

    /// Organizations in memory with articles that are due to be tried again.
    pub(super) fn with_due(&self) -> Vec<OrgId> {
        let due = self.shared.shelves.iter().filter(|shelf| !shelf.due().is_empty());
        due.map(|shelf| shelf.org).collect()
    }

    /// Stores what is known of the articles that were written, and ends the indexer. Nothing may be asked any more.
    pub async fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.write_indexer(None);
        // Whoever gives articles their vectors leaves the store alone from here on.
        drop(self.shared.embedding.lock().await);
        for shelf in self.shared.shelves().into_iter().filter(|shelf| shelf.is_filled()) {
            tell::last(&self.shared, &shelf).await;
        }
        self.shared.arbiter.stop();
    }

    /// The organization's shelf, filled and up to date.
    async fn fresh_shelf(&self, org: OrgId) -> Result<Arc<Shelf>, KnowledgeError> {
        let shared = &self.shared;
        if let Some(shelf) = shared.filled_shelf(org) {
            if !shelf.is_stale() {
                return Ok(shelf);
            }
            match sql::head(&shared.store, org).await {
                Ok(head) if head == shelf.head() => {
                    shelf.is_fresh();
                    return Ok(shelf);
                }
                Ok(_) => {}
                // What is in memory is served while the store is away.
                Err(_) => return Ok(shelf),
            }
        }
        self.ask(CatchUp { org, retry: false }).await??;
        shared.filled_shelf(org).ok_or(KnowledgeError::Restarting)
    }

    async fn ask<M>(&self, message: M) -> Result<M::Result, KnowledgeError>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        KnowledgeIndexer: actix::Handler<M>,
        actix::Context<KnowledgeIndexer>: ToEnvelope<KnowledgeIndexer, M>,
    {
        let indexer = self.shared.indexer().ok_or(KnowledgeError::Restarting)?;
        indexer.send(message).await.map_err(|error| match error {
            MailboxError::Closed => KnowledgeError::Restarting,
            MailboxError::Timeout => KnowledgeError::Overloaded,
        })
    }
}

impl fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knowledge").field("shelves", &self.shared.shelves.len()).finish_non_exhaustive()
    }
}

/// What the handle and the actor have in common.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) arbiter: ArbiterHandle,
    empty_index: fn() -> Index,
    pub(super) indexed_within: Duration,
    pub(super) embeddings: Option<Arc<Embeddings>>,
    /// Whose vectors the indexes hold.
    model: Option<Arc<str>>,
    noted: Arc<Noted>,
    /// Held by whoever gives articles their vectors while that uses the store.
    pub(super) embedding: Mutex<()>,
    shelves: DashMap<OrgId, Arc<Shelf>>,
    indexer: RwLock<Option<Addr<KnowledgeIndexer>>>,
    imports: Arc<Semaphore>,
    /// Whoever closes tells the rest: nothing on the arbiter may hold a connection when that ends.
    pub(super) closing: AtomicBool,
}

impl Shared {
    /// The organization's shelf, filled or not.
    pub(super) fn shelf(&self, org: OrgId) -> Arc<Shelf> {
        let empty = || Arc::new(Shelf::empty(org, (self.empty_index)(), self.model.clone()));
        Arc::clone(&self.shelves.entry(org).or_insert_with(empty))
    }

    /// These articles were written, and may lack vectors now.
    pub(super) fn wants_vectors(&self, org: OrgId, articles: impl IntoIterator<Item = ArticleId>) {
        if self.embeddings.is_some() {
            self.noted.note(org, articles);
        }
    }

    /// The organization's shelf if it is filled; nobody needs it.
    pub(super) fn shelf_in_memory(&self, org: OrgId) -> Option<Arc<Shelf>> {
        self.shelves.get(&org).filter(|shelf| shelf.is_filled()).map(|shelf| Arc::clone(&shelf))
    }

    fn filled_shelf(&self, org: OrgId) -> Option<Arc<Shelf>> {
        let shelf = self.shelf_in_memory(org)?;
        shelf.touch();
        Some(shelf)
    }

    pub(super) fn shelves(&self) -> Vec<Arc<Shelf>> {
        self.shelves.iter().map(|shelf| Arc::clone(&shelf)).collect()
    }

    pub(super) fn is_current(&self, shelf: &Arc<Shelf>) -> bool {
        self.shelves.get(&shelf.org).is_some_and(|current| Arc::ptr_eq(&current, shelf))
    }

    /// Throws a shelf away; the next who needs it has it filled again.
    pub(super) fn forget(&self, shelf: &Arc<Shelf>) {
        self.shelves.remove_if(&shelf.org, |_, current| Arc::ptr_eq(current, shelf));
    }

    pub(super) fn forget_all(&self) {
        self.shelves.clear();
    }

    pub(super) fn set_indexer(&self, indexer: Addr<KnowledgeIndexer>) {
        self.write_indexer(Some(indexer));
    }

    fn write_indexer(&self, indexer: Option<Addr<KnowledgeIndexer>>) {
        *self.indexer.write().unwrap_or_else(PoisonError::into_inner) = indexer;
    }

    fn indexer(&self) -> Option<Addr<KnowledgeIndexer>> {
        self.indexer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
