//! When the inputs of a conversation take effect: one at a time, each on disk before the next.
//!
//! The machine is plain data. Inputs go in (`command`, `looked_up`, `text`, `ended`, `committed`), effects come out
//! of [`Machine::effects`] in order, and the actor carries them out. So the whole of it can be checked without an
//! actor, a clock or a store.
//!
//! An append is in flight or not; while it is, commands wait in a queue and the model's text goes on being shown.
//! Whatever ends an answer seals it first: from then on no further byte is shown, whatever the commit does.

mod decide;
mod recall;

use std::{collections::VecDeque, mem};

use super::{
    feed::MAX_ANSWER_BYTES,
    handover::{Around, Handover, Policy},
    messages::{Accepted, Command, Interrupted, Refusal, Reply},
    record::{Message, StopReason, Turn},
    sql::Loaded,
    turn::{Change, Ending, Resumed, Shown, State},
};
use crate::{
    answer::{AnswerError, Finished, Outcome, Usage},
    clock::Timestamp,
    ids::{HandoverId, MessageId, TurnId},
    outbox::Outbox,
    writer::{Op, WriteError},
};

/// Commands that may wait for the append in flight. A burst of this size is answered in milliseconds; a longer queue
/// is a client gone wrong.
pub(super) const WAITING_COMMANDS: usize = 64;

/// How often the end of an answer is tried to be stored, half a second apart, before the actor gives up: then the
/// store decides at the next load.
pub(super) const COMMIT_TRIES: u32 = 60;

/// What the model sends belongs to one attempt under one owner; anything else is late and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) turn: TurnId,
    pub(super) attempt: i64,
    pub(super) epoch: i64,
}

/// What must be looked up before a command is decided: was its effect stored already?
#[derive(Debug, Clone)]
pub(super) enum LookUp {
    Message { message: MessageId, client_message_id: Option<String> },
    Handover(HandoverId),
}

/// What was found.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Message(Box<Message>, Option<Box<Turn>>),
    Handover(Box<Handover>),
}

/// What the machine wants done, in order. `T` is how a command's sender is answered.
#[derive(Debug, Clone)]
pub(super) enum Effect<T> {
    /// Read a message and its turn, or a handover, from the store, then call `looked_up`.
    LookUp(LookUp),
    /// Read what a handover's event is made of, then call `recalled`.
    Recall,
    /// The same in half a second.
    RecallLater,
    /// Store the op, then call `committed`.
    Commit(Op),
    /// Store it in half a second, then call `committed`.
    CommitLater(Op),
    /// The change is on disk: show its events.
    Publish(Box<Change>),
    /// Ask the model.
    Ask(Stamp),
    /// End the model's call.
    StopModel,
    /// Show no further byte of the answer.
    Seal,
    /// Answer a command.
    Reply(T, Result<Reply, Interrupted>),
    /// Tell the readers that somebody types.
    Typing(&'static str),
    /// The conversation is gone: end its streams.
    Erased,
    /// Leave the directory and stop: the store knows more, or the conversation does not exist.
    Leave,
}

/// The answer being given.
#[derive(Debug, Clone)]
struct Answer {
    stamp: Stamp,
    text: String,
    first_token_at: Option<Timestamp>,
    asked: bool,
    sealed: bool,
}

impl Answer {
    fn begin(stamp: Stamp) -> Self {
        Self { stamp, text: String::new(), first_token_at: None, asked: false, sealed: false }
    }
}

#[derive(Debug, Clone)]
struct Waiting<T> {
    sender: T,
    command: Command,
    at: Timestamp,
    repeat: bool,
}

/// What is under way. Everything else waits for it.
#[derive(Debug, Clone)]
enum Busy<T> {
    Nothing,
    LookingUp(Box<Waiting<T>>),
    /// Before the end of an answer is stored, or the first of those who wait is decided.
    Recalling {
        tries: u32,
    },
    Committing {
        change: Box<Change>,
        after: After<T>,
        tries: u32,
    },
}

/// What follows when a change is on disk.
#[derive(Debug, Clone)]
enum After<T> {
    /// Somebody is answered; if the commit fails it is refused, and nothing has happened.
    Answer(T, Answered),
    /// Nobody asked: it must be stored in the end.
    Must,
}

/// How a command is answered once its change is on disk.
#[derive(Debug, Clone)]
enum Answered {
    Message(Option<MessageId>),
    Turn(TurnId),
    Stopped(TurnId),
    Conversation,
    /// The same, of a conversation that nobody needs in memory any more.
    Idle,
    Handover {
        id: HandoverId,
        created: bool,
    },
    Done,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Machine<T> {
    /// `None`: it does not exist (yet).
    state: Option<State>,
    answer: Option<Box<Answer>>,
    /// How the model ended, until that is being stored.
    ending: Option<Box<Ending>>,
    busy: Busy<T>,
    waiting: VecDeque<Box<Waiting<T>>>,
    /// What was recalled, for whatever is decided next.
    around: Option<Box<Around>>,
    /// What the organization's settings make of the running turn.
    policy: Option<Policy>,
    /// The last turn was let go of, to save memory: the store has it.
    forgot_last: bool,
    effects: Vec<Effect<T>>,
    left: bool,
    /// Adds what webhooks are to be told.
    outbox: Outbox,
}

impl<T> Machine<T> {
    /// A machine for a conversation as it was loaded; a turn that was left open goes on.
    pub(super) fn new(loaded: Option<Loaded>, at: Timestamp, outbox: Outbox) -> Self {
        let state = loaded.map(|Loaded { conversation, open, last }| State {
            conversation,
            open: open.into(),
            last: last.map(Box::new),
        });
        let mut machine = Self {
            state,
            answer: None,
            ending: None,
            busy: Busy::Nothing,
            waiting: VecDeque::new(),
            around: None,
            policy: None,
            forgot_last: false,
            effects: Vec::new(),
            left: false,
            outbox,
        };
        match machine.state.as_ref().and_then(|state| state.resume(at)) {
            Some(Resumed::GoesOn(change)) => machine.commit(change, After::Must),
            Some(Resumed::Fails(ending)) => {
                machine.ending = Some(Box::new(ending));
                machine.go_on(at);
            }
            None => {}
        }
        machine
    }

