//! Webhooks: endpoints of customers that are told of events, and what is on its way to them.
//!
//! What is to be delivered is a row, written by [`Outbox`](crate::outbox::Outbox) in the transaction that caused it. That
//! an attempt begins is written there before anything is sent. So whatever dies, the store knows what is left to do.

mod actor;
pub mod address;
mod attempt;
mod commands;
pub mod delivery;
mod dispatcher;
pub mod endpoint;
mod exchange;
mod ledger;
mod names;
pub mod replay;
mod schedule;
mod seal;
mod sign;
mod sql;
pub mod verify;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use actix::{Addr, Arbiter, ArbiterHandle};
use tokio::sync::{Notify, Semaphore};
use tracing::debug;

use self::{
    address::AddressPolicy,
    dispatcher::Dispatcher,
    endpoint::WebhookError,
    sql::{deliveries, replays},
};
pub use self::{
    commands::{IssuedSecret, Tested},
    exchange::Timings,
    schedule::{ATTEMPTS, Schedule},
    seal::SealingKeys,
    sign::SigningSecret,
};
use crate::{
    clock::Timestamp,
    event::ReadLog,
    store::Store,
    threads,
    tls::Trust,
    writer::{Op, Writer},
};

/// What all of this folder share.
pub(crate) struct Shared {
    store: Store,
    writer: Writer,
    keys: SealingKeys,
    schedule: Schedule,
    policy: AddressPolicy,
    trust: Trust,
    arbiter: ArbiterHandle,
    /// Attempts that all endpoints together may have under way.
    places: Semaphore,
    dispatcher: RwLock<Option<Addr<Dispatcher>>>,
    read_log: ReadLog,
    /// A replay was asked for.
    replays: Notify,
}

/// How long deliveries are kept: a month, in which whoever runs an endpoint finds out what it missed.
const KEPT_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// Deliveries dropped in one commit: other writers wait for it.
const SWEPT_AT_ONCE: i64 = 500;

/// Each attempt holds a connection and little else.
const PLACES: usize = 512;

/// How often a stop looks whether everything under way has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Shared {
    fn is_run_by(&self, dispatcher: Addr<Dispatcher>) {
        *self.dispatcher.write().unwrap_or_else(PoisonError::into_inner) = Some(dispatcher);
    }
}

/// All webhooks. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks(Arc<Shared>);

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").finish_non_exhaustive()
    }
}

impl Webhooks {
    /// Those of this store; nothing is sent before [`start`](Self::start).
    #[must_use]
    pub fn new(
        store: Store,
        writer: Writer,
        keys: SealingKeys,
        schedule: Schedule,
        policy: AddressPolicy,
        trust: Trust,
        read_log: ReadLog,
    ) -> Self {
        let arbiter = Arbiter::new().handle();
        arbiter.spawn_fn(|| threads::name(threads::WEBHOOKS));
        Self(Arc::new(Shared {
            store,
            writer,
            keys,
            schedule,
            policy,
            trust,
            arbiter,
            places: Semaphore::new(PLACES),
            dispatcher: RwLock::new(None),
            read_log,
            replays: Notify::new(),
        }))
    }

    /// Starts to send what is to be delivered.
    pub fn start(&self) {
        let shared = Arc::clone(&self.0);
        self.0.arbiter.spawn_fn(move || {
            Dispatcher::begin(&shared);
            replay::begin(&shared);
        });
    }

    /// Begins no further attempt, and waits until those under way have ended or that long. What is cut off counts as
    /// an attempt and goes on at the next start.
    pub async fn stop(&self, within: Duration) {
        self.0.places.close();
        let ended = async {
            while self.0.places.available_permits() < PLACES {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(within, ended).await.is_err() {
            debug!("webhooks were being sent when the server stopped");
        }
    }

    /// Drops what is older than deliveries are kept, in whatever state: one that was held for so long is given up.
    ///
    /// # Errors
    /// The store is away.
    pub async fn sweep(&self) -> Result<(), WebhookError> {
        let before = Timestamp::now().plus_ms(-KEPT_MS);
        let mut op = Op::default();
        replays::drop_before(&mut op, before);
        self.0.writer.commit(op).await?;
        while deliveries::any_before(&self.0.store, before).await? {
            let mut op = Op::default();
            deliveries::drop_before(&mut op, before, SWEPT_AT_ONCE);
            self.0.writer.commit(op).await?;
        }
        let mut after = String::new();
        while let Some((upto, needless)) =
            deliveries::old_bodies(&self.0.store, &after, before, SWEPT_AT_ONCE).await?
        {
            if needless > 0 {
                let mut op = Op::default();
                deliveries::drop_bodies(&mut op, &after, &upto);
                self.0.writer.commit(op).await?;
            }
            after = upto;
        }
        Ok(())
    }

    /// Which addresses may be sent to.
    #[must_use]
    pub fn policy(&self) -> &AddressPolicy {
        &self.0.policy
    }
}
