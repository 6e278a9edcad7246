//! What ours is compared with: BM25 over words as they stand, title and text in one field, as Lucene scores it.

use std::collections::HashMap;

use super::collection::{DEPTH, Source};

const K1: f32 = 1.2;
const B: f32 = 0.75;

pub(super) struct Plain {
    names: Vec<String>,
    lengths: Vec<f32>,
    average: f32,
    postings: HashMap<String, Vec<(usize, f32)>>,
}

impl Plain {
    pub(super) fn of(articles: &[Source]) -> Self {
        let mut plain =
            Self { names: Vec::new(), lengths: Vec::new(), average: 0.0, postings: HashMap::new() };
        for (at, article) in articles.iter().enumerate() {
            let mut counts: HashMap<String, f32> = HashMap::new();
            let words = words(&article.title).chain(words(&article.text));
            words.for_each(|word| *counts.entry(word).or_default() += 1.0);
            plain.lengths.push(counts.values().sum());
            for (word, count) in counts {
                plain.postings.entry(word).or_default().push((at, count));
            }
            plain.names.push(article.id.clone());
        }
        plain.average = plain.lengths.iter().sum::<f32>() / plain.lengths.len().max(1) as f32;
        plain
    }

    /// The names of the best, best first. It knows nothing of conversations: the last question is all it sees.
    pub(super) fn search(&self, turns: &[String]) -> impl Iterator<Item = &str> {
        let mut asked: Vec<String> = words(turns.last().map_or("", String::as_str)).collect();
        asked.sort_unstable();
        asked.dedup();
        let mut scores = vec![0.0f32; self.names.len()];
        for postings in asked.iter().filter_map(|word| self.postings.get(word)) {
            let having = postings.len() as f32;
            let rarity = (1.0 + (self.names.len() as f32 - having + 0.5) / (having + 0.5)).ln();
            for (at, count) in postings {
                let length = 1.0 - B + B * self.lengths[*at] / self.average;
                scores[*at] += rarity * count * (K1 + 1.0) / (count + K1 * length);
            }
        }
        let mut order: Vec<usize> = (0..scores.len()).filter(|at| scores[*at] > 0.0).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        order.truncate(DEPTH);
        order.into_iter().map(|at| self.names[at].as_str())
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}
