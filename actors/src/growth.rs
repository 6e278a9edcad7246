//! The news that the log has grown. It wakes, and carries nothing: whoever is woken reads the log.
//!
//! The writer tells it after each commit, so telling must cost next to nothing: what nobody waits for is a look at a
//! counter.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dashmap::DashMap;
use tokio::sync::Notify;

use crate::ids::OrgId;

#[derive(Debug, Default)]
struct Shared {
    /// For whoever reads all of it.
    any: Notify,
    /// Organizations whose part of it somebody watches, and how many do.
    watched: DashMap<OrgId, usize>,
    watchers: AtomicUsize,
    of_watched: Notify,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Growth(Arc<Shared>);

/// As long as it is held, growth of one organization's part of the log is told.
#[derive(Debug)]
pub struct Watch {
    growth: Growth,
    org: OrgId,
}

impl Growth {
    /// Events of these organizations are on disk.
    pub fn tell(&self, orgs: impl Iterator<Item = OrgId>) {
        let (mut any, mut of_watched) = (false, false);
        let watched = self.0.watchers.load(Ordering::Acquire) > 0;
        for org in orgs {
            any = true;
            if !watched {
                break;
            }
            if self.0.watched.contains_key(&org) {
                of_watched = true;
                break;
            }
        }
        if any {
            self.0.any.notify_one();
        }
        if of_watched {
            self.0.of_watched.notify_one();
        }
    }

    /// Waits for growth of any kind since the last wait. For one waiter.
    pub async fn any(&self) {
        self.0.any.notified().await;
    }

    /// Waits for growth of what is watched since the last wait, or for a new watch. For one waiter.
    pub async fn of_watched(&self) {
        self.0.of_watched.notified().await;
    }

    /// Watches an organization's part.
    #[must_use]
    pub fn watch(&self, org: OrgId) -> Watch {
        *self.0.watched.entry(org).or_default() += 1;
        self.0.watchers.fetch_add(1, Ordering::AcqRel);
        self.0.of_watched.notify_one();
        Watch { growth: self.clone(), org }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let shared = &self.growth.0;
        if let Some(mut watchers) = shared.watched.get_mut(&self.org) {
            *watchers -= 1;
        }
        shared.watched.remove_if(&self.org, |_, watchers| *watchers == 0);
        shared.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[actix::test]
    async fn only_what_is_watched_wakes_a_watcher() {
        let growth = Growth::default();
        let (ours, theirs) = (OrgId::generate(), OrgId::generate());
        growth.tell([ours].into_iter());
        assert!(growth.any().now_or_never().is_some());
        assert!(growth.of_watched().now_or_never().is_none());
        let watch = growth.watch(ours);
        assert!(growth.of_watched().now_or_never().is_some(), "a new watch is news");
        growth.tell([theirs].into_iter());
        assert!(growth.of_watched().now_or_never().is_none());
        growth.tell([theirs, ours].into_iter());
        assert!(growth.of_watched().now_or_never().is_some());
        drop(watch);
        growth.tell([ours].into_iter());
        assert!(growth.of_watched().now_or_never().is_none());
    }
}
