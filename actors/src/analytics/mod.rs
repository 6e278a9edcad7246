//! Figures that equal a recount: at any moment within a second of the event, after any crash.
//!
//! One actor folds the log into facts of conversations and sums of local days (`fold`), and stores them with its
//! cursor in one transaction. A question is a sum over the cells of a time zone, which are kept in memory while they
//! are asked for (`cube`).

mod actor;
pub mod answer;
pub mod calendar;
mod cube;
mod cubes;
pub mod facts;
mod fold;
mod histogram;
pub mod rehearsal;
mod sql;
mod tally;
mod zones;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use actix::{Addr, Arbiter, ArbiterHandle, Handler, MailboxError, Message, dev::ToEnvelope};

use self::{
    actor::{AnalyticsAggregator, CatchUp, Open, Stop},
    answer::{Adding, Figures, Question, RangeTooLong, Selection},
    calendar::beginning_of,
    cubes::{Cubes, Kept, Source},
    facts::Facts,
    sql::{cells, facts as rows},
};
use crate::{
    clock::Timestamp,
    ids::OrgId,
    store::{Store, StoreError},
    threads,
    writer::{WriteError, Writer},
};

/// How old the last look at the log may be for an answer: the rest of a second is for the answer itself.
const FRESH_FOR: Duration = Duration::from_millis(800);

/// How long whoever asks waits for the fold, or for a new time zone. What is built meanwhile is there when they ask
/// again.
const WAITS: Duration = Duration::from_secs(30);

/// Cells that an answer reads from the store at once.
const CELLS_AT_ONCE: i64 = 5_000;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum AnalyticsError {
    /// There are more periods in the range than one answer has.
    #[error(transparent)]
    RangeTooLong(#[from] RangeTooLong),
    /// What is asked for is not worked out yet.
    #[error("the figures are being worked out")]
    NotYet,
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What all of this folder share.
struct Shared {
    store: Store,
    writer: Writer,
    cubes: Mutex<Cubes>,
    /// Everything that happened before then is in the figures.
    caught_up: Mutex<Option<Instant>>,
    arbiter: ArbiterHandle,
    aggregator: RwLock<Option<Addr<AnalyticsAggregator>>>,
}

impl Shared {
    fn cubes(&self) -> MutexGuard<'_, Cubes> {
        self.cubes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn caught_up(&self, at: Instant) {
        *self.caught_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    fn is_fresh(&self) -> bool {
        let at = *self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() < FRESH_FOR)
    }

    fn is_run_by(&self, aggregator: Addr<AnalyticsAggregator>) {
        *self.aggregator.write().unwrap_or_else(PoisonError::into_inner) = Some(aggregator);
    }
}

/// The figures of every organization. Cheap to clone.
#[derive(Clone)]
pub struct Analytics(Arc<Shared>);

impl fmt::Debug for Analytics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Analytics").finish_non_exhaustive()
    }
}

/// Which conversations of an export come next.
#[derive(Debug, Clone, Default)]
pub struct After(Option<(Timestamp, String)>);

impl Analytics {
    /// Those of this store. The log is folded from now on, on a thread of its own.
    #[must_use]
    pub fn start(store: &Store, writer: &Writer) -> Self {
        let arbiter = Arbiter::new().handle();
        arbiter.spawn_fn(|| threads::name(threads::ANALYTICS));
        let shared = Arc::new(Shared {
            store: store.clone(),
            writer: writer.clone(),
            cubes: Mutex::default(),
            caught_up: Mutex::default(),
            arbiter,
            aggregator: RwLock::default(),
        });
        let begun = Arc::clone(&shared);
        shared.arbiter.spawn_fn(move || AnalyticsAggregator::begin(&begun));
        Self(shared)
    }

    /// Folds no more. What was not folded is folded at the next start.
    pub fn stop(&self) {
        let aggregator = self.0.aggregator.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(aggregator) = aggregator {
            // A full mailbox is one that works until the process ends; that loses nothing either.
            drop(aggregator.try_send(Stop));
        }
    }

