//! What the simulated clients do.

use std::{
    cell::{Cell, RefCell},
    time::Instant,
};

use clap::ValueEnum;
use openclaw_actors::ids::RequestId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;

use super::{
    client::{Client, Storm, Target},
    knowledge::{Field, Round},
    options::Model,
    protocol::{self, COMPLETIONS, Protocol},
    tally::{Failure, Took},
};

/// Turns of a long conversation, after which its client begins another: prompts are as long as they get by then.
const LONG_TURNS: usize = 50;

/// Streams are cut somewhere in so many first bytes: those of an answer of 50 words and its events.
const CUT_WITHIN: u64 = 12 << 10;

/// The wait before the first token where only the accept is measured: nothing is answered meanwhile.
const NOT_ANSWERED_MS: u64 = 60_000;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scenario {
    /// A new conversation with a streamed answer, each time
    Stream,
    /// A few conversations with many turns each
    Long,
    /// Streams that are cut at random places, and now and then all at once, and resumed
    Resume,
    /// As stream, beside clients that read a little at a time or not at all
    SlowReaders,
    /// The private server is killed under load, again and again; nothing acknowledged may be lost
    Restart,
    /// Messages that are stored and not waited for: durable accepts
    Accept,
    /// Open streams on which nothing happens, and a clean restart under them
    Idle,
    /// Events that endpoints are told of: a backlog, new ones, and beside endpoints that hang and fail
    Webhooks,
    /// Articles that are written, searched for and answered from, in a knowledge base of some size
    Knowledge,
}

impl Scenario {
    /// Changes how the private server's model answers, where the caller did not say.
    pub(super) fn adjust(self, usual: Model) -> Model {
        match self {
            Self::Accept => Model { first_token_ms: NOT_ANSWERED_MS, ..usual },
            _ => usual,
        }
    }
}

/// What was acknowledged and read: the conversation, and its answer's text.
pub(super) type Ledger = Vec<(String, String)>;

/// Conversations that were begun, when that was due, and when it was answered.
pub(super) type Begun = Vec<(String, Instant, Instant)>;

/// What the clients of a scenario send: made once, because making it costs as much as sending it.
#[derive(Debug)]
pub(super) struct Work {
    scenario: Scenario,
    protocol: Protocol,
    start: Vec<u8>,
    /// Begins a conversation without a message.
    begin: Vec<u8>,
    /// What is known of the articles, where they are what is measured.
    pub(super) field: Option<Field>,
    /// Cuts all streams at once.
    pub(super) herd: Notify,
    /// Names for requests that may be sent again.
    run: String,
    number: Cell<u64>,
    pub(super) ledger: RefCell<Ledger>,
    pub(super) told: RefCell<Begun>,
}

impl Work {
    pub(super) fn new(scenario: Scenario, protocol: Protocol, target: &Target) -> Self {
        let (path, body) = match scenario {
            Scenario::Accept => (
                "/v1/conversations",
                json!({ "channel": "bench", "message": target.message(), "stream": false, "wait_seconds": 0 }),
            ),
            Scenario::Webhooks => ("/v1/conversations", json!({ "channel": "healthy" })),
            _ => protocol.first(target),
        };
        Self {
            scenario,
            protocol,
            start: target.post(path, &body),
            begin: target.post("/v1/conversations", &protocol::begin()),
            field: None,
            herd: Notify::new(),
            run: RequestId::generate().to_string().replace(RequestId::PREFIX, "bench_"),
            number: Cell::new(0),
            ledger: RefCell::default(),
            told: RefCell::default(),
        }
    }

    /// How many requests were given a name.
    pub(super) fn begun(&self) -> usize {
        usize::try_from(self.number.get()).unwrap_or(usize::MAX)
    }

    /// One request and what follows from it. Waits count from `since`.
    pub(super) async fn run(&self, client: &mut Client, since: Instant) -> Result<Took, Failure> {
        match self.scenario {
            Scenario::Stream | Scenario::SlowReaders | Scenario::Idle => self.single(client, since).await,
            Scenario::Long => self.one_of_many(client, since).await,
            Scenario::Knowledge => match &self.field {
                Some(field) => Round::next(field).run(client, since).await,
                None => Err(Failure::error("no_articles", "there is no knowledge base")),
            },
            Scenario::Accept => client.accept(&self.start, since).await,
            Scenario::Webhooks => {
                let (conversation, took) = client.begin(&self.start, since).await?;
                self.told.borrow_mut().push((conversation, since, Instant::now()));
                Ok(took)
            }
            Scenario::Resume => self.resume(client, since, false).await,
            Scenario::Restart => {
                let took = self.resume(client, since, true).await?;
                self.ledger.borrow_mut().push((client.conversation().to_owned(), client.text().to_owned()));
                Ok(took)
            }
        }
    }

    /// A conversation of its own.
    async fn single(&self, client: &mut Client, since: Instant) -> Result<Took, Failure> {
        match self.protocol {
            Protocol::Sse => client.start(&self.start, since).await,
            Protocol::Websocket => {
                client.leave();
                client.say(&self.begin, since).await
            }
            Protocol::Openai => client.complete(&self.start, since).await,
        }
    }

    /// A turn of a conversation that has as many as get long.
    async fn one_of_many(&self, client: &mut Client, since: Instant) -> Result<Took, Failure> {
        let is_new = matches!(client.turns(), 0 | LONG_TURNS..);
        match self.protocol {
            Protocol::Sse if is_new => client.start(&self.start, since).await,
            Protocol::Sse => client.go_on(&next_message(client), since).await,
            Protocol::Websocket => {
                if is_new {
                    client.leave();
                }
                client.say(&self.begin, since).await
            }
            Protocol::Openai => {
                if is_new {
                    client.converse(&self.begin, since).await?;
                }
                client.complete(&next_completion(client), since).await
            }
        }
    }

    async fn resume(&self, client: &mut Client, since: Instant, restarts: bool) -> Result<Took, Failure> {
        let number = self.number.get();
        self.number.set(number + 1);
        let cut_after = (!restarts).then(|| scattered(number));
        let storm = Storm { cut_after, herd: &self.herd, waits_for_server: restarts };
        client.start_and_resume(&format!("{}-{number}", self.run), storm, since).await
    }
}

/// A place in an answer: another one each time, the same ones in every run.
fn scattered(number: u64) -> usize {
    // Fibonacci hashing: neighbours land far apart.
    let hashed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    usize::try_from(hashed % CUT_WITHIN).unwrap_or_default()
}

fn next_message(client: &Client) -> Vec<u8> {
    let target = client.target();
    let mut message = target.message();
    message["stream"] = true.into();
    target.post(&format!("/v1/conversations/{}/messages", client.conversation()), &message)
}

fn next_completion(client: &Client) -> Vec<u8> {
    let target = client.target();
    let conversation = format!("X-Conversation-Id: {}\r\n", client.conversation());
    target.post_with(COMPLETIONS, &conversation, &protocol::completion(target))
}
