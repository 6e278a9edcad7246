//! A run: what is started, what is asked of it and in which order, and what is told at the end.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::http::Uri;
use openclaw_actors::tls::Trust;
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    about::About,
    client::{Client, Target},
    commits, hooks, idle, knowledge,
    load::{Amount, Pace, Subject},
    options::{Model, Options},
    process::Memory,
    progress::Progress,
    protocol::Protocol,
    ramp,
    report::{Bare, Ratio, Report, Server},
    restarts,
    scenario::{Scenario, Work},
    slow,
    stage::{Failed, Listening, Plan, PrivateServer},
    tally::Failure,
    timeline::Source,
    wire::{Address, Tls},
};
use crate::cli::remote::ServerUrl;

/// The server and the baseline are measured in turn, so often each: a noisy neighbour then meets both.
const SLICES: u32 = 4;

/// Fewer requests than this are not worth cutting into slices.
const SLICED_REQUESTS: u64 = 100;

/// Less time neither: each slice has a warm-up of its own.
const SLICED_TIME: Duration = Duration::from_secs(4);

/// Where servers are unless a URL says otherwise.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// A name is looked up within that.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

/// How conversations are answered that only have to be there.
const AT_ONCE: Model = Model { tokens: 1, tokens_per_second: 0.0, first_token_ms: 0 };

/// Clients that bring them to life.
const MIDWIVES: usize = 64;

/// How often all streams are cut at once where streams are cut.
const HERD_EVERY: Duration = Duration::from_secs(2);

/// What a run has started.
#[derive(Default)]
pub(super) struct Stage {
    server: Option<PrivateServer>,
    bare: Option<Listening>,
}

impl Stage {
    /// Everything from the first process to the report.
    pub(super) async fn perform(&mut self, options: &Options) -> Result<Report, Failed> {
        // What cannot be read is told before anything is started.
        let articles = options.articles.as_deref().map(knowledge::read).transpose()?;
        let about = About::now(options.title.as_deref(), options.described());
        let done = Rc::new(Cell::new(0));
        let progress = Progress::start(options.json, &done);
        let target = Rc::new(self.target(options, &progress).await?);
        let process = self.server.as_ref().map(|server| server.running.pid);
        // A process that is killed takes its figures with it.
        let process = process.filter(|_| options.scenario != Scenario::Restart);
        let mut ours = Subject::new(Rc::clone(&target), process, &done);
        if options.url.is_some() {
            ours.source = Source::Metrics(Rc::clone(&target));
        }
        if options.scenario == Scenario::Webhooks {
            let told = hooks::run(options, self.server()?, &mut ours, &progress).await?;
            let mut report = self.report(options, &ours, about);
            report.webhooks = Some(told);
            return Ok(report);
        }
        if options.scenario == Scenario::Knowledge {
            return self.learn(options, ours, articles, about, &progress).await;
        }
        progress.say("bringing conversations to life");
        self.bring_to_life(options, &done).await?;
        progress.say("");
        let work = Rc::new(Work::new(options.scenario, options.protocol, &target));
        let answer = first_answer(&work, &target).await?;
        if let Some(plan) = options.ramp() {
            return Ok(self.rise(options, &plan, &ours, &work, about, &progress).await);
        }
        match (options.scenario, answer.filter(|_| options.against_bare)) {
            (Scenario::Idle, _) => self.hold(options, ours, about).await,
            (Scenario::Restart, _) => self.kill(options, ours, &work, about).await,
            (Scenario::Accept, Some(_)) => self.beside_commits(options, ours, &work, about).await,
            (_, Some(answer)) => self.beside_bare(options, ours, &work, &answer, about).await,
            (Scenario::SlowReaders, None) => {
                let crowd = slow::crowd(&target, options.clients());
                measure(options, &mut ours, &work, 1).await;
                drop(crowd);
                Ok(self.report(options, &ours, about))
            }
            (Scenario::Resume, None) => {
                tokio::select! {
                    () = measure(options, &mut ours, &work, 1) => {}
                    () = cut_all_at_once(&work) => {}
                }
                Ok(self.report(options, &ours, about))
            }
            (_, None) => {
                measure(options, &mut ours, &work, 1).await;
                Ok(self.report(options, &ours, about))
            }
        }
    }

    /// Where requests go: a private server, unless one is named.
    async fn target(&mut self, options: &Options, progress: &Progress) -> Result<Target, Failed> {
        let model = options.model();
        let words = model.and_then(|model| usize::try_from(model.tokens).ok());
        if let (Some(url), Some(key)) = (&options.url, &options.key) {
            let trust = options.ca_file.as_deref().map(Trust::read).transpose()?.unwrap_or_default();
            let (address, host, prefix) = find(url, &trust).await?;
            let options = model.map(|model| model.fields());
            return Ok(Target { address, host, prefix, key: key.clone(), options, words });
        }
        let plan = Plan {
            model: model.unwrap_or_default(),
            database_url: options.database_url.clone(),
            rate_limited: options.rate_limited,
            stored: options.conversations,
            settings: if options.scenario == Scenario::Webhooks { &hooks::SETTINGS } else { &[] },
            answers_from_articles: options.scenario == Scenario::Knowledge,
        };
        progress.say("starting a private server");
        let told = |stored| progress.say(&format!("{stored} conversations are stored"));
        let server = self.server.insert(PrivateServer::start(&plan, told).await?);
        Ok(local(server.running.address, server.key.clone(), words))
    }

