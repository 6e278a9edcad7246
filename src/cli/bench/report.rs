//! What a run says at its end, as JSON.

mod table;
mod words;

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    about::{self, About},
    hooks::Told,
    idle::Idle,
    knowledge::Learned,
    load::Subject,
    process::{Cpu, Memory},
    protocol::Protocol,
    ramp::Ramp,
    scenario::Scenario,
    tally::{Spread, Tally},
    timeline::Second,
};

/// Everything about a run. Names are those of the contract; more may follow them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) scenario: Scenario,
    pub(super) protocol: Protocol,
    /// Clients of a closed loop, or `null`.
    pub(super) concurrency: Option<usize>,
    /// Requests per second of an open loop, or `null`.
    pub(super) rate: Option<f64>,
    pub(super) seconds: f64,
    pub(super) requests: u64,
    pub(super) completed: u64,
    pub(super) errors: u64,
    pub(super) errors_by_kind: BTreeMap<String, u64>,
    pub(super) wrong: u64,
    /// Some of what was wrong.
    pub(super) faults: Vec<String>,
    pub(super) requests_per_second: f64,
    pub(super) tokens_per_second: f64,
    pub(super) first_token_ms: Option<Spread>,
    pub(super) between_tokens_ms: Option<Spread>,
    pub(super) completion_ms: Option<Spread>,
    /// Streams that were cut and resumed, and how long it took until the rest came.
    pub(super) resumes: u64,
    pub(super) resumed_ms: Option<Spread>,
    /// How long the server was away, each time that it was killed.
    pub(super) away_ms: Vec<f64>,
    pub(super) idle: Option<Idle>,
    pub(super) webhooks: Option<Told>,
    pub(super) knowledge: Option<Learned>,
    /// Rates that rose; the waits above are those at the knee.
    pub(super) ramp: Option<Ramp>,
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
    /// Second by second.
    pub(super) timeline: Vec<Second>,
    pub(super) curves: Curves,
    pub(super) about: About,
}

/// Percentiles and the milliseconds there, to draw curves of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Curves {
    pub(super) first_token: Vec<(f64, f64)>,
    pub(super) between_tokens: Vec<(f64, f64)>,
    pub(super) completion: Vec<(f64, f64)>,
}

/// What the private server cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Server {
    /// `null` where the process was another one at the end.
    pub(super) cpu_seconds: Option<f64>,
    /// By what its threads do.
    pub(super) cpu_seconds_by_threads: BTreeMap<String, f64>,
    pub(super) cpu_us_per_answer: Option<f64>,
    /// Without the threads that work for the store.
    pub(super) cpu_us_per_answer_without_store: Option<f64>,
    pub(super) rss_mib: f64,
    pub(super) peak_rss_mib: f64,
    pub(super) ready_ms: f64,
    pub(super) idle_rss_mib: f64,
}

/// What the baseline did and cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Bare {
    pub(super) requests: u64,
    pub(super) completed: u64,
    /// `null` for a loop of commits, whose pace is what counts.
    pub(super) cpu_seconds: Option<f64>,
    pub(super) cpu_us_per_answer: Option<f64>,
    pub(super) requests_per_second: f64,
    pub(super) first_token_ms: Option<Spread>,
    pub(super) between_tokens_ms: Option<Spread>,
    pub(super) completion_ms: Option<Spread>,
}

/// The server over the baseline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ratio {
    /// CPU time per answer.
    pub(super) cpu: Option<f64>,
    /// CPU time per answer, without the threads that work for the store.
    pub(super) cpu_without_store: Option<f64>,
    pub(super) first_token_p50: Option<f64>,
    pub(super) first_token_p99: Option<f64>,
    pub(super) requests_per_second: Option<f64>,
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
    pub(super) fn of(scenario: Scenario, protocol: Protocol, subject: &Subject, about: About) -> Self {
        let tally = subject.tally.borrow();
        // A server may say anything, also what it was told.
        let key = Some(&*subject.target.key);
        Self {
            scenario,
            protocol,
            concurrency: None,
            rate: None,
            seconds: rounded(subject.measured.seconds, 3),
            requests: tally.requests,
            completed: tally.completed,
            errors: tally.failed(),
            errors_by_kind: tally
                .errors
                .iter()
                .map(|(kind, count)| (about::without(kind, key), *count))
                .collect(),
            wrong: tally.wrong,
            faults: tally.faults.iter().map(|fault| about::without(fault, key)).collect(),
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
            knowledge: None,
            ramp: None,
            stored_conversations: 0,
            live_conversations: 0,
            server: None,
            bare: None,
            ratio: None,
            generator_cpu_seconds: rounded(Cpu::of(std::process::id()).total, 2),
            load_average: super::process::load_average(),
            timeline: subject.timeline.clone(),
            curves: Curves {
                first_token: tally.first_token.curve(),
                between_tokens: tally.between_tokens.curve(),
                completion: tally.completion.curve(),
            },
            about,
        }
    }

    /// Adds up what was counted at all rates.
    pub(super) fn ramped(mut self, ramp: Ramp) -> Self {
        let sum = |of: fn(&super::ramp::Step) -> u64| ramp.steps.iter().map(of).sum();
        self.requests = sum(|step| step.requests);
        self.completed = sum(|step| step.completed);
        self.errors = sum(|step| step.errors);
        self.wrong = sum(|step| step.wrong);
        self.ramp = Some(ramp);
        self
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
