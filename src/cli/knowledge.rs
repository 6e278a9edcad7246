//! `openclaw-server knowledge`: articles, straight in the store or through a server.

mod explain;
mod export;
pub(super) mod files;
mod import;
mod place;
mod search;
mod server;

use clap::{Args, Subcommand};

use super::Outcome;

/// Import, export and search articles
#[derive(Debug, Args)]
pub(super) struct Knowledge {
    #[command(subcommand)]
    command: KnowledgeCommand,
}

#[derive(Debug, Subcommand)]
enum KnowledgeCommand {
    /// Write the articles of a folder, or of a file with one JSON object per line
    Import(import::Import),
    /// Write all articles as lines that an import takes
    Export(export::Export),
    /// Show which passages answer a question
    Search(search::Search),
}

impl Knowledge {
    pub(super) fn run(self) -> Outcome {
        actix::System::new().block_on(async {
            match self.command {
                KnowledgeCommand::Import(import) => import.run().await,
                KnowledgeCommand::Export(export) => export.run().await,
                KnowledgeCommand::Search(search) => search.run().await,
            }
        })
    }
}
