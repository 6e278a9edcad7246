//! Where readers find their feed, whether anything is live or not, and where a stream begins.

use std::sync::{Arc, atomic::Ordering};

use super::{Directory, Opened, Shared};
use crate::{
    conversation::{
        feed::{Closing, Feed},
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
        let start = Start::at(Cursor::after(accepted.after));
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
        let Some(id) = turn else {
            let start = match cursor {
                Some(cursor) => self.check(key, &feed, cursor, head).await?,
                // The running turn from its start, else what comes from now on.
                None => {
                    let open = read::open_answer(store, key, head).await?;
                    Start::at(Cursor::after(open.map_or(head, |(.., opened)| opened - 1)))
                }
            };
            return Ok(Opened::Reader(Box::new(Reader::new(
                feed,
                store.clone(),
                key,
                Scope::Conversation,
                &start,
            ))));
        };
        let Some(turn) = read::turn(store, key, id).await? else { return Ok(Opened::NotFound) };
        let cursor = cursor.unwrap_or(Cursor::after(turn.accepted_sequence - 1));
        let has_ended = turn.ended_sequence.is_some_and(|ended| cursor.sequence >= ended);
        if has_ended && cursor.sequence <= head {
            return Ok(Opened::Ended);
        }
        // Past the head of a turn that is over, all there is to say is that this cannot be served.
        let start = Start { over: has_ended, ..self.check(key, &feed, cursor, head).await? };
        Ok(Opened::Reader(Box::new(Reader::new(feed, store.clone(), key, Scope::Turn(id), &start))))
    }

    /// Finds the answer open at a cursor, and the nearest earlier position if the cursor cannot be served.
    async fn check(
        &self,
        key: ConversationKey,
        feed: &Feed,
        asked: Cursor,
        head: i64,
    ) -> Result<Start, StoreError> {
        let sequence = asked.sequence.min(head);
        // Past the head comes after all of the text.
        let offset = if asked.sequence > head { usize::MAX } else { asked.offset };
        let open = read::open_answer(&self.0.store, key, sequence).await?;
        let answer = open.map(|(turn, attempt, _)| (turn, attempt));
        let nearest = match answer {
            None => Some(0),
            Some((turn, attempt)) => match feed.nearest(turn, attempt, offset) {
                Some(live) => Some(live),
                None => self.nearest_stored(key, turn, sequence, offset).await?,
            },
        };
        // The attempt was restarted, or its text went with a crash: there is nothing left to miss.
        let offset = nearest.unwrap_or(if asked.sequence > head { 0 } else { asked.offset });
        let cursor = Cursor { sequence, offset };
        let instead_of = (cursor != asked).then_some(asked);
        Ok(Start { cursor, answer, instead_of, over: false })
    }

    /// The same in the reply of an answer that ended after `sequence`.
    async fn nearest_stored(
        &self,
        key: ConversationKey,
        turn: TurnId,
        sequence: i64,
        offset: usize,
    ) -> Result<Option<usize>, StoreError> {
        let store = &self.0.store;
        if read::opened_again(store, key, turn, sequence).await? {
            return Ok(None);
        }
        let Some(turn) = read::turn(store, key, turn).await? else { return Ok(None) };
        let Some(reply) = turn.reply_id else {
            // It ended without text, so whatever was asked for is past it. One that runs is in the feed.
            return Ok(turn.ended_sequence.map(|_| 0));
        };
        let message = read::message(store, key, reply).await?;
        Ok(message.map(|message| message.content.floor_char_boundary(offset)))
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

    /// A feed for an empty place among them, which the caller holds.
    fn new_feed(&self, key: ConversationKey) -> Arc<Feed> {
        let shared = Arc::downgrade(&self.0);
        let feed = Feed::new(move || {
            if let Some(shared) = shared.upgrade() {
                // A feed made meanwhile under the same key stays.
                shared.feeds.remove_if(&key, |_, feed| feed.strong_count() == 0);
            }
        });
        // Whoever ends the streams has been past this place, or comes past it and finds the feed.
        if self.0.stopping.load(Ordering::Acquire) {
            feed.close(Closing::Shutdown);
        }
        Arc::new(feed)
    }

    /// The feed, if somebody watches or a turn runs.
    pub(in crate::conversation) fn watched(&self, key: ConversationKey) -> Option<Arc<Feed>> {
        self.0.feeds.get(&key).and_then(|feed| feed.upgrade())
    }
}
