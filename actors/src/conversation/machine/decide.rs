//! What a command comes to, once its turn has come: a change to store, an answer, or a refusal.

use super::{After, Answered, Effect, Machine, Waiting};
use crate::{
    clock::Timestamp,
    conversation::{
        handover::Handover,
        messages::{Accepted, Command, Interrupted, Refusal, Reply},
        record::{Message, StopReason, Turn, TurnStatus},
        turn::{Change, Ending, State},
    },
    ids::TurnId,
};

/// What a command comes to.
enum Step {
    Commit(Box<Change>, Answered),
    Answer(Reply),
    Tell(&'static str),
}

/// What was done to a handover, if anything was.
fn handed(answered: Answered, change: Option<Change>) -> Step {
    match (change, answered) {
        (Some(change), answered) => Step::Commit(Box::new(change), answered),
        (None, Answered::Handover { id, created }) => Step::Answer(Reply::Handover { id, created }),
        (None, _) => Step::Answer(Reply::Done),
    }
}

impl<T> Machine<T> {
    /// Decides a command; `found` is the handover that it is about, if that had to be looked up.
    pub(super) fn decide(
        &mut self,
        Waiting { sender, command, at, .. }: Waiting<T>,
        found: Option<Handover>,
    ) {
        // For this decision alone: by the next one something else may have been said.
        let around = self.around.take();
        let Some(state) = &self.state else {
            self.decide_unborn(sender, command, at);
            return;
        };
        if self.forgot_last && state.last.is_none() && matches!(command, Command::Retry { .. }) {
            self.effects.push(Effect::Reply(sender, Err(Interrupted::Reload)));
            return self.leave();
        }
        let shown = self.shown();
        let decided = match command {
            // Stored before, without a message that could tell.
            Command::Start(_) => Ok(self.start_again()),
            Command::Submit(message) => {
                let id = message.id;
                state
                    .submit(message, shown, at)
                    .map(|change| Step::Commit(Box::new(change), Answered::Message(Some(id))))
            }
            Command::Say(said) => {
                let id = said.id;
                state.say(said, at).map(|change| Step::Commit(Box::new(change), Answered::Message(Some(id))))
            }
            Command::Stop { turn, disconnected } => self.decide_stop(state, turn, disconnected, at),
            Command::Retry { turn, .. } if state.turn(turn).is_some() => Ok(self.retried(turn)),
            Command::Retry { of, turn, idempotency } => state
                .retry(of, turn, idempotency, at)
                .map(|change| Step::Commit(Box::new(change), Answered::Turn(turn))),
            Command::Complete { resolution, by, quiet_since, idempotency } => {
                let complete = || state.complete(resolution, idempotency, shown, around.as_deref(), at);
                let expected = state.expect_quiet(quiet_since);
                expected.map(|()| match (complete(), quiet_since) {
                    (Some(change), Some(_)) => Step::Commit(Box::new(change.by(by)), Answered::Idle),
                    (change, _) => self.change_or_same(change.map(|change| change.by(by))),
                })
            }
            Command::RequestHandover(new) => match (found, around) {
                // Stored by an actor that died behind it.
                (Some(stored), _) => Ok(Step::Answer(Reply::Handover { id: stored.id, created: true })),
                (None, Some(around)) => {
                    let (own, by) = (new.id, new.by.clone());
                    state.request_handover(*new, shown, &around, at).map(|(id, change)| {
                        let change = change.map(|change| change.by(by));
                        handed(Answered::Handover { id, created: id == own }, change)
                    })
                }
                (None, None) => Err(Refusal::Unavailable),
            },
            Command::Handover { id, verb, by, idempotency } => {
                let touched_last = state.conversation.handover.as_deref().filter(|last| last.id == id);
                match (touched_last.or(found.as_ref()), around) {
                    (Some(handover), Some(around)) => {
                        let by = verb.by(handover).or(by);
                        let change = state.handle(handover, verb, idempotency, shown, &around, at);
                        let change = change.map(|change| change.map(|change| change.by(by)));
                        change.map(|change| handed(Answered::Handover { id, created: false }, change))
                    }
                    (None, _) => Err(Refusal::NotFound),
                    (Some(_), None) => Err(Refusal::Unavailable),
                }
            }
            Command::Patch(patch) => state.patch(patch, at).map(|change| self.change_or_same(change)),
            Command::Rate { rating, idempotency } => {
                Ok(self.change_or_same(state.rate(rating, idempotency, at)))
            }
            Command::Delete { if_version, quiet_since, noted } => state
                .expect_version(if_version.as_deref())
                .and_then(|()| state.expect_quiet(quiet_since))
                .map(|()| Step::Commit(Box::new(state.delete(noted, at)), Answered::Done)),
            Command::Typing { by } => Ok(Step::Tell(by)),
            Command::Wake => Ok(Step::Answer(Reply::Done)),
        };
        match decided {
            Ok(Step::Commit(change, answered)) => self.commit(change, After::Answer(sender, answered)),
            Ok(Step::Answer(reply)) => self.effects.push(Effect::Reply(sender, Ok(reply))),
            Ok(Step::Tell(by)) => {
                self.effects.push(Effect::Typing(by));
                self.effects.push(Effect::Reply(sender, Ok(Reply::Done)));
            }
            Err(refusal) => self.refuse(sender, refusal),
        }
    }

