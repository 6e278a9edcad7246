//! `openclaw-server knowledge`: articles, straight in the store or through a server.

mod import;
mod place;
mod search;

use clap::{Args, Subcommand};

use super::Outcome;

/// Import and search articles
#[derive(Debug, Args)]
pub(super) struct Knowledge {
    #[command(subcommand)]
    command: KnowledgeCommand,
}

#[derive(Debug, Subcommand)]
enum KnowledgeCommand {
    /// Write the articles of a folder, or of a file with one JSON object per line
    Import(import::Import),
    /// Show which passages answer a question
    Search(search::Search),
}

impl Knowledge {
    pub(super) fn run(self) -> Outcome {
        actix::System::new().block_on(async {
            match self.command {
                KnowledgeCommand::Import(import) => import.run().await,
                KnowledgeCommand::Search(search) => search.run().await,
            }
        })
    }
}
