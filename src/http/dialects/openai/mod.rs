//! `POST /v1/chat/completions`, as OpenAI's clients ask for it.
//!
//! Without a conversation an actor answers that stores nothing. With one, the last message of the user is a message of
//! that conversation, and what else was sent is passed over: the conversation knows what was said.

mod answer;
mod cut;
mod request;

use std::time::Instant;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderName, HeaderValue},
    web::Data,
};
use openclaw_actors::{
    answer::{Question, grounded, synthetic},
    conversation::{
        messages::{Accepted, ConversationKey},
        record::Turn,
    },
    ids::{ConversationId, OrgId, TurnId},
    keys::Scope,
};

use self::{
    answer::{About, Completion},
    cut::{Cut, Meter},
    request::{Asked, CONVERSATION_ID, Request},
};
use super::{
    body::Body,
    refuse_failed,
    told::{OfTurn, Telling},
};
use crate::{
    http::{
        auth::{Caller, WriteConversations},
        conversations::{Foreign, MessageBody, links, messages, refused, repeats},
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

/// Obeyed by OpenAI's clients, which else send again what a 5xx answered.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// An answer that is asked for, and who gives it.
struct Begun {
    telling: Telling,
    of: Option<OfTurn>,
    about: About,
    /// The turn, if this request made it.
    own: bool,
    repeated: bool,
}

/// Answers what was said last.
pub(in crate::http) async fn complete(
    caller: Caller<WriteConversations>,
    _: AnyParameters,
    request: HttpRequest,
    repeatable: Repeatable,
    body: Json<Request>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let asked_at = Instant::now();
    let Json { value, raw } = body;
    let named = request.headers().get(CONVERSATION_ID).map(HeaderValue::to_str).transpose();
    let asked = value.check(named.map_err(|_| ApiError::not_found())?, &parts)?;
    let active = ActiveStream::if_streamed(asked.streamed, &caller, Scope::ConversationsWrite, &parts)?;
    let begun = match asked.conversation {
        // Nothing is stored, so there is no effect that a repeat could find.
        None => once(caller.org, &asked, &parts)?,
        Some(id) => in_conversation(&caller, (caller.org, id), &asked, repeatable, &raw, &parts).await?,
    };
    let repeated = begun.repeated;
    let response = answer(begun, asked, active, asked_at).await?;
    Ok(if repeated { replayed(response) } else { response })
}

/// An actor of its own answers, which stores nothing.
fn once(org: OrgId, asked: &Asked, parts: &Data<Parts>) -> Result<Begun, ApiError> {
    let (conversation, turn) = (ConversationId::generate(), TurnId::generate());
    let question = Question {
        org,
        conversation,
        turn,
        attempt: 1,
        language: None,
        said: asked.said.clone(),
        model: asked.model.clone(),
        synthetic: None,
        repeats: false,
        stored: false,
    };
    let listener =
        parts.directory.answer_once(question).map_err(|refusal| refused((org, conversation), refusal))?;
    let telling = Telling::once(listener, parts.stopping.clone());
    Ok(Begun { telling, of: None, about: about(asked, turn, None, parts), own: true, repeated: false })
}

/// A conversation answers. It is not the place of a second answer beside the first, so a running turn is in the way.
async fn in_conversation(
    caller: &Caller<WriteConversations>,
    key: ConversationKey,
    asked: &Asked,
    repeatable: Repeatable,
    raw: &[u8],
    parts: &Data<Parts>,
) -> Result<Begun, ApiError> {
    let message =
        Foreign { content: asked.last(), model: asked.model.clone(), rejects: true, ..Foreign::default() };
    let incoming = MessageBody::from(message).check("", parts)?;
    let own = parts.clone();
    let act = move |stamp| messages::store(own, key, incoming, false, stamp);
    let (accepted, repeated) = match repeatable.once(parts, repeats::scope(caller), raw, act).await? {
        Once::First((accepted, _)) => (accepted, false),
        Once::Repeat(effect) => (repeats::accepted(parts, key.0, &effect).await?.1, true),
    };
    let Accepted { message, turn, .. } = &accepted;
    let turn = turn.as_ref().map(|turn: &Turn| turn.id);
    let of = turn.map(|turn| OfTurn { directory: parts.directory.clone(), key, turn });
    let mut about = about(asked, turn.unwrap_or_else(TurnId::generate), Some(key.1), parts);
    about.message = message.as_ref().map(|message| message.id);
    let telling = Telling::of_turn(parts.directory.follow(key, &accepted), turn);
    Ok(Begun { telling, own: of.is_some() && !repeated, of, about, repeated })
}

fn about(asked: &Asked, turn: TurnId, conversation: Option<ConversationId>, parts: &Parts) -> About {
    let default = || parts.directory.models().default_name().unwrap_or_default().to_owned();
    let model = asked.model.clone().unwrap_or_else(default);
    let meter = match model.as_str() {
        grounded::MODEL | synthetic::MODEL => Meter::Words,
        _ => Meter::Characters,
    };
    let prompt_tokens = asked.said.iter().map(|said| meter.count(&said.text)).sum();
    About { turn, model, conversation, message: None, with_usage: asked.with_usage, meter, prompt_tokens }
}

async fn answer(
    begun: Begun,
    asked: Asked,
    active: Option<ActiveStream>,
    asked_at: Instant,
) -> Result<HttpResponse, ApiError> {
    let Begun { mut telling, of, about, own, .. } = begun;
    let is_stored = about.conversation.is_some();
    let timing = own.then(|| Timing::new(about.model.clone(), asked_at));
    let location = of.as_ref().map(|of| links::turn(of.key, of.turn));
    let cut = Cut::new(asked.stops, asked.most_tokens, about.meter);
    let completion = Completion::new(about, cut);
    let answered = match active {
        Some(active) => refuse_failed(telling.begins().await, |code| code == answer::FILTERED, is_stored)
            .map(|()| {
                sse::head(location).streaming(Body::new(telling, completion, of, active).timed(timing))
            }),
        None => completion.whole(&mut telling, of.as_ref()).await.map(|whole| {
            timing.iter().for_each(Timing::ended);
            HttpResponse::Ok().json(whole)
        }),
    };
    // The message is stored: sent again, it would be asked twice.
    answered.map_err(|error| match is_stored {
        true => error.header(SHOULD_RETRY, HeaderValue::from_static("false")),
        false => error,
    })
}
