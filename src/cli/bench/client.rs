//! One simulated client: a connection, what it asks, and what it makes of the answers.

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    answer::{Answer, End, Fault, Seen},
    blocks::Blocks,
    tally::{Failure, Took},
    wire::{Connection, WireError},
};

/// What every simulated customer asks.
const QUESTION: &str = "Where is my parcel?";

/// An answer that is not whole by then will not be. Longer than the longest wait for a first token and the longest
/// paced answer that people measure.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);

/// The server under load, and what is asked of it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// As the `Host` header says it.
    pub(super) host: String,
    /// What stands before `/v1`.
    pub(super) prefix: String,
    pub(super) key: String,
    /// Fields that every message has beside its content: how the synthetic model is to answer it.
    pub(super) options: Option<Value>,
    /// How many words an answer must have, where that is known.
    pub(super) words: Option<usize>,
}

impl Target {
    /// A message with its options.
    pub(super) fn message(&self) -> Value {
        let mut message = json!({ "content": QUESTION });
        if let (Some(Value::Object(options)), Value::Object(message)) = (&self.options, &mut message) {
            message.extend(options.clone());
        }
        message
    }

    /// A POST, ready to be sent any number of times.
    pub(super) fn post(&self, path: &str, body: &Value) -> Vec<u8> {
        let (host, prefix, key, body) = (&self.host, &self.prefix, &self.key, body.to_string());
        format!(
            "POST {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// A refusal, as far as it is shown.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalDetails,
}

#[derive(Deserialize)]
struct RefusalDetails {
    code: String,
    message: String,
}

/// One simulated client.
#[derive(Debug)]
pub(super) struct Client {
    target: Rc<Target>,
    connection: Option<Connection>,
    blocks: Blocks,
    answer: Answer,
    /// Between the pieces of the last answer's text.
    gaps: Vec<Duration>,
    /// The bytes of answers' bodies, where they are wanted.
    recording: Option<Vec<u8>>,
    /// Turns so far in the conversation that `answer` stands in.
    turns: usize,
}

impl Client {
    pub(super) fn new(target: &Rc<Target>) -> Self {
        Self {
            target: Rc::clone(target),
            connection: None,
            blocks: Blocks::default(),
            answer: Answer::default(),
            gaps: Vec::new(),
            recording: None,
            turns: 0,
        }
    }

    /// Keeps the bytes of the answers that follow.
    pub(super) fn record(&mut self) {
        self.recording = Some(Vec::new());
    }

    pub(super) fn recorded(self) -> Vec<u8> {
        self.recording.unwrap_or_default()
    }

    pub(super) fn target(&self) -> &Rc<Target> {
        &self.target
    }

    pub(super) fn gaps(&self) -> &[Duration] {
        &self.gaps
    }

    /// Turns answered in the conversation that the last answer was part of.
    pub(super) fn turns(&self) -> usize {
        self.turns
    }

    /// The conversation that the last answer was part of.
    pub(super) fn conversation(&self) -> &str {
        self.answer.conversation()
    }

    /// Starts a conversation by that request and reads the streamed answer. Waits count from `since`.
    pub(super) async fn start(&mut self, request: &[u8], since: Instant) -> Result<Took, Failure> {
        self.answer.begin(0);
        self.turns = 0;
        self.streamed(request, since).await
    }

    /// Goes on with the conversation by that request.
    pub(super) async fn go_on(&mut self, request: &[u8], since: Instant) -> Result<Took, Failure> {
        self.answer.begin(self.answer.sequence());
        self.streamed(request, since).await
    }

    async fn streamed(&mut self, request: &[u8], since: Instant) -> Result<Took, Failure> {
        self.gaps.clear();
        self.blocks.clear();
        let read = timeout(ANSWERED_WITHIN, self.read_answer(request, since)).await;
        let outcome =
            read.unwrap_or_else(|_| Err(Failure::error("timeout", "there was no whole answer in time")));
        match outcome {
            Ok(_) => self.turns += 1,
            Err(_) => {
                self.turns = 0;
                self.connection = None;
            }
        }
        outcome
    }

    async fn read_answer(&mut self, request: &[u8], since: Instant) -> Result<Took, Failure> {
        let status = self.ask(request).await?;
        if status != 200 {
            return Err(self.refused(status).await);
        }
        let Some(connection) = &mut self.connection else { return Err(Fault::Senseless.into()) };
        let (mut first, mut last, mut ended) = (None, None, None);
        let mut said_goodbye = false;
        loop {
            let input = self.blocks.input();
            let before = input.len();
            if !connection.piece(input).await.map_err(broken)? {
                break;
            }
            let now = Instant::now();
            if let Some(recording) = &mut self.recording {
                recording.extend_from_slice(&input[before..]);
            }
            while let Some(block) = self.blocks.next().map_err(Fault::from)? {
                match self.answer.take(&block)? {
                    Seen::Text => match last.replace(now) {
                        None => first = Some(now - since),
                        Some(last) => self.gaps.push(now - last),
                    },
                    Seen::End => ended = Some(now - since),
                    Seen::Goodbye => said_goodbye = true,
                    Seen::Event => {}
                }
            }
        }
        if said_goodbye && ended.is_none() {
            return Err(Failure::error(
                "stream_closed",
                "the server closed the stream before the answer's end",
            ));
        }
        match self.answer.check_whole(self.target.words)? {
            End::Completed => Ok(Took {
                first_token: first,
                completion: ended.unwrap_or_default(),
                words: self.answer.words(),
            }),
            End::Stopped => Err(Failure::error("turn_stopped", "the turn was stopped")),
            End::Failed => Err(Failure::error("turn_failed", "the turn failed")),
        }
    }

    /// Sends a request, on a new connection if there is none to use. Says the answer's status.
    async fn ask(&mut self, request: &[u8]) -> Result<u16, Failure> {
        if !self.connection.as_ref().is_some_and(Connection::is_free) {
            let opened = Connection::open(self.target.address).await;
            let unreachable = |error| Failure::error("unreachable", &format!("cannot connect: {error}"));
            self.connection = Some(opened.map_err(unreachable)?);
        }
        match &mut self.connection {
            Some(connection) => Ok(connection.ask(request).await.map_err(broken)?.status),
            None => Err(Fault::Senseless.into()),
        }
    }

    async fn refused(&mut self, status: u16) -> Failure {
        let mut body = Vec::new();
        if let Some(connection) = &mut self.connection
            && let Err(error) = connection.body(&mut body).await
        {
            return broken(error);
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(Refusal { error }) => Failure::error(&format!("{status} {}", error.code), &error.message),
            Err(_) => Failure::error(&status.to_string(), "that is not how an OpenClaw server refuses"),
        }
    }
}

fn broken(error: WireError) -> Failure {
    Failure::error("connection_broken", &format!("the connection broke: {error}"))
}
