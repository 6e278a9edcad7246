//! How well the index finds, over collections of questions with known answers.
//!
//! `cargo run --release -p openclaw-actors --example retrieval -- [--language nl] [--first-turns] [--foreign DIR]… DIR…`
//!
//! A collection is a folder with `docs.jsonl` (`{"id", "title", "text"}`, where a line of the text that begins with
//! `#` is a heading) and `queries.jsonl` (`{"id", "text", "relevant": [ids], "history": ["user:…"]}`). The
//! questions of a `--foreign` collection have no answer in the others: how many get one all the same is counted.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use openclaw_actors::clock::Timestamp;
use openclaw_actors::ids::ArticleId;
use openclaw_actors::knowledge::article::{Article, Entry, Fields};
use openclaw_actors::knowledge::index::{Index, Prepared, Query};
use openclaw_actors::knowledge::language::Language;
use openclaw_actors::knowledge::markup::{Block, BlockKind, Document, Format};
use serde_json::Value;

type Failure = Box<dyn Error>;

/// Ranks that count.
const DEPTH: usize = 10;

/// Above this an answer is given.
const ANSWERED: f32 = 0.5;

#[derive(Default)]
struct Options {
    language: Option<Language>,
    first_turns: bool,
    most: Option<usize>,
    foreign: Vec<PathBuf>,
    collections: Vec<PathBuf>,
}

struct Question {
    turns: Vec<String>,
    relevant: Vec<String>,
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let mut foreign = Vec::new();
    for path in &options.foreign {
        foreign.extend(questions(path, &options)?);
    }
    println!(
        "collection        docs questions hit@1 recall@5 ndcg@10 answered right missing foreign  p50 µs  p99 µs build s"
    );
    for path in &options.collections {
        report(path, &options, &foreign)?;
    }
    Ok(())
}

fn options() -> Result<Options, Failure> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--language" => options.language = Language::parse(&value()?),
            "--first-turns" => options.first_turns = true,
            "--most" => options.most = Some(value()?.parse()?),
            "--foreign" => options.foreign.push(value()?.into()),
            _ => options.collections.push(argument.into()),
        }
    }
    Ok(options)
}

fn report(path: &Path, options: &Options, foreign: &[Question]) -> Result<(), Failure> {
    let began = Instant::now();
    let (index, names) = index(path, options)?;
    let build = began.elapsed();
    let questions = questions(path, options)?;
    let mut sums = Sums::default();
    for question in &questions {
        sums.ask(&index, &names, question, options.language);
    }
    let mut outside = Sums::default();
    for question in foreign {
        outside.ask(&index, &names, question, options.language);
    }
    sums.micros.sort_unstable();
    let percentile =
        |share: usize| sums.micros.get(sums.micros.len() * share / 100).copied().unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let n = sums.answerable.max(1) as f32;
    println!(
        "{name:<16} {:>5} {:>9} {:>5.3} {:>8.3} {:>7.3} {:>8.3} {:>5.3} {:>7.3} {:>7.3} {:>7} {:>7} {:>7.2}",
        index.len(),
        questions.len(),
        sums.first / n,
        sums.recall / n,
        sums.gain / n,
        sums.answered as f32 / n,
        sums.answered_right as f32 / sums.answered.max(1) as f32,
        sums.answered_wrongly as f32 / sums.unanswerable.max(1) as f32,
        outside.answered_wrongly as f32 / outside.unanswerable.max(1) as f32,
        percentile(50),
        percentile(99),
        build.as_secs_f32(),
    );
    Ok(())
}

#[derive(Default)]
struct Sums {
    answerable: usize,
    unanswerable: usize,
    first: f32,
    recall: f32,
    gain: f32,
    /// Of the answerable ones, and those of them answered from a right article.
    answered: usize,
    answered_right: usize,
    /// Of the unanswerable ones.
    answered_wrongly: usize,
    micros: Vec<u128>,
}

