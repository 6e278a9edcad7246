//! The live end of a conversation, shared by its actor and everyone who watches.
//!
//! The actor appends; a [`Reader`](super::reader::Reader) is only a position and a waker. The feed keeps the last few
//! durable events and the text of the answer that is being given; whatever left it is read from the store. It exists
//! while somebody watches or a turn runs, and is found through the directory: watching wakes no actor.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::Bytes;

use crate::{answer::LONGEST_ANSWER, event::DurableEvent, ids::TurnId};

/// Durable events kept for readers that are a little behind; who is further behind reads the store.
const EVENTS_KEPT: usize = 64;

/// Typing notices kept for readers that were not polled yet. Losing one is no loss.
const NOTICES_KEPT: usize = 4;

/// The most an answer may hold: whatever a model gives beyond it is cut off.
pub const MAX_ANSWER_BYTES: usize = LONGEST_ANSWER;

/// Why the server ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The server is stopping.
    Shutdown,
    /// The conversation was erased.
    Deleted,
}

/// The answer being given.
#[derive(Debug)]
struct Answer {
    turn: TurnId,
    attempt: i64,
    text: String,
    /// No reader may see a further byte.
    sealed: bool,
}

#[derive(Debug, Default)]
struct Live {
    /// The last durable event known; 0 until somebody knows.
    head: i64,
    events: VecDeque<Arc<DurableEvent>>,
    answer: Option<Answer>,
    /// How many notices there have been, and the last few.
    notices_made: u64,
    notices: VecDeque<Bytes>,
    closing: Option<Closing>,
    /// Readers that reached the head and wait; all are woken at once, and `wakes` counts how often that was.
    waiting: Vec<(u64, Waker)>,
    wakes: u64,
    readers_made: u64,
}

/// The live end of one conversation.
pub struct Feed {
    live: Mutex<Live>,
    /// Called when nobody holds the feed any more.
    abandoned: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("live", &self.live).finish_non_exhaustive()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        (self.abandoned)();
    }
}

/// What a reader finds next.
#[derive(Debug)]
pub(super) enum Next {
    /// The event after its position.
    Event(Arc<DurableEvent>),
    /// The event after its position is in the store alone.
    Stored,
    /// More text of the answer it reads, from where it is: at most the bytes it asked for, cut on a character.
    Text(String),
    /// A notice that is not stored.
    Notice(Bytes),
    /// Nothing will come.
    Closing(Closing),
    /// Nothing yet; the waker is kept until the feed has woken its readers more often than this.
    Nothing(u64),
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) reader: u64,
    /// Durable events it has taken.
    pub(super) sequence: i64,
    /// The answer it reads, and the bytes it has taken of it.
    pub(super) answer: Option<(TurnId, i64, usize)>,
    /// Notices it has taken or missed.
    pub(super) notices: u64,
    /// Its waker is kept since the feed had woken its readers that often.
    pub(super) waits: Option<u64>,
}

/// A panic while the lock is held cannot leave the feed half changed: each change is a push or an assignment.
fn lock(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    fn wake_all(&mut self) {
        self.wakes += 1;
        for (_, waker) in self.waiting.drain(..) {
            waker.wake();
        }
    }
}

impl Feed {
    /// A feed on which nothing has happened yet; `abandoned` is called when its last holder lets go.
    pub(super) fn new(abandoned: impl Fn() + Send + Sync + 'static) -> Self {
        Self { live: Mutex::default(), abandoned: Box::new(abandoned) }
    }

    /// Appends text to the answer of `(turn, attempt)`, unless it is sealed or another's.
    pub(super) fn append(&self, turn: TurnId, attempt: i64, text: &str) {
        let mut live = lock(&self.live);
        if let Some(answer) = &mut live.answer
            && (answer.turn, answer.attempt, answer.sealed) == (turn, attempt, false)
        {
            answer.text.push_str(text);
            live.wake_all();
        }
    }

    /// From now on no reader sees a further byte of the answer.
    pub(super) fn seal(&self) {
        if let Some(answer) = &mut lock(&self.live).answer {
            answer.sealed = true;
        }
    }