    fn server(&mut self) -> Result<&mut PrivateServer, Failed> {
        self.server.as_mut().ok_or_else(|| "that needs a private server".into())
    }

    /// Has conversations answered once, so that their actors are in memory while others are measured.
    async fn bring_to_life(&mut self, options: &Options, done: &Rc<Cell<u64>>) -> Result<(), Failed> {
        if options.live == 0 {
            return Ok(());
        }
        let server = self.server()?;
        let target = Rc::new(Target {
            options: Some(AT_ONCE.fields()),
            ..local(server.running.address, server.key.clone(), Some(1))
        });
        let mut subject = Subject::new(Rc::clone(&target), None, done);
        let work = Rc::new(Work::new(Scenario::Stream, Protocol::Sse, &target));
        let (pace, amount) = (Pace::Closed(MIDWIVES), Amount::Requests(options.live));
        subject.measure(&work, pace, amount, Duration::ZERO).await;
        let tally = subject.tally.borrow();
        match tally.completed >= options.live {
            true => Ok(()),
            false => Err(format!("only {} conversations could be brought to life", tally.completed).into()),
        }
    }

    async fn hold(&mut self, options: &Options, mut ours: Subject, about: About) -> Result<Report, Failed> {
        let idle = idle::run(&mut ours, self.server.as_mut(), options.clients(), options.time()).await?;
        let mut report = self.report(options, &ours, about);
        report.idle = Some(idle);
        Ok(report)
    }

    async fn kill(
        &mut self,
        options: &Options,
        mut ours: Subject,
        work: &Rc<Work>,
        about: About,
    ) -> Result<Report, Failed> {
        let (done, is_over) = (Rc::clone(&ours.done), Cell::new(false));
        let target = Rc::clone(&ours.target);
        let server = self.server()?;
        let kills = restarts::kill_now_and_then(server, options.amount(), &done, &is_over);
        let measured = async {
            measure(options, &mut ours, work, 1).await;
            is_over.set(true);
        };
        let (away, ()) = tokio::join!(kills, measured);
        let ledger = work.ledger.take();
        let lost = restarts::what_was_lost(&target, &ledger, work.begun()).await?;
        lost.iter().for_each(|failure| ours.tally.borrow_mut().count_more(failure));
        let mut report = self.report(options, &ours, about);
        report.away_ms = away?.iter().map(|away| (away.as_secs_f64() * 1e4).round() / 10.0).collect();
        Ok(report)
    }

    async fn beside_commits(
        &mut self,
        options: &Options,
        mut ours: Subject,
        work: &Rc<Work>,
        about: About,
    ) -> Result<Report, Failed> {
        let mut bare = commits::Loop::open(&self.server()?.place_for("bare")).await?;
        let slices = slices(options.amount());
        for _ in 0..slices {
            measure(options, &mut ours, work, slices).await;
            bare.run(options.clients(), options.amount().share(slices)).await?;
        }
        let told = Bare::of_commits(bare.accepts, bare.spent);
        bare.close().await;
        Ok(compared(self.report(options, &ours, about), told))
    }

    async fn beside_bare(
        &mut self,
        options: &Options,
        mut ours: Subject,
        work: &Rc<Work>,
        answer: &[u8],
        about: About,
    ) -> Result<Report, Failed> {
        let started = self.server()?.start_bare(answer).await?;
        let target = Rc::new(local(started.address, ours.target.key.clone(), ours.target.words));
        let mut bare = Subject::new(Rc::clone(&target), Some(started.pid), &ours.done);
        self.bare = Some(started);
        let same_work = Rc::new(Work::new(options.scenario, options.protocol, &target));
        let slices = slices(options.amount());
        for _ in 0..slices {
            measure(options, &mut ours, work, slices).await;
            measure(options, &mut bare, &same_work, slices).await;
        }
        Ok(compared(self.report(options, &ours, about), Bare::of(&bare)))
    }

    /// Raises the rate until the server no longer keeps up.
    async fn rise(
        &self,
        options: &Options,
        plan: &ramp::Plan,
        ours: &Subject,
        work: &Rc<Work>,
        about: About,
        progress: &Progress,
    ) -> Report {
        let begin = || ours.again();
        let times = (options.time(), answer_time(options));
        let (ramp, at_the_knee) = ramp::run(plan, work, &begin, times, progress).await;
        let mut report = self.report(options, &at_the_knee, about).ramped(ramp);
        (report.concurrency, report.rate) =
            (None, report.ramp.as_ref().and_then(|ramp| ramp.knee_per_second));
        report
    }

