//! The words of an organization's articles, to tell a typing error from a word we do not have.

use std::collections::HashMap;

/// Shorter words have too many neighbours for a guess to be right.
const MIN_REPAIRED_LETTERS: usize = 4;

/// Longer words are not typed by hand. What they could have been grows with the square of their length.
const MAX_REPAIRED_LETTERS: usize = 32;

/// Folded words and in how many articles they stand.
#[derive(Debug, Default, Clone)]
pub(super) struct Vocabulary {
    articles: HashMap<Box<str>, u32>,
}

impl Vocabulary {
    /// Counts the words of an article, each given once.
    pub(super) fn add(&mut self, words: &[Box<str>]) {
        for word in words {
            *self.articles.entry(word.clone()).or_default() += 1;
        }
    }

    /// Takes back what [`Vocabulary::add`] counted.
    pub(super) fn retire(&mut self, words: &[Box<str>]) {
        for word in words {
            if let Some(count) = self.articles.get_mut(word) {
                *count -= 1;
                if *count == 0 {
                    self.articles.remove(word);
                }
            }
        }
    }

    pub(super) fn contains(&self, word: &str) -> bool {
        self.articles.contains_key(word)
    }

    /// The commonest word that is one slip of the fingers from `word`: a letter too many, too few or wrong, or two
    /// swapped.
    pub(super) fn repair(&self, word: &str) -> Option<&str> {
        // Looked at no further than it may be long: a message may be one word of 32,000 letters.
        let letters: Vec<char> = word.chars().take(MAX_REPAIRED_LETTERS + 1).collect();
        let is_repairable = (MIN_REPAIRED_LETTERS..=MAX_REPAIRED_LETTERS).contains(&letters.len());
        if self.articles.is_empty() || !is_repairable || !letters.iter().all(|c| c.is_alphabetic()) {
            return None;
        }
        slips(&letters)
            .filter_map(|slip| self.articles.get_key_value(slip.as_str()))
            .max_by(|(a, in_a), (b, in_b)| in_a.cmp(in_b).then_with(|| b.cmp(a)))
            .map(|(found, _)| &**found)
    }
}

fn slips(letters: &[char]) -> impl Iterator<Item = String> {
    let deleted = (0..letters.len()).map(|at| spliced(letters, at, 1, &[]));
    let swapped = (1..letters.len()).map(|at| spliced(letters, at - 1, 2, &[letters[at], letters[at - 1]]));
    let replaced =
        (0..letters.len()).flat_map(move |at| ('a'..='z').map(move |c| spliced(letters, at, 1, &[c])));
    let inserted =
        (0..=letters.len()).flat_map(move |at| ('a'..='z').map(move |c| spliced(letters, at, 0, &[c])));
    deleted.chain(swapped).chain(replaced).chain(inserted)
}

fn spliced(letters: &[char], at: usize, removed: usize, put: &[char]) -> String {
    letters[..at].iter().chain(put).chain(&letters[at + removed..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(words: &[&str]) -> Vocabulary {
        let mut vocabulary = Vocabulary::default();
        words.iter().for_each(|word| vocabulary.add(&[(*word).into()]));
        vocabulary
    }

    #[test]
    fn one_slip_is_repaired_to_the_commonest_word() {
        let vocabulary = vocabulary(&["parcel", "parcels", "parcels", "refund", "pay"]);
        for (typed, meant) in [
            ("parcle", Some("parcel")),
            ("parcells", Some("parcels")),
            ("refnd", Some("refund")),
            ("rofund", Some("refund")),
            ("parcelx", Some("parcels")),
            ("pry", None),
            ("8812", None),
            ("weather", None),
        ] {
            assert_eq!(vocabulary.repair(typed), meant, "{typed}");
        }
    }

    #[test]
    fn a_word_that_nobody_types_costs_nothing() {
        let long = "x".repeat(MAX_REPAIRED_LETTERS + 1);
        let vocabulary = vocabulary(&[&long]);
        assert_eq!(vocabulary.repair(&format!("{}y", &long[1..])), None);
        assert_eq!(vocabulary.repair(&"x".repeat(32_000)), None);
    }

    #[test]
    fn a_word_is_known_while_an_article_has_it() {
        let mut vocabulary = vocabulary(&["parcel", "parcel"]);
        vocabulary.retire(&["parcel".into()]);
        assert!(vocabulary.contains("parcel"));
        vocabulary.retire(&["parcel".into()]);
        assert!(!vocabulary.contains("parcel"));
    }
}
