//! The directory of live conversations: where a command finds its actor, and a reader its feed.
//!
//! An actor lives on the thread that woke it, which is the HTTP worker of the first request. It leaves the directory
//! before it stops; a command that finds it gone, or that dies with it, is sent again to a successor.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Addr, ArbiterHandle, prelude::*};
use dashmap::{DashMap, mapref::entry::Entry};
use futures_util::{StreamExt, stream};
use tracing::{error, warn};

use super::{
    actor::{ConversationActor, Leave, LeaveIfResting},
    feed::{Closing, Feed},
    messages::{
        Accepted, AgentMessage, Ask, Command, ConversationKey, Interrupted, NewMessage, Patch, Refusal, Reply,
    },
    reader::{Cursor, Reader, Scope, Start},
    record::{Conversation, Details, Rating, Resolution, Turn, TurnStatus},
    sql::{self, Loaded, read},
};
use crate::{
    answer::Answerers,
    clock::Timestamp,
    ids::{OrgId, TurnId},
    metrics::{ByStatus, METRICS},
    store::{Store, StoreError},
    supervision::End,
    writer::{Row, Writer},
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

/// See [`ConversationOptions::rest_after`].
pub const REST_AFTER: Duration = Duration::from_secs(5);

/// How conversations behave, by configuration.
#[derive(Debug, Clone)]
pub struct ConversationOptions {
    /// How long an idle conversation stays in memory.
    pub passivate_after: Duration,
    /// How long its words do: long enough for the next message of a lively one, short enough that a hundred thousand
    /// idle ones hold only their state.
    pub rest_after: Duration,
    /// Turns that may run at once; past it new ones are refused as overloaded.
    pub running_turns: usize,
}

/// Figures for the metrics, all counted since start.
#[derive(Debug, Default)]
pub struct Figures {
    /// Turns that ended completed, stopped and failed.
    pub completed: AtomicU64,
    /// See `completed`.
    pub stopped: AtomicU64,
    /// See `completed`.
    pub failed: AtomicU64,
    /// Actors that panicked and were replaced.
    pub restarts: AtomicU64,
}

impl Figures {
    pub(super) fn count(&self, turn: TurnStatus) {
        let (counter, status) = match turn {
            TurnStatus::Completed => (&self.completed, "completed"),
            TurnStatus::Stopped => (&self.stopped, "stopped"),
            TurnStatus::Failed => (&self.failed, "failed"),
            TurnStatus::Queued | TurnStatus::Running => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        METRICS.turns.get_or_create(&ByStatus { status }).inc();
    }
}

struct Live {
    actor: Addr<ConversationActor>,
    /// Which activation this is: an actor removes only itself.
    generation: u32,
    /// Since when its actor rests, in seconds of this directory's life; 0: it does not.
    resting_since: u32,
}

/// What all conversations share.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) answerers: Answerers,
    pub(super) options: ConversationOptions,
    pub(super) figures: Figures,
    /// Turns that run now.
    pub(super) running: AtomicUsize,
    live: DashMap<ConversationKey, Live>,
    feeds: DashMap<ConversationKey, Weak<Feed>>,
    faults: DashMap<ConversationKey, VecDeque<Instant>>,
    generations: AtomicU32,
    since: Instant,
    stopping: AtomicBool,
}

/// Counts one running turn while it is held.
pub(super) struct Permit(Arc<Shared>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The directory of live conversations. Cheap to clone.
#[derive(Clone)]
pub struct Directory(pub(super) Arc<Shared>);

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("live", &self.0.live.len()).finish_non_exhaustive()
    }
}

/// What opening a stream came to.
#[derive(Debug)]
pub enum Opened {
    /// A stream to read.
    Reader(Box<Reader>),
    /// A turn's stream was asked for at or past its end.
    Ended,
    /// No such conversation or turn in the caller's organization.
    NotFound,
}

