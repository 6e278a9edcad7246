//! Handovers over HTTP: a person is asked for, takes over, and gives back.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web::{Data, Json as Answer},
};
use openclaw_actors::{
    audit::By,
    conversation::{
        handover::{HandoverObject, HandoverReason, HandoverState},
        messages::{ConversationKey, NewHandover, Verb},
        record::{Author, Resolution},
        sql::{handovers, lists::Slice},
    },
    idempotency::{Effect, Stamp},
    ids::{ConversationId, HandoverId, OrgId},
    keys::Scope,
    patch::Change,
};
use serde::Deserialize;

use super::{
    auth::{AnySecretKey, Caller, Party, ReadConversations, WriteHandovers},
    conversations::{
        fields::{self, AuthorBody},
        refused,
    },
    error::ApiError,
    idempotency::{Once, Repeatable, of_another_kind, replayed},
    json::{Json, OptionalJson},
    page::{Filters, List, Order, Page},
    query::PathId,
};
use crate::server::Parts;

/// A week: a request that waited longer is not waiting. The same as for the organization's own setting.
const TIMEOUT_SECONDS_MOST: u32 = 604_800;

/// What a program may say as it asks for a person. Everything may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RequestBody {
    reason: Option<HandoverReason>,
    note: Option<String>,
    target: Option<String>,
    /// Null waits for ever, as in the organization's settings.
    timeout_seconds: Change<u32>,
    accept: Option<AcceptBody>,
}

