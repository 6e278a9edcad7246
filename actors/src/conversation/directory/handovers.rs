//! Handovers through the directory: what can be done to one, and the timer that ends those that nobody accepts.
//!
//! The timer is the column `expires_at`: a restart loses nothing. [`Directory::expire_handovers`] sleeps until the
//! next of them is due; a request wakes it, since that one may be due first.

use std::time::Duration;

use actix::ArbiterHandle;
use futures_util::{StreamExt, stream};
use tracing::warn;

use super::{Directory, unexpected};
use crate::{
    audit::By,
    clock::Timestamp,
    conversation::{
        handover::{Around, Policy, TAIL},
        messages::{Command, ConversationKey, NewHandover, Refusal, Reply, Verb},
        sql::{handovers, read},
    },
    ids::HandoverId,
    store::StoreError,
    writer::Row,
};

/// Handovers that are ended in one round, and how many of them at once: after a long outage many may be due.
const DUE_IN_A_ROUND: i64 = 256;
const DUE_AT_ONCE: usize = 16;

/// How long the timer sleeps at most: handovers of another process on this database announce themselves to nobody here.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The pause after a round that left something undone: the store is away, or a conversation was refused.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Directory {
    /// Asks for a person: which handover it is, and whether this request made it.
    ///
    /// # Errors
    /// See [`Refusal`]; [`Refusal::Completed`] where the conversation is over.
    pub async fn request_handover(
        &self,
        key: ConversationKey,
        new: NewHandover,
    ) -> Result<(HandoverId, bool), Refusal> {
        match self.ask(key, Command::RequestHandover(Box::new(new))).await? {
            Reply::Handover { id, created } => Ok((id, created)),
            other => Err(unexpected(&other)),
        }
    }

    /// Does something to a handover; nothing where it was done already.
    ///
    /// # Errors
    /// See [`Refusal`]; [`Refusal::HandoverTaken`] where another person was first, [`Refusal::HandoverState`] where its
    /// state does not allow it.
    pub async fn handle_handover(
        &self,
        key: ConversationKey,
        id: HandoverId,
        verb: Verb,
        by: Option<By>,
        idempotency: Option<Row>,
    ) -> Result<(), Refusal> {
        match self.ask(key, Command::Handover { id, verb, by, idempotency }).await? {
            Reply::Handover { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// What an event about a handover of that conversation is made of.
    pub(in crate::conversation) async fn around(&self, key: ConversationKey) -> Result<Around, StoreError> {
        let shared = &self.0;
        let tail = read::last_messages(&shared.store, key, TAIL as i64).await?;
        let organization = shared.organizations.recent(key.0).await?;
        // Erased just now: nobody will be asked.
        let settings = organization.map(|found| found.settings.clone()).unwrap_or_default();
        let policy = Policy::of(&settings, Timestamp::now());
        Ok(Around { tail, policy, public_url: shared.options.public_url.clone() })
    }

    /// A handover was requested.
    pub(in crate::conversation) fn expects_handovers(&self) {
        self.0.handover_requested.notify_one();
    }

    /// Ends handovers whose time is up, for as long as it is polled. Conversations are woken on one of `homes`.
    pub async fn expire_handovers(&self, homes: impl Fn() -> Vec<ArbiterHandle>) {
        loop {
            let pause = match self.expire_due(&homes()).await {
                Ok(pause) => pause,
                Err(error) => {
                    warn!(%error, "handovers that are due could not be found");
                    LOOK_AGAIN_AFTER
                }
            };
            // Whichever comes first.
            let _ = tokio::time::timeout(pause, self.0.handover_requested.notified()).await;
        }
    }

    /// One round; gives how long it is until the next.
    async fn expire_due(&self, homes: &[ArbiterHandle]) -> Result<Duration, StoreError> {
        let store = &self.0.store;
        let due = handovers::due(store, Timestamp::now(), DUE_IN_A_ROUND).await?;
        let found = due.len();
        let ended = stream::iter(due.into_iter().enumerate()).map(|(index, (org, conversation, id))| {
            let directory = self.clone();
            let (done, ending) = tokio::sync::oneshot::channel();
            let expire = async move {
                let ended =
                    directory.handle_handover((org, conversation), id, Verb::Expire, None, None).await;
                // The server may be stopping.
                let _ = done.send(ended);
            };
            match homes.get(index % homes.len().max(1)) {
                Some(home) => drop(home.spawn(expire)),
                None => drop(actix::spawn(expire)),
            }
            async move { matches!(ending.await, Ok(Ok(()) | Err(Refusal::NotFound))) }
        });
        let ended: Vec<bool> = ended.buffer_unordered(DUE_AT_ONCE).collect().await;
        if found > 0 && !ended.iter().all(|ended| *ended) {
            return Ok(LOOK_AGAIN_AFTER);
        }
        let next = handovers::next_due(store).await?;
        let wait =
            next.map(|due| Duration::from_millis(u64::try_from(due.0 - Timestamp::now().0).unwrap_or(0)));
        Ok(wait.map_or(LOOK_EVERY, |wait| wait.min(LOOK_EVERY)))
    }
}
