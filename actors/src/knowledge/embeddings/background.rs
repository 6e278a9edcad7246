//! The work in the background: articles without vectors get them.
//!
//! One request at a time, organizations in turn, a few articles of each: nobody's thousands hold up another's one. What
//! fails is waited for, longer each time, and what the endpoint refuses of one article is left alone until the article
//! changes. Nothing here is needed for an article to be found by its words.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak, atomic::Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::super::article::{Entry, StoredArticle};
use super::super::handle::Shared;
use super::super::messages::ArticleName;
use super::super::sql;
use super::super::sql::embeddings::{StoredVectors, Wanted};
use super::queue::{Noted, Queue, Work};
use super::vectors::{Digest, Vector, Vectors};
use super::{Embeddings, digest, texts};
use crate::ids::{ArticleId, OrgId};
use crate::store::StoreError;
use crate::upstream::{Failure, Kind, retry};
use crate::writer::{Op, WriteError};

/// Articles that are looked at together, and stored in one commit: what a crash or a failure makes us ask for again.
const AT_ONCE: usize = 8;

/// How often the store is asked what is missing: what other processes wrote, and what nobody told us of.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The longest that an endpoint can have us wait: what is configured wrongly is mended sooner.
const LONGEST_ASKED_WAIT: Duration = Duration::from_secs(600);

/// After so many failures in a row the wait does not grow any more: half a minute.
const LONGEST_WAIT_AFTER: u32 = 8;

/// Why some articles have no vectors yet.
#[derive(Debug, thiserror::Error)]
enum Delay {
    #[error("{0}")]
    Endpoint(Failure),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the indexer ends")]
    Ends,
}

/// Gives articles their vectors, as long as there is somebody who has them.
pub(in super::super) async fn run(shared: Weak<Shared>, embeddings: Arc<Embeddings>, noted: Arc<Noted>) {
    let mut queue = Queue::default();
    let mut failures = 0;
    let mut looked_at: Option<Instant> = None;
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let worker = Worker { shared: strong, embeddings: Arc::clone(&embeddings) };
        queue.note(noted.take());
        if looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            match worker.missing().await {
                Ok(missing) => queue.look(missing),
                Err(error) => debug!(%error, "articles without vectors could not be looked for"),
            }
            looked_at = Some(Instant::now());
        }
        let Some((org, work)) = queue.work.pop_front() else {
            drop(worker);
            // Both are fine: something came, or it is time to look.
            let _ = timeout(LOOK_EVERY, noted.came.notified()).await;
            continue;
        };
        match worker.some(org, &work).await {
            Ok(Done { articles, rest, asked }) => {
                queue.done(org, articles, rest);
                if asked && std::mem::take(&mut failures) > 0 {
                    info!("articles get vectors again");
                }
            }
            Err(Delay::Ends) => return,
            Err(delay) => {
                queue.work.push_back((org, work));
                failures += 1;
                let asked = if let Delay::Endpoint(failure) = &delay { failure.retry_after } else { None };
                let wait = retry::wait(failures.min(LONGEST_WAIT_AFTER), retry::draw(), asked)
                    .min(LONGEST_ASKED_WAIT);
                if failures == 1 {
                    warn!(%delay, "articles get no vectors at the moment, and are found by their words alone");
                }
                drop(worker);
                tokio::time::sleep(wait).await;
            }
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    embeddings: Arc<Embeddings>,
}

/// Work that was done.
struct Done {
    articles: usize,
    rest: Option<Work>,
    /// The endpoint was asked, and answered.
    asked: bool,
}

/// An article without vectors, and what there is of it.
struct Candidate {
    id: ArticleId,
    version: i64,
    digest: Option<Digest>,
    texts: Vec<String>,
    vectors: Option<Arc<Vectors>>,
    /// The vectors that are stored are right; only the version is another.
    is_stored: bool,
}

impl Worker {
    async fn missing(&self) -> Result<Vec<(OrgId, i64)>, Delay> {
        let name = self.embeddings.name();
        self.on_store(sql::embeddings::missing(&self.shared.store, self.wanted(&name))).await
    }

