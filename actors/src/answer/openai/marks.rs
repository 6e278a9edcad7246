//! `[n]` in the model's text becomes a citation: the mark is taken out of what customers read, and the citation's span
//! is the sentence that the mark stands in or right after.
//!
//! Text arrives cut anywhere, so the little that may still become a mark is held back. Taken for marks are `[1]`,
//! `[1][2]`, `[1, 2]` and `[1-3]`, of one or two digits, with the blanks before them; one whose passage was not
//! supplied is taken out and cites nothing. Left as they are: brackets in code, links (`[1](…)`), `\[1]`, `[2024]`,
//! and every bracket of an answer that was given no passages.

use std::ops::Range;

/// What may be held back, in bytes: a mark, the blanks before it and the marks right behind it.
const HELD_LONGEST: usize = 64;

/// A mark with everything in it that a person would still call one: `[1, 2, 3, 4, 5, 6]`.
const MARK_LONGEST: usize = 24;

/// What is looked at to tell a sentence from the number of a list, in characters.
const NUMBER_LONGEST: usize = 32;

/// Citations of one answer. Each carries its passage, and a model that marks every word must not fill the memory.
const MOST_CITATIONS: usize = 50;

/// Where the text is, as Markdown sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    None,
    /// Between so many backticks; ends with its line at the latest, so that one stray backtick hides little.
    Span(usize),
    /// After a line of so many backticks or tildes.
    Fence(char, usize),
}

/// A sentence that rests on a passage. Offsets count characters of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cited {
    /// The passage's number, from 1.
    pub(super) number: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Reads the model's text as it comes.
#[derive(Debug)]
pub(super) struct Marks {
    /// Passages that were supplied.
    supplied: usize,
    /// What customers have been shown.
    content: String,
    /// How long it may be, in bytes.
    longest: usize,
    full: bool,
    /// What may still become a mark.
    held: String,
    code: Code,
    /// Where each mark stood, in bytes of the content, and its number.
    found: Vec<(usize, usize)>,
}

/// What is known of the text at hand.
enum Step {
    /// More of it must come first.
    Undecided,
    /// So many bytes are text.
    Text(usize),
    /// So many bytes are marks and blanks around them; what stands for them is one blank or none.
    Marks { bytes: usize, numbers: Vec<usize>, blank: bool },
    /// So many bytes are left out.
    Nothing(usize),
}

impl Marks {
    /// For an answer to which so many passages were supplied, and of so many bytes at most.
    pub(super) fn new(supplied: usize, longest: usize) -> Self {
        Self {
            supplied,
            content: String::new(),
            longest,
            full: false,
            held: String::new(),
            code: Code::None,
            found: Vec::new(),
        }
    }

