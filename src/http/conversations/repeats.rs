//! What a repeated request is answered from: the references that the first one left, read again.

use openclaw_actors::{
    conversation::{
        messages::{Accepted, ConversationKey},
        sql::read,
    },
    idempotency::Effect,
    ids::OrgId,
};

use crate::{
    http::{auth::Caller, error::ApiError, idempotency::of_another_kind},
    server::Parts,
};

/// Names of different credentials never meet.
pub(in crate::http) fn scope<P>(caller: &Caller<P>) -> String {
    caller.credential()
}

/// A stored message or retry, as it was accepted.
pub(in crate::http) async fn accepted(
    parts: &Parts,
    org: OrgId,
    effect: &Effect,
) -> Result<(ConversationKey, Accepted), ApiError> {
    let (conversation, message, turn, begins) = match *effect {
        Effect::Started { conversation, message } => (conversation, message, None, true),
        Effect::Message { conversation, message } => (conversation, Some(message), None, false),
        Effect::Retry { conversation, turn } => (conversation, None, Some(turn), false),
        Effect::Stopped { .. }
        | Effect::Conversation { .. }
        | Effect::Handover { .. }
        | Effect::Key { .. }
        | Effect::Webhook { .. }
        | Effect::Delivery { .. }
        | Effect::Organization { .. }
        | Effect::Article { .. }
        | Effect::Import { .. }
        | Effect::Replay { .. }
        | Effect::Tested { .. }
        | Effect::Nothing => return Err(of_another_kind(effect)),
    };
    let (store, key) = (&parts.store, (org, conversation));
    // Erased meanwhile: what the first one made is gone.
    let conversation = read::conversation(store, key).await?.ok_or_else(ApiError::not_found)?;
    let message = match message {
        Some(id) => Some(read::message(store, key, id).await?.ok_or_else(ApiError::not_found)?),
        None => None,
    };
    let turn = match turn.or(message.as_ref().and_then(|message| message.turn_id)) {
        Some(id) => read::turn(store, key, id).await?,
        None => None,
    };
    let first_event =
        turn.as_ref().map(|turn| turn.accepted_sequence).or(message.as_ref().map(|message| message.sequence));
    let after = if begins { 0 } else { first_event.unwrap_or(conversation.sequence) - 1 };
    let accepted = Accepted { conversation, message, turn, after, repeated: true, feed: None };
    Ok((key, accepted))
}
