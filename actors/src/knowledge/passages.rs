//! Cutting a document into passages: what is searched, shown and cited.

use std::ops::{Deref, Range};

use super::markup::{Block, BlockKind, Document};

/// A passage answers one question, so it should hold little else. Sizes from 60 to 200 find equally well; this
/// one still reads as an answer.
pub const MAX_WORDS: usize = 120;

/// A stretch of a document's text under one heading. As small as can be: an organization has tens of thousands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The innermost heading it stands under, among those of its document.
    heading: Option<u32>,
    bytes: Stretch,
    chars: Stretch,
}

/// From and to. A document has at most a few million bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch(u32, u32);

impl From<Range<usize>> for Stretch {
    fn from(range: Range<usize>) -> Self {
        Self(range.start as u32, range.end as u32)
    }
}

impl From<Stretch> for Range<usize> {
    fn from(Stretch(start, end): Stretch) -> Self {
        start as usize..end as usize
    }
}

impl Passage {
    /// Its characters in the document's text, as the API counts.
    #[must_use]
    pub fn chars(&self) -> Range<usize> {
        self.chars.into()
    }

    /// Its text.
    #[must_use]
    pub fn text<'a>(&self, document: &'a str) -> &'a str {
        document.get(Range::from(self.bytes)).unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Heading {
    /// Where it stands in the document's text.
    bytes: Stretch,
    /// The heading it stands under.
    above: Option<u32>,
}

/// The passages of a document, in order and without overlap; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passages {
    headings: Box<[Heading]>,
    passages: Box<[Passage]>,
}

impl Passages {
    /// Cuts a document.
    #[must_use]
    pub fn of(document: &Document) -> Self {
        let mut cutter = Cutter::new(&document.text);
        for block in &document.blocks {
            match block.kind {
                BlockKind::Heading(level) => cutter.heading(level, block.range.clone()),
                _ => sentences(&document.text, block).for_each(|sentence| cutter.sentence(sentence)),
            }
        }
        cutter.close();
        if cutter.passages.is_empty() {
            // Headings alone, or only a title: still one thing to find.
            cutter.path.clear();
            cutter.add(0..document.text.len());
        }
        Self { headings: cutter.headings.into(), passages: cutter.passages.into() }
    }

    /// The headings that a passage of `document` stands under, outermost first.
    #[must_use]
    pub fn headings_of<'a>(&self, passage: &Passage, document: &'a str) -> Vec<&'a str> {
        let heading = |at: u32| self.headings.get(at as usize);
        let inner =
            std::iter::successors(passage.heading.and_then(heading), |inner| inner.above.and_then(heading));
        let mut headings: Vec<_> =
            inner.map(|heading| document.get(Range::from(heading.bytes)).unwrap_or_default()).collect();
        headings.reverse();
        headings
    }
}

impl Deref for Passages {
    type Target = [Passage];

    fn deref(&self) -> &[Passage] {
        &self.passages
    }
}

struct Cutter<'a> {
    text: &'a str,
    headings: Vec<Heading>,
    /// Those in force and their levels.
    path: Vec<(u8, u32)>,
    open: Option<Range<usize>>,
    words: usize,
    passages: Vec<Passage>,
    /// How far characters are counted: bytes, characters.
    counted: (usize, usize),
}

impl<'a> Cutter<'a> {
    fn new(text: &'a str) -> Self {
        let (headings, path, passages) = (Vec::new(), Vec::new(), Vec::new());
        Self { text, headings, path, open: None, words: 0, passages, counted: (0, 0) }
    }

    fn heading(&mut self, level: u8, bytes: Range<usize>) {
        self.close();
        self.path.retain(|(above, _)| *above < level);
        let above = self.innermost();
        self.path.push((level, self.headings.len() as u32));
        self.headings.push(Heading { bytes: bytes.into(), above });
    }

    fn innermost(&self) -> Option<u32> {
        self.path.last().map(|(_, heading)| *heading)
    }

    fn sentence(&mut self, range: Range<usize>) {
        let words = self.text[range.clone()].split_whitespace().count();
        if self.words > 0 && self.words + words > MAX_WORDS {
            self.close();
        }
        self.words += words;
        self.open = Some(self.open.take().map_or(range.start, |open| open.start)..range.end);
    }

    fn close(&mut self) {
        self.words = 0;
        if let Some(range) = self.open.take() {
            self.add(range);
        }
    }

