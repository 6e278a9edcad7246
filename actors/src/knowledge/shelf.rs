//! The index of one organization, and how it follows the store.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tracing::warn;

use super::article::{Article, Entry, StoredArticle};
use super::embeddings::{Meaning, Vectors, digest, texts};
use super::index::{Explanation, Hit, Index, Prepared, Query};
use super::markup::Document;
use super::messages::{Indexed, KnowledgeError};
use super::remembered::Remembered;
use super::sql;
use super::sql::embeddings::StoredVectors;
use crate::clock::Timestamp;
use crate::ids::{ArticleId, OrgId};
use crate::metrics::METRICS;
use crate::store::Store;

/// How long a shelf is taken to be up to date. Writes of this process show at once; this is for those of others,
/// and is a small part of the second a change may take.
const FRESH_FOR: Duration = Duration::from_millis(250);

/// How soon an article that could not be indexed is tried again: whatever it was may pass, such as a machine so busy that
/// a deadline was missed. Each further time takes twice as long, up to the other.
const FIRST_RETRY_AFTER: Duration = Duration::from_secs(10);
const RETRY_EVERY: Duration = Duration::from_secs(60 * 60);

/// Articles read and prepared at a time while a shelf is filled: enough to keep every core busy, and little memory.
const PAGE: usize = 256;

/// Articles that are worth another thread: one is prepared in about as much time as a thread takes to start.
const WORTH_A_THREAD: usize = 8;

/// The searchable articles of one organization, shared by all who search.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) org: OrgId,
    contents: RwLock<Contents>,
    /// When it was last known to be up to date.
    checked_at: Mutex<Instant>,
    /// When somebody last needed it.
    used_at: Mutex<Instant>,
    remembered: Mutex<Remembered>,
    /// Whose vectors it holds, if any.
    model: Option<Arc<str>>,
    /// A change panicked half-way, so the contents may be anything.
    broken: AtomicBool,
    /// Held by the one who changes the contents.
    pub(super) writing: Arc<tokio::sync::Mutex<()>>,
    /// Held by the one who tells what became of articles.
    pub(super) telling: tokio::sync::Mutex<()>,
    /// Somebody will tell soon.
    pub(super) to_be_told: AtomicBool,
}

#[derive(Debug, Default)]
struct Contents {
    index: Index,
    /// Of every article, the unpublished ones included.
    indexed: HashMap<ArticleId, Indexed>,
    /// Those that could not be indexed.
    failed: HashMap<ArticleId, Retry>,
    /// The writes that these contents have seen; `None` before they were filled.
    head: Option<i64>,
    /// How often the index changed.
    state: u64,
}

/// When an article that could not be indexed is tried again.
#[derive(Debug, Clone, Copy)]
struct Retry {
    failures: u32,
    due: Instant,
}

impl Retry {
    fn after(before: Option<Self>) -> Self {
        let failures = before.map_or(1, |before| before.failures + 1);
        let wait = FIRST_RETRY_AFTER.saturating_mul(1 << (failures - 1).min(16)).min(RETRY_EVERY);
        Self { failures, due: Instant::now() + wait }
    }
}

impl Shelf {
    pub(super) fn empty(org: OrgId, index: Index, model: Option<Arc<str>>) -> Self {
        let contents = Contents { index, ..Contents::default() };
        Self {
            org,
            contents: RwLock::new(contents),
            checked_at: Mutex::new(Instant::now()),
            used_at: Mutex::new(Instant::now()),
            remembered: Mutex::default(),
            model,
            broken: AtomicBool::new(false),
            writing: Arc::default(),
            telling: tokio::sync::Mutex::default(),
            to_be_told: AtomicBool::new(false),
        }
    }

    /// What was found when `query`, normalised, was last asked, if nothing changed since.
    pub(super) fn remembered(&self, query: &Query) -> Option<Vec<Hit>> {
        let state = self.read().state;
        lock(&self.remembered).get(query, state)
    }

    /// Searches for `query`, normalised.
    pub(super) fn search(&self, query: Query, meaning: Option<&Meaning>) -> Vec<Hit> {
        let (hits, state, is_best) = {
            let contents = self.read();
            let index = &contents.index;
            let hits = match meaning {
                Some(meaning) => index.search_by_meaning(&query, meaning),
                None => index.search(&query),
            };
            // A vector that did not come this time may come the next.
            (hits, contents.state, meaning.is_some() || index.vector_bytes() == 0)
        };
        if is_best {
            lock(&self.remembered).keep(query, &hits, state);
        }
        hits
    }

