//! A knowledge base under load: articles are written, found at once, and answered from.
//!
//! Each round of a client writes an article about a thing with a name of its own, searches for it, changes it, searches
//! again, searches for an article of the base, and asks. What was written must be found, and with what it says now; the
//! answer must say it too.

mod articles;
mod round;

use std::{
    cell::Cell,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use openclaw_actors::ids::RequestId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use self::articles::Article;
pub(super) use self::round::Round;
use super::{
    client::{Client, Target},
    progress::Progress,
    report::rounded,
    stage::Failed,
    tally::{Spread, Tally},
};
use crate::cli::knowledge::files;

/// A base of any size that people ask about is written by then.
const LAID_WITHIN: Duration = Duration::from_secs(1_800);

/// Rows among which an article of a given base is looked for by its title.
const ROWS: u32 = 10;

/// The base, and what was done with it so far.
#[derive(Debug)]
pub(super) struct Field {
    /// What the articles of this run have as their source, and their ids begin with.
    run: String,
    /// The number of the first generated article.
    first: u64,
    base: Base,
    /// Rounds so far.
    rounds: Cell<u64>,
    /// Searches for a given article's title, and how many had it among the first rows.
    looked: Cell<u64>,
    found: Cell<u64>,
}

#[derive(Debug)]
enum Base {
    /// So many generated articles.
    Generated(u64),
    /// External ids and titles of articles that were given.
    Given(Vec<(String, String)>),
}

/// What was seen of the knowledge base.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Learned {
    /// Articles of the base.
    pub(super) articles: u64,
    /// How long it took to import and index them.
    pub(super) import_seconds: f64,
    /// Articles that rounds wrote.
    pub(super) written: u64,
    /// Until a written article could be found.
    pub(super) write_ms: Option<Spread>,
    pub(super) search_ms: Option<Spread>,
    /// From the question to the end of its answer.
    pub(super) answer_ms: Option<Spread>,
    /// The share of searches for a given article's title that had it among the first ten.
    pub(super) given_found: Option<f64>,
}

/// The articles of a folder or of a file with one JSON object per line.
pub(super) fn read(path: &Path) -> Result<Vec<Value>, Failed> {
    let found = if path.is_dir() { files::files(path) } else { files::lines(path) };
    let found = found.map_err(|error| format!("--articles: {error}"))?;
    let articles: Result<Vec<Value>, String> = found
        .into_iter()
        .map(|(at, body)| body.map_err(|refusal| format!("--articles: {at}: {}", refusal.message)))
        .collect();
    match articles? {
        articles if articles.is_empty() => Err(format!("--articles: {} has none", path.display()).into()),
        articles => Ok(articles),
    }
}

#[derive(Deserialize)]
struct Import {
    id: String,
    state: String,
    counts: Counts,
    #[serde(default)]
    errors: Vec<ImportError>,
}

#[derive(Deserialize)]
struct Counts {
    lines: u64,
    refused: u64,
    pending: u64,
}

#[derive(Deserialize)]
struct ImportError {
    line: u64,
    message: String,
}

impl Field {
    /// Stores the base and waits until it is indexed. Says how long that took.
    pub(super) async fn lay(
        target: &Rc<Target>,
        generated: u64,
        given: Option<Vec<Value>>,
        progress: &Progress,
    ) -> Result<(Self, Duration), Failed> {
        let run = RequestId::generate().to_string().replace(RequestId::PREFIX, "bench-");
        // Another run's articles may still be there, and must not have our names.
        let first = run.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31) + u64::from(byte)) >> 16;
        let mut field = Self {
            run,
            first,
            base: Base::Generated(generated),
            rounds: Cell::new(0),
            looked: Cell::new(0),
            found: Cell::new(0),
        };
        let lines: Vec<Value> = match given {
            None => (0..generated).map(|number| field.article(number).line(0)).collect(),
            Some(mut lines) => {
                let mut titles = Vec::new();
                for line in &mut lines {
                    // Whatever the server has under this id stays.
                    let id = format!("{}/{}", field.run, line["external_id"].as_str().unwrap_or_default());
                    titles.push((id.clone(), line["title"].as_str().unwrap_or_default().to_owned()));
                    line["external_id"] = id.into();
                }
                titles.retain(|(_, title)| !title.trim().is_empty());
                field.base = Base::Given(titles);
                lines
            }
        };
        progress.say(&format!("importing {} articles", lines.len()));
        let since = Instant::now();
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let laid = timeout(LAID_WITHIN, field.import(target, &body, lines.len())).await;
        laid.map_err(|_| "the articles were not indexed in time")??;
        Ok((field, since.elapsed()))
    }

    async fn import(&self, target: &Rc<Target>, lines: &str, expected: usize) -> Result<(), Failed> {
        let mut client = Client::new(target);
        let path = format!("/v1/knowledge/import?wait=indexed&source={}", self.run);
        let told = |failure| format!("the articles cannot be imported: {failure}");
        let mut import: Import =
            serde_json::from_slice(&client.call(&target.ndjson(&path, lines)).await.map_err(told)?)?;
        while import.counts.pending > 0 {
            let path = format!("/v1/knowledge/imports/{}?wait=indexed", import.id);
            import = serde_json::from_slice(&client.call(&target.get(&path, "")).await.map_err(told)?)?;
        }
        if import.state != "completed" || import.counts.refused > 0 || import.counts.lines != expected as u64
        {
            let first = import.errors.first();
            let first = first.map(|error| format!(": line {}: {}", error.line, error.message));
            let (refused, first) = (import.counts.refused, first.unwrap_or_default());
            return Err(format!("{refused} of {expected} articles were refused{first}").into());
        }
        Ok(())
    }

    /// Deletes what this run wrote.
    pub(super) async fn clear(&self, target: &Rc<Target>) -> Result<(), Failed> {
        // A mirror of nothing.
        let path = format!("/v1/knowledge/import?source={}&mode=mirror", self.run);
        let cleared = Client::new(target).call(&target.ndjson(&path, "")).await;
        cleared.map_err(|failure| format!("the articles of this run cannot be deleted again: {failure}"))?;
        Ok(())
    }

    fn article(&self, number: u64) -> Article {
        Article::new(&self.run, self.first.wrapping_add(number), number)
    }

    /// An article that nobody wrote yet, and the round's number.
    fn next(&self) -> (Article, u64) {
        let round = self.rounds.get();
        self.rounds.set(round + 1);
        let written_before = match &self.base {
            Base::Generated(articles) => *articles,
            Base::Given(_) => 0,
        };
        (self.article(written_before + round), round)
    }

    /// What was measured of it.
    pub(super) fn learned(&self, tally: &Tally, import: Duration) -> Learned {
        let spread = |operation| tally.operations.get(operation).and_then(super::tally::Waits::spread);
        let looked = self.looked.get();
        Learned {
            articles: match &self.base {
                Base::Generated(articles) => *articles,
                Base::Given(given) => given.len() as u64,
            },
            import_seconds: rounded(import.as_secs_f64(), 3),
            written: self.rounds.get(),
            write_ms: spread(round::WRITE),
            search_ms: spread(round::SEARCH),
            answer_ms: spread(round::ANSWER),
            given_found: (looked > 0).then(|| rounded(self.found.get() as f64 / looked as f64, 3)),
        }
    }
}

/// The body of a question.
fn question(target: &Target, text: &str) -> Value {
    let mut message = target.message();
    message["content"] = text.into();
    json!({ "channel": "bench", "message": message, "stream": true })
}
