//! The pace of a stream: keeps proxies awake while nothing is said, and notices a reader that takes nothing.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Waker},
};

use bytes::BytesMut;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{KEEP_ALIVE, KEEP_ALIVE_EVERY, LAGGING_AFTER};

/// See the module.
pub(in crate::http) struct Pulse {
    /// When something was last written.
    written_at: Instant,
    /// What was written last was followed by a question for more.
    asked_again: bool,
    keep_alive: Pin<Box<Sleep>>,
    /// Whom the timer wakes.
    waker: Option<Waker>,
}

impl Pulse {
    pub(in crate::http) fn new(now: Instant) -> Self {
        Self {
            written_at: now,
            asked_again: true,
            keep_alive: Box::pin(sleep_until(now + KEEP_ALIVE_EVERY)),
            waker: None,
        }
    }

    /// The connection asks for more. Says whether the socket took nothing for too long before: what was written last
    /// was not followed by a question for more.
    pub(in crate::http) fn is_lagging(&mut self, now: Instant) -> bool {
        let asked_before = std::mem::replace(&mut self.asked_again, true);
        !asked_before && now.duration_since(self.written_at) >= LAGGING_AFTER
    }

    pub(in crate::http) fn wrote(&mut self, now: Instant) {
        self.written_at = now;
        self.asked_again = false;
    }

    /// Nothing is ready: says a comment if that was so for long, and wakes the stream when it will be.
    pub(in crate::http) fn beat(&mut self, out: &mut BytesMut, now: Instant, cx: &mut Context<'_>) {
        let kept = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        // The timer knows whom to wake: nothing to ask it before it is due.
        if kept && now < self.keep_alive.deadline() {
            return;
        }
        self.waker = Some(cx.waker().clone());
        while out.is_empty() && self.keep_alive.as_mut().poll(cx).is_ready() {
            // Not put off at every write, which would cost more than firing early now and then.
            let silent_by = self.written_at + KEEP_ALIVE_EVERY;
            if silent_by <= now {
                out.extend_from_slice(KEEP_ALIVE);
            }
            self.keep_alive.as_mut().reset(if silent_by <= now { now + KEEP_ALIVE_EVERY } else { silent_by });
        }
    }
}