    pub(super) fn explain(&self, query: &Query, meaning: Option<&Meaning>) -> Explanation {
        self.read().index.explain(query, meaning)
    }

    /// What `turns`, normalised, mean, if that was asked lately.
    pub(super) fn meaning(&self, turns: &[String]) -> Option<Arc<Meaning>> {
        lock(&self.remembered).meaning(turns)
    }

    /// Remembers what `turns`, normalised, mean.
    pub(super) fn keep_meaning(&self, turns: Vec<String>, meaning: &Arc<Meaning>) {
        lock(&self.remembered).keep_meaning(turns, Arc::clone(meaning));
    }

    /// Puts vectors beside the passages they were made of.
    pub(super) fn attach(&self, id: ArticleId, vectors: &Arc<Vectors>) {
        let entry = self.read().index.get(id).cloned();
        // Its words may have changed since; then others are on their way.
        if let Some(entry) = entry.filter(|entry| digest(&texts(entry)) == *vectors.digest()) {
            let mut contents = self.write();
            contents.state += 1;
            contents.index.attach(&entry, vectors);
        }
    }

    /// How many bytes of vectors it holds.
    pub(super) fn vector_bytes(&self) -> usize {
        self.read().index.vector_bytes()
    }

    /// How many passages it has.
    pub(super) fn passages(&self) -> usize {
        self.read().index.passages()
    }

    /// Somebody needs it now.
    pub(super) fn touch(&self) {
        *lock(&self.used_at) = Instant::now();
    }

    /// How long nobody has needed it.
    pub(super) fn unused_for(&self) -> Duration {
        lock(&self.used_at).elapsed()
    }

    pub(super) fn indexed(&self, id: ArticleId) -> Option<Indexed> {
        self.read().indexed.get(&id).cloned()
    }

    /// Articles that could not be indexed and are due to be tried again.
    pub(super) fn due(&self) -> Vec<ArticleId> {
        let now = Instant::now();
        let contents = self.read();
        contents.failed.iter().filter(|(_, retry)| retry.due <= now).map(|(id, _)| *id).collect()
    }

    pub(super) fn head(&self) -> i64 {
        self.read().head.unwrap_or(sql::NO_HEAD)
    }

    /// Whether it was ever brought up to date.
    pub(super) fn is_filled(&self) -> bool {
        self.read().head.is_some()
    }

    /// Whether it is good for nothing any more.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Whether the store should be asked for a newer head.
    pub(super) fn is_stale(&self) -> bool {
        lock(&self.checked_at).elapsed() > FRESH_FOR
    }

    pub(super) fn is_fresh(&self) {
        *lock(&self.checked_at) = Instant::now();
    }

    /// Takes in what others wrote since. Call it only while holding `writing`.
    pub(super) async fn catch_up(self: &Arc<Self>, store: &Store) -> Result<(), KnowledgeError> {
        let head = sql::head(store, self.org).await?;
        if self.is_filled() && head == self.head() {
            self.is_fresh();
            return Ok(());
        }
        let stored = sql::versions(store, self.org).await?;
        let (stale, gone) = self.compare(&stored);
        self.change(Vec::new, gone).await?;
        let wanted: Arc<HashSet<ArticleId>> = Arc::new(stale.iter().copied().collect());
        let mut rest = stale.as_slice();
        let mut page = self.page(store, &mut rest).await?;
        while !page.articles.is_empty() {
            let wanted = Arc::clone(&wanted);
            let arrivals =
                move || page.arrivals().filter(|arrival| wanted.contains(&arrival.article.id)).collect();
            let change = self.change(arrivals, Vec::new());
            // The next page is read while this one is prepared.
            let (changed, next) = tokio::join!(change, self.page(store, &mut rest));
            changed?;
            page = next?;
        }
        self.advance(head);
        Ok(())
    }

    /// The next articles from the first of `rest` on, which is then what comes behind them.
    async fn page(&self, store: &Store, rest: &mut &[ArticleId]) -> Result<StoredPage, KnowledgeError> {
        let Some(first) = rest.first() else { return Ok(StoredPage::default()) };
        let articles = sql::from(store, self.org, *first, rest.len().min(PAGE)).await?;
        let Some(last) = articles.last().map(|stored| stored.article.id) else {
            *rest = &[];
            return Ok(StoredPage::default());
        };
        *rest = &rest[rest.partition_point(|id| *id <= last)..];
        let vectors = match &self.model {
            Some(model) => sql::embeddings::between(store, self.org, model, *first, last).await?,
            None => Vec::new(),
        };
        Ok(StoredPage { articles, vectors })
    }

