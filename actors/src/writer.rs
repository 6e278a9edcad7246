//! Group commit: one task, on a thread of its own, and one connection through which every write goes.
//!
//! The task takes all that is queued, commits it, answers everyone, and does not linger unless everyone in the group can
//! wait ([`Op::patience`]): while it commits, the next group gathers by itself. An [`Op`] is rows per table, so a group costs one multi-row statement per table however
//! many ops are in it. Whoever gets `Ok` has its rows on disk.
//!
//! Nobody's bad op fails a neighbour: if a group is refused it is rolled back and each op is tried alone. A commit
//! whose outcome is unknown (the connection broke under it) is looked up before anyone is answered.

pub mod bare;
mod batch;
mod claim;
mod group;
mod link;
mod rows;
mod sqlite;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use actix::Arbiter;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use self::group::Committer;
pub use self::rows::{Op, Row, Statement, Table, Value};
pub(crate) use self::sqlite::refused;
use crate::{
    growth::Growth,
    outbox::Outbox,
    store::{Store, StoreError},
    threads,
};

/// Ops that may wait for a commit. At a few thousand commits' worth of rows a second this is a fraction of a second
/// of work; a longer queue would only make everyone late.
pub const QUEUE_CAPACITY: usize = 512;

/// Why a write was not made. Nothing of the op is stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// Too much is waiting already.
    #[error("too many writes are waiting")]
    Overloaded,
    /// Something with the same key is stored, or what the op expected no longer holds.
    #[error("the write conflicts with what is stored")]
    Conflict,
    /// The store is away or full.
    #[error("the store is unavailable")]
    Unavailable(#[source] Arc<StoreError>),
    /// The writer has stopped.
    #[error("the writer has stopped")]
    Stopped,
}

/// Can the store be written?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The last commit worked.
    Writable,
    /// The last commit was refused; the next may work.
    Away,
    /// The disk failed under an fsync, so that nothing written since can be trusted, or the writer itself has ended:
    /// the process must restart.
    Broken,
}

/// One op with the place where its outcome is awaited.
struct Queued {
    op: Op,
    outcome: oneshot::Sender<Result<(), WriteError>>,
}

enum Command {
    Commit(Queued),
    Close(oneshot::Sender<()>),
}

/// The way to the writer's task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    commands: mpsc::Sender<Command>,
    health: Arc<AtomicU8>,
    node: Arc<str>,
    outbox: Outbox,
    growth: Growth,
}

impl Writer {
    /// Starts the writer on an arbiter of its own, under a lease named for `node`.
    ///
    /// `node` identifies the data directory, whose lock makes sure that no other live process has the same name:
    /// a lease of that name left by a crash is taken over at once.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn start(store: &Store, node: &str) -> Result<Self, StoreError> {
        let (commands, queue) = mpsc::channel(QUEUE_CAPACITY);
        let health = Arc::new(AtomicU8::new(Health::Writable as u8));
        let outbox = Outbox::default();
        outbox.refresh(store).await?;
        let growth = Growth::default();
        let committer = Committer::open(store.clone(), node.to_owned(), Arc::clone(&health)).await?;
        let committer = committer.telling(growth.clone());
        Arbiter::new().spawn(async {
            threads::name(threads::WRITER);
            run(committer, queue).await;
        });
        Ok(Self { commands, health, node: node.into(), outbox, growth })
    }

    /// Where events go through on their way into an op.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Who is woken when it has written events.
    #[must_use]
    pub fn growth(&self) -> &Growth {
        &self.growth
    }

    /// The name that its lease bears.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Queues the op and waits until it is on disk.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing of the op is stored then.
    pub async fn commit(&self, op: Op) -> Result<(), WriteError> {
        let (outcome, answered) = oneshot::channel();
        self.commands.try_send(Command::Commit(Queued { op, outcome })).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => WriteError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => WriteError::Stopped,
        })?;
        answered.await.unwrap_or(Err(WriteError::Stopped))
    }

    /// Waits until every op queued before this call has ended, one way or the other.
    ///
    /// # Errors
    /// The writer has stopped.
    pub async fn barrier(&self) -> Result<(), WriteError> {
        let (outcome, answered) = oneshot::channel();
        let empty = Command::Commit(Queued { op: Op::default(), outcome });
        self.commands.send(empty).await.map_err(|_| WriteError::Stopped)?;
        answered.await.unwrap_or(Err(WriteError::Stopped))
    }

    /// Can the store be written?
    #[must_use]
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            // Its task ended, by a panic unless it was closed: nothing will be written any more.
            _ if self.commands.is_closed() => Health::Broken,
            0 => Health::Writable,
            1 => Health::Away,
            _ => Health::Broken,
        }
    }

    /// Commits what is queued, gives the lease back and closes the connection.
    pub async fn close(&self) {
        let (closed, answered) = oneshot::channel();
        if self.commands.send(Command::Close(closed)).await.is_ok() {
            // An error means that the task ended before: closed all the same.
            let _ = answered.await;
        }
    }
}

async fn run(mut committer: Committer, mut queue: mpsc::Receiver<Command>) {
    loop {
        let first = tokio::select! {
            biased;
            command = queue.recv() => command,
            // Every commit renews the lease, so only a pause between two has to.
            () = tokio::time::sleep(committer.renews_after()) => {
                committer.renew().await;
                continue;
            }
        };
        let (group, closing) = gather(first, &mut queue).await;
        committer.commit(group).await;
        if let Some(closed) = closing {
            committer.close().await;
            // Nobody waiting is fine: the process is going down.
            let _ = closed.send(());
            return;
        }
    }
}

/// The longest that an op waits for company, whatever it says.
const MOST_PATIENCE: Duration = Duration::from_millis(5);

/// The rows of one commit, in bytes, beyond which the rest waits for the next: bounds memory and lock time.
const GROUP_BYTES: usize = 4 << 20;

/// Takes what is queued now, up to one group; and what comes while everyone in it can wait. A channel that closed is a
/// close without anyone waiting.
async fn gather(
    first: Option<Command>,
    queue: &mut mpsc::Receiver<Command>,
) -> (Vec<Queued>, Option<oneshot::Sender<()>>) {
    let mut group = Vec::new();
    let mut bytes = 0;
    // Until when everyone can wait; `None`: somebody cannot.
    let mut patient_until = Some(Instant::now() + MOST_PATIENCE);
    let mut next = first;
    loop {
        match next {
            Some(Command::Commit(queued)) => {
                bytes += queued.op.size();
                patient_until = patient_until
                    .filter(|_| !queued.op.patience.is_zero())
                    .map(|until| until.min(Instant::now() + queued.op.patience));
                group.push(queued);
            }
            Some(Command::Close(closed)) => return (group, Some(closed)),
            None => return (group, Some(oneshot::channel().0)),
        }
        if group.len() >= QUEUE_CAPACITY || bytes >= GROUP_BYTES {
            return (group, None);
        }
        next = match (queue.try_recv(), patient_until) {
            (Ok(command), _) => Some(command),
            (Err(_), None) => return (group, None),
            (Err(_), Some(until)) => match timeout_at(until, queue.recv()).await {
                Ok(command) => command,
                Err(_) => return (group, None),
            },
        };
    }
}
