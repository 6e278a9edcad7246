//! The rules of a conversation: what each input makes of its state, as rows and events of one transaction.
//!
//! Everything here is a plain function of state, input and time. A [`Change`] is applied only once it is on disk;
//! when inputs may happen is the business of [`machine`](super::machine).

mod change;
mod handover;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde_json::json;

pub(super) use self::change::Change;
use super::{
    handover::Around,
    messages::{AgentMessage, NewConversation, NewMessage, Patch, Refusal},
    record::{
        Conversation, Details, Message, Owner, Rating, Resolution, Role, Status, StopReason, Turn, TurnStatus,
    },
};
use crate::{
    answer::{AnswerError, Finished},
    audit::Entry,
    clock::Timestamp,
    event::EventKind,
    ids::TurnId,
    writer::Row,
};

/// Turns that may wait behind the running one. A person who sends more than this gets no sensible order of answers.
pub(super) const WAITING_TURNS: usize = 8;

/// How often a turn is asked before a restart becomes a failure: a poisonous message must not restart for ever.
pub(super) const ATTEMPTS: i64 = 3;

/// What share of its answer's time the end of a turn waits for other commits to join: one in a hundred, which nobody
/// who has read the answer notices.
const ENDING_WAITS: u64 = 100;

/// Pairs a conversation's metadata may have.
pub(super) const METADATA_PAIRS: usize = 16;

/// Everything a conversation's actor must know to go on. Small: the history stays in the store.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) conversation: Conversation,
    /// The running turn, then those that wait.
    pub(super) open: VecDeque<Turn>,
    /// The turn that was accepted last, once it has ended.
    pub(super) last: Option<Box<Turn>>,
}

/// What readers have been shown of the running turn's answer: all that a stop can keep.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown<'a> {
    pub(super) text: &'a str,
    pub(super) first_token_at: Option<Timestamp>,
}

/// How a running turn ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    Completed(Finished),
    Stopped(StopReason),
    Failed(AnswerError),
}

/// What becomes of a turn that a dead actor left open.
#[derive(Debug)]
pub(super) enum Resumed {
    GoesOn(Box<Change>),
    /// For good: it has been tried often enough.
    Fails(Ending),
}

impl State {
    pub(super) fn running(&self) -> Option<&Turn> {
        self.open.front().filter(|turn| turn.status == TurnStatus::Running)
    }

    /// A turn that is open, or ended last.
    pub(super) fn turn(&self, id: TurnId) -> Option<&Turn> {
        self.open.iter().chain(self.last.as_deref()).find(|turn| turn.id == id)
    }

    fn change(&self, at: Timestamp, idempotency: Option<Row>) -> Change {
        Change {
            next: self.clone(),
            events: Vec::new(),
            turns: Vec::new(),
            handovers: Vec::new(),
            idempotency,
            by: None,
            noted: None,
            erases: false,
            at,
            patience: Duration::ZERO,
        }
    }

    /// A conversation begins, perhaps with a message.
    pub(super) fn start(begun: NewConversation, at: Timestamp) -> Result<Change, Refusal> {
        let NewConversation { key, details, message, idempotency } = begun;
        let conversation = Conversation::begin(key.0, key.1, details, at);
        let unborn = Self { conversation, open: VecDeque::new(), last: None };
        let mut change = unborn.change(at, idempotency);
        change
            .tell_conversation(EventKind::ConversationStarted, message.as_ref().map(|message| message.turn));
        match message {
            Some(message) => change.receive(message, Shown::default()).map(|()| change),
            None => Ok(change),
        }
    }

    /// A customer's message.
    pub(super) fn submit(
        &self,
        message: NewMessage,
        shown: Shown<'_>,
        at: Timestamp,
    ) -> Result<Change, Refusal> {
        let mut change = self.change(at, None);
        change.receive(message, shown).map(|()| change)
    }

    /// An agent's message.
    pub(super) fn say(&self, said: AgentMessage, at: Timestamp) -> Result<Change, Refusal> {
        if self.conversation.owner != Owner::Human {
            return Err(Refusal::HandoverState);
        }
        let agent = self.conversation.handover.as_ref().and_then(|handover| handover.agent.as_ref());
        let mut change = self.change(at, said.idempotency);
        change.add_message(
            EventKind::MessageSent,
            Message {
                id: said.id,
                client_message_id: said.client_message_id,
                fingerprint: Some(said.fingerprint),
                author: said.author.or_else(|| agent.cloned()),
                metadata: said.metadata,
                ..change.blank_message(Role::Agent, said.content)
            },
        );
        Ok(change)
    }

    /// The running turn ends by itself, by a stop or by a failure; the next begins. `around` is there if the end may
    /// ask for a person.
    pub(super) fn end(
        &self,
        ending: Ending,
        shown: Shown<'_>,
        around: Option<&Around>,
        at: Timestamp,
    ) -> Change {
        let mut change = self.change(at, None);
        // Its text is read already, unless another turn waits for its end.
        let ended = self.running().filter(|_| matches!(ending, Ending::Completed(_)) && self.open.len() == 1);
        let took = ended.and_then(|turn| turn.started_at).map_or(0, |since| at.0 - since.0);
        // Whole milliseconds, as timers count: an answer that took less waits for nobody.
        change.patience = Duration::from_millis(u64::try_from(took).unwrap_or(0) / ENDING_WAITS);
        change.end_running(ending, shown, around);
        change.start_next();
        change
    }

