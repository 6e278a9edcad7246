//! How the synthetic model is to answer.

use std::time::Duration;

use clap::Args;
use openclaw_actors::answer::synthetic;
use serde_json::{Value, json};

use super::{Options, Scenario};

/// How the synthetic model answers. With --url only if the server lets a request choose
/// (`model.synthetic.per_request`).
#[derive(Debug, Args)]
pub(super) struct ModelOptions {
    /// Words of an answer [default: 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(synthetic::MOST_TOKENS)))]
    tokens: Option<u32>,
    /// Words per second after the first; 0 is as fast as possible [default: 100]
    #[arg(long, value_name = "PER_SECOND", value_parser = words_per_second)]
    tokens_per_second: Option<f64>,
    /// The model's own wait before the first word [default: 10]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=synthetic::LONGEST_FIRST_TOKEN_MS))]
    first_token_ms: Option<u64>,
}

fn words_per_second(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=1e6).contains(rate));
    rate.ok_or_else(|| "it must be a number from 0 to 1000000".to_owned())
}

impl Options {
    /// How answers are made, unless the server there decides that.
    pub(in crate::cli::bench) fn model(&self) -> Option<Model> {
        let ModelOptions { tokens, tokens_per_second, first_token_ms } = self.model;
        let asked = tokens.is_some() || tokens_per_second.is_some() || first_token_ms.is_some();
        if self.scenario == Scenario::Knowledge {
            // Articles are answered in their own words.
            return None;
        }
        let usual = self.scenario.adjust(Model::default());
        (self.url.is_none() || asked).then(|| Model {
            tokens: tokens.unwrap_or(usual.tokens),
            tokens_per_second: tokens_per_second.unwrap_or(usual.tokens_per_second),
            first_token_ms: first_token_ms.unwrap_or(usual.first_token_ms),
        })
    }
}

/// How the synthetic model answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli::bench) struct Model {
    pub(in crate::cli::bench) tokens: u32,
    pub(in crate::cli::bench) tokens_per_second: f64,
    pub(in crate::cli::bench) first_token_ms: u64,
}

impl Default for Model {
    /// A word per 10 ms: what a fast hosted model gives.
    fn default() -> Self {
        Self { tokens: 50, tokens_per_second: 100.0, first_token_ms: 10 }
    }
}

impl Model {
    /// As settings of a server, in its environment.
    pub(in crate::cli::bench) fn settings(&self) -> [(&'static str, String); 3] {
        [
            ("OPENCLAW__MODEL__SYNTHETIC__TOKENS", self.tokens.to_string()),
            ("OPENCLAW__MODEL__SYNTHETIC__TOKENS_PER_SECOND", self.tokens_per_second.to_string()),
            ("OPENCLAW__MODEL__SYNTHETIC__FIRST_TOKEN_MS", self.first_token_ms.to_string()),
        ]
    }

    /// As arguments of the baseline.
    pub(in crate::cli::bench) fn pace(&self) -> [String; 4] {
        let (first, rate) = (self.first_token_ms.to_string(), self.tokens_per_second.to_string());
        ["--first-token-ms".to_owned(), first, "--tokens-per-second".to_owned(), rate]
    }

    /// As fields of a message.
    pub(in crate::cli::bench) fn fields(&self) -> Value {
        let Self { tokens, tokens_per_second, first_token_ms } = self;
        json!({ "model": synthetic::MODEL, "synthetic": {
            "tokens": tokens, "tokens_per_second": tokens_per_second, "first_token_ms": first_token_ms } })
    }

    /// How long an answer takes at least.
    pub(in crate::cli::bench) fn answer_time(&self) -> Duration {
        let text = match self.tokens_per_second {
            rate if rate > 0.0 => f64::from(self.tokens - 1) / rate,
            _ => 0.0,
        };
        Duration::from_millis(self.first_token_ms) + Duration::from_secs_f64(text)
    }
}
