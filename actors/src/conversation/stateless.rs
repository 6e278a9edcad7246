//! One answer that belongs to no conversation: an actor that stores nothing.
//!
//! It counts among the running turns like any other and ends with its reader: nobody could come back for the answer. If
//! it dies, the answer has failed; there is nothing from which a successor could go on.

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    task::{Context as Task, Poll, Waker},
};

use actix::prelude::*;
use futures_util::{StreamExt, stream};
use tracing::error;

use super::{
    directory::{Directory, Permit},
    feed::MAX_ANSWER_BYTES,
    messages::Refusal,
    record::TurnStatus,
};
use crate::{
    answer::{AnswerError, Chunk, Finished, Question},
    supervision::End,
};

/// What is heard of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// More text; never empty.
    Text(String),
    /// The answer is over.
    Ended(Ended),
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// It is whole.
    Whole(Box<Finished>),
    /// It reached the most that an answer may hold.
    Full,
    /// It failed.
    Failed(AnswerError),
}

/// What the actor has said, and its reader not yet heard. Both live on one thread. Bounded by the most that an answer
/// may hold.
#[derive(Default)]
struct Said {
    text: String,
    bytes: usize,
    ended: Option<Ended>,
    reader: Option<Waker>,
}

/// Reads the answer, on the thread that asked. Dropped, it ends the actor and with it the model's call.
pub struct Listener {
    said: Rc<RefCell<Said>>,
    actor: Addr<StatelessActor>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("alive", &self.actor.connected()).finish_non_exhaustive()
    }
}

impl Listener {
    /// What was said since the last time: all text in one piece, then the end, then nothing.
    pub fn poll_heard(&self, cx: &mut Task<'_>) -> Poll<Option<Heard>> {
        let mut said = self.said.borrow_mut();
        if !said.text.is_empty() {
            return Poll::Ready(Some(Heard::Text(std::mem::take(&mut said.text))));
        }
        if let Some(ended) = said.ended.take() {
            return Poll::Ready(Some(Heard::Ended(ended)));
        }
        if !self.actor.connected() {
            return Poll::Ready(None);
        }
        said.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Its mailbox holds nothing else. An actor that has ended needs no word.
        let _ = self.actor.try_send(HangUp);
    }
}

/// The reader is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct HangUp;

struct StatelessActor {
    directory: Directory,
    question: Question,
    said: Rc<RefCell<Said>>,
    status: TurnStatus,
    _permit: Permit,
}

impl Directory {
    /// Answers a question without storing anything; the actor lives on this thread.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] if too many turns run, [`Refusal::Unavailable`] if the server is stopping.
    pub fn answer_once(&self, question: Question) -> Result<Listener, Refusal> {
        if self.is_stopping() {
            return Err(Refusal::Unavailable);
        }
        if self.is_overloaded() {
            return Err(Refusal::Overloaded);
        }
        let said = Rc::<RefCell<Said>>::default();
        let actor = StatelessActor {
            directory: self.clone(),
            question,
            said: Rc::clone(&said),
            // Unless something else becomes of it.
            status: TurnStatus::Stopped,
            _permit: self.count_running(),
        };
        Ok(Listener { said, actor: actor.start() })
    }
}

impl StatelessActor {
    fn say(&mut self, mut text: String, ctx: &mut Context<Self>) {
        let mut said = self.said.borrow_mut();
        let room = MAX_ANSWER_BYTES - said.bytes;
        let is_full = text.len() > room;
        text.truncate(text.floor_char_boundary(room));
        said.bytes += text.len();
        said.text.push_str(&text);
        if let Some(reader) = said.reader.take() {
            reader.wake();
        }
        drop(said);
        if is_full {
            self.end(TurnStatus::Completed, Ended::Full);
            ctx.stop();
        }
    }

    fn end(&mut self, status: TurnStatus, ended: Ended) {
        self.status = status;
        // A panic in the middle of an unwinding would end the process.
        let Ok(mut said) = self.said.try_borrow_mut() else { return };
        said.ended = Some(ended);
        if let Some(reader) = said.reader.take() {
            reader.wake();
        }
    }
}

impl Actor for StatelessActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let broken = AnswerError { code: "model_failed", message: "the answer ended before it was whole" };
        let answer = self.directory.answerers().ask(&self.question);
        ctx.add_stream(answer.chain(stream::iter([Err(broken)])));
    }
}

impl StreamHandler<Result<Chunk, AnswerError>> for StatelessActor {
    fn handle(&mut self, item: Result<Chunk, AnswerError>, ctx: &mut Context<Self>) {
        match item {
            Ok(Chunk::Text(text)) => return self.say(text, ctx),
            Ok(Chunk::Done(finished)) => self.end(TurnStatus::Completed, Ended::Whole(Box::new(finished))),
            Err(error) => self.end(TurnStatus::Failed, Ended::Failed(error)),
        }
        ctx.stop();
    }
}

impl Handler<HangUp> for StatelessActor {
    type Result = ();

    fn handle(&mut self, HangUp: HangUp, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Drop for StatelessActor {
    fn drop(&mut self) {
        if End::of_this_thread() == End::Panicked {
            let Question { org, conversation, .. } = &self.question;
            error!(org.id = %org, conversation.id = %conversation, "an actor that stores nothing panicked");
            let died = AnswerError { code: "internal", message: "the server failed to answer" };
            self.end(TurnStatus::Failed, Ended::Failed(died));
        }
        self.directory.figures().count(self.status);
    }
}
