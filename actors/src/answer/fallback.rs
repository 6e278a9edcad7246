//! Several models for one answer: the first that begins it gives all of it.
//!
//! A model that fails before its first text has shown nothing, so the next is asked. After the first text a failure is
//! the answer's: customers have read the beginning, and another model would begin anew.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tracing::info;

use super::{AnswerError, AnswerStream, Chunk, Model, Question};

struct Chain {
    models: Arc<[Model]>,
    /// How many of them may be asked.
    preferred: usize,
    /// The one that is being asked.
    at: usize,
    question: Question,
    answer: AnswerStream,
    begun: bool,
}

/// Asks the first `preferred` of the models, which are at least one, until one begins to answer.
pub(super) fn first_that_begins(models: Arc<[Model]>, preferred: usize, question: &Question) -> AnswerStream {
    let answer = models[0].answer(question);
    let chain = Chain { models, preferred, at: 0, question: question.clone(), answer, begun: false };
    stream::unfold(chain, |mut chain| async move { Some((chain.next().await?, chain)) }).boxed_local()
}

impl Chain {
    async fn next(&mut self) -> Option<Result<Chunk, AnswerError>> {
        loop {
            let item = self.answer.next().await;
            let Some(Err(error)) = &item else {
                self.begun = true;
                return item;
            };
            if self.begun || self.at + 1 == self.preferred {
                return item;
            }
            let failed = self.models[self.at].name();
            self.at += 1;
            let next = &self.models[self.at];
            info!(conversation.id = %self.question.conversation, model = failed, code = error.code, next = next.name(),
                "another model is asked");
            self.answer = next.answer(&self.question);
        }
    }
}
