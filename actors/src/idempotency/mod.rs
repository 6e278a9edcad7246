//! Requests that may be sent twice: what the first of them did is what every repeat is answered from.
//!
//! While the first runs, its repeats wait for it here, so that one of many reaches the store. Afterwards the row knows
//! that was stored in the transaction of its effect: it holds references, never an answer's text.

mod sql;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use dashmap::{DashMap, Entry};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;

use crate::{
    clock::Timestamp,
    ids::{
        ArticleId, ConversationId, DeliveryId, HandoverId, ImportId, KeyId, MessageId, OrgId, ReplayId,
        TurnId, WebhookId,
    },
    store::{Store, StoreError},
    writer::{Op, Row, WriteError, Writer},
};

/// Repeats that may wait for one first request. A client that sends more of them at once is in a loop.
const MOST_WAITING: usize = 64;

/// How long an effect is remembered: a day, in milliseconds.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// What a request did, as references to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Effect {
    /// A conversation began, perhaps with a message.
    Started {
        /// The conversation.
        conversation: ConversationId,
        /// Its first message.
        message: Option<MessageId>,
    },
    /// A message was stored.
    Message {
        /// Its conversation.
        conversation: ConversationId,
        /// The message, which knows its turn.
        message: MessageId,
    },
    /// A turn was tried again.
    Retry {
        /// Its conversation.
        conversation: ConversationId,
        /// The new turn.
        turn: TurnId,
    },
    /// A turn was stopped, or nothing ran.
    Stopped {
        /// Its conversation.
        conversation: ConversationId,
        /// The turn.
        turn: Option<TurnId>,
    },
    /// A conversation was changed: completed, rated.
    Conversation {
        /// The conversation.
        conversation: ConversationId,
    },
    /// A person was asked for, or something was done to a handover.
    Handover {
        /// Its conversation.
        conversation: ConversationId,
        /// The handover.
        handover: HandoverId,
        /// It was requested by this very request.
        created: bool,
    },
    /// A key was made or got a new secret.
    Key {
        /// The key.
        key: KeyId,
    },
    /// An organization was made.
    Organization {
        /// The organization.
        organization: OrgId,
        /// Its first key.
        primary: KeyId,
        /// Its second key.
        secondary: KeyId,
    },
    /// An article was made.
    Article {
        /// The article.
        article: ArticleId,
    },
    /// Articles were imported.
    Import {
        /// The import.
        import: ImportId,
    },
    /// A webhook was made or got a new secret.
    Webhook {
        /// The webhook.
        webhook: WebhookId,
    },
    /// An event is delivered once more.
    Delivery {
        /// The new delivery.
        delivery: DeliveryId,
    },
    /// Events are delivered once more.
    Replay {
        /// The replay.
        replay: ReplayId,
    },
    /// A webhook was tested. Nothing else remembers that, so the answer itself is what a repeat is answered from.
    Tested {
        /// Its JSON.
        answer: String,
    },
    /// Something that leaves nothing to refer to.
    Nothing,
}

impl Effect {
    /// The conversation it belongs to: a row goes with its conversation.
    fn conversation(&self) -> Option<ConversationId> {
        match *self {
            Self::Started { conversation, .. }
            | Self::Message { conversation, .. }
            | Self::Retry { conversation, .. }
            | Self::Stopped { conversation, .. }
            | Self::Handover { conversation, .. }
            | Self::Conversation { conversation } => Some(conversation),
            Self::Webhook { .. }
            | Self::Delivery { .. }
            | Self::Replay { .. }
            | Self::Tested { .. }
            | Self::Key { .. }
            | Self::Organization { .. }
            | Self::Article { .. }
            | Self::Import { .. }
            | Self::Nothing => None,
        }
    }
}

/// A request that names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The credential: keys of different callers never meet.
    pub scope: String,
    /// The client's `Idempotency-Key`.
    pub key: String,
    /// A hash of everything that makes two requests the same.
    pub fingerprint: String,
}

/// Whether a request is the first of its name.
#[derive(Debug)]
pub enum Begun {
    /// It is: act, then say what was done.
    First(Ticket),
    /// It is a repeat of one that did this.
    Repeat(Effect),
}

/// Why a request cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The name was used for another request.
    #[error("the idempotency key was used for another request")]
    Reused,
    /// Too many repeats wait for the first already.
    #[error("too many repeats of one request are waiting")]
    TooManyWaiting,
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

type Name = (String, String);

/// The first request of a name, while it runs.
#[derive(Debug)]
struct Running {
    fingerprint: String,
    effect: watch::Receiver<Option<Effect>>,
    waiting: Arc<AtomicUsize>,
}

/// All requests that named themselves. Cheap to clone.
#[derive(Clone)]
pub struct Idempotency(Arc<Shared>);

struct Shared {
    store: Store,
    writer: Writer,
    running: DashMap<Name, Running>,
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency").field("running", &self.0.running.len()).finish_non_exhaustive()
    }
}

