//! Streams on which nothing happens: what they cost, what they do to others, and whether all come back.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use super::{
    client::{Client, Held, Target},
    load::Subject,
    process::Memory,
    stage::{Failed, PrivateServer},
    tally::{Failure, Spread, Tally, Waits},
};

/// Requests under way while conversations are begun, and streams being opened at once.
const AT_ONCE: usize = 64;

/// How often health is asked for.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// How often it is looked whether all are there.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// If not all are there by then, some never will be.
const ALL_WITHIN: Duration = Duration::from_secs(120);

/// What was seen of the streams.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Idle {
    pub(super) streams: usize,
    /// Until all were open.
    pub(super) open_ms: f64,
    /// The server's memory with all of them open.
    pub(super) rss_mib: Option<f64>,
    /// By which it grew, for each.
    pub(super) kib_per_stream: Option<f64>,
    /// Health as a probe sees it while they are open.
    pub(super) healthz_ms: Option<Spread>,
    pub(super) restart: Option<Restart>,
}

/// A clean stop and a start on the same data, under all of them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Restart {
    /// From the signal to the process's end.
    pub(super) stop_ms: f64,
    /// From its start to its line.
    pub(super) ready_ms: f64,
    /// From the signal until every stream was open again.
    pub(super) all_back_ms: f64,
    /// Streams that then brought a whole new answer, with no number missing since before the restart.
    pub(super) answered: usize,
}

/// What the readers tell.
#[derive(Debug)]
struct Crowd {
    open: Cell<usize>,
    answered: Cell<usize>,
    failed: Cell<usize>,
    tally: Rc<RefCell<Tally>>,
}

impl Held for Crowd {
    fn opened(&self) {
        self.open.set(self.open.get() + 1);
    }

    fn lost(&self) {
        self.open.set(self.open.get() - 1);
    }

    fn answered(&self) {
        self.answered.set(self.answered.get() + 1);
    }

    fn failed(&self, failure: Failure) {
        self.failed.set(self.failed.get() + 1);
        self.tally.borrow_mut().blame(&failure);
    }
}

impl Crowd {
    /// Waits until that many are; those that failed are not waited for.
    async fn all(&self, count: &Cell<usize>, expected: usize, what: &str) -> Result<(), Failed> {
        let all = async {
            while count.get() + self.failed.get() < expected {
                sleep(LOOK_EVERY).await;
            }
        };
        let waited = timeout(ALL_WITHIN, all).await;
        waited.map_err(|_| format!("only {} of {expected} streams {what}", count.get()).into())
    }
}

/// Opens that many streams, looks at them for a while, and restarts the server under them if it is ours.
pub(super) async fn run(
    subject: &mut Subject,
    server: Option<&mut PrivateServer>,
    streams: usize,
    time: Duration,
) -> Result<Idle, Failed> {
    let begun = Instant::now();
    let target = Rc::clone(&subject.target);
    let conversations = Rc::new(begin(&target, streams).await?);
    let memory = || subject.process.map(|pid| Memory::of(pid).resident);
    let crowd = Rc::new(Crowd {
        open: Cell::new(0),
        answered: Cell::new(0),
        failed: Cell::new(0),
        tally: Rc::clone(&subject.tally),
    });
    let (before, since) = (memory(), Instant::now());
    let mut readers = JoinSet::new();
    for (number, (conversation, sequence)) in conversations.iter().cloned().enumerate() {
        let (crowd, mut client) = (Rc::clone(&crowd), Client::new(&target));
        crowd.all(&crowd.open, (number + 1).saturating_sub(AT_ONCE), "opened").await?;
        readers.spawn_local(async move { client.hold(&conversation, sequence, &*crowd).await });
    }
    crowd.all(&crowd.open, streams, "opened").await?;
    let open = since.elapsed();
    let healthz = probe(&target, time).await;
    let after = memory();
    let grown = before.zip(after).map(|(before, after)| (after - before) * 1024.0 / streams as f64);
    let restart = match server {
        Some(server) => Some(restart(server, &crowd, &target, &conversations).await?),
        None => None,
    };
    {
        let mut tally = subject.tally.borrow_mut();
        tally.requests += streams as u64;
        tally.completed += (streams - crowd.failed.get()) as u64;
    }
    subject.measured.seconds = begun.elapsed().as_secs_f64();
    // It is another one since the restart.
    subject.process = None;
    Ok(Idle {
        streams,
        open_ms: milliseconds(open),
        rss_mib: after.map(|mebibytes| (mebibytes * 10.0).round() / 10.0),
        kib_per_stream: grown.map(|kib| (kib * 100.0).round() / 100.0),
        healthz_ms: healthz,
        restart,
    })
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} idle streams, open after {} ms", self.streams, self.open_ms)?;
        if let (Some(kib), Some(all)) = (self.kib_per_stream, self.rss_mib) {
            writeln!(f, "{kib} KiB of the server's memory each, {all} MiB in all")?;
        }
        if let Some(Spread { p50, p99, max, .. }) = self.healthz_ms {
            writeln!(f, "/healthz meanwhile: p50 {p50} ms, p99 {p99} ms, max {max} ms")?;
        }
        if let Some(Restart { stop_ms, ready_ms, all_back_ms, answered }) = self.restart {
            writeln!(
                f,
                "restarted: stopped in {stop_ms} ms, ready {ready_ms} ms after its start, all streams back"
            )?;
            writeln!(
                f,
                "{all_back_ms} ms after the signal; {answered} of them then brought a whole new answer"
            )?;
        }
        Ok(())
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

