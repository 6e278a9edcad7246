//! What the simulated clients do.

use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use super::{
    client::{Client, Target},
    tally::{Failure, Took},
};

/// Turns of a long conversation, after which its client begins another: prompts are as long as they get by then.
const LONG_TURNS: usize = 50;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scenario {
    /// A new conversation with a streamed answer, each time
    Stream,
    /// A few conversations with many turns each
    Long,
}

/// What the clients of a scenario send: made once, because making it costs as much as sending it.
#[derive(Debug)]
pub(super) struct Work {
    scenario: Scenario,
    start: Vec<u8>,
}

impl Work {
    pub(super) fn new(scenario: Scenario, target: &Target) -> Self {
        let body = json!({ "channel": "bench", "message": target.message(), "stream": true });
        Self { scenario, start: target.post("/v1/conversations", &body) }
    }

    /// One request and what follows from it. Waits count from `since`.
    pub(super) async fn run(&self, client: &mut Client, since: Instant) -> Result<Took, Failure> {
        match self.scenario {
            Scenario::Stream => client.start(&self.start, since).await,
            Scenario::Long => match client.turns() {
                0 | LONG_TURNS.. => client.start(&self.start, since).await,
                _ => client.go_on(&next_message(client), since).await,
            },
        }
    }
}

fn next_message(client: &Client) -> Vec<u8> {
    let target = client.target();
    let mut message = target.message();
    message["stream"] = true.into();
    target.post(&format!("/v1/conversations/{}/messages", client.conversation()), &message)
}
