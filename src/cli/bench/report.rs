//! What a run says at its end, as JSON.

mod table;

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use serde::Serialize;

use super::{
    hooks::Told,
    idle::Idle,
    load::Subject,
    process::{Cpu, Memory},
    scenario::Scenario,
    tally::{Spread, Tally},
};

/// Everything about a run. Names are those of the contract; more may follow them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    scenario: Scenario,
    /// Clients of a closed loop, or `null`.
    pub(super) concurrency: Option<usize>,
    /// Requests per second of an open loop, or `null`.
    pub(super) rate: Option<f64>,
    seconds: f64,
    requests: u64,
    completed: u64,
    errors: u64,
    errors_by_kind: BTreeMap<String, u64>,
    wrong: u64,
    /// Some of what was wrong.
    faults: Vec<String>,
    requests_per_second: f64,
    tokens_per_second: f64,
    first_token_ms: Option<Spread>,
    between_tokens_ms: Option<Spread>,
    completion_ms: Option<Spread>,
    /// Streams that were cut and resumed, and how long it took until the rest came.
    resumes: u64,
    resumed_ms: Option<Spread>,
    /// How long the server was away, each time that it was killed.
    pub(super) away_ms: Vec<f64>,
    pub(super) idle: Option<Idle>,
    pub(super) webhooks: Option<Told>,
    /// Conversations that were stored, and that were live, before anything was measured.
    pub(super) stored_conversations: u64,
    pub(super) live_conversations: u64,
    pub(super) server: Option<Server>,
    pub(super) bare: Option<Bare>,
    pub(super) ratio: Option<Ratio>,
    /// CPU seconds that this generator itself spent.
    pub(super) generator_cpu_seconds: f64,
    /// Runnable processes on average over the minute before the end, this run's own included.
    pub(super) load_average: Option<f64>,
}

/// What the private server cost.
#[derive(Debug, Serialize)]
pub(super) struct Server {
    /// `null` where the process was another one at the end.
    cpu_seconds: Option<f64>,
    /// By what its threads do.
    cpu_seconds_by_threads: BTreeMap<String, f64>,
    cpu_us_per_answer: Option<f64>,
    /// Without the threads that work for the store.
    cpu_us_per_answer_without_store: Option<f64>,
    rss_mib: f64,
    peak_rss_mib: f64,
    ready_ms: f64,
    idle_rss_mib: f64,
}

/// What the baseline did and cost.
#[derive(Debug, Serialize)]
pub(super) struct Bare {
    requests: u64,
    completed: u64,
    /// `null` for a loop of commits, whose pace is what counts.
    cpu_seconds: Option<f64>,
    cpu_us_per_answer: Option<f64>,
    requests_per_second: f64,
    first_token_ms: Option<Spread>,
    between_tokens_ms: Option<Spread>,
    completion_ms: Option<Spread>,
}

/// The server over the baseline.
#[derive(Debug, Serialize)]
pub(super) struct Ratio {
    /// CPU time per answer.
    cpu: Option<f64>,
    /// CPU time per answer, without the threads that work for the store.
    cpu_without_store: Option<f64>,
    first_token_p50: Option<f64>,
    first_token_p99: Option<f64>,
    requests_per_second: Option<f64>,
}

pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

fn per_second(count: u64, subject: &Subject) -> f64 {
    rounded(count as f64 / subject.measured.seconds.max(f64::MIN_POSITIVE), 1)
}

/// Microseconds for each answer that ended while the clock ran.
fn us_per_answer(cpu_seconds: f64, tally: &Tally) -> Option<f64> {
    let answers = tally.answers_in_time as f64;
    (answers > 0.0).then(|| rounded(cpu_seconds * 1e6 / answers, 1))
}

pub(super) fn over(ours: Option<f64>, bare: Option<f64>) -> Option<f64> {
    Some(rounded(ours? / bare.filter(|bare| *bare > 0.0)?, 3))
}

