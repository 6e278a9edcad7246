//! How fast articles are taken in and found, and in how much memory, through the store and the indexer.
//!
//! ```text
//! cargo run --release -p openclaw-actors --example knowledge_load -- [--lean] [--puts N] [--searchers N] DIR…
//! ```
//!
//! All collections (folders as `retrieval` reads them) become articles of one organization in a store of its own. A
//! second process then builds the index from the store, as after a restart; searches with the collections' questions;
//! and changes articles while `--searchers` go on searching. The time from commit to found is the server's own metric.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use openclaw_actors::clock::Timestamp;
use openclaw_actors::ids::{ArticleId, OrgId};
use openclaw_actors::knowledge::article::{Draft, Fields};
use openclaw_actors::knowledge::index::{Index, Query};
use openclaw_actors::knowledge::markup::Format;
use openclaw_actors::knowledge::messages::{Precondition, PutArticle, PutTarget};
use openclaw_actors::knowledge::{Knowledge, ListArticles, Options as Working};
use openclaw_actors::metrics::METRICS;
use openclaw_actors::organization::{self, Organization, OrganizationPatch};
use openclaw_actors::patch::Change;
use openclaw_actors::store::Store;
use openclaw_actors::writer::{Op, Writer};
use serde_json::Value;

type Failure = Box<dyn Error>;

/// Questions of each collection that are asked.
const QUESTIONS: usize = 500;

#[derive(Debug, Default)]
struct Options {
    puts: usize,
    searchers: usize,
    /// With the index that takes less memory.
    lean: bool,
    /// Of the second process: the store that the first one filled.
    measure: Option<(PathBuf, OrgId)>,
    collections: Vec<PathBuf>,
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    actix::System::new().block_on(async {
        match &options.measure {
            Some((data, org)) => measure(&options, data, *org).await,
            None => fill(&options).await,
        }
    })
}

fn options() -> Result<Options, Failure> {
    let mut options = Options { puts: 1_000, searchers: 2, ..Options::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--lean" => options.lean = true,
            "--puts" => options.puts = value()?.parse()?,
            "--searchers" => options.searchers = value()?.parse()?,
            "--measure" => options.measure = Some((value()?.into(), value()?.parse()?)),
            _ if argument.starts_with('-') => return Err(format!("{argument} is unknown").into()),
            _ => options.collections.push(argument.into()),
        }
    }
    Ok(options)
}

/// Writes all articles, then hands over to a process whose memory holds nothing yet.
async fn fill(options: &Options) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let store = Store::open_sqlite(folder.path()).await?;
    let writer = Writer::start(&store, "fill").await?;
    let knowledge = Knowledge::start(store.clone(), writer.clone());
    let org = organization(&writer).await?;
    let began = Instant::now();
    let mut articles = 0;
    for collection in &options.collections {
        for row in rows(&collection.join("docs.jsonl"))? {
            let content = row["text"].as_str().unwrap_or_default();
            put(&knowledge, org, PutTarget::New(ArticleId::generate()), &row, content.to_owned()).await?;
            articles += 1;
        }
    }
    let took = began.elapsed();
    println!("{articles} articles written one by one in {:.1} s", took.as_secs_f64());
    knowledge.close().await;
    writer.close().await;
    store.close().await;
    let counts = [options.puts, options.searchers].map(|count| count.to_string());
    let status = Command::new(std::env::current_exe()?)
        .args(options.lean.then_some("--lean"))
        .args(["--puts", &counts[0], "--searchers", &counts[1], "--measure"])
        .args([folder.path().as_os_str(), org.to_string().as_ref()])
        .args(&options.collections)
        .status()?;
    if status.success() { Ok(()) } else { Err("the measurement failed".into()) }
}

/// Articles belong to an organization.
async fn organization(writer: &Writer) -> Result<OrgId, Failure> {
    let patch = OrganizationPatch { name: Change::Set("Load".to_owned()), ..OrganizationPatch::default() };
    let organization = Organization::new(patch, Timestamp::now())?;
    let mut op = Op::default();
    organization::insert(&mut op, &organization);
    writer.commit(op).await?;
    Ok(organization.id)
}

