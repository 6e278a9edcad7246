//! The rules of a conversation: what each input makes of its state, as rows and events of one transaction.
//!
//! Everything here is a plain function of state, input and time. A [`Change`] is applied only once it is on disk;
//! when inputs may happen is the business of [`machine`](super::machine).

use std::{collections::VecDeque, sync::Arc};

use serde::Serialize;
use serde_json::json;

use super::{
    messages::{AgentMessage, NewMessage, OnBusy, Patch, Refusal},
    record::{
        Conversation, Details, Message, MessageStatus, Metadata, Owner, Rating, Resolution, Role, Status,
        StopReason, Turn, TurnError, TurnOptions, TurnStatus,
    },
    sql,
};
use crate::{
    answer::{AnswerError, Finished},
    clock::Timestamp,
    event::{EventKind, EventRow},
    ids::{EventId, MessageId, TurnId},
    writer::{Op, Row},
};

/// Turns that may wait behind the running one. A person who sends more than this gets no sensible order of answers.
pub(super) const WAITING_TURNS: usize = 8;

/// How often a turn is asked before a restart becomes a failure: a poisonous message must not restart for ever.
pub(super) const ATTEMPTS: i64 = 3;

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

/// A step of the state, and the rows that make it true.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) next: State,
    pub(super) events: Vec<(EventRow, Option<Message>)>,
    turns: Vec<Turn>,
    idempotency: Option<Row>,
    /// Everything goes but the event that says so.
    pub(super) erases: bool,
    at: Timestamp,
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
        Change { next: self.clone(), events: Vec::new(), turns: Vec::new(), idempotency, erases: false, at }
    }

    /// A conversation begins, perhaps with a message.
    pub(super) fn start(
        key: super::messages::ConversationKey,
        details: Details,
        message: Option<NewMessage>,
        idempotency: Option<Row>,
        at: Timestamp,
    ) -> Result<Change, Refusal> {
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
        let mut change = self.change(at, said.idempotency);
        change.add_message(
            EventKind::MessageSent,
            Message {
                id: said.id,
                client_message_id: said.client_message_id,
                fingerprint: Some(said.fingerprint),
                author: said.author,
                metadata: said.metadata,
                ..change.blank_message(Role::Agent, said.content)
            },
        );
        Ok(change)
    }

    /// The running turn ends by itself, by a stop or by a failure; the next begins.
    pub(super) fn end(&self, ending: Ending, shown: Shown<'_>, at: Timestamp) -> Change {
        let mut change = self.change(at, None);
        change.end_running(ending, shown);
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

    /// The conversation is over. `None`: it was already.
    pub(super) fn complete(
        &self,
        resolution: Option<Resolution>,
        idempotency: Option<Row>,
        shown: Shown<'_>,
        at: Timestamp,
    ) -> Option<Change> {
        if self.conversation.status == Status::Completed {
            return None;
        }
        let mut change = self.change(at, idempotency);
        if self.running().is_some() {
            change.end_running(Ending::Stopped(StopReason::Completed), shown);
        }
        change.stop_waiting(|_| true, StopReason::Completed);
        let conversation = &mut change.next.conversation;
        conversation.status = Status::Completed;
        conversation.completed_at = Some(at);
        conversation.resolution = resolution;
        change.tell_conversation(EventKind::ConversationCompleted, None);
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
        if self.conversation.rating.as_ref() == Some(&rating) {
            return None;
        }
        let mut change = self.change(at, idempotency);
        change.next.conversation.rating = Some(rating);
        change.tell_conversation(EventKind::ConversationRated, None);
        Some(change)
    }

    /// Everything goes.
    pub(super) fn delete(&self, at: Timestamp) -> Change {
        let mut change = self.change(at, None);
        change.erases = true;
        let ids = json!({"conversation": {"id": self.conversation.id}});
        change.push(EventKind::ConversationDeleted, None, ids.to_string(), None);
        change
    }

    /// After a load: what a dead actor left open goes on, or fails for good. `None`: nothing was open.
    pub(super) fn resume(&self, at: Timestamp) -> Option<Change> {
        let first = self.open.front()?;
        let mut change = self.change(at, None);
        match first.status {
            TurnStatus::Running if first.attempt < ATTEMPTS => change.restart(),
            TurnStatus::Running => {
                let poisonous = AnswerError { code: "internal", message: "the answer failed three times" };
                change.end_running(Ending::Failed(poisonous), Shown::default());
                change.start_next();
            }
            _ => change.start_next(),
        }
        Some(change)
    }
}

impl Change {
    /// The turns that it ends.
    pub(super) fn ended_turns(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(|turn| turn.status.has_ended())
    }

    /// Everything of it, in one transaction.
    pub(super) fn to_op(&self) -> Op {
        let conversation = &self.next.conversation;
        let key = (conversation.org, conversation.id);
        let mut op = Op::default();
        if self.erases {
            sql::erase(&mut op, key);
        } else {
            sql::put_conversation(&mut op, conversation);
            for turn in &self.turns {
                sql::put_turn(&mut op, key, turn);
            }
        }
        for (event, message) in &self.events {
            if let Some(message) = message {
                sql::put_message(&mut op, key, message);
            }
            op.events.push(event.clone());
        }
        op.rows.extend(self.idempotency.clone());
        op
    }

