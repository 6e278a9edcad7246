//! Terms with their counts.

/// What a field of a document holds: each term once, in order, with its count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bag {
    counts: Vec<(u64, u32)>,
    length: u32,
}

impl Bag {
    pub(super) fn of(mut terms: Vec<u64>) -> Self {
        terms.sort_unstable();
        let length = terms.len() as u32;
        let counts = terms.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect();
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
