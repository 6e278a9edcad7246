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

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{options::Model, process::Memory};

pub(super) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A start that takes longer has hung; opening a store with millions of conversations does not take long.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Settings of the caller's environment that must not reach a private server: they name a store that is somebody's
/// own, or take part of what is measured elsewhere.
const NOT_INHERITED: [&str; 4] =
    ["OPENCLAW_CONFIG", "OPENCLAW__STORE__DATABASE_URL", "OPENCLAW__STORE__DATA", "OPENCLAW__SERVER__LISTEN"];

/// What a failed child said last.
const LAST_LINES: usize = 5;

/// What a private server's key may do.
const SCOPES: &str = "conversations:read,conversations:write";

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

    /// Runs an offline command and reads the JSON that it prints.
    async fn run(&self, arguments: &[&str]) -> Result<Value, Failed> {
        let output = program()?.args(arguments).args(self.arguments()).stdin(Stdio::null()).output().await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// A server of this run's own, with a key to it.
#[derive(Debug)]
pub(super) struct PrivateServer {
    pub(super) running: Listening,
    pub(super) key: String,
    /// Before the first request.
    pub(super) idle: Memory,
    place: TempDir,
}

impl PrivateServer {
    pub(super) async fn start(model: &Model, database_url: Option<String>) -> Result<Self, Failed> {
        let place = tempfile::Builder::new().prefix("openclaw-bench-").tempdir()?;
        let store = Store { data: place.path().join("data"), database_url };
        let made = store.run(&["org", "create", "Load test", "--json"]).await?;
        let org = text(&made["organization"]["id"])?;
        let arguments =
            ["keys", "create", "--org", &org, "--scopes", SCOPES, "--rate-limit", "unlimited", "--json"];
        let key = text(&store.run(&arguments).await?["secret"])?;
        let mut command = program()?;
        command.args(["serve", "--listen", "127.0.0.1:0", "--model", "synthetic"]);
        command.args(store.arguments()).envs(model.settings());
        let running = Listening::start(command, &place.path().join("log")).await?;
        let idle = Memory::of(running.pid);
        Ok(Self { running, key, idle, place })
    }

    /// The baseline, which streams the answer that was recorded.
    pub(super) async fn start_bare(&self, model: &Model, answer: &[u8]) -> Result<Listening, Failed> {
        let file = self.place.path().join("answer");
        fs::write(&file, answer)?;
        let mut command = program()?;
        command.arg("bare").arg("--answer").arg(file).args(model.pace());
        Listening::start(command, &self.place.path().join("log-of-bare")).await
    }

    /// Ends it and removes what it stored.
    pub(super) async fn remove(mut self) -> Result<(), Failed> {
        self.running.kill().await;
        Ok(self.place.close()?)
    }
}

fn text(value: &Value) -> Result<String, Failed> {
    value.as_str().map(str::to_owned).ok_or_else(|| "an offline command printed something else".into())
}
