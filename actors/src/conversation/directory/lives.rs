//! The lives of conversations' actors: woken by a command, replaced when they die, asked to leave when they rest.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use actix::{Addr, ArbiterHandle, prelude::*};
use dashmap::mapref::entry::Entry;
use futures_util::{StreamExt, stream};
use tracing::{error, warn};

use super::{Directory, Live};
use crate::{
    clock::Timestamp,
    conversation::{
        actor::{ConversationActor, Leave, LeaveIfResting},
        feed::Closing,
        messages::{Ask, Command, ConversationKey, Interrupted, Refusal, Reply},
        sql,
    },
    ids::OrgId,
    metrics::METRICS,
    store::StoreError,
    supervision::End,
};

/// How often a command is sent before it is given up: its actor may leave as it arrives, or die of it.
const TRIES: usize = 4;

/// A conversation whose actor panics more often than this within [`FAULT_WINDOW`] is closed to commands for a while;
/// reads go on.
const FAULTS_ALLOWED: usize = 5;

/// See [`FAULTS_ALLOWED`].
const FAULT_WINDOW: Duration = Duration::from_secs(60);

/// Conversations with faults that are remembered. Beyond this, those whose faults are old are forgotten.
const FAULTY_REMEMBERED: usize = 10_000;

/// Interrupted conversations woken at once after a crash, so that new customers are not kept waiting by old turns.
const RECOVERED_AT_ONCE: usize = 64;

/// How long a stop waits for conversations to store what is being stored.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// Conversations asked to leave at once; more would only queue on the same workers.
const LEAVING_AT_ONCE: usize = 1_024;

/// Conversations that are erased at once when their organization goes: a fraction of the writer's queue.
const ERASED_AT_ONCE: usize = 64;

