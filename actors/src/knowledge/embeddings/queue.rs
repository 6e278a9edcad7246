//! What is to be done in the background: articles that were noted, and organizations that are looked through, in turn.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::ids::{ArticleId, OrgId};
use crate::metrics::METRICS;

/// Articles of one organization that are noted one by one; of more, all are looked through.
const MOST_NOTED: usize = 1_000;

/// Articles that were written and want vectors.
#[derive(Debug, Default)]
pub(in super::super) struct Noted {
    articles: Mutex<HashMap<OrgId, HashSet<ArticleId>>>,
    pub(super) came: Notify,
}

impl Noted {
    /// These articles were written.
    pub(in super::super) fn note(&self, org: OrgId, written: impl IntoIterator<Item = ArticleId>) {
        let mut articles = self.articles.lock().unwrap_or_else(PoisonError::into_inner);
        let of_org = articles.entry(org).or_default();
        // Beyond that, the next look finds them.
        of_org.extend(written.into_iter().take(MOST_NOTED.saturating_sub(of_org.len())));
        drop(articles);
        self.came.notify_one();
    }

    pub(super) fn take(&self) -> HashMap<OrgId, HashSet<ArticleId>> {
        std::mem::take(&mut self.articles.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What of an organization is to be done.
#[derive(Debug)]
pub(super) enum Work {
    /// These articles.
    These(Vec<ArticleId>),
    /// All that lack vectors behind this one.
    Behind(Option<ArticleId>),
}

/// What is to be done, organization by organization.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) work: VecDeque<(OrgId, Work)>,
    /// Articles without vectors, by the last look.
    missing: BTreeMap<OrgId, i64>,
}

impl Queue {
    pub(super) fn note(&mut self, noted: HashMap<OrgId, HashSet<ArticleId>>) {
        for (org, articles) in noted {
            *self.missing.entry(org).or_default() += articles.len() as i64;
            self.work.push_back((org, Work::These(articles.into_iter().collect())));
        }
        self.show();
    }

    pub(super) fn look(&mut self, missing: Vec<(OrgId, i64)>) {
        self.missing = missing.into_iter().collect();
        for org in self.missing.keys() {
            let is_known = |(known, work): &(OrgId, Work)| known == org && matches!(work, Work::Behind(_));
            if !self.work.iter().any(is_known) {
                self.work.push_back((*org, Work::Behind(None)));
            }
        }
        self.show();
    }

    /// So many articles are done, and this is left of the work that they were.
    pub(super) fn done(&mut self, org: OrgId, articles: usize, rest: Option<Work>) {
        self.work.extend(rest.map(|rest| (org, rest)));
        match self.missing.get_mut(&org) {
            Some(missing) if self.work.iter().any(|(waiting, _)| *waiting == org) => {
                *missing = (*missing - articles as i64).max(0);
            }
            // Some were counted twice: noted, and found by a look.
            _ => drop(self.missing.remove(&org)),
        }
        self.show();
    }

    fn show(&self) {
        METRICS.embeddings_pending.set(self.missing.values().sum());
    }
}
