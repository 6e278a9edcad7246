//! An article kept as a file: Markdown, HTML or text, with its fields in front matter if it has any.
//!
//! ```text
//! ---
//! title: Returning an item
//! topic: returns
//! language: en
//! url: https://example.com/help/returns
//! ---
//! ```

use openclaw_actors::knowledge::markup::{self, BlockKind, Format};

/// What a file says about its article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArticleFile {
    /// Where the file stands, from the folder that is imported: what names the article from then on.
    pub external_id: String,
    /// As stated; else the first heading; else the file's name.
    pub title: String,
    /// As the file's ending says.
    pub format: Format,
    /// If stated.
    pub language: Option<String>,
    /// If stated.
    pub topic: Option<String>,
    /// If stated.
    pub url: Option<String>,
    /// What follows the front matter.
    pub content: String,
}

impl ArticleFile {
    /// Whether a file of this name holds an article.
    #[must_use]
    pub fn is_article(path: &str) -> bool {
        format_of(path).is_some()
    }

    /// Reads the file at `path`, which is relative to the folder that is imported and has `/` between its parts.
    /// `None` if its ending is not one of an article.
    #[must_use]
    pub fn parse(path: &str, text: &str) -> Option<Self> {
        let format = format_of(path)?;
        let text = text.trim_start_matches('\u{feff}');
        let (front, content) = if format == Format::Html { ("", text) } else { split_front_matter(text) };
        let stated = |name: &str| {
            front.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                let value = value.trim().trim_matches(['"', '\'']);
                (key.trim() == name && !value.is_empty()).then(|| value.to_owned())
            })
        };
        Some(Self {
            external_id: path.to_owned(),
            title: stated("title")
                .unwrap_or_else(|| first_heading(content, format).unwrap_or_else(|| stem(path))),
            format,
            language: stated("language"),
            topic: stated("topic"),
            url: stated("url"),
            content: content.to_owned(),
        })
    }
}

fn format_of(path: &str) -> Option<Format> {
    match path.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "md" | "markdown" => Some(Format::Markdown),
        "html" | "htm" => Some(Format::Html),
        "txt" => Some(Format::Text),
        _ => None,
    }
}

fn split_front_matter(text: &str) -> (&str, &str) {
    let fenced = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n"));
    let Some(fenced) = fenced else { return ("", text) };
    let mut at = 0;
    for line in fenced.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return (&fenced[..at], fenced[at + line.len()..].trim_start_matches(['\r', '\n']));
        }
        at += line.len();
    }
    ("", text)
}

fn first_heading(content: &str, format: Format) -> Option<String> {
    // What cannot be read is refused when it is written, with the reason.
    let document = markup::read(content, format).ok()?;
    let heading = document.blocks.iter().find(|block| matches!(block.kind, BlockKind::Heading(_)))?;
    document.text.get(heading.range.clone()).map(str::to_owned)
}

/// `orders/change-order.md` is about "change order".
fn stem(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name).replace(['-', '_'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_states_what_an_article_is() {
        let text = "---\r\ntitle: \"A: b\"\r\nother: x\r\ntopic: y\r\n---\r\n\r\nText.\n";
        let file = ArticleFile::parse("a/b.md", text).unwrap();
        assert_eq!((file.title.as_str(), file.topic.as_deref(), file.url), ("A: b", Some("y"), None));
        assert_eq!((file.content.as_str(), file.external_id.as_str()), ("Text.\n", "a/b.md"));
    }

    #[test]
    fn a_title_is_found_where_none_is_stated() {
        let title = |path, text| ArticleFile::parse(path, text).unwrap().title;
        assert_eq!(title("a.md", "Intro.\n\n# The *title*"), "The title");
        assert_eq!(title("a.htm", "<title>no</title><h2>Yes</h2>"), "Yes");
        assert_eq!(title("x/change-order.TXT", "---\nnot closed"), "change order");
    }

    #[test]
    fn other_files_are_no_articles() {
        for path in ["a.png", "README", "md", ".md.swp"] {
            assert_eq!(ArticleFile::parse(path, "x"), None, "{path}");
        }
    }
}
