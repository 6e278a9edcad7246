//! Messages of a conversation: sent, listed, shown.

use std::time::Instant;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json as Answer},
};
use openclaw_actors::{
    conversation::{
        messages::{Accepted, ConversationKey},
        record::Message,
        sql::{lists, read},
    },
    idempotency::{Effect, Stamp},
    ids::{ConversationId, MessageId, OrgId, TurnId},
    keys::Scope,
};
use serde::Deserialize;

use super::{
    answer::{Answering, Of, Viewer},
    delivery::StopOnDrop,
    incoming::{Allowed, Incoming, MessageBody, Sender},
    refused::refused,
    repeats, slice,
};
use crate::{
    http::{
        auth::{AnySecretKey, Party, ReadConversations},
        cursor,
        error::ApiError,
        idempotency::{Once, Repeatable, replayed},
        json::Json,
        open_streams::ActiveStream,
        page::{Filters, List, Order, Page},
        query::PathId,
    },
    server::Parts,
};

/// What a sender must hold.
pub(in crate::http) fn scope_of(sender: Sender) -> Scope {
    match sender {
        Sender::Customer => Scope::ConversationsWrite,
        Sender::Agent => Scope::HandoverWrite,
    }
}

/// What the organization lets a message of the customer do.
pub(in crate::http) async fn allowed(parts: &Parts, org: OrgId) -> Result<Allowed, ApiError> {
    let organization = parts.organizations.recent(org).await?;
    Ok(organization.map_or(Allowed::EVERYTHING, |organization| Allowed {
        reopen: organization.settings.reopen_on_message,
        answer_while_waiting: organization.settings.answer_while_waiting,
    }))
}

/// A stored message, and what stops its turn.
pub(in crate::http) type Stored = (Accepted, Option<StopOnDrop>);

/// Stores a message; says what is to be remembered of it.
pub(in crate::http) async fn store(
    parts: Data<Parts>,
    key: ConversationKey,
    incoming: Incoming,
    stops_on_disconnect: bool,
    stamp: Option<Stamp>,
) -> Result<(Stored, Effect), ApiError> {
    let directory = &parts.directory;
    let ids = (MessageId::generate(), TurnId::generate());
    let effect = Effect::Message { conversation: key.1, message: ids.0 };
    let row = stamp.as_ref().map(|stamp| stamp.row(&effect));
    let (accepted, stops) = match incoming.sender {
        Sender::Customer => {
            let allowed = allowed(&parts, key.0).await?;
            let stops = stops_on_disconnect.then(|| StopOnDrop::new(directory, key, ids.1));
            (directory.submit(key, incoming.into_customers(ids, allowed, row)).await, stops)
        }
        Sender::Agent => (directory.say(key, incoming.into_agents(ids.0, row)).await, None),
    };
    let accepted = accepted.map_err(|refusal| refused(key, refusal))?;
    let stops = stops.map(|stops| stops.keep_for_own(&accepted));
    let message = accepted.message.as_ref().map_or(ids.0, |message| message.id);
    let effect = Effect::Message { conversation: key.1, message };
    // Known by its `client_message_id`, it was stored by an earlier request, without this one's row.
    if let Some(stamp) = stamp.filter(|_| accepted.repeated) {
        stamp.record(&effect).await;
    }
    Ok(((accepted, stops), effect))
}

/// Adds a message, which is answered unless a person owns the conversation.
pub(in crate::http) async fn send(
    caller: Party<AnySecretKey>,
    id: PathId<ConversationId>,
    request: HttpRequest,
    repeatable: Repeatable,
    body: Json<MessageBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let asked_at = Instant::now();
    let Json { value: body, raw } = body;
    let scope = scope_of(body.sender());
    caller.require(scope)?;
    let delivered = body.delivery().check(request.headers())?;
    let incoming = body.check("", &parts)?;
    let resumes_at = cursor::last_event_id(request.headers())?;
    let active = ActiveStream::if_streamed(delivered.streamed, &caller, scope, &parts)?;

    let key = (caller.org, *id);
    let (own, stops) = (parts.clone(), delivered.stops_on_disconnect);
    let act = move |stamp| store(own, key, incoming, stops, stamp);
    let once = repeatable.once(&parts, repeats::scope(&caller), &raw, act).await?;
    let viewer = Viewer::of(&caller);
    let answering =
        Answering { parts, key, of: Of::Message, delivered, active, asked_at, resumes_at, viewer };
    match once {
        Once::First((accepted, stops)) => answering.answer(accepted, stops).await,
        Once::Repeat(effect) => answering.answer_again(&effect).await.map(replayed),
    }
}

/// A list of messages.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct OldestFirst {}

impl Filters for OldestFirst {
    const ORDER: Order = Order::Asc;
}

/// The messages of a conversation.
pub(in crate::http) async fn list(
    caller: Party<ReadConversations>,
    id: PathId<ConversationId>,
    list: List<OldestFirst>,
    parts: Data<Parts>,
) -> Result<Answer<Page<Message>>, ApiError> {
    let key = (caller.org, *id);
    let slice = slice(&list.page)?;
    super::exists(&parts, key).await?;
    let messages = lists::messages(&parts.store, key, slice).await?;
    Ok(Answer(Page::new(messages, &list.page, |message| message.sequence)))
}

/// One message.
pub(in crate::http) async fn get(
    caller: Party<ReadConversations>,
    ids: PathId<(ConversationId, MessageId)>,
    parts: Data<Parts>,
) -> Result<Answer<Message>, ApiError> {
    let (conversation, message) = *ids;
    let found = read::message(&parts.store, (caller.org, conversation), message).await?;
    found.map(Answer).ok_or_else(ApiError::not_found)
}
