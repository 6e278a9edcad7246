//! An organization: the tenant that everything belongs to, and what it has chosen.

mod opening;
mod settings;
mod sql;

use std::{fmt, sync::Arc, time::Duration};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use self::{
    opening::{NextOpening, OpensOn},
    settings::{Hours, OpeningHours, OpeningHoursPatch, Settings, Weekday},
    sql::{exists, insert},
};
use crate::{
    clock::Timestamp,
    ids::OrgId,
    patch::{self, Change, InvalidField},
    store::{Store, StoreError},
    writer::{Op, WriteError, Writer},
};

/// A name for people.
const NAME_LONGEST: usize = 200;

/// How long an organization is trusted to be as it was read.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// How old it may be for what must not wait for the store: a new reading is begun at once, for the next who asks.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// Beyond this many remembered organizations, those that were not read lately are dropped.
const REMEMBERED: usize = 10_000;

/// Two who change one organization at once: the second reads it anew.
const ROUNDS: usize = 4;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Organization {
    /// Part of every look-up key.
    pub id: OrgId,
    /// For people.
    pub name: String,
    /// What it has chosen.
    #[serde(flatten)]
    pub settings: Settings,
    /// Since when.
    pub created_at: Timestamp,
}

/// A merge patch of an organization, as a client sends it; checked when it is applied.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of Organization and Settings")]
pub struct OrganizationPatch {
    pub name: Change<String>,
    pub timezone: Change<String>,
    pub languages: Change<Vec<String>>,
    pub retention_days: Change<u32>,
    pub reopen_on_message: Change<bool>,
    pub handover_timeout_seconds: Change<u32>,
    pub handover_on_failure: Change<bool>,
    pub answer_while_waiting: Change<bool>,
    pub opening_hours: Change<OpeningHoursPatch>,
    pub strict_grounding: Change<bool>,
    pub answer_threshold: Change<f64>,
    pub suggest_threshold: Change<f64>,
    pub minutes_per_conversation: Change<f64>,
}

/// Why an organization was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OrganizationError {
    /// None of that id.
    #[error("no such organization")]
    NotFound,
    /// A field cannot be so.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Organization {
    /// A new one: everything that the patch does not say has its default.
    ///
    /// # Errors
    /// There is no name, or a field cannot be so.
    pub fn new(patch: OrganizationPatch, now: Timestamp) -> Result<Self, InvalidField> {
        let nameless = Self {
            id: OrgId::generate(),
            name: String::new(),
            settings: Settings::default(),
            created_at: now,
        };
        let organization = nameless.patched(patch)?;
        name(&organization.name)?;
        Ok(organization)
    }

    fn patched(self, mut patch: OrganizationPatch) -> Result<Self, InvalidField> {
        let name = match std::mem::take(&mut patch.name) {
            Change::Keep => self.name,
            Change::Reset => return Err(InvalidField::new("name", "must not be null")),
            Change::Set(new) => {
                name(&new)?;
                new
            }
        };
        Ok(Self { name, settings: self.settings.patched(patch)?, ..self })
    }
}

fn name(text: &str) -> Result<(), InvalidField> {
    patch::text("name", text, NAME_LONGEST)?;
    match text.trim() {
        "" => Err(InvalidField::new("name", "must not be empty")),
        _ => Ok(()),
    }
}

/// All organizations. Cheap to clone.
#[derive(Clone)]
pub struct Organizations {
    store: Store,
    writer: Writer,
    known: Arc<DashMap<OrgId, Known>>,
}

/// An organization as it was read.
struct Known {
    since: Instant,
    organization: Arc<Organization>,
    /// Somebody is reading it anew.
    is_renewed: bool,
}

impl Organizations {
    /// Those of this store.
    #[must_use]
    pub fn new(store: &Store, writer: &Writer) -> Self {
        Self { store: store.clone(), writer: writer.clone(), known: Arc::default() }
    }

    /// The organization as it was at most a second ago: for decisions that are made all the time.
    ///
    /// # Errors
    /// The store is away.
    pub async fn recent(&self, org: OrgId) -> Result<Option<Arc<Organization>>, StoreError> {
        if let Some(known) = self.known.get(&org)
            && known.since.elapsed() < TRUSTED_FOR
        {
            return Ok(Some(Arc::clone(&known.organization)));
        }
        self.read(org).await
    }

    async fn read(&self, org: OrgId) -> Result<Option<Arc<Organization>>, StoreError> {
        let asked = Instant::now();
        let Some(stored) = sql::get(&self.store, org).await? else { return Ok(None) };
        let organization = Arc::new(stored.organization);
        if self.known.len() >= REMEMBERED {
            self.known.retain(|_, known| known.since.elapsed() < TRUSTED_FOR);
        }
        let known = Known { since: asked, organization: Arc::clone(&organization), is_renewed: false };
        self.known.insert(org, known);
        Ok(Some(organization))
    }

    /// The same without waiting, as it was at most some seconds ago, if it was asked for at all: what was changed
    /// through this process is known at once. Many who wait for one reading would all go on at the same moment.
    #[must_use]
    pub fn lately(&self, org: OrgId) -> Option<Arc<Organization>> {
        let mut known = self.known.get_mut(&org)?;
        let age = known.since.elapsed();
        if age >= REMEMBERED_FOR {
            return None;
        }
        if age >= TRUSTED_FOR && !std::mem::replace(&mut known.is_renewed, true) {
            let own = self.clone();
            tokio::spawn(async move {
                // Erased meanwhile, or the store is away: whoever waits for it finds that out.
                if !matches!(own.read(org).await, Ok(Some(_))) {
                    own.known.remove(&org);
                }
            });
        }
        Some(Arc::clone(&known.organization))
    }

    /// The organization as it is.
    ///
    /// # Errors
    /// There is none of that id, or the store is away.
    pub async fn get(&self, org: OrgId) -> Result<Organization, OrganizationError> {
        let stored = sql::get(&self.store, org).await?.ok_or(OrganizationError::NotFound)?;
        Ok(stored.organization)
    }

    /// Up to `limit` organizations, oldest first, from after `after`.
    ///
    /// # Errors
    /// The store is away.
    pub async fn oldest(&self, after: Option<OrgId>, limit: i64) -> Result<Vec<Organization>, StoreError> {
        sql::oldest(&self.store, after, limit).await
    }

    /// Applies the patch.
    ///
    /// # Errors
    /// See [`OrganizationError`].
    pub async fn change(
        &self,
        org: OrgId,
        patch: OrganizationPatch,
    ) -> Result<Organization, OrganizationError> {
        for _ in 1..ROUNDS {
            match self.attempt(org, patch.clone()).await {
                Err(OrganizationError::Write(WriteError::Conflict)) => {}
                ended => return ended,
            }
        }
        self.attempt(org, patch).await
    }

    async fn attempt(&self, org: OrgId, patch: OrganizationPatch) -> Result<Organization, OrganizationError> {
        let before = sql::get(&self.store, org).await?.ok_or(OrganizationError::NotFound)?;
        let after = before.organization.clone().patched(patch)?;
        let mut op = Op::default();
        sql::update(&mut op, &before, &after);
        let written = self.writer.commit(op).await;
        self.known.remove(&org);
        written?;
        Ok(after)
    }
}

impl fmt::Debug for Organizations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Organizations").finish_non_exhaustive()
    }
}
