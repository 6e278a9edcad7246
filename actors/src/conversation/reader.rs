//! A reader of a conversation's stream: a position, served from the feed and, where that has moved on, from the store.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;

use super::{
    feed::{Closing, Feed, Next, Place},
    messages::ConversationKey,
    sql,
};
use crate::{
    event::{DurableEvent, EventKind},
    ids::TurnId,
    store::{Store, StoreError},
};

/// The most a reader hands over at once: what is ready goes out in one write, and no reader holds more than this.
const MAX_BATCH_BYTES: usize = 16 * 1024;

/// Events fetched from the store at once by a reader that is far behind.
const PAGE: i64 = 64;

/// A position in a conversation: the last durable event seen and the bytes seen of the answer open there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The sequence of the last durable event seen; 0 is the beginning.
    pub sequence: i64,
    /// Bytes of the open answer.
    pub offset: usize,
}

impl Cursor {
    /// Right after an event.
    #[must_use]
    pub fn after(sequence: i64) -> Self {
        Self { sequence, offset: 0 }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            0 => write!(f, "{}", self.sequence),
            offset => write!(f, "{}.{offset}", self.sequence),
        }
    }
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct MalformedCursor;

impl FromStr for Cursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        // `parse` alone would take "+1" and "007".
        fn number<N: FromStr>(digits: &str) -> Result<N, MalformedCursor> {
            let plain =
                digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
            if !plain {
                return Err(MalformedCursor);
            }
            digits.parse().map_err(|_| MalformedCursor)
        }
        let (sequence, offset) = text.split_once('.').unwrap_or((text, "0"));
        let offset: u32 = number(offset)?;
        Ok(Self { sequence: number(sequence)?, offset: offset as usize })
    }
}

/// What a reader shows.
#[derive(Debug, Clone)]
pub enum Frame {
    /// A durable event, with the position after it.
    Event(Arc<DurableEvent>, Cursor),
    /// More of an answer, with the position after it.
    Delta {
        /// Whose answer.
        turn: TurnId,
        /// Which attempt at it.
        attempt: i64,
        /// Where the text begins in it, in bytes.
        offset: usize,
        /// Never empty.
        text: String,
        /// The position after it.
        cursor: Cursor,
    },
    /// The position asked for cannot be served; the stream goes on from another.
    Gap {
        /// What was asked for.
        requested: Cursor,
        /// Where it goes on.
        from: Cursor,
    },
    /// Something that is not stored, as JSON: typing.
    Notice(Bytes),
    /// The last frame: the server ends the stream.
    Closing(Closing),
}

/// What a reader is to show, and when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of the conversation, for ever.
    Conversation,
    /// What belongs to a turn; ends after its terminal event.
    Turn(TurnId),
    /// Up to this event: what a message caused that no turn answers.
    Until(i64),
}

type Fetch = Pin<Box<dyn Future<Output = Result<Vec<DurableEvent>, StoreError>> + Send>>;

/// A position in a conversation, and what to show from it on.
pub struct Reader {
    feed: Arc<Feed>,
    store: Store,
    key: ConversationKey,
    scope: Scope,
    /// Durable events taken, shown or not.
    taken: i64,
    /// The last durable event shown.
    shown: i64,
    /// The answer open at `taken`, and the bytes taken of it. Of another turn than the scope's nothing is taken.
    answer: Option<(TurnId, i64, usize)>,
    gap: Option<Frame>,
    page: VecDeque<Arc<DurableEvent>>,
    fetch: Option<Fetch>,
    number: u64,
    notices: u64,
    /// The waker that the feed keeps, and since when.
    waits: Option<(u64, Waker)>,
    ended: bool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("scope", &self.scope)
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

/// Where a reader begins: a cursor that was checked.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) cursor: Cursor,
    /// The answer open at the cursor.
    pub(super) answer: Option<(TurnId, i64)>,
    /// What was asked for, if it cannot be served.
    pub(super) instead_of: Option<Cursor>,
    /// Nothing follows but the gap.
    pub(super) over: bool,
}

impl Start {
    /// Where no answer is open, or none that matters.
    pub(super) fn at(cursor: Cursor) -> Self {
        Self { cursor, answer: None, instead_of: None, over: false }
    }
}

impl Reader {
    pub(super) fn new(
        feed: Arc<Feed>,
        store: Store,
        key: ConversationKey,
        scope: Scope,
        start: &Start,
    ) -> Self {
        let (number, notices) = feed.register();
        let gap = start.instead_of.map(|requested| Frame::Gap { requested, from: start.cursor });
        Self {
            feed,
            store,
            key,
            scope,
            taken: start.cursor.sequence,
            shown: start.cursor.sequence,
            answer: start.answer.map(|(turn, attempt)| (turn, attempt, start.cursor.offset)),
            gap,
            page: VecDeque::new(),
            fetch: None,
            number,
            notices,
            waits: None,
            ended: start.over,
        }
    }

