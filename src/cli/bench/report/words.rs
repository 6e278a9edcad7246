//! A report and a ramp in words.

use super::Report;
use crate::cli::bench::{html::text::number, protocol::Protocol, ramp::Ramp, scenario::Scenario};

impl Report {
    /// What it is called: as the caller said, or by what was measured.
    pub(in crate::cli::bench) fn name(&self) -> String {
        if let Some(title) = &self.about.title {
            return title.clone();
        }
        let what = match self.scenario {
            Scenario::Stream => "Streamed answers",
            Scenario::Long => "Long conversations",
            Scenario::Resume => "Streams cut and resumed",
            Scenario::SlowReaders => "Streams beside slow readers",
            Scenario::Restart => "Kills under load",
            Scenario::Accept => "Durable accepts",
            Scenario::Idle => "Idle streams",
            Scenario::Webhooks => "Webhook deliveries",
            Scenario::Knowledge => "Knowledge base",
        };
        let way = match self.protocol {
            Protocol::Sse => "",
            Protocol::Websocket => " over WebSockets",
            Protocol::Openai => " in the OpenAI dialect",
        };
        let pace = match (&self.ramp, self.concurrency, self.rate) {
            (Some(_), ..) => ", at rising rates".to_owned(),
            (None, Some(clients), _) => format!(", {clients} clients"),
            (None, None, Some(rate)) => format!(", {} requests per second", number(rate)),
            (None, None, None) => String::new(),
        };
        format!("{what}{way}{pace}")
    }

    /// What was done, in a sentence.
    pub(in crate::cli::bench) fn in_words(&self) -> String {
        let (requests, completed) = (number(self.requests as f64), number(self.completed as f64));
        let (errors, wrong) = (number(self.errors as f64), number(self.wrong as f64));
        let told = format!(
            "{requests} requests: {completed} completed, {errors} errors, {wrong} wrong. Every answer was checked."
        );
        match &self.ramp {
            Some(ramp) => format!("{told} {}", ramp.in_words()),
            None => told,
        }
    }
}

impl Ramp {
    /// Where the knee is, and by which rule.
    pub(in crate::cli::bench) fn in_words(&self) -> String {
        let (share, times) =
            (number(self.rule.answered_at_least * 100.0), number(self.rule.p99_at_most_times));
        let found = match self.knee_per_second {
            None => "Even the lowest rate was too much".to_owned(),
            Some(knee) if self.knee_is_beyond => {
                format!("No rate was too much: the knee is beyond {} requests per second", number(knee))
            }
            Some(knee) => format!("The knee is at {} requests per second", number(knee)),
        };
        let generator = match self.generator_was_busy {
            true => " The load generator itself was busy then, so that the server may be able to do more.",
            false => "",
        };
        format!(
            "{found}: the highest rate at which {share} % of the requests were answered in time and the p99 of the \
             first token was at most {times} times that at the lowest rate.{generator}"
        )
    }
}
