//! The actor of one endpoint: what it is sent, how much at once, and when it is left alone.
//!
//! The store holds what is to be delivered; the actor holds the next few. It ends when there is nothing to do soon, and
//! the dispatcher brings it back.

use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle, fut::ActorFutureExt,
    fut::wrap_future,
};
use tokio::{task::spawn_local, time::Instant};
use tracing::{debug, warn};

use super::{
    Shared,
    attempt::{self, Desk, Outcome},
    endpoint::Webhook,
    schedule::Health,
    sql::{
        self,
        deliveries::{self, Due, Wanted},
    },
};
use crate::{
    clock::Timestamp,
    ids::{DeliveryId, OrgId, WebhookId},
    metrics::METRICS,
    store::StoreError,
    supervision::{End, Lifeline},
};

/// Deliveries read at once: a few times what may be under way, so that reading is never waited for.
const READ_AHEAD: i64 = 96;

/// Few enough left to read the next.
const LOW: usize = 32;

/// An endpoint with nothing to do for longer has no actor.
const IDLE_AFTER: Duration = Duration::from_secs(10);

/// When the store is asked again after it was away.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Something is to be delivered, or the endpoint was changed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct Grown;

/// Attempts have ended.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct SomeEnded;

/// See the module.
pub(super) struct EndpointActor {
    desk: Rc<Desk>,
    shared: Arc<Shared>,
    org: OrgId,
    id: WebhookId,
    webhook: Option<Rc<Webhook>>,
    health: Health,
    queue: VecDeque<Due>,
    /// In the queue or under way.
    held: HashSet<DeliveryId>,
    in_flight: usize,
    /// Attempts that ended and were not looked at yet: each of many attempts wakes the actor, not each its own future.
    ended: Rc<RefCell<Vec<(DeliveryId, Outcome)>>>,
    loading: bool,
    /// The store may have more that is due.
    more: bool,
    /// Something may wait that is not due yet, and when, as far as it is known.
    asks_when: bool,
    next: Option<Timestamp>,
    /// There was nothing to do for a while.
    has_rested: bool,
    timer: Option<SpawnHandle>,
    _lifeline: Lifeline,
}

/// What the store says.
struct Loaded {
    webhook: Option<Webhook>,
    due: Vec<Due>,
    /// Nothing else is due.
    all: bool,
    /// It was asked when something may come that is not due yet.
    asked_when: bool,
    next: Option<Timestamp>,
}

impl EndpointActor {
    pub(super) fn new(desk: Rc<Desk>, (org, id): (OrgId, WebhookId)) -> Self {
        let lifeline = Lifeline::new(move |end| {
            if end == End::Panicked {
                warn!(webhook.id = %id, "an endpoint's actor panicked; what it was sending goes on when its lease ends");
                METRICS.restarted("webhook");
            }
        });
        Self {
            shared: Arc::clone(&desk.shared),
            desk,
            org,
            id,
            webhook: None,
            health: Health::default(),
            queue: VecDeque::new(),
            held: HashSet::new(),
            in_flight: 0,
            ended: Rc::default(),
            loading: false,
            more: true,
            asks_when: true,
            next: None,
            has_rested: false,
            timer: None,
            _lifeline: lifeline,
        }
    }

