//! What goes together, and how it is told in a report.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Amount, Options, Pace, Protocol, Scenario};

impl Options {
    /// What cannot go together, beyond what the command line itself can say.
    pub(in crate::cli::bench) fn check(&self) -> Result<(), &'static str> {
        let is_private = self.url.is_none();
        match self.scenario {
            _ if self.protocol != Protocol::Sse && self.against_bare => {
                Err("the baseline streams Server-Sent Events: --against-bare needs --protocol sse")
            }
            _ if self.ramp().is_some() && self.against_bare => {
                Err("a ramp has no baseline: measure --against-bare at one rate")
            }
            _ if self.ramp().is_some() && self.requests.is_some() => {
                Err("a ramp measures each rate for a time: use --duration, not --requests")
            }
            Scenario::Stream | Scenario::Long | Scenario::SlowReaders => self.check_model(),
            _ if self.protocol != Protocol::Sse => {
                Err("--protocol is for streams: use it with --scenario stream, long or slow-readers")
            }
            Scenario::Accept if self.ramp().is_some() => Ok(()),
            _ if self.ramp().is_some() => {
                Err("a ramp is for single requests: use it with --scenario stream, long or accept")
            }
            Scenario::Webhooks if !is_private => {
                Err("webhooks brings receivers of its own: it needs a private server, not --url")
            }
            Scenario::Webhooks if self.requests.is_some() => {
                Err("webhooks measures stretches of time: use --duration and --backlog, not --requests")
            }
            Scenario::Restart if !is_private => {
                Err("restart kills the server: it needs a private one, not --url")
            }
            Scenario::Restart | Scenario::Resume | Scenario::Idle | Scenario::Knowledge
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

    fn check_model(&self) -> Result<(), &'static str> {
        let takes_long = matches!(self.scenario, Scenario::SlowReaders | Scenario::Long);
        match () {
            () if takes_long && self.against_bare => {
                Err("--against-bare compares streams and accepts: use it with --scenario stream or accept")
            }
            () if self.scenario == Scenario::SlowReaders && self.ramp().is_some() => {
                Err("a ramp is for single requests: use it with --scenario stream, long or accept")
            }
            () if self.protocol == Protocol::Openai && self.url.is_some() && self.model().is_some() => Err(
                "the OpenAI dialect has no fields for --tokens, --tokens-per-second and --first-token-ms: set them at the server",
            ),
            () if self.scenario == Scenario::SlowReaders && self.speaks_tls() => {
                Err("slow readers hold sockets of their own, without TLS: give an http URL")
            }
            () => Ok(()),
        }
    }

    fn speaks_tls(&self) -> bool {
        self.url.as_ref().is_some_and(|url| url.to_string().starts_with("https:"))
    }

    /// What was asked, for the report: what differs here is not compared.
    pub(in crate::cli::bench) fn described(&self) -> BTreeMap<String, Value> {
        let store = match (&self.url, &self.database_url) {
            (Some(_), _) => "of another server",
            (None, Some(_)) => "PostgreSQL",
            (None, None) => "SQLite",
        };
        let mut told = BTreeMap::from([
            ("scenario", json!(self.scenario)),
            ("protocol", json!(self.protocol)),
            ("store", json!(store)),
            ("against_bare", json!(self.against_bare)),
            ("stored_conversations", json!(self.conversations)),
            ("live_conversations", json!(self.live)),
            ("rate_limited", json!(self.rate_limited)),
        ]);
        match self.amount() {
            Amount::Time(time) => told.insert("duration_seconds", json!(time.as_secs_f64())),
            Amount::Requests(requests) => told.insert("requests", json!(requests)),
        };
        match (self.ramp(), self.pace()) {
            (Some(plan), _) => {
                told.insert("ramp_from_per_second", json!(plan.lowest));
                told.insert("ramp_growth", json!(plan.growth));
                told.insert("ramp_steps", json!(plan.steps));
                told.insert("ramp_rule", json!(plan.rule));
            }
            (None, Pace::Closed(clients)) => drop(told.insert("concurrency", json!(clients))),
            (None, Pace::Open(rate)) => drop(told.insert("rate", json!(rate))),
        }
        if let Some(model) = self.model() {
            told.insert("tokens", json!(model.tokens));
            told.insert("tokens_per_second", json!(model.tokens_per_second));
            told.insert("first_token_ms", json!(model.first_token_ms));
        }
        match (self.scenario, &self.articles) {
            (Scenario::Webhooks, _) => drop(told.insert("backlog", json!(self.backlog))),
            (Scenario::Knowledge, None) => drop(told.insert("base", json!(self.base))),
            (Scenario::Knowledge, Some(_)) => drop(told.insert("base", json!("given"))),
            _ => {}
        }
        told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
