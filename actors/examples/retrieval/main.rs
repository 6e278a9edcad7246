//! How well the index finds, and how well it knows when it does not, over collections of questions with known answers.
//!
//! ```text
//! cargo run --release -p openclaw-actors --example retrieval -- [MODE] [--lean] [--language nl] [--most N] [--threshold 0.5] [--foreign DIR]… DIR…
//! ```
//!
//! | Mode | What is printed for each collection |
//! |---|---|
//! | | hit@1, recall@5 and nDCG@10, beside those of plain BM25 over the same articles; time per search, time to build |
//! | `--typos` | nDCG@10 with one typing error in each question, and what that costs |
//! | `--embeddings URL --model NAME` | hit@1, recall@5 and nDCG@10 with the vectors of an endpoint (what stands before `/embeddings`; its key from `EMBEDDINGS_API_KEY`), beside words alone; `--query-prefix`, `--passage-prefix` and `--weight` as in the settings |
//! | `--vectors N` | over all collections as one: the time of a search by words, and with random vectors of so many numbers |
//! | `--confidence` | how many questions are answered, how many of those rightly; how many are answered that should not be: those of the `--foreign` collections, the same after a question of this collection, those whose article is missing, and those that have none |
//!
//! A collection is a folder with `docs.jsonl` (`{"id", "title", "text"}`, where a line of the text that begins with
//! `#` is a heading) and `queries.jsonl` (`{"id", "text", "relevant": [ids], "turn": 3, "history": ["user:…"]}`). Where
//! questions have turns, the first ones and the others are two rows. `--language` holds for the folders behind it;
//! without it languages are detected, as the server does. `--most` takes so many questions of each, evenly spread.

mod collection;
mod meaning;
mod measures;
mod plain;
mod typos;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use openclaw_actors::knowledge::language::Language;

use self::collection::{Articles, Collection, Question};
use self::meaning::Endpoint;
use self::measures::{Answers, Ranks, percentile};
use self::plain::Plain;

type Failure = Box<dyn Error>;

/// The answers that a setting's default lets through.
const ANSWERED: f32 = 0.5;

/// Titles are suggested from here.
const SUGGESTED: f32 = 0.2;

/// The share of articles that are left out to see what becomes of their questions.
const MISSING_SHARE: f64 = 0.4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Quality,
    Typos,
    Confidence,
    Embeddings,
    Vectors,
}

struct Options {
    mode: Mode,
    most: usize,
    /// With the index that takes less memory.
    lean: bool,
    /// How sure the search must be for an answer.
    threshold: f32,
    /// What makes vectors, to see what they gain.
    endpoint: Endpoint,
    /// How long vectors are, to see what they cost.
    dimensions: usize,
    foreign: Vec<PathBuf>,
    collections: Vec<(PathBuf, Option<Language>)>,
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let mut foreign = Vec::new();
    for path in &options.foreign {
        foreign.push(Collection::read(path, None, options.most)?);
    }
    match options.mode {
        Mode::Embeddings => return actix::System::new().block_on(with_endpoint(&options)),
        Mode::Vectors => {
            let read = |(path, language): &(PathBuf, _)| Collection::read(path, *language, options.most);
            let collections = options.collections.iter().map(read).collect::<Result<_, _>>()?;
            meaning::cost(collections, options.dimensions);
            return Ok(());
        }
        Mode::Quality | Mode::Typos | Mode::Confidence => {}
    }
    let mut losses = Vec::new();
    println!("{}", heading(options.mode, &foreign));
    for (path, language) in &options.collections {
        let collection = Collection::read(path, *language, options.most)?.searched(options.lean);
        match options.mode {
            Mode::Quality => quality(&collection),
            Mode::Typos => losses.extend(typos(&collection)),
            Mode::Confidence => confidence(&collection, &foreign, options.threshold),
            Mode::Embeddings | Mode::Vectors => {}
        }
    }
    if !losses.is_empty() {
        println!("on average {:>49.3}", losses.iter().sum::<f32>() / losses.len() as f32);
    }
    Ok(())
}

async fn with_endpoint(options: &Options) -> Result<(), Failure> {
    let embeddings = options.endpoint.open()?;
    println!("{}", meaning::heading());
    for (path, language) in &options.collections {
        let collection = Collection::read(path, *language, options.most)?.searched(options.lean);
        meaning::quality(&collection, &embeddings).await?;
    }
    Ok(())
}

fn options() -> Result<Options, Failure> {
    let mut options = Options {
        mode: Mode::Quality,
        most: usize::MAX,
        lean: false,
        threshold: ANSWERED,
        endpoint: Endpoint {
            url: String::new(),
            model: String::new(),
            query_prefix: String::new(),
            passage_prefix: String::new(),
            weight: 0.5,
        },
        dimensions: 0,
        foreign: Vec::new(),
        collections: Vec::new(),
    };
    let mut language = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--typos" => options.mode = Mode::Typos,
            "--confidence" => options.mode = Mode::Confidence,
            "--embeddings" => (options.mode, options.endpoint.url) = (Mode::Embeddings, value()?),
            "--model" => options.endpoint.model = value()?,
            "--query-prefix" => options.endpoint.query_prefix = value()?,
            "--passage-prefix" => options.endpoint.passage_prefix = value()?,
            "--weight" => options.endpoint.weight = value()?.parse()?,
            "--vectors" => (options.mode, options.dimensions) = (Mode::Vectors, value()?.parse()?),
            "--lean" => options.lean = true,
            "--language" => language = Language::parse(&value()?),
            "--most" => options.most = value()?.parse()?,
            "--threshold" => options.threshold = value()?.parse()?,
            "--foreign" => options.foreign.push(value()?.into()),
            _ if argument.starts_with('-') => return Err(format!("{argument} is unknown").into()),
            _ => options.collections.push((argument.into(), language)),
        }
    }
    Ok(options)
}

