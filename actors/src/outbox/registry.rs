//! Which webhooks there are, known from memory, and who wakes the dispatcher.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use dashmap::DashMap;
use tokio::sync::Notify;

use super::{Filters, Outbox, Place, sql};
use crate::{
    ids::{OrgId, WebhookId},
    store::{Store, StoreError},
    writer::Op,
};

/// What must be known of a webhook to write its deliveries, and whether they may go.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Which webhook.
    pub id: WebhookId,
    /// Which events.
    pub filters: Filters,
    /// Its deliveries are sent; else they are held.
    pub enabled: bool,
    /// Grows with each change.
    pub version: i64,
}

/// Wakes the dispatcher once an op is on disk.
#[derive(Debug, Clone)]
pub struct Nudge {
    wakes: Arc<Wakes>,
    webhooks: Vec<(OrgId, WebhookId)>,
}

impl Nudge {
    /// Says that there is something to deliver.
    pub fn wake(&self) {
        self.wakes.grown(self.webhooks.iter().copied());
    }
}

/// Which webhooks have something new: never more entries than there are webhooks.
#[derive(Debug, Default)]
struct Wakes {
    grown: Mutex<HashSet<(OrgId, WebhookId)>>,
    any: Notify,
}

impl Wakes {
    fn grown(&self, webhooks: impl IntoIterator<Item = (OrgId, WebhookId)>) {
        self.grown.lock().unwrap_or_else(PoisonError::into_inner).extend(webhooks);
        self.any.notify_one();
    }
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    webhooks: DashMap<OrgId, Arc<[Subscription]>>,
    /// How many there are: what an event is asked first.
    count: AtomicUsize,
    /// The version of the registry that was read.
    version: AtomicI64,
    wakes: Arc<Wakes>,
    /// Held while the registry is read or a webhook is changed: neither overwrites what the other has just learnt.
    changing: tokio::sync::Mutex<()>,
}

/// Leave to change webhooks, one at a time in this process.
pub struct Changing<'a> {
    shared: &'a Shared,
    _one_at_a_time: tokio::sync::MutexGuard<'a, ()>,
}

impl fmt::Debug for Changing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changing")
    }
}

impl Changing<'_> {
    /// The webhook is so from now on; it has something to deliver perhaps.
    pub fn put(&self, org: OrgId, subscription: Subscription) {
        let id = subscription.id;
        self.edit(org, |known| {
            known.retain(|other| other.id != id);
            known.push(subscription);
        });
        self.shared.wakes.grown([(org, id)]);
    }

    /// The webhook is gone.
    pub fn remove(&self, org: OrgId, id: WebhookId) {
        self.edit(org, |known| known.retain(|other| other.id != id));
    }

    fn edit(&self, org: OrgId, edit: impl FnOnce(&mut Vec<Subscription>)) {
        let mut known = self.shared.webhooks.get(&org).map(|known| known.to_vec()).unwrap_or_default();
        edit(&mut known);
        if known.is_empty() {
            self.shared.webhooks.remove(&org);
        } else {
            self.shared.webhooks.insert(org, known.into());
        }
        self.shared.count.store(self.shared.webhooks.len(), Ordering::Release);
    }
}

impl Outbox {
    /// One that knows of no webhook: for rows that nobody is told of.
    #[must_use]
    pub fn of_nobody() -> Self {
        static NOBODY: LazyLock<Outbox> = LazyLock::new(Outbox::default);
        NOBODY.clone()
    }

    /// Reads which webhooks there are, if any were changed since they were last read.
    ///
    /// # Errors
    /// The store is away.
    pub async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        let version = sql::registry_version(store).await?;
        if version == self.0.version.load(Ordering::Acquire) {
            return Ok(());
        }
        let changing = self.changing().await;
        let all = sql::subscriptions(store).await?;
        let mut by_org: HashMap<OrgId, Vec<Subscription>> = HashMap::new();
        for (org, subscription) in all {
            by_org.entry(org).or_default().push(subscription);
        }
        self.0.webhooks.retain(|org, _| by_org.contains_key(org));
        self.0.count.store(by_org.len(), Ordering::Release);
        for (org, known) in by_org {
            self.0.webhooks.insert(org, known.into());
        }
        // Read before the rows: a change in between is noticed again.
        self.0.version.store(version, Ordering::Release);
        drop(changing);
        Ok(())
    }

    /// Takes leave to change webhooks.
    pub async fn changing(&self) -> Changing<'_> {
        Changing { shared: &self.0, _one_at_a_time: self.0.changing.lock().await }
    }

    /// Waits until there is something to deliver, and says for which webhooks.
    pub async fn grown(&self) -> HashSet<(OrgId, WebhookId)> {
        self.0.wakes.any.notified().await;
        std::mem::take(&mut *self.0.wakes.grown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The op has something for that webhook, beside events.
    pub fn nudge(&self, op: &mut Op, org: OrgId, webhook: WebhookId) {
        let nudge =
            op.nudge.get_or_insert_with(|| Nudge { wakes: Arc::clone(&self.0.wakes), webhooks: Vec::new() });
        nudge.webhooks.push((org, webhook));
    }

    /// There are no webhooks at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.count.load(Ordering::Acquire) == 0
    }

    /// The version of that webhook, if it is there and may be sent to.
    #[must_use]
    pub fn enabled(&self, org: OrgId, webhook: WebhookId) -> Option<i64> {
        let known = self.0.webhooks.get(&org)?;
        known.iter().find(|one| one.id == webhook && one.enabled).map(|one| one.version)
    }

    /// The webhooks of `org` that such an event is told to.
    pub(super) fn matching(&self, org: OrgId, kind: &str, place: Option<Place<'_>>) -> Vec<WebhookId> {
        let known = self.0.webhooks.get(&org).map(|known| Arc::clone(&known));
        let known = known.iter().flat_map(|known| known.iter());
        known.filter(|webhook| webhook.filters.pass(kind, place)).map(|webhook| webhook.id).collect()
    }
}