    /// What is to be done, in order.
    pub(super) fn effects(&mut self) -> Vec<Effect<T>> {
        mem::take(&mut self.effects)
    }

    pub(super) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    pub(super) fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Nothing is under way and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.busy, Busy::Nothing)
            && self.waiting.is_empty()
            && self.state.as_ref().is_none_or(|state| state.open.is_empty())
    }

    /// A turn is open, or about to be.
    pub(super) fn has_open_turn(&self) -> bool {
        let opening = match &self.busy {
            Busy::Committing { change, .. } => !change.next.open.is_empty(),
            Busy::Nothing | Busy::LookingUp(_) | Busy::Recalling { .. } => false,
        };
        opening || self.state.as_ref().is_some_and(|state| !state.open.is_empty())
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> Option<&Change> {
        match &self.busy {
            Busy::Committing { change, .. } => Some(change),
            Busy::Nothing | Busy::LookingUp(_) | Busy::Recalling { .. } => None,
        }
    }

    /// Nothing is being stored.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.busy, Busy::Nothing)
    }

    /// The turns that wait behind the running one: what they ask is not the running turn's to answer.
    pub(super) fn running(&self) -> Option<&Turn> {
        self.state.as_ref().and_then(State::running)
    }

    /// A command arrives.
    pub(super) fn command(&mut self, sender: T, mut command: Command, at: Timestamp, repeat: bool) {
        if self.left {
            self.effects.push(Effect::Reply(sender, Err(Interrupted::Reload)));
            return;
        }
        if matches!(self.busy, Busy::Committing { tries: 1.., .. } | Busy::Recalling { tries: 1.. }) {
            self.refuse(sender, Refusal::Unavailable);
            return;
        }
        if self.waiting.len() >= WAITING_COMMANDS {
            self.refuse(sender, Refusal::Overloaded);
            return;
        }
        if let Command::Stop { turn, .. } = &mut command {
            self.stop_arrives(turn);
        }
        self.waiting.push_back(Box::new(Waiting { sender, command, at, repeat }));
        self.go_on(at);
    }

    /// A stop means the turn that runs as it arrives, and what that turn shows ends here.
    fn stop_arrives(&mut self, turn: &mut Option<TurnId>) {
        let Some(running) = self.running().map(|turn| turn.id) else { return };
        let stopped = *turn.get_or_insert(running);
        if stopped == running {
            self.seal();
        }
    }

