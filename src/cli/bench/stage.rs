//! The processes that a run starts: a private server, and the baseline beside it.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use openclaw_actors::{conversation::rehearsal, ids::OrgId, store as actors, writer::Writer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{hooks::bare::Posted, options::Model, process::Memory};

pub(super) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A start that takes longer has hung; opening a store with millions of conversations does not take long.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Settings of the caller's environment that must not reach a private server: they name a store that is somebody's
/// own, or take part of what is measured elsewhere.
const NOT_INHERITED: [&str; 4] =
    ["OPENCLAW_CONFIG", "OPENCLAW__STORE__DATABASE_URL", "OPENCLAW__STORE__DATA", "OPENCLAW__SERVER__LISTEN"];

/// A clean stop ends within five seconds, by promise.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// Whatever a scenario needs: a model that listens to single messages, and no limit that a load test is not about. An
/// accept that is never answered holds a running turn, and conversations that were made live stay so.
const SETTINGS: [(&str, &str); 5] = [
    ("OPENCLAW__MODEL__SYNTHETIC__PER_REQUEST", "true"),
    // For keys that are not unlimited: more than any machine answers.
    ("OPENCLAW__LIMITS__REQUESTS_PER_MINUTE", "4000000000"),
    ("OPENCLAW__LIMITS__RUNNING_TURNS", "10000000"),
    ("OPENCLAW__LIMITS__STREAMS_PER_KEY", "10000000"),
    ("OPENCLAW__CONVERSATIONS__PASSIVATE_AFTER_SECONDS", "86400"),
];

const ANY_PORT: &str = "127.0.0.1:0";
const LOG: &str = "log";

/// Conversations that are stored beforehand are given to the writer so many at a time: half of its queue.
const STORED_AT_ONCE: u64 = 256;

/// What was said in them.
const QUESTION: &str = "Where is my parcel?";
const ANSWER: &str = "Your parcel is on its way. It left our warehouse this morning and arrives tomorrow between nine \
                      and twelve. You can follow it with the link in the message that we sent you yesterday.";

/// What a failed child said last.
const LAST_LINES: usize = 5;

/// What a private server's key may do.
const SCOPES: &str =
    "conversations:read,conversations:write,knowledge:read,knowledge:write,webhooks:read,webhooks:write";

/// A child that listens. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Listening {
    child: Child,
    // Held open: a server may not write to a closed pipe.
    _out: BufReader<ChildStdout>,
    pub(super) pid: u32,
    pub(super) address: SocketAddr,
    /// From its start until it said so.
    pub(super) ready: Duration,
}

impl Listening {
    async fn start(mut command: Command, log: &Path) -> Result<Self, Failed> {
        let since = Instant::now();
        let stderr = File::options().create(true).append(true).open(log)?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn()?;
        let (pid, out) = (child.id(), child.stdout.take());
        let (Some(pid), Some(out)) = (pid, out) else { return Err("a child ended at once".into()) };
        let mut out = BufReader::new(out);
        let mut line = String::new();
        timeout(READY_WITHIN, out.read_line(&mut line))
            .await
            .map_err(|_| "a child did not listen in time")??;
        let address = line.trim_end().strip_prefix("listening on http://").and_then(|text| text.parse().ok());
        match address {
            Some(address) => Ok(Self { child, _out: out, pid, address, ready: since.elapsed() }),
            None => Err(format!("the private server did not start: {}", last_words(log)).into()),
        }
    }

    /// Ends it, whatever it is doing.
    pub(super) async fn kill(&mut self) {
        // Either it has ended already or it ends now.
        drop(self.child.kill().await);
    }
}

fn last_words(log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("; ")
}

