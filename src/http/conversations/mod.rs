//! Conversations over HTTP.

mod answer;
pub(super) mod changes;
mod delivery;
pub(super) mod fields;
mod incoming;
pub(super) mod links;
pub(super) mod lists;
pub(super) mod messages;
mod refused;
pub(super) mod repeats;
pub(super) mod start;
pub(super) mod streams;
pub(super) mod turns;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web::Data,
};
use openclaw_actors::{
    conversation::{
        messages::ConversationKey,
        record::Conversation,
        sql::{lists::Slice, read},
    },
    ids::ConversationId,
};

pub(super) use self::{
    delivery::{OnDisconnect, StopOnDrop},
    incoming::{Foreign, Incoming, MessageBody, Sender},
    refused::refused,
};
use super::{
    auth::{Party, ReadConversations},
    error::ApiError,
    page::{Order, PageRequest},
    query::PathId,
};
use crate::server::Parts;

/// One conversation, without its messages.
pub(super) async fn get(
    caller: Party<ReadConversations>,
    id: PathId<ConversationId>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let found = read::conversation(&parts.store, (caller.org, *id)).await?;
    found.map(|conversation| shown(&conversation)).ok_or_else(ApiError::not_found)
}

/// A conversation with its version.
fn shown(conversation: &Conversation) -> HttpResponse {
    HttpResponse::build(StatusCode::OK)
        .insert_header((header::ETAG, format!("\"{}\"", conversation.version)))
        .json(conversation)
}

/// A list of a conversation that does not exist is not an empty one.
async fn exists(parts: &Parts, key: ConversationKey) -> Result<Conversation, ApiError> {
    read::conversation(&parts.store, key).await?.ok_or_else(ApiError::not_found)
}

/// A page of what is numbered by sequence.
fn slice<P: serde::de::DeserializeOwned>(page: &PageRequest) -> Result<Slice<P>, ApiError> {
    Ok(Slice { after: page.after()?, descending: page.order == Order::Desc, rows: page.rows() })
}
