//! A breaker: after some failures in a row an upstream is left alone for a while, and customers get the next model at
//! once instead of after a deadline. Shared by all workers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Answers that fail in a row before it opens: one may be chance, five are not.
pub const FAILURES_TO_OPEN: u32 = 5;

/// How long it stays open before one answer may try again: long enough to spare an upstream that struggles, short
/// enough that an outage of a minute is not one of two.
pub const OPEN_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    /// Half-open from `until` on.
    Open {
        until: Instant,
    },
    /// One answer tries; the others still pass by.
    Probing {
        until: Instant,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Breaker(Mutex<State>);

/// Leave to ask the upstream once. Dropped without a word it says nothing: the customer stopped the answer.
#[derive(Debug)]
pub(crate) struct Permit {
    breaker: Arc<Breaker>,
    probes: bool,
}

impl Default for Breaker {
    fn default() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }
}

impl Breaker {
    /// May the upstream be asked?
    pub(crate) fn enter(self: &Arc<Self>, now: Instant) -> Option<Permit> {
        let mut state = self.state();
        let probes = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now >= until => {
                *state = State::Probing { until };
                true
            }
            State::Open { .. } | State::Probing { .. } => return None,
        };
        Some(Permit { breaker: Arc::clone(self), probes })
    }

    // Nothing panics under this lock, and the state is whole at any line.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// It answered.
    pub(crate) fn succeeded(mut self) {
        let mut state = self.breaker.state();
        // What was asked before it opened tells nothing about now.
        if self.probes || matches!(*state, State::Closed { .. }) {
            *state = State::Closed { failures: 0 };
        }
        drop(state);
        self.probes = false;
    }

    /// It failed. Says whether that opened the breaker.
    pub(crate) fn failed(mut self, now: Instant) -> bool {
        let open = State::Open { until: now + OPEN_FOR };
        let mut state = self.breaker.state();
        let after = match *state {
            State::Closed { failures } if failures + 1 < FAILURES_TO_OPEN => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } => open,
            State::Probing { .. } if self.probes => open,
            other => other,
        };
        let opened = after == open;
        *state = after;
        drop(state);
        self.probes = false;
        opened
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if let (true, State::Probing { until }) = (self.probes, *state) {
            *state = State::Open { until };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Arc<Breaker>, now: Instant) -> bool {
        breaker.enter(now).expect("it is closed").failed(now)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try_again() {
        let (breaker, now) = (Arc::new(Breaker::default()), Instant::now());
        for _ in 1..FAILURES_TO_OPEN {
            assert!(!fail(&breaker, now));
        }
        breaker.enter(now).unwrap().succeeded();
        for _ in 1..FAILURES_TO_OPEN {
            assert!(!fail(&breaker, now));
        }
        assert!(fail(&breaker, now));
        assert!(breaker.enter(now + OPEN_FOR - Duration::from_millis(1)).is_none());

        let later = now + OPEN_FOR;
        let probe = breaker.enter(later).unwrap();
        assert!(breaker.enter(later).is_none(), "one at a time");
        assert!(probe.failed(later));
        assert!(breaker.enter(later).is_none());

        let probe = breaker.enter(later + OPEN_FOR).unwrap();
        probe.succeeded();
        assert!(!fail(&breaker, later));
    }

    #[test]
    fn a_stopped_answer_says_nothing() {
        let (breaker, now) = (Arc::new(Breaker::default()), Instant::now());
        let early = breaker.enter(now).unwrap();
        let late = breaker.enter(now).unwrap();
        let opened = (0..FAILURES_TO_OPEN).any(|_| fail(&breaker, now));
        assert!(opened);
        drop(late);
        early.succeeded();
        assert!(breaker.enter(now).is_none(), "neither closes it");
        drop(breaker.enter(now + OPEN_FOR).unwrap());
        assert!(breaker.enter(now + OPEN_FOR).is_some(), "the next may try");
    }
}
