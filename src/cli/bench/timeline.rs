//! What happened second by second while the clock ran: answers, and what the server's process spent and held.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    task::{JoinHandle, spawn_local},
    time::{MissedTickBehavior, interval_at, timeout},
};

use super::{
    client::{Client, Target},
    process::{Cpu, Memory},
    report::rounded,
    tally::Tally,
};

const EVERY: Duration = Duration::from_secs(1);

/// A server that does not tell its metrics within that is not waited for.
const TOLD_WITHIN: Duration = Duration::from_millis(500);

/// The end of a stretch that is shorter than this says nothing of its own.
const SHORTEST: f64 = 0.3;

/// About one second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Second {
    /// Measured seconds since the beginning, at its end.
    pub(super) at: f64,
    pub(super) answers_per_second: f64,
    pub(super) tokens_per_second: f64,
    pub(super) errors: u64,
    /// Of the server: 1 is a core that does nothing else.
    pub(super) cpu_cores: Option<f64>,
    pub(super) rss_mib: Option<f64>,
}

/// Where the server's costs are read.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A process of this machine.
    Process(u32),
    /// `/metrics` of a server that tells them to whoever asks from here.
    Metrics(Rc<Target>),
    Nowhere,
}

/// CPU seconds so far, and mebibytes in use.
type Costs = Option<(f64, f64)>;

impl Source {
    async fn costs(&self) -> Costs {
        match self {
            Self::Process(pid) => Some((Cpu::total_of(*pid)?, Memory::of(*pid).resident)),
            Self::Metrics(target) => timeout(TOLD_WITHIN, metrics(target)).await.ok().flatten(),
            Self::Nowhere => None,
        }
    }
}

async fn metrics(target: &Rc<Target>) -> Costs {
    let request = target.get("/metrics", "");
    let body = Client::new(target).call(&request).await.ok()?;
    costs_in(std::str::from_utf8(&body).ok()?)
}

fn costs_in(metrics: &str) -> Costs {
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse::<f64>().ok()
    };
    let memory = value("process_resident_memory_bytes")?;
    Some((value("process_cpu_seconds_total")?, memory / f64::from(1 << 20)))
}

/// Looks once a second, as long as it lives.
pub(super) struct Watch {
    state: Rc<RefCell<State>>,
    source: Source,
    ticking: JoinHandle<()>,
}

struct State {
    tally: Rc<RefCell<Tally>>,
    seconds: Vec<Second>,
    /// Measured seconds before this stretch.
    before: f64,
    begun: Instant,
    /// What was counted at the last look, and when.
    last: (Instant, u64, u64, u64, Costs),
}

impl Watch {
    /// Begins with a stretch of measuring.
    pub(super) async fn start(source: Source, tally: &Rc<RefCell<Tally>>, before: f64) -> Self {
        let costs = source.costs().await;
        let begun = Instant::now();
        let counted = counted(&tally.borrow());
        let state = Rc::new(RefCell::new(State {
            tally: Rc::clone(tally),
            seconds: Vec::new(),
            before,
            begun,
            last: (begun, counted.0, counted.1, counted.2, costs),
        }));
        let (seen, asked) = (Rc::clone(&state), source.clone());
        let ticking = spawn_local(async move {
            let mut ticks = interval_at((begun + EVERY).into(), EVERY);
            // After a second in which this process did not run, the next is a long one and not two.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let costs = asked.costs().await;
                seen.borrow_mut().look(costs);
            }
        });
        Self { state, source, ticking }
    }

    /// Ends with it, and says what was seen.
    pub(super) async fn stop(self) -> Vec<Second> {
        self.ticking.abort();
        let costs = self.source.costs().await;
        let mut state = self.state.borrow_mut();
        if state.last.0.elapsed().as_secs_f64() >= SHORTEST || state.seconds.is_empty() {
            state.look(costs);
        }
        std::mem::take(&mut state.seconds)
    }
}

fn counted(tally: &Tally) -> (u64, u64, u64) {
    (tally.answers_in_time, tally.words_in_time, tally.failed())
}

impl State {
    fn look(&mut self, costs: Costs) {
        let now = Instant::now();
        let (answers, words, errors) = counted(&self.tally.borrow());
        let (then, answers_then, words_then, errors_then, costs_then) = self.last;
        let took = (now - then).as_secs_f64().max(f64::MIN_POSITIVE);
        let each = |count: u64| rounded(count as f64 / took, 1);
        self.seconds.push(Second {
            at: rounded(self.before + (now - self.begun).as_secs_f64(), 2),
            answers_per_second: each(answers - answers_then),
            tokens_per_second: each(words - words_then),
            errors: errors - errors_then,
            cpu_cores: costs.zip(costs_then).map(|(now, then)| rounded((now.0 - then.0) / took, 2)),
            rss_mib: costs.map(|(_, memory)| rounded(memory, 1)),
        });
        self.last = (now, answers, words, errors, costs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_from_metrics() {
        let metrics = "# HELP process_cpu_seconds x\n# TYPE process_cpu_seconds counter\n\
            process_cpu_seconds_total 12.5\nprocess_resident_memory_bytes 1048576\nprocess_open_fds 4\n";
        assert_eq!(costs_in(metrics), Some((12.5, 1.0)));
        assert_eq!(costs_in("something else"), None);
    }
}
