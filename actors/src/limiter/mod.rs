//! The rate limiter: one bucket actor per key and kind of bucket, found through a map.
//!
//! A key's actors live on one arbiter, whichever worker asks, so that most hops stay near. A clean stop saves the logs
//! and the next start reads them; after a crash a key has at most one more window's worth.

mod actor;
mod sql;
mod streams;
#[cfg(test)]
mod tests;
mod window;

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Addr, Arbiter, ArbiterHandle, MailboxError, Message, dev::ToEnvelope};
use dashmap::DashMap;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tracing::warn;

use self::actor::{Ages, BucketActor, GiveBack, Take};
pub use self::{
    streams::{OpenStreams, StreamPermit, TooManyStreams},
    window::{Admission, Decision, WINDOW, Window},
};
use crate::{
    clock::Timestamp,
    ids::KeyId,
    store::{Store, StoreError},
    supervision::{End, Lifeline},
    writer::{Op, WriteError, Writer},
};

/// How often a bucket that ended under a request is started again. Once is the rule; more means that it dies at
/// every touch, and the request must not try for ever.
const STARTS: usize = 3;

/// Buckets that are asked at once for their logs when the process ends: each lives on one of a few threads.
const ASKED_AT_ONCE: usize = 256;

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Requests.
    Requests,
    /// Streams opened by GET and WebSockets, so that reconnecting does not use up requests.
    StreamOpenings,
    /// Conversations that one address starts with one publishable key.
    Starts,
}

impl Bucket {
    fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::StreamOpenings => "stream_openings",
            Self::Starts => "starts",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Requests, Self::StreamOpenings, Self::Starts]
            .into_iter()
            .find(|bucket| bucket.as_str() == text)
    }
}

/// One bucket of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BucketId {
    /// What is counted.
    pub bucket: Bucket,
    /// Whose.
    pub key: KeyId,
}

/// The limiter cannot decide: the request is refused as unavailable, not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the rate limiter is not available")]
pub struct LimiterGone;

/// All buckets. Cheap to clone.
#[derive(Clone)]
pub struct RateLimiter {
    shared: Arc<Shared>,
}

struct Shared {
    live: DashMap<BucketId, Live>,
    started: AtomicU64,
    home_of: Box<dyn Fn(KeyId) -> ArbiterHandle + Send + Sync>,
    node: String,
    /// What the last clean stop left and nobody has asked for yet, with the instant by which it counts.
    saved: Mutex<HashMap<BucketId, Window>>,
}

/// A bucket's actor. The number tells it from its successor when its end is noticed late.
#[derive(Debug, Clone)]
struct Live {
    number: u64,
    addr: Addr<BucketActor>,
}