    /// Takes more of the model's text; gives what may be shown.
    pub(super) fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        self.read(false)
    }

    /// The model is done: what was held back is text after all.
    pub(super) fn finish(&mut self) -> String {
        self.read(true)
    }

    /// Everything that was shown.
    pub(super) fn content(&self) -> &str {
        &self.content
    }

    /// The content is as long as it may be; what comes is dropped.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    fn read(&mut self, at_end: bool) -> String {
        let (held, shown) = (std::mem::take(&mut self.held), self.content.len());
        let mut rest = held.as_str();
        while !rest.is_empty() && !self.full {
            let bytes = match self.step(rest, at_end || rest.len() > HELD_LONGEST) {
                Step::Undecided => break,
                Step::Text(bytes) => {
                    self.content.push_str(&rest[..bytes]);
                    bytes
                }
                Step::Marks { bytes, numbers, blank } => {
                    let at = self.content.len();
                    self.found.extend(numbers.into_iter().map(|number| (at, number)));
                    self.found.truncate(MOST_CITATIONS * 4);
                    if blank && !self.at_line_start() {
                        self.content.push(' ');
                    }
                    bytes
                }
                Step::Nothing(bytes) => bytes,
            };
            if self.content.len() > self.longest {
                self.content.truncate(self.content.floor_char_boundary(self.longest));
                self.full = true;
            }
            rest = &rest[bytes..];
        }
        self.held = rest.to_owned();
        self.content[shown..].to_owned()
    }

    fn at_line_start(&self) -> bool {
        self.content.rsplit('\n').next().is_none_or(|line| line.trim().is_empty())
    }

    /// Looks at the beginning of `rest`, which is not empty.
    fn step(&mut self, rest: &str, decide: bool) -> Step {
        let first = rest.chars().next().unwrap_or_default();
        if self.content.is_empty() && first.is_whitespace() {
            // Many models begin with a blank; no customer should.
            return Step::Nothing(first.len_utf8());
        }
        match first {
            '`' | '~' => self.ticks(first, rest, decide),
            '\n' => {
                if let Code::Span(_) = self.code {
                    self.code = Code::None;
                }
                Step::Text(1)
            }
            ' ' | '\t' | '[' if self.code == Code::None && self.supplied > 0 => self.gap(rest, decide),
            _ => {
                let special = |c: char| matches!(c, '`' | '~' | '\n' | ' ' | '\t' | '[');
                let skip = first.len_utf8();
                Step::Text(rest[skip..].find(special).map_or(rest.len(), |at| skip + at))
            }
        }
    }

    /// Backticks or tildes: code may begin or end.
    fn ticks(&mut self, tick: char, rest: &str, decide: bool) -> Step {
        let count = rest.chars().take_while(|c| *c == tick).count();
        if count == rest.len() && !decide {
            return Step::Undecided;
        }
        let fences = count >= 3 && self.at_line_start();
        self.code = match self.code {
            Code::None if fences => Code::Fence(tick, count),
            Code::None if tick == '`' => Code::Span(count),
            Code::Span(opened) if tick == '`' && opened == count => Code::None,
            Code::Fence(opened, least) if fences && opened == tick && count >= least => Code::None,
            code => code,
        };
        Step::Text(count)
    }

    /// Blanks and marks, in whatever order they come.
    fn gap(&self, rest: &str, decide: bool) -> Step {
        let blanks = |from: usize| rest.len() - rest[from..].trim_start_matches([' ', '\t']).len();
        let (mut at, mut numbers, mut blank) = (0, Vec::new(), false);
        let (before, next) = loop {
            let next = blanks(at);
            match rest[next..].chars().next() {
                None if !decide => return Step::Undecided,
                Some('[') if !(next == 0 && self.content.ends_with('\\')) => match mark(&rest[next..]) {
                    Mark::Undecided if !decide => return Step::Undecided,
                    Mark::Of(bytes, of) => {
                        match rest[next + bytes..].chars().next() {
                            None if !decide => return Step::Undecided,
                            Some('(') => break (at, next),
                            _ => {}
                        }
                        blank |= next > at;
                        numbers.extend(of);
                        at = next + bytes;
                    }
                    Mark::Undecided | Mark::No => break (at, next),
                },
                _ => break (at, next),
            }
        };
        if before == 0 {
            // A bracket that is none of ours, or blanks before something else.
            let bracket = usize::from(rest[next..].starts_with('['));
            return Step::Text(next + bracket);
        }
        match rest[next..].chars().next() {
            None => Step::Marks { bytes: before, numbers, blank: false },
            Some(c) => {
                let blank = (blank || next > before) && !closes(c);
                Step::Marks { bytes: next, numbers, blank }
            }
        }
    }

    /// The sentences that were marked, in order, each with a passage once.
    pub(super) fn cited(&self) -> Vec<Cited> {
        let sentences = sentences(&self.content);
        let chars = |bytes: usize| self.content[..bytes].chars().count();
        let mut seen = Vec::new();
        for &(at, number) in self.found.iter().filter(|(_, number)| (1..=self.supplied).contains(number)) {
            let Some(sentence) = sentence_at(&self.content, &sentences, at) else { continue };
            if !seen.contains(&(sentence.clone(), number)) && seen.len() < MOST_CITATIONS {
                seen.push((sentence, number));
            }
        }
        let spans = seen.into_iter();
        spans
            .map(|(range, number)| Cited { number, start: chars(range.start), end: chars(range.end) })
            .collect()
    }
}

/// No blank stands before it.
fn closes(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '.' | ',' | ';' | ':' | '!' | '?' | ')' | ']' | '}' | '…' | '»' | '”' | '。' | '，'
    )
}

enum Mark {
    /// So many bytes, and the passages they name.
    Of(usize, Vec<usize>),
    /// It may still become one.
    Undecided,
    No,
}

