//! Scoring and ranking.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::analysis::Stem;
use super::super::article::Entry;
use super::super::embeddings::Meaning;
use super::super::passages::Passage;
use super::confidence::Features;
use super::field::{Field, SATURATION, Slot};
use super::meaning::Direction;
use super::query::{Query, QueryTerm, QueryTerms, STOP_WEIGHT};
use super::{Index, Place};

/// What pieces of words weigh beside words.
const GRAM_WEIGHT: f32 = 0.2;

/// The same where they are counted of articles alone.
const LEAN_GRAM_WEIGHT: f32 = 0.35;

/// What titles weigh on their own. One that is a question is nearly what customers ask, so they weigh more where many
/// are; but the same for all articles of an organization, or those without a question would lose for it.
const TITLE_WEIGHT: f32 = 0.5;
const QUESTION_TITLE_WEIGHT: f32 = 1.5;

/// A question that is this well answered by itself needs no help from those before it.
const STANDS_ALONE: f32 = 0.9;

/// The share of the newest question's telling words that an article must have for the questions before it to make it
/// surer: "and for how long?" is about what was asked before, "what is the capital of France?" is not.
const ON_TOPIC: f32 = 0.34;

/// An article that was found.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The article.
    pub entry: Arc<Entry>,
    /// Which of its passages fits best.
    pub passage: usize,
    /// What it was ranked by.
    pub score: f32,
    /// What its words alone score.
    pub words: f32,
    /// How near it is in meaning, where both it and the question have vectors.
    pub likeness: Option<f32>,
    /// How probable it is that it answers the question, from 0 to 1.
    pub confidence: f32,
    /// Which share of the newest question's telling words it has; 1 of a question without any.
    pub(super) on_topic: f32,
}

impl Hit {
    /// A hit that no search found, to try out what is made of one.
    #[cfg(test)]
    pub(crate) fn made_up(entry: Arc<Entry>, confidence: f32) -> Self {
        Self { entry, passage: 0, score: 1.0, words: 1.0, likeness: None, confidence, on_topic: 1.0 }
    }

    /// Its best passage.
    #[must_use]
    pub fn passage(&self) -> &Passage {
        &self.entry.passages[self.passage]
    }

    /// The headings that its best passage stands under, outermost first.
    #[must_use]
    pub fn headings(&self) -> Vec<&str> {
        self.entry.passages.headings_of(self.passage(), &self.entry.text)
    }

    /// The words of its best passage.
    #[must_use]
    pub fn passage_text(&self) -> &str {
        self.passage().text(&self.entry.text)
    }
}

impl Index {
    /// The articles that fit best, best first. The same index and query give the same hits, ties included.
    #[must_use]
    pub fn search(&self, query: &Query) -> Vec<Hit> {
        self.search_as(query, None).1
    }

    /// The same, ranked by what the question means too. How sure the hits are is a matter of words alone.
    #[must_use]
    pub fn search_by_meaning(&self, query: &Query, meaning: &Meaning) -> Vec<Hit> {
        self.search_as(query, Some(meaning)).1
    }

    /// The same, and what was searched for.
    pub(super) fn search_as(&self, query: &Query, meaning: Option<&Meaning>) -> (QueryTerms, Vec<Hit>) {
        let terms = QueryTerms::of(self, query, false);
        let newest = self.search_terms(query, &terms, meaning.map(Direction::newest));
        let alone = newest.first().map_or(0.0, |best| best.confidence);
        if alone >= STANDS_ALONE || query.turns.len() < 2 {
            return (terms, newest);
        }
        let terms = QueryTerms::of(self, query, true);
        let mut hits = self.search_terms(query, &terms, meaning.map(Direction::with_earlier));
        for hit in hits.iter_mut().filter(|hit| hit.on_topic < ON_TOPIC) {
            hit.confidence = hit.confidence.min(alone);
        }
        (terms, hits)
    }

