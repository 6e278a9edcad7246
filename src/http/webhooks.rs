//! Webhooks: made, listed, changed, rotated, tested, deleted. A secret is shown once, in the answer that made it.

mod body;
pub mod deliveries;
pub mod replay;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::ContentType},
    web::Data,
};
use openclaw_actors::{
    clock::Timestamp,
    idempotency::{Effect, Stamp},
    ids::{OrgId, WebhookId},
    webhook::{
        IssuedSecret, Tested, Timings,
        endpoint::{Webhook, WebhookError, WebhookView},
    },
};
use serde::Serialize;

use self::body::{NewWebhookBody, TestBody, WebhookPatchBody};
use super::{
    auth::{Caller, ReadWebhooks, WriteWebhooks},
    error::ApiError,
    idempotency::{Once, Repeatable, of_another_kind, replayed},
    json::{Json, OptionalJson},
    page::{List, NoFilters, Order, Page},
    query::PathId,
    secrets::{RotateBody, shown_once},
};
use crate::server::Parts;

/// `GET /v1/webhooks`
///
/// # Errors
/// The cursor is not one of this list, or the store is away.
pub async fn list(
    caller: Caller<ReadWebhooks>,
    list: List<NoFilters>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let after: Option<WebhookId> = list.page.after()?;
    let slice = (after, list.page.order == Order::Desc);
    let found = parts.webhooks.list(caller.org, slice, list.page.rows()).await?;
    let page = Page::new(found, &list.page, |webhook| webhook.id);
    let (data, now) = (page.data, Timestamp::now());
    let shown = data.iter().map(|webhook| WebhookView::of(webhook, now)).collect();
    Ok(HttpResponse::Ok().json(Page { data: shown, has_more: page.has_more, next_cursor: page.next_cursor }))
}

/// `POST /v1/webhooks`
///
/// # Errors
/// See [`WebhookError`].
pub async fn create(
    caller: Caller<WriteWebhooks>,
    repeatable: Repeatable,
    body: Json<NewWebhookBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let Json { value, raw } = body;
    let new = value.read()?;
    let (scope, by, org, shared) = (caller.credential(), caller.by(), caller.org, parts.clone());
    let act = move |stamp: Option<Stamp>| async move {
        let row = |webhook| stamp.map(|stamp| stamp.row(&Effect::Webhook { webhook }));
        let issued = shared.webhooks.create(by, org, new, row).await?;
        let effect = Effect::Webhook { webhook: issued.webhook.id };
        Ok((issued, effect))
    };
    let once = repeatable.once(&parts, scope, &raw, act).await?;
    issued(once, StatusCode::CREATED, org, &parts).await
}

/// `GET /v1/webhooks/{id}`
///
/// # Errors
/// There is no such webhook, or the store is away.
pub async fn get(
    caller: Caller<ReadWebhooks>,
    id: PathId<WebhookId>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    Ok(shown(&parts.webhooks.get(caller.org, *id).await?))
}

/// `PATCH /v1/webhooks/{id}`
///
/// # Errors
/// See [`WebhookError`].
pub async fn change(
    caller: Caller<WriteWebhooks>,
    id: PathId<WebhookId>,
    body: Json<WebhookPatchBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let patch = body.value.read()?;
    Ok(shown(&parts.webhooks.change(caller.by(), caller.org, *id, patch).await?))
}