impl Directory {
    /// Sends a command, again if its actor left or died, until one answers it.
    pub(super) async fn ask(&self, key: ConversationKey, command: Command) -> Result<Reply, Refusal> {
        let mut ask = Ask { command, at: Timestamp::now(), repeat: false };
        for _ in 0..TRIES {
            // The id of a conversation that begins was drawn just now: nothing is stored under it.
            let fresh = !ask.repeat && matches!(ask.command, Command::Start(_));
            let actor = self.actor(key, fresh)?;
            match actor.send(ask.clone()).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(Interrupted::Refused(refusal))) => return Err(refusal),
                Ok(Err(Interrupted::Reload)) | Err(MailboxError::Closed | MailboxError::Timeout) => {
                    self.forget(key, &actor);
                    ask.repeat = true;
                }
            }
        }
        Err(Refusal::Unavailable)
    }

    /// The live actor of a conversation, woken on this thread if there is none.
    fn actor(&self, key: ConversationKey, fresh: bool) -> Result<Addr<ConversationActor>, Refusal> {
        if self.0.stopping.load(Ordering::Acquire) || self.is_faulty(key) {
            return Err(Refusal::Unavailable);
        }
        match self.0.live.entry(key) {
            Entry::Occupied(mut entry) => {
                if entry.get().actor.connected() {
                    return Ok(entry.get().actor.clone());
                }
                let live = self.activate(key, fresh);
                let actor = live.actor.clone();
                entry.insert(live);
                Ok(actor)
            }
            Entry::Vacant(entry) => {
                let live = self.activate(key, fresh);
                let actor = live.actor.clone();
                entry.insert(live);
                Ok(actor)
            }
        }
    }

    fn activate(&self, key: ConversationKey, fresh: bool) -> Live {
        METRICS.conversations_active.inc();
        let generation = self.0.generations.fetch_add(1, Ordering::Relaxed);
        let actor = ConversationActor::activate(self.clone(), key, generation, fresh);
        Live { actor, generation, resting_since: 0 }
    }

    /// Removes an address that no longer answers, unless a successor took its place.
    fn forget(&self, key: ConversationKey, actor: &Addr<ConversationActor>) {
        self.0.live.remove_if(&key, |_, live| live.actor == *actor);
    }

    /// An actor leaves; a successor that took its place stays.
    pub(in crate::conversation) fn leave(&self, key: ConversationKey, generation: u32) {
        self.0.live.remove_if(&key, |_, live| live.generation == generation);
    }

    /// Seconds of this directory's life, from 1: small enough to stand beside a hundred thousand addresses.
    fn age(&self) -> u32 {
        u32::try_from(self.0.since.elapsed().as_secs()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// An actor has been idle for a while.
    pub(in crate::conversation) fn rests(&self, key: ConversationKey, generation: u32) {
        self.note_rest(key, generation, self.age());
    }

    /// An actor that rested has something to do.
    pub(in crate::conversation) fn stirs(&self, key: ConversationKey, generation: u32) {
        self.note_rest(key, generation, 0);
    }

    fn note_rest(&self, key: ConversationKey, generation: u32, resting_since: u32) {
        if let Some(mut live) = self.0.live.get_mut(&key)
            && live.generation == generation
        {
            live.resting_since = resting_since;
        }
    }

    /// Asks those who have rested long enough to leave. To be called now and then.
    pub fn passivate(&self) {
        let longest = u32::try_from(self.0.options.passivate_after.as_secs()).unwrap_or(u32::MAX);
        let age = self.age();
        let rested = |live: &Live| live.resting_since > 0 && age - live.resting_since >= longest;
        let resting: Vec<_> =
            self.0.live.iter().filter(|live| rested(live)).map(|live| live.actor.clone()).collect();
        for actor in resting {
            // A full mailbox does not rest.
            let _ = actor.try_send(LeaveIfResting);
        }
    }

    /// An actor's future was dropped. Runs in the middle of an unwinding if it panicked.
    pub(in crate::conversation) fn ended(
        &self,
        key: ConversationKey,
        generation: u32,
        end: End,
        turn_open: bool,
    ) {
        METRICS.conversations_active.dec();
        self.leave(key, generation);
        if end == End::Stopped {
            return;
        }
        self.0.figures.restarts.fetch_add(1, Ordering::Relaxed);
        METRICS.restarted("conversation");
        error!(org.id = %key.0, conversation.id = %key.1, "a conversation's actor panicked");
        self.note_fault(key);
        if turn_open && let Some(arbiter) = Arbiter::try_current() {
            let directory = self.clone();
            arbiter.spawn(async move { directory.wake(key).await });
        }
    }

    fn note_fault(&self, key: ConversationKey) {
        let now = Instant::now();
        if self.0.faults.len() >= FAULTY_REMEMBERED {
            self.0.faults.retain(|_, faults| {
                faults.back().is_some_and(|last| now.duration_since(*last) < FAULT_WINDOW)
            });
        }
        let mut faults = self.0.faults.entry(key).or_default();
        faults.push_back(now);
        if faults.len() > FAULTS_ALLOWED + 1 {
            faults.pop_front();
        }
    }

    fn is_faulty(&self, key: ConversationKey) -> bool {
        if self.0.faults.is_empty() {
            return false;
        }
        let now = Instant::now();
        self.0.faults.get(&key).is_some_and(|faults| {
            faults.iter().filter(|fault| now.duration_since(**fault) < FAULT_WINDOW).count() > FAULTS_ALLOWED
        })
    }

    /// Wakes a conversation, so that its open turns go on.
    async fn wake(&self, key: ConversationKey) {
        if let Err(refusal) = self.ask(key, Command::Wake).await {
            warn!(org.id = %key.0, conversation.id = %key.1, error = %refusal, "a conversation could not be woken");
        }
    }

    /// After a crash: wakes every conversation that has open turns, spread over `homes`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn recover(&self, homes: &[ArbiterHandle]) -> Result<usize, StoreError> {
        let interrupted = sql::interrupted(&self.0.store).await?;
        let woken = interrupted.len();
        stream::iter(interrupted.into_iter().enumerate())
            .for_each_concurrent(RECOVERED_AT_ONCE, |(index, key)| {
                let directory = self.clone();
                let (done, waking) = tokio::sync::oneshot::channel();
                let wake = async move {
                    directory.wake(key).await;
                    // The sweep may have been given up meanwhile.
                    let _ = done.send(());
                };
                match homes.get(index % homes.len().max(1)) {
                    Some(home) => drop(home.spawn(wake)),
                    None => drop(actix::spawn(wake)),
                }
                async move { drop(waking.await) }
            })
            .await;
        Ok(woken)
    }

    /// Erases every conversation of `org` that is in memory, so that none writes once the organization is gone.
    pub async fn erase_live(&self, org: OrgId) {
        let live: Vec<_> = self.0.live.iter().map(|live| *live.key()).filter(|key| key.0 == org).collect();
        let all = stream::iter(live).for_each_concurrent(ERASED_AT_ONCE, |key| async move {
            // One that is refused is not stored, or is erased with the rest.
            let _ = self.delete(key, None, None).await;
        });
        all.await;
    }

    /// Ends every stream, refuses new commands, and lets each conversation store what it is storing.
    pub async fn stop_all(&self) {
        self.0.stopping.store(true, Ordering::Release);
        // Collected first: a feed that nobody else holds removes itself from the map when it is let go.
        let feeds: Vec<_> = self.0.feeds.iter().filter_map(|feed| feed.upgrade()).collect();
        for feed in feeds {
            feed.close(Closing::Shutdown);
        }
        let actors: Vec<_> = self.0.live.iter().map(|live| live.actor.clone()).collect();
        let all = stream::iter(actors).for_each_concurrent(LEAVING_AT_ONCE, |actor| async move {
            // An actor that has gone already has left.
            let _ = actor.send(Leave).await;
        });
        if tokio::time::timeout(LEAVE_WITHIN, all).await.is_err() {
            warn!("some conversations did not stop in time; their turns go on at the next start");
        }
    }
}