impl Idempotency {
    /// Nothing runs yet; what was done before is in the store.
    #[must_use]
    pub fn new(store: Store, writer: Writer) -> Self {
        Self(Arc::new(Shared { store, writer, running: DashMap::new() }))
    }

    /// Waits for the first request of that name, if one runs, and says what there is to do.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub async fn begin(&self, asked: Asked) -> Result<Begun, BeginError> {
        loop {
            let (mut first, _place) = match self.claim(&asked)? {
                Claim::Won(ticket) => return self.look_up(ticket).await,
                Claim::Waits(first, place) => (first, place),
            };
            if let Ok(effect) = first.wait_for(Option::is_some).await
                && let Some(effect) = effect.clone()
            {
                return Ok(Begun::Repeat(effect));
            }
            // The first was refused: the name is free again, for whoever comes first now.
        }
    }

    /// Forgets what is older than a day.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn sweep(&self) -> Result<(), WriteError> {
        let mut op = Op::default();
        sql::forget_before(&mut op, Timestamp::now().plus_ms(-KEPT_MS));
        self.0.writer.commit(op).await
    }

    fn claim(&self, asked: &Asked) -> Result<Claim, BeginError> {
        match self.0.running.entry((asked.scope.clone(), asked.key.clone())) {
            Entry::Occupied(running) => running.get().join(&asked.fingerprint),
            Entry::Vacant(free) => {
                let (tell, effect) = watch::channel(None);
                let fingerprint = asked.fingerprint.clone();
                free.insert(Running { fingerprint, effect, waiting: Arc::default() });
                Ok(Claim::Won(Ticket { shared: Arc::clone(&self.0), asked: asked.clone(), tell }))
            }
        }
    }

    /// Nobody else runs under this name: does the store know it?
    async fn look_up(&self, ticket: Ticket) -> Result<Begun, BeginError> {
        let Some(known) = sql::find(&self.0.store, &ticket.asked).await? else {
            return Ok(Begun::First(ticket));
        };
        if known.created_at.plus_ms(KEPT_MS) <= Timestamp::now() {
            // Swept at once, because the new row will have the same key.
            let mut op = Op::default();
            sql::forget(&mut op, &ticket.asked);
            self.0.writer.commit(op).await?;
            return Ok(Begun::First(ticket));
        }
        if known.fingerprint != ticket.asked.fingerprint {
            return Err(BeginError::Reused);
        }
        ticket.done(known.effect.clone());
        Ok(Begun::Repeat(known.effect))
    }
}

enum Claim {
    Won(Ticket),
    Waits(watch::Receiver<Option<Effect>>, Place),
}

impl Running {
    fn join(&self, fingerprint: &str) -> Result<Claim, BeginError> {
        if self.fingerprint != fingerprint {
            return Err(BeginError::Reused);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(BeginError::TooManyWaiting);
        }
        Ok(Claim::Waits(self.effect.clone(), Place(Arc::clone(&self.waiting))))
    }
}

/// One that waits, counted while it is held.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to act under a name. Dropped without [`done`](Ticket::done) it leaves the name free.
pub struct Ticket {
    shared: Arc<Shared>,
    asked: Asked,
    tell: watch::Sender<Option<Effect>>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Ticket {
    /// What is stored with the effect.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { asked: self.asked.clone(), writer: self.shared.writer.clone() }
    }

    /// The effect is stored: those who wait are answered from it.
    pub fn done(self, effect: Effect) {
        self.tell.send_replace(Some(effect));
    }

    /// Acting failed in a way that leaves open what is stored. `Some`: the effect of this very request is.
    pub async fn was_done_after_all(&self) -> Option<Effect> {
        let known = sql::find(&self.shared.store, &self.asked).await.ok().flatten()?;
        (known.fingerprint == self.asked.fingerprint).then_some(known.effect)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.running.remove(&(self.asked.scope.clone(), self.asked.key.clone()));
    }
}

/// Makes the row by which a repeat is recognised.
#[derive(Debug, Clone)]
pub struct Stamp {
    asked: Asked,
    writer: Writer,
}

impl Stamp {
    /// To be stored in the transaction of the effect.
    #[must_use]
    pub fn row(&self, effect: &Effect) -> Row {
        sql::row(&self.asked, effect, Timestamp::now(), sql::Twice::Conflict)
    }

    /// Remembers an effect that stores nothing of its own, or stored nothing this time. Doing such a thing twice is
    /// the same as doing it once, so nothing is lost with the row.
    pub async fn record(&self, effect: &Effect) {
        let mut op = Op::default();
        op.rows.push(sql::row(&self.asked, effect, Timestamp::now(), sql::Twice::Ignored));
        if let Err(error) = self.writer.commit(op).await {
            warn!(%error, "a request's effect was not remembered");
        }
    }
}
