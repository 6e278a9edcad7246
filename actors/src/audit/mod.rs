//! Who did what to keys, webhooks, handovers and erased conversations.
//!
//! An [`Entry`] travels in the [`Op`] of the deed that it tells of: there is none without the other, and none of what
//! was refused. It names things by their ids and keys by their names, never a secret or a word of a conversation; a
//! customer who was erased is a keyed hash, so that whoever knows the id can ask, and nobody can read it.

mod action;
mod sql;

use std::{fmt, sync::Arc};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

pub use self::{
    action::{Action, ActionFilter},
    sql::AuditFilter,
};
use crate::{
    clock::Timestamp,
    ids::{AuditId, ConversationId, HandoverId, KeyId, OrgId, WebhookId},
    store::{Store, StoreError},
    writer::{Op, WriteError, Writer},
};

/// Thirteen months: whoever looks back on a year finds all of it.
const KEPT_MS: i64 = 400 * 24 * 3_600 * 1_000;

/// Entries dropped in one commit: other writers wait for it.
const SWEPT_AT_ONCE: i64 = 500;

/// On whose word something was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// Whoever runs the server: by the admin token or by a command on its machine.
    Operator,
    /// Nobody: a rule that was set before.
    System,
    /// The customer, in their own words.
    Customer,
    /// A person of the organization's.
    Agent {
        /// The company's own id of them.
        id: String,
        /// What they are called.
        name: Option<String>,
    },
    /// Who holds that key.
    Key {
        /// Which.
        id: KeyId,
        /// What it was called then.
        name: Arc<str>,
    },
}

impl By {
    fn kind(&self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::System => "system",
            Self::Customer => "customer",
            Self::Agent { .. } => "agent",
            Self::Key { .. } => "key",
        }
    }

    fn id(&self) -> Option<String> {
        match self {
            Self::Operator | Self::System | Self::Customer => None,
            Self::Agent { id, .. } => Some(id.clone()),
            Self::Key { id, .. } => Some(id.to_string()),
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Operator | Self::System | Self::Customer => None,
            Self::Agent { name, .. } => name.as_deref(),
            Self::Key { name, .. } => Some(name).filter(|name| !name.is_empty()).map(AsRef::as_ref),
        }
    }
}

/// What it was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A key.
    Key(KeyId),
    /// A webhook.
    Webhook(WebhookId),
    /// A handover.
    Handover(HandoverId),
    /// A conversation.
    Conversation(ConversationId),
    /// A customer, by the hash that [`Audit::customer`] makes. Each conversation that is erased is counted.
    Customer(String),
    /// Conversations of no one customer. Each that is erased is counted.
    Conversations,
}

impl Target {
    fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Webhook(_) => "webhook",
            Self::Handover(_) => "handover",
            Self::Conversation(_) => "conversation",
            Self::Customer(_) => "customer",
            Self::Conversations => "conversations",
        }
    }

    fn id(&self) -> Option<String> {
        match self {
            Self::Key(id) => Some(id.to_string()),
            Self::Webhook(id) => Some(id.to_string()),
            Self::Handover(id) => Some(id.to_string()),
            Self::Conversation(id) => Some(id.to_string()),
            Self::Customer(hash) => Some(hash.clone()),
            Self::Conversations => None,
        }
    }

    fn is_counted(&self) -> bool {
        matches!(self, Self::Customer(_) | Self::Conversations)
    }
}

/// One deed. It is read back where a deed takes more than one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    id: AuditId,
    org: OrgId,
    by: By,
    action: Action,
    target: Target,
    at: Timestamp,
}

impl Entry {
    /// It is done now.
    #[must_use]
    pub fn new(org: OrgId, by: By, action: Action, target: Target) -> Self {
        Self { id: AuditId::generate(), org, by, action, target, at: Timestamp::now() }
    }

    /// When it is done.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Adds the entry to the op of the deed. One that erases conversations is added to the op of each: the first makes
    /// it, and all count.
    pub fn write(&self, op: &mut Op) {
        if self.target.is_counted() { sql::count(op, self) } else { sql::insert(op, self) }
    }
}

/// An entry as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryView {
    /// Sorts by time.
    pub id: AuditId,
    /// What was done: `key.created`, …
    pub action: String,
    /// Who did it.
    pub actor: ActorView,
    /// What it was done to.
    pub target: TargetView,
    /// When.
    pub created_at: Timestamp,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActorView {
    /// `key`, `agent`, `customer`, `operator`, `system`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// What it was called then.
    pub name: Option<String>,
}

/// What something was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetView {
    /// `key`, `webhook`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id; a customer's is a hash of the customer's own.
    pub id: Option<String>,
    /// How many conversations were erased, where that is no one conversation.
    pub count: Option<i64>,
}

/// The log of all organizations. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    store: Store,
    writer: Writer,
    hashes: Hmac<Sha256>,
}

impl Audit {
    /// What its key is made for.
    pub const PURPOSE: &str = "hashes of erased customers";

    /// `key` makes the hashes of customers: with another one, entries that are there cannot be found by customer.
    #[must_use]
    pub fn new(store: Store, writer: Writer, key: [u8; 32]) -> Self {
        // A shorter key is the same key with noughts behind it.
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(&key);
        Self { store, writer, hashes: Hmac::new(&block.into()) }
    }

    /// What stands for a customer of `org` in the log.
    #[must_use]
    pub fn customer(&self, org: OrgId, customer: &str) -> String {
        let mut hash = self.hashes.clone();
        // An organization's id has one length: no two pairs are the same bytes.
        hash.update(org.to_string().as_bytes());
        hash.update(customer.as_bytes());
        hash.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Entries of `org` in the order of their ids, from after that one.
    ///
    /// # Errors
    /// The store is away.
    pub async fn list(
        &self,
        org: OrgId,
        filter: &AuditFilter,
        slice: (Option<AuditId>, bool),
        rows: i64,
    ) -> Result<Vec<EntryView>, StoreError> {
        sql::list(&self.store, org, filter, slice, rows).await
    }

    /// Drops what is older than entries are kept.
    ///
    /// # Errors
    /// The store is away.
    pub async fn sweep(&self) -> Result<(), AuditError> {
        let edge = AuditId::edge_at(Timestamp::now().plus_ms(-KEPT_MS));
        while sql::any_before(&self.store, edge).await? {
            let mut op = Op::default();
            sql::drop_before(&mut op, edge, SWEPT_AT_ONCE);
            self.writer.commit(op).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

/// The log could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
