//! What is counted.

use std::fmt;
use std::time::Duration;

use super::SUGGESTED;
use super::collection::{Articles, DEPTH};

/// How high the right articles stand.
#[derive(Default)]
pub(super) struct Ranks {
    questions: usize,
    first: f32,
    recall: f32,
    gain: f32,
}

impl Ranks {
    pub(super) fn note<'a>(&mut self, found: impl Iterator<Item = &'a str>, relevant: &[String]) {
        if relevant.is_empty() {
            return;
        }
        let right: Vec<bool> =
            found.take(DEPTH).map(|name| relevant.iter().any(|right| right == name)).collect();
        let gain = |rank: usize| 1.0 / (rank as f32 + 2.0).log2();
        let gained: f32 = right.iter().enumerate().filter(|(_, right)| **right).map(|(at, _)| gain(at)).sum();
        let best: f32 = (0..relevant.len().min(DEPTH)).map(gain).sum();
        let in_five = right.iter().take(5).filter(|right| **right).count();
        self.questions += 1;
        self.first += f32::from(u8::from(right.first() == Some(&true)));
        self.recall += in_five as f32 / relevant.len() as f32;
        self.gain += gained / best;
    }

    pub(super) fn ndcg(&self) -> f32 {
        self.gain / self.questions.max(1) as f32
    }
}

impl fmt::Display for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.questions.max(1) as f32;
        write!(f, "{:>5.3} {:>8.3} {:>7.3}", self.first / of, self.recall / of, self.ndcg())
    }
}

/// What is made of questions.
#[derive(Default)]
pub(super) struct Answers {
    threshold: f32,
    answerable: usize,
    answered: usize,
    answered_right: usize,
    unanswerable: usize,
    answered_wrongly: usize,
    suggested_wrongly: usize,
}

impl Answers {
    /// Of an answerer that answers when it is this sure.
    pub(super) fn above(threshold: f32) -> Self {
        Self { threshold, ..Self::default() }
    }

    pub(super) fn note(&mut self, articles: &Articles, turns: &[String], relevant: &[String]) {
        let hits = articles.search(turns);
        let best = hits.first();
        let confidence = best.map_or(0.0, |hit| hit.confidence);
        let answered = usize::from(confidence >= self.threshold);
        if relevant.is_empty() {
            self.unanswerable += 1;
            self.answered_wrongly += answered;
            self.suggested_wrongly += usize::from(answered == 0 && confidence >= SUGGESTED);
            return;
        }
        let is_right = best.is_some_and(|hit| relevant.iter().any(|right| right == articles.name(hit)));
        self.answerable += 1;
        self.answered += answered;
        self.answered_right += answered * usize::from(is_right);
    }

    /// Of the answerable ones, how many are answered.
    pub(super) fn answered(&self) -> f32 {
        share(self.answered, self.answerable)
    }

    /// Of those, how many from a right article.
    pub(super) fn right(&self) -> f32 {
        share(self.answered_right, self.answered)
    }

    pub(super) fn answered_wrongly(&self) -> f32 {
        share(self.answered_wrongly, self.unanswerable)
    }

    pub(super) fn suggested_wrongly(&self) -> f32 {
        share(self.suggested_wrongly, self.unanswerable)
    }
}

fn share(part: usize, of: usize) -> f32 {
    part as f32 / of.max(1) as f32
}

/// Of times in any order; sorts them.
pub(super) fn percentile(times: &mut [Duration], share: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * share / 100).copied().unwrap_or_default()
}
