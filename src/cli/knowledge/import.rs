//! `knowledge import`: a folder, or lines of JSON, become articles. Done again, it only writes what changed.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::Args;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use openclaw_actors::{
    ids::OrgId,
    knowledge::{Knowledge, messages::Change},
};
use serde::Serialize;

use super::{
    files::{Found, files, lines},
    place::{Failure, Place, Refusal, Where, put_in_store},
};
use crate::cli::Outcome;

/// Articles under way at once: enough to keep a server busy, few enough to leave it time for others.
const AT_ONCE: usize = 8;

/// Refusals that are named; the rest are counted.
const NAMED: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// A folder of .md, .html and .txt files, or a .ndjson file
    #[arg(value_name = "DIR_OR_NDJSON")]
    from: PathBuf,
    #[command(flatten)]
    place: Where,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What became of the articles.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) articles: usize,
    pub(super) created: usize,
    pub(super) updated: usize,
    pub(super) unchanged: usize,
    pub(super) deleted: usize,
    pub(super) refused: usize,
    pub(super) errors: Vec<RefusedArticle>,
}

#[derive(Debug, Serialize)]
pub(super) struct RefusedArticle {
    /// The file, or the line of a file.
    pub(super) at: String,
    pub(super) code: String,
    pub(super) message: String,
}

impl Import {
    pub(super) async fn run(self) -> Outcome {
        let place = self.place.open().await?;
        let imported = match &place {
            Place::Store { knowledge, org, .. } => {
                let found = if self.from.is_dir() { files(&self.from)? } else { lines(&self.from)? };
                import(knowledge, *org, found, self.json).await
            }
            Place::Server(server) => server.import(&self.from, self.json).await,
        };
        place.close().await;
        let summary = imported?;
        if self.json {
            println!("{}", serde_json::to_string(&summary)?);
        } else {
            summary.print();
        }
        Ok(if summary.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn import(
    knowledge: &Knowledge,
    org: OrgId,
    found: Vec<Found>,
    json: bool,
) -> Result<Summary, Failure> {
    let progress = progress(found.len(), json);
    let mut summary = Summary::default();
    let written = stream::iter(found).map(|(at, body)| async move {
        let outcome = match body {
            Ok(body) => put_in_store(knowledge, org, body).await?,
            Err(refusal) => Err(refusal),
        };
        Ok::<_, Failure>((at, outcome))
    });
    let mut written = written.buffered(AT_ONCE);
    while let Some(written) = written.next().await {
        let (at, outcome) = written?;
        summary.count(at, outcome);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(summary)
}

impl Summary {
    fn count(&mut self, at: String, outcome: Result<Change, Refusal>) {
        self.articles += 1;
        match outcome {
            Ok(Change::Created) => self.created += 1,
            Ok(Change::Updated) => self.updated += 1,
            Ok(Change::Unchanged) => self.unchanged += 1,
            Err(Refusal { code, message }) => {
                self.refused += 1;
                self.errors.push(RefusedArticle { at, code, message });
            }
        }
    }

    fn print(&self) {
        let Self { articles, created, updated, unchanged, deleted, refused, errors } = self;
        println!(
            "{articles} articles: {created} created, {updated} updated, {unchanged} unchanged, {deleted} deleted, {refused} refused"
        );
        for RefusedArticle { at, code, message } in errors.iter().take(NAMED) {
            eprintln!("{at}: {message} ({code})");
        }
        if errors.len() > NAMED {
            eprintln!("… and {} more", errors.len() - NAMED);
        }
    }
}

/// A bar, where a person watches.
pub(super) fn progress(articles: usize, json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} articles, {per_sec}, {eta} left");
    ProgressBar::new(articles as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
