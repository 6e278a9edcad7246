//! The organization's log: everything durable that happened in it, as a list and as a stream.
//!
//! A reader is a [`Position`] and nothing more. What is far behind is read from the store, a page at a time. Whoever has
//! reached the end waits at a tail: the last few events of an organization that somebody watches, which one actor, the
//! follower, reads once for all of them, when this process has written some and once a second for what others wrote.

mod follower;
mod lanes;

pub mod reader;
mod tail;
#[cfg(test)]
mod tests;
pub mod wanted;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix::{Arbiter, ArbiterHandle};

use self::{
    follower::Follower,
    lanes::{Lane, Taken, merge},
    reader::LogReader,
    tail::Tails,
    wanted::Wanted,
};
use crate::{
    conversation::sql::placed::{PlacedEvent, Stretch, in_order},
    event::DurableEvent,
    growth::Growth,
    ids::OrgId,
    position::Position,
    store::{Store, StoreError},
    threads,
    writer::Writer,
};

/// Positions of one writer that are looked through at once: an organization's events may be few among others', and a
/// type may be rare. Some milliseconds of work.
const LOOKED_THROUGH: i64 = 5_000;

/// The same for one page of a list, after which it is answered with what was found: some tens of milliseconds.
const STEPS_OF_A_PAGE: usize = 8;

/// What everything of the log shares.
struct Shared {
    store: Store,
    growth: Growth,
    tails: Mutex<Tails>,
    arbiter: ArbiterHandle,
}

impl Shared {
    fn tails(&self) -> MutexGuard<'_, Tails> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of every organization. Cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

/// A part of the log.
#[derive(Debug)]
pub struct LogPage {
    /// What happened, in order.
    pub events: Vec<DurableEvent>,
    /// The position after it.
    pub next: Position,
    /// There is more. The page may be empty all the same: what is asked for may be rare.
    pub has_more: bool,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    /// The log of this store. Its tails follow it from now on.
    #[must_use]
    pub fn follow(store: &Store, writer: &Writer) -> Self {
        let arbiter = Arbiter::new().handle();
        arbiter.spawn_fn(|| threads::name(threads::LOG));
        let shared = Arc::new(Shared {
            store: store.clone(),
            growth: writer.growth().clone(),
            tails: Mutex::default(),
            arbiter,
        });
        let follower = Arc::clone(&shared);
        shared.arbiter.spawn_fn(move || Follower::begin(&follower));
        Self(shared)
    }

    /// The first events after a position.
    ///
    /// # Errors
    /// The store is away.
    pub async fn page(
        &self,
        org: OrgId,
        after: Position,
        wanted: &Wanted,
        limit: usize,
    ) -> Result<LogPage, StoreError> {
        let mut page = LogPage { events: Vec::new(), next: after, has_more: true };
        // What is written while a page is being read belongs to the next.
        let heads = self.0.store.heads().await?;
        page.next = page.next.within(&heads);
        for _ in 0..STEPS_OF_A_PAGE {
            let room = limit - page.events.len();
            let part = Part { orgs: &[org], wanted: Some(wanted), limit: room };
            let (taken, more) = step(&self.0.store, &mut page.next, &heads, part).await?;
            page.events.extend(taken.into_iter().map(|taken| taken.what.event));
            page.has_more = more;
            if !more || page.events.len() >= limit {
                break;
            }
        }
        Ok(page)
    }

    /// Opens a stream: after a position, else from now on.
    ///
    /// # Errors
    /// The store is away.
    pub async fn open(
        &self,
        org: OrgId,
        after: Option<Position>,
        wanted: Wanted,
    ) -> Result<LogReader, StoreError> {
        // Before the position is taken: nothing written from here on can be missed.
        let tail = self.0.tails().of(org, &self.0.growth);
        let heads = self.0.store.heads().await?;
        Ok(LogReader::new(self.0.store.clone(), (org, tail), after, &heads, wanted))
    }

    /// Ends all streams: the server is stopping.
    pub fn close(&self) {
        self.0.tails().close();
    }
}

/// What of the log is asked for.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    /// Of these organizations; of all if there is none.
    orgs: &'a [OrgId],
    /// Of these types; of all if none is said.
    wanted: Option<&'a Wanted>,
    /// At most that many.
    limit: usize,
}

/// Goes on from a position towards `heads`, by a bounded piece of work, and says whether there is more.
async fn step(
    store: &Store,
    position: &mut Position,
    heads: &Position,
    part: Part<'_>,
) -> Result<(Vec<Taken<PlacedEvent>>, bool), StoreError> {
    let kinds = part.wanted.and_then(Wanted::kinds);
    let mut lanes = Vec::new();
    for (writer, head) in heads.iter() {
        let after = position.of(writer);
        if after >= head {
            continue;
        }
        let through = head.min(after.saturating_add(LOOKED_THROUGH));
        let stretch = Stretch { writer, after, through, orgs: part.orgs, kinds };
        let rows = match kinds {
            Some([]) => Vec::new(),
            _ => in_order(store, stretch, part.limit).await?,
        };
        let end = match rows.last() {
            Some(last) if rows.len() >= part.limit => last.position,
            _ => through,
        };
        let rows = rows.into_iter().map(|row| (row.position, row.at, row)).collect();
        lanes.push(Lane { writer, rows, end, whole: end >= head });
    }
    Ok(merge(lanes, part.limit, position))
}
