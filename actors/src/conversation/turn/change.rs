//! A change being put together: the events of one transaction, in order, and the rows that go with them.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{Ending, Shown, State, WAITING_TURNS, handover::is_low};
use crate::{
    answer::{AnswerError, Citation, Outcome, cache::EXACT},
    audit::{Action, By, Entry, Target},
    clock::Timestamp,
    conversation::{
        handover::{Around, Handover, HandoverReason},
        messages::{NewMessage, OnBusy, Refusal},
        record::{
            Message, MessageStatus, Metadata, Owner, Role, Status, StopReason, Turn, TurnError, TurnOptions,
            TurnStatus,
        },
        sql,
    },
    event::{EventKind, EventRow},
    ids::{EventId, HandoverId, MessageId, TurnId},
    outbox::{Outbox, Place},
    writer::{Op, Row},
};

/// A step of the state, and the rows that make it true.
#[derive(Debug, Clone)]
pub(in crate::conversation) struct Change {
    pub(in crate::conversation) next: State,
    pub(in crate::conversation) events: Vec<(EventRow, Option<Message>)>,
    pub(super) turns: Vec<Turn>,
    /// With the sequence of each one's last event.
    pub(in crate::conversation) handovers: Vec<(Handover, i64)>,
    pub(super) idempotency: Option<Row>,
    /// Who makes it, if anybody does.
    pub(super) by: Option<By>,
    /// What the audit log says of it.
    pub(super) noted: Option<Box<Entry>>,
    /// Everything goes but the event that says so.
    pub(in crate::conversation) erases: bool,
    pub(super) at: Timestamp,
    /// How long it can wait for others to be stored with it.
    pub(super) patience: Duration,
}

impl Change {
    /// The turns that it ends.
    pub(in crate::conversation) fn ended_turns(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(|turn| turn.status.has_ended())
    }

    /// The handover by which a person is asked for.
    pub(in crate::conversation) fn requested_handover(&self) -> Option<HandoverId> {
        let asks = self.events.iter().any(|(event, _)| event.kind == EventKind::HandoverRequested);
        self.next.conversation.handover.as_ref().filter(|_| asks).map(|handover| handover.id)
    }

    /// Everything of it, in one transaction, with what webhooks are to be told of it.
    pub(in crate::conversation) fn to_op(&self, outbox: &Outbox) -> Op {
        let conversation = &self.next.conversation;
        let key = (conversation.org, conversation.id);
        let mut op = Op { patience: self.patience, ..Op::default() };
        if self.erases {
            sql::erase(&mut op, key);
        } else {
            sql::put_conversation(&mut op, conversation);
            for turn in &self.turns {
                sql::put_turn(&mut op, key, turn);
                if turn.outcome == Some(Outcome::Unanswered) {
                    sql::put_unanswered(&mut op, conversation, turn);
                }
            }
            for (handover, sequence) in &self.handovers {
                sql::put_handover(&mut op, key, handover, *sequence);
            }
        }
        let place =
            Place { channel: &conversation.details.channel, topic: conversation.details.topic.as_deref() };
        for (event, message) in &self.events {
            match event.kind {
                EventKind::ConversationStarted | EventKind::ConversationReopened => {
                    sql::idle::opened(&mut op, key, self.at);
                }
                EventKind::ConversationCompleted => sql::idle::closed(&mut op, key.1),
                kind => self.note_handover(&mut op, kind),
            }
            if let Some(message) = message {
                sql::put_message(&mut op, key, message);
            }
            outbox.publish(&mut op, event.clone(), Some(place), |event| {
                // Our own types always serialize.
                sql::durable(event, message.as_ref()).ok().map(|durable| durable.json)
            });
        }
        op.rows.extend(self.idempotency.clone());
        if let Some(noted) = &self.noted {
            noted.write(&mut op);
        }
        op
    }

    /// What the audit log says of an event, if it is about a handover. What nobody did, the customer's words or a rule
    /// did.
    fn note_handover(&self, op: &mut Op, kind: EventKind) {
        let action = match kind {
            EventKind::HandoverRequested => Action::HandoverRequested,
            EventKind::HandoverAccepted => Action::HandoverAccepted,
            EventKind::HandoverReturned => Action::HandoverReturned,
            EventKind::HandoverClosed => Action::HandoverClosed,
            EventKind::HandoverCancelled => Action::HandoverCancelled,
            EventKind::HandoverExpired => Action::HandoverExpired,
            _ => return,
        };
        let Some(handover) = &self.next.conversation.handover else { return };
        let by = self.by.clone().unwrap_or(match (kind, handover.reason) {
            (EventKind::HandoverRequested, HandoverReason::CustomerRequest) => By::Customer,
            _ => By::System,
        });
        Entry::new(self.next.conversation.org, by, action, Target::Handover(handover.id)).write(op);
    }

    /// The same, made by somebody.
    pub(in crate::conversation) fn by(self, by: Option<By>) -> Self {
        Self { by, ..self }
    }

