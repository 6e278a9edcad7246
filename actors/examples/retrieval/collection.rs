//! Reading a collection, and searching it as the server would.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use openclaw_actors::clock::Timestamp;
use openclaw_actors::ids::ArticleId;
use openclaw_actors::knowledge::article::{Article, Entry, Fields};
use openclaw_actors::knowledge::embeddings::Meaning;
use openclaw_actors::knowledge::index::{Hit, Index, Prepared, Query};
use openclaw_actors::knowledge::language::Language;
use openclaw_actors::knowledge::markup::{Block, BlockKind, Document, Format};
use serde_json::Value;

use super::Failure;

/// Ranks that count.
pub(super) const DEPTH: usize = 10;

#[derive(Default)]
pub(super) struct Collection {
    pub(super) name: String,
    pub(super) language: Option<Language>,
    /// It is searched with the index that takes less memory.
    lean: bool,
    pub(super) articles: Vec<Source>,
    /// Those that begin a conversation, and all of a collection without turns.
    pub(super) questions: Vec<Question>,
    pub(super) follow_ups: Vec<Question>,
}

/// An article as it stands in the file.
pub(super) struct Source {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) text: String,
}

pub(super) struct Question {
    /// What was asked, the question itself last.
    pub(super) turns: Vec<String>,
    pub(super) relevant: Vec<String>,
}

impl Collection {
    pub(super) fn read(path: &Path, language: Option<Language>, most: usize) -> Result<Self, Failure> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let articles = rows(&path.join("docs.jsonl"))?;
        let articles = articles.iter().map(|row| Source {
            id: text(&row["id"]),
            title: text(&row["title"]),
            text: text(&row["text"]),
        });
        let (mut questions, mut follow_ups) = (Vec::new(), Vec::new());
        for row in rows(&path.join("queries.jsonl"))? {
            let said = row["history"].as_array().into_iter().flatten();
            let mut turns: Vec<String> =
                said.filter_map(|turn| turn.as_str()?.strip_prefix("user:").map(str::to_owned)).collect();
            turns.push(text(&row["text"]));
            let relevant = row["relevant"].as_array().into_iter().flatten().map(text).collect();
            let is_first = row["turn"].as_u64().is_none_or(|turn| turn == 1);
            let part = if is_first { &mut questions } else { &mut follow_ups };
            part.push(Question { turns, relevant });
        }
        let (questions, follow_ups) = (spread(questions, most), spread(follow_ups, most));
        Ok(Self { name, language, lean: false, articles: articles.collect(), questions, follow_ups })
    }

    pub(super) fn searched(self, lean: bool) -> Self {
        Self { lean, ..self }
    }

    /// Its questions, in one row or two.
    pub(super) fn parts(&self) -> Vec<(String, &[Question])> {
        let follow_ups = (format!("{} follow", self.name), &self.follow_ups[..]);
        let parts = [(self.name.clone(), &self.questions[..]), follow_ups];
        parts.into_iter().filter(|(_, questions)| !questions.is_empty()).collect()
    }
}

/// So many of the questions, evenly spread.
fn spread(mut questions: Vec<Question>, most: usize) -> Vec<Question> {
    if most < questions.len() {
        let step = questions.len() as f64 / most as f64;
        let kept: Vec<usize> = (0..most).map(|n| (n as f64 * step) as usize).collect();
        let mut at = 0;
        questions.retain(|_| {
            at += 1;
            kept.binary_search(&(at - 1)).is_ok()
        });
    }
    questions
}

/// Articles that can be searched.
pub(super) struct Articles {
    pub(super) index: Index,
    names: HashMap<ArticleId, String>,
    language: Option<Language>,
}

impl Articles {
    pub(super) fn of(collection: &Collection, wanted: impl Fn(&str) -> bool) -> Self {
        let mut index = if collection.lean { Index::lean() } else { Index::default() };
        let mut names = HashMap::new();
        for source in collection.articles.iter().filter(|source| wanted(&source.id)) {
            let id = ArticleId::generate();
            names.insert(id, source.id.clone());
            index.put(&Prepared::of(Arc::new(entry(source, id, collection.language))), None);
        }
        Self { index, names, language: collection.language }
    }

    pub(super) fn search(&self, turns: &[String]) -> Vec<Hit> {
        self.search_by(turns, None)
    }

    pub(super) fn search_by(&self, turns: &[String], meaning: Option<&Meaning>) -> Vec<Hit> {
        let query =
            Query { turns: turns.to_vec(), language: self.language, limit: DEPTH, ..Query::default() };
        match meaning {
            Some(meaning) => self.index.search_by_meaning(&query, meaning),
            None => self.index.search(&query),
        }
    }

    /// Those that are indexed.
    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.names.keys().filter_map(|id| self.index.get(*id)).map(Arc::clone).collect()
    }

    pub(super) fn name(&self, hit: &Hit) -> &str {
        &self.names[&hit.entry.article.id]
    }
}

fn entry(source: &Source, id: ArticleId, language: Option<Language>) -> Entry {
    let language = language.unwrap_or_else(|| Language::of_article(&source.title, &source.text));
    let fields = Fields {
        external_id: None,
        source: None,
        title: source.title.clone(),
        format: Format::Text,
        language: language.code().to_owned(),
        topic: None,
        url: None,
        metadata: BTreeMap::new(),
        published: true,
    };
    let now = Timestamp(0);
    let article = Article { id, version: 1, fields, created_at: now, updated_at: now };
    Entry::of(Arc::new(article), document(source.text.clone()))
}

fn document(text: String) -> Document {
    let mut blocks = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        let shown = line.trim_start_matches('#').trim();
        let at = start + line.find(shown).unwrap_or_default();
        let kind = if level > 0 { BlockKind::Heading(level.min(6) as u8) } else { BlockKind::Paragraph };
        if !shown.is_empty() {
            blocks.push(Block { kind, range: at..at + shown.len() });
        }
        start += line.len();
    }
    Document { text, blocks }
}

fn rows(path: &Path) -> Result<Vec<Value>, Failure> {
    let file = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    file.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
