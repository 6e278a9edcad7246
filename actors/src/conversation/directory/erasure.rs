//! Erasing many conversations: those of a customer, and those that are past their time.
//!
//! Each is erased by its own actor, as if it were deleted alone: its turn is stopped, its streams are told, and nobody
//! else writes meanwhile. So each is a commit of its own, and others come in between.

use futures_util::{StreamExt, TryStreamExt, stream};
use tracing::{info, warn};

use super::Directory;
use crate::{
    audit::Entry,
    clock::Timestamp,
    conversation::{
        messages::{Command, Refusal},
        sql::erasure::{self, Erasure},
    },
    ids::{ConversationId, OrgId},
    store::StoreError,
    writer::{Op, WriteError},
};

/// Conversations that are erased at once: enough to share commits, and few beside the writer's queue.
const ERASED_AT_ONCE: usize = 16;

/// Conversations that are looked up at once.
const PAGE: i64 = 200;

/// Conversations of one organization that one pass erases; the rest wait for the next, so that one organization does
/// not keep all others waiting.
const ERASED_IN_A_PASS: usize = 10_000;

/// Unfinished erasures that are looked up at once. There is one only after a crash or an outage.
const UNFINISHED: i64 = 100;

impl Directory {
    /// Erases every conversation of a customer that has begun by now; what begins later is another matter. `noted`
    /// tells of it in the audit log and counts them. Once it has begun, an erasure is finished whatever happens:
    /// [`finish_erasures`](Self::finish_erasures) goes on where this one was cut off.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if there is none; otherwise it could not be begun, or not be finished yet.
    pub async fn erase_customer(&self, org: OrgId, customer: &str, noted: Entry) -> Result<(), Refusal> {
        // What was being stored when this was asked for belongs to it.
        self.writer().barrier().await.map_err(refused_write)?;
        let begun_at = noted.at();
        let found = async {
            let under_way = erasure::of(self.store(), org, customer).await?.is_some();
            let first = erasure::of_customer(self.store(), org, customer, begun_at, 1).await?;
            Ok(under_way || !first.is_empty())
        };
        if !found.await.map_err(unread)? {
            return Err(Refusal::NotFound);
        }
        let mut op = Op::default();
        erasure::begin(&mut op, &Erasure { org, customer: customer.to_owned(), begun_at, noted });
        self.writer().commit(op).await.map_err(refused_write)?;
        // One that was under way already is gone on with; it may have ended in between.
        match erasure::of(self.store(), org, customer).await.map_err(unread)? {
            Some(erasure) => self.carry_out(&erasure).await,
            None => Ok(()),
        }
    }

    /// Goes on with erasures that were cut off.
    ///
    /// # Errors
    /// They could not be looked for.
    pub async fn finish_erasures(&self) -> Result<(), StoreError> {
        for erasure in erasure::under_way(self.store(), UNFINISHED).await? {
            match self.carry_out(&erasure).await {
                Ok(()) => info!(org.id = %erasure.org, "the erasure of a customer was finished"),
                Err(refusal) => {
                    warn!(org.id = %erasure.org, error = %refusal, "the erasure of a customer is not finished yet");
                }
            }
        }
        Ok(())
    }

    async fn carry_out(&self, erasure: &Erasure) -> Result<(), Refusal> {
        let Erasure { org, ref customer, begun_at, ref noted } = *erasure;
        loop {
            let some = erasure::of_customer(self.store(), org, customer, begun_at, PAGE).await;
            let some = some.map_err(unread)?;
            if some.is_empty() {
                break;
            }
            if self.erase_some(org, some, None, noted).await? == 0 {
                // They are there and cannot be erased: not to be tried for ever.
                return Err(Refusal::Unavailable);
            }
        }
        let mut op = Op::default();
        erasure::end(&mut op, erasure);
        self.writer().commit(op).await.map_err(refused_write)
    }

    /// Erases conversations of `org` in which nothing was said since `before`, up to a bound, and says how many.
    /// `noted` tells of it in the audit log and counts them.
    ///
    /// # Errors
    /// Not all of them could be erased; those that were are counted.
    pub async fn erase_quiet_since(
        &self,
        org: OrgId,
        before: Timestamp,
        noted: &Entry,
    ) -> Result<usize, Refusal> {
        let mut erased = 0;
        while erased < ERASED_IN_A_PASS {
            let some = erasure::quiet_since(self.store(), org, before, PAGE).await.map_err(unread)?;
            let now = self.erase_some(org, some, Some(before), noted).await?;
            if now == 0 {
                break;
            }
            erased += now;
        }
        Ok(erased)
    }

    /// Erases these, unless something was said in them since `quiet_since`, and says how many it erased.
    async fn erase_some(
        &self,
        org: OrgId,
        conversations: Vec<ConversationId>,
        quiet_since: Option<Timestamp>,
        noted: &Entry,
    ) -> Result<usize, Refusal> {
        let erase = async |id| {
            let noted = Some(Box::new(noted.clone()));
            match self.ask((org, id), Command::Delete { if_version: None, quiet_since, noted }).await {
                Ok(_) => Ok(1),
                // Somebody else erased it, or somebody has just said something.
                Err(Refusal::NotFound | Refusal::VersionConflict) => Ok(0),
                Err(refusal) => Err(refusal),
            }
        };
        let all = stream::iter(conversations).map(erase).buffer_unordered(ERASED_AT_ONCE);
        all.try_fold(0, async |erased, now| Ok(erased + now)).await
    }
}

fn unread(error: StoreError) -> Refusal {
    warn!(%error, "what is to be erased could not be read");
    Refusal::Unavailable
}

fn refused_write(error: WriteError) -> Refusal {
    match error {
        WriteError::Overloaded => Refusal::Overloaded,
        WriteError::Conflict | WriteError::Unavailable(_) | WriteError::Stopped => Refusal::Unavailable,
    }
}
