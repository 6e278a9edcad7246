//! The aggregator: folds the log when it grows, and gets time zones ready for those who ask.

use std::{sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, Message,
    StreamHandler,
    fut::{ActorFuture, wrap_future},
};
use futures_util::stream::unfold;
use tracing::{debug, error};

use super::{AnalyticsError, Shared, fold::Fold, zones::Opened};
use crate::{
    ids::OrgId,
    metrics::METRICS,
    supervision::{End, Lifeline},
};

/// How long the fold lets events gather once the log has grown. Figures are to be right within a second; a fold costs
/// a commit, however many events are in it.
const GATHER_FOR: Duration = Duration::from_millis(200);

/// How often the log is looked at for what other processes wrote.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct AnalyticsAggregator {
    shared: Arc<Shared>,
    /// None while it works, and after it failed.
    fold: Option<Fold>,
    _lifeline: Lifeline,
}

impl AnalyticsAggregator {
    /// Starts one on this thread.
    pub(super) fn begin(shared: &Arc<Shared>) {
        let again = Arc::clone(shared);
        let lifeline = Lifeline::new(move |end| {
            if end == End::Panicked {
                error!("the aggregator of analytics panicked and is started again");
                METRICS.restarted("analytics_aggregator");
                let arbiter = again.arbiter.clone();
                arbiter.spawn_fn(move || Self::begin(&again));
            }
        });
        let aggregator = Self { shared: Arc::clone(shared), fold: None, _lifeline: lifeline };
        shared.is_run_by(aggregator.start());
    }

    /// One piece of work. The caller sees to it that nothing else is done meanwhile.
    fn work<R: 'static>(
        &mut self,
        task: impl AsyncFnOnce(&mut Fold) -> Result<R, AnalyticsError> + 'static,
    ) -> impl ActorFuture<Self, Output = Result<R, AnalyticsError>> + 'static {
        let (shared, fold) = (Arc::clone(&self.shared), self.fold.take());
        let work = async move {
            let mut fold = match fold {
                Some(fold) => fold,
                None => Fold::load(shared).await?,
            };
            let result = task(&mut fold).await?;
            Ok((fold, result))
        };
        wrap_future(work).map(|ended: Result<(Fold, R), AnalyticsError>, act: &mut Self, _| {
            // What failed has perhaps half an idea of how things are: it is read anew.
            let (fold, result) = ended?;
            act.fold = Some(fold);
            Ok(result)
        })
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let folded = self.work(async |fold| fold.catch_up().await);
        ctx.wait(folded.map(|folded, _, _| {
            if let Err(error) = folded {
                debug!(%error, "the log was not folded");
            }
        }));
    }
}

impl Actor for AnalyticsAggregator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let growth = self.shared.writer.growth().clone();
        ctx.add_stream(unfold(growth, |growth| async move {
            growth.any().await;
            tokio::time::sleep(GATHER_FOR).await;
            Some(((), growth))
        }));
        ctx.run_interval(LOOK_EVERY, Self::look);
        self.look(ctx);
    }
}

impl StreamHandler<()> for AnalyticsAggregator {
    fn handle(&mut self, (): (), ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

/// Ends it, after what it does.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

impl Handler<Stop> for AnalyticsAggregator {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// Folds all that happened before now.
#[derive(Message)]
#[rtype(result = "Result<(), AnalyticsError>")]
pub(super) struct CatchUp;

impl Handler<CatchUp> for AnalyticsAggregator {
    type Result = AtomicResponse<Self, Result<(), AnalyticsError>>;

    fn handle(&mut self, _: CatchUp, _: &mut Self::Context) -> Self::Result {
        let shared = Arc::clone(&self.shared);
        AtomicResponse::new(Box::pin(self.work(async move |fold| {
            // Others who waited may have had it done.
            if shared.is_fresh() { Ok(()) } else { fold.catch_up().await }
        })))
    }
}

/// Gets a time zone ready to be asked in.
#[derive(Message)]
#[rtype(result = "Result<Opened, AnalyticsError>")]
pub(super) struct Open {
    pub(super) org: OrgId,
    /// By its name in the database of zones.
    pub(super) zone: String,
}

impl Handler<Open> for AnalyticsAggregator {
    type Result = AtomicResponse<Self, Result<Opened, AnalyticsError>>;

    fn handle(&mut self, Open { org, zone }: Open, _: &mut Self::Context) -> Self::Result {
        let shared = Arc::clone(&self.shared);
        AtomicResponse::new(Box::pin(self.work(async move |fold| {
            // Others who waited may have had it opened.
            let found = shared.cubes().find(&(org, zone.clone()));
            match found {
                Some(_) => Ok(Opened::InMemory),
                None => fold.open(org, &zone).await,
            }
        })))
    }
}
