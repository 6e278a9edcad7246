//! `openclaw-server serve`

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tracing::{error, info, warn};

use super::{Outcome, settings::Settings};
use crate::{config::Config, server, telemetry};

/// Run the server
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Listen on this address [default: 127.0.0.1:8080]; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Answer with these, the first that works: builtin, synthetic [default: builtin]
    #[arg(long, value_name = "PROVIDERS")]
    model: Option<String>,
}

/// Whoever asked kills the process soon after. What is acknowledged is on disk, so nothing is lost by being cut short.
const STOP_WITHIN: Duration = Duration::from_millis(4_800);

/// As a shell reports a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

impl Serve {
    pub(super) fn run(self) -> Outcome {
        let listen = self.listen.map(|address| ("server.listen", address.to_string()));
        let model = self.model.map(|providers| ("model.providers", providers));
        let config = self.settings.load(listen.into_iter().chain(model))?;
        telemetry::start_logging(&config.log)?;
        actix::System::new().block_on(serve(config))
    }
}

async fn serve(config: Config) -> Outcome {
    // Before anything is started, so that no signal finds us without an answer to it.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = server::start(config).await?;
    announce(running.address)?;
    let code = tokio::select! {
        _ = terminate.recv() => ExitCode::SUCCESS,
        _ = interrupt.recv() => ExitCode::SUCCESS,
        () = running.broken() => {
            error!("nothing can be written any more; the server stops, and recovers when it is started again");
            ExitCode::FAILURE
        }
    };
    info!("the server stops");
    tokio::select! {
        stopped = timeout(STOP_WITHIN, running.stop()) => {
            if stopped.is_err() {
                warn!("the stop took too long and was cut short");
            }
            Ok(code)
        }
        // Whoever asks twice does not want to wait.
        _ = interrupt.recv() => std::process::exit(INTERRUPTED),
    }
}

/// The one line on standard output that scripts wait for.
fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on http://{address}")?;
    out.flush()
}
