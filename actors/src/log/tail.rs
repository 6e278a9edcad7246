//! The live end of organizations' logs: the last few events of each that somebody watches.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
};

use crate::{
    event::DurableEvent,
    growth::{Growth, Watch},
    ids::OrgId,
    position::Position,
};

/// Events kept for readers that are a little behind; who is further behind reads the store.
const EVENTS_KEPT: usize = 256;

/// An event as a tail keeps it.
#[derive(Debug)]
pub(super) struct Recent {
    pub(super) writer: i64,
    pub(super) position: i64,
    pub(super) event: Arc<DurableEvent>,
}

#[derive(Debug, Default)]
struct Live {
    /// Everything of the organization after this stands in `events`. None until the follower has said from where on.
    base: Option<Position>,
    events: VecDeque<Arc<Recent>>,
    /// How many events have left `events`.
    left: u64,
    closing: bool,
    waiting: HashMap<u64, Waker>,
    readers_made: u64,
}

/// What a reader finds next.
#[derive(Debug)]
pub(super) enum Next {
    /// The event of that number.
    Event(Arc<Recent>),
    /// It has left the tail, or never stood there: the store has it.
    Stored,
    /// The server is stopping.
    Closing,
    /// The reader is woken when there is something.
    Nothing,
}

/// The live end of one organization's log.
#[derive(Debug)]
pub(super) struct Tail {
    live: Mutex<Live>,
    _watch: Watch,
}

impl Tail {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self) -> u64 {
        let mut live = self.live();
        live.readers_made += 1;
        live.readers_made
    }

    pub(super) fn unregister(&self, reader: u64) {
        self.live().waiting.remove(&reader);
    }

    /// Where a reader that has read up to `position` goes on in the tail: its first event's number. None: it must read
    /// on in the store, or the tail does not know yet (then it is woken).
    pub(super) fn join(&self, reader: u64, position: &Position, waker: &Waker) -> Option<u64> {
        let mut live = self.live();
        match &live.base {
            _ if live.closing => return Some(live.left),
            Some(base) if position.has_passed(base) => return Some(live.left),
            Some(_) => {}
            None => {
                live.waiting.insert(reader, waker.clone());
            }
        }
        None
    }

    /// Does it know from where on it has everything?
    pub(super) fn is_ready(&self) -> bool {
        self.live().base.is_some()
    }

    pub(super) fn next(&self, reader: u64, number: u64, waker: &Waker) -> Next {
        let mut live = self.live();
        if live.closing {
            return Next::Closing;
        }
        let Some(place) = number.checked_sub(live.left) else { return Next::Stored };
        match usize::try_from(place).ok().and_then(|place| live.events.get(place)) {
            Some(event) => Next::Event(Arc::clone(event)),
            None => {
                live.waiting.insert(reader, waker.clone());
                Next::Nothing
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.live().closing
    }

    /// From there on it has everything.
    pub(super) fn begin(&self, base: &Position) {
        let mut live = self.live();
        if live.base.is_none() {
            live.base = Some(base.clone());
            wake(&mut live);
        }
    }

    pub(super) fn push(&self, event: Recent) {
        let mut live = self.live();
        live.events.push_back(Arc::new(event));
        if live.events.len() > EVENTS_KEPT
            && let Some(old) = live.events.pop_front()
        {
            live.left += 1;
            if let Some(base) = &mut live.base {
                base.set(old.writer, old.position);
            }
        }
        wake(&mut live);
    }

    fn close(&self) {
        let mut live = self.live();
        live.closing = true;
        wake(&mut live);
    }
}

fn wake(live: &mut Live) {
    live.waiting.drain().for_each(|(_, waker)| waker.wake());
}

/// The tails that somebody holds.
#[derive(Debug, Default)]
pub(super) struct Tails {
    live: HashMap<OrgId, Weak<Tail>>,
    closing: bool,
}

impl Tails {
    pub(super) fn of(&mut self, org: OrgId, growth: &Growth) -> Arc<Tail> {
        if let Some(known) = self.live.get(&org).and_then(Weak::upgrade) {
            return known;
        }
        let live = Live { closing: self.closing, ..Live::default() };
        let tail = Arc::new(Tail { live: Mutex::new(live), _watch: growth.watch(org) });
        self.live.insert(org, Arc::downgrade(&tail));
        tail
    }

    /// Those that are held; the others are forgotten.
    pub(super) fn held(&mut self) -> Vec<(OrgId, Arc<Tail>)> {
        self.live.retain(|_, tail| tail.strong_count() > 0);
        let held = self.live.iter().filter_map(|(org, tail)| Some((*org, tail.upgrade()?)));
        held.filter(|(_, tail)| !tail.is_closing()).collect()
    }

    /// Ends what is held: it is not known any more what it has.
    pub(super) fn forget(&mut self) {
        self.live.drain().filter_map(|(_, tail)| tail.upgrade()).for_each(|tail| tail.close());
    }

    pub(super) fn close(&mut self) {
        self.closing = true;
        self.live.values().filter_map(Weak::upgrade).for_each(|tail| tail.close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    fn event(writer: i64, position: i64) -> Recent {
        let event = DurableEvent {
            sequence: 1,
            kind: EventKind::TurnQueued,
            turn: None,
            attempt: 0,
            reply: None,
            json: bytes::Bytes::new(),
        };
        Recent { writer, position, event: Arc::new(event) }
    }

    #[test]
    fn who_is_behind_what_left_the_tail_reads_the_store() {
        let tail = Tails::default().of(OrgId::generate(), &Growth::default());
        let reader = tail.register();
        let waker = Waker::noop();
        let at = |position| [(1, position)].into_iter().collect::<Position>();
        assert_eq!(tail.join(reader, &at(100), waker), None, "it does not know yet");
        tail.begin(&at(10));
        assert_eq!(tail.join(reader, &at(9), waker), None);
        assert_eq!(tail.join(reader, &at(10), waker), Some(0));
        (0..EVENTS_KEPT as i64 + 1).for_each(|number| tail.push(event(1, 11 + number)));
        assert!(matches!(tail.next(reader, 0, waker), Next::Stored));
        assert!(matches!(tail.next(reader, 1, waker), Next::Event(_)));
        assert_eq!(tail.join(reader, &at(10), waker), None);
        assert_eq!(tail.join(reader, &at(11), waker), Some(1));
    }
}
