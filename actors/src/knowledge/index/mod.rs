//! The searchable articles of one organization, in memory.
//!
//! Five fields are scored by BM25 and added: an article's words, its best passage's (each with the pieces of
//! its words) and its title's. Taking an article out corrects all counts at once, so the scores are always those
//! of an index built afresh; its postings are swept up later.

mod bag;
mod confidence;
mod explain;
mod field;
mod highlight;
mod prepared;
mod query;
mod search;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

pub use self::explain::{Explained, Explanation, Word};
use self::field::{Field, Slot};
pub use self::prepared::Prepared;
pub use self::query::Query;
pub use self::search::Hit;
use self::vocabulary::Vocabulary;
use super::analysis::{Analyser, Stem, fold};
use super::article::Entry;
use super::language::Language;
use crate::ids::ArticleId;

/// Retired passages that are left alone: sweeping up fewer is not worth a copy.
const MIN_SWEPT: usize = 64;

/// An index. Only published articles belong in one.
#[derive(Debug, Default)]
pub struct Index {
    /// Pieces of words are counted of articles alone.
    lean: bool,
    /// By article slot; `None` once retired.
    places: Vec<Option<Place>>,
    slots: HashMap<ArticleId, Slot>,
    live_passages: usize,
    titles: Field,
    bodies: Field,
    body_grams: Field,
    passages: Field,
    passage_grams: Field,
    vocabulary: Vocabulary,
    languages: HashMap<Language, usize>,
    /// Articles whose title asks something.
    question_titles: usize,
}

/// An article's place among the slots.
#[derive(Debug, Clone)]
struct Place {
    entry: Arc<Entry>,
    /// The slot of its first passage; the others follow.
    first_passage: Slot,
}

impl Index {
    /// An empty one that takes a third less memory, and finds a little less: it does without the pieces of the words of
    /// passages.
    #[must_use]
    pub fn lean() -> Self {
        Self { lean: true, ..Self::default() }
    }

    /// The article as it is indexed now.
    #[must_use]
    pub fn get(&self, id: ArticleId) -> Option<&Arc<Entry>> {
        let slot = self.slots.get(&id)?;
        self.places[*slot as usize].as_ref().map(|place| &place.entry)
    }

    /// How many articles can be found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many passages can be found: what the memory of an index and the time of a search grow with.
    #[must_use]
    pub fn passages(&self) -> usize {
        self.live_passages
    }

    /// Nothing can be found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Puts an article in the place of what [`Index::get`] gives for its id, which `replaced` was prepared from.
    pub fn put(&mut self, article: &Prepared, replaced: Option<&Prepared>) {
        if let Some(replaced) = replaced {
            self.remove(replaced);
        }
        let slot = self.bodies.add(&article.body);
        self.titles.add(&article.title);
        self.body_grams.add(&article.body_grams);
        let first_passage = self.next_passage();
        for (words, grams) in &article.passages {
            self.passages.add(words);
            if !self.lean {
                self.passage_grams.add(grams);
            }
        }
        self.vocabulary.add(&article.words);
        self.live_passages += article.passages.len();
        *self.languages.entry(article.entry.language).or_default() += 1;
        self.question_titles += usize::from(asks(&article.entry));
        self.slots.insert(article.entry.article.id, slot);
        self.places.push(Some(Place { entry: Arc::clone(&article.entry), first_passage }));
    }

    /// Takes an article out. `article` was prepared from what [`Index::get`] gives for its id; without that it
    /// changes nothing.
    pub fn remove(&mut self, article: &Prepared) {
        let Some(slot) = self.slots.remove(&article.entry.article.id) else {
            return;
        };
        self.places[slot as usize] = None;
        self.bodies.retire(&article.body);
        self.titles.retire(&article.title);
        self.body_grams.retire(&article.body_grams);
        for (words, grams) in &article.passages {
            self.passages.retire(words);
            if !self.lean {
                self.passage_grams.retire(grams);
            }
        }
        self.vocabulary.retire(&article.words);
        self.live_passages -= article.passages.len();
        self.question_titles -= usize::from(asks(&article.entry));
        let of_language = self.languages.entry(article.entry.language).or_default();
        *of_language = of_language.saturating_sub(1);
    }

