//! A reader of an organization's log: a position, served from the store and, once it has reached the end, from the tail.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{
    Part,
    lanes::Taken,
    step,
    tail::{Next, Tail},
    wanted::Wanted,
};
use crate::{
    conversation::sql::placed::PlacedEvent,
    event::DurableEvent,
    ids::OrgId,
    position::Position,
    store::{Store, StoreError},
};

/// The most a reader hands over at once: what is ready goes out in one write, and no reader holds more than this.
const MAX_BATCH_BYTES: usize = 16 * 1024;

/// Events fetched from the store at once by a reader that is far behind.
const PAGE: usize = 64;

/// What a reader of the log shows.
#[derive(Debug, Clone)]
pub enum LogFrame {
    /// An event, with the position after it.
    Event(Arc<DurableEvent>, Position),
    /// The position asked for cannot be served; the stream goes on from another.
    Gap {
        /// What was asked for.
        requested: Position,
        /// Where it goes on.
        from: Position,
    },
    /// The last frame: the server ends the stream.
    Closing,
}

type Step = (Vec<Taken<PlacedEvent>>, Position);
type Fetch = Pin<Box<dyn Future<Output = Result<Step, StoreError>> + Send>>;

/// See the module.
pub struct LogReader {
    store: Store,
    tail: Arc<Tail>,
    org: OrgId,
    wanted: Wanted,
    /// Everything up to there was shown, or is not wanted.
    position: Position,
    gap: Option<LogFrame>,
    page: VecDeque<Taken<PlacedEvent>>,
    /// Where the page leads.
    page_end: Position,
    fetch: Option<Fetch>,
    /// The number of the next event in the tail, once it was reached.
    follows: Option<u64>,
    number: u64,
    ended: bool,
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").field("position", &self.position).finish_non_exhaustive()
    }
}

impl LogReader {
    pub(super) fn new(
        store: Store,
        (org, tail): (OrgId, Arc<Tail>),
        after: Option<Position>,
        heads: &Position,
        wanted: Wanted,
    ) -> Self {
        let position = after.as_ref().map_or_else(|| heads.clone(), |after| after.within(heads));
        let gap = after.filter(|after| *after != position);
        let gap = gap.map(|requested| LogFrame::Gap { requested, from: position.clone() });
        Self {
            number: tail.register(),
            store,
            tail,
            org,
            wanted,
            page_end: position.clone(),
            position,
            gap,
            page: VecDeque::new(),
            fetch: None,
            follows: None,
            ended: false,
        }
    }

    /// The position after everything handed over so far, and after what is not wanted.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Whose log it reads.
    #[must_use]
    pub fn org(&self) -> OrgId {
        self.org
    }

    /// Appends everything that is ready to `frames`, up to 16 KiB of it. `Ready(false)`: that was the end.
    ///
    /// # Errors
    /// The store failed; the client may resume at [`LogReader::position`].
    pub fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<LogFrame>,
    ) -> Poll<Result<bool, StoreError>> {
        frames.extend(self.gap.take());
        let mut room = MAX_BATCH_BYTES;
        while !self.ended && room > 0 {
            match self.poll_step(cx) {
                Poll::Ready(Ok(Some(frame))) => {
                    room = room.saturating_sub(frame.size());
                    frames.push(frame);
                }
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if frames.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(true)),
            }
        }
        Poll::Ready(Ok(!(frames.is_empty() && self.ended)))
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<LogFrame>, StoreError>> {
        if let Some(taken) = self.page.pop_front() {
            let event = Arc::new(taken.what.event);
            return Poll::Ready(Ok(self.pass(taken.writer, taken.position, event)));
        }
        if let Some(fetch) = &mut self.fetch {
            let fetched = ready!(fetch.as_mut().poll(cx));
            self.fetch = None;
            let (taken, end) = match fetched {
                Ok(fetched) => fetched,
                Err(error) => return Poll::Ready(Err(error)),
            };
            if taken.is_empty() {
                self.position = end.clone();
            }
            (self.page, self.page_end) = (taken.into(), end);
            return Poll::Ready(Ok(None));
        }
        self.position = self.page_end.clone();
        let next = match self.follows.or_else(|| self.tail.join(self.number, &self.position, cx.waker())) {
            Some(next) => next,
            None if !self.tail.is_ready() => return Poll::Pending,
            None => return self.fetch_more(),
        };
        self.follows = Some(next);
        match self.tail.next(self.number, next, cx.waker()) {
            Next::Event(recent) => {
                self.follows = Some(next + 1);
                // It may have been read from the store before the tail was reached.
                if recent.position <= self.position.of(recent.writer) {
                    return Poll::Ready(Ok(None));
                }
                let event = Arc::clone(&recent.event);
                self.page_end.set(recent.writer, recent.position);
                Poll::Ready(Ok(self.pass(recent.writer, recent.position, event)))
            }
            Next::Stored => {
                self.follows = None;
                self.fetch_more()
            }
            Next::Closing => {
                self.ended = true;
                Poll::Ready(Ok(Some(LogFrame::Closing)))
            }
            Next::Nothing => Poll::Pending,
        }
    }

    fn fetch_more(&mut self) -> Poll<Result<Option<LogFrame>, StoreError>> {
        let (store, org, wanted) = (self.store.clone(), self.org, self.wanted.clone());
        let mut position = self.position.clone();
        self.fetch = Some(Box::pin(async move {
            let heads = store.heads().await?;
            let part = Part { orgs: &[org], wanted: Some(&wanted), limit: PAGE };
            let (taken, _) = step(&store, &mut position, &heads, part).await?;
            Ok((taken, position))
        }));
        Poll::Ready(Ok(None))
    }

    fn pass(&mut self, writer: i64, position: i64, event: Arc<DurableEvent>) -> Option<LogFrame> {
        self.position.set(writer, position);
        self.wanted.has(event.kind).then(|| LogFrame::Event(event, self.position.clone()))
    }
}

impl LogFrame {
    /// About how many bytes it is when it is shown.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Event(event, _) => event.json.len(),
            Self::Gap { .. } | Self::Closing => 128,
        }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.tail.unregister(self.number);
    }
}
