//! Does a customer ask for a person? Phrases per language, matched word by word.
//!
//! A phrase is a row of words. `a|b` is one of these words, `x?` may be missing, `*3` is up to three words of any
//! kind, `{name}` one word of a class, `{name}*3` up to three of it, `^` and `$` are the ends of a sentence, and
//! `!a|b` looks ahead: none of these follows. A comma ends a sentence here, so that "no, I want a human" is not a
//! refusal. Only the present counts, and nothing that is denied: "I spoke to a person yesterday" and "I don't want to
//! talk to an agent" ask for nobody. A phrase that is missing costs the customer a second sentence; one too many takes
//! a question away from the AI, which is worse, so the phrases say who wants what of whom.

mod phrases_of;

use std::sync::LazyLock;

use self::phrases_of::{Source, source};
use crate::answer::Language;

/// Words of a message that are looked at. A request for a person is short; in a long text it stands at its beginning
/// or its end.
const WORDS_AT_EACH_END: usize = 150;

#[derive(Debug)]
enum Piece {
    Word(Vec<&'static str>),
    Maybe(Vec<&'static str>),
    UpTo(usize, Vec<&'static str>),
    Any(usize),
    Not(Vec<&'static str>),
    Start,
    End,
}

/// The phrases of one language, ready to be matched.
#[derive(Debug)]
struct Matcher {
    /// Without one of these no phrase matches: most messages are done with here.
    telling: Vec<&'static str>,
    phrases: Vec<Vec<Piece>>,
    denials: Vec<&'static str>,
    /// Rows of words whose denial asks rather than denies: "why can't I".
    asking: Vec<Vec<&'static str>>,
}

static MATCHERS: LazyLock<[(Language, Matcher); 4]> =
    LazyLock::new(|| Language::ALL.map(|language| (language, Matcher::of(source(language)))));

/// The first of these languages in which the message asks for a person.
pub(in crate::conversation) fn asks_for_a_person(message: &str, languages: &[Language]) -> Option<Language> {
    let sentences = sentences(message);
    let asks = |language: &&Language| {
        let matcher = MATCHERS.iter().find(|(known, _)| known == *language);
        matcher.is_some_and(|(_, matcher)| sentences.iter().any(|sentence| matcher.matches(sentence)))
    };
    languages.iter().find(asks).copied()
}

/// The words of each sentence, in small letters.
fn sentences(message: &str) -> Vec<Vec<String>> {
    let mut sentences = vec![Vec::new()];
    let ends = |c: char| matches!(c, '.' | '!' | '?' | ';' | ':' | ',' | '\n' | '…' | '¿' | '¡');
    for piece in message.split_inclusive(ends) {
        let lowered = piece.to_lowercase();
        let words = lowered.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        if let Some(sentence) = sentences.last_mut() {
            sentence.extend(words.map(str::to_owned));
        }
        if piece.ends_with(ends) {
            sentences.push(Vec::new());
        }
    }
    let mut all: usize = sentences.iter().map(Vec::len).sum();
    let mut before = 0;
    sentences.retain(|sentence: &Vec<String>| {
        let from_start = before;
        before += sentence.len();
        all -= sentence.len();
        !sentence.is_empty() && (from_start < WORDS_AT_EACH_END || all < WORDS_AT_EACH_END)
    });
    for sentence in &mut sentences {
        // A text without any stop.
        sentence.truncate(2 * WORDS_AT_EACH_END);
    }
    sentences
}

impl Matcher {
    fn of(source: &'static Source) -> Self {
        let class = |name: &str| {
            let found = source.classes.iter().find(|(known, _)| *known == name);
            found.map(|(_, words)| words.split(' ').collect::<Vec<_>>()).unwrap_or_default()
        };
        let piece = |text: &'static str| -> Piece {
            match text {
                "^" => return Piece::Start,
                "$" => return Piece::End,
                _ => {}
            }
            if let Some(words) = text.strip_prefix('!') {
                return Piece::Not(words.split('|').collect());
            }
            let (word, count) = match text.split_once('*') {
                Some((word, count)) => (word, count.parse().unwrap_or(0)),
                None => (text, 0),
            };
            if word.is_empty() {
                return Piece::Any(count);
            }
            let (word, may_miss) = match word.strip_suffix('?') {
                Some(word) => (word, true),
                None => (word, false),
            };
            let words = match word.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => class(name),
                None => word.split('|').collect(),
            };
            match (count, may_miss) {
                (0, false) => Piece::Word(words),
                (0, true) => Piece::Maybe(words),
                (count, _) => Piece::UpTo(count, words),
            }
        };
        Self {
            telling: source.telling.iter().flat_map(|name| class(name)).collect(),
            phrases: source.phrases.iter().map(|phrase| phrase.split(' ').map(piece).collect()).collect(),
            denials: source.denials.split(' ').collect(),
            asking: source.asking.iter().map(|row| row.split(' ').collect()).collect(),
        }
    }

    fn matches(&self, sentence: &[String]) -> bool {
        if !sentence.iter().any(|word| self.telling.contains(&&**word)) {
            return false;
        }
        self.phrases.iter().any(|phrase| {
            (0..sentence.len())
                .any(|at| follows(phrase, sentence, at).is_some_and(|end| !self.is_denied(&sentence[..end])))
        })
    }

    /// Is there a denial among the words up to the end of the phrase?
    fn is_denied(&self, words: &[String]) -> bool {
        let asks =
            self.asking.iter().any(|row| words.windows(row.len()).any(|window| window == row.as_slice()));
        !asks && words.iter().any(|word| self.denials.contains(&&**word))
    }
}

/// Does the phrase stand at this place? Gives where it ends.
fn follows(phrase: &[Piece], words: &[String], at: usize) -> Option<usize> {
    let Some((piece, rest)) = phrase.split_first() else { return Some(at) };
    let is_one_of =
        |place: usize, known: &[&str]| words.get(place).is_some_and(|word| known.contains(&&**word));
    match piece {
        Piece::Start => (at == 0).then(|| follows(rest, words, at)).flatten(),
        Piece::End => (at == words.len()).then(|| follows(rest, words, at)).flatten(),
        Piece::Not(known) => (!is_one_of(at, known)).then(|| follows(rest, words, at)).flatten(),
        Piece::Word(known) => is_one_of(at, known).then(|| follows(rest, words, at + 1)).flatten(),
        Piece::Maybe(known) => {
            let taken = is_one_of(at, known).then(|| follows(rest, words, at + 1)).flatten();
            taken.or_else(|| follows(rest, words, at))
        }
        Piece::UpTo(most, known) => {
            let there = (0..*most).take_while(|count| is_one_of(at + count, known)).count();
            (0..=there).rev().find_map(|count| follows(rest, words, at + count))
        }
        Piece::Any(most) => {
            let there = words.len().saturating_sub(at).min(*most);
            (0..=there).find_map(|count| follows(rest, words, at + count))
        }
    }
}

#[cfg(test)]
mod tests;
