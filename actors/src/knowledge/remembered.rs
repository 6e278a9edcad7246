//! What was searched for lately in one organization, and found: popular questions are asked again and again.
//!
//! Whatever is remembered belongs to one state of the index. The first search after a change forgets all of it, so
//! nobody gets what is no more. What a question means outlives such a change: it depends on no article.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::embeddings::Meaning;
use super::index::{Hit, Query};

/// Searches of one organization. Each holds a few hits, which hold articles that the index holds anyway.
const MOST: usize = 256;

/// Characters of a search that is remembered: longer ones are pasted, and never come twice.
const LONGEST: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// The state of the index that it belongs to.
    state: u64,
    found: HashMap<Query, Vec<Hit>>,
    /// Oldest first.
    order: VecDeque<Query>,
    /// What questions mean, whatever the index holds.
    meanings: HashMap<Vec<String>, Arc<Meaning>>,
    /// Oldest first.
    meant: VecDeque<Vec<String>>,
}

impl Remembered {
    /// What `query`, normalised, found in that state of the index.
    pub(super) fn get(&self, query: &Query, state: u64) -> Option<Vec<Hit>> {
        self.found.get(query).filter(|_| self.state == state).cloned()
    }

    /// What `turns`, normalised, mean.
    pub(super) fn meaning(&self, turns: &[String]) -> Option<Arc<Meaning>> {
        self.meanings.get(turns).map(Arc::clone)
    }

    /// Keeps what `turns`, normalised, mean.
    pub(super) fn keep_meaning(&mut self, turns: Vec<String>, meaning: Arc<Meaning>) {
        if turns.iter().map(String::len).sum::<usize>() > LONGEST {
            return;
        }
        if self.meanings.insert(turns.clone(), meaning).is_none() {
            self.meant.push_back(turns);
        }
        if self.meant.len() > MOST
            && let Some(oldest) = self.meant.pop_front()
        {
            self.meanings.remove(&oldest);
        }
    }

    /// Keeps what `query`, normalised, found in that state of the index.
    pub(super) fn keep(&mut self, query: Query, hits: &[Hit], state: u64) {
        if state < self.state || query.turns.iter().map(String::len).sum::<usize>() > LONGEST {
            return;
        }
        if state > self.state {
            self.found.clear();
            self.order.clear();
            self.state = state;
        }
        if self.found.insert(query.clone(), hits.to_vec()).is_none() {
            self.order.push_back(query);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.found.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query { turns: vec![text.to_owned()], ..Query::default() }.normalised()
    }

    #[test]
    fn the_same_question_however_it_is_written_is_found_again_until_something_changes() {
        let mut remembered = Remembered::default();
        remembered.keep(query("Where is  my parcel?\n"), &[], 1);
        assert!(remembered.get(&query(" where is my PARCEL?"), 1).is_some());
        assert!(remembered.get(&query("where is your parcel?"), 1).is_none());
        assert!(remembered.get(&query("where is my parcel?"), 2).is_none());
        remembered.keep(query("refund"), &[], 2);
        remembered.keep(query("too late"), &[], 1);
        assert!(remembered.get(&query("where is my parcel?"), 2).is_none());
        assert!(remembered.get(&query("too late"), 2).is_none());
    }

    #[test]
    fn only_so_much_is_remembered() {
        let mut remembered = Remembered::default();
        (0..=MOST).for_each(|n| remembered.keep(query(&n.to_string()), &[], 0));
        assert_eq!((remembered.found.len(), remembered.order.len()), (MOST, MOST));
        assert!(remembered.get(&query("0"), 0).is_none() && remembered.get(&query("1"), 0).is_some());
        remembered.keep(query(&"x".repeat(LONGEST + 1)), &[], 0);
        assert_eq!(remembered.found.len(), MOST);
    }
}
