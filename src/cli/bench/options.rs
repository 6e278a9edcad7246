//! What can be asked of `bench`.

use std::time::Duration;

use clap::Args;
use openclaw_actors::answer::synthetic;
use serde_json::{Value, json};

use super::{
    load::{Amount, Pace},
    scenario::Scenario,
};
use crate::cli::remote::ServerUrl;

/// Clients of a closed loop unless told otherwise: a busy shop's open answers.
const CONCURRENCY: usize = 64;

/// Long enough for a p99 of a few thousand answers.
const DURATION_SECONDS: f64 = 10.0;

/// Deliveries that wait where webhooks are measured: what an endpoint misses in an hour of a busy day.
const BACKLOG: u64 = 100_000;

/// Clients beyond this need more ports than one address has.
const MOST_CLIENTS: u64 = 50_000;

/// Measure a server: latency, throughput, CPU and memory, with every answer checked
///
/// Without --url it starts a private server with an empty store and a model that answers with words at a given pace,
/// and removes it at the end. Each answer that is received is checked: text, positions, numbers, and one end. The exit
/// status is 1 if something was wrong, or if nothing was answered.
#[derive(Debug, Args)]
pub(in crate::cli) struct Options {
    /// Measure the server there, with its own model, instead of a private one
    #[arg(long, value_name = "URL", requires = "key")]
    pub(super) url: Option<ServerUrl>,
    /// A key to it with conversations:read and conversations:write; best one with --rate-limit unlimited
    #[arg(long, value_name = "KEY", requires = "url")]
    pub(super) key: Option<String>,
    /// What the clients do
    #[arg(long, value_enum, value_name = "NAME", default_value = "stream")]
    pub(super) scenario: Scenario,
    /// So many clients, each asking again when it was answered [default: 64]
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u64).range(1..=MOST_CLIENTS))]
    concurrency: Option<u64>,
    /// So many requests per second, however slow the server is; waits count from when each was due
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// How long to measure, after a warm-up [default: 10]
    #[arg(long, value_name = "SECONDS", conflicts_with = "requests", value_parser = seconds)]
    duration: Option<f64>,
    /// Measure so many requests instead of a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Measure beside it a bare handler that streams the same bytes at the same pace, and compare
    #[arg(long, conflicts_with = "url")]
    pub(super) against_bare: bool,
    /// Store in this PostgreSQL database, which should be empty; what is stored stays
    #[arg(long, value_name = "URL", conflicts_with = "url")]
    pub(super) database_url: Option<String>,
    /// Store so many answered conversations before the private server starts
    #[arg(long, value_name = "N", conflicts_with = "url", default_value_t = 0, hide_default_value = true)]
    pub(super) conversations: u64,
    /// Deliveries of the backlog that webhooks begins with
    #[arg(long, value_name = "N", default_value_t = BACKLOG, value_parser = clap::value_parser!(u64).range(16..))]
    pub(super) backlog: u64,
    /// Bring so many conversations into the private server's memory before anything is measured
    #[arg(long, value_name = "N", conflicts_with = "url", default_value_t = 0, hide_default_value = true)]
    pub(super) live: u64,
    /// Give the clients of the private server a key whose requests are counted, up to a limit that is never reached,
    /// instead of an unlimited one
    #[arg(long, conflicts_with = "url")]
    pub(super) rate_limited: bool,
    #[command(flatten)]
    model: ModelOptions,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How the synthetic model answers. With --url only if the server lets a request choose
/// (`model.synthetic.per_request`).
#[derive(Debug, Args)]
struct ModelOptions {
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

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "it must be a number of requests per second, more than 0".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "it must be a number of seconds, from 0.1 to a day".to_owned())
}

fn words_per_second(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=1e6).contains(rate));
    rate.ok_or_else(|| "it must be a number from 0 to 1000000".to_owned())
}

impl Options {
    pub(super) fn pace(&self) -> Pace {
        match (self.rate, self.concurrency) {
            (Some(rate), _) => Pace::Open(rate),
            (None, _) => Pace::Closed(self.clients()),
        }
    }

