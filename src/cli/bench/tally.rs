//! What was measured, counted and found wrong.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{answer::Fault, client::AnswerWaits};

/// An hour in microseconds: nothing that is measured here takes longer.
const LONGEST: u64 = 3_600_000_000;

/// Three digits: what people compare.
const DIGITS: u8 = 3;

/// What is wrong is shown with examples, not in full.
const EXAMPLES: usize = 5;

/// Waits, in microseconds, as an HDR histogram.
#[derive(Debug)]
pub(super) struct Waits(Option<Histogram<u64>>);

impl Waits {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).ok())
    }

    pub(super) fn record(&mut self, wait: Duration) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(u64::try_from(wait.as_micros()).unwrap_or(LONGEST).max(1));
        }
    }

    /// In milliseconds; nothing recorded is nothing to show.
    pub(super) fn spread(&self) -> Option<Spread> {
        let histogram = self.0.as_ref().filter(|histogram| !histogram.is_empty())?;
        let at = |quantile: f64| milliseconds(histogram.value_at_quantile(quantile) as f64);
        Some(Spread {
            mean: milliseconds(histogram.mean()),
            p50: at(0.50),
            p90: at(0.90),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: milliseconds(histogram.max() as f64),
        })
    }
}

/// Where a curve of percentiles has its points, in percent: closer the nearer to the end.
const CURVE: [f64; 15] =
    [10.0, 25.0, 50.0, 75.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.99, 99.999];

impl Waits {
    /// Percentiles and milliseconds, as far as there are waits enough beyond a point; the last is the longest wait.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        let Some(histogram) = self.0.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return Vec::new();
        };
        let count = histogram.len() as f64;
        let last = 100.0 * (1.0 - 1.0 / (count + 1.0));
        let known = CURVE.iter().take_while(|percent| **percent < last);
        let at = |percent: f64| milliseconds(histogram.value_at_percentile(percent) as f64);
        let mut curve: Vec<(f64, f64)> = known.map(|percent| (*percent, at(*percent))).collect();
        curve.push(((last * 1e4).round() / 1e4, milliseconds(histogram.max() as f64)));
        curve
    }
}

fn milliseconds(microseconds: f64) -> f64 {
    microseconds.round() / 1_000.0
}

/// How waits are spread, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Spread {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server refused, is away, or was too slow: it said so or it shows.
    Error {
        /// What errors are counted by.
        kind: String,
        /// For a person.
        message: String,
    },
    /// The server said something that is not so.
    Wrong(Fault),
}

impl Failure {
    pub(super) fn error(kind: &str, message: &str) -> Self {
        Self::Error { kind: kind.to_owned(), message: message.to_owned() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error { kind, message } => write!(f, "{message} ({kind})"),
            Self::Wrong(fault) => write!(f, "{fault}"),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Wrong(fault)
    }
}

/// What a request that was answered took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Took {
    pub(super) first_token: Option<Duration>,
    pub(super) completion: Duration,
    pub(super) words: usize,
}

/// Everything about the requests to one server.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) completed: u64,
    pub(super) wrong: u64,
    pub(super) errors: BTreeMap<String, u64>,
    /// The first of what was wrong, in words.
    pub(super) faults: Vec<String>,
    pub(super) first_token: Waits,
    pub(super) between_tokens: Waits,
    pub(super) completion: Waits,
    /// From asking for the rest of a stream until something came.
    pub(super) resumed: Waits,
    pub(super) resumes: u64,
    /// Of single operations, where a request is made of several.
    pub(super) operations: BTreeMap<&'static str, Waits>,
    /// Answers and words that ended while the clock ran, whenever they were asked for.
    pub(super) answers_in_time: u64,
    pub(super) words_in_time: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            requests: 0,
            completed: 0,
            wrong: 0,
            errors: BTreeMap::new(),
            faults: Vec::new(),
            first_token: Waits::new(),
            between_tokens: Waits::new(),
            completion: Waits::new(),
            resumed: Waits::new(),
            resumes: 0,
            operations: BTreeMap::new(),
            answers_in_time: 0,
            words_in_time: 0,
        }
    }

    /// Counts a request. One from outside the measured time counts only if its answer was wrong.
    pub(super) fn count(&mut self, outcome: &Result<Took, Failure>, waits: &AnswerWaits, is_measured: bool) {
        let is_wrong = matches!(outcome, Err(Failure::Wrong(_)));
        if !is_measured && !is_wrong {
            return;
        }
        self.requests += 1;
        match outcome {
            Ok(took) => {
                self.completed += 1;
                if let Some(first_token) = took.first_token {
                    self.first_token.record(first_token);
                }
                self.completion.record(took.completion);
                waits.gaps.iter().for_each(|gap| self.between_tokens.record(*gap));
                waits.resumes.iter().for_each(|wait| self.resumed.record(*wait));
                self.resumes += waits.resumes.len() as u64;
                for (operation, wait) in &waits.operations {
                    self.operations.entry(operation).or_insert_with(Waits::new).record(*wait);
                }
            }
            Err(failure) => self.blame(failure),
        }
    }

    /// Counts something else that went wrong.
    pub(super) fn count_more(&mut self, failure: &Failure) {
        self.requests += 1;
        self.blame(failure);
    }

    /// Counts what went wrong with a request that is counted already.
    pub(super) fn blame(&mut self, failure: &Failure) {
        match failure {
            Failure::Error { kind, .. } => *self.errors.entry(kind.clone()).or_default() += 1,
            Failure::Wrong(fault) => {
                self.wrong += 1;
                let fault = fault.to_string();
                if self.faults.len() < EXAMPLES && !self.faults.contains(&fault) {
                    self.faults.push(fault);
                }
            }
        }
    }

    /// Counts an answer that ended while the clock ran.
    pub(super) fn count_in_time(&mut self, took: &Took) {
        self.answers_in_time += 1;
        self.words_in_time += took.words as u64;
    }

    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The smallest wait that so many percent do not exceed, by sorting.
    fn nearest_rank(sorted: &[u64], percent: f64) -> f64 {
        let rank = ((percent / 100.0 * sorted.len() as f64) - 1e-9).ceil().max(1.0) as usize;
        sorted[rank - 1] as f64 / 1e3
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_sorted_waits(mut waits in prop::collection::vec(1..10_000_000u64, 1..400)) {
            let mut recorded = Waits::new();
            waits.iter().for_each(|wait| recorded.record(Duration::from_micros(*wait)));
            waits.sort_unstable();
            let spread = recorded.spread().unwrap();
            for (percent, told) in [(50.0, spread.p50), (90.0, spread.p90), (95.0, spread.p95),
                (99.0, spread.p99), (99.9, spread.p999), (100.0, spread.max)] {
                let exact = nearest_rank(&waits, percent);
                prop_assert!((told - exact).abs() <= exact * 0.002 + 0.001, "p{percent}: {told}, exactly {exact}");
            }
            let curve = recorded.curve();
            prop_assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{curve:?}");
            prop_assert_eq!(curve.last().unwrap().1, spread.max);
        }
    }
}
