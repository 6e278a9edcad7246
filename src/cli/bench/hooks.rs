//! How fast events reach endpoints, and whether all of them do: a backlog, a flood of new ones, a trickle whose waits
//! count, and the same trickle beside endpoints that hang and fail.

pub(in crate::cli) mod bare;
mod receiver;

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use self::receiver::{Manner, Receiver};
use super::{
    answer::Fault,
    client::Client,
    load::{Amount, Pace, Subject},
    options::Options,
    process::{Cpu, Memory},
    progress::Progress,
    protocol::Protocol,
    report::{over, rounded},
    scenario::{Scenario, Work},
    stage::{Failed, PrivateServer},
    tally::{Failure, Spread, Waits},
};

/// Endpoints of the backlog.
const ENDPOINTS: usize = 16;

/// What waits for each of the two that misbehave.
const QUEUED: u64 = 10_000;

/// The trickle unless told otherwise.
const RATE: f64 = 200.0;

/// Alone and beside the others in turn, so often each: a noisy neighbour then meets both.
const TURNS: u32 = 2;

/// Where nothing comes for so long, nothing will.
const STALLED_AFTER: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Of a stretch of the trickle, what is not counted: connections are opened.
const WARM_UP: Duration = Duration::from_secs(1);

/// The endpoints that misbehave are at it.
const AT_IT_AFTER: Duration = Duration::from_millis(500);

/// Of this machine, and always at it: a breaker would spare an endpoint that fails, and with it the others.
pub(super) const SETTINGS: [(&str, &str); 4] = [
    ("OPENCLAW__WEBHOOKS__ALLOW_CIDRS", "127.0.0.0/8"),
    ("OPENCLAW__WEBHOOKS__ALLOW_HTTP", "true"),
    ("OPENCLAW__WEBHOOKS__BREAKER_FAILURES", "0"),
    ("OPENCLAW__WEBHOOKS__WAITS_MS", "1000"),
];

/// Where the trickle's events happen.
const HEALTHY: &str = "healthy";
const FAILING: &str = "failing";
const HANGING: &str = "hanging";

/// What deliveries took and cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Drained {
    pub(super) deliveries: u64,
    pub(super) endpoints: usize,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    /// Of the server alone.
    pub(super) cpu_ms_each: f64,
    pub(super) cpu_ms_each_by_threads: Vec<(String, f64)>,
    pub(super) rss_mib: f64,
    pub(super) peak_rss_mib: f64,
}

/// How long events took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Trickle {
    pub(super) events: usize,
    /// From when the request was due that caused it: commit and answer are part of it.
    pub(super) request_to_receipt_ms: Option<Spread>,
    /// From when that request was answered, which is after the commit; nothing where the event was faster.
    pub(super) answer_to_receipt_ms: Option<Spread>,
}

/// What the baseline did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Bare {
    pub(super) deliveries: u64,
    pub(super) per_second: f64,
    pub(super) cpu_ms_each: f64,
}

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) backlog: Drained,
    /// New events, from the first request to the last receipt.
    pub(super) end_to_end: Drained,
    pub(super) rate: f64,
    pub(super) alone: Trickle,
    /// The same beside an endpoint that hangs and one that fails.
    pub(super) beside: Trickle,
    pub(super) beside_over_alone_p99: Option<f64>,
    /// What the two that misbehave were sent meanwhile.
    pub(super) hung: u64,
    pub(super) failed: u64,
    /// Events that came more than once.
    pub(super) repeated: u64,
    pub(super) bare: Option<Bare>,
    /// The backlog over the baseline.
    pub(super) cpu_over_bare: Option<f64>,
    pub(super) per_second_over_bare: Option<f64>,
}

/// A receiver with its webhook.
struct Endpoint {
    receiver: Receiver,
    path: String,
    channel: String,
}

