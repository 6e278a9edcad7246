//! One group of ops, committed together or, if one is at fault, one by one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{debug, error, info, warn};

use super::{
    Health, Queued, WriteError,
    batch::Batch,
    claim::{Claim, RENEW_EVERY},
    link::{Link, Refusal, refusal},
    rows::{Op, Statement, Table, Value},
};
use crate::{
    event::EventRow,
    growth::Growth,
    metrics::METRICS,
    store::{Attempting, Store, StoreError},
};

/// How often a writer without a connection tries to get one, while those who wait are refused.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// How often the outcome of a commit whose connection broke is looked up before the writer gives up on knowing it.
const LOOK_UPS: u32 = 300;

pub(super) static EVENTS: Table = Table {
    into: "events (stream_id, sequence, writer_id, position, id, org_id, kind, turn_id, data, created_at)",
    columns: 10,
    key: 2,
    on_conflict: "",
};

/// The connection and the lease; without one while the store is away.
pub(super) struct Committer {
    store: Store,
    node: String,
    session: Option<Session>,
    health: Arc<AtomicU8>,
    growth: Growth,
}

struct Session {
    link: Link,
    claim: Claim,
}

/// How the attempt to commit some ops ended.
enum Attempt {
    Committed,
    /// Nothing is stored.
    Refused(Refusal, sqlx::Error),
    /// What an op expected does not hold. Nothing is stored.
    Unexpected,
    /// The lease is another's. Nothing is stored.
    Fenced,
    /// The connection broke under the commit: it may have taken effect.
    Unknown(sqlx::Error),
}

impl Committer {
    pub(super) async fn open(store: Store, node: String, health: Arc<AtomicU8>) -> Result<Self, StoreError> {
        let mut committer = Self { store, node, session: None, health, growth: Growth::default() };
        committer.connect().await?;
        Ok(committer)
    }

    /// Tells when it has written events.
    pub(super) fn telling(self, growth: Growth) -> Self {
        Self { growth, ..self }
    }

    async fn connect(&mut self) -> Result<&mut Session, StoreError> {
        if self.session.is_none() {
            let mut link = Link::open(&self.store).await?;
            let claim = Claim::take(&mut link, &self.node).await.attempting("claim a writer")?;
            self.session = Some(Session { link, claim });
        }
        self.session.as_mut().ok_or(sqlx::Error::PoolClosed).attempting("connect the writer")
    }

    /// The connection ends under the writer's feet, as when the server behind it is restarted.
    #[cfg(test)]
    pub(super) async fn break_connection(&mut self) {
        if let Some(session) = &mut self.session {
            session.link.break_off().await;
        }
    }

    /// A store that is away is asked again soon, so that readiness returns when it does.
    pub(super) fn renews_after(&self) -> Duration {
        if self.health.load(Ordering::Relaxed) == Health::Writable as u8 {
            RENEW_EVERY
        } else {
            RECONNECT_PAUSE
        }
    }

    pub(super) async fn renew(&mut self) {
        let empty = self.attempt(&[Op::default()]).await;
        if let Err(error) = empty.map(|_| ()) {
            debug!(error = %error, "the writer's lease was not renewed");
        }
    }

    pub(super) async fn close(&mut self) {
        if let Some(Session { mut link, claim }) = self.session.take() {
            if let Err(error) = claim.release(&mut link).await {
                warn!(error = %error, "the writer's lease was left to expire");
            }
            link.close().await;
        }
    }

    /// Commits the group and answers everyone in it.
    pub(super) async fn commit(&mut self, group: Vec<Queued>) {
        let (ops, outcomes): (Vec<_>, Vec<_>) =
            group.into_iter().map(|queued| (queued.op, queued.outcome)).unzip();
        let results = if ops.iter().all(Op::is_empty) {
            vec![Ok(()); ops.len()]
        } else {
            let began = Instant::now();
            let results = self.commit_or_isolate(&ops).await;
            METRICS.committed(began.elapsed());
            results
        };
        let stored = results.iter().zip(&ops).filter(|(result, _)| result.is_ok());
        let grown: Vec<_> = stored.flat_map(|(_, op)| op.events.iter().map(|event| event.org)).collect();
        for ((outcome, result), op) in outcomes.into_iter().zip(results).zip(&ops) {
            if let (Some(nudge), Ok(())) = (&op.nudge, &result) {
                nudge.wake();
            }
            // Whoever stopped waiting will find the op in the store, or not.
            let _ = outcome.send(result);
        }
        // After those who wait for an answer.
        self.growth.tell(grown.into_iter());
    }