impl Sums {
    fn ask(
        &mut self,
        index: &Index,
        names: &HashMap<ArticleId, String>,
        question: &Question,
        language: Option<Language>,
    ) {
        let query = Query { turns: question.turns.clone(), language, limit: DEPTH, ..Query::default() };
        let began = Instant::now();
        let hits = index.search(&query);
        self.micros.push(began.elapsed().as_micros());
        let answered = hits.first().is_some_and(|hit| hit.confidence >= ANSWERED);
        if question.relevant.is_empty() {
            self.unanswerable += 1;
            self.answered_wrongly += usize::from(answered);
            return;
        }
        let right: Vec<bool> =
            hits.iter().map(|hit| question.relevant.contains(&names[&hit.entry.article.id])).collect();
        let is_first = right.first() == Some(&true);
        let gain = |rank: usize| 1.0 / (rank as f32 + 2.0).log2();
        let found: f32 =
            right.iter().enumerate().filter(|(_, right)| **right).map(|(rank, _)| gain(rank)).sum();
        let best: f32 = (0..question.relevant.len().min(DEPTH)).map(gain).sum();
        self.answerable += 1;
        self.first += f32::from(u8::from(is_first));
        self.recall +=
            right.iter().take(5).filter(|right| **right).count() as f32 / question.relevant.len() as f32;
        self.gain += found / best;
        self.answered += usize::from(answered);
        self.answered_right += usize::from(answered && is_first);
    }
}

fn index(path: &Path, options: &Options) -> Result<(Index, HashMap<ArticleId, String>), Failure> {
    let mut index = Index::default();
    let mut names = HashMap::new();
    for row in rows(&path.join("docs.jsonl"))? {
        let id = ArticleId::generate();
        names.insert(id, text(&row["id"]));
        let language = options.language.unwrap_or(Language::DEFAULT).code().to_owned();
        let fields = Fields {
            external_id: None,
            source: None,
            title: text(&row["title"]),
            format: Format::Text,
            language,
            topic: None,
            url: None,
            metadata: BTreeMap::new(),
            published: true,
        };
        let now = Timestamp(0);
        let article = Article { id, version: 1, fields, created_at: now, updated_at: now };
        let entry = Entry::of(Arc::new(article), document(text(&row["text"])));
        index.put(&Prepared::of(Arc::new(entry)), None);
    }
    Ok((index, names))
}

fn document(text: String) -> Document {
    let mut blocks = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        let shown = line.trim_start_matches('#').trim();
        let at = start + line.find(shown).unwrap_or_default();
        let kind = if level > 0 { BlockKind::Heading(level.min(6) as u8) } else { BlockKind::Paragraph };
        if !shown.is_empty() {
            blocks.push(Block { kind, range: at..at + shown.len() });
        }
        start += line.len();
    }
    Document { text, blocks }
}

fn questions(path: &Path, options: &Options) -> Result<Vec<Question>, Failure> {
    let mut questions = Vec::new();
    for row in rows(&path.join("queries.jsonl"))? {
        let is_follow_up = row["turn"].as_u64().is_some_and(|turn| turn > 1);
        if row["turn"].is_u64() && is_follow_up == options.first_turns {
            continue;
        }
        let said = row["history"].as_array().into_iter().flatten();
        let mut turns: Vec<String> =
            said.filter_map(|turn| turn.as_str()?.strip_prefix("user:").map(str::to_owned)).collect();
        turns.push(text(&row["text"]));
        let relevant = row["relevant"].as_array().into_iter().flatten().map(text).collect();
        questions.push(Question { turns, relevant });
    }
    if let Some(most) = options.most.filter(|most| *most < questions.len()) {
        let step = questions.len() as f32 / most as f32;
        let kept: Vec<usize> = (0..most).map(|n| (n as f32 * step) as usize).collect();
        let mut at = 0;
        questions.retain(|_| {
            at += 1;
            kept.binary_search(&(at - 1)).is_ok()
        });
    }
    Ok(questions)
}

fn rows(path: &Path) -> Result<Vec<Value>, Failure> {
    std::fs::read_to_string(path)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
