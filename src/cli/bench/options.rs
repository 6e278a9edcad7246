//! What can be asked of `bench`.

mod check;
mod model;
mod rising;

use std::{path::PathBuf, time::Duration};

use clap::Args;

pub(super) use self::model::Model;
use self::{model::ModelOptions, rising::RampOptions};
use super::{
    Further,
    load::{Amount, Pace},
    protocol::Protocol,
    ramp,
    scenario::Scenario,
};
use crate::cli::remote::ServerUrl;

/// Clients of a closed loop unless told otherwise: a busy shop's open answers.
const CONCURRENCY: usize = 64;

/// Long enough for a p99 of a few thousand answers.
const DURATION_SECONDS: f64 = 10.0;

/// Deliveries that wait where webhooks are measured: what an endpoint misses in an hour of a busy day.
const BACKLOG: u64 = 100_000;

/// Articles of a made knowledge base: those of a shop with a good one.
const ARTICLES: u64 = 1_000;

/// Clients beyond this need more ports than one address has.
const MOST_CLIENTS: u64 = 50_000;

/// Measure a server: latency, throughput, CPU and memory, with every answer checked
///
/// Without --url it starts a private server with an empty store and a model that answers with words at a given pace,
/// and removes it at the end. Each answer that is received is checked: text, positions, numbers, and one end. The exit
/// status is 1 if something was wrong, or if nothing was answered.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Options {
    #[command(subcommand)]
    pub(super) further: Option<Further>,
    /// Measure the server there, with its own model, instead of a private one
    #[arg(long, value_name = "URL", requires = "key")]
    pub(super) url: Option<ServerUrl>,
    /// A key to it with conversations:read and conversations:write; best one with --rate-limit unlimited
    #[arg(long, value_name = "KEY", requires = "url")]
    pub(super) key: Option<String>,
    /// Trust the certificate authorities in this PEM file too, for an https URL
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(super) ca_file: Option<PathBuf>,
    /// What the clients do
    #[arg(long, value_enum, value_name = "NAME", default_value = "stream")]
    pub(super) scenario: Scenario,
    /// How answers are streamed
    #[arg(long, value_enum, value_name = "NAME", default_value = "sse")]
    pub(super) protocol: Protocol,
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
    /// The knowledge base of the scenario knowledge: a folder of .md, .html and .txt files, or a .ndjson file
    #[arg(long, value_name = "DIR_OR_NDJSON", conflicts_with = "base")]
    pub(super) articles: Option<PathBuf>,
    /// Articles of its knowledge base, which are made
    #[arg(long, value_name = "N", default_value_t = ARTICLES, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(super) base: u64,
    #[command(flatten)]
    ramp: RampOptions,
    #[command(flatten)]
    model: ModelOptions,
    /// Write the report as a page with plots, too
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// What the report is called
    #[arg(long, value_name = "TEXT")]
    pub(super) title: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "it must be a number of requests per second, more than 0".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "it must be a number of seconds, from 0.1 to a day".to_owned())
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

    /// How rates rise, if they are to.
    pub(super) fn ramp(&self) -> Option<ramp::Plan> {
        self.ramp.plan(self.rate)
    }

    pub(super) fn amount(&self) -> Amount {
        match self.requests {
            Some(requests) => Amount::Requests(requests),
            None => Amount::Time(self.time()),
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
}