    /// Shows events that are on disk.
    pub(super) fn publish(&self, events: impl IntoIterator<Item = Arc<DurableEvent>>) {
        let mut live = lock(&self.live);
        for event in events {
            live.head = event.sequence;
            if let (true, Some(turn)) = (event.kind.opens_answer(), event.turn) {
                live.answer =
                    Some(Answer { turn, attempt: event.attempt, text: String::new(), sealed: false });
            } else if event.kind.is_terminal() && live.answer.as_ref().map(|answer| answer.turn) == event.turn
            {
                live.answer = None;
            }
            if live.events.len() == EVENTS_KEPT {
                live.events.pop_front();
            }
            live.events.push_back(event);
        }
        live.wake_all();
    }

    /// A successor took over an answer whose text is gone: what the dead actor showed is no longer the answer.
    pub(super) fn forget_answer(&self) {
        lock(&self.live).answer = None;
    }

    /// Shows something that is not stored.
    pub(super) fn notice(&self, json: Bytes) {
        let mut live = lock(&self.live);
        live.notices_made += 1;
        if live.notices.len() == NOTICES_KEPT {
            live.notices.pop_front();
        }
        live.notices.push_back(json);
        live.wake_all();
    }

    /// Ends every stream on the feed.
    pub(super) fn close(&self, closing: Closing) {
        let mut live = lock(&self.live);
        live.closing = Some(closing);
        live.wake_all();
    }

    /// The store's head, as someone read it after the feed could be found: an event committed later is published.
    pub(super) fn learn_head(&self, stored: i64) {
        let mut live = lock(&self.live);
        if stored > live.head {
            live.head = stored;
            live.wake_all();
        }
    }

    /// A number for a new reader, and the notices it need not see.
    pub(super) fn register(&self) -> (u64, u64) {
        let mut live = lock(&self.live);
        live.readers_made += 1;
        (live.readers_made, live.notices_made)
    }

    /// A reader left.
    pub(super) fn unregister(&self, reader: u64) {
        lock(&self.live).waiting.retain(|(waiting, _)| *waiting != reader);
    }

    /// The nearest place at or before `offset` in the answer of `(turn, attempt)`, if it is the one being given.
    pub(super) fn nearest(&self, turn: TurnId, attempt: i64, offset: usize) -> Option<usize> {
        let live = lock(&self.live);
        let answer =
            live.answer.as_ref().filter(|answer| (answer.turn, answer.attempt) == (turn, attempt))?;
        Some(answer.text.floor_char_boundary(offset))
    }

    /// What comes next at `place`; registers the waker if nothing does.
    pub(super) fn next(&self, place: Place, most_bytes: usize, waker: &Waker) -> Next {
        let mut live = lock(&self.live);
        if live.head > place.sequence {
            let first_kept = live.events.front().map_or(i64::MAX, |event| event.sequence);
            let wanted = place.sequence + 1;
            return match usize::try_from(wanted - first_kept).ok().and_then(|index| live.events.get(index)) {
                Some(event) if event.sequence == wanted => Next::Event(Arc::clone(event)),
                _ => Next::Stored,
            };
        }
        if let (Some((turn, attempt, taken)), Some(answer)) = (place.answer, &live.answer)
            && (answer.turn, answer.attempt) == (turn, attempt)
            && answer.text.len() > taken
        {
            let end = answer.text.floor_char_boundary(taken + most_bytes);
            // `taken` is where an earlier piece ended, so both are edges of characters.
            return Next::Text(answer.text[taken..end].to_owned());
        }
        if live.notices_made > place.notices {
            let missed = usize::try_from(live.notices_made - place.notices).unwrap_or(usize::MAX);
            let index = live.notices.len().saturating_sub(missed);
            if let Some(json) = live.notices.get(index) {
                return Next::Notice(json.clone());
            }
        }
        if let Some(closing) = live.closing {
            return Next::Closing(closing);
        }
        if place.waits != Some(live.wakes) {
            live.waiting.push((place.reader, waker.clone()));
        }
        Next::Nothing(live.wakes)
    }

    /// How many notices a reader at `place` has missed for good.
    pub(super) fn notices_after(&self, taken: u64) -> u64 {
        let live = lock(&self.live);
        let kept_from = live.notices_made - live.notices.len() as u64;
        taken.max(kept_from) + 1
    }
}
