//! Vectors of passages and questions, by which what says the same in other words is found; optional.
//!
//! An article is found by its words at once. Its vectors come after: `background` looks for articles without, asks the
//! [`endpoint`](Embeddings) for them, some at a time, stores them, and puts them beside the article in the index. What is
//! missing is what the store says is missing, so that nothing is lost by a crash and nothing is done twice; a model by
//! another name makes all of it missing. A question asks for its own vector and waits so long, no longer.
//!
//! Decisions where the contract is silent:
//! - Vectors decide only the order of what is found. How sure an answer is stays a matter of words ([`super::index`]),
//!   because that was measured, and no measure holds for every model.
//! - An article whose vectors are not there yet is taken to be as near in meaning as it is in words, so that it neither
//!   gains nor loses by it.
//! - Texts are sent as they stand behind title and headings, cut at [`LONGEST_TEXT`] characters.

mod background;
mod endpoint;
mod queue;
mod vectors;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub(super) use self::{background::run, queue::Noted};
pub use self::{
    endpoint::{Embeddings, Meaning, Settings},
    vectors::{Digest, MOST_DIMENSIONS, Vector, Vectors},
};
use super::article::Entry;
use crate::upstream::Failure;

/// Characters of a text that is embedded: some 500 tokens, which is what small models take, and two and a half times a
/// long passage.
pub const LONGEST_TEXT: usize = 2_000;

/// What is embedded of each passage; empty where it says nothing.
#[must_use]
pub fn texts(entry: &Entry) -> Vec<String> {
    let title = entry.article.fields.title.trim();
    let text = |passage| {
        let headings = entry.passages.headings_of(passage, &entry.text);
        let named = std::iter::once(title).chain(headings.into_iter().filter(|heading| *heading != title));
        let lines = named.chain([passage.text(&entry.text).trim()]).filter(|line| !line.is_empty());
        let text = lines.collect::<Vec<_>>().join("\n");
        text.chars().take(LONGEST_TEXT).collect()
    };
    entry.passages.iter().map(text).collect()
}

impl Embeddings {
    /// The vectors of an article's passages, to measure what they gain; none of one that says nothing.
    ///
    /// # Errors
    /// The endpoint cannot be reached, refuses, or answers with something else.
    pub async fn of_article(&self, entry: &Entry) -> Result<Option<Arc<Vectors>>, Failure> {
        let texts = texts(entry);
        let said: Vec<String> = texts.iter().filter(|text| !text.is_empty()).cloned().collect();
        let mut made = Vec::with_capacity(said.len());
        for batch in said.chunks(self.settings.batch.max(1)) {
            made.extend(self.of_passages(batch).await?);
        }
        let mut made = made.into_iter();
        let vectors: Vec<_> =
            texts.iter().map(|text| if text.is_empty() { None } else { made.next() }).collect();
        Ok(Vectors::of(digest(&texts), &vectors).filter(|_| !said.is_empty()).map(Arc::new))
    }
}

/// What the texts are known by.
#[must_use]
pub(super) fn digest(texts: &[String]) -> Digest {
    let mut sha = Sha256::new();
    for text in texts {
        sha.update((text.len() as u64).to_le_bytes());
        sha.update(text);
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(&sha.finalize()[..size_of::<Digest>()]);
    digest
}
