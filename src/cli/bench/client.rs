//! One simulated client: a connection, what it asks, and what it makes of the answers.

mod completing;
mod holding;
mod resuming;
mod talking;

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use self::{completing::Completion, talking::Talk};
pub(super) use self::{holding::Held, resuming::Storm};
use super::{
    answer::{Answer, End, Fault, Seen},
    blocks::Blocks,
    tally::{Failure, Took},
    wire::{Address, Connection, WireError},
};

/// What every simulated customer asks.
const QUESTION: &str = "Where is my parcel?";

/// An answer that is not whole by then will not be. Longer than the longest wait for a first token and the longest
/// paced answer that people measure.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);

/// The server under load, and what is asked of it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: Address,
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
        self.post_with(path, "", body)
    }

    /// The same with further header lines.
    pub(super) fn post_with(&self, path: &str, headers: &str, body: &Value) -> Vec<u8> {
        let (host, prefix, key, body) = (&self.host, &self.prefix, &self.key, body.to_string());
        format!(
            "POST {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// A PATCH.
    pub(super) fn patch(&self, path: &str, body: &Value) -> Vec<u8> {
        self.as_post("PATCH", path, body)
    }

    /// A PUT.
    pub(super) fn put(&self, path: &str, body: &Value) -> Vec<u8> {
        self.as_post("PUT", path, body)
    }

    fn as_post(&self, method: &str, path: &str, body: &Value) -> Vec<u8> {
        let post = self.post(path, body);
        [method.as_bytes(), &post[b"POST".len()..]].concat()
    }

    /// A POST of lines of JSON.
    pub(super) fn ndjson(&self, path: &str, lines: &str) -> Vec<u8> {
        let (host, prefix, key) = (&self.host, &self.prefix, &self.key);
        format!(
            "POST {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{lines}",
            lines.len()
        )
        .into_bytes()
    }

    /// A GET with further header lines.
    pub(super) fn get(&self, path: &str, headers: &str) -> Vec<u8> {
        let (host, prefix, key) = (&self.host, &self.prefix, &self.key);
        format!("GET {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n{headers}\r\n")
            .into_bytes()
    }
}

/// What errors are counted by where no server answers.
const UNREACHABLE: &str = "unreachable";
const BROKEN: &str = "connection_broken";

/// The answer to a message that is not waited for.
#[derive(Deserialize)]
struct Accepted {
    conversation: Named,
    message: Said,
    turn: Begun,
}

/// The answer to a conversation without a message.
#[derive(Deserialize)]
struct Started {
    conversation: Named,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Said {
    content: String,
}

#[derive(Deserialize)]
struct Begun {
    status: String,
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

/// When the parts of an answer came.
#[derive(Debug)]
pub(super) struct AnswerWaits {
    /// The request was due, or sent.
    since: Instant,
    first_token: Option<Duration>,
    last_token: Option<Instant>,
    end: Option<Duration>,
    /// Between the pieces of its text.
    pub(super) gaps: Vec<Duration>,
    /// From asking for the rest of it until something came, each time that its stream was cut.
    pub(super) resumes: Vec<Duration>,
    /// What single operations took, where a request is made of several.
    pub(super) operations: Vec<(&'static str, Duration)>,
}

impl AnswerWaits {
    fn begin(&mut self, since: Instant) {
        (self.since, self.first_token, self.last_token, self.end) = (since, None, None, None);
        self.gaps.clear();
        self.resumes.clear();
        self.operations.clear();
    }

    fn saw(&mut self, seen: &Seen, now: Instant) {
        match seen {
            Seen::Text => match self.last_token.replace(now) {
                None => self.first_token = Some(now - self.since),
                Some(last) => self.gaps.push(now - last),
            },
            Seen::End => self.end = Some(now - self.since),
            Seen::Event | Seen::Goodbye => {}
        }
    }
}

/// How the reading of a stream stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The server ended it.
    Ended,
    /// It said that it would, before the answer's end.
    SaidGoodbye,
}

/// One simulated client.
#[derive(Debug)]
pub(super) struct Client {
    target: Rc<Target>,
    connection: Option<Connection>,
    blocks: Blocks,
    answer: Answer,
    /// An answer in the OpenAI dialect.
    completion: Completion,
    /// A conversation over a WebSocket.
    talk: Option<Talk>,
    waits: AnswerWaits,
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
            completion: Completion::default(),
            talk: None,
            waits: AnswerWaits {
                since: Instant::now(),
                first_token: None,
                last_token: None,
                end: None,
                gaps: Vec::new(),
                resumes: Vec::new(),
                operations: Vec::new(),
            },
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

    pub(super) fn waits(&self) -> &AnswerWaits {
        &self.waits
    }

    /// Says what the operations took of which the request was made.
    pub(super) fn note_operations(&mut self, operations: Vec<(&'static str, Duration)>) {
        self.waits.operations = operations;
    }

    /// Turns answered in the conversation that the last answer was part of.
    pub(super) fn turns(&self) -> usize {
        self.turns
    }

    /// The last answer's text.
    pub(super) fn text(&self) -> &str {
        self.answer.text()
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
        self.waits.begin(since);
        let read = timeout(ANSWERED_WITHIN, self.read_answer(request)).await;
        self.settle(read.unwrap_or_else(|_| Err(too_slow())))
    }

    /// After a failure, nothing of this conversation or connection is used again.
    fn settle<T>(&mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        match outcome {
            Ok(_) => self.turns += 1,
            Err(_) => {
                self.turns = 0;
                self.connection = None;
                self.talk = None;
            }
        }
        outcome
    }

    async fn read_answer(&mut self, request: &[u8]) -> Result<Took, Failure> {
        let status = self.ask(request).await?;
        if status != 200 {
            return Err(self.refused(status).await);
        }
        match self.read_events().await? {
            Stop::Ended => self.whole(),
            Stop::SaidGoodbye => {
                Err(Failure::error("stream_closed", "the server closed the stream before its end"))
            }
        }
    }

    /// Reads a stream to its end.
    async fn read_events(&mut self) -> Result<Stop, Failure> {
        let mut stop = Stop::Ended;
        self.blocks.clear();
        while self.read_piece().await? {
            stop = self.take_events()?.unwrap_or(stop);
        }
        Ok(stop)
    }

    /// Reads what comes next of a stream; false at its end. Dropped before it is done, it has lost nothing.
    async fn read_piece(&mut self) -> Result<bool, Failure> {
        let Some(connection) = &mut self.connection else { return Err(Fault::Senseless.into()) };
        let input = self.blocks.input();
        let before = input.len();
        let more = connection.piece(input).await.map_err(broken)?;
        if let Some(recording) = &mut self.recording {
            recording.extend_from_slice(&input[before..]);
        }
        Ok(more)
    }

    /// Checks the events that have come.
    fn take_events(&mut self) -> Result<Option<Stop>, Failure> {
        let now = Instant::now();
        let mut stop = None;
        while let Some(block) = self.blocks.next().map_err(Fault::from)? {
            let seen = self.answer.take(&block)?;
            self.waits.saw(&seen, now);
            if seen == Seen::Goodbye && self.answer.end().is_none() {
                stop = Some(Stop::SaidGoodbye);
            }
        }
        Ok(stop)
    }

    /// What the answer took, if all of it is there.
    fn whole(&self) -> Result<Took, Failure> {
        match self.answer.check_whole(self.target.words)? {
            End::Completed => Ok(Took {
                first_token: self.waits.first_token,
                completion: self.waits.end.unwrap_or_default(),
                words: self.answer.words(),
            }),
            End::Stopped => Err(Failure::error("turn_stopped", "the turn was stopped")),
            End::Failed => Err(Failure::error("turn_failed", "the turn failed")),
        }
    }

    /// Sends a message whose answer is not waited for.
    pub(super) async fn accept(&mut self, request: &[u8], since: Instant) -> Result<Took, Failure> {
        self.waits.begin(since);
        let accepted = match timeout(ANSWERED_WITHIN, self.call(request)).await {
            Ok(Ok(body)) => serde_json::from_slice(&body).map_err(|_| Fault::Senseless.into()),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(too_slow()),
        };
        let Accepted { conversation, message, turn } = self.settle(accepted)?;
        if message.content != QUESTION || !conversation.id.starts_with("conv_") || turn.status != "running" {
            return Err(Fault::Senseless.into());
        }
        Ok(Took { first_token: None, completion: since.elapsed(), words: 0 })
    }

    /// Begins a conversation without a message. Says which.
    pub(super) async fn begin(&mut self, request: &[u8], since: Instant) -> Result<(String, Took), Failure> {
        self.waits.begin(since);
        let begun = timeout(ANSWERED_WITHIN, self.begin_conversation(request)).await;
        let conversation = self.settle(begun.unwrap_or_else(|_| Err(too_slow())))?;
        Ok((conversation, Took { first_token: None, completion: since.elapsed(), words: 0 }))
    }

    /// Begins a conversation without a message, to go on with.
    pub(super) async fn converse(&mut self, request: &[u8], since: Instant) -> Result<(), Failure> {
        let (conversation, _) = self.begin(request, since).await?;
        self.answer.begin_in(&conversation);
        self.turns = 0;
        Ok(())
    }

    async fn begin_conversation(&mut self, request: &[u8]) -> Result<String, Failure> {
        let body = self.call(request).await?;
        let Started { conversation } = serde_json::from_slice(&body).map_err(|_| Fault::Senseless)?;
        Ok(conversation.id)
    }

    /// Sends a request and reads the answer's whole body; what is not 2xx is a failure.
    pub(super) async fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        let status = self.ask(request).await?;
        if !(200..300).contains(&status) {
            return Err(self.refused(status).await);
        }
        let mut body = Vec::new();
        match &mut self.connection {
            Some(connection) => connection.body(&mut body).await.map_err(broken)?,
            None => return Err(Fault::Senseless.into()),
        }
        Ok(body)
    }

    /// The same, within the time that an answer has.
    pub(super) async fn call_in_time(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        let called = timeout(ANSWERED_WITHIN, self.call(request)).await;
        let called = called.unwrap_or_else(|_| Err(too_slow()));
        if called.is_err() {
            self.connection = None;
        }
        called
    }

    /// Sends a request, on a new connection if there is none to use. Says the answer's status.
    async fn ask(&mut self, request: &[u8]) -> Result<u16, Failure> {
        if !self.connection.as_ref().is_some_and(Connection::is_free) {
            let opened = Connection::open(&self.target.address).await;
            let unreachable = |error| Failure::error(UNREACHABLE, &format!("cannot connect: {error}"));
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

fn too_slow() -> Failure {
    Failure::error("timeout", "there was no whole answer in time")
}

fn broken(error: WireError) -> Failure {
    Failure::error(BROKEN, &format!("the connection broke: {error}"))
}
