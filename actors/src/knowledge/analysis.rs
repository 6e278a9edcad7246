//! From text to what is compared: words, their stems, and pieces of words.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::LazyLock;

use frostem::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::language::Language;
use super::stop_words::stop_words;

/// A stem, as the index knows it. Two stems that share one are as rare as 64-bit collisions.
pub type Stem = u64;

/// Four characters of a word, as the index knows them.
pub type Gram = u64;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Where it stands.
    pub bytes: Range<usize>,
    /// As written, in lower case.
    pub written: String,
    /// Whether it says little about what a text is about.
    pub is_stop: bool,
}

/// The rules of one language.
pub struct Analyser {
    stemmer: Stemmer,
    stop_words: HashSet<&'static str>,
}

impl Analyser {
    /// The rules of `language`.
    pub fn of(language: Language) -> &'static Self {
        static DUTCH: LazyLock<Analyser> = LazyLock::new(|| Analyser::new(Language::Dutch));
        static ENGLISH: LazyLock<Analyser> = LazyLock::new(|| Analyser::new(Language::English));
        static FRENCH: LazyLock<Analyser> = LazyLock::new(|| Analyser::new(Language::French));
        static GERMAN: LazyLock<Analyser> = LazyLock::new(|| Analyser::new(Language::German));
        match language {
            Language::Dutch => &DUTCH,
            Language::English => &ENGLISH,
            Language::French => &FRENCH,
            Language::German => &GERMAN,
        }
    }

    fn new(language: Language) -> Self {
        let algorithm = match language {
            Language::Dutch => Algorithm::Dutch,
            Language::English => Algorithm::English,
            Language::French => Algorithm::French,
            Language::German => Algorithm::German,
        };
        let stop_words = stop_words(language).split_whitespace().collect();
        Self { stemmer: Stemmer::new(algorithm), stop_words }
    }

    /// The words of `text`.
    pub fn words(&self, text: &str) -> Vec<Word> {
        words(text).map(|(bytes, written)| Word { bytes, is_stop: self.is_stop(&written), written }).collect()
    }

    /// Whether a word, in lower case, says little about what a text is about.
    pub fn is_stop(&self, word: &str) -> bool {
        self.stop_words.contains(word)
    }

    /// How many words of `text` say little in this language.
    pub fn stop_words_in(&self, text: &str) -> usize {
        words(text).filter(|(_, written)| self.is_stop(written)).count()
    }

    /// What the forms of a word have in common.
    pub fn stem(&self, word: &str) -> Stem {
        let mut hasher = DefaultHasher::new();
        fold(&self.stemmer.stem(word)).hash(&mut hasher);
        hasher.finish()
    }
}

/// The words of `text` in lower case, and where they stand.
fn words(text: &str) -> impl Iterator<Item = (Range<usize>, String)> {
    places(text).map(|bytes| (bytes.clone(), written(&text[bytes])))
}

/// Where the words of `text` stand: letters and digits, with the apostrophes between them.
pub(super) fn places(text: &str) -> impl Iterator<Item = Range<usize>> {
    let belongs = |c: char| c.is_alphanumeric() || is_combining_mark(c) || is_apostrophe(c);
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].find(belongs)?;
        let end = text[start..].find(|c| !belongs(c)).map_or(text.len(), |length| start + length);
        rest = end;
        Some(start..end)
    })
    .filter_map(|bytes| {
        let word = text[bytes.clone()].trim_start_matches(is_apostrophe);
        let start = bytes.end - word.len();
        let word = word.trim_end_matches(is_apostrophe);
        (!word.is_empty()).then_some(start..start + word.len())
    })
}

/// A word as it is compared.
pub(super) fn written(word: &str) -> String {
    without_endings(&word.to_lowercase().replace('’', "'"))
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’')
}

/// `customer's` is `customer`, and `don't` is as often written `dont`. Other apostrophes (`l'article`) are the
/// stemmer's business.
fn without_endings(word: &str) -> String {
    let Some((stem, ending)) = word.rsplit_once('\'') else {
        return word.to_owned();
    };
    match ending {
        "s" => stem.to_owned(),
        _ if ending.len() <= 2 && ending.bytes().all(|c| c.is_ascii_lowercase()) => format!("{stem}{ending}"),
        _ => word.to_owned(),
    }
}

/// Without accents and ligatures, as people in a hurry type.
pub fn fold(word: &str) -> String {
    if word.is_ascii() {
        return word.to_owned();
    }
    let mut folded = String::with_capacity(word.len());
    for c in word.nfd().filter(|c| !is_combining_mark(*c)) {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ø' => folded.push('o'),
            c => folded.push(c),
        }
    }
    folded
}

/// The pieces of a folded word, its beginning and end marked; they find compounds, typing errors and
/// inflections that a stemmer does not know.
pub fn grams(folded: &str) -> impl Iterator<Item = Gram> {
    let marked: Vec<char> = std::iter::once('_').chain(folded.chars()).chain(['_']).collect();
    let last = marked.len().saturating_sub(4);
    (0..=last).map(move |at| marked[at..].iter().take(4).fold(0, |gram, c| gram << 16 ^ u64::from(*c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<String> {
        words(text).map(|(_, written)| written).collect()
    }

    #[test]
    fn a_word_knows_its_place() {
        let text = "«L’été»'s ’tis' ''";
        let places: Vec<_> = words(text).map(|(bytes, _)| &text[bytes]).collect();
        assert_eq!(places, ["L’été", "s", "tis"]);
    }

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        let text = "The customer’s parcel-box (No. 8812) — don't, l’article, 'tis ÉTÉ!";
        let expected = ["the", "customer", "parcel", "box", "no", "8812", "dont", "l'article", "tis", "été"];
        assert_eq!(written(text), expected);
    }

    #[test]
    fn accents_make_no_difference_however_they_are_encoded() {
        let french = Analyser::of(Language::French);
        assert_eq!(french.stem("reçu"), french.stem("rec\u{327}u"));
        assert_eq!(fold("Straße"), "Strasse");
        assert_eq!(fold("naïve"), fold("nai\u{308}ve"));
    }

    #[test]
    fn the_forms_of_a_word_share_a_stem() {
        for (language, one, other) in [
            (Language::Dutch, "pakketten", "pakket"),
            (Language::English, "returning", "returns"),
            (Language::French, "commandes", "commande"),
            (Language::German, "pakete", "paket"),
        ] {
            let analyser = Analyser::of(language);
            assert_eq!(analyser.stem(one), analyser.stem(other), "{one}");
            assert_ne!(analyser.stem(one), analyser.stem("xyz"));
        }
    }

    #[test]
    fn stop_words_are_marked_and_kept() {
        let words = Analyser::of(Language::Dutch).words("Waar is het pakket");
        assert_eq!(words.iter().map(|word| word.is_stop).collect::<Vec<_>>(), [false, true, true, false]);
    }

    #[test]
    fn grams_overlap_and_mark_the_ends() {
        assert_eq!(grams("shoe").count(), 3);
        assert_eq!(grams("a").count(), 1);
        assert_eq!(grams("shoes").next(), grams("shoe").next());
        assert_ne!(grams("shoe").last(), grams("shoes").nth(2));
    }
}