impl RateLimiter {
    /// A limiter with the logs that `node` saved at its last clean stop. `home_of` says where a key's actors live.
    ///
    /// # Errors
    /// The store is away.
    pub async fn restore(
        store: &Store,
        node: &str,
        home_of: impl Fn(KeyId) -> ArbiterHandle + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let (wall, now) = (Timestamp::now(), Instant::now());
        let mut saved = HashMap::new();
        for (id, admitted) in sql::saved(store, node).await? {
            // A wall clock that went back makes an age zero, never negative: stricter, for one window.
            let ages =
                admitted.iter().map(|at| Duration::from_millis(wall.0.saturating_sub(at.0).max(0) as u64));
            let window = Window::with_ages(ages.filter(|&age| age < WINDOW), now);
            if window.empty_at().is_some() {
                saved.insert(id, window);
            }
        }
        let shared = Shared {
            live: DashMap::new(),
            started: AtomicU64::new(0),
            home_of: Box::new(home_of),
            node: node.to_owned(),
            saved: Mutex::new(saved),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Decides about a request that arrived at `arrived`.
    ///
    /// # Errors
    /// The bucket's actor cannot be reached.
    pub async fn take(
        &self,
        id: BucketId,
        quota: NonZeroU32,
        arrived: Instant,
    ) -> Result<Decision, LimiterGone> {
        self.ask(id, Take { quota, arrived }).await
    }

    /// The admitted request turned out not to count.
    pub async fn give_back(&self, id: BucketId, admission: Admission) {
        let bucket = self.shared.live.get(&id).map(|bucket| bucket.clone());
        if let Some(bucket) = bucket {
            // An actor that ended meanwhile has nothing left to give back to.
            let _ = bucket.addr.send(GiveBack(admission)).await;
        }
    }

    /// Saves the logs for the next start. For a clean stop, after the last request.
    ///
    /// # Errors
    /// The store cannot be written: the next start begins with empty logs.
    pub async fn save(&self, writer: &Writer) -> Result<(), WriteError> {
        let live: Vec<_> = self.shared.live.iter().map(|entry| (*entry.key(), entry.addr.clone())).collect();
        let ages = live.into_iter().map(|(id, bucket)| async move {
            // A bucket that has just ended by itself was empty.
            (id, bucket.send(Ages).await.unwrap_or_default())
        });
        let mut logs: Vec<_> = stream::iter(ages).buffer_unordered(ASKED_AT_ONCE).collect().await;
        let now = Instant::now();
        logs.extend(self.untouched().iter().map(|(&id, window)| (id, window.ages(now).collect())));

        let now = Timestamp::now();
        // Later by less than a millisecond, so that the log is never looser than it was.
        let at = |age: &Duration| now.plus_ms(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let mut op = Op::default();
        sql::clear(&mut op, &self.shared.node);
        for (id, ages) in logs.iter().filter(|(_, ages)| !ages.is_empty()) {
            sql::insert(&mut op, &self.shared.node, *id, &ages.iter().map(at).collect::<Vec<_>>(), now);
        }
        writer.commit(op).await
    }

    async fn ask<M>(&self, id: BucketId, message: M) -> Result<M::Result, LimiterGone>
    where
        M: Message + Copy + Send + 'static,
        M::Result: Send,
        BucketActor: actix::Handler<M>,
        actix::Context<BucketActor>: ToEnvelope<BucketActor, M>,
    {
        let mut home = (self.shared.home_of)(id.key);
        for _ in 0..STARTS {
            let bucket = self.bucket(id, &home);
            match bucket.addr.send(message).await {
                Ok(answer) => return Ok(answer),
                // It ended with the message in its mailbox: a fresh one takes its place. Its home may be gone with
                // its thread, and here is one that is not.
                Err(MailboxError::Closed | MailboxError::Timeout) => {
                    self.shared.remove(id, bucket.number);
                    home = Arbiter::current();
                }
            }
        }
        Err(LimiterGone)
    }

    fn bucket(&self, id: BucketId, home: &ArbiterHandle) -> Live {
        if let Some(bucket) = self.shared.live.get(&id) {
            return bucket.clone();
        }
        self.shared.live.entry(id).or_insert_with(|| self.start(id, home)).clone()
    }

    fn start(&self, id: BucketId, home: &ArbiterHandle) -> Live {
        let window = self.untouched().remove(&id).unwrap_or_default();
        let number = self.shared.started.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::downgrade(&self.shared);
        let addr = BucketActor::start_in_arbiter(home, move |_| {
            let lifeline = Lifeline::new(move |end| {
                if end == End::Panicked {
                    warn!(key.id = %id.key, bucket = id.bucket.as_str(), "a rate limiter's log was lost to a panic");
                }
                if let Some(shared) = shared.upgrade() {
                    shared.remove(id, number);
                }
            });
            BucketActor::new(window, lifeline)
        });
        Live { number, addr }
    }

    fn untouched(&self) -> std::sync::MutexGuard<'_, HashMap<BucketId, Window>> {
        self.shared.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Only that very actor, not its successor.
    fn remove(&self, id: BucketId, number: u64) {
        self.live.remove_if(&id, |_, bucket| bucket.number == number);
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("live", &self.shared.live.len()).finish_non_exhaustive()
    }
}