/// This program once more.
fn program() -> Result<Command, Failed> {
    let mut command = Command::new(env::current_exe()?);
    NOT_INHERITED.iter().for_each(|name| {
        command.env_remove(name);
    });
    // Ctrl-C is for us: the children end when we say so.
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

/// Where the private server keeps its data.
#[derive(Debug, Clone)]
pub(super) struct Store {
    data: PathBuf,
    database_url: Option<String>,
}

impl Store {
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--data".into(), self.data.clone().into()];
        if let Some(url) = &self.database_url {
            arguments.extend(["--database-url".into(), url.into()]);
        }
        arguments
    }

    /// Stores answered conversations, as the server's own writer would.
    async fn fill(&self, org: OrgId, count: u64, stored: impl Fn(u64)) -> Result<(), Failed> {
        let store = self.open().await?;
        let writer = Writer::start(&store, "bench").await?;
        let mut left = count;
        while left > 0 {
            let ops =
                (0..left.min(STORED_AT_ONCE)).filter_map(|_| rehearsal::answered(org, QUESTION, ANSWER));
            try_join_all(ops.map(|op| writer.commit(op))).await?;
            left -= left.min(STORED_AT_ONCE);
            stored(count - left);
        }
        writer.close().await;
        store.close().await;
        Ok(())
    }

    /// Begins so many conversations on each channel, whose events wait for the webhooks that there are.
    async fn fill_webhooks(&self, org: OrgId, channels: &[(&str, u64)]) -> Result<(), Failed> {
        let store = self.open().await?;
        let writer = Writer::start(&store, "bench").await?;
        for (channel, count) in channels {
            let mut left = *count;
            while left > 0 {
                let ops = (0..left.min(STORED_AT_ONCE))
                    .filter_map(|_| rehearsal::without_message(org, channel, writer.outbox()));
                try_join_all(ops.map(|op| writer.commit(op))).await?;
                left -= left.min(STORED_AT_ONCE);
            }
        }
        writer.close().await;
        store.close().await;
        Ok(())
    }

    async fn open(&self) -> Result<actors::Store, Failed> {
        Ok(match &self.database_url {
            Some(url) => actors::Store::connect_postgres(url).await?,
            None => actors::Store::open_sqlite(&self.data).await?,
        })
    }

    /// Runs an offline command and reads the JSON that it prints.
    async fn run(&self, arguments: &[&str]) -> Result<Value, Failed> {
        let output = program()?.args(arguments).args(self.arguments()).stdin(Stdio::null()).output().await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// What a private server is to be.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) model: Model,
    pub(super) database_url: Option<String>,
    /// Requests are counted.
    pub(super) rate_limited: bool,
    /// Answered conversations that are stored before it starts.
    pub(super) stored: u64,
    /// Settings of its own, as its environment.
    pub(super) settings: &'static [(&'static str, &'static str)],
    /// Questions are answered in the words of articles, not by the synthetic model.
    pub(super) answers_from_articles: bool,
}

/// A server of this run's own, with a key to it.
#[derive(Debug)]
pub(super) struct PrivateServer {
    pub(super) running: Listening,
    pub(super) key: String,
    /// Before the first request.
    pub(super) idle: Memory,
    /// Of the first start.
    pub(super) ready: Duration,
    plan: Plan,
    org: OrgId,
    store: Store,
    place: TempDir,
}

impl PrivateServer {
    pub(super) async fn start(plan: &Plan, stored: impl Fn(u64)) -> Result<Self, Failed> {
        let place = tempfile::Builder::new().prefix("openclaw-bench-").tempdir()?;
        let store = Store { data: place.path().join("data"), database_url: plan.database_url.clone() };
        let made = store.run(&["org", "create", "Load test", "--json"]).await?;
        let org = text(&made["organization"]["id"])?;
        let mut arguments = vec!["keys", "create", "--org", &org, "--scopes", SCOPES, "--json"];
        if !plan.rate_limited {
            arguments.extend(["--rate-limit", "unlimited"]);
        }
        let key = text(&store.run(&arguments).await?["secret"])?;
        if plan.stored > 0 {
            store.fill(org.parse()?, plan.stored, stored).await?;
        }
        let log = place.path().join(LOG);
        let running = Listening::start(serve(&store, plan, ANY_PORT)?, &log).await?;
        let (idle, ready) = (Memory::of(running.pid), running.ready);
        Ok(Self { running, key, idle, ready, plan: plan.clone(), org: org.parse()?, store, place })
    }

    /// Kills it without a word and starts it again, on the same data and port.
    pub(super) async fn crash(&mut self) -> Result<(), Failed> {
        self.running.kill().await;
        self.start_again().await
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(&mut self) -> Result<(), Failed> {
        let pid = i32::try_from(self.running.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or("the private server has no process")?;
        kill_process(pid, Signal::TERM)?;
        let status = timeout(STOPPED_WITHIN, self.running.child.wait()).await;
        let status = status.map_err(|_| "the private server does not stop")??;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the private server stopped badly: {status}").into()),
        }
    }

    /// Starts it where it was, once it has ended.
    pub(super) async fn start_again(&mut self) -> Result<(), Failed> {
        let address = self.running.address.to_string();
        let log = self.place.path().join(LOG);
        self.running = Listening::start(serve(&self.store, &self.plan, &address)?, &log).await?;
        Ok(())
    }

    /// The baseline, which streams the answer that was recorded.
    pub(super) async fn start_bare(&self, answer: &[u8]) -> Result<Listening, Failed> {
        let file = self.place.path().join("answer");
        fs::write(&file, answer)?;
        let mut command = program()?;
        command.arg("bare").arg("--answer").arg(file).args(self.plan.model.pace());
        Listening::start(command, &self.place.path().join("log-of-bare")).await
    }

    /// Stores events that wait for webhooks, beside the server.
    pub(super) async fn fill_webhooks(&self, channels: &[(&str, u64)]) -> Result<(), Failed> {
        self.store.fill_webhooks(self.org, channels).await
    }

    /// The baseline of webhooks: that body, so often, to those receivers.
    pub(super) async fn bare_webhooks(
        &self,
        body: &[u8],
        count: u64,
        to: &[SocketAddr],
    ) -> Result<Posted, Failed> {
        let file = self.place.path().join("body");
        fs::write(&file, body)?;
        let mut command = program()?;
        command.arg("bare-webhooks").arg("--body").arg(file).args(["--count", &count.to_string(), "--to"]);
        let output = command.args(to.iter().map(ToString::to_string)).stdin(Stdio::null()).output().await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Where a baseline of its own may keep something, on the same disk.
    pub(super) fn place_for(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Ends it and removes what it stored.
    pub(super) async fn remove(mut self) -> Result<(), Failed> {
        self.running.kill().await;
        Ok(self.place.close()?)
    }
}

fn serve(store: &Store, plan: &Plan, listen: &str) -> Result<Command, Failed> {
    let mut command = program()?;
    let model = if plan.answers_from_articles { "builtin" } else { "synthetic" };
    command.args(["serve", "--listen", listen, "--model", model]);
    command.args(store.arguments()).envs(plan.model.settings()).envs(SETTINGS);
    command.envs(plan.settings.iter().copied());
    Ok(command)
}

fn text(value: &Value) -> Result<String, Failed> {
    value.as_str().map(str::to_owned).ok_or_else(|| "an offline command printed something else".into())
}
