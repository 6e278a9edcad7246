//! What `openclaw-server demo` shows: the help pages of a web shop that does not exist.

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