    /// Requests per second, where they are said.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    pub(super) fn amount(&self) -> Amount {
        match self.requests {
            Some(requests) => Amount::Requests(requests),
            None => Amount::Time(self.time()),
        }
    }

    /// What cannot go together, beyond what the command line itself can say.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let is_private = self.url.is_none();
        match self.scenario {
            Scenario::Webhooks if !is_private => {
                Err("webhooks brings receivers of its own: it needs a private server, not --url")
            }
            Scenario::Webhooks if self.requests.is_some() => {
                Err("webhooks measures stretches of time: use --duration and --backlog, not --requests")
            }
            Scenario::Restart if !is_private => {
                Err("restart kills the server: it needs a private one, not --url")
            }
            Scenario::Restart
            | Scenario::Resume
            | Scenario::Idle
            | Scenario::SlowReaders
            | Scenario::Long
                if self.against_bare =>
            {
                Err("--against-bare compares streams and accepts: use it with --scenario stream or accept")
            }
            Scenario::Accept if self.against_bare && self.database_url.is_some() => {
                Err("the baseline of accepts is on SQLite: it cannot be compared with --database-url")
            }
            Scenario::Idle | Scenario::Resume | Scenario::Restart if self.rate_limited => Err(
                "opening a stream again has a limit of its own: --rate-limited is for the other scenarios",
            ),
            Scenario::Idle | Scenario::Restart if self.rate.is_some() => {
                Err("this scenario has a number of clients: use --concurrency, not --rate")
            }
            _ => Ok(()),
        }
    }

    /// Clients of the closed loop, or those that the open one may need.
    pub(super) fn clients(&self) -> usize {
        self.concurrency.and_then(|n| usize::try_from(n).ok()).unwrap_or(CONCURRENCY)
    }

    /// How long to measure where time is what counts.
    pub(super) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.duration.unwrap_or(DURATION_SECONDS))
    }

    /// How answers are made, unless the server there decides that.
    pub(super) fn model(&self) -> Option<Model> {
        let ModelOptions { tokens, tokens_per_second, first_token_ms } = self.model;
        let asked = tokens.is_some() || tokens_per_second.is_some() || first_token_ms.is_some();
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
pub(super) struct Model {
    pub(super) tokens: u32,
    pub(super) tokens_per_second: f64,
    pub(super) first_token_ms: u64,
}

impl Default for Model {
    /// A word per 10 ms: what a fast hosted model gives.
    fn default() -> Self {
        Self { tokens: 50, tokens_per_second: 100.0, first_token_ms: 10 }
    }
}

impl Model {
    /// As settings of a server, in its environment.
    pub(super) fn settings(&self) -> [(&'static str, String); 3] {
        [
            ("OPENCLAW__MODEL__SYNTHETIC__TOKENS", self.tokens.to_string()),
            ("OPENCLAW__MODEL__SYNTHETIC__TOKENS_PER_SECOND", self.tokens_per_second.to_string()),
            ("OPENCLAW__MODEL__SYNTHETIC__FIRST_TOKEN_MS", self.first_token_ms.to_string()),
        ]
    }

    /// As arguments of the baseline.
    pub(super) fn pace(&self) -> [String; 4] {
        let (first, rate) = (self.first_token_ms.to_string(), self.tokens_per_second.to_string());
        ["--first-token-ms".to_owned(), first, "--tokens-per-second".to_owned(), rate]
    }

    /// As fields of a message.
    pub(super) fn fields(&self) -> Value {
        let Self { tokens, tokens_per_second, first_token_ms } = self;
        json!({ "model": synthetic::MODEL, "synthetic": {
            "tokens": tokens, "tokens_per_second": tokens_per_second, "first_token_ms": first_token_ms } })
    }

    /// How long an answer takes at least.
    pub(super) fn answer_time(&self) -> Duration {
        let text = match self.tokens_per_second {
            rate if rate > 0.0 => f64::from(self.tokens - 1) / rate,
            _ => 0.0,
        };
        Duration::from_millis(self.first_token_ms) + Duration::from_secs_f64(text)
    }
}
