//! `POST /v1/conversations`

use std::{collections::BTreeMap, fmt, time::Instant};

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web::Data};
use openclaw_actors::{
    conversation::record::{Customer, Details},
    idempotency::{Effect, Stamp},
    ids::{ConversationId, MessageId, TurnId},
    keys::Scope,
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    answer::{Answering, Of},
    delivery::{Delivered, Delivery, OnDisconnect, StopOnDrop},
    fields,
    incoming::{Allowed, Incoming, MessageBody, Sender},
    refused::refused,
    repeats,
};
use crate::{
    http::{
        auth::{Caller, WriteConversations},
        cursor,
        error::ApiError,
        idempotency::{Once, Repeatable, replayed},
        json::OptionalJson,
        open_streams::ActiveStream,
    },
    server::Parts,
};

/// Where a conversation takes place unless it says.
pub(in crate::http) const DEFAULT_CHANNEL: &str = "api";

/// As it comes. Everything may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct StartBody {
    channel: Option<String>,
    topic: Option<String>,
    customer: Option<CustomerBody>,
    language: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    message: Option<FirstMessage>,
    stream: Option<bool>,
    wait_seconds: Option<u64>,
    on_disconnect: Option<OnDisconnect>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CustomerBody {
    id: Option<String>,
    name: Option<String>,
    email: Option<String>,
}

/// Only words, or all that a message may say.
#[derive(Debug, Clone)]
struct FirstMessage(MessageBody);

impl<'de> Deserialize<'de> for FirstMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordsOrMessage;

        impl<'de> Visitor<'de> for WordsOrMessage {
            type Value = FirstMessage;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a message")
            }

            fn visit_str<E>(self, words: &str) -> Result<FirstMessage, E> {
                Ok(FirstMessage(words.to_owned().into()))
            }

            // Not an untagged enum, which would lose the name of the field at fault.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FirstMessage, A::Error> {
                MessageBody::deserialize(MapAccessDeserializer::new(map)).map(FirstMessage)
            }
        }

        deserializer.deserialize_any(WordsOrMessage)
    }
}

/// A start, checked.
struct Start {
    details: Details,
    message: Option<Incoming>,
    delivered: Delivered,
}

impl StartBody {
    fn check(self, headers: &HeaderMap, parts: &Parts) -> Result<Start, ApiError> {
        let first = self.message.map(|FirstMessage(message)| message);
        if first.as_ref().is_some_and(|first| first.sender() == Sender::Agent) {
            let message = "the AI owns a conversation that begins";
            return Err(ApiError::conflict("handover_state", message).param("message.role"));
        }
        let own = Delivery {
            stream: self.stream,
            wait_seconds: self.wait_seconds,
            on_disconnect: self.on_disconnect,
        };
        let inner = first.as_ref().map(MessageBody::delivery).unwrap_or_default();
        let delivered = inner.or(own).check(headers)?;
        let channel = self.channel.map(|channel| fields::channel("channel", channel)).transpose()?;
        let details = Details {
            channel: channel.unwrap_or_else(|| DEFAULT_CHANNEL.to_owned()),
            topic: self.topic.map(|topic| fields::topic("topic", topic)).transpose()?,
            language: self.language.map(|language| fields::language("language", language)).transpose()?,
            customer: self.customer.unwrap_or_default().check()?,
            metadata: fields::metadata("metadata", self.metadata.unwrap_or_default())?,
        };
        let message = first.map(|first| first.check("message.", parts)).transpose()?;
        Ok(Start { details, message, delivered })
    }
}

impl CustomerBody {
    fn check(self) -> Result<Customer, ApiError> {
        Ok(Customer {
            id: self.id.map(|id| fields::foreign_id("customer.id", id)).transpose()?,
            name: self.name.map(|name| fields::name("customer.name", name)).transpose()?,
            email: self.email.map(|email| fields::email("customer.email", email)).transpose()?,
        })
    }
}

/// Begins a conversation, perhaps with its first message, which is answered.
pub(in crate::http) async fn start(
    caller: Caller<WriteConversations>,
    request: HttpRequest,
    repeatable: Repeatable,
    body: OptionalJson<StartBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let asked_at = Instant::now();
    let OptionalJson { value: body, raw } = body;
    let Start { details, message, delivered } = body.check(request.headers(), &parts)?;
    let resumes_at = cursor::last_event_id(request.headers())?;
    let scope = Scope::ConversationsWrite;
    let active = ActiveStream::if_streamed(delivered.streamed, &caller, scope, &parts)?;

    let key = (caller.org, ConversationId::generate());
    let directory = parts.directory.clone();
    let ids = (MessageId::generate(), TurnId::generate());
    let effect = Effect::Started { conversation: key.1, message: message.as_ref().map(|_| ids.0) };
    let begin = move |stamp: Option<Stamp>| async move {
        let stops = delivered.stops_on_disconnect.then(|| StopOnDrop::new(&directory, key, ids.1));
        let row = stamp.map(|stamp| stamp.row(&effect));
        let (message, row) = match message {
            Some(message) => (Some(message.into_customers(ids, Allowed::EVERYTHING, row)), None),
            None => (None, row),
        };
        let accepted =
            directory.start(key, details, message, row).await.map_err(|refusal| refused(key, refusal))?;
        let stops = stops.map(|stops| stops.keep_for_own(&accepted));
        Ok(((accepted, stops), effect))
    };
    let once = repeatable.once(&parts, repeats::scope(&caller), &raw, begin).await?;
    let answering =
        |key| Answering { parts: parts.clone(), key, of: Of::Start, delivered, active, asked_at, resumes_at };
    match once {
        Once::First((accepted, stops)) => answering(key).answer(accepted, stops).await,
        Once::Repeat(effect) => {
            let (key, accepted) = repeats::accepted(&parts, caller.org, &effect).await?;
            answering(key).answer(accepted, None).await.map(replayed)
        }
    }
}
