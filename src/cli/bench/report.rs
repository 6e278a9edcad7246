//! What a run says at its end: JSON for programs, a table for people.

use std::{collections::BTreeMap, fmt, rc::Rc};

use serde::Serialize;

use super::{
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
    cpu_seconds: f64,
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
    cpu_seconds: f64,
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

fn rounded(value: f64, digits: i32) -> f64 {
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

fn over(ours: Option<f64>, bare: Option<f64>) -> Option<f64> {
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
    pub(super) fn of(subject: &Subject, now: Memory, idle: Memory, ready: std::time::Duration) -> Self {
        let (tally, cpu) = (subject.tally.borrow(), &subject.measured.cpu);
        Self {
            cpu_seconds: rounded(cpu.total, 2),
            cpu_seconds_by_threads: cpu
                .groups
                .iter()
                .map(|(name, spent)| (name.clone(), rounded(*spent, 2)))
                .collect(),
            cpu_us_per_answer: us_per_answer(cpu.total, &tally),
            cpu_us_per_answer_without_store: us_per_answer(cpu.total - cpu.of_store(), &tally),
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
            cpu_seconds: rounded(cpu.total, 2),
            cpu_us_per_answer: us_per_answer(cpu.total, &tally),
            requests_per_second: per_second(tally.answers_in_time, subject),
            first_token_ms: tally.first_token.spread(),
            between_tokens_ms: tally.between_tokens.spread(),
            completion_ms: tally.completion.spread(),
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

/// A row of the table of waits.
fn waits(f: &mut fmt::Formatter<'_>, name: &str, spread: Option<Spread>) -> fmt::Result {
    let Some(Spread { mean, p50, p90, p95, p99, p999, max }) = spread else { return Ok(()) };
    writeln!(f, "{name:<22}{mean:>9.2}{p50:>9.2}{p90:>9.2}{p95:>9.2}{p99:>9.2}{p999:>9.2}{max:>9.2}")
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, completed, errors, wrong, .. } = self;
        let clients = match (self.concurrency, self.rate) {
            (Some(clients), _) => format!("{clients} clients"),
            (None, rate) => format!("{} requests per second", number(rate)),
        };
        writeln!(
            f,
            "{requests} requests from {clients} in {} s: {completed} completed, {errors} errors, {wrong} wrong",
            self.seconds
        )?;
        self.errors_by_kind.iter().try_for_each(|(kind, count)| writeln!(f, "  error  {kind}: {count}"))?;
        self.faults.iter().try_for_each(|fault| writeln!(f, "  wrong  {fault}"))?;
        writeln!(f, "{} answers/s, {} words/s\n", self.requests_per_second, self.tokens_per_second)?;
        writeln!(
            f,
            "{:<22}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
            "ms", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"
        )?;
        waits(f, "first token", self.first_token_ms)?;
        waits(f, "between tokens", self.between_tokens_ms)?;
        waits(f, "completion", self.completion_ms)?;
        if let Some(bare) = &self.bare {
            waits(f, "bare: first token", bare.first_token_ms)?;
            waits(f, "bare: between tokens", bare.between_tokens_ms)?;
            waits(f, "bare: completion", bare.completion_ms)?;
        }
        if let Some(server) = &self.server {
            write!(f, "\n{server}")?;
        }
        if let (Some(bare), Some(ratio)) = (&self.bare, &self.ratio) {
            writeln!(
                f,
                "bare    {} µs of CPU per answer, {} answers/s",
                number(bare.cpu_us_per_answer),
                bare.requests_per_second
            )?;
            write!(f, "{ratio}")?;
        }
        if let Some(load) = self.load_average {
            writeln!(f, "load average {load}, {} s of CPU for the generator", self.generator_cpu_seconds)?;
        }
        Ok(())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "server  {} µs of CPU per answer, {} without the store's threads",
            number(self.cpu_us_per_answer),
            number(self.cpu_us_per_answer_without_store)
        )?;
        let threads: Vec<String> =
            self.cpu_seconds_by_threads.iter().map(|(name, seconds)| format!("{name} {seconds}")).collect();
        writeln!(f, "        {} s of CPU: {}", self.cpu_seconds, threads.join(", "))?;
        writeln!(
            f,
            "        {} MiB, {} at most, {} before the first request; ready after {} ms",
            self.rss_mib, self.peak_rss_mib, self.idle_rss_mib, self.ready_ms
        )
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "ratio   CPU {}, without the store's threads {}; first token p50 {}, p99 {}; answers/s {}",
            number(self.cpu),
            number(self.cpu_without_store),
            number(self.first_token_p50),
            number(self.first_token_p99),
            number(self.requests_per_second)
        )
    }
}
