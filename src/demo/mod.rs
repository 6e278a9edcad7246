//! What `openclaw-server demo` shows: the help pages of a web shop that does not exist.

pub mod shop;
#[cfg(test)]
mod tests;

use rust_embed::Embed;

use crate::article_file::ArticleFile;

#[derive(Embed)]
#[folder = "src/demo/knowledge"]
struct Pages;

/// The articles of the demonstration.
pub fn articles() -> impl Iterator<Item = ArticleFile> {
    Pages::iter().filter_map(|path| {
        let page = Pages::get(&path)?;
        ArticleFile::parse(&path, str::from_utf8(&page.data).ok()?)
    })
}

/// A question that the articles answer.
pub const KNOWN_QUESTION: &str = "How long does delivery take?";

/// A question that they do not.
pub const UNKNOWN_QUESTION: &str = "How do I bake sourdough bread?";
