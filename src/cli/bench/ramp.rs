//! Rates that rise until the server no longer keeps up: where its knee is.
//!
//! The rule is plain, and that of MLPerf's server scenario (Reddi et al., ISCA 2020): the highest rate of an open loop
//! at which a bound on the tail of latency still holds. The bound is a multiple of what the lowest rate showed, so that it
//! needs no knowledge of the model; and what is offered must be answered. The loop is open because a closed one asks a slow
//! server less often, and hides what it should show (Schroeder et al., NSDI 2006).

use std::{rc::Rc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    load::{Amount, Pace, Subject},
    process::{Cpu, Memory},
    progress::Progress,
    report::rounded,
    scenario::Work,
    tally::{Spread, Tally},
};

/// Between the highest rate that was kept up with and the lowest that was not, so many more are tried.
const REFINED: u32 = 2;

/// Before the next rate, whatever the last left behind is done.
const REST: Duration = Duration::from_millis(500);

/// From this share of a core on, it may be this generator that does not keep up: it has one thread.
const GENERATOR_IS_BUSY: f64 = 0.9;

/// When a server keeps up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Rule {
    /// At least this share of what is offered is answered.
    pub(super) answered_at_least: f64,
    /// The 99th percentile of the first token's wait is at most so many times that at the lowest rate.
    pub(super) p99_at_most_times: f64,
}

/// How rates rise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plan {
    pub(super) lowest: f64,
    pub(super) growth: f64,
    /// Rates at most.
    pub(super) steps: u32,
    pub(super) rule: Rule,
}

/// One rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) offered_per_second: f64,
    pub(super) achieved_per_second: f64,
    pub(super) tokens_per_second: f64,
    pub(super) seconds: f64,
    pub(super) requests: u64,
    pub(super) completed: u64,
    pub(super) errors: u64,
    pub(super) wrong: u64,
    pub(super) first_token_ms: Option<Spread>,
    pub(super) between_tokens_ms: Option<Spread>,
    pub(super) completion_ms: Option<Spread>,
    /// Of the server, where that is known.
    pub(super) cpu_cores: Option<f64>,
    pub(super) rss_mib: Option<f64>,
    pub(super) generator_cpu_cores: f64,
    /// A rate that is not kept up with is tried once more, and that time counts.
    pub(super) tries: u32,
    /// Why it was not kept up with.
    pub(super) falls_behind: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ramp {
    pub(super) rule: Rule,
    /// By rate.
    pub(super) steps: Vec<Step>,
    /// The highest rate that was kept up with; `null` where none was.
    pub(super) knee_per_second: Option<f64>,
    /// No rate was too high: the knee is somewhere beyond.
    pub(super) knee_is_beyond: bool,
    /// At the first rate that was too much, this generator was busy too: the server may be able to do more.
    pub(super) generator_was_busy: bool,
}

impl Rule {
    /// Why a rate is not kept up with, judged by the lowest; nothing if it is.
    fn judge(&self, lowest: &Step, step: &Step) -> Option<String> {
        let due = step.offered_per_second * step.seconds;
        let share = step.achieved_per_second / step.offered_per_second;
        // An answer more or less falls into a stretch by chance.
        if step.achieved_per_second * step.seconds + 1.0 < due * self.answered_at_least {
            return Some(format!("{:.0} % of the rate was answered", share * 100.0));
        }
        let failed = step.errors as f64 > (1.0 - self.answered_at_least) * step.requests as f64;
        if failed {
            return Some(format!("{} of {} requests failed", step.errors, step.requests));
        }
        let (first, now) = (tail(lowest)?, tail(step)?);
        let times = now / first;
        (times > self.p99_at_most_times).then(|| format!("p99 is {times:.1} times that of the lowest rate"))
    }
}

/// What the tail's bound is about: the first token, or the answer where there are no tokens.
fn tail(step: &Step) -> Option<f64> {
    step.first_token_ms.or(step.completion_ms).map(|spread| spread.p99)
}

/// The rate to try after those: higher by `growth` while all are kept up with, then between.
fn next(plan: &Plan, tried: &[(f64, bool)], refined: u32) -> Option<f64> {
    let highest = |kept: bool| tried.iter().filter(move |(_, keeps)| *keeps == kept).map(|(rate, _)| *rate);
    let kept = highest(true).reduce(f64::max);
    let lost = highest(false).reduce(f64::min);
    match (kept, lost) {
        (None, None) => Some(plan.lowest),
        // Even the lowest is too much.
        (None, Some(_)) => None,
        _ if tried.len() as u32 >= plan.steps => None,
        (Some(kept), None) => Some(kept * plan.growth),
        // Rates are compared by their ratio, so the middle is the geometric one.
        (Some(kept), Some(lost)) if refined < REFINED => Some((kept * lost).sqrt()),
        (Some(_), Some(_)) => None,
    }
}

