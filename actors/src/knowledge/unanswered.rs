//! Questions that were not answered, like ones counted together.
//!
//! Two questions are alike if the stems of their words are the same set: capitals, punctuation, accents, order and
//! repetition make no difference, nor do stop words, unless a question is made of nothing else. The rules are those of
//! the conversation's language, else of the one detected.

use sha2::{Digest, Sha256};

use super::analysis::{Analyser, fold};
use super::handle::Knowledge;
use super::language::Language;
use super::messages::KnowledgeError;
use super::sql::{self, unanswered::Unanswered};
use crate::ids::OrgId;
use crate::writer::Op;

/// Questions read in one commit. Each is read once, when somebody first looks after it was asked.
const READ_AT_ONCE: i64 = 200;

impl Knowledge {
    /// What customers of `org` asked in vain, behind a count and a likeness, most asked first unless `ascending`.
    ///
    /// # Errors
    /// The store is away.
    pub async fn unanswered(
        &self,
        org: OrgId,
        after: Option<(i64, String)>,
        ascending: bool,
        limit: i64,
    ) -> Result<Vec<Unanswered>, KnowledgeError> {
        loop {
            let unread = sql::unanswered::unread(self.store(), org, READ_AT_ONCE).await?;
            if unread.is_empty() {
                break;
            }
            let mut op = Op::default();
            for unread in &unread {
                let language = unread.language.as_deref().and_then(Language::parse);
                sql::unanswered::note(&mut op, unread, &likeness(&unread.content, language));
            }
            self.writer().commit(op).await?;
        }
        Ok(sql::unanswered::list(self.store(), org, after, ascending, limit).await?)
    }
}

/// What like questions have in common: a hash, so that the words stand in the message alone.
fn likeness(question: &str, language: Option<Language>) -> String {
    let language = language.or_else(|| Language::detect(question)).unwrap_or(Language::DEFAULT);
    let analyser = Analyser::of(language);
    let words = analyser.words(question);
    let telling = words.iter().any(|word| !word.is_stop);
    let mut stems: Vec<_> = words
        .iter()
        .filter(|word| !telling || !word.is_stop)
        .map(|word| analyser.stem(&word.written))
        .collect();
    stems.sort_unstable();
    stems.dedup();
    let mut hash = Sha256::new();
    stems.iter().for_each(|stem| hash.update(stem.to_be_bytes()));
    if stems.is_empty() {
        hash.update(fold(&question.trim().to_lowercase()));
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: &str, other: &str) -> bool {
        likeness(one, Some(Language::English)) == likeness(other, Some(Language::English))
    }

    #[test]
    fn questions_that_say_the_same_are_alike() {
        assert!(alike("Do you sell boats?", "  DO YOU SELL A BOAT "));
        assert!(alike("boats: sold?", "Sold boat"));
        assert!(alike("Why?", "why"));
        assert!(alike("???", "???"));
    }

    #[test]
    fn questions_about_other_things_are_not() {
        assert!(!alike("Do you sell boats?", "Do you sell planes?"));
        assert!(!alike("why", "when"));
        assert!(!alike("???", "!!!"));
    }
}
