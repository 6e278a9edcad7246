//! `openclaw-server backup`: a data directory that a server can be started on, beside the one that runs.
//!
//! The lock and the node's name stay behind: the copy is another node's.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use openclaw_actors::{
    keys::Pepper,
    store::{Store, StoreError},
};
use serde_json::json;

use super::{Outcome, settings::Settings};

/// Copy the data into a directory that a server can be started on
///
/// Everything acknowledged before the command began is in the copy; a running server goes on meanwhile. To restore,
/// start on the copy: serve --data TARGET. With PostgreSQL, its own pg_dump copies the database, and this command the
/// rest: run it after pg_dump, so that no key in the dump is newer than the pepper.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// Where to: a directory that is empty or not there
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The target holds something.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not empty: name a directory that is empty or not there")]
struct NotEmpty(PathBuf);

impl Backup {
    pub(super) fn run(self) -> Outcome {
        let config = self.settings.load()?;
        let data = config.store.data.as_path();
        let is_embedded = config.store.database_url.is_none();
        let target = self.target.as_path();
        // Before anything is made: without it the keys in the copy would open nothing.
        Pepper::read(data)?;
        prepare(target)?;
        // The database first: each of its keys was made under a pepper that is there by now.
        if is_embedded {
            actix::System::new().block_on(copy_database(data, target))?;
        }
        Pepper::copy(data, target)?;
        if is_embedded {
            // A copy that was cut short has no database by that name, so no server mistakes it for a whole one.
            fs::rename(draft(target), Store::sqlite_file(target))?;
        }
        File::open(target)?.sync_all()?;
        report(target, is_embedded, self.json);
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes the target for its owner alone, like every data directory.
fn prepare(target: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    DirBuilder::new().recursive(true).mode(0o700).create(target)?;
    match fs::read_dir(target)?.next() {
        Some(_) => Err(NotEmpty(target.to_owned()).into()),
        None => Ok(()),
    }
}

fn draft(target: &Path) -> PathBuf {
    Store::sqlite_file(target).with_extension("db.partial")
}

#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the copy")]
    File(#[from] io::Error),
}

async fn copy_database(data: &Path, target: &Path) -> Result<(), CopyError> {
    let store = Store::open_sqlite_as_it_is(data).await?;
    let file = draft(target);
    // Made here, because SQLite would let others read it.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
    let copied = store.copy_to(&file).await;
    store.close().await;
    if let Err(error) = copied {
        // What has failed for want of space should not go on taking it.
        drop(fs::remove_file(&file));
        return Err(error.into());
    }
    Ok(File::open(&file)?.sync_all()?)
}

fn report(target: &Path, is_embedded: bool, json: bool) {
    let path = target.display();
    if json {
        println!("{}", json!({ "target": target, "database": is_embedded }));
        return;
    }
    if is_embedded {
        println!("The copy is in {path}. To restore it: openclaw-server serve --data {path}");
    } else {
        println!(
            "The data directory's own files are in {path}. Its database is in PostgreSQL: copy that with pg_dump,"
        );
        println!("before each run of this command. To restore both: serve --data {path} --database-url URL");
    }
}