struct Run<'a> {
    options: &'a Options,
    server: &'a PrivateServer,
    ours: &'a mut Subject,
    client: Client,
    sinks: Vec<Endpoint>,
    healthy: Endpoint,
    failing: Endpoint,
    hanging: Endpoint,
}

/// Measures all of it, and counts what is wrong.
pub(super) async fn run(
    options: &Options,
    server: &PrivateServer,
    ours: &mut Subject,
    progress: &Progress,
) -> Result<Told, Failed> {
    let mut run = Run::begin(options, server, ours).await?;
    progress.say("storing what is to be delivered");
    let backlog = options.backlog / ENDPOINTS as u64 * ENDPOINTS as u64;
    run.fill(backlog).await?;
    progress.say("draining the backlog");
    let backlog = run.drain(backlog).await?;
    progress.say("telling of new events");
    let end_to_end = run.flood().await?;
    let rate = options.rate().unwrap_or(RATE);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        progress.say("a trickle, alone");
        alone.extend(run.trickle(rate).await?);
        progress.say("a trickle beside endpoints that hang and fail");
        run.enable_bad_ones(true).await?;
        sleep(AT_IT_AFTER).await;
        beside.extend(run.trickle(rate).await?);
        run.enable_bad_ones(false).await?;
    }
    let bare = match options.against_bare {
        true => Some(run.bare(backlog.deliveries).await?),
        false => None,
    };
    let (alone, beside) = (Trickle::of(&alone), Trickle::of(&beside));
    let p99 = |trickle: &Trickle| trickle.request_to_receipt_ms.map(|spread| spread.p99);
    Ok(Told {
        beside_over_alone_p99: over(p99(&beside), p99(&alone)),
        cpu_over_bare: over(Some(backlog.cpu_ms_each), bare.as_ref().map(|bare| bare.cpu_ms_each)),
        per_second_over_bare: over(Some(backlog.per_second), bare.as_ref().map(|bare| bare.per_second)),
        hung: run.hanging.receiver.times(),
        failed: run.failing.receiver.times(),
        repeated: run.judge(),
        backlog,
        end_to_end,
        rate,
        alone,
        beside,
        bare,
    })
}

/// An event of the trickle: when its request was due, when it was answered, and when the event came.
struct Journey {
    due: Instant,
    answered: Instant,
    came: Instant,
}

impl Trickle {
    fn of(journeys: &[Journey]) -> Self {
        let (mut request, mut answer) = (Waits::new(), Waits::new());
        for journey in journeys {
            request.record(journey.came.saturating_duration_since(journey.due));
            answer.record(journey.came.saturating_duration_since(journey.answered));
        }
        Self {
            events: journeys.len(),
            request_to_receipt_ms: request.spread(),
            answer_to_receipt_ms: answer.spread(),
        }
    }
}

impl<'a> Run<'a> {
    async fn begin(
        options: &'a Options,
        server: &'a PrivateServer,
        ours: &'a mut Subject,
    ) -> Result<Self, Failed> {
        let mut client = Client::new(&ours.target);
        let manners = [vec![Manner::Takes; ENDPOINTS + 1], vec![Manner::Refuses, Manner::Hangs]].concat();
        let channels = (0..ENDPOINTS).map(|number| format!("backlog-{number}"));
        let channels = channels.chain([HEALTHY, FAILING, HANGING].map(str::to_owned));
        let mut endpoints = Vec::new();
        for (receiver, channel) in Receiver::start(&manners)?.into_iter().zip(channels) {
            let enabled = channel == HEALTHY;
            let body = json!({"url": format!("http://{}/", receiver.address), "channels": [channel],
                "events": ["conversation.started"], "enabled": enabled});
            let made = call(&mut client, &ours.target.post("/v1/webhooks", &body)).await?;
            receiver.knows(made["secret"].as_str().unwrap_or_default());
            let path = format!("/v1/webhooks/{}", made["webhook"]["id"].as_str().unwrap_or_default());
            endpoints.push(Endpoint { receiver, path, channel });
        }
        let (Some(hanging), Some(failing), Some(healthy)) =
            (endpoints.pop(), endpoints.pop(), endpoints.pop())
        else {
            return Err("no receivers could be started".into());
        };
        Ok(Self { options, server, ours, client, sinks: endpoints, healthy, failing, hanging })
    }

