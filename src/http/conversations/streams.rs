//! Streams opened by GET: of a conversation, and of one turn.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use openclaw_actors::{
    conversation::directory::Opened,
    ids::{ConversationId, TurnId},
    keys::Scope,
};

use super::links;
use crate::{
    http::{
        auth::{ReadConversations, StreamParty},
        cursor::StreamParameters,
        error::ApiError,
        open_streams::ActiveStream,
        query::{PathId, Query},
        sse::Events,
    },
    server::Parts,
};

/// All of a conversation; it stays open.
pub(in crate::http) async fn conversation(
    party: StreamParty<ReadConversations>,
    id: PathId<ConversationId>,
    request: HttpRequest,
    parameters: Query<StreamParameters>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    open(party, *id, None, &request, &parameters, &parts).await
}

/// One turn, up to its terminal event.
pub(in crate::http) async fn turn(
    party: StreamParty<ReadConversations>,
    ids: PathId<(ConversationId, TurnId)>,
    request: HttpRequest,
    parameters: Query<StreamParameters>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let (conversation, turn) = *ids;
    open(party, conversation, Some(turn), &request, &parameters, &parts).await
}

async fn open(
    mut party: StreamParty<ReadConversations>,
    conversation: ConversationId,
    turn: Option<TurnId>,
    request: &HttpRequest,
    parameters: &StreamParameters,
    parts: &Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let cursor = parameters.cursor(request.headers())?;
    // It would end at once; the client should come back to whoever serves next.
    if parts.stopping.is_announced() {
        return Err(ApiError::unavailable());
    }
    let key = (party.caller.org, conversation);
    let reader = match parts.directory.open(key, turn, cursor).await? {
        Opened::Reader(reader) => *reader,
        // What stops an `EventSource`, which would come back to an empty stream for ever.
        Opened::Ended => return Ok(HttpResponse::NoContent().finish()),
        Opened::NotFound => return Err(ApiError::not_found()),
    };
    let seat = party.seat(parts).await?;
    let StreamParty { caller, permit, .. } = party;
    let active = ActiveStream::new(&parts.keys, &caller.principal, Scope::ConversationsRead, permit);
    let events = Events::new(reader, conversation, active.seated(seat)).for_page(caller.is_page());
    Ok(events.response(turn.map(|turn| links::turn(key, turn))))
}
