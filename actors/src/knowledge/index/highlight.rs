//! Which words of a passage the question asked for.

use std::collections::HashSet;
use std::ops::Range;

use super::super::analysis::{Analyser, Stem, Word};
use super::{Hit, Query};

impl Hit {
    /// Where the best passage has words of the newest question, in characters of the passage.
    #[must_use]
    pub fn highlights(&self, query: &Query) -> Vec<Range<usize>> {
        let analyser = Analyser::of(self.entry.language);
        let asked = analyser.words(query.turns.last().map_or("", String::as_str));
        let wanted: HashSet<Stem> =
            asked.iter().filter(|word| !word.is_stop).map(|word| analyser.stem(&word.written)).collect();
        let is_wanted = |word: &Word| !word.is_stop && wanted.contains(&analyser.stem(&word.written));
        let text = self.passage_text();
        let (mut bytes, mut chars) = (0, 0);
        let words = analyser.words(text);
        let wanted = words.iter().filter(|word| is_wanted(word)).map(|word| {
            let start = chars + text[bytes..word.bytes.start].chars().count();
            let end = start + text[word.bytes.clone()].chars().count();
            (bytes, chars) = (word.bytes.end, end);
            start..end
        });
        wanted.collect()
    }
}