impl Report {
    pub(super) fn of(scenario: Scenario, subject: &Subject) -> Self {
        let tally = subject.tally.borrow();
        Self {
            scenario,
            concurrency: None,
            rate: None,
            seconds: rounded(subject.measured.seconds, 3),
            requests: tally.requests,
            completed: tally.completed,
            errors: tally.failed(),
            errors_by_kind: tally.errors.clone(),
            wrong: tally.wrong,
            faults: tally.faults.clone(),
            requests_per_second: per_second(tally.answers_in_time, subject),
            tokens_per_second: per_second(tally.words_in_time, subject),
            first_token_ms: tally.first_token.spread(),
            between_tokens_ms: tally.between_tokens.spread(),
            completion_ms: tally.completion.spread(),
            resumes: tally.resumes,
            resumed_ms: tally.resumed.spread(),
            away_ms: Vec::new(),
            idle: None,
            webhooks: None,
            stored_conversations: 0,
            live_conversations: 0,
            server: None,
            bare: None,
            ratio: None,
            generator_cpu_seconds: rounded(Cpu::of(std::process::id()).total, 2),
            load_average: super::process::load_average(),
        }
    }

    /// Nothing was wrong, and there is something to show.
    pub(super) fn is_good(&self) -> bool {
        self.wrong == 0 && self.completed > 0
    }
}

impl Server {
    pub(super) fn of(subject: &Subject, now: Memory, idle: Memory, ready: Duration) -> Self {
        let (tally, cpu) = (subject.tally.borrow(), &subject.measured.cpu);
        Self {
            cpu_seconds: subject.process.map(|_| rounded(cpu.total, 2)),
            cpu_seconds_by_threads: cpu
                .groups
                .iter()
                .map(|(name, spent)| (name.clone(), rounded(*spent, 2)))
                .collect(),
            cpu_us_per_answer: subject.process.and_then(|_| us_per_answer(cpu.total, &tally)),
            cpu_us_per_answer_without_store: subject
                .process
                .and_then(|_| us_per_answer(cpu.total - cpu.of_store(), &tally)),
            rss_mib: rounded(now.resident, 1),
            peak_rss_mib: rounded(now.peak, 1),
            ready_ms: rounded(ready.as_secs_f64() * 1e3, 1),
            idle_rss_mib: rounded(idle.resident, 1),
        }
    }
}

impl Bare {
    pub(super) fn of(subject: &Subject) -> Self {
        let (tally, cpu) = (Rc::clone(&subject.tally), &subject.measured.cpu);
        let tally = tally.borrow();
        Self {
            requests: tally.requests,
            completed: tally.completed,
            cpu_seconds: Some(rounded(cpu.total, 2)),
            cpu_us_per_answer: us_per_answer(cpu.total, &tally),
            requests_per_second: per_second(tally.answers_in_time, subject),
            first_token_ms: tally.first_token.spread(),
            between_tokens_ms: tally.between_tokens.spread(),
            completion_ms: tally.completion.spread(),
        }
    }
}

impl Bare {
    /// What a loop of bare commits did.
    pub(super) fn of_commits(accepts: u64, spent: Duration) -> Self {
        Self {
            requests: accepts,
            completed: accepts,
            cpu_seconds: None,
            cpu_us_per_answer: None,
            requests_per_second: rounded(accepts as f64 / spent.as_secs_f64().max(f64::MIN_POSITIVE), 1),
            first_token_ms: None,
            between_tokens_ms: None,
            completion_ms: None,
        }
    }
}

impl Ratio {
    pub(super) fn of(report: &Report, bare: &Bare) -> Self {
        let server = report.server.as_ref();
        let first = |spread: Option<Spread>, of: fn(Spread) -> f64| spread.map(of);
        let first_token =
            |of: fn(Spread) -> f64| over(first(report.first_token_ms, of), first(bare.first_token_ms, of));
        Self {
            cpu: over(server.and_then(|server| server.cpu_us_per_answer), bare.cpu_us_per_answer),
            cpu_without_store: over(
                server.and_then(|server| server.cpu_us_per_answer_without_store),
                bare.cpu_us_per_answer,
            ),
            first_token_p50: first_token(|spread| spread.p50),
            first_token_p99: first_token(|spread| spread.p99),
            requests_per_second: over(Some(report.requests_per_second), Some(bare.requests_per_second)),
        }
    }
}
