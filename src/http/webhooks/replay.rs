//! What an endpoint has missed, once more.

use actix_web::{HttpResponse, web::Data};
use openclaw_actors::{
    idempotency::{Effect, Stamp},
    ids::WebhookId,
};
use serde::Serialize;

use super::body::ReplayBody;
use crate::{
    http::{
        auth::{Caller, WriteWebhooks},
        error::ApiError,
        idempotency::{Once, Repeatable, of_another_kind, replayed},
        json::OptionalJson,
        query::PathId,
    },
    server::Parts,
};

/// `POST /v1/webhooks/{id}/replay`
///
/// # Errors
/// See [`WebhookError`](openclaw_actors::webhook::endpoint::WebhookError).
pub async fn replay(
    caller: Caller<WriteWebhooks>,
    id: PathId<WebhookId>,
    repeatable: Repeatable,
    body: OptionalJson<ReplayBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let OptionalJson { value, raw } = body;
    let asked = value.read()?;
    let (scope, webhook, org, shared) = (caller.credential(), *id, caller.org, parts.clone());
    let act = move |stamp: Option<Stamp>| async move {
        let row = |replay| stamp.map(|stamp| stamp.row(&Effect::Replay { replay }));
        let made = shared.webhooks.replay(org, webhook, asked, row).await?;
        Ok((made, Effect::Replay { replay: made.id }))
    };
    let answer = |queued: i64| HttpResponse::Accepted().json(QueuedView { queued });
    match repeatable.once(&parts, scope, &raw, act).await? {
        Once::First(made) => Ok(answer(made.queued)),
        Once::Repeat(Effect::Replay { replay }) => {
            Ok(replayed(answer(parts.webhooks.replayed(org, replay).await?.queued)))
        }
        Once::Repeat(other) => Err(of_another_kind(&other)),
    }
}

/// How many events are delivered once more.
#[derive(Debug, Serialize)]
struct QueuedView {
    queued: i64,
}
