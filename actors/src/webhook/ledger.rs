//! What begins and what was taken, of all endpoints of this thread, written down many at a time.
//!
//! While one batch is committed the next gathers by itself, so a batch is as large as the load asks for, and alone
//! nobody waits.

use std::{
    cell::{Cell, RefCell},
    mem,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::oneshot,
    task::{spawn_local, yield_now},
};
use tracing::debug;

use super::{
    Shared,
    sql::{
        batches,
        deliveries::{Due, Ended},
    },
};
use crate::{
    clock::Timestamp,
    ids::{DeliveryId, OrgId},
    writer::{Op, WriteError},
};

/// Attempts of one commit. Other writers wait for it: so many take a few milliseconds.
const MOST_AT_ONCE: usize = 256;

/// How long what came of attempts can wait for others to be stored with it.
pub(super) const PATIENCE: Duration = Duration::from_millis(1);

/// What became of an attempt that was to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// It is written down, with when it began: send.
    At(Timestamp),
    /// Somebody else has the delivery, or it is settled.
    Not,
    /// The store is away, or the server stops.
    NotNow,
}

/// What gathers while a batch is committed.
struct Gathering<T, A> {
    waiting: RefCell<Vec<(T, oneshot::Sender<A>)>>,
    is_busy: Cell<bool>,
}

impl<T, A> Default for Gathering<T, A> {
    fn default() -> Self {
        Self { waiting: RefCell::default(), is_busy: Cell::new(false) }
    }
}

impl<T, A> Gathering<T, A> {
    fn add(&self, item: T) -> oneshot::Receiver<A> {
        let (answer, answered) = oneshot::channel();
        self.waiting.borrow_mut().push((item, answer));
        answered
    }

    /// What is to be committed next. Nothing: whoever comes next begins again.
    fn next(&self) -> Option<(Vec<T>, Vec<oneshot::Sender<A>>)> {
        let mut waiting = self.waiting.borrow_mut();
        let length = waiting.len().min(MOST_AT_ONCE);
        let rest = waiting.split_off(length);
        let batch = mem::replace(&mut *waiting, rest);
        self.is_busy.set(!batch.is_empty());
        (!batch.is_empty()).then(|| batch.into_iter().unzip())
    }
}

/// See the module. Of one thread.
pub(super) struct Ledger {
    shared: Arc<Shared>,
    begins: Gathering<(OrgId, Rc<Due>), Begun>,
    taken: Gathering<(DeliveryId, Ended), Result<(), WriteError>>,
}

impl Ledger {
    pub(super) fn new(shared: &Arc<Shared>) -> Rc<Self> {
        Rc::new(Self {
            shared: Arc::clone(shared),
            begins: Gathering::default(),
            taken: Gathering::default(),
        })
    }

    /// Writes down that an attempt begins. From then on it counts.
    pub(super) async fn begin(self: &Rc<Self>, org: OrgId, due: &Rc<Due>) -> Begun {
        let begun = self.begins.add((org, Rc::clone(due)));
        if !self.begins.is_busy.replace(true) {
            let this = Rc::clone(self);
            spawn_local(async move {
                // Whoever is about to begin too comes along.
                yield_now().await;
                while let Some((batch, answers)) = this.begins.next() {
                    let begun = this.begin_all(&batch).await;
                    answer(answers, begun);
                }
            });
        }
        begun.await.unwrap_or(Begun::NotNow)
    }

    /// Writes down that a delivery was taken.
    ///
    /// # Errors
    /// It is a conflict if the delivery is not there any more, or is settled; see [`WriteError`].
    pub(super) async fn taken(self: &Rc<Self>, id: DeliveryId, ended: Ended) -> Result<(), WriteError> {
        let noted = self.taken.add((id, ended));
        if !self.taken.is_busy.replace(true) {
            let this = Rc::clone(self);
            spawn_local(async move {
                yield_now().await;
                while let Some((batch, answers)) = this.taken.next() {
                    let noted = this.note_all(&batch).await;
                    answer(answers, noted);
                }
            });
        }
        noted.await.unwrap_or(Err(WriteError::Stopped))
    }

    async fn begin_all(&self, batch: &[(OrgId, Rc<Due>)]) -> Vec<Begun> {
        match self.begin_together(batch).await {
            // One of them is at fault: each for itself finds out which.
            Begun::Not if batch.len() > 1 => {
                join_all(batch.iter().map(|one| self.begin_together(std::slice::from_ref(one)))).await
            }
            begun => vec![begun; batch.len()],
        }
    }

    async fn begin_together(&self, batch: &[(OrgId, Rc<Due>)]) -> Begun {
        let at = Timestamp::now();
        let mut op = Op::default();
        let due = batch.iter().map(|(org, due)| (*org, &**due));
        batches::begin(&mut op, due, at, self.shared.schedule.lease_from(at));
        match self.shared.writer.commit(op).await {
            Ok(()) => Begun::At(at),
            Err(WriteError::Conflict) => Begun::Not,
            Err(error) => {
                debug!(%error, "attempts were not begun");
                Begun::NotNow
            }
        }
    }

    async fn note_all(&self, batch: &[(DeliveryId, Ended)]) -> Vec<Result<(), WriteError>> {
        match self.note_together(batch).await {
            Err(WriteError::Conflict) if batch.len() > 1 => {
                join_all(batch.iter().map(|one| self.note_together(std::slice::from_ref(one)))).await
            }
            noted => vec![noted; batch.len()],
        }
    }

    async fn note_together(&self, batch: &[(DeliveryId, Ended)]) -> Result<(), WriteError> {
        let mut op = Op { patience: PATIENCE, ..Op::default() };
        batches::delivered(&mut op, batch, Timestamp::now());
        self.shared.writer.commit(op).await
    }
}

/// Whoever stopped waiting will find in the store what became of it.
fn answer<A>(waiting: Vec<oneshot::Sender<A>>, answers: Vec<A>) {
    for (waiting, answer) in waiting.into_iter().zip(answers) {
        let _ = waiting.send(answer);
    }
}
