//! Some lines of an import, decided and written together.

use super::actor::{Decision, Turn, arrival, decide};
use super::article::{Draft, StoredArticle};
use super::import::{Counts, Line};
use super::messages::{ArticleName, Change, KnowledgeError, WriteBatch};
use super::shelf::Arrival;
use super::sql;
use crate::clock::Timestamp;
use crate::ids::{ArticleId, OrgId};
use crate::writer::Op;

/// What the lines come down to.
pub(super) struct Batch {
    /// What the import counts after them.
    pub(super) counts: Counts,
    /// What the index takes in.
    pub(super) arrivals: Vec<Arrival>,
    /// What it loses.
    pub(super) gone: Vec<ArticleId>,
    written: Vec<StoredArticle>,
}

impl Batch {
    /// Looks at what is stored. No two lines name the same article.
    pub(super) async fn decide(turn: &Turn, message: &WriteBatch) -> Result<Self, KnowledgeError> {
        let counts = Counts { lines: message.counts.lines + message.lines.len() as i64, ..message.counts };
        let mut batch = Self { counts, arrivals: Vec::new(), gone: Vec::new(), written: Vec::new() };
        for line in &message.lines {
            match line {
                Line::Put(draft) => {
                    let stored = match turn.find(&name(line)).await? {
                        Some(stored) => Some(stored),
                        None => Self::exported(turn, line).await?,
                    };
                    batch.put(draft, stored, message.now);
                }
                Line::Delete(_) => match turn.find(&name(line)).await? {
                    Some(stored) => batch.delete(stored.article.id),
                    None => batch.counts.unchanged += 1,
                },
                Line::Refused(_) => batch.counts.refused += 1,
            }
        }
        for id in &message.unnamed.articles {
            let stored = turn.find(&ArticleName::Id(*id)).await?;
            let source = stored.and_then(|stored| stored.article.fields.source);
            if source.as_ref() == Some(&message.unnamed.source) {
                batch.delete(*id);
            }
        }
        Ok(batch)
    }

    /// An article without an external id is exported under its own, and comes back as itself.
    async fn exported(turn: &Turn, line: &Line) -> Result<Option<StoredArticle>, KnowledgeError> {
        let Some(id) = line.external_id().and_then(|name| name.parse().ok()) else { return Ok(None) };
        let stored = turn.find(&ArticleName::Id(id)).await?;
        Ok(stored.filter(|stored| stored.article.fields.external_id.is_none()))
    }

    fn put(&mut self, draft: &Draft, stored: Option<StoredArticle>, now: Timestamp) {
        let id = stored.as_ref().map_or_else(ArticleId::generate, |stored| stored.article.id);
        let (article, change, before) = match decide(id, draft, stored, now) {
            Decision::Nothing(_) => {
                self.counts.unchanged += 1;
                return;
            }
            Decision::Write(article, change, before) => (article, change, before),
        };
        match change {
            Change::Created => self.counts.created += 1,
            Change::Updated => self.counts.updated += 1,
            Change::Unchanged => self.counts.unchanged += 1,
        }
        let stored = StoredArticle { article, content: draft.content.clone() };
        self.arrivals.push(arrival(stored.clone(), draft.document.clone(), before));
        self.written.push(stored);
    }

    fn delete(&mut self, id: ArticleId) {
        self.counts.deleted += 1;
        self.gone.push(id);
    }

    /// Adds its rows, and what it makes of the import.
    pub(super) fn fill(&self, op: &mut Op, org: OrgId, head: i64, message: &WriteBatch) {
        let import = message.import.to_string();
        sql::imports::advance(op, org, message.import, &self.counts);
        for id in &self.gone {
            sql::delete(op, org, *id);
        }
        for stored in &self.written {
            sql::put(op, org, stored);
            sql::states::pending(op, org, head, &stored.article, &import);
        }
        for line in &message.lines {
            if let Line::Refused(error) = line {
                sql::imports::refuse(op, org, message.import, error);
            }
        }
    }
}

fn name(line: &Line) -> ArticleName {
    ArticleName::External(line.external_id().unwrap_or_default().to_owned())
}