    /// The articles to read again, in order, and those that are no more.
    fn compare(&self, stored: &[(ArticleId, i64)]) -> (Vec<ArticleId>, Vec<ArticleId>) {
        let contents = self.read();
        let is_indexed = |(id, version): &(ArticleId, i64)| {
            contents.indexed.get(id).is_some_and(|known| known.version == *version)
        };
        let stale = stored.iter().filter(|article| !is_indexed(article)).map(|(id, _)| *id).collect();
        let present: HashSet<ArticleId> = stored.iter().map(|(id, _)| *id).collect();
        let gone = contents.indexed.keys().filter(|id| !present.contains(id)).copied().collect();
        (stale, gone)
    }

    /// Swaps articles in and out, on a thread where it may take its time. Call it only while holding `writing`.
    pub(super) async fn change(
        self: &Arc<Self>,
        arrivals: impl FnOnce() -> Vec<Arrival> + Send + 'static,
        gone: Vec<ArticleId>,
    ) -> Result<(), KnowledgeError> {
        let shelf = Arc::clone(self);
        let began = Instant::now();
        let work = move || {
            gone.into_iter().for_each(|id| shelf.take_out(id));
            for ready in shelf.prepare_all(arrivals()) {
                let lag_known = ready.lag_known;
                shelf.put_in(ready);
                if lag_known {
                    METRICS.indexed(began.elapsed());
                }
            }
            shelf.sweep();
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| {
            self.broken.store(true, Ordering::Relaxed);
            KnowledgeError::Restarting
        })
    }

    /// Notes that the contents are those of `head`.
    pub(super) fn advance(&self, head: i64) {
        self.write().head = Some(head);
        self.is_fresh();
    }

