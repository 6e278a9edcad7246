//! Where things are found.

use openclaw_actors::{
    conversation::messages::ConversationKey,
    ids::{MessageId, TurnId},
};

pub(super) fn conversation((_, id): ConversationKey) -> String {
    format!("/v1/conversations/{id}")
}

pub(super) fn message(key: ConversationKey, id: MessageId) -> String {
    format!("{}/messages/{id}", conversation(key))
}

pub(in crate::http) fn turn(key: ConversationKey, id: TurnId) -> String {
    format!("{}/turns/{id}", conversation(key))
}
