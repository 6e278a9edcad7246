//! `knowledge import`: a folder, or lines of JSON, become articles. Done again, it only writes what changed.

use std::{
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use openclaw_actors::knowledge::messages::Change;
use serde::Serialize;
use serde_json::{Value, json};

use super::place::{Failure, Place, Refusal, Where};
use crate::{article_file::ArticleFile, cli::Outcome};

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
struct Summary {
    articles: usize,
    created: usize,
    updated: usize,
    unchanged: usize,
    refused: usize,
    errors: Vec<RefusedArticle>,
}

#[derive(Debug, Serialize)]
struct RefusedArticle {
    /// The file, or the line of a file.
    at: String,
    code: String,
    message: String,
}

/// An article that was found: where, and the body to write or why there is none.
type Found = (String, Result<Value, Refusal>);

impl Import {
    pub(super) async fn run(self) -> Outcome {
        let found = if self.from.is_dir() { files(&self.from)? } else { lines(&self.from)? };
        let mut place = self.place.open().await?;
        place.get_ready().await;
        let progress = progress(found.len(), self.json);
        let imported = import(&place, found, &progress).await;
        progress.finish_and_clear();
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

async fn import(place: &Place, found: Vec<Found>, progress: &ProgressBar) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    let written = stream::iter(found).map(|(at, body)| async move {
        let outcome = match body {
            Ok(body) => place.put(body).await?,
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
        let Self { articles, created, updated, unchanged, refused, errors } = self;
        println!(
            "{articles} articles: {created} created, {updated} updated, {unchanged} unchanged, {refused} refused"
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
fn progress(articles: usize, json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} articles, {per_sec}, {eta} left");
    ProgressBar::new(articles as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The articles of a folder, by their paths in it. What begins with a dot is not looked at.
fn files(folder: &Path) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).map_err(|error| format!("{}: {error}", next.display()))? {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            // A link is not followed: it may lead out of the folder, or round in it.
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.extend(file(folder, &path));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn file(folder: &Path, path: &Path) -> Option<Found> {
    let relative = path.strip_prefix(folder).ok()?;
    let name = relative.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
    if !ArticleFile::is_article(&name) {
        return None;
    }
    let body = match fs::read_to_string(path) {
        Ok(text) => Ok(body(ArticleFile::parse(&name, &text)?)),
        Err(error) => Err(Refusal { code: "unreadable".to_owned(), message: error.to_string() }),
    };
    Some((name, body))
}

fn body(file: ArticleFile) -> Value {
    let ArticleFile { external_id, title, format, language, topic, url, content } = file;
    json!({
        "external_id": external_id,
        "title": title,
        "format": format.as_str(),
        "language": language,
        "topic": topic,
        "url": url,
        "content": content,
    })
}

/// The articles of a file with one JSON object per line.
fn lines(path: &Path) -> Result<Vec<Found>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let found = lines.map(|(number, line)| {
        let at = format!("line {}", number + 1);
        let body = match serde_json::from_str::<Value>(line) {
            Ok(body) if body["external_id"].is_string() => Ok(body),
            Ok(_) => Err(refusal("invalid_field", "external_id must be there")),
            Err(error) => Err(refusal("malformed_json", &error.to_string())),
        };
        (at, body)
    });
    Ok(found.collect())
}

fn refusal(code: &str, message: &str) -> Refusal {
    Refusal { code: code.to_owned(), message: message.to_owned() }
}
