//! The directory of live conversations: where a command finds its actor, and a reader its feed.
//!
//! An actor lives on the thread that woke it, which is the HTTP worker of the first request. It leaves the directory
//! before it stops; a command that finds it gone, or that dies with it, is sent again to a successor.

mod erasure;
mod handovers;
mod idle;
mod lives;
mod streams;
mod summaries;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix::Addr;
use dashmap::DashMap;
use tokio::sync::{Notify, Semaphore};
use tracing::{error, warn};

use super::{
    actor::ConversationActor,
    feed::Feed,
    messages::{
        Accepted, AgentMessage, Command, ConversationKey, NewConversation, NewMessage, Patch, Refusal, Reply,
    },
    reader::Reader,
    record::{Conversation, Details, Rating, Resolution, Turn, TurnStatus},
    sql::{self, Loaded, read},
};
use crate::{
    answer::Answerers,
    audit::{By, Entry},
    ids::TurnId,
    metrics::{ByStatus, METRICS},
    organization::Organizations,
    store::{Store, StoreError},
    writer::{Row, Writer},
};

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
    /// Where the server is found from outside, for the addresses in handovers.
    pub public_url: Option<Arc<str>>,
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
    pub(super) organizations: Organizations,
    pub(super) options: ConversationOptions,
    /// A handover was requested: it may be due before all others.
    handover_requested: Notify,
    /// Places for summaries in the making.
    summaries: Arc<Semaphore>,
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
    pub fn new(
        store: Store,
        writer: Writer,
        answerers: Answerers,
        organizations: Organizations,
        options: ConversationOptions,
    ) -> Self {
        Self(Arc::new(Shared {
            store,
            writer,
            answerers,
            organizations,
            options,
            handover_requested: Notify::new(),
            summaries: Arc::new(Semaphore::new(summaries::AT_ONCE)),
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
        self.accepted(key, Command::Start(Box::new(NewConversation { key, details, message, idempotency })))
            .await
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
        match self.ask(key, Command::Stop { turn, disconnected }).await? {
            Reply::Stopped(turn) => Ok(turn.map(|turn| *turn)),
            // The actor remembers the open turns and the last.
            Reply::EndedBefore(turn) => self.stored_turn(key, turn).await?.ok_or(Refusal::NotFound).map(Some),
            other => Err(unexpected(&other)),
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
        by: Option<By>,
        idempotency: Option<Row>,
    ) -> Result<Conversation, Refusal> {
        self.changed(key, Command::Complete { resolution, by, quiet_since: None, idempotency }).await
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

    /// Erases the conversation and ends its streams. `noted` is what the audit log says of it.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn delete(
        &self,
        key: ConversationKey,
        if_version: Option<Vec<i64>>,
        noted: Option<Entry>,
    ) -> Result<(), Refusal> {
        let noted = noted.map(Box::new);
        self.ask(key, Command::Delete { if_version, quiet_since: None, noted }).await.map(drop)
    }

    /// Tells the streams that somebody types.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn typing(&self, key: ConversationKey, by: &'static str) -> Result<(), Refusal> {
        self.ask(key, Command::Typing { by }).await.map(drop)
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

    pub(super) fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
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

    pub(super) fn organizations(&self) -> &Organizations {
        &self.0.organizations
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
