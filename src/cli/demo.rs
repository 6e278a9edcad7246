//! `openclaw-server demo`: a whole server with something to show, in one command.

use std::{
    env,
    fmt::{self, Display},
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use clap::Args;
use tempfile::TempDir;

use super::{
    Outcome,
    serve::{End, INTERRUPTED, Signals, run_to_the_end},
};
use crate::{
    config::{Config, ConfigError},
    demo::{
        KNOWN_QUESTION, UNKNOWN_QUESTION,
        shop::{self, Shop},
    },
    server, telemetry,
};

/// Show what the server does: a shop with articles and keys, and lines to paste
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Keep everything in this directory; started on it again, the shop gets new keys [default: a temporary one,
    /// removed at the end]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Listen on this address [default: 127.0.0.1:8080, or a free port if that is taken]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

impl Demo {
    pub(super) fn run(self) -> Outcome {
        let data = DataPlace::choose(self.data)?;
        let (config, taken) = configure(data.path(), self.listen)?;
        telemetry::start_logging(&config.log)?;
        match actix::System::new().block_on(serve(config, taken, &data))? {
            End::Stopped(code) => {
                data.leave()?;
                Ok(code)
            }
            End::Hurried => {
                // Ending the process skips what is done at the end of a scope.
                drop(data);
                std::process::exit(INTERRUPTED)
            }
        }
    }
}

async fn serve(
    config: Config,
    taken: Option<SocketAddr>,
    data: &DataPlace,
) -> Result<End, Box<dyn std::error::Error + Send + Sync>> {
    let mut signals = Signals::listen()?;
    let running = server::start(config).await?;
    let shop = shop::open(&running.parts).await?;
    let welcome = Welcome { address: running.address, taken, shop: &shop, data };
    let mut out = io::stdout();
    write!(out, "{welcome}")?;
    out.flush()?;
    Ok(run_to_the_end(running, &mut signals).await)
}

/// The configuration, and the address that was taken.
fn configure(data: &Path, listen: Option<SocketAddr>) -> Result<(Config, Option<SocketAddr>), ConfigError> {
    let mut flags = vec![
        ("store.data", data.to_string_lossy().into_owned()),
        ("model.providers", "builtin".to_owned()),
        // The terminal is for the words of the demonstration.
        ("log.filter", "warn".to_owned()),
        // Receivers are tried out on one's own machine.
        ("webhooks.allow_cidrs", "127.0.0.0/8,::1/128".to_owned()),
        ("webhooks.allow_http", "true".to_owned()),
    ];
    flags.extend(listen.map(|address| ("server.listen", address.to_string())));
    let mut config = Config::load(None, &flags)?;
    // A database that the environment names is somebody's own.
    config.store.database_url = None;
    let wanted = config.server.listen;
    let is_taken = listen.is_none() && TcpListener::bind(wanted).is_err_and(|error| is_in_use(&error));
    if is_taken {
        config.server.listen.set_port(0);
    }
    Ok((config, is_taken.then_some(wanted)))
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Where the data is, and whether it stays.
enum DataPlace {
    Named(PathBuf),
    Temporary(TempDir),
}

impl DataPlace {
    fn choose(named: Option<PathBuf>) -> io::Result<Self> {
        match named {
            Some(path) => Ok(Self::Named(path)),
            None => tempfile::Builder::new().prefix("openclaw-demo-").tempdir().map(Self::Temporary),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }

    fn leave(self) -> io::Result<()> {
        match self {
            Self::Named(_) => Ok(()),
            Self::Temporary(directory) => directory.close(),
        }
    }
}

/// What is printed once everything is there.
struct Welcome<'a> {
    address: SocketAddr,
    taken: Option<SocketAddr>,
    shop: &'a Shop,
    data: &'a DataPlace,
}

impl Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shop { primary, secondary, articles, is_reopened } = self.shop;
        let (primary, secondary) = (primary.expose(), secondary.expose());
        writeln!(
            f,
            "OpenClaw Server answers the customers of Fern & Field, a shop that does not exist, from its"
        )?;
        writeln!(
            f,
            "{articles} help pages: in their own words, with the source. Nothing leaves this machine.\n"
        )?;
        writeln!(f, "  server         http://{}", self.address)?;
        writeln!(f, "  primary key    {primary}")?;
        writeln!(f, "  secondary key  {secondary}\n")?;
        if let Some(taken) = self.taken {
            writeln!(f, "{taken} is taken, so the server listens on a free port.\n")?;
        }
        if *is_reopened {
            writeln!(f, "The keys are new ones; those of the last start work for another day.\n")?;
        }
        writeln!(f, "Ask something that the pages answer:\n\n{}", self.curl(KNOWN_QUESTION))?;
        writeln!(f, "Ask something that they do not:\n\n{}", self.curl(UNKNOWN_QUESTION))?;
        writeln!(
            f,
            "Have a conversation:\n\n  {} chat --url http://{} --key {primary}\n",
            program(),
            self.address
        )?;
        writeln!(
            f,
            "Watch signed events arrive (they may be sent to this machine here; a real server refuses that):\n\n  \
             {} webhooks listen --url http://{} --key {primary}\n",
            program(),
            self.address
        )?;
        let path = self.data.path().display();
        match self.data {
            DataPlace::Named(_) => writeln!(f, "Data is kept in {path}. Ctrl-C stops the server."),
            DataPlace::Temporary(_) => writeln!(f, "Ctrl-C stops the server and removes its data in {path}."),
        }
    }
}

impl Welcome<'_> {
    fn curl(&self, question: &str) -> String {
        let (address, key) = (self.address, self.shop.primary.expose());
        let body = serde_json::json!({ "message": question, "stream": true });
        format!(
            "  curl -N http://{address}/v1/conversations -H \"Authorization: Bearer {key}\" \
             -H \"Content-Type: application/json\" -d '{body}'\n"
        )
    }
}

/// This program as it was called, so that the line can be pasted where this one was.
fn program() -> String {
    let called = env::args().next().unwrap_or_else(|| "openclaw-server".to_owned());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if called.bytes().all(is_plain) { called } else { format!("'{}'", called.replace('\'', r"'\''")) }
}
