//! The actor that writes behind when keys were last used.
//!
//! It owns nothing: what is to be written stands in the ring, so that a successor goes on where it died.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use tracing::error;

use super::{ring::KeyRing, usage::Due};
use crate::{
    metrics::METRICS,
    supervision::{End, Lifeline},
};

/// How soon the first use of a key is seen by others.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Writes behind when keys were last used. It gets no messages.
#[derive(Debug)]
pub struct UsageWriter {
    ring: KeyRing,
    writing: bool,
    _lifeline: Lifeline,
}

impl UsageWriter {
    /// Starts it on this arbiter, and again whenever it dies.
    pub fn keep_running(ring: KeyRing) {
        let successor = ring.clone();
        let lifeline = Lifeline::new(move |end| {
            if end == End::Panicked {
                error!("the writer of keys' last use died and is started again");
                METRICS.restarted("usage_writer");
                Self::keep_running(successor);
            }
        });
        Self { ring, writing: false, _lifeline: lifeline }.start();
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.ring.forget_stale();
        if self.writing {
            return;
        }
        self.writing = true;
        let ring = self.ring.clone();
        let written = async move { ring.write_usage(Due::Ripe).await }.into_actor(self);
        ctx.spawn(written.map(|(), act, _| act.writing = false));
    }
}

impl Actor for UsageWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_EVERY, Self::look);
    }
}
