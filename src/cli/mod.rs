//! The command line.

mod chat;
mod demo;
mod keys;
mod knowledge;
mod offline;
mod org;
mod remote;
mod serve;
mod settings;
mod sse;

use std::{error::Error, process::ExitCode};

use clap::{Parser, Subcommand};

/// Customer-service chat: conversations as supervised actors, answers as streams.
#[derive(Debug, Parser)]
#[command(name = "openclaw-server", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Show what the server does: a shop with articles and keys, and lines to paste
    Demo(demo::Demo),
    /// Make and list organizations
    Org(org::Org),
    /// Make, rotate, revoke and list keys
    Keys(keys::Keys),
    /// Import and search articles
    Knowledge(knowledge::Knowledge),
    /// Talk to a server, in the terminal or through a pipe
    Chat(chat::Chat),
    /// Show the configuration in force
    Config(settings::Show),
}

/// What a command ends with.
type Outcome = Result<ExitCode, Box<dyn Error + Send + Sync>>;

/// Runs the command that the arguments name.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Demo(demo) => demo.run(),
        Command::Org(org) => org.run(),
        Command::Keys(keys) => keys.run(),
        Command::Knowledge(knowledge) => knowledge.run(),
        Command::Chat(chat) => chat.run(),
        Command::Config(show) => show.run(),
    };
    outcome.unwrap_or_else(|error| {
        complain(&*error);
        ExitCode::FAILURE
    })
}

/// On one line, with everything that the error came from.
fn complain(error: &dyn Error) {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some errors speak for what they came from.
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
        source = error.source();
    }
    eprintln!("openclaw-server: {line}");
}
