//! Answers of a language model, kept to be given again: popular questions cost one call instead of hundreds.
//!
//! Kept is only what was `answered`, with citations, to the first question of a conversation; nothing that rests on
//! what somebody said before. The key is everything that the model saw: the organization, the model, the instructions,
//! the question but for its case and blanks, and the passages with the versions of their articles. So a change of
//! knowledge needs no message to anybody: it makes another key. Similar questions are not the same question: at the
//! thresholds in use, one pair in six with different intents passes for equal.
//!
//! An answer leaves with the conversation that it was made in. Conversations are also erased by other processes, so
//! before an answer is given again the store is asked whether its conversation is still there.

mod sql;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tracing::warn;

use super::{Chunk, Finished, Outcome, Question, Speaker};
use crate::{
    ids::{ConversationId, OrgId},
    store::Store,
};

/// Answers kept, of all organizations. Behind the first thousand, questions hardly ever come twice.
const MOST: usize = 4_096;

/// Bytes of them, citations included.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// How a turn says that its answer was kept.
pub const EXACT: &str = "exact";

/// Everything that an answer depends on.
pub(super) type Key = [u8; 32];

/// The kept answers of this process. Cheap to clone.
#[derive(Clone)]
pub struct AnswerCache {
    store: Store,
    kept: Arc<Mutex<Kept>>,
}

/// An answer as it was given.
#[derive(Debug, Clone)]
struct Answer {
    org: OrgId,
    conversation: ConversationId,
    text: Arc<str>,
    finished: Finished,
    used: u64,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Key, Answer>,
    /// By last use, the oldest first.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

/// May an answer to this question be kept, or be one that was? Whoever asks again wants another one, and what belongs
/// to no conversation would never be erased.
pub(super) fn is_standalone(question: &Question) -> bool {
    question.stored && !question.repeats && question.said.iter().all(|said| said.by == Speaker::Customer)
}

/// The key of an answer that was made of these parts, in this order.
pub(super) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        // Its length before each: no two lists of parts are the same bytes.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl AnswerCache {
    /// Keeps nothing yet. `store` is asked whether conversations are still there.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, kept: Arc::default() }
    }

    /// The answer kept under `key`, as the chunks of one that costs nothing.
    pub(super) async fn get(&self, key: &Key) -> Option<[Chunk; 2]> {
        let answer = self.kept().find(key)?;
        match sql::exists(&self.store, answer.org, answer.conversation).await {
            Ok(true) => {}
            Ok(false) => {
                self.kept().forget(|kept| kept.conversation == answer.conversation);
                return None;
            }
            Err(error) => {
                warn!(%error, "a kept answer is not given, because the store is away");
                return None;
            }
        }
        let finished = Finished { cached: true, usage: super::Usage::default(), ..answer.finished };
        Some([Chunk::Text(answer.text.to_string()), Chunk::Done(finished)])
    }

    /// Keeps an answer if it is one to keep.
    pub(super) fn keep(&self, key: Key, question: &Question, text: &str, finished: &Finished) {
        if finished.outcome != Outcome::Answered || finished.citations.is_empty() {
            return;
        }
        let Question { org, conversation, .. } = *question;
        let answer = Answer { org, conversation, text: text.into(), finished: finished.clone(), used: 0 };
        self.kept().keep(key, answer);
    }

    /// Drops what was answered in a conversation that is being erased.
    pub fn forget(&self, conversation: ConversationId) {
        self.kept().forget(|answer| answer.conversation == conversation);
    }

    // What is kept is right after every statement.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AnswerCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerCache").field("answers", &self.kept().answers.len()).finish_non_exhaustive()
    }
}

impl Answer {
    fn bytes(&self) -> usize {
        let citations = self.finished.citations.iter();
        let cited =
            citations.map(|c| c.passage.len() + c.title.len() + c.url.as_ref().map_or(0, String::len));
        self.text.len() + cited.sum::<usize>()
    }
}

impl Kept {
    fn find(&mut self, key: &Key) -> Option<Answer> {
        self.uses += 1;
        let answer = self.answers.get_mut(key)?;
        self.by_use.remove(&answer.used);
        answer.used = self.uses;
        self.by_use.insert(answer.used, *key);
        Some(answer.clone())
    }

    fn keep(&mut self, key: Key, answer: Answer) {
        self.drop(&key);
        self.uses += 1;
        self.bytes += answer.bytes();
        self.by_use.insert(self.uses, key);
        self.answers.insert(key, Answer { used: self.uses, ..answer });
        while self.answers.len() > MOST || self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.drop(&oldest);
        }
    }

    fn forget(&mut self, goes: impl Fn(&Answer) -> bool) {
        let gone: Vec<Key> =
            self.answers.iter().filter(|(_, answer)| goes(answer)).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| self.drop(key));
    }

    fn drop(&mut self, key: &Key) {
        if let Some(answer) = self.answers.remove(key) {
            self.by_use.remove(&answer.used);
            self.bytes -= answer.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Usage;

    fn answer(conversation: ConversationId, length: usize) -> Answer {
        let finished = Finished {
            outcome: Outcome::Answered,
            citations: Vec::new(),
            confidence: None,
            usage: Usage::default(),
            model: String::new(),
            cached: false,
        };
        Answer { org: OrgId::generate(), conversation, text: "x".repeat(length).into(), finished, used: 0 }
    }

    fn numbered(number: usize) -> Key {
        key([&number.to_le_bytes()[..]])
    }

    #[test]
    fn the_longest_unused_leaves_first() {
        let mut kept = Kept::default();
        let conversation = ConversationId::generate();
        (0..MOST).for_each(|n| kept.keep(numbered(n), answer(conversation, 1)));
        assert!(kept.find(&numbered(0)).is_some());
        kept.keep(numbered(MOST), answer(conversation, 1));
        assert!(kept.find(&numbered(0)).is_some() && kept.find(&numbered(1)).is_none());
        kept.keep(numbered(7_777_777), answer(conversation, MOST_BYTES));
        assert_eq!((kept.answers.len(), kept.by_use.len(), kept.bytes), (1, 1, MOST_BYTES));
    }

    #[test]
    fn an_erased_conversation_takes_its_answers_along() {
        let mut kept = Kept::default();
        let (erased, other) = (ConversationId::generate(), ConversationId::generate());
        kept.keep(numbered(1), answer(erased, 5));
        kept.keep(numbered(2), answer(other, 7));
        kept.forget(|answer| answer.conversation == erased);
        assert_eq!((kept.answers.len(), kept.by_use.len(), kept.bytes), (1, 1, 7));
        assert!(kept.find(&numbered(1)).is_none());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(key([&b"ab"[..], b"c"]), key([&b"a"[..], b"bc"]));
    }
}