/// Who takes over.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptBody {
    agent: AuthorBody,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReturnBody {
    note: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CloseBody {
    resolution: Option<Resolution>,
}

/// A body that says nothing.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CancelBody {}

/// A request, checked, but for the organization's own timeout.
struct Asked {
    reason: HandoverReason,
    note: Option<String>,
    target: Option<String>,
    timeout: Change<u32>,
    accept: Option<Author>,
}

impl RequestBody {
    /// A customer asks for a person; why, and for whom, is what programs know.
    fn says_nothing(&self) -> Result<(), ApiError> {
        let said = [
            ("reason", self.reason.is_some()),
            ("note", self.note.is_some()),
            ("target", self.target.is_some()),
            ("timeout_seconds", !matches!(self.timeout_seconds, Change::Keep)),
        ];
        match said.into_iter().find(|(_, said)| *said) {
            Some((param, _)) => {
                let message = "a client token asks for a person, and says no more";
                Err(ApiError::forbidden("client_token", message).param(param))
            }
            None => Ok(()),
        }
    }

    fn check(self) -> Result<Asked, ApiError> {
        let timeout =
            self.timeout_seconds.try_map(|seconds| match (1..=TIMEOUT_SECONDS_MOST).contains(&seconds) {
                true => Ok(seconds),
                false => {
                    let message = format!("it must be from 1 to {TIMEOUT_SECONDS_MOST}, or null for ever");
                    Err(ApiError::invalid_field("timeout_seconds", message))
                }
            })?;
        Ok(Asked {
            reason: self.reason.unwrap_or(HandoverReason::Api),
            note: self.note.map(|note| fields::note("note", note)).transpose()?,
            target: self.target.map(|target| fields::target("target", target)).transpose()?,
            timeout,
            accept: self.accept.map(|accept| accept.agent.check("accept.agent")).transpose()?,
        })
    }
}

/// Asks for a person. Where one is asked for already, that handover is the answer.
pub(super) async fn request(
    caller: Party<AnySecretKey>,
    id: PathId<ConversationId>,
    repeatable: Repeatable,
    body: OptionalJson<RequestBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let OptionalJson { value: body, raw } = body;
    // Taking over is for those who may act as a person; asking for one is also for those who speak for customers.
    if body.accept.is_some() || !caller.principal.holds(Scope::ConversationsWrite) {
        caller.require(Scope::HandoverWrite)?;
    }
    if caller.is_page() {
        body.says_nothing()?;
    }
    let asked = body.check()?;
    let key = (caller.org, *id);
    let own = parts.clone();
    let by = caller.by();
    let act = move |stamp| ask(own, key, by, asked, stamp);
    let (effect, repeats) = match repeatable.once(&parts, caller.credential(), &raw, act).await? {
        Once::First(effect) => (effect, false),
        Once::Repeat(effect) => (effect, true),
    };
    let Effect::Handover { handover, created, .. } = effect else { return Err(of_another_kind(&effect)) };
    let object = read(&parts, caller.org, handover).await?;
    let mut response = HttpResponse::build(if created { StatusCode::CREATED } else { StatusCode::OK });
    response.insert_header((header::LOCATION, format!("/v1/handovers/{handover}")));
    let response = response.json(object);
    Ok(if repeats { replayed(response) } else { response })
}

async fn ask(
    parts: Data<Parts>,
    key: ConversationKey,
    by: By,
    asked: Asked,
    stamp: Option<Stamp>,
) -> Result<(Effect, Effect), ApiError> {
    let Asked { reason, note, target, timeout, accept } = asked;
    let timeout = match timeout {
        Change::Set(seconds) => Some(seconds),
        Change::Reset => None,
        Change::Keep => {
            let organization = parts.organizations.recent(key.0).await?;
            organization.and_then(|organization| organization.settings.handover_timeout_seconds)
        }
    };
    let new = HandoverId::generate();
    let effect = |handover, created| Effect::Handover { conversation: key.1, handover, created };
    let request = NewHandover {
        id: new,
        reason,
        target,
        note,
        timeout_ms: timeout.map(|seconds| i64::from(seconds) * 1_000),
        accept,
        by: Some(by),
        idempotency: stamp.as_ref().map(|stamp| stamp.row(&effect(new, true))),
    };
    let requested = parts.directory.request_handover(key, request).await;
    let (handover, created) = requested.map_err(|refusal| refused(key, refusal))?;
    let effect = effect(handover, created);
    // One that was open already was not stored again, and neither was this request's row.
    if let Some(stamp) = stamp.filter(|_| !created) {
        stamp.record(&effect).await;
    }
    Ok((effect.clone(), effect))
}

/// A person takes over: from now on no text of the AI reaches the conversation.
pub(super) async fn accept(
    caller: Caller<WriteHandovers>,
    id: PathId<HandoverId>,
    repeatable: Repeatable,
    body: Json<AcceptBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let Json { value: body, raw } = body;
    let verb = Verb::Accept(body.agent.check("agent")?);
    handle(&caller, *id, verb, repeatable, &raw, &parts).await
}

/// The person gives the conversation back to the AI.
pub(super) async fn give_back(
    caller: Caller<WriteHandovers>,
    id: PathId<HandoverId>,
    repeatable: Repeatable,
    body: OptionalJson<ReturnBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let OptionalJson { value: body, raw } = body;
    let verb = Verb::Return { note: body.note.map(|note| fields::note("note", note)).transpose()? };
    handle(&caller, *id, verb, repeatable, &raw, &parts).await
}

/// The person ends the handover, and the conversation with it.
pub(super) async fn close(
    caller: Caller<WriteHandovers>,
    id: PathId<HandoverId>,
    repeatable: Repeatable,
    body: OptionalJson<CloseBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let verb = Verb::Close { resolution: body.resolution };
    handle(&caller, *id, verb, repeatable, &body.raw, &parts).await
}

/// Nobody is asked for any more.
pub(super) async fn cancel(
    caller: Caller<WriteHandovers>,
    id: PathId<HandoverId>,
    repeatable: Repeatable,
    body: OptionalJson<CancelBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    handle(&caller, *id, Verb::Cancel, repeatable, &body.raw, &parts).await
}

async fn handle(
    caller: &Caller<WriteHandovers>,
    id: HandoverId,
    verb: Verb,
    repeatable: Repeatable,
    body: &[u8],
    parts: &Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let org = caller.org;
    let conversation =
        handovers::conversation_of(&parts.store, org, id).await?.ok_or_else(ApiError::not_found)?;
    let key = (org, conversation);
    let (directory, by) = (parts.directory.clone(), Some(caller.by()));
    let act = move |stamp: Option<Stamp>| async move {
        let effect = Effect::Handover { conversation, handover: id, created: false };
        let row = stamp.as_ref().map(|stamp| stamp.row(&effect));
        let handled = directory.handle_handover(key, id, verb, by, row).await;
        handled.map_err(|refusal| refused(key, refusal))?;
        // What held already was not stored again, and neither was its row.
        if let Some(stamp) = stamp {
            stamp.record(&effect).await;
        }
        Ok(((), effect))
    };
    let once = repeatable.once(parts, caller.credential(), body, act).await?;
    let response = HttpResponse::Ok().json(read(parts, org, id).await?);
    Ok(if matches!(once, Once::Repeat(_)) { replayed(response) } else { response })
}

async fn read(parts: &Parts, org: OrgId, id: HandoverId) -> Result<HandoverObject, ApiError> {
    handovers::handover(&parts.store, org, id).await?.ok_or_else(ApiError::not_found)
}

/// One handover, with everything an agent needs.
pub(super) async fn get(
    caller: Caller<ReadConversations>,
    id: PathId<HandoverId>,
    parts: Data<Parts>,
) -> Result<Answer<HandoverObject>, ApiError> {
    read(&parts, caller.org, *id).await.map(Answer)
}

/// What a list of handovers may be asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WhichHandovers {
    state: Option<HandoverState>,
}

impl Filters for WhichHandovers {}

/// The handovers of the caller's organization, the one asked for last first.
pub(super) async fn list(
    caller: Caller<ReadConversations>,
    list: List<WhichHandovers>,
    parts: Data<Parts>,
) -> Result<Answer<Page<HandoverObject>>, ApiError> {
    let List { page, filters } = list;
    let slice = Slice { after: page.after()?, descending: page.order == Order::Desc, rows: page.rows() };
    let found = handovers::list(&parts.store, caller.org, filters.state, slice).await?;
    Ok(Answer(Page::new(found, &page, |handover| handover.id)))
}
