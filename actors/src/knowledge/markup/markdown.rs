//! Markdown to blocks.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::blocks::Gathered;
use super::{BlockKind, Document, MAX_DEPTH, MarkupError, html};

pub(super) fn read(content: &str) -> Result<Document, MarkupError> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut reader = Reader::default();
    for event in Parser::new_ext(content, options) {
        reader.take(event)?;
    }
    reader.flush(BlockKind::Paragraph);
    Ok(reader.document)
}

#[derive(Default)]
struct Reader {
    document: Document,
    gathered: Gathered,
    depth: usize,
    /// Raw HTML, front matter and code are gathered as they are, not as running text.
    verbatim: bool,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) -> Result<(), MarkupError> {
        match event {
            Event::Start(tag) => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(MarkupError::TooDeep);
                }
                self.start(tag);
            }
            Event::End(tag) => {
                self.depth -= 1;
                self.end(tag)?;
            }
            Event::Text(text) | Event::Html(text) if self.verbatim => self.gathered.text.push_str(&text),
            Event::Text(text) | Event::Code(text) => self.gathered.text.push_str(&text),
            // A soft break is one space to a reader; as it is one character too, offsets agree with the source.
            Event::SoftBreak => self.gathered.text.push(' '),
            Event::HardBreak => self.gathered.text.push('\n'),
            Event::InlineHtml(tag) if tag.starts_with("<br") => self.gathered.text.push('\n'),
            Event::TaskListMarker(done) => self.gathered.text.push_str(if done { "[x] " } else { "[ ] " }),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::Heading { .. } | Tag::TableHead | Tag::TableRow => {
                self.flush(BlockKind::Paragraph);
            }
            Tag::List(first) => {
                self.flush(BlockKind::Paragraph);
                self.gathered.lists.push(first);
            }
            Tag::Item => {
                self.flush(BlockKind::Paragraph);
                self.gathered.begin_item();
            }
            Tag::TableCell if !self.gathered.text.is_empty() => self.gathered.text.push_str(" | "),
            Tag::CodeBlock(CodeBlockKind::Indented | CodeBlockKind::Fenced(_))
            | Tag::HtmlBlock
            | Tag::MetadataBlock(_) => {
                self.flush(BlockKind::Paragraph);
                self.verbatim = true;
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) -> Result<(), MarkupError> {
        match tag {
            TagEnd::Paragraph => self.flush(BlockKind::Paragraph),
            TagEnd::Heading(level) => self.flush(BlockKind::Heading(number(level))),
            TagEnd::TableHead | TagEnd::TableRow => self.flush(BlockKind::TableRow),
            TagEnd::Item => {
                self.flush(BlockKind::Paragraph);
                self.gathered.end_item();
            }
            TagEnd::List(_) => {
                let _ = self.gathered.lists.pop();
            }
            TagEnd::CodeBlock => {
                self.verbatim = false;
                self.flush(BlockKind::Code);
            }
            TagEnd::HtmlBlock => {
                self.verbatim = false;
                let raw = std::mem::take(&mut self.gathered.text);
                html::read_into(&mut self.document, &raw)?;
            }
            // Front matter is for the tool that wrote it.
            TagEnd::MetadataBlock(_) => {
                self.verbatim = false;
                self.gathered.text.clear();
            }
            _ => {}
        }
        Ok(())
    }

    fn flush(&mut self, kind: BlockKind) {
        self.gathered.flush(&mut self.document, kind);
    }
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}
