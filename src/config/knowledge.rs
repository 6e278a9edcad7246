//! `[knowledge]` and `[knowledge.embeddings]`

use std::{
    io,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use openclaw_actors::{
    knowledge::{
        Options,
        embeddings::{Embeddings, MOST_DIMENSIONS, Settings},
        index::Index,
    },
    upstream::BaseUrl,
};
use serde::{Deserialize, Serialize};

use super::{ConfigError, Secret, whole};

/// Nobody waits longer for an answer to begin.
const LONGEST_TIMEOUT_MS: u64 = 10_000;

/// More texts at once make bodies of tens of megabytes, and common servers refuse them.
const LARGEST_BATCH: u32 = 256;

/// Longer names are no model's.
const LONGEST_NAME: usize = 200;

/// Those in use have ten characters.
const LONGEST_PREFIX: usize = 500;

/// As the API promises.
const WAIT_MS: u64 = 30_000;

/// `[knowledge]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnowledgeConfig {
    /// Keep half as much of articles in memory, and find a little less.
    pub lean_index: bool,
    /// How long a write waits until it is searchable before it is answered with 202. Less where a proxy gives up sooner;
    /// 0 does not wait.
    pub wait_ms: u64,
    /// What makes vectors of texts. Without one, articles are found by their words alone.
    pub embeddings: EmbeddingsConfig,
}

impl Default for KnowledgeConfig {
    fn default() -> Self {
        Self { lean_index: false, wait_ms: WAIT_MS, embeddings: EmbeddingsConfig::default() }
    }
}

/// An OpenAI-compatible endpoint for embeddings. Never an organization's: whoever sets it sees every article and question.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingsConfig {
    /// What stands before `/embeddings`: `https://api.openai.com/v1`. Embeddings are used where it is set.
    pub base_url: Option<BaseUrl>,
    /// Sent as a bearer token. Servers on one's own machine mostly need none.
    pub api_key: Option<Secret>,
    /// The model's name there. By another name, all articles are embedded again.
    pub model: Option<String>,
    /// How many numbers a vector shall have, for models that can be asked; else as many as the model makes.
    pub dimensions: Option<NonZeroU32>,
    /// How long a question waits for its vector; then it is searched by its words alone. A customer hardly notices 300.
    pub timeout_ms: NonZeroU64,
    /// What likeness in meaning counts beside likeness in words, from 0 to 1. A half was best where it was measured.
    pub weight: f32,
    /// Texts sent at once when articles are embedded; 32 is what common servers take.
    pub batch: NonZeroU32,
    /// What the model wants before a question; E5 models want `query: `.
    pub query_prefix: String,
    /// What it wants before a passage; E5 models want `passage: `.
    pub passage_prefix: String,
}

impl Default for EmbeddingsConfig {
    fn default() -> Self {
        Self {
            base_url: None,
            api_key: None,
            model: None,
            dimensions: None,
            timeout_ms: NonZeroU64::MIN.saturating_add(299),
            weight: 0.5,
            batch: whole(32),
            query_prefix: String::new(),
            passage_prefix: String::new(),
        }
    }
}

impl KnowledgeConfig {
    /// How the indexer works.
    ///
    /// # Errors
    /// The endpoint asks for TLS, and the machine has no certificates to trust.
    pub fn options(&self) -> io::Result<Options> {
        Ok(Options {
            empty_index: if self.lean_index { Index::lean } else { Index::default },
            indexed_within: Duration::from_millis(self.wait_ms),
            embeddings: self.embeddings.settings().map(Embeddings::new).transpose()?,
        })
    }

    /// What the types alone cannot say.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.wait_ms > WAIT_MS {
            let reason = "use at most 30000, which is what the API promises".to_owned();
            return Err(ConfigError::Senseless { key: "knowledge.wait_ms", reason });
        }
        self.embeddings.check()
    }
}

impl EmbeddingsConfig {
    /// `None` where there is no endpoint.
    #[must_use]
    pub fn settings(&self) -> Option<Settings> {
        Some(Settings {
            base_url: self.base_url.clone()?,
            api_key: self.api_key.as_ref().map(|key| key.expose().into()),
            model: self.model.clone()?,
            dimensions: self.dimensions.map(NonZeroU32::get),
            question_within: Duration::from_millis(self.timeout_ms.get()),
            weight: self.weight,
            batch: self.batch.get() as usize,
            question_prefix: self.query_prefix.clone(),
            passage_prefix: self.passage_prefix.clone(),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let senseless = |key, reason: &str| Err(ConfigError::Senseless { key, reason: reason.to_owned() });
        match (&self.base_url, &self.model) {
            (Some(_), None) => {
                return senseless("knowledge.embeddings.model", "name the model that makes the vectors");
            }
            (None, Some(_)) => {
                let reason =
                    "say where the model is, such as http://127.0.0.1:11434/v1, or take out the model";
                return senseless("knowledge.embeddings.base_url", reason);
            }
            _ => {}
        }
        let is_name = |name: &String| {
            !name.trim().is_empty() && name.len() <= LONGEST_NAME && !name.contains(char::is_control)
        };
        if self.model.as_ref().is_some_and(|name| !is_name(name)) {
            let reason = "use 1 to 200 characters without control characters";
            return senseless("knowledge.embeddings.model", reason);
        }
        if self.api_key.as_ref().is_some_and(|key| !key.is_visible()) {
            let reason = "use visible ASCII characters only, without blanks or line ends";
            return senseless("knowledge.embeddings.api_key", reason);
        }
        if self.timeout_ms.get() > LONGEST_TIMEOUT_MS {
            return senseless("knowledge.embeddings.timeout_ms", "use at most 10000; customers wait for it");
        }
        if !(0.0..=1.0).contains(&self.weight) {
            return senseless("knowledge.embeddings.weight", "use a number from 0 to 1");
        }
        if self.batch.get() > LARGEST_BATCH {
            return senseless("knowledge.embeddings.batch", "use at most 256");
        }
        if self.dimensions.is_some_and(|dimensions| dimensions.get() as usize > MOST_DIMENSIONS) {
            return senseless("knowledge.embeddings.dimensions", "use at most 8192");
        }
        for (key, prefix) in [
            ("knowledge.embeddings.query_prefix", &self.query_prefix),
            ("knowledge.embeddings.passage_prefix", &self.passage_prefix),
        ] {
            if prefix.len() > LONGEST_PREFIX || prefix.contains('\0') {
                return senseless(key, "use at most 500 characters, without NUL");
            }
        }
        Ok(())
    }
}
