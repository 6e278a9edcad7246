//! What was measured, counted and found wrong.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

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

fn milliseconds(microseconds: f64) -> f64 {
    microseconds.round() / 1_000.0
}

/// How waits are spread, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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
