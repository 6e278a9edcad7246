//! `openclaw-server bench`: a load generator that checks what it receives, and a baseline to compare with.

mod answer;
pub(super) mod bare;
mod blocks;
mod client;
mod load;
mod options;
mod process;
mod report;
mod scenario;
mod stage;
mod tally;
mod wire;

use std::{
    cell::Cell,
    io::IsTerminal,
    net::SocketAddr,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::http::Uri;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    net::lookup_host,
    task::{JoinHandle, spawn_local},
    time::{interval, timeout},
};

pub(super) use self::options::Options as Bench;
use self::{
    client::{Client, Target},
    load::{Amount, Pace, Subject},
    options::Options,
    process::Memory,
    report::{Bare, Ratio, Report, Server},
    scenario::Work,
    stage::{Failed, Listening, PrivateServer},
    tally::Failure,
};
use super::{Outcome, remote::ServerUrl, serve::Signals};

/// The server and the baseline are measured in turn, so often each: a noisy neighbour then meets both.
const SLICES: u32 = 4;

/// Fewer requests than this are not worth cutting into slices.
const SLICED_REQUESTS: u64 = 100;

/// Fewer seconds neither: each slice has a warm-up of its own.
const SLICED_TIME: Duration = Duration::from_secs(4);

/// As a shell reports a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// How often the progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Where plain HTTP is unless a URL says otherwise.
const HTTP_PORT: u16 = 80;

/// A name is looked up within that.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