    async fn commit_or_isolate(&mut self, ops: &[Op]) -> Vec<Result<(), WriteError>> {
        match self.attempt(ops).await {
            Ok(Attempt::Committed) => vec![Ok(()); ops.len()],
            Ok(Attempt::Refused(Refusal::Row, _) | Attempt::Unexpected) if ops.len() > 1 => {
                let mut results = Vec::with_capacity(ops.len());
                for op in ops {
                    let alone = self.attempt(std::slice::from_ref(op)).await;
                    results.push(self.outcome(alone));
                }
                results
            }
            ended => vec![self.outcome(ended); ops.len()],
        }
    }

    fn outcome(&self, ended: Result<Attempt, StoreError>) -> Result<(), WriteError> {
        match ended {
            Ok(Attempt::Committed) => Ok(()),
            Ok(Attempt::Unexpected) => Err(WriteError::Conflict),
            Ok(Attempt::Refused(Refusal::Row, error)) if is_unique_violation(&error) => {
                Err(WriteError::Conflict)
            }
            Ok(Attempt::Refused(_, error) | Attempt::Unknown(error)) => {
                let refused: Result<(), _> = Err(error).attempting("commit");
                Err(unavailable(refused))
            }
            Ok(Attempt::Fenced) => {
                Err(unavailable(Err(sqlx::Error::PoolClosed).attempting("keep its lease")))
            }
            Err(error) => Err(unavailable(Err(error))),
        }
    }

    /// Tries once; after a lost lease once more under a new one. Keeps readiness up to date.
    async fn attempt(&mut self, ops: &[Op]) -> Result<Attempt, StoreError> {
        for _ in 0..2 {
            let session = match self.connect().await {
                Ok(session) => session,
                Err(error) => {
                    self.mark(Health::Away);
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                    return Err(error);
                }
            };
            let attempt = session.attempt(ops).await;
            match attempt {
                Attempt::Committed | Attempt::Refused(Refusal::Row, _) | Attempt::Unexpected => {
                    self.mark(Health::Writable);
                    return Ok(attempt);
                }
                Attempt::Fenced => {
                    warn!("the writer lost its lease and takes another");
                    self.session = None;
                }
                Attempt::Refused(Refusal::Disk, ref source) => {
                    error!(error = %source, "a commit was not stored");
                    self.mark(Health::Broken);
                    return Ok(attempt);
                }
                Attempt::Refused(Refusal::Store, _) => {
                    self.mark(Health::Away);
                    return Ok(attempt);
                }
                Attempt::Refused(Refusal::Connection, _) => {
                    // It broke before the commit was asked for: the transaction is gone with it.
                    self.session = None;
                    self.mark(Health::Away);
                    return Ok(attempt);
                }
                Attempt::Unknown(_) => {
                    self.mark(Health::Away);
                    return self.settle(attempt).await;
                }
            }
        }
        Ok(Attempt::Fenced)
    }

    /// A broken disk stays broken until the process restarts. Says only what changes: an outage may be long.
    fn mark(&self, health: Health) {
        let before = self.health.load(Ordering::Relaxed);
        if before == Health::Broken as u8 || before == health as u8 {
            return;
        }
        self.health.store(health as u8, Ordering::Relaxed);
        match health {
            Health::Writable => info!("the store can be written again"),
            Health::Away => warn!("the store cannot be written"),
            Health::Broken => error!("the disk failed to store a commit; the process must restart"),
        }
    }

