//! What was said, as a model is shown it.

use std::sync::Arc;

use super::{
    messages::ConversationKey,
    record::{Message, Role},
    sql::read,
    turn::State,
};
use crate::{
    answer::{Question, Said, Speaker},
    ids::MessageId,
    store::{Store, StoreError},
};

/// The last messages that a model is shown. Support conversations rarely reach half of it.
const MESSAGES_SHOWN: usize = 100;

impl From<Role> for Speaker {
    fn from(role: Role) -> Self {
        match role {
            Role::Customer => Self::Customer,
            Role::Assistant => Self::Assistant,
            Role::Agent => Self::Agent,
            Role::System => Self::System,
        }
    }
}

#[derive(Debug, Clone)]
struct Line {
    id: MessageId,
    sequence: i64,
    role: Role,
    text: Arc<str>,
}

/// The last messages of a conversation, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    lines: Vec<Line>,
    /// What was said before the first line is known too.
    whole: bool,
}

impl History {
    /// Of a conversation that begins.
    pub(super) fn empty() -> Self {
        Self { lines: Vec::new(), whole: true }
    }

    pub(super) async fn load(store: &Store, key: ConversationKey) -> Result<Vec<Message>, StoreError> {
        read::last_messages(store, key, MESSAGES_SHOWN as i64).await
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Adds what was read from the store to what was said while it was being read.
    pub(super) fn complete(&mut self, earlier: Vec<Message>) {
        let meanwhile = std::mem::take(&mut self.lines);
        self.extend(&earlier);
        let read_up_to = self.lines.last().map_or(0, |line| line.sequence);
        self.lines.extend(meanwhile.into_iter().filter(|line| line.sequence > read_up_to));
        self.whole = true;
    }

    pub(super) fn extend<'m>(&mut self, messages: impl IntoIterator<Item = &'m Message>) {
        self.lines.extend(messages.into_iter().map(|message| Line {
            id: message.id,
            sequence: message.sequence,
            role: message.role,
            text: Arc::clone(&message.content),
        }));
        let surplus = self.lines.len().saturating_sub(MESSAGES_SHOWN);
        self.lines.drain(..surplus);
    }

    /// What the running turn's messages say.
    pub(super) fn asked(&self, state: &State) -> Vec<&str> {
        let Some(turn) = state.running() else { return Vec::new() };
        let asked = self.lines.iter().filter(|line| turn.message_ids.contains(&line.id));
        asked.map(|line| &*line.text).collect()
    }

    /// The running turn's question: what was said before, then what the turn answers. Left out are the messages of
    /// turns that wait behind it and, when a turn is tried again, what its messages were answered before.
    pub(super) fn question(&self, state: &State) -> Option<Question> {
        let turn = state.running()?;
        let asked = |line: &&Line| turn.message_ids.contains(&line.id);
        let last_asked = self.lines.iter().filter(asked).map(|line| line.sequence).max();
        let waits =
            |line: &Line| state.open.iter().skip(1).any(|waiting| waiting.message_ids.contains(&line.id));
        let replaced = |line: &Line| {
            turn.retry_of.is_some() && line.role == Role::Assistant && Some(line.sequence) > last_asked
        };
        let earlier = self.lines.iter().filter(|line| !asked(line) && !waits(line) && !replaced(line));
        let said = earlier
            .chain(self.lines.iter().filter(asked))
            .map(|line| Said { by: line.role.into(), text: Arc::clone(&line.text) });
        let conversation = &state.conversation;
        Some(Question {
            org: conversation.org,
            conversation: conversation.id,
            turn: turn.id,
            attempt: turn.attempt,
            language: conversation.details.language.clone(),
            said: said.collect(),
            model: turn.options.model.clone(),
            synthetic: turn.options.synthetic.clone(),
            repeats: turn.retry_of.is_some(),
            stored: true,
        })
    }
}
