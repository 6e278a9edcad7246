//! The `openai` provider: any endpoint that speaks OpenAI's `/chat/completions`, streamed.
//!
//! The question goes out with the passages that the search finds for it (`prompt`); what comes back is read under
//! four deadlines ([`endpoint::Deadlines`]), its `[n]` become citations (`marks`). Until the first text a failure is
//! tried again and then left to the next provider; after it the answer fails. An upstream that keeps
//! failing is not asked for a while. What it has in common with other upstreams is in `upstream`.
//!
//! Decisions where the contract is silent:
//! - Small talk goes to the model as well: it answers a greeting in any language and in its context. It cites nothing,
//!   so its outcome is `unanswered`.
//! - "Nothing was found" for `strict_grounding` is what the builtin answerer calls it: no article above the
//!   organization's `suggest_threshold`. Then it answers, and the upstream is not called.
//! - Text alone counts as a token. Comments, empty pieces and a model's reasoning extend no deadline.
//! - An answer from the cache ([`super::cache`]) has used no tokens, and its turn says `"cache": "exact"`.
//! - The number of tokens, where the upstream does not tell, is a quarter of the characters.

mod asking;
mod chunk;
mod endpoint;
mod failure;
mod marks;
mod prompt;
mod reading;
mod sse;

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

pub use self::endpoint::{Deadlines, Endpoint, Settings};
use super::{AnswerError, AnswerStream, Question, cache::AnswerCache};
pub use crate::upstream::{ApiKey, BaseUrl, FAILURES_TO_OPEN, Failure, Kind, OPEN_FOR};
use crate::{
    ids::ConversationId, knowledge::Knowledge, organization::Organizations, upstream::breaker::Breaker,
};

/// An endpoint as a model that can be asked. Cheap to clone; clones share the breaker.
#[derive(Debug, Clone)]
pub struct OpenAi(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    knowledge: Knowledge,
    organizations: Organizations,
    /// `None` where it is switched off.
    cache: Option<AnswerCache>,
    breaker: Arc<Breaker>,
    usage: UsageOption,
}

impl OpenAi {
    /// Asks for nothing yet.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        knowledge: Knowledge,
        organizations: Organizations,
        cache: Option<AnswerCache>,
    ) -> Self {
        let (breaker, usage) = (Arc::default(), UsageOption::default());
        Self(Arc::new(Shared { endpoint, knowledge, organizations, cache, breaker, usage }))
    }

    /// Drops what was kept of a conversation that is being erased.
    pub(super) fn forget(&self, conversation: ConversationId) {
        if let Some(cache) = &self.0.cache {
            cache.forget(conversation);
        }
    }

    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.endpoint.settings.model
    }

    /// Answers from the articles of the question's organization.
    #[must_use]
    pub fn answer(&self, question: &Question) -> AnswerStream {
        asking::answer(self, question)
    }

    /// Tells a colleague in a few sentences what was said.
    ///
    /// # Errors
    /// The model did not answer.
    pub(super) async fn summarise(&self, question: Question) -> Result<String, AnswerError> {
        asking::summarise(self.clone(), question).await
    }
}

/// Whether the upstream takes `stream_options`, without which it does not tell the number of tokens. Some refuse what
/// they do not know with 400; so until it has been taken once, a 400 is tried once more without it.
#[derive(Debug, Default)]
struct UsageOption(AtomicU8);

const UNKNOWN: u8 = 0;
const TAKEN: u8 = 1;
const REFUSED: u8 = 2;

impl UsageOption {
    fn is_sent(&self) -> bool {
        self.0.load(Ordering::Relaxed) != REFUSED
    }

    fn may_be_why(&self) -> bool {
        self.0.load(Ordering::Relaxed) == UNKNOWN
    }

    /// A request with or without it was answered.
    fn learn(&self, sent: bool) {
        let known = if sent { TAKEN } else { REFUSED };
        // What was learnt first stays.
        let _ = self.0.compare_exchange(UNKNOWN, known, Ordering::Relaxed, Ordering::Relaxed);
    }
}