impl Bench {
    pub(super) fn run(self) -> Outcome {
        // Thousands of connections from one process; where it cannot be raised, errors will say so.
        drop(rlimit::increase_nofile_limit(u64::MAX));
        actix::System::new().block_on(async {
            let mut signals = Signals::listen()?;
            let mut stage = Stage::default();
            let performed = tokio::select! {
                performed = stage.perform(&self) => Some(performed),
                () = signals.any() => None,
            };
            // Also where the run was broken off or has failed, nothing stays behind.
            stage.strike().await?;
            let Some(report) = performed.transpose()? else {
                eprintln!("interrupted: there is nothing to report");
                return Ok(ExitCode::from(INTERRUPTED));
            };
            match self.json {
                true => println!("{}", serde_json::to_string(&report)?),
                false => print!("{report}"),
            }
            Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

/// What a run has started.
#[derive(Default)]
struct Stage {
    server: Option<PrivateServer>,
    bare: Option<Listening>,
}

impl Stage {
    async fn perform(&mut self, options: &Options) -> Result<Report, Failed> {
        let target = Rc::new(self.target(options).await?);
        let done = Rc::new(Cell::new(0));
        let pid = self.server.as_ref().map(|server| server.running.pid);
        let mut ours = Subject::new(Rc::clone(&target), pid, &done);
        let answer = first_answer(options, &target).await?;
        let mut bare = match answer.filter(|_| options.against_bare) {
            Some(answer) => Some(self.bare(options, &target, &answer, &done).await?),
            None => None,
        };
        let progress = Progress::start(options, &done);
        self.measure(options, &mut ours, bare.as_mut()).await;
        progress.end();
        Ok(self.report(options, &ours, bare.as_ref()))
    }

    /// Where requests go: a private server, unless one is named.
    async fn target(&mut self, options: &Options) -> Result<Target, Failed> {
        let model = options.model();
        let words = model.and_then(|model| usize::try_from(model.tokens).ok());
        if let (Some(url), Some(key)) = (&options.url, &options.key) {
            let (address, host, prefix) = find(url).await?;
            let options = model.map(|model| model.fields());
            return Ok(Target { address, host, prefix, key: key.clone(), options, words });
        }
        let model = model.unwrap_or_default();
        let server = self.server.insert(PrivateServer::start(&model, options.database_url.clone()).await?);
        Ok(local(server.running.address, server.key.clone(), words))
    }

    async fn bare(
        &mut self,
        options: &Options,
        target: &Target,
        answer: &[u8],
        done: &Rc<Cell<u64>>,
    ) -> Result<Subject, Failed> {
        let Some(server) = &self.server else { return Err("a baseline needs a private server".into()) };
        let bare = server.start_bare(&options.model().unwrap_or_default(), answer).await?;
        let (address, pid) = (bare.address, bare.pid);
        self.bare = Some(bare);
        let subject =
            Subject::new(Rc::new(local(address, target.key.clone(), target.words)), Some(pid), done);
        Ok(subject)
    }

    async fn measure(&self, options: &Options, ours: &mut Subject, mut bare: Option<&mut Subject>) {
        let slices = match (&bare, options.amount()) {
            (None, _) => 1,
            (_, Amount::Time(time)) if time < SLICED_TIME => 1,
            (_, Amount::Requests(requests)) if requests < SLICED_REQUESTS => 1,
            _ => SLICES,
        };
        let answer = options.model().map(|model| model.answer_time()).unwrap_or_default();
        let amount = options.amount().share(slices);
        for _ in 0..slices {
            let work = Work::new(options.scenario, &ours.target);
            ours.measure(work, options.pace(), amount, answer).await;
            if let Some(bare) = &mut bare {
                let work = Work::new(options.scenario, &bare.target);
                bare.measure(work, options.pace(), amount, answer).await;
            }
        }
    }

    fn report(&self, options: &Options, ours: &Subject, bare: Option<&Subject>) -> Report {
        let mut report = Report::of(options.scenario, ours);
        match options.pace() {
            Pace::Closed(clients) => report.concurrency = Some(clients),
            Pace::Open(rate) => report.rate = Some(rate),
        }
        report.server = self.server.as_ref().map(|server| {
            Server::of(ours, Memory::of(server.running.pid), server.idle, server.running.ready)
        });
        if let Some(subject) = bare {
            let bare = Bare::of(subject);
            report.ratio = Some(Ratio::of(&report, &bare));
            report.bare = Some(bare);
        }
        report
    }

    /// Ends what was started and removes what it stored.
    async fn strike(mut self) -> Result<(), Failed> {
        if let Some(mut bare) = self.bare.take() {
            bare.kill().await;
        }
        match self.server.take() {
            Some(server) => server.remove().await,
            None => Ok(()),
        }
    }
}

fn local(address: SocketAddr, key: String, words: Option<usize>) -> Target {
    Target { address, host: address.to_string(), prefix: String::new(), key, options: None, words }
}

/// Asks once, before anything is measured: what would fail every time is told at once. Says the bytes of the answer,
/// if it was right.
async fn first_answer(options: &Options, target: &Rc<Target>) -> Result<Option<Vec<u8>>, Failed> {
    let mut client = Client::new(target);
    client.record();
    match Work::new(options.scenario, target).run(&mut client, Instant::now()).await {
        Ok(_) => Ok(Some(client.recorded())),
        Err(Failure::Error { message, kind }) => Err(format!("{}: {message} ({kind})", target.host).into()),
        // Measuring will find more of it.
        Err(Failure::Wrong(_)) => Ok(None),
    }
}

/// The address that the URL leads to, the host as it is called there, and the path before `/v1`.
async fn find(url: &ServerUrl) -> Result<(SocketAddr, String, String), Failed> {
    let uri: Uri = url.to_string().parse()?;
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(HTTP_PORT));
    if uri.scheme_str() != Some("http") {
        return Err(format!("{url}: bench speaks plain HTTP; measure behind the proxy that ends TLS").into());
    }
    let unknown = |cause: &str| format!("cannot reach {url}: {cause}");
    let found = timeout(FOUND_WITHIN, lookup_host((host.trim_matches(['[', ']']), port))).await;
    let mut found = found
        .map_err(|_| unknown("its name is not found in time"))?
        .map_err(|error| unknown(&error.to_string()))?;
    let address = found.next().ok_or_else(|| unknown("its name has no address"))?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    Ok((address, authority, uri.path().trim_end_matches('/').to_owned()))
}

/// What is shown on a terminal while it runs.
struct Progress {
    bar: ProgressBar,
    drawing: JoinHandle<()>,
}

impl Progress {
    fn start(options: &Options, done: &Rc<Cell<u64>>) -> Self {
        let bar = match options.json || !std::io::stderr().is_terminal() {
            true => ProgressBar::hidden(),
            false => ProgressBar::new_spinner(),
        };
        let style = ProgressStyle::with_template("{spinner} {elapsed}, {pos} requests answered, {per_sec}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let (drawn, done) = (bar.clone(), Rc::clone(done));
        let drawing = spawn_local(async move {
            let mut ticks = interval(DRAW_EVERY);
            while !drawn.is_hidden() {
                ticks.tick().await;
                drawn.set_position(done.get());
            }
        });
        Self { bar, drawing }
    }

    fn end(self) {
        self.drawing.abort();
        self.bar.finish_and_clear();
    }
}
