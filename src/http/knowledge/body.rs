//! What an author sends.

use std::collections::BTreeMap;

use openclaw_actors::{
    knowledge::{
        article::{Fields, StoredArticle},
        markup::Format,
    },
    patch::{Change, InvalidField, text},
};
use serde::Deserialize;

use super::LONGEST_EXTERNAL_ID;

const LONGEST_SOURCE: usize = 255;
const LONGEST_TITLE: usize = 1000;
const LONGEST_TOPIC: usize = 255;
const LONGEST_URL: usize = 2048;
const LONGEST_LANGUAGE: usize = 35;

const MOST_METADATA: usize = 16;
const LONGEST_METADATA_KEY: usize = 64;
const LONGEST_METADATA_VALUE: usize = 512;

/// The body of POST and PUT.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArticleBody {
    external_id: Option<String>,
    source: Option<String>,
    #[serde(default)]
    title: String,
    content: String,
    format: Option<String>,
    language: Option<String>,
    topic: Option<String>,
    url: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    published: Option<bool>,
}

impl ArticleBody {
    /// The fields and the content.
    ///
    /// # Errors
    /// A field is not possible.
    pub fn read(self) -> Result<(Fields, String), InvalidField> {
        let fields = Fields {
            external_id: self.external_id.map(external_id).transpose()?,
            source: self.source.map(source).transpose()?,
            title: title(self.title)?,
            format: self.format.map_or(Ok(Format::Markdown), format)?,
            language: self.language.map_or(Ok(String::new()), language)?,
            topic: self.topic.map(topic).transpose()?,
            url: self.url.map(url).transpose()?,
            metadata: self.metadata.map_or(Ok(BTreeMap::new()), metadata)?,
            published: self.published.unwrap_or(true),
        };
        Ok((fields, content(self.content)?))
    }
}

/// The body of PATCH.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArticlePatch {
    external_id: Change<String>,
    source: Change<String>,
    title: Change<String>,
    content: Change<String>,
    format: Change<String>,
    language: Change<String>,
    topic: Change<String>,
    url: Change<String>,
    metadata: Change<BTreeMap<String, Option<String>>>,
    published: Change<bool>,
}

/// A patch whose every field is possible.
#[derive(Debug, Clone)]
pub(super) struct ReadPatch {
    external_id: Change<String>,
    source: Change<String>,
    title: Change<String>,
    content: Change<String>,
    format: Change<Format>,
    language: Change<String>,
    topic: Change<String>,
    url: Change<String>,
    metadata: Change<BTreeMap<String, Option<String>>>,
    published: Change<bool>,
}

impl ArticlePatch {
    /// What it changes.
    ///
    /// # Errors
    /// A field is not possible.
    pub(super) fn read(self) -> Result<ReadPatch, InvalidField> {
        if self.content == Change::Reset {
            return Err(InvalidField::new("content", "must be there"));
        }
        Ok(ReadPatch {
            external_id: self.external_id.try_map(external_id)?,
            source: self.source.try_map(source)?,
            title: self.title.try_map(title)?,
            content: self.content.try_map(content)?,
            format: self.format.try_map(format)?,
            language: self.language.try_map(language)?,
            topic: self.topic.try_map(topic)?,
            url: self.url.try_map(url)?,
            metadata: self.metadata,
            published: self.published,
        })
    }
}

impl ReadPatch {
    /// Whether the text stays as it is, and so need not be read again.
    pub(super) fn keeps_text(&self) -> bool {
        self.content == Change::Keep && self.format == Change::Keep && self.language != Change::Reset
    }

    /// The article as it becomes.
    ///
    /// # Errors
    /// There is more metadata than an article may have.
    pub(super) fn apply(self, stored: StoredArticle) -> Result<(Fields, String), InvalidField> {
        let StoredArticle { article, content } = stored;
        let present = article.fields;
        let optional = |change: Change<String>, present: Option<String>| match change {
            Change::Keep => present,
            Change::Reset => None,
            Change::Set(value) => Some(value),
        };
        let fields = Fields {
            external_id: optional(self.external_id, present.external_id),
            source: optional(self.source, present.source),
            title: self.title.apply(present.title, String::new()),
            format: self.format.apply(present.format, Format::Markdown),
            // Null asks to detect it again.
            language: self.language.apply(present.language, String::new()),
            topic: optional(self.topic, present.topic),
            url: optional(self.url, present.url),
            metadata: merged(self.metadata, present.metadata)?,
            published: self.published.apply(present.published, true),
        };
        Ok((fields, self.content.apply(content, String::new())))
    }
}

/// A merge patch reaches into metadata: null takes a pair away.
fn merged(
    change: Change<BTreeMap<String, Option<String>>>,
    mut present: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, InvalidField> {
    match change {
        Change::Keep => return Ok(present),
        Change::Reset => return Ok(BTreeMap::new()),
        Change::Set(changes) => {
            for (key, value) in changes {
                match value {
                    Some(value) => present.insert(key, value),
                    None => present.remove(&key),
                };
            }
        }
    }
    metadata(present)
}

/// An external id, from a body or a path.
///
/// # Errors
/// It is empty or too long.
pub(super) fn external_id(value: String) -> Result<String, InvalidField> {
    if value.is_empty() {
        return Err(InvalidField::new("external_id", "must not be empty"));
    }
    up_to("external_id", value, LONGEST_EXTERNAL_ID)
}

pub(super) fn source(value: String) -> Result<String, InvalidField> {
    up_to("source", value, LONGEST_SOURCE)
}

fn title(value: String) -> Result<String, InvalidField> {
    up_to("title", value, LONGEST_TITLE)
}

fn topic(value: String) -> Result<String, InvalidField> {
    up_to("topic", value, LONGEST_TOPIC)
}

fn content(value: String) -> Result<String, InvalidField> {
    if value.trim().is_empty() {
        return Err(InvalidField::new("content", "must not be empty"));
    }
    Ok(value)
}

fn format(name: String) -> Result<Format, InvalidField> {
    Format::parse(&name).ok_or_else(|| InvalidField::new("format", "must be markdown, html or text"))
}

/// A tag such as `nl` or `pt-BR`, its first part in lower case.
fn language(tag: String) -> Result<String, InvalidField> {
    let mut parts = tag.split('-');
    let first = parts.next().unwrap_or_default();
    let is_tag = (2..=8).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if !is_tag || tag.len() > LONGEST_LANGUAGE {
        return Err(InvalidField::new("language", "must be a language tag such as nl or pt-BR"));
    }
    Ok(format!("{}{}", first.to_ascii_lowercase(), &tag[first.len()..]))
}

/// Pages show it as a link, so it must be one that a browser opens and not one that it runs.
fn url(value: String) -> Result<String, InvalidField> {
    let is_link = ["https://", "http://", "/"].iter().any(|start| value.starts_with(start));
    if !is_link || value.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(InvalidField::new("url", "must begin with https://, http:// or /"));
    }
    up_to("url", value, LONGEST_URL)
}

fn metadata(pairs: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, InvalidField> {
    if pairs.len() > MOST_METADATA {
        return Err(InvalidField::new("metadata", format!("must hold at most {MOST_METADATA} pairs")));
    }
    for (key, value) in &pairs {
        text("metadata", key, LONGEST_METADATA_KEY)?;
        text("metadata", value, LONGEST_METADATA_VALUE)?;
    }
    Ok(pairs)
}

fn up_to(param: &'static str, value: String, longest: usize) -> Result<String, InvalidField> {
    text(param, &value, longest)?;
    Ok(value)
}