    async fn fill(&self, backlog: u64) -> Result<(), Failed> {
        let each = backlog / ENDPOINTS as u64;
        let queued = QUEUED.min(each);
        let sinks = self.sinks.iter().map(|sink| (&*sink.channel, each));
        let channels: Vec<_> = sinks.chain([(FAILING, queued), (HANGING, queued)]).collect();
        self.server.fill_webhooks(&channels).await
    }

    async fn enable(&mut self, path: &str, enabled: bool) -> Result<(), Failed> {
        let request = self.ours.target.patch(path, &json!({"enabled": enabled}));
        call(&mut self.client, &request).await.map(drop)
    }

    async fn enable_bad_ones(&mut self, enabled: bool) -> Result<(), Failed> {
        for path in [self.failing.path.clone(), self.hanging.path.clone()] {
            self.enable(&path, enabled).await?;
        }
        Ok(())
    }

    /// What the server spent since, for each of so many deliveries.
    fn cost(&self, deliveries: u64, endpoints: usize, since: Instant, before: &Cpu) -> Drained {
        let pid = self.server.running.pid;
        let (seconds, cpu, memory) =
            (since.elapsed().as_secs_f64(), Cpu::of(pid).since(before), Memory::of(pid));
        let each = |seconds: f64| rounded(seconds * 1e3 / deliveries.max(1) as f64, 4);
        Drained {
            deliveries,
            endpoints,
            seconds: rounded(seconds, 3),
            per_second: rounded(deliveries as f64 / seconds, 1),
            cpu_ms_each: each(cpu.total),
            cpu_ms_each_by_threads: cpu
                .groups
                .iter()
                .map(|(name, spent)| (name.clone(), each(*spent)))
                .collect(),
            rss_mib: rounded(memory.resident, 1),
            peak_rss_mib: rounded(memory.peak, 1),
        }
    }

    /// Lets the backlog go, from the first endpoint that is enabled to the last receipt.
    async fn drain(&mut self, backlog: u64) -> Result<Drained, Failed> {
        let paths: Vec<String> = self.sinks.iter().map(|sink| sink.path.clone()).collect();
        let (since, before) = (Instant::now(), Cpu::of(self.server.running.pid));
        for path in paths {
            self.enable(&path, true).await?;
        }
        self.until_it_came(backlog, |run| run.sinks.iter().map(|sink| sink.receiver.times()).sum()).await;
        let drained = self.cost(backlog, ENDPOINTS, since, &before);
        let came: usize = self.sinks.iter().map(|sink| sink.receiver.book().receipts.len()).sum();
        self.count(backlog, came as u64);
        Ok(drained)
    }

    /// Waits until so much came, or nothing comes any more.
    async fn until_it_came(&self, expected: u64, came: impl Fn(&Self) -> u64) {
        let (mut last, mut since) = (came(self), Instant::now());
        while last < expected && since.elapsed() < STALLED_AFTER {
            sleep(LOOK_EVERY).await;
            let now = came(self);
            if now > last {
                (last, since) = (now, Instant::now());
                self.ours.done.set(now);
            }
        }
    }

    fn count(&self, expected: u64, came: u64) {
        let mut tally = self.ours.tally.borrow_mut();
        tally.requests += came;
        tally.completed += came;
        if came < expected {
            tally.count_more(&Fault::Undelivered(expected - came).into());
        }
    }