/// Tries rates, each for that time. Says what was seen, and gives the subject of the knee (of the last rate where there
/// is none) with what it measured.
pub(super) async fn run(
    plan: &Plan,
    work: &Rc<Work>,
    begin: &dyn Fn() -> Subject,
    (time, answer): (Duration, Duration),
    progress: &Progress,
) -> (Ramp, Subject) {
    let mut tried: Vec<(Step, Subject)> = Vec::new();
    let mut refined = 0;
    loop {
        let known: Vec<_> =
            tried.iter().map(|(step, _)| (step.offered_per_second, step.falls_behind.is_none())).collect();
        let Some(rate) = next(plan, &known, refined) else { break };
        refined += u32::from(known.iter().any(|(_, keeps)| !keeps));
        let mut tries = 0;
        loop {
            tries += 1;
            progress.say(&format!("{rate:.1} requests per second"));
            let mut subject = begin();
            let mut step = measure(rate, work, &mut subject, time, answer).await;
            step.tries = tries;
            step.falls_behind = plan.rule.judge(tried.first().map_or(&step, |(lowest, _)| lowest), &step);
            tokio::time::sleep(REST).await;
            // A neighbour's noise is not the server's knee. What was wrong is never tried away.
            if step.falls_behind.is_none() || step.wrong > 0 || tries == 2 {
                tried.push((step, subject));
                break;
            }
        }
    }
    tried.sort_by(|a, b| a.0.offered_per_second.total_cmp(&b.0.offered_per_second));
    conclude(plan.rule, tried, begin)
}

fn conclude(rule: Rule, mut tried: Vec<(Step, Subject)>, begin: &dyn Fn() -> Subject) -> (Ramp, Subject) {
    let steps: Vec<Step> = tried.iter().map(|(step, _)| step.clone()).collect();
    let knee = knee(&steps);
    let too_much = steps.iter().find(|step| step.falls_behind.is_some());
    let ramp = Ramp {
        rule,
        knee_per_second: knee.map(|knee| steps[knee].offered_per_second),
        knee_is_beyond: too_much.is_none(),
        generator_was_busy: too_much.is_some_and(|step| step.generator_cpu_cores >= GENERATOR_IS_BUSY),
        steps,
    };
    let chosen = knee.unwrap_or_else(|| tried.len().saturating_sub(1));
    let subject = if tried.is_empty() { begin() } else { tried.swap_remove(chosen).1 };
    (ramp, subject)
}

/// Of steps by rate, the last before the first that was not kept up with.
fn knee(steps: &[Step]) -> Option<usize> {
    let kept = steps.iter().position(|step| step.falls_behind.is_some()).unwrap_or(steps.len());
    kept.checked_sub(1)
}

async fn measure(
    rate: f64,
    work: &Rc<Work>,
    subject: &mut Subject,
    time: Duration,
    answer: Duration,
) -> Step {
    let spent = || Cpu::total_of(std::process::id()).unwrap_or_default();
    let (before, since) = (spent(), std::time::Instant::now());
    subject.measure(work, Pace::Open(rate), Amount::Time(time), answer).await;
    let generator = (spent() - before) / since.elapsed().as_secs_f64();
    let tally = subject.tally.borrow();
    step(rate, subject, &tally, generator)
}

fn step(rate: f64, subject: &Subject, tally: &Tally, generator: f64) -> Step {
    let seconds = subject.measured.seconds.max(f64::MIN_POSITIVE);
    let told = subject.timeline.iter().filter_map(|second| second.cpu_cores);
    let told: Vec<f64> = told.collect();
    let cpu = match subject.process {
        Some(_) => Some(subject.measured.cpu.total / seconds),
        None => (!told.is_empty()).then(|| told.iter().sum::<f64>() / told.len() as f64),
    };
    let memory = subject.process.map(|pid| Memory::of(pid).resident);
    Step {
        offered_per_second: rate,
        achieved_per_second: rounded(tally.answers_in_time as f64 / seconds, 2),
        tokens_per_second: rounded(tally.words_in_time as f64 / seconds, 1),
        seconds: rounded(seconds, 3),
        requests: tally.requests,
        completed: tally.completed,
        errors: tally.failed(),
        wrong: tally.wrong,
        first_token_ms: tally.first_token.spread(),
        between_tokens_ms: tally.between_tokens.spread(),
        completion_ms: tally.completion.spread(),
        cpu_cores: cpu.map(|cpu| rounded(cpu, 2)),
        rss_mib: memory
            .or_else(|| subject.timeline.last().and_then(|second| second.rss_mib))
            .map(|memory| rounded(memory, 1)),
        generator_cpu_cores: rounded(generator, 2),
        tries: 1,
        falls_behind: None,
    }
}

#[cfg(test)]
mod tests;
