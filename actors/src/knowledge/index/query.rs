//! A question, turned into weighted terms.

use super::super::analysis::{Analyser, Gram, Stem, fold, grams};
use super::super::language::Language;
use super::Index;

/// What a stop word weighs. Questions are often made of little else, so nought is too little.
pub(super) const STOP_WEIGHT: f32 = 0.3;

/// What each earlier question weighs beside the one after it.
const EARLIER_WEIGHT: f32 = 0.6;

/// Earlier questions beyond this weigh too little to change anything.
const MAX_TURNS: usize = 8;

/// Words of a question that are looked at: a text of any length may be pasted.
const MAX_WORDS: usize = 200;

/// Unknown words of a question that are taken for typing errors; a text with more of them is another language.
const MAX_REPAIRS: usize = 24;

/// A question of at most this many words tells too little of its language.
const SHORT_WORDS: usize = 4;

/// A search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// What the customer asked, oldest first; the last is the question.
    pub turns: Vec<String>,
    /// The language it is asked in, if known.
    pub language: Option<Language>,
    /// Only articles about this.
    pub topic: Option<String>,
    /// Only articles in this language: the beginning of their tag.
    pub article_language: Option<String>,
    /// How many articles at most.
    pub limit: usize,
}

impl Query {
    /// The same search, as everybody would write it: case and blanks make no difference to what is found.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let plain = |text: &String| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { turns: self.turns.iter().map(plain).collect(), ..self.clone() }
    }
}

/// A word of a question.
#[derive(Debug)]
pub(super) struct QueryTerm {
    /// As it is searched for.
    pub(super) written: String,
    /// As it was typed, if that was an error.
    pub(super) typed: Option<String>,
    /// Its stems in the languages it may be in.
    pub(super) stems: Vec<Stem>,
    pub(super) weight: f32,
    pub(super) is_stop: bool,
}

impl QueryTerm {
    /// Its weight where stop words weigh less.
    pub(super) fn soft_weight(&self) -> f32 {
        if self.is_stop { self.weight * STOP_WEIGHT } else { self.weight }
    }
}

/// All terms of a question and of those before it, each once per turn.
#[derive(Debug, Default)]
pub(super) struct QueryTerms {
    /// Those of the newest turn first.
    pub(super) words: Vec<QueryTerm>,
    /// How many of them are the newest turn's.
    of_newest: Option<usize>,
    pub(super) grams: Vec<(Gram, f32)>,
    /// What the turns weigh together: a score divided by it is that of one question.
    pub(super) weight: f32,
}

impl QueryTerms {
    /// The terms of the newest turns; `earlier` of those before the last.
    pub(super) fn of(index: &Index, query: &Query, earlier: bool) -> Self {
        let mut terms = Self::default();
        let mut weight = 1.0;
        for text in query.turns.iter().rev().take(if earlier { MAX_TURNS } else { 1 }) {
            terms.add_turn(index, text, query.language, weight);
            if weight == 1.0 {
                terms.of_newest = Some(terms.words.len());
            }
            weight *= EARLIER_WEIGHT;
        }
        terms
    }

    /// The words of the question itself.
    pub(super) fn newest(&self) -> &[QueryTerm] {
        &self.words[..self.of_newest.unwrap_or_default()]
    }

    fn add_turn(&mut self, index: &Index, text: &str, language: Option<Language>, weight: f32) {
        self.weight += weight;
        let mut words = Analyser::of(Language::DEFAULT).words(text);
        words.truncate(MAX_WORDS);
        let languages = index.languages_of(text, language, words.len() <= SHORT_WORDS);
        let mut seen_grams = Vec::new();
        let mut seen_stems: Vec<Vec<Stem>> = Vec::new();
        let all_stop = words.iter().all(|word| is_stop(&word.written, &languages));
        let mut repairs = 0;
        for word in words {
            let is_stop = is_stop(&word.written, &languages);
            let is_unknown = !is_stop && !index.knows(&word.written);
            repairs += usize::from(is_unknown);
            let repaired =
                (is_unknown && repairs <= MAX_REPAIRS).then(|| index.repaired(&word.written)).flatten();
            let (written, typed) = match repaired {
                Some(repaired) => (repaired, Some(word.written)),
                None => (word.written, None),
            };
            let mut stems: Vec<Stem> = languages.iter().map(|l| Analyser::of(*l).stem(&written)).collect();
            stems.sort_unstable();
            stems.dedup();
            // What was asked before tells the subject; how it was asked does not matter any more.
            let is_said = !is_stop || self.of_newest.is_none();
            if !is_stop || all_stop {
                seen_grams.extend(grams(&fold(&written)));
            }
            if is_said && !seen_stems.contains(&stems) {
                seen_stems.push(stems.clone());
                self.words.push(QueryTerm { written, typed, stems, weight, is_stop });
            }
        }
        seen_grams.sort_unstable();
        seen_grams.dedup();
        self.grams.extend(seen_grams.into_iter().map(|gram| (gram, weight)));
    }
}

fn is_stop(word: &str, languages: &[Language]) -> bool {
    languages.iter().any(|language| Analyser::of(*language).is_stop(word))
}
