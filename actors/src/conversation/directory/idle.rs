//! Completing conversations in which nobody says anything any more.
//!
//! Each open conversation has a row that says when it was last seen to be active. It is not touched by messages: what
//! was not seen for long is looked at, and either it is idle or the row is brought up to date. So a message costs
//! nothing, a completed conversation has no row, and a restart loses nothing.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tracing::warn;

use super::Directory;
use crate::{
    audit::By,
    clock::Timestamp,
    conversation::{
        messages::{Command, ConversationKey, Refusal},
        record::{Resolution, Status},
        sql::idle::{self, Unseen},
    },
    store::StoreError,
    writer::Op,
};

/// Conversations looked at in one round, and how many of them are completed at once.
const ROUND: i64 = 200;
const COMPLETED_AT_ONCE: usize = 16;

/// Rounds of one pass: after a long stop many may be idle, and each that is completed stays in memory for a while.
const ROUNDS: usize = 50;

/// When one that could not be completed is looked at again.
const AGAIN_AFTER_MS: i64 = 600_000;

impl Directory {
    /// Completes conversations in which nothing was said for that long, up to a bound, and says how many.
    ///
    /// # Errors
    /// The store is away.
    pub async fn complete_idle(&self, idle_for: Duration) -> Result<usize, StoreError> {
        let now = Timestamp::now();
        let until = now.plus_ms(-i64::try_from(idle_for.as_millis()).unwrap_or(i64::MAX));
        let mut completed = 0;
        for _ in 0..ROUNDS {
            let unseen = idle::unseen_since(self.store(), until, ROUND).await?;
            let found = unseen.len() as i64;
            let (idle, mut op) = self.sort_out(unseen, until, now);
            let ended = stream::iter(idle)
                .map(|(key, status)| async move { (key, self.complete_one(key, &status, until).await) });
            for (key, ended) in ended.buffer_unordered(COMPLETED_AT_ONCE).collect::<Vec<_>>().await {
                match ended {
                    Ok(()) => completed += 1,
                    Err(Refusal::NotFound) => idle::closed(&mut op, key.1),
                    // Somebody has just said something, or answers: the next round sees it.
                    Err(Refusal::VersionConflict) => idle::seen(&mut op, key.1, now),
                    Err(refusal) => {
                        warn!(org.id = %key.0, conversation.id = %key.1, error = %refusal,
                            "an idle conversation was not completed yet");
                        idle::seen(&mut op, key.1, until.plus_ms(AGAIN_AFTER_MS));
                    }
                }
            }
            if !op.is_empty()
                && let Err(error) = self.writer().commit(op).await
            {
                warn!(%error, "what was seen of open conversations was not stored");
                break;
            }
            if found < ROUND {
                break;
            }
        }
        Ok(completed)
    }

    /// Those that are idle, and what is to be noted of the others.
    fn sort_out(
        &self,
        unseen: Vec<Unseen>,
        until: Timestamp,
        now: Timestamp,
    ) -> (Vec<(ConversationKey, String)>, Op) {
        let (mut idle, mut op) = (Vec::new(), Op::default());
        for Unseen { org_id, conversation_id, active_at, status, active_turn_id } in unseen {
            match (active_at, status) {
                (Some(active_at), Some(status)) if status != Status::Completed.as_str() => {
                    if active_turn_id.is_some() {
                        idle::seen(&mut op, conversation_id, now);
                    } else if active_at > until {
                        idle::seen(&mut op, conversation_id, active_at);
                    } else {
                        idle.push(((org_id, conversation_id), status));
                    }
                }
                _ => idle::closed(&mut op, conversation_id),
            }
        }
        (idle, op)
    }

    async fn complete_one(
        &self,
        key: ConversationKey,
        status: &str,
        until: Timestamp,
    ) -> Result<(), Refusal> {
        // Somebody waits for a person, or was left with one.
        let resolution = if status == Status::Active.as_str() {
            idle::resolution(self.store(), key).await.map_err(|error| {
                warn!(%error, "the last answer of an idle conversation could not be read");
                Refusal::Unavailable
            })?
        } else {
            Resolution::Unresolved
        };
        let complete = Command::Complete {
            resolution: Some(resolution),
            idempotency: None,
            by: Some(By::System),
            quiet_since: Some(until.plus_ms(1)),
        };
        self.ask(key, complete).await.map(drop)
    }
}
