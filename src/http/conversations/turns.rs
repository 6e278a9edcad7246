//! Turns of a conversation: shown, stopped, tried again.

use std::time::Instant;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json as Answer},
};
use openclaw_actors::{
    conversation::{messages::ConversationKey, record::Turn, sql::read},
    idempotency::{Effect, Stamp},
    ids::{ConversationId, TurnId},
    keys::Scope,
};
use serde::{Deserialize, Serialize};

use super::{
    answer::{Answering, Of, Viewer},
    delivery::{Delivery, StopOnDrop},
    messages::Stored,
    refused::refused,
    repeats,
};
use crate::{
    http::{
        auth::{Caller, Party, ReadConversations, WriteConversations},
        cursor,
        error::ApiError,
        idempotency::{Once, Repeatable, of_another_kind, replayed},
        json::OptionalJson,
        open_streams::ActiveStream,
        query::PathId,
    },
    server::Parts,
};

/// A body that says nothing.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct Empty {}

#[derive(Serialize)]
struct Stopped {
    turn: Option<Turn>,
}

/// One turn.
pub(in crate::http) async fn get(
    caller: Party<ReadConversations>,
    ids: PathId<(ConversationId, TurnId)>,
    parts: Data<Parts>,
) -> Result<Answer<Turn>, ApiError> {
    let (conversation, turn) = *ids;
    let found = read::turn(&parts.store, (caller.org, conversation), turn).await?;
    found.map(Answer).ok_or_else(ApiError::not_found)
}

/// Stops a turn, running or waiting; one that has ended is shown as it ended.
pub(in crate::http) async fn stop(
    caller: Party<WriteConversations>,
    ids: PathId<(ConversationId, TurnId)>,
    repeatable: Repeatable,
    body: OptionalJson<Empty>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let (conversation, turn) = *ids;
    let (turn, repeats) = stopped(&caller, conversation, Some(turn), repeatable, &body.raw, &parts).await?;
    let turn = turn.ok_or_else(ApiError::not_found)?;
    let response = HttpResponse::Ok().json(turn);
    Ok(if repeats { replayed(response) } else { response })
}

/// Stops whichever turn runs.
pub(in crate::http) async fn stop_running(
    caller: Party<WriteConversations>,
    id: PathId<ConversationId>,
    repeatable: Repeatable,
    body: OptionalJson<Empty>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let (turn, repeats) = stopped(&caller, *id, None, repeatable, &body.raw, &parts).await?;
    let response = HttpResponse::Ok().json(Stopped { turn });
    Ok(if repeats { replayed(response) } else { response })
}

/// The turn as it ended, and whether it was stopped by an earlier request.
async fn stopped(
    caller: &Caller<WriteConversations>,
    conversation: ConversationId,
    turn: Option<TurnId>,
    repeatable: Repeatable,
    body: &[u8],
    parts: &Data<Parts>,
) -> Result<(Option<Turn>, bool), ApiError> {
    let key = (caller.org, conversation);
    let directory = parts.directory.clone();
    let act = move |stamp: Option<Stamp>| async move {
        let stopped = directory.stop(key, turn, false).await.map_err(|refusal| refused(key, refusal))?;
        let effect = Effect::Stopped { conversation, turn: stopped.as_ref().map(|turn| turn.id) };
        // A stop that is repeated after a crash finds the turn ended: it is the same stop.
        if let Some(stamp) = stamp {
            stamp.record(&effect).await;
        }
        Ok((stopped, effect))
    };
    match repeatable.once(parts, repeats::scope(caller), body, act).await? {
        Once::First(stopped) => Ok((stopped, false)),
        Once::Repeat(Effect::Stopped { turn: Some(turn), .. }) => {
            let turn = read::turn(&parts.store, key, turn).await?;
            turn.map(|turn| (Some(turn), true)).ok_or_else(ApiError::not_found)
        }
        Once::Repeat(Effect::Stopped { turn: None, .. }) => Ok((None, true)),
        Once::Repeat(other) => Err(of_another_kind(&other)),
    }
}

/// Answers the last turn's messages again, as a turn of its own.
pub(in crate::http) async fn retry(
    caller: Party<WriteConversations>,
    ids: PathId<(ConversationId, TurnId)>,
    request: HttpRequest,
    repeatable: Repeatable,
    body: OptionalJson<Delivery>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let asked_at = Instant::now();
    let (conversation, of) = *ids;
    let delivered = body.check(request.headers())?;
    let resumes_at = cursor::last_event_id(request.headers())?;
    let scope = Scope::ConversationsWrite;
    let active = ActiveStream::if_streamed(delivered.streamed, &caller, scope, &parts)?;

    let key = (caller.org, conversation);
    let (own, stops) = (parts.clone(), delivered.stops_on_disconnect);
    let act = move |stamp| again(own, key, of, stops, stamp);
    let once = repeatable.once(&parts, repeats::scope(&caller), &body.raw, act).await?;
    let viewer = Viewer::of(&caller);
    let answering = Answering { parts, key, of: Of::Retry, delivered, active, asked_at, resumes_at, viewer };
    match once {
        Once::First((accepted, stops)) => answering.answer(accepted, stops).await,
        Once::Repeat(effect) => answering.answer_again(&effect).await.map(replayed),
    }
}

/// Begins the retry; says what is to be remembered of it.
pub(in crate::http) async fn again(
    parts: Data<Parts>,
    key: ConversationKey,
    of: TurnId,
    stops_on_disconnect: bool,
    stamp: Option<Stamp>,
) -> Result<(Stored, Effect), ApiError> {
    let turn = TurnId::generate();
    let effect = Effect::Retry { conversation: key.1, turn };
    let stops = stops_on_disconnect.then(|| StopOnDrop::new(&parts.directory, key, turn));
    let row = stamp.map(|stamp| stamp.row(&effect));
    let accepted =
        parts.directory.retry(key, of, turn, row).await.map_err(|refusal| refused(key, refusal))?;
    Ok(((accepted, stops), effect))
}