    /// As many new events as the server takes.
    async fn flood(&mut self) -> Result<Drained, Failed> {
        let begun = self.healthy.receiver.times();
        let (since, before) = (Instant::now(), Cpu::of(self.server.running.pid));
        let work = self.work();
        let pace = Pace::Closed(self.options.clients());
        self.load(&work, pace).await;
        let events = work.told.borrow().len() as u64;
        self.until_it_came(begun + events, |run| run.healthy.receiver.times()).await;
        let drained = self.cost(events, 1, since, &before);
        self.journeys(&work);
        Ok(drained)
    }

    async fn trickle(&mut self, rate: f64) -> Result<Vec<Journey>, Failed> {
        let begun = self.healthy.receiver.times();
        let work = self.work();
        self.load(&work, Pace::Open(rate)).await;
        let events = work.told.borrow().len() as u64;
        self.until_it_came(begun + events, |run| run.healthy.receiver.times()).await;
        let mut journeys = self.journeys(&work);
        let first = journeys.iter().map(|journey| journey.due).min();
        journeys.retain(|journey| first.is_some_and(|first| journey.due >= first + WARM_UP));
        Ok(journeys)
    }

    fn work(&self) -> Rc<Work> {
        Rc::new(Work::new(Scenario::Webhooks, Protocol::Sse, &self.ours.target))
    }

    /// For the time that is asked for; its own answers are not what is counted.
    async fn load(&mut self, work: &Rc<Work>, pace: Pace) {
        let mut subject = Subject::new(Rc::clone(&self.ours.target), None, &self.ours.done);
        subject.measure(work, pace, Amount::Time(self.options.time()), Duration::ZERO).await;
        let tally = subject.tally.borrow();
        let mut ours = self.ours.tally.borrow_mut();
        for (kind, count) in &tally.errors {
            *ours.errors.entry(kind.clone()).or_default() += count;
        }
    }

    fn journeys(&self, work: &Work) -> Vec<Journey> {
        let (told, book) = (work.told.borrow(), self.healthy.receiver.book());
        let journey = |(conversation, due, answered): &(String, Instant, Instant)| {
            let receipt = book.receipts.get(conversation)?;
            Some(Journey { due: *due, answered: *answered, came: receipt.first })
        };
        let journeys: Vec<_> = told.iter().filter_map(journey).collect();
        self.count(told.len() as u64, journeys.len() as u64);
        journeys
    }

    /// Says how many came more than once, and counts what was forged.
    fn judge(&self) -> u64 {
        let mut repeated = 0;
        for endpoint in self.sinks.iter().chain([&self.healthy, &self.failing, &self.hanging]) {
            let book = endpoint.receiver.book();
            if book.forged > 0 {
                self.ours.tally.borrow_mut().count_more(&Failure::Wrong(Fault::Forged(book.forged)));
            }
            if endpoint.receiver.manner() == Manner::Takes {
                repeated += book.receipts.values().filter(|receipt| receipt.times > 1).count() as u64;
            }
        }
        // Nothing is killed here, so nothing has a reason to come twice.
        if repeated > 0 {
            self.ours.tally.borrow_mut().count_more(&Fault::Repeated(repeated).into());
        }
        repeated
    }

    async fn bare(&self, count: u64) -> Result<Bare, Failed> {
        let receivers = Receiver::start(&[Manner::Takes; ENDPOINTS])?;
        let addresses: Vec<_> = receivers.iter().map(|receiver| receiver.address).collect();
        let sample = self.healthy.receiver.book().sample.clone();
        let posted = self.server.bare_webhooks(&sample, count, &addresses).await?;
        Ok(Bare {
            deliveries: posted.deliveries,
            per_second: rounded(posted.deliveries as f64 / posted.seconds, 1),
            cpu_ms_each: rounded(posted.cpu_seconds * 1e3 / posted.deliveries.max(1) as f64, 4),
        })
    }
}

async fn call(client: &mut Client, request: &[u8]) -> Result<Value, Failed> {
    let body = client.call(request).await.map_err(|failure| failure.to_string())?;
    Ok(serde_json::from_slice(&body)?)
}