    /// More text from the model. What of it is to be shown comes back at once, before any other effect: this happens a
    /// hundred times as often as all the rest.
    pub(super) fn text(
        &mut self,
        stamp: Stamp,
        mut text: String,
        now: impl Fn() -> Timestamp,
    ) -> Option<String> {
        let answer = self.answer.as_mut().filter(|answer| answer.stamp == stamp && !answer.sealed)?;
        let room = MAX_ANSWER_BYTES - answer.text.len();
        let cut = text.len() > room;
        text.truncate(text.floor_char_boundary(room));
        answer.first_token_at.get_or_insert_with(&now);
        answer.text.push_str(&text);
        if cut {
            // What was shown is an answer; nobody reads further.
            let whole = Finished {
                outcome: Outcome::Answered,
                citations: Vec::new(),
                confidence: None,
                usage: Usage::default(),
                model: String::new(),
                cached: false,
            };
            self.ended(stamp, Ok(whole), now());
        }
        (!text.is_empty()).then_some(text)
    }

    /// The model is done, or failed.
    pub(super) fn ended(&mut self, stamp: Stamp, result: Result<Finished, AnswerError>, at: Timestamp) {
        if self.answer.as_ref().is_none_or(|answer| answer.stamp != stamp || answer.sealed) {
            return;
        }
        self.seal();
        self.ending = Some(Box::new(result.map_or_else(Ending::Failed, Ending::Completed)));
        self.go_on(at);
    }

    /// How the commit that was asked for ended.
    pub(super) fn committed(&mut self, result: Result<(), WriteError>, at: Timestamp) {
        let Busy::Committing { change, after, tries } = mem::replace(&mut self.busy, Busy::Nothing) else {
            return;
        };
        let stopped_for = change.ended_turns().find_map(|turn| turn.stop_reason);
        match (result, after) {
            (Ok(()), after) => self.apply(change, after),
            (Err(WriteError::Conflict), after) => {
                if let After::Answer(sender, _) = after {
                    self.effects.push(Effect::Reply(sender, Err(Interrupted::Reload)));
                }
                self.leave();
            }
            (Err(error), After::Answer(sender, _)) => {
                let refusal = match error {
                    WriteError::Overloaded => Refusal::Overloaded,
                    _ => Refusal::Unavailable,
                };
                self.refuse(sender, refusal);
                self.end_what_was_sealed(stopped_for);
                if self.state.is_none() {
                    self.leave();
                }
            }
            (Err(_), After::Must) if tries < COMMIT_TRIES => {
                self.refuse_all(&Refusal::Unavailable);
                self.effects.push(Effect::CommitLater(change.to_op(&self.outbox)));
                self.busy = Busy::Committing { change, after: After::Must, tries: tries + 1 };
            }
            (Err(_), After::Must) => self.leave(),
        }
        self.go_on(at);
    }

    /// The command that sealed the answer could not be stored. The answer stays sealed, so its turn ends as stopped.
    fn end_what_was_sealed(&mut self, reason: Option<StopReason>) {
        if self.answer.as_ref().is_some_and(|answer| answer.sealed) && self.ending.is_none() {
            self.ending = Some(Box::new(Ending::Stopped(reason.unwrap_or(StopReason::Requested))));
        }
    }

    fn apply(&mut self, change: Box<Change>, after: After<T>) {
        let before = self.state.as_ref().map_or(0, |state| state.conversation.sequence);
        self.state = (!change.erases).then(|| change.next.clone());
        self.open_answer();
        let is_idle = matches!(after, After::Answer(_, Answered::Idle));
        let reply = match after {
            After::Answer(sender, answered) => Some((sender, self.reply(&change, answered, before))),
            After::Must => None,
        };
        let erased = change.erases;
        self.effects.push(Effect::Publish(change));
        if let Some((sender, reply)) = reply {
            self.effects.push(Effect::Reply(sender, Ok(reply)));
        }
        if erased {
            self.effects.push(Effect::Erased);
        }
        if erased || is_idle && self.waiting.is_empty() {
            self.leave();
        }
    }

    /// The answer follows the running turn: a new one for a new turn or attempt, none for none.
    fn open_answer(&mut self) {
        let stamp = self.state.as_ref().and_then(|state| {
            let turn = state.running()?;
            Some(Stamp { turn: turn.id, attempt: turn.attempt, epoch: state.conversation.epoch })
        });
        if self.answer.as_ref().map(|answer| answer.stamp) != stamp {
            self.answer = stamp.map(|stamp| Box::new(Answer::begin(stamp)));
        }
    }

