//! A client of the OpenAI dialect: chunks of a chat completion, checked as far as the dialect tells.

use std::{borrow::Cow, time::Instant};

use openclaw_actors::answer::synthetic;
use serde::Deserialize;
use tokio::time::timeout;

use super::{ANSWERED_WITHIN, Client, too_slow};
use crate::cli::bench::{
    answer::{Fault, Seen},
    blocks::Block,
    tally::{Failure, Took},
};

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default)]
    id: &'a str,
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
    usage: Option<Usage>,
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
    finish_reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    role: Option<&'a str>,
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Usage {
    completion_tokens: usize,
}

#[derive(Deserialize)]
struct Refused {
    message: String,
}

/// How far a completion has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Begins,
    Speaks,
    Finished,
    Counted,
    Done,
}

/// A completion, followed chunk by chunk. The dialect has no positions, so that nothing was lost or doubled shows in
/// its words: so many as the usage says, in an order of roles and ends that is the dialect's, and of the synthetic model
/// each a word that it knows.
#[derive(Debug, Default)]
pub(super) struct Completion {
    id: String,
    text: String,
    stage: Stage,
    tokens: usize,
}

impl Completion {
    fn begin(&mut self) {
        self.id.clear();
        self.text.clear();
        (self.stage, self.tokens) = (Stage::Begins, 0);
    }

    /// Takes the next chunk.
    fn take(&mut self, block: &Block<'_>) -> Result<Seen, Failure> {
        if self.stage == Stage::Done {
            return Err(Fault::AfterEnd("a chunk".to_owned()).into());
        }
        if block.data == "[DONE]" {
            let is_due = self.stage == Stage::Counted;
            self.stage = Stage::Done;
            return if is_due { Ok(Seen::End) } else { Err(Fault::NoEnd.into()) };
        }
        let chunk: Chunk<'_> = serde_json::from_str(block.data).map_err(|_| Fault::Unreadable)?;
        if let Some(Refused { message }) = chunk.error {
            return Err(Failure::error("turn_failed", &message));
        }
        if self.id.is_empty() {
            self.id.push_str(chunk.id);
        } else if self.id != chunk.id {
            return Err(Fault::Astray("a chunk".to_owned()).into());
        }
        match (chunk.choices.as_slice(), chunk.usage) {
            ([choice], None) => self.choice(choice),
            ([], Some(usage)) if self.stage == Stage::Finished => {
                (self.stage, self.tokens) = (Stage::Counted, usage.completion_tokens);
                Ok(Seen::Event)
            }
            _ => Err(Fault::Astray("a chunk".to_owned()).into()),
        }
    }

    fn choice(&mut self, choice: &Choice<'_>) -> Result<Seen, Failure> {
        let text = choice.delta.content.as_deref().unwrap_or_default();
        match (self.stage, choice.delta.role) {
            (Stage::Begins, Some("assistant")) => self.stage = Stage::Speaks,
            (Stage::Speaks, None) => {}
            _ => return Err(Fault::Astray("a chunk".to_owned()).into()),
        }
        self.text.push_str(text);
        if choice.finish_reason.is_some() {
            self.stage = Stage::Finished;
        }
        Ok(if text.is_empty() { Seen::Event } else { Seen::Text })
    }

    fn words(&self) -> usize {
        self.text.split_whitespace().count()
    }

    /// `expected` words of the synthetic model, where that is who answers.
    fn check_whole(&self, expected: Option<usize>) -> Result<(), Fault> {
        if self.stage != Stage::Done {
            return Err(Fault::NoEnd);
        }
        let Some(expected) = expected else { return Ok(()) };
        if self.words() != expected || self.tokens != expected {
            return Err(Fault::Words { expected, got: self.words() });
        }
        match self.text.split_whitespace().all(synthetic::is_word) {
            true => Ok(()),
            false => Err(Fault::OtherText),
        }
    }
}

impl Client {
    /// Asks for a completion by that request. Waits count from `since`.
    pub(in crate::cli::bench) async fn complete(
        &mut self,
        request: &[u8],
        since: Instant,
    ) -> Result<Took, Failure> {
        self.waits.begin(since);
        self.completion.begin();
        let read = timeout(ANSWERED_WITHIN, self.read_completion(request)).await;
        self.settle(read.unwrap_or_else(|_| Err(too_slow())))
    }

    async fn read_completion(&mut self, request: &[u8]) -> Result<Took, Failure> {
        let status = self.ask(request).await?;
        if status != 200 {
            return Err(self.refused(status).await);
        }
        self.blocks.clear();
        while self.read_piece().await? {
            let now = Instant::now();
            while let Some(block) = self.blocks.next().map_err(Fault::from)? {
                let seen = self.completion.take(&block)?;
                self.waits.saw(&seen, now);
            }
        }
        self.completion.check_whole(self.target.words)?;
        Ok(Took {
            first_token: self.waits.first_token,
            completion: self.waits.end.unwrap_or_default(),
            words: self.completion.words(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn chunk(delta: &Value, finish: Option<&str>) -> String {
        json!({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": null})
            .to_string()
    }

    fn honest() -> Vec<String> {
        vec![
            chunk(&json!({"role": "assistant", "content": ""}), None),
            chunk(&json!({"content": "the parcel"}), None),
            chunk(&json!({"content": " is"}), None),
            chunk(&json!({}), Some("stop")),
            json!({"id": "c", "choices": [], "usage": {"completion_tokens": 3}}).to_string(),
            "[DONE]".to_owned(),
        ]
    }

    fn read(chunks: &[String]) -> Result<(), Failure> {
        let mut completion = Completion::default();
        for data in chunks {
            completion.take(&Block { kind: "message", id: None, data, retry: None })?;
        }
        Ok(completion.check_whole(Some(3))?)
    }

    #[test]
    fn a_completion_is_whole_in_its_own_order_alone() {
        assert_eq!(read(&honest()), Ok(()));
        for left_out in 0..honest().len() {
            let mut chunks = honest();
            chunks.remove(left_out);
            assert!(matches!(read(&chunks), Err(Failure::Wrong(_))), "without chunk {left_out}");
        }
        for doubled in 0..honest().len() {
            let mut chunks = honest();
            chunks.insert(doubled, chunks[doubled].clone());
            assert!(matches!(read(&chunks), Err(Failure::Wrong(_))), "chunk {doubled} twice");
        }
    }

    #[test]
    fn words_that_the_model_does_not_know_are_wrong() {
        let mut chunks = honest();
        chunks[2] = chunk(&json!({"content": " iz"}), None);
        assert_eq!(read(&chunks), Err(Fault::OtherText.into()));
    }

    #[test]
    fn an_answer_that_fails_is_an_error_and_not_a_lie() {
        let mut chunks = honest();
        chunks[3] = json!({"error": {"message": "lost"}}).to_string();
        assert!(matches!(read(&chunks), Err(Failure::Error { .. })));
    }
}