/// Reads a mark at the start of `text`, which is `[`.
fn mark(text: &str) -> Mark {
    let inner = &text[1..];
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, ' ' | ',' | ';' | '-' | '–');
    let end = inner.find(|c| !allowed(c)).unwrap_or(inner.len());
    match inner[end..].chars().next() {
        _ if end > MARK_LONGEST => Mark::No,
        None => Mark::Undecided,
        Some(']') => numbers(&inner[..end]).map_or(Mark::No, |numbers| Mark::Of(end + 2, numbers)),
        Some(_) => Mark::No,
    }
}

fn numbers(inner: &str) -> Option<Vec<usize>> {
    let number = |text: &str| {
        let text = text.trim();
        text.parse().ok().filter(|_| matches!(text.len(), 1 | 2))
    };
    let mut numbers = Vec::new();
    for part in inner.split([',', ';']) {
        match part.split_once(['-', '–']) {
            Some((from, to)) => numbers.extend(number(from)?..=number(to)?),
            None => numbers.push(number(part)?),
        }
    }
    Some(numbers)
}

/// The sentences of `text`, in bytes, without the white space around them.
fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut sentences = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let mut start = line_start;
        for (at, c) in line.char_indices() {
            let end = line_start + at;
            if c.is_whitespace() && ends_sentence(&text[start..end], &line[at..]) {
                sentences.push(trimmed(text, start..end));
                start = end;
            }
        }
        line_start += line.len();
        sentences.push(trimmed(text, start..line_start));
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

/// Whether white space between these ends a sentence: after its mark, before something that begins one. A list's
/// number has no letters and is no sentence.
fn ends_sentence(before: &str, after: &str) -> bool {
    let quoted = before.trim_end_matches(['"', '”', '’', '»', ')', '*', '_']);
    quoted.ends_with(['.', '!', '?', '…'])
        && before.chars().rev().take(NUMBER_LONGEST).any(char::is_alphabetic)
        && after.trim_start().chars().next().is_some_and(|next| !next.is_lowercase() && next != ',')
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + part.len() - part.trim_start().len();
    start..(range.end - (part.len() - part.trim_end().len())).max(start)
}

