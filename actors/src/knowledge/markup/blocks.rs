//! The blocks of a document and the text they share.

use std::ops::Range;

/// A document: one text, and where its blocks stand in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Everything a reader sees, in order.
    pub text: String,
    /// In order, without overlap. Between them there is only white space.
    pub blocks: Vec<Block>,
}

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its bytes in the document's text.
    pub range: Range<usize>,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// A heading and its level, 1 to 6.
    Heading(u8),
    /// Running text.
    Paragraph,
    /// One item, its bullet or number included.
    ListItem,
    /// One row, its cells separated by bars.
    TableRow,
    /// Lines kept as they are.
    Code,
}

impl Document {
    /// Plain text as it stands; a paragraph ends at an empty line.
    pub fn of_plain_text(content: &str) -> Self {
        let mut document = Self { text: content.to_owned(), blocks: Vec::new() };
        let mut open: Option<Range<usize>> = None;
        let mut start = 0;
        for line in content.split_inclusive('\n') {
            let end = start + line.trim_end().len();
            if line.trim().is_empty() {
                document.close_paragraph(open.take());
            } else {
                open = Some(open.map_or(start, |paragraph| paragraph.start)..end);
            }
            start += line.len();
        }
        document.close_paragraph(open);
        document
    }

    /// Adds a block, apart from what stands before it. Text of nothing but white space adds none.
    pub(super) fn push(&mut self, kind: BlockKind, text: &str) {
        // Code and inner list items keep their indent.
        let text = match kind {
            BlockKind::Code | BlockKind::ListItem => text.trim_matches('\n').trim_end(),
            _ => text.trim(),
        };
        if text.is_empty() {
            return;
        }
        self.text.push_str(match self.blocks.last() {
            None => "",
            Some(last) if last.kind == kind && kind.is_a_line() => "\n",
            Some(_) => "\n\n",
        });
        let start = self.text.len();
        self.text.push_str(text);
        self.blocks.push(Block { kind, range: start..self.text.len() });
    }

    fn close_paragraph(&mut self, range: Option<Range<usize>>) {
        self.blocks.extend(range.map(|range| Block { kind: BlockKind::Paragraph, range }));
    }
}

impl BlockKind {
    /// Whether its like stand on consecutive lines.
    fn is_a_line(self) -> bool {
        matches!(self, Self::ListItem | Self::TableRow)
    }
}

/// Text gathered until its block is whole, and the lists it stands in.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) text: String,
    /// The next number of each open list, `None` where it has bullets.
    pub(super) lists: Vec<Option<u64>>,
    /// The bullet or number that the next text is given.
    marker: Option<String>,
}

impl Gathered {
    /// Begins an item of the innermost list.
    pub(super) fn begin_item(&mut self) {
        let indent = "  ".repeat(self.lists.len().saturating_sub(1).min(8));
        self.marker = Some(match self.lists.last_mut() {
            Some(Some(number)) => {
                let marker = format!("{indent}{number}. ");
                *number = number.saturating_add(1);
                marker
            }
            _ => format!("{indent}- "),
        });
    }

    /// Ends an item. One without text shows nothing, so its marker must not pass to what follows.
    pub(super) fn end_item(&mut self) {
        self.marker = None;
    }

    /// Moves what was gathered into `document`, as a list item where an item waits for its first text.
    pub(super) fn flush(&mut self, document: &mut Document, kind: BlockKind) {
        if self.text.trim().is_empty() {
            self.text.clear();
            return;
        }
        match (kind, self.marker.take()) {
            (BlockKind::Paragraph, Some(marker)) => {
                document.push(BlockKind::ListItem, &format!("{marker}{}", self.text.trim()));
            }
            (kind, _) => document.push(kind, &self.text),
        }
        self.text.clear();
    }

    /// Adds running text, its white space folded.
    pub(super) fn running_text(&mut self, text: &str) {
        if text.starts_with(char::is_whitespace) {
            self.space();
        }
        for (position, word) in text.split_whitespace().enumerate() {
            if position > 0 {
                self.text.push(' ');
            }
            self.text.push_str(word);
        }
        if text.ends_with(char::is_whitespace) {
            self.space();
        }
    }

    fn space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(char::is_whitespace) {
            self.text.push(' ');
        }
    }
}
