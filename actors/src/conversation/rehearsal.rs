//! What conversations write, without the actors that write it: for load tests, which fill stores and compare commits.

use std::sync::Arc;

use super::{
    messages::{ConversationKey, NewConversation, NewMessage, OnBusy},
    record::{Details, Metadata, TurnOptions},
    turn::{Ending, Shown, State},
};
use crate::{
    answer::{Finished, Outcome, Usage, synthetic},
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
    let finished = Finished {
        outcome: Outcome::Answered,
        citations: Vec::new(),
        confidence: None,
        usage: Usage::default(),
        model: synthetic::MODEL.into(),
        cached: false,
    };
    let at = Timestamp::now();
    let shown = Shown { text: answer, first_token_at: Some(at) };
    let end = state.end(Ending::Completed(finished), shown, None, at).to_op(&Outbox::of_nobody());
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

fn begun(org: OrgId, question: &str) -> Option<(Op, State)> {
    let key: ConversationKey = (org, ConversationId::generate());
    let message = NewMessage {
        id: MessageId::generate(),
        turn: TurnId::generate(),
        content: Arc::from(question),
        client_message_id: None,
        fingerprint: String::new(),
        metadata: Metadata::new(),
        on_busy: OnBusy::Queue,
        options: TurnOptions::default(),
        reopen: true,
        answer_while_waiting: true,
        idempotency: None,
    };
    let details = Details { channel: "bench".to_owned(), ..Details::default() };
    let begun = NewConversation { key, details, message: Some(message), idempotency: None };
    let change = State::start(begun, Timestamp::now()).ok()?;
    Some((change.to_op(&Outbox::of_nobody()), change.next))
}
