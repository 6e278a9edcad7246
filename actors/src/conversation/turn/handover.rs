//! The rules of handovers: what may be done to one in which state, and what that makes of the conversation.
//!
//! | state | operation → result |
//! |---|---|
//! | none, returned, closed, cancelled, expired | request → requested |
//! | requested | request → the same · accept → accepted · cancel → cancelled · time is up → expired · complete → cancelled |
//! | accepted | request → the same · accept by the same agent → the same · return → returned · close, complete → closed |
//! | expired | accept → accepted, unless a newer one is open or the conversation is completed |
//!
//! A verb whose effect holds already changes nothing; every other one is refused.

use super::{Change, Ending, Shown, State};
use crate::{
    answer::{Language, Outcome},
    audit::By,
    clock::Timestamp,
    conversation::{
        handover::{
            Around, Handover, HandoverObject, HandoverReason, HandoverState, Phrases, Policy, TAIL,
            customers_words, language_of,
        },
        messages::{NewHandover, Refusal, Verb},
        record::{Author, Message, Owner, Resolution, Role, Status, StopReason},
    },
    event::EventKind,
    ids::{HandoverId, TurnId},
    writer::Row,
};

/// Answers in a row below the confidence line that ask for a person.
pub(in crate::conversation) const LOW_ANSWERS: i64 = 2;

impl State {
    /// The handover that waits or that a person has.
    pub(in crate::conversation) fn open_handover(&self) -> Option<&Handover> {
        self.conversation.handover.as_deref().filter(|handover| handover.is_open())
    }

    /// Does the end of the running turn ask for a person?
    pub(in crate::conversation) fn raises(&self, ending: &Ending, policy: &Policy) -> Option<HandoverReason> {
        if self.open_handover().is_some() || self.conversation.owner == Owner::Human || !policy.is_open {
            return None;
        }
        match ending {
            Ending::Completed(finished) if finished.outcome == Outcome::Handover => {
                Some(HandoverReason::CustomerRequest)
            }
            Ending::Completed(finished)
                if is_low(finished.outcome) && self.conversation.low_answers + 1 >= LOW_ANSWERS =>
            {
                Some(HandoverReason::LowConfidence)
            }
            Ending::Failed(_) if policy.on_failure => Some(HandoverReason::AnswerFailed),
            Ending::Completed(_) | Ending::Failed(_) | Ending::Stopped(_) => None,
        }
    }

    /// A person is asked for. The change is `None` where one had been already.
    pub(in crate::conversation) fn request_handover(
        &self,
        new: NewHandover,
        shown: Shown<'_>,
        around: &Around,
        at: Timestamp,
    ) -> Result<(HandoverId, Option<Change>), Refusal> {
        if self.conversation.status == Status::Completed {
            return Err(Refusal::Completed);
        }
        if let Some(open) = self.open_handover() {
            let change = match new.accept {
                // Without the request's row, which names the handover that it would have made.
                Some(agent) => self.accept(open, agent, None, shown, around, at)?,
                None => None,
            };
            return Ok((open.id, change));
        }
        let mut change = self.change(at, new.idempotency);
        let id = new.id;
        change.request(
            Handover {
                id,
                state: HandoverState::Requested,
                reason: new.reason,
                target: new.target,
                note: new.note,
                agent: None,
                requested_at: at,
                accepted_at: None,
                ended_at: None,
                expires_at: new.timeout_ms.map(|ms| at.plus_ms(ms)),
            },
            None,
            around,
        );
        if let Some(agent) = new.accept {
            change.hand_to(agent, shown, around);
        }
        Ok((id, Some(change)))
    }