    fn add(&mut self, bytes: Range<usize>) {
        let chars = self.chars_to(bytes.start)..self.chars_to(bytes.end);
        let heading = self.innermost();
        self.passages.push(Passage { heading, bytes: bytes.into(), chars: chars.into() });
    }

    fn chars_to(&mut self, byte: usize) -> usize {
        let (bytes, chars) = self.counted;
        self.counted = (byte, chars + self.text[bytes..byte].chars().count());
        self.counted.1
    }
}

/// The sentences of a block; of code, its lines. None is longer than a passage.
fn sentences<'a>(text: &'a str, block: &Block) -> impl Iterator<Item = Range<usize>> + use<'a> {
    let ends: fn(&str, usize, char) -> bool =
        if block.kind == BlockKind::Code { ends_line } else { ends_sentence };
    let Range { start, end } = block.range.clone();
    let mut from = start;
    let mut breaks = text[start..end].char_indices().map(move |(offset, c)| (start + offset, c));
    std::iter::from_fn(move || {
        from += leading_white_space(&text[from..end]);
        if from >= end {
            return None;
        }
        let sentence = from;
        from = breaks.find(|&(at, c)| at >= sentence && ends(&text[..end], at, c)).map_or(end, |(at, _)| at);
        Some(sentence..from)
    })
    .flat_map(move |sentence| capped(text, sentence))
}

fn leading_white_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn ends_line(_: &str, _: usize, c: char) -> bool {
    c == '\n'
}

/// Whether white space at `at` ends a sentence: after its mark, before something that begins one.
fn ends_sentence(text: &str, at: usize, c: char) -> bool {
    c.is_whitespace()
        && text[..at].ends_with(['.', '!', '?'])
        && text[at..]
            .trim_start()
            .starts_with(|next: char| next.is_uppercase() || next.is_numeric() || "\"“„«¿(".contains(next))
}

/// Cuts a sentence that is longer than a passage, which is hardly one.
fn capped(text: &str, sentence: Range<usize>) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut end, mut words) = (sentence.start, sentence.start, 0);
    for word in text[sentence.clone()].split_whitespace() {
        let at = end + leading_white_space(&text[end..sentence.end]);
        if words == MAX_WORDS {
            pieces.push(start..end);
            (start, words) = (at, 0);
        }
        words += 1;
        end = at + word.len();
    }
    pieces.push(start..end);
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::markup::{Format, read};
    use super::*;

    fn passages(content: &str) -> (String, Passages) {
        let document = read(content, Format::Markdown).unwrap();
        let passages = Passages::of(&document);
        (document.text, passages)
    }

    #[test]
    fn a_passage_knows_its_headings_and_its_place() {
        let (text, passages) =
            passages("# Räturns\n\nTen days.\n\n## How\n\n1. Pack it.\n2. Send it.\n\n## Who\n\nYou.");
        let found: Vec<_> =
            passages.iter().map(|p| (passages.headings_of(p, &text).join("/"), p.text(&text))).collect();
        let expected =
            [("Räturns", "Ten days."), ("Räturns/How", "1. Pack it.\n2. Send it."), ("Räturns/Who", "You.")];
        assert_eq!(found, expected.map(|(headings, text)| (headings.to_owned(), text)));
        for passage in passages.iter() {
            let chars = passage.chars();
            let by_chars: String = text.chars().skip(chars.start).take(chars.len()).collect();
            assert_eq!(by_chars, passage.text(&text));
        }
    }

    #[test]
    fn sentences_fill_a_passage_and_never_overflow_it() {
        let sentence = format!("First {} end.", "word ".repeat(48).trim_end());
        let endless = "word ".repeat(3 * MAX_WORDS);
        let (text, passages) = passages(&format!("{sentence} Once. {sentence} {sentence}\n\n{endless}"));
        let words: Vec<_> = passages.iter().map(|p| p.text(&text).split_whitespace().count()).collect();
        assert_eq!(words, [101, 50, 120, 120, 120]);
    }

    #[test]
    fn an_article_without_text_still_has_a_passage() {
        assert_eq!(passages("").1.len(), 1);
        let (text, found) = passages("# Only a heading");
        assert_eq!(found[0].text(&text), "Only a heading");
    }

    #[test]
    fn an_abbreviation_before_a_small_letter_ends_nothing() {
        let block = Block { kind: BlockKind::Paragraph, range: 0..26 };
        let text = "E.g. a shoe. Or a hat! yes";
        let found: Vec<_> = sentences(text, &block).map(|range| &text[range]).collect();
        assert_eq!(found, ["E.g. a shoe.", "Or a hat! yes"]);
    }
}