    /// Answers a question.
    ///
    /// # Errors
    /// See [`AnalyticsError`].
    pub async fn answer(&self, org: OrgId, question: Question) -> Result<Figures, AnalyticsError> {
        // Before anything is worked out for it.
        Adding::new(&question)?;
        self.catch_up().await?;
        let zone = question.selection.zone_name();
        let key = (org, zone.to_owned());
        for _ in 0..2 {
            let found = self.0.cubes().find(&key);
            match found {
                Some(Source::Memory(cube)) => return add_up_in_memory(cube, question).await,
                Some(Source::Store) => return self.add_up_stored(org, &question).await,
                None => drop(self.ask(Open { org, zone: zone.to_owned() }).await?),
            }
        }
        // Others were opened at once, and it has left memory again.
        self.add_up_stored(org, &question).await
    }

    /// Waits until everything that happened more than a second ago is in the figures.
    ///
    /// # Errors
    /// It takes too long, or the store is away.
    pub async fn catch_up(&self) -> Result<(), AnalyticsError> {
        if self.0.is_fresh() { Ok(()) } else { self.ask(CatchUp).await }
    }

    async fn ask<M, R>(&self, message: M) -> Result<R, AnalyticsError>
    where
        M: Message<Result = Result<R, AnalyticsError>> + Send + 'static,
        R: Send + 'static,
        AnalyticsAggregator: Handler<M>,
        <AnalyticsAggregator as actix::Actor>::Context: ToEnvelope<AnalyticsAggregator, M>,
    {
        let aggregator = self.0.aggregator.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(aggregator) = aggregator else { return Err(AnalyticsError::NotYet) };
        match aggregator.send(message).timeout(WAITS).await {
            Ok(answer) => answer,
            Err(MailboxError::Closed | MailboxError::Timeout) => Err(AnalyticsError::NotYet),
        }
    }

    async fn add_up_stored(&self, org: OrgId, question: &Question) -> Result<Figures, AnalyticsError> {
        let mut adding = Adding::new(question)?;
        let mut is_first = true;
        loop {
            let mut after = None;
            loop {
                let (zone, days) = (question.selection.zone_name(), question.selection.days());
                let place = after.as_ref();
                let read = cells::between(&self.0.store, (org, zone), days, place, CELLS_AT_ONCE).await?;
                for (place, tally) in &read {
                    if is_first {
                        adding.add(place.day, &place.channel, &place.topic, tally);
                    } else {
                        adding.add_to_group(&place.channel, &place.topic, tally);
                    }
                }
                if (read.len() as i64) < CELLS_AT_ONCE {
                    break;
                }
                after = read.into_iter().next_back().map(|(place, _)| place);
            }
            if !is_first || !adding.choose_groups() {
                return Ok(adding.finish());
            }
            is_first = false;
        }
    }

    /// The next conversations of a selection, in the order of their start; the last page is shorter than `limit`.
    ///
    /// # Errors
    /// The store is away.
    pub async fn conversations(
        &self,
        org: OrgId,
        selection: &Selection,
        after: &mut After,
        limit: i64,
    ) -> Result<Vec<Facts>, AnalyticsError> {
        let ends = selection.to.tomorrow().map(|day| beginning_of(day, &selection.zone));
        let wanted = rows::Wanted {
            from: beginning_of(selection.from, &selection.zone),
            before: ends.unwrap_or(Timestamp(i64::MAX)),
            channels: &selection.channels,
            topics: &selection.topics,
            after: after.0.as_ref().map(|(at, id)| (*at, id.as_str())),
        };
        let facts = rows::started(&self.0.store, org, &wanted, limit).await?;
        if let Some(last) = facts.last() {
            after.0 = Some((last.started_at, last.conversation.clone()));
        }
        Ok(facts)
    }
}

/// Adds up off the threads that serve: it is some milliseconds of work.
async fn add_up_in_memory(cube: Kept, question: Question) -> Result<Figures, AnalyticsError> {
    let add_up = move || {
        let mut adding = Adding::new(&question)?;
        let days = question.selection.days();
        let cube = cube.read().unwrap_or_else(PoisonError::into_inner);
        cube.each(days, |day, channel, topic, tally| adding.add(day, channel, topic, tally));
        if adding.choose_groups() {
            cube.each(days, |_, channel, topic, tally| adding.add_to_group(channel, topic, tally));
        }
        Ok(adding.finish())
    };
    match tokio::task::spawn_blocking(add_up).await {
        Ok(figures) => figures,
        Err(_) => Err(AnalyticsError::NotYet),
    }
}
