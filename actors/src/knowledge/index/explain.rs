//! How the score of each hit came about: for people who wonder why.

use serde::Serialize;

use super::super::analysis::Gram;
use super::super::embeddings::Meaning;
use super::field::{Field, Slot};
use super::query::{Query, QueryTerm, QueryTerms};
use super::search::{Hit, known_rarity};
use super::{Index, Place};

/// What a search did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// What was searched for, the question's own words first.
    pub words: Vec<Word>,
    /// What titles weigh on their own; more where many are questions.
    pub title_weight: f32,
    /// What pieces of words weigh.
    pub gram_weight: f32,
    /// The most that these words could score.
    pub ceiling: f32,
    /// What likeness in meaning counts; none where the question has no vector.
    pub meaning_weight: Option<f32>,
    /// What was found, best first.
    pub hits: Vec<Explained>,
}

/// A word that was searched for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Word {
    /// As it was searched for.
    pub word: String,
    /// As it was typed, if that was repaired.
    pub typed: Option<String>,
    /// It says little, and weighs less outside titles.
    pub is_stop: bool,
    /// What it weighs: less in earlier questions.
    pub weight: f32,
    /// How much it tells: the rarer, the more.
    pub rarity: f32,
}

/// A hit, and the score of its words in parts:
/// `article + passage + gram_weight * (article_grams + passage_grams) + title_weight * title`. With vectors, it is ranked by
/// the sum of two shares: of the best words score, and of the greatest likeness in meaning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The hit's article.
    pub title: String,
    /// Its best passage begins with this character of the article's text.
    pub passage_start: usize,
    /// What it was ranked by.
    pub score: f32,
    /// What its words alone score.
    pub words: f32,
    /// How near it is in meaning: the cosine, if both have vectors.
    pub likeness: Option<f32>,
    /// Of the words in the whole article.
    pub article: f32,
    /// Of the pieces of words in it.
    pub article_grams: f32,
    /// Of the words in the best passage, its title and headings.
    pub passage: f32,
    /// Of the pieces of words in it.
    pub passage_grams: f32,
    /// Of the words in the title.
    pub title_words: f32,
    /// How probable it is that it answers; then the four numbers that this was made of.
    pub confidence: f32,
    /// The score as a share of the most possible.
    pub share: f32,
    /// How far title and question are made of the same words.
    pub title_overlap: f32,
    /// The score in a collection of ordinary size.
    pub scaled_score: f32,
    /// How far the next one is behind.
    pub margin: f32,
    /// Which share of the question's telling words the article has.
    pub on_topic: f32,
}

impl Index {
    /// The hits of [`Index::search`] with how they came about. Slower: it scores each field for itself.
    #[must_use]
    pub fn explain(&self, query: &Query, meaning: Option<&Meaning>) -> Explanation {
        // The one behind the last is needed for the margin.
        let (terms, hits) = self.search_as(&Query { limit: query.limit + 1, ..query.clone() }, meaning);
        let words: Vec<f32> = hits.iter().map(|hit| hit.words).collect();
        let behind = (0..hits.len()).map(|at| match meaning {
            None => words.get(at + 1).copied().unwrap_or_default(),
            Some(_) => {
                let others = words.iter().enumerate().filter(|(other, _)| *other != at);
                others.map(|(_, words)| *words).fold(0.0, f32::max)
            }
        });
        let parts = Parts::of(self, &terms);
        let ceiling = self.ceiling(&terms);
        let explained = hits.iter().zip(behind).take(query.limit);
        Explanation {
            words: terms.words.iter().map(|word| self.word(word)).collect(),
            title_weight: self.title_weight(),
            gram_weight: self.gram_weight(),
            ceiling,
            meaning_weight: meaning.map(|meaning| meaning.weight),
            hits: explained
                .filter_map(|(hit, behind)| {
                    let slot = *self.slots.get(&hit.entry.article.id)?;
                    let place = self.places[slot as usize].as_ref()?;
                    Some(self.explained(hit, behind, (slot, place), (&parts, ceiling, &terms)))
                })
                .collect(),
        }
    }

    fn word(&self, term: &QueryTerm) -> Word {
        Word {
            word: term.written.clone(),
            typed: term.typed.clone(),
            is_stop: term.is_stop,
            weight: term.weight,
            rarity: known_rarity(&self.passages, &term.stems),
        }
    }

    fn explained(
        &self,
        hit: &Hit,
        behind: f32,
        (slot, place): (Slot, &Place),
        (parts, ceiling, terms): (&Parts, f32, &QueryTerms),
    ) -> Explained {
        let features = self.features(place, (hit.words, behind, ceiling), terms);
        let passage = place.first_passage as usize + hit.passage;
        Explained {
            title: hit.entry.article.fields.title.clone(),
            passage_start: hit.passage().chars().start,
            score: hit.score,
            words: hit.words,
            likeness: hit.likeness,
            article: parts.article[slot as usize],
            article_grams: parts.article_grams[slot as usize],
            passage: parts.passage[passage],
            // A lean index has none.
            passage_grams: parts.passage_grams.get(passage).copied().unwrap_or_default(),
            title_words: parts.title[slot as usize],
            confidence: hit.confidence,
            share: features.share,
            title_overlap: features.title,
            scaled_score: features.score,
            margin: features.margin,
            on_topic: hit.on_topic,
        }
    }
}

/// The scores of each field, by slot.
struct Parts {
    article: Vec<f32>,
    article_grams: Vec<f32>,
    passage: Vec<f32>,
    passage_grams: Vec<f32>,
    title: Vec<f32>,
}

impl Parts {
    fn of(index: &Index, terms: &QueryTerms) -> Self {
        let of_words = |field: &Field, weight: fn(&QueryTerm) -> f32| {
            let mut scores = field.blank_scores();
            for word in &terms.words {
                word.stems.iter().for_each(|stem| field.score(*stem, weight(word), &mut scores));
            }
            scores
        };
        let of_grams = |field: &Field| {
            let mut scores = field.blank_scores();
            let grams: &[(Gram, f32)] = &terms.grams;
            grams.iter().for_each(|(gram, weight)| field.score(*gram, *weight, &mut scores));
            scores
        };
        Self {
            article: of_words(&index.bodies, QueryTerm::soft_weight),
            article_grams: of_grams(&index.body_grams),
            passage: of_words(&index.passages, QueryTerm::soft_weight),
            passage_grams: of_grams(&index.passage_grams),
            title: of_words(&index.titles, |word| word.weight),
        }
    }
}