    fn search_terms(&self, query: &Query, terms: &QueryTerms, direction: Option<Direction<'_>>) -> Vec<Hit> {
        let scores = Scores::of(self, terms);
        let title_weight = self.title_weight();
        let mut found: Vec<Found<'_>> = self
            .places()
            .filter(|(_, place)| query.admits(&place.entry))
            .map(|(slot, place)| scores.found(slot, place, title_weight))
            .filter(|found| found.score > 0.0 || direction.is_some())
            .collect();
        let by_words = ByWords::of(&found);
        if let Some(direction) = direction {
            direction.add_to(&mut found, &scores.passages);
            found.retain(|found| found.score > 0.0);
        }
        // One more than asked for: the margin of the last is over the one behind it.
        let kept = query.limit.max(1) + 1;
        if found.len() > kept {
            found.select_nth_unstable_by(kept - 1, Found::ranked);
            found.truncate(kept);
        }
        found.sort_unstable_by(Found::ranked);
        let ceiling = self.ceiling(terms);
        // Never surer than words alone would be: of that it was measured how often it is wrong.
        let mut surest = match (direction, by_words.best) {
            (Some(_), Some((slot, place, words))) => {
                self.confidence(place, (words, by_words.behind(slot), ceiling), terms)
            }
            _ => 1.0,
        };
        let mut hits = Vec::with_capacity(query.limit.min(found.len()));
        for (rank, hit) in found.iter().take(query.limit).enumerate() {
            let behind = match direction {
                Some(_) => by_words.behind(hit.slot),
                None => found.get(rank + 1).map_or(0.0, |next| next.score),
            };
            // What ranks lower is not surer, however alone it stands.
            surest = self.confidence(hit.place, (hit.words, behind, ceiling), terms).min(surest);
            hits.push(Hit {
                entry: Arc::clone(&hit.place.entry),
                passage: hit.passage,
                score: hit.score,
                words: hit.words,
                likeness: hit.likeness,
                confidence: surest,
                on_topic: self.on_topic(hit.slot, terms),
            });
        }
        hits
    }

    fn confidence(&self, place: &Place, scores: (f32, f32, f32), terms: &QueryTerms) -> f32 {
        if scores.0 > 0.0 { self.features(place, scores, terms).confidence() } else { 0.0 }
    }

    pub(super) fn features(
        &self,
        place: &Place,
        (score, behind, ceiling): (f32, f32, f32),
        terms: &QueryTerms,
    ) -> Features {
        Features {
            share: score / ceiling,
            title: self.title_overlap(place, terms),
            score: score / (terms.weight * self.bodies.scale()),
            margin: (score - behind) / score,
        }
    }

    /// What titles weigh on their own here.
    pub(super) fn title_weight(&self) -> f32 {
        let questions = self.question_titles as f32 / self.len().max(1) as f32;
        TITLE_WEIGHT + (QUESTION_TITLE_WEIGHT - TITLE_WEIGHT) * questions
    }

    /// The most that a question's terms could give an article. Words and grams both count in article and passage.
    pub(super) fn ceiling(&self, terms: &QueryTerms) -> f32 {
        let worth = |word: &QueryTerm| known_rarity(&self.passages, &word.stems) * word.soft_weight();
        let words: f32 = terms.words.iter().map(worth).sum();
        let (field, fields) = if self.lean { (&self.body_grams, 1.0) } else { (&self.passage_grams, 2.0) };
        let grams: f32 = terms.grams.iter().map(|(gram, weight)| field.rarity(*gram) * weight).sum();
        let grams = self.gram_weight() * grams * fields;
        let most = SATURATION * (words * (2.0 + self.title_weight()) + grams);
        most.max(f32::MIN_POSITIVE)
    }

    /// What pieces of words weigh beside words.
    pub(super) fn gram_weight(&self) -> f32 {
        if self.lean { LEAN_GRAM_WEIGHT } else { GRAM_WEIGHT }
    }

    /// Which share of the newest question's telling words stands in the article.
    fn on_topic(&self, slot: Slot, terms: &QueryTerms) -> f32 {
        let (mut asked, mut known) = (0.0, 0.0);
        for word in terms.newest().iter().filter(|word| !word.is_stop) {
            let worth = known_rarity(&self.bodies, &word.stems);
            asked += worth;
            if word.stems.iter().any(|stem| self.bodies.has(*stem, slot)) {
                known += worth;
            }
        }
        if asked == 0.0 { 1.0 } else { known / asked }
    }

