//! Supervision: how the death of an actor is noticed, and how it ended.
//!
//! actix's own `Supervisor` does nothing after a panic: the mailbox stays closed for ever. So every supervised actor
//! carries a [`Lifeline`], which is dropped with it, however it ends; whoever started the actor is told, removes the
//! dead address and brings a successor back from the store.

use std::fmt;

/// How an actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself: it was idle, or told to.
    Stopped,
    /// By a panic in one of its handlers or futures.
    Panicked,
}

impl End {
    /// How an actor ends that is being dropped now, on this thread.
    #[must_use]
    pub fn of_this_thread() -> Self {
        if std::thread::panicking() { Self::Panicked } else { Self::Stopped }
    }
}

/// A field of a supervised actor: calls back when the actor is dropped.
pub struct Lifeline {
    ended: Option<Box<dyn FnOnce(End)>>,
}

impl Lifeline {
    /// `ended` runs on the actor's thread, in the middle of an unwinding if it panicked: it must not panic itself.
    #[must_use]
    pub fn new(ended: impl FnOnce(End) + 'static) -> Self {
        Self { ended: Some(Box::new(ended)) }
    }
}

impl fmt::Debug for Lifeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lifeline")
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended(End::of_this_thread());
        }
    }
}