    pub(super) fn receive(&mut self, message: NewMessage, shown: Shown<'_>) -> Result<(), Refusal> {
        if self.next.conversation.status == Status::Completed {
            if !message.reopen {
                return Err(Refusal::Completed);
            }
            self.reopen(message.turn);
        }
        let waits = self.next.conversation.status == Status::WaitingForHuman;
        if self.next.conversation.owner == Owner::Human || waits && !message.answer_while_waiting {
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
                self.end_running(Ending::Stopped(StopReason::Interrupted), shown, None);
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
        conversation.low_answers = 0;
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
    pub(super) fn start_next(&mut self) {
        let at = self.at;
        let next = self.next.open.front_mut().filter(|turn| turn.status == TurnStatus::Queued);
        let Some(turn) = next else { return };
        turn.status = TurnStatus::Running;
        turn.started_at = Some(at);
        let id = turn.id;
        self.next.conversation.active_turn_id = Some(id);
        self.tell_turn(EventKind::TurnStarted, id);
    }

    pub(super) fn restart(&mut self) {
        let at = self.at;
        let Some(turn) = self.next.open.front_mut() else { return };
        turn.attempt += 1;
        turn.started_at = Some(at);
        turn.first_token_at = None;
        let id = turn.id;
        self.tell_turn(EventKind::TurnRestarted, id);
    }

    /// Message, handover and terminal event, in this order.
    pub(super) fn end_running(&mut self, ending: Ending, shown: Shown<'_>, around: Option<&Around>) {
        let Some(mut turn) = self.next.open.pop_front() else { return };
        turn.first_token_at = shown.first_token_at;
        if !shown.text.is_empty() {
            turn.reply_id = Some(self.add_reply(&turn, &ending, shown.text));
        }
        if let Ending::Completed(finished) = &ending {
            self.take_topic(&finished.citations);
        }
        let raised = around.and_then(|around| Some((self.next.raises(&ending, &around.policy)?, around)));
        if let Ending::Completed(finished) = &ending {
            self.count(finished.outcome);
        }
        if let Some((reason, around)) = raised {
            self.raise(reason, turn.id, around);
        }
        match ending {
            Ending::Completed(finished) => {
                turn.status = TurnStatus::Completed;
                turn.usage = Some(finished.usage);
                turn.model = Some(finished.model);
                turn.outcome = Some(finished.outcome);
                turn.cache = finished.cached.then(|| EXACT.to_owned());
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

    /// Answers in a row below the line. Small talk is no answer, in either direction.
    fn count(&mut self, outcome: Outcome) {
        let low_answers = &mut self.next.conversation.low_answers;
        match outcome {
            Outcome::Answered => *low_answers = 0,
            outcome if is_low(outcome) => *low_answers += 1,
            _ => {}
        }
    }

    /// What nobody said the conversation is about, its first cited article says. No field of the client's changes by
    /// it, so there is no event of its own, and no new version.
    fn take_topic(&mut self, citations: &[Citation]) {
        let conversation = &mut self.next.conversation;
        if conversation.details.topic.is_none()
            && let Some(topic) = citations.iter().find_map(|citation| citation.topic.clone())
        {
            Arc::make_mut(&mut conversation.details).topic = Some(topic);
        }
    }

    fn add_reply(&mut self, turn: &Turn, ending: &Ending, text: &str) -> MessageId {
        let blank = Message {
            id: MessageId::of_reply_to(turn.id),
            ..self.blank_message(Role::Assistant, text.into())
        };
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

    pub(super) fn stop_waiting(&mut self, stops: impl Fn(&Turn) -> bool, reason: StopReason) {
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

    pub(super) fn tell_turn(&mut self, kind: EventKind, id: TurnId) {
        let next = self.next.conversation.sequence + 1;
        let Some(turn) = self.next.open.iter_mut().find(|turn| turn.id == id) else { return };
        if turn.accepted_sequence == 0 {
            turn.accepted_sequence = next;
        }
        let turn = turn.clone();
        self.push(kind, Some(id), document("turn", &turn), None);
        self.put_turn(turn);
    }

    pub(super) fn tell_conversation(&mut self, kind: EventKind, turn: Option<TurnId>) {
        // The conversation as it is after this very event.
        self.next.conversation.sequence += 1;
        let data = document("conversation", &self.next.conversation);
        self.next.conversation.sequence -= 1;
        self.push(kind, turn, data, None);
    }

    pub(super) fn add_message(&mut self, kind: EventKind, message: Message) {
        let conversation = &mut self.next.conversation;
        let message = Message { sequence: conversation.sequence + 1, ..message };
        conversation.last_message_at = Some(self.at);
        if message.role != Role::System {
            conversation.message_count += 1;
        }
        self.push(kind, message.turn_id, "{}".to_owned(), Some(message));
    }

    pub(super) fn push(
        &mut self,
        kind: EventKind,
        turn: Option<TurnId>,
        data: String,
        message: Option<Message>,
    ) {
        let conversation = &mut self.next.conversation;
        conversation.sequence += 1;
        let row = EventRow {
            stream_id: conversation.id.to_string().into(),
            sequence: conversation.sequence,
            id: EventId::generate(),
            org: conversation.org,
            kind,
            turn,
            data: data.into(),
            at: self.at,
        };
        self.events.push((row, message));
    }

    pub(super) fn blank_message(&self, role: Role, content: Arc<str>) -> Message {
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

    pub(super) fn blank_turn(&self, id: TurnId, message_ids: Vec<MessageId>, options: TurnOptions) -> Turn {
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
pub(super) fn document<T: Serialize>(name: &str, value: &T) -> String {
    let value = serde_json::to_string(value).unwrap_or_default();
    format!("{{\"{name}\":{value}}}")
}
