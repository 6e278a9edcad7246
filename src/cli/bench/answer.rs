//! Whether a streamed answer is right: a fast server that drops, doubles or garbles must not win.

use std::borrow::Cow;

use serde::Deserialize;

use super::blocks::{Block, Unreadable};

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("an event cannot be read")]
    Unreadable,
    #[error("the event after {after} has sequence {got}")]
    Sequence { after: i64, got: i64 },
    #[error("the event's id is {got:?} where it should be {expected}")]
    Cursor { expected: String, got: String },
    #[error("text for offset {got} came where {expected} bytes were known")]
    Offset { expected: usize, got: usize },
    #[error("{0} came outside its turn or its attempt")]
    Astray(String),
    #[error("the message is not what its deltas join to")]
    OtherText,
    #[error("the answer completed without its message")]
    NoMessage,
    #[error("{0} came after the end")]
    AfterEnd(String),
    #[error("the stream ended before the answer did")]
    NoEnd,
    #[error("the answer has {got} words, not {expected}")]
    Words { expected: usize, got: usize },
    #[error("the server could not serve a position that it gave out")]
    Gap,
    #[error("the answer to the request makes no sense")]
    Senseless,
    #[error("the acknowledgement is another message's, or came twice")]
    Acknowledged,
    #[error("an acknowledged message has {0} answers after the restarts")]
    Answers(usize),
    #[error("an answer is stored with other words than it was read with")]
    StoredText,
    #[error("{got} conversations are stored, not the {expected} that were begun")]
    Conversations { expected: usize, got: usize },
    #[error("the article about the {0} was written, and is not what a search for it finds")]
    NotFound(String),
    #[error("the article about the {0} was changed, and still says what it said before")]
    Outdated(String),
    #[error("the answer about the {0} does not say what its article says")]
    WrongAnswer(String),
    #[error("an article that can be read could not be indexed")]
    NotIndexed,
    #[error("{0} events were stored and did not come")]
    Undelivered(u64),
    #[error("{0} events came more than once, although nothing broke")]
    Repeated(u64),
    #[error("{0} requests came without a good signature, or were no event")]
    Forged(u64),
}

impl From<Unreadable> for Fault {
    fn from(Unreadable: Unreadable) -> Self {
        Self::Unreadable
    }
}

/// What an event was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// Text.
    Text,
    /// Something durable, or something that does not concern us.
    Event,
    /// The terminal event.
    End,
    /// The server ends the stream before its end; it may be resumed.
    Goodbye,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Stopped,
    Failed,
}

#[derive(Deserialize)]
struct Delta<'a> {
    turn_id: &'a str,
    attempt: i64,
    offset: usize,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Durable<'a> {
    conversation_id: &'a str,
    sequence: i64,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(borrow, default)]
    turn: Option<Turn<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
    turn_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct Turn<'a> {
    id: &'a str,
    attempt: i64,
}

/// An answer, followed over as many connections as it takes.
#[derive(Debug, Default)]
pub(super) struct Answer {
    conversation: String,
    turn: String,
    attempt: i64,
    /// The sequence of the last durable event.
    sequence: i64,
    /// The id of the last event: what `Last-Event-ID` says when resuming.
    cursor: String,
    is_open: bool,
    has_message: bool,
    text: String,
    end: Option<End>,
}

impl Answer {
    /// Forgets everything; the next event is the one after `sequence`.
    pub(super) fn begin(&mut self, sequence: i64) {
        self.conversation.clear();
        self.turn.clear();
        self.cursor.clear();
        self.text.clear();
        (self.attempt, self.sequence) = (0, sequence);
        (self.is_open, self.has_message, self.end) = (false, false, None);
    }

    /// Forgets everything but the conversation that it will stand in.
    pub(super) fn begin_in(&mut self, conversation: &str) {
        self.begin(0);
        self.conversation.push_str(conversation);
    }

    /// The next turn of the same conversation follows on the same stream.
    pub(super) fn next_turn(&mut self) {
        self.turn.clear();
        self.text.clear();
        (self.attempt, self.is_open, self.has_message, self.end) = (0, false, false, None);
    }

    pub(super) fn conversation(&self) -> &str {
        &self.conversation
    }

    pub(super) fn turn(&self) -> &str {
        &self.turn
    }

