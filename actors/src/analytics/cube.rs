//! The cells of one organization in one time zone, in memory: every answer is a sum over them.

use std::collections::{BTreeMap, HashMap};

use super::{sql::cells::Place, tally::Tally};

/// A day's cells, by channel and topic.
type Day = HashMap<(Box<str>, Box<str>), Tally>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Cube {
    days: BTreeMap<i64, Day>,
    cells: usize,
}

impl Cube {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.cells
    }

    /// The sum at a place.
    pub(super) fn get(&self, place: &Place) -> Option<&Tally> {
        let key = (place.channel.as_str().into(), place.topic.as_str().into());
        self.days.get(&place.day)?.get(&key)
    }

    /// The sum at a place is this from now on.
    pub(super) fn put(&mut self, place: Place, tally: Tally) {
        let day = self.days.entry(place.day).or_default();
        let before = day.insert((place.channel.into(), place.topic.into()), tally);
        self.cells += usize::from(before.is_none());
    }

    /// Calls back with every cell between two days, both included.
    pub(super) fn each(&self, (from, to): (i64, i64), mut with: impl FnMut(i64, &str, &str, &Tally)) {
        for (&day, cells) in self.days.range(from..=to) {
            for ((channel, topic), tally) in cells {
                with(day, channel, topic, tally);
            }
        }
    }
}
