//! `openclaw-server migrate`: what a start does to the database, without starting.

use std::process::ExitCode;

use clap::Args;
use openclaw_actors::store::{Step, StepState, Store, StoreError};
use serde_json::json;

use super::{Outcome, settings::Settings};
use crate::{
    config::StoreConfig,
    data::{DataDirectory, DataError},
};

/// Bring the database to the form that this version needs
///
/// Every start does the same. With --check nothing is changed, and the exit status is 1 if something is pending or if
/// the database does not belong to this version.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Only say what is pending
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum MigrateError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Migrate {
    pub(super) fn run(self) -> Outcome {
        let config = self.settings.load()?.store;
        let steps = actix::System::new().block_on(async {
            if !self.check {
                let store = open(&config).await?;
                store.close().await;
            }
            steps(&config).await
        })?;
        if self.json {
            println!("{:#}", json!({ "data": steps }));
        } else {
            steps.iter().for_each(print);
        }
        let is_done = steps.iter().all(|step| step.state == StepState::Applied);
        Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// As `serve` does, which migrates.
async fn open(config: &StoreConfig) -> Result<Store, MigrateError> {
    Ok(match &config.database_url {
        Some(url) => Store::connect_postgres(url.expose()).await?,
        None => Store::open_sqlite(DataDirectory::open(&config.data)?.path()).await?,
    })
}

/// The steps of the database that is there, if one is.
async fn steps(config: &StoreConfig) -> Result<Vec<Step>, MigrateError> {
    let store = match &config.database_url {
        Some(url) => Store::connect_postgres_as_it_is(url.expose()).await?,
        None if Store::sqlite_file(&config.data).exists() => {
            Store::open_sqlite_as_it_is(&config.data).await?
        }
        None => return Ok(Store::all_steps()),
    };
    let steps = store.steps().await;
    store.close().await;
    Ok(steps?)
}

fn print(step: &Step) {
    let state = match step.state {
        StepState::Applied => "applied",
        StepState::Pending => "pending",
        StepState::Changed => "changed",
        StepState::Unknown => "unknown",
    };
    println!("{state}  {:04}  {}", step.version, step.name.as_deref().unwrap_or("made by a newer version"));
}