    /// What `Last-Event-ID` says when resuming; empty before anything came.
    pub(super) fn cursor(&self) -> &str {
        &self.cursor
    }

    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    pub(super) fn sequence(&self) -> i64 {
        self.sequence
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn words(&self) -> usize {
        self.text.split_whitespace().count()
    }

    /// Takes the next event.
    pub(super) fn take(&mut self, block: &Block<'_>) -> Result<Seen, Fault> {
        match block.kind {
            "stream.gap" => Err(Fault::Gap),
            "stream.closing" | "stream.lagging" => Ok(Seen::Goodbye),
            "client_token" | "typing" => Ok(Seen::Event),
            kind if self.end.is_some() => Err(Fault::AfterEnd(kind.to_owned())),
            "turn.delta" => self.delta(block),
            _ => self.durable(block),
        }
    }

    fn delta(&mut self, block: &Block<'_>) -> Result<Seen, Fault> {
        let delta: Delta<'_> = serde_json::from_str(block.data).map_err(|_| Fault::Unreadable)?;
        if !self.is_open || self.has_message || delta.turn_id != self.turn || delta.attempt != self.attempt {
            return Err(Fault::Astray(block.kind.to_owned()));
        }
        if delta.offset != self.text.len() {
            return Err(Fault::Offset { expected: self.text.len(), got: delta.offset });
        }
        self.text.push_str(&delta.text);
        self.at(block)?;
        Ok(Seen::Text)
    }

    fn durable(&mut self, block: &Block<'_>) -> Result<Seen, Fault> {
        let event: Durable<'_> = serde_json::from_str(block.data).map_err(|_| Fault::Unreadable)?;
        if event.sequence != self.sequence + 1 {
            return Err(Fault::Sequence { after: self.sequence, got: event.sequence });
        }
        self.sequence = event.sequence;
        if self.conversation.is_empty() {
            self.conversation.push_str(event.conversation_id);
        } else if self.conversation != event.conversation_id {
            return Err(Fault::Astray(block.kind.to_owned()));
        }
        match block.kind {
            "turn.started" | "turn.restarted" => self.start(block.kind, event.data.turn.as_ref())?,
            "message.sent" => self.message(event.data.message.as_ref())?,
            "turn.completed" => self.finish(End::Completed, event.data.turn.as_ref())?,
            "turn.stopped" => self.finish(End::Stopped, event.data.turn.as_ref())?,
            "turn.failed" => self.finish(End::Failed, event.data.turn.as_ref())?,
            _ => {}
        }
        self.at(block)?;
        Ok(if self.end.is_some() { Seen::End } else { Seen::Event })
    }

    fn start(&mut self, kind: &str, turn: Option<&Turn<'_>>) -> Result<(), Fault> {
        let turn = turn.ok_or(Fault::Unreadable)?;
        let is_next = match kind {
            "turn.started" => !self.is_open,
            _ => self.turn.is_empty() || self.turn == turn.id && turn.attempt == self.attempt + 1,
        };
        if !is_next {
            return Err(Fault::Astray(kind.to_owned()));
        }
        turn.id.clone_into(&mut self.turn);
        self.attempt = turn.attempt;
        self.is_open = true;
        self.text.clear();
        Ok(())
    }

    fn message(&mut self, message: Option<&Message<'_>>) -> Result<(), Fault> {
        let message = message.ok_or(Fault::Unreadable)?;
        if message.turn_id != Some(&*self.turn) || self.has_message {
            return Err(Fault::Astray("message.sent".to_owned()));
        }
        if message.content != self.text {
            return Err(Fault::OtherText);
        }
        self.has_message = true;
        Ok(())
    }

    fn finish(&mut self, end: End, turn: Option<&Turn<'_>>) -> Result<(), Fault> {
        if turn.is_none_or(|turn| turn.id != self.turn || turn.attempt != self.attempt) || !self.is_open {
            return Err(Fault::Astray("the terminal event".to_owned()));
        }
        if end == End::Completed && !self.has_message {
            return Err(Fault::NoMessage);
        }
        self.is_open = false;
        self.end = Some(end);
        Ok(())
    }

    /// The position after the event must be the one that it says.
    fn at(&mut self, block: &Block<'_>) -> Result<(), Fault> {
        use std::fmt::Write;

        let seen = if self.is_open { self.text.len() } else { 0 };
        self.cursor.clear();
        // Writing to memory does not fail.
        let _ = write!(self.cursor, "{}", self.sequence);
        if seen > 0 {
            let _ = write!(self.cursor, ".{seen}");
        }
        match block.id {
            Some(id) if id == self.cursor => Ok(()),
            id => {
                Err(Fault::Cursor { expected: self.cursor.clone(), got: id.unwrap_or_default().to_owned() })
            }
        }
    }

    /// Is all of it there, and as long as it should be?
    pub(super) fn check_whole(&self, words: Option<usize>) -> Result<End, Fault> {
        let end = self.end.ok_or(Fault::NoEnd)?;
        match words {
            Some(expected) if end == End::Completed && self.words() != expected => {
                Err(Fault::Words { expected, got: self.words() })
            }
            _ => Ok(end),
        }
    }
}
