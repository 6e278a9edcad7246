//! How far an answer has been followed: what makes its text whole and single, whatever happens to connections.

use openclaw_actors::ids::{ConversationId, TurnId};
use serde::de::DeserializeOwned;

use super::wire::{Citation, Delta, Durable, OfTurn, Received, Sent};
use crate::cli::sse::Event;

/// An answer being followed.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// What `Last-Event-ID` says when resuming.
    pub(super) cursor: Option<String>,
    /// Whose answer, once known.
    pub(super) conversation: Option<ConversationId>,
    /// Which answer, once known.
    pub(super) turn: Option<TurnId>,
    /// Bytes of its text that have been shown.
    shown: usize,
}

/// What an event means for whoever reads along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing to see.
    Nothing,
    /// More text.
    Text(String),
    /// A crash took the text so far; it begins again.
    BeginsAgain,
    /// What the text rests on.
    Sources(Vec<Citation>),
    /// The stream ends here, the answer does not.
    Interrupted,
    /// The answer is over.
    Ended(Ending),
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is whole.
    Completed,
    /// Somebody stopped it; what was shown is what there is.
    Stopped,
    /// It failed, and why.
    Failed(String),
    /// A person answers in this conversation, some time.
    LeftToAPerson,
}

impl Answer {
    /// The answer of a turn that is known already.
    pub(super) fn to(conversation: ConversationId, turn: TurnId) -> Self {
        Self { conversation: Some(conversation), turn: Some(turn), ..Self::default() }
    }

    /// Takes in the next event.
    ///
    /// # Errors
    /// Its data is not what its kind promises.
    pub(super) fn take(&mut self, event: &Event) -> Result<Step, serde_json::Error> {
        let step = match &*event.kind {
            "turn.delta" => self.more(serde_json::from_str(&event.data)?),
            "message.received" => match self.durable::<Received>(event)?.turn_id {
                Some(turn) => {
                    self.turn = Some(turn);
                    Step::Nothing
                }
                None => Step::Ended(Ending::LeftToAPerson),
            },
            "message.sent" => Step::Sources(self.durable::<Sent>(event)?.message.citations),
            "turn.started" => {
                self.turn = Some(self.durable::<OfTurn>(event)?.turn.id);
                Step::Nothing
            }
            "turn.restarted" => match std::mem::take(&mut self.shown) {
                0 => Step::Nothing,
                _ => Step::BeginsAgain,
            },
            "turn.completed" => Step::Ended(Ending::Completed),
            "turn.stopped" => Step::Ended(Ending::Stopped),
            "turn.failed" => {
                let error = self.durable::<OfTurn>(event)?.turn.error;
                Step::Ended(Ending::Failed(error.map_or_else(String::new, |error| error.message)))
            }
            "stream.closing" | "stream.lagging" => Step::Interrupted,
            // Events of the conversation, and kinds of the future.
            _ => Step::Nothing,
        };
        if event.id.is_some() {
            self.cursor.clone_from(&event.id);
        }
        Ok(step)
    }

    fn durable<T: DeserializeOwned>(&mut self, event: &Event) -> Result<T, serde_json::Error> {
        let durable: Durable<T> = serde_json::from_str(&event.data)?;
        self.conversation = Some(durable.conversation_id);
        Ok(durable.data)
    }

    /// What of a delta has not been shown. After a gap the stream goes on from an earlier position.
    fn more(&mut self, Delta { offset, mut text }: Delta) -> Step {
        let seen = self.shown.saturating_sub(offset);
        if seen >= text.len() || !text.is_char_boundary(seen) {
            return Step::Nothing;
        }
        self.shown = offset + text.len();
        Step::Text(text.split_off(seen))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(kind: &str, id: Option<&str>, data: Value) -> Event {
        Event { kind: kind.to_owned(), id: id.map(str::to_owned), data: data.to_string() }
    }

    fn delta(offset: usize, text: &str) -> Event {
        event("turn.delta", Some("2.9"), json!({ "offset": offset, "text": text }))
    }

    fn durable(kind: &str, data: Value) -> Event {
        let conversation = ConversationId::generate();
        event(kind, Some("3"), json!({ "conversation_id": conversation, "data": data }))
    }

    fn follow(answer: &mut Answer, events: &[Event]) -> Vec<Step> {
        events.iter().map(|event| answer.take(event).unwrap()).collect()
    }

    fn text(text: &str) -> Step {
        Step::Text(text.to_owned())
    }

    #[test]
    fn text_that_comes_again_is_shown_once() {
        let mut answer = Answer::default();
        let events = [delta(0, "naïve "), delta(0, "naïve "), delta(2, "ïve café"), delta(12, "!")];
        let steps = follow(&mut answer, &events);
        assert_eq!(steps, [text("naïve "), Step::Nothing, text("café"), text("!")]);
        assert_eq!(answer.cursor.as_deref(), Some("2.9"));
    }

    #[test]
    fn a_restart_begins_again_and_says_so_if_something_was_shown() {
        let turn = json!({ "turn": { "id": TurnId::generate(), "error": null } });
        let restarted = || durable("turn.restarted", turn.clone());
        let mut answer = Answer::default();
        let steps = follow(&mut answer, &[restarted(), delta(0, "It is"), restarted(), delta(0, "It was")]);
        assert_eq!(steps, [Step::Nothing, text("It is"), Step::BeginsAgain, text("It was")]);
    }

    #[test]
    fn an_answer_ends_in_one_of_four_ways() {
        let turn = |error: Value| json!({ "turn": { "id": TurnId::generate(), "error": error } });
        let failed = json!({ "code": "model_failed", "message": "the model is away" });
        for (event, ending) in [
            (durable("turn.completed", turn(Value::Null)), Ending::Completed),
            (durable("turn.stopped", turn(Value::Null)), Ending::Stopped),
            (durable("turn.failed", turn(failed)), Ending::Failed("the model is away".to_owned())),
            (durable("message.received", json!({ "turn_id": null })), Ending::LeftToAPerson),
        ] {
            assert_eq!(Answer::default().take(&event).unwrap(), Step::Ended(ending));
        }
    }

    #[test]
    fn what_resumes_an_answer_is_learned_from_its_first_events() {
        let turn = TurnId::generate();
        let mut answer = Answer::default();
        let received = durable("message.received", json!({ "message": {}, "turn_id": turn }));
        assert_eq!(follow(&mut answer, &[received]), [Step::Nothing]);
        assert_eq!((answer.turn, answer.conversation.is_some()), (Some(turn), true));
        assert_eq!(answer.cursor.as_deref(), Some("3"));
    }

    #[test]
    fn events_that_carry_no_position_do_not_move_it() {
        let mut answer = Answer { cursor: Some("7".to_owned()), ..Answer::default() };
        let closing = event("stream.closing", None, json!({ "type": "stream.closing" }));
        assert_eq!(follow(&mut answer, &[closing]), [Step::Interrupted]);
        assert_eq!(answer.cursor.as_deref(), Some("7"));
    }
}