    /// Prepares articles, on every core if they are many; their order stays.
    fn prepare_all(&self, arrivals: Vec<Arrival>) -> Vec<Ready> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.min(arrivals.len() / WORTH_A_THREAD).max(1);
        if threads == 1 {
            return arrivals.into_iter().map(|arrival| self.make_ready(arrival)).collect();
        }
        let next = Mutex::new(arrivals.into_iter().enumerate());
        let take = || {
            let mut ready = Vec::new();
            loop {
                // An article may be a hundred times as long as another, so each thread takes one when it has time.
                let taken = lock(&next).next();
                let Some((at, arrival)) = taken else { return ready };
                ready.push((at, self.make_ready(arrival)));
            }
        };
        let mut ready = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(take)).collect();
            let mut ready = take();
            for other in others {
                // What panics over an article is caught with the article.
                ready.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            ready
        });
        ready.sort_unstable_by_key(|(at, _)| *at);
        ready.into_iter().map(|(_, ready)| ready).collect()
    }

    fn make_ready(&self, arrival: Arrival) -> Ready {
        let (article, lag_known) = (Arc::clone(&arrival.article), arrival.lag_known);
        let prepared = match article.fields.published {
            // One article that cannot be read, or finds a fault of ours, must not keep the others from being found.
            true => catch_unwind(AssertUnwindSafe(|| self.prepare(arrival)))
                .unwrap_or_else(|_| Err("it made the indexer fail".to_owned()))
                .map(Some),
            false => Ok(None),
        };
        Ready { article, prepared, lag_known }
    }

    fn put_in(&self, Ready { article, prepared, lag_known }: Ready) {
        let replaced = self.prepared_again(article.id);
        // Only counting is left to do under the lock.
        let mut contents = self.write();
        contents.state += 1;
        match &prepared {
            Ok(Some(prepared)) => contents.index.put(prepared, replaced.as_ref()),
            // Words that were taken back must not be found any more, even where the new ones cannot be.
            Ok(None) | Err(_) => replaced.iter().for_each(|replaced| contents.index.remove(replaced)),
        }
        let at = Timestamp::now();
        let lag_ms = lag_known.then_some((at.0 - article.updated_at.0).max(0));
        let error = prepared.err();
        match &error {
            Some(error) => {
                warn!(org.id = %self.org, article.id = %article.id, %error, "an article could not be indexed");
                let retry = Retry::after(contents.failed.get(&article.id).copied());
                contents.failed.insert(article.id, retry);
            }
            None => drop(contents.failed.remove(&article.id)),
        }
        contents.indexed.insert(article.id, Indexed { version: article.version, at, lag_ms, error });
    }

    fn prepare(&self, Arrival { article, body, vectors, .. }: Arrival) -> Result<Prepared, String> {
        #[cfg(test)]
        assert_ne!(article.fields.title, super::tests::MAKES_THE_INDEXER_PANIC);
        let entry = match body {
            Body::Read(document) => Ok(Entry::of(article, document)),
            Body::Content(content) => Entry::read(article, &content),
            Body::AsBefore { version, content } => {
                let known = self.read().index.get(article.id).cloned();
                match known.filter(|known| known.article.version == version) {
                    Some(known) => Ok(known.with_fields_of(article)),
                    None => Entry::read(article, &content),
                }
            }
        };
        let entry = Arc::new(entry.map_err(|error| error.to_string())?);
        let vectors = self.vectors_of(&entry, vectors);
        Ok(Prepared::of(entry).with_vectors(vectors))
    }

    /// The vectors that are known of it, from the store or of the version before, if they are of the same words.
    fn vectors_of(&self, entry: &Entry, stored: Option<StoredVectors>) -> Option<Arc<Vectors>> {
        let known = self.read().index.vectors(entry.article.id).cloned();
        if known.is_none() && stored.is_none() {
            return None;
        }
        let digest = digest(&texts(entry));
        let stored = stored.filter(|stored| stored.digest == Some(digest));
        known.filter(|known| *known.digest() == digest).or_else(|| {
            let stored = stored?;
            let vectors = Vectors::decoded(digest, stored.dimensions, &stored.encoded)?;
            (vectors.passages() == entry.passages.len()).then_some(vectors)
        })
    }

    fn take_out(&self, id: ArticleId) {
        let removed = self.prepared_again(id);
        let mut contents = self.write();
        contents.state += 1;
        removed.iter().for_each(|removed| contents.index.remove(removed));
        contents.indexed.remove(&id);
        contents.failed.remove(&id);
    }

    fn prepared_again(&self, id: ArticleId) -> Option<Prepared> {
        let entry = self.read().index.get(id).cloned();
        entry.map(Prepared::of)
    }

    fn sweep(&self) {
        let swept = {
            let contents = self.read();
            contents.index.needs_sweeping().then(|| contents.index.swept())
        };
        if let Some(swept) = swept {
            let waste = std::mem::replace(&mut self.write().index, swept);
            // Freed here, when nobody waits for the lock.
            drop(waste);
        }
    }

    // A panic under the lock leaves a shelf that is thrown away; meanwhile it may be read.
    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An article on its way in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) article: Arc<Article>,
    pub(super) body: Body,
    /// It was written just now, so the time since then is the index's doing.
    pub(super) lag_known: bool,
    /// What the store has of its vectors.
    pub(super) vectors: Option<StoredVectors>,
}

/// Articles from the store, in order, and what vectors they have.
#[derive(Debug, Default)]
struct StoredPage {
    articles: Vec<StoredArticle>,
    vectors: Vec<StoredVectors>,
}

impl StoredPage {
    fn arrivals(self) -> impl Iterator<Item = Arrival> {
        let vectors = self.vectors.into_iter().map(|vectors| (vectors.article, vectors));
        let mut vectors: HashMap<ArticleId, StoredVectors> = vectors.collect();
        self.articles.into_iter().map(move |stored| {
            let vectors = vectors.remove(&stored.article.id);
            Arrival { vectors, ..Arrival::again(stored) }
        })
    }
}

/// An article that has only to be put in its place.
struct Ready {
    article: Arc<Article>,
    /// `None` of one that is not to be found.
    prepared: Result<Option<Prepared>, String>,
    lag_known: bool,
}

// What a mutex of a shelf holds is right after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where an article's text comes from.
#[derive(Debug)]
pub(super) enum Body {
    /// It was read already.
    Read(Document),
    /// It has to be read.
    Content(String),
    /// It is that of an earlier version, which may be in the index.
    AsBefore { version: i64, content: String },
}

impl Arrival {
    /// An article from the store.
    pub(super) fn again(StoredArticle { article, content }: StoredArticle) -> Self {
        Self { article: Arc::new(article), body: Body::Content(content), lag_known: false, vectors: None }
    }
}
