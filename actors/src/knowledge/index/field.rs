//! One searchable field of all documents: an inverted list per term, scored by BM25.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::bag::Bag;

/// How soon repeating a term stops helping.
const K1: f32 = 1.2;

/// How much a long document's counts are discounted.
const B: f32 = 0.75;

/// A smaller collection is counted as this large. Of three articles about parcels and returns each word is in a
/// third or more, and yet a question about parcels is no less about them than it would be among a hundred: without
/// this, the first articles that somebody writes answer nothing.
const FEWEST_DOCUMENTS: u32 = 128;

/// The most that one term can add to a document's score is this many times its rarity.
pub(super) const SATURATION: f32 = K1 + 1.0;

/// A document's number in a field. 25 bits are kept of it: 33 million passages of one organization.
pub(super) type Slot = u32;

#[derive(Debug, Default)]
pub(super) struct Field {
    terms: HashMap<u64, Term, BuildHasherDefault<AlreadyHashed>>,
    /// By slot, those of retired documents included.
    lengths: Vec<u32>,
    live: u32,
    live_length: u64,
}

#[derive(Debug, Default)]
struct Term {
    /// Live documents that have it.
    documents: u32,
    /// Those of retired documents included.
    postings: Vec<Posting>,
}

/// A slot and how often the term stands there, in 32 bits: postings are most of an index's memory. Counts past
/// 127 add next to nothing to a score.
#[derive(Debug, Clone, Copy)]
struct Posting(u32);

impl Posting {
    const COUNT_BITS: u32 = 7;
    const MAX_COUNT: u32 = (1 << Self::COUNT_BITS) - 1;

    fn new(slot: Slot, count: u32) -> Self {
        Self(slot << Self::COUNT_BITS | count.min(Self::MAX_COUNT))
    }

    fn slot(self) -> Slot {
        self.0 >> Self::COUNT_BITS
    }

    fn count(self) -> u32 {
        self.0 & Self::MAX_COUNT
    }
}

impl Field {
    /// Adds a document and gives it the next slot.
    pub(super) fn add(&mut self, bag: &Bag) -> Slot {
        let slot = self.lengths.len() as Slot;
        for (term, count) in bag.counts() {
            let term = self.terms.entry(term).or_default();
            term.documents += 1;
            if term.postings.len() == term.postings.capacity() {
                // By a quarter: postings are most of an index's memory, and doubling leaves up to half of it unused.
                term.postings.reserve_exact((term.postings.len() / 4).max(4));
            }
            term.postings.push(Posting::new(slot, count));
        }
        self.lengths.push(bag.length());
        self.live += 1;
        self.live_length += u64::from(bag.length());
        slot
    }

    /// Takes a document out of all counts; `bag` is what it was added with. Its postings stay until the field
    /// is compacted, and whoever reads scores must pass over its slot.
    pub(super) fn retire(&mut self, bag: &Bag) {
        for (term, _) in bag.counts() {
            if let Some(term) = self.terms.get_mut(&term) {
                term.documents -= 1;
            }
        }
        self.live -= 1;
        self.live_length -= u64::from(bag.length());
    }

    /// A copy without retired documents. `slots` gives each live slot its new number, in the same order.
    pub(super) fn compacted(&self, slots: &[Option<Slot>]) -> Self {
        let renumbered = |posting: &Posting| {
            slots[posting.slot() as usize].map(|slot| Posting::new(slot, posting.count()))
        };
        let terms = self.terms.iter().filter(|(_, term)| term.documents > 0).map(|(id, term)| {
            let postings = term.postings.iter().filter_map(renumbered).collect();
            (*id, Term { documents: term.documents, postings })
        });
        let lengths = self.lengths.iter().zip(slots).filter(|(_, slot)| slot.is_some());
        Self {
            terms: terms.collect(),
            lengths: lengths.map(|(length, _)| *length).collect(),
            live: self.live,
            live_length: self.live_length,
        }
    }

    /// How many slots were given out.
    pub(super) fn slots(&self) -> Slot {
        self.lengths.len() as Slot
    }

    /// How much a term tells. One that stands nowhere tells most.
    pub(super) fn rarity(&self, term: u64) -> f32 {
        self.rarity_of(self.terms.get(&term).map_or(0, |term| term.documents))
    }

    /// Does a live document have the term?
    pub(super) fn has(&self, term: u64, slot: Slot) -> bool {
        let in_order =
            |term: &Term| term.postings.binary_search_by_key(&slot, |posting| posting.slot()).is_ok();
        self.terms.get(&term).is_some_and(in_order)
    }

    /// How much larger scores are here than in a small collection, where the rarest words are less rare.
    pub(super) fn scale(&self) -> f32 {
        rarity_among(self.live, 0) / rarity_among(0, 0)
    }

    fn rarity_of(&self, documents: u32) -> f32 {
        rarity_among(self.live, documents)
    }

    /// Adds what `term` is worth in each document, times `weight`, to its slot in `scores`.
    pub(super) fn score(&self, term: u64, weight: f32, scores: &mut [f32]) {
        let Some(term) = self.terms.get(&term).filter(|term| term.documents > 0) else {
            return;
        };
        let worth = weight * self.rarity_of(term.documents) * SATURATION;
        let average = (self.live_length as f32 / self.live as f32).max(1.0);
        for posting in &term.postings {
            let slot = posting.slot() as usize;
            let count = posting.count() as f32;
            let length = self.lengths[slot] as f32 / average;
            scores[slot] += worth * count / (count + K1 * (1.0 - B + B * length));
        }
    }

    /// Empty scores, one per slot.
    pub(super) fn blank_scores(&self) -> Vec<f32> {
        vec![0.0; self.lengths.len()]
    }
}

/// How much is told by a term that stands in `having` of `all` documents.
fn rarity_among(all: u32, having: u32) -> f32 {
    let (all, having) = (all.max(FEWEST_DOCUMENTS) as f32, having as f32);
    (1.0 + (all - having + 0.5) / (having + 0.5)).ln()
}

/// Terms are hashes or packed characters; one multiplication spreads them well enough.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, term: u64) {
        let mixed = (self.0 ^ term).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
