//! `openclaw-server webhooks`: what whoever receives events needs at hand.

mod forward;
mod listen;
mod receiver;
mod registered;
mod shown;

use clap::{Args, Subcommand};

use super::Outcome;

/// Receive events on this machine
#[derive(Debug, Args)]
pub(super) struct Webhooks {
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Debug, Subcommand)]
enum WebhooksCommand {
    Listen(listen::Listen),
}

impl Webhooks {
    pub(super) fn run(self) -> Outcome {
        match self.command {
            WebhooksCommand::Listen(listen) => listen.run(),
        }
    }
}
