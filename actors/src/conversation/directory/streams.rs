//! Where readers find their feed, whether anything is live or not, and where a stream begins.

use std::sync::Arc;

use super::{Directory, Opened, Shared};
use crate::{
    conversation::{
        feed::Feed,
        messages::{Accepted, ConversationKey},
        reader::{Cursor, Reader, Scope, Start},
        sql::read,
    },
    ids::TurnId,
    store::StoreError,
};

impl Directory {
    /// Opens a stream of what an accepted message causes, from its first event on.
    #[must_use]
    pub fn follow(&self, key: ConversationKey, accepted: &Accepted) -> Reader {
        let scope = match &accepted.turn {
            Some(turn) => Scope::Turn(turn.id),
            // Not up to the conversation's own sequence: a repeat finds it further on. Without a message it began.
            None => {
                Scope::Until(accepted.message.as_ref().map_or(accepted.after + 1, |message| message.sequence))
            }
        };
        let start = Start { cursor: Cursor::after(accepted.after), answer: None, instead_of: None };
        let feed = accepted.feed.clone().unwrap_or_else(|| self.feed(key));
        feed.learn_head(accepted.conversation.sequence);
        Reader::new(feed, self.0.store.clone(), key, scope, &start)
    }

    /// Opens a stream by cursor, or where a stream without a cursor begins.
    ///
    /// # Errors
    /// The store failed.
    pub async fn open(
        &self,
        key: ConversationKey,
        turn: Option<TurnId>,
        cursor: Option<Cursor>,
    ) -> Result<Opened, StoreError> {
        let Shared { store, .. } = &*self.0;
        // Found before the head is read: an event committed after the reading is published to it.
        let feed = self.feed(key);
        let Some(conversation) = read::conversation(store, key).await? else { return Ok(Opened::NotFound) };
        let head = conversation.sequence;
        feed.learn_head(head);
        let (scope, cursor) = match turn {
            None => (Scope::Conversation, cursor),
            Some(id) => {
                let Some(turn) = read::turn(store, key, id).await? else { return Ok(Opened::NotFound) };
                if let (Some(cursor), Some(ended)) = (cursor, turn.ended_sequence)
                    && cursor.sequence >= ended
                    && cursor.sequence <= head
                {
                    return Ok(Opened::Ended);
                }
                (Scope::Turn(id), Some(cursor.unwrap_or(Cursor::after(turn.accepted_sequence - 1))))
            }
        };
        let start = match cursor {
            Some(cursor) => self.check(key, &feed, cursor, head).await?,
            None => {
                // The running turn from its start, else what comes from now on.
                let open = read::open_answer(store, key, head).await?;
                let from = open.map_or(head, |(.., opened)| opened - 1);
                Start { cursor: Cursor::after(from), answer: None, instead_of: None }
            }
        };
        Ok(Opened::Reader(Box::new(Reader::new(feed, store.clone(), key, scope, &start))))
    }

    /// Finds the answer open at a cursor, and the nearest earlier position if the cursor cannot be served.
    async fn check(
        &self,
        key: ConversationKey,
        feed: &Feed,
        cursor: Cursor,
        head: i64,
    ) -> Result<Start, StoreError> {
        let sequence = cursor.sequence.min(head);
        let open = read::open_answer(&self.0.store, key, sequence).await?;
        let answer = open.map(|(turn, attempt, _)| (turn, attempt));
        if cursor.sequence > head {
            return Ok(Start { cursor: Cursor::after(head), answer, instead_of: Some(cursor) });
        }
        let Some((turn, attempt)) = answer else {
            let instead_of = (cursor.offset > 0).then_some(cursor);
            return Ok(Start { cursor: Cursor::after(sequence), answer: None, instead_of });
        };
        let text = match feed.answer_at(turn, attempt, cursor.offset) {
            Some(live) => Some(live),
            None => self.stored_answer(key, turn, sequence, cursor.offset).await?,
        };
        let served = match text {
            Some((_, on_edge)) => on_edge,
            // The attempt was restarted or its text went with a crash: there is nothing left to miss.
            None => true,
        };
        if served {
            return Ok(Start { cursor, answer, instead_of: None });
        }
        let cursor_served = Cursor { sequence, offset: 0 };
        Ok(Start { cursor: cursor_served, answer, instead_of: Some(cursor) })
    }

    /// The reply of an answer that ended after `sequence`: its length, and whether `offset` is an edge in it.
    async fn stored_answer(
        &self,
        key: ConversationKey,
        turn: TurnId,
        sequence: i64,
        offset: usize,
    ) -> Result<Option<(usize, bool)>, StoreError> {
        let store = &self.0.store;
        if read::opened_again(store, key, turn, sequence).await? {
            return Ok(None);
        }
        let Some(turn) = read::turn(store, key, turn).await? else { return Ok(None) };
        let Some(reply) = turn.reply_id else { return Ok(None) };
        let message = read::message(store, key, reply).await?;
        Ok(message.map(|message| (message.content.len(), message.content.is_char_boundary(offset))))
    }

    /// The feed of a conversation, whether anything is live or not.
    pub(in crate::conversation) fn feed(&self, key: ConversationKey) -> Arc<Feed> {
        let mut slot = self.0.feeds.entry(key).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let feed = self.new_feed(key);
            *slot = Arc::downgrade(&feed);
            feed
        })
    }

    fn new_feed(&self, key: ConversationKey) -> Arc<Feed> {
        let shared = Arc::downgrade(&self.0);
        Arc::new(Feed::new(move || {
            if let Some(shared) = shared.upgrade() {
                // A feed made meanwhile under the same key stays.
                shared.feeds.remove_if(&key, |_, feed| feed.strong_count() == 0);
            }
        }))
    }

    /// The feed, if somebody watches or a turn runs.
    pub(in crate::conversation) fn watched(&self, key: ConversationKey) -> Option<Arc<Feed>> {
        self.0.feeds.get(&key).and_then(|feed| feed.upgrade())
    }
}