    /// Something is done to a handover of this conversation, which need not be the one touched last. `None`: it was
    /// done already.
    pub(in crate::conversation) fn handle(
        &self,
        handover: &Handover,
        verb: Verb,
        idempotency: Option<Row>,
        shown: Shown<'_>,
        around: &Around,
        at: Timestamp,
    ) -> Result<Option<Change>, Refusal> {
        use HandoverState::{Accepted, Cancelled, Closed, Requested, Returned};

        if let Verb::Accept(agent) = verb {
            return self.accept(handover, agent, idempotency, shown, around, at);
        }
        let mut change = self.change(at, idempotency);
        match (verb, handover.state) {
            (Verb::Return { .. }, Returned) | (Verb::Close { .. }, Closed) | (Verb::Cancel, Cancelled) => {
                return Ok(None);
            }
            (Verb::Expire, Requested) if handover.expires_at.is_some_and(|expires| expires <= at) => {
                change.expire(around);
            }
            // It was taken care of meanwhile.
            (Verb::Expire, _) => return Ok(None),
            (Verb::Return { note }, Accepted) => change.give_back(note, around),
            (Verb::Close { resolution }, Accepted) => change.complete(resolution, shown, Some(around)),
            (Verb::Cancel, Requested) => change.end_handover(around),
            _ => return Err(Refusal::HandoverState),
        }
        Ok(Some(change))
    }

    fn accept(
        &self,
        handover: &Handover,
        agent: Author,
        idempotency: Option<Row>,
        shown: Shown<'_>,
        around: &Around,
        at: Timestamp,
    ) -> Result<Option<Change>, Refusal> {
        match (handover.state, &handover.agent) {
            (HandoverState::Requested, _) => {}
            (HandoverState::Accepted, Some(winner)) if winner.id == agent.id => return Ok(None),
            (HandoverState::Accepted, Some(winner)) => return Err(Refusal::HandoverTaken(winner.clone())),
            (HandoverState::Expired, _)
                if self.open_handover().is_none() && self.conversation.status != Status::Completed => {}
            _ => return Err(Refusal::HandoverState),
        }
        let mut change = self.change(at, idempotency);
        change.next.conversation.handover = Some(Box::new(handover.clone()));
        change.hand_to(agent, shown, around);
        Ok(Some(change))
    }
}

impl Verb {
    /// The person who does it, if it is one who can.
    pub(in crate::conversation) fn by(&self, handover: &Handover) -> Option<By> {
        let agent = match self {
            Self::Accept(agent) => Some(agent),
            Self::Return { .. } | Self::Close { .. } => handover.agent.as_ref(),
            Self::Cancel | Self::Expire => None,
        };
        agent.map(|agent| By::Agent { id: agent.id.clone(), name: agent.name.clone() })
    }
}

/// Below the line from which an answer is one.
pub(super) fn is_low(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Suggested | Outcome::Unanswered)
}

impl Change {
    /// A person is asked for; `turn` is the one whose end did it.
    pub(super) fn request(&mut self, handover: Handover, turn: Option<TurnId>, around: &Around) {
        let conversation = &mut self.next.conversation;
        conversation.status = Status::WaitingForHuman;
        conversation.low_answers = 0;
        conversation.handover = Some(Box::new(handover));
        self.tell_handover(EventKind::HandoverRequested, turn, around);
    }

    /// The same by the server itself, as a turn ends.
    pub(super) fn raise(&mut self, reason: HandoverReason, turn: TurnId, around: &Around) {
        let handover = Handover {
            id: HandoverId::generate(),
            state: HandoverState::Requested,
            reason,
            target: None,
            note: None,
            agent: None,
            requested_at: self.at,
            accepted_at: None,
            ended_at: None,
            expires_at: around.policy.timeout_ms.map(|ms| self.at.plus_ms(ms)),
        };
        self.request(handover, Some(turn), around);
    }

    /// A person takes over: whatever the AI was saying ends before the event that says so.
    fn hand_to(&mut self, agent: Author, shown: Shown<'_>, around: &Around) {
        self.stop_all(StopReason::Handover, shown);
        let at = self.at;
        let conversation = &mut self.next.conversation;
        conversation.owner = Owner::Human;
        conversation.epoch += 1;
        conversation.status = Status::WithHuman;
        self.put_handover(|handover| {
            handover.state = HandoverState::Accepted;
            handover.agent = Some(agent);
            handover.accepted_at = Some(at);
            handover.ended_at = None;
            handover.expires_at = None;
        });
        self.tell_handover(EventKind::HandoverAccepted, None, around);
    }

