//! The dispatcher: wakes the actors of endpoints that have something to do, on a nudge and on a timer.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, StreamHandler,
    dev::SendError,
    fut::{ActorFutureExt, wrap_future},
};
use futures_util::stream::unfold;
use tracing::{debug, error};

use super::{
    Shared,
    actor::{EndpointActor, Grown},
    attempt::Desk,
    endpoint::Webhook,
    exchange::{Answer, Failure, Message as Sent, Timings},
    sql::deliveries,
};
use crate::{
    clock::Timestamp,
    ids::{OrgId, WebhookId},
    metrics::METRICS,
    supervision::{End, Lifeline},
};

/// How often the store is asked for what is due, and whether another process changed webhooks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    live: HashMap<WebhookId, Addr<EndpointActor>>,
    desk: Rc<Desk>,
    looking: bool,
    _lifeline: Lifeline,
}

impl Dispatcher {
    /// Starts one on this thread.
    pub(super) fn begin(shared: &Arc<Shared>) {
        let again = Arc::clone(shared);
        let lifeline = Lifeline::new(move |end| {
            if end == End::Panicked {
                error!("the dispatcher of webhooks panicked and is started again");
                METRICS.restarted("webhook_dispatcher");
                let arbiter = again.arbiter.clone();
                arbiter.spawn_fn(move || Self::begin(&again));
            }
        });
        let dispatcher = Self {
            shared: Arc::clone(shared),
            live: HashMap::new(),
            desk: Rc::new(Desk::new(shared)),
            looking: false,
            _lifeline: lifeline,
        };
        shared.is_run_by(dispatcher.start());
    }

    fn wake(&mut self, org: OrgId, id: WebhookId) {
        if self.shared.writer.outbox().enabled(org, id).is_none() {
            return;
        }
        let told = self.live.get(&id).map(|actor| actor.try_send(Grown));
        match told {
            // A full mailbox means that it is awake.
            Some(Ok(()) | Err(SendError::Full(_))) => {}
            Some(Err(SendError::Closed(_))) | None => {
                self.live.insert(id, EndpointActor::new(Rc::clone(&self.desk), (org, id)).start());
            }
        }
    }

    /// What no nudge announced: what was left by a crash, what is due by now, what another process wrote.
    fn look(&mut self, ctx: &mut Context<Self>) {
        self.live.retain(|_, actor| actor.connected());
        if std::mem::replace(&mut self.looking, true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let found = async move {
            let outbox = shared.writer.outbox();
            outbox.refresh(&shared.store).await?;
            if outbox.is_empty() {
                Ok(Vec::new())
            } else {
                deliveries::with_due(&shared.store, Timestamp::now()).await
            }
        };
        ctx.spawn(wrap_future(found).map(|found, act: &mut Self, _| {
            act.looking = false;
            match found {
                Ok(found) => found.into_iter().for_each(|(org, id)| act.wake(org, id)),
                Err(error) => debug!(%error, "what is to be delivered was not looked for"),
            }
        }));
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let outbox = self.shared.writer.outbox().clone();
        ctx.add_stream(unfold(outbox, |outbox| async move { Some((outbox.grown().await, outbox)) }));
        self.look(ctx);
        ctx.run_interval(LOOK_EVERY, Self::look);
    }
}

impl StreamHandler<HashSet<(OrgId, WebhookId)>> for Dispatcher {
    fn handle(&mut self, grown: HashSet<(OrgId, WebhookId)>, _: &mut Self::Context) {
        grown.into_iter().for_each(|(org, id)| self.wake(org, id));
    }
}

/// Sends something at once, past the queue and the breaker, on a connection of its own.
#[derive(Message)]
#[rtype(result = "(Result<Answer, Failure>, Timings)")]
pub(super) struct SendNow {
    pub(super) webhook: Webhook,
    pub(super) message: Sent,
}

impl Handler<SendNow> for Dispatcher {
    type Result = ResponseFuture<(Result<Answer, Failure>, Timings)>;

    fn handle(&mut self, SendNow { webhook, message }: SendNow, _: &mut Self::Context) -> Self::Result {
        let (desk, within) = (Rc::clone(&self.desk), self.shared.schedule.timeout);
        Box::pin(async move { desk.exchange.send_timed(&webhook, &message, within).await })
    }
}
