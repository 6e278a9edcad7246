//! Likeness in meaning: brute force over the vectors of passages, added to the score of words.
//!
//! Both are made a share of the best before they are added, because they have no scale in common; a sum of shares found
//! better than a sum of ranks where both were measured.

use super::super::embeddings::{Meaning, Vector};
use super::search::Found;

/// A question's vector, and what it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Direction<'a> {
    question: &'a Vector,
    weight: f32,
}

impl<'a> Direction<'a> {
    /// Of the question alone.
    pub(super) fn newest(meaning: &'a Meaning) -> Self {
        Self { question: &meaning.question, weight: meaning.weight }
    }

    /// Of the question and those before it.
    pub(super) fn with_earlier(meaning: &'a Meaning) -> Self {
        let question = meaning.with_earlier.as_ref().unwrap_or(&meaning.question);
        Self { question, weight: meaning.weight }
    }

    /// Scores what was found by its words anew; `words` are the scores of all passages by slot.
    pub(super) fn add_to(self, found: &mut [Found<'_>], words: &[f32]) {
        let mut likeness: Vec<Vec<f32>> = Vec::with_capacity(found.len());
        let (mut nearest, mut best, mut best_passage) = (0.0_f32, 0.0_f32, 0.0_f32);
        for hit in found.iter_mut() {
            let vectors = hit.place.vectors.as_ref();
            let of_passages: Vec<f32> =
                vectors.map(|vectors| vectors.likeness(self.question).collect()).unwrap_or_default();
            hit.likeness = of_passages.iter().copied().reduce(f32::max).map(|nearest| nearest.max(0.0));
            nearest = nearest.max(hit.likeness.unwrap_or_default());
            best = best.max(hit.words);
            best_passage = words[hit.place.passages()].iter().copied().fold(best_passage, f32::max);
            likeness.push(of_passages);
        }
        if nearest <= 0.0 {
            return;
        }
        let share = |score: f32, of: f32| if of > 0.0 { score / of } else { 0.0 };
        for (hit, of_passages) in found.iter_mut().zip(likeness) {
            let by_words = share(hit.words, best);
            // What has no vectors yet neither gains nor loses by it.
            let by_meaning = hit.likeness.map_or(by_words, |likeness| likeness / nearest);
            hit.score = self.sum(by_words, by_meaning);
            let passages = words[hit.place.passages()].iter().zip(&of_passages);
            let of_passages =
                passages.map(|(words, likeness)| self.sum(share(*words, best_passage), likeness / nearest));
            let mut surest = f32::NEG_INFINITY;
            for (at, score) in of_passages.enumerate() {
                if score > surest {
                    (hit.passage, surest) = (at, score);
                }
            }
        }
    }

    fn sum(self, words: f32, meaning: f32) -> f32 {
        (1.0 - self.weight) * words + self.weight * meaning
    }
}
