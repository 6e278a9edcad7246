//! `GET /v1/ai-sdk/{id}/stream`: what a page that was loaded again asks for.

use actix_web::{HttpResponse, web::Data};
use openclaw_actors::{
    clock::Timestamp,
    conversation::{directory::Opened, messages::ConversationKey, sql::read},
    ids::TurnId,
    keys::Scope,
};

use super::{chats::Chat, parts::Spoken, respond};
use crate::{
    http::{
        auth::{ReadConversations, StreamParty},
        dialects::{body::Body, told::Telling},
        error::ApiError,
        open_streams::ActiveStream,
        query::{AnyParameters, PathId},
    },
    server::Parts,
};

/// How long after its end a turn is still shown again, in milliseconds: a page that was loaded again has it by then.
const SHOWN_AGAIN_MS: i64 = 60_000;

/// Replays the running turn, or one that ended just now, from its start.
pub(in crate::http) async fn resume(
    StreamParty { caller, permit, .. }: StreamParty<ReadConversations>,
    id: PathId<String>,
    _: AnyParameters,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    if parts.stopping.is_announced() {
        return Err(ApiError::unavailable());
    }
    let nothing = || Ok(HttpResponse::NoContent().finish());
    let Some(key) = Chat::of(&caller, &id)?.find(&parts).await? else { return nothing() };
    let Some(turn) = turn_to_show(&parts, key).await? else { return nothing() };
    let reader = match parts.directory.open(key, Some(turn), None).await? {
        Opened::Reader(reader) => *reader,
        Opened::Ended => return nothing(),
        Opened::NotFound => return Err(ApiError::not_found()),
    };
    let active = ActiveStream::new(&parts.keys, &caller.principal, Scope::ConversationsRead, permit);
    let telling = Telling::of_turn(reader, Some(turn));
    Ok(respond(key, Some(turn), Body::new(telling, Spoken::new(key.1, Some(turn)), None, active)))
}

async fn turn_to_show(parts: &Parts, key: ConversationKey) -> Result<Option<TurnId>, ApiError> {
    let conversation = read::conversation(&parts.store, key).await?.ok_or_else(ApiError::not_found)?;
    if let Some(running) = conversation.active_turn_id {
        return Ok(Some(running));
    }
    let last = read::last_turn(&parts.store, key).await?;
    let shown = last.filter(|turn| is_shown_again(turn.completed_at, Timestamp::now()));
    Ok(shown.map(|turn| turn.id))
}

/// One that has not ended began after it was looked whether one runs.
fn is_shown_again(ended: Option<Timestamp>, now: Timestamp) -> bool {
    ended.is_none_or(|ended| ended >= now.plus_ms(-SHOWN_AGAIN_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_shown_again_for_a_minute_after_its_end() {
        let now = Timestamp::now();
        let shown = |ms_ago: i64| is_shown_again(Some(now.plus_ms(-ms_ago)), now);
        assert!(shown(0) && shown(60_000) && !shown(60_001));
        assert!(is_shown_again(None, now));
    }
}
