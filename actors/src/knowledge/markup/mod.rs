//! What a person reads in an article: Markdown, HTML or plain text becomes blocks of one text.
//!
//! Passages, citations and the offsets the API counts all refer to that text, so parsing the same content
//! must give the same text for ever.

mod attributes;
mod blocks;
mod html;
mod markdown;
#[cfg(test)]
mod tests;

pub use blocks::{Block, BlockKind, Document};

/// How deeply HTML or Markdown may nest. People need a dozen levels; parsers slow down quadratically, so
/// what is deeper is an attack or a mistake.
pub const MAX_DEPTH: usize = 256;

/// How many attributes a tag may have. Pages have a few dozen at most, and a parser compares each with all before it.
pub const MAX_ATTRIBUTES: usize = 500;

/// How an article's content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// CommonMark with tables.
    Markdown,
    /// A page or a part of one. Only its text is kept.
    Html,
    /// Paragraphs between empty lines. Its text is the content, character for character.
    Text,
}

impl Format {
    /// The format called `name` in the API.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Markdown, Self::Html, Self::Text].into_iter().find(|format| format.as_str() == name)
    }

    /// Its name in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Text => "text",
        }
    }
}

/// Why content was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MarkupError {
    /// No text field takes NUL.
    #[error("the content has a NUL character")]
    Nul,
    /// Nested deeper than [`MAX_DEPTH`], or built to make a parser multiply it.
    #[error("the content is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A tag has more than [`MAX_ATTRIBUTES`].
    #[error("a tag of the content has more than {MAX_ATTRIBUTES} attributes")]
    TooManyAttributes,
    /// Built to keep a parser busy.
    #[error("the content takes too long to read")]
    TooSlow,
}

/// Reads `content`.
pub fn read(content: &str, format: Format) -> Result<Document, MarkupError> {
    if content.contains('\0') {
        return Err(MarkupError::Nul);
    }
    match format {
        Format::Markdown => markdown::read(content),
        Format::Html => html::read(content),
        Format::Text => Ok(Document::of_plain_text(content)),
    }
}