impl Directory {
    /// A directory in which nothing lives yet.
    #[must_use]
    pub fn new(store: Store, writer: Writer, answerers: Answerers, options: ConversationOptions) -> Self {
        Self(Arc::new(Shared {
            store,
            writer,
            answerers,
            options,
            figures: Figures::default(),
            running: AtomicUsize::new(0),
            live: DashMap::new(),
            feeds: DashMap::new(),
            faults: DashMap::new(),
            generations: AtomicU32::new(0),
            since: Instant::now(),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Begins a conversation, perhaps with its first message. The id is drawn at the edge.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn start(
        &self,
        key: ConversationKey,
        details: Details,
        message: Option<NewMessage>,
        idempotency: Option<Row>,
    ) -> Result<Accepted, Refusal> {
        self.accepted(key, Command::Start { details, message, idempotency }).await
    }

    /// Adds a customer's message.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn submit(&self, key: ConversationKey, message: NewMessage) -> Result<Accepted, Refusal> {
        self.accepted(key, Command::Submit(message)).await
    }

    /// Adds an agent's message.
    ///
    /// # Errors
    /// See [`Refusal`]; [`Refusal::HandoverState`] while the AI owns the conversation.
    pub async fn say(&self, key: ConversationKey, said: AgentMessage) -> Result<Accepted, Refusal> {
        self.accepted(key, Command::Say(said)).await
    }

    /// Repeats the last turn under a new id.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn retry(
        &self,
        key: ConversationKey,
        of: TurnId,
        turn: TurnId,
        idempotency: Option<Row>,
    ) -> Result<Accepted, Refusal> {
        match self.accepted(key, Command::Retry { of, turn, idempotency }).await {
            // A turn that does not exist is not found, rather than not the last.
            Err(Refusal::NotRetryable) if self.stored_turn(key, of).await?.is_none() => {
                Err(Refusal::NotFound)
            }
            result => result,
        }
    }

    async fn stored_turn(&self, key: ConversationKey, turn: TurnId) -> Result<Option<Turn>, Refusal> {
        read::turn(&self.0.store, key, turn).await.map_err(|error| {
            warn!(error = %error, "a turn could not be read");
            Refusal::Unavailable
        })
    }

    /// Stops a turn, or whichever runs; gives it as it ended, once that is stored.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn stop(
        &self,
        key: ConversationKey,
        turn: Option<TurnId>,
        disconnected: bool,
    ) -> Result<Option<Turn>, Refusal> {
        match self.ask(key, Command::Stop { turn, disconnected }).await {
            Ok(Reply::Stopped(turn)) => Ok(turn.map(|turn| *turn)),
            Ok(other) => Err(unexpected(&other)),
            // The actor remembers the open turns and the last; an older one has ended.
            Err(Refusal::NotFound) => match turn {
                Some(turn) => self.stored_turn(key, turn).await?.ok_or(Refusal::NotFound).map(Some),
                None => Err(Refusal::NotFound),
            },
            Err(refusal) => Err(refusal),
        }
    }

    /// Completes the conversation.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn complete(
        &self,
        key: ConversationKey,
        resolution: Option<Resolution>,
        idempotency: Option<Row>,
    ) -> Result<Conversation, Refusal> {
        self.changed(key, Command::Complete { resolution, idempotency }).await
    }

