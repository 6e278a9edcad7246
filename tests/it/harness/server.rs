//! The server as a child process: started, stopped, killed, and started again on the same data.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use openclaw_actors::testing::TestPlace;

use super::{Client, Connection, Organization, eventually, outage};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_openclaw-server");

/// What most tests want: answers at once, and no limit in the way.
const DEFAULTS: [(&str, &str); 5] = [
    ("limits.requests_per_minute", "1000000"),
    ("model.providers", "synthetic"),
    ("model.synthetic.first_token_ms", "0"),
    ("model.synthetic.tokens_per_second", "0"),
    ("model.synthetic.per_request", "true"),
];

/// Where the server listens now; another port after each start. Clients share it, so that they outlive a crash.
#[derive(Debug, Clone)]
pub(crate) struct Address(Arc<Mutex<SocketAddr>>);

impl Address {
    pub(super) fn fixed(address: SocketAddr) -> Self {
        Self(Arc::new(Mutex::new(address)))
    }

    pub(crate) fn get(&self) -> SocketAddr {
        *self.0.lock().unwrap()
    }

    fn set(&self, address: SocketAddr) {
        *self.0.lock().unwrap() = address;
    }
}

/// A server of this test's own.
pub(crate) struct Server {
    process: Option<Process>,
    settings: Vec<(String, String)>,
    address: Address,
    place: TestPlace,
}

struct Process {
    child: Child,
    // Held open: the server may not write to a closed pipe.
    _out: BufReader<ChildStdout>,
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Server {
    /// With a fresh store.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With settings by their names: `[("limits.running_turns", "5")]`.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        Self::at(new_place(), settings)
    }

    /// In a place that is there already.
    pub(crate) fn at(place: TestPlace, settings: &[(&str, &str)]) -> Self {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        let settings = DEFAULTS.iter().chain(settings).map(owned).collect();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let address = Address::fixed(nowhere);
        let mut server = Self { process: None, settings, address, place };
        server.start_again();
        server
    }

    /// Starts the server that was stopped or killed, on the same data.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut child = self
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let announced = line.trim_end().strip_prefix("listening on http");
        let address = announced.and_then(|url| url.strip_prefix("://").or(url.strip_prefix("s://")));
        let Some(address) = address else {
            let status = child.wait();
            panic!("the server did not start ({status:?}): {line}\n{}", self.log());
        };
        self.address.set(address.parse().unwrap());
        self.process = Some(Process { child, _out: out });
    }

    /// SIGKILL: as a crash.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        }
    }

    /// SIGTERM, without waiting for what it does.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal: `TERM`, `INT`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("it runs");
        // The shell's own: the command is not on every machine.
        let kill = format!("kill -s {name} {}", process.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        eventually("the server ends", || process.child.try_wait().unwrap())
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.ended()
    }

    /// A clean stop and a start on the same data.
    pub(crate) fn restart(&mut self) {
        let status = self.stop();
        assert!(status.success(), "{status}\n{}", self.log());
        self.start_again();
    }

    /// A clean stop and a start on the same data under other settings.
    pub(crate) fn restart_with(&mut self, settings: &[(&str, &str)]) {
        self.settings.extend(settings.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
        self.restart();
    }

    /// A crash and a start on the same data.
    pub(crate) fn crash(&mut self) {
        self.kill();
        self.start_again();
    }

    /// From now on the store takes no write: its disk is full, or its database is away.
    pub(crate) fn break_store(&self) {
        match self.database_url() {
            Some(url) => outage::begin(&url),
            None => self.limit_files("1:unlimited"),
        }
    }

    /// The store works again.
    pub(crate) fn mend_store(&self) {
        match self.database_url() {
            Some(url) => outage::end(&url),
            None => self.limit_files("unlimited:unlimited"),
        }
    }

    /// A file that may not grow is what a full disk looks like to whoever writes it.
    fn limit_files(&self, size: &str) {
        let limit = format!("--fsize={size}");
        let limited = Command::new("prlimit").args(["--pid", &self.pid().to_string(), &limit]).status();
        assert!(limited.unwrap().success());
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").child.id()
    }

    /// Runs another command of the same program on the same data: `["org", "create", "Acme", "--json"]`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Output { status: output.status, out: text(output.stdout), err: text(output.stderr) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        // A write past the file size limit should fail, as on a full disk, and not end the process.
        command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#, PROGRAM]);
        command.args(arguments).arg("--data").arg(self.data());
        if let Some(url) = self.place.database_url() {
            command.arg("--database-url").arg(url);
        }
        for (key, value) in &self.settings {
            command.env(format!("OPENCLAW__{}", key.to_uppercase().replace('.', "__")), value);
        }
        command
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.place.directory().join("data")
    }

    /// The database's address, on PostgreSQL.
    pub(crate) fn database_url(&self) -> Option<String> {
        self.place.database_url()
    }

    fn log_path(&self) -> PathBuf {
        self.place.directory().join("log")
    }

    /// What all processes of this server have logged.
    pub(crate) fn log(&self) -> String {
        let mut log = String::new();
        if let Ok(mut file) = File::open(self.log_path()) {
            file.read_to_string(&mut log).unwrap();
        }
        log
    }

    /// Where it listens now.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.get()
    }

    /// Where it listens, now and after each start.
    pub(super) fn shared_address(&self) -> Address {
        self.address.clone()
    }

    /// A client without a key.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address.clone(), None)
    }

    /// A client with a key.
    pub(crate) fn client_with(&self, key: &str) -> Client {
        Client::new(self.address.clone(), Some(key.to_owned()))
    }

    /// A bare connection.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address()).unwrap()
    }

    /// A new organization with its keys, made by the command line.
    #[track_caller]
    pub(crate) fn organization(&self) -> Organization {
        Organization::create(self, "Acme")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- the server's last words");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// A fresh data directory, and on PostgreSQL a fresh database.
pub(crate) fn new_place() -> TestPlace {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let place = runtime.block_on(TestPlace::new());
    fs::create_dir_all(place.directory().join("data")).unwrap();
    place
}
