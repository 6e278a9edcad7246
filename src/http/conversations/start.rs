//! `POST /v1/conversations`

use std::{collections::BTreeMap, fmt, time::Instant};

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web::Data};
use openclaw_actors::{
    conversation::record::{Customer, Details},
    idempotency::{Effect, Stamp},
    ids::{ConversationId, MessageId, TurnId},
    keys::Scope,
    limiter::{Bucket, BucketId},
    metrics::METRICS,
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use tokio::time::Instant as Moment;

use super::{
    answer::{Answering, Of, Viewer},
    delivery::{Delivered, Delivery, OnDisconnect, StopOnDrop},
    fields,
    incoming::{Incoming, MessageBody, Sender},
    messages,
    refused::refused,
    repeats,
};
use crate::{
    http::{
        auth::{Starter, client_address, counted_as},
        cursor,
        error::ApiError,
        idempotency::{Once, Repeatable, replayed},
        json::OptionalJson,
        open_streams::ActiveStream,
        tickets,
    },
    server::Parts,
};

/// Where a conversation takes place unless it says.
pub(in crate::http) const DEFAULT_CHANNEL: &str = "api";

/// The same for a start from a page.
const PAGES_CHANNEL: &str = "web";

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
    /// Refuses what only a server may say: a page could say it of anybody.
    fn only_what_pages_say(&self) -> Result<(), ApiError> {
        let identified = self.customer.as_ref().is_some_and(|customer| customer.id.is_some());
        let param = match (identified, self.metadata.is_some()) {
            (true, _) => "customer.id",
            (false, true) => "metadata",
            (false, false) => return Ok(()),
        };
        let message = "a publishable key may not say this: start conversations of identified customers from your server";
        Err(ApiError::forbidden("publishable_key", message).param(param))
    }

    fn check(self, is_page: bool, headers: &HeaderMap, parts: &Parts) -> Result<Start, ApiError> {
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
            channel: channel
                .unwrap_or_else(|| if is_page { PAGES_CHANNEL } else { DEFAULT_CHANNEL }.to_owned()),
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

/// One address starts only so many conversations: a publishable key stands in a page, where anyone can take it from.
async fn not_too_often(caller: &Starter, request: &HttpRequest, parts: &Parts) -> Result<(), ApiError> {
    let Some(address) = client_address(request) else { return Ok(()) };
    let key = parts.keys.bucket_of_address(caller.principal.key, &counted_as(address));
    let bucket = BucketId { bucket: Bucket::Starts, key };
    let decision = parts.limiter.take(bucket, parts.config.limits.starts_per_address, Moment::now()).await;
    let decision = decision.map_err(|error| ApiError::unavailable().caused_by(error))?;
    if decision.admitted.is_some() {
        return Ok(());
    }
    METRICS.rate_limited.inc();
    let message = "too many conversations were started from this address";
    Err(ApiError::too_many("too_many_starts", message, decision.reset_after))
}

/// Begins a conversation, perhaps with its first message, which is answered.
pub(in crate::http) async fn start(
    mut caller: Starter,
    request: HttpRequest,
    repeatable: Repeatable,
    body: OptionalJson<StartBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let asked_at = Instant::now();
    let OptionalJson { value: body, raw } = body;
    let is_page = caller.is_page();
    if is_page {
        body.only_what_pages_say()?;
        repeatable.nobody_guesses()?;
        not_too_often(&caller, &request, &parts).await?;
    }
    let Start { details, message, delivered } = body.check(is_page, request.headers(), &parts)?;
    let resumes_at = cursor::last_event_id(request.headers())?;
    let key = (caller.org, ConversationId::generate());
    let repeats_of = repeats::scope(&caller);
    let publishable = caller.principal.clone();
    let mut token = None;
    if is_page {
        // From here on it is the customer of this conversation.
        let (made, customer) = tickets::for_start(&parts, &publishable, key.1).await?;
        (token, caller.principal) = (Some(made), customer);
    }
    let scope = Scope::ConversationsWrite;
    let active = ActiveStream::if_streamed(delivered.streamed, &caller, scope, &parts)?;

    // Here, where this request alone waits for it, and not once the conversation is on disk.
    let allowed = messages::allowed(&parts, caller.org).await?;
    let directory = parts.directory.clone();
    let ids = (MessageId::generate(), TurnId::generate());
    let effect = Effect::Started { conversation: key.1, message: message.as_ref().map(|_| ids.0) };
    let begin = move |stamp: Option<Stamp>| async move {
        let stops = delivered.stops_on_disconnect.then(|| StopOnDrop::new(&directory, key, ids.1));
        let row = stamp.map(|stamp| stamp.row(&effect));
        let (message, row) = match message {
            Some(message) => (Some(message.into_customers(ids, allowed, row)), None),
            None => (None, row),
        };
        let accepted =
            directory.start(key, details, message, row).await.map_err(|refusal| refused(key, refusal))?;
        let stops = stops.map(|stops| stops.keep_for_own(&accepted));
        Ok(((accepted, stops), effect))
    };
    let once = repeatable.once(&parts, repeats_of, &raw, begin).await?;
    let viewer = Viewer::of(&caller);
    let answering = |key, viewer| {
        let parts = parts.clone();
        Answering { parts, key, of: Of::Start, delivered, active, asked_at, resumes_at, viewer }
    };
    match once {
        Once::First((accepted, stops)) => answering(key, viewer.with(token)).answer(accepted, stops).await,
        Once::Repeat(effect) => {
            let (key, accepted) = repeats::accepted(&parts, caller.org, &effect).await?;
            if is_page {
                token = Some(tickets::for_start(&parts, &publishable, key.1).await?.0);
            }
            answering(key, viewer.with(token)).answer(accepted, None).await.map(replayed)
        }
    }
}