#[derive(Deserialize)]
struct Started {
    conversation: Conversation,
}

#[derive(Deserialize)]
struct Conversation {
    id: String,
    sequence: i64,
}

/// Begins conversations, without a message yet. Says the last sequence of each.
async fn begin(target: &Rc<Target>, count: usize) -> Result<Vec<(String, i64)>, Failed> {
    let request = Rc::new(target.post("/v1/conversations", &json!({ "channel": "bench" })));
    let (left, begun) = (Rc::new(Cell::new(count)), Rc::new(RefCell::new(Vec::new())));
    let each = |client: Client| {
        let (request, left, begun) = (Rc::clone(&request), Rc::clone(&left), Rc::clone(&begun));
        let mut client = client;
        async move {
            while left.get() > 0 {
                left.set(left.get() - 1);
                let body = client.call(&request).await?;
                let Ok(Started { conversation }) = serde_json::from_slice(&body) else {
                    return Err(super::answer::Fault::Senseless.into());
                };
                begun.borrow_mut().push((conversation.id, conversation.sequence));
            }
            Ok(())
        }
    };
    at_once(target, each).await?;
    Ok(begun.take())
}

/// Runs the same on several clients; the first failure is everybody's.
async fn at_once<F, T>(target: &Rc<Target>, each: F) -> Result<(), Failed>
where
    F: Fn(Client) -> T,
    T: Future<Output = Result<(), Failure>> + 'static,
{
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        clients.spawn_local(each(Client::new(target)));
    }
    while let Some(ended) = clients.join_next().await {
        ended?.map_err(|failure| failure.to_string())?;
    }
    Ok(())
}

/// How long health takes to answer.
async fn probe(target: &Rc<Target>, time: Duration) -> Option<Spread> {
    let (mut waits, mut client) = (Waits::new(), Client::new(target));
    let request = target.get("/healthz", "");
    let (begun, mut ticks) = (Instant::now(), interval(PROBE_EVERY));
    while begun.elapsed() < time {
        let due = ticks.tick().await;
        if client.call(&request).await.is_ok() {
            waits.record(due.into_std().elapsed());
        }
    }
    waits.spread()
}

async fn restart(
    server: &mut PrivateServer,
    crowd: &Rc<Crowd>,
    target: &Rc<Target>,
    conversations: &Rc<Vec<(String, i64)>>,
) -> Result<Restart, Failed> {
    let since = Instant::now();
    server.stop().await?;
    let stop = since.elapsed();
    server.start_again().await?;
    let all = conversations.len();
    crowd.all(&crowd.open, all, "came back").await?;
    let all_back = since.elapsed();
    let left = Rc::new(Cell::new(0));
    let each = |client: Client| {
        let (left, target, conversations) = (Rc::clone(&left), Rc::clone(target), Rc::clone(conversations));
        let mut client = client;
        async move {
            while let Some((conversation, _)) = conversations.get(left.get()) {
                left.set(left.get() + 1);
                let mut message = target.message();
                message["wait_seconds"] = 0.into();
                let path = format!("/v1/conversations/{conversation}/messages");
                client.call(&target.post(&path, &message)).await?;
            }
            Ok(())
        }
    };
    at_once(target, each).await?;
    crowd.all(&crowd.answered, all, "brought an answer").await?;
    Ok(Restart {
        stop_ms: milliseconds(stop),
        ready_ms: milliseconds(server.running.ready),
        all_back_ms: milliseconds(all_back),
        answered: crowd.answered.get(),
    })
}
