//! An article's terms, counted: all the work of indexing that needs no lock.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::super::analysis::{Analyser, Gram, Stem, fold, grams, places, written};
use super::super::article::Entry;
use super::super::embeddings::Vectors;
use super::super::language::Language;
use super::bag::Bag;

/// How often a title counts in its article, and with the heading in each passage. A passage that does not name its
/// subject is hardly found: this is worth more than anything else about passages.
const TITLE_IN_ARTICLE: u32 = 3;
const TITLE_IN_PASSAGE: u32 = 2;
const HEADING_IN_PASSAGE: u32 = 2;

/// Words of a language that a thread remembers, at some 200 bytes each: most of what a help centre says.
const KNOWN_WORDS: usize = 8_192;

/// Bytes of a word that is remembered. Longer ones are no words.
const LONGEST_KNOWN: usize = 64;

/// What the index takes in. The same entry always makes the same, so that an article can be taken out by preparing
/// it again instead of keeping its terms.
#[derive(Debug)]
pub struct Prepared {
    pub(super) entry: Arc<Entry>,
    pub(super) title: Bag,
    pub(super) body: Bag,
    pub(super) body_grams: Bag,
    /// Words and grams of each passage.
    pub(super) passages: Vec<(Bag, Bag)>,
    /// Each word once.
    pub(super) words: Vec<Box<str>>,
    /// Of its passages, if they are known already.
    pub(super) vectors: Option<Arc<Vectors>>,
}

impl Prepared {
    /// Counts the terms of `entry`: about half a millisecond for a page of text.
    #[must_use]
    pub fn of(entry: Arc<Entry>) -> Self {
        let terms_of = |text: &str| Terms::of(entry.language, text);
        let title = terms_of(&entry.article.fields.title);
        let mut body = Terms::default();
        body.add(&title, TITLE_IN_ARTICLE);
        let mut passages = Vec::with_capacity(entry.passages.len());
        let mut above = Vec::new();
        for passage in entry.passages.iter() {
            let headings = entry.passages.headings_of(passage, &entry.text);
            let heading = terms_of(&headings.join(" "));
            let text = terms_of(passage.text(&entry.text));
            let mut whole = Terms::default();
            whole.add(&title, TITLE_IN_PASSAGE);
            whole.add(&heading, HEADING_IN_PASSAGE);
            whole.add(&text, 1);
            passages.push((whole.stems(), whole.grams()));
            // In the body each heading counts once, not once per passage under it.
            body.add(&terms_of(&new_headings(&above, &headings).join(" ")), 1);
            body.add(&text, 1);
            above = headings;
        }
        Self {
            title: title.stems(),
            body: body.stems(),
            body_grams: body.grams(),
            passages,
            words: body.words(),
            vectors: None,
            entry,
        }
    }
}

impl Prepared {
    /// The same with the vectors of its passages, which must be as many.
    #[must_use]
    pub fn with_vectors(self, vectors: Option<Arc<Vectors>>) -> Self {
        Self { vectors, ..self }
    }
}

fn new_headings<'a, 'b>(above: &[&str], headings: &'a [&'b str]) -> &'a [&'b str] {
    let shared = above.iter().zip(headings).take_while(|(a, b)| a == b).count();
    &headings[shared..]
}

/// The words of a text with their counts; a word may stand there more than once.
#[derive(Debug, Default)]
struct Terms(Vec<(Arc<Term>, u32)>);

impl Terms {
    fn of(language: Language, text: &str) -> Self {
        KNOWN.with_borrow_mut(|known| {
            let mut terms: Vec<_> =
                places(text).map(|bytes| (known.term(language, &text[bytes]), 1)).collect();
            // The same word is the same term: counted once here, its pieces need not be counted one by one.
            terms.sort_unstable_by_key(|(term, _)| Arc::as_ptr(term));
            terms.dedup_by(|(term, count), (before, times)| {
                let is_same = Arc::ptr_eq(term, before);
                *times += if is_same { *count } else { 0 };
                is_same
            });
            Self(terms)
        })
    }

    fn add(&mut self, other: &Self, times: u32) {
        self.0.extend(other.0.iter().map(|(term, count)| (Arc::clone(term), count * times)));
    }

    fn stems(&self) -> Bag {
        Bag::of(self.0.iter().map(|(term, count)| (term.stem, *count)))
    }

    fn grams(&self) -> Bag {
        Bag::of(self.0.iter().flat_map(|(term, count)| term.grams.iter().map(|gram| (*gram, *count))))
    }

    fn words(&self) -> Vec<Box<str>> {
        let mut words: Vec<_> = self.0.iter().map(|(term, _)| term.folded.clone()).collect();
        words.sort_unstable();
        words.dedup();
        words
    }
}

/// A word, analysed.
#[derive(Debug)]
struct Term {
    stem: Stem,
    /// None of a stop word: its pieces are everywhere and mean nothing.
    grams: Box<[Gram]>,
    folded: Box<str>,
}

/// Words that this thread analysed lately: of a text's words, most were just there.
#[derive(Default)]
struct Known(HashMap<Language, HashMap<Box<str>, Arc<Term>>>);

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

impl Known {
    fn term(&mut self, language: Language, word: &str) -> Arc<Term> {
        let words = self.0.entry(language).or_default();
        if let Some(term) = words.get(word) {
            return Arc::clone(term);
        }
        let term = Arc::new(Term::of(Analyser::of(language), word));
        if word.len() <= LONGEST_KNOWN {
            if words.len() == KNOWN_WORDS {
                words.clear();
            }
            words.insert(word.into(), Arc::clone(&term));
        }
        term
    }
}

impl Term {
    fn of(analyser: &Analyser, word: &str) -> Self {
        let written = written(word);
        let folded = fold(&written);
        let grams = if analyser.is_stop(&written) { Box::default() } else { grams(&folded).collect() };
        Self { stem: analyser.stem(&written), grams, folded: folded.into_boxed_str() }
    }
}
