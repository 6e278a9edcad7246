//! Answerers: what a conversation's actor asks, and the stream of text that comes back.
//!
//! An answerer is asked with everything it may know ([`Question`]) and gives a stream that ends with
//! [`Chunk::Done`] or an error. Dropping the stream ends the work behind it at once.

use std::sync::Arc;

use futures_util::{StreamExt, stream, stream::LocalBoxStream};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    ids::{ArticleId, ConversationId, OrgId, TurnId},
    organization::{Organizations, Settings},
};

pub use crate::knowledge::language::Language;

/// Who said something, as a model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The person who asks.
    Customer,
    /// An earlier answer of ours.
    Assistant,
    /// A person of the company.
    Agent,
    /// A note of the system, such as the end of a handover.
    System,
}

/// One thing said.
#[derive(Debug, Clone)]
pub struct Said {
    /// By whom.
    pub by: Speaker,
    /// The words.
    pub text: Arc<str>,
}

/// What an answerer is asked. The last customer messages are the ones to answer.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whose articles may be used.
    pub org: OrgId,
    /// The conversation, for logs.
    pub conversation: ConversationId,
    /// The turn: a seed for whatever is drawn.
    pub turn: TurnId,
    /// 1, 2, 3: a restart after a crash asks again.
    pub attempt: i64,
    /// The conversation's language, if known: `nl`, `en`, …
    pub language: Option<String>,
    /// Everything said, oldest first, without the reply that a retry replaces.
    pub said: Vec<Said>,
    /// The model asked for, if the message named one.
    pub model: Option<String>,
    /// How a load test wants its answer, if the message said so.
    pub synthetic: Option<synthetic::Synthetic>,
    /// It was answered before, and whoever asked wants another answer.
    pub repeats: bool,
    /// It belongs to a stored conversation. Of one that does not, nothing may be kept.
    pub stored: bool,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Chunk {
    /// More text; never empty.
    Text(String),
    /// The answer is whole.
    Done(Finished),
}

/// What is known of an answer once it is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// What the answerer decided.
    pub outcome: Outcome,
    /// What the answer rests on.
    pub citations: Vec<Citation>,
    /// How sure the answerer is, from 0 to 1, if it can tell.
    pub confidence: Option<f64>,
    /// What was counted.
    pub usage: Usage,
    /// The model that answered.
    pub model: String,
    /// It is one that was kept: the model was not asked.
    pub cached: bool,
}

/// What an answerer decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered from the articles.
    Answered,
    /// Only suggested where the answer may be.
    Suggested,
    /// Said plainly that it does not know.
    Unanswered,
    /// A greeting, thanks or goodbye.
    SmallTalk,
    /// The customer asked for a person; `conversation.handover` says whether one was asked.
    Handover,
}

/// Where part of an answer comes from. `start` and `end` count characters of the answer's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The article.
    pub article_id: ArticleId,
    /// Its version at the time.
    pub article_version: i64,
    /// Its title at the time.
    pub title: String,
    /// Where a person can read it.
    pub url: Option<String>,
    /// The words of the article.
    pub passage: String,
    /// Where they begin in the answer.
    pub start: usize,
    /// Where they end in it.
    pub end: usize,
    /// What the article was about at the time; not shown with it.
    #[serde(skip)]
    pub topic: Option<String>,
}

/// Tokens of a question and its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of everything the model was given.
    pub prompt_tokens: u64,
    /// Of the answer.
    pub completion_tokens: u64,
}

/// Why an answer did not come. The text is for a person and never holds an upstream's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AnswerError {
    /// For programs: `model_failed`, `model_timeout`, …
    pub code: &'static str,
    /// For a person.
    pub message: &'static str,
}

/// Text as it comes, then [`Chunk::Done`].
pub type AnswerStream = LocalBoxStream<'static, Result<Chunk, AnswerError>>;

/// Bytes of an answer; more are neither shown nor stored. The longest answers of models in use stay below half of it.
pub const LONGEST_ANSWER: usize = 64 * 1024;

pub mod cache;
mod fallback;
pub mod grounded;
pub mod openai;
pub mod synthetic;

/// The models of this server, by configuration.
#[derive(Debug, Clone)]
pub struct Answerers {
    /// In order of preference, then those that are asked by name only.
    models: Arc<[Model]>,
    /// How many of them are asked when a message names none: the first, and if it fails before its first text the next.
    preferred: usize,
}