fn heading(mode: Mode, foreign: &[Collection]) -> String {
    let head = format!("{:<16} {:>5} {:>9}", "collection", "docs", "questions");
    match mode {
        Mode::Quality => {
            format!("{head} hit@1 recall@5 ndcg@10 | plain hit@1 recall@5 ndcg@10 |  p50 µs  p99 µs build s")
        }
        Mode::Typos => format!("{head} ndcg@10 with typos   cost"),
        Mode::Confidence => {
            let names = foreign.iter().map(|foreign| format!("{:>10}", foreign.name)).collect::<String>();
            format!("{head} answered right |{names} (suggested) | after suggested | missing unanswerable")
        }
        Mode::Embeddings | Mode::Vectors => String::new(),
    }
}

fn quality(collection: &Collection) {
    let began = Instant::now();
    let articles = Articles::of(collection, |_| true);
    let build = began.elapsed();
    let plain = Plain::of(&collection.articles);
    for (name, questions) in collection.parts() {
        let (mut ours, mut theirs) = (Ranks::default(), Ranks::default());
        let mut times = Vec::new();
        for question in questions.iter().filter(|question| !question.relevant.is_empty()) {
            let began = Instant::now();
            let hits = articles.search(&question.turns);
            times.push(began.elapsed());
            ours.note(hits.iter().map(|hit| articles.name(hit)), &question.relevant);
            theirs.note(plain.search(&question.turns), &question.relevant);
        }
        let micros = |time: Duration| time.as_micros();
        println!(
            "{name:<16} {:>5} {:>9} {ours} | {:>5} {theirs} | {:>7} {:>7} {:>7.2}",
            collection.articles.len(),
            times.len(),
            "",
            micros(percentile(&mut times, 50)),
            micros(percentile(&mut times, 99)),
            build.as_secs_f32(),
        );
    }
}

fn typos(collection: &Collection) -> Vec<f32> {
    let articles = Articles::of(collection, |_| true);
    let mut losses = Vec::new();
    for (name, questions) in collection.parts() {
        let (mut clean, mut typed) = (Ranks::default(), Ranks::default());
        for (seed, question) in questions.iter().enumerate() {
            let mut turns = question.turns.clone();
            clean.note(articles.search(&turns).iter().map(|hit| articles.name(hit)), &question.relevant);
            if let Some(last) = turns.last_mut() {
                *last = typos::with_one(last, seed as u64);
            }
            typed.note(articles.search(&turns).iter().map(|hit| articles.name(hit)), &question.relevant);
        }
        let cost = clean.ndcg() - typed.ndcg();
        losses.push(cost);
        println!(
            "{name:<16} {:>5} {:>9} {:>7.3} {:>10.3} {cost:>6.3}",
            collection.articles.len(),
            questions.len(),
            clean.ndcg(),
            typed.ndcg()
        );
    }
    losses
}

fn confidence(collection: &Collection, foreign: &[Collection], threshold: f32) {
    let articles = Articles::of(collection, |_| true);
    let rest = Articles::of(collection, |id| !is_missing(id));
    for (name, questions) in collection.parts() {
        let mut own = Answers::above(threshold);
        let mut missing = Answers::above(threshold);
        for question in questions {
            own.note(&articles, &question.turns, &question.relevant);
            if !question.relevant.is_empty() && question.relevant.iter().all(|id| is_missing(id)) {
                missing.note(&rest, &question.turns, &[]);
            }
        }
        let (mut outside, mut suggested) = (String::new(), String::new());
        let mut after = Answers::above(threshold);
        for foreign in foreign {
            let mut answers = Answers::above(threshold);
            for (at, stranger) in foreign.questions.iter().enumerate() {
                answers.note(&articles, &stranger.turns, &[]);
                let before: &Question = &questions[at % questions.len()];
                let turns = [&before.turns[..], &stranger.turns[..]].concat();
                after.note(&articles, &turns, &[]);
            }
            outside += &format!("{:>10.4}", answers.answered_wrongly());
            suggested += &format!(" {:.3}", answers.suggested_wrongly());
        }
        println!(
            "{name:<16} {:>5} {:>9} {:>8.3} {:>5.3} |{outside} ({suggested} ) | {:.4} {:>9.3} | {:>7.3} {:>12.3}",
            collection.articles.len(),
            questions.len(),
            own.answered(),
            own.right(),
            after.answered_wrongly(),
            after.suggested_wrongly(),
            missing.answered_wrongly(),
            own.answered_wrongly(),
        );
    }
}

/// Whether an article is one of those left out: the same ones every time.
fn is_missing(id: &str) -> bool {
    (typos::hash(id.as_bytes()) % 1000) as f64 / 1000.0 < MISSING_SHARE
}