    fn wanted<'a>(&self, model: &'a str) -> Wanted<'a> {
        Wanted { model, dimensions: self.embeddings.dimensions() }
    }

    /// Does some of the work.
    async fn some(&self, org: OrgId, work: &Work) -> Result<Done, Delay> {
        let (ids, rest) = match work {
            Work::These(ids) => {
                let (now, later) = ids.split_at(ids.len().min(AT_ONCE));
                (now.to_vec(), (!later.is_empty()).then(|| Work::These(later.to_vec())))
            }
            Work::Behind(after) => {
                let name = self.embeddings.name();
                let (store, wanted) = (&self.shared.store, self.wanted(&name));
                let next = sql::embeddings::next_missing(store, org, wanted, *after, AT_ONCE as i64);
                let ids = self.on_store(next).await?;
                let rest = ids.last().map(|last| Work::Behind(Some(*last)));
                (ids, rest)
            }
        };
        let mut candidates = self.candidates(org, &ids).await?;
        let asked = self.embed(&mut candidates).await?;
        self.store(org, &candidates).await?;
        Ok(Done { articles: ids.len(), rest, asked })
    }

    async fn candidates(&self, org: OrgId, ids: &[ArticleId]) -> Result<Vec<Candidate>, Delay> {
        let (store, model) = (&self.shared.store, self.embeddings.name());
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let read = async {
                let article = sql::find(store, org, &ArticleName::Id(*id)).await?;
                let stored = sql::embeddings::between(store, org, &model, *id, *id).await?.pop();
                Ok::<_, StoreError>(article.map(|article| (article, stored)))
            };
            found.extend(self.on_store(read).await?);
        }
        let dimensions = self.embeddings.dimensions();
        let prepare = move || {
            found.into_iter().map(|(article, stored)| candidate(article, stored, dimensions)).collect()
        };
        tokio::task::spawn_blocking(prepare).await.map_err(|_| Delay::Ends)
    }

    /// Asks for the vectors of those that lack them. Says whether the endpoint was asked.
    async fn embed(&self, candidates: &mut [Candidate]) -> Result<bool, Delay> {
        let texts: Vec<String> = candidates
            .iter()
            .filter(|candidate| candidate.vectors.is_none())
            .flat_map(|candidate| candidate.texts.iter().filter(|text| !text.is_empty()).cloned())
            .collect();
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.embeddings.settings.batch.max(1)) {
            match self.unless_ending(self.embeddings.of_passages(batch)).await? {
                Ok(made) => vectors.extend(made.into_iter().map(Some)),
                // One of them may be why.
                Err(failure) if failure.kind == Kind::Rejected => {
                    vectors.extend(self.one_by_one(batch).await?)
                }
                Err(failure) => return Err(Delay::Endpoint(failure)),
            }
        }
        let mut vectors = vectors.into_iter();
        for candidate in candidates.iter_mut().filter(|candidate| candidate.vectors.is_none()) {
            let Some(digest) = candidate.digest else { continue };
            let is_said = |text: &&String| !text.is_empty();
            let said = candidate.texts.iter().filter(is_said).count();
            let mut made = vectors.by_ref().take(said).collect::<Vec<_>>().into_iter();
            let of_passages: Vec<Option<Vector>> = candidate
                .texts
                .iter()
                .map(|text| if text.is_empty() { None } else { made.next().flatten() })
                .collect();
            let has_one = of_passages.iter().any(Option::is_some);
            candidate.vectors = if has_one { Vectors::of(digest, &of_passages).map(Arc::new) } else { None };
            if has_one && candidate.vectors.is_none() {
                // Of two lengths: the model became another one in between.
                return Err(Delay::Endpoint(Kind::Broken.into()));
            }
        }
        Ok(!texts.is_empty())
    }

    /// The vectors of texts of which one at least is refused, without those that are.
    async fn one_by_one(&self, texts: &[String]) -> Result<Vec<Option<Vector>>, Delay> {
        let mut vectors = Vec::with_capacity(texts.len());
        for text in texts {
            match self.unless_ending(self.embeddings.of_passages(std::slice::from_ref(text))).await? {
                Ok(made) => vectors.extend(made.into_iter().map(Some)),
                Err(failure) if failure.kind == Kind::Rejected => {
                    warn!(%failure, "the endpoint refuses to embed a passage, which is found by its words alone");
                    vectors.push(None);
                }
                Err(failure) => return Err(Delay::Endpoint(failure)),
            }
        }
        Ok(vectors)
    }

    async fn store(&self, org: OrgId, candidates: &[Candidate]) -> Result<(), Delay> {
        let name = self.embeddings.name();
        for candidate in candidates {
            let mut op = Op { patience: Duration::from_millis(5), ..Op::default() };
            if candidate.is_stored {
                sql::embeddings::keep(&mut op, org, candidate.id, candidate.version);
            } else {
                let vectors = candidate.vectors.as_ref();
                let stored = StoredVectors {
                    article: candidate.id,
                    digest: vectors.and(candidate.digest),
                    dimensions: vectors.map_or(0, |vectors| vectors.dimensions()),
                    encoded: vectors.map(|vectors| vectors.encoded()).unwrap_or_default(),
                };
                sql::embeddings::put(&mut op, org, &name, candidate.version, &stored);
            }
            match self.on_store(async { Ok::<_, WriteError>(self.shared.writer.commit(op).await) }).await? {
                // Changed or gone meanwhile; whoever did that has noted it.
                Ok(()) | Err(WriteError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
            if let (Some(vectors), Some(shelf)) = (&candidate.vectors, self.shared.shelf_in_memory(org)) {
                shelf.attach(candidate.id, vectors);
            }
        }
        Ok(())
    }

    /// Does something with the store, unless the indexer ends: then nobody may hold a connection.
    async fn on_store<T, E: Into<Delay>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Delay> {
        let _embedding = self.shared.embedding.lock().await;
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(Delay::Ends);
        }
        work.await.map_err(Into::into)
    }

    /// Waits for something that needs no store.
    async fn unless_ending<T>(&self, work: impl Future<Output = T>) -> Result<T, Delay> {
        let done = work.await;
        if self.shared.closing.load(Ordering::Acquire) { Err(Delay::Ends) } else { Ok(done) }
    }
}

fn candidate(stored: StoredArticle, vectors: Option<StoredVectors>, dimensions: usize) -> Candidate {
    let StoredArticle { article, content } = stored;
    let (id, version, published) = (article.id, article.version, article.fields.published);
    // What nobody finds needs no vectors; what it has it keeps.
    // A panic is about this article alone, and would come again.
    let read = || catch_unwind(AssertUnwindSafe(|| Entry::read(Arc::new(article), &content)));
    let entry = if published { read().ok().and_then(Result::ok) } else { None };
    let Some(entry) = entry else {
        let is_stored = !published && vectors.is_some();
        return Candidate { id, version, digest: None, texts: Vec::new(), vectors: None, is_stored };
    };
    let texts = texts(&entry);
    let digest = digest(&texts);
    let same = vectors.filter(|vectors| {
        let is_comparable = dimensions == 0 || dimensions == vectors.dimensions;
        vectors.digest == Some(digest) && is_comparable
    });
    let vectors = same.and_then(|same| Vectors::decoded(digest, same.dimensions, &same.encoded));
    let is_stored = vectors.is_some();
    Candidate { id, version, digest: Some(digest), texts, vectors, is_stored }
}