/// The sentence that a mark at `at` stands in or right after; of one that begins a line, the sentence that follows.
fn sentence_at(text: &str, sentences: &[Range<usize>], at: usize) -> Option<Range<usize>> {
    let before = sentences.iter().rfind(|sentence| sentence.start < at);
    let same_line = before.filter(|sentence| !text[sentence.end.min(at)..at].contains('\n'));
    // A mark that stood alone on its line belongs to what was said before.
    let alone = text[at..].trim_start_matches([' ', '\t']).chars().next().is_none_or(|c| c == '\n');
    let after = sentences.iter().find(|sentence| sentence.start >= at);
    same_line.or(after.filter(|_| !alone)).or(before).or(after).cloned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content, and each citation as `number: the words cited`.
    fn read(supplied: usize, pieces: &[&str]) -> (String, Vec<String>) {
        let mut marks = Marks::new(supplied, 1000);
        let mut shown: String = pieces.iter().map(|piece| marks.push(piece)).collect();
        shown += &marks.finish();
        assert_eq!(shown, marks.content());
        let words = |cited: Cited| {
            let words: String = shown.chars().skip(cited.start).take(cited.end - cited.start).collect();
            format!("{}: {words}", cited.number)
        };
        let cited = marks.cited().into_iter().map(words).collect();
        (shown, cited)
    }

    #[test]
    fn a_mark_is_taken_out_and_cites_its_sentence() {
        for (said, shown, cited) in [
            ("Within 30 days [1].", "Within 30 days.", &["1: Within 30 days."][..]),
            ("Within 30 days. [1]", "Within 30 days.", &["1: Within 30 days."]),
            ("Within 30 days.[1]", "Within 30 days.", &["1: Within 30 days."]),
            ("Yes. Within [1] 30 days. No.", "Yes. Within 30 days. No.", &["1: Within 30 days."]),
            ("A é. [1] B 🙂. [2] C.", "A é. B 🙂. C.", &["1: A é.", "2: B 🙂."]),
            ("Send it [1][2].", "Send it.", &["1: Send it.", "2: Send it."]),
            ("Send it [1] [2].", "Send it.", &["1: Send it.", "2: Send it."]),
            ("Send it [1, 2].", "Send it.", &["1: Send it.", "2: Send it."]),
            ("Send it [1-3].", "Send it.", &["1: Send it.", "2: Send it.", "3: Send it."]),
            ("Send it [1][1] back [1].", "Send it back.", &["1: Send it back."]),
            ("[1] Send it back.", "Send it back.", &["1: Send it back."]),
            ("- [1] Sizes\n- Shoes [2]\n", "- Sizes\n- Shoes\n", &["1: - Sizes", "2: - Shoes"]),
            ("First.\n\n[2]", "First.\n\n", &["2: First."]),
            ("First.\n[2]\nThen.", "First.\n\nThen.", &["2: First."]),
            ("1. Pack it [1]. 2. Send it.", "1. Pack it. 2. Send it.", &["1: 1. Pack it."]),
            ("e.g. shoes [1] and so on.", "e.g. shoes and so on.", &["1: e.g. shoes and so on."]),
            ("  \n Hello", "Hello", &[]),
            // Not supplied: gone, and nothing cited.
            ("Send it [4][1].", "Send it.", &["1: Send it."]),
            ("Send it [9].", "Send it.", &[]),
            ("Send it [0].", "Send it.", &[]),
        ] {
            assert_eq!(
                read(3, &[said]),
                (shown.to_owned(), cited.iter().map(|c| (*c).to_owned()).collect()),
                "{said}"
            );
        }
    }

    #[test]
    fn brackets_that_are_no_marks_are_left_alone() {
        for said in [
            "Since [2024] it is [so].",
            "See [1](https://shop.example) there.",
            "See [returns] and [ ] and [x] and [1 of 2] and [].",
            "Use `list[1]` there.",
            "```js\nlist[1] = [2];\n``\nlist[3]\n",
            "~~~\n[1]\n",
            r"\[1\] is math",
            "Open [",
            "Open [1",
            "Open [1, ",
            "[[[",
            "Two  blanks ,  three   and\ttab.",
        ] {
            assert_eq!(read(3, &[said]), (said.to_owned(), vec![]), "{said}");
        }
        let (shown, cited) = read(3, &["```\na[1]\n```\nYes [1]. One ` tick\nno [2]."]);
        assert_eq!(shown, "```\na[1]\n```\nYes. One ` tick\nno.");
        assert_eq!(cited, ["1: Yes.", "2: no."]);
        // Nothing was ever numbered.
        assert_eq!(read(0, &["Take [1] or [12]."]).0, "Take [1] or [12].");
    }

    #[test]
    fn little_is_held_back_and_little_is_kept() {
        let mut marks = Marks::new(3, 200_000);
        assert_eq!(marks.push("Hello"), "Hello");
        assert_eq!(marks.push(" "), "");
        assert_eq!(marks.push("there ["), " there");
        assert_eq!(marks.push("1"), "");
        assert_eq!(marks.push("2 of"), " [12 of");
        for piece in ["[", "1", " "] {
            let mut marks = Marks::new(3, 200_000);
            marks.push("x");
            for _ in 0..200 {
                marks.push(piece);
                assert!(marks.held.len() <= HELD_LONGEST + 1, "{piece:?}");
            }
        }
        let mut marks = Marks::new(3, 200_000);
        for n in 0..5_000 {
            marks.push(&format!("Sentence {n}. [1]"));
        }
        marks.finish();
        assert_eq!(marks.cited().len(), MOST_CITATIONS);
    }

    #[test]
    fn an_answer_has_a_length() {
        let mut marks = Marks::new(1, 4);
        assert_eq!((marks.push("ééé"), marks.is_full()), ("éé".to_owned(), true));
        assert_eq!((marks.push("é"), marks.finish()), (String::new(), String::new()));
        let mut marks = Marks::new(1, 4);
        assert_eq!(
            (marks.push("abcd [1]"), marks.finish(), marks.is_full()),
            ("abcd".into(), String::new(), false)
        );
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_answer(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("[1]"), Just("[2, 3]"), Just("[9]"), Just("["), Just("]"), Just("1"), Just(" "), Just("\n"),
                    Just("`"), Just("```"), Just("word"), Just(". "), Just("É"), Just("("), Just("\\"), Just("  "),
                ],
                0..24,
            ),
        ) {
            let whole = parts.concat();
            let letters: Vec<String> = whole.chars().map(String::from).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
            let at_once = read(3, &[&whole]);
            // Only where a mark is not longer than what is held back.
            prop_assume!(whole.len() <= HELD_LONGEST);
            prop_assert_eq!(read(3, &parts), at_once.clone());
            prop_assert_eq!(read(3, &letters), at_once);
        }
    }
}
