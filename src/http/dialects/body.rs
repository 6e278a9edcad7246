//! A stream of what an answer says, in a dialect's words.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::time::Instant;

use super::told::{End, OfTurn, Telling, Told};
use crate::http::{
    conversations::StopOnDrop,
    open_streams::ActiveStream,
    sse::{self, Pulse},
    timing::Timing,
};

/// Bytes that go out in one piece at most, as on every other stream.
const MOST_AT_ONCE: usize = 16 * 1024;

/// Who puts into words what is told.
pub(super) trait Speaker: Unpin + 'static {
    /// What stands before everything, and makes the headers go out.
    fn begin(&mut self, out: &mut BytesMut);

    /// Says it, and whether to go on.
    fn say(&mut self, told: Told, out: &mut BytesMut) -> Flow;
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// There is more to come.
    GoesOn,
    /// Enough was said: the answer is to be stopped, and its end told.
    Enough,
    /// The stream ends here.
    Ends,
    /// The connection breaks here, because the answer has no end.
    BreaksOff,
}

/// The stream has no end.
#[derive(Debug, thiserror::Error)]
#[error("the answer was not finished")]
pub(super) struct BrokenOff;

/// See the module.
pub(super) struct Body<S> {
    telling: Telling,
    speaker: S,
    turn: Option<OfTurn>,
    active: ActiveStream,
    /// Stops the turn if the client hangs up before its end.
    stops: Option<StopOnDrop>,
    timing: Option<Timing>,
    pulse: Pulse,
    begun: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Breaking,
}

impl<S: Speaker> Body<S> {
    pub(super) fn new(telling: Telling, speaker: S, turn: Option<OfTurn>, active: ActiveStream) -> Self {
        let pulse = Pulse::new(Instant::now());
        let (stops, timing) = (None, None);
        Self { telling, speaker, turn, active, stops, timing, pulse, begun: false, state: State::Open }
    }

    /// Stops the turn if the client hangs up before its end.
    pub(super) fn stopping(mut self, stops: Option<StopOnDrop>) -> Self {
        self.stops = stops;
        self
    }

    /// Measures the waits for the answer.
    pub(super) fn timed(mut self, timing: Option<Timing>) -> Self {
        self.timing = timing;
        self
    }

    fn say(&mut self, out: &mut BytesMut, now: Instant, cx: &mut Context<'_>) {
        if self.pulse.is_lagging(now) || self.active.poll_revoked(cx).is_ready() {
            return self.close(State::Breaking);
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.speaker.begin(out);
        }
        while self.state == State::Open && out.len() < MOST_AT_ONCE {
            let told = match self.telling.poll_told(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return self.close(State::Breaking),
                Poll::Ready(Some(told)) => told,
            };
            self.measure(&told, now);
            match self.speaker.say(told, out) {
                Flow::GoesOn => {}
                Flow::Enough => self.telling.stop(self.turn.as_ref()),
                Flow::Ends => self.close(State::Ended),
                Flow::BreaksOff => self.close(State::Breaking),
            }
        }
        if out.is_empty() && self.state == State::Open {
            self.pulse.beat(out, now, cx);
        }
    }

    fn measure(&mut self, told: &Told, now: Instant) {
        let Some(timing) = &mut self.timing else { return };
        match told {
            Told::Text(_) => timing.saw_text(now.into_std()),
            Told::Ended(End::Completed { .. } | End::Stopped | End::Failed { .. }) => timing.ended(),
            Told::Restarted | Told::Reply(..) | Told::Ended(End::NoTurn) | Told::Lost(_) => {}
        }
    }

    /// Nothing more will come: from now on a reader that leaves has not hung up.
    fn close(&mut self, state: State) {
        self.state = state;
        if let Some(stops) = &mut self.stops {
            stops.disarm();
        }
    }
}

impl<S: Speaker> Stream for Body<S> {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.state {
            State::Open => {}
            State::Ended => return Poll::Ready(None),
            State::Breaking => {
                this.state = State::Ended;
                return Poll::Ready(Some(Err(BrokenOff)));
            }
        }
        let now = Instant::now();
        let said = sse::piece(|out| this.say(out, now, cx));
        if !said.is_empty() {
            this.pulse.wrote(now);
            return Poll::Ready(Some(Ok(said)));
        }
        match this.state {
            State::Open => Poll::Pending,
            State::Ended => Poll::Ready(None),
            State::Breaking => {
                this.state = State::Ended;
                Poll::Ready(Some(Err(BrokenOff)))
            }
        }
    }
}