    fn receive(&mut self, message: NewMessage, shown: Shown<'_>) -> Result<(), Refusal> {
        if self.next.conversation.status == Status::Completed {
            if !message.reopen {
                return Err(Refusal::Completed);
            }
            self.reopen(message.turn);
        }
        if self.next.conversation.owner == Owner::Human {
            self.add_customer_message(message, None);
            return Ok(());
        }
        let Some(running) = self.next.running().map(|turn| turn.id) else {
            self.add_turn(message);
            self.start_next();
            return Ok(());
        };
        let waiting = self.next.open.len() - 1;
        match message.on_busy {
            OnBusy::Reject => return Err(Refusal::TurnInProgress(running)),
            OnBusy::Merge if waiting > 0 => self.merge(message),
            OnBusy::Queue | OnBusy::Merge if waiting == WAITING_TURNS => return Err(Refusal::TurnQueueFull),
            OnBusy::Queue | OnBusy::Merge => {
                let turn = message.turn;
                self.add_turn(message);
                self.tell_turn(EventKind::TurnQueued, turn);
            }
            OnBusy::Interrupt => {
                let turn = message.turn;
                self.add_turn(message);
                self.end_running(Ending::Stopped(StopReason::Interrupted), shown);
                self.stop_waiting(|waiting| waiting.id != turn, StopReason::Superseded);
                self.start_next();
            }
        }
        Ok(())
    }

    /// The AI's again, whoever owned it when it was completed.
    fn reopen(&mut self, turn: TurnId) {
        let conversation = &mut self.next.conversation;
        if conversation.owner == Owner::Human {
            conversation.owner = Owner::Ai;
            conversation.epoch += 1;
        }
        conversation.status = Status::Active;
        conversation.completed_at = None;
        conversation.resolution = None;
        self.tell_conversation(EventKind::ConversationReopened, Some(turn));
    }

    fn add_customer_message(&mut self, message: NewMessage, turn: Option<TurnId>) {
        self.idempotency = self.idempotency.take().or(message.idempotency);
        self.add_message(
            EventKind::MessageReceived,
            Message {
                id: message.id,
                client_message_id: message.client_message_id,
                fingerprint: Some(message.fingerprint),
                turn_id: turn,
                metadata: message.metadata,
                ..self.blank_message(Role::Customer, message.content)
            },
        );
    }

    /// The message, and a turn of its own at the end of the queue.
    fn add_turn(&mut self, message: NewMessage) {
        let mut turn = self.blank_turn(message.turn, vec![message.id], message.options.clone());
        // Its stream begins with what its message made of the conversation, else with the message.
        let earlier = self.events.iter().find(|(event, _)| event.turn == Some(turn.id));
        let own = self.next.conversation.sequence + 1;
        turn.accepted_sequence = earlier.map_or(own, |(event, _)| event.sequence);
        self.add_customer_message(message, Some(turn.id));
        self.next.open.push_back(turn.clone());
        self.put_turn(turn);
    }

    /// The message joins the turn that waits last.
    fn merge(&mut self, message: NewMessage) {
        let Some(waiting) = self.next.open.back_mut() else { return };
        waiting.message_ids.push(message.id);
        let waiting = waiting.clone();
        self.add_customer_message(message, Some(waiting.id));
        self.put_turn(waiting);
    }

    /// The first open turn runs, if it did not already.
    fn start_next(&mut self) {
        let at = self.at;
        let next = self.next.open.front_mut().filter(|turn| turn.status == TurnStatus::Queued);
        let Some(turn) = next else { return };
        turn.status = TurnStatus::Running;
        turn.started_at = Some(at);
        let id = turn.id;
        self.next.conversation.active_turn_id = Some(id);
        self.tell_turn(EventKind::TurnStarted, id);
    }

    fn restart(&mut self) {
        let at = self.at;
        let Some(turn) = self.next.open.front_mut() else { return };
        turn.attempt += 1;
        turn.started_at = Some(at);
        turn.first_token_at = None;
        let id = turn.id;
        self.tell_turn(EventKind::TurnRestarted, id);
    }

    fn end_running(&mut self, ending: Ending, shown: Shown<'_>) {
        let Some(mut turn) = self.next.open.pop_front() else { return };
        turn.first_token_at = shown.first_token_at;
        if !shown.text.is_empty() {
            turn.reply_id = Some(self.add_reply(&turn, &ending, shown.text));
        }
        match ending {
            Ending::Completed(finished) => {
                turn.status = TurnStatus::Completed;
                turn.usage = Some(finished.usage);
                turn.model = Some(finished.model);
                turn.outcome = Some(finished.outcome);
            }
            Ending::Stopped(reason) => {
                turn.status = TurnStatus::Stopped;
                turn.stop_reason = Some(reason);
            }
            Ending::Failed(AnswerError { code, message }) => {
                turn.status = TurnStatus::Failed;
                turn.error = Some(TurnError { code: code.to_owned(), message: message.to_owned() });
            }
        }
        self.next.conversation.active_turn_id = None;
        self.end_turn(turn);
    }

