//! HTML to blocks.

use std::time::{Duration, Instant};

use html5ever::driver::{self, ParseOpts};
use html5ever::tendril::{StrTendril, TendrilSink};
use scraper::node::Element;
use scraper::{Html, HtmlTreeSink, Node};

use super::blocks::Gathered;
use super::{BlockKind, Document, MAX_ATTRIBUTES, MAX_DEPTH, MarkupError, attributes};

/// How much is parsed between two looks at the tree: what a hostile page can make of this much is the most it
/// costs us. (Unchecked, 100,000 nested elements keep the parser busy for 39 s.)
const PIECE_BYTES: usize = 4096;

/// The longest that a page may keep the parser busy. Four megabytes of honest HTML take a tenth of a second; a tag with
/// a hundred thousand attributes would take minutes.
const PARSED_WITHIN: Duration = Duration::from_secs(5);

/// Elements around a page's own: the document, `html` and `body`.
const OUTER_LEVELS: usize = 3;

/// Nodes allowed beyond one per byte. Unclosed formatting elements are opened again in every paragraph, which
/// makes a tree far larger than its source; honest pages have a node per four bytes at most.
const SPARE_NODES: usize = 1000;

pub(super) fn read(content: &str) -> Result<Document, MarkupError> {
    let mut document = Document::default();
    read_into(&mut document, content)?;
    Ok(document)
}

/// Adds the blocks of `content` to `document`.
pub(super) fn read_into(document: &mut Document, content: &str) -> Result<(), MarkupError> {
    let page = parse(content, PARSED_WITHIN)?;
    let mut walk = Walk { document, gathered: Gathered::default(), preformatted: 0, rows: 0 };
    // By sibling and parent links rather than by recursion: the depth of a page is its author's choice.
    let mut next = page.tree.root().first_child();
    while let Some(node) = next {
        let entered = walk.enter(node.value());
        next = if entered { node.first_child() } else { None };
        let mut done = node;
        while next.is_none() {
            walk.leave(done.value());
            next = done.next_sibling();
            match done.parent() {
                Some(parent) if next.is_none() => done = parent,
                _ => break,
            }
        }
    }
    walk.flush(BlockKind::Paragraph);
    Ok(())
}

/// Parses piece by piece, so that depth, size and time are judged as the tree grows and not after the damage.
fn parse(content: &str, within: Duration) -> Result<Html, MarkupError> {
    if attributes::any_tag_has_more_than(MAX_ATTRIBUTES, content) {
        return Err(MarkupError::TooManyAttributes);
    }
    let since = Instant::now();
    let mut parser = driver::parse_document(HtmlTreeSink::new(Html::new_document()), ParseOpts::default());
    let (mut rest, mut judged) = (content, 0);
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        parser.process(StrTendril::from(piece));
        rest = left;
        if since.elapsed() > within {
            return Err(MarkupError::TooSlow);
        }
        let page = parser.tokenizer.sink.sink.0.borrow();
        let nodes = page.tree.nodes();
        let count = nodes.len();
        let too_deep = |levels: usize| levels > MAX_DEPTH + OUTER_LEVELS;
        if count > SPARE_NODES + content.len()
            || nodes.rev().take(count - judged).any(|node| too_deep(node.ancestors().count()))
        {
            return Err(MarkupError::TooDeep);
        }
        judged = count;
    }
    Ok(parser.finish())
}

struct Walk<'a> {
    document: &'a mut Document,
    gathered: Gathered,
    /// How many `pre` are open.
    preformatted: usize,
    /// How many table rows are open.
    rows: usize,
}

impl Walk<'_> {
    /// Takes a node; whether its children count.
    fn enter(&mut self, node: &Node) -> bool {
        match node {
            Node::Text(text) if self.preformatted > 0 => self.gathered.text.push_str(text),
            Node::Text(text) => self.gathered.running_text(text),
            Node::Element(element) => return self.open(element),
            _ => {}
        }
        true
    }

    fn leave(&mut self, node: &Node) {
        if let Node::Element(element) = node
            && !is_unread(element)
        {
            self.close(element.name());
        }
    }

    fn open(&mut self, element: &Element) -> bool {
        if is_unread(element) {
            return false;
        }
        match element.name() {
            "br" => self.gathered.text.push('\n'),
            "td" | "th" if !self.gathered.text.trim().is_empty() => self.gathered.text.push_str(" | "),
            "ul" | "menu" => self.open_list(None),
            "ol" => self.open_list(Some(element.attr("start").and_then(|n| n.parse().ok()).unwrap_or(1))),
            "li" => {
                self.flush(BlockKind::Paragraph);
                self.gathered.begin_item();
            }
            "pre" => {
                self.flush(BlockKind::Paragraph);
                self.preformatted += 1;
            }
            "tr" => {
                self.flush(BlockKind::Paragraph);
                self.rows += 1;
            }
            name => self.part(name),
        }
        true
    }

    fn close(&mut self, name: &str) {
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.flush(BlockKind::Heading(name.as_bytes()[1] - b'0'));
            }
            "tr" => {
                self.rows = self.rows.saturating_sub(1);
                self.flush(BlockKind::TableRow);
            }
            "pre" => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.flush(BlockKind::Code);
            }
            "ul" | "ol" | "menu" => {
                self.flush(BlockKind::Paragraph);
                let _ = self.gathered.lists.pop();
            }
            "li" => {
                self.flush(BlockKind::Paragraph);
                self.gathered.end_item();
            }
            name => self.part(name),
        }
    }

    /// The edge of an element that stands on lines of its own, unless it is a part of a table's cell.
    fn part(&mut self, name: &str) {
        match name {
            "p" | "div" if self.rows > 0 => self.gathered.running_text(" "),
            name if ends_a_paragraph(name) => self.flush(BlockKind::Paragraph),
            _ => {}
        }
    }

    fn open_list(&mut self, first: Option<u64>) {
        self.flush(BlockKind::Paragraph);
        self.gathered.lists.push(first);
    }

    fn flush(&mut self, kind: BlockKind) {
        self.gathered.flush(self.document, kind);
    }
}

/// What a reader of the page does not read as its text.
fn is_unread(element: &Element) -> bool {
    let hidden = element.attr("hidden").is_some() || element.attr("aria-hidden") == Some("true");
    hidden
        || matches!(
            element.name(),
            "script"
                | "style"
                | "noscript"
                | "template"
                | "head"
                | "nav"
                | "svg"
                | "math"
                | "iframe"
                | "object"
                | "select"
                | "textarea"
                | "button"
                | "canvas"
        )
}

/// Elements that begin and end a line of their own.
fn ends_a_paragraph(name: &str) -> bool {
    matches!(
        name,
        "p" | "section"
            | "article"
            | "main"
            | "header"
            | "footer"
            | "aside"
            | "blockquote"
            | "figure"
            | "figcaption"
            | "dl"
            | "dt"
            | "dd"
            | "address"
            | "details"
            | "summary"
            | "hr"
            | "table"
            | "caption"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "div"
            | "form"
            | "fieldset"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_keeps_the_parser_busy_is_given_up() {
        let attributes: String = (0..MAX_ATTRIBUTES).map(|number| format!(" a{number}=1")).collect();
        let page = format!("<a{attributes}>x");
        assert!(matches!(parse(&page, Duration::ZERO), Err(MarkupError::TooSlow)));
        assert!(parse(&page, PARSED_WITHIN).is_ok());
        let page = format!("<a{attributes} one=more>x");
        assert!(matches!(parse(&page, PARSED_WITHIN), Err(MarkupError::TooManyAttributes)));
    }
}
