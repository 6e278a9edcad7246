//! The cubes in memory, of all organizations: bounded, the least lately asked ones leave.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use super::{cube::Cube, sql::cells::Place, tally::Tally};
use crate::{clock::Timestamp, ids::OrgId};

/// Cells of all cubes together: at about 300 bytes each these are 80 MB, and a large organization has 30,000 a year.
const MOST_CELLS: usize = 260_000;

/// An organization and a time zone.
pub(super) type Key = (OrgId, String);

/// A cube that others read while the fold changes it.
pub(super) type Kept = Arc<RwLock<Cube>>;

/// Where a time zone is answered from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// From memory.
    Memory(Kept),
    /// From the store: it is too large.
    Store,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Cubes {
    kept: HashMap<Key, (Kept, Timestamp)>,
    large: HashSet<Key>,
}

impl Cubes {
    /// Where the answers of that time zone come from. None: it must be opened first.
    pub(super) fn find(&mut self, key: &Key) -> Option<Source> {
        if let Some((cube, used)) = self.kept.get_mut(key) {
            *used = Timestamp::now();
            return Some(Source::Memory(Arc::clone(cube)));
        }
        self.large.contains(key).then_some(Source::Store)
    }

    /// When that time zone was last asked in.
    pub(super) fn used(&self, key: &Key, stored: Timestamp) -> Timestamp {
        self.kept.get(key).map_or(stored, |(_, used)| (*used).max(stored))
    }

    pub(super) fn keep(&mut self, key: Key, cube: Cube) {
        let mut cells = cube.len() + self.kept.values().map(|(kept, _)| len(kept)).sum::<usize>();
        while cells > MOST_CELLS {
            let oldest = self.kept.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            let Some((cube, _)) = oldest.and_then(|key| self.kept.remove(&key)) else { break };
            cells -= len(&cube);
        }
        self.kept.insert(key, (Arc::new(RwLock::new(cube)), Timestamp::now()));
    }

    pub(super) fn is_large(&mut self, key: Key) {
        self.large.insert(key);
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.kept.remove(key);
        self.large.remove(key);
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.large.clear();
    }

    /// The sums at those places, as far as there are some. None: they are not in memory.
    pub(super) fn sums(&self, key: &Key, places: &HashMap<Place, Tally>) -> Option<Vec<(Place, Tally)>> {
        let (cube, _) = self.kept.get(key)?;
        let cube = cube.read().unwrap_or_else(PoisonError::into_inner);
        let found = places.keys().filter_map(|place| Some((place.clone(), cube.get(place)?.clone())));
        Some(found.collect())
    }

    /// These sums were stored.
    pub(super) fn put(&mut self, key: &Key, sums: Vec<(Place, Tally)>) {
        if let Some((cube, _)) = self.kept.get(key) {
            let mut cube = cube.write().unwrap_or_else(PoisonError::into_inner);
            sums.into_iter().for_each(|(place, tally)| cube.put(place, tally));
        }
    }
}

fn len(cube: &Kept) -> usize {
    cube.read().unwrap_or_else(PoisonError::into_inner).len()
}