    /// F1 of two shares: of the question's rare words in the title, and of the title's in the question.
    fn title_overlap(&self, place: &Place, terms: &QueryTerms) -> f32 {
        let title = place.title_stems();
        let (mut asked, mut asked_and_named) = (0.0, 0.0);
        for word in &terms.words {
            let worth = known_rarity(&self.titles, &word.stems) * word.soft_weight();
            asked += worth;
            if title.iter().any(|(stem, _)| word.stems.contains(stem)) {
                asked_and_named += worth;
            }
        }
        let (mut named, mut named_and_asked) = (0.0, 0.0);
        for (stem, is_stop) in &title {
            let asked_as = terms.words.iter().filter(|word| word.stems.contains(stem));
            let worth = self.titles.rarity(*stem) * if *is_stop { STOP_WEIGHT } else { 1.0 };
            named += worth;
            // A word of an earlier turn counts as far as that turn does.
            named_and_asked += worth * asked_as.map(|word| word.weight).fold(0.0, f32::max);
        }
        if asked_and_named == 0.0 || named_and_asked == 0.0 {
            return 0.0;
        }
        let (of_question, of_title) = (asked_and_named / asked, named_and_asked / named);
        2.0 * of_question * of_title / (of_question + of_title)
    }
}

/// The scores of all articles and passages, by slot.
struct Scores {
    articles: Vec<f32>,
    titles: Vec<f32>,
    passages: Vec<f32>,
}

impl Scores {
    fn of(index: &Index, terms: &QueryTerms) -> Self {
        let mut articles = index.bodies.blank_scores();
        let mut titles = index.titles.blank_scores();
        let mut passages = index.passages.blank_scores();
        for word in &terms.words {
            for stem in &word.stems {
                index.bodies.score(*stem, word.soft_weight(), &mut articles);
                index.passages.score(*stem, word.soft_weight(), &mut passages);
                index.titles.score(*stem, word.weight, &mut titles);
            }
        }
        for (gram, weight) in &terms.grams {
            index.body_grams.score(*gram, index.gram_weight() * weight, &mut articles);
            index.passage_grams.score(*gram, index.gram_weight() * weight, &mut passages);
        }
        Self { articles, titles, passages }
    }

    fn found<'a>(&self, slot: usize, place: &'a Place, title_weight: f32) -> Found<'a> {
        let of_passages = &self.passages[place.passages()];
        let (passage, best) = of_passages
            .iter()
            .enumerate()
            .fold((0, 0.0), |best, (at, score)| if *score > best.1 { (at, *score) } else { best });
        let score = self.articles[slot] + title_weight * self.titles[slot] + best;
        Found { slot: slot as Slot, place, passage, score, words: score, likeness: None }
    }
}

pub(super) struct Found<'a> {
    slot: Slot,
    pub(super) place: &'a Place,
    pub(super) passage: usize,
    /// What it is ranked by.
    pub(super) score: f32,
    /// What its words score.
    pub(super) words: f32,
    pub(super) likeness: Option<f32>,
}

/// What words alone find best, and second.
struct ByWords<'a> {
    best: Option<(Slot, &'a Place, f32)>,
    second: f32,
}

impl<'a> ByWords<'a> {
    fn of(found: &[Found<'a>]) -> Self {
        let Some(best) = found.iter().min_by(|one, other| one.ranked(other)) else {
            return Self { best: None, second: 0.0 };
        };
        let others = found.iter().filter(|found| found.slot != best.slot);
        let second = others.map(|found| found.words).fold(0.0, f32::max);
        Self { best: Some((best.slot, best.place, best.words)), second }
    }

    /// What the best of the others scores.
    fn behind(&self, slot: Slot) -> f32 {
        match self.best {
            Some((best, _, words)) if best != slot => words,
            _ => self.second,
        }
    }
}

impl Found<'_> {
    /// Best first; equals by id, so that an order never depends on how the index came about.
    fn ranked(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.place.id().cmp(&other.place.id()))
    }
}

/// How much a word tells, in the form in which it occurs; one that does not occur tells most.
pub(super) fn known_rarity(field: &Field, stems: &[Stem]) -> f32 {
    // A stem that stands nowhere is the rarest of all, so the minimum is a known one's if there is one.
    stems.iter().map(|stem| field.rarity(*stem)).reduce(f32::min).unwrap_or_default()
}

impl Query {
    fn admits(&self, entry: &Entry) -> bool {
        let fields = &entry.article.fields;
        let about = self.topic.as_deref().is_none_or(|topic| fields.topic.as_deref() == Some(topic));
        let in_language =
            self.article_language.as_deref().is_none_or(|tag| fields.language.split('-').next() == Some(tag));
        about && in_language
    }
}