    /// A quarter of the postings is waste.
    #[must_use]
    pub fn needs_sweeping(&self) -> bool {
        let retired = self.next_passage() as usize - self.live_passages;
        retired > MIN_SWEPT && retired * 4 > self.next_passage() as usize
    }

    /// The same index without waste. Reads only, so that searches go on meanwhile.
    #[must_use]
    pub fn swept(&self) -> Self {
        let mut article_slots = vec![None; self.places.len()];
        let mut passage_slots = vec![None; self.next_passage() as usize];
        let (mut places, mut slots, mut next_passage) = (Vec::new(), HashMap::new(), 0);
        for (slot, place) in self.places() {
            article_slots[slot] = Some(places.len() as Slot);
            slots.insert(place.id(), places.len() as Slot);
            places.push(Some(Place { entry: Arc::clone(&place.entry), first_passage: next_passage }));
            for old in place.passages() {
                passage_slots[old] = Some(next_passage);
                next_passage += 1;
            }
        }
        Self {
            lean: self.lean,
            places,
            slots,
            live_passages: self.live_passages,
            titles: self.titles.compacted(&article_slots),
            bodies: self.bodies.compacted(&article_slots),
            body_grams: self.body_grams.compacted(&article_slots),
            passages: self.passages.compacted(&passage_slots),
            passage_grams: self.passage_grams.compacted(&passage_slots),
            vocabulary: self.vocabulary.clone(),
            languages: self.languages.clone(),
            question_titles: self.question_titles,
        }
    }

    fn places(&self) -> impl Iterator<Item = (usize, &Place)> {
        self.places.iter().enumerate().filter_map(|(slot, place)| Some((slot, place.as_ref()?)))
    }

    fn next_passage(&self) -> Slot {
        self.passages.slots()
    }

    /// The languages whose rules are tried on a question.
    fn languages_of(&self, text: &str, stated: Option<Language>, short: bool) -> Vec<Language> {
        let own = || Language::ALL.into_iter().filter(|l| self.languages.get(l).is_some_and(|n| *n > 0));
        let likely = if short { None } else { Language::detect(text) };
        // A person may well ask in another language than the conversation began in.
        let mut languages: Vec<Language> = match (stated, likely) {
            (None, None) => own().collect(),
            (stated, likely) => stated.into_iter().chain(likely).collect(),
        };
        if short {
            languages.extend(own());
        }
        if languages.is_empty() {
            languages.push(Language::DEFAULT);
        }
        languages.sort_unstable();
        languages.dedup();
        languages
    }

    /// Does an article have the word?
    fn knows(&self, word: &str) -> bool {
        self.vocabulary.contains(&fold(word))
    }

    /// What an unknown word was probably meant to be.
    fn repaired(&self, word: &str) -> Option<String> {
        self.vocabulary.repair(&fold(word)).map(str::to_owned)
    }
}

/// Is the title a question, as in a list of frequent ones? A remark may stand behind it.
fn asks(entry: &Entry) -> bool {
    entry.article.fields.title.contains(['?', '？'])
}

impl Place {
    fn id(&self) -> ArticleId {
        self.entry.article.id
    }

    fn passages(&self) -> Range<usize> {
        let first = self.first_passage as usize;
        first..first + self.entry.passages.len()
    }

    /// The stems of its title, each once and in order; true for a stop word.
    fn title_stems(&self) -> Vec<(Stem, bool)> {
        let analyser = Analyser::of(self.entry.language);
        let words = analyser.words(&self.entry.article.fields.title);
        let mut stems: Vec<_> =
            words.iter().map(|word| (analyser.stem(&word.written), word.is_stop)).collect();
        stems.sort_unstable();
        stems.dedup_by_key(|(stem, _)| *stem);
        stems
    }
}