    fn decide_unborn(&mut self, sender: T, command: Command, at: Timestamp) {
        let Command::Start(begun) = command else {
            self.refuse(sender, Refusal::NotFound);
            self.leave();
            return;
        };
        let id = begun.message.as_ref().map(|message| message.id);
        match State::start(*begun, at) {
            Ok(change) => self.commit(Box::new(change), After::Answer(sender, Answered::Message(id))),
            Err(refusal) => {
                self.refuse(sender, refusal);
                self.leave();
            }
        }
    }

    fn start_again(&self) -> Step {
        match &self.state {
            Some(state) => Step::Answer(Reply::Accepted(Box::new(Accepted {
                conversation: state.conversation.clone(),
                message: None,
                turn: None,
                after: 0,
                repeated: true,
                feed: None,
            }))),
            None => Step::Answer(Reply::Done),
        }
    }

    /// The retry was stored before its actor died.
    fn retried(&self, turn: TurnId) -> Step {
        let Some((state, turn)) =
            self.state.as_ref().and_then(|state| Some((state, state.turn(turn)?.clone())))
        else {
            return Step::Answer(Reply::Done);
        };
        Step::Answer(Reply::Accepted(Box::new(Accepted {
            conversation: state.conversation.clone(),
            message: None,
            after: turn.accepted_sequence - 1,
            turn: Some(turn),
            repeated: true,
            feed: None,
        })))
    }

    fn decide_stop(
        &self,
        state: &State,
        turn: Option<TurnId>,
        disconnected: bool,
        at: Timestamp,
    ) -> Result<Step, Refusal> {
        let reason = if disconnected { StopReason::Disconnected } else { StopReason::Requested };
        let Some(id) = turn.or(state.running().map(|turn| turn.id)) else {
            return Ok(Step::Answer(Reply::Stopped(None)));
        };
        // Several interruptions may have come between the turn that ran as the stop arrived and now.
        let Some(turn) = state.turn(id) else { return Ok(Step::Answer(Reply::EndedBefore(id))) };
        let change = match turn.status {
            TurnStatus::Running => state.end(Ending::Stopped(reason), self.shown(), None, at),
            TurnStatus::Queued => state.stop_waiting(id, reason, at),
            TurnStatus::Completed | TurnStatus::Stopped | TurnStatus::Failed => {
                return Ok(Step::Answer(Reply::Stopped(Some(Box::new(turn.clone())))));
            }
        };
        Ok(Step::Commit(Box::new(change), Answered::Stopped(id)))
    }

    fn change_or_same(&self, change: Option<Change>) -> Step {
        match (change, &self.state) {
            (Some(change), _) => Step::Commit(Box::new(change), Answered::Conversation),
            (None, Some(state)) => Step::Answer(Reply::Conversation(Box::new(state.conversation.clone()))),
            (None, None) => Step::Answer(Reply::Done),
        }
    }

    pub(super) fn answer_repeat(&mut self, waiting: Waiting<T>, message: Message, turn: Option<Turn>) {
        let fingerprint = match &waiting.command {
            Command::Start(begun) => begun.message.as_ref().map(|new| &new.fingerprint),
            Command::Submit(new) => Some(&new.fingerprint),
            Command::Say(said) => Some(&said.fingerprint),
            _ => return,
        };
        if message.fingerprint.as_ref() != fingerprint {
            self.refuse(waiting.sender, Refusal::ClientMessageIdReused);
            return;
        }
        let Some(state) = &self.state else { return };
        // An open turn is fresher here than in the store.
        let turn = turn.map(|stored| state.turn(stored.id).cloned().unwrap_or(stored));
        let after = turn.as_ref().map_or(message.sequence, |turn| turn.accepted_sequence) - 1;
        let accepted = Accepted {
            conversation: state.conversation.clone(),
            message: Some(message),
            turn,
            after,
            repeated: true,
            feed: None,
        };
        self.effects.push(Effect::Reply(waiting.sender, Ok(Reply::Accepted(Box::new(accepted)))));
    }
}