    /// Starts what may start, and reads on.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        let Some(version) = self.shared.writer.outbox().enabled(self.org, self.id) else {
            self.let_go();
            if self.in_flight == 0 && !self.loading {
                ctx.stop();
            }
            return;
        };
        // What was changed is read before anything else is sent.
        if self.webhook.as_ref().is_some_and(|known| known.version < version) {
            self.let_go();
            self.more = true;
        }
        while let Some(place) = self.next_to_start(ctx) {
            if let Some(due) = self.queue.remove(place) {
                self.start(due, ctx);
            }
        }
        if self.more && !self.loading && self.queue.len() < LOW {
            self.load(ctx);
        }
    }

    fn let_go(&mut self) {
        for due in self.queue.drain(..) {
            self.held.remove(&due.id);
        }
        self.webhook = None;
    }

    /// Where in the queue what may start now stands.
    fn next_to_start(&mut self, ctx: &mut Context<Self>) -> Option<usize> {
        self.webhook.as_ref()?;
        let now = Instant::now();
        match self.health.may_start(self.in_flight, now) {
            Ok(()) => (!self.queue.is_empty()).then_some(0),
            // What somebody asked for goes past the breaker.
            Err(Some(until)) => {
                self.wake_after(until - now, ctx);
                let again = |due: &Due| due.origin == "redelivery";
                self.queue.iter().position(again).filter(|_| self.in_flight == 0)
            }
            Err(None) => None,
        }
    }

    fn start(&mut self, due: Due, ctx: &mut Context<Self>) {
        let Some(webhook) = self.webhook.clone() else { return };
        self.in_flight += 1;
        self.has_rested = false;
        let (desk, id) = (Rc::clone(&self.desk), due.id);
        let (ended, actor) = (Rc::clone(&self.ended), ctx.address());
        spawn_local(async move {
            // Those who wait are served in turn. None is to be had any more once the server stops.
            let outcome = match desk.shared.places.acquire().await {
                Ok(_place) => attempt::make(&desk, &webhook, due).await,
                Err(_) => Outcome::NotNow,
            };
            ended.borrow_mut().push((id, outcome));
            // A full mailbox means that the actor is about to look anyhow.
            drop(actor.try_send(SomeEnded));
        });
    }

    /// Looks at what ended, and goes on.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let ended = std::mem::take(&mut *self.ended.borrow_mut());
        for (id, outcome) in &ended {
            self.in_flight -= 1;
            self.held.remove(id);
            self.learn(*outcome);
        }
        if ended.iter().any(|(_, outcome)| *outcome == Outcome::NotNow) {
            self.let_go();
            self.more = true;
            return self.wake_after(ASK_AGAIN_AFTER, ctx);
        }
        self.pump(ctx);
        if !ended.is_empty() && self.is_done() {
            self.rest(ctx);
        }
    }

    /// Everything that was read is settled.
    fn is_done(&self) -> bool {
        self.queue.is_empty() && self.in_flight == 0 && !self.loading
    }

    fn learn(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Took(took) => {
                // While it was left alone, only what somebody asked for was read.
                self.more |= self.health.is_failing();
                self.health.succeeded(took);
                self.note_failing(false);
            }
            Outcome::Failed(asked) => {
                self.health.failed(&self.shared.schedule, asked, Instant::now());
                self.note_failing(true);
            }
            Outcome::Nothing | Outcome::NotNow => {}
        }
        // The next of its conversation, or itself once more.
        let is_ordered = self.webhook.as_ref().is_some_and(|webhook| webhook.ordered);
        let may_come_again = !matches!(outcome, Outcome::Took(_));
        self.more |= is_ordered || may_come_again;
        self.asks_when |= may_come_again;
    }

    /// As it was stored with the attempt, so that it is not stored again with each.
    fn note_failing(&mut self, failing: bool) {
        let Some(webhook) = self.webhook.as_mut().filter(|known| known.failing_since.is_some() != failing)
        else {
            return;
        };
        let failing_since = failing.then(Timestamp::now);
        *webhook = Rc::new(Webhook { failing_since, ..Webhook::clone(webhook) });
    }

    fn load(&mut self, ctx: &mut Context<Self>) {
        self.loading = true;
        self.more = false;
        let shared = Arc::clone(&self.shared);
        let (org, id, known) = (self.org, self.id, self.held.len() as i64);
        let redeliveries = self.health.left_alone_until(Instant::now()).is_some();
        let asked_when = std::mem::take(&mut self.asks_when);
        let loaded = async move {
            let now = Timestamp::now();
            let webhook = sql::get(&shared.store, &shared.keys, org, id).await?;
            let ordered = webhook.as_ref().is_some_and(|webhook| webhook.ordered);
            let limit = READ_AHEAD + known;
            let due =
                deliveries::due(&shared.store, id, Wanted { ordered, redeliveries }, now, limit).await?;
            let all = (due.len() as i64) < limit;
            let next =
                if all && asked_when { deliveries::next_due(&shared.store, id, now).await? } else { None };
            Ok(Loaded { webhook, due, all, asked_when, next })
        };
        ctx.spawn(wrap_future(loaded).map(|loaded, act: &mut Self, ctx| {
            act.loading = false;
            act.loaded(loaded, ctx);
        }));
    }

    fn loaded(&mut self, loaded: Result<Loaded, StoreError>, ctx: &mut Context<Self>) {
        let Loaded { webhook, due, all, asked_when, next } = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                debug!(webhook.id = %self.id, %error, "what is to be delivered was not read");
                self.more = true;
                self.asks_when = true;
                self.wake_after(ASK_AGAIN_AFTER, ctx);
                return;
            }
        };
        let Some(webhook) = webhook.filter(|webhook| webhook.enabled) else {
            // Another process knows more than this one yet does.
            self.let_go();
            if self.in_flight == 0 {
                ctx.stop();
            }
            return;
        };
        self.webhook = Some(Rc::new(webhook));
        for due in due {
            if self.held.insert(due.id) {
                self.queue.push_back(due);
            }
        }
        self.more |= !all;
        self.next = next;
        // Where nothing waits, nothing will until an attempt fails.
        self.asks_when |= asked_when && (!all || next.is_some());
        self.pump(ctx);
        if self.is_done() {
            self.rest(ctx);
        }
    }

    /// Nothing is to be done now. An endpoint that fails keeps its actor, which counts the failures.
    fn rest(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        if let Some(until) = self.health.left_alone_until(now) {
            return self.wake_after(until - now, ctx);
        }
        let wait =
            self.next.map(|next| (next.0 - Timestamp::now().0).max(1) as u64).map(Duration::from_millis);
        match wait.filter(|wait| *wait <= IDLE_AFTER) {
            Some(wait) => self.wake_after(wait, ctx),
            None if self.health.is_failing() || !std::mem::replace(&mut self.has_rested, true) => {
                self.wake_after(IDLE_AFTER, ctx);
            }
            None => ctx.stop(),
        }
    }

    fn wake_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = Some(ctx.run_later(wait, |act, ctx| {
            act.timer = None;
            act.more = true;
            act.pump(ctx);
        }));
    }
}

impl Actor for EndpointActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.load(ctx);
    }
}

impl Handler<Grown> for EndpointActor {
    type Result = ();

    fn handle(&mut self, _: Grown, ctx: &mut Self::Context) {
        self.more = true;
        self.go_on(ctx);
    }
}

impl Handler<SomeEnded> for EndpointActor {
    type Result = ();

    fn handle(&mut self, _: SomeEnded, ctx: &mut Self::Context) {
        self.go_on(ctx);
    }
}
