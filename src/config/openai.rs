//! `[model.openai]`

use std::{num::NonZeroU64, time::Duration};

use openclaw_actors::answer::{
    grounded,
    openai::{BaseUrl, Deadlines, Settings},
    synthetic,
};
use serde::{Deserialize, Serialize};

use super::{ConfigError, Secret};

/// Longer names are no model's. They stand on every turn.
const LONGEST_NAME: usize = 200;

/// An hour: nobody waits that long, and beyond it a number is a slip.
const LONGEST_TIMEOUT_MS: u64 = 3_600_000;

/// A language model behind an endpoint. Never an organization's: whoever sets it sees every question.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenAiModel {
    /// What stands before `/chat/completions`: `https://api.openai.com/v1`.
    pub base_url: Option<BaseUrl>,
    /// Sent as a bearer token. Servers on one's own machine mostly need none.
    pub api_key: Option<Secret>,
    /// The model's name there; messages name it so, and turns show it.
    pub model: Option<String>,
    /// The same first question, with the same articles, gets the answer that it got before; `"cache": "exact"` on the turn.
    pub cache_answers: bool,
    /// To a connection, its name looked up and TLS agreed.
    pub connect_timeout_ms: NonZeroU64,
    /// To the first text, over all tries; then the next provider is asked.
    pub first_token_timeout_ms: NonZeroU64,
    /// From one text to the next; then the answer fails.
    pub between_tokens_timeout_ms: NonZeroU64,
    /// To the end of an answer.
    pub total_timeout_ms: NonZeroU64,
}

impl Default for OpenAiModel {
    fn default() -> Self {
        let Deadlines { connect, first_token, between_tokens, total } = Deadlines::default();
        Self {
            base_url: None,
            api_key: None,
            model: None,
            cache_answers: true,
            connect_timeout_ms: milliseconds(connect),
            first_token_timeout_ms: milliseconds(first_token),
            between_tokens_timeout_ms: milliseconds(between_tokens),
            total_timeout_ms: milliseconds(total),
        }
    }
}

fn milliseconds(duration: Duration) -> NonZeroU64 {
    u64::try_from(duration.as_millis()).ok().and_then(NonZeroU64::new).unwrap_or(NonZeroU64::MIN)
}

impl OpenAiModel {
    /// What can be asked; `None` while the endpoint or the model is not named, as where the provider is not used.
    #[must_use]
    pub fn settings(&self) -> Option<Settings> {
        let wait = |ms: NonZeroU64| Duration::from_millis(ms.get());
        Some(Settings {
            base_url: self.base_url.clone()?,
            api_key: self.api_key.as_ref().map(|key| key.expose().into()),
            model: self.model.clone()?,
            deadlines: Deadlines {
                connect: wait(self.connect_timeout_ms),
                first_token: wait(self.first_token_timeout_ms),
                between_tokens: wait(self.between_tokens_timeout_ms),
                total: wait(self.total_timeout_ms),
            },
        })
    }

    /// What the types alone cannot say.
    pub(super) fn check(&self, is_used: bool) -> Result<(), ConfigError> {
        let senseless = |key, reason: &str| Err(ConfigError::Senseless { key, reason: reason.to_owned() });
        if is_used && self.base_url.is_none() {
            let reason = "say where the model is, such as https://api.openai.com/v1, or take openai out of model.providers";
            return senseless("model.openai.base_url", reason);
        }
        if is_used && self.model.is_none() {
            return senseless("model.openai.model", "name the model that the endpoint is to be asked for");
        }
        if let Some(name) = &self.model {
            let is_taken = [grounded::MODEL, synthetic::MODEL].contains(&name.as_str());
            if is_taken {
                return senseless(
                    "model.openai.model",
                    "builtin and synthetic are names of models of our own",
                );
            }
            if name.trim().is_empty() || name.len() > LONGEST_NAME || name.contains(char::is_control) {
                return senseless("model.openai.model", "use 1 to 200 characters without control characters");
            }
        }
        let timeouts = [
            ("model.openai.connect_timeout_ms", self.connect_timeout_ms),
            ("model.openai.first_token_timeout_ms", self.first_token_timeout_ms),
            ("model.openai.between_tokens_timeout_ms", self.between_tokens_timeout_ms),
            ("model.openai.total_timeout_ms", self.total_timeout_ms),
        ];
        for (key, timeout) in timeouts {
            if timeout.get() > LONGEST_TIMEOUT_MS {
                return senseless(key, "use at most 3600000, an hour");
            }
        }
        if self.api_key.as_ref().is_some_and(|key| !key.is_visible()) {
            return senseless(
                "model.openai.api_key",
                "use visible ASCII characters only, without blanks or line ends",
            );
        }
        Ok(())
    }
}
