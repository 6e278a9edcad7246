//! `openclaw-server serve`

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tracing::{error, info, warn};

use super::{Outcome, settings::ServerSettings};
use crate::{
    config::Config,
    server::{self, Running},
    telemetry,
};

/// Run the server
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: ServerSettings,
}

/// Whoever asked kills the process soon after. What is acknowledged is on disk, so nothing is lost by being cut short.
const STOP_WITHIN: Duration = Duration::from_millis(4_800);

/// As a shell reports a program that Ctrl-C ended.
pub(super) const INTERRUPTED: i32 = 130;

impl Serve {
    pub(super) fn run(self) -> Outcome {
        let config = self.settings.layers()?.config()?;
        telemetry::start_logging(&config.log)?;
        actix::System::new().block_on(serve(config))
    }
}

async fn serve(config: Config) -> Outcome {
    let mut signals = Signals::listen()?;
    let running = server::start(config).await?;
    announce(&running)?;
    match run_to_the_end(running, &mut signals).await {
        End::Stopped(code) => Ok(code),
        End::Hurried => std::process::exit(INTERRUPTED),
    }
}

/// The signals that end a server.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// To be called before anything is started, so that no signal finds us without an answer to it.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub(super) async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// How a server came to its end.
pub(super) enum End {
    /// It has stopped, having lost nothing.
    Stopped(ExitCode),
    /// Whoever asked it to stop asked again: what is still open can only be left by ending the process.
    Hurried,
}

/// Serves until it is told to stop or cannot go on.
pub(super) async fn run_to_the_end(running: Running, signals: &mut Signals) -> End {
    let code = tokio::select! {
        _ = signals.terminate.recv() => ExitCode::SUCCESS,
        _ = signals.interrupt.recv() => ExitCode::SUCCESS,
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
            End::Stopped(code)
        }
        _ = signals.interrupt.recv() => End::Hurried,
    }
}

/// The one line on standard output that scripts wait for.
fn announce(running: &Running) -> io::Result<()> {
    let scheme = if running.is_tls { "https" } else { "http" };
    let mut out = io::stdout();
    writeln!(out, "listening on {scheme}://{}", running.address)?;
    out.flush()
}