    /// Changes fields.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn patch(&self, key: ConversationKey, patch: Patch) -> Result<Conversation, Refusal> {
        self.changed(key, Command::Patch(patch)).await
    }

    /// Rates the conversation; the last rating counts.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn rate(
        &self,
        key: ConversationKey,
        rating: Rating,
        idempotency: Option<Row>,
    ) -> Result<Conversation, Refusal> {
        self.changed(key, Command::Rate { rating, idempotency }).await
    }

    /// Erases the conversation and ends its streams.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn delete(&self, key: ConversationKey, if_version: Option<Vec<i64>>) -> Result<(), Refusal> {
        self.ask(key, Command::Delete { if_version }).await.map(drop)
    }

    /// Tells the streams that somebody types.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn typing(&self, key: ConversationKey, by: &'static str) -> Result<(), Refusal> {
        self.ask(key, Command::Typing { by }).await.map(drop)
    }

    /// Opens a stream of what an accepted message causes, from its first event on.
    #[must_use]
    pub fn follow(&self, key: ConversationKey, accepted: &Accepted) -> Reader {
        let scope = match &accepted.turn {
            Some(turn) => Scope::Turn(turn.id),
            // Not up to the conversation's own sequence: a repeat finds it further on. Without a message it began.
            None => {
                Scope::Until(accepted.message.as_ref().map_or(accepted.after + 1, |message| message.sequence))
            }
        };
        let start = Start { cursor: Cursor::after(accepted.after), answer: None, instead_of: None };
        let feed = accepted.feed.clone().unwrap_or_else(|| self.feed(key));
        feed.learn_head(accepted.conversation.sequence);
        Reader::new(feed, self.0.store.clone(), key, scope, &start)
    }

    /// Opens a stream by cursor, or where a stream without a cursor begins.
    ///
    /// # Errors
    /// The store failed.
    pub async fn open(
        &self,
        key: ConversationKey,
        turn: Option<TurnId>,
        cursor: Option<Cursor>,
    ) -> Result<Opened, StoreError> {
        let Shared { store, .. } = &*self.0;
        // Found before the head is read: an event committed after the reading is published to it.
        let feed = self.feed(key);
        let Some(conversation) = read::conversation(store, key).await? else { return Ok(Opened::NotFound) };
        let head = conversation.sequence;
        feed.learn_head(head);
        let (scope, cursor) = match turn {
            None => (Scope::Conversation, cursor),
            Some(id) => {
                let Some(turn) = read::turn(store, key, id).await? else { return Ok(Opened::NotFound) };
                if let (Some(cursor), Some(ended)) = (cursor, turn.ended_sequence)
                    && cursor.sequence >= ended
                    && cursor.sequence <= head
                {
                    return Ok(Opened::Ended);
                }
                (Scope::Turn(id), Some(cursor.unwrap_or(Cursor::after(turn.accepted_sequence - 1))))
            }
        };
        let start = match cursor {
            Some(cursor) => self.check(key, &feed, cursor, head).await?,
            None => {
                // The running turn from its start, else what comes from now on.
                let open = read::open_answer(store, key, head).await?;
                let from = open.map_or(head, |(.., opened)| opened - 1);
                Start { cursor: Cursor::after(from), answer: None, instead_of: None }
            }
        };
        Ok(Opened::Reader(Box::new(Reader::new(feed, store.clone(), key, scope, &start))))
    }

    /// Finds the answer open at a cursor, and the nearest earlier position if the cursor cannot be served.
    async fn check(
        &self,
        key: ConversationKey,
        feed: &Feed,
        cursor: Cursor,
        head: i64,
    ) -> Result<Start, StoreError> {
        let sequence = cursor.sequence.min(head);
        let open = read::open_answer(&self.0.store, key, sequence).await?;
        let answer = open.map(|(turn, attempt, _)| (turn, attempt));
        if cursor.sequence > head {
            return Ok(Start { cursor: Cursor::after(head), answer, instead_of: Some(cursor) });
        }
        let Some((turn, attempt)) = answer else {
            let instead_of = (cursor.offset > 0).then_some(cursor);
            return Ok(Start { cursor: Cursor::after(sequence), answer: None, instead_of });
        };
        let text = match feed.answer_at(turn, attempt, cursor.offset) {
            Some(live) => Some(live),
            None => self.stored_answer(key, turn, sequence, cursor.offset).await?,
        };
        let served = match text {
            Some((_, on_edge)) => on_edge,
            // The attempt was restarted or its text went with a crash: there is nothing left to miss.
            None => true,
        };
        if served {
            return Ok(Start { cursor, answer, instead_of: None });
        }
        let cursor_served = Cursor { sequence, offset: 0 };
        Ok(Start { cursor: cursor_served, answer, instead_of: Some(cursor) })
    }

    /// The reply of an answer that ended after `sequence`: its length, and whether `offset` is an edge in it.
    async fn stored_answer(
        &self,
        key: ConversationKey,
        turn: TurnId,
        sequence: i64,
        offset: usize,
    ) -> Result<Option<(usize, bool)>, StoreError> {
        let store = &self.0.store;
        if read::opened_again(store, key, turn, sequence).await? {
            return Ok(None);
        }
        let Some(turn) = read::turn(store, key, turn).await? else { return Ok(None) };
        let Some(reply) = turn.reply_id else { return Ok(None) };
        let message = read::message(store, key, reply).await?;
        Ok(message.map(|message| (message.content.len(), message.content.is_char_boundary(offset))))
    }

    /// The feed of a conversation, whether anything is live or not.
    pub(super) fn feed(&self, key: ConversationKey) -> Arc<Feed> {
        let mut slot = self.0.feeds.entry(key).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let feed = self.new_feed(key);
            *slot = Arc::downgrade(&feed);
            feed
        })
    }

    fn new_feed(&self, key: ConversationKey) -> Arc<Feed> {
        let shared = Arc::downgrade(&self.0);
        Arc::new(Feed::new(move || {
            if let Some(shared) = shared.upgrade() {
                // A feed made meanwhile under the same key stays.
                shared.feeds.remove_if(&key, |_, feed| feed.strong_count() == 0);
            }
        }))
    }

    /// The feed, if somebody watches or a turn runs.
    pub(super) fn watched(&self, key: ConversationKey) -> Option<Arc<Feed>> {
        self.0.feeds.get(&key).and_then(|feed| feed.upgrade())
    }

    async fn accepted(&self, key: ConversationKey, command: Command) -> Result<Accepted, Refusal> {
        match self.ask(key, command).await? {
            Reply::Accepted(accepted) => Ok(*accepted),
            other => Err(unexpected(&other)),
        }
    }

    async fn changed(&self, key: ConversationKey, command: Command) -> Result<Conversation, Refusal> {
        match self.ask(key, command).await? {
            Reply::Conversation(conversation) => Ok(*conversation),
            other => Err(unexpected(&other)),
        }
    }

    /// Sends a command, again if its actor left or died, until one answers it.
    async fn ask(&self, key: ConversationKey, command: Command) -> Result<Reply, Refusal> {
        let mut ask = Ask { command, at: Timestamp::now(), repeat: false };
        for _ in 0..TRIES {
            // The id of a conversation that begins was drawn just now: nothing is stored under it.
            let fresh = !ask.repeat && matches!(ask.command, Command::Start { .. });
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
    pub(super) fn leave(&self, key: ConversationKey, generation: u32) {
        self.0.live.remove_if(&key, |_, live| live.generation == generation);
    }

    /// Seconds of this directory's life, from 1: small enough to stand beside a hundred thousand addresses.
    fn age(&self) -> u32 {
        u32::try_from(self.0.since.elapsed().as_secs()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// An actor has been idle for a while.
    pub(super) fn rests(&self, key: ConversationKey, generation: u32) {
        self.note_rest(key, generation, self.age());
    }

    /// An actor that rested has something to do.
    pub(super) fn stirs(&self, key: ConversationKey, generation: u32) {
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
    pub(super) fn ended(&self, key: ConversationKey, generation: u32, end: End, turn_open: bool) {
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
            let _ = self.delete(key, None).await;
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

    /// What an actor knows when it starts: everything that was queued to be written before is settled, so a dead
    /// actor's append cannot come after the reading.
    pub(super) async fn load(&self, key: ConversationKey) -> Result<Option<Loaded>, StoreError> {
        drop(self.0.writer.barrier().await);
        sql::load(&self.0.store, key).await
    }

    pub(super) fn count_running(&self) -> Permit {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        Permit(Arc::clone(&self.0))
    }

    pub(super) fn is_overloaded(&self) -> bool {
        self.0.running.load(Ordering::Relaxed) >= self.0.options.running_turns
    }

    pub(super) fn options(&self) -> &ConversationOptions {
        &self.0.options
    }

    /// How many actors there have been.
    #[cfg(test)]
    pub(super) fn activations(&self) -> u32 {
        self.0.generations.load(Ordering::Relaxed)
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.0.writer
    }

    pub(super) fn answerers(&self) -> &Answerers {
        &self.0.answerers
    }

    /// Conversations with a live actor.
    #[must_use]
    pub fn live(&self) -> usize {
        self.0.live.len()
    }

    /// What was counted since start.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// What can answer.
    #[must_use]
    pub fn models(&self) -> &Answerers {
        &self.0.answerers
    }

    /// Where conversations are read from.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }
}

/// Each command has its one kind of reply.
fn unexpected(reply: &Reply) -> Refusal {
    error!(reply = ?reply, "a conversation gave a reply of another command");
    Refusal::Unavailable
}
