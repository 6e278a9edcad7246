//! What must be read before something is decided: was it stored already, and what is a handover's event made of?

use super::{Busy, COMMIT_TRIES, Effect, Found, LookUp, Machine, Refusal, Waiting};
use crate::{
    clock::Timestamp,
    conversation::{
        handover::{Around, Policy},
        messages::Command,
    },
};

impl<T> Machine<T> {
    /// What the organization's settings make of the turn that is about to be asked.
    pub(in crate::conversation) fn set_policy(&mut self, policy: Policy) {
        self.policy = Some(policy);
    }

    /// A command's turn has come. First what it is made of is read, then whether its effect was stored before.
    pub(super) fn next(&mut self, waiting: Box<Waiting<T>>) {
        if self.around.is_none() && self.tells_of_a_handover(&waiting.command) {
            self.waiting.push_front(waiting);
            return self.recall(0);
        }
        match self.to_look_up(&waiting) {
            Some(look_up) => {
                self.busy = Busy::LookingUp(waiting);
                self.effects.push(Effect::LookUp(look_up));
            }
            None => self.decide(*waiting, None),
        }
    }

    fn to_look_up(&self, waiting: &Waiting<T>) -> Option<LookUp> {
        let state = self.state.as_ref()?;
        let message = |id, client_message_id: &Option<String>| {
            let look_up = LookUp::Message { message: id, client_message_id: client_message_id.clone() };
            (waiting.repeat || client_message_id.is_some()).then_some(look_up)
        };
        let touched_last = state.conversation.handover.as_ref().map(|handover| handover.id);
        match &waiting.command {
            Command::Start(begun) => {
                begun.message.as_ref().and_then(|new| message(new.id, &new.client_message_id))
            }
            Command::Submit(new) => message(new.id, &new.client_message_id),
            Command::Say(said) => message(said.id, &said.client_message_id),
            Command::RequestHandover(new) => waiting.repeat.then_some(LookUp::Handover(new.id)),
            // The one touched last is known; an earlier one may still be accepted.
            Command::Handover { id, .. } => (Some(*id) != touched_last).then_some(LookUp::Handover(*id)),
            _ => None,
        }
    }

    fn tells_of_a_handover(&self, command: &Command) -> bool {
        let Some(state) = &self.state else { return false };
        match command {
            Command::RequestHandover(_) | Command::Handover { .. } => true,
            Command::Complete { .. } => state.open_handover().is_some(),
            _ => false,
        }
    }

    /// May the end that waits to be stored ask for a person?
    pub(super) fn may_raise(&self) -> bool {
        let (Some(state), Some(ending)) = (&self.state, &self.ending) else { return false };
        state.raises(ending, self.policy.as_ref().unwrap_or(&Policy::EAGER)).is_some()
    }

    pub(super) fn recall(&mut self, tries: u32) {
        self.busy = Busy::Recalling { tries };
        self.effects.push(if tries == 0 { Effect::Recall } else { Effect::RecallLater });
    }

    /// What `Recall` read.
    pub(in crate::conversation) fn recalled(&mut self, around: Around, at: Timestamp) {
        if let Busy::Recalling { .. } = self.busy {
            self.busy = Busy::Nothing;
            self.around = Some(Box::new(around));
        }
        self.go_on(at);
    }

    /// It could not be read. The end of an answer must be stored in the end; a command is refused.
    pub(in crate::conversation) fn recall_failed(&mut self, at: Timestamp) {
        let Busy::Recalling { tries } = self.busy else { return };
        self.busy = Busy::Nothing;
        if self.ending.is_some() {
            self.refuse_all(&Refusal::Unavailable);
            if tries < COMMIT_TRIES { self.recall(tries + 1) } else { self.leave() }
        } else if let Some(waiting) = self.waiting.pop_front() {
            self.refuse(waiting.sender, Refusal::Unavailable);
        }
        self.go_on(at);
    }

    /// What `LookUp` found, if it is stored.
    pub(in crate::conversation) fn looked_up(&mut self, found: Option<Found>, at: Timestamp) {
        let Busy::LookingUp(waiting) = std::mem::replace(&mut self.busy, Busy::Nothing) else { return };
        match found {
            Some(Found::Message(message, turn)) => {
                self.answer_repeat(*waiting, *message, turn.map(|turn| *turn))
            }
            Some(Found::Handover(handover)) => self.decide(*waiting, Some(*handover)),
            None => self.decide(*waiting, None),
        }
        self.go_on(at);
    }

    /// The look-up failed.
    pub(in crate::conversation) fn look_up_failed(&mut self, at: Timestamp) {
        if let Busy::LookingUp(waiting) = std::mem::replace(&mut self.busy, Busy::Nothing) {
            self.refuse(waiting.sender, Refusal::Unavailable);
        }
        self.go_on(at);
    }
}