    /// The person gives the conversation back. What was said before the boundary is not the AI's to answer.
    fn give_back(&mut self, note: Option<String>, around: &Around) {
        let conversation = &mut self.next.conversation;
        conversation.owner = Owner::Ai;
        conversation.epoch += 1;
        if note.is_some() {
            self.put_handover(|handover| handover.note = note);
        }
        self.over(HandoverState::Returned, EventKind::HandoverReturned, around);
        self.say_to_customer(around, |phrases| phrases.boundary);
    }

    fn expire(&mut self, around: &Around) {
        self.over(HandoverState::Expired, EventKind::HandoverExpired, around);
        self.say_to_customer(around, |phrases| phrases.expired);
    }

    /// Ends an open handover, if there is one: a person's is closed, one that waits is cancelled.
    pub(super) fn end_handover(&mut self, around: &Around) {
        match self.next.open_handover().map(|handover| handover.state) {
            Some(HandoverState::Accepted) => {
                self.over(HandoverState::Closed, EventKind::HandoverClosed, around);
            }
            Some(_) => self.over(HandoverState::Cancelled, EventKind::HandoverCancelled, around),
            None => {}
        }
    }

    /// The conversation goes on without this handover; answers below the line are counted anew.
    fn over(&mut self, state: HandoverState, kind: EventKind, around: &Around) {
        let at = self.at;
        self.next.conversation.status = Status::Active;
        self.next.conversation.low_answers = 0;
        self.put_handover(|handover| {
            handover.state = state;
            handover.ended_at = Some(at);
        });
        self.tell_handover(kind, None, around);
    }

    /// The conversation is over, and with it whatever is open of it.
    pub(super) fn complete(
        &mut self,
        resolution: Option<Resolution>,
        shown: Shown<'_>,
        around: Option<&Around>,
    ) {
        self.stop_all(StopReason::Completed, shown);
        if let Some(around) = around {
            self.end_handover(around);
        }
        let at = self.at;
        let conversation = &mut self.next.conversation;
        conversation.status = Status::Completed;
        conversation.completed_at = Some(at);
        conversation.resolution = resolution;
        self.tell_conversation(EventKind::ConversationCompleted, None);
    }

    fn stop_all(&mut self, reason: StopReason, shown: Shown<'_>) {
        if self.next.running().is_some() {
            self.end_running(Ending::Stopped(reason), shown, None);
        }
        self.stop_waiting(|_| true, reason);
    }

    fn put_handover(&mut self, edit: impl FnOnce(&mut Handover)) {
        if let Some(handover) = &mut self.next.conversation.handover {
            edit(handover);
        }
    }

    /// The handover's event, and its row.
    fn tell_handover(&mut self, kind: EventKind, turn: Option<TurnId>, around: &Around) {
        let Some(handover) = self.next.conversation.handover.clone() else { return };
        let object = HandoverObject::of(&self.next.conversation, &handover, around, &self.said(around));
        self.push(kind, turn, super::change::document("handover", &object), None);
        self.handovers.retain(|(known, _)| known.id != handover.id);
        self.handovers.push((*handover, self.next.conversation.sequence));
    }

    /// What was said last, up to and with this change.
    fn said<'m>(&'m self, around: &'m Around) -> Vec<&'m Message> {
        let now = self.events.iter().filter_map(|(_, message)| message.as_ref());
        let all: Vec<_> = around.tail.iter().chain(now).collect();
        all[all.len().saturating_sub(TAIL)..].to_vec()
    }

    /// A message of the system's own, in the conversation's language.
    fn say_to_customer(&mut self, around: &Around, sentence: impl FnOnce(&'static Phrases) -> &'static str) {
        let named = self.next.conversation.details.language.as_deref();
        let language = language_of(named, customers_words(&self.said(around)));
        let phrases = Phrases::of(language.unwrap_or(Language::DEFAULT));
        let message = self.blank_message(Role::System, sentence(phrases).into());
        self.add_message(EventKind::MessageSent, message);
    }
}
