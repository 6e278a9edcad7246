//! The actor behind one bucket: the log of one key's admissions.
//!
//! It owns its log alone, so that no lock is held while many ask. It ends by itself once the log is empty, because a
//! fresh one would decide the same; after a panic the key has at most one more window's worth.

use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, MessageResult};
use tokio::time::Instant;

use super::window::{Admission, Decision, WINDOW, Window};
use crate::supervision::Lifeline;

/// Requests of one key that may wait for a decision of half a microsecond. Beyond it senders wait in turn.
const MAILBOX_CAPACITY: usize = 256;

/// One key's log.
#[derive(Debug)]
pub(super) struct BucketActor {
    window: Window,
    _lifeline: Lifeline,
}

/// Decides about a request, by the quota that holds now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Decision")]
pub(super) struct Take {
    pub(super) quota: std::num::NonZeroU32,
    /// When the request reached us, so that waiting in a mailbox moves no request into another's minute.
    pub(super) arrived: Instant,
}

/// The admitted request turned out not to count.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct GiveBack(pub(super) Admission);

/// Asks for the ages of what counts now: the process ends.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Duration>")]
pub(super) struct Ages;

impl BucketActor {
    pub(super) fn new(window: Window, lifeline: Lifeline) -> Self {
        Self { window, _lifeline: lifeline }
    }

    fn stop_when_empty(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        match self.window.empty_at() {
            Some(at) if at > now => drop(ctx.run_later(at - now, Self::stop_when_empty)),
            _ => ctx.stop(),
        }
    }
}

impl Actor for BucketActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
        // Nothing that is admitted from now on stops counting before that.
        ctx.run_later(WINDOW, Self::stop_when_empty);
    }
}

impl Handler<Take> for BucketActor {
    type Result = MessageResult<Take>;

    fn handle(&mut self, Take { quota, arrived }: Take, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.window.take(quota, arrived))
    }
}

impl Handler<GiveBack> for BucketActor {
    type Result = ();

    fn handle(&mut self, GiveBack(admission): GiveBack, _: &mut Self::Context) {
        self.window.give_back(admission);
    }
}

impl Handler<Ages> for BucketActor {
    type Result = MessageResult<Ages>;

    fn handle(&mut self, _: Ages, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.window.ages(Instant::now()).collect())
    }
}

/// Ends the actor as a bug would.
#[cfg(test)]
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Panic;

#[cfg(test)]
impl Handler<Panic> for BucketActor {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("as asked");
    }
}
