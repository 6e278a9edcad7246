//! What a model tells agents of a conversation that is handed over.
//!
//! No event waits for it: `handover.requested` has a summary without a model, frozen like the rest of it, and
//! `GET /v1/handovers/{id}` shows the model's once it has come. What is said later does not change it.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::debug;

use super::Directory;
use crate::{
    answer::{Question, Said},
    conversation::{
        messages::ConversationKey,
        record::{Conversation, Role},
        sql::{self, read},
    },
    ids::{HandoverId, TurnId},
    writer::Op,
};

/// Summaries in the making at once: they share the model with customers, who come first. Past it a handover has its
/// summary without a model alone.
pub(super) const AT_ONCE: usize = 16;

/// An agent who has read the conversation needs no summary any more.
const WITHIN: Duration = Duration::from_secs(30);

/// The last messages that are read for it; a prompt holds fewer characters.
const MESSAGES_READ: i64 = 50;

/// Characters that are kept of it: four sentences have some 600.
const LONGEST: usize = 2_000;

impl Directory {
    /// Asks a model, if there is one, on this thread and without anybody waiting for it.
    pub(in crate::conversation) fn summarise(
        &self,
        key: ConversationKey,
        handover: HandoverId,
        conversation: &Conversation,
    ) {
        if !self.0.answerers.can_summarise() {
            return;
        }
        let Ok(place) = Arc::clone(&self.0.summaries).try_acquire_owned() else { return };
        let (directory, language) = (self.clone(), conversation.details.language.clone());
        actix::spawn(async move {
            let told = timeout(WITHIN, directory.tell(key, handover, language)).await;
            if !matches!(told, Ok(Some(()))) {
                debug!(org.id = %key.0, conversation.id = %key.1, "a handover keeps its summary without a model");
            }
            drop(place);
        });
    }

    async fn tell(&self, key: ConversationKey, handover: HandoverId, language: Option<String>) -> Option<()> {
        let messages = read::last_messages(&self.0.store, key, MESSAGES_READ).await.ok()?;
        messages.iter().find(|message| message.role == Role::Customer)?;
        let said =
            messages.iter().map(|message| Said { by: message.role.into(), text: message.content.clone() });
        let question = Question {
            org: key.0,
            conversation: key.1,
            turn: TurnId::generate(),
            attempt: 1,
            language,
            said: said.collect(),
            model: None,
            synthetic: None,
            repeats: false,
            stored: true,
        };
        let text = self.0.answerers.summarise(question).await.ok()?;
        let text: String = text.trim().chars().filter(|character| *character != '\0').take(LONGEST).collect();
        if text.is_empty() {
            return None;
        }
        let mut op = Op::default();
        sql::put_summary(&mut op, key, handover, &text);
        self.0.writer.commit(op).await.ok()
    }
}
