//! How requests are spread over time: a closed loop of clients, or an open one at a rate.
//!
//! In the closed loop each client asks again when it was answered, so a slow server is asked less often; its waits
//! count from the moment of sending, and HDR's correction by an expected interval does not apply, because there is no
//! interval. In the open loop requests come when they are due, however slow the server is, and waits count from that
//! scheduled instant: what a request waited because the server, or this generator, was behind is part of it. So
//! neither loop omits what a slow server causes.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    sync::Semaphore,
    task::{JoinSet, spawn_local},
    time::{sleep, sleep_until},
};

use super::{
    client::{Client, Target},
    process::Cpu,
    scenario::Work,
    tally::{Failure, Tally, Took},
    timeline::{Second, Source, Watch},
};

/// Before the clock runs: caches fill, connections are opened, the allocator finds its size.
const WARM_UP: Duration = Duration::from_secs(1);

/// After an error a client waits that long: a server that refuses at once would only be asked more often.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Requests of an open loop under way at once. Those beyond wait here, and that wait counts.
const MOST_UNDER_WAY: usize = 10_000;

/// When requests come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// From so many clients, each after its last answer.
    Closed(usize),
    /// So many per second.
    Open(f64),
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    Time(Duration),
    Requests(u64),
}

impl Amount {
    /// An equal share of it.
    pub(super) fn share(self, of: u32) -> Self {
        match self {
            Self::Time(time) => Self::Time(time / of),
            Self::Requests(requests) => Self::Requests((requests / u64::from(of)).max(1)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measured,
    Over,
}

/// What all clients of a slice share.
#[derive(Debug)]
struct Shared {
    phase: Cell<Phase>,
    /// Requests still to be made.
    left: Cell<u64>,
    work: Rc<Work>,
    tally: Rc<RefCell<Tally>>,
    /// Finished requests of all slices, for whoever watches.
    done: Rc<Cell<u64>>,
}

impl Shared {
    /// Is there something left to ask?
    fn take_one(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0 && self.phase.get() != Phase::Over
    }

    fn record(&self, client: &Client, outcome: &Result<Took, Failure>, is_measured: bool) {
        let mut tally = self.tally.borrow_mut();
        tally.count(outcome, client.waits(), is_measured);
        if let (Ok(took), Phase::Measured) = (outcome, self.phase.get()) {
            tally.count_in_time(took);
        }
        self.done.set(self.done.get() + 1);
    }

    async fn one(&self, client: &mut Client, since: Instant) -> bool {
        let is_measured = self.phase.get() == Phase::Measured;
        let outcome = self.work.run(client, since).await;
        self.record(client, &outcome, is_measured);
        outcome.is_ok()
    }
}

/// A stretch of measuring.
#[derive(Debug, Clone, Default)]
pub(super) struct Slice {
    pub(super) seconds: f64,
    /// Spent by the server's process meanwhile.
    pub(super) cpu: Cpu,
}

impl Slice {
    pub(super) fn add(&mut self, more: &Self) {
        self.seconds += more.seconds;
        self.cpu.add(&more.cpu);
    }
}

/// Where load goes, and what is known about it so far.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) target: Rc<Target>,
    /// The process that serves, if it is ours.
    pub(super) process: Option<u32>,
    /// Where it is looked up second by second what the server costs.
    pub(super) source: Source,
    pub(super) timeline: Vec<Second>,
    pub(super) tally: Rc<RefCell<Tally>>,
    pub(super) measured: Slice,
    pub(super) done: Rc<Cell<u64>>,
}

impl Subject {
    pub(super) fn new(target: Rc<Target>, process: Option<u32>, done: &Rc<Cell<u64>>) -> Self {
        let tally = Rc::new(RefCell::new(Tally::new()));
        let source = process.map_or(Source::Nowhere, Source::Process);
        let (timeline, measured) = (Vec::new(), Slice::default());
        Self { target, process, source, timeline, tally, measured, done: Rc::clone(done) }
    }

    /// The same, of which nothing is known yet.
    pub(super) fn again(&self) -> Self {
        let source = self.source.clone();
        Self { source, ..Self::new(Rc::clone(&self.target), self.process, &self.done) }
    }

    fn cpu(&self) -> Cpu {
        self.process.map(Cpu::of).unwrap_or_default()
    }

    /// Measures for a while, or so many requests. What is under way at the end is waited for.
    ///
    /// `answer` is about how long one answer takes: clients begin spread over that time, so that they do not go in
    /// step, which would flatter a server that commits in groups.
    pub(super) async fn measure(&mut self, work: &Rc<Work>, pace: Pace, amount: Amount, answer: Duration) {
        let shared = Rc::new(Shared {
            phase: Cell::new(Phase::WarmUp),
            left: Cell::new(u64::MAX),
            work: Rc::clone(work),
            tally: Rc::clone(&self.tally),
            done: Rc::clone(&self.done),
        });
        let slice = match amount {
            Amount::Time(time) => self.for_time(&shared, pace, time, answer).await,
            Amount::Requests(requests) => self.by_count(&shared, pace, requests).await,
        };
        self.measured.add(&slice);
    }

    async fn watch(&self) -> Watch {
        Watch::start(self.source.clone(), &self.tally, self.measured.seconds).await
    }

    async fn for_time(&mut self, shared: &Rc<Shared>, pace: Pace, time: Duration, answer: Duration) -> Slice {
        let crowd = spawn_local(run(Rc::clone(shared), Rc::clone(&self.target), pace, answer));
        sleep(WARM_UP.max(answer * 2)).await;
        let watch = self.watch().await;
        shared.phase.set(Phase::Measured);
        let (since, before) = (Instant::now(), self.cpu());
        sleep(time).await;
        let (cpu, seconds) = (self.cpu().since(&before), since.elapsed().as_secs_f64());
        shared.phase.set(Phase::Over);
        self.timeline.extend(watch.stop().await);
        // It ends by panic alone, which has been shown.
        drop(crowd.await);
        Slice { seconds, cpu }
    }

    async fn by_count(&mut self, shared: &Rc<Shared>, pace: Pace, requests: u64) -> Slice {
        shared.left.set(requests.min(WARM_UP_REQUESTS));
        run(Rc::clone(shared), Rc::clone(&self.target), pace, Duration::ZERO).await;
        shared.left.set(requests);
        let watch = self.watch().await;
        shared.phase.set(Phase::Measured);
        let (since, before) = (Instant::now(), self.cpu());
        run(Rc::clone(shared), Rc::clone(&self.target), pace, Duration::ZERO).await;
        let slice = Slice { seconds: since.elapsed().as_secs_f64(), cpu: self.cpu().since(&before) };
        self.timeline.extend(watch.stop().await);
        slice
    }
}

/// Where requests are counted, not timed, so many come before.
const WARM_UP_REQUESTS: u64 = 8;

/// Makes requests until there are none left, and waits for the last.
async fn run(shared: Rc<Shared>, target: Rc<Target>, pace: Pace, spread: Duration) {
    match pace {
        Pace::Closed(clients) => closed(shared, target, clients, spread).await,
        Pace::Open(per_second) => open(shared, target, per_second).await,
    }
}

async fn closed(shared: Rc<Shared>, target: Rc<Target>, clients: usize, spread: Duration) {
    let mut crowd = JoinSet::new();
    for number in 0..clients {
        let (shared, mut client) = (Rc::clone(&shared), Client::new(&target));
        let begins = spread.mul_f64(number as f64 / clients as f64);
        crowd.spawn_local(async move {
            sleep(begins).await;
            while shared.take_one() {
                if !shared.one(&mut client, Instant::now()).await {
                    sleep(AFTER_ERROR).await;
                }
            }
        });
    }
    while crowd.join_next().await.is_some() {}
}

async fn open(shared: Rc<Shared>, target: Rc<Target>, per_second: f64) {
    let idle: Rc<RefCell<Vec<Client>>> = Rc::default();
    let places = Rc::new(Semaphore::new(MOST_UNDER_WAY));
    let (mut crowd, begun) = (JoinSet::new(), Instant::now());
    let mut number = 0u64;
    loop {
        let due = begun + Duration::from_secs_f64(number as f64 / per_second);
        number += 1;
        sleep_until(due.into()).await;
        if !shared.take_one() {
            break;
        }
        while crowd.try_join_next().is_some() {}
        let (shared, idle, places) = (Rc::clone(&shared), Rc::clone(&idle), Rc::clone(&places));
        let target = Rc::clone(&target);
        crowd.spawn_local(async move {
            let _place = places.acquire().await;
            let waiting = idle.borrow_mut().pop();
            let mut client = waiting.unwrap_or_else(|| Client::new(&target));
            shared.one(&mut client, due).await;
            idle.borrow_mut().push(client);
        });
    }
    while crowd.join_next().await.is_some() {}
}