async fn measure(options: &Options, data: &Path, org: OrgId) -> Result<(), Failure> {
    let mut questions = Vec::new();
    for collection in &options.collections {
        let rows = rows(&collection.join("queries.jsonl"))?;
        let step = (rows.len() / QUESTIONS).max(1);
        let texts = rows.iter().step_by(step).filter_map(|row| row["text"].as_str().map(str::to_owned));
        questions.extend(texts);
    }
    let store = Store::open_sqlite(data).await?;
    let writer = Writer::start(&store, "measure").await?;
    let empty_index = if options.lean { Index::lean } else { Index::default };
    let working = Working { empty_index, ..Working::default() };
    let knowledge = Knowledge::start_with(store.clone(), writer.clone(), working);
    let before = resident_mb();
    let began = Instant::now();
    search(&knowledge, org, "warm up").await?;
    let built = began.elapsed();
    println!("built from the store in {:.2} s, {:.0} MB", built.as_secs_f64(), resident_mb() - before);

    let mut times = Vec::new();
    for question in &questions {
        let began = Instant::now();
        search(&knowledge, org, question).await?;
        times.push(began.elapsed());
    }
    report("search, alone", &mut times);

    let over = Arc::new(AtomicBool::new(false));
    let searching: Vec<_> = (0..options.searchers)
        .map(|searcher| {
            let (knowledge, questions, over) = (knowledge.clone(), questions.clone(), Arc::clone(&over));
            actix::spawn(async move {
                let mut times = Vec::new();
                // Each begins elsewhere, and every article that changes makes the answers new.
                for question in questions.iter().cycle().skip(searcher * questions.len() / 7) {
                    let began = Instant::now();
                    let found = search(&knowledge, org, question).await;
                    times.push(began.elapsed());
                    if found.is_err() || over.load(Ordering::Relaxed) {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                times
            })
        })
        .collect();
    change(options, &knowledge, org).await?;
    over.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for searcher in searching {
        times.extend(searcher.await?);
    }
    report("search, beside writes", &mut times);
    println!("after all of it {:.0} MB", resident_mb() - before);
    print_lag()
}

/// Changes articles, evenly spread, one after the other.
async fn change(options: &Options, knowledge: &Knowledge, org: OrgId) -> Result<(), Failure> {
    let listed = ListArticles { with_content: true, limit: i64::MAX, ..ListArticles::default() };
    let articles = knowledge.list(org, &listed).await?;
    let mut times = Vec::new();
    for stored in articles.iter().step_by((articles.len() / options.puts.max(1)).max(1)).take(options.puts) {
        let content = format!("{}\n\nChanged just now.", stored.content);
        let title = serde_json::json!({ "title": stored.article.fields.title });
        let began = Instant::now();
        put(knowledge, org, PutTarget::Stored(stored.article.id), &title, content).await?;
        times.push(began.elapsed());
    }
    report("put, with its commit", &mut times);
    Ok(())
}

async fn put(
    knowledge: &Knowledge,
    org: OrgId,
    target: PutTarget,
    row: &Value,
    content: String,
) -> Result<(), Failure> {
    let fields = Fields {
        external_id: None,
        source: None,
        title: row["title"].as_str().unwrap_or_default().to_owned(),
        format: Format::Markdown,
        language: String::new(),
        topic: None,
        url: None,
        metadata: BTreeMap::new(),
        published: true,
    };
    let draft = tokio::task::spawn_blocking(move || Draft::read(fields, content)).await??;
    let (only_if, now) = (Precondition::None, Timestamp::now());
    knowledge.put(PutArticle { org, target, draft, only_if, now, idempotency: None }).await?;
    Ok(())
}

async fn search(knowledge: &Knowledge, org: OrgId, question: &str) -> Result<(), Failure> {
    let query = Query { turns: vec![question.to_owned()], limit: 6, ..Query::default() };
    knowledge.search(org, &query).await?;
    Ok(())
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (most, count) = (times.last().copied().unwrap_or_default(), times.len());
    println!(
        "{what}: {count} times, p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms",
        ms(at(0.5)),
        ms(at(0.99)),
        ms(most)
    );
}

/// From commit to found, as `/metrics` shows it.
fn print_lag() -> Result<(), Failure> {
    let mut registry = prometheus_client::registry::Registry::default();
    METRICS.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    println!("from commit to found:");
    text.lines().filter(|line| line.starts_with("index_lag_seconds_")).for_each(|line| println!("  {line}"));
    Ok(())
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

fn rows(path: &Path) -> Result<Vec<Value>, Failure> {
    let file = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    file.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
