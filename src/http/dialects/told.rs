//! What an answer says, whether a conversation gives it or an actor that stores nothing.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix::Arbiter;
use openclaw_actors::{
    answer::{Citation, Finished, LONGEST_ANSWER, Usage},
    conversation::{
        directory::Directory,
        feed::Closing,
        messages::ConversationKey,
        reader::{Frame, Reader},
        record::{Role, TurnError},
        stateless::{self, Heard, Listener},
    },
    event::{DurableEvent, EventKind},
    ids::{MessageId, TurnId},
};
use serde::Deserialize;
use tracing::warn;

use crate::server::Stopping;

/// What is said next.
#[derive(Debug)]
pub(super) enum Told {
    /// More text; never empty.
    Text(String),
    /// The text began anew, after a crash of what made it.
    Restarted,
    /// The reply as it is stored, with what it rests on.
    Reply(Option<MessageId>, Vec<Citation>),
    /// That was the answer.
    Ended(End),
    /// The server ends it here, without an end.
    Lost(Lost),
}

/// How an answer ended.
#[derive(Debug)]
pub(super) enum End {
    /// It is whole, or as long as answers get.
    Completed { model: Option<String>, usage: Option<Usage>, is_full: bool },
    /// Somebody stopped it: the client, an agent who took over, another message.
    Stopped,
    /// It failed.
    Failed { code: String, message: String },
    /// The message was stored and nobody is to answer it but a person.
    NoTurn,
}

/// Why there is no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The server stops.
    Shutdown,
    /// The conversation was erased.
    Deleted,
    /// The store failed under it.
    Unavailable,
}

/// Where an answer comes from, and what of it was not taken yet.
pub(super) struct Telling {
    source: Source,
    told: VecDeque<Told>,
    /// Of the text so far.
    bytes: usize,
    over: bool,
}

enum Source {
    Turn {
        reader: Box<Reader>,
        frames: Vec<Frame>,
        /// There is a turn, which has an end.
        awaits_end: bool,
    },
    Once {
        listener: Option<Listener>,
        stopping: Pin<Box<dyn Future<Output = ()>>>,
    },
}

/// A turn that can be told to end.
#[derive(Debug, Clone)]
pub(super) struct OfTurn {
    pub(super) directory: Directory,
    pub(super) key: ConversationKey,
    pub(super) turn: TurnId,
}

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telling").field("over", &self.over).finish_non_exhaustive()
    }
}

impl Telling {
    /// What a conversation says, as `reader` shows it: of a turn, if there is one.
    pub(super) fn of_turn(reader: Reader, turn: Option<TurnId>) -> Self {
        let (reader, awaits_end) = (Box::new(reader), turn.is_some());
        let source = Source::Turn { reader, frames: Vec::new(), awaits_end };
        Self { source, told: VecDeque::new(), bytes: 0, over: false }
    }

    /// What an actor says that stores nothing.
    pub(super) fn once(listener: Listener, stopping: Stopping) -> Self {
        let stopping = Box::pin(stopping.announced());
        let source = Source::Once { listener: Some(listener), stopping };
        Self { source, told: VecDeque::new(), bytes: 0, over: false }
    }

    /// What is said next; `None` after the end.
    pub(super) fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<Option<Told>> {
        loop {
            if let Some(told) = self.told.pop_front() {
                self.over |= matches!(told, Told::Ended(_) | Told::Lost(_));
                return Poll::Ready(Some(told));
            }
            if self.over {
                return Poll::Ready(None);
            }
            ready!(self.poll_source(cx));
        }
    }

