//! The searchable articles of one organization, in memory.
//!
//! Five fields are scored by BM25 and added: an article's words, its best passage's (each with the pieces of
//! its words) and its title's. Taking an article out corrects all counts at once, so the scores are always those
//! of an index built afresh; its postings are swept up later.
//!
//! Where passages have vectors and the question has one, what is near in meaning moves up (`meaning`). How sure a hit is
//! (`confidence`) remains a matter of words.

mod bag;
mod confidence;
mod explain;
mod field;
mod highlight;
mod meaning;
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
use super::embeddings::Vectors;
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
    /// What the vectors take.
    vector_bytes: usize,
}

/// An article's place among the slots.
#[derive(Debug, Clone)]
struct Place {
    entry: Arc<Entry>,
    /// The slot of its first passage; the others follow.
    first_passage: Slot,
    /// Of its passages, once they are known.
    vectors: Option<Arc<Vectors>>,
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
        let (entry, vectors) = (Arc::clone(&article.entry), article.vectors.clone());
        self.vector_bytes += vectors.as_ref().map_or(0, |vectors| vectors.bytes());
        self.places.push(Some(Place { entry, first_passage, vectors }));
    }

    /// The vectors of an article's passages, if they are known.
    #[must_use]
    pub fn vectors(&self, id: ArticleId) -> Option<&Arc<Vectors>> {
        let slot = self.slots.get(&id)?;
        self.places[*slot as usize].as_ref()?.vectors.as_ref()
    }

    /// Puts vectors beside the passages of what [`Index::get`] gives, if that is still `entry`.
    pub fn attach(&mut self, entry: &Arc<Entry>, vectors: &Arc<Vectors>) {
        let Some(slot) = self.slots.get(&entry.article.id) else { return };
        if let Some(place) =
            self.places[*slot as usize].as_mut().filter(|place| Arc::ptr_eq(&place.entry, entry))
        {
            let before = place.vectors.replace(Arc::clone(vectors));
            self.vector_bytes -= before.map_or(0, |before| before.bytes());
            self.vector_bytes += vectors.bytes();
        }
    }

    /// How many bytes of vectors it holds: the time of a search by meaning grows with them.
    #[must_use]
    pub fn vector_bytes(&self) -> usize {
        self.vector_bytes
    }

    /// Takes an article out. `article` was prepared from what [`Index::get`] gives for its id; without that it
    /// changes nothing.
    pub fn remove(&mut self, article: &Prepared) {
        let Some(slot) = self.slots.remove(&article.entry.article.id) else {
            return;
        };
        let place = self.places[slot as usize].take();
        self.vector_bytes -= place.and_then(|place| place.vectors).map_or(0, |vectors| vectors.bytes());
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
            places.push(Some(Place { first_passage: next_passage, ..place.clone() }));
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
            vector_bytes: self.vector_bytes,
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