    /// A turn that waits is stopped.
    pub(super) fn stop_waiting(&self, turn: TurnId, reason: StopReason, at: Timestamp) -> Change {
        let mut change = self.change(at, None);
        change.stop_waiting(|waiting| waiting.id == turn, reason);
        change
    }

    /// The last turn's messages are answered again.
    pub(super) fn retry(
        &self,
        of: TurnId,
        turn: TurnId,
        idempotency: Option<Row>,
        at: Timestamp,
    ) -> Result<Change, Refusal> {
        if self.conversation.status == Status::Completed {
            return Err(Refusal::Completed);
        }
        if self.conversation.owner == Owner::Human {
            return Err(Refusal::HandoverState);
        }
        let last = self.last.as_ref().filter(|last| self.open.is_empty() && last.id == of);
        let last = last.ok_or(Refusal::NotRetryable)?;
        let mut change = self.change(at, idempotency);
        let mut again = change.blank_turn(turn, last.message_ids.clone(), last.options.clone());
        again.retry_of = Some(of);
        change.next.open.push_back(again);
        change.start_next();
        Ok(change)
    }

    /// The conversation is over. `None`: it was already, and how it ended stays as it was said first. `around` is
    /// there if a handover is open.
    pub(super) fn complete(
        &self,
        resolution: Option<Resolution>,
        idempotency: Option<Row>,
        shown: Shown<'_>,
        around: Option<&Around>,
        at: Timestamp,
    ) -> Option<Change> {
        if self.conversation.status == Status::Completed {
            return None;
        }
        let mut change = self.change(at, idempotency);
        change.complete(resolution, shown, around);
        Some(change)
    }

    /// Fields change. `None`: they were so already.
    pub(super) fn patch(&self, patch: Patch, at: Timestamp) -> Result<Option<Change>, Refusal> {
        self.expect_version(patch.if_version.as_deref())?;
        let mut details = Details::clone(&self.conversation.details);
        let Details { topic, language, customer, metadata, .. } = &mut details;
        let fields = [
            (topic, patch.topic),
            (language, patch.language),
            (&mut customer.id, patch.customer_id),
            (&mut customer.name, patch.customer_name),
            (&mut customer.email, patch.customer_email),
        ];
        for (field, new) in fields {
            if let Some(new) = new {
                *field = new;
            }
        }
        if patch.clear_metadata {
            metadata.clear();
        }
        for (key, value) in patch.metadata {
            match value {
                Some(value) => metadata.insert(key, value),
                None => metadata.remove(&key),
            };
        }
        if metadata.len() > METADATA_PAIRS {
            return Err(Refusal::TooMuchMetadata);
        }
        if details == *self.conversation.details {
            return Ok(None);
        }
        let mut change = self.change(at, None);
        change.next.conversation.details = Arc::new(details);
        change.next.conversation.version += 1;
        change.tell_conversation(EventKind::ConversationUpdated, None);
        Ok(Some(change))
    }

    /// `If-Match`.
    pub(super) fn expect_version(&self, versions: Option<&[i64]>) -> Result<(), Refusal> {
        match versions {
            Some(versions) if !versions.contains(&self.conversation.version) => Err(Refusal::VersionConflict),
            _ => Ok(()),
        }
    }

    /// The customer's judgement. `None`: it was the same already.
    pub(super) fn rate(&self, rating: Rating, idempotency: Option<Row>, at: Timestamp) -> Option<Change> {
        if self.conversation.rating.as_deref() == Some(&rating) {
            return None;
        }
        let mut change = self.change(at, idempotency);
        change.next.conversation.rating = Some(Box::new(rating));
        change.tell_conversation(EventKind::ConversationRated, None);
        Some(change)
    }

    /// Nothing was said since then, and nothing is being answered.
    pub(super) fn expect_quiet(&self, since: Option<Timestamp>) -> Result<(), Refusal> {
        match since {
            Some(since) if self.conversation.active_at() >= since || !self.open.is_empty() => {
                Err(Refusal::VersionConflict)
            }
            _ => Ok(()),
        }
    }

    /// Everything goes.
    pub(super) fn delete(&self, noted: Option<Box<Entry>>, at: Timestamp) -> Change {
        let mut change = self.change(at, None);
        change.erases = true;
        change.noted = noted;
        let ids = json!({"conversation": {"id": self.conversation.id}});
        change.push(EventKind::ConversationDeleted, None, ids.to_string(), None);
        change
    }

    /// After a load: what a dead actor left open goes on. `None`: nothing was open.
    pub(super) fn resume(&self, at: Timestamp) -> Option<Resumed> {
        let first = self.open.front()?;
        let mut change = self.change(at, None);
        match first.status {
            TurnStatus::Running if first.attempt < ATTEMPTS => change.restart(),
            TurnStatus::Running => {
                let poisonous = AnswerError { code: "internal", message: "the answer failed three times" };
                return Some(Resumed::Fails(Ending::Failed(poisonous)));
            }
            _ => change.start_next(),
        }
        Some(Resumed::GoesOn(Box::new(change)))
    }
}
