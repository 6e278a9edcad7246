//! What conversations write, without the actors that write it: for load tests, which fill stores and compare commits.

use std::sync::Arc;

use super::{
    messages::{ConversationKey, NewConversation, NewMessage, OnBusy, Patch},
    record::{Details, Metadata, Rating, Resolution, StopReason, TurnOptions},
    turn::{Change, Ending, Shown, State},
};
use crate::{
    answer::{AnswerError, Finished, Outcome, Usage, synthetic},
    clock::Timestamp,
    ids::{ConversationId, MessageId, OrgId, TurnId},
    outbox::Outbox,
    writer::Op,
};

/// A conversation begun with a message, whose turn runs: what one accept writes. `None`: the rules would refuse it.
#[must_use]
pub fn accepted(org: OrgId, question: &str) -> Option<Op> {
    begun(org, question).map(|(op, _)| op)
}

/// The same conversation once it is answered.
#[must_use]
pub fn answered(org: OrgId, question: &str, answer: &str) -> Option<Op> {
    let (mut op, state) = begun(org, question)?;
    let at = Timestamp::now();
    let shown = Shown { text: answer, first_token_at: Some(at) };
    let end = state
        .end(Ending::Completed(finished(Outcome::Answered)), shown, None, at)
        .to_op(&Outbox::of_nobody());
    op.rows.extend(end.rows);
    op.events.extend(end.events);
    Some(op)
}

/// A conversation begun without a message, with what is to be delivered of that. `None`: the rules would refuse it.
#[must_use]
pub fn without_message(org: OrgId, channel: &str, outbox: &Outbox) -> Option<Op> {
    let key: ConversationKey = (org, ConversationId::generate());
    let details = Details { channel: channel.to_owned(), ..Details::default() };
    let begun = NewConversation { key, details, message: None, idempotency: None };
    Some(State::start(begun, Timestamp::now()).ok()?.to_op(outbox))
}

fn finished(outcome: Outcome) -> Finished {
    Finished {
        outcome,
        citations: Vec::new(),
        confidence: None,
        usage: Usage::default(),
        model: synthetic::MODEL.into(),
        cached: false,
    }
}

fn begun(org: OrgId, question: &str) -> Option<(Op, State)> {
    let key: ConversationKey = (org, ConversationId::generate());
    let details = Details { channel: "bench".to_owned(), ..Details::default() };
    let message = Some(message(question));
    let begun = NewConversation { key, details, message, idempotency: None };
    let change = State::start(begun, Timestamp::now()).ok()?;
    Some((change.to_op(&Outbox::of_nobody()), change.next))
}

fn message(text: &str) -> NewMessage {
    NewMessage {
        id: MessageId::generate(),
        turn: TurnId::generate(),
        content: Arc::from(text),
        client_message_id: None,
        fingerprint: String::new(),
        metadata: Metadata::new(),
        on_busy: OnBusy::Queue,
        options: TurnOptions::default(),
        reopen: true,
        answer_while_waiting: true,
        idempotency: None,
    }
}

/// Something that happens in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'a> {
    /// The customer says something.
    Say(&'a str),
    /// The running turn ends with an answer, whose first text came that long before.
    Answer(Outcome, i64),
    /// The running turn fails.
    Fail,
    /// The running turn is stopped.
    Stop,
    /// The customer rates the conversation.
    Rate(i64),
    /// It is completed.
    Complete(Option<Resolution>),
    /// Its topic is set, or taken away.
    Topic(Option<&'a str>),
    /// It is erased.
    Erase,
}

/// A conversation that is played without its actor, by the same rules, at times of the player's choosing: for what is
/// to be counted by days, and for stores as large as nobody can wait for.
#[derive(Debug)]
pub struct Played(State);

impl Played {
    /// It begins; the op is what that writes.
    #[must_use]
    pub fn begin(org: OrgId, channel: &str, topic: Option<&str>, at: Timestamp) -> Option<(Self, Op)> {
        let key: ConversationKey = (org, ConversationId::generate());
        let details =
            Details { channel: channel.to_owned(), topic: topic.map(str::to_owned), ..Details::default() };
        let begun = NewConversation { key, details, message: None, idempotency: None };
        let change = State::start(begun, at).ok()?;
        Some((Self(change.next.clone()), change.to_op(&Outbox::of_nobody())))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ConversationId {
        self.0.conversation.id
    }

    /// Something happens. `None`: it changes nothing, or the rules would refuse it.
    pub fn act(&mut self, act: Act<'_>, at: Timestamp) -> Option<Op> {
        let change = self.change(act, at)?;
        let op = change.to_op(&Outbox::of_nobody());
        self.0 = change.next;
        Some(op)
    }

    fn change(&self, act: Act<'_>, at: Timestamp) -> Option<Change> {
        let state = &self.0;
        let end = |ending, text, first_token_at| {
            let shown = Shown { text, first_token_at };
            state.running().map(|_| state.end(ending, shown, None, at))
        };
        match act {
            Act::Say(text) => state.submit(message(text), Shown::default(), at).ok(),
            Act::Answer(outcome, before) => {
                end(Ending::Completed(finished(outcome)), "An answer.", Some(at.plus_ms(-before)))
            }
            Act::Fail => {
                end(Ending::Failed(AnswerError { code: "internal", message: "it failed" }), "", None)
            }
            Act::Stop => end(Ending::Stopped(StopReason::Requested), "An", Some(at)),
            Act::Rate(score) => state.rate(Rating { score, comment: None }, None, at),
            Act::Complete(resolution) => state.complete(resolution, None, Shown::default(), None, at),
            Act::Topic(topic) => {
                let patch = Patch { topic: Some(topic.map(str::to_owned)), ..Patch::default() };
                state.patch(patch, at).ok().flatten()
            }
            Act::Erase => Some(state.delete(None, at)),
        }
    }
}
