//! `/v1/ai-sdk`: the AI SDK's UI message stream, as `useChat` asks for it with nothing but `api: "/v1/ai-sdk"`.
//!
//! A chat is a conversation. What the client keeps of it is passed over but for its last message of the user, which is
//! new; its id is the message's `client_message_id`, so that a client that asks again stores nothing again.

mod chats;
mod parts;
mod request;
mod resume;

use std::time::Instant;

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue},
    web::Data,
};
use openclaw_actors::{
    conversation::{
        messages::{Accepted, ConversationKey, Refusal},
        record::Message,
        sql::read,
    },
    idempotency::{Effect, Stamp},
    ids::TurnId,
    keys::Scope,
};

pub(in crate::http) use self::resume::resume;
use self::{
    chats::Chat,
    parts::Spoken,
    request::{Asked, Request, Trigger},
};
use super::{
    body::{Body, Speaker},
    refuse_failed,
    told::{OfTurn, Telling},
};
use crate::{
    http::{
        auth::{Party, WriteConversations},
        conversations::{links, messages, refused, repeats, turns},
        error::ApiError,
        idempotency::{Once, Repeatable, replayed},
        json::Json,
        open_streams::ActiveStream,
        query::AnyParameters,
        sse,
        timing::Timing,
    },
    server::Parts,
};

/// What tells these clients which stream it is.
const PROTOCOL: HeaderName = HeaderName::from_static("x-vercel-ai-ui-message-stream");
const VERSION: HeaderValue = HeaderValue::from_static("v1");

/// Adds the last message to the chat, or tries its answer again, and streams the answer.
pub(in crate::http) async fn ask(
    caller: Party<WriteConversations>,
    _: AnyParameters,
    repeatable: Repeatable,
    body: Json<Request>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let asked_at = Instant::now();
    let Json { value, raw } = body;
    let asked = value.check(&parts)?;
    let chat = Chat::of(&caller, &asked.chat)?;
    let permit = caller.open_stream(&parts)?;
    let active = ActiveStream::new(&parts.keys, &caller.principal, Scope::ConversationsWrite, permit);

    let own = parts.clone();
    let act = move |stamp| act(own, chat, asked, stamp);
    let (accepted, stops, repeated) =
        match repeatable.once(&parts, repeats::scope(&caller), &raw, act).await? {
            Once::First((accepted, stops)) => (accepted, stops, false),
            Once::Repeat(effect) => (repeats::accepted(&parts, caller.org, &effect).await?.1, None, true),
        };
    let key = (caller.org, accepted.conversation.id);
    let turn = accepted.turn.as_ref().map(|turn| turn.id);
    let mut telling = Telling::of_turn(parts.directory.follow(key, &accepted), turn);
    refuse_failed(telling.begins().await, |_| false, true)?;
    let timing = timing(&accepted, &parts, asked_at);
    let of = turn.map(|turn| OfTurn { directory: parts.directory.clone(), key, turn });
    let body = Body::new(telling, Spoken::new(key.1, turn), of, active).stopping(stops).timed(timing);
    let response = respond(key, turn, body);
    Ok(if repeated { replayed(response) } else { response })
}

fn timing(accepted: &Accepted, parts: &Parts, asked_at: Instant) -> Option<Timing> {
    accepted.turn.as_ref().filter(|_| !accepted.repeated)?;
    Some(Timing::new(parts.directory.models().default_name()?.to_owned(), asked_at))
}

fn respond<S: Speaker>(key: ConversationKey, turn: Option<TurnId>, body: Body<S>) -> HttpResponse {
    let location = turn.map(|turn| links::turn(key, turn));
    sse::head(location).insert_header((PROTOCOL, VERSION)).streaming(body)
}

async fn act(
    parts: Data<Parts>,
    chat: Chat,
    asked: Asked,
    stamp: Option<Stamp>,
) -> Result<(messages::Stored, Effect), ApiError> {
    let key = chat.get_or_create(&parts).await?;
    let Asked { trigger, message, incoming, stops_on_disconnect, .. } = asked;
    if let (Trigger::Regenerate, Some(message)) = (trigger, message)
        && let Some(turn) = turn_to_retry(&parts, key, &message).await?
    {
        return turns::again(parts, key, turn, stops_on_disconnect, stamp).await;
    }
    messages::store(parts, key, incoming, stops_on_disconnect, stamp).await
}

/// The turn to try again: the last one, if it answers that message. None if the message never got here, which is what
/// a client's second try after a broken connection looks like: then it is new.
async fn turn_to_retry(
    parts: &Parts,
    key: ConversationKey,
    message: &str,
) -> Result<Option<TurnId>, ApiError> {
    let Some(message) = find_message(parts, key, message).await? else { return Ok(None) };
    let last = read::last_turn(&parts.store, key).await?;
    match last.filter(|turn| turn.message_ids.contains(&message.id)) {
        Some(turn) => Ok(Some(turn.id)),
        None => Err(refused(key, Refusal::NotRetryable)),
    }
}

/// By the client's own id, or by ours where the client shows what it read here.
async fn find_message(parts: &Parts, key: ConversationKey, id: &str) -> Result<Option<Message>, ApiError> {
    if let Some(found) = read::client_message(&parts.store, key, id).await? {
        return Ok(Some(found));
    }
    match id.parse() {
        Ok(id) => Ok(read::message(&parts.store, key, id).await?),
        Err(_) => Ok(None),
    }
}
