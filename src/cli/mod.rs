//! The command line.

mod backup;
mod bench;
mod chat;
mod completions;
mod config;
mod demo;
mod doctor;
mod health;
mod keys;
mod knowledge;
mod migrate;
mod offline;
mod org;
mod own_server;
mod remote;
mod serve;
mod settings;
mod sse;
mod webhooks;

use std::{error::Error, process::ExitCode};

use clap::{Parser, Subcommand};

/// Customer-service chat: conversations as supervised actors, answers as streams.
#[derive(Debug, Parser)]
#[command(name = "openclaw-server", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What each is for stands where it is; said here too, it would hide the longer text there.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Org(org::Org),
    Keys(keys::Keys),
    Knowledge(knowledge::Knowledge),
    Webhooks(webhooks::Webhooks),
    Chat(chat::Chat),
    Bench(Box<bench::Bench>),
    #[command(hide = true)]
    Bare(bench::bare::Bare),
    #[command(hide = true)]
    BareWebhooks(bench::hooks::bare::BareHooks),
    Config(config::Config),
    Doctor(doctor::Doctor),
    Health(health::Health),
    Backup(backup::Backup),
    Migrate(migrate::Migrate),
    Completions(completions::Completions),
    Man(completions::Man),
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
        Command::Webhooks(webhooks) => webhooks.run(),
        Command::Chat(chat) => chat.run(),
        Command::Bench(bench) => bench.run(),
        Command::Bare(bare) => bare.run(),
        Command::BareWebhooks(bare) => bare.run(),
        Command::Config(config) => config.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Health(health) => health.run(),
        Command::Backup(backup) => backup.run(),
        Command::Migrate(migrate) => migrate.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("openclaw-server: {}", on_one_line(&*error));
        ExitCode::FAILURE
    })
}

/// With everything that the error came from.
fn on_one_line(error: &dyn Error) -> String {
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
    line
}
