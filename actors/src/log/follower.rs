//! The follower: reads the end of the log once for everyone who watches it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{
    Actor, AsyncContext, Context, StreamHandler,
    fut::{ActorFutureExt, wrap_future},
};
use futures_util::stream::unfold;
use tracing::{debug, error};

use super::{
    Part, Shared, step,
    tail::{Recent, Tail},
};
use crate::{
    ids::OrgId,
    metrics::METRICS,
    position::Position,
    store::StoreError,
    supervision::{End, Lifeline},
};

/// How often the end of the log is looked at for what other processes wrote.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Events read at once.
const PAGE: usize = 128;

/// Organizations that are named to the store; where more are watched, everyone's events are read.
const NAMED: usize = 32;

/// See the module.
pub(super) struct Follower {
    shared: Arc<Shared>,
    /// Up to there the tails have everything. None while nobody watches.
    at: Option<Position>,
    reading: bool,
    /// The log grew while it was being read.
    again: bool,
    _lifeline: Lifeline,
}

impl Follower {
    /// Starts one on this thread.
    pub(super) fn begin(shared: &Arc<Shared>) {
        let again = Arc::clone(shared);
        let lifeline = Lifeline::new(move |end| {
            if end == End::Panicked {
                error!("the follower of the log panicked and is started again");
                METRICS.restarted("log_follower");
                let arbiter = again.arbiter.clone();
                // What it had read is not known: streams come back with their positions.
                again.tails().forget();
                arbiter.spawn_fn(move || Self::begin(&again));
            }
        });
        let follower =
            Self { shared: Arc::clone(shared), at: None, reading: false, again: false, _lifeline: lifeline };
        follower.start();
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.reading, true) {
            self.again = true;
            return;
        }
        self.again = false;
        let (shared, at) = (Arc::clone(&self.shared), self.at.take());
        ctx.spawn(wrap_future(follow(shared, at)).map(|(at, result), act: &mut Self, ctx| {
            act.reading = false;
            act.at = at;
            match result {
                Ok(()) if act.again => act.look(ctx),
                Ok(()) => {}
                Err(error) => debug!(%error, "the log was not followed"),
            }
        }));
    }
}

impl Actor for Follower {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let growth = self.shared.growth.clone();
        ctx.add_stream(unfold(growth, |growth| async move {
            growth.of_watched().await;
            Some(((), growth))
        }));
        ctx.run_interval(LOOK_EVERY, Self::look);
    }
}

impl StreamHandler<()> for Follower {
    fn handle(&mut self, (): (), ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

/// Brings the tails that are held up to the end of the log; says how far they are then.
async fn follow(shared: Arc<Shared>, at: Option<Position>) -> (Option<Position>, Result<(), StoreError>) {
    // Taken before anything is read: what is not among them has a later beginning.
    let held = shared.tails().held();
    if held.is_empty() {
        return (None, Ok(()));
    }
    let heads = match shared.store.heads().await {
        Ok(heads) => heads,
        Err(error) => return (at, Err(error)),
    };
    let begun: Vec<_> = held.iter().filter(|(_, tail)| tail.is_ready()).cloned().collect();
    let result = match at {
        Some(mut at) if !begun.is_empty() => {
            let result = bring_up(&shared, &mut at, &heads, &begun).await;
            if let Err(error) = result {
                return (Some(at), Err(error));
            }
            at
        }
        _ => heads,
    };
    // Nobody had them read so far: they begin here.
    held.iter().for_each(|(_, tail)| tail.begin(&result));
    (Some(result), Ok(()))
}

async fn bring_up(
    shared: &Shared,
    at: &mut Position,
    heads: &Position,
    tails: &[(OrgId, Arc<Tail>)],
) -> Result<(), StoreError> {
    let orgs: Vec<OrgId> = match tails.len() {
        0..=NAMED => tails.iter().map(|(org, _)| *org).collect(),
        _ => Vec::new(),
    };
    let tails: HashMap<OrgId, &Arc<Tail>> = tails.iter().map(|(org, tail)| (*org, tail)).collect();
    loop {
        let part = Part { orgs: &orgs, wanted: None, limit: PAGE };
        let (taken, more) = step(&shared.store, at, heads, part).await?;
        for one in taken {
            if let Some(tail) = tails.get(&one.what.org) {
                let event = Arc::new(one.what.event);
                tail.push(Recent { writer: one.writer, position: one.position, event });
            }
        }
        if !more {
            return Ok(());
        }
    }
}