    /// Takes what the source has.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { source, told, bytes, .. } = self;
        match source {
            Source::Turn { reader, frames, awaits_end } => match ready!(reader.poll_frames(cx, frames)) {
                Ok(true) => told.extend(frames.drain(..).filter_map(|frame| hear(frame, bytes))),
                // The turn went with its conversation.
                Ok(false) if *awaits_end => return self.lose(Lost::Deleted),
                Ok(false) => told.push_back(Told::Ended(End::NoTurn)),
                Err(error) => {
                    warn!(%error, "an answer could not be followed");
                    return self.lose(Lost::Unavailable);
                }
            },
            Source::Once { listener, stopping } => {
                let heard = match listener {
                    _ if stopping.as_mut().poll(cx).is_ready() => return self.lose(Lost::Shutdown),
                    Some(listener) => ready!(listener.poll_heard(cx)),
                    None => None,
                };
                match heard {
                    None => return self.lose(Lost::Unavailable),
                    Some(Heard::Text(text)) => {
                        *bytes += text.len();
                        told.push_back(Told::Text(text));
                    }
                    Some(Heard::Ended(ended)) => told.extend(end_of(ended, is_full(*bytes))),
                }
            }
        }
        Poll::Ready(())
    }

    fn lose(&mut self, why: Lost) -> Poll<()> {
        self.told.push_back(Told::Lost(why));
        Poll::Ready(())
    }

    pub(super) async fn next(&mut self) -> Option<Told> {
        poll_fn(|cx| self.poll_told(cx)).await
    }

    /// Waits for the first words, or for what comes instead of them: what the status of an answer depends on. Keeps
    /// it, to be taken.
    pub(super) async fn begins(&mut self) -> Option<&Told> {
        let mut passed = VecDeque::new();
        while let Some(told) = self.next().await {
            let decides = matches!(told, Told::Text(_) | Told::Ended(_) | Told::Lost(_));
            // Nothing was shown yet that could begin anew.
            if !matches!(told, Told::Restarted) {
                passed.push_back(told);
            }
            if decides {
                break;
            }
        }
        passed.append(&mut self.told);
        self.told = passed;
        self.over = false;
        self.told.iter().find(|told| !matches!(told, Told::Reply(..)))
    }

    /// Enough was said. A turn is stopped, and says so in the end; an actor that stores nothing ends here.
    pub(super) fn stop(&mut self, turn: Option<&OfTurn>) {
        match &mut self.source {
            Source::Once { listener, .. } => {
                *listener = None;
                self.told.clear();
                self.told.push_back(Told::Ended(End::Stopped));
            }
            Source::Turn { .. } => {
                if let (Some(turn), Some(arbiter)) = (turn.cloned(), Arbiter::try_current()) {
                    // Refused only when the process ends, and then the turn ends with it.
                    arbiter.spawn(async move { turn.stop().await });
                }
            }
        }
    }
}

impl OfTurn {
    async fn stop(self) {
        if let Err(error) = self.directory.stop(self.key, Some(self.turn), false).await {
            warn!(%error, turn.id = %self.turn, "a turn of which enough was heard was not stopped");
        }
    }
}

fn hear(frame: Frame, bytes: &mut usize) -> Option<Told> {
    match frame {
        Frame::Delta { offset, text, .. } => {
            *bytes = offset + text.len();
            Some(Told::Text(text))
        }
        Frame::Event(event, _) => hear_event(&event, *bytes),
        Frame::Closing(Closing::Shutdown) => Some(Told::Lost(Lost::Shutdown)),
        Frame::Closing(Closing::Deleted) => Some(Told::Lost(Lost::Deleted)),
        // Of whoever comes without a cursor nothing is missing, and typing is not the answer.
        Frame::Gap { .. } | Frame::Notice(_) => None,
    }
}

/// Of an event what the dialects show, read from the one JSON object that it is everywhere.
fn hear_event(event: &DurableEvent, bytes: usize) -> Option<Told> {
    #[derive(Deserialize)]
    struct Shown {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        turn: Option<Turn>,
        message: Option<Message>,
    }
    #[derive(Deserialize)]
    struct Turn {
        usage: Option<Usage>,
        model: Option<String>,
        error: Option<TurnError>,
    }
    #[derive(Deserialize)]
    struct Message {
        id: MessageId,
        role: Role,
        citations: Vec<Citation>,
    }
    let read = || serde_json::from_slice::<Shown>(&event.json).ok().map(|shown| shown.data);
    match event.kind {
        EventKind::TurnRestarted => Some(Told::Restarted),
        EventKind::MessageSent => {
            let Message { id, citations, .. } =
                read()?.message.filter(|message| message.role == Role::Assistant)?;
            Some(Told::Reply(Some(id), citations))
        }
        EventKind::TurnCompleted => {
            let Turn { usage, model, .. } = read()?.turn?;
            // The one that was cut off knows neither.
            let model = model.filter(|model| !model.is_empty());
            let usage = usage.filter(|_| model.is_some());
            Some(Told::Ended(End::Completed { model, usage, is_full: is_full(bytes) }))
        }
        EventKind::TurnStopped => Some(Told::Ended(End::Stopped)),
        EventKind::TurnFailed => {
            let TurnError { code, message } = read()?.turn?.error?;
            Some(Told::Ended(End::Failed { code, message }))
        }
        _ => None,
    }
}

/// As long as answers get. The last character may not have fitted in.
fn is_full(bytes: usize) -> bool {
    bytes + char::MAX.len_utf8() > LONGEST_ANSWER
}

fn end_of(ended: stateless::Ended, is_full: bool) -> Vec<Told> {
    match ended {
        stateless::Ended::Whole(finished) => {
            let Finished { citations, usage, model, .. } = *finished;
            let end = End::Completed { model: Some(model), usage: Some(usage), is_full };
            vec![Told::Reply(None, citations), Told::Ended(end)]
        }
        stateless::Ended::Full => {
            vec![Told::Ended(End::Completed { model: None, usage: None, is_full: true })]
        }
        stateless::Ended::Failed(error) => {
            let (code, message) = (error.code.to_owned(), error.message.to_owned());
            vec![Told::Ended(End::Failed { code, message })]
        }
    }
}
