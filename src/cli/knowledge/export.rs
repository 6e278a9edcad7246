//! `knowledge export`: all articles, as lines of JSON that an import takes.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use futures_util::StreamExt;
use openclaw_actors::knowledge::ListArticles;

use super::place::{Failure, Place, Where};
use crate::{cli::Outcome, http::knowledge::exported};

/// Articles read at a time; each may have four megabytes.
const PAGE: i64 = 8;

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    place: Where,
    /// The file to write; standard output unless given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Export {
    pub(super) async fn run(self) -> Outcome {
        let place = self.place.open().await?;
        let written = match &self.out {
            None => write(&place, &mut io::stdout().lock()).await,
            Some(path) => {
                // A name that is there holds a whole export, or the one before.
                let part = path.with_added_extension("part");
                let named = |error: io::Error| format!("{}: {error}", part.display());
                let mut file = BufWriter::new(File::create(&part).map_err(named)?);
                let written = write(&place, &mut file).await;
                let stored = file.into_inner().map_err(io::IntoInnerError::into_error);
                let stored = stored.and_then(|file| file.sync_all()).map_err(Failure::from);
                let whole = written.and(stored).and_then(|()| Ok(fs::rename(&part, path)?));
                if whole.is_err() {
                    drop(fs::remove_file(&part));
                }
                whole
            }
        };
        place.close().await;
        written?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn write(place: &Place, out: &mut impl Write) -> Result<(), Failure> {
    match place {
        Place::Store { knowledge, org, .. } => {
            let mut after = None;
            loop {
                let wanted = ListArticles {
                    after,
                    ascending: true,
                    with_content: true,
                    limit: PAGE,
                    ..ListArticles::default()
                };
                let page = knowledge.list(*org, &wanted).await?;
                let Some(last) = page.last().map(|stored| stored.article.id) else { break };
                after = Some(last);
                for stored in &page {
                    out.write_all(&exported(stored)?)?;
                }
            }
        }
        Place::Server(server) => {
            let mut body = server.open("/v1/knowledge/export").await?;
            while let Some(part) = body.next().await {
                out.write_all(&part.map_err(|error| format!("the export broke off: {error}"))?)?;
            }
        }
    }
    Ok(out.flush()?)
}
