//! The languages we can analyse, and telling them apart.

use std::cmp::Reverse;

use whatlang::{Detector, Lang};

use super::analysis::Analyser;

/// A language with a stemmer, stop words and texts of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// `nl`
    Dutch,
    /// `en`
    English,
    /// `fr`
    French,
    /// `de`
    German,
}

/// By how many small words a language must lead the others.
const CLEAR_LEAD: usize = 2;

/// How sure the letters must be where the small words are not. A confident mistake puts an article beyond the reach
/// of its own language; a short or mixed text is better left to the default.
const SURE_ENOUGH: f64 = 0.5;

/// How much of an article is looked at.
const DETECTED_BYTES: usize = 2000;

impl Language {
    /// What is assumed of a text that does not tell.
    pub const DEFAULT: Self = Self::English;

    /// Every language, in the order of their codes' English names.
    pub const ALL: [Self; 4] = [Self::Dutch, Self::English, Self::French, Self::German];

    /// Its ISO 639-1 code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Dutch => "nl",
            Self::English => "en",
            Self::French => "fr",
            Self::German => "de",
        }
    }

    /// The language of a tag such as `nl` or `nl-BE`.
    pub fn parse(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| primary.eq_ignore_ascii_case(language.code()))
    }

    /// The language `text` is written in, as far as can be told: by its small words, which tell even of a short
    /// text, or else by its letters.
    pub fn detect(text: &str) -> Option<Self> {
        let mut votes = Self::ALL.map(|language| (Analyser::of(language).stop_words_in(text), language));
        votes.sort_unstable_by_key(|(words, _)| Reverse(*words));
        let [(most, by_words), (next, _), ..] = votes;
        if most >= next + CLEAR_LEAD {
            return Some(by_words);
        }
        let (by_letters, confidence) = Self::by_letters(text)?;
        let is_sure = confidence >= SURE_ENOUGH || (by_letters == by_words && most > next);
        is_sure.then_some(by_letters)
    }

    fn by_letters(text: &str) -> Option<(Self, f64)> {
        let known = vec![Lang::Nld, Lang::Eng, Lang::Fra, Lang::Deu];
        let found = Detector::with_allowlist(known).detect(text)?;
        let language = match found.lang() {
            Lang::Nld => Self::Dutch,
            Lang::Eng => Self::English,
            Lang::Fra => Self::French,
            Lang::Deu => Self::German,
            _ => return None,
        };
        Some((language, found.confidence()))
    }

    /// The language an article is analysed in.
    pub fn of_article(title: &str, text: &str) -> Self {
        // Its beginning tells as much as the whole.
        let beginning = text.get(..text.floor_char_boundary(DETECTED_BYTES)).unwrap_or_default();
        Self::detect(&format!("{title}\n{beginning}")).unwrap_or(Self::DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_told_from_a_sentence() {
        for (text, language) in [
            ("Waar blijft mijn pakket en hoe kan ik het volgen?", Language::Dutch),
            ("Where is my parcel and how can I follow it on its way?", Language::English),
            ("Où est mon colis et comment puis-je le suivre en ligne ?", Language::French),
            ("Volg je pakket met de code in de mail.", Language::Dutch),
            ("Wo ist mein Paket und wie kann ich die Sendung verfolgen?", Language::German),
        ] {
            assert_eq!(Language::detect(text), Some(language), "{text}");
        }
        assert_eq!(Language::detect("8812"), None);
        assert_eq!(Language::detect("注文はどこですか"), None);
    }

    #[test]
    fn a_region_does_not_hide_a_language() {
        assert_eq!(Language::parse("nl-BE"), Some(Language::Dutch));
        assert_eq!(Language::parse("DE_at"), Some(Language::German));
        assert_eq!(Language::parse("nld"), None);
    }
}