    /// Measures a knowledge base.
    async fn learn(
        &self,
        options: &Options,
        mut ours: Subject,
        articles: Option<Vec<serde_json::Value>>,
        about: About,
        progress: &Progress,
    ) -> Result<Report, Failed> {
        let target = Rc::clone(&ours.target);
        let (field, import) = knowledge::Field::lay(&target, options.base, articles, progress).await?;
        progress.say("");
        let mut work = Work::new(options.scenario, options.protocol, &target);
        work.field = Some(field);
        let work = Rc::new(work);
        first_answer(&work, &target).await?;
        measure(options, &mut ours, &work, 1).await;
        let mut report = self.report(options, &ours, about);
        if let Some(field) = &work.field {
            report.knowledge = Some(field.learned(&ours.tally.borrow(), import));
            if options.url.is_some() {
                field.clear(&target).await?;
            }
        }
        Ok(report)
    }

    fn report(&self, options: &Options, ours: &Subject, about: About) -> Report {
        let mut report = Report::of(options.scenario, options.protocol, ours, about);
        match options.pace() {
            Pace::Closed(clients) => report.concurrency = Some(clients),
            Pace::Open(rate) => report.rate = Some(rate),
        }
        report.stored_conversations = options.conversations;
        report.live_conversations = options.live;
        report.server = self
            .server
            .as_ref()
            .map(|server| Server::of(ours, Memory::of(server.running.pid), server.idle, server.ready));
        report
    }

    /// Ends what was started and removes what it stored.
    pub(super) async fn strike(mut self) -> Result<(), Failed> {
        if let Some(mut bare) = self.bare.take() {
            bare.kill().await;
        }
        match self.server.take() {
            Some(server) => server.remove().await,
            None => Ok(()),
        }
    }
}

fn compared(mut report: Report, bare: Bare) -> Report {
    report.ratio = Some(Ratio::of(&report, &bare));
    report.bare = Some(bare);
    report
}

fn slices(amount: Amount) -> u32 {
    match amount {
        Amount::Time(time) if time < SLICED_TIME => 1,
        Amount::Requests(requests) if requests < SLICED_REQUESTS => 1,
        _ => SLICES,
    }
}

/// One of so many slices.
async fn measure(options: &Options, subject: &mut Subject, work: &Rc<Work>, slices: u32) {
    let amount = options.amount().share(slices);
    subject.measure(work, options.pace(), amount, answer_time(options)).await;
}

/// How long an answer takes at least, where one is waited for.
fn answer_time(options: &Options) -> Duration {
    let is_answered = options.scenario != Scenario::Accept;
    let model = options.model().filter(|_| is_answered);
    model.map(|model| model.answer_time()).unwrap_or_default()
}

async fn cut_all_at_once(work: &Work) {
    loop {
        tokio::time::sleep(HERD_EVERY).await;
        work.herd.notify_waiters();
    }
}

fn local(address: SocketAddr, key: String, words: Option<usize>) -> Target {
    let host = address.to_string();
    let address = Address { socket: address, tls: None };
    Target { address, host, prefix: String::new(), key, options: None, words }
}

/// Asks once, before anything is measured: what would fail every time is told at once. Says the bytes of the answer,
/// if it was right.
async fn first_answer(work: &Work, target: &Rc<Target>) -> Result<Option<Vec<u8>>, Failed> {
    let mut client = Client::new(target);
    client.record();
    match work.run(&mut client, Instant::now()).await {
        Ok(_) => Ok(Some(client.recorded())),
        Err(Failure::Error { message, kind }) => Err(format!("{}: {message} ({kind})", target.host).into()),
        // Measuring will find more of it.
        Err(Failure::Wrong(_)) => Ok(None),
    }
}

/// The first address where somebody answers: a name may have one of each kind, and a server only one.
async fn answering(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    for address in addresses {
        if let Ok(Ok(_)) = timeout(FOUND_WITHIN, TcpStream::connect(address)).await {
            return Some(*address);
        }
    }
    None
}

/// The address that the URL leads to, the host as it is called there, and the path before `/v1`.
async fn find(url: &ServerUrl, trust: &Trust) -> Result<(Address, String, String), Failed> {
    let uri: Uri = url.to_string().parse()?;
    let speaks_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if speaks_tls { HTTPS_PORT } else { HTTP_PORT });
    let host = uri.host().unwrap_or_default();
    let tls = match speaks_tls {
        false => None,
        true => Some(Tls {
            config: trust.tls()?,
            name: ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?,
        }),
    };
    let unknown = |cause: &str| format!("cannot reach {url}: {cause}");
    let found = timeout(FOUND_WITHIN, lookup_host((host.trim_matches(['[', ']']), port))).await;
    let found = found.map_err(|_| unknown("its name is not found in time"))?;
    let found: Vec<SocketAddr> = found.map_err(|error| unknown(&error.to_string()))?.collect();
    let first = *found.first().ok_or_else(|| unknown("its name has no address"))?;
    let address = Address { socket: answering(&found).await.unwrap_or(first), tls };
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    Ok((address, authority, uri.path().trim_end_matches('/').to_owned()))
}