    /// The position after everything handed over so far.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let offset = match self.answer {
            Some((turn, _, taken)) if self.shows_text_of(turn) => taken,
            _ => 0,
        };
        Cursor { sequence: self.shown, offset }
    }

    /// Appends everything that is ready to `frames`, up to 16 KiB of it. `Ready(false)`: that was the end.
    ///
    /// # Errors
    /// The store failed; the client may resume at [`Reader::cursor`].
    pub fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<bool, StoreError>> {
        frames.extend(self.gap.take());
        let mut room = MAX_BATCH_BYTES;
        while !self.ended && room > 0 {
            let before = frames.len();
            match self.poll_step(cx, frames, room) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if frames.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(true)),
            }
            room = frames[before..].iter().fold(room, |room, frame| room.saturating_sub(frame.size()));
        }
        if frames.is_empty() && self.ended {
            return Poll::Ready(Ok(false));
        }
        Poll::Ready(Ok(true))
    }

    /// One event, one piece of text or one notice.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
        room: usize,
    ) -> Poll<Result<(), StoreError>> {
        if let Some(event) = self.page.pop_front() {
            self.take(event, frames);
            return Poll::Ready(Ok(()));
        }
        if let Some(fetch) = &mut self.fetch {
            let fetched = ready!(fetch.as_mut().poll(cx));
            self.fetch = None;
            self.page = fetched?.into_iter().map(Arc::new).collect();
            // An erased conversation has no rows left, and its streams are closed.
            self.ended |= self.page.is_empty();
            return Poll::Ready(Ok(()));
        }
        let readable = self.answer.filter(|&(turn, ..)| self.shows_text_of(turn));
        let kept = self.waits.as_ref().filter(|(_, waker)| waker.will_wake(cx.waker()));
        let waits = kept.map(|&(wakes, _)| wakes);
        let place = Place {
            reader: self.number,
            sequence: self.taken,
            answer: readable,
            notices: self.notices,
            waits,
        };
        match self.feed.next(place, room, cx.waker()) {
            Next::Event(event) => self.take(event, frames),
            Next::Stored => {
                let (store, key, after) = (self.store.clone(), self.key, self.taken);
                self.fetch = Some(Box::pin(async move { sql::events_after(&store, key, after, PAGE).await }));
            }
            Next::Text(text) => frames.extend(self.delta(text)),
            Next::Notice(json) => {
                self.notices = self.feed.notices_after(self.notices);
                if self.scope == Scope::Conversation {
                    frames.push(Frame::Notice(json));
                }
            }
            Next::Closing(closing) => {
                self.ended = true;
                frames.push(Frame::Closing(closing));
            }
            Next::Nothing(wakes) => {
                match &mut self.waits {
                    Some((since, _)) if waits.is_some() => *since = wakes,
                    other => *other = Some((wakes, cx.waker().clone())),
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn shows_text_of(&self, turn: TurnId) -> bool {
        match self.scope {
            Scope::Conversation => true,
            Scope::Turn(own) => own == turn,
            Scope::Until(_) => false,
        }
    }

    fn shows(&self, event: &DurableEvent) -> bool {
        match self.scope {
            Scope::Conversation => true,
            Scope::Turn(own) => event.turn == Some(own),
            Scope::Until(last) => event.sequence <= last,
        }
    }

    /// Takes the next durable event, after the rest of the answer that it ends.
    fn take(&mut self, event: Arc<DurableEvent>, frames: &mut Vec<Frame>) {
        if event.kind == EventKind::MessageSent
            && let (Some(reply), Some((turn, _, taken))) = (&event.reply, self.answer)
            && event.turn == Some(turn)
            && self.shows_text_of(turn)
            && let Some(rest) = reply.get(taken..).filter(|rest| !rest.is_empty())
        {
            let rest = rest.to_owned();
            frames.extend(self.delta(rest));
        }
        self.taken = event.sequence;
        if let (true, Some(turn)) = (event.kind.opens_answer(), event.turn) {
            self.answer = Some((turn, event.attempt, 0));
        } else if event.kind.is_terminal() && self.answer.map(|(turn, ..)| turn) == event.turn {
            self.answer = None;
        }
        if self.shows(&event) {
            self.shown = event.sequence;
            let cursor = self.cursor();
            self.ended |= match self.scope {
                Scope::Conversation => event.kind == EventKind::ConversationDeleted,
                Scope::Turn(_) => event.kind.is_terminal(),
                Scope::Until(_) => false,
            };
            frames.push(Frame::Event(Arc::clone(&event), cursor));
        }
        self.ended |= matches!(self.scope, Scope::Until(last) if event.sequence >= last);
    }

    fn delta(&mut self, text: String) -> Option<Frame> {
        let (turn, attempt, offset) = self.answer?;
        self.answer = Some((turn, attempt, offset + text.len()));
        Some(Frame::Delta { turn, attempt, offset, text, cursor: self.cursor() })
    }
}

impl Frame {
    /// About how many bytes it is when it is shown.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Event(event, _) => event.json.len(),
            Self::Delta { text, .. } => text.len() + 128,
            Self::Notice(json) => json.len(),
            Self::Gap { .. } | Self::Closing(_) => 64,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.feed.unregister(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_spelling() {
        for (text, cursor) in [
            ("0", Cursor { sequence: 0, offset: 0 }),
            ("7", Cursor { sequence: 7, offset: 0 }),
            ("7.12", Cursor { sequence: 7, offset: 12 }),
        ] {
            assert_eq!(text.parse(), Ok(cursor));
            assert_eq!(cursor.to_string(), text);
        }
        for text in ["", "-1", "+1", "01", "1.", ".1", "1.-2", "1.2.3", "a", "1 ", "99999999999999999999"] {
            assert_eq!(text.parse::<Cursor>(), Err(MalformedCursor), "{text:?}");
        }
    }
}