    fn add_reply(&mut self, turn: &Turn, ending: &Ending, text: &str) -> MessageId {
        let blank = self.blank_message(Role::Assistant, text.into());
        let reply = match ending {
            Ending::Completed(finished) => Message {
                citations: Arc::new(finished.citations.clone()),
                confidence: finished.confidence,
                ..blank
            },
            Ending::Stopped(_) | Ending::Failed(_) => Message { status: MessageStatus::Partial, ..blank },
        };
        let id = reply.id;
        self.add_message(EventKind::MessageSent, Message { turn_id: Some(turn.id), ..reply });
        id
    }

    fn stop_waiting(&mut self, stops: impl Fn(&Turn) -> bool, reason: StopReason) {
        let (stopped, kept): (Vec<_>, Vec<_>) =
            self.next.open.drain(..).partition(|turn| turn.status == TurnStatus::Queued && stops(turn));
        self.next.open = kept.into();
        for mut turn in stopped {
            turn.status = TurnStatus::Stopped;
            turn.stop_reason = Some(reason);
            self.end_turn(turn);
        }
    }

    /// The turn's terminal event.
    fn end_turn(&mut self, mut turn: Turn) {
        turn.completed_at = Some(self.at);
        turn.ended_sequence = Some(self.next.conversation.sequence + 1);
        let kind = match turn.status {
            TurnStatus::Completed => EventKind::TurnCompleted,
            TurnStatus::Stopped => EventKind::TurnStopped,
            TurnStatus::Queued | TurnStatus::Running | TurnStatus::Failed => EventKind::TurnFailed,
        };
        self.push(kind, Some(turn.id), document("turn", &turn), None);
        self.put_turn(turn.clone());
        // Only the turn accepted last can be tried again.
        if self.next.last.as_ref().is_none_or(|last| last.accepted_sequence <= turn.accepted_sequence) {
            self.next.last = Some(Box::new(turn));
        }
    }

    fn put_turn(&mut self, turn: Turn) {
        self.turns.retain(|known| known.id != turn.id);
        self.turns.push(turn);
    }

    fn tell_turn(&mut self, kind: EventKind, id: TurnId) {
        let next = self.next.conversation.sequence + 1;
        let Some(turn) = self.next.open.iter_mut().find(|turn| turn.id == id) else { return };
        if turn.accepted_sequence == 0 {
            turn.accepted_sequence = next;
        }
        let turn = turn.clone();
        self.push(kind, Some(id), document("turn", &turn), None);
        self.put_turn(turn);
    }

    fn tell_conversation(&mut self, kind: EventKind, turn: Option<TurnId>) {
        // The conversation as it is after this very event.
        self.next.conversation.sequence += 1;
        let data = document("conversation", &self.next.conversation);
        self.next.conversation.sequence -= 1;
        self.push(kind, turn, data, None);
    }

    fn add_message(&mut self, kind: EventKind, message: Message) {
        let conversation = &mut self.next.conversation;
        let message = Message { sequence: conversation.sequence + 1, ..message };
        conversation.last_message_at = Some(self.at);
        if message.role != Role::System {
            conversation.message_count += 1;
        }
        self.push(kind, message.turn_id, "{}".to_owned(), Some(message));
    }

    fn push(&mut self, kind: EventKind, turn: Option<TurnId>, data: String, message: Option<Message>) {
        let conversation = &mut self.next.conversation;
        conversation.sequence += 1;
        let row = EventRow {
            stream_id: conversation.id.to_string(),
            sequence: conversation.sequence,
            id: EventId::generate(),
            org: conversation.org,
            kind,
            turn,
            data,
            at: self.at,
        };
        self.events.push((row, message));
    }

    fn blank_message(&self, role: Role, content: Arc<str>) -> Message {
        Message {
            id: MessageId::generate(),
            sequence: 0,
            role,
            content,
            citations: Arc::default(),
            client_message_id: None,
            turn_id: None,
            status: MessageStatus::Complete,
            confidence: None,
            author: None,
            metadata: Metadata::new(),
            created_at: self.at,
            fingerprint: None,
        }
    }

    fn blank_turn(&self, id: TurnId, message_ids: Vec<MessageId>, options: TurnOptions) -> Turn {
        Turn {
            id,
            status: TurnStatus::Queued,
            stop_reason: None,
            message_ids,
            reply_id: None,
            retry_of: None,
            attempt: 1,
            queued_at: self.at,
            started_at: None,
            first_token_at: None,
            completed_at: None,
            usage: None,
            model: None,
            outcome: None,
            cache: None,
            error: None,
            options,
            accepted_sequence: 0,
            ended_sequence: None,
        }
    }
}

/// `{"turn": {…}}`. Our own types always serialize.
fn document<T: Serialize>(name: &str, value: &T) -> String {
    let value = serde_json::to_string(value).unwrap_or_default();
    format!("{{\"{name}\":{value}}}")
}
