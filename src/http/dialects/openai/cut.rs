//! Where an answer ends before its own end: at a stop sequence, or after so many tokens.

/// Why it was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A stop sequence came; it is not shown.
    Stop,
    /// It has as many tokens as it may have.
    Length,
}

/// What a token is. No tokenizer is the right one for every model, so this is what the models' own usage counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meter {
    /// A word: the server's own models.
    Words,
    /// Four characters, as everyone estimates: models behind HTTP.
    Characters,
}

const CHARACTERS_PER_TOKEN: u64 = 4;

impl Meter {
    /// The tokens of a text.
    pub(super) fn count(self, text: &str) -> u64 {
        let mut counted = Counted::default();
        text.chars().for_each(|character| counted.add(character));
        counted.tokens(self)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    words: u64,
    in_word: bool,
    characters: u64,
}

impl Counted {
    fn add(&mut self, character: char) {
        let in_word = !character.is_whitespace();
        self.words += u64::from(in_word && !self.in_word);
        self.in_word = in_word;
        self.characters += 1;
    }

    fn tokens(&self, meter: Meter) -> u64 {
        match meter {
            Meter::Words => self.words,
            Meter::Characters => self.characters.div_ceil(CHARACTERS_PER_TOKEN),
        }
    }
}

/// Lets text through up to where it is cut. What may be the beginning of a stop sequence is held back.
#[derive(Debug)]
pub(super) struct Cut {
    stops: Vec<String>,
    most_tokens: Option<u64>,
    meter: Meter,
    held: String,
    counted: Counted,
    shown_characters: usize,
    reason: Option<Reason>,
}

impl Cut {
    pub(super) fn new(stops: Vec<String>, most_tokens: Option<u64>, meter: Meter) -> Self {
        let (held, counted) = (String::new(), Counted::default());
        Self { stops, most_tokens, meter, held, counted, shown_characters: 0, reason: None }
    }

    /// The same for a text that begins anew.
    pub(super) fn restart(&mut self) {
        self.held.clear();
        self.counted = Counted::default();
        self.shown_characters = 0;
        self.reason = None;
    }

    /// Why nothing more is let through, if that is so.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Tokens let through.
    pub(super) fn tokens(&self) -> u64 {
        self.counted.tokens(self.meter)
    }

    /// Characters let through.
    pub(super) fn characters(&self) -> usize {
        self.shown_characters
    }

    /// What of it can be shown now, with what was held back before.
    pub(super) fn push(&mut self, text: &str) -> String {
        if self.reason.is_some() {
            return String::new();
        }
        self.held.push_str(text);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop)).min();
        let shown = match found {
            Some(at) => {
                self.reason = Some(Reason::Stop);
                self.held.truncate(at);
                std::mem::take(&mut self.held)
            }
            None => {
                let rest = self.held.split_off(self.held.len() - self.undecided());
                std::mem::replace(&mut self.held, rest)
            }
        };
        self.metered(shown)
    }

    /// The text is over: what was held back was no stop sequence.
    pub(super) fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.held);
        self.metered(rest)
    }

    /// How many bytes at the end may begin a stop sequence.
    fn undecided(&self) -> usize {
        let begins = |stop: &String| {
            let edges = stop.char_indices().map(|(at, _)| at).skip(1);
            edges.filter(|at| self.held.ends_with(&stop[..*at])).max()
        };
        self.stops.iter().filter_map(begins).max().unwrap_or(0)
    }

    fn metered(&mut self, mut text: String) -> String {
        let mut cut_at = None;
        for (at, character) in text.char_indices() {
            let mut counted = self.counted;
            counted.add(character);
            if self.most_tokens.is_some_and(|most| counted.tokens(self.meter) > most) {
                cut_at = Some(at);
                break;
            }
            self.counted = counted;
            self.shown_characters += 1;
        }
        if let Some(at) = cut_at {
            text.truncate(at);
            self.held.clear();
            self.reason = Some(Reason::Length);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(stops: &[&str], most: Option<u64>, pieces: &[&str]) -> (String, Option<Reason>) {
        let stops = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut cut = Cut::new(stops, most, Meter::Words);
        let mut shown: String = pieces.iter().map(|piece| cut.push(piece)).collect();
        shown.push_str(&cut.finish());
        (shown, cut.reason())
    }

    #[test]
    fn the_first_stop_sequence_cuts_wherever_the_pieces_do() {
        let stopped = |text: &str| (text.to_owned(), Some(Reason::Stop));
        assert_eq!(cut(&["END"], None, &["one E", "N", "D two"]), stopped("one "));
        assert_eq!(cut(&["two", "one"], None, &["one two"]), stopped(""));
        assert_eq!(cut(&["aab"], None, &["aa", "ab"]), stopped("a"));
        assert_eq!(cut(&["\n\n"], None, &["a\n", "\nb"]), stopped("a"));
        assert_eq!(cut(&["é!"], None, &["caf", "é", "! b"]), stopped("caf"));
        assert_eq!(cut(&["END"], None, &["one E", "N"]), ("one EN".to_owned(), None));
    }

    #[test]
    fn so_many_tokens_are_let_through_and_no_part_of_the_next() {
        assert_eq!(
            cut(&[], Some(2), &["one", " two", " th", "ree"]),
            ("one two ".to_owned(), Some(Reason::Length))
        );
        assert_eq!(cut(&[], Some(3), &["one", " two", " three"]), ("one two three".to_owned(), None));
        let mut by_characters = Cut::new(Vec::new(), Some(2), Meter::Characters);
        assert_eq!(by_characters.push("éééééééééé"), "éééééééé");
        assert_eq!((by_characters.reason(), by_characters.tokens()), (Some(Reason::Length), 2));
    }

    #[test]
    fn what_comes_first_cuts() {
        assert_eq!(cut(&["three"], Some(1), &["one two three"]).1, Some(Reason::Length));
        assert_eq!(cut(&["two"], Some(2), &["one two three"]).1, Some(Reason::Stop));
    }

    proptest! {
        #[test]
        fn how_the_text_comes_in_pieces_changes_nothing(text in "[ab ]{0,24}", stop in "[ab]{1,4}", at in 0usize..24) {
            let at = at.min(text.len());
            let whole = cut(&[&stop], None, &[&text]);
            prop_assert_eq!(&cut(&[&stop], None, &[&text[..at], &text[at..]]), &whole);
            let expected = text.find(&stop).map_or(text.as_str(), |at| &text[..at]);
            prop_assert_eq!(whole.0, expected);
        }
    }
}