/// A model that can be asked.
#[derive(Debug, Clone)]
pub enum Model {
    /// The words of the organization's articles.
    Builtin(grounded::Builtin),
    /// Text of a given length at a given pace.
    Synthetic(synthetic::Synthetic),
    /// An endpoint that speaks OpenAI's `/chat/completions`.
    OpenAi(openai::OpenAi),
}

impl Model {
    /// As it stands in `GET /v1/models` and on turns.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Builtin(_) => grounded::MODEL,
            Self::Synthetic(_) => synthetic::MODEL,
            Self::OpenAi(model) => model.name(),
        }
    }

    fn answer(&self, question: &Question) -> AnswerStream {
        match self {
            Self::Builtin(model) => model.answer(question),
            Self::Synthetic(options) => {
                synthetic::answer(question.synthetic.clone().unwrap_or_else(|| options.clone()), question)
            }
            Self::OpenAi(model) => model.answer(question),
        }
    }
}

/// What an organization has chosen, as of a second ago.
async fn settings(organizations: &Organizations, org: OrgId) -> Result<Settings, AnswerError> {
    match organizations.recent(org).await {
        // Erased just now: whatever is said, nobody reads it.
        Ok(organization) => Ok(organization.map(|found| found.settings.clone()).unwrap_or_default()),
        Err(error) => {
            warn!(org.id = %org, error = &error as &dyn std::error::Error, "an organization's settings could not be read");
            Err(AnswerError { code: "unavailable", message: "the answer could not be prepared" })
        }
    }
}

impl Answerers {
    /// The models in order of preference: each but the first is the fallback of the one before it.
    #[must_use]
    pub fn new(models: Vec<Model>) -> Self {
        Self::with_others(models, Vec::new())
    }

    /// The same, and others that are asked only when a message names them.
    #[must_use]
    pub fn with_others(models: Vec<Model>, others: Vec<Model>) -> Self {
        let preferred = models.len();
        Self { models: models.into_iter().chain(others).collect(), preferred }
    }

    /// Drops whatever was kept of a conversation that is being erased.
    pub fn forget(&self, conversation: ConversationId) {
        for model in &*self.models {
            if let Model::OpenAi(model) = model {
                model.forget(conversation);
            }
        }
    }

    /// Can one of them tell what a conversation is about?
    #[must_use]
    pub fn can_summarise(&self) -> bool {
        self.summariser().is_some()
    }

    /// Tells a colleague in a few sentences what was said, in the language of the question. Drop it to end the work.
    ///
    /// # Errors
    /// No model could.
    pub async fn summarise(&self, question: Question) -> Result<String, AnswerError> {
        match self.summariser() {
            Some(model) => model.summarise(question).await,
            None => Err(AnswerError { code: "model_failed", message: "no model is configured" }),
        }
    }

    /// Only of those that are asked without being named: the others are for load tests.
    fn summariser(&self) -> Option<&openai::OpenAi> {
        self.models[..self.preferred].iter().find_map(|model| match model {
            Model::OpenAi(model) => Some(model),
            Model::Builtin(_) | Model::Synthetic(_) => None,
        })
    }

    /// Their names, in order of preference.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(Model::name)
    }

    /// The name of the one that is asked when a message names none.
    #[must_use]
    pub fn default_name(&self) -> Option<&str> {
        self.names().next()
    }

    /// Is there a model of that name?
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.models.iter().any(|model| model.name() == name)
    }

    /// Asks the model that the question names, and no other: whoever names one wants that one's answer or none. Else
    /// the first, and those after it where it fails before its first text.
    #[must_use]
    pub fn ask(&self, question: &Question) -> AnswerStream {
        let named =
            question.model.as_ref().and_then(|name| self.models.iter().find(|model| model.name() == name));
        match (named, &self.models[..self.preferred]) {
            (Some(model), _) | (None, [model]) => model.answer(question),
            (None, []) => {
                let none = AnswerError { code: "model_failed", message: "no model is configured" };
                stream::iter([Err(none)]).boxed_local()
            }
            (None, _) => fallback::first_that_begins(Arc::clone(&self.models), self.preferred, question),
        }
    }
}
