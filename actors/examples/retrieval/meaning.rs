//! What vectors gain, with whatever endpoint there is, and what they cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openclaw_actors::knowledge::embeddings::{Embeddings, Meaning, Settings, Vector, Vectors};

use super::Failure;
use super::collection::{Articles, Collection};
use super::measures::{Ranks, percentile};

/// Nothing is measured of questions that an endpoint leaves without a vector.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether two texts share a digest is of no interest here.
const NO_DIGEST: [u8; 16] = [0; 16];

pub(super) struct Endpoint {
    pub(super) url: String,
    pub(super) model: String,
    pub(super) query_prefix: String,
    pub(super) passage_prefix: String,
    pub(super) weight: f32,
}

impl Endpoint {
    /// The key, if it wants one, comes from `EMBEDDINGS_API_KEY`.
    pub(super) fn open(&self) -> Result<Embeddings, Failure> {
        let key = std::env::var("EMBEDDINGS_API_KEY").ok();
        Ok(Embeddings::new(Settings {
            base_url: self.url.parse()?,
            api_key: key.as_deref().map(Into::into),
            model: self.model.clone(),
            dimensions: None,
            question_within: PATIENCE,
            weight: self.weight,
            batch: 32,
            question_prefix: self.query_prefix.clone(),
            passage_prefix: self.passage_prefix.clone(),
        })?)
    }
}

pub(super) fn heading() -> String {
    format!(
        "{:<16} {:>5} {:>9} hit@1 recall@5 ndcg@10 | words hit@1 recall@5 ndcg@10 | vectors MB, without",
        "collection", "docs", "questions"
    )
}

/// What is found with the endpoint's vectors, beside what is found by words alone.
pub(super) async fn quality(collection: &Collection, embeddings: &Embeddings) -> Result<(), Failure> {
    let mut articles = Articles::of(collection, |_| true);
    for entry in articles.entries() {
        let vectors = embeddings.of_article(&entry).await.map_err(|failure| failure.to_string())?;
        vectors.iter().for_each(|vectors| articles.index.attach(&entry, vectors));
    }
    for (name, questions) in collection.parts() {
        let (mut ours, mut by_words) = (Ranks::default(), Ranks::default());
        let mut without = 0;
        let answerable = questions.iter().filter(|question| !question.relevant.is_empty());
        for question in answerable {
            let meaning = embeddings.of_question(&question.turns).await;
            without += usize::from(meaning.is_none());
            let hits = articles.search_by(&question.turns, meaning.as_ref());
            ours.note(hits.iter().map(|hit| articles.name(hit)), &question.relevant);
            let hits = articles.search(&question.turns);
            by_words.note(hits.iter().map(|hit| articles.name(hit)), &question.relevant);
        }
        let mb = articles.index.vector_bytes() as f64 / f64::from(1 << 20);
        println!(
            "{name:<16} {:>5} {:>9} {ours} | {:>5} {by_words} | {mb:>10.1} {without:>8}",
            collection.articles.len(),
            questions.len(),
            ""
        );
    }
    Ok(())
}

/// The time of a search over all collections as one, by words and with vectors of so many random numbers.
pub(super) fn cost(collections: Vec<Collection>, dimensions: usize) {
    let mut all = Collection::default();
    for collection in collections {
        all.articles.extend(collection.articles);
        all.questions.extend(collection.questions);
    }
    let mut articles = Articles::of(&all, |_| true);
    let questions = &all.questions;
    let mut by_words: Vec<_> =
        questions.iter().map(|question| timed(|| articles.search(&question.turns))).collect();
    let mut random = Random(1);
    for entry in articles.entries() {
        let vectors: Vec<_> =
            entry.passages.iter().map(|_| Vector::of(&random.numbers(dimensions))).collect();
        if let Some(vectors) = Vectors::of(NO_DIGEST, &vectors) {
            articles.index.attach(&entry, &Arc::new(vectors));
        }
    }
    let mut by_meaning = Vec::new();
    for question in questions {
        let Some(direction) = Vector::of(&random.numbers(dimensions)) else { continue };
        let meaning = Meaning { question: direction, with_earlier: None, weight: 0.5 };
        by_meaning.push(timed(|| articles.search_by(&question.turns, Some(&meaning))));
    }
    println!(
        "{} articles, {} passages, {} questions, vectors of {dimensions} numbers: {:.1} MB",
        all.articles.len(),
        articles.index.passages(),
        questions.len(),
        articles.index.vector_bytes() as f64 / f64::from(1 << 20)
    );
    for (what, times) in [("by words", &mut by_words), ("with vectors", &mut by_meaning)] {
        let [p50, p99] = [50, 99].map(|share| percentile(times, share).as_secs_f64() * 1e3);
        println!("search {what}: p50 {p50:.2} ms, p99 {p99:.2} ms");
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// Numbers that look random and are the same each time.
struct Random(u32);

impl Random {
    fn numbers(&mut self, count: usize) -> Vec<f32> {
        let next = |_| {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count).map(next).collect()
    }
}
