//! Terms with their counts.

/// What a field of a document holds: each term once, in order, with its count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bag {
    counts: Vec<(u64, u32)>,
    length: u32,
}

impl Bag {
    /// A term may be given more than once.
    pub(super) fn of(terms: impl Iterator<Item = (u64, u32)>) -> Self {
        let mut counts: Vec<_> = terms.collect();
        counts.sort_unstable_by_key(|(term, _)| *term);
        counts.dedup_by(|(term, count), (before, times)| {
            let is_same = term == before;
            *times += if is_same { *count } else { 0 };
            is_same
        });
        let length = counts.iter().map(|(_, count)| count).sum();
        Self { counts, length }
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (u64, u32)> {
        self.counts.iter().copied()
    }

    /// All terms, repeated ones included.
    pub(super) fn length(&self) -> u32 {
        self.length
    }
}
