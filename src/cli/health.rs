//! `openclaw-server health`: for whatever restarts a server that hangs, where no other program can ask.

use std::process::ExitCode;

use clap::Args;

use super::{Outcome, own_server::ask, settings::ServerSettings};

/// Ask the server that has these settings whether it lives; the exit status is 1 if it does not
///
/// For the health check of a container that holds nothing but this program. Asks on this machine, without a key.
#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(flatten)]
    settings: ServerSettings,
    /// Ask whether it is ready to serve: the store can be written
    #[arg(long)]
    ready: bool,
}

impl Health {
    pub(super) fn run(self) -> Outcome {
        let server = self.settings.layers()?.config()?.server;
        // Operators' own listener has it too, and is never inside TLS.
        let (address, tls) = match server.ops_listen {
            Some(address) => (address, None),
            None => (server.listen, server.tls.files()),
        };
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let answered = actix::System::new().block_on(ask(address, tls.as_ref(), path));
        Ok(match answered {
            Some(status) if status.is_success() => {
                println!("healthy");
                ExitCode::SUCCESS
            }
            Some(status) => {
                println!("{address} answers {path} with {status}");
                ExitCode::FAILURE
            }
            None => {
                println!("no OpenClaw server answers on {address}");
                ExitCode::FAILURE
            }
        })
    }
}