/// `DELETE /v1/webhooks/{id}`
///
/// # Errors
/// See [`WebhookError`].
pub async fn delete(
    caller: Caller<WriteWebhooks>,
    id: PathId<WebhookId>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    parts.webhooks.delete(caller.by(), caller.org, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /v1/webhooks/{id}/rotate_secret`
///
/// # Errors
/// See [`WebhookError`].
pub async fn rotate(
    caller: Caller<WriteWebhooks>,
    id: PathId<WebhookId>,
    repeatable: Repeatable,
    body: OptionalJson<RotateBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let webhook = *id;
    let grace = body.value.grace()?;
    let (scope, by, org, shared) = (caller.credential(), caller.by(), caller.org, parts.clone());
    let act = move |stamp: Option<Stamp>| async move {
        let effect = Effect::Webhook { webhook };
        let row = stamp.map(|stamp| stamp.row(&effect));
        Ok((shared.webhooks.rotate(by, org, webhook, grace, row).await?, effect))
    };
    let once = repeatable.once(&parts, scope, &body.raw, act).await?;
    issued(once, StatusCode::OK, org, &parts).await
}

/// `POST /v1/webhooks/{id}/test`
///
/// # Errors
/// See [`WebhookError`].
pub async fn test(
    caller: Caller<WriteWebhooks>,
    id: PathId<WebhookId>,
    repeatable: Repeatable,
    body: OptionalJson<TestBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let kind = body.value.kind()?;
    let (scope, webhook, org, shared) = (caller.credential(), *id, caller.org, parts.clone());
    let act = move |stamp: Option<Stamp>| async move {
        let tested = shared.webhooks.test(org, webhook, &kind).await?;
        let answer = serde_json::to_string(&TestView::of(&tested)).map_err(ApiError::internal)?;
        let effect = Effect::Tested { answer: answer.clone() };
        if let Some(stamp) = stamp {
            stamp.record(&effect).await;
        }
        Ok((answer, effect))
    };
    let answer = |json| HttpResponse::Ok().content_type(ContentType::json()).body(json);
    match repeatable.once(&parts, scope, &body.raw, act).await? {
        Once::First(json) => Ok(answer(json)),
        Once::Repeat(Effect::Tested { answer: json }) => Ok(replayed(answer(json))),
        Once::Repeat(other) => Err(of_another_kind(&other)),
    }
}

fn shown(webhook: &Webhook) -> HttpResponse {
    HttpResponse::Ok().json(WebhookView::of(webhook, Timestamp::now()))
}

/// The answer to what made a secret: shown once, to the first of a name, and kept by no cache on the way.
async fn issued(
    once: Once<IssuedSecret>,
    status: StatusCode,
    org: OrgId,
    parts: &Parts,
) -> Result<HttpResponse, ApiError> {
    let answer = |webhook: &Webhook, secret: Option<&str>| {
        let body = IssuedView { webhook: WebhookView::of(webhook, Timestamp::now()), secret };
        shown_once(status, &format!("/v1/webhooks/{}", webhook.id), &body)
    };
    match once {
        Once::First(IssuedSecret { webhook, secret }) => Ok(answer(&webhook, Some(secret.expose()))),
        Once::Repeat(Effect::Webhook { webhook }) => {
            let webhook = parts.webhooks.get(org, webhook).await?;
            Ok(replayed(answer(&webhook, None)))
        }
        Once::Repeat(other) => Err(of_another_kind(&other)),
    }
}

/// A webhook with its secret; null when the answer is a repeat.
#[derive(Debug, Serialize)]
struct IssuedView<'a> {
    webhook: WebhookView<'a>,
    secret: Option<&'a str>,
}

/// What was sent, what came back, and how long it took.
#[derive(Debug, Serialize)]
struct TestView<'a> {
    delivered: bool,
    error: Option<&'static str>,
    request: SentView<'a>,
    response: Option<AnswerView<'a>>,
    timings: &'a Timings,
}

#[derive(Debug, Serialize)]
struct SentView<'a> {
    url: &'a str,
    headers: std::collections::BTreeMap<&'static str, &'a str>,
    body: &'a str,
}

#[derive(Debug, Serialize)]
struct AnswerView<'a> {
    status: u16,
    body: &'a str,
}

impl<'a> TestView<'a> {
    fn of(tested: &'a Tested) -> Self {
        Self {
            delivered: tested.error.is_none(),
            error: tested.error,
            request: SentView {
                url: &tested.url,
                headers: tested.headers.iter().map(|(name, value)| (*name, value.as_str())).collect(),
                body: &tested.body,
            },
            response: tested.answer.as_ref().map(|(status, body)| AnswerView { status: *status, body }),
            timings: &tested.timings,
        }
    }
}

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::NotFound => Self::not_found(),
            WebhookError::Invalid(field) => field.into(),
            WebhookError::NotAllowed(not) => {
                Self::bad_request("address_not_allowed", not.to_string()).param("url")
            }
            WebhookError::TooMany(_) => Self::conflict("too_many_webhooks", error.to_string()),
            WebhookError::ReplayTooLarge(_) => Self::bad_request("replay_too_large", error.to_string()),
            WebhookError::Replaying => Self::conflict("replay_running", error.to_string()),
            WebhookError::Erased => Self::conflict("event_erased", error.to_string()),
            WebhookError::Store(error) => error.into(),
            WebhookError::Write(error) => error.into(),
            WebhookError::Random(error) => Self::internal(error),
            WebhookError::Busy => Self::unavailable(),
        }
    }
}