    /// The connection broke: finds out on a new one whether the commit took effect.
    async fn settle(&mut self, attempt: Attempt) -> Result<Attempt, StoreError> {
        let Some(broken) = self.session.take() else { return Ok(attempt) };
        for _ in 0..LOOK_UPS {
            let found = async {
                let mut link = Link::open(&self.store).await?;
                let took_effect = broken.claim.took_effect(&mut link).await.attempting("look up a commit")?;
                Ok::<_, StoreError>((link, took_effect))
            };
            match found.await {
                Ok((link, took_effect)) => {
                    link.close().await;
                    self.mark(Health::Writable);
                    return Ok(if took_effect { Attempt::Committed } else { attempt });
                }
                Err(error) => {
                    debug!(error = %error, "the outcome of a commit is not known yet");
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
            }
        }
        // Neither acknowledged nor known: those who wait are told that the store is away, and a command that is
        // sent again is recognised by its id.
        Ok(attempt)
    }
}

impl Session {
    async fn attempt(&mut self, ops: &[Op]) -> Attempt {
        if let Err(error) = self.link.begin().await {
            return Attempt::Refused(refusal(&error), error);
        }
        let last = self.claim.position + ops.iter().map(|op| op.events.len()).sum::<usize>() as i64;
        if let Err(attempt) = self.write(ops, last).await {
            self.link.rollback().await;
            return attempt;
        }
        match self.link.commit().await {
            Ok(()) => {
                self.claim.committed(last);
                Attempt::Committed
            }
            Err(error) if refusal(&error) == Refusal::Connection => Attempt::Unknown(error),
            Err(error) => {
                self.link.rollback().await;
                Attempt::Refused(refusal(&error), error)
            }
        }
    }

    /// Writes everything but the commit.
    async fn write(&mut self, ops: &[Op], last: i64) -> Result<(), Attempt> {
        // First of all: whoever lost the lease must not find its positions taken and blame an op.
        let proof = self.claim.proof(last);
        self.run(&proof).await.map_err(|attempt| match attempt {
            Attempt::Unexpected => Attempt::Fenced,
            other => other,
        })?;
        let events = self.numbered(ops);
        let mut batch = Batch::default();
        for (op, events) in ops.iter().zip(&events) {
            if !op.statements.is_empty() {
                // Its updates and deletes must see the ops before it, and not those after it.
                self.flush(&mut batch).await?;
                for statement in &op.statements {
                    self.run(statement).await?;
                }
            }
            op.rows.iter().for_each(|row| batch.add(row.table, &row.values));
            events.iter().for_each(|values| batch.add(&EVENTS, values));
        }
        self.flush(&mut batch).await
    }

    /// The rows of each op's events, in the order of their positions.
    fn numbered(&self, ops: &[Op]) -> Vec<Vec<[Value; EVENTS.columns]>> {
        let (writer, mut position) = (self.claim.id, self.claim.position);
        let mut number = |event| {
            position += 1;
            event_values(event, writer, position)
        };
        ops.iter().map(|op| op.events.iter().map(&mut number).collect()).collect()
    }

    async fn run(&mut self, statement: &Statement) -> Result<(), Attempt> {
        match self.link.execute(statement.sql, &statement.values).await {
            Ok(touched) if statement.touches.is_none_or(|expected| expected == touched) => Ok(()),
            Ok(_) => Err(Attempt::Unexpected),
            Err(error) => Err(Attempt::Refused(refusal(&error), error)),
        }
    }

    async fn flush(&mut self, batch: &mut Batch<'_>) -> Result<(), Attempt> {
        for (table, rows) in batch.inserts() {
            let inserted = self.link.insert(table, rows).await;
            inserted.map_err(|error| Attempt::Refused(refusal(&error), error))?;
        }
        batch.clear();
        Ok(())
    }
}

/// The row of an event, once it has its position.
pub(super) fn event_values(event: &EventRow, writer_id: i64, position: i64) -> [Value; EVENTS.columns] {
    [
        Value::from(event.stream_id.clone()),
        Value::from(event.sequence),
        Value::from(writer_id),
        Value::from(position),
        Value::from(event.id),
        Value::from(event.org),
        Value::from(event.kind.as_str()),
        Value::from(event.turn),
        Value::from(event.data.clone()),
        Value::from(event.at),
    ]
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

fn unavailable(failed: Result<(), StoreError>) -> WriteError {
    match failed {
        Ok(()) => WriteError::Stopped,
        Err(error) => WriteError::Unavailable(Arc::new(error)),
    }
}