    fn reply(&self, change: &Change, answered: Answered, before: i64) -> Reply {
        let next = &change.next;
        let accepted = |message: Option<MessageId>, turn: Option<TurnId>| {
            let stored = change.events.iter().filter_map(|(_, message)| message.as_ref());
            let message = message.and_then(|id| stored.into_iter().find(|stored| stored.id == id)).cloned();
            let turn = turn.or(message.as_ref().and_then(|message| message.turn_id));
            let turn = turn.and_then(|id| next.turn(id)).cloned();
            let conversation = next.conversation.clone();
            Reply::Accepted(Box::new(Accepted {
                conversation,
                message,
                turn,
                after: before,
                repeated: false,
                feed: None,
            }))
        };
        match answered {
            Answered::Message(message) => accepted(message, None),
            Answered::Turn(turn) => accepted(None, Some(turn)),
            Answered::Stopped(turn) => Reply::Stopped(next.turn(turn).cloned().map(Box::new)),
            Answered::Conversation | Answered::Idle => {
                Reply::Conversation(Box::new(next.conversation.clone()))
            }
            Answered::Handover { id, created } => Reply::Handover { id, created },
            Answered::Done => Reply::Done,
        }
    }

    /// Nothing has happened for a while: lets go of what the store can give again.
    pub(super) fn rest(&mut self) {
        self.waiting = VecDeque::new();
        self.forgot_last |= self.state.as_mut().and_then(|state| state.last.take()).is_some();
    }

    /// Does whatever can be done now.
    fn go_on(&mut self, at: Timestamp) {
        while matches!(self.busy, Busy::Nothing) && !self.left {
            if self.around.is_none() && self.may_raise() {
                self.recall(0);
            } else if let (Some(ending), Some(state)) = (self.ending.take(), &self.state) {
                let mut around = self.around.take();
                if let (Some(around), Some(policy)) = (&mut around, self.policy) {
                    // What the customer was told went by this one.
                    around.policy = policy;
                }
                let change = state.end(*ending, self.shown(), around.as_deref(), at);
                self.commit(Box::new(change), After::Must);
            } else if let Some(waiting) = self.waiting.pop_front() {
                self.next(waiting);
            } else {
                break;
            }
        }
        let unasked = self.answer.as_mut().filter(|answer| !answer.asked && !answer.sealed);
        if let Some(answer) = unasked {
            answer.asked = true;
            self.effects.push(Effect::Ask(answer.stamp));
        }
    }

    fn shown(&self) -> Shown<'_> {
        self.answer.as_ref().map_or_else(Shown::default, |answer| Shown {
            text: &answer.text,
            first_token_at: answer.first_token_at,
        })
    }

    /// Stores a change. If it ends the running turn, its answer is sealed first.
    fn commit(&mut self, change: Box<Change>, after: After<T>) {
        let goes_on = self.answer.as_ref().is_some_and(|answer| {
            !change.erases && change.next.running().is_some_and(|turn| turn.id == answer.stamp.turn)
        });
        if !goes_on {
            self.seal();
        }
        // Something is said now that was not when it was read.
        self.around = None;
        self.effects.push(Effect::Commit(change.to_op(&self.outbox)));
        self.busy = Busy::Committing { change, after, tries: 0 };
    }

    fn seal(&mut self) {
        if let Some(answer) = self.answer.as_mut().filter(|answer| !answer.sealed) {
            answer.sealed = true;
            self.effects.push(Effect::Seal);
            if answer.asked {
                self.effects.push(Effect::StopModel);
            }
        }
    }

    fn refuse(&mut self, sender: T, refusal: Refusal) {
        self.effects.push(Effect::Reply(sender, Err(Interrupted::Refused(refusal))));
    }

    fn refuse_all(&mut self, refusal: &Refusal) {
        for waiting in mem::take(&mut self.waiting) {
            self.refuse(waiting.sender, refusal.clone());
        }
    }

    /// Those who wait are sent on to a successor.
    fn leave(&mut self) {
        self.left = true;
        self.seal();
        for waiting in mem::take(&mut self.waiting) {
            self.effects.push(Effect::Reply(waiting.sender, Err(Interrupted::Reload)));
        }
        self.effects.push(Effect::Leave);
    }
}
