//! The actor that writes behind when keys were last used.
//!
//! It owns nothing that matters: after a crash the times are at most a minute old.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, Message, WrapFuture};
use tracing::warn;

use super::{ring::KeyRing, usage::Due};
use crate::clock::Timestamp;

/// How soon the first use of a key is seen by others.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Its own tick and one flush at the end: nothing else is ever sent.
const MAILBOX_CAPACITY: usize = 2;

/// Writes behind when keys were last used.
#[derive(Debug)]
pub struct UsageWriter {
    ring: KeyRing,
    writing: bool,
}

/// Writes everything that is not written yet: the process ends.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Flush;

impl UsageWriter {
    /// For the keys of this ring.
    #[must_use]
    pub fn new(ring: KeyRing) -> Self {
        Self { ring, writing: false }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.ring.forget_stale();
        if self.writing {
            return;
        }
        self.writing = true;
        let ring = self.ring.clone();
        let written = async move { write(&ring, Due::Ripe).await }.into_actor(self);
        ctx.spawn(written.map(|(), act, _| act.writing = false));
    }
}

impl Actor for UsageWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
        ctx.run_interval(LOOK_EVERY, Self::look);
    }
}

impl Handler<Flush> for UsageWriter {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        let ring = self.ring.clone();
        AtomicResponse::new(Box::pin(async move { write(&ring, Due::All).await }.into_actor(self)))
    }
}

async fn write(ring: &KeyRing, due: Due) {
    let (op, written) = ring.usage.due(due, Timestamp::now());
    if op.is_empty() {
        return;
    }
    match ring.writer.commit(op).await {
        Ok(()) => ring.usage.committed(written, Timestamp::now()),
        // They stay due, and are tried with the next look.
        Err(error) => warn!(error = %error, "the last use of keys was not written"),
    }
}
